package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

// traffic makes exchanges.
type traffic struct {
	r     *rand.Rand
	byURL map[string]*exchange.Exchange
	id    [exchange.IDSize]byte
	at    int64
}

func newTraffic(seed uint64) *traffic {
	return &traffic{r: rand.New(rand.NewPCG(seed, 1)), byURL: map[string]*exchange.Exchange{}, at: 1_700_000_000e9}
}

// one makes an exchange, valid until the next one with the same URL. ms is how long it took.
func (t *traffic) one(path string, status int, ms float64, size int64) *exchange.Exchange {
	x := t.byURL[path]
	if x == nil {
		x = outputtest.Exchange("GET "+path+" HTTP/1.1\nHost: Shop.example\n\n", "HTTP/1.1 200 OK\nServer: a\n\n")
		t.byURL[path] = x
	}
	t.at += 10e6
	for i := range t.id {
		t.id[i] = byte(t.r.Uint32())
	}
	x.KnownID = &t.id
	x.Start.Time, x.Completed.Time = t.at, t.at+int64(ms*1e6)
	x.Timing.Duration = int64(ms * 1e6)
	x.Response.Status, x.Response.BodyBytes = status, size
	return x
}

// planted are the differences of a comparison: what changes by path.
type planted struct {
	slower, tail, larger float64 // a factor, of times, of the slowest fiftieth, of sizes
	errors               float64 // a share of 500s
	only                 int     // 1: before alone; 2: after alone
}

const routes = 20

// side adds the traffic of a side.
func (t *traffic) side(c *Comparison, side Side, each int, plants map[int]planted) {
	for n := range each {
		for route := range routes {
			p := planted{slower: 1, tail: 1, larger: 1}
			plan := plants[route]
			if plan.only == 1 && side == After || plan.only == 2 && side == Before {
				continue
			}
			if side == After {
				for _, f := range []struct{ to, from *float64 }{{&p.slower, &plan.slower}, {&p.tail, &plan.tail}, {&p.larger, &plan.larger}} {
					if *f.from != 0 {
						*f.to = *f.from
					}
				}
				p.errors = plan.errors
			}
			ms := 5 * (1 + float64(route%5)) * math.Exp(0.5*t.r.NormFloat64()) * p.slower
			if t.r.Float64() < 0.02 {
				ms *= 4 * p.tail
			} else if p.tail != 1 && t.r.Float64() < 0.13 {
				ms *= 4 * p.tail
			}
			status := 200
			if u := t.r.Float64(); u < p.errors {
				status = 500
			} else if u > 0.98 {
				status = 404
			}
			c.Add(side, t.one(fmt.Sprintf("/r%d", route), status, ms, int64(1000*p.larger*math.Exp(0.2*t.r.NormFloat64()))))
		}
		_ = n
	}
}

// describe says what differs, in the order of names.
func describe(r *Result) []string {
	var all []string
	for _, e := range r.Endpoints {
		for _, f := range e.Findings {
			if f.Significant {
				all = append(all, fmt.Sprintf("%s %s %s %v", e.Subject, f.Aspect, f.Outcome, f.Worse()))
			}
		}
	}
	slices.Sort(all)
	return all
}

// Of 1,000 comparisons of recordings that don't differ, at most the share alpha finds anything, apart from chance.
func TestNothingIsFoundWhereNothingDiffers(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	found := 0
	var what []string
	for seed := range rounds {
		tr := newTraffic(uint64(seed))
		c := New(DefaultOptions())
		each := []int{12, 40, 120}[seed%3]
		tr.side(c, Before, each, nil)
		tr.side(c, After, each+each/3, nil)
		if r := c.Result(); r.Found() {
			found++
			what = append(what, describe(r)...)
		}
	}
	alpha := DefaultOptions().Alpha
	limit := alpha*float64(rounds) + 2*math.Sqrt(alpha*(1-alpha)*float64(rounds)) // 97 times of 100
	t.Logf("%d of %d null comparisons found something: %s", found, rounds, strings.Join(what, "; "))
	if float64(found) > limit {
		t.Errorf("%d of %d null comparisons found something, want at most %.0f", found, rounds, limit)
	}
}

// Each planted difference is found, and hardly anything else.
func TestPlantedDifferencesAreFound(t *testing.T) {
	plants := map[int]planted{2: {slower: 1.4}, 5: {errors: 0.1}, 7: {larger: 1.3}, 9: {tail: 1.1}, 11: {only: 1}, 13: {only: 2}, 16: {slower: 0.6}}
	want := []string{
		"/r11 presence  false", "/r13 presence  false", "/r16 time  false", "/r2 time  true", "/r5 outcome 500 true", "/r7 response size  false", "/r9 time p95  true",
	}
	// What follows from a planted difference is none of its own: the slowest are slower where all are.
	follows := []string{"/r16 time p95  false", "/r16 time p99  false", "/r2 time p95  true", "/r2 time p99  true", "/r9 time p99  true", "/r9 time  true"}
	const rounds = 100
	missed, chance := map[string]int{}, 0
	for seed := range rounds {
		tr := newTraffic(uint64(1000 + seed))
		c := New(DefaultOptions())
		tr.side(c, Before, 400, plants)
		tr.side(c, After, 500, plants)
		r := c.Result()
		got := describe(r)
		for _, w := range want {
			if !slices.Contains(got, w) {
				missed[w]++
			}
		}
		for _, g := range got {
			if !slices.Contains(want, g) && !slices.Contains(follows, g) {
				chance++
			}
		}
		worst := r.Endpoints[0]
		if worst.Subject != "/r5" || worst.Host != "shop.example" || worst.Verdict != Differs {
			t.Fatalf("the worst is %+v", worst)
		}
	}
	t.Logf("missed %v, %d found by chance", missed, chance)
	for w, n := range missed {
		if n > rounds/50 {
			t.Errorf("%s: missed %d times of %d", w, n, rounds)
		}
	}
	// alpha of what is found may be chance: 7 and more each time.
	if chance > 7*rounds*5/100 {
		t.Errorf("%d differences by chance in %d comparisons", chance, rounds)
	}
}

func TestWhatCounts(t *testing.T) {
	tr := newTraffic(1)
	c := New(DefaultOptions())
	add := func(side Side, n int, change func(x *exchange.Exchange)) {
		for range n {
			x := tr.one("/a", 200, 5, 100)
			saved := *x
			change(x)
			c.Add(side, x)
			*x = saved
		}
	}
	for side := range Side(2) {
		add(side, 20, func(*exchange.Exchange) {})
		add(side, 3, func(x *exchange.Exchange) { x.Stream = true })
		add(side, 2, func(x *exchange.Exchange) { x.Grade = exchange.Gap })
		add(side, 4, func(x *exchange.Exchange) { x.Grade, x.HasResponse = exchange.Unanswered, false })
		add(side, 5, func(x *exchange.Exchange) { x.Grade, x.HasResponse = exchange.OneSided, false })
		add(side, 6, func(x *exchange.Exchange) { x.HasRequest = false })
		add(side, 1, func(x *exchange.Exchange) { x.Period = &exchange.Period{} })
		add(side, 1, func(x *exchange.Exchange) { x.Message = &exchange.SessionMessage{} })
		add(side, 7, func(x *exchange.Exchange) { x.Weight = 10 })
	}
	r := c.Result()
	for side, totals := range r.Sides {
		if totals.Exchanges != 49 || totals.Count != 49+63 || totals.Apart != 8 || totals.Unended != 5 || fmt.Sprint(totals.Untimed) != "map[gap:2 onesided:5 stream:3 unanswered:4]" {
			t.Errorf("side %d: %+v", side, totals)
		}
		f := r.Endpoints[0].Sides[side]
		if f.Exchanges != 41 || f.Count != 104 || f.Timed != 27 || fmt.Sprint(f.Outcomes) != "[{200 false 95} {unanswered true 4}]" || f.Times[0].At != 5e6 || f.ResponseSize.At != 100 {
			t.Errorf("side %d: %+v", side, f)
		}
	}
	if len(r.Endpoints) != 1 || r.Found() || r.Endpoints[0].Verdict != Alike {
		t.Errorf("%+v", r)
	}
}

// Statements and lookups have endpoints too; what can't be told apart is counted.
func TestEndpoints(t *testing.T) {
	o := DefaultOptions()
	o.MaxEndpoints = 3
	c := New(o)
	x := newTraffic(1).one("/users/7?a=b", 200, 5, 100)
	x.Enriched.Route = "/users/{id}"
	c.Add(Before, x)
	db := *x
	db.Family, db.Protocol, db.Statement = exchange.Database, "mysql", exchange.Statement{Template: "SELECT ?", Operation: "SELECT"}
	c.Add(After, &db)
	names := exchange.Exchange{Family: exchange.Names, Protocol: "dns", HasRequest: true, Flow: x.Flow, Tap: x.Tap, KnownID: x.KnownID, Grade: exchange.Unanswered}
	names.Request.Say("name", []byte("a.example"))
	names.Request.Say("type", []byte("AAAA"))
	c.Add(After, &names)
	names.Request = proto.Message{}
	names.Request.Say("name", []byte("b.example"))
	c.Add(After, &names)
	r := c.Result()
	var got []string
	for _, e := range r.Endpoints {
		got = append(got, strings.Join([]string{e.Protocol, e.Host, e.Verb, e.Subject, e.Verdict.String()}, "|"))
	}
	slices.Sort(got)
	if want := "dns||AAAA|a.example|too few;http|shop.example|GET|/users/{id}|too few;mysql||SELECT|SELECT ?|too few"; strings.Join(got, ";") != want {
		t.Errorf("%s, want %s", strings.Join(got, ";"), want)
	}
	if r.Sides[After].Others != 1 {
		t.Errorf("%+v", r.Sides[After])
	}
	o.Hosts = false
	c = New(o)
	c.Add(Before, x)
	if r := c.Result(); r.Endpoints[0].Host != "" {
		t.Errorf("%+v", r.Endpoints[0])
	}
}

// Samples are bounded, say that they are some, and find the same. They don't depend on the order.
func TestSamples(t *testing.T) {
	o := DefaultOptions()
	o.MaxValues, o.MaxAll = 500, 12_000
	plants := map[int]planted{2: {slower: 3}, 13: {only: 2}}
	tr := newTraffic(5)
	c := New(o)
	tr.side(c, Before, 3000, plants)
	tr.side(c, After, 3000, plants)
	if c.values > o.MaxAll || c.limit >= o.MaxValues {
		t.Errorf("%d values are kept, %d of each", c.values, c.limit)
	}
	r := c.Result()
	for _, e := range r.Endpoints {
		if f := e.Sides[After]; !f.Sampled || f.Exchanges != 3000 || f.Timed != 3000 {
			t.Errorf("%s: %+v", e.Subject, f)
		}
	}
	if got := describe(r); !slices.Contains(got, "/r2 time  true") || !slices.Contains(got, "/r13 presence  false") {
		t.Errorf("%v", got)
	}
	var a, b sample
	all := make([]one, 5000)
	for i := range all {
		all[i] = one{value: int64(i), priority: tr.r.Uint64()}
		a.add(all[i], 100)
	}
	slices.Reverse(all)
	for _, v := range all {
		b.add(v, 100)
	}
	slices.Reverse(b.values)
	if !slices.Equal(a.values, b.values) || len(a.values) > 100 || len(a.values) < 20 {
		t.Errorf("%d and %d values", len(a.values), len(b.values))
	}
}

// Outcomes beyond a limit are put together.
func TestOutcomes(t *testing.T) {
	tr := newTraffic(1)
	c := New(DefaultOptions())
	for status := 200; status < 300; status++ {
		c.Add(Before, tr.one("/a", status, 5, 100))
	}
	r := c.Result()
	if n := len(r.Endpoints[0].Sides[Before].Outcomes); n != DefaultOptions().MaxOutcomes {
		t.Errorf("%d outcomes", n)
	}
	if o := r.Endpoints[0].Sides[Before].Outcomes[0]; o.Name != "other" || o.Count != 100-31 {
		t.Errorf("%+v", o)
	}
}

// TestSampleOfOneID: values that all have the lowest priority are no more than others, and don't keep a sample busy for ever.
func TestSampleOfOneID(t *testing.T) {
	var s sample
	for i := range 100 {
		s.add(one{value: int64(i)}, 10)
	}
	if len(s.values) != 10 || s.seen != 100 || !s.sampled() {
		t.Errorf("%d of %d values, sampled: %v", len(s.values), s.seen, s.sampled())
	}
}
