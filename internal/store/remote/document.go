package remote

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/store/record"
)

// weightField is the field by which clusters count a document several times.
const weightField = "_doc_count"

// maxElements bounds the elements of a list, and the header fields of a message, that are read of a document.
const maxElements = 1 << 16

// node is an object of documents: what is in it, by key.
type node struct {
	inner map[string]*node
	// column is the column that the value is for, -1 for none. pairs: the value are header fields, as a list of names and
	// values in turns.
	column int
	pairs  bool
}

// documents reads documents into rows. It isn't safe for concurrent use.
type documents struct {
	root node
	row  record.Row
	// weight is how often the cluster counts the document that was read.
	weight int
}

func newDocuments() *documents {
	d := &documents{root: node{column: -1}}
	for i := range record.Columns {
		c := &record.Columns[i]
		d.root.at(c.Name).column = i
		if c.Form == record.Headers {
			n := d.root.at(pairsOf(c))
			n.column, n.pairs = i, true
		}
	}
	return d
}

// pairsOf is where documents hold header fields as they are, where those that they show aren't: among trailers, or folded.
func pairsOf(headers *record.Column) string {
	return storedPrefix + strings.TrimPrefix(headers.Name, "http.")
}

// at returns the node of a path, which it makes if there is none.
func (n *node) at(path string) *node {
	for key := range strings.SplitSeq(path, ".") {
		if n.inner == nil {
			n.inner = map[string]*node{}
		}
		if n.inner[key] == nil {
			n.inner[key] = &node{column: -1}
		}
		n = n.inner[key]
	}
	return n
}

// read reads a document, which is well-formed JSON, and whose bytes it may write over. ok: it has the id and the start that
// every exchange has. The row is valid until the next call. Documents may have been written by anybody: what isn't as it
// should be is left out.
func (d *documents) read(id string, document []byte) (r *record.Row, ok bool) {
	d.row.Reset()
	d.weight = 1
	s := scanner{document}
	d.object(&s, &d.root)
	return d.finish(id)
}

// readValues is read for the values of columns that were asked for by name, each an array.
func (d *documents) readValues(id string, values []byte, columns map[string]int) (r *record.Row, ok bool) {
	d.row.Reset()
	d.weight = 1
	s := scanner{values}
	s.fields(func(key []byte) {
		col, ok := columns[string(key)]
		if !ok {
			s.skip()
			return
		}
		s.each(func() {
			if d.row.Cell(col) != nil {
				s.skip()
				return
			}
			d.value(&s, col)
		})
	})
	return d.finish(id)
}

// finish returns the row, if it has what every exchange has.
func (d *documents) finish(id string) (r *record.Row, ok bool) {
	if d.row.Cell(record.ID) == nil {
		d.row.Set(record.ID).Text = []byte(id)
	}
	_, valid := exchange.ParseID(string(d.row.ID()))
	return &d.row, valid && d.row.Cell(record.Time) != nil
}

// object reads an object, if the next value is one.
func (d *documents) object(s *scanner, n *node) {
	s.fields(func(key []byte) {
		if n == &d.root && string(key) == weightField {
			if w, err := strconv.Atoi(string(s.scalar())); err == nil && w > 0 {
				d.weight = w
			}
			return
		}
		in := n.inner[string(key)]
		if in == nil { // keys may be paths
			in = n
			for part := range strings.SplitSeq(string(key), ".") {
				if in = in.inner[part]; in == nil {
					s.skip()
					return
				}
			}
		}
		if in.inner != nil && s.peek() == '{' {
			d.object(s, in)
			return
		}
		if in.pairs {
			d.pairs(s, in.column)
			return
		}
		if in.column < 0 || d.row.Cell(in.column) != nil {
			s.skip()
			return
		}
		d.value(s, in.column)
	})
}

// pairs reads header fields. They hold, whatever the document shows besides.
func (d *documents) pairs(s *scanner, col int) {
	var texts [][]byte
	s.each(func() {
		if text, ok := s.text(); ok && len(texts) < 2*maxElements {
			texts = append(texts, raw(text))
		}
	})
	cell := d.row.Cell(col)
	if cell == nil {
		if len(texts) < 2 {
			return
		}
		cell = d.row.Set(col)
	}
	cell.Fields = nil
	for i := 0; i+1 < len(texts); i += 2 {
		cell.Fields = append(cell.Fields, record.Field{Name: lowerName(texts[i]), Value: texts[i+1]})
	}
}

// lowerName makes the ASCII letters of the name of a header lower case, in place.
func lowerName(name []byte) []byte {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c | 0x20
		}
	}
	return name
}

// value reads the value of a column.
func (d *documents) value(s *scanner, col int) {
	c := &record.Columns[col]
	switch c.Form {
	case record.Headers:
		var fields []record.Field
		s.fields(func(name []byte) {
			name = lowerName(raw(name))
			s.each(func() {
				if value, ok := s.text(); ok && len(fields) < maxElements {
					fields = append(fields, record.Field{Name: name, Value: raw(value)})
				}
			})
		})
		if len(fields) > 0 {
			d.row.Set(col).Fields = fields
		}
	case record.Lists:
		var list [][]byte
		s.each(func() {
			if value, ok := s.text(); ok && len(list) < maxElements {
				list = append(list, raw(value))
			}
		})
		if len(list) > 0 {
			cell := d.row.Set(col)
			cell.List = append(cell.List, list...)
		}
	case record.Texts:
		text, ok := s.text()
		if !ok {
			return
		}
		text = raw(text)
		if c.Kind == exchange.IP {
			if a, err := netip.ParseAddr(string(text)); err != nil || a.Zone() != "" {
				return
			}
		}
		d.row.Set(col).Text = text
	default:
		d.number(s, col, c)
	}
}

func (d *documents) number(s *scanner, col int, c *record.Column) {
	kind := c.Kind
	if kind == exchange.Time {
		text, ok := s.text()
		at, err := time.Parse(time.RFC3339Nano, string(text))
		ns := at.UnixNano() // which isn't what it says, beyond what nanoseconds reach
		if ok && err == nil && time.Unix(0, ns).Equal(at) && (ns >= 0 || c.Field.Type == dateType) {
			d.row.Set(col).Int = ns
		}
		return
	}
	text := string(s.scalar())
	n, err := strconv.ParseInt(text, 10, 64)
	switch kind {
	case exchange.Float:
		f, e := strconv.ParseFloat(text, 64)
		if e != nil || !(f >= 0) { // parts of a whole; see query.Search
			return
		}
		n, err = int64(math.Float64bits(math.Abs(f))), nil // no -0
	case exchange.Bool:
		n, err = 0, nil
		if text == "true" {
			n = 1
		} else if text != "false" {
			return
		}
	}
	if err == nil {
		d.row.Set(col).Int = n
	}
}

// scanner reads JSON that is known to be well-formed.
type scanner struct{ b []byte }

func (s *scanner) space() {
	for len(s.b) > 0 && (s.b[0] == ' ' || s.b[0] == '\n' || s.b[0] == '\t' || s.b[0] == '\r' || s.b[0] == ',' || s.b[0] == ':') {
		s.b = s.b[1:]
	}
}

// peek returns the first byte of the next value, 0 at the end.
func (s *scanner) peek() byte {
	if s.space(); len(s.b) == 0 {
		return 0
	}
	return s.b[0]
}

// fields calls f for each field of an object, if the next value is one, else it skips that. f reads the value.
func (s *scanner) fields(f func(key []byte)) {
	if s.peek() != '{' {
		s.skip()
		return
	}
	s.b = s.b[1:]
	for s.peek() == '"' {
		key, _ := s.text()
		f(key)
	}
	if len(s.b) > 0 {
		s.b = s.b[1:] // }
	}
}

// each calls f for each element of an array, or for the next value if that isn't one. f reads the element.
func (s *scanner) each(f func()) {
	if s.peek() != '[' {
		f()
		return
	}
	s.b = s.b[1:]
	for c := s.peek(); c != ']' && c != 0; c = s.peek() {
		f()
	}
	if len(s.b) > 0 {
		s.b = s.b[1:]
	}
}

// text reads a string; other values are skipped. It is unescaped in place.
func (s *scanner) text() (text []byte, ok bool) {
	if s.peek() != '"' {
		s.skip()
		return nil, false
	}
	end, escaped := s.quoted()
	text = s.b[1:end]
	quoted := s.b[:end+1]
	s.b = s.b[end+1:]
	if escaped {
		var t string
		if json.Unmarshal(quoted, &t) != nil {
			return nil, false
		}
		text = append(text[:0], t...) // which isn't longer
	}
	return text, true
}

// quoted returns where the string that comes next ends, and whether it has escapes.
func (s *scanner) quoted() (end int, escaped bool) {
	for i := 1; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			return i, escaped
		}
	}
	return max(len(s.b)-1, 1), escaped
}

// scalar reads a number, true, false or null; other values are skipped.
func (s *scanner) scalar() []byte {
	switch s.peek() {
	case '"', '{', '[':
		s.skip()
		return nil
	}
	n := 0
	for n < len(s.b) && s.b[n] != ',' && s.b[n] != '}' && s.b[n] != ']' && s.b[n] > ' ' {
		n++
	}
	v := s.b[:n]
	s.b = s.b[n:]
	return v
}

// skip skips a value.
func (s *scanner) skip() {
	for depth := 0; ; {
		switch s.peek() {
		case 0:
			return
		case '"':
			end, _ := s.quoted()
			s.b = s.b[min(end+1, len(s.b)):]
		case '{', '[':
			depth++
			s.b = s.b[1:]
		case '}', ']':
			if depth == 0 {
				return
			}
			depth--
			s.b = s.b[1:]
		default:
			s.scalar()
		}
		if depth == 0 {
			return
		}
	}
}

// Encoder makes documents that hold all of an exchange: those of package ndjson, and in culprit.stored what these don't tell,
// such as the order of header fields and the case of their names. It isn't safe for concurrent use.
type Encoder struct {
	document ndjson.Encoder
	batch    record.Batch
	decoder  *record.Decoder
}

// NewEncoder returns an encoder.
func NewEncoder() (*Encoder, error) {
	d, err := record.NewDecoder(record.Header())
	return &Encoder{document: ndjson.NewEncoder(), decoder: d}, err
}

// Append appends the document of an exchange.
func (e *Encoder) Append(dst []byte, x *exchange.Exchange) ([]byte, error) {
	e.batch.Reset()
	e.batch.Add(x)
	err := e.decoder.Each(e.batch.Bytes(), func(r *record.Row) error {
		var err error
		dst, err = e.append(dst, r, x)
		return err
	})
	return dst, err
}

func (e *Encoder) append(dst []byte, r *record.Row, x *exchange.Exchange) ([]byte, error) {
	dst = e.document.Append(dst, x)
	stored := object{}
	put := func(name string, v any) {
		at := stored
		path := strings.Split(strings.TrimPrefix(name, storedPrefix), ".")
		for _, key := range path[:len(path)-1] {
			if at[key] == nil {
				at[key] = object{}
			}
			at = at[key].(object)
		}
		at[path[len(path)-1]] = v
	}
	for col := range record.Columns {
		c, cell := &record.Columns[col], r.Cell(col)
		if c.Form == record.Headers {
			if pairs := pairs(x, c.Field, cell); pairs != nil {
				put(pairsOf(c), pairs)
			}
		}
		if c.Field != nil || cell == nil {
			continue
		}
		var v any
		switch {
		case c.Form == record.Texts:
			v = shown(string(cell.Text))
		case c.Form == record.Lists:
			list := make([]string, len(cell.List))
			for i, text := range cell.List {
				list[i] = shown(string(text))
			}
			v = list
		case c.Kind == exchange.Bool:
			v = cell.Int != 0
		default:
			v = cell.Int
		}
		put(c.Name, v)
	}
	// The last object of a document is culprit's, so that this one goes to its end as a path.
	more, err := json.Marshal(object{strings.TrimSuffix(storedPrefix, "."): stored})
	if err != nil {
		return dst, err
	}
	dst = append(dst[:len(dst)-1], ',')
	return append(dst, more[1:]...), nil
}

// pairs returns the header fields of a row as names and values in turns, if the document shows them otherwise.
func pairs(x *exchange.Exchange, f *exchange.Field, headers *record.Cell) []string {
	var v exchange.Value
	if f.Get(x, &v); v.Kind != exchange.Headers || !slices.ContainsFunc(v.Message.Fields, func(f proto.Field) bool {
		return f.Flags&(proto.Trailer|proto.Folded) != 0
	}) {
		return nil
	}
	all := []string{}
	if headers != nil {
		for _, f := range headers.Fields {
			all = append(all, shown(string(f.Name)), shown(string(f.Value)))
		}
	}
	return all
}
