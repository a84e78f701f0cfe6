package websocket

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// sender compresses messages as a peer does.
type sender struct {
	out bytes.Buffer
	w   *flate.Writer
	// takeover: messages may refer to those before them.
	takeover bool
}

func (s *sender) message(t *testing.T, text []byte) string {
	t.Helper()
	s.out.Reset()
	if s.w == nil || !s.takeover {
		s.w, _ = flate.NewWriter(&s.out, flate.DefaultCompression)
	}
	if _, err := s.w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := s.w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(s.out.String(), "\x00\x00\xff\xff")
}

// words makes a text that compresses about as well as JSON does.
func words(r *rand.Rand, n int) []byte {
	var b []byte
	for len(b) < n {
		b = append(b, `{"name":"`...)
		for range 3 + r.IntN(10) {
			b = append(b, byte('a'+r.IntN(26)))
		}
		b = append(b, `"},`...)
	}
	return b[:n]
}

// TestWindow sends messages of all sizes around that of the window.
func TestWindow(t *testing.T) {
	for _, v := range []struct {
		name, extension string
		takeover        bool
		window          int
	}{
		{"takeover", "permessage-deflate", true, maxWindow},
		{"no takeover", "permessage-deflate; client_no_context_takeover; server_no_context_takeover", false, maxWindow},
	} {
		t.Run(v.name, func(t *testing.T) {
			held, sink := 0, &counter{want: 1 << 20}
			p := New(&proto.Context{Sink: sink, Limits: &proto.Limits{MaxMessage: 1 << 20}, Held: &held, Prior: response(v.extension)})
			r := rand.New(rand.NewPCG(1, 2))
			s := sender{takeover: v.takeover}
			sizes := []int{1, 0, 100, maxWindow - 1, 5, maxWindow, maxWindow + 1, 3, scratchSize, scratchSize - 1, 200_000, 40}
			for range 300 {
				sizes = append(sizes, r.IntN(400))
			}
			var before []byte
			for i, n := range sizes {
				text := words(r, n)
				if i%3 == 0 {
					text = append(text, before...) // as far back as can be
				}
				before = text[:min(len(text), 2000)]
				p.Data(proto.Originator, []byte(masked(0xc1, s.message(t, text))), clock.Mark{})
				if sink.ends != i+1 || !bytes.Equal(sink.body.Bytes(), text) || sink.last.BodyBytes != int64(len(text)) || sink.last.Anomalies != 0 {
					t.Fatalf("message %d of %d bytes: %d came, %+v", i, len(text), sink.body.Len(), sink.last)
				}
				if limit := maxWindow*3/2 + inflaterSize + scratchSize + keepPayload; held > limit {
					t.Fatalf("%d bytes are held after message %d, more than %d", held, i, limit)
				}
			}
			p.Close(proto.Originator, clock.Mark{}, proto.Finished)
			p.Close(proto.Responder, clock.Mark{}, proto.Finished)
			if held != 0 {
				t.Errorf("%d bytes are held at the end", held)
			}
		})
	}
}

// TestUnwanted has messages that nobody wants before and among those that somebody does.
func TestUnwanted(t *testing.T) {
	held, sink := 0, &counter{}
	p := New(&proto.Context{Sink: sink, Limits: &proto.Limits{MaxMessage: 1 << 20}, Held: &held, Prior: response("permessage-deflate")})
	s := sender{takeover: true}
	r := rand.New(rand.NewPCG(3, 4))
	say := func(text []byte) {
		p.Data(proto.Responder, []byte(plain(0xc2, s.message(t, text))), clock.Mark{})
	}
	for range 10 {
		say(words(r, 1000))
	}
	if held != 0 || sink.body.Len() != 0 || sink.last.BodyBytes != sink.last.Parts.Bytes {
		t.Errorf("%d bytes are held, %d came, %+v", held, sink.body.Len(), sink.last)
	}
	sink.want = 1 << 20
	fresh := make([]byte, 600)
	for i := range fresh {
		fresh[i] = byte(r.Uint32())
	}
	again := words(r, 300)
	for i, m := range []struct {
		text []byte
		all  bool
	}{{again, false}, {fresh, true}, {fresh, true}, {again, false}} {
		say(m.text)
		if got := sink.body.Bytes(); bytes.Equal(got, m.text) != m.all || !bytes.HasPrefix(m.text, got) || sink.last.Anomalies.Has(proto.CompressionContextLost) == m.all {
			t.Errorf("message %d: %q instead of %q, %+v", i, got, m.text, sink.last)
		}
	}
}

func TestLimits(t *testing.T) {
	const limit = 1 << 16
	held, sink := 0, &counter{want: 1 << 30}
	p := New(&proto.Context{Sink: sink, Limits: &proto.Limits{MaxMessage: limit}, Held: &held, Prior: response("permessage-deflate; server_no_context_takeover")})
	s := sender{}
	small := []byte("after it")
	noise := make([]byte, limit+1)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	finals := strings.Repeat("\x03\x00", 1000)
	for _, v := range []struct {
		name    string
		payload string
		anomaly proto.Anomaly
		body    int
	}{
		{"a bomb", s.message(t, make([]byte, 20<<20)), proto.DecompressionLimit, limit},
		{"one byte too many", s.message(t, make([]byte, limit+1)), proto.DecompressionLimit, limit},
		{"large as sent", s.message(t, noise), proto.MessageTooLarge, limit - 1000},
		{"last blocks over and over", finals, proto.BadContentCoding, 0},
	} {
		most := 0
		for b := []byte(plain(0xc2, v.payload)); len(b) > 0; b = b[min(1000, len(b)):] {
			p.Data(proto.Responder, b[:min(1000, len(b))], clock.Mark{})
			most = max(most, held)
		}
		var want proto.Anomalies
		want.Set(v.anomaly)
		if sink.last.Anomalies != want || sink.body.Len() < v.body || sink.body.Len() > limit || sink.last.Parts.Bytes != int64(len(v.payload)) || sink.last.End != proto.Whole {
			t.Errorf("%s: %d bytes, %+v", v.name, sink.body.Len(), sink.last)
		}
		if most > 2*limit+maxWindow*3/2+inflaterSize+scratchSize {
			t.Errorf("%s: %d bytes were held", v.name, most)
		}
		p.Data(proto.Responder, []byte(plain(0xc1, s.message(t, small))), clock.Mark{})
		if !bytes.Equal(sink.body.Bytes(), small) || sink.last.Anomalies != 0 {
			t.Errorf("after %s: %q, %+v", v.name, sink.body.Bytes(), sink.last)
		}
	}
	exact := make([]byte, limit)
	if p.Data(proto.Responder, []byte(plain(0xc2, s.message(t, exact))), clock.Mark{}); !bytes.Equal(sink.body.Bytes(), exact) || sink.last.Anomalies != 0 {
		t.Errorf("at the limit: %d bytes, %+v", sink.body.Len(), sink.last)
	}
	p.Data(proto.Responder, []byte(plain(0xc2, s.message(t, noise)))[:limit], clock.Mark{})
	p.Close(proto.Responder, clock.Mark{}, proto.Reset)
	p.Close(proto.Originator, clock.Mark{}, proto.Reset)
	if held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}

// TestBadCompression has what inflates to an end, and doesn't, each after "Hello".
func TestBadCompression(t *testing.T) {
	for _, v := range []struct {
		name, extension, payload, body string
		bad                            bool
	}{
		{"a reference to the message before", "permessage-deflate", helloAgain, "Hello", false},
		{"one that was agreed not to be", "permessage-deflate; client_no_context_takeover", helloAgain, "H", true},
		{"a last block at the very end", "permessage-deflate", helloFinal[:7], "Hello", false},
		{"cut within a block", "permessage-deflate", helloPlain[:7], "He\x00\x00\xff", true},
		{"cut within a last block, which the ending fills", "permessage-deflate", "\x01\x04\x00\xfb\xff", "\x00\x00\xff\xff", true},
		{"no block", "permessage-deflate", "\x07", "", true},
	} {
		held, sink := 0, &counter{want: 100}
		p := New(&proto.Context{Sink: sink, Limits: &proto.Limits{MaxMessage: 100}, Held: &held, Prior: response(v.extension)})
		p.Data(proto.Originator, []byte(masked(0xc2, hello)+masked(0xc2, v.payload)), clock.Mark{})
		var want proto.Anomalies
		if v.bad {
			want.Set(proto.BadContentCoding)
		}
		if sink.ends != 2 || sink.body.String() != v.body || sink.last.Anomalies != want {
			t.Errorf("%s: %q, %+v", v.name, sink.body.String(), sink.last)
		}
	}
}

func TestWindowHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	w := newWindow(parameters{true, 512})
	var all []byte
	w.forget()
	for range 200 {
		b := words(r, r.IntN(1200)>>r.IntN(8))
		all = append(all, b...)
		w.add(b)
		if want := all[max(0, len(all)-512):]; !bytes.Equal(w.last, want) {
			t.Fatalf("after %d bytes: %q instead of %q", len(all), w.last, want)
		}
		if w.holed != (len(all) < 512) {
			t.Fatalf("after %d bytes: holed %v", len(all), w.holed)
		}
	}
}

func TestNegotiated(t *testing.T) {
	full, none := parameters{true, maxWindow}, parameters{false, maxWindow}
	truncated := response()
	truncated.Anomalies.Set(proto.TooManyFields)
	obscure := response("x")
	obscure.Fields[0].Flags = proto.Obscure
	for _, v := range []struct {
		name  string
		prior *proto.Message
		want  extensions
	}{
		{"no response", nil, extensions{true, true, full, full}},
		{"none", response(), extensions{false, false, full, full}},
		{"fields left out", truncated, extensions{true, true, full, full}},
		{"fields that can't be read", obscure, extensions{true, true, full, full}},
		{"plain", response("permessage-deflate"), extensions{true, false, full, full}},
		{"client", response("Permessage-Deflate ;client_no_context_takeover"), extensions{true, false, none, full}},
		{"server", response("permessage-deflate; server_no_context_takeover; client_max_window_bits=\"10\""), extensions{true, false, parameters{true, 1 << 10}, none}},
		{"bits", response("permessage-deflate; server_max_window_bits=8;client_max_window_bits"), extensions{true, false, full, parameters{true, 1 << 9}}},
		{"bad bits", response("permessage-deflate; server_max_window_bits=16"), extensions{true, false, full, full}},
		{"another", response("x-webkit-deflate-frame"), extensions{false, true, full, full}},
		{"two fields", response("", "foo; a=1, permessage-deflate"), extensions{true, true, full, full}},
	} {
		if got := negotiated(v.prior); got != v.want {
			t.Errorf("%s: %+v instead of %+v", v.name, got, v.want)
		}
	}
}

// TestReservedBits has frames with bits that mean nothing, or what isn't known.
func TestReservedBits(t *testing.T) {
	for _, v := range []struct {
		name  string
		prior *proto.Message
		first byte
		bad   bool
	}{
		{"none agreed on", response(), 0xc1, true},
		{"another agreed on", response("x-webkit-deflate-frame"), 0xc1, false},
		{"handshake unseen", nil, 0xa1, false},
		{"the second", response("permessage-deflate"), 0xa1, true},
		{"of a continuation", response("permessage-deflate"), 0xc0, true},
		{"of a ping", response("permessage-deflate"), 0xc9, true},
	} {
		held, sink := 0, &counter{want: 10}
		p := New(&proto.Context{Sink: sink, Limits: &proto.Limits{MaxMessage: 100}, Held: &held, Prior: v.prior})
		p.Data(proto.Responder, []byte(plain(v.first, "\xff")), clock.Mark{})
		var want proto.Anomalies
		if v.bad {
			want.Set(proto.BadFrame)
		}
		if sink.ends != 1 || sink.last.Anomalies != want || sink.body.String() != "\xff" || sink.last.Parts.Compressed != 0 {
			t.Errorf("%s: %q, %+v", v.name, sink.body.String(), sink.last)
		}
	}
}

func BenchmarkCompressed(b *testing.B) {
	held := 0
	text := words(rand.New(rand.NewPCG(1, 2)), 2000)
	s := sender{}
	frame := []byte(masked(0xc1, s.message(&testing.T{}, text)))
	p := New(&proto.Context{Sink: &counter{want: 1 << 20}, Limits: &proto.Limits{MaxMessage: 1 << 20}, Held: &held, Prior: response("permessage-deflate")})
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		p.Data(proto.Originator, frame, clock.Mark{})
	}
}
