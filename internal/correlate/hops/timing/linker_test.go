package timing

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// service makes the traffic of a program that answers each request with two calls at a time and then a third, and now
// and then leaves the third out.
type service struct {
	rng    *rand.Rand
	events []Event
	truth  map[uint64]uint64
	id     uint64
}

func newService(seed uint64) *service {
	return &service{rng: rand.New(rand.NewPCG(seed, 7)), truth: map[uint64]uint64{}}
}

func (s *service) add(e Event) uint64 {
	s.id++
	e.ID, e.Tap = s.id, 1
	s.events = append(s.events, e)
	return s.id
}

// about is a time around a mean, with a long tail.
func (s *service) about(mean time.Duration) int64 {
	return int64(float64(mean) * math.Exp(0.35*s.rng.NormFloat64()))
}

func (s *service) request(at int64) {
	var calls []Event
	end := at
	for peer := range uint32(2) {
		start := at + s.about(300*time.Microsecond)*int64(peer+1)
		done := start + s.about(4*time.Millisecond)
		calls = append(calls, Event{Peer: 10 + peer, Start: start, End: done})
		end = max(end, done)
	}
	if s.rng.IntN(10) > 0 {
		start := end + s.about(200*time.Microsecond)
		end = start + s.about(3*time.Millisecond)
		calls = append(calls, Event{Peer: 12, Start: start, End: end})
	}
	id := s.add(Event{In: true, Op: 1, Start: at, End: end + s.about(150*time.Microsecond)})
	for _, c := range calls {
		s.truth[s.add(c)] = id
	}
}

// run makes requests with so many under way on average.
func (s *service) run(requests int, concurrent float64) {
	at := int64(1e9)
	for range requests {
		s.request(at)
		at += int64(s.rng.ExpFloat64() * 9e6 / concurrent)
	}
	slices.SortFunc(s.events, func(a, b Event) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID)) })
}

func (s *service) link(opt Options) (map[uint64]Link, Stats) {
	got := map[uint64]Link{}
	l := New(opt, func(k Link) {
		if _, twice := got[k.Child]; twice {
			panic("a call is decided twice")
		}
		got[k.Child] = k
	})
	for _, e := range s.events {
		l.Advance(e.Start)
		l.Add(e)
	}
	l.Flush()
	return got, l.Stats()
}

func (s *service) right(got map[uint64]Link) (right, all int) {
	for child, parent := range s.truth {
		all++
		if got[child].Parent == parent {
			right++
		}
	}
	return right, all
}

func TestServiceIsLearned(t *testing.T) {
	for _, c := range []struct {
		concurrent float64
		least      float64
	}{{0.3, 0.99}, {2, 0.97}, {6, 0.90}} {
		s := newService(1)
		s.run(1500, c.concurrent)
		got, stats := s.link(Options{})
		right, all := s.right(got)
		t.Logf("%.1f at a time: %d of %d calls right", c.concurrent, right, all)
		if float64(right) < c.least*float64(all) {
			t.Errorf("%.1f at a time: %d of %d calls are right, want %.0f %%", c.concurrent, right, all, 100*c.least)
		}
		if stats.Held != 0 || stats.Linked+stats.Unlinked != uint64(all) || stats.Calls != uint64(all) {
			t.Errorf("the counters don't add up: %+v", stats)
		}
	}
}

// Calls that no request makes, such as those of a timer, are nobody's, though requests are under way when they begin.
func TestCallsOfNobody(t *testing.T) {
	s := newService(2)
	s.run(1500, 0.8)
	for i := range 300 {
		at := int64(1e9) + int64(i)*40e6 + int64(s.rng.IntN(1e6))
		s.truth[s.add(Event{Peer: 11, Start: at, End: at + s.about(4*time.Millisecond)})] = 0
	}
	slices.SortFunc(s.events, func(a, b Event) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID)) })
	got, stats := s.link(Options{})
	nobodys, found := 0, 0
	for child, parent := range s.truth {
		if parent == 0 {
			nobodys++
			if got[child].Parent == 0 {
				found++
			}
		}
	}
	right, all := s.right(got)
	t.Logf("%d of %d of nobody, %d of %d right", found, nobodys, right, all)
	if found < nobodys*9/10 || right < all*95/100 {
		t.Errorf("%d of %d calls of nobody are left alone, %d of %d calls right: %+v", found, nobodys, right, all, stats)
	}
}

// What is known isn't decided, isn't given away to another, and makes the rest easier.
func TestKnown(t *testing.T) {
	s := newService(3)
	s.run(600, 8)
	got, _ := s.link(Options{})
	before, all := s.right(got)

	got = map[uint64]Link{}
	l := New(Options{}, func(k Link) { got[k.Child] = k })
	for _, e := range s.events {
		l.Add(e)
		if parent := s.truth[e.ID]; parent != 0 && e.Peer == 10 {
			l.Known(e.ID, parent)
		}
	}
	l.Flush()
	right, n := 0, 0
	for _, e := range s.events {
		if e.In {
			continue
		}
		if e.Peer == 10 {
			if _, said := got[e.ID]; said {
				t.Fatalf("call %d was known, and decided", e.ID)
			}
			continue
		}
		n++
		if got[e.ID].Parent == s.truth[e.ID] {
			right++
		}
	}
	t.Logf("unknown: %d of %d right, known a third: %d of %d", before, all, right, n)
	if float64(right)/float64(n) < float64(before)/float64(all)+0.02 {
		t.Errorf("with a third of the calls known, %d of %d are right; without, %d of %d", right, n, before, all)
	}
}

// A decision waits for the delay and no longer.
func TestDelay(t *testing.T) {
	s := newService(4)
	s.run(3000, 1)
	const delay = 200 * time.Millisecond
	var now, late int64
	start := map[uint64]int64{}
	decided := 0
	l := New(Options{Delay: delay, WarmUp: time.Second}, func(k Link) {
		decided++
		if waited := now - start[k.Child]; start[k.Child] > 1e9+2e9 {
			late = max(late, waited)
			if waited < int64(delay/2) {
				t.Fatalf("call %d was decided after %v", k.Child, time.Duration(waited))
			}
		}
	})
	for _, e := range s.events {
		now = e.Start
		start[e.ID] = e.Start
		l.Advance(now)
		l.Add(e)
	}
	if decided < 6000 {
		t.Errorf("%d calls are decided before the end", decided)
	}
	// The events are some milliseconds apart.
	if late > int64(delay+100*time.Millisecond) {
		t.Errorf("a call waited for %v", time.Duration(late))
	}
}

func TestSameEventsSameLinks(t *testing.T) {
	s := newService(5)
	s.run(800, 5)
	a, _ := s.link(Options{})
	b, _ := s.link(Options{})
	for child, link := range a {
		if b[child] != link {
			t.Fatalf("call %d: %+v, then %+v", child, link, b[child])
		}
	}
}

func TestSpansAreBounded(t *testing.T) {
	s := newService(6)
	s.run(1500, 3)
	const most = 1000
	got := map[uint64]Link{}
	l := New(Options{Delay: -1, MaxSpans: most}, func(k Link) { got[k.Child] = k })
	for i, e := range s.events {
		if i%3 == 0 {
			// Requests that never end.
			e.End = math.MaxInt64
		}
		l.Add(e)
		if l.Stats().Held > most {
			t.Fatalf("%d events are held", l.Stats().Held)
		}
	}
	l.Flush()
	if st := l.Stats(); st.OverSpans == 0 || st.Held != 0 || len(got) != int(st.Calls) {
		t.Errorf("%d links: %+v", len(got), st)
	}
}

func TestTooMuchOfAll(t *testing.T) {
	links := 0
	l := New(Options{}, func(Link) { links++ })
	id := uint64(0)
	add := func(e Event) {
		id++
		e.ID = id
		l.Add(e)
	}
	for i := range uint32(3 * maxClasses) {
		add(Event{Tap: 1, In: true, Op: i, Start: 1, End: 1e9})
		add(Event{Tap: 1, Op: i, Start: 2, End: 3})
	}
	for i := range uint32(2 * maxTaps) {
		add(Event{Tap: i, In: true, Start: 1, End: 1e9})
		add(Event{Tap: i, Start: 2, End: 3})
	}
	for i := range int64(3 * maxCalls) {
		add(Event{Tap: 2, Start: 10 + i, End: 11 + i})
		l.Advance(10 + i)
	}
	l.Flush()
	st := l.Stats()
	if st.OverClasses == 0 || st.OverTaps != 2*uint64(maxTaps) || st.OverCandidates == 0 || st.Held != 0 || uint64(links) != st.Calls+st.OverTaps/2 {
		t.Errorf("%d links: %+v", links, st)
	}
	if len(l.taps[1].classes) > maxClasses || len(l.order) > maxTaps || l.plans > maxPlans+maxTaps {
		t.Errorf("%d classes, %d taps, %d plans", len(l.taps[1].classes), len(l.order), l.plans)
	}
}

func BenchmarkLink(b *testing.B) {
	s := newService(8)
	s.run(20000, 2)
	l := New(Options{Delay: 500 * time.Millisecond}, func(Link) {})
	n := 0
	feed := func(to int) {
		for ; n < to; n++ {
			e := s.events[n%len(s.events)]
			shift := int64(n/len(s.events)) * 1e12
			e.Start, e.End, e.ID = e.Start+shift, e.End+shift, uint64(n+1)
			l.Advance(e.Start)
			l.Add(e)
		}
	}
	// Past the first learning.
	feed(8000)
	b.ResetTimer()
	feed(8000 + b.N)
}
