//go:build linux

package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/metrics"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/rollup"
	"github.com/culprit-http/culprit/internal/ship"
)

// board is a dashboard of Grafana.
type board struct {
	path          string
	ID, UID       any
	Title         string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource struct{ Type, UID string }
		}
	}
	Panels []struct {
		ID         int
		Type       string
		Title      string
		Datasource struct{ Type, UID string }
		GridPos    struct{ X, Y, W, H int }
		Targets    []boardTarget
	}
}

type boardTarget struct {
	RefID, Expr, Query, TimeField string
	Datasource                    struct{ Type, UID string }
	Metrics, BucketAggs           []struct {
		ID, Type, Field string
		Settings        map[string]any
	}
}

func boards(t *testing.T) (all []board) {
	t.Helper()
	paths, err := filepath.Glob("grafana/*.json")
	if err != nil || len(paths) != 4 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b := board{path: path}
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, b)
	}
	return all
}

var variable = regexp.MustCompile(`^\$\{([a-z-]+)\}$`)

// TestBoards: dashboards name no data source but by variables, have no id of their own, and panels that don't lie on each other.
func TestBoards(t *testing.T) {
	titles := map[string]bool{}
	for _, b := range boards(t) {
		if b.ID != nil || b.UID != nil || b.Title == "" || titles[b.Title] || b.SchemaVersion == 0 {
			t.Errorf("%s: id %v, uid %v, title %q, schema %d", b.path, b.ID, b.UID, b.Title, b.SchemaVersion)
		}
		titles[b.Title] = true
		sources := map[string]string{}
		for _, v := range b.Templating.List {
			if v.Type == "datasource" {
				sources[v.Name] = v.Query.(string)
			}
		}
		check := func(what, typ, uid string) {
			if m := variable.FindStringSubmatch(uid); m == nil || sources[m[1]] != typ {
				t.Errorf("%s: %s asks %s, which is no variable for a data source of type %q", b.path, what, uid, typ)
			}
		}
		for _, v := range b.Templating.List {
			if v.Type == "query" {
				check(v.Name, v.Datasource.Type, v.Datasource.UID)
			}
		}
		ids := map[int]bool{}
		for i, p := range b.Panels {
			if ids[p.ID] || p.ID == 0 || p.Title == "" || len(p.Targets) == 0 {
				t.Errorf("%s: panel %d %q", b.path, p.ID, p.Title)
			}
			ids[p.ID] = true
			check(p.Title, p.Datasource.Type, p.Datasource.UID)
			refs := map[string]bool{}
			for _, target := range p.Targets {
				check(p.Title, target.Datasource.Type, target.Datasource.UID)
				if refs[target.RefID] || target.Datasource != p.Datasource || (target.Expr == "") == (target.TimeField == "") {
					t.Errorf("%s: %s: %+v", b.path, p.Title, target)
				}
				refs[target.RefID] = true
			}
			g := p.GridPos
			if g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
				t.Errorf("%s: %s doesn't fit", b.path, p.Title)
			}
			for _, o := range b.Panels[:i] {
				if h := o.GridPos; g.X < h.X+h.W && h.X < g.X+g.W && g.Y < h.Y+h.H && h.Y < g.Y+g.H {
					t.Errorf("%s: %s and %s lie on each other", b.path, o.Title, p.Title)
				}
			}
		}
	}
}

// TestBoardFields: fields of documents are on the page of fields, and of types that fit.
func TestBoardFields(t *testing.T) {
	views := documented(t)
	n := 0
	for _, b := range boards(t) {
		for _, p := range b.Panels {
			for _, target := range p.Targets {
				if target.TimeField == "" {
					continue
				}
				view := variable.FindStringSubmatch(target.Datasource.UID)[1]
				all := queried(target.Query)
				for _, a := range append(target.Metrics, target.BucketAggs...) {
					if a.Field != "" {
						all = append(all, use{a.Field, a.Type})
					}
				}
				for _, u := range all {
					n++
					typ := views[view][u.field]
					if want := fits[u.as]; typ == "" || want == nil || !contains(want, typ) {
						t.Errorf("%s: %s uses %s of type %q as %s", b.path, p.Title, u.field, typ, u.as)
					}
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("found only %d uses of fields", n)
	}
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

// question is what Grafana asks a cluster for a target; nil: it asks Prometheus.
func (b *boardTarget) question(t *testing.T) *question {
	t.Helper()
	if b.TimeField == "" {
		return nil
	}
	q := &question{view: variable.FindStringSubmatch(b.Datasource.UID)[1], query: b.Query}
	if len(b.BucketAggs) == 0 { // lines of a log
		q.sort = []any{map[string]any{"@timestamp": map[string]any{"order": "desc"}}}
		return q
	}
	inner := aggs{}
	byID := map[string]map[string]any{}
	for _, m := range b.Metrics {
		if m.Type == "count" {
			continue
		}
		p := map[string]any{"field": m.Field}
		if m.Type == "percentiles" {
			p["percents"], p["keyed"] = m.Settings["percents"], false
		}
		inner[m.ID] = map[string]any{m.Type: p}
		byID[m.ID] = inner[m.ID].(map[string]any)
	}
	for i := len(b.BucketAggs) - 1; i >= 0; i-- {
		a := b.BucketAggs[i]
		p := map[string]any{"field": a.Field}
		outer := map[string]any{a.Type: p}
		switch a.Type {
		case "date_histogram":
			p["fixed_interval"], p["min_doc_count"] = "1m", 1 // Grafana asks for empty ones, too
		case "terms":
			size, err := strconv.Atoi(a.Settings["size"].(string))
			if err != nil {
				t.Fatal(err)
			}
			by := a.Settings["orderBy"].(string)
			p["size"], p["order"] = float64(size), map[string]any{by: a.Settings["order"]}
			if missing := a.Settings["missing"]; missing != nil {
				p["missing"] = missing
			}
			if by != "_count" && inner[by] == nil {
				inner[by] = byID[by]
			}
		default:
			t.Fatalf("nobody knows what %s asks", a.Type)
		}
		if len(inner) > 0 {
			outer["aggs"] = inner
		}
		inner = aggs{a.ID: outer}
	}
	q.aggs = inner
	return q
}

// standing are what variables stand for when all of it is chosen.
var standing = strings.NewReplacer("$__rate_interval", "1m", "$service", ".*", "$instance", ".*")

// TestPrometheus has Prometheus scrape an agent, and asks it what the panels ask: each has an answer.
func TestPrometheus(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is missing; it is Debian's package of that name")
	}
	own := metrics.Own{Version: "test", PacketsReceived: 9, PacketsAnalysed: 8, Ignored: []metrics.Ignored{{Reason: "arp", Packets: 1, Bytes: 60}}, Dropped: []metrics.Labelled{{Label: "kernel", N: 1}},
		Exchanges: []metrics.Labelled{{Label: "complete", N: 4}}, Limits: []metrics.Labelled{{Label: "connections", N: 2}}, Memory: 5, MemoryLimit: 10, Rollups: rollup.Stats{},
		Outputs: []ship.Stats{{Name: "elastic", Queue: ship.QueueStats{Bytes: 1, Limit: 10}}}}
	var mu sync.Mutex
	m := metrics.New(metrics.Options{Own: func() metrics.Own {
		mu.Lock()
		defer mu.Unlock()
		return own
	}})
	grow := func() {
		mu.Lock()
		defer mu.Unlock()
		for _, status := range []string{"200 OK", "404 Not Found", "500 Oops"} {
			x := outputtest.Exchange("GET /a HTTP/1.1\nHost: a\n\n", "HTTP/1.1 "+status+"\n\n")
			x.Enriched.Route, x.Enriched.Service[x.Server()] = "/a", "shop"
			statement := outputtest.Query("mysql", "SELECT", "SELECT 1")
			refused := outputtest.Failed(outputtest.Query("mysql", "SELECT", "SELECT 1"), "1146", "no such table")
			for _, x := range []*exchange.Exchange{x, statement, refused, outputtest.Lookup("A", "a.example", "10.0.0.7")} {
				x.Enriched.Service[x.Server()] = "shop"
				x.Blame = exchange.Blame{Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: 1e9}
				if err := m.Exchange(x); err != nil {
					t.Error(err)
				}
			}
		}
		own.PacketsReceived += 9
		own.Limits = []metrics.Labelled{{Label: "connections", N: own.Limits[0].N + 1}}
		own.Outputs[0].Sent++
	}
	grow()
	target := httptest.NewServer(m.Handler())
	defer target.Close()
	dir := t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "global: {scrape_interval: 200ms}\nscrape_configs:\n  - job_name: culprit\n    metrics_path: /\n    static_configs: [{targets: [%q]}]\n",
		strings.TrimPrefix(target.URL, "http://")), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it is killed
	}()
	ask := func(query string) (results int, problem string) {
		answer, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			return 0, ""
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode == http.StatusServiceUnavailable {
			return 0, ""
		}
		var said struct {
			Status, Error string
			Data          struct{ Result []struct{ Value [2]any } }
		}
		if err := json.Unmarshal(text, &said); err != nil || said.Status != "success" {
			return 0, fmt.Sprintf("%v %s", err, text)
		}
		for _, r := range said.Data.Result {
			if r.Value[1] != "NaN" {
				results++
			}
		}
		return results, ""
	}
	// Rates begin with the second look at a counter.
	await := func(query string) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		for {
			n, problem := ask(query)
			if problem != "" {
				t.Errorf("%s: %s", query, problem)
				return
			}
			if n > 0 {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Errorf("%s has no answer", query)
				return
			}
		}
	}
	await("culprit_build_info")
	grow()
	await(`sum(rate(culprit_http_requests_total[1m])) > 0`)
	n := 0
	for _, b := range boards(t) {
		for _, p := range b.Panels {
			for _, target := range p.Targets {
				if target.Expr != "" {
					n++
					await(standing.Replace(target.Expr))
				}
			}
		}
	}
	if n < 35 {
		t.Errorf("asked only %d queries", n)
	}
}

var metric = regexp.MustCompile(`culprit_[a-z_]+`)

// TestMetrics: every metric that a dashboard uses is on the page of metrics.
func TestMetrics(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, name := range metric.FindAllString(string(page), -1) {
		known[name] = true
	}
	for _, b := range boards(t) {
		text, err := os.ReadFile(b.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metric.FindAllString(string(text), -1) {
			if series, ok := strings.CutSuffix(name, "_seconds_bucket"); ok {
				name = series + "_seconds"
			}
			if series, ok := strings.CutSuffix(name, "_seconds_sum"); ok {
				name = series + "_seconds"
			}
			if !known[name] {
				t.Errorf("%s uses %s, which isn't in docs/metrics.md", b.path, name)
			}
		}
	}
}
