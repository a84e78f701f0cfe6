package packet

import (
	"testing"

	"github.com/culprit-http/culprit/internal/capture"
)

// checkSegment checks that p is the segment of tcpSegment, of either IP version.
func checkSegment(t *testing.T, p *Packet) {
	t.Helper()
	src, dst := testSrc4, testDst4
	if p.Src.Netip().Is6() {
		src, dst = testSrc6, testDst6
	}
	if p.Src.String() != src || p.Dst.String() != dst || p.SrcPort != testSrcPort || p.DstPort != testDstPort {
		t.Errorf("%v:%d > %v:%d", p.Src, p.SrcPort, p.Dst, p.DstPort)
	}
	if p.Proto != ProtoTCP || p.Seq != 1000 || p.Ack != 2000 || p.Flags != ACK|PSH || p.Window != 0x7fff || p.TTL != 64 {
		t.Errorf("header: %+v", p)
	}
	if len(p.Options) != 12 || string(p.Payload) != testPayload || p.PayloadLen != len(testPayload) {
		t.Errorf("options %x, payload %q of %d", p.Options, p.Payload, p.PayloadLen)
	}
}

func TestEncapsulations(t *testing.T) {
	tcp := tcpSegment()
	v4, v6 := ip4(ProtoTCP, tcp), ip6(ProtoTCP, tcp)
	frame := eth(typeIPv4, v4)
	for _, c := range []struct {
		name  string
		link  capture.LinkType
		frame []byte
	}{
		{"Ethernet IPv4", 1, frame},
		{"Ethernet IPv6", 1, eth(typeIPv6, v6)},
		{"Ethernet padding", 1, concat(frame, make([]byte, 9))},
		{"IPv4 options", 1, eth(typeIPv4, concat(x("46"), v4[1:2], u16(len(v4)+4), v4[4:20], x("94040000"), tcp))},
		{"IPv4 length 0", 1, eth(typeIPv4, concat(v4[:2], u16(0), v4[4:]))},
		{"IPv6 length 0", 1, eth(typeIPv6, concat(v6[:4], u16(0), v6[6:]))},
		{"IPv6 extension headers", 1, eth(typeIPv6, ip6(protoHopByHop, concat(
			x("2b 00 0104 00000000"), x("3c 01 0000 00000000"), make([]byte, 8), x("33 00 0104 00000000"),
			x("87 04 0000 00000001 00000001 000000000000000000000000"), x("06 00 0000 00000000"), tcp)))},
		{"IPv6 atomic fragment", 1, eth(typeIPv6, ip6Fragment(ProtoTCP, 0, 7, tcp))},
		{"IPv6 jumbogram", 1, eth(typeIPv6, func() []byte {
			b := ip6(protoHopByHop, concat(x("06 00 c204"), u32(8+len(tcp)), tcp, make([]byte, 4)))
			b[4], b[5] = 0, 0
			return b
		}())},
		{"VLAN", 1, eth(typeVLAN, vlan(7, typeIPv4, v4))},
		{"QinQ", 1, eth(typeQinQ, vlan(7, typeVLAN, vlan(8, typeIPv6, v6)))},
		{"old QinQ", 1, eth(typeOldQinQ, vlan(7, typeVLAN, vlan(8, typeIPv4, v4)))},
		{"802.3 LLC SNAP", 1, eth(8+len(v4), snap(typeIPv4, v4))},
		{"802.3 LLC IP", 1, eth(3+len(v4), concat(x("060603"), v4))},
		{"802.3 in VLAN", 1, eth(typeVLAN, vlan(7, 8+len(v4), snap(typeIPv4, v4)))},
		{"MPLS", 1, eth(typeMPLS, concat(x("00010040 00020140"), v4))},
		{"MPLS IPv6", 1, eth(typeMPLS, concat(x("00020140"), v6))},
		{"MPLS pseudowire", 1, eth(typeMPLS, concat(x("00020140"), frame))},
		{"MPLS pseudowire with control word", 1, eth(typeMPLS, concat(x("00020140 00000000"), frame))},
		{"PPPoE session", 1, eth(typePPPoE, concat(x("1100 0001"), u16(2+len(v4)), x("0021"), v4, x("0000")))},
		{"MACsec in the clear", 1, eth(typeMACsec, concat(x("20 00 00000001 0200000000010001 0800"), v4, make([]byte, 16)))},
		{"provider backbone bridge", 1, eth(typePBB, concat(x("00000123"), frame))},
		{"VN-Tag", 1, eth(typeVNTag, concat(x("00000000 0800"), v4))},
		{"NSH", 1, eth(typeNSH, concat(x("0fc2 0203 00000100"), frame))},
		{"Linux cooked", 113, concat(x("0000 0001 0006 0200000000010000 0800"), v4)},
		{"Linux cooked 802.2", 113, concat(x("0000 0001 0006 0200000000010000 0004"), snap(typeIPv4, v4))},
		{"Linux cooked VLAN", 113, concat(x("0000 0001 0006 0200000000010000 8100"), vlan(5, typeIPv4, v4))},
		{"Linux cooked 2", 276, concat(x("86dd 0000 00000002 0001 00 06 0200000000010000"), v6)},
		{"raw 12", 12, v4}, {"raw 14", 14, v6}, {"raw 101", 101, v6}, {"raw IPv4", 228, v4}, {"raw IPv6", 229, v6},
		{"null little-endian", 0, concat(x("02000000"), v4)},
		{"null big-endian", 0, concat(x("00000002"), v4)},
		{"null Linux IPv6", 0, concat(x("0a000000"), v6)},
		{"null NetBSD IPv6", 0, concat(x("18000000"), v6)},
		{"null FreeBSD IPv6", 0, concat(x("1c000000"), v6)},
		{"null Darwin IPv6", 0, concat(x("1e000000"), v6)},
		{"loop", 108, concat(x("0000001e"), v6)},
		{"enc", 109, concat(x("02000000 00001234 00000000"), v4)},
		{"pflog", 117, concat(x("3d 02 0000"), make([]byte, 60), v4)},
		{"PPP", 9, concat(x("ff03 0021"), v4)},
		{"PPP without address", 9, concat(x("0057"), v6)},
		{"PPP with short protocol", 9, concat(x("21"), v4)},
		{"PPP MPLS", 9, concat(x("ff03 0281 00020140"), v4)},
		{"PPP serial", 50, concat(x("ff03 0021"), v4)},
		{"PPP serial HDLC", 50, concat(x("0f00 0800"), v4)},
		{"PPPoE", 51, concat(x("1100 0001"), u16(2+len(v4)), x("0021"), v4)},
		{"Cisco HDLC", 104, concat(x("8f00 86dd"), v6)},
		{"NFLOG", 239, concat(x("02 00 0000"), little16(5), little16(10), x("41 000000"), little16(4+len(v4)), little16(9), v4)},
		{"NFLOG big-endian", 239, concat(x("0a 00 0000"), u16(8), u16(1), x("00000000"), u16(4+len(v6)), u16(9), v6)},
		{"802.11", 105, concat(x("0801 0000"), make([]byte, 20), snap(typeIPv4, v4), x("deadbeef"))},
		{"802.11 QoS", 105, concat(x("8802 0000"), make([]byte, 20), x("0000"), snap(typeIPv4, v4))},
		{"802.11 QoS, order, four addresses", 105, concat(x("8883 0000"), make([]byte, 26), x("0000 00000000"), snap(typeIPv6, v6))},
		{"802.11 A-MSDU", 105, concat(x("8802 0000"), make([]byte, 20), x("8000"), make([]byte, 12), u16(8+len(v4)), snap(typeIPv4, v4))},
		{"radiotap", 127, concat(x("0000 0900 02000000 10"), x("0801 0000"), make([]byte, 20), snap(typeIPv4, v4), x("deadbeef"))},
		{"radiotap padded", 127, concat(x("0000 1900 030000a0 00000000 00000000 0000000000000000 20")[:25], x("8802 0000"), make([]byte, 20), x("0000 0000"), snap(typeIPv4, v4))},
		{"Prism", 119, concat(x("44000000"), little32(144), make([]byte, 136), x("0801 0000"), make([]byte, 20), snap(typeIPv4, v4))},
		{"AVS as Prism", 119, concat(x("80211001"), u32(64), make([]byte, 56), x("0801 0000"), make([]byte, 20), snap(typeIPv4, v4))},
		{"AVS", 163, concat(x("80211001"), u32(64), make([]byte, 56), x("0801 0000"), make([]byte, 20), snap(typeIPv4, v4))},

		{"IP in IP", 101, ip4(protoIPv4, v4)},
		{"IPv6 in IPv4", 101, ip4(protoIPv6, v6)},
		{"IPv4 in IPv6", 101, ip6(protoIPv4, v4)},
		{"AH in IPv4", 101, ip4(protoAH, concat(x("06 04 0000 00000001 00000001 000000000000000000000000"), tcp))},
		{"Ethernet in IPv6", 101, ip6(protoEthernet, frame)},
		{"MPLS in IP", 101, ip4(protoMPLS, concat(x("00020140"), v4))},
		{"EtherIP", 101, ip4(protoEtherIP, concat(x("3000"), frame))},
		{"GRE", 101, ip4(protoGRE, concat(x("0000 0800"), v4))},
		{"GRE with checksum, key, sequence", 101, ip4(protoGRE, concat(x("b000 86dd"), make([]byte, 12), v6))},
		{"GRE with Ethernet", 101, ip4(protoGRE, concat(x("2000 6558 00012300"), frame))},
		{"GRE with WCCP version 1", 101, ip4(protoGRE, concat(x("0000 883e"), v4))},
		{"GRE with WCCP version 2", 101, ip4(protoGRE, concat(x("0000 883e 00000000"), v4))},
		{"GRE with 802.11", 101, ip4(protoGRE, concat(x("0000 8200 0801 0000"), make([]byte, 20), snap(typeIPv4, v4)))},
		{"PPTP", 101, ip4(protoGRE, concat(x("3081 880b"), u16(4+len(v4)), x("0001 00000001 00000002 ff03 0021"), v4))},
		{"ERSPAN I", 101, ip4(protoGRE, concat(x("0000 88be"), frame))},
		{"ERSPAN II", 101, ip4(protoGRE, concat(x("1000 88be 00000001 1007000100000000"), frame))},
		{"ERSPAN III", 101, ip4(protoGRE, concat(x("1000 22eb 00000001 20070001 00000000 0000 0000"), frame))},
		{"ERSPAN III with a subheader, IP", 101, ip4(protoGRE, concat(x("1000 22eb 00000001 20070001 00000000 0000 0801"), make([]byte, 8), v4))},
		{"VXLAN", 101, ip4(ProtoUDP, udp(50000, 4789, concat(x("0800 0000 00012300"), frame)))},
		{"VXLAN on Linux's port", 101, ip4(ProtoUDP, udp(50000, 8472, concat(x("0800 0000 00012300"), frame)))},
		{"VXLAN-GPE", 101, ip4(ProtoUDP, udp(50000, 4790, concat(x("0c00 0002 00012300"), v6)))},
		{"VXLAN-GPE with NSH", 101, ip4(ProtoUDP, udp(50000, 4790, concat(x("0c00 0004 00012300 0fc2 0201 00000100"), v4)))},
		{"Geneve", 101, ip4(ProtoUDP, udp(50000, 6081, concat(x("0200 6558 00012300 0102030100000000"), frame)))},
		{"GTP-U", 101, ip4(ProtoUDP, udp(2152, 2152, concat(x("30ff"), u16(len(v4)), u32(99), v4)))},
		{"GTP-U with an extension", 101, ip4(ProtoUDP, udp(40000, 2152, concat(x("34ff"), u16(8+len(v4)), u32(99), x("00000085 01100900"), v4)))},
		{"Teredo", 101, ip4(ProtoUDP, udp(3544, 50000, v6))},
		{"Teredo with authentication and origin", 101, ip4(ProtoUDP, udp(50000, 3544, concat(x("0001 00 00 0102030405060708 00 0000 1234 01020304"), v6)))},
		{"L2TP", 101, ip4(ProtoUDP, udp(1701, 1701, concat(x("4002"), u16(12+len(v4)), x("0001 0001 ff03 0021"), v4)))},
		{"GRE in UDP", 101, ip4(ProtoUDP, udp(50000, 4754, concat(x("0000 0800"), v4)))},
		{"MPLS in UDP", 101, ip4(ProtoUDP, udp(50000, 6635, concat(x("00020140"), v4)))},
		{"VXLAN in Geneve in VLAN", 1, eth(typeVLAN, vlan(9, typeIPv4, ip4(ProtoUDP, udp(50000, 6081, concat(x("0000 6558 00000100"),
			eth(typeIPv6, ip6(ProtoUDP, udp(50000, 4789, concat(x("0800 0000 00000200"), frame)))))))))},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(DefaultLimits())
			p := Packet{Options: x("ff"), Payload: x("ff"), Seq: 1, Net: 7}
			res := d.Decode(&p, &capture.Record{Data: c.frame, WireLen: len(c.frame), Link: c.link, Time: 5, Number: 6, Tap: 2})
			if res != Decoded {
				t.Fatalf("%v, want %v", res, Decoded)
			}
			checkSegment(t, &p)
			if p.Time != 5 || p.Number != 6 || p.Tap != 2 {
				t.Errorf("time %d, number %d, tap %d", p.Time, p.Number, p.Tap)
			}
		})
	}
}

func TestResults(t *testing.T) {
	tcp := tcpSegment()
	v4 := ip4(ProtoTCP, tcp)
	frame := eth(typeIPv4, v4)
	deep := v4
	for range DefaultLimits().MaxDepth {
		deep = ip4(protoIPv4, deep)
	}
	for _, c := range []struct {
		name  string
		link  capture.LinkType
		frame []byte
		wire  int
		want  Result
	}{
		{"empty", 1, nil, 0, Malformed},
		{"Ethernet cut", 1, frame[:13], 60, SnapCut},
		{"IPv4 cut", 1, frame[:33], 60, SnapCut},
		{"IPv4 cut by one byte", 1, frame[:33], 34, SnapCut},
		{"IPv4 ends", 1, frame[:33], 33, Malformed},
		{"TCP cut", 1, frame[:53], len(frame), SnapCut},
		{"TCP ends", 101, ip4(ProtoTCP, tcp[:19]), 0, Malformed},
		{"TCP offset 4", 101, ip4(ProtoTCP, concat(tcp[:12], x("4018"), tcp[14:])), 0, Malformed},
		{"TCP offset beyond the packet", 101, ip4(ProtoTCP, concat(tcp[:12], x("f018"), tcp[14:40])), 0, Malformed},
		{"IPv4 of version 5", 1, eth(typeIPv4, concat(x("55"), v4[1:])), 0, Malformed},
		{"IPv4 header length 16", 1, eth(typeIPv4, concat(x("44"), v4[1:])), 0, Malformed},
		{"IPv4 total length 19", 1, eth(typeIPv4, concat(v4[:2], u16(19), v4[4:])), 0, Malformed},
		{"UDP length 7", 101, ip4(ProtoUDP, concat(u16(1), u16(2), u16(7), u16(0))), 0, Malformed},
		{"UDP length beyond the packet", 101, ip4(ProtoUDP, concat(u16(1), u16(2), u16(9), u16(0))), 0, Malformed},
		{"deepest", 101, deep, 0, Decoded},
		{"too deep", 101, ip4(protoIPv4, deep), 0, TooDeep},
		{"ARP", 1, eth(typeARP, make([]byte, 28)), 0, ARP},
		{"ICMP", 101, ip4(protoICMP, make([]byte, 8)), 0, ICMP},
		{"ICMPv6", 101, ip6(protoICMPv6, make([]byte, 8)), 0, ICMP},
		{"OSPF", 101, ip4(89, make([]byte, 8)), 0, OtherProto},
		{"no next header", 101, ip6(59, nil), 0, OtherProto},
		{"ESP", 101, ip4(protoESP, make([]byte, 30)), 0, Encrypted},
		{"ESP in UDP", 101, ip4(ProtoUDP, udp(4500, 4500, x("00001234 00000001"))), 0, Encrypted},
		{"IKE in UDP", 101, ip4(ProtoUDP, udp(4500, 4500, x("00000000 00000001"))), 0, Decoded},
		{"MACsec", 1, eth(typeMACsec, concat(x("2c 00 00000001 0200000000010001"), v4)), 0, Encrypted},
		{"802.11 protected", 105, concat(x("0841 0000"), make([]byte, 40)), 0, Encrypted},
		{"802.11 beacon", 105, concat(x("8000 0000"), make([]byte, 40)), 0, NonIP},
		{"802.11 null", 105, concat(x("4801 0000"), make([]byte, 20)), 0, NonIP},
		{"LLDP", 1, eth(0x88CC, make([]byte, 40)), 0, NonIP},
		{"STP", 1, eth(38, concat(x("424203"), make([]byte, 43))), 0, NonIP},
		{"type 0x05FF", 1, eth(0x05FF, make([]byte, 40)), 0, NonIP},
		{"PPP LCP", 9, x("ff03 c021 01000004"), 0, NonIP},
		{"PPTP encrypted", 101, ip4(protoGRE, x("3001 880b 0008 0001 00000001 00fd 9000 0000")), 0, Encrypted},
		{"PPTP acknowledgement", 101, ip4(protoGRE, x("2081 880b 0000 0001 00000001")), 0, OtherProto},
		{"PPPoE discovery", 1, eth(0x8863, x("1109 0000 0000")), 0, NonIP},
		{"USB", 220, make([]byte, 64), 0, UnknownLink},
		{"beyond all link types", 60000, make([]byte, 64), 0, UnknownLink},
		{"IPv4 fragment cut", 1, eth(typeIPv4, ip4Fragment(ProtoTCP, 0x2000, 1, make([]byte, 64)))[:60], 98, SnapCut},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(DefaultLimits())
			var p Packet
			if res := d.Decode(&p, &capture.Record{Data: c.frame, WireLen: c.wire, Link: c.link}); res != c.want {
				t.Errorf("%v, want %v", res, c.want)
			}
			if got, want := d.Counts()[c.want], (Count{1, uint64(len(c.frame))}); got != want {
				t.Errorf("counted %+v, want %+v", got, want)
			}
		})
	}
}

// What was cut behind the fixed headers is missing, not wrong.
func TestSnapLength(t *testing.T) {
	frame := eth(typeIPv4, ip4(ProtoTCP, tcpSegment()))
	const fixed, head = 14 + 20 + 20, 14 + 20 + 32
	for n := fixed; n <= len(frame); n++ {
		// A capture that has lost the length on the wire is told by IP's total length.
		for _, wire := range []int{len(frame), n} {
			d := NewDecoder(DefaultLimits())
			var p Packet
			if res := d.Decode(&p, &capture.Record{Data: frame[:n], WireLen: wire, Link: 1}); res != Decoded {
				t.Fatalf("%d bytes: %v", n, res)
			}
			if len(p.Options) != min(12, n-fixed) || len(p.Payload) != max(0, n-head) || p.PayloadLen != len(testPayload) {
				t.Errorf("%d bytes: %d of options, %d of payload, %d on the wire", n, len(p.Options), len(p.Payload), p.PayloadLen)
			}
		}
	}
}

// A port is no proof of a tunnel.
func TestTunnelPortsCarryPlainUDP(t *testing.T) {
	text := []byte("\x00no tunnel at all, this is \xff text")
	for _, port := range []int{4789, 8472, 4790, 6081, 2152, 3544, 1701, 4754, 6635} {
		for _, payload := range [][]byte{text, text[:3], nil} {
			d := NewDecoder(DefaultLimits())
			var p Packet
			b := ip4(ProtoUDP, udp(1234, port, payload))
			res := d.Decode(&p, &capture.Record{Data: b, WireLen: len(b), Link: 101})
			if res != Decoded || p.Proto != ProtoUDP || int(p.DstPort) != port || p.Net != 0 ||
				p.Src.String() != testSrc4 || string(p.Payload) != string(payload) {
				t.Errorf("port %d: %v %+v", port, res, p)
			}
		}
	}
}

func TestNet(t *testing.T) {
	v4 := ip4(ProtoTCP, tcpSegment())
	frame := eth(typeIPv4, v4)
	vxlan := func(vni int) []byte {
		return eth(typeIPv4, ip4(ProtoUDP, udp(50000, 4789, concat(x("08000000"), u32(vni<<8), frame))))
	}
	geneve := func(vni int) []byte {
		return eth(typeIPv4, ip4(ProtoUDP, udp(50000, 6081, concat(x("00006558"), u32(vni<<8), frame))))
	}
	seen := map[uint32]string{}
	for _, c := range []struct {
		name  string
		frame []byte
		like  string
	}{
		{"plain", frame, ""},
		{"priority only", eth(typeVLAN, vlan(0xe000, typeIPv4, v4)), "plain"},
		{"GRE key", eth(typeIPv4, ip4(protoGRE, concat(x("2000 0800 00000007"), v4))), "plain"},
		{"VLAN 7", eth(typeVLAN, vlan(7, typeIPv4, v4)), ""},
		{"VLAN 7, other priority", eth(typeVLAN, vlan(0xf007, typeIPv4, v4)), "VLAN 7"},
		{"VLAN 8", eth(typeVLAN, vlan(8, typeIPv4, v4)), ""},
		{"VLAN 7 in 8", eth(typeQinQ, vlan(8, typeVLAN, vlan(7, typeIPv4, v4))), ""},
		{"VLAN 8 in 7", eth(typeQinQ, vlan(7, typeVLAN, vlan(8, typeIPv4, v4))), ""},
		{"VXLAN 7", vxlan(7), ""},
		{"VXLAN 8", vxlan(8), ""},
		{"Geneve 7", geneve(7), ""},
	} {
		d := NewDecoder(DefaultLimits())
		var p Packet
		if res := d.Decode(&p, &capture.Record{Data: c.frame, WireLen: len(c.frame), Link: 1}); res != Decoded {
			t.Fatalf("%s: %v", c.name, res)
		}
		if seen[p.Net] != c.like {
			t.Errorf("%s: network like %q, want %q", c.name, seen[p.Net], c.like)
		}
		if c.like == "" {
			seen[p.Net] = c.name
		}
		if (p.Net == 0) != (seen[p.Net] == "plain") {
			t.Errorf("%s: network %d", c.name, p.Net)
		}
	}
}

func TestUDPAndSCTP(t *testing.T) {
	d := NewDecoder(DefaultLimits())
	var p Packet
	b := ip6(ProtoSCTP, concat(u16(5000), u16(80), u32(1), u32(2), []byte("chunks")))
	res := d.Decode(&p, &capture.Record{Data: b, WireLen: len(b), Link: 101})
	if res != Decoded || p.Proto != ProtoSCTP || p.SrcPort != 5000 || p.DstPort != 80 || string(p.Payload) != "chunks" || p.PayloadLen != 6 {
		t.Errorf("SCTP: %v %+v", res, p)
	}
	b = ip4(ProtoUDP, concat(udp(53, 5353, []byte("datagram")), []byte("padding")))
	res = d.Decode(&p, &capture.Record{Data: b, WireLen: len(b), Link: 101})
	if res != Decoded || p.Proto != ProtoUDP || string(p.Payload) != "datagram" || p.PayloadLen != 8 || p.Seq != 0 {
		t.Errorf("UDP: %v %+v", res, p)
	}
}

func TestAggregateCountsWhatItLeavesOut(t *testing.T) {
	sub := func(b []byte) []byte { return concat(make([]byte, 12), u16(8+len(b)), snap(typeIPv4, b)) }
	v4 := ip4(ProtoTCP, tcpSegment())
	first := sub(v4)
	b := concat(x("8802 0000"), make([]byte, 20), x("8000"), first, make([]byte, -len(first)&3), sub(v4))
	d := NewDecoder(DefaultLimits())
	var p Packet
	if res := d.Decode(&p, &capture.Record{Data: b, WireLen: len(b), Link: 105}); res != Decoded || d.Aggregated() != 1 {
		t.Errorf("%v, %d left out", res, d.Aggregated())
	}
	checkSegment(t, &p)
}

func TestNoAllocation(t *testing.T) {
	frame := eth(typeVLAN, vlan(7, typeIPv4, ip4(ProtoUDP, udp(50000, 4789, concat(x("08000000 00000700"), eth(typeIPv6, ip6(ProtoTCP, tcpSegment())))))))
	d := NewDecoder(DefaultLimits())
	var p Packet
	r := capture.Record{Data: frame, WireLen: len(frame), Link: 1}
	if n := testing.AllocsPerRun(100, func() { d.Decode(&p, &r) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	v4 := ip4(ProtoTCP, tcpSegment())
	frame := eth(typeIPv4, v4)
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"ethernet-ipv4-tcp", frame},
		{"ethernet-ipv6-tcp", eth(typeIPv6, ip6(ProtoTCP, tcpSegment()))},
		{"vlan-ipv4-tcp", eth(typeVLAN, vlan(7, typeIPv4, v4))},
		{"vxlan", eth(typeIPv4, ip4(ProtoUDP, udp(50000, 4789, concat(x("08000000 00000700"), frame))))},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := NewDecoder(DefaultLimits())
			var p Packet
			r := capture.Record{Data: c.frame, WireLen: len(c.frame), Link: 1}
			b.ReportAllocs()
			for b.Loop() {
				d.Decode(&p, &r)
			}
		})
	}
}

func TestTeredoBetweenPeers(t *testing.T) {
	v6 := ip6(ProtoTCP, tcpSegment())
	copy(v6[8:], []byte{0x20, 0x01, 0, 0})
	frame := ip4(ProtoUDP, udp(50000, 50001, v6))
	var p Packet
	d := NewDecoder(DefaultLimits())
	if got := d.Decode(&p, &capture.Record{Data: frame, Link: 101}); got != Decoded || p.Proto != ProtoTCP {
		t.Errorf("with the Teredo prefix: %v, protocol %d; want TCP", got, p.Proto)
	}
	v6[9] = 0x02
	if got := d.Decode(&p, &capture.Record{Data: ip4(ProtoUDP, udp(50000, 50001, v6)), Link: 101}); got != Decoded || p.Proto != ProtoUDP {
		t.Errorf("with another prefix: %v, protocol %d; want UDP", got, p.Proto)
	}
}
