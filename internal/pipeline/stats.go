package pipeline

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/sctp"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/udp"
)

// Count is a number of packets and of their captured bytes.
type Count struct{ Packets, Bytes uint64 }

func (c *Count) add(p, b uint64) { c.Packets += p; c.Bytes += b }

func (c Count) plus(p, b uint64) Count { return Count{c.Packets + p, c.Bytes + b} }

func (c *Count) subtract(o Count) { c.Packets -= o.Packets; c.Bytes -= o.Bytes }

// Stats are the totals of a run. They reconcile: every packet received was analysed, ignored for a
// reason, or dropped.
type Stats struct {
	// Received counts what the sources delivered. Dropped counts what the capturing side says it lost
	// before that; by the kernel or the tool, and by the interface.
	Received, Analysed Count
	Dropped, IfDropped uint64
	// Freezes counts how often the kernel found a ring of a live capture full.
	Freezes uint64
	Ignored map[string]Count
	// Connections counts connections by the protocol that they begin with, Carried what they carry or turn into, by
	// protocol: within TLS, in tunnels and streams, after an upgrade.
	Connections, Carried map[string]uint64
	Exchanges            [exchange.Grades]uint64
	// TimedOut, Overflow and Interim are the engine's; see exchange.Counters.
	TimedOut, Overflow, Interim uint64
	TCP                         tcp.Counters
	SCTP                        sctp.Counters
	UDP                         udp.Counters
	TLS                         tls.Counters
	// Aggregated counts subframes of 802.11 aggregates that weren't decoded.
	Aggregated uint64
	ClockJumps uint64
	// Unlinked counts exchanges that were delivered before it was decided what caused them, since more waited than may.
	Unlinked uint64
	// BudgetEvicted counts connections forgotten for the memory budget, which TCP.Evicted and UDP.Evicted leave out.
	BudgetEvicted uint64
}

// Seen returns how many exchanges there were.
func (s *Stats) Seen() (n uint64) {
	for _, g := range s.Exchanges {
		n += g
	}
	return n
}

// tally are the counters of one worker.
type tally struct {
	verdicts [tcp.Verdicts]Count
	// connections and carried are as in Stats.
	connections, carried map[string]uint64
	// ignored are the datagrams that no protocol took, by what they were recognised as.
	ignored map[string]Count
	// errors are the ICMP errors about packets of flows that are known.
	errors Count
	// evicted are the connections of TCP that were forgotten for the memory budget, evictedFlows the flows of UDP.
	evicted, evictedFlows uint64
}

func newTally() tally {
	return tally{connections: map[string]uint64{}, carried: map[string]uint64{}, ignored: map[string]Count{}}
}

func newStats() Stats {
	return Stats{Ignored: map[string]Count{}, Connections: map[string]uint64{}, Carried: map[string]uint64{}}
}

// ignored adds the packets that the decoder ignored.
func (s *Stats) ignored(counts [packet.Results]packet.Count) {
	for r, c := range counts {
		switch r := packet.Result(r); {
		case c.Packets == 0, r == packet.Decoded:
		default:
			s.ignore(r.String(), c.Packets, c.Bytes)
		}
	}
}

func (s *Stats) ignore(why string, packets, bytes uint64) {
	c := s.Ignored[why]
	c.add(packets, bytes)
	s.Ignored[why] = c
}
