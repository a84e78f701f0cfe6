package redact

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// whole: the value is a secret.
func (r *Redactor) whole(v []byte) { r.add(v, 0, len(v), false) }

// credentials are a scheme and what follows it (RFC 9110 §11.4). The user name of Basic isn't kept:
// where the API key is the user name, it is the secret.
func (r *Redactor) credentials(v []byte) {
	if n := bytes.IndexAny(v, " \t\r\n"); n > 0 {
		for _, s := range schemes {
			if proto.EqualFold(v[:n], s) {
				for n < len(v) && v[n] <= ' ' {
					n++
				}
				r.add(v, n, len(v), false)
				return
			}
		}
	}
	r.whole(v)
}

// cookies are name=value pairs (RFC 6265 §4.2). Names stay.
func (r *Redactor) cookies(v []byte) {
	for i := 0; i < len(v); {
		end := next(v, i, len(v), &semicolon)
		r.cookie(v, i, end)
		i = end + 1
	}
}

// setCookie is a cookie with attributes (RFC 6265 §4.1), which stay.
func (r *Redactor) setCookie(v []byte) { r.cookie(v, 0, next(v, 0, len(v), &semicolon)) }

func (r *Redactor) cookie(v []byte, from, to int) {
	for from < to && v[from] <= ' ' {
		from++
	}
	for to > from && v[to-1] <= ' ' {
		to--
	}
	if n := bytes.IndexByte(v[from:to], '='); n >= 0 {
		from += n + 1
	}
	r.add(v, from, to, false)
}

// delimiters is a set of bytes.
type delimiters [256]bool

func newDelimiters(s string) (d delimiters) {
	for i := range len(s) {
		d[s[i]] = true
	}
	return d
}

// The delimiters of cookies, of the authority of a URL, and of parameters. A name begins after any
// byte that some server takes for a separator, but a secret ends only at one that all servers do.
var (
	semicolon    = newDelimiters(";")
	authorityEnd = newDelimiters("/?#")
	pathEnd      = newDelimiters("?#")
	pathNames    = newDelimiters("/;")
	queryNames   = newDelimiters("&;?#")
	queryEnd     = newDelimiters("&")
	embeddedEnd  = newDelimiters("& \t<>\"")
)

// next returns the index of the first delimiter in v[i:end], or end. It doesn't look into marks.
func next(v []byte, i, end int, d *delimiters) int {
	for i < end {
		c := v[i]
		if d[c] {
			return i
		}
		if c == markStart[0] {
			if n := markLen(v[i:end]); n > 0 {
				i += n
				continue
			}
		}
		i++
	}
	return end
}

// url is a URL or a part of one: user information, parameters of the path, query and fragment.
func (r *Redactor) url(v []byte) { r.parts(v, &queryEnd) }

// embeddedURL is a URL with other text around it.
func (r *Redactor) embeddedURL(v []byte) { r.parts(v, &embeddedEnd) }

func (r *Redactor) parts(v []byte, secretEnd *delimiters) {
	query := len(v)
	if bytes.IndexByte(v, '?') >= 0 || bytes.IndexByte(v, '#') >= 0 {
		query = next(v, 0, len(v), &pathEnd)
	}
	path := r.userInfo(v, query)
	if bytes.IndexByte(v[path:query], '=') >= 0 || containsToken(v[path:query]) {
		r.parameters(v, path, query, &pathNames, &pathNames)
	}
	if query < len(v) {
		r.parameters(v, query+1, len(v), &queryNames, secretEnd)
	}
}

// userInfo adds the user information of a URL (RFC 3986 §3.2.1), which ends before to, and returns
// where its path begins at the earliest.
func (r *Redactor) userInfo(v []byte, to int) int {
	start := bytes.Index(v[:to], []byte("//"))
	switch {
	case start == 0, start > 0 && v[0] != '/' && v[start-1] == ':':
		start += len("//")
	case start < 0 && to > 0 && v[0] != '/':
		start = 0 // authority-form, as for CONNECT
	default:
		return 0
	}
	end := next(v, start, to, &authorityEnd)
	at := bytes.LastIndexByte(v[start:end], '@')
	if at < 0 {
		return start
	}
	r.add(v, start, start+at, false)
	return start + at + 1
}

// parameters are name=value pairs, from one of the delimiters names to the next. The secret ones end
// at one of ends.
func (r *Redactor) parameters(v []byte, i, to int, names, ends *delimiters) {
	for i < to {
		end := next(v, i, to, names)
		if eq := bytes.IndexByte(v[i:end], '='); eq >= 0 {
			name := v[i : i+eq]
			r.text(v, i, i+eq, true)
			i += eq + 1
			secretEnd := next(v, i, to, ends)
			if shortest := r.parameter(name); shortest > 0 && secretEnd-i >= shortest {
				r.add(v, i, secretEnd, false)
				i = secretEnd + 1
				continue
			}
		}
		r.text(v, i, end, true)
		i = end + 1
	}
}

// tokens finds JSON web tokens only.
func (r *Redactor) tokens(v []byte) { r.text(v, 0, len(v), false) }

// tokenStart is what JSON web tokens begin with: {" in base 64.
var tokenStart = []byte("eyJ")

// containsToken reports whether tokenStart is in b. It looks for the J, the rarest letter of English.
func containsToken(b []byte) bool {
	for {
		i := bytes.IndexByte(b, 'J')
		if i < 0 {
			return false
		}
		if bytes.HasSuffix(b[:i+1], tokenStart) {
			return true
		}
		b = b[i+1:]
	}
}

// text finds secrets by their look: JSON web tokens, and card numbers if cards is set.
func (r *Redactor) text(v []byte, i, to int, cards bool) {
	fresh := true // no letter or digit stands before v[i]
	noToken := i  // no token begins before this
	for i < to {
		c := v[i]
		n := 1
		switch {
		case c == 'e' && i >= noToken && bytes.HasPrefix(v[i:to], tokenStart):
			length, isToken := tokenLen(v[i:to])
			noToken = i + length
			if isToken {
				r.add(v, i, noToken, false)
				n = length
			}
			fresh = false
		case isDigit(c):
			if cards && fresh {
				if length := cardLen(v[i:to]); length > 0 {
					r.add(v, i, i+length, false)
					n = length
				}
			}
			fresh = false
		case c == '%':
			n = max(separatorLen(v[i:to]), 1)
			fresh = true
		default:
			fresh = c != '.' && !isAlphanumeric(c)
		}
		i += n
	}
}

// tokenLen returns the length of what begins b and may be a JSON web token (RFC 7519 §3), and whether
// it is one: three or more parts with dots between them, unless its end was cut off. When it isn't,
// no token begins within it.
func tokenLen(b []byte) (length int, isToken bool) {
	dots := 0
	for i, c := range b {
		switch {
		case c == '.':
			dots++
		case c != '-' && c != '_' && !isAlphanumeric(c):
			return i, dots >= 2
		}
	}
	return len(b), dots >= 1
}

func isAlphanumeric(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z'
}
