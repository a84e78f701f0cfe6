package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/storetest"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// dice is a small source of numbers that are the same each time.
type dice uint64

func (d *dice) n(n int) int {
	*d = *d*6364136223846793005 + 1442695040888963407
	return int(uint64(*d) >> 33 % uint64(n))
}

// question makes an aggregate of everything that can be asked.
func (d *dice) question() *store.Aggregate {
	q := &store.Aggregate{Order: -1}
	field := func(names ...string) *exchange.Field { return exchange.Lookup(names[d.n(len(names))]) }
	for range d.n(4) {
		var g store.Group
		switch d.n(6) {
		case 0:
			g = store.Group{Field: field("status", "size", "client.port"), By: store.ByClass}
		case 1:
			g = store.Group{Field: field("duration", "size", "ttfb", "status"), By: store.ByMagnitude}
		case 2:
			g = store.Group{Field: field("client", "server"), By: store.ByNetwork}
		case 3:
			g = store.Group{Field: field("anomalies", "secrets", "event.category", "culprit.http.interim")}
		default:
			g = store.Group{Field: field("method", "status", "country", "route", "client", "culprit.stream", "duration", "event.kind", "path", "time")}
		}
		q.Groups = append(q.Groups, g)
	}
	for range d.n(5) {
		m := store.Metric{Kind: store.MetricKind(d.n(int(store.ErrorRate) + 1))}
		switch m.Kind {
		case store.Sum, store.Min, store.Max, store.Mean, store.Percentiles:
			m.Field = field("duration", "size", "status", "connect", "ttfb", "client.as.number")
			if m.Kind == store.Percentiles {
				m.Quantiles = []float64{0, 0.5, 0.9, 0.99, 1}[:1+d.n(5)]
			}
		case store.Distinct:
			m.Field = field("client", "path", "status", "anomalies", "user_agent", "event.kind", "event.type", "id")
		}
		q.Metrics = append(q.Metrics, m)
	}
	if d.n(2) == 0 {
		q.Interval = []int64{int64(time.Minute), int64(time.Hour), 7 * int64(time.Minute), int64(24 * time.Hour)}[d.n(4)]
	}
	// The order by a percentile depends on its accuracy.
	if n := len(q.Metrics); n > 0 && d.n(2) == 0 && q.Metrics[n-1].Kind != store.Percentiles {
		q.Order = n - 1
	}
	if d.n(2) == 0 {
		q.Limit = 1 + d.n(8)
	}
	if d.n(3) == 0 {
		q.From = storetest.Begin + storetest.Span/9
	}
	if d.n(3) == 0 {
		q.To = storetest.Begin + storetest.Span/2
	}
	return q
}

// same compares an answer with the oracle's. Percentiles may be 1.01 % off.
func same(got, want *store.Table, metrics []store.Metric) error {
	totals := func(where string, got, want *store.Totals) error {
		if got.Count != want.Count || len(got.Values) != len(want.Values) {
			return fmt.Errorf("%s: %+v, want %+v", where, got, want)
		}
		for i := range got.Values {
			if len(got.Values[i]) != len(want.Values[i]) {
				return fmt.Errorf("%s: metric %d is %v, want %v", where, i, got.Values[i], want.Values[i])
			}
			for k, g := range got.Values[i] {
				w, off := want.Values[i][k], 1e-12
				if metrics[i].Kind == store.Percentiles {
					continue // see below
				}
				if math.IsNaN(g) != math.IsNaN(w) || math.Abs(g-w) > off*math.Abs(w) {
					return fmt.Errorf("%s: metric %d, %v, is %v, want %v", where, i, metrics[i].Kind, got.Values[i], want.Values[i])
				}
			}
		}
		return nil
	}
	if len(got.Groups) != len(want.Groups) || len(got.Rows) != len(want.Rows) || got.OtherGroups != want.OtherGroups {
		return fmt.Errorf("%d groups, %d rows, %d others; want %d, %d, %d", len(got.Groups), len(got.Rows), got.OtherGroups, len(want.Groups), len(want.Rows), want.OtherGroups)
	}
	for i := range got.Groups {
		if len(got.Groups[i].Keys)+len(want.Groups[i].Keys) > 0 && !reflect.DeepEqual(got.Groups[i].Keys, want.Groups[i].Keys) {
			return fmt.Errorf("group %d is %v, want %v", i, got.Groups[i].Keys, want.Groups[i].Keys)
		}
		if err := totals(fmt.Sprint("group ", i), &got.Groups[i].Totals, &want.Groups[i].Totals); err != nil {
			return err
		}
	}
	for i := range got.Rows {
		if got.Rows[i].Group != want.Rows[i].Group || got.Rows[i].Start != want.Rows[i].Start {
			return fmt.Errorf("row %d is %+v, want %+v", i, got.Rows[i], want.Rows[i])
		}
		if err := totals(fmt.Sprint("row ", i), &got.Rows[i].Totals, &want.Rows[i].Totals); err != nil {
			return err
		}
	}
	if err := totals("other", &got.Other, &want.Other); err != nil {
		return err
	}
	return totals("total", &got.Total, &want.Total)
}

// Every aggregate is what the oracle says, exactly; and it is the same with any number of workers.
func TestAggregate(t *testing.T) {
	all := storetest.Exchanges(seed+10, 600)
	oracle := naive(t, all)
	parts := build(t, all, 90)
	filters := storetest.Filters(seed+11, 300, all)
	d := dice(seed)
	for i := range tries(300) {
		q := d.question()
		if i%3 != 0 {
			q.Where = filters[i]
		}
		want, err := oracle.Aggregate(context.Background(), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		var first *store.Table
		for _, workers := range []int{1, 3} {
			l := limits()
			l.Workers = workers
			got, err := Aggregate(context.Background(), parts, q, l)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			if err := same(got, want, q.Metrics); err != nil {
				t.Fatalf("seed %d: question %d, %+v, %d workers: %v", seed, i, q, workers, err)
			}
			got.Cost = store.Cost{}
			if first == nil {
				first = got
			} else if a, b := fmt.Sprintf("%+v", first), fmt.Sprintf("%+v", got); a != b { // NaN isn't equal to itself
				t.Fatalf("seed %d: question %d, %+v: with %d workers\n%s\nwith one\n%s", seed, i, q, workers, b, a)
			}
		}
	}
}

// Percentiles are those of one sketch of the values of each group; streams and one-sided exchanges aren't in those
// of durations.
func TestPercentiles(t *testing.T) {
	all := storetest.Exchanges(seed+12, 800)
	quantiles := []float64{0, 0.1, 0.5, 0.9, 0.99, 1}
	for _, name := range []string{"duration", "ttfb", "size", "culprit.net.server.rtt"} {
		f := exchange.Lookup(name)
		q := &store.Aggregate{Order: -1, Interval: int64(time.Hour), Groups: []store.Group{{Field: exchange.Lookup("method")}},
			Metrics: []store.Metric{{Kind: store.Percentiles, Field: f, Quantiles: quantiles}}}
		got, err := Aggregate(context.Background(), build(t, all, 90), q, limits())
		if err != nil {
			t.Fatal(err)
		}
		of := func(wanted func(x *exchange.Exchange) bool) string {
			var s measure.DDSketch
			for _, x := range all {
				var v exchange.Value
				if f.Get(x, &v); v.Kind != exchange.Absent && wanted(x) &&
					!((name == "duration" || name == "ttfb") && (x.Stream || x.Grade == exchange.OneSided)) {
					s.Add(v.Int)
				}
			}
			values := make([]float64, len(quantiles))
			for i, p := range quantiles {
				values[i] = math.NaN()
				if v, ok := s.Quantile(p); ok {
					values[i] = float64(v)
				}
			}
			return fmt.Sprint(values)
		}
		method := func(x *exchange.Exchange, k store.Key) bool {
			var v exchange.Value
			exchange.Lookup("method").Get(x, &v)
			return string(v.Bytes) == k.Text && (v.Kind == exchange.Absent) == (k.Kind == exchange.Absent)
		}
		for _, g := range got.Groups {
			if got, want := fmt.Sprint(g.Values[0]), of(func(x *exchange.Exchange) bool { return method(x, g.Keys[0]) }); got != want {
				t.Errorf("%s of %v: %s, want %s", name, g.Keys, got, want)
			}
		}
		for _, r := range got.Rows {
			k := got.Groups[r.Group].Keys[0]
			if got, want := fmt.Sprint(r.Values[0]), of(func(x *exchange.Exchange) bool {
				return method(x, k) && r.Start <= x.Start.Time && x.Start.Time < r.Start+q.Interval
			}); got != want {
				t.Errorf("%s of %v at %d: %s, want %s", name, k, r.Start, got, want)
			}
		}
		if got, want := fmt.Sprint(got.Total.Values[0]), of(func(*exchange.Exchange) bool { return true }); got != want {
			t.Errorf("%s of all: %s, want %s", name, got, want)
		}
	}
}

func TestAggregateRefuses(t *testing.T) {
	parts := build(t, storetest.Exchanges(seed, 10), 10)
	f := exchange.Lookup
	for _, c := range []struct {
		want string
		q    store.Aggregate
	}{
		{"interval", store.Aggregate{Order: -1, Interval: -1}},
		{"limit", store.Aggregate{Order: -1, Limit: -1}},
		{"limit", store.Aggregate{Order: -1, Limit: store.MaxGroups + 1}},
		{"ordered", store.Aggregate{Order: 0}},
		{"ordered", store.Aggregate{Order: -2}},
		{"http.request.headers", store.Aggregate{Order: -1, Groups: []store.Group{{Field: f("http.request.headers")}}}},
		{"method", store.Aggregate{Order: -1, Groups: []store.Group{{Field: f("method"), By: store.ByClass}}}},
		{"status", store.Aggregate{Order: -1, Groups: []store.Group{{Field: f("status"), By: store.ByNetwork}}}},
		{"status", store.Aggregate{Order: -1, Groups: []store.Group{{Field: f("status"), By: 9}}}},
		{"path", store.Aggregate{Order: -1, Metrics: []store.Metric{{Kind: store.Sum, Field: f("path")}}}},
		{"no field", store.Aggregate{Order: -1, Metrics: []store.Metric{{Kind: store.Percentiles}}}},
		{"headers", store.Aggregate{Order: -1, Metrics: []store.Metric{{Kind: store.Distinct, Field: f("http.request.headers")}}}},
		{"quantile", store.Aggregate{Order: -1, Metrics: []store.Metric{{Kind: store.Percentiles, Field: f("size"), Quantiles: []float64{math.NaN()}}}}},
		{"metric", store.Aggregate{Order: -1, Metrics: []store.Metric{{Kind: 77}}}},
	} {
		if _, err := Aggregate(context.Background(), parts, &c.q, limits()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want something of %s", c.q, err, c.want)
		}
	}
}

// Nothing gives an answer of nothing, which can be shown.
func TestAggregateOfNothing(t *testing.T) {
	q := &store.Aggregate{Order: 1, Interval: 1e9, Groups: []store.Group{{Field: exchange.Lookup("anomalies")}}, Metrics: []store.Metric{
		{Kind: store.Rate}, {Kind: store.Sum, Field: exchange.Lookup("size")}, {Kind: store.Percentiles, Field: exchange.Lookup("size"), Quantiles: []float64{1}},
		{Kind: store.Distinct, Field: exchange.Lookup("size")}, {Kind: store.ErrorRate},
	}}
	for _, parts := range [][]vector.Part{nil, build(t, storetest.Exchanges(seed, 10), 10)} {
		q.To = 1
		for range 2 {
			got, err := Aggregate(context.Background(), parts, q, limits())
			if err != nil || len(got.Groups)+len(got.Rows) > 0 || got.Total.Count != 0 || fmt.Sprint(got.Total.Values) != "[[NaN] [0] [NaN] [0] [NaN]]" {
				t.Errorf("%+v, %v", got, err)
			}
			q.Groups = nil
		}
	}
}

// A number's magnitude is the bound of the bucket that it is in.
func TestMagnitudes(t *testing.T) {
	m := newMagnitudes()
	if len(m.all) > maxMagnitudes {
		t.Errorf("%d buckets", len(m.all))
	}
	check := func(v int64) {
		want := int64(0)
		for k := 0.0; float64(v) >= math.Pow(10, k/8); k++ {
			want = int64(math.Round(math.Pow(10, k/8)))
		}
		if got := m.all[m.of(v)].key; got != want {
			t.Errorf("%d is in bucket %d, want %d", v, got, want)
		}
	}
	for v := int64(-3); v < 20_000; v++ {
		check(v)
	}
	for v := int64(1); v < 1e15; v *= 10 {
		for _, d := range []int64{-1, 0, 1} {
			check(v + d)
			check(3*v + d)
		}
	}
	check(math.MinInt64)
}

// Different values are counted exactly up to the bound, and nearly above it, however they are spread.
func TestDistinct(t *testing.T) {
	for _, n := range []int{0, 1, 5, 1000, store.DistinctExact, store.DistinctExact + 1, 400_000} {
		parts := make([]set, 3)
		for i := range n {
			h := hashInt(int64(i) * 1e6)
			for k := range parts {
				if i%3 == k || i%7 == 0 {
					parts[k].add(h, 12345)
				}
			}
		}
		var sum set
		for k := range parts {
			sum.merge(&parts[k], 12345)
		}
		got, off := sum.len(), 0.0
		if n > store.DistinctExact {
			off = 0.02
		}
		if math.Abs(got-float64(n)) > off*float64(n) {
			t.Errorf("%d of %d", int(got), n)
		}
		var other set // in another order
		for k := range parts {
			other.merge(&parts[2-k], 99)
		}
		if other.len() != got {
			t.Errorf("%d: %v and %v", n, got, other.len())
		}
	}
}

// A sum is exact beyond 64 bits, in any order.
func TestSummary(t *testing.T) {
	var s summaryOf
	for range 4 {
		s.plus(math.MaxInt64, 0)
	}
	if s.sum() != 4*float64(math.MaxInt64) {
		t.Errorf("the sum is %g", s.sum())
	}
	for range 4 {
		v := int64(math.MinInt64 + 1)
		s.plus(uint64(v), v>>63)
	}
	if s.sum() != 0 {
		t.Errorf("the sum is %g", s.sum())
	}
}

func TestMemoryLimit(t *testing.T) {
	all := storetest.Exchanges(seed+13, 400)
	byID := &store.Aggregate{Order: -1, Groups: []store.Group{{Field: exchange.Lookup("id")}}}
	for _, limit := range []int64{1000, 40_000} {
		l := limits()
		l.Memory = limit
		_, err := Aggregate(context.Background(), build(t, all, 100), byID, l)
		if !errors.Is(err, store.ErrLimit) || !strings.Contains(err.Error(), "memory") {
			t.Errorf("%d bytes: %v", limit, err)
		}
	}
	// One chunk fits at a time: workers wait for each other.
	parts := build(t, all, 50)
	var own []*part
	for i, p := range parts {
		if m, ok := p.(*vector.Memory); ok {
			parts[i] = &part{Memory: m}
		}
		own = append(own, parts[i].(*part))
		own[i].costs = 100_000
	}
	l := limits()
	l.Workers, l.Memory = 4, 150_000
	q := &store.Aggregate{Order: -1, Groups: []store.Group{{Field: exchange.Lookup("method")}}}
	got, err := Aggregate(context.Background(), parts, q, l)
	if err != nil || got.Total.Count != 400 {
		t.Errorf("%+v, %v", got, err)
	}
	l.Memory = 90_000
	if _, err := Aggregate(context.Background(), parts, q, l); !errors.Is(err, store.ErrLimit) {
		t.Errorf("less than a chunk: %v", err)
	}
	for i, p := range own {
		if p.open.Load() != 0 {
			t.Errorf("part %d is open %d times", i, p.open.Load())
		}
	}
	// The scope's limit goes first.
	q.Memory = 1 << 30
	if _, err := Aggregate(context.Background(), parts, q, l); err != nil {
		t.Error(err)
	}
	// Buckets are bounded, too.
	q = &store.Aggregate{Order: -1, Interval: 1}
	var b record.Batch
	for i := range store.MaxBuckets + 1 {
		x := all[0]
		x.Start.Time = storetest.Begin + int64(i)
		b.Add(x)
	}
	if _, err := Aggregate(context.Background(), []vector.Part{decode(t, &b)}, q, limits()); !errors.Is(err, store.ErrLimit) || !strings.Contains(err.Error(), "interval") {
		t.Errorf("buckets: %v", err)
	}
}

func TestTimeLimit(t *testing.T) {
	parts := build(t, storetest.Exchanges(seed+14, 200), 20)
	now := time.Unix(0, 0)
	l := Limits{Workers: 1, Timeout: time.Second, Now: func() time.Time {
		now = now.Add(10 * time.Millisecond)
		return now
	}}
	q := &store.Search{Limit: 100}
	q.Text = "x"
	l.Timeout = 50 * time.Millisecond
	_, err := Search(context.Background(), parts, q, l, func(*exchange.Exchange) error { return nil })
	if !errors.Is(err, store.ErrLimit) || !strings.Contains(err.Error(), "of 200 exchanges") {
		t.Errorf("search: %v", err)
	}
	// The time in found doesn't count.
	l.Timeout = time.Minute
	q.Text = ""
	if _, err := Search(context.Background(), parts, q, l, func(*exchange.Exchange) error {
		now = now.Add(time.Hour)
		return nil
	}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := Search(ctx, parts, q, l, func(*exchange.Exchange) error {
		cancel()
		return nil
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled while found: %v", err)
	}
	if _, err := Aggregate(ctx, parts, &store.Aggregate{Order: -1}, l); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled before: %v", err)
	}
}

// An error of a part ends the question, and leaves nothing open.
func TestErrorsOfParts(t *testing.T) {
	parts := build(t, storetest.Exchanges(seed+15, 200), 20)
	bad := errors.New("bad")
	parts[6].(*part).fail = bad
	if _, err := Aggregate(context.Background(), parts, &store.Aggregate{Order: -1}, limits()); !errors.Is(err, bad) {
		t.Errorf("aggregate: %v", err)
	}
	if _, err := Search(context.Background(), parts, &store.Search{Limit: 200}, limits(), func(*exchange.Exchange) error { return nil }); !errors.Is(err, bad) {
		t.Errorf("search: %v", err)
	}
	for i, p := range parts {
		if p, ok := p.(*part); ok && p.open.Load() != 0 {
			t.Errorf("part %d is open %d times", i, p.open.Load())
		}
	}
}

// Only the columns that a question is about are read.
func TestReadsFewColumns(t *testing.T) {
	p := &part{Memory: build(t, storetest.Exchanges(seed+16, 100), 100)[0].(*part).Memory, read: map[int]bool{}}
	q := &store.Aggregate{Order: -1, Groups: []store.Group{{Field: exchange.Lookup("status"), By: store.ByClass}}, Metrics: []store.Metric{{Kind: store.Sum, Field: exchange.Lookup("size")}}}
	if _, err := Aggregate(context.Background(), []vector.Part{p}, q, limits()); err != nil {
		t.Fatal(err)
	}
	want := []int{record.Index("http.response.status_code"), record.Index("http.response.body.bytes")}
	for col := range p.read {
		if !slices.Contains(want, col) {
			t.Errorf("%s was read", record.Columns[col].Name)
		}
	}
	if len(p.read) != len(want) {
		t.Errorf("%d columns were read", len(p.read))
	}
}

// Percentiles come from the kind of sketch that is asked for, as far as it can be merged.
func TestPercentilesOfKinds(t *testing.T) {
	all := storetest.Exchanges(seed+13, 800)
	q := &store.Aggregate{Order: -1, Metrics: []store.Metric{{Kind: store.Percentiles, Field: exchange.Lookup("size"), Quantiles: []float64{0.5, 0.99}}}}
	told := map[string]bool{}
	for _, k := range []measure.Kind{measure.DD, measure.TDigests, measure.QDigests} {
		q.Sketches = k
		got, err := Aggregate(context.Background(), build(t, all, 90), q, limits())
		if err != nil {
			t.Fatal(err)
		}
		s := measure.NewMaker(k).New()
		for _, x := range all {
			var v exchange.Value
			if exchange.Lookup("size").Get(x, &v); v.Kind != exchange.Absent {
				s.Add(v.Int)
			}
		}
		for i, p := range q.Metrics[0].Quantiles {
			want, _ := s.Quantile(p)
			// Sketches that were merged may take the next of the values, which are whole numbers.
			if v := got.Total.Values[0][i]; math.Abs(v-float64(want)) > max(1, 0.05*float64(want)) {
				t.Errorf("%s: quantile %v is %v, want about %d", k, p, v, want)
			}
		}
		told[fmt.Sprint(got.Total.Values)] = true
	}
	if len(told) != 3 {
		t.Errorf("three kinds of sketches gave %d different answers", len(told))
	}
	q.Sketches = measure.Frugal
	if _, err := Aggregate(context.Background(), build(t, all, 90), q, limits()); !errors.Is(err, measure.ErrNoMerge) {
		t.Errorf("frugal sketches: %v", err)
	}
}
