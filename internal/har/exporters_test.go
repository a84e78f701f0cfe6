package har_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/har"
	"github.com/culprit-http/culprit/internal/proto"
)

// summary says what an exchange is, for tables.
func summary(x *exchange.Exchange) string {
	head := func(m *proto.Message) string {
		return strings.ReplaceAll(strings.TrimSuffix(string(m.Raw), "\r\n\r\n"), "\r\n", "|")
	}
	return fmt.Sprintf("%s %s > %s %s %d %v %q\n%s\n%d %q cut %v\n%s\n%d %q cut %v %d\nsend %d wait %d receive %d connect %d tls %d, from %s", x.Protocol, x.Flow.End(0), x.Flow.End(1), x.Grade, x.Index, x.Stream, x.Reason,
		head(&x.Request), x.Request.BodyBytes, x.RequestBody.Bytes, x.RequestBody.Cut,
		head(&x.Response), x.Response.BodyBytes, x.ResponseBody.Bytes, x.ResponseBody.Cut, x.ResponseBody.DecodedBytes,
		x.Timing.Send, x.Timing.Wait, x.Timing.Receive, x.Timing.Connect, x.Timing.TLS,
		time.Unix(0, x.Start.Time).UTC().Format("15:04:05.0000000"))
}

// What exporters write is read, however they write it. The entries are short forms of what they made.
func TestExporters(t *testing.T) {
	for _, c := range []struct{ name, entry, want string }{
		{"Chromium, HTTP/2", `{"_connectionId":"412","_initiator":{"type":"other"},"_priority":"High","_resourceType":"fetch","cache":{},"connection":"443",
			"request":{"method":"POST","url":"https://shop.example/api/cart?id=7#top","httpVersion":"http/2.0","headers":[{"name":":authority","value":"shop.example"},
			{"name":":method","value":"POST"},{"name":":path","value":"/api/cart?id=7"},{"name":":scheme","value":"https"},{"name":"content-type","value":"application/json"}],
			"queryString":[{"name":"id","value":"7"}],"cookies":[],"headersSize":-1,"bodySize":7,"postData":{"mimeType":"application/json","text":"{\"n\":1}"}},
			"response":{"status":200,"statusText":"","httpVersion":"http/2.0","headers":[{"name":"content-encoding","value":"br"},{"name":"content-type","value":"text/plain"}],"cookies":[],
			"content":{"size":5,"mimeType":"text/plain","text":"aGVsbG8=","encoding":"base64"},"redirectURL":"","headersSize":-1,"bodySize":-1,"_transferSize":120,"_error":null},
			"serverIPAddress":"[2001:db8::2]","startedDateTime":"2026-11-21T10:00:00.500Z","time":25.5,
			"timings":{"blocked":1.5,"dns":2,"ssl":4,"connect":10,"send":0.5,"wait":10,"receive":1.5,"_blocked_queueing":0.8}}`,
			`http2 0.0.0.0:1 > [2001:db8::2]:443 complete 0 false ""
POST /api/cart?id=7 http/2.0|:authority: shop.example|:method: POST|:path: /api/cart?id=7|:scheme: https|content-type: application/json
7 "{\"n\":1}" cut false
http/2.0 200 |content-encoding: br|content-type: text/plain
5 "hello" cut false 5
send 500000 wait 10000000 receive 1500000 connect 6000000 tls 4000000, from 10:00:00.5135000`},
		{"Chromium, blocked", `{"request":{"method":"GET","url":"http://ads.example/","httpVersion":"","headers":[]},"response":{"status":0,"statusText":"","headers":[],"content":{"size":0,"mimeType":"x-unknown"},
			"_error":"net::ERR_CONNECTION_RESET"},"startedDateTime":"2026-11-21T10:00:00Z","time":3,"timings":{"blocked":3,"dns":-1,"ssl":-1,"connect":-1,"send":0,"wait":0,"receive":0}}`,
			`http 0.0.0.0:1 > 0.0.0.0:80 aborted 0 false "net::ERR_CONNECTION_RESET"
GET / |Host: ads.example
0 "" cut false

0 "" cut false -1
send 0 wait 0 receive -1 connect -1 tls -1, from 10:00:00.0030000`},
		{"Firefox, cookies in one value", `{"pageref":"page_1","startedDateTime":"2026-11-21T11:00:00.000+01:00","request":{"bodySize":9,"method":"POST","url":"http://a.example:8000/login","httpVersion":"HTTP/1.1",
			"headers":[{"name":"Host","value":"a.example:8000"},{"name":"Content-Length","value":"9"}],"headersSize":60,"postData":{"mimeType":"application/x-www-form-urlencoded","params":[{"name":"u","value":"a b"},{"name":"p","value":"x%26"}],"text":""}},
			"response":{"status":302,"statusText":"Found","httpVersion":"HTTP/1.1","headers":[{"name":"Set-Cookie","value":"a=1; Path=/\nb=2"},{"name":"Location","value":"/"}],"content":{"mimeType":"text/plain","size":0,"text":""},"redirectURL":"/","headersSize":90,"bodySize":0},
			"timings":{"blocked":0,"dns":0,"connect":0,"ssl":0,"send":0,"wait":12,"receive":0},"time":12,"serverIPAddress":"192.0.2.7","connection":"8000"}`,
			`http 0.0.0.0:1 > 192.0.2.7:8000 complete 0 false ""
POST /login HTTP/1.1|Host: a.example:8000|Content-Length: 9
9 "u=a+b&p=x%26" cut false
HTTP/1.1 302 Found|Set-Cookie: a=1; Path=/|Set-Cookie: b=2|Location: /
0 "" cut false -1
send 0 wait 12000000 receive 0 connect -1 tls -1, from 10:00:00.0000000`},
		{"Fiddler", `{"startedDateTime":"2026-11-21T10:00:00.1234567+00:00","time":8,"request":{"method":"GET","url":"http://a.example/x","httpVersion":"HTTP/1.1","headers":[{"name":"Host","value":"a.example"}]},
			"response":{"status":200,"statusText":"OK","httpVersion":"HTTP/1.1","headers":[{"name":"Transfer-Encoding","value":"chunked"}],"content":{"size":10,"compression":-2,"mimeType":"","text":"0123456789"},"bodySize":12},
			"connection":"ClientPort:50123;EgressPort:50124","timings":{"dns":-1,"connect":-1,"blocked":-1,"send":1,"wait":6,"receive":1}}`,
			`http 0.0.0.0:50123 > 0.0.0.0:80 complete 0 false ""
GET /x HTTP/1.1|Host: a.example
0 "" cut false
HTTP/1.1 200 OK|Transfer-Encoding: chunked
12 "0123456789" cut false 10
send 1000000 wait 6000000 receive 1000000 connect -1 tls -1, from 10:00:00.1234567`},
		{"texts for numbers, nulls, an object for a list", `{"startedDateTime":"2026-11-21 10:00:00","time":"9.5","request":{"method":"GET","url":"http://a.example","httpVersion":null,"headers":{"Host":"a.example"},"headersSize":"40","bodySize":null},
			"response":{"status":"204","statusText":null,"httpVersion":"HTTP/1.0","headers":null,"content":null,"bodySize":"0"},"timings":{}}`,
			`http 0.0.0.0:1 > 0.0.0.0:80 complete 0 false ""
GET / |Host: a.example
0 "" cut false
HTTP/1.0 204 
0 "" cut false -1
send -1 wait -1 receive -1 connect -1 tls -1, from 10:00:00.0000000`},
		{"a body that isn't there, and one that is cut", `{"startedDateTime":"2026-11-21T10:00:00Z","request":{"method":"PUT","url":"http://u:p@a.example/f","httpVersion":"HTTP/1.1","headers":[{"name":"content-length","value":"300"}]},
			"response":{"status":200,"httpVersion":"HTTP/1.1","headers":[],"content":{"size":20,"text":"0123456789"}},"timings":{"send":1,"wait":2,"receive":3}}`,
			`http 0.0.0.0:1 > 0.0.0.0:80 complete 0 false ""
PUT /f HTTP/1.1|Host: a.example|content-length: 300
300 "" cut false
HTTP/1.1 200 
20 "0123456789" cut true -1
send 1000000 wait 2000000 receive 3000000 connect -1 tls -1, from 10:00:00.0000000`},
		{"a head that would be another", `{"startedDateTime":"2026-11-21T10:00:00Z","request":{"method":"GET /a HTTP/1.1\r\nX: y","url":"http://a.example\r\nEvil: 1/b c\r\nEvil: 2","httpVersion":"HTTP/1.1\r\nEvil: 3","headers":[{"name":"A\r\nEvil","value":"1\r\nEvil: 4"},{"name":"B","value":"1\nEvil: 6\rEvil: 7\u0000"},{"name":"","value":"x"},{"name":":","value":"x"}]},
			"response":{"status":200,"statusText":"OK\r\nEvil: 5","httpVersion":"HTTP/1.1","headers":[],"content":{}}}`,
			`http 0.0.0.0:1 > 0.0.0.0:80 complete 0 false ""
GET%20/a%20HTTP/1.1%0D%0AX:%20y /b%20c%0D%0AEvil:%202 HTTP/1.1%0D%0AEvil:%203|Host: a.example%0D%0AEvil:%201|A Evil: 1 Evil: 4|B: 1 Evil: 6 Evil: 7 
0 "" cut false
HTTP/1.1 200 OK Evil: 5
0 "" cut false -1
send -1 wait -1 receive -1 connect -1 tls -1, from 10:00:00.0000000`},
		{"a WebSocket", `{"_resourceType":"websocket","_webSocketMessages":[{"type":"send","time":1,"opcode":1,"data":"hi"}],"startedDateTime":"2026-11-21T10:00:00Z","request":{"method":"GET","url":"wss://a.example/chat","httpVersion":"HTTP/1.1","headers":[]},
			"response":{"status":101,"httpVersion":"HTTP/1.1","headers":[],"content":{}},"timings":{"send":0,"wait":5,"receive":0}}`,
			`websocket 0.0.0.0:1 > 0.0.0.0:443 complete 0 true ""
GET /chat HTTP/1.1|Host: a.example
0 "" cut false
HTTP/1.1 101 
0 "" cut false -1
send 0 wait 5000000 receive 0 connect -1 tls -1, from 10:00:00.0000000`},
	} {
		archive := `{"log":{"version":"1.2","pages":[{"x":[1,{"y":null}]}],"entries":[` + c.entry + `]}}`
		for how, in := range map[string]io.Reader{
			"whole": strings.NewReader(archive), "byte by byte": iotest.OneByteReader(strings.NewReader(archive)), "with a byte order mark": strings.NewReader("\xef\xbb\xbf" + archive),
		} {
			all := readAll(t, har.NewReader(in, har.Options{MaxBody: -1}))
			if len(all) != 1 {
				t.Fatalf("%s, %s: %d exchanges", c.name, how, len(all))
			}
			if got := summary(all[0]); got != c.want {
				t.Errorf("%s, %s:\n%s\nwant\n%s", c.name, how, got, c.want)
			}
		}
	}
}

func entryAt(url, more string) string {
	return `{"startedDateTime":"2026-11-21T10:00:00Z","request":{"method":"GET","url":"` + url + `","httpVersion":"HTTP/1.1","headers":[]},"response":{"status":200,"httpVersion":"HTTP/1.1","headers":[],"content":{}},` +
		`"timings":{"send":0,"wait":1,"receive":0}` + more + `}`
}

func archive(entries ...string) string {
	return `{"log":{"creator":{"name":"WebInspector","version":"537.36"},"entries":[` + strings.Join(entries, ",") + `]}}`
}

// What never was on the wire is left out, and counted; what has no id gets one that stays the same.
func TestLeftOut(t *testing.T) {
	text := archive(entryAt("http://a/1", ""), entryAt("http://a/1", ""), entryAt("data:image/png;base64,AAAA", ""), entryAt("chrome-extension://abc/x.js", ""), entryAt("http://a/2", `,"_fromCache":"disk"`), `null`, `{}`,
		strings.Replace(entryAt("http://a/3", ""), "2026-11-21T10:00:00Z", "yesterday", 1), strings.Replace(entryAt("http://a/4", ""), `"headers":[]`, `"headers":5`, 1))
	var ids []string
	for range 2 {
		r := har.NewReader(strings.NewReader(text), har.Options{})
		all := readAll(t, r)
		if want := (har.Counts{Entries: 9, Cached: 1, Foreign: 4, Undated: 1, Odd: 1}); r.Counts != want || len(all) != 4 || r.Creator != "WebInspector 537.36" {
			t.Errorf("%+v and %d exchanges of %q, want %+v", r.Counts, len(all), r.Creator, want)
		}
		for _, x := range all {
			ids = append(ids, exchange.IDText(x.ID("")))
			if x.Start.Time != all[0].Start.Time || x.Tap.Recorded != "exchanges" {
				t.Errorf("%d, recorded %q", x.Start.Time, x.Tap.Recorded)
			}
		}
	}
	if len(ids) != 8 || ids[0] != ids[4] || ids[1] != ids[5] || ids[0] == ids[1] {
		t.Errorf("ids %q", ids)
	}
}

// What culprit says of an exchange in fields of its own is read, and isn't taken from others: these have no id.
func TestOwnFields(t *testing.T) {
	more := `,"_id":"01HX6QY74E9N2FCN2TGH6H5JGV","_grade":"gap","comment":"7 bytes weren't captured; gRPC status OK","_anomalies":["duplicate-length"],"_secrets":["4f2a"],"_recorded":"server",` +
		`"_connectionId":"10.0.0.7:51022#78","connection":"8443","_tls":{"version":"1.3","alpn":"h2"},"_streamId":5,"_weight":3,"_stream":true`
	for _, c := range []struct{ entry, want string }{
		{entryAt("https://a/1", more), "gap 7 bytes weren't captured [4f2a] server 10.0.0.7:51022 > 0.0.0.0:8443 78 1.3 h2 5 3 true true"},
		{entryAt("https://a/1", strings.Replace(more, "_id", "id", 1)), "complete  [4f2a] exchanges 0.0.0.0:1 > 0.0.0.0:443 1 1.3 h2 5 3 true false"},
	} {
		x := readAll(t, har.NewReader(strings.NewReader(archive(c.entry)), har.Options{}))[0]
		got := fmt.Sprint(x.Grade, " ", x.Reason, " ", x.Secrets, " ", x.Tap.Recorded, " ", x.Flow.End(0), " > ", x.Flow.End(1), " ", x.Flow.First.Packet, " ", exchange.TLSVersion(x.TLS.Version), " ", x.TLS.ALPN,
			" ", x.StreamID(), " ", x.Weight, " ", x.Stream, " ", x.Anomalies != 0)
		if got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

// Entries with the same id of a connection went over one; without one, those of HTTP/1 have one each, those of HTTP/2 one to a server.
func TestConnections(t *testing.T) {
	h2 := func(url string) string { return strings.ReplaceAll(entryAt(url, ""), "HTTP/1.1", "h2") }
	all := readAll(t, har.NewReader(strings.NewReader(archive(
		entryAt("http://a/1", `,"connection":"77"`), entryAt("http://a/2", `,"connection":"78"`), entryAt("http://a/3", `,"connection":"77"`), entryAt("http://a/4", `,"connection":"80"`), entryAt("http://a/5", `,"connection":"80"`),
		h2("https://192.0.2.1/6"), h2("https://192.0.2.1/7"), h2("https://192.0.2.2/8"))), har.Options{}))
	var got []string
	for _, x := range all {
		got = append(got, fmt.Sprint(x.Flow.First.Packet, x.Index))
	}
	if want := "1 0,2 0,1 1,3 0,4 0,5 0,5 1,6 0"; strings.Join(got, ",") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestMaxBody(t *testing.T) {
	text := archive(strings.Replace(entryAt("http://a/1", ""), `"content":{}`, `"content":{"size":10,"text":"0123456789"}`, 1))
	for _, c := range []struct {
		limit int
		want  string
		cut   bool
	}{{-1, "0123456789", false}, {0, "", false}, {4, "0123", true}, {10, "0123456789", false}} {
		x := readAll(t, har.NewReader(strings.NewReader(text), har.Options{MaxBody: c.limit}))[0]
		if b := &x.ResponseBody; string(b.Bytes) != c.want || b.Cut != c.cut || x.Response.BodyBytes != 10 {
			t.Errorf("%d: %q, cut %v, of %d", c.limit, b.Bytes, b.Cut, x.Response.BodyBytes)
		}
	}
}

func TestErrors(t *testing.T) {
	whole := archive(entryAt("http://a/1", ""), entryAt("http://a/2", ""))
	for _, c := range []struct {
		name, text string
		entries    int
		want       string
	}{
		{"nothing", "", 0, "it was cut off"},
		{"a list", "[]", 0, "this isn't an HTTP archive"},
		{"no log", `{"a":[{}],"b":{"log":1}}`, 0, "this isn't an HTTP archive"},
		{"a log that is none", `{"log":[]}`, 0, "this isn't an HTTP archive"},
		{"UTF-16", "\xff\xfe{\x00", 0, "iconv"},
		{"entries that are none", `{"log":{"entries":{}}}`, 0, "the entries aren't a list"},
		{"an entry that isn't JSON", `{"log":{"entries":[` + entryAt("http://a/1", "") + `,{"request":xyz}]}}`, 1, "entry 2, at byte 264: invalid character 'x'"},
		{"cut", whole[:len(whole)-20], 1, "it was cut off"},
		{"cut behind an entry", whole[:len(whole)-3], 2, "it was cut off"},
		{"two archives", whole + whole, 2, "more behind the archive"},
		{"something deep", `{"log":{"x":` + strings.Repeat("[", 5000), 0, "nested deeper"},
		{"an entry that is deep", `{"log":{"entries":[` + strings.Repeat(`{"x":[`, 20000), 0, "max depth"},
	} {
		r := har.NewReader(strings.NewReader(c.text), har.Options{})
		n := 0
		var err error
		for ; err == nil; n++ {
			_, err = r.Next()
		}
		if n--; n != c.entries || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d entries, then %v; want %d, then %s", c.name, n, err, c.entries, c.want)
		}
		if cut := strings.Contains(c.want, "cut off"); errors.Is(err, har.ErrCut) != cut {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, fine := range []string{`{"log":{}}`, `{"log":{"entries":null}}`, `{"x":1,"log":{"entries":[],"entries":[]},"y":[]}` + "\n"} {
		if _, err := har.NewReader(strings.NewReader(fine), har.Options{}).Next(); err != io.EOF {
			t.Errorf("%s: %v", fine, err)
		}
	}
}

// endless is an archive that goes on for ever in the middle of a text, or with entries.
type endless struct {
	begin, again string
	n, limit     int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.begin != "" {
		n := copy(p, e.begin)
		e.begin = e.begin[n:]
		return n, nil
	}
	if e.n >= e.limit {
		return 0, io.EOF
	}
	n := 0
	for len(p)-n >= len(e.again) {
		n += copy(p[n:], e.again)
	}
	e.n += int64(n)
	return n, nil
}

// The memory that is used doesn't grow with the archive.
func TestMemoryIsBounded(t *testing.T) {
	begin := `{"log":{"entries":[`
	r := har.NewReader(&endless{begin: begin + entryAt("http://a/1", ""), again: "," + entryAt("http://a/1", ""), limit: 64 << 20}, har.Options{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n, err := 0, error(nil)
	for ; err == nil; n++ {
		_, err = r.Next()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); !errors.Is(err, har.ErrCut) || n < 100_000 || grown > 16<<20 {
		t.Errorf("%d entries, %v; the heap grew by %d bytes", n, err, grown)
	}
	if testing.Short() {
		return
	}
	r = har.NewReader(&endless{begin: begin + `{"comment":"`, again: "x", limit: 1 << 40}, har.Options{})
	if _, err := r.Next(); err == nil || !strings.Contains(err.Error(), "entry 1, at byte 19: it is larger than 256 MiB") {
		t.Errorf("an entry without end: %v", err)
	}
}

// Invariant: no archive makes the reader panic or go on without end; what it makes can be written, and that is read again, and is then the same.
func FuzzReader(f *testing.F) {
	x := entryAt("https://a:8443/1", `,"_id":"01HX6QY74E9N2FCN2TGH6H5JGV","_grade":"gap","comment":"cut; gRPC status OK","_anomalies":["duplicate-length"],"_secrets":["4f2a"],"_connectionId":"10.0.0.7:51022#78",`+
		`"connection":"8443","_tls":{"version":"1.3"},"_streamId":5,"_weight":3,"_stream":true`)
	f.Add([]byte(archive(x)))
	f.Add([]byte(archive(entryAt("http://a/1", `,"connection":"ClientPort:1;"`), entryAt("wss://[::1]:9/x?y#z", `,"_resourceType":"websocket"`), `null`)))
	f.Add([]byte(archive(strings.Replace(entryAt("http://a/1", ""), `"content":{}`, `"content":{"size":1e3,"text":"`+base64.StdEncoding.EncodeToString([]byte("\xff"))+`","encoding":"base64"}`, 1))))
	f.Fuzz(func(t *testing.T, text []byte) { checkAny(t, text) })
}

// checkAny checks the invariant of any archive.
func checkAny(t *testing.T, text []byte) {
	r := har.NewReader(bytes.NewReader(text), har.Options{MaxBody: -1})
	var all []*exchange.Exchange
	for {
		x, err := r.Next()
		if err != nil {
			break
		}
		for _, m := range []*proto.Message{&x.Request, &x.Response} {
			if n := bytes.Count(m.Raw, []byte("\n")); len(m.Raw) > 0 && n != len(m.Fields)+2 {
				t.Fatalf("a head has %d lines and %d fields:\n%q", n, len(m.Fields), m.Raw)
			}
		}
		if x.KnownID == nil || x.Timing.Duration < -1 || x.Completed.Time < 0 || x.Request.BodyBytes < 0 || x.Response.BodyBytes < 0 {
			t.Fatalf("%+v", x)
		}
		all = append(all, x)
	}
	once := write(t, all)
	again := readAll(t, har.NewReader(bytes.NewReader(once), har.Options{MaxBody: -1}))
	if len(again) != len(all) {
		t.Fatalf("%d of %d exchanges come back of\n%s", len(again), len(all), once)
	}
}

// What is said of a body that isn't whole comes back.
func TestBodiesThatArentWhole(t *testing.T) {
	text := archive(strings.Replace(entryAt("http://a/1", `,"_id":"01HX6QY74E9N2FCN2TGH6H5JGV"`), `"content":{}`, `"content":{"size":10,"text":"0123456789","_cut":true,"_undecoded":"br"}`, 1))
	for range 2 {
		all := readAll(t, har.NewReader(strings.NewReader(text), har.Options{MaxBody: -1}))
		if b := &all[0].ResponseBody; !b.Cut || b.Undecoded != "br" || b.DecodedBytes != -1 {
			t.Errorf("%+v of\n%s", b, text)
		}
		text = string(write(t, all))
	}
}
