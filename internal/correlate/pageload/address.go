package pageload

import (
	"bytes"
	"hash/maphash"
	"net/url"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
)

// address is a URL without its scheme, which isn't known behind what ends TLS, in the form in which addresses are
// compared: the authority in lower case without the default ports, and the path with its query as sent.
type address struct {
	authority, target string
}

// addressOf returns that of a request; the authority is empty when it names no host.
func addressOf(x *exchange.Exchange) address {
	u := x.URL()
	authority := string(u.Host)
	if strings.Contains(authority, ":") {
		authority = "[" + authority + "]"
	}
	if len(u.Port) > 0 {
		authority += ":" + string(u.Port)
	}
	target := string(u.Path)
	if u.HasQuery {
		target += "?" + string(u.Query)
	}
	return address{normal(authority), rooted(target)}
}

// absolute takes apart a URL such as that of Referer. Browsers leave fragments out of it, so that a # belongs to the
// mark of something redacted.
func absolute(b []byte) (a address, ok bool) {
	scheme, rest, found := bytes.Cut(b, []byte("://"))
	if !found || !strings.EqualFold(string(scheme), "http") && !strings.EqualFold(string(scheme), "https") {
		return a, false
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	if at := bytes.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	return address{normal(string(authority)), rooted(string(rest[end:]))}, len(authority) > 0
}

// normal is an authority in lower case without the default ports.
func normal(authority string) string {
	authority = strings.ToLower(authority)
	for _, port := range [...]string{":80", ":443"} {
		if host, ok := strings.CutSuffix(authority, port); ok && (!strings.Contains(host, ":") || strings.HasSuffix(host, "]")) {
			return host
		}
	}
	return authority
}

func rooted(target string) string {
	if target == "" || target[0] != '/' && target[0] != '*' {
		return "/" + target
	}
	return target
}

// bare reports whether it is an origin alone, as Referrer-Policy cuts a Referer.
func (a *address) bare() bool { return a.target == "/" }

// resolve returns what a Location of an answer to a means; ok is false for what no browser would ask for by HTTP.
func (a *address) resolve(location []byte) (to address, ok bool) {
	text := string(location)
	// A # behind a space is within the mark of something redacted; such a URL is only understood in its plain forms.
	if strings.Contains(text, " #") {
		switch {
		case strings.HasPrefix(text, "//"):
			return absolute([]byte("http:" + text))
		case strings.HasPrefix(text, "/"):
			return address{a.authority, text}, true
		}
		return absolute(location)
	}
	base := &url.URL{Scheme: "http", Host: a.authority}
	if u, err := url.ParseRequestURI(a.target); err == nil {
		base.Path, base.RawPath, base.RawQuery = u.Path, u.RawPath, u.RawQuery
	}
	u, err := base.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return to, false
	}
	return address{normal(u.Host), u.RequestURI()}, true
}

// hasher makes the numbers by which addresses, clients and connections are compared and kept: texts of strangers
// would take as much room as these like.
type hasher maphash.Seed

func (h hasher) of(parts ...string) uint64 {
	var m maphash.Hash
	m.SetSeed(maphash.Seed(h))
	for _, p := range parts {
		_, _ = m.WriteString(p)
		_ = m.WriteByte(0)
	}
	return m.Sum64()
}

func (h hasher) address(a *address) uint64 { return h.of(a.authority, a.target) }

// kept is a text of which at most so many bytes are kept.
func kept(b []byte, most int) string {
	if len(b) <= most {
		return string(b)
	}
	return string(bytes.ToValidUTF8(b[:most], nil)) + "…"
}
