package ndjson

import (
	"unicode/utf8"
	"unsafe"
)

const hexDigits = "0123456789abcdef"

// plain are the bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// plainWord reports whether eight bytes all stand for themselves in a JSON string. It looks at all of them at
// once: the high bit of each byte of the tests below is set where the byte doesn't.
func plainWord(w uint64) bool {
	const ones, low7, high = 0x0101010101010101, 0x7f7f7f7f7f7f7f7f, 0x8080808080808080
	low := w & low7
	quote, backslash := w^('"'*ones), w^('\\'*ones)
	odd := ^(low + 0x60*ones) // control characters
	odd |= low + ones         // DEL
	odd |= ^(quote&low7 + low7 | quote)
	odd |= ^(backslash&low7 + low7 | backslash)
	return (odd|w)&high == 0
}

// appendBytes appends bytes as a JSON string; see appendString.
func appendBytes(dst, b []byte) []byte {
	return appendString(dst, unsafe.String(unsafe.SliceData(b), len(b)))
}

// appendString appends a JSON string. Bytes that aren't UTF-8 become the four characters \xNN, and a backslash
// that would read so becomes \x5c, so that nothing is lost and different values stay different. Control characters, those beyond ASCII and
// those that turn the direction of text included, are escaped, so that a document is harmless in a
// terminal.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from, i := 0, 0
	for i < len(s) {
		for len(s)-i >= 8 && plainWord(word(s[i:i+8])) {
			i += 8
		}
		if i == len(s) {
			break
		}
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[from:i]...)
			switch c {
			case '"':
				dst = append(dst, '\\', c)
			case '\\':
				dst = append(dst, '\\', '\\')
				if readsAsByte(s[i+1:]) {
					dst = append(dst, "x5c"...)
				}
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, s[from:i]...)
			dst = append(dst, '\\', '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			from = i + 1
		case r < 0xa0, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			dst = append(dst, s[from:i]...)
			dst = append(dst, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
			from = i + n
		}
		i += n
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// readsAsByte reports whether what follows a backslash makes it look like an escaped byte. Such a backslash
// is escaped itself.
func readsAsByte(s string) bool {
	return len(s) >= 3 && s[0] == 'x' && isHex(s[1]) && isHex(s[2])
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func word(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
