package store_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

func TestFigures(t *testing.T) {
	var f store.Figures
	for _, text := range []string{"p50(duration)", "rate", "p99.9( duration )", "p90(size)", "distinct(client)", "rate", " p75(duration) "} {
		if err := f.Add(text, text == "p90(size)"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Add("p10(duration)", true); err != nil {
		t.Fatal(err)
	}
	totals := store.Totals{Values: make([][]float64, len(f.Metrics))}
	for i, m := range f.Metrics {
		totals.Values[i] = []float64{float64(m.Kind)}
		if m.Kind == store.Percentiles {
			totals.Values[i] = m.Quantiles // as if each had itself as its value
		}
	}
	var got []float64
	percent := 99.9 // divided as it is at run time
	for i := range f.List {
		got = append(got, f.List[i].Of(&totals))
	}
	if want := []float64{0.5, float64(store.Rate), percent / 100, 0.9, float64(store.Distinct), 0.75, 0.1}; !slices.Equal(got, want) {
		t.Errorf("the values are %v, want %v", got, want)
	}
	if len(f.Metrics) != 5 {
		t.Errorf("%d metrics are asked of the store, want 5", len(f.Metrics))
	}
	if order, ok := f.Order("p10(duration)"); !ok || f.Metrics[order].Quantiles[0] != 0.1 {
		t.Errorf("the order is %d, %v", order, ok)
	}
	if order, ok := f.Order(""); !ok || order != -1 {
		t.Errorf("without a name the order is %d, %v", order, ok)
	}
	if _, ok := f.Order("p11(duration)"); ok {
		t.Error("what wasn't asked for is to order by")
	}
	if v := f.List[0].Of(&store.Totals{}); !math.IsNaN(v) {
		t.Errorf("of nothing, the value is %v", v)
	}
}

func TestWrongFigures(t *testing.T) {
	for text, want := range map[string]string{
		"": "no metric", "p": "no metric", "p101(duration)": "no metric", "median(duration)": "p50(duration)",
		"p50": "of a field", "sum": "sum(duration)", "sum()": "sum(duration)", "rate(duration)": "write it alone", "p50(duration": "parenthesis",
		"sum(nothing)": "no field nothing", "sum(method)": "can't be said of http.request.method", "p50(client)": "client.ip",
		"distinct(http.request.headers)": "http.request.headers", strings.Repeat("x", 1000): "no metric",
	} {
		err := (&store.Figures{}).Add(text, false)
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

func TestParseGroup(t *testing.T) {
	for text, want := range map[string]store.By{
		"method": store.ByValue, "class(status)": store.ByClass, " magnitude( duration ) ": store.ByMagnitude, "network(client)": store.ByNetwork,
		"anomalies": store.ByValue,
	} {
		g, err := store.ParseGroup(text)
		if err != nil || g.By != want || !g.By.Suits(g.Field) {
			t.Errorf("%s: %v, %v", text, g, err)
			continue
		}
		if again, err := store.ParseGroup(g.String()); err != nil || again != g {
			t.Errorf("%s becomes %s, which is %v, %v", text, g, again, err)
		}
	}
	for text, want := range map[string]string{
		"": "nothing to group by", "class": "no field class", "class(method)": "can't be said", "network(status)": "can't be said", "class(status": "nothing to group by",
		"magnitude()": "nothing to group by", "f(status)": "nothing to group by", "http.request.headers": "can't be said",
	} {
		if _, err := store.ParseGroup(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// The durations whose percentiles streams and one-sided exchanges are in are those of connections; of each other duration they
// are left out.
func TestTimed(t *testing.T) {
	connections := map[string]bool{
		"culprit.tls.handshake.client": true, "culprit.tls.handshake.server": true, "culprit.tls.handshake.network": true,
		"culprit.net.handshake.client_rtt": true, "culprit.net.handshake.server_rtt": true, "culprit.net.client.rtt": true, "culprit.net.server.rtt": true,
	}
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		if want := f.Kind == exchange.Duration && !connections[f.Name]; store.Timed(f) != want {
			t.Errorf("%s: %v, want %v", f.Name, !want, want)
		}
	}
	for _, name := range []string{"duration", "ttfb", "wait", "culprit.split.wait.server", "culprit.blame.time"} {
		if f := exchange.Lookup(name); f == nil || !store.Timed(f) {
			t.Errorf("streams are in the percentiles of %s", name)
		}
	}
}
