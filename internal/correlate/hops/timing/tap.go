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
	maxClasses = 128
	// maxTaps is how many taps there may be, maxPlans how many plans they have together; each tap has one.
	maxTaps, maxPlans = 1024, 512
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
	// picks are the votes of the last round, of the calls that weren't clear by then.
	picks []uint16
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
	alones  []solitude // of classes
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

	// exact says that what is proposed is to be a sample, keen how much is made of the scores.
	exact   bool
	keen    float64
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
		keen: 1, fitter: fitter{smooth: l.smooth}}
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
	case len(t.listed) < maxClasses && t.l.plans < maxPlans || len(t.listed) == 0:
		p = newPlan()
		t.l.plans++
		t.plans[op], t.listed = p, append(t.listed, p)
	default:
		t.l.stats.OverClasses++
		p = t.listed[len(t.listed)-1]
	}
	return p
}

// advance takes in what began before the watermark, and decides the calls that began before the horizon.
func (t *tap) advance(watermark, horizon int64) {
	if watermark < math.MaxInt64 {
		t.settled = watermark
	}
	t.requests, _ = take(t.requests, &t.newer.requests, watermark)
	var fresh []*call
	t.calls, fresh = take(t.calls, &t.newer.calls, watermark)
	t.candidates(fresh)
	t.knownOf(t.calls)
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

// begins is what has a start, and an id to tell it from what starts at the same time.
type begins interface{ began() (int64, uint64) }

func (r *request) began() (int64, uint64) { return r.start, r.id }
func (c *call) began() (int64, uint64)    { return c.start, c.id }

func byBegin[T begins](a, b T) int {
	as, ai := a.began()
	bs, bi := b.began()
	return cmp.Or(cmp.Compare(as, bs), cmp.Compare(ai, bi))
}

// before says how many of a list in order began before at.
func before[T begins](list []T, at int64) int {
	n, _ := slices.BinarySearchFunc(list, at, func(x T, at int64) int {
		s, _ := x.began()
		return cmp.Compare(s, at)
	})
	return n
}

// take moves what began before the watermark from newer to list; both results are in order.
func take[T begins](list []T, newer *[]T, watermark int64) (all, fresh []T) {
	slices.SortFunc(*newer, byBegin[T])
	fresh = slices.Clone((*newer)[:before(*newer, watermark)])
	*newer = slices.Delete(*newer, 0, len(fresh))
	late := len(list) > 0 && len(fresh) > 0 && byBegin(list[len(list)-1], fresh[0]) > 0
	list = append(list, fresh...)
	if late {
		slices.SortFunc(list, byBegin[T])
	}
	return list, fresh
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

// The first decisions are preceded by iterations of learning, each with some sweeps of searching: expectation and
// maximisation (Dempster, Laird and Rubin 1977), the former by sampling. Of the iterations, each stage has stageLen. In the
// first, all calls are assigned from nothing, until the second has ended anew, class by class.
const (
	iterations = 15
	sweeps     = 8
	stageLen   = 4
)

// warm learns from the first requests.
func (t *tap) warm() {
	requests := t.requests[:min(len(t.requests), maxExamples)]
	if len(requests) == 0 {
		return
	}
	calls := t.calls
	if len(requests) < len(t.requests) {
		calls = calls[:before(calls, t.requests[len(requests)].start)]
	}
	free := undecided(calls)
	for i := range iterations {
		t.solitudes(calls)
		for _, p := range t.listed {
			p.examples = p.examples[:0]
		}
		for _, r := range requests {
			r.plan.examples = append(r.plan.examples, r.example())
		}
		for _, p := range t.listed {
			t.fit(p, i/stageLen)
		}
		t.rescore()
		if i < stageLen {
			t.reassign(calls, true)
		}
		if i < wholeStage*stageLen {
			t.reassign(calls, false)
		}
		t.search(free, sweeps)
		if i >= wholeStage*stageLen {
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

// solitudes counts anew, of these calls, which are nobody's.
func (t *tap) solitudes(calls []*call) {
	clear(t.alones)
	for _, c := range calls {
		t.count(c)
	}
}

func (t *tap) count(c *call) {
	for c.class >= len(t.alones) {
		t.alones = append(t.alones, solitude{})
	}
	t.alones[c.class].count(c.owner == nil)
}

// alone is the score of a call that belongs to none of the requests.
func (t *tap) alone(c *call) float64 {
	if c.class < len(t.alones) && t.alones[c.class].all > 0 {
		return t.alones[c.class].score
	}
	return leastAlone
}

func (t *tap) fit(p *plan, stage int) {
	if len(p.examples) > 0 && p.nlabels > 0 {
		p.fit(&t.fitter, stage, t.tick, t.rng)
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

// Calls are decided in rounds: after some sweeps to settle down, the owners after each further sweep are counted, as long
// as a call isn't clear. The last round is a cold one, in which little that is improbable happens: it says which of the
// assignments of all calls that are about as good is best, where the counts say how sure that is.
const (
	settling = 12
	clearly  = 0.98
	coldness = 2
)

var rounds = [...]struct {
	sweeps int
	cold   bool
}{{24, false}, {56, false}, {60, false}, {50, true}}

// vote decides the calls that began before the horizon.
func (t *tap) vote(horizon int64) {
	n := before(t.calls, horizon)
	due := undecided(t.calls[:n])
	free := undecided(t.calls)
	t.search(free, settling)
	for _, r := range rounds {
		if r.cold {
			t.keen = coldness
			for _, c := range due {
				c.picks = make([]uint16, len(c.votes))
			}
		}
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
				if r.cold {
					c.picks[i]++
				} else {
					c.votes[i]++
				}
			}
		}
		due = slices.DeleteFunc(due, func(c *call) bool { _, share := c.elected(); return share >= clearly })
		free = due
	}
	t.keen = 1
	for _, c := range t.calls[:n] {
		if !c.fixed {
			t.decide(c)
		}
	}
}

// elected is the candidate that was chosen, len(candidates) for nobody, and the share of its votes.
func (c *call) elected() (int, float64) {
	sum := 0
	for _, v := range c.votes {
		sum += int(v)
	}
	best := most(c.votes)
	if c.picks != nil {
		best = most(c.picks)
	}
	return best, float64(c.votes[best]) / float64(max(sum, 1))
}

func most(counts []uint16) int {
	best := 0
	for i, n := range counts {
		if n > counts[best] {
			best = i
		}
	}
	return best
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
		odds := t.rate(1, r, r.calls) - t.rate(0, r, a.calls) - t.alone(c)
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
	t.count(c)
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
		c.candidates, c.lean, c.votes, c.picks = nil, nil, nil, nil
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
	for _, r := range gone {
		t.forget(r)
	}
	t.requests = slices.DeleteFunc(t.requests, func(r *request) bool { return r.end < horizon })
}

func (t *tap) forget(r *request) {
	delete(t.byID, r.id)
	t.l.held--
	if r.plan.learn(r.example()) {
		t.fit(r.plan, wholeStage)
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
