package segment

import (
	"bytes"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// Some columns follow from others. Files don't repeat them: they have a column culprit.stored.NAME instead, which holds
// the value of the few rows where it isn't what follows.

// derivedInts are the columns of numbers that follow from others: the sum of the columns of plus, less those of minus.
// It is absent when one of those is; the columns of maybe are added where they are present.
type derivedInts struct {
	name               string
	plus, minus, maybe []string
}

var derivedColumns = []derivedInts{
	{"event.end", []string{"@timestamp", "event.duration"}, nil, nil},
	{"culprit.timing.wait", []string{"event.duration"}, []string{"culprit.timing.send", "culprit.timing.receive"}, nil},
	{"culprit.timing.ttfb", []string{"event.duration"}, []string{"culprit.timing.receive"}, nil},
	{"culprit.timing.total", []string{"event.duration"}, nil, []string{"culprit.timing.idle", "culprit.timing.connect", "culprit.timing.tls"}},
}

// derivedTarget is the column of texts that follows from others: the path and, behind a question mark, the query.
const derivedTarget = "url.original"

// correction is the name of the column that stands for a derived one.
func correction(name string) string { return "culprit.stored." + name }

// none is the correction of a row that has no value.
const none = math.MinInt64 + 1

// formula is a derivedInts by the numbers of the columns.
type formula struct{ plus, minus, maybe []int }

// formulas are those of record.Columns, nil for columns that are stored. target is the number of derivedTarget, and
// path and query those of the columns that it follows from.
type formulas struct {
	of                  []*formula
	target, path, query int
}

func newFormulas() *formulas {
	numbers := func(names []string) (all []int) {
		for _, name := range names {
			all = append(all, record.Index(name))
		}
		return all
	}
	f := &formulas{of: make([]*formula, len(record.Columns))}
	for _, d := range derivedColumns {
		f.of[record.Index(d.name)] = &formula{numbers(d.plus), numbers(d.minus), numbers(d.maybe)}
	}
	f.target, f.path, f.query = record.Index(derivedTarget), record.Index("url.path"), record.Index("url.query")
	return f
}

// derived reports whether a column isn't in files.
func (f *formulas) derived(col int) bool { return col == f.target || f.of[col] != nil }

// inputs are the columns that a formula needs.
func (f *formula) inputs() []int { return slices.Concat(f.plus, f.minus, f.maybe) }

// value returns what follows from the numbers of the columns.
func (f *formula) value(number func(col int) int64) (sum int64) {
	for _, col := range f.plus {
		n := number(col)
		if n == vector.Absent {
			return n
		}
		sum += n
	}
	for _, col := range f.minus {
		n := number(col)
		if n == vector.Absent {
			return n
		}
		sum -= n
	}
	for _, col := range f.maybe {
		if n := number(col); n != vector.Absent {
			sum += n
		}
	}
	return sum
}

// columns returns what follows for all rows from what read gives of the columns.
func (f *formula) columns(rows int, read func(col int) (vector.Ints, error)) (vector.Ints, error) {
	sum := make(vector.Ints, rows)
	for i, group := range [3][]int{f.plus, f.minus, f.maybe} {
		for _, col := range group {
			ints, err := read(col)
			if err != nil {
				return nil, err
			}
			for r := range sum {
				var n int64 = vector.Absent // those at the end of a column that lack a value aren't in it
				if r < len(ints) {
					n = ints[r]
				}
				switch {
				case n == vector.Absent && i == 2 || sum[r] == vector.Absent:
				case n == vector.Absent:
					sum[r] = n
				case i == 1:
					sum[r] -= n
				default:
					sum[r] += n
				}
			}
		}
	}
	return sum, nil
}

// appendTarget appends the target that follows from a path and a query; has: there is a query.
func appendTarget(dst, path, query []byte, has bool) []byte {
	dst = append(dst, path...)
	if has {
		dst = append(append(dst, '?'), query...)
	}
	return dst
}

// derivedInts writes the corrections of a derived column.
func (w *Writer) derivedInts(to *parquet.ColumnWriter, leaf int, f *formula, m *vector.Memory, col int, order []uint32) error {
	follows, err := f.columns(m.Len(), m.Ints)
	if err != nil {
		return err
	}
	actual, err := m.Ints(col)
	if err != nil {
		return err
	}
	null := parquet.NullValue().Level(0, 0, leaf)
	w.begin(pageRows)
	for i, r := range order {
		v := null
		switch n := actual[r]; {
		case n == follows[r]:
		case n == vector.Absent:
			v = parquet.Int64Value(none).Level(0, 1, leaf)
		default:
			v = parquet.Int64Value(n).Level(0, 1, leaf)
		}
		if err := w.add(to, i, v); err != nil {
			return err
		}
	}
	return w.flush(to)
}

// derivedTarget writes the targets that don't follow from path and query.
func (w *Writer) derivedTarget(to *parquet.ColumnWriter, leaf int, m *vector.Memory, order []uint32) error {
	var texts [3]*vector.Texts
	for i, col := range [...]int{w.formulas.target, w.formulas.path, w.formulas.query} {
		t, err := m.Texts(col)
		if err != nil {
			return err
		}
		texts[i] = t
	}
	at := func(t *vector.Texts, r uint32) ([]byte, bool) {
		if n := t.Rows[r]; n != 0 {
			return t.Dict.At(n), true
		}
		return nil, false
	}
	null := parquet.NullValue().Level(0, 0, leaf)
	var scratch []byte
	w.begin(pageRows)
	for i, r := range order {
		v := null
		target, _ := at(texts[0], r)
		path, _ := at(texts[1], r)
		query, hasQuery := at(texts[2], r)
		scratch = appendTarget(scratch[:0], path, query, hasQuery)
		if !bytes.Equal(target, scratch) {
			v = parquet.ByteArrayValue(target).Level(0, 1, leaf)
		}
		if err := w.add(to, i, v); err != nil {
			return err
		}
	}
	return w.flush(to)
}

// derivedInts reads a derived column.
func (c *chunk) derivedInts(col int, f *formula) (vector.Ints, error) {
	ints, err := f.columns(c.rows, c.Ints)
	if err != nil {
		return nil, err
	}
	if leaf := c.leaf(col, 0); leaf != nil && leaf.NullCount() < int64(c.rows) {
		corrections, err := c.readInts(leaf)
		if err != nil {
			return nil, err
		}
		for r, n := range corrections {
			ints[r] = corrected(n, ints[r])
		}
	}
	return ints, nil
}

func corrected(correction, follows int64) int64 {
	switch correction {
	case vector.Absent:
		return follows
	case none:
		return vector.Absent
	}
	return correction
}

// derivedTexts reads the targets.
func (c *chunk) derivedTexts(col int) (*vector.Texts, error) {
	path, err := c.Texts(c.segment.formulas.path)
	if err != nil {
		return nil, err
	}
	query, err := c.Texts(c.segment.formulas.query)
	if err != nil {
		return nil, err
	}
	given := &vector.Texts{}
	if leaf := c.leaf(col, 0); leaf != nil && leaf.NullCount() < int64(c.rows) {
		if given, err = c.readTexts(leaf); err != nil {
			return nil, err
		}
	}
	// Paths that stand alone are the targets; others are new texts.
	t := &vector.Texts{Dict: path.Dict, Rows: path.Rows}
	var scratch []byte
	for r := range t.Rows {
		switch {
		case r < len(given.Rows) && given.Rows[r] != 0:
			t.Rows[r] = t.Dict.Add(given.Dict.At(given.Rows[r]))
		case query.Rows[r] != 0:
			var p []byte
			if path.Rows[r] != 0 {
				p = path.Dict.At(path.Rows[r])
			}
			scratch = appendTarget(scratch[:0], p, query.Dict.At(query.Rows[r]), true)
			t.Rows[r] = t.Dict.Add(scratch)
		}
	}
	return t, nil
}

// derivedCell reads one value of a derived column of numbers.
func (c *chunk) derivedCell(r, col int, f *formula, into *record.Row) error {
	row := &c.scratch
	row.Reset()
	for _, input := range f.inputs() {
		if err := c.cell(r, input, row); err != nil {
			return err
		}
	}
	n := f.value(func(col int) int64 {
		if cell := row.Cell(col); cell != nil {
			return cell.Int
		}
		return vector.Absent
	})
	if err := c.storedCell(r, col, row); err != nil {
		return err
	}
	if cell := row.Cell(col); cell != nil {
		n = corrected(cell.Int, n)
	}
	if n != vector.Absent {
		into.Set(col).Int = n
	}
	return nil
}

// derivedTargetCell reads one target.
func (c *chunk) derivedTargetCell(r, col int, into *record.Row) error {
	row := &c.scratch
	row.Reset()
	for _, input := range [...]int{c.segment.formulas.path, c.segment.formulas.query} {
		if err := c.cell(r, input, row); err != nil {
			return err
		}
	}
	if err := c.storedCell(r, col, row); err != nil {
		return err
	}
	path, query, given := row.Cell(c.segment.formulas.path), row.Cell(c.segment.formulas.query), row.Cell(col)
	switch {
	case given != nil:
		into.Set(col).Text = given.Text
	case query != nil:
		into.Set(col).Text = appendTarget(nil, row.Text(c.segment.formulas.path), query.Text, true)
	case path != nil:
		into.Set(col).Text = path.Text
	}
	return nil
}
