package otlp

import (
	"slices"
	"strconv"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/proto"
	"google.golang.org/protobuf/encoding/protowire"
)

// SchemaURL names the version of the semantic conventions that spans and metrics follow.
const SchemaURL = "https://opentelemetry.io/schemas/1.37.0"

// Fields of ResourceSpans and ResourceMetrics, of ScopeSpans and ScopeMetrics, and of what is in them. What is in a request is
// in its first field (opentelemetry.proto.trace.v1, metrics.v1, resource.v1, common.v1).
const (
	requestResources = 1

	resourceResource = 1
	resourceScopes   = 2

	resourceAttributes = 1

	scopeScope     = 1
	scopeItems     = 2
	scopeSchemaURL = 3

	scopeName    = 1
	scopeVersion = 2
)

// Fields of Span, Event and Status (opentelemetry.proto.trace.v1).
const (
	spanTraceID    = 1
	spanSpanID     = 2
	spanTraceState = 3
	spanParentID   = 4
	spanName       = 5
	spanKind       = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanEvents     = 11
	spanStatus     = 15
	spanFlags      = 16

	eventTime = 1
	eventName = 2

	statusMessage = 2
	statusCode    = 3

	kindServer  = 2
	kindClient  = 3
	statusError = 2
)

// spanFields say which attribute has the value of which field of the document (docs/fields.md). Those that have the same name
// mean the same.
var spanFields = [...]struct{ attribute, field string }{
	{"http.route", "culprit.route"},
	{"http.response.status_code", "http.response.status_code"},
	{"url.scheme", "url.scheme"},
	{"url.path", "url.path"},
	{"url.query", "url.query"},
	{"client.address", "client.ip"},
	{"network.peer.address", "client.ip"},
	{"network.peer.port", "client.port"},
	{"network.local.address", "server.ip"},
	{"network.local.port", "server.port"},
	{"network.transport", "network.transport"},
	{"network.type", "network.type"},
	{"network.protocol.version", "http.version"},
	{"user_agent.original", "user_agent.original"},
	{"http.request.size", "http.request.bytes"},
	{"http.request.body.size", "http.request.body.bytes"},
	{"http.response.size", "http.response.bytes"},
	{"http.response.body.size", "http.response.body.bytes"},

	{"event.id", "event.id"},
	{"event.outcome", "event.outcome"},
	{"error.message", "error.message"},
	{"observer.ingress.interface.name", "observer.ingress.interface.name"},
	{"network.community_id", "network.community_id"},
	{"client.domain", "client.domain"},
	{"client.geo.country_iso_code", "client.geo.country_iso_code"},
	{"client.as.number", "client.as.number"},
	{"service.origin.name", "service.origin.name"},
	{"source.process.pid", "source.process.pid"},
	{"source.process.name", "source.process.name"},
	{"destination.process.pid", "destination.process.pid"},
	{"destination.process.name", "destination.process.name"},
	{"http.request.id", "http.request.id"},

	{"tls.established", "tls.established"},
	{"tls.protocol.name", "tls.version_protocol"},
	{"tls.protocol.version", "tls.version"},
	{"tls.cipher", "tls.cipher"},
	{"tls.curve", "tls.curve"},
	{"tls.next_protocol", "tls.next_protocol"},
	{"tls.resumed", "tls.resumed"},
	{"tls.client.server_name", "tls.client.server_name"},
	{"tls.client.ja3", "tls.client.ja3"},
	{"tls.server.ja3s", "tls.server.ja3s"},
	{"tls.server.subject", "tls.server.subject"},
	{"tls.server.issuer", "tls.server.issuer"},
	{"tls.server.not_after", "tls.server.not_after"},
	{"tls.server.hash.sha256", "tls.server.hash.sha256"},
	{"rpc.service", "culprit.grpc.service"},
	{"rpc.method", "culprit.grpc.method"},
	{"rpc.grpc.status_code", "culprit.grpc.status_code"},

	{"db.system.name", "db.system.name"},
	{"db.namespace", "db.namespace"},
	{"db.collection.name", "db.collection.name"},
	{"db.operation.name", "db.operation.name"},
	{"db.query.text", "db.query.text"},
	{"db.query.summary", "db.query.summary"},
	{"db.response.status_code", "db.response.status_code"},
	{"db.response.returned_rows", "db.response.returned_rows"},
	{"db.response.affected_rows", "db.response.affected_rows"},
	{"db.user", "db.user"},
	{"dns.question.name", "dns.question.name"},
	{"dns.question.type", "dns.question.type"},
	{"dns.response_code", "dns.response_code"},
	{"dns.answers", "dns.answers.data"},

	{"culprit.db.first_row", "culprit.db.first_row"},
	{"culprit.db.returned_bytes", "culprit.db.returned_bytes"},
	{"culprit.db.results", "culprit.db.results"},
	{"culprit.db.transaction", "culprit.db.transaction"},
	{"culprit.proxied.client.ip", "culprit.proxied.client.ip"},
	{"culprit.net.error.name", "culprit.net.error.name"},
	{"culprit.net.error.from", "culprit.net.error.from"},
	{"culprit.retries", "culprit.retries"},
	{"culprit.grade", "culprit.grade"},
	{"culprit.missing_bytes", "culprit.missing_bytes"},
	{"culprit.anomalies", "culprit.anomalies"},
	{"culprit.stream", "culprit.stream"},
	{"culprit.sample.weight", "culprit.sample.weight"},
	{"culprit.packets.tap", "culprit.packets.tap"},
	{"culprit.packets.first", "culprit.packets.first"},
	{"culprit.packets.last", "culprit.packets.last"},
	{"culprit.http.interim", "culprit.http.interim"},
	{"culprit.http.stream_id", "culprit.http.stream_id"},
	{"culprit.http.pushed", "culprit.http.pushed"},
	{"culprit.http.reset.code", "culprit.http.reset.code"},
	{"culprit.http.reset.by", "culprit.http.reset.by"},
	{"culprit.http.reset.goaway", "culprit.http.reset.goaway"},
	{"culprit.http.connection_index", "culprit.http.connection_index"},
	{"culprit.http.request.stalled", "culprit.http.request.stalled"},
	{"culprit.http.response.stalled", "culprit.http.response.stalled"},
	{"culprit.tls.client.ja4", "culprit.tls.client.ja4"},
	{"culprit.tls.server.days_left", "culprit.tls.server.days_left"},
	{"culprit.tls.resumption", "culprit.tls.resumption"},
	{"culprit.tls.early_data", "culprit.tls.early_data"},
	{"culprit.tls.alerts", "culprit.tls.alerts"},
	{"culprit.tls.decrypted", "culprit.tls.decrypted"},
	{"culprit.tls.reason", "culprit.tls.reason"},
	{"culprit.tls.handshake.client", "culprit.tls.handshake.client"},
	{"culprit.tls.handshake.server", "culprit.tls.handshake.server"},
	{"culprit.tls.handshake.network", "culprit.tls.handshake.network"},
	{"culprit.grpc.message", "culprit.grpc.message"},
	{"culprit.grpc.kind", "culprit.grpc.kind"},
	{"culprit.messages.client.count", "culprit.messages.client.count"},
	{"culprit.messages.client.bytes", "culprit.messages.client.bytes"},
	{"culprit.messages.server.count", "culprit.messages.server.count"},
	{"culprit.messages.server.bytes", "culprit.messages.server.bytes"},
	{"culprit.websocket.close_code", "culprit.websocket.close_code"},
	{"culprit.websocket.closed_by", "culprit.websocket.closed_by"},
	{"culprit.timing.idle", "culprit.timing.idle"},
	{"culprit.timing.connect", "culprit.timing.connect"},
	{"culprit.timing.tls", "culprit.timing.tls"},
	{"culprit.timing.send", "culprit.timing.send"},
	{"culprit.timing.wait", "culprit.timing.wait"},
	{"culprit.timing.ttfb", "culprit.timing.ttfb"},
	{"culprit.timing.receive", "culprit.timing.receive"},
	{"culprit.timing.overlap", "culprit.timing.overlap"},
	{"culprit.timing.total", "culprit.timing.total"},
	{"culprit.split.connect.client", "culprit.split.connect.client"},
	{"culprit.split.connect.client_network", "culprit.split.connect.client_network"},
	{"culprit.split.connect.server_network", "culprit.split.connect.server_network"},
	{"culprit.split.connect.server", "culprit.split.connect.server"},
	{"culprit.split.send.client", "culprit.split.send.client"},
	{"culprit.split.send.client_network", "culprit.split.send.client_network"},
	{"culprit.split.send.server_network", "culprit.split.send.server_network"},
	{"culprit.split.send.server", "culprit.split.send.server"},
	{"culprit.split.wait.client", "culprit.split.wait.client"},
	{"culprit.split.wait.client_network", "culprit.split.wait.client_network"},
	{"culprit.split.wait.server_network", "culprit.split.wait.server_network"},
	{"culprit.split.wait.server", "culprit.split.wait.server"},
	{"culprit.split.receive.client", "culprit.split.receive.client"},
	{"culprit.split.receive.client_network", "culprit.split.receive.client_network"},
	{"culprit.split.receive.server_network", "culprit.split.receive.server_network"},
	{"culprit.split.receive.server", "culprit.split.receive.server"},
	{"culprit.blame.who", "culprit.blame.who"},
	{"culprit.blame.situation", "culprit.blame.situation"},
	{"culprit.blame.time", "culprit.blame.time"},
	{"culprit.blame.share", "culprit.blame.share"},
	{"culprit.blame.confidence", "culprit.blame.confidence"},
	{"culprit.blame.upstream", "culprit.blame.upstream"},
	{"culprit.blame.why", "culprit.blame.why"},
	{"culprit.blame.evidence", "culprit.blame.evidence"},
	{"parent.id", "parent.id"},
	{"culprit.hop.trace", "culprit.hop.trace"},
	{"culprit.hop.method", "culprit.hop.method"},
	{"culprit.hop.confidence", "culprit.hop.confidence"},
	{"culprit.hop.depth", "culprit.hop.depth"},
	{"culprit.net.handshake.client_rtt", "culprit.net.handshake.client_rtt"},
	{"culprit.net.handshake.server_rtt", "culprit.net.handshake.server_rtt"},
	{"culprit.net.handshake.syns", "culprit.net.handshake.syns"},
	{"culprit.net.client.retransmits", "culprit.net.client.retransmits"},
	{"culprit.net.client.zero_windows", "culprit.net.client.zero_windows"},
	{"culprit.net.server.retransmits", "culprit.net.server.retransmits"},
	{"culprit.net.server.zero_windows", "culprit.net.server.zero_windows"},
	{"culprit.net.closed.by", "culprit.net.closed.by"},
	{"culprit.net.closed.how", "culprit.net.closed.how"},
}

// clientFields are the fields that attributes of spans of clients have instead: of statements and of questions for names.
var clientFields = map[string]string{
	"network.peer.address": "server.ip", "network.peer.port": "server.port", "network.local.address": "client.ip", "network.local.port": "client.port",
}

// isAsker reports whether an exchange has a span of the client's. Databases and name servers have none of their own in traces: what
// is seen of them is what an application did, as the conventions for databases have it.
func isAsker(x *exchange.Exchange) bool {
	return x.Family == exchange.Database || x.Family == exchange.Names
}

// spanSide returns the side whose span it is.
func spanSide(x *exchange.Exchange) proto.Direction {
	if isAsker(x) {
		return x.Client
	}
	return x.Server()
}

// isHTTP reports whether a protocol is a version of HTTP. protocolName is its name in the conventions, which tell versions
// apart by another attribute.
func isHTTP(protocol string) bool { return protocol == "http" || protocol == "http2" }

func protocolName(protocol string) string {
	if isHTTP(protocol) {
		return "http"
	}
	return protocol
}

// methods are those that http.request.method may have; any other is _OTHER there, and stands in http.request.method_original.
var methods = [...]string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}

// otherMethod is http.request.method of a method that isn't known.
const otherMethod = "_OTHER"

// method returns the known method that m is, or otherMethod; empty: there is none.
func method(m []byte) string {
	if len(m) == 0 {
		return ""
	}
	for _, known := range methods {
		if string(m) == known {
			return known
		}
	}
	return otherMethod
}

// field is a field of the document, with the attribute that has its value.
type field struct {
	attribute string
	get       func(x *exchange.Exchange, v *exchange.Value)
}

// Encoder makes the bodies of events. It implements ship.Encoder.
type Encoder struct {
	// fields are those of a server's span, clientFields those of a client's.
	fields, clientFields []field
	service              string
	scope                []byte // scope and schema URL of ScopeSpans and ScopeMetrics
	traces, metrics      bool

	value   exchange.Value
	scratch []byte
	state   []byte // the tracestate of the request
	member  []byte // the tracestate of the span
}

// NewEncoder returns an encoder. Where metrics alone are wanted, exchanges have empty bodies.
func NewEncoder(o *Options) *Encoder {
	e := &Encoder{fields: make([]field, len(spanFields)), service: o.Service, traces: o.sends(Traces), metrics: o.sends(Metrics)}
	for i, f := range spanFields {
		e.fields[i] = fieldOf(f.attribute, f.field)
		if name := clientFields[f.attribute]; name != "" {
			f.field = name
		}
		e.clientFields = append(e.clientFields, fieldOf(f.attribute, f.field))
	}
	var at int
	e.scope, at = open(nil, scopeScope)
	e.scope = appendString(e.scope, scopeName, "culprit")
	e.scope = appendString(e.scope, scopeVersion, o.Version)
	e.scope = closed(e.scope, at)
	e.scope = appendString(e.scope, scopeSchemaURL, SchemaURL)
	return e
}

func fieldOf(attribute, name string) field {
	at := slices.IndexFunc(exchange.Fields, func(have exchange.Field) bool { return have.Name == name })
	return field{attribute, exchange.Fields[at].Get}
}

// Exchange appends the span of an exchange.
func (e *Encoder) Exchange(dst []byte, x *exchange.Exchange) []byte {
	if !e.traces || !isOperation(x) {
		return dst
	}
	dst, resource := open(dst, requestResources)
	dst, inner := open(dst, resourceResource)
	dst = e.serviceName(dst, x)
	dst = stringAttribute(dst, resourceAttributes, "host.name", x.Tap.Observer)
	if p := x.Process[spanSide(x)]; p != nil {
		dst = stringAttribute(dst, resourceAttributes, "container.id", p.ContainerID)
		dst = stringAttribute(dst, resourceAttributes, "k8s.pod.uid", p.PodUID)
	}
	dst = closed(dst, inner)
	dst, scope := open(dst, resourceScopes)
	dst = append(dst, e.scope...)
	dst, span := open(dst, scopeItems)
	dst = e.span(dst, x)
	return closed(closed(closed(dst, span), scope), resource)
}

// isOperation reports whether an exchange has a span: somebody asked for something, or failed to agree on TLS for it. What an
// application says within TLS that wasn't read, or in flows, is nobody's operation, as far as can be known, what a server pushes is
// none, and the messages of a session are a part of it.
func isOperation(x *exchange.Exchange) bool {
	switch output.KindOf(x) {
	case output.Message, output.Flow:
		return false
	case output.Query, output.Lookup:
		return x.HasRequest
	case output.TLS:
		return x.Grade == exchange.Aborted
	}
	return true
}

// serviceName appends the service that answers, or whose span it is otherwise: by the configuration, or else that of the options, or else the name of the
// server's address, or the address itself. Never the Host header, of which a client can make any number of services.
func (e *Encoder) serviceName(dst []byte, x *exchange.Exchange) []byte {
	side := spanSide(x)
	for _, name := range [...]string{x.Enriched.Service[side], e.service, x.Enriched.Domain[side]} {
		if name != "" {
			return stringAttribute(dst, resourceAttributes, "service.name", name)
		}
	}
	if isAsker(x) { // whose port is another each time
		e.scratch = x.Flow.Addr[side].Netip().AppendTo(e.scratch[:0])
		return textAttribute(dst, resourceAttributes, "service.name", e.scratch)
	}
	return stringAttribute(dst, resourceAttributes, "service.name", x.Flow.End(side))
}

// span appends the fields of a span.
func (e *Encoder) span(dst []byte, x *exchange.Exchange) []byte {
	id := x.ID(x.Tap.Observer)
	span := spanID(id)
	c := e.contextOf(x, id)
	dst = appendBytes(dst, spanTraceID, c.trace[:])
	dst = appendBytes(dst, spanSpanID, span[:])
	if state := e.sampled(&c, x.Weight); len(state) > 0 {
		dst = appendBytes(dst, spanTraceState, state)
	}
	if c.hasParent {
		dst = appendBytes(dst, spanParentID, c.parent[:])
	}
	dst = protowire.AppendFixed32(protowire.AppendTag(dst, spanFlags, protowire.Fixed32Type), c.flags)
	kind, fields := uint64(kindServer), e.fields
	if isAsker(x) {
		kind, fields = kindClient, e.clientFields
	}
	dst = appendVarint(dst, spanKind, kind)

	start := max(x.Start.Time, 0)
	end := x.Completed.Time
	if x.HasResponse && x.Timing.Duration >= 0 {
		end = start + x.Timing.Duration // so that the span takes as long as event.duration says
	}
	dst = appendTime(dst, spanStart, start)
	dst = appendTime(dst, spanEnd, max(start, end))
	dst = e.nameAndMethod(dst, x)
	dst = e.host(dst, x)
	dst = stringAttribute(dst, spanAttributes, "network.protocol.name", protocolName(x.Protocol))
	dst = e.operation(dst, x)
	for i := range fields {
		dst = e.attribute(dst, x, &fields[i])
	}
	dst = e.failure(dst, x)
	if t := &x.Timing; x.HasRequest && x.HasResponse && t.Send >= 0 && t.Wait >= 0 {
		dst = event(dst, "culprit.request.sent", start+t.Send)
		dst = event(dst, "culprit.response.begun", start+t.Send+t.Wait)
	}
	return dst
}

func event(dst []byte, name string, at int64) []byte {
	dst, begin := open(dst, spanEvents)
	dst = appendTime(dst, eventTime, at)
	return closed(appendString(dst, eventName, name), begin)
}

// operation appends what a request asks for beyond its method and path.
func (e *Encoder) operation(dst []byte, x *exchange.Exchange) []byte {
	o := &x.Operation
	switch {
	case x.IsGRPC():
		return stringAttribute(dst, spanAttributes, "rpc.system", "grpc")
	case o.System == "jsonrpc":
		dst = stringAttribute(dst, spanAttributes, "rpc.system", o.System)
		if len(o.Names) == 1 {
			dst = textAttribute(dst, spanAttributes, "rpc.method", bytesOf(o.Names[0]))
		}
	case o.System == "graphql":
		dst = stringAttribute(dst, spanAttributes, "graphql.operation.type", o.Kind)
		if len(o.Names) == 1 {
			dst = textAttribute(dst, spanAttributes, "graphql.operation.name", bytesOf(o.Names[0]))
		}
	}
	return dst
}

// nameAndMethod appends the span's name, which is METHOD ROUTE as far as they are known, or SERVICE/METHOD for gRPC, and the
// method.
func (e *Encoder) nameAndMethod(dst []byte, x *exchange.Exchange) []byte {
	if output.KindOf(x) == output.TLS {
		return appendString(dst, spanName, "TLS handshake") // the name that was asked for is the server's address
	}
	if isAsker(x) {
		return appendText(dst, spanName, e.askerName(x))
	}
	var sent []byte
	if x.HasRequest {
		sent = x.Request.Bytes(x.Request.Method)
	}
	known := method(sent)
	name := append(e.scratch[:0], known...)
	if known == "" || known == otherMethod {
		name = append(name[:0], "HTTP"...)
	}
	if x.Enriched.Route != "" {
		name = append(append(name, ' '), x.Enriched.Route...)
	}
	if service, method := x.GRPCMethod(); method != nil {
		name = append(append(append(name[:0], service...), '/'), method...)
	}
	e.scratch = name
	dst = appendText(dst, spanName, name)
	dst = stringAttribute(dst, spanAttributes, "http.request.method", known)
	if known == otherMethod {
		dst = textAttribute(dst, spanAttributes, "http.request.method_original", sent)
	}
	return dst
}

// maxName is the longest name of a span that is a template, in bytes: one that is longer gives way to the kind of the statement and
// what it is about.
const maxName = 255

// askerName returns the name of the span of a statement, or of a question for a name: its template, or else what it does and to
// what; of a question its type, since there are any number of names.
func (e *Encoder) askerName(x *exchange.Exchange) []byte {
	s := &x.Statement
	switch {
	case x.Family == exchange.Names:
		return append(append(e.scratch[:0], "DNS "...), x.Verb()...)
	case s.Template != "" && len(s.Template) <= maxName:
		return append(e.scratch[:0], s.Template...)
	}
	name := append(e.scratch[:0], x.Verb()...)
	if s.Collection != "" {
		name = append(append(name, ' '), s.Collection...)
	}
	if len(name) == 0 {
		name = append(name, x.Protocol...)
	}
	return name
}

// host appends the server's name as the client knows it, or else its address's, with the port.
func (e *Encoder) host(dst []byte, x *exchange.Exchange) []byte {
	server := x.Server()
	u := x.URL()
	switch {
	case x.TLS != nil && !x.HasRequest && x.TLS.ServerName != "":
		dst = textAttribute(dst, spanAttributes, "server.address", bytesOf(x.TLS.ServerName))
	case len(u.Host) > 0:
		dst = textAttribute(dst, spanAttributes, "server.address", u.Host)
	case x.Enriched.Domain[server] != "":
		dst = stringAttribute(dst, spanAttributes, "server.address", x.Enriched.Domain[server])
	default:
		e.scratch = x.Flow.Addr[server].Netip().AppendTo(e.scratch[:0])
		dst = textAttribute(dst, spanAttributes, "server.address", e.scratch)
	}
	port := int64(x.Flow.Port[server])
	if len(u.Port) > 0 && len(u.Port) <= len("65535") {
		if n, err := strconv.ParseUint(string(u.Port), 10, 16); err == nil {
			port = int64(n)
		}
	}
	return intAttribute(dst, spanAttributes, "server.port", port)
}

// attribute appends the attribute of a field, and nothing where it has no value.
func (e *Encoder) attribute(dst []byte, x *exchange.Exchange, f *field) []byte {
	v := &e.value
	v.Kind = exchange.Absent
	v.Text, v.Bytes, v.List = "", nil, nil
	f.get(x, v)
	switch v.Kind {
	case exchange.Text:
		if v.Text != "" {
			return stringAttribute(dst, spanAttributes, f.attribute, v.Text)
		}
		return textAttribute(dst, spanAttributes, f.attribute, v.Bytes)
	case exchange.Int, exchange.Duration:
		return intAttribute(dst, spanAttributes, f.attribute, v.Int)
	case exchange.Float:
		return doubleAttribute(dst, spanAttributes, f.attribute, v.Float)
	case exchange.Time:
		e.scratch = time.Unix(0, v.Int).UTC().AppendFormat(e.scratch[:0], time.RFC3339)
		return textAttribute(dst, spanAttributes, f.attribute, e.scratch)
	case exchange.IP:
		e.scratch = v.Addr.Netip().AppendTo(e.scratch[:0])
		return textAttribute(dst, spanAttributes, f.attribute, e.scratch)
	case exchange.Bool:
		dst, at, value := attribute(dst, spanAttributes, f.attribute)
		return attributed(appendVarint(dst, anyBool, uint64(v.Int)), at, value)
	case exchange.List:
		dst, at, value := attribute(dst, spanAttributes, f.attribute)
		dst, array := open(dst, anyArray)
		for _, s := range v.List {
			var element int
			dst, element = open(dst, arrayValues)
			dst = closed(appendText(dst, anyString, bytesOf(s)), element)
		}
		return attributed(closed(dst, array), at, value)
	}
	return dst
}

// failure appends the status and error.type of an exchange that failed by the server's doing, or that broke. What the client
// did wrong (4xx, NOT_FOUND) is no failure of a server's span.
func (e *Encoder) failure(dst []byte, x *exchange.Exchange) []byte {
	failed := x.HasResponse && x.Response.Status >= 500
	refused := isAsker(x) && x.Failed()
	status, fault := output.GRPCError(x)
	broke := x.Grade == exchange.Aborted
	if !failed && !fault && !broke && !refused {
		return dst
	}
	e.scratch = append(e.scratch[:0], x.Grade.String()...)
	switch {
	case failed:
		e.scratch = strconv.AppendInt(e.scratch[:0], int64(x.Response.Status), 10)
	case fault:
		e.scratch = append(e.scratch[:0], status...)
	case x.ErrorCode() != "": // an HTTP/2 error, an alert, the error of a database
		e.scratch = append(e.scratch[:0], x.ErrorCode()...)
	}
	dst = textAttribute(dst, spanAttributes, "error.type", e.scratch)
	dst, at := open(dst, spanStatus)
	switch {
	case broke && x.Reason != "":
		dst = appendText(dst, statusMessage, bytesOf(x.Reason))
	case refused:
		dst = appendText(dst, statusMessage, x.Response.FactText(proto.FactErrorText))
	}
	return closed(appendVarint(dst, statusCode, statusError), at)
}
