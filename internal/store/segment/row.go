package segment

import (
	"bytes"
	"fmt"

	"github.com/parquet-go/parquet-go"

	"github.com/culprit-http/culprit/internal/store/record"
)

// cursor reads single rows of a leaf column.
type cursor struct {
	pages parquet.Pages
	// page is the last that was read; it begins with row from.
	page   parquet.Page
	from   int64
	values []parquet.Value
}

func (c *cursor) close() {
	parquet.Release(c.page)
	c.pages.Close()
}

// row returns the values of one row. They are borrowed until the next call.
func (c *cursor) row(r int64) ([]parquet.Value, error) {
	if c.page == nil || r < c.from || r >= c.from+c.page.NumRows() {
		if c.page != nil {
			parquet.Release(c.page)
			c.page = nil
		}
		if err := c.pages.SeekToRow(r); err != nil {
			return nil, err
		}
		page, err := c.pages.ReadPage()
		if err != nil {
			return nil, err
		}
		c.page, c.from = page, r
	}
	one := c.page.Slice(r-c.from, r-c.from+1)
	if n := int(one.NumValues()); cap(c.values) < n {
		c.values = make([]parquet.Value, n)
	}
	c.values = c.values[:one.NumValues()]
	n, err := one.Values().ReadValues(c.values)
	if n < len(c.values) {
		return nil, fmt.Errorf("%d of %d values: %w", n, len(c.values), err)
	}
	return c.values, nil
}

func (c *chunk) values(leaf int, r int) ([]parquet.Value, error) {
	if c.cursors[leaf] == nil {
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
	leaf := c.leaf(col, 0)
	if leaf == nil || leaf.NullCount() == int64(c.rows) && record.Columns[col].Form < record.Lists {
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
	defer guard(&err)
	leaf := c.leaf(col, 0)
	if leaf == nil || !c.MayHave(col, text) {
		return nil, nil
	}
	index, err := leaf.ColumnIndex()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	offsets, err := leaf.OffsetIndex()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	all := leaf.Pages()
	defer all.Close()
	for i := range index.NumPages() {
		if index.NullPage(i) || !covers(index.MinValue(i).ByteArray(), index.MaxValue(i).ByteArray(), text) {
			continue
		}
		first := offsets.FirstRowIndex(i)
		if err := all.SeekToRow(first); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		p, err := all.ReadPage()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		var d dictionaryReader
		numbers := spread(d.append(nil, p), 0, p, 0)
		for r, n := range numbers {
			if n != 0 && bytes.Equal(d.dict.At(n), text) {
				rows = append(rows, int(first)+r)
			}
		}
		parquet.Release(p)
	}
	return rows, nil
}

// covers reports whether a text may lie between bounds, which may be cut.
func covers(lo, hi, text []byte) bool {
	return bytes.Compare(text, lo) >= 0 && (bytes.Compare(text, hi) <= 0 || bytes.HasPrefix(text, hi))
}
