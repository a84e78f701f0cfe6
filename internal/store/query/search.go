package query

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// Search answers a search. found is called from this goroutine.
func Search(ctx context.Context, parts []vector.Part, q *store.Search, l Limits, found func(*exchange.Exchange) error) (*store.Page, error) {
	s := &search{q: q, run: newRun(ctx, parts, &q.Scope, l), condition: compileScope(&q.Scope)}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	s.parts = s.sorted(parts)
	if err := s.run.each(s.parts, s.worker); err != nil {
		return nil, err
	}
	next, err := s.answer(found)
	if err != nil {
		return nil, err
	}
	return &store.Page{Next: next, Cost: s.run.cost()}, nil
}

// search is a search under way.
type search struct {
	q         *store.Search
	run       *run
	parts     []vector.Part
	condition condition
	order
	col   int       // of the field to sort by; -1: all exchanges have the same value
	after *position // nil: from the beginning
	want  int       // hits: one more than the limit, to know whether there are more

	mu sync.Mutex
	// hits are the best ones so far. There may be more than wanted as long as it isn't known which of equal ones
	// come first.
	hits []hit
	// worst is the key of the last one that is wanted; nil while there is room.
	worst *key
	// held is how many bytes of memory the hits take.
	held int64
}

// hit is an exchange that was found.
type hit struct {
	key
	part int
	row  uint32
	// id is known when it was needed.
	known bool
	id    [idSize]byte
}

func (s *search) prepare() error {
	q := s.q
	if q.Limit < 1 || q.Limit > store.MaxLimit {
		return fmt.Errorf("the limit of a search is %d; it can be from 1 to %d", q.Limit, store.MaxLimit)
	}
	s.want = q.Limit + 1
	s.order = order{field: q.Sort, ascending: q.Ascending}
	if s.field == nil {
		s.field = record.Columns[record.Time].Field
	}
	switch s.field.Kind {
	case exchange.Text:
		s.text = true
	case exchange.Int, exchange.Duration, exchange.Time:
	case exchange.Float: // by their bits, which have the order of values from 0 on; no field has others
	default:
		return fmt.Errorf("exchanges can't be sorted by %s, whose values have no order; sort by a number, a time or a text", s.field.Name)
	}
	s.col, _ = record.Lookup(s.field)
	if q.After == "" {
		return nil
	}
	after, err := s.order.position(q.After)
	s.after = after
	return err
}

// sorted returns the parts in the order in which to look at them: where hits are likely, first.
func (s *search) sorted(parts []vector.Part) []vector.Part {
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(a, b vector.Part) int {
		firstA, lastA := a.Times()
		firstB, lastB := b.Times()
		if s.col == record.Time && s.ascending {
			return cmp.Compare(firstA, firstB)
		}
		return cmp.Compare(lastB, lastA)
	})
	return parts
}

// threshold returns the key that hits must not come after; nil while there is room.
func (s *search) threshold() *key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worst
}

// beaten reports whether numbers from least to most all come after the threshold, or before the cursor.
func (s *search) beaten(least, most int64, absent bool) bool {
	worst := s.threshold()
	if s.ascending {
		return worst != nil && worst.present && least > worst.n ||
			s.after != nil && !absent && (!s.after.present || most < s.after.n)
	}
	return worst != nil && worst.present && most < worst.n ||
		s.after != nil && !absent && (!s.after.present || least > s.after.n)
}

func (s *search) beatenTexts(least, most []byte, absent bool) bool {
	worst := s.threshold()
	if s.ascending {
		return worst != nil && worst.present && string(cut(least)) > worst.text ||
			s.after != nil && !absent && (!s.after.present || string(cut(most)) < s.after.text)
	}
	return worst != nil && worst.present && string(cut(most)) < worst.text ||
		s.after != nil && !absent && (!s.after.present || string(cut(least)) > s.after.text)
}

func cut(text []byte) []byte { return text[:min(len(text), maxSortText)] }

// searcher is a worker of a search.
type searcher struct {
	*search
	e    *evaluator
	rows []uint32
	best heap
}

func (s *search) worker(e *evaluator) worker { return &searcher{search: s, e: e} }

func (w *searcher) wanted(p vector.Part) bool {
	first, last := p.Times()
	return overlaps(p, &w.q.Scope) && !(w.col == record.Time && w.beaten(first, last, false))
}

func (w *searcher) judge(c vector.Chunk) (verdict, []int) {
	v := w.condition.judge(c)
	if w.col >= 0 && v != none {
		if w.text {
			if least, most, absent, ok := c.TextBounds(w.col); ok && bytes.Compare(least, most) <= 0 && w.beatenTexts(least, most, absent) {
				v = none
			}
		} else if least, most, absent, ok := c.Bounds(w.col); ok && least <= most && w.beaten(least, most, absent) {
			v = none
		}
	}
	var columns []int
	if v == some {
		columns = w.condition.columns(columns)
	}
	if w.col >= 0 {
		columns = append(columns, w.col)
	}
	slices.Sort(columns)
	return v, slices.Compact(columns)
}

// keys is the column to sort by, of one chunk.
type keys struct {
	order *order
	ints  vector.Ints
	texts *vector.Texts // nil: numbers, or neither
}

func (k *keys) at(row uint32) (out key) {
	switch {
	case k.texts != nil:
		if n := k.texts.Rows[row]; n != 0 {
			out.present, out.text = true, string(cut(k.texts.Dict.At(n)))
		}
	case k.ints != nil:
		if n := k.ints[row]; n != vector.Absent {
			out.present, out.n = true, n
		}
	}
	return out
}

// compare is order.compare of two rows.
func (k *keys) compare(a, b uint32) int {
	c := 0
	switch {
	case k.texts != nil:
		m, n := k.texts.Rows[a], k.texts.Rows[b]
		switch {
		case m == n:
			return 0
		case m == 0:
			return 1
		case n == 0:
			return -1
		}
		c = bytes.Compare(cut(k.texts.Dict.At(m)), cut(k.texts.Dict.At(n)))
	case k.ints != nil:
		m, n := k.ints[a], k.ints[b]
		switch {
		case m == n:
			return 0
		case m == vector.Absent:
			return 1
		case n == vector.Absent:
			return -1
		}
		c = cmp.Compare(m, n)
	}
	if !k.order.ascending {
		c = -c
	}
	return c
}

func (w *searcher) look(part int, c vector.Chunk) error {
	e := w.e
	e.open(c)
	selected := e.take()
	defer e.give(selected)
	selected.fill(e.n)
	k, err := w.keys()
	if err != nil {
		return err
	}
	worst := w.threshold()
	w.narrow(k, selected, worst)
	if !selected.empty() && w.condition.judge(c) != all {
		if err := w.condition.narrow(e, selected); err != nil {
			return err
		}
	}
	w.rows = selected.rows(w.rows[:0])
	if len(w.rows) == 0 {
		return nil
	}
	ids := &ids{chunk: c}
	if w.after != nil {
		if err := w.behind(k, ids); err != nil {
			return err
		}
	}
	if len(w.rows) > w.want {
		if err := w.choose(k, ids); err != nil {
			return err
		}
	}
	hits := make([]hit, len(w.rows))
	for i, row := range w.rows {
		hits[i] = hit{key: k.at(row), part: part, row: row}
		if ids.all != nil {
			hits[i].known = true
			if hits[i].id, err = ids.id(row); err != nil {
				return err
			}
		}
	}
	return w.merge(hits)
}

// keys reads the column to sort by.
func (w *searcher) keys() (*keys, error) {
	k := &keys{order: &w.order}
	var err error
	switch {
	case w.col < 0:
	case w.text:
		k.texts, err = w.e.texts(w.col)
	default:
		k.ints, err = w.e.ints(w.col)
	}
	return k, err
}

// narrow unselects rows that come after the threshold, or before the cursor.
func (w *searcher) narrow(k *keys, selected bitmap, worst *key) {
	after := w.after
	if k.ints != nil {
		lo, hi := int64(vector.Absent+1), int64(math.MaxInt64)
		if worst != nil && worst.present {
			if w.ascending {
				hi = worst.n
			} else {
				lo = worst.n
			}
			if after != nil && after.present {
				if w.ascending {
					lo = after.n
				} else {
					hi = after.n
				}
			}
			if lo > hi {
				clear(selected)
			} else {
				selected.keepRange(k.ints, lo, hi)
			}
			return
		}
	}
	if worst == nil && after == nil || k.ints == nil && k.texts == nil {
		return
	}
	selected.keep(func(r int) bool {
		if after == nil && (worst == nil || !worst.present) {
			return true
		}
		v := k.at(uint32(r))
		return (worst == nil || w.order.compare(&v, worst) <= 0) && (after == nil || w.order.compare(&v, &after.key) >= 0)
	})
}

// behind drops the rows that the cursor's id comes before or is equal to, of those with its key.
func (w *searcher) behind(k *keys, ids *ids) error {
	equal := 0
	isEqual := func(row uint32) bool {
		v := k.at(row)
		return w.order.compare(&v, &w.after.key) == 0
	}
	for _, row := range w.rows {
		if isEqual(row) {
			equal++
		}
	}
	if equal == 0 {
		return nil
	}
	if err := ids.expect(equal); err != nil {
		return err
	}
	var failed error
	w.rows = slices.DeleteFunc(w.rows, func(row uint32) bool {
		if !isEqual(row) {
			return false
		}
		id, err := ids.id(row)
		if err != nil {
			failed = err
		}
		return bytes.Compare(id[:], w.after.id[:]) <= 0
	})
	return failed
}

// choose leaves the best of the rows, as many as are wanted.
func (w *searcher) choose(k *keys, ids *ids) error {
	last := w.best.last(w.rows, w.want, k.compare)
	w.rows = slices.DeleteFunc(w.rows, func(row uint32) bool { return k.compare(row, last) > 0 })
	if len(w.rows) <= w.want {
		return nil
	}
	if err := ids.expect(len(w.rows)); err != nil {
		return err
	}
	var failed error
	byID := func(a, b uint32) int {
		if c := k.compare(a, b); c != 0 {
			return c
		}
		x, errX := ids.id(a)
		y, errY := ids.id(b)
		if failed = cmp.Or(failed, errX, errY); failed != nil {
			return 0
		}
		if c := bytes.Compare(x[:], y[:]); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	}
	last = w.best.last(w.rows, w.want, byID)
	w.rows = slices.DeleteFunc(w.rows, func(row uint32) bool { return byID(row, last) > 0 })
	return failed
}

// undecided is how many more hits than wanted may be kept while it isn't known which come first.
const undecided = 1024

// merge adds the hits of one chunk.
func (s *search) merge(hits []hit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits = append(s.hits, hits...)
	if err := s.settle(undecided); err != nil {
		return err
	}
	held := int64(0)
	for i := range s.hits {
		held += hitCost + int64(len(s.hits[i].text))
	}
	before := s.held
	s.held = held
	return s.run.memory.hold(held - before)
}

// hitCost is about how many bytes a hit takes, besides the text of its key.
const hitCost = 96

// settle leaves the best hits, and at most so many more that equal the last one. It is called with the lock held.
func (s *search) settle(more int) error {
	slices.SortStableFunc(s.hits, func(a, b hit) int { return s.order.compare(&a.key, &b.key) })
	if len(s.hits) < s.want {
		return nil
	}
	last := s.hits[s.want-1].key
	end := s.want
	for end < len(s.hits) && s.order.compare(&s.hits[end].key, &last) == 0 {
		end++
	}
	s.hits = s.hits[:end]
	if end > s.want+more {
		begin := s.want - 1
		for begin > 0 && s.order.compare(&s.hits[begin-1].key, &last) == 0 {
			begin--
		}
		if err := s.identify(s.hits[begin:], func(int) bool { return true }); err != nil {
			return err
		}
		s.sortHits(s.hits[begin:])
		s.hits = s.hits[:s.want]
	}
	s.worst = &last
	return nil
}

// sortHits sorts hits whose ids are known where it matters.
func (s *search) sortHits(hits []hit) {
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(s.order.compare(&a.key, &b.key), bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.part, b.part), cmp.Compare(a.row, b.row))
	})
}

// identify finds out the ids of those hits that aren't known and are wanted.
func (s *search) identify(hits []hit, wanted func(i int) bool) error {
	return s.byPart(hits, func(i int) bool { return !hits[i].known && wanted(i) }, func(c vector.Chunk, of []int) error {
		ids := &ids{chunk: c}
		if err := ids.expect(len(of)); err != nil {
			return err
		}
		for _, i := range of {
			id, err := ids.id(hits[i].row)
			if err != nil {
				return err
			}
			hits[i].id, hits[i].known = id, true
		}
		return nil
	})
}

// byPart calls f for each part that hits are of which are wanted, with their indexes, in the order of their rows.
func (s *search) byPart(hits []hit, wanted func(i int) bool, f func(c vector.Chunk, of []int) error) error {
	var all []int
	for i := range hits {
		if wanted(i) {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b int) int {
		return cmp.Or(cmp.Compare(hits[a].part, hits[b].part), cmp.Compare(hits[a].row, hits[b].row))
	})
	for len(all) > 0 {
		n := 1
		for n < len(all) && hits[all[n]].part == hits[all[0]].part {
			n++
		}
		if err := s.run.check(); err != nil {
			return err
		}
		c, err := s.parts[hits[all[0]].part].Open()
		if err != nil {
			return fmt.Errorf("opening a part of the store: %w", err)
		}
		err = f(c, all[:n])
		s.run.release(c)
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// The first rows are read in a batch of firstBatch, which tells how large rows are; later batches take at most
// batchMemory, where memory isn't bounded.
const (
	firstBatch  = 128
	batchMemory = 64 << 20
)

// answer reads the hits and hands them out, in their order. It returns the cursor behind the last, if there are
// more.
func (s *search) answer(found func(*exchange.Exchange) error) (next string, err error) {
	if err := s.settle(0); err != nil {
		return "", err
	}
	// Only ids tell in which order equal ones come.
	equal := func(i, k int) bool {
		return 0 <= i && k < len(s.hits) && s.order.compare(&s.hits[i].key, &s.hits[k].key) == 0
	}
	if err := s.identify(s.hits, func(i int) bool { return equal(i-1, i) || equal(i, i+1) }); err != nil {
		return "", err
	}
	s.sortHits(s.hits)
	hits := s.hits[:min(len(s.hits), s.q.Limit)]
	more := len(s.hits) > s.q.Limit

	a, err := newAnswer(s, record.Needs(s.q.Fields))
	if err != nil {
		return "", err
	}
	budget := int64(batchMemory)
	if limit := s.run.memory.limit; limit > 0 {
		budget = min(budget, limit/2)
	}
	batch := firstBatch
	for rest := hits; len(rest) > 0; {
		now := rest[:min(batch, len(rest))]
		if fit, err := a.read(now, budget); err != nil {
			return "", err
		} else if !fit {
			batch = max(len(now)/4, 1)
			continue
		}
		if err := a.emit(found); err != nil {
			return "", err
		}
		rest = rest[len(now):]
		batch = int(max(min(budget/max(a.largest, 1), store.MaxLimit), 1))
	}
	if more {
		last := &hits[len(hits)-1]
		next = s.order.cursor(&position{last.key, last.id})
	}
	return next, nil
}

// answer hands out the exchanges of hits.
type answer struct {
	*search
	columns []int
	decoder *record.Decoder
	maker   record.Maker
	row     record.Row

	// rows are those that were read, as batches of one in bytes: from at[i] to at[i+1].
	bytes   []byte
	at      []span
	largest int64 // bytes of a row, of all so far
}

type span struct{ from, to int }

func newAnswer(s *search, columns []int) (*answer, error) {
	d, err := record.NewDecoder(record.Header())
	a := &answer{search: s, columns: columns, decoder: d}
	a.maker.Only(columns)
	return a, err
}

// errRoom ends a read of too many rows.
var errRoom = errors.New("no room for more rows")

// read reads the rows of hits, if they fit into the budget or there is only one.
func (a *answer) read(hits []hit, budget int64) (fit bool, err error) {
	a.bytes, a.at = a.bytes[:0], slices.Grow(a.at[:0], len(hits))[:len(hits)]
	err = a.byPart(hits, func(int) bool { return true }, func(c vector.Chunk, of []int) error {
		for _, i := range of {
			a.row.Reset()
			if err := c.Row(int(hits[i].row), a.columns, &a.row); err != nil {
				return fmt.Errorf("reading an exchange of the store: %w", err)
			}
			hits[i].known = true
			copy(hits[i].id[:], a.row.ID())
			from := len(a.bytes)
			a.bytes = record.AppendRow(a.bytes, &a.row)
			a.at[i] = span{from, len(a.bytes)}
			a.largest = max(a.largest, int64(len(a.bytes)-from))
			if int64(len(a.bytes)) > budget && len(hits) > 1 {
				return errRoom
			}
		}
		return a.run.check()
	})
	if errors.Is(err, errRoom) {
		return false, nil
	}
	return err == nil, err
}

// emit hands out what was read.
func (a *answer) emit(found func(*exchange.Exchange) error) error {
	for _, s := range a.at {
		if err := a.run.check(); err != nil {
			return err
		}
		err := a.decoder.Each(a.bytes[s.from:s.to], func(r *record.Row) error {
			x := a.maker.Exchange(r)
			return a.run.call(func() error { return found(x) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ids reads ids of one chunk.
type ids struct {
	chunk vector.Chunk
	all   *vector.Texts
	row   *record.Row // made when it is needed, for it is large
}

// manyIDs is from how many ids on the whole column is read.
const manyIDs = 16

// expect says how many ids will be asked for.
func (i *ids) expect(n int) error {
	if n < manyIDs || i.all != nil {
		return nil
	}
	t, err := i.chunk.Texts(record.ID)
	if err != nil {
		return readError(record.ID, err)
	}
	i.all = t
	return nil
}

func (i *ids) id(row uint32) (id [idSize]byte, err error) {
	if i.all != nil {
		if n := i.all.Rows[row]; n != 0 {
			copy(id[:], i.all.Dict.At(n))
		}
		return id, nil
	}
	if i.row == nil {
		i.row = &record.Row{}
	}
	i.row.Reset()
	if err := i.chunk.Row(int(row), []int{record.ID}, i.row); err != nil {
		return id, readError(record.ID, err)
	}
	copy(id[:], i.row.ID())
	return id, nil
}

// heap finds the best of rows, in memory that it keeps.
type heap struct{ rows []uint32 }

// last returns which of the n best rows comes last, of more than n. compare is negative when a comes before b.
func (h *heap) last(rows []uint32, n int, compare func(a, b uint32) int) uint32 {
	h.rows = append(h.rows[:0], rows[:n]...)
	for i := n/2 - 1; i >= 0; i-- {
		h.sink(i, compare)
	}
	for _, row := range rows[n:] {
		if compare(row, h.rows[0]) < 0 {
			h.rows[0] = row
			h.sink(0, compare)
		}
	}
	return h.rows[0]
}

// sink moves a row down until none below it comes after it: the first is the one that comes last.
func (h *heap) sink(i int, compare func(a, b uint32) int) {
	for {
		child := 2*i + 1
		if child >= len(h.rows) {
			return
		}
		if child+1 < len(h.rows) && compare(h.rows[child+1], h.rows[child]) > 0 {
			child++
		}
		if compare(h.rows[child], h.rows[i]) <= 0 {
			return
		}
		h.rows[i], h.rows[child] = h.rows[child], h.rows[i]
		i = child
	}
}
