package packet

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
)

// The functions of this file build frames, from the inside to the outside. Checksums are left zero.

// x decodes hexadecimal digits, spaces ignored.
func x(digits string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func concat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func u16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func u32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func eth(etherType int, payload []byte) []byte {
	return concat(x("020000000002 020000000001"), u16(etherType), payload)
}

// vlan is a tag and what follows, without the type that announces it.
func vlan(id, etherType int, payload []byte) []byte { return concat(u16(id), u16(etherType), payload) }

const (
	testSrc4, testDst4 = "192.0.2.1", "198.51.100.2"
	testSrc6, testDst6 = "2001:db8::1", "2001:db8::2"
)

func ip4(proto int, payload []byte) []byte { return ip4Fragment(proto, 0, 0x1234, payload) }

// ip4Fragment has the flags and the offset in fragment, as in the header.
func ip4Fragment(proto, fragment, id int, payload []byte) []byte {
	src, dst := netip.MustParseAddr(testSrc4).As4(), netip.MustParseAddr(testDst4).As4()
	return concat(x("45 00"), u16(20+len(payload)), u16(id), u16(fragment), []byte{64, byte(proto)}, u16(0), src[:], dst[:], payload)
}

func ip6(next int, payload []byte) []byte {
	src, dst := netip.MustParseAddr(testSrc6).As16(), netip.MustParseAddr(testDst6).As16()
	return concat(x("60000000"), u16(len(payload)), []byte{byte(next), 64}, src[:], dst[:], payload)
}

// ip6Fragment has the offset and the flag in fragment, as in the header.
func ip6Fragment(next, fragment, id int, payload []byte) []byte {
	return ip6(protoFragment, concat([]byte{byte(next), 0}, u16(fragment), u32(id), payload))
}

const (
	testSrcPort, testDstPort = 40000, 80
	testPayload              = "GET / HTTP/1.1\r\n\r\n"
)

// tcpSegment has a timestamp option.
func tcpSegment() []byte {
	return concat(u16(testSrcPort), u16(testDstPort), u32(1000), u32(2000), x("80 18 7fff 0000 0000"),
		x("0101080a 00000001 00000002"), []byte(testPayload))
}

func udp(src, dst int, payload []byte) []byte {
	return concat(u16(src), u16(dst), u16(8+len(payload)), u16(0), payload)
}

// snap is an LLC and SNAP header.
func snap(etherType int, payload []byte) []byte {
	return concat(x("aaaa03 000000"), u16(etherType), payload)
}

func little16(n int) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(n)) }
func little32(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
