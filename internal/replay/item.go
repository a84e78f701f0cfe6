package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/proto"
)

// Field is a header or trailer field, spelled as it was sent.
type Field struct {
	Name, Value string
	Trailer     bool
}

// BodyState says how much is known of a body.
type BodyState uint8

// The states of a body.
const (
	// NoBody: there was none.
	NoBody BodyState = iota
	// Whole: all of it is there, without its codings.
	Whole
	// Coded: all of it is there, in a content coding that couldn't be undone.
	Coded
	// Cut: the beginning of it is there.
	Cut
	// NotKept: it had a length, and nothing of it is there.
	NotKept
)

// Body is the body of a message.
type Body struct {
	State BodyState
	Bytes []byte
	// Size is its length as it was sent, without transfer coding, and Decoded without content coding; -1 where that isn't known.
	Size, Decoded int64
}

// Answer is what came back for a request.
type Answer struct {
	Status int
	// Proto is the version as sent, Reason the phrase.
	Proto, Reason string
	Fields        []Field
	Body          Body
}

// Get returns the value of the first header field of a name, in any case, and whether there is one.
func (a *Answer) Get(name string) (string, bool) { return get(a.Fields, name) }

func get(fields []Field, name string) (string, bool) {
	for _, f := range fields {
		if !f.Trailer && strings.EqualFold(f.Name, name) {
			return f.Value, true
		}
	}
	return "", false
}

// Item is a recorded exchange: what is sent again, and what the answer is compared with.
type Item struct {
	ID [exchange.IDSize]byte
	// Tap is where it was recorded, Client and Server the ends.
	Tap, Client, Server string
	// Start is when it began, in nanoseconds since 1970; Duration from its first request byte to its last response byte, in nanoseconds, -1 where that isn't
	// known or says nothing of the server's speed; Setup the time its connection took to be ready, where it is the first of it.
	Start, Duration, Setup int64
	// HTTP2: it was a stream of HTTP/2. HTTP10: its version was HTTP/1.0. Secure: over TLS.
	HTTP2, HTTP10, Secure bool
	// Method and Target are as sent, the target without scheme and authority. Authority is whom it asks for, Route what the target is an example of.
	Method, Target, Authority, Route string
	Fields                           []Field
	// Chunked: its body was sent in chunks.
	Chunked bool
	Body    Body
	// Answered: there is an answer, as a whole.
	Answered bool
	Answer   Answer
}

// End is when it was over, in nanoseconds since 1970.
func (it *Item) End() int64 { return it.Start + max(it.Duration, 0) }

// itemOf makes an item of an exchange, which it doesn't keep.
func itemOf(x *exchange.Exchange, routes *measure.Routes) *Item {
	m := &x.Request
	u := x.URL()
	it := &Item{
		ID: x.ID(x.Tap.Observer), Tap: x.Tap.Name, Client: x.Flow.End(x.Client), Server: x.Flow.End(x.Server()),
		Start: x.Start.Time, Duration: -1, HTTP2: m.Version >= 0x0200, HTTP10: m.Version == 0x0100, Secure: x.TLS != nil || x.Timing.TLS >= 0 || string(u.Scheme) == "https",
		Method: string(m.Bytes(m.Method)), Target: string(u.Path), Authority: string(u.Host), Chunked: m.Framing == proto.Chunked,
		Body: bodyOf(m, &x.RequestBody),
	}
	if it.Target == "" {
		it.Target = "/"
	}
	if u.HasQuery {
		it.Target += "?" + string(u.Query)
	}
	if strings.Contains(it.Authority, ":") && !strings.HasPrefix(it.Authority, "[") {
		it.Authority = "[" + it.Authority + "]"
	}
	if len(u.Port) > 0 {
		it.Authority += ":" + string(u.Port)
	}
	if it.Route = x.Enriched.Route; it.Route == "" {
		it.Route = string(routes.Append(nil, u.Path))
	}
	for _, part := range [...]int64{x.Timing.Idle, x.Timing.Connect, x.Timing.TLS} {
		it.Setup += max(part, 0)
	}
	it.Fields = fieldsOf(m)
	if it.Answered = x.HasResponse && (x.Response.End == proto.Whole || x.Grade == exchange.Complete) && x.Grade != exchange.Aborted; !it.Answered {
		return it
	}
	if x.Grade == exchange.Complete {
		it.Duration = x.Timing.Duration
	}
	r := &x.Response
	it.Answer = Answer{Status: r.Status, Proto: string(r.Bytes(r.Proto)), Reason: string(r.Bytes(r.Reason)), Fields: fieldsOf(r), Body: bodyOf(r, &x.ResponseBody)}
	if it.Method == "HEAD" {
		it.Answer.Body = Body{Decoded: -1}
	}
	return it
}

// fieldsOf copies the fields of a message, without pseudo-headers. Folded lines are joined (RFC 9112 §5.2).
func fieldsOf(m *proto.Message) []Field {
	out := make([]Field, 0, len(m.Fields))
	for i := range m.Fields {
		f := &m.Fields[i]
		name, value := string(m.Bytes(f.Name)), string(m.Bytes(f.Value))
		if strings.HasPrefix(name, ":") {
			continue
		}
		if f.Flags&proto.Folded != 0 {
			value = strings.Join(strings.Fields(value), " ")
		}
		out = append(out, Field{Name: name, Value: value, Trailer: f.Flags&proto.Trailer != 0})
	}
	return out
}

func bodyOf(m *proto.Message, b *exchange.Body) Body {
	out := Body{Size: m.BodyBytes, Decoded: b.DecodedBytes}
	switch {
	case len(b.Bytes) == 0 && m.BodyBytes <= 0:
		out.Size = 0
	case len(b.Bytes) == 0 && b.DecodedBytes == 0: // codings of nothing
		out.State = Whole
	case len(b.Bytes) == 0:
		out.State = NotKept
	case b.Cut || m.MissingBytes > 0:
		out.State = Cut
	case b.Undecoded != "":
		out.State = Coded
	default:
		out.State, out.Decoded = Whole, int64(len(b.Bytes))
	}
	if out.Decoded < 0 && m.End == proto.Whole && m.MissingBytes == 0 && m.Field("content-encoding") == nil {
		out.Decoded = out.Size
	}
	out.Bytes = bytes.Clone(b.Bytes)
	return out
}

// The form of an item in the spool: numbers as varints, texts with their length before them, in the order of each.

// errSpool says that the spool doesn't hold what was written to it.
var errSpool = errors.New("the temporary file of the recording has changed while it was in use")

// codec writes an item, or reads it: the same list of members does both.
type codec struct {
	b       []byte
	reading bool
	bad     bool
}

func (c *codec) int(n *int64) {
	if !c.reading {
		c.b = binary.AppendVarint(c.b, *n)
		return
	}
	v, k := binary.Varint(c.b)
	if k <= 0 {
		c.bad, c.b = true, nil
		return
	}
	*n, c.b = v, c.b[k:]
}

func (c *codec) bool(v *bool) {
	var n int64
	if *v {
		n = 1
	}
	c.int(&n)
	*v = n == 1
}

func (c *codec) bytes(v *[]byte) {
	n := int64(len(*v))
	c.int(&n)
	switch {
	case !c.reading:
		c.b = append(c.b, *v...)
	case n < 0 || n > int64(len(c.b)):
		c.bad, c.b = true, nil
	case n > 0:
		*v, c.b = c.b[:n:n], c.b[n:]
	}
}

func (c *codec) text(v *string) {
	n := int64(len(*v))
	c.int(&n)
	switch {
	case !c.reading:
		c.b = append(c.b, *v...)
	case n < 0 || n > int64(len(c.b)):
		c.bad, c.b = true, nil
	default:
		*v, c.b = string(c.b[:n]), c.b[n:]
	}
}

func (c *codec) fields(v *[]Field) {
	n := int64(len(*v))
	c.int(&n)
	if c.reading {
		if n < 0 || n > int64(len(c.b)) {
			c.bad, c.b = true, nil
			return
		}
		*v = make([]Field, n)
	}
	for i := range *v {
		f := &(*v)[i]
		c.text(&f.Name)
		c.text(&f.Value)
		c.bool(&f.Trailer)
	}
}

func (c *codec) body(v *Body) {
	state := int64(v.State)
	c.int(&state)
	v.State = BodyState(state)
	c.int(&v.Size)
	c.int(&v.Decoded)
	c.bytes(&v.Bytes)
}

func (c *codec) item(it *Item) {
	id := it.ID[:]
	c.bytes(&id)
	copy(it.ID[:], id)
	for _, s := range [...]*string{&it.Tap, &it.Client, &it.Server, &it.Method, &it.Target, &it.Authority, &it.Route, &it.Answer.Proto, &it.Answer.Reason} {
		c.text(s)
	}
	status := int64(it.Answer.Status)
	for _, n := range [...]*int64{&it.Start, &it.Duration, &it.Setup, &status} {
		c.int(n)
	}
	it.Answer.Status = int(status)
	for _, b := range [...]*bool{&it.HTTP2, &it.HTTP10, &it.Secure, &it.Chunked, &it.Answered} {
		c.bool(b)
	}
	c.fields(&it.Fields)
	c.fields(&it.Answer.Fields)
	c.body(&it.Body)
	c.body(&it.Answer.Body)
}

func appendItem(dst []byte, it *Item) []byte {
	c := codec{b: dst}
	c.item(it)
	return c.b
}

// readItem reads what appendItem wrote. The item keeps b.
func readItem(b []byte) (*Item, error) {
	c, it := codec{b: b, reading: true}, &Item{}
	if c.item(it); c.bad || len(c.b) > 0 {
		return nil, errSpool
	}
	return it, nil
}

// idempotent are the methods that may be repeated without another effect (RFC 9110 §9.2.2, RFC 4918, RFC 10008).
var idempotent = []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH", "QUERY"}

// changing are those of them that have an effect the first time.
var changing = []string{"PUT", "DELETE"}

// Changing reports whether a method is idempotent, and changes what the server has.
func Changing(method string) bool { return slices.Contains(changing, method) }

// Idempotent reports whether a method may be repeated without another effect.
func Idempotent(method string) bool { return slices.Contains(idempotent, method) }
