package stream_test

// Whatever is on the wire, however it is cut into segments: the output has no control character but newlines and tabs, is
// UTF-8, and says itself only what it means to. As text, each byte is there, or an escape that stands for it.

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/stream"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

func FuzzShown(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(3), uint8(0))
	f.Add([]byte(asks+"a\r"+asks+"\n── [reset]\n"), uint8(1), uint8(1))
	f.Add([]byte("\x1b]0;x\x07\u202e\u2028\x00\xff\xe2\x94\x80 \\x41\r\r\n"), uint8(2), uint8(1))
	f.Add([]byte("──a\r"), uint8(30), uint8(0))
	f.Add([]byte("\x1f\x8b\x08abc"), uint8(200), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, size, form uint8) {
		var chunks []follow.Chunk
		for rest := b; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			chunks, rest = append(chunks, ask(string(rest[:n]))), rest[n:]
		}
		o := stream.Options{Form: stream.Form(stream.Forms()[int(form)%3])}
		got := show(t, o, chunks...)
		if len(b) == 0 {
			return
		}
		if !utf8.ValidString(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		text, own := strings.CutPrefix(got, asks)
		if !own || !strings.HasSuffix(text, "\n") {
			t.Fatalf("it begins or ends otherwise: %q", got)
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "──") {
				t.Fatalf("a line passes for the output's own: %q", line)
			}
		}
		for _, r := range text {
			if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
				t.Fatalf("%U in %q", r, text)
			}
		}
		if o.Form != stream.Text || bytes.Contains(b, []byte(`\x`)) || strings.Contains(string(b), "─") {
			return
		}
		if want := lines(b); len(chunks) == 1 && strings.TrimSuffix(text, "\n") != strings.TrimSuffix(want, "\n") {
			t.Fatalf("got %q, want %q", text, want)
		}
	})
}

// lines escapes text line by line, simply.
func lines(b []byte) string {
	var out []byte
	for i, line := range bytes.Split(b, []byte("\n")) {
		if i > 0 {
			out = append(out, '\n')
		}
		if i < bytes.Count(b, []byte("\n")) {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		for j, part := range bytes.Split(line, []byte("\t")) {
			if j > 0 {
				out = append(out, '\t')
			}
			out = terminal.AppendSafe(out, part)
		}
	}
	return string(out)
}
