package pcapfilter

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/culprit-http/culprit/internal/capture"
)

// A sample is a packet as captured, and its length on the wire.
type sample struct {
	data []byte
	wire int
}

// samples returns plausible packets of a link type, always the same: IPv4 with options and fragments,
// IPv6 with extension headers, ARP, VLAN tags, MPLS labels, PPPoE, and a quarter of them cut short.
// Their addresses, ports and labels are those that the expressions of the tests ask for.
func samples(link capture.LinkType, n int) []sample {
	g := generator{rand.New(rand.NewPCG(uint64(link), 7))}
	list := make([]sample, n)
	for i := range list {
		data := g.frame(link)
		list[i] = sample{data, len(data)}
		switch g.IntN(8) {
		case 0:
			list[i].data = data[:g.IntN(len(data)+1)]
		case 1: // within the headers, where a cut matters
			list[i].data = data[:min(len(data), g.IntN(64))]
		}
	}
	return list
}

type generator struct{ *rand.Rand }

func pick[T any](g generator, list ...T) T { return list[g.IntN(len(list))] }

func be16(b []byte, v ...uint16) []byte {
	for _, v := range v {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

func be32(b []byte, v ...uint32) []byte {
	for _, v := range v {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// frame makes a packet with its link header.
func (g generator) frame(link capture.LinkType) []byte {
	etherType, payload := g.network()
	switch link {
	case 0, 108:
		family := map[uint16]uint32{etherIP: 2, etherIP6: pick(g, familiesIP6[:]...)}[etherType]
		if link == 0 {
			return append(binary.LittleEndian.AppendUint32(nil, family), payload...)
		}
		return append(be32(nil, family), payload...)
	case 12, 14, 101, 228, 229:
		return payload
	}
	etherType, payload = g.encapsulate(etherType, payload)
	var b []byte
	switch link {
	case 113:
		b = be16(b, pick[uint16](g, 0, 1, 2, 3, 4, 4), 1, 6)
		b = append(b, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0)
		b = be16(b, etherType)
	case 276:
		b = be16(b, etherType, 0)
		b = be32(b, pick[uint32](g, 1, 2, 3, 3))
		b = append(be16(b, 1), pick[byte](g, 0, 1, 3, 4, 4), 6, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0)
	default:
		b = append(b, g.mac()...)
		b = append(b, g.mac()...)
		b = be16(b, etherType)
	}
	return append(b, payload...)
}

func (g generator) mac() []byte {
	return pick(g, []byte{0, 0x11, 0x22, 0x33, 0x44, 0x55}, []byte{0, 0x11, 0x22, 0x33, 0x44, 0x66}, []byte{2, 0, 0, 0, 0, 1},
		[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []byte{1, 0, 0x5e, 0, 0, 1})
}

// encapsulate puts tags, labels and sessions around a network packet.
func (g generator) encapsulate(etherType uint16, payload []byte) (uint16, []byte) {
	if etherType != etherIP && etherType != etherIP6 && g.IntN(2) == 0 {
		return etherType, payload
	}
	if g.IntN(6) == 0 { // labels right around IP
		etherType, payload = etherMPLS, g.labels(payload)
	}
	if g.IntN(6) == 0 { // PPPoE
		b := be16([]byte{0x11, 0}, pick[uint16](g, 5, 0x1234, 9), uint16(len(payload)+2))
		if t, ok := pppTypes[uint32(etherType)]; ok {
			etherType = uint16(t)
		}
		payload = append(be16(b, etherType), payload...)
		etherType = pick[uint16](g, etherPPPoS, etherPPPoS, etherPPPoS, etherPPPoD)
	}
	for g.IntN(3) == 0 {
		payload = append(be16(nil, uint16(g.IntN(8))<<13|pick[uint16](g, 5, 7, 100, 0), etherType), payload...)
		etherType = pick[uint16](g, etherVLAN, etherQinQ, etherQinQ9)
	}
	return etherType, payload
}

func (g generator) labels(payload []byte) []byte {
	var b []byte
	for last := false; !last; {
		last = g.IntN(2) == 0
		label := pick[uint32](g, 3, 1000, 7, 1048575)<<12 | 64
		if last && g.IntN(8) != 0 {
			label |= 1 << 8
		}
		b = be32(b, label)
	}
	return append(b, payload...)
}

func (g generator) network() (etherType uint16, b []byte) {
	switch n := g.IntN(20); {
	case n < 11:
		return etherIP, g.ip4()
	case n < 17:
		return etherIP6, g.ip6()
	case n < 19:
		b = append(be16(nil, 1, etherIP), 6, 4)
		b = append(be16(b, pick[uint16](g, 1, 2, 3)), g.mac()...)
		b = append(be32(b, g.addr4()), g.mac()...)
		return pick[uint16](g, etherARP, etherARP, etherRARP), be32(b, g.addr4())
	}
	return pick[uint16](g, 0x88cc, 0x0026, etherPPPoD, 0x0006), g.bytes(g.IntN(60))
}

func (g generator) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g generator) addr4() uint32 {
	return pick[uint32](g, 0x0a010203, 0x0a010203, 0x0a010204, 0xc0a80101, 0x08080808, 0x0a020203, 0xe0000001, 0xffffffff, 0)
}

func (g generator) addr6() []byte {
	b := make([]byte, 16)
	switch g.IntN(5) {
	case 0: // 2001:db8::1
		copy(b, "\x20\x01\x0d\xb8")
		b[15] = 1
	case 1: // 2001:db8:1::5
		copy(b, "\x20\x01\x0d\xb8\x00\x01")
		b[15] = 5
	case 2: // fe80::1
		copy(b, "\xfe\x80")
		b[15] = 1
	case 3: // ff02::1
		copy(b, "\xff\x02")
		b[15] = 1
	}
	return b
}

func (g generator) ip4() []byte {
	number := pick[byte](g, 6, 6, 6, 17, 17, 132, 1, 2, 9, 103, 112, 50, 51, 41)
	options := g.bytes(4 * pick(g, 0, 0, 0, 1, 3, 10))
	payload := g.transport(number)
	length := 20 + len(options) + len(payload)
	b := be16([]byte{0x40 | byte(5+len(options)/4), 0}, uint16(length), uint16(g.Uint32()),
		pick[uint16](g, 0, 0, 0x4000, 0x4000, 0x2000, 0x2001, 0x0005, 0x1fff))
	b = be16(append(b, pick[byte](g, 1, 60, 64, 255), number), 0)
	b = be32(b, g.addr4(), g.addr4())
	return append(append(b, options...), payload...)
}

func (g generator) ip6() []byte {
	number := pick[byte](g, 6, 6, 6, 17, 17, 132, 58, 58, 103, 50, 51, 59)
	payload := g.transport(number)
	switch g.IntN(6) {
	case 0:
		payload = append(be32([]byte{number, 0}, 0)[:2], payload...)
		payload = append([]byte{number, 0, 0, pick[byte](g, 0, 1, 8), 0, 0, 0, 1}, payload...)
		number = protoFragment
	case 1:
		payload = append([]byte{number, 0, 1, 4, 0, 0, 0, 0}, payload...)
		number = 0 // hop-by-hop options
	}
	b := append([]byte{0x60, 0, 0, 0}, be16(nil, uint16(len(payload)))...)
	b = append(b, number, pick[byte](g, 1, 64, 255))
	b = append(append(b, g.addr6()...), g.addr6()...)
	return append(b, payload...)
}

func (g generator) port() uint16 {
	return pick[uint16](g, 80, 80, 80, 443, 8000, 8080, 53, 22, 1023, 40000, 0, 65535)
}

func (g generator) transport(number byte) []byte {
	body := g.bytes(g.IntN(80))
	switch number {
	case 6:
		options := g.bytes(4 * pick(g, 0, 0, 3, 5))
		b := be32(be16(nil, g.port(), g.port()), g.Uint32(), g.Uint32())
		b = append(b, byte(5+len(options)/4)<<4, pick[byte](g, 0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0xc2))
		b = append(be16(b, 1024, 0, 0), options...)
		return append(append(b, pick(g, "", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n")...), body...)
	case 17, 132:
		return append(be16(nil, g.port(), g.port(), uint16(8+len(body)), 0), body...)
	case 1:
		return append([]byte{pick[byte](g, 0, 3, 8, 11), pick[byte](g, 0, 1)}, body...)
	case 58:
		return append([]byte{pick[byte](g, 1, 128, 129, 135), pick[byte](g, 0, 1)}, body...)
	case 2:
		return append([]byte{pick[byte](g, 0x11, 0x16)}, body...)
	case 103:
		return append([]byte{0x20}, body...)
	case 112:
		return append([]byte{0x21}, body...)
	}
	return body
}
