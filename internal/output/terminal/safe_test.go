package terminal

// Invariant of FuzzAppendSafe: whatever the bytes, the output is valid UTF-8 without C0, DEL, C1,
// line separators or bidirectional controls, and replacing each \xNN in it by its byte gives the
// input back.

import (
	"bytes"
	"encoding/hex"
	"testing"
	"unicode/utf8"
)

var hostile = []struct{ in, want string }{
	{"plain text", "plain text"},
	{"Grüße, 日本 👍", "Grüße, 日本 👍"},
	{"\x1b[2J\x1b]0;owned\x07", `\x1b[2J\x1b]0;owned\x07`},
	{"a\r\nb\tc\x00\x7f", `a\x0d\x0ab\x09c\x00\x7f`},
	{"\u009b31m", `\xc2\x9b31m`},
	{"\x9b31m", `\x9b31m`},
	{"evil\u202egpj.exe\u2066\u2069\u200f", `evil\xe2\x80\xaegpj.exe\xe2\x81\xa6\xe2\x81\xa9\xe2\x80\x8f`},
	{"a\u2028b", `a\xe2\x80\xa8b`},
	{"caf\xe9", `caf\xe9`},
	{"\xed\xa0\x80 \xf0\x9f", `\xed\xa0\x80 \xf0\x9f`},
	{`C:\dir\new "\u00e9"`, `C:\dir\new "\u00e9"`},
	{`\x1b`, `\x5cx1b`},
	{"\\\x1b", `\\x1b`},
	{`\\x1b \x1B \xg0`, `\\x5cx1b \x1B \xg0`},
	{"\uFFFD", "\uFFFD"},
}

func TestAppendSafe(t *testing.T) {
	for _, c := range hostile {
		if got := string(AppendSafe(nil, []byte(c.in))); got != c.want {
			t.Errorf("AppendSafe(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzAppendSafe(f *testing.F) {
	for _, c := range hostile {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := AppendSafe(nil, in)
		if !utf8.Valid(out) {
			t.Fatalf("%q isn't UTF-8", out)
		}
		for _, r := range string(out) {
			if r < 0x20 || 0x7f <= r && r < 0xa0 || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
				t.Fatalf("%q passed %U", in, r)
			}
		}
		if back := unescape(t, out); !bytes.Equal(back, in) {
			t.Fatalf("%q became %q, which reads as %q", in, out, back)
		}
	})
}

func unescape(t *testing.T, b []byte) (out []byte) {
	for len(b) > 0 {
		if !isEscape(b) {
			out, b = append(out, b[0]), b[1:]
			continue
		}
		c, err := hex.DecodeString(string(b[2:4]))
		if err != nil {
			t.Fatal(err)
		}
		out, b = append(out, c...), b[4:]
	}
	return out
}
