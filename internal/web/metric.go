package web

import (
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

// functions are the metrics by name, but for the percentiles p50, p99.9 and so on.
var functions = map[string]struct {
	kind store.MetricKind
	// of are the kinds of fields that it is computed of; none: it has no field.
	of []exchange.ValueKind
	// unit: it has the unit of the field.
	unit bool
}{
	"sum":        {store.Sum, numeric, true},
	"min":        {store.Min, numeric, true},
	"max":        {store.Max, numeric, true},
	"mean":       {store.Mean, numeric, true},
	"distinct":   {store.Distinct, countable, false},
	"rate":       {kind: store.Rate},
	"errors":     {kind: store.Errors},
	"error_rate": {kind: store.ErrorRate},
}

var (
	numeric   = []exchange.ValueKind{exchange.Int, exchange.Float, exchange.Duration}
	countable = []exchange.ValueKind{exchange.Text, exchange.Int, exchange.Float, exchange.Duration, exchange.Time, exchange.Bool, exchange.IP, exchange.List}
	groupable = []exchange.ValueKind{exchange.Text, exchange.Int, exchange.Duration, exchange.Bool, exchange.IP, exchange.List}
)

const someMetrics = "write count, rate, errors, error_rate, sum(size), min(size), max(size), mean(size), distinct(client), p50(duration) or p99.9(duration)"

// metrics are what is asked for, and where the answers are.
type metrics struct {
	names []string
	units []string
	store []store.Metric
	// at are the metric and the value within it, for each name.
	at [][2]int
	// order is the metric to order by, as the store wants it.
	order int
}

// metrics reads the parameters metric and sort.
func (p *params) metrics() (m metrics, err error) {
	sort := strings.TrimSpace(p.values.Get("sort"))
	names := p.list("metric")
	if len(names) > MaxMetrics {
		return m, problems.parameter.about("metric", "has %d metrics, and %d are allowed", len(names), MaxMetrics)
	}
	m.order = -1
	for _, name := range names {
		if name == "count" || slices.Contains(m.names, name) {
			continue // the count is always there
		}
		if err := m.add(name, name == sort); err != nil {
			return m, err
		}
	}
	if sort != "" && sort != "count" {
		i := slices.Index(m.names, sort)
		if i < 0 {
			return m, problems.parameter.about("sort", "%s is none of the metrics; sort by count or by one that metric names", clip(sort))
		}
		m.order = m.at[i][0]
	}
	return m, nil
}

// add adds one metric. Percentiles of one field are one metric of the store, but for one to order by: that must
// come first in its own.
func (m *metrics) add(name string, alone bool) error {
	function, arg, call := strings.Cut(name, "(")
	arg, closed := strings.CutSuffix(arg, ")")
	if call != closed {
		return problems.parameter.about("metric", "%s lacks a parenthesis; "+someMetrics, clip(name))
	}
	function, arg = strings.TrimSpace(function), strings.TrimSpace(arg)
	quantile, percentile := percentileOf(function)
	f, known := functions[function]
	if percentile {
		f.kind, f.of, f.unit, known = store.Percentiles, numeric, true, true
	}
	switch {
	case !known:
		return problems.parameter.about("metric", "there is no %s; "+someMetrics, clip(function))
	case len(f.of) == 0 && call:
		return problems.parameter.about("metric", "%s is of exchanges, and has no field; write it alone", function)
	case len(f.of) > 0 && arg == "":
		return problems.parameter.about("metric", "%s needs a field, such as %[1]s(duration)", function)
	}
	want, unit := store.Metric{Kind: f.kind}, ""
	if call {
		field, err := fieldOf("metric", arg)
		if err != nil {
			return err
		}
		if !slices.Contains(f.of, field.Kind) {
			return problems.parameter.about("metric", "there is no %s of %s, which is %s", function, field.Name, kindNames[field.Kind])
		}
		if want.Field = field; f.unit {
			unit = field.Unit
		}
	}
	m.names, m.units = append(m.names, name), append(m.units, unit)
	if percentile {
		for i := range m.store {
			if s := &m.store[i]; !alone && s.Kind == store.Percentiles && s.Field == want.Field {
				s.Quantiles = append(s.Quantiles, quantile)
				m.at = append(m.at, [2]int{i, len(s.Quantiles) - 1})
				return nil
			}
		}
		want.Quantiles = []float64{quantile}
	}
	m.store = append(m.store, want)
	m.at = append(m.at, [2]int{len(m.store) - 1, 0})
	return nil
}

// percentileOf reads p50, p99 or p99.9 as a part from 0 to 1.
func percentileOf(s string) (float64, bool) {
	digits, ok := strings.CutPrefix(s, "p")
	if !ok || digits == "" || len(digits) > 8 || strings.Trim(digits, "0123456789.") != "" {
		return 0, false
	}
	percent, err := strconv.ParseFloat(digits, 64)
	return percent / 100, err == nil && percent <= 100
}

// values are the metrics by their names.
func (m *metrics) values(t *store.Totals) map[string]number {
	all := make(map[string]number, len(m.names))
	for i, name := range m.names {
		all[name] = m.value(t, i)
	}
	return all
}

// value is one metric; not a number when the store has none.
func (m *metrics) value(t *store.Totals, i int) number {
	at := m.at[i]
	if at[0] >= len(t.Values) || at[1] >= len(t.Values[at[0]]) {
		return none
	}
	return number(t.Values[at[0]][at[1]])
}

// described says what the metrics are.
func (m *metrics) described() []metricInfo {
	all := make([]metricInfo, len(m.names))
	for i := range all {
		all[i] = metricInfo{m.names[i], m.units[i]}
	}
	return all
}

type metricInfo struct {
	Name string `json:"name"`
	Unit string `json:"unit,omitempty"`
}

// bys are the functions of values to group by, with the kinds of fields that they are of.
var bys = map[string]struct {
	by store.By
	of []exchange.ValueKind
}{
	"class":     {store.ByClass, []exchange.ValueKind{exchange.Int}},
	"magnitude": {store.ByMagnitude, []exchange.ValueKind{exchange.Int, exchange.Duration}},
	"network":   {store.ByNetwork, []exchange.ValueKind{exchange.IP}},
}

// groups reads the parameter group: fields, or class(status), magnitude(duration), network(client).
func (p *params) groups(most int) (all []store.Group, err error) {
	for _, name := range p.list("group") {
		if len(all) == most {
			return nil, problems.parameter.about("group", "names more than %d fields", most)
		}
		g := store.Group{By: store.ByValue}
		function, arg, call := strings.Cut(name, "(")
		arg, closed := strings.CutSuffix(arg, ")")
		kinds := groupable
		if call {
			by, known := bys[strings.TrimSpace(function)]
			if !known || !closed {
				return nil, problems.parameter.about("group", "%s is no function of a field; there are class(status), magnitude(duration) and network(client)", clip(name))
			}
			g.By, kinds, name = by.by, by.of, strings.TrimSpace(arg)
		}
		if g.Field, err = fieldOf("group", name); err != nil {
			return nil, err
		}
		if !slices.Contains(kinds, g.Field.Kind) {
			return nil, problems.parameter.about("group", "%s, which is %s, can't be grouped by so", g.Field.Name, kindNames[g.Field.Kind])
		}
		all = append(all, g)
	}
	return all, nil
}

// kindNames are the kinds of values for people.
var kindNames = map[exchange.ValueKind]string{
	exchange.Text: "text", exchange.Int: "number", exchange.Float: "number", exchange.Duration: "duration", exchange.Time: "time",
	exchange.Bool: "truth", exchange.IP: "address", exchange.Headers: "headers", exchange.List: "list",
}
