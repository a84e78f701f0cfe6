package redact

import (
	"bytes"
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/proto"
)

// headers are the headers of which only a part is secret, or may be.
var headers = []struct {
	name string
	find finder
}{
	{"authorization", (*Redactor).credentials},
	{"proxy-authorization", (*Redactor).credentials},
	{"x-authorization", (*Redactor).credentials},
	{"x-forwarded-authorization", (*Redactor).credentials},
	{"x-original-authorization", (*Redactor).credentials},
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
	{"pagetoken", 0, false}, {"nextpagetoken", 0, false}, {"prevpagetoken", 0, false}, {"previouspagetoken", 0, false},
	{"nexttoken", 0, false}, {"continuationtoken", 0, false}, {"synctoken", 0, false}, {"cancellationtoken", 0, false},

	// X-Vault-Token, newPassword, client_secret.
	{"password", 1, true}, {"passwd", 1, true}, {"passphrase", 1, true}, {"passcode", 1, true}, {"secret", 1, true},
	{"token", 1, true}, {"apikey", 1, true}, {"secretkey", 1, true}, {"privatekey", 1, true}, {"accesskey", 1, true},
	{"authkey", 1, true}, {"masterkey", 1, true}, {"sessionkey", 1, true}, {"subscriptionkey", 1, true},
	{"functionskey", 1, true}, {"applicationkey", 1, true}, {"encryptioncustomerkey", 1, true}, {"sessionid", 1, true},
	{"signature", 1, true}, {"authorization", 1, true}, {"assertion", 1, true},

	{"pwd", 1, false}, {"pass", 1, false}, {"password1", 1, false}, {"password2", 1, false}, {"passwordconfirm", 1, false},
	{"passwordconfirmation", 1, false}, {"otp", 1, false}, {"totp", 1, false}, {"otpcode", 1, false}, {"mfacode", 1, false},
	{"credentials", 1, false}, {"bearer", 1, false}, {"jwt", 1, false}, {"csrf", 1, false}, {"xsrf", 1, false},
	{"sessid", 1, false}, {"phpsessid", 1, false}, {"codeverifier", 1, false}, {"samlresponse", 1, false},
	{"xregistryauth", 1, false}, {"xhoneycombteam", 1, false}, {"xamznoidcdata", 1, false},
	{"cardnumber", 1, false}, {"ccnumber", 1, false}, {"cvv", 1, false}, {"cvv2", 1, false}, {"cvc", 1, false},
	{"securitycode", 1, false},

	// These mostly mean harmless things when their values are short.
	{"pin", 4, false}, {"auth", 8, false}, {"session", 8, false}, {"sid", 8, false}, {"sig", 8, false}, {"hmac", 8, false},
	{"code", 16, false}, {"key", 16, false},
}

type secretName struct {
	name string
	// min is the length in bytes from which a value is secret, 0: none is.
	min int
	// ending: names that end with it count too.
	ending bool
}

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
	// last holds, by the length of a name, a bit for each last letter of the headers table.
	last [32]uint32
	// groups are the secret names with one endHash, and group the index of a
	// hash's group; group 0 is empty.
	groups [][]secretName
	group  [1 << hashBits]uint8
}

const hashBits = 10

func newNames() names {
	n := names{groups: make([][]secretName, 1)}
	for _, h := range headers {
		n.last[len(h.name)] |= 1 << (h.name[len(h.name)-1] & 31)
	}
	for _, s := range secretNames {
		g := &n.group[endHash([]byte(s.name))]
		if *g == 0 {
			*g = uint8(len(n.groups))
			n.groups = append(n.groups, nil)
		}
		n.groups[*g] = append(n.groups[*g], s)
	}
	return n
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
		for i := range headers {
			if h := &headers[i]; proto.EqualFold(name, h.name) {
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
	g := n.group[endHash(name)]
	if g == 0 {
		return 0
	}
	for i := range n.groups[g] {
		if s := &n.groups[g][i]; s.is(name) {
			return s.min
		}
	}
	return 0
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
