package timing

import (
	"math"
	"math/rand/v2"
)

// order counts whether requests that wait at the same time are served in the order in which they came. A program with
// one thread keeps the order where its gaps alone would change it; one with many doesn't.
type order struct {
	// pairs are two requests that both waited for a call of the label when its first one was made, kept how many of them
	// were in order; the same for pairs made of unrelated gaps.
	pairs, kept       float64
	chance, keptAlone float64
	// worth is the logarithm of the odds of keeping the order, against those by chance.
	worth float64
}

const (
	// neighbours is with how many requests after it each is compared, draws with how many unrelated gaps.
	neighbours, draws = 3, 4
	// leastPairs is of how many pairs a conclusion is drawn, mostPairs after how many the older ones begin to be forgotten.
	leastPairs, mostPairs = 20, 2000
	// surest bounds the worth: nothing is always in order.
	surest = 5
)

// observe counts the pairs among requests, which are in order of start.
func observe(requests []*request, rng *rand.Rand) {
	for i, a := range requests {
		p := a.plan
		for _, b := range requests[i+1 : min(i+1+neighbours, len(requests))] {
			shift := b.start - a.start
			if b.plan != p || shift == 0 || len(p.examples) == 0 {
				continue
			}
			for l := range p.nlabels {
				x, y := a.firstOf(l), b.firstOf(l)
				o := &p.order[l]
				if x < 0 || y < 0 || x <= shift || x == y+shift {
					continue
				}
				o.pairs++
				if y+shift > x {
					o.kept++
				}
				for range draws {
					x := p.examples[rng.IntN(len(p.examples))].firstOf(l)
					y := p.examples[rng.IntN(len(p.examples))].firstOf(l)
					if x < 0 || y < 0 || x <= shift || x == y+shift {
						continue
					}
					o.chance++
					if y+shift > x {
						o.keptAlone++
					}
				}
			}
		}
	}
}

func (r *request) firstOf(label int) int64 {
	for _, c := range r.calls {
		if r.plan.label(c.class) == label {
			return c.start - r.start
		}
	}
	return -1
}

func (e *example) firstOf(label int) int64 {
	for _, c := range e.calls {
		if c.label == label {
			return c.start
		}
	}
	return -1
}

// conclude sets the worth.
func (o *order) conclude() {
	o.worth = 0
	if o.pairs >= leastPairs {
		w := math.Log((o.kept+1)/(o.pairs-o.kept+1)) - math.Log((o.keptAlone+1)/(o.chance-o.keptAlone+1))
		o.worth = min(max(w, 0), surest)
	}
	if o.pairs > mostPairs {
		o.pairs, o.kept, o.chance, o.keptAlone = o.pairs/2, o.kept/2, o.chance/2, o.keptAlone/2
	}
}

// inOrder is what an exchange of the calls c of p and o of q loses, or gains where it is negative, since it changes whether
// they are in the order of their requests.
func inOrder(c, o *call, p, q *request) float64 {
	if p.plan != q.plan || p.start == q.start || c.start == o.start {
		return 0
	}
	w := p.plan.order[p.plan.label(c.class)].worth
	if (p.start < q.start) == (c.start < o.start) {
		return w
	}
	return -w
}
