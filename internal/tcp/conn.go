package tcp

import (
	"bytes"
	"hash/maphash"
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

	seen       int64
	in         *list
	prev, next *Conn
}

// connSize is what a connection is estimated to take, with its parser.
const connSize = int(unsafe.Sizeof(Conn{})) + 1024

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
}

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

// signature is what makes two packets the same one captured twice.
type signature struct {
	seq, ack uint32
	size     int32
	id       uint16
	window   uint16
	flags    uint8
}

// sent remembers a segment with payload.
type sent struct {
	seq, size uint32
	id        uint16
	at        int64
	hash      uint64
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
	*c = Conn{}
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

// replacedBy reports whether a SYN begins a new connection with the addresses and ports of this one.
func (c *Conn) replacedBy(p *packet.Packet, d proto.Direction) bool {
	h, peer := &c.half[d], &c.half[d.Other()]
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
		facts.First = p.Time
	}
	facts.Last = max(facts.Last, p.Time)
	facts.Packets++
	facts.Bytes += uint64(p.PayloadLen)

	if p.Flags&packet.RST != 0 {
		return c.rst(t, p, d)
	}
	if c.resetting && c.resetBy == d && (p.Flags&packet.SYN != 0 || before(c.resetSeq, p.Seq+uint32(p.PayloadLen))) {
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
	if p.PayloadLen == 0 && p.Seq == h.next-1 && p.Flags&(packet.SYN|packet.FIN) == 0 && !h.hasFin && h.off > 0 {
		facts.KeepAlives++
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

// find returns the recent segment with that place and size.
func (h *half) find(seq, size uint32) *sent {
	for i := range h.recent {
		if r := &h.recent[i]; r.seq == seq && r.size == size && r.at != 0 {
			return r
		}
	}
	return nil
}

// syn takes what a SYN tells.
func (c *Conn) syn(p *packet.Packet, d proto.Direction) {
	h, peer := &c.half[d], &c.half[d.Other()]
	f := &c.facts
	if p.Flags&packet.ACK == 0 {
		f.SYNs++
		if f.SYN == 0 {
			f.SYN = p.Time
		}
	} else {
		f.SYNACKs++
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
	for len(o) > 0 {
		kind := o[0]
		if kind == 0 {
			return
		}
		if kind == 1 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || int(o[1]) < 2 || int(o[1]) > len(o) {
			return
		}
		v := o[2:o[1]]
		switch {
		case kind == 2 && len(v) == 2:
			f.MSS = uint16(v[0])<<8 | uint16(v[1])
		case kind == 3 && len(v) == 1:
			f.WindowScale = int8(min(v[0], 14))
		case kind == 4:
			f.SACKPermitted = true
		}
		o = o[o[1]:]
	}
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
	switch {
	case !peer.acked:
		peer.acked, peer.ack = true, p.Ack
	case before(peer.ack, p.Ack):
		if p.Ack-peer.next < 1<<30 || before(p.Ack, peer.next) {
			peer.ack = p.Ack
		}
	case p.Ack == peer.ack && p.PayloadLen == 0 && p.Flags&(packet.SYN|packet.FIN) == 0 &&
		before(p.Ack, peer.top) && window == facts.Window && window != 0:
		facts.DupAcks++
	}
	facts.Window = window
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
	if len(p.Options) >= 10 && p.Flags&packet.SYN == 0 && hasSACK(p.Options) {
		facts.SACKs++
	}
	if peer.timed != 0 && !before(p.Ack, peer.timed) {
		c.sample(d.Other(), p.Time-peer.timedAt)
		peer.timed = 0
	}
	f.Half[d.Other()].Acked = peer.off + int64(int32(peer.ack-peer.next))
	if before(peer.next, peer.ack) && peer.seen && peer.lostSince == 0 && !(peer.hasFin && peer.ack == peer.fin+1 && peer.next == peer.fin) {
		peer.lostSince = p.Time
	}
}

// hasSACK reports whether options hold SACK blocks (RFC 2018).
func hasSACK(o []byte) bool {
	for len(o) >= 2 {
		switch {
		case o[0] == 5:
			return true
		case o[0] == 0:
			return false
		case o[0] == 1:
			o = o[1:]
			continue
		case int(o[1]) < 2 || int(o[1]) > len(o):
			return false
		}
		o = o[o[1]:]
	}
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
	c.resetting, c.resetBy, c.resetSeq = true, d, p.Seq
	c.resetAt = clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
	c.facts.Why, c.facts.By, c.facts.Closed = proto.Reset, d, c.resetAt
	c.stall(t)
	return Analysed
}

// revive takes a reset back that its alleged sender has belied.
func (c *Conn) revive() {
	c.resetting = false
	c.facts.Half[c.resetBy].OutOfWindow++
	c.facts.Why, c.facts.By, c.facts.Closed = proto.Open, 0, clock.Mark{}
}

// stall has the clock look after the connection.
func (c *Conn) stall(t *Table) {
	if !c.stalled {
		c.stalled = true
		t.stalled = append(t.stalled, c)
	}
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
	if ahead > 0 && uint32(ahead) > t.limits.MaxJump || ahead < -(1<<30) {
		facts.OutOfWindow++
		return OutOfWindow
	}
	if p.Flags&packet.FIN != 0 && !h.hasFin {
		h.hasFin, h.fin = true, seq+size
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
	if before(h.top, end) {
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
		c.late(p, d, facts) // it may fill a hole
	}

	if ahead < 0 {
		old := uint32(-ahead)
		if size <= 1 && old == 1 && !before(h.next, end) {
			facts.KeepAlives++
			return Analysed
		}
		h.timed = 0 // Karn
		facts.Retransmits++
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

// late counts a segment that comes after later ones: reordered if it comes sooner than a sender can
// notice a loss, else sent again for one that was lost before it got to the tap.
func (c *Conn) late(p *packet.Packet, d proto.Direction, facts *proto.HalfFacts) {
	h := &c.half[d]
	within := int64(3e6)
	if rtt := facts.MinRTT; rtt > 0 {
		within = min(max(rtt/2, 1e6), 100e6)
	}
	if p.Time-h.holeSince < within {
		facts.OutOfOrder++
	} else {
		facts.Retransmits++
		h.timed = 0
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
}

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
}

// giveUp makes a gap of the first hole of a half-stream, if its time has come.
func (c *Conn) giveUp(t *Table, d proto.Direction, now int64, at clock.Mark) bool {
	h := &c.half[d]
	to := h.top
	if len(h.held) > 0 {
		to = h.held[0].seq
	}
	lost := h.acked && before(h.next, h.ack)
	if lost && (len(h.held) == 0 || before(h.ack, to)) {
		to = h.ack
		if h.hasFin && h.ack == h.fin+1 {
			to = h.fin
		}
	}
	if !before(h.next, to) {
		// No hole: the first segment waits for the other half-stream, which gives up its own hole. Too
		// much held is delivered all the same.
		if over := h.heldBytes > t.limits.MaxHeld || len(h.held) > t.limits.MaxSegments; over {
			t.Counters.HeldLimit++
			h.held[0].acks = false
			return true
		}
		if h.holeSince != 0 && now-h.holeSince > int64(t.limits.HoleAfter) && len(h.held) > 0 {
			h.held[0].acks = false
			return true
		}
		return false
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
	t.Counters.MissingBytes += uint64(n)
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
	for moved := true; moved && !c.done; {
		moved = false
		for d := proto.Originator; d <= proto.Responder; d++ {
			for !c.done && c.advance(t, d) {
				moved = true
			}
		}
		for d := proto.Originator; d <= proto.Responder && !moved && !c.done; d++ {
			h := &c.half[d]
			if len(h.held) == 0 {
				continue
			}
			moved = true
			if before(h.next, h.held[0].seq) {
				c.gap(t, d, h.held[0].seq, at)
			} else {
				h.held[0].acks = false
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
			c.parser.Close(d, at, why)
		}
	}
}
