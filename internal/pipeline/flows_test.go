package pipeline_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
	"github.com/culprit-http/culprit/internal/udp"
)

// sent is what one end sent to the other, packets and bytes of payload.
type sent struct{ packets, bytes uint64 }

// ends are the two ends of a flow, in the direction of what was sent.
type ends [2]netip.AddrPort

func end(a packet.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Netip(), port) }

// truth counts what a capture holds, but for what is left out.
func truth(src []capture.Record, without func(key ends, p *packet.Packet) bool) map[ends]sent {
	all := map[ends]sent{}
	d := packet.NewDecoder(packet.DefaultLimits())
	for i := range src {
		var p packet.Packet
		if d.Decode(&p, &src[i]) != packet.Decoded {
			continue
		}
		key := ends{end(p.Src, p.SrcPort), end(p.Dst, p.DstPort)}
		if without(key, &p) {
			continue
		}
		s := all[key]
		s.packets++
		s.bytes += uint64(p.PayloadLen)
		all[key] = s
	}
	return all
}

// record is what a test looks at of the record of a flow.
type record struct {
	protocol         string
	grade            string
	number           int
	final, over      bool // over: one of the ends has ended it
	start, completed int64
	packet           uint64 // the one that completed it
	sent             [2]sent
	client           proto.Direction
}

// ledger collects the records of flows, in the order in which they come.
type ledger struct {
	received
	flows map[*proto.Flow][]record
	order []*proto.Flow
	// others counts what isn't the record of a flow.
	others int
	ids    map[string]bool
}

func newLedger(t testing.TB) *ledger {
	l := &ledger{flows: map[*proto.Flow][]record{}, ids: map[string]bool{}}
	l.each = func(x *exchange.Exchange) error {
		id := name(x)
		if l.ids[id] {
			t.Errorf("two have the id %s", id)
		}
		l.ids[id] = true
		if x.Period == nil {
			l.others++
			return nil
		}
		if l.flows[x.Flow] == nil {
			l.order = append(l.order, x.Flow)
		}
		r := record{
			protocol: x.Protocol, grade: x.Grade.String(), number: x.Period.Number, final: x.Period.Final,
			start: x.Start.Time, completed: x.Completed.Time, packet: x.Completed.Packet, client: x.Client,
			over: x.Conn.Why == proto.Finished || x.Conn.Why == proto.Reset,
		}
		if x.Reason != "" {
			r.grade += ": " + x.Reason
		}
		for d := range r.sent {
			c := &x.During[d]
			r.sent[d] = sent{c.Packets, c.Bytes}
		}
		l.flows[x.Flow] = append(l.flows[x.Flow], r)
		return nil
	}
	return l
}

// sums adds up the records of all flows by their ends, and checks that those of a flow follow one another.
func (l *ledger) sums(t testing.TB) map[ends]sent {
	t.Helper()
	all := map[ends]sent{}
	for _, f := range l.order {
		list := l.flows[f]
		for i, r := range list {
			switch last := i == len(list)-1; {
			case r.number != i || r.final != last:
				t.Errorf("record %d of %d of %s is number %d, final %v", i, len(list), f.End(0), r.number, r.final)
			case i == 0 && r.start != f.First.Time, i > 0 && r.start != list[i-1].completed:
				t.Errorf("record %d of %s begins at %d", i, f.End(0), r.start)
			case r.completed < r.start:
				t.Errorf("record %d of %s ends at %d, before its begin", i, f.End(0), r.completed)
			}
			for d := range r.sent {
				key := ends{end(f.Addr[d], f.Port[d]), end(f.Addr[d^1], f.Port[d^1])}
				s := all[key]
				s.packets += r.sent[d].packets
				s.bytes += r.sent[d].bytes
				all[key] = s
			}
		}
	}
	return all
}

// behind reports whether a packet came behind the end of a flow, and before the next one between the same ends, so that it belongs to
// none: what is left of a connection that is over, or acknowledgements of one that was forgotten.
func (l *ledger) behind(key ends, p *packet.Packet) bool {
	after, over := false, false
	for _, f := range l.order {
		if between := betweenEnds(f); key != between && key != (ends{between[1], between[0]}) || p.Number < f.First.Packet {
			continue
		}
		last := l.flows[f][len(l.flows[f])-1]
		after = p.Time > last.completed || last.over && p.Time == last.completed && p.Number > last.packet
		over = last.over
	}
	return after && (over || p.PayloadLen == 0 && p.Flags&packet.SYN == 0)
}

func betweenEnds(f *proto.Flow) ends {
	return ends{end(f.Addr[0], f.Port[0]), end(f.Addr[1], f.Port[1])}
}

// mixed makes a capture of conversations over TCP, and of datagrams, side by side. Nothing of it is captured twice.
func mixed(t testing.TB, seed uint64, n int) []capture.Record {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 11))
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Seed: seed, Nano: true})
	server := netip.MustParseAddrPort("10.0.0.2:80")
	for i := range n {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), uint16(40000+i))
		at := time.Duration(r.IntN(3000)) * time.Millisecond
		if r.IntN(3) == 0 { // unknown datagrams
			asked := netip.AddrPortFrom(server.Addr(), uint16(7000+r.IntN(5)))
			for k := range 1 + r.IntN(12) {
				at += time.Duration(1+r.IntN(900)) * time.Millisecond
				from, to := client, asked
				if r.IntN(2) == 0 {
					from, to = to, from
				}
				s.Datagram(at, from, to, fmt.Appendf(nil, "%d of %d%s", k, i, strings.Repeat("x", r.IntN(900))))
			}
			continue
		}
		c := s.Dial(at, client, server, synth.Path{Client: time.Duration(r.IntN(40)) * time.Millisecond, Server: time.Millisecond, Loss: 0.01, Reorder: 0.02})
		words := r.IntN(2) == 0
		for k := range 1 + r.IntN(5) {
			request, response := message(r, fmt.Sprint(k))
			if words {
				request, response = []byte("?? "+strings.Repeat("q", r.IntN(5000))), []byte("!! "+strings.Repeat("a", r.IntN(5000)))
			}
			c.Exchange(request, time.Duration(r.IntN(300))*time.Millisecond, response)
			c.Wait(synth.Client, time.Duration(r.IntN(700))*time.Millisecond)
		}
		switch r.IntN(3) {
		case 0:
			c.Reset(synth.Client)
		case 1:
			c.Close(synth.Client)
			c.RecvEnd(synth.Server)
			c.Close(synth.Server)
		}
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	return records(t, out.Bytes())
}

// all says that there are records of all flows.
func all() pipeline.Config {
	c := config()
	c.UDP, c.Flows = udp.DefaultLimits, pipeline.AllFlows
	return c
}

// TestFlowsAddUp: what the records of all flows count is what the capture holds, however long a record counts, and however flows end.
func TestFlowsAddUp(t *testing.T) {
	for name, set := range map[string]func(c *pipeline.Config){
		"one record each": func(*pipeline.Config) {},
		"periods":         func(c *pipeline.Config) { c.FlowPeriod = 500 * time.Millisecond },
		"short periods":   func(c *pipeline.Config) { c.FlowPeriod = time.Millisecond },
		"few flows": func(c *pipeline.Config) {
			c.FlowPeriod, c.UDP.MaxFlows, c.TCP.MaxConns = 500*time.Millisecond, 1, 1
		},
		"timeouts": func(c *pipeline.Config) {
			c.FlowPeriod, c.UDP.Timeout, c.UDP.Answered, c.TCP.IdleTimeout = 500*time.Millisecond, 300*time.Millisecond, 200*time.Millisecond, 300*time.Millisecond
		},
	} {
		t.Run(name, func(t *testing.T) {
			flows, more := 0, 0
			for seed := range uint64(8) {
				src := mixed(t, seed, 60)
				c := all()
				set(&c)
				l := newLedger(t)
				stats := run(t, c, src, &l.received)
				want, got := truth(src, l.behind), l.sums(t)
				for key, s := range want {
					if got[key] != s {
						t.Errorf("seed %d: %v sent %+v, and the records say %+v", seed, key, s, got[key])
					}
				}
				for key := range got {
					if _, ok := want[key]; !ok && got[key].packets > 0 {
						t.Errorf("seed %d: %v sent nothing, and the records say %+v", seed, key, got[key])
					}
				}
				if n := uint64(len(l.order)); n != stats.TCP.Connections+stats.UDP.Flows {
					t.Errorf("seed %d: records of %d flows, there were %d and %d", seed, n, stats.TCP.Connections, stats.UDP.Flows)
				}
				flows += len(l.order)
				for _, list := range l.flows {
					more += len(list) - 1
				}
			}
			if flows < 200 || (name != "one record each") != (more > 50) {
				t.Errorf("%d flows, %d records more", flows, more)
			}
		})
	}
}

// TestFlowsSameWithAnyNumberOfWorkers: also where periods end together, and where there are too many flows.
func TestFlowsSameWithAnyNumberOfWorkers(t *testing.T) {
	src := mixed(t, 1, 120)
	coarse := append([]capture.Record(nil), src...)
	for i := range coarse {
		coarse[i].Time -= coarse[i].Time % 20e6
	}
	// Flows that begin together, and say nothing more.
	together := &script{}
	for i := range 600 {
		together.udp(host{1, uint16(40000 + i)}, other, "??")
		together.now -= time.Millisecond
	}
	for range 20 {
		together.wait(100 * time.Millisecond)
		together.udp(client, other, "!!")
	}
	for name, src := range map[string][]capture.Record{"as captured": src, "a coarse clock": coarse, "together": together.records} {
		for _, few := range []bool{false, true} {
			c := all()
			c.FlowPeriod = 100 * time.Millisecond
			if few {
				c.UDP.MaxFlows, c.TCP.MaxConns = 1, 2
			}
			want := document(t, c, src)
			if n := bytes.Count(want, []byte(`"flow":{"final":`)); n < 500 {
				t.Errorf("%s: only %d records of flows", name, n)
			}
			for _, c.Workers = range []int{2, 5} {
				if got := document(t, c, src); !bytes.Equal(got, want) {
					t.Errorf("%s, few %v: %d workers give other output than one", name, few, c.Workers)
				}
			}
		}
	}
}
