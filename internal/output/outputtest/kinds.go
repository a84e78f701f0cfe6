package outputtest

import (
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// TLS13 are the facts of a session that was read: TLS 1.3, with a certificate that is valid for 63 days more.
func TLS13() *proto.TLS {
	day := int64(24 * time.Hour)
	return &proto.TLS{
		Client: proto.Originator, Version: 0x0304, Offered: 0x0304, Suite: 0x1301, SuiteName: "TLS_AES_128_GCM_SHA256", Group: 29, GroupName: "x25519",
		OfferedSuites: []uint16{0x1301, 0x1302}, ServerName: "shop.example", ALPN: "h2", OfferedALPN: []string{"h2", "http/1.1"},
		JA3: "0123456789abcdef0123456789abcdef", JA3S: "fedcba9876543210fedcba9876543210", JA4: "t13d1516h2_8daaf6152771_b0da82dd1658",
		Established: true, Decrypted: true, Hello: clock.Mark{Time: start - 9e6, Packet: 79}, Finished: start - 1e6,
		ServerChain: []*proto.Certificate{{
			Subject: "CN=shop.example", Issuer: "CN=Example CA,O=Example", CommonName: "shop.example", IssuerName: "Example CA",
			Names: []string{"shop.example", "*.shop.example"}, NotBefore: start - 30*day, NotAfter: start + 63*day + 1, SHA256: strings.Repeat("AB", 32), Key: "ECDSA P-256",
		}},
	}
}

// HTTP2 makes what Exchange does of an HTTP/2 stream: its texts have pseudo-headers, and no start line.
func HTTP2(request, response string) *exchange.Exchange {
	x := Exchange("", "")
	x.Protocol = "http2"
	head := func(m *proto.Message, b *exchange.Body, text string) {
		parse(m, b, text)
		m.Version, m.Stream = 0x0200, 5
		m.Fields, m.Raw, m.Status = nil, nil, 0
		span := func(s string) proto.Span {
			m.Raw = append(m.Raw, s...)
			return proto.Span{Off: uint32(len(m.Raw) - len(s)), Len: uint32(len(s))}
		}
		m.Method, m.Target, m.Reason = proto.Span{}, proto.Span{}, proto.Span{}
		lines, _, _ := strings.Cut(text, "\n\n")
		for line := range strings.Lines(lines) {
			at := 1 + strings.IndexByte(line[1:], ':')
			f := proto.Field{Name: span(line[:at]), Value: span(strings.TrimSpace(line[at+1:]))}
			if trailer, ok := strings.CutPrefix(line[:at], "trailer "); ok {
				f.Flags, f.Name = proto.Trailer, span(trailer)
			}
			m.Fields = append(m.Fields, f)
			switch line[:at] {
			case ":method":
				m.Method = f.Value
			case ":path":
				m.Target = f.Value
			case ":status":
				for _, c := range m.Bytes(f.Value) {
					m.Status = m.Status*10 + int(c-'0')
				}
			}
		}
		m.Proto = span("HTTP/2")
	}
	if x.HasRequest = request != ""; x.HasRequest {
		head(&x.Request, &x.RequestBody, request)
		x.Request.First, x.Request.Last = x.Start, clock.Mark{Time: start + x.Timing.Send, Packet: 82}
	}
	if x.HasResponse = response != ""; x.HasResponse {
		x.Response.Kind, x.Response.Dir = proto.Response, proto.Responder
		head(&x.Response, &x.ResponseBody, response)
		x.Response.First = clock.Mark{Time: start + x.Timing.Send + x.Timing.Wait, Packet: 96}
		x.Response.Last = clock.Mark{Time: start + x.Timing.Duration, Packet: 97}
	}
	return x
}

// TLSRecord makes the record of a TLS session that wasn't read.
func TLSRecord() *exchange.Exchange {
	x := Exchange("", "")
	x.Protocol, x.Stream = "tls", true
	x.Flow = Flow("10.0.0.7:51022", "10.0.0.2:443")
	x.TLS = TLS13()
	x.TLS.Decrypted, x.TLS.Reason, x.TLS.ServerChain = false, "no keys were given", nil
	x.Grade, x.Reason = exchange.Undecryptable, x.TLS.Reason
	x.Conn.Half[0].Bytes, x.Conn.Half[1].Bytes = 1_200, 34_000
	x.Timing = exchange.UnknownTiming
	x.Timing.Connect, x.Timing.TLS, x.Timing.Duration = 300_000, 8_000_000, 2_500_000_000
	x.Timing.Handshake = exchange.Split{Client: 1_000_000, Server: 3_000_000, Network: 4_000_000}
	return x
}

const upgrade = "GET /chat?room=7 HTTP/1.1\nHost: shop.example\nUpgrade: websocket\n\n"

// Session makes the record of a WebSocket, on which the client said 3 messages and the server 40, until the server broke it off.
func Session() *exchange.Exchange {
	x := Exchange(upgrade, "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\n")
	x.Protocol, x.Stream = "websocket", true
	for _, m := range [...]*proto.Message{&x.Request, &x.Response} {
		m.HeadSize, m.Size = 0, 0
	}
	x.Request.BodyBytes, x.Request.Parts = 300, proto.Parts{Count: 3, Bytes: 300, Largest: 200}
	x.Response.BodyBytes, x.Response.Parts = 81_920, proto.Parts{Count: 40, Bytes: 81_920, Largest: 4_096, Compressed: 40}
	x.Closing = exchange.Closing{Seen: true, By: proto.Responder, Code: 1011, Reason: "out of memory"}
	return x
}

// SessionMessage makes the record of one message of a WebSocket.
func SessionMessage(from proto.Direction, kind, text string) *exchange.Exchange {
	x := Exchange(upgrade, "")
	x.Protocol, x.Stream = "websocket", true
	x.Message = &exchange.SessionMessage{Dir: from, Kind: kind, Index: 2}
	x.Timing = exchange.UnknownTiming
	x.Timing.Duration = 400_000
	m, b := &x.Request, &x.RequestBody
	if from == proto.Responder {
		m, b = &x.Response, &x.ResponseBody
		x.HasResponse = true
		m.Raw = []byte(kind)
		m.Method.Len, m.Dir, m.Length = uint32(len(kind)), from, -1
	}
	m.Kind, m.HeadSize, m.End = proto.Event, 0, proto.Whole
	m.BodyBytes, b.Bytes, b.DecodedBytes = int64(len(text)), []byte(text), int64(len(text))
	return x
}
