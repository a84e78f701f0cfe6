package storetest

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Begin is when the exchanges that Exchanges makes begin, and Span how long they go on: over a midnight in UTC.
var (
	Begin = time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC).UnixNano()
	Span  = int64(9 * time.Hour)
)

// Exchanges makes n exchanges in about the order of their start, with everything that a field can show, and much
// that is rare on the wire: without a request, without a response, with equal starts, with repeated headers, with
// bytes that aren't UTF-8. The same seed makes the same ones. Their ids differ, and those of another seed do, too.
func Exchanges(seed uint64, n int) []*exchange.Exchange {
	g := generator{random: random{seed}, step: Span / int64(max(n, 1))}
	all := make([]*exchange.Exchange, n)
	for i := range all {
		all[i] = g.exchange(i)
	}
	return all
}

type generator struct {
	random
	step  int64
	start int64
	flows []*conn
}

// conn is a connection and how many exchanges it has carried.
type conn struct {
	flow   *proto.Flow
	client proto.Direction
	tls    *proto.TLS
	next   uint32
}

var (
	addresses = []string{"10.0.0.7", "10.0.0.8", "10.1.2.3", "192.0.2.1", "198.51.100.200", "203.0.113.9"}
	longOnes  = []string{"2001:db8::7", "2001:db8:0:1::1", "::1", "2001:db8:0:1:2::3", "fe80::1"} // of IPv6
	methods   = []string{"GET", "POST", "PUT", "get", "DELETE", "OPTIONS", "HEAD", "M-SEARCH", "CONNECT", "\x80BAD"}
	hosts     = []string{"shop.example", "Shop.Example:8080", "api.shop.example", "[2001:db8::2]:8000", "", "b\xfccher.example", "10.0.0.2"}
	targets   = []string{
		"/", "/api/users?page=2", "/cart", "/api/users/17", "/api/users/18?", "/search?q=Caf%C3%A9", "/search?q=caf\xe9", "/static/app.JS",
		"http://proxied.example/a?b=c", "*", "/" + strings.Repeat("long/", 300), "/äöü?ü", "",
	}
	routes    = []string{"/", "/api/users", "/cart", "/api/users/{id}", "/search", "/static/{file}"}
	agents    = []string{"curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "Googlebot/2.1", "CURL", "\xff\xfe"}
	statuses  = []int{200, 404, 500, 304, 502, 301, 204, 401, 999, 99, 0}
	reasons   = []string{"OK", "Not Found", "", "Internal Server Error", "caf\xe9"}
	grades    = []exchange.Grade{exchange.Complete, exchange.Complete, exchange.Complete, exchange.OneSided, exchange.Aborted, exchange.Gap, exchange.Midstream, exchange.Undecryptable}
	types     = []string{"text/html; charset=utf-8", "application/json", "Text/Plain", "multipart/form-data; boundary=x", "image/png", " ", ";"}
	protocols = []string{"http", "http2", "http", "websocket"}
	processes = []*exchange.Process{
		nil, nil, {PID: 412, Name: "nginx", Args: []string{"nginx", "-c", "/etc/nginx.conf"}, Executable: "/usr/sbin/nginx", User: "www-data", Unit: "nginx.service"},
		{PID: 7, Name: "curl", Args: []string{"curl"}, User: "1000"},
		{PID: 99, Name: "app\x00\xff", Args: []string{"app", "", "a b"}, ContainerID: "c0ffee0123456789", PodUID: "6f1b", User: "root"},
		{User: "svc"}, {ContainerID: "only-a-container"}, {Args: []string{""}}, {},
	}
	places = []*exchange.Place{
		nil, {Country: "DE", Region: "Bavaria", City: "München", Location: "48.15,11.58", ASNumber: 3320, ASOrganization: "DTAG"},
		{Country: "US", ASNumber: 15169, ASOrganization: "GOOGLE"}, {Country: "FR"}, {ASNumber: 4294967295}, {},
	}
	userAgents = []*exchange.UserAgent{
		nil, {Name: "Firefox", Version: "140.0", OS: "Linux", OSVersion: "6.1", Kind: "desktop"},
		{Name: "curl", Version: "8.5.0"}, {Name: "Googlebot", Kind: "bot"}, {Name: "Safari", Device: "iPhone", OS: "iOS", OSVersion: "19", Kind: "mobile"}, {},
	}
	domains  = []string{"", "shop.example", "client-7.example", "SHOP.example"}
	services = []string{"", "checkout", "cart", "Payments \x01"}
	parts    = []exchange.Part{
		{Name: "photo", Filename: "a.jpg", Type: "image/jpeg", Bytes: 1234}, {Name: "", Bytes: 0},
		{Name: `quo"te; filename="x"`, Filename: "b; c", Type: "text/plain", Bytes: 1 << 40}, {Name: "caf\xe9", Filename: "\x00"},
	}
	fields = []struct{ name, value string }{
		{"Accept", "text/html"}, {"accept", "application/json"}, {"ACCEPT", "*/*"}, {"Cookie", "a=1; b=[redacted 15 #4f2a]"}, {"Accept-Language", "de, en;q=0.5"},
		{"X-Request-ID", "req-17"}, {"x-correlation-id", "corr-4"}, {"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{"b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"}, {"Referer", "https://shop.example/cart"}, {"X-Empty", ""}, {"X-Bytes", "caf\xe9 \xff"},
		{"X-Long", strings.Repeat("0123456789abcdef", 600)}, {"Content-Encoding", "gzip"}, {"", "no name"}, {"Bad Name ", "x"}, {"Ünïcode", "ü"}, {"Forwarded", "for=10.0.0.7"},
	}
)

// exchange makes the exchange of number i.
func (g *generator) exchange(i int) *exchange.Exchange {
	switch {
	case i == 0:
		g.start = Begin
	case g.in(4): // at the same time as the one before
	default:
		g.start = Begin + int64(i)*g.step + int64(g.n(int(g.step)))
	}
	start := g.start
	if g.in(8) { // it ended late, and is stored after later ones
		start = max(start-int64(g.n(int(time.Minute))), Begin)
	}
	c := g.conn(start)
	x := &exchange.Exchange{
		Flow: c.flow, Client: c.client, Index: c.next, Protocol: pick(&g.random, protocols...), Number: uint64(i) + 1,
		Tap:         &exchange.Tap{Name: pick(&g.random, "", "front", "back"), Label: pick(&g.random, "shop.pcap", "eth0", ""), Observer: pick(&g.random, "", "web1", "web2")},
		FirstPacket: c.flow.First.Packet + uint64(c.next)*7 + 1,
		Grade:       pick(&g.random, grades...),
	}
	if x.Tap.Label == "" {
		x.Tap.Recorded = "server"
	}
	c.next++
	x.LastPacket = x.FirstPacket + uint64(g.n(100))
	x.Start = clock.Mark{Time: start, Packet: x.FirstPacket, Offset: int64(i)}

	x.HasRequest, x.HasResponse = !g.in(10), !g.in(10)
	bare := !x.HasRequest && !x.HasResponse
	if !x.HasResponse && !bare {
		x.Grade = exchange.Unanswered
	}
	if x.Grade != exchange.Complete {
		x.Reason = pick(&g.random, "a gap of 12 bytes", "no answer", "the other side isn't in the capture")
	}
	x.RequestBody.DecodedBytes, x.ResponseBody.DecodedBytes = -1, -1
	g.timing(x)
	if x.HasRequest {
		g.message(&x.Request, &x.RequestBody, x)
		x.Request.First = x.Start
		x.Request.Last = clock.Mark{Time: start + max(x.Timing.Send, 0)}
	}
	if x.HasResponse {
		x.Response.Kind, x.Response.Dir = proto.Response, c.client.Other()
		g.message(&x.Response, &x.ResponseBody, x)
		x.Response.First = clock.Mark{Time: start, Offset: int64(i)}
		for g.in(6) {
			x.Interim = append(x.Interim, exchange.Interim{Status: 100 + g.n(4), At: clock.Mark{Time: start + int64(g.n(1e6))}})
		}
	}
	x.Completed = clock.Mark{Time: start + max(x.Timing.Duration, 0), Packet: x.LastPacket}
	if bare {
		g.bare(x, c)
	} else {
		g.carried(x, c)
		g.messages(x)
	}

	x.Stream = g.in(10)
	if g.in(6) {
		x.MissingBytes = int64(g.n(5000))
	}
	for g.in(4) {
		x.Anomalies.Set(proto.Anomaly(g.n(len(proto.AnomalyTable))))
	}
	for range g.n(3) * g.n(2) {
		x.Secrets = append(x.Secrets, strconv.FormatUint(0x1000+uint64(g.n(8)), 16))
	}
	x.Weight = pick(&g.random, uint32(0), 0, 1, 10)
	g.connection(x)
	for d := range x.During {
		if x.Recorded() { // whose packets were made up
			x.During[d].Packets = 0
		}
	}
	for d := range x.Conn.Half {
		if h := &x.Conn.Half[d]; bare { // which has all that was sent
			h.Packets, h.Bytes = x.During[d].Packets, uint64(g.up(1e9))
		}
	}
	for d := range 2 {
		x.Process[d], x.Enriched.Place[d] = pick(&g.random, processes...), pick(&g.random, places...)
		x.Enriched.Domain[d], x.Enriched.Service[d] = pick(&g.random, domains...), pick(&g.random, services...)
	}
	if x.HasRequest {
		x.Enriched.UserAgent, x.Enriched.Route = pick(&g.random, userAgents...), pick(&g.random, routes...)
	}
	if !bare && g.in(3) {
		g.other(x)
	}
	g.beside(x)
	g.blame(x)
	return x
}

// conn returns one of the last connections, or a new one.
func (g *generator) conn(start int64) *conn {
	if n := len(g.flows); n > 0 && !g.in(4) {
		return g.flows[n-1-g.n(min(n, 8))]
	}
	f := &proto.Flow{Proto: packet.ProtoTCP, First: clock.Mark{Time: start - int64(len(g.flows)), Packet: uint64(g.n(1000))}, Net: uint32(g.n(3) * g.n(2))}
	from := addresses
	if g.in(3) {
		from = longOnes
	}
	for d := range f.Addr {
		f.Addr[d] = netip.MustParseAddr(pick(&g.random, from...)).As16()
		f.Port[d] = uint16(pick(&g.random, 8000, 80, 1024+len(g.flows)%60_000, 443))
	}
	switch g.n(12) {
	case 0:
		f.Proto, f.Stream = packet.ProtoSCTP, uint16(g.n(4))
	case 1:
		f.Proto = packet.ProtoUDP
	}
	c := &conn{flow: f, client: proto.Direction(g.n(5) / 4)}
	if g.in(3) {
		c.tls = g.tls(c.client)
	}
	g.flows = append(g.flows, c)
	return c
}

func (g *generator) timing(x *exchange.Exchange) {
	t := &x.Timing
	*t = exchange.UnknownTiming
	if x.Index == 0 && g.in(2) {
		t.Idle, t.Connect = g.up(1e10), g.up(1e9)
		if g.in(2) {
			t.TLS = g.up(1e9)
		}
	}
	if x.HasRequest && x.HasResponse && !g.in(12) {
		t.Send, t.Wait, t.Receive = g.up(1e9), g.up(1e11), g.up(1e9)
		t.Duration = t.Send + t.Wait + t.Receive
		t.Total = t.Duration + max(t.Idle, 0) + max(t.Connect, 0) + max(t.TLS, 0)
		if g.in(10) {
			t.Overlap = g.up(1e9)
		}
	}
}

func (g *generator) message(m *proto.Message, b *exchange.Body, x *exchange.Exchange) {
	m.Length, m.End = -1, proto.Whole
	m.Version = pick[uint16](&g.random, 0x0101, 0x0100, 0x0200, 0x0009, 0, 0x0303)
	version := map[uint16]string{0x0101: "HTTP/1.1", 0x0100: "HTTP/1.0", 0x0200: "HTTP/2", 0: "HTTP/x", 0x0303: "HTTP/3.3"}[m.Version]
	span := func(s string) proto.Span {
		m.Raw = append(m.Raw, s...)
		return proto.Span{Off: uint32(len(m.Raw) - len(s)), Len: uint32(len(s))}
	}
	grpc, target := g.in(6), pick(&g.random, targets...)
	if grpc {
		target = pick(&g.random, grpcTargets...)
	}
	if m.Kind == proto.Request {
		m.Method = span(pick(&g.random, methods...))
		span(" ")
		m.Target = span(target)
		span(" ")
		m.Proto = span(version)
	} else {
		m.Status = pick(&g.random, statuses...)
		m.Proto = span(version)
		span(" " + strconv.Itoa(m.Status) + " ")
		m.Reason = span(pick(&g.random, reasons...))
	}
	add := func(name, value string, flags proto.FieldFlags) {
		span("\r\n")
		f := proto.Field{Name: span(name), Flags: flags}
		span(": ")
		f.Value = span(value)
		m.Fields = append(m.Fields, f)
	}
	bare := g.in(20)
	if !bare && m.Kind == proto.Request && x.Protocol == "http2" {
		for _, pseudo := range []string{":method", ":scheme", ":authority", ":path"} {
			if !g.in(8) {
				add(pseudo, pick(&g.random, "https", "shop.example:8443", "?", "", "HTTP"), pick(&g.random, 0, 0, proto.Obscure, proto.Sensitive))
			}
		}
	}
	if !bare && m.Kind == proto.Request {
		add("Host", pick(&g.random, hosts...), 0)
		add("User-Agent", pick(&g.random, agents...), 0)
	}
	if !bare {
		for range g.n(8) {
			f := pick(&g.random, fields...)
			add(f.name, f.value, 0)
		}
		if g.in(20) {
			add("X-Folded", "one\r\n  two", proto.Folded)
		}
	}

	// The framing is as it happens to be; nothing here needs it to be true.
	m.Framing = proto.Framing(g.n(int(proto.Tunnel)))
	m.BodyBytes = g.up(1e7)
	if m.Framing == proto.ByLength && !bare {
		m.Length = m.BodyBytes
		add("Content-Length", strconv.FormatInt(m.BodyBytes, 10), 0)
	}
	switch {
	case grpc:
		add("content-type", pick(&g.random, grpcTypes...), 0)
	case g.in(2) && !bare:
		add("Content-Type", pick(&g.random, types...), 0)
	}
	// gRPC says how a call ended in the trailers, or in the headers when there is nothing else.
	answered, early := grpc && m.Kind == proto.Response && !g.in(4), g.in(2)
	ended := func(where proto.FieldFlags) {
		add("grpc-status", pick(&g.random, grpcStates...), where)
		if g.in(2) {
			add("Grpc-Message", pick(&g.random, grpcTexts...), where)
		}
	}
	if answered && early {
		ended(0)
	}
	m.HeadSize = int64(len(m.Raw) + len("\r\n\r\n"))
	m.Size = m.HeadSize + m.BodyBytes
	if m.Framing == proto.Chunked && !bare {
		m.Size += 12
		for range g.n(3) {
			add("X-Checksum", strconv.Itoa(g.n(100)), proto.Trailer)
		}
	}
	if answered && !early {
		ended(proto.Trailer)
	}
	if g.in(10) {
		m.MissingBytes = int64(g.n(100))
	}
	if g.in(6) {
		b.Bytes = append([]byte{}, pick(&g.random, `{"user":"[redacted 4 #4f2a]"}`, "hello", "", "\x00\xff\xfe", strings.Repeat("body ", 2000), "a=1&b=caf%C3%A9")...)
		b.Cut = g.in(3)
		if g.in(3) {
			b.DecodedBytes = g.up(1e8)
		}
		if g.in(8) {
			b.Undecoded = "br"
		}
		for g.in(3) {
			b.Parts = append(b.Parts, pick(&g.random, parts...))
		}
	}
}

// connection sets what is known of the transport.
func (g *generator) connection(x *exchange.Exchange) {
	for d := range x.During {
		c, h := &x.During[d], &x.Conn.Half[d]
		c.Packets = uint64(g.n(200))
		if g.in(3) {
			c.Retransmits, c.OutOfOrder = uint32(g.n(5)), uint32(g.n(5))
			c.DupAcks, c.ZeroWindows = uint32(g.n(5)), uint32(g.n(2))
		}
		if g.in(2) {
			h.RTT, h.MSS = g.up(1e9), uint16(g.n(3)*730)
		}
	}
	if g.in(2) {
		c := &x.Conn
		c.SYN, c.SYNs, c.SYNACKs = x.Start.Time-int64(time.Second), uint16(1+g.n(6)/5), 1
		c.SYNACK = c.SYN + int64(g.n(3))*int64(time.Millisecond)
		if !g.in(4) {
			c.Ready = c.SYNACK + int64(g.n(3))*int64(time.Microsecond)
		}
	}
	x.Conn.Why, x.Conn.By = pick(&g.random, proto.Open, proto.Finished, proto.Reset, proto.TimedOut, proto.CaptureEnded, proto.Evicted, proto.Replaced), proto.Direction(g.n(2))
}
