package http1

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// framing collects the fields that decide how a body ends, and whether it is a stream of messages.
type framing struct {
	// length is the announced length, -1 when there is none.
	length int64
	// contentType is the value of Content-Type, nil when there is none.
	contentType []byte
	// hosts counts Host fields.
	hosts int
	// coded: there is a Transfer-Encoding; chunked: it has chunked in it; other: it has another coding.
	coded, chunked, other bool
}

// field takes a field, if it matters.
func (f *framing) field(m *proto.Message, name, value []byte) {
	switch len(name) {
	case 4:
		if name[0]|0x20 == 'h' && proto.EqualFold(name, "host") {
			f.hosts++
		}
	case 12:
		if name[0]|0x20 == 'c' && proto.EqualFold(name, "content-type") {
			f.contentType = value
		}
	case 14:
		if name[0]|0x20 == 'c' && proto.EqualFold(name, "content-length") {
			f.contentLength(m, value)
		}
	case 17:
		if name[0]|0x20 == 't' && proto.EqualFold(name, "transfer-encoding") {
			f.transferEncoding(m, value)
		}
	}
}

// contentLength takes a Content-Length, which may be a list of equal values (RFC 9112 §6.3).
func (f *framing) contentLength(m *proto.Message, value []byte) {
	for {
		item, rest, more := bytes.Cut(value, comma)
		n, ok := parseLength(bytes.Trim(item, " \t\r\n"))
		switch {
		case !ok:
			m.Anomalies.Set(proto.BadLength)
		case f.length < 0:
			f.length = n
		case f.length == n:
			m.Anomalies.Set(proto.DuplicateLength)
		default:
			m.Anomalies.Set(proto.ConflictingLength)
		}
		if !more {
			return
		}
		value = rest
	}
}

var comma = []byte{','}

func parseLength(b []byte) (n int64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	if b = bytes.TrimLeft(b, "0"); len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// transferEncoding takes a Transfer-Encoding (RFC 9112 §6.1).
func (f *framing) transferEncoding(m *proto.Message, value []byte) {
	f.coded = true
	for {
		item, rest, more := bytes.Cut(value, comma)
		item = bytes.Trim(item, " \t\r\n")
		if f.chunked && len(item) > 0 {
			f.other = true
			m.Anomalies.Set(proto.ChunkedNotLast)
		}
		switch {
		case proto.EqualFold(item, "chunked"):
			f.chunked = true
		case len(item) == 0, proto.EqualFold(item, "identity"):
		case proto.EqualFold(item, "gzip"), proto.EqualFold(item, "x-gzip"),
			proto.EqualFold(item, "deflate"), proto.EqualFold(item, "compress"):
			f.other = true
		default:
			f.other = true
			m.Anomalies.Set(proto.UnknownTransferCoding)
		}
		if !more {
			return
		}
		value = rest
	}
}

// odd notes contradictions between the fields.
func (f *framing) odd(m *proto.Message) {
	if !f.coded {
		return
	}
	if f.length >= 0 {
		m.Anomalies.Set(proto.LengthAndChunked)
	}
	if m.Version < 0x0101 {
		m.Anomalies.Set(proto.TransferCodingInHTTP10)
	}
}

// request says how the body of a request ends: a request without a length has none (RFC 9112 §6.3).
func (f *framing) request(m *proto.Message) (proto.Framing, int64) {
	f.odd(m)
	switch {
	case m.Version == 0x0009:
		return proto.NoBody, -1
	case f.chunked:
		return proto.Chunked, f.length
	case f.length >= 0:
		return proto.ByLength, f.length
	}
	return proto.NoBody, -1
}

// response says how the body of a response ends, but for what its request decides (RFC 9112 §6.3).
func (f *framing) response(m *proto.Message) (proto.Framing, int64) {
	f.odd(m)
	switch {
	case m.Status >= 100 && m.Status < 200, m.Status == 204, m.Status == 304:
		return proto.NoBody, f.length
	case f.chunked && !m.Anomalies.Has(proto.ChunkedNotLast):
		return proto.Chunked, f.length
	case f.length >= 0 && !f.other: // a transfer coding overrides the length
		return proto.ByLength, f.length
	}
	return proto.UntilClose, -1
}

// upgrades names the protocols that detection knows by the tokens of the Upgrade header.
var upgrades = [...]struct{ token, protocol string }{
	{"websocket", "websocket"},
	{"h2c", "http2"},
}

// upgrade returns the protocol that a 101 response switches to, if it is known.
func (f *framing) upgrade(m *proto.Message) string {
	v := m.Field("upgrade")
	for _, u := range upgrades {
		if proto.EqualFold(v, u.token) {
			return u.protocol
		}
	}
	return ""
}
