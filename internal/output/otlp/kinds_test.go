package otlp

import (
	"fmt"
	"testing"
	"time"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	wire "github.com/culprit-http/culprit/internal/proto"
)

// grpc is a call on an HTTP/2 stream within TLS that ended with a status.
func grpc(status string) *exchange.Exchange {
	x := outputtest.HTTP2(":method: POST\n:scheme: https\n:path: /shop.Cart/Add\n:authority: shop.example\ncontent-type: application/grpc\n\n",
		":status: 200\ncontent-type: application/grpc\ntrailer grpc-status: "+status+"\ntrailer grpc-message: no%20stock\n\n")
	x.TLS = outputtest.TLS13()
	return x
}

// Attributes and the status follow the conventions for what isn't HTTP/1 in plain text.
func TestKinds(t *testing.T) {
	graphQL := outputtest.Exchange(get, ok)
	graphQL.Operation = exchange.Operation{System: "graphql", Kind: "query", Names: []string{"Cart"}}
	batch := outputtest.Exchange(get, ok)
	batch.Operation = exchange.Operation{System: "graphql", Kind: "query", Names: []string{"Cart", "Stock"}}
	call := outputtest.Exchange(get, ok)
	call.Operation = exchange.Operation{System: "jsonrpc", Kind: "call", Names: []string{"eth_call"}}
	reset := outputtest.HTTP2(":method: GET\n:scheme: https\n:path: /\n:authority: h\n\n", "")
	reset.Grade, reset.Reason = exchange.Aborted, "stream given up by the client: CANCEL"
	reset.Abort = &wire.Abort{By: reset.Client, Name: "CANCEL"}
	handshake := outputtest.TLSRecord()
	handshake.Grade, handshake.Reason = exchange.Aborted, "TLS handshake: unknown_ca from the client"
	handshake.TLS.Alerts = []wire.Alert{{Dir: handshake.Client, Fatal: true, Code: 48, Name: "unknown_ca"}}
	notAfter := time.Unix(0, outputtest.TLS13().ServerChain[0].NotAfter).UTC().Format(time.RFC3339)

	failed, fine := tracev1.Status_STATUS_CODE_ERROR, tracev1.Status_STATUS_CODE_UNSET
	for name, c := range map[string]struct {
		x      *exchange.Exchange
		span   string
		status tracev1.Status_StatusCode
		want   map[string]any // nil: it isn't there
	}{
		"gRPC, the server's fault": {grpc("14"), "shop.Cart/Add", failed, map[string]any{
			"rpc.system": "grpc", "rpc.service": "shop.Cart", "rpc.method": "Add", "rpc.grpc.status_code": int64(14), "error.type": "UNAVAILABLE",
			"network.protocol.name": "http", "network.protocol.version": "2", "http.request.method": "POST", "event.outcome": "failure",
			"culprit.http.stream_id": int64(5), "url.scheme": "https", "server.address": "shop.example", "culprit.grpc.message": "no stock",
			"tls.protocol.version": "1.3", "tls.protocol.name": "tls", "tls.cipher": "TLS_AES_128_GCM_SHA256", "tls.curve": "x25519", "tls.next_protocol": "h2",
			"tls.established": true, "tls.client.server_name": "shop.example", "tls.server.subject": "CN=shop.example", "tls.server.not_after": notAfter,
			"culprit.tls.server.days_left": int64(63),
		}},
		"gRPC, the client's fault": {grpc("5"), "shop.Cart/Add", fine, map[string]any{"rpc.grpc.status_code": int64(5), "error.type": nil, "event.outcome": "failure"}},
		"gRPC":                     {grpc("0"), "shop.Cart/Add", fine, map[string]any{"rpc.grpc.status_code": int64(0), "error.type": nil, "event.outcome": "success"}},
		"GraphQL":                  {graphQL, "GET", fine, map[string]any{"graphql.operation.name": "Cart", "graphql.operation.type": "query", "rpc.system": nil}},
		"GraphQL, several":         {batch, "GET", fine, map[string]any{"graphql.operation.name": nil, "graphql.operation.type": "query"}},
		"JSON-RPC":                 {call, "GET", fine, map[string]any{"rpc.system": "jsonrpc", "rpc.method": "eth_call"}},
		"a statement": {outputtest.WithFacts(outputtest.Query("mysql", "SELECT", "SELECT * FROM users WHERE id = ?")), "SELECT * FROM users WHERE id = ?", fine, map[string]any{
			"db.system.name": "mysql", "db.operation.name": "SELECT", "db.query.summary": "SELECT * FROM users WHERE id = ?", "db.collection.name": "users",
			"db.namespace": "the database", "db.response.returned_rows": int64(3), "server.address": "10.0.0.9", "server.port": int64(3306),
			"network.peer.address": "10.0.0.9", "network.local.address": "10.0.0.2", "http.request.method": nil, "url.scheme": nil, "event.outcome": "success",
		}},
		"a statement that failed": {outputtest.Failed(outputtest.Query("postgresql", "SELECT", "SELECT 1"), "42P01", "no such table"), "SELECT 1", failed, map[string]any{
			"error.type": "42P01", "db.response.status_code": "42P01",
		}},
		"a question for a name": {outputtest.Lookup("A", "www.shop.example", "10.0.0.7"), "DNS A", fine, map[string]any{
			"dns.question.name": "www.shop.example", "dns.answers": []string{"10.0.0.7"}, "network.transport": "udp", "error.type": nil,
		}},
		"RST_STREAM": {reset, "GET", failed, map[string]any{"error.type": "CANCEL", "culprit.http.reset.by": "client"}},
		"TLS":        {handshake, "TLS handshake", failed, map[string]any{"error.type": "unknown_ca", "server.address": "shop.example", "network.protocol.name": "tls", "http.request.method": nil}},
		"WebSocket": {outputtest.Session(), "GET", fine, map[string]any{"network.protocol.name": "websocket", "culprit.messages.client.count": int64(3),
			"culprit.websocket.close_code": int64(1011), "culprit.stream": true}},
	} {
		d := encode(t, c.x)
		if d.span.Name != c.span || d.span.Status.GetCode() != c.status {
			t.Errorf("%s: %q, status %v", name, d.span.Name, d.span.Status)
		}
		for attribute, value := range c.want {
			if got := d.attributes[attribute]; fmt.Sprintf("%T %v", got, got) != fmt.Sprintf("%T %v", value, value) {
				t.Errorf("%s: %s is %v, want %v", name, attribute, got, value)
			}
		}
	}
}

// What is nobody's operation has no span, and so no event.
func TestNoSpan(t *testing.T) {
	for _, x := range []*exchange.Exchange{outputtest.TLSRecord(), outputtest.SessionMessage(wire.Originator, "text", "hello")} {
		if b := NewEncoder(&Options{}).Exchange(nil, x); len(b) > 0 {
			t.Errorf("%s: a span of %d bytes", x.Protocol, len(b))
		}
	}
}
