package measure_test

import (
	"math"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/proto"
)

// times are when the parts of an exchange were seen, in any unit; none: it wasn't.
type times struct {
	syn, ready       int64
	request, sent    int64
	response, ending int64
	completed        int64
	index            uint32
}

const none = math.MinInt64

func (c times) exchange() *exchange.Exchange {
	mark := func(t int64) clock.Mark { return clock.Mark{Time: t} }
	x := &exchange.Exchange{Index: c.index, HasRequest: c.request != none, HasResponse: c.response != none, Completed: mark(c.completed)}
	if x.HasRequest {
		x.Request.First, x.Request.Last = mark(c.request), mark(c.sent)
	}
	if x.HasResponse {
		x.Response.First, x.Response.Last = mark(c.response), mark(c.ending)
	}
	x.Conn = proto.Facts{SYN: c.syn, Ready: c.ready}
	return x
}

func TestTime(t *testing.T) {
	for _, c := range []struct {
		name string
		in   times
		want exchange.Timing
	}{
		{"the first of a connection", times{100, 130, 150, 160, 200, 230, 230, 0},
			exchange.Timing{Idle: 20, Connect: 30, TLS: -1, Send: 10, Wait: 40, Receive: 30, Overlap: 0, Duration: 80, Total: 130}},
		{"the second", times{100, 130, 150, 160, 200, 230, 230, 1},
			exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: 10, Wait: 40, Receive: 30, Overlap: 0, Duration: 80, Total: 80}},
		{"no handshake seen", times{0, 0, 150, 160, 200, 230, 230, 0},
			exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: 10, Wait: 40, Receive: 30, Overlap: 0, Duration: 80, Total: 80}},
		{"an early response", times{0, 0, 100, 500, 200, 220, 500, 1},
			exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: 100, Wait: 0, Receive: 20, Overlap: 300, Duration: 120, Total: 120}},
		{"100 Continue ends no wait: the body is still being sent", times{0, 0, 100, 300, 400, 410, 410, 1},
			exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: 200, Wait: 100, Receive: 10, Overlap: 0, Duration: 310, Total: 310}},
		{"hung until the connection ended", times{0, 0, 100, 110, none, none, 900, 1},
			exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: 10, Wait: 790, Receive: -1, Overlap: -1, Duration: 800, Total: 800}},
		{"a response alone", times{100, 130, none, none, 200, 230, 230, 0},
			exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: -1, Wait: -1, Receive: 30, Overlap: -1, Duration: -1, Total: -1}},
		{"the response was captured first", times{0, 0, 150, 160, 120, 140, 160, 1},
			exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: 0, Wait: 0, Receive: 20, Overlap: 40, Duration: 20, Total: 20}},
		{"the clock went back", times{200, 100, 90, 50, 40, 30, 20, 0},
			exchange.Timing{Idle: 0, Connect: 0, TLS: -1, Send: 0, Wait: 0, Receive: 0, Overlap: 10, Duration: 0, Total: 0}},
	} {
		x := c.in.exchange()
		measure.Time(x)
		c.want.Handshake = exchange.UnknownTiming.Handshake
		if x.Timing != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, x.Timing, c.want)
		}
	}
}

// TestHandshake: who took the time of a TLS handshake. The tap is 10 from the client and 40 from the server and back.
func TestHandshake(t *testing.T) {
	x := times{100, 150, 500, 510, 600, 610, 610, 0}.exchange()
	x.Conn.SYNACK, x.Conn.SYNs, x.Conn.SYNACKs = 140, 1, 1
	x.TLS = &proto.TLS{Hello: clock.Mark{Time: 160}, Finished: 360, TurnTime: [2]int64{55, 130}, Turns: [2]int{1, 1}}
	measure.Time(x)
	got, want := x.Timing, exchange.Timing{
		Idle: 140, Connect: 50, TLS: 200, Send: 10, Wait: 90, Receive: 10, Duration: 110, Total: 500,
		Handshake: exchange.Split{Client: 45, Server: 90, Network: 65},
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	x.Index = 1 // later ones of the connection had no handshake
	if measure.Time(x); x.Timing.TLS != -1 || x.Timing.Handshake.Server != -1 {
		t.Errorf("a later exchange has %+v", x.Timing)
	}
	x.Index, x.Conn.SYNACKs = 0, 2 // which one was answered isn't known
	if measure.Time(x); x.Timing.TLS != 200 || x.Timing.Handshake.Server != -1 {
		t.Errorf("without a sure round trip: %+v", x.Timing)
	}
}

// TestBare: a connection of which no message was read lasted from its first byte to its end, and a message of a session from its first
// byte to its last.
func TestBare(t *testing.T) {
	x := times{100, 130, none, none, none, none, 900, 0}.exchange()
	x.Start.Time = 140
	if measure.Time(x); x.Timing.Duration != 760 || x.Timing.Connect != 30 || x.Timing.Total != 790 {
		t.Errorf("%+v", x.Timing)
	}
	x = times{100, 130, 10, 20, 200, 230, 230, 3}.exchange()
	x.Message = &exchange.SessionMessage{Dir: proto.Responder}
	if measure.Time(x); x.Timing.Duration != 30 || x.Timing.Wait != -1 {
		t.Errorf("%+v", x.Timing)
	}
}

// FuzzTime: no part is negative but for -1, and the sums are exact.
func FuzzTime(f *testing.F) {
	f.Add(int64(1), int64(2), int64(3), int64(4), int64(5), int64(6), int64(7), uint8(3))
	f.Fuzz(func(t *testing.T, syn, ready, request, sent, response, ending, completed int64, what uint8) {
		// Capture times lie within a few hundred years of 1970.
		for _, at := range []*int64{&syn, &ready, &request, &sent, &response, &ending, &completed} {
			*at %= 1 << 60
		}
		c := times{syn, ready, request, sent, response, ending, completed, uint32(what >> 7)}
		if what&1 == 0 {
			c.request = none
		}
		if what&2 == 0 {
			c.response = none
		}
		x := c.exchange()
		measure.Time(x)
		if !x.HasRequest && !x.HasResponse {
			if x.Timing.Duration < 0 || x.Timing.Wait != -1 {
				t.Errorf("without messages: %+v", x.Timing)
			}
			return // it has a duration, and no parts
		}
		check(t, x)
	})
}

// check checks what holds for all timings.
func check(t testing.TB, x *exchange.Exchange) {
	t.Helper()
	g := &x.Timing
	for _, part := range []int64{g.Idle, g.Connect, g.TLS, g.Send, g.Wait, g.Receive, g.Overlap, g.Duration, g.Total} {
		if part < -1 {
			t.Errorf("a part is negative: %+v", *g)
		}
	}
	sum := int64(-1)
	if x.HasRequest {
		sum = g.Send + g.Wait + max(g.Receive, 0)
	}
	if g.Duration != sum {
		t.Errorf("the duration isn't the sum of its parts: %+v", *g)
	}
	if sum >= 0 {
		sum += max(g.Idle, 0) + max(g.Connect, 0) + max(g.TLS, 0)
	}
	if g.Total != sum {
		t.Errorf("the total isn't the sum of all parts: %+v", *g)
	}
	if x.Index > 0 && (g.Connect >= 0 || g.Idle >= 0 || g.TLS >= 0) {
		t.Errorf("exchange %d of a connection has its beginning: %+v", x.Index, *g)
	}
}

// The wait for the greeting of a server that speaks first is the server's, and the client's answer to it the client's.
func TestGreeting(t *testing.T) {
	x := &exchange.Exchange{HasRequest: true, HasResponse: true}
	x.Conn.SYN, x.Conn.Ready = 1000, 1010
	x.Request.Greeting = 5000
	x.Request.First.Time, x.Request.Last.Time = 5030, 5031
	x.Response.First.Time, x.Response.Last.Time = 5050, 5060
	x.Start.Time = 5030
	measure.Time(x)
	want := exchange.Timing{Idle: 30, Connect: 10, TLS: -1, Send: 1, Wait: 3990 + 19, Receive: 10, Duration: 4020, Total: 4060, Handshake: exchange.UnknownTiming.Handshake}
	if x.Timing != want || x.Start.Time != 1010 {
		t.Errorf("%+v from %d, want %+v from 1010", x.Timing, x.Start.Time, want)
	}
	x.Request.Greeting = 6000 // which can't be
	x.Start.Time = 5030
	if measure.Time(x); x.Timing.Wait != 19 || x.Start.Time != 5030 {
		t.Errorf("%+v from %d", x.Timing, x.Start.Time)
	}
}
