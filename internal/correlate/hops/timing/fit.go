package timing

import (
	"math"
	"math/rand/v2"
)

const (
	// swapsPer is how many mistakes are made on purpose for each example.
	swapsPer = 4
	// epochs is how often each is looked at.
	epochs = 5
	// closely is how many in a hundred are made of requests that begin, or whose calls begin, close together.
	closely = 60
	// In the first stage of learning, a plan believes what hangs on the request alone, in the second also what follows the
	// calls before, in the last also what the calls have to do with each other: from a bad beginning, the last alone
	// would find no better assignment, since one call in its right place helps little while its siblings are wrong.
	wholeStage = 2
	// kept is how much of what was believed before stays in the last stage.
	kept = 0.5
	// once is what a gap has to be seen more often than to be worth anything: the one time may be a mistake, and must not
	// prove itself.
	once = 1
)

// fitter is scratch memory of fitting.
type fitter struct {
	smooth *smoother
	own    [measures]*histogram
	chance [measures]*histogram
	cells  []cell
	diffs  []diff
	rows   []int32
	calls  [2][]span
}

// diff is by how much a cell is counted more with the calls as they are than with two of them exchanged.
type diff struct {
	cell
	n float32
}

// fit learns how the requests of a plan go about their calls from its examples, and from mistakes made of them.
func (p *plan) fit(f *fitter, stage int, tick int64, rng *rand.Rand) {
	examples := p.examples
	p.since, p.due = 0, min(2*p.due, lastFit)
	clear(f.own[:])
	clear(f.chance[:])
	p.suppose(examples)
	for _, e := range examples {
		f.cells = measured(f.cells[:0], tick, 0, e.end, e.calls)
		count(&f.own, f.cells)
	}
	f.mistakes(examples, tick, rng)
	before := p.evidence
	p.compare(f, stage)
	p.weigh(f, rng)
	for m, e := range p.evidence {
		switch w := p.weight[m]; {
		case e == nil:
		case w < 0.02:
			p.evidence[m] = nil
		default:
			for b := range e {
				e[b] *= w
			}
			if old := before[m]; old != nil && stage >= wholeStage {
				for b := range e {
					e[b] = kept*old[b] + (1-kept)*e[b]
				}
			}
		}
	}
	p.fits++
}

func count(h *[measures]*histogram, cells []cell) {
	for _, c := range cells {
		if h[c.measure] == nil {
			h[c.measure] = new(histogram)
		}
		h[c.measure].n[c.bin]++
		h[c.measure].sum++
	}
}

// mistakes lays two examples over each other, one shifted by some time, and exchanges a call of one for the like call of
// the other where each begins while the other's request is under way: the mistake that is to be avoided, at any load.
func (f *fitter) mistakes(examples []example, tick int64, rng *rand.Rand) {
	f.diffs, f.rows = f.diffs[:0], append(f.rows[:0], 0)
	want := swapsPer * len(examples)
	for try := 0; try < 10*want && len(f.rows) <= want; try++ {
		a, b := &examples[rng.IntN(len(examples))], &examples[rng.IntN(len(examples))]
		if a == b || len(a.calls) == 0 {
			continue
		}
		i := rng.IntN(len(a.calls))
		j := pick(b.calls, a.calls[i].label, rng)
		if j < 0 {
			continue
		}
		x, y := a.calls[i], b.calls[j]
		// b begins shift after a.
		lo, hi := max(-y.start, x.start-b.end), min(a.end-y.start, x.start)
		if hi <= lo || rng.Int64N(max(a.end, 1)) > hi-lo {
			continue
		}
		shift := lo + rng.Int64N(hi-lo+1)
		near := rng.IntN(100) < closely
		if near {
			shift = int64(math.Exp(rng.Float64() * math.Log(float64(hi-lo))))
			if rng.IntN(2) == 0 {
				shift = -shift
			}
			if rng.IntN(2) == 0 {
				shift += x.start - y.start
			}
			if shift < lo || shift > hi {
				continue
			}
		}
		shift -= shift % tick
		f.calls[0] = exchanged(f.calls[0][:0], a.calls, i, span{y.start + shift, y.end + shift, y.label})
		f.calls[1] = exchanged(f.calls[1][:0], b.calls, j, span{x.start - shift, x.end - shift, x.label})
		f.row(1, tick, a.end, a.calls, false)
		f.row(1, tick, b.end, b.calls, false)
		f.row(-1, tick, a.end, f.calls[0], !near)
		f.row(-1, tick, b.end, f.calls[1], !near)
		f.rows = append(f.rows, int32(len(f.diffs)))
	}
}

func (f *fitter) row(n float32, tick, end int64, calls []span, chance bool) {
	f.cells = measured(f.cells[:0], tick, 0, end, calls)
	for _, c := range f.cells {
		f.diffs = append(f.diffs, diff{c, n})
	}
	if chance {
		count(&f.chance, f.cells)
	}
}

// compare sets the evidence to the ratios of how often a gap is seen, and how often by chance.
func (p *plan) compare(f *fitter, stage int) {
	var own, chance [bins]float64
	for m := range measures {
		p.evidence[m] = nil
		o, c := f.own[m], f.chance[m]
		if o == nil || c == nil || !believed(m, stage) {
			continue
		}
		f.smooth.apply(o, &own)
		f.smooth.apply(c, &chance)
		e := new([bins]float32)
		// floor is what a gap that was never seen counts.
		floor := 0.3 / min(o.sum, c.sum)
		for b := range e {
			e[b] = float32(math.Log((max(0, own[b]-once)/o.sum + floor) / (chance[b]/c.sum + floor)))
		}
		p.evidence[m] = e
	}
}

// believed says whether a measure counts in a stage.
func believed(m, stage int) bool {
	k := kind(m)
	switch stage {
	case 0:
		return k == from || k == to
	case 1:
		return k >= 0 || m == first || m == last
	}
	return true
}

// weigh finds how far each measure is to be believed, since they repeat each other: with the weights that make it most
// probable to tell the mistakes from what was so before, a logistic regression by stochastic gradient descent.
func (p *plan) weigh(f *fitter, rng *rand.Rand) {
	const (
		fresh, freshChain = 0.25, 0.7
		decay             = 0.002
	)
	for m := range measures {
		if p.weight[m] == 0 {
			p.weight[m] = fresh
			if m == last || kind(m) == after {
				p.weight[m] = freshChain
			}
		}
	}
	rows := len(f.rows) - 1
	if rows <= 0 {
		return
	}
	var x [measures]float32
	touched := make([]uint16, 0, measures)
	rate := float32(0.02)
	for range epochs {
		for range rows {
			r := rng.IntN(rows)
			touched = touched[:0]
			for _, d := range f.diffs[f.rows[r]:f.rows[r+1]] {
				e := p.evidence[d.measure]
				if e == nil {
					continue
				}
				if x[d.measure] == 0 {
					touched = append(touched, d.measure)
				}
				x[d.measure] += d.n * e[d.bin]
			}
			z, norm := float32(0), float32(1)
			for _, m := range touched {
				z += p.weight[m] * x[m]
				norm += x[m] * x[m]
			}
			g := rate * float32(1/(1+math.Exp(float64(z)))/math.Sqrt(float64(norm)))
			for _, m := range touched {
				// A measure that was seen twice in touched is spent the first time.
				p.weight[m] = max(0.001, p.weight[m]+g*x[m]-rate*decay)
				x[m] = 0
			}
		}
		rate *= 0.7
	}
}

// pick chooses one of the calls with this label, -1 if there is none.
func pick(calls []span, label int, rng *rand.Rand) int {
	n, at := 0, -1
	for i := range calls {
		if calls[i].label == label {
			n++
			if rng.IntN(n) == 0 {
				at = i
			}
		}
	}
	return at
}

// exchanged copies calls with s instead of the one at i, in order of start.
func exchanged(out, calls []span, i int, s span) []span {
	put := false
	for j, c := range calls {
		if j == i {
			continue
		}
		if !put && s.start < c.start {
			out, put = append(out, s), true
		}
		out = append(out, c)
	}
	if !put {
		out = append(out, s)
	}
	return out
}
