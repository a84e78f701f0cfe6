package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// grid is an answer in rows and columns, the last rows of which are feet: others and totals.
type grid struct {
	columns    []gridColumn
	rows, feet int
}

// gridColumn is a column: numbers in a unit, or texts. min is the width to which texts may be cut, 0: they may not; drop says
// when the column is left out, as in column.
type gridColumn struct {
	name, unit string
	// numeric: the values are numbers; grouped: with commas between the thousands for people, as counts are.
	numeric, grouped bool
	// quotes: as in column.
	quotes    bool
	min, drop int
	values    []value
}

// value is a cell: a number if it is one, else a text. The zero value is nothing.
type value struct {
	number float64
	isInt  bool
	int    int64
	// text is for people, and raw for programs; empty: the same.
	text, raw string
	present   bool
	// label: the text is what culprit says, as "total".
	label bool
}

func textValue(b []byte) value {
	text := string(terminal.AppendSafe(nil, b))
	return value{text: text, present: true}
}

func intValue(n int64) value { return value{number: float64(n), isInt: true, int: n, present: true} }

// numberValue is a figure; NaN is nothing.
func numberValue(f float64) value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return value{}
	}
	v := value{number: f, present: true}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		v.isInt, v.int = true, int64(f)
	}
	return v
}

// minText is the width to which texts may be cut on a terminal.
const minText = 8

// keyValue is the key of a group.
func keyValue(k *store.Key, g *store.Group) value {
	switch k.Kind {
	case exchange.Absent:
		return value{}
	case exchange.Text, exchange.IP, exchange.List:
		return textValue([]byte(k.Text))
	case exchange.Bool:
		return value{text: strconv.FormatBool(k.Int != 0), present: true}
	case exchange.Time:
		return timeValue(k.Int, time.UTC)
	}
	v := intValue(k.Int)
	v.text, v.raw = string(strconv.AppendInt(nil, k.Int, 10)), string(strconv.AppendInt(nil, k.Int, 10))
	switch {
	case k.Kind == exchange.Duration:
		v.text = string(terminal.AppendDuration(nil, k.Int))
	case g.Field.Unit == "byte":
		v.text = string(terminal.AppendBytes(nil, k.Int))
	}
	return v
}

func timeValue(ns int64, zone *time.Location) value {
	at := time.Unix(0, ns)
	return value{text: at.In(zone).Format("2006-01-02 15:04:05.000"), raw: at.UTC().Format("2006-01-02T15:04:05.000000000Z"), present: true}
}

// isStatement reports whether a field is what a database was asked, which is text with spaces.
func isStatement(f *exchange.Field) bool {
	return strings.HasPrefix(f.Name, "db.") && f.Kind == exchange.Text
}

// columnName is the shortest name of a field.
func columnName(f *exchange.Field) string {
	if len(f.Aliases) > 0 {
		return f.Aliases[0]
	}
	return f.Name
}

// usual are the columns of a list when none are named, and which are left out first where there is no room. or are the fields that
// say the same of other protocols, which the table for people has in the same column.
var usual = []struct {
	field string
	drop  int
	or    []string
}{
	{"time", 0, nil}, {"client", 2, nil}, {"method", 0, []string{"db.operation.name", "dns.question.type"}}, {"vhost", 4, []string{"db.namespace", "tls.client.server_name"}},
	{"path", 0, []string{"db.query.text", "dns.question.name", "network.protocol"}}, {"status", 0, []string{"db.response.status_code", "dns.response_code"}},
	{"size", 3, []string{"culprit.db.returned_bytes"}}, {"duration", 0, nil}, {"grade", 1, nil},
}

// needed are the fields that the table for people needs when none are named.
func needed() (all []*exchange.Field) {
	for _, c := range usual {
		for _, name := range append([]string{c.field}, c.or...) {
			all = append(all, exchange.Lookup(name))
		}
	}
	return all
}

func parseFields(names []string) (all []*exchange.Field, err error) {
	if len(names) == 0 {
		for _, c := range usual {
			names = append(names, c.field)
		}
	}
	for _, name := range names {
		f := exchange.Lookup(strings.TrimSpace(name))
		if f == nil {
			return nil, noField("--fields", name)
		}
		all = append(all, f)
	}
	return all, nil
}

// cellOf is what an exchange has in a field. v is scratch.
func cellOf(x *exchange.Exchange, f *exchange.Field, v *exchange.Value, zone *time.Location) value {
	v.Kind, v.Text, v.Bytes, v.List = exchange.Absent, "", nil, nil
	f.Get(x, v)
	switch v.Kind {
	case exchange.Absent:
		return value{}
	case exchange.Text:
		if v.Text != "" {
			return textValue([]byte(v.Text))
		}
		return textValue(v.Bytes)
	case exchange.IP:
		return value{text: v.Addr.String(), present: true}
	case exchange.Time:
		return timeValue(v.Int, zone)
	case exchange.Bool:
		return value{text: strconv.FormatBool(v.Int != 0), present: true}
	case exchange.List:
		return textValue([]byte(strings.Join(v.List, ", ")))
	case exchange.Headers:
		var all []byte
		for i := range v.Message.Fields {
			h := &v.Message.Fields[i]
			if i > 0 {
				all = append(all, "; "...)
			}
			all = append(append(append(all, v.Message.Bytes(h.Name)...), ": "...), v.Message.Bytes(h.Value)...)
		}
		return textValue(all)
	case exchange.Float:
		return numberValue(v.Float)
	}
	return intValue(v.Int)
}

func isNumeric(f *exchange.Field) bool {
	return f.Kind == exchange.Int || f.Kind == exchange.Duration || f.Kind == exchange.Float
}

// list is an Output that shows exchanges as a table, once it is closed.
type list struct {
	grid   grid
	fields []*exchange.Field
	// or are the fields that stand in for each where it is absent.
	or     [][]*exchange.Field
	target target
	value  exchange.Value
}

// newList makes a list of these fields; named: the user chose them, so that all are wanted.
func newList(fields []*exchange.Field, named bool, t target) *list {
	l := &list{fields: fields, or: make([][]*exchange.Field, len(fields)), target: t}
	for i, f := range fields {
		c := gridColumn{name: columnName(f), unit: f.Unit, numeric: isNumeric(f), quotes: isStatement(f)}
		if f.Kind == exchange.Text || f.Kind == exchange.List || f.Kind == exchange.Headers {
			c.min = minText
		}
		if !named {
			c.drop = usual[i].drop
			for _, name := range usual[i].or {
				or := exchange.Lookup(name)
				l.or[i] = append(l.or[i], or)
				c.quotes = c.quotes || isStatement(or)
			}
		}
		l.grid.columns = append(l.grid.columns, c)
	}
	return l
}

// Exchange implements output.Output.
func (l *list) Exchange(x *exchange.Exchange) error {
	l.grid.rows++
	for i, f := range l.fields {
		c := &l.grid.columns[i]
		cell := cellOf(x, f, &l.value, l.target.location)
		for _, f := range l.or[i] {
			if cell.present {
				break
			}
			cell = cellOf(x, f, &l.value, l.target.location)
			if v := &l.value; v.Kind == exchange.Text && v.Text == "" { // statements may have many lines
				cell = textValue(bytes.Join(bytes.Fields(v.Bytes), []byte(" ")))
			}
		}
		c.values = append(c.values, cell)
	}
	return nil
}

// Flush implements output.Output.
func (l *list) Flush() error { return nil }

// Close implements output.Output.
func (l *list) Close() error {
	if l.grid.rows == 0 {
		return nil
	}
	_, err := l.target.w.Write(l.grid.appendTable(nil, l.target))
	return err
}

// scales are the units in which people read numbers of a unit, from which value of the largest on, and with how many
// decimals.
var scales = map[string][]struct {
	from, size float64
	name       string
	decimals   int
}{
	"ns":   {{10e9, 1e9, "s", 2}, {100e6, 1e6, "ms", 1}, {1e6, 1e6, "ms", 2}, {1e3, 1e3, "µs", 1}, {0, 1, "ns", 0}},
	"byte": {{10 << 30, 1 << 30, "GiB", 1}, {10 << 20, 1 << 20, "MiB", 1}, {10 << 10, 1 << 10, "KiB", 1}, {0, 1, "B", 0}},
	"/s":   {{100, 1, "/s", 1}, {0, 1, "/s", 3}},
	"part": {{0, 0.01, "%", 1}},
}

// maxDecimals is how many decimals numbers have at most, for people.
const maxDecimals = 3

// appendTable lays the grid out for people, with the unit of numbers in the head. Elsewhere than on a terminal numbers
// stay in their own unit, exactly.
func (g *grid) appendTable(dst []byte, to target) []byte {
	t := table{rows: make([][]string, g.rows)}
	people := to.terminal.Width > 0
	for i := range g.columns {
		c := &g.columns[i]
		head, cells := c.name, c.cells(people)
		if people && c.numeric {
			var unit string
			if cells, unit = c.scaled(); unit != "" {
				head += " " + unit
			}
		} else if c.unit != "" && c.numeric {
			head += "[" + c.unit + "]"
		}
		t.columns = append(t.columns, column{head: string(terminal.AppendSafe(nil, []byte(head))), right: c.numeric, min: c.min, drop: c.drop, quotes: c.quotes})
		for k, cell := range cells {
			t.rows[k] = append(t.rows[k], cell)
		}
	}
	return t.append(dst, to.terminal.Width)
}

// cells gives the values as they are, for people or for programs.
func (c *gridColumn) cells(people bool) []string {
	cells := make([]string, len(c.values))
	for i := range c.values {
		v := &c.values[i]
		switch {
		case v.text != "" && (people || v.raw == ""):
			cells[i] = v.text
		case v.raw != "":
			cells[i] = v.raw
		case v.isInt:
			cells[i] = strconv.FormatInt(v.int, 10)
		case v.present && c.numeric:
			cells[i] = strconv.FormatFloat(v.number, 'g', -1, 64)
		case people && !v.present && !v.label && c.min > 0:
			cells[i] = "-"
		}
	}
	return cells
}

// scaled gives numbers in the unit in which they are best read.
func (c *gridColumn) scaled() (cells []string, unit string) {
	cells = make([]string, len(c.values))
	largest, smallest, whole := 0.0, math.Inf(1), true
	for i := range c.values {
		if v := &c.values[i]; v.present && v.text == "" {
			n := math.Abs(v.number)
			largest, whole = max(largest, n), whole && v.isInt
			if n > 0 {
				smallest = min(smallest, n)
			}
		}
	}
	size, decimals := 1.0, 2
	for _, s := range scales[c.unit] {
		if largest >= s.from {
			size, unit, decimals = s.size, s.name, s.decimals
			break
		}
	}
	for size > 1 && decimals < maxDecimals && smallest/size*math.Pow10(decimals) < 1 {
		decimals++ // the smallest, too, should be seen to be there
	}
	for i := range c.values {
		switch v := &c.values[i]; {
		case !v.present:
			cells[i] = "-"
		case v.text != "": // the code of an error among statuses
			cells[i] = v.text
		case unit == "" && whole && c.grouped:
			cells[i] = string(terminal.AppendCount(nil, v.int))
		case unit == "" && whole:
			cells[i] = strconv.FormatInt(v.int, 10)
		default:
			cells[i] = commas(strconv.FormatFloat(v.number/size, 'f', decimals, 64))
		}
	}
	return cells, unit
}

// commas puts commas between the thousands of a decimal number.
func commas(s string) string {
	whole, fraction, has := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 1000 {
		return s
	}
	out := string(terminal.AppendCount(nil, n))
	if has {
		out += "." + fraction
	}
	return out
}

// rows is an Output that writes exchanges as CSV (RFC 4180).
type rows struct {
	w      *csv.Writer
	fields []*exchange.Field
	cells  []string
	value  exchange.Value
	begun  bool
}

func newRows(fields []*exchange.Field, w io.Writer) *rows {
	r := &rows{w: csv.NewWriter(w), fields: fields, cells: make([]string, len(fields))}
	r.w.UseCRLF = true
	return r
}

// Exchange implements output.Output.
func (r *rows) Exchange(x *exchange.Exchange) error {
	if !r.begun {
		r.begun = true
		for i, f := range r.fields {
			r.cells[i] = csvHead(columnName(f), f.Unit)
		}
		if err := r.w.Write(r.cells); err != nil {
			return err
		}
	}
	for i, f := range r.fields {
		v := cellOf(x, f, &r.value, time.UTC)
		r.cells[i] = csvCell(&v)
	}
	return r.w.Write(r.cells)
}

// Flush implements output.Output.
func (r *rows) Flush() error {
	r.w.Flush()
	return r.w.Error()
}

// Close implements output.Output.
func (r *rows) Close() error { return r.Flush() }

func csvHead(name, unit string) string {
	if unit == "" {
		return name
	}
	return name + " [" + unit + "]"
}

// csvCell gives a value for a program. Spreadsheets compute what begins with = + - or @, and what is captured is hostile: an
// apostrophe before a text makes it one.
func csvCell(v *value) string {
	switch {
	case v.raw != "":
		return v.raw
	case v.text != "":
		if strings.IndexByte("=+-@", v.text[0]) >= 0 {
			return "'" + v.text
		}
		return v.text
	case v.isInt:
		return strconv.FormatInt(v.int, 10)
	case v.present && v.number != 0:
		return strconv.FormatFloat(v.number, 'g', -1, 64)
	}
	return ""
}

// appendCSV writes the grid as CSV (RFC 4180), without others and totals: who adds up wants each exchange once.
func (g *grid) appendCSV(dst []byte, _ target) []byte {
	b := bytes.NewBuffer(dst)
	w := csv.NewWriter(b) // which can't fail, to a Buffer
	w.UseCRLF = true
	cells := make([]string, len(g.columns))
	for i := range g.columns {
		cells[i] = csvHead(g.columns[i].name, g.columns[i].unit)
	}
	_ = w.Write(cells)
	for k := range g.rows - g.feet {
		for i := range g.columns {
			cells[i] = csvCell(&g.columns[i].values[k])
		}
		_ = w.Write(cells)
	}
	w.Flush()
	return b.Bytes()
}

// appendJSON writes the grid as NDJSON: an object a row, without others and totals. What isn't there is null.
func (g *grid) appendJSON(dst []byte, _ target) []byte {
	for k := range g.rows - g.feet {
		for i := range g.columns {
			c := &g.columns[i]
			if i == 0 {
				dst = append(dst, '{')
			} else {
				dst = append(dst, ',')
			}
			dst = appendJSONText(dst, c.name)
			dst = append(dst, ':')
			switch v := &c.values[k]; {
			case v.isInt:
				dst = strconv.AppendInt(dst, v.int, 10)
			case v.raw != "":
				dst = appendJSONText(dst, v.raw)
			case c.numeric && v.present:
				dst = strconv.AppendFloat(dst, v.number, 'g', -1, 64)
			case v.present:
				dst = appendJSONText(dst, v.text)
			default:
				dst = append(dst, "null"...)
			}
		}
		dst = append(dst, "}\n"...)
	}
	return dst
}

func appendJSONText(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text has no error
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// parquetStream is an Output that writes exchanges as a segment of a store, also into a pipe: what is asked of a store has an end.
type parquetStream struct {
	w       *segment.Writer
	batch   record.Batch
	decoder *record.Decoder
	builder *vector.Builder
}

// Limits of what is held before it is written, as one row group.
const (
	parquetRows  = 64 << 10
	parquetBytes = 64 << 20
)

func newParquet(w io.Writer) *parquetStream {
	return &parquetStream{w: segment.NewWriter(w), builder: vector.NewBuilder()}
}

// Exchange implements output.Output.
func (p *parquetStream) Exchange(x *exchange.Exchange) (err error) {
	if p.decoder == nil {
		if p.decoder, err = record.NewDecoder(record.Header()); err != nil {
			return err
		}
	}
	p.batch.Reset()
	p.batch.Add(x)
	if err := p.decoder.Each(p.batch.Bytes(), func(r *record.Row) error { p.builder.Append(r); return nil }); err != nil {
		return err
	}
	if p.builder.Len() >= parquetRows || p.builder.Bytes() >= parquetBytes {
		return p.Flush()
	}
	return nil
}

// Flush implements output.Output.
func (p *parquetStream) Flush() error {
	if p.builder.Len() == 0 {
		return nil
	}
	m := p.builder.Chunk()
	p.builder = vector.NewBuilder()
	return p.w.Write(m, m.Order())
}

// Close implements output.Output.
func (p *parquetStream) Close() error {
	if err := p.Flush(); err != nil {
		return err
	}
	return p.w.Close()
}
