//go:build linux

package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

// deliver puts documents into an index, as an agent does. change gets each before.
func deliver(t *testing.T, c *elastic.Client, s *Store, all []*exchange.Exchange, change func(i int, document string) string) {
	t.Helper()
	e := ndjson.NewEncoder()
	var b strings.Builder
	for i, x := range all {
		fmt.Fprintf(&b, `{"create":{"_index":%q,"_id":%q}}`+"\n%s\n", s.index(x.Start.Time), idText(x.ID(x.Tap.Observer)), change(i, string(e.Append(nil, x))))
	}
	answer, err := c.Do(context.Background(), &elastic.Request{Method: "POST", Path: "/_bulk", Query: map[string][]string{"refresh": {"true"}}, ContentType: "application/x-ndjson", Body: []byte(b.String())})
	if err != nil || !strings.Contains(string(answer), `"errors":false`) {
		t.Fatalf("%v: %.500s", err, answer)
	}
}

func parse(t *testing.T, text string) filter.Node {
	t.Helper()
	f, err := filter.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f.Root()
}

// What agents deliver is found by everything that documents tell, sampled exchanges count as often as they stand for, and what
// others put there does no harm.
func TestWhatAgentsDeliver(t *testing.T) {
	c := client(t, clusters.Elasticsearch(t, 1).URLs()...)
	template(t, c)
	s := empty(t, c, fmt.Sprintf("suite%d-agents", os.Getpid()))
	const sampled, weight = 7, 10
	made := storetest.Exchanges(5, 200)
	var want []*exchange.Exchange
	for _, x := range made {
		// Of processes, and the place of a header without a name, agents' documents don't tell all.
		nameless := func(f proto.Field) bool { return f.Name.Len == 0 }
		if x.Process == ([2]*exchange.Process{}) && !slices.ContainsFunc(x.Request.Fields, nameless) && !slices.ContainsFunc(x.Response.Fields, nameless) {
			want = append(want, x)
		}
	}
	deliver(t, c, s, want, func(i int, document string) string {
		if i < sampled {
			return fmt.Sprintf(`{%q:%d,%s`, weightField, weight, document[1:])
		}
		return document
	})
	hostile := storetest.Exchanges(6, 4)
	odd := []string{`{}`, `{"@timestamp":"2026-03-01T20:00:01Z","event":{"id":"../x"}}`, `{"@timestamp":"2026-03-01T20:00:02Z","http":{"request":{"headers":{"a":[1,true]}}},"url":{"port":"many","domain":[7,8]}}`, `{"@timestamp":"2026-03-01T20:00:03Z","event":{"id":["a","b"],"duration":"soon"}}`}
	deliver(t, c, s, hostile, func(i int, _ string) string { return odd[i] })

	ctx := context.Background()
	e := ndjson.NewEncoder()
	documents := map[string]string{}
	for _, x := range want {
		documents[idText(x.ID(x.Tap.Observer))] = string(e.Append(nil, x))
	}
	for _, where := range []string{"", `not (status == 1)`, `not (request_header("x-none") contains "a")`} {
		q := &store.Search{Limit: store.MaxLimit}
		if where != "" {
			q.Where = parse(t, where)
		}
		seen := 0
		if _, err := s.Search(ctx, q, func(x *exchange.Exchange) error {
			if document, ours := documents[idText(x.ID(""))]; ours {
				seen++
				if got := string(e.Append(nil, x)); got != document {
					return fmt.Errorf("it was\n%s\nand is\n%s", document, got)
				}
			}
			return nil
		}); err != nil || seen != len(want) {
			t.Errorf("%q: %d of %d were found: %v", where, seen, len(want), err)
		}
	}

	// Counted by the cluster, and here.
	total := int64(len(want) + sampled*(weight-1))
	scope := store.Scope{Where: parse(t, `has(client)`)}
	for what, q := range map[string]*store.Aggregate{
		"by the cluster": {Scope: scope, Order: -1, Groups: []store.Group{{Field: exchange.Lookup("status")}}},
		"here": {Scope: scope, Order: -1, Groups: []store.Group{{Field: exchange.Lookup("client"), By: store.ByNetwork}},
			Metrics: []store.Metric{{Kind: store.Percentiles, Field: exchange.Lookup("duration"), Quantiles: []float64{0.5}}}},
	} {
		table, err := s.Aggregate(ctx, q)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		count := int64(0)
		for _, g := range table.Groups {
			count += g.Count
		}
		if count != total || table.Total.Count != total {
			t.Errorf("%s: %d in groups, %d in all, want %d", what, count, table.Total.Count, total)
		}
	}
}

// What would need too many documents is refused, with what the user can do; what needs none of them isn't.
func TestTooManyDocuments(t *testing.T) {
	c := client(t, clusters.Elasticsearch(t, 1).URLs()...)
	template(t, c)
	s := empty(t, c, fmt.Sprintf("suite%d-limit", os.Getpid()))
	deliver(t, c, s, storetest.Exchanges(5, 100), func(_ int, document string) string { return document })
	few, err := Open(context.Background(), c, Options{Index: s.options.Index, Fetched: 10, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	part := parse(t, `header("accept") contains "t"`)
	for what, c := range map[string]struct {
		q       store.Aggregate
		refused bool
	}{
		"parts of headers":      {store.Aggregate{Order: -1, Scope: store.Scope{Where: part}}, true},
		"parts of few headers":  {store.Aggregate{Order: -1, Scope: store.Scope{Where: &filter.And{Nodes: []filter.Node{part, parse(t, "status == 499")}}}}, false},
		"buckets of nanosecond": {store.Aggregate{Order: -1, Interval: int64(time.Hour) + 1}, true},
		"a plain filter":        {store.Aggregate{Order: -1, Scope: store.Scope{Where: parse(t, "status >= 500")}}, false},
	} {
		_, err := few.Aggregate(context.Background(), &c.q)
		if c.refused != errors.Is(err, store.ErrLimit) || !c.refused && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if c.refused && err != nil && !strings.Contains(err.Error(), "ask about less time") {
			t.Errorf("%s: %v says nothing of what to do", what, err)
		}
	}
	found := 0
	if _, err := few.Search(context.Background(), &store.Search{Scope: store.Scope{Where: part}, Limit: 30}, func(*exchange.Exchange) error { found++; return nil }); err != nil || found == 0 {
		t.Errorf("a search found %d: %v", found, err)
	}
}
