package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
)

func openNaive(testing.TB) store.Store                      { return NewNaive() }
func reopenNaive(_ testing.TB, old store.Store) store.Store { return old }

func TestNaive(t *testing.T) { Test(t, openNaive, reopenNaive) }

// broken is a store with one fault: what is set replaces what Naive does.
type broken struct {
	*Naive
	append    func(n *Naive, b *record.Batch) (int, error)
	search    func(n *Naive, q store.Search, found func(*exchange.Exchange) error) (*store.Page, error)
	aggregate func(n *Naive, q store.Aggregate) (*store.Table, error)
	exchange  func(n *Naive, id [exchange.IDSize]byte, found func(*exchange.Exchange) error) error
	status    func(s *store.Status)
	delete    func(n *Naive, r store.Retention) (store.Deleted, error)
	deaf      bool // to contexts
}

func (b *broken) Append(batch *record.Batch) (int, error) {
	if b.append != nil {
		return b.append(b.Naive, batch)
	}
	return b.Naive.Append(batch)
}

func (b *broken) Search(ctx context.Context, q *store.Search, found func(*exchange.Exchange) error) (*store.Page, error) {
	if b.deaf {
		ctx = context.Background()
	}
	if b.search != nil {
		return b.search(b.Naive, *q, found)
	}
	return b.Naive.Search(ctx, q, found)
}

func (b *broken) Aggregate(ctx context.Context, q *store.Aggregate) (*store.Table, error) {
	if b.deaf {
		ctx = context.Background()
	}
	if b.aggregate != nil {
		return b.aggregate(b.Naive, *q)
	}
	return b.Naive.Aggregate(ctx, q)
}

func (b *broken) Exchange(ctx context.Context, id [exchange.IDSize]byte, found func(*exchange.Exchange) error) error {
	if b.exchange != nil {
		return b.exchange(b.Naive, id, found)
	}
	return b.Naive.Exchange(ctx, id, found)
}

func (b *broken) Status(ctx context.Context) (*store.Status, error) {
	s, err := b.Naive.Status(ctx)
	if b.status != nil {
		b.status(s)
	}
	return s, err
}

func (b *broken) Delete(ctx context.Context, r store.Retention) (store.Deleted, error) {
	if b.delete != nil {
		return b.delete(b.Naive, r)
	}
	return b.Naive.Delete(ctx, r)
}

// faultySearch changes the question, and what is found.
func faultySearch(question func(q *store.Search), found func(all []*exchange.Exchange) []*exchange.Exchange) broken {
	return broken{search: func(n *Naive, q store.Search, f func(*exchange.Exchange) error) (*store.Page, error) {
		question(&q)
		var all []*exchange.Exchange
		page, err := n.Search(context.Background(), &q, func(x *exchange.Exchange) error { all = append(all, x); return nil })
		if err != nil {
			return nil, err
		}
		for _, x := range found(all) {
			if err := f(x); err != nil {
				return nil, err
			}
		}
		return page, nil
	}}
}

func faultyTable(change func(q *store.Aggregate, t *store.Table)) broken {
	return broken{aggregate: func(n *Naive, q store.Aggregate) (*store.Table, error) {
		t, err := n.Aggregate(context.Background(), &q)
		if err == nil {
			change(&q, t)
		}
		return t, err
	}}
}

func asAsked(*store.Search)                                 {}
func asFound(all []*exchange.Exchange) []*exchange.Exchange { return all }

// faults are engines that are wrong in one way, and the case that must notice.
var faults = map[string]struct {
	noticed string
	store   broken
}{
	"drops an exchange": {"Append", faultySearch(asAsked, func(all []*exchange.Exchange) []*exchange.Exchange { return all[:max(len(all)-1, 0)] })},
	"finds one twice": {"Append", faultySearch(asAsked, func(all []*exchange.Exchange) []*exchange.Exchange {
		return append(all, all[max(len(all)-1, 0):]...)
	})},
	"swaps two": {"Sort", faultySearch(asAsked, func(all []*exchange.Exchange) []*exchange.Exchange {
		if len(all) > 1 {
			all[0], all[1] = all[1], all[0]
		}
		return all
	})},
	"sorts the other way": {"Sort", faultySearch(func(q *store.Search) { q.Ascending = !q.Ascending }, asFound)},
	"sorts by time only":  {"Sort", faultySearch(func(q *store.Search) { q.Sort = nil }, asFound)},
	"takes From as exclusive": {"Scopes", faultySearch(func(q *store.Search) {
		if q.From != 0 {
			q.From++
		}
	}, asFound)},
	"takes To as inclusive": {"Scopes", faultySearch(func(q *store.Search) {
		if q.To != 0 {
			q.To++
		}
	}, asFound)},
	"ignores filters":       {"Filters", faultySearch(func(q *store.Search) { q.Where = nil }, asFound)},
	"ignores the text":      {"Scopes", faultySearch(func(q *store.Search) { q.Text = "" }, asFound)},
	"finds one too many":    {"Pages", faultySearch(func(q *store.Search) { q.Limit = min(q.Limit+1, store.MaxLimit) }, asFound)},
	"begins all pages anew": {"Pages", faultySearch(func(q *store.Search) { q.After = "" }, asFound)},
	"has one page": {"Pages", broken{search: func(n *Naive, q store.Search, f func(*exchange.Exchange) error) (*store.Page, error) {
		_, err := n.Search(context.Background(), &q, f)
		return &store.Page{}, err
	}}},
	"shifts pages":                 {"PagesWhileAppending", broken{search: offsets}},
	"looks at cancelled questions": {"Stopped", broken{deaf: true}},
	"loses the error of found": {"Stopped", broken{search: func(n *Naive, q store.Search, f func(*exchange.Exchange) error) (*store.Page, error) {
		return n.Search(context.Background(), &q, func(x *exchange.Exchange) error { _ = f(x); return nil })
	}}},
	"ignores limits":     {"Limits", faultySearch(func(q *store.Search) { q.Timeout, q.Memory = 0, 0 }, asFound)},
	"takes any question": {"Refused", broken{aggregate: func(*Naive, store.Aggregate) (*store.Table, error) { return &store.Table{}, nil }}},
	"changes the case of headers": {"Append", faultySearch(asAsked, func(all []*exchange.Exchange) []*exchange.Exchange {
		for i, x := range all {
			changed := &exchange.Exchange{Flow: x.Flow, Tap: x.Tap, KnownID: x.KnownID, Start: x.Start, Protocol: x.Protocol}
			all[i] = changed
		}
		return all
	})},
	"stores duplicates": {"Append", broken{append: func(n *Naive, b *record.Batch) (int, error) {
		_, err := n.Append(b)
		return b.Len(), err
	}}},
	"loses what it has": {"Reopen", broken{append: func(n *Naive, b *record.Batch) (int, error) {
		if len(n.all) >= amount {
			return b.Len(), nil
		}
		return n.Append(b)
	}}},
	"finds what isn't there": {"Append", broken{exchange: func(n *Naive, id [exchange.IDSize]byte, f func(*exchange.Exchange) error) error {
		if err := n.Exchange(context.Background(), id, f); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	}}},
	"counts one too many": {"Append", broken{status: func(s *store.Status) { s.Exchanges++ }}},
	"keeps too much": {"DeleteByAge", broken{delete: func(n *Naive, r store.Retention) (store.Deleted, error) {
		r.Before--
		return n.Delete(context.Background(), store.Retention{Before: r.Before - Span/100, MaxBytes: r.MaxBytes})
	}}},
	"deletes the newest": {"DeleteBySize", broken{delete: func(n *Naive, r store.Retention) (d store.Deleted, err error) {
		for i := range len(n.all) / 2 {
			d.Bytes += n.all[len(n.all)-1-i].bytes
			d.Exchanges++
		}
		n.all = n.all[:len(n.all)-len(n.all)/2]
		return d, nil
	}}},
	"has seen nothing yet": {"Concurrent", broken{aggregate: func(*Naive, store.Aggregate) (*store.Table, error) { return &store.Table{}, nil }}},

	"miscounts a group": {"Aggregates", faultyTable(func(_ *store.Aggregate, t *store.Table) {
		for i := range t.Groups {
			t.Groups[i].Count++
		}
	})},
	"loses the last group": {"Aggregates", faultyTable(func(_ *store.Aggregate, t *store.Table) { t.Groups = t.Groups[:max(len(t.Groups)-1, 0)] })},
	"misorders groups": {"Aggregates", faultyTable(func(q *store.Aggregate, t *store.Table) {
		if q.Interval == 0 {
			slices.Reverse(t.Groups)
		}
	})},
	"misorders buckets": {"Aggregates", faultyTable(func(_ *store.Aggregate, t *store.Table) { slices.Reverse(t.Rows) })},
	"shifts buckets": {"Aggregates", faultyTable(func(_ *store.Aggregate, t *store.Table) {
		for i := range t.Rows {
			t.Rows[i].Start++
		}
	})},
	"forgets the others":   {"Aggregates", faultyTable(func(_ *store.Aggregate, t *store.Table) { t.OtherGroups = 0 })},
	"forgets their totals": {"Aggregates", faultyTable(func(_ *store.Aggregate, t *store.Table) { t.Other = store.Totals{} })},
	"is 2 % off": {"Aggregates", faultyTable(func(_ *store.Aggregate, t *store.Table) {
		for _, values := range t.Total.Values {
			for i := range values {
				values[i] *= 1.02
			}
		}
	})},
	"counts streams in percentiles": {"Aggregates", broken{aggregate: func(n *Naive, q store.Aggregate) (*store.Table, error) {
		for _, e := range n.all {
			defer func(stream bool, grade exchange.Grade) { e.x.Stream, e.x.Grade = stream, grade }(e.x.Stream, e.x.Grade)
			if len(q.Groups) == 0 {
				e.x.Stream, e.x.Grade = false, exchange.Complete
			}
		}
		return n.Aggregate(context.Background(), &q)
	}}},
	"puts lists into one group": {"Aggregates", broken{aggregate: func(n *Naive, q store.Aggregate) (*store.Table, error) {
		for _, e := range n.all {
			defer func(a proto.Anomalies, secrets []string) { e.x.Anomalies, e.x.Secrets = a, secrets }(e.x.Anomalies, e.x.Secrets)
			e.x.Anomalies &= -e.x.Anomalies
			e.x.Secrets = e.x.Secrets[:min(len(e.x.Secrets), 1)]
		}
		return n.Aggregate(context.Background(), &q)
	}}},
	"says NaN": {"Aggregates", faultyTable(func(_ *store.Aggregate, t *store.Table) {
		for _, values := range t.Total.Values {
			for i := range values {
				values[i] = math.NaN()
			}
		}
	})},
}

// offsets pages by counting, so that what comes in between shifts the pages.
func offsets(n *Naive, q store.Search, f func(*exchange.Exchange) error) (*store.Page, error) {
	skip := 0
	if _, err := fmt.Sscan(q.After, &skip); err != nil && q.After != "" {
		return nil, err
	}
	limit := q.Limit
	q.After, q.Limit = "", store.MaxLimit
	i := -1
	_, err := n.Search(context.Background(), &q, func(x *exchange.Exchange) error {
		if i++; i < skip || i >= skip+limit {
			return nil
		}
		return f(x)
	})
	if err != nil || i < skip+limit {
		return &store.Page{}, err
	}
	return &store.Page{Next: fmt.Sprint(skip + limit)}, nil
}

// recorder is a testing.TB that takes a note of the first error, and ends there.
type recorder struct {
	testing.TB
	mu    sync.Mutex
	notes []string
}

func (r *recorder) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, s)
}

func (r *recorder) Helper()                           {}
func (r *recorder) Error(args ...any)                 { r.note(fmt.Sprint(args...)); runtime.Goexit() }
func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...) }
func (r *recorder) Fatalf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }

// The suite notices each fault, and says something about it.
func TestSuiteNoticesFaults(t *testing.T) {
	for name, f := range faults {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(cases, func(c struct {
				name string
				run  func(t *engine)
			}) bool {
				return c.name == f.noticed
			})
			r := &recorder{TB: t}
			open := func(testing.TB) store.Store {
				b := f.store
				b.Naive = NewNaive()
				return &b
			}
			var wg sync.WaitGroup
			wg.Go(func() { cases[i].run(&engine{r, Engine{Open: open, Reopen: reopenNaive}}) })
			wg.Wait()
			if len(r.notes) == 0 {
				t.Errorf("a store that %s passes %s", name, f.noticed)
			}
		})
	}
}

func TestExchangesAreTheSameEachTime(t *testing.T) {
	a, b := batch(Exchanges(3, 100)), batch(Exchanges(3, 100))
	if string(a.Bytes()) != string(b.Bytes()) {
		t.Error("the same seed makes other exchanges")
	}
	seen := map[string]bool{}
	for seed := range uint64(3) {
		for _, x := range Exchanges(seed, 500) {
			if seen[idOf(x)] {
				t.Fatalf("%s is there twice", idOf(x))
			}
			seen[idOf(x)] = true
		}
	}
}

// Of each field that isn't a constant there are exchanges with and without, or with different values.
func TestExchangesHaveEverything(t *testing.T) {
	all := Exchanges(2, 1000)
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		if col, _ := record.Lookup(f); col < 0 {
			continue
		}
		values := map[string]bool{}
		for _, x := range all {
			values[show(x, f)] = true
		}
		if len(values) < 2 {
			t.Errorf("%s is always %v", f.Name, values)
		}
	}
}

func TestMagnitudes(t *testing.T) {
	for n, want := range map[int64]int64{-5: 0, 0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 9: 7, 10: 10, 99: 75, 100: 100, 1000: 1000, 999: 750, 1e18: 1e18} {
		if got := magnitude(n); got != want {
			t.Errorf("%d is in the bucket from %d on, want %d", n, got, want)
		}
	}
}
