package hops

import (
	"cmp"
	"slices"
)

// between is what is known of the clocks of two taps, a and b, that saw the same exchanges.
//
// Theory. Let b be ahead by o. A request passes the tap that is nearer to the client first, so that the difference of the two
// times, b's less a's, is the way between them plus o, or, if b is the nearer one, o less the way. The response passes the
// other way. As the way takes some time, each exchange gives a bound from above and one from below:
//
//	a nearer:  -(a.response - b.response) <= o <= b.request - a.request
//
// and the other way round if b is. Which is nearer follows from the sum of the two differences, in which o cancels out: who waits longer for the
// response. The offset is taken from the middle of the narrowest bounds of late, and the bound of its error is half of what is between
// them: it is exact where the fastest request and the fastest response took the same time.
type between struct {
	low, high [2]int64 // of this period, and the one before
	any       [2]bool
	since     int64
	samples   uint64
}

// clockPeriod is for how long bounds hold at least, and twice that at most: clocks drift by some ten microseconds a second.
const clockPeriod = 60_000_000_000

// compare takes what two observations of one exchange tell of their clocks.
func (l *Linker) compare(a, b *Span) {
	if a.tap == b.tap || a.ResponseStart == 0 || b.ResponseStart == 0 {
		return
	}
	if a.tap > b.tap {
		a, b = b, a
	}
	k := [2]uint32{a.tap, b.tap}
	c := l.clocks[k]
	if c == nil {
		if len(l.clocks) >= maxTaps {
			return
		}
		c = &between{since: a.Start}
		l.clocks[k] = c
	}
	c.samples++
	if a.Start-c.since > clockPeriod {
		c.low[1], c.high[1], c.any[1] = c.low[0], c.high[0], c.any[0]
		c.any[0], c.since = false, a.Start
	}
	request, response := b.Start-a.Start, b.ResponseStart-a.ResponseStart
	low, high := min(request, response), max(request, response)
	if !c.any[0] {
		c.low[0], c.high[0], c.any[0] = low, high, true
		return
	}
	if low, high = max(low, c.low[0]), min(high, c.high[0]); low > high { // the clock was set, or drifts faster than that
		low, high = min(request, response), max(request, response)
		c.any[1] = false
	}
	c.low[0], c.high[0] = low, high
}

// offset returns by how much b is ahead, and the bound of the error.
func (c *between) offset() (offset, bound int64) {
	low, high := c.low[0], c.high[0]
	if c.any[1] && max(low, c.low[1]) <= min(high, c.high[1]) {
		low, high = max(low, c.low[1]), min(high, c.high[1])
	}
	return low + (high-low)/2, (high - low + 1) / 2
}

// skew returns by how much the clock of s's tap is ahead of that of t's, and how far off that may be.
func (l *Linker) skew(t, s *Span) (skew, bound int64) { return l.ahead(t.tap, s.tap) }

func (l *Linker) ahead(a, b uint32) (skew, bound int64) {
	switch {
	case a == b:
		return 0, 0
	case a > b:
		skew, bound = l.ahead(b, a)
		return -skew, bound
	}
	if c := l.clocks[[2]uint32{a, b}]; c != nil {
		return c.offset()
	}
	return 0, l.wait
}

// shift returns by how much the clock of o's tap is ahead of that of a service's, 0 where that isn't known: clocks are taken to be set alike then.
func (l *Linker) shift(v *service, o *Span) int64 {
	if v.tap == o.tap {
		return 0
	}
	shift, _, _ := l.clock(v.tap, o.tap)
	return shift
}

// clock returns the offset of a tap's clock against another's, by way of a third one if need be. samples is 0 where nothing is known.
func (l *Linker) clock(from, to uint32) (offset, bound int64, samples uint64) {
	known := func(a, b uint32) *between { return l.clocks[[2]uint32{min(a, b), max(a, b)}] }
	if c := known(from, to); c != nil {
		offset, bound = l.ahead(from, to)
		return offset, bound, c.samples
	}
	for via := range uint32(len(l.tapNames)) {
		if c, d := known(from, via), known(via, to); c != nil && d != nil && via != from && via != to {
			o, b := l.ahead(from, via)
			p, e := l.ahead(via, to)
			if samples == 0 || b+e < bound {
				offset, bound, samples = o+p, b+e, min(c.samples, d.samples)
			}
		}
	}
	return offset, bound, samples
}

// Clock is how the clocks of two taps differ that saw the same exchanges.
type Clock struct {
	// Observer and Tap are those of the two.
	Observer, Tap [2]string
	// Ahead is by how much the second is ahead of the first, and Bound how far off that may be, in nanoseconds; Samples is by how many exchanges.
	Ahead, Bound int64
	Samples      uint64
}

// Clocks returns what is known of the clocks, the surest first. What follows from surer ones is left out.
func (l *Linker) Clocks() (all []Clock) {
	type pair struct {
		taps [2]uint32
		Clock
	}
	var pairs []pair
	for taps, c := range l.clocks {
		p := pair{taps: taps, Clock: Clock{Samples: c.samples}}
		for i, tap := range taps {
			if tap < uint32(len(l.tapNames)) {
				p.Observer[i], p.Tap[i] = l.tapNames[tap].observer, l.tapNames[tap].name
			}
		}
		p.Ahead, p.Bound = c.offset()
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.Bound, b.Bound), slices.Compare(a.taps[:], b.taps[:]))
	})
	joined := map[uint32]uint32{}
	group := func(tap uint32) uint32 {
		for to, ok := joined[tap]; ok; to, ok = joined[tap] {
			tap = to
		}
		return tap
	}
	for _, p := range pairs {
		if a, b := group(p.taps[0]), group(p.taps[1]); a != b {
			joined[b] = a
			all = append(all, p.Clock)
		}
	}
	return all
}
