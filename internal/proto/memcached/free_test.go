package memcached

import (
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// silent is a sink that wants nothing.
type silent struct{ log }

func (*silent) Head(*proto.Message) proto.Answers { return proto.AnswersUnknown }
func (*silent) End(*proto.Message)                {}

var conversations = map[string][2]string{
	"text":   {"get session:42\r\nset session:42 0 3600 5\r\nhello\r\n", "VALUE session:42 0 5\r\nhello\r\nEND\r\nSTORED\r\n"},
	"meta":   {"mg foo v q O1\r\nmg bar v q O2\r\nmn\r\n", "VA 2 O2\r\nab\r\nMN\r\n"},
	"binary": {header(magicRequest, 0x0c, 1, 0, 0, 1) + "k", header(magicResponse, 0x0c, 1, 4, 0, 8) + "\x00\x00\x00\x00kabc"},
}

// The common case allocates nothing.
func TestAllocations(t *testing.T) {
	for name, c := range conversations {
		held := 0
		p := New(&proto.Context{Sink: &silent{}, Limits: limits(100), Held: &held})
		up, down := []byte(c[0]), []byte(c[1])
		at := [2]clock.Mark{}
		if n := testing.AllocsPerRun(1000, func() {
			play(p, up, down, &at)
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// play sends a request and its response.
func play(p proto.Parser, up, down []byte, at *[2]clock.Mark) {
	at[0].Peer = at[1].Offset
	p.Data(proto.Originator, up, at[0])
	at[0].Offset += int64(len(up))
	at[1].Peer = at[0].Offset
	p.Data(proto.Responder, down, at[1])
	at[1].Offset += int64(len(down))
}

// A parser that was used before is as good as a new one.
func TestSpare(t *testing.T) {
	held := 0
	var first, second log
	p := New(&proto.Context{Sink: &first, Limits: limits(100), Held: &held})
	p.Data(proto.Originator, []byte("get a\r\nget b\r\nset a 0 0 10\r\nab"), clock.Mark{})
	p.Data(proto.Responder, []byte("VALUE a 0 5\r\nab"), clock.Mark{Peer: 14})
	for d := range proto.Direction(2) {
		p.Close(d, clock.Mark{}, proto.Reset)
	}
	p = New(&proto.Context{Sink: &second, Limits: limits(100), Held: &held, Spare: p})
	play(p, []byte(header(magicRequest, 0x0a, 0, 0, 0, 0)), []byte(header(magicResponse, 0x0a, 0, 0, 0, 0)), &[2]clock.Mark{})
	want := []string{">1 noop", "1 whole 24", "<1  No error", "1 whole 24"}
	for i, line := range second.lines {
		if i >= len(want) || line != want[i] {
			t.Errorf("got %q, want %q", second.lines, want)
			break
		}
	}
	if len(second.lines) != len(want) || held != 0 {
		t.Errorf("got %q, %d bytes are held", second.lines, held)
	}
}

// More requests than the limit wait: what is kept stays small.
func TestManyWait(t *testing.T) {
	held := 0
	const most = 100
	p := New(&proto.Context{Sink: &silent{}, Limits: limits(most), Held: &held}).(*Parser)
	request := []byte("get a\r\n")
	for i := range 100_000 {
		p.Data(proto.Originator, request, clock.Mark{Offset: int64(i * len(request))})
	}
	if n := p.waiting.len(); n != most+1 || held != (most+1)*requestSize || cap(p.waiting.list) > 4*most {
		t.Errorf("%d wait in %d, %d bytes are held", n, cap(p.waiting.list), held)
	}
}

func BenchmarkParser(b *testing.B) {
	for name, c := range conversations {
		b.Run(name, func(b *testing.B) {
			held := 0
			p := New(&proto.Context{Sink: &silent{}, Limits: limits(100), Held: &held})
			up, down := []byte(c[0]), []byte(c[1])
			b.SetBytes(int64(len(up) + len(down)))
			b.ReportAllocs()
			at := [2]clock.Mark{}
			for b.Loop() {
				play(p, up, down, &at)
			}
		})
	}
}
