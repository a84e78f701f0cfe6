package exchange

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// URL is the parts of a request's target and Host, as sent: nothing is decoded. Parts that aren't
// there are empty.
type URL struct {
	Scheme, Host, Port, Path, Query []byte
	// HasQuery tells an empty query from none.
	HasQuery bool
}

// URL takes apart the request target (RFC 9112 §3.2) and, where the target names no host, the Host
// header, or the pseudo-headers of HTTP/2 (RFC 9113 §8.3.1).
func (x *Exchange) URL() (u URL) {
	if !x.HasRequest {
		return u
	}
	m := &x.Request
	t := m.Bytes(m.Target)
	authority := m.Field("host")
	if m.Version == 0x0200 {
		if a := m.Field(":authority"); len(a) > 0 {
			authority = a
		}
		u.Scheme = m.Field(":scheme")
	}
	switch i := bytes.Index(t, []byte("://")); {
	case proto.EqualFold(m.Bytes(m.Method), "connect") && m.Field(":protocol") == nil:
		authority, t = t, nil
	case i > 0 && t[0] != '/' && isScheme(t[:i]):
		u.Scheme, t = t[:i], t[i+3:]
		end := bytes.IndexAny(t, "/?")
		if end < 0 {
			end = len(t)
		}
		authority, t = t[:end], t[end:]
	}
	if at := bytes.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:] // user information
	}
	if q := bytes.IndexByte(t, '?'); q >= 0 {
		u.Path, u.Query, u.HasQuery = t[:q], t[q+1:], true
	} else {
		u.Path = t
	}
	u.Host, u.Port = splitAuthority(authority)
	return u
}

func isScheme(b []byte) bool {
	for _, c := range b {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if c < '+' || c > '9' || c == '/' || c == ',' {
				return false
			}
		}
	}
	return true
}

// splitAuthority splits "host:port". IPv6 literals lose their brackets; one without them has no port.
func splitAuthority(a []byte) (host, port []byte) {
	if len(a) > 0 && a[0] == '[' {
		if end := bytes.IndexByte(a, ']'); end > 0 {
			host = a[1:end]
			if end+1 < len(a) && a[end+1] == ':' {
				port = a[end+2:]
			}
			return host, port
		}
	}
	if c := bytes.LastIndexByte(a, ':'); c >= 0 && c == bytes.IndexByte(a, ':') {
		return a[:c], a[c+1:]
	}
	return a, nil
}
