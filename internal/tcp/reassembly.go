package tcp

import (
	"bytes"
	"hash/maphash"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// segment is an early segment.
type segment struct {
	seq  uint32
	data []byte
	// size is the payload's length on the wire, at least len(data).
	size uint32
	at   clock.Mark
	// needs is the acknowledgement it carries; valid iff acks.
	needs uint32
	acks  bool
}

// sent remembers a segment with payload.
type sent struct {
	seq, size uint32
	id        uint16
	at        int64
	hash      uint64
}

// find returns the recent segment with that place and size.
func (h *half) find(seq, size uint32) *sent {
	for i := range h.recent {
		if r := &h.recent[i]; r.seq == seq && r.size == size && r.at != 0 {
			return r
		}
	}
	return nil
}

// stall has the clock look after the connection.
func (c *Conn) stall(t *Table) {
	if !c.stalled {
		c.stalled = true
		t.stalled = append(t.stalled, c)
	}
}

// remember notes a segment, to know it again.
func (h *half) remember(t *Table, seq uint32, data []byte, size uint32, p *packet.Packet) {
	r := &h.recent[h.nth%uint8(len(h.recent))]
	h.nth++
	*r = sent{seq: seq, size: size, id: p.IPID, at: p.Time}
	if len(data) == int(size) {
		r.hash = t.digest(data)
	}
}

// digestEnds is how many bytes at each end of a long segment are in its digest.
const digestEnds = 128

// digest returns what tells two copies of a segment apart: a hash of the bytes at both of its ends. To hash
// all would cost as much as everything else that is done with a packet.
func (t *Table) digest(b []byte) uint64 {
	if len(b) <= 2*digestEnds {
		return maphash.Bytes(t.seed, b)
	}
	return maphash.Bytes(t.seed, b[:digestEnds]) ^ maphash.Bytes(t.seed, b[len(b)-digestEnds:])<<1
}

// deliver gives bytes to the parser that continue the half-stream. What the snap length cut off is a
// gap.
func (c *Conn) deliver(d proto.Direction, data []byte, size uint32, at clock.Mark) {
	h := &c.half[d]
	at.Offset = h.off
	h.next += size
	h.off += int64(size)
	if c.stopped || c.done || h.closed {
		return
	}
	if len(data) > 0 {
		if v := c.parser.Data(d, data, at); v.Action == proto.Stop {
			c.stopped = true
			return
		}
	}
	if cut := int64(size) - int64(len(data)); cut > 0 {
		at.Offset += int64(len(data))
		c.facts.Half[d].Gaps++
		c.facts.Half[d].Missing += cut
		c.parser.Gap(d, cut, at)
	}
}

// hold keeps a copy of an early segment, without what is held already: the first copy wins.
func (c *Conn) hold(t *Table, d proto.Direction, s segment) {
	h := &c.half[d]
	i := len(h.held)
	for i > 0 && before(s.seq, h.held[i-1].seq) {
		i--
	}
	if i > 0 {
		prev := &h.held[i-1]
		if have := int32(prev.seq + prev.size - s.seq); have > 0 {
			compareOverlap(&c.facts.Half[d], prev.data, s.data, int(s.seq-prev.seq))
			if uint32(have) >= s.size {
				return
			}
			s.trim(uint32(have))
		}
	}
	for i < len(h.held) && before(h.held[i].seq, s.seq+s.size) {
		next := &h.held[i]
		room := next.seq - s.seq
		compareOverlap(&c.facts.Half[d], s.data, next.data, int(room))
		if before(next.seq+next.size, s.seq+s.size) {
			// It goes on behind the one that is held: keep both ends.
			tail := s
			tail.trim(room + next.size)
			head := s
			head.cut(room)
			if room > 0 {
				c.insert(t, h, i, head)
				i++
			}
			s = tail
			i++
			continue
		}
		s.cut(room)
		break
	}
	if s.size > 0 {
		c.insert(t, h, i, s)
	}
}

func (c *Conn) insert(t *Table, h *half, i int, s segment) {
	s.data = append([]byte(nil), s.data...)
	h.held = append(h.held, segment{})
	copy(h.held[i+1:], h.held[i:])
	h.held[i] = s
	h.heldBytes += len(s.data) + segmentSize
	t.memory += len(s.data) + segmentSize
}

const segmentSize = int(unsafe.Sizeof(segment{}))

// trim removes the first n bytes.
func (s *segment) trim(n uint32) {
	s.seq += n
	s.size -= n
	s.data = s.data[min(int(n), len(s.data)):]
}

// cut keeps the first n bytes.
func (s *segment) cut(n uint32) {
	s.size = n
	s.data = s.data[:min(int(n), len(s.data))]
}

// compareOverlap counts an overlap if b, which begins at offset off of a, differs from it.
func compareOverlap(f *proto.HalfFacts, a, b []byte, off int) {
	if off >= len(a) {
		return
	}
	a = a[off:]
	n := min(len(a), len(b))
	if !bytes.Equal(a[:n], b[:n]) {
		f.Overlaps++
	}
}

func (h *half) dropHeld() {
	clear(h.held)
	h.held, h.heldBytes = h.held[:0], 0
	if cap(h.held) > keepSegments {
		h.held = nil
	}
}

// keepSegments is the longest list of early segments that is kept when it is empty.
const keepSegments = 16

// waiting reports whether the connection has anything for the clock to decide.
func (c *Conn) waiting() bool {
	if c.resetting {
		return !c.done
	}
	for d := range c.half {
		h := &c.half[d]
		if len(h.held) > 0 || h.lostSince != 0 || h.hasFin && !h.closed && h.next != h.fin {
			return !c.done
		}
	}
	return false
}

// drain delivers what can be delivered of both half-streams, and gives up the holes whose time has
// come.
func (c *Conn) drain(t *Table, now int64, at clock.Mark) {
	for !c.done {
		moved := false
		for d := proto.Originator; d <= proto.Responder; d++ {
			for !c.done && c.advance(t, d) {
				moved = true
			}
		}
		if moved {
			continue
		}
		for d := proto.Originator; d <= proto.Responder && !c.done; d++ {
			if c.giveUp(t, d, now, at) {
				moved = true
				break
			}
		}
		if !moved {
			return
		}
	}
}

// advance delivers the next held segment of a half-stream, if it is its turn, or its end.
func (c *Conn) advance(t *Table, d proto.Direction) bool {
	h, peer := &c.half[d], &c.half[d.Other()]
	if len(h.held) == 0 {
		if !before(h.next, h.ack) || !h.acked {
			h.lostSince, h.holeSince = 0, 0
		}
		return false
	}
	s := &h.held[0]
	if before(h.next, s.seq) {
		return false
	}
	if s.acks && peer.seen && before(peer.next, s.needs) && !(peer.hasFin && s.needs == peer.fin+1 && peer.next == peer.fin) && !peer.closed {
		return false
	}
	seg := *s
	h.shift(t)
	if old := h.next - seg.seq; old != 0 {
		if old >= seg.size {
			return true
		}
		seg.trim(old)
	}
	c.deliver(d, seg.data, seg.size, seg.at)
	h.holeSince, h.lostSince = 0, 0
	if len(h.held) > 0 {
		h.holeSince = seg.at.Time
		if h.acked && before(h.next, h.ack) {
			h.lostSince = seg.at.Time
		}
	}
	c.maybeClose(t, d, seg.at.Time, seg.at.Packet)
	return true
}

// shift removes the first held segment.
func (h *half) shift(t *Table) {
	n := len(h.held[0].data) + segmentSize
	h.heldBytes -= n
	t.memory -= n
	copy(h.held, h.held[1:])
	h.held[len(h.held)-1] = segment{}
	h.held = h.held[:len(h.held)-1]
	if len(h.held) == 0 && cap(h.held) > keepSegments {
		h.held = nil
	}
}

// giveUp makes a gap of the first hole of a half-stream, if its time has come.
func (c *Conn) giveUp(t *Table, d proto.Direction, now int64, at clock.Mark) bool {
	h := &c.half[d]
	if h.closed {
		return false // bytes that are acknowledged behind a FIN don't exist
	}
	to, lost := h.hole()
	if !before(h.next, to) {
		// No hole: the first segment waits for the other half-stream, which gives up its own hole in time. When too much
		// is held, or for too long, that time has come.
		switch {
		case h.heldBytes > t.limits.MaxHeld || len(h.held) > t.limits.MaxSegments:
			t.Counters.HeldLimit++
		case h.holeSince != 0 && now-h.holeSince > int64(t.limits.HoleAfter) && len(h.held) > 0:
		default:
			return false
		}
		peer := &c.half[d.Other()]
		if to, _ := peer.hole(); peer.seen && !peer.closed && before(peer.next, to) {
			c.gap(t, d.Other(), to, at)
		} else {
			h.held[0].acks = false
		}
		return true
	}
	switch {
	case lost && h.lostSince != 0 && now-h.lostSince >= int64(t.limits.GapAfter):
	case len(h.held) > 0 && (h.heldBytes > t.limits.MaxHeld || len(h.held) > t.limits.MaxSegments):
		t.Counters.HeldLimit++
	case len(h.held) > 0 && now-h.holeSince > int64(t.limits.HoleAfter):
	default:
		if lost && h.lostSince == 0 {
			h.lostSince = now
		}
		return false
	}
	c.gap(t, d, to, at)
	return true
}

// hole returns where the first hole ends, which is at the next byte when there is none, and whether the other
// side has acknowledged its bytes.
func (h *half) hole() (to uint32, lost bool) {
	to = h.top
	if len(h.held) > 0 {
		to = h.held[0].seq
	}
	lost = h.acked && before(h.next, h.ack)
	if lost && (len(h.held) == 0 || before(h.ack, to)) {
		to = h.ack
		if h.hasFin && h.ack == h.fin+1 {
			to = h.fin
		}
	}
	return to, lost
}

// gap gives up the bytes up to a sequence number.
func (c *Conn) gap(t *Table, d proto.Direction, to uint32, at clock.Mark) {
	h := &c.half[d]
	n := int64(to - h.next)
	if len(h.held) > 0 {
		at = h.held[0].at
	}
	at.Offset = h.off
	h.next = to
	h.off += n
	if before(h.top, to) {
		h.top = to
	}
	h.lostSince = 0
	c.facts.Half[d].Gaps++
	c.facts.Half[d].Missing += n
	t.Counters.Gaps++
	if c.flow.Recorded {
		n = proto.Unknown
	}
	t.Counters.MissingBytes += uint64(max(n, 0))
	if !c.stopped {
		c.parser.Gap(d, n, at)
	}
	c.maybeClose(t, d, at.Time, at.Packet)
}

// maybeClose tells the parser that a half-stream has ended, when all of it was delivered.
func (c *Conn) maybeClose(t *Table, d proto.Direction, now int64, number uint64) {
	h := &c.half[d]
	if !h.hasFin || h.closed || c.done || before(h.next, h.fin) {
		if h.hasFin && !h.closed && !c.done {
			c.stall(t)
			if h.holeSince == 0 {
				h.holeSince = now
			}
		}
		return
	}
	h.closed = true
	h.holeSince, h.lostSince = 0, 0
	t.memory -= h.heldBytes
	h.dropHeld() // behind the FIN
	c.facts.Half[d].Ended = now
	c.parser.Close(d, clock.Mark{Time: now, Packet: number, Tap: c.key.Tap, Offset: h.off, Peer: -1}, proto.Finished)
	if c.half[d.Other()].closed {
		c.done = true
		t.close(c)
	}
}

// finish delivers what is held, gaps and all, and closes both half-streams.
func (c *Conn) finish(t *Table, why proto.CloseReason, at clock.Mark) {
	if c.done {
		return
	}
	if c.resetting {
		why, at = proto.Reset, c.resetAt
	}
	if c.facts.Why == proto.Open {
		c.facts.Why, c.facts.Closed = why, at
	}
	c.interrupt(t, proto.Originator, at.Time, at.Packet)
	c.interrupt(t, proto.Responder, at.Time, at.Packet)
	for moved := true; moved && !c.done; {
		moved = false
		for d := proto.Originator; d <= proto.Responder; d++ {
			for !c.done && c.advance(t, d) {
				moved = true
			}
		}
		// Holes first: a segment that waits for the other half-stream must not overtake what is lost of it.
		for d := proto.Originator; d <= proto.Responder && !moved && !c.done; d++ {
			h := &c.half[d]
			if to, _ := h.hole(); h.seen && !h.closed && before(h.next, to) {
				c.gap(t, d, to, at)
				moved = true
			}
		}
		for d := proto.Originator; d <= proto.Responder && !moved && !c.done; d++ {
			if h := &c.half[d]; len(h.held) > 0 {
				h.held[0].acks = false
				moved = true
			}
		}
	}
	if c.done {
		return
	}
	c.done = true
	first := proto.Originator
	if why == proto.Reset {
		first = c.facts.By
	}
	for _, d := range [2]proto.Direction{first, first.Other()} {
		h := &c.half[d]
		if !h.closed {
			h.closed = true
			at.Offset = h.off
			if why == proto.Reset {
				c.facts.Half[d].Ended = at.Time
			}
			c.parser.Close(d, at, why)
		}
	}
}
