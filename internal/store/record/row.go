package record

import (
	"math"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Cell is the value of one column of one exchange; the column's Form says which member holds.
type Cell struct {
	// Int is a number, a time, a duration, a truth (0 or 1), or math.Float64bits.
	Int    int64
	Text   []byte
	List   [][]byte
	Fields []Field
}

// Field is a header field; Name is in lower case. Fields of equal names stand together.
type Field struct{ Name, Value []byte }

// Row is one exchange as cells. Texts are borrowed from what the row was read from.
type Row struct {
	cells [maxColumns]Cell
	set   [maxColumns]bool
	// Present are the columns that have a value, in the order in which they were set.
	Present []int
}

// maxColumns bounds the columns of Columns.
const maxColumns = 400

// Reset empties the row, and keeps its memory.
func (r *Row) Reset() {
	for _, col := range r.Present {
		c := &r.cells[col]
		r.set[col] = false
		c.Text, c.List, c.Fields = nil, c.List[:0], c.Fields[:0]
	}
	r.Present = r.Present[:0]
}

// Set makes room for the value of a column, which must not have one, and returns its cell for the caller to fill.
func (r *Row) Set(col int) *Cell {
	r.set[col] = true
	r.Present = append(r.Present, col)
	return &r.cells[col]
}

// Cell returns the value of a column, nil when there is none.
func (r *Row) Cell(col int) *Cell {
	if col < 0 || !r.set[col] {
		return nil
	}
	return &r.cells[col]
}

// Int returns the number of a column, and whether there is one.
func (r *Row) Int(col int) (int64, bool) {
	if c := r.Cell(col); c != nil {
		return c.Int, true
	}
	return 0, false
}

// Text returns the text of a column, nil when there is none.
func (r *Row) Text(col int) []byte {
	if c := r.Cell(col); c != nil {
		return c.Text
	}
	return nil
}

// ID returns the id of the exchange in its text form, and Time its start, in nanoseconds since 1970.
func (r *Row) ID() []byte  { return r.cells[ID].Text }
func (r *Row) Time() int64 { return r.cells[Time].Int }

// number returns the form in which a number of a value is stored.
func number(v *exchange.Value) int64 {
	if v.Kind == exchange.Float {
		return int64(math.Float64bits(v.Float))
	}
	return v.Int
}
