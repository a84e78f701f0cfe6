package timing

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// A program with one thread makes its calls in the order of its requests, by gaps that alone would often say otherwise.
func TestOrderIsLearned(t *testing.T) {
	link := func(inOrder bool) (right, all int) {
		s := newService(9)
		at, ready := int64(1e9), int64(0)
		for range 1500 {
			start := at + s.about(2*time.Millisecond)
			if inOrder {
				ready = max(start, ready+20_000)
				start = ready
			}
			end := start + s.about(4*time.Millisecond)
			id := s.add(Event{In: true, Op: 1, Start: at, End: end + s.about(2*time.Millisecond)})
			s.truth[s.add(Event{Peer: 1, Start: start, End: end})] = id
			at += int64(s.rng.ExpFloat64() * 4e6)
		}
		slices.SortFunc(s.events, func(a, b Event) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID)) })
		got, _ := s.link(Options{})
		return s.right(got)
	}
	right, all := link(true)
	t.Logf("in order: %d of %d", right, all)
	if right < all*96/100 {
		t.Errorf("in order, %d of %d calls are right", right, all)
	}
	free, all := link(false)
	t.Logf("in any order: %d of %d", free, all)
	if free < all*80/100 {
		t.Errorf("in any order, %d of %d calls are right", free, all)
	}
}
