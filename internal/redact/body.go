package redact

import (
	"bytes"
	"encoding/json"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// redactBody hides the secrets of a captured body. One that couldn't be decoded may be what it looks like all the
// same, so that it is searched, too.
func (r *Redactor) redactBody(x *exchange.Exchange, m *proto.Message, b *exchange.Body) {
	if len(b.Bytes) == 0 {
		return
	}
	find := said // a message has no media type of its own
	if x.Message == nil {
		find = bodyFinder(exchange.MediaType(m), b.Bytes)
	}
	r.find(b.Bytes, find)
	if len(r.spans) == 0 {
		return
	}
	r.body = r.appendRedacted(r.body[:0], b.Bytes)
	if x.Message == nil && framed(exchange.MediaType(m)) {
		for _, s := range r.spans {
			for i := s.from; i < s.to; i++ {
				b.Bytes[i] = '*' // a mark of another length would break what is behind it
			}
		}
		return
	}
	clear(b.Bytes)
	// No further than the old length, whatever the capacity: what lies behind may be another body.
	b.Bytes = append(b.Bytes[:0:len(b.Bytes)], r.body...)
}

// framed reports whether bodies of a media type have lengths within them.
func framed(mediaType []byte) bool {
	return bytes.HasPrefix(mediaType, []byte("application/grpc")) || bytes.Contains(mediaType, []byte("protobuf"))
}

// said is what one side of a session says: a message, or why it closes. Socket.IO and its like have a number before their JSON.
func said(r *Redactor, v []byte) {
	if startsJSON(bytes.TrimLeft(v, "0123456789")) {
		r.json(v)
		return
	}
	bodyFinder([]byte("text/plain"), v)(r, v)
}

// bodyFinder returns what finds the secrets of a body of that media type. The body's look counts more
// than its type: many clients send JSON as a form.
func bodyFinder(mediaType, b []byte) finder {
	start := bytes.TrimLeft(b, " \t\r\n\ufeff")
	switch {
	case bytes.HasPrefix(mediaType, []byte("multipart/")):
		return (*Redactor).multipart
	case bytes.HasPrefix(start, []byte("{")), bytes.HasPrefix(start, []byte("[")),
		bytes.Contains(mediaType, []byte("json")), string(mediaType) == "text/event-stream":
		return (*Redactor).json
	case string(mediaType) == "application/x-www-form-urlencoded",
		(len(mediaType) == 0 || string(mediaType) == "text/plain") && startsForm(start):
		return (*Redactor).form
	case bytes.HasPrefix(start, []byte("<")), bytes.Contains(mediaType, []byte("xml")), string(mediaType) == "text/html":
		return (*Redactor).markup
	case bytes.HasSuffix(mediaType, []byte("/http")): // message/http, application/http
		return (*Redactor).http
	case string(mediaType) == "text/plain":
		return (*Redactor).freeText
	}
	return (*Redactor).plain
}

// startsForm reports whether b begins with a name and an equals sign.
func startsForm(b []byte) bool {
	for i, c := range b {
		switch {
		case c == '=':
			return i > 0
		case !isAlphanumeric(c) && bytes.IndexByte([]byte("-_.%[]"), c) < 0:
			return false
		}
	}
	return false
}

func (r *Redactor) plain(v []byte) { r.text(v, 0, len(v), cards) }

func (r *Redactor) freeText(v []byte) { r.free(v, 0, len(v)) }

func (r *Redactor) form(v []byte) { r.parameters(v, 0, len(v), &queryNames, &queryEnd) }

func (r *Redactor) json(v []byte) { r.members(v, 0, len(v)) }

// jsonToken are the bytes that end or begin a token of JSON.
var jsonToken = newDelimiters("\"{}[],: \t\r\n")

// members are JSON values (RFC 8259), one or more, whole or cut anywhere. In an object or array that
// has a secret name, every string and number is secret.
func (r *Redactor) members(v []byte, i, to int) {
	shortest := 0           // secret, by the name before the value at hand
	depth, secretIn := 0, 0 // nesting, and the level of the secret object or array; 0: none
	for i < to {
		switch c := v[i]; {
		case c == '"':
			end := stringEnd(v, i+1, to)
			if after := skipBlank(v, end+1, to); after < to && v[after] == ':' {
				r.text(v, i+1, end, cards)
				shortest = r.member(v[i+1 : end])
				i = after + 1
				continue
			}
			if secretIn > 0 || shortest > 0 && end-i-1 >= shortest {
				r.add(v, i+1, end)
			} else {
				r.stringValue(v, i+1, end)
			}
			shortest = 0
			i = end + 1
		case c == '{', c == '[':
			depth++
			if secretIn == 0 && shortest == 1 {
				secretIn = depth
			}
			shortest = 0
			i++
		case c == '}', c == ']':
			if depth == secretIn {
				secretIn = 0
			}
			depth = max(depth-1, 0)
			shortest = 0
			i++
		case c == '-', isDigit(c):
			end := i + 1
			for end < to && (isAlphanumeric(v[end]) || v[end] == '.' || v[end] == '-' || v[end] == '+') {
				end++
			}
			if secretIn > 0 || shortest > 0 && end-i >= shortest || cardLen(v[i:end]) == end-i {
				r.addQuoted(v, i, end, uint8(r.level+1))
			}
			shortest = 0
			i = end
		default:
			// White space, commas, true, false, null, and whatever isn't JSON.
			end := next(v, i, to, &jsonToken)
			if end > i {
				r.text(v, i, end, cards)
				shortest = 0
			}
			i = max(end, i+1)
		}
	}
}

// member is parameter for names of JSON, which may have escapes.
func (r *Redactor) member(name []byte) int {
	if bytes.IndexByte(name, '\\') >= 0 {
		var plain string
		if json.Unmarshal(append(append([]byte{'"'}, name...), '"'), &plain) == nil {
			name = []byte(plain)
		}
	}
	return r.parameter(name)
}

// stringEnd returns the index of the quote that ends the string in which v[i] is, or to.
func stringEnd(v []byte, i, to int) int {
	for i < to {
		switch v[i] {
		case '"':
			return i
		case '\\':
			i++
		}
		i++
	}
	return to
}

func skipBlank(v []byte, i, to int) int {
	for i < to && (v[i] == ' ' || v[i] == '\t' || v[i] == '\r' || v[i] == '\n') {
		i++
	}
	return min(i, to)
}

// multipart is a body in parts (RFC 2046 §5.1), each with a name (RFC 7578 §4.2). What the delimiter
// is, the first line that begins with two dashes tells.
func (r *Redactor) multipart(v []byte) {
	start := 0
	for !bytes.HasPrefix(v[start:], []byte("--")) {
		n := bytes.IndexByte(v[start:], '\n')
		if n < 0 {
			r.plain(v)
			return
		}
		start += n + 1
	}
	delimiter := v[start:]
	if n := bytes.IndexAny(delimiter, "\r\n"); n >= 0 {
		delimiter = delimiter[:n]
	}
	for i := start + len(delimiter); i < len(v); {
		end, after := len(v), len(v)
		if n := bytes.Index(v[i:], delimiter); n >= 0 {
			end = i + n
			after = end + len(delimiter)
		}
		r.part(v, i, end)
		i = after
	}
}

// part is one part: fields, an empty line, and the content.
func (r *Redactor) part(v []byte, i, to int) {
	content := headEnd(v, i, to)
	end := to
	for _, newline := range []string{"\n", "\r"} {
		if end > content && end < len(v) && v[end-1] == newline[0] {
			end--
		}
	}
	if shortest := r.parameter(partName(v[i:content])); shortest > 0 && end-content >= shortest {
		r.add(v, content, end)
		return
	}
	r.header(v, i, content)
	r.within(v, content, end, bodyFinder(partType(v[i:content]), v[content:end]))
}

// header are header fields, a line each.
func (r *Redactor) header(v []byte, i, to int) {
	for i < to {
		end := lineEnd(v, i, to)
		r.headerLine(v, i, end)
		i = end + 1
	}
}

func (r *Redactor) headerLine(v []byte, i, end int) {
	colon := bytes.IndexByte(v[i:end], ':')
	find := finder(nil)
	if colon > 0 {
		find = r.names.header(v[i : i+colon])
	}
	if find == nil {
		r.text(v, i, end, cards)
		return
	}
	from, to := trimBlank(v, i+colon+1, end)
	r.within(v, from, to, find)
}

// http is a message of HTTP/1 as a body (RFC 9112 §10.1, §10.2): what a server got, as TRACE shows it, or one of
// a batch.
func (r *Redactor) http(v []byte) {
	if r.nested == maxNested {
		r.plain(v)
		return
	}
	r.nested++
	defer func() { r.nested-- }()
	start := skipBlank(v, 0, len(v))
	end := lineEnd(v, start, len(v))
	if words := bytes.IndexByte(v[start:end], ' '); words > 0 && !bytes.HasPrefix(v[start:], []byte("HTTP/")) {
		from := start + words + 1
		r.within(v, from, from+len(v[from:next(v, from, end, &blanks)]), (*Redactor).url)
	}
	content := headEnd(v, end, len(v))
	r.header(v, min(end+1, content), content)
	r.within(v, content, len(v), bodyFinder(partType(v[start:content]), v[content:]))
}

// blanks are the white space of a line.
var blanks = newDelimiters(" \t\r\n")

// lineEnd returns where the line ends in which v[i] is: at its newline, or at to.
func lineEnd(v []byte, i, to int) int {
	if n := bytes.IndexByte(v[i:to], '\n'); n >= 0 {
		return i + n
	}
	return to
}

// headEnd returns where the content begins that follows header fields and an empty line, to when there is none.
func headEnd(v []byte, i, to int) int {
	content := to
	for _, empty := range []string{"\r\n\r\n", "\n\n"} {
		if n := bytes.Index(v[i:to], []byte(empty)); n >= 0 && i+n+len(empty) < content {
			content = i + n + len(empty)
		}
	}
	return content
}

// partType returns the media type in header fields, without its parameters; nil when there is none. Multipart
// within multipart isn't taken apart, but is searched as it looks.
func partType(fields []byte) []byte {
	for len(fields) > 0 {
		end := lineEnd(fields, 0, len(fields))
		name, value, _ := bytes.Cut(fields[:end], []byte(":"))
		if proto.EqualFold(name, "content-type") {
			value, _, _ = bytes.Cut(value, []byte(";"))
			value = bytes.ToLower(bytes.TrimSpace(value))
			if bytes.HasPrefix(value, []byte("multipart/")) {
				return nil
			}
			return value
		}
		fields = fields[min(end+1, len(fields)):]
	}
	return nil
}

// partName returns the name in the fields of a part, nil when there is none.
func partName(fields []byte) []byte {
	const mark = "name="
	for {
		n := bytes.Index(fields, []byte(mark))
		if n < 0 {
			return nil
		}
		name := fields[n+len(mark):]
		if n > 0 && isAlphanumeric(fields[n-1]) { // filename=
			fields = name
			continue
		}
		if bytes.HasPrefix(name, []byte(`"`)) {
			return name[1:max(stringEnd(name, 1, len(name)), 1)]
		}
		if end := bytes.IndexAny(name, "; \t\r\n"); end >= 0 {
			return name[:end]
		}
		return name
	}
}
