package memcached

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// log is a sink that writes down what comes out, a line a message and its end.
type log struct {
	lines []string
}

func (l *log) Head(m *proto.Message) proto.Answers {
	kind := ">"
	if m.Kind == proto.Response {
		kind = "<"
	}
	line := fmt.Sprintf("%s%d %s", kind, m.Stream, m.Bytes(m.Target))
	if m.OneWay {
		line += " one-way"
	}
	if m.Again {
		line += " again"
	}
	l.lines = append(l.lines, line+facts(m))
	return proto.AnswersUnknown
}

func facts(m *proto.Message) string {
	s := ""
	for i := range m.Facts {
		if f := &m.Facts[i]; f.Name == factStatus {
			s += " " + string(m.Bytes(f.Value))
		} else if f.Name == factHits {
			s += fmt.Sprintf(" hits %d", f.Number)
		}
	}
	return s
}

func (l *log) End(m *proto.Message) {
	ends := [...]string{proto.Whole: "whole", proto.Broken: "broken", proto.Cut: "cut"}
	l.lines = append(l.lines, fmt.Sprintf("%d %s %d%s", m.Stream, ends[m.End], m.Size, facts(m)))
}

func (l *log) Body(*proto.Message, []byte)      {}
func (l *log) WantsBody(*proto.Message) int     { return 0 }
func (l *log) Lost(proto.Direction, clock.Mark) { l.lines = append(l.lines, "lost") }
func (l *log) Abort(*proto.Abort)               {}
func (l *log) Session(*proto.TLS)               {}
func (l *log) Proxied(*proto.Proxied)           {}
func limits(streams int) *proto.Limits {
	return &proto.Limits{MaxHead: 64 << 10, MaxFields: 200, MaxStreams: streams, MaxStatement: 16 << 10}
}

// frameOf makes a datagram.
func frameOf(id, sequence, total int, payload string) string {
	return string([]byte{byte(id >> 8), byte(id), 0, byte(sequence), 0, byte(total), 0, 0}) + payload
}

type datagram struct {
	d    proto.Direction
	b    string
	lost int // bytes that the snap length cut off
}

func TestDatagrams(t *testing.T) {
	const up, down = proto.Originator, proto.Responder
	for _, c := range []struct {
		name string
		in   []datagram
		want string
	}{
		{"text, answered out of order of the requests", []datagram{
			{up, frameOf(1, 0, 1, "get a\r\n"), 0},
			{up, frameOf(2, 0, 1, "set b 0 0 1\r\nx\r\n"), 0},
			{down, frameOf(2, 0, 1, "STORED\r\n"), 0},
			{down, frameOf(1, 0, 1, "END\r\n"), 0},
		}, `>2 get a; 2 whole 7; >3 set b 0 0 1; 3 whole 16; <3  STORED; 3 whole 8; <2  END hits 0; 2 whole 5`},
		{"a response in several datagrams", []datagram{
			{up, frameOf(7, 0, 1, "get a\r\n"), 0},
			{down, frameOf(7, 0, 2, "VALUE a 0 6\r\nabc"), 0},
			{down, frameOf(7, 1, 2, "def\r\nEND\r\n"), 0},
		}, `>8 get a; 8 whole 7; <8 ; 8 whole 26 END hits 1`},
		{"a response whose values are numbered each by itself", []datagram{
			{up, frameOf(7, 0, 1, "get a b\r\n"), 0},
			{down, frameOf(7, 0, 2, "VALUE a 0 6\r\nabc"), 0},
			{down, frameOf(7, 1, 2, "def\r\n"), 0},
			{down, frameOf(7, 0, 1, "VALUE b 0 1\r\nx\r\n"), 0},
			{down, frameOf(7, 0, 1, "END\r\n"), 0},
		}, `>8 get a b; 8 whole 9; <8 ; 8 whole 42 END hits 2`},
		{"one of which is lost, and one comes twice", []datagram{
			{up, frameOf(7, 0, 1, "get a\r\n"), 0},
			{down, frameOf(7, 0, 3, "VALUE a 0 6\r\nab"), 0},
			{down, frameOf(7, 0, 3, "VALUE a 0 6\r\nab"), 0},
			{down, frameOf(7, 2, 3, "ef\r\nEND\r\n"), 0},
			{up, frameOf(8, 0, 1, "get b\r\n"), 0},
			{down, frameOf(8, 0, 1, "END\r\n"), 0},
		}, `>8 get a; 8 whole 7; <8 ; 8 broken 15; lost; >9 get b; 9 whole 7; <9  END hits 0; 9 whole 5`},
		{"nobody wants an answer, or it is sent once more", []datagram{
			{up, frameOf(1, 0, 1, "set b 0 0 1 noreply\r\nx\r\n"), 0},
			{up, frameOf(2, 0, 1, header(magicRequest, 0x14, 1, 0, 0, 1)+"k"), 0},
			{up, frameOf(3, 0, 1, "get a\r\n"), 0},
			{up, frameOf(3, 0, 1, "get a\r\n"), 0},
			{down, frameOf(3, 0, 1, "END\r\n"), 0},
			{down, frameOf(9, 0, 1, "STORED\r\n"), 0},
		}, `>2 set b 0 0 1 noreply one-way; 2 whole 24; >3 delete k one-way; 3 whole 25; >4 get a; 4 whole 7; >4 get a again; 4 whole 7; <4  END hits 0; 4 whole 5; <10  STORED; 10 whole 8`},
		{"the snap length cut a value", []datagram{
			{up, frameOf(1, 0, 1, "set b 0 0 100\r\nx"), 101},
			{down, frameOf(1, 0, 1, "STORED\r\n"), 0},
		}, `>2 set b 0 0 100; 2 broken 16; lost; <2  STORED; 2 whole 8`},
		{"a number is used again, and more wait than the limit", []datagram{
			{up, frameOf(1, 0, 1, "get a\r\n"), 0},
			{up, frameOf(1, 0, 1, "get b\r\n"), 0},
			{up, frameOf(2, 0, 1, "get c\r\n"), 0},
			{up, frameOf(3, 0, 1, "get d\r\n"), 0},
			{down, frameOf(3, 0, 1, "END\r\n"), 0},
			{down, frameOf(2, 0, 1, "END\r\n"), 0},
			{down, frameOf(1, 0, 1, "END\r\n"), 0},
		}, `>2 get a; 2 whole 7; >2 get b; 2 whole 7; >3 get c; 3 whole 7; >4 get d; 4 whole 7; <4  END hits 0; 4 whole 5; <3  END hits 0; 3 whole 5; <2  END; 2 whole 5`},
		{"no frame", []datagram{{up, "\x00\x01", 0}, {up, frameOf(1, 0, 2, "get a\r\n"), 0}}, `lost; lost`},
	} {
		t.Run(c.name, func(t *testing.T) {
			held := 0
			var l log
			p := NewDatagrams(&proto.Context{Client: up, Sink: &l, Limits: limits(2), Held: &held})
			offset := [2]int64{}
			for _, g := range c.in {
				size := len(g.b) + g.lost
				p.Datagram(g.d, []byte(g.b), size, clock.Mark{Offset: offset[g.d], Peer: offset[g.d.Other()]})
				offset[g.d] += int64(size)
			}
			p.Close(clock.Mark{}, proto.TimedOut)
			if got := strings.Join(l.lines, "; "); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if held != 0 {
				t.Errorf("%d bytes are held at the end", held)
			}
		})
	}
}

// Many ids come and go while one waits: what is kept stays small.
func TestDatagramsAreForgotten(t *testing.T) {
	held := 0
	var l log
	p := NewDatagrams(&proto.Context{Sink: &l, Limits: limits(100), Held: &held}).(*Datagrams)
	p.Datagram(proto.Originator, []byte(frameOf(0, 0, 1, "get waits\r\n")), 19, clock.Mark{})
	most := 0
	for i := range 60000 {
		request, response := frameOf(1+i, 0, 1, "get a\r\n"), frameOf(1+i, 0, 1, "END\r\n")
		p.Datagram(proto.Originator, []byte(request), len(request), clock.Mark{})
		p.Datagram(proto.Responder, []byte(response), len(response), clock.Mark{})
		most = max(most, len(p.order), cap(p.spare), held/datagramParser)
		l.lines = l.lines[:0]
	}
	if most > 100 {
		t.Errorf("%d are kept", most)
	}
	p.Close(clock.Mark{}, proto.TimedOut)
	if held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}

// FuzzDatagrams: whatever datagrams come, the parser doesn't fail, ends each message that it began, and holds nothing in the end.
func FuzzDatagrams(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x00\x01\x00\x00get a\r\n"), []byte("\x00\x01\x00\x00\x00\x01\x00\x00END\r\n"), uint8(0))
	f.Add([]byte("\x00\x01\x00\x00\x00\x01\x00\x00mg a q\r\n"), []byte("\x00\x01\x00\x00\x00\x02\x00\x00VA 5\r\nab"), uint8(9))
	f.Add([]byte(frameOf(1, 0, 1, header(magicRequest, 0x09, 1, 0, 0, 1)+"k")), []byte(frameOf(1, 0, 1, header(magicResponse, 0x09, 0, 4, 0, 5)+"abcde")), uint8(0))
	f.Fuzz(func(t *testing.T, up, down []byte, cut uint8) {
		held := 0
		var l log
		p := NewDatagrams(&proto.Context{Sink: &l, Limits: limits(2), Held: &held})
		for range 2 {
			p.Datagram(proto.Originator, up, len(up)+int(cut), clock.Mark{})
			p.Datagram(proto.Responder, down, len(down), clock.Mark{Peer: 1})
			down = slices.Clone(down)
			if len(down) > 3 {
				down[3]++ // the next datagram of the response
			}
		}
		p.Close(clock.Mark{}, proto.TimedOut)
		open := 0
		for _, line := range l.lines {
			switch {
			case line == "lost":
			case line[0] == '>' || line[0] == '<':
				open++
			default:
				open--
			}
		}
		if open != 0 || held != 0 {
			t.Errorf("%d messages are open, %d bytes are held: %q", open, held, l.lines)
		}
	})
}
