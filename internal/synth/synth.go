// Package synth makes captures for tests and benchmarks: it simulates TCP connections between hosts
// that talk HTTP, with a tap between them, and writes what the tap sees as a pcap file. The same
// options give the same bytes, on any machine. Nothing here is linked into culprit itself.
//
// The simulation is one of discrete events. A host runs a program (send, receive, wait, close); its
// TCP cuts what it sends into segments, acknowledges, and sends again what was lost; a packet passes
// the tap, where it is recorded, and then arrives. Time is virtual.
package synth

import (
	"io"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Options say how a capture is written. The zero value is an Ethernet pcap file in microseconds.
type Options struct {
	// Seed chooses among captures of the same kind.
	Seed uint64
	// Nano writes timestamps in nanoseconds.
	Nano bool
	// Link is the link type: LinkEthernet or LinkRaw. 0 is Ethernet.
	Link uint32
	// SnapLen cuts packets to this many bytes. 0 is 262144, which cuts none.
	SnapLen int
	// Start is the time of the first event. The zero value is 2026-01-15 10:42:07 UTC.
	Start time.Time
}

// Path is the way between two hosts, as the tap between them sees it. Probabilities are per packet,
// from 0 to 1.
type Path struct {
	// Client is the delay between the client and the tap, one way; Server the one between the tap
	// and the server. The round trip is twice their sum.
	Client, Server time.Duration
	// Rate is the bandwidth, in bytes a second. 0 is 125,000,000, Gigabit Ethernet.
	Rate int64
	// Loss is the probability that a packet is lost: as often before the tap as after it.
	Loss float64
	// Reorder is the probability that a packet is overtaken by those after it.
	Reorder float64
	// Duplicate is the probability that the tap records a packet twice, as mirror ports do.
	Duplicate float64
}

// Sim is a simulation under way. Make its connections with Dial, then call Run.
type Sim struct {
	out   *pcapWriter
	link  uint32
	rand  *rand.Rand
	start int64 // nanoseconds since 1970
	now   int64 // likewise
	queue eventQueue
	order uint64
	free  []*packet
}

// New returns a simulation that writes the capture to w.
func New(w io.Writer, o Options) *Sim {
	if o.Link == 0 {
		o.Link = LinkEthernet
	}
	if o.SnapLen == 0 {
		o.SnapLen = defaultSnapLen
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, time.January, 15, 10, 42, 7, 0, time.UTC)
	}
	start := o.Start.UnixNano()
	return &Sim{
		out:   newPcapWriter(w, o),
		link:  o.Link,
		rand:  rand.New(rand.NewPCG(o.Seed, 'C')),
		start: start,
		now:   start,
	}
}

// Run simulates until nothing more happens, and writes what remains of the capture.
func (s *Sim) Run() error {
	for len(s.queue) > 0 {
		e := s.queue.pop()
		s.now = e.at
		switch {
		case e.do != nil:
			e.do()
		case e.packet == nil:
			e.host.timer(e.kind)
		case e.kind == passTap:
			s.passTap(e)
		default:
			e.host.arrive(e.packet)
			s.recycle(e.packet)
		}
		if s.out.err != nil {
			break
		}
	}
	return s.out.flush()
}

// Now returns how long the simulation has run, in virtual time.
func (s *Sim) Now() time.Duration { return time.Duration(s.now - s.start) }

// Written returns the bytes of the capture so far.
func (s *Sim) Written() int64 { return s.out.written }

// Packets returns the packets of the capture so far.
func (s *Sim) Packets() int { return s.out.packets }

// At calls do at a time of the simulation, or at once when that has passed.
func (s *Sim) At(at time.Duration, do func()) {
	s.schedule(event{at: max(s.start+int64(at), s.now), do: do})
}

// Frame records a frame of any content, from the link layer on.
func (s *Sim) Frame(at time.Duration, frame []byte) {
	s.At(at, func() { s.out.record(s.now, frame) })
}

// Datagram records a UDP datagram.
func (s *Sim) Datagram(at time.Duration, src, dst netip.AddrPort, payload []byte) {
	s.Frame(at, appendUDP(nil, s.link, src, dst, payload))
}

// An event is one of: a call, a timer of a host, a packet at the tap, a packet at its end.
type event struct {
	at     int64
	order  uint64 // breaks ties, so that runs are alike
	do     func()
	host   *host
	packet *packet
	kind   eventKind
}

type eventKind uint8

const (
	arrival eventKind = iota
	passTap
	wakeTimer
	ackTimer
	resendTimer
)

func (s *Sim) schedule(e event) {
	s.order++
	e.order = s.order
	s.queue.push(e)
}

// eventQueue is a binary heap: the earliest event is first.
type eventQueue []event

func (q eventQueue) before(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}

func (q *eventQueue) push(e event) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.before(i, up) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *eventQueue) pop() event {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		if l := 2*i + 1; l < last && h.before(l, least) {
			least = l
		}
		if r := 2*i + 2; r < last && h.before(r, least) {
			least = r
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// chance reports an event of probability p, and leaves the random numbers alone when p is 0.
func (s *Sim) chance(p float64) bool { return p > 0 && s.rand.Float64() < p }

func (s *Sim) newPacket() *packet {
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		*p = packet{frame: p.frame[:0]}
		return p
	}
	return &packet{}
}

func (s *Sim) recycle(p *packet) { s.free = append(s.free, p) }

// The extra delays of a packet that is overtaken, and of a mirror port's copy.
const (
	reorderDelay = 400 * time.Microsecond
	mirrorDelay  = 3 * time.Microsecond
)

// transmit takes a packet from a host onto its way.
func (s *Sim) transmit(h *host, p *packet) {
	path := &h.conn.Path
	at := max(s.now+int64(h.delay()), h.lastTap+int64(len(p.frame))*int64(time.Second)/path.rate())
	switch h.fate(p) {
	case lostBeforeTap:
		s.recycle(p)
		return
	case lostAfterTap:
		p.lost = true
	}
	if s.chance(path.Reorder) {
		at += int64(reorderDelay)
	} else {
		h.lastTap = at
	}
	s.schedule(event{at: at, host: h, packet: p, kind: passTap})
}

// A fate is what the network does with a packet.
type fate uint8

const (
	delivered fate = iota
	lostBeforeTap
	lostAfterTap
)

func (h *host) fate(p *packet) fate {
	s := h.sim
	if p.length > 0 {
		n := h.segments
		h.segments++
		if f, ok := h.fates[n]; ok {
			return f
		}
	}
	switch {
	case !s.chance(h.conn.Path.Loss):
		return delivered
	case s.rand.Uint32()&1 == 0:
		return lostBeforeTap
	}
	return lostAfterTap
}

func (s *Sim) passTap(e event) {
	s.out.record(s.now, e.packet.frame)
	if s.chance(e.host.conn.Path.Duplicate) {
		frame := append([]byte(nil), e.packet.frame...)
		s.schedule(event{at: s.now + int64(mirrorDelay), do: func() { s.out.record(s.now, frame) }})
	}
	if e.packet.lost {
		s.recycle(e.packet)
		return
	}
	s.schedule(event{at: s.now + int64(e.host.peer.delay()), host: e.host.peer, packet: e.packet, kind: arrival})
}

func (p *Path) rate() int64 {
	if p.Rate > 0 {
		return p.Rate
	}
	return 125_000_000
}
