package remote

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
)

// selection is what a scope selects: what is between its bounds is looked at here.
type selection struct {
	bounds
	// wanted reports what is selected, where the bounds differ; fields are those that it looks at.
	wanted func(x *exchange.Exchange) bool
	fields []*exchange.Field
}

// selects makes the selection of a scope.
func (r *run) selects(q *store.Scope) (*selection, error) {
	l, err := r.fields()
	if err != nil {
		return nil, err
	}
	conditions := []bounds{exactly(within(q))}
	s := &selection{wanted: func(*exchange.Exchange) bool { return true }}
	if q.Where != nil {
		f, err := filter.Parse(q.Where.String())
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, translator{l}.node(q.Where, 1))
		s.wanted, s.fields = f.Match, f.Fields()
	}
	if q.Text != "" {
		conditions = append(conditions, translator{l}.search(q.Text))
		where := s.wanted
		s.wanted = func(x *exchange.Exchange) bool { return where(x) && hasText(x, q.Text) }
		for _, name := range record.TextColumns {
			s.fields = append(s.fields, exchange.Lookup(name))
		}
	}
	most, least := []object{}, []object{}
	s.exact = true
	for _, c := range conditions {
		most, least, s.exact = append(most, c.most), append(least, c.least), s.exact && c.exact
	}
	s.most = boolean("filter", most...)
	if s.least = s.most; !s.exact {
		s.least = boolean("filter", least...)
	}
	return s, nil
}

// within selects by time.
func within(q *store.Scope) object {
	bound := object{}
	if q.From > 0 {
		bound["gte"] = timeText(q.From)
	}
	switch {
	case q.To < 0:
		return none() // documents can't be of before 1970
	case q.To > 0:
		bound["lt"] = timeText(q.To)
	}
	if len(bound) == 0 {
		return everything()
	}
	return object{"range": object{record.Columns[record.Time].Name: bound}}
}

// search looks for a text in the fields that a search for a text looks at, as documents show them.
func (t translator) search(text string) bounds {
	pattern := object{"value": "*" + unwild(shown(text)) + "*", "case_insensitive": true}
	var all []bounds
	for _, name := range record.TextColumns {
		f := exchange.Lookup(name)
		as := t.as[f.Name]
		if f.Kind == exchange.IP {
			if as = t.as[f.Name+exactPart]; !as.exact {
				all = append(all, between(t.present(f).most, none()))
				continue
			}
			all = append(all, exactly(object{"wildcard": object{as.name: pattern}}))
			continue
		}
		all = append(all, t.ofText(f, func(as indexed) bounds { return exactly(object{"wildcard": object{as.name: pattern}}) }))
	}
	return anyOf(all)
}

// hasText is search for one exchange.
func hasText(x *exchange.Exchange, text string) bool {
	text = lower(shown(text))
	return slices.ContainsFunc(record.TextColumns, func(name string) bool {
		var v exchange.Value
		exchange.Lookup(name).Get(x, &v)
		switch {
		case v.Kind == exchange.IP:
			return strings.Contains(v.Addr.String(), text)
		case v.Kind != exchange.Text:
			return false
		case v.Text == "":
			v.Text = string(v.Bytes)
		}
		return strings.Contains(lower(shown(v.Text)), text)
	})
}

// settle returns a query that selects exactly what is selected.
func (r *run) settle(s *selection) (object, error) {
	if s.exact {
		return s.most, nil
	}
	open := without(s.most, s.least)
	n, err := r.count(open, r.options.Fetched+1)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return s.least, nil
	}
	if n > int64(r.options.Fetched) {
		return nil, fmt.Errorf("%w: the cluster can't tell which documents the filter selects, and more than %d would have to be looked at one by one; ask about less time, or add conditions that are simpler",
			store.ErrLimit, r.options.Fetched)
	}
	ids := []string{}
	if err := r.fetch(open, record.Needs(s.fields), false, func(_ *record.Row, x *exchange.Exchange, _ int) error {
		if s.wanted(x) {
			ids = append(ids, idText(x.ID("")))
		}
		return nil
	}); err != nil || len(ids) == 0 {
		return s.least, err
	}
	return either(s.least, object{"terms": object{"event.id": ids}}), nil
}

// fetchSize is how many documents are asked for at once where a few of their fields are wanted.
const fetchSize = 5000

// fetch calls each for each document that a query selects: its row, its exchange, and how often it counts. All are borrowed
// until each returns. Columns are those that are needed; nil: all. weighted: documents may count several times.
func (r *run) fetch(query object, columns []int, weighted bool, each func(row *record.Row, x *exchange.Exchange, weight int) error) error {
	in, err := r.reader(columns, weighted)
	if err != nil {
		return err
	}
	// In the order in which the cluster has them, which is many times faster than any other. A scroll keeps what was there.
	body := object{"size": fetchSize, "query": query, "sort": []string{"_doc"}}
	in.ask(body)
	var page struct {
		found
		Scroll string `json:"_scroll_id"`
	}
	defer func() {
		if page.Scroll != "" {
			r.release("/_search/scroll", object{"scroll_id": page.Scroll})
		}
	}()
	err = r.again(func() error {
		return r.do(http.MethodPost, "/"+r.prefix+"*/_search"+failing+"&scroll="+keepMoment, body, &page)
	})
	for ; err == nil; err = r.do(http.MethodPost, "/_search/scroll", object{"scroll": keepMoment, "scroll_id": page.Scroll}, &page) {
		hits := page.Hits.Hits
		if r.fetched += len(hits); r.fetched > 2*r.options.Fetched {
			return fmt.Errorf("%w: more than %d documents would have to be looked at one by one; ask about less time, or add conditions",
				store.ErrLimit, r.options.Fetched)
		}
		for i := range hits {
			row, ok := in.row(&hits[i])
			if !ok {
				continue
			}
			if err := each(row, in.maker.Exchange(row), in.d.weight); err != nil {
				return err
			}
		}
		if len(hits) == 0 {
			return nil
		}
		page.Hits.Hits = nil // what Unmarshal would write over
	}
	return err
}

// reader reads the columns of documents that are needed.
type reader struct {
	d     *documents
	maker record.Maker
	// columns are those that are asked for, nil: all; values are the same where the cluster has them as columns, too, which is
	// faster than reading them out of documents.
	columns []int
	values  map[string]int
}

// maxValues is how many columns a cluster gives (index.max_docvalue_fields_search).
const maxValues = 100

// reader returns a reader of columns. weighted: how often a document counts is wanted.
func (r *run) reader(columns []int, weighted bool) (*reader, error) {
	l, err := r.fields()
	if err != nil {
		return nil, err
	}
	in := &reader{d: newDocuments(), columns: columns}
	in.maker.Only(columns)
	if columns == nil || weighted || l.ignored || len(columns) > maxValues {
		return in, nil
	}
	values := map[string]int{}
	for _, col := range columns {
		c := &record.Columns[col]
		if col == record.ID {
			continue // documents are under their ids
		}
		if c.Field == nil || c.Form == record.Headers || c.Form == record.Lists || !l.as[c.Name].exact {
			return in, nil // columns don't tell the order of lists
		}
		values[l.as[c.Name].name] = col
	}
	in.values = values
	return in, nil
}

// ask adds what is wanted to a search.
func (in *reader) ask(body object) {
	if in.values != nil {
		var values []any
		for _, name := range slices.Sorted(maps.Keys(in.values)) {
			if record.Columns[in.values[name]].Kind == exchange.Time {
				values = append(values, object{"field": name, "format": "strict_date_optional_time_nanos"})
			} else {
				values = append(values, name)
			}
		}
		body["_source"], body["docvalue_fields"] = false, values
		return
	}
	body["_source"] = true
	if in.columns == nil || slices.ContainsFunc(in.columns, func(col int) bool { return record.Columns[col].Form == record.Headers }) {
		return // a cluster takes longer to choose among so much than to send it
	}
	names := []string{weightField}
	for _, col := range in.columns {
		names = append(names, record.Columns[col].Name)
	}
	body["_source"] = names
}

// row returns the row of a document that was found.
func (in *reader) row(h *hit) (*record.Row, bool) {
	if in.values != nil {
		return in.d.readValues(h.ID, h.Fields, in.values)
	}
	return in.d.read(h.ID, h.Source)
}
