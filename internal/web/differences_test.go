package web

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

// differencesOf asks, and gives the differences by field, and the whole answer.
func differencesOf(t *testing.T, s *Server, query string) (all []map[string]any, answer map[string]any) {
	t.Helper()
	answer = ask(t, s, "/api/differences?"+query)
	for _, d := range dig(answer, "differences").([]any) {
		all = append(all, d.(map[string]any))
	}
	return all, answer
}

func TestDifferences(t *testing.T) {
	s := serve(t)
	all, answer := differencesOf(t, s, "selection=status==503")
	if dig(answer, "selected") != 12.0 || dig(answer, "rest") != 48.0 {
		t.Errorf("%v", answer)
	}
	var found []string
	for _, d := range all {
		found = append(found, fmt.Sprintf("%v=%v %v/%v %s", d["label"], d["value"], d["selected"], d["rest"], d["where"]))
	}
	want := []string{
		`route=/search 12/0 culprit.route == "/search"`,
		`virtual host=api.shop.example 12/0 url.domain == "api.shop.example"`,
	}
	if !slices.Equal(found, want) {
		t.Errorf("got %q, want %q", found, want)
	}
	if d := all[0]; d["selected_share"] != 1.0 || d["rest_share"] != 0.0 || d["score"] != 60.05 { // 2·(12·ln(60/12) + 48·ln(60/48))
		t.Errorf("%v", d)
	}
	if asked := fmt.Sprint(answer["asked"]); asked != "[http.response.status_code event.outcome culprit.http.reason]" {
		t.Errorf("asked: %s", asked)
	}
	if n := len(answer["fields"].([]any)); n != ofHTTP-3 || len(answer["left_out"].([]any)) != 0 || len(answer["cut"].([]any)) != 0 || answer["more"] != 0.0 {
		t.Errorf("%d fields, %v", n, answer)
	}

	// The scope is the universe, and the limit says what is beyond it.
	all, answer = differencesOf(t, s, "selection=status==503&where=host=="+url.QueryEscape(`"api.shop.example"`))
	if len(all) != 0 || answer["rest"] != 0.0 {
		t.Errorf("%v", answer)
	}
	if _, answer := differencesOf(t, s, "selection=method==%22GET%22&where=status==404"); answer["selected"] != 12.0 || answer["rest"] != 0.0 {
		t.Errorf("%v", answer)
	}
	all, answer = differencesOf(t, s, "selection=duration>1s&last=5m&limit=1&fields=status,class(status),host,network(client),network(client.ip)")
	if len(all) != 1 || answer["more"] != 2.0 || answer["selected"] != 6.0 || answer["rest"] != 24.0 || all[0]["label"] != "status" || all[0]["value"] != 503.0 ||
		fmt.Sprint(answer["fields"]) != "[http.response.status_code class(http.response.status_code) url.domain network(client.ip)]" {
		t.Errorf("%v", answer)
	}
	// Numbers are compared by ranges.
	all, _ = differencesOf(t, s, "selection=status==503&fields=magnitude(duration)")
	if len(all) != 1 || all[0]["where"] != "event.duration >= 1.778279411s" || all[0]["value"] != 1778279411.0 || all[0]["to"] != nil || all[0]["unit"] != "ns" {
		t.Errorf("%v", all)
	}
	all, _ = differencesOf(t, s, "selection=status==404&fields=magnitude(duration)")
	if len(all) != 1 || all[0]["where"] != "event.duration >= 3.162278ms and event.duration < 4.216966ms" || all[0]["to"] != 4216966.0 {
		t.Errorf("%v", all)
	}
	// Nothing selected, nothing stored: nothing differs.
	for _, s := range []*Server{s, serve(t, func(o *Options) { o.Store = storeOf(t, nil) })} {
		if all, answer := differencesOf(t, s, "selection=status==1"); len(all) != 0 || answer["selected"] != 0.0 {
			t.Errorf("%v", answer)
		}
	}
}

// A filter in which the selection names a field in any way leaves that field out.
func TestAsked(t *testing.T) {
	s := serve(t)
	for selection, want := range map[string]string{
		"not (vhost == \"a\" or has(method))":       "[http.request.method url.domain]",
		"path startsWith \"/s\"":                    "[culprit.route]",
		"source.ip == \"10.0.0.7\" and duration>1s": "[network(client.ip) client.ip client.geo.country_iso_code client.as.organization.name]",
		"duration > 1s":                             "[]",
	} {
		if _, answer := differencesOf(t, s, "selection="+url.QueryEscape(selection)); fmt.Sprint(answer["asked"]) != want {
			t.Errorf("%s: %v, want %s", selection, answer["asked"], want)
		}
	}
}

// ofHTTP is how many of the traits requests may have.
var ofHTTP = len(slices.DeleteFunc(slices.Clone(traits[:]), func(t trait) bool {
	return strings.Contains(t.group, "db.") || strings.Contains(t.group, "dns.")
}))

// counted asks a store how many exchanges a filter selects.
func counted(t *testing.T, r store.Reader, nodes ...filter.Node) int64 {
	t.Helper()
	var q store.Aggregate
	for _, n := range nodes {
		q.Where = and(q.Where, n)
	}
	q.Order = -1
	table, err := r.Aggregate(t.Context(), &q)
	if err != nil {
		t.Fatal(err)
	}
	return table.Total.Count
}

// groupsOf are the values of a group.
func groupsOf(t *testing.T, r store.Reader, g store.Group) []store.GroupRow {
	t.Helper()
	table, err := r.Aggregate(t.Context(), &store.Aggregate{Groups: []store.Group{g}, Order: -1})
	if err != nil {
		t.Fatal(err)
	}
	return table.Groups
}

// The filter of a value selects exactly the exchanges that have it, whatever the field and the value.
func TestValuesCanBeAskedFor(t *testing.T) {
	r := storeOf(t, storetest.Exchanges(7, 500))
	values, long := 0, 0
	check := func(g store.Group, v value, want int64) {
		t.Helper()
		if values++; v.where == "" {
			if long++; len(v.key.Text) < 1000 {
				t.Errorf("%s: there is no filter for %q", g, v.key.Text)
			}
			return
		}
		f, err := filter.Parse(v.where)
		if err != nil {
			t.Errorf("%s: %s: %v", g, v.where, err)
		} else if got := counted(t, r, f.Root()); got != want {
			t.Errorf("%s: %s selects %d exchanges, and %d have the value %q", g, v.where, got, want, v.key.Text)
		}
	}
	for i := range exchange.Fields {
		for by := range store.ByNetwork + 1 {
			g := store.Group{Field: &exchange.Fields[i], By: by}
			if !by.Suits(g.Field) {
				continue
			}
			rows := groupsOf(t, r, g)
			if by != store.ByMagnitude {
				for _, row := range rows[:min(len(rows), 20)] {
					check(g, valueOf(g, row.Keys[0]), row.Count)
				}
				continue
			}
			rows = slices.DeleteFunc(rows, func(row store.GroupRow) bool { return row.Keys[0].Kind == exchange.Absent })
			slices.SortFunc(rows, func(a, b store.GroupRow) int { return int(a.Keys[0].Int - b.Keys[0].Int) })
			sum := int64(0)
			for k := len(rows) - 1; k >= 0; k-- {
				key := rows[k].Keys[0].Int
				check(g, between(g.Field, key, key, false), rows[k].Count)
				sum += rows[k].Count
				check(g, between(g.Field, key, rows[len(rows)-1].Keys[0].Int, true), sum)
			}
		}
	}
	if values < 500 || long > values/20 {
		t.Errorf("%d values, %d of them too long", values, long)
	}
}

// The ranges of small numbers, whose magnitudes have few numbers each, and of the largest.
func TestMagnitudes(t *testing.T) {
	numbers := []int64{1 << 40, 1<<53 + 1, math.MaxInt64 / 2, math.MaxInt64 - 1}
	for n := range int64(300) {
		numbers = append(numbers, n)
	}
	all := shop(len(numbers))
	for i, n := range numbers {
		all[i].Response.BodyBytes = n
	}
	r := storeOf(t, all)
	g, err := store.ParseGroup("magnitude(size)")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range groupsOf(t, r, g) {
		v := between(g.Field, row.Keys[0].Int, row.Keys[0].Int, false)
		f, err := filter.Parse(v.where)
		if err != nil {
			t.Fatal(err)
		}
		if got := counted(t, r, f.Root()); got != row.Count {
			t.Errorf("%s selects %d, and %d have the magnitude %d", v.where, got, row.Count, row.Keys[0].Int)
		}
	}
}

func TestHostileValues(t *testing.T) {
	all := shop(60)
	for i, x := range all {
		if i%5 == 3 {
			x.Enriched.Route = "\"') or true //\\\n\x00<b>\u202e\\xff`" + string(rune('a'+i%2))
		}
	}
	for _, route := range []string{"", "caf\xe9 \\xe9 \"", strings.Repeat("\u202e", 3000)} {
		if route != "" {
			for i, x := range all {
				if i%5 == 3 {
					x.Enriched.Route = route
				}
			}
		}
		r := storeOf(t, all)
		s := serve(t, func(o *Options) { o.Store = r })
		found, answer := differencesOf(t, s, "selection=status==503&fields=route")
		if len(found) == 0 {
			t.Fatalf("%v", answer)
		}
		for _, d := range found {
			where := d["where"].(string)
			if len(route) > 4096 {
				if where != "" {
					t.Errorf("a filter of %d bytes", len(where))
				}
				continue
			}
			if n := len(ask(t, s, "/api/exchanges?where="+url.QueryEscape(where))["exchanges"].([]any)); float64(n) != d["selected"].(float64)+d["rest"].(float64) {
				t.Errorf("%s finds %d, want %v", where, n, d)
			}
		}
		if body := do(s, request("/api/differences?selection=status==503&fields=route")).Body.String(); strings.ContainsAny(body, "<>\x00\u202e") {
			t.Errorf("%q", body)
		}
	}
}

// What is answered is so: each difference is counted again, with questions of its own. And the store's cutting of its
// tables changes no number: it only leaves out, and says so.
func TestDifferencesAreCounted(t *testing.T) {
	mixed, plain := storeOf(t, storetest.Exchanges(3, 700)), storeOf(t, shop(200))
	seen, missed := 0, 0
	for selection, r := range map[string]store.Store{
		"status >= 500": mixed, "duration > 1s": mixed, `grade == "aborted"`: mixed, `server_process == "nginx"`: mixed, `"obs-fold" in anomalies`: mixed,
		`country == "DE"`: mixed, "not has(status)": mixed, "port == 8080": mixed, "status in [503, 404]": plain, "duration > 1s or duration < 10ms": plain, `method == "POST"`: plain,
	} {
		whole := serve(t, func(o *Options) { o.Store = r })
		these, err := filter.Parse(selection)
		if err != nil {
			t.Fatal(err)
		}
		query := "limit=100&selection=" + url.QueryEscape(selection)
		all, answer := differencesOf(t, whole, query)
		among, err := filter.Parse(cmp.Or(answer["among"].(string), "has(id)"))
		if err != nil {
			t.Fatal(err)
		}
		n := counted(t, r, among.Root())
		if answer["selected"].(float64)+answer["rest"].(float64) != float64(n) || answer["unlike"].(float64) != float64(counted(t, r)-n) {
			t.Errorf("%s: %v of %d", selection, answer, n)
		}
		if !slices.IsSortedFunc(all, func(a, b map[string]any) int { return cmp.Compare(b["score"].(float64), a["score"].(float64)) }) {
			t.Errorf("%s: %v aren't in the order of their scores", selection, all)
		}
		known := map[string]bool{}
		for _, d := range all {
			seen++
			known[fmt.Sprint(d)] = true
			f, err := filter.Parse(d["where"].(string))
			if err != nil {
				t.Fatal(err)
			}
			with, inside := counted(t, r, f.Root(), among.Root()), counted(t, r, f.Root(), these.Root())
			if d["selected"] != float64(inside) || d["rest"] != float64(with-inside) || d["selected_share"].(float64) <= d["rest_share"].(float64) {
				t.Errorf("%s: %v; counted %d and %d", selection, d, inside, with-inside)
			}
		}
		for _, n := range []int{1, 3, 10} {
			few, answer := differencesOf(t, serve(t, func(o *Options) { o.Store = fewGroups{r, n} }), query)
			cuts := fmt.Sprint(answer["cut"])
			for _, d := range few {
				if !known[fmt.Sprint(d)] {
					t.Errorf("%s: %v is found of tables with %d groups alone", selection, d, n)
				}
				delete(known, fmt.Sprint(d))
			}
			for d := range known {
				missed++
				if field := regexp.MustCompile(`field:(\S+)`).FindString(d); !strings.Contains(cuts, field+" ") {
					t.Errorf("%s: %v is missing, and nothing says so: %v", selection, d, cuts)
				}
			}
			for _, d := range few {
				known[fmt.Sprint(d)] = true
			}
		}
	}
	if seen < 10 || missed == 0 {
		t.Errorf("too little was tried: %d differences, %d missed", seen, missed)
	}
}

// fewGroups has tables of at most n groups.
type fewGroups struct {
	store.Reader
	n int
}

func (f fewGroups) Aggregate(ctx context.Context, q *store.Aggregate) (*store.Table, error) {
	less := *q
	if less.Limit > f.n && (less.Groups[0].By == store.ByValue || less.Groups[0].By == store.ByNetwork) {
		less.Limit = f.n
	}
	return f.Reader.Aggregate(ctx, &less)
}

// Only like exchanges are compared: what slow requests have more often than statements is that they are requests.
func TestDifferencesOfLikeExchanges(t *testing.T) {
	all := append(shop(60), orders()...)
	s := serve(t, func(o *Options) {
		o.Store = storeOf(t, append(all, place(outputtest.FlowRecord("http"), 999, "10.0.0.7", "10.0.0.2:8000", time.Minute, 100)))
	})
	whole, answer := differencesOf(t, s, "selection=status==503")
	if answer["among"] != `network.protocol in ["http"] and not has(flow.final)` || answer["unlike"] != 35.0 || answer["selected"] != 12.0 || answer["rest"] != 51.0 {
		t.Errorf("%v", answer)
	}
	for _, d := range whole {
		if strings.HasPrefix(d["field"].(string), "db.") || d["field"] == "network.protocol" {
			t.Errorf("%v", d)
		}
	}
	if len(whole) < 2 || whole[0]["field"] != "culprit.route" {
		t.Errorf("%v", whole)
	}
	whole, answer = differencesOf(t, s, "selection="+url.QueryEscape(`db == "mysql" and duration > 10ms`))
	if answer["unlike"] != 69.0 || len(whole) == 0 || whole[0]["field"] != "db.query.summary" || whole[0]["value"] != byOrder {
		t.Errorf("%v", answer)
	}
	if _, answer = differencesOf(t, s, "selection="+url.QueryEscape(`client == "10.0.0.3"`)); answer["unlike"] != 64.0 {
		t.Errorf("%v", answer)
	}
	if _, answer = differencesOf(t, s, "selection=has(flow.final)+or+status==503"); answer["rest"] != 51.0 || answer["among"] != `network.protocol in ["http"] and not has(flow.final) or has(flow.final)` {
		t.Errorf("%v", answer)
	}
	if _, answer = differencesOf(t, s, "selection=id==%22x%22"); answer["unlike"] != 0.0 || answer["rest"] != 98.0 || answer["among"] != "" {
		t.Errorf("%v", answer)
	}
}

// A selection that has nothing to do with what exchanges are has no differences: ids end with a hash.
func TestNoDifferences(t *testing.T) {
	s := serve(t, func(o *Options) { o.Store = storeOf(t, storetest.Exchanges(5, 700)) })
	for _, end := range "02468ACEGJMPRTWY" {
		all, answer := differencesOf(t, s, "selection="+url.QueryEscape(fmt.Sprintf("id endsWith %q", string(end))))
		if len(all) > 0 {
			t.Errorf("%c: %v", end, all)
		}
		if answer["selected"].(float64) > 60 {
			t.Errorf("%v of 700 end with %c", answer["selected"], end)
		}
	}
}

func TestScore(t *testing.T) {
	surety := func(a, n, b, m int64) float64 {
		tally := tally{n, m}
		return tally.surety(&count{selected: a, all: a + b})
	}
	effect := func(a, n, b, m int64) float64 {
		tally := tally{n, m}
		return tally.effect(&count{selected: a, all: a + b})
	}
	for _, c := range []struct{ got, want float64 }{
		{surety(12, 12, 0, 48), 2 * (12*math.Log(5) + 48*math.Log(1.25))},
		{surety(5, 10, 50, 100), 0}, {surety(1, 10, 50, 100), 0}, {surety(10, 10, 100, 100), 0}, {surety(0, 10, 0, 100), 0}, {surety(0, 0, 0, 0), 0},
		{effect(1, 1, 0, 1), math.Pi}, {effect(0, 1, 1, 1), -math.Pi}, {effect(5, 10, 50, 100), 0}, {effect(0, 0, 0, 0), 0},
	} {
		if math.Abs(c.got-c.want) > 1e-9 {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	if surety(300, 320, 100, 10_000) <= surety(3, 320, 0, 10_000) || surety(300, 320, 100, 10_000) <= surety(3, 3, 100, 10_000) {
		t.Error("3 of 3 come before 300 of 320")
	}
	for _, everywhere := range [...]float64{effect(990, 1000, 970, 1000), effect(20, 1000, 10, 1000), effect(550, 1000, 500, 1000)} {
		if everywhere >= smallEffect {
			t.Errorf("%v is no small effect", everywhere)
		}
	}
	if effect(30, 1000, 1, 1000) < smallEffect {
		t.Error("3 % that others haven't are nothing")
	}
}

// What time or memory doesn't suffice for is left out and named; the others are answered.
func TestDifferencesLeftOut(t *testing.T) {
	now := noon
	clock := func(o *Options) { o.Now = func() time.Time { return now } }
	var timeouts []time.Duration
	s := serve(t, clock, func(o *Options) {
		o.Store = answering{o.Store, func(q *store.Aggregate) error {
			timeouts = append(timeouts, q.Timeout)
			now = now.Add(time.Second)
			return nil
		}}
		o.QueryTimeout = 9 * time.Second
	})
	_, answer := differencesOf(t, s, "selection=status==503")
	if got := fmt.Sprint(answer["fields"]); got != "[culprit.route server.ip http.request.method]" || answer["selected"] != 12.0 {
		t.Errorf("%v", answer)
	}
	left := answer["left_out"].([]any)
	if len(left) != ofHTTP-3-3 || dig(left[0], "field") != "url.domain" || !strings.Contains(dig(left[0], "why").(string), "9s") {
		t.Errorf("%v", left)
	}
	if timeouts[0] != 9*time.Second || timeouts[len(timeouts)-1] != time.Second {
		t.Errorf("the time for all is %v", timeouts)
	}

	fail := func(err error) *Server {
		return serve(t, func(o *Options) {
			o.Store = answering{o.Store, func(q *store.Aggregate) error {
				if len(q.Groups) > 0 && q.Groups[0].Field.Name == "server.ip" {
					return err
				}
				return nil
			}}
		})
	}
	_, answer = differencesOf(t, fail(fmt.Errorf("%w: its groups take too much", store.ErrLimit)), "selection=status==503")
	if left := answer["left_out"].([]any); len(left) != 1 || dig(left[0], "field") != "server.ip" || len(answer["differences"].([]any)) != 2 {
		t.Errorf("%v", answer)
	}
	refused(t, fail(fmt.Errorf("a disk is broken")), request("/api/differences?selection=status==503"), 500, "failed", "broken")
	refused(t, serve(t, func(o *Options) {
		o.Store = answering{o.Store, func(*store.Aggregate) error { return store.ErrLimit }}
	}), request("/api/differences?selection=status==503"), 422, "limit", "narrower")
}

// answering looks at each aggregate before it is answered.
type answering struct {
	store.Reader
	look func(q *store.Aggregate) error
}

func (a answering) Aggregate(ctx context.Context, q *store.Aggregate) (*store.Table, error) {
	if err := a.look(q); err != nil {
		return nil, err
	}
	return a.Reader.Aggregate(ctx, q)
}

// All traits can be grouped by, each is there once, and what follows from a field is one.
func TestTraits(t *testing.T) {
	seen := map[string]bool{}
	for _, trait := range traits {
		g, err := store.ParseGroup(trait.group)
		if err != nil || g.String() != trait.group || seen[trait.group] || seen[trait.label] {
			t.Errorf("%v: %v", trait, err)
		}
		seen[trait.group], seen[trait.label] = true, true
	}
	for from, all := range consequences {
		for _, name := range append(all, from) {
			if f := exchange.Lookup(name); f == nil || f.Name != name {
				t.Errorf("there is no field %s", name)
			}
		}
	}
	if len(traits) > MaxTraits {
		t.Errorf("%d traits", len(traits))
	}
}

func TestBadDifferences(t *testing.T) {
	s := serve(t)
	for query, says := range map[string]string{
		"":                                      "is missing",
		"selection=+":                           "is missing",
		"selection=status>1&limit=0":            "1 to 100",
		"selection=status>1&limit=101":          "1 to 100",
		"selection=status>1&fields=nope":        "no field",
		"selection=status>1&fields=class(path)": "can't be said",
		"selection=status>1&fields=http.request.headers":                 "can't be said",
		"selection=status>1&fields=" + strings.Repeat("status,", 65):     "64 are allowed",
		"selection=status>1&selection=status>2":                          "2 times",
		"selection=status>1&from=-1h&to=-2h":                             "from comes first",
		"selection=status>1&group=status":                                "there is no such parameter",
		"selection=status>1&fields=" + strings.Repeat("status%20%20", 9): "no field",
	} {
		refused(t, s, request("/api/differences?"+query), 400, "bad-parameter", says)
	}
	p := refused(t, s, request("/api/differences?where=status>1&selection=status>=500+and+stauts==1"), 400, "bad-filter", "selection: there is no field")
	if p["parameter"] != "selection" || p["position"] != 16.0 || p["length"] != 6.0 {
		t.Errorf("%v", p)
	}
	p = refused(t, s, request("/api/differences?where=stauts>1&selection=status>=500"), 400, "bad-filter", "where: there is no field")
	if p["parameter"] != "where" {
		t.Errorf("%v", p)
	}
}
