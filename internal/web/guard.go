package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// guard says who may ask. A page of another site that runs in the user's browser can send requests here, too, so
// that listening on the loopback protects from nothing. Three things do:
//
//   - the token, which only who started the program knows;
//   - Host: a name that an attacker points to 127.0.0.1 (DNS rebinding) isn't one of ours;
//   - Origin and Sec-Fetch-Site, which browsers set and pages can't: nothing but a link followed by the user may
//     come from another site. Another port of this host is another site here.
type guard struct {
	// token is the digest of the token, so that the comparison takes the same time for texts of any length.
	token [sha256.Size]byte
	plain string
	hosts map[string]bool
}

func newGuard(token string, hosts []string) (guard, error) {
	g := guard{token: sha256.Sum256([]byte(token)), plain: token, hosts: map[string]bool{}}
	if len(token) < MinToken {
		return g, fmt.Errorf("the token has %d characters, and %d are needed", len(token), MinToken)
	}
	for _, c := range token {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return g, errors.New("the token may have letters, digits, - and _ only, so that it can stand in a URL and a cookie")
		}
	}
	for _, h := range hosts {
		name, ok := hostName(h)
		if _, port := splitHost(h); !ok || port != "" {
			return g, fmt.Errorf("%q is no name of a host; write it without scheme, port and path", h)
		}
		g.hosts[name] = true
	}
	return g, nil
}

// splitHost splits the port from a host, if there is one. Addresses keep their brackets.
func splitHost(s string) (host, port string) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, "" // an address of IPv6 without brackets
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.IndexByte(s[i:], ']') < 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// hostName gives the name or address of a Host header in its canonical form, without its port.
func hostName(s string) (name string, ok bool) {
	host, port := splitHost(s)
	if strings.Trim(port, "0123456789") != "" || len(host) > 255 {
		return "", false
	}
	if inner, bracket := strings.CutPrefix(host, "["); bracket {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			return "", false
		}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String(), true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, c := range host {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' && c != '_' && c != '.' {
			return "", false
		}
	}
	return host, host != ""
}

// local reports whether this server may be asked for by that Host.
func (g *guard) local(host string) bool {
	name, ok := hostName(host)
	if !ok {
		return false
	}
	if a, err := netip.ParseAddr(name); err == nil && a.IsLoopback() {
		return true
	}
	return name == "localhost" || g.hosts[name]
}

// place says whether a request comes from a place that may ask at all.
func (g *guard) place(r *http.Request) error {
	if !g.local(r.Host) {
		return problems.host.of("this server isn't %s; ask for localhost, or start culprit serve with --allow-host and that name", clip(r.Host))
	}
	if origins := r.Header.Values("Origin"); len(origins) > 0 {
		u, err := url.Parse(origins[0])
		if len(origins) > 1 || err != nil || u.Scheme != "http" && u.Scheme != "https" || !strings.EqualFold(u.Host, r.Host) {
			return problems.origin.of("a page of %s asks; only pages of this server may", clip(origins[0]))
		}
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
		return nil
	default:
		if !navigation(r) {
			return problems.origin.of("a page of another site asks (%s); only pages of this server may", clip(site))
		}
	}
	return nil
}

// navigation reports whether a browser asks for what it is going to show in a tab, as it tells itself.
func navigation(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// admit says whether a request knows the token.
func (g *guard) admit(r *http.Request, query url.Values, linked bool) error {
	for _, a := range r.Header.Values("Authorization") {
		if scheme, token, ok := strings.Cut(a, " "); ok && strings.EqualFold(scheme, "bearer") && g.is(strings.TrimLeft(token, " ")) {
			return nil
		}
	}
	for _, c := range r.CookiesNamed(cookieName(r)) {
		if g.is(c.Value) {
			return nil
		}
	}
	token := query.Get("token")
	switch {
	case token == "":
		return problems.token.of("this needs the token: open the URL that culprit serve printed, or send Authorization: Bearer TOKEN")
	case !linked:
		return problems.token.of("the token isn't taken from the URL here, where it would get into logs; send Authorization: Bearer TOKEN")
	case !g.is(token):
		return problems.token.of("this isn't the token of this run; open the URL that culprit serve printed last")
	}
	return nil
}

func (g *guard) is(token string) bool {
	digest := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(digest[:], g.token[:]) == 1
}

// cookieName is the name of the cookie with the token. Browsers keep the cookies of all ports of a host together, so
// that it has the port in it: two servers must not take away each other's.
func cookieName(r *http.Request) string {
	_, port := splitHost(r.Host)
	return "culprit-token-" + port
}

func (g *guard) cookie(r *http.Request) *http.Cookie {
	return &http.Cookie{Name: cookieName(r), Value: g.plain, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// client is who asks, for limits.
func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// hardening are the headers of every answer. What is served is data, which may look like a page that a stranger
// wrote: nothing of it may run, be framed, be guessed at, be kept, or be read by other sites.
var hardening = [...][2]string{
	{"Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cache-Control", "no-store"},
}

func harden(h http.Header) {
	for _, f := range hardening {
		h.Set(f[0], f[1])
	}
}
