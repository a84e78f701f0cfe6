package remote

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/elastic"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/query"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// pageSize is how many whole documents are asked for at once.
const pageSize = 1000

// sortTypes are the types of fields by which exchanges can be sorted, for days that have none with the field.
var sortTypes = map[exchange.ValueKind]string{
	exchange.Text: "keyword", exchange.Int: "long", exchange.Duration: "long", exchange.Float: "double", exchange.Time: "date_nanos",
}

// Search implements store.Reader. Texts are sorted as documents show them.
func (s *Store) Search(ctx context.Context, q *store.Search, found func(x *exchange.Exchange) error) (*store.Page, error) {
	by := q.Sort
	if by == nil {
		by = record.Columns[record.Time].Field
	}
	kind, sortable := sortTypes[by.Kind]
	switch {
	case q.Limit < 1 || q.Limit > store.MaxLimit:
		return nil, fmt.Errorf("the limit is %d; it can be from 1 to %d", q.Limit, store.MaxLimit)
	case !sortable:
		return nil, fmt.Errorf("%s has no order", by.Name)
	}
	r := s.begin(ctx, &q.Scope)
	l, err := r.fields()
	if err != nil {
		return nil, err
	}
	if by.Type == dateType {
		kind = dateType
	}
	as := l.as[by.Name]
	defer func() { r.unpin() }()
	if !as.exact {
		if err := r.pin(); err != nil {
			return nil, err
		}
		return r.searchHere(q, found)
	}
	var after *cursor
	if q.After != "" {
		if after, err = readCursor(q.After, by, q.Ascending); err != nil {
			return nil, err
		}
	}
	selected, err := r.selects(&q.Scope)
	if err != nil {
		return nil, err
	}
	p := &pager{run: r, selection: selected}
	columns := record.Needs(q.Fields)
	if columns != nil && !selected.exact {
		columns = record.Needs(append(slices.Clone(q.Fields), selected.fields...))
	}
	if p.in, err = r.reader(columns, false); err != nil {
		return nil, err
	}
	direction := "desc"
	if q.Ascending {
		direction = "asc"
	}
	p.body = object{
		"query": selected.most, "track_total_hits": false,
		"sort": []object{
			{as.name: object{"order": direction, "missing": "_last", "unmapped_type": kind}},
			{"event.id": object{"order": "asc", "unmapped_type": "keyword"}},
		},
	}
	p.in.ask(p.body)
	p.size = pageSize
	if p.in.values != nil {
		p.size = fetchSize
	}
	if after != nil {
		p.body["search_after"] = after.Sort
	}
	if q.Limit > p.size {
		if err := r.pin(); err != nil {
			return nil, err
		}
	}
	last, err := p.pages(q.Limit, found)
	if err != nil {
		return nil, err
	}
	page := &store.Page{}
	if last != nil {
		page.Next = (&cursor{by.Name, q.Ascending, last}).String()
	}
	page.Cost = r.cost()
	return page, nil
}

// growth is how many times more, or fewer, exchanges are asked for than before.
const growth = 4

// pager finds exchanges in the order of a search.
type pager struct {
	*run
	*selection
	in   *reader
	body object
	size int
}

// pages calls found for the first exchanges, and returns where the last one stands if there may be more.
func (p *pager) pages(limit int, found func(x *exchange.Exchange) error) (last []json.RawMessage, err error) {
	// Where some of what is found is left out, more is asked for each time.
	next := limit
	if !p.exact {
		next *= growth
	}
	for n := 0; ; {
		size := min(next, p.size)
		if p.exact {
			size = min(size, limit-n)
		}
		p.body["size"] = size
		f, err := p.search(p.body)
		if errors.Is(err, elastic.ErrLongAnswer) && size > 1 {
			p.size = max(size/growth, 1)
			continue
		}
		if err != nil {
			return nil, err
		}
		next = min(next*growth, store.MaxLimit)
		hits := f.Hits.Hits
		p.rows += int64(len(hits))
		for i := range hits {
			row, ok := p.in.row(&hits[i])
			if !ok {
				continue
			}
			x := p.in.maker.Exchange(row)
			if !p.exact && !p.wanted(x) {
				continue
			}
			if err := found(x); err != nil {
				return nil, err
			}
			if n++; n == limit {
				return hits[i].Sort[:min(2, len(hits[i].Sort))], nil
			}
		}
		if len(hits) < size {
			return nil, nil
		}
		p.body["search_after"] = hits[len(hits)-1].Sort
	}
}

// cursor is where a page ended.
type cursor struct {
	Field     string            `json:"f"`
	Ascending bool              `json:"a"`
	Sort      []json.RawMessage `json:"s"`
}

// maxCursor is how long a cursor may be: Lucene's longest text in base64, and some.
const maxCursor = (32<<10 + 512) * 4 / 3

func (c *cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// readCursor reads a cursor, which may be anything.
func readCursor(text string, by *exchange.Field, ascending bool) (*cursor, error) {
	var c cursor
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(text) > maxCursor || json.Unmarshal(b, &c) != nil || len(c.Sort) != 2 {
		return nil, fmt.Errorf("the cursor is damaged: %w", store.ErrCursor)
	}
	if c.Field != by.Name || c.Ascending != ascending {
		return nil, fmt.Errorf("the cursor is of a search with another order: %w", store.ErrCursor)
	}
	var id, value string
	var number int64
	valid := false
	if json.Unmarshal(c.Sort[1], &id) == nil {
		_, valid = exchange.ParseID(id)
	}
	if by.Kind == exchange.Text {
		err = json.Unmarshal(c.Sort[0], &value)
	} else {
		err = json.Unmarshal(c.Sort[0], &number)
	}
	if err != nil || !valid {
		return nil, fmt.Errorf("the cursor is damaged: %w", store.ErrCursor)
	}
	return &c, nil
}

// searchHere answers a search whose order the cluster doesn't know.
func (r *run) searchHere(q *store.Search, found func(x *exchange.Exchange) error) (*store.Page, error) {
	columns := record.Needs(q.Fields)
	if columns != nil {
		columns = record.Needs(append(slices.Clone(q.Fields), q.Sort))
	}
	part, err := r.fold(&q.Scope, columns)
	if err != nil {
		return nil, err
	}
	here := *q
	here.Scope = store.Scope{}
	page, err := query.Search(r.ctx, []vector.Part{part}, &here, r.local(), found)
	if err == nil {
		page.Cost = r.cost()
	}
	return page, err
}

// local are the limits of what is computed here.
func (r *run) local() query.Limits {
	return query.Limits{Workers: 1, Memory: r.memory, Timeout: max(r.timeout-r.spent, time.Nanosecond), Now: r.options.Now}
}

// fold fetches what a scope selects, as columns.
func (r *run) fold(q *store.Scope, columns []int) (*vector.Memory, error) {
	s, err := r.selects(q)
	if err != nil {
		return nil, err
	}
	f, err := r.search(object{"size": 0, "query": s.most, "track_total_hits": true, "aggs": object{"all": object{"filter": everything()}}})
	if err != nil {
		return nil, err
	}
	n := f.Hits.Total.Value
	var counted struct {
		Count int64 `json:"doc_count"`
	}
	if err := f.Aggregations.into("all", &counted); err != nil {
		return nil, err
	}
	if n > int64(r.options.Fetched) {
		return nil, fmt.Errorf("%w: the cluster can't compute this, and more than %d documents would have to be fetched; ask about less time, or add conditions",
			store.ErrLimit, r.options.Fetched)
	}
	r.rows += n
	read := columns
	if columns != nil && !s.exact {
		read = slices.Concat(columns, record.Needs(s.fields))
		slices.Sort(read)
		read = slices.Compact(read)
	}
	b := vector.NewBuilder()
	rows := 0
	err = r.fetch(s.most, read, counted.Count != n, func(row *record.Row, x *exchange.Exchange, weight int) error {
		if !s.exact && !s.wanted(x) {
			return nil
		}
		if rows += weight; rows > r.options.Fetched {
			return fmt.Errorf("%w: the cluster can't compute this, and more than %d exchanges would have to be counted; ask about less time, or add conditions",
				store.ErrLimit, r.options.Fetched)
		}
		for range weight {
			b.Append(row)
		}
		if b.Bytes() > r.memory {
			return fmt.Errorf("%w: what would have to be fetched takes more than %d bytes; ask about less time", store.ErrLimit, r.memory)
		}
		return nil
	})
	return b.Chunk(), err
}

// Exchange implements store.Reader.
func (s *Store) Exchange(ctx context.Context, id [exchange.IDSize]byte, found func(x *exchange.Exchange) error) error {
	r := s.begin(ctx, &store.Scope{})
	text := idText(id)
	ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	source := json.RawMessage(nil)
	if ms < maxMillis {
		var doc struct {
			Found  bool            `json:"found"`
			Source json.RawMessage `json:"_source"`
		}
		err := r.do(http.MethodGet, "/"+s.index(ms*1e6)+"/_doc/"+text, nil, &doc)
		if err != nil && statusOf(err) != http.StatusNotFound {
			return err
		}
		if err == nil && doc.Found {
			source = doc.Source
		}
	}
	if source == nil { // under the id, on another day
		f, err := r.search(object{"size": 1, "query": object{"ids": object{"values": []string{text}}}})
		if err != nil {
			return err
		}
		if len(f.Hits.Hits) == 0 {
			return store.ErrNotFound
		}
		source = f.Hits.Hits[0].Source
	}
	row, ok := newDocuments().read(text, bytes.Clone(source))
	if !ok {
		return errors.New("the document of that id isn't of an exchange")
	}
	var maker record.Maker
	return found(maker.Exchange(row))
}

// maxMillis is about the largest time that nanoseconds can tell, in milliseconds since 1970.
const maxMillis = 9_223_372_036_854
