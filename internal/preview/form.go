package preview

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// maxPart is how many bytes of a part of text are shown.
const maxPart = 4 << 10

// pairs lists the names and values of a form. One that is JSON, as many clients send it, is shown as that.
func (w *work) pairs() {
	if start := bytes.TrimLeft(w.b.Bytes, " \t\r\n"); bytes.HasPrefix(start, []byte("{")) || bytes.HasPrefix(start, []byte("[")) {
		w.Form = JSON
		w.json()
		return
	}
	for pair := range bytes.SplitSeq(w.b.Bytes, []byte("&")) {
		if w.full() {
			w.left++
			continue
		}
		name, value, ok := bytes.Cut(pair, []byte("="))
		line := append([]byte("  "), unescape(name)...)
		if ok {
			line = append(append(line, " = "...), unescape(value)...)
		}
		w.line(line)
	}
}

// unescape undoes the encoding of a name or value of a form, or returns it as it is when it is malformed.
func unescape(b []byte) []byte {
	s, err := url.QueryUnescape(string(b))
	if err != nil {
		return b
	}
	return []byte(s)
}

// parts lists the parts of a multipart body: name, file name, media type, size; and the beginning of those that are text.
func (w *work) parts() {
	contentType := w.m.Field("content-type")
	parts := w.b.Parts
	if len(parts) == 0 {
		parts = body.Multipart(contentType, w.b.Bytes)
	}
	if len(parts) == 0 {
		w.other()
		return
	}
	_, params, _ := mime.ParseMediaType(string(contentType))
	var r *multipart.Reader
	if params["boundary"] != "" {
		r = multipart.NewReader(bytes.NewReader(w.b.Bytes), params["boundary"])
	}
	for i := range parts {
		p := &parts[i]
		name := p.Name
		if name == "" {
			name = "part"
		}
		line := "  " + name + ": "
		for _, s := range []string{p.Filename, p.Type} {
			if s != "" {
				line += s + ", "
			}
		}
		w.line([]byte(line + bytesOf(p.Bytes)))
		if r == nil || w.full() {
			continue
		}
		part, err := r.NextRawPart()
		if err != nil {
			r = nil // so malformed that the contents of the parts can't be told
			continue
		}
		content, err := io.ReadAll(io.LimitReader(part, maxPart+1))
		w.part(p, content, err != nil)
	}
}

// part shows the beginning of a part that is text.
func (w *work) part(p *exchange.Part, content []byte, cut bool) {
	long := len(content) > maxPart
	if long {
		content = content[:maxPart]
	}
	kind := strings.ToLower(p.Type)
	declared := kind == "" || strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "json") || strings.HasSuffix(kind, "xml")
	if len(content) == 0 || !declared || !isText(content, false, cut || long) {
		return
	}
	if strings.HasSuffix(kind, "json") && !long {
		w.layout("    ", content)
		return
	}
	w.text("    ", content)
	if long {
		w.line([]byte(fmt.Sprintf("    … (of %s, the first %s)", bytesOf(p.Bytes), bytesOf(maxPart))))
	}
}

// other shows a body that isn't what its media type says.
func (w *work) other() {
	if isText(w.b.Bytes, false, w.b.Cut) {
		w.plain()
		return
	}
	w.binary()
}

// bytesOf gives a number of bytes, as outputs do.
func bytesOf(n int64) string { return string(terminal.AppendBytes(nil, n)) }
