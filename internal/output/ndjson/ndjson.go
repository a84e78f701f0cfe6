// Package ndjson writes exchanges as JSON documents of the Elastic Common Schema, one a line. The
// document is made from the table exchange.Fields.
package ndjson

import (
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// bufferSize is when the buffer is written out.
const bufferSize = 64 << 10

// Output writes NDJSON. It implements output.Output.
type Output struct {
	w       io.Writer
	buf     []byte
	encoder Encoder
}

// New returns an output that writes to w.
func New(w io.Writer) *Output { return &Output{w: w, encoder: NewEncoder()} }

// Exchange implements output.Output.
func (o *Output) Exchange(x *exchange.Exchange) error {
	o.buf = append(o.encoder.Append(o.buf, x), '\n')
	if len(o.buf) >= bufferSize {
		return o.Flush()
	}
	return nil
}

// Flush implements output.Output.
func (o *Output) Flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	return err
}

// Close implements output.Output.
func (o *Output) Close() error { return o.Flush() }

// Encoder makes JSON documents of exchanges. It isn't safe for concurrent use.
type Encoder struct {
	steps  []step
	runs   []run
	value  exchange.Value
	second int64
	stamp  []byte
	seen   []bool
}

// step is one field of the document, and how to get to it from the field before.
type step struct {
	get func(x *exchange.Exchange, v *exchange.Value)
	// depth is the number of objects around the field; shared how many of them the field before is in
	// too.
	depth, shared int
	// path[i] is what opens the objects from depth i on and names the field.
	path []string
}

// NewEncoder compiles the table of fields.
func NewEncoder() Encoder { return newEncoder(exchange.Fields) }

func newEncoder(fields []exchange.Field) Encoder {
	e := Encoder{steps: make([]step, len(fields))}
	var before, names []string
	for i := range fields {
		f := &fields[i]
		parts := strings.Split(f.Name, ".")
		s := step{get: f.Get, depth: len(parts) - 1, path: make([]string, len(parts))}
		for s.shared < min(s.depth, len(before)-1) && parts[s.shared] == before[s.shared] {
			s.shared++
		}
		for from := range parts {
			text := ""
			for k := from; k < len(parts); k++ {
				text += `"` + parts[k] + `":`
				if k < len(parts)-1 {
					text += "{"
				}
			}
			s.path[from] = text
		}
		e.steps[i] = s
		before, names = parts, append(names, f.Name)
	}
	for _, r := range exchange.Runs(names) {
		shared := math.MaxInt
		for _, s := range e.steps[r.From:r.To] {
			shared = min(shared, s.shared)
		}
		e.runs = append(e.runs, run{r, shared})
	}
	return e
}

// run is a run of steps, and the least that any of them shares with the one before.
type run struct {
	exchange.Run
	shared int
}

// Append appends the document of an exchange, without a line end.
func (e *Encoder) Append(dst []byte, x *exchange.Exchange) []byte {
	dst = append(dst, '{')
	open, shared, comma := 0, 0, false
	v := &e.value
	for k := range e.runs {
		r := &e.runs[k]
		if r.Has != nil && !r.Has(x) {
			shared = min(shared, r.shared)
			continue
		}
		for i := r.From; i < r.To; i++ {
			s := &e.steps[i]
			shared = min(shared, s.shared)
			v.Kind = exchange.Absent
			v.Text, v.Bytes, v.List = "", nil, nil
			if s.get(x, v); v.Kind == exchange.Absent {
				continue
			}
			for ; open > shared; open-- {
				dst = append(dst, '}')
				comma = true
			}
			if comma {
				dst = append(dst, ',')
			}
			dst = append(dst, s.path[open]...)
			dst = e.appendValue(dst, v)
			open, shared, comma = s.depth, s.depth, true
		}
	}
	for ; open > 0; open-- {
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func (e *Encoder) appendValue(dst []byte, v *exchange.Value) []byte {
	switch v.Kind {
	case exchange.Text:
		if v.Text != "" {
			return appendString(dst, v.Text)
		}
		return appendBytes(dst, v.Bytes)
	case exchange.Int, exchange.Duration:
		return strconv.AppendInt(dst, v.Int, 10)
	case exchange.Time:
		dst = append(dst, '"')
		dst = e.appendTime(dst, v.Int)
		return append(dst, '"')
	case exchange.Bool:
		if v.Int != 0 {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case exchange.IP:
		dst = append(dst, '"')
		dst = v.Addr.Netip().AppendTo(dst)
		return append(dst, '"')
	case exchange.Headers:
		return e.appendHeaders(dst, v.Message)
	case exchange.List:
		dst = append(dst, '[')
		for i, s := range v.List {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, s)
		}
		return append(dst, ']')
	case exchange.Float:
		if !math.IsNaN(v.Float) && !math.IsInf(v.Float, 0) { // JSON has no such numbers
			return strconv.AppendFloat(dst, v.Float, 'g', -1, 64)
		}
	}
	return append(dst, "null"...)
}

// appendTime appends a time as RFC 3339 in UTC with nanoseconds. The part up to the second is kept.
func (e *Encoder) appendTime(dst []byte, ns int64) []byte {
	second, fraction := ns/1e9, ns%1e9
	if fraction < 0 {
		second, fraction = second-1, fraction+1e9
	}
	if e.stamp == nil || second != e.second {
		e.second = second
		e.stamp = time.Unix(second, 0).UTC().AppendFormat(e.stamp[:0], "2006-01-02T15:04:05.")
	}
	dst = append(dst, e.stamp...)
	for unit := int64(1e8); unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+fraction/unit%10))
	}
	return append(dst, 'Z')
}

// appendHeaders appends the header fields as an object of arrays: names in lower case, each once, with
// its values in the order in which they were sent. Trailers are in it too.
func (e *Encoder) appendHeaders(dst []byte, m *proto.Message) []byte {
	e.seen = append(e.seen[:0], make([]bool, len(m.Fields))...)
	dst = append(dst, '{')
	first := true
	for i := range m.Fields {
		if e.seen[i] {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		name := m.Bytes(m.Fields[i].Name)
		from := len(dst)
		dst = appendBytes(dst, name)
		lower(dst[from:])
		dst = append(dst, ':', '[')
		dst = appendField(dst, m, &m.Fields[i])
		for k := i + 1; k < len(m.Fields); k++ {
			f := &m.Fields[k]
			if int(f.Name.Len) == len(name) && !e.seen[k] && sameName(m.Bytes(f.Name), name) {
				e.seen[k] = true
				dst = append(dst, ',')
				dst = appendField(dst, m, f)
			}
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// appendField appends the value of a field; the lines of a folded one are joined with spaces.
func appendField(dst []byte, m *proto.Message, f *proto.Field) []byte {
	value := m.Bytes(f.Value)
	if f.Flags&proto.Folded != 0 {
		return appendString(dst, strings.Join(strings.Fields(string(value)), " "))
	}
	return appendBytes(dst, value)
}

// lower makes a quoted header name lower case. It is the only place where names change case.
func lower(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
}

func sameName(a, b []byte) bool {
	for i := range a {
		x, y := a[i], b[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}
