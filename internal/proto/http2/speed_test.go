package http2

import (
	"fmt"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// nowhere is a sink that counts what it is told and wants nothing of it.
type nowhere struct{ heads, ends, aborts int }

func (n *nowhere) Head(*proto.Message) proto.Answers { n.heads++; return proto.AnswersUnknown }
func (n *nowhere) Body(*proto.Message, []byte)       {}
func (n *nowhere) WantsBody(*proto.Message) int      { return 0 }
func (n *nowhere) End(*proto.Message)                { n.ends++ }
func (n *nowhere) Lost(proto.Direction, clock.Mark)  {}
func (n *nowhere) Abort(*proto.Abort)                { n.aborts++ }
func (n *nowhere) Session(*proto.TLS)                {}
func (n *nowhere) Proxied(*proto.Proxied)            {}
func limits() *proto.Limits {
	return &proto.Limits{MaxHead: 64 << 10, MaxFields: 200, MaxStreams: 1000, MaxMessage: 1 << 20}
}
func newParser(sink proto.Sink, held *int) proto.Parser {
	return New(&proto.Context{Sink: sink, Limits: limits(), Held: held})
}

// rounds is a conversation in which so many small GETs are under way at a time: the two directions of a first round and of
// one that may be repeated, since nothing is added to the tables any more. Streams are numbered anew by renumber.
func rounds(streams int) (first, again [2][]byte) {
	t := newTalk()
	t.ends[0].sent.Reset()
	t.script.Reset()
	t.ends[0].sent.WriteString(preface)
	for i := range 2 {
		for n := range streams {
			id := uint32(2*(i*streams+n) + 1)
			t.head(0, id, true, ":method", "GET", ":scheme", "https", ":authority", "www.example.org", ":path", fmt.Sprintf("/articles/%d/comments", n%10),
				"user-agent", "Mozilla/5.0 (X11; Linux x86_64)", "accept", "*/*", "accept-language", "en-GB", "cookie", "session=0123456789abcdef")
		}
		for n := range streams {
			id := uint32(2*(i*streams+n) + 1)
			t.head(1, id, false, ":status", "200", "content-type", "application/json", "content-length", "12", "server", "example", "date", "Tue, 17 Nov 2026 10:00:00 GMT")
		}
		for n := range streams {
			t.ends[1].frames.WriteData(uint32(2*(i*streams+n)+1), true, []byte("hello world\n"))
		}
		for d := range t.ends {
			b := append([]byte{}, t.ends[d].sent.Bytes()...)
			t.ends[d].sent.Reset()
			if i == 0 {
				first[d] = b
			} else {
				again[d] = b
			}
		}
	}
	return first, again
}

// renumber moves the streams of all frames on.
func renumber(b []byte, by uint32) {
	for len(b) > 0 {
		f := parseFrame(b)
		id := f.stream + by
		b[5], b[6], b[7], b[8] = byte(id>>24), byte(id>>16), byte(id>>8), byte(id)
		b = b[frameHeader+f.length:]
	}
}

// play gives both directions of a round to a parser.
func playRound(p proto.Parser, round [2][]byte, at *clock.Mark) {
	for d, b := range round {
		for len(b) > 0 {
			n := min(len(b), 16<<10)
			at.Time++
			p.Data(proto.Direction(d), b[:n], *at)
			b = b[n:]
		}
	}
}

func TestCommonCaseAllocatesNothing(t *testing.T) {
	const streams = 100
	first, again := rounds(streams)
	held, sink := 0, new(nowhere)
	p := newParser(sink, &held)
	var at clock.Mark
	playRound(p, first, &at)
	playRound(p, again, &at)
	allocs := testing.AllocsPerRun(20, func() {
		for d := range again {
			renumber(again[d], 2*streams)
		}
		playRound(p, again, &at)
	})
	if want := 2 * streams * 23; sink.heads != want || sink.ends != want {
		t.Errorf("%d heads, %d ends, want %d", sink.heads, sink.ends, want)
	}
	if allocs != 0 {
		t.Errorf("%d exchanges allocate %v times", streams, allocs)
	}
}

// BenchmarkConcurrent reads small GETs, 100 of them under way at a time; http1 has the same in sequence.
func BenchmarkConcurrent(b *testing.B) {
	const streams = 100
	first, again := rounds(streams)
	held, sink := 0, new(nowhere)
	p := newParser(sink, &held)
	var at clock.Mark
	playRound(p, first, &at)
	n := 0
	for b.Loop() {
		if n += streams; n < 1<<29 {
			for d := range again {
				renumber(again[d], 2*streams)
			}
		}
		playRound(p, again, &at)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "exchanges/s")
}
