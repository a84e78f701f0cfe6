package web

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/store"
)

// waysOf are the routes of an answer with the hops of their chains, in one line each.
func waysOf(v map[string]any) (all []string) {
	for _, r := range v["routes"].([]any) {
		all = append(all, fmt.Sprintf("%v%v: %v, %v failed, p50 %v ms", dig(r, "host"), dig(r, "route"), dig(r, "count"), dig(r, "errors"), int(dig(r, "p50").(float64)/1e6+0.5)))
		for _, s := range dig(r, "steps").([]any) {
			all = append(all, fmt.Sprintf("%v%v (%v): %v, %v ended", strings.Repeat("  ", int(dig(s, "depth").(float64))+1), dig(s, "name"), dig(s, "protocol"), dig(s, "requests"), dig(s, "ended")))
		}
	}
	return all
}

func TestRouting(t *testing.T) {
	all := chained(20)
	// One request is answered by the proxy itself, and fails.
	x := outputtest.Exchange("GET /cart/99 HTTP/1.1\nHost: shop.example\n\n", "HTTP/1.1 503 Service Unavailable\n\n")
	all = append(all, place(x, 900, "10.0.0.7", "10.0.0.2:80", 30*time.Second, 1_000))
	chain := func(n, failed, through int) []string {
		lines := []string{fmt.Sprintf("shop.example/cart/{id}: %d, %d failed, p50 %d ms", n, failed, 500)}
		lines = append(lines, fmt.Sprintf("  10.0.0.2:80 (http): %d, %d ended", n, n-through), fmt.Sprintf("    10.0.0.3:8000 (http): %d, 0 ended", through))
		return append(lines, fmt.Sprintf("      10.0.0.9:8080 (http): %d, %d ended", through, through))
	}
	for what, kept := range map[string]store.Store{"naive": storeOf(t, all), "embedded": embeddedOf(t, all)} {
		s := serve(t, func(o *Options) { o.Store = kept })
		for query, want := range map[string][]string{
			"":                              chain(21, 1, 20),
			"?from=-595s":                   chain(16, 1, 15),
			"?to=-595s":                     chain(5, 0, 5),
			"?where=server==%2210.0.0.9%22": chain(20, 0, 20),
			"?where=status==503":            {"shop.example/cart/{id}: 1, 1 failed, p50 1 ms", "  10.0.0.2:80 (http): 1, 1 ended"},
			"?text=cart/7":                  chain(1, 0, 1),
			"?where=status==418":            nil,
		} {
			v := ask(t, s, "/api/routes"+query)
			if got := waysOf(v); !slices.Equal(got, want) {
				t.Errorf("%s, %s:\n%s\nwant\n%s", what, query, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if v["truncated"] != false || v["more"] != 0.0 || v["others"] != 0.0 || v["apart"] != 0.0 {
				t.Errorf("%s, %s: %v", what, query, v)
			}
		}
		step := dig(ask(t, s, "/api/routes"), "routes", 0, "steps", 1)
		for k, want := range map[string]any{"server": "10.0.0.3:8000", "count": 20.0, "errors": 0.0, "total_time": 9.8e9, "route": "", "unseen": ""} {
			if got := dig(step, k); got != want {
				t.Errorf("%s: %s is %v, want %v", what, k, got, want)
			}
		}
	}
}

// Routes are made by the rules of the configuration, and the first of them are given.
func TestRoutingRules(t *testing.T) {
	var all []*exchange.Exchange
	for i, target := range []string{"/shops/berlin/stock", "/shops/rome/stock", "/about"} {
		x := outputtest.Exchange("GET "+target+" HTTP/1.1\nHost: shop.example\n\n", "HTTP/1.1 200 OK\n\n")
		all = append(all, place(x, i, "10.0.0.7", "10.0.0.2:80", time.Minute, 9_000))
	}
	rules := func(o *Options) { o.Store, o.Routes = storeOf(t, all), []string{"/shops/{city}/stock"} }
	v := ask(t, serve(t, rules), "/api/routes?limit=1")
	if got := waysOf(v); !slices.Equal(got, []string{"shop.example/shops/{city}/stock: 2, 0 failed, p50 9 ms", "  10.0.0.2:80 (http): 2, 2 ended"}) || v["more"] != 1.0 {
		t.Errorf("%s, %v more", strings.Join(got, "\n"), v["more"])
	}
	if _, err := New(Options{Store: storeOf(t, nil), Token: testToken, Routes: []string{"no path"}}); err == nil {
		t.Error("a rule that is none is taken")
	}
}
