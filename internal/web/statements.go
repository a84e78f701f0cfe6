package web

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
)

const (
	// DefaultStatements is how many rows a list of statements has, unless told, and MaxStatements how many it may have: each
	// may cost three searches.
	DefaultStatements, MaxStatements = 50, 500
	// defaultBy is what statements are listed by unless told, and defaultSort the column that orders them.
	defaultBy, defaultSort = "db.query.summary", "total_time"
)

// listing is a list of statements, or of names: what has the same value of a field is one row.
type listing struct {
	by string
	// apart are the fields that tell rows with the same value apart, or that are the same for it anyway.
	apart []string
	// rows and bytes are the fields of what came back.
	rows, bytes string
}

// listings are the lists that there are.
var listings = [...]listing{
	{defaultBy, []string{"db.system.name", "db.namespace", "db.operation.name"}, "db.response.returned_rows", "culprit.db.returned_bytes"},
	{"db.collection.name", []string{"db.system.name", "db.namespace"}, "db.response.returned_rows", "culprit.db.returned_bytes"},
	{"db.operation.name", []string{"db.system.name", "db.namespace"}, "db.response.returned_rows", "culprit.db.returned_bytes"},
	{"dns.question.name", []string{"dns.question.type", "network.protocol"}, "dns.answers_count", "server.bytes"},
}

// figure is a column of a list. In its metric, ROWS and BYTES stand for the fields of the list.
type figure struct {
	name, metric string
	value        func(r *figures) *number
}

// figures are the numbers of a row. Times are nanoseconds, of statements that were answered; rows are records of DNS answers, too.
type figures struct {
	Count     int64  `json:"count"`
	Rate      number `json:"rate"`
	Errors    number `json:"errors"`
	ErrorRate number `json:"error_rate"`
	P50       number `json:"p50"`
	P95       number `json:"p95"`
	P99       number `json:"p99"`
	Max       number `json:"max"`
	// TotalTime is the sum of the durations, Share which part that is of all that the list is about.
	TotalTime number `json:"total_time"`
	Share     number `json:"share"`
	Rows      number `json:"rows"`
	RowsMean  number `json:"rows_mean"`
	RowsMax   number `json:"rows_max"`
	Bytes     number `json:"bytes"`
}

// columns are the columns by which lists can be sorted, besides the count.
var columns = [...]figure{
	{"rate", "rate", func(r *figures) *number { return &r.Rate }},
	{"errors", "errors", func(r *figures) *number { return &r.Errors }},
	{"error_rate", "error_rate", func(r *figures) *number { return &r.ErrorRate }},
	{"p50", "p50(event.duration)", func(r *figures) *number { return &r.P50 }},
	{"p95", "p95(event.duration)", func(r *figures) *number { return &r.P95 }},
	{"p99", "p99(event.duration)", func(r *figures) *number { return &r.P99 }},
	{"max", "max(event.duration)", func(r *figures) *number { return &r.Max }},
	{defaultSort, "sum(event.duration)", func(r *figures) *number { return &r.TotalTime }},
	{"rows", "sum(ROWS)", func(r *figures) *number { return &r.Rows }},
	{"rows_mean", "mean(ROWS)", func(r *figures) *number { return &r.RowsMean }},
	{"rows_max", "max(ROWS)", func(r *figures) *number { return &r.RowsMax }},
	{"bytes", "sum(BYTES)", func(r *figures) *number { return &r.Bytes }},
}

// statementRow is the JSON of one row.
type statementRow struct {
	// Key is the value that the list is by. System to Protocol are null where they aren't part of the list, or not known.
	Key       key `json:"key"`
	System    key `json:"system"`
	Database  key `json:"database"`
	Operation key `json:"operation"`
	Type      key `json:"type"`
	Protocol  key `json:"protocol"`
	figures
	// First and Last are when the first and the last began, Slowest is the id of the one that took longest; null where there
	// was no time left to look for them, or the filter for them would be too long.
	First   *stamp `json:"first"`
	Last    *stamp `json:"last"`
	Slowest *text  `json:"slowest"`
	// Where is the filter for it, without what was asked; empty when that would be too long.
	Where string `json:"where"`
}

// member gives the place of a field's value.
func (r *statementRow) member(field string) *key {
	switch field {
	case "db.system.name":
		return &r.System
	case "db.namespace":
		return &r.Database
	case "db.operation.name":
		return &r.Operation
	case "dns.question.type":
		return &r.Type
	}
	return &r.Protocol
}

// statements answers with a list of statements or names, those first that took most time together.
func (s *Server) statements(c *call) error {
	scope, err := c.scope(s.options.QueryTimeout)
	if err != nil {
		return err
	}
	l, err := c.listing()
	if err != nil {
		return err
	}
	limit, err := c.number("limit", DefaultStatements, 1, MaxStatements)
	if err != nil {
		return err
	}
	sort := c.values.Get("sort")
	if sort == "" {
		sort = defaultSort
	}
	q := store.Aggregate{Scope: scope, Limit: limit}
	m, err := l.metrics(sort)
	if err != nil {
		return err
	}
	q.Metrics, q.Order = m.Metrics, m.order
	for _, name := range append([]string{l.by}, l.apart...) {
		q.Groups = append(q.Groups, store.Group{Field: exchange.Lookup(name)})
	}

	r := s.newReading(c.Context(), "statements")
	of := and(scope.Where, &filter.Has{Operand: filter.Operand{Field: exchange.Lookup(l.by)}})
	waiting := &filter.True{Operand: filter.Operand{Field: exchange.Lookup("culprit.stream")}}
	q.Where = and(of, &filter.Not{Node: waiting})
	t, err := r.aggregate(&q)
	if err != nil {
		return err
	}
	answer := struct {
		By   string         `json:"by"`
		Sort string         `json:"sort"`
		Rows []statementRow `json:"rows"`
		// Other are the rows beyond the limit.
		Other struct {
			Groups int64 `json:"groups"`
			figures
		} `json:"other"`
		Total figures `json:"total"`
		// Waiting are those left out since they wait for an event, such as BLPOP, and what was pushed.
		Waiting int64 `json:"waiting"`
		Cost    cost  `json:"cost"`
	}{By: l.by, Sort: sort, Rows: make([]statementRow, len(t.Groups))}
	answer.Total = m.figures(&t.Total, nil)
	answer.Other.Groups, answer.Other.figures = t.OtherGroups, m.figures(&t.Other, &answer.Total)
	for i := range t.Groups {
		row := &answer.Rows[i]
		keys := t.Groups[i].Keys
		row.Key, row.figures = key(keys[0]), m.figures(&t.Groups[i].Totals, &answer.Total)
		var parts []string
		for k := range keys {
			if k > 0 {
				*row.member(q.Groups[k].Field.Name) = key(keys[k])
			}
			parts = append(parts, valueOf(q.Groups[k], keys[k]).where)
		}
		if !slices.Contains(parts, "") {
			row.Where = parsed(strings.Join(parts, " and "))
		}
	}
	waits, err := r.aggregate(&store.Aggregate{Scope: narrowed(scope, and(of, waiting)), Order: -1})
	if err != nil {
		return err
	}
	answer.Waiting = waits.Total.Count
	if err := r.details(answer.Rows, t.Groups, &q); err != nil && (c.Context().Err() != nil || !errors.Is(err, store.ErrLimit)) {
		return err
	}
	answer.Cost = costOf(r.cost)
	return c.json(&answer)
}

// listing gives the list that the parameter by names.
func (p *params) listing() (*listing, error) {
	f, err := p.field("by", defaultBy)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range listings {
		if listings[i].by == f.Name {
			return &listings[i], nil
		}
		names = append(names, listings[i].by)
	}
	return nil, problems.parameter.about("by", "there is no list by %s; there are those by %s", f.Name, strings.Join(names, ", "))
}

// listed are the metrics of a list.
type listed struct {
	metrics
	columns [len(columns)]store.Figure
}

// metrics are what a list needs of the store, ordered by a column.
func (l *listing) metrics(sort string) (m listed, err error) {
	fields := strings.NewReplacer("ROWS", l.rows, "BYTES", l.bytes)
	names := []string{"count"}
	order := sort
	for i := range columns {
		text := fields.Replace(columns[i].metric)
		if columns[i].name == sort {
			order = text
		}
		if err := m.Add(text, columns[i].name == sort); err != nil {
			return m, err
		}
		m.columns[i] = m.List[len(m.List)-1]
		names = append(names, columns[i].name)
	}
	if !slices.Contains(names, sort) {
		return m, problems.parameter.about("sort", "there is no column %s; sort by %s", clip(sort), strings.Join(names, ", "))
	}
	m.order, _ = m.Order(order)
	return m, nil
}

// figures are the numbers of a row. all are those of everything, nil: these are.
func (m *listed) figures(t *store.Totals, all *figures) figures {
	r := figures{Count: t.Count}
	for i := range columns {
		*columns[i].value(&r) = number(m.columns[i].Of(t))
	}
	if all == nil {
		all = &r
	}
	if r.Share = none; all.TotalTime > 0 {
		r.Share = r.TotalTime / all.TotalTime
	}
	return r
}

// narrowed is a scope with another condition.
func narrowed(s store.Scope, where filter.Node) store.Scope {
	s.Where = where
	return s
}

// keyed is a condition with that of being in a group.
func keyed(where filter.Node, groups []store.Group, keys []store.Key) filter.Node {
	for i := range groups {
		of := filter.Operand{Field: groups[i].Field}
		if keys[i].Kind == exchange.Absent {
			where = and(where, &filter.Not{Node: &filter.Has{Operand: of}})
			continue
		}
		where = and(where, &filter.Compare{Operand: of, Value: filter.Constant{Kind: exchange.Text, Text: keys[i].Text}})
	}
	return where
}

// Of so many exchanges, the first, the last and the slowest of all, what is needed of most rows is found at once.
const atOnce = 2_000

// edges are the details of a row: the exchange that comes first in an order.
var edges = [...]struct {
	sort      string
	ascending bool
	known     func(row *statementRow) bool
	set       func(row *statementRow, x *exchange.Exchange)
}{
	{"event.duration", false, func(row *statementRow) bool { return row.Slowest != nil }, func(row *statementRow, x *exchange.Exchange) {
		id := idText(x.ID(x.Tap.Observer))
		row.Slowest = &id
	}},
	{"@timestamp", true, func(row *statementRow) bool { return row.First != nil }, func(row *statementRow, x *exchange.Exchange) {
		at := stamp(x.Start.Time)
		row.First = &at
	}},
	{"@timestamp", false, func(row *statementRow) bool { return row.Last != nil }, func(row *statementRow, x *exchange.Exchange) {
		at := stamp(x.Start.Time)
		row.Last = &at
	}},
}

// details looks for the first, the last and the slowest of each row.
func (r *reading) details(rows []statementRow, groups []store.GroupRow, q *store.Aggregate) error {
	index := make(map[string]int, len(rows))
	fields := fieldsNamed("event.id", "observer.hostname")
	for _, g := range q.Groups {
		fields = append(fields, g.Field)
	}
	for i := range groups {
		var name []byte
		for _, k := range groups[i].Keys {
			name = appendMember(name, k.Kind != exchange.Absent, []byte(k.Text))
		}
		index[string(name)] = i
	}
	for _, edge := range edges {
		search := store.Search{Scope: q.Scope, Fields: fields, Sort: exchange.Lookup(edge.sort), Ascending: edge.ascending}
		var name []byte
		var v exchange.Value
		if err := r.scanPage(&search, atOnce, func(x *exchange.Exchange) error {
			name = name[:0]
			for _, g := range q.Groups {
				v.Kind, v.Text, v.Bytes = exchange.Absent, "", nil
				g.Field.Get(x, &v)
				text := v.Bytes
				if v.Text != "" {
					text = []byte(v.Text)
				}
				name = appendMember(name, v.Kind != exchange.Absent, text)
			}
			if i, ok := index[string(name)]; ok && !edge.known(&rows[i]) {
				edge.set(&rows[i], x)
			}
			return nil
		}); err != nil {
			return err
		}
		for i := range rows {
			row := &rows[i]
			of := keyed(q.Where, q.Groups, groups[i].Keys)
			if edge.known(row) || parsed(of.String()) == "" { // which is too long for stores as well
				continue
			}
			search.Scope, search.Fields, search.After = narrowed(q.Scope, of), fields[:2], ""
			if err := r.scanPage(&search, 1, func(x *exchange.Exchange) error {
				edge.set(row, x)
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendMember appends one of the values that make a row, so that no others read alike.
func appendMember(dst []byte, present bool, text []byte) []byte {
	if !present {
		return append(dst, '-')
	}
	dst = strconv.AppendInt(dst, int64(len(text)), 10)
	return append(append(dst, ':'), text...)
}
