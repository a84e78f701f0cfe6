package replay

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/culprit-http/culprit/internal/compare"
	"github.com/culprit-http/culprit/internal/exchange"
)

// The limits of what a Summary keeps.
const (
	// MaxGroups is how many differences are told apart by kind, place and route, and MaxRoutes how many routes have latencies of their own.
	MaxGroups, MaxRoutes = 2000, 2000
	// maxSamples is how many latencies of a route are kept, each standing for as many.
	maxSamples = 4096
)

// Group is what differs in the same way.
type Group struct {
	Kind Kind
	// Route is the method and the route; Where the header or the place in a document.
	Route, Where string
	// Recorded and Replayed are the status codes of Status, and the reason of NoAnswer; of others they are the example's.
	Recorded, Replayed string
	Count              uint64
	// Example is the first one, without secrets; At its very place.
	Example, At, Target string
}

type groupKey struct {
	kind         Kind
	route, where string
	was, is      string
}

// Latency is the latencies of a route, or of all, in nanoseconds.
type Latency struct {
	Route              string
	Count              uint64
	Recorded, Replayed Quantiles
	// P is the probability of such a difference if there is none, corrected for the number of routes; Shift says whether it counts.
	P     float64
	Shift Shift
}

// Quantiles are quantiles of latencies, in nanoseconds.
type Quantiles struct {
	P50 int64 `json:"p50"`
	P90 int64 `json:"p90"`
	P99 int64 `json:"p99"`
}

// Summary is what came of a run. It isn't safe for concurrent use.
type Summary struct {
	// Sent counts requests; of these, Failed got no answer, or not all of it. Same and Different were compared, and all that Failed are among Different; Uncompared weren't, since the
	// recording has none. Partly counts those of which bodies could be compared in part only, or not at all.
	Sent, Failed, Same, Different, Uncompared, Partly uint64
	// Again counts requests that were sent on a new connection, since the server had closed the one before; Waited those that were late since an answer before them was, or
	// for lack of a slot. HTTP2 counts those that were streams of HTTP/2.
	Again, Waited, HTTP2 uint64
	// Late are how much later than due requests were sent, in nanoseconds; Timed counts those that were due at some time.
	Late    Quantiles
	LateMax int64
	Timed   uint64
	// More counts differences that found no room among MaxGroups.
	More uint64

	// Redact hides the secrets of an exchange where secrets are shown otherwise: an answer whose secrets had been hidden in the recording is compared with what
	// it would be had they been hidden, too. nil: they differ.
	Redact func(x *exchange.Exchange)

	comparer *comparer
	hide     func(x *exchange.Exchange)
	groups   map[groupKey]*Group
	routes   map[string]*pairs
	all      pairs
	late     samples
}

// NewSummary returns an empty Summary. hide hides the secrets of an exchange; nil: they are shown.
func NewSummary(rules *Rules, hide func(x *exchange.Exchange)) *Summary {
	return &Summary{comparer: newComparer(rules), hide: hide, groups: map[groupKey]*Group{}, routes: map[string]*pairs{}}
}

// Add takes an outcome, and returns what differs, without its secrets.
func (s *Summary) Add(o *Outcome) []Finding {
	shown := o
	if len(o.Findings) > 0 {
		hide, redacted := s.hide, o.Item.Answer.redacted()
		if hide == nil && redacted {
			hide = s.Redact
		}
		if hide != nil {
			shown = o.hidden(s.comparer, hide)
		}
		if redacted {
			o.Findings = shown.Findings
		}
	}
	s.Sent++
	if o.HTTP2 {
		s.HTTP2++
	}
	if o.Again {
		s.Again++
	}
	if o.Late >= 0 {
		s.Timed++
		s.late.add(o.Late)
		s.LateMax = max(s.LateMax, o.Late)
		if o.Waited {
			s.Waited++
		}
	}
	if o.Err != nil {
		s.Failed++
	}
	switch {
	case len(o.Findings) > 0:
		s.Different++
	case !o.Compared:
		s.Uncompared++
	default:
		s.Same++
	}
	if o.Compared && o.Err == nil && partly(&o.Item.Answer.Body, &o.Answer.Body) {
		s.Partly++
	}
	if d := o.Duration(); d >= 0 && o.Item.Duration >= 0 {
		s.all.add(o.Item.Duration, d)
		s.route(o.Item).add(o.Item.Duration, d)
	}
	for i := range o.Findings {
		s.find(shown, &o.Findings[i], &shown.Findings[i])
	}
	return shown.Findings
}

func partly(was, now *Body) bool {
	return was.State == NotKept || was.State == Cut || now.State == Cut || (was.State == Coded) != (now.State == Coded)
}

func routeOf(it *Item) string { return it.Method + " " + it.Route }

func (s *Summary) route(it *Item) *pairs {
	name := routeOf(it)
	p := s.routes[name]
	if p == nil {
		if len(s.routes) >= MaxRoutes {
			return &pairs{}
		}
		p = &pairs{}
		s.routes[name] = p
	}
	return p
}

func (s *Summary) find(o *Outcome, f, shown *Finding) {
	key := groupKey{kind: f.Kind, route: routeOf(o.Item), where: f.Where}
	switch f.Kind {
	case Status:
		key.was, key.is = f.Recorded, f.Replayed
	case NoAnswer:
		key.is = f.Replayed
	}
	g := s.groups[key]
	if g == nil {
		if len(s.groups) >= MaxGroups {
			s.More++
			return
		}
		g = &Group{
			Kind: f.Kind, Route: key.route, Where: f.Where, Recorded: shown.Recorded, Replayed: shown.Replayed, Example: o.Item.exchangeID(), At: f.At,
			Target: o.Item.Target,
		}
		s.groups[key] = g
	}
	g.Count++
}

// Groups returns the differences: by kind, those that there are most of first.
func (s *Summary) Groups() []*Group {
	all := slices.Collect(maps.Values(s.groups))
	slices.SortFunc(all, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Where, b.Where),
			cmp.Compare(a.Recorded, b.Recorded), cmp.Compare(a.Replayed, b.Replayed))
	})
	return all
}

// Finish makes the quantiles of how late requests were.
func (s *Summary) Finish() { s.Late = s.late.quantiles() }

// Latencies returns the latencies of all routes, and of each, those with the most requests first.
func (s *Summary) Latencies() (all Latency, routes []Latency) {
	one := []Latency{s.all.latency("")}
	judge(one)
	for name, p := range s.routes {
		routes = append(routes, p.latency(name))
	}
	judge(routes)
	slices.SortFunc(routes, func(a, b Latency) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Route, b.Route)) })
	return one[0], routes
}

// samples keeps values, evenly among all that came: when there are too many, every second goes, and from then on every second is taken.
type samples struct {
	kept  []int64
	every uint64
	count uint64
}

func (s *samples) add(v int64) {
	if s.every == 0 {
		s.every = 1
	}
	if s.count++; (s.count-1)%s.every != 0 {
		return
	}
	if len(s.kept) == maxSamples {
		half := s.kept[:0]
		for i := 0; i < maxSamples; i += 2 {
			half = append(half, s.kept[i])
		}
		s.kept = half
		s.every *= 2
		if (s.count-1)%s.every != 0 {
			return
		}
	}
	s.kept = append(s.kept, v)
}

func (s *samples) quantiles() (q Quantiles) {
	if len(s.kept) == 0 {
		return q
	}
	sorted := slices.Sorted(slices.Values(s.kept))
	at := func(p float64) int64 { return sorted[max(int(math.Ceil(p*float64(len(sorted))))-1, 0)] }
	return Quantiles{at(0.5), at(0.9), at(0.99)}
}

// pairs are latencies of the same requests then and now.
type pairs struct{ was, is samples }

func (p *pairs) add(was, is int64) {
	p.was.add(was)
	p.is.add(is)
}

// Shift says how latencies have changed.
type Shift int8

// The shifts.
const (
	Faster Shift = iota - 1
	Alike
	Slower
)

func (s Shift) String() string { return [...]string{"faster", "alike", "slower"}[s+1] }

// What counts as a shift: the ranks say that as little is due to chance as alpha, over all routes (Benjamini and Hochberg), and the medians differ by as
// much as can matter.
const (
	alpha      = 0.01
	minSamples = 20
	minRatio   = 1.25
	minShift   = 2_000_000 // ns
)

// latency sums up, but for the shift.
func (p *pairs) latency(route string) Latency {
	l := Latency{Route: route, Count: p.was.count, Recorded: p.was.quantiles(), Replayed: p.is.quantiles(), P: 1}
	if len(p.was.kept) >= minSamples {
		l.P = compare.Ranks(p.was.values(), p.is.values()).P
	}
	return l
}

// values are the samples as the test wants them.
func (s *samples) values() []compare.Value {
	all := make([]compare.Value, len(s.kept))
	for i, v := range s.kept {
		all[i] = compare.Value{V: float64(v), Weight: 1, Order: int64(i)}
	}
	return all
}

// judge says how latencies have shifted, where their probabilities count together.
func judge(all []Latency) {
	p := make([]float64, len(all))
	for i := range all {
		p[i] = all[i].P
	}
	for i, adjusted := range compare.Adjust(p) {
		l := &all[i]
		l.P = adjusted
		was, is := l.Recorded.P50, l.Replayed.P50
		low, high := min(was, is), max(was, is)
		if adjusted >= alpha || high-low < minShift || float64(high) < minRatio*float64(low) {
			continue
		}
		if l.Shift = Faster; is > was {
			l.Shift = Slower
		}
	}
}
