package http2

import (
	"bytes"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// What is sent to fill the memory doesn't.
func TestFloods(t *testing.T) {
	const times = 20_000
	l := &proto.Limits{MaxHead: 8 << 10, MaxFields: 100, MaxStreams: 50, MaxMessage: 1 << 10}
	for _, c := range []struct {
		name string
		send func(x *wire, i int)
		want proto.Anomaly
	}{
		{"streams", func(x *wire, i int) {
			x.head(0, uint32(2*i+1), false, ":method", "POST", ":scheme", "http", ":path", "/")
		}, proto.StreamLimit},
		{"rapid reset", func(x *wire, i int) {
			x.head(0, uint32(2*i+1), true, ":method", "GET", ":scheme", "http", ":path", "/")
			x.client().WriteRSTStream(uint32(2*i+1), xhttp2.ErrCodeCancel)
		}, proto.FloodOfFrames},
		{"settings", func(x *wire, _ int) { x.client().WriteSettings() }, proto.FloodOfFrames},
		{"ping", func(x *wire, _ int) { x.client().WritePing(false, [8]byte{}) }, proto.FloodOfFrames},
		{"priority", func(x *wire, i int) { x.client().WritePriority(uint32(2*i+1), xhttp2.PriorityParam{}) }, proto.FloodOfFrames},
		{"empty data", func(x *wire, _ int) { x.client().WriteData(1, false, nil) }, proto.FloodOfFrames},
		{"continuation", func(x *wire, i int) {
			if i == 0 {
				x.client().WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			}
			x.client().WriteContinuation(1, i == times-1, bytes.Repeat([]byte{0x90}, i%3))
		}, proto.FloodOfFrames},
		{"large continuation", func(x *wire, i int) {
			if i == 0 {
				x.client().WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			}
			x.client().WriteContinuation(1, i == times-1, bytes.Repeat([]byte{0x90}, 1000))
		}, proto.HeaderBlockTooLarge},
		{"bomb", func(x *wire, i int) {
			if i == 0 {
				x.head(0, 1, true, ":method", "GET", ":scheme", "http", ":path", "/", "x", string(make([]byte, 3000)))
			} else if i < 100 {
				x.client().WriteHeaders(xhttp2.HeadersFrameParam{StreamID: uint32(2*i + 1), EndStream: true, EndHeaders: true,
					BlockFragment: append([]byte{0x82, 0x86, 0x84}, bytes.Repeat([]byte{0xbe}, 5000)...)})
			}
		}, proto.HeaderBlockTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newWire(t, l)
			most := 0
			for i := range times {
				c.send(x, i)
				x.pass(0)
				most = max(most, x.held)
			}
			if limit := 50*streamCost + 4*maxTable; most > limit || len(x.p.streams) > l.MaxStreams || len(x.p.free) > maxFree {
				t.Errorf("%d bytes held, limit %d; %d streams", most, limit, len(x.p.streams))
			}
			var all proto.Anomalies
			for _, m := range x.w.ends {
				all |= m.Anomalies
			}
			// What isn't a message's own is told with the next one.
			all |= x.p.sides[0].odd
			if !all.Has(c.want) {
				t.Errorf("%s isn't among the anomalies %b", c.want, all)
			}
			finish(t, x.p, &x.held)
		})
	}
}

// A stream beyond the limit isn't followed, and the next message says so.
func TestStreamLimit(t *testing.T) {
	x := newWire(t, &proto.Limits{MaxHead: 8 << 10, MaxFields: 100, MaxStreams: 2})
	for id := uint32(1); id <= 5; id += 2 {
		x.ask(id)
	}
	x.head(1, 5, true, ":status", "200")
	x.head(1, 1, true, ":status", "200")
	x.pass(1)
	x.ask(7)
	if _, ok := x.w.ends[lane{0, 5}]; ok {
		t.Error("there is a third stream")
	}
	if _, ok := x.w.ends[lane{1, 5}]; ok {
		t.Error("what isn't followed is answered")
	}
	if m := x.w.ends[lane{0, 7}]; m.End != proto.Whole || !m.Anomalies.Has(proto.StreamLimit) {
		t.Errorf("the next one: %+v", m)
	}
}

// recording is a tunnel's parser that remembers what it was given.
type recording struct {
	data   [2][]byte
	gaps   [2]int64
	closed [2]proto.CloseReason
	next   [2]int64
	t      *testing.T
}

func (r *recording) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	if at.Offset != r.next[d] {
		r.t.Errorf("bytes at %d, want %d", at.Offset, r.next[d])
	}
	r.next[d] += int64(len(b))
	r.data[d] = append(r.data[d], b...)
	return proceed
}
func (r *recording) Gap(d proto.Direction, n int64, _ clock.Mark) {
	r.gaps[d] += n
	r.next[d] += max(n, 0)
}
func (r *recording) Close(d proto.Direction, _ clock.Mark, why proto.CloseReason) { r.closed[d] = why }

func TestTunnel(t *testing.T) {
	for _, how := range []string{"fin", "rst", "close"} {
		x := newWire(t, nil)
		r := &recording{t: t}
		var nested proto.Nested
		x.p.nest = func(n proto.Nested) proto.Parser { nested = n; return r }
		x.head(0, 1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/chat", ":authority", "a")
		x.client().WriteData(1, false, []byte("early "))
		x.pass(0)
		x.head(1, 1, false, ":status", "200")
		x.server().WriteDataPadded(1, false, []byte("hello"), []byte{0, 0})
		x.pass(1)
		x.client().WriteData(1, false, []byte("more and more"))
		b := x.take(0)
		x.give(0, b[:frameHeader+4])
		x.miss(0, 5)
		x.give(0, b[frameHeader+9:])
		want := proto.Finished
		switch how {
		case "fin":
			x.client().WriteData(1, true, nil)
			x.pass(0)
			x.server().WriteData(1, true, nil)
			x.pass(1)
		case "rst":
			x.server().WriteRSTStream(1, xhttp2.ErrCodeCancel)
			x.pass(1)
			want = proto.StreamReset
			if x.w.aborts != 1 {
				t.Error("no Abort")
			}
		case "close":
			x.p.Close(0, x.at, proto.CaptureEnded)
			x.p.Close(1, x.at, proto.CaptureEnded)
			want = proto.CaptureEnded
		}
		if nested.Stream != 1 || nested.Hint != "websocket" {
			t.Errorf("nested %+v", nested)
		}
		if string(r.data[0]) != "early moremore" || string(r.data[1]) != "hello" || r.gaps != [2]int64{5, 0} || r.closed != [2]proto.CloseReason{want, want} {
			t.Errorf("%s: got %q, gaps %d, closed %s", how, r.data, r.gaps, r.closed)
		}
		if m := x.w.ends[lane{0, 1}]; m.End != proto.Upgraded {
			t.Errorf("the request ended %d", m.End)
		}
		if m := x.end(1); m.End != proto.Upgraded || m.Framing != proto.Tunnel {
			t.Errorf("the response ended %d", m.End)
		}
		if len(x.p.streams) != 0 {
			t.Errorf("%s: the stream is still there", how)
		}
	}
}

// The request of stream 1 came over HTTP/1: its answer comes before or after that of stream 3.
func TestUpgraded(t *testing.T) {
	w, held := newWitness(), 0
	p := New(&proto.Context{Sink: w, Limits: limits(), Held: &held, Prior: &proto.Message{Status: 101}})
	x := &wire{talk: newTalk(), t: t, w: w, p: p.(*Parser)}
	x.ends[0].sent.Reset()
	x.give(0, []byte(preface))
	x.ask(3)
	x.head(1, 3, true, ":status", "404")
	x.head(1, 1, false, ":status", "200")
	x.server().WriteData(1, true, []byte("hello"))
	x.pass(1)
	x.want(3, proto.Whole, 0, 0)
	x.want(1, proto.Whole, 5, 0)
	if len(x.p.streams) != 0 {
		t.Errorf("%d streams are still there", len(x.p.streams))
	}
}

// A parser that was used before behaves like a new one.
func TestSpare(t *testing.T) {
	x := newWire(t, nil)
	x.ask(1)
	x.head(1, 1, false, ":status", "200", "x-a", "1")
	x.server().WriteData(1, false, []byte("cut"))
	x.pass(1)
	finish(t, x.p, &x.held)
	c := converse(5, 10)
	w, held := newWitness(), 0
	p := New(&proto.Context{Sink: w, Limits: limits(), Held: &held, Spare: x.p})
	if p != proto.Parser(x.p) {
		t.Error("it isn't used again")
	}
	play(p, c.pieces, nil)
	finish(t, p, &held)
	for l := range c.fields {
		if m := w.ends[l]; m.End != proto.Whole || m.BodyBytes != c.bodies[l] || m.Anomalies != 0 {
			t.Errorf("%v ended %+v", l, m)
		}
	}
}

// What comes on a stream that is over opens none: not another request, nor a late answer. Numbers that were left out may still
// be answered, since their requests may have been missed.
func TestStreamsThatAreOver(t *testing.T) {
	x := newWire(t, nil)
	for _, id := range []uint32{1, 5, 7, 11} {
		x.ask(id)
	}
	x.head(1, 1, true, ":status", "200")
	x.pass(1)
	x.client().WriteRSTStream(7, xhttp2.ErrCodeCancel)
	x.pass(0)
	heads := len(x.w.ends)
	x.ask(1)
	for _, id := range []uint32{1, 7} {
		x.head(1, id, true, ":status", "500")
		x.pass(1)
	}
	if m := x.end(1); len(x.w.ends) != heads || m.Status != 200 {
		t.Errorf("%d messages, want %d; the answer is %d", len(x.w.ends), heads, m.Status)
	}
	x.head(1, 3, true, ":status", "404")
	x.pass(1)
	if m := x.end(3); m.Status != 404 {
		t.Error("the answer to a request that was missed isn't shown")
	}
	x.ask(13)
	if m := x.w.ends[lane{0, 13}]; !m.Anomalies.Has(proto.BadFrame) {
		t.Error("a number that is used again isn't odd")
	}
}

// A header block of as many bytes as the limit is shown, one of more is not, however it comes.
func TestHeadAtLimit(t *testing.T) {
	for _, frames := range []int{1, 2} {
		for _, more := range []int{0, 1, 40} {
			x := newWire(t, &proto.Limits{MaxHead: 200, MaxFields: 100, MaxStreams: 2})
			block := append([]byte{0x82, 0x86}, bytes.Repeat([]byte{0x84}, 198+more)...)
			n := len(block)
			if frames == 2 {
				n = 100
			}
			x.client().WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:n], EndStream: true, EndHeaders: frames == 1})
			if frames == 2 {
				x.client().WriteContinuation(1, true, block[n:])
			}
			b := x.take(0)
			x.give(0, b[:50])
			x.give(0, b[50:])
			m := x.w.ends[lane{0, 1}]
			// A block that lies within one frame, and comes whole, has its limit when it is decompressed.
			if tooLarge := m.End == proto.Broken; tooLarge != (more > 0 && (frames == 2 || more > maxOverhead)) {
				t.Errorf("%d frames, %d bytes more: ended %d with anomalies %b", frames, more, m.End, m.Anomalies)
			}
			finish(t, x.p, &x.held)
		}
	}
}

func TestFramesThatAreTooMuch(t *testing.T) {
	// More padding than there is room for.
	x := newWire(t, nil)
	x.head(0, 1, false, ":method", "POST", ":scheme", "http", ":path", "/")
	x.client().WriteRawFrame(xhttp2.FrameData, padded|endStream, 1, []byte{200, 'a', 'b'})
	x.ask(3)
	if m := x.w.ends[lane{0, 1}]; m.End != proto.Whole || m.BodyBytes != 0 {
		t.Errorf("too much padding: ended %d with %d bytes", m.End, m.BodyBytes)
	}
	if m := x.w.ends[lane{0, 3}]; !m.Anomalies.Has(proto.BadFrame) {
		t.Error("too much padding isn't odd")
	}
	// A larger frame than is allowed, and then one that is.
	x.head(0, 5, false, ":method", "POST", ":scheme", "http", ":path", "/")
	x.client().WriteData(5, true, make([]byte, startFrame+1))
	x.ask(7)
	if m := x.w.ends[lane{0, 7}]; !m.Anomalies.Has(proto.FrameTooLarge) || x.w.ends[lane{0, 5}].BodyBytes != startFrame+1 {
		t.Error("a frame that is too large isn't odd, or wasn't read")
	}
	x.give(1, []byte{0, 0, 6, byte(settings), 0, 0, 0, 0, 0, 0, settingMaxFrame, 0, 0, 0x80, 0})
	x.head(0, 9, false, ":method", "POST", ":scheme", "http", ":path", "/")
	x.client().WriteData(9, true, make([]byte, startFrame+1))
	x.ask(11)
	if m := x.w.ends[lane{0, 11}]; m.Anomalies.Has(proto.FrameTooLarge) {
		t.Error("a frame that is allowed is called too large")
	}
}

// Of what a client sends before a tunnel is open the beginning is kept, and the rest is a gap.
func TestMuchEarly(t *testing.T) {
	x := newWire(t, nil)
	r := &recording{t: t}
	x.p.nest = func(proto.Nested) proto.Parser { return r }
	x.head(0, 1, false, ":method", "CONNECT", ":authority", "a:443")
	x.client().WriteData(1, false, make([]byte, 16000))
	x.client().WriteData(1, false, make([]byte, 16000))
	x.pass(0)
	x.head(1, 1, false, ":status", "200")
	x.pass(1)
	x.client().WriteData(1, false, []byte("more"))
	x.pass(0)
	if len(r.data[0]) != maxEarly+4 || r.gaps[0] != 32000-maxEarly {
		t.Errorf("%d bytes, %d missing", len(r.data[0]), r.gaps[0])
	}
}
