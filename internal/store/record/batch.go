package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// Batch is a run of exchanges as rows, in the form in which they stand in the log:
//
//	batch  = { length row }             length: bytes of the row, as a varint
//	row    = { column value } 0         column: its number in Columns plus one
//	value  = number | text | list | headers, by the column's form
//	number = a zigzag varint
//	text   = length bytes
//	list   = count { text }
//	headers = count { name value }      texts both
//
// All lengths and counts are unsigned varints. The zero Batch is empty and ready.
type Batch struct {
	buf   []byte
	count int

	value   exchange.Value
	row     []byte
	scratch []byte
	keys    []uint32
}

// maxElements bounds the elements of a list and the fields of a message: what is more isn't stored, and a batch
// that says it has more is damaged. Limits elsewhere are far below.
const maxElements = 1 << 16

// Reset empties the batch, and keeps its memory.
func (b *Batch) Reset() { b.buf, b.count = b.buf[:0], 0 }

// Len returns the number of exchanges.
func (b *Batch) Len() int { return b.count }

// Bytes returns the batch as it is stored: borrowed until the next call of Add or Reset.
func (b *Batch) Bytes() []byte { return b.buf }

// Add adds an exchange, which it copies.
func (b *Batch) Add(x *exchange.Exchange) {
	b.row = b.row[:0]
	for i := range runs {
		if r := &runs[i]; r.Has == nil || r.Has(x) {
			b.addColumns(x, r.From, r.To)
		}
	}
	b.addHidden(x)
	b.row = append(b.row, 0)
	b.buf = binary.AppendUvarint(b.buf, uint64(len(b.row)))
	b.buf = append(b.buf, b.row...)
	b.count++
}

// addColumns adds the columns from a number to before another.
func (b *Batch) addColumns(x *exchange.Exchange, from, to int) {
	v := &b.value
	for i := from; i < to; i++ {
		v.Kind, v.Text, v.Bytes, v.List = exchange.Absent, "", nil, nil
		if Columns[i].Field.Get(x, v); v.Kind != exchange.Absent {
			b.appendValue(i, v)
		}
	}
}

func (b *Batch) appendValue(col int, v *exchange.Value) {
	switch v.Kind {
	case exchange.Text:
		if v.Text != "" {
			b.appendColumn(col)
			b.row = appendText(b.row, v.Text)
		} else {
			b.appendText(col, v.Bytes)
		}
	case exchange.IP:
		b.scratch = v.Addr.Netip().AppendTo(b.scratch[:0])
		b.appendText(col, b.scratch)
	case exchange.List:
		b.appendList(col, v.List)
	case exchange.Headers:
		b.appendHeaders(col, v.Message)
	default:
		b.appendInt(col, number(v))
	}
}

func (b *Batch) appendColumn(col int) { b.row = binary.AppendUvarint(b.row, uint64(col)+1) }

func (b *Batch) appendInt(col int, n int64) {
	b.appendColumn(col)
	b.row = binary.AppendVarint(b.row, n)
}

func (b *Batch) appendText(col int, text []byte) {
	b.appendColumn(col)
	b.row = appendText(b.row, text)
}

func (b *Batch) appendList(col int, list []string) {
	if len(list) == 0 {
		return
	}
	list = list[:min(len(list), maxElements)]
	b.appendColumn(col)
	b.row = binary.AppendUvarint(b.row, uint64(len(list)))
	for _, s := range list {
		b.row = appendText(b.row, s)
	}
}

// appendHeaders appends the header fields of a message as they were sent, but for the case of their names: equal
// names together, where the first of them stood. Trailers are stored elsewhere.
func (b *Batch) appendHeaders(col int, m *proto.Message) {
	count := 0
	b.keys = b.keys[:0]
	for i := range m.Fields {
		f := &m.Fields[i]
		key := uint32(done)
		if f.Flags&proto.Trailer == 0 && count < maxElements {
			key = nameKey(m.Bytes(f.Name))
			count++
		}
		b.keys = append(b.keys, key)
	}
	if count == 0 {
		return
	}
	b.appendColumn(col)
	row := binary.AppendUvarint(b.row, uint64(count))
	keys := b.keys
	for i, key := range keys {
		if key == done {
			continue
		}
		name := m.Bytes(m.Fields[i].Name)
		row = binary.AppendUvarint(row, uint64(len(name)))
		row = appendLower(row, name)
		row = appendText(row, m.Bytes(m.Fields[i].Value))
		for k := i + 1; k < len(keys); k++ {
			if keys[k] != key {
				continue
			}
			b.scratch = appendLower(b.scratch[:0], name)
			if f := &m.Fields[k]; sameName(m.Bytes(f.Name), b.scratch) {
				keys[k] = done
				row = appendText(row, b.scratch)
				row = appendText(row, m.Bytes(f.Value))
			}
		}
	}
	b.row = row
}

// done is the key of a field that is stored already, or elsewhere.
const done = 0

// nameKey tells most names apart: by their length and by their ends, but for their case.
func nameKey(name []byte) uint32 {
	n := len(name)
	if n == 0 {
		return 1
	}
	return uint32(n)<<16 | uint32(name[0]|0x20)<<8 | uint32(name[n-1]|0x20)
}

// addHidden adds what the fields don't tell; see hidden.
func (b *Batch) addHidden(x *exchange.Exchange) {
	if x.Flow.Net != 0 {
		b.appendInt(cols.net, int64(x.Flow.Net))
	}
	b.appendInt(cols.connectionAge, int64(x.FirstPacket-x.Flow.First.Packet))
	b.addProcesses(x)
	if x.TLS != nil {
		b.addTLS(x)
	}
	if len(x.Interim) > 0 {
		at := make([]string, len(x.Interim))
		for i := range at {
			at[i] = strconv.FormatInt(x.Interim[i].At.Time-x.Start.Time, 10)
		}
		b.appendList(cols.interimAt, at)
	}
	version := protocol(shownVersion(x))
	if x.HasRequest {
		b.addMessage(&cols.request, &x.Request, &x.RequestBody, version)
	}
	if x.HasResponse {
		b.addMessage(&cols.response, &x.Response, &x.ResponseBody, version)
	}
}

// addTLS adds what the fields don't tell of a TLS session.
func (b *Batch) addTLS(x *exchange.Exchange) {
	var alerts []string
	for i := range x.TLS.Alerts {
		alerts = append(alerts, alertText(&x.TLS.Alerts[i]))
	}
	b.appendList(cols.tls.alerts, alerts)
	if x.HasRequest || x.HasResponse {
		return
	}
	if x.Index > 0 {
		var suites []string
		for _, s := range x.TLS.OfferedSuites {
			suites = append(suites, strconv.FormatUint(uint64(s), 16))
		}
		b.appendList(cols.tls.suites, suites)
		b.appendList(cols.tls.alpn, x.TLS.OfferedALPN)
	}
	for d, col := range cols.tls.bytes {
		b.appendInt(col, int64(x.Conn.Half[x.Client^proto.Direction(d)].Bytes))
	}
}

func (b *Batch) addProcesses(x *exchange.Exchange) {
	client, server := x.Process[x.Client], x.Process[x.Server()]
	known := int64(0)
	for d, p := range [2]*exchange.Process{proto.Originator: client, proto.Responder: server} {
		if p == nil {
			continue
		}
		known |= 1 << d
		if n := len(p.Args); n > 1 || n == 1 && p.Args[0] == "" {
			b.appendList(cols.args[d], p.Args)
		}
	}
	if known == 0 {
		return
	}
	b.appendInt(cols.processes, known)
	if client == nil || server == nil {
		return
	}
	for i, text := range [...]string{client.ContainerID, client.PodUID, client.Unit} {
		if text != "" {
			b.appendColumn(cols.clientProcess[i])
			b.row = appendText(b.row, text)
		}
	}
}

// shownVersion is the version that the field http.version shows.
func shownVersion(x *exchange.Exchange) uint16 {
	if x.HasRequest {
		return x.Request.Version
	}
	return x.Response.Version
}

// addMessage adds what the fields don't tell of a message. version is what it says of its version unless it says
// otherwise.
func (b *Batch) addMessage(c *messageColumns, m *proto.Message, body *exchange.Body, version string) {
	names, headers := b.scratch[:0], 0
	var trailers, folded []string
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.Flags&proto.Folded != 0 {
			folded = append(folded, strconv.Itoa(i))
		}
		if f.Flags&proto.Trailer != 0 {
			trailers = append(trailers, string(m.Bytes(f.Name))+": "+string(m.Bytes(f.Value)))
			continue
		}
		if headers > 0 {
			names = append(names, '\n')
		}
		names = append(names, m.Bytes(f.Name)...)
		headers++
	}
	b.scratch = names
	if len(names) > 0 {
		b.appendText(c.names, names)
	}
	b.appendList(c.trailers, trailers)
	b.appendList(c.folded, folded)
	if p := m.Bytes(m.Proto); string(p) != version {
		b.appendText(c.protocol, p)
	}
	if m.HeadSize != m.Size-m.BodyBytes {
		b.appendInt(c.headBytes, m.HeadSize)
	}
	if m.MissingBytes != 0 {
		b.appendInt(c.missing, m.MissingBytes)
	}
	if body.Cut {
		b.appendInt(c.cut, 1)
	}
	if body.Undecoded != "" {
		b.appendText(c.undecoded, []byte(body.Undecoded))
	}
}

// protocol is what messages say of their version.
func protocol(version uint16) string {
	switch version {
	case 0x0101:
		return "HTTP/1.1"
	case 0x0100:
		return "HTTP/1.0"
	case 0x0200:
		return "HTTP/2"
	}
	return ""
}

func appendText[T string | []byte](dst []byte, text T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text)))
	return append(dst, text...)
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// sameName reports whether a header name is the lower-case name, but for the case.
func sameName(name, lower []byte) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Header returns what a reader needs to know to read batches of this program later: the forms and names of the
// columns, one a line.
func Header() []byte {
	var b []byte
	for i := range Columns {
		b = append(b, formLetters[Columns[i].Form], ' ')
		b = append(b, Columns[i].Name...)
		b = append(b, '\n')
	}
	return b
}

// formLetters are the forms in headers.
const formLetters = "ITLH"

// Decoder reads batches that this or another version of the program wrote. Columns that this one doesn't know are
// skipped.
type Decoder struct {
	// columns are the numbers in Columns of the writer's columns, negative for those that aren't there, and
	// forms are their forms.
	columns []int
	forms   []Form
	row     Row
	skipped Cell
}

// NewDecoder returns a Decoder for batches with that header.
func NewDecoder(header []byte) (*Decoder, error) {
	d := &Decoder{}
	for line := range bytes.Lines(header) {
		letter, name, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		form := bytes.Index([]byte(formLetters), letter)
		if !ok || len(letter) != 1 || form < 0 {
			return nil, fmt.Errorf("the header of the batches is damaged: %q", line)
		}
		col := Index(string(name))
		if col >= 0 && Columns[col].Form != Form(form) {
			col = -1 // it meant something else
		}
		d.columns = append(d.columns, col)
		d.forms = append(d.forms, Form(form))
	}
	return d, nil
}

// errCorrupt is the error of a batch that isn't well-formed.
var errCorrupt = errors.New("the batch is damaged")

// Each calls f for each row of a batch. The row is borrowed until f returns. An error says that the batch isn't
// well-formed, or is f's.
func (d *Decoder) Each(batch []byte, f func(r *Row) error) error {
	r := reader{batch, false}
	for len(r.b) > 0 {
		row := reader{r.bytes(), r.bad}
		d.row.Reset()
		for !row.bad {
			n := row.uvarint()
			if n == 0 {
				break
			}
			if n > uint64(len(d.columns)) {
				return errCorrupt
			}
			col, form := d.columns[n-1], d.forms[n-1]
			switch {
			case col < 0:
				row.cell(&d.skipped, form)
				d.skipped.List, d.skipped.Fields = d.skipped.List[:0], d.skipped.Fields[:0]
			case d.row.set[col]:
				return errCorrupt // twice
			default:
				row.cell(d.row.Set(col), form)
			}
		}
		if row.bad || len(row.b) > 0 || !d.row.set[ID] || !d.row.set[Time] {
			return errCorrupt
		}
		if err := f(&d.row); err != nil {
			return err
		}
	}
	if r.bad {
		return errCorrupt
	}
	return nil
}

// reader reads the parts of a batch; bad: there weren't as many bytes as it was told.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) cell(c *Cell, form Form) {
	switch form {
	case Ints:
		c.Int = r.varint()
	case Texts:
		c.Text = r.bytes()
	case Lists:
		for range r.elements() {
			c.List = append(c.List, r.bytes())
		}
	case Headers:
		for range r.elements() {
			name := r.bytes()
			c.Fields = append(c.Fields, Field{name, r.bytes()})
		}
	}
}

// elements reads how many elements follow, each of at least one byte.
func (r *reader) elements() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) || n > maxElements {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}
