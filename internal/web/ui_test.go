package web

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/culprit-http/culprit/internal/web/ui"
)

const (
	testIndex  = `<!doctype html><script type="module" src="/assets/index-Ab3_x-9.js"></script>`
	testScript = "import './x.js' // the script of the page\n"
)

// testUI is a user interface as it is built.
func testUI() fs.FS {
	packed := func(s string) *fstest.MapFile {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(s))
		_ = z.Close()
		return &fstest.MapFile{Data: b.Bytes()}
	}
	return fstest.MapFS{
		"index.html.gz": packed(testIndex), "assets/index-Ab3_x-9.js.gz": packed(testScript), "assets/app-1.css.gz": packed("a{}"),
		"assets/land-2.json.gz": packed("{}"), "assets/icon-3.svg.gz": packed("<svg/>"), "assets/text-4.woff2.gz": packed("wOF2"),
		"assets/secret.pem.gz": packed("key"), "assets/broken-5.js.gz": {Data: []byte("not packed")}, ".gitkeep": {},
	}
}

// browser are the headers of one that opens a page.
var browser = []string{"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Encoding: gzip, deflate, br, zstd"}

// visit makes a request of a browser, which has no token but what more says.
func visit(target string, more ...string) *http.Request {
	return request(target, append(append([]string{"Authorization: "}, browser...), more...)...)
}

const cookieLine = "Cookie: culprit-token-4400=" + testToken

// unzipped is the content of an answer.
func unzipped(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Header().Get("Content-Encoding") != "gzip" {
		return w.Body.String()
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every view is the page, whatever its query says, and nothing of the request is in it.
func TestPage(t *testing.T) {
	s := serve(t)
	for _, target := range []string{
		"/", "/?", "/search", "/search?where=status>=500&where=x&%zz;a=b&\"<script>alert(1)</script>", "/exchange/01M7YZ34VGXQ3JAWVNTM6V7W3Y", "/%3Cscript%3E", "/%00", "/a%2fb", "/a%2f..%2fb",
		"/search/%2e%2e%2f%2e%2e%2fetc", "/API/status", "/index.html", "/.gitkeep", "/assets.js", "/" + strings.Repeat("a", 5000),
	} {
		r := visit("/", cookieLine)
		r.URL.RawQuery, r.URL.Path = "", target
		if path, query, ok := strings.Cut(target, "?"); ok || strings.Contains(target, "%") {
			u, err := r.URL.Parse(strings.ReplaceAll(path, `"`, "%22"))
			if err != nil {
				t.Fatal(err)
			}
			r.URL = u
			r.URL.RawQuery = query
		}
		w := do(s, r)
		if strings.Contains(target, "..") || strings.Contains(target, "%2e%2e") { // not a path at all
			if w.Code != 404 {
				t.Errorf("%s: %d", target, w.Code)
			}
			continue
		}
		if w.Code != 200 || unzipped(t, w) != testIndex {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s: %q", target, name, got)
			}
		}
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(policy, "unsafe") ||
			!strings.Contains(policy, "require-trusted-types-for 'script'") || !strings.Contains(policy, "frame-ancestors 'none'") || len(w.Header().Values("Content-Security-Policy")) != 1 {
			t.Errorf("%s: %s", target, policy)
		}
		if !strings.Contains(w.Header().Get("Permissions-Policy"), "camera=()") {
			t.Errorf("%s: %v", target, w.Header())
		}
	}
	// What isn't a view stays a problem, and has the policy of data.
	for _, target := range []string{"/api", "/api/nothing", "/api/a/b", "/assets", "/assets/a/b", "/a/b/c", "/search/"} {
		w := do(s, visit(target, cookieLine))
		if w.Code != 404 || w.Header().Get("Content-Type") != "application/problem+json" || strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src") {
			t.Errorf("%s: %d %v", target, w.Code, w.Header())
		}
	}
	refused(t, s, visit("/?a="+strings.Repeat("a", MaxQuery), cookieLine), 414, "too-long", "")
}

func TestAssets(t *testing.T) {
	s := serve(t)
	for name, want := range map[string][2]string{
		"index-Ab3_x-9.js": {"text/javascript; charset=utf-8", testScript}, "app-1.css": {"text/css; charset=utf-8", "a{}"}, "land-2.json": {"application/json", "{}"},
		"icon-3.svg": {"image/svg+xml", "<svg/>"}, "text-4.woff2": {"font/woff2", "wOF2"},
	} {
		for encoding, packed := range map[string]bool{
			"gzip, deflate, br": true, "GZIP": true, "*": true, "br;q=1, gzip;q=0.1": true, "x-gzip": true,
			"": false, "br": false, "gzip;q=0, *": false, "identity": false, "gzip;q=x": false, "*;q=0": false,
		} {
			r := visit("/assets/"+name, cookieLine)
			r.Header.Set("Accept-Encoding", encoding)
			w := do(s, r)
			if w.Code != 200 || (w.Header().Get("Content-Encoding") == "gzip") != packed || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) || w.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s for %q: %d %v", name, encoding, w.Code, w.Header())
			}
			if got := unzipped(t, w); got != want[1] || w.Header().Get("Content-Type") != want[0] {
				t.Errorf("%s for %q: %s: %q", name, encoding, w.Header().Get("Content-Type"), got)
			}
			if w.Header().Get("Cache-Control") != "private, max-age=31536000, immutable" || w.Header().Get("X-Content-Type-Options") != "nosniff" ||
				strings.Contains(w.Header().Get("Content-Security-Policy"), "'self'") {
				t.Errorf("%s: %v", name, w.Header())
			}
		}
	}
	strict := serve(t, func(o *Options) { o.UI = strictFS{o.UI} })
	for _, name := range []string{
		"nothing.js", "index-Ab3_x-9.js.gz", "index-Ab3_x-9", "secret.pem", "%2e%2e", "..%2findex.html", "%2e%2e%5cindex.html", "index.html", "a%00.js", "%ff.js", ".js", "*.js", "[.js",
		"%3Cscript%3E.js", strings.Repeat("a", 5000) + ".js",
	} {
		if w := do(strict, visit("/assets/"+name, cookieLine)); w.Code != 404 {
			t.Errorf("%s: %d", name, w.Code)
		}
		w := do(s, visit("/assets/"+name, cookieLine))
		if w.Code != 404 || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" || strings.ContainsAny(w.Body.String(), "<>") {
			t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
		}
	}
	// The token is needed, and isn't taken from the URL.
	refused(t, s, visit("/assets/app-1.css"), 401, "no-token", "")
	refused(t, s, visit("/assets/app-1.css?token="+testToken), 401, "no-token", "isn't taken from the URL")
	refused(t, s, visit("/assets/app-1.css?x=1", cookieLine), 400, "bad-parameter", "")
	refused(t, s, visit("/assets/broken-5.js", cookieLine, "Accept-Encoding: "), 500, "failed", "damaged")
	refused(t, s, visit("/assets/app-1.css", cookieLine, "Sec-Fetch-Site: cross-site"), 403, "foreign-origin", "")
}

// strictFS says which paths aren't any, as a folder on disk does.
type strictFS struct{ fs.FS }

func (s strictFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return s.FS.Open(name)
}

// HEAD has the headers of GET, and no body.
func TestHeadOfPages(t *testing.T) {
	server := httptest.NewServer(serve(t))
	defer server.Close()
	for target, status := range map[string]int{"/": 200, "/search?x": 200, "/assets/app-1.css": 200, "/assets/none.css": 404} {
		var headers [2]http.Header
		for i, method := range []string{"GET", "HEAD"} {
			req, err := http.NewRequest(method, server.URL+target, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+testToken)
			req.Header.Set("Accept-Encoding", "gzip")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != status || (len(b) > 0) != (method == "GET") {
				t.Errorf("%s %s: %d, %d bytes", method, target, res.StatusCode, len(b))
			}
			headers[i] = res.Header
			headers[i].Del("Date")
		}
		if fmt.Sprint(headers[0]) != fmt.Sprint(headers[1]) {
			t.Errorf("%s: %v, and of HEAD %v", target, headers[0], headers[1])
		}
	}
}

// The token goes from the URL into the cookie, and the rest of the URL stays.
func TestTokenOfPages(t *testing.T) {
	s := serve(t)
	const token = "token=" + testToken
	for target, want := range map[string]string{
		"/?" + token:                            "/",
		"/search?" + token:                      "/search",
		"/search?" + token + "&a=1&b=%20&b=+":   "/search?a=1&b=%20&b=+",
		"/search?a=1;2&" + token + "&x&%zz=":    "/search?a=1;2&x&%zz=",
		"/a%2fb/c%20d?z=1&" + token:             "/a%2fb/c%20d?z=1",
		"/s?to%6ben=" + testToken + "&tokens=1": "/s?tokens=1",
		"/s?" + token + "&token=other":          "/s",
		`/%5cevil.example?` + token:             "/%5cevil.example",
	} {
		w := do(s, visit(target))
		cookies := w.Result().Cookies()
		if w.Code != 303 || w.Header().Get("Location") != want || len(cookies) != 1 || cookies[0].Value != testToken || cookies[0].SameSite != http.SameSiteStrictMode {
			t.Errorf("%s: %d %v, want %s", target, w.Code, w.Header(), want)
		}
	}
	// Never to another host.
	for _, path := range []string{`/\evil.example`, "//evil.example", "/\t/evil.example", `/\/evil.example`} {
		r := visit("/")
		r.URL.Path, r.URL.RawQuery = path, token
		w := do(s, r)
		if to := w.Header().Get("Location"); to != "" && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\t")) {
			t.Errorf("%q leads to %q", path, to)
		}
	}
}

// Who has no token sees what to do; a program gets the problem.
func TestNotices(t *testing.T) {
	s := serve(t)
	plain := func(w *httptest.ResponseRecorder) string {
		t.Helper()
		body := w.Body.String()
		policy := w.Header().Get("Content-Security-Policy")
		if w.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.HasPrefix(policy, "default-src 'none'; base-uri") || w.Header().Get("Cache-Control") != "no-store" ||
			w.Header().Get("Content-Length") != fmt.Sprint(len(body)) || w.Header().Get("X-Frame-Options") != "DENY" || len(w.Result().Cookies()) != 0 {
			t.Errorf("%v", w.Header())
		}
		for _, bad := range []string{"script", "style", "evil", testToken, "%"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s is in %s", bad, body)
			}
		}
		return body
	}
	for _, more := range [][]string{nil, {"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, {"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}} {
		for _, target := range []string{"/", "/search?x=<script>evil%3Cscript%3E", "/%3Cscript%3E/evil", "/?token=wrong<script>"} {
			r := visit("/", more...)
			u, err := r.URL.Parse(target)
			if err != nil {
				t.Fatal(err)
			}
			r.URL = u
			w := do(s, r)
			if body := plain(w); w.Code != 401 || !strings.Contains(body, "culprit serve") || strings.Contains(body, "refresh") || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %d %s", target, w.Code, body)
			}
		}
	}
	for _, accept := range []string{"", "*/*", "application/json", "text/html;q=0", "text/htmlx"} {
		r := visit("/search")
		r.Header.Set("Accept", accept)
		refused(t, s, r, 401, "no-token", "the URL that culprit serve printed")
	}
	refused(t, s, visit("/api/status"), 401, "no-token", "")
	refused(t, s, visit("/", "Host: evil.example"), 421, "wrong-host", "")

	// A link on another site comes without the strict cookie: the page that asks again comes from here, once.
	for _, site := range []string{"cross-site", "same-site"} {
		link := []string{"Sec-Fetch-Site: " + site, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1"}
		w := do(s, visit("/search?where=%22evil%22", link...))
		if body := plain(w); w.Code != 200 || !strings.Contains(body, `<meta http-equiv="refresh" content="0">`) || !strings.Contains(body, `<a href="">`) || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %d %s", site, w.Code, body)
		}
		if w := do(s, visit("/search", append(link, cookieLine)...)); w.Code != 200 || unzipped(t, w) != testIndex {
			t.Errorf("%s: with the cookie: %d %s", site, w.Code, w.Body)
		}
		if w := do(s, visit("/search?token=wrong", link...)); w.Code != 401 || strings.Contains(plain(w), "refresh") {
			t.Errorf("%s: with a wrong token: %d %s", site, w.Code, w.Body)
		}
		if w := do(s, visit("/search?token="+testToken, link...)); w.Code != 303 {
			t.Errorf("%s: with the token: %d", site, w.Code)
		}
		for _, other := range [][]string{
			{"Sec-Fetch-Site: " + site, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, {"Sec-Fetch-Site: " + site, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, {"Sec-Fetch-Site: " + site},
		} {
			refused(t, s, visit("/search", other...), 403, "foreign-origin", "")
		}
	}
}

// Without a build, the page says how to make one, and the API works.
func TestNotBuilt(t *testing.T) {
	for _, files := range []fs.FS{nil, fstest.MapFS{".gitkeep": {}}} {
		s := serve(t, func(o *Options) { o.UI = files })
		w := do(s, visit("/search", cookieLine))
		if w.Code != 404 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(w.Body.String(), "<code>make</code>") || !strings.Contains(w.Body.String(), "/api/openapi.yaml") ||
			strings.Contains(w.Header().Get("Content-Security-Policy"), "'self'") {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		refused(t, s, request("/"), 404, "not-built", "needs Node")
		refused(t, s, visit("/assets/app-1.css", cookieLine), 404, "no-such-path", "")
		if w := do(s, visit("/")); w.Code != 401 {
			t.Errorf("%d", w.Code)
		}
		if w := do(s, visit("/?token="+testToken)); w.Code != 303 {
			t.Errorf("%d", w.Code)
		}
		ask(t, s, "/api/status")
	}
	w := do(serve(t, func(o *Options) { o.UI = brokenFS{} }), visit("/", cookieLine))
	if w.Code != 500 || strings.Contains(w.Header().Get("Content-Security-Policy"), "'self'") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// brokenFS can't be read.
type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return nil, io.ErrUnexpectedEOF }

// What is built in has only files that are served, packed, and a page that loads them from here. Without a build there
// is nothing.
func TestBuiltIn(t *testing.T) {
	s := serve(t, func(o *Options) { o.UI = ui.Files() })
	if _, err := fs.Stat(ui.Files(), "index.html.gz"); err != nil {
		t.Skip("the user interface isn't built: make builds it, and needs Node")
	}
	err := fs.WalkDir(ui.Files(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == ".gitkeep" || path == "index.html.gz" {
			return err
		}
		name, packed := strings.CutSuffix(path, gzipSuffix)
		w := do(s, visit("/"+name, cookieLine, "Accept-Encoding: "))
		if !packed || w.Code != 200 || w.Body.Len() == 0 {
			t.Errorf("%s isn't served: %d", path, w.Code)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page := unzipped(t, do(s, visit("/", cookieLine)))
	for _, bad := range []string{"<style", "style=", `src="http`, `href="http`, "javascript:", "<script>"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s, which its policy refuses", bad)
		}
	}
}
