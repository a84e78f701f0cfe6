package otlp

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	metricsv1 "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/rollup"
)

// row makes a row of three exchanges, of which two have durations.
func row() *rollup.Row {
	r := &rollup.Row{
		ID: [16]byte{1, 2, 3}, Start: 1_700_000_040_000_000_000, Interval: rollup.Interval,
		Series: rollup.Series{Observer: "host-1", Tap: "eth0", Service: "shop", Domain: "shop.example", Route: "/users/{id}", Method: "GET", StatusClass: 5, Protocol: "http"},
		Count:  3, Errors: 2, RequestBytes: 300, ResponseBytes: 5000,
	}
	for _, ns := range []int64{0, 3e6, 2e9} {
		r.Duration.Add(ns)
	}
	r.Wait.Add(1e6)
	return r
}

func decodeRow(t *testing.T, body []byte) (resource map[string]any, metrics map[string]*metricsv1.Metric) {
	t.Helper()
	var d metricsv1.MetricsData
	if err := proto.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	known(t, &d)
	metrics = map[string]*metricsv1.Metric{}
	for _, rm := range d.ResourceMetrics {
		resource = values(t, rm.Resource.Attributes)
		for _, sm := range rm.ScopeMetrics {
			if sm.Scope.Name != "culprit" || sm.SchemaUrl != SchemaURL {
				t.Errorf("scope %v", sm)
			}
			for _, m := range sm.Metrics {
				metrics[m.Name] = m
			}
		}
	}
	return resource, metrics
}

func TestRow(t *testing.T) {
	r := row()
	resource, metrics := decodeRow(t, NewEncoder(&Options{}).Rollup(nil, r))
	if resource["service.name"] != "shop" || resource["host.name"] != "host-1" {
		t.Errorf("resource %v", resource)
	}
	want := map[string]any{
		"http.request.method": "GET", "http.route": "/users/{id}", "server.address": "shop.example", "network.protocol.name": "http",
		"observer.ingress.interface.name": "eth0", "culprit.rollup.status_class": "5xx", "error.type": "5xx",
	}
	same := func(name string, got map[string]any, start, end uint64) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %v", name, got)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s is %v, want %v", name, k, got[k], v)
			}
		}
		if start != uint64(r.Start) || end != uint64(r.Start+60e9) {
			t.Errorf("%s: from %d to %d", name, start, end)
		}
		if id := values(t, metrics[name].Metadata)["event.id"]; id != string(exchange.AppendID(nil, r.ID)) {
			t.Errorf("%s: event.id %v", name, id)
		}
	}
	for name, value := range map[string]int64{"culprit.exchanges": 3, "culprit.exchange.errors": 2, "culprit.exchange.request.size": 300, "culprit.exchange.response.size": 5000} {
		sum := metrics[name].GetSum()
		if sum == nil || !sum.IsMonotonic || sum.AggregationTemporality != metricsv1.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA || len(sum.DataPoints) != 1 {
			t.Fatalf("%s: %v", name, metrics[name])
		}
		p := sum.DataPoints[0]
		if p.GetAsInt() != value {
			t.Errorf("%s is %d, want %d", name, p.GetAsInt(), value)
		}
		same(name, values(t, p.Attributes), p.StartTimeUnixNano, p.TimeUnixNano)
	}
	for name, h := range map[string]*measure.Histogram{httpDuration: &r.Duration, exchangeWait: &r.Wait} {
		e := metrics[name].GetExponentialHistogram()
		if e == nil || e.AggregationTemporality != metricsv1.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA || metrics[name].Unit != "s" {
			t.Fatalf("%s: %v", name, metrics[name])
		}
		p := e.DataPoints[0]
		var counted uint64
		for _, n := range p.Positive.BucketCounts {
			counted += n
		}
		if p.Count != h.Count || p.ZeroCount != h.Zero || counted+p.ZeroCount != p.Count || p.Scale != measure.HistogramScale {
			t.Errorf("%s: %v", name, p)
		}
		if math.Abs(p.GetSum()*1e9-h.Sum) > 1 || p.GetMin()*1e9 != float64(h.Min) || math.Abs(p.GetMax()*1e9-float64(h.Max)) > 1 {
			t.Errorf("%s: sum %v, from %v to %v", name, p.GetSum(), p.GetMin(), p.GetMax())
		}
		same(name, values(t, p.Attributes), p.StartTimeUnixNano, p.TimeUnixNano)
	}
	if len(metrics) != 6 {
		t.Errorf("%d metrics", len(metrics))
	}
}

// HTTP/2 is HTTP, of a version that rows don't tell apart; a WebSocket isn't.
func TestProtocolOfRows(t *testing.T) {
	for protocol, c := range map[string]struct{ metric, name string }{
		"http2": {httpDuration, "http"}, "websocket": {exchangeDuration, "websocket"},
	} {
		r := row()
		r.Series.Protocol = protocol
		_, metrics := decodeRow(t, NewEncoder(&Options{}).Rollup(nil, r))
		if metrics[c.metric] == nil {
			t.Errorf("%s: no %s", protocol, c.metric)
			continue
		}
		if got := values(t, metrics[c.metric].GetExponentialHistogram().DataPoints[0].Attributes)["network.protocol.name"]; got != c.name {
			t.Errorf("%s is called %v", protocol, got)
		}
	}
}

func TestOddRows(t *testing.T) {
	r := &rollup.Row{Interval: rollup.Interval, Series: rollup.Series{Method: "BREW", Protocol: "other", Other: true}, Count: 1}
	e := NewEncoder(&Options{})
	resource, metrics := decodeRow(t, e.Rollup(nil, r))
	if resource["service.name"] != unknownService {
		t.Errorf("resource %v", resource)
	}
	if len(metrics) != len(counters) {
		t.Errorf("%d metrics of a row without durations", len(metrics))
	}
	got := values(t, metrics["culprit.exchanges"].GetSum().DataPoints[0].Attributes)
	if got["http.request.method"] != otherMethod || got["http.request.method_original"] != "BREW" || got["culprit.rollup.other"] != true ||
		got["culprit.rollup.status_class"] != nil || got["error.type"] != nil {
		t.Errorf("%v", got)
	}
	r.Start = -2 * rollup.Interval // packets can say that they are from before 1970
	_, metrics = decodeRow(t, e.Rollup(nil, r))
	if p := metrics["culprit.exchanges"].GetSum().DataPoints[0]; p.StartTimeUnixNano != 0 || p.TimeUnixNano != 0 {
		t.Errorf("from %d to %d", p.StartTimeUnixNano, p.TimeUnixNano)
	}
	r.Duration.Add(5)
	if _, metrics = decodeRow(t, e.Rollup(nil, r)); metrics[exchangeDuration] == nil || metrics[httpDuration] != nil {
		t.Errorf("%v", metrics)
	}
	if resource, _ = decodeRow(t, NewEncoder(&Options{Service: "all"}).Rollup(nil, r)); resource["service.name"] != "all" {
		t.Errorf("resource %v", resource)
	}
}

// quantile reads a percentile of a point, in seconds, as receivers do: the middle of the bucket, by its logarithm.
func quantile(p *metricsv1.ExponentialHistogramDataPoint, q float64) float64 {
	rank := uint64(math.Ceil(q * float64(p.Count)))
	seen := p.ZeroCount
	if rank <= seen {
		return 0
	}
	for i, n := range p.Positive.BucketCounts {
		if seen += n; seen >= rank {
			return math.Exp2((float64(p.Positive.Offset) + float64(i) + 0.5) / math.Exp2(float64(p.Scale)))
		}
	}
	return math.Inf(1)
}

// maxError is how far percentiles may be from the truth: half a bucket.
const maxError = 0.011

func TestPercentiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r := row()
	r.Duration = measure.Histogram{}
	var all []float64
	for range 20_000 {
		ns := int64(math.Exp(random.NormFloat64()*2 + math.Log(20e6)))
		r.Duration.Add(ns)
		all = append(all, float64(ns)/1e9)
	}
	slices.Sort(all)
	_, metrics := decodeRow(t, NewEncoder(&Options{}).Rollup(nil, r))
	p := metrics[httpDuration].GetExponentialHistogram().DataPoints[0]
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		if got := quantile(p, q); math.Abs(got/want-1) > maxError {
			t.Errorf("p%v is %v, want %v", 100*q, got, want)
		}
	}
}
