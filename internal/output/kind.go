package output

import (
	"bytes"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Kind says what a record is about.
type Kind uint8

// The kinds of records.
const (
	// Exchange is a request with its response.
	Exchange Kind = iota
	// TLS is a TLS session of which no exchange came.
	TLS
	// Session is all that was said on a WebSocket, Message one message of it.
	Session
	Message
	// Query is a statement or a command of a database or cache, with its result; Lookup a question for a name.
	Query
	Lookup
	// Flow is what was sent on a connection, or in a part of its time.
	Flow
)

// KindOf returns the kind of a record.
func KindOf(x *exchange.Exchange) Kind {
	switch {
	case x.Period != nil:
		return Flow
	case x.Family == exchange.Database:
		return Query
	case x.Family == exchange.Names:
		return Lookup
	case x.Message != nil:
		return Message
	case x.Protocol == "websocket":
		return Session
	case x.TLS != nil && !x.HasRequest && !x.HasResponse:
		return TLS
	}
	return Exchange
}

// Authority returns the host and port that a request asks for, where that isn't in its target: of the pseudo-header of HTTP/2, or
// of the Host header. It leaves out user information, which has no place there.
func Authority(m *proto.Message) []byte {
	a := m.Field("host")
	if m.Version == 0x0200 {
		if pseudo := m.Field(":authority"); len(pseudo) > 0 {
			a = pseudo
		}
	}
	return a[bytes.LastIndexByte(a, '@')+1:]
}

// GRPCError returns the name of a gRPC status other than OK, empty when there is none. fault: by OpenTelemetry's conventions it
// is an error of the server, rather than of what was asked.
func GRPCError(x *exchange.Exchange) (name string, fault bool) {
	code, ok := x.GRPCStatus()
	if !ok || code == 0 {
		return "", false
	}
	switch code {
	case 2, 4, 12, 13, 14, 15: // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS
		fault = true
	}
	return exchange.GRPCStatusName(code), fault
}

// Days returns the days from a time to the end of the validity of the server's certificate, negative when that is over; ok is false
// when no certificate was seen.
func Days(t *proto.TLS, at int64) (days int64, ok bool) {
	if t == nil || len(t.ServerChain) == 0 || t.ServerChain[0].Malformed {
		return 0, false
	}
	left, day := t.ServerChain[0].NotAfter-at, int64(24*3600*1e9)
	days = left / day
	if left%day < 0 {
		days--
	}
	return days, true
}

// Transport returns the transport of a flow, as people write it.
func Transport(x *exchange.Exchange) string {
	switch x.Flow.Proto {
	case packet.ProtoUDP:
		return "UDP"
	case packet.ProtoSCTP:
		return "SCTP"
	}
	return "TCP"
}

// Failure returns what a response says of its failure, where HTTP's statuses don't: the code of an error of a database, or the rcode
// of DNS, and the server's words; empty when it is none.
func Failure(x *exchange.Exchange) (code, text string) {
	if x.Family == exchange.HTTP || !x.Failed() {
		return "", ""
	}
	return x.ErrorCode(), string(x.Response.FactText(proto.FactErrorText))
}

// FailureText returns what Failure does in one text: the code, and the server's words behind a colon unless these begin with it.
func FailureText(x *exchange.Exchange) string {
	code, text := Failure(x)
	switch {
	case text == "":
		return code
	case code == "" || strings.HasPrefix(text, code+" "):
		return text
	}
	return code + ": " + text
}

// RowOf returns what the rows of a result are called.
func RowOf(protocol string) string {
	switch protocol {
	case "redis", "memcached":
		return "value"
	case "mongodb":
		return "document"
	}
	return "row"
}
