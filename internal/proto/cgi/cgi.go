// Package cgi reads what the protocols between a web server and an application have in common: the variables that stand for
// the head of a request (RFC 3875 §4.1), and the head of an application's response (RFC 3875 §6). What it makes of them looks
// like HTTP: that is what they were before the web server, and what they will be behind it.
package cgi

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// The facts of a request, beside what HTTP has.
const (
	// FactScript is the program that the request is for.
	FactScript = "script"
	// FactRemoteIP and FactRemotePort are the client of the web server, as it tells.
	FactRemoteIP   = "remote_ip"
	FactRemotePort = "remote_port"
)

// variable is a variable with a meaning of its own.
type variable uint8

const (
	method variable = iota
	target
	version
	query
	document
	program
	info
	script
	remoteIP
	remotePort
	contentType
	contentLength
	numVariables
)

// variables are those that are looked at, beside the HTTP_ ones, which are header fields. No other is kept: a web server may
// pass on anything, passwords included.
var variables = map[string]variable{
	"REQUEST_METHOD":  method,
	"REQUEST_URI":     target,
	"SERVER_PROTOCOL": version,
	"QUERY_STRING":    query,
	"DOCUMENT_URI":    document,
	"SCRIPT_NAME":     program,
	"PATH_INFO":       info,
	"SCRIPT_FILENAME": script,
	"REMOTE_ADDR":     remoteIP,
	"REMOTE_PORT":     remotePort,
	"CONTENT_TYPE":    contentType,
	"CONTENT_LENGTH":  contentLength,
}

// Request makes the head of a request of its variables: Begin, Add for each variable, End. It may be used again; its memory is
// lent to the message until then.
type Request struct {
	m         *proto.Message
	maxFields int
	raw       []byte
	// said are the values of the variables, as spans of raw; has tells which came.
	said [numVariables]proto.Span
	has  [numVariables]bool
}

// keepCapacity is the largest buffer that a Request keeps from one message to the next, in bytes.
const keepCapacity = 16 << 10

// Begin begins the head of m, which has just been reset.
func (r *Request) Begin(m *proto.Message, maxFields int) {
	if cap(r.raw) > keepCapacity {
		r.raw = nil
	}
	*r = Request{m: m, maxFields: maxFields, raw: r.raw[:0]}
	m.Length = -1
}

var httpPrefix = []byte("HTTP_")

// Add takes a variable. name and value are copied, as far as they are of interest.
func (r *Request) Add(name, value []byte) {
	if bytes.HasPrefix(name, httpPrefix) {
		r.field(name[len(httpPrefix):], value)
		return
	}
	v, ok := variables[string(name)]
	if !ok || r.has[v] {
		return
	}
	switch v {
	case contentType, contentLength:
		if len(value) > 0 { // else there is no body, or no type (RFC 3875 §4.1.2)
			r.has[v] = true
			r.field(name, value)
		}
		return
	}
	r.has[v] = true
	r.said[v] = r.keep(value)
}

// keep adds a text to the message.
func (r *Request) keep(text []byte) proto.Span {
	s := proto.Span{Off: uint32(len(r.raw)), Len: uint32(len(text))}
	r.raw = append(r.raw, text...)
	return s
}

// field adds a header field that a variable stands for: its name was in lower case or not, and had hyphens (RFC 3875 §4.1.18).
func (r *Request) field(name, value []byte) {
	m := r.m
	off := uint32(len(r.raw))
	for _, c := range name {
		switch {
		case c == '_':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		r.raw = append(r.raw, c)
	}
	spelt := r.raw[off:]
	length := string(spelt) == "content-length"
	if (length || string(spelt) == "content-type") && r.carried(spelt) {
		r.raw = r.raw[:off] // web servers send CONTENT_TYPE, and HTTP_CONTENT_TYPE too
		return
	}
	if length {
		r.length(value)
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			m.Anomalies.Set(proto.ControlInField)
			break
		}
	}
	if len(m.Fields) >= r.maxFields {
		m.Anomalies.Set(proto.TooManyFields)
		r.raw = r.raw[:off]
		return
	}
	m.Fields = append(m.Fields, proto.Field{Name: proto.Span{Off: off, Len: uint32(len(name))}, Value: r.keep(value)})
}

// carried reports whether the message has a field of that name.
func (r *Request) carried(name []byte) bool {
	for i := range r.m.Fields {
		n := r.m.Fields[i].Name
		if bytes.Equal(r.raw[n.Off:n.Off+n.Len], name) {
			return true
		}
	}
	return false
}

// length takes the length of the body.
func (r *Request) length(value []byte) {
	n, ok := number(value)
	if !ok {
		r.m.Anomalies.Set(proto.BadLength)
		return
	}
	r.m.Length = n
}

// number reads a decimal number of at most 18 digits.
func number(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
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

// Known reports whether enough came to know what the request asks for: method, target and version.
func (r *Request) Known() bool { return r.has[method] && r.has[target] && r.has[version] }

// End gives the message what was said: its head, and how its body ends (by its length, or it has none). A request without a method
// has the method "?".
func (r *Request) End() {
	m := r.m
	if !r.has[method] {
		m.Anomalies.Set(proto.BadStartLine)
		r.said[method] = r.keep([]byte{'?'})
	}
	if !r.has[target] {
		r.said[target] = r.compose()
	}
	m.Method, m.Target, m.Proto = r.said[method], r.said[target], r.said[version]
	m.Raw = r.raw
	m.Version = versionOf(m.Bytes(m.Proto))
	for _, c := range m.Bytes(m.Target) {
		switch {
		case c == ' ' || c == '\t':
			m.Anomalies.Set(proto.SpacesInTarget)
		case c < 0x21 || c > 0x7e:
			m.Anomalies.Set(proto.ControlInTarget)
		}
	}
	m.Framing = proto.NoBody
	if m.Length > 0 {
		m.Framing = proto.ByLength
	}
	r.text(script, FactScript)
	r.text(remoteIP, FactRemoteIP)
	if port, ok := number(m.Bytes(r.said[remotePort])); ok {
		m.Count(FactRemotePort, port)
	}
}

// text makes a fact of a variable.
func (r *Request) text(v variable, fact string) {
	if s := r.said[v]; s.Len > 0 {
		r.m.Facts = append(r.m.Facts, proto.Fact{Name: fact, Value: s})
	}
}

// compose makes the target of its parts, where the web server doesn't send it as it was. The path comes decoded (RFC 3875 §4.1.5), the
// query as it was.
func (r *Request) compose() proto.Span {
	s := proto.Span{Off: uint32(len(r.raw))}
	if r.has[program] || r.has[info] {
		r.encode(program)
		r.encode(info)
	} else {
		r.encode(document)
	}
	if q := r.said[query]; q.Len > 0 {
		r.raw = append(r.raw, '?')
		r.raw = append(r.raw, r.raw[q.Off:q.Off+q.Len]...)
	}
	s.Len = uint32(len(r.raw)) - s.Off
	return s
}

// encode adds the value of a variable to the message, percent-encoded.
func (r *Request) encode(v variable) {
	const digits = "0123456789ABCDEF"
	for i := range r.said[v].Len {
		switch c := r.raw[r.said[v].Off+i]; {
		case c <= ' ', c > '~', c == '%', c == '?', c == '#':
			r.raw = append(r.raw, '%', digits[c>>4], digits[c&15])
		default:
			r.raw = append(r.raw, c)
		}
	}
}

// versionOf reads SERVER_PROTOCOL. Whatever the client of the web server spoke, heads have the form of HTTP/1.
func versionOf(b []byte) uint16 {
	if string(b) == "HTTP/1.0" {
		return 0x0100
	}
	return 0x0101
}
