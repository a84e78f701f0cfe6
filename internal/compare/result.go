package compare

import (
	"cmp"
	"math"
	"slices"
)

// Aspect is what of an endpoint is compared.
type Aspect uint8

// The aspects. Those of times are of all values, and of the slowest twentieth and hundredth.
const (
	Time Aspect = iota
	TimeP95
	TimeP99
	Outcome
	RequestSize
	ResponseSize
	Presence
)

var aspects = [...]string{"time", "time p95", "time p99", "outcome", "request size", "response size", "presence"}

func (a Aspect) String() string { return aspects[a] }

// Verdict is what became of an endpoint.
type Verdict uint8

// The verdicts. Appeared and Vanished endpoints are those of which it isn't chance that they are on one side only.
const (
	Alike Verdict = iota
	Differs
	Appeared
	Vanished
	// TooFew: nothing was found, and a side has fewer than LeastValues exchanges, so that this says little.
	TooFew
)

var verdicts = [...]string{"alike", "differs", "new", "gone", "too few"}

func (v Verdict) String() string { return verdicts[v] }

// LeastValues is how many values either side needs for times and sizes to be compared.
const LeastValues = 10

// The quantiles that are shown.
var shown = [...]float64{0.50, 0.95, 0.99}

// tails are the aspects of the ends of the distribution: the index in shown, and how many values of both sides together it takes.
var tails = [...]struct {
	aspect Aspect
	index  int
	least  int
}{{TimeP95, 1, 100}, {TimeP99, 2, 500}}

// Result is what a comparison found.
type Result struct {
	Sides [2]Totals
	// Endpoints are all, the worst first.
	Endpoints []Endpoint
	// Tests is how many tests there were, all together.
	Tests int
	// Verdicts counts the endpoints by verdict.
	Verdicts [TooFew + 1]int
	Options  Options
}

// Found reports whether anything differs that isn't chance.
func (r *Result) Found() bool {
	return r.Verdicts[Differs]+r.Verdicts[Appeared]+r.Verdicts[Vanished] > 0
}

// Endpoint is one endpoint on both sides.
type Endpoint struct {
	Protocol, Host, Verb, Subject string
	Sides                         [2]Figures
	Verdict                       Verdict
	// Findings are all tests, the worst difference first.
	Findings []Finding
}

// Figures are those of one side of an endpoint.
type Figures struct {
	// Exchanges were seen, and stand for Count; Rate is Count a second of the side, NaN where that isn't known.
	Exchanges, Count int64
	Rate             float64
	Outcomes         []Counted
	// Timed is of how many exchanges the times count. Times are p50, p95 and p99, in nanoseconds; sizes their medians, in bytes; NaN where there
	// are none.
	Timed                     int64
	Times                     [3]Quantile
	RequestSize, ResponseSize Quantile
	// Sampled: not all values were kept; the figures are those of a sample.
	Sampled bool
}

// Counted is an outcome, and how many exchanges ended so.
type Counted struct {
	Name   string
	Failed bool
	Count  int64
}

// Finding is one test.
type Finding struct {
	Aspect Aspect
	// Outcome is which, of that aspect. Failed: it is a failure.
	Outcome string
	Failed  bool
	// Before and After are in nanoseconds or bytes, or shares of the exchanges; of the aspect of presence they count. Low and High enclose their
	// difference with a confidence of about 95 %, NaN where that isn't known.
	Before, After, Low, High float64
	// Effect is Shift.Effect, NaN where it doesn't apply.
	Effect float64
	// P is the probability of such a difference by chance, Q that corrected for the number of tests.
	P, Q float64
	// Significant: Q is below alpha, and the change is large enough.
	Significant bool
}

// Change returns the relative change: 0.5 is half as much again. It is infinite from 0.
func (f *Finding) Change() float64 {
	if f.Before == f.After {
		return 0
	}
	return f.After/f.Before - 1
}

// Worse reports whether after is worse than before: slower, or failing more often.
func (f *Finding) Worse() bool {
	switch f.Aspect {
	case Time, TimeP95, TimeP99:
		return f.After > f.Before
	case Outcome:
		return f.Failed == (f.After > f.Before)
	}
	return false
}

// Result evaluates what was added.
func (c *Comparison) Result() *Result {
	r := &Result{Sides: c.totals, Options: c.options}
	var seconds [2]float64
	var named [2]int64 // exchanges that belong to an endpoint
	for side := range r.Sides {
		t := &r.Sides[side]
		seconds[side] = float64(t.To-t.From) / 1e9
		named[side] = t.Exchanges - t.Apart
	}
	for k, t := range c.endpoints {
		e := Endpoint{Protocol: k.protocol, Host: k.host, Verb: k.verb, Subject: k.subject}
		for side := range t.sides {
			e.Sides[side] = t.sides[side].figures(seconds[side])
		}
		e.Findings = findings(t, named)
		r.Endpoints = append(r.Endpoints, e)
	}
	slices.SortFunc(r.Endpoints, byName)
	r.adjust()
	for i := range r.Endpoints {
		e := &r.Endpoints[i]
		e.judge(&c.options)
		r.Verdicts[e.Verdict]++
	}
	slices.SortStableFunc(r.Endpoints, func(a, b Endpoint) int {
		x, y := severity(&a), severity(&b)
		for i := range x {
			if d := cmp.Compare(y[i], x[i]); d != 0 {
				return d
			}
		}
		return 0
	})
	return r
}

func byName(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Verb, b.Verb))
}

// figures are those of a side.
func (h *half) figures(seconds float64) Figures {
	f := Figures{Exchanges: h.exchanges, Count: h.count, Rate: math.NaN(), Timed: h.times.seen}
	if seconds > 0 {
		f.Rate = float64(h.count) / seconds
	}
	for _, o := range h.outcomes {
		f.Outcomes = append(f.Outcomes, Counted{o.name, o.failed, o.weights})
	}
	slices.SortFunc(f.Outcomes, func(a, b Counted) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	copy(f.Times[:], Quantiles(h.times.all(), shown[:]...))
	f.RequestSize, f.ResponseSize = Quantiles(h.requests.all(), 0.5)[0], Quantiles(h.responses.all(), 0.5)[0]
	f.Sampled = h.times.sampled() || h.requests.sampled() || h.responses.sampled()
	return f
}

// findings makes all tests of an endpoint. named are the exchanges of each side that belong to an endpoint.
func findings(t *tally, named [2]int64) (all []Finding) {
	before, after := &t.sides[Before], &t.sides[After]
	if before.exchanges == 0 || after.exchanges == 0 {
		return []Finding{{
			Aspect: Presence, Before: float64(before.count), After: float64(after.count), Low: math.NaN(), High: math.NaN(), Effect: math.NaN(),
			P: Shares(before.exchanges, named[Before], after.exchanges, named[After]),
		}}
	}
	all = append(all, outcomes(before, after)...)
	if len(before.times.values) >= LeastValues && len(after.times.values) >= LeastValues {
		all = append(all, times(before.times.all(), after.times.all())...)
	}
	for _, s := range [...]struct {
		aspect        Aspect
		before, after *sample
	}{{RequestSize, &before.requests, &after.requests}, {ResponseSize, &before.responses, &after.responses}} {
		if len(s.before.values) < LeastValues || len(s.after.values) < LeastValues {
			continue
		}
		if a, b := s.before.all(), s.after.all(); !constant(a, b) {
			all = append(all, shifted(s.aspect, a, b, 0.5))
		}
	}
	return all
}

// constant reports whether all values are the same: then there is nothing to test.
func constant(before, after []Value) bool {
	other := func(v Value) bool { return v.V != before[0].V }
	return !slices.ContainsFunc(before, other) && !slices.ContainsFunc(after, other)
}

// shifted tests whether values are larger on one side, and shows a quantile of them.
func shifted(a Aspect, before, after []Value, q float64) Finding {
	s := Ranks(before, after)
	f := Finding{Aspect: a, P: s.P, Effect: s.Effect}
	f.show(Quantiles(before, q)[0], Quantiles(after, q)[0])
	return f
}

// show sets what a finding shows.
func (f *Finding) show(before, after Quantile) {
	f.Before, f.After = before.At, after.At
	f.Low, f.High = Difference(before, after)
}

// times tests the times of an endpoint: all of them, and whether there are more slow ones.
func times(before, after []Value) []Finding {
	all := []Finding{shifted(Time, before, after, 0.5)}
	a, b := Quantiles(before, shown[:]...), Quantiles(after, shown[:]...)
	for _, t := range tails {
		if len(before)+len(after) < t.least {
			continue
		}
		// Where neither side differs, either has the same share beyond the quantile of both.
		limit := Quantiles(slices.Concat(before, after), shown[t.index])[0].At
		hitsA, nA := beyond(before, limit)
		hitsB, nB := beyond(after, limit)
		f := Finding{Aspect: t.aspect, P: Shares(hitsA, nA, hitsB, nB), Effect: math.NaN()}
		f.show(a[t.index], b[t.index])
		all = append(all, f)
	}
	return all
}

// beyond counts the values beyond a limit, and all, as many as independent ones would tell as much: fewer, where values close in time are alike.
func beyond(values []Value, limit float64) (hits, n int64) {
	is := make([]float64, len(values))
	weight, squares := 0.0, 0.0
	for i, v := range values {
		if v.V > limit {
			is[i] = 1
		}
		weight += v.Weight
		squares += v.Weight * v.Weight
	}
	share := mean(values, is)
	effective := weight * weight / squares
	if variance, _ := spread(values, is); variance > 0 {
		effective = math.Min(effective, share*(1-share)/variance)
	}
	return int64(math.Round(share * effective)), int64(math.Round(effective))
}

// outcomes tests each outcome but the commonest, whose share follows from the others'.
func outcomes(before, after *half) (all []Finding) {
	type pair struct{ sides [2]outcome }
	var names []string
	byName := map[string]*pair{}
	var total [2]outcome
	for side, h := range [...]*half{before, after} {
		for _, o := range h.outcomes {
			if byName[o.name] == nil {
				byName[o.name] = &pair{}
				names = append(names, o.name)
			}
			byName[o.name].sides[side] = o
			total[side].weights += o.weights
			total[side].squares += o.squares
		}
	}
	if total[0].weights == 0 || total[1].weights == 0 {
		return nil
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := byName[a], byName[b]
		return cmp.Or(cmp.Compare(y.sides[0].weights+y.sides[1].weights, x.sides[0].weights+x.sides[1].weights), cmp.Compare(a, b))
	})
	if len(names) < 2 {
		return nil
	}
	for _, name := range names[1:] {
		p := byName[name]
		f := Finding{Aspect: Outcome, Outcome: name, Failed: p.sides[0].failed || p.sides[1].failed, Effect: math.NaN()}
		var hits, n [2]int64
		var share, variance [2]float64
		for side := range p.sides {
			w := float64(total[side].weights)
			share[side] = float64(p.sides[side].weights) / w
			effective := w * w / float64(total[side].squares)
			variance[side] = share[side] * (1 - share[side]) / effective
			hits[side], n[side] = int64(math.Round(share[side]*effective)), int64(math.Round(effective))
		}
		f.Before, f.After = share[0], share[1]
		margin := 1.96 * math.Sqrt(variance[0]+variance[1])
		f.Low, f.High = share[1]-share[0]-margin, share[1]-share[0]+margin
		f.P = Shares(hits[0], n[0], hits[1], n[1])
		all = append(all, f)
	}
	return all
}

// adjust corrects all tests for how many they are.
func (r *Result) adjust() {
	var p []float64
	for i := range r.Endpoints {
		for _, f := range r.Endpoints[i].Findings {
			p = append(p, f.P)
		}
	}
	r.Tests = len(p)
	q := Adjust(p)
	for i := range r.Endpoints {
		for j := range r.Endpoints[i].Findings {
			r.Endpoints[i].Findings[j].Q = q[0]
			q = q[1:]
		}
	}
}

// leastShare is the least difference of shares that counts: one in a thousand.
const leastShare = 0.001

// judge says what is significant, and what that makes of the endpoint.
func (e *Endpoint) judge(o *Options) {
	e.Verdict = TooFew
	if min(e.Sides[Before].Exchanges, e.Sides[After].Exchanges) >= LeastValues {
		e.Verdict = Alike
	}
	for i := range e.Findings {
		f := &e.Findings[i]
		large := math.Abs(f.Change()) >= o.Change
		if f.Aspect == Outcome {
			large = math.Abs(f.After-f.Before) >= leastShare
		}
		f.Significant = f.Q < o.Alpha && large
	}
	for i := range e.Findings {
		f := &e.Findings[i]
		switch {
		case !f.Significant:
		case f.Aspect != Presence:
			e.Verdict = Differs
		case f.Before == 0:
			e.Verdict = Appeared
		default:
			e.Verdict = Vanished
		}
	}
	slices.SortStableFunc(e.Findings, func(a, b Finding) int {
		x, y := rank(&a), rank(&b)
		return cmp.Compare(y, x)
	})
}

// rank orders the findings of an endpoint: significant failures, then times, and so on.
func rank(f *Finding) int {
	n := 0
	if f.Significant {
		n = 100
	}
	switch {
	case f.Aspect == Outcome && f.Worse():
		return n + 40
	case f.Aspect == Outcome:
		return n + 20
	case f.Aspect <= TimeP99:
		return n + 30 - int(f.Aspect)
	}
	return n + 10 - int(f.Aspect)
}

// severity orders endpoints: by what is worst of them, and then by how many exchanges that concerns.
func severity(e *Endpoint) [2]float64 {
	class := map[Verdict]float64{Differs: 3, Vanished: 5, Appeared: 4, TooFew: 1, Alike: 2}[e.Verdict]
	much := float64(e.Sides[Before].Count + e.Sides[After].Count)
	if e.Verdict == Differs {
		for i := range e.Findings {
			f := &e.Findings[i]
			if !f.Significant || !f.Worse() {
				continue
			}
			if f.Aspect == Outcome {
				class = max(class, 7)
				much = math.Abs(f.After-f.Before) * float64(e.Sides[After].Count)
				break
			}
			if class < 6 {
				class = 6
				much = (f.After - f.Before) * float64(e.Sides[After].Count)
			}
		}
	}
	return [2]float64{class, much}
}
