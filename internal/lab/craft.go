//go:build linux

package lab

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// TCP flags.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// segment is a TCP segment over IPv4 over Ethernet.
type segment struct {
	from, to netip.AddrPort
	seq, ack uint32
	flags    byte
	payload  []byte
}

const (
	etherLen = 14
	ipLen    = 20
	tcpLen   = 20
)

// ether appends an Ethernet header.
func ether(b []byte, to, from net.HardwareAddr, etherType uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append(b, to...), from...), etherType)
}

// ipv4 appends an IPv4 header. fragment is the field with the flags and the offset.
func ipv4(b []byte, from, to netip.Addr, protocol byte, id, fragment uint16, payload int) []byte {
	start := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(ipLen+payload))
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, fragment)
	b = append(b, 64, protocol, 0, 0)
	f, t := from.As4(), to.As4()
	b = append(append(b, f[:]...), t[:]...)
	binary.BigEndian.PutUint16(b[start+10:], ^sum(0, b[start:]))
	return b
}

// tcp appends a TCP segment with its IPv4 header, both with right checksums: a host takes it for real.
func tcp(b []byte, s *segment) []byte {
	b = ipv4(b, s.from.Addr(), s.to.Addr(), 6, uint16(s.seq), 0x4000, tcpLen+len(s.payload))
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, s.from.Port())
	b = binary.BigEndian.AppendUint16(b, s.to.Port())
	b = binary.BigEndian.AppendUint32(b, s.seq)
	b = binary.BigEndian.AppendUint32(b, s.ack)
	b = append(b, tcpLen/4<<4, s.flags, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, s.payload...)
	pseudo := uint32(6 + len(b) - start)
	f, t := s.from.Addr().As4(), s.to.Addr().As4()
	for _, a := range [][4]byte{f, t} {
		pseudo += uint32(binary.BigEndian.Uint16(a[:])) + uint32(binary.BigEndian.Uint16(a[2:]))
	}
	binary.BigEndian.PutUint16(b[start+16:], ^sum(pseudo, b[start:]))
	return b
}

// sum is the Internet checksum, not yet inverted (RFC 1071).
func sum(s uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
