package hops

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
)

// edge is a parent that a child may have by what both ask for.
type edge struct {
	child, parent *Span
	cost          float64
	gap           *gap
	// alone: the parent makes one such call, unless it failed. most is how sure it can be made.
	alone bool
	most  float64
}

// gap is what is known of the time between a request and the one that it is passed on as, and between the two answers: mean and variance of the
// logarithms.
type gap struct {
	mean, variance [2]float64
	n              float64
}

// The first guess of a gap, before anything is learned: a proxy takes some tenths of a millisecond, give or take a factor of ten; it counts as
// much as a few exchanges.
const (
	guessedGap      = 12.2 // ln 200 µs, in nanoseconds
	guessedVariance = 5.0
	guessWeight     = 4.0
	// minVariance keeps a gap from being believed more exactly than clocks and schedulers are.
	minVariance = 0.05
)

func firstGap() gap {
	return gap{mean: [2]float64{guessedGap, guessedGap}, variance: [2]float64{guessedVariance, guessedVariance}, n: guessWeight}
}

type gapKey struct{ from, to *service }

func (l *Linker) gap(parent, child *Span) *gap {
	k := gapKey{parent.serves, child.serves}
	g := l.gaps[k]
	if g == nil {
		first := firstGap()
		g = &first
		if len(l.gaps) < maxAskings {
			l.gaps[k] = g
		}
	}
	return g
}

// gaps returns the logarithms of the times between two requests and their answers.
func gaps(parent, child *Span, shift int64) (g [2]float64, answered bool) {
	g[0] = math.Log(float64(max(child.Start-shift-parent.Start, 1000)))
	if parent.ResponseStart == 0 || child.ResponseStart == 0 || parent.ResponseStart < child.ResponseStart-shift {
		return g, false
	}
	g[1] = math.Log(float64(max(parent.ResponseStart-child.ResponseStart+shift, 1000)))
	return g, true
}

// learn takes a pair that belongs together.
func (g *gap) learn(v [2]float64, answered bool) {
	if !answered {
		return
	}
	g.n = min(g.n+1, 1000)
	for i := range v {
		d := v[i] - g.mean[i]
		g.mean[i] += d / g.n
		g.variance[i] += (d*d - g.variance[i]) / g.n
	}
}

// cost is how unlikely it is that two belong together, by their gaps: the negative logarithm of the density.
func (g *gap) cost(v [2]float64, answered bool) (c float64) {
	for i := range v {
		if i == 1 && !answered {
			break
		}
		variance := max(g.variance[i], minVariance)
		d := v[i] - g.mean[i]
		c += d*d/(2*variance) + math.Log(variance)/2
	}
	return c
}

// What makes a pair less likely: the parent's answer began before the child's, the two answers have another status or another length, the requests
// differ in what proxies pass on; and that a proxy says that its client has another address.
const (
	answeredBefore  = 6.0
	otherStatus     = 4.0
	otherLength     = 2.0
	otherFields     = 3.0
	otherHost       = 1.0
	otherClient     = 4.0
	maxContentEdges = 64
)

// byContent links requests that were passed on as they are.
//
// Theory. A proxy asks for what it was asked for. Requests with the same method and target that were under way at the proxy are
// candidates; one that has a like child already isn't, unless that failed. Where there is one candidate, that is it. Where there are
// several, pairs are chosen by the times between the two requests and the two answers, which the clear cases have taught,
// the likeliest pair first; then any two pairs that would be likelier the other way round are exchanged.
func (l *Linker) byContent(batch []*Span) {
	l.edges = l.edges[:0]
	var single []edge // of which the cost isn't known yet
	for _, s := range batch {
		if s.decided {
			if p := s.parent; p != nil && p.content == s.content && p.serves != nil && s.serves != nil && !s.taught {
				s.taught = true
				l.gap(p, s).learn(gaps(p, s, l.shift(p.serves, s)))
			}
			continue
		}
		from := len(l.edges)
		for o := range s.all {
			if o.Family == exchange.HTTP && o.Verb != "" {
				l.candidatesOf(o)
			}
		}
		if from < len(l.edges) && !slices.ContainsFunc(l.edges[from:], func(e edge) bool { return e.parent.one() != l.edges[from].parent.one() }) {
			single = append(single, l.edges[from:]...)
		}
	}
	for _, e := range single {
		e.gap.learn(gaps(e.parent, e.child, l.shift(e.parent.serves, e.child)))
	}
	for i := range l.edges {
		e := &l.edges[i]
		v, answered := gaps(e.parent, e.child, l.shift(e.parent.serves, e.child))
		e.cost += e.gap.cost(v, answered)
	}
	l.thin()
	l.assign()
}

// byFailure links connections that came to nothing to the requests that failed for it: under way then, and answered with an error of a gateway later.
func (l *Linker) byFailure(batch []*Span) {
	l.edges = l.edges[:0]
	for _, s := range batch {
		if s.decided || s.Verb != "connect" || s.asks == nil {
			continue
		}
		from := len(l.edges)
		for _, v := range s.asks.callers {
			shift := l.shift(v, s)
			v.before(s, shift, func(p *Span) bool {
				if p.Status >= 500 && p.ResponseStart >= s.End-shift && !p.one().gone && alike(p, s) {
					l.edges = append(l.edges, edge{child: s, parent: p, gap: l.gap(p, s), most: sureFailure})
				}
				return len(l.edges)-from < maxContentEdges
			})
		}
		if len(l.edges) == from+1 {
			e := &l.edges[from]
			e.gap.learn(l.since(e.parent, s))
		}
	}
	for i := range l.edges {
		e := &l.edges[i]
		e.cost = e.gap.cost(l.since(e.parent, e.child))
	}
	l.thin()
	l.assign()
}

// sureFailure is how sure a link of a connection that came to nothing is at most.
const sureFailure = 0.9

// thin leaves of the edges between two exchanges, each of which may have several observations, the best.
func (l *Linker) thin() {
	kept := l.edges[:0]
	from := 0
	for _, e := range l.edges {
		if len(kept) == 0 || kept[len(kept)-1].child.one() != e.child.one() {
			from = len(kept)
		}
		i := slices.IndexFunc(kept[from:], func(k edge) bool { return k.parent.one() == e.parent.one() })
		switch {
		case i < 0:
			kept = append(kept, e)
		case e.cost < kept[from+i].cost:
			kept[from+i] = e
		}
	}
	clear(l.edges[len(kept):])
	l.edges = kept
}

// candidatesOf adds the edges of a request: to those with the same method and target that were under way where it came from.
func (l *Linker) candidatesOf(o *Span) {
	if o.asks == nil || len(o.asks.callers) == 0 {
		return
	}
	from := len(l.edges)
	for _, v := range o.asks.callers {
		v.before(o, l.shift(v, o), func(p *Span) bool {
			if p.content == o.content {
				l.candidate(o, p)
			}
			return len(l.edges)-from < maxContentEdges
		})
	}
	if len(l.edges) > from {
		return
	}
	// It came from where calls are made, and yet those that are known as callers weren't asked for that: another service may have been.
	if !l.index.each(mix(contents, o.content), MaxSame, func(p *Span) bool {
		if p.content == o.content && p.passed == o.passed && p.Client.Addr() != o.Client.Addr() {
			l.candidate(o, p)
		}
		return len(l.edges)-from < maxContentEdges
	}) {
		l.Counts.Same++
	}
}

// before calls f for what the service was asked before o began and was still at then, the latest first, until f returns false. The clock of o's tap
// is ahead by shift.
func (v *service) before(o *Span, shift int64, f func(p *Span) bool) {
	start := o.Start - shift
	at := v.after(start)
	for i := at - 1; i >= max(0, at-maxPairs) && start-v.spans[i].Start <= v.longest; i-- {
		if p := v.spans[i]; p.End >= start && !f(p) {
			return
		}
	}
}

// candidate adds an edge, if there can be one.
func (l *Linker) candidate(o, p *Span) {
	if p.one() == o.one() || p.gone || p.one().gone || p.flow == o.flow || p.Server == o.Server || p.serves == nil || o.serves == nil || !alike(p, o) {
		return
	}
	shift := l.shift(p.serves, o)
	if p.Start > o.Start-shift || p.End < o.Start-shift {
		return
	}
	cost := 0.0
	for _, b := range [...]struct {
		differs bool
		cost    float64
	}{
		{p.Status != o.Status, otherStatus}, {p.ResponseBytes != o.ResponseBytes, otherLength}, {p.passed != o.passed, otherFields},
		{p.Host != o.Host, otherHost}, {o.fromAddr.IsValid() && o.fromAddr != p.Client.Addr(), otherClient}, {p.End < o.End-shift, otherLength},
		{p.ResponseStart > 0 && p.ResponseStart < o.ResponseStart-shift, answeredBefore},
	} {
		if b.differs {
			cost += b.cost
		}
	}
	l.edges = append(l.edges, edge{child: o, parent: p, cost: cost, gap: l.gap(p, o), alone: true, most: sureContent})
}

// assign chooses among the edges.
func (l *Linker) assign() {
	order := make([]int, len(l.edges))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(l.edges[i].cost, l.edges[j].cost) })
	chosen := map[*Span]int{}
	type role struct {
		parent    *Span
		of        netip.AddrPort
		operation string
	}
	taken := map[role]*Span{}
	for _, i := range order {
		e := &l.edges[i]
		child := e.child.one()
		if _, has := chosen[child]; has {
			continue
		}
		r := role{e.parent.one(), e.child.Server, e.child.operation}
		if e.alone && (taken[r] != nil && !again(taken[r], e.child) || passedOn(e.parent, e.child)) {
			continue
		}
		chosen[child], taken[r] = i, e.child
	}
	l.exchangePairs(chosen)
	// In the order of the batch.
	weight := map[*Span]float64{}
	for i := range l.edges {
		e := &l.edges[i]
		child := e.child.one()
		if n, ok := chosen[child]; ok {
			weight[child] += math.Exp(max(min(l.edges[n].cost-e.cost, 50), -50))
		}
	}
	for i := range l.edges {
		e := &l.edges[i]
		child := e.child.one()
		if n, ok := chosen[child]; !ok || n != i {
			continue
		}
		sure := min(1/weight[child], e.most)
		if e.child.Family == exchange.HTTP && (e.parent.passed != e.child.passed || e.parent.Status != e.child.Status) {
			sure *= 0.95
		}
		if l.join(child, e.parent, exchange.ByContent, sure) && weight[child] < 1.05 {
			l.learn(e.child, e.parent)
		}
	}
}

// sureContent is how sure a link by content is at most.
const sureContent = 0.99

// again reports whether one of two like requests is sent since the other failed.
func again(a, b *Span) bool {
	if a.Start > b.Start {
		a, b = b, a
	}
	return a.Failed && a.End <= b.Start
}

// passedOn reports whether a request was passed on already, as another one than child, which hasn't failed.
func passedOn(parent, child *Span) bool {
	for _, c := range parent.one().children {
		for o := range c.all {
			if o.Server == child.Server && o.operation == child.operation && (o.content == child.content || o.Family == exchange.Database) && !again(o, child) {
				return true
			}
		}
	}
	return false
}

// maxRounds bounds how often all pairs are looked at again.
const maxRounds = 3

// exchangePairs exchanges the parents of two children where that is likelier.
func (l *Linker) exchangePairs(chosen map[*Span]int) {
	// The edges of a child stand together.
	find := func(child, parent *Span, from int) int {
		for i := from; i >= 0 && l.edges[i].child.one() == child; i-- {
			if l.edges[i].parent.one() == parent {
				return i
			}
		}
		for i := from + 1; i < len(l.edges) && l.edges[i].child.one() == child; i++ {
			if l.edges[i].parent.one() == parent {
				return i
			}
		}
		return -1
	}
	of := map[*Span]int{} // the edge that a parent was chosen by, by parent
	for range maxRounds {
		clear(of)
		for i := range l.edges {
			if n, ok := chosen[l.edges[i].child.one()]; ok && n == i {
				of[l.edges[i].parent.one()] = i
			}
		}
		changed := false
		for i := range l.edges {
			e := &l.edges[i]
			child := e.child.one()
			mine, ok := chosen[child]
			if !ok || mine == i {
				continue
			}
			theirs, taken := of[e.parent.one()]
			if !taken || l.edges[theirs].child.one() == child || l.edges[theirs].child.Server != e.child.Server || l.edges[theirs].child.operation != e.child.operation {
				continue
			}
			other := find(l.edges[theirs].child.one(), l.edges[mine].parent.one(), theirs)
			if other < 0 || e.cost+l.edges[other].cost >= l.edges[mine].cost+l.edges[theirs].cost-1e-9 {
				continue
			}
			chosen[child], chosen[l.edges[theirs].child.one()] = i, other
			of[e.parent.one()], of[l.edges[mine].parent.one()] = i, other
			changed = true
		}
		if !changed {
			return
		}
	}
}
