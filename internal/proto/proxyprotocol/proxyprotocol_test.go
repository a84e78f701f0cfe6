package proxyprotocol

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// escape writes bytes as a script has them.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\x%02x`, s[i])
	}
	return b.String()
}

// header2 is a header of version 2.
func header2(verCmd, famProto byte, rest string) string {
	return begin2 + string([]byte{verCmd, famProto, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

func tlv(kind byte, value string) string {
	return string([]byte{kind, byte(len(value) >> 8), byte(len(value))}) + value
}

const (
	ends4 = "\xc0\x00\x02\x01" + "\xcb\x00\x71\x02" + "\x12\x67" + "\x01\xbb" // 192.0.2.1:4711 to 203.0.113.2:443
	zero8 = "\x00\x00\x00\x00\x00\x00\x00\x00"
	ends6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00" + zero8 + "\x20\x01\x0d\xb8\x00\x00\x00\x01" + zero8 + "\x12\x67\x01\xbb"
)

var cases = []prototest.Case{
	{
		Name:   "version 1",
		Script: `> PROXY TCP4 192.0.2.1 203.0.113.2 4711 443\r\n`,
		Want: `
			proxied 1 tcp 192.0.2.1:4711 203.0.113.2:443
			handover to "" at > 43 < 0`,
	},
	{
		Name:   "version 1, IPv6, and what follows in the same segment",
		Script: `> PROXY TCP6 2001:db8:: 2001:db8:0:1:: 4711 443\r\nGET / HTTP/1.1\r\n\r\n`,
		Want: `
			proxied 1 tcp [2001:db8::]:4711 [2001:db8:0:1::]:443
			handover to "" at > 47 < 0`,
	},
	{
		Name:   "version 1, unknown",
		Script: `> PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n`,
		Want: `
			proxied 1 invalid AddrPort invalid AddrPort
			handover to "" at > 59 < 0`,
	},
	{
		Name:   "version 1, malformed: not told of, but handed over",
		Script: `> PROXY TCP4 192.0.2.1 2001:db8:: 4711 443\r\n`,
		Want:   `handover to "" at > 42 < 0`,
	},
	{
		Name: "version 1, too long",
		Script: `
			> PROXY TCP4\x20
			>repeat 100 1`,
		Want: `stop`,
	},
	{
		Name:   "version 1, a bare LF",
		Script: `> PROXY TCP4 192.0.2.1 203.0.113.2 4711 443\n`,
		Want:   `stop`,
	},
	{
		Name: "the server speaks first",
		Script: `
			> PROXY TCP4 192.0.2.1 203
			< 220 hello\r\n
			> .0.113.2 4711 443\r\nEHLO\r\n`,
		Want: `
			proxied 1 tcp 192.0.2.1:4711 203.0.113.2:443
			handover to "" at > 43 < 0`,
	},
	{
		Name:   "version 2",
		Script: `> ` + escape(header2(0x21, 0x11, ends4)) + `GET`,
		Want: `
			proxied 2 tcp 192.0.2.1:4711 203.0.113.2:443
			handover to "" at > 28 < 0`,
	},
	{
		Name:   "version 2, IPv6 over UDP",
		Script: `> ` + escape(header2(0x21, 0x22, ends6)),
		Want: `
			proxied 2 udp [2001:db8::]:4711 [2001:db8:0:1::]:443
			handover to "" at > 52 < 0`,
	},
	{
		Name:   "version 2, Unix",
		Script: `> ` + escape(header2(0x21, 0x31, strings.Repeat("/a\x00\x00", 54))),
		Want: `
			proxied 2 unix invalid AddrPort invalid AddrPort
			handover to "" at > 232 < 0`,
	},
	{
		Name:   "version 2, the proxy's own",
		Script: `> ` + escape(header2(0x20, 0x11, ends4)) + `GET`,
		Want: `
			proxied 2 invalid AddrPort invalid AddrPort
			handover to "" at > 28 < 0`,
	},
	{
		Name:   "version 2, unspecified",
		Script: `> ` + escape(header2(0x21, 0x00, "")),
	},
	{
		Name:   "version 2, a family that isn't known",
		Script: `> ` + escape(header2(0x21, 0x91, "????")),
		Want: `
			proxied 2 invalid AddrPort invalid AddrPort
			handover to "" at > 20 < 0`,
	},
	{
		Name:   "version 2, shorter than its addresses",
		Script: `> ` + escape(header2(0x21, 0x11, ends4[:11])),
		Want:   `handover to "" at > 27 < 0`,
	},
	{
		Name:   "version 2, a vector longer than the header",
		Script: `> ` + escape(header2(0x21, 0x11, ends4+"\x01\x00\x09h2")),
		Want:   `handover to "" at > 33 < 0`,
	},
	{
		Name:   "version 2, a command that isn't known",
		Script: `> ` + escape(header2(0x22, 0x11, ends4)),
		Want:   `stop`,
	},
	{
		Name:   "version 2, too long",
		Script: `> ` + escape(begin2+"\x21\x11\xff\xff") + `abc`,
		Want:   `stop`,
	},
	{
		Name:   "the responder is the proxy",
		Client: proto.Responder,
		Script: `< PROXY TCP4 192.0.2.1 203.0.113.2 4711 443\r\n`,
	},
}

func TestConformance(t *testing.T) { prototest.Run(t, New, cases) }

func FuzzParser(f *testing.F) { prototest.Fuzz(f, New, cases) }

// listener keeps what it is told.
type listener struct {
	proto.Sink
	told *proto.Proxied
}

func (l *listener) Proxied(p *proto.Proxied) { l.told = p }

func hear(t *testing.T, header string) *proto.Proxied {
	t.Helper()
	held, l := 0, &listener{}
	p := New(&proto.Context{Sink: l, Limits: prototest.DefaultLimits(), Held: &held})
	if v := p.Data(proto.Originator, []byte(header+"x"), clock.Mark{}); v.Action != proto.Handover || v.Consumed != len(header) {
		t.Fatalf("%q: %+v", header, v)
	}
	return l.told
}

// withChecksum adds a checksum between other vectors.
func withChecksum(spoil uint32) string {
	before, after := tlv(typeALPN, "h2"), tlv(typeAuthority, "example.org")
	h := []byte(header2(0x21, 0x11, ends4+before+tlv(typeCRC32C, "\x00\x00\x00\x00")+after))
	at := fixed2 + len(ends4) + len(before) + 3
	binary.BigEndian.PutUint32(h[at:], crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli))^spoil)
	return string(h)
}

func TestVectors(t *testing.T) {
	client, server := netip.MustParseAddrPort("192.0.2.1:4711"), netip.MustParseAddrPort("203.0.113.2:443")
	ssl := tlv(0x20, "\x07\x00\x00\x00\x00"+tlv(0x21, "TLSv1.3")+tlv(0x22, "me")+tlv(0x23, "TLS_AES_128_GCM_SHA256"))
	for _, c := range []struct {
		name, header string
		want         *proto.Proxied
	}{
		{"all", header2(0x21, 0x11, ends4+tlv(0x01, "http/1.1")+tlv(0x02, "example.org")+tlv(0x05, "id-1")+ssl+tlv(0x30, "net")+tlv(0x04, "\x00\x00")+tlv(0xea, "\x01vpce")),
			&proto.Proxied{Version: 2, Client: client, Server: server, Transport: "tcp", ALPN: "http/1.1", Authority: "example.org", UniqueID: "id-1", TLSVersion: "TLSv1.3", CommonName: "me"}},
		{"an id that isn't text", header2(0x21, 0x11, ends4+tlv(0x05, "\x00\xffab")),
			&proto.Proxied{Version: 2, Client: client, Server: server, Transport: "tcp", UniqueID: "00ff6162"}},
		{"a right checksum", withChecksum(0),
			&proto.Proxied{Version: 2, Client: client, Server: server, Transport: "tcp", ALPN: "h2", Authority: "example.org"}},
		{"a wrong checksum", withChecksum(1), nil},
		{"the proxy's own, with a vector", header2(0x20, 0x00, tlv(0x05, "check")), &proto.Proxied{Version: 2, Local: true, UniqueID: "check"}},
		{"a short vector of TLS", header2(0x21, 0x11, ends4+tlv(0x20, "\x07\x00")), nil},
		{"a vector within that of TLS that goes too far", header2(0x21, 0x11, ends4+tlv(0x20, "\x07\x00\x00\x00\x00\x21\x00\x09TLS")), nil},
	} {
		got := hear(t, c.header)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestProbe(t *testing.T) {
	v2 := header2(0x21, 0x11, ends4)
	for _, c := range []struct {
		in   string
		want proto.Match
	}{
		{"", proto.NeedMore},
		{"P", proto.NeedMore},
		{"PROXY TC", proto.NeedMore},
		{"PROXY TCP4 ", proto.Yes},
		{"PROXY TCP6 ::1", proto.Yes},
		{"PROXY UNKNOWN\r\n", proto.Yes},
		{"PROXY / HTTP/1.1\r\n", proto.No},
		{"PROXY TCP5 ", proto.No},
		{"PROXY TCP4 1.2.3.4\n", proto.No},
		{"POST / HTTP/1.1\r\n", proto.No},
		{"\r\n", proto.NeedMore},
		{begin2, proto.NeedMore},
		{begin2 + "\x21", proto.Yes},
		{begin2 + "\x11", proto.No},
		{begin2 + "\x2f", proto.No},
		{v2, proto.Yes},
		{"\r\n\r\nGET / HTTP/1.1", proto.No},
		{"GET / HTTP/1.1", proto.No},
	} {
		if got, _ := Probe([]byte(c.in)); got != c.want {
			t.Errorf("Probe(%q) = %v, want %v", c.in, got, c.want)
		}
	}
}

// TestMidstream: whoever uploads a header would choose the client's address, if one were believed in the middle of a connection.
func TestMidstream(t *testing.T) {
	if Protocol.Resume != nil || Protocol.ResumeHinted != nil {
		t.Error("a header is believed anywhere")
	}
}
