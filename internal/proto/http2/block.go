package http2

import (
	"errors"

	"golang.org/x/net/http2/hpack"

	"github.com/culprit-http/culprit/internal/proto"
)

// The reasons for which a header block can't be read to its end.
var (
	errTruncated = errors.New("the header block ends within a field")
	errMalformed = errors.New("the header block is malformed")
)

// The pseudo-headers (RFC 9113 §8.3, RFC 8441 §4).
const (
	method = iota
	scheme
	authority
	path
	protocol
	status
	numPseudo
)

// block is a header block that is being read: its fields, and what matters of them. There is one a parser, which is used
// again and again; messages point into it at their Head, and no longer.
type block struct {
	// raw holds names and values one after the other, of which fields are spans. limit is how long it may get, maxFields how many
	// fields there may be.
	raw       []byte
	fields    []proto.Field
	limit     int
	maxFields int
	// expanded holds the strings of the current field that came in Huffman's code.
	expanded expander

	// pseudo are the values of the pseudo-headers, of which has tells those that are there.
	pseudo [numPseudo]proto.Span
	has    uint8
	// regular: a field that isn't a pseudo-header has come; unknownFirst: the first field isn't known; obscure: one of them isn't.
	regular, unknownFirst, obscure bool
	// length is the announced length of the body, -1 when there is none.
	length int64
	// contentType is the value of Content-Type; coded: the body has a content coding.
	contentType proto.Span
	coded       bool
	odd         proto.Anomalies
}

// expander takes what hpack expands.
type expander struct{ b []byte }

// Write implements io.Writer.
func (e *expander) Write(b []byte) (int, error) {
	e.b = append(e.b, b...)
	return len(b), nil
}

// keepRaw is the largest buffer that is kept between header blocks.
const keepRaw = 16 << 10

func (h *block) reset(l *proto.Limits) {
	raw, fields, expanded := h.raw[:0], h.fields[:0], h.expanded
	if cap(raw) > keepRaw {
		raw, fields = nil, nil
	}
	if cap(expanded.b) > keepRaw {
		expanded.b = nil
	}
	*h = block{raw: raw, fields: fields, expanded: expanded, limit: l.MaxHead, maxFields: l.MaxFields, length: -1}
}

// The representations of fields (RFC 7541 §6): how they begin, and how many bits of their first byte a number has.
const (
	indexed      = 0x80
	indexedBits  = 7
	literal      = 0x40
	literalBits  = 6
	sizeUpdate   = 0x20
	sizeBits     = 5
	neverIndexed = 0x10
	plainBits    = 4
	huffman      = 0x80
	lengthBits   = 7
)

// decode reads a header block, and does to the table what it says. What was read before an error stays.
func (h *block) decode(t *table, b []byte) error {
	first := true
	for len(b) > 0 {
		c := b[0]
		if c&(indexed|literal|sizeUpdate) == sizeUpdate {
			size, n, err := number(b, sizeBits)
			switch {
			case err != nil:
				return err
			case !first && t.len() > 0, t.allowed > 0 && size > uint64(t.allowed):
				return errMalformed
			}
			t.resize(int(size))
			b = b[n:]
			continue
		}
		first = false
		if c&indexed != 0 {
			i, n, err := number(b, indexedBits)
			if err != nil {
				return err
			}
			f, ok := t.at(i)
			if !ok {
				return errMalformed
			}
			h.take(&f)
			b = b[n:]
			continue
		}
		bits := plainBits
		if c&literal != 0 {
			bits = literalBits
		}
		f, n, err := h.literal(t, b, bits)
		if err != nil {
			return err
		}
		if c&literal != 0 {
			h.take(&f)
			t.add(&f)
		} else {
			if c&neverIndexed != 0 {
				f.flags |= proto.Sensitive
			}
			h.take(&f)
		}
		b = b[n:]
	}
	return nil
}

// literal reads a field whose value is given (RFC 7541 §6.2). It is borrowed until the next one. It returns how long it is.
func (h *block) literal(t *table, b []byte, bits int) (f field, n int, err error) {
	i, n, err := number(b, bits)
	if err != nil {
		return f, 0, err
	}
	h.expanded.b = h.expanded.b[:0]
	if i == 0 {
		k := 0
		if f.name, k, err = h.text(b[n:]); err != nil {
			return f, 0, err
		}
		n += k
		f.odd = oddName(f.name)
	} else {
		named, ok := t.at(i)
		if !ok {
			return f, 0, errMalformed
		}
		f.name, f.flags, f.odd = named.name, named.flags, named.odd&(1<<proto.BadFieldName)
	}
	value, k, err := h.text(b[n:])
	if err != nil {
		return f, 0, err
	}
	f.value = value
	f.odd |= oddValue(value)
	return f, n + k, nil
}

// text reads a string (RFC 7541 §5.2), and returns how long it came. It is borrowed: from b, or from what was expanded.
func (h *block) text(b []byte) (text []byte, n int, err error) {
	if len(b) == 0 {
		return nil, 0, errTruncated
	}
	length, n, err := number(b, lengthBits)
	if err != nil {
		return nil, 0, err
	}
	if length > uint64(len(b)-n) {
		return nil, 0, errTruncated
	}
	text = b[n : n+int(length)]
	n += int(length)
	if b[0]&huffman == 0 {
		return text, n, nil
	}
	from := len(h.expanded.b)
	if _, err := hpack.HuffmanDecode(&h.expanded, text); err != nil {
		return nil, 0, errMalformed
	}
	return h.expanded.b[from:], n, nil
}

// number reads a number of which the first byte has so many bits (RFC 7541 §5.1), and returns how long it is.
func number(b []byte, bits int) (v uint64, n int, err error) {
	mask := byte(1)<<bits - 1
	v = uint64(b[0] & mask)
	if v < uint64(mask) {
		return v, 1, nil
	}
	for shift := 0; ; shift += 7 {
		n++
		switch {
		case n == len(b):
			return 0, 0, errTruncated
		case shift > 56:
			return 0, 0, errMalformed
		}
		v += uint64(b[n]&0x7f) << shift
		if b[n]&0x80 == 0 {
			return v, n + 1, nil
		}
	}
}

// take adds a field to what was read.
func (h *block) take(f *field) {
	h.odd |= f.odd
	if f.flags&proto.Obscure != 0 {
		h.unknownFirst = h.unknownFirst || len(h.fields) == 0 && !h.regular
		h.obscure = true
		h.odd.Set(proto.HeaderTableUnknown)
	}
	var value proto.Span
	switch {
	case len(h.raw)+len(f.name)+len(f.value) > h.limit:
		h.odd.Set(proto.HeaderBlockTooLarge)
	case len(h.fields) >= h.maxFields:
		h.odd.Set(proto.TooManyFields)
	default:
		off := len(h.raw)
		h.raw = append(append(h.raw, f.name...), f.value...)
		value = span(off+len(f.name), len(f.value))
		h.fields = append(h.fields, proto.Field{Name: span(off, len(f.name)), Value: value, Flags: f.flags})
	}
	switch {
	case f.flags&proto.Obscure != 0:
	case len(f.name) > 0 && f.name[0] == ':':
		h.special(f.name, value)
	default:
		h.regular = true
		switch len(f.name) {
		case len("content-type"):
			if string(f.name) == "content-type" {
				h.contentType = value
			}
		case len("content-length"):
			if string(f.name) == "content-length" {
				h.contentLength(f.value)
			}
		case len("content-encoding"):
			if string(f.name) == "content-encoding" {
				h.coded = h.coded || len(f.value) > 0 && !proto.EqualFold(f.value, "identity")
			}
		}
	}
}

func span(off, n int) proto.Span { return proto.Span{Off: uint32(off), Len: uint32(n)} }

// special notes a pseudo-header.
func (h *block) special(name []byte, value proto.Span) {
	which := numPseudo
	switch string(name) {
	case ":method":
		which = method
	case ":scheme":
		which = scheme
	case ":authority":
		which = authority
	case ":path":
		which = path
	case ":protocol":
		which = protocol
	case ":status":
		which = status
	}
	if which == numPseudo || h.regular || h.has&(1<<which) != 0 {
		h.odd.Set(proto.BadPseudoHeader)
		return
	}
	h.has |= 1 << which
	h.pseudo[which] = value
}

// contentLength takes a Content-Length (RFC 9110 §8.6).
func (h *block) contentLength(value []byte) {
	n := int64(0)
	ok := len(value) > 0 && len(value) <= 18
	for _, c := range value {
		if c < '0' || c > '9' {
			ok = false
			break
		}
		if ok {
			n = n*10 + int64(c-'0')
		}
	}
	switch {
	case !ok:
		h.odd.Set(proto.BadLength)
	case h.length < 0:
		h.length = n
	case h.length == n:
		h.odd.Set(proto.DuplicateLength)
	default:
		h.odd.Set(proto.ConflictingLength)
	}
}

// value returns the value of a pseudo-header, borrowed.
func (h *block) value(which int) []byte {
	v := h.pseudo[which]
	return h.raw[v.Off : v.Off+v.Len]
}

func (h *block) hasPseudo(which int) bool { return h.has&(1<<which) != 0 }

// Which pseudo-headers there must be, and which there may be besides.
const (
	requestMust  = 1<<method | 1<<scheme | 1<<path
	requestMay   = 1 << authority
	connectMust  = 1<<method | 1<<authority
	extendedMust = requestMust | 1<<authority | 1<<protocol
	responseMust = 1 << status
)

// asks reports whether the fields that were read are enough to know what a request asks for: the others don't change that.
func (h *block) asks() bool { return h.regular || h.has&requestMust == requestMust }

// asRequest fills m, a request.
func (h *block) asRequest(m *proto.Message) {
	m.Method, m.Target = h.known(method), h.known(path)
	connect := string(h.raw[m.Method.Off:m.Method.Off+m.Method.Len]) == "CONNECT"
	must, may := uint8(requestMust), uint8(requestMay)
	switch {
	case connect && h.hasPseudo(protocol):
		must, may = extendedMust, 0
	case connect:
		must, may = connectMust, 0
		if !h.hasPseudo(path) {
			m.Target = h.known(authority)
		}
	}
	h.check(must, may)
	for _, c := range h.raw[m.Target.Off : m.Target.Off+m.Target.Len] {
		switch {
		case c == ' ' || c == '\t':
			h.odd.Set(proto.SpacesInTarget)
		case c < 0x21 || c > 0x7e:
			h.odd.Set(proto.ControlInTarget)
		}
	}
	h.fill(m)
}

// asResponse fills m, a response.
func (h *block) asResponse(m *proto.Message) {
	h.check(responseMust, 0)
	m.Status = h.status()
	m.Kind = proto.Response
	if m.Status >= 100 && m.Status < 200 {
		m.Kind = proto.Interim
	}
	if m.Status == 0 && !h.obscure {
		h.odd.Set(proto.BadStatus)
	}
	h.fill(m)
}

// status returns the status code, 0 when there is none or it isn't known.
func (h *block) status() int {
	s := h.pseudo[status]
	if s.Len != 3 {
		return 0
	}
	code := 0
	for _, c := range h.raw[s.Off : s.Off+s.Len] {
		if c < '0' || c > '9' {
			return 0
		}
		code = code*10 + int(c-'0')
	}
	return code
}

// known returns the value of a pseudo-header, "?" when it may be one of the fields that aren't known.
func (h *block) known(which int) proto.Span {
	if !h.hasPseudo(which) && h.obscure {
		h.raw = append(h.raw, '?')
		return span(len(h.raw)-1, 1)
	}
	return h.pseudo[which]
}

func (h *block) check(must, may uint8) {
	if h.has&^(must|may) != 0 || h.has&must != must && !h.obscure {
		h.odd.Set(proto.BadPseudoHeader)
	}
}

// fill gives m what was read.
func (h *block) fill(m *proto.Message) {
	m.Proto = span(len(h.raw), len(version))
	h.raw = append(h.raw, version...)
	m.Version = 0x0200
	m.Raw, m.Fields = h.raw, h.fields
	m.Length = h.length
	m.Anomalies |= h.odd
}

const version = "HTTP/2"

// asTrailers fills m with what was read as its trailers.
func (h *block) asTrailers(m *proto.Message) {
	if h.has != 0 {
		h.odd.Set(proto.BadPseudoHeader)
	}
	for i := range h.fields {
		h.fields[i].Flags |= proto.Trailer
	}
	m.Raw, m.Fields = h.raw, h.fields
	m.Anomalies |= h.odd
}

// isName tells the characters of field names: tokens in lower case (RFC 9113 §8.2.1).
var isName = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] = true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

func oddName(name []byte) (odd proto.Anomalies) {
	rest := name
	if len(rest) > 0 && rest[0] == ':' {
		rest = rest[1:]
	}
	for _, c := range rest {
		if !isName[c] {
			odd.Set(proto.BadFieldName)
			break
		}
	}
	if len(rest) == 0 {
		odd.Set(proto.BadFieldName)
	}
	return odd
}

func oddValue(value []byte) (odd proto.Anomalies) {
	for _, c := range value {
		if c < 0x20 && c != '\t' || c == 0x7f {
			odd.Set(proto.ControlInField)
			break
		}
	}
	return odd
}
