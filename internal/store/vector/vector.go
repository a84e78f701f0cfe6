// Package vector holds columns of exchanges in memory: what a query computes with, whether it comes from a
// segment on disk or from the tail that isn't written yet.
package vector

import (
	"math"

	"github.com/culprit-http/culprit/internal/store/record"
)

// Absent is the number of an integer column where there is none.
const Absent = math.MinInt64

// Ints is a column of numbers, times, durations, truths (0 or 1) and floats (math.Float64bits): one a row, Absent where there
// is none.
type Ints []int64

// Dict are texts that rows refer to by number, from 1; 0 is no text. Text n is Bytes[Ends[n-1]:Ends[n]]; Ends
// has one element more than there are texts, the first of which is 0. A text may be in it more than once.
type Dict struct {
	Bytes []byte
	Ends  []uint32
}

// Len returns the number of texts.
func (d *Dict) Len() int { return max(len(d.Ends)-1, 0) }

// At returns text n, from 1.
func (d *Dict) At(n uint32) []byte { return d.Bytes[d.Ends[n-1]:d.Ends[n]] }

// Add adds a text, and returns its number.
func (d *Dict) Add(text []byte) uint32 {
	if len(d.Ends) == 0 {
		d.Ends = append(d.Ends, 0)
	}
	d.Bytes = append(d.Bytes, text...)
	d.Ends = append(d.Ends, uint32(len(d.Bytes)))
	return uint32(len(d.Ends) - 1)
}

// Texts is a column of texts: the number of each row's text in Dict, 0 where there is none.
type Texts struct {
	Dict Dict
	Rows []uint32
}

// Lists is a column of lists of texts: row r has Items[Ends[r]:Ends[r+1]], which are numbers in Dict. Ends has one
// element more than there are rows. An empty list is an absent one.
type Lists struct {
	Dict  Dict
	Items []uint32
	Ends  []uint32
}

// Headers is a column of header fields: row r has the fields Ends[r] to Ends[r+1], of which Names has the
// lower-case names, as numbers in NameDict, and Values the values, as numbers in ValueDict. Equal names stand
// together, values of one name in the order in which they were sent.
type Headers struct {
	NameDict, ValueDict Dict
	Names, Values       []uint32
	Ends                []uint32
}

// Chunk is a run of rows whose columns can be read one by one. Columns are numbered as record.Columns. What the
// methods return is borrowed until Release. A Chunk is used by one goroutine at a time.
type Chunk interface {
	Len() int
	// Bounds returns the smallest and the largest number of an integer column, and whether rows may lack it.
	// ok: they are known. A chunk without any has min > max.
	Bounds(col int) (min, max int64, absent, ok bool)
	// TextBounds is Bounds for texts; the bounds may be shortened: min is at most the smallest, max at least the
	// largest.
	TextBounds(col int) (min, max []byte, absent, ok bool)
	// MayHave reports whether a row may have that text in a column of texts or lists: false is certain.
	MayHave(col int, text []byte) bool

	// These read a column. A column that the chunk doesn't have is absent in all rows.
	Ints(col int) (Ints, error)
	Texts(col int) (*Texts, error)
	Lists(col int) (*Lists, error)
	Headers(col int) (*Headers, error)

	// Row reads one row into an empty row: these columns, or all when cols is nil.
	Row(r int, cols []int, into *record.Row) error

	// Cost returns about how many bytes reading these columns takes in memory.
	Cost(cols []int) int64
	// Release lets go of what was read.
	Release()
}

// Part is a run of rows that isn't open yet: a row group of a segment, or the tail of the log.
type Part interface {
	Rows() int
	// Times returns the start of the first and of the last exchange, in nanoseconds since 1970.
	Times() (first, last int64)
	// Open opens the part for one question. It is safe for concurrent use.
	Open() (Chunk, error)
}
