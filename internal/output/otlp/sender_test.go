package otlp

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metricsv1 "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/ship"
)

// reply is what a fake receiver answers. Code is a status of HTTP, or of a call.
type reply struct {
	code    int
	header  map[string]string
	body    []byte // of HTTP: with the media type of the protocol unless the header says another
	message string // of calls
	details []byte
}

// receiver is a fake receiver, of which a test says what it answers.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	reply    func(path string) reply
	ids      []string        // event.id of all spans, and of the rows by culprit.exchanges
	spans    map[string]bool // trace and span ids
	groups   int             // resources of the last request
	paths    []string
	requests []http.Header
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	b, err := io.ReadAll(q.Body)
	if err != nil {
		return // the client has gone
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths, r.requests = append(r.paths, q.URL.Path), append(r.requests, q.Header)
	call := strings.HasPrefix(q.Header.Get("Content-Type"), "application/grpc")
	packed := q.Header.Get("Content-Encoding") == "gzip"
	if call {
		if q.ProtoMajor != 2 || len(b) < 5 || int(binary.BigEndian.Uint32(b[1:])) != len(b)-5 || q.Header.Get("Te") != "trailers" || q.Header.Get("Grpc-Timeout") == "" {
			r.t.Errorf("a bad call: %s, %v", q.Proto, q.Header)
		}
		packed = b[0] == 1
		if packed != (q.Header.Get("Grpc-Encoding") == "gzip") {
			r.t.Errorf("%v", q.Header)
		}
		b = b[5:]
	} else if q.Header.Get("Content-Type") != "application/x-protobuf" {
		r.t.Errorf("%v", q.Header)
	}
	if packed {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err == nil {
			b, err = io.ReadAll(z)
		}
		if err != nil {
			r.t.Error(err)
		}
	}
	a := r.reply(q.URL.Path)
	if a.code == 0 || a.code/100 == 2 {
		r.take(q.URL.Path, b)
	}
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if !call {
		if a.header["Content-Type"] == "" {
			w.Header().Set("Content-Type", "application/x-protobuf")
		}
		w.WriteHeader(max(a.code, 200))
		w.Write(a.body)
		return
	}
	if a.header["Content-Type"] == "" {
		w.Header().Set("Content-Type", "application/grpc")
	}
	if a.code >= 100 {
		w.WriteHeader(a.code)
		return
	}
	if a.code == 0 {
		w.Write(append([]byte{0, 0, 0, 0, byte(len(a.body))}, a.body...))
	}
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", fmt.Sprint(a.code))
	w.Header().Set(http.TrailerPrefix+"Grpc-Message", a.message)
	if a.details != nil {
		w.Header().Set(http.TrailerPrefix+"Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(a.details))
	}
}

func (r *receiver) take(path string, b []byte) {
	if strings.Contains(path, "metrics") || strings.Contains(path, "Metrics") {
		var d metricsv1.MetricsData
		if err := proto.Unmarshal(b, &d); err != nil {
			r.t.Error(err)
		}
		r.groups = len(d.ResourceMetrics)
		for _, rm := range d.ResourceMetrics {
			for _, m := range rm.ScopeMetrics[0].Metrics {
				if m.Name == "culprit.exchanges" {
					r.ids = append(r.ids, values(r.t, m.Metadata)["event.id"].(string))
				}
			}
		}
		return
	}
	var d tracev1.TracesData
	if err := proto.Unmarshal(b, &d); err != nil {
		r.t.Error(err)
	}
	r.groups = len(d.ResourceSpans)
	for _, rs := range d.ResourceSpans {
		for _, s := range rs.ScopeSpans[0].Spans {
			r.ids = append(r.ids, values(r.t, s.Attributes)["event.id"].(string))
			r.spans[string(s.TraceId)+string(s.SpanId)] = true
		}
	}
}

// start starts a fake receiver that says yes.
func start(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, spans: map[string]bool{}, reply: func(string) reply { return reply{} }}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.Protocols = new(http.Protocols)
	r.Config.Protocols.SetHTTP1(true)
	r.Config.Protocols.SetUnencryptedHTTP2(true)
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func sender(t *testing.T, target string, o Options) ship.Sender {
	t.Helper()
	make, err := New(target, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// events are n exchanges of two services, and a row behind each third.
func events(n int) (all []ship.Event, ids []string) {
	e := NewEncoder(&Options{Version: "1"})
	for i := range n {
		x := outputtest.Exchange(get, ok)
		x.Request.First.Offset = int64(i)
		x.Enriched.Service[1] = [...]string{"shop", "cart"}[i%2]
		id := x.ID("")
		all = append(all, ship.Event{Kind: ship.Exchange, ID: id, Body: e.Exchange(nil, x)})
		ids = append(ids, string(exchange.AppendID(nil, id)))
		if i%3 == 2 {
			r := row()
			binary.BigEndian.PutUint32(r.ID[12:], uint32(i))
			all = append(all, ship.Event{Kind: ship.Rollup, ID: r.ID, Body: e.Rollup(nil, r)})
			ids = append(ids, string(exchange.AppendID(nil, r.ID)))
		}
	}
	return all, ids
}

var protocols = []string{HTTP, GRPC}

func TestDelivery(t *testing.T) {
	for _, protocol := range protocols {
		for _, compression := range []string{Gzip, None} {
			r := start(t)
			s := sender(t, r.URL, Options{Protocol: protocol, Compression: compression, Headers: map[string]string{"x-team": "a b"},
				Endpoint: endpoint.Options{UserAgent: "culprit/1", Auth: endpoint.Auth{Bearer: "token"}}})
			all, ids := events(30)
			for range 2 { // the sender's buffers are used again
				r.ids, r.paths = nil, nil
				result, err := s.Send(t.Context(), all)
				if err != nil || !reflect.DeepEqual(result, ship.Result{}) {
					t.Fatalf("%s: %+v, %v", protocol, result, err)
				}
				slices.Sort(ids)
				slices.Sort(r.ids)
				if !slices.Equal(r.ids, ids) {
					t.Errorf("%s, %s: got %d events of %d", protocol, compression, len(r.ids), len(ids))
				}
			}
			want := []string{"/v1/traces", "/v1/metrics"}
			if protocol == GRPC {
				want = []string{"/opentelemetry.proto.collector.trace.v1.TraceService/Export", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"}
			}
			if !slices.Equal(r.paths, want) {
				t.Errorf("%s: %v", protocol, r.paths)
			}
			for _, h := range r.requests {
				if h.Get("Authorization") != "Bearer token" || h.Get("User-Agent") != "culprit/1" || h.Get("X-Team") != "a b" {
					t.Errorf("%s: %v", protocol, h)
				}
			}
		}
	}
}

// A request has each resource once.
func TestGroups(t *testing.T) {
	r := start(t)
	s := sender(t, r.URL, Options{Signals: []string{Traces}})
	all, _ := events(30)
	all = slices.DeleteFunc(all, func(e ship.Event) bool { return e.Kind == ship.Rollup })
	if _, err := s.Send(t.Context(), all); err != nil || r.groups != 2 || len(r.ids) != 30 {
		t.Errorf("%d resources, %d spans, %v", r.groups, len(r.ids), err)
	}
	for _, body := range [][]byte{twoScopes(all[0].Body), nil, message(1, "")} {
		all = append(all, ship.Event{Kind: ship.Exchange, Body: body})
	}
	var got tracev1.TracesData
	var b batch
	indices := make([]int, len(all))
	for i := range indices {
		indices[i] = i
	}
	if err := proto.Unmarshal(b.append(nil, all, indices), &got); err != nil || len(got.ResourceSpans) != 4 {
		t.Errorf("%d resources, %v", len(got.ResourceSpans), err)
	}
}

// twoScopes is a body with a second scope, which has nothing in it: as one that another version of culprit has queued.
func twoScopes(body []byte) []byte {
	inner, _, _ := firstField(body, requestResources)
	return message(requestResources, slices.Concat(inner, message(resourceScopes, "")))
}

// What is split is what was there, whatever it is.
func FuzzSplit(f *testing.F) {
	all, _ := events(3)
	f.Add(all[0].Body)
	f.Add(all[3].Body)
	f.Add(twoScopes(all[0].Body))
	f.Add([]byte("\x0a\x80\x80"))
	f.Fuzz(func(t *testing.T, body []byte) {
		resource, scope, items, ok := split(body)
		if !ok {
			return
		}
		var a, b tracev1.TracesData
		var g batch
		again := g.append(nil, []ship.Event{{Body: body}}, []int{0})
		if len(resource)+len(scope)+len(items) > len(body) {
			t.Error("more than there was")
		}
		if proto.Unmarshal(body, &a) == nil && (proto.Unmarshal(again, &b) != nil || !proto.Equal(&a, &b)) {
			t.Errorf("%x became %x", body, again)
		}
	})
}

func message(fields ...any) (b []byte) {
	for i := 0; i < len(fields); i += 2 {
		n := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
		}
	}
	return b
}

// retryInfo is a google.rpc.Status with a RetryInfo.
func retryInfo(seconds, nanos int) []byte {
	return message(1, 14, 2, "busy", 3, message(1, "type.googleapis.com/google.rpc.RetryInfo", 2, message(1, message(1, seconds, 2, nanos))))
}

func TestAnswers(t *testing.T) {
	const later, tooLarge, again, refused = "later", "too large", "again", "refused"
	date := map[string]string{"Date": "Sun, 22 Nov 2026 12:00:00 GMT", "Retry-After": "Sun, 22 Nov 2026 12:00:07 GMT"}
	for _, c := range []struct {
		protocol string
		reply    reply
		want     string
		after    time.Duration
		says     string
	}{
		{HTTP, reply{code: 429}, again, 0, "429 Too Many Requests"},
		{HTTP, reply{code: 503, header: map[string]string{"Retry-After": "30"}, body: message(2, "over\x1b[31m\nloaded")}, later, 30 * time.Second, "503 Service Unavailable: over [31m loaded"},
		{HTTP, reply{code: 503, header: map[string]string{"Retry-After": "99999999"}}, later, maxLater, ""},
		{HTTP, reply{code: 502, header: date}, later, 7 * time.Second, ""},
		{HTTP, reply{code: 504, header: map[string]string{"Retry-After": "soon"}}, again, 0, ""},
		{HTTP, reply{code: 413}, tooLarge, 0, ""},
		{HTTP, reply{code: 401}, again, 0, "check the credentials"},
		{HTTP, reply{code: 403}, again, 0, ""},
		{HTTP, reply{code: 404, header: map[string]string{"Content-Type": "text/plain"}, body: []byte("404 page\nnot found")}, again, 0, "404 page not found (check the URL"},
		{HTTP, reply{code: 302, header: map[string]string{"Location": "/elsewhere"}}, again, 0, "302 Found"},
		{HTTP, reply{code: 400, body: message(1, 3, 2, "bad span")}, refused, 0, "400 Bad Request: bad span"},
		{HTTP, reply{code: 500}, refused, 0, "500 Internal Server Error"},
		{HTTP, reply{code: 501}, refused, 0, ""},
		{HTTP, reply{code: 200, body: []byte("\xff\xff")}, "", 0, ""},
		{HTTP, reply{code: 202, header: map[string]string{"Content-Type": "text/html"}, body: message(1, message(1, 3))}, "", 0, ""},
		{HTTP, reply{code: 200, body: message(1, message(2, "a warning"))}, "", 0, ""},
		{HTTP, reply{code: 200, body: message(1, message(1, 99, 2, "none of them"))}, refused, 0, "the receiver refused it: none of them"},

		{GRPC, reply{code: 14, message: "down%20for%20now"}, again, 0, "UNAVAILABLE: down for now"},
		{GRPC, reply{code: 14, details: retryInfo(3, 500_000_000)}, later, 3500 * time.Millisecond, ""},
		{GRPC, reply{code: 14, details: retryInfo(1<<40, 5)}, later, maxLater, ""},
		{GRPC, reply{code: 8, details: retryInfo(2, 0)}, later, 2 * time.Second, ""},
		{GRPC, reply{code: 8, details: retryInfo(0, 0)}, later, 1, ""},
		{GRPC, reply{code: 8, message: "quota"}, refused, 0, "RESOURCE_EXHAUSTED: quota"},
		{GRPC, reply{code: 8, message: "grpc: received message larger than max (9 vs. 4)"}, tooLarge, 0, ""},
		{GRPC, reply{code: 1}, again, 0, ""},
		{GRPC, reply{code: 4}, again, 0, ""},
		{GRPC, reply{code: 10}, again, 0, ""},
		{GRPC, reply{code: 11}, again, 0, ""},
		{GRPC, reply{code: 15}, again, 0, ""},
		{GRPC, reply{code: 16}, again, 0, "UNAUTHENTICATED (check the credentials"},
		{GRPC, reply{code: 7}, again, 0, ""},
		{GRPC, reply{code: 12}, again, 0, "UNIMPLEMENTED (check the URL"},
		{GRPC, reply{code: 2}, refused, 0, "UNKNOWN"},
		{GRPC, reply{code: 3, message: "bad"}, refused, 0, "INVALID_ARGUMENT: bad"},
		{GRPC, reply{code: 13}, refused, 0, ""},
		{GRPC, reply{code: 77}, refused, 0, "gRPC status 77"},
		{GRPC, reply{code: 503}, again, 0, "503"},
		{GRPC, reply{code: 404}, again, 0, ""},
		{GRPC, reply{code: 0, body: message(1, message(1, 99, 2, "none"))}, refused, 0, "none"},
		{GRPC, reply{code: 0}, "", 0, ""},
	} {
		r := start(t)
		r.reply = func(string) reply { return c.reply }
		s := sender(t, r.URL, Options{Protocol: c.protocol, Signals: []string{Traces}})
		all, _ := events(2)
		result, err := s.Send(t.Context(), all)
		got, says := "", ""
		var l *ship.LaterError
		switch {
		case errors.Is(err, ship.ErrTooLarge):
			got = tooLarge
		case errors.As(err, &l):
			got, says = later, err.Error()
			if l.After != c.after {
				t.Errorf("%s %d: after %v, want %v", c.protocol, c.reply.code, l.After, c.after)
			}
		case err != nil:
			got, says = again, err.Error()
		case len(result.Rejected) == 2:
			got, says = refused, result.Rejected[0].Reason
		}
		if got != c.want || !strings.Contains(says, c.says) || err != nil && !reflect.DeepEqual(result, ship.Result{}) {
			t.Errorf("%s %d %s: %s, want %s with %q: %+v, %v", c.protocol, c.reply.code, c.reply.message, got, c.want, c.says, result, err)
		}
	}
}

// Of some, the receiver doesn't say which it refused: their number is right, and the reason says so.
func TestPartialSuccess(t *testing.T) {
	for _, protocol := range protocols {
		r := start(t)
		r.reply = func(path string) reply {
			if strings.Contains(strings.ToLower(path), "metrics") {
				return reply{}
			}
			return reply{body: message(1, message(1, 2, 2, "too old"))}
		}
		s := sender(t, r.URL, Options{Protocol: protocol})
		all, _ := events(6) // 3 exchanges, a row, 3 exchanges, a row
		result, err := s.Send(t.Context(), all)
		if err != nil || len(result.Rejected) != 2 || result.Rejected[0].Index != 5 || result.Rejected[1].Index != 6 ||
			!strings.Contains(result.Rejected[0].Reason, "refused 2 of 6 events") || !strings.Contains(result.Rejected[0].Reason, "too old") {
			t.Errorf("%s: %+v, %v", protocol, result, err)
		}
	}
}

// Exchanges and rows go by requests of their own: what became of one kind holds when the other fails.
func TestOneSignalFails(t *testing.T) {
	for _, protocol := range protocols {
		r := start(t)
		all, _ := events(6)
		fail := "metrics"
		r.reply = func(path string) reply {
			if strings.Contains(strings.ToLower(path), fail) {
				return reply{code: map[string]int{HTTP: 503, GRPC: 14}[protocol]}
			}
			return reply{}
		}
		s := sender(t, r.URL, Options{Protocol: protocol})
		result, err := s.Send(t.Context(), all)
		if err != nil || !reflect.DeepEqual(result, ship.Result{Retry: []int{3, 7}}) || len(r.ids) != 6 {
			t.Errorf("%s: %+v, %v, %d events", protocol, result, err, len(r.ids))
		}
		if _, err = s.Send(t.Context(), []ship.Event{all[3]}); err == nil {
			t.Errorf("%s: the error of metrics isn't told", protocol)
		}
		fail, r.ids, r.paths = "trace", nil, nil
		result, err = s.Send(t.Context(), all)
		if err == nil || !reflect.DeepEqual(result, ship.Result{}) || len(r.paths) != 1 {
			t.Errorf("%s: %+v, %v, %v", protocol, result, err, r.paths)
		}
	}
}

// A receiver that answers before it has read the request, or never, does no harm to what is sent next.
func TestEarlyAnswers(t *testing.T) {
	for _, protocol := range protocols {
		r := start(t)
		var ready atomic.Bool
		r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if !ready.Load() {
				w.WriteHeader(503)
				return
			}
			r.ServeHTTP(w, q)
		})
		s := sender(t, r.URL, Options{Protocol: protocol, Compression: None, Timeout: time.Minute})
		all, _ := events(2000)
		all = slices.DeleteFunc(all, func(e ship.Event) bool { return e.Kind == ship.Rollup })
		for range 3 {
			if _, err := s.Send(t.Context(), all); err == nil {
				t.Errorf("%s: delivered", protocol)
			}
		}
		ready.Store(true)
		if _, err := s.Send(t.Context(), all); err != nil || len(r.ids) != len(all) {
			t.Errorf("%s: %v, %d events of %d", protocol, err, len(r.ids), len(all))
		}
	}
}

// An event whose acknowledgement was lost is sent again as the same span.
func TestLostAnswer(t *testing.T) {
	for _, protocol := range protocols {
		r := start(t)
		var lost atomic.Bool
		r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if !lost.Swap(true) {
				r.ServeHTTP(httptest.NewRecorder(), q)
				panic(http.ErrAbortHandler)
			}
			r.ServeHTTP(w, q)
		})
		s := sender(t, r.URL, Options{Protocol: protocol, Signals: []string{Traces}})
		all, ids := events(2)
		if result, err := s.Send(t.Context(), all); err == nil || !reflect.DeepEqual(result, ship.Result{}) {
			t.Fatalf("%s: %+v, %v", protocol, result, err)
		}
		if _, err := s.Send(t.Context(), all); err != nil || len(r.ids) != 4 || len(r.spans) != 2 {
			t.Errorf("%s: %d events of %d, as %d spans: %v", protocol, len(r.ids), len(ids), len(r.spans), err)
		}
	}
}

func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	all, _ := events(2)
	for _, protocol := range protocols {
		s := sender(t, "http://"+l.Addr().String(), Options{Protocol: protocol, Timeout: 50 * time.Millisecond})
		if _, err := s.Send(t.Context(), all); err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
			t.Errorf("%s: %v", protocol, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Send(ctx, all); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

// What isn't a receiver is told, and nothing is given up for it.
func TestOtherServers(t *testing.T) {
	h1 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {}))
	defer h1.Close()
	all, _ := events(1)
	if result, err := sender(t, h1.URL, Options{Protocol: GRPC}).Send(t.Context(), all); err == nil || result.Rejected != nil {
		t.Errorf("a server of HTTP/1: %+v, %v", result, err)
	}
	h2, err := net.Listen("tcp", "127.0.0.1:0") // it answers with its settings, as servers of gRPC do, and ends
	if err != nil {
		t.Fatal(err)
	}
	defer h2.Close()
	go func() {
		if c, err := h2.Accept(); err == nil {
			if q, err := http.ReadRequest(bufio.NewReader(c)); err == nil { // all of it, or its writing fails first
				io.Copy(io.Discard, q.Body)
			}
			c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}
	}()
	if _, err := sender(t, "http://"+h2.Addr().String(), Options{Protocol: HTTP}).Send(t.Context(), all); err == nil || !strings.Contains(err.Error(), "protocol: grpc") {
		t.Errorf("a server of gRPC alone: %v", err)
	}
	r := start(t)
	r.reply = func(string) reply { return reply{code: 200, header: map[string]string{"Content-Type": "text/html"}} }
	if _, err := sender(t, r.URL, Options{Protocol: GRPC}).Send(t.Context(), all); err == nil || !strings.Contains(err.Error(), "doesn't talk gRPC") {
		t.Errorf("a server of pages: %v", err)
	}
	r.reply = func(string) reply { return reply{body: bytes.Repeat([]byte{0}, 100)} }
	r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		w.Header().Set("Content-Type", "application/grpc")
		for range 100 {
			w.Write(make([]byte, 1024))
		}
	})
	if _, err := sender(t, r.URL, Options{Protocol: GRPC}).Send(t.Context(), all); err == nil || !strings.Contains(err.Error(), fmt.Sprint(maxAnswer)) {
		t.Errorf("an endless answer: %v", err)
	}
}

func TestTLS(t *testing.T) {
	for _, protocol := range protocols {
		r := &receiver{t: t, spans: map[string]bool{}, reply: func(string) reply { return reply{} }}
		r.Server = httptest.NewUnstartedServer(r)
		r.EnableHTTP2 = true
		r.StartTLS()
		defer r.Close()
		ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))
		all, _ := events(3)
		if _, err := sender(t, r.URL, Options{Protocol: protocol}).Send(t.Context(), all); err == nil {
			t.Errorf("%s: an unknown certificate is taken", protocol)
		}
		s := sender(t, r.URL, Options{Protocol: protocol, Endpoint: endpoint.Options{TLS: endpoint.TLS{CA: ca}}})
		if _, err := s.Send(t.Context(), all); err != nil || len(r.ids) != 4 {
			t.Errorf("%s: %v, %d events", protocol, err, len(r.ids))
		}
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		target string
		o      Options
		url    string // or an error that says so
	}{
		{"http://otel", Options{}, "http://otel:4318/v1/traces"},
		{"http://otel:80/prefix/", Options{}, "http://otel:80/prefix/v1/traces"},
		{"https://otel", Options{}, "https://otel/v1/traces"},
		{"http://otel", Options{Protocol: GRPC}, "http://otel:4317" + signals[0].call},
		{"http://otel:4317", Options{}, "http://otel:4317" + signals[0].call},
		{"http://otel:4317", Options{Protocol: HTTP}, "http://otel:4317/v1/traces"},
		{"https://otel/v1/traces", Options{}, "want https://otel"},
		{"https://otel/x/v1/metrics", Options{}, "want https://otel/x"},
		{"https://otel/x", Options{Protocol: GRPC}, "gRPC has paths of its own"},
		{"http://a,http://b", Options{}, "want one"},
		{"otel:4317", Options{}, "want a URL such as http://HOST"},
		{"http://otel", Options{Protocol: "json"}, "protocol:"},
		{"http://otel", Options{Compression: "zstd"}, "compression:"},
		{"http://otel", Options{Signals: []string{"logs"}}, "signals:"},
		{"http://otel", Options{Endpoint: endpoint.Options{TLS: endpoint.TLS{CA: "x"}}}, "ca:"},
	} {
		make, err := New(c.target, c.o)
		if err != nil {
			if !strings.Contains(err.Error(), c.url) || !strings.Contains(c.url, " ") && !strings.HasSuffix(c.url, ":") {
				t.Errorf("%s: %v", c.target, err)
			}
			continue
		}
		s, err := make()
		if err != nil {
			t.Fatal(err)
		}
		q, err := s.(*Sender).protocol.request(0, []byte("....."))
		if err != nil || q.URL.String() != c.url {
			t.Errorf("%s: %v, want %s: %v", c.target, q.URL, c.url, err)
		}
	}
	make, err := New("http://u:p@otel", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := make(); s.(*Sender).o.Endpoint.Auth != (endpoint.Auth{User: "u", Password: "p"}) {
		t.Error("the credentials of the URL are lost")
	}
}

func TestParseHeaders(t *testing.T) {
	got, err := ParseHeaders(" X-Team = a%20b ,api-key=s3cret==,, empty=")
	if want := map[string]string{"x-team": "a b", "api-key": "s3cret==", "empty": ""}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"secret", "=secret", "a b=secret", "a=%zz", "a=secret%0d%0ab:c", "a:b=secret"} {
		if _, err := ParseHeaders(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Answers are read as far as they can be, and never further.
func FuzzAnswers(f *testing.F) {
	f.Add(message(1, message(1, 3, 2, "x")))
	f.Add(retryInfo(5, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, s := readAnswer(b), readStatus(b)
		if len(a.message) > 4*maxMessage || len(s.message) > 4*maxMessage || s.later < 0 || s.later > maxLater {
			t.Errorf("%+v, %+v", a, s)
		}
		unframe(b)
	})
}

// A URL that can't be asked is an error of the request, not of the events.
func TestBadURL(t *testing.T) {
	s, err := newSender(&url.URL{Scheme: "http", Host: "a b"}, &Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	all, _ := events(1)
	if result, err := s.Send(t.Context(), all); err == nil || result.Rejected != nil {
		t.Errorf("%+v, %v", result, err)
	}
}
