package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/store"
)

// figures is a question for figures, and the names of what it asks for as the user wrote them.
type figures struct {
	store.Aggregate
	groups  []string
	metrics []metric
}

// metric is one column of figures; the first is the count.
type metric struct {
	store.Figure
	count bool
}

// units are those of metrics that have none of a field: error_rate is a part, from 0 to 1.
var units = map[store.MetricKind]string{store.Rate: "/s", store.ErrorRate: "part"}

// parseFigures reads --group-by, --metric, --sort and --interval.
func parseFigures(c *config.Query) (f figures, err error) {
	f.Interval, f.Limit = int64(c.Interval), c.Limit
	if f.Sketches, err = measure.ParseKind(cmp.Or(c.Quantiles, measure.DD.String())); err != nil {
		return f, fmt.Errorf("--quantiles: %w", err)
	}
	if !f.Sketches.Merges() {
		return f, fmt.Errorf("--quantiles %s: a store's percentiles are put together from those of its segments, and %w; culprit routes takes it", f.Sketches, measure.ErrNoMerge)
	}
	if c.Limit > store.MaxGroups {
		return f, fmt.Errorf("--limit %d: there are %d groups at most", c.Limit, store.MaxGroups)
	}
	for _, text := range c.GroupBy {
		g, err := store.ParseGroup(text)
		switch {
		case err != nil:
			return f, fmt.Errorf("--group-by: %w", err)
		case slices.Contains(f.groups, text):
			return f, fmt.Errorf("--group-by %s is there twice", text)
		}
		f.groups, f.Groups = append(f.groups, text), append(f.Groups, g)
	}
	var asked store.Figures
	for _, text := range c.Metrics {
		if text = strings.TrimSpace(text); text == "count" {
			continue // it is always there
		}
		if err := asked.Add(text, text == c.Sort); err != nil {
			return f, fmt.Errorf("--metric: %w", err)
		}
	}
	var ok bool
	if f.Order, ok = asked.Order(c.Sort); !ok {
		return f, fmt.Errorf("--sort %s: groups are ordered by one of the metrics, or by count", c.Sort)
	}
	f.Metrics, f.metrics = asked.Metrics, []metric{{store.Figure{Name: "count"}, true}}
	for _, figure := range asked.List {
		if unit, ok := units[figure.Kind]; ok {
			figure.Unit = unit
		}
		f.metrics = append(f.metrics, metric{figure, false})
	}
	return f, nil
}

// of returns the value of a metric, NaN when there is none.
func (m *metric) of(t *store.Totals) float64 {
	if m.count {
		return float64(t.Count)
	}
	return m.Of(t)
}

// showFigures asks for figures, and shows them.
func (a *asking) showFigures(ctx context.Context, t target) error {
	a.figures.Scope = a.scope
	table, err := a.reader.Aggregate(ctx, &a.figures.Aggregate)
	switch {
	case errors.Is(err, store.ErrLimit) && a.figures.Interval > 0 && !strings.Contains(err.Error(), "interval"):
		return fmt.Errorf("%w; a longer --interval may help", err)
	case err != nil:
		return err
	}
	if table.Total.Count == 0 {
		return a.explainNothing(ctx)
	}
	g := a.figures.grid(table, t.location)
	if _, err := t.w.Write(a.answer.figures(g, nil, t)); err != nil {
		return err
	}
	if table.OtherGroups > 0 && g.feet > 0 && (a.answer.name != "table") {
		fmt.Fprintf(a.stderr, "culprit: %s with %s aren't shown: --limit 0 shows all\n", plural(uint64(table.OtherGroups), "other group"), plural(uint64(table.Other.Count), "exchange"))
	}
	return nil
}

// grid lays figures out: a row for each group, or for each time bucket of each group, then the others, then the
// total.
func (f *figures) grid(t *store.Table, zone *time.Location) *grid {
	g := &grid{}
	type row struct {
		group int // -1: the others, -2: all
		start int64
		*store.Totals
	}
	var rows []row
	if f.Interval > 0 {
		for i := range t.Rows {
			r := &t.Rows[i]
			rows = append(rows, row{r.Group, r.Start, &r.Totals})
		}
	} else if len(f.groups) > 0 {
		for i := range t.Groups {
			rows = append(rows, row{i, 0, &t.Groups[i].Totals})
		}
	}
	if t.OtherGroups > 0 {
		rows = append(rows, row{-1, 0, &t.Other})
		g.feet++
	}
	if len(rows) > 0 {
		g.feet++
	}
	rows = append(rows, row{-2, 0, &t.Total})
	g.rows = len(rows)

	foot := func(r *row) value {
		if r.group == -1 {
			return value{text: "other (" + plural(uint64(t.OtherGroups), "group") + ")", raw: "other", label: true}
		}
		return value{text: "total", label: true}
	}
	for i, name := range f.groups {
		c := gridColumn{name: name, min: minText, quotes: isStatement(f.Groups[i].Field)}
		for k := range rows {
			r := &rows[k]
			switch {
			case r.group >= 0:
				c.values = append(c.values, keyValue(&t.Groups[r.group].Keys[i], &f.Groups[i]))
			case i == 0:
				c.values = append(c.values, foot(r))
				c.min = max(c.min, len(foot(r).text))
			default:
				c.values = append(c.values, value{label: true})
			}
		}
		g.columns = append(g.columns, c)
	}
	if f.Interval > 0 {
		c := gridColumn{name: "time"}
		layout := "2006-01-02 15:04:05"
		if f.Interval%int64(time.Second) != 0 {
			layout += ".000"
		}
		for k := range rows {
			switch r := &rows[k]; {
			case r.group >= 0:
				at := time.Unix(0, r.start)
				c.values = append(c.values, value{text: at.In(zone).Format(layout), raw: at.UTC().Format(time.RFC3339Nano)})
			case len(f.groups) == 0:
				c.values = append(c.values, foot(r))
			default:
				c.values = append(c.values, value{label: true})
			}
		}
		g.columns = append(g.columns, c)
	}
	for i := range f.metrics {
		m := &f.metrics[i]
		c := gridColumn{name: m.Name, unit: m.Unit, numeric: true, grouped: true}
		for k := range rows {
			c.values = append(c.values, numberValue(m.of(rows[k].Totals)))
		}
		g.columns = append(g.columns, c)
	}
	return g
}
