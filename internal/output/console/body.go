package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"path"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

// maxIndentDepth is how deep JSON may be nested and still be indented; deeper, its indentation would
// outgrow the body by far, and it is shown as sent.
const maxIndentDepth = 64

// A form is a way to show a body.
type form uint8

const (
	unknownForm form = iota
	textForm
	jsonForm
	pairsForm
	partsForm
)

// forms tells by media type how a body is shown; the first pattern that fits counts. Types that
// aren't here are shown by what the body looks like.
var forms = []struct {
	pattern string
	form    form
}{
	{"application/json", jsonForm},
	{"*/*+json", jsonForm},
	{"text/json", jsonForm},
	{"application/x-www-form-urlencoded", pairsForm},
	{"multipart/*", partsForm},
	{"text/*", textForm},
	{"*/*+xml", textForm},
	{"application/xml", textForm},
	{"application/javascript", textForm},
	{"application/x-ndjson", textForm},
	{"application/graphql", textForm},
}

func formOf(mediaType []byte) form {
	for _, f := range forms {
		if ok, _ := path.Match(f.pattern, string(mediaType)); ok {
			return f.form
		}
	}
	return unknownForm
}

// body writes what was kept of a body, with an empty line between the head and it.
func (o *Output) body(m *proto.Message, b *exchange.Body) {
	if m.BodyBytes <= 0 && len(b.Bytes) == 0 {
		return
	}
	if m.HeadSize > 0 {
		o.buf = append(o.buf, '\n')
	}
	mediaType := exchange.MediaType(m)
	if len(b.Bytes) == 0 {
		o.aside(o.describe(mediaType, m, b) + ", not kept: see --max-body")
		return
	}
	f := formOf(mediaType)
	switch {
	case f == partsForm && len(b.Parts) > 0:
		o.parts(b.Parts)
	case b.Undecoded != "" || !isText(b.Bytes, f != unknownForm, b.Cut):
		o.binary(mediaType, m, b)
		return
	case f == pairsForm:
		o.pairs(b.Bytes)
	case f == jsonForm && !b.Cut:
		o.lines(indentJSON(b.Bytes, o.width))
	default:
		o.lines(b.Bytes)
	}
	if b.Cut {
		o.aside("cut: " + o.describe(mediaType, m, b))
	}
}

// describe says what a body is and how large, and how much of it was kept.
func (o *Output) describe(mediaType []byte, m *proto.Message, b *exchange.Body) string {
	s := terminal.AppendSafe(nil, mediaType)
	if len(s) == 0 {
		s = append(s, "body"...)
	}
	if o.o.Terminal.Width > 0 {
		s = s[:terminal.Fit(s, o.width/2)]
	}
	if encoded := m.Field("content-encoding"); len(encoded) > 0 && b.DecodedBytes < 0 {
		s = terminal.AppendBytes(append(s, ", "...), m.BodyBytes)
		s = append(s, " encoded"...)
	} else {
		s = terminal.AppendBytes(append(s, ", "...), max(m.BodyBytes, b.DecodedBytes))
	}
	if b.Cut {
		s = terminal.AppendBytes(append(s, ", first "...), int64(len(b.Bytes)))
		s = append(s, " kept"...)
	}
	return string(s)
}

// binary describes a body that isn't text, with a digest that identifies it if all of it is there.
func (o *Output) binary(mediaType []byte, m *proto.Message, b *exchange.Body) {
	s := o.describe(mediaType, m, b)
	if b.Undecoded != "" {
		s += ", not decoded: " + string(terminal.AppendSafe(nil, []byte(b.Undecoded)))
	}
	o.aside(s)
	if b.Cut || m.MissingBytes > 0 {
		return
	}
	sum := sha256.Sum256(b.Bytes)
	o.aside("sha256 " + hex.EncodeToString(sum[:]))
}

// parts lists the parts of a multipart body: name, file name, media type, size.
func (o *Output) parts(parts []exchange.Part) {
	for i := range parts {
		p := &parts[i]
		name := p.Name
		if name == "" {
			name = "part"
		}
		o.buf = append(o.buf, "  "...)
		o.buf = append(terminal.AppendSafe(o.buf, []byte(name)), ": "...)
		for _, s := range []string{p.Filename, p.Type} {
			if s != "" {
				o.buf = append(terminal.AppendSafe(o.buf, []byte(s)), ", "...)
			}
		}
		o.buf = append(terminal.AppendBytes(o.buf, p.Bytes), '\n')
	}
}

// pairs lists the names and values of a form.
func (o *Output) pairs(b []byte) {
	for pair := range bytes.SplitSeq(b, []byte("&")) {
		name, value, ok := bytes.Cut(pair, []byte("="))
		o.buf = append(o.buf, "  "...)
		o.buf = terminal.AppendSafe(o.buf, unescapeForm(name))
		if ok {
			o.buf = append(o.buf, " = "...)
			o.buf = terminal.AppendSafe(o.buf, unescapeForm(value))
		}
		o.buf = append(o.buf, '\n')
	}
}

// unescapeForm undoes the form encoding of a name or value, or returns it as it is when it is
// malformed.
func unescapeForm(b []byte) []byte {
	s, err := url.QueryUnescape(string(b))
	if err != nil {
		return b
	}
	return []byte(s)
}

// lines writes text line by line, and ends the last line.
func (o *Output) lines(b []byte) {
	b = bytes.TrimSuffix(b, []byte("\n"))
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		for i := bytes.IndexByte(line, '\t'); i >= 0; i = bytes.IndexByte(line, '\t') {
			o.buf = append(terminal.AppendSafe(o.buf, line[:i]), '\t')
			line = line[i+1:]
		}
		o.buf = append(terminal.AppendSafe(o.buf, line), '\n')
	}
}

// isText reports whether a body can be shown as text. One that is declared to be text may be in any
// charset, but holds no NUL; another must be UTF-8 without control characters, but for its last
// character when it was cut.
func isText(b []byte, declared, cut bool) bool {
	if declared {
		return bytes.IndexByte(b, 0) < 0
	}
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1:
			return cut && !utf8.FullRune(b)
		case r == 0x7f, r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f':
			return false
		}
		b = b[size:]
	}
	return true
}

// indentJSON lays JSON out for reading. What fits on one line, isn't JSON, or is nested too deeply,
// stays as it is.
func indentJSON(b []byte, width int) []byte {
	b = bytes.TrimSpace(b)
	if len(b) <= width && bytes.IndexByte(b, '\n') < 0 || !json.Valid(b) || depth(b) > maxIndentDepth {
		return b
	}
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return b
	}
	return out.Bytes()
}

// depth returns how deep valid JSON is nested.
func depth(b []byte) (deepest int) {
	level, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}
