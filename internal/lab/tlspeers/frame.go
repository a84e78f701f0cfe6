//go:build linux

package tlspeers

import (
	"encoding/binary"
	"net/netip"
)

// The frames of a Wire are IPv4 packets without a link layer.
const (
	linkRaw  = 101
	protoTCP = 6
	ipv4Len  = 20
	tcpLen   = 20
	window   = 0xffff
)

// The flags of a TCP header (RFC 9293 §3.1).
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// pcapHeader is that of a pcap file with nanoseconds.
func pcapHeader() (b []byte) {
	for _, v := range []uint32{0xa1b23c4d, 4<<16 | 2, 0, 0, 0xffff, linkRaw} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// appendRecord appends a packet seen at t, in nanoseconds since 1970.
func appendRecord(b []byte, t int64, packet []byte) []byte {
	n := uint32(len(packet))
	for _, v := range []uint32{uint32(t / 1e9), uint32(t % 1e9), n, n} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return append(b, packet...)
}

// segment returns an IPv4 packet with a TCP segment.
func segment(src, dst netip.AddrPort, seq, ack uint32, flags uint8, payload []byte) []byte {
	b := make([]byte, 0, ipv4Len+tcpLen+len(payload))
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(ipv4Len+tcpLen+len(payload)))
	b = append(b, 0, 0, 0x40, 0, 64, protoTCP, 0, 0) // don't fragment; TTL 64
	b = append(b, src.Addr().AsSlice()...)
	b = append(b, dst.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(b))

	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, tcpLen/4<<4, flags)
	b = binary.BigEndian.AppendUint16(b, window)
	b = append(b, 0, 0, 0, 0)
	b = append(b, payload...)
	pseudo := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, protoTCP)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(tcpLen+len(payload)))
	binary.BigEndian.PutUint16(b[ipv4Len+16:], checksum(pseudo, b[ipv4Len:]))
	return b
}

// checksum is the Internet's (RFC 1071). All parts but the last are of even length.
func checksum(parts ...[]byte) uint16 {
	s := uint32(0)
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			s += uint32(binary.BigEndian.Uint16(b))
			s = s>>16 + s&0xffff
		}
		if len(b) == 1 {
			s += uint32(b[0]) << 8
		}
	}
	return ^uint16(s>>16 + s&0xffff)
}
