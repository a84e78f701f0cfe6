package statement

import (
	"crypto/sha1"
	"encoding/hex"
)

// Scripts are data, and what a command does. Templates have the beginning of their SHA-1 for them, which is how Redis calls them
// (https://redis.io/docs/latest/develop/programmability/eval-intro/): EVAL and EVALSHA of one script show the same.

// scriptForm says in which form an argument is a script.
type scriptForm uint8

const (
	noScript scriptForm = iota
	// scriptText: it is the script. scriptDigest: it is its SHA-1, in hexadecimal.
	scriptText
	scriptDigest
)

// The beginning of a digest in a template: a sign, and hexadecimal digits.
const (
	digestSign   = '#'
	digestDigits = 6
)

// appendScript appends what stands for a script in templates. What stood in a template already stays.
func (w *writer) appendScript(text []byte, a argument, form scriptForm) {
	word := text[a.from:a.to]
	if len(word) == 1+digestDigits && word[0] == digestSign && hexDigitsOf(word[1:]) == digestDigits {
		w.out = append(w.out, word...)
		return
	}
	arg := text[a.textFrom:a.textTo]
	switch {
	case form == scriptText && len(arg) > 0 && !(len(word) == 1 && word[0] == '?'):
		w.other = appendUnescaped(w.other[:0], arg, a.textFrom > a.from)
		if a.textTo < a.to && a.textFrom > a.from { // behind the quote: how long it was, where it was cut
			w.other = append(w.other, text[a.textTo+1:a.to]...)
		}
		sum := sha1.Sum(w.other)
		w.out = hex.AppendEncode(append(w.out, digestSign), sum[:digestDigits/2])
	case form == scriptDigest && hexDigitsOf(arg) >= digestDigits:
		w.out = append(w.out, digestSign)
		for _, c := range arg[:digestDigits] {
			if c <= 'F' && c >= 'A' {
				c += 'a' - 'A'
			}
			w.out = append(w.out, c)
		}
	default:
		w.out = append(w.out, '?')
	}
}

// hexDigitsOf returns how many hexadecimal digits b consists of, 0 when there is something else.
func hexDigitsOf(b []byte) int {
	for _, c := range b {
		if unhex(c) < 0 {
			return 0
		}
	}
	return len(b)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// escapes are the bytes that escapes of one letter stand for. Other characters stand for themselves.
var escapes = [256]byte{'n': '\n', 'r': '\r', 't': '\t', 'a': '\a', 'b': '\b'}

// appendUnescaped appends an argument as it was before redis-cli's quotes.
func appendUnescaped(dst, b []byte, quoted bool) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if quoted && c == '\\' && i+1 < len(b) {
			i++
			c = b[i]
			switch {
			case c == 'x' && i+2 < len(b) && unhex(b[i+1]) >= 0 && unhex(b[i+2]) >= 0:
				c = byte(unhex(b[i+1])<<4 | unhex(b[i+2]))
				i += 2
			case escapes[c] != 0:
				c = escapes[c]
			}
		}
		dst = append(dst, c)
	}
	return dst
}
