package routing

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
)

// Expectation is what somebody wrote down of the ways that requests are to take, and how what was seen differs from it. It isn't
// safe for concurrent use.
type Expectation struct {
	// Counts say what was compared.
	Compared ComparedCounts

	routes      []*Route
	differences map[differenceKey]*Difference
	order       []*Difference
	// guessed are hops of which a call was found by timing alone, or wasn't found a request for: any of their calls may have been made for another request.
	guessed []Hop
}

// ComparedCounts say what was compared.
type ComparedCounts struct {
	// Requests were compared.
	Requests int64
	// Incomplete weren't compared: what they caused can't be known, since the capture began or ended meanwhile, or one side wasn't seen.
	// Unsure weren't either: they have a link that is less sure than MinConfidence.
	Incomplete, Unsure int64
	// Unseen had less hops than expected, and there are signs that they went on where no packet was seen. That isn't held against them.
	Unseen int64
	// Guessed had other hops than expected, whose calls were found by timing alone, or have no request: a call may have been made for another request. That
	// isn't held against them either.
	Guessed int64
	// More differences were found than MaxDifferences.
	More int64
}

const (
	// MinConfidence is how sure each link of a request must be for its chains to be compared.
	MinConfidence = 0.9
	// MaxDifferences is how many differences are told apart.
	MaxDifferences = 1000
)

// Route is what is expected of a route.
type Route struct {
	// Host is a virtual host, *.example for those below a domain, or empty for any; Path is the template, empty for any.
	Host, Path string
	// Methods and Statuses are those that are expected, empty: any. Statuses are as 200 or 2xx.
	Methods, Statuses []string
	// Chains are the ways. Each request takes each of them, and no others.
	Chains [][]Want
	// Required: that no request was seen is a difference, too.
	Required bool
	// Line is where it stands in its file.
	Line int

	requests int64
}

// Want is a hop that is expected.
type Want struct {
	// Names are what it may be known by; one of them will do.
	Names []string
	// Route is the route that it is asked for, empty: any.
	Route string
	// Optional: it may be left out.
	Optional bool

	text     string
	networks []netip.Prefix
}

// ParseWant reads a hop: names with | between them, a question mark behind them if it may be left out, and the route that it is asked for, if that matters:
// "cache?", "app1|app2 /v1/users/{id}".
func ParseWant(text string) (w Want, err error) {
	w.text = text
	names, route, _ := strings.Cut(text, " ")
	w.Route = strings.TrimSpace(route)
	if w.Route != "" && !strings.HasPrefix(w.Route, "/") {
		return w, fmt.Errorf("hop %q: behind the name comes the route that it is asked for, which begins with /", text)
	}
	names, w.Optional = strings.CutSuffix(names, "?")
	for name := range strings.SplitSeq(names, "|") {
		if name == "" {
			return w, fmt.Errorf("hop %q: it needs a name: of a service, a process, a host, a protocol or a tap, or an address, as in 10.0.0.7:8000", text)
		}
		w.Names = append(w.Names, name)
		if network, err := netip.ParsePrefix(name); err == nil {
			w.networks = append(w.networks, network)
		} else if a, err := netip.ParseAddr(name); err == nil {
			w.networks = append(w.networks, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return w, nil
}

// String returns the hop as it was written.
func (w *Want) String() string { return w.text }

// is reports whether a hop is the one that is expected.
func (w *Want) is(h *Hop) bool {
	if w.Route != "" && w.Route != h.Route {
		return false
	}
	for _, name := range w.Names {
		if name == h.Name || name == h.Service || name == h.Process || name == h.Protocol || name == h.Tap || strings.EqualFold(name, h.Host) && h.Host != "" || name == h.Address.String() {
			return true
		}
	}
	return slices.ContainsFunc(w.networks, func(n netip.Prefix) bool { return n.Contains(h.Address.Addr()) })
}

// CheckStatus reports whether a text is a status, as 200, or a class of them, as 2xx.
func CheckStatus(text string) error {
	if n, err := strconv.Atoi(text); err == nil && n >= 100 && n <= 999 {
		return nil
	}
	if len(text) == 3 && text[0] >= '1' && text[0] <= '9' && text[1:] == "xx" {
		return nil
	}
	return fmt.Errorf("status %q: write a number, such as 200, or a class, such as 2xx", text)
}

// NewExpectation returns an Expectation of routes. The first that a request fits counts.
func NewExpectation(routes []*Route) *Expectation {
	return &Expectation{routes: routes, differences: map[differenceKey]*Difference{}}
}

// Difference is a way in which requests of a route weren't as expected.
type Difference struct {
	// Route is what was expected; nil: nothing was of that host and route, which are Host and Path.
	Route      *Route
	Host, Path string
	// What says what differs, as a sentence without an end.
	What string
	// Requests differ so; ID, Tap and Packet are of the first of them.
	Requests int64
	ID       [exchange.IDSize]byte
	Tap      string
	Packet   uint64

	about finding
}

type differenceKey struct {
	route            *Route
	host, path, what string
}

// request is a request to compare.
type request struct {
	host, route string
	node        *hops.Node
	// chains are the different ones, from the first hop to the last. sure is how sure the weakest link is; unseen: one goes on where no
	// packet was seen.
	chains [][]Hop
	sure   float64
	unseen bool
}

// compare compares a request.
func (e *Expectation) compare(r *request) {
	switch g := r.node.Grade; {
	case g == exchange.OneSided || g == exchange.Midstream || g == exchange.Gap || g == exchange.Undecryptable || g == exchange.Unanswered:
		e.Compared.Incomplete++
		return
	case r.sure < MinConfidence:
		e.Compared.Unsure++
		return
	}
	e.Compared.Requests++
	if route, what := e.find(r); route == nil {
		e.differ(r, nil, finding{what: what})
	} else {
		route.requests++
		e.compareTo(r, route)
	}
}

// maxGuessed is how many hops are remembered whose calls aren't sure.
const maxGuessed = 1000

// guess says that it isn't sure for which request a hop was called.
func (e *Expectation) guess(h Hop) {
	h.Route, h.Host = "", ""
	if !slices.Contains(e.guessed, h) && len(e.guessed) < maxGuessed {
		e.guessed = append(e.guessed, h)
	}
}

// find returns the route that a request is of, or why there is none.
func (e *Expectation) find(r *request) (route *Route, why string) {
	why = "no such route is expected"
	for _, route := range e.routes {
		if !route.hosts(r.host) || route.Path != "" && route.Path != r.route {
			continue
		}
		if len(route.Methods) > 0 && !slices.Contains(route.Methods, r.node.Verb) {
			why = "the method " + r.node.Verb + " isn't expected"
			continue
		}
		return route, ""
	}
	return nil, why
}

// hosts reports whether a host is that of the route.
func (r *Route) hosts(host string) bool {
	if below, ok := strings.CutPrefix(r.Host, "*"); ok {
		return strings.HasSuffix(host, below)
	}
	return r.Host == "" || r.Host == host
}

// compareTo compares a request with what is expected of its route.
func (e *Expectation) compareTo(r *request, route *Route) {
	if len(route.Statuses) > 0 {
		status := "no status"
		if r.node.Status > 0 {
			status = strconv.Itoa(r.node.Status)
		}
		if !slices.ContainsFunc(route.Statuses, func(s string) bool { return s == status || len(status) == 3 && s == status[:1]+"xx" }) {
			e.differ(r, route, finding{what: "answered with " + status + ", where " + strings.Join(route.Statuses, ", ") + " is expected"})
		}
	}
	if len(route.Chains) == 0 {
		return
	}
	unseen := false
	taken := make([]bool, len(route.Chains))
	said := map[string]bool{} // the hops that were said to be missing
	for _, chain := range r.chains {
		fits := false
		for i, want := range route.Chains {
			a := align(want, chain)
			fits = fits || a.begins
			taken[i] = taken[i] || a.whole
		}
		if fits {
			continue
		}
		// What is wrong with it is said, compared with the chain that it is most like.
		best := nearest(route.Chains, chain, taken)
		for _, f := range align(best, chain).differences(best, chain) {
			if f.missing != nil {
				said[f.missing.text] = true
			}
			e.differ(r, route, f)
		}
	}
	for i, want := range route.Chains {
		switch {
		case taken[i]:
		case r.unseen:
			unseen = true
		default:
			f := absent(want, r.chains)
			if !said[f.missing.text] {
				e.differ(r, route, f)
			}
			said[f.missing.text] = true
		}
	}
	if unseen {
		e.Compared.Unseen++
	}
}

// differ counts a difference.
func (e *Expectation) differ(r *request, route *Route, f finding) {
	key := differenceKey{route, r.host, r.route, f.what}
	d := e.differences[key]
	if d == nil {
		if len(e.order) >= MaxDifferences {
			e.Compared.More++
			return
		}
		d = &Difference{Route: route, Host: r.host, Path: r.route, What: f.what, ID: r.node.ID, Tap: r.node.Tap, Packet: r.node.FirstPacket}
		d.about = f
		if f.extra != nil {
			extra := *f.extra
			d.about.extra = &extra // the chain is used again
		}
		e.differences[key] = d
		e.order = append(e.order, d)
	}
	d.Requests++
}

// Differences returns what wasn't as expected, those first that most requests had, and behind them the routes that are required and of which no request
// was seen. It is to be called once, when all requests were compared.
func (e *Expectation) Differences() []*Difference {
	var all []*Difference
	for _, d := range e.order {
		if slices.ContainsFunc(e.guessed, d.about.is) {
			e.Compared.Guessed += d.Requests
		} else {
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(a, b *Difference) int { return int(b.Requests - a.Requests) })
	for _, r := range e.routes {
		if r.Required && r.requests == 0 {
			all = append(all, &Difference{Route: r, Host: r.Host, Path: r.Path, What: "no request was seen"})
		}
	}
	return all
}

// is reports whether a finding is about a hop, whatever that was asked for.
func (f *finding) is(h Hop) bool {
	if f.missing != nil {
		h.Route = f.missing.Route
		if f.missing.is(&h) {
			return true
		}
	}
	if f.extra == nil {
		return false
	}
	extra := *f.extra
	extra.Route, extra.Host, h.Route = "", "", ""
	return extra == h
}

// NotSeen returns the routes of which no request was seen.
func (e *Expectation) NotSeen() (all []*Route) {
	for _, r := range e.routes {
		if r.requests == 0 {
			all = append(all, r)
		}
	}
	return all
}
