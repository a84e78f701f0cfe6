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
	// lastAt and lastPacket are of the last segment with payload, 0 before there is one. advanceAt is when the last acknowledgement
	// came that freed something.
	lastAt, advanceAt int64
	lastPacket        uint64
	// judgedAt is when the last pause ended that was looked at: what is shorter than a burst isn't looked at by itself.
	judgedAt int64

	// unit is the payload of a segment of full size with options of this length, largest the largest payload up to it that was seen.
	unit, largest uint32
	options       uint8
	// edge is the right edge of the receiver's window, valid iff edged.
	edge  uint32
	edged bool
	// full: the window leaves no room for a segment since the last one, or is closed. openAt is when it opened again, 0 while it hasn't.
	full       bool
	openAt     int64
	openPacket uint64
	// drained: the last segment was the end of the sender's queue, since neither it was full nor the window; pushed: it may have been. probed: the sender has asked for the window.
	drained, pushed, probed bool
	// poke is a byte that was sent into a closed window to probe it (RFC 9293 §3.8.6.1), valid iff poked.
	poked bool
	poke  uint32
	// short is the end of the last segment below full size, valid iff hasShort. eager: another one was sent before it was acknowledged, so that
	// the sender doesn't wait with small segments (RFC 896).
	hasShort, eager bool
	short           uint32
	// turn: the other side has spoken since everything was acknowledged.
	turn bool
	// beat is the smoothed time between segments that followed each other at the rhythm of the path.
	beat int64
	// echo is a timestamp of the receiver's that the sender hasn't echoed yet, passed at echoAt; 0: none is waited for. behind is the smoothed time
	// that the sender took for it while it had more to send, 0 when unknown.
	echo           uint32
	echoAt, behind int64
	// followed is the right edge that is followed since followedAt, 0: none is. bound: the last one was reached in a round trip.
	followed   uint32
	followedAt int64
	bound      bool
	// marks say when what is under way was sent, those between from and to, oldest first. What begins before the first was sent before.
	from, to uint8
	marks    [maxMarks]mark
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
	// burst is the time within which segments follow each other because they were sent together.
	burst = 100e3
	// shortPause is a pause that needs no acknowledgement before its end to be the path's.
	shortPause = int64(2e6)
	// queueing is how much later than a round trip what a sender sends may come to a tap that is far from it: so long a segment waits for a
	// slow link.
	queueing = int64(60e6)
	// delayedAck is how much later than a round trip an acknowledgement comes at least that was delayed: usual are 40 and 200 ms.
	delayedAck = int64(25e6)
	// longestDelay is the longest that an acknowledgement may be delayed (RFC 9293 §3.8.6.3).
	longestDelay = int64(500e6)
)

// note adds a mark. Where there is no room, those of a burst share one, and for a new one every second one goes.
func (f *flight) note(seq uint32, at int64, number uint64) {
	if f.to == maxMarks {
		switch {
		case f.from > 0:
			copy(f.marks[:], f.marks[f.from:])
			f.from, f.to = 0, maxMarks-f.from
		case uint64(at-f.marks[maxMarks-1].at) < burst:
			return
		default:
			for i := range maxMarks / 2 {
				f.marks[i] = f.marks[2*i]
			}
			f.to = maxMarks / 2
		}
	}
	f.marks[f.to] = mark{at: at, seq: seq, packet: uint32(number)}
	f.to++
}

// arrived drops the marks of what was acknowledged.
func (f *flight) arrived(ack uint32) {
	for f.from+1 < f.to && !before(ack, f.marks[f.from+1].seq) {
		f.from++
	}
}

// sentAt returns when the byte at seq was sent first, and with which packet, as well as is known; now is the number of this packet.
func (f *flight) sentAt(seq uint32, now uint64) (at int64, number uint64, ok bool) {
	for i := int(f.to) - 1; i >= int(f.from); i-- {
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

// whole reports whether a segment of d is of full size, or made of such.
func (c *Conn) whole(f *flight, p *packet.Packet, size uint32) bool {
	if n := uint8(len(p.Options)); n != f.options || f.unit == 0 {
		f.unit, f.options = c.offered(), n
		f.unit -= min(uint32(n), f.unit/2)
		f.largest = min(f.largest, f.unit)
	}
	unit := f.unit
	switch {
	case size <= unit:
		if size < f.largest {
			return false
		}
		f.largest = size
		return size >= unit-unit/4
	case size <= unit+uint32(f.options), size%unit == 0, f.largest > unit-unit/4 && size%f.largest == 0:
		return true
	}
	// Segments merged by an interface. Without the handshake, their size says nothing.
	return p.Flags&packet.PSH == 0 && c.facts.Half[0].MSS|c.facts.Half[1].MSS == 0
}

// offered returns the maximum segment size that the ends agreed on.
func (c *Conn) offered() uint32 {
	a, b := uint32(c.facts.Half[0].MSS), uint32(c.facts.Half[1].MSS)
	if a == 0 || b != 0 && b < a {
		a = b
	}
	if a == 0 {
		return usualMSS
	}
	return a
}

// usualMSS is the maximum segment size of Ethernet with IPv4.
const usualMSS = 1460

// lacks reports whether a window with this room, which may be negative, lets no segment of d through. Senders and receivers avoid windows below a
// segment, or below half of the largest (RFC 9293 §3.8.6.2).
func (c *Conn) lacks(d proto.Direction, room uint32) bool {
	unit := c.half[d].flight.unit
	return int32(room) < int32(unit) && int32(room) < int32(min(unit, max(c.facts.Half[d.Other()].MaxWindow/2, 1)))
}

// fresh takes a segment of d with payload that wasn't sent before, or only in part. It is called before the segment is counted.
func (c *Conn) fresh(t *Table, p *packet.Packet, d proto.Direction, seq, size uint32) {
	h, facts := &c.half[d], &c.facts.Half[d]
	f := &h.flight
	end := seq + size
	if f.full && size == 1 && p.Flags&packet.FIN == 0 {
		f.probed, f.poked, f.poke = true, true, seq
		return
	}
	filled := c.whole(f, p, size)
	under := uint32(0)
	if h.acked {
		if before(h.ack, h.top) {
			under = h.top - h.ack
		}
		if uint64(p.Time-f.judgedAt) >= burst || f.full {
			if f.lastAt != 0 && (!before(seq, h.top) || f.poked && seq == f.poke) {
				c.pause(t, p, d, size, filled, under)
			}
			f.judgedAt = p.Time
		}
		if all := under + size; all > facts.MaxFlight && all < 1<<30 {
			facts.MaxFlight = all
		}
	}
	if f.lastAt == 0 {
		f.judgedAt = p.Time
	}
	f.drained = false
	if !filled {
		if under > 0 {
			facts.Small++
			f.eager = f.eager || f.hasShort && before(h.ack, f.short)
		}
		f.hasShort, f.short = true, end
		f.drained = !f.edged || end != f.edge
	} else if !f.loss.hasBig && size >= f.unit-f.unit/4 {
		f.loss.hasBig, f.loss.big = true, end
	}
	if before(seq, h.top) {
		seq = h.top
	}
	f.note(seq, p.Time, p.Number)
	f.lastAt, f.lastPacket = p.Time, p.Number
	f.pushed = p.Flags&packet.PSH != 0
	f.turn, f.probed, f.openAt = false, false, 0
	f.full = f.edged && c.lacks(d, f.edge-end)
	if f.followedAt != 0 && c.lacks(d, f.followed-end) {
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
	s := pause{from: f.lastAt, to: p.Time, first: f.lastPacket, last: p.Number, bytes: under}
	if f.full {
		if f.openAt == 0 || f.drained && !f.probed {
			return
		}
		s.kind = proto.WindowFull
		if p.Time-f.openAt > c.prompt(d) {
			s.to, s.last = f.openAt, f.openPacket // it had nothing more to send
		}
		c.held(t, d, s)
		return
	}
	if !filled && under == 0 && c.delayed(p, d, size) {
		s.kind = proto.DelayedAck
		c.held(t, d, s)
		return
	}
	if f.drained || took > 2*f.beat && !c.clocked(p, d, took, under) {
		return
	}
	if f.beat == 0 {
		f.beat = took
	} else {
		f.beat += (took - f.beat) / 8
	}
	s.kind, s.from = proto.CongestionWindow, min(f.judgedAt, f.lastAt)
	f.echoed(p)
	if f.bound && c.facts.Half[d.Other()].MinRTT >= farTap && (f.followedAt == 0 || p.Time-f.followedAt <= c.prompt(d)) {
		s.kind = proto.WindowFull
	} else {
		s.placed = f.behind > 0
		s.beyond = s.placed && c.facts.Half[d].RTT > f.behind
	}
	c.held(t, d, s)
}

// echoed measures the time from the tap to the sender and back by the timestamp that a segment echoes (RFC 7323 §4).
func (f *flight) echoed(p *packet.Packet) {
	if f.echoAt == 0 {
		return
	}
	if _, echo, ok := stamps(p.Options); ok && !before(echo, f.echo) {
		if took := p.Time - f.echoAt; f.behind == 0 {
			f.behind = max(took, 1)
		} else {
			f.behind = max(f.behind+(took-f.behind)/8, 1)
		}
		f.echoAt = 0
	}
}

// delayed reports whether a small segment of d with nothing under way waited for an acknowledgement that was delayed.
func (c *Conn) delayed(p *packet.Packet, d proto.Direction, size uint32) bool {
	f, facts := &c.half[d].flight, &c.facts.Half[d]
	late := facts.AllAcked.Time - f.lastAt - facts.MinRTT
	if late < delayedAck || late > longestDelay || facts.RTTSamples == 0 || f.turn || f.eager || size >= f.unit || c.loss(d) >= 0 {
		return false
	}
	answer, r := p.Time-facts.AllAcked.Time, &c.facts.Half[d.Other()]
	return answer >= r.MinRTT-r.MinRTT/4 && answer <= c.prompt(d)+r.MinRTT/2
}

// clocked reports whether d, which had more to send, sends when an acknowledgement lets it.
func (c *Conn) clocked(p *packet.Packet, d proto.Direction, took int64, under uint32) bool {
	f := &c.half[d].flight
	if under > 0 {
		return took <= shortPause || p.Time-f.advanceAt <= c.prompt(d)
	}
	if f.pushed && f.turn {
		return false
	}
	patience := c.prompt(d) + 2*f.beat
	if r := &c.facts.Half[d.Other()]; !f.pushed && (r.MinRTT >= farTap || r.RTTSamples == 0) {
		patience = max(patience, queueing)
	}
	return p.Time-c.facts.Half[d].AllAcked.Time <= patience
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
		if f.echoAt == 0 {
			if value, _, ok := stamps(p.Options); ok {
				f.echo, f.echoAt = value, p.Time
			}
		}
		if before(h.ack, h.top) {
			f.arrived(h.ack)
		} else {
			if f.to > 0 { // or it is the FIN that is acknowledged now
				c.facts.Half[of].AllAcked = proto.Acked{Time: p.Time, Packet: p.Number}
			}
			f.from, f.to = 0, 0
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
	case f.full && f.openAt == 0 && (!f.edged || !c.lacks(of, f.edge-h.top)):
		f.openAt, f.openPacket = p.Time, p.Number
	}
	if p.PayloadLen > 0 && !before(h.ack, h.top) {
		f.turn = true
	}
	if l := &f.loss; l.unsettled() || duplicate || selected != nil {
		c.settleLoss(p, of, news, duplicate, selected)
	}
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
	if f.full && f.openAt == 0 && (!f.drained || f.probed) {
		c.held(t, d, pause{kind: proto.WindowFull, from: f.lastAt, to: at, first: f.lastPacket, last: number, bytes: h.top - h.ack})
	}
}
