package packet

import (
	"bytes"
	"slices"
	"time"
)

// FragmentStats counts datagrams that came in fragments.
type FragmentStats struct {
	// Reassembled became whole.
	Reassembled uint64
	// Expired never did within Limits.FragmentTimeout, or until Flush.
	Expired uint64
	// Evicted went to keep within Limits.MaxDatagrams or Limits.MaxFragmentBytes.
	Evicted uint64
	// TooMany had more pieces than Limits.MaxFragments.
	TooMany uint64
	// Contradicting had fragments that overlap, or disagree about the end.
	Contradicting uint64
}

// fragments holds the datagrams that wait for fragments, in a ring from the oldest to the newest.
//
// Fragments that overlap are an attempt to be read differently by different readers. Of IPv6 they
// are forbidden (RFC 5722), but for exact duplicates. Of IPv4 the first copy counts as long as all
// copies agree. Otherwise the datagram is refused, with all that still comes of it until its timeout:
// no host's reading of it would be sure to be ours.
type fragments struct {
	byKey map[fragmentKey]*datagram
	ring  datagram
	// memory is what the datagrams take, in bytes, by the estimates below.
	memory  int
	elapsed int64
	stats   FragmentStats
}

const (
	datagramMemory = 256
	pieceMemory    = 64

	// maxDatagram is the largest IP payload (RFC 791 §3.1).
	maxDatagram = 65535
)

type fragmentKey struct {
	src, dst Addr
	id       uint32
	tap, net uint32
	proto    uint8
}

// fragmentOf describes a fragment.
type fragmentOf struct {
	key fragmentKey
	// off is its position in bytes; more says that it isn't the last.
	off  int
	more bool
	// next is the header that follows, of the first fragment.
	next uint8
	// strict refuses all overlaps.
	strict bool
}

// datagram is what has come of a fragmented datagram.
type datagram struct {
	older, newer *datagram

	key  fragmentKey
	born int64
	// pieces are in order and don't overlap; have is the sum of their lengths. end is the length of
	// the datagram, -1 while it isn't known.
	pieces    []piece
	have, end int
	next      uint8
	refused   bool
	memory    int
	// held are the frames that wait with this datagram.
	held Count
}

// piece is a stretch of a datagram that no other piece covers. bytes are a copy.
type piece struct {
	off   int
	bytes []byte
}

func (p *piece) end() int { return p.off + len(p.bytes) }

func (f *fragments) init() {
	f.byKey = make(map[fragmentKey]*datagram)
	f.ring.older, f.ring.newer = &f.ring, &f.ring
}

// open returns the datagram of a key, which may be new.
func (f *fragments) open(key *fragmentKey) *datagram {
	if g := f.byKey[*key]; g != nil {
		return g
	}
	g := &datagram{key: *key, born: f.elapsed, end: -1, memory: datagramMemory}
	f.byKey[*key] = g
	g.older, g.newer = f.ring.older, &f.ring
	g.older.newer, g.newer.older = g, g
	f.memory += g.memory
	return g
}

func (f *fragments) remove(g *datagram) {
	delete(f.byKey, g.key)
	g.older.newer, g.newer.older = g.newer, g.older
	f.memory -= g.memory
}

// reassemble adds a fragment. It returns Decoded with the whole datagram and its first header when
// this was the last one missing.
func (d *Decoder) reassemble(f *fragmentOf, l layer) (whole []byte, next uint8, res Result) {
	end := f.off + l.wire
	switch {
	case len(l.b) < l.wire:
		return nil, 0, SnapCut
	case l.wire == 0, end > maxDatagram, f.more && l.wire%8 != 0:
		return nil, 0, BadFragment
	}
	g := d.fragments.open(&f.key)
	if g.refused {
		return nil, 0, BadFragment
	}
	if f.off == 0 {
		g.next = f.next
	}
	before := len(g.pieces)
	if !g.setEnd(end, f.more) || !g.insert(f.off, l.b, f.strict) {
		d.refuse(g, &d.fragments.stats.Contradicting)
		return nil, 0, BadFragment
	}
	if len(g.pieces) > d.limits.MaxFragments {
		d.refuse(g, &d.fragments.stats.TooMany)
		return nil, 0, BadFragment
	}
	if g.have == g.end {
		whole = make([]byte, 0, g.end)
		for i := range g.pieces {
			whole = append(whole, g.pieces[i].bytes...)
		}
		d.fragments.remove(g)
		d.fragments.stats.Reassembled++
		d.counts[Held].sub(g.held)
		d.charge.add(g.held)
		return whole, g.next, Decoded
	}
	if n := len(g.pieces) - before; n > 0 {
		d.grow(g, n*pieceMemory+len(l.b))
	}
	g.held.add(d.charge)
	d.counts[Held].add(d.charge)
	d.charge = Count{}
	d.evict()
	return nil, 0, Held
}

// setEnd takes note of where the datagram ends, and reports whether that agrees with what has come.
func (g *datagram) setEnd(end int, more bool) bool {
	switch {
	case g.end >= 0:
		return end == g.end || more && end < g.end
	case !more:
		g.end = end
		return len(g.pieces) == 0 || g.pieces[len(g.pieces)-1].end() <= end
	}
	return true
}

// insert copies what is new in b, which lies at off, and reports whether it agrees with what has come.
func (g *datagram) insert(off int, b []byte, strict bool) bool {
	at, end := off, off+len(b)
	add := func(i, to int) {
		g.pieces = slices.Insert(g.pieces, i, piece{at, bytes.Clone(b[at-off : to-off])})
		g.have += to - at
	}
	i := 0
	for ; i < len(g.pieces) && at < end; i++ {
		q := g.pieces[i]
		if q.end() <= at {
			continue
		}
		if q.off >= end {
			break
		}
		if strict && (q.off != off || q.end() != end) {
			return false
		}
		if at < q.off {
			add(i, q.off)
			i++
			at = q.off
		}
		to := min(end, q.end())
		if !bytes.Equal(b[at-off:to-off], q.bytes[at-q.off:to-q.off]) {
			return false
		}
		at = to
	}
	if at < end {
		add(i, end)
	}
	return true
}

// grow accounts for n bytes more of memory.
func (d *Decoder) grow(g *datagram, n int) {
	g.memory += n
	d.fragments.memory += n
}

// refuse gives up what has come of a datagram, and keeps its key to refuse what will come.
func (d *Decoder) refuse(g *datagram, why *uint64) {
	*why++
	d.settle(g)
	d.grow(g, datagramMemory-g.memory)
	g.pieces, g.refused = nil, true
}

// settle counts the frames that waited with a datagram as lost.
func (d *Decoder) settle(g *datagram) {
	d.counts[Held].sub(g.held)
	d.counts[BadFragment].add(g.held)
	g.held = Count{}
}

// drop forgets a datagram. What was refused has been counted before.
func (d *Decoder) drop(g *datagram, why *uint64) {
	if !g.refused {
		*why++
	}
	d.settle(g)
	d.fragments.remove(g)
}

// evict drops the oldest datagrams until the limits are kept.
func (d *Decoder) evict() {
	f := &d.fragments
	for len(f.byKey) > d.limits.MaxDatagrams || f.memory > d.limits.MaxFragmentBytes {
		d.drop(f.ring.newer, &f.stats.Evicted)
	}
}

// Tick tells the time, as nanoseconds of capture time since the first packet, and expires the
// datagrams that have waited too long.
func (d *Decoder) Tick(elapsed int64) {
	f := &d.fragments
	f.elapsed = elapsed
	for f.ring.newer != &f.ring && time.Duration(elapsed-f.ring.newer.born) >= d.limits.FragmentTimeout {
		d.drop(f.ring.newer, &f.stats.Expired)
	}
}

// Flush gives up all datagrams that wait, at the end of the capture.
func (d *Decoder) Flush() {
	for f := &d.fragments; f.ring.newer != &f.ring; {
		d.drop(f.ring.newer, &f.stats.Expired)
	}
}

// FragmentStats returns what became of the datagrams that came in fragments.
func (d *Decoder) FragmentStats() FragmentStats { return d.fragments.stats }
