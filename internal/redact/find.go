package redact

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// whole: the value is a secret.
func (r *Redactor) whole(v []byte) { r.add(v, 0, len(v)) }

// credentials are a scheme and what follows it (RFC 9110 §11.4). The user name of Basic isn't kept:
// where the API key is the user name, it is the secret.
func (r *Redactor) credentials(v []byte) {
	if n := bytes.IndexAny(v, " \t\r\n"); n > 0 {
		for _, s := range schemes {
			if proto.EqualFold(v[:n], s) {
				for n < len(v) && v[n] <= ' ' {
					n++
				}
				r.add(v, n, len(v))
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
		name := v[from : from+n]
		from += n + 1
		if r.names.keepsCookie(name) {
			r.text(v, from, to, cards)
			return
		}
	}
	r.add(v, from, to)
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

	// Within other text.
	freeNames     = newDelimiters(" \t\r\n&;?#,\"'`(){}|<>")
	freeEnd       = newDelimiters(" \t\r\n&\"'")
	freeAuthority = newDelimiters(" \t\r\n/?#\"'")
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
	r.path(v, path, query)
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
	r.add(v, start, start+at)
	return start + at + 1
}

// authority is a host with what may stand before it: user information, which only a malformed one has (RFC 9113 §8.3.1).
func (r *Redactor) authority(v []byte) {
	if at := bytes.LastIndexByte(v, '@'); at > 0 {
		r.add(v, 0, at)
	}
}

// percentText is text that is percent-encoded, as gRPC sends what it says of a status.
func (r *Redactor) percentText(v []byte) { r.inView(v, 0, len(v), (*view).unescapePercent) }

// parameters are name=value pairs, from one of the delimiters names to the next. The secret ones end
// at one of ends.
func (r *Redactor) parameters(v []byte, i, to int, names, ends *delimiters) {
	for i < to {
		end := next(v, i, to, names)
		if eq := bytes.IndexByte(v[i:end], '='); eq >= 0 {
			name := v[i : i+eq]
			r.text(v, i, i+eq, cards)
			i += eq + 1
			secretEnd := next(v, i, to, ends)
			if shortest := r.parameter(name); shortest > 0 && secretEnd-i >= shortest {
				r.add(v, i, secretEnd)
				i = secretEnd + 1
				continue
			}
		}
		if card, length := cardAcross(v, i, end, to); length > 0 {
			r.nestedValue(v, i, card)
			r.add(v, card, card+length)
			i = card + length
			continue
		}
		r.nestedValue(v, i, end)
		i = end + 1
	}
}

// free is text in which URLs and parameters may stand: it finds user information, parameters, and what looks
// like a secret.
func (r *Redactor) free(v []byte, i, to int) {
	for {
		start := bytes.Index(v[i:to], []byte("://"))
		if start < 0 {
			r.parameters(v, i, to, &freeNames, &freeEnd)
			return
		}
		r.parameters(v, i, i+start, &freeNames, &freeEnd)
		i += start + len("://")
		if at := bytes.LastIndexByte(v[i:next(v, i, to, &freeAuthority)], '@'); at >= 0 {
			r.add(v, i, i+at)
			i += at + 1
		}
	}
}

// within calls a finder on v[from:to].
func (r *Redactor) within(v []byte, from, to int, find finder) {
	n := len(r.spans)
	if n >= MaxSecrets {
		r.add(v, from, to)
		return
	}
	find(r, v[from:to])
	for i := n; i < len(r.spans); i++ {
		r.spans[i].from += from
		r.spans[i].to += from
	}
}

// fieldText is the value of a header whose name says nothing.
func (r *Redactor) fieldText(v []byte) { r.text(v, 0, len(v), plainCards) }

// cardLook says what passes for a card number.
type cardLook uint8

const (
	// cards: what is long enough, with the prefix and the check digit of one.
	cards cardLook = iota
	// plainCards: only of the usual lengths, and not within groups of letters and digits with dashes between
	// them: headers hold the ids of requests and traces, which must stay what they are.
	plainCards
)

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

// text finds secrets by their look: JSON web tokens, private keys and card numbers.
func (r *Redactor) text(v []byte, i, to int, look cardLook) {
	first := i
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
				r.add(v, i, noToken)
				n = length
			}
			fresh = false
		case isDigit(c):
			if fresh {
				if length := cardLen(v[i:to]); length > 0 && (look == cards || isPlainCard(v[first:to], i-first, length)) {
					r.add(v, i, i+length)
					n = length
				}
			}
			fresh = false
		case c == '-' && bytes.HasPrefix(v[i:to], privateKeyStart):
			if length := privateKeyLen(v[i:to]); length > 0 {
				r.add(v, i, i+length)
				n = length
			}
			fresh = true
		case c == '%':
			n = max(separatorLen(v[i:to]), 1)
			fresh = true
		default:
			fresh = c != '.' && !isAlphanumeric(c)
		}
		i += n
	}
}

// privateKeyStart is what private keys begin with, among others (RFC 7468 §2).
var privateKeyStart = []byte("-----BEGIN")

// privateKeyLen returns the length of the private key that b begins with, 0 when there is none: up to its end
// line, or to the end of b where that is cut off.
func privateKeyLen(b []byte) int {
	const maxLabel = 64
	label := b[len(privateKeyStart):min(len(b), maxLabel)]
	if n := bytes.Index(label, []byte("-----")); n >= 0 {
		label = label[:n]
	}
	if !bytes.Contains(label, []byte("PRIVATE")) {
		return 0
	}
	end := bytes.Index(b, []byte("-----END"))
	if end < 0 {
		return len(b)
	}
	end += len("-----END")
	if n := bytes.Index(b[end:], []byte("-----")); n >= 0 && n < maxLabel {
		end += n + len("-----")
	}
	return end
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

// subprotocols are those of a WebSocket, of which Kubernetes takes one for a credential.
func (r *Redactor) subprotocols(v []byte) {
	const bearer = "base64url.bearer.authorization.k8s.io."
	for i := 0; i < len(v); {
		end := next(v, i, len(v), &listEnd)
		if bytes.HasPrefix(v[i:end], []byte(bearer)) {
			r.add(v, i+len(bearer), end)
		} else {
			r.text(v, i, end, cards)
		}
		i = end + 1
	}
}

// listEnd are the delimiters of the elements of a list in a header.
var listEnd = newDelimiters(", \t")
