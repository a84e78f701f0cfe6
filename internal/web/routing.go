package web

import (
	"math"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/correlate/routing"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

const (
	// DefaultRoutes is how many routes are given, unless told, and MaxRoutes how many may be.
	DefaultRoutes, MaxRoutes = 50, 500
	// MaxRouted is how many exchanges chains are made of: the newest of the time that is asked about.
	MaxRouted = 20_000
	// MaxStepsGiven is how many hops the chains of a route have in an answer.
	MaxStepsGiven = 64
)

// routedView is the JSON of a host and route, with the ways that its requests took.
type routedView struct {
	Host    text         `json:"host"`
	Route   text         `json:"route"`
	Methods []methodView `json:"methods"`
	routeFigures
	// Steps are the hops, each followed by those that came after it. MoreSteps are left out.
	Steps     []stepView `json:"steps"`
	MoreSteps int        `json:"more_steps"`
}

type methodView struct {
	Method text  `json:"method"`
	Count  int64 `json:"count"`
}

// routeFigures are those of exchanges; durations are nanoseconds.
type routeFigures struct {
	Count     int64  `json:"count"`
	Errors    int64  `json:"errors"`
	P50       number `json:"p50"`
	P99       number `json:"p99"`
	TotalTime int64  `json:"total_time"`
}

// stepView is the JSON of a hop in one place of the chains of a route.
type stepView struct {
	Depth    int    `json:"depth"`
	Name     text   `json:"name"`
	Protocol string `json:"protocol"`
	// Route is the route that it was asked for, where that is another than before.
	Route   text   `json:"route"`
	Service text   `json:"service"`
	Process text   `json:"process"`
	Tap     text   `json:"tap"`
	Server  string `json:"server"`
	// Requests had it, for Ended of them nothing came behind it. The figures are those of its exchanges.
	Requests int64 `json:"requests"`
	Ended    int64 `json:"ended"`
	routeFigures
	Unseen text `json:"unseen"`
}

// routing answers with the ways that requests took, by host and route, first what took most time together. A filter or text chooses requests by any of
// the exchanges that they caused.
func (s *Server) routing(c *call) error {
	scope, err := c.scope(s.options.QueryTimeout)
	if err != nil {
		return err
	}
	limit, err := c.number("limit", DefaultRoutes, 1, MaxRoutes)
	if err != nil {
		return err
	}
	r := s.newReading(c.Context(), "chains")
	margin := linkMargin.Nanoseconds()
	w := window{scope: scope, before: MaxRouted}
	w.scope.Where, w.scope.Text = nil, ""
	if scope.From > 0 {
		w.scope.From = max(scope.From-margin, 1)
	}
	if scope.To > 0 {
		w.scope.To = scope.To + margin
		w.split = w.scope.To
	}
	if err := r.begin(&w); err != nil {
		return err
	}
	w.border.room = 0 // a part of a nanosecond isn't worth an order of its own
	from := scope.From
	if r.truncated { // what caused them may have begun before
		from = max(from, w.border.from+rootMargin.Nanoseconds())
	}
	var chosen map[[exchange.IDSize]byte]bool
	if scope.Where != nil || scope.Text != "" {
		if chosen, err = r.choose(&w, &scope); err != nil {
			return err
		}
	}

	chains := routing.NewMap(routing.Options{Routes: s.routes})
	linker := hops.New(hops.Options{}, func(t *hops.Tree) {
		if start := t.Root.Span.Start; start < from || scope.To > 0 && start >= scope.To {
			return
		}
		if chosen == nil || slices.ContainsFunc(idsOf(t), func(id [exchange.IDSize]byte) bool { return chosen[id] }) {
			chains.Add(t)
		}
	})
	looked := 0
	q := store.Search{Sort: exchange.Lookup("event.end")} // as the linker wants them
	if err := r.each(&w, &q, func(x *exchange.Exchange) error {
		looked++
		linker.Add(x)
		return nil
	}); err != nil {
		return err
	}
	linker.Flush()

	all := chains.Entries()
	answer := struct {
		Routes []routedView `json:"routes"`
		// More routes there are beyond the limit.
		More int `json:"more"`
		// Requests were counted, Others of them beyond the routes that are told apart. Apart are exchanges that no request was seen for.
		Requests int64 `json:"requests"`
		Others   int64 `json:"others"`
		Apart    int64 `json:"apart"`
		LookedAt int   `json:"looked_at"`
		// Truncated: there were more, older ones.
		Truncated bool `json:"truncated"`
		Cost      cost `json:"cost"`
	}{
		[]routedView{}, max(len(all)-limit, 0), chains.Counts.Requests, chains.Counts.Others, chains.Counts.Apart, looked, r.truncated, costOf(r.cost),
	}
	for _, e := range all[:min(len(all), limit)] {
		answer.Routes = append(answer.Routes, routedOf(e))
	}
	return c.json(&answer)
}

// idsOf are the ids of all observations in a tree.
func idsOf(t *hops.Tree) (all [][exchange.IDSize]byte) {
	t.All(func(n *hops.Node) bool {
		for _, s := range n.Seen {
			all = append(all, s.ID)
		}
		return true
	})
	return all
}

func routedOf(e *routing.Entry) routedView {
	v := routedView{Host: text(e.Host), Route: text(e.Route), Methods: []methodView{}, routeFigures: routeFiguresOf(&e.Figures), Steps: []stepView{}}
	for method, n := range e.Methods {
		v.Methods = append(v.Methods, methodView{text(method), n})
	}
	slices.SortFunc(v.Methods, func(a, b methodView) int {
		if a.Count != b.Count {
			return int(b.Count - a.Count)
		}
		return strings.Compare(string(a.Method), string(b.Method))
	})
	v.add(e.First, 0)
	return v
}

// add adds hops, those first that most requests had, and behind each what came after it.
func (v *routedView) add(steps []*routing.Step, depth int) {
	steps = slices.Clone(steps)
	slices.SortStableFunc(steps, func(a, b *routing.Step) int { return int(b.Requests - a.Requests) })
	for _, s := range steps {
		if len(v.Steps) == MaxStepsGiven {
			v.MoreSteps++
		} else {
			h := &s.Hop
			v.Steps = append(v.Steps, stepView{
				Depth: depth, Name: text(h.Name), Protocol: h.Protocol, Route: text(h.Route), Service: text(h.Service), Process: text(h.Process), Tap: text(h.Tap),
				Server: h.Address.String(), Requests: s.Requests, Ended: s.Ended, routeFigures: routeFiguresOf(&s.Calls), Unseen: text(s.Unseen),
			})
		}
		v.add(s.Next, depth+1)
	}
}

func routeFiguresOf(f *routing.Figures) routeFigures {
	quantile := func(q float64) number {
		if f.Durations != nil {
			if ns, ok := f.Durations.Quantile(q); ok {
				return number(ns)
			}
		}
		return number(math.NaN())
	}
	return routeFigures{f.Count, f.Errors, quantile(0.5), quantile(0.99), f.Total}
}
