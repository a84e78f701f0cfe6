package packet

import (
	"net/netip"
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
)

const testRouter4, testRouter6 = "203.0.113.9", "2001:db8::9"

// ip4Back is an IPv4 packet from the router to the source of tcpSegment, ip6Back the same of IPv6.
func ip4Back(proto int, payload []byte) []byte {
	src, dst := netip.MustParseAddr(testRouter4).As4(), netip.MustParseAddr(testSrc4).As4()
	return concat(x("45 00"), u16(20+len(payload)), u16(1), u16(0), []byte{61, byte(proto)}, u16(0), src[:], dst[:], payload)
}

func ip6Back(next int, payload []byte) []byte {
	src, dst := netip.MustParseAddr(testRouter6).As16(), netip.MustParseAddr(testSrc6).As16()
	return concat(x("60000000"), u16(len(payload)), []byte{byte(next), 61}, src[:], dst[:], payload)
}

// icmpMessage has 4 bytes behind the checksum, and what it quotes.
func icmpMessage(kind, code byte, rest, quoted []byte) []byte {
	return concat([]byte{kind, code, 0, 0}, rest, quoted)
}

func TestICMPErrors(t *testing.T) {
	none := make([]byte, 4)
	segment, datagram := tcpSegment(), udp(testSrcPort, testDstPort, []byte("hello"))
	association := concat(u16(testSrcPort), u16(testDstPort), u32(7), u32(0))
	q4, q6 := ip4(ProtoTCP, segment), ip6(ProtoTCP, segment)
	v4 := func(kind, code byte, rest, quoted []byte) []byte {
		return eth(typeIPv4, ip4Back(protoICMP, icmpMessage(kind, code, rest, quoted)))
	}
	v6 := func(kind, code byte, rest, quoted []byte) []byte {
		return eth(typeIPv6, ip6Back(protoICMPv6, icmpMessage(kind, code, rest, quoted)))
	}
	whole := ip4Back(protoICMP, icmpMessage(3, 3, none, q4))
	for _, c := range []struct {
		name  string
		frame []byte
		proto uint8 // of what is quoted; 0: the result is ICMP
		want  ICMPHeader
	}{
		{"port unreachable", v4(3, 3, none, q4[:28]), ProtoTCP, ICMPHeader{Type: 3, Code: 3}},
		{"of a datagram", v4(3, 3, none, ip4(ProtoUDP, datagram)), ProtoUDP, ICMPHeader{Type: 3, Code: 3}},
		{"of an association", v4(3, 2, none, ip4(ProtoSCTP, association)[:28]), ProtoSCTP, ICMPHeader{Type: 3, Code: 2}},
		{"fragmentation needed", v4(3, 4, x("0000 0578"), q4), ProtoTCP, ICMPHeader{Type: 3, Code: 4, MTU: 1400}},
		{"unreachable with what an old router leaves in the header", v4(3, 1, x("0000 0578"), q4), ProtoTCP, ICMPHeader{Type: 3, Code: 1}},
		{"source quench", v4(4, 0, none, q4), ProtoTCP, ICMPHeader{Type: 4}},
		{"time exceeded", v4(11, 0, none, q4), ProtoTCP, ICMPHeader{Type: 11}},
		{"parameter problem", v4(12, 0, x("14000000"), q4), ProtoTCP, ICMPHeader{Type: 12}},
		{"quoted options", v4(3, 3, none, concat(x("46"), q4[1:20], x("94040000"), segment)), ProtoTCP, ICMPHeader{Type: 3, Code: 3}},
		{"first fragment quoted", v4(11, 1, none, ip4Fragment(ProtoTCP, moreFragments, 7, segment)), ProtoTCP, ICMPHeader{Type: 11, Code: 1}},
		{"quoted length in the wrong order", v4(3, 3, none, concat(q4[:2], x("2c00"), q4[4:])), ProtoTCP, ICMPHeader{Type: 3, Code: 3}},
		{"extensions", v4(11, 0, x("00 20 0000"), concat(q4, make([]byte, 128-len(q4)), x("2000 0000 0008 0101 00001140"))), ProtoTCP, ICMPHeader{Type: 11}},
		{"a tunnel's port quoted", v4(3, 3, none, ip4(ProtoUDP, concat(udp(testSrcPort, testDstPort, nil)[:8], x("0800000000000100"), eth(typeIPv4, q4)))), ProtoUDP, ICMPHeader{Type: 3, Code: 3}},
		{"VLAN", eth(typeVLAN, vlan(7, typeIPv4, whole)), ProtoTCP, ICMPHeader{Type: 3, Code: 3}},
		{"VXLAN", eth(typeIPv4, ip4(ProtoUDP, udp(50000, 4789, concat(x("08000000 00000500"), eth(typeIPv4, whole))))), ProtoTCP, ICMPHeader{Type: 3, Code: 3}},
		{"GRE", eth(typeIPv4, ip4(protoGRE, concat(x("0000 0800"), whole))), ProtoTCP, ICMPHeader{Type: 3, Code: 3}},
		{"v6 no route", v6(1, 0, none, q6), ProtoTCP, ICMPHeader{Type: 1, V6: true}},
		{"v6 port unreachable", v6(1, 4, none, ip6(ProtoUDP, datagram)), ProtoUDP, ICMPHeader{Type: 1, Code: 4, V6: true}},
		{"v6 packet too big", v6(2, 0, u32(1280), q6), ProtoTCP, ICMPHeader{Type: 2, MTU: 1280, V6: true}},
		{"v6 time exceeded", v6(3, 0, none, q6), ProtoTCP, ICMPHeader{Type: 3, V6: true}},
		{"v6 parameter problem", v6(4, 1, u32(6), q6), ProtoTCP, ICMPHeader{Type: 4, Code: 1, V6: true}},
		{"v6 quoted extension headers", v6(1, 4, none, ip6(protoHopByHop, concat(
			x("2b 01 0104 00000000 ffffffffffffffff"), x("3c 00 0000 00000000"), x("33 00 0104 00000000"), x("2c 04 0000 00000001 00000001 000000000000000000000000"),
			x("06 00 0001 00000007"), segment))), ProtoTCP, ICMPHeader{Type: 1, Code: 4, V6: true}},

		{"echo", v4(8, 0, none, q4), 0, ICMPHeader{}},
		{"redirect", v4(5, 1, none, q4), 0, ICMPHeader{}},
		{"v6 echo", v6(128, 0, none, q6), 0, ICMPHeader{}},
		{"v6 of a type that means something else in v4", v6(11, 0, none, q6), 0, ICMPHeader{}},
		{"version 5 quoted", v4(3, 3, none, concat(x("55"), q4[1:])), 0, ICMPHeader{}},
		{"v6 version 7 quoted", v6(1, 4, none, concat(x("70"), q6[1:])), 0, ICMPHeader{}},
		{"v6 neighbour", v6(135, 0, none, q6), 0, ICMPHeader{}},
		{"7 bytes of transport", v4(3, 3, none, q4[:27]), 0, ICMPHeader{}},
		{"cut in the quoted header", v4(3, 3, none, q4[:19]), 0, ICMPHeader{}},
		{"cut in the quoted options", v4(3, 3, none, concat(x("4f"), q4[1:50])), 0, ICMPHeader{}},
		{"nothing quoted", v4(3, 3, none, nil), 0, ICMPHeader{}},
		{"cut in its own header", v4(3, 3, none[:3], nil), 0, ICMPHeader{}},
		{"another protocol quoted", v4(3, 2, none, ip4(47, segment)), 0, ICMPHeader{}},
		{"a later fragment quoted", v4(11, 1, none, ip4Fragment(ProtoTCP, 5, 7, segment)), 0, ICMPHeader{}},
		{"IPv6 quoted by ICMP", v4(3, 3, none, q6), 0, ICMPHeader{}},
		{"IPv4 quoted by ICMPv6", v6(1, 4, none, q4), 0, ICMPHeader{}},
		{"bad header length quoted", v4(3, 3, none, concat(x("44"), q4[1:])), 0, ICMPHeader{}},
		{"a length that ends before the ports", v4(3, 3, x("00 05 0000"), q4), 0, ICMPHeader{}},
		{"to another than the sender", eth(typeIPv4, ip4(protoICMP, icmpMessage(3, 3, none, q4))), 0, ICMPHeader{}},
		{"v6 later fragment quoted", v6(3, 1, none, ip6Fragment(ProtoTCP, 8, 7, segment)), 0, ICMPHeader{}},
		{"v6 cut in an extension header", v6(1, 4, none, ip6(protoHopByHop, x("06 05 0104 00000000 00000000"))), 0, ICMPHeader{}},
		{"v6 length that ends before the ports", v6(1, 0, x("05 000000"), q6), 0, ICMPHeader{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(DefaultLimits())
			var p Packet
			res := d.Decode(&p, &capture.Record{Data: c.frame, WireLen: len(c.frame), Link: 1})
			if c.proto == 0 {
				if res != ICMP {
					t.Errorf("%v of protocol %d", uint8(res), p.Proto)
				}
				return
			}
			if res != ICMPError || d.Counts()[ICMPError] != (Count{1, uint64(len(c.frame))}) {
				t.Fatalf("result %d, counts %v", res, d.Counts())
			}
			src, dst, from := testSrc4, testDst4, testRouter4
			if c.want.V6 {
				src, dst, from = testSrc6, testDst6, testRouter6
			}
			if p.Proto != c.proto || p.Src.String() != src || p.Dst.String() != dst || p.SrcPort != testSrcPort || p.DstPort != testDstPort {
				t.Errorf("quoted: protocol %d, %v:%d > %v:%d", p.Proto, p.Src, p.SrcPort, p.Dst, p.DstPort)
			}
			if c.proto == ProtoTCP && p.Seq != 1000 {
				t.Errorf("sequence number %d", p.Seq)
			}
			got := p.ICMP
			if got.From.String() != from {
				t.Errorf("from %v", got.From)
			}
			got.From = Addr{}
			if got != c.want {
				t.Errorf("header %+v, want %+v", got, c.want)
			}
			if len(p.Payload) > 0 || p.PayloadLen > 0 || p.Flags != 0 {
				t.Errorf("payload %x of %d, flags %x", p.Payload, p.PayloadLen, p.Flags)
			}
			// Its flow is that of the packet that it quotes.
			sent := Packet{Net: p.Net, Src: p.Src, Dst: p.Dst, SrcPort: testSrcPort, DstPort: testDstPort, Proto: c.proto}
			want, lo := sent.Key()
			if key, fromLo := p.Key(); key != want || fromLo != lo {
				t.Errorf("key %+v", key)
			}
		})
	}
}

// An error in fragments is decoded when it is whole.
func TestICMPErrorInFragments(t *testing.T) {
	message := icmpMessage(3, 3, make([]byte, 4), ip4(ProtoTCP, tcpSegment()))
	d := NewDecoder(DefaultLimits())
	var p Packet
	src, dst := netip.MustParseAddr(testRouter4).As4(), netip.MustParseAddr(testSrc4).As4()
	var bytes uint64
	for i, want := range []Result{Held, ICMPError} {
		piece, fragment := message[:40], moreFragments
		if i == 1 {
			piece, fragment = message[40:], 5
		}
		frame := eth(typeIPv4, concat(x("45 00"), u16(20+len(piece)), u16(9), u16(fragment), []byte{64, protoICMP}, u16(0), src[:], dst[:], piece))
		bytes += uint64(len(frame))
		if got := d.Decode(&p, &capture.Record{Data: frame, WireLen: len(frame), Link: 1}); got != want {
			t.Fatalf("fragment %d: %v", i, got)
		}
	}
	if p.DstPort != testDstPort || d.Counts()[ICMPError] != (Count{2, bytes}) {
		t.Errorf("port %d, counted %+v", p.DstPort, d.Counts()[ICMPError])
	}
}

func TestICMPKinds(t *testing.T) {
	for _, c := range []struct {
		header            ICMPHeader
		unreachable, hard bool
	}{
		{ICMPHeader{Type: 3, Code: 0}, true, false},
		{ICMPHeader{Type: 3, Code: 1}, true, false},
		{ICMPHeader{Type: 3, Code: 3}, true, true},
		{ICMPHeader{Type: 3, Code: 4}, false, false},
		{ICMPHeader{Type: 3, Code: 13}, true, true},
		{ICMPHeader{Type: 11}, false, false},
		{ICMPHeader{Type: 1, Code: 4}, false, false},
		{ICMPHeader{Type: 1, Code: 0, V6: true}, true, false},
		{ICMPHeader{Type: 1, Code: 4, V6: true}, true, true},
		{ICMPHeader{Type: 3, Code: 3, V6: true}, false, false},
		{ICMPHeader{Type: 2, V6: true}, false, false},
	} {
		if h := c.header; h.Unreachable() != c.unreachable || h.Hard() != c.hard {
			t.Errorf("%+v: unreachable %v, hard %v", h, h.Unreachable(), h.Hard())
		}
	}
}
