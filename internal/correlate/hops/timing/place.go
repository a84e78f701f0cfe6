package timing

import (
	"cmp"
	"slices"
)

// candidates looks up which requests were under way when calls began, and gives each call to the one that has fewest
// like it, to begin with. Both lists are in order of start.
func (t *tap) candidates(calls []*call) {
	at := 0
	if len(calls) > 0 {
		at = before(t.requests, calls[0].start)
	}
	for _, c := range calls {
		for at < len(t.requests) && t.requests[at].start <= c.start {
			at++
		}
		for i := at - 1; i >= max(0, at-maxScan); i-- {
			r := t.requests[i]
			if r.end < c.start {
				continue
			}
			if len(r.calls) >= maxCalls {
				t.l.stats.OverCalls++
				continue
			}
			if len(c.candidates) == maxCandidates {
				t.l.stats.OverCandidates++
				break
			}
			c.candidates = append(c.candidates, r)
		}
		slices.Reverse(c.candidates)
		c.votes = make([]uint16, len(c.candidates)+1)
		c.lean = make([]float32, len(c.candidates)+1)
		if c.fixed {
			continue
		}
		var best *request
		least := maxCalls + 2
		for _, r := range c.candidates {
			n := 0
			for _, o := range r.calls {
				if o.class == c.class {
					n++
				}
			}
			if r.end < c.end {
				n++
			}
			if n < least {
				best, least = r, n
			}
		}
		if best != nil {
			c.owner, best.calls = best, with(nil, best.calls, c)
		}
	}
}

// reassign puts the calls anew, class by class in the order in which they are made, all calls of a class at once. From
// scratch, it does so by what is known when a call begins, with what is placed by then; otherwise by everything, with all
// others where they are, and then no step makes the whole less probable.
func (t *tap) reassign(calls []*call, scratch bool) {
	type group struct {
		class int
		calls []*call
		sum   float64
		n     float64
	}
	groups := make([]group, len(t.classes)+1)
	for _, c := range calls {
		if c.fixed {
			continue
		}
		g := &groups[c.class]
		g.class, g.calls = c.class, append(g.calls, c)
		if c.owner != nil {
			g.sum += float64(c.start - c.owner.start)
			g.n++
			if scratch {
				c.take(nil)
			}
		}
	}
	slices.SortStableFunc(groups, func(a, b group) int { return cmp.Compare(a.sum*b.n, b.sum*a.n) })
	for i, r := range t.requests {
		r.column = i
	}
	var solver assignment
	for _, g := range groups {
		if len(g.calls) == 0 {
			continue
		}
		for _, c := range g.calls {
			c.take(nil)
		}
		offers := make([][]offer, len(g.calls))
		for i, c := range g.calls {
			for _, r := range c.candidates {
				both := with(t.scratch[1].calls[:0], r.calls, c)
				t.scratch[1].calls = both
				var gain float64
				if scratch {
					gain = t.opened(r, both) - t.opened(r, r.calls) + begun
					if e := r.plan.evidence[plain+perLabel*r.plan.label(c.class)+to]; e != nil {
						gain += float64(e[binOf(r.end-c.end, t.tick)])
					}
				} else {
					gain = t.rate(0, r, both) - t.rate(0, r, r.calls) - t.alone(c)
				}
				offers[i] = append(offers[i], offer{r.column, gain})
			}
		}
		for i, at := range solver.solve(offers, len(t.requests)) {
			if at >= 0 {
				g.calls[i].take(t.requests[at])
			}
		}
	}
	t.rescore()
}

// begun is what a call gains by having a request at all, while only beginnings are looked at.
const begun = 9

// opened is the score of what is known when the last of the calls begins.
func (t *tap) opened(r *request, calls []*call) float64 {
	s := &t.scratch[0]
	t.cells(s, r, calls)
	v := float32(0)
	for _, c := range s.cells {
		if e := r.plan.evidence[c.measure]; e != nil && opening(int(c.measure)) {
			v += e[c.bin]
		}
	}
	return float64(v)
}

// take gives a call to a request, or to nobody; the scores are not kept up.
func (c *call) take(r *request) {
	if p := c.owner; p != nil {
		p.calls = without(p.calls[:0], p.calls, c)
	}
	c.owner = r
	if r != nil {
		r.calls = with(nil, r.calls, c)
	}
}

// with copies calls and one more, in order of start.
func with(out, calls []*call, c *call) []*call {
	put := false
	for _, o := range calls {
		if !put && (c.start < o.start || c.start == o.start && c.id < o.id) {
			out, put = append(out, c), true
		}
		out = append(out, o)
	}
	if !put {
		out = append(out, c)
	}
	return out
}

// without copies calls but one; out may be the same memory.
func without(out, calls []*call, c *call) []*call {
	for _, o := range calls {
		if o != c {
			out = append(out, o)
		}
	}
	return out
}
