package spool

import (
	"cmp"
	"slices"
)

// span is a range of numbers of events, without to.
type span struct{ from, to uint64 }

func (s span) size() int64 { return int64(s.to - s.from) }

// progress is the set of the numbers of events that are done: all below low, and some above, in order, that neither meet
// nor overlap. There are as many of these as chunks are being delivered, and gaps in the numbers.
type progress struct {
	low   uint64
	above []span
}

// add makes numbers done.
func (p *progress) add(s span) {
	if s.from = max(s.from, p.low); s.from >= s.to {
		return
	}
	i, _ := slices.BinarySearchFunc(p.above, s.from, func(a span, n uint64) int { return cmp.Compare(a.to, n) })
	j := i
	for j < len(p.above) && p.above[j].from <= s.to {
		s.from, s.to = min(s.from, p.above[j].from), max(s.to, p.above[j].to)
		j++
	}
	if s.from <= p.low {
		p.low = s.to
		p.above = slices.Delete(p.above, 0, j) // none stands before the one that begins at low
		return
	}
	p.above = slices.Replace(p.above, i, j, s)
}

// next returns the first number from n on that isn't done.
func (p *progress) next(n uint64) uint64 {
	n = max(n, p.low)
	for _, a := range p.above {
		if n < a.from {
			break
		}
		n = max(n, a.to)
	}
	return n
}

// open appends the parts of a span that aren't done.
func (p *progress) open(dst []span, s span) []span {
	for n := p.next(s.from); n < s.to; {
		end := s.to
		for _, a := range p.above {
			if a.from > n {
				end = min(end, a.from)
				break
			}
		}
		dst = append(dst, span{n, end})
		n = p.next(end)
	}
	return dst
}

// count returns how many numbers of a span aren't done.
func (p *progress) count(s span) (n int64) {
	n = max(s.size(), 0)
	if s.from < p.low {
		n -= span{s.from, min(s.to, p.low)}.size()
	}
	for _, a := range p.above {
		if from, to := max(a.from, s.from), min(a.to, s.to); from < to {
			n -= span{from, to}.size()
		}
	}
	return n
}
