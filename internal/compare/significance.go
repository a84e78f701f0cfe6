package compare

import (
	"math"
	"slices"
	"sort"
)

// The statistics of a comparison. All are deterministic: no resampling at random.

// Value is a measured value. Weight is how many it stands for. Order puts the values of a side into the order of time: values close in time are
// often alike, and then there are fewer independent ones than they seem.
type Value struct {
	V      float64
	Weight float64
	Order  int64
}

const (
	// exactWork bounds where the exact distribution of the rank sum is worked out: the number of all values by that of the side with fewer.
	exactWork = 1500
	// batches is into how many stretches of time a side is cut to see whether values close in time are alike, and batchLeast how many values
	// that takes.
	batches    = 20
	batchLeast = 200
)

// Shift is what Ranks found.
type Shift struct {
	// P is the probability of such a difference, or a larger one, among values of the same distribution, on either side.
	P float64
	// Effect is the probability that a value of after is larger than one of before, equal ones counting half: 0.5 is no difference.
	Effect float64
}

// Ranks tests whether values tend to be larger on one side. It looks at their order alone, so that it holds for skewed data and for any outliers. Few
// values are tested by the exact distribution of the rank sum (Wilcoxon, with mid-ranks for equal values, given these); more by the test of
// Brunner and Munzel (Biometrical Journal 42, 2000), for which the spread may differ, with weights, and with a variance that is
// that of batch means where these show that values close in time are alike. Both sides need a value at least.
func Ranks(before, after []Value) Shift {
	a, b := sorted(before), sorted(after)
	s := brunnerMunzel(a, b)
	if !alike(a) || !alike(b) {
		return s
	}
	if len(b) < len(a) { // which is as likely, seen from the other side
		a, b = b, a
	}
	if (len(a)+len(b))*len(a) <= exactWork {
		s.P = exactRanks(a, b)
	}
	return s
}

// brunnerMunzel is Ranks by the approximation for many values. Both are in order.
func brunnerMunzel(a, b []Value) Shift {
	below, above := placements(a, b), placements(b, a)
	theta := mean(b, below) // the share of before that lies below a value of after
	s := Shift{P: 1, Effect: theta}
	varA, dfA := spread(a, above)
	varB, dfB := spread(b, below)
	if varA+varB <= 0 {
		if theta != 0.5 { // one side is above the other as a whole: no order of the values is less likely than this one
			s.P = math.Min(1, 2*math.Exp(-logChoose(len(a)+len(b), len(a))))
		}
		return s
	}
	t := (theta - 0.5) / math.Sqrt(varA+varB)
	df := (varA + varB) * (varA + varB) / (varA*varA/dfA + varB*varB/dfB)
	s.P = studentTail(t, df)
	return s
}

func sorted(values []Value) []Value {
	out := slices.Clone(values)
	slices.SortFunc(out, func(x, y Value) int {
		switch {
		case x.V < y.V:
			return -1
		case x.V > y.V:
			return 1
		}
		return 0
	})
	return out
}

// alike reports whether all values have the same weight.
func alike(values []Value) bool {
	for i := range values {
		if values[i].Weight != values[0].Weight {
			return false
		}
	}
	return true
}

// placements returns for each of values which share of others lies below it, equal ones counting half. Both are in order.
func placements(others, values []Value) []float64 {
	total := 0.0
	for i := range others {
		total += others[i].Weight
	}
	out := make([]float64, len(values))
	below, i := 0.0, 0
	for j := range values {
		for i < len(others) && others[i].V < values[j].V {
			below += others[i].Weight
			i++
		}
		equal := 0.0
		for k := i; k < len(others) && others[k].V == values[j].V; k++ {
			equal += others[k].Weight
		}
		out[j] = (below + equal/2) / total
		for j+1 < len(values) && values[j+1].V == values[j].V { // many may be equal
			j++
			out[j] = out[j-1]
		}
	}
	return out
}

// mean is the weighted mean of what the values have.
func mean(values []Value, of []float64) float64 {
	sum, weight := 0.0, 0.0
	for i := range values {
		sum += values[i].Weight * of[i]
		weight += values[i].Weight
	}
	return sum / weight
}

// spread returns the variance of the mean of what the values have, and its degrees of freedom: the larger of that of independent values and that of
// batches of values one behind the other.
func spread(values []Value, of []float64) (variance, df float64) {
	n := float64(len(values))
	if n < 2 {
		return 0.25, 1 // as much as there can be
	}
	m, sum, weight := mean(values, of), 0.0, 0.0
	for i := range values {
		d := values[i].Weight * (of[i] - m)
		sum += d * d
		weight += values[i].Weight
	}
	variance, df = sum/(weight*weight)*n/(n-1), n-1
	if len(values) < batchLeast {
		return variance, df
	}
	if v := batchSpread(values, of, m, weight); v > variance {
		return v, batches - 1
	}
	return variance, df
}

// batchSpread returns the variance of the mean by the means of batches in the order of time.
func batchSpread(values []Value, of []float64, m, weight float64) float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool { return values[order[i]].Order < values[order[j]].Order })
	sum := 0.0
	for b := range batches {
		from, to := b*len(order)/batches, (b+1)*len(order)/batches
		d := 0.0
		for _, i := range order[from:to] {
			d += values[i].Weight * (of[i] - m)
		}
		sum += d * d
	}
	return sum / (weight * weight) * batches / (batches - 1)
}

// exactRanks returns how likely a rank sum of a is that is as far from its mean, over all ways to choose the values of a among all. Both are in order.
func exactRanks(a, b []Value) float64 {
	all := make([]Value, 0, len(a)+len(b))
	all = append(append(all, a...), b...)
	inA := make(map[float64]int, len(a))
	for _, v := range a {
		inA[v.V]++
	}
	all = sorted(all)
	// Twice the mid-ranks are whole numbers.
	ranks, observed := make([]int, len(all)), 0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].V == all[i].V {
			j++
		}
		for k := i; k < j; k++ {
			ranks[k] = i + 1 + j
		}
		observed += inA[all[i].V] * (i + 1 + j)
		i = j
	}
	// ways[k][s] is the probability, so far, that k ranks chosen of those that were looked at have the sum s.
	limit, mean := 0, 0.0
	for i, r := range ranks {
		if mean += float64(r); i >= len(b) {
			limit += r // that of the highest ranks
		}
	}
	ways := make([][]float64, len(a)+1)
	for k := range ways {
		ways[k] = make([]float64, limit+1)
	}
	ways[0][0] = 1
	sum := 0
	for i, r := range ranks {
		sum = min(sum+r, limit)
		for k := min(i+1, len(a)); k >= 1; k-- {
			for s := sum; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	total, far := 0.0, 0.0
	expected := mean * float64(len(a)) / float64(len(all))
	for s, w := range ways[len(a)] {
		total += w
		if math.Abs(float64(s)-expected) >= math.Abs(float64(observed)-expected)-1e-9 {
			far += w
		}
	}
	return math.Min(1, far/total)
}

// fisherMost is up to how many of the rarer outcome Fisher's test is worked out; beyond it the likelihood ratio is as good.
const fisherMost = 20_000

// Shares tests whether a share differs: hits of n on either side. It is Fisher's exact test, on both sides; of very large numbers the likelihood ratio
// (G).
func Shares(hitsBefore, nBefore, hitsAfter, nAfter int64) float64 {
	hits, n := hitsBefore+hitsAfter, nBefore+nAfter
	if nBefore <= 0 || nAfter <= 0 || hits == 0 || hits == n {
		return 1
	}
	if min(hits, n-hits) > fisherMost {
		g := 0.0
		for _, c := range [...][3]int64{{hitsBefore, nBefore, hits}, {nBefore - hitsBefore, nBefore, n - hits}, {hitsAfter, nAfter, hits}, {nAfter - hitsAfter, nAfter, n - hits}} {
			if c[0] > 0 {
				g += 2 * float64(c[0]) * math.Log(float64(c[0])*float64(n)/(float64(c[1])*float64(c[2])))
			}
		}
		return math.Erfc(math.Sqrt(math.Max(g, 0) / 2))
	}
	if hits > n-hits { // the rarer outcome has fewer terms
		hits, hitsBefore = n-hits, nBefore-hitsBefore
	}
	low, high := max(0, hits-nAfter), min(hits, nBefore)
	log := func(k int64) float64 {
		return logChoose(int(nBefore), int(k)) + logChoose(int(nAfter), int(hits-k)) - logChoose(int(n), int(hits))
	}
	at, p := log(hitsBefore), 0.0
	for k := low; k <= high; k++ {
		if l := log(k); l <= at+1e-7 {
			p += math.Exp(l)
		}
	}
	return math.Min(1, p)
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n) + 1)
	b, _ := math.Lgamma(float64(k) + 1)
	c, _ := math.Lgamma(float64(n-k) + 1)
	return a - b - c
}

// studentTail returns the probability that Student's t is as far from 0 as t, on either side.
func studentTail(t, df float64) float64 {
	return incompleteBeta(df/2, 0.5, df/(df+t*t))
}

// incompleteBeta is the regularized incomplete beta function, by its continued fraction (Lentz's method; DLMF 8.17.22).
func incompleteBeta(a, b, x float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2): // where the fraction converges fast
		return 1 - incompleteBeta(b, a, 1-x)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(a*math.Log(x)+b*math.Log1p(-x)+lab-la-lb) / a
	const tiny = 1e-300
	c, d := 1.0, 0.0
	f := 1.0
	for i := range 500 {
		m := float64(i / 2)
		var term float64
		switch {
		case i == 0:
			term = 1
		case i%2 == 0:
			term = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		default:
			term = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		if d = 1 + term*d; math.Abs(d) < tiny {
			d = tiny
		}
		if c = 1 + term/c; math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		f *= c * d
		if math.Abs(1-c*d) < 1e-14 {
			break
		}
	}
	return front * (f - 1)
}

// Adjust returns the probabilities corrected for their number, by Benjamini and Hochberg (J. R. Statist. Soc. B 57, 1995): of those that are below
// alpha then, at most the share alpha is expected to be chance, and where nothing differs, anything is found with the probability alpha at most.
func Adjust(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool { return p[order[i]] < p[order[j]] })
	q := make([]float64, len(p))
	least := 1.0
	for rank := len(order); rank >= 1; rank-- {
		i := order[rank-1]
		least = math.Min(least, p[i]*float64(len(p))/float64(rank))
		q[i] = least
	}
	return q
}

// Quantile is a part of the values of a side, with an interval that holds the true one with a confidence of 95 %. Low or High is NaN where the
// values are too few to tell.
type Quantile struct{ At, Low, High float64 }

// Quantiles returns quantiles (0 to 1) of values: the smallest value that so great a share of the weight doesn't exceed. The intervals are those of order
// statistics: from the binomial distribution, whatever that of the values is.
func Quantiles(values []Value, wanted ...float64) []Quantile {
	v := sorted(values)
	total, squares := 0.0, 0.0
	for i := range v {
		total += v[i].Weight
		squares += v[i].Weight * v[i].Weight
	}
	n := total * total / squares // how many equal ones would tell as much
	out := make([]Quantile, len(wanted))
	for k, q := range wanted {
		if len(v) == 0 {
			out[k] = Quantile{math.NaN(), math.NaN(), math.NaN()}
			continue
		}
		low, high := orderBounds(int(n), q)
		out[k] = Quantile{At: at(v, q*total), Low: math.NaN(), High: math.NaN()}
		if low >= 1 {
			out[k].Low = at(v, float64(low)/n*total)
		}
		if high <= int(n) {
			out[k].High = at(v, float64(high)/n*total)
		}
	}
	return out
}

// at returns the smallest value that a weight of all doesn't exceed.
func at(v []Value, weight float64) float64 {
	sum := 0.0
	for i := range v {
		if sum += v[i].Weight; sum >= weight-1e-9 {
			return v[i].V
		}
	}
	return v[len(v)-1].V
}

// orderBounds returns which of n values in order enclose a quantile with a confidence of 95 %, counted from 1: 0 and n+1 for none.
func orderBounds(n int, q float64) (low, high int) {
	// The number of values below the quantile is binomial.
	expected, sigma := float64(n)*q, math.Sqrt(float64(n)*q*(1-q))
	first := max(int(expected-12*sigma)-1, 0) // below it there is nothing to speak of
	cumulated := 0.0
	low, high = first, n+1
	for k := first; k <= n; k++ {
		cumulated += math.Exp(logChoose(n, k) + float64(k)*math.Log(q) + float64(n-k)*math.Log1p(-q))
		if cumulated <= 0.025 {
			low = k + 1
		}
		if cumulated >= 0.975 {
			return low, k + 1
		}
	}
	return low, high
}

// Difference returns the interval of the difference after - before of two quantiles, with a confidence of about 95 %: both distances from the quantiles,
// squared and added (Zou and Donner, Statistics in Medicine 27, 2008). NaN where an end isn't known.
func Difference(before, after Quantile) (low, high float64) {
	d := after.At - before.At
	return d - math.Hypot(after.At-after.Low, before.High-before.At), d + math.Hypot(after.High-after.At, before.At-before.Low)
}
