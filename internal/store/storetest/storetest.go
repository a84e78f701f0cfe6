package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
)

// Engine is an engine under test.
type Engine struct {
	// Open makes an empty store, which the test closes; Reopen closes one and opens it again.
	Open   func(t testing.TB) store.Store
	Reopen func(t testing.TB, old store.Store) store.Store
	// Share: one question in so many is asked, and what needs many exchanges is left out; 0: all are. For engines that take
	// long to answer.
	Share int
	// Order returns the text by which the engine sorts exchanges that have that text; nil: that text.
	Order func(text string) string
}

// Test tests an engine that answers quickly, and sorts texts by their bytes.
func Test(t *testing.T, open func(t testing.TB) store.Store, reopen func(t testing.TB, old store.Store) store.Store) {
	Engine{Open: open, Reopen: reopen}.Test(t)
}

// Test tests the engine.
func (e Engine) Test(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(&engine{t, e}) })
	}
}

// engine is the engine under test, in one test.
type engine struct {
	testing.TB
	Engine
}

func (t *engine) open(tb testing.TB) store.Store                    { return t.Open(tb) }
func (t *engine) reopen(tb testing.TB, old store.Store) store.Store { return t.Reopen(tb, old) }

// oracle returns an empty oracle of the engine.
func (t *engine) oracle() *Naive {
	n := NewNaive()
	n.order = t.Order
	return n
}

var cases = []struct {
	name string
	run  func(t *engine)
}{
	{"Empty", testEmpty}, {"Append", testAppend}, {"Filters", testFilters}, {"Scopes", testScopes}, {"Sort", testSort}, {"Fields", testFields},
	{"Pages", testPages}, {"PagesWhileAppending", testPagesWhileAppending}, {"Aggregates", testAggregates}, {"Distinct", testDistinct},
	{"Limits", testLimits}, {"Refused", testRefused}, {"Stopped", testStopped}, {"Concurrent", testConcurrent},
	{"DeleteByAge", testDeleteByAge}, {"DeleteBySize", testDeleteBySize}, {"Reopen", testReopen},
}

// seed is that of the exchanges, amount how many there are.
const (
	seed   = 1
	amount = 700
)

// shortened is how many times fewer questions a short run asks.
const shortened = 5

// share returns one question in how many is asked.
func (t *engine) share() int {
	n := max(t.Share, 1)
	if testing.Short() {
		n *= shortened
	}
	return n
}

// questions returns how many questions to ask of n.
func (t *engine) questions(n int) int { return max(n/t.share(), 2) }

// pair is an engine's store and the oracle, which have the same exchanges.
type pair struct {
	store.Store
	oracle *Naive
	made   []*exchange.Exchange
}

// filled returns stores with made-up exchanges, that came in batches of many sizes; some came twice.
func (t *engine) filled() *pair {
	t.Helper()
	p := &pair{t.open(t), t.oracle(), Exchanges(seed, amount)}
	r := random{seed}
	for rest := p.made; len(rest) > 0; {
		n := min(1+r.n(1+r.n(amount/3)), len(rest))
		p.append(t, rest[:n])
		rest = rest[n:]
		if r.in(4) {
			if err := p.Sync(); err != nil {
				t.Fatalf("Sync: %v", err)
			}
		}
	}
	return p
}

// batch makes a batch.
func batch(all []*exchange.Exchange) *record.Batch {
	b := &record.Batch{}
	for _, x := range all {
		b.Add(x)
	}
	return b
}

// append appends to both stores.
func (p *pair) append(t *engine, all []*exchange.Exchange) {
	t.Helper()
	got, err := p.Append(batch(all))
	if err != nil {
		t.Fatalf("Append of %d exchanges: %v", len(all), err)
	}
	want, err := p.oracle.Append(batch(all))
	if err != nil {
		t.Fatalf("the oracle: %v", err)
	}
	if got != want {
		t.Errorf("Append of %d exchanges stored %d, want %d", len(all), got, want)
	}
}

func (t *engine) close(s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// everything is the search for all exchanges.
func everything() store.Search { return store.Search{Limit: store.MaxLimit} }

func testEmpty(t *engine) {
	s := t.open(t)
	defer t.close(s)
	oracle := t.oracle()
	sameSearch(t, s, oracle, everything())
	sameTable(t, s, oracle, &store.Aggregate{Order: -1})
	sameTable(t, s, oracle, &store.Aggregate{
		Order: 0, Interval: int64(time.Minute), Groups: []store.Group{{Field: exchange.Lookup("status")}},
		Metrics: []store.Metric{{Kind: store.Percentiles, Field: exchange.Lookup("duration"), Quantiles: []float64{0.5}}},
	})
	status(t, s, &store.Status{})
	if n, err := s.Append(&record.Batch{}); n != 0 || err != nil {
		t.Errorf("Append of nothing stored %d: %v", n, err)
	}
	if err := s.Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
	if d, err := s.Delete(context.Background(), store.Retention{Before: math.MaxInt64, MaxBytes: 1}); d.Exchanges != 0 || err != nil {
		t.Errorf("Delete of nothing deleted %d: %v", d.Exchanges, err)
	}
}

// status checks what doesn't depend on the engine.
func status(t testing.TB, s store.Store, want *store.Status) {
	t.Helper()
	got, err := s.Status(context.Background())
	if err != nil {
		t.Errorf("Status: %v", err)
		return
	}
	if got.Exchanges != want.Exchanges || got.First != want.First || got.Last != want.Last || got.Duplicates != want.Duplicates ||
		got.Lost != 0 || got.Damaged != 0 || got.Problem != "" {
		t.Errorf("Status is %+v, want %d exchanges from %d to %d, %d duplicates", got, want.Exchanges, want.First, want.Last, want.Duplicates)
	}
	if got.Exchanges > 0 && (got.Bytes <= 0 || got.Tail < 0 || got.Tail > got.Exchanges || got.LogBytes > got.Bytes) {
		t.Errorf("Status is %+v", got)
	}
}

// What is appended is found at once, each once, as it was.
func testAppend(t *engine) {
	p := &pair{t.open(t), t.oracle(), Exchanges(seed, 60)}
	defer t.close(p)
	p.append(t, p.made[:40])
	sameSearch(t, p, p.oracle, everything())
	p.append(t, p.made[20:50])                                // half of them again
	p.append(t, []*exchange.Exchange{p.made[55], p.made[55]}) // twice in one batch
	p.append(t, p.made[:20])                                  // all of them again
	sameSearch(t, p, p.oracle, everything())
	want, err := p.oracle.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	status(t, p, want)

	e := ndjson.NewEncoder()
	for i, x := range p.made {
		got, err := find(p, idOf(x))
		if err != nil {
			t.Errorf("exchange %d, %s: %v", i, idOf(x), err)
		}
		want := ""
		if i < 50 || i == 55 {
			want = string(e.Append(nil, x))
		}
		if got != want {
			t.Errorf("exchange %d, %s, differs:\n%s", i, idOf(x), difference(got, want))
		}
	}
	if err := p.Exchange(context.Background(), [exchange.IDSize]byte{1}, func(*exchange.Exchange) error { return nil }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an exchange that isn't there: %v", err)
	}
}

func testFilters(t *engine) {
	p := t.filled()
	defer t.close(p)
	some, total := 0, t.questions(400)
	for _, where := range Filters(seed, total, p.made) {
		q := everything()
		q.Where = where
		q.Fields = []*exchange.Field{} // which ones is what matters here
		sameSearch(t, p, p.oracle, q)
		if selected, _, _ := p.oracle.selected(context.Background(), &q.Scope); len(selected) > 0 && len(selected) < amount {
			some++
		}
	}
	if some < total/2 {
		t.Errorf("only %d of %d filters tell exchanges apart", some, total)
	}
}

// scope makes a scope: all, or a part by time, filter and text.
func (p *pair) scope(r *random) (s store.Scope) {
	at := func() int64 { return p.made[r.n(len(p.made))].Start.Time + int64(r.n(3)) - 1 }
	if r.in(3) {
		s.From = at()
	}
	if r.in(3) {
		s.To = at()
	}
	if r.in(3) {
		s.Where = Filters(r.next(), 1, p.made)[0]
	}
	if r.in(4) {
		s.Text = pick(r, "user", "SHOP", "curl/8", "10.0.0", "2001:DB8", "req-17", "4BF92F", "gap of", "caf\xe9", "?", "äö", "ÄÖ", "checkout", "no such text", "{id}", "\x01", "app.js")
	}
	return s
}

func testScopes(t *engine) {
	p := t.filled()
	defer t.close(p)
	r := &random{seed}
	for range t.questions(200) {
		q := everything()
		q.Scope = p.scope(r)
		q.Fields = []*exchange.Field{}
		sameSearch(t, p, p.oracle, q)
	}
	for _, x := range p.made[:20] { // both bounds, to the nanosecond
		q := everything()
		q.From, q.To = x.Start.Time, x.Start.Time+1
		sameSearch(t, p, p.oracle, q)
		q.To--
		sameSearch(t, p, p.oracle, q)
	}
}

func testSort(t *engine) {
	p := t.filled()
	defer t.close(p)
	r := &random{seed}
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		if !ordered(f.Kind) || i%t.share() != 0 {
			continue
		}
		for _, ascending := range []bool{false, true} {
			q := store.Search{Scope: p.scope(r), Sort: f, Ascending: ascending, Limit: pick(r, 10, 1, 100, store.MaxLimit), Fields: []*exchange.Field{f}}
			sameSearch(t, p, p.oracle, q)
		}
	}
}

// Each field can be asked for alone, and is what it is in the whole document.
func testFields(t *engine) {
	p := t.filled()
	defer t.close(p)
	for i := range exchange.Fields {
		if i%t.share() != 0 {
			continue
		}
		q := store.Search{Limit: 200, Fields: []*exchange.Field{&exchange.Fields[i]}}
		sameSearch(t, p, p.oracle, q)
	}
	r := &random{seed}
	for range 20 {
		q := store.Search{Limit: 50}
		for range 1 + r.n(10) {
			q.Fields = append(q.Fields, &exchange.Fields[r.n(len(exchange.Fields))])
		}
		sameSearch(t, p, p.oracle, q)
	}
}

// pages searches page by page, and calls between after each.
func pages(s store.Reader, q store.Search, between func() error) (all []hit, err error) {
	for n := 0; ; n++ {
		found, page, err := hits(s, &q)
		if err != nil {
			return all, fmt.Errorf("page %d: %w", n, err)
		}
		if len(found) > q.Limit {
			return all, fmt.Errorf("page %d has %d exchanges, more than %d", n, len(found), q.Limit)
		}
		all = append(all, found...)
		if q.After = page.Next; q.After == "" {
			return all, nil
		}
		if n*q.Limit > 2*amount {
			return all, errors.New("there is no end")
		}
		if err := between(); err != nil {
			return all, err
		}
	}
}

func testPages(t *engine) {
	p := t.filled()
	defer t.close(p)
	r := &random{seed}
	for i := range t.questions(30) {
		q := store.Search{Scope: p.scope(r), Ascending: r.in(2), Limit: pick(r, 50, 100, 7, 300)}
		for q.Sort == nil || !ordered(q.Sort.Kind) {
			q.Sort = &exchange.Fields[r.n(len(exchange.Fields))]
		}
		if i == 0 {
			q.Sort, q.Scope = nil, store.Scope{}
		}
		if i == 1 {
			q.Sort, q.Scope = exchange.Lookup("status"), store.Scope{} // few values, some absent
		}
		got, err := pages(p, q, func() error { return nil })
		if err != nil {
			t.Errorf("%s: %v", describe(&q), err)
			continue
		}
		whole := q
		whole.Limit = store.MaxLimit
		want, _, err := hits(p.oracle, &whole)
		if err != nil {
			t.Fatal(err)
		}
		sameHits(t, describe(&q)+" page by page", got, want)
	}
}

// New exchanges don't shift the pages of a search that is under way.
func testPagesWhileAppending(t *engine) {
	for _, sort := range []string{"@timestamp", "status"} {
		for _, ascending := range []bool{false, true} {
			p := &pair{t.open(t), t.oracle(), Exchanges(seed, 300)}
			p.append(t, p.made[:200])
			before, _, err := hits(p.oracle, &store.Search{Limit: store.MaxLimit})
			if err != nil {
				t.Fatal(err)
			}
			late := p.made[200:]
			got, err := pages(p, store.Search{Sort: exchange.Lookup(sort), Ascending: ascending, Limit: 30}, func() error {
				n := min(13, len(late))
				p.append(t, late[:n])
				late = late[n:]
				return nil
			})
			if err != nil {
				t.Errorf("by %s: %v", sort, err)
			}
			found := ids(got)
			if i := len(found); i != len(slices.Compact(found)) {
				t.Errorf("by %s: an exchange was found twice", sort)
			}
			for _, h := range before {
				if _, ok := slices.BinarySearch(ids(got), h.id); !ok {
					t.Errorf("by %s, ascending %v: %s wasn't found", sort, ascending, h.id)
				}
			}
			t.close(p)
		}
	}
}

// aggregate makes a question. Those that are ordered by a quantile ask for all groups: which of them come first is then
// up to the engine.
func (p *pair) aggregate(r *random) *store.Aggregate {
	q := &store.Aggregate{Scope: p.scope(r), Order: -1}
	if r.in(2) {
		q.Interval = pick(r, int64(time.Hour), int64(time.Minute), int64(7*time.Minute)+13, int64(24*time.Hour), int64(time.Second))
	}
	fields := func(fits func(f *exchange.Field) bool) *exchange.Field {
		for {
			if f := &exchange.Fields[r.n(len(exchange.Fields))]; fits(f) {
				return f
			}
		}
	}
	for range r.n(3) {
		g := store.Group{By: store.By(r.n(int(store.ByNetwork) + 1))}
		switch g.By {
		case store.ByValue:
			names := []string{"status", "method", "route", "culprit.anomalies", "culprit.http.interim", "client.ip", "culprit.secrets", "culprit.stream", "country", "url.original", "event.kind", "event.category", "asn"}
			g.Field = exchange.Lookup(names[r.n(len(names))])
			if r.in(3) {
				g.Field = fields(func(f *exchange.Field) bool { return f.Kind != exchange.Headers && f.Kind != exchange.Float })
			}
		case store.ByClass:
			g.Field = exchange.Lookup(pick(r, "status", "status", "server.port"))
		case store.ByMagnitude:
			g.Field = fields(isNumber)
		case store.ByNetwork:
			g.Field = exchange.Lookup(pick(r, "client.ip", "server.ip"))
		}
		q.Groups = append(q.Groups, g)
	}
	for range r.n(4) {
		m := store.Metric{Kind: store.MetricKind(r.n(int(store.ErrorRate) + 1))}
		switch m.Kind {
		case store.Sum, store.Min, store.Max, store.Mean:
			m.Field = fields(isNumber)
		case store.Percentiles:
			m.Field = exchange.Lookup(pick(r, "duration", "duration", "size", "ttfb", "wait", "culprit.timing.connect", "client.bytes"))
			m.Quantiles = [][]float64{{0.5, 0.9, 0.99}, {0, 1}, {0.333}}[r.n(3)]
		case store.Distinct:
			m.Field = fields(func(f *exchange.Field) bool { return f.Kind != exchange.Headers })
		}
		q.Metrics = append(q.Metrics, m)
	}
	q.Order = r.n(len(q.Metrics)+1) - 1
	if q.Order < 0 || q.Metrics[q.Order].Kind != store.Percentiles {
		q.Limit = pick(r, 0, 3, 1, 20, store.MaxGroups)
	}
	return q
}

func testAggregates(t *engine) {
	p := t.filled()
	defer t.close(p)
	r := &random{seed}
	for range t.questions(300) {
		sameTable(t, p, p.oracle, p.aggregate(r))
	}
	for _, f := range []string{"duration", "ttfb", "size"} { // streams and one-sided exchanges count for the last only
		sameTable(t, p, p.oracle, &store.Aggregate{Order: -1, Groups: []store.Group{{Field: exchange.Lookup("culprit.stream")}, {Field: exchange.Lookup("grade")}},
			Metrics: []store.Metric{{Kind: store.Percentiles, Field: exchange.Lookup(f), Quantiles: []float64{0.5, 1}}, {Kind: store.Mean, Field: exchange.Lookup(f)}}})
	}
}

// Above the bound, the number of different values may be off by 2 %.
func testDistinct(t *engine) {
	if testing.Short() || t.Share > 1 {
		t.Skip("storing more than store.DistinctExact exchanges takes too long in short runs")
	}
	s := t.open(t)
	defer t.close(s)
	if _, ok := s.(*Naive); ok {
		t.Skip("it is exact, however many there are, and too slow")
	}
	const total, step = store.DistinctExact * 13 / 10, 1000
	x := Exchanges(seed, 1)[0]
	for from := 0; from < total; from += step {
		b := &record.Batch{}
		for i := range step {
			x.KnownID = &[exchange.IDSize]byte{0, 0, byte((from + i) >> 16), byte((from + i) >> 8), byte(from + i)}
			x.Start.Time = Begin + int64(from+i)
			b.Add(x)
		}
		if _, err := s.Append(b); err != nil {
			t.Fatalf("Append: %v", err)
		}
	}
	table, err := s.Aggregate(context.Background(), &store.Aggregate{Order: -1, Metrics: []store.Metric{{Kind: store.Distinct, Field: exchange.Lookup("id")}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := table.Total.Values[0][0]; got < total*0.98 || got > total*1.02 {
		t.Errorf("%v different values, want about %d", got, total)
	}
}

// What needs too much is cut, and says so.
func testLimits(t *engine) {
	p := t.filled()
	defer t.close(p)
	for what, s := range map[string]store.Scope{"Timeout": {Timeout: 1}, "Memory": {Memory: 1}} {
		q := everything()
		q.Scope = s
		if _, _, err := hits(p, &q); !errors.Is(err, store.ErrLimit) {
			t.Errorf("a search beyond its %s: %v", what, err)
		}
		a := &store.Aggregate{Scope: s, Order: -1, Groups: []store.Group{{Field: exchange.Lookup("url.original")}}}
		if _, err := p.Aggregate(context.Background(), a); !errors.Is(err, store.ErrLimit) {
			t.Errorf("an aggregate beyond its %s: %v", what, err)
		}
	}
	sameSearch(t, p, p.oracle, everything()) // it goes on after that

	many := make([]*exchange.Exchange, 0, store.MaxBuckets+10)
	x := *Exchanges(seed+1, 1)[0]
	for i := range cap(many) {
		copied := x
		copied.KnownID = &[exchange.IDSize]byte{1, 2, byte(i >> 8), byte(i)}
		copied.Start.Time = Begin + int64(i)*int64(time.Second)
		many = append(many, &copied)
	}
	s := t.open(t)
	defer t.close(s)
	for part := range slices.Chunk(many, 1000) {
		if _, err := s.Append(batch(part)); err != nil {
			t.Fatalf("Append: %v", err)
		}
	}
	if _, err := s.Aggregate(context.Background(), &store.Aggregate{Order: -1, Interval: int64(time.Second)}); !errors.Is(err, store.ErrLimit) {
		t.Errorf("%d time buckets: %v", len(many), err)
	}
	table, err := s.Aggregate(context.Background(), &store.Aggregate{Order: -1, Groups: []store.Group{{Field: exchange.Lookup("id")}}})
	if err != nil {
		t.Errorf("%d groups: %v", len(many), err)
	} else if len(table.Groups) != store.MaxGroups || table.OtherGroups != 10 || table.Other.Count != 10 || table.Total.Count != int64(len(many)) {
		t.Errorf("%d groups and %d others with %d of %d exchanges", len(table.Groups), table.OtherGroups, table.Other.Count, table.Total.Count)
	}
	if _, err := s.Aggregate(context.Background(), &store.Aggregate{Order: -1, Interval: int64(time.Second), Scope: store.Scope{
		From: Begin, To: Begin + store.MaxBuckets*int64(time.Second),
	}}); err != nil {
		t.Errorf("%d time buckets: %v", store.MaxBuckets, err)
	}
}

// Questions that make no sense are refused, and never answered somehow.
func testRefused(t *engine) {
	p := t.filled()
	defer t.close(p)
	headers, method, status := exchange.Lookup("http.request.headers"), exchange.Lookup("method"), exchange.Lookup("status")
	for i, q := range []store.Search{
		{}, {Limit: -1}, {Limit: store.MaxLimit + 1}, {Limit: 1, Sort: headers}, {Limit: 1, Sort: exchange.Lookup("anomalies")},
		{Limit: 1, After: "x"}, {Limit: 1, After: strings.Repeat("A", 5000)}, {Limit: 1, After: "\x00\xff"},
	} {
		if _, _, err := hits(p, &q); err == nil || errors.Is(err, store.ErrLimit) {
			t.Errorf("search %d wasn't refused: %v", i, err)
		}
	}
	for i, q := range []store.Aggregate{
		{Order: 0}, {Order: -2}, {Order: -1, Interval: -1}, {Order: -1, Limit: -1}, {Order: -1, Limit: store.MaxGroups + 1},
		{Order: -1, Groups: []store.Group{{Field: headers}}}, {Order: -1, Groups: []store.Group{{Field: exchange.Lookup("confidence")}}},
		{Order: -1, Metrics: []store.Metric{{Kind: store.Sum, Field: exchange.Lookup("confidence")}}}, {Order: -1, Groups: []store.Group{{Field: method, By: store.ByClass}}},
		{Order: -1, Groups: []store.Group{{Field: method, By: store.ByMagnitude}}}, {Order: -1, Groups: []store.Group{{Field: status, By: store.ByNetwork}}},
		{Order: -1, Groups: []store.Group{{Field: status, By: 200}}}, {Order: -1, Metrics: []store.Metric{{Kind: store.Sum, Field: method}}},
		{Order: -1, Metrics: []store.Metric{{Kind: store.Sum}}}, {Order: -1, Metrics: []store.Metric{{Kind: store.Distinct}}},
		{Order: -1, Metrics: []store.Metric{{Kind: store.Distinct, Field: headers}}}, {Order: -1, Metrics: []store.Metric{{Kind: 200}}},
		{Order: -1, Metrics: []store.Metric{{Kind: store.Percentiles, Field: status, Quantiles: []float64{1.5}}}},
		{Order: -1, Metrics: []store.Metric{{Kind: store.Percentiles, Field: status, Quantiles: []float64{math.NaN()}}}},
	} {
		if _, err := p.Aggregate(context.Background(), &q); err == nil || errors.Is(err, store.ErrLimit) {
			t.Errorf("aggregate %d wasn't refused: %v", i, err)
		}
	}
}

// A question ends when its asker wants so.
func testStopped(t *engine) {
	p := t.filled()
	defer t.close(p)
	stop := errors.New("enough")
	calls := 0
	q := everything()
	if _, err := p.Search(context.Background(), &q, func(*exchange.Exchange) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("a search that found enough: %v, after %d exchanges", err, calls)
	}
	id := p.made[0].ID(p.made[0].Tap.Observer)
	if err := p.Exchange(context.Background(), id, func(*exchange.Exchange) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Exchange: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Search(ctx, &q, func(*exchange.Exchange) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled search: %v", err)
	}
	if _, err := p.Aggregate(ctx, &store.Aggregate{Order: -1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled aggregate: %v", err)
	}
}

// Readers see what was stored when they asked, while more comes.
func testConcurrent(t *engine) {
	p := &pair{Store: t.open(t), made: Exchanges(seed, 400)}
	defer t.close(p)
	var begun, stored atomic.Int64
	var finished atomic.Bool
	var wg sync.WaitGroup
	for reader := range 3 {
		wg.Go(func() {
			r := &random{uint64(reader)}
			for last := false; !last; {
				last = finished.Load()
				least := stored.Load()
				count, err := p.count(r.n(3))
				if most := begun.Load(); err != nil {
					t.Errorf("while appending: %v", err)
				} else if count < least || count > most {
					t.Errorf("%d exchanges, between %d and %d are stored", count, least, most)
				}
			}
		})
	}
	for part := range slices.Chunk(p.made, 16) {
		begun.Add(int64(len(part)))
		if n, err := p.Append(batch(part)); err != nil || n != len(part) {
			t.Errorf("Append stored %d of %d: %v", n, len(part), err)
		}
		stored.Add(int64(len(part)))
	}
	finished.Store(true)
	wg.Wait()
}

// count counts what is stored in one of three ways.
func (p *pair) count(way int) (int64, error) {
	switch way {
	case 0:
		all, _, err := hits(p, &store.Search{Limit: store.MaxLimit, Fields: []*exchange.Field{}})
		if found := ids(all); len(slices.Compact(found)) != len(all) {
			return 0, errors.New("an exchange was found twice")
		}
		return int64(len(all)), err
	case 1:
		s, err := p.Status(context.Background())
		if err != nil {
			return 0, err
		}
		return s.Exchanges, nil
	}
	table, err := p.Aggregate(context.Background(), &store.Aggregate{Order: -1, Groups: []store.Group{{Field: exchange.Lookup("grade")}}})
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	for i := range table.Groups {
		sum += table.Groups[i].Count
	}
	if sum != table.Total.Count {
		return 0, fmt.Errorf("%d exchanges in groups, %d in all", sum, table.Total.Count)
	}
	return sum, nil
}

func testDeleteByAge(t *engine) {
	p := t.filled()
	defer t.close(p)
	for _, part := range []int64{5, 2, 1} {
		r := store.Retention{Before: Begin + Span/part}
		got, err := p.Delete(context.Background(), r)
		if err != nil {
			t.Fatalf("Delete: %v", err)
		}
		want, _ := p.oracle.Delete(context.Background(), r)
		if got.Exchanges != want.Exchanges {
			t.Errorf("%d exchanges were deleted, want %d", got.Exchanges, want.Exchanges)
		}
		sameSearch(t, p, p.oracle, everything())
		sameTable(t, p, p.oracle, &store.Aggregate{Order: -1, Interval: int64(time.Hour)})
		left, err := p.oracle.Status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if s, err := p.Status(context.Background()); err != nil || s.Exchanges != left.Exchanges || s.First != left.First || s.Last != left.Last {
			t.Errorf("Status is %+v, want %+v: %v", s, left, err)
		}
	}
	if document, err := find(p, idOf(p.made[0])); err != nil || document != "" {
		t.Errorf("a deleted exchange is found: %v", err)
	}
}

// The oldest are deleted until the rest fits.
func testDeleteBySize(t *engine) {
	p := t.filled()
	defer t.close(p)
	before, err := p.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Delete(context.Background(), store.Retention{MaxBytes: before.Bytes + 1}); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	sameSearch(t, p, p.oracle, everything()) // it fitted
	// An engine may have written the tail in another form by now.
	if before, err = p.Status(context.Background()); err != nil {
		t.Fatal(err)
	}
	most := before.Bytes / 2
	d, err := p.Delete(context.Background(), store.Retention{MaxBytes: most})
	if err != nil {
		t.Fatalf("Delete: %v", err)
	}
	after, err := p.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if after.Bytes >= most || d.Exchanges == 0 || after.Exchanges != before.Exchanges-d.Exchanges {
		t.Errorf("%+v were deleted, %d bytes and %d exchanges of %d and %d are left; at most %d bytes were wanted",
			d, after.Bytes, after.Exchanges, before.Bytes, before.Exchanges, most)
	}
	all, _, err := hits(p.oracle, &store.Search{Limit: store.MaxLimit}) // newest first
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := hits(p, &store.Search{Limit: store.MaxLimit})
	if err != nil {
		t.Fatalf("after Delete: %v", err)
	}
	if int64(len(got)) != after.Exchanges || len(got) > len(all) {
		t.Fatalf("%d exchanges are found of %d", len(got), after.Exchanges)
	}
	// Those that are left are the newest. Among those that began at one time any may be.
	for i, h := range got {
		if timePart(h.id) != timePart(all[i].id) {
			t.Errorf("%s is left, but not %s", h.id, all[i].id)
			break
		}
	}
}

// timePart is the part of an id that tells the time.
func timePart(id string) string { return id[:10] }

func testReopen(t *engine) {
	p := t.filled()
	r := &random{seed}
	for round := range 3 {
		p.Store = t.reopen(t, p.Store)
		sameSearch(t, p, p.oracle, everything())
		for range t.questions(20) {
			sameTable(t, p, p.oracle, p.aggregate(r))
		}
		for _, where := range Filters(seed+uint64(round), t.questions(20), p.made) {
			sameSearch(t, p, p.oracle, store.Search{Scope: store.Scope{Where: where}, Limit: 100, Fields: []*exchange.Field{}})
		}
		p.append(t, p.made[:100]) // they are known still
		more := Exchanges(seed+100+uint64(round), 30)
		p.append(t, more)
		p.made = append(p.made, more...)
		sameSearch(t, p, p.oracle, everything())
	}
	t.close(p)
}
