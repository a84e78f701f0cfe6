package replay_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/redact"
	"github.com/culprit-http/culprit/internal/replay"
)

// talkTo sends requests as they stand there on one connection, each once the answer before it has come.
func talkTo(t testing.TB, address string, requests ...string) (answers []string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, q := range requests {
		io.WriteString(c, q)
		method, _, _ := strings.Cut(q, " ")
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q: %v", q, err)
		}
		b, _ := io.ReadAll(resp.Body)
		answers = append(answers, string(b))
	}
	return answers
}

// heard keeps the bytes that came on each connection, and answers each request alike.
type heard struct {
	mu    sync.Mutex
	conns []*bytes.Buffer
}

func (h *heard) serve(c net.Conn) {
	h.mu.Lock()
	b := &bytes.Buffer{}
	h.conns = append(h.conns, b)
	h.mu.Unlock()
	tee := bufio.NewReader(io.TeeReader(c, writerFunc(func(p []byte) { h.mu.Lock(); b.Write(p); h.mu.Unlock() })))
	for {
		req, err := http.ReadRequest(tee)
		if err != nil {
			return
		}
		if req.Header.Get("Expect") != "" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		io.Copy(io.Discard, req.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// all returns what came, of all connections.
func (h *heard) all() (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.conns {
		out = append(out, b.String())
	}
	slices.Sort(out)
	return out
}

// What is sent is what was sent, byte for byte, but for Host: order and case of headers, chunks with trailers, Expect, HTTP/1.0, an empty body.
func TestRequestsAreSentAsRecorded(t *testing.T) {
	then := &heard{}
	w := newWiretap(t, script(t, then.serve))
	at := w.listener.Addr().String()
	talkTo(t, at,
		"GET /a?b=%20c HTTP/1.1\r\nx-Lower: 1\r\nHOST: "+at+"\r\nX-UPPER: 2\r\nx-lower: 3\r\nAccept: */*\r\n\r\n",
		"PUT /p HTTP/1.1\r\nHost: "+at+"\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nZ: 1\r\n\r\nhello",
		"PUT /q HTTP/1.1\r\nHost: "+at+"\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 7\r\n\r\n",
		"PUT /none HTTP/1.1\r\nHost: "+at+"\r\nContent-Length: 0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: "+at+"\r\n\r\n",
		"GET /ten HTTP/1.0\r\nConnection: keep-alive\r\nHost: "+at+"\r\n\r\n",
	)
	talkTo(t, at, "DELETE /other HTTP/1.1\r\nHost: "+at+"\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
	r := recordingOf(t, w, setup{})
	now := &heard{}
	to := script(t, now.serve)
	s, _ := run(t, r, options(t, "http://"+to))
	if s.Same != 7 {
		t.Errorf("%+v %v", s, r.LeftOut)
	}
	want := then.all()
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], at, to)
	}
	if got := now.all(); !slices.Equal(got, want) {
		t.Errorf("sent\n%q\nwant\n%q", got, want)
	}
}

// Rewriting: host, headers, targets, the path of the target.
func TestRewriting(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	at := w.listener.Addr().String()
	talkTo(t, at, "GET /v1/x?a=1&v1=2 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Basic abc\r\nCookie: a=b\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA\r\n\r\n")
	records := w.records(t)
	sub := func(text string) replay.Substitution {
		s, err := replay.ParseSubstitution(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		rewrite    replay.Rewrite
		path, want string
	}{
		{replay.Rewrite{KeepHost: true}, "", "GET /v1/x?a=1&v1=2 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Basic abc\r\nCookie: a=b\r\n\r\n"},
		{replay.Rewrite{KeepHost: true, Drop: []string{"cookie", "authorization"}, Targets: []replay.Substitution{sub("s|^/v1.*|v2|")}}, "", "GET /v2 HTTP/1.1\r\nHost: shop.example\r\n\r\n"},
		{replay.Rewrite{KeepHost: true, Drop: []string{"cookie"}, Set: []replay.Field{{Name: "authorization", Value: "Bearer x"}, {Name: "New", Value: "1"}}}, "/base/",
			"GET /base/v1/x?a=1&v1=2 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer x\r\nNew: 1\r\n\r\n"},
		{replay.Rewrite{KeepHost: true, Drop: []string{"cookie", "authorization"}, Targets: []replay.Substitution{sub("s|^/v(1)/|/w$1$1/|"), sub("s/V1/z/i")}}, "",
			"GET /w11/x?a=1&z=2 HTTP/1.1\r\nHost: shop.example\r\n\r\n"},
		{replay.Rewrite{Set: []replay.Field{{Name: "Host", Value: "other"}}, Drop: []string{"cookie", "authorization"}, Targets: []replay.Substitution{sub("s,1,,g")}}, "",
			"GET /v/x?a=&v=2 HTTP/1.1\r\nHost: other\r\n\r\n"},
	} {
		now := &heard{}
		r := recordingFrom(t, records, setup{rewrite: c.rewrite})
		run(t, r, options(t, "http://"+script(t, now.serve)+c.path))
		if got := now.all(); len(got) != 1 || got[0] != c.want {
			t.Errorf("sent %q, want %q", got, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "s", "s||", "s|a|b", "s|a|b|x", "s|(|b|", "x|a|b|", "saXbXa", "s|a|b|c|"} {
		if _, err := replay.ParseSubstitution(bad); err == nil {
			t.Errorf("%q is taken for a substitution", bad)
		}
	}
	for _, bad := range []string{"", ": x", "A B: c", "A: b\r\nC: d", "A"} {
		if _, err := replay.ParseField(bad); err == nil {
			t.Errorf("%q is taken for a header", bad)
		}
	}
	for _, bad := range []string{"", "json:", "json:x", "json:$[", "json:$['a", "json:$.", "json:$[-1]", "json:$x", "text:(", "text:", "else:x", "json:$" + strings.Repeat(".a", 65)} {
		if _, err := replay.ParseIgnore(bad); err == nil {
			t.Errorf("%q is taken for what is ignored", bad)
		}
		if _, err := replay.ParseCarry(bad); err == nil {
			t.Errorf("%q is taken for what is carried", bad)
		}
	}
	if _, err := replay.ParseCarry("header:a b"); err == nil {
		t.Error("a b is taken for the name of a header")
	}
}

// bank wants a session cookie and a token that it gives when somebody logs in.
func bank(seed, space string) http.Handler {
	var n atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		k := n.Add(1)
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: fmt.Sprintf("session-%s-%d", seed, k)})
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-CSRF", fmt.Sprintf("csrf%s%s%s%d", space, seed, space, k))
		fmt.Fprintf(w, `{"user":{"token":"tok/%s+%d"}}`, seed, k)
	})
	mux.HandleFunc("/account", func(w http.ResponseWriter, r *http.Request) {
		sid, err := r.Cookie("sid")
		k := ""
		if err == nil {
			k = strings.TrimPrefix(sid.Value, "session-"+seed+"-")
		}
		b, _ := io.ReadAll(r.Body)
		if k == "" || strings.Contains(k, "-") || r.Header.Get("Authorization") != "Bearer tok/"+seed+"+"+k || r.URL.Query().Get("c") != "csrf"+space+seed+space+k ||
			!bytes.Contains(b, []byte(`"tok/`+seed+"+"+k+`"`)) {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		io.WriteString(w, "welcome")
	})
	return mux
}

// Cookies and tokens of new answers replace those of the recording, also where secrets were redacted in it.
func TestCarry(t *testing.T) {
	for _, redacted := range []bool{false, true} {
		space, theme := " ", "theme=dark; " // what has to be encoded, and a cookie that no answer gives
		if redacted {
			space, theme = "-", ""
		}
		w := newWiretap(t, serve(t, bank("old", space)))
		at := w.listener.Addr().String()
		for k := 1; k <= 3; k++ {
			answer := talkTo(t, at, "POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi") // the token of each is in requests of another connection

			token := strings.Split(answer[0], `"`)[5]
			body := `{"token":"` + token + `"}`
			for range 2 {
				got := talkTo(t, at, fmt.Sprintf("POST /account?c=%s HTTP/1.1\r\nHost: x\r\nCookie: %ssid=session-old-%d\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
					url.QueryEscape("csrf"+space+"old"+space+strconv.Itoa(k)), theme, k, token, len(body), body))
				if got[0] != "welcome" {
					t.Fatalf("recording: %q", got)
				}
			}
		}
		s := setup{selection: replay.Selection{All: true}, carry: []string{"json:$.user.token", "header:x-csrf"}}
		if redacted {
			hide := redact.New([]byte("key"))
			s.change = func(x *exchange.Exchange) { hide.Exchange(x) }
		}
		r := recordingOf(t, w, s)
		if r.Len() != 9 {
			t.Fatalf("%d requests, left out %v, secrets %v", r.Len(), r.LeftOut, r.Secrets)
		}
		for _, concurrency := range []int{1, 8} { // who waits for a value must not keep others from bringing it, and has to wait
			slow := bank("newer", space)
			o := options(t, "http://"+serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/login" {
					time.Sleep(20 * time.Millisecond) // a server that takes its time
				}
				slow.ServeHTTP(w, r)
			})))
			o.Concurrency = concurrency
			_, all := run(t, r, o)
			for _, x := range all {
				if x.Answer == nil || x.Answer.Status != 200 {
					t.Errorf("redacted: %v: %s %s: %+v\n%+v", redacted, x.Request.Method, x.Request.Target, x.Answer, x.Request.Fields)
				}
			}
		}
	}
}

// Requests with secrets that were redacted are left out, and the secrets are named; what is given or left out isn't missing.
func TestMissingSecrets(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	at := w.listener.Addr().String()
	talkTo(t, at,
		"GET /1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n",
		"GET /2?access_token=0123456789abcdef HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /3 HTTP/1.1\r\nHost: x\r\nCookie: sid=0123456789abcdef\r\n\r\n",
		"GET /4 HTTP/1.1\r\nHost: x\r\n\r\n",
	)
	records := w.records(t)
	hide := redact.New([]byte("key"))
	change := func(x *exchange.Exchange) { hide.Exchange(x) }
	r := recordingFrom(t, records, setup{change: change})
	want := map[string]uint64{"header Authorization": 1, "query access_token": 1, "cookie sid": 1}
	if fmt.Sprint(r.Secrets) != fmt.Sprint(want) || r.LeftOut[replay.Hidden] != 3 || r.Len() != 1 {
		t.Errorf("secrets %v, left out %v, %d are sent", r.Secrets, r.LeftOut, r.Len())
	}
	sub, _ := replay.ParseSubstitution("s/access_token=.*/access_token=new/")
	r = recordingFrom(t, records, setup{change: change, rewrite: replay.Rewrite{
		Set: []replay.Field{{Name: "authorization", Value: "Bearer y"}}, Drop: []string{"Cookie"}, Targets: []replay.Substitution{sub},
	}})
	if len(r.Secrets) != 0 || r.Len() != 4 {
		t.Errorf("secrets %v, left out %v", r.Secrets, r.LeftOut)
	}
}

// What isn't sent is counted by why.
func TestLeftOut(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	at := w.listener.Addr().String()
	big := strings.Repeat("x", 2<<20) // more than the recording keeps of a body
	talkTo(t, at,
		"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", "PATCH /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na",
		"PUT /3 HTTP/1.1\r\nHost: x\r\nContent-Length: "+fmt.Sprint(len(big))+"\r\n\r\n"+big,
		"GET /4 HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: abc\r\n\r\n",
	)
	records := w.records(t)
	r := recordingFrom(t, records, setup{})
	if r.LeftOut[replay.Method] != 2 || r.LeftOut[replay.BodyCut] != 1 || r.LeftOut[replay.Switching] != 1 || r.Len() != 0 || r.Skipped["POST"] != 1 || r.Skipped["PATCH"] != 1 {
		t.Errorf("left out %v, %v", r.LeftOut, r.Skipped)
	}
	r = recordingFrom(t, records, setup{selection: replay.Selection{All: true, Partial: true}})
	if r.Len() != 3 {
		t.Errorf("all: %d, left out %v", r.Len(), r.LeftOut)
	}
	r = recordingFrom(t, records, setup{selection: replay.Selection{All: true}, change: func(x *exchange.Exchange) { x.RequestBody.Bytes = nil }})
	if r.LeftOut[replay.BodyNotKept] != 3 {
		t.Errorf("without bodies: left out %v", r.LeftOut)
	}
	// What a hostile recording would smuggle into a request isn't sent.
	for _, evil := range []func(m *proto.Message){
		func(m *proto.Message) { m.Fields[0].Value = append1(m, "x\r\nEvil: 1") },
		func(m *proto.Message) { m.Target = append1(m, "/a HTTP/1.1\r\nEvil: 1\r\n\r\n") },
		func(m *proto.Message) { m.Method = append1(m, "GET / HTTP/1.1\r\n\r\nGET") },
	} {
		r = recordingFrom(t, records, setup{selection: replay.Selection{All: true}, change: func(x *exchange.Exchange) { evil(&x.Request) }})
		if r.LeftOut[replay.Unfit] < 2 || r.Len() != 0 {
			t.Errorf("evil: %d are sent, left out %v", r.Len(), r.LeftOut)
		}
	}
}

func append1(m *proto.Message, text string) proto.Span {
	s := proto.Span{Off: uint32(len(m.Raw)), Len: uint32(len(text))}
	m.Raw = append(m.Raw, text...)
	return s
}

// Connections and the order on them stay as recorded; a request isn't sent before the answer before it has come.
func TestConnectionsAndOrder(t *testing.T) {
	then := &heard{}
	w := newWiretap(t, script(t, then.serve))
	var all sync.WaitGroup
	for k := range 10 {
		all.Add(1)
		go func() {
			defer all.Done()
			var list []string
			for i := range 20 {
				list = append(list, fmt.Sprintf("GET /%d/%d HTTP/1.1\r\nHost: %s\r\n\r\n", k, i, w.listener.Addr()))
			}
			talkTo(t, w.listener.Addr().String(), list...)
		}()
	}
	all.Wait()
	r := recordingOf(t, w, setup{rewrite: replay.Rewrite{KeepHost: true}})
	if r.Connections() != 10 {
		t.Errorf("%d connections", r.Connections())
	}
	now := &heard{}
	run(t, r, options(t, "http://"+script(t, now.serve)))
	if got, want := now.all(), then.all(); !slices.Equal(got, want) {
		t.Errorf("sent\n%q\nwant\n%q", got, want)
	}
}

// At the original speed, requests are sent when they were, at twice the speed in half the time, and at a rate one after the other.
func TestTiming(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	for range 3 {
		talkTo(t, w.listener.Addr().String(), "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
		time.Sleep(60 * time.Millisecond) // what is recorded
		talkTo(t, w.listener.Addr().String(), "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	r := recordingOf(t, w, setup{})
	to := "http://" + script(t, (&heard{}).serve)
	for _, c := range []struct{ speed, rate float64 }{{1, 0}, {2, 0}, {1, 100}} {
		o := options(t, to)
		o.Speed, o.Rate = c.speed, c.rate
		s, all := run(t, r, o)
		if s.Timed != 9 {
			t.Fatalf("%+v", s)
		}
		slices.SortFunc(all, func(a, b *replay.Outcome) int { return int(a.Item.Start - b.Item.Start) })
		for i, x := range all {
			due := float64(x.Item.Start-all[0].Item.Start) / c.speed
			if c.rate > 0 {
				due = float64(i) / c.rate * 1e9
			}
			// Whatever the machine does, no request is early, and the lateness that is told is that of the clock.
			was := float64(x.Sent - all[0].Sent + all[0].Late)
			if diff := was - float64(x.Late) - due; diff < -1e6 || diff > 1e6 {
				t.Errorf("%+v: request %d was sent after %v ms, %v ms late, and due after %v ms", c, i, was/1e6, float64(x.Late)/1e6, due/1e6)
			}
		}
		t.Logf("%+v: late by %v, at most %v", c, time.Duration(s.Late.P50), time.Duration(s.LateMax))
	}
}

// A server that closes connections between requests is asked again on a new one, once, and only if the request may be repeated.
func TestClosedConnections(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	talkTo(t, w.listener.Addr().String(), "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n", "POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
	r := recordingOf(t, w, setup{selection: replay.Selection{All: true}})
	for name, talk := range map[string]func(c net.Conn){
		"at once": func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		},
		"when asked again": func(c net.Conn) {
			b := bufio.NewReader(c)
			http.ReadRequest(b)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			http.ReadRequest(b)
		},
	} {
		s, all := run(t, r, options(t, "http://"+script(t, talk)))
		failed := uint64(0)
		for _, x := range all {
			if x.Err != nil {
				failed++
				if x.Request.Method != "POST" {
					t.Errorf("%s: %s: %v", name, x.Request.Target, x.Err)
				}
			}
		}
		if name == "when asked again" && (failed != 1 || s.Again != 1) || failed > 1 {
			t.Errorf("%s: %d without an answer: %+v", name, failed, s)
		}
	}
	// Who never answers is asked twice at most.
	var asked atomic.Int64
	s, _ := run(t, r, options(t, "http://"+script(t, func(c net.Conn) { asked.Add(1) })))
	if s.Failed != 3 || asked.Load() > 8 {
		t.Errorf("%d connections, %+v", asked.Load(), s)
	}
}

// Hostile servers are bounded, and told apart from honest ones.
func TestHostileServers(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	talkTo(t, w.listener.Addr().String(), "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
	r := recordingOf(t, w, setup{})
	endless := func(begin, more string) func(c net.Conn) {
		return func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, begin)
			b := []byte(strings.Repeat(more, 1000))
			for more != "" {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}
	}
	for name, c := range map[string]struct {
		talk func(c net.Conn)
		want string
	}{
		"endless headers":     {endless("HTTP/1.1 200 OK\r\n", "X-More: 1\r\n"), "head of the answer is longer than"},
		"endless line":        {endless("HTTP/1.1 200 OK\r\nX: ", "xxxxxxxxxxxxxxxx"), "head of the answer is longer than"},
		"endless interim":     {endless("", "HTTP/1.1 103 Early\r\n\r\n"), "interim"},
		"endless trailers":    {endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-More: 1\r\n"), "head of the answer is longer than"},
		"endless chunk line":  {endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0000000000000000000"), ""},
		"garbage":             {endless("\x00\x01\x02 garbage\r\n\r\n", ""), "doesn't answer in HTTP/1.1"},
		"no header":           {endless("HTTP/1.1 200 OK\r\nno header\r\n\r\n", ""), "malformed header"},
		"half a head":         {endless("HTTP/1.1 200 OK\r\nA: b", ""), "within the head"},
		"short body":          {endless("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ""), "after 3 of 10 bytes"},
		"contradiction":       {endless("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 11\r\n\r\nabc", ""), "makes no sense"},
		"negative":            {endless("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc", ""), "makes no sense"},
		"nothing":             {endless("", ""), "without an answer"},
		"switching protocols": {endless("HTTP/1.1 101 Switching\r\n\r\n", ""), "changed the protocol"},
		"slow":                {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nX:"); io.Copy(io.Discard, c) }, "timeout"},
		"endless body, slow":  {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); drip(c) }, "timeout"},
	} {
		o := options(t, "http://"+script(t, c.talk))
		o.Timeout = 300 * time.Millisecond
		if c.want != "timeout" {
			o.Timeout = time.Minute
		}
		s, all := run(t, r, o)
		if s.Failed != 1 || s.Different != 1 || all[0].Findings[0].Kind != replay.NoAnswer {
			t.Errorf("%s: %+v %+v", name, s, all[0])
			continue
		}
		if got := replay.Cause(all[0].Err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// A body without end is cut where it is said.
	o := options(t, "http://"+script(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 3<<20))
	}))
	if _, all := run(t, r, o); all[0].Err != nil || len(all[0].Answer.Body.Bytes) != 1<<20 || all[0].Answer.Body.Size != 3<<20 || all[0].Answer.Body.State != replay.Cut {
		t.Errorf("long body: %+v", all[0])
	}
}

// drip sends a byte now and then.
func drip(c net.Conn) {
	for {
		if _, err := io.WriteString(c, "x"); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond) // slower than the time that an answer has
	}
}

// A large body and an early answer: neither waits for the other.
func TestEarlyAnswer(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	body := strings.Repeat("x", 1<<20)
	talkTo(t, w.listener.Addr().String(), "PUT /1 HTTP/1.1\r\nHost: x\r\nContent-Length: "+fmt.Sprint(len(body))+"\r\n\r\n"+body, "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
	r := recordingOf(t, w, setup{})
	s, all := run(t, r, options(t, "http://"+script(t, func(c net.Conn) {
		b := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(b)
			if err != nil {
				return
			}
			if req.Method == "PUT" {
				io.WriteString(c, "HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
				io.Copy(io.Discard, req.Body)
				continue
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})))
	if s.Failed != 0 || s.Same != 1 || all[0].Answer.Status != 413 {
		t.Errorf("%+v: %v %v", s, all[0].Err, all[1].Err)
	}
}

// TLS is verified unless that isn't wanted; HTTP/2 is spoken where it is wanted and possible.
func TestTLSAndHTTP2(t *testing.T) {
	w := newWiretap(t, serve(t, &shop{}))
	at := w.listener.Addr().String()
	talkTo(t, at, "GET /item?id=3 HTTP/1.1\r\nHost: "+at+"\r\nCookie: a=b\r\n\r\n", "GET /file?id=7 HTTP/1.1\r\nHost: "+at+"\r\nAccept-Encoding: gzip\r\n\r\n", "HEAD /file?id=7 HTTP/1.1\r\nHost: "+at+"\r\n\r\n",
		"PUT //odd/path?%20 HTTP/1.1\r\nHost: "+at+"\r\nContent-Length: 4\r\n\r\nbody")
	r := recordingOf(t, w, setup{})
	var protos sync.Map
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protos.Store(r.Proto+" "+r.URL.Path+" "+r.UserAgent(), true)
		(&shop{}).ServeHTTP(w, r)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = discard()
	s.StartTLS()
	t.Cleanup(s.Close)
	rules := replay.Rules{}
	i, _ := replay.ParseIgnore("json:$.time")
	rules.Ignore = []replay.Ignore{i}

	o := options(t, s.URL)
	o.Rules = rules
	if sum, all := run(t, r, o); sum.Failed != 4 || !strings.Contains(all[0].Err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %+v %v", sum, all[0].Err)
	}
	for version, want := range map[string]uint64{"auto": 0, "1.1": 0, "2": 4} {
		o := options(t, s.URL)
		o.Rules, o.Insecure, o.HTTP = rules, true, version
		if sum, all := run(t, r, o); sum.Same != 4 || sum.HTTP2 != want {
			t.Errorf("%s: %+v %+v %v", version, sum, all[0].Findings, all[0].Err)
		}
	}
	var got []string
	protos.Range(func(k, _ any) bool { got = append(got, k.(string)); return true })
	slices.Sort(got)
	if want := []string{"HTTP/1.1 //odd/path ", "HTTP/1.1 /file ", "HTTP/1.1 /item ", "HTTP/2.0 //odd/path ", "HTTP/2.0 /file ", "HTTP/2.0 /item "}; !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}

	// A recording of HTTP/2 goes over HTTP/2 by itself, and over HTTP/1.1 to who speaks nothing else.
	two := recordingFrom(t, w.records(t), setup{change: func(x *exchange.Exchange) { x.Request.Version = 0x0200; x.Protocol = "http2" }})
	o = options(t, s.URL)
	o.Rules, o.Insecure = rules, true
	if sum, all := run(t, two, o); sum.Same != 4 || sum.HTTP2 != 4 {
		t.Errorf("%+v %+v %v", sum, all[0].Findings, all[0].Err)
	}
	one := httptest.NewUnstartedServer(&shop{})
	one.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	one.Config.ErrorLog = discard()
	one.StartTLS()
	t.Cleanup(one.Close)
	o = options(t, one.URL)
	o.Rules, o.Insecure = rules, true
	if sum, all := run(t, two, o); sum.Same != 4 || sum.HTTP2 != 0 {
		t.Errorf("%+v %+v %v", sum, all[0].Findings, all[0].Err)
	}
	// Without TLS, as the user says.
	clear := httptest.NewUnstartedServer(&shop{})
	clear.Config.Protocols = &http.Protocols{}
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	t.Cleanup(clear.Close)
	o = options(t, clear.URL)
	o.Rules, o.HTTP = rules, "2"
	if sum, all := run(t, two, o); sum.Same != 4 || sum.HTTP2 != 4 {
		t.Errorf("%+v %+v %v", sum, all[0].Findings, all[0].Err)
	}
}

// A target that isn't there ends the run soon; so does a signal, and an error of who takes what came of it.
func TestEnds(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	for range 40 {
		talkTo(t, w.listener.Addr().String(), "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	r := recordingOf(t, w, setup{})
	free, err := newListener()
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	o := options(t, "http://"+free.Addr().String())
	o.Done = func(*replay.Outcome) error { return nil }
	if err := replay.Run(context.Background(), r, o); !errors.Is(err, replay.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
	stuck := options(t, "http://"+script(t, func(c net.Conn) { io.Copy(io.Discard, c) }))
	stuck.Done = func(o *replay.Outcome) error { t.Error("a request that was given up is told"); return nil }
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := replay.Run(ctx, r, stuck); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	o = options(t, "http://"+script(t, (&heard{}).serve))
	full := errors.New("disk full")
	o.Done = func(*replay.Outcome) error { return full }
	if err := replay.Run(context.Background(), r, o); !errors.Is(err, full) {
		t.Errorf("an error of Done: %v", err)
	}
}

// Requests of a connection of HTTP/2 overlap as they did, and only so, on whatever they are sent.
func TestOverlap(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	var list []string
	for i := range 5 {
		list = append(list, fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i))
	}
	talkTo(t, w.listener.Addr().String(), list...)
	records := w.records(t)
	for _, overlap := range []bool{false, true} {
		first := int64(0)
		r := recordingFrom(t, records, setup{change: func(x *exchange.Exchange) {
			x.Request.Version, x.Protocol = 0x0200, "http2"
			if first == 0 {
				first = x.Start.Time
			}
			if overlap {
				x.Start.Time, x.Timing.Duration = first, 1e9
			}
		}})
		var underWay, most atomic.Int64
		all := make(chan bool, 5)
		s, _ := run(t, r, options(t, "http://"+serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := underWay.Add(1)
			defer underWay.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			if overlap { // nobody is answered before all have asked
				all <- true
				for len(all) < 5 {
					time.Sleep(time.Millisecond)
				}
			}
			time.Sleep(5 * time.Millisecond) // the others would come in the meantime
			io.WriteString(w, "ok")
		}))))
		if want := map[bool]int64{false: 1, true: 5}[overlap]; most.Load() != want || s.Failed > 0 {
			t.Errorf("overlap %v: %d requests were under way, want %d; %+v", overlap, most.Load(), want, s)
		}
	}
}

// A server of HTTP/2 that says it takes no more requests on a connection (as nginx does after keepalive_requests) has the others on a new one, also such as mustn't
// be sent twice, and answers those that it has taken.
func TestGoAway(t *testing.T) {
	const requests, each = 40, 3
	w := newWiretap(t, script(t, (&heard{}).serve))
	var list []string
	for i := range requests {
		list = append(list, fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", i))
	}
	talkTo(t, w.listener.Addr().String(), list...)
	first := int64(0)
	r := recordingFrom(t, w.records(t), setup{selection: replay.Selection{All: true}, change: func(x *exchange.Exchange) {
		x.Request.Version, x.Protocol = 0x0200, "http2"
		if first == 0 {
			first = x.Start.Time
		}
		x.Start.Time, x.Timing.Duration = first, 1e9 // all at once
	}})
	var seen, conns atomic.Int64
	target := script(t, func(c net.Conn) {
		conns.Add(1)
		if _, err := io.ReadFull(c, make([]byte, len(h2.ClientPreface))); err != nil {
			return
		}
		f := h2.NewFramer(c, c)
		f.WriteSettings()
		var taken []uint32
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *h2.SettingsFrame:
				if !frame.IsAck() {
					f.WriteSettingsAck()
				}
			case *h2.HeadersFrame:
				if len(taken) == each {
					continue // behind what GOAWAY says
				}
				seen.Add(1)
				if taken = append(taken, frame.StreamID); len(taken) < each {
					continue
				}
				f.WriteGoAway(frame.StreamID, h2.ErrCodeNo, nil)
				time.Sleep(20 * time.Millisecond) // a client that closes the connection does so now
				var head bytes.Buffer
				e := hpack.NewEncoder(&head)
				for _, id := range taken {
					head.Reset()
					e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
					f.WriteHeaders(h2.HeadersFrameParam{StreamID: id, BlockFragment: head.Bytes(), EndHeaders: true})
					f.WriteData(id, true, []byte("ok"))
				}
			}
		}
	})
	o := options(t, "http://"+target)
	o.HTTP = "2"
	// Of the last connection, fewer than each may come: it answers none of these.
	o.Timeout = 2 * time.Second
	s, all := run(t, r, o)
	if left := uint64(requests % each); s.Same < requests-left || s.Failed > left || seen.Load() != requests {
		for _, x := range all {
			if x.Err != nil {
				t.Logf("%s: %v", x.Request.Target, x.Err)
			}
		}
		t.Errorf("%d of %d answered, %d failed; the server took %d on %d connections", s.Same, requests, s.Failed, seen.Load(), conns.Load())
	}
}

// What a hostile answer gives to later requests can't break out of a header.
func TestCarriedLineEnds(t *testing.T) {
	answer := func(value string) func(c net.Conn) {
		return func(c net.Conn) {
			in := bufio.NewReader(c)
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				if req.URL.Path == "/evil" {
					t.Error("a request came out of a header")
				}
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(value), value)
			}
		}
	}
	w := newWiretap(t, script(t, answer(`{"token":"abcdef"}`)))
	talkTo(t, w.listener.Addr().String(), "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2 HTTP/1.1\r\nHost: x\r\nX-Token: abcdef\r\n\r\n")
	r := recordingOf(t, w, setup{carry: []string{"json:$.token"}})
	_, all := run(t, r, options(t, "http://"+script(t, answer(`{"token":"a\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n"}`))))
	if len(all) != 2 || all[1].Err == nil || !strings.Contains(all[1].Err.Error(), "no header may have") {
		t.Errorf("%+v", all[len(all)-1])
	}
}

// Who keeps a port for two connections, one after the other, has two connections to the target.
func TestPortsUsedAgain(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	for i := range 2 {
		talkTo(t, w.listener.Addr().String(), fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i))
	}
	r := recordingFrom(t, w.records(t), setup{change: func(x *exchange.Exchange) {
		f := &proto.Flow{Proto: x.Flow.Proto, Addr: x.Flow.Addr, Port: x.Flow.Port, First: x.Flow.First}
		f.Port[x.Client] = 40_000
		x.Flow = f
	}})
	if r.Connections() != 2 || r.Len() != 2 {
		t.Errorf("%d requests on %d connections, want 2 on 2", r.Len(), r.Connections())
	}
}

// Who waits for a value keeps nobody from bringing it: with one connection at a time, too.
func TestWaitingTakesNoSlot(t *testing.T) {
	w := newWiretap(t, serve(t, bank("old", "-")))
	at := w.listener.Addr().String()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q string) {
		io.WriteString(c, q)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
	talkTo(t, at, "GET /login HTTP/1.1\r\nHost: x\r\n\r\n")
	ask("GET /account HTTP/1.1\r\nHost: x\r\nCookie: sid=session-old-1\r\n\r\n")
	c.Close()
	r := recordingOf(t, w, setup{})
	o := options(t, "http://"+serve(t, bank("new", "-")))
	o.Concurrency, o.Timeout = 1, time.Minute
	_, all := run(t, r, o)
	var asked []string
	for _, x := range all {
		cookie, _ := x.Request.Get("cookie")
		asked = append(asked, x.Request.Target+" "+cookie)
	}
	if want := []string{"/nowhere ", "/login ", "/account sid=session-new-1"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// The body of a request that was compressed is sent as it is without that, and says so.
func TestCodedRequest(t *testing.T) {
	w := newWiretap(t, script(t, (&heard{}).serve))
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, "hello")
	z.Close()
	talkTo(t, w.listener.Addr().String(), fmt.Sprintf("PUT /1 HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b.String()))
	now := &heard{}
	r := recordingOf(t, w, setup{rewrite: replay.Rewrite{KeepHost: true}})
	run(t, r, options(t, "http://"+script(t, now.serve)))
	if got, want := now.all(), []string{"PUT /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}
