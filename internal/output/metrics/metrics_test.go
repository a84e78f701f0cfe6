package metrics

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/rollup"
	"github.com/culprit-http/culprit/internal/ship"
)

var _ output.Output = (*Metrics)(nil)

// made makes an exchange of the service shop.
func made(method, route string, status int, took time.Duration) *exchange.Exchange {
	x := outputtest.Exchange(method+" /users/7 HTTP/1.1\nHost: shop.example\n\n", fmt.Sprintf("HTTP/1.1 %d X\n\nhello", status))
	x.Enriched.Route, x.Enriched.Service[x.Server()] = route, "shop"
	x.Timing.Duration, x.Timing.Wait = int64(took), int64(took)/2
	return x
}

// add counts exchanges.
func add(t *testing.T, m *Metrics, all ...*exchange.Exchange) {
	t.Helper()
	for _, x := range all {
		if err := m.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
}

// gathered returns the values of counters and gauges by NAME{LABEL=VALUE,...}, and histograms likewise.
func gathered(t *testing.T, m *Metrics) (values map[string]float64, histograms map[string]*dto.Histogram) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values, histograms = map[string]float64{}, map[string]*dto.Histogram{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			var pairs []string
			for _, l := range metric.GetLabel() {
				pairs = append(pairs, l.GetName()+"="+l.GetValue())
			}
			key := strings.TrimPrefix(f.GetName(), "culprit_") + "{" + strings.Join(pairs, ",") + "}"
			switch {
			case metric.GetHistogram() != nil:
				histograms[key] = metric.GetHistogram()
			case metric.GetCounter() != nil:
				values[key] = metric.GetCounter().GetValue()
			default:
				values[key] = metric.GetGauge().GetValue()
			}
		}
	}
	return values, histograms
}

// check compares some of the values.
func check(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for key, n := range want {
		if v, ok := got[key]; !ok || v != n {
			t.Errorf("%s is %v (there: %v), want %v", key, v, ok, n)
		}
	}
}

func TestCounts(t *testing.T) {
	m := New(Options{})
	ok := made("GET", "/users/{id}", 200, 5*time.Millisecond)
	stream := made("GET", "/users/{id}", 200, time.Hour)
	stream.Stream = true
	blind := made("GET", "/users/{id}", 200, 0)
	blind.Timing.Duration, blind.Timing.Wait = -1, -1
	aborted := made("GET", "/users/{id}", 200, 20*time.Millisecond)
	aborted.Grade = exchange.Aborted
	unanswered := made("GET", "/users/{id}", 200, 30*time.Second)
	unanswered.HasResponse, unanswered.Grade = false, exchange.Unanswered
	orphan := outputtest.Exchange("", "HTTP/1.1 404 X\n\n")
	add(t, m, ok, ok, stream, blind, aborted, unanswered, made("GET", "/users/{id}", 503, time.Second), made("BREW", "/users/{id}", 700, 1), orphan)

	values, histograms := gathered(t, m)
	const get = "{method=GET,route=/users/{id},service=shop}"
	check(t, values, map[string]float64{
		"http_requests_total{method=GET,route=/users/{id},service=shop,status_class=2xx}":     5,
		"http_requests_total{method=GET,route=/users/{id},service=shop,status_class=5xx}":     1,
		"http_requests_total{method=GET,route=/users/{id},service=shop,status_class=none}":    1,
		"http_requests_total{method=_OTHER,route=/users/{id},service=shop,status_class=none}": 1,
		"http_requests_total{method=,route=,service=,status_class=4xx}":                       1,
		"http_errors_total" + get:                           2,
		"http_errors_total{method=,route=,service=}":        1,
		"http_request_bytes_total" + get:                    float64(7 * ok.Request.Size),
		"http_response_bytes_total" + get:                   float64(6 * ok.Response.Size),
		"http_request_wait_seconds_total" + get:             2*0.0025 + 0.01 + 15 + 0.5,
		"metrics_series{}":                                  3,
		"metrics_others_total{}":                            0,
		"http_request_bytes_total{method=,route=,service=}": 0,
	})
	if _, there := values["http_requests_total{method=GET,route=/users/{id},service=shop,status_class=1xx}"]; there {
		t.Error("a status class of which nothing came is there")
	}
	h := histograms["http_request_duration_seconds"+get]
	if h.GetSampleCount() != 5 || math.Abs(h.GetSampleSum()-31.03) > 1e-9 {
		t.Errorf("%d durations, %v s", h.GetSampleCount(), h.GetSampleSum())
	}
	want := []uint64{2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4}
	for i, b := range h.GetBucket() {
		if b.GetUpperBound() != float64(rollup.Bounds[i])/1e9 || b.GetCumulativeCount() != want[i] {
			t.Errorf("%d durations of at most %v s, want %d of %d ns", b.GetCumulativeCount(), b.GetUpperBound(), want[i], rollup.Bounds[i])
		}
	}
	if len(h.GetBucket()) != len(want) || h.GetSchema() != 3 || len(h.GetPositiveSpan()) == 0 {
		t.Errorf("%d classic buckets, schema %d, native spans %v", len(h.GetBucket()), h.GetSchema(), h.GetPositiveSpan())
	}
}

// Paths that somebody makes up don't take more room than there is, nor anything from the sums, and not for ever.
func TestMaxSeries(t *testing.T) {
	m := New(Options{MaxSeries: 3})
	at := func(after time.Duration, service, route string) *exchange.Exchange {
		x := made("GET", route, 500, 1)
		x.Enriched.Service[x.Server()] = service
		x.Completed.Time = x.Start.Time + int64(after)
		return x
	}
	for i := range 10 {
		add(t, m, at(0, "shop", fmt.Sprintf("/made-up-%d", i)))
	}
	for i := range 10 {
		add(t, m, at(0, fmt.Sprintf("service-%d", i), "/a"))
	}
	values, _ := gathered(t, m)
	check(t, values, map[string]float64{
		"http_errors_total{method=other,route=other,service=shop}":      7,
		"http_errors_total{method=other,route=other,service=service-0}": 1,
		"http_errors_total{method=other,route=other,service=service-1}": 1,
		"http_errors_total{method=other,route=other,service=other}":     8,
		"http_errors_total{method=GET,route=/made-up-0,service=shop}":   1,
		"metrics_series{}":       3,
		"metrics_others_total{}": 17,
	})
	if n := count(values, "http_requests_total{"); n != 7 {
		t.Errorf("%d time series of requests", n)
	}

	// Those that are still in use keep their place, the others lose it, once they are idle.
	add(t, m, at(30*time.Minute, "shop", "/made-up-1"), at(Idle-1, "shop", "/new"))
	if values, _ = gathered(t, m); values["metrics_others_total{}"] != 18 {
		t.Errorf("%v others: something that isn't idle was forgotten", values["metrics_others_total{}"])
	}
	add(t, m, at(Idle+30*time.Second, "shop", "/new")) // it is too early to look again
	add(t, m, at(Idle+sweepEvery, "shop", "/new"))
	values, histograms := gathered(t, m)
	check(t, values, map[string]float64{
		"http_errors_total{method=GET,route=/made-up-1,service=shop}": 2,
		"http_errors_total{method=GET,route=/new,service=shop}":       1,
		"metrics_series{}":       2,
		"metrics_others_total{}": 19,
	})
	for _, gone := range []string{"http_errors_total", "http_request_bytes_total", "http_response_bytes_total", "http_request_wait_seconds_total"} {
		if _, there := values[gone+"{method=GET,route=/made-up-0,service=shop}"]; there {
			t.Errorf("%s of what is idle is still there", gone)
		}
	}
	if histograms["http_request_duration_seconds{method=GET,route=/made-up-0,service=shop}"] != nil || values["http_requests_total{method=GET,route=/made-up-0,service=shop,status_class=5xx}"] != 0 {
		t.Error("what is idle is still there")
	}
}

// Who is to blame is counted by route, and what happened for all protocols. What is forgotten with its route doesn't come again.
func TestBlame(t *testing.T) {
	m := New(Options{MaxSeries: 2})
	blamed := func(route string, b exchange.Blame, after time.Duration) *exchange.Exchange {
		x := made("GET", route, 200, time.Second)
		x.Completed.Time = x.Start.Time + int64(after)
		x.Blame = b
		return x
	}
	slow := exchange.Blame{Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: 250e6}
	query := outputtest.Query("mysql", "SELECT", "SELECT 1")
	query.Blame = slow
	add(t, m, blamed("/a", slow, 0), blamed("/a", slow, 0), blamed("/b", exchange.Blame{Who: exchange.ByClient, Situation: exchange.ClientError, Failed: true}, 0),
		blamed("/b", exchange.Blame{Who: exchange.Nobody}, 0), query)
	values, _ := gathered(t, m)
	check(t, values, map[string]float64{
		"blame_exchanges_total{method=GET,route=/a,service=shop,who=server}": 2,
		"blame_seconds_total{method=GET,route=/a,service=shop,who=server}":   0.5,
		"blame_exchanges_total{method=GET,route=/b,service=shop,who=client}": 1,
		"blame_seconds_total{method=GET,route=/b,service=shop,who=client}":   0,
		"blame_situations_total{situation=slow-application,who=server}":      3,
		"blame_situations_total{situation=client-error,who=client}":          1,
	})
	if n := count(values, "blame_"); n != 6 {
		t.Errorf("%d time series of blame", n)
	}
	add(t, m, blamed("/c", slow, Idle+sweepEvery)) // the others have to go
	if values, _ = gathered(t, m); count(values, "blame_seconds_total") != 1 || values["blame_seconds_total{method=GET,route=/c,service=shop,who=server}"] != 0.25 {
		t.Errorf("%v", values)
	}
}

func count(values map[string]float64, prefix string) (n int) {
	for key := range values {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}

// Texts that are odd are harmless, and what a label can't tell apart is one series.
func TestLabels(t *testing.T) {
	long := "/" + strings.Repeat("a", 2*MaxLabel)
	m := New(Options{})
	add(t, m, made("GET", long+"1", 200, 1), made("GET", long+"2", 200, 1), made("GET", "/\xff\x1b[2J\n\u202e", 200, 1))
	values, _ := gathered(t, m)
	check(t, values, map[string]float64{
		"http_errors_total{method=GET,route=" + long[:MaxLabel] + "…,service=shop}":                    0,
		`http_errors_total{method=GET,route=/\xff\x1b[2J\x0a\xe2\x80\xae,service=shop}`:                0,
		"http_requests_total{method=GET,route=" + long[:MaxLabel] + "…,service=shop,status_class=2xx}": 2,
		"metrics_series{}": 2,
	})
}

// own is what culprit counts in these tests.
func own() Own {
	return Own{
		Version: "1.2.3", PacketsReceived: 10, PacketsAnalysed: 7, BytesReceived: 1000, BytesAnalysed: 700,
		Ignored: []Ignored{{"arp", 2, 200}, {"dns", 1, 100}}, Dropped: []Labelled{{"kernel", 5}, {"interface", 0}},
		Connections: []Labelled{{"http", 3}}, Exchanges: []Labelled{{"complete", 4}}, MissingBytes: 11, Limits: []Labelled{{"memory budget", 1}},
		SampledOut: 12, Memory: 13, MemoryLimit: 14, CPU: 1500 * time.Millisecond, Rollups: rollup.Stats{Rows: 15, Others: 16, Early: 17, Memory: 18},
		Outputs: []ship.Stats{
			{Name: "elastic", Exchanges: 21, Rollups: 22, Delivered: 23, Known: 24, Rejected: 25, Lost: 26, Waiting: 27, Sent: 28, Failed: 29, Bytes: 30,
				Queue: ship.QueueStats{Bytes: 31, Limit: 32, Recovered: 33, Dropped: 34, Damaged: 35}},
			{Name: "elastic", Problem: "connection refused"},
			{Name: "\xff"},
		},
	}
}

func TestOwn(t *testing.T) {
	values, _ := gathered(t, New(Options{Own: own}))
	check(t, values, map[string]float64{
		"packets_received_total{}": 10, "packets_analysed_total{}": 7, "bytes_received_total{}": 1000, "bytes_analysed_total{}": 700,
		"packets_ignored_total{reason=arp}": 2, "bytes_ignored_total{reason=arp}": 200, "packets_ignored_total{reason=dns}": 1,
		"packets_dropped_total{by=kernel}": 5, "packets_dropped_total{by=interface}": 0, "connections_total{protocol=http}": 3,
		"exchanges_total{grade=complete}": 4, "missing_bytes_total{}": 11, "limits_hit_total{limit=memory budget}": 1, "sampled_out_total{}": 12,
		"process_resident_memory_bytes{}": 13, "process_cpu_seconds_total{}": 1.5, "memory_bytes{}": 13, "memory_limit_bytes{}": 14, "rollup_rows_total{}": 15, "rollup_others_total{}": 16, "rollup_early_total{}": 17, "rollup_memory_bytes{}": 18,
		"output_exchanges_total{output=elastic}": 21, "output_rollups_total{output=elastic}": 22, "output_delivered_total{output=elastic}": 23, "output_known_total{output=elastic}": 24,
		"output_rejected_total{output=elastic}": 25, "output_lost_total{output=elastic}": 26, "output_waiting{output=elastic}": 27, "output_batches_total{output=elastic}": 28,
		"output_failed_batches_total{output=elastic}": 29, "output_delivered_bytes_total{output=elastic}": 30, "output_queue_bytes{output=elastic}": 31,
		"output_queue_limit_bytes{output=elastic}": 32, "output_recovered_total{output=elastic}": 33, "output_dropped_total{output=elastic}": 34, "output_damaged_total{output=elastic}": 35,
		"output_up{output=elastic}": 1, "output_up{output=elastic#2}": 0, `output_up{output=\xff}`: 1,
		"build_info{go_version=" + runtime.Version() + ",version=1.2.3}": 1,
	})
}

// What isn't known isn't shown, not as 0.
func TestUnknown(t *testing.T) {
	values, _ := gathered(t, New(Options{Own: func() Own { return Own{} }}))
	check(t, values, map[string]float64{"packets_received_total{}": 0})
	for _, name := range []string{"memory_bytes{}", "memory_limit_bytes{}", "process_resident_memory_bytes{}"} {
		if v, there := values[name]; there {
			t.Errorf("%s is %v, though it isn't known", name, v)
		}
	}
}

// scrape asks a handler, as a scraper that accepts some format.
func scrape(t *testing.T, m *Metrics, accept string) (contentType, body string) {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Header().Get("Content-Type"), w.Body.String()
}

// full returns metrics of which all families have something.
func full(t *testing.T) *Metrics {
	m := New(Options{Own: own})
	slow := made("GET", "/a", 200, time.Millisecond)
	slow.Blame = exchange.Blame{Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: 1}
	add(t, m, slow, outputtest.Query("mysql", "SELECT", "SELECT 1"), outputtest.Lookup("A", "a.example", "10.0.0.7"))
	return m
}

func TestFormats(t *testing.T) {
	m := full(t)
	for accept, want := range map[string]string{
		"":                             "text/plain",
		"application/openmetrics-text": "application/openmetrics-text",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited": "application/vnd.google.protobuf",
	} {
		got, body := scrape(t, m, accept)
		if !strings.HasPrefix(got, want) || !strings.Contains(body, "culprit_http_request_duration_seconds") {
			t.Errorf("%s: %s, %d bytes", accept, got, len(body))
		}
	}
}

// docs/metrics.md has all metrics, with their types, and no others.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, line := range strings.Split(string(doc), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, name := range regexp.MustCompile("`((?:culprit|process)_[a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			said[name[1]] = strings.Fields(strings.ReplaceAll(cells[2], ",", " "))[0]
		}
	}
	_, body := scrape(t, full(t), "")
	there := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^# TYPE ((?:culprit|process)_\S+) (\S+)$`).FindAllStringSubmatch(body, -1) {
		there[found[1]] = found[2]
	}
	for name, kind := range there {
		if said[name] != kind {
			t.Errorf("docs/metrics.md says of the %s %s that it is a %q", kind, name, said[name])
		}
	}
	for name := range said {
		if there[name] == "" {
			t.Errorf("docs/metrics.md has %s, /metrics hasn't", name)
		}
	}
	if len(there) < 40 {
		t.Errorf("only %d metrics", len(there))
	}
}

// What promtool finds odd about names, units and texts.
func TestLint(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is missing; it is in Debian's package prometheus")
	}
	_, body := scrape(t, full(t), "")
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Scrapes see whole series while exchanges are counted.
func TestScrapeMeanwhile(t *testing.T) {
	m := New(Options{MaxSeries: 20, Own: own})
	done := make(chan struct{})
	var scrapes sync.WaitGroup
	scrapes.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				scrape(t, m, "application/openmetrics-text")
			}
		}
	})
	for i := range 2000 {
		x := made("GET", fmt.Sprintf("/%d", i%40), 200, time.Duration(i))
		x.Completed.Time += int64(i) * int64(time.Minute)
		add(t, m, x)
	}
	close(done)
	scrapes.Wait()
	if _, body := scrape(t, m, ""); !strings.Contains(body, "culprit_metrics_series 20") {
		t.Error("the series aren't as many as there may be")
	}
}

// Of an exchange of a series that is known nothing is allocated.
func TestExchangeDoesNotAllocate(t *testing.T) {
	m := New(Options{})
	x := made("GET", "/users/{id}", 200, 20*time.Millisecond)
	add(t, m, x)
	if n := testing.AllocsPerRun(100, func() { _ = m.Exchange(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkExchange(b *testing.B) {
	m := New(Options{})
	var all [64]*exchange.Exchange
	for i := range all {
		all[i] = made("GET", fmt.Sprintf("/users/{id}/%d", i), 200, time.Duration(i+1)*700*time.Microsecond)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = m.Exchange(all[i%len(all)])
	}
}

// BenchmarkMemory says what 1,000 series take whose durations are spread over four decades, and a scrape of them.
func BenchmarkMemory(b *testing.B) {
	var before, after runtime.MemStats
	var m *Metrics
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		m = New(Options{})
		for i := range DefaultMaxSeries {
			for k := range 200 {
				_ = m.Exchange(made("GET", fmt.Sprintf("/%d", i), 200, time.Duration(math.Exp(float64(k)/22)*1e6)))
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc), "bytes")
	r := httptest.NewRecorder()
	m.Handler().ServeHTTP(r, httptest.NewRequest("GET", "/metrics", nil))
	n, _ := io.Copy(io.Discard, r.Body)
	b.ReportMetric(float64(n), "scraped_bytes")
}

// What is no request isn't counted as one; an HTTP/2 stream is.
func TestKinds(t *testing.T) {
	m := New(Options{})
	add(t, m, outputtest.TLSRecord(), outputtest.Session(), outputtest.SessionMessage(0, "text", "hello"))
	if values, _ := gathered(t, m); values["metrics_series{}"] != 0 {
		t.Errorf("counted: %v", values)
	}
	add(t, m, outputtest.HTTP2(":method: GET\n:scheme: https\n:path: /\n:authority: h\n\n", ":status: 200\n\n"))
	values, _ := gathered(t, m)
	check(t, values, map[string]float64{"metrics_series{}": 1, "http_requests_total{method=GET,route=,service=,status_class=2xx}": 1})
}
