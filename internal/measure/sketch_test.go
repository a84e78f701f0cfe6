package measure

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// asked are the quantiles that tests ask every kind of sketch.
var asked = []float64{0.5, 0.9, 0.99}

// rankError returns by what part of the sorted values the rank of got is off that of q: 0 when got is between the
// quantiles that have the nearest ranks on either side.
func rankError(sorted []int64, got int64, q float64) float64 {
	n := float64(len(sorted))
	below, _ := slices.BinarySearch(sorted, got)
	to, _ := slices.BinarySearch(sorted, got+1)
	switch at := q * n; {
	case float64(below) > at:
		return (float64(below) - at) / n
	case float64(to) < at-1:
		return (at - 1 - float64(to)) / n
	}
	return 0
}

// Every kind keeps what it promises, and those that promise nothing what was seen of them on trial, with room.
func TestSketchesAccuracy(t *testing.T) {
	trial := map[Kind]float64{TDigests: 0.01, Frugal: 0.15} // of the rank
	for name, shape := range shapes {
		for k := range Kind(len(kinds)) {
			for _, n := range []int{1, 2, 100, 1000, 30000} {
				s := NewMaker(k, asked...).New()
				r := rand.New(rand.NewPCG(1, 2))
				values := make([]int64, n)
				for i := range values {
					values[i] = shape(r)
					s.Add(values[i])
				}
				slices.Sort(values)
				if s.Count() != int64(n) {
					t.Fatalf("%s of %s: %d counted, %d added", k, name, s.Count(), n)
				}
				may := s.Accuracy()
				if may == (Accuracy{}) {
					may.Rank = trial[k]
					if k == Frugal && n < 1000 {
						may.Rank = 1 // it is only on its way
					}
				}
				for _, q := range asked {
					got, ok := s.Quantile(q)
					want := exact(values, q)
					off := math.Abs(float64(got-want)) - 0.5
					// A leaf that many values share is one value to those who count leaves.
					same := off <= float64(want)/(1<<mantissaBits) || k == Frugal && off <= 0.02*float64(want)
					if !ok || may.Value > 0 && off > may.Value*float64(want) || may.Value == 0 && !same && rankError(values, got, q) > may.Rank {
						t.Errorf("%s of %s: quantile %g of %d is %d, %v; want %d; the rank is off by %.4f", k, name, q, n, got, ok, want, rankError(values, got, q))
					}
				}
			}
		}
	}
}

// The first and the last are exact where a sketch promises it, and what is nothing stays nothing.
func TestSketchesEdges(t *testing.T) {
	for k := range Kind(len(kinds)) {
		m := NewMaker(k, asked...)
		s := m.New()
		if v, ok := s.Quantile(0.5); ok || v != 0 || s.Count() != 0 {
			t.Errorf("%s: the empty one says %d, %v", k, v, ok)
		}
		s.Add(-1)
		s.Add(math.MinInt64)
		if s.Count() != 0 {
			t.Errorf("%s: unknown durations were counted", k)
		}
		if k != Frugal {
			if err := s.Merge(m.New()); err != nil || s.Count() != 0 {
				t.Errorf("%s: merging nothing: %v, %d counted", k, err, s.Count())
			}
		}
		for range 300 {
			s.Add(math.MaxInt64)
		}
		if v, ok := s.Quantile(0.5); !ok || !near(v, largest) {
			t.Errorf("%s: beyond the largest: %d, %v", k, v, ok)
		}
		if k == Frugal {
			if v, ok := s.Quantile(0.75); ok {
				t.Errorf("%s: a quantile that it doesn't follow is %d", k, v)
			}
			continue
		}
		s = m.New()
		for v := range int64(1000) {
			s.Add(v * 1000)
		}
		low, ok1 := s.Quantile(-1)
		high, ok2 := s.Quantile(2)
		if low != 0 || high != 999_000 || !ok1 || !ok2 {
			t.Errorf("%s: from %d to %d, want 0 to 999000", k, low, high)
		}
		if v, _ := s.Quantile(0.5); v < 480_000 || v > 520_000 { // they came in order
			t.Errorf("%s: half of 0 to 999000 is up to %d", k, v)
		}
		// A few, merged into fewer.
		few, more := m.New(), m.New()
		few.Add(1e6)
		for i := range 9 {
			more.Add(5e6 + 4e6*int64(i/7))
		}
		if err := few.Merge(more); err != nil {
			t.Error(err)
		}
		if v, _ := few.Quantile(0.5); few.Count() != 10 || !near(v, 5e6) {
			t.Errorf("%s: half of %d merged is up to %d", k, few.Count(), v)
		}
		if _, ok := s.Quantile(math.NaN()); ok {
			t.Errorf("%s: there is a quantile NaN", k)
		}
	}
}

// Parts that are merged keep what the whole promises, and don't change.
func TestSketchesMerge(t *testing.T) {
	for name, shape := range shapes {
		for _, k := range []Kind{DD, TDigests, QDigests} {
			m := NewMaker(k)
			whole, merged := m.New(), m.New()
			parts := make([]Sketch, 9)
			for i := range parts {
				parts[i] = m.New()
			}
			r := rand.New(rand.NewPCG(3, 4))
			var values []int64
			for i := range 20000 {
				v := shape(r)
				values = append(values, v)
				whole.Add(v)
				parts[i*i%len(parts)].Add(v) // of different sizes, some empty
			}
			slices.Sort(values)
			for _, p := range parts {
				before, _ := p.Quantile(0.9)
				if err := merged.Merge(p); err != nil {
					t.Fatal(err)
				}
				if after, _ := p.Quantile(0.9); after != before {
					t.Errorf("%s of %s: merging changed the part", k, name)
				}
			}
			if merged.Count() != whole.Count() {
				t.Errorf("%s of %s: %d merged, %d in all", k, name, merged.Count(), whole.Count())
			}
			may := map[Kind]float64{DD: 0.0, TDigests: 0.01, QDigests: merged.Accuracy().Rank}[k]
			for _, q := range asked {
				got, _ := merged.Quantile(q)
				want := exact(values, q)
				if off := math.Abs(float64(got-want)) - 0.5; off > float64(want)*0.01 && rankError(values, got, q) > may {
					t.Errorf("%s of %s: quantile %g of what was merged is %d, want %d", k, name, q, got, want)
				}
			}
		}
	}
}

// What can't be merged says so, and is as it was.
func TestSketchesDontMerge(t *testing.T) {
	for into := range Kind(len(kinds)) {
		for from := range Kind(len(kinds)) {
			if into == from && into.Merges() {
				continue
			}
			s, other := NewMaker(into, asked...).New(), NewMaker(from, asked...).New()
			s.Add(5)
			other.Add(7)
			err := s.Merge(other)
			if v, _ := s.Quantile(0.5); err == nil || s.Count() != 1 || v != 5 {
				t.Errorf("%s into %s: %v, %d counted, the median is %d", from, into, err, s.Count(), v)
			}
			if into == Frugal != errors.Is(err, ErrNoMerge) {
				t.Errorf("%s into %s: %v", from, into, err)
			}
		}
	}
}

// The memory is what Size says at most, and bounded whatever is added.
func TestSketchesMemory(t *testing.T) {
	most := [...]int{DD: 64 << 10, TDigests: 4 << 10, QDigests: 32 << 10, Frugal: 128}
	for k := range Kind(len(kinds)) {
		for _, n := range []int{1, 5, 100, 20000} {
			m := NewMaker(k, asked...)
			m.New().Add(1)
			sketches := make([]Sketch, 100)
			r := rand.New(rand.NewPCG(5, 6))
			var before, after runtime.MemStats
			runtime.GC()
			runtime.GC() // what the first one found is swept
			runtime.ReadMemStats(&before)
			for i := range sketches {
				sketches[i] = m.New()
				for range n {
					sketches[i].Add(shapes["anything"](r))
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			size, told := (int(after.HeapAlloc)-int(before.HeapAlloc))/len(sketches), 0
			for _, s := range sketches {
				told = max(told, s.Size())
			}
			t.Logf("%s of %d: %d bytes, %d told", k, n, size, told)
			const shared = 600 // of the Maker's room, which grows to the largest
			if size > told+shared || told > most[k] {
				t.Errorf("%s of %d takes %d bytes, and says %d; at most %d are meant", k, n, size, told, most[k])
			}
		}
	}
}

// The same durations in the same order tell the same.
func TestSketchesRepeat(t *testing.T) {
	for k := range Kind(len(kinds)) {
		var told [2]string
		for i := range told {
			m := NewMaker(k, asked...)
			a, b := m.New(), m.New()
			r := rand.New(rand.NewPCG(5, 6))
			for range 5000 {
				a.Add(shapes["latency"](r))
				b.Add(shapes["bimodal"](r))
			}
			for _, s := range []Sketch{a, b} {
				for _, q := range asked {
					v, ok := s.Quantile(q)
					told[i] += fmt.Sprint(v, ok, " ")
				}
			}
		}
		if told[0] != told[1] {
			t.Errorf("%s says %s, and then %s", k, told[0], told[1])
		}
	}
}

// A q-digest counts every duration once, and has as many nodes as it may at most.
func TestQDigestNodes(t *testing.T) {
	for name, shape := range shapes {
		d := NewMaker(QDigests).New().(*QDigest)
		r := rand.New(rand.NewPCG(5, 6))
		for n := range 30000 {
			d.Add(shape(r))
			if n%1000 != 999 {
				continue
			}
			d.settle()
			sum, last := int64(0), uint32(math.MaxUint32)
			for _, node := range d.nodes {
				sum += node.count
				if node.number >= last || node.number == 0 || node.count <= 0 {
					t.Fatalf("%s: node %d with %d after node %d", name, node.number, node.count, last)
				}
				if node.number < 1<<universeBits && node.count > d.count/maxNodes {
					t.Fatalf("%s: inner node %d holds %d of %d", name, node.number, node.count, d.count)
				}
				last = node.number
			}
			if sum != d.count || len(d.nodes) > 3*maxNodes {
				t.Fatalf("%s: %d nodes hold %d of %d", name, len(d.nodes), sum, d.count)
			}
		}
	}
}

// Leaves cover all durations, in order, and are as narrow as they are said to be.
func TestLeaves(t *testing.T) {
	for leaf := range int(leafOf(largest)) {
		begin, end := leafBegin(leaf), leafBegin(leaf+1)
		if begin >= end || end-begin > max(begin>>mantissaBits, 1) || leafOf(begin) != uint16(leaf) || leafOf(end-1) != uint16(leaf) {
			t.Fatalf("leaf %d is from %d to %d, which are in %d and %d", leaf, begin, end, leafOf(begin), leafOf(end-1))
		}
	}
	if leafBegin(1<<universeBits) != largest+1 {
		t.Errorf("behind the last leaf is %d", leafBegin(1<<universeBits))
	}
	if leafOf(largest) >= 1<<universeBits {
		t.Errorf("the largest duration is in leaf %d", leafOf(largest))
	}
}

// An estimate moves up to what came at most, and those of higher quantiles are no lower.
func TestFrugal(t *testing.T) {
	f := NewMaker(Frugal, asked...).New().(*FrugalSketch)
	f.Add(1e6)
	for range 200 {
		f.Add(2e6)
		for _, q := range asked {
			if v, ok := f.Quantile(q); !ok || v < 0.99e6 || v > 2e6 {
				t.Fatalf("quantile %g is %d", q, v)
			}
		}
	}
	if v, _ := f.Quantile(0.99); !near(v, 2e6) {
		t.Errorf("p99 is %d", v)
	}
	f.estimates[0].leaf, f.estimates[1].leaf = f.estimates[2].leaf, f.estimates[2].leaf-50
	p50, _ := f.Quantile(0.5)
	if p90, _ := f.Quantile(0.9); p90 != p50 {
		t.Errorf("p50 is %d, and p90 %d", p50, p90)
	}
	for k := range Kind(len(kinds)) {
		m := NewMaker(k, asked...)
		if err := m.New().Merge(m.New()); (err == nil) != k.Merges() {
			t.Errorf("%s: merging gives %v, and is said to be possible: %v", k, err, k.Merges())
		}
	}
}

func TestParseKind(t *testing.T) {
	for k := range Kind(len(kinds)) {
		if got, err := ParseKind(k.String()); got != k || err != nil {
			t.Errorf("%s is read as %d, %v", k, got, err)
		}
	}
	if _, err := ParseKind("hdr"); err == nil || err.Error() != `there is no sketch "hdr"; there are dd, tdigest, qdigest, frugal` {
		t.Error(err)
	}
}

func BenchmarkSketchesAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	values := make([]int64, 4096)
	for i := range values {
		values[i] = shapes["latency"](r)
	}
	for k := range Kind(len(kinds)) {
		b.Run(k.String(), func(b *testing.B) {
			s := NewMaker(k, asked...).New()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.Add(values[i%len(values)])
			}
		})
	}
}
