package web

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
)

// none is a number that isn't there.
var none = number(math.NaN())

type totals struct {
	Count  int64             `json:"count"`
	Values map[string]number `json:"values"`
}

func (m *metrics) totals(t *store.Totals) totals { return totals{t.Count, m.values(t)} }

type groupRow struct {
	Keys []key `json:"keys"`
	totals
}

type bucketRow struct {
	Group int   `json:"group"`
	Start stamp `json:"start"`
	totals
}

type others struct {
	Groups int64 `json:"groups"`
	totals
}

// aggregate answers with a table: metrics by group and time.
func (s *Server) aggregate(c *call) error {
	q := store.Aggregate{}
	var err error
	if q.Scope, err = c.scope(s.options.QueryTimeout); err != nil {
		return err
	}
	if q.Groups, err = c.groups(MaxGroupBy); err != nil {
		return err
	}
	m, err := c.metrics()
	if err != nil {
		return err
	}
	if q.Limit, err = c.number("limit", DefaultGroups, 1, store.MaxGroups); err != nil {
		return err
	}
	q.Metrics, q.Order = m.Metrics, m.order
	if c.values.Get("interval") != "" {
		b, err := s.span(c.Context(), &c.params, &q.Scope)
		if err != nil {
			return err
		}
		if c.values.Get("limit") == "" {
			q.Limit = min(q.Limit, MaxRows/b.count)
		}
		if rows := b.count * q.Limit; len(q.Groups) > 0 && rows > MaxRows {
			return problems.parameter.about("limit", "%d groups of %d buckets are %d rows, and %d are allowed; take a longer interval or fewer groups", q.Limit, b.count, rows, MaxRows)
		}
		q.Interval = b.interval
	}
	t, err := s.options.Store.Aggregate(c.Context(), &q)
	if err != nil {
		return err
	}
	answer := struct {
		By       []string     `json:"by"`
		Metrics  []metricInfo `json:"metrics"`
		Interval int64        `json:"interval"`
		Groups   []groupRow   `json:"groups"`
		Rows     []bucketRow  `json:"rows"`
		Other    others       `json:"other"`
		Total    totals       `json:"total"`
		Cost     cost         `json:"cost"`
	}{
		groupNames(q.Groups), m.described(), q.Interval, make([]groupRow, len(t.Groups)), make([]bucketRow, len(t.Rows)),
		others{t.OtherGroups, m.totals(&t.Other)}, m.totals(&t.Total), costOf(t.Cost),
	}
	for i := range t.Groups {
		answer.Groups[i] = groupRow{keys(t.Groups[i].Keys), m.totals(&t.Groups[i].Totals)}
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		answer.Rows[i] = bucketRow{r.Group, stamp(r.Start), m.totals(&r.Totals)}
	}
	return c.json(&answer)
}

func keys(all []store.Key) []key {
	out := make([]key, len(all))
	for i := range all {
		out[i] = key(all[i])
	}
	return out
}

// groupNames are the groups as the parameter names them, with full names of fields.
func groupNames(groups []store.Group) []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.String()
	}
	return names
}

// series is one curve: a number for each bucket of time.
type series struct {
	// Key is the group's; that of everything and of the others is null.
	Key    key                 `json:"key"`
	Count  int64               `json:"count"`
	Counts []int64             `json:"counts"`
	Values map[string][]number `json:"values"`
}

func (m *metrics) series(k key, count int64, buckets int) series {
	out := series{k, count, make([]int64, buckets), make(map[string][]number, len(m.List))}
	for i := range m.List {
		name := m.List[i].Name
		values := make([]number, buckets)
		for i := range values {
			values[i] = none
		}
		out.Values[name] = values
	}
	return out
}

// histogram answers with curves over time, each dense: one for everything, or one for each group.
func (s *Server) histogram(c *call) error {
	q := store.Aggregate{}
	var err error
	if q.Scope, err = c.scope(s.options.QueryTimeout); err != nil {
		return err
	}
	b, err := s.span(c.Context(), &c.params, &q.Scope)
	if err != nil {
		return err
	}
	if q.Groups, err = c.groups(1); err != nil {
		return err
	}
	m, err := c.metrics()
	if err != nil {
		return err
	}
	if q.Limit, err = c.number("limit", DefaultSeries, 1, MaxSeries); err != nil {
		return err
	}
	if rows := q.Limit * b.count * (1 + len(m.List)); len(q.Groups) > 0 && rows > MaxRows {
		return problems.parameter.about("limit", "%d groups of %d buckets are %d numbers, and %d are allowed; take fewer groups, buckets or metrics", q.Limit, b.count, rows, MaxRows)
	}
	q.Interval, q.Metrics, q.Order = b.interval, m.Metrics, -1
	t, err := s.options.Store.Aggregate(c.Context(), &q)
	if err != nil {
		return err
	}
	answer := struct {
		By       []string     `json:"by"`
		Metrics  []metricInfo `json:"metrics"`
		Start    stamp        `json:"start"`
		Interval int64        `json:"interval"`
		Buckets  int          `json:"buckets"`
		Series   []series     `json:"series"`
		// Other is what the groups beyond the limit amount to.
		Other struct {
			Groups int64   `json:"groups"`
			Count  int64   `json:"count"`
			Counts []int64 `json:"counts"`
		} `json:"other"`
		Total totals `json:"total"`
		Cost  cost   `json:"cost"`
	}{By: groupNames(q.Groups), Metrics: m.described(), Start: stamp(b.start), Interval: b.interval, Buckets: b.count}
	answer.Series = make([]series, len(t.Groups))
	for i := range t.Groups {
		var k key
		if len(t.Groups[i].Keys) > 0 {
			k = key(t.Groups[i].Keys[0])
		}
		answer.Series[i] = m.series(k, t.Groups[i].Count, b.count)
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		at := b.index(r.Start)
		if at < 0 || r.Group < 0 || r.Group >= len(answer.Series) {
			continue
		}
		curve := &answer.Series[r.Group]
		curve.Counts[at] = r.Count
		for k := range m.List {
			curve.Values[m.List[k].Name][at] = number(m.List[k].Of(&r.Totals))
		}
	}
	answer.Total, answer.Cost = m.totals(&t.Total), costOf(t.Cost)
	answer.Other.Groups, answer.Other.Count, answer.Other.Counts = t.OtherGroups, t.Other.Count, make([]int64, b.count)
	if t.OtherGroups > 0 && q.Groups[0].Field.Kind != exchange.List { // one exchange is in several groups of a list
		if err := s.others(c, &q, &b, answer.Series, answer.Other.Counts); err != nil {
			return err
		}
	}
	return c.json(&answer)
}

// others counts what isn't in the curves: a store gives only the total of it.
func (s *Server) others(c *call, q *store.Aggregate, b *span, curves []series, counts []int64) error {
	all, err := s.options.Store.Aggregate(c.Context(), &store.Aggregate{Scope: q.Scope, Interval: q.Interval, Order: -1})
	if err != nil {
		return err
	}
	for i := range all.Rows {
		if at := b.index(all.Rows[i].Start); at >= 0 {
			counts[at] += all.Rows[i].Count
		}
	}
	for i := range counts {
		for k := range curves {
			counts[i] -= curves[k].Counts[i]
		}
		counts[i] = max(counts[i], 0) // exchanges came between the two questions
	}
	return nil
}

// band is a row of a heat map: the values from From to To, without it.
type band struct {
	From   int64   `json:"from"`
	To     int64   `json:"to"`
	Count  int64   `json:"count"`
	Counts []int64 `json:"counts"`
	Errors []int64 `json:"errors"`
}

// heatmap answers with counts by time and magnitude of a field.
func (s *Server) heatmap(c *call) error {
	q := store.Aggregate{Metrics: []store.Metric{{Kind: store.Errors}}, Order: -1}
	var err error
	if q.Scope, err = c.scope(s.options.QueryTimeout); err != nil {
		return err
	}
	b, err := s.span(c.Context(), &c.params, &q.Scope)
	if err != nil {
		return err
	}
	field, err := c.field("field", "event.duration")
	if err != nil {
		return err
	}
	if !store.ByMagnitude.Suits(field) {
		return problems.parameter.about("field", "%s, which is %s, has no magnitude; name a number or a duration", field.Name, kindNames[field.Kind])
	}
	q.Interval, q.Groups = b.interval, []store.Group{{Field: field, By: store.ByMagnitude}}
	t, err := s.options.Store.Aggregate(c.Context(), &q)
	if err != nil {
		return err
	}
	answer := struct {
		Field    string `json:"field"`
		Unit     string `json:"unit"`
		Start    stamp  `json:"start"`
		Interval int64  `json:"interval"`
		Buckets  int    `json:"buckets"`
		Bands    []band `json:"bands"`
		// Missing are the exchanges that lack the field.
		Missing int64 `json:"missing"`
		Total   int64 `json:"total"`
		Cost    cost  `json:"cost"`
	}{Field: field.Name, Unit: field.Unit, Start: stamp(b.start), Interval: b.interval, Buckets: b.count, Total: t.Total.Count, Cost: costOf(t.Cost)}
	bands := make([]*band, len(t.Groups))
	for i := range t.Groups {
		g := &t.Groups[i]
		if len(g.Keys) == 0 || g.Keys[0].Kind == exchange.Absent {
			answer.Missing += g.Count
			continue
		}
		low := g.Keys[0].Int
		bands[i] = &band{low, above(low), g.Count, make([]int64, b.count), make([]int64, b.count)}
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		at := b.index(r.Start)
		if at < 0 || r.Group < 0 || r.Group >= len(bands) || bands[r.Group] == nil {
			continue
		}
		row := bands[r.Group]
		row.Counts[at] += r.Count
		if len(r.Values) > 0 && len(r.Values[0]) > 0 {
			row.Errors[at] += int64(r.Values[0][0])
		}
	}
	answer.Bands = []band{}
	for _, r := range bands {
		if r != nil {
			answer.Bands = append(answer.Bands, *r)
		}
	}
	slices.SortFunc(answer.Bands, func(x, y band) int { return cmp.Compare(x.From, y.From) })
	return c.json(&answer)
}

// above returns where the bucket of a magnitude ends that begins at low; see store.ByMagnitude.
func above(low int64) int64 {
	for k := 0; ; k++ {
		bound := math.Round(math.Pow(10, float64(k)/8))
		if bound >= math.MaxInt64 {
			return math.MaxInt64
		}
		if int64(bound) > low {
			return int64(bound)
		}
	}
}

type term struct {
	Value key `json:"value"`
	totals
}

// terms answers with the values of a field that most exchanges have.
func (s *Server) terms(c *call) error {
	q := store.Aggregate{}
	var err error
	if q.Scope, err = c.scope(s.options.QueryTimeout); err != nil {
		return err
	}
	field, err := c.countable()
	if err != nil {
		return err
	}
	m, err := c.metrics()
	if err != nil {
		return err
	}
	limit, err := c.number("limit", DefaultTerms, 1, MaxTerms)
	if err != nil {
		return err
	}
	// One more, since the exchanges without the field are a group as well.
	q.Groups, q.Metrics, q.Order, q.Limit = []store.Group{{Field: field}}, m.Metrics, m.order, limit+1
	t, err := s.options.Store.Aggregate(c.Context(), &q)
	if err != nil {
		return err
	}
	answer := struct {
		Field   string       `json:"field"`
		Metrics []metricInfo `json:"metrics"`
		Terms   []term       `json:"terms"`
		// Missing are the exchanges that lack the field, where they are among the largest groups.
		Missing int64 `json:"missing"`
		// Other are the groups beyond the limit.
		Other struct {
			Terms int64 `json:"terms"`
			Count int64 `json:"count"`
		} `json:"other"`
		Total totals `json:"total"`
		Cost  cost   `json:"cost"`
	}{Field: field.Name, Metrics: m.described(), Terms: []term{}, Total: m.totals(&t.Total), Cost: costOf(t.Cost)}
	answer.Other.Terms, answer.Other.Count = t.OtherGroups, t.Other.Count
	for i := range t.Groups {
		g := &t.Groups[i]
		switch {
		case len(g.Keys) == 0 || g.Keys[0].Kind == exchange.Absent:
			answer.Missing += g.Count
		case len(answer.Terms) < limit:
			answer.Terms = append(answer.Terms, term{key(g.Keys[0]), m.totals(&g.Totals)})
		default:
			answer.Other.Terms++
			answer.Other.Count += g.Count
		}
	}
	return c.json(&answer)
}

// countable gives the parameter field: one that has values to count.
func (p *params) countable() (*exchange.Field, error) {
	f, err := p.field("field", "")
	if err == nil && !store.ByValue.Suits(f) {
		return nil, problems.parameter.about("field", "%s, which is %s, has no values to count", f.Name, kindNames[f.Kind])
	}
	return f, err
}

// cardinality answers with how many different values a field has.
func (s *Server) cardinality(c *call) error {
	q := store.Aggregate{Order: -1}
	var err error
	if q.Scope, err = c.scope(s.options.QueryTimeout); err != nil {
		return err
	}
	field, err := c.countable()
	if err != nil {
		return err
	}
	q.Metrics = []store.Metric{{Kind: store.Distinct, Field: field}}
	t, err := s.options.Store.Aggregate(c.Context(), &q)
	if err != nil {
		return err
	}
	distinct := 0.0
	if v := t.Total.Values; len(v) > 0 && len(v[0]) > 0 && !math.IsNaN(v[0][0]) {
		distinct = math.Round(v[0][0])
	}
	return c.json(struct {
		Field    string `json:"field"`
		Distinct int64  `json:"distinct"`
		// Exact: it isn't an estimate.
		Exact bool  `json:"exact"`
		Total int64 `json:"total"`
		Cost  cost  `json:"cost"`
	}{field.Name, int64(distinct), distinct <= store.DistinctExact, t.Total.Count, costOf(t.Cost)})
}

// complete answers with values of a field that begin with a text, without regard to case, those of most exchanges
// first. Of numbers and addresses, the beginning of their text counts, among the most frequent values.
func (s *Server) complete(c *call) error {
	q := store.Aggregate{Order: -1, Limit: store.MaxGroups}
	var err error
	if q.Scope, err = c.scope(min(s.options.QueryTimeout, CompleteTimeout)); err != nil {
		return err
	}
	field, err := c.countable()
	if err != nil {
		return err
	}
	limit, err := c.number("limit", DefaultComplete, 1, MaxComplete)
	if err != nil {
		return err
	}
	prefix := c.values.Get("prefix")
	if len(prefix) > MaxText {
		return problems.parameter.about("prefix", "has %d bytes, and %d are allowed", len(prefix), MaxText)
	}
	prefix = asciiLower(prefix)
	q.Groups = []store.Group{{Field: field}}
	if (field.Kind == exchange.Text || field.Kind == exchange.List) && prefix != "" {
		q.Where = and(q.Where, &filter.Compare{
			Operand: filter.Operand{Field: field, Lower: true}, Op: filter.StartsWith, Value: filter.Constant{Kind: exchange.Text, Text: prefix},
		})
	}
	t, err := s.options.Store.Aggregate(c.Context(), &q)
	if err != nil {
		return err
	}
	type value struct {
		Value key   `json:"value"`
		Count int64 `json:"count"`
	}
	answer := struct {
		Field  string  `json:"field"`
		Values []value `json:"values"`
		// More: there are others.
		More bool `json:"more"`
		Cost cost `json:"cost"`
	}{field.Name, []value{}, t.OtherGroups > 0, costOf(t.Cost)}
	for i := range t.Groups {
		g := &t.Groups[i]
		if len(g.Keys) == 0 || g.Keys[0].Kind == exchange.Absent || !strings.HasPrefix(asciiLower(key(g.Keys[0]).String()), prefix) {
			continue
		}
		if len(answer.Values) == limit {
			answer.More = true
			break
		}
		answer.Values = append(answer.Values, value{key(g.Keys[0]), g.Count})
	}
	return c.json(&answer)
}

// and joins two conditions, the first of which may be nil.
func and(a, b filter.Node) filter.Node {
	if a == nil {
		return b
	}
	return &filter.And{Nodes: slices.Concat(parts(a), parts(b))}
}

// parts are the conditions that an And joins, or else the condition alone.
func parts(n filter.Node) []filter.Node {
	if joined, ok := n.(*filter.And); ok {
		return joined.Nodes
	}
	return []filter.Node{n}
}

// asciiLower makes the ASCII letters lower case, as the filter's lower does. Other bytes stay, UTF-8 or not.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}
