package tcp

import (
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// flight is how a half-stream is sent: what of it is under way, what window its sender has, and what it waits for.
//
// # Theory
//
// A sender with data to send sends until a window is full: that of the receiver (RFC 9293 §3.8), or its own congestion window
// (RFC 5681). Then it waits for an acknowledgement. So whatever held a half-stream up shows where it pauses and goes on, as T-RAT (2002),
// tcpcsm and Dapper (2017) found, and each time between two segments has one cause:
//
//	the last segment left less room in the receiver's window than
//	a segment needs, or the window was closed, and the next one
//	came when the window had opened                                WindowFull
//	a small segment came when a late acknowledgement had left
//	nothing under way                                              DelayedAck
//	more data was ready, and the next segment came at the rhythm
//	of acknowledgements, or of the path                            CongestionWindow, or WindowFull if the
//	                                                               sender uses each window up in a round trip
//	a segment was sent again                                       Recovery, BlackHole: see loss
//	anything else                                                  the sender's application: no episode
//
// Whether more data was ready is seen by the size of the last segment. A sender cuts its queue into segments of full size; a shorter one is the
// end of the queue, so that what comes later was written later. A segment of full size with PSH may be the end of the queue by chance: then the
// acknowledgement that the next one follows must be there to prove that it waited for it.
//
// The tap is somewhere between the ends. What it sees of a sender was sent up to half of the sender-side round trip ago, and what it
// sees of an acknowledgement is answered a sender-side round trip later; so "when" is meant with that much time, and a little more, between.
// At the sender's end, the window is known as the sender knew it. Far from it, the sender knows less of the window than the tap. There a
// right edge of the window is followed: if the sender reaches it one round trip after the tap saw it, then it uses all it gets.
type flight struct {
	// marks say when what is under way was sent, n of them, oldest first. What begins before the first was sent before.
	marks [maxMarks]mark
	n     uint8
	// lastAt and lastPacket are of the last segment with payload, 0 before there is one. advanceAt is when the last acknowledgement
	// came that freed something.
	lastAt, advanceAt int64
	lastPacket        uint64

	// unit is the payload of a segment of full size, largest the largest payload up to it that was seen.
	unit, largest uint32
	// edge is the right edge of the receiver's window, valid iff edged.
	edge  uint32
	edged bool
	// full: the window leaves no room for a segment since the last one, or is closed. openAt is when it opened again, 0 while it hasn't.
	full       bool
	openAt     int64
	openPacket uint64
	// drained: the last segment was the end of the sender's queue; pushed: it may have been. probed: the sender has asked for the window.
	drained, pushed, probed bool
	// turn: the other side has spoken since everything was acknowledged.
	turn bool
	// beat is the smoothed time between segments that followed each other at the rhythm of the path.
	beat int64
	// followed is the right edge that is followed since followedAt, 0: none is. bound: the last one was reached in a round trip.
	followed   uint32
	followedAt int64
	bound      bool
	// rhythm are episodes of either window that are too short yet to be told of; none if the count is 0.
	rhythm [rhythms]proto.Episode

	loss loss
}

// mark says that what begins at seq was sent at a time, with a packet whose number ends in these bits.
type mark struct {
	at     int64
	seq    uint32
	packet uint32
}

// maxMarks is how many segments under way are known by their own time. When there are more, older ones share marks.
const maxMarks = 8

// Times, in nanoseconds.
const (
	// longestPause is the longest time between two segments that is looked at: beyond, the clock has jumped or nobody cares.
	longestPause = int64(3600e9)
	// atOnce is how much longer than a round trip an end may take to answer without thinking.
	atOnce = int64(1e6)
	// unknownRTT stands for a sender-side round trip that couldn't be measured.
	unknownRTT = int64(20e6)
	// shortPause is a pause that needs no acknowledgement before its end to be the path's.
	shortPause = int64(2e6)
	// storage is how long a sender may take to fetch data that is ready.
	storage = int64(60e6)
	// delayedAck is how much later than a round trip an acknowledgement comes at least that was delayed: usual are 40 and 200 ms.
	delayedAck = int64(25e6)
	// longestDelay is the longest that an acknowledgement may be delayed (RFC 9293 §3.8.6.3).
	longestDelay = int64(500e6)
)

// note adds a mark. Where there is no room, every second one goes.
func (f *flight) note(seq uint32, at int64, number uint64) {
	if f.n == maxMarks {
		for i := range maxMarks / 2 {
			f.marks[i] = f.marks[2*i]
		}
		f.n = maxMarks / 2
	}
	f.marks[f.n] = mark{at: at, seq: seq, packet: uint32(number)}
	f.n++
}

// arrived drops the marks of what was acknowledged.
func (f *flight) arrived(ack uint32) {
	k := uint8(0)
	for k+1 < f.n && !before(ack, f.marks[k+1].seq) {
		k++
	}
	if k > 0 {
		f.n -= k
		copy(f.marks[:f.n], f.marks[k:])
	}
}

// sentAt returns when the byte at seq was sent first, and with which packet, as well as is known; now is the number of this packet.
func (f *flight) sentAt(seq uint32, now uint64) (at int64, number uint64, ok bool) {
	for i := int(f.n) - 1; i >= 0; i-- {
		if m := &f.marks[i]; !before(seq, m.seq) {
			return m.at, now - uint64(uint32(now)-m.packet), true
		}
	}
	return 0, 0, false
}

// prompt returns within which time d answers what the tap sees if it doesn't wait for anything else.
func (c *Conn) prompt(d proto.Direction) int64 {
	f := &c.facts.Half[d.Other()]
	if f.RTTSamples == 0 {
		return unknownRTT
	}
	return min(f.RTT+f.RTT/4, 2*f.MinRTT) + atOnce // delayed acknowledgements make the smoothed one long
}

// measure returns the payload of a segment of full size, and whether this one is made of such.
func (c *Conn) measure(f *flight, p *packet.Packet, size uint32) (full bool) {
	offered := uint32(c.facts.Half[0].MSS)
	if other := uint32(c.facts.Half[1].MSS); offered == 0 || other != 0 && other < offered {
		offered = other
	}
	known := offered != 0
	if !known {
		offered = usualMSS
	}
	unit := offered - min(uint32(len(p.Options)), offered/2)
	f.unit = unit
	switch {
	case size <= unit:
		f.largest = max(f.largest, size)
		return size >= f.largest && size >= unit/4*3
	case size%unit == 0, f.largest > unit/4*3 && size%f.largest == 0:
		return true
	}
	// Segments merged by an interface. Without the handshake, their size says nothing.
	return !known && p.Flags&packet.PSH == 0
}

// usualMSS is the maximum segment size of Ethernet with IPv4.
const usualMSS = 1460

// room is the least that the window must have room for to let a segment through: senders and receivers avoid less (RFC 9293 §3.8.6.2).
func (c *Conn) room(d proto.Direction) uint32 {
	return min(c.half[d].flight.unit, max(c.facts.Half[d.Other()].MaxWindow/2, 1))
}

// fresh takes a segment of d with payload that wasn't sent before, or only in part. It is called before the segment is counted.
func (c *Conn) fresh(t *Table, p *packet.Packet, d proto.Direction, seq, size uint32) {
	h, facts := &c.half[d], &c.facts.Half[d]
	f := &h.flight
	end := seq + size
	whole := !before(seq, h.top)
	if f.full && size == 1 && p.Flags&packet.FIN == 0 {
		f.probed = true // RFC 9293 §3.8.6.1
		return
	}
	filled := c.measure(f, p, size)
	if h.acked {
		under := h.top - h.ack
		if !before(h.ack, h.top) {
			under = 0
		}
		if f.lastAt != 0 && whole {
			c.pause(t, p, d, size, filled, under)
		}
		if under > 0 && !filled {
			facts.Small++
		}
		if under += size; under < 1<<30 {
			facts.MaxFlight = max(facts.MaxFlight, under)
		}
	}
	if filled && !f.loss.hasBig && size >= f.unit/4*3 {
		f.loss.hasBig, f.loss.big = true, end
	}
	f.note(seq, p.Time, p.Number)
	f.lastAt, f.lastPacket = p.Time, p.Number
	f.pushed, f.drained = p.Flags&packet.PSH != 0, !filled
	f.turn, f.probed, f.openAt = false, false, 0
	f.full = f.edged && int32(f.edge-end) < int32(c.room(d))
	if f.followedAt != 0 && int32(f.followed-end) < int32(c.room(d)) {
		f.bound = p.Time-f.followedAt <= c.prompt(d)
		f.followedAt = 0
	}
}

// farTap is the sender-side round trip from which the tap knows of windows that the sender doesn't know.
const farTap = int64(2e6)

// pause says what d waited for between its last segment with payload and a new one of this size; under is what is under way.
func (c *Conn) pause(t *Table, p *packet.Packet, d proto.Direction, size uint32, filled bool, under uint32) {
	h := &c.half[d]
	f := &h.flight
	took := p.Time - f.lastAt
	if took <= 0 || took > longestPause {
		return
	}
	prompt := c.prompt(d)
	s := pause{from: f.lastAt, to: p.Time, first: f.lastPacket, last: p.Number, bytes: under}
	apart := max(prompt, shortPause)
	if f.full {
		if f.openAt == 0 || f.drained && !f.probed && h.top != f.edge {
			return
		}
		s.kind = proto.WindowFull
		if p.Time-f.openAt > prompt {
			s.to, s.last = f.openAt, f.openPacket // it had nothing more to send
		}
		c.held(t, d, s, apart)
		return
	}
	allAt := c.facts.Half[d].AllAcked.Time
	if under == 0 && !filled && size < f.unit && !f.turn && c.loss(d) < 0 {
		r := &c.facts.Half[d]
		if late := allAt - f.lastAt - r.MinRTT; r.RTTSamples > 0 && late >= delayedAck && late < longestDelay && p.Time-allAt <= prompt {
			s.kind = proto.DelayedAck
			c.held(t, d, s, 0)
			return
		}
	}
	if f.drained {
		return
	}
	if took > 2*f.beat || f.beat == 0 {
		switch {
		case under > 0:
			if took > shortPause && p.Time-f.advanceAt > prompt {
				return
			}
		case f.pushed:
			if f.turn || p.Time-allAt > prompt+2*f.beat {
				return
			}
		case p.Time-allAt > max(prompt, storage):
			return
		}
	}
	if f.beat == 0 {
		f.beat = took
	} else {
		f.beat += (took - f.beat) / 8
	}
	s.kind = proto.CongestionWindow
	if r := &c.facts.Half[d.Other()]; f.bound && r.MinRTT >= farTap && (f.followedAt == 0 || p.Time-f.followedAt <= prompt) {
		s.kind = proto.WindowFull
	}
	c.held(t, d, s, apart)
}

// acknowledged takes what a packet of d, without SYN, says about what the other side sent: news: it acknowledges more than the one before.
// duplicate: it is a duplicate acknowledgement. window is the scaled window.
func (c *Conn) acknowledged(p *packet.Packet, d proto.Direction, window uint32, news, duplicate bool, selected []byte) {
	of := d.Other()
	h := &c.half[of]
	f := &h.flight
	if f.lastAt == 0 {
		if c.knows(d) {
			f.edge, f.edged = p.Ack+window, true
		}
		return
	}
	if news {
		f.advanceAt = p.Time
		f.arrived(h.ack)
		if !before(h.ack, h.top) {
			c.facts.Half[of].AllAcked = proto.Acked{Time: p.Time, Packet: p.Number}
			f.turn = false
		}
	} else if duplicate {
		f.advanceAt = p.Time
	}
	if c.knows(d) {
		if edge := p.Ack + window; !f.edged || before(f.edge, edge) {
			f.edge, f.edged = edge, true
			if f.followedAt == 0 {
				f.followed, f.followedAt = edge, p.Time
			}
		}
	}
	switch {
	case window == 0:
		f.full, f.openAt = true, 0
	case f.full && f.openAt == 0 && (!f.edged || int32(f.edge-h.top) >= int32(c.room(of))):
		f.openAt, f.openPacket = p.Time, p.Number
	}
	if p.PayloadLen > 0 && !before(h.ack, h.top) {
		f.turn = true
	}
	c.settleLoss(p, of, news, duplicate, selected)
}

// knows reports whether the windows that d advertises are known: that its SYN was seen, and the other's too if they are scaled.
func (c *Conn) knows(d proto.Direction) bool {
	return c.half[d].syn && (c.facts.Half[d].WindowScale < 0 || c.half[d.Other()].syn)
}

// asks notes a packet of d without payload that repeats the byte before those under way: a zero-window probe, or a keep-alive.
func (c *Conn) asks(p *packet.Packet, d proto.Direction) {
	h := &c.half[d]
	if h.flight.full && h.acked && before(p.Seq, h.ack) {
		h.flight.probed = true
	}
}

// interrupt tells of what holds d up when the connection ends, or its reader leaves.
func (c *Conn) interrupt(t *Table, d proto.Direction, at int64, number uint64) {
	c.interruptLoss(t, d, at, number)
	h := &c.half[d]
	f := &h.flight
	if took := at - f.lastAt; f.lastAt == 0 || took <= 0 || took > longestPause {
		return
	}
	if f.full && f.openAt == 0 && (!f.drained || f.probed || h.top == f.edge) {
		c.held(t, d, pause{proto.WindowFull, f.lastAt, at, f.lastPacket, number, h.top - h.ack}, 0)
	}
}
