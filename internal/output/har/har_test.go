package har

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var _ output.Output = (*Output)(nil)

func login() *exchange.Exchange {
	x := outputtest.Exchange(
		"POST /login?next=%2Fhome&q=a+b&flag&bad=%zz HTTP/1.1\nHost: shop.example:8000\nCookie: sid=abc; theme=\"dark\"\n"+
			"Content-Type: application/x-www-form-urlencoded\n\nuser=J%C3%BCrgen&pw=%5Bredacted%5D",
		"HTTP/1.1 302 Found\nLocation: /home\nContent-Type: text/html; charset=utf-8\n"+
			"Set-Cookie: sid=def; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT; HttpOnly; Secure; SameSite=Lax\n\n<p>moved</p>")
	x.Timing.Idle = 1_500_000
	return x
}

func picture() *exchange.Exchange {
	x := outputtest.Exchange("GET http://cdn.example/a.png HTTP/1.1\nHost: cdn.example\n\n",
		"HTTP/1.1 200 OK\nContent-Type: image/png\nContent-Encoding: gzip\n\n\x89PNG\r\n\x1a\n")
	x.Timing.Connect, x.Timing.TLS, x.Timing.Idle = 300_000, 2_000_000, 0
	x.Response.BodyBytes, x.ResponseBody.DecodedBytes = 20, 8
	x.Anomalies.Set(proto.DuplicateLength)
	return x
}

func unanswered() *exchange.Exchange {
	x := outputtest.Exchange("OPTIONS * HTTP/1.1\nHost: a\n\n", "")
	x.Grade, x.Reason = exchange.Unanswered, "connection reset"
	x.Timing = exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: 100, Wait: -1, Receive: -1, Duration: -1, Total: -1}
	return x
}

func responseOnly() *exchange.Exchange {
	x := outputtest.Exchange("", "HTTP/1.1 200 OK\nServer: a\n\n")
	x.Flow = outputtest.Flow("[2001:db8::7]:51022", "[2001:db8::2]:8000")
	x.Grade = exchange.OneSided
	return x
}

func connect() *exchange.Exchange {
	return outputtest.Exchange("CONNECT [2001:db8::9]:443 HTTP/1.1\nHost: [2001:db8::9]:443\n\n", "HTTP/1.1 200 OK\nVia: a\n\n")
}

func hostile() *exchange.Exchange {
	x := outputtest.Exchange("P\xff\x00ST /\xfe\u202e \"<>?\xe9=\x1b HTTP/1.1\nHost: a\xff\nCookie: \xff; ;=\nContent-Type: \xff\n\n\xff\xfe",
		"HTTP/1.1 599 \xff\nLocation: \xff\nSet-Cookie: \nSet-Cookie: \xff=\xff; expires=never\n\n</script>\u2028")
	x.Reason = "\xff"
	x.RequestBody.Parts = []exchange.Part{{Name: "\xff", Filename: "\xff", Type: "\xff"}}
	return x
}

// live are exchanges with processes at the ends.
var live = []func() *exchange.Exchange{
	func() *exchange.Exchange { return between(curl, nginx) },
	func() *exchange.Exchange { return between(curl, nil) },
	func() *exchange.Exchange {
		x := between(nginx, &exchange.Process{Name: "\xff\x1b[2J", Args: []string{"\xff", "</script>\u2028"}, Executable: "/\xff"})
		x.Client = proto.Responder
		return x
	},
}

var (
	curl  = &exchange.Process{PID: 812, Name: "curl", Args: []string{"curl", "-u", "[redacted]"}, User: "1000", Unit: "session-3.scope"}
	nginx = &exchange.Process{
		Name: "nginx", Executable: "/usr/sbin/nginx", User: "www-data",
		ContainerID: "3f2a9c1b04de", PodUID: "8f4b1c9e-2f36-4d3f-9a53-6a2d1f0c7b11", Listening: true,
	}
)

func between(client, server *exchange.Process) *exchange.Exchange {
	x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\nServer: a\n\n")
	x.Process = [2]*exchange.Process{client, server}
	return x
}

// kinds are entries that HTTP/1 in plain text has not.
var kinds = []func() *exchange.Exchange{
	func() *exchange.Exchange {
		x := outputtest.HTTP2(":method: POST\n:scheme: https\n:path: /shop.Cart/Add\n:authority: shop.example:8443\ncontent-type: application/grpc\n\n",
			":status: 200\ncontent-type: application/grpc\ntrailer grpc-status: 14\ntrailer grpc-message: no%20stock%ff\n\n")
		x.TLS = outputtest.TLS13()
		x.Timing.TLS = 8_000_000
		x.Request.Parts, x.Response.Parts = proto.Parts{Count: 1, Bytes: 20}, proto.Parts{}
		x.Grade, x.Reason = exchange.Gap, "7 bytes weren't captured"
		return x
	},
	outputtest.Session,
	func() *exchange.Exchange {
		x := outputtest.Session()
		x.TLS, x.Closing = outputtest.TLS13(), exchange.Closing{}
		x.Timing.Connect, x.Timing.TLS = -1, 8_000_000
		x.TLS.ServerChain = nil
		return x
	},
}

// blamed are exchanges with verdicts, those that have an entry.
func blamed() (makers []func() *exchange.Exchange) {
	for _, x := range outputtest.Verdicts() {
		if output.KindOf(x) == output.Exchange {
			makers = append(makers, func() *exchange.Exchange { return x })
		}
	}
	return makers
}

// What is no request has no entry.
func TestLeftOut(t *testing.T) {
	b := archive(t, outputtest.TLSRecord(), outputtest.SessionMessage(proto.Originator, "text", "hello"), outputtest.SessionMessage(proto.Responder, "ping", ""))
	if err := validate(b, 0); err != nil {
		t.Errorf("%v in %s", err, b)
	}
}

var all = []func() *exchange.Exchange{login, picture, unanswered, responseOnly, connect, hostile}

func archive(t testing.TB, xs ...*exchange.Exchange) []byte {
	t.Helper()
	var b bytes.Buffer
	o := New(&b, "1.0")
	for _, x := range xs {
		if err := o.Exchange(x); err != nil {
			t.Fatal(err)
		}
		if err := o.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for name, makers := range map[string][]func() *exchange.Exchange{"all.har": all, "live.har": live, "kinds.har": kinds, "blame.har": blamed()} {
		var xs []*exchange.Exchange
		for _, f := range makers {
			xs = append(xs, f())
		}
		b := archive(t, xs...)
		if err := validate(b, len(makers)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, b, "", "  "); err != nil {
			t.Fatal(err)
		}
		outputtest.Golden(t, *update, name, pretty.Bytes())
	}
}

func TestValid(t *testing.T) {
	for n := range len(all) + 1 {
		var xs []*exchange.Exchange
		for _, f := range all[:n] {
			xs = append(xs, f())
		}
		if err := validate(archive(t, xs...), n); err != nil {
			t.Errorf("%d entries: %v", n, err)
		}
	}
}

func TestURLs(t *testing.T) {
	for _, c := range []struct {
		x    *exchange.Exchange
		want string
	}{
		{login(), "http://shop.example:8000/login?next=%2Fhome&q=a+b&flag&bad=%zz"},
		{picture(), "http://cdn.example/a.png"},
		{unanswered(), "http://a/"},
		{responseOnly(), "http://[2001:db8::2]:8000/"},
		{connect(), "http://[2001:db8::9]:443/"},
		{outputtest.Exchange("GET /x HTTP/1.0\n\n", ""), "http://10.0.0.2:8000/x"},
	} {
		if got := entryOf(c.x).Request.URL; got != c.want {
			t.Errorf("URL = %q, want %q", got, c.want)
		}
	}
	x := login()
	x.Timing.TLS = 5
	if got := entryOf(x).Request.URL; !strings.HasPrefix(got, "https://shop.example:8000/") {
		t.Errorf("URL of a TLS connection = %q", got)
	}
}

// shape lists the members that the specification requires of each object, with their types.
var shape = map[string]map[string]string{
	"log":      {"version": "string", "creator": "object", "entries": "array"},
	"creator":  {"name": "string", "version": "string"},
	"entry":    {"startedDateTime": "string", "time": "number", "request": "object", "response": "object", "cache": "object", "timings": "object"},
	"request":  {"method": "string", "url": "string", "httpVersion": "string", "cookies": "array", "headers": "array", "queryString": "array", "headersSize": "number", "bodySize": "number"},
	"response": {"status": "number", "statusText": "string", "httpVersion": "string", "cookies": "array", "headers": "array", "content": "object", "redirectURL": "string", "headersSize": "number", "bodySize": "number"},
	"cookie":   {"name": "string", "value": "string"},
	"pair":     {"name": "string", "value": "string"},
	"param":    {"name": "string"},
	"postData": {"mimeType": "string", "params": "array", "text": "string"},
	"content":  {"size": "number", "mimeType": "string"},
	"timings":  {"send": "number", "wait": "number", "receive": "number", "blocked": "number", "dns": "number", "connect": "number", "ssl": "number"},
}

type object = map[string]any

// validate checks an archive against the specification.
func validate(b []byte, entries int) error {
	var root struct{ Log object }
	if err := json.Unmarshal(b, &root); err != nil {
		return err
	}
	var errs []error
	check := func(kind string, v any) object {
		o, ok := v.(object)
		if !ok {
			errs = append(errs, fmt.Errorf("%s isn't an object: %v", kind, v))
			return object{}
		}
		for name, want := range shape[kind] {
			got := "null"
			switch o[name].(type) {
			case string:
				got = "string"
			case float64:
				got = "number"
			case object:
				got = "object"
			case []any:
				got = "array"
			}
			if got != want {
				errs = append(errs, fmt.Errorf("%s.%s is %s, not %s", kind, name, got, want))
			}
		}
		return o
	}
	each := func(kind string, v any) {
		list, _ := v.([]any)
		for _, member := range list {
			check(kind, member)
		}
	}
	log := check("log", root.Log)
	check("creator", log["creator"])
	if log["version"] != "1.2" {
		errs = append(errs, fmt.Errorf("version %v", log["version"]))
	}
	if _, ok := log["pages"].([]any); !ok {
		errs = append(errs, errors.New("no pages: Firefox needs them"))
	}
	list, _ := log["entries"].([]any)
	if len(list) != entries {
		errs = append(errs, fmt.Errorf("%d entries, not %d", len(list), entries))
	}
	for _, v := range list {
		e := check("entry", v)
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(e["startedDateTime"])); err != nil {
			errs = append(errs, err)
		}
		q := check("request", e["request"])
		if u, err := url.Parse(strings.ReplaceAll(fmt.Sprint(q["url"]), "%zz", "")); err != nil || u.Scheme == "" || u.Host == "" {
			errs = append(errs, fmt.Errorf("bad URL %v: %v", q["url"], err))
		}
		each("cookie", q["cookies"])
		each("pair", q["headers"])
		each("pair", q["queryString"])
		if p, ok := q["postData"]; ok {
			each("param", check("postData", p)["params"])
		}
		r := check("response", e["response"])
		each("cookie", r["cookies"])
		each("pair", r["headers"])
		c := check("content", r["content"])
		if c["encoding"] == "base64" {
			if _, err := base64.StdEncoding.DecodeString(fmt.Sprint(c["text"])); err != nil {
				errs = append(errs, err)
			}
		}
		if r["status"] == 0.0 && r["_error"] == nil {
			errs = append(errs, errors.New("a missing response without _error"))
		}
		t := check("timings", e["timings"])
		sum := 0.0
		for name, v := range t {
			ms, _ := v.(float64)
			mayMiss := slices.Contains([]string{"blocked", "dns", "connect", "ssl"}, name)
			if ms < 0 && !(mayMiss && ms == -1) {
				errs = append(errs, fmt.Errorf("timings.%s is %v", name, ms))
			}
			if !mayMiss {
				sum += ms
			}
		}
		if got, _ := e["time"].(float64); got < sum-1e-6 || got > sum+1e-6 {
			errs = append(errs, fmt.Errorf("time is %v, the sum of send, wait and receive %v", got, sum))
		}
	}
	return errors.Join(errs...)
}

// Invariant of FuzzArchive: whatever the bytes, the archive is valid and has one entry an exchange.
func FuzzArchive(f *testing.F) {
	for _, g := range all {
		x := g()
		f.Add(string(x.Request.Bytes(x.Request.Target)), "a", "b", x.RequestBody.Bytes)
	}
	f.Add("http://a:b:c[/?x", "Set-Cookie", "a=b; expires=x; path", []byte("\xff&=%"))
	f.Fuzz(func(t *testing.T, target, name, value string, body []byte) {
		x := login()
		for _, m := range []*proto.Message{&x.Request, &x.Response} {
			add := func(s string) proto.Span {
				m.Raw = append(m.Raw, s...)
				return proto.Span{Off: uint32(len(m.Raw) - len(s)), Len: uint32(len(s))}
			}
			m.Fields = append(m.Fields, proto.Field{Name: add(name), Value: add(value)})
			if m.Kind == proto.Request {
				m.Target = add(target)
			}
		}
		x.RequestBody.Bytes, x.ResponseBody.Bytes = body, body
		b := archive(t, x, x)
		var root struct{ Log struct{ Entries []any } }
		if err := json.Unmarshal(b, &root); err != nil || len(root.Log.Entries) != 2 {
			t.Fatalf("%v: %d entries in %s", err, len(root.Log.Entries), b)
		}
	})
}
