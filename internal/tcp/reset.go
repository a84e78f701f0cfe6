package tcp

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// replacedBy reports whether a SYN begins a new connection with the addresses and ports of this one.
func (c *Conn) replacedBy(p *packet.Packet, d proto.Direction) bool {
	h, peer := &c.half[d], &c.half[d.Other()]
	if c.unreachable && c.done {
		return true // the attempt hadn't been given up
	}
	if p.Flags&packet.ACK != 0 {
		return c.hasRival && p.Ack == c.rival+1 && !(h.syn && h.isn == p.Seq)
	}
	if h.syn && h.isn == p.Seq || !h.syn && !h.seen && !c.flow.Midstream {
		return false // sent again, or the other half of a simultaneous open
	}
	if c.done || c.stopped || h.hasFin || peer.hasFin || c.flow.Midstream && !peer.seen {
		return true
	}
	c.rival, c.hasRival = p.Seq, true
	return false
}

// rst takes a reset that d sent.
func (c *Conn) rst(t *Table, p *packet.Packet, d proto.Direction) Verdict {
	h, peer := &c.half[d], &c.half[d.Other()]
	// A reset counts when it lies at or near what the sender is at (RFC 9293 §3.10.7.4); the answer
	// to a SYN has no sequence number of its own.
	refused := p.Flags&packet.ACK != 0 && peer.syn && p.Ack == peer.isn+1
	if off := int32(p.Seq - h.next); h.begun && !refused && (off < -(1<<20) || off > 1<<20) {
		c.facts.Half[d].OutOfWindow++
		return OutOfWindow
	}
	if c.done || c.resetting && c.resetBy == d {
		return Analysed
	}
	c.resetting, c.unreachable, c.resetBy, c.resetSeq = true, false, d, p.Seq
	c.resetAt = clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
	c.facts.Why, c.facts.By, c.facts.Closed = proto.Reset, d, c.resetAt
	c.interrupt(t, d, p.Time, p.Number)
	c.interrupt(t, d.Other(), p.Time, p.Number)
	c.stall(t)
	return Analysed
}

// belied reports whether a packet of d that is no reset shows that the connection wasn't reset: by the reset's alleged sender if that
// goes on, and by anybody if an ICMP error stands for the reset.
func (c *Conn) belied(p *packet.Packet, d proto.Direction) bool {
	return c.unreachable || c.resetBy == d && (p.Flags&packet.SYN != 0 || before(c.resetSeq, p.Seq+uint32(p.PayloadLen)))
}

// revive takes a reset back that was belied.
func (c *Conn) revive() {
	if !c.unreachable {
		c.facts.Half[c.resetBy].OutOfWindow++
	}
	c.resetting, c.unreachable = false, false
	c.facts.Why, c.facts.By, c.facts.Closed = proto.Open, 0, clock.Mark{}
}
