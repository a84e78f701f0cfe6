package terminal

import (
	"unicode"
	"unicode/utf8"
)

// AppendSafe appends bytes from the wire so that they can't steer a terminal nor pass for something
// else: control characters (C0, DEL, C1), line separators, bidirectional controls and whatever isn't
// UTF-8 become \xNN, byte by byte, in lower-case hexadecimal. The rest stays as it is. In particular
// a backslash stays a backslash, so that paths and JSON read as they were sent, except where it
// would read as such an escape: the four characters \x1b become \x5cx1b. So every input has its own
// output, and replacing each \xNN by its byte gives the input back.
//
// Newlines and tabs are control characters too: the output is always one line.
func AppendSafe(dst, b []byte) []byte {
	for len(b) > 0 {
		n := 0
		for n < len(b) && ' ' <= b[n] && b[n] <= '~' && b[n] != '\\' {
			n++
		}
		dst, b = append(dst, b[:n]...), b[n:]
		if len(b) == 0 {
			break
		}
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 || r == '\\' && isEscape(b) || hidden(r) {
			for _, c := range b[:size] {
				dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			}
		} else {
			dst = append(dst, b[:size]...)
		}
		b = b[size:]
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// hidden reports whether a terminal would act on r rather than show it.
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// isEscape reports whether b begins with what AppendSafe writes for a byte.
func isEscape(b []byte) bool {
	return len(b) >= 4 && b[0] == '\\' && b[1] == 'x' && isHex(b[2]) && isHex(b[3])
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }
