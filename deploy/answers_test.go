//go:build linux

package deploy_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/enrich"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/lab/cluster"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/rollup"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/udp"
)

const (
	sample    = "../testdata/sample"
	databases = "../testdata/databases/databases.pcapng"
)

var clusters cluster.Shared

func TestMain(m *testing.M) { os.Exit(clusters.Run(m)) }

var sampledOnce = struct {
	sync.Once
	all map[string][]document
}{}

// sampled are the documents of the sample, by data view.
func sampled(t *testing.T) map[string][]document {
	t.Helper()
	sampledOnce.Do(func() { sampledOnce.all = readSample(t) })
	return sampledOnce.all
}

func readSample(t *testing.T) map[string][]document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(sample, "culprit.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var known struct {
		Services, Hosts map[string][]string
		Routes          []string
	}
	if err := yaml.UnmarshalWithOptions(text, &known, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	enricher, err := enrich.New(enrich.Options{GeoIP: []string{filepath.Join(sample, "places.mmdb")}, Services: known.Services, Hosts: known.Hosts, Routes: known.Routes})
	if err != nil {
		t.Fatal(err)
	}
	defer enricher.Close()
	all := map[string][]document{}
	for _, path := range []string{filepath.Join(sample, "shop.pcapng.zst"), databases} {
		readCapture(t, path, enricher, all)
	}
	return all
}

// readCapture adds the documents of a capture, moved to the hour of the first one that was read.
func readCapture(t *testing.T, path string, enricher *enrich.Enricher, all map[string][]document) {
	t.Helper()
	source, err := capture.Open([]capture.Input{{Path: path}}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	moved := &movedSource{Source: source}
	if first := all["culprit-exchanges"]; len(first) > 0 {
		moved.to = first[0].at * 1e6
	}
	counter := rollup.New(rollup.Options{}, func(r *rollup.Row) {
		all["culprit-rollups"] = append(all["culprit-rollups"], read(t, rollup.AppendJSON(nil, r)))
	})
	encoder := ndjson.NewEncoder()
	_, err = pipeline.Run(context.Background(), moved, pipeline.Config{
		Workers: 1, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser: proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10}, UDP: udp.DefaultLimits,
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
	}, receiver(func(x *exchange.Exchange) {
		enricher.Exchange(x)
		if p := x.Enriched.Place[x.Client]; p != nil && p.Location == "" {
			located := *p
			located.Location = capitals[p.Country]
			x.Enriched.Place[x.Client] = &located
		}
		counter.Add(x)
		all["culprit-exchanges"] = append(all["culprit-exchanges"], read(t, encoder.Append(nil, x)))
	}))
	if err != nil {
		t.Fatal(err)
	}
	counter.Flush()
}

// movedSource is a capture whose packets come at another time.
type movedSource struct {
	capture.Source
	// to is when the first packet comes; 0: as it was. by is how much later that is.
	to, by int64
}

func (s *movedSource) Next(r *capture.Record) error {
	err := s.Source.Next(r)
	if err == nil && s.to != 0 && s.by == 0 {
		s.by = s.to - r.Time
	}
	r.Time += s.by
	return err
}

// capitals are places in countries: the sample's file of places tells countries only.
var capitals = map[string]string{"AU": "-35.3,149.1", "BR": "-15.8,-47.9", "CA": "45.4,-75.7", "DE": "52.5,13.4", "ES": "40.4,-3.7", "FR": "48.9,2.4", "GB": "51.5,-0.1", "IN": "28.6,77.2",
	"IT": "41.9,12.5", "JP": "35.7,139.7", "NL": "52.4,4.9", "PL": "52.2,21.0", "SE": "59.3,18.1", "SG": "1.4,103.8", "US": "38.9,-77.0"}

type receiver func(x *exchange.Exchange)

func (f receiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		f(x)
	}
	return nil
}

func (receiver) Idle() error { return nil }

// document is what is stored: its text, and its fields with their values.
type document struct {
	text   []byte
	fields map[string][]any
	at     int64 // ms
	weight float64
}

func read(t *testing.T, text []byte) document {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	d := document{text: bytes.TrimSpace(text), fields: map[string][]any{}, weight: 1}
	flatten(d.fields, "", object)
	at, err := time.Parse(time.RFC3339Nano, d.fields["@timestamp"][0].(string))
	if err != nil {
		t.Fatal(err)
	}
	d.at = at.UnixMilli()
	if w := d.fields["_doc_count"]; w != nil {
		d.weight = w[0].(float64)
	}
	return d
}

func flatten(into map[string][]any, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			flatten(into, strings.TrimPrefix(path+"."+name, "."), inner)
		}
	case []any:
		for _, inner := range v {
			flatten(into, path, inner)
		}
	default:
		if !slices.Contains(into[path], v) { // a term counts once in a document
			into[path] = append(into[path], v)
		}
	}
}

// thinned are documents as a sample of one in ten has them, but for those that failed, and the number of exchanges in them.
func thinned(t *testing.T, all []document) (kept []document) {
	t.Helper()
	for i, d := range all {
		switch {
		case d.fields["event.outcome"][0] == "failure":
			kept = append(kept, d)
		case i%10 == 0:
			kept = append(kept, read(t, append([]byte(`{"_doc_count":10,`), d.text[1:]...)))
		}
	}
	return kept
}

// setUp makes the templates of indices with names of a prefix, as culprit itself does.
func setUp(t *testing.T, address, prefix string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	client, err := elastic.New(elastic.Options{URLs: []*url.URL{u}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Setup(context.Background(), elastic.Setup{Index: prefix}); err != nil {
		t.Fatal(err)
	}
}

// fill stores documents in an index.
func fill(t *testing.T, address, index string, documents []document) {
	t.Helper()
	var body bytes.Buffer
	for i, d := range documents {
		body.WriteString("{\"create\":{}}\n")
		body.Write(d.text)
		body.WriteByte('\n')
		if body.Len() > 4<<20 || i == len(documents)-1 {
			answer := call(t, http.MethodPost, address+"/"+index+"/_bulk?refresh=true", body.Bytes())
			if answer["errors"] != false {
				t.Fatalf("not all documents were taken: %.2000v", answer["items"])
			}
			body.Reset()
		}
	}
}

func call(t *testing.T, method, url string, body []byte) (answer map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %.1000s: %s %.1000s", method, url, body, got.Status, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// lacking is what a cluster as it is in tests doesn't know: Elasticsearch for tests comes without modules. Histograms are the type of two
// fields.
var lacking = map[string][]string{
	"elasticsearch": {"auto_date_histogram", "geotile_grid", `"culprit.rollup.duration"`, `"culprit.rollup.wait"`},
	"opensearch":    {`"culprit.rollup.duration"`, `"culprit.rollup.wait"`},
}

// TestAnswers asks a cluster that holds the sample what each panel asks, and holds each answer against what follows from the
// documents themselves. Panels of all files are asked on OpenSearch, which can answer them but for histograms; Elasticsearch is asked
// in full runs.
func TestAnswers(t *testing.T) {
	all := sampled(t)
	for _, c := range []struct {
		name  string
		full  bool
		start func(testing.TB, int) *cluster.Cluster
	}{
		{"OpenSearch", false, clusters.OpenSearch},
		{"Elasticsearch", true, clusters.Elasticsearch},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.full && os.Getenv("CULPRIT_SOAK") == "" {
				t.Skip("set CULPRIT_SOAK=1 to ask Elasticsearch, too")
			}
			running := c.start(t, 1)
			kind, _, _ := strings.Cut(running.Product, "-")
			thin := map[string][]document{"culprit-exchanges": thinned(t, all["culprit-exchanges"]), "culprit-rollups": all["culprit-rollups"]}
			sets := map[string]map[string][]document{"whole": all, "thin": thin}
			for prefix, views := range sets {
				setUp(t, running.URL(0), prefix)
				for view, documents := range views {
					fill(t, running.URL(0), strings.Replace(view, "culprit", prefix, 1)+"-2026.11.02", documents)
				}
			}
			asked := map[string]bool{} // most panels are in all files
			ask := func(t *testing.T, q *question) {
				body := q.body(t)
				key := q.view + string(body)
				if asked[key] {
					return
				}
				asked[key] = true
				for _, typ := range lacking[kind] {
					if q.has(typ) {
						t.Skipf("%s as it is in tests doesn't know %s", running.Product, typ)
					}
				}
				for prefix, views := range sets {
					answer := call(t, http.MethodPost, running.URL(0)+"/"+strings.Replace(q.view, "culprit", prefix, 1)+"-*/_search", body)
					if n := q.check(t, answer, views[q.view]); n == 0 && prefix == "whole" { // the sample may lack what is rare
						t.Errorf("%s: the answer is empty", prefix)
					}
				}
			}
			for _, f := range files(t) {
				for _, o := range f.objects {
					for _, q := range o.questions(t) {
						t.Run(f.product.String()+" "+f.version+"/"+o.ID, func(t *testing.T) { ask(t, &q) })
					}
				}
			}
			for _, b := range boards(t) {
				for _, p := range b.Panels {
					for _, target := range p.Targets {
						if q := target.question(t); q != nil {
							t.Run(b.path+"/"+p.Title, func(t *testing.T) { ask(t, q) })
						}
					}
				}
			}
		})
	}
}

// TestSampleIsWhole holds the documents against what those who made the sample say.
func TestSampleIsWhole(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(sample, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Edge struct {
			Requests int
			Status   map[string]int
		}
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	all := sampled(t)
	// All that was said on a WebSocket is a document, too, beside that of the request that began it.
	edge, sessions := 0, 0
	session := func(d document) bool { return slices.Contains(d.fields["network.protocol"], any("websocket")) }
	statuses := map[string]int{}
	for _, d := range all["culprit-exchanges"] {
		switch {
		case !slices.Contains(d.fields["service.name"], any("edge")):
		case session(d):
			sessions++
		default:
			edge++
			status := "none"
			if s := d.fields["http.response.status_code"]; s != nil {
				status = fmt.Sprint(s[0])
			}
			statuses[status]++
		}
	}
	if sessions != statuses["101"] {
		t.Errorf("%d sessions, of %d upgrades", sessions, statuses["101"])
	}
	var counted float64
	for _, d := range all["culprit-rollups"] {
		if slices.Contains(d.fields["service.name"], any("edge")) && !session(d) {
			counted += d.fields["culprit.rollup.count"][0].(float64)
		}
	}
	if edge != want.Edge.Requests || int(counted) != edge || !maps.Equal(statuses, want.Edge.Status) {
		t.Errorf("%d documents of the edge, %v in rollups, %d requests; statuses %v, not %v", edge, counted, want.Edge.Requests, statuses, want.Edge.Status)
	}
}

// TestHistograms: the histograms that Kibana takes percentiles of say what the exchanges themselves say, on the whole and by route.
// No cluster that can be had in tests knows the type.
func TestHistograms(t *testing.T) {
	all := sampled(t)
	type bin struct{ value, count float64 }
	binned, exact := map[string][]bin{}, map[string][]float64{}
	for _, d := range all["culprit-rollups"] {
		var row struct {
			Culprit struct {
				Rollup struct {
					Duration struct{ Values, Counts []float64 }
				}
			}
		}
		if err := json.Unmarshal(d.text, &row); err != nil {
			t.Fatal(err)
		}
		h := row.Culprit.Rollup.Duration
		for i, v := range h.Values {
			for _, key := range []string{"", fmt.Sprint(d.fields["culprit.route"])} {
				binned[key] = append(binned[key], bin{v, h.Counts[i]})
			}
		}
	}
	for _, d := range chosen(t, "_exists_:event.duration AND NOT culprit.stream:true AND NOT culprit.grade:onesided", all["culprit-exchanges"]) {
		for _, key := range []string{"", fmt.Sprint(d.fields["culprit.route"])} {
			exact[key] = append(exact[key], d.fields["event.duration"][0].(float64))
		}
	}
	if len(exact) < 10 || len(exact) != len(binned) {
		t.Fatalf("%d routes have durations, %d histograms", len(exact), len(binned))
	}
	for key, want := range exact {
		slices.Sort(want)
		bins := binned[key]
		slices.SortFunc(bins, func(a, b bin) int { return cmp.Compare(a.value, b.value) })
		for _, q := range []float64{0.5, 0.9, 0.99} {
			rank := math.Ceil(q * float64(len(want)))
			var got, n float64
			for _, b := range bins {
				if n += b.count; n >= rank {
					got = b.value
					break
				}
			}
			if exactly := want[int(rank)-1]; math.Abs(got-exactly) > 0.0115*exactly {
				t.Errorf("%s: %v of durations are within %v, by histograms %v", key, q, exactly, got)
			}
		}
	}
}
