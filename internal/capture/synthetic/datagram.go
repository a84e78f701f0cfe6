package synthetic

import (
	"encoding/binary"
	"net/netip"
)

const (
	udpSize     = 8
	protocolUDP = 17
	// maxDatagram is the most data of a datagram: the length of an IPv4 packet has 16 bits.
	maxDatagram = 65535 - ipv4Size - udpSize
)

// Datagram appends a packet of UDP. Both addresses have to be of IPv4 or both of IPv6.
func Datagram(b *Batch, from, to netip.AddrPort, at int64, data []byte) {
	data = data[:min(len(data), maxDatagram)]
	start := len(b.Bytes)
	out := appendIP(b.Bytes, from.Addr(), to.Addr(), protocolUDP, 0, udpSize+len(data))
	datagram := len(out)
	out = binary.BigEndian.AppendUint16(out, from.Port())
	out = binary.BigEndian.AppendUint16(out, to.Port())
	out = binary.BigEndian.AppendUint16(out, uint16(udpSize+len(data)))
	out = append(out, 0, 0)
	out = append(out, data...)
	sum := fold(addresses(from.Addr()) + addresses(to.Addr()) + protocolUDP + uint64(udpSize+len(data)) + words(out[datagram:]))
	if sum == 0 {
		sum = 0xffff // 0 would say that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(out[datagram+6:], sum)
	b.Bytes = out
	b.Packets = append(b.Packets, Packet{Time: at, From: start, To: len(out)})
}
