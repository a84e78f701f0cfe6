package store

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
)

// The language of figures: metrics and groups as people write them, on the command line and in links.

// Figures are metrics by their texts, such as p99(duration). The zero Figures has none.
type Figures struct {
	// Metrics are what to ask the store.
	Metrics []Metric
	List    []Figure
}

// Figure is one value of a table.
type Figure struct {
	// Name is the text, Unit the unit of the field that it is computed of, if it has that.
	Name, Unit string
	Kind       MetricKind
	// The value stands at place in the values of a metric.
	metric, place int
}

// Of returns the value, NaN when there is none.
func (f *Figure) Of(t *Totals) float64 {
	if f.metric >= len(t.Values) || f.place >= len(t.Values[f.metric]) {
		return math.NaN()
	}
	return t.Values[f.metric][f.place]
}

// functions are the metrics by name, but for percentiles.
var functions = map[string]struct {
	kind MetricKind
	// of are the kinds of fields that it is computed of; none: it is computed of exchanges. unit: it has the unit of the
	// field.
	of   []exchange.ValueKind
	unit bool
}{
	"sum": {Sum, numeric, true}, "min": {Min, numeric, true}, "max": {Max, numeric, true}, "mean": {Mean, numeric, true},
	"distinct": {Distinct, groupable, false}, "rate": {kind: Rate}, "errors": {kind: Errors}, "error_rate": {kind: ErrorRate},
}

var (
	numeric   = []exchange.ValueKind{exchange.Int, exchange.Duration}
	groupable = []exchange.ValueKind{exchange.Text, exchange.Int, exchange.Duration, exchange.Time, exchange.Bool, exchange.IP, exchange.List}
)

// Suits reports whether values of a field can be grouped by so.
func (b By) Suits(f *exchange.Field) bool {
	kinds := groupable
	for _, g := range groupings {
		if g.by == b {
			kinds = g.of
		}
	}
	return slices.Contains(kinds, f.Kind)
}

// String returns the text that ParseGroup reads, with the full name of the field.
func (g Group) String() string {
	for name, grouping := range groupings {
		if grouping.by == g.By {
			return name + "(" + g.Field.Name + ")"
		}
	}
	return g.Field.Name
}

// Suits reports whether a metric can be computed of a field.
func (k MetricKind) Suits(f *exchange.Field) bool {
	if k == Percentiles {
		return slices.Contains(numeric, f.Kind)
	}
	for _, function := range functions {
		if function.kind == k {
			return slices.Contains(function.of, f.Kind)
		}
	}
	return false
}

// groupings are the functions of fields to group by.
var groupings = map[string]struct {
	by By
	of []exchange.ValueKind
}{
	"class":     {ByClass, []exchange.ValueKind{exchange.Int}},
	"magnitude": {ByMagnitude, numeric},
	"network":   {ByNetwork, []exchange.ValueKind{exchange.IP}},
}

const someFigures = "there are p50(duration), p99.9(duration), sum(size), min(size), max(size), mean(size), distinct(client), rate, errors, error_rate and count"

// maxShown is how much of a text an error shows.
const maxShown = 60

// call takes "p99(duration)" apart. ok: it is a name, or one with something in parentheses.
func call(text string) (name, arg string, ok bool) {
	name, arg, open := strings.Cut(strings.TrimSpace(text), "(")
	arg, closed := strings.CutSuffix(arg, ")")
	name, arg = strings.TrimSpace(name), strings.TrimSpace(arg)
	return name, arg, name != "" && open == closed && open == (arg != "")
}

func shown(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxShown)], "?") }

func field(name string, kinds []exchange.ValueKind, text string) (*exchange.Field, error) {
	f := exchange.Lookup(name)
	switch {
	case f == nil:
		return nil, fmt.Errorf("there is no field %s", shown(name))
	case !slices.Contains(kinds, f.Kind):
		return nil, fmt.Errorf("%s can't be said of %s", shown(text), f.Name)
	}
	return f, nil
}

// Add adds a metric, unless it is there. Percentiles of a field are one metric of the store, since one sketch answers for
// all; first: this one is to order by, and stands first in a metric of its own.
func (f *Figures) Add(text string, first bool) error {
	text = strings.TrimSpace(text)
	if slices.ContainsFunc(f.List, func(have Figure) bool { return have.Name == text }) {
		return nil
	}
	name, arg, ok := call(text)
	function, known := functions[name]
	quantile, percentile := quantileOf(name)
	if percentile {
		function.kind, function.of, function.unit, known = Percentiles, numeric, true, true
	}
	switch {
	case !known:
		return fmt.Errorf("%s is no metric; %s", shown(text), someFigures)
	case len(function.of) > 0 && arg == "":
		return fmt.Errorf("%s is of a field, such as %s(duration)", shown(name), name)
	case len(function.of) == 0 && arg != "":
		return fmt.Errorf("%s is of exchanges; write it alone", name)
	case !ok:
		return fmt.Errorf("%s lacks a parenthesis", shown(text))
	}
	figure := Figure{Name: text, Kind: function.kind, metric: len(f.Metrics)}
	asked := Metric{Kind: function.kind}
	if len(function.of) > 0 {
		var err error
		if asked.Field, err = field(arg, function.of, text); err != nil {
			return err
		}
		if function.unit {
			figure.Unit = asked.Field.Unit
		}
	}
	if percentile {
		for i := range f.Metrics {
			if have := &f.Metrics[i]; !first && have.Kind == Percentiles && have.Field == asked.Field {
				figure.metric, figure.place = i, len(have.Quantiles)
				have.Quantiles = append(have.Quantiles, quantile)
				f.List = append(f.List, figure)
				return nil
			}
		}
		asked.Quantiles = []float64{quantile}
	}
	f.Metrics, f.List = append(f.Metrics, asked), append(f.List, figure)
	return nil
}

// Order returns what Aggregate.Order is to be, to order by a figure or by the count, and whether there is such a figure.
func (f *Figures) Order(name string) (order int, ok bool) {
	if name == "" || name == "count" {
		return -1, true
	}
	i := slices.IndexFunc(f.List, func(have Figure) bool { return have.Name == name })
	if i < 0 {
		return 0, false
	}
	return f.List[i].metric, true
}

// quantileOf reads p50, p99 or p99.9 as a part from 0 to 1.
func quantileOf(name string) (q float64, ok bool) {
	digits, ok := strings.CutPrefix(name, "p")
	if !ok || digits == "" || len(digits) > 8 || strings.Trim(digits, "0123456789.") != "" {
		return 0, false
	}
	percent, err := strconv.ParseFloat(digits, 64)
	return percent / 100, err == nil && percent <= 100
}

// ParseGroup reads what to group by: a field, class(status), magnitude(duration) or network(client).
func ParseGroup(text string) (g Group, err error) {
	name, arg, ok := call(text)
	kinds := groupable
	if arg != "" {
		grouping, known := groupings[name]
		ok = ok && known
		g.By, kinds, name = grouping.by, grouping.of, arg
	}
	if !ok {
		return g, fmt.Errorf("%s is nothing to group by; write a field, class(status), magnitude(duration) or network(client)", shown(text))
	}
	g.Field, err = field(name, kinds, text)
	return g, err
}
