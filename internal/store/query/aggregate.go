package query

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// Aggregate answers an aggregate.
func Aggregate(ctx context.Context, parts []vector.Part, q *store.Aggregate, l Limits) (*store.Table, error) {
	a := &aggregate{q: q, run: newRun(ctx, parts, &q.Scope, l), condition: compileScope(&q.Scope)}
	if err := a.prepare(); err != nil {
		return nil, err
	}
	if err := a.run.each(parts, a.worker); err != nil {
		return nil, err
	}
	t, err := a.table()
	if err != nil {
		return nil, err
	}
	t.Cost = a.run.cost()
	return t, nil
}

// aggregate is an aggregate under way.
type aggregate struct {
	q         *store.Aggregate
	run       *run
	condition condition
	groupings []*grouping
	plan      *plan
	lists     bool // a grouping is a list, so that exchanges may be in several groups
	spans     bool // the time from the first to the last exchange is asked for
	reads     []int

	mu       sync.Mutex
	partials []*partial
}

func (a *aggregate) prepare() error {
	q := a.q
	switch {
	case q.Interval < 0:
		return fmt.Errorf("the interval is %d ns; it can't be negative", q.Interval)
	case q.Limit < 0 || q.Limit > store.MaxGroups:
		return fmt.Errorf("the limit of groups is %d; it can be from 1 to %d", q.Limit, store.MaxGroups)
	case q.Order < -1 || q.Order >= len(q.Metrics):
		return fmt.Errorf("groups can't be ordered by metric %d; there are %d", q.Order, len(q.Metrics))
	}
	var err error
	// Nobody else knows what a random seed makes of nothing.
	if a.plan, err = newPlan(q.Metrics, q.Sketches, maphash.Bytes(maphash.MakeSeed(), nil)|1); err != nil {
		return err
	}
	for _, g := range q.Groups {
		p, err := newGrouping(g)
		if err != nil {
			return err
		}
		a.groupings = append(a.groupings, p)
		a.lists = a.lists || g.Field.Kind == exchange.List
		if p.col >= 0 {
			a.reads = append(a.reads, p.col)
		}
	}
	for _, m := range q.Metrics {
		a.spans = a.spans || m.Kind == store.Rate && (q.From == 0 || q.To == 0)
	}
	if q.Interval > 0 || a.spans {
		a.reads = append(a.reads, record.Time)
	}
	for _, acc := range a.plan.accumulators {
		a.reads = acc.columns(a.reads)
	}
	return nil
}

// partial is what one worker has found out.
type partial struct {
	*aggregate
	e *evaluator
	s scratch

	tables []*keyTable // of the groupings
	times  timeTable
	levels []*level // of the groupings but the first, and of time
	of     []accumulator
	totals []accumulator // of everything, when groups overlap

	first, last int64 // start of exchanges, when asked for
	held, keyed int64 // bytes: of everything, and of keys
}

func (a *aggregate) worker(e *evaluator) worker {
	p := a.partial()
	p.e = e
	a.mu.Lock()
	a.partials = append(a.partials, p)
	a.mu.Unlock()
	return p
}

func (a *aggregate) partial() *partial {
	p := &partial{aggregate: a, first: math.MaxInt64, last: math.MinInt64}
	p.times.numbers = map[int64]uint32{}
	newLevel := func() { p.levels = append(p.levels, &level{}) }
	for i := range a.groupings {
		p.tables = append(p.tables, newKeyTable())
		if i > 0 {
			newLevel()
		}
	}
	if a.q.Interval > 0 {
		newLevel()
	}
	p.of = a.empty()
	if a.lists {
		p.totals = a.empty()
	}
	return p
}

// empty returns empty accumulators.
func (a *aggregate) empty() []accumulator {
	all := make([]accumulator, len(a.plan.accumulators))
	for i, acc := range a.plan.accumulators {
		all[i] = acc.empty()
	}
	return all
}

func (p *partial) wanted(part vector.Part) bool { return overlaps(part, &p.q.Scope) }

func (p *partial) judge(c vector.Chunk) (verdict, []int) {
	v := p.condition.judge(c)
	columns := slices.Clone(p.reads)
	if v == some {
		columns = p.condition.columns(columns)
	}
	slices.Sort(columns)
	return v, slices.Compact(columns)
}

func (p *partial) look(_ int, c vector.Chunk) error {
	e, s := p.e, &p.s
	e.open(c)
	var rows []uint32 // nil: all
	if p.condition.judge(c) != all {
		selected := e.take()
		selected.fill(e.n)
		err := p.condition.narrow(e, selected)
		if err == nil && selected.count() < e.n {
			s.rows = selected.rows(slices.Grow(s.rows[:0], 1))
			rows = s.rows
		}
		e.give(selected)
		if err != nil {
			return err
		}
	}
	count := e.n
	if rows != nil {
		count = len(rows)
	}
	if count == 0 {
		return nil
	}
	if p.spans {
		if err := p.span(rows); err != nil {
			return err
		}
	}
	s.groups = slices.Grow(s.groups[:0], count)[:count]
	clear(s.groups)
	grown := int64(0)
	for _, acc := range p.totals {
		n, err := acc.add(e, rows, s.groups, 1)
		if err != nil {
			return err
		}
		grown += n
	}
	rows, n, err := p.group(rows)
	if err != nil {
		return err
	}
	for _, acc := range p.of {
		if err := p.run.check(); err != nil {
			return err
		}
		g, err := acc.add(e, rows, s.groups, n)
		if err != nil {
			return err
		}
		grown += g
	}
	keyed := p.keysBytes()
	grown += keyed - p.keyed
	p.keyed = keyed
	p.held += grown
	return p.run.memory.hold(grown)
}

// span notes the first and the last start of rows.
func (p *partial) span(rows []uint32) error {
	times, err := p.e.ints(record.Time)
	if err != nil {
		return err
	}
	if rows == nil {
		p.first, p.last = min(p.first, slices.Min(times)), max(p.last, slices.Max(times))
	}
	for _, r := range rows {
		p.first, p.last = min(p.first, times[r]), max(p.last, times[r])
	}
	return nil
}

// group puts the numbers of the groups, and times, of rows into s.groups. It returns the rows, of which some may be
// repeated, and how many groups there are.
func (p *partial) group(rows []uint32) ([]uint32, int, error) {
	s, n, levels := &p.s, 1, p.levels
	for i, g := range p.groupings {
		s.repeat = nil
		numbers, more, err := p.tables[i].numbersOf(g, p.e, rows, s)
		if err != nil {
			return nil, 0, err
		}
		rows = more
		keys := len(p.tables[i].keys)
		switch {
		case i == 0:
			s.groups = append(s.groups[:0], numbers...)
			n = keys
			continue
		case s.repeat != nil:
			groups := make([]uint32, len(numbers))
			for i, from := range s.repeat {
				groups[i] = s.groups[from]
			}
			s.groups = groups
		}
		levels[0].join(s.groups, numbers, n, keys)
		n = len(levels[0].pairs)
		levels = levels[1:]
	}
	if p.q.Interval == 0 {
		return rows, n, nil
	}
	times, err := p.e.ints(record.Time)
	if err != nil {
		return nil, 0, err
	}
	s.numbers = slices.Grow(s.numbers[:0], len(s.groups))[:len(s.groups)]
	p.times.numbersOf(times, rows, s.numbers, p.q.Interval)
	if err := p.times.tooMany(); err != nil {
		return nil, 0, err
	}
	levels[0].join(s.groups, s.numbers, n, len(p.times.starts))
	return rows, len(levels[0].pairs), nil
}

// keysBytes returns what keys and groups take.
func (p *partial) keysBytes() (n int64) {
	for _, t := range p.tables {
		n += t.bytes
	}
	for _, l := range p.levels {
		n += int64(len(l.pairs)) * pairCost
	}
	return n
}

// timeTable numbers time buckets, in the order in which they come.
type timeTable struct {
	numbers map[int64]uint32
	starts  []int64
}

func (t *timeTable) number(start int64) uint32 {
	n, ok := t.numbers[start]
	if !ok {
		n = uint32(len(t.starts))
		t.numbers[start] = n
		t.starts = append(t.starts, start)
	}
	return n
}

// numbersOf writes the number of the bucket of each row.
func (t *timeTable) numbersOf(times vector.Ints, rows, numbers []uint32, interval int64) {
	start, number := int64(math.MinInt64), uint32(0)
	span := uint64(0) // nothing is within it
	for i := range numbers {
		r := i
		if rows != nil {
			r = int(rows[i])
		}
		// Rows are nearly in the order of time: most are in the bucket of the one before.
		if v := times[r]; uint64(v)-uint64(start) >= span {
			start, span = bucket(v, interval), uint64(interval)
			number = t.number(start)
		}
		numbers[i] = number
	}
}

// bucket returns the begin of the bucket that a time is in.
func bucket(t, interval int64) int64 {
	rest := t % interval
	if rest < 0 {
		rest += interval
	}
	return t - rest
}

func (t *timeTable) tooMany() error {
	if len(t.starts) > store.MaxBuckets {
		return fmt.Errorf("%w: there are more than %d time buckets; ask for a longer interval, or for less time", store.ErrLimit, store.MaxBuckets)
	}
	return nil
}

// merge adds what another worker has found out.
func (p *partial) merge(from *partial) error {
	keys := make([][]uint32, 0, len(p.tables)+1)
	for i, t := range from.tables {
		into := make([]uint32, len(t.keys))
		for n, k := range t.keys {
			into[n] = p.tables[i].number(k)
		}
		keys = append(keys, into)
	}
	if p.q.Interval > 0 {
		into := make([]uint32, len(from.times.starts))
		for n, start := range from.times.starts {
			into[n] = p.times.number(start)
		}
		keys = append(keys, into)
	}
	groups := []uint32{0}
	if len(p.tables) > 0 {
		groups, keys = keys[0], keys[1:]
	}
	for i, l := range from.levels {
		into := make([]uint32, len(l.pairs))
		for n, of := range l.pairs {
			into[n] = p.levels[i].number(pair{groups[of.before], keys[i][of.key]})
		}
		groups = into
	}
	grown := int64(0)
	for i, acc := range p.of {
		grown += acc.merge(from.of[i], groups, p.groups())
	}
	for i, acc := range p.totals {
		grown += acc.merge(from.totals[i], groups0, 1)
	}
	p.first, p.last = min(p.first, from.first), max(p.last, from.last)
	for _, acc := range slices.Concat(from.of, from.totals) {
		acc.drop()
	}
	grown += p.keysBytes() - p.keyed
	p.keyed = p.keysBytes()
	if err := p.run.memory.hold(grown - from.held); err != nil {
		return err
	}
	p.held += grown
	return p.run.check()
}

// groups0 puts a single group into the first.
var groups0 = []uint32{0}

// groups returns how many groups there are, with their times.
func (p *partial) groups() int {
	switch {
	case len(p.levels) > 0:
		return len(p.levels[len(p.levels)-1].pairs)
	case len(p.tables) > 0:
		return len(p.tables[0].keys)
	}
	return 1
}

// table makes the answer of what the workers have found out.
func (a *aggregate) table() (*store.Table, error) {
	p := a.partial()
	if len(a.partials) > 0 {
		p = a.partials[0]
		for _, other := range a.partials[1:] {
			if err := p.merge(other); err != nil {
				return nil, err
			}
		}
	}
	if err := p.times.tooMany(); err != nil {
		return nil, err
	}
	seconds := float64(a.q.To-a.q.From) / 1e9
	if a.spans {
		seconds = float64(max(p.last, p.first)-p.first) / 1e9
	}

	// cells are groups and times, if there is an interval; cellOf says which group each is in.
	cells, groups := p.of, p.of
	var cellOf []pair
	count := p.groups()
	levels := p.levels
	if a.q.Interval > 0 {
		cellOf, levels = levels[len(levels)-1].pairs, levels[:len(levels)-1]
		count = 0
		into := make([]uint32, len(cellOf))
		for i, c := range cellOf {
			into[i] = c.before
			count = max(count, int(c.before)+1)
		}
		groups = a.empty()
		if err := p.mergeAll(groups, cells, into, count); err != nil {
			return nil, err
		}
	}
	if len(groups[0].(*counts).of) == 0 {
		count = 0 // nothing was selected
	}

	t := &store.Table{}
	ranked, err := p.rank(groups, levels, count, seconds)
	if err != nil {
		return nil, err
	}
	limit := a.q.Limit
	if limit == 0 {
		limit = store.MaxGroups
	}
	limit = min(limit, len(ranked))
	// place says where a group is in the answer; rest where the totals of the others go.
	place, rest, every := make([]uint32, count), make([]uint32, count), make([]uint32, count)
	for i, g := range ranked {
		place[g.number], rest[g.number] = uint32(i), unknown
		if i >= limit {
			place[g.number], rest[g.number] = unknown, 0
			continue
		}
		t.Groups = append(t.Groups, store.GroupRow{Keys: g.keys, Totals: a.totals(groups, int(g.number), seconds)})
	}
	t.OtherGroups = int64(len(ranked) - limit)
	others := a.empty()
	if err := p.mergeAll(others, groups, rest, 1); err != nil {
		return nil, err
	}
	t.Other = a.totals(others, 0, seconds)
	total := p.totals
	if total == nil {
		total = a.empty()
		if err := p.mergeAll(total, groups, every, 1); err != nil {
			return nil, err
		}
	} else if err := p.mergeAll(total, a.empty(), nil, 1); err != nil { // which makes room for one
		return nil, err
	}
	t.Total = a.totals(total, 0, seconds)

	if err := p.run.memory.hold(int64(len(cellOf)) * int64(rowSize+valueSize*len(a.q.Metrics))); err != nil {
		return nil, err
	}
	for i, c := range cellOf {
		if i%checkEvery == 0 {
			if err := p.run.check(); err != nil {
				return nil, err
			}
		}
		if at := place[c.before]; at != unknown {
			t.Rows = append(t.Rows, store.BucketRow{
				Group: int(at), Start: p.times.starts[c.key], Totals: a.totals(cells, i, float64(a.q.Interval)/1e9),
			})
		}
	}
	slices.SortFunc(t.Rows, func(a, b store.BucketRow) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Start, b.Start))
	})
	return t, nil
}

// About what a row of the answer takes, and each of its values, in bytes.
const (
	rowSize   = 72
	valueSize = 48
)

// mergeAll merges accumulators into others.
func (p *partial) mergeAll(to, from []accumulator, into []uint32, n int) error {
	for i, acc := range to {
		if err := p.run.memory.hold(acc.merge(from[i], into, n)); err != nil {
			return err
		}
		if err := p.run.check(); err != nil {
			return err
		}
	}
	return nil
}

// ranked is a group in the order of the answer.
type ranked struct {
	number uint32
	value  float64
	keys   []store.Key
}

// rank puts the groups in the order of the answer.
func (p *partial) rank(groups []accumulator, levels []*level, count int, seconds float64) ([]ranked, error) {
	width := len(p.groupings)
	if err := p.run.memory.hold(int64(count) * int64(rowSize+keySize*width)); err != nil {
		return nil, err
	}
	all, keys := make([]ranked, 0, count), make([]store.Key, count*width)
	for g, n := range groups[0].(*counts).of[:count] {
		if n == 0 { // the group of all, when there are none
			continue
		}
		all = append(all, ranked{uint32(g), float64(n), keys[g*width : (g+1)*width : (g+1)*width]})
		r := &all[len(all)-1]
		if p.q.Order >= 0 {
			r.value = math.NaN()
			if v := p.value(groups, g, p.q.Order, seconds); len(v) > 0 {
				r.value = v[0]
			}
		}
		at := uint32(g)
		for i := width - 1; i >= 0; i-- {
			key := at
			if i > 0 {
				key, at = levels[i-1].pairs[at].key, levels[i-1].pairs[at].before
			}
			r.keys[i] = p.tables[i].keys[key]
		}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.value, a.value), slices.CompareFunc(a.keys, b.keys, compareKeys))
	})
	return all, p.run.check()
}

// keySize is what a key takes in the answer, in bytes.
const keySize = 32

// compareKeys orders keys: numbers by size, texts by their bytes, absent ones last.
func compareKeys(a, b store.Key) int {
	if absentA, absentB := a.Kind == exchange.Absent, b.Kind == exchange.Absent; absentA || absentB {
		switch {
		case absentA && absentB:
			return 0
		case absentA:
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.Int, b.Int), strings.Compare(a.Text, b.Text))
}

// value returns a metric of a group.
func (a *aggregate) value(of []accumulator, g, metric int, seconds float64) []float64 {
	read := &a.plan.readings[metric]
	return read.value(of[read.accumulator], g, of[0].(*counts).of[g], seconds)
}

// totals returns all metrics of a group.
func (a *aggregate) totals(of []accumulator, g int, seconds float64) store.Totals {
	t := store.Totals{Count: of[0].(*counts).of[g]}
	for i := range a.plan.readings {
		t.Values = append(t.Values, a.value(of, g, i, seconds))
	}
	return t
}
