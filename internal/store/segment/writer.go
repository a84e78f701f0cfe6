package segment

import (
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// Writer writes a segment.
type Writer struct {
	*layout
	w      *parquet.GenericWriter[any]
	sums   *summer
	values []parquet.Value
	// bytes are in the page so far, rows may be.
	bytes, rows int
}

// batch is how many rows are handed on at once.
const batch = 256

// Option changes what a Writer writes.
type Option uint8

// WithoutBloomFilters leaves the bloom filters out, to measure what they cost.
const WithoutBloomFilters Option = 1

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer, o ...Option) *Writer {
	l := newLayout()
	options := []parquet.WriterOption{
		l.schema, parquet.PageBufferSize(2 * pageSize), parquet.DictionaryMaxBytes(maxDictionary),
		parquet.CreatedBy("culprit", "1", "1"), parquet.MaxRowsPerRowGroup(math.MaxInt32), parquet.DataPageVersion(1), parquet.DataPageStatistics(false),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("@timestamp"), parquet.Ascending("event.id"))),
	}
	if !slices.Contains(o, WithoutBloomFilters) {
		options = append(options, parquet.BloomFilters(blooms()...))
	}
	for i := range record.Columns {
		switch c := &record.Columns[i]; {
		case c.Form == record.Headers:
			options = append(options, parquet.SkipPageBounds(c.Name, "key_value", "key"), parquet.SkipPageBounds(c.Name, "key_value", "value", "list", "element"))
		case c.Form == record.Lists:
			options = append(options, parquet.SkipPageBounds(c.Name, "list", "element"))
		case c.Form == record.Texts && !slices.Contains(bounded, c.Name):
			options = append(options, parquet.SkipPageBounds(c.Name))
		}
	}
	sums := &summer{w: w, table: castagnoli()}
	return &Writer{layout: l, w: parquet.NewGenericWriter[any](sums, options...), sums: sums}
}

// Set puts a text into the file's footer.
func (w *Writer) Set(key, value string) { w.w.SetKeyValueMetadata(key, value) }

// Write writes rows as one row group, in that order; there are at most MaxRows.
func (w *Writer) Write(m *vector.Memory, order []uint32) error {
	columns := w.w.ColumnWriters()
	for col := range record.Columns {
		leaf := w.leaves[col]
		var err error
		switch c := &record.Columns[col]; {
		case m.Empty(col) && !w.formulas.derived(col) && !c.Required:
			for part := range leaf {
				if leaf[part] >= 0 && err == nil {
					err = w.nulls(columns[leaf[part]], leaf[part], len(order))
				}
			}
		case w.formulas.of[col] != nil:
			err = w.derivedInts(columns[leaf[0]], leaf[0], w.formulas.of[col], m, col, order)
		case col == w.formulas.target:
			err = w.derivedTarget(columns[leaf[0]], leaf[0], m, order)
		case c.Form == record.Ints:
			err = w.ints(columns[leaf[0]], leaf[0], c, m, col, order)
		case c.Form == record.Texts:
			err = w.texts(columns[leaf[0]], leaf[0], c, m, col, order)
		case c.Form == record.Lists:
			err = w.lists(columns[leaf[0]], leaf[0], m, col, order)
		default:
			err = w.headers(columns[leaf[0]], columns[leaf[1]], leaf, m, col, order)
		}
		if err != nil {
			return fmt.Errorf("column %s: %w", record.Columns[col].Name, err)
		}
	}
	return w.w.Flush()
}

// Close writes the footer. It doesn't close the writer beneath.
func (w *Writer) Close() error {
	w.sums.endBody()
	w.Set(blocksKey, base64.StdEncoding.EncodeToString(w.sums.sums))
	return w.w.Close()
}

// Sum returns what OpenSum needs to check the file, after Close.
func (w *Writer) Sum() uint64 {
	return uint64(w.sums.size-w.sums.body)<<32 | uint64(w.sums.sum)
}

// level is the definition level of a value that is there.
func level(c *record.Column) int {
	if c.Required {
		return 0
	}
	return 1
}

// add adds the value of row i of a flat column.
func (w *Writer) add(to *parquet.ColumnWriter, i int, v parquet.Value) error {
	w.values = append(w.values, v)
	return w.end(to, i)
}

// end ends row i of a column: from time to time, values are handed on, and pages begun.
func (w *Writer) end(to *parquet.ColumnWriter, i int) error {
	if (i+1)%batch != 0 {
		return nil
	}
	if err := w.flush(to); err != nil {
		return err
	}
	if (i+1)%w.rows == 0 || w.bytes >= pageSize {
		w.bytes = 0
		return to.Flush()
	}
	return nil
}

// flush hands values on.
func (w *Writer) flush(to *parquet.ColumnWriter) error {
	if len(w.values) == 0 {
		return nil
	}
	_, err := to.WriteRowValues(w.values)
	w.values = w.values[:0]
	return err
}

// nulls writes a column without values.
func (w *Writer) nulls(to *parquet.ColumnWriter, leaf, rows int) error {
	w.values = w.values[:0]
	for range min(batch, rows) {
		w.values = append(w.values, parquet.NullValue().Level(0, 0, leaf))
	}
	for done := 0; done < rows; done += batch {
		if _, err := to.WriteRowValues(w.values[:min(batch, rows-done)]); err != nil {
			return err
		}
	}
	return nil
}

// begin begins a column.
func (w *Writer) begin(pageRows int) { w.values, w.bytes, w.rows = w.values[:0], 0, pageRows }

func (w *Writer) ints(to *parquet.ColumnWriter, leaf int, c *record.Column, m *vector.Memory, col int, order []uint32) error {
	ints, err := m.Ints(col)
	if err != nil {
		return err
	}
	null, def := parquet.NullValue().Level(0, 0, leaf), level(c)
	w.begin(pageRows)
	for i, r := range order {
		n := ints[r]
		v := null
		switch {
		case n == vector.Absent:
		case c.Kind == exchange.Bool:
			v = parquet.BooleanValue(n != 0).Level(0, def, leaf)
		case c.Kind == exchange.Float:
			v = parquet.DoubleValue(math.Float64frombits(uint64(n))).Level(0, def, leaf)
		default:
			v = parquet.Int64Value(n).Level(0, def, leaf)
		}
		if err := w.add(to, i, v); err != nil {
			return err
		}
	}
	return w.flush(to)
}

func (w *Writer) texts(to *parquet.ColumnWriter, leaf int, c *record.Column, m *vector.Memory, col int, order []uint32) error {
	texts, err := m.Texts(col)
	if err != nil {
		return err
	}
	null, def := parquet.NullValue().Level(0, 0, leaf), level(c)
	if w.begin(pageRows); c.Unique && !slices.Contains(singled, c.Name) {
		w.begin(textRows)
	}
	for i, r := range order {
		v := null
		if n := texts.Rows[r]; n != 0 {
			t := texts.Dict.At(n)
			v = parquet.ByteArrayValue(t).Level(0, def, leaf)
			w.bytes += len(t)
		}
		if err := w.add(to, i, v); err != nil {
			return err
		}
	}
	return w.flush(to)
}

func (w *Writer) lists(to *parquet.ColumnWriter, leaf int, m *vector.Memory, col int, order []uint32) error {
	lists, err := m.Lists(col)
	if err != nil {
		return err
	}
	empty := parquet.NullValue().Level(0, 0, leaf)
	w.begin(pageRows)
	for i, r := range order {
		items := lists.Items[lists.Ends[r]:lists.Ends[r+1]]
		if len(items) == 0 {
			w.values = append(w.values, empty)
		}
		for k, n := range items {
			w.values = append(w.values, parquet.ByteArrayValue(lists.Dict.At(n)).Level(min(k, 1), 1, leaf))
		}
		if err := w.end(to, i); err != nil {
			return err
		}
	}
	return w.flush(to)
}

// headers writes the two columns of a MAP<STRING, LIST<STRING>>. A name repeats at level 1, further values of one
// name at level 2; a row without fields has the definition level 0.
func (w *Writer) headers(names, values *parquet.ColumnWriter, leaf [2]int, m *vector.Memory, col int, order []uint32) error {
	h, err := m.Headers(col)
	if err != nil {
		return err
	}
	for part, to := range [2]*parquet.ColumnWriter{names, values} {
		empty := parquet.NullValue().Level(0, 0, leaf[part])
		w.begin(textRows)
		for i, r := range order {
			from, end := h.Ends[r], h.Ends[r+1]
			if from == end {
				w.values = append(w.values, empty)
			}
			for k := from; k < end; k++ {
				again := k > from && h.Names[k] == h.Names[k-1]
				rep := 1
				switch {
				case k == from:
					rep = 0
				case again:
					rep = 2
				}
				switch {
				case part == 1:
					value := h.ValueDict.At(h.Values[k])
					w.values = append(w.values, parquet.ByteArrayValue(value).Level(rep, 2, leaf[1]))
					w.bytes += len(value)
				case !again:
					w.values = append(w.values, parquet.ByteArrayValue(h.NameDict.At(h.Names[k])).Level(rep, 1, leaf[0]))
				}
			}
			if err := w.end(to, i); err != nil {
				return err
			}
		}
		if err := w.flush(to); err != nil {
			return err
		}
	}
	return nil
}
