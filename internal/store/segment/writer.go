package segment

import (
	"fmt"
	"io"
	"math"

	"github.com/parquet-go/parquet-go"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// Writer writes a segment.
type Writer struct {
	layout *layout
	w      *parquet.Writer
	values []parquet.Value
}

// batch is how many rows are handed on at once.
const batch = 256

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer) *Writer {
	l := newLayout()
	options := []parquet.WriterOption{
		l.schema, parquet.PageBufferSize(pageSize), parquet.BloomFilters(blooms()...), parquet.DictionaryMaxBytes(maxDictionary),
		parquet.CreatedBy("culprit", "1", "1"), parquet.MaxRowsPerRowGroup(math.MaxInt32),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("@timestamp"), parquet.Ascending("event.id"))),
	}
	for _, name := range large {
		options = append(options, parquet.SkipPageBounds(name))
	}
	for i := range record.Columns {
		if c := &record.Columns[i]; c.Form == record.Headers {
			options = append(options, parquet.SkipPageBounds(c.Name, "key_value", "value", "list", "element"))
		}
	}
	return &Writer{layout: l, w: parquet.NewWriter(w, options...)}
}

// Set puts a text into the file's footer.
func (w *Writer) Set(key, value string) { w.w.SetKeyValueMetadata(key, value) }

// Write writes rows as one row group, in that order; there are at most MaxRows.
func (w *Writer) Write(m *vector.Memory, order []uint32) error {
	columns := w.w.ColumnWriters()
	for col := range record.Columns {
		leaf := w.layout.leaves[col]
		var err error
		switch c := &record.Columns[col]; c.Form {
		case record.Ints:
			err = w.ints(columns[leaf[0]], leaf[0], c, m, col, order)
		case record.Texts:
			err = w.texts(columns[leaf[0]], leaf[0], c, m, col, order)
		case record.Lists:
			err = w.lists(columns[leaf[0]], leaf[0], m, col, order)
		case record.Headers:
			err = w.headers(columns[leaf[0]], columns[leaf[1]], leaf, m, col, order)
		}
		if err != nil {
			return fmt.Errorf("column %s: %w", record.Columns[col].Name, err)
		}
	}
	return w.w.Flush()
}

// Copy writes the row groups of another segment as they are.
func (w *Writer) Copy(s *Segment) error {
	for _, g := range s.file.RowGroups() {
		if _, err := w.w.WriteRowGroup(g); err != nil {
			return err
		}
	}
	return nil
}

// Close writes the footer. It doesn't close the writer beneath.
func (w *Writer) Close() error { return w.w.Close() }

// level is the definition level of a value that is there.
func level(c *record.Column) int {
	if c.Required {
		return 0
	}
	return 1
}

// flush hands values on when there are many, or at last.
func (w *Writer) flush(to *parquet.ColumnWriter, rows int, last bool) error {
	if len(w.values) == 0 || !last && rows%batch != 0 {
		return nil
	}
	_, err := to.WriteRowValues(w.values)
	w.values = w.values[:0]
	return err
}

func (w *Writer) ints(to *parquet.ColumnWriter, leaf int, c *record.Column, m *vector.Memory, col int, order []uint32) error {
	ints, err := m.Ints(col)
	if err != nil {
		return err
	}
	null, def := parquet.NullValue().Level(0, 0, leaf), level(c)
	w.values = w.values[:0]
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
		w.values = append(w.values, v)
		if err := w.flush(to, i+1, false); err != nil {
			return err
		}
	}
	return w.flush(to, 0, true)
}

func (w *Writer) texts(to *parquet.ColumnWriter, leaf int, c *record.Column, m *vector.Memory, col int, order []uint32) error {
	texts, err := m.Texts(col)
	if err != nil {
		return err
	}
	null, def := parquet.NullValue().Level(0, 0, leaf), level(c)
	w.values = w.values[:0]
	for i, r := range order {
		v := null
		if n := texts.Rows[r]; n != 0 {
			v = parquet.ByteArrayValue(texts.Dict.At(n)).Level(0, def, leaf)
		}
		w.values = append(w.values, v)
		if err := w.flush(to, i+1, false); err != nil {
			return err
		}
	}
	return w.flush(to, 0, true)
}

func (w *Writer) lists(to *parquet.ColumnWriter, leaf int, m *vector.Memory, col int, order []uint32) error {
	lists, err := m.Lists(col)
	if err != nil {
		return err
	}
	empty := parquet.NullValue().Level(0, 0, leaf)
	w.values = w.values[:0]
	for i, r := range order {
		items := lists.Items[lists.Ends[r]:lists.Ends[r+1]]
		if len(items) == 0 {
			w.values = append(w.values, empty)
		}
		for k, n := range items {
			w.values = append(w.values, parquet.ByteArrayValue(lists.Dict.At(n)).Level(min(k, 1), 1, leaf))
		}
		if err := w.flush(to, i+1, false); err != nil {
			return err
		}
	}
	return w.flush(to, 0, true)
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
		w.values = w.values[:0]
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
					w.values = append(w.values, parquet.ByteArrayValue(h.ValueDict.At(h.Values[k])).Level(rep, 2, leaf[1]))
				case !again:
					w.values = append(w.values, parquet.ByteArrayValue(h.NameDict.At(h.Names[k])).Level(rep, 1, leaf[0]))
				}
			}
			if err := w.flush(to, i+1, false); err != nil {
				return err
			}
		}
		if err := w.flush(to, 0, true); err != nil {
			return err
		}
	}
	return nil
}
