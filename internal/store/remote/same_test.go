//go:build linux

package remote

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/embedded"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

// How many exchanges both engines are asked about, in soak tests and else.
const (
	manyExchanges = 1_000_000
	someExchanges = 6_000
	batchSize     = 10_000
)

// question is a question of the UI: what Parse functions read.
type question struct {
	where, text, groups, metrics string
	interval                     time.Duration
	limit                        int
}

var asked = []question{
	{metrics: "p50(duration),p99(duration),rate,error_rate", interval: 5 * time.Minute},
	{groups: "class(status)", metrics: "rate", interval: 5 * time.Minute, limit: 10},
	{groups: "route", metrics: "p99(duration)", interval: time.Hour, limit: 5},
	{groups: "magnitude(duration)", metrics: "errors", interval: 5 * time.Minute},
	{groups: "magnitude(size)", metrics: "errors", interval: 5 * time.Minute},
	{groups: "route", metrics: "p50(duration),p90(duration),p99(duration),error_rate", limit: 20},
	{groups: "path", limit: 10}, {groups: "client", metrics: "sum(size),max(duration)", limit: 10}, {groups: "anomalies"},
	{groups: "user_agent", metrics: "mean(duration)"}, {groups: "client server", metrics: "rate,p99(duration),errors", limit: 50},
	{groups: "network(client)", metrics: "sum(size)"}, {groups: "method class(status)", metrics: "distinct(client)"},
	{metrics: "distinct(path),distinct(client)"},
	{where: "status >= 500", metrics: "p99(duration)", interval: time.Minute}, {where: `path startsWith "/api" and duration > 100ms`, groups: "method"},
	{where: `path contains "users"`, groups: "status"}, {where: `path matches "^/api/users/[0-9]+$"`, groups: "route"},
	{where: `not (method in ["GET", "POST"])`, groups: "method"}, {where: `cidr(client, "10.0.0.0/8")`, groups: "grade"},
	{where: `request_header("accept") == "text/html"`, groups: "status"}, {text: "shop", groups: "vhost"}, {text: "10.0.0", groups: "client"},
}

func (q *question) String() string {
	return fmt.Sprintf("%s %s by %s: %s every %v", q.where, q.text, q.groups, q.metrics, q.interval)
}

// aggregate makes the question; shift is added to all quantiles.
func (q *question) aggregate(t *testing.T, shift float64) *store.Aggregate {
	t.Helper()
	a := &store.Aggregate{Order: -1, Interval: int64(q.interval), Limit: q.limit}
	a.Text, a.Timeout = q.text, 5*time.Minute
	if q.where != "" {
		f, err := filter.Parse(q.where)
		if err != nil {
			t.Fatal(err)
		}
		a.Where = f.Root()
	}
	for name := range strings.FieldsSeq(q.groups) {
		g, err := store.ParseGroup(name)
		if err != nil {
			t.Fatal(err)
		}
		a.Groups = append(a.Groups, g)
	}
	var f store.Figures
	for name := range strings.SplitSeq(q.metrics, ",") {
		if name == "" {
			continue
		}
		if err := f.Add(name, false); err != nil {
			t.Fatal(err)
		}
	}
	a.Metrics = f.Metrics
	for i := range a.Metrics {
		for k := range a.Metrics[i].Quantiles {
			a.Metrics[i].Quantiles[k] = min(max(a.Metrics[i].Quantiles[k]+shift, 0), 1)
		}
	}
	return a
}

// How far answers of the two may be apart: percentiles by the error of both, at ranks that are next to each other, where there
// are enough to tell; numbers of different values by that of both.
const (
	apart      = 0.021
	enough     = 2000
	rankShift  = 0.002
	rounding   = 1e-9
	distinctly = 0.03
)

// differ compares the totals of one group, or time bucket.
func differ(q *store.Aggregate, got, want, low, high *store.Totals) error {
	if got.Count != want.Count {
		return fmt.Errorf("count %d, want %d", got.Count, want.Count)
	}
	for i, m := range q.Metrics {
		for k, v := range got.Values[i] {
			least, most, off := want.Values[i][k], want.Values[i][k], rounding
			switch {
			case m.Kind == store.Percentiles && got.Count < enough:
				continue
			case m.Kind == store.Percentiles:
				least, most, off = low.Values[i][k], high.Values[i][k], apart
			case m.Kind == store.Distinct:
				off = distinctly
			}
			if math.IsNaN(v) != math.IsNaN(least) || v < least-math.Abs(least)*off-1 || v > most+math.Abs(most)*off+1 {
				return fmt.Errorf("metric %d is %v, want %v to %v", i, v, least, most)
			}
		}
	}
	return nil
}

// same compares the answers of two engines, of which other has the embedded one's for lower and higher quantiles.
func same(q *store.Aggregate, got, want, low, high *store.Table) error {
	if len(got.Groups) != len(want.Groups) || len(got.Rows) != len(want.Rows) || got.OtherGroups != want.OtherGroups {
		return fmt.Errorf("%d groups, %d buckets, %d others, want %d, %d, %d", len(got.Groups), len(got.Rows), got.OtherGroups, len(want.Groups), len(want.Rows), want.OtherGroups)
	}
	for i := range got.Groups {
		if !slices.Equal(got.Groups[i].Keys, want.Groups[i].Keys) {
			return fmt.Errorf("group %d is %v, want %v", i, got.Groups[i].Keys, want.Groups[i].Keys)
		}
		if err := differ(q, &got.Groups[i].Totals, &want.Groups[i].Totals, &low.Groups[i].Totals, &high.Groups[i].Totals); err != nil {
			return fmt.Errorf("group %v: %w", got.Groups[i].Keys, err)
		}
	}
	for i := range got.Rows {
		if got.Rows[i].Group != want.Rows[i].Group || got.Rows[i].Start != want.Rows[i].Start {
			return fmt.Errorf("bucket %d is of %d from %d on, want %d from %d on", i, got.Rows[i].Group, got.Rows[i].Start, want.Rows[i].Group, want.Rows[i].Start)
		}
		if err := differ(q, &got.Rows[i].Totals, &want.Rows[i].Totals, &low.Rows[i].Totals, &high.Rows[i].Totals); err != nil {
			return fmt.Errorf("bucket %d: %w", i, err)
		}
	}
	if err := differ(q, &got.Total, &want.Total, &low.Total, &high.Total); err != nil {
		return fmt.Errorf("total: %w", err)
	}
	return nil
}

// many calls each for batches of n exchanges: a few thousand, over and over, at other times and with other durations.
func many(n int, each func(b *record.Batch)) {
	const size = 2000
	var base []*exchange.Exchange
	for _, x := range storetest.Exchanges(1, 2*size) {
		if len(x.Request.Raw)+len(x.Response.Raw)+len(x.RequestBody.Bytes)+len(x.ResponseBody.Bytes) < 2000 {
			base = append(base, x)
		}
	}
	b := &record.Batch{}
	for i := range n {
		x := *base[i%len(base)]
		x.Start.Time = storetest.Begin + int64(float64(i)/float64(n)*float64(storetest.Span))
		id := x.ID("")
		binary.BigEndian.PutUint64(id[:8], uint64(x.Start.Time/1e6)<<16)
		binary.BigEndian.PutUint32(id[12:], uint32(i))
		x.KnownID = &id
		if x.Timing.Duration >= 0 {
			longer := int64(i) * 7919 % 1_000_003 * int64(i%13)
			x.Timing.Wait += longer
			x.Timing.Duration += longer
			x.Timing.Total += longer
		}
		x.Completed.Time = x.Start.Time + max(x.Timing.Duration, 0)
		if b.Add(&x); b.Len() == batchSize || i == n-1 {
			each(b)
			b = &record.Batch{}
		}
	}
}

// Both engines give the same answers about the same exchanges.
func TestSameAnswers(t *testing.T) {
	n := someExchanges
	if os.Getenv("CULPRIT_SOAK") != "" {
		n = manyExchanges
	}
	if testing.Short() {
		n = someExchanges / 3
	}
	c := client(t, clusters.Elasticsearch(t, 1).URLs()...)
	template(t, c)
	far := empty(t, c, fmt.Sprintf("suite%d-same", os.Getpid()))
	near, err := embedded.Open(t.TempDir(), embedded.Options{Warn: func(text string) { t.Log(text) }})
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	begun := time.Now()
	batches := make(chan *record.Batch)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for b := range batches {
				// A small cluster is out of memory at times. What it has, it knows.
				_, err := far.Append(b)
				for try := 1; try < 20 && errors.Is(err, store.ErrLimit); try++ {
					_, err = far.Append(b)
				}
				if err != nil {
					t.Errorf("storing %d exchanges: %v", b.Len(), err)
				}
			}
		})
	}
	many(n, func(b *record.Batch) {
		if _, err := near.Append(b); err != nil {
			t.Fatal(err)
		}
		batches <- b
	})
	close(batches)
	wg.Wait()
	t.Logf("%d exchanges were stored in %v", n, time.Since(begun))
	for i := range asked {
		q := &asked[i]
		var answers [4]*store.Table
		var took [4]time.Duration
		for k, reader := range []store.Reader{far, near, near, near} {
			begun := time.Now()
			a := q.aggregate(t, []float64{0, 0, -rankShift, rankShift}[k])
			if answers[k], err = reader.Aggregate(context.Background(), a); err != nil {
				t.Errorf("%s: %v", q, err)
				break
			}
			took[k] = time.Since(begun)
		}
		if err != nil {
			continue
		}
		t.Logf("%8v cluster %8v embedded  %s", took[0].Round(time.Millisecond), took[1].Round(time.Millisecond), q)
		if err := same(q.aggregate(t, 0), answers[0], answers[1], answers[2], answers[3]); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
}
