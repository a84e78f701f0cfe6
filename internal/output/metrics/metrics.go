// Package metrics counts all exchanges for Prometheus, and shows the counters of culprit itself. docs/metrics.md lists what
// there is.
package metrics

import (
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/rollup"
)

// Limits.
const (
	// DefaultMaxSeries is how many combinations of service, route and method are told apart, if nothing else is said.
	DefaultMaxSeries = 1000
	// MaxLabel is how long the text of a label is, in bytes. What is longer is cut, and ends with an ellipsis.
	MaxLabel = 200
	// Idle is how long no exchange of a series must have come for the series to make room for another, in capture time.
	Idle = time.Hour

	// sweepEvery is how often room is looked for at most.
	sweepEvery = time.Minute
	// maxScrapes is how many answers are made at once.
	maxScrapes = 4
)

// Of native histograms: a bucket is at most as much wider than the one before, a histogram has at most as many buckets, and
// one that had too many begins anew no more often than that.
const (
	bucketFactor   = 1.1
	maxBuckets     = 160
	bucketsRestart = time.Hour
)

// Labels of what isn't told apart. No route is called so: routes begin with a slash.
const (
	other       = "other"
	otherMethod = "_OTHER"
)

// methods are those that are told apart (OpenTelemetry's semantic conventions for http.request.method).
var methods = map[string]string{
	"GET": "GET", "HEAD": "HEAD", "POST": "POST", "PUT": "PUT", "DELETE": "DELETE", "CONNECT": "CONNECT", "OPTIONS": "OPTIONS",
	"TRACE": "TRACE", "PATCH": "PATCH",
}

// classes are the labels of status classes.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Options say what is counted, and shown beside. Zero values mean the defaults.
type Options struct {
	// MaxSeries is how many combinations of service, route and method are told apart. The rest counts as a route "other".
	MaxSeries int
	// Own returns what culprit itself counts; nil: that isn't shown. It is called from other goroutines, for each answer.
	Own func() Own
}

// Metrics counts exchanges. It implements output.Output; each exchange must come, whether it is sampled or not. Handler
// may be used from any goroutine meanwhile.
type Metrics struct {
	o        Options
	registry *prometheus.Registry

	requests                      *prometheus.CounterVec
	errors, sent, received, waits *prometheus.CounterVec
	durations                     *prometheus.HistogramVec
	others                        prometheus.Counter
	held                          prometheus.Gauge
	databases                     *databases
	blamed, lost, situations      *prometheus.CounterVec

	// series are those that are told apart; coarse those of all others of a service.
	series, coarse map[labels]*series
	// swept is when room was looked for, in capture time.
	swept int64
}

// labels are what series are told apart by.
type labels struct{ service, route, method string }

func (l labels) values() []string { return []string{l.service, l.route, l.method} }

// series are the metrics of some labels.
type series struct {
	labels labels
	// requests are by status class; nil: none came so far.
	requests                      [len(classes)]prometheus.Counter
	errors, sent, received, waits prometheus.Counter
	durations                     prometheus.Observer
	// blamed counts those that a party is to blame for, and lost the time; nil: none came so far.
	blamed, lost [exchange.NumWho]prometheus.Counter
	// seen is when the last exchange was complete.
	seen int64
}

// New returns Metrics that have counted nothing.
func New(o Options) *Metrics {
	if o.MaxSeries <= 0 {
		o.MaxSeries = DefaultMaxSeries
	}
	names := []string{"service", "route", "method"}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(names[:len(names):len(names)], more...))
	}
	var buckets []float64
	for _, b := range rollup.Bounds {
		buckets = append(buckets, time.Duration(b).Seconds())
	}
	m := &Metrics{
		o: o, registry: prometheus.NewRegistry(), series: map[labels]*series{}, coarse: map[labels]*series{}, swept: math.MinInt64,
		requests: counter("culprit_http_requests_total", "Exchanges, by class of the status.", "status_class"),
		errors:   counter("culprit_http_errors_total", "Exchanges with a status from 400, and those that broke."),
		sent:     counter("culprit_http_request_bytes_total", "Length of the requests, heads and framing included."),
		received: counter("culprit_http_response_bytes_total", "Length of the responses, heads and framing included."),
		waits:    counter("culprit_http_request_wait_seconds_total", "Time from the last byte of requests to the first of their responses."),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "culprit_http_request_duration_seconds", Help: "First byte of the request to last byte of the response.", Buckets: buckets,
			NativeHistogramBucketFactor: bucketFactor, NativeHistogramMaxBucketNumber: maxBuckets, NativeHistogramMinResetDuration: bucketsRestart,
		}, names),
		blamed:     counter("culprit_blame_exchanges_total", "Exchanges that were slow or failed, by who is to blame.", "who"),
		lost:       counter("culprit_blame_seconds_total", "Time lost by exchanges, by who is to blame.", "who"),
		situations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "culprit_blame_situations_total", Help: "Exchanges of any protocol that were slow or failed, by what happened."}, []string{"situation", "who"}),
		others:     prometheus.NewCounter(prometheus.CounterOpts{Name: "culprit_metrics_others_total", Help: "Exchanges that count as other: there was no room for their series."}),
		held:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "culprit_metrics_series", Help: "Combinations of service, route and method that are told apart."}),
	}
	m.databases = newDatabases(m.registry, buckets)
	m.registry.MustRegister(m.requests, m.errors, m.sent, m.received, m.waits, m.durations, m.blamed, m.lost, m.situations, m.others, m.held, collectors.NewGoCollector())
	if o.Own != nil {
		m.registry.MustRegister(newOwnCollector(o.Own))
	}
	return m
}

// Handler answers scrapes, in the format that is asked for: text, OpenMetrics, or Protocol Buffers, the only one that has
// native histograms.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes,
	})
}

// Exchange implements output.Output. What is no request isn't counted: a TLS session that wasn't read, what was said on a WebSocket,
// whose request is an exchange of its own, and flows.
func (m *Metrics) Exchange(x *exchange.Exchange) error {
	if b := &x.Blame; b.Who > exchange.Nobody {
		m.situations.WithLabelValues(b.Situation.String(), b.Who.String()).Inc()
	}
	switch output.KindOf(x) {
	case output.Query, output.Lookup:
		m.databases.count(x)
		return nil
	case output.Exchange:
	default:
		return nil
	}
	s := m.find(x)
	s.seen = x.Completed.Time
	class := rollup.StatusClass(x)
	if s.requests[class] == nil {
		s.requests[class] = m.requests.WithLabelValues(append(s.labels.values(), classes[class])...)
	}
	s.requests[class].Inc()
	if x.Outcome() == "failure" {
		s.errors.Inc()
	}
	if w := x.Blame.Who; w > exchange.Nobody {
		if s.blamed[w] == nil {
			v := append(s.labels.values(), w.String())
			s.blamed[w], s.lost[w] = m.blamed.WithLabelValues(v...), m.lost.WithLabelValues(v...)
		}
		s.blamed[w].Inc()
		s.lost[w].Add(time.Duration(x.Blame.Time).Seconds())
	}
	if x.HasRequest {
		s.sent.Add(float64(max(x.Request.Size, 0)))
	}
	if x.HasResponse {
		s.received.Add(float64(max(x.Response.Size, 0)))
	}
	if x.Stream {
		return nil
	}
	if d := x.Timing.Duration; d >= 0 {
		s.durations.Observe(time.Duration(d).Seconds())
	}
	if w := x.Timing.Wait; w > 0 {
		s.waits.Add(time.Duration(w).Seconds())
	}
	return nil
}

// Flush implements output.Output.
func (m *Metrics) Flush() error { return nil }

// Close implements output.Output. What was counted can be asked for still.
func (m *Metrics) Close() error { return nil }

// find returns the series of an exchange.
func (m *Metrics) find(x *exchange.Exchange) *series {
	l := labels{service: x.Enriched.Service[x.Server()], route: x.Enriched.Route}
	if x.HasRequest {
		var ok bool
		if l.method, ok = methods[string(x.Request.Bytes(x.Request.Method))]; !ok {
			l.method = otherMethod
		}
	}
	s := m.series[l]
	if s == nil {
		// What differs only in what a label doesn't show is one series.
		l.service, l.route = label(l.service), label(l.route)
		if s = m.series[l]; s == nil {
			s = m.add(l, x.Completed.Time)
		}
	}
	return s
}

// add makes a series, if there is room, or else returns that of all others of the service.
func (m *Metrics) add(l labels, now int64) *series {
	if len(m.series) >= m.o.MaxSeries && now >= m.swept+int64(sweepEvery) {
		m.sweep(now)
	}
	if len(m.series) < m.o.MaxSeries {
		s := m.make(l)
		m.series[l] = s
		m.held.Set(float64(len(m.series)))
		return s
	}
	m.others.Inc()
	l.route, l.method = other, other
	if m.coarse[l] == nil && len(m.coarse) >= m.o.MaxSeries {
		l.service = other
	}
	s := m.coarse[l]
	if s == nil {
		s = m.make(l)
		m.coarse[l] = s
	}
	return s
}

func (m *Metrics) make(l labels) *series {
	v := l.values()
	return &series{
		labels: l, errors: m.errors.WithLabelValues(v...), sent: m.sent.WithLabelValues(v...), received: m.received.WithLabelValues(v...),
		waits: m.waits.WithLabelValues(v...), durations: m.durations.WithLabelValues(v...),
	}
}

// sweep forgets the series that are idle, so that names that somebody made up don't take the room for ever.
func (m *Metrics) sweep(now int64) {
	m.swept = now
	for l, s := range m.series {
		if now-s.seen < int64(Idle) {
			continue
		}
		v := l.values()
		for class := range classes {
			m.requests.DeleteLabelValues(append(v, classes[class])...)
		}
		for w := exchange.Nobody + 1; w < exchange.NumWho; w++ {
			m.blamed.DeleteLabelValues(append(v, w.String())...)
			m.lost.DeleteLabelValues(append(v, w.String())...)
		}
		for _, c := range []*prometheus.CounterVec{m.errors, m.sent, m.received, m.waits} {
			c.DeleteLabelValues(v...)
		}
		m.durations.DeleteLabelValues(v...)
		delete(m.series, l)
	}
	m.held.Set(float64(len(m.series)))
}
