package web

import (
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

// metrics are what is asked for.
type metrics struct {
	store.Figures
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
	for _, name := range names {
		if name == "count" {
			continue // it is always there
		}
		if err := m.Add(name, name == sort); err != nil {
			return m, problems.parameter.about("metric", "%v", err)
		}
	}
	var ok bool
	if m.order, ok = m.Order(sort); !ok {
		return m, problems.parameter.about("sort", "%s is none of the metrics; sort by count or by one that metric names", clip(sort))
	}
	return m, nil
}

// values are the metrics by their names.
func (m *metrics) values(t *store.Totals) map[string]number {
	all := make(map[string]number, len(m.List))
	for i := range m.List {
		all[m.List[i].Name] = number(m.List[i].Of(t))
	}
	return all
}

// described says what the metrics are.
func (m *metrics) described() []metricInfo {
	all := make([]metricInfo, len(m.List))
	for i := range all {
		all[i] = metricInfo{m.List[i].Name, m.List[i].Unit}
	}
	return all
}

type metricInfo struct {
	Name string `json:"name"`
	Unit string `json:"unit,omitempty"`
}

// groups reads the parameter group: fields, or class(status), magnitude(duration), network(client).
func (p *params) groups(most int) (all []store.Group, err error) {
	for _, name := range p.list("group") {
		if len(all) == most {
			return nil, problems.parameter.about("group", "names more than %d fields", most)
		}
		g, err := store.ParseGroup(name)
		if err != nil {
			return nil, problems.parameter.about("group", "%v", err)
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
