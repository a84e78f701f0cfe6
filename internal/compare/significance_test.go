package compare

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func values(v ...float64) []Value {
	out := make([]Value, len(v))
	for i := range v {
		out[i] = Value{v[i], 1, int64(i)}
	}
	return out
}

func near(a, b, by float64) bool { return math.Abs(a-b) <= by }

// Figures of tables and of the literature.
func TestKnownFigures(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want float64
		by        float64
	}{
		{"t of 10 degrees, 5 %", studentTail(2.228139, 10), 0.05, 1e-6},
		{"t of 1 degree, 10 %", studentTail(6.313752, 1), 0.1, 1e-6},
		{"t of 30.5 degrees", studentTail(0, 30.5), 1, 1e-12},
		{"t of many degrees is normal", studentTail(1.959964, 1e7), 0.05, 1e-6},
		{"beta(2, 3) at 0.4", incompleteBeta(2, 3, 0.4), 0.5248, 1e-12},
		{"beta(0.5, 0.5) at 0.25", incompleteBeta(0.5, 0.5, 0.25), 1.0 / 3, 1e-12},
		{"the lady and her tea", Shares(3, 4, 1, 4), 0.485714285, 1e-8},
		{"all of one, none of the other", Shares(5, 5, 0, 5), 2.0 / 252, 1e-12},
		{"nobody", Shares(0, 10, 0, 20), 1, 0},
		{"everybody", Shares(10, 10, 20, 20), 1, 0},
		// 50 of 1000 against 80 of 1000, worked out with whole numbers.
		{"50 of 1000, 80 of 1000", Shares(50, 1000, 80, 1000), fisherByCounting(50, 1000, 80, 1000), 1e-9},
		{"the other way", Shares(950, 1000, 920, 1000), fisherByCounting(50, 1000, 80, 1000), 1e-9},
	} {
		if !near(c.got, c.want, c.by) {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
	// Brunner and Munzel's own example: pain after two ways of surgery.
	s := brunnerMunzel(sorted(values(1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 1, 1)), sorted(values(3, 3, 4, 3, 1, 2, 3, 1, 1, 5, 4)))
	if !near(s.P, 0.005786, 1e-6) || !near(s.Effect, 0.788961, 1e-6) {
		t.Errorf("Brunner and Munzel: %+v, want 0.005786 and 0.788961", s)
	}
	q := Adjust([]float64{0.01, 0.04, 0.03, 0.005, 1})
	for i, want := range []float64{0.025, 0.05, 0.05, 0.025, 1} {
		if !near(q[i], want, 1e-12) {
			t.Errorf("adjusted %v, want %v", q[i], want)
		}
	}
	// The interval of a median of 10 is from the 2nd to the 9th (97.9 %); of 5 values there is none.
	for _, c := range []struct {
		n         int
		q         float64
		low, high int
	}{{10, 0.5, 2, 9}, {5, 0.5, 0, 6}, {100, 0.5, 40, 61}, {100, 0.99, 97, 101}, {1000, 0.99, 983, 997}} {
		if low, high := orderBounds(c.n, c.q); low != c.low || high != c.high {
			t.Errorf("quantile %v of %d: from %d to %d, want %d to %d", c.q, c.n, low, high, c.low, c.high)
		}
	}
}

// fisherByCounting is Fisher's test by products of ratios, as one does it by hand.
func fisherByCounting(a, n, b, m int) float64 {
	hits := a + b
	p := make([]float64, hits+1)
	sum := 0.0
	for k := range p {
		p[k] = 1
		for i := range k { // ways to choose k of n, times those to choose the others
			p[k] *= float64(n-i) / float64(i+1)
		}
		for i := range hits - k {
			p[k] *= float64(m-i) / float64(i+1) / 1
		}
		p[k] *= 1e-200
		sum += p[k]
	}
	far := 0.0
	for k := range p {
		if p[k] <= p[a]*(1+1e-7) {
			far += p[k]
		}
	}
	return far / sum
}

// permuted is the exact test by going through all ways to divide the values.
func permuted(a, b []Value) float64 {
	all := slices.Concat(a, b)
	theta := func(in func(i int) bool) float64 {
		sum := 0.0
		for i := range all {
			for j := range all {
				if in(i) && !in(j) {
					switch {
					case all[j].V > all[i].V:
						sum++
					case all[j].V == all[i].V:
						sum += 0.5
					}
				}
			}
		}
		return math.Abs(sum - float64(len(a)*len(b))/2)
	}
	observed := theta(func(i int) bool { return i < len(a) })
	far, n := 0, 0
	for set := range 1 << len(all) {
		ones := 0
		for i := range all {
			ones += set >> i & 1
		}
		if ones != len(a) {
			continue
		}
		n++
		if theta(func(i int) bool { return set>>i&1 == 1 }) >= observed-1e-9 {
			far++
		}
	}
	return float64(far) / float64(n)
}

func TestRanksAreExactForFew(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		a, b := make([]Value, 2+r.IntN(4)), make([]Value, 2+r.IntN(4))
		for _, side := range [][]Value{a, b} {
			for i := range side {
				side[i] = Value{float64(r.IntN(6)), 1, 0} // many are equal
			}
		}
		b[0].V += 3
		if got, want := Ranks(a, b).P, permuted(a, b); !near(got, want, 1e-9) {
			t.Fatalf("%v, %v: %v, want %v", a, b, got, want)
		}
	}
}

// skewed are times as they are: with a long tail.
func skewed(r *rand.Rand, n int, shift, stretch float64) []Value {
	out := make([]Value, n)
	for i := range out {
		out[i] = Value{math.Exp(r.NormFloat64()+shift) + stretch, 1, int64(i)}
	}
	return out
}

// Where nothing differs, a test finds something as often as it says, whatever the numbers of values; where something does, it is found.
func TestRanksHoldTheirLevel(t *testing.T) {
	const rounds = 1000
	for _, c := range []struct {
		name  string
		n, m  int
		make  func(r *rand.Rand, n int) []Value
		limit float64 // of p < 0.05, as a share
	}{
		{"few", 10, 12, func(r *rand.Rand, n int) []Value { return skewed(r, n, 0, 0) }, 0.068},
		{"unequal", 10, 130, func(r *rand.Rand, n int) []Value { return skewed(r, n, 0, 0) }, 0.068},
		{"very unequal", 12, 500, func(r *rand.Rand, n int) []Value { return skewed(r, n, 0, 0) }, 0.072},
		{"some", 60, 80, func(r *rand.Rand, n int) []Value { return skewed(r, n, 0, 0) }, 0.068},
		{"many equal ones", 100, 70, func(r *rand.Rand, n int) []Value {
			v := skewed(r, n, 0, 0)
			for i := range v {
				v[i].V = math.Floor(v[i].V)
			}
			return v
		}, 0.068},
		{"values close in time are alike", 400, 600, func(r *rand.Rand, n int) []Value {
			v := skewed(r, n, 0, 0)
			drift := 0.0
			for i := range v {
				drift = 0.8*drift + 0.6*r.NormFloat64()
				v[i].V = math.Exp(drift)
			}
			return v
		}, 0.10},
		{"weights", 300, 300, func(r *rand.Rand, n int) []Value {
			v := skewed(r, n, 0, 0)
			for i := range v {
				if v[i].Weight = 10; v[i].V > 3 { // all slow ones were kept, of others one of ten
					v[i].Weight = 1
				}
			}
			return v
		}, 0.068},
	} {
		r := rand.New(rand.NewPCG(7, 9))
		found, rare := 0, 0
		for range rounds {
			p := Ranks(c.make(r, c.n), c.make(r, c.m)).P
			if p < 0.05 {
				found++
			}
			if p < 0.001 {
				rare++
			}
		}
		t.Logf("%s: %.4f below 0.05, %.4f below 0.001", c.name, float64(found)/rounds, float64(rare)/rounds)
		if share := float64(found) / rounds; share > c.limit || share < 0.01 {
			t.Errorf("%s: %.3f of null comparisons have p < 0.05", c.name, share)
		}
	}
	r := rand.New(rand.NewPCG(7, 9))
	for _, c := range []struct {
		n     int
		shift float64
	}{{20, 1.5}, {200, 0.5}, {2000, 0.15}} {
		found := 0
		for range 200 {
			if s := Ranks(skewed(r, c.n, 0, 0), skewed(r, c.n, c.shift, 0)); s.P < 0.01 && s.Effect > 0.5 {
				found++
			}
		}
		if found < 180 {
			t.Errorf("a shift of %v among %d values was found %d times of 200", c.shift, c.n, found)
		}
	}
}

// The intervals hold what they are to hold 95 times of 100.
func TestIntervals(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const rounds = 2000
	for _, q := range []float64{0.5, 0.95} {
		truth, shift := math.Exp(map[float64]float64{0.5: 0, 0.95: 1.6448536}[q]), 0.7
		held, differs := 0, 0
		for range rounds {
			a := Quantiles(skewed(r, 300, 0, 0), q)[0]
			b := Quantiles(skewed(r, 300, 0, shift), q)[0]
			if a.Low <= truth && truth <= a.High {
				held++
			}
			if low, high := Difference(a, b); low <= shift && shift <= high {
				differs++
			}
		}
		if held < rounds*94/100 || differs < rounds*94/100 || differs == rounds {
			t.Errorf("quantile %v: %d and %d of %d intervals hold", q, held, differs, rounds)
		}
	}
	if q := Quantiles(values(3, 1, 2), 0.5)[0]; q.At != 2 || !math.IsNaN(q.Low) || !math.IsNaN(q.High) {
		t.Errorf("of three values: %+v", q)
	}
	if q := Quantiles([]Value{{1, 1, 0}, {2, 9, 0}}, 0.05, 0.5); q[0].At != 1 || q[1].At != 2 {
		t.Errorf("with weights: %+v", q)
	}
	if q := Quantiles(nil, 0.5)[0]; !math.IsNaN(q.At) {
		t.Errorf("of nothing: %+v", q)
	}
}

func TestSeparatedValues(t *testing.T) {
	a, b := make([]Value, 100), make([]Value, 100)
	for i := range a {
		a[i], b[i] = Value{100, 1, 0}, Value{120, 1, 0}
	}
	if s := Ranks(a, b); s.P > 1e-50 || s.Effect != 1 {
		t.Errorf("%+v", s)
	}
	if s := Ranks(a, a); s.P != 1 || s.Effect != 0.5 {
		t.Errorf("the same: %+v", s)
	}
}
