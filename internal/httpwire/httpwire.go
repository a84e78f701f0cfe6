// Package httpwire makes of exchanges the bytes of HTTP/1.1 messages (RFC 9112): to send a request again, or to write a recording in which
// they stand.
//
// A message is made of what was kept of it. Its head has the recorded order and spelling; the pseudo-headers of HTTP/2 become the request
// line and Host, and its cookies one header again (RFC 9113 §8.2.3). Bodies were kept without their transfer and content codings, and are
// written so: with their length, and without the headers of the codings. Trailers, and interim responses, are left out.
package httpwire

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// Missing is the error that says what a message lacks that was sent. The bytes that come with it hold what there is, and are well-formed.
type Missing struct {
	// Body says what is wrong with the body; empty: nothing.
	Body BodyFault
	// Redacted names what holds marks in place of secrets: names of headers, "target", "body".
	Redacted []string
	// Unknown names the headers whose name or value couldn't be known, "?" standing for it, or can't be sent.
	Unknown []string
}

// BodyFault says what is wrong with a body.
type BodyFault string

// What may be wrong with a body.
const (
	// BodyNotKept: it had one of which nothing was kept.
	BodyNotKept BodyFault = "the body wasn't kept"
	// BodyCut: the end of it, or something within it, is missing.
	BodyCut BodyFault = "a part of the body is missing"
)

// Error implements error.
func (m *Missing) Error() string {
	var parts []string
	if m.Body != "" {
		parts = append(parts, string(m.Body))
	}
	if len(m.Redacted) > 0 {
		parts = append(parts, "secrets were redacted: "+quoted(m.Redacted))
	}
	if len(m.Unknown) > 0 {
		parts = append(parts, "not known, or not fit to be sent: "+quoted(m.Unknown))
	}
	return strings.Join(parts, "; ")
}

func quoted(names []string) string {
	var all []string
	for _, n := range names {
		all = append(all, strconv.QuoteToASCII(n))
	}
	return strings.Join(all, ", ")
}

// none returns nil instead of an error that says nothing.
func (m *Missing) none() error {
	if m.Body == "" && len(m.Redacted) == 0 && len(m.Unknown) == 0 {
		return nil
	}
	return m
}

// AppendRequest appends the request of x. The error is a *Missing when what is appended lacks something that was sent; with any other
// error nothing is appended.
func AppendRequest(dst []byte, x *exchange.Exchange) ([]byte, error) {
	m := &x.Request
	if err := sendable(x, x.HasRequest, "request"); err != nil {
		return dst, err
	}
	method, target := m.Bytes(m.Method), m.Bytes(m.Target)
	switch {
	case !isToken(method):
		return dst, fmt.Errorf("its method %q is none", method)
	case len(target) == 0:
		return dst, fmt.Errorf("the target of its request isn't known")
	case m.Version >= 0x0200 && m.Field(":protocol") != nil:
		return dst, fmt.Errorf("it opens a tunnel within HTTP/2, which HTTP/1.1 can't")
	}
	w := writer{m: m, out: dst}
	host := m.Field("host")
	if m.Version >= 0x0200 {
		if a := m.Field(":authority"); len(a) > 0 {
			host = a
		}
		target, host = originForm(method, target, host)
	}
	w.out = append(append(w.out, method...), ' ')
	if marked(target) {
		w.missing.Redacted = append(w.missing.Redacted, "target")
	}
	w.target(target)
	w.out = append(w.out, ' ')
	w.version()
	w.out = append(w.out, "\r\n"...)
	w.take(&x.RequestBody)
	w.lengthWanted = len(w.body) > 0 || m.Field("content-length") != nil || m.Field("transfer-encoding") != nil ||
		m.Version >= 0x0200 && !bodiless[string(method)]
	if m.Version >= 0x0200 && host != nil {
		w.field([]byte("Host"), host)
		w.hasHost = true
	}
	w.fields()
	return w.finish()
}

// AppendResponse appends the final response of x, under the same rules as AppendRequest.
func AppendResponse(dst []byte, x *exchange.Exchange) ([]byte, error) {
	m := &x.Response
	if err := sendable(x, x.HasResponse, "response"); err != nil {
		return dst, err
	}
	if m.Status < 100 || m.Status > 999 {
		return dst, fmt.Errorf("the status %d of its response is none", m.Status)
	}
	w := writer{m: m, out: dst}
	w.version()
	w.out = append(w.out, ' ')
	w.out = strconv.AppendInt(w.out, int64(m.Status), 10)
	w.out = append(w.out, ' ')
	if reason := m.Bytes(m.Reason); len(reason) > 0 {
		w.text(reason)
	} else {
		w.out = append(w.out, http.StatusText(m.Status)...)
	}
	w.out = append(w.out, "\r\n"...)
	method := ""
	if x.HasRequest {
		method = string(x.Request.Bytes(x.Request.Method))
	}
	switch {
	case method == "HEAD" || method == "CONNECT" && m.Status < 300 || m.Status < 200 || m.Status == http.StatusNoContent || m.Status == http.StatusNotModified:
		// What its headers say of the length and the codings is about another body.
		w.bare = true
	default:
		w.take(&x.ResponseBody)
		w.lengthWanted = true
	}
	w.fields()
	return w.finish()
}

// bodiless are the methods whose requests have no body as a rule, and then no length either (RFC 9110 §8.6).
var bodiless = map[string]bool{"GET": true, "HEAD": true, "DELETE": true, "OPTIONS": true, "TRACE": true, "CONNECT": true}

// sendable says why a message of x can't be written at all, nil when it can.
func sendable(x *exchange.Exchange, has bool, what string) error {
	switch {
	case !has:
		return fmt.Errorf("its %s wasn't recorded", what)
	case x.Message != nil || x.Protocol != "http" && x.Protocol != "http2":
		return fmt.Errorf("it is no HTTP %s but %s", what, x.Protocol)
	}
	return nil
}

// originForm makes of a target of HTTP/2 or later, or of a whole URL, what stands in a request line, and of its authority Host.
func originForm(method, target, host []byte) ([]byte, []byte) {
	if string(method) == "CONNECT" {
		return target, host
	}
	if i := bytes.Index(target, []byte("://")); i > 0 && target[0] != '/' {
		rest := target[i+3:]
		end := bytes.IndexAny(rest, "/?")
		if end < 0 {
			return []byte("/"), rest
		}
		host, target = rest[:end], rest[end:]
		if target[0] == '?' {
			target = append([]byte("/"), target...)
		}
	}
	return target, host
}

// writer writes one message.
type writer struct {
	m   *proto.Message
	out []byte
	// body is what is written as the body; coded: it still has its content coding. lengthWanted: its length belongs into the head. bare:
	// there is never a body, so that what the headers say of one is left as it is.
	body                      []byte
	coded, lengthWanted, bare bool
	hasHost                   bool
	missing                   Missing
}

// version writes the version: that of the message where it is one of HTTP/1.
func (w *writer) version() {
	if w.m.Version == 0x0100 {
		w.out = append(w.out, "HTTP/1.0"...)
		return
	}
	w.out = append(w.out, "HTTP/1.1"...)
}

// target writes a request target without what would end it.
func (w *writer) target(b []byte) {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			const hex = "0123456789ABCDEF"
			w.out = append(w.out, '%', hex[c>>4], hex[c&15])
			continue
		}
		w.out = append(w.out, c)
	}
}

// text writes a value, or a reason, with a space for each character that would end it (RFC 9110 §5.5): line ends of folded values, and what
// other versions of HTTP can carry or a file can hold.
func (w *writer) text(b []byte) {
	for _, c := range b {
		if c == '\r' || c == '\n' || c == 0 {
			c = ' '
		}
		w.out = append(w.out, c)
	}
}

func (w *writer) field(name, value []byte) {
	w.out = append(append(w.out, name...), ": "...)
	w.text(value)
	w.out = append(w.out, "\r\n"...)
}

// fields writes the headers, without those that were true of the body as it was sent alone.
func (w *writer) fields() {
	m := w.m
	crumbs := m.Version >= 0x0200 && m.Kind == proto.Request // HTTP/2 may send each cookie by itself
	cookies := false
	for i := range m.Fields {
		f := &m.Fields[i]
		name, value := m.Bytes(f.Name), m.Bytes(f.Value)
		switch {
		case f.Flags&proto.Trailer != 0 || len(name) > 0 && name[0] == ':' || w.hasHost && proto.EqualFold(name, "host"):
			continue
		case f.Flags&proto.Obscure != 0 || !isToken(name):
			w.missing.Unknown = append(w.missing.Unknown, string(name))
			continue
		case w.bare:
		case proto.EqualFold(name, "content-length"), proto.EqualFold(name, "transfer-encoding"):
			w.length(name)
			continue
		case proto.EqualFold(name, "content-encoding") && !w.coded, proto.EqualFold(name, "trailer"):
			continue
		}
		if n := string(name); marked(value) && !slices.Contains(w.missing.Redacted, n) {
			w.missing.Redacted = append(w.missing.Redacted, n)
		}
		switch cookie := crumbs && proto.EqualFold(name, "cookie"); {
		case cookie && !cookies:
			cookies = true
			w.cookie(name)
		case !cookie:
			w.field(name, value)
		}
	}
	if w.lengthWanted {
		w.length(nil)
	}
}

// length writes Content-Length once, where the first header about it stood.
func (w *writer) length(name []byte) {
	if !w.lengthWanted {
		return
	}
	w.lengthWanted = false
	if !proto.EqualFold(name, "content-length") {
		name = []byte("Content-Length")
	}
	w.out = append(append(w.out, name...), ": "...)
	w.out = strconv.AppendInt(w.out, int64(len(w.body)), 10)
	w.out = append(w.out, "\r\n"...)
}

// cookie writes all cookies as one header.
func (w *writer) cookie(name []byte) {
	w.out = append(append(w.out, name...), ": "...)
	first := true
	for i := range w.m.Fields {
		if f := &w.m.Fields[i]; f.Flags&(proto.Trailer|proto.Obscure) == 0 && proto.EqualFold(w.m.Bytes(f.Name), "cookie") {
			if !first {
				w.out = append(w.out, "; "...)
			}
			first = false
			w.text(w.m.Bytes(f.Value))
		}
	}
	w.out = append(w.out, "\r\n"...)
}

// take takes the body, and notes what is wrong with it.
func (w *writer) take(b *exchange.Body) {
	m := w.m
	w.body, w.coded = b.Bytes, b.Undecoded != ""
	switch {
	case b.Cut || m.MissingBytes > 0 || (m.End == proto.Cut || m.End == proto.Broken) && m.Framing != proto.NoBody:
		w.missing.Body = BodyCut
	case len(b.Bytes) == 0 && m.BodyBytes > 0 && b.DecodedBytes != 0:
		w.missing.Body = BodyNotKept
	}
	if marked(b.Bytes) {
		w.missing.Redacted = append(w.missing.Redacted, "body")
	}
}

// marks are how redacted secrets begin (docs/redaction.md), as text and within URLs.
var marks = [...][]byte{[]byte("…[redacted "), []byte("%E2%80%A6[redacted%20"), []byte("%E2%80%A6%5Bredacted%20"), []byte("%E2%80%A6%5Bredacted+")}

// marked reports whether b holds the mark of a redacted secret.
func marked(b []byte) bool {
	for _, mark := range marks {
		if bytes.Contains(b, mark) {
			return true
		}
	}
	return false
}

// isToken reports whether b may be a method or the name of a header (RFC 9110 §5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return len(b) > 0
}

func (w *writer) finish() ([]byte, error) {
	w.out = append(w.out, "\r\n"...)
	return append(w.out, w.body...), w.missing.none()
}
