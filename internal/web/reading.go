package web

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

// window is which exchanges are read: the newest before of those from scope.From to split, and the oldest behind
// of those from split to scope.To. Without a split, there are only the first, up to the last that is stored.
type window struct {
	scope          store.Scope
	split          int64
	before, behind int
	border         border
}

// border is where the newest exchanges before an end begin: from that time on they are all looked at, and so are as many
// as there is room for of the nanosecond before it, by the order of their ids.
type border struct {
	from, end int64
	room      int
}

// reading reads the exchanges of windows, and counts what that takes.
type reading struct {
	s   *Server
	ctx context.Context
	// what is what is looked for, for people.
	what string

	// end is when all questions together have to be done.
	end  time.Time
	cost store.Cost
	// truncated: there were older exchanges in the window.
	truncated bool
}

func (s *Server) newReading(ctx context.Context, what string) reading {
	return reading{s: s, ctx: ctx, what: what, end: s.options.Now().Add(s.options.QueryTimeout)}
}

// choose returns the ids of the exchanges of a window that a scope selects.
func (r *reading) choose(w *window, scope *store.Scope) (map[[exchange.IDSize]byte]bool, error) {
	ids := map[[exchange.IDSize]byte]bool{}
	q := store.Search{Fields: fieldsNamed("event.id")}
	q.Where, q.Text = w.scope.Where, scope.Text
	if scope.Where != nil {
		q.Where = and(q.Where, scope.Where)
	}
	err := r.each(w, &q, func(x *exchange.Exchange) error {
		ids[x.ID(x.Tap.Observer)] = true
		return nil
	})
	return ids, err
}

// begin finds the border of a window, by counts in buckets of time, and then in buckets of the one that doesn't fit, down
// to a nanosecond. Reading the newest first would cost a look at the whole store for each page of a search.
func (r *reading) begin(w *window) error {
	q := store.Aggregate{Scope: w.scope, Order: -1}
	q.To = w.split
	if q.From <= 0 || q.To == 0 {
		status, err := r.s.options.Store.Status(r.ctx)
		if err != nil {
			return err
		}
		if q.From <= 0 {
			// Scopes have no bounds before 1970, so what is that old isn't looked at.
			q.From = max(status.First, 1)
		}
		if q.To == 0 {
			// What comes meanwhile isn't looked at.
			q.To = min(max(status.Last, q.From), math.MaxInt64-1) + 1
		}
	}
	w.border = border{end: q.To}
	for room := int64(w.before); ; {
		q.Interval = max(q.To-q.From, 0)/borderBuckets + 1
		rows, err := r.count(&q)
		if err != nil {
			return err
		}
		n := len(rows)
		for ; n > 0 && rows[n-1].Count <= room; n-- {
			room -= rows[n-1].Count
		}
		if n == 0 {
			w.border.from = q.From
			return nil
		}
		r.truncated = true
		start, end := max(rows[n-1].Start, q.From), q.To
		if rows[n-1].Start < q.To-q.Interval {
			end = rows[n-1].Start + q.Interval
		}
		if room == 0 || q.Interval == 1 {
			w.border.from, w.border.room = end, int(room)
			return nil
		}
		q.From, q.To = start, end
	}
}

// each calls found for the exchanges of a window that a search selects, in the order of time.
func (r *reading) each(w *window, q *store.Search, found func(x *exchange.Exchange) error) error {
	b := &w.border
	q.Ascending = true
	for _, part := range []struct {
		from, to int64
		limit    int
	}{
		{b.from - 1, b.from, b.room},
		// What was stored meanwhile comes on top.
		{b.from, b.end, w.before - b.room + store.MaxLimit},
		{w.split, w.scope.To, w.behind},
	} {
		if part.limit == 0 || part.from >= part.to {
			continue
		}
		q.From, q.To = part.from, part.to
		if err := r.scan(q, part.limit, found); err != nil {
			return err
		}
	}
	return nil
}

// scan calls found for the exchanges of a search, up to a limit.
func (r *reading) scan(q *store.Search, limit int, found func(x *exchange.Exchange) error) error {
	for page := *q; ; {
		size := min(limit, store.MaxLimit)
		if err := r.scanPage(&page, size, found); err != nil {
			return err
		}
		if limit -= size; limit <= 0 || page.After == "" {
			return nil
		}
	}
}

// scanPage calls found for a page of a search, and has it continue behind: After is empty when there is nothing.
func (r *reading) scanPage(q *store.Search, size int, found func(x *exchange.Exchange) error) (err error) {
	if q.Timeout, err = r.left(); err != nil {
		return err
	}
	q.Limit = size
	p, err := r.s.options.Store.Search(r.ctx, q, found)
	if err != nil {
		return err
	}
	r.spend(&p.Cost)
	q.After = p.Next
	return nil
}

// count returns how many exchanges there are in buckets of time, the oldest first; there are no empty ones.
func (r *reading) count(q *store.Aggregate) ([]store.BucketRow, error) {
	t, err := r.aggregate(q)
	if err != nil {
		return nil, err
	}
	return t.Rows, nil
}

// aggregate asks for figures, within the time that is left.
func (r *reading) aggregate(q *store.Aggregate) (t *store.Table, err error) {
	if q.Timeout, err = r.left(); err != nil {
		return nil, err
	}
	if t, err = r.s.options.Store.Aggregate(r.ctx, q); err != nil {
		return nil, err
	}
	r.spend(&t.Cost)
	return t, nil
}

// left is the time that is left for the next question.
func (r *reading) left() (time.Duration, error) {
	left := r.end.Sub(r.s.options.Now())
	if left <= 0 {
		return 0, fmt.Errorf("%w: looking for %s took all of %v", store.ErrLimit, r.what, r.s.options.QueryTimeout)
	}
	return left, nil
}

// spend adds what a question took.
func (r *reading) spend(c *store.Cost) {
	r.cost.Rows += c.Rows
	r.cost.Skipped += c.Skipped
	r.cost.Bytes += c.Bytes
	r.cost.Elapsed += c.Elapsed
	r.cost.Stored = c.Stored
}
