package web

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/culprit-http/culprit/internal/store"
)

// same compares JSON with what a test expects, written as JSON.
func same(t *testing.T, what string, got any, want string) {
	t.Helper()
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(b, &a)
	again, _ := json.Marshal(w)
	if string(b) != string(again) {
		t.Errorf("%s:\ngot  %s\nwant %s", what, b, again)
	}
}

func TestAggregate(t *testing.T) {
	s := serve(t)
	v := ask(t, s, "/api/aggregate?group=class(status),method&metric=p99(duration),max(size),error_rate,p50(duration)&sort=p50(duration)&limit=2")
	same(t, "by", v["by"], `["class(http.response.status_code)","http.request.method"]`)
	same(t, "metrics", v["metrics"], `[{"name":"p99(duration)","unit":"ns"},{"name":"max(size)","unit":"byte"},{"name":"error_rate"},{"name":"p50(duration)","unit":"ns"}]`)
	same(t, "groups", v["groups"], `[
		{"keys":["5xx","GET"],"count":12,"values":{"error_rate":1,"max(size)":5,"p50(duration)":1900200000,"p99(duration)":1900200000}},
		{"keys":["2xx","POST"],"count":12,"values":{"error_rate":0,"max(size)":5,"p50(duration)":41200000,"p99(duration)":41200000}}]`)
	same(t, "other", v["other"], `{"groups":2,"count":36,"values":{"error_rate":0.3333333333333333,"max(size)":5,"p50(duration)":18200000,"p99(duration)":22200000}}`)
	same(t, "rows", v["rows"], `[]`)
	if dig(v, "total", "count") != 60.0 || v["interval"] != 0.0 {
		t.Errorf("%v", v)
	}

	v = ask(t, s, "/api/aggregate?group=route&interval=5m&last=10m&metric=rate&metric=count,errors")
	same(t, "groups", v["groups"], `[
		{"keys":["/products/{id}"],"count":24,"values":{"errors":0,"rate":0.04}},{"keys":["/cart"],"count":12,"values":{"errors":0,"rate":0.02}},
		{"keys":["/search"],"count":12,"values":{"errors":12,"rate":0.02}},{"keys":[null],"count":12,"values":{"errors":12,"rate":0.02}}]`)
	same(t, "rows", dig(v, "rows", 1), `{"group":0,"start":"2026-11-21T11:55:00.000000000Z","count":12,"values":{"errors":0,"rate":0.04}}`)
	if n := len(v["rows"].([]any)); n != 8 {
		t.Errorf("%d rows", n)
	}

	// Nothing to compute of is null.
	v = ask(t, s, "/api/aggregate?where=status+==+1&metric=mean(duration),p50(duration),rate")
	same(t, "total", v["total"], `{"count":0,"values":{"mean(duration)":null,"p50(duration)":null,"rate":null}}`)
	// Without a group there is one, of everything.
	v = ask(t, s, "/api/aggregate?metric=distinct(client)")
	same(t, "groups", v["groups"], `[{"keys":[],"count":60,"values":{"distinct(client)":3}}]`)
	v = ask(t, s, "/api/aggregate?group=network(client),client&limit=1")
	same(t, "groups", v["groups"], `[{"keys":["10.0.0.0/24","10.0.0.7"],"count":20,"values":{}}]`)
}

// The store orders by the first quantile of a metric: the one to sort by has a metric of its own.
func TestOrderByPercentile(t *testing.T) {
	p := params{values: map[string][]string{"metric": {"p99(duration),p90(duration),p50(duration),p10(duration)"}, "sort": {"p50(duration)"}}}
	m, err := p.metrics()
	if err != nil {
		t.Fatal(err)
	}
	if q := m.Metrics[m.order].Quantiles; q[0] != 0.5 || len(m.Metrics) != 2 || len(m.Metrics[0].Quantiles) < 2 {
		t.Errorf("%v of %v", q, m.Metrics)
	}
	totals := store.Totals{Values: make([][]float64, len(m.Metrics))}
	for i := range m.Metrics {
		totals.Values[i] = m.Metrics[i].Quantiles // as if a quantile's value were the quantile
	}
	same(t, "values", m.values(&totals), `{"p10(duration)":0.1,"p50(duration)":0.5,"p90(duration)":0.9,"p99(duration)":0.99}`)
}

func TestHistogram(t *testing.T) {
	s := serve(t)
	v := ask(t, s, "/api/histogram?last=10m&buckets=5&group=class(status)&limit=2&metric=p50(duration)")
	if v["start"] != "2026-11-21T11:50:00.000000000Z" || v["interval"] != 120e9 || v["buckets"] != 5.0 {
		t.Errorf("%v", v)
	}
	same(t, "series", v["series"], `[
		{"key":"2xx","count":36,"counts":[8,7,7,8,6],"values":{"p50(duration)":[22200000,22200000,22200000,22200000,22200000]}},
		{"key":"4xx","count":12,"counts":[2,2,3,2,3],"values":{"p50(duration)":[3200000,3200000,3200000,3200000,3200000]}}]`)
	same(t, "other", v["other"], `{"groups":1,"count":12,"counts":[2,3,2,2,3]}`)

	// Gaps are zeros, and the buckets cover what was asked for.
	v = ask(t, s, "/api/histogram?from=2026-11-21T11:40:30Z&to=2026-11-21T11:55:00Z&interval=5m&where=status+==+503&metric=max(duration)")
	same(t, "series", v["series"], `[{"key":null,"count":6,"counts":[0,0,6],"values":{"max(duration)":[null,null,1900200000]}}]`)
	if v["start"] != "2026-11-21T11:40:00.000000000Z" {
		t.Errorf("%v", v["start"])
	}
	// Without bounds it covers what is stored.
	v = ask(t, s, "/api/histogram?interval=5m")
	same(t, "series", v["series"], `[{"key":null,"count":60,"counts":[30,30],"values":{}}]`)
	// Nothing stored, nothing selected.
	v = ask(t, s, "/api/histogram?last=1m&where=status+==+1&interval=30s")
	if v["buckets"] != 2.0 || dig(v, "total", "count") != 0.0 {
		t.Errorf("%v", v)
	}
	empty := serve(t, func(o *Options) { o.Store = storeOf(t, nil) })
	for _, target := range []string{"/api/histogram", "/api/histogram?last=1h", "/api/heatmap", "/api/aggregate?interval=1m", "/api/terms?field=path", "/api/cardinality?field=path", "/api/complete?field=path", "/api/exchanges"} {
		ask(t, empty, target)
	}
}

func TestHeatmap(t *testing.T) {
	s := serve(t)
	v := ask(t, s, "/api/heatmap?last=10m&interval=5m")
	same(t, "bands", v["bands"], `[
		{"from":3162278,"to":4216965,"count":12,"counts":[6,6],"errors":[6,6]},
		{"from":17782794,"to":23713737,"count":24,"counts":[12,12],"errors":[0,0]},
		{"from":31622777,"to":42169650,"count":12,"counts":[6,6],"errors":[0,0]},
		{"from":1778279410,"to":2371373706,"count":12,"counts":[6,6],"errors":[6,6]}]`)
	if v["field"] != "event.duration" || v["unit"] != "ns" || v["total"] != 60.0 || v["missing"] != 0.0 {
		t.Errorf("%v", v)
	}
	v = ask(t, s, "/api/heatmap?last=10m&interval=10m&field=asn")
	if v["missing"] != 60.0 || len(v["bands"].([]any)) != 0 {
		t.Errorf("%v", v)
	}
}

// The bands are those of the store: each begins where the one before ends.
func TestBands(t *testing.T) {
	if above(0) != 1 || above(1) != 2 || above(1000) != 1334 || above(math.MaxInt64-1) != math.MaxInt64 {
		t.Error(above(0), above(1), above(1000), above(math.MaxInt64-1))
	}
}

func TestTerms(t *testing.T) {
	s := serve(t)
	v := ask(t, s, "/api/terms?field=route&limit=2&metric=errors")
	same(t, "terms", v["terms"], `[{"value":"/products/{id}","count":24,"values":{"errors":0}},{"value":"/cart","count":12,"values":{"errors":0}}]`)
	same(t, "other", v["other"], `{"terms":2,"count":24}`) // what lacks it isn't among the largest
	v = ask(t, s, "/api/terms?field=route&limit=3")
	same(t, "other", v["other"], `{"terms":0,"count":0}`)
	if v["missing"] != 12.0 || v["field"] != "culprit.route" || dig(v, "total", "count") != 60.0 {
		t.Errorf("%v", v)
	}
	v = ask(t, s, "/api/terms?field=status&limit=1&metric=mean(duration)&sort=mean(duration)")
	same(t, "terms", v["terms"], `[{"value":503,"count":12,"values":{"mean(duration)":1900200000}}]`)
	v = ask(t, s, "/api/terms?field=culprit.stream")
	same(t, "terms", v["terms"], `[]`)
}

func TestCardinality(t *testing.T) {
	v := ask(t, serve(t), "/api/cardinality?field=client&where=status+==+200")
	if v["distinct"] != 3.0 || v["exact"] != true || v["total"] != 24.0 || v["field"] != "client.ip" {
		t.Errorf("%v", v)
	}
}

func TestComplete(t *testing.T) {
	s := serve(t)
	for query, want := range map[string]string{
		"field=path&prefix=/P":                               `[{"value":"/products/17","count":12},{"value":"/products/4","count":12}]`,
		"field=path&prefix=/p&limit=1":                       `[{"value":"/products/17","count":12}]`,
		"field=method&prefix=po":                             `[{"value":"POST","count":12}]`,
		"field=status&prefix=20":                             `[{"value":200,"count":24},{"value":201,"count":12}]`,
		"field=client&prefix=10.0.0.8":                       `[{"value":"10.0.0.8","count":20}]`,
		"field=vhost":                                        `[{"value":"shop.example","count":48},{"value":"api.shop.example","count":12}]`,
		"field=vhost&prefix=x":                               `[]`,
		"field=vhost&prefix=%FF%22":                          `[]`,
		"field=event.type&prefix=p":                          `[{"value":"protocol","count":60}]`, // one element of a list
		"field=vhost&where=status==503":                      `[{"value":"api.shop.example","count":12}]`,
		"field=vhost&where=status==503+and+has(path)":        `[{"value":"api.shop.example","count":12}]`,
		"field=vhost&where=status==503+or+has(asn)&prefix=s": `[]`,
	} {
		v := ask(t, s, "/api/complete?"+query)
		same(t, query, v["values"], want)
		if v["more"] != (query == "field=path&prefix=/p&limit=1") {
			t.Errorf("%s: more is %v", query, v["more"])
		}
	}
}
