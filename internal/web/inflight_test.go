package web

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// capturing is the state of a capture, as culprit serve has it.
func capturing() any {
	drops := map[string]int{"kernel": 0, "interface": 0}
	return &struct {
		State       string         `json:"state"`
		Since       time.Time      `json:"since"`
		From        []string       `json:"from"`
		Packets     any            `json:"packets"`
		Bytes       int            `json:"bytes"`
		Exchanges   any            `json:"exchanges"`
		Stored      any            `json:"stored"`
		Redaction   map[string]int `json:"redaction"`
		Enrichment  any            `json:"enrichment"`
		KeptPackets any            `json:"kept_packets"`
		Totals      any            `json:"totals"`
		Limits      any            `json:"limits"`
		Rates       map[string]any `json:"rates"`
		Import      any            `json:"import"`
	}{
		State: "capturing", Since: noon.Add(-10 * time.Minute), From: []string{"eth0"},
		Packets: map[string]any{"received": 350, "dropped": drops}, Bytes: 90175,
		Exchanges: map[string]any{"seen": 60, "grades": map[string]int{"complete": 60}, "left_out": map[string]int{"where": 0, "processes": 0, "unknown_processes": 0}},
		Stored:    map[string]any{"added": 60, "stored": 60, "already_stored": 0, "waiting": 0, "lost": map[string]int{"queue": 0, "store": 0}},
		Redaction: map[string]int{"lumped": 0, "unlisted": 0},
		Totals: map[string]any{
			"at": noon, "received": 350, "bytes": 90175, "dropped": drops, "analysed": 347, "ignored": map[string]int{"dns": 2, "arp": 1},
			"connections": map[string]int{"http": 28, "tls": 1}, "missing_bytes": 0, "gaps": 0,
		},
		Limits: []map[string]any{{"limit": "max waiting", "count": 0, "what": "requests given up because too many waited on their connection (--max-waiting)"}},
		Rates:  map[string]any{"packets": 35.5, "bytes": 9017.5, "exchanges": 6, "over": 10_000_000_000},
	}
}

// running is what a program takes.
func running() Process {
	cpu, rss, threads := int64(1_200_000_000), int64(64<<20), 9
	return Process{CPU: &cpu, RSS: &rss, PeakRSS: &rss, Threads: &threads, Goroutines: 12, Started: noon.Add(-10 * time.Minute), Uptime: 600e9}
}

// inFlightOf makes what is under way of exchanges, which begin a second apart, the last one a second ago.
func inFlightOf(all []*exchange.Exchange) *InFlight {
	v := &InFlight{Running: true, Now: noon.UnixNano(), Total: len(all)}
	for i, x := range all {
		x.Start.Time = v.Now - int64(len(all)-i)*1e9
		x.HasResponse = i%2 == 0
		u := UnderWay{x, exchange.Waiting}
		x.Request.BodyBytes, x.Response.BodyBytes = 0, 0
		if x.HasResponse {
			u.State, x.Response.BodyBytes = exchange.Receiving, int64(1000*i)
		}
		v.Exchanges = append(v.Exchanges, u)
	}
	return v
}

// Answers may be large: one is made after the other, also while the store is busy.
func TestInFlightInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, proceed := 0, make(chan bool)
		s := serve(t, func(o *Options) {
			o.InFlight = func(context.Context) (*InFlight, error) {
				asked++
				<-proceed
				return &InFlight{}, nil
			}
		})
		for range cap(s.queries.places) {
			s.queries.places <- struct{}{}
		}
		answers := make(chan int)
		for range 2 {
			go func() { answers <- do(s, request("/api/inflight")).Code }()
		}
		for i := range 2 {
			synctest.Wait()
			if asked != i+1 {
				t.Errorf("%d are asked at once", asked-i)
			}
			proceed <- true
			if code := <-answers; code != 200 {
				t.Errorf("status %d", code)
			}
		}
	})
}

func TestInFlight(t *testing.T) {
	v := inFlightOf(shop(10))
	v.Total, v.LeftOut = 30, 20
	asked := 0
	s := serve(t, func(o *Options) {
		o.InFlight = func(ctx context.Context) (*InFlight, error) {
			asked++
			if _, ok := ctx.Deadline(); !ok {
				t.Error("it may take for ever")
			}
			return v, nil
		}
	})
	a := ask(t, s, "/api/inflight")
	if dig(a, "running") != true || dig(a, "now") != "2026-11-21T12:00:00.000000000Z" || dig(a, "total") != 30.0 || dig(a, "left_out") != 20.0 || len(dig(a, "exchanges").([]any)) != 10 {
		t.Errorf("%v", a)
	}
	for i := range 10 {
		state, bytes := "receiving", float64(1000*i)
		if i%2 == 1 {
			state, bytes = "waiting", 0
		}
		x := dig(a, "exchanges", i)
		if dig(x, "state") != state || dig(x, "elapsed") != float64(10-i)*1e9 || dig(x, "request_bytes") != 0.0 || dig(x, "response_bytes") != bytes ||
			dig(x, "exchange", "event", "id") != string(exchange.AppendID(nil, v.Exchanges[i].Exchange.ID(""))) {
			t.Errorf("%d: %v", i, x)
		}
	}
	// The oldest of those for which the filter holds; what is beyond the limit is counted.
	a = ask(t, s, "/api/inflight?where=has(status)&limit=2&fields=target")
	if got := fmt.Sprint(dig(a, "exchanges", 0, "elapsed"), dig(a, "exchanges", 1, "elapsed"), len(dig(a, "exchanges").([]any)), dig(a, "total"), dig(a, "left_out")); got != "1e+10 8e+09 2 30 23" {
		t.Errorf("got %s", got)
	}
	if x := dig(a, "exchanges", 0, "exchange"); dig(x, "url", "original") == nil || dig(x, "event") != nil {
		t.Errorf("fields: %v", x)
	}
	before := asked
	refused(t, s, request("/api/inflight?limit=1001"), 400, "bad-parameter", "limit")
	refused(t, s, request("/api/inflight?where=stauts==1"), 400, "bad-filter", "stauts")
	refused(t, s, request("/api/inflight?fields=stauts"), 400, "bad-parameter", "stauts")
	refused(t, s, request("/api/inflight", "Authorization: "), 401, "no-token", "")
	if asked != before {
		t.Error("the capture was asked what was refused")
	}
}

// What is sent by strangers becomes no markup.
func TestInFlightEscapes(t *testing.T) {
	all := shop(1)
	raw := []byte("GET /<script>alert(1)</script>&\u2028 HTTP/1.1\r\n\r\n")
	m := &all[0].Request
	m.Raw, m.Fields = raw, nil
	m.Method.Off, m.Method.Len, m.Target.Off, m.Target.Len, m.Proto.Len = 0, 3, 4, uint32(len("/<script>alert(1)</script>&\u2028")), 0
	s := serve(t, func(o *Options) {
		o.InFlight = func(context.Context) (*InFlight, error) { return inFlightOf(all), nil }
	})
	body := do(s, request("/api/inflight")).Body.String()
	if !strings.Contains(body, `\u003cscript\u003ealert(1)`) || strings.ContainsAny(body, "<>&\u2028") {
		t.Errorf("got %s", body)
	}
}

// Without a capture nothing is under way. One that doesn't answer in time, or fails, is no answer.
func TestInFlightWithout(t *testing.T) {
	a := ask(t, serve(t, func(o *Options) { o.InFlight = nil }), "/api/inflight")
	if dig(a, "running") != false || dig(a, "now") != nil || dig(a, "total") != 0.0 || len(dig(a, "exchanges").([]any)) != 0 {
		t.Errorf("%v", a)
	}
	for _, c := range []struct {
		err    error
		status int
		kind   string
	}{{context.DeadlineExceeded, 503, "busy"}, {errors.New("gone wrong"), 500, "failed"}} {
		s := serve(t, func(o *Options) { o.InFlight = func(context.Context) (*InFlight, error) { return nil, c.err } })
		refused(t, s, request("/api/inflight"), c.status, c.kind, "")
		if after := do(s, request("/api/inflight")).Header().Get("Retry-After"); (after != "") != (c.status == 503) {
			t.Errorf("%v: come again after %q", c.err, after)
		}
	}
}

// What is under way is told of all protocols.
func TestInFlightOfOthers(t *testing.T) {
	all := []*exchange.Exchange{
		outputtest.Query("mysql", "SELECT", "SELECT SLEEP(?)"), outputtest.Lookup("AAAA", "shop.example"), shop(1)[0], outputtest.Push("news"),
	}
	s := serve(t, func(o *Options) {
		o.InFlight = func(context.Context) (*InFlight, error) { return inFlightOf(all), nil }
	})
	v := ask(t, s, "/api/inflight?fields=db,qname")
	for i, want := range []string{"SELECT SELECT SLEEP(?)", "AAAA shop.example", "GET /products/17?ref=mail", "MESSAGE news"} {
		x := dig(v, "exchanges", i)
		if got := fmt.Sprint(dig(x, "verb"), " ", dig(x, "subject")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if name := dig(v, "exchanges", 1, "exchange", "dns", "question", "name"); name != "shop.example" {
		t.Errorf("asked for %v", name)
	}
}
