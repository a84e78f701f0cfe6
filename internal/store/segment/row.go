package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// cursor reads single rows of a leaf column. It goes on from the row that it has read last, which is cheap; going
// elsewhere slices the page, which looks at the levels of all its values.
type cursor struct {
	pages parquet.Pages
	// page is the last that was read; it has the rows from begin to before end.
	page       parquet.Page
	begin, end int64

	// values are those of the row before next. rest reads what comes behind ahead, which it has read of row next and those
	// behind it; nil: page wasn't read from yet.
	values []parquet.Value
	next   int64
	ahead  []parquet.Value
	buffer [64]parquet.Value
	rest   parquet.ValueReader
}

// maxSkip is how many rows are read over, rather than to slice the page.
const maxSkip = 64

func (c *cursor) close() {
	parquet.Release(c.page)
	c.pages.Close()
}

// row returns the values of one row. They are borrowed until the next call.
func (c *cursor) row(r int64) ([]parquet.Value, error) {
	if c.page == nil || r < c.begin || r >= c.end {
		if err := c.turn(r); err != nil {
			return nil, err
		}
	}
	if c.rest != nil && r == c.next-1 {
		return c.values, nil
	}
	if c.rest == nil || r < c.next || r > c.next+maxSkip {
		c.rest, c.ahead, c.next = c.page.Slice(r-c.begin, c.end-c.begin).Values(), nil, r
	}
	for c.next <= r {
		if err := c.read(); err != nil {
			c.rest = nil
			return nil, err
		}
	}
	return c.values, nil
}

// turn reads the page that a row is in.
func (c *cursor) turn(r int64) error {
	if c.page != nil {
		parquet.Release(c.page)
		c.page, c.rest = nil, nil
	}
	if err := c.pages.SeekToRow(r); err != nil {
		return err
	}
	page, err := c.pages.ReadPage()
	if err != nil {
		return err
	}
	c.page, c.begin, c.end = page, r, r+page.NumRows()
	return nil
}

// read reads the values of row next: up to one that begins another row.
func (c *cursor) read() error {
	c.values = c.values[:0]
	for {
		for i := range c.ahead {
			if c.ahead[i].RepetitionLevel() == 0 && len(c.values) > 0 {
				c.ahead = c.ahead[i:]
				c.next++
				return nil
			}
			c.values = append(c.values, c.ahead[i])
		}
		n, err := c.rest.ReadValues(c.buffer[:])
		c.ahead = c.buffer[:n]
		switch {
		case n > 0:
		case len(c.values) > 0 && (err == nil || errors.Is(err, io.EOF)): // the last row of the page
			c.next++
			return nil
		case err == nil:
			return io.ErrNoProgress
		default:
			return err
		}
	}
}

func (c *chunk) values(leaf int, r int) ([]parquet.Value, error) {
	if c.cursors[leaf] == nil {
		// Without the index, it would read all pages up to the row.
		if _, err := c.columns[leaf].OffsetIndex(); err != nil {
			return nil, err
		}
		c.cursors[leaf] = &cursor{pages: c.columns[leaf].Pages()}
	}
	return c.cursors[leaf].row(int64(r))
}

// Row implements vector.Chunk.
func (c *chunk) Row(r int, cols []int, into *record.Row) (err error) {
	defer guard(&err)
	if cols != nil {
		for _, col := range cols {
			if err := c.cell(r, col, into); err != nil {
				return err
			}
		}
		return nil
	}
	for col := range record.Columns {
		if err := c.cell(r, col, into); err != nil {
			return err
		}
	}
	return nil
}

// cell reads one value. Texts are copied: the page that they are in may be let go of before the row is.
func (c *chunk) cell(r, col int, into *record.Row) error {
	switch f := c.segment.formulas; {
	case f.of[col] != nil:
		return c.derivedCell(r, col, f.of[col], into)
	case col == f.target:
		return c.derivedTargetCell(r, col, into)
	}
	return c.storedCell(r, col, into)
}

// storedCell reads one value of a column that is in the file.
func (c *chunk) storedCell(r, col int, into *record.Row) error {
	leaf := c.leaf(col, 0)
	if leaf == nil || leaf.NullCount() == leaf.NumValues() {
		return nil
	}
	values, err := c.values(c.segment.leaves[col][0], r)
	if err != nil {
		return fmt.Errorf("%w: column %s, row %d: %w", ErrDamaged, record.Columns[col].Name, r, err)
	}
	if len(values) == 0 || values[0].IsNull() {
		return nil
	}
	switch record.Columns[col].Form {
	case record.Ints:
		n := into.Set(col)
		switch v := values[0]; v.Kind() {
		case parquet.Boolean:
			n.Int = number(v.Boolean())
		case parquet.Double:
			n.Int = int64(v.Uint64())
		default:
			n.Int = v.Int64()
		}
	case record.Texts:
		into.Set(col).Text = bytes.Clone(values[0].ByteArray())
	case record.Lists:
		list := into.Set(col)
		for _, v := range values {
			list.List = append(list.List, bytes.Clone(v.ByteArray()))
		}
	case record.Headers:
		var names [][]byte
		for _, v := range values {
			names = append(names, bytes.Clone(v.ByteArray()))
		}
		values, err := c.values(c.segment.leaves[col][1], r)
		if err != nil {
			return fmt.Errorf("%w: column %s, row %d: %w", ErrDamaged, record.Columns[col].Name, r, err)
		}
		h, name := into.Set(col), -1
		for _, v := range values {
			if v.RepetitionLevel() < 2 {
				name++
			}
			if name >= len(names) {
				return errRows
			}
			if !v.IsNull() {
				h.Fields = append(h.Fields, record.Field{Name: names[name], Value: bytes.Clone(v.ByteArray())})
			}
		}
	}
	return nil
}

// Find returns the rows that have that text in a column of texts, reading only the pages that may have it.
func (c *chunk) Find(col int, text []byte) (rows []int, err error) {
	if !c.MayHave(col, text) {
		return nil, nil
	}
	err = c.pagesWith(col, [][]byte{text}, func(first int, numbers []uint32, dict *vector.Dict) {
		for r, n := range numbers {
			if n != 0 && bytes.Equal(dict.At(n), text) {
				rows = append(rows, first+r)
			}
		}
	})
	return rows, err
}

// Has sets found for those of some texts that are in a column of texts, reading only the pages that may have them.
func (c *chunk) Has(col int, texts [][]byte, found map[string]bool) error {
	wanted := make(map[string]bool, len(texts))
	for _, t := range texts {
		wanted[string(t)] = true
	}
	return c.pagesWith(col, texts, func(_ int, numbers []uint32, dict *vector.Dict) {
		for _, n := range numbers {
			if n != 0 && wanted[string(dict.At(n))] {
				found[string(dict.At(n))] = true
			}
		}
	})
}

// pagesWith calls f for the pages of a column that may have one of some texts: with the page's first row, and the
// numbers of the rows' texts in a dictionary.
func (c *chunk) pagesWith(col int, texts [][]byte, f func(first int, numbers []uint32, dict *vector.Dict)) (err error) {
	defer guard(&err)
	leaf := c.leaf(col, 0)
	if leaf == nil || c.segment.formulas.derived(col) {
		return nil
	}
	index, err := leaf.ColumnIndex()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	offsets, err := leaf.OffsetIndex()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	texts = slices.Clone(texts)
	slices.SortFunc(texts, bytes.Compare)
	all := leaf.Pages() // after OffsetIndex, which lets it seek
	defer all.Close()
	for i := range index.NumPages() {
		if index.NullPage(i) || !covers(index.MinValue(i).ByteArray(), index.MaxValue(i).ByteArray(), texts) {
			continue
		}
		first := offsets.FirstRowIndex(i)
		if err := all.SeekToRow(first); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		p, err := all.ReadPage()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		var d dictionaryReader
		f(int(first), spread(d.append(nil, p), 0, p, 0), &d.dict)
		parquet.Release(p)
	}
	return nil
}

// covers reports whether one of some sorted texts may lie between bounds, which may be cut.
func covers(lo, hi []byte, texts [][]byte) bool {
	i, _ := slices.BinarySearchFunc(texts, lo, bytes.Compare)
	return i < len(texts) && (bytes.Compare(texts[i], hi) <= 0 || bytes.HasPrefix(texts[i], hi))
}
