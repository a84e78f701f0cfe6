package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/storetest"
)

const testToken = "0123456789abcdefghijkl"

// noon is when the tests ask; the shop's exchanges are from the hour before.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// shop makes n exchanges, one every 10 s up to noon, each with its own connection.
func shop(n int) (all []*exchange.Exchange) {
	routes := []struct {
		request string
		route   string
		status  string
		ms      int64
	}{
		{"GET /products/17?ref=mail HTTP/1.1\nHost: shop.example\nUser-Agent: curl/8.5.0\n\n", "/products/{id}", "200 OK", 18},
		{"GET /products/4 HTTP/1.1\nHost: shop.example\nUser-Agent: curl/8.5.0\n\n", "/products/{id}", "200 OK", 22},
		{"POST /cart HTTP/1.1\nHost: shop.example\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n\n", "/cart", "201 Created", 41},
		{"GET /search?q=shoes HTTP/1.1\nHost: api.shop.example\nX-Note: <script>alert(1)</script>&\u2028\n\n", "/search", "503 Service Unavailable", 1900},
		{"GET /old HTTP/1.1\nHost: shop.example\nX-Request-ID: req-1\n\n", "", "404 Not Found", 3},
	}
	for i := range n {
		r := routes[i%len(routes)]
		x := outputtest.Exchange(r.request, "HTTP/1.1 "+r.status+"\nContent-Type: text/html\n\nhello")
		x.Flow = outputtest.Flow(fmt.Sprintf("10.0.0.%d:%d", 7+i%3, 40000+i), "10.0.0.2:8000")
		shift := noon.Add(-time.Duration(n-i)*10*time.Second).UnixNano() - x.Start.Time
		x.Start.Time += shift
		x.Timing.Wait = r.ms * 1e6
		x.Timing.Duration = x.Timing.Send + x.Timing.Wait + x.Timing.Receive
		x.Timing.Total = x.Timing.Duration + x.Timing.Connect
		x.Completed.Time = x.Start.Time + x.Timing.Duration
		x.Flow.First.Time += shift
		x.Enriched.Route = r.route
		x.FirstPacket, x.LastPacket = uint64(i*10+1), uint64(i*10+9)
		all = append(all, x)
	}
	return all
}

// storeOf returns a store of exchanges.
func storeOf(t testing.TB, all []*exchange.Exchange) store.Store {
	t.Helper()
	n := storetest.NewNaive()
	var b record.Batch
	for _, x := range all {
		b.Add(x)
	}
	if b.Len() > 0 {
		if _, err := n.Append(&b); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// serve returns a Server for a shop of 60 exchanges.
func serve(t testing.TB, change ...func(*Options)) *Server {
	t.Helper()
	o := Options{
		Store: storeOf(t, shop(60)), Token: testToken, Version: "1.2.3", Host: machine{}, Now: func() time.Time { return noon },
		Capture: capturing, Process: running, InFlight: func(context.Context) (*InFlight, error) { return inFlightOf(shop(4)), nil }, Hosts: []string{"culprit.example"}, UI: testUI(),
	}
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request makes a request with the token; more are headers, as "Name: value"; an empty value removes one.
func request(target string, more ...string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	r.Host = "127.0.0.1:4400"
	r.Header.Set("Authorization", "Bearer "+testToken)
	for _, h := range more {
		name, value, _ := strings.Cut(h, ": ")
		switch {
		case name == "Host":
			r.Host = value
		case value == "":
			r.Header.Del(name)
		default:
			r.Header.Add(name, value)
		}
	}
	return r
}

func do(s *Server, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// ask gets the JSON of a path.
func ask(t *testing.T, s *Server, target string) map[string]any {
	t.Helper()
	w := do(s, request(target))
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%s: status %d, %s: %s", target, w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	return decode(t, w.Body.Bytes())
}

func decode(t *testing.T, b []byte) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return v
}

// dig gets a value out of JSON by a path of names and indices.
func dig(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// refused asks, and checks the problem that comes.
func refused(t *testing.T, s *Server, r *http.Request, status int, kind, says string) map[string]any {
	t.Helper()
	w := do(s, r)
	p := decode(t, w.Body.Bytes())
	if w.Code != status || w.Header().Get("Content-Type") != "application/problem+json" ||
		p["type"] != problemBase+kind || p["status"] != float64(status) || !strings.Contains(fmt.Sprint(p["detail"]), says) {
		t.Errorf("%s %s: want %d %s %q, got %d %s", r.Method, r.URL, status, kind, says, w.Code, w.Body)
	}
	return p
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		o    Options
		says string
	}{
		{Options{Token: testToken}, "no store"},
		{Options{Store: storetest.NewNaive(), Token: "short"}, "22 are needed"},
		{Options{Store: storetest.NewNaive(), Token: testToken + ";"}, "letters"},
		{Options{Store: storetest.NewNaive(), Token: testToken, Hosts: []string{"http://a"}}, "no name of a host"},
		{Options{Store: storetest.NewNaive(), Token: testToken, Hosts: []string{"a:80"}}, "no name of a host"},
	} {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("want %q, got %v", c.says, err)
		}
	}
}

func TestSearch(t *testing.T) {
	s := serve(t)
	v := ask(t, s, "/api/exchanges?where=status+==+503&limit=2&sort=duration&ascending=1")
	if got := len(dig(v, "exchanges").([]any)); got != 2 {
		t.Fatalf("%d exchanges", got)
	}
	if got := dig(v, "exchanges", 0, "http", "response", "status_code"); got != 503.0 {
		t.Errorf("status %v", got)
	}
	if got := dig(v, "cost", "stored"); got != 60.0 {
		t.Errorf("cost %v", got)
	}

	// All pages together are all exchanges, each once, newest first.
	seen := map[string]bool{}
	last, after, pages := "~", "", 0
	for more := true; more; pages++ {
		v := ask(t, s, "/api/exchanges?limit=25&fields=id,@timestamp&after="+after)
		for _, x := range dig(v, "exchanges").([]any) {
			id, at := dig(x, "event", "id").(string), dig(x, "@timestamp").(string)
			if seen[id] || at > last {
				t.Fatalf("%s comes again, or is out of order", id)
			}
			seen[id], last = true, at
			if len(x.(map[string]any)) != 2 || len(dig(x, "event").(map[string]any)) != 1 {
				t.Fatalf("more than the fields: %v", x)
			}
		}
		after = dig(v, "next").(string)
		more = after != ""
	}
	if len(seen) != 60 || pages != 3 {
		t.Errorf("%d exchanges on %d pages", len(seen), pages)
	}

	for query, want := range map[string]int{
		"last=1m": 6, "from=2026-11-21T11:59:00Z": 6, "from=2026-11-21T11:59:00%2B00:00": 6, "from=2026-11-21T11:59:00+00:00": 6,
		"from=-5m&to=-4m": 6, "from=1795262340": 6, "from=1795262340000": 6, "from=1795262340000000": 6, "from=1795262340000000000": 6, "to=now": 60, "text=REQ-1": 12,
		"where=": 60, "where=method+==+%22POST%22": 12, "where=method+==+%22PUT%22": 0, "last=2d": 60,
	} {
		if got := len(dig(ask(t, s, "/api/exchanges?"+query), "exchanges").([]any)); got != want {
			t.Errorf("%s: %d exchanges, want %d", query, got, want)
		}
	}
}

func TestExchange(t *testing.T) {
	s := serve(t)
	id := dig(ask(t, s, "/api/exchanges?limit=1"), "exchanges", 0, "event", "id").(string)
	for _, form := range []string{id, strings.ToLower(id)} {
		if got := dig(ask(t, s, "/api/exchanges/"+form), "event", "id"); got != id {
			t.Errorf("%s: got %v", form, got)
		}
	}
	refused(t, s, request("/api/exchanges/00000000000000000000000000"), 404, "not-found", "no such exchange")
	for _, bad := range []string{"x", "etc%2fpasswd", "%00", strings.Repeat("Z", 26), strings.Repeat("0", 5000)} {
		refused(t, s, request("/api/exchanges/"+bad), 404, "not-found", "no id of an exchange")
	}
	for _, bad := range []string{"/api/../api/status", "//api/status", "/api/./status", "/api/status/..", "/api/exchanges/../../etc/passwd", "/etc/passwd/x", "/api", "/api/exchanges/", "/api/exchanges/a/b", "/assets"} {
		r := request("/")
		r.URL.Path = bad
		refused(t, s, r, 404, "no-such-path", "")
	}
}

func TestTrace(t *testing.T) {
	s := serve(t)
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	v := ask(t, s, "/api/trace/"+strings.ToUpper(id)+"?limit=5")
	all := dig(v, "exchanges").([]any)
	if len(all) != 5 || dig(v, "next") == "" || dig(all[0], "trace", "id") != id || dig(all[0], "@timestamp").(string) > dig(all[4], "@timestamp").(string) {
		t.Errorf("%v", v)
	}
	refused(t, s, request("/api/trace/4bf92f3577b34da6"), 404, "not-found", "no exchange of trace")
	refused(t, s, request("/api/trace/xyz"), 404, "not-found", "no id of a trace")
}

// Nothing in an answer can begin markup, end a script or steer a terminal, whatever was captured.
func TestHostileContent(t *testing.T) {
	x := outputtest.Exchange("GET /<script>?\u2028\u202e HTTP/1.1\nHost: </script><!--\nX-<b>: &\x1b[31m\xff\nUser-Agent: \\xff\n\n", "")
	x.Enriched.Route = "</script>\u2028\u202e\x9b\xff\\xff\x1b"
	s := serve(t, func(o *Options) { o.Store = storeOf(t, []*exchange.Exchange{x}) })
	for _, target := range []string{
		"/api/exchanges", "/api/exchanges?fields=route,http.request.headers", "/api/aggregate?group=route", "/api/terms?field=route", "/api/histogram?group=route",
		"/api/complete?field=route", "/api/filter?where=%3Cscript%3E+==+1", "/api/filter?where=path+==+%22%3Cscript%3E%E2%80%A8%22", "/api/exchanges?where=%3Cscript%3E",
		"/api/exchanges?%3Cscript%3E=1", "/api/exchanges?sort=%3Cscript%3E%1b%ff",
	} {
		b := do(s, request(target)).Body.Bytes()
		if !json.Valid(b) {
			t.Errorf("%s: no JSON: %s", target, b)
		}
		if bytes.ContainsAny(b, "<>&\x1b\x9b\u2028\u202e") || bytes.Contains(b, []byte{0xff}) {
			t.Errorf("%s: %q", target, b)
		}
	}
	// The same text has the same JSON in a document and as the value of a group, and can be asked for.
	doc := dig(ask(t, s, "/api/exchanges?fields=route"), "exchanges", 0, "culprit", "route")
	value := dig(ask(t, s, "/api/terms?field=route"), "terms", 0, "value")
	if doc != value || doc == nil {
		t.Errorf("document %q, value %q", doc, value)
	}
}

func TestDownloads(t *testing.T) {
	s := serve(t)
	w := do(s, request("/api/exchanges.ndjson?limit=20"))
	if n := strings.Count(w.Body.String(), "\n"); w.Code != 200 || n != 20 || w.Header().Get("Content-Disposition") != `attachment; filename="culprit.ndjson"` {
		t.Errorf("%d, %d lines, %v", w.Code, n, w.Header())
	}
	next := w.Result().Trailer.Get(nextTrailer)
	if next == "" {
		t.Fatal("no trailer says that there is more")
	}
	w = do(s, request("/api/exchanges.ndjson?after="+next))
	if n := strings.Count(w.Body.String(), "\n"); n != 40 || w.Result().Trailer.Get(nextTrailer) != "" {
		t.Errorf("%d lines, trailer %v", n, w.Result().Trailer)
	}
	w = do(s, request("/api/exchanges?format=ndjson&limit=3&fields=status"))
	if want := `{"http":{"response":{"status_code":404}}}` + "\n"; !strings.HasPrefix(w.Body.String(), want) || w.Header().Get("Content-Disposition") != "" {
		t.Errorf("got %s", w.Body)
	}

	w = do(s, request("/api/exchanges.har?where=status+==+503"))
	v := decode(t, w.Body.Bytes())
	if n := len(dig(v, "log", "entries").([]any)); n != 12 || dig(v, "log", "creator", "version") != "1.2.3" {
		t.Errorf("%d entries", n)
	}
	w = do(s, request("/api/exchanges.har?where=status+==+1"))
	if v := decode(t, w.Body.Bytes()); len(dig(v, "log", "entries").([]any)) != 0 {
		t.Errorf("%v", v)
	}
}

// A search that has more exchanges than the store gives at once goes on from page to page.
func TestPagesOfDownloads(t *testing.T) {
	s := serve(t, func(o *Options) { o.Store = paged{o.Store} })
	w := do(s, request("/api/exchanges.ndjson?limit=50"))
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	slices.Sort(lines)
	if n := len(slices.Compact(lines)); n != 50 {
		t.Errorf("%d exchanges", n)
	}
}

// paged gives at most seven exchanges at once.
type paged struct{ store.Reader }

func (p paged) Search(ctx context.Context, q *store.Search, found func(x *exchange.Exchange) error) (*store.Page, error) {
	less := *q
	less.Limit = min(less.Limit, 7)
	return p.Reader.Search(ctx, &less, found)
}

// packets are those of a fake source.
type packets struct{ content string }

func (p packets) Of(x *exchange.Exchange, connection bool) func(context.Context, io.Writer) (int, error) {
	text := fmt.Sprintf("%s %d-%d %v", p.content, x.FirstPacket, x.LastPacket, connection)
	return func(_ context.Context, w io.Writer) (int, error) {
		_, err := io.WriteString(w, text)
		return len(p.content), err
	}
}

func TestPackets(t *testing.T) {
	id := dig(ask(t, serve(t), "/api/exchanges?limit=1"), "exchanges", 0, "event", "id").(string)
	target := "/api/exchanges/" + id + "/packets"
	refused(t, serve(t), request(target), 404, "not-kept", "--keep-packets")
	keep := func(o *Options) { o.Packets = packets{"pcapng"} }
	reveal := func(o *Options) { o.Reveal = true }
	refused(t, serve(t, keep), request(target), 403, "not-revealed", "--reveal")
	refused(t, serve(t, reveal, func(o *Options) { o.Packets = packets{} }), request(target), 404, "not-kept", "any more")
	refused(t, serve(t, reveal, keep), request("/api/exchanges/00000000000000000000000000/packets"), 404, "not-found", "")
	for query, want := range map[string]string{"": "pcapng 591-599 false", "?connection": "pcapng 591-599 true", "?connection=false": "pcapng 591-599 false"} {
		w := do(serve(t, keep, reveal), request(target+query))
		if w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Disposition") != `attachment; filename="`+id+`.pcapng"` {
			t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
		}
	}
}

func TestStatusAndCatalog(t *testing.T) {
	s := serve(t)
	v := ask(t, s, "/api/status")
	if dig(v, "store", "exchanges") != 60.0 || dig(v, "store", "last") != "2026-11-21T11:59:50.000000000Z" || dig(v, "capture", "packets", "received") != 350.0 || dig(v, "process", "rss") != float64(64<<20) || dig(v, "version") != "1.2.3" {
		t.Errorf("%v", v)
	}
	empty := serve(t, func(o *Options) { o.Store, o.Capture = storetest.NewNaive(), nil })
	if v := ask(t, empty, "/api/status"); dig(v, "store", "first") != nil || dig(v, "capture") != nil {
		t.Errorf("%v", v)
	}
	if n := len(dig(ask(t, s, "/api/fields"), "fields").([]any)); n != len(exchange.Fields) {
		t.Errorf("%d fields", n)
	}
	if v := ask(t, s, "/api/filter?where=status+%3E=+500+and+path+contains+%22x%22"); dig(v, "ok") != true ||
		dig(v, "canonical") != `http.response.status_code >= 500 and url.path contains "x"` || dig(v, "fields", 1) != "url.path" {
		t.Errorf("%v", v)
	}
	// The canonical text can be asked for, bytes that aren't UTF-8 included.
	if v := ask(t, s, "/api/filter?where=path+==+b%22%5cxff%22"); dig(v, "canonical") != `url.path == b"\xff"` {
		t.Errorf("%v", v)
	}
	if v := ask(t, s, "/api/filter?where=%C3%A4+==+1+or+stauts+==+1"); dig(v, "ok") != false || dig(v, "error", "position") == nil {
		t.Errorf("%v", v)
	}
	if v := ask(t, s, "/api/filter?where=method+==+%22GET%22+or+stauts+==+1"); dig(v, "error", "position") != 19.0 || dig(v, "error", "length") != 6.0 ||
		!strings.Contains(dig(v, "error", "message").(string), "did you mean status") {
		t.Errorf("%v", v)
	}
	if w := do(s, request("/healthz", "Authorization: ", "Host: 10.1.2.3")); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := do(s, request("/api/openapi.yaml")); !bytes.Equal(w.Body.Bytes(), openAPI) || len(openAPI) < 1000 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBadParameters(t *testing.T) {
	s := serve(t)
	for query, says := range map[string]string{
		"/api/exchanges?limit=0":                                         "limit",
		"/api/exchanges?limit=10001":                                     "1 to 10000",
		"/api/exchanges?limit=999999999999999999999":                     "limit",
		"/api/exchanges?limit=-1":                                        "limit",
		"/api/exchanges.har?limit=1000001":                               "1 to 1000000",
		"/api/exchanges?limt=1":                                          "there are fields, sort",
		"/api/exchanges?limit=1&limit=2":                                 "2 times",
		"/api/exchanges?token=" + testToken:                              "no such parameter",
		"/api/status?x=1":                                                "no parameters",
		"/api/exchanges?sort=nope":                                       "no field",
		"/api/exchanges?sort=anomalies":                                  "no order",
		"/api/exchanges?fields=status,nope":                              "no field",
		"/api/exchanges?ascending=maybe":                                 "neither",
		"/api/exchanges?format=xml":                                      "json and ndjson",
		"/api/exchanges?from=yesterday":                                  "isn't a time",
		"/api/exchanges?from=1600-01-01T00:00:00Z":                       "isn't a time",
		"/api/exchanges?from=99999999999999999999":                       "isn't a time",
		"/api/exchanges?from=-5":                                         "isn't a time",
		"/api/exchanges?last=0s":                                         "length of time",
		"/api/exchanges?last=-1h":                                        "length of time",
		"/api/exchanges?last=999999999999d":                              "length of time",
		"/api/exchanges?last=1h&from=-2h":                                "one or the other",
		"/api/exchanges?from=-1h&to=-2h":                                 "from comes first",
		"/api/exchanges?text=" + strings.Repeat("a", MaxText+1):          "1025 bytes",
		"/api/exchanges?a;b":                                             "can't be read",
		"/api/exchanges?a=%zz":                                           "can't be read",
		"/api/aggregate?metric=p50":                                      "is of a field",
		"/api/aggregate?metric=p101(duration)":                           "is no metric",
		"/api/aggregate?metric=p1e1(duration)":                           "is no metric",
		"/api/aggregate?metric=p5.0.0(duration)":                         "is no metric",
		"/api/aggregate?metric=sum(path)":                                "can't be said of url.path",
		"/api/aggregate?metric=rate(path)":                               "write it alone",
		"/api/aggregate?metric=sum(size":                                 "parenthesis",
		"/api/aggregate?metric=median(size)":                             "is no metric",
		"/api/aggregate?metric=rate&sort=errors":                         "none of the metrics",
		"/api/aggregate?metric=" + strings.Repeat("rate,", 17):           "16 are allowed",
		"/api/aggregate?group=http.request.headers":                      "can't be said of",
		"/api/aggregate?group=class(path)":                               "can't be said of",
		"/api/aggregate?group=cube(status)":                              "nothing to group by",
		"/api/aggregate?group=class(status":                              "nothing to group by",
		"/api/aggregate?group=a,a,a,a,a":                                 "no field",
		"/api/aggregate?group=status,method,path,route,client":           "more than 4",
		"/api/aggregate?interval=1ns&last=1h":                            "2000 are allowed",
		"/api/aggregate?interval=1s&last=30m&group=client&limit=10000":   "100000 are allowed",
		"/api/histogram?buckets=2001":                                    "1 to 2000",
		"/api/histogram?buckets=10&interval=1m":                          "one or the other",
		"/api/histogram?group=status,method":                             "more than 1",
		"/api/histogram?group=client&buckets=2000&limit=100&metric=rate": "100000 are allowed",
		"/api/heatmap?field=path":                                        "no magnitude",
		"/api/terms":                                                     "is missing",
		"/api/terms?field=nope":                                          "no field",
		"/api/cardinality?field=http.request.headers":                    "no values",
		"/api/complete?field=path&prefix=" + strings.Repeat("a", 1025):   "1025 bytes",
		"/api/live?fields=nope":                                          "no field",
	} {
		p := refused(t, s, request(query), 400, "bad-parameter", says)
		if name, ok := p["parameter"].(string); !ok && !strings.Contains(says, "can't be read") || ok && name == "" {
			t.Errorf("%s: the problem names no parameter: %v", query, p)
		}
	}
	for query, want := range map[string][2]float64{
		"/api/exchanges?where=status+%3E=+500+and+stauts+==+1": {18, 6},
		"/api/exchanges?where=status+==":                       {9, 0},
		"/api/live?where=(":                                    {1, 0},
		"/api/terms?field=path&where=nope":                     {0, 4},
	} {
		p := refused(t, s, request(query), 400, "bad-filter", "")
		if p["parameter"] != "where" || p["position"] != want[0] || p["length"] != want[1] {
			t.Errorf("%s: %v", query, p)
		}
	}
	refused(t, s, request("/api/exchanges?where="+strings.Repeat("%20", 4000)+"status+==+1"+strings.Repeat("+", 100)), 400, "bad-filter", "4096 are allowed")
	if w := do(s, request("/api/exchanges?where=status+==+200"+strings.Repeat("+", 4096-13))); w.Code != 200 {
		t.Errorf("a filter of 4096 bytes: %s", w.Body)
	}
	refused(t, s, request("/api/exchanges?text="+strings.Repeat("a", MaxQuery)), 414, "too-long", "are allowed")
	for _, after := range []string{"x", "%00", "%0d%0aSet-Cookie:a", strings.Repeat("a", MaxCursor+1), "%f0%9f%98%80"} {
		refused(t, s, request("/api/exchanges?after="+after), 400, "bad-cursor", "")
	}
}

func TestMethodsAndBodies(t *testing.T) {
	s := serve(t)
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "X<script>"} {
		for _, target := range []string{"/api/exchanges", "/", "/healthz", "/nothing", "/api/live"} {
			r := request(target)
			r.Method = method
			w := do(s, r)
			if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s: %d %v", method, target, w.Code, w.Header())
			}
		}
	}
	r := request("/api/exchanges")
	r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader("x"))
	refused(t, s, r, 413, "no-body", "no body")

	// What HEAD answers is what GET does, without the body; live doesn't wait.
	server := httptest.NewServer(s)
	defer server.Close()
	for _, target := range []string{"/api/exchanges?limit=1", "/api/live", "/api/nothing", "/healthz"} {
		req, _ := http.NewRequest("HEAD", server.URL+target, nil)
		req.Header.Set("Authorization", "Bearer "+testToken)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if len(b) > 0 || res.StatusCode != map[string]int{"/api/nothing": 404}[target] && res.StatusCode != 200 {
			t.Errorf("HEAD %s: %d %q", target, res.StatusCode, b)
		}
	}
}

// failing fails after so many exchanges.
type failing struct {
	store.Reader
	after int
	err   error
}

func (f failing) Search(ctx context.Context, q *store.Search, found func(x *exchange.Exchange) error) (*store.Page, error) {
	x := shop(1)[0]
	for range f.after {
		if err := found(x); err != nil {
			return nil, err
		}
	}
	return nil, f.err
}

// An error gets its status as long as nothing was sent; then the connection is cut.
func TestErrorsOfTheStore(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		kind   string
	}{
		{fmt.Errorf("reading a segment: %w", io.ErrUnexpectedEOF), 500, "failed"},
		{fmt.Errorf("after 3 s: %w", store.ErrLimit), 422, "limit"},
		{context.DeadlineExceeded, 422, "limit"},
	} {
		for _, target := range []string{"/api/exchanges", "/api/exchanges.har", "/api/exchanges.ndjson", "/api/trace/4bf92f3577b34da6"} {
			s := serve(t, func(o *Options) { o.Store = failing{o.Store, 3, c.err} })
			refused(t, s, request(target), c.status, c.kind, "")
			if w := do(s, request(target)); w.Header().Get("Content-Disposition") != "" || w.Header().Get("Trailer") != "" {
				t.Errorf("the problem is a download: %v", w.Header())
			}
		}
	}
	server := httptest.NewServer(serve(t, func(o *Options) { o.Store = failing{o.Store, 2000, io.ErrUnexpectedEOF} }))
	defer server.Close()
	for _, target := range []string{"/api/exchanges", "/api/exchanges.har", "/api/exchanges.ndjson"} {
		req, _ := http.NewRequest("GET", server.URL+target, nil)
		req.Header.Set("Authorization", "Bearer "+testToken)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); err == nil || n == 0 {
			t.Errorf("%s: %d bytes, and no error shows that they are a part", target, n)
		}
		res.Body.Close()
	}
}

// A client that leaves ends its question.
func TestLeaving(t *testing.T) {
	entered, left := make(chan bool), make(chan error, 1)
	s := serve(t, func(o *Options) { o.Store = hanging{o.Store, entered, left} })
	server := httptest.NewServer(s)
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/terms?field=path", nil)
	req.Header.Set("Authorization", "Bearer "+testToken)
	go http.DefaultClient.Do(req)
	<-entered
	cancel()
	if err := <-left; err != context.Canceled {
		t.Errorf("the question ended with %v", err)
	}
}

// hanging answers when its context ends.
type hanging struct {
	store.Reader
	entered chan bool
	left    chan error
}

func (h hanging) Aggregate(ctx context.Context, q *store.Aggregate) (*store.Table, error) {
	h.entered <- true
	<-ctx.Done()
	h.left <- ctx.Err()
	return nil, ctx.Err()
}
