package routing

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
)

// ports are those of the services of tests, by name.
var ports = map[string]uint16{"front": 80, "cache": 6081, "app": 8000, "other": 8001, "mysql": 3306, "redis": 6379}

// call makes an exchange: the service that answered, and what it was asked, as "app GET /users/7" or "mysql SELECT". It took a millisecond for each
// exchange below it, and one itself.
func call(text string, children ...*hops.Node) *hops.Node {
	words := strings.Fields(text)
	s := &hops.Span{
		Protocol: "http", Family: exchange.HTTP, Verb: words[1], Host: "Shop.example", Status: 200, Grade: exchange.Complete,
		Server: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), ports[words[0]]), Service: [2]string{"", words[0]}, Tap: "eth0", FirstPacket: 7,
	}
	if len(words) > 2 {
		s.Target = words[2]
	}
	if words[0] == "mysql" || words[0] == "redis" {
		s.Protocol, s.Family, s.Host = words[0], exchange.Database, ""
	}
	s.Start, s.End = 1000, 1000+1e6
	n := &hops.Node{Span: s, Seen: []*hops.Span{s}, Children: children, Hop: exchange.Hop{Confidence: 1}}
	for _, c := range children {
		c.Parent = n
		s.End += c.Span.End - c.Span.Start
	}
	return n
}

func with(n *hops.Node, change func(n *hops.Node)) *hops.Node {
	change(n)
	return n
}

// newTestMap returns a Map without rules.
func newTestMap(t *testing.T, o Options, rules ...string) *Map {
	t.Helper()
	routes, err := measure.NewRoutes(rules)
	if err != nil {
		t.Fatal(err)
	}
	o.Routes = routes
	return NewMap(o)
}

// listed lists entries with their chains.
func listed(m *Map) (lines []string) {
	for _, e := range m.Entries() {
		lines = append(lines, fmt.Sprintf("%s%s %d/%d %d", e.Host, e.Route, e.Figures.Count, e.Figures.Errors, e.Figures.Total/1e6))
		for _, c := range e.Chains() {
			lines = append(lines, fmt.Sprintf("  %s %d %d/%d %d", Chain(c.Hops), c.Last.Ended, c.Last.Calls.Count, c.Last.Calls.Errors, c.Last.Calls.Total/1e6))
		}
	}
	return lines
}

// Chains are the ways from the client to where nothing further was asked; what is asked several times is one way.
func TestChains(t *testing.T) {
	m := newTestMap(t, Options{})
	for _, n := range []*hops.Node{
		call("front GET /users/7?a=b", call("cache GET /users/7", call("app GET /users/7", call("mysql SELECT"), call("mysql SELECT"), call("redis GET")))),
		call("front GET /users/8", call("cache GET /users/8")),
		with(call("front GET http://shop.example/users/9"), func(n *hops.Node) { n.Failed, n.Status = true, 502 }),
		// Another route behind it, a lookup that is no hop, and a connection that came to nothing.
		call("front POST /pay", call("app POST /v1/charges/12", with(call("redis PTR"), func(n *hops.Node) { n.Family = exchange.Names }),
			with(call("other connect"), func(n *hops.Node) { n.Failed = true; n.Host = "" }))),
		// Statements of which no request was seen.
		call("mysql SELECT"),
	} {
		m.Add(&hops.Tree{Root: n})
	}
	want := []string{
		"shop.example/users/{id} 3/1 9",
		"  front → cache → app → mysql (mysql) 1 2/0 2",
		"  front → cache 1 2/0 6",
		"  front → cache → app → redis (redis) 1 1/0 1",
		"  front 1 3/1 9",
		"shop.example/pay 1/0 4",
		"  front → app /v1/charges/{id} → other 1 1/1 1",
	}
	got := listed(m)
	slices.Sort(want[1:5])
	slices.Sort(got[1:5])
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, c := range m.Entries()[0].Chains() {
		if want := map[string]int64{"front": 3, "cache": 2}[c.Last.Hop.Name]; c.Last.Requests != max(want, 1) {
			t.Errorf("%d requests had %s", c.Last.Requests, Chain(c.Hops))
		}
	}
	if m.Counts.Requests != 4 || m.Counts.Apart != 1 {
		t.Errorf("%+v", m.Counts)
	}
}

// A hop is what the tap nearest to it knows, and its route what is known of a path that was too long to be kept.
func TestHops(t *testing.T) {
	m := newTestMap(t, Options{})
	n := call("front GET /users/7", call("app GET /users/7"))
	n.Service[1] = ""
	n.Seen = append(n.Seen, call("cache GET /users/7").Span)
	n.Children[0].Service[1], n.Children[0].Process[1] = "", "gunicorn"
	m.Add(&hops.Tree{Root: n})
	m.Add(&hops.Tree{Root: with(call("app GET /"+strings.Repeat("a/", hops.MaxText/2)), func(n *hops.Node) { n.Route = "/a/*" })})
	m.Add(&hops.Tree{Root: with(call("app GET http://shop.example?x"), func(n *hops.Node) { n.Service[1] = "" })})
	m.Add(&hops.Tree{Root: call("app CONNECT db.example:443")})
	got := strings.Join(listed(m), "\n")
	for _, want := range []string{"shop.example/users/{id} 1/0 2\n  cache → gunicorn 1 1/0 1", "shop.example/a/* 1/0 1\n", "shop.example/ 1/0 1\n  10.0.0.1:8000 1", "shop.example 1/0 1\n  app 1"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// What a client followed or tried again is a request of its own; a proxy's retry is another call of the same request.
func TestFollowed(t *testing.T) {
	m := newTestMap(t, Options{})
	second := with(call("front GET /new", call("app GET /new")), func(n *hops.Node) { n.Role = hops.Redirect })
	first := with(call("front GET /old", second), func(n *hops.Node) { n.Status = 302 })
	second.Earlier = first
	m.Add(&hops.Tree{Root: first})
	failed := with(call("app GET /x"), func(n *hops.Node) { n.Failed = true })
	again := with(call("other GET /x"), func(n *hops.Node) { n.Role, n.Earlier = hops.Retry, failed })
	m.Add(&hops.Tree{Root: call("front GET /x", failed, again)})
	got := strings.Join(listed(m), "\n")
	for _, want := range []string{"/new 1/0 2", "  front → app 1 1/0 1", "/old 1/0", "  front 1 1/0", "/x 1/0 3\n  front → app 1 1/1 1\n  front → other 1 1/0 1"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if m.Counts.Requests != 3 {
		t.Errorf("%d requests", m.Counts.Requests)
	}
}

// Streams and what was seen from one side count as requests, and are in no duration.
func TestDurationsLeaveOutStreams(t *testing.T) {
	for _, k := range []measure.Kind{measure.DD, measure.TDigests, measure.QDigests, measure.Frugal} {
		m := newTestMap(t, Options{Quantiles: k})
		for range 3 {
			m.Add(&hops.Tree{Root: call("app GET /x")})
		}
		for _, change := range []func(n *hops.Node){func(n *hops.Node) { n.Stream = true }, func(n *hops.Node) { n.Grade = exchange.OneSided }} {
			m.Add(&hops.Tree{Root: with(call("app GET /x"), func(n *hops.Node) { n.Span.End += 3600e9; change(n) })})
		}
		e := m.Entries()[0]
		for _, f := range []*Figures{&e.Figures, &e.Chains()[0].Last.Calls} {
			p99, ok := f.Durations.Quantile(0.99)
			if f.Count != 5 || f.Total != 3e6 || f.Durations.Count() != 3 || !ok || p99 < 0.98e6 || p99 > 1.02e6 {
				t.Errorf("%s: %d counted, %d timed, %d in all, p99 %d", k, f.Count, f.Durations.Count(), f.Total, p99)
			}
		}
	}
}

// Whatever comes, what is kept is bounded, and what isn't shown is counted.
func TestMapIsBounded(t *testing.T) {
	m := newTestMap(t, Options{})
	for i := range MaxRoutes + 10 {
		m.Add(&hops.Tree{Root: call(fmt.Sprintf("app GET /%s", word(i)))})
	}
	if len(m.Entries()) != MaxRoutes || m.Counts.Others != 10 {
		t.Errorf("%d routes, %d others", len(m.Entries()), m.Counts.Others)
	}
	m = newTestMap(t, Options{})
	for i := range MaxSteps + 10 {
		m.Add(&hops.Tree{Root: call("front GET /x", with(call("app GET /x"), func(n *hops.Node) { n.Service[1] = word(i) }))})
	}
	if n := len(m.Entries()[0].Chains()); n != MaxSteps-1 || m.Counts.Cut != 11 {
		t.Errorf("%d chains, %d cut", n, m.Counts.Cut)
	}
}

// word returns a word of its own for a number, which rules for routes leave alone.
func word(i int) string {
	b := []byte("wo")
	for ; i > 0; i /= 20 {
		b = append(b, "bcdfghjklmnpqrstvwxz"[i%20])
		b = append(b, 'a')
	}
	return string(b)
}

// expected reads what is expected, as the command does.
func expected(t *testing.T, text string) *Expectation {
	t.Helper()
	f, err := config.ParseRoutes("routes.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var all []*Route
	for _, e := range f.Expect {
		r := &Route{Host: e.Host, Path: e.Route, Methods: e.Methods, Statuses: e.Statuses, Required: e.Required, Line: e.Line}
		for _, chain := range e.Chains {
			var wanted []Want
			for _, hop := range chain {
				w, err := ParseWant(hop)
				if err != nil {
					t.Fatal(err)
				}
				wanted = append(wanted, w)
			}
			r.Chains = append(r.Chains, wanted)
		}
		all = append(all, r)
	}
	return NewExpectation(all)
}

const plan = `
expect:
  - host: shop.example
    route: /users/{id}
    methods: [GET]
    statuses: [2xx, 404]
    chains:
      - [front, cache, app?, mysql?]
      - [front, cache, app?, redis?]
  - host: "*.example"
    route: /pay
    chain: [front, "app|other /v1/charges/{id}", mysql]
  - route: /images/*
    chain: [10.0.0.0/8, cache]
  - route: /never
    chain: [front]
    required: true
`

func TestExpectation(t *testing.T) {
	users := func(n *hops.Node) *hops.Node { return call("front GET /users/7", n) }
	for name, c := range map[string]struct {
		root *hops.Node
		want []string
	}{
		"all of it":         {users(call("cache GET /users/7", call("app GET /users/7", call("mysql SELECT"), call("redis GET")))), nil},
		"from the cache":    {users(call("cache GET /users/7")), nil},
		"one database only": {users(call("cache GET /users/7", call("app GET /users/7", call("mysql SELECT")))), nil},
		"a status":          {with(users(call("cache GET /users/7")), func(n *hops.Node) { n.Status = 404 }), nil},
		"another status": {with(users(call("cache GET /users/7")), func(n *hops.Node) { n.Status = 502 }),
			[]string{"5: answered with 502, where 2xx, 404 is expected"}},
		"no status": {with(users(call("cache GET /users/7")), func(n *hops.Node) { n.Status = 0 }),
			[]string{"5: answered with no status, where 2xx, 404 is expected"}},
		"a hop is missing": {users(call("app GET /users/7", call("mysql SELECT"))),
			[]string{"cache is missing between front and app?: front → app → mysql (mysql)"}},
		"a hop too many": {users(call("other GET /users/7", call("cache GET /users/7"))),
			[]string{"other isn't expected between front and cache: front → other → cache"}},
		"another order": {call("cache GET /users/7", call("front GET /users/7", call("app GET /users/7"))),
			[]string{"in another order, cache should come between front and app?: cache → front → app"}},
		"the chain ends early": {call("front GET /users/7"),
			[]string{"cache is missing behind front: front"}},
		"a method": {call("front DELETE /users/7", call("cache DELETE /users/7")),
			[]string{"the method DELETE isn't expected"}},
		"an unknown route": {call("front GET /secret"),
			[]string{"no such route is expected"}},
		"another route behind": {call("front POST /pay", call("other POST /v1/charges/12", call("mysql INSERT"))), nil},
		"a wrong route behind": {call("front POST /pay", call("app POST /v2/charges/12", call("mysql INSERT"))),
			[]string{"app|other /v1/charges/{id} is missing between front and mysql: front → app /v2/charges/{id} → mysql (mysql)",
				"app /v2/charges/{id} isn't expected between front and mysql (mysql): front → app /v2/charges/{id} → mysql (mysql)"}},
		"a network, and any below": {call("front GET /images/a/b.png", call("cache GET /images/a/b.png")), nil},
		"not seen to go on":        {with(call("front GET /users/7"), func(n *hops.Node) { n.Unseen = "a unix socket" }), nil},
		"not whole":                {with(call("front GET /users/7"), func(n *hops.Node) { n.Grade = exchange.Unanswered }), nil},
		"not sure":                 {users(with(call("app GET /users/7"), func(n *hops.Node) { n.Hop.Confidence = 0.8 })), nil},
	} {
		e := expected(t, plan)
		m := newTestMap(t, Options{Expectation: e}, "/images/*")
		m.Add(&hops.Tree{Root: c.root})
		var got []string
		for _, d := range e.Differences() {
			if d.Route != nil && d.Route.Required {
				continue
			}
			if d.Requests != 1 || d.Packet != 7 || d.Tap != "eth0" {
				t.Errorf("%s: %+v", name, d)
			}
			got = append(got, d.What)
		}
		for i := range c.want {
			c.want[i] = strings.TrimPrefix(c.want[i], "5: ")
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		wants := ComparedCounts{Requests: 1}
		switch name {
		case "not seen to go on":
			wants.Unseen = 1
		case "not whole":
			wants = ComparedCounts{Incomplete: 1}
		case "not sure":
			wants = ComparedCounts{Unsure: 1}
		}
		if e.Compared != wants {
			t.Errorf("%s: %+v", name, e.Compared)
		}
	}
}

// Differences are added up; what is required and wasn't seen is one, too.
func TestDifferences(t *testing.T) {
	e := expected(t, plan)
	m := newTestMap(t, Options{Expectation: e})
	for range 3 {
		m.Add(&hops.Tree{Root: call("front GET /users/7")})
	}
	m.Add(&hops.Tree{Root: call("front GET /elsewhere")})
	all := e.Differences()
	if len(all) != 3 || all[0].Requests != 3 || all[0].Route.Line != 3 || all[1].Route != nil || all[1].Path != "/elsewhere" || all[2].What != "no request was seen" || all[2].Path != "/never" {
		for _, d := range all {
			t.Errorf("%+v", *d)
		}
	}
	if n := len(e.NotSeen()); n != 3 {
		t.Errorf("of %d routes nothing was seen", n)
	}
	// Where a call of the cache was a guess, that there was none is one, too.
	m.Add(&hops.Tree{Root: call("front GET /users/7", with(call("cache GET /users/7"), func(n *hops.Node) { n.Hop.Confidence = 0.8 }))})
	if all := e.Differences(); len(all) != 2 || e.Compared.Guessed != 3 || e.Compared.Unsure != 1 {
		t.Errorf("%d differences, %+v", len(all), e.Compared)
	}
	// So is a database's call where one has no request.
	m.Add(&hops.Tree{Root: call("mysql SELECT")})
	m.Add(&hops.Tree{Root: call("front POST /pay", call("app POST /v1/charges/1"))})
	if all := e.Differences(); len(all) != 2 || e.Compared.Guessed != 3+4 { // which counts again
		t.Errorf("%d differences, %+v", len(all), e.Compared)
	}
	// And so is one that is too many, and was found by timing alone, however sure that is.
	m.Add(&hops.Tree{Root: call("front GET /users/7", call("cache GET /users/7", with(call("other GET /users/7"), func(n *hops.Node) { n.Hop.Method = exchange.ByTiming })))})
	if all := e.Differences(); len(all) != 2 || e.Compared.Guessed != 3+4+5 {
		t.Errorf("%d differences, %+v", len(all), e.Compared)
	}
	for i := range 2 * MaxDifferences {
		m.Add(&hops.Tree{Root: call("front GET /" + word(i))})
	}
	if n := len(e.Differences()); n != MaxDifferences-2 || e.Compared.More == 0 {
		t.Errorf("%d differences, %d more", n, e.Compared.More)
	}
}

func TestParseWant(t *testing.T) {
	for text, want := range map[string]string{
		"":        `hop "": it needs a name`,
		"?":       `hop "?": it needs a name`,
		"a||b":    `hop "a||b": it needs a name`,
		"app abc": `hop "app abc": behind the name comes the route`,
	} {
		if _, err := ParseWant(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, s := range []string{"20", "6x", "xx", "abc", "2xx3", "0xx", "1000"} {
		if CheckStatus(s) == nil {
			t.Errorf("%s is a status", s)
		}
	}
	for _, s := range []string{"200", "2xx", "999"} {
		if err := CheckStatus(s); err != nil {
			t.Error(err)
		}
	}
}

// The differences that are told are as many as hops are missing or too many, and a chain is whole or begins as one can see by trying.
func TestAlign(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c"}
	for range 20000 {
		var want []Want
		for range 1 + r.IntN(4) {
			name := names[r.IntN(3)]
			if r.IntN(3) == 0 {
				name += "?"
			}
			w, err := ParseWant(name)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, w)
		}
		var chain []Hop
		for range 1 + r.IntN(4) {
			chain = append(chain, Hop{Name: names[r.IntN(3)], Protocol: "http"})
		}
		a := align(want, chain)
		if got, cost := len(a.differences(want, chain)), a.cost[len(want)][len(chain)]; got > cost || (got == 0) != (cost == 0) {
			t.Fatalf("%v, %s: %d differences, cost %d", want, Chain(chain), got, cost)
		}
		whole, begins := false, false
		for i := range len(want) + 1 {
			begins = begins || fits(want[:i], chain)
		}
		for j := 1; j <= len(chain); j++ {
			whole = whole || fits(want, chain[:j])
		}
		if a.whole != whole || a.begins != begins {
			t.Fatalf("%v, %s: whole %v, begins %v", want, Chain(chain), a.whole, a.begins)
		}
	}
}

// fits reports whether a chain is what is wanted, by trying everything.
func fits(want []Want, chain []Hop) bool {
	switch {
	case len(want) == 0:
		return len(chain) == 0
	case want[0].Optional && fits(want[1:], chain):
		return true
	}
	return len(chain) > 0 && want[0].is(&chain[0]) && fits(want[1:], chain[1:])
}

// What was learned from requests, none of them differs from.
func TestLearnedHolds(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 4))
		var roots []*hops.Node
		for range 300 {
			roots = append(roots, someRequest(r))
		}
		m := newTestMap(t, Options{Learner: NewLearner()})
		for _, n := range roots {
			m.Add(&hops.Tree{Root: n})
		}
		rules := m.Learned()
		file := string(AppendFile(nil, rules, m.Entries()))
		e := expected(t, file)
		f, _ := config.ParseRoutes("", []byte(file))
		if !slices.Equal(f.Routes, rules) {
			t.Fatalf("rules %q are written as %q", rules, f.Routes)
		}
		for _, route := range f.Expect {
			f.Routes = append(f.Routes, route.Route)
		}
		again := newTestMap(t, Options{Expectation: e}, f.Routes...)
		for _, n := range roots {
			again.Add(&hops.Tree{Root: n})
		}
		if all := e.Differences(); len(all) > 0 || e.Compared.Requests != 300 || len(e.NotSeen()) > 0 {
			t.Fatalf("seed %d: %d compared, %d not seen; %s%s: %s\n%s", seed, e.Compared.Requests, len(e.NotSeen()), all[0].Host, all[0].Path, all[0].What, file)
		}
	}
}

// someRequest makes a request.
func someRequest(r *rand.Rand) *hops.Node {
	path := []string{"/users/" + word(r.IntN(500)), fmt.Sprint("/orders/", r.IntN(500)), "/search", "/a b\"c", "/users/search", "/n/on/{x}y"}[r.IntN(6)]
	var below []*hops.Node
	if r.IntN(2) == 0 {
		below = append(below, call("mysql SELECT"))
	}
	if r.IntN(3) == 0 {
		below = append(below, call("redis GET"))
	}
	n := call("app GET "+strings.Fields(path)[0], below...)
	if r.IntN(2) == 0 {
		n.Target = "/v1" + n.Target
	}
	if r.IntN(4) == 0 {
		n.Service[1], n.Server = "", netip.MustParseAddrPort("[2001:db8::1]:8000")
	}
	for _, proxy := range []string{"cache", "front"} {
		if proxy == "front" || r.IntN(3) > 0 {
			n = call(proxy+" GET "+strings.Fields(path)[0], n)
		}
	}
	return n
}

// Many different segments of which most are new are one variable; names that come again and again aren't.
func TestLearner(t *testing.T) {
	routes, _ := measure.NewRoutes(nil)
	for name, c := range map[string]struct {
		paths func(i int) []string
		want  []string
	}{
		"names of users": {func(i int) []string { return []string{"/u/" + word(i), "/u/" + word(i) + "/posts"} }, []string{"/u/{name}", "/u/{name}/posts"}},
		"a name beside them": {func(i int) []string { return []string{"/u/" + word(i), "/u/search", "/u/" + word(i) + "/posts/7"} },
			[]string{"/u/search", "/u/{name}", "/u/{name}/posts/{id}"}},
		"numbers beside them":        {func(i int) []string { return []string{"/u/" + word(i), fmt.Sprint("/u/", i)} }, []string{"/u/{name}"}},
		"an interface":               {func(i int) []string { return []string{"/api/" + word(i%40) + "/list"} }, nil},
		"few":                        {func(i int) []string { return []string{"/u/" + word(i%15)} }, nil},
		"what is known":              {func(i int) []string { return []string{fmt.Sprint("/u/", i, "/posts/", i)} }, nil},
		"two variables in a segment": {func(i int) []string { return []string{"/" + word(i) + fmt.Sprintf("/%d-of-%d", i, i)} }, nil},
	} {
		for _, n := range []int{100, 5000} {
			l := NewLearner()
			for i := range n {
				for _, p := range c.paths(i) {
					l.Add(string(routes.Append(nil, []byte(p))))
				}
			}
			if got := l.Rules(); !slices.Equal(got, c.want) {
				t.Errorf("%s, %d: %q, want %q", name, n, got, c.want)
			}
			if l.Lost > 0 {
				t.Errorf("%s: %d lost", name, l.Lost)
			}
		}
	}
}

// Whatever is shown to a learner, it stays within its bounds, and proposes what a configuration takes.
func TestLearnerIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for name, path := range map[string]func() string{
		"wide": func() string { return "/" + word(r.IntN(1e9)) + "/" + word(r.IntN(1e9)) },
		"deep": func() string {
			p := ""
			for range 20 {
				p += "/" + word(r.IntN(150))
			}
			return p
		},
		"odd": func() string {
			b := make([]byte, r.IntN(30))
			for i := range b {
				b[i] = "/{}*%ab"[r.IntN(7)]
			}
			return "/" + string(b)
		},
	} {
		l := NewLearner()
		for range 100_000 {
			l.Add(path())
		}
		if n := l.root.size(); n != l.places+1 || l.places > MaxPlaces+MaxPlaces/MaxChildren+1 {
			t.Errorf("%s: %d places, and %d are counted", name, n, l.places)
		}
		rules := l.Rules()
		if _, err := measure.NewRoutes(rules); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(rules, l.Rules()) {
			t.Errorf("%s: asked again, it proposes something else", name)
		}
	}
}

// size counts a place and all below it.
func (p *place) size() int {
	n := 1
	for _, c := range p.next {
		n += c.size()
	}
	if p.values != nil {
		n += p.values.size()
	}
	return n
}

// Where there are more routes than there is room for, what was learned makes room.
func TestRelearn(t *testing.T) {
	m := newTestMap(t, Options{Learner: NewLearner()})
	for i := range 3 * MaxRoutes {
		m.Add(&hops.Tree{Root: call("front GET /u/"+word(i), call("app GET /v1/u/"+word(i)))})
	}
	if rules := m.Learned(); !slices.Equal(rules, []string{"/u/{name}", "/v1/u/{name}"}) {
		t.Errorf("%q", rules)
	}
	all := m.Entries()
	if len(all) != 1 || m.Counts.Others != 0 || all[0].Figures.Count != 3*MaxRoutes || all[0].Figures.Durations.Count() != 3*MaxRoutes {
		t.Fatalf("%d entries, %+v", len(all), m.Counts)
	}
	chains := all[0].Chains()
	if len(chains) != 1 || Chain(chains[0].Hops) != "front → app /v1/u/{name}" || chains[0].Last.Calls.Count+m.Counts.Cut != 3*MaxRoutes {
		t.Errorf("%d chains, the first %s with %d calls; %d cut", len(chains), Chain(chains[0].Hops), chains[0].Last.Calls.Count, m.Counts.Cut)
	}
}
