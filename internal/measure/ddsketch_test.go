package measure

import (
	"bytes"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch/encoding"
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
	return math.Abs(float64(got-want)) <= float64(want)*0.01+0.5
}

func TestSketchQuantiles(t *testing.T) {
	for name, shape := range shapes {
		r := rand.New(rand.NewPCG(1, 2))
		for _, n := range []int{1, 2, 3, 10, 999, 20000} {
			var s DDSketch
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
				if want := exact(values, q); !ok || !near(got, want) {
					t.Errorf("%s: quantile %g of %d is %d, %v; want %d", name, q, n, got, ok, want)
				}
			}
			sum := 0.0
			for _, v := range values {
				sum += float64(v)
			}
			low, ok1 := s.Min()
			high, ok2 := s.Max()
			if low != values[0] || high != values[n-1] || !ok1 || !ok2 || math.Abs(s.Sum()-sum) > sum*1e-12 {
				t.Errorf("%s: %d from %d to %d, %g in all; want %d to %d, %g", name, n, low, high, s.Sum(), values[0], values[n-1], sum)
			}
			if q0, _ := s.Quantile(0); q0 != low {
				t.Errorf("%s: quantile 0 of %d is %d, the minimum %d", name, n, q0, low)
			}
			if q1, _ := s.Quantile(1); q1 != high {
				t.Errorf("%s: quantile 1 of %d is %d, the maximum %d", name, n, q1, high)
			}
		}
	}
}

// exact returns the smallest of the sorted values that at least the part q of them don't exceed.
func exact(values []int64, q float64) int64 {
	for i, v := range values {
		if float64(i+1) >= q*float64(len(values))-1e-9 {
			return v
		}
	}
	return values[len(values)-1]
}

// Sketches of the parts, merged in any order, say what a sketch of the whole says.
func TestSketchMergeEqualsWhole(t *testing.T) {
	for name, shape := range shapes {
		r := rand.New(rand.NewPCG(3, 4))
		var whole, merged DDSketch
		parts := make([]DDSketch, 7)
		for i := range 5000 {
			v := shape(r)
			whole.Add(v)
			parts[i*i%len(parts)].Add(v) // of different sizes, some empty
		}
		for _, i := range r.Perm(len(parts)) {
			before := parts[i].Count()
			merged.join(&parts[i])
			if parts[i].Count() != before {
				t.Errorf("%s: merging changed the part", name)
			}
		}
		if merged.Count() != whole.Count() {
			t.Errorf("%s: %d merged, %d in all", name, merged.Count(), whole.Count())
		}
		same(t, name+" merged", &merged, &whole)
	}
}

// same checks that two sketches say the same.
func same(t *testing.T, what string, got, want *DDSketch) {
	t.Helper()
	if got.Count() != want.Count() || math.Abs(got.Sum()-want.Sum()) > want.Sum()*1e-12 {
		t.Fatalf("%s: %d with a sum of %g, want %d with %g", what, got.Count(), got.Sum(), want.Count(), want.Sum())
	}
	for q := 0.0; q <= 1; q += 1.0 / 256 {
		a, ok := got.Quantile(q)
		b, _ := want.Quantile(q)
		if a != b || ok != (want.Count() > 0) {
			t.Fatalf("%s: quantile %g is %d, want %d", what, q, a, b)
		}
	}
}

// Adding many of one value is adding it many times.
func TestSketchAddN(t *testing.T) {
	for name, shape := range shapes {
		r := rand.New(rand.NewPCG(3, 4))
		var many, single DDSketch
		for range 300 {
			v, n := shape(r), r.Int64N(20)-2
			many.AddN(v, n)
			for range n {
				single.Add(v)
			}
		}
		same(t, name, &many, &single)
	}
	var s DDSketch
	s.AddN(5, math.MaxInt64)
	s.AddN(7, math.MaxInt64)
	s.Add(7)
	var sum DDSketch
	for range 3000 {
		sum.join(&s)
	}
	if v, ok := sum.Quantile(0.5); s.Count() != maxCount || sum.Count() != maxCount || v != 5 || !ok {
		t.Errorf("%d counted, %d in all, half of them up to %d", s.Count(), sum.Count(), v)
	}
}

// What was written says the same when it is read, and merges alike.
func TestSketchDecode(t *testing.T) {
	for name, shape := range shapes {
		r := rand.New(rand.NewPCG(8, 9))
		for _, n := range []int{0, 1, 2, 40, 500, 20000} {
			var s, back, used DDSketch
			for range n {
				s.Add(shape(r))
			}
			s.AddN(shape(r), int64(n)) // counted in pages
			s.AddN(0, int64(n%3))
			b := s.Append([]byte("before"))
			used.Add(12345)
			for _, into := range []*DDSketch{&back, &used} {
				if err := into.Decode(b[len("before"):]); err != nil {
					t.Fatalf("%s, %d: %v", name, n, err)
				}
				same(t, name+" read again", into, &s)
			}
			back.join(&used)
			s.join(&used)
			same(t, name+" merged after it was read", &back, &s)
		}
	}
}

func TestSketchDecodeDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	var s DDSketch
	for range 300 {
		s.Add(shapes["latency"](r))
	}
	s.AddN(0, 3)
	b := s.Append(nil)
	for n := range len(b) {
		if err := new(DDSketch).Decode(b[:n]); err == nil && n > 0 {
			t.Errorf("the first %d of %d bytes are a sketch", n, len(b))
		}
	}
	for i := range b {
		for bit := range 8 {
			damaged := slices.Clone(b)
			damaged[i] ^= 1 << bit
			harmless(t, damaged)
		}
	}
	for what, change := range map[string]func(s *DDSketch){
		"too many":               func(s *DDSketch) { s.count++ },
		"too few":                func(s *DDSketch) { s.count-- },
		"no zeros":               func(s *DDSketch) { s.count, s.zeros = s.count-s.zeros, 0 },
		"a minimum above zero":   func(s *DDSketch) { s.min = 1 },
		"a minimum too large":    func(s *DDSketch) { s.min = s.max + 1 },
		"a maximum in no bin":    func(s *DDSketch) { s.max += s.max / 10 },
		"a maximum of zero":      func(s *DDSketch) { s.max = 0 },
		"a maximum too large":    func(s *DDSketch) { s.max = math.MaxInt64 },
		"a sum too large":        func(s *DDSketch) { s.sum = float64(s.count+1) * float64(s.max) },
		"a sum below zero":       func(s *DDSketch) { s.sum = -1 },
		"a sum that is none":     func(s *DDSketch) { s.sum = math.NaN() },
		"a sum without an end":   func(s *DDSketch) { s.sum = math.Inf(1) },
		"less than it has zeros": func(s *DDSketch) { s.zeros = s.count + 1 },
	} {
		wrong := s
		change(&wrong)
		if err := new(DDSketch).Decode(wrong.Append(nil)); err == nil || !strings.Contains(err.Error(), "decoding a sketch of ") {
			t.Errorf("with %s: %v", what, err)
		}
	}
	var positive DDSketch
	positive.Add(1e6)
	positive.Add(2e6)
	for what, change := range map[string]func(s *DDSketch){
		"a minimum of zero":               func(s *DDSketch) { s.min = 0 },
		"a minimum in no bin":             func(s *DDSketch) { s.min = 9e5 },
		"a sum too small":                 func(s *DDSketch) { s.sum = 1.9e6 },
		"zeros alone, but not as maximum": func(s *DDSketch) { *s = DDSketch{count: 2, zeros: 2, max: 5} },
	} {
		wrong := positive
		change(&wrong)
		if err := new(DDSketch).Decode(wrong.Append(nil)); err == nil || !strings.Contains(err.Error(), "decoding a sketch of ") {
			t.Errorf("with %s: %v", what, err)
		}
	}
	b = positive.Append(nil)
	for what, damaged := range map[string][]byte{
		"half a nanosecond": bytes.Replace(b, float64Bytes(1e6), float64Bytes(1e6+0.5), 1),
		"negative values":   slices.Concat(b, b[len(b)-5:]),
	} {
		if what == "negative values" {
			damaged[len(b)] |= 2 // the flag of the other store
		}
		if err := new(DDSketch).Decode(damaged); err == nil || !strings.Contains(err.Error(), "don't fit") {
			t.Errorf("with %s: %v", what, err)
		}
	}
	// The library's own form, with bins that are far away, which would take terabytes.
	for _, far := range []int64{-1, 1 << 20, math.MaxInt32, math.MinInt64, math.MaxInt64} {
		d := DDSketch{count: 1, sum: 5, min: 5, max: 5}
		d.zeros = 1 // writes no bins
		b := d.Append(nil)
		encoding.EncodeFlag(&b, encoding.NewFlag(encoding.FlagTypePositiveStore, encoding.BinEncodingContiguousCounts))
		encoding.EncodeUvarint64(&b, 2)
		encoding.EncodeVarint64(&b, far)
		encoding.EncodeVarint64(&b, 1)
		encoding.EncodeVarfloat64(&b, 7)
		encoding.EncodeVarfloat64(&b, 7)
		if err := new(DDSketch).Decode(b); err == nil || !strings.Contains(err.Error(), "7 values in bin") {
			t.Errorf("a bin at %d: %v", far, err)
		}
	}
}

func float64Bytes(v float64) (b []byte) {
	encoding.EncodeFloat64LE(&b, v)
	return b
}

// harmless checks that whatever is read as a sketch can be used as one.
func harmless(t *testing.T, b []byte) {
	t.Helper()
	var s DDSketch
	if err := s.Decode(b); err != nil {
		if s.Count() != 0 {
			t.Errorf("%x: %v, and %d counted", b, err, s.Count())
		}
		return
	}
	before := int64(0)
	for q := 0.0; q <= 1; q += 1.0 / 16 {
		v, ok := s.Quantile(q)
		if ok != (s.Count() > 0) || v < before {
			t.Errorf("%x: quantile %g is %d, %v, after %d", b, q, v, ok, before)
		}
		before = v
	}
	if low, _ := s.Min(); s.Count() < 0 || s.Sum() < 0 || low < 0 {
		t.Errorf("%x: %d from %d, %g in all", b, s.Count(), low, s.Sum())
	}
	var again DDSketch
	if err := again.Decode(s.Append(nil)); err != nil {
		t.Errorf("%x: read, but not when it is written again: %v", b, err)
	}
	same(t, "written again", &again, &s)
}

func FuzzSketchDecode(f *testing.F) {
	var s DDSketch
	f.Add(s.Append(nil))
	s.Add(0)
	f.Add(s.Append(nil))
	for v := int64(1); v < 1e12; v *= 3 {
		s.AddN(v, v%5)
	}
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) { harmless(t, b) })
}

func TestSketchEdges(t *testing.T) {
	var s DDSketch
	if v, ok := s.Quantile(0.5); ok || v != 0 || s.Count() != 0 {
		t.Errorf("the empty sketch says %d, %v", v, ok)
	}
	s.join(&DDSketch{})
	s.Add(-1)
	s.Add(math.MinInt64)
	s.Reset()
	if s.Count() != 0 {
		t.Errorf("unknown durations were counted: %d", s.Count())
	}
	if _, ok := s.Min(); ok {
		t.Error("the empty sketch has a minimum")
	}
	if _, ok := s.Max(); ok {
		t.Error("the empty sketch has a maximum")
	}
	s.Add(math.MaxInt64)
	s.Add(largest)
	if v, ok := s.Quantile(1); v != largest || !ok || s.Count() != 2 {
		t.Errorf("larger than the largest: %d, %v, %d counted", v, ok, s.Count())
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

// The memory is bounded by the differences that a sketch tells, and Size is no less.
func TestSketchMemory(t *testing.T) {
	fill := map[string]func(s *DDSketch, r *rand.Rand){
		"one":      func(s *DDSketch, r *rand.Rand) { s.Add(shapes["latency"](r)) },
		"five":     func(s *DDSketch, r *rand.Rand) { add(s, r, "latency", 5) },
		"forty":    func(s *DDSketch, r *rand.Rand) { add(s, r, "anything", 40) },
		"hundreds": func(s *DDSketch, r *rand.Rand) { add(s, r, "anything", 700) },
		"many":     func(s *DDSketch, r *rand.Rand) { add(s, r, "latency", 5000) },
		"pages": func(s *DDSketch, r *rand.Rand) {
			for range 100 {
				s.AddN(shapes["anything"](r), 2)
			}
		},
		"everything": func(s *DDSketch, r *rand.Rand) {
			for v := int64(1); v < 2*largest; v += v/100 + 1 {
				s.AddN(v, 1+v&1)
			}
		},
		"again and again": func(s *DDSketch, r *rand.Rand) {
			for i := range 6 {
				s.Reset()
				for v := int64(1) << (7 * i); v < largest; v += v/50 + 1 {
					s.AddN(v, 1+v&1)
				}
			}
			add(s, r, "anything", 5000)
		},
	}
	for name, fill := range fill {
		sketches := make([]DDSketch, 100)
		r := rand.New(rand.NewPCG(5, 6))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.GC() // what the first one found is swept
		runtime.ReadMemStats(&before)
		for i := range sketches {
			fill(&sketches[i], r)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		size, told := (int(after.HeapAlloc)-int(before.HeapAlloc))/len(sketches), 0
		for i := range sketches {
			told = max(told, sketches[i].Size())
		}
		t.Logf("%s: %d bytes, %d told", name, size, told)
		if size > 64<<10 || told > 64<<10 || size > told {
			t.Errorf("a sketch of %s takes %d bytes, and says %d", name, size, told)
		}
	}
	if n := new(DDSketch).Size(); n > emptySize {
		t.Errorf("the empty sketch says %d bytes", n)
	}
}

func add(s *DDSketch, r *rand.Rand, shape string, n int) {
	for range n {
		s.Add(shapes[shape](r))
	}
}

func TestSketchDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	values := make([]int64, 1000)
	for i := range values {
		values[i] = shapes["latency"](r)
	}
	var s, sum DDSketch
	fill := func() {
		s.Reset()
		for _, v := range values {
			s.Add(v)
		}
		sum.Reset()
		sum.join(&s)
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
	var s DDSketch
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Add(values[i%len(values)])
	}
}

func BenchmarkSketchMerge(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	var s, sum DDSketch
	add(&s, r, "latency", 1000)
	b.ReportAllocs()
	for b.Loop() {
		sum.join(&s)
	}
}

func BenchmarkSketchQuantile(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	var s DDSketch
	add(&s, r, "latency", 100_000)
	b.ReportAllocs()
	for b.Loop() {
		s.Quantile(0.99)
	}
}

func BenchmarkSketchAppend(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	var s DDSketch
	add(&s, r, "latency", 100_000)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = s.Append(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "B/sketch")
}
