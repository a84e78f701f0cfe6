package afpacket

import (
	"encoding/binary"
	"net/netip"
)

// handshake returns the ends of the connection that an IP packet wants to open.
func handshake(b []byte) (from, to netip.AddrPort, ok bool) {
	const (
		tcp      = 6
		syn, ack = 0x02, 0x10
	)
	if len(b) == 0 {
		return from, to, false
	}
	var protocol byte
	var source, target netip.Addr
	switch b[0] >> 4 {
	case 4:
		header := int(b[0]&15) * 4
		if header < 20 || len(b) < header || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return from, to, false
		}
		protocol = b[9]
		source, target = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		b = b[header:]
	case 6:
		if len(b) < 40 {
			return from, to, false
		}
		protocol = b[6]
		source, target = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		b = b[40:]
	}
	if protocol != tcp || len(b) < 14 || b[13]&(syn|ack) != syn {
		return from, to, false
	}
	from = netip.AddrPortFrom(source, binary.BigEndian.Uint16(b))
	to = netip.AddrPortFrom(target, binary.BigEndian.Uint16(b[2:]))
	return from, to, true
}
