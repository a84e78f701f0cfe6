package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/query"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// How exact figures are that aren't exact: the digits that a histogram of percentiles keeps of values (HdrHistogram; two are
// an error of less than 1 %), and up to how many values the cluster counts different ones closely (HyperLogLog++), of all and of
// each group.
const (
	percentileDigits = 2
	distinctOfAll    = 40_000
	distinctOfGroups = 3_000
	// maxPercentile bounds the values that percentiles are of: histograms can't span more magnitudes than this, and an absurd
	// document must not spoil them all. Nothing real is above: 13 days in nanoseconds, a petabyte.
	maxPercentile = 1 << 50
)

// Sizes of answers: the groups that are asked for at once, where each has light metrics alone and where it has others, as the
// cluster needs hundreds of kilobytes for those; the buckets of all levels (search.max_buckets is 65,536); the groups of all
// time buckets together that an answer may need; and up to how many groups are asked for by their keys.
const (
	groupPage  = 10_000
	heavyPage  = 500
	bucketPage = 60_000
	maxCells   = 1_000_000
	maxKeys    = 500
)

// Aggregate implements store.Reader. Documents that the cluster counts several times (_doc_count) count so here.
func (s *Store) Aggregate(ctx context.Context, q *store.Aggregate) (*store.Table, error) {
	if q.Sketches != measure.DD {
		return nil, fmt.Errorf("a cluster tells percentiles from histograms of its own, and not from sketches of kind %s; leave the kind out, or ask a store in a folder", q.Sketches)
	}
	r := s.begin(ctx, &q.Scope)
	// Of nothing, it is known whether the question makes sense.
	if _, err := query.Aggregate(ctx, nil, q, query.Limits{Now: s.options.Now}); err != nil {
		return nil, err
	}
	l, err := r.fields()
	if err != nil {
		return nil, err
	}
	if err := r.pin(); err != nil {
		return nil, err
	}
	defer func() { r.unpin() }()
	a := &aggregate{run: r, q: q, layout: l}
	if !a.plan() {
		return r.aggregateHere(q)
	}
	selected, err := r.selects(&q.Scope)
	if err != nil {
		return nil, err
	}
	if a.query, err = r.settle(selected); err != nil {
		return nil, err
	}
	if here, err := a.lacksValues(); err != nil {
		return nil, err
	} else if here {
		return r.aggregateHere(q)
	}
	t, err := a.table()
	if err == errHere {
		return r.aggregateHere(q)
	}
	if err != nil {
		return nil, err
	}
	t.Cost = r.cost()
	return t, nil
}

// aggregateHere answers what the cluster can't compute.
func (r *run) aggregateHere(q *store.Aggregate) (*store.Table, error) {
	fields := []*exchange.Field{exchange.Lookup("event.outcome"), exchange.Lookup("culprit.stream"), exchange.Lookup("culprit.grade")}
	for _, g := range q.Groups {
		fields = append(fields, g.Field)
	}
	for _, m := range q.Metrics {
		if m.Field != nil {
			fields = append(fields, m.Field)
		}
	}
	columns := []int{record.ID, record.Time}
	for _, f := range fields {
		if col, _ := record.Lookup(f); col >= 0 {
			columns = append(columns, col)
		}
	}
	slices.Sort(columns)
	part, err := r.fold(&q.Scope, slices.Compact(columns))
	if err != nil {
		return nil, err
	}
	here := *q
	here.Scope = store.Scope{From: q.From, To: q.To}
	t, err := query.Aggregate(r.ctx, []vector.Part{part}, &here, r.local())
	if err == nil {
		t.Cost = r.cost()
	}
	return t, err
}

// errHere says that the cluster can't compute a part of an answer.
var errHere = fmt.Errorf("the cluster can't compute this")

// aggregate is an aggregate that the cluster computes.
type aggregate struct {
	*run
	q      *store.Aggregate
	layout *layout
	query  object

	// magnitude is the group that is by magnitude, -1 for none; network: a group is by network; lists: one is of lists.
	magnitude      int
	network, lists bool
	// bands are the magnitudes that there are.
	bands []band
	// heavy are the metrics that can't be computed of those of parts.
	heavy []int
	// seconds are those that rates are of.
	seconds float64
}

// plan reports whether the cluster can compute the answer.
func (a *aggregate) plan() bool {
	const millisecond = 1e6 // what a cluster rounds times to
	a.magnitude = -1
	for i, g := range a.q.Groups {
		switch {
		case !a.layout.as[g.Field.Name].exact, g.Field.Kind == exchange.Time, g.Field.Kind == exchange.Float:
			return false
		case g.By == store.ByMagnitude:
			if a.magnitude >= 0 {
				return false
			}
			a.magnitude = i
		}
		a.network = a.network || g.By == store.ByNetwork
		a.lists = a.lists || g.Field.Kind == exchange.List
	}
	for i, m := range a.q.Metrics {
		if m.Field == nil {
			continue
		}
		if !a.layout.as[m.Field.Name].exact || m.Field.Kind == exchange.Time || m.Field.Kind == exchange.Float {
			return false
		}
		if m.Kind == store.Percentiles || m.Kind == store.Distinct {
			a.heavy = append(a.heavy, i)
		}
	}
	return a.q.Interval%millisecond == 0 && !(a.network && len(a.heavy) > 0)
}

// lacksValues reports whether exchanges have values of groups that were too long to be indexed.
func (a *aggregate) lacksValues() (bool, error) {
	if !a.layout.ignored {
		return false, nil
	}
	names := []string{}
	for _, g := range a.q.Groups {
		names = append(names, a.layout.as[g.Field.Name].name)
	}
	for _, i := range a.heavy {
		names = append(names, a.layout.as[a.q.Metrics[i].Field.Name].name)
	}
	if len(names) == 0 {
		return false, nil
	}
	n, err := a.count(both(a.query, object{"terms": object{"_ignored": names}}), 1)
	return n > 0, err
}

// group is one group of an answer, or one time bucket of it.
type group struct {
	keys  []store.Key
	start int64
	totals
}

// totals are what the cluster computed of some documents.
type totals struct {
	count, errors int64
	stats         map[string]stats // by field
	heavy         map[int][]float64
}

type stats struct {
	Count int64    `json:"count"`
	Min   *float64 `json:"min"`
	Max   *float64 `json:"max"`
	Sum   float64  `json:"sum"`
}

// add adds the totals of other documents, but for those of heavy metrics.
func (t *totals) add(u *totals) {
	t.count += u.count
	t.errors += u.errors
	if t.stats == nil {
		t.stats = map[string]stats{}
	}
	for name, s := range u.stats {
		have, ok := t.stats[name]
		switch {
		case !ok || have.Count == 0:
			t.stats[name] = s
			continue
		case s.Count == 0:
			continue
		}
		least, most := min(*have.Min, *s.Min), max(*have.Max, *s.Max)
		t.stats[name] = stats{have.Count + s.Count, &least, &most, have.Sum + s.Sum}
	}
}

// values are the figures of totals.
func (a *aggregate) values(t *totals, seconds float64) store.Totals {
	out := store.Totals{Count: t.count, Values: make([][]float64, len(a.q.Metrics))}
	for i := range a.q.Metrics {
		out.Values[i] = metricValues(t, &a.q.Metrics[i], i, seconds)
	}
	return out
}

func metricValues(t *totals, m *store.Metric, i int, seconds float64) []float64 {
	v := math.NaN()
	switch m.Kind {
	case store.Percentiles, store.Distinct:
		if values, ok := t.heavy[i]; ok {
			return values
		}
		if m.Kind == store.Distinct {
			return []float64{0}
		}
		return slices.Repeat([]float64{v}, len(m.Quantiles))
	case store.Rate:
		if seconds > 0 {
			v = float64(t.count) / seconds
		}
	case store.Errors:
		v = float64(t.errors)
	case store.ErrorRate:
		v = float64(t.errors) / float64(t.count)
	default:
		s := t.stats[m.Field.Name]
		switch {
		case m.Kind == store.Sum:
			v = s.Sum
		case s.Count == 0:
		case m.Kind == store.Mean:
			v = s.Sum / float64(s.Count)
		case m.Kind == store.Min:
			v = *s.Min
		default:
			v = *s.Max
		}
	}
	return []float64{v}
}

// table makes the answer.
func (a *aggregate) table() (*store.Table, error) {
	every := make([]int, len(a.q.Metrics))
	for i := range every {
		every[i] = i
	}
	total, err := a.whole(a.query, every)
	if err != nil {
		return nil, err
	}
	a.rows = total.count
	if err := a.rate(); err != nil {
		return nil, err
	}
	t := &store.Table{Total: a.values(total, a.seconds), Other: a.values(&totals{}, a.seconds)}
	if total.count == 0 {
		return t, nil
	}
	chosen, others := []*group{{totals: *total}}, []*group(nil)
	if len(a.q.Groups) > 0 {
		if chosen, others, err = a.groups(); err != nil {
			return nil, err
		}
	}
	restricted, keyed := a.query, len(chosen) <= maxKeys
	if len(others) > 0 && keyed {
		restricted = both(a.query, a.oneOf(chosen))
	}
	index := map[string]int{}
	for i, g := range chosen {
		index[keyText(g.keys)] = i
	}
	if len(a.q.Groups) > 0 && len(a.heavy) > 0 {
		if err := a.collect(restricted, a.heavy, false, func(g *group) error {
			if i, ok := index[keyText(g.keys)]; ok {
				chosen[i].heavy = g.heavy
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	for _, g := range chosen {
		t.Groups = append(t.Groups, store.GroupRow{Keys: g.keys, Totals: a.values(&g.totals, a.seconds)})
	}
	if len(others) > 0 {
		t.OtherGroups = int64(len(others))
		var other totals
		for _, g := range others {
			other.add(&g.totals)
		}
		if len(a.heavy) > 0 {
			if a.lists || !keyed {
				return nil, errHere
			}
			rest, err := a.whole(without(a.query, a.oneOf(chosen)), a.heavy)
			if err != nil {
				return nil, err
			}
			other.heavy = rest.heavy
		}
		t.Other = a.values(&other, a.seconds)
	}
	if a.q.Interval > 0 {
		t.Rows, err = a.timeRows(restricted, every, index)
	}
	return t, err
}

// timeRows are the time buckets of the groups of an index.
func (a *aggregate) timeRows(query object, metrics []int, index map[string]int) (rows []store.BucketRow, err error) {
	starts := map[int64]bool{}
	seconds := float64(a.q.Interval) / 1e9
	merged := map[string]*group{} // where the cluster's groups aren't those that are asked for
	err = a.collect(query, metrics, true, func(g *group) error {
		i, ok := index[keyText(g.keys)]
		if !ok {
			return nil
		}
		if starts[g.start] = true; len(starts) > store.MaxBuckets {
			return fmt.Errorf("%w: there are more than %d time buckets; ask about less time, or with a longer interval", store.ErrLimit, store.MaxBuckets)
		}
		if a.network {
			name := fmt.Sprint(i, " ", g.start)
			if have := merged[name]; have != nil {
				have.add(&g.totals)
			} else {
				merged[name] = g
			}
			return nil
		}
		rows = append(rows, store.BucketRow{Group: i, Start: g.start, Totals: a.values(&g.totals, seconds)})
		return nil
	})
	for _, g := range merged {
		rows = append(rows, store.BucketRow{Group: index[keyText(g.keys)], Start: g.start, Totals: a.values(&g.totals, seconds)})
	}
	slices.SortFunc(rows, func(a, b store.BucketRow) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Start, b.Start))
	})
	return rows, err
}

// groups returns the groups in their order, and those beyond the limit.
func (a *aggregate) groups() (chosen, others []*group, err error) {
	metrics := []int{}
	for i := range a.q.Metrics {
		if i == a.q.Order || !slices.Contains(a.heavy, i) {
			metrics = append(metrics, i)
		}
	}
	byKey := map[string]*group{}
	if err := a.collect(a.query, metrics, false, func(g *group) error {
		name := keyText(g.keys)
		if have := byKey[name]; have != nil {
			have.add(&g.totals)
		} else {
			byKey[name] = g
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	ranked := slices.Collect(maps.Values(byKey))
	if a.magnitude >= 0 {
		a.bands = slices.DeleteFunc(magnitudes(), func(b band) bool {
			return !slices.ContainsFunc(ranked, func(g *group) bool {
				k := g.keys[a.magnitude]
				return k.Kind != exchange.Absent && k.Int == b.key
			})
		})
	}
	order := func(g *group) float64 {
		if a.q.Order < 0 {
			return float64(g.count)
		}
		m := &a.q.Metrics[a.q.Order]
		if values := metricValues(&g.totals, m, a.q.Order, a.seconds); len(values) > 0 {
			return values[0]
		}
		return math.NaN()
	}
	slices.SortFunc(ranked, func(a, b *group) int {
		x, y := order(a), order(b)
		switch {
		case x == y || math.IsNaN(x) && math.IsNaN(y):
			return compareKeys(a.keys, b.keys)
		case math.IsNaN(y) || x > y:
			return -1
		}
		return 1
	})
	limit := a.q.Limit
	if limit == 0 {
		limit = store.MaxGroups
	}
	limit = min(limit, len(ranked))
	return ranked[:limit], ranked[limit:], nil
}

// compareKeys orders keys: numbers by size, texts by their bytes, absent ones last.
func compareKeys(a, b []store.Key) int {
	return slices.CompareFunc(a, b, func(a, b store.Key) int {
		if (a.Kind == exchange.Absent) != (b.Kind == exchange.Absent) {
			if b.Kind == exchange.Absent {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Int, b.Int), strings.Compare(a.Text, b.Text))
	})
}

func keyText(keys []store.Key) string {
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%d %d %q,", k.Kind, k.Int, k.Text)
	}
	return b.String()
}

// rate finds out the time that rates are of.
func (a *aggregate) rate() error {
	from, to := a.q.From, a.q.To
	if !slices.ContainsFunc(a.q.Metrics, func(m store.Metric) bool { return m.Kind == store.Rate }) {
		return nil
	}
	if from == 0 || to == 0 {
		var err error
		if from, to, err = a.run.span(a.query); err != nil {
			return err
		}
	}
	a.seconds = float64(to-from) / 1e9
	return nil
}

// span returns the start of the first and of the last exchange that a query selects; 0 if there are none.
func (r *run) span(query object) (first, last int64, err error) {
	d := newDocuments()
	for i, direction := range []string{"asc", "desc"} {
		f, err := r.search(object{
			"size": 1, "query": query, "track_total_hits": false, "_source": []string{"@timestamp", "event.id"},
			"sort": []object{{"@timestamp": object{"order": direction, "unmapped_type": "date_nanos"}}},
		})
		if err != nil {
			return 0, 0, err
		}
		for _, h := range f.Hits.Hits {
			if row, ok := d.read(h.ID, h.Source); ok && i == 0 {
				first = row.Time()
			} else if ok {
				last = row.Time()
			}
		}
	}
	return first, last, nil
}

// whole computes metrics of all that a query selects.
func (a *aggregate) whole(query object, metrics []int) (*totals, error) {
	f, err := a.search(object{"size": 0, "query": query, "track_total_hits": false,
		"aggs": object{"all": object{"filter": everything(), "aggs": a.metrics(metrics, distinctOfAll)}}})
	if err != nil {
		return nil, err
	}
	var b bucket
	if err := json.Unmarshal(f.Aggregations["all"], &b); err != nil {
		if len(f.Aggregations) == 0 { // there is no index
			return &totals{}, nil
		}
		return nil, unexpected(err)
	}
	return a.read(b, metrics)
}

func unexpected(err error) error {
	return fmt.Errorf("the cluster's answer isn't what was expected: %w", err)
}

// metrics are the aggregations for metrics. distinct is up to how many values are counted closely.
func (a *aggregate) metrics(metrics []int, distinct int) object {
	aggs := object{}
	for _, i := range metrics {
		m := &a.q.Metrics[i]
		name := fmt.Sprint("m", i)
		switch m.Kind {
		case store.Errors, store.ErrorRate:
			aggs["errors"] = object{"filter": term("event.outcome", "failure")}
		case store.Rate:
		case store.Percentiles:
			percents := make([]float64, len(m.Quantiles))
			for k, quantile := range m.Quantiles {
				percents[k] = quantile * 100
			}
			if len(percents) == 0 {
				continue
			}
			field := a.layout.as[m.Field.Name].name
			slices.Sort(percents)
			aggs[name] = object{"filter": percentilesOf(m.Field, field), "aggs": object{"v": object{"percentiles": object{
				"field": field, "percents": slices.Compact(percents), "keyed": false, "hdr": object{"number_of_significant_value_digits": percentileDigits},
			}}}}
		case store.Distinct:
			aggs[name] = object{"cardinality": object{"field": a.layout.as[m.Field.Name].name, "precision_threshold": distinct}}
		default:
			aggs["stats "+m.Field.Name] = object{"stats": object{"field": a.layout.as[m.Field.Name].name}}
		}
	}
	return aggs
}

// percentilesOf selects what percentiles of a field are of.
func percentilesOf(f *exchange.Field, name string) object {
	q := object{"range": object{name: object{"gte": 0, "lt": maxPercentile}}}
	if store.Timed(f) {
		return without(q, either(term("culprit.stream", true), term("culprit.grade", exchange.OneSided.String())))
	}
	return q
}

// bucket is a bucket of an answer.
type bucket map[string]json.RawMessage

// into reads a part of a bucket; what isn't there stays as it is.
func (b bucket) into(name string, to any) error {
	if raw, ok := b[name]; ok {
		if err := json.Unmarshal(raw, to); err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// read reads the metrics of a bucket.
func (a *aggregate) read(b bucket, metrics []int) (*totals, error) {
	t := &totals{}
	if err := b.into("doc_count", &t.count); err != nil {
		return nil, err
	}
	var failed struct {
		Count int64 `json:"doc_count"`
	}
	if err := b.into("errors", &failed); err != nil {
		return nil, err
	}
	t.errors = failed.Count
	for _, i := range metrics {
		m := &a.q.Metrics[i]
		name := fmt.Sprint("m", i)
		switch m.Kind {
		case store.Percentiles:
			var p struct {
				V struct {
					Values []struct {
						Key   float64  `json:"key"`
						Value *float64 `json:"value"`
					} `json:"values"`
				} `json:"v"`
			}
			if err := b.into(name, &p); err != nil {
				return nil, err
			}
			values := make([]float64, len(m.Quantiles))
			for k, quantile := range m.Quantiles {
				values[k] = math.NaN()
				for _, v := range p.V.Values {
					if v.Key == quantile*100 && v.Value != nil {
						values[k] = *v.Value
					}
				}
			}
			t.setHeavy(i, values)
		case store.Distinct:
			var c struct {
				Value float64 `json:"value"`
			}
			if err := b.into(name, &c); err != nil {
				return nil, err
			}
			t.setHeavy(i, []float64{c.Value})
		case store.Sum, store.Min, store.Max, store.Mean:
			var s stats
			if err := b.into("stats "+m.Field.Name, &s); err != nil {
				return nil, err
			}
			if s.Count > 0 && (s.Min == nil || s.Max == nil) {
				return nil, unexpected(fmt.Errorf("values without a least and a largest one"))
			}
			if t.stats == nil {
				t.stats = map[string]stats{}
			}
			t.stats[m.Field.Name] = s
		}
	}
	return t, nil
}

func (t *totals) setHeavy(i int, values []float64) {
	if t.heavy == nil {
		t.heavy = map[int][]float64{}
	}
	t.heavy[i] = values
}

// collect calls emit for each group, and each time bucket of it where byTime, with its metrics. Groups by network come in
// parts.
func (a *aggregate) collect(query object, metrics []int, byTime bool, emit func(g *group) error) error {
	inner := a.metrics(metrics, distinctOfGroups)
	perGroup := 1 + len(inner)
	bands := a.bands
	if a.magnitude >= 0 {
		f := a.layout.as[a.q.Groups[a.magnitude].Field.Name].name
		if bands == nil {
			bands = magnitudes()
		}
		ranges := make([]object, len(bands))
		for i, b := range bands {
			ranges[i] = object{}
			if b.from > math.MinInt64 {
				ranges[i]["from"] = b.from
			}
			if b.to < math.MaxInt64 {
				ranges[i]["to"] = b.to
			}
		}
		split := object{"missing": object{"missing": object{"field": f}, "aggs": inner}}
		if len(bands) > 0 {
			split["bands"] = object{"range": object{"field": f, "ranges": ranges}, "aggs": inner}
		}
		inner = split
		perGroup *= len(bands) + 1
	}
	sources := []object{}
	for i, g := range a.q.Groups {
		if i != a.magnitude {
			sources = append(sources, object{fmt.Sprint("g", i): a.source(g)})
		}
	}
	if byTime {
		sources = append(sources, object{"time": object{"date_histogram": object{"field": "@timestamp", "fixed_interval": fmt.Sprint(a.q.Interval/1e6, "ms")}}})
	}
	cells := 0
	leaf := func(b bucket, keys []store.Key, start int64) error {
		t, err := a.read(b, metrics)
		if err != nil || t.count == 0 {
			return err
		}
		if cells++; cells > maxCells {
			return fmt.Errorf("%w: there are more than %d groups; ask about less time, or by other fields", store.ErrLimit, maxCells)
		}
		return emit(&group{slices.Clone(keys), start, *t})
	}
	split := func(b bucket, keys []store.Key, start int64) error {
		if a.magnitude < 0 {
			return leaf(b, keys, start)
		}
		return a.split(b, bands, keys, func(b bucket) error { return leaf(b, keys, start) })
	}
	keys := make([]store.Key, len(a.q.Groups))
	if len(sources) == 0 {
		f, err := a.search(object{"size": 0, "query": query, "track_total_hits": false, "aggs": inner})
		if err != nil || len(f.Aggregations) == 0 {
			return err
		}
		return split(f.Aggregations, keys, 0)
	}
	page := min(groupPage, bucketPage/perGroup)
	if slices.ContainsFunc(metrics, func(i int) bool { return slices.Contains(a.heavy, i) }) {
		page = min(page, heavyPage/max(1, len(bands)))
	}
	composite := object{"size": page, "sources": sources}
	body := object{"size": 0, "query": query, "track_total_hits": false, "aggs": object{"groups": object{"composite": composite, "aggs": inner}}}
	for {
		f, err := a.search(body)
		if err != nil {
			return err
		}
		var answer struct {
			After   json.RawMessage `json:"after_key"`
			Buckets []bucket        `json:"buckets"`
		}
		if err := f.Aggregations.into("groups", &answer); err != nil {
			return err
		}
		for _, b := range answer.Buckets {
			var key map[string]json.RawMessage
			if err := b.into("key", &key); err != nil {
				return err
			}
			for i, g := range a.q.Groups {
				if i == a.magnitude {
					continue
				}
				if keys[i], err = keyOf(g, key[fmt.Sprint("g", i)]); err != nil {
					return err
				}
			}
			ms := int64(0)
			if byTime {
				if err := json.Unmarshal(key["time"], &ms); err != nil {
					return unexpected(err)
				}
			}
			if err := split(b, keys, ms*1e6); err != nil {
				return err
			}
		}
		if len(answer.Buckets) < page || len(answer.After) == 0 {
			return nil
		}
		composite["after"] = answer.After
	}
}

// split calls leaf for each magnitude of a bucket, with its key in keys.
func (a *aggregate) split(b bucket, bands []band, keys []store.Key, leaf func(b bucket) error) error {
	kind := a.q.Groups[a.magnitude].Field.Kind
	var ranges struct {
		Buckets []bucket `json:"buckets"`
	}
	var missing bucket
	if err := b.into("bands", &ranges); err != nil {
		return err
	}
	if err := b.into("missing", &missing); err != nil {
		return err
	}
	if len(ranges.Buckets) != len(bands) {
		return unexpected(fmt.Errorf("%d ranges instead of %d", len(ranges.Buckets), len(bands)))
	}
	for i, r := range ranges.Buckets {
		keys[a.magnitude] = store.Key{Kind: kind, Int: bands[i].key}
		if err := leaf(r); err != nil {
			return err
		}
	}
	keys[a.magnitude] = store.Key{}
	return leaf(missing)
}

// classWidth is how many statuses are of a class.
const classWidth = 100

// source is the source of groups of a composite aggregation. Networks are made of addresses here.
func (a *aggregate) source(g store.Group) object {
	f := a.layout.as[g.Field.Name].name
	if g.By == store.ByClass {
		return object{"histogram": object{"field": f, "interval": classWidth, "missing_bucket": true}}
	}
	return object{"terms": object{"field": f, "missing_bucket": true}}
}

// keyOf reads the key of a group.
func keyOf(g store.Group, value json.RawMessage) (store.Key, error) {
	if len(value) == 0 || string(value) == "null" {
		return store.Key{}, nil
	}
	kind := g.Field.Kind
	switch kind {
	case exchange.Text, exchange.List, exchange.IP:
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return store.Key{}, unexpected(err)
		}
		if kind == exchange.IP {
			return addressKey(g, text)
		}
		return store.Key{Kind: exchange.Text, Text: string(raw([]byte(text)))}, nil
	case exchange.Bool:
		k := store.Key{Kind: kind}
		if string(value) == "true" || string(value) == "1" {
			k.Int = 1
		}
		return k, nil
	}
	if g.By == store.ByClass {
		var from float64
		if err := json.Unmarshal(value, &from); err != nil {
			return store.Key{}, unexpected(err)
		}
		return store.Key{Kind: exchange.Text, Text: fmt.Sprintf("%dxx", int64(from)/classWidth)}, nil
	}
	k := store.Key{Kind: kind}
	if err := json.Unmarshal(value, &k.Int); err != nil {
		return store.Key{}, unexpected(err)
	}
	return k, nil
}
