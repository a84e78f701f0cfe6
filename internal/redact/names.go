package redact

import (
	"bytes"

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
// JSON members. They are written in plain form: lower case, without - and _. min is the length from
// which a value counts, for names that mostly mean harmless things.
var secretNames = []struct {
	name string
	min  int
}{
	{"pwd", 1}, {"pass", 1}, {"pin", 4}, {"otp", 1}, {"totp", 1}, {"mfacode", 1}, {"otpcode", 1}, {"passwordconfirmation", 1},
	{"passwordconfirm", 1}, {"password1", 1}, {"password2", 1}, {"auth", 8}, {"credentials", 1}, {"bearer", 1}, {"jwt", 1},
	{"session", 8}, {"sid", 8}, {"sessid", 1}, {"phpsessid", 1}, {"csrf", 1}, {"xsrf", 1}, {"sig", 8}, {"hmac", 8},
	{"code", 16}, {"codeverifier", 1}, {"key", 16}, {"assertion", 1}, {"clientassertion", 1}, {"samlresponse", 1},
	{"xregistryauth", 1}, {"xhoneycombteam", 1}, {"xamznoidcdata", 1}, {"xamzserversideencryptioncustomerkey", 1},
	{"cardnumber", 1}, {"ccnumber", 1}, {"cvv", 1}, {"cvv2", 1}, {"cvc", 1}, {"securitycode", 1},
}

// secretEndings are the ends of names whose values are secret: X-Vault-Token, newPassword, client_secret.
var secretEndings = []string{
	"password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "secretkey", "privatekey", "accesskey",
	"authkey", "masterkey", "sessionkey", "subscriptionkey", "functionskey", "applicationkey", "sessionid", "signature",
	"authorization",
}

// publicNames have such an end, and aren't secret: they page through results.
var publicNames = []string{
	"pagetoken", "nextpagetoken", "prevpagetoken", "previouspagetoken", "nexttoken", "continuationtoken", "synctoken",
	"cancellationtoken",
}

// maxName is the longest name that is looked at, in bytes; what is longer isn't a name.
const maxName = 256

// names finds out quickly that a name is harmless.
type names struct {
	// first holds, by the length of a name, a bit for each first letter of the headers table.
	first [32]uint32
	// ends holds a bit for the last two letters of each secret name and ending.
	ends [16]uint64
	// shortest are the lengths of the shortest values of secret names; 0 for public names.
	shortest map[string]int
}

func newNames() names {
	n := names{shortest: make(map[string]int)}
	for _, h := range headers {
		n.first[len(h.name)] |= 1 << (h.name[0] & 31)
	}
	for _, s := range secretNames {
		n.shortest[s.name] = s.min
		n.addEnd(s.name)
	}
	for _, s := range secretEndings {
		n.addEnd(s)
	}
	for _, s := range publicNames {
		n.shortest[s] = 0
	}
	return n
}

// endBit returns the index of the bit in ends, the same for either case of letters.
func endBit[T string | []byte](name T) int {
	return int(name[len(name)-2]&31)<<5 | int(name[len(name)-1]&31)
}

func (n *names) addEnd(name string) {
	bit := endBit(name)
	n.ends[bit>>6] |= 1 << (bit & 63)
}

// header returns what finds the secrets in the values of a header, or nil when they hold none.
func (n *names) header(name []byte) finder {
	for len(name) > 0 && name[len(name)-1] <= ' ' {
		name = name[:len(name)-1] // Authorization : is still Authorization to some servers
	}
	if len(name) < 2 {
		return nil
	}
	if len(name) < len(n.first) && n.first[len(name)]>>(name[0]&31)&1 != 0 {
		for i := range headers {
			if h := &headers[i]; proto.EqualFold(name, h.name) {
				return h.find
			}
		}
	}
	if bit := endBit(name); n.ends[bit>>6]>>(bit&63)&1 != 0 && n.minimum(name) > 0 {
		return (*Redactor).whole
	}
	return nil
}

// minimum returns the length from which a value of that name is secret, 0 when none is.
func (n *names) minimum(name []byte) int {
	if len(name) > maxName {
		return 0
	}
	var buf [maxName]byte
	plain := buf[:0]
	for _, c := range name {
		switch {
		case 'A' <= c && c <= 'Z':
			plain = append(plain, c|0x20)
		case c > ' ' && c != '-' && c != '_':
			plain = append(plain, c)
		}
	}
	if shortest, ok := n.shortest[string(plain)]; ok {
		return shortest
	}
	for _, end := range secretEndings {
		if len(plain) >= len(end) && string(plain[len(plain)-len(end):]) == end {
			return 1
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
