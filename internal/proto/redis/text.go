package redis

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// hiding says what of an argument is a secret.
type hiding uint8

const (
	hidesNothing hiding = iota
	hidesAll
	// hidesRest: all but the first byte.
	hidesRest
)

// redacted stands for what is secret, ellipsis for the rest of what is too long; behind it stands the length.
const (
	redacted = "…[redacted]"
	ellipsis = "…["
)

// plain marks the bytes that need no quotes.
var plain = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = c != '"' && c != '\'' && c != '\\'
	}
	return t
}()

const hex = "0123456789abcdef"

// appendArgument appends an argument as redis-cli takes it: as it is, or in quotes when it is empty or holds blanks, quotes or what
// can't be printed. b is its beginning; length is that of the whole.
func appendArgument(to, b []byte, length int64, hidden hiding) []byte {
	if hidden != hidesNothing {
		if hidden == hidesRest {
			to = append(to, b[0])
		}
		return append(to, redacted...)
	}
	cut := int64(len(b)) < length
	if cut {
		b = b[:wholeRunes(b, len(b))]
	}
	if isPlain(b) {
		to = append(to, b...)
	} else {
		to = appendQuoted(to, b)
	}
	if cut {
		to = append(to, ellipsis...)
		to = strconv.AppendInt(to, length, 10)
		to = append(to, ']')
	}
	return to
}

func isPlain(b []byte) bool {
	for _, c := range b {
		if !plain[c] {
			return false
		}
	}
	return len(b) > 0
}

// appendQuoted appends a text that isn't plain ASCII, in quotes if it needs them.
func appendQuoted(to, b []byte) []byte {
	begin := len(to)
	quotes := len(b) == 0
	to = append(to, '"')
	for i := 0; i < len(b); {
		c := b[i]
		if c < utf8.RuneSelf {
			quotes = quotes || !plain[c]
			to = appendEscaped(to, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			quotes = true
			for _, c := range b[i : i+n] {
				to = append(to, '\\', 'x', hex[c>>4], hex[c&15])
			}
		} else {
			to = append(to, b[i:i+n]...)
		}
		i += n
	}
	if !quotes {
		return append(to[:begin], to[begin+1:]...)
	}
	return append(to, '"')
}

// escapes are the bytes with an escape of their own.
var escapes = [128]byte{'\\': '\\', '"': '"', '\n': 'n', '\r': 'r', '\t': 't', '\a': 'a', '\b': 'b'}

// appendEscaped appends an ASCII character, escaped within quotes.
func appendEscaped(to []byte, c byte) []byte {
	switch {
	case escapes[c] != 0:
		return append(to, '\\', escapes[c])
	case c < ' ' || c == 0x7f:
		return append(to, '\\', 'x', hex[c>>4], hex[c&15])
	}
	return append(to, c)
}

// wholeRunes returns the largest length, n at most, at which b can be cut without cutting a character.
func wholeRunes(b []byte, n int) int {
	i := n
	for i > 0 && n-i < utf8.UTFMax && !utf8.RuneStart(b[i-1]) {
		i--
	}
	if i > 0 && b[i-1] >= utf8.RuneSelf {
		if _, size := utf8.DecodeRune(b[i-1 : n]); size == 1 && !utf8.FullRune(b[i-1:n]) {
			return i - 1
		}
	}
	return n
}

// isText reports whether b may be part of a line of text.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
			return false
		}
	}
	return true
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// countWords returns how many words a line of an inline command has.
func countWords(line []byte) (n int) {
	for {
		word, rest := cutWord(line)
		if len(word) == 0 {
			return n
		}
		line = rest
		n++
	}
}

// nextWord returns the next word of an inline command without its quotes, for which it may use the buffer to, and what follows.
func nextWord(line, to []byte) (word, rest, buffer []byte) {
	word, rest = cutWord(line)
	quoted := false
	for _, c := range word {
		quoted = quoted || c == '"' || c == '\''
	}
	if !quoted {
		return word, rest, to
	}
	var in byte
	for i := 0; i < len(word); i++ {
		c := word[i]
		switch {
		case in == 0 && (c == '"' || c == '\''):
			in = c
		case in != 0 && c == in:
			in = 0
		case in == '"' && c == '\\' && i+3 < len(word) && word[i+1] == 'x' && isHex(word[i+2]) && isHex(word[i+3]):
			v, _ := strconv.ParseUint(string(word[i+2:i+4]), 16, 8) // two hexadecimal digits
			to = append(to, byte(v))
			i += 3
		case in == '"' && c == '\\' && i+1 < len(word), in == '\'' && c == '\\' && i+1 < len(word) && word[i+1] == '\'':
			i++
			c = word[i]
			if in == '"' {
				c = unescape(c)
			}
			to = append(to, c)
		default:
			to = append(to, c)
		}
	}
	return to, rest, to
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// unescape returns what a letter behind a backslash means.
func unescape(c byte) byte {
	for plain, letter := range escapes {
		if letter == c {
			return byte(plain)
		}
	}
	return c
}

// cutWord returns the next word of an inline command with its quotes, and what follows. Quotes that aren't closed end with the line.
func cutWord(line []byte) (word, rest []byte) {
	for len(line) > 0 && isBlank(line[0]) {
		line = line[1:]
	}
	var in byte
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case in == 0 && isBlank(c), c == '\n', c == '\r' && i+1 < len(line) && line[i+1] == '\n':
			return line[:i], line[i:]
		case in == '"' && c == '\\', in == '\'' && c == '\\' && i+1 < len(line) && line[i+1] == '\'':
			i++
		case in == 0 && (c == '"' || c == '\''):
			in = c
		case in != 0 && c == in:
			in = 0
		}
	}
	return line, nil
}
