package follow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/proto"
)

// engine stands in for what pairs messages: it wants so much of each body.
type engine struct {
	want int
	log  []string
}

func (e *engine) note(format string, args ...any) {
	e.log = append(e.log, fmt.Sprintf(format, args...))
}

func (e *engine) Head(m *proto.Message) proto.Answers { e.note("head"); return proto.AnswersHEAD }
func (e *engine) Body(_ *proto.Message, b []byte)     { e.note("body %s", b); e.want -= len(b) }
func (e *engine) WantsBody(*proto.Message) int        { return e.want }
func (e *engine) End(m *proto.Message)                { e.note("end %d", m.End) }
func (e *engine) Lost(proto.Direction, clock.Mark)    { e.note("lost") }
func (e *engine) Abort(*proto.Abort)                  { e.note("abort") }
func (e *engine) Session(*proto.TLS)                  { e.note("session") }
func (e *engine) Proxied(*proto.Proxied)              { e.note("proxied") }

// speaker plays the messages of a parser.
type speaker struct {
	t    *testing.T
	to   follow.Collector
	held int
	w    *follow.Writer
	in   engine
	sink *follow.Sink
}

func speak(t *testing.T, p *proto.Protocol, bodies bool, want int) *speaker {
	s := &speaker{t: t, in: engine{want: want}}
	s.w = &follow.Writer{Mode: follow.Plain, Contents: follow.Bodies, To: &s.to, Held: &s.held, Tap: func(uint32) *exchange.Tap { return nil }}
	s.sink = s.w.Sink(&proto.Flow{}, p, &s.in, false, bodies)
	return s
}

// body gives bytes as parsers do.
func (s *speaker) body(m *proto.Message, text string) {
	m.BodyBytes += int64(len(text))
	m.Last.Offset += int64(len(text))
	if want := s.sink.WantsBody(m); want > 0 {
		s.sink.Body(m, []byte(text)[:min(want, len(text))])
	}
}

func (s *speaker) end(m *proto.Message, how proto.End) { m.End = how; s.sink.End(m) }

// told describes the chunks: the stream, and what comes of its messages.
func (s *speaker) told() string {
	s.t.Helper()
	var parts []string
	if b := s.to.Hand(); b != nil {
		for _, c := range b.Chunks {
			text := fmt.Sprint(c.Message.Stream)
			switch {
			case c.Step == follow.Begin:
				text += "("
			case c.Step == follow.End:
				text += fmt.Sprintf(")%d", c.Message.Ended)
			case c.Gap != 0:
				text += fmt.Sprintf("[%d]", c.Gap)
			default:
				text += string(c.Data)
			}
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, " ")
}

func head(kind proto.Kind, stream uint64, text string) *proto.Message {
	m := &proto.Message{Kind: kind, Stream: stream, Raw: []byte(text), Framing: proto.Chunked}
	for _, line := range strings.Split(text, "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		at := strings.Index(text, line)
		m.Fields = append(m.Fields, proto.Field{
			Name: proto.Span{Off: uint32(at), Len: uint32(len(name))}, Value: proto.Span{Off: uint32(at + len(name) + 2), Len: uint32(len(value))},
		})
	}
	return m
}

var inOrder, byStream = &proto.Protocol{Name: "http"}, &proto.Protocol{Name: "http2", Pairing: proto.ByStream}

func TestSink(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      *proto.Protocol
		bodies bool
		want   int
		play   func(s *speaker)
		told   string
		// log is what the engine has seen.
		log string
	}{
		{"a whole message", inOrder, true, 0, func(s *speaker) {
			m := head(proto.Response, 0, "")
			s.sink.Head(m)
			s.body(m, "ab")
			s.body(m, "c")
			s.end(m, proto.Whole)
		}, "0( 0ab 0c 0)1", "head|end 1"},
		{"the engine gets what it wants, and no more", inOrder, true, 3, func(s *speaker) {
			m := head(proto.Response, 0, "")
			s.sink.Head(m)
			s.body(m, "ab")
			s.body(m, "cd")
			s.body(m, "ef")
			s.end(m, proto.Whole)
		}, "0( 0ab 0cd 0ef 0)1", "head|body ab|body c|end 1"},
		{"heads alone", inOrder, false, 3, func(s *speaker) {
			m := head(proto.Response, 0, "")
			s.sink.Head(m)
			s.body(m, "ab")
			s.body(m, "cd")
			m.MissingBytes = 5
			s.end(m, proto.Whole)
		}, "0( 0)1", "head|body ab|body c|end 1"},
		{"one after the other, in the same memory", inOrder, true, 0, func(s *speaker) {
			m := head(proto.Response, 0, "")
			for range 2 {
				m.MissingBytes = 0
				s.sink.Head(m)
				m.MissingBytes = 3
				s.body(m, "a")
				s.end(m, proto.Whole)
			}
		}, "0( 0[3] 0a 0)1 0( 0[3] 0a 0)1", "head|end 1|head|end 1"},
		{"holes: before what follows, and before the end", inOrder, true, 0, func(s *speaker) {
			m := head(proto.Response, 0, "")
			s.sink.Head(m)
			s.body(m, "a")
			m.MissingBytes = 7
			s.body(m, "b")
			m.MissingBytes = 8
			s.end(m, proto.Whole)
		}, "0( 0a 0[7] 0b 0[1] 0)1", "head|end 1"},
		{"streams", byStream, true, 0, func(s *speaker) {
			a, b := head(proto.Request, 1, ""), head(proto.Request, 3, "")
			s.sink.Head(a)
			s.sink.Head(b)
			s.body(a, "a")
			s.body(b, "b")
			s.body(a, "c")
			s.end(b, proto.Whole)
			s.end(a, proto.Cut)
		}, "1( 3( 1a 3b 1c 3)1 1)3", "head|head|end 1|end 3"},
		{"a loss may be any stream's, but of the other direction's none", byStream, true, 0, func(s *speaker) {
			a, b, c := head(proto.Request, 1, ""), head(proto.Request, 3, ""), head(proto.Response, 5, "")
			c.Dir = proto.Responder
			s.sink.Head(a)
			s.sink.Head(b)
			s.sink.Head(c)
			a.MissingBytes, b.MissingBytes = 1, 1 // as parsers count it
			s.sink.Lost(proto.Originator, clock.Mark{})
			s.body(a, "x")
			a.MissingBytes = 40 // once the length is known
			s.end(a, proto.Whole)
			b.MissingBytes = 0
			s.end(b, proto.Broken)
			s.end(c, proto.Whole)
		}, "1( 3( 5( 1[-1] 3[-1] 1x 1)1 3)2 5)1", "head|head|head|lost|end 1|end 2|end 1"},
		{"a hole of unknown length in one stream", byStream, true, 0, func(s *speaker) {
			a := head(proto.Request, 1, "")
			s.sink.Head(a)
			a.MissingBytes = 1
			s.body(a, "x")
			s.end(a, proto.Whole)
		}, "1( 1[-1] 1x 1)1", "head|end 1"},
		{"what is under way when nothing more comes", byStream, true, 0, func(s *speaker) {
			for _, n := range []uint64{5, 1, 3} {
				s.sink.Head(head(proto.Request, n, ""))
			}
			s.sink.Closed(clock.Mark{})
			s.sink.Closed(clock.Mark{})
		}, "5( 1( 3( 5)3 1)3 3)3", "head|head|head"},
		{"the rest passes", inOrder, true, 0, func(s *speaker) {
			s.sink.Abort(&proto.Abort{})
			s.sink.Session(&proto.TLS{})
			s.sink.Proxied(&proto.Proxied{})
			s.sink.Lost(0, clock.Mark{})
		}, "", "abort|session|proxied|lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := speak(t, c.p, c.bodies, c.want)
			c.play(s)
			if got := s.told(); got != c.told {
				t.Errorf("told %s\nwant %s", got, c.told)
			}
			if got := strings.Join(s.in.log, "|"); got != c.log {
				t.Errorf("passed %s\nwant   %s", got, c.log)
			}
			if s.held != 0 {
				t.Errorf("%d bytes are held at the end", s.held)
			}
		})
	}
}

// TestMessage: what is told of a message is its own, and bounded.
func TestMessage(t *testing.T) {
	s := speak(t, inOrder, true, 0)
	long := strings.Repeat("x", follow.MaxText+1)
	m := head(proto.Request, 7, "POST /a\nHost: h\nContent-Type: text/plain\nContent-Encoding: gzip\nContent-Encoding: br\nContent-Disposition: "+long+"\nGrpc-Encoding: zstd\n")
	m.Method, m.Target = proto.Span{Off: 0, Len: 4}, proto.Span{Off: 5, Len: 2}
	m.First.Offset = 17
	if s.sink.Head(m) != proto.AnswersHEAD {
		t.Error("the engine's answer is lost")
	}
	if s.held < follow.MaxText {
		t.Errorf("only %d bytes are held", s.held)
	}
	clear(m.Raw)
	c := s.to.Hand().Chunks[0].Message
	if c.Method != "POST" || c.Target != "/a" || c.Authority != "h" || c.Type != "text/plain" || c.Coding != "gzip,br" || c.MessageCoding != "zstd" ||
		c.Disposition != long[:follow.MaxText] || c.Protocol != "http" || c.Stream != 7 || c.First.Offset != 17 {
		t.Errorf("%.300v", *c)
	}
}

// tapped is detection that gives all it is given to the sink of a parser, as the body of a message.
type tapped struct {
	sink *follow.Sink
	m    *proto.Message
}

func (d *tapped) Speaks(proto.Direction) (string, int64) { return "http", 0 }
func (d *tapped) Data(_ proto.Direction, b []byte, _ clock.Mark) proto.Verdict {
	d.sink.WantsBody(d.m)
	d.sink.Body(d.m, b[2:len(b)-1])
	return proto.Verdict{}
}
func (d *tapped) Gap(proto.Direction, int64, clock.Mark)               {}
func (d *tapped) Close(proto.Direction, clock.Mark, proto.CloseReason) {}

// TestOneCopy: a body and the half-stream that it is in share their bytes, and a message comes first.
func TestOneCopy(t *testing.T) {
	s := speak(t, inOrder, true, 0)
	d := &tapped{s.sink, head(proto.Response, 0, "")}
	s.sink.Head(d.m)
	tee := s.w.Open(&proto.Flow{}, d)
	packet := []byte("xxbody.")
	tee.Data(0, packet, clock.Mark{})
	copy(packet, "zzzzzzz")
	tee.Data(0, []byte("yymore."), clock.Mark{})
	all := s.to.Hand().Chunks
	got := ""
	for _, c := range all {
		got += fmt.Sprint(c.Step, string(c.Data), " ")
	}
	if want := "1 2body 0xxbody. 2more 0yymore. "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if &all[1].Data[0] != &all[2].Data[2] || &all[3].Data[0] != &all[4].Data[2] {
		t.Error("the bytes were copied twice")
	}
	if cap(all[1].Data) != len(all[1].Data) {
		t.Error("who appends to the body writes over what is behind it")
	}
}
