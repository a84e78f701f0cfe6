package elastic

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/endpoint"
)

var update = flag.Bool("update", false, "write testdata/templates.json")

// newTestClient returns a client of servers.
func newTestClient(t *testing.T, o Options, servers ...*httptest.Server) *Client {
	t.Helper()
	for _, s := range servers {
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		o.URLs = append(o.URLs, u)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newServer(t *testing.T, f http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s
}

// Nodes take turns; one that is gone, or says that it can't, is left alone for a while, and then asked again.
func TestFailover(t *testing.T) {
	var asked []string
	status := map[string]int{"a": 200, "b": 200, "c": 200}
	node := func(name string) *httptest.Server {
		return newServer(t, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, name)
			w.WriteHeader(status[name])
			io.WriteString(w, name)
		})
	}
	a, b, d := node("a"), node("b"), node("c")
	c := newTestClient(t, Options{}, a, b, d)
	ask := func(times int) string {
		asked = nil
		for range times {
			if text, err := c.Do(context.Background(), &Request{Method: "GET", Path: "/"}); err != nil || string(text) != asked[len(asked)-1] {
				t.Errorf("%s, %v", text, err)
			}
		}
		return strings.Join(asked, "")
	}
	if got := ask(4); got != "abca" {
		t.Errorf("turns: %s", got)
	}
	status["b"] = 503
	if got := ask(4); got != "bcaca" {
		t.Errorf("b can't: %s", got)
	}
	a.Close()
	if got := ask(3); got != "ccc" {
		t.Errorf("a is gone: %s", got)
	}
	status["b"] = 200
	c.nodes[1].until = time.Now().Add(-time.Second) // the rest is over
	if got := ask(3); strings.Count(got, "b") == 0 {
		t.Errorf("b is back: %s", got)
	}
	status["b"], status["c"] = 429, 429
	asked = nil
	if _, err := c.Do(context.Background(), &Request{Method: "GET", Path: "/"}); err == nil || len(asked) != 1 {
		t.Errorf("busy: asked %v, %v", asked, err)
	}
	d.Close()
	b.Close()
	if _, err := c.Do(context.Background(), &Request{Method: "GET", Path: "/"}); err == nil {
		t.Error("all are gone")
	}
	if n := &c.nodes[0]; time.Until(n.until) > maxRest {
		t.Errorf("a rests until %v", n.until)
	}
}

// What is written to a cluster, and what is read of it, are as asked for.
func TestRequest(t *testing.T) {
	var body, encoding, auth, agent, uri string
	answer := strings.Repeat("x", 1000)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		encoding, auth, agent, uri = r.Header.Get("Content-Encoding"), r.Header.Get("Authorization"), r.UserAgent(), r.RequestURI
		in := io.Reader(r.Body)
		if encoding == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			in = z
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Error(err)
		}
		body = string(b)
		if r.URL.Path == "/prefix/chunked" {
			w.(http.Flusher).Flush()
		}
		io.WriteString(w, answer)
	})
	o := Options{Endpoint: endpoint.Options{Auth: endpoint.Auth{APIKey: "k"}, UserAgent: "culprit/1"}}
	c := newTestClient(t, o, s)
	c.nodes[0].url.Path = "/prefix"
	for _, size := range []int{0, 10, compressFrom, 100_000} {
		sent := strings.Repeat("y", size)
		if text, err := c.Do(context.Background(), &Request{Method: "POST", Path: "/x%2Fy", Query: url.Values{"a": {"b c"}}, Body: []byte(sent)}); err != nil || string(text) != answer {
			t.Errorf("%v", err)
		}
		if body != sent || (encoding == "gzip") != (size >= compressFrom) || auth != "ApiKey k" || agent != "culprit/1" || uri != "/prefix/x%2Fy?a=b+c" {
			t.Errorf("size %d: got %d bytes, %q, %q, %q, %q", size, len(body), encoding, auth, agent, uri)
		}
	}
	for _, path := range []string{"/plain", "/chunked"} {
		for limit, long := range map[int64]bool{1000: false, 999: true} {
			if _, err := c.Do(context.Background(), &Request{Method: "GET", Path: path, Limit: limit}); errors.Is(err, ErrLongAnswer) != long || (err != nil) != long {
				t.Errorf("%s, limit %d: %v", path, limit, err)
			}
		}
	}
}

// Products tell themselves apart, also where the user may not ask.
func TestProduct(t *testing.T) {
	for _, test := range []struct {
		status int
		root   string
		header string
		want   string
	}{
		{200, `{"version":{"number":"8.19.0"},"tagline":"You Know, for Search"}`, "", "Elasticsearch 8.19.0"},
		{200, `{"version":{"number":"2.19.1","distribution":"opensearch"}}`, "", "OpenSearch 2.19.1"},
		{200, `{"version":{"number":"7.10.2"},"tagline":"The OpenSearch Project: https://opensearch.org/"}`, "", "OpenSearch 7.10.2"},
		{405, `{"error":"Incorrect HTTP method"}`, "Elasticsearch", "Elasticsearch 8.1.2"},
		{200, `{"hello":"world"}`, "", ""},
		{404, "page not found", "", ""},
	} {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/_nodes/_local" {
				io.WriteString(w, `{"nodes":{"x":{"version":"8.1.2"}}}`)
				return
			}
			if test.header != "" {
				w.Header().Set("X-Elastic-Product", test.header)
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.root)
		})
		p, err := newTestClient(t, Options{}, s).Product(context.Background())
		if (err != nil) != (test.want == "") || err == nil && p.String() != test.want {
			t.Errorf("%s: %v, %v", test.root, p, err)
		}
	}
}

// A server whose certificate nobody here knows, and one that doesn't speak TLS, are told with what to do.
func TestTLSAdvice(t *testing.T) {
	plain := newServer(t, func(http.ResponseWriter, *http.Request) {})
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer secure.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	for _, test := range []struct {
		url  string
		tls  endpoint.TLS
		want string
	}{
		{secure.URL, endpoint.TLS{}, "by the setting ca"},
		{secure.URL, endpoint.TLS{CA: ca, ServerName: "other"}, "server_name"},
		{strings.Replace(plain.URL, "http:", "https:", 1), endpoint.TLS{}, "use http://"},
		{strings.Replace(secure.URL, "https:", "http:", 1), endpoint.TLS{}, "400"},
		{secure.URL, endpoint.TLS{CA: ca}, ""},
	} {
		u, err := url.Parse(test.url)
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Options{URLs: []*url.URL{u}, Endpoint: endpoint.Options{TLS: test.tls}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(context.Background(), &Request{Method: "GET", Path: "/"})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.url, err, test.want)
		}
	}
}

// What another side says is shown, but not obeyed, and not without end.
func TestHostileError(t *testing.T) {
	for _, text := range []string{
		`{"error":{"type":"x\u001b[31m","reason":"` + strings.Repeat("y", 100_000) + `\u0007"}}`,
		`{"error":{"reason":"a","caused_by":` + strings.Repeat(`{"reason":"b","caused_by":`, 2000) + "null" + strings.Repeat("}", 2001) + "}",
		"\x1b]0;title\x07" + strings.Repeat("z", 1<<20),
		`{"error":[1,2]}`, `{"error":7}`, `null`, "",
	} {
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			io.WriteString(w, text)
		})
		_, err := newTestClient(t, Options{}, s).Do(context.Background(), &Request{Method: "GET", Path: "/"})
		if err == nil || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\x07\n") {
			t.Errorf("%.40q: %.200q", text, err)
		}
	}
}

// The templates are as they were when their version was raised: who changes them raises TemplateVersion, and runs the test
// with -update.
func TestTemplatesAreVersioned(t *testing.T) {
	got := map[string]any{}
	for _, p := range []Product{{}, {OpenSearch: true}} {
		for _, kind := range []string{Exchanges, Rollups} {
			x := types{product: p}
			got[p.String()+" "+kind] = x.template("culprit", kind, "")
		}
	}
	text, err := json.MarshalIndent(got, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", "templates.json")
	if *update {
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(text)+"\n" {
		old, now := strings.Split(string(want), "\n"), strings.Split(string(text), "\n")
		for _, line := range now {
			if !slices.Contains(old, line) {
				t.Log("new: " + line)
			}
		}
		t.Error("the templates have changed: raise TemplateVersion, and run this with -update")
	}
}

// No prefix makes the name of an index, or of a path, mean something else.
func TestCheckIndex(t *testing.T) {
	for _, bad := range []string{"", "A", "a/b", "a*", "-a", "_a", ".a", "a b", "a,b", "a#b", "a:b", "a%2f", "a?b", strings.Repeat("a", 101)} {
		if CheckIndex(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"culprit", "web-1", "web_1.x", "7"} {
		if err := CheckIndex(good); err != nil {
			t.Error(err)
		}
	}
}

// An answer that promises more than there may be, and an error without end, cost no more than the limits.
func TestEndlessAnswers(t *testing.T) {
	for path, text := range map[string]string{
		"/long":  "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000\r\n\r\nx",
		"/error": "HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, err = io.WriteString(conn, text)
			for r.URL.Path == "/error" && err == nil {
				_, err = io.WriteString(conn, strings.Repeat("x", 1<<10))
			}
		})
		_, err := newTestClient(t, Options{Timeout: 20 * time.Second}, s).Do(context.Background(), &Request{Method: "GET", Path: path})
		refused := (*Error)(nil)
		if errors.Is(err, ErrLongAnswer) != (path == "/long") || errors.As(err, &refused) != (path == "/error") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
