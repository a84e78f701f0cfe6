package http2

import (
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// wire plays a conversation as it is made, to one parser.
type wire struct {
	*talk
	t    *testing.T
	p    *Parser
	w    *witness
	held int
	at   clock.Mark
	sent [2]int64
}

func newWire(t *testing.T, l *proto.Limits) *wire {
	x := &wire{talk: newTalk(), t: t, w: newWitness(), at: clock.Mark{Time: 1e18}}
	if l == nil {
		l = limits()
	}
	x.p = New(&proto.Context{Sink: x.w, Limits: l, Held: &x.held, Nest: func(n proto.Nested) proto.Parser { return nil }}).(*Parser)
	// The prefaces, again, to the parser.
	x.ends[0].sent.Reset()
	x.ends[0].sent.WriteString(preface)
	x.client().WriteSettings()
	x.pass(0)
	x.server().WriteSettings()
	x.server().WriteSettingsAck()
	x.pass(1)
	x.client().WriteSettingsAck()
	x.pass(0)
	return x
}

// take returns what an end has sent since.
func (x *wire) take(d proto.Direction) []byte {
	b := append([]byte{}, x.ends[d].sent.Bytes()...)
	x.ends[d].sent.Reset()
	return b
}

// pass gives what an end has sent to the parser.
func (x *wire) pass(d proto.Direction) { x.give(d, x.take(d)) }

func (x *wire) give(d proto.Direction, b []byte) {
	x.at.Time += 1e6
	x.at.Offset = x.sent[d]
	x.sent[d] += int64(len(b))
	x.p.Data(d, b, x.at)
}

// miss loses n bytes, or what an end has sent.
func (x *wire) miss(d proto.Direction, n int64) {
	x.at.Time += 1e6
	x.at.Offset = x.sent[d]
	x.sent[d] += max(n, 0)
	x.p.Gap(d, n, x.at)
}

// ask opens a stream with a GET.
func (x *wire) ask(stream uint32) {
	x.head(0, stream, true, ":method", "GET", ":scheme", "http", ":path", "/")
	x.pass(0)
}

func (x *wire) end(stream uint64) proto.Message { return x.w.ends[lane{1, stream}] }

func (x *wire) want(stream uint64, how proto.End, body, missing int64) {
	x.t.Helper()
	if m := x.end(stream); m.End != how || m.BodyBytes != body || m.MissingBytes != missing {
		x.t.Errorf("stream %d ended %d with %d bytes, %d of them missing; want %d, %d, %d", stream, m.End, m.BodyBytes, m.MissingBytes, how, body, missing)
	}
}

func TestGapWithinData(t *testing.T) {
	for cut := 1; cut < 100; cut++ {
		x := newWire(t, nil)
		x.ask(1)
		x.ask(3)
		x.head(1, 1, false, ":status", "200")
		x.pass(1)
		x.server().WriteDataPadded(1, true, make([]byte, 80), make([]byte, 20))
		frame := x.take(1)
		// The header and the padding's length, then a gap within the rest: 80 bytes of body, 20 of padding.
		x.give(1, frame[:frameHeader+1])
		x.miss(1, int64(cut))
		x.give(1, frame[frameHeader+1+cut:])
		x.head(1, 3, true, ":status", "404", "x-a", "1")
		x.pass(1)
		x.want(1, proto.Whole, 80, int64(min(cut, 80)))
		x.want(3, proto.Whole, 0, 0)
		if x.w.lost != 0 || x.w.obscure != 0 {
			t.Fatalf("cut %d: a gap within a frame lost the direction", cut)
		}
	}
}

// A hole that hides frames: a message of known length is whole when its end comes, and knows what is missing; one that had
// all its bytes is whole at once; others are broken at their end, or when they don't go on.
func TestDoubt(t *testing.T) {
	for _, n := range []int64{0, proto.Unknown} {
		x := newWire(t, nil)
		for id := uint32(1); id <= 11; id += 2 {
			x.ask(id)
		}
		x.head(1, 1, false, ":status", "200", "content-length", "300")
		x.head(1, 3, false, ":status", "200", "content-length", "10")
		x.head(1, 5, false, ":status", "200")
		x.head(1, 7, false, ":status", "200")
		x.head(1, 9, false, ":status", "200", "content-length", "200")
		x.server().WriteData(1, false, make([]byte, 100))
		x.server().WriteData(3, false, make([]byte, 10))
		x.server().WriteData(5, false, make([]byte, 100))
		x.server().WriteData(7, false, make([]byte, 100))
		x.pass(1)
		x.server().WriteData(1, false, make([]byte, 100))
		x.server().WriteData(5, false, make([]byte, 100))
		if hidden := int64(len(x.take(1))); n == 0 {
			n = hidden
		}
		x.miss(1, n)
		x.want(3, proto.Whole, 10, 0)
		x.server().WriteData(1, true, make([]byte, 100))
		x.pass(1)
		x.server().WriteData(9, true, make([]byte, 200))
		x.server().WriteData(5, true, make([]byte, 100))
		x.pass(1)
		x.want(1, proto.Whole, 300, 100)
		x.want(9, proto.Whole, 200, 0)
		x.want(5, proto.Broken, 200, 0)
		if m := x.end(7); m.End != proto.Unfinished {
			t.Errorf("stream 7 ended %d", m.End)
		}
		x.at.Time += int64(maxDoubt)
		x.head(1, 11, true, ":status", "200")
		x.pass(1)
		x.want(7, proto.Broken, 100, 0)
		x.want(11, proto.Whole, 0, 0)
		if x.w.lost != 1 {
			t.Errorf("lost %d times", x.w.lost)
		}
		finish(t, x.p, &x.held)
	}
}

// Bytes missing within a header block cost its message, and what the table held.
func TestGapWithinHeaders(t *testing.T) {
	x := newWire(t, nil)
	x.ask(1)
	x.ask(3)
	x.ask(5)
	x.head(1, 1, false, ":status", "200", "x-a", "aaaaaaaaaaaaaaa", "x-b", "bbbbbbbbbbbbbbb")
	b := x.take(1)
	x.give(1, b[:len(b)-8])
	x.miss(1, 4)
	x.give(1, b[len(b)-4:])
	if m := x.end(1); m.End != proto.Broken || m.Status != 200 {
		t.Errorf("got %+v", m)
	}
	x.head(1, 3, true, ":status", "200", "x-b", "bbbbbbbbbbbbbbb", "x-c", "c")
	x.head(1, 5, true, ":status", "200", "x-b", "bbbbbbbbbbbbbbb", "x-c", "c")
	x.pass(1)
	want := map[uint64]string{3: "[:status: 200 ? x-c: c]", 5: "[:status: 200 ? x-c: c]"}
	for id, want := range want {
		if got := x.w.fields[lane{1, id}]; len(got) != 3 || got[1] != "?" || got[2] != "x-c: c" {
			t.Errorf("stream %d: got %q, want %s", id, got, want)
		}
		if !x.end(id).Anomalies.Has(proto.HeaderTableUnknown) {
			t.Errorf("stream %d: no anomaly", id)
		}
	}
}

// A stall is the time from when a window was used up until it is opened, if the message goes on.
func TestStalls(t *testing.T) {
	ms := int64(time.Millisecond)
	x := newWire(t, nil)
	x.ask(1)
	x.ask(3)
	x.head(1, 1, false, ":status", "200")
	x.head(1, 3, false, ":status", "200")
	x.pass(1)
	// Stream 1 uses up its window, which is as large as that of the connection.
	x.client().WriteWindowUpdate(0, 100_000)
	x.pass(0)
	for range 4 {
		x.server().WriteData(1, false, make([]byte, 16000))
	}
	x.server().WriteData(1, false, make([]byte, startWindow-64000))
	x.pass(1)
	x.at.Time += 50 * ms
	x.client().WriteWindowUpdate(1, 100_000)
	x.pass(0) // a millisecond later
	x.at.Time += 20 * ms
	x.server().WriteData(1, false, make([]byte, 10))
	x.pass(1)
	// Both use up the connection's.
	x.server().WriteData(3, false, make([]byte, 16384))
	x.server().WriteData(3, false, make([]byte, 16384))
	x.server().WriteData(3, false, make([]byte, 16384))
	x.server().WriteData(3, false, make([]byte, 16383))
	x.server().WriteData(1, false, make([]byte, 16384))
	x.server().WriteData(1, false, make([]byte, 10_000))
	x.pass(1)
	left := x.p.sides[1].flow.connection.window
	x.server().WriteData(1, false, make([]byte, left))
	x.pass(1)
	x.at.Time += 70 * ms
	x.client().WriteWindowUpdate(3, 1000)
	x.pass(0)
	x.at.Time += 10 * ms
	x.client().WriteWindowUpdate(0, 1000)
	x.pass(0)
	x.server().WriteData(3, true, make([]byte, 10))
	x.server().WriteData(1, true, make([]byte, 10))
	x.pass(1)
	if m := x.end(1); m.Stalls != 2 || m.Stalled != 51*ms+82*ms || m.Anomalies != 0 {
		t.Errorf("stream 1: %d stalls of %s, %d", m.Stalls, time.Duration(m.Stalled), m.Anomalies)
	}
	// The connection's, and its own, which began a segment before and ended before it.
	if m := x.end(3); m.Stalls != 1 || m.Stalled != 83*ms {
		t.Errorf("stream 3: %d stalls of %s", m.Stalls, time.Duration(m.Stalled))
	}
	if x.p.sides[1].flow.connection.window != 1000-20 || !x.p.sides[1].flow.known {
		t.Errorf("a window of %d", x.p.sides[1].flow.connection.window)
	}
	x.ask(5)
	x.head(1, 5, false, ":status", "200")
	x.server().WriteData(5, true, make([]byte, 1000))
	x.ask(7)
	x.head(1, 7, true, ":status", "200")
	x.pass(1)
	if m := x.end(7); !m.Anomalies.Has(proto.WindowExceeded) {
		t.Error("a window that was exceeded isn't odd")
	}
}

// A new initial window holds from its acknowledgement on, for streams that are open too.
func TestInitialWindow(t *testing.T) {
	x := newWire(t, nil)
	x.ask(1)
	x.head(1, 1, false, ":status", "200")
	x.pass(1)
	x.give(0, []byte{0, 0, 6, byte(settings), 0, 0, 0, 0, 0, 0, settingInitialWindow, 0, 0, 0, 100})
	if w := x.p.streams[1].half[1].stall.window; w != startWindow {
		t.Errorf("a window of %d before the acknowledgement", w)
	}
	x.server().WriteSettingsAck()
	x.pass(1)
	if w := x.p.streams[1].half[1].stall.window; w != 100 {
		t.Errorf("a window of %d after it", w)
	}
	x.ask(3)
	if w := x.p.streams[3].half[1].stall.window; w != 100 {
		t.Errorf("a new stream has a window of %d", w)
	}
}

// TestRequestBehindALoss: a request that fills its segment is read behind a lost one, whatever its fields begin with: Go's clients
// begin with :authority, which is in the table by then.
func TestRequestBehindALoss(t *testing.T) {
	x := newWire(t, nil)
	ask := func(stream uint32) {
		x.head(0, stream, false, ":authority", "a.example", ":method", "POST", ":path", "/", ":scheme", "http", "te", "trailers")
	}
	ask(1)
	x.pass(0)
	ask(3)
	x.miss(0, int64(len(x.take(0))))
	ask(5)
	x.pass(0)
	ask(7)
	x.pass(0)
	for _, stream := range []uint64{1, 5, 7} {
		if len(x.w.fields[lane{0, stream}]) != 5 {
			t.Errorf("request %d: %q", stream, x.w.fields[lane{0, stream}])
		}
	}
}

// TestDoubtAtTheEnd: what ended a message may be in a hole, so that nobody is to blame when the connection ends.
func TestDoubtAtTheEnd(t *testing.T) {
	x := newWire(t, nil)
	x.ask(1)
	x.head(1, 1, false, ":status", "200")
	x.pass(1)
	x.server().WriteData(1, true, []byte("12345678"))
	x.miss(1, int64(len(x.take(1))))
	x.p.Close(1, x.at, proto.Finished)
	if m := x.end(1); m.End != proto.Broken {
		t.Errorf("%+v", m)
	}
}
