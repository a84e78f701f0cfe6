package segment

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// ErrDamaged is the error of a file that isn't what was written.
var ErrDamaged = errors.New("the segment is damaged")

// readBuffer is how much is read at once, in bytes.
const readBuffer = 64 << 10

// Segment is an open segment. It is safe for concurrent use.
type Segment struct {
	file     *parquet.File
	leaves   [][2]int
	formulas *formulas
	parts    []vector.Part
}

// OpenSum is Open for a segment whose Writer returned that Sum: what isn't what was written gives ErrDamaged.
func OpenSum(r io.ReaderAt, size int64, sum uint64) (s *Segment, err error) {
	defer guard(&err)
	c, err := newChecked(r, size, sum)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if s, err = Open(c, size); err != nil {
		return nil, err
	}
	if err := c.expect(s.Get(blocksKey)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}

// Open opens a segment of a size in bytes, of which only the data of pages is checked. The reader is used until nobody
// uses the Segment any more.
func Open(r io.ReaderAt, size int64) (s *Segment, err error) {
	defer guard(&err)
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(readBuffer))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	derived := newFormulas()
	s = &Segment{file: f, leaves: leaves(f.Schema(), derived), formulas: derived}
	if s.leaves[record.Time][0] < 0 || s.leaves[record.ID][0] < 0 {
		return nil, fmt.Errorf("%w: it has no %s or %s", ErrDamaged, record.Columns[record.Time].Name, record.Columns[record.ID].Name)
	}
	for i, rg := range f.RowGroups() {
		g := &group{segment: s, number: i, columns: rg.ColumnChunks(), rows: int(rg.NumRows())}
		if g.rows > math.MaxInt32 {
			return nil, fmt.Errorf("%w: a row group of %d rows", ErrDamaged, g.rows)
		}
		lo, hi, ok := g.columns[s.leaves[record.Time][0]].(*parquet.FileColumnChunk).Bounds()
		if !ok {
			return nil, fmt.Errorf("%w: nothing tells its times", ErrDamaged)
		}
		g.first, g.last = lo.Int64(), hi.Int64()
		s.parts = append(s.parts, g)
	}
	return s, nil
}

// guard makes an error of a panic: the decoder of a damaged file may not foresee everything.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, p)
	}
}

// Rows returns the number of exchanges.
func (s *Segment) Rows() int64 { return s.file.NumRows() }

// Get returns a text of the footer.
func (s *Segment) Get(key string) string {
	v, _ := s.file.Lookup(key)
	return v
}

// Times returns the start of the first and of the last exchange, in nanoseconds since 1970.
func (s *Segment) Times() (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	for _, p := range s.parts {
		a, b := p.Times()
		first, last = min(first, a), max(last, b)
	}
	return first, last
}

// Parts returns the row groups.
func (s *Segment) Parts() []vector.Part { return s.parts }

// group is a row group. It implements vector.Part.
type group struct {
	segment     *Segment
	number      int // in the file
	columns     []parquet.ColumnChunk
	rows        int
	first, last int64
}

func (g *group) Rows() int             { return g.rows }
func (g *group) Times() (int64, int64) { return g.first, g.last }
func (g *group) Open() (vector.Chunk, error) {
	return &chunk{group: g, cursors: make([]*cursor, len(g.columns))}, nil
}

// chunk is a row group that is being read. It implements vector.Chunk.
type chunk struct {
	*group
	cursors []*cursor // of Row, by leaf
	scratch record.Row
}

func (c *chunk) Len() int { return c.rows }

// leaf returns the column chunk of a column, nil when the file doesn't have it.
func (c *chunk) leaf(col, part int) *parquet.FileColumnChunk {
	if i := c.segment.leaves[col][part]; i >= 0 {
		return c.columns[i].(*parquet.FileColumnChunk)
	}
	return nil
}

// Bounds implements vector.Chunk.
func (c *chunk) Bounds(col int) (lo, hi int64, absent, ok bool) {
	if c.segment.formulas.derived(col) {
		return 0, 0, true, false
	}
	leaf := c.leaf(col, 0)
	if leaf == nil || leaf.NullCount() == int64(c.rows) {
		return math.MaxInt64, math.MinInt64, true, true
	}
	absent = leaf.NullCount() > 0
	a, b, ok := leaf.Bounds()
	if !ok {
		return 0, 0, absent, false
	}
	switch a.Kind() {
	case parquet.Int64:
		return a.Int64(), b.Int64(), absent, true
	case parquet.Boolean:
		return number(a.Boolean()), number(b.Boolean()), absent, true
	}
	return 0, 0, absent, false
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// TextBounds implements vector.Chunk.
func (c *chunk) TextBounds(col int) (lo, hi []byte, absent, ok bool) {
	leaf := c.leaf(col, 0)
	if leaf == nil || c.segment.formulas.derived(col) {
		return nil, nil, true, false
	}
	absent = leaf.NullCount() > 0
	a, b, ok := leaf.Bounds()
	if !ok || a.Kind() != parquet.ByteArray {
		return nil, nil, absent, false
	}
	return a.ByteArray(), b.ByteArray(), absent, true
}

// MayHave implements vector.Chunk.
func (c *chunk) MayHave(col int, text []byte) (may bool) {
	leaf := c.leaf(col, 0)
	switch {
	case c.segment.formulas.derived(col):
		return true
	case leaf == nil:
		return false
	}
	var err error
	defer func() { may = may || err != nil }()
	defer guard(&err)
	filter := leaf.BloomFilter()
	if filter == nil || c.outgrown(leaf) {
		return true
	}
	may, err = filter.Check(parquet.ByteArrayValue(text))
	return may
}

// outgrown reports whether a column has more different texts than its dictionary has room for. Then the bloom filter has
// those of the dictionary only: the library fills it from there.
func (c *chunk) outgrown(leaf *parquet.FileColumnChunk) bool {
	var dictionary, plain bool
	for _, s := range c.metadata(leaf).EncodingStats {
		if s.PageType == format.DictionaryPage {
			continue
		}
		byNumber := s.Encoding == format.RLEDictionary
		dictionary, plain = dictionary || byNumber, plain || !byNumber
	}
	return dictionary && plain
}

// pages calls f for each page of a leaf.
func pages(leaf *parquet.FileColumnChunk, f func(p parquet.Page) error) (err error) {
	defer guard(&err)
	all := leaf.Pages()
	defer all.Close()
	for {
		p, err := all.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		err = f(p)
		parquet.Release(p)
		if err != nil {
			return err
		}
	}
}

// errRows is the error of a column that has another number of rows than its row group.
var errRows = fmt.Errorf("%w: the columns have different lengths", ErrDamaged)

// Ints implements vector.Chunk.
func (c *chunk) Ints(col int) (vector.Ints, error) {
	if f := c.segment.formulas.of[col]; f != nil {
		return c.derivedInts(col, f)
	}
	leaf := c.leaf(col, 0)
	if leaf == nil {
		ints := make(vector.Ints, c.rows)
		for i := range ints {
			ints[i] = vector.Absent
		}
		return ints, nil
	}
	return c.readInts(leaf)
}

func (c *chunk) readInts(leaf *parquet.FileColumnChunk) (vector.Ints, error) {
	ints := make(vector.Ints, 0, c.rows)
	err := pages(leaf, func(p parquet.Page) error {
		from := len(ints)
		ints = appendNumbers(ints, p)
		ints = spread(ints, from, p, vector.Absent)
		return nil
	})
	if err == nil && len(ints) != c.rows {
		err = errRows
	}
	return ints, err
}

// appendNumbers appends the numbers of a page that are there.
func appendNumbers(dst vector.Ints, p parquet.Page) vector.Ints {
	data := p.Data()
	if d := p.Dictionary(); d != nil {
		values := d.Page().Data()
		all := values.Int64()
		for _, i := range data.Int32() {
			dst = append(dst, all[i])
		}
		return dst
	}
	switch p.Type().Kind() {
	case parquet.Boolean:
		bits := data.Boolean()
		for i := range p.NumValues() - p.NumNulls() {
			dst = append(dst, int64(bits[i/8]>>(i%8)&1))
		}
	case parquet.Double:
		for _, f := range data.Double() {
			dst = append(dst, int64(math.Float64bits(f)))
		}
	default:
		dst = append(dst, data.Int64()...)
	}
	return dst
}

// spread puts the values from an index on, which are those that a page has, at their rows; rows without get none.
func spread[T any](values []T, from int, p parquet.Page, none T) []T {
	if p.NumNulls() == 0 {
		return values
	}
	levels := p.DefinitionLevels()
	next := len(values)
	for range len(levels) - (next - from) {
		values = append(values, none)
	}
	for i := len(levels) - 1; i >= 0; i-- {
		if levels[i] != 0 {
			next--
			values[from+i] = values[next]
		} else {
			values[from+i] = none
		}
	}
	return values
}

// Texts implements vector.Chunk.
func (c *chunk) Texts(col int) (*vector.Texts, error) {
	if col == c.segment.formulas.target {
		return c.derivedTexts(col)
	}
	leaf := c.leaf(col, 0)
	if leaf == nil {
		return &vector.Texts{Rows: make([]uint32, c.rows)}, nil
	}
	return c.readTexts(leaf)
}

func (c *chunk) readTexts(leaf *parquet.FileColumnChunk) (*vector.Texts, error) {
	t := &vector.Texts{Rows: make([]uint32, 0, c.rows)}
	var d dictionaryReader
	err := pages(leaf, func(p parquet.Page) error {
		from := len(t.Rows)
		t.Rows = d.append(t.Rows, p)
		t.Rows = spread(t.Rows, from, p, 0)
		return nil
	})
	t.Dict = d.dict
	if err == nil && len(t.Rows) != c.rows {
		err = errRows
	}
	return t, err
}

// dictionaryReader gathers the texts of the pages of a column.
type dictionaryReader struct {
	dict vector.Dict
	// base is where the texts of the pages' common dictionary begin in dict, plus one; 0: they aren't in it yet.
	base uint32
}

// append appends the numbers of the texts of a page that are there.
func (d *dictionaryReader) append(rows []uint32, p parquet.Page) []uint32 {
	data := p.Data()
	if dictionary := p.Dictionary(); dictionary != nil {
		if d.base == 0 {
			d.base = uint32(d.dict.Len()) + 1
			values := dictionary.Page().Data()
			d.add(values.ByteArray())
		}
		count := uint32(dictionary.Len())
		for _, i := range data.Int32() {
			if uint32(i) >= count {
				panic("a text that isn't in the dictionary") // see guard
			}
			rows = append(rows, d.base+uint32(i))
		}
		return rows
	}
	first := uint32(d.dict.Len()) + 1
	d.add(data.ByteArray())
	for n := first; n <= uint32(d.dict.Len()); n++ {
		rows = append(rows, n)
	}
	return rows
}

// add adds texts, which are bytes[offsets[i]:offsets[i+1]].
func (d *dictionaryReader) add(bytes []byte, offsets []uint32) {
	if len(offsets) == 0 {
		return
	}
	if len(d.dict.Ends) == 0 {
		d.dict.Ends = append(make([]uint32, 0, len(offsets)), 0)
	}
	shift := uint32(len(d.dict.Bytes)) - offsets[0]
	d.dict.Bytes = append(d.dict.Bytes, bytes[offsets[0]:offsets[len(offsets)-1]]...)
	for _, end := range offsets[1:] {
		d.dict.Ends = append(d.dict.Ends, end+shift)
	}
}

// Lists implements vector.Chunk.
func (c *chunk) Lists(col int) (*vector.Lists, error) {
	l := &vector.Lists{}
	leaf := c.leaf(col, 0)
	if leaf == nil {
		l.Ends = make([]uint32, c.rows+1)
		return l, nil
	}
	var d dictionaryReader
	items := uint32(0)
	err := pages(leaf, func(p parquet.Page) error {
		l.Items = d.append(l.Items, p)
		defs := p.DefinitionLevels()
		for i, rep := range p.RepetitionLevels() {
			if rep == 0 {
				l.Ends = append(l.Ends, items)
			}
			if defs[i] > 0 {
				items++
			}
		}
		return nil
	})
	l.Dict, l.Ends = d.dict, append(l.Ends, items)
	if err == nil && (len(l.Ends) != c.rows+1 || int(items) != len(l.Items)) {
		err = errRows
	}
	return l, err
}

// Headers implements vector.Chunk.
func (c *chunk) Headers(col int) (*vector.Headers, error) {
	h := &vector.Headers{}
	names, values := c.leaf(col, 0), c.leaf(col, 1)
	if names == nil || values == nil {
		h.Ends = make([]uint32, c.rows+1)
		return h, nil
	}
	var d dictionaryReader
	var keys []uint32
	if err := pages(names, func(p parquet.Page) error {
		keys = d.append(keys, p)
		return nil
	}); err != nil {
		return nil, err
	}
	h.NameDict = d.dict
	d = dictionaryReader{}
	key := -1
	err := pages(values, func(p parquet.Page) error {
		h.Values = d.append(h.Values, p)
		defs := p.DefinitionLevels()
		for i, rep := range p.RepetitionLevels() {
			if rep == 0 {
				h.Ends = append(h.Ends, uint32(len(h.Names)))
			}
			if rep < 2 && defs[i] > 0 {
				key++
			}
			if defs[i] == 2 {
				if key < 0 || key >= len(keys) {
					return errRows
				}
				h.Names = append(h.Names, keys[key])
			}
		}
		return nil
	})
	h.ValueDict, h.Ends = d.dict, append(h.Ends, uint32(len(h.Names)))
	if err == nil && (len(h.Ends) != c.rows+1 || len(h.Names) != len(h.Values)) {
		err = errRows
	}
	return h, err
}

// Cost implements vector.Chunk.
func (c *chunk) Cost(cols []int) (bytes int64) {
	for _, col := range cols {
		bytes += int64(c.rows) * 8
		switch f := c.segment.formulas; {
		case f.of[col] != nil:
			bytes += c.Cost(f.of[col].inputs())
		case col == f.target:
			bytes += c.Cost([]int{f.path, f.query})
		}
		for part := range 2 {
			if leaf := c.leaf(col, part); leaf != nil {
				bytes += c.size(leaf)
			}
		}
	}
	return bytes
}

// size returns the length of a column in bytes, before compression.
func (c *chunk) size(leaf *parquet.FileColumnChunk) int64 {
	return c.metadata(leaf).TotalUncompressedSize
}

// metadata returns what the file says of a column.
func (c *chunk) metadata(leaf *parquet.FileColumnChunk) *format.ColumnMetaData {
	return &c.segment.file.Metadata().RowGroups[c.number].Columns[leaf.Column()].MetaData
}

// Release implements vector.Chunk.
func (c *chunk) Release() {
	for i, cur := range c.cursors {
		if cur != nil {
			cur.close()
			c.cursors[i] = nil
		}
	}
}
