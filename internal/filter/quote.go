package filter

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// quote returns the literal of a text: "..." for UTF-8, and b"..." for other bytes, since \xff within
// "..." means the character U+00FF.
func quote(s string) string {
	if utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	b.WriteString(`b"`)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case ' ' <= c && c <= '~':
			b.WriteByte(c)
		default:
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	b.WriteByte('"')
	return b.String()
}
