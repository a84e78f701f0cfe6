package rollup

import "unicode/utf8"

// Limits of the texts of a series, in bytes as sent. What is longer is cut, and ends with an ellipsis.
const (
	// MaxDomain is what a domain name can have at most (RFC 1035 §2.3.4).
	MaxDomain = 253
	// MaxMethod is more than any method that is registered.
	MaxMethod = 32
	// MaxText is more than a route has, or any text of the configuration should have.
	MaxText = 1100
)

// Text makes a text of bytes from the wire that is harmless wherever it is shown: it is cut to max bytes; bytes that
// aren't UTF-8, and those of control characters and of characters that turn the direction of text, become \xNN.
func Text(b []byte, max int) string {
	cut := len(b) > max
	if cut {
		for max > 0 && !utf8.RuneStart(b[max]) {
			max--
		}
		b = b[:max]
	}
	out := make([]byte, 0, len(b)+len("…"))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || steers(r) {
			const digits = "0123456789abcdef"
			for _, c := range b[:n] {
				out = append(out, '\\', 'x', digits[c>>4], digits[c&15])
			}
		} else {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	if cut {
		out = append(out, "…"...)
	}
	return string(out)
}

// steers reports whether a character is none that is shown, but changes how others are.
func steers(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
