package udp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// wire plays datagrams into a table and writes down what is told of them.
type wire struct {
	t      *testing.T
	table  *Table
	now    int64
	number uint64
	id     uint16
	net    uint32
	log    strings.Builder
	flows  []*proto.Flow
	facts  []*proto.Facts
	firsts []uint64
}

func newWire(t *testing.T, limits Limits) *wire {
	w := &wire{t: t, now: 1e18}
	w.table = New(func(f *proto.Flow, facts *proto.Facts, p *packet.Packet) proto.Datagrams {
		w.flows, w.facts, w.firsts = append(w.flows, f), append(w.facts, facts), append(w.firsts, p.Number)
		return &recorder{wire: w, n: len(w.flows)}
	}, limits)
	return w
}

// recorder is what takes the datagrams of the nth flow.
type recorder struct {
	wire   *wire
	n      int
	offset [2]int64
	latest clock.Mark
	closed bool
}

func (r *recorder) Datagram(d proto.Direction, b []byte, size int, at clock.Mark) {
	if at.Offset != r.offset[d] || at.Peer != -1 || at.Time != r.wire.now || at.Packet != r.wire.number || r.closed {
		r.wire.t.Errorf("flow %d: mark %+v after %d bytes, closed %v", r.n, at, r.offset[d], r.closed)
	}
	r.offset[d] += int64(size)
	r.latest = at
	fmt.Fprintf(&r.wire.log, "%d%s%s", r.n, []string{">", "<"}[d], b)
	if size > len(b) {
		fmt.Fprintf(&r.wire.log, "(of %d)", size)
	}
	r.wire.log.WriteByte(' ')
}

func (r *recorder) Close(at clock.Mark, why proto.CloseReason) {
	f := r.wire.facts[r.n-1]
	ended := r.latest
	if why == proto.Reset {
		ended = at
	}
	if r.closed || f.Why != why || f.Closed != ended {
		r.wire.t.Errorf("flow %d: closed %v at %+v, the facts say %v at %+v; before: %v", r.n, why, at, f.Why, f.Closed, r.closed)
	}
	r.closed = true
	fmt.Fprintf(&r.wire.log, "%d%v ", r.n, why)
}

// end is an address of one byte, and a port.
type end struct {
	host byte
	port uint16
}

var client, server = end{1, 40000}, end{2, 53}

func (w *wire) packet(from, to end, payload string) *packet.Packet {
	w.number++
	w.now += int64(time.Millisecond)
	w.id++
	return &packet.Packet{
		Time: w.now, Number: w.number, Proto: packet.ProtoUDP, Net: w.net, IPID: w.id,
		Src: packet.Addr{15: from.host}, Dst: packet.Addr{15: to.host}, SrcPort: from.port, DstPort: to.port,
		Payload: []byte(payload), PayloadLen: len(payload),
	}
}

func (w *wire) give(p *packet.Packet) tcp.Verdict {
	key, fromLo := p.Key()
	return w.table.Packet(p, &key, fromLo)
}

func (w *wire) send(from, to end, payload string) {
	w.t.Helper()
	if v := w.give(w.packet(from, to, payload)); v != tcp.Analysed {
		w.t.Errorf("packet %d: %v", w.number, v)
	}
}

// icmp sends an error about a datagram.
func (w *wire) icmp(from, to end, kind, code uint8) tcp.Verdict {
	p := w.packet(from, to, "")
	p.ICMP = packet.ICMPHeader{From: packet.Addr{15: 9}, Type: kind, Code: code, MTU: 7}
	key, fromLo := p.Key()
	return w.table.ICMP(p, &key, fromLo)
}

// pass lets capture time go by, with its ticks.
func (w *wire) pass(d time.Duration) {
	for end := w.now + int64(d); w.now < end; {
		w.now += int64(clock.Tick)
		w.table.Tick(w.now-1e18, clock.Mark{Time: w.now, Packet: w.number, Peer: -1})
	}
}

func (w *wire) want(log string) {
	w.t.Helper()
	if got := strings.TrimSpace(w.log.String()); got != log {
		w.t.Errorf("was told\n  %s\nwant\n  %s", got, log)
	}
	w.log.Reset()
}

func TestFlows(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(w *wire)
		want string
	}{
		{"a question and its answer", func(w *wire) {
			w.send(client, server, "q")
			w.send(server, client, "a")
			w.pass(1900 * time.Millisecond)
			w.send(client, server, "q")
			w.pass(3 * time.Second) // waits
			w.send(server, client, "a")
			w.pass(3 * time.Second)
			w.send(client, server, "q")
		}, "1>q 1<a 1>q 1<a 1timeout 2>q"},
		{"no answer", func(w *wire) {
			w.send(client, server, "q")
			w.pass(20 * time.Second)
			w.send(client, server, "q")
			w.pass(29 * time.Second)
			w.send(server, client, "a")
			w.pass(29 * time.Second)
			w.send(server, client, "a")
			w.pass(3 * time.Second)
		}, "1>q 1>q 1<a 1<a 1timeout"},
		{"silence", func(w *wire) {
			w.send(client, server, "q")
			w.pass(31 * time.Second)
		}, "1>q 1timeout"},
		{"a long conversation pauses", func(w *wire) {
			for range 9 {
				w.send(client, server, "x")
				w.send(server, client, "y")
			}
			w.log.Reset()
			w.pass(20 * time.Second)
			w.send(client, server, "x")
			w.pass(31 * time.Second)
		}, "1>x 1timeout"},
		{"the capture begins with an answer", func(w *wire) {
			w.send(server, client, "a")
			w.send(client, server, "q")
		}, "1<a 1>q"},
		{"it doesn't begin with what goes to everybody", func(w *wire) {
			p := w.packet(server, client, "hello")
			p.Dst = packet.Addr{10: 0xff, 11: 0xff, 12: 255, 13: 255, 14: 255, 15: 255}
			w.give(p)
			p = w.packet(server, client, "hello")
			p.Dst = packet.Addr{10: 0xff, 11: 0xff, 12: 224, 15: 251}
			w.give(p)
		}, "1>hello 2>hello"},
		{"two service ports", func(w *wire) {
			w.send(end{1, 53}, end{2, 123}, "q")
			w.send(end{2, 123}, end{1, 53}, "a")
		}, "1>q 1<a"},
		{"flows by address and port", func(w *wire) {
			w.send(client, server, "q")
			w.send(end{1, 40001}, server, "r")
			w.send(end{3, 40000}, server, "s")
			w.send(server, end{1, 40001}, "b")
			w.send(server, client, "a")
		}, "1>q 2>r 3>s 2<b 1<a"},
		{"one port with itself", func(w *wire) {
			w.send(end{1, 123}, end{1, 123}, "a")
			w.send(end{1, 123}, end{1, 123}, "b")
		}, "1>a 1>b"},
		{"multicast", func(w *wire) {
			w.send(end{1, 5353}, end{224, 5353}, "who")
			w.send(end{2, 5353}, end{224, 5353}, "me")
		}, "1>who 2>me"},
		{"empty, and cut by the snap length", func(w *wire) {
			w.send(client, server, "")
			p := w.packet(client, server, "abc")
			p.PayloadLen = 500
			w.give(p)
			w.send(client, server, "d")
		}, "1> 1>abc(of 500) 1>d"},
		{"two networks", func(w *wire) {
			for w.net = range uint32(2) {
				w.send(client, server, "q")
				w.send(server, client, "a")
			}
		}, "1>q 1<a 2>q 2<a"},
		{"one direction tagged", func(w *wire) {
			w.net = 42
			w.send(client, server, "q")
			w.net = 0
			w.send(server, client, "a")
			w.net = 42
			w.send(client, server, "q")
			w.net = 0
			w.send(server, client, "a")
			w.pass(3 * time.Second)
			w.send(server, client, "late")
			w.pass(31 * time.Second)
			w.net = 42
			w.send(client, server, "again")
			w.net = 0
			w.send(server, client, "b")
		}, "1>q 1<a 1>q 1<a 1timeout 2<late 2timeout 3>again 3<b"},
		{"the end", func(w *wire) {
			w.send(client, server, "q")
			w.send(end{1, 40001}, server, "r")
			w.send(server, end{1, 40001}, "b")
		}, "1>q 2>r 2<b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, DefaultLimits)
			c.play(w)
			w.want(c.want)
			w.table.Close(clock.Mark{Time: w.now})
			if w.table.Memory() != 0 || w.table.Counters.Open != 0 || w.table.flows.count+len(w.table.aliases) != 0 || w.table.Counters.Flows != uint64(len(w.flows)) {
				t.Errorf("in the end: memory %d, %d keys, counters %+v", w.table.Memory(), w.table.flows.count+len(w.table.aliases), w.table.Counters)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.send(client, server, "quest")
	begin := w.now
	w.send(client, server, "ion")
	w.send(server, client, "answer")
	f, facts := w.flows[0], w.facts[0]
	o, r := facts.Half[proto.Originator], facts.Half[proto.Responder]
	if o.Packets != 2 || o.Bytes != 8 || o.First != begin || o.Last != begin+1e6 || r.Packets != 1 || r.Bytes != 6 || r.First != w.now || r.Last != w.now {
		t.Errorf("facts %+v, %+v", o, r)
	}
	if o.WindowScale != -1 || r.WindowScale != -1 || facts.Why != proto.Open {
		t.Errorf("window scales %d, %d, closed %v", o.WindowScale, r.WindowScale, facts.Why)
	}
	if f.First != (clock.Mark{Time: begin, Packet: 1, Peer: -1}) || f.Midstream || f.Port != [2]uint16{40000, 53} || f.Addr != [2]packet.Addr{{15: 1}, {15: 2}} || f.Proto != packet.ProtoUDP || w.firsts[0] != 1 {
		t.Errorf("flow %+v, first packet %d", f, w.firsts[0])
	}
	w.send(server, end{1, 50000}, "answer")
	if f := w.flows[1]; !f.Midstream || f.Port != [2]uint16{50000, 53} || f.Addr != [2]packet.Addr{{15: 1}, {15: 2}} {
		t.Errorf("flow %+v", f)
	}
}

func TestCapturedTwice(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *packet.Packet) // the copy
		want   tcp.Verdict
	}{
		{"the same", func(*packet.Packet) {}, tcp.Duplicate},
		{"after 100 ms", func(p *packet.Packet) { p.Time += 100e6 }, tcp.Duplicate},
		{"later", func(p *packet.Packet) { p.Time += 101e6 }, tcp.Analysed},
		{"another IP id", func(p *packet.Packet) { p.IPID++ }, tcp.Analysed},
		{"other bytes", func(p *packet.Packet) { p.Payload = []byte("Q") }, tcp.Analysed},
		{"another length", func(p *packet.Packet) { p.PayloadLen++ }, tcp.Analysed},
		{"the other direction", func(p *packet.Packet) {
			p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		}, tcp.Analysed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, DefaultLimits)
			first := w.packet(client, server, "q")
			w.give(first)
			for i := range 3 { // captured on another interface, three behind
				w.send(client, server, fmt.Sprint(i))
			}
			p := *first
			c.change(&p)
			w.now, w.number = p.Time, p.Number
			if v := w.give(&p); v != c.want {
				t.Errorf("%v, want %v", v, c.want)
			}
			n := uint32(0)
			if c.want == tcp.Duplicate {
				n = 1
			}
			if h := w.facts[0].Half[0]; h.Duplicates != n || h.Packets+uint64(n) != 5 && c.name != "the other direction" {
				t.Errorf("%d duplicates, %d packets", h.Duplicates, h.Packets)
			}
		})
	}
	for _, c := range []struct {
		after int64
		ttl   uint8
		want  tcp.Verdict
	}{{1e6, 63, tcp.Duplicate}, {1e6 + 1, 63, tcp.Analysed}, {0, 64, tcp.Analysed}, {1e6, 64, tcp.Analysed}} {
		w := newWire(t, DefaultLimits)
		p := w.packet(client, server, "q")
		p.IPID, p.TTL = 0, 64
		w.give(p)
		p.Time += c.after
		p.TTL = c.ttl
		w.now = p.Time
		if v := w.give(p); v != c.want {
			t.Errorf("without an IP id, %d ns later, hop limit %d: %v, want %v", c.after, c.ttl, v, c.want)
		}
	}
	// The answers come through another network, and so do their copies.
	w := newWire(t, DefaultLimits)
	w.net = 42
	w.send(client, server, "q")
	for i, c := range []struct {
		net  uint32
		want tcp.Verdict
	}{{0, tcp.Analysed}, {0, tcp.Analysed}, {42, tcp.Duplicate}} {
		p := w.packet(server, client, "a")
		w.now -= int64(time.Millisecond)
		p.Time, p.IPID, p.Net = w.now, 0, c.net
		if v := w.give(p); v != c.want {
			t.Errorf("answer %d: %v, want %v", i, v, c.want)
		}
	}
}

// A flow knows nothing of the one whose memory it has.
func TestCapturedTwiceInAnotherFlow(t *testing.T) {
	limits := DefaultLimits
	limits.MaxFlows = 1
	w := newWire(t, limits)
	p := w.packet(client, server, "q")
	w.give(p)
	p.SrcPort++
	if v := w.give(p); v != tcp.Analysed {
		t.Errorf("the same bytes in another flow: %v", v)
	}
	w.want("1>q 1evicted 2>q")
}

func TestICMP(t *testing.T) {
	w := newWire(t, DefaultLimits)
	if v := w.icmp(client, server, 3, 3); v != tcp.Unrelated {
		t.Errorf("about no flow: %v", v)
	}
	w.send(client, server, "q")
	if v := w.icmp(server, client, 3, 3); v != tcp.Unrelated || w.facts[0].Errors != 0 {
		t.Errorf("about what the server hasn't sent: %v", v)
	}
	if v := w.icmp(client, server, 3, 1); v != tcp.Analysed {
		t.Errorf("host unreachable: %v", v)
	}
	w.send(client, server, "again")
	w.want("1>q 1>again")
	w.net = 5 // it may come back untagged
	if v := w.icmp(client, server, 3, 3); v != tcp.Analysed {
		t.Errorf("port unreachable: %v", v)
	}
	w.net = 0
	at := clock.Mark{Time: w.now, Packet: w.number, Peer: -1}
	f := w.facts[0]
	if f.Errors != 2 || f.Error != (proto.ICMPError{At: at, From: packet.Addr{15: 9}, Of: proto.Originator, Type: 3, Code: 3, MTU: 7}) {
		t.Errorf("%d errors, the last %+v", f.Errors, f.Error)
	}
	if f.Why != proto.Reset || f.By != proto.Responder || f.Closed != at {
		t.Errorf("closed %v by %v at %+v", f.Why, f.By, f.Closed)
	}
	if v := w.icmp(client, server, 3, 3); v != tcp.Unrelated {
		t.Errorf("about a flow that is over: %v", v)
	}
	w.send(client, server, "retry")
	w.want("1rst 2>retry")

	// A client that doesn't wait any more: that says nothing of the server.
	w.send(server, client, "late")
	if v := w.icmp(server, client, 3, 3); v != tcp.Analysed || w.facts[1].Error.Of != proto.Responder || w.facts[1].Why != proto.Open {
		t.Errorf("%v, %+v", v, w.facts[1].Error)
	}
	w.send(client, server, "other")
	w.want("2<late 2>other")
}

func TestMaxFlows(t *testing.T) {
	limits := DefaultLimits
	limits.MaxFlows = 3
	w := newWire(t, limits)
	port := func(n uint16) end { return end{1, 50000 + n} }
	w.send(port(1), server, "q")
	w.send(port(2), server, "q")
	w.send(port(3), server, "q")
	w.send(server, port(2), "a")
	w.send(port(4), server, "q") // the one that has its answer goes
	w.send(port(5), server, "q")
	w.want("1>q 2>q 3>q 2<a 2timeout 4>q 1evicted 5>q")
	if c := w.table.Counters; c != (Counters{Flows: 5, Open: 3, Evicted: 1, TimedOut: 1}) {
		t.Errorf("counters %+v", c)
	}
	if w.table.Memory() != 3*flowSize {
		t.Errorf("memory %d", w.table.Memory())
	}
	for n := range 4 {
		if got := w.table.EvictOne(w.packet(client, server, "")); got != (n < 3) {
			t.Errorf("evicted the %dth: %v", n, got)
		}
	}
	w.want("3evicted 4evicted 5evicted")
}

// knowing is a recorder that knows what the datagrams are: those that begin with q ask, those with a answer one of them, others
// neither.
type knowing struct {
	recorder
	waiting int
}

func (k *knowing) Datagram(d proto.Direction, b []byte, size int, at clock.Mark) {
	k.recorder.Datagram(d, b, size, at)
	switch b[0] {
	case 'q':
		k.waiting++
	case 'a':
		k.waiting--
	}
}

func (k *knowing) Waiting() (waiting, known bool) { return k.waiting > 0, true }

func newKnowingWire(t *testing.T, limits Limits) *wire {
	w := newWire(t, limits)
	w.table.open = func(f *proto.Flow, facts *proto.Facts, _ *packet.Packet) proto.Datagrams {
		w.flows, w.facts = append(w.flows, f), append(w.facts, facts)
		return &knowing{recorder: recorder{wire: w, n: len(w.flows)}}
	}
	return w
}

// What takes the datagrams knows better than their number whether something waits.
func TestWaiting(t *testing.T) {
	w := newKnowingWire(t, DefaultLimits)
	w.send(client, server, "q1")
	w.send(client, server, "q2")
	w.send(server, client, "a1")
	w.send(server, client, "x1") // sent twice
	w.pass(29 * time.Second)
	w.send(server, client, "a2")
	w.pass(1900 * time.Millisecond)
	w.want("1>q1 1>q2 1<a1 1<x1 1<a2")
	w.pass(400 * time.Millisecond)
	w.want("1timeout")
	w.send(client, server, "q")
	w.pass(31 * time.Second)
	w.want("2>q 2timeout")
	w.send(client, server, "x")
	w.pass(29 * time.Second)
	w.want("3>x")
	w.pass(2 * time.Second)
	w.want("3timeout")
	for range 9 { // a long conversation pauses
		w.send(client, server, "q")
		w.send(server, client, "a")
	}
	w.log.Reset()
	w.pass(29 * time.Second)
	w.want("")
	w.pass(2 * time.Second)
	w.want("4timeout")
}

// What waits is forgotten last.
func TestEvictIdle(t *testing.T) {
	limits := DefaultLimits
	limits.MaxFlows = 3
	w := newKnowingWire(t, limits)
	port := func(n uint16) end { return end{1, 50000 + n} }
	w.send(port(1), server, "q")
	w.send(port(2), server, "x")
	w.send(port(3), server, "q")
	w.send(server, port(3), "a")
	w.send(port(4), server, "q")
	w.send(port(5), server, "q")
	w.want("1>q 2>x 3>q 3<a 3timeout 4>q 2timeout 5>q")
	if w.table.EvictIdle(w.packet(client, server, "")) {
		t.Error("one went that waits")
	}
	w.send(port(6), server, "q")
	w.want("1evicted 6>q")
	if c := w.table.Counters; c != (Counters{Flows: 6, Open: 3, Evicted: 1, TimedOut: 2}) {
		t.Errorf("counters %+v", c)
	}
}

func TestEach(t *testing.T) {
	w := newWire(t, DefaultLimits)
	w.send(client, server, "q")
	w.send(end{1, 40001}, server, "q")
	w.send(server, end{1, 40001}, "a")
	w.send(end{1, 40002}, server, "q")
	var got []int
	w.table.Each(func(d proto.Datagrams) { got = append(got, d.(*recorder).n) })
	if fmt.Sprint(got) != "[2 1 3]" {
		t.Errorf("flows %v", got)
	}
}

// TestModel compares the table with one that looks at all flows each time.
func TestModel(t *testing.T) {
	type model struct {
		n       int
		packets [2]int
		seen    int64
	}
	limits := Limits{MaxFlows: 1 << 20, Timeout: 700 * time.Millisecond, Answered: 200 * time.Millisecond, MaxAnswered: 3}
	timeout := func(m *model) time.Duration {
		if m.packets[0] == m.packets[1] && m.packets[0] <= limits.MaxAnswered {
			return limits.Answered
		}
		return limits.Timeout
	}
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := newWire(t, limits)
		open := map[packet.Flow]*model{}
		flows, ended := 0, 0
		for range 400 {
			var want []string
			if rnd.IntN(8) == 0 {
				w.pass(time.Duration(1+rnd.IntN(6)) * clock.Tick)
				for key, m := range open {
					if w.table.elapsed-m.seen > int64(timeout(m)) {
						want = append(want, fmt.Sprintf("%dtimeout", m.n))
						delete(open, key)
					}
				}
				ended += len(want)
			} else {
				from, to, arrow := end{byte(1 + rnd.IntN(3)), uint16(40000 + rnd.IntN(3))}, end{9, 53}, 0
				if rnd.IntN(2) == 0 {
					from, to, arrow = to, from, 1
				}
				p := w.packet(from, to, fmt.Sprint(w.number))
				key, _ := p.Key()
				m := open[key]
				if m == nil {
					flows++
					m = &model{n: flows}
					open[key] = m
				}
				m.packets[arrow]++
				m.seen = w.table.elapsed
				want = []string{fmt.Sprintf("%d%c%s", m.n, "><"[arrow], p.Payload)}
				w.give(p)
			}
			got := strings.Fields(w.log.String())
			w.log.Reset()
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || int(w.table.Counters.Open) != len(open) {
				t.Fatalf("seed %d: was told %v, want %v; %d flows are open, want %d", seed, got, want, w.table.Counters.Open, len(open))
			}
		}
		if ended == 0 {
			t.Errorf("seed %d: no flow ended", seed)
		}
	}
}
