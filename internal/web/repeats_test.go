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

// repeatsOf are the findings of an answer in one line each.
func repeatsOf(v map[string]any) (all []string) {
	for _, r := range v["repeats"].([]any) {
		all = append(all, fmt.Sprintf("%v %v: %v %v, %v in %v ms, %v; %v of %v requests, %v ms",
			dig(r, "parent", "method"), dig(r, "parent", "route"), dig(r, "protocol"), dig(r, "template"), dig(r, "count"), dig(r, "time").(float64)/1e6,
			map[any]string{true: "sequential", false: "parallel"}[dig(r, "sequential")], dig(r, "total_count"), dig(r, "requests"), dig(r, "total_time").(float64)/1e6))
	}
	return all
}

func TestRepeats(t *testing.T) {
	const items = "GET /orders/{id}: mysql " + byOrder
	all := orders()
	for what, kept := range map[string]store.Store{"naive": storeOf(t, all), "embedded": embeddedOf(t, all)} {
		s := serve(t, func(o *Options) { o.Store = kept })
		for query, want := range map[string][]string{
			"":                             {items + ", 12 in 240.066 ms, sequential; 20 of 2 requests, 400.094 ms"},
			"?least=2":                     {items + ", 12 in 240.066 ms, sequential; 23 of 3 requests, 460.097 ms"},
			"?least=13":                    nil,
			"?from=-9m30s":                 {items + ", 8 in 160.028 ms, sequential; 8 of 1 requests, 160.028 ms"},
			"?to=-9m30s":                   {items + ", 12 in 240.066 ms, sequential; 12 of 1 requests, 240.066 ms"},
			"?where=table==%22users%22":    {items + ", 12 in 240.066 ms, sequential; 20 of 2 requests, 400.094 ms"},
			"?where=path==%22/orders/1%22": {items + ", 8 in 160.028 ms, sequential; 8 of 1 requests, 160.028 ms"},
			"?text=orders/1":               {items + ", 8 in 160.028 ms, sequential; 8 of 1 requests, 160.028 ms"},
			"?where=db==%22redis%22":       nil,
			"?to=-599.995s":                {items + ", 12 in 240.066 ms, sequential; 12 of 1 requests, 240.066 ms"},
			"?where=duration==20ms":        {items + ", 12 in 240.066 ms, sequential; 20 of 2 requests, 400.094 ms"},
			"?confidence=1":                {items + ", 12 in 240.066 ms, sequential; 20 of 2 requests, 400.094 ms"},
		} {
			v := ask(t, s, "/api/repeats"+query)
			if got := repeatsOf(v); !slices.Equal(got, want) {
				t.Errorf("%s, %s:\n%s\nwant\n%s", what, query, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if v["truncated"] != false || v["left_out"] != 0.0 {
				t.Errorf("%s, %s: %v", what, query, v)
			}
		}
		row := dig(ask(t, s, "/api/repeats"), "repeats", 0)
		for path, want := range map[string]any{
			"sure": 12.0, "expected": 12.0, "failed": 0.0, "at_once": 1.0, "confidence": 1.0, "share": 0.48, "busy": 240066000.0,
		} {
			if got := dig(row, path); got != want {
				t.Errorf("%s: %s is %v, want %v", what, path, got, want)
			}
		}
		if p := dig(row, "parent"); dig(p, "start") != "2026-11-21T11:50:00.000000000Z" || dig(p, "duration") != 500e6 {
			t.Errorf("%s: %v", what, p)
		}
		parent := ask(t, s, "/api/exchanges/"+dig(row, "parent", "id").(string))
		if dig(parent, "url", "path") != "/orders/0" {
			t.Errorf("%s: the parent is %v", what, parent["url"])
		}
		list := ask(t, s, "/api/exchanges?ascending&limit=100&where="+escaped(dig(row, "where").(string)))["exchanges"].([]any)
		if len(list) != 12 || dig(list[0], "event", "id") != dig(row, "first") || dig(list[11], "event", "id") != dig(row, "last") {
			t.Errorf("%s: %s chooses %d", what, dig(row, "where"), len(list))
		}
	}
}

// Calls and lookups are found as well, and their filters choose them.
func TestRepeatsOfOthers(t *testing.T) {
	var all []*exchange.Exchange
	x := outputtest.Exchange("GET /cart HTTP/1.1\nHost: shop.example\n\n", "HTTP/1.1 200 OK\n\n")
	x.Enriched.Route = "/cart"
	all = append(all, place(x, 0, "10.0.0.7", "10.0.0.2:8000", time.Minute, 900_000))
	for i := range 6 {
		at := time.Minute - time.Duration(10+i)*time.Millisecond
		call := outputtest.Exchange(fmt.Sprintf("GET /prices/%d?x=1 HTTP/1.1\nHost: prices.example:8080\n\n", i), "HTTP/1.1 200 OK\n\n")
		call.Enriched.Route = "/prices/{id}"
		all = append(all, place(call, 10+i, "10.0.0.2", "10.0.0.4:8080", at, 50_000),
			place(outputtest.Lookup("A", "prices.example", "10.0.0.4"), 20+i, "10.0.0.2", "10.0.0.53:53", at, 700))
	}
	s := serve(t, func(o *Options) { o.Store = storeOf(t, all) })
	v := ask(t, s, "/api/repeats")
	if got, want := repeatsOf(v), []string{
		"GET /cart: http GET prices.example:8080/prices/{id}, 6 in 300 ms, parallel; 6 of 1 requests, 300 ms",
		"GET /cart: dns A prices.example, 6 in 4.2 ms, sequential; 6 of 1 requests, 4.2 ms",
	}; !slices.Equal(got, want) {
		t.Fatalf("%s", strings.Join(got, "\n"))
	}
	for i, r := range v["repeats"].([]any) {
		where := dig(r, "where").(string)
		if list := ask(t, s, "/api/exchanges?where="+escaped(where))["exchanges"].([]any); len(list) != 6 {
			t.Errorf("%d: %s chooses %d", i, where, len(list))
		}
	}
	if v := ask(t, s, "/api/repeats?limit=1"); v["more"] != 1.0 || len(v["repeats"].([]any)) != 1 {
		t.Errorf("%v", v)
	}
}

// What is long over isn't late for what took longer, and a store gives what the detector needs: processes tell the requests of a
// host apart that was answering another one all the time, pushes are no children.
func TestRepeatsInTheOrderOfEnds(t *testing.T) {
	all := orders()
	long := outputtest.Exchange("GET /report HTTP/1.1\nHost: shop.example\n\n", "HTTP/1.1 200 OK\n\n")
	long = place(long, 500, "10.0.0.5", "10.0.0.2:8000", 11*time.Minute, 150_000_000) // what ends earlier isn't late for it
	all = append(all, long)
	pushed := outputtest.Push("news")
	all = append(all, place(pushed, 501, "10.0.0.2", "10.0.0.8:6379", 10*time.Minute-20*time.Millisecond, 1000))
	for _, x := range all {
		switch {
		case x.Family == exchange.Database:
			x.Process[x.Client] = &exchange.Process{PID: 77, Name: "php-fpm"}
		case x == long:
			x.Process[x.Server()] = &exchange.Process{PID: 78, Name: "php-fpm"}
		case x.Family == exchange.HTTP:
			x.Process[x.Server()] = &exchange.Process{PID: 77, Name: "php-fpm"}
		}
	}
	s := serve(t, func(o *Options) { o.Store = embeddedOf(t, all) })
	v := ask(t, s, "/api/repeats")
	if len(repeatsOf(v)) != 1 || dig(v, "repeats", 0, "requests") != 2.0 || dig(v, "repeats", 0, "sure") != 12.0 || v["left_out"] != 0.0 || v["looked_at"] != float64(len(all)) {
		t.Errorf("%v", v)
	}
}
