package fastcgi

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

// rec is a record, as a script has it, with padding up to eight bytes if it is asked for.
func rec(k kind, id int, content string) string { return recPad(k, id, content, 0) }

func recPad(k kind, id int, content string, padding int) string {
	h := []byte{version, byte(k), byte(id >> 8), byte(id), byte(len(content) >> 8), byte(len(content)), byte(padding), 0}
	return escape(string(h) + content + strings.Repeat("\x00", padding))
}

func begin(id int, r role, keep byte) string {
	return rec(beginRequest, id, string([]byte{0, byte(r), keep, 0, 0, 0, 0, 0}))
}

func end(id int, app uint32, status byte) string {
	return rec(endRequest, id, string([]byte{byte(app >> 24), byte(app >> 16), byte(app >> 8), byte(app), status, 0, 0, 0}))
}

// pairs are variables, each "name=value".
func pairs(vars ...string) string {
	var b strings.Builder
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		for _, n := range [...]int{len(name), len(value)} {
			if n < 0x80 {
				b.WriteByte(byte(n))
			} else {
				b.Write([]byte{0x80, byte(n >> 16), byte(n >> 8), byte(n)})
			}
		}
		b.WriteString(name + value)
	}
	return b.String()
}

func vars(method, uri string, more ...string) string {
	return pairs(append([]string{"QUERY_STRING=", "REQUEST_METHOD=" + method, "REQUEST_URI=" + uri, "SERVER_PROTOCOL=HTTP/1.1"}, more...)...)
}

// ask is a whole request without a body.
func ask(id int, method, uri string, more ...string) string {
	return begin(id, responder, 1) + recPad(params, id, vars(method, uri, more...), 3) + rec(params, id, "") + rec(stdin, id, "")
}

const page = "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n"

var cases = []prototest.Case{
	{
		Name: "a request and its answer",
		Script: `
			> ` + begin(1, responder, 0) + recPad(params, 1, pairs("QUERY_STRING=a=1", "REQUEST_METHOD=POST", "CONTENT_TYPE=text/plain", "CONTENT_LENGTH=5",
			"REQUEST_URI=/a.php?a=1", "SCRIPT_FILENAME=/srv/a.php", "SERVER_PROTOCOL=HTTP/1.1", "DB_PASSWORD=secret",
			"REMOTE_ADDR=192.0.2.1", "REMOTE_PORT=4711", "HTTP_HOST=example.org", "HTTP_X_FORWARDED_FOR=192.0.2.9", "HTTP_CONTENT_LENGTH=5"), 5) +
			rec(params, 1, "") + recPad(stdin, 1, "hello", 3) + rec(stdin, 1, "") + `
			< ` + recPad(stdout, 1, page+"all of it", 2) + rec(stdout, 1, "") + end(1, 0, 0) + `
			<close fin
			>close fin`,
		Want: `
			>1 request POST /a.php?a=1 HTTP/1.1 at 0 head 323 length 5
			>1 content-type: text/plain
			>1 content-length: 5
			>1 host: example.org
			>1 x-forwarded-for: 192.0.2.9
			>1 script = /srv/a.php
			>1 remote_ip = 192.0.2.1
			>1 remote_port = 4711
			>1 "hello"
			>1 end whole size 347 body 5
			<1 response 200 OK at 0 head 52 stream
			<1 Status: 200 OK
			<1 Content-Type: text/plain
			<1 "all of it"
			<1 end whole size 87 body 9`,
	},
	{
		Name: "one after the other, with the same id",
		Script: `
			> ` + ask(1, "GET", "/1") + `
			< ` + rec(stdout, 1, page+"one") + end(1, 0, 0) + `
			> ` + ask(1, "GET", "/2") + `
			< ` + rec(stdout, 1, page+"two") + end(1, 0, 0),
	},
	{
		Name: "several at once, their records mixed",
		Script: `
			> ` + begin(1, responder, 1) + begin(2, responder, 1) + rec(params, 2, vars("GET", "/2")) + rec(params, 1, vars("POST", "/1", "CONTENT_LENGTH=6")) +
			rec(params, 1, "") + rec(stdin, 1, "abc") + rec(params, 2, "") + rec(stdin, 2, "") + rec(stdin, 1, "def") + rec(stdin, 1, "") + `
			< ` + rec(stdout, 2, page+"second ") + rec(stdout, 1, page+"first") + rec(stdout, 2, "goes on") + end(1, 0, 0) + end(2, 0, 0),
	},
	{
		Name: "a head in pieces, and what the application wrote to its log",
		Script: `
			> ` + begin(1, responder, 0) + rec(params, 1, vars("GET", "/x", "HTTP_COOKIE="+strings.Repeat("c", 200))[:60]) + rec(params, 1, vars("GET", "/x", "HTTP_COOKIE="+strings.Repeat("c", 200))[60:]) + rec(params, 1, "") + rec(stdin, 1, "") + `
			< ` + rec(stderr, 1, "PHP message: ") + rec(stdout, 1, "Status: 500 Internal Serv") + rec(stderr, 1, "PHP Warning: no such thing\n") + rec(stdout, 1, "er Error\r\nX-Powered-By: PHP\r\n\r") + rec(stdout, 1, "\nbody") + rec(stdout, 1, "") + rec(stderr, 1, "") + end(1, 255, 0),
		Want: `
			>1 request GET /x HTTP/1.1 at 0 head 329 none
			>1 cookie: cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
			>1 end whole size 337 body 0
			<1 response 500 Internal Server Error at 21 head 80 stream
			<1 Status: 500 Internal Server Error
			<1 X-Powered-By: PHP
			<1 "body"
			<1 end whole size 108 body 4
			<1 app_status = 255
			<1 stderr = PHP message: PHP Warning: no such thing`,
	},
	{
		Name: "no status, a redirection, no empty line, and nothing",
		Script: `
			> ` + ask(1, "GET", "/plain") + ask(2, "GET", "/elsewhere") + ask(3, "GET", "/unfinished") + ask(4, "GET", "/busy") + ask(5, "HEAD", "/head") + ask(6, "GET", "/nph") + `
			< ` + rec(stdout, 1, "Content-type: text/html\n\n<p>") + end(1, 0, 0) + `
			< ` + rec(stdout, 2, "Location: /there\n\n") + end(2, 0, 0) + `
			< ` + rec(stdout, 3, "Status: 404 Not Found\r\n") + end(3, 0, 0) + `
			< ` + end(4, 0, 2) + `
			< ` + rec(stdout, 5, "Content-Length: 100\r\n\r\n") + end(5, 0, 0) + `
			< ` + rec(stdout, 6, "HTTP/1.0 201 Created\r\nContent-Length: 4\r\n\r\nabc") + end(6, 0, 0),
		Want: `
			>1 request GET /plain HTTP/1.1 at 0 head 112 none
			>1 end whole size 120 body 0
			>2 request GET /elsewhere HTTP/1.1 at 120 head 116 none
			>2 end whole size 124 body 0
			>3 request GET /unfinished HTTP/1.1 at 244 head 117 none
			>3 end whole size 125 body 0
			>4 request GET /busy HTTP/1.1 at 369 head 111 none
			>4 end whole size 119 body 0
			>5 request HEAD /head HTTP/1.1 at 488 head 112 none
			>5 end whole size 120 body 0
			>6 request GET /nph HTTP/1.1 at 608 head 110 none
			>6 end whole size 118 body 0
			<1 response 200 at 0 head 33 stream
			<1 Content-type: text/html
			<1 "<p>"
			<1 end whole size 52 body 3
			<2 response 302 at 52 head 26 stream
			<2 Location: /there
			<2 end whole size 42 body 0
			<3 response 404 Not Found at 94 head 47 none [bad-start-line]
			<3 Status: 404 Not Found
			<3 end broken size 47 body 0 [bad-start-line]
			<4 response 0 at 141 head 16 none
			<4 end broken size 16 body 0
			<4 protocol_status = OVERLOADED
			<5 response 200 at 157 head 31 length 100
			<5 Content-Length: 100
			<5 end whole size 47 body 0
			<6 response 201 HTTP/1.0 Created at 204 head 51 length 4
			<6 Content-Length: 4
			<6 "abc"
			<6 end whole size 70 body 3 [length-differs]`,
	},
	{
		Name: "roles",
		Script: `
			> ` + begin(1, authorizer, 1) + rec(params, 1, vars("GET", "/private")) + rec(params, 1, "") + begin(2, filter, 1) + rec(params, 2, vars("POST", "/filtered", "CONTENT_LENGTH=2")) + rec(params, 2, "") + rec(stdin, 2, "in") + rec(stdin, 2, "") + rec(data, 2, "the file") + rec(data, 2, "") + `
			< ` + rec(stdout, 1, "Status: 403 Forbidden\r\n\r\n") + end(1, 0, 0) + rec(stdout, 2, page+"x") + end(2, 0, 0),
		Want: `
			>1 request GET /private HTTP/1.1 at 0 head 111 none
			>1 role = authorizer
			>1 end whole size 111 body 0
			>2 request POST /filtered HTTP/1.1 at 111 head 130 length 2
			>2 content-length: 2
			>2 role = filter
			>2 "in"
			>2 end whole size 172 body 2
			<1 response 403 Forbidden at 0 head 33 stream
			<1 Status: 403 Forbidden
			<1 end whole size 49 body 0
			<2 response 200 OK at 49 head 52 stream
			<2 Status: 200 OK
			<2 Content-Type: text/plain
			<2 "x"
			<2 end whole size 69 body 1`,
	},
	{
		Name: "given up by the web server",
		Script: `
			> ` + ask(1, "GET", "/slow") + rec(abortRequest, 1, "") + `
			< ` + end(1, 1, 0) + `
			> ` + ask(1, "GET", "/again") + `
			< ` + rec(stdout, 1, page+"par") + `
			> ` + rec(abortRequest, 1, "") + `
			< ` + rec(stdout, 1, "tial") + end(1, 1, 0) + `
			> ` + ask(1, "GET", "/third") + `
			< ` + rec(stdout, 1, page) + end(1, 0, 0),
		Want: `
			>1 request GET /slow HTTP/1.1 at 0 head 111 none
			>1 end whole size 119 body 0
			abort 1 by originator ABORT_REQUEST
			>2 request GET /again HTTP/1.1 at 127 head 112 none
			>2 end whole size 120 body 0
			<2 response 200 OK at 16 head 52 stream
			<2 Status: 200 OK
			<2 Content-Type: text/plain
			<2 "par"
			<2 end cut size 55 body 3 stream-reset
			abort 2 by originator ABORT_REQUEST
			>3 request GET /third HTTP/1.1 at 255 head 112 none
			>3 end whole size 120 body 0
			<3 response 200 OK at 99 head 52 stream
			<3 Status: 200 OK
			<3 Content-Type: text/plain
			<3 end whole size 68 body 0`,
	},
	{
		Name: "an answer before the request is over",
		Script: `
			> ` + begin(1, responder, 1) + rec(params, 1, vars("POST", "/big", "CONTENT_LENGTH=9")) + rec(params, 1, "") + rec(stdin, 1, "abc") + `
			< ` + rec(stdout, 1, "Status: 413 Too Large\r\n\r\n") + end(1, 0, 0) + `
			> ` + rec(stdin, 1, "def") + ask(1, "GET", "/next") + `
			< ` + rec(stdout, 1, page) + end(1, 0, 0),
		Want: `
			>1 request POST /big HTTP/1.1 at 0 head 125 length 9
			>1 content-length: 9
			>1 "abc"
			<1 response 413 Too Large at 0 head 33 stream
			<1 Status: 413 Too Large
			<1 end whole size 49 body 0
			>1 "def"
			>1 end cut size 147 body 6 stream-reset
			abort 1 by responder END_REQUEST
			>2 request GET /next HTTP/1.1 at 147 head 111 none
			>2 end whole size 119 body 0
			<2 response 200 OK at 49 head 52 stream
			<2 Status: 200 OK
			<2 Content-Type: text/plain
			<2 end whole size 68 body 0`,
	},
	{
		Name: "values of the application, unknown records, and those of the wrong side",
		Script: `
			> ` + rec(getValues, 0, pairs("FCGI_MAX_CONNS=", "FCGI_MPXS_CONNS=")) + `
			< ` + rec(getValuesResult, 0, pairs("FCGI_MPXS_CONNS=1")) + rec(unknownType, 0, "\x0c\x00\x00\x00\x00\x00\x00\x00") + `
			> ` + rec(stdout, 1, page) + rec(kind(77), 1, "?") + rec(stdin, 9, "nobody's") + ask(1, "GET", "/") + `
			< ` + rec(stdout, 1, page) + end(1, 0, 0),
		Want: `
			>1 request GET / HTTP/1.1 at 118 head 107 none [bad-frame]
			>1 end whole size 115 body 0 [bad-frame]
			<1 response 200 OK at 42 head 52 stream
			<1 Status: 200 OK
			<1 Content-Type: text/plain
			<1 end whole size 68 body 0`,
	},
	{
		Name: "events",
		Script: `
			> ` + ask(1, "GET", "/events") + `
			< ` + rec(stdout, 1, "Content-Type: text/event-stream\r\n\r\ndata: 1\n\n") + rec(stdout, 1, "data: 2\n\n") + `
			>close rst
			<close rst`,
	},
	{
		Name:   "the responder asks",
		Client: proto.Responder,
		Script: `
			< ` + ask(1, "GET", "/") + `
			> ` + rec(stdout, 1, page) + end(1, 0, 0),
	},
	{
		Name: "what is no record",
		Script: `
			> GET / HTTP/1.1\r\n\r\n
			> ` + ask(1, "GET", "/") + `
			< HTTP/1.1 400 Bad Request\r\n\r\n
			< ` + rec(stdout, 1, page) + end(1, 0, 0),
	},
	{
		Name:    "picked up in the middle",
		Resumed: true,
		Script: `
			< the rest of a page
			> ` + ask(1, "GET", "/") + `
			< ` + rec(stdout, 1, page+"x") + end(1, 0, 0) + `
			> ` + ask(1, "GET", "/2") + `
			< ` + rec(stdout, 1, page+"y") + end(1, 0, 0),
		Want: `
			resumed
			>1 request GET / HTTP/1.1 at 0 head 107 none
			>1 end whole size 115 body 0
			<1 response 200 OK at 18 head 52 stream
			<1 Status: 200 OK
			<1 Content-Type: text/plain
			<1 "x"
			<1 end whole size 69 body 1
			>2 request GET /2 HTTP/1.1 at 115 head 108 none
			>2 end whole size 116 body 0
			<2 response 200 OK at 87 head 52 stream
			<2 Status: 200 OK
			<2 Content-Type: text/plain
			<2 "y"
			<2 end whole size 69 body 1`,
	},
	{
		Name: "answers alone",
		Script: `
			< ` + rec(stdout, 1, page+"x") + end(1, 0, 0) + rec(stdout, 2, page+"y") + end(2, 0, 0),
	},
	{
		Name: "missing bytes of bodies",
		Script: `
			> ` + begin(1, responder, 0) + rec(params, 1, vars("POST", "/", "CONTENT_LENGTH=10")) + rec(params, 1, "") + escape("\x01\x05\x00\x01\x00\x0a\x00\x00abc") + `
			>gap 4
			> ` + escape("hij") + rec(stdin, 1, "") + `
			< ` + escape("\x01\x06\x00\x01\x00\x36\x02\x00"+page+"0123") + `
			<gap 8
			< ` + rec(stdout, 1, "tail") + end(1, 0, 0),
		Want: `
			>1 request POST / HTTP/1.1 at 0 head 123 length 10
			>1 content-length: 10
			>1 "abchij"
			>1 end whole size 149 body 10 missing 4
			<1 response 200 OK at 0 head 52 stream
			<1 Status: 200 OK
			<1 Content-Type: text/plain
			<1 "0123tail"
			<1 end whole size 92 body 14 missing 6`,
	},
	{
		Name:   "limits",
		Limits: &proto.Limits{MaxHead: 100, MaxFields: 2, MaxStreams: 3},
		Script: `
			> ` + ask(1, "GET", "/1", "HTTP_A=1", "HTTP_B=2", "HTTP_C=3") + ask(2, "GET", "/2") + `
			< ` + rec(stdout, 1, "Status: 200\r\nX-Long: "+strings.Repeat("x", 100)) + end(1, 0, 0) + rec(stdout, 2, "Status: 200\r\nA: 1\r\nB: 2\r\n\r\n") + end(2, 0, 0) + `
			> ` + ask(4, "GET", "/4", "HTTP_A="+strings.Repeat("y", 100)),
		Want: `
			>1 request GET /1 HTTP/1.1 at 0 head 135 none [too-many-fields]
			>1 a: 1
			>1 b: 2
			>1 end whole size 143 body 0 [too-many-fields]
			>2 request GET /2 HTTP/1.1 at 143 head 108 none
			>2 end whole size 116 body 0
			<1 response 200 at 0 head 108 none [head-too-large]
			<1 Status: 200
			<1 end broken size 108 body 0 [head-too-large]
			<2 response 200 at 145 head 35 stream [too-many-fields]
			<2 Status: 200
			<2 A: 1
			<2 end whole size 51 body 0 [too-many-fields]
			>3 request GET /4 HTTP/1.1 at 259 head 124 none [head-too-large]
			>3 end broken size 124 body 0 [head-too-large]`,
	},
}

// alone are conversations that are told otherwise when a part of them is missing, or when they end early: they are played as they are.
var alone = []prototest.Case{
	{
		Name:   "more requests at a time than the limit",
		Limits: &proto.Limits{MaxHead: 1000, MaxFields: 10, MaxStreams: 2},
		Script: `
			> ` + ask(1, "GET", "/1") + ask(2, "GET", "/2") + ask(3, "GET", "/3") + `
			< ` + end(1, 0, 0) + rec(stdout, 3, page) + end(3, 0, 0) + `
			> ` + ask(4, "GET", "/4"),
		Want: `
			>1 request GET /1 HTTP/1.1 at 0 head 108 none
			>1 end whole size 116 body 0
			>2 request GET /2 HTTP/1.1 at 116 head 108 none
			>2 end whole size 116 body 0
			<1 response 0 at 0 head 16 none [bad-start-line]
			<1 end broken size 16 body 0 [bad-start-line]
			<3 response 200 OK at 16 head 52 stream
			<3 Status: 200 OK
			<3 Content-Type: text/plain
			<3 end whole size 68 body 0
			>4 request GET /4 HTTP/1.1 at 348 head 108 none [stream-limit]
			>4 end whole size 116 body 0 [stream-limit]`,
	},
	{
		Name: "a gap across records, in a body of known length and in one without",
		Script: `
			> ` + ask(1, "GET", "/") + ask(2, "GET", "/") + `
			< ` + rec(stdout, 1, "Content-Length: 20\r\n\r\n0123") + rec(stdout, 2, page+"0123") + `
			<gap 24
			< ` + rec(stdout, 2, "end.") + rec(stdout, 1, "end.") + end(1, 0, 0) + end(2, 0, 0),
		Want: `
			>1 request GET / HTTP/1.1 at 0 head 107 none
			>1 end whole size 115 body 0
			>2 request GET / HTTP/1.1 at 115 head 107 none
			>2 end whole size 115 body 0
			<1 response 200 at 0 head 30 length 20
			<1 Content-Length: 20
			<1 "0123"
			<2 response 200 OK at 34 head 52 stream
			<2 Status: 200 OK
			<2 Content-Type: text/plain
			<2 "0123"
			< lost
			<2 "end."
			<1 "end."
			<1 end whole size 62 body 20 missing 12
			<2 end broken size 84 body 8`,
	},
	{
		Name: "records found in the middle of a segment",
		Script: `
			> ` + ask(1, "GET", "/") + `
			< ` + rec(stdout, 1, "Content-Length: 100\r\n\r\n0123") + `
			<gap 24
			< the rest of one, and what looks like one ` + rec(stdout, 2, "x") + rec(stdout, 1, "but for") + `\x00 what follows: ` + recPad(stdout, 1, "the next", 2) + rec(stdout, 1, "and the last") + end(1, 0, 0),
		Want: `
			>1 request GET / HTTP/1.1 at 0 head 107 none
			>1 end whole size 115 body 0
			<1 response 200 at 0 head 31 length 100
			<1 Content-Length: 100
			<1 "0123"
			< lost
			<1 "the nextand the last"
			<1 end whole size 89 body 100 missing 76`,
	},
	{
		Name: "a gap that may hide the end of a request, and the answer to it",
		Script: `
			> ` + begin(1, responder, 1) + rec(params, 1, vars("POST", "/1", "CONTENT_LENGTH=3")) + rec(params, 1, "") + rec(stdin, 1, "abc") + `
			>gap 8
			< ` + rec(stdout, 1, page) + end(1, 0, 0) + `
			> ` + ask(1, "GET", "/2") + `
			< ` + rec(stdout, 1, page) + end(1, 0, 0),
		Want: `
			>1 request POST /1 HTTP/1.1 at 0 head 123 length 3
			>1 content-length: 3
			>1 "abc"
			>1 end whole size 134 body 3
			> lost
			<1 response 200 OK at 0 head 52 stream
			<1 Status: 200 OK
			<1 Content-Type: text/plain
			<1 end whole size 68 body 0
			>2 request GET /2 HTTP/1.1 at 142 head 108 none
			>2 end whole size 116 body 0
			<2 response 200 OK at 68 head 52 stream
			<2 Status: 200 OK
			<2 Content-Type: text/plain
			<2 end whole size 68 body 0`,
	},
	{
		Name: "gaps in both directions: the id may be another request's",
		Script: `
			> ` + ask(1, "GET", "/1") + `
			<gap 100
			>gap 100
			< ` + rec(stdout, 1, page+"of the second") + end(1, 0, 0) + `
			> ` + ask(1, "GET", "/3") + `
			< ` + rec(stdout, 1, page+"of the third") + end(1, 0, 0),
		Want: `
			>1 request GET /1 HTTP/1.1 at 0 head 108 none
			>1 end whole size 116 body 0
			< lost
			> lost
			<2 response 200 OK at 100 head 52 stream
			<2 Status: 200 OK
			<2 Content-Type: text/plain
			<2 "of the second"
			<2 end whole size 81 body 13
			>3 request GET /3 HTTP/1.1 at 216 head 108 none
			>3 end whole size 116 body 0
			<3 response 200 OK at 181 head 52 stream
			<3 Status: 200 OK
			<3 Content-Type: text/plain
			<3 "of the third"
			<3 end whole size 80 body 12`,
	},
	{
		Name: "a hole before the rest of an answer",
		Script: `
			> ` + ask(1, "GET", "/1") + `
			<gap 100
			< ` + rec(stdout, 1, "<p>the rest\n\n") + rec(stderr, 1, "oh") + end(1, 0, 0) + `
			> ` + ask(1, "GET", "/2") + `
			< ` + rec(stdout, 1, page) + end(1, 0, 0),
		Want: `
			>1 request GET /1 HTTP/1.1 at 0 head 108 none
			>1 end whole size 116 body 0
			< lost
			>2 request GET /2 HTTP/1.1 at 116 head 108 none
			>2 end whole size 116 body 0
			<2 response 200 OK at 147 head 52 stream
			<2 Status: 200 OK
			<2 Content-Type: text/plain
			<2 end whole size 68 body 0`,
	},
	{
		Name: "the id used again, while the end of the first answer is missing",
		Script: `
			> ` + ask(1, "GET", "/1") + `
			< ` + rec(stdout, 1, page+"begin") + `
			<gap 100
			> ` + ask(1, "GET", "/2") + `
			< ` + rec(stdout, 1, page+"second") + end(1, 0, 0),
		Want: `
			>1 request GET /1 HTTP/1.1 at 0 head 108 none
			>1 end whole size 116 body 0
			<1 response 200 OK at 0 head 52 stream
			<1 Status: 200 OK
			<1 Content-Type: text/plain
			<1 "begin"
			< lost
			<1 end broken size 57 body 5
			>2 request GET /2 HTTP/1.1 at 116 head 108 none
			>2 end whole size 116 body 0
			<2 response 200 OK at 157 head 52 stream
			<2 Status: 200 OK
			<2 Content-Type: text/plain
			<2 "second"
			<2 end whole size 74 body 6`,
	},
	{
		Name: "the id used again, while the beginning of the second answer is missing",
		Script: `
			> ` + ask(1, "GET", "/1") + `
			< ` + rec(stdout, 1, page+"begin") + `
			<gap 100
			> ` + ask(1, "GET", "/2") + `
			< ` + rec(stdout, 1, "<p>the rest\n\n") + end(1, 0, 0) + `
			> ` + ask(1, "GET", "/3") + `
			< ` + rec(stdout, 1, page) + end(1, 0, 0),
		Want: `
			>1 request GET /1 HTTP/1.1 at 0 head 108 none
			>1 end whole size 116 body 0
			<1 response 200 OK at 0 head 52 stream
			<1 Status: 200 OK
			<1 Content-Type: text/plain
			<1 "begin"
			< lost
			<1 end broken size 57 body 5
			>2 request GET /2 HTTP/1.1 at 116 head 108 none
			>2 end whole size 116 body 0
			>3 request GET /3 HTTP/1.1 at 232 head 108 none
			>3 end whole size 116 body 0
			<3 response 200 OK at 194 head 52 stream
			<3 Status: 200 OK
			<3 Content-Type: text/plain
			<3 end whole size 68 body 0`,
	},
	{
		Name: "the connection ends in a body that a gap may have ended",
		Script: `
			> ` + ask(1, "GET", "/1") + `
			< ` + rec(stdout, 1, page+"begin") + `
			<gap 100
			<close fin
			>close fin`,
		Want: `
			>1 request GET /1 HTTP/1.1 at 0 head 108 none
			>1 end whole size 116 body 0
			<1 response 200 OK at 0 head 52 stream
			<1 Status: 200 OK
			<1 Content-Type: text/plain
			<1 "begin"
			< lost
			<1 end broken size 57 body 5`,
	},
}

func TestAlone(t *testing.T) {
	for _, c := range alone {
		t.Run(c.Name, func(t *testing.T) {
			r, err := prototest.Play(New, c)
			if err != nil {
				t.Error(err)
			}
			if got, want := lines(r.Text()), lines(c.Want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// lines takes away the space around lines.
func lines(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			all = append(all, line)
		}
	}
	return strings.Join(all, "\n")
}

func TestConformance(t *testing.T) { prototest.Run(t, New, cases) }

func FuzzParser(f *testing.F) { prototest.Fuzz(f, New, cases) }

// joiner is a sink that fails when it is given what is behind a hole, and isn't told of the hole.
type joiner struct {
	proto.Sink
	t *testing.T
}

func (joiner) Head(*proto.Message) proto.Answers { return proto.AnswersOrdinary }
func (joiner) WantsBody(*proto.Message) int      { return 1000 }
func (joiner) End(*proto.Message)                {}
func (joiner) Lost(proto.Direction, clock.Mark)  {}
func (j joiner) Body(m *proto.Message, b []byte) {
	if behind := string(b) == "behind"; behind != (m.MissingBytes > 0) {
		j.t.Errorf("%q comes with %d bytes missing", b, m.MissingBytes)
	}
}

func TestHolesAreTold(t *testing.T) {
	held := 0
	p := New(&proto.Context{Sink: joiner{t: t}, Limits: prototest.DefaultLimits(), Held: &held})
	p.Data(proto.Originator, bytesOf(t, ">", ask(1, "GET", "/")), clock.Mark{})
	p.Data(proto.Responder, bytesOf(t, "<", rec(stdout, 1, page+"before")), clock.Mark{})
	p.Gap(proto.Responder, 100, clock.Mark{})
	p.Data(proto.Responder, bytesOf(t, "<", rec(stdout, 1, "behind")+end(1, 0, 0)), clock.Mark{})
}

func TestProbe(t *testing.T) {
	const begins = "\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	for _, c := range []struct {
		in    string
		match proto.Match
		role  proto.Role
	}{
		{"", proto.NeedMore, proto.AnyRole},
		{"\x01", proto.NeedMore, proto.Client},
		{begins[:7], proto.NeedMore, proto.Client},
		{begins[:8], proto.NeedMore, proto.Client},
		{begins[:15], proto.NeedMore, proto.Client},
		{begins, proto.Yes, proto.Client},
		{begins + "GET", proto.Yes, proto.Client},
		{"\x01\x01\x12\x34\x00\x08\x00\x00\x00\x03\x01\x00\x00\x00\x00\x00", proto.Yes, proto.Client},
		{"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x04\x01\x00\x00\x00\x00\x00", proto.No, proto.AnyRole}, // no such role
		{"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x02\x00\x00\x00\x00\x00", proto.No, proto.AnyRole}, // no such flag
		{"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x01\x00\x00\x00\x00\x01", proto.No, proto.AnyRole}, // reserved
		{"\x01\x01\x00\x00\x00\x08\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00", proto.No, proto.AnyRole}, // no id
		{"\x01\x01\x00\x01\x00\x09\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00", proto.No, proto.AnyRole},
		{"\x02\x01\x00\x01\x00\x08\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00", proto.No, proto.AnyRole},
		{"\x01\x09\x00\x00\x00\x10\x00\x00\x0e\x00FCGI_MAX_CONNS", proto.Yes, proto.Client},
		{"\x01\x09\x00\x00\x00\x10\x00\x00\x0e\x00FCGI_MAX", proto.NeedMore, proto.Client},
		{"\x01\x09\x00\x00\x00\x10\x00\x00\x0e\x00XCGI_MAX_CONNS", proto.No, proto.AnyRole},
		{"\x01\x09\x00\x00\x00\x00\x00\x00", proto.No, proto.AnyRole},
		{"\x01\x04", proto.No, proto.AnyRole},
		{"GET / HTTP/1.1", proto.No, proto.AnyRole},
	} {
		if match, role := Probe([]byte(c.in)); match != c.match || role != c.role {
			t.Errorf("Probe(%q) = %v, %v; want %v, %v", c.in, match, role, c.match, c.role)
		}
	}
}

func TestResume(t *testing.T) {
	const (
		begins = "\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"
		out    = "\x01\x06\x00\x01\x00\x10\x00\x00"
	)
	for _, c := range []struct {
		in    string
		match proto.Match
		role  proto.Role
	}{
		{begins, proto.Yes, proto.Client},
		{begins + "\x01\x04\x00\x01\x00\x99\x00\x00any", proto.Yes, proto.Client},
		{begins + "\x01\x06\x00\x01\x00\x99\x00\x00any", proto.No, proto.AnyRole}, // the application's
		{begins + "\x01\x04\x00\x01\x00\x99\x00\x01any", proto.No, proto.AnyRole}, // reserved
		{begins[:15], proto.No, proto.AnyRole},
		{out + "Status: 200 OK\r\n", proto.Yes, proto.Server},
		{out + "Status: 20", proto.Yes, proto.Server},
		{out + "Status: 200 OK\r\n\x01\x03\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", proto.Yes, proto.Server},
		{out + "Status: 200 OK\r\nno record follows", proto.No, proto.AnyRole},
		{out + "<p>Status: 200 O", proto.No, proto.AnyRole},
		{"Status: 200 OK\r\n\r\n", proto.No, proto.AnyRole},
	} {
		if match, role := Resume([]byte(c.in)); match != c.match || role != c.role {
			t.Errorf("Resume(%q) = %v, %v; want %v, %v", c.in, match, role, c.match, c.role)
		}
	}
}

// deaf is a sink that wants nothing.
type deaf struct{ proto.Sink }

func (deaf) Head(*proto.Message) proto.Answers { return proto.AnswersOrdinary }
func (deaf) WantsBody(*proto.Message) int      { return 0 }
func (deaf) End(*proto.Message)                {}

// bytesOf is what a script's text stands for.
func bytesOf(t testing.TB, d string, text string) []byte {
	steps, err := prototest.Parse(d + " " + text)
	if err != nil {
		t.Fatal(err)
	}
	return steps[0].Data
}

func TestNothingIsAllocated(t *testing.T) {
	held := 0
	p := New(&proto.Context{Sink: deaf{}, Limits: prototest.DefaultLimits(), Held: &held})
	question := bytesOf(t, ">", ask(1, "GET", "/index.php", "SCRIPT_FILENAME=/srv/index.php", "HTTP_HOST=example.org", "HTTP_ACCEPT=*/*"))
	answer := bytesOf(t, "<", rec(stdout, 1, page+"hello")+end(1, 0, 0))
	at := clock.Mark{}
	if n := testing.AllocsPerRun(100, func() {
		p.Data(proto.Originator, question, at)
		p.Data(proto.Responder, answer, at)
	}); n != 0 {
		t.Errorf("%v allocations for an exchange", n)
	}
	if held != 0 {
		t.Errorf("%d bytes held between exchanges", held)
	}
}

func BenchmarkExchange(b *testing.B) {
	held := 0
	p := New(&proto.Context{Sink: deaf{}, Limits: prototest.DefaultLimits(), Held: &held})
	question := bytesOf(b, ">", ask(1, "GET", "/index.php", "SCRIPT_FILENAME=/srv/index.php", "HTTP_HOST=example.org", "HTTP_ACCEPT=*/*"))
	answer := bytesOf(b, "<", rec(stdout, 1, page+"hello")+end(1, 0, 0))
	b.ReportAllocs()
	for b.Loop() {
		p.Data(proto.Originator, question, clock.Mark{})
		p.Data(proto.Responder, answer, clock.Mark{})
	}
}
