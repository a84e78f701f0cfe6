package http1

import (
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

var cases = []prototest.Case{
	{Name: "get", Script: `
> GET /a?b=c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello`},
	{Name: "pipelined", Script: `
> GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx`},
	{Name: "chunked", Script: `
> POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n
< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nX-T: 1\r\nY: 2\r\n\r\n
> GET /3 HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 304 Not Modified\r\n\r\n`},
	{Name: "head", Script: `
> HEAD / HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n
> GET / HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx`},
	{Name: "until close", Script: `
> GET / HTTP/1.0\r\n\r\n
< HTTP/1.0 200 OK\r\n\r\nhello
<close fin
>close fin`},
	{Name: "continue", Script: `
> PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n
< HTTP/1.1 100 Continue\r\n\r\n
> body
< HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n`},
	{Name: "early response", Script: `
> PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc
< HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n
> defghij
>close rst
<close rst`},
	{Name: "connect", Script: `
> CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03\x01early
< HTTP/1.1 200 OK\r\n\r\n\x16\x03answer
> more`},
	{Name: "connect refused", Script: `
> CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno
> GET / HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`},
	{Name: "connect refused, the next request sent early", Script: `
> CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`},
	{Name: "much early", Script: `
> CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n
>repeat 20000 x
< HTTP/1.1 200 OK\r\n\r\n\x16\x03answer`},
	{Name: "event stream", Script: `
> GET /events HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n0\r\n\r\n`},
	{Name: "upgrade", Script: `
> GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n
< HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x01a`},
	{Name: "0.9", Script: `
> GET /old\r\n
< <html>old</html>
<close fin`},
	{Name: "odd", Script: `
> \r\nGET / HTTP/1.1\nHost: a\nX: 1\n 2\n\nGET / HTTP/1.1\r\nHost : a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx
< HTTP/1.1 200\r\n: x\r\nnocolon\r\nContent-Length: 0\r\n\r\n`},
	{Name: "junk", Script: `
> GET /1 HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokjunk
> GET /2 HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`},
	{Name: "body full of heads", Script: `
> POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n\nGOT /2 HTTX/1.1\r\nHost: evil-----\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n\nHTTX/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r`},
	{Name: "big head", Limits: &proto.Limits{MaxHead: 60, MaxFields: 3}, MaxBody: 10, Script: `
> GET / HTTP/1.1\r\nHost: a\r\n\r\n
> GET / HTTP/1.1\r\nHost: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n
> GET / HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567890123456789`},
	{Name: "many fields", Limits: &proto.Limits{MaxHead: 6000, MaxFields: 3}, MaxBody: 10, Script: `
> GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nContent-Length: 3\r\n\r\nabc`},
	{Name: "resumed", Resumed: true, Script: `
> est of body
> GET / HTTP/1.1\r\nHost: a\r\n\r\n
< HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`},
}

func TestSuite(t *testing.T) { prototest.Run(t, New, cases) }
func FuzzSuite(f *testing.F) { prototest.Fuzz(f, New, cases) }
