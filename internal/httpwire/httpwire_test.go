package httpwire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

// with changes an exchange before it is used.
func with(x *exchange.Exchange, change func(x *exchange.Exchange)) *exchange.Exchange {
	change(x)
	return x
}

// lines gives the text of a message the line ends of HTTP, but for its body.
func lines(s string) string {
	head, body, ok := strings.Cut(s, "\n\n")
	if !ok {
		return s
	}
	return strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body
}

type message struct {
	name    string
	x       *exchange.Exchange
	want    string
	missing string
}

func TestRequests(t *testing.T) {
	for _, c := range []message{
		{"as it was", outputtest.Exchange("GET /a?b=1 HTTP/1.1\nHost: a\nX-b:  2\naccept: */*\n\n", ""),
			"GET /a?b=1 HTTP/1.1\nHost: a\nX-b: 2\naccept: */*\n\n", ""},
		{"an old version", with(outputtest.Exchange("GET / HTTP/1.0\n\n", ""), func(x *exchange.Exchange) { x.Request.Version = 0x0100 }),
			"GET / HTTP/1.0\n\n", ""},
		{"a body", outputtest.Exchange("PUT / HTTP/1.1\nhost: a\ncontent-LENGTH: 3\nX: y\n\nabc", ""),
			"PUT / HTTP/1.1\nhost: a\ncontent-LENGTH: 3\nX: y\n\nabc", ""},
		{"an empty body", outputtest.Exchange("POST / HTTP/1.1\nContent-Length: 0\n\n", ""),
			"POST / HTTP/1.1\nContent-Length: 0\n\n", ""},
		{"chunks, trailers and codings", with(outputtest.Exchange(
			"POST / HTTP/1.1\nTransfer-Encoding: chunked\nTrailer: Sum\nContent-Encoding: gzip\nX: y\nSum: 1\n\nabc", ""),
			func(x *exchange.Exchange) { x.Request.Fields[4].Flags = proto.Trailer }),
			"POST / HTTP/1.1\nContent-Length: 3\nX: y\n\nabc", ""},
		{"chunks without any", with(outputtest.Exchange("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n", ""), func(*exchange.Exchange) {}),
			"POST / HTTP/1.1\nContent-Length: 0\n\n", ""},
		{"two lengths", outputtest.Exchange("POST / HTTP/1.1\nContent-Length: 3\nContent-Length: 3\nTransfer-Encoding: chunked\n\nabc", ""),
			"POST / HTTP/1.1\nContent-Length: 3\n\nabc", ""},
		{"a coding that couldn't be undone", with(outputtest.Exchange("POST / HTTP/1.1\nContent-Encoding: x\n\nabc", ""),
			func(x *exchange.Exchange) { x.RequestBody.Undecoded = "x" }),
			"POST / HTTP/1.1\nContent-Encoding: x\nContent-Length: 3\n\nabc", ""},
		{"a body that decodes to nothing", with(outputtest.Exchange("POST / HTTP/1.1\nContent-Encoding: gzip\nContent-Length: 20\n\n", ""),
			func(x *exchange.Exchange) { x.Request.BodyBytes, x.RequestBody.DecodedBytes = 20, 0 }),
			"POST / HTTP/1.1\nContent-Length: 0\n\n", ""},
		{"HTTP/2", outputtest.HTTP2(":method: GET\n:scheme: https\n:path: /a?b\n:authority: shop:8443\ncookie: a=1\naccept: */*\ncookie: b=2\ntrailer t: 1\n\n", ""),
			"GET /a?b HTTP/1.1\nHost: shop:8443\ncookie: a=1; b=2\naccept: */*\n\n", ""},
		{"HTTP/2, with Host and a body", outputtest.HTTP2(":method: POST\n:path: /\n:authority: a\nhost: b\nx: y\n\nabc", ""),
			"POST / HTTP/1.1\nHost: a\nx: y\nContent-Length: 3\n\nabc", ""},
		{"HTTP/2, a POST without a body", outputtest.HTTP2(":method: POST\n:path: /\nhost: b\n\n", ""),
			"POST / HTTP/1.1\nHost: b\nContent-Length: 0\n\n", ""},
		{"HTTP/2, a whole URL", outputtest.HTTP2(":method: GET\n:path: https://c:1?q\n:authority: a\n\n", ""),
			"GET /?q HTTP/1.1\nHost: c:1\n\n", ""},
		{"to a proxy", outputtest.Exchange("GET http://a/b HTTP/1.1\nHost: a\n\n", ""), "GET http://a/b HTTP/1.1\nHost: a\n\n", ""},
		// What would make another message of it.
		{"line ends", outputtest.HTTP2(":method: GET\n:path: /a b\tc\n:authority: a\rX: 1\nx: y\r\x00z\nx y: 1\n: z\n\n", ""),
			"GET /a%20b%09c HTTP/1.1\nHost: a X: 1\nx: y  z\n\n", `not known, or not fit to be sent: "x y", ""`},
		// What is missing.
		{"no body kept", with(outputtest.Exchange("POST / HTTP/1.1\nContent-Length: 3\n\n", ""), func(x *exchange.Exchange) { x.Request.BodyBytes = 3 }),
			"POST / HTTP/1.1\nContent-Length: 0\n\n", "the body wasn't kept"},
		{"a body cut", with(outputtest.Exchange("POST / HTTP/1.1\nContent-Length: 3\n\nab", ""), func(x *exchange.Exchange) { x.RequestBody.Cut = true }),
			"POST / HTTP/1.1\nContent-Length: 2\n\nab", "a part of the body is missing"},
		{"a hole", with(outputtest.Exchange("POST / HTTP/1.1\nContent-Length: 3\n\nab", ""), func(x *exchange.Exchange) { x.Request.MissingBytes = 1 }),
			"POST / HTTP/1.1\nContent-Length: 2\n\nab", "a part of the body is missing"},
		{"an end before its time", with(outputtest.Exchange("POST / HTTP/1.1\nContent-Length: 3\n\nab", ""), func(x *exchange.Exchange) { x.Request.End = proto.Cut }),
			"POST / HTTP/1.1\nContent-Length: 2\n\nab", "a part of the body is missing"},
		{"secrets", outputtest.Exchange("POST /?t=%E2%80%A6[redacted%203] HTTP/1.1\nCookie: …[redacted 3 #1234]\nAuthorization: Bearer …[redacted 5]\n\n{\"p\":\"…[redacted 1]\"}", ""),
			"POST /?t=%E2%80%A6[redacted%203] HTTP/1.1\nCookie: …[redacted 3 #1234]\nAuthorization: Bearer …[redacted 5]\nContent-Length: 23\n\n{\"p\":\"…[redacted 1]\"}",
			`secrets were redacted: "target", "body", "Cookie", "Authorization"`},
		{"a field that isn't known", with(outputtest.HTTP2(":method: GET\n:path: /\n?: ?\n\n", ""), func(x *exchange.Exchange) { x.Request.Fields[2].Flags = proto.Obscure }),
			"GET / HTTP/1.1\n\n", `not known, or not fit to be sent: "?"`},
		// What can't be written.
		{"no request", outputtest.Exchange("", "HTTP/1.1 200 OK\n\n"), "", "its request wasn't recorded"},
		{"another protocol", outputtest.Query("mysql", "SELECT", "SELECT 1"), "", "it is no HTTP request but mysql"},
		{"no method", outputtest.Exchange("G\x00T / HTTP/1.1\n\n", ""), "", `its method "G\x00T" is none`},
		{"no target", outputtest.Exchange("GET", ""), "", "the target of its request isn't known"},
		{"a tunnel in a stream", outputtest.HTTP2(":method: CONNECT\n:protocol: websocket\n:path: /\n\n", ""), "", "it opens a tunnel within HTTP/2, which HTTP/1.1 can't"},
	} {
		got, err := AppendRequest([]byte("before"), c.x)
		check(t, c.name, got, err, c.want, c.missing)
	}
}

func TestResponses(t *testing.T) {
	for _, c := range []message{
		{"as it was", outputtest.Exchange("", "HTTP/1.1 200 Fine\nServer: a\nContent-Length: 2\n\nab"), "HTTP/1.1 200 Fine\nServer: a\nContent-Length: 2\n\nab", ""},
		{"until the close", outputtest.Exchange("", "HTTP/1.0 200 OK\nServer: a\n\nab"), "HTTP/1.1 200 OK\nServer: a\nContent-Length: 2\n\nab", ""},
		{"HTTP/2", outputtest.HTTP2("", ":status: 404\nserver: a\n\nab"), "HTTP/1.1 404 Not Found\nserver: a\nContent-Length: 2\n\nab", ""},
		{"no reason", outputtest.HTTP2("", ":status: 799\n\n"), "HTTP/1.1 799 \nContent-Length: 0\n\n", ""},
		{"to HEAD", outputtest.Exchange("HEAD / HTTP/1.1\n\n", "HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 2\n\n"), "HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 2\n\n", ""},
		{"not modified", outputtest.Exchange("", "HTTP/1.1 304 Not Modified\nContent-Length: 9\n\n"), "HTTP/1.1 304 Not Modified\nContent-Length: 9\n\n", ""},
		{"no content", outputtest.Exchange("", "HTTP/1.1 204 No Content\n\n"), "HTTP/1.1 204 No Content\n\n", ""},
		{"a tunnel", outputtest.Exchange("CONNECT a:1 HTTP/1.1\n\n", "HTTP/1.1 200 OK\n\n"), "HTTP/1.1 200 OK\n\n", ""},
		{"no tunnel", outputtest.Exchange("CONNECT a:1 HTTP/1.1\n\n", "HTTP/1.1 403 No\n\nab"), "HTTP/1.1 403 No\nContent-Length: 2\n\nab", ""},
		{"an upgrade", outputtest.Exchange("", "HTTP/1.1 101 Switching\nUpgrade: x\n\n"), "HTTP/1.1 101 Switching\nUpgrade: x\n\n", ""},
		{"no body kept", with(outputtest.Exchange("", "HTTP/1.1 200 OK\nContent-Encoding: br\n\n"), func(x *exchange.Exchange) { x.Response.BodyBytes = 9 }),
			"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "the body wasn't kept"},
		{"two cookies of one name", outputtest.HTTP2("", ":status: 200\nset-cookie: a\ncookie: x\ncookie: y\nset-cookie: b\n\n"),
			"HTTP/1.1 200 OK\nset-cookie: a\ncookie: x\ncookie: y\nset-cookie: b\nContent-Length: 0\n\n", ""},
		{"no response", outputtest.Exchange("GET / HTTP/1.1\n\n", ""), "", "its response wasn't recorded"},
		{"no status", with(outputtest.Exchange("", "HTTP/1.1 200 OK\n\n"), func(x *exchange.Exchange) { x.Response.Status = 7 }), "", "the status 7 of its response is none"},
	} {
		got, err := AppendResponse([]byte("before"), c.x)
		check(t, c.name, got, err, c.want, c.missing)
	}
}

// Whatever an exchange holds, what is written is one message with its body, as another reader sees it.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/", "a", "x", "y", []byte("abc"), true)
	f.Add("POST", "/ HTTP/1.1\r\nX: 1\r\n\r\n", "a\r\nb: c", "transfer-encoding", "chunked", []byte(""), false)
	f.Add("PUT", "http://a", "", "x: 1\r\ny", "\x00", []byte("0\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, method, target, host, name, value string, body []byte, two bool) {
		x := outputtest.Exchange("GET / HTTP/1.1\n\n", "")
		m := &x.Request
		m.Raw, m.Fields = nil, nil
		span := func(s string) proto.Span {
			m.Raw = append(m.Raw, s...)
			return proto.Span{Off: uint32(len(m.Raw) - len(s)), Len: uint32(len(s))}
		}
		m.Method, m.Target = span(method), span(target)
		m.Fields = append(m.Fields, proto.Field{Name: span("host"), Value: span(host)}, proto.Field{Name: span(name), Value: span(value)})
		if two {
			m.Version = 0x0200
		}
		x.RequestBody.Bytes, x.RequestBody.DecodedBytes, m.BodyBytes = body, int64(len(body)), int64(len(body))
		b, err := AppendRequest(nil, x)
		var missing *Missing
		if err != nil && !errors.As(err, &missing) {
			if len(b) > 0 {
				t.Fatalf("%q with %v", b, err)
			}
			return
		}
		head, rest, ok := bytes.Cut(b, []byte("\r\n\r\n"))
		if !ok || !bytes.Equal(rest, body) {
			t.Fatalf("%q holds the body %q", b, body)
		}
		if lines := bytes.Count(head, []byte("\n")); lines > 3 {
			t.Fatalf("%d headers in %q", lines, head)
		}
		in := bufio.NewReader(bytes.NewReader(b))
		q, err := http.ReadRequest(in)
		if err != nil {
			return // a reader may be choosy about hosts and URLs
		}
		got, err := io.ReadAll(q.Body)
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%q is read as having the body %q: %v", b, got, err)
		}
		if rest, _ := io.ReadAll(in); len(rest) > 0 {
			t.Fatalf("%q: %q is behind the request", b, rest)
		}
		if q.Method != method || slices.Contains(q.TransferEncoding, "chunked") {
			t.Fatalf("%q is read as %s", b, q.Method)
		}
	})
}

func check(t *testing.T, name string, got []byte, err error, want, missing string) {
	t.Helper()
	if string(got) != "before"+lines(want) {
		t.Errorf("%s:\n%q\nwant\n%q", name, got, "before"+lines(want))
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != missing {
		t.Errorf("%s: error %q, want %q", name, text, missing)
	}
}
