package uwsgi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// escape writes bytes as a script has them.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\x%02x`, s[i])
	}
	return b.String()
}

func packet(modifier byte, vars ...string) string {
	var b strings.Builder
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		for _, t := range [...]string{name, value} {
			b.WriteString(string([]byte{byte(len(t)), byte(len(t) >> 8)}) + t)
		}
	}
	return string([]byte{modifier, byte(b.Len()), byte(b.Len() >> 8), 0}) + b.String()
}

// ask is a request, as a script has it.
func ask(method, uri string, more ...string) string {
	return escape(packet(0, append([]string{"QUERY_STRING=", "REQUEST_METHOD=" + method, "REQUEST_URI=" + uri, "SERVER_PROTOCOL=HTTP/1.1"}, more...)...))
}

var cases = []prototest.Case{
	{
		Name: "a request, and its answer until close",
		Script: `
			> ` + ask("GET", "/a?b=c", "HTTP_HOST=example.org", "REMOTE_ADDR=192.0.2.1", "REMOTE_PORT=4711", "CONTENT_LENGTH=") + `
			< HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall
			< \x20of it
			<close fin
			>close fin`,
		Want: `
			> request GET /a?b=c HTTP/1.1 at 0 head 174 none
			> host: example.org
			> remote_ip = 192.0.2.1
			> remote_port = 4711
			> end whole size 174 body 0
			< response 200 HTTP/1.1 OK at 0 head 45 close
			< Content-Type: text/plain
			< "all of it"
			< end whole size 54 body 9`,
	},
	{
		Name: "a request with a body, and an answer with a length",
		Script: `
			> ` + ask("POST", "/form", "CONTENT_TYPE=text/plain", "CONTENT_LENGTH=5") + `hello
			< HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok
			<close fin
			>close fin`,
		Want: `
			> request POST /form HTTP/1.1 at 0 head 134 length 5
			> content-type: text/plain
			> content-length: 5
			> "hello"
			> end whole size 139 body 5
			< response 201 HTTP/1.1 Created at 0 head 43 length 2
			< Content-Length: 2
			< "ok"
			< end whole size 45 body 2`,
	},
	{
		Name: "one behind the other",
		Script: `
			> ` + ask("GET", "/1") + ask("HEAD", "/2") + ask("GET", "/3") + ask("GET", "/4") + `
			< HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nStatus: 204 No Content\n\nStatus: 404\nX-Any: y\n\ngone
			<close fin`,
		Want: `
			> request GET /1 HTTP/1.1 at 0 head 85 none
			> end whole size 85 body 0
			> request HEAD /2 HTTP/1.1 at 85 head 86 none
			> end whole size 86 body 0
			> request GET /3 HTTP/1.1 at 171 head 85 none
			> end whole size 85 body 0
			> request GET /4 HTTP/1.1 at 256 head 85 none
			> end whole size 85 body 0
			< response 200 HTTP/1.1 OK at 0 head 38 length 3
			< Content-Length: 3
			< "one"
			< end whole size 41 body 3
			< response 200 HTTP/1.1 OK at 41 head 38 length 3
			< Content-Length: 3
			< end whole size 38 body 0
			< response 204 No Content at 79 head 24 none
			< Status: 204 No Content
			< end whole size 24 body 0
			< response 404 at 103 head 22 close
			< Status: 404
			< X-Any: y
			< "gone"
			< end whole size 26 body 4`,
	},
	{
		Name: "a body that must not be",
		Script: `
			> ` + ask("HEAD", "/") + `
			< HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<p>Status: 200\n\n
			<close fin`,
		Want: `
			> request HEAD / HTTP/1.1 at 0 head 85 none
			> end whole size 85 body 0
			< response 200 HTTP/1.1 OK at 0 head 38 length 3
			< Content-Length: 3
			< end whole size 38 body 0
			< lost`,
	},
	{
		Name: "Perl, without REQUEST_URI; then what is no request",
		Script: `
			> ` + escape(packet(5, "REQUEST_METHOD=GET", "SCRIPT_NAME=/app", "PATH_INFO=/x y", "QUERY_STRING=z", "SERVER_PROTOCOL=HTTP/2.0", "CONTENT_LENGTH=many")) + `\x64\x00\x00\x00
			< HTTP/1.0 500 Oops\r\n\r\n
			<close rst
			>close rst`,
		Want: `
			> request GET /app/x%20y?z HTTP/2.0 at 0 head 127 none [bad-length]
			> content-length: many
			> end whole size 127 body 0 [bad-length]
			> lost
			< response 500 HTTP/1.0 Oops at 0 head 21 close
			< end cut size 21 body 0 rst`,
	},
	{
		Name: "malformed variables, and a malformed head",
		Script: `
			> \x00\x0a\x00\x00\x03\x00abc\x99\x00xyz` + ask("GET", "/") + `
			< HTTP/1.1 99999\r\nno colon\r\n: no name\r\nA: 1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n
			<close fin`,
		Want: `
			> request ? at 0 head 14 none [bad-start-line bad-value]
			> end whole size 14 body 0 [bad-start-line bad-value]
			> request GET / HTTP/1.1 at 14 head 84 none
			> end whole size 84 body 0
			< response 0 HTTP/1.1 at 0 head 83 length 1 [bad-field-name field-without-colon conflicting-length bad-status]
			< : no name
			< A: 1
			< Content-Length: 1
			< Content-Length: 2
			< end cut size 83 body 0 fin [bad-field-name field-without-colon conflicting-length bad-status]`,
	},
	{
		Name:   "the responder asks",
		Client: proto.Responder,
		Script: `
			< ` + ask("GET", "/") + `
			> HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`,
	},
	{
		Name: "not an answer",
		Script: `
			> ` + ask("GET", "/") + `
			< <html>hello\r\n\r\n
			< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`,
	},
	{
		Name:    "picked up in the middle",
		Resumed: true,
		Script: `
			> the end of a body
			< the end of an answer
			> ` + ask("GET", "/") + `
			< HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!`,
	},
	{
		Name: "missing bytes",
		Script: `
			> ` + ask("POST", "/", "CONTENT_LENGTH=10") + `abc
			>gap 4
			> hij
			< HTTP/1.1 200 OK\r\nA: b\r\n\r\nabc
			<gap 100
			< xyz
			<close fin`,
		Want: `
			> request POST / HTTP/1.1 at 0 head 105 length 10
			> content-length: 10
			> "abchij"
			> end whole size 115 body 10 missing 4
			< response 200 HTTP/1.1 OK at 0 head 25 close
			< A: b
			< "abcxyz"
			< end whole size 131 body 106 missing 100`,
	},
	{
		Name:   "limits",
		Limits: &proto.Limits{MaxHead: 100, MaxFields: 2},
		Script: `
			> ` + ask("GET", "/", "HTTP_A=1", "HTTP_B=2", "HTTP_C=3") + `
			< HTTP/1.1 200 OK\r\nX-Long: ` + strings.Repeat("x", 100) + `\r\n\r\n
			<close fin`,
		Want: `
			> request GET / HTTP/1.1 at 0 head 100 none [head-too-large]
			> a: 1
			> end broken size 100 body 0 [head-too-large]
			> lost
			< response 200 HTTP/1.1 OK at 0 head 100 none [head-too-large]
			< end broken size 100 body 0 [head-too-large]
			< lost`,
	},
}

func TestConformance(t *testing.T) { prototest.Run(t, New, cases) }

func FuzzParser(f *testing.F) { prototest.Fuzz(f, New, cases) }

func TestProbe(t *testing.T) {
	whole := packet(0, "QUERY_STRING=", "REQUEST_METHOD=GET", "REQUEST_URI=/")
	for _, c := range []struct {
		in    string
		match proto.Match
		role  proto.Role
	}{
		{"", proto.NeedMore, proto.AnyRole},
		{"\x00", proto.NeedMore, proto.Client},
		{whole[:4], proto.NeedMore, proto.Client},
		{whole[:5], proto.NeedMore, proto.Client},
		{whole[:12], proto.NeedMore, proto.Client},
		{whole[:25], proto.NeedMore, proto.Client},
		{whole, proto.Yes, proto.Client},
		{whole + "body", proto.Yes, proto.Client},
		{packet(7, "REQUEST_METHOD=GET"), proto.Yes, proto.Client},
		{packet(100, "REQUEST_METHOD=GET", "A=b"), proto.No, proto.AnyRole},
		{packet(0, "request_method=GET", "A=b"), proto.No, proto.AnyRole},
		{packet(0, "A=b", "=b"), proto.No, proto.AnyRole},
		{packet(0, "A=b", "9=b"), proto.No, proto.AnyRole},
		{packet(0)[:4], proto.No, proto.AnyRole},
		{"\x00\x10\x00\x01\x01\x00A\x01\x00b", proto.No, proto.AnyRole},
		{"\x00\x06\x00\x00\x01\x00A\x09\x00b", proto.No, proto.AnyRole},
		// PostgreSQL's startup, a question for a name over TCP, MongoDB, NetBIOS.
		{"\x00\x00\x00\x29\x00\x03\x00\x00user\x00me\x00", proto.No, proto.AnyRole},
		{"\x00\x1d\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01A\x00\x00\x01\x00\x01", proto.No, proto.AnyRole},
		{"\x05\x01\x00", proto.NeedMore, proto.Client}, // SOCKS, which is sure of itself
		{"GET / HTTP/1.1\r\n", proto.No, proto.AnyRole},
	} {
		if match, role := Probe([]byte(c.in)); match != c.match || role != c.role {
			t.Errorf("Probe(%q) = %v, %v; want %v, %v", c.in, match, role, c.match, c.role)
		}
	}
}

func TestResume(t *testing.T) {
	for _, c := range []struct {
		in    string
		match proto.Match
	}{
		{packet(0, "QUERY_STRING=", "REQUEST_METHOD=GET", "REQUEST_URI=/"), proto.Yes},
		{packet(0, "QUERY_STRING=", "REQUEST_METHOD=GET", "REQUEST_URI=/")[:44], proto.Yes},
		{packet(0, "QUERY_STRING=", "SERVER_NAME=a"), proto.No},
		{packet(0, "QUERY_STRING=", "SERVER_NAME=a", "x=", "REQUEST_METHOD=GET"), proto.No},
		{"HTTP/1.1 200 OK\r\n", proto.No},
	} {
		if match, _ := Resume([]byte(c.in)); match != c.match {
			t.Errorf("Resume(%q) = %v, want %v", c.in, match, c.match)
		}
	}
}

// deaf is a sink that wants nothing.
type deaf struct{ proto.Sink }

func (deaf) Head(*proto.Message) proto.Answers { return proto.AnswersOrdinary }
func (deaf) WantsBody(*proto.Message) int      { return 0 }
func (deaf) End(*proto.Message)                {}

func TestNothingIsAllocated(t *testing.T) {
	held := 0
	p := New(&proto.Context{Sink: deaf{}, Limits: prototest.DefaultLimits(), Held: &held})
	question := []byte(packet(0, "QUERY_STRING=", "REQUEST_METHOD=GET", "REQUEST_URI=/", "SERVER_PROTOCOL=HTTP/1.1", "HTTP_HOST=example.org", "REMOTE_ADDR=192.0.2.1"))
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	if n := testing.AllocsPerRun(100, func() {
		p.Data(proto.Originator, question, clock.Mark{})
		p.Data(proto.Responder, answer, clock.Mark{})
	}); n != 0 {
		t.Errorf("%v allocations for an exchange", n)
	}
}
