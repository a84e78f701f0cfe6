package query

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// columns are decoded columns of one chunk, as the executor gets them. Columns that aren't there are absent.
type columns struct {
	rows        int
	first, last int64
	ints        map[int]vector.Ints
	texts       map[int]*vector.Texts
}

func (c *columns) Rows() int                            { return c.rows }
func (c *columns) Len() int                             { return c.rows }
func (c *columns) Times() (first, last int64)           { return c.first, c.last }
func (c *columns) Open() (vector.Chunk, error)          { return c, nil }
func (c *columns) Release()                             {}
func (c *columns) Cost([]int) int64                     { return 0 }
func (c *columns) MayHave(int, []byte) bool             { return true }
func (c *columns) Ints(i int) (vector.Ints, error)      { return c.ints[i], nil }
func (c *columns) Texts(i int) (*vector.Texts, error)   { return c.texts[i], nil }
func (c *columns) Lists(int) (*vector.Lists, error)     { return nil, nil }
func (c *columns) Headers(int) (*vector.Headers, error) { return nil, nil }

func (c *columns) Bounds(i int) (least, most int64, absent, ok bool) {
	if i == record.Time {
		return c.first, c.last, false, true
	}
	return math.MaxInt64, math.MinInt64, true, c.ints[i] == nil
}

func (c *columns) TextBounds(int) (least, most []byte, absent, ok bool) { return nil, nil, true, false }

func (c *columns) Row(r int, _ []int, into *record.Row) error {
	into.Set(record.Time).Int = c.ints[record.Time][r]
	into.Set(record.ID).Text = fmt.Appendf(nil, "01ARZ3NDEKTSV4RRFF%08d", r)
	return nil
}

const (
	benchRows  = 5_000_000
	benchChunk = 128 << 10
	benchStep  = 100_000 // ns from one exchange to the next
)

// millions makes 5 million exchanges: 300 routes, 50,000 clients in 60 countries, log-normal durations, nearly in the
// order of time. A few chunks share their columns but for the time.
func millions() (parts []vector.Part) {
	d := dice(seed)
	dictionary := func(n int, text func(i int) string) (dict vector.Dict) {
		for i := range n {
			dict.Add([]byte(text(i)))
		}
		return dict
	}
	zipf := func(n int) uint32 { // about
		return uint32(math.Exp(float64(d.n(1<<20)) / (1 << 20) * math.Log(float64(n))))
	}
	const variants = 4
	var shared [variants]columns
	col := func(name string) int {
		c, _ := record.Lookup(exchange.Lookup(name))
		return c
	}
	for v := range shared {
		status, duration := make(vector.Ints, benchChunk), make(vector.Ints, benchChunk)
		route, client, country := make([]uint32, benchChunk), make([]uint32, benchChunk), make([]uint32, benchChunk)
		result, grades := make([]uint32, benchChunk), make([]uint32, benchChunk)
		for i := range benchChunk {
			status[i] = []int64{200, 200, 200, 201, 204, 301, 304, 404, 401, 500}[d.n(10)]
			normal := float64(d.n(1<<20)+d.n(1<<20)+d.n(1<<20)+d.n(1<<20)-2<<20) / (1 << 20)
			duration[i] = int64(2e7 * math.Exp(2*normal))
			route[i], client[i] = zipf(300), zipf(50_000)
			country[i] = client[i]%60 + 1
			result[i] = uint32(1 + status[i]/400)
			grades[i] = 1
		}
		shared[v].ints = map[int]vector.Ints{col("status"): status, col("duration"): duration}
		shared[v].texts = map[int]*vector.Texts{
			col("route"):   {Dict: dictionary(300, func(i int) string { return fmt.Sprintf("/api/v1/things/%d/{id}", i) }), Rows: route},
			col("client"):  {Dict: dictionary(50_000, func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }), Rows: client},
			col("country"): {Dict: dictionary(60, func(i int) string { return string([]byte{'A' + byte(i/26), 'A' + byte(i%26)}) }), Rows: country},
			col("outcome"): {Dict: dictionary(2, func(i int) string { return []string{"success", "failure"}[i] }), Rows: result},
			col("grade"):   {Dict: dictionary(1, func(int) string { return "complete" }), Rows: grades},
		}
	}
	for from := 0; from < benchRows; from += benchChunk {
		c := shared[len(parts)%variants]
		c.rows = min(benchChunk, benchRows-from)
		times := make(vector.Ints, c.rows)
		for i := range times {
			times[i] = int64(from+i)*benchStep + int64(d.n(50))*benchStep
		}
		c.first, c.last = int64(from)*benchStep, int64(from+c.rows+50)*benchStep
		own := map[int]vector.Ints{record.Time: times}
		for i, column := range c.ints {
			own[i] = column[:c.rows]
		}
		c.ints = own
		parts = append(parts, &c)
	}
	return parts
}

// BenchmarkQuery measures the questions of the store's goals, on one core, with columns that are decoded already.
func BenchmarkQuery(b *testing.B) {
	parts := millions()
	l := Limits{Workers: 1, Memory: 256 << 20, Now: time.Now}
	f := exchange.Lookup
	parse := func(text string) filter.Node {
		p, err := filter.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		return p.Root()
	}
	for name, q := range map[string]*store.Aggregate{
		"histogram": {Order: -1, Interval: benchRows * benchStep / 200, Groups: []store.Group{{Field: f("status"), By: store.ByClass}}},
		"percentiles": {Order: -1, Groups: []store.Group{{Field: f("route")}}, Metrics: []store.Metric{
			{Kind: store.Percentiles, Field: f("duration"), Quantiles: []float64{0.5, 0.9, 0.99}}}},
		"distinct":       {Order: -1, Groups: []store.Group{{Field: f("country")}}, Metrics: []store.Metric{{Kind: store.Distinct, Field: f("client")}}},
		"heatmap":        {Order: -1, Interval: benchRows * benchStep / 200, Groups: []store.Group{{Field: f("duration"), By: store.ByMagnitude}}},
		"errors":         {Order: -1, Groups: []store.Group{{Field: f("route")}}, Metrics: []store.Metric{{Kind: store.ErrorRate}, {Kind: store.Mean, Field: f("duration")}}},
		"filtered":       {Scope: store.Scope{Where: parse(`status >= 500 and route startsWith "/api/v1/things/1"`)}, Order: -1},
		"clients-routes": {Order: -1, Limit: 10, Groups: []store.Group{{Field: f("client")}, {Field: f("route")}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t, err := Aggregate(context.Background(), parts, q, l)
				if err != nil {
					b.Fatal(err)
				}
				if t.Total.Count == 0 {
					b.Fatal("nothing was selected")
				}
			}
		})
	}
	for name, q := range map[string]*store.Search{
		"slowest":        {Scope: store.Scope{Where: parse(`status == 404 and country != "AA"`)}, Sort: f("duration"), Limit: 100},
		"newest":         {Limit: 100},
		"slowest-of-all": {Sort: f("duration"), Limit: store.MaxLimit},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Search(context.Background(), parts, q, l, func(*exchange.Exchange) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkContains measures the search for a part in unique texts, in bytes of text.
func BenchmarkContains(b *testing.B) {
	d := dice(seed)
	var dict vector.Dict
	for range 128 << 10 {
		dict.Add(fmt.Appendf(nil, "/api/v1/things/%d/orders/%08x%08x?page=%d&Filter=Checkout-%d", d.n(300), d.n(1<<31), d.n(1<<31), d.n(50), d.n(1000)))
	}
	e := &evaluator{check: func() error { return nil }}
	hits := make([]uint8, dict.Len()+1)
	for _, c := range []struct {
		name, needle string
		fold         bool
	}{
		{"absent", "zebra", false}, {"absent-fold", "zebra", true}, {"hex", "deadbeef", false}, {"hex-fold", "deadbeef", true},
		{"some", "checkout-77", true}, {"word", "page=17", false}, {"common", "orders", true},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(dict.Bytes)))
			f := &finder{[]byte(c.needle), c.fold}
			for b.Loop() {
				clear(hits)
				if err := f.mark(e, &dict, hits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
