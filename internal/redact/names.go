package redact

import (
	"bytes"
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/proto"
)

// headerFinder finds the secrets in the values of one header.
type headerFinder struct {
	name string
	find finder
}

// headers are the headers of which only a part is secret, or may be.
var headers = []headerFinder{
	{"authorization", (*Redactor).credentials},
	{"proxy-authorization", (*Redactor).credentials},
	{"x-authorization", (*Redactor).credentials},
	{"x-forwarded-authorization", (*Redactor).credentials},
	{"x-original-authorization", (*Redactor).credentials},
	{"authentication", (*Redactor).credentials},
	{"sec-websocket-protocol", (*Redactor).subprotocols},
	{"cookie", (*Redactor).cookies},
	{"cookie2", (*Redactor).cookies},
	{"set-cookie", (*Redactor).setCookie},
	{"set-cookie2", (*Redactor).setCookie},
	{"referer", (*Redactor).url},
	{"location", (*Redactor).url},
	{"content-location", (*Redactor).url},
	{"destination", (*Redactor).url},
	{"x-original-url", (*Redactor).url},
	{"x-original-uri", (*Redactor).url},
	{"x-rewrite-url", (*Redactor).url},
	{"x-forwarded-uri", (*Redactor).url},
	{"x-forwarded-url", (*Redactor).url},
	{"x-original-path", (*Redactor).url},
	{"x-envoy-original-path", (*Redactor).url},
	{"x-replaced-path", (*Redactor).url},
	{"x-forwarded-path", (*Redactor).url},
	{"x-accel-redirect", (*Redactor).url},
	{"hx-current-url", (*Redactor).url},
	{"hx-redirect", (*Redactor).url},
	{"hx-push-url", (*Redactor).url},
	{"hx-replace-url", (*Redactor).url},
	{":path", (*Redactor).url},
	{":authority", (*Redactor).authority},
	{"host", (*Redactor).authority},
	{"grpc-message", (*Redactor).percentText},
	{"link", (*Redactor).embeddedURL},
	{"refresh", (*Redactor).embeddedURL},
}

// schemes are the authentication schemes that are shown (IANA's registry, and others in use). What
// another value begins with may be the secret itself.
var schemes = []string{
	"basic", "bearer", "digest", "negotiate", "ntlm", "dpop", "gnap", "hoba", "mutual", "oauth", "privatetoken",
	"scram-sha-1", "scram-sha-256", "vapid", "aws4-hmac-sha256", "aws", "token", "apikey", "api-key", "key", "sharedkey",
	"sharedkeylite", "sharedaccesssignature", "hawk", "jwt", "signature", "hmac", "googlelogin", "goog4-rsa-sha256", "splunk",
}

// secretNames are the names whose values are secret: of headers, query parameters, form fields and
// JSON members. They are in plain form: lower case, without - and _. Where they contradict each other,
// the first counts.
var secretNames = []secretName{
	// These have a secret ending, and aren't secret: they page through results.
	{"pagetoken", 0, false, builtIn}, {"nextpagetoken", 0, false, builtIn}, {"prevpagetoken", 0, false, builtIn}, {"previouspagetoken", 0, false, builtIn},
	{"nexttoken", 0, false, builtIn}, {"continuationtoken", 0, true, builtIn}, {"synctoken", 0, false, builtIn}, {"cancellationtoken", 0, false, builtIn},

	// X-Vault-Token, newPassword, client_secret.
	{"password", 1, true, builtIn}, {"passwd", 1, true, builtIn}, {"passphrase", 1, true, builtIn}, {"passcode", 1, true, builtIn}, {"secret", 1, true, builtIn},
	{"token", 1, true, builtIn}, {"apikey", 1, true, builtIn}, {"secretkey", 1, true, builtIn}, {"privatekey", 1, true, builtIn}, {"accesskey", 1, true, builtIn},
	{"authkey", 1, true, builtIn}, {"masterkey", 1, true, builtIn}, {"sessionkey", 1, true, builtIn}, {"subscriptionkey", 1, true, builtIn},
	{"functionskey", 1, true, builtIn}, {"applicationkey", 1, true, builtIn}, {"encryptioncustomerkey", 1, true, builtIn}, {"sessionid", 1, true, builtIn},
	{"signingkey", 1, true, builtIn}, {"encryptionkey", 1, true, builtIn}, {"sharedkey", 1, true, builtIn}, {"accountkey", 1, true, builtIn},
	{"licensekey", 1, true, builtIn}, {"signature", 1, true, builtIn}, {"signature256", 1, true, builtIn}, {"authorization", 1, true, builtIn}, {"assertion", 1, true, builtIn},

	{"pwd", 1, false, builtIn}, {"pass", 1, false, builtIn}, {"password1", 1, false, builtIn}, {"password2", 1, false, builtIn}, {"passwordconfirm", 1, false, builtIn},
	{"passwordconfirmation", 1, false, builtIn}, {"otp", 1, false, builtIn}, {"totp", 1, false, builtIn}, {"otpcode", 1, false, builtIn}, {"mfacode", 1, false, builtIn},
	{"credentials", 1, false, builtIn}, {"bearer", 1, false, builtIn}, {"jwt", 1, false, builtIn}, {"csrf", 1, false, builtIn}, {"xsrf", 1, false, builtIn},
	{"sessid", 1, false, builtIn}, {"phpsessid", 1, false, builtIn}, {"codeverifier", 1, false, builtIn}, {"samlresponse", 1, false, builtIn},
	{"connectionstring", 1, true, builtIn}, {"userpass", 1, false, builtIn}, {"passwort", 1, true, builtIn}, {"kennwort", 1, true, builtIn},
	{"xwsse", 1, false, builtIn}, {"xsentryauth", 1, false, builtIn}, {"apisign", 1, false, builtIn}, {"accesssign", 1, true, builtIn},
	{"xregistryauth", 1, false, builtIn}, {"xhoneycombteam", 1, false, builtIn}, {"xamznoidcdata", 1, false, builtIn},
	{"cardnumber", 1, false, builtIn}, {"ccnumber", 1, false, builtIn}, {"cardcvv", 1, false, builtIn}, {"cardcvc", 1, false, builtIn}, {"cvv", 1, false, builtIn}, {"cvv2", 1, false, builtIn}, {"cvc", 1, false, builtIn}, {"cvc2", 1, false, builtIn},
	{"securitycode", 1, false, builtIn}, {"requirepass", 1, false, builtIn}, {"masterauth", 1, false, builtIn}, {"primaryauth", 1, false, builtIn}, {"authpass", 1, false, builtIn},
	{"keyfilepass", 1, true, builtIn},

	// These mostly mean harmless things when their values are short.
	{"pin", 4, false, builtIn}, {"xauth", 8, false, builtIn}, {"auth", 8, false, builtIn}, {"session", 8, false, builtIn}, {"sid", 8, false, builtIn}, {"sig", 8, false, builtIn}, {"hmac", 8, false, builtIn},
	{"code", 16, false, builtIn}, {"key", 16, false, builtIn},
}

type secretName struct {
	name string
	// min is the length in bytes from which a value is secret, 0: none is.
	min int
	// ending: names that end with it count too.
	ending bool
	origin origin
}

// origin says where a name comes from.
type origin uint8

const (
	builtIn origin = iota
	// named and kept are from the rules of the user.
	named
	kept
)

// is reports whether b is the name, or has its ending, if that is enough.
func (s *secretName) is(b []byte) bool {
	i := len(s.name)
	if len(b) < i {
		return false
	}
	for n := len(b) - 1; n >= 0; n-- {
		c := b[n]
		switch {
		case isSeparator(c):
			continue
		case i == 0:
			return s.ending
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		if i--; c != s.name[i] {
			return false
		}
	}
	return i == 0
}

// isSeparator: it may stand within a name, and isn't in the plain form.
func isSeparator(c byte) bool { return c == '-' || c == '_' || c <= ' ' }

// names finds out quickly that a name is harmless.
type names struct {
	// headers are the headers table, as far as the rules agree.
	headers []headerFinder
	// last holds, by the length of a name, a bit for each last letter of the headers table.
	last [32]uint32
	// groups are the secret names with one endHash, and group the index of a
	// hash's group; group 0 is empty.
	groups [][]secretName
	group  [1 << hashBits]uint16
	// cookies are the names of the cookies that are shown.
	cookies []secretName
}

const hashBits = 10

// vocabulary is the names of the user's rules: in front of the table of secret names, and of cookies.
type vocabulary struct{ names, cookies []secretName }

func newNames(v *vocabulary) names {
	n := names{groups: make([][]secretName, 1), cookies: v.cookies}
	for _, list := range [][]secretName{v.names, secretNames} {
		for _, s := range list {
			g := &n.group[endHash([]byte(s.name))]
			if *g == 0 {
				*g = uint16(len(n.groups))
				n.groups = append(n.groups, nil)
			}
			n.groups[*g] = append(n.groups[*g], s)
		}
	}
	for _, h := range headers {
		switch s := n.lookup([]byte(h.name)); {
		case s != nil && s.origin == kept:
			continue
		case s != nil && s.origin == named:
			h.find = (*Redactor).whole
		}
		n.headers = append(n.headers, h)
		n.last[len(h.name)] |= 1 << (h.name[len(h.name)-1] & 31)
	}
	return n
}

// keepsCookie reports whether a cookie's value is shown.
func (n *names) keepsCookie(name []byte) bool {
	for i := range n.cookies {
		if n.cookies[i].is(name) {
			return true
		}
	}
	return false
}

// endHash returns a hash of the last four letters of the plain form of a name.
func endHash(name []byte) uint32 {
	const fold, letters, underscores = 0x1f1f1f1f, 0x40404040, 0x1f1f1f1f
	if n := len(name); n >= 4 {
		// Four letters at once, unless one of them is a digit or a separator. An underscore has the
		// letters' bit, and is found as the zero byte that it becomes.
		x := binary.LittleEndian.Uint32(name[n-4:])
		zero := x&fold ^ underscores
		if x&letters == letters && (zero-0x01010101)&^zero&0x80808080 == 0 {
			return hash32(x & fold)
		}
	}
	x := uint32(0)
	for i, shift := len(name)-1, 24; i >= 0 && shift >= 0; i-- {
		if c := name[i]; !isSeparator(c) {
			x |= uint32(c&31) << shift
			shift -= 8
		}
	}
	return hash32(x)
}

func hash32(x uint32) uint32 { return x * 0x9E3779B1 >> (32 - hashBits) }

// header returns what finds the secrets in the values of a header, or nil when they hold none.
func (n *names) header(name []byte) finder {
	for len(name) > 0 && name[len(name)-1] <= ' ' {
		name = name[:len(name)-1] // Authorization : is still Authorization to some servers
	}
	if len(name) == 0 {
		return nil
	}
	if len(name) < len(n.last) && n.last[len(name)]>>(name[len(name)-1]&31)&1 != 0 {
		for i := range n.headers {
			if h := &n.headers[i]; proto.EqualFold(name, h.name) {
				return h.find
			}
		}
	}
	if n.minimum(name) > 0 {
		return (*Redactor).whole
	}
	return nil
}

// minimum returns the length from which a value of that name is secret, 0 when none is.
func (n *names) minimum(name []byte) int {
	if s := n.lookup(name); s != nil {
		return s.min
	}
	return 0
}

// lookup returns the first entry for a name, nil when there is none.
func (n *names) lookup(name []byte) *secretName {
	g := n.group[endHash(name)]
	if g == 0 {
		return nil
	}
	for i := range n.groups[g] {
		if s := &n.groups[g][i]; s.is(name) {
			return s
		}
	}
	return nil
}

// parameter is minimum for names that may have a path: of user[password] and user.password, password
// counts, and of token[] and token[0], token.
func (r *Redactor) parameter(name []byte) int {
	if bytes.IndexByte(name, '%') >= 0 {
		r.name = appendUnescaped(r.name[:0], name)
		name = r.name
	}
	for bytes.HasSuffix(name, []byte("]")) {
		open := bytes.LastIndexByte(name, '[')
		if open < 0 || len(bytes.Trim(name[open+1:len(name)-1], "0123456789")) > 0 {
			break
		}
		name = name[:open]
	}
	name = bytes.TrimSuffix(name, []byte("]"))
	return r.names.minimum(name[bytes.LastIndexAny(name, "[.")+1:])
}

// appendUnescaped appends b with its percent-encoding undone (RFC 3986 §2.1), where it is valid.
func appendUnescaped(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' && i+2 < len(b) {
			if hi, lo := unhex(b[i+1]), unhex(b[i+2]); hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// unhex returns the value of a hexadecimal digit, 16 for other bytes.
func unhex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}
