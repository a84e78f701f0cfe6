package web

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// The user interface is one page, whose views are URLs that the page itself understands, and its assets.

// indexFile is the page, and assetsFolder has its assets. Files are kept in their gzip form, with gzipSuffix in their names.
const (
	indexFile    = "index.html"
	assetsFolder = "assets"
	gzipSuffix   = ".gz"
)

// assetKeeping lets browsers keep assets: their names have a hash of their content.
var assetKeeping = [...][2]string{{"Cache-Control", "private, max-age=31536000, immutable"}}

// mediaTypes are those of assets by the end of their names. What isn't here isn't served.
var mediaTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".html":        "text/html; charset=utf-8",
	".ico":         "image/x-icon",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".txt":         "text/plain; charset=utf-8",
	".wasm":        "application/wasm",
	".webmanifest": "application/manifest+json",
	".woff2":       "font/woff2",
}

// pageHardening are the headers of the page, instead of those of data: it may run what was built with it, and nothing
// else.
var pageHardening = [...][2]string{
	{"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types svelte-trusted-html"},
	{"Permissions-Policy", "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), display-capture=(), encrypted-media=(), " +
		"gamepad=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), payment=(), " +
		"picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), storage-access=(), usb=(), xr-spatial-tracking=()"},
}

// page answers with the page, for whatever view. A visit that brings the token gets the cookie instead, and is sent to
// the same URL without it, so that the token goes from the address bar and the history.
func (s *Server) page(c *call) error {
	if c.values.Get("token") != "" {
		http.SetCookie(c.w, s.guard.cookie(c.Request))
		c.w.Header().Set("Location", withoutToken(c.URL))
		return c.empty(http.StatusSeeOther)
	}
	mediaType, b, err := s.file(indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return problems.notBuilt.of("this culprit was built without its user interface: make builds it, and needs Node; the API is there, see /api/openapi.yaml")
	} else if err != nil {
		return err
	}
	return c.unpack(mediaType, b, pageHardening[:])
}

// withoutToken is the path and the query of a URL, but for the token. The rest of the query stays as it was written.
func withoutToken(u *url.URL) string {
	var rest []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); part != "" && (err != nil || name != "token") {
			rest = append(rest, part)
		}
	}
	// The path has no two slashes at its begin (ServeHTTP), and backslashes are escaped: it never leads to another host.
	to := u.EscapedPath()
	if len(rest) > 0 {
		to += "?" + strings.Join(rest, "&")
	}
	return to
}

// asset answers with a file of the page.
func (s *Server) asset(c *call) error {
	name := c.PathValue("file")
	mediaType, b, err := s.file(assetsFolder + "/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return problems.noRoute.of("there is no %s; it may be of another version of culprit: load the page again", clip(name))
	} else if err != nil {
		return err
	}
	return c.unpack(mediaType, b, assetKeeping[:])
}

// file gives a file of the user interface, packed.
func (s *Server) file(name string) (mediaType string, packed []byte, err error) {
	mediaType, known := mediaTypes[path.Ext(name)]
	if s.options.UI == nil || !known || !fs.ValidPath(name) {
		return "", nil, fs.ErrNotExist
	}
	packed, err = fs.ReadFile(s.options.UI, name+gzipSuffix)
	return mediaType, packed, err
}

// unpack answers with what is packed: as it is when the client takes that.
func (c *call) unpack(mediaType string, packed []byte, headers [][2]string) error {
	b := packed
	if takesGzip(c.Header) {
		c.w.Header().Set("Content-Encoding", "gzip")
	} else {
		var err error
		if b, err = unpacked(packed); err != nil {
			return fmt.Errorf("a file of the user interface is damaged: %w", err)
		}
	}
	c.w.Header().Set("Vary", "Accept-Encoding")
	for _, f := range headers {
		c.w.Header().Set(f[0], f[1])
	}
	return c.send(mediaType, b)
}

func unpacked(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z) // it was built with the program, and is as large as that made it
}

// takesGzip reports whether a client takes answers that are packed with gzip (RFC 9110, section 12.5.3).
func takesGzip(h http.Header) bool {
	takes, any := false, false
	for _, line := range h.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			name, wanted := weighed(coding)
			switch name {
			case "gzip", "x-gzip":
				if !wanted {
					return false
				}
				takes = true
			case "*":
				any = wanted
			}
		}
	}
	return takes || any
}

// takesHTML reports whether a client asks for pages, as browsers do that show what they get.
func takesHTML(h http.Header) bool {
	for _, line := range h.Values("Accept") {
		for mediaType := range strings.SplitSeq(line, ",") {
			if name, wanted := weighed(mediaType); name == "text/html" && wanted {
				return true
			}
		}
	}
	return false
}

// weighed takes an element of Accept or Accept-Encoding apart: what it is about, in lower case, and whether it is wanted,
// which it isn't with the weight 0.
func weighed(element string) (name string, wanted bool) {
	name, parameters, _ := strings.Cut(element, ";")
	wanted = true
	for parameter := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(strings.TrimSpace(key), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			wanted = err == nil && q > 0
		}
	}
	return strings.ToLower(strings.TrimSpace(name)), wanted
}

// notice is a small page without anything of the request in it, for who opened a URL in a browser and can't get what is
// there.
type notice struct {
	status int
	// head is more of the head, title and text are HTML.
	head, title, text string
}

// notices are the pages for problems of the page's routes, by their anchors. Other problems have none.
var notices = map[string]notice{
	problems.token.anchor: {http.StatusUnauthorized, "", "culprit: the token is missing or wrong",
		"<p>What is captured here is shown to those alone who know the token of this run.</p>\n" +
			"<p>Open the URL that <code>culprit serve</code> printed last: it ends with <code>?token=…</code>. " +
			"This browser needs it once; then this page can be loaded again.</p>"},
	problems.notBuilt.anchor: {http.StatusNotFound, "", "culprit: the user interface isn't built in",
		"<p>This program was built without its user interface. Build culprit with <code>make</code>, which needs Node.</p>\n" +
			`<p>The API is there: <a href="/api/openapi.yaml">/api/openapi.yaml</a> describes it.</p>`},
}

// again makes the browser ask once more. When a link on another site was followed, the cookie, which is strict, doesn't
// come with the request; it does with the next one, which this page makes. That has another Sec-Fetch-Site, so that
// there is no third. An empty link leads to the same URL.
var again = notice{http.StatusOK, `<meta http-equiv="refresh" content="0">` + "\n", "culprit",
	`<p>Loading. If nothing happens, <a href="">open this page again</a>.</p>`}

// followed reports whether a browser asks since the user followed a link on another site.
func followed(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return (site == "cross-site" || site == "same-site") && navigation(r)
}

// explain answers with a notice instead of the problem, where there is one and the client shows pages.
func (a *answer) explain(p *problem) bool {
	n, ok := notices[strings.TrimPrefix(p.Type, problemBase)]
	if p.Status == http.StatusUnauthorized && a.r.URL.Query().Get("token") == "" && followed(a.r) {
		n, ok = again, true
	}
	if !ok || !takesHTML(a.r.Header) {
		return false
	}
	if n.status == http.StatusUnauthorized {
		a.w.Header().Set("WWW-Authenticate", challenge)
	}
	body := "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"color-scheme\" content=\"light dark\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width\">\n" + n.head + "<title>" + n.title + "</title>\n<h1>" + n.title + "</h1>\n" + n.text + "\n</html>\n"
	a.w.Header().Set("Content-Type", mediaTypes[".html"])
	a.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	a.extend()
	a.w.WriteHeader(n.status)
	if a.r.Method != http.MethodHead {
		_, _ = io.WriteString(a.w, body) // the client may have gone
	}
	return true
}
