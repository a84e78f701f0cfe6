//go:build linux

package elastic_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/output/elastic"
	"github.com/culprit-http/culprit/internal/ship"
)

// receiver is a server that answers _bulk.
func receiver(t testing.TB, bulk http.HandlerFunc) elastic.Options {
	t.Helper()
	server := httptest.NewServer(bulk)
	t.Cleanup(server.Close)
	o := options(t, "x", server.URL)
	o.NoSetup = true
	return o
}

// body returns what a request has, unpacked.
func body(t testing.TB, r *http.Request) []byte {
	t.Helper()
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return nil
		}
		in = z
	}
	b, err := io.ReadAll(in)
	if err != nil {
		t.Error(err)
	}
	return b
}

// A request has two lines an event: what to do, in the index of the event's day and under its id, and the document.
func TestBody(t *testing.T) {
	for _, plain := range []bool{false, true} {
		var got, kind string
		o := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			got, kind = string(body(t, r)), r.Header.Get("Content-Type")+" "+r.Method+" "+r.URL.Path
			io.WriteString(w, `{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}},{"create":{"status":201}},{"create":{"status":201}}]}`)
		})
		o.Cluster.NoCompression = plain
		s := newOutput(t, o).Sender()
		all := []ship.Event{
			{Body: []byte(`{"a":1}`), Time: time.Date(2026, 11, 22, 23, 59, 59, 999_999_999, time.UTC).UnixNano(), Weight: 1},
			{Body: []byte(`{"a":2}`), Time: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).UnixNano(), Weight: 20},
			{Body: []byte(`{}`), Kind: ship.Rollup, Weight: 2},
			{Body: []byte(`{"a":4}`), Time: -1},
		}
		for i := range all {
			all[i].ID[15] = byte(i)
		}
		for range 2 { // the buffers are used again
			if r, err := s.Send(context.Background(), all); err != nil || len(r.Retry)+len(r.Rejected)+r.Known > 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			want := `{"create":{"_index":"x-exchanges-2026.11.22","_id":"00000000000000000000000000"}}
{"a":1}
{"create":{"_index":"x-exchanges-2026.11.23","_id":"00000000000000000000000001"}}
{"_doc_count":20,"a":2}
{"create":{"_index":"x-rollups-1970.01.01","_id":"00000000000000000000000002"}}
{"_doc_count":2}
{"create":{"_index":"x-exchanges-1970.01.01","_id":"00000000000000000000000003"}}
{"a":4}
`
			if got != want || kind != "application/x-ndjson POST /_bulk" {
				t.Errorf("got %s:\n%s", kind, got)
			}
		}
	}
}

// Each document has its own fate.
func TestItems(t *testing.T) {
	items := []string{
		`{"status":201}`, `{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"exists"}}`,
		`{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}`,
		`{"status":400,"error":{"type":"mapper_parsing_exception","reason":"bad","caused_by":{"reason":"worse"}}}`,
		`{"status":400,"error":{"type":"validation_exception","reason":"this action would add [2] shards"}}`,
		`{"status":403,"error":{"type":"cluster_block_exception","reason":"read-only"}}`,
		`{"status":404,"error":{"type":"index_not_found_exception","reason":"no such index"}}`,
		`{"status":503}`, `{"status":200}`,
	}
	o := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"took":3,"errors":true,"items":[{"create":%s}]}`, strings.Join(items, `},{"create":`))
	})
	s := newOutput(t, o).Sender()
	all := make([]ship.Event, len(items)+1)
	for i := range all {
		all[i].Body = []byte(`{}`)
	}
	all[1].Body = []byte("{\n}") // refused before it is sent, so that the places of others move
	r, err := s.Send(context.Background(), all)
	var rejected []int
	for _, no := range r.Rejected {
		rejected = append(rejected, no.Index)
	}
	if err != nil || r.Known != 1 || !slices.Equal(r.Retry, []int{3, 5, 6, 7, 8}) || !slices.Equal(rejected, []int{1, 4}) {
		t.Errorf("%+v, %v", r, err)
	}
	if got := r.Rejected[1].Reason; got != "mapper_parsing_exception: bad: worse" {
		t.Errorf("reason %q", got)
	}
}

// Errors of the whole batch say what to do, and when.
func TestErrors(t *testing.T) {
	for _, test := range []struct {
		status  int
		header  string
		body    string
		want    string
		after   time.Duration
		tooLong bool
	}{
		{401, "", `{"error":{"type":"security_exception","reason":"unable to authenticate user [u]"}}`, "unable to authenticate user [u]: check user and password", 0, false},
		{403, "", `{"error":{"type":"security_exception","reason":"action [indices:data/write/bulk] is unauthorized"}}`, "lacks a privilege", 0, false},
		{413, "", "too long", "", 0, true},
		{429, "7", `{"error":{"type":"circuit_breaking_exception","reason":"parent"}}`, "more to do than it can", 7 * time.Second, false},
		{503, "2", "<html>\x1b[31mno</html>", "<html> [31mno</html>", 2 * time.Second, false},
		{302, "", "", "sends elsewhere", 0, false},
		{200, "", "{}", "the answer tells of 0 documents, and 1 were sent", 0, false},
		{200, "", `{"errors":false}`, "the answer tells of 0 documents, and 1 were sent", 0, false},
		{200, "", "[", "isn't that of _bulk", 0, false},
	} {
		o := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			if test.header != "" {
				w.Header().Set("Retry-After", test.header)
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		r, err := newOutput(t, o).Sender().Send(context.Background(), []ship.Event{{Body: []byte(`{}`)}})
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ship.ErrTooLarge) != test.tooLong || len(r.Rejected) > 0 {
			t.Errorf("%d: %+v, %v", test.status, r, err)
		}
		late := (*ship.LaterError)(nil)
		if errors.As(err, &late); (late != nil) != (test.after > 0) || late != nil && late.After != test.after {
			t.Errorf("%d: later %+v", test.status, late)
		}
	}
}

// A connection that is cut in the middle of an answer tells nothing; what was stored is known the next time.
func TestCutConnection(t *testing.T) {
	n := 0
	o := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"errors":false,`)
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, `{"errors":true,"items":[{"create":{"status":409}}]}`)
	})
	s := newOutput(t, o).Sender()
	all := []ship.Event{{Body: []byte(`{}`)}}
	if r, err := s.Send(context.Background(), all); err == nil || r.Delivered != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := s.Send(context.Background(), all); err != nil || r.Known != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Templates are put once, before the first batch; where that is refused, nothing is sent that would make an index without
// them.
func TestSetupFirst(t *testing.T) {
	var asked []string
	refuse := true
	o := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		switch {
		case r.URL.Path == "/":
			io.WriteString(w, `{"version":{"number":"9.1.0"}}`)
		case r.Method == http.MethodGet:
			w.WriteHeader(404)
			io.WriteString(w, `{"error":{"type":"resource_not_found_exception","reason":"none"},"status":404}`)
		case r.Method == http.MethodPut && refuse:
			w.WriteHeader(403)
			io.WriteString(w, `{"error":{"type":"security_exception","reason":"action [cluster:admin/ilm/put] is unauthorized"}}`)
		case r.Method == http.MethodPut:
			io.WriteString(w, `{}`)
		default:
			io.WriteString(w, `{"errors":false,"items":[{"create":{"status":201}}]}`)
		}
	})
	o.NoSetup, o.Keep = false, 7
	out := newOutput(t, o)
	all := []ship.Event{{Body: []byte(`{}`)}}
	if _, err := out.Sender().Send(context.Background(), all); err == nil || !strings.Contains(err.Error(), "setup: false") {
		t.Errorf("refused: %v", err)
	}
	if slices.Contains(asked, "POST /_bulk") {
		t.Error("a batch was sent although the templates couldn't be put")
	}
	refuse, asked = false, nil
	for range 2 {
		if _, err := out.Sender().Send(context.Background(), all); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"GET /_ilm/policy/x", "PUT /_ilm/policy/x", "GET /_index_template/x-exchanges", "PUT /_index_template/x-exchanges",
		"GET /_index_template/x-rollups", "PUT /_index_template/x-rollups", "POST /_bulk", "POST /_bulk",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
}

// What was sent is told apart by what it says of itself.
func TestOptions(t *testing.T) {
	for _, bad := range []string{"Upper", "-x", "a*", "a,b", "a/b", strings.Repeat("x", 200)} {
		o := options(t, bad, "http://h:1")
		if _, err := elastic.New(o); err == nil || !strings.Contains(err.Error(), "index") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	o := options(t, "", "http://h:1")
	o.Keep = -1
	if _, err := elastic.New(o); err == nil {
		t.Error("keep: -1 is taken")
	}
}

// Headers that would have the document refused are made to fit; all else of it stays, and so do other documents.
func TestHeadersFit(t *testing.T) {
	long := strings.Repeat("\u20ac", 20_000)
	var got []string
	o := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		lines := strings.Split(string(body(t, r)), "\n")
		got = append(got, lines[1])
		io.WriteString(w, `{"errors":false,"items":[{"create":{"status":201}}]}`)
	})
	s := newOutput(t, o).Sender()
	for _, test := range []struct{ sent, want string }{
		{`{"http":{"request":{"headers":{"a":["x"]}}}}`, `{"http":{"request":{"headers":{"a":["x"]}}}}`},
		{`{"http":{"request":{"headers":{"a\u0000":["x"]},"y":1}},"z":"\u0000"}`, `{"http":{"request":{"headers":{"a\\x00":["x"]},"y":1}},"z":"\u0000"}`},
		{`{"http":{"response":{"headers":{"a":["` + long + `"]},"y":1}},"z":2}`, `{"http":{"response":{"headers":{"a":["` + long[:29994] + `…"]},"y":1}},"z":2}`},
		{`{"other":"` + long + `"}`, `{"other":"` + long + `"}`},
		{`{"http":{"request":{"headers":"` + long + `"}}}`, `{"http":{"request":{"headers":"` + long + `"}}}`},
		{`{"http":` + long + `}`, `{"http":` + long + `}`},
	} {
		if _, err := s.Send(context.Background(), []ship.Event{{Body: []byte(test.sent)}}); err != nil {
			t.Error(err)
		}
		if now := got[len(got)-1]; now != test.want {
			t.Errorf("%.100s (%d bytes), want %.100s (%d)", now, len(now), test.want, len(test.want))
		}
	}
}
