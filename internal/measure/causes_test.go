package measure_test

import (
	"math/rand/v2"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/proto"
)

const ms = int64(1e6)

// tapped returns an exchange of a tap that is 10 ms from the client and 30 ms from the server and back. It connected from 1,000 to
// 1,040, sent from 1,100 to 1,200, waited until 1,300 and received until 1,500; all in milliseconds.
func tapped() *exchange.Exchange {
	x := times{1000 * ms, 1040 * ms, 1100 * ms, 1200 * ms, 1300 * ms, 1500 * ms, 1500 * ms, 0}.exchange()
	x.Start = x.Request.First
	f := &x.Conn
	f.SYNACK, f.SYNs, f.SYNACKs = 1030*ms, 1, 1
	f.Half[proto.Originator] = proto.HalfFacts{Packets: 9, RTTSamples: 3, MinRTT: 30 * ms, RTT: 31 * ms}
	f.Half[proto.Responder] = proto.HalfFacts{Packets: 9, RTTSamples: 3, MinRTT: 10 * ms, RTT: 11 * ms}
	return x
}

func TestCauses(t *testing.T) {
	const (
		c, s       = proto.Originator, proto.Responder
		beyond     = true
		before     = false
		full       = proto.WindowFull
		recovery   = proto.Recovery
		congestion = proto.CongestionWindow
	)
	episode := func(of proto.Direction, kind proto.Hindrance, beyond bool, from, to int64) proto.Episode {
		return proto.Episode{Of: of, Kind: kind, Beyond: beyond, From: from * ms, To: to * ms, Held: (to - from) * ms, Count: 1}
	}
	type split [exchange.Phases]exchange.Causes
	known := func(client, clientNetwork, serverNetwork, server int64) exchange.Causes {
		return exchange.Causes{Client: client * ms, ClientNetwork: clientNetwork * ms, ServerNetwork: serverNetwork * ms, Server: server * ms, Known: true}
	}
	plain := split{known(0, 10, 30, 0), known(100, 0, 0, 0), known(0, 0, 30, 70), known(0, 0, 0, 200)}
	with := func(p exchange.Phase, of exchange.Causes) split {
		changed := plain
		changed[p] = of
		return changed
	}
	for _, q := range []struct {
		name   string
		change func(x *exchange.Exchange)
		want   split
	}{
		{"nothing held it up", func(x *exchange.Exchange) {}, plain},
		{"the client's window was full", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(s, full, before, 1350, 1400)}
		}, with(exchange.PhaseReceive, known(50, 0, 0, 150))},
		{"the server's window was full", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(c, full, before, 1050, 1150)}
		}, with(exchange.PhaseSend, known(50, 0, 0, 50))},
		{"of the response, lost before the tap", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(s, recovery, before, 1350, 1400)}
		}, with(exchange.PhaseReceive, known(0, 0, 50, 150))},
		{"of the response, lost behind the tap", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(s, recovery, beyond, 1350, 1400)}
		}, with(exchange.PhaseReceive, known(0, 50, 0, 150))},
		{"the request came again while the server waited for it", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(c, recovery, beyond, 1200, 1260)}
		}, with(exchange.PhaseWait, known(0, 0, 90, 10))},
		{"what the client sent later doesn't keep the answer", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(c, recovery, beyond, 1210, 1260)}
		}, plain},
		{"the answer's first segment was lost before the tap", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(s, recovery, before, 1260, 1300)}
		}, with(exchange.PhaseWait, known(0, 0, 70, 30))},
		{"what held the connection up was over before the answer", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(s, full, before, 1210, 1260)}
		}, plain},
		{"a loss explains a full window", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(s, full, before, 1340, 1420), episode(s, recovery, beyond, 1350, 1400)}
		}, with(exchange.PhaseReceive, known(30, 50, 0, 120))},
		{"neighbours that were joined held for a part of the time", func(x *exchange.Exchange) {
			e := episode(s, full, before, 1350, 1450)
			e.Held, e.Count = 20*ms, 2
			x.Episodes = []proto.Episode{e}
		}, with(exchange.PhaseReceive, known(20, 0, 0, 180))},
		{"a delayed acknowledgement is the receiver's", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(c, proto.DelayedAck, before, 1110, 1150)}
		}, with(exchange.PhaseSend, known(60, 0, 0, 40))},
		{"bursts wait for a round trip: each side has its part", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(s, congestion, before, 1300, 1340)}
		}, with(exchange.PhaseReceive, known(0, 10, 30, 160))},
		{"one by one, and no queue behind the tap: the link is before it", func(x *exchange.Exchange) {
			e := episode(s, congestion, before, 1300, 1400)
			e.Count = 50
			x.Episodes = []proto.Episode{e}
		}, with(exchange.PhaseReceive, known(0, 0, 100, 100))},
		{"one by one, and a queue behind the tap", func(x *exchange.Exchange) {
			e := episode(s, congestion, before, 1300, 1400)
			e.Count = 50
			x.Episodes = []proto.Episode{e}
			x.Episodes[0].Bytes = 20_000
		}, with(exchange.PhaseReceive, known(0, 100, 0, 100))},
		{"one by one, and the round trip to the client is the longer one", func(x *exchange.Exchange) {
			e := episode(s, congestion, beyond, 1300, 1400)
			e.Count, e.Placed = 50, true
			x.Episodes = []proto.Episode{e}
		}, with(exchange.PhaseReceive, known(0, 100, 0, 100))},
		{"after a loss the window is small by the loss", func(x *exchange.Exchange) {
			x.Episodes = []proto.Episode{episode(s, recovery, beyond, 1310, 1320), episode(s, congestion, before, 1330, 1400)}
		}, with(exchange.PhaseReceive, known(0, 80, 0, 120))},
		{"the client waited for leave to send the body", func(x *exchange.Exchange) {
			m := &x.Request
			m.Raw = []byte("expect100-continue")
			m.Fields = []proto.Field{{Name: proto.Span{Len: 6}, Value: proto.Span{Off: 6, Len: 12}}}
			x.Interim = []exchange.Interim{{Status: 100, At: clock.Mark{Time: 1170 * ms}}}
		}, with(exchange.PhaseSend, known(30, 0, 30, 40))},
		{"flow control held the response up", func(x *exchange.Exchange) { x.Response.Stalled = 250 * ms }, split{
			plain[0], plain[1], known(50, 0, 30, 20), known(200, 0, 0, 0)}},
		{"flow control held the request up", func(x *exchange.Exchange) { x.Request.Stalled = 40 * ms }, with(exchange.PhaseSend, known(60, 0, 0, 40))},
		{"the SYN came again", func(x *exchange.Exchange) {
			f := &x.Conn
			f.SYN, f.SYNs, f.LastSYN = 0, 2, 1000*ms
			f.SYN = 1 * ms
		}, with(exchange.PhaseConnect, known(0, 10, 1029, 0))},
		{"the round trip of the acknowledgement is the least", func(x *exchange.Exchange) { x.Acked.Time = 1205 * ms }, with(exchange.PhaseWait, known(0, 0, 5, 95))},
		{"how far the server is isn't known", func(x *exchange.Exchange) {
			x.Conn.SYN, x.Conn.SYNACK, x.Conn.Half[c].RTTSamples = 0, 0, 0
		}, split{{}, plain[1], {}, plain[3]}},
		{"one side alone was seen", func(x *exchange.Exchange) { x.Conn.Half[s].Packets = 0 }, split{}},
		{"a second one has no handshake", func(x *exchange.Exchange) { x.Index = 1 }, with(exchange.PhaseConnect, exchange.Causes{})},
		{"no answer until the end", func(x *exchange.Exchange) {
			x.HasResponse, x.Completed.Time = false, 1300*ms
		}, with(exchange.PhaseReceive, exchange.Causes{})},
	} {
		x := tapped()
		q.change(x)
		measure.Time(x)
		if got := split(x.Timing.Causes); got != q.want {
			t.Errorf("%s:\n got %+v\nwant %+v", q.name, got, q.want)
		}
		exact(t, q.name, x)
	}
}

// TestTLSRow: what was lost during a TLS handshake is taken from the network's part of it.
func TestTLSRow(t *testing.T) {
	x := tapped()
	x.TLS = &proto.TLS{Hello: clock.Mark{Time: 1041 * ms}, Finished: 1091 * ms, TurnTime: [2]int64{15 * ms, 50 * ms}, Turns: [2]int{1, 1}}
	x.Episodes = []proto.Episode{{Of: proto.Responder, Kind: proto.Recovery, Beyond: true, From: 1050 * ms, To: 1058 * ms, Held: 8 * ms}}
	measure.Time(x)
	var l measure.Ledger
	l.Take(x)
	want := [measure.Causes]int64{measure.ClientWork: 5 * ms, measure.ServerWork: 20 * ms, measure.ClientLoss: 8 * ms, measure.ClientPath: 4250000, measure.ServerPath: 12750000}
	if l.Rows[measure.TLS] != want {
		t.Errorf("got %v, want %v", l.Rows[measure.TLS], want)
	}
	exact(t, "TLS", x)
}

// exact checks that the causes of each part add up to it, to the nanosecond, and that none is negative.
func exact(t *testing.T, name string, x *exchange.Exchange) {
	t.Helper()
	var l measure.Ledger
	l.Take(x)
	tm := &x.Timing
	for row, part := range [measure.Rows]int64{tm.Connect, tm.Send, tm.Wait, tm.Receive, tm.TLS} {
		var sum int64
		for cause, n := range l.Rows[row] {
			if n < 0 {
				t.Errorf("%s: row %d: cause %d has %d ns", name, row, cause, n)
			}
			sum += n
		}
		if sum != max(part, 0) {
			t.Errorf("%s: row %d: the causes add up to %d ns, the part is %d", name, row, sum, part)
		}
	}
	for p, part := range [exchange.Phases]int64{tm.Connect, tm.Send, tm.Wait, tm.Receive} {
		if c := &tm.Causes[p]; c.Known && c.Sum() != part {
			t.Errorf("%s: %s: the parties add up to %d ns, the phase is %d", name, exchange.Phase(p), c.Sum(), part)
		}
	}
}

// FuzzCauses: whatever the packets' times and the episodes, the causes add up exactly, and none is negative.
func FuzzCauses(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(3))
	f.Add(uint64(2), uint8(255), uint8(32))
	f.Add(uint64(3), uint8(0b1010), uint8(60))
	f.Fuzz(func(t *testing.T, seed uint64, what, episodes uint8) {
		exact(t, "random", random(seed, what, episodes))
	})
}

// random makes an exchange with times and episodes in any order.
func random(seed uint64, what, episodes uint8) *exchange.Exchange {
	r := rand.New(rand.NewPCG(seed, uint64(what)))
	moment := func() int64 { return r.Int64N(5e9) }
	if seed%3 == 0 {
		moment = func() int64 { return r.Int64N(1<<61) - 1<<60 }
	}
	has := func(bit uint8) bool { return what>>bit&1 == 0 }
	x := times{moment(), moment(), moment(), moment(), moment(), moment(), moment(), uint32(seed % 2)}.exchange()
	x.HasRequest, x.HasResponse = has(0), has(1)
	x.Start = x.Request.First
	f := &x.Conn
	f.SYNACK, f.SYNs, f.SYNACKs, f.LastSYN, f.LastSYNACK = moment(), uint16(r.IntN(4)), uint16(r.IntN(4)), moment(), moment()
	for d := range f.Half {
		f.Half[d] = proto.HalfFacts{Packets: uint64(r.IntN(3)), RTTSamples: uint32(r.IntN(2)), MinRTT: r.Int64N(1e9), RTT: r.Int64N(2e9)}
	}
	if has(2) {
		x.Acked.Time = moment()
	}
	if has(3) {
		x.TLS = &proto.TLS{Hello: clock.Mark{Time: moment()}, Finished: moment(), TurnTime: [2]int64{r.Int64N(1e9), r.Int64N(1e9)}, Turns: [2]int{r.IntN(3), r.IntN(3)}}
	}
	x.Request.Stalled, x.Response.Stalled = r.Int64N(2e9), r.Int64N(2e9)
	if has(4) {
		x.Request.Greeting = moment()
	}
	if has(5) {
		m := &x.Request
		m.Raw = []byte("expect100-continue")
		m.Fields = []proto.Field{{Name: proto.Span{Len: 6}, Value: proto.Span{Off: 6, Len: 12}}}
		x.Interim = []exchange.Interim{{Status: 100, At: clock.Mark{Time: moment()}}}
	}
	for range episodes {
		e := proto.Episode{
			Of: proto.Direction(r.IntN(2)), Kind: proto.Hindrance(r.IntN(int(proto.NumHindrances))), How: proto.Repair(r.IntN(5)), Beyond: r.IntN(2) == 0,
			From: moment(), To: moment(), Held: r.Int64N(4e9) - 1e9, Count: uint32(r.IntN(9)), First: r.Uint64N(99), Last: r.Uint64N(99), Bytes: r.Int64N(1e6),
		}
		x.Episodes = append(x.Episodes, e)
	}
	measure.Time(x)
	return x
}
