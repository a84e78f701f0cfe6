package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// inFlightAnswer is a part of /api/inflight.
type inFlightAnswer struct {
	Running   bool
	Total     int
	Exchanges []struct {
		State        string
		Elapsed      int64
		RequestBytes int64 `json:"request_bytes"`
		Exchange     struct {
			URL  struct{ Original string }
			HTTP struct {
				Request struct{ Headers map[string][]string }
			}
		}
	}
}

// conforms checks an answer against the description that the server itself gives.
func (p *served) conforms(t *testing.T, path, schema string) {
	t.Helper()
	r := p.ask(t, "/api/openapi.yaml")
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	var answer any
	p.get(t, path, &answer)
	if err := doc.Components.Schemas[schema].Value.VisitJSON(answer, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// reconciles checks that each packet received is accounted for.
func (c *statusOfCapture) reconciles() bool {
	if c.Totals == nil {
		return true
	}
	sum := c.Totals.Analysed + c.Totals.Dropped.Kernel + c.Totals.Dropped.Interface
	for _, n := range c.Totals.Ignored {
		sum += n
	}
	return sum == c.Totals.Received && c.Packets.Received == sum && c.Bytes == c.Totals.Bytes && c.Packets.Dropped == c.Totals.Dropped
}

// What is under way is shown as what is stored, until the input ends; the totals are there while it runs.
func TestServeInFlight(t *testing.T) {
	first, second := halves(t)
	for _, where := range []string{"", `path != "/api/export"`} {
		p := startServe(t, "-r", "-", "--store", storeFolder(t), "--where", where)
		r := p.ask(t, "/api/live?fields=path")
		defer r.Body.Close()
		if _, err := p.stdin.Write(append(slices.Clone(first), second...)); err != nil {
			t.Fatal(err)
		}
		events := bufio.NewScanner(r.Body)
		for n := 0; n < 40 && events.Scan(); {
			if strings.HasPrefix(events.Text(), "event: exchange") {
				n++
			}
		}
		var a inFlightAnswer
		p.get(t, "/api/inflight", &a)
		if !a.Running || a.Total != 1 || len(a.Exchanges) != 1-min(len(where), 1) {
			t.Errorf("--where %q: under way: %+v", where, a)
		}
		for _, x := range a.Exchanges {
			if x.State != "waiting" || x.Elapsed < int64(10*time.Second) || x.Exchange.URL.Original != "/api/export?format=csv" {
				t.Errorf("under way: %+v", x)
			}
			if cookie := strings.Join(x.Exchange.HTTP.Request.Headers["cookie"], ""); !strings.HasPrefix(cookie, "session=…[redacted") {
				t.Errorf("the cookie is %s", cookie)
			}
		}
		// The totals come within moments; each answer reconciles.
		var s apiStatus
		for s.Capture == nil || s.Capture.Totals == nil || s.Capture.Totals.Received < 350 {
			if p.get(t, "/api/status", &s); !s.Capture.reconciles() {
				t.Fatalf("packets don't reconcile: %+v, %+v", s.Capture, s.Capture.Totals)
			}
		}
		if c := s.Capture; c.State != stateImporting || c.Totals.Connections["http"] == 0 || c.Totals.At == nil || len(c.Limits) != len(limits) || c.Import == nil || c.Import.First == nil || c.Import.Size != nil {
			t.Errorf("while it runs: %+v", c)
		}
		p.conforms(t, "/api/status", "Status")
		p.conforms(t, "/api/inflight", "InFlight")
		p.stdin.Close()
		p.until(t, "all is read")
		p.get(t, "/api/inflight", &a)
		if p.get(t, "/api/status", &s); a.Running || a.Total != 0 || !s.Capture.reconciles() || s.Capture.Rates != nil || s.Capture.Import.Read != int64(len(first)+len(second)) {
			t.Errorf("at the end: %+v, %+v", a, s.Capture)
		}
		p.conforms(t, "/api/status", "Status")
		p.end(t, 0)
	}
}

// Without a capture, the answers are as described, too.
func TestServeInFlightWithoutCapture(t *testing.T) {
	p := startServe(t, "--store", storeFolder(t))
	var a inFlightAnswer
	if p.get(t, "/api/inflight", &a); a.Running || a.Total != 0 {
		t.Errorf("%+v", a)
	}
	p.conforms(t, "/api/status", "Status")
	p.conforms(t, "/api/inflight", "InFlight")
	p.end(t, 0)
}

// What the program takes is real, whatever it has given up. Some seconds may have gone by before it looked at the clock.
func TestServeTellsItsOwnCost(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells what the process takes")
	}
	p := startServe(t, "-r", demo, "--store", storeFolder(t))
	p.until(t, "all is read")
	var s struct {
		Process struct {
			CPU, RSS, Threads, Uptime int64
			Peak                      int64 `json:"peak_rss"`
			Goroutines                int
			Started                   time.Time
		}
	}
	p.get(t, "/api/status", &s)
	c := s.Process
	if c.CPU <= 0 || c.CPU > (c.Uptime+int64(10*time.Second))*int64(runtime.NumCPU()) || c.RSS < 4<<20 || c.Peak < c.RSS || c.Threads < 2 || c.Goroutines < 2 || c.Started.IsZero() {
		t.Errorf("got %+v", c)
	}
	p.end(t, 0)
}

func TestRates(t *testing.T) {
	var c captureStatus
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for i := range 31 {
		// Up to the 20th second, 5 exchanges and 100 packets a second; then nothing is told.
		var v *pipeline.View
		if i > 0 && i <= 20 {
			n := uint64(i)
			v = &pipeline.View{Running: true, Stats: pipeline.Stats{Received: pipeline.Count{Packets: 100 * n, Bytes: 1000 * n}}}
			c.grades[exchange.Complete].Add(4)
			c.grades[exchange.Gap].Add(1)
		}
		c.told(v, now.Add(time.Duration(i)*time.Second))
		var a statusOfCapture
		c.packets(&a)
		switch {
		case i == 0:
			if a.Rates != nil {
				t.Errorf("of nothing: %+v", a.Rates)
			}
		case i <= 20:
			if r := *a.Rates; r != (statusOfRates{100, 1000, 5, min(int64(i), 10) * 1e9}) {
				t.Errorf("after %d s: %+v", i, r)
			}
		case i == 25:
			if r := *a.Rates; r != (statusOfRates{50, 500, 2.5, 10e9}) {
				t.Errorf("after %d s: %+v", i, r)
			}
		case i == 30:
			if r := *a.Rates; r != (statusOfRates{0, 0, 0, 10e9}) {
				t.Errorf("after %d s: %+v", i, r)
			}
		}
	}
	if len(c.samples) > rateOver+1 {
		t.Errorf("%d samples are kept", len(c.samples))
	}
}

// The list of limits has every counter of the report, with the names of the documentation.
func TestLimits(t *testing.T) {
	text, err := os.ReadFile("../../docs/limits-and-loss.md")
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]bool{}
	stats := pipeline.Stats{TimedOut: 1, Overflow: 2, Interim: 3, ClockJumps: 4, BudgetEvicted: 5}
	stats.TCP.HeldLimit, stats.TCP.Evicted, stats.TCP.TimedOut = 6, 7, 8
	stats.SCTP.Evicted, stats.SCTP.Refused, stats.SCTP.HeldLimit, stats.SCTP.Jumps, stats.SCTP.TimedOut = 9, 10, 11, 12, 13
	stats.TLS.Overflow, stats.TLS.TimedOut, stats.UDP.Evicted, stats.Unlinked = 14, 15, 16, 17
	values := map[uint64]bool{}
	for _, l := range limits {
		if counted[l.name] || l.what == "" || values[l.count(&stats)] || l.count(&stats) == 0 {
			t.Errorf("%s is there twice, says nothing, or counts nothing of its own", l.name)
		}
		counted[l.name], values[l.count(&stats)] = true, true
		for _, option := range regexp.MustCompile(`--[a-z-]+`).FindAllString(l.what, -1) {
			if !bytes.Contains(text, []byte("`"+option+"`")) {
				t.Errorf("there is no %s", option)
			}
		}
		if !l.quiet && !bytes.Contains(text, []byte("`"+l.name+"`")) {
			t.Errorf("docs/limits-and-loss.md doesn't say `%s`", l.name)
		}
	}
	const want = "limits      hit: linking 17, udp flows 16, key wait 15, keys awaited 14, idle connections 8, connections evicted 7, held segments 6, memory budget 5, clock jumps 4, interim responses 3, max waiting 2, exchange timeout 1\n"
	if got := totals(&stats, ""); !strings.HasSuffix(got, want) {
		t.Errorf("the report says\n%s", got)
	}
}

// Many who ask within half a second get one answer; who doesn't wait gets none.
func TestInFlightIsAskedSeldom(t *testing.T) {
	var f inFlight
	var w pipeline.Watch
	if a, err := f.get(context.Background(), &w); err != nil || a.Running {
		t.Fatal(a, err)
	}
	look := f.look
	if _, err := f.get(context.Background(), &w); err != nil || f.look != look {
		t.Error("asked again at once")
	}
	f.asked = f.asked.Add(-inFlightEvery)
	if _, err := f.get(context.Background(), &w); err != nil || f.look == look {
		t.Error("not asked again")
	}
	look = f.look
	f.forget()
	if _, err := f.get(context.Background(), &w); err != nil || f.look == look {
		t.Error("not asked again after the end")
	}
	f.look, f.asked = new(pipeline.Look), time.Now() // which nobody answers
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.get(ctx, &w); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
