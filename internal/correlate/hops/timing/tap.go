package timing

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

const (
	// maxCandidates is how many requests are considered for one call, of those that were under way: the latest.
	maxCandidates = 32
	// maxScan is how many requests are looked through for them, back from the call's start.
	maxScan = 512
	// maxCalls is how many calls of one request are considered together.
	maxCalls = 128
	// maxClasses is how many classes of calls, and how many plans, a tap tells apart.
	maxClasses = 512
	// coarsest and finest are the ticks of a clock that are told apart.
	coarsest, finest = 1e6, 1e3
)

type request struct {
	id         uint64
	start, end int64
	plan       *plan
	calls      []*call // by start
	score      float64
	column     int
}

type call struct {
	id         uint64
	start, end int64
	class      int
	owner      *request
	candidates []*request
	// lean is how often each candidate is proposed, votes how often it was the owner; the last of both is nobody's.
	lean  []float32
	votes []uint16
	// fixed is set once a call is decided, or known.
	fixed bool
}

type class struct{ peer, op uint32 }

// tap is one place: what it is asked, and what it asks.
type tap struct {
	l       *Linker
	rng     *rand.Rand
	plans   map[uint32]*plan
	listed  []*plan
	classes map[class]int
	byID    map[uint64]*request
	tick    int64

	// requests and calls are what is looked at, in order of start; newer is what began after the watermark, in none.
	requests []*request
	calls    []*call
	newer    struct {
		requests []*request
		calls    []*call
	}
	begun, latest int64
	learned       bool
	settled       int64

	exact   bool
	heat    float64
	fitter  fitter
	scratch [2]scratch
}

type scratch struct {
	calls []*call
	spans []span
	cells []cell
}

func newTap(l *Linker, n uint64) *tap {
	return &tap{l: l, rng: rand.New(rand.NewPCG(n, 0)), plans: map[uint32]*plan{}, classes: map[class]int{},
		byID: map[uint64]*request{}, tick: coarsest, begun: math.MaxInt64, latest: math.MinInt64, settled: math.MinInt64,
		heat: 1, fitter: fitter{smooth: l.smooth}}
}

func (t *tap) add(e Event) {
	for t.tick > finest && (e.Start%t.tick != 0 || e.End%t.tick != 0) {
		t.tick /= 10
	}
	t.begun, t.latest = min(t.begun, e.Start), max(t.latest, e.Start)
	if e.In {
		t.l.stats.Requests++
		r := &request{id: e.ID, start: e.Start, end: e.End, plan: t.plan(e.Op)}
		t.newer.requests = append(t.newer.requests, r)
		t.byID[e.ID] = r
		return
	}
	t.l.stats.Calls++
	k := class{e.Peer, e.Op}
	n, ok := t.classes[k]
	if !ok {
		if n = len(t.classes); n < maxClasses {
			t.classes[k] = n
		} else {
			// The last class is that of all others.
			t.l.stats.OverClasses++
			n = maxClasses - 1
		}
	}
	t.newer.calls = append(t.newer.calls, &call{id: e.ID, start: e.Start, end: e.End, class: n})
}

func (t *tap) plan(op uint32) *plan {
	p := t.plans[op]
	switch {
	case p != nil:
	case len(t.listed) < maxClasses:
		p = newPlan()
		t.plans[op], t.listed = p, append(t.listed, p)
	default:
		t.l.stats.OverClasses++
		p = t.listed[maxClasses-1]
	}
	return p
}

// advance takes in what began before the watermark, and decides the calls that began before the horizon.
func (t *tap) advance(watermark, horizon int64) {
	if watermark < math.MaxInt64 {
		t.settled = watermark
	}
	t.requests = take(t.requests, &t.newer.requests, watermark, func(r *request) (int64, uint64) { return r.start, r.id })
	before := len(t.calls)
	t.calls = take(t.calls, &t.newer.calls, watermark, func(c *call) (int64, uint64) { return c.start, c.id })
	if fresh := t.calls[before:]; len(fresh) > 0 {
		t.knownOf(fresh)
		t.candidates(fresh)
	}
	if len(t.l.known) > 0 {
		t.knownOf(t.calls)
	}
	if !t.learned {
		t.learned = true
		t.warm()
	}
	t.rescore()
	t.vote(horizon)
	t.retire(horizon)
}

// ready says whether there is enough to learn from, at that watermark.
func (t *tap) ready(watermark int64) bool {
	return t.learned || len(t.newer.requests)+len(t.requests) >= WarmRequests || watermark-t.begun >= int64(t.l.opt.WarmUp)
}

// take moves what began before the watermark from newer to the end of list, in order.
func take[T any](list []*T, newer *[]*T, watermark int64, of func(*T) (int64, uint64)) []*T {
	slices.SortFunc(*newer, func(a, b *T) int {
		as, ai := of(a)
		bs, bi := of(b)
		return cmp.Or(cmp.Compare(as, bs), cmp.Compare(ai, bi))
	})
	n, _ := slices.BinarySearchFunc(*newer, watermark, func(x *T, w int64) int {
		s, _ := of(x)
		return cmp.Compare(s, w)
	})
	list = append(list, (*newer)[:n]...)
	*newer = slices.Delete(*newer, 0, n)
	return list
}

// knownOf fixes the calls whose request is known from elsewhere.
func (t *tap) knownOf(calls []*call) {
	if len(t.l.known) == 0 {
		return
	}
	for _, c := range calls {
		if id, ok := t.l.known[c.id]; ok && !c.fixed {
			delete(t.l.known, c.id)
			c.take(t.byID[id])
			c.fixed = true
		}
	}
}

// The first decisions are preceded by iterations of learning, in turns with searching: expectation and maximisation
// (Dempster, Laird and Rubin 1977), the former by sampling. scratch and whole are how many of them begin with assigning
// all calls anew, from nothing or one class at a time.
const (
	scratchy, whole = 4, 8
)

// warm learns from the first requests.
func (t *tap) warm() {
	requests := t.requests[:min(len(t.requests), maxExamples)]
	if len(requests) == 0 {
		return
	}
	until := requests[len(requests)-1].start
	n, _ := slices.BinarySearchFunc(t.calls, until, func(c *call, at int64) int { return cmp.Compare(c.start, at) })
	calls := t.calls[:n]
	free := undecided(calls)
	for i := range iterations {
		for _, p := range t.listed {
			p.examples = p.examples[:0]
		}
		for _, r := range requests {
			r.plan.examples = append(r.plan.examples, r.example())
		}
		for _, p := range t.listed {
			t.fit(p)
		}
		t.rescore()
		if i < whole {
			t.reassign(calls, i < scratchy)
			if i < scratchy {
				t.reassign(calls, false)
			}
		}
		t.search(free, search)
		if i >= whole {
			t.orders(requests)
		}
	}
	for _, p := range t.listed {
		p.examples, p.since, p.due = p.examples[:0], 0, secondFit
	}
	t.reassign(t.calls, false)
}

// orders learns from requests, which are in order of start, whether their order is kept.
func (t *tap) orders(requests []*request) {
	observe(requests, t.rng)
	for _, p := range t.listed {
		for l := range p.nlabels {
			p.order[l].conclude()
		}
	}
}

func (t *tap) fit(p *plan) {
	if len(p.examples) > 0 && p.nlabels > 0 {
		p.fit(&t.fitter, p.examples, t.tick, t.rng)
		t.l.stats.Learned++
	}
}

func (t *tap) search(free []*call, sweeps int) {
	for s := range sweeps {
		if s%refresh == 0 {
			for _, c := range free {
				t.bend(c)
			}
		}
		t.sweep(free, false)
	}
}

// undecided are the calls that may belong to several requests.
func undecided(calls []*call) []*call {
	var free []*call
	for _, c := range calls {
		if !c.fixed && len(c.candidates) > 1 {
			free = append(free, c)
		}
	}
	return free
}

// rounds are how calls are decided: after some sweeps to settle down, the owners after each further sweep are counted;
// after each round, those calls that are clear by then are left alone.
var rounds = [...]struct {
	sweeps int
	clear  float64
}{{20, 1}, {40, 0.98}, {90, 1}}

const settle = 12

// vote decides the calls that began before the horizon.
func (t *tap) vote(horizon int64) {
	n, _ := slices.BinarySearchFunc(t.calls, horizon, func(c *call, at int64) int { return cmp.Compare(c.start, at) })
	due := undecided(t.calls[:n])
	free := undecided(t.calls)
	t.search(free, settle)
	t.heat = cold
	for _, r := range rounds {
		for s := range r.sweeps {
			if s%refresh == 0 {
				for _, c := range free {
					t.bend(c)
				}
			}
			t.sweep(free, true)
			for _, c := range due {
				i := len(c.candidates)
				if c.owner != nil {
					i = slices.Index(c.candidates, c.owner)
				}
				c.votes[i]++
			}
		}
		due = slices.DeleteFunc(due, func(c *call) bool { _, share := c.elected(); return share >= r.clear })
		free = due
	}
	t.heat = 1
	for _, c := range t.calls[:n] {
		if !c.fixed {
			t.decide(c)
		}
	}
}

// elected is the candidate with most votes, len(candidates) for nobody, and its share.
func (c *call) elected() (int, float64) {
	best, sum := 0, 0
	for i, v := range c.votes {
		sum += int(v)
		if v > c.votes[best] {
			best = i
		}
	}
	return best, float64(c.votes[best]) / float64(max(sum, 1))
}

func (t *tap) decide(c *call) {
	link := Link{Child: c.id}
	switch len(c.candidates) {
	case 0:
		link.Confidence = 1
	case 1:
		// Its request, or nobody.
		r := c.candidates[0]
		if c.owner == nil {
			c.take(r)
		}
		a := &t.scratch[0]
		a.calls = without(a.calls[:0], r.calls, c)
		odds := t.rate(1, r, r.calls) - t.rate(0, r, a.calls) - alone
		link.Parent, link.Confidence = r.id, 1/(1+math.Exp(-odds))
		if odds < 0 {
			c.take(nil)
			link.Parent, link.Confidence = 0, 1-link.Confidence
		}
	default:
		best, share := c.elected()
		link.Confidence = share
		if best < len(c.candidates) {
			c.take(c.candidates[best])
			link.Parent = c.owner.id
		} else {
			c.take(nil)
		}
	}
	c.fixed = true
	if link.Parent != 0 {
		t.l.stats.Linked++
	} else {
		t.l.stats.Unlinked++
	}
	t.l.emit(link)
}

// retire forgets the calls that are decided, and the requests that none may belong to any more; from these it learns.
func (t *tap) retire(horizon int64) {
	t.calls = slices.DeleteFunc(t.calls, func(c *call) bool {
		if !c.fixed || c.start >= horizon {
			return false
		}
		c.candidates, c.lean, c.votes = nil, nil, nil
		t.l.held--
		return true
	})
	var gone []*request
	for _, r := range t.requests {
		if r.end < horizon {
			gone = append(gone, r)
		}
	}
	t.orders(gone)
	t.requests = slices.DeleteFunc(t.requests, func(r *request) bool {
		if r.end >= horizon {
			return false
		}
		t.forget(r)
		return true
	})
}

func (t *tap) forget(r *request) {
	delete(t.byID, r.id)
	t.l.held--
	if r.plan.learn(r.example()) {
		t.fit(r.plan)
	}
}

func (r *request) example() example {
	e := example{end: r.end - r.start, calls: make([]span, len(r.calls))}
	for i, c := range r.calls {
		e.calls[i] = span{c.start - r.start, c.end - r.start, r.plan.label(c.class)}
	}
	return e
}

func (t *tap) rescore() {
	for _, r := range t.requests {
		r.score = t.rate(0, r, r.calls)
	}
}

// rate is the score of a request with these calls.
func (t *tap) rate(i int, r *request, calls []*call) float64 {
	s := &t.scratch[i]
	t.cells(s, r, calls)
	return r.plan.score(s.cells, s.spans)
}

func (t *tap) cells(s *scratch, r *request, calls []*call) {
	s.spans = s.spans[:0]
	for _, c := range calls {
		s.spans = append(s.spans, span{c.start, c.end, r.plan.label(c.class)})
	}
	s.cells = measured(s.cells[:0], t.tick, r.start, r.end, s.spans)
}

var iterations, search = 15, 8
