package storetest

import (
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// What exchanges have beyond a request and a response: the TLS session around them, streams, messages within bodies, sessions.

var (
	serverNames = []string{"shop.example", "api.shop.example", "SHOP.example", "", "xn--bcher-kva.example"}
	suites      = []string{"TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "0xC0FF", ""}
	groups      = []string{"x25519", "secp256r1", "X25519MLKEM768", ""}
	alpns       = []string{"h2", "http/1.1", "", "\xffodd"}
	hashes      = []string{"771,4865-4866,0-23,29-23,0", "", "t13d1516h2_8daaf6152771_e5627efa2ab1", "cd08e31494f9531f560d64c695473da9"}
	reasons13   = []string{"no key for this client random", "unsupported cipher suite", "began before the capture"}
	alertNames  = []string{"close_notify", "unknown_ca", "handshake_failure", "bad: colon", ""}
	resumptions = []string{"", "", "id", "ticket", "psk"}
	subjects    = []string{"CN=shop.example", "CN=*.shop.example,O=Shop \\, Inc.", "CN=caf\xe9", ""}
	issuers     = []string{"CN=R11,O=Let's Encrypt,C=US", "CN=Shop CA", ""}
	errorNames  = []string{"CANCEL", "REFUSED_STREAM", "NO_ERROR", "0x7f", ""}
	grpcTypes   = []string{"application/grpc", "application/grpc+proto", "Application/gRPC; charset=x", "application/grpc-web+proto", "application/grpcx"}
	grpcTargets = []string{"/shop.v1.Orders/Get", "/shop.v1.Orders/Watch", "/plain", "/a/b/c?d", "noslash/x", "/"}
	grpcStates  = []string{"0", "14", "5", "16", "99", "-1", "x", "", "1234567890"}
	grpcTexts   = []string{"no%20luck", "100%", "caf%C3%A9", "plain", "%zz", ""}
	operations  = []exchange.Operation{
		{}, {}, {System: "graphql", Kind: "query", Names: []string{"Orders"}}, {System: "graphql", Kind: "mutation", Names: []string{"Buy", "Pay"}},
		{System: "jsonrpc", Kind: "call", Names: []string{"sum", "", "caf\xe9"}}, {System: "graphql", Kind: "query"},
	}
	kinds   = []string{"text", "binary", "ping", "pong", "close"}
	closing = []exchange.Closing{
		{}, {Seen: true, Code: 1000}, {Seen: true, By: proto.Responder, Code: 1011, Reason: "oops"}, {Seen: true, By: proto.Responder, Code: 1001, Reason: "caf\xe9"},
		{Seen: true}, {Seen: true, Code: 4000, Reason: "bye"},
	}
)

// tls makes a session, as it is seen from connections whose client is in that direction.
func (g *generator) tls(client proto.Direction) *proto.TLS {
	s := &proto.TLS{
		Client: client, Version: pick[uint16](&g.random, 0x0304, 0x0303, 0x0301, 0x0300, 0, 0x0002, 0x7f12), Offered: pick[uint16](&g.random, 0x0304, 0x0303, 0),
		SuiteName: pick(&g.random, suites...), GroupName: pick(&g.random, groups...), ServerName: pick(&g.random, serverNames...),
		ALPN: pick(&g.random, alpns...), JA3: pick(&g.random, hashes...), JA3S: pick(&g.random, hashes...), JA4: pick(&g.random, hashes...),
		Resumption: pick(&g.random, resumptions...), Retry: g.in(8), EarlyData: pick(&g.random, "", "", "accepted", "rejected"),
		Established: !g.in(5), Decrypted: g.in(2),
	}
	for range g.n(5) {
		s.OfferedSuites = append(s.OfferedSuites, uint16(g.n(1<<16)))
	}
	for range g.n(4) {
		s.OfferedALPN = append(s.OfferedALPN, pick(&g.random, alpns...))
	}
	for range g.n(3) * g.n(2) {
		s.Alerts = append(s.Alerts, proto.Alert{Dir: proto.Direction(g.n(2)), Fatal: g.in(2), Code: uint8(g.n(3) * 48), Name: pick(&g.random, alertNames...)})
	}
	for range g.n(4) {
		s.ServerChain = append(s.ServerChain, g.certificate())
	}
	if g.in(6) {
		s.ClientChain = append(s.ClientChain, g.certificate())
	}
	if !s.Decrypted {
		s.Reason = pick(&g.random, reasons13...)
	}
	if g.in(3) {
		s.LostRecords = g.n(9)
	}
	return s
}

// certificate makes a certificate. Their times are in seconds, as on the wire.
func (g *generator) certificate() *proto.Certificate {
	if g.in(8) {
		return &proto.Certificate{SHA256: "0BAD", Malformed: true}
	}
	c := &proto.Certificate{
		Subject: pick(&g.random, subjects...), Issuer: pick(&g.random, issuers...), SHA256: strings.Repeat(strconv.Itoa(g.n(5)), 64), Serial: pick(&g.random, "0A", "01F3", ""),
		Key: pick(&g.random, "RSA 2048", "ECDSA P-256", ""), Signature: pick(&g.random, "SHA256-RSA", "ECDSA-SHA256", ""),
	}
	day := int64(24 * time.Hour)
	begin := Begin / int64(time.Second) * int64(time.Second)
	c.NotBefore = begin - int64(g.n(400))*day
	c.NotAfter = pick(&g.random, begin+int64(g.n(90))*day, begin-day, begin+int64(time.Hour), begin+36500*day)
	for range g.n(3) {
		c.Names = append(c.Names, pick(&g.random, serverNames...))
	}
	return c
}

// carried sets what carries an exchange: its TLS session and its stream.
func (g *generator) carried(x *exchange.Exchange, c *conn) {
	if x.TLS = c.tls; x.TLS != nil && x.Index == 0 && g.in(2) {
		x.Timing.Handshake = exchange.Split{Client: g.up(1e8), Server: g.up(1e8), Network: g.up(1e8)}
	}
	if x.Protocol != "http2" {
		return
	}
	stream := uint64(x.Index)*2 + 1
	if x.HasRequest {
		x.Request.Stream, x.Request.Pushed = stream, g.in(8)
	}
	if x.HasResponse {
		x.Response.Stream = stream
	}
	if g.in(6) {
		x.Request.Stalled, x.Response.Stalled = g.up(1e9), g.up(1e10)
	}
	if g.in(6) {
		x.Abort = &proto.Abort{Stream: stream, By: proto.Direction(g.n(2)), Name: pick(&g.random, errorNames...), GoAway: g.in(3)}
	}
}

// messages sets what is known of the messages within the bodies, or of the session.
func (g *generator) messages(x *exchange.Exchange) {
	x.Operation = pick(&g.random, operations...)
	if x.Protocol == "websocket" || g.in(6) {
		for _, m := range [...]*proto.Message{&x.Request, &x.Response} {
			if n := int64(g.n(4)); n > 0 {
				m.Parts = proto.Parts{Count: n, Compressed: int64(g.n(2)), Bytes: g.up(1e6), Largest: g.up(1e4)}
			}
		}
	}
	if x.Protocol != "websocket" {
		return
	}
	x.Closing = pick(&g.random, closing...)
	if g.in(2) {
		x.Message = &exchange.SessionMessage{Dir: proto.Direction(g.n(2)), Kind: pick(&g.random, kinds...), Index: int64(g.n(100))}
	}
}

// bare makes a record of a connection that holds no messages.
func (g *generator) bare(x *exchange.Exchange, c *conn) {
	if c.tls == nil {
		c.tls = g.tls(c.client)
	}
	x.Protocol, x.TLS = "tls", c.tls
	x.Response.First = x.Start // of which the id is made
	x.Timing = exchange.UnknownTiming
	x.Timing.Duration = g.up(1e10)
	x.Timing.Total = x.Timing.Duration
	x.Completed = clock.Mark{Time: x.Start.Time + x.Timing.Duration, Packet: x.LastPacket}
}
