package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	s := serve(t)
	for host, ok := range map[string]bool{
		"127.0.0.1:4400": true, "127.0.0.1": true, "localhost:1": true, "LOCALHOST.": true, "[::1]:4400": true, "[::1]": true, "127.8.9.10:80": true,
		"culprit.example": true, "Culprit.Example:4400": true, "[::ffff:127.0.0.1]:80": true,
		"": false, "evil.example": false, "127.0.0.1.evil.example": false, "evil.example:4400": false, "localhost.evil.example": false, "10.0.0.7:4400": false,
		"127.0.0.1@evil.example": false, "localhost:4400:80": false, "localhost:x": false, "[::1": false, "0.0.0.0:4400": false, "[::]:4400": false,
		"localhost/": false, "localhost evil": false, "culprit.example.evil": false, "localhost\x00": false, "2130706433": false, ":80": false,
	} {
		r := request("/api/status")
		if r.Host = host; !ok {
			refused(t, s, r, 421, "wrong-host", "ask for localhost")
		} else if w := do(s, r); w.Code != 200 {
			t.Errorf("Host %q: %d %s", host, w.Code, w.Body)
		}
	}
}

func TestOrigin(t *testing.T) {
	s := serve(t)
	const navigation = "Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: document"
	for headers, ok := range map[string]bool{
		"Origin: http://127.0.0.1:4400": true, "Origin: https://127.0.0.1:4400": true, "Sec-Fetch-Site: same-origin": true, "Sec-Fetch-Site: none": true,
		"Origin: http://127.0.0.1:4401": false, "Origin: http://localhost:4400": false, "Origin: null": false, "Origin: http://evil.example": false,
		"Origin: http://127.0.0.1:4400|Origin: http://127.0.0.1:4400": false, "Origin: file://127.0.0.1:4400": false, "Origin: 127.0.0.1:4400": false,
		"Sec-Fetch-Site: cross-site": false, "Sec-Fetch-Site: same-site": false, "Sec-Fetch-Site: evil": false,
		"Sec-Fetch-Site: cross-site|" + navigation:                                    true,
		"Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: iframe":  false,
		"Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: no-cors|Sec-Fetch-Dest: document": false,
		"Origin: http://evil.example|Sec-Fetch-Site: same-origin":                     false,
	} {
		r := request("/api/status", strings.Split(headers, "|")...)
		if !ok {
			refused(t, s, r, 403, "foreign-origin", "only pages of this server")
		} else if w := do(s, r); w.Code != 200 {
			t.Errorf("%s: %d %s", headers, w.Code, w.Body)
		}
	}
	r := request("/", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
	r.Method = "POST" // a form of another site
	refused(t, s, r, 403, "foreign-origin", "")
}

func TestToken(t *testing.T) {
	s := serve(t)
	const none = "Authorization: "
	for _, target := range []string{"/", "/api/status", "/api/exchanges", "/api/exchanges.har", "/api/live", "/api/openapi.yaml", "/nothing", "/api/exchanges/x/packets"} {
		w := do(s, request(target, none))
		if w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", target)
		}
		refused(t, s, request(target, none), 401, "no-token", "the URL that culprit serve printed")
		for _, bad := range []string{
			"Authorization: Bearer x", "Authorization: Bearer " + testToken + "x", "Authorization: Bearer " + testToken[1:], "Authorization: Basic " + testToken, "Authorization: " + testToken,
			"Authorization: Bearer", "Cookie: culprit-token-4400=x", "Cookie: culprit-token-4401=" + testToken, "Cookie: culprit-token-=" + testToken, "X-Token: " + testToken,
		} {
			refused(t, s, request(target, none, bad), 401, "no-token", "")
		}
	}
	for _, good := range []string{"Authorization: bearer  " + testToken, "Cookie: culprit-token-4400=" + testToken, "Cookie: culprit-token-4400=old; culprit-token-4400=" + testToken} {
		if w := do(s, request("/api/status", none, good)); w.Code != 200 {
			t.Errorf("%s: %d", good, w.Code)
		}
	}
	// In the URL, for what is opened by its URL.
	for _, target := range []string{"/api/exchanges.har", "/api/exchanges.ndjson"} {
		if w := do(s, request(target+"?token="+testToken, none)); w.Code != 200 {
			t.Errorf("%s: %d", target, w.Code)
		}
		refused(t, s, request(target+"?token=x", none), 401, "no-token", "isn't the token")
	}
	refused(t, s, request("/api/status?token="+testToken, none), 401, "no-token", "isn't taken from the URL")
}

// The first visit moves the token from the URL into a cookie, which the next one has.
func TestFirstVisit(t *testing.T) {
	s := serve(t)
	w := do(s, request("/?token="+testToken, "Authorization: "))
	cookies := w.Result().Cookies()
	if w.Code != 303 || w.Header().Get("Location") != "/" || len(cookies) != 1 {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	c := cookies[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.Name != "culprit-token-4400" {
		t.Errorf("%v", c)
	}
	r := request("/", "Authorization: ")
	r.AddCookie(c)
	if w := do(s, r); w.Code != 200 || unzipped(t, w) != testIndex || len(w.Result().Cookies()) != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := do(s, request("/?token=wrong", "Authorization: ")); w.Code != 401 || len(w.Result().Cookies()) != 0 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// Every answer, an error too, is told not to be run, framed, sniffed, kept or read by others.
func TestHardening(t *testing.T) {
	s := serve(t)
	for _, r := range []*http.Request{
		request("/"), request("/healthz"), request("/api/status"), request("/api/exchanges.har"), request("/nothing"), request("/api/status", "Authorization: "),
		request("/api/status", "Host: evil.example"), request("/api/status", "Origin: null"), request("/api/exchanges?where=("), request("/a/../b"),
	} {
		h := do(s, r).Header()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", r.URL, name, h.Get(name))
			}
		}
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") || h.Get("Access-Control-Allow-Origin") != "" || h.Get("Content-Type") == "" {
			t.Errorf("%s: %v", r.URL, h)
		}
	}
}

// What a client sends doesn't get into the headers of an answer.
func TestHeaderInjection(t *testing.T) {
	server := httptest.NewServer(serve(t))
	defer server.Close()
	for _, target := range []string{
		"/?token=" + testToken + "%0d%0aX-Evil:1", "/api/exchanges/%0d%0aX-Evil:1", "/api/exchanges/%0d%0aX-Evil:1/packets", "/%0d%0aX-Evil:1",
		"/api/exchanges.har?after=%0d%0aX-Evil:1", "/api/exchanges?where=%0d%0aX-Evil:1",
	} {
		req, err := http.NewRequest("GET", server.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+testToken)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		for name, values := range res.Header {
			if strings.Contains(name+strings.Join(values, ""), "Evil") {
				t.Errorf("%s: %s: %q", target, name, values)
			}
		}
	}
}

// Invariant of FuzzGuard: whatever Host, Origin and credentials a request brings, it gets an answer; and one that isn't
// for this host or lacks the token isn't let in.
func FuzzGuard(f *testing.F) {
	f.Add("127.0.0.1:4400", "http://127.0.0.1:4400", "Bearer "+testToken, "culprit-token-4400="+testToken)
	f.Add("[::1]:1", "null", "Bearer", "a=b; c")
	f.Add("evil.example", "", "bearer \x00", "culprit-token-=")
	f.Add("[fe80::1%25eth0]:80", "http://[", "", "")
	s := serve(f)
	f.Fuzz(func(t *testing.T, host, origin, authorization, cookie string) {
		r := httptest.NewRequest("GET", "/api/fields", nil)
		r.Host = host
		r.Header = http.Header{"Origin": {origin}, "Authorization": {authorization}, "Cookie": {cookie}}
		if origin == "" {
			r.Header.Del("Origin")
		}
		w := do(s, r)
		known := strings.Contains(authorization, testToken) || strings.Contains(cookie, testToken)
		name, _ := hostName(host)
		local := name == "localhost" || name == "culprit.example" || strings.HasPrefix(name, "127.") || name == "::1"
		if w.Code == 200 && (!known || !local) {
			t.Errorf("%q %q %q %q was let in", host, origin, authorization, cookie)
		}
	})
}
