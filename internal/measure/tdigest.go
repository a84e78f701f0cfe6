package measure

import (
	"math"
	"slices"

	"github.com/RaduBerinde/tdigest"
)

// Of t-digests.
const (
	// compression is the most centroids that a t-digest may have, halved; it has some 1.3 times as many.
	compression = 100
	// pendingValues is how many durations wait to be digested together.
	pendingValues = 64
)

// TDigest is a t-digest (T. Dunning and O. Ertl, Computing Extremely Accurate Quantiles Using t-Digests, 2019,
// https://arxiv.org/abs/1902.04023): durations are joined to centroids, which hold few of them at the ends of the
// distribution and many in the middle. It takes 4 KiB at most. It promises nothing: in the middle, and where durations
// have gaps between them, a quantile may be that of no duration at all.
//
// Merged ones tell nearly, but not exactly, what one digest of everything tells, and something else in another order.
type TDigest struct {
	work *tdigestWork
	// pending are durations that aren't in the digest yet.
	pending  []int64
	digest   tdigest.TDigest
	room     int // the centroids that the digest has room for
	count    int64
	min, max int64
}

// tdigestWork is what t-digests are built in: it is several times as large as one of them.
type tdigestWork struct{ builder tdigest.Builder }

func newTDigestWork() *tdigestWork {
	return &tdigestWork{tdigest.MakeBuilder(compression)}
}

// Add implements Sketch.
func (t *TDigest) Add(ns int64) {
	if ns < 0 || t.count >= maxCount {
		return
	}
	ns = min(ns, largest)
	if t.count == 0 {
		t.min, t.max = ns, ns
	} else {
		t.min, t.max = min(t.min, ns), max(t.max, ns)
	}
	t.count++
	t.pending = append(t.pending, ns)
	if len(t.pending) == pendingValues {
		t.settle()
	}
}

// settle takes what is pending into the digest.
func (t *TDigest) settle() {
	if len(t.pending) == 0 {
		return
	}
	b := &t.work.builder
	b.Reset()
	b.Merge(&t.digest)
	for _, ns := range t.pending {
		b.Add(float64(ns), 1)
	}
	t.pending = t.pending[:0]
	t.keep()
}

// keep copies what was built.
func (t *TDigest) keep() {
	built := t.work.builder.Digest()
	t.digest = built.Clone()
	t.room = 2 * compression
}

// Merge implements Sketch.
func (t *TDigest) Merge(from Sketch) error {
	other, ok := from.(*TDigest)
	if !ok {
		return unlike(TDigests, from)
	}
	if other.count == 0 {
		return nil
	}
	if t.count == 0 {
		t.min, t.max = other.min, other.max
	} else {
		t.min, t.max = min(t.min, other.min), max(t.max, other.max)
	}
	t.count = min(t.count+other.count, maxCount)
	b := &t.work.builder
	b.Reset()
	b.Merge(&t.digest)
	b.Merge(&other.digest)
	for _, pending := range [][]int64{t.pending, other.pending} {
		for _, ns := range pending {
			b.Add(float64(ns), 1)
		}
	}
	t.pending = t.pending[:0]
	t.keep()
	return nil
}

// Count implements Sketch.
func (t *TDigest) Count() int64 { return t.count }

// Quantile implements Sketch. The first and the last are exact, and so are all until the first 64 durations were added.
func (t *TDigest) Quantile(q float64) (int64, bool) {
	if t.count == 0 || math.IsNaN(q) {
		return 0, false
	}
	q = min(max(q, 0), 1)
	switch rank := nearestRank(q, t.count); {
	case rank == 0:
		return t.min, true
	case rank == t.count-1:
		return t.max, true
	case t.count == int64(len(t.pending)):
		slices.Sort(t.pending)
		return t.pending[rank], true
	}
	t.settle()
	return min(max(int64(math.Round(t.digest.Quantile(q))), t.min), t.max), true
}

// What a t-digest takes besides centroids and what is pending, and each of these, in bytes.
const (
	tdigestSize  = 128
	centroidSize = 16
	pendingSize  = 8
)

// Size implements Sketch.
func (t *TDigest) Size() int {
	return tdigestSize + t.room*centroidSize + cap(t.pending)*pendingSize
}

// Accuracy implements Sketch.
func (t *TDigest) Accuracy() Accuracy { return Accuracy{} }

// nearestRank returns the rank, from 0, of the quantile q of count durations.
func nearestRank(q float64, count int64) int64 {
	// What is above a whole number only because q is binary isn't above it.
	return min(max(int64(math.Ceil(q*float64(count)-1e-9))-1, 0), count-1)
}
