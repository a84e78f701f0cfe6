package query

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/culprit-http/culprit/internal/store/vector"
)

// verdict is what statistics say of how many rows of a chunk a condition is true.
type verdict uint8

const (
	some verdict = iota // or any number: nothing is known
	none
	all
)

// condition is a compiled filter. Every condition but not is false of a value that is absent. Conditions never
// change, and are shared by the workers.
type condition interface {
	// judge says what the chunk's statistics tell.
	judge(c vector.Chunk) verdict
	// narrow unselects the rows of which the condition isn't true.
	narrow(e *evaluator, selected bitmap) error
	// weight is about what it costs to look at a row, for the order of conditions.
	weight() int
	// columns appends the columns that it reads.
	columns(dst []int) []int
}

// The weights of conditions.
const (
	weightConstant = 0
	weightInts     = 1
	weightTexts    = 4
	weightLists    = 8
	weightSearch   = 20
	weightHeaders  = 60
	weightPattern  = 100
)

// constant is true or false of every row.
type constant bool

func (c constant) judge(vector.Chunk) verdict {
	if c {
		return all
	}
	return none
}

func (c constant) narrow(_ *evaluator, selected bitmap) error {
	if !c {
		clear(selected)
	}
	return nil
}

func (constant) weight() int             { return weightConstant }
func (constant) columns(dst []int) []int { return dst }

// and is true when all are: the cheap ones first.
type and []condition

func newAnd(conditions []condition) condition {
	conditions = slices.DeleteFunc(conditions, func(c condition) bool { return c == constant(true) })
	switch {
	case len(conditions) == 0:
		return constant(true)
	case len(conditions) == 1:
		return conditions[0]
	}
	slices.SortStableFunc(conditions, byWeight)
	return and(conditions)
}

func byWeight(a, b condition) int { return cmp.Compare(a.weight(), b.weight()) }

func (a and) judge(c vector.Chunk) verdict {
	v := all
	for _, child := range a {
		switch child.judge(c) {
		case none:
			return none
		case some:
			v = some
		}
	}
	return v
}

func (a and) narrow(e *evaluator, selected bitmap) error {
	for _, child := range a {
		if selected.empty() {
			return nil
		}
		if child.judge(e.chunk) == all {
			continue
		}
		if err := child.narrow(e, selected); err != nil {
			return err
		}
	}
	return nil
}

func (a and) weight() int             { return sum(a) }
func (a and) columns(dst []int) []int { return columnsOf(a, dst) }

func sum(conditions []condition) (n int) {
	for _, c := range conditions {
		n += c.weight()
	}
	return n
}

func columnsOf(conditions []condition, dst []int) []int {
	for _, c := range conditions {
		dst = c.columns(dst)
	}
	return dst
}

// or is true when one is; the others are asked of the rows that are left.
type or []condition

func newOr(conditions []condition) condition {
	if len(conditions) == 1 {
		return conditions[0]
	}
	slices.SortStableFunc(conditions, byWeight)
	return or(conditions)
}

func (o or) judge(c vector.Chunk) verdict {
	v := none
	for _, child := range o {
		switch child.judge(c) {
		case all:
			return all
		case some:
			v = some
		}
	}
	return v
}

func (o or) narrow(e *evaluator, selected bitmap) error {
	left, try := e.take(), e.take()
	defer e.give(left)
	defer e.give(try)
	copy(left, selected)
	for _, child := range o {
		switch child.judge(e.chunk) {
		case none:
			continue
		case all:
			return nil // of selected
		}
		copy(try, left)
		if err := child.narrow(e, try); err != nil {
			return err
		}
		for i, w := range try {
			left[i] &^= w
		}
		if left.empty() {
			return nil
		}
	}
	for i, w := range left {
		selected[i] &^= w
	}
	return nil
}

func (o or) weight() int             { return sum(o) }
func (o or) columns(dst []int) []int { return columnsOf(o, dst) }

// not is true when its condition isn't.
type not struct{ condition }

func (n not) judge(c vector.Chunk) verdict {
	switch n.condition.judge(c) {
	case none:
		return all
	case all:
		return none
	}
	return some
}

func (n not) narrow(e *evaluator, selected bitmap) error {
	try := e.take()
	defer e.give(try)
	copy(try, selected)
	if err := n.condition.narrow(e, try); err != nil {
		return err
	}
	for i, w := range try {
		selected[i] &^= w
	}
	return nil
}

// within is true of the numbers of a column from lo to hi, or, outside, of all others that are there.
type within struct {
	col     int
	lo, hi  int64 // lo > hi: no number is within
	outside bool
}

func (w *within) judge(c vector.Chunk) verdict {
	least, most, absent, ok := c.Bounds(w.col)
	switch {
	case !ok:
		return some
	case least > most: // there are none
		return none
	}
	in := some
	switch {
	case w.lo > w.hi || w.hi < least || most < w.lo:
		in = none
	case w.lo <= least && most <= w.hi:
		in = all
	}
	if w.outside {
		in = [...]verdict{some: some, none: all, all: none}[in]
	}
	if in == all && absent {
		return some
	}
	return in
}

func (w *within) narrow(e *evaluator, selected bitmap) error {
	rows, err := e.ints(w.col)
	if err != nil {
		return err
	}
	if w.outside {
		selected.keepRange(rows, vector.Absent+1, 1<<63-1)
		if w.lo <= w.hi {
			in := e.take()
			defer e.give(in)
			copy(in, selected)
			in.keepRange(rows, w.lo, w.hi)
			for i, bits := range in {
				selected[i] &^= bits
			}
		}
		return nil
	}
	if w.lo > w.hi {
		clear(selected)
		return nil
	}
	selected.keepRange(rows, w.lo, w.hi)
	return nil
}

func (*within) weight() int               { return weightInts }
func (w *within) columns(dst []int) []int { return append(dst, w.col) }

// oneOf is true of the numbers of a column that are in a list.
type oneOf struct {
	col    int
	values []int64 // sorted
}

func (o *oneOf) judge(c vector.Chunk) verdict {
	least, most, _, ok := c.Bounds(o.col)
	if !ok {
		return some
	}
	if i, _ := slices.BinarySearch(o.values, least); i == len(o.values) || o.values[i] > most {
		return none
	}
	return some
}

func (o *oneOf) narrow(e *evaluator, selected bitmap) error {
	rows, err := e.ints(o.col)
	if err != nil {
		return err
	}
	if len(o.values) == 0 {
		clear(selected)
		return nil
	}
	selected.keepRange(rows, o.values[0], o.values[len(o.values)-1])
	selected.keep(func(r int) bool {
		_, found := slices.BinarySearch(o.values, rows[r])
		return found
	})
	return nil
}

func (*oneOf) weight() int               { return weightInts + 1 }
func (o *oneOf) columns(dst []int) []int { return append(dst, o.col) }

// number is true of the numbers of a column that pass a test of them as floats.
type number struct {
	col  int
	test func(bits int64) bool
}

func (*number) judge(vector.Chunk) verdict { return some }

func (n *number) narrow(e *evaluator, selected bitmap) error {
	rows, err := e.ints(n.col)
	if err != nil {
		return err
	}
	selected.keep(func(r int) bool { return rows[r] != vector.Absent && n.test(rows[r]) })
	return nil
}

func (*number) weight() int               { return weightInts + 1 }
func (n *number) columns(dst []int) []int { return append(dst, n.col) }

// textTest is a test of a text.
type textTest struct {
	// pass tests one text.
	pass func(e *evaluator, text []byte) bool
	// find, if there is one, finds all texts of a dictionary that pass.
	find *finder
	// judge says what bounds tell of the column's texts; nil: nothing. absent: rows may lack a text.
	judge func(least, most []byte) verdict
	// only are the texts one of which a row must have to pass; nil: any may do.
	only [][]byte
	// heavy is the weight of a test that is slow.
	heavy int
}

// texts is true of the rows whose text passes.
type texts struct {
	col int
	textTest
}

func (t *texts) judge(c vector.Chunk) verdict {
	least, most, absent, ok := c.TextBounds(t.col)
	v := some
	switch {
	case ok && bytes.Compare(least, most) > 0: // there are none
		return none
	case ok && t.textTest.judge != nil:
		v = t.textTest.judge(least, most)
	}
	if v == all && absent {
		v = some
	}
	if v == some && t.only != nil && !slices.ContainsFunc(t.only, func(text []byte) bool {
		return (!ok || bytes.Compare(least, text) <= 0 && bytes.Compare(text, most) <= 0) && c.MayHave(t.col, text)
	}) {
		return none
	}
	return v
}

// few is how many times fewer the selected rows must be than the texts of the dictionary for each of them to be
// looked at, instead of all texts.
const few = 4

func (t *texts) narrow(e *evaluator, selected bitmap) error {
	column, err := e.texts(t.col)
	if err != nil {
		return err
	}
	d := &column.Dict
	if selected.count() < d.Len()/few {
		return e.keepTested(selected, func(r int) bool {
			n := column.Rows[r]
			return n != 0 && t.pass(e, d.At(n))
		})
	}
	hits := e.zeros(d.Len() + 1)
	defer e.giveBytes(hits)
	if err := t.hit(e, d, hits); err != nil {
		return err
	}
	selected.keepHits(column.Rows[:e.n], hits)
	return nil
}

// hit sets hits[n] to 1 for each number of a text that passes.
func (t *textTest) hit(e *evaluator, d *vector.Dict, hits []uint8) error {
	if t.find != nil {
		return t.find.mark(e, d, hits)
	}
	for n := 1; n < len(hits); n++ {
		if n%checkEvery == 0 {
			if err := e.check(); err != nil {
				return err
			}
		}
		if t.pass(e, d.At(uint32(n))) {
			hits[n] = 1
		}
	}
	return nil
}

func (t *texts) weight() int             { return weightTexts + t.heavy }
func (t *texts) columns(dst []int) []int { return append(dst, t.col) }

// lists is true of the rows one of whose elements passes.
type lists struct {
	col int
	textTest
}

func (l *lists) judge(c vector.Chunk) verdict {
	if l.only != nil && !slices.ContainsFunc(l.only, func(text []byte) bool { return c.MayHave(l.col, text) }) {
		return none
	}
	return some
}

func (l *lists) narrow(e *evaluator, selected bitmap) error {
	column, err := e.lists(l.col)
	if err != nil {
		return err
	}
	hits := e.zeros(column.Dict.Len() + 1)
	defer e.giveBytes(hits)
	if err := l.hit(e, &column.Dict, hits); err != nil {
		return err
	}
	selected.keep(func(r int) bool {
		for _, n := range column.Items[column.Ends[r]:column.Ends[r+1]] {
			if hits[n] != 0 {
				return true
			}
		}
		return false
	})
	return nil
}

func (l *lists) weight() int             { return weightLists + l.heavy }
func (l *lists) columns(dst []int) []int { return append(dst, l.col) }

// fields is true of the rows that have a header field of a name whose value passes.
type fields struct {
	col  int
	name string // in lower case; empty: any
	textTest
}

func (*fields) judge(vector.Chunk) verdict { return some }

// What is known of the value of a header field.
const (
	untested uint8 = iota
	passed
	refused
)

func (f *fields) narrow(e *evaluator, selected bitmap) error {
	column, err := e.headers(f.col)
	if err != nil {
		return err
	}
	if f.name == "" {
		selected.keep(func(r int) bool { return column.Ends[r] < column.Ends[r+1] })
		return nil
	}
	names := e.zeros(column.NameDict.Len() + 1)
	defer e.giveBytes(names)
	known := false
	for n := 1; n < len(names); n++ {
		if string(column.NameDict.At(uint32(n))) == f.name {
			names[n], known = 1, true
		}
	}
	if !known {
		clear(selected)
		return nil
	}
	results := e.zeros(column.ValueDict.Len() + 1)
	defer e.giveBytes(results)
	return e.keepTested(selected, func(r int) bool {
		for i := column.Ends[r]; i < column.Ends[r+1]; i++ {
			if names[column.Names[i]] == 0 {
				continue
			}
			n := column.Values[i]
			if results[n] == untested {
				results[n] = refused
				if f.pass(e, column.ValueDict.At(n)) {
					results[n] = passed
				}
			}
			if results[n] == passed {
				return true
			}
		}
		return false
	})
}

func (f *fields) weight() int             { return weightHeaders + f.heavy }
func (f *fields) columns(dst []int) []int { return append(dst, f.col) }
