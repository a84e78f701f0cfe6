package cgi

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// HeadEnd returns where the head that b begins with ends, behind its empty line; -1 when that isn't in b. Lines end with LF
// or CRLF. Before from no empty line begins.
func HeadEnd(b []byte, from int) int {
	for i := from; i < len(b); {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		if i += n + 1; n == 0 || n == 1 && b[i-2] == '\r' {
			return i
		}
	}
	return -1
}

// LineStart returns where the last line of b begins: from where HeadEnd must look when more has come.
func LineStart(b []byte) int { return bytes.LastIndexByte(b, '\n') + 1 }

// ReadHead fills m from b, the head of a response, or the lines of it that have come. It reports whether the status is known:
// by a status line, by the field Status, or because the head is whole and has neither (RFC 3875 §6). Raw and the spans of m point
// into b afterwards. The framing is ByLength or UntilStreamEnd; NoBody where the status, or the request, allows none.
func ReadHead(m *proto.Message, b []byte, whole bool, maxFields int) (known bool) {
	m.Raw, m.Version, m.Length = b, 0x0101, -1
	from := 0
	if bytes.HasPrefix(b, []byte("HTTP/")) {
		end, next := line(b, 0)
		statusLine(m, end)
		known, from = true, next
	}
	location := false
	for from < len(b) {
		end, next := line(b, from)
		if end == from {
			break
		}
		colon := bytes.IndexByte(b[from:end], ':')
		if colon < 0 {
			m.Anomalies.Set(proto.FieldWithoutColon)
			from = next
			continue
		}
		name, value := trim(b, from, from+colon), trim(b, from+colon+1, end)
		if colon == 0 {
			m.Anomalies.Set(proto.BadFieldName)
		}
		switch field := m.Bytes(name); {
		case !known && proto.EqualFold(field, "status"):
			known = true
			readStatus(m, value)
		case proto.EqualFold(field, "location"):
			location = true
		case proto.EqualFold(field, "content-length"):
			readLength(m, m.Bytes(value))
		}
		if len(m.Fields) >= maxFields {
			m.Anomalies.Set(proto.TooManyFields)
		} else {
			m.Fields = append(m.Fields, proto.Field{Name: name, Value: value})
		}
		from = next
	}
	if !known && whole {
		known = true
		if m.Status = 200; location {
			m.Status = 302 // RFC 3875 §6.2.3
		}
	}
	m.Framing = proto.UntilStreamEnd
	switch {
	case m.Status == 204, m.Status == 304, m.Length == 0:
		m.Framing = proto.NoBody
	case m.Length > 0:
		m.Framing = proto.ByLength
	}
	return known
}

// line returns where the line at from ends, and where the next one begins.
func line(b []byte, from int) (end, next int) {
	n := bytes.IndexByte(b[from:], '\n')
	if n < 0 {
		return len(b), len(b)
	}
	end, next = from+n, from+n+1
	if n > 0 && b[end-1] == '\r' {
		end--
	}
	return end, next
}

// trim returns the span between two places, without the white space around it.
func trim(b []byte, from, to int) proto.Span {
	for from < to && (b[from] == ' ' || b[from] == '\t') {
		from++
	}
	for to > from && (b[to-1] == ' ' || b[to-1] == '\t') {
		to--
	}
	return proto.Span{Off: uint32(from), Len: uint32(to - from)}
}

// statusLine reads "version SP status SP reason".
func statusLine(m *proto.Message, end int) {
	n := bytes.IndexByte(m.Raw[:end], ' ')
	if n < 0 {
		n = end
	}
	m.Proto = proto.Span{Len: uint32(n)}
	m.Version = versionOf(m.Raw[:n])
	readStatus(m, trim(m.Raw, n, end))
}

// readStatus reads "status SP reason".
func readStatus(m *proto.Message, s proto.Span) {
	b := m.Bytes(s)
	if len(b) < 3 || len(b) > 3 && b[3] != ' ' {
		m.Anomalies.Set(proto.BadStatus)
		return
	}
	n, ok := number(b[:3])
	if !ok {
		m.Anomalies.Set(proto.BadStatus)
		return
	}
	m.Status = int(n)
	m.Reason = trim(m.Raw, int(s.Off)+3, int(s.Off+s.Len))
}

// readLength takes a Content-Length.
func readLength(m *proto.Message, value []byte) {
	n, ok := number(value)
	switch {
	case !ok:
		m.Anomalies.Set(proto.BadLength)
	case m.Length >= 0 && m.Length != n:
		m.Anomalies.Set(proto.ConflictingLength)
	case m.Length == n:
		m.Anomalies.Set(proto.DuplicateLength)
	default:
		m.Length = n
	}
}

// beginnings are those of the heads that responses have, in lower case: a status line, the field for it, and other first fields.
var beginnings = [...]string{
	"http/1.", "status:",
	"x-powered-by:", "content-", "set-cookie:", "location:", "cache-control:", "expires:", "pragma:", "date:", "server:", "vary:", "etag:",
	"last-modified:", "access-control-",
}

// withStatus is how many of the beginnings tell the status.
const withStatus = 2

// Begins says whether b, which may be anything, surely begins the head of a response.
func Begins(b []byte) proto.Match { return begins(b, beginnings[:]) }

// BeginsStatus says whether b begins the head of a response with its status.
func BeginsStatus(b []byte) proto.Match { return begins(b, beginnings[:withStatus]) }

func begins(b []byte, texts []string) proto.Match {
	best := proto.No
	for _, s := range texts {
		n := min(len(b), len(s))
		switch {
		case !proto.EqualFold(b[:n], s[:n]):
		case n == len(s):
			return proto.Yes
		default:
			best = proto.NeedMore
		}
	}
	return best
}
