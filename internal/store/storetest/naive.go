// Package storetest has the tests that every engine must pass (Test), the simplest possible store, which says what the
// right answers are (Naive), and exchanges and filters that are made up (Exchanges, Filters).
package storetest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
)

// Naive is a store in memory that looks at everything for each question, and knows no tricks. It is the oracle of the
// other engines: its answers are exact, percentiles and distinct values too. It must not be copied.
type Naive struct {
	mu sync.Mutex
	// all are the exchanges in the order in which they came. Questions look at what is there when they come.
	all        []stored
	known      map[string]bool // their ids
	duplicates int64
	// order returns what is compared of texts that exchanges are sorted by; nil: all of them.
	order func(text string) string
}

// stored is an exchange with the size of its row.
type stored struct {
	x     *exchange.Exchange
	id    string
	bytes int64
}

// NewNaive returns an empty store.
func NewNaive() *Naive { return &Naive{known: map[string]bool{}} }

// Append implements store.Store.
func (n *Naive) Append(b *record.Batch) (added int, err error) {
	d, err := record.NewDecoder(record.Header())
	if err != nil {
		return 0, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	err = d.Each(b.Bytes(), func(r *record.Row) error {
		id := string(r.ID())
		if n.known[id] {
			n.duplicates++
			return nil
		}
		n.known[id] = true
		var k record.Maker // what it makes is valid until its next call, of which there is none
		n.all = append(n.all, stored{k.Exchange(r), id, int64(len(b.Bytes()) / b.Len())})
		added++
		return nil
	})
	return added, err
}

// Sync implements store.Store.
func (n *Naive) Sync() error { return nil }

// Close implements store.Reader.
func (n *Naive) Close() error { return nil }

// snapshot returns what is stored now.
func (n *Naive) snapshot() []stored {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[:len(n.all):len(n.all)]
}

// Status implements store.Reader.
func (n *Naive) Status(context.Context) (*store.Status, error) {
	all := n.snapshot()
	s := &store.Status{Exchanges: int64(len(all)), Tail: int64(len(all))}
	for i, e := range all {
		if start := e.x.Start.Time; i == 0 {
			s.First, s.Last = start, start
		} else {
			s.First, s.Last = min(s.First, start), max(s.Last, start)
		}
		s.Bytes += e.bytes
	}
	n.mu.Lock()
	s.LogBytes, s.Duplicates = s.Bytes, n.duplicates
	n.mu.Unlock()
	return s, nil
}

// Delete implements store.Store.
func (n *Naive) Delete(_ context.Context, r store.Retention) (d store.Deleted, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	newest := slices.Clone(n.all)
	slices.SortStableFunc(newest, func(a, b stored) int { return compareInts(b.x.Start.Time, a.x.Start.Time) })
	var keep []stored
	size, full := int64(0), false
	for _, e := range newest {
		full = full || r.MaxBytes > 0 && size+e.bytes >= r.MaxBytes
		if full || e.x.Start.Time < r.Before {
			d.Exchanges++
			d.Bytes += e.bytes
			delete(n.known, e.id)
			continue
		}
		size += e.bytes
		keep = append(keep, e)
	}
	n.all = keep
	return d, nil
}

// Exchange implements store.Reader.
func (n *Naive) Exchange(ctx context.Context, id [exchange.IDSize]byte, found func(x *exchange.Exchange) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, e := range n.snapshot() {
		if e.id == string(exchange.AppendID(nil, id)) {
			return found(e.x)
		}
	}
	return store.ErrNotFound
}

// selected returns the exchanges that a scope selects.
func (n *Naive) selected(ctx context.Context, s *store.Scope) (all []*exchange.Exchange, stored int64, err error) {
	if s.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, s.Timeout)
		defer cancel()
		if limited.Err() != nil && ctx.Err() == nil {
			return nil, 0, fmt.Errorf("%w: %v", store.ErrLimit, s.Timeout)
		}
	}
	match := func(*exchange.Exchange) bool { return true }
	if s.Where != nil {
		f, err := filter.Parse(s.Where.String())
		if err != nil {
			return nil, 0, err
		}
		match = f.Match
	}
	snapshot := n.snapshot()
	for _, e := range snapshot {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		if s.Memory > 0 && e.bytes > s.Memory {
			return nil, 0, fmt.Errorf("%w: %d bytes", store.ErrLimit, s.Memory)
		}
		start := e.x.Start.Time
		if (s.From == 0 || s.From <= start) && (s.To == 0 || start < s.To) && match(e.x) && (s.Text == "" || hasText(e.x, s.Text)) {
			all = append(all, e.x)
		}
	}
	return all, int64(len(snapshot)), nil
}

// hasText reports whether one of the text columns contains a text, without regard to ASCII case.
func hasText(x *exchange.Exchange, text string) bool {
	return slices.ContainsFunc(record.TextColumns, func(name string) bool {
		v := valueOf(x, exchange.Lookup(name))
		return v.Kind != exchange.Absent && strings.Contains(lower(keyOf(&v).Text), lower(text))
	})
}

// place is where an exchange stands in an order: its value and its id.
type place struct {
	Absent bool    `json:",omitempty"`
	Int    int64   `json:",omitempty"`
	Float  float64 `json:",omitempty"`
	Text   []byte  `json:",omitempty"`
	ID     string
}

func placeOf(x *exchange.Exchange, by *exchange.Field, order func(text string) string) place {
	v := valueOf(x, by)
	p := place{Absent: v.Kind == exchange.Absent, Int: v.Int, ID: idOf(x)}
	p.Float = v.Float
	if v.Kind == exchange.Text {
		p.Int, p.Text = 0, textOf(&v, 0)
		if order != nil {
			p.Text = []byte(order(string(p.Text)))
		}
	}
	return p
}

func idOf(x *exchange.Exchange) string {
	return string(exchange.AppendID(nil, x.ID(x.Tap.Observer)))
}

// compare says which comes first: the smaller one if ascending, else the larger one; those without a value last; of
// equal ones, the one with the smaller id, whatever the direction.
func (p *place) compare(q *place, ascending bool) int {
	if p.Absent != q.Absent {
		if q.Absent {
			return -1
		}
		return 1
	}
	c := cmp.Or(compareInts(p.Int, q.Int), cmp.Compare(p.Float, q.Float))
	if c == 0 {
		c = bytes.Compare(p.Text, q.Text)
	}
	if !ascending {
		c = -c
	}
	if c == 0 {
		c = strings.Compare(p.ID, q.ID)
	}
	return c
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// ordered reports whether values of a kind can be sorted by.
func ordered(k exchange.ValueKind) bool {
	return k == exchange.Text || k == exchange.Int || k == exchange.Duration || k == exchange.Time || k == exchange.Float
}

// Search implements store.Reader.
func (n *Naive) Search(ctx context.Context, q *store.Search, found func(x *exchange.Exchange) error) (*store.Page, error) {
	by := q.Sort
	if by == nil {
		by = exchange.Lookup("@timestamp")
	}
	switch {
	case q.Limit < 1 || q.Limit > store.MaxLimit:
		return nil, fmt.Errorf("%d exchanges can't be searched for; from 1 to %d can", q.Limit, store.MaxLimit)
	case !ordered(by.Kind):
		return nil, fmt.Errorf("%s has no order", by.Name)
	}
	all, total, err := n.selected(ctx, &q.Scope)
	if err != nil {
		return nil, err
	}
	type result struct {
		place
		x *exchange.Exchange
	}
	var results []result
	for _, x := range all {
		results = append(results, result{placeOf(x, by, n.order), x})
	}
	slices.SortFunc(results, func(a, b result) int { return a.compare(&b.place, q.Ascending) })
	if q.After != "" {
		text, err := base64.URLEncoding.DecodeString(q.After)
		var after place
		if err != nil || json.Unmarshal(text, &after) != nil {
			return nil, store.ErrCursor
		}
		results = slices.DeleteFunc(results, func(r result) bool { return r.compare(&after, q.Ascending) <= 0 })
	}
	page := &store.Page{Cost: store.Cost{Rows: total, Stored: total}}
	if len(results) > q.Limit {
		results = results[:q.Limit]
		text, err := json.Marshal(results[q.Limit-1].place)
		if err != nil {
			return nil, err
		}
		page.Next = base64.URLEncoding.EncodeToString(text)
	}
	for i := range results {
		if err := found(results[i].x); err != nil {
			return nil, err
		}
	}
	return page, nil
}
