package synth

import (
	"encoding/binary"
	"net/netip"
)

const (
	protoTCP = 6
	protoUDP = 17

	ethernetLen = 14
	ipv4Len     = 20
	ipv6Len     = 40
	udpLen      = 8
	tcpLen      = 20

	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86DD
)

// appendMAC appends a locally administered address that stands for an IP address.
func appendMAC(b []byte, a netip.Addr) []byte {
	raw := a.As16()
	return append(append(b, 2, 0), raw[12:]...)
}

// appendHeaders appends the link and IP headers before a transport segment of n bytes.
func appendHeaders(b []byte, link uint32, src, dst netip.Addr, proto uint8, id uint16, n int) []byte {
	if link == LinkEthernet {
		b = appendMAC(b, dst)
		b = appendMAC(b, src)
		if src.Is4() {
			b = binary.BigEndian.AppendUint16(b, etherTypeIPv4)
		} else {
			b = binary.BigEndian.AppendUint16(b, etherTypeIPv6)
		}
	}
	if src.Is4() {
		at := len(b)
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(ipv4Len+n))
		b = binary.BigEndian.AppendUint16(b, id)
		b = append(b, 0x40, 0, 64, proto, 0, 0) // don't fragment; TTL 64
		b = append(b, src.AsSlice()...)
		b = append(b, dst.AsSlice()...)
		binary.BigEndian.PutUint16(b[at+10:], fold(sum(b[at:])))
		return b
	}
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, proto, 64)
	b = append(b, src.AsSlice()...)
	return append(b, dst.AsSlice()...)
}

// putChecksum computes the checksum of a transport segment, with its pseudo-header (RFC 9293 §3.1,
// RFC 8200 §8.1), and puts it at position at of the segment, where there must be zeros.
func putChecksum(segment []byte, at int, src, dst netip.Addr, proto uint8) {
	s := sum(segment) + sum(src.AsSlice()) + sum(dst.AsSlice()) + uint64(proto) + uint64(len(segment))
	binary.BigEndian.PutUint16(segment[at:], fold(s))
}

// sum adds up 16-bit words in one's complement (RFC 1071), unfolded.
func sum(b []byte) (s uint64) {
	for len(b) >= 8 {
		w := binary.BigEndian.Uint64(b)
		s += w>>32 + w&0xffffffff
		b = b[8:]
	}
	for len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func appendUDP(b []byte, link uint32, src, dst netip.AddrPort, payload []byte) []byte {
	n := udpLen + len(payload)
	b = appendHeaders(b, link, src.Addr(), dst.Addr(), protoUDP, 0, n)
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, 0, 0)
	b = append(b, payload...)
	putChecksum(b[at:], 6, src.Addr(), dst.Addr(), protoUDP)
	return b
}

// appendARP appends an ARP request (RFC 826) in Ethernet.
func appendARP(b []byte, src, dst netip.Addr) []byte {
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b = appendMAC(b, src)
	b = binary.BigEndian.AppendUint16(b, etherTypeARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, request
	b = appendMAC(b, src)
	b = append(b, src.AsSlice()...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, dst.AsSlice()...)
}
