package query

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// accumulator accumulates one thing for each group.
type accumulator interface {
	// columns appends the columns that it reads.
	columns(dst []int) []int
	// add adds rows of the evaluator's chunk: row rows[i], or i when rows is nil, to group groups[i] of n. It returns by
	// how many bytes it has grown.
	add(e *evaluator, rows, groups []uint32, n int) (grown int64, err error)
	// empty returns an empty accumulator of the same.
	empty() accumulator
	// merge adds the groups of another accumulator of the same: its group i to into[i] of n, unless that is unknown.
	merge(from accumulator, into []uint32, n int) (grown int64)
	// drop lets go of its memory.
	drop()
}

// extend makes a slice n elements long.
func extend[T any](s []T, n int) []T {
	if n <= len(s) {
		return s
	}
	return append(s, make([]T, n-len(s))...)
}

// counts counts the exchanges.
type counts struct{ of []int64 }

func (*counts) columns(dst []int) []int { return dst }
func (*counts) empty() accumulator      { return &counts{} }
func (c *counts) drop()                 { c.of = nil }

func (c *counts) add(_ *evaluator, _, groups []uint32, n int) (int64, error) {
	grown := int64(n-len(c.of)) * 8
	c.of = extend(c.of, n)
	for _, g := range groups {
		c.of[g]++
	}
	return grown, nil
}

func (c *counts) merge(from accumulator, into []uint32, n int) int64 {
	grown := int64(n-len(c.of)) * 8
	c.of = extend(c.of, n)
	for i, count := range from.(*counts).of {
		if into[i] != unknown {
			c.of[into[i]] += count
		}
	}
	return grown
}

// failures counts those with the outcome failure.
type failures struct{ counts }

var outcome = record.Index("event.outcome")

func (*failures) columns(dst []int) []int { return append(dst, outcome) }
func (*failures) empty() accumulator      { return &failures{} }

func (f *failures) add(e *evaluator, rows, groups []uint32, n int) (int64, error) {
	grown := int64(n-len(f.of)) * 8
	f.of = extend(f.of, n)
	column, err := e.texts(outcome)
	if err != nil {
		return 0, err
	}
	is := e.zeros(column.Dict.Len() + 1)
	defer e.giveBytes(is)
	for i := 1; i < len(is); i++ {
		if string(column.Dict.At(uint32(i))) == "failure" {
			is[i] = 1
		}
	}
	for i, g := range groups {
		r := i
		if rows != nil {
			r = int(rows[i])
		}
		f.of[g] += int64(is[column.Rows[r]])
	}
	return grown, nil
}

func (f *failures) merge(from accumulator, into []uint32, n int) int64 {
	return f.counts.merge(&from.(*failures).counts, into, n)
}

// summary is the sum, the number and the extremes of the values of a column. The sum has 128 bits: it is exact, and so
// doesn't depend on the order.
type summary struct {
	col int
	of  []summaryOf
}

type summaryOf struct {
	count    int64
	low      uint64
	high     int64
	min, max int64
}

const summaryCost = 40

func (s *summary) columns(dst []int) []int { return append(dst, s.col) }
func (s *summary) empty() accumulator      { return &summary{col: s.col} }
func (s *summary) drop()                   { s.of = nil }

func (s *summary) add(e *evaluator, rows, groups []uint32, n int) (int64, error) {
	grown := int64(n-len(s.of)) * summaryCost
	s.of = extend(s.of, n)
	column, err := e.ints(s.col)
	if err != nil {
		return 0, err
	}
	for i, g := range groups {
		r := i
		if rows != nil {
			r = int(rows[i])
		}
		v := column[r]
		if v == vector.Absent {
			continue
		}
		t := &s.of[g]
		if t.count == 0 {
			t.min, t.max = v, v
		}
		t.count++
		t.min, t.max = min(t.min, v), max(t.max, v)
		t.plus(uint64(v), v>>63)
	}
	return grown, nil
}

// plus adds a number of 128 bits.
func (t *summaryOf) plus(low uint64, high int64) {
	var carry uint64
	t.low, carry = bits.Add64(t.low, low, 0)
	t.high += high + int64(carry)
}

func (t *summaryOf) sum() float64 {
	if t.high == int64(t.low)>>63 {
		return float64(int64(t.low))
	}
	return float64(t.high)*(1<<64) + float64(t.low)
}

func (s *summary) merge(from accumulator, into []uint32, n int) int64 {
	grown := int64(n-len(s.of)) * summaryCost
	s.of = extend(s.of, n)
	f := from.(*summary)
	for i := range f.of {
		v := &f.of[i]
		if into[i] == unknown || v.count == 0 {
			continue
		}
		t := &s.of[into[i]]
		if t.count == 0 {
			t.min, t.max = v.min, v.max
		}
		t.count += v.count
		t.min, t.max = min(t.min, v.min), max(t.max, v.max)
		t.plus(v.low, v.high)
	}
	return grown
}

// sketches are the distributions of the values of a column.
type sketches struct {
	col int
	// timed: streams and one-sided exchanges are left out, see store.Timed.
	timed bool
	maker *measure.Maker
	kind  measure.Kind
	of    []measure.Sketch
	sizes []int

	// of one chunk, sorted by group: values is where those of each group end, and sorted has them.
	ends   []uint32
	sorted []int64
}

// The columns that say what is left out of percentiles of durations.
var (
	streamed = record.Index("culprit.stream")
	grade    = record.Index("culprit.grade")
)

func (s *sketches) columns(dst []int) []int {
	if s.timed {
		dst = append(dst, streamed, grade)
	}
	return append(dst, s.col)
}

func newSketches(col int, timed bool, kind measure.Kind) *sketches {
	return &sketches{col: col, timed: timed, kind: kind, maker: measure.NewMaker(kind)}
}

func (s *sketches) empty() accumulator { return newSketches(s.col, s.timed, s.kind) }
func (s *sketches) drop()              { s.of, s.sizes, s.ends, s.sorted = nil, nil, nil, nil }

// leftOut returns a bitmap of the rows that are left out, nil when there are none. It is to be given back.
func (s *sketches) leftOut(e *evaluator) (bitmap, error) {
	if !s.timed {
		return nil, nil
	}
	stream := &within{col: streamed, lo: 0, hi: 0, outside: true}
	oneSided := &texts{grade, testOf(0, exchange.Text, exchange.OneSided.String(), false)}
	left := condition(or{stream, oneSided})
	if left.judge(e.chunk) == none {
		return nil, nil
	}
	b := e.take()
	b.fill(e.n)
	if err := left.narrow(e, b); err != nil {
		e.give(b)
		return nil, err
	}
	if b.empty() {
		e.give(b)
		return nil, nil
	}
	return b, nil
}

func (s *sketches) add(e *evaluator, rows, groups []uint32, n int) (grown int64, err error) {
	grown = int64(n-len(s.of)) * 16
	s.of, s.sizes = extend(s.of, n), extend(s.sizes, n)
	column, err := e.ints(s.col)
	if err != nil {
		return 0, err
	}
	left, err := s.leftOut(e)
	if err != nil {
		return 0, err
	}
	if left != nil {
		defer e.give(left)
	}
	// Sketches are far apart in memory, and each is large: their turns come one after the other.
	s.ends = slices.Grow(s.ends[:0], n+1)[:n+1]
	clear(s.ends)
	for _, g := range groups {
		s.ends[g+1]++
	}
	for i := 1; i <= n; i++ {
		s.ends[i] += s.ends[i-1]
	}
	s.sorted = slices.Grow(s.sorted[:0], len(groups))[:len(groups)]
	for i, g := range groups {
		r := i
		if rows != nil {
			r = int(rows[i])
		}
		v := column[r]
		if left != nil && left[r/64]>>(r%64)&1 != 0 {
			v = vector.Absent
		}
		s.sorted[s.ends[g]] = v // ends are begins until here
		s.ends[g]++
	}
	begin := uint32(0)
	for g := range n {
		end := s.ends[g]
		if begin == end {
			continue
		}
		sketch := s.of[g]
		if sketch == nil {
			sketch = s.maker.New()
			s.of[g] = sketch
		}
		for _, v := range s.sorted[begin:end] {
			sketch.Add(v) // which leaves out what is absent, since that is negative
		}
		begin = end
		grown += s.measure(g)
	}
	return grown, nil
}

// measure returns by how much a sketch has grown.
func (s *sketches) measure(g int) int64 {
	before := s.sizes[g]
	s.sizes[g] = s.of[g].Size()
	return int64(s.sizes[g] - before)
}

func (s *sketches) merge(from accumulator, into []uint32, n int) (grown int64) {
	grown = int64(n-len(s.of)) * 16
	s.of, s.sizes = extend(s.of, n), extend(s.sizes, n)
	for i, sketch := range from.(*sketches).of {
		if into[i] == unknown || sketch == nil {
			continue
		}
		g := int(into[i])
		if s.of[g] == nil {
			s.of[g] = s.maker.New()
		}
		if err := s.of[g].Merge(sketch); err != nil {
			panic(err) // they are of one kind, and newPlan refuses kinds that don't merge
		}
		grown += s.measure(g)
	}
	return grown
}

// distincts count the different values of a column.
type distincts struct {
	col      int
	constant record.Constant
	spread   uint64
	of       []set

	// of one chunk: seen has a bit for each group and text, hashes are those of the texts.
	seen   []uint64
	hashes []uint64
}

// maxSeen is up to how many pairs of a group and a text have a bit of their own.
const maxSeen = 1 << 25

func (d *distincts) columns(dst []int) []int {
	if d.col < 0 {
		return dst
	}
	return append(dst, d.col)
}

func (d *distincts) empty() accumulator {
	return &distincts{col: d.col, constant: d.constant, spread: d.spread}
}

func (d *distincts) drop() { d.of, d.seen, d.hashes = nil, nil, nil }

const setCost = 40

func (d *distincts) add(e *evaluator, rows, groups []uint32, n int) (grown int64, err error) {
	grown = int64(n-len(d.of)) * setCost
	d.of = extend(d.of, n)
	switch form := formOf(&grouping{col: d.col, constant: d.constant}); form {
	case record.Ints:
		column, err := e.ints(d.col)
		if err != nil {
			return 0, err
		}
		for i, g := range groups {
			r := i
			if rows != nil {
				r = int(rows[i])
			}
			if v := column[r]; v != vector.Absent {
				grown += d.of[g].add(hashInt(v), d.spread)
			}
		}
	case record.Texts:
		column := e.constantTexts(d.constant.Text)
		if d.col >= 0 {
			if column, err = e.texts(d.col); err != nil {
				return 0, err
			}
		}
		d.begin(&column.Dict, n)
		for i, g := range groups {
			r := i
			if rows != nil {
				r = int(rows[i])
			}
			if t := column.Rows[r]; t != 0 {
				grown += d.addText(&column.Dict, g, t)
			}
		}
	default:
		column := e.constantLists(d.constant.List)
		if d.col >= 0 {
			if column, err = e.lists(d.col); err != nil {
				return 0, err
			}
		}
		d.begin(&column.Dict, n)
		for i, g := range groups {
			r := i
			if rows != nil {
				r = int(rows[i])
			}
			for _, t := range column.Items[column.Ends[r]:column.Ends[r+1]] {
				grown += d.addText(&column.Dict, g, t)
			}
		}
	}
	return grown, nil
}

// begin begins with a dictionary, for n groups.
func (d *distincts) begin(dict *vector.Dict, n int) {
	texts := dict.Len() + 1
	d.hashes = slices.Grow(d.hashes[:0], texts)[:texts]
	clear(d.hashes)
	d.seen = d.seen[:0]
	if n*texts <= maxSeen {
		d.seen = slices.Grow(d.seen, words(n*texts))[:words(n*texts)]
		clear(d.seen)
	}
}

// addText adds text t to group g.
func (d *distincts) addText(dict *vector.Dict, g, t uint32) int64 {
	if len(d.seen) > 0 {
		at := int(g)*len(d.hashes) + int(t)
		if d.seen[at/64]>>(at%64)&1 != 0 {
			return 0
		}
		d.seen[at/64] |= 1 << (at % 64)
	}
	h := d.hashes[t]
	if h == 0 {
		h = hashText(dict.At(t))
		d.hashes[t] = h
	}
	return d.of[g].add(h, d.spread)
}

func (d *distincts) merge(from accumulator, into []uint32, n int) (grown int64) {
	grown = int64(n-len(d.of)) * setCost
	d.of = extend(d.of, n)
	f := from.(*distincts)
	for i := range f.of {
		if into[i] != unknown {
			grown += d.of[into[i]].merge(&f.of[i], d.spread)
		}
	}
	return grown
}

// reading says how a metric is told from accumulators.
type reading struct {
	accumulator int // its index; -1: the count alone
	value       func(a accumulator, g int, count int64, seconds float64) []float64
}

// plan are the accumulators that metrics need, each once, the count first.
type plan struct {
	accumulators []accumulator
	readings     []reading
}

func one(v float64) []float64 { return []float64{v} }

func newPlan(metrics []store.Metric, kind measure.Kind, spread uint64) (*plan, error) {
	p := &plan{accumulators: []accumulator{&counts{}}}
	index := map[string]int{}
	// share returns the accumulator of that name, which make makes if it isn't there.
	share := func(name string, make func() accumulator) int {
		i, ok := index[name]
		if !ok {
			i = len(p.accumulators)
			index[name] = i
			p.accumulators = append(p.accumulators, make())
		}
		return i
	}
	for i := range metrics {
		m := &metrics[i]
		var read reading
		switch m.Kind {
		case store.Sum, store.Min, store.Max, store.Mean, store.Percentiles:
			if m.Field == nil || m.Field.Kind != exchange.Int && m.Field.Kind != exchange.Duration {
				return nil, fmt.Errorf("metric %d is of numbers, and %s aren't; choose a field that is a number or a duration", i+1, fieldName(m.Field))
			}
		case store.Distinct:
			if m.Field == nil || m.Field.Kind == exchange.Headers {
				return nil, fmt.Errorf("the different values of %s can't be counted; choose a field with single values", fieldName(m.Field))
			}
		}
		switch m.Kind {
		case store.Sum, store.Min, store.Max, store.Mean:
			col, _ := record.Lookup(m.Field)
			read.accumulator = share("summary "+record.Columns[col].Name, func() accumulator { return &summary{col: col} })
			read.value = readSummary(m.Kind)
		case store.Percentiles:
			col, _ := record.Lookup(m.Field)
			if !kind.Merges() {
				return nil, fmt.Errorf("percentiles of a store can't be told from sketches of kind %s: what its workers find is merged, and %w", kind, measure.ErrNoMerge)
			}
			read.accumulator = share("sketches "+record.Columns[col].Name, func() accumulator { return newSketches(col, store.Timed(m.Field), kind) })
			for _, q := range m.Quantiles {
				if !(q >= 0 && q <= 1) {
					return nil, fmt.Errorf("there is no quantile %v; they are from 0 to 1", q)
				}
			}
			read.value = readQuantiles(m.Quantiles)
		case store.Distinct:
			col, constant := record.Lookup(m.Field)
			read.accumulator = share("distinct "+m.Field.Name, func() accumulator { return &distincts{col: col, constant: constant, spread: spread} })
			read.value = func(a accumulator, g int, _ int64, _ float64) []float64 {
				return one(a.(*distincts).of[g].len())
			}
		case store.Rate:
			read.accumulator = 0
			read.value = func(_ accumulator, _ int, count int64, seconds float64) []float64 {
				if seconds <= 0 {
					return one(math.NaN())
				}
				return one(float64(count) / seconds)
			}
		case store.Errors, store.ErrorRate:
			read.accumulator = share("failures", func() accumulator { return &failures{} })
			part := m.Kind == store.ErrorRate
			read.value = func(a accumulator, g int, count int64, _ float64) []float64 {
				n := float64(a.(*failures).of[g])
				if part {
					n /= float64(count)
				}
				return one(n)
			}
		default:
			return nil, fmt.Errorf("there is no metric of kind %d", m.Kind)
		}
		p.readings = append(p.readings, read)
	}
	return p, nil
}

func fieldName(f *exchange.Field) string {
	if f == nil {
		return "no field"
	}
	return f.Name
}

func readSummary(k store.MetricKind) func(a accumulator, g int, _ int64, _ float64) []float64 {
	return func(a accumulator, g int, _ int64, _ float64) []float64 {
		t := &a.(*summary).of[g]
		switch {
		case k == store.Sum:
			return one(t.sum())
		case t.count == 0:
			return one(math.NaN())
		case k == store.Min:
			return one(float64(t.min))
		case k == store.Max:
			return one(float64(t.max))
		}
		return one(t.sum() / float64(t.count))
	}
}

func readQuantiles(quantiles []float64) func(a accumulator, g int, _ int64, _ float64) []float64 {
	return func(a accumulator, g int, _ int64, _ float64) []float64 {
		values := make([]float64, len(quantiles))
		for i, q := range quantiles {
			values[i] = math.NaN()
			if s := a.(*sketches).of[g]; s != nil {
				if v, ok := s.Quantile(q); ok {
					values[i] = float64(v)
				}
			}
		}
		return values
	}
}
