package tcp

import (
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// loss is how a half-stream repairs what was lost of it.
//
// # Theory
//
// A tap sees a loss from one of two sides. Lost beyond the tap, the segment is seen, and later seen again: the receiver lacked it from about the
// time of the first copy to that of the second. Lost before the tap, it leaves a hole that is filled later than reordering would fill it: the
// receiver lacked it from the segment behind the hole to the one that fills it. That something was lost at the very end shows
// if the sender's acknowledgements carry a sequence number that the tap hasn't seen the bytes before of.
//
// What the sender noticed it by is seen from what it was told before: three duplicate or selective acknowledgements (RFC 5681, RFC 6675), or
// nothing, and then it has sent the end of its queue again as a probe (RFC 8985 §7), or the oldest segment after a timeout (RFC 6298).
//
// All that is sent again until everything is acknowledged that was under way when the loss was noticed is one loss, backoff included.
// It was none if the receiver says that it got the bytes twice (RFC 2883), or if its acknowledgement echoes an older timestamp than
// the second copy's or comes sooner after it than it can (RFC 3522).
//
// Segments of full size that go three times without an answer, where none that large ever got one although the handshake did, don't fit
// through the path, and nobody says so (RFC 2923 §2.1).
type loss struct {
	// on: what was under way when the loss was noticed, up to high, isn't all acknowledged.
	on   bool
	high uint32
	// end, at and stamp are of the last segment that was sent again: its end, time and, valid iff stamped, timestamp. answered: it was acknowledged.
	// many counts them, excused those that weren't needed; they lie from low to far.
	end, stamp        uint32
	at                int64
	stamped, answered bool
	many, excused     uint32
	low, far          uint32
	// tries counts how often the oldest segment, at oldest, was sent again.
	oldest uint32
	tries  uint8
	// dups counts duplicate acknowledgements since the last one that told anything new; sacked is where the highest bytes end that were
	// selectively acknowledged, valid iff hasSACK.
	dups    uint8
	hasSACK bool
	sacked  uint32
	// big is the end of the first segment of full size, valid iff hasBig; passed: one of that size was acknowledged.
	hasBig, passed bool
	big            uint32
	// claim is how far the sender says to have sent, which the tap first learnt at claimAt; 0: nowhere further than was seen.
	claim       uint32
	claimAt     int64
	claimPacket uint64
}

// Times, in nanoseconds.
const (
	// minRTO is the shortest retransmission timeout of common systems (RFC 6298 asks for a second), less some for the tap.
	minRTO = int64(190e6)
	// soon is how long after an acknowledgement a retransmission comes that it caused.
	soon = int64(50e6)
)

// blackFor is how long nothing large must have come before it is said that it can't.
const blackFor = int64(1e9)

// loss returns the place of the episode of d's last loss while it is being repaired, -1 if there is none.
func (c *Conn) loss(d proto.Direction) int {
	if !c.half[d].flight.loss.on {
		return -1
	}
	return c.opened(d, openLoss)
}

// again notes that something was sent that isn't new.
func (f *flight) again(p *packet.Packet) {
	f.lastAt, f.lastPacket = max(f.lastAt, p.Time), p.Number
	f.judgedAt = f.lastAt
}

// resent takes a segment of d whose first copy was seen at the tap.
func (c *Conn) resent(t *Table, p *packet.Packet, d proto.Direction, seq, size uint32) {
	h := &c.half[d]
	f := &h.flight
	end := seq + size
	if f.lastAt == 0 || f.poked && seq == f.poke {
		return
	}
	if h.acked {
		if !before(h.ack, end) {
			f.again(p)
			return // it had arrived, and only the sender doesn't know
		}
		if before(seq, h.ack) {
			seq = h.ack
		}
	}
	from, first, ok := f.sentAt(seq, p.Number)
	if !ok {
		from, first = f.lastAt, f.lastPacket
	}
	how := c.repair(p, d, seq, end)
	i := c.repaired(t, p, d, from, first, size, how, true)
	l := &f.loss
	if seq != l.oldest || l.tries == 0 {
		l.oldest, l.tries = seq, 0
	}
	if h.acked && seq == h.ack || !h.acked {
		l.tries = min(l.tries+1, 100)
	}
	if i >= 0 && l.tries >= 2 && !l.passed && size >= f.unit-f.unit/4 && c.facts.Ready != 0 && c.facts.Unaccepted == 0 {
		c.facts.Episodes[i].Kind = proto.BlackHole
	}
}

// filled takes a segment of d that was lost before the tap: what came behind it came at from, with a packet.
func (c *Conn) filled(t *Table, p *packet.Packet, d proto.Direction, seq, size uint32, from int64, first uint64) {
	h := &c.half[d]
	if h.lostSince != 0 || h.acked && !before(h.ack, seq+size) {
		return // it isn't the network that lost it, but the capture
	}
	c.repaired(t, p, d, from, first, size, c.repair(p, d, seq, seq+size), false)
}

// repaired notes that a segment of d that was lost came again, and returns the place of the episode, -1 if there is none.
func (c *Conn) repaired(t *Table, p *packet.Packet, d proto.Direction, from int64, first uint64, size uint32, how proto.Repair, beyond bool) int {
	h := &c.half[d]
	f := &h.flight
	l := &f.loss
	f.again(p)
	var value uint32
	value, _, l.stamped = stamps(p.Options)
	l.end, l.at, l.stamp, l.answered = p.Seq+size, p.Time, value, false
	open := c.opened(d, openLoss)
	if open >= 0 {
		e := &c.facts.Episodes[open]
		if l.on && e.Beyond == beyond && e.How != proto.Spurious && before(p.Seq, l.high) {
			if p.Time > e.To {
				e.Held += p.Time - e.To
				e.To, e.Last = p.Time, p.Number
			}
			e.Count++
			e.Bytes += int64(size)
			if how == proto.Timeout || e.How == proto.NoRepair {
				e.How = how
			}
			l.many++
			if before(p.Seq, l.low) {
				l.low = p.Seq
			}
			if before(l.far, l.end) {
				l.far = l.end
			}
			return c.settle(open)
		}
		if e.How != proto.Spurious {
			from = max(from, e.To)
		}
	}
	if from >= p.Time || p.Time-from > longestPause {
		return -1
	}
	c.cut(d, from)
	l.on, l.high, l.many, l.excused, l.low, l.far = true, h.top, 1, 0, p.Seq, l.end
	if end := p.Seq + size; before(l.high, end) {
		l.high = end
	}
	i := c.add(t, proto.Episode{
		Of: d, Kind: proto.Recovery, How: how, Beyond: beyond, Placed: true, From: from, To: p.Time, First: first, Last: p.Number, Held: p.Time - from,
		Count: 1, Bytes: int64(size),
	})
	c.open[d][openLoss] = int8(i + 1)
	return i
}

// repair says by what d noticed that the segment from seq to end was lost, which it sends again now.
func (c *Conn) repair(p *packet.Packet, d proto.Direction, seq, end uint32) proto.Repair {
	h := &c.half[d]
	f, l := &h.flight, &h.flight.loss
	if !h.acked {
		if p.Time-f.lastAt >= minRTO {
			return proto.Timeout
		}
		return proto.NoRepair
	}
	facts := &c.facts.Half[d]
	told := p.Time - f.advanceAt
	prompt := max(c.prompt(d)+facts.RTT/2, soon)
	quiet := min(told, p.Time-f.lastAt)
	switch {
	case (l.dups >= 3 || l.hasSACK && before(seq, l.sacked)) && told <= prompt:
		return proto.FastRetransmit
	case quiet >= minRTO && seq == h.ack:
		return proto.Timeout
	case !before(end, h.top) && (before(h.ack, seq) || l.tries == 0):
		return proto.TailProbe
	case quiet > 3*facts.RTT+delayedAck:
		return proto.Timeout
	}
	return proto.FastRetransmit
}

// unsettled reports whether an acknowledgement may change anything.
func (l *loss) unsettled() bool {
	return l.on || l.hasSACK || l.dups|l.tries != 0 || l.hasBig != l.passed
}

// settleLoss takes what an acknowledgement says of the losses of d; see acknowledged.
func (c *Conn) settleLoss(p *packet.Packet, d proto.Direction, news, duplicate bool, selected []byte) {
	h := &c.half[d]
	f, l := &h.flight, &h.flight.loss
	if news {
		l.dups, l.tries = 0, 0
		l.hasSACK = l.hasSACK && before(h.ack, l.sacked)
		l.passed = l.passed || l.hasBig && !before(h.ack, l.big)
		if l.on {
			if !l.answered && !before(h.ack, l.end) {
				l.answered = true
				if i := c.loss(d); i >= 0 && l.many == 1 && c.facts.Episodes[i].Beyond && c.answersFirst(p, d) {
					c.excuse(d)
				}
			}
			l.on = before(h.ack, l.high)
		}
	} else if duplicate && l.dups < 255 {
		l.dups++
	}
	if selected == nil {
		return
	}
	b := selective(selected, p.Ack)
	if b.any {
		f.advanceAt = p.Time
		if !l.hasSACK || before(l.sacked, b.top) {
			l.hasSACK, l.sacked = true, b.top
		}
		l.passed = l.passed || f.unit > 0 && b.largest >= f.unit
	}
	if b.duplicate && !before(h.top, b.to) {
		c.facts.Half[d].DSACKs++
		if l.many > 0 && !before(b.from, l.low) && !before(l.far, b.to) {
			c.excuse(d)
		}
	}
}

// answersFirst reports whether an acknowledgement of what d has sent twice answers the first copy.
func (c *Conn) answersFirst(p *packet.Packet, d proto.Direction) bool {
	l, r := &c.half[d].flight.loss, &c.facts.Half[d]
	if _, echo, ok := stamps(p.Options); ok && l.stamped {
		return before(echo, l.stamp)
	}
	return r.RTTSamples >= enoughSamples && p.Time-l.at < r.MinRTT/2
}

// enoughSamples is how many samples the least round-trip time must be of to prove something.
const enoughSamples = 3

// excuse notes that something was sent again that had arrived. If that goes for all of a loss, it was none.
func (c *Conn) excuse(d proto.Direction) {
	l := &c.half[d].flight.loss
	l.excused++
	if i := c.opened(d, openLoss); i >= 0 && l.excused >= l.many {
		e := &c.facts.Episodes[i]
		e.Kind, e.How, e.Held = proto.Recovery, proto.Spurious, 0
	}
}

// ahead takes the sequence number of a packet of d without payload: it is beyond what was seen if bytes were lost before the tap.
func (c *Conn) ahead(p *packet.Packet, d proto.Direction) {
	h := &c.half[d]
	if l := &h.flight.loss; l.claimAt == 0 && p.Seq-h.top < unacked && !h.hasFin {
		l.claim, l.claimAt, l.claimPacket = p.Seq, p.Time, p.Number
	}
}

// claimed takes a segment of d that wasn't seen before, but may have been sent before.
func (c *Conn) claimed(t *Table, p *packet.Packet, d proto.Direction, seq, size uint32) {
	l := &c.half[d].flight.loss
	if before(seq, l.claim) && p.Time-l.claimAt >= c.reordering(d) {
		c.filled(t, p, d, seq, size, l.claimAt, l.claimPacket)
	}
	if !before(seq+size, l.claim) {
		l.claimAt = 0
	}
}

// reordering is how much later than those behind it a segment of d may come that took another way.
func (c *Conn) reordering(d proto.Direction) int64 {
	if rtt := c.facts.Half[d].MinRTT; rtt > 0 {
		return min(max(rtt/2, 1e6), 100e6)
	}
	return 3e6
}

// interruptLoss tells of what d's losses hold up when the connection ends.
func (c *Conn) interruptLoss(t *Table, d proto.Direction, at int64, number uint64) {
	h := &c.half[d]
	l := &h.flight.loss
	if i := c.loss(d); i >= 0 && before(h.ack, l.end) {
		if e := &c.facts.Episodes[i]; at > e.To && at-e.To < longestPause && e.How != proto.Spurious {
			e.Held += at - e.To
			e.To, e.Last = at, number
			c.settle(i)
		}
		return
	}
	from, first, to := l.claimAt, l.claimPacket, l.claim
	switch {
	case h.lostSince != 0 || h.acked && before(h.next, h.ack):
		return // it isn't the network that lost it, but the capture
	case len(h.held) > 0 && h.holeSince != 0 && before(h.next, h.held[0].seq):
		from, first, to = h.holeSince, h.held[0].at.Packet, h.held[0].seq
	case l.claimAt == 0:
		return
	}
	if at-from < c.reordering(d) {
		return
	}
	if i := c.opened(d, openLoss); i >= 0 {
		from = max(from, c.facts.Episodes[i].To)
	}
	if at <= from || at-from > longestPause {
		return
	}
	kind := proto.Recovery
	if f := &h.flight; !l.hasBig && h.off > 0 && to-h.next >= 2*f.unit && at-from >= blackFor {
		kind = proto.BlackHole // only what is small has come this far
	}
	c.cut(d, from)
	i := c.add(t, proto.Episode{
		Of: d, Kind: kind, Placed: true, From: from, To: at, First: first, Last: number, Held: at - from, Count: 1, Bytes: int64(to - h.next),
	})
	c.open[d][openLoss] = int8(i + 1)
	l.on, l.high, l.end, l.many, l.excused, l.low, l.far = true, to, to, 1, 0, h.next, to
}
