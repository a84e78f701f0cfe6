package otlp

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/rollup"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of Metric, Sum, ExponentialHistogram, their points and their buckets (opentelemetry.proto.metrics.v1).
const (
	metricName        = 1
	metricDescription = 2
	metricUnit        = 3
	metricSum         = 7
	metricExponential = 10
	metricMetadata    = 12

	dataPoints      = 1
	dataTemporality = 2
	sumMonotonic    = 3

	pointStart       = 2
	pointTime        = 3
	numberInt        = 6
	numberAttributes = 7

	exponentialAttributes = 1
	exponentialCount      = 4
	exponentialSum        = 5
	exponentialScale      = 6
	exponentialZero       = 7
	exponentialPositive   = 8
	exponentialMin        = 12
	exponentialMax        = 13

	bucketsOffset = 1
	bucketsCounts = 2

	// temporalityDelta: a point is about its own interval alone.
	temporalityDelta = 1
)

// unknownService is service.name where nothing tells it, as the semantic conventions say.
const unknownService = "unknown_service"

// counters are the sums that are made of a row.
var counters = [...]struct {
	name, description, unit string
	value                   func(r *rollup.Row) int64
}{
	{"culprit.exchanges", "Exchanges, whether their spans were sampled or not.", "{exchange}", func(r *rollup.Row) int64 { return r.Count }},
	{"culprit.exchange.errors", "Exchanges that failed: statuses from 400, and those that broke.", "{exchange}", func(r *rollup.Row) int64 { return r.Errors }},
	{"culprit.exchange.request.size", "Length of the requests, heads and framing included.", "By", func(r *rollup.Row) int64 { return r.RequestBytes }},
	{"culprit.exchange.response.size", "Length of the responses, heads and framing included.", "By", func(r *rollup.Row) int64 { return r.ResponseBytes }},
}

// Names of the histograms of durations, by what the conventions call them, where they do.
const (
	httpDuration     = "http.server.request.duration"
	dbDuration       = "db.client.operation.duration"
	dnsDuration      = "dns.lookup.duration"
	exchangeDuration = "culprit.exchange.duration"
	exchangeWait     = "culprit.exchange.wait"
)

// Rollup appends the metrics of a row.
func (e *Encoder) Rollup(dst []byte, r *rollup.Row) []byte {
	if !e.metrics {
		return dst
	}
	dst, resource := open(dst, requestResources)
	dst, inner := open(dst, resourceResource)
	service := r.Series.Service
	if service == "" {
		service = e.service
	}
	if service == "" {
		service = unknownService
	}
	dst = stringAttribute(dst, resourceAttributes, "service.name", service)
	dst = stringAttribute(dst, resourceAttributes, "host.name", r.Series.Observer)
	dst = closed(dst, inner)

	dst, scope := open(dst, resourceScopes)
	dst = append(dst, e.scope...)
	for i := range counters {
		c := &counters[i]
		var metric, sum, point int
		dst, metric = metadata(dst, r, c.name, c.description, c.unit)
		dst, sum = open(dst, metricSum)
		dst = appendVarint(dst, dataTemporality, temporalityDelta)
		dst = appendVarint(dst, sumMonotonic, 1)
		dst, point = open(dst, dataPoints)
		dst = interval(dst, r)
		dst = series(dst, numberAttributes, r)
		dst = appendFixed64(dst, numberInt, uint64(c.value(r)))
		dst = closed(closed(closed(dst, point), sum), metric)
	}
	name := exchangeDuration
	switch family := exchange.FamilyOf(r.Series.Protocol); {
	case isHTTP(r.Series.Protocol):
		name = httpDuration
	case family == exchange.Database:
		name = dbDuration
	case family == exchange.Names:
		name = dnsDuration
	}
	dst = distribution(dst, r, name, "From the first byte of the request to the last of the response.", &r.Duration)
	dst = distribution(dst, r, exchangeWait, "From the end of the request to the first byte of the response.", &r.Wait)
	return closed(closed(dst, scope), resource)
}

// metadata begins a metric. The row's id is among its metadata, which tell no series apart: a row that is sent again can be
// known by it.
func metadata(dst []byte, r *rollup.Row, name, description, unit string) ([]byte, int) {
	dst, metric := open(dst, scopeItems)
	dst = appendString(dst, metricName, name)
	dst = appendString(dst, metricDescription, description)
	dst = appendString(dst, metricUnit, unit)
	var id [26]byte
	return textAttribute(dst, metricMetadata, "event.id", exchange.AppendID(id[:0], r.ID)), metric
}

// interval appends the time that a point is about, in the fields that all points have.
func interval(dst []byte, r *rollup.Row) []byte {
	dst = appendTime(dst, pointStart, r.Start)
	return appendTime(dst, pointTime, r.Start+r.Interval)
}

// series appends what tells the row from others of its time.
func series(dst []byte, field protowire.Number, r *rollup.Row) []byte {
	s := &r.Series
	switch exchange.FamilyOf(s.Protocol) {
	case exchange.Database:
		dst = stringAttribute(dst, field, "db.system.name", s.Protocol)
		dst = stringAttribute(dst, field, "db.namespace", s.Domain)
		dst = stringAttribute(dst, field, "db.operation.name", s.Method)
		dst = stringAttribute(dst, field, "db.query.summary", s.Route)
	case exchange.Names:
		dst = stringAttribute(dst, field, "dns.question.type", s.Method)
	default:
		known := method([]byte(s.Method))
		dst = stringAttribute(dst, field, "http.request.method", known)
		if known == otherMethod {
			dst = stringAttribute(dst, field, "http.request.method_original", s.Method)
		}
		dst = stringAttribute(dst, field, "http.route", s.Route)
		dst = stringAttribute(dst, field, "server.address", s.Domain)
	}
	dst = stringAttribute(dst, field, "network.protocol.name", protocolName(s.Protocol))
	dst = stringAttribute(dst, field, "observer.ingress.interface.name", s.Tap)
	if s.StatusClass > 0 {
		class := [...]byte{'0' + s.StatusClass, 'x', 'x'}
		dst = textAttribute(dst, field, "culprit.rollup.status_class", class[:])
		if s.StatusClass == 5 {
			dst = textAttribute(dst, field, "error.type", class[:])
		}
	}
	if s.Other {
		dst, at, value := attribute(dst, field, "culprit.rollup.other")
		return attributed(appendVarint(dst, anyBool, 1), at, value)
	}
	return dst
}

// distribution appends a histogram, and nothing when it is empty.
func distribution(dst []byte, r *rollup.Row, name, description string, h *measure.Histogram) []byte {
	if h.Count == 0 {
		return dst
	}
	dst, metric := metadata(dst, r, name, description, "s")
	dst, exponential := open(dst, metricExponential)
	dst = appendVarint(dst, dataTemporality, temporalityDelta)
	dst, point := open(dst, dataPoints)
	dst = interval(dst, r)
	dst = series(dst, exponentialAttributes, r)
	dst = appendFixed64(dst, exponentialCount, h.Count)
	dst = appendDouble(dst, exponentialSum, h.Sum/1e9)
	dst = appendVarint(dst, exponentialScale, protowire.EncodeZigZag(measure.HistogramScale))
	dst = appendFixed64(dst, exponentialZero, h.Zero)
	dst = appendDouble(dst, exponentialMin, float64(h.Min)/1e9)
	dst = appendDouble(dst, exponentialMax, float64(h.Max)/1e9)
	dst, positive := open(dst, exponentialPositive)
	dst = appendVarint(dst, bucketsOffset, protowire.EncodeZigZag(int64(h.Offset)))
	dst, counts := open(dst, bucketsCounts)
	for _, n := range h.Counts {
		dst = protowire.AppendVarint(dst, n)
	}
	return closed(closed(closed(closed(closed(dst, counts), positive), point), exponential), metric)
}
