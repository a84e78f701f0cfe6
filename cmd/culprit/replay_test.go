package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// replayed runs culprit replay.
func replayed(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(append([]string{"replay", "--speed", "max"}, args...), strings.NewReader(""), &out, &err)
	return status, out.String(), err.String()
}

// harOf writes an archive of requests with their answers.
func harOf(t *testing.T, entries ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recorded.har")
	text := `{"log":{"version":"1.2","creator":{"name":"x","version":"1"},"entries":[` + strings.Join(entries, ",") + `]}}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func harEntry(second int, method, path, header, post, answer string) string {
	if post != "" {
		post = fmt.Sprintf(`,"postData":{"mimeType":"application/json","params":[],"text":%q}`, post)
	}
	return fmt.Sprintf(`{"startedDateTime":"2026-01-02T03:04:%02d.000Z","time":2,"connection":"7","serverIPAddress":"192.0.2.1","request":{"method":%q,"url":"http://shop.example%s",
"httpVersion":"HTTP/1.1","cookies":[],"headers":[{"name":"Host","value":"shop.example"}%s],"queryString":[],"headersSize":-1,"bodySize":%d%s},
"response":{"status":200,"statusText":"OK","httpVersion":"HTTP/1.1","cookies":[],"headers":[{"name":"Content-Type","value":"application/json"}],
"content":{"size":%d,"mimeType":"application/json","text":%q},"redirectURL":"","headersSize":-1,"bodySize":%d},"cache":{},"timings":{"send":0,"wait":1,"receive":1}}`,
		second, method, path, header, len(post), post, len(answer), answer, len(answer))
}

// The exit status and the report say whether answers differ, and whether something was left out; secrets aren't shown.
func TestReplayStatus(t *testing.T) {
	var posts atomic.Int64
	price := "1"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			posts.Add(1)
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"price":`+price+`,"password":"verysecret`+price+`"}`)
	}))
	defer s.Close()
	const answer = `{"price":1,"password":"verysecret1"}`
	whole := harOf(t, harEntry(1, "GET", "/a", "", "", answer), harEntry(2, "POST", "/b", "", `{"x":1}`, answer))
	hidden := harOf(t, harEntry(1, "GET", "/a", "", "", answer), harEntry(2, "GET", "/b", `,{"name":"Authorization","value":"Bearer …[redacted 15 #4f2a]"}`, "", answer))
	newHAR, newJSON := filepath.Join(t.TempDir(), "new.har"), filepath.Join(t.TempDir(), "new.ndjson")
	for _, c := range []struct {
		price  string
		args   []string
		status int
		stdout []string
		stderr []string
	}{
		{"1", []string{"-r", whole, "--to", s.URL}, 0, []string{"1 request sent", "1 the same"}, []string{"sending 1 request on 1 connection to " + s.URL, "left out: 1 request that may have another effect each time (1 POST): --all sends them"}},
		{"1", []string{whole, "--to", s.URL, "--all"}, 0, []string{"2 the same"}, []string{"1 GET, 1 POST"}},
		{"2", []string{whole, "--to", s.URL, "-o", "har=" + newHAR, "-o", "ndjson=" + newJSON}, 1, []string{"1 different", "JSON value $.price", "$.price: 1 → 2", "redacted 11 #"}, []string{"1 answer of 1 differ"}},
		{"2", []string{whole, "--to", s.URL, "--ignore", "json:$.price", "--ignore", "json:$.password"}, 0, []string{"1 the same"}, nil},
		{"2", []string{whole, "--to", s.URL, "--reveal"}, 1, []string{`"verysecret1" → "verysecret2"`}, nil},
		{"1", []string{hidden, "--to", s.URL}, 3, []string{"1 the same"}, []string{"left out: 1 request with secrets that were redacted", "header Authorization in 1 request: give it: --set-header 'Authorization: …'"}},
		{"1", []string{hidden, "--to", s.URL, "--set-header", "Authorization: Bearer x"}, 0, []string{"2 the same"}, nil},
		{"1", []string{hidden, "--to", s.URL, "--where", "path == \"/nowhere\""}, 1, nil, []string{"there is nothing to send"}},
		{"1", []string{whole}, 2, nil, []string{"--to http://HOST:PORT; culprit never guesses it"}},
		{"1", []string{whole, "--to", "127.0.0.1:1"}, 2, nil, []string{"want a URL"}},
		{"1", []string{whole, "--to", s.URL, "--carry", "x"}, 2, nil, []string{"--carry"}},
		{"1", []string{whole, "--to", s.URL, "-o", "parquet=x"}, 2, nil, []string{"no such output"}},
		{"1", []string{whole, "--to", "http://127.0.0.1:1"}, 1, []string{"1 without an answer", "connection refused"}, nil},
	} {
		price = c.price
		status, stdout, stderr := replayed(c.args...)
		if status != c.status {
			t.Errorf("%q: exit status %d, want %d\n%s%s", c.args, status, c.status, stdout, stderr)
		}
		for _, want := range c.stdout {
			if !strings.Contains(stdout, want) {
				t.Errorf("%q: %q isn't in\n%s", c.args, want, stdout)
			}
		}
		for _, want := range c.stderr {
			if !strings.Contains(stderr, want) {
				t.Errorf("%q: %q isn't in\n%s", c.args, want, stderr)
			}
		}
		if strings.Contains(stdout+stderr, "verysecret") && !strings.Contains(fmt.Sprint(c.args), "--reveal") {
			t.Errorf("%q: a secret is shown\n%s%s", c.args, stdout, stderr)
		}
	}
	if n := posts.Load(); n != 1 {
		t.Errorf("%d requests with POST were sent, want the one with --all", n)
	}
	for _, path := range []string{newHAR, newJSON} {
		text, err := os.ReadFile(path)
		if err != nil || !json.Valid(text) || bytes.Contains(text, []byte("verysecret")) || !bytes.Contains(text, []byte("$.price")) {
			t.Errorf("%s: %v\n%s", path, err, text)
		}
	}
}

// The report for programs is one document.
func TestReplayJSON(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	status, stdout, _ := replayed(harOf(t, harEntry(1, "GET", "/a", "", "", "{}")), "--to", s.URL, "--json")
	var d struct {
		Requests    map[string]int `json:"requests"`
		Differences []struct{ Kind, Recorded, Replayed, Route string }
	}
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || status != 1 {
		t.Fatalf("%d %v\n%s", status, err, stdout)
	}
	if d.Requests["sent"] != 1 || d.Requests["different"] != 1 || len(d.Differences) != 1 || fmt.Sprint(d.Differences[0]) != "{status 200 404 GET /a}" {
		t.Errorf("%+v", d)
	}
}
