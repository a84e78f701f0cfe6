package rollup

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
)

// Field is one field of the document of a row.
type Field struct {
	// Name is the path in the JSON document, such as "culprit.rollup.count".
	Name string
	// Type is the type in Elasticsearch terms; Unit the unit of numbers.
	Type, Unit string
	// Meaning says what it is, in one line.
	Meaning string
	// value appends the value as JSON, and nothing when there is none.
	value func(dst []byte, r *Row) []byte
}

// Fields are all fields of the document of a row. Those of one object stand together. Those that exchanges have too mean
// the same there.
var Fields = append([]Field{
	{"@timestamp", "date_nanos", "", "begin of the minute in which the exchanges started",
		func(dst []byte, r *Row) []byte {
			dst = append(dst, '"')
			dst = time.Unix(0, r.Start).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000000Z")
			return append(dst, '"')
		}},
	{"ecs.version", "keyword", "", "version of the Elastic Common Schema",
		text(func(*Row) string { return exchange.ECSVersion })},
	{"event.id", "keyword", "", "id, ordered by time; the same each time the same packets are read",
		func(dst []byte, r *Row) []byte {
			dst = append(dst, '"')
			dst = exchange.AppendID(dst, r.ID)
			return append(dst, '"')
		}},
	{"event.kind", "keyword", "", "always metric",
		text(func(*Row) string { return "metric" })},
	{"event.dataset", "keyword", "", "always culprit.rollup",
		text(func(*Row) string { return "culprit.rollup" })},
	{"observer.type", "keyword", "", "always sensor",
		text(func(*Row) string { return "sensor" })},
	{"observer.product", "keyword", "", "always culprit",
		text(func(*Row) string { return "culprit" })},
	{"observer.hostname", "keyword", "", "host of the tap; absent for capture files",
		text(func(r *Row) string { return r.Series.Observer })},
	{"observer.ingress.interface.name", "keyword", "", "name of the tap",
		text(func(r *Row) string { return r.Series.Tap })},
	{"network.protocol", "keyword", "", "application protocol",
		text(func(r *Row) string { return r.Series.Protocol })},
	{"service.name", "keyword", "", "name of the service that answers",
		text(func(r *Row) string { return r.Series.Service })},
	{"http.request.method", "keyword", "", "method, as sent",
		of(exchange.HTTP, func(r *Row) string { return r.Series.Method })},
	{"url.domain", "keyword", "", "host that was asked for",
		of(exchange.HTTP, func(r *Row) string { return r.Series.Domain })},
	{"db.namespace", "keyword", "", "database",
		of(exchange.Database, func(r *Row) string { return r.Series.Domain })},
	{"db.operation.name", "keyword", "", "kind of the statement, or the command",
		of(exchange.Database, func(r *Row) string { return r.Series.Method })},
	{"db.query.summary", "keyword", "", "statement with its literals replaced",
		of(exchange.Database, func(r *Row) string { return r.Series.Route })},
	{"dns.question.type", "keyword", "", "type of the records that were asked for",
		of(exchange.Names, func(r *Row) string { return r.Series.Method })},
	{"culprit.route", "keyword", "", "path with its variable parts replaced",
		of(exchange.HTTP, func(r *Row) string { return r.Series.Route })},
	{"culprit.rollup.interval", "long", "ns", "length of the minute",
		number(func(r *Row) int64 { return r.Interval })},
	{"culprit.rollup.other", "boolean", "", "true: the row stands for all series of its service for which there was no room; method, domain and route are absent",
		func(dst []byte, r *Row) []byte {
			if !r.Series.Other {
				return dst
			}
			return append(dst, "true"...)
		}},
	{"culprit.rollup.status_class", "keyword", "", "1xx to 5xx; absent without a final response",
		func(dst []byte, r *Row) []byte {
			if r.Series.StatusClass == 0 {
				return dst
			}
			return append(dst, '"', '0'+r.Series.StatusClass, 'x', 'x', '"')
		}},
	{"culprit.rollup.count", "long", "", "exchanges, all of them, sampled or not",
		number(func(r *Row) int64 { return r.Count })},
	{"culprit.rollup.errors", "long", "", "those whose event.outcome is failure",
		number(func(r *Row) int64 { return r.Errors })},
	{"culprit.rollup.request_bytes", "long", "byte", "length of the requests, heads and framing included",
		number(func(r *Row) int64 { return r.RequestBytes })},
	{"culprit.rollup.response_bytes", "long", "byte", "length of the responses, heads and framing included",
		number(func(r *Row) int64 { return r.ResponseBytes })},
	{"culprit.rollup.duration", "histogram", "ns", "distribution of event.duration: middles of buckets, each within 1.1 % of what it stands for, and how many",
		distribution(func(r *Row) *measure.Histogram { return &r.Duration })},
	{"culprit.rollup.wait", "histogram", "ns", "distribution of culprit.timing.wait, likewise",
		distribution(func(r *Row) *measure.Histogram { return &r.Wait })},
	{"culprit.rollup.timed", "long", "", "exchanges that have a duration; streams, and what was seen from one side only, have none",
		number(func(r *Row) int64 { return int64(r.Duration.Count) })},
	{"culprit.rollup.duration_sum", "long", "ns", "sum of the durations",
		timed(func(r *Row) int64 { return int64(min(r.Duration.Sum, math.MaxInt64/2)) })},
	{"culprit.rollup.duration_max", "long", "ns", "the longest duration",
		timed(func(r *Row) int64 { return r.Duration.Max })},
}, withinFields()...)

// withinFields are the counts of the durations up to each of Bounds.
func withinFields() []Field {
	all := make([]Field, len(Bounds))
	for i, name := range boundNames {
		all[i] = Field{"culprit.rollup.within." + name, "long", "", "exchanges with a duration of at most " + time.Duration(Bounds[i]).String(),
			timed(func(r *Row) int64 { return r.Within[i] })}
	}
	return all
}

// of is a text that only series of one family of protocols have.
func of(f exchange.Family, value func(r *Row) string) func([]byte, *Row) []byte {
	return text(func(r *Row) string {
		if exchange.FamilyOf(r.Series.Protocol) != f {
			return ""
		}
		return value(r)
	})
}

// text is a text that is absent when it is empty.
func text(of func(r *Row) string) func([]byte, *Row) []byte {
	return func(dst []byte, r *Row) []byte {
		s := of(r)
		if s == "" {
			return dst
		}
		quoted, err := json.Marshal(s)
		if err != nil {
			panic(err) // a string can always be marshalled
		}
		return append(dst, quoted...)
	}
}

func number(of func(r *Row) int64) func([]byte, *Row) []byte {
	return func(dst []byte, r *Row) []byte { return strconv.AppendInt(dst, of(r), 10) }
}

// timed is a number that is absent without durations.
func timed(of func(r *Row) int64) func([]byte, *Row) []byte {
	return func(dst []byte, r *Row) []byte {
		if r.Duration.Count == 0 {
			return dst
		}
		return strconv.AppendInt(dst, of(r), 10)
	}
}

// distribution is a histogram in the form of Elasticsearch: values, not falling, and their counts.
func distribution(of func(r *Row) *measure.Histogram) func([]byte, *Row) []byte {
	return func(dst []byte, r *Row) []byte {
		h := of(r)
		if h.Count == 0 {
			return dst
		}
		dst = append(dst, `{"values":[`...)
		if h.Zero > 0 {
			dst = append(dst, "0,"...)
		}
		for i, n := range h.Counts {
			if n > 0 {
				dst = strconv.AppendInt(dst, middle(h, i), 10)
				dst = append(dst, ',')
			}
		}
		dst = append(dst[:len(dst)-1], `],"counts":[`...)
		if h.Zero > 0 {
			dst = strconv.AppendUint(dst, h.Zero, 10)
			dst = append(dst, ',')
		}
		for _, n := range h.Counts {
			if n > 0 {
				dst = strconv.AppendUint(dst, n, 10)
				dst = append(dst, ',')
			}
		}
		return append(dst[:len(dst)-1], "]}"...)
	}
}

// middle returns what the values in a bucket are taken for: its middle, but nothing beyond the smallest and the largest of all.
func middle(h *measure.Histogram, i int) int64 {
	low, high := measure.Bounds(h.Offset + int32(i))
	return min(max(int64(math.Round((low+high)/2)), h.Min), h.Max)
}

// AppendJSON appends the document of a row, without a line end.
func AppendJSON(dst []byte, r *Row) []byte {
	dst = append(dst, '{')
	var open []string // the objects around
	for i := range Fields {
		f := &Fields[i]
		rollback := len(dst)
		path := strings.Split(f.Name, ".")
		shared := 0
		for shared < len(open) && shared < len(path)-1 && open[shared] == path[shared] {
			shared++
		}
		for range open[shared:] {
			dst = append(dst, '}')
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		for _, name := range path[shared : len(path)-1] {
			dst = append(append(append(dst, '"'), name...), `":{`...)
		}
		dst = append(append(append(dst, '"'), path[len(path)-1]...), `":`...)
		before := len(dst)
		if dst = f.value(dst, r); len(dst) == before {
			dst = dst[:rollback] // absent
			continue
		}
		open = path[:len(path)-1]
	}
	for range open {
		dst = append(dst, '}')
	}
	return append(dst, '}')
}
