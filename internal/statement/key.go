package statement

import (
	"bytes"
	"strings"
)

// maxPattern is how long the pattern of a key is at most, in bytes, but for an ellipsis.
const maxPattern = 128

// appendPattern appends the pattern of a key: the parts of it that are numbers, or look random, are replaced by ?, as in
// user:?:name; so is what stands behind the name of a credential, as in session:?. Parts are what is between signs. The
// pattern of a pattern is itself.
func appendPattern(dst, key []byte) []byte {
	start, fit := len(dst), len(dst)
	before := -1 // where the part before begins, if it is a ?
	names := 0   // what is before isn't the name of a credential
	for i := 0; i < len(key); {
		if i > names && endsName[key[i-1]] && SecretPart(key[names:i-1]) {
			if end := secretEnd(key, i); end > i {
				dst = append(dst, '?')
				if len(dst)-start <= maxPattern {
					fit = len(dst)
				}
				before = -1
				i, names = end, end
				continue
			}
		}
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

// endsName are the signs behind the name of a credential in a key, and partEnd those behind the credential.
var endsName, partEnd = bytesIn(":/|.=#"), bytesIn(":/|}")

func bytesIn(s string) (set [256]bool) {
	for i := range len(s) {
		set[s[i]] = true
	}
	return set
}

// secretEnd returns where the credential ends that begins at key[i]. Marks of redaction are passed over.
func secretEnd(key []byte, i int) int {
	for i < len(key) && !partEnd[key[i]] {
		if key[i] == redacted[0] {
			i += markLen(key[i:])
		}
		i++
	}
	return min(i, len(key))
}

// maxSecretName is how long the name of a credential is at most, in bytes without dashes and underscores. What is before
// that in a longer name says nothing.
const maxSecretName = 24

// secretParts are the names of credentials in keys, in lower case and without dashes and underscores. secretEndings are
// those that others end with, such as PHPREDIS_SESSION.
var (
	secretParts = set("pwd pass password1 password2 passwordconfirm passwordconfirmation otp totp otps otpcode mfacode credentials credential bearer jwt " +
		"csrf xsrf sess sid sessid codeverifier samlresponse connectionstring userpass apisign accesssign cardnumber ccnumber cardcvv cardcvc cvv cvv2 cvc " +
		"cvc2 securitycode auth xauth pin sig hmac signature256 xwsse xsentryauth xregistryauth xhoneycombteam xamznoidcdata requirepass masterauth primaryauth " +
		"authpass")
	secretEndings = byLast("session sessions password passwords passwd passphrase passcode secret secrets token tokens apikey apikeys secretkey privatekey " +
		"accesskey authkey masterkey sessionkey subscriptionkey functionskey applicationkey encryptioncustomerkey sessionid phpsessid signingkey encryptionkey " +
		"sharedkey accountkey licensekey signature authorization assertion connectionstring passwort kennwort accesssign keyfilepass")
)

// byLast returns words by their last byte.
func byLast(words string) (m [256][]string) {
	for _, w := range strings.Fields(words) {
		last := w[len(w)-1]
		m[last] = append(m[last], w)
	}
	return m
}

// SecretPart reports whether the part that ends a key, or the beginning of one, is the name of a credential, which is
// what follows it.
func SecretPart(key []byte) bool {
	var name [maxSecretName]byte
	from := len(name)
	for i := len(key) - 1; i >= 0 && from > 0; i-- {
		c := key[i]
		if c == '-' || c == '_' {
			continue
		}
		if !inPart(c) || c >= 0x80 {
			break
		}
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		from--
		name[from] = c
	}
	n := name[from:]
	if len(n) < len("sid") {
		return false
	}
	if secretParts[string(n)] {
		return true
	}
	for _, ending := range secretEndings[n[len(n)-1]] {
		if len(n) >= len(ending) && string(n[len(n)-len(ending):]) == ending {
			return true
		}
	}
	return false
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
