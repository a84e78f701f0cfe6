package metrics

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/rollup"
)

// patience is how long something that Prometheus does may take.
const patience = 60 * time.Second

// prometheusServer is a Prometheus that scrapes metrics.
type prometheusServer struct {
	url  string
	logs *bytes.Buffer
	// ended is closed when it has ended.
	ended chan struct{}
}

// startPrometheus starts one on loopback, with a folder of its own.
func startPrometheus(t *testing.T, m *Metrics, flags ...string) *prometheusServer {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is missing; it is Debian's package of that name")
	}
	target := httptest.NewServer(m.Handler())
	t.Cleanup(target.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 200ms}\nscrape_configs:\n  - job_name: culprit\n    metrics_path: /\n    static_configs: [{targets: [%q]}]\n",
		strings.TrimPrefix(target.URL, "http://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	p := &prometheusServer{url: "http://" + address, logs: &bytes.Buffer{}, ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, append([]string{"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address}, flags...)...)
	cmd.Stdout, cmd.Stderr = p.logs, p.logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // it is killed
		close(p.ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.ended
		if t.Failed() {
			t.Logf("prometheus: %s", p.logs)
		}
	})
	return p
}

// ask asks a query, and returns its only value; false: there isn't one, or Prometheus isn't ready.
func (p *prometheusServer) ask(t *testing.T, query string) (float64, bool) {
	t.Helper()
	values := p.all(t, query)
	if len(values) != 1 {
		return 0, false
	}
	return values[0], true
}

// all asks a query, and returns all its values; none, if Prometheus isn't ready.
func (p *prometheusServer) all(t *testing.T, query string) (values []float64) {
	t.Helper()
	response, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusServiceUnavailable {
		return nil
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v: %s", query, err, body)
	}
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			t.Fatalf("%s: %s", query, body)
		}
		values = append(values, v)
	}
	return values
}

// await asks until the answer is the one that is wanted.
func (p *prometheusServer) await(t *testing.T, query string, want float64) {
	t.Helper()
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for deadline := time.Now().Add(patience); ; {
		got, there := p.ask(t, query)
		if there && got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v (there: %v), want %v", query, got, there, want)
		}
		select {
		case <-pause.C:
		case <-p.ended:
			t.Fatal("prometheus has ended")
		}
	}
}

// Prometheus itself counts what was counted, and its quantiles are those of the durations, within the width of a bucket.
func TestPrometheus(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		// histogram is the rate of the histogram, by route.
		histogram string
		// within is whether a quantile may be so far from the truth.
		within func(got, truth float64) bool
	}{
		{"classic", nil, `sum by (le, route) (rate(culprit_http_request_duration_seconds_bucket[1m]))`, func(got, truth float64) bool {
			// The bucket is right; within it, Prometheus can only guess.
			return bucket(got) == bucket(truth)
		}},
		{"native", []string{"--enable-feature=native-histograms"}, `sum by (route) (rate(culprit_http_request_duration_seconds[1m]))`, func(got, truth float64) bool {
			return math.Abs(got-truth) <= (math.Exp2(1.0/8)-1)*truth
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := New(Options{Own: own})
			first := made("GET", "/b", 500, 1)
			first.Blame = exchange.Blame{Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: 1}
			add(t, m, made("GET", "/a", 200, 1), made("GET", "/a", 500, 1), made("GET", "/b", 200, 1), first)
			p := startPrometheus(t, m, c.flags...)
			p.await(t, "sum(culprit_http_requests_total)", 4) // rates begin with what is seen first

			random := rand.New(rand.NewPCG(1, 2))
			truth := map[string][]float64{}
			const all, failed = 20_000, 3000
			for i := range all {
				route, status := "/a", 200
				if i%4 == 0 {
					route = "/b"
				}
				if i < failed {
					status = 500
				}
				took := time.Duration(math.Exp(random.NormFloat64())*20e6) + 1
				if route == "/b" {
					took *= 10
				}
				truth[route] = append(truth[route], took.Seconds())
				x := made("GET", route, status, took)
				x.Blame = exchange.Blame{Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: int64(took)}
				add(t, m, x)
			}
			p.await(t, "sum(culprit_http_requests_total)", all+4)

			for query, want := range map[string]float64{
				`sum(culprit_http_errors_total{service="shop"})`:            failed + 2,
				`sum(culprit_http_requests_total{route="/b",method="GET"})`: all/4 + 2,
				`culprit_output_up{output="elastic#2"}`:                     0,
				`culprit_packets_ignored_total{reason="arp"}`:               2,
			} {
				if got, there := p.ask(t, query); !there || got != want {
					t.Errorf("%s is %v (there: %v), want %v", query, got, there, want)
				}
			}
			// A rate is extrapolated, and towards zero by another amount for each counter.
			share := `sum(rate(culprit_http_requests_total{status_class="5xx"}[1m])) / sum(rate(culprit_http_requests_total[1m]))`
			if got, there := p.ask(t, share); !there || math.Abs(got-float64(failed)/all) > 0.01 {
				t.Errorf("%s is %v (there: %v), want %v", share, got, there, float64(failed)/all)
			}
			for _, query := range documented(t) {
				// The last asks whether something is wrong: nothing is. Of the others, those of the other kind of histogram have no answer.
				values := p.all(t, query)
				classic, native := strings.Contains(query, "duration_seconds_"), strings.Contains(query, "seconds[")
				wanted := !strings.HasSuffix(query, "> 0") && (c.name == "classic" && !native || c.name == "native" && !classic)
				if (len(values) > 0) != wanted {
					t.Errorf("%s: %v", query, values)
				}
			}
			for route, durations := range truth {
				slices.Sort(durations)
				for _, q := range []float64{0.5, 0.9, 0.99} {
					query := fmt.Sprintf(`histogram_quantile(%v, %s) and on (route) culprit_http_errors_total{route=%q}`, q, c.histogram, route)
					got, there := p.ask(t, query)
					want := durations[int(q*float64(len(durations)))]
					if !there || !c.within(got, want) {
						t.Errorf("%s: the quantile %v is %v (there: %v), in truth %v", route, q, got, there, want)
					}
				}
			}
		})
	}
}

// documented returns the questions of docs/metrics.md.
func documented(t *testing.T) []string {
	doc, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "## Questions\n\n```\n")
	block, _, found := strings.Cut(rest, "\n```\n")
	if !found {
		t.Fatal("docs/metrics.md has no questions")
	}
	return strings.Split(block, "\n")
}

// bucket returns which of the classic buckets a duration in seconds is in.
func bucket(seconds float64) int {
	return sort.Search(len(rollup.Bounds), func(i int) bool { return seconds <= float64(rollup.Bounds[i])/1e9 })
}
