package routing

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
)

// Limits of a Map.
const (
	// MaxRoutes is how many hosts with a route are told apart. Requests of further ones are counted in Counts.Others.
	MaxRoutes = 2000
	// MaxSteps is how many different hops the chains of one route may have. Calls beyond them are counted in Counts.Cut.
	MaxSteps = 256
	// maxMethods is how many methods of a route are told apart.
	maxMethods = 16
	// maxPaths is how many different chains of a request are compared with what is expected.
	maxPaths = 64
)

// Quantiles are those that figures tell.
var Quantiles = []float64{0.5, 0.99}

// Figures are what a number of exchanges amount to.
type Figures struct {
	// Count exchanges, of which Errors failed.
	Count, Errors int64
	// Total is how long they took together, in nanoseconds. Durations is the distribution; streams and what was seen from one
	// side only are in neither. Nil: no duration is known.
	Total     int64
	Durations measure.Sketch
}

// Step is a hop that chains of a route have in one place.
type Step struct {
	Hop Hop
	// Requests had it; in Ended of them it was the last of a chain.
	Requests, Ended int64
	// Calls are the figures of the exchanges. A request may make several of the same.
	Calls Figures
	// Unseen is why the chain goes on where no packet was seen, for one of the calls; empty: there is no sign of that.
	Unseen string
	// Next are the hops behind it.
	Next []*Step

	label string
	// seen and ended are the numbers of the requests that had it last, and in which it was the last.
	seen, ended int64
}

// Entry is what is known of a route.
type Entry struct {
	// Host is the virtual host that was asked for, Route the template of the path.
	Host, Route string
	// Methods counts requests by method.
	Methods map[string]int64
	Figures Figures
	// First are the hops that clients asked.
	First []*Step

	steps int
}

// Counts say what else there was.
type Counts struct {
	// Requests were counted, Others of them not by route, since there were MaxRoutes.
	Requests, Others int64
	// Apart are exchanges that no request was seen for, such as statements of an application whose own traffic wasn't captured.
	Apart int64
	// Cut are calls that are in no chain: see MaxSteps.
	Cut int64
}

// Map collects which way requests took. It isn't safe for concurrent use.
type Map struct {
	Counts Counts

	routes  *measure.Routes
	maker   *measure.Maker
	learner *Learner
	expect  *Expectation
	entries map[entryKey]*Entry

	buf []byte
	// of one request: the hops that walk has come by, the chains that have ended, the weakest link, and whether one goes on unseen.
	path    []Hop
	paths   [][]Hop
	weakest float64
	unseen  bool
}

type entryKey struct{ host, route string }

// Options say how a Map works.
type Options struct {
	// Routes turn paths into routes.
	Routes *measure.Routes
	// Quantiles is the kind of sketch that percentiles are told from. With a Learner it must be one that merges.
	Quantiles measure.Kind
	// Learner, if any, is shown all paths; where there is no room for a route it is asked for templates.
	Learner *Learner
	// Expectation, if any, is what requests are compared with.
	Expectation *Expectation
}

// NewMap returns an empty Map.
func NewMap(o Options) *Map {
	return &Map{routes: o.Routes, maker: measure.NewMaker(o.Quantiles, Quantiles...), learner: o.Learner, expect: o.Expectation, entries: map[entryKey]*Entry{}}
}

// Add adds what one request caused. What a client was redirected to, or tried again by itself, is a request of its own.
func (m *Map) Add(t *hops.Tree) { m.request(t.Root) }

// ofClient reports whether it was the client who made an exchange, though it stands below another: it followed that one.
func ofClient(n *hops.Node) bool {
	return n.Parent != nil && n.Earlier == n.Parent && (n.Role == hops.Redirect || n.Role == hops.Retry)
}

// request adds a request, and then those that the client made because of its answer.
func (m *Map) request(n *hops.Node) {
	if n.Family != exchange.HTTP || n.Verb == connecting {
		m.Counts.Apart++
		if m.expect != nil {
			m.expect.guess(m.hopOf(n, ""))
		}
	} else {
		m.count(n)
	}
	for _, c := range n.Children {
		if ofClient(c) {
			m.request(c)
		}
	}
}

// count counts a request.
func (m *Map) count(n *hops.Node) {
	m.Counts.Requests++
	if m.learner != nil {
		m.learn(n)
	}
	key := entryKey{strings.ToLower(n.Host), m.routeOf(n.Span)}
	e := m.entries[key]
	if e == nil && len(m.entries) >= MaxRoutes && m.learner != nil {
		m.relearn()
		key.route = m.routeOf(n.Span)
		e = m.entries[key]
	}
	switch {
	case e == nil && len(m.entries) >= MaxRoutes:
		m.Counts.Others++
	case e == nil:
		e = m.entry(key)
	}
	if e != nil {
		m.figure(&e.Figures, n)
		if e.Methods[n.Verb] > 0 || len(e.Methods) < maxMethods {
			e.Methods[n.Verb]++
		}
	}
	m.path, m.paths, m.weakest, m.unseen = m.path[:0], m.paths[:0], 1, false
	m.walk(e, nil, n, key.route)
	if m.expect != nil {
		m.expect.compare(&request{host: key.host, route: key.route, node: n, chains: m.paths, sure: m.weakest, unseen: m.unseen})
	}
}

// entry makes an entry.
func (m *Map) entry(key entryKey) *Entry {
	e := &Entry{Host: key.host, Route: key.route, Methods: map[string]int64{}}
	m.entries[key] = e
	return e
}

// figure counts an exchange.
func (m *Map) figure(f *Figures, n *hops.Node) {
	f.Count++
	if n.Failed {
		f.Errors++
	}
	if n.Stream || n.Grade == exchange.OneSided {
		return
	}
	took := max(n.Span.End-n.Span.Start, 0)
	f.Total += took
	if f.Durations == nil {
		f.Durations = m.maker.New()
	}
	f.Durations.Add(took)
}

// walk adds a hop, and all behind it. e is nil where there was no room for the route; before is the hop before it, nil for the
// first, and route that of the nearest before it that has one.
func (m *Map) walk(e *Entry, before *Step, n *hops.Node, route string) {
	hop := m.hopOf(n, route)
	if hop.Route != "" {
		route = hop.Route
	}
	m.path = append(m.path, hop)
	if len(m.path) > 1 {
		m.weakest = min(m.weakest, n.Hop.Confidence)
		if m.expect != nil && (n.Hop.Method == exchange.ByTiming || n.Hop.Confidence < MinConfidence) {
			m.expect.guess(hop)
		}
	}
	m.unseen = m.unseen || n.Unseen != ""
	var step *Step
	if e != nil {
		if step = e.step(before, &hop); step == nil {
			m.Counts.Cut++
			e = nil // what is behind it has no place either
		} else {
			if step.seen != m.Counts.Requests {
				step.seen = m.Counts.Requests
				step.Requests++
			}
			m.figure(&step.Calls, n)
			step.Unseen = cmp.Or(step.Unseen, n.Unseen)
		}
	}
	last := true
	for _, c := range n.Children {
		if c.Family == exchange.Names || ofClient(c) {
			continue
		}
		last = false
		m.walk(e, step, c, route)
	}
	if last {
		m.end(step)
	}
	m.path = m.path[:len(m.path)-1]
}

// end says that a chain has ended.
func (m *Map) end(step *Step) {
	if step != nil && step.ended != m.Counts.Requests {
		step.ended = m.Counts.Requests
		step.Ended++
	}
	if m.expect != nil && len(m.paths) < maxPaths && !slices.ContainsFunc(m.paths, func(p []Hop) bool { return slices.Equal(p, m.path) }) {
		m.paths = append(m.paths, slices.Clone(m.path))
	}
}

// step returns the step of a hop behind another, nil when there is no room for it.
func (e *Entry) step(before *Step, h *Hop) *Step {
	next := &e.First
	if before != nil {
		next = &before.Next
	}
	label := h.String()
	if i := slices.IndexFunc(*next, func(s *Step) bool { return s.label == label }); i >= 0 {
		return (*next)[i]
	}
	if e.steps >= MaxSteps {
		return nil
	}
	e.steps++
	s := &Step{Hop: *h, label: label}
	*next = append(*next, s)
	return s
}

// learn shows the paths of a request, and of those that it caused, to the learner.
func (m *Map) learn(n *hops.Node) {
	if r := m.routeOf(n.Span); r != "" {
		m.learner.Add(r)
	}
	for _, c := range n.Children {
		if !ofClient(c) {
			m.learn(c)
		}
	}
}

// relearn takes over what was learned, and puts together what is one route by that.
func (m *Map) relearn() []string {
	rules := m.learner.Rules()
	routes, err := measure.NewRoutes(rules)
	if err != nil {
		return nil // a rule that nobody may have: the routes stay as they are
	}
	m.routes = routes
	old := m.Entries()
	clear(m.entries)
	for _, e := range old {
		key := entryKey{e.Host, m.again(e.Route)}
		into := m.entries[key]
		if into == nil {
			into = m.entry(key)
		}
		for method, n := range e.Methods {
			into.Methods[method] += n
		}
		into.Figures.add(&e.Figures)
		m.join(into, nil, e.First)
	}
	return rules
}

// again returns the route of a route: one that was of words alone may be of what was learned.
func (m *Map) again(route string) string { return string(m.routes.Append(nil, []byte(route))) }

// join adds steps to those behind another.
func (m *Map) join(e *Entry, before *Step, from []*Step) {
	for _, s := range from {
		h := s.Hop
		if h.Route != "" {
			h.Route = m.again(h.Route)
		}
		step := e.step(before, &h)
		if step == nil {
			m.Counts.Cut += s.Calls.Count
			continue
		}
		step.Requests += s.Requests
		step.Ended += s.Ended
		step.Unseen = cmp.Or(step.Unseen, s.Unseen)
		step.Calls.add(&s.Calls)
		m.join(e, step, s.Next)
	}
}

// add adds other figures.
func (f *Figures) add(from *Figures) {
	f.Count += from.Count
	f.Errors += from.Errors
	f.Total += from.Total
	switch {
	case f.Durations == nil:
		f.Durations = from.Durations
	case from.Durations != nil:
		if err := f.Durations.Merge(from.Durations); err != nil {
			panic(err) // Options.Quantiles is of a kind that merges
		}
	}
}

// Learned takes over what was learned, and returns the templates that are proposed: rules of routes, as the configuration has them.
func (m *Map) Learned() []string { return m.relearn() }

// Entries returns the routes, those first that took most time.
func (m *Map) Entries() []*Entry {
	return slices.SortedFunc(maps.Values(m.entries), func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(b.Figures.Total, a.Figures.Total), cmp.Compare(b.Figures.Count, a.Figures.Count), strings.Compare(a.Host, b.Host), strings.Compare(a.Route, b.Route))
	})
}

// Ended is a chain: its hops, and the last of them.
type Ended struct {
	Hops []Hop
	Last *Step
}

// Chains returns the chains of a route, those first that most requests took.
func (e *Entry) Chains() (all []Ended) {
	var path []Hop
	var walk func(steps []*Step)
	walk = func(steps []*Step) {
		for _, s := range steps {
			path = append(path, s.Hop)
			if s.Ended > 0 {
				all = append(all, Ended{slices.Clone(path), s})
			}
			walk(s.Next)
			path = path[:len(path)-1]
		}
	}
	walk(e.First)
	slices.SortStableFunc(all, func(a, b Ended) int {
		return cmp.Or(cmp.Compare(b.Last.Ended, a.Last.Ended), cmp.Compare(b.Last.Calls.Total, a.Last.Calls.Total), strings.Compare(Chain(a.Hops), Chain(b.Hops)))
	})
	return all
}
