package spool

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// progress is a set of numbers, kept as few spans.
func TestProgress(t *testing.T) {
	const most = 60
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 7))
		var p progress
		var naive [most]bool
		for range r.IntN(15) {
			from := r.IntN(most)
			s := span{uint64(from), uint64(from + r.IntN(min(12, most-from)))}
			p.add(s)
			for n := s.from; n < s.to; n++ {
				naive[n] = true
			}
			low := uint64(max(0, slices.Index(append(naive[:], false), false)))
			if p.low != low {
				t.Fatalf("seed %d: low is %d, want %d: %+v", seed, p.low, low, p)
			}
			for i, a := range p.above {
				if a.from >= a.to || a.from <= p.low || i > 0 && a.from <= p.above[i-1].to {
					t.Fatalf("seed %d: %+v", seed, p)
				}
			}
			within := span{uint64(r.IntN(most)), most}
			within.to -= uint64(r.IntN(int(within.size())))
			want := int64(0)
			next := uint64(most)
			for n := uint64(most); n > 0; n-- {
				if !naive[n-1] && n-1 >= within.from {
					if next = n - 1; n <= within.to {
						want++
					}
				}
			}
			if got := p.count(within); got != want {
				t.Fatalf("seed %d: %+v has %d of %v, want %d", seed, p, got, within, want)
			}
			if got := p.next(within.from); got != next && (next < most || got < most) {
				t.Fatalf("seed %d: %+v: %d is next from %d, want %d", seed, p, got, within.from, next)
			}
			last := within.from
			for _, o := range p.open(nil, within) {
				if o.from < last || o.to > within.to || p.count(o) != o.size() || o.size() == 0 {
					t.Fatalf("seed %d: %+v: %v of %v", seed, p, o, within)
				}
				want -= o.size()
				last = o.to
			}
			if want != 0 {
				t.Fatalf("seed %d: %+v: %d of %v are missing", seed, p, want, within)
			}
		}
	}
}
