package remote

import (
	"strings"
	"unicode/utf8"
)

// Documents show texts as JSON can: bytes that aren't UTF-8 as the four characters \xNN, and a backslash that would read so
// as \x5c. Different texts stay different, so that what a document shows tells the text.

const hexDigits = "0123456789abcdef"

// shown returns a text as documents show it.
func shown(text string) string {
	if plain(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1, r == '\\' && isEscape(text[i:]):
			b.WriteString(`\x`)
			b.WriteByte(hexDigits[text[i]>>4])
			b.WriteByte(hexDigits[text[i]&15])
		default:
			b.WriteString(text[i : i+size])
		}
		i += size
	}
	return b.String()
}

// plain reports whether a text has nothing that is shown otherwise, whatever stands around it.
func plain(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, `\`) }

// isEscape reports whether a text begins with \xNN, in lower case.
func isEscape[T string | []byte](s T) bool {
	return len(s) >= 4 && s[0] == '\\' && s[1] == 'x' && digit(s[2]) >= 0 && digit(s[3]) >= 0
}

func digit(c byte) int { return strings.IndexByte(hexDigits, c) }

// raw returns the text that is shown so. It writes over b.
func raw(b []byte) []byte {
	to := 0
	for i := 0; i < len(b); to++ {
		if isEscape(b[i:]) {
			b[to] = byte(digit(b[i+2])<<4 | digit(b[i+3]))
			i += 4
			continue
		}
		b[to] = b[i]
		i++
	}
	return b[:to]
}

// lower makes the ASCII letters of a text lower case.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

func hasUpper(s string) bool { return strings.ContainsAny(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") }
