package statement

import (
	"bytes"
	"strings"
)

// maxPattern is how long the pattern of a key is at most, in bytes, but for an ellipsis.
const maxPattern = 128

// appendPattern appends the pattern of a key: the parts of it that are numbers, or look random, are replaced by ?, as in
// user:?:name. Parts are what is between signs. The pattern of a pattern is itself.
func appendPattern(dst, key []byte) []byte {
	start, fit := len(dst), len(dst)
	before := -1 // where the part before begins, if it is a ?
	for i := 0; i < len(key); {
		if isUUID(key[i:]) && (i == 0 || !inPart(key[i-1])) {
			dst = append(dst, '?')
			before = len(dst) - 1
			i += uuidSize
			continue
		}
		if !inPart(key[i]) {
			dst = append(dst, key[i])
			i++
			if len(dst)-start <= maxPattern {
				fit = len(dst)
			}
			continue
		}
		end := i + 1
		for end < len(key) && inPart(key[end]) {
			end++
		}
		from := len(dst)
		dst = appendPart(dst, key[i:end])
		if len(dst) == from+1 && dst[from] == '?' {
			// 2024-05-06, 10.0.0.1: one value.
			if before >= 0 && from == before+2 && strings.IndexByte("-._,", dst[from-1]) >= 0 {
				dst = dst[:before+1]
			} else {
				before = from
			}
		}
		i = end
		if len(dst)-start <= maxPattern {
			fit = len(dst)
		}
	}
	fit = min(fit, len(dst))
	switch {
	case len(dst) == start:
		return append(dst, '?')
	case len(dst)-start > maxPattern+len(ellipsis):
		return append(dst[:fit], ellipsis...)
	}
	return dst
}

// inPart reports whether a byte is of a part rather than between two.
func inPart(c byte) bool {
	return isFigure(c) || c >= 0x80 || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// isFigure reports whether patterns have a ? for a byte: a digit, or what no pattern shows.
func isFigure(c byte) bool {
	return c == '?' || bytesOf[c]&isNumber != 0 || c <= ' ' || c == 0x7f || c == '"' || c == '\'' || c == '\\'
}

// The looks of a part that is no name: hexadecimal digits, letters and digits mixed, or very long.
const (
	minHex   = 8
	minMixed = 16
	minLong  = 32
)

// appendPart appends a part of a key.
func appendPart(dst, part []byte) []byte {
	digits, hex, letters := 0, true, 0
	for _, c := range part {
		switch {
		case isFigure(c):
			digits++
		case c >= 0x80:
			hex, letters = false, -len(part)
		default:
			letters++
			hex = hex && 'a' <= c|0x20 && c|0x20 <= 'f'
		}
	}
	n := len(part)
	if digits > 0 && hex && n >= minHex || letters > 0 && (digits > 0 && n >= minMixed || n >= minLong) {
		return append(dst, '?')
	}
	for i, c := range part {
		switch {
		case !isFigure(c):
			dst = append(dst, c)
		case i == 0 || !isFigure(part[i-1]):
			dst = append(dst, '?')
		}
	}
	return dst
}

// uuidSize is the length of a UUID as text (RFC 9562 §4).
const uuidSize = 36

func isUUID(b []byte) bool {
	if len(b) < uuidSize || len(b) > uuidSize && inPart(b[uuidSize]) {
		return false
	}
	for i, c := range b[:uuidSize] {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case bytesOf[c]&isNumber == 0 && (c|0x20 < 'a' || c|0x20 > 'f'):
			return false
		}
	}
	return true
}

// keyPrefix returns what the pattern of a key begins with: what is before the first colon, slash or other sign that
// separates names; all of it when that isn't one.
func keyPrefix(pattern []byte) []byte {
	b := bytes.TrimLeft(pattern, "{")
	if n := bytes.IndexAny(b, ":/|.#{}"); n > 0 && !bytes.Equal(b[:n], question) {
		return b[:n]
	}
	return pattern
}
