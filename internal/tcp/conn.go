package tcp

import (
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Conn is one connection.
type Conn struct {
	key packet.Flow
	// alias is a second key of the connection, valid iff hasAlias; see Table.untagged.
	alias    packet.Flow
	hasAlias bool
	flow     *proto.Flow
	facts    proto.Facts
	half     [2]half
	parser   proto.Parser
	// loIs is the direction of the packets that go from key.Lo to key.Hi.
	loIs proto.Direction
	// stopped: the parser wants no more calls. done: it has been closed both ways.
	stopped, done bool
	// stalled: the connection is in Table.stalled.
	stalled bool
	// rival is the first sequence number of a SYN that may begin another connection with the same
	// addresses and ports, once its SYN+ACK proves it; valid iff hasRival.
	rival    uint32
	hasRival bool
	// resetting: resetBy has sent a reset with sequence number resetSeq, marked by resetAt.
	resetting bool
	resetBy   proto.Direction
	resetSeq  uint32
	resetAt   clock.Mark
	// unreachable: no reset ends the connection, but an ICMP error about its SYN, so that resetBy, who sent the SYN, gives up.
	unreachable bool

	// open are the places of the episodes that may go on, by the sender; see openWindow.
	open [2][opens]int8

	seen       int64
	in         *list
	prev, next *Conn
}

// connSize is what a connection is estimated to take, with its parser.
const connSize = int(unsafe.Sizeof(Conn{})) + 1280

// half is one half-stream: what one side sent.
type half struct {
	// next is the sequence number of the next byte to deliver, off its offset; valid iff begun.
	next  uint32
	off   int64
	begun bool
	// seen: a packet of this half-stream was captured.
	seen bool
	// isn is the initial sequence number, valid iff syn.
	isn uint32
	syn bool
	// top is the sequence number behind the last byte that was sent, valid iff begun.
	top uint32
	// fin is the sequence number of the FIN, valid iff hasFin; closed: the parser was told.
	fin            uint32
	hasFin, closed bool

	// held are the early segments, in order of sequence, without overlap. holeSince is when the first
	// hole was found; lostSince is when the other side was first seen to have acknowledged it, 0 when
	// it hasn't.
	held                 []segment
	heldBytes            int
	holeSince, lostSince int64

	// ack is the highest acknowledgement that this side has received, valid iff acked: the sequence
	// number of this half-stream up to which the other side has everything.
	ack   uint32
	acked bool

	// timed is the sequence number whose acknowledgement ends the round trip that began at timedAt;
	// 0 when none is being measured.
	timed    uint32
	timedAt  int64
	rttvar   int64
	scaled   bool // both SYNs offered a window scale
	zeroOpen bool // the window is closed now

	// last describes the last packet, recent the last segments with payload.
	last   signature
	lastAt int64
	recent [4]sent
	nth    uint8

	flight flight
}

// signature is what makes two packets the same one captured twice.
type signature struct {
	seq, ack uint32
	size     int32
	id       uint16
	window   uint16
	flags    uint8
}

// Times within which equal packets are taken for one captured twice. Packets with an IP id that
// counts are only equal if they are the same; without one, a copy must come sooner than any
// retransmission can.
const (
	duplicateWithin     = int64(100e6)
	duplicateWithinNoID = int64(1e6)
)

// reset empties a connection and keeps its memory.
func (c *Conn) reset() {
	held := [2][]segment{c.half[0].held[:0], c.half[1].held[:0]}
	episodes := c.facts.Episodes[:0]
	*c = Conn{}
	c.facts.Episodes = episodes
	for d := range c.half {
		c.half[d].held = held[d]
		c.facts.Half[d].WindowScale = -1
	}
}

func (c *Conn) direction(fromLo bool) proto.Direction {
	if fromLo {
		return c.loIs
	}
	return c.loIs.Other()
}

// before reports whether sequence number a comes before b (RFC 9293 §3.4).
func before(a, b uint32) bool { return int32(a-b) < 0 }

// packet takes a packet that d sent.
func (c *Conn) packet(t *Table, p *packet.Packet, d proto.Direction) Verdict {
	h, peer := &c.half[d], &c.half[d.Other()]
	facts := &c.facts.Half[d]

	sig := signature{p.Seq, p.Ack, int32(p.PayloadLen), p.IPID, p.Window, p.Flags}
	if sig == h.last && h.seen && c.twice(p, h.lastAt) {
		facts.Duplicates++
		return Duplicate
	}
	if p.PayloadLen > 0 && h.begun && before(p.Seq, h.next) {
		if r := h.find(p.Seq, uint32(p.PayloadLen)); r != nil && r.id == p.IPID && c.twice(p, r.at) {
			facts.Duplicates++
			return Duplicate
		}
	}
	h.last, h.lastAt = sig, p.Time

	if !h.seen {
		h.seen = true
		facts.First, facts.MAC = p.Time, p.MAC
	}
	facts.Last, facts.LastPacket = max(facts.Last, p.Time), p.Number
	facts.Packets++
	facts.Bytes += uint64(p.PayloadLen)
	facts.Wire += uint64(p.Wire)
	facts.Captured += uint64(p.Captured)

	if p.Flags&packet.RST != 0 {
		return c.rst(t, p, d)
	}
	if c.resetting && c.belied(p, d) {
		c.revive()
	}
	if p.Flags&packet.SYN != 0 {
		c.syn(p, d)
	} else if !h.begun {
		if p.PayloadLen == 0 && p.Flags&packet.FIN != 0 && !c.flow.Midstream {
			facts.OutOfWindow++ // a FIN before its SYN
			return OutOfWindow
		}
		h.begin(p.Seq)
	}
	if p.Flags&packet.ACK != 0 {
		c.ack(p, d)
	}
	if p.PayloadLen == 0 && p.Flags&(packet.SYN|packet.FIN) == 0 {
		if p.Seq == h.next-1 && !h.hasFin && h.off > 0 {
			facts.KeepAlives++
		}
		if before(h.top, p.Seq) {
			c.ahead(p, d)
		} else if p.Seq != h.top {
			c.asks(p, d)
		}
	}
	if p.PayloadLen > 0 || p.Flags&packet.FIN != 0 {
		if v := c.payload(t, p, d); v != Analysed {
			return v
		}
	}
	if c.stalled || len(h.held) > 0 || peer.lostSince != 0 {
		c.drain(t, p.Time, clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1})
		if c.waiting() {
			c.stall(t)
		}
	}
	return Analysed
}

// twice reports whether a packet equal to one seen at that time is the same one.
func (c *Conn) twice(p *packet.Packet, at int64) bool {
	within := duplicateWithinNoID
	if p.IPID != 0 {
		within = duplicateWithin
	}
	return p.Time-at <= within
}

func (h *half) begin(seq uint32) {
	h.begun, h.next, h.top = true, seq, seq
}

// payload takes the bytes and the FIN of a packet that d sent.
func (c *Conn) payload(t *Table, p *packet.Packet, d proto.Direction) Verdict {
	h, peer := &c.half[d], &c.half[d.Other()]
	facts := &c.facts.Half[d]
	seq, size, data := p.Seq, uint32(p.PayloadLen), p.Payload
	if p.Flags&packet.SYN != 0 {
		seq++ // data in a SYN (RFC 7413)
	}
	ahead := int32(seq - h.next)
	if h.closed && ahead >= 0 && size > 0 {
		facts.OutOfWindow++ // behind its own FIN
		return OutOfWindow
	}
	if ahead > 0 && uint32(ahead) > t.limits.MaxJump || ahead < -(1<<30) {
		facts.OutOfWindow++
		return OutOfWindow
	}
	if p.Flags&packet.FIN != 0 && !h.hasFin {
		h.hasFin, h.fin = true, seq+size
		c.interrupt(t, d.Other(), p.Time, p.Number)
		if c.facts.Why == proto.Open {
			c.facts.Why, c.facts.By = proto.Finished, d
			c.facts.Closed = clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
		}
	}
	if c.done {
		return Analysed // in flight when the connection was reset
	}
	if size == 0 {
		c.maybeClose(t, d, p.Time, p.Number)
		return Analysed
	}

	at := clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
	acks := p.Flags&packet.ACK != 0
	if acks {
		at.Peer = peer.off + int64(int32(p.Ack-peer.next))
	}
	end := seq + size
	more := before(h.top, end)
	if more {
		if h.flight.loss.claimAt != 0 {
			c.claimed(t, p, d, seq, size)
		}
		if ahead < 0 {
			c.resent(t, p, d, seq, size)
		}
		c.fresh(t, p, d, seq, size)
		// New data: measure its round trip.
		if ahead <= 0 || !before(seq, h.top) {
			if h.timed == 0 {
				h.timed, h.timedAt = end, p.Time
				if end == 0 {
					h.timed = 0
				}
			}
		}
		h.top = end
	} else if !before(seq, h.next) && len(h.held) > 0 {
		c.late(t, p, d, seq, size) // it may fill a hole
	}

	if ahead < 0 {
		old := uint32(-ahead)
		if size <= 1 && old == 1 && !before(h.next, end) {
			facts.KeepAlives++
			return Analysed
		}
		h.timed = 0 // Karn
		facts.Retransmits++
		if !more {
			c.resent(t, p, d, seq, size)
		}
		if r := h.find(seq, size); r != nil && len(data) == int(size) && r.hash != 0 && r.hash != t.digest(data) {
			facts.Overlaps++
		}
		if old >= size {
			return Analysed
		}
		if int(old) >= len(data) {
			data = nil
		} else {
			data = data[old:]
		}
		seq, size, ahead = h.next, size-old, 0
	}
	h.remember(t, seq, data, size, p)

	if ahead == 0 && len(h.held) == 0 && (!acks || !peer.seen || !before(peer.next, p.Ack) || peer.hasFin && p.Ack == peer.fin+1) {
		c.deliver(d, data, size, at)
		c.maybeClose(t, d, p.Time, p.Number)
		return Analysed
	}
	c.hold(t, d, segment{seq: seq, data: data, size: size, at: at, needs: p.Ack, acks: acks})
	if h.holeSince == 0 {
		h.holeSince = p.Time
	}
	return Analysed
}
