package vector

import (
	"bytes"
	"errors"
	"hash/maphash"
	"math"
	"slices"

	"github.com/culprit-http/culprit/internal/store/record"
)

// Builder makes columns of rows. Chunks of what it has so far may be read while it goes on: it only ever appends.
// Its own methods must not be called concurrently.
type Builder struct {
	columns     []column
	rows        int
	bytes       int64
	first, last int64
	// nothing stands for all columns that have no value, of which there are many: they share its rows.
	nothing column
}

// column is a column that is being built; its form says which members are used. It may have fewer rows than the
// Builder: those at its end lack a value.
type column struct {
	form         record.Form
	unique       bool
	empty        bool // no row has a value
	ints         Ints
	texts, names interner
	last         uint32   // number of the text before
	rows         []uint32 // of Texts
	items, name  []uint32 // of Lists and Headers
	ends         []uint32
}

// NewBuilder returns an empty Builder.
func NewBuilder() *Builder {
	b := &Builder{columns: make([]column, len(record.Columns)), first: math.MaxInt64, last: math.MinInt64}
	for i := range b.columns {
		c := &b.columns[i]
		c.form, c.unique, c.empty = record.Columns[i].Form, record.Columns[i].Unique, true
		if c.form == record.Lists || c.form == record.Headers {
			c.ends = []uint32{0}
		}
	}
	return b
}

// Next returns an empty Builder with room for about what b has: growing from nothing would copy it several times.
func (b *Builder) Next() *Builder {
	n := NewBuilder()
	for i := range n.columns {
		c, like := &n.columns[i], &b.columns[i]
		c.ints = room(c.ints, len(like.ints))
		c.rows = room(c.rows, len(like.rows))
		c.items = room(c.items, len(like.items))
		c.name = room(c.name, len(like.name))
		c.ends = room(c.ends, len(like.ends))
		c.texts.reserve(&like.texts)
		c.names.reserve(&like.names)
	}
	like := &b.nothing
	n.nothing.ints, n.nothing.rows, n.nothing.ends = room(Ints(nil), len(like.ints)), room([]uint32(nil), len(like.rows)), room([]uint32(nil), len(like.ends))
	return n
}

// room returns a slice with room for n elements and some more.
func room[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s
	}
	return append(make([]T, 0, n+n/32), s...)
}

// reserve makes room for about as many texts as another one has.
func (t *interner) reserve(like *interner) {
	t.dict.Bytes = room(t.dict.Bytes, len(like.dict.Bytes))
	t.dict.Ends = room(t.dict.Ends, len(like.dict.Ends))
	if len(like.table) > 0 {
		t.seed = maphash.MakeSeed()
		t.table = make([]uint64, len(like.table))
	}
}

// Len returns the number of rows, and Bytes about how much memory they take.
func (b *Builder) Len() int     { return b.rows }
func (b *Builder) Bytes() int64 { return b.bytes + int64(b.rows)*rowCost }

// rowCost is about what a row takes in memory besides its texts, in bytes.
const rowCost = 600

// MaxBytes is how many bytes of text a Builder may hold, for positions in them fit into 32 bits: it is full before.
const MaxBytes = 1 << 30

// Times returns the start of the first and the last exchange.
func (b *Builder) Times() (first, last int64) { return b.first, b.last }

// Append adds a row, which it copies.
func (b *Builder) Append(r *record.Row) {
	for _, i := range r.Present {
		c, cell := &b.columns[i], r.Cell(i)
		c.pad(b.rows)
		c.empty = false
		switch c.form {
		case record.Ints:
			c.ints = append(c.ints, cell.Int)
		case record.Texts:
			// Many columns say the same of most rows.
			if c.last == 0 || !bytes.Equal(c.texts.dict.At(c.last), cell.Text) {
				c.last = b.text(&c.texts, cell.Text, c.unique)
			}
			c.rows = append(c.rows, c.last)
		case record.Lists:
			for _, t := range cell.List {
				c.items = append(c.items, b.text(&c.texts, t, false))
			}
			c.ends = append(c.ends, uint32(len(c.items)))
		case record.Headers:
			for _, f := range cell.Fields {
				c.name = append(c.name, b.text(&c.names, f.Name, false))
				// Most values were met before, but to find that out costs more than to keep them again.
				c.items = append(c.items, b.text(&c.texts, f.Value, true))
				b.bytes += 8
			}
			c.ends = append(c.ends, uint32(len(c.items)))
		}
	}
	b.rows++
	b.first, b.last = min(b.first, r.Time()), max(b.last, r.Time())
}

func (b *Builder) text(i *interner, text []byte, unique bool) uint32 {
	before := len(i.dict.Bytes)
	var n uint32
	if unique {
		n = i.dict.Add(text)
	} else {
		n = i.number(text)
	}
	if added := len(i.dict.Bytes) - before; added > 0 {
		b.bytes += int64(added) + 16
	}
	return n
}

// pad adds rows without a value up to n.
func (c *column) pad(n int) {
	switch c.form {
	case record.Ints:
		for len(c.ints) < n {
			c.ints = append(c.ints, Absent)
		}
	case record.Texts:
		if missing := n - len(c.rows); missing > 0 {
			c.rows = append(c.rows, make([]uint32, missing)...)
		}
	default:
		for len(c.ends) <= n {
			c.ends = append(c.ends, uint32(len(c.items)))
		}
	}
}

// Chunk returns the rows so far. It stays as it is, whatever is added, and is safe for concurrent use.
func (b *Builder) Chunk() *Memory {
	m := &Memory{columns: make([]column, len(b.columns)), rows: b.rows, first: b.first, last: b.last, bytes: b.Bytes()}
	for _, form := range [...]record.Form{record.Ints, record.Texts, record.Lists} {
		b.nothing.form = form
		b.nothing.pad(b.rows)
	}
	for i := range b.columns {
		c := &b.columns[i]
		if c.empty {
			m.columns[i] = column{form: c.form, unique: c.unique, empty: true, ints: b.nothing.ints, rows: b.nothing.rows, ends: b.nothing.ends}
			continue
		}
		c.pad(b.rows)
		m.columns[i] = column{
			form: c.form, unique: c.unique, ints: c.ints, rows: c.rows, items: c.items, name: c.name, ends: c.ends,
			texts: interner{dict: c.texts.dict}, names: interner{dict: c.names.dict},
		}
	}
	return m
}

// Memory are rows in memory. It is a Chunk and a Part, and safe for concurrent use.
type Memory struct {
	columns     []column
	rows        int
	bytes       int64
	first, last int64
}

// Load reads all columns of a chunk.
func Load(c Chunk) (*Memory, error) {
	m := &Memory{columns: make([]column, len(record.Columns)), rows: c.Len()}
	var errs []error
	for i := range m.columns {
		to := &m.columns[i]
		to.form = record.Columns[i].Form
		switch to.form {
		case record.Ints:
			ints, err := c.Ints(i)
			to.ints, errs = ints, append(errs, err)
		case record.Texts:
			t, err := c.Texts(i)
			if errs = append(errs, err); err == nil {
				to.texts.dict, to.rows = t.Dict, t.Rows
			}
		case record.Lists:
			l, err := c.Lists(i)
			if errs = append(errs, err); err == nil {
				to.texts.dict, to.items, to.ends = l.Dict, l.Items, l.Ends
			}
		case record.Headers:
			h, err := c.Headers(i)
			if errs = append(errs, err); err == nil {
				to.names.dict, to.texts.dict, to.name, to.items, to.ends = h.NameDict, h.ValueDict, h.Names, h.Values, h.Ends
			}
		}
	}
	m.first, m.last, _, _ = c.Bounds(record.Time)
	return m, errors.Join(errs...)
}

// Rows implements Part, and Len implements Chunk.
func (m *Memory) Rows() int { return m.rows }
func (m *Memory) Len() int  { return m.rows }

// Times implements Part.
func (m *Memory) Times() (first, last int64) { return m.first, m.last }

// Open implements Part.
func (m *Memory) Open() (Chunk, error) { return m, nil }

// Empty reports whether a column is known to have no value in any row.
func (m *Memory) Empty(col int) bool { return m.columns[col].empty }

// Bounds implements Chunk.
func (m *Memory) Bounds(col int) (lo, hi int64, absent, ok bool) {
	if col == record.Time {
		return m.first, m.last, false, true
	}
	return 0, 0, true, false
}

// TextBounds implements Chunk.
func (m *Memory) TextBounds(int) (lo, hi []byte, absent, ok bool) { return nil, nil, true, false }

// MayHave implements Chunk.
func (m *Memory) MayHave(int, []byte) bool { return true }

// Ints implements Chunk.
func (m *Memory) Ints(col int) (Ints, error) { return m.columns[col].ints, nil }

// Texts implements Chunk.
func (m *Memory) Texts(col int) (*Texts, error) {
	return &Texts{m.columns[col].texts.dict, m.columns[col].rows}, nil
}

// Lists implements Chunk.
func (m *Memory) Lists(col int) (*Lists, error) {
	c := &m.columns[col]
	return &Lists{c.texts.dict, c.items, c.ends}, nil
}

// Headers implements Chunk.
func (m *Memory) Headers(col int) (*Headers, error) {
	c := &m.columns[col]
	return &Headers{c.names.dict, c.texts.dict, c.name, c.items, c.ends}, nil
}

// Row implements Chunk.
func (m *Memory) Row(r int, cols []int, into *record.Row) error {
	if cols == nil {
		for i := range m.columns {
			m.columns[i].cell(r, i, into)
		}
	}
	for _, i := range cols {
		m.columns[i].cell(r, i, into)
	}
	return nil
}

// cell reads one value.
func (c *column) cell(r, col int, into *record.Row) {
	switch c.form {
	case record.Ints:
		if n := c.ints[r]; n != Absent {
			into.Set(col).Int = n
		}
	case record.Texts:
		if n := c.rows[r]; n != 0 {
			into.Set(col).Text = c.texts.dict.At(n)
		}
	case record.Lists:
		if c.ends[r] == c.ends[r+1] {
			return
		}
		cell := into.Set(col)
		for _, n := range c.items[c.ends[r]:c.ends[r+1]] {
			cell.List = append(cell.List, c.texts.dict.At(n))
		}
	case record.Headers:
		if c.ends[r] == c.ends[r+1] {
			return
		}
		cell := into.Set(col)
		for i := c.ends[r]; i < c.ends[r+1]; i++ {
			cell.Fields = append(cell.Fields, record.Field{Name: c.names.dict.At(c.name[i]), Value: c.texts.dict.At(c.items[i])})
		}
	}
}

// Cost implements Chunk: the columns are in memory already.
func (m *Memory) Cost([]int) int64 { return 0 }

// Release implements Chunk.
func (m *Memory) Release() {}

// Order returns the rows in the order of their start and then their id.
func (m *Memory) Order() []uint32 {
	order := make([]uint32, m.rows)
	for i := range order {
		order[i] = uint32(i)
	}
	times, ids := m.columns[record.Time].ints, &m.columns[record.ID]
	slices.SortFunc(order, func(a, b uint32) int {
		switch {
		case times[a] < times[b]:
			return -1
		case times[a] > times[b]:
			return 1
		}
		return bytes.Compare(ids.texts.dict.At(ids.rows[a]), ids.texts.dict.At(ids.rows[b]))
	})
	return order
}

// interner is a Dict whose texts can be found: open addressing with linear probing.
type interner struct {
	dict Dict
	seed maphash.Seed
	// table has, at the places that hashes say, the hash of a text in the upper half and its number in the lower, 0 where
	// there is none. So most probes need no look at the texts. Its length is a power of two.
	table []uint64
}

// number returns the number of a text, which it adds if it isn't there.
func (t *interner) number(text []byte) uint32 {
	if t.dict.Len() >= len(t.table)/2 {
		t.grow()
	}
	h := maphash.Bytes(t.seed, text)
	mask := uint64(len(t.table) - 1)
	i := h & mask
	for ; t.table[i] != 0; i = (i + 1) & mask {
		if e := t.table[i]; e>>32 == h>>32 && bytes.Equal(t.dict.At(uint32(e)), text) {
			return uint32(e)
		}
	}
	n := t.dict.Add(text)
	t.table[i] = h>>32<<32 | uint64(n)
	return n
}

// grow doubles the table. Places follow from the lower half of a hash, which isn't kept.
func (t *interner) grow() {
	if t.table == nil {
		t.seed = maphash.MakeSeed()
	}
	t.table = make([]uint64, max(4*len(t.table), 64))
	mask := uint64(len(t.table) - 1)
	for n := uint32(1); n <= uint32(t.dict.Len()); n++ {
		h := maphash.Bytes(t.seed, t.dict.At(n))
		i := h & mask
		for t.table[i] != 0 {
			i = (i + 1) & mask
		}
		t.table[i] = h>>32<<32 | uint64(n)
	}
}
