// Package operation finds out what a request asks for beyond its method and path: the operations of GraphQL
// (https://spec.graphql.org, and how it goes over HTTP) and the methods of JSON-RPC, 2.0 and 1.0.
//
// It looks at the beginning of the body, Peek bytes, which may end anywhere: what was found until there counts.
package operation

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// The bounds of what is looked at and of what is told.
const (
	// Peek is how many bytes of a body are enough, and the most that are looked at.
	Peek = 4 << 10
	// MaxNames is how many names of one request are told.
	MaxNames = 16
	// MaxName is the longest name that is told whole, in bytes.
	MaxName = 128
	// maxQuery is the longest query of a URL that is looked at, in bytes.
	maxQuery = 8 << 10
)

// The systems and their kinds of operation.
const (
	GraphQL, JSONRPC              = "graphql", "jsonrpc"
	query, mutation, subscription = "query", "mutation", "subscription"
	call, notification            = "call", "notification"
	pathOfGraphQL                 = "graphql" // a path with it is one of GraphQL
)

// source is a kind of body that names operations.
type source struct {
	// mediaType is the type, or its end with a plus.
	mediaType string
	// hinted: bodies of that type are looked at only when the path says graphql, or rpc.
	hinted bool
	// read adds to what was found so far.
	read func(f found, contentType, body []byte) found
}

// sources are in the order in which they are tried.
var sources = [...]source{
	{"application/json", false, found.json},
	{"application/graphql", false, found.document},
	{"+json", false, found.json},
	{"application/json-rpc", false, found.json},
	{"application/jsonrequest", false, found.json},
	{"text/json", false, found.json},
	{"multipart/form-data", true, found.multipart},
	{"application/x-www-form-urlencoded", true, found.form},
	{"text/plain", true, found.json},
}

// sourceOf returns what a body of that media type is read with, nil when it isn't looked at.
func sourceOf(mediaType, target []byte) *source {
	if len(mediaType) == 0 {
		return nil
	}
	for i := range sources {
		s := &sources[i]
		if string(mediaType) == s.mediaType || s.mediaType[0] == '+' && bytes.HasSuffix(mediaType, []byte(s.mediaType)) {
			if s.hinted && !contains(target, pathOfGraphQL) && !contains(target, "rpc") {
				return nil
			}
			return s
		}
	}
	return nil
}

// contains reports whether b contains the lower-case ASCII string s, ignoring ASCII case.
func contains(b []byte, s string) bool {
	for i := 0; i+len(s) <= len(b); i++ {
		if b[i]|0x20 == s[0] && proto.EqualFold(b[i:i+len(s)], s) {
			return true
		}
	}
	return false
}

// Wants returns how much Of needs of the beginning of a message's body, of which the head is known.
func Wants(m *proto.Message) int {
	if m.Kind != proto.Request || m.Framing == proto.NoBody || sourceOf(exchange.MediaType(m), m.Bytes(m.Target)) == nil || isCoded(m) {
		return 0
	}
	return Peek
}

// isCoded reports whether the body has a content coding, so that its bytes tell nothing.
func isCoded(m *proto.Message) bool {
	coding := m.Field("content-encoding")
	return len(coding) > 0 && !proto.EqualFold(coding, "identity")
}

// Of returns what the request of an exchange asks for; System is empty when it isn't known to be anything. body is the
// beginning of the request's body as it was sent, without transfer codings; it may be empty.
func Of(x *exchange.Exchange, body []byte) exchange.Operation {
	if !x.HasRequest {
		return exchange.Operation{}
	}
	m := &x.Request
	target := m.Bytes(m.Target)
	f := found{hinted: contains(target, pathOfGraphQL)}
	if mark := bytes.IndexByte(target, '?'); mark >= 0 && (proto.EqualFold(m.Bytes(m.Method), "get") || f.hinted) {
		f.parameters(target[mark+1:])
	}
	if len(body) > 0 && f.System == "" && !isCoded(m) {
		if s := sourceOf(exchange.MediaType(m), target); s != nil {
			f = s.read(f, m.Field("content-type"), body[:min(len(body), Peek)])
		}
	}
	return f.Operation
}

// found is what was found so far.
type found struct {
	exchange.Operation
	// hinted: the path says graphql.
	hinted bool
}

// add adds an operation. The first kind counts, but that a batch with one call is no notification.
func (f *found) add(system, kind, name string) {
	if f.System == "" || kind == call {
		f.System, f.Kind = system, kind
	}
	if name == "" || len(f.Names) == MaxNames {
		return
	}
	name = strings.ToValidUTF8(name, "\ufffd")
	if len(name) > MaxName {
		end := MaxName
		for end > 0 && !utf8.RuneStart(name[end]) {
			end--
		}
		name = name[:end]
	}
	f.Names = append(f.Names, name)
}
