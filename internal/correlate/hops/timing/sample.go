package timing

import (
	"math"
	"slices"
)

const (
	// refresh is after how many sweeps it is looked anew which requests fit a call best.
	refresh = 4
	// even and nobody are how many proposals of a call go to any of its requests, and to none of them.
	even, nobody = 0.2, 0.02
)

// sweep proposes as many changes as there are calls, each of a call chosen at random, and accepts them so that what comes
// out is a sample of all ways to assign the calls, each as often as it is probable (Metropolis and Hastings 1970). While
// searching, it doesn't care for that.
func (t *tap) sweep(free []*call, exact bool) {
	t.exact = exact
	for range free {
		t.propose(free[t.rng.IntN(len(free))])
	}
}

// propose changes whom one call belongs to.
func (t *tap) propose(c *call) {
	i := 0
	for u := t.rng.Float32(); i < len(c.candidates); i++ {
		if u -= c.lean[i]; u < 0 {
			break
		}
	}
	var q *request
	if i < len(c.candidates) {
		q = c.candidates[i]
	}
	p := c.owner
	if q == p {
		return
	}
	if p != nil && q != nil {
		switch t.rng.IntN(4) {
		case 0:
			t.cross(c, p, q)
			return
		case 1, 2:
			n := 0
			var like *call
			for _, o := range q.calls {
				if o.class == c.class && !o.fixed {
					if n++; t.rng.IntN(n) == 0 {
						like = o
					}
				}
			}
			if like != nil {
				t.exchange(c, like, p, q)
				return
			}
		}
	}
	t.move(c, p, q)
}

// move takes a call from p to q; either may be nobody.
func (t *tap) move(c *call, p, q *request) {
	gain := 0.0
	a, b := &t.scratch[0], &t.scratch[1]
	var sp, sq float64
	if p != nil {
		a.calls = without(a.calls[:0], p.calls, c)
		sp = t.rate(0, p, a.calls)
		gain += sp - p.score
	} else {
		gain -= t.alone(c)
	}
	if q != nil {
		if len(q.calls) >= maxCalls {
			return
		}
		b.calls = with(b.calls[:0], q.calls, c)
		sq = t.rate(1, q, b.calls)
		gain += sq - q.score
	} else {
		gain += t.alone(c)
	}
	if !t.accept(t.keen*gain + t.pull(c, p) - t.pull(c, q)) {
		return
	}
	if p != nil {
		p.calls, p.score = append(p.calls[:0], a.calls...), sp
	}
	if q != nil {
		q.calls, q.score = append(q.calls[:0], b.calls...), sq
	}
	c.owner = q
}

// exchange gives c of p to q, and o of q to p.
func (t *tap) exchange(c, o *call, p, q *request) {
	if !slices.Contains(o.candidates, p) {
		return
	}
	a, b := &t.scratch[0], &t.scratch[1]
	a.calls = with(a.calls[:0], p.calls, o)
	a.calls = without(a.calls[:0], a.calls, c)
	b.calls = with(b.calls[:0], q.calls, c)
	b.calls = without(b.calls[:0], b.calls, o)
	pull := 0.0
	if t.exact {
		pull = math.Log((math.Exp(t.pull(c, p)) + math.Exp(t.pull(o, q))) / (math.Exp(t.pull(c, q)) + math.Exp(t.pull(o, p))))
	}
	t.both(p, q, -inOrder(c, o, p, q), pull)
}

// cross exchanges all calls of two requests from the start of c on.
func (t *tap) cross(c *call, p, q *request) {
	a, b := &t.scratch[0], &t.scratch[1]
	a.calls, b.calls = a.calls[:0], b.calls[:0]
	for _, o := range p.calls {
		if o.start < c.start {
			a.calls = append(a.calls, o)
		} else if o.fixed || !slices.Contains(o.candidates, q) {
			return
		}
	}
	for _, o := range q.calls {
		switch {
		case o.start < c.start:
			b.calls = append(b.calls, o)
		case o.fixed || !slices.Contains(o.candidates, p):
			return
		default:
			a.calls = append(a.calls, o)
		}
	}
	for _, o := range p.calls {
		if o.start >= c.start {
			b.calls = append(b.calls, o)
		}
	}
	order := 0.0
	for _, o := range q.calls {
		if o.class == c.class && o.start >= c.start {
			order = -inOrder(c, o, p, q)
			break
		}
	}
	if max(len(a.calls), len(b.calls)) <= maxCalls {
		t.both(p, q, order, t.pull(c, p)-t.pull(c, q))
	}
}

// both proposes what is in scratch as the calls of p and q, for what it gains in order and makes up for in pull.
func (t *tap) both(p, q *request, order, pull float64) {
	a, b := &t.scratch[0], &t.scratch[1]
	sp, sq := t.rate(0, p, a.calls), t.rate(1, q, b.calls)
	if !t.accept(t.keen*(sp+sq-p.score-q.score+order) + pull) {
		return
	}
	p.calls, p.score = append(p.calls[:0], a.calls...), sp
	q.calls, q.score = append(q.calls[:0], b.calls...), sq
	for _, o := range p.calls {
		o.owner = p
	}
	for _, o := range q.calls {
		o.owner = q
	}
}

func (t *tap) accept(gain float64) bool { return gain >= 0 || t.rng.Float64() < math.Exp(gain) }

// pull is the logarithm of how often a request is proposed for a call, which a sample must make up for.
func (t *tap) pull(c *call, r *request) float64 {
	if !t.exact {
		return 0
	}
	i := len(c.candidates)
	if r != nil {
		i = slices.Index(c.candidates, r)
	}
	return math.Log(float64(c.lean[i]))
}

// bend sets how often each candidate is proposed for a call: as often as it fits by itself, with what else it has now.
func (t *tap) bend(c *call) {
	best := float32(math.Inf(-1))
	for i, r := range c.candidates {
		latest := r.start
		for _, o := range r.calls[max(0, len(r.calls)-reach):] {
			if o != c && o.end <= c.start && o.end > latest {
				latest = o.end
			}
		}
		own := plain + perLabel*r.plan.label(c.class)
		v := float32(0)
		for k, gap := range [perLabel]int64{after: c.start - latest, from: c.start - r.start, to: r.end - c.end} {
			if e := r.plan.evidence[own+k]; e != nil {
				v += e[binOf(gap, t.tick)]
			}
		}
		c.lean[i] = v
		best = max(best, v)
	}
	n := len(c.candidates)
	sum := float32(0)
	for i, v := range c.lean[:n] {
		c.lean[i] = float32(math.Exp(float64(max(v-best, -12))))
		sum += c.lean[i]
	}
	for i, v := range c.lean[:n] {
		c.lean[i] = (1 - nobody) * ((1-even)*v/sum + even/float32(n))
	}
	c.lean[n] = nobody
}
