package storetest

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

// Aggregate implements store.Reader.
func (n *Naive) Aggregate(ctx context.Context, q *store.Aggregate) (*store.Table, error) {
	return n.aggregate(ctx, q, math.Floor)
}

// aggregate is Aggregate. Where a quantile falls between two values, round says which it is.
func (n *Naive) aggregate(ctx context.Context, q *store.Aggregate, round func(float64) float64) (*store.Table, error) {
	if err := check(q); err != nil {
		return nil, err
	}
	all, total, err := n.selected(ctx, &q.Scope)
	if err != nil {
		return nil, err
	}

	type group struct {
		keys    []store.Key
		members []*exchange.Exchange
		totals  store.Totals
	}
	groups := map[string]*group{}
	for _, x := range all {
		for _, keys := range keysOf(x, q.Groups) {
			name := ""
			for _, k := range keys {
				name += fmt.Sprintf("%d %d %q,", k.Kind, k.Int, k.Text)
			}
			if groups[name] == nil {
				groups[name] = &group{keys: keys}
			}
			groups[name].members = append(groups[name].members, x)
		}
	}

	seconds := scopeSeconds(&q.Scope, all)
	var order []*group
	for _, g := range groups {
		g.totals = totals(g.members, q.Metrics, seconds, round)
		order = append(order, g)
	}
	slices.SortFunc(order, func(a, b *group) int {
		if c := compareOrder(&a.totals, &b.totals, q.Order); c != 0 {
			return c
		}
		return compareKeys(a.keys, b.keys)
	})

	t := &store.Table{Cost: store.Cost{Rows: total, Stored: total}}
	limit := q.Limit
	if limit == 0 {
		limit = store.MaxGroups
	}
	var others []*exchange.Exchange
	starts := map[int64]bool{}
	for i, g := range order {
		if i >= limit {
			t.OtherGroups++
			others = append(others, g.members...)
			continue
		}
		t.Groups = append(t.Groups, store.GroupRow{Keys: g.keys, Totals: g.totals})
		if q.Interval == 0 {
			continue
		}
		buckets := map[int64][]*exchange.Exchange{}
		for _, x := range g.members {
			start := floor(x.Start.Time, q.Interval)
			buckets[start] = append(buckets[start], x)
			starts[start] = true
		}
		for start, members := range buckets {
			t.Rows = append(t.Rows, store.BucketRow{
				Group: i, Start: start, Totals: totals(members, q.Metrics, float64(q.Interval)/1e9, round),
			})
		}
	}
	if len(starts) > store.MaxBuckets {
		return nil, fmt.Errorf("%w: %d time buckets", store.ErrLimit, len(starts))
	}
	slices.SortFunc(t.Rows, func(a, b store.BucketRow) int {
		if a.Group != b.Group {
			return a.Group - b.Group
		}
		return compareInts(a.Start, b.Start)
	})
	t.Other = totals(others, q.Metrics, seconds, round)
	t.Total = totals(all, q.Metrics, seconds, round)
	return t, nil
}

// check refuses questions that make no sense.
func check(q *store.Aggregate) error {
	switch {
	case q.Interval < 0:
		return fmt.Errorf("an interval of %d ns can't be", q.Interval)
	case q.Limit < 0 || q.Limit > store.MaxGroups:
		return fmt.Errorf("%d groups can't be asked for; from 1 to %d can", q.Limit, store.MaxGroups)
	case q.Order < -1 || q.Order >= len(q.Metrics):
		return fmt.Errorf("there is no metric %d to order by", q.Order)
	}
	for _, g := range q.Groups {
		k := g.Field.Kind
		fits := [...]bool{
			store.ByValue: k != exchange.Headers && k != exchange.Float, store.ByClass: k == exchange.Int,
			store.ByMagnitude: k == exchange.Int || k == exchange.Duration, store.ByNetwork: k == exchange.IP,
		}
		if int(g.By) >= len(fits) || !fits[g.By] {
			return fmt.Errorf("%s can't be grouped by function %d", g.Field.Name, g.By)
		}
	}
	for _, m := range q.Metrics {
		switch m.Kind {
		case store.Sum, store.Min, store.Max, store.Mean, store.Percentiles:
			if !isNumber(m.Field) {
				return fmt.Errorf("metric %d needs a number or a duration", m.Kind)
			}
		case store.Distinct:
			if m.Field == nil || m.Field.Kind == exchange.Headers {
				return fmt.Errorf("metric %d needs a field", m.Kind)
			}
		case store.Rate, store.Errors, store.ErrorRate:
		default:
			return fmt.Errorf("there is no metric %d", m.Kind)
		}
		for _, p := range m.Quantiles {
			if !(0 <= p && p <= 1) {
				return fmt.Errorf("%v isn't a part from 0 to 1", p)
			}
		}
	}
	return nil
}

func isNumber(f *exchange.Field) bool {
	return f != nil && (f.Kind == exchange.Int || f.Kind == exchange.Duration)
}

// keysOf returns the keys of all groups that an exchange is in, each once.
func keysOf(x *exchange.Exchange, groups []store.Group) [][]store.Key {
	all := [][]store.Key{nil}
	for _, g := range groups {
		v := valueOf(x, g.Field)
		own := []store.Key{{}}
		switch {
		case v.Kind == exchange.List && len(v.List) > 0:
			own = nil
			for _, element := range v.List {
				if k := (store.Key{Kind: exchange.Text, Text: element}); !slices.Contains(own, k) {
					own = append(own, k)
				}
			}
		case v.Kind != exchange.Absent:
			own = []store.Key{by(g.By, &v)}
		}
		var longer [][]store.Key
		for _, keys := range all {
			for _, k := range own {
				longer = append(longer, append(slices.Clone(keys), k))
			}
		}
		all = longer
	}
	return all
}

// keyOf returns the key of a value itself.
func keyOf(v *exchange.Value) store.Key {
	switch v.Kind {
	case exchange.Absent:
		return store.Key{}
	case exchange.Text:
		return store.Key{Kind: exchange.Text, Text: string(textOf(v, 0))}
	case exchange.IP:
		return store.Key{Kind: exchange.IP, Text: v.Addr.String()}
	case exchange.Float:
		return store.Key{Kind: exchange.Float, Int: int64(math.Float64bits(v.Float))}
	}
	return store.Key{Kind: v.Kind, Int: v.Int}
}

// by applies a function to a value.
func by(f store.By, v *exchange.Value) store.Key {
	switch f {
	case store.ByClass:
		return store.Key{Kind: exchange.Text, Text: fmt.Sprintf("%.0fxx", math.Floor(float64(v.Int)/100))}
	case store.ByMagnitude:
		return store.Key{Kind: v.Kind, Int: magnitude(v.Int)}
	case store.ByNetwork:
		a := v.Addr.Netip()
		bits := 48
		if a.Is4() {
			bits = 24
		}
		return store.Key{Kind: exchange.Text, Text: netip.PrefixFrom(a, bits).Masked().String()}
	}
	return keyOf(v)
}

// magnitude returns the lower bound of a number's bucket.
func magnitude(n int64) int64 {
	lower := int64(0)
	for k := 0.0; float64(n) >= math.Pow(10, k/8); k++ {
		lower = int64(math.Round(math.Pow(10, k/8)))
	}
	return lower
}

// compareKeys orders keys: numbers by size, texts by their bytes, absent ones last.
func compareKeys(a, b []store.Key) int {
	return slices.CompareFunc(a, b, func(a, b store.Key) int {
		switch {
		case a.Kind == exchange.Absent && b.Kind == exchange.Absent:
			return 0
		case a.Kind == exchange.Absent:
			return 1
		case b.Kind == exchange.Absent:
			return -1
		case a.Int != b.Int:
			return compareInts(a.Int, b.Int)
		}
		return strings.Compare(a.Text, b.Text)
	})
}

// compareOrder orders totals by a metric or the count, largest first; what there is nothing of comes last.
func compareOrder(a, b *store.Totals, metric int) int {
	x, y := orderValue(a, metric), orderValue(b, metric)
	switch {
	case math.IsNaN(x) && math.IsNaN(y), x == y:
		return 0
	case math.IsNaN(y), x > y:
		return -1
	}
	return 1
}

func orderValue(t *store.Totals, metric int) float64 {
	if metric < 0 {
		return float64(t.Count)
	}
	if len(t.Values[metric]) == 0 {
		return math.NaN()
	}
	return t.Values[metric][0]
}

// scopeSeconds returns the time that rates are of: of the scope, or else between the first and the last exchange.
func scopeSeconds(s *store.Scope, all []*exchange.Exchange) float64 {
	from, to := s.From, s.To
	if from == 0 || to == 0 {
		from, to = 0, 0
		for i, x := range all {
			if i == 0 {
				from, to = x.Start.Time, x.Start.Time
			}
			from, to = min(from, x.Start.Time), max(to, x.Start.Time)
		}
	}
	return float64(to-from) / 1e9
}

// floor returns the begin of the time bucket that a time is in.
func floor(t, interval int64) int64 {
	r := t % interval
	if r < 0 {
		r += interval
	}
	return t - r
}

// totals computes the metrics of some exchanges.
func totals(all []*exchange.Exchange, metrics []store.Metric, seconds float64, round func(float64) float64) store.Totals {
	t := store.Totals{Count: int64(len(all))}
	for i := range metrics {
		t.Values = append(t.Values, metric(all, &metrics[i], seconds, round))
	}
	return t
}

// metric computes one metric. Of nothing, the sum is 0, and what can't be computed is NaN.
func metric(all []*exchange.Exchange, m *store.Metric, seconds float64, round func(float64) float64) []float64 {
	failures := 0.0
	for _, x := range all {
		if x.Outcome() == "failure" {
			failures++
		}
	}
	switch m.Kind {
	case store.Rate:
		if seconds <= 0 {
			return []float64{math.NaN()}
		}
		return []float64{float64(len(all)) / seconds}
	case store.Errors:
		return []float64{failures}
	case store.ErrorRate:
		return []float64{failures / float64(len(all))}
	case store.Distinct:
		values := map[string]bool{}
		for _, x := range all {
			v := valueOf(x, m.Field)
			switch v.Kind {
			case exchange.Absent:
			case exchange.List:
				for _, element := range v.List {
					values[element] = true
				}
			default:
				k := keyOf(&v)
				values[fmt.Sprintf("%d %q", k.Int, k.Text)] = true
			}
		}
		return []float64{float64(len(values))}
	}

	var values []int64
	sum := int64(0)
	for _, x := range all {
		v := valueOf(x, m.Field)
		if v.Kind == exchange.Absent || m.Kind == store.Percentiles && leftOut(x, m.Field) {
			continue
		}
		values = append(values, v.Int)
		sum += v.Int
	}
	slices.Sort(values)
	if m.Kind == store.Percentiles {
		quantiles := make([]float64, len(m.Quantiles))
		for i, p := range m.Quantiles {
			quantiles[i] = math.NaN()
			if len(values) > 0 {
				quantiles[i] = float64(values[int(round(p*float64(len(values)-1)))])
			}
		}
		return quantiles
	}
	switch {
	case m.Kind == store.Sum:
		return []float64{float64(sum)}
	case len(values) == 0:
		return []float64{math.NaN()}
	case m.Kind == store.Min:
		return []float64{float64(values[0])}
	case m.Kind == store.Max:
		return []float64{float64(values[len(values)-1])}
	}
	return []float64{float64(sum) / float64(len(values))}
}

// leftOut reports whether an exchange is left out of percentiles of a field: the length of streams, and of exchanges of
// which one side was seen, says nothing of the server's speed.
func leftOut(x *exchange.Exchange, f *exchange.Field) bool {
	timing := f.Kind == exchange.Duration && !strings.HasPrefix(f.Name, "culprit.net.") && !strings.HasPrefix(f.Name, "culprit.tls.")
	return timing && (x.Stream || x.Grade == exchange.OneSided)
}
