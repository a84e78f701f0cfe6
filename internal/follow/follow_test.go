package follow_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/proto"
)

// decider stands in for detection: it speaks what the test says, and changes its mind during a call.
type decider struct {
	name string
	from [2]int64
	// next is done by the next call of Data, and then forgotten.
	next  func()
	stops bool
	got   bytes.Buffer
}

func (s *decider) Speaks(d proto.Direction) (string, int64) { return s.name, s.from[d] }

func (s *decider) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	s.got.Write(b)
	if s.next != nil {
		s.next()
		s.next = nil
	}
	if s.stops {
		return proto.Verdict{Action: proto.Stop}
	}
	return proto.Verdict{}
}

func (s *decider) Gap(proto.Direction, int64, clock.Mark)               { s.got.WriteByte('_') }
func (s *decider) Close(proto.Direction, clock.Mark, proto.CloseReason) {}

// script is a connection that a test plays, and what was shown of it.
type script struct {
	to   follow.Collector
	held int
	w    *follow.Writer
	in   decider
	tee  *follow.Tee
	off  [2]int64
}

func play(m follow.Mode) *script {
	s := &script{}
	s.w = &follow.Writer{Mode: m, To: &s.to, Held: &s.held, Tap: func(uint32) *exchange.Tap { return &exchange.Tap{} }}
	s.tee = s.w.Open(&proto.Flow{}, &s.in)
	return s
}

func (s *script) send(d proto.Direction, text string) {
	s.w.Seq++
	s.tee.Data(d, []byte(text), clock.Mark{Offset: s.off[d]})
	s.off[d] += int64(len(text))
}

// ask and answer are sent by the two sides.
func (s *script) ask(text string)    { s.send(proto.Originator, text) }
func (s *script) answer(text string) { s.send(proto.Responder, text) }

// decide has the next call find out what is spoken.
func (s *script) decide(name string) { s.in.next = func() { s.in.name = name } }

func (s *script) close() {
	s.tee.Close(proto.Originator, clock.Mark{Offset: s.off[0]}, proto.Finished)
	s.tee.Close(proto.Responder, clock.Mark{Offset: s.off[1]}, proto.Reset)
}

// shown describes all chunks: > and < are the originator's and the responder's, * is what was decrypted.
func (s *script) shown(t *testing.T) string {
	t.Helper()
	var parts []string
	if b := s.to.Hand(); b != nil {
		for _, c := range b.Chunks {
			sign := ">"
			if c.Dir == proto.Responder {
				sign = "<"
			}
			if c.Inner {
				sign += "*"
			}
			switch {
			case c.Close != proto.Open && c.Over:
				sign += "over " + c.Close.String()
			case c.Close != proto.Open:
				sign += "end " + c.Close.String()
			case c.Undecrypted != "":
				sign += fmt.Sprintf("[%d %s]", c.Gap, c.Undecrypted)
			case c.Gap != 0:
				sign += fmt.Sprintf("[%d]", c.Gap)
			}
			parts = append(parts, sign+string(c.Data))
		}
	}
	if s.held != 0 {
		t.Errorf("%d bytes are held at the end", s.held)
	}
	return strings.Join(parts, " ")
}

func TestTee(t *testing.T) {
	for _, c := range []struct {
		name string
		mode follow.Mode
		play func(s *script)
		want string
	}{
		{"decided at once", follow.Plain, func(s *script) {
			s.decide("http")
			s.ask("a")
			s.answer("b")
			s.close()
		}, ">a <b >end fin <over rst"},
		{"nothing was sent", follow.Plain, func(s *script) { s.close() }, ""},
		{"decided late: what came before is in its order", follow.Plain, func(s *script) {
			s.ask("a")
			s.tee.Gap(proto.Originator, 5, clock.Mark{})
			s.answer("b")
			s.decide("ssh")
			s.ask("c")
			s.close()
		}, ">a >[5] <b >c >end fin <over rst"},
		{"never decided", follow.Plain, func(s *script) {
			s.ask("a")
			s.answer("b")
			s.close()
		}, ">a <b <over rst"},
		{"the parser wants no more: the bytes are shown all the same", follow.Plain, func(s *script) {
			s.decide("http")
			s.ask("a")
			s.in.stops = true
			s.ask("b")
			s.ask("c")
			s.tee.Gap(proto.Originator, 3, clock.Mark{})
			if got := s.in.got.String(); got != "ab" {
				panic("the parser was given " + got)
			}
		}, ">a >b >c >[3]"},
		{"too much waits", follow.Plain, func(s *script) {
			s.ask(strings.Repeat("x", follow.MaxHeld/2))
			s.ask(strings.Repeat("y", follow.MaxHeld/2))
			s.ask("a")
		}, ">" + strings.Repeat("x", follow.MaxHeld/2) + " >" + strings.Repeat("y", follow.MaxHeld/2) + " >a"},
		{"too much waits, and then it is TLS", follow.Plain, func(s *script) {
			s.ask(strings.Repeat("x", follow.MaxHeld))
			s.decide("tls")
			s.ask("a")
			s.close()
		}, ">" + strings.Repeat("x", follow.MaxHeld) + " >end fin >[1 encrypted] <over rst"},
		{"encrypted, and no key", follow.Plain, func(s *script) {
			s.ask("hel")
			s.decide("tls")
			s.ask("lo")
			s.answer("hey")
			s.tee.Gap(proto.Responder, 7, clock.Mark{})
			s.tee.Session(&proto.TLS{Reason: "no key"})
			s.close()
		}, ">end fin >[5 no key] <[10 no key] <over rst"},
		{"encrypted, and nothing is known of why it isn't read", follow.Plain, func(s *script) {
			s.decide("tls")
			s.ask("hello")
			s.close()
		}, ">end fin >[5 encrypted] <over rst"},
		{"encrypted, with nothing inside", follow.Plain, func(s *script) {
			s.decide("tls")
			s.ask("hello")
			s.tee.Session(&proto.TLS{Decrypted: true})
			s.close()
		}, ">end fin <over rst"},
		{"decrypted", follow.Plain, func(s *script) {
			s.decide("tls")
			s.ask("hello")
			inside := &decider{name: "http"}
			in := s.tee.Nested(inside)
			in.Data(proto.Originator, []byte("a"), clock.Mark{})
			in.Gap(proto.Originator, proto.Unknown, clock.Mark{})
			in.Data(proto.Responder, []byte("b"), clock.Mark{})
			in.Close(proto.Originator, clock.Mark{}, proto.Finished)
			s.answer("x")
			s.close()
			if inside.got.String() != "a_b" {
				panic("detection inside was given " + inside.got.String())
			}
		}, ">*a >*[-1] <*b >end fin <over rst"},
		{"decrypted after the end", follow.Plain, func(s *script) {
			s.decide("tls")
			s.ask("hello")
			in := s.tee.Nested(&decider{name: "http"})
			s.tee.Linger(true)
			s.close()
			in.Data(proto.Originator, []byte("a"), clock.Mark{})
			s.tee.Linger(false)
		}, ">end fin >*a <over rst"},
		{"waited after the end in vain", follow.Plain, func(s *script) {
			s.decide("tls")
			s.ask("hello")
			s.tee.Linger(true)
			s.close()
			s.tee.Linger(false)
		}, ">end fin >[5 encrypted] <over rst"},
		{"a tunnel with TLS in it", follow.Plain, func(s *script) {
			s.decide("http")
			s.ask("CONNECT")
			s.in.next = func() { s.in.name, s.in.from[proto.Responder] = "", 3 }
			s.answer("200")
			s.decide("tls")
			s.ask("hello")
			s.tee.Nested(&decider{name: "http"}).Data(proto.Originator, []byte("a"), clock.Mark{})
		}, ">CONNECT <200 >*a"},
		{"handed over in the middle of a segment", follow.Plain, func(s *script) {
			s.decide("proxy")
			s.ask("from x\n")
			s.in.next = func() { s.in.name, s.in.from[proto.Originator] = "tls", 12 }
			s.ask("to y\nhello")
			s.close()
		}, ">from x\n >to y\n >end fin >[5 encrypted] <over rst"},
		{"handed over in the middle of a segment, to what isn't known yet", follow.Plain, func(s *script) {
			s.decide("proxy")
			s.ask("from x\n")
			s.in.next = func() { s.in.name, s.in.from[proto.Originator] = "", 12 }
			s.ask("to y\nhello")
			s.decide("ssh")
			s.answer("b")
		}, ">from x\n >to y\n >hello <b"},
		{"turned to TLS", follow.Plain, func(s *script) {
			s.decide("smtp")
			s.answer("220 STARTTLS")
			s.ask("STARTTLS")
			s.in.next = func() { s.in.name, s.in.from[proto.Originator] = "tls", 8 }
			s.ask("hello")
			s.tee.Nested(&decider{name: "smtp"}).Data(proto.Originator, []byte("a"), clock.Mark{})
		}, "<220 STARTTLS >STARTTLS >*a"},
		{"a tunnel within TLS", follow.Plain, func(s *script) {
			s.decide("tls")
			s.ask("hello")
			proxy := &decider{name: "http"}
			in := s.tee.Nested(proxy)
			in.Data(proto.Originator, []byte("CONNECT"), clock.Mark{})
			proxy.next = func() { proxy.name, proxy.from[proto.Originator] = "tls", 7 }
			in.Data(proto.Originator, []byte("hello"), clock.Mark{Offset: 7})
			s.tee.Nested(&decider{name: "http"}).Data(proto.Originator, []byte("a"), clock.Mark{})
			s.close()
		}, ">*CONNECT >*a >end fin <over rst"},
		{"as sent", follow.Sent, func(s *script) {
			s.ask("hel")
			s.decide("tls")
			s.ask("lo")
			s.tee.Nested(&decider{}).Data(proto.Originator, []byte("a"), clock.Mark{})
			s.tee.Session(&proto.TLS{Reason: "no key"})
			s.close()
		}, ">hel >lo >end fin <over rst"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := play(c.mode)
			c.play(s)
			if got := s.shown(t); got != c.want {
				t.Errorf("got  %.200s\nwant %.200s", got, c.want)
			}
		})
	}
}

// TestNoStop: whatever a parser answers, the transport goes on.
func TestNoStop(t *testing.T) {
	s := play(follow.Plain)
	s.in.stops = true
	if v := s.tee.Data(proto.Originator, []byte("a"), clock.Mark{}); v.Action != proto.Continue {
		t.Errorf("the transport is told %v", v)
	}
}

// TestBorrowed: chunks own their bytes until they are recycled, whatever becomes of the packet, and batches that are
// out share no memory.
func TestBorrowed(t *testing.T) {
	s := play(follow.Sent)
	var out []*follow.Batch
	packet := make([]byte, 3000)
	for i := range 200 {
		for j := range packet {
			packet[j] = byte(i)
		}
		s.tee.Data(proto.Originator, packet, clock.Mark{})
		if i%10 == 9 {
			out = append(out, s.to.Hand())
		}
		if i%40 == 39 {
			s.to.Recycle(out[0])
			out = out[1:]
		}
	}
	n := 200 - 10*(20-len(out))
	for k, b := range out {
		for j, c := range b.Chunks {
			want := byte(200 - n + 10*k + j)
			if bytes.Count(c.Data, []byte{want}) != len(packet) {
				t.Fatalf("batch %d, chunk %d has others' bytes", k, j)
			}
		}
	}
	if s.to.Hand() != nil {
		t.Error("a batch was handed over twice")
	}
}

// TestBorrowedWaiting: what waits isn't the caller's, either.
func TestBorrowedWaiting(t *testing.T) {
	s := play(follow.Plain)
	b := []byte("abc")
	s.tee.Data(proto.Originator, b, clock.Mark{})
	copy(b, "xyz")
	s.decide("http")
	s.answer("d")
	if got := s.shown(t); got != ">abc <d" {
		t.Errorf("got %s", got)
	}
}

// TestHand: a worker's shards are put in the order of the packets, too.
func TestHand(t *testing.T) {
	var to follow.Collector
	held := 0
	for _, seq := range []uint64{2, 1, 3, 1} {
		w := &follow.Writer{Mode: follow.Sent, To: &to, Held: &held, Tap: func(uint32) *exchange.Tap { return nil }, Seq: seq}
		w.Open(&proto.Flow{}, &decider{}).Data(proto.Originator, fmt.Append(nil, seq), clock.Mark{})
	}
	got := ""
	for _, c := range to.Hand().Chunks {
		got += string(c.Data)
	}
	if got != "1123" {
		t.Errorf("got %s", got)
	}
}

// TestSort: chunks of several shards are in the order of the packets, those of one packet in that of the calls.
func TestSort(t *testing.T) {
	var to follow.Collector
	held := 0
	var all []follow.Chunk
	for shard := range 3 {
		w := &follow.Writer{Mode: follow.Sent, To: &to, Held: &held, Tap: func(uint32) *exchange.Tap { return nil }}
		tee := w.Open(&proto.Flow{}, &decider{})
		for i := range 4 {
			w.Seq = uint64(3*i + shard)
			tee.Data(proto.Originator, fmt.Appendf(nil, "%02da", w.Seq), clock.Mark{Time: int64(-i)})
			tee.Data(proto.Originator, fmt.Appendf(nil, "%02db", w.Seq), clock.Mark{Time: int64(-i)})
		}
		all = append(all, to.Hand().Chunks...)
	}
	follow.Sort(all)
	for i, c := range all {
		if want := fmt.Sprintf("%02d%c", i/2, 'a'+i%2); string(c.Data) != want {
			t.Errorf("chunk %d is %s, want %s", i, c.Data, want)
		}
	}
}
