//go:build linux

package elastic_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/lab/cluster"
	"github.com/culprit-http/culprit/internal/output/elastic"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/ship"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

var clusters cluster.Shared

func TestMain(m *testing.M) { os.Exit(clusters.Run(m)) }

// products are the clusters that tests run against.
var products = []struct {
	name  string
	start func(testing.TB, int) *cluster.Cluster
	soak  bool // in long runs only
}{
	{"elasticsearch", clusters.Elasticsearch, false},
	{"opensearch", clusters.OpenSearch, false},
	{"elasticsearch 7", clusters.Elasticsearch7, true},
	{"elasticsearch 9", clusters.Elasticsearch9, true},
	{"opensearch 3", clusters.OpenSearch3, true},
}

// onClusters runs a test against a node of each product.
func onClusters(t *testing.T, test func(t *testing.T, c *cluster.Cluster)) {
	for _, p := range products {
		t.Run(p.name, func(t *testing.T) {
			if p.soak && os.Getenv("CULPRIT_SOAK") == "" {
				t.Skip("takes another cluster: set CULPRIT_SOAK")
			}
			test(t, p.start(t, 1))
		})
	}
}

// options are those of an output to a cluster.
func options(t testing.TB, index string, addresses ...string) elastic.Options {
	t.Helper()
	urls, auth, err := endpoint.ParseURLs(strings.Join(addresses, ","), client.Schemes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return elastic.Options{Cluster: client.Options{URLs: urls, Endpoint: endpoint.Options{Auth: auth}}, Index: index}
}

func newOutput(t testing.TB, o elastic.Options) *elastic.Output {
	t.Helper()
	out, err := elastic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func newClient(t testing.TB, o elastic.Options) *client.Client {
	t.Helper()
	c, err := client.New(o.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// events makes events of exchanges.
func events(all []*exchange.Exchange) []ship.Event {
	e := ndjson.NewEncoder()
	out := make([]ship.Event, len(all))
	for i, x := range all {
		out[i] = ship.Event{ID: x.ID(""), Time: x.Start.Time, Weight: 1, Body: e.Append(nil, x)}
	}
	return out
}

// deliver sends until each event was stored or refused, as a shipper does, but without patience: after Patience it is an
// error.
func deliver(t testing.TB, s ship.Sender, all []ship.Event) (known int, rejected []ship.Rejection) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cluster.Patience)
	defer cancel()
	places := make([]int, len(all))
	for i := range places {
		places[i] = i
	}
	var problem error
	for len(all) > 0 {
		if ctx.Err() != nil {
			t.Errorf("%d events aren't delivered: %v", len(all), problem)
			return known, rejected
		}
		r, err := s.Send(ctx, all)
		known += r.Known
		gone := map[int]bool{}
		for _, no := range r.Rejected {
			gone[no.Index] = true
			rejected = append(rejected, ship.Rejection{Index: places[no.Index], Reason: no.Reason})
		}
		again := r.Retry
		if err != nil {
			problem, again = err, nil
			for i := range all {
				if i >= r.Delivered && !gone[i] {
					again = append(again, i)
				}
			}
		}
		var left []ship.Event
		var rest []int
		for _, i := range again {
			left, rest = append(left, all[i]), append(rest, places[i])
		}
		all, places = left, rest
		if len(all) > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // a pause, not a wait for something
			}
		}
	}
	return known, rejected
}

// documents returns all documents of indices, by their ids, after a refresh.
func documents(t *testing.T, c *client.Client, indices string) map[string]json.RawMessage {
	t.Helper()
	ctx := context.Background()
	if err := c.JSON(ctx, http.MethodPost, "/"+indices+"/_refresh", nil, nil); err != nil {
		t.Fatal(err)
	}
	all := map[string]json.RawMessage{}
	query := map[string]any{"size": 1000, "sort": []string{"event.id"}}
	for {
		var page struct {
			Hits struct {
				Hits []struct {
					Index  string          `json:"_index"`
					ID     string          `json:"_id"`
					Source json.RawMessage `json:"_source"`
					Sort   []any
				}
			}
		}
		if err := c.JSON(ctx, http.MethodPost, "/"+indices+"/_search", query, &page); err != nil {
			t.Fatal(err)
		}
		hits := page.Hits.Hits
		for _, h := range hits {
			if _, twice := all[h.ID]; twice {
				t.Errorf("%s is stored twice", h.ID)
			}
			all[h.ID] = h.Source
		}
		if len(hits) == 0 {
			return all
		}
		query["search_after"] = hits[len(hits)-1].Sort
	}
}

// Everything that an exchange can be is taken, is there as it was sent, in the index of its day, and once, however often it
// is sent.
func TestDelivery(t *testing.T) {
	onClusters(t, func(t *testing.T, on *cluster.Cluster) {
		o := options(t, "delivery", on.URLs()...)
		s := newOutput(t, o).Sender()
		defer s.Close()
		sent := events(storetest.Exchanges(1, 1500))
		for n, wantKnown := range []int{0, len(sent)} {
			known, rejected := deliver(t, s, sent)
			if known != wantKnown || len(rejected) > 0 {
				t.Errorf("sent %d times: known %d, rejected %v", n+1, known, rejected)
			}
		}
		c := newClient(t, o)
		got := documents(t, c, "delivery-exchanges-*")
		if len(got) != len(sent) {
			t.Errorf("%d documents are stored of %d", len(got), len(sent))
		}
		for i := range sent {
			id := string(exchange.AppendID(nil, sent[i].ID))
			if !bytes.Equal(got[id], sent[i].Body) {
				t.Fatalf("%s: stored %s\nsent %s", id, got[id], sent[i].Body)
			}
			day := "delivery-exchanges-" + time.Unix(0, sent[i].Time).UTC().Format("2006.01.02")
			if i%100 == 0 {
				if _, err := c.Do(context.Background(), &client.Request{Method: http.MethodGet, Path: "/" + day + "/_doc/" + id}); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// A document that the cluster can't take is refused with the reason, and those around it are stored.
func TestPoison(t *testing.T) {
	onClusters(t, func(t *testing.T, on *cluster.Cluster) {
		o := options(t, "poison", on.URLs()...)
		s := newOutput(t, o).Sender()
		defer s.Close()
		sent := events(storetest.Exchanges(2, 6))
		body := func(text string) []byte {
			return []byte(`{"@timestamp":"2026-11-22T00:00:00.000000001Z","event":{"id":"` + fmt.Sprint(len(text)) + `"},` + text + `}`)
		}
		sent[1].Body = body(`"http":"not an object"`)
		sent[3].Body = body(`"http":{"request":{"bytes":1}},,`)
		sent[4].Body = []byte("{\"two\":\n\"lines\"}")
		known, rejected := deliver(t, s, sent)
		var at []int
		for _, r := range rejected {
			at = append(at, r.Index)
			t.Log(r.Index, r.Reason)
		}
		if known != 0 || !slices.Equal(at, []int{1, 3, 4}) {
			t.Errorf("known %d, rejected %v", known, rejected)
		}
		for i, want := range []string{"http", "", "line"} {
			if i < len(rejected) && !strings.Contains(rejected[i].Reason, want) {
				t.Errorf("reason %q, want %q in it", rejected[i].Reason, want)
			}
		}
		if got := documents(t, newClient(t, o), "poison-exchanges-*"); len(got) != 3 {
			t.Errorf("%d documents are stored, want 3", len(got))
		}
	})
}

// Whatever a peer sends in place of a value, the document is stored: it is too long to be indexed, or malformed.
func TestHostileValues(t *testing.T) {
	onClusters(t, func(t *testing.T, on *cluster.Cluster) {
		o := options(t, "hostile", on.URLs()...)
		s := newOutput(t, o).Sender()
		defer s.Close()
		long, wide := strings.Repeat("x", 200_000), strings.Repeat("\u20ac", 60_000)
		var sent []ship.Event
		for i, f := range exchange.Fields {
			if f.Type == "flattened" || f.Type == "boolean" || f.Name == "event.id" {
				continue // headers come below, and nobody sends a boolean or an id
			}
			for k, value := range []string{long, wide, "\\u0000", "-1e999", "999999999999999999999999"} {
				path := strings.Split(f.Name, ".")
				text := `"` + value + `"`
				for _, name := range slices.Backward(path) {
					text = `{"` + name + `":` + text + "}"
				}
				e := ship.Event{Body: []byte(text), Weight: 1}
				e.ID[0], e.ID[1] = byte(i), byte(k)
				sent = append(sent, e)
			}
		}
		for k, headers := range []string{
			`"a":["` + long + `"]`, `"a":["` + wide + `","b"]`, `"` + strings.Repeat("n", 8000) + `":["` + long + `","v"]`, `"` + long + `":["` + wide + `"]`,
			`"a\u0000b":["x"]`, `"":["x"],".":["y"],"..":["z"],"a.b":["c"],"a":["d"]`, `"a":["` + long[:32766-len("a")] + `"]`, `"a":["` + long[:32000] + `"]`,
		} {
			e := ship.Event{Body: []byte(`{"http":{"request":{"headers":{` + headers + `}}}}`), Weight: 1}
			e.ID[2] = byte(k + 1)
			sent = append(sent, e)
		}
		for part := range slices.Chunk(sent, 50) {
			if _, rejected := deliver(t, s, part); len(rejected) > 0 {
				t.Errorf("rejected: %.300s: %s", part[rejected[0].Index].Body, rejected[0].Reason)
			}
		}
	})
}

// Aggregations count a sampled document as often as its weight says.
func TestWeight(t *testing.T) {
	onClusters(t, func(t *testing.T, on *cluster.Cluster) {
		o := options(t, "weight", on.URLs()...)
		s := newOutput(t, o).Sender()
		defer s.Close()
		sent := events(storetest.Exchanges(3, 2))
		sent[0].Weight, sent[1].Weight = 1, 10
		sent[1].Time = sent[0].Time
		deliver(t, s, sent)
		c := newClient(t, o)
		documents(t, c, "weight-exchanges-*")
		var answer struct {
			Aggregations struct {
				Kind struct {
					Buckets []struct {
						Count int `json:"doc_count"`
					}
				}
			}
		}
		ask := map[string]any{"size": 0, "aggs": map[string]any{"kind": map[string]any{"terms": map[string]any{"field": "event.kind"}}}}
		if err := c.JSON(context.Background(), http.MethodPost, "/weight-exchanges-*/_search", ask, &answer); err != nil {
			t.Fatal(err)
		}
		if b := answer.Aggregations.Kind.Buckets; len(b) != 1 || b[0].Count != 11 {
			t.Errorf("counts %+v, want 11", b)
		}
	})
}

// An index that is read-only keeps what is sent to it waiting, with advice, until it isn't any more; other days go on.
func TestReadOnly(t *testing.T) {
	onClusters(t, func(t *testing.T, on *cluster.Cluster) {
		o := options(t, "readonly", on.URLs()...)
		s := newOutput(t, o).Sender()
		defer s.Close()
		sent := events(storetest.Exchanges(4, 4))
		const day = int64(24 * time.Hour)
		for i := range sent {
			sent[i].Time = int64(i%2+1) * 365 * day
		}
		deliver(t, s, sent[:2])
		ctx := context.Background()
		c := newClient(t, o)
		block := func(on any) {
			settings := map[string]any{"index.blocks.read_only_allow_delete": on}
			if err := c.JSON(ctx, http.MethodPut, "/readonly-exchanges-1971.01.01/_settings", settings, nil); err != nil {
				t.Fatal(err)
			}
		}
		block(true)
		if r, err := s.Send(ctx, sent[2:]); err != nil || !slices.Equal(r.Retry, []int{0}) || len(r.Rejected) > 0 {
			t.Errorf("a day is read-only, another isn't: %+v, %v", r, err)
		}
		if r, err := s.Send(ctx, sent[2:3]); err == nil || !strings.Contains(err.Error(), "disk") || len(r.Rejected) > 0 {
			t.Errorf("read-only: %+v, %v", r, err)
		}
		block(nil)
		if known, rejected := deliver(t, s, sent[2:]); known != 1 || len(rejected) > 0 {
			t.Errorf("after: known %d, rejected %v", known, rejected)
		}
	})
}

// One of three nodes is killed while four workers send: nothing is lost, and nothing is there twice.
func TestKilledNode(t *testing.T) {
	for _, p := range products {
		if p.soak { // other versions have the same protocol, and three nodes of each take gigabytes
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			if p.name != "opensearch" && os.Getenv("CULPRIT_SOAK") == "" {
				t.Skip("takes three more nodes: set CULPRIT_SOAK")
			}
			on := p.start(t, 3)
			n := 4_000
			if os.Getenv("CULPRIT_SOAK") != "" {
				n = 50_000
			}
			sent := events(storetest.Exchanges(5, n))
			o := options(t, "killed", on.URLs()...)
			out := newOutput(t, o)
			c := newClient(t, o)
			batches := make(chan []ship.Event)
			var workers sync.WaitGroup
			for range 4 {
				workers.Go(func() {
					s := out.Sender()
					defer s.Close()
					for b := range batches {
						if _, rejected := deliver(t, s, b); len(rejected) > 0 {
							t.Errorf("rejected: %v", rejected[0])
						}
					}
				})
			}
			k := 0
			for b := range slices.Chunk(sent, 250) {
				switch k++; k {
				case n / 250 / 4:
					on.Kill(1)
				case n / 250 * 3 / 4:
					on.Start(t, 1)
				}
				batches <- b
			}
			close(batches)
			workers.Wait()
			health := "/_cluster/health/killed-exchanges-*?wait_for_status=green&timeout=60s"
			if err := c.JSON(context.Background(), http.MethodGet, health, nil, nil); err != nil {
				t.Error(err)
			}
			got := documents(t, c, "killed-exchanges-*")
			for i := range sent {
				id := string(exchange.AppendID(nil, sent[i].ID))
				if !bytes.Equal(got[id], sent[i].Body) {
					t.Fatalf("%s isn't there", id)
				}
				delete(got, id)
			}
			if len(got) > 0 {
				t.Errorf("%d documents too many", len(got))
			}
		})
	}
}
