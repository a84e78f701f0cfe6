package host

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// maxSamples is how many samples a file has: an hour of them.
const maxSamples = int(time.Hour / Every)

// errDamaged is the error of a file that isn't as it was written.
var errDamaged = errors.New("the file is damaged")

// machineTable and processTable say what the two kinds of files have.
func machineTable() *parquet.Schema {
	codec := &zstd.Codec{Level: zstd.SpeedBetterCompression}
	g := parquet.Group{timeField: timeNode()}
	for i := range Columns {
		n := parquet.Leaf(parquet.DoubleType)
		if Columns[i].Whole {
			n = parquet.Leaf(parquet.Int64Type)
		}
		g[Columns[i].Field] = parquet.Optional(parquet.Compressed(n, codec))
	}
	return parquet.NewSchema("machine", g)
}

func processTable() *parquet.Schema {
	codec := &zstd.Codec{Level: zstd.SpeedBetterCompression}
	return parquet.NewSchema("processes", parquet.Group{
		timeField:                         timeNode(),
		"process.pid":                     parquet.Compressed(parquet.Leaf(parquet.Int64Type), codec),
		"process.start":                   parquet.Compressed(parquet.Timestamp(parquet.Nanosecond), codec),
		"process.name":                    parquet.Compressed(parquet.Encoded(parquet.String(), &parquet.RLEDictionary), codec),
		"system.process.cpu.total.pct":    parquet.Compressed(parquet.Leaf(parquet.DoubleType), codec),
		"system.process.memory.rss.bytes": parquet.Compressed(parquet.Leaf(parquet.Int64Type), codec),
	})
}

func timeNode() parquet.Node {
	return parquet.Encoded(parquet.Timestamp(parquet.Nanosecond), &parquet.DeltaBinaryPacked)
}

// writeTable writes rows, which come from next until it returns false, each with its values by name of column; one that has
// none is null.
func writeTable(w io.Writer, schema *parquet.Schema, next func(values map[string]parquet.Value) bool) error {
	p := parquet.NewGenericWriter[any](w, schema, parquet.CreatedBy("culprit", "1", "1"), parquet.DataPageStatistics(false))
	names := schema.Columns()
	values := make(map[string]parquet.Value, len(names))
	row := make(parquet.Row, len(names))
	optional := make([]bool, len(names))
	for i, name := range names {
		leaf, _ := schema.Lookup(name...)
		optional[i] = leaf.Node.Optional()
	}
	for next(values) {
		for i, name := range names {
			v, ok := values[name[0]]
			switch {
			case !ok:
				row[i] = parquet.NullValue().Level(0, 0, i)
			case optional[i]:
				row[i] = v.Level(0, 1, i)
			default:
				row[i] = v.Level(0, 0, i)
			}
		}
		if _, err := p.WriteRows([]parquet.Row{row}); err != nil {
			return err
		}
		clear(values)
	}
	return p.Close()
}

// writeMachine writes what samples tell of the machine.
func writeMachine(w io.Writer, samples []Sample) error {
	return writeTable(w, machineTable(), func(values map[string]parquet.Value) bool {
		if len(samples) == 0 {
			return false
		}
		s := &samples[0]
		samples = samples[1:]
		values[timeField] = parquet.Int64Value(s.Time)
		for i, v := range s.Values {
			switch {
			case math.IsNaN(v):
			case Columns[i].Whole:
				values[Columns[i].Field] = parquet.Int64Value(int64(v))
			default:
				values[Columns[i].Field] = parquet.DoubleValue(v)
			}
		}
		return true
	})
}

// writeProcesses writes what samples tell of processes.
func writeProcesses(w io.Writer, samples []Sample) error {
	n := 0
	return writeTable(w, processTable(), func(values map[string]parquet.Value) bool {
		for len(samples) > 0 && n == len(samples[0].Processes) {
			samples, n = samples[1:], 0
		}
		if len(samples) == 0 {
			return false
		}
		p := &samples[0].Processes[n]
		n++
		values[timeField] = parquet.Int64Value(samples[0].Time)
		values["process.pid"] = parquet.Int64Value(int64(p.PID))
		values["process.start"] = parquet.Int64Value(p.Start)
		values["process.name"] = parquet.ByteArrayValue([]byte(p.Name))
		values["system.process.cpu.total.pct"] = parquet.DoubleValue(p.CPU)
		values["system.process.memory.rss.bytes"] = parquet.Int64Value(p.RSS)
		return true
	})
}

// table is an open file.
type table struct {
	file *parquet.File
	rows int
	*room
}

// room is what tables are read into, one after the other.
type room struct {
	numbers             [columns][]float64
	times, pids, starts []int64
	names               []string
	page                []float64
	values              []parquet.Value
	texts               []string
}

// reused returns n empty values where others were.
func reused[T any](values []T, n int) []T {
	values = slices.Grow(values[:0], n)[:n]
	clear(values)
	return values
}

// openTable opens a file of at most so many rows. Its library may panic at what is damaged: readers call guard.
func openTable(r io.ReaderAt, size int64, most int, in *room) (t *table, err error) {
	defer guard(&err)
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if n := f.NumRows(); n < 0 || n > int64(most) {
		return nil, fmt.Errorf("%w: it has %d rows", errDamaged, n)
	}
	return &table{f, int(f.NumRows()), in}, nil
}

// guard makes an error of a panic of the Parquet library's.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", errDamaged, r)
	}
}

// pages calls f with each page of a column, and returns false when there is no such column.
func (t *table) pages(name string, f func(p parquet.Page) error) (found bool, err error) {
	defer guard(&err)
	leaf, ok := t.file.Schema().Lookup(name)
	if !ok {
		return false, nil
	}
	for _, g := range t.file.RowGroups() {
		pages := g.ColumnChunks()[leaf.ColumnIndex].Pages()
		for {
			p, err := pages.ReadPage()
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = f(p)
				parquet.Release(p)
			}
			if err != nil {
				pages.Close()
				return true, fmt.Errorf("%w: %w", errDamaged, err)
			}
		}
		pages.Close()
	}
	return true, nil
}

var errLength = errors.New("a column isn't as long as the others")

// read reads a column into values, of which there are as many as rows; of gives those of a page that are there. Where there is
// none is what was there before.
func read[T any](t *table, name string, values []T, of func(p parquet.Page) []T) (found bool, err error) {
	row := 0
	found, err = t.pages(name, func(p parquet.Page) error {
		there := of(p)
		n := int(p.NumValues())
		if n < 0 || n > len(values)-row {
			return errLength
		}
		to := values[row : row+n]
		row += n
		if p.NumNulls() == 0 {
			if len(there) != n {
				return errLength
			}
			copy(to, there)
			return nil
		}
		levels := p.DefinitionLevels()
		if len(levels) != n {
			return errLength
		}
		for i, level := range levels {
			if level == 0 {
				continue
			}
			if len(there) == 0 {
				return errLength
			}
			to[i], there = there[0], there[1:]
		}
		return nil
	})
	if found && err == nil && row != t.rows {
		err = fmt.Errorf("%w: %w", errDamaged, errLength)
	}
	return found, err
}

// floats reads a column of numbers, NaN where there is none, into what was read before.
func (t *table) floats(column string, before []float64) ([]float64, error) {
	all := reused(before, t.rows)
	for i := range all {
		all[i] = math.NaN()
	}
	_, err := read(t, column, all, func(p parquet.Page) []float64 {
		if p.Type().Kind() == parquet.Double {
			data := p.Data()
			return data.Double()
		}
		t.page = t.page[:0]
		for _, n := range integers(p) {
			t.page = append(t.page, float64(n))
		}
		return t.page
	})
	return all, err
}

// integers are the whole numbers of a page. They are written without a dictionary; anything else panics, which pages catches.
func integers(p parquet.Page) []int64 {
	data := p.Data()
	return data.Int64()
}

// whole reads a column of whole numbers, such as times, into what was read before; it is needed.
func (t *table) whole(column string, before []int64) ([]int64, error) {
	all := reused(before, t.rows)
	found, err := read(t, column, all, integers)
	if err == nil && !found {
		err = fmt.Errorf("%w: it has no %s", errDamaged, column)
	}
	return all, err
}

// strings reads a column of texts into what was read before; equal ones are one.
func (t *table) strings(column string, before []string) ([]string, error) {
	all := reused(before, t.rows)
	same := map[string]string{}
	_, err := read(t, column, all, func(p parquet.Page) []string {
		t.values, t.texts = reused(t.values, int(p.NumValues())), t.texts[:0]
		n, _ := p.Values().ReadValues(t.values) // too few are an error of read's
		for _, v := range t.values[:n] {
			if v.Kind() != parquet.ByteArray {
				continue
			}
			text, ok := same[string(v.ByteArray())]
			if !ok {
				text = clip(string(v.ByteArray()))
				same[string(v.ByteArray())] = text
			}
			t.texts = append(t.texts, text)
		}
		return t.texts
	})
	return all, err
}
