package query

import (
	"fmt"

	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// evaluator evaluates conditions on one chunk after the other, in memory that it keeps. It is used by one
// goroutine.
type evaluator struct {
	// check returns an error when the question shall end.
	check func() error

	chunk   vector.Chunk
	n       int // rows of the chunk
	bitmaps []bitmap
	bytes   [][]uint8
	scratch []byte
	ones    []uint32
	absent  vector.Ints
}

// open begins with a chunk. What was taken for the one before was given back.
func (e *evaluator) open(c vector.Chunk) {
	if c.Len() != e.n {
		e.bitmaps = e.bitmaps[:0]
	}
	e.chunk, e.n = c, c.Len()
}

// take returns a bitmap for the chunk's rows, with anything in it, until give.
func (e *evaluator) take() bitmap {
	if n := len(e.bitmaps); n > 0 {
		b := e.bitmaps[n-1]
		e.bitmaps = e.bitmaps[:n-1]
		return b
	}
	return make(bitmap, words(e.n))
}

func (e *evaluator) give(b bitmap) { e.bitmaps = append(e.bitmaps, b) }

// zeros returns n zero bytes until giveBytes.
func (e *evaluator) zeros(n int) []uint8 {
	if last := len(e.bytes) - 1; last >= 0 {
		b := e.bytes[last]
		e.bytes = e.bytes[:last]
		if cap(b) >= n {
			b = b[:n]
			clear(b)
			return b
		}
	}
	return make([]uint8, n, n+n/4)
}

func (e *evaluator) giveBytes(b []uint8) { e.bytes = append(e.bytes, b) }

// lower returns a text with its ASCII letters in lower case: borrowed until the next call.
func (e *evaluator) lower(text []byte) []byte {
	e.scratch = e.scratch[:0]
	for _, c := range text {
		e.scratch = append(e.scratch, lowerASCII(c))
	}
	return e.scratch
}

// keepTested is keep for slow tests: it ends when the question shall.
func (e *evaluator) keepTested(selected bitmap, test func(r int) bool) error {
	var err error
	asked := 0
	selected.keep(func(r int) bool {
		if asked++; asked%checkEvery == 0 && err == nil {
			err = e.check()
		}
		return err == nil && test(r)
	})
	return err
}

// ints reads a column of numbers, which has a number for each row.
func (e *evaluator) ints(col int) (vector.Ints, error) {
	rows, err := e.chunk.Ints(col)
	if err != nil {
		return nil, readError(col, err)
	}
	if len(rows) < e.n { // a column that the chunk doesn't have
		for len(e.absent) < e.n {
			e.absent = append(e.absent, vector.Absent)
		}
		return e.absent[:e.n], nil
	}
	return rows[:e.n], nil
}

// texts reads a column of texts.
func (e *evaluator) texts(col int) (*vector.Texts, error) {
	t, err := e.chunk.Texts(col)
	if err != nil {
		return nil, readError(col, err)
	}
	if t == nil || len(t.Rows) < e.n {
		return &vector.Texts{Rows: make([]uint32, e.n)}, nil
	}
	return t, nil
}

// lists reads a column of lists.
func (e *evaluator) lists(col int) (*vector.Lists, error) {
	l, err := e.chunk.Lists(col)
	if err != nil {
		return nil, readError(col, err)
	}
	if l == nil || len(l.Ends) <= e.n {
		return &vector.Lists{Ends: make([]uint32, e.n+1)}, nil
	}
	return l, nil
}

// headers reads a column of header fields.
func (e *evaluator) headers(col int) (*vector.Headers, error) {
	h, err := e.chunk.Headers(col)
	if err != nil {
		return nil, readError(col, err)
	}
	if h == nil || len(h.Ends) <= e.n {
		return &vector.Headers{Ends: make([]uint32, e.n+1)}, nil
	}
	return h, nil
}

func readError(col int, err error) error {
	return fmt.Errorf("reading %s: %w", record.Columns[col].Name, err)
}

// constantTexts is a column of texts that says the same of every row: borrowed until the next chunk.
func (e *evaluator) constantTexts(text string) *vector.Texts {
	t := &vector.Texts{}
	t.Dict.Add([]byte(text))
	for len(e.ones) < e.n {
		e.ones = append(e.ones, 1)
	}
	t.Rows = e.ones[:e.n]
	return t
}

// constantLists is a column of lists that says the same of every row.
func (e *evaluator) constantLists(list []string) *vector.Lists {
	l := &vector.Lists{Ends: make([]uint32, 1, e.n+1)}
	for _, text := range list {
		l.Dict.Add([]byte(text))
	}
	for range e.n {
		for i := range list {
			l.Items = append(l.Items, uint32(i+1))
		}
		l.Ends = append(l.Ends, uint32(len(l.Items)))
	}
	return l
}
