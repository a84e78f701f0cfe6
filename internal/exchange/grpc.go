package exchange

import (
	"bytes"
	"net/url"
	"strconv"

	"github.com/culprit-http/culprit/internal/proto"
)

// grpcStatuses are the names of the status codes (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
var grpcStatuses = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"UNAUTHENTICATED",
}

// GRPCStatusName names a gRPC status.
func GRPCStatusName(code int) string {
	if code >= 0 && code < len(grpcStatuses) {
		return grpcStatuses[code]
	}
	return strconv.Itoa(code)
}

// IsGRPC reports whether the exchange is a call of gRPC or gRPC-Web, by the media type of either side.
func (x *Exchange) IsGRPC() bool {
	switch x.grpc {
	case isCall:
		return true
	case isNoCall:
		return false
	}
	return x.looksGRPC()
}

// What is known of whether an exchange is a call of gRPC: many fields ask.
const (
	isCall   = 1
	isNoCall = 2
)

func (x *Exchange) looksGRPC() bool {
	return x.HasRequest && isGRPC(&x.Request) || x.HasResponse && isGRPC(&x.Response)
}

func isGRPC(m *proto.Message) bool {
	t := MediaType(m)
	rest, ok := bytes.CutPrefix(t, []byte("application/grpc"))
	return ok && (len(rest) == 0 || rest[0] == '+' || rest[0] == ';' || bytes.HasPrefix(rest, []byte("-web")))
}

// GRPCMethod returns the service, with its package, and the method of a gRPC call; nil when it isn't one, or its path
// has another form.
func (x *Exchange) GRPCMethod() (service, method []byte) {
	if !x.IsGRPC() {
		return nil, nil
	}
	path := x.URL().Path
	i := bytes.LastIndexByte(path, '/')
	if i <= 0 || path[0] != '/' {
		return nil, nil
	}
	return path[1:i], path[i+1:]
}

// grpcField returns the value of a field of the response that gRPC has in the trailers, or in the headers when there
// is nothing else (Trailers-Only).
func (x *Exchange) grpcField(name string) []byte {
	if !x.HasResponse || !x.IsGRPC() {
		return nil
	}
	m := &x.Response
	for i := len(m.Fields) - 1; i >= 0; i-- {
		if f := &m.Fields[i]; int(f.Name.Len) == len(name) && proto.EqualFold(m.Bytes(f.Name), name) {
			return m.Bytes(f.Value)
		}
	}
	return nil
}

// GRPCStatus returns the status of a gRPC call, false when the exchange isn't one or the server gave none.
func (x *Exchange) GRPCStatus() (code int, ok bool) {
	b := x.grpcField("grpc-status")
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	code, err := strconv.Atoi(string(b))
	return code, err == nil
}

// GRPCMessage returns what the server says of the status, percent-decoded.
func (x *Exchange) GRPCMessage() string {
	b := x.grpcField("grpc-message")
	if text, err := url.PathUnescape(string(b)); err == nil {
		return text
	}
	return string(b)
}

// GRPCKind says what kind of call it was, as far as the messages tell: a stream of one message can't be told from none.
func (x *Exchange) GRPCKind() string {
	if !x.IsGRPC() {
		return ""
	}
	asks, answers := x.Request.Parts.Count > 1, x.Response.Parts.Count > 1
	switch {
	case asks && answers:
		return "bidirectional"
	case asks:
		return "client-streaming"
	case answers:
		return "server-streaming"
	case x.Request.Parts.Count == 1 && x.Response.Parts.Count <= 1:
		return "unary"
	}
	return ""
}
