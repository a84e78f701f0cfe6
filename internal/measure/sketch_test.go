package measure

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// shapes are distributions of durations, in nanoseconds.
var shapes = map[string]func(r *rand.Rand) int64{
	"short":    func(r *rand.Rand) int64 { return r.Int64N(3000) },
	"narrow":   func(r *rand.Rand) int64 { return 1_000_000 + r.Int64N(1000) },
	"latency":  func(r *rand.Rand) int64 { return int64(5e6 * math.Exp(r.NormFloat64()*1.5)) },
	"bimodal":  func(r *rand.Rand) int64 { return []int64{2e5, 3e9}[r.IntN(2)] + r.Int64N(1e4) },
	"anything": func(r *rand.Rand) int64 { return int64(math.Exp2(r.Float64() * 46)) },
	"zero":     func(*rand.Rand) int64 { return 0 },
}

// near reports whether a sketch may say got of the true value want.
func near(got, want int64) bool {
	return got >= want-1 && float64(got) <= float64(want)*1.01+64
}

func TestSketchQuantiles(t *testing.T) {
	for name, shape := range shapes {
		r := rand.New(rand.NewPCG(1, 2))
		for _, n := range []int{1, 2, 3, 10, 999, 20000} {
			var s Sketch
			values := make([]int64, n)
			for i := range values {
				values[i] = shape(r)
				s.Add(values[i])
			}
			slices.Sort(values)
			if s.Count() != int64(n) {
				t.Fatalf("%s: %d counted, %d added", name, s.Count(), n)
			}
			for _, q := range []float64{0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
				got, ok := s.Quantile(q)
				// Definitions of a quantile differ in which of two neighbours it is.
				low := values[max(int(math.Ceil(q*float64(n)))-2, 0)]
				high := values[min(int(q*float64(n)), n-1)]
				if !ok || got < low-low/100-64 || got > high+high/100+64 {
					t.Errorf("%s: quantile %g of %d is %d, %v; want %d to %d", name, q, n, got, ok, low, high)
				}
			}
			if got, _ := s.Quantile(1); !near(got, values[n-1]) {
				t.Errorf("%s: the largest of %d is %d, want %d", name, n, got, values[n-1])
			}
			if got, _ := s.Quantile(0.5); n%2 == 1 && !near(got, values[n/2]) {
				t.Errorf("%s: the median of %d is %d, want %d", name, n, got, values[n/2])
			}
		}
	}
}

// Sketches of the parts, merged in any order, say what a sketch of the whole says.
func TestSketchMergeEqualsWhole(t *testing.T) {
	for name, shape := range shapes {
		r := rand.New(rand.NewPCG(3, 4))
		var whole, merged Sketch
		parts := make([]Sketch, 7)
		for i := range 5000 {
			v := shape(r)
			whole.Add(v)
			parts[i*i%len(parts)].Add(v) // of different sizes, some empty
		}
		for _, i := range r.Perm(len(parts)) {
			before := parts[i].Count()
			merged.Merge(&parts[i])
			if parts[i].Count() != before {
				t.Errorf("%s: merging changed the part", name)
			}
		}
		if merged.Count() != whole.Count() {
			t.Errorf("%s: %d merged, %d in all", name, merged.Count(), whole.Count())
		}
		for q := 0.0; q <= 1; q += 1.0 / 256 {
			a, _ := merged.Quantile(q)
			b, _ := whole.Quantile(q)
			if a != b {
				t.Fatalf("%s: quantile %g is %d merged, %d as a whole", name, q, a, b)
			}
		}
	}
}

func TestSketchEdges(t *testing.T) {
	var s Sketch
	if v, ok := s.Quantile(0.5); ok || v != 0 || s.Count() != 0 {
		t.Errorf("the empty sketch says %d, %v", v, ok)
	}
	s.Merge(&Sketch{})
	s.Add(-1)
	s.Add(math.MinInt64)
	s.Reset()
	if s.Count() != 0 {
		t.Errorf("unknown durations were counted: %d", s.Count())
	}
	s.Add(math.MaxInt64)
	s.Add(longest)
	if v, ok := s.Quantile(1); v != longest || !ok || s.Count() != 2 {
		t.Errorf("longer than the longest: %d, %v, %d counted", v, ok, s.Count())
	}
	for _, q := range []float64{-1, math.Inf(-1), 2, math.Inf(1)} {
		if _, ok := s.Quantile(q); !ok {
			t.Errorf("no quantile %g", q)
		}
	}
	if _, ok := s.Quantile(math.NaN()); ok {
		t.Error("there is a quantile NaN")
	}
	s.Reset()
	if _, ok := s.Quantile(0.5); ok || s.Count() != 0 {
		t.Error("not empty after a reset")
	}
	s.Add(1e6)
	if v, _ := s.Quantile(0.5); !near(v, 1e6) {
		t.Errorf("after a reset 1 ms is %d", v)
	}
}

// The memory is bounded by the differences that a sketch tells.
func TestSketchMemory(t *testing.T) {
	var s Sketch
	for v := int64(1); v < 2*longest; v += v/200 + 1 {
		s.Add(v)
	}
	if n := s.h.GetMemorySize(); n > 64<<10 {
		t.Errorf("a sketch of everything takes %d bytes", n)
	}
}

func TestSketchDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	values := make([]int64, 1000)
	for i := range values {
		values[i] = shapes["latency"](r)
	}
	var s, sum Sketch
	fill := func() {
		s.Reset()
		for _, v := range values {
			s.Add(v)
		}
		sum.Reset()
		sum.Merge(&s)
		sum.Quantile(0.99)
	}
	fill()
	if n := testing.AllocsPerRun(20, fill); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSketchAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	values := make([]int64, 4096)
	for i := range values {
		values[i] = shapes["latency"](r)
	}
	var s Sketch
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Add(values[i%len(values)])
	}
	b.ReportMetric(float64(s.h.GetMemorySize()), "B/sketch")
}
