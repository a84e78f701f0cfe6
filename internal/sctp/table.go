// Package sctp follows SCTP associations (RFC 9260) and gives the data of each stream, in order, to
// a parser, as if the stream were a connection.
//
// Data is taken in the order of its transmission sequence numbers (TSN). In this order the messages
// of a stream, and the fragments of a message, come as they were sent; messages that are marked as
// unordered have no other order. A chunk says nothing of the bytes that others carried, so that the
// length of a hole is exact only within a message, whose fragments are equally long, and otherwise
// an upper bound.
package sctp

import (
	"bytes"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Limits bound what a Table keeps.
type Limits struct {
	// MaxAssociations is the number of associations; past it the one that was quiet for longest is
	// closed as evicted: Counters.Evicted.
	MaxAssociations int
	// MaxStreams is the number of streams of an association that get a parser. Data of further ones
	// is counted in Counters.Refused.
	MaxStreams int
	// MaxAhead is how far, in TSNs, a chunk may lie from the next expected one. Beyond, the sender is
	// taken to have gone on there: Counters.Jumps.
	MaxAhead uint32
	// MaxHeld is how many bytes all associations together hold behind holes, with an overhead for each
	// chunk. Past it, the hole in hand is given up: Counters.HeldLimit.
	MaxHeld int
	// HoleAfter is the capture time after which a hole is given up.
	HoleAfter time.Duration
	// IdleTimeout is the capture time without packets after which an association is forgotten.
	IdleTimeout time.Duration
}

// DefaultLimits returns the limits that are in force unless configured otherwise.
func DefaultLimits() Limits {
	return Limits{
		MaxAssociations: 1000,
		MaxStreams:      64,
		MaxAhead:        4096,
		MaxHeld:         4 << 20,
		HoleAfter:       3 * time.Second,
		IdleTimeout:     5 * time.Minute,
	}
}

// Counters count what a Table has seen and lost.
type Counters struct {
	// Associations and Streams were opened.
	Associations, Streams uint64
	// Chunks of data came; Duplicates of them had come before.
	Chunks, Duplicates uint64
	// Missing TSNs were given up; Gaps tells how many holes parsers were told of.
	Missing, Gaps uint64
	// Malformed packets have a chunk whose length is wrong; what comes before it counts.
	Malformed uint64
	// Evicted, Refused (chunks), Jumps and HeldLimit say how often a limit was hit.
	Evicted, Refused, Jumps, HeldLimit uint64
	// TimedOut associations were forgotten because nothing was seen of them.
	TimedOut uint64
}

// heldOverhead is what a held chunk takes beside its data, in bytes.
const heldOverhead = 128

// Table holds the associations of one shard. It isn't safe for concurrent use.
type Table struct {
	limits Limits
	open   func(*proto.Flow, *proto.Facts) proto.Parser
	byKey  map[packet.Flow]*association
	// ring has the associations from the one that was quiet for longest.
	ring    association
	elapsed int64
	held    int

	// Counters may be read between calls.
	Counters Counters
}

// association is what is known of one association. It outlives its end until the idle timeout, so
// that late packets don't open a new one.
type association struct {
	older, newer *association

	key       packet.Flow
	lowIsOrig bool
	seen      int64
	// first and last mark its first and last packet.
	first, last clock.Mark
	facts       proto.Facts
	half        [2]half
	streams     map[uint16]*stream
	midstream   bool
	closed      bool
}

// half is one direction of an association.
type half struct {
	// tag is the verification tag of its INIT, 0 when that wasn't seen.
	tag uint32
	// next is the TSN that is expected, once begun.
	begun, moved bool
	next         uint32
	// held are the chunks behind a hole, in order; since is when the hole appeared.
	held  []held
	since int64
	// missing counts the TSNs that were given up, largest is the longest data seen.
	missing uint32
	largest int
}

type held struct {
	chunk
	at clock.Mark
}

// stream is one stream of an association, both ways.
type stream struct {
	parser  proto.Parser
	stopped bool
	side    [2]side
}

// side is one direction of a stream.
type side struct {
	off int64
	// order and fsn are those expected next; inside says that a message has begun and not ended.
	order, fsn uint32
	inside     bool
	// tsn and size are the last chunk's, missing is half.missing at that time.
	tsn     uint32
	size    int
	missing uint32
}

// New returns an empty Table. open makes the parser of a new stream; the facts are those of its
// association, to be read during calls of the parser.
func New(open func(*proto.Flow, *proto.Facts) proto.Parser, limits Limits) *Table {
	t := &Table{limits: limits, open: open, byKey: make(map[packet.Flow]*association)}
	t.ring.older, t.ring.newer = &t.ring, &t.ring
	return t
}

// Held returns how many bytes are held behind holes.
func (t *Table) Held() int { return t.held }

// Packet takes the chunks of an SCTP packet. elapsed is the capture time since the first packet, in
// nanoseconds.
func (t *Table) Packet(p *packet.Packet, elapsed int64) {
	t.elapsed = elapsed
	key, fromLow := p.Key()
	at := clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
	a := t.byKey[key]
	if a != nil {
		a.count(a.direction(fromLow), at)
		t.touch(a)
		t.oldHole(a, proto.Originator)
		t.oldHole(a, proto.Responder)
	}
	for b, wire := p.Payload, p.PayloadLen; ; {
		c, rest, malformed, ok := parse(b, wire)
		if malformed {
			t.Counters.Malformed++
		}
		if !ok {
			return
		}
		wire -= len(b) - len(rest)
		b = rest
		if a == nil || c.kind == chunkInit && a.replacedBy(&c, a.direction(fromLow)) {
			if !opens(c.kind) {
				continue
			}
			if a != nil {
				t.forget(a, proto.Replaced, at)
			}
			a = t.associate(key, fromLow != (c.kind == chunkInitAck), at)
			a.midstream = c.kind != chunkInit && c.kind != chunkInitAck
			a.count(a.direction(fromLow), at)
		}
		if !a.closed {
			t.chunk(a, a.direction(fromLow), &c, at)
		}
	}
}

// opens reports whether a chunk of this type is reason enough to follow an association.
func opens(kind uint8) bool {
	switch kind {
	case chunkInit, chunkInitAck, chunkData, chunkIData:
		return true
	}
	return false
}

// replacedBy reports whether an INIT begins another association between the same ends.
func (a *association) replacedBy(c *chunk, d proto.Direction) bool {
	return a.closed || a.midstream || a.half[d].tag != 0 && a.half[d].tag != c.tag
}

func (a *association) direction(fromLow bool) proto.Direction {
	if fromLow == a.lowIsOrig {
		return proto.Originator
	}
	return proto.Responder
}

// count takes note of a packet sent in direction d.
func (a *association) count(d proto.Direction, at clock.Mark) {
	f := &a.facts.Half[d]
	if f.Packets == 0 {
		f.First = at.Time
	}
	f.Packets++
	f.Last = at.Time
	a.last = at
}

// associate adds an association, and makes room for it.
func (t *Table) associate(key packet.Flow, lowIsOrig bool, at clock.Mark) *association {
	for len(t.byKey) >= t.limits.MaxAssociations && t.ring.newer != &t.ring {
		t.Counters.Evicted++
		t.forget(t.ring.newer, proto.Evicted, at)
	}
	a := &association{key: key, lowIsOrig: lowIsOrig, first: at, streams: make(map[uint16]*stream)}
	t.byKey[key] = a
	a.older, a.newer = a, a
	t.touch(a)
	t.Counters.Associations++
	return a
}

// touch makes a the newest of the ring.
func (t *Table) touch(a *association) {
	a.seen = t.elapsed
	a.older.newer, a.newer.older = a.newer, a.older
	a.older, a.newer = t.ring.older, &t.ring
	a.older.newer, a.newer.older = a, a
}

// chunk takes one chunk sent in direction d.
func (t *Table) chunk(a *association, d proto.Direction, c *chunk, at clock.Mark) {
	h, facts := &a.half[d], &a.facts
	switch c.kind {
	case chunkInit, chunkInitAck:
		when, count := &facts.SYN, &facts.SYNs
		if c.kind == chunkInitAck {
			when, count = &facts.SYNACK, &facts.SYNACKs
		}
		if *when == 0 {
			*when = at.Time
		}
		if *count++; !h.moved {
			h.tag, h.next, h.begun = c.tag, c.tsn, true
		}
	case chunkCookieEcho:
		if facts.Ready == 0 {
			facts.Ready = at.Time
		}
	case chunkData, chunkIData:
		t.data(a, d, c, at)
	case chunkForwardTSN, chunkIForwardTSN:
		if ahead := c.tsn + 1 - h.next; h.begun && ahead <= t.limits.MaxAhead {
			t.giveUp(a, d, c.tsn+1)
		}
	case chunkAbort:
		facts.By = d
		t.end(a, proto.Reset, at)
	case chunkShutdownComplete:
		facts.By = d.Other() // who completes it answers the other side's SHUTDOWN ACK
		t.end(a, proto.Finished, at)
	}
}

// data takes a data chunk: delivers it, holds it behind a hole, or drops it as a duplicate.
func (t *Table) data(a *association, d proto.Direction, c *chunk, at clock.Mark) {
	h, facts := &a.half[d], &a.facts.Half[d]
	t.Counters.Chunks++
	facts.Bytes += uint64(c.size)
	h.largest = max(h.largest, c.size)
	if !h.begun {
		h.begun, h.next = true, c.tsn
	}
	h.moved = true
	ahead := int32(c.tsn - h.next)
	if far := int64(t.limits.MaxAhead); int64(ahead) > far || int64(ahead) < -far {
		t.Counters.Jumps++
		t.drain(a, d)
		h.missing += t.limits.MaxAhead
		t.Counters.Missing += uint64(t.limits.MaxAhead)
		h.next, ahead = c.tsn, 0
	}
	switch {
	case ahead < 0:
		t.Counters.Duplicates++
		facts.Retransmits++
	case ahead == 0:
		t.deliver(a, d, c, at)
		t.inOrder(a, d)
	default:
		t.hold(a, d, c, at)
	}
}

// oldHole gives up a hole that is older than the limit.
func (t *Table) oldHole(a *association, d proto.Direction) {
	if h := &a.half[d]; len(h.held) > 0 && time.Duration(t.elapsed-h.since) >= t.limits.HoleAfter {
		t.giveUp(a, d, h.held[0].tsn)
	}
}

// hold keeps a copy of a chunk that came early.
func (t *Table) hold(a *association, d proto.Direction, c *chunk, at clock.Mark) {
	h := &a.half[d]
	i, found := slices.BinarySearchFunc(h.held, c.tsn-h.next, func(o held, ahead uint32) int {
		return int(int64(o.tsn-h.next) - int64(ahead))
	})
	if found {
		t.Counters.Duplicates++
		a.facts.Half[d].Retransmits++
		return
	}
	if i < len(h.held) {
		a.facts.Half[d].OutOfOrder++
	}
	if len(h.held) == 0 {
		h.since = t.elapsed
	}
	early := held{*c, at}
	early.data = bytes.Clone(c.data)
	h.held = slices.Insert(h.held, i, early)
	t.held += len(early.data) + heldOverhead
	for t.held > t.limits.MaxHeld && len(h.held) > 0 {
		t.Counters.HeldLimit++
		t.giveUp(a, d, h.held[0].tsn)
	}
}

// inOrder delivers the held chunks that nothing is missing before any more.
func (t *Table) inOrder(a *association, d proto.Direction) {
	h := &a.half[d]
	n := 0
	for n < len(h.held) && h.held[n].tsn == h.next {
		c := &h.held[n]
		t.held -= len(c.data) + heldOverhead
		t.deliver(a, d, &c.chunk, c.at)
		n++
	}
	if n > 0 {
		h.held = slices.Delete(h.held, 0, n)
		h.since = t.elapsed
	}
	if len(h.held) == 0 {
		h.held = nil
	}
}

// giveUp goes on at TSN to: what came before it is delivered, what is missing before it is lost.
func (t *Table) giveUp(a *association, d proto.Direction, to uint32) {
	h := &a.half[d]
	for h.next != to && int32(to-h.next) > 0 {
		stop := to
		if len(h.held) > 0 && h.held[0].tsn-h.next < to-h.next {
			stop = h.held[0].tsn
		}
		h.missing += stop - h.next
		t.Counters.Missing += uint64(stop - h.next)
		h.next = stop
		t.inOrder(a, d)
	}
	t.inOrder(a, d)
}

// drain delivers all held chunks.
func (t *Table) drain(a *association, d proto.Direction) {
	for h := &a.half[d]; len(h.held) > 0; {
		t.giveUp(a, d, h.held[0].tsn)
	}
}

// deliver gives a chunk to the parser of its stream.
func (t *Table) deliver(a *association, d proto.Direction, c *chunk, at clock.Mark) {
	h := &a.half[d]
	h.next = c.tsn + 1
	s := a.streams[c.sid]
	if s == nil {
		if len(a.streams) >= t.limits.MaxStreams {
			t.Counters.Refused++
			return
		}
		s = t.stream(a, c.sid)
	}
	o := &s.side[d]
	if n := o.lost(h, c); n > 0 {
		t.gap(a, s, d, n, at)
	}
	o.expect(h, c)
	if s.stopped {
		return
	}
	if len(c.data) > 0 {
		at.Offset = o.off
		o.off += int64(len(c.data))
		s.stopped = s.parser.Data(d, c.data, at).Action == proto.Stop
	}
	if cut := c.size - len(c.data); cut > 0 {
		t.gap(a, s, d, int64(cut), at)
	}
}

// stream opens a stream of an association.
func (t *Table) stream(a *association, sid uint16) *stream {
	t.Counters.Streams++
	orig, resp := 0, 1
	if !a.lowIsOrig {
		orig, resp = 1, 0
	}
	addr, port := [2]packet.Addr{a.key.Lo, a.key.Hi}, [2]uint16{a.key.LoPort, a.key.HiPort}
	s := &stream{parser: t.open(&proto.Flow{
		Addr:      [2]packet.Addr{addr[orig], addr[resp]},
		Port:      [2]uint16{port[orig], port[resp]},
		Proto:     packet.ProtoSCTP,
		Stream:    sid,
		Net:       a.key.Net,
		First:     a.first,
		Midstream: a.midstream,
	}, &a.facts)}
	a.streams[sid] = s
	return s
}

// lost returns how many bytes of the stream are missing before c: 0 when all TSNs that were given up
// since the last chunk must have been other streams'.
func (o *side) lost(h *half, c *chunk) int64 {
	missing := h.missing - o.missing
	begins, ordered := c.flags&flagBegin != 0, c.flags&flagUnordered == 0
	switch {
	case missing == 0:
		return 0
	case o.inside && !begins && c.order == o.order && c.kind == chunkIData:
		return int64(min(missing, c.fsn-o.fsn)) * int64(o.size)
	case o.inside && !begins && c.order == o.order:
		return int64(min(missing, c.tsn-o.tsn-1)) * int64(o.size)
	case !o.inside && begins && ordered && c.order == o.order:
		return 0
	}
	return int64(missing) * int64(h.largest)
}

// expect takes note of what must follow c.
func (o *side) expect(h *half, c *chunk) {
	o.tsn, o.size, o.missing = c.tsn, c.size, h.missing
	o.inside = c.flags&flagEnd == 0
	if o.fsn = c.fsn + 1; c.flags&flagUnordered == 0 {
		o.order = c.order
		if !o.inside {
			o.order = uint32((uint64(c.order) + 1) % c.orders)
		}
	}
}

// gap tells the parser of a stream that n bytes are missing.
func (t *Table) gap(a *association, s *stream, d proto.Direction, n int64, at clock.Mark) {
	t.Counters.Gaps++
	a.facts.Half[d].Gaps++
	a.facts.Half[d].Missing += n
	o := &s.side[d]
	at.Offset = o.off
	o.off += n
	if !s.stopped {
		s.parser.Gap(d, n, at)
	}
}

// end closes an association, after what is held.
func (t *Table) end(a *association, why proto.CloseReason, at clock.Mark) {
	if a.closed {
		return
	}
	a.closed = true
	a.facts.Why, a.facts.Closed = why, at
	t.drain(a, proto.Originator)
	t.drain(a, proto.Responder)
	sids := make([]uint16, 0, len(a.streams))
	for sid := range a.streams {
		sids = append(sids, sid)
	}
	slices.Sort(sids) // so that the same capture gives the same output
	for _, sid := range sids {
		s := a.streams[sid]
		for d := proto.Originator; d <= proto.Responder; d++ {
			at.Offset = s.side[d].off
			s.parser.Close(d, at, why)
		}
	}
	a.streams = nil
}

// forget ends an association and its memory.
func (t *Table) forget(a *association, why proto.CloseReason, at clock.Mark) {
	t.end(a, why, at)
	delete(t.byKey, a.key)
	a.older.newer, a.newer.older = a.newer, a.older
}

// Tick gives up holes and forgets associations that have been quiet for too long. elapsed is the
// capture time since the first packet, in nanoseconds.
func (t *Table) Tick(elapsed int64) {
	t.elapsed = elapsed
	for a := t.ring.newer; a != &t.ring; {
		idle := time.Duration(elapsed - a.seen)
		if idle < min(t.limits.HoleAfter, t.limits.IdleTimeout) {
			return
		}
		newer := a.newer
		if idle >= t.limits.IdleTimeout {
			if !a.closed {
				t.Counters.TimedOut++
			}
			t.forget(a, proto.TimedOut, a.last)
		} else {
			t.drain(a, proto.Originator)
			t.drain(a, proto.Responder)
		}
		a = newer
	}
}

// Close ends all associations, at the end of the capture.
func (t *Table) Close(at clock.Mark) {
	for t.ring.newer != &t.ring {
		a := t.ring.newer
		at.Tap, at.Peer = a.key.Tap, -1
		t.forget(a, proto.CaptureEnded, at)
	}
}
