package console

import (
	"bytes"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

// call is a gRPC call within TLS that failed, its status and message in trailers.
func call() *exchange.Exchange {
	x := outputtest.HTTP2(":method: POST\n:scheme: https\n:path: /shop.Cart/Add\n:authority: shop.example\ncontent-type: application/grpc\n\n",
		":status: 200\ncontent-type: application/grpc\ntrailer grpc-status: 14\ntrailer grpc-message: no%20stock%1b[2J\n\n")
	x.TLS = outputtest.TLS13()
	x.Timing.TLS, x.Timing.Handshake = 8_000_000, exchange.Split{Client: 1_000_000, Server: 3_000_000, Network: 4_000_000}
	x.Request.Parts.Count, x.Response.Parts.Count = 1, 2
	x.Response.Stalled = 2_000_000
	return x
}

// failed is a handshake that the client gave up, for a certificate that had ended.
func failed() *exchange.Exchange {
	x := outputtest.TLSRecord()
	x.TLS.ServerChain = outputtest.TLS13().ServerChain
	x.TLS.ServerChain[0].NotAfter = x.Start.Time - int64(25*time.Hour)
	x.TLS.Version, x.TLS.Established = 0x0303, false
	x.TLS.Alerts = []proto.Alert{{Dir: x.Client, Fatal: true, Code: 45, Name: "certificate_expired"}, {Dir: x.Client, Code: 0, Name: "close_notify"}}
	x.Grade, x.Reason = exchange.Aborted, "TLS handshake: certificate_expired from the client"
	return x
}

// The golden files of what isn't a request and its response in plain text.
func TestKinds(t *testing.T) {
	soon := call()
	soon.TLS.ServerChain[0].NotAfter = soon.Start.Time + int64(13*24*time.Hour) + 1
	operation := typed("application/json", `{"data":null}`)
	operation.Operation = exchange.Operation{System: "graphql", Kind: "query", Names: []string{"Cart", "Stock"}}
	pushed := outputtest.HTTP2(":method: GET\n:scheme: https\n:path: /style.css\n:authority: shop.example\n\n", ":status: 200\n\n")
	pushed.Request.Pushed, pushed.Abort = true, &proto.Abort{By: pushed.Client, Name: "NO_ERROR"}
	silent := outputtest.Session()
	silent.HasRequest, silent.HasResponse, silent.Closing = false, false, exchange.Closing{}
	silent.Request, silent.Response = proto.Message{}, proto.Message{}
	news := outputtest.Push("news")
	news.ResponseBody.Bytes = []byte("\"hello \x1b[2J\"\n")
	refused := outputtest.Failed(outputtest.Push(""), "ERR", "max number of clients reached")
	bytea := outputtest.Query("postgresql", "SELECT", "SELECT b, t FROM f WHERE b <> $1")
	bytea.Request.Say("parameter", []byte(`\x00ff10`))
	bytea.ResponseBody.Bytes = []byte("\\\\x00ff10\t\x1b\\\\x1b[2J\n")
	for name, x := range map[string]*exchange.Exchange{
		"grpc-failed": call(), "certificate-soon": soon, "tls-unread": outputtest.TLSRecord(), "tls-failed": failed(), "graphql": operation,
		"pushed": pushed, "websocket": outputtest.Session(), "websocket-midstream": silent,
		"message-client": outputtest.SessionMessage(proto.Originator, "text", `{"room":7}`), "message-server": outputtest.SessionMessage(proto.Responder, "text", "hi\x1b[2J"),
		"push": news, "push-failed": refused, "bytea": bytea,
		"message-ping": outputtest.SessionMessage(proto.Responder, "ping", ""),
	} {
		var b bytes.Buffer
		o := New(&b, screen)
		if err := o.Exchange(x); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		outputtest.Golden(t, *update, name+".txt", b.Bytes())
	}
}
