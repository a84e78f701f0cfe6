package web

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/store"
)

// chained makes requests that go from a client through a proxy and an application to what that asks: all pass the request's id on.
func chained(n int) (all []*exchange.Exchange) {
	for i := range n {
		begin := time.Duration(10*60-i) * time.Second
		asked := fmt.Sprintf("GET /cart/%d HTTP/1.1\nHost: shop.example\nX-Request-ID: 5f0c9b6e-%04d\n\n", i, i)
		add := func(x *exchange.Exchange, route, from, to string, after time.Duration, took int64) *exchange.Exchange {
			x.Enriched.Route = route
			x = place(x, len(all), from, to, begin-after, took)
			x.Blame = exchange.Blame{Who: exchange.Nobody}
			all = append(all, x)
			return x
		}
		const route = "/cart/{id}"
		add(outputtest.Exchange(asked, "HTTP/1.1 200 OK\n\n[]"), route, "10.0.0.7", "10.0.0.2:80", 0, 500_000)
		x := add(outputtest.Exchange(asked, "HTTP/1.1 200 OK\n\n[]"), route, "10.0.0.2", "10.0.0.3:8000", 2*time.Millisecond, 490_000)
		x.Blame = exchange.Blame{
			Who: exchange.ByServer, Situation: exchange.SlowApplication, Time: 480e6, Confidence: 0.9,
			Why: "server: 480 ms of 490 ms between packet 4 and packet 9", Facts: []string{"480 ms of 490 ms between packet 4 and packet 9"},
		}
		add(outputtest.Exchange(asked, "HTTP/1.1 200 OK\n\n[]"), route, "10.0.0.3", "10.0.0.9:8080", 10*time.Millisecond, 450_000)
	}
	return all
}

// hopsOf are the nodes of an answer in one line each.
func hopsOf(v map[string]any) (all []string) {
	for _, n := range v["nodes"].([]any) {
		all = append(all, fmt.Sprintf("%v%v %v %v, by %v, %v ms, %v own", strings.Repeat("  ", int(dig(n, "depth").(float64))), dig(n, "protocol"), dig(n, "verb"),
			dig(n, "server"), dig(n, "method"), dig(n, "duration").(float64)/1e6, dig(n, "self").(float64)/1e6))
	}
	return all
}

func TestTraces(t *testing.T) {
	all := chained(20)
	want := []string{
		"http GET 10.0.0.2:80, by root, 500 ms, 9.7 own",
		"  http GET 10.0.0.3:8000, by id, 490 ms, 39.7 own",
		"    http GET 10.0.0.9:8080, by id, 450 ms, 450 own",
	}
	for what, kept := range map[string]store.Store{"naive": storeOf(t, all), "embedded": embeddedOf(t, all)} {
		s := serve(t, func(o *Options) { o.Store = kept })
		var ids []string
		for _, x := range all[9:12] {
			ids = append(ids, string(idText(x.ID(x.Tap.Observer))))
		}
		for i, id := range ids {
			v := ask(t, s, "/api/traces/"+id)
			if got := hopsOf(v); !slices.Equal(got, want) {
				t.Errorf("%s: the tree of number %d is\n%s\nwant\n%s", what, i, strings.Join(got, "\n"), strings.Join(want, "\n"))
				continue
			}
			if v["id"] != id || v["root"] != ids[0] || v["truncated"] != false || v["looked_at"] != 60.0 || v["left_out"] != 0.0 {
				t.Errorf("%s: %v", what, v)
			}
			for k, want := range map[string]any{"id": ids[1], "parent": ids[0], "confidence": 1.0, "role": "call", "async": false, "offset": 2e6, "target": "/cart/3", "route": "/cart/{id}",
				"host": "shop.example", "status": 200.0, "failed": false, "client": "10.0.0.2:20010", "start": "2026-11-21T11:50:03.002000000Z", "network": nil, "earlier": nil} {
				if got := dig(v, "nodes", 1, k); got != want {
					t.Errorf("%s: %s is %v, want %v", what, k, got, want)
				}
			}
			if dig(v, "nodes", 0, "parent") != nil || dig(v, "nodes", 2, "parent") != ids[1] {
				t.Errorf("%s: %v", what, v)
			}
		}
	}
}

// What isn't stored has no tree, and neither has what takes no part.
func TestTracesOfNothing(t *testing.T) {
	flow := outputtest.Exchange("GET / HTTP/1.1\n\n", "HTTP/1.1 200 OK\n\n")
	flow.Protocol, flow.Family, flow.HasRequest, flow.HasResponse = "tls", exchange.FamilyOf("tls"), false, false
	flow = place(flow, 1, "10.0.0.7", "10.0.0.2:443", time.Minute, 1000)
	s := serve(t, func(o *Options) { o.Store = storeOf(t, []*exchange.Exchange{flow}) })
	for _, id := range []string{"00000000000000000000000000", "nope", string(idText(flow.ID(flow.Tap.Observer)))} {
		if w := do(s, request("/api/traces/"+id)); w.Code != 404 || !strings.Contains(w.Body.String(), "#not-found") {
			t.Errorf("%s: %d: %s", id, w.Code, w.Body)
		}
	}
}

// A root that lasts longer than was looked at is followed to its end.
func TestTracesOfLongRoots(t *testing.T) {
	var all []*exchange.Exchange
	asked := "GET /report HTTP/1.1\nHost: shop.example\nX-Request-ID: 0a7f63d1\n\n"
	add := func(from, to string, after time.Duration, took time.Duration) {
		x := place(outputtest.Exchange(asked, "HTTP/1.1 200 OK\n\n"), len(all), from, to, 10*time.Minute-after, took.Microseconds())
		all = append(all, x)
	}
	add("10.0.0.7", "10.0.0.2:80", 0, 5*time.Minute)
	add("10.0.0.2", "10.0.0.3:8000", time.Second, time.Second)
	add("10.0.0.2", "10.0.0.4:8000", 4*time.Minute, time.Second) // beyond what is looked at around the one before
	s := serve(t, func(o *Options) { o.Store = storeOf(t, all) })
	v := ask(t, s, "/api/traces/"+string(idText(all[1].ID(all[1].Tap.Observer))))
	if nodes := v["nodes"].([]any); len(nodes) != 3 || v["looked_at"] != 3.0 || v["to"] != "2026-11-21T11:55:05.000000000Z" {
		t.Errorf("%s: %v", strings.Join(hopsOf(v), "\n"), v)
	}
}

// What a tree changes of a verdict is put into words by the exchange that it is about.
func TestTracesVerdicts(t *testing.T) {
	all := chained(1)
	s := serve(t, func(o *Options) { o.Store = storeOf(t, all) })
	l := &linking{reading: s.newReading(t.Context(), "hops")}
	app := all[1]
	n := &hops.Node{Span: &hops.Span{ID: app.ID(app.Tap.Observer)}, End: 490e6, Blame: app.Blame}
	worded := 0
	v, err := l.verdict(n, &worded)
	if err != nil || worded != 0 || v.Who != "server" || v.Situation != "slow-application" || v.Time != 480e6 || v.Share != 0.98 || len(v.Evidence) != 1 {
		t.Errorf("%+v, %v, %d", v, err, worded)
	}
	n.Blame = exchange.Blame{Who: exchange.ByUpstream, Situation: exchange.SlowUpstream, Time: 450e6, Confidence: 0.8, Upstream: "10.0.0.9:8080"}
	if v, err = l.verdict(n, &worded); err != nil || worded != 1 || v.Who != "upstream" || v.Why == "" || strings.Contains(string(v.Why), "480 ms") || v.Upstream != "10.0.0.9:8080" {
		t.Errorf("%+v, %v, %d", v, err, worded)
	}
	n.Blame = exchange.Blame{}
	if v, err = l.verdict(n, &worded); v != nil || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
	worded, n.Blame = maxWorded, exchange.Blame{Who: exchange.Unclear}
	if v, err = l.verdict(n, &worded); err != nil || worded != maxWorded || v.Why != "" {
		t.Errorf("%+v, %v, %d", v, err, worded)
	}
}
