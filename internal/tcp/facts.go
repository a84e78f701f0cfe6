package tcp

import (
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// syn takes what a SYN tells.
func (c *Conn) syn(p *packet.Packet, d proto.Direction) {
	h, peer := &c.half[d], &c.half[d.Other()]
	f := &c.facts
	if p.Flags&packet.ACK == 0 {
		f.SYNs++
		f.LastSYN = p.Time
		if f.SYN == 0 {
			f.SYN = p.Time
		}
	} else {
		f.SYNACKs++
		f.LastSYNACK = p.Time
		if c.unaccepted(p, d) {
			f.Unaccepted++
		}
		if f.SYNACK == 0 {
			f.SYNACK = p.Time
			if f.SYN != 0 && f.SYNs == 1 {
				c.sample(d.Other(), p.Time-f.SYN)
			}
		}
		if !peer.begun {
			peer.begin(p.Ack)
		}
	}
	if h.syn || h.off > 0 || len(h.held) > 0 {
		return
	}
	h.syn, h.isn = true, p.Seq
	h.begin(p.Seq + 1)
	c.options(p.Options, d)
	peer.scaled = f.Half[0].WindowScale >= 0 && f.Half[1].WindowScale >= 0
	h.scaled = peer.scaled
}

// options reads the options of a SYN (RFC 9293 §3.2, RFC 7323, RFC 2018).
func (c *Conn) options(o []byte, d proto.Direction) {
	f := &c.facts.Half[d]
	if v := option(o, optionMSS); len(v) == 2 {
		f.MSS = uint16(v[0])<<8 | uint16(v[1])
	}
	if v := option(o, optionScale); len(v) == 1 {
		f.WindowScale = int8(min(v[0], 14))
	}
	if option(o, optionPermitted) != nil {
		f.SACKPermitted = true
	}
}

// unaccepted reports whether d repeats its SYN+ACK although the other side's data must have reached it.
func (c *Conn) unaccepted(p *packet.Packet, d proto.Direction) bool {
	peer := &c.half[d.Other()]
	f := &peer.flight
	if c.facts.Ready == 0 || f.to == 0 || !peer.acked || before(peer.isn+1, peer.ack) {
		return false
	}
	return p.Time-f.marks[f.from].at > max(minRTO, c.facts.Half[d.Other()].MinRTT+atOnce)
}

// sample takes a round-trip time measured from what d sent (RFC 6298 §2).
func (c *Conn) sample(d proto.Direction, rtt int64) {
	if rtt < 0 {
		return
	}
	f, h := &c.facts.Half[d], &c.half[d]
	if f.RTTSamples == 0 {
		f.RTT, f.MinRTT, h.rttvar = rtt, rtt, rtt/2
	} else {
		diff := f.RTT - rtt
		if diff < 0 {
			diff = -diff
		}
		h.rttvar += (diff - h.rttvar) / 4
		f.RTT += (rtt - f.RTT) / 8
		f.MinRTT = min(f.MinRTT, rtt)
	}
	f.RTTSamples++
}

// ack takes the acknowledgement and the window of a packet that d sent.
func (c *Conn) ack(p *packet.Packet, d proto.Direction) {
	h, peer := &c.half[d], &c.half[d.Other()]
	f := &c.facts
	facts := &f.Half[d]

	window := uint32(p.Window)
	if h.scaled && p.Flags&packet.SYN == 0 {
		window <<= uint(facts.WindowScale)
	}
	if !peer.begun {
		peer.begin(p.Ack)
	}
	news, duplicate := false, false
	switch {
	case !peer.acked:
		peer.acked, peer.ack = true, p.Ack
		news = true
	case before(peer.ack, p.Ack):
		if p.Ack-peer.next < 1<<30 || before(p.Ack, peer.next) {
			peer.ack = p.Ack
			news = true
		}
	case p.Ack == peer.ack && p.PayloadLen == 0 && p.Flags&(packet.SYN|packet.FIN) == 0 &&
		before(p.Ack, peer.top) && window == facts.Window && window != 0:
		facts.DupAcks++
		duplicate = true
	}
	facts.Window = window
	facts.MaxWindow = max(facts.MaxWindow, window)
	if f.Ready == 0 && p.Flags&packet.SYN == 0 && f.SYNACK != 0 && d == proto.Originator {
		f.Ready = p.Time
		if f.SYNACKs == 1 {
			c.sample(proto.Responder, p.Time-f.SYNACK)
		}
	}
	if window == 0 && !h.zeroOpen && p.Flags&packet.SYN == 0 {
		facts.ZeroWindows++
	}
	h.zeroOpen = window == 0
	var selected []byte
	if len(p.Options) >= 10 && p.Flags&packet.SYN == 0 {
		if selected = option(p.Options, optionSACK); selected != nil {
			facts.SACKs++
		}
	}
	c.acknowledged(p, d, window, news, duplicate, selected)
	if peer.timed != 0 && !before(p.Ack, peer.timed) {
		c.sample(d.Other(), p.Time-peer.timedAt)
		peer.timed = 0
	}
	f.Half[d.Other()].Acked = peer.off + int64(int32(peer.ack-peer.next))
	if before(peer.next, peer.ack) && peer.seen && peer.lostSince == 0 && !(peer.hasFin && peer.ack == peer.fin+1 && peer.next == peer.fin) {
		peer.lostSince = p.Time
	}
}

// late takes a segment that comes after later ones: reordered if it comes sooner than a sender can
// notice a loss, else sent again for one that was lost before it got to the tap, or for one that is held.
func (c *Conn) late(t *Table, p *packet.Packet, d proto.Direction, seq, size uint32) {
	h, facts := &c.half[d], &c.facts.Half[d]
	if p.Time-h.holeSince < c.reordering(d) {
		facts.OutOfOrder++
		return
	}
	facts.Retransmits++
	h.timed = 0
	for i := range h.held {
		if s := &h.held[i]; !before(seq, s.seq) && before(seq, s.seq+s.size) {
			c.resent(t, p, d, seq, size)
			return
		}
	}
	c.filled(t, p, d, seq, size, h.holeSince, h.held[0].at.Packet)
}
