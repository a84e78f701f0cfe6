package measure

import (
	"math"
	"math/rand/v2"
)

// FrugalSketch follows a few quantiles, each in two words (Q. Ma, S. Muthukrishnan and M. Sandler, Frugal Streaming for
// Estimating Quantiles: One (or two) memory suffices, 2014, https://arxiv.org/abs/1407.1121; the algorithm is Frugal-2U).
//
// An estimate of a quantile q moves up with probability q for each larger duration, and down with probability 1-q for each
// smaller one, so that it rests where q of them are smaller. The step grows while it moves on in one direction, and shrinks
// when it turns. Here it moves over the leaves of QDigest instead of over nanoseconds: a step is then at most 0.8 % of
// the duration, whether that is of microseconds or of minutes. A step of a nanosecond would never get anywhere; on trial,
// coarser steps made the median worse, and finer ones what is above p90.
//
// It promises nothing. What came last weighs most, and the quantiles with few durations beyond them are far off.
type FrugalSketch struct {
	work *frugalWork
	// estimates are where the quantiles are that are followed; nil before the first duration.
	estimates []frugal
	count     int64
}

// frugalWork are the quantiles that are followed, and the random numbers that estimates move by: the same durations in the
// same order give the same estimates.
type frugalWork struct {
	quantiles []float64
	random    rand.PCG
}

func newFrugalWork(quantiles []float64) *frugalWork {
	return &frugalWork{quantiles: quantiles, random: *rand.NewPCG(1, 2)}
}

// frugal is an estimate: the leaf, the step in leaves, and the direction of the last move.
type frugal struct {
	leaf int64
	step int32
	up   bool
}

// Add implements Sketch.
func (f *FrugalSketch) Add(ns int64) {
	if ns < 0 || f.count >= maxCount {
		return
	}
	leaf := int64(leafOf(min(ns, largest)))
	f.count++
	if f.count == 1 {
		f.estimates = make([]frugal, len(f.work.quantiles))
		for i := range f.estimates {
			f.estimates[i] = frugal{leaf: leaf, step: 1, up: true}
		}
		return
	}
	// One number decides for all, so that a higher quantile moves up whenever a lower one does.
	r := float64(f.work.random.Uint64()>>11) / (1 << 53)
	for i := range f.estimates {
		switch e := &f.estimates[i]; {
		case leaf > e.leaf && r > 1-f.work.quantiles[i]:
			e.move(leaf, true)
		case leaf < e.leaf && r > f.work.quantiles[i]:
			e.move(leaf, false)
		}
	}
}

// maxFrugalStep is the longest step: there are no more leaves.
const maxFrugalStep = 1 << universeBits

// move moves the estimate towards a leaf, and at most up to it.
func (e *frugal) move(leaf int64, up bool) {
	if e.up == up {
		e.step = min(e.step+1, maxFrugalStep)
	} else {
		e.step = max(e.step-1, -maxFrugalStep)
	}
	by := int64(max(e.step, 1))
	if !up {
		by = -by
	}
	e.leaf += by
	if over := e.leaf - leaf; over != 0 && over > 0 == up {
		e.step -= int32(max(over, -over)) // it was too far by that
		e.leaf = leaf
	}
	if e.up != up && e.step > 1 {
		e.step = 1
	}
	e.up = up
}

// Merge implements Sketch: it fails, with ErrNoMerge.
func (f *FrugalSketch) Merge(Sketch) error { return ErrNoMerge }

// Count implements Sketch.
func (f *FrugalSketch) Count() int64 { return f.count }

// Quantile implements Sketch. It knows the quantiles that it follows, and no others.
func (f *FrugalSketch) Quantile(q float64) (int64, bool) {
	if f.count == 0 {
		return 0, false
	}
	leaf := int64(math.MinInt64)
	for i, known := range f.work.quantiles {
		leaf = max(leaf, f.estimates[i].leaf) // what should be below may have drifted beyond
		if known == q {
			return leafBegin(int(leaf)), true
		}
	}
	return 0, false
}

// What a frugal sketch takes besides its estimates, and each of these, in bytes.
const (
	frugalSize   = 40
	estimateSize = 16
)

// Size implements Sketch.
func (f *FrugalSketch) Size() int { return frugalSize + len(f.estimates)*estimateSize }

// Accuracy implements Sketch.
func (f *FrugalSketch) Accuracy() Accuracy { return Accuracy{} }
