package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// piece is what one end sends at a time: a frame, or the preface with the frame behind it.
type piece struct {
	d      proto.Direction
	b      []byte
	stream uint32
}

// lane is one end's side of a stream.
type lane struct {
	d      proto.Direction
	stream uint64
}

// conversation is one made up: its frames, what fields each end has sent on each stream, and how long its bodies are.
type conversation struct {
	pieces []piece
	fields map[lane][]string
	bodies map[lane]int64
}

// half of a stream that is still to be sent: the frames that are left, of which the first is made when it is sent, since
// fields are encoded in that order.
type plan struct {
	l     lane
	steps []func()
}

// converse makes up a conversation of interleaved streams.
func converse(seed uint64, streams int) *conversation {
	r := rand.New(rand.NewPCG(seed, 11))
	c := &conversation{fields: map[lane][]string{}, bodies: map[lane]int64{}}
	t := newTalk()
	flush := func(d proto.Direction, stream uint32) {
		if b := t.ends[d].sent.Bytes(); len(b) > 0 {
			c.pieces = append(c.pieces, piece{d, bytes.Clone(b), stream})
			t.ends[d].sent.Reset()
		}
	}
	// The prefaces were written down already.
	steps, err := prototest.Parse(t.text())
	if err != nil {
		panic(err)
	}
	for _, s := range steps {
		c.pieces = append(c.pieces, piece{s.Dir, s.Data, 0})
	}
	padding := func() uint8 {
		if r.IntN(3) == 0 {
			return uint8(r.IntN(20))
		}
		return 0
	}
	header := func(l lane, fin bool, fields ...string) {
		for i := 0; i < len(fields); i += 2 {
			c.fields[l] = append(c.fields[l], strings.TrimPrefix(fields[i], "!")+": "+fields[i+1])
		}
		b := t.encode(l.d, fields...)
		w, id := t.ends[l.d].frames, uint32(l.stream)
		n := len(b)
		if r.IntN(4) == 0 {
			n = r.IntN(n + 1)
		}
		param := xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: b[:n], EndStream: fin, EndHeaders: n == len(b), PadLength: padding()}
		if r.IntN(4) == 0 {
			param.Priority = xhttp2.PriorityParam{Weight: 9, StreamDep: id + 20}
		}
		w.WriteHeaders(param)
		flush(l.d, id)
		for n < len(b) {
			k := 1 + r.IntN(len(b)-n)
			w.WriteContinuation(id, n+k == len(b), b[n:n+k])
			flush(l.d, id)
			n += k
		}
	}
	body := func(l lane, fin bool) func() {
		b := bytes.Repeat([]byte{byte('a' + r.IntN(20))}, r.IntN(60))
		c.bodies[l] += int64(len(b))
		return func() {
			w := t.ends[l.d].frames
			if p := padding(); p > 0 {
				w.WriteDataPadded(uint32(l.stream), fin, b, make([]byte, p))
			} else {
				w.WriteData(uint32(l.stream), fin, b)
			}
			flush(l.d, uint32(l.stream))
		}
	}
	var plans []*plan
	begin := func(l lane, fields ...string) *plan {
		p := &plan{l: l}
		frames, trailers := r.IntN(4), r.IntN(4) == 0
		bodies := make([]func(), frames)
		for i := range bodies {
			bodies[i] = body(l, i == frames-1 && !trailers)
		}
		if frames > 0 && r.IntN(2) == 0 {
			fields = append(fields, "content-length", fmt.Sprint(c.bodies[l]))
		}
		p.steps = append(p.steps, func() { header(l, frames == 0 && !trailers, fields...) })
		p.steps = append(p.steps, bodies...)
		if trailers {
			p.steps = append(p.steps, func() { header(l, true, "x-sum", fmt.Sprint(seed), "!x-end", "yes") })
		}
		plans = append(plans, p)
		return p
	}
	for next := 0; next < streams || len(plans) > 0; {
		if next < streams && (len(plans) == 0 || r.IntN(4) == 0) {
			id := uint64(2*next + 1)
			next++
			begin(lane{0, id}, ":method", []string{"GET", "POST", "PATCH"}[r.IntN(3)], ":scheme", "http", ":authority", "a.example", ":path", fmt.Sprintf("/%d", r.IntN(5)),
				fmt.Sprintf("x-%d", r.IntN(6)), strings.Repeat("v", r.IntN(30)), "!cookie", fmt.Sprint(r.IntN(9)))
			continue
		}
		i := r.IntN(len(plans))
		p := plans[i]
		p.steps[0]()
		if p.steps = p.steps[1:]; len(p.steps) == 0 {
			plans = slices.Delete(plans, i, i+1)
		}
		if p.l.d == 0 && c.fields[lane{1, p.l.stream}] == nil && r.IntN(2) == 0 || p.l.d == 0 && len(p.steps) == 0 && c.fields[lane{1, p.l.stream}] == nil {
			l := lane{1, p.l.stream}
			c.fields[l] = []string{}
			begin(l, ":status", []string{"200", "404", "302"}[r.IntN(3)], "server", "s", fmt.Sprintf("y-%d", r.IntN(6)), strings.Repeat("w", r.IntN(30)))
		}
		if r.IntN(6) == 0 {
			d := proto.Direction(r.IntN(2))
			w := t.ends[d].frames
			switch r.IntN(4) {
			case 0:
				w.WritePing(false, [8]byte{1, 2})
			case 1:
				w.WriteWindowUpdate(0, 1+uint32(r.IntN(1000)))
			case 2:
				w.WritePriority(uint32(p.l.stream), xhttp2.PriorityParam{Weight: 3})
			case 3:
				w.WriteRawFrame(0xe, 0, 0, []byte("an extension"))
			}
			flush(d, 0)
		}
	}
	return c
}

// witness is a sink that remembers what each side of each stream has said, and how it ended.
type witness struct {
	nowhere
	fields  map[lane][]string
	obscure int
	ends    map[lane]proto.Message
	lost    int
}

func newWitness() *witness {
	return &witness{fields: map[lane][]string{}, ends: map[lane]proto.Message{}}
}

func (w *witness) note(m *proto.Message) {
	l := lane{m.Dir, m.Stream}
	for _, f := range m.Fields {
		text := fmt.Sprintf("%s: %s", m.Bytes(f.Name), m.Bytes(f.Value))
		if f.Flags&proto.Obscure != 0 {
			text = "?"
			w.obscure++
		}
		w.fields[l] = append(w.fields[l], text)
	}
}

func (w *witness) Head(m *proto.Message) proto.Answers { w.note(m); return proto.AnswersUnknown }
func (w *witness) Lost(proto.Direction, clock.Mark)    { w.lost++ }
func (w *witness) End(m *proto.Message) {
	w.note(m)
	c := *m
	c.Raw, c.Fields = nil, nil
	w.ends[lane{m.Dir, m.Stream}] = c
}

func TestConversations(t *testing.T) {
	var cases []prototest.Case
	for seed := range uint64(4) {
		var script strings.Builder
		for _, p := range converse(seed, 3).pieces {
			fmt.Fprintf(&script, "%s ", "><"[p.d:p.d+1])
			for _, b := range p.b {
				fmt.Fprintf(&script, `\x%02x`, b)
			}
			script.WriteByte('\n')
		}
		cases = append(cases, prototest.Case{Name: fmt.Sprint(seed), Script: script.String()})
	}
	prototest.Run(t, New, cases)
	for seed := range uint64(200) {
		c := converse(seed, 20)
		w, held := newWitness(), 0
		p := newParser(w, &held)
		play(p, c.pieces, nil)
		finish(t, p, &held)
		for l, want := range c.fields {
			end := w.ends[l]
			if !slices.Equal(w.fields[l], want) || end.End != proto.Whole || end.BodyBytes != c.bodies[l] || end.Anomalies != 0 {
				t.Fatalf("seed %d, %v: %q, want %q; body %d, want %d; %+v", seed, l, w.fields[l], want, end.BodyBytes, c.bodies[l], end)
			}
		}
		if len(w.ends) != len(c.fields) {
			t.Fatalf("seed %d: %d messages, want %d", seed, len(w.ends), len(c.fields))
		}
	}
}

// play gives pieces to a parser, those that are missing as gaps: by their length, or of unknown length where that is -1. It returns
// the first piece after each piece with which the parser had found its way in the direction of that piece.
func play(p proto.Parser, pieces []piece, missing map[int]int64) (found []int) {
	at := clock.Mark{Time: 1e18}
	var offsets [2]int64
	found = make([]int, len(pieces))
	for i, piece := range pieces {
		at.Time += 1e6
		at.Packet++
		at.Offset = offsets[piece.d]
		offsets[piece.d] += int64(len(piece.b))
		if n := missing[i]; n != 0 {
			p.Gap(piece.d, n, at)
		} else {
			p.Data(piece.d, bytes.Clone(piece.b), at)
		}
		found[i] = -1
		if p.(*Parser).sides[piece.d].state != stateLost {
			for k := i; k >= 0 && (pieces[k].d != piece.d || found[k] < 0); k-- {
				if pieces[k].d == piece.d {
					found[k] = i
				}
			}
		}
	}
	return found
}

// finish ends both directions; nothing may be held then.
func finish(t *testing.T, p proto.Parser, held *int) {
	t.Helper()
	for d := range 2 {
		p.Close(proto.Direction(d), clock.Mark{Time: 2e18}, proto.Finished)
	}
	if *held != 0 {
		t.Fatalf("%d bytes are held at the end", *held)
	}
}

// Whatever frames are missing, no field is shown that wasn't sent, what comes whole afterwards is whole, and so is what
// came whole before.
func TestMissingFrames(t *testing.T) {
	obscure, whole, broken, searches, passed := 0, 0, 0, 0, 0
	for seed := range uint64(60) {
		c := converse(seed, 12)
		for i := 2; i < len(c.pieces); i++ {
			for _, n := range []int{1, 3} {
				missing := map[int]int64{}
				end := i
				for k := i; k < len(c.pieces) && len(missing) < n; k++ {
					if c.pieces[k].d == c.pieces[i].d {
						missing[k] = int64(len(c.pieces[k].b))
						if (int(seed)+i)%2 == 0 {
							missing[k] = proto.Unknown
						}
						end = k
					}
				}
				w, held := newWitness(), 0
				p := newParser(w, &held)
				found := play(p, c.pieces, missing)[end]
				if found < 0 {
					found = len(c.pieces)
				}
				for k := end + 1; k < found; k++ {
					if c.pieces[k].d == c.pieces[i].d {
						passed++
					}
				}
				searches++
				finish(t, p, &held)
				for l, got := range w.fields {
					sent := c.fields[l]
					for _, f := range got {
						if f != "?" && !slices.Contains(sent, f) {
							t.Fatalf("seed %d, %d frames missing at %d: %v has %q, which wasn't sent: %q", seed, n, i, l, f, sent)
						}
					}
				}
				obscure += w.obscure
				for l := range c.fields {
					first, last := c.extent(l)
					end2, seen := w.ends[l]
					switch {
					case !seen && first >= found && c.fields[l][0] == ":status: 302":
						// Its status was in the table that was lost: these may as well be trailers.
					case last < i || first >= found || l.d != c.pieces[i].d:
						if !seen || end2.End != proto.Whole || end2.BodyBytes != c.bodies[l] || end2.MissingBytes != 0 {
							t.Fatalf("seed %d, %d frames missing at %d: %v, of frames %d to %d, ended %+v", seed, n, i, l, first, last, end2)
						}
						whole++
					case seen && end2.End == proto.Whole && (end2.BodyBytes != c.bodies[l] || end2.MissingBytes > c.bodies[l]):
						t.Fatalf("seed %d, %d frames missing at %d: %v is whole with %d bytes of %d, %d missing",
							seed, n, i, l, end2.BodyBytes, c.bodies[l], end2.MissingBytes)
					case seen && end2.End != proto.Whole:
						broken++
					}
				}
			}
		}
	}
	if obscure == 0 || whole == 0 || broken == 0 {
		t.Errorf("%d fields obscure, %d messages whole, %d broken", obscure, whole, broken)
	}
	if passed > searches/2 {
		t.Errorf("%d frames were passed over in %d searches", passed, searches)
	}
}

// extent returns the first and the last frame of a message.
func (c *conversation) extent(l lane) (first, last int) {
	first = -1
	for i, p := range c.pieces {
		if p.d == l.d && uint64(p.stream) == l.stream {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	return first, last
}
