package tcp

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// ICMP takes an ICMP error: p holds the segment that it quotes, key and fromLo are p.Key(). The facts of the connection tell of it.
//
// Whoever knows the addresses and the ports can forge such a message. So it counts only if its sender may have seen the segment: the
// sequence number that it quotes lies among those that were sent and not acknowledged (RFC 5927 §4.1). It never ends a
// connection that has answered. One that says that a SYN doesn't get there ends the attempt, in the way of a reset: after
// Limits.ResetAfter, unless the sender goes on.
func (t *Table) ICMP(p *packet.Packet, key *packet.Flow, fromLo bool) Verdict {
	c := t.conns[*key]
	for i := 0; c == nil && i < len(t.nets); i++ {
		// A mirror port may tag one direction only.
		other := *key
		other.Net = t.nets[i]
		c = t.conns[other]
	}
	if c == nil {
		return Unrelated
	}
	d := c.direction(fromLo)
	if !c.outstanding(d, p.Seq) {
		return Unrelated
	}
	at := clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
	c.facts.Error = proto.ICMPError{
		At: at, From: p.ICMP.From, Of: d, Type: p.ICMP.Type, Code: p.ICMP.Code, V6: p.ICMP.V6, MTU: p.ICMP.MTU,
	}
	c.facts.Errors++
	if h := &c.half[d]; p.ICMP.Unreachable() && h.syn && h.isn == p.Seq && !c.half[d.Other()].seen && !c.done && !c.resetting {
		c.resetting, c.unreachable, c.resetBy, c.resetSeq, c.resetAt = true, true, d, p.Seq, at
		c.facts.Why, c.facts.By, c.facts.Closed = proto.Reset, d.Other(), at
		c.stall(t)
	}
	return Analysed
}

// unacked is how many bytes are taken to be on their way while no acknowledgement was captured.
const unacked = 1 << 20

// outstanding reports whether a segment that begins at seq may be on its way: what d sent before has been acknowledged, and d has
// sent as much. An empty segment begins behind the last byte.
func (c *Conn) outstanding(d proto.Direction, seq uint32) bool {
	h, peer := &c.half[d], &c.facts.Half[d.Other()]
	if !h.begun {
		return false
	}
	from, to := h.next-uint32(min(h.off, unacked)), h.top
	switch {
	case h.acked:
		from = h.ack
	case h.syn && h.off <= unacked:
		from = h.isn
	}
	if h.hasFin {
		to = h.fin + 1
	}
	if !h.seen {
		to = from + peer.Window // only the other direction was captured
	}
	return !before(seq, from) && !before(to, seq)
}
