package exchange

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// ECSVersion is the version of the Elastic Common Schema that the documents follow.
const ECSVersion = "8.17.0"

// Names of sources, for the table.
const (
	fromPacket    = "packet headers"
	fromHandshake = "TCP handshake"
	fromTCP       = "TCP headers, while the exchange lasted"
	fromConn      = "TCP headers, since the connection began"
	fromRequest   = "request"
	fromResponse  = "response"
	fromTiming    = "packet times"
	fromCulprit   = "culprit"
	fromKernel    = "the capturing host's kernel, live"
	fromNames     = "DNS answers seen, --resolve, the configuration"
	fromGeo       = "address, by --geoip FILE"
	fromConfig    = "address, by services of the configuration"
	fromAgent     = "User-Agent header"
	fromHello     = "TLS handshake"
	fromTLS       = "TLS handshake and records"
	fromMessages  = "messages within the body, or of the session"
	fromRows      = "rows, documents or items of the response"
	fromProxy     = "PROXY protocol"
	fromICMP      = "ICMP errors"
	fromStatement = "text of the statement"
	fromBlame     = "the rules of docs/blame.md"
	fromHops      = "what links it to others (docs/hops.md)"
)

// Fields are all fields of the exchange document. Fields of one object stand together, as the JSON
// encoder needs.
var Fields = gated([]Field{
	{"@timestamp", []string{"time", "timestamp"}, "date_nanos", "", Time, "first byte of the exchange", fromPacket,
		func(x *Exchange, v *Value) { v.time(x.Start.Time) }},
	{"ecs.version", nil, "keyword", "", Text, "version of the Elastic Common Schema", fromCulprit,
		func(x *Exchange, v *Value) { v.text(ECSVersion) }},

	{"event.id", []string{"id"}, "keyword", "", Text, "id, ordered by time; the same each time the same packets are read", fromCulprit,
		func(x *Exchange, v *Value) { v.bytes(AppendID(v.scratch[:0], x.ID(x.Tap.Observer))) }},
	{"event.kind", nil, "keyword", "", Text, "always event", fromCulprit,
		func(x *Exchange, v *Value) { v.text("event") }},
	{"event.category", nil, "keyword", "", List, "ECS categories: network, and web or database", fromCulprit,
		func(x *Exchange, v *Value) { v.Kind, v.List = List, eventCategories[x.Family] }},
	{"event.type", nil, "keyword", "", List, "ECS types", fromCulprit,
		func(x *Exchange, v *Value) { v.Kind, v.List = List, eventType }},
	{"event.dataset", nil, "keyword", "", Text, "always culprit.exchange", fromCulprit,
		func(x *Exchange, v *Value) { v.text("culprit.exchange") }},
	{"event.outcome", []string{"outcome"}, "keyword", "", Text, "failure for statuses from 400, gRPC statuses other than OK, errors of databases, rcodes other than NOERROR, and exchanges that broke, unknown without a final response, else success", fromCulprit,
		func(x *Exchange, v *Value) { v.text(x.Outcome()) }},
	{"event.duration", []string{"duration"}, "long", "ns", Duration, "first request byte to last response byte: send + wait + receive", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Duration) }},
	{"event.start", nil, "date_nanos", "", Time, "first byte of the exchange", fromPacket,
		func(x *Exchange, v *Value) { v.time(x.Start.Time) }},
	{"event.end", nil, "date_nanos", "", Time, "last byte of the exchange, or the event that ended it", fromPacket,
		func(x *Exchange, v *Value) { v.time(x.Completed.Time) }},

	{"observer.type", nil, "keyword", "", Text, "always sensor", fromCulprit,
		func(x *Exchange, v *Value) { v.text("sensor") }},
	{"observer.product", nil, "keyword", "", Text, "always culprit", fromCulprit,
		func(x *Exchange, v *Value) { v.text("culprit") }},
	{"observer.hostname", nil, "keyword", "", Text, "host of the tap; absent for capture files", fromCulprit,
		func(x *Exchange, v *Value) { v.optional(x.Tap.Observer) }},
	{"observer.ingress.interface.name", []string{"tap"}, "keyword", "", Text, "name of the tap: what -r TAP=FILE named, or the interface", fromCulprit,
		func(x *Exchange, v *Value) { v.optional(x.Tap.Name) }},

	{"network.type", nil, "keyword", "", Text, "ipv4 or ipv6", fromPacket,
		func(x *Exchange, v *Value) { v.text(networkType(x.Flow)) }},
	{"network.transport", []string{"transport"}, "keyword", "", Text, "tcp, udp or sctp", fromPacket,
		func(x *Exchange, v *Value) { v.text(transport(x.Flow)) }},
	{"network.protocol", []string{"protocol"}, "keyword", "", Text, "application protocol", "detection by content",
		func(x *Exchange, v *Value) { v.text(x.Protocol) }},
	{"network.community_id", nil, "keyword", "", Text, "Community ID v1 of the connection, as Zeek and Suricata give it", fromPacket,
		func(x *Exchange, v *Value) { v.text(x.Flow.CommunityID()) }},

	{"network.bytes", nil, "long", "byte", Int, "what both ends of a flow sent: payload of the transport, retransmissions included; in records of flows", fromTCP,
		func(x *Exchange, v *Value) {
			if x.Period != nil {
				v.int(int64(x.During[0].Bytes + x.During[1].Bytes))
			}
		}},
	{"network.packets", nil, "long", "", Int, "packets of both ends; in records of flows", fromTCP,
		func(x *Exchange, v *Value) {
			if x.Period != nil {
				v.packets(x, x.During[0].Packets+x.During[1].Packets)
			}
		}},

	{"client.ip", []string{"client"}, "ip", "", IP, "address of the side that sends requests", fromPacket,
		func(x *Exchange, v *Value) { v.ip(x.Flow.Addr[x.Client]) }},
	{"client.port", nil, "long", "", Int, "its port", fromPacket,
		func(x *Exchange, v *Value) { v.int(int64(x.Flow.Port[x.Client])) }},
	{"client.bytes", nil, "long", "byte", Int, "length of the request, head and framing included; of a flow, what the client sent", fromRequest,
		func(x *Exchange, v *Value) { v.sent(x, x.Client) }},
	{"client.domain", []string{"client_name"}, "keyword", "", Text, "name of that address, as DNS or the configuration tell", fromNames,
		func(x *Exchange, v *Value) { v.optional(x.Enriched.Domain[x.Client]) }},
	{"client.geo.country_iso_code", []string{"country"}, "keyword", "", Text, "country of that address (ISO 3166-1)", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Client], func(p *Place) string { return p.Country })
		}},
	{"client.geo.region_name", nil, "keyword", "", Text, "its region", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Client], func(p *Place) string { return p.Region })
		}},
	{"client.geo.city_name", []string{"city"}, "keyword", "", Text, "its city", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Client], func(p *Place) string { return p.City })
		}},
	{"client.geo.location", nil, "geo_point", "", Text, "its place, as latitude and longitude in degrees with a comma between them", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Client], func(p *Place) string { return p.Location })
		}},
	{"client.as.number", []string{"asn"}, "long", "", Int, "number of the autonomous system that announces that address", fromGeo,
		func(x *Exchange, v *Value) {
			if p := x.Enriched.Place[x.Client]; p != nil {
				v.positive(Int, int64(p.ASNumber))
			}
		}},
	{"client.as.organization.name", []string{"as"}, "keyword", "", Text, "who runs it", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Client], func(p *Place) string { return p.ASOrganization })
		}},
	{"server.ip", []string{"server"}, "ip", "", IP, "address of the side that sends responses", fromPacket,
		func(x *Exchange, v *Value) { v.ip(x.Flow.Addr[x.Server()]) }},
	{"server.port", []string{"port"}, "long", "", Int, "its port", fromPacket,
		func(x *Exchange, v *Value) { v.int(int64(x.Flow.Port[x.Server()])) }},
	{"server.bytes", nil, "long", "byte", Int, "length of the response, head and framing included; of a flow, what the server sent", fromResponse,
		func(x *Exchange, v *Value) { v.sent(x, x.Server()) }},
	{"server.domain", nil, "keyword", "", Text, "name of that address, as DNS or the configuration tell", fromNames,
		func(x *Exchange, v *Value) { v.optional(x.Enriched.Domain[x.Server()]) }},
	{"server.geo.country_iso_code", nil, "keyword", "", Text, "country of that address (ISO 3166-1)", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Server()], func(p *Place) string { return p.Country })
		}},
	{"server.geo.region_name", nil, "keyword", "", Text, "its region", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Server()], func(p *Place) string { return p.Region })
		}},
	{"server.geo.city_name", nil, "keyword", "", Text, "its city", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Server()], func(p *Place) string { return p.City })
		}},
	{"server.geo.location", nil, "geo_point", "", Text, "its place, as latitude and longitude in degrees with a comma between them", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Server()], func(p *Place) string { return p.Location })
		}},
	{"server.as.number", nil, "long", "", Int, "number of the autonomous system that announces that address", fromGeo,
		func(x *Exchange, v *Value) {
			if p := x.Enriched.Place[x.Server()]; p != nil {
				v.positive(Int, int64(p.ASNumber))
			}
		}},
	{"server.as.organization.name", nil, "keyword", "", Text, "who runs it", fromGeo,
		func(x *Exchange, v *Value) {
			v.place(x.Enriched.Place[x.Server()], func(p *Place) string { return p.ASOrganization })
		}},
	{"service.name", []string{"service"}, "keyword", "", Text, "name of the service that answers", fromConfig,
		func(x *Exchange, v *Value) { v.optional(x.Enriched.Service[x.Server()]) }},
	{"service.origin.name", []string{"client_service"}, "keyword", "", Text, "name of the service that asks", fromConfig,
		func(x *Exchange, v *Value) { v.optional(x.Enriched.Service[x.Client]) }},
	{"source.ip", nil, "ip", "", IP, "as client.ip", fromPacket,
		func(x *Exchange, v *Value) { v.ip(x.Flow.Addr[x.Client]) }},
	{"source.port", nil, "long", "", Int, "as client.port", fromPacket,
		func(x *Exchange, v *Value) { v.int(int64(x.Flow.Port[x.Client])) }},
	{"source.bytes", nil, "long", "byte", Int, "as client.bytes", fromRequest,
		func(x *Exchange, v *Value) { v.sent(x, x.Client) }},
	{"source.process.pid", nil, "long", "", Int, "id of the client's process, where the client is on the capturing host; absent when several share the socket", fromKernel,
		func(x *Exchange, v *Value) { v.pid(x.Process[x.Client]) }},
	{"source.process.name", []string{"client_process"}, "keyword", "", Text, "its command name", fromKernel,
		func(x *Exchange, v *Value) { v.process(x.Process[x.Client], func(p *Process) string { return p.Name }) }},
	{"source.process.executable", nil, "keyword", "", Text, "path of its program", fromKernel,
		func(x *Exchange, v *Value) {
			v.process(x.Process[x.Client], func(p *Process) string { return p.Executable })
		}},
	{"source.process.command_line", nil, "wildcard", "", Text, "its arguments, with spaces between them, redacted", fromKernel,
		func(x *Exchange, v *Value) { v.commandLine(x.Process[x.Client]) }},
	{"source.process.user.name", nil, "keyword", "", Text, "name of the client socket's owner, or the number", fromKernel,
		func(x *Exchange, v *Value) { v.process(x.Process[x.Client], func(p *Process) string { return p.User }) }},
	{"destination.ip", nil, "ip", "", IP, "as server.ip", fromPacket,
		func(x *Exchange, v *Value) { v.ip(x.Flow.Addr[x.Server()]) }},
	{"destination.port", nil, "long", "", Int, "as server.port", fromPacket,
		func(x *Exchange, v *Value) { v.int(int64(x.Flow.Port[x.Server()])) }},
	{"destination.bytes", nil, "long", "byte", Int, "as server.bytes", fromResponse,
		func(x *Exchange, v *Value) { v.sent(x, x.Server()) }},
	{"destination.process.pid", nil, "long", "", Int, "id of the server's process, where the server is on the capturing host; absent when several share the socket", fromKernel,
		func(x *Exchange, v *Value) { v.pid(x.Process[x.Server()]) }},
	{"destination.process.name", []string{"server_process"}, "keyword", "", Text, "its command name", fromKernel,
		func(x *Exchange, v *Value) {
			v.process(x.Process[x.Server()], func(p *Process) string { return p.Name })
		}},
	{"destination.process.executable", nil, "keyword", "", Text, "path of its program", fromKernel,
		func(x *Exchange, v *Value) {
			v.process(x.Process[x.Server()], func(p *Process) string { return p.Executable })
		}},
	{"destination.process.command_line", nil, "wildcard", "", Text, "its arguments, with spaces between them, redacted", fromKernel,
		func(x *Exchange, v *Value) { v.commandLine(x.Process[x.Server()]) }},
	{"destination.process.user.name", nil, "keyword", "", Text, "name of the server socket's owner, or the number", fromKernel,
		func(x *Exchange, v *Value) {
			v.process(x.Process[x.Server()], func(p *Process) string { return p.User })
		}},

	{"process.pid", []string{"pid"}, "long", "", Int, "id of the server's process, or else of the client's: of what is known on the capturing host", fromKernel,
		func(x *Exchange, v *Value) { v.pid(x.process()) }},
	{"process.name", []string{"process"}, "keyword", "", Text, "its command name", fromKernel,
		func(x *Exchange, v *Value) { v.process(x.process(), func(p *Process) string { return p.Name }) }},
	{"process.executable", nil, "keyword", "", Text, "path of its program", fromKernel,
		func(x *Exchange, v *Value) { v.process(x.process(), func(p *Process) string { return p.Executable }) }},
	{"process.command_line", nil, "wildcard", "", Text, "its arguments, with spaces between them, redacted", fromKernel,
		func(x *Exchange, v *Value) { v.commandLine(x.process()) }},
	{"process.user.name", nil, "keyword", "", Text, "name of its socket's owner, or the number", fromKernel,
		func(x *Exchange, v *Value) { v.process(x.process(), func(p *Process) string { return p.User }) }},
	{"container.id", []string{"container"}, "keyword", "", Text, "container that this process runs in, as its control group tells", fromKernel,
		func(x *Exchange, v *Value) { v.process(x.process(), func(p *Process) string { return p.ContainerID }) }},
	{"kubernetes.pod.uid", nil, "keyword", "", Text, "Kubernetes pod that this process runs in, as its control group tells", fromKernel,
		func(x *Exchange, v *Value) { v.process(x.process(), func(p *Process) string { return p.PodUID }) }},

	{"http.version", []string{"version"}, "keyword", "", Text, "version of the request, or else of the response, such as 1.1", fromRequest,
		func(x *Exchange, v *Value) { v.text(x.version()) }},
	{"http.request.id", []string{"request_id"}, "keyword", "", Text, "id of the request: X-Request-ID, or X-Correlation-ID", fromRequest,
		func(x *Exchange, v *Value) {
			if x.HasRequest {
				v.optionalBytes(RequestID(&x.Request))
			}
		}},
	{"http.request.method", []string{"method"}, "keyword", "", Text, "method, as sent", fromRequest,
		func(x *Exchange, v *Value) { v.requestBytes(x, x.Request.Method) }},
	{"http.request.bytes", nil, "long", "byte", Int, "length of the request, head and framing included", fromRequest,
		func(x *Exchange, v *Value) { v.requestInt(x, x.Request.Size) }},
	{"http.request.body.bytes", []string{"request_size"}, "long", "byte", Int, "length of the request body after transfer-decoding", fromRequest,
		func(x *Exchange, v *Value) { v.requestInt(x, x.Request.BodyBytes) }},
	{"http.request.body.content", nil, "wildcard", "", Text, "beginning of the request body, decoded, on request (--max-body)", fromRequest,
		func(x *Exchange, v *Value) { v.body(&x.RequestBody) }},
	{"http.request.mime_type", nil, "keyword", "", Text, "media type of the request body, without parameters, lower case", fromRequest,
		func(x *Exchange, v *Value) { v.mediaType(x.HasRequest, &x.Request) }},
	{"http.request.referrer", nil, "keyword", "", Text, "Referer header", fromRequest,
		func(x *Exchange, v *Value) { v.requestHeader(x, "referer") }},
	{"http.request.headers", nil, "flattened", "", Headers, "request headers: lower-cased names, arrays of values", fromRequest,
		func(x *Exchange, v *Value) { v.headers(x.HasRequest, &x.Request) }},
	{"http.response.status_code", []string{"status"}, "long", "", Int, "status code of the final response", fromResponse,
		func(x *Exchange, v *Value) {
			if x.Response.Status > 0 {
				v.responseInt(x, int64(x.Response.Status))
			}
		}},
	{"http.response.bytes", nil, "long", "byte", Int, "length of the response, head and framing included", fromResponse,
		func(x *Exchange, v *Value) { v.responseInt(x, x.Response.Size) }},
	{"http.response.body.bytes", []string{"size"}, "long", "byte", Int, "length of the response body after transfer-decoding", fromResponse,
		func(x *Exchange, v *Value) { v.responseInt(x, x.Response.BodyBytes) }},
	{"http.response.body.content", nil, "wildcard", "", Text, "beginning of the response body, decoded, on request (--max-body)", fromResponse,
		func(x *Exchange, v *Value) { v.body(&x.ResponseBody) }},
	{"http.response.mime_type", []string{"type"}, "keyword", "", Text, "media type of the response body, without parameters, lower case", fromResponse,
		func(x *Exchange, v *Value) { v.mediaType(x.HasResponse, &x.Response) }},
	{"http.response.headers", nil, "flattened", "", Headers, "response headers: lower-cased names, arrays of values", fromResponse,
		func(x *Exchange, v *Value) { v.headers(x.HasResponse, &x.Response) }},

	{"url.original", []string{"target"}, "wildcard", "", Text, "request target, exactly as sent", fromRequest,
		func(x *Exchange, v *Value) { v.requestBytes(x, x.Request.Target) }},
	{"url.scheme", nil, "keyword", "", Text, "scheme of an absolute-form target or of the pseudo-header, else https within TLS, else http", fromRequest,
		func(x *Exchange, v *Value) {
			switch u := x.URL(); {
			case len(u.Scheme) > 0:
				v.bytes(bytes.ToLower(u.Scheme))
			case !x.HasRequest:
			case x.TLS != nil:
				v.text("https")
			default:
				v.text("http")
			}
		}},
	{"url.domain", []string{"vhost", "host"}, "keyword", "", Text, "host that was asked for: of the target, or else the Host header, without port", fromRequest,
		func(x *Exchange, v *Value) { v.optionalBytes(x.URL().Host) }},
	{"url.port", nil, "long", "", Int, "port that was asked for, where the request names one", fromRequest,
		func(x *Exchange, v *Value) {
			port := x.URL().Port
			if len(port) == 0 {
				return // of which ParseUint would make an error
			}
			if n, err := strconv.ParseUint(string(port), 10, 16); err == nil {
				v.int(int64(n))
			}
		}},
	{"url.path", []string{"path"}, "wildcard", "", Text, "path, as sent", fromRequest,
		func(x *Exchange, v *Value) { v.optionalBytes(x.URL().Path) }},
	{"url.query", []string{"query"}, "wildcard", "", Text, "query, as sent, without the question mark", fromRequest,
		func(x *Exchange, v *Value) {
			if u := x.URL(); u.HasQuery {
				v.bytes(u.Query)
			}
		}},

	{"user_agent.original", []string{"user_agent"}, "keyword", "", Text, "User-Agent header", fromRequest,
		func(x *Exchange, v *Value) { v.requestHeader(x, "user-agent") }},
	{"user_agent.name", []string{"browser"}, "keyword", "", Text, "the program: a browser, a bot, a library", fromAgent,
		func(x *Exchange, v *Value) { v.agent(x, func(a *UserAgent) string { return a.Name }) }},
	{"user_agent.version", nil, "keyword", "", Text, "its version", fromAgent,
		func(x *Exchange, v *Value) { v.agent(x, func(a *UserAgent) string { return a.Version }) }},
	{"user_agent.os.name", []string{"os"}, "keyword", "", Text, "its operating system", fromAgent,
		func(x *Exchange, v *Value) { v.agent(x, func(a *UserAgent) string { return a.OS }) }},
	{"user_agent.os.version", nil, "keyword", "", Text, "version of that", fromAgent,
		func(x *Exchange, v *Value) { v.agent(x, func(a *UserAgent) string { return a.OSVersion }) }},
	{"user_agent.device.name", nil, "keyword", "", Text, "model of the device, where it is told", fromAgent,
		func(x *Exchange, v *Value) { v.agent(x, func(a *UserAgent) string { return a.Device }) }},

	{"parent.id", []string{"parent"}, "keyword", "", Text, "event.id of the exchange that caused this one", fromHops,
		func(x *Exchange, v *Value) {
			if x.Hop.Method > Root {
				v.text(IDText(x.Hop.Parent))
			}
		}},
	{"trace.id", []string{"trace"}, "keyword", "", Text, "id of the distributed trace: traceparent (W3C), or B3", fromRequest,
		func(x *Exchange, v *Value) {
			if x.HasRequest {
				v.optionalBytes(TraceID(&x.Request))
			}
		}},

	{"tls.established", nil, "boolean", "", Bool, "whether the TLS handshake was completed, as far as can be seen; absent: not TLS", fromHello,
		func(x *Exchange, v *Value) {
			if x.TLS != nil {
				v.bool(x.TLS.Established)
			}
		}},
	{"tls.version", nil, "keyword", "", Text, "version of TLS, such as 1.3", fromHello,
		func(x *Exchange, v *Value) {
			if x.TLS != nil {
				v.optional(TLSVersion(x.TLS.Version))
			}
		}},
	{"tls.version_protocol", nil, "keyword", "", Text, "tls, or ssl for SSL 3", fromHello,
		func(x *Exchange, v *Value) {
			switch {
			case x.TLS == nil || x.TLS.Version == 0:
			case x.TLS.Version == 0x0300:
				v.text("ssl")
			default:
				v.text("tls")
			}
		}},
	{"tls.cipher", []string{"cipher"}, "keyword", "", Text, "cipher suite in use, as IANA names it", fromHello,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.SuiteName }) }},
	{"tls.curve", nil, "keyword", "", Text, "group of the key exchange, such as x25519", fromHello,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.GroupName }) }},
	{"tls.next_protocol", []string{"alpn"}, "keyword", "", Text, "application protocol that both agreed on (ALPN)", fromHello,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.ALPN }) }},
	{"tls.resumed", nil, "boolean", "", Bool, "true where an earlier session was taken up again", fromHello,
		func(x *Exchange, v *Value) {
			if x.TLS != nil && x.TLS.Resumption != "" {
				v.bool(true)
			}
		}},
	{"tls.client.server_name", []string{"sni"}, "keyword", "", Text, "server name that the client asked for (SNI)", fromHello,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.ServerName }) }},
	{"tls.client.ja3", []string{"ja3"}, "keyword", "", Text, "JA3 fingerprint of the ClientHello", fromHello,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.JA3 }) }},
	{"tls.client.supported_ciphers", nil, "keyword", "", List, "cipher suites that the client offered, in its order, as numbers; first exchange of a connection only", fromHello,
		func(x *Exchange, v *Value) { v.suites(x) }},
	{"tls.client.subject", nil, "keyword", "", Text, "subject of the client's certificate", fromHello,
		func(x *Exchange, v *Value) {
			v.certificate(x, false, func(c *proto.Certificate) string { return c.Subject })
		}},
	{"tls.client.issuer", nil, "keyword", "", Text, "its issuer", fromHello,
		func(x *Exchange, v *Value) {
			v.certificate(x, false, func(c *proto.Certificate) string { return c.Issuer })
		}},
	{"tls.server.ja3s", nil, "keyword", "", Text, "JA3S fingerprint of the ServerHello", fromHello,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.JA3S }) }},
	{"tls.server.subject", nil, "keyword", "", Text, "subject of the server's certificate, where it was seen: TLS 1.3 and resumption hide it without keys", fromHello,
		func(x *Exchange, v *Value) {
			v.certificate(x, true, func(c *proto.Certificate) string { return c.Subject })
		}},
	{"tls.server.issuer", nil, "keyword", "", Text, "its issuer", fromHello,
		func(x *Exchange, v *Value) {
			v.certificate(x, true, func(c *proto.Certificate) string { return c.Issuer })
		}},
	{"tls.server.not_before", nil, "date", "", Time, "begin of its validity", fromHello,
		func(x *Exchange, v *Value) {
			if c := x.serverCertificate(); c != nil && !c.Malformed {
				v.time(c.NotBefore)
			}
		}},
	{"tls.server.not_after", nil, "date", "", Time, "end of its validity", fromHello,
		func(x *Exchange, v *Value) {
			if c := x.serverCertificate(); c != nil && !c.Malformed {
				v.time(c.NotAfter)
			}
		}},
	{"tls.server.hash.sha256", nil, "keyword", "", Text, "SHA-256 of it", fromHello,
		func(x *Exchange, v *Value) {
			v.certificate(x, true, func(c *proto.Certificate) string { return c.SHA256 })
		}},
	{"tls.server.x509.alternative_names", []string{"san"}, "keyword", "", List, "names it is for (SAN)", fromHello,
		func(x *Exchange, v *Value) {
			if c := x.serverCertificate(); c != nil {
				v.list(c.Names)
			}
		}},
	{"tls.server.x509.serial_number", nil, "keyword", "", Text, "its serial number", fromHello,
		func(x *Exchange, v *Value) {
			v.certificate(x, true, func(c *proto.Certificate) string { return c.Serial })
		}},
	{"tls.server.x509.public_key_algorithm", nil, "keyword", "", Text, "kind and size of its key, such as RSA 2048", fromHello,
		func(x *Exchange, v *Value) {
			v.certificate(x, true, func(c *proto.Certificate) string { return c.Key })
		}},
	{"tls.server.x509.signature_algorithm", nil, "keyword", "", Text, "algorithm of its signature", fromHello,
		func(x *Exchange, v *Value) {
			v.certificate(x, true, func(c *proto.Certificate) string { return c.Signature })
		}},

	{"error.code", []string{"error_code"}, "keyword", "", Text, "what ended the stream or the session: the name of an HTTP/2 error, a TLS alert, a WebSocket close code, a gRPC status, the error of a database, the rcode of DNS", fromCulprit,
		func(x *Exchange, v *Value) { v.optional(x.ErrorCode()) }},
	{"error.message", nil, "match_only_text", "", Text, "why the exchange isn't complete, in a few words, or else what the server says of its error", fromCulprit,
		func(x *Exchange, v *Value) { v.errorText(x) }},

	{"db.system.name", []string{"db"}, "keyword", "", Text, "database or cache: mysql, postgresql, redis, memcached, mongodb", "detection by content",
		func(x *Exchange, v *Value) { v.text(x.Protocol) }},
	fact("db.namespace", "database", "keyword", "", Text, "database that the session uses, as far as known"),
	fact("db.user", "db_user", "keyword", "", Text, "user that the session logged in as, as far as known"),
	{"db.operation.name", []string{"verb"}, "keyword", "", Text, "kind of the statement, or the command, in upper case for SQL: SELECT, GET, find", fromStatement,
		func(x *Exchange, v *Value) { v.optionalBytes(x.Verb()) }},
	{"db.collection.name", []string{"table"}, "keyword", "", Text, "first table, collection or pattern of a key that it is about", fromStatement,
		func(x *Exchange, v *Value) { v.optional(x.Statement.Collection) }},
	{"db.query.text", []string{"statement"}, "wildcard", "", Text, "statement or command, as sent; its literals are redacted", fromRequest,
		func(x *Exchange, v *Value) { v.optionalBytes(x.Subject()) }},
	{"db.query.summary", []string{"template"}, "keyword", "", Text, "statement with its literals replaced by ?, and lists of them by one: the same for all values", fromStatement,
		func(x *Exchange, v *Value) { v.optional(x.Statement.Template) }},
	fact("db.query.parameters", "", "keyword", "", List, "parameters of a prepared statement, in order, redacted"),
	fact("db.response.status_code", "", "keyword", "", Text, "code of an error: MySQL's number, SQLSTATE of PostgreSQL, first word of Redis"),
	{"db.response.returned_rows", []string{"rows"}, "long", "", Int, "rows, documents, items or values that came back", fromRows, returnedRows},
	fact("db.response.affected_rows", "affected", "long", "", Int, "rows that the statement changed, as the server counts them"),

	fact("mysql.affected_rows", "", "long", "", Int, "rows changed"),
	fact("mysql.insert_id", "", "long", "", Int, "last AUTO_INCREMENT value"),
	fact("mysql.num_fields", "", "long", "", Int, "columns of the result"),
	{"mysql.num_rows", nil, "long", "", Int, "rows of the result", fromRows, returnedRows},
	fact("mysql.warnings", "", "long", "", Int, "warnings that the statement left"),
	fact("mysql.error_code", "", "keyword", "", Text, "number of the error"),
	fact("mysql.sqlstate", "", "keyword", "", Text, "SQLSTATE of the error"),
	fact("mysql.error_message", "", "match_only_text", "", Text, "text of the error, its literals redacted"),

	fact("pgsql.num_fields", "", "long", "", Int, "columns of the result"),
	{"pgsql.num_rows", nil, "long", "", Int, "rows of the result", fromRows, returnedRows},
	fact("pgsql.command_tag", "", "keyword", "", Text, "command tag, such as INSERT 0 1"),
	fact("pgsql.error_code", "", "keyword", "", Text, "SQLSTATE of the error"),
	fact("pgsql.error_severity", "", "keyword", "", Text, "its severity: ERROR, FATAL, PANIC"),
	fact("pgsql.error_message", "", "match_only_text", "", Text, "its text, literals redacted"),

	{"redis.return_value", nil, "wildcard", "", Text, "beginning of what came back, on request (--max-body)", fromResponse, content},
	fact("redis.error", "", "match_only_text", "", Text, "text of the error"),
	fact("redis.redirect", "", "keyword", "", Text, "node that MOVED or ASK names"),

	fact("mongodb.fullCollectionName", "", "keyword", "", Text, "database and collection"),
	fact("mongodb.cursorId", "", "long", "", Int, "cursor that was left open"),
	fact("mongodb.numberToSkip", "", "long", "", Int, "documents to skip"),
	fact("mongodb.numberToReturn", "", "long", "", Int, "documents wanted"),
	{"mongodb.numberReturned", nil, "long", "", Int, "documents that came back", fromRows, returnedRows},
	fact("mongodb.startingFrom", "", "long", "", Int, "place of the first in its cursor"),
	fact("mongodb.error", "", "match_only_text", "", Text, "text of the error"),

	fact("memcache.protocol_type", "", "keyword", "", Text, "text, meta or binary"),
	fact("memcache.request.opcode", "", "keyword", "", Text, "operation of the binary protocol, such as GetKQ"),
	fact("memcache.request.opaque", "", "long", "", Int, "what the binary protocol pairs by"),
	fact("memcache.request.keys", "", "keyword", "", List, "keys asked for"),
	fact("memcache.request.bytes", "", "long", "byte", Int, "size of the value to store"),
	fact("memcache.request.exptime", "", "long", "s", Int, "time to live that was asked for, as sent"),
	fact("memcache.request.noreply", "", "boolean", "", Bool, "true where no answer was wanted"),
	fact("memcache.response.status", "", "keyword", "", Text, "status in the server's words, such as STORED or Key not found"),
	{"memcache.response.count_values", nil, "long", "", Int, "values that came back", fromRows, returnedRows},
	fact("memcache.response.hits", "", "long", "", Int, "keys that were found"),
	fact("memcache.response.misses", "", "long", "", Int, "keys that weren't"),
	fact("memcache.response.error_msg", "", "match_only_text", "", Text, "text of the error"),

	fact("dns.id", "", "long", "", Int, "id of the question"),
	fact("dns.op_code", "", "keyword", "", Text, "QUERY, UPDATE, NOTIFY, ..."),
	fact("dns.question.name", "qname", "keyword", "", Text, "name that was asked for, without the final dot"),
	fact("dns.question.type", "qtype", "keyword", "", Text, "type of the records asked for, such as AAAA"),
	fact("dns.question.class", "", "keyword", "", Text, "their class, IN"),
	{"dns.question.registered_domain", []string{"registered_domain"}, "keyword", "", Text, "what was registered of the name, by the public suffix list", fromRequest,
		func(x *Exchange, v *Value) { v.optional(x.registeredDomain()) }},
	fact("dns.response_code", "rcode", "keyword", "", Text, "NOERROR, NXDOMAIN, SERVFAIL, ..."),
	fact("dns.header_flags", "", "keyword", "", List, "flags that are set: AA, TC, RD, RA, AD, CD"),
	fact("dns.answers_count", "", "long", "", Int, "records in the answer"),
	fact("dns.authorities_count", "", "long", "", Int, "records about authorities"),
	fact("dns.additionals_count", "", "long", "", Int, "additional records, without EDNS"),
	fact("dns.answers.name", "", "keyword", "", List, "owners of the records in the answer; those of one record stand at the same place in each list"),
	fact("dns.answers.type", "", "keyword", "", List, "their types"),
	fact("dns.answers.ttl", "", "keyword", "", List, "how long they are valid, in seconds"),
	fact("dns.answers.data", "", "keyword", "", List, "what they say"),
	fact("dns.resolved_ip", "resolved", "ip", "", List, "addresses in the answer"),
	fact("dns.opt.version", "", "long", "", Int, "version of EDNS"),
	fact("dns.opt.do", "", "boolean", "", Bool, "true where DNSSEC records are wanted"),
	fact("dns.opt.udp_size", "", "long", "byte", Int, "size of datagrams that the client takes"),
	fact("dns.opt.client_subnet", "", "keyword", "", Text, "network that the question is asked for"),

	{"flow.final", nil, "boolean", "", Bool, "true where the flow is over: the last of its records", fromCulprit,
		func(x *Exchange, v *Value) {
			if x.Period != nil {
				v.bool(x.Period.Final)
			}
		}},

	{"culprit.grade", []string{"grade"}, "keyword", "", Text, "how much was seen: complete, gap, midstream, onesided, unanswered, aborted, undecryptable", fromCulprit,
		func(x *Exchange, v *Value) { v.text(x.Grade.String()) }},
	{"culprit.route", []string{"route"}, "keyword", "", Text, "path with its variable parts replaced, such as /users/{id}", "path, by rules (docs/enrichment.md)",
		func(x *Exchange, v *Value) { v.optional(x.Enriched.Route) }},
	{"culprit.device", []string{"device"}, "keyword", "", Text, "kind of the client: desktop, mobile, tablet or bot", fromAgent,
		func(x *Exchange, v *Value) { v.agent(x, func(a *UserAgent) string { return a.Kind }) }},
	{"culprit.secrets", []string{"secrets"}, "keyword", "", List, "fingerprints of the secrets that redaction hid, such as 4f2a", fromCulprit,
		func(x *Exchange, v *Value) {
			if len(x.Secrets) > 0 {
				v.Kind, v.List = List, x.Secrets
			}
		}},
	{"culprit.missing_bytes", nil, "long", "byte", Int, "bytes that weren't captured", fromTCP,
		func(x *Exchange, v *Value) {
			if x.MissingBytes > 0 {
				v.int(x.MissingBytes)
			}
		}},
	{"culprit.anomalies", []string{"anomalies"}, "keyword", "", List, "oddities of the messages; see the table below", fromCulprit,
		func(x *Exchange, v *Value) { v.anomalies(x.Anomalies) }},
	{"culprit.stream", nil, "boolean", "", Bool, "true for event streams, tunnels and upgrades, whose duration is left out of percentiles", fromCulprit,
		func(x *Exchange, v *Value) {
			if x.Stream {
				v.Kind, v.Int = Bool, 1
			}
		}},
	{"culprit.retries", []string{"retries"}, "long", "", Int, "how often the request was sent again since no answer came", fromRequest,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.Retries)) }},
	{"culprit.sample.weight", []string{"weight"}, "long", "", Int, "how many exchanges this one stands for, where only a share was kept; absent: itself alone", fromCulprit,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.Weight)) }},

	{"culprit.recorded", []string{"recorded"}, "keyword", "", Text, "server where its server recorded it (docs/firehose.md), so that nothing is known of the network; absent where it was captured", fromCulprit,
		func(x *Exchange, v *Value) { v.optional(x.Tap.Recorded) }},

	{"culprit.packets.tap", nil, "keyword", "", Text, "tap, or the file's name when it has none", fromCulprit,
		func(x *Exchange, v *Value) { v.optional(x.Tap.Label) }},
	{"culprit.packets.first", nil, "long", "", Int, "number of the packet with the first byte, as Wireshark counts", fromPacket,
		func(x *Exchange, v *Value) { v.int(int64(x.FirstPacket)) }},
	{"culprit.packets.last", nil, "long", "", Int, "number of the packet with the last byte", fromPacket,
		func(x *Exchange, v *Value) { v.int(int64(x.LastPacket)) }},

	{"culprit.process.unit", []string{"unit"}, "keyword", "", Text, "systemd unit that the process of process.pid runs in, as its control group tells", fromKernel,
		func(x *Exchange, v *Value) { v.process(x.process(), func(p *Process) string { return p.Unit }) }},

	{"culprit.http.reason", []string{"reason"}, "keyword", "", Text, "reason phrase of the response", fromResponse,
		func(x *Exchange, v *Value) {
			if x.HasResponse {
				v.optionalBytes(x.Response.Bytes(x.Response.Reason))
			}
		}},
	{"culprit.http.interim", nil, "keyword", "", List, "statuses of the interim responses (1xx), in order", fromResponse,
		func(x *Exchange, v *Value) {
			if len(x.Interim) == 0 {
				return
			}
			v.Kind = List
			for _, i := range x.Interim {
				v.List = append(v.List, strconv.Itoa(i.Status))
			}
		}},
	{"culprit.http.stream_id", []string{"stream_id"}, "long", "", Int, "number of the HTTP/2 stream", fromRequest,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.StreamID())) }},
	{"culprit.http.pushed", nil, "boolean", "", Bool, "true where the server promised the request of its own accord", fromRequest,
		func(x *Exchange, v *Value) {
			if x.Request.Pushed {
				v.bool(true)
			}
		}},
	{"culprit.http.reset.code", nil, "keyword", "", Text, "HTTP/2 error that gave up the stream, such as CANCEL", fromResponse,
		func(x *Exchange, v *Value) {
			if x.Abort != nil {
				v.text(x.Abort.Name)
			}
		}},
	{"culprit.http.reset.by", nil, "keyword", "", Text, "who gave it up, client or server", fromResponse,
		func(x *Exchange, v *Value) {
			if x.Abort != nil {
				v.text(x.side(x.Abort.By))
			}
		}},
	{"culprit.http.reset.goaway", nil, "boolean", "", Bool, "true where the whole connection was given up (GOAWAY) and the stream not worked on", fromResponse,
		func(x *Exchange, v *Value) {
			if x.Abort != nil && x.Abort.GoAway {
				v.bool(true)
			}
		}},
	{"culprit.http.connection_index", nil, "long", "", Int, "place of the exchange on its connection, from 0", fromCulprit,
		func(x *Exchange, v *Value) { v.int(int64(x.Index)) }},
	{"culprit.http.request.framing", nil, "keyword", "", Text, "how the end of the request body is known: none, length, chunked, close, stream, tunnel", fromRequest,
		func(x *Exchange, v *Value) {
			if x.HasRequest {
				v.text(x.Request.Framing.String())
			}
		}},
	{"culprit.http.request.decoded_bytes", nil, "long", "byte", Int, "length of the request body after content-decoding, where it was decoded whole", fromRequest,
		func(x *Exchange, v *Value) { v.nonNegative(x.HasRequest, x.RequestBody.DecodedBytes) }},
	{"culprit.http.request.parts", nil, "keyword", "", List, "parts of a multipart request body: name, file name, media type, bytes", fromRequest,
		func(x *Exchange, v *Value) { v.multipart(x.RequestBody.Parts) }},
	{"culprit.http.request.stalled", nil, "long", "ns", Duration, "time the client couldn't send because the server's flow-control window was closed", fromRequest,
		func(x *Exchange, v *Value) { v.positive(Duration, x.Request.Stalled) }},
	{"culprit.http.response.stalled", []string{"stalled"}, "long", "ns", Duration, "time the server couldn't send because the client's flow-control window was closed", fromResponse,
		func(x *Exchange, v *Value) { v.positive(Duration, x.Response.Stalled) }},
	{"culprit.http.response.framing", nil, "keyword", "", Text, "how the end of the response body is known", fromResponse,
		func(x *Exchange, v *Value) {
			if x.HasResponse {
				v.text(x.Response.Framing.String())
			}
		}},
	{"culprit.http.response.decoded_bytes", nil, "long", "byte", Int, "length of the response body after content-decoding, where it was decoded whole", fromResponse,
		func(x *Exchange, v *Value) { v.nonNegative(x.HasResponse, x.ResponseBody.DecodedBytes) }},
	{"culprit.http.response.parts", nil, "keyword", "", List, "parts of a multipart response body", fromResponse,
		func(x *Exchange, v *Value) { v.multipart(x.ResponseBody.Parts) }},

	{"culprit.tls.client.ja4", []string{"ja4"}, "keyword", "", Text, "JA4 fingerprint of the ClientHello", fromHello,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.JA4 }) }},
	{"culprit.tls.client.versions", nil, "keyword", "", Text, "highest version that the client offered", fromHello,
		func(x *Exchange, v *Value) {
			if x.TLS != nil {
				v.optional(TLSVersion(x.TLS.Offered))
			}
		}},
	{"culprit.tls.client.alpn", nil, "keyword", "", List, "application protocols that the client offered; first exchange of a connection only", fromHello,
		func(x *Exchange, v *Value) {
			if x.TLS != nil && x.Index == 0 {
				v.list(x.TLS.OfferedALPN)
			}
		}},
	{"culprit.tls.server.chain", nil, "keyword", "", List, "subjects of the server's certificates, its own first; first exchange of a connection only", fromHello,
		func(x *Exchange, v *Value) {
			if x.TLS == nil || x.Index > 0 || len(x.TLS.ServerChain) == 0 {
				return
			}
			v.Kind = List
			for _, c := range x.TLS.ServerChain {
				v.List = append(v.List, c.Subject)
			}
		}},
	{"culprit.tls.server.days_left", []string{"days_left"}, "long", "day", Int, "days until the server's certificate ends, at the time of the exchange; negative: it has ended", fromHello,
		func(x *Exchange, v *Value) {
			if c := x.serverCertificate(); c != nil && !c.Malformed {
				v.int(floorDiv(c.NotAfter-x.Start.Time, 24*3600*1e9))
			}
		}},
	{"culprit.tls.resumption", nil, "keyword", "", Text, "how an earlier session was taken up again: id, ticket or psk", fromHello,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.Resumption }) }},
	{"culprit.tls.early_data", nil, "keyword", "", Text, "what became of data in the client's first flight: offered, accepted or rejected", fromHello,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.EarlyData }) }},
	{"culprit.tls.retry", nil, "boolean", "", Bool, "true where the server asked for another ClientHello", fromHello,
		func(x *Exchange, v *Value) {
			if x.TLS != nil && x.TLS.Retry {
				v.bool(true)
			}
		}},
	{"culprit.tls.alerts", []string{"alert"}, "keyword", "", List, "alerts, each with its sender: server: unknown_ca", fromTLS,
		func(x *Exchange, v *Value) { v.alerts(x) }},
	{"culprit.tls.decrypted", nil, "boolean", "", Bool, "whether keys were found and the connection was read; absent: not TLS", fromTLS,
		func(x *Exchange, v *Value) {
			if x.TLS != nil {
				v.bool(x.TLS.Decrypted)
			}
		}},
	{"culprit.tls.reason", []string{"undecryptable"}, "keyword", "", Text, "why it wasn't", fromTLS,
		func(x *Exchange, v *Value) { v.tls(x, func(t *proto.TLS) string { return t.Reason }) }},
	{"culprit.tls.lost_records", nil, "long", "", Int, "records that couldn't be read among others that could", fromTLS,
		func(x *Exchange, v *Value) {
			if x.TLS != nil {
				v.positive(Int, int64(x.TLS.LostRecords))
			}
		}},
	{"culprit.tls.handshake.client", nil, "long", "ns", Duration, "part of the TLS handshake that the client took; first exchange of a connection only", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Handshake.Client) }},
	{"culprit.tls.handshake.server", nil, "long", "ns", Duration, "part of the TLS handshake that the server took; first exchange of a connection only", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Handshake.Server) }},
	{"culprit.tls.handshake.network", nil, "long", "ns", Duration, "rest of the TLS handshake: round trips and transfer; first exchange of a connection only", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Handshake.Network) }},

	{"culprit.grpc.service", []string{"grpc_service"}, "keyword", "", Text, "gRPC service, with its package", fromRequest,
		func(x *Exchange, v *Value) { service, _ := x.GRPCMethod(); v.optionalBytes(service) }},
	{"culprit.grpc.method", []string{"grpc_method"}, "keyword", "", Text, "gRPC method", fromRequest,
		func(x *Exchange, v *Value) { _, method := x.GRPCMethod(); v.optionalBytes(method) }},
	{"culprit.grpc.status_code", nil, "long", "", Int, "gRPC status, as a number; 0 is OK", fromResponse,
		func(x *Exchange, v *Value) {
			if code, ok := x.GRPCStatus(); ok {
				v.int(int64(code))
			}
		}},
	{"culprit.grpc.status", []string{"grpc_status"}, "keyword", "", Text, "its name, such as UNAVAILABLE", fromResponse,
		func(x *Exchange, v *Value) {
			if code, ok := x.GRPCStatus(); ok {
				v.text(GRPCStatusName(code))
			}
		}},
	{"culprit.grpc.message", []string{"grpc_message"}, "match_only_text", "", Text, "what the server says of it, percent-decoded", fromResponse,
		func(x *Exchange, v *Value) { v.optional(x.GRPCMessage()) }},
	{"culprit.grpc.kind", nil, "keyword", "", Text, "kind of call, as the messages seen show it: unary, client-streaming, server-streaming, bidirectional", fromMessages,
		func(x *Exchange, v *Value) { v.optional(x.GRPCKind()) }},

	{"culprit.operation.system", nil, "keyword", "", Text, "what names operations within the request: graphql or jsonrpc", fromRequest,
		func(x *Exchange, v *Value) { v.optional(x.Operation.System) }},
	{"culprit.operation.kind", nil, "keyword", "", Text, "query, mutation or subscription; call or notification", fromRequest,
		func(x *Exchange, v *Value) { v.optional(x.Operation.Kind) }},
	{"culprit.operation.names", []string{"operation"}, "keyword", "", List, "names of the operations or methods, more than one in a batch", fromRequest,
		func(x *Exchange, v *Value) { v.list(x.Operation.Names) }},

	{"culprit.messages.client.count", nil, "long", "", Int, "messages that the client sent in a stream of them: gRPC, WebSocket", fromMessages,
		func(x *Exchange, v *Value) { v.parts(&x.Request, func(p *proto.Parts) int64 { return p.Count }) }},
	{"culprit.messages.client.bytes", nil, "long", "byte", Int, "their size, without framing, as sent", fromMessages,
		func(x *Exchange, v *Value) { v.parts(&x.Request, func(p *proto.Parts) int64 { return p.Bytes }) }},
	{"culprit.messages.client.largest", nil, "long", "byte", Int, "size of the largest", fromMessages,
		func(x *Exchange, v *Value) { v.parts(&x.Request, func(p *proto.Parts) int64 { return p.Largest }) }},
	{"culprit.messages.client.compressed", nil, "long", "", Int, "how many came compressed", fromMessages,
		func(x *Exchange, v *Value) { v.parts(&x.Request, func(p *proto.Parts) int64 { return p.Compressed }) }},
	{"culprit.messages.server.count", []string{"messages"}, "long", "", Int, "messages that the server sent in a stream of them: gRPC, WebSocket, server-sent events", fromMessages,
		func(x *Exchange, v *Value) { v.parts(&x.Response, func(p *proto.Parts) int64 { return p.Count }) }},
	{"culprit.messages.server.bytes", nil, "long", "byte", Int, "their size, without framing, as sent", fromMessages,
		func(x *Exchange, v *Value) { v.parts(&x.Response, func(p *proto.Parts) int64 { return p.Bytes }) }},
	{"culprit.messages.server.largest", nil, "long", "byte", Int, "size of the largest", fromMessages,
		func(x *Exchange, v *Value) { v.parts(&x.Response, func(p *proto.Parts) int64 { return p.Largest }) }},
	{"culprit.messages.server.compressed", nil, "long", "", Int, "how many came compressed", fromMessages,
		func(x *Exchange, v *Value) { v.parts(&x.Response, func(p *proto.Parts) int64 { return p.Compressed }) }},
	{"culprit.message.kind", nil, "keyword", "", Text, "kind of the message that this record is about, on request (--messages): text, binary, ping, pong, close", fromMessages,
		func(x *Exchange, v *Value) {
			if x.Message != nil {
				v.text(x.Message.Kind)
			}
		}},
	{"culprit.message.from", nil, "keyword", "", Text, "its sender, client or server", fromMessages,
		func(x *Exchange, v *Value) {
			if x.Message != nil {
				v.text(x.side(x.Message.Dir))
			}
		}},
	{"culprit.message.index", nil, "long", "", Int, "its place among those of its sender in the session, from 0", fromMessages,
		func(x *Exchange, v *Value) {
			if x.Message != nil {
				v.int(x.Message.Index)
			}
		}},
	{"culprit.websocket.close_code", []string{"close_code"}, "long", "", Int, "status of the first close frame of a WebSocket (RFC 6455 §7.4)", fromMessages,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.Closing.Code)) }},
	{"culprit.websocket.close_reason", nil, "keyword", "", Text, "its reason", fromMessages,
		func(x *Exchange, v *Value) { v.optional(x.Closing.Reason) }},
	{"culprit.websocket.closed_by", nil, "keyword", "", Text, "who sent it, client or server", fromMessages,
		func(x *Exchange, v *Value) {
			if x.Closing.Seen {
				v.text(x.side(x.Closing.By))
			}
		}},

	{"culprit.db.first_row", []string{"first_row"}, "long", "ns", Duration, "begin of the request to the first byte of the first row", fromRows,
		func(x *Exchange, v *Value) {
			if x.HasRequest && x.HasResponse && x.Response.Parts.First > 0 {
				v.duration(max(x.Response.Parts.First-x.Request.First.Time, 0))
			}
		}},
	{"culprit.db.returned_bytes", nil, "long", "byte", Int, "size of the rows, as sent", fromRows,
		func(x *Exchange, v *Value) { v.positive(Int, x.Response.Parts.Bytes) }},
	{"culprit.db.largest_row", nil, "long", "byte", Int, "size of the largest", fromRows,
		func(x *Exchange, v *Value) { v.positive(Int, x.Response.Parts.Largest) }},
	fact("culprit.db.hits", "hits", "long", "", Int, "keys that were found, by commands of caches that read"),
	fact("culprit.db.misses", "misses", "long", "", Int, "keys that weren't"),
	fact("culprit.db.results", "", "long", "", Int, "results of one request, where there are more than one"),
	fact("culprit.db.transaction", "", "keyword", "", Text, "state of the transaction after it: idle, open or failed"),
	fact("culprit.db.prepared", "", "keyword", "", Text, "name or number of the prepared statement"),
	fact("culprit.db.notices", "", "keyword", "", List, "notices that came with the response"),
	fact("culprit.db.compression", "", "keyword", "", Text, "compression that the session uses"),
	fact("culprit.db.server_version", "", "keyword", "", Text, "version that the server says it has, at login"),
	fact("culprit.db.session", "", "keyword", "", Text, "the server's number of the session, at login"),
	{"culprit.db.result", nil, "wildcard", "", Text, "beginning of the result as text, on request (--max-body)", fromResponse, content},

	fact("culprit.dns.error_message", "", "match_only_text", "", Text, "what the response code means, and what the extended error (RFC 8914) says"),
	fact("culprit.cgi.script", "", "keyword", "", Text, "program that the request is for (SCRIPT_FILENAME), over FastCGI or uwsgi"),
	fact("culprit.cgi.remote_ip", "", "keyword", "", Text, "address of the web server's client, as the web server tells (REMOTE_ADDR)"),
	fact("culprit.cgi.remote_port", "", "long", "", Int, "its port (REMOTE_PORT)"),
	fact("culprit.fastcgi.role", "", "keyword", "", Text, "what the application is asked to be, where that isn't a responder: authorizer or filter"),
	fact("culprit.fastcgi.app_status", "", "long", "", Int, "status that the application ended with, where it isn't 0"),
	fact("culprit.fastcgi.protocol_status", "", "keyword", "", Text, "how FastCGI ended it, where that isn't REQUEST_COMPLETE"),
	fact("culprit.fastcgi.stderr", "", "match_only_text", "", Text, "beginning of what the application wrote to its log"),

	{"culprit.proxied.version", nil, "long", "", Int, "version of the PROXY protocol, where a proxy passed the connection on with it", fromProxy,
		func(x *Exchange, v *Value) {
			if x.Proxied != nil {
				v.int(int64(x.Proxied.Version))
			}
		}},
	{"culprit.proxied.client.ip", []string{"true_client"}, "ip", "", IP, "address of the client that the proxy served", fromProxy,
		func(x *Exchange, v *Value) {
			v.end(x.Proxied, func(p *proto.Proxied) netip.AddrPort { return p.Client })
		}},
	{"culprit.proxied.client.port", nil, "long", "", Int, "its port", fromProxy,
		func(x *Exchange, v *Value) {
			v.endPort(x.Proxied, func(p *proto.Proxied) netip.AddrPort { return p.Client })
		}},
	{"culprit.proxied.server.ip", nil, "ip", "", IP, "address that the client connected to", fromProxy,
		func(x *Exchange, v *Value) {
			v.end(x.Proxied, func(p *proto.Proxied) netip.AddrPort { return p.Server })
		}},
	{"culprit.proxied.server.port", nil, "long", "", Int, "its port", fromProxy,
		func(x *Exchange, v *Value) {
			v.endPort(x.Proxied, func(p *proto.Proxied) netip.AddrPort { return p.Server })
		}},
	{"culprit.proxied.authority", nil, "keyword", "", Text, "name that the client asked the proxy for (SNI)", fromProxy,
		func(x *Exchange, v *Value) { v.proxied(x, func(p *proto.Proxied) string { return p.Authority }) }},
	{"culprit.proxied.unique_id", nil, "keyword", "", Text, "the proxy's id of the connection", fromProxy,
		func(x *Exchange, v *Value) { v.proxied(x, func(p *proto.Proxied) string { return p.UniqueID }) }},
	{"culprit.proxied.tls_version", nil, "keyword", "", Text, "version of TLS between the client and the proxy", fromProxy,
		func(x *Exchange, v *Value) { v.proxied(x, func(p *proto.Proxied) string { return p.TLSVersion }) }},

	{"culprit.flow.number", nil, "long", "", Int, "place of the record among those of its flow, from 0", fromCulprit,
		func(x *Exchange, v *Value) {
			if x.Period != nil {
				v.int(int64(x.Period.Number))
			}
		}},
	{"culprit.flow.since", nil, "date_nanos", "", Time, "first packet of the flow", fromPacket,
		func(x *Exchange, v *Value) {
			if x.Period != nil {
				v.time(x.Period.Since)
			}
		}},

	{"culprit.timing.idle", nil, "long", "ns", Duration, "connection ready to first request byte; first exchange of a connection only", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Idle) }},
	{"culprit.timing.connect", []string{"connect"}, "long", "ns", Duration, "first SYN to the handshake's ACK; first exchange of a connection only", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Connect) }},
	{"culprit.timing.tls", nil, "long", "ns", Duration, "ClientHello to Finished; first exchange of a connection only", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.TLS) }},
	{"culprit.timing.send", []string{"send"}, "long", "ns", Duration, "first to last request byte, but at most to the first byte of the final response", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Send) }},
	{"culprit.timing.wait", []string{"wait"}, "long", "ns", Duration, "end of send to the first byte of the final response", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Wait) }},
	{"culprit.timing.ttfb", []string{"ttfb"}, "long", "ns", Duration, "first request byte to the first byte of the final response: send + wait", fromTiming,
		func(x *Exchange, v *Value) {
			if x.HasRequest && x.HasResponse && x.Timing.Send >= 0 && x.Timing.Wait >= 0 {
				v.duration(x.Timing.Send + x.Timing.Wait)
			}
		}},
	{"culprit.timing.receive", []string{"receive"}, "long", "ns", Duration, "first to last byte of the final response", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Receive) }},
	{"culprit.timing.overlap", []string{"overlap"}, "long", "ns", Duration, "how long the request went on after the response had begun", fromTiming,
		func(x *Exchange, v *Value) {
			if x.Timing.Overlap > 0 {
				v.duration(x.Timing.Overlap)
			}
		}},
	{"culprit.timing.total", []string{"total"}, "long", "ns", Duration, "sum of all parts: idle + connect + tls + send + wait + receive", fromTiming,
		func(x *Exchange, v *Value) { v.duration(x.Timing.Total) }},

	cause("culprit.split.connect.client", PhaseConnect, byClient, "the client"),
	cause("culprit.split.connect.client_network", PhaseConnect, byClientNetwork, "the network between the client and the tap"),
	cause("culprit.split.connect.server_network", PhaseConnect, byServerNetwork, "the network between the tap and the server"),
	cause("culprit.split.connect.server", PhaseConnect, byServer, "the server"),
	cause("culprit.split.send.client", PhaseSend, byClient, "the client"),
	cause("culprit.split.send.client_network", PhaseSend, byClientNetwork, "the network between the client and the tap"),
	cause("culprit.split.send.server_network", PhaseSend, byServerNetwork, "the network between the tap and the server"),
	cause("culprit.split.send.server", PhaseSend, byServer, "the server"),
	cause("culprit.split.wait.client", PhaseWait, byClient, "the client"),
	cause("culprit.split.wait.client_network", PhaseWait, byClientNetwork, "the network between the client and the tap"),
	cause("culprit.split.wait.server_network", PhaseWait, byServerNetwork, "the network between the tap and the server"),
	cause("culprit.split.wait.server", PhaseWait, byServer, "the server"),
	cause("culprit.split.receive.client", PhaseReceive, byClient, "the client"),
	cause("culprit.split.receive.client_network", PhaseReceive, byClientNetwork, "the network between the client and the tap"),
	cause("culprit.split.receive.server_network", PhaseReceive, byServerNetwork, "the network between the tap and the server"),
	cause("culprit.split.receive.server", PhaseReceive, byServer, "the server"),

	{"culprit.blame.who", []string{"blame"}, "keyword", "", Text, "who made it slow or fail: client, client-network, server-network, server, upstream, proxy, dns, protocol, none, unclear", fromBlame,
		func(x *Exchange, v *Value) { v.optional(x.Blame.Who.String()) }},
	{"culprit.blame.situation", []string{"situation"}, "keyword", "", Text, "what happened, such as slow-application or syn-lost (docs/blame.md)", fromBlame,
		func(x *Exchange, v *Value) { v.optional(x.Blame.Situation.String()) }},
	{"culprit.blame.time", []string{"blame_time"}, "long", "ns", Duration, "what that took of the exchange's total", fromBlame,
		func(x *Exchange, v *Value) {
			if x.Blame.Time > 0 {
				v.duration(x.Blame.Time)
			}
		}},
	{"culprit.blame.share", nil, "double", "", Float, "the same as a part of the total, from 0 to 1", fromBlame,
		func(x *Exchange, v *Value) {
			if x.Blame.Time > 0 && x.Timing.Total > 0 {
				v.float(float64(x.Blame.Time) / float64(x.Timing.Total))
			}
		}},
	{"culprit.blame.confidence", []string{"confidence"}, "double", "", Float, "how sure that is, from 0 to 1", fromBlame,
		func(x *Exchange, v *Value) {
			if x.Blame.Who > Nobody {
				v.float(x.Blame.Confidence)
			}
		}},
	{"culprit.blame.upstream", []string{"upstream"}, "keyword", "", Text, "address of the upstream or resolver that is meant", fromBlame,
		func(x *Exchange, v *Value) { v.optional(x.Blame.Upstream) }},
	{"culprit.blame.why", nil, "match_only_text", "", Text, "the verdict in a sentence", fromBlame,
		func(x *Exchange, v *Value) {
			if x.Blame.Who > Nobody {
				v.optional(x.Why())
			}
		}},
	{"culprit.blame.evidence", nil, "match_only_text", "", List, "the facts that it rests on, with packet numbers", fromBlame,
		func(x *Exchange, v *Value) {
			if x.Blame.Who > Nobody {
				v.list(x.Proofs())
			}
		}},

	{"culprit.hop.trace", []string{"hop_trace"}, "keyword", "", Text, "event.id of the exchange that all this began with", fromHops,
		func(x *Exchange, v *Value) {
			if x.Hop.Method != NotLinked {
				v.text(IDText(x.Hop.Trace))
			}
		}},
	{"culprit.hop.method", []string{"hop"}, "keyword", "", Text, "how it was linked to its parent: root, id, header, process, content, timing", fromHops,
		func(x *Exchange, v *Value) { v.optional(x.Hop.Method.String()) }},
	{"culprit.hop.confidence", nil, "double", "", Float, "how sure the link is, from 0 to 1", fromHops,
		func(x *Exchange, v *Value) {
			if x.Hop.Method > Root {
				v.float(x.Hop.Confidence)
			}
		}},
	{"culprit.hop.depth", []string{"depth"}, "long", "", Int, "hops between it and the exchange that all began with", fromHops,
		func(x *Exchange, v *Value) {
			if x.Hop.Method != NotLinked {
				v.int(int64(x.Hop.Depth))
			}
		}},

	{"culprit.net.handshake.client_rtt", nil, "long", "ns", Duration, "tap to client and back: SYN+ACK to ACK", fromHandshake,
		func(x *Exchange, v *Value) { v.positive(Duration, x.HandshakeRTT(x.Client)) }},
	{"culprit.net.handshake.server_rtt", nil, "long", "ns", Duration, "tap to server and back: SYN to SYN+ACK", fromHandshake,
		func(x *Exchange, v *Value) { v.positive(Duration, x.HandshakeRTT(x.Server())) }},
	{"culprit.net.handshake.syns", nil, "long", "", Int, "SYNs sent, where more than one", fromHandshake,
		func(x *Exchange, v *Value) {
			if x.Conn.SYNs > 1 {
				v.int(int64(x.Conn.SYNs))
			}
		}},
	{"culprit.net.client.rtt", nil, "long", "ns", Duration, "smoothed round trip from the tap to the client and back, with the delays of its acknowledgements", fromConn,
		func(x *Exchange, v *Value) { v.positive(Duration, x.Conn.Half[x.Server()].RTT) }},
	{"culprit.net.client.packets", nil, "long", "", Int, "packets the client sent", fromTCP,
		func(x *Exchange, v *Value) { v.packets(x, x.During[x.Client].Packets) }},
	{"culprit.net.client.retransmits", nil, "long", "", Int, "segments the client sent again", fromTCP,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.During[x.Client].Retransmits)) }},
	{"culprit.net.client.out_of_order", nil, "long", "", Int, "segments of the client that came out of order", fromTCP,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.During[x.Client].OutOfOrder)) }},
	{"culprit.net.client.duplicate_acks", nil, "long", "", Int, "duplicate ACKs the client sent", fromTCP,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.During[x.Client].DupAcks)) }},
	{"culprit.net.client.zero_windows", nil, "long", "", Int, "times the client closed its receive window", fromTCP,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.During[x.Client].ZeroWindows)) }},
	{"culprit.net.client.mss", nil, "long", "byte", Int, "maximum segment size the client offered", fromHandshake,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.Conn.Half[x.Client].MSS)) }},
	{"culprit.net.server.rtt", []string{"rtt"}, "long", "ns", Duration, "smoothed round trip from the tap to the server and back, with the delays of its acknowledgements", fromConn,
		func(x *Exchange, v *Value) { v.positive(Duration, x.Conn.Half[x.Client].RTT) }},
	{"culprit.net.server.packets", nil, "long", "", Int, "packets the server sent", fromTCP,
		func(x *Exchange, v *Value) { v.packets(x, x.During[x.Server()].Packets) }},
	{"culprit.net.server.retransmits", []string{"retransmits"}, "long", "", Int, "segments the server sent again", fromTCP,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.During[x.Server()].Retransmits)) }},
	{"culprit.net.server.out_of_order", nil, "long", "", Int, "segments of the server that came out of order", fromTCP,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.During[x.Server()].OutOfOrder)) }},
	{"culprit.net.server.duplicate_acks", nil, "long", "", Int, "duplicate ACKs the server sent", fromTCP,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.During[x.Server()].DupAcks)) }},
	{"culprit.net.server.zero_windows", nil, "long", "", Int, "times the server closed its receive window", fromTCP,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.During[x.Server()].ZeroWindows)) }},
	{"culprit.net.server.mss", nil, "long", "byte", Int, "maximum segment size the server offered", fromHandshake,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.Conn.Half[x.Server()].MSS)) }},
	{"culprit.net.closed.by", nil, "keyword", "", Text, "who ended the connection, client or server, where it had ended with the exchange", fromTCP,
		func(x *Exchange, v *Value) {
			switch {
			case x.Conn.Why != proto.Finished && x.Conn.Why != proto.Reset:
			case x.Conn.By == x.Client:
				v.text("client")
			default:
				v.text("server")
			}
		}},
	{"culprit.net.closed.how", nil, "keyword", "", Text, "how: fin, rst, timeout, replaced, evicted, capture-ended", fromTCP,
		func(x *Exchange, v *Value) {
			if x.Conn.Why != proto.Open {
				v.text(x.Conn.Why.String())
			}
		}},
	{"culprit.net.error.name", []string{"icmp"}, "keyword", "", Text, "last ICMP error about a packet of the connection, such as port unreachable", fromICMP,
		func(x *Exchange, v *Value) {
			if x.Conn.Errors > 0 {
				v.text(ICMPName(&x.Conn.Error))
			}
		}},
	{"culprit.net.error.from", nil, "ip", "", IP, "who sent it", fromICMP,
		func(x *Exchange, v *Value) {
			if x.Conn.Errors > 0 {
				v.ip(x.Conn.Error.From)
			}
		}},
	{"culprit.net.error.about", nil, "keyword", "", Text, "whose packet it was about, client or server", fromICMP,
		func(x *Exchange, v *Value) {
			if x.Conn.Errors > 0 {
				v.text(x.side(x.Conn.Error.Of))
			}
		}},
	{"culprit.net.error.count", nil, "long", "", Int, "how many there were since the connection began", fromICMP,
		func(x *Exchange, v *Value) { v.positive(Int, int64(x.Conn.Errors)) }},
})

var (
	eventCategories = [...][]string{HTTP: {"network", "web"}, Database: {"network", "database"}, Names: {"network"}, Secure: {"network", "web"}, Other: {"network"}}
	eventType       = []string{"connection", "protocol"}
)

// process returns the process that the exchange is about: the server's, or else the client's, nil when neither
// is known.
func (x *Exchange) process() *Process {
	if p := x.Process[x.Server()]; p != nil {
		return p
	}
	return x.Process[x.Client]
}

func networkType(f *proto.Flow) string {
	if f.Addr[0].Netip().Is4() {
		return "ipv4"
	}
	return "ipv6"
}

func transport(f *proto.Flow) string {
	switch f.Proto {
	case packet.ProtoUDP:
		return "udp"
	case packet.ProtoSCTP:
		return "sctp"
	}
	return "tcp"
}

// Outcome returns the ECS outcome: success, failure or unknown.
func (x *Exchange) Outcome() string {
	switch {
	case x.Grade == Aborted, x.Failed(), x.Family == Names && x.Grade == Unanswered && x.Conn.Why == proto.TimedOut:
		return "failure"
	case !x.HasResponse, x.Family == HTTP && x.Response.Status <= 0, x.Response.OneWay:
		return "unknown"
	}
	return "success"
}

// Failed reports whether the response says that the request failed.
func (x *Exchange) Failed() bool {
	if !x.HasResponse {
		return false
	}
	switch x.Family {
	case HTTP:
		if x.Response.Status >= 400 {
			return true
		}
		code, ok := x.GRPCStatus()
		return ok && code != 0 && x.Response.Status > 0
	case Names:
		code := x.Response.FactText("rcode")
		return len(code) > 0 && string(code) != "NOERROR"
	}
	return x.Response.Fact(proto.FactError) != nil
}

// HandshakeRTT returns the handshake's round trip between the tap and one end, in nanoseconds, 0
// when it isn't known: a SYN or SYN+ACK that was sent more than once leaves it open.
func (x *Exchange) HandshakeRTT(end proto.Direction) int64 {
	c := &x.Conn
	switch {
	case c.SYN == 0 || c.SYNACK == 0 || c.SYNs > 1 || c.SYNACKs > 1:
		return 0
	case end == proto.Responder:
		return max(c.SYNACK-c.SYN, 0)
	case c.Ready == 0:
		return 0
	}
	return max(c.Ready-c.SYNACK, 0)
}

func (x *Exchange) version() string {
	v := x.Response.Version
	if x.HasRequest {
		v = x.Request.Version
	}
	switch v {
	case 0:
		return ""
	case 0x0101:
		return "1.1"
	case 0x0100:
		return "1.0"
	case 0x0009:
		return "0.9"
	case 0x0200:
		return "2"
	}
	return strconv.Itoa(int(v>>8)) + "." + strconv.Itoa(int(v&0xff))
}

func (v *Value) text(s string) {
	if s != "" {
		v.Kind, v.Text = Text, s
	}
}
func (v *Value) optional(s string) { v.text(s) }
func (v *Value) bytes(b []byte)    { v.Kind, v.Bytes = Text, b }
func (v *Value) int(n int64)       { v.Kind, v.Int = Int, n }
func (v *Value) time(t int64)      { v.Kind, v.Int = Time, t }
func (v *Value) float(f float64)   { v.Kind, v.Float = Float, f }
func (v *Value) ip(a packet.Addr)  { v.Kind, v.Addr = IP, a }

func (v *Value) optionalBytes(b []byte) {
	if len(b) > 0 {
		v.bytes(b)
	}
}

func (v *Value) duration(d int64) {
	if d >= 0 {
		v.Kind, v.Int = Duration, d
	}
}

func (v *Value) positive(k ValueKind, n int64) {
	if n > 0 {
		v.Kind, v.Int = k, n
	}
}

func (v *Value) nonNegative(valid bool, n int64) {
	if valid && n >= 0 {
		v.int(n)
	}
}

func (v *Value) requestInt(x *Exchange, n int64) {
	if x.HasRequest {
		v.int(n)
	}
}

func (v *Value) responseInt(x *Exchange, n int64) {
	if x.HasResponse {
		v.int(n)
	}
}

// sent gives the length of what a side sent: of its message, or of all that a flow's record counts.
func (v *Value) sent(x *Exchange, d proto.Direction) {
	switch {
	case x.Period != nil:
		v.int(int64(x.During[d].Bytes))
	case d == x.Client:
		v.requestInt(x, x.Request.Size)
	default:
		v.responseInt(x, x.Response.Size)
	}
}

func (v *Value) requestBytes(x *Exchange, s proto.Span) {
	if x.HasRequest {
		v.optionalBytes(x.Request.Bytes(s))
	}
}

func (v *Value) requestHeader(x *Exchange, name string) {
	if x.HasRequest {
		v.optionalBytes(x.Request.Field(name))
	}
}

func (v *Value) headers(has bool, m *proto.Message) {
	if has && len(m.Fields) > 0 {
		v.Kind, v.Message = Headers, m
	}
}

func (v *Value) body(b *Body) {
	if b.Bytes != nil {
		v.bytes(b.Bytes)
	}
}

func (v *Value) pid(p *Process) {
	if p != nil {
		v.positive(Int, int64(p.PID))
	}
}

// process gives one of the texts of a process.
func (v *Value) process(p *Process, text func(p *Process) string) {
	if p != nil {
		v.optional(text(p))
	}
}

// place gives one of the texts about an address.
func (v *Value) place(p *Place, text func(p *Place) string) {
	if p != nil {
		v.optional(text(p))
	}
}

// agent gives one of the texts of the user agent.
func (v *Value) agent(x *Exchange, text func(a *UserAgent) string) {
	if x.Enriched.UserAgent != nil {
		v.optional(text(x.Enriched.UserAgent))
	}
}

func (v *Value) commandLine(p *Process) {
	if p == nil {
		return
	}
	v.line = v.line[:0]
	for i, arg := range p.Args {
		if i > 0 {
			v.line = append(v.line, ' ')
		}
		v.line = append(v.line, arg...)
	}
	v.optionalBytes(v.line)
}

// mediaType gives the media type without its parameters, in lower case.
func (v *Value) mediaType(has bool, m *proto.Message) {
	if has {
		v.optionalBytes(MediaType(m))
	}
}

// MediaType returns the media type of a message without its parameters, in lower case; nil when it
// names none.
func MediaType(m *proto.Message) []byte {
	b := m.Field("content-type")
	if i := bytes.IndexByte(b, ';'); i >= 0 {
		b = b[:i]
	}
	b = bytes.TrimSpace(b)
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			return bytes.ToLower(b)
		}
	}
	return b
}

func (v *Value) anomalies(a proto.Anomalies) {
	if a == 0 {
		return
	}
	v.Kind = List
	a.Each(func(a proto.Anomaly) { v.List = append(v.List, a.String()) })
}

func (v *Value) multipart(parts []Part) {
	if len(parts) == 0 {
		return
	}
	v.Kind = List
	for i := range parts {
		v.List = append(v.List, partText(&parts[i]))
	}
}

// partText gives a part in one line: name="photo"; filename="a.jpg"; image/jpeg; 1234 bytes.
func partText(p *Part) string {
	s := "name=" + strconv.Quote(p.Name)
	if p.Filename != "" {
		s += "; filename=" + strconv.Quote(p.Filename)
	}
	if p.Type != "" {
		s += "; " + p.Type
	}
	return s + "; " + strconv.FormatInt(p.Bytes, 10) + " bytes"
}

// ParsePart reads the line that the fields of parts have, as partText writes it. What it can't read is left out.
func ParsePart(text string) (p Part) {
	quoted := func(name string) (s string) {
		rest, ok := strings.CutPrefix(text, name+"=")
		if !ok {
			return ""
		}
		q, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return ""
		}
		text = strings.TrimPrefix(rest[len(q):], "; ")
		s, _ = strconv.Unquote(q)
		return s
	}
	p.Name = quoted("name")
	p.Filename = quoted("filename")
	size := text
	if i := strings.LastIndex(text, "; "); i >= 0 {
		p.Type, size = text[:i], text[i+2:]
	}
	p.Bytes, _ = strconv.ParseInt(strings.TrimSuffix(size, " bytes"), 10, 64)
	return p
}
