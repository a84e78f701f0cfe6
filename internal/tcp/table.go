// Package tcp rebuilds TCP connections from packets: it delivers each half-stream's bytes in order to
// a parser, keeps holes as gaps, and collects the facts that tell where time was lost.
//
// # Theory of operation
//
// A Table holds the connections of one shard. Each connection has two half-streams. A segment that
// continues its half-stream goes to the parser at once, straight from the capture buffer. Any other
// is old (a retransmission, a keep-alive, a packet captured twice), or early: then a copy is held
// until the hole before it is filled.
//
// Delivery is causal. A segment is also held while it acknowledges bytes of the other half-stream
// that haven't been captured yet, so that a parser sees a request before its response although a
// mirror port or several capture queues swapped them.
//
// A hole becomes a gap, given up for lost, when the other side has acknowledged its bytes, so that
// they will not be sent again, and Limits.GapAfter has passed for a late packet to turn up; when too
// much is held behind it; when it is older than Limits.HoleAfter; or when the connection ends.
//
// A reset isn't believed at once. Packets with RST are forged, to blind whoever watches, and then the ends
// go on. Whoever has reset a connection sends nothing more on it; so the connection ends when
// Limits.ResetAfter has passed without new bytes from the reset's sender.
package tcp

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Limits bound what a Table keeps.
type Limits struct {
	// MaxHeld is how many bytes are held behind a hole of one half-stream; MaxSegments how many
	// segments. Beyond either, the hole becomes a gap.
	MaxHeld     int
	MaxSegments int
	// GapAfter is the capture time after which a hole that the other side has acknowledged is given up.
	GapAfter time.Duration
	// HoleAfter is the capture time after which any hole is given up.
	HoleAfter time.Duration
	// IdleTimeout is the capture time without packets after which an open connection is forgotten.
	IdleTimeout time.Duration
	// Linger is how long a closed connection is remembered, for its late packets.
	Linger time.Duration
	// MaxConns is how many connections the table holds; MaxLinger how many of them may be closed ones.
	MaxConns, MaxLinger int
	// MaxJump is the farthest ahead of the expected sequence number that a segment may lie.
	MaxJump uint32
	// ResetAfter is the capture time after which a reset is believed: until then its sender may show,
	// by going on, that it wasn't the one who sent it.
	ResetAfter time.Duration
}

// DefaultLimits are the limits of one shard of 64.
var DefaultLimits = Limits{
	MaxHeld:     1 << 20,
	MaxSegments: 1024,
	GapAfter:    50 * time.Millisecond,
	HoleAfter:   30 * time.Second,
	IdleTimeout: 15 * time.Minute,
	Linger:      5 * time.Second,
	MaxConns:    16384,
	MaxLinger:   64,
	MaxJump:     1 << 28,
	ResetAfter:  100 * time.Millisecond,
}

// Verdict says what became of a packet.
type Verdict uint8

// The verdicts. All but Analysed are reasons for which a packet is ignored.
const (
	Analysed Verdict = iota
	// Duplicate: the same packet was captured before.
	Duplicate
	// OutOfWindow: its sequence number lies far outside what the connection can be at.
	OutOfWindow
	// Unrelated: an ICMP error about a packet of no connection that is known, or about one that its connection can't have sent.
	Unrelated
	numVerdicts
)

// Verdicts is the number of verdicts, for tables of counters.
const Verdicts = int(numVerdicts)

var verdictNames = [numVerdicts]string{"analysed", "duplicate", "out-of-window", "icmp"}

func (v Verdict) String() string { return verdictNames[v] }

// Counters count what a table did.
type Counters struct {
	// Connections counts connections seen; Open those open now.
	Connections, Open uint64
	// Gaps and MissingBytes count holes that were given up.
	Gaps, MissingBytes uint64
	// HeldLimit counts gaps made because MaxHeld or MaxSegments was reached, Evicted connections
	// forgotten because of MaxConns or the memory budget, TimedOut those forgotten because nothing
	// was seen of them.
	HeldLimit, Evicted, TimedOut uint64
}

// Opener makes the parser of a new connection. flow never changes; facts are the table's, to be read
// during calls of the parser.
type Opener func(flow *proto.Flow, facts *proto.Facts) proto.Parser

// Table holds the connections of one shard. It isn't safe for concurrent use.
type Table struct {
	limits Limits
	open   Opener
	conns  map[packet.Flow]*Conn
	last   *Conn
	// live and lingering are ordered by the tick of the last packet, oldest first.
	live, lingering list
	closed          int // in lingering
	// stalled are the connections with a hole, or bytes that wait for the other half-stream.
	stalled []*Conn
	// nets are the values of packet.Flow.Net that connections have, at most maxNets of them.
	nets  []uint32
	free  *Conn
	flows []proto.Flow
	seed  maphash.Seed

	elapsed int64
	memory  int

	// Counters may be read between calls.
	Counters Counters
}

// New returns an empty table.
func New(open Opener, limits Limits) *Table {
	t := &Table{limits: limits, open: open, conns: make(map[packet.Flow]*Conn), seed: maphash.MakeSeed()}
	return t
}

// Memory returns how many bytes the table holds for connections and early segments, estimated.
func (t *Table) Memory() int { return t.memory }

// list is a doubly linked list of connections.
type list struct{ head, tail *Conn }

func (l *list) push(c *Conn) {
	c.in, c.prev, c.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
}

func (l *list) remove(c *Conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.tail = c.prev
	}
	c.in, c.prev, c.next = nil, nil, nil
}

// Packet takes one packet. key and fromLo are p.Key().
func (t *Table) Packet(p *packet.Packet, key *packet.Flow, fromLo bool) Verdict {
	c := t.last
	if c == nil || c.key != *key {
		c = t.conns[*key]
	}
	if c == nil && p.Flags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK {
		c = t.untagged(p, key, fromLo)
	}
	if c == nil {
		if p.PayloadLen == 0 && p.Flags&packet.SYN == 0 {
			// What is left of a connection that is over, or not begun in this capture: nothing to hold.
			return Analysed
		}
		c = t.connect(p, key, fromLo)
	} else if p.Flags&packet.SYN != 0 && c.replacedBy(p, c.direction(fromLo)) {
		t.end(c, proto.Replaced, p)
		c = t.connect(p, key, fromLo)
	}
	t.last = c
	if c.seen != t.elapsed {
		c.seen = t.elapsed
		l := c.in
		l.remove(c)
		l.push(c)
	}
	return c.packet(t, p, c.direction(fromLo))
}

// maxNets is how many networks are looked through for the other direction of a connection.
const maxNets = 32

// untagged returns the connection whose SYN a SYN+ACK answers although it came from another network: a
// mirror port that tags one direction only makes them look different. From then on the connection has
// both keys.
func (t *Table) untagged(p *packet.Packet, key *packet.Flow, fromLo bool) *Conn {
	other := *key
	for _, net := range t.nets {
		other.Net = net
		c := t.conns[other]
		if c == nil || c.hasAlias || c.direction(fromLo) != proto.Responder || c.half[proto.Responder].seen {
			continue
		}
		if h := &c.half[proto.Originator]; h.syn && h.isn+1 == p.Ack {
			c.alias, c.hasAlias = *key, true
			t.conns[*key] = c
			return c
		}
	}
	return nil
}

// connect makes a new connection from its first packet.
func (t *Table) connect(p *packet.Packet, key *packet.Flow, fromLo bool) *Conn {
	for len(t.conns) >= t.limits.MaxConns && t.evict(p) {
	}
	c := t.free
	if c != nil {
		t.free = c.next
	} else {
		c = new(Conn)
	}
	c.reset()
	c.key = *key
	// A SYN+ACK comes from the responder; anything else from the originator, as far as can be known.
	from := proto.Originator
	if p.Flags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK {
		from = proto.Responder
	}
	c.loIs = from
	if !fromLo {
		c.loIs = from.Other()
	}
	f := t.newFlow()
	f.Proto, f.Net = p.Proto, p.Net
	f.First = clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
	f.Midstream = p.Flags&packet.SYN == 0
	f.Addr[from], f.Port[from] = p.Src, p.SrcPort
	f.Addr[from.Other()], f.Port[from.Other()] = p.Dst, p.DstPort
	f.MAC[from.Other()], f.MAC[from], f.VLAN = [6]byte(p.MAC[:6]), [6]byte(p.MAC[6:]), p.VLAN
	c.flow = f
	c.parser = t.open(f, &c.facts)
	t.conns[*key] = c
	if len(t.nets) < maxNets && !slices.Contains(t.nets, p.Net) {
		t.nets = append(t.nets, p.Net)
	}
	c.seen = t.elapsed
	t.live.push(c)
	t.memory += connSize + cap(c.facts.Episodes)*episodeSize
	t.Counters.Connections++
	t.Counters.Open++
	return c
}

// newFlow returns a flow. They are made several at a time, since exchanges may keep them for long.
func (t *Table) newFlow() *proto.Flow {
	if len(t.flows) == 0 {
		t.flows = make([]proto.Flow, 16)
	}
	f := &t.flows[0]
	t.flows = t.flows[1:]
	return f
}

// evict forgets the connection that was silent the longest, closed ones first. It reports whether
// there was one.
func (t *Table) evict(p *packet.Packet) bool {
	if c := t.lingering.head; c != nil {
		t.forget(c)
		return true
	}
	c := t.live.head
	if c == nil {
		return false
	}
	t.Counters.Evicted++
	t.end(c, proto.Evicted, p)
	return true
}

// EvictOne forgets the connection that was silent the longest, and reports whether there was one.
func (t *Table) EvictOne(p *packet.Packet) bool { return t.evict(p) }

// end closes a connection from outside, and forgets it.
func (t *Table) end(c *Conn, why proto.CloseReason, p *packet.Packet) {
	c.finish(t, why, clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1})
	t.forget(c)
}

// forget drops a connection whose parser has been closed.
func (t *Table) forget(c *Conn) {
	if c.in == &t.live {
		t.Counters.Open--
	} else {
		t.closed--
	}
	c.in.remove(c)
	delete(t.conns, c.key)
	if c.hasAlias {
		delete(t.conns, c.alias)
	}
	if t.last == c {
		t.last = nil
	}
	for d := range c.half {
		t.memory -= c.half[d].heldBytes
		c.half[d].dropHeld()
	}
	if c.stalled {
		for i, s := range t.stalled {
			if s == c {
				t.stalled = append(t.stalled[:i], t.stalled[i+1:]...)
				break
			}
		}
	}
	t.memory -= connSize + cap(c.facts.Episodes)*episodeSize
	if cap(c.facts.Episodes) > keepEpisodes {
		c.facts.Episodes = nil
	}
	c.flow, c.parser = nil, nil
	c.next = t.free
	t.free = c
}

// close moves a connection that both sides have ended to the lingering ones.
func (t *Table) close(c *Conn) {
	if c.in == &t.live {
		t.Counters.Open--
		t.live.remove(c)
		t.lingering.push(c)
		c.seen = t.elapsed
		if t.closed++; t.closed > t.limits.MaxLinger {
			t.forget(t.lingering.head)
		}
	}
}

// Tick gives up holes and forgets connections whose time has come. elapsed is the clock's elapsed
// time, at the mark of the last packet.
func (t *Table) Tick(elapsed int64, at clock.Mark) {
	t.elapsed = elapsed
	for i := 0; i < len(t.stalled); {
		c := t.stalled[i]
		c.drain(t, at.Time, at)
		if c.resetting && at.Time-c.resetAt.Time >= int64(t.limits.ResetAfter) {
			c.finish(t, proto.Reset, c.resetAt)
			t.close(c)
		}
		if i < len(t.stalled) && t.stalled[i] == c {
			if c.waiting() {
				i++
			} else {
				c.stalled = false
				t.stalled = append(t.stalled[:i], t.stalled[i+1:]...)
			}
		}
	}
	for c := t.lingering.head; c != nil && elapsed-c.seen > int64(t.limits.Linger); c = t.lingering.head {
		t.forget(c)
	}
	for c := t.live.head; c != nil && elapsed-c.seen > int64(t.limits.IdleTimeout); c = t.live.head {
		t.Counters.TimedOut++
		c.finish(t, proto.TimedOut, at)
		t.forget(c)
	}
}

// Close ends all connections: the capture is over.
func (t *Table) Close(at clock.Mark) {
	for c := t.live.head; c != nil; c = t.live.head {
		c.finish(t, proto.CaptureEnded, at)
		t.forget(c)
	}
	for c := t.lingering.head; c != nil; c = t.lingering.head {
		t.forget(c)
	}
}
