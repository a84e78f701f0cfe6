package packet

import "encoding/binary"

// The IP protocol numbers and IPv6 extension headers that are understood, beside those of packet.go.
const (
	protoHopByHop    = 0
	protoICMP        = 1
	protoIPv4        = 4
	protoIPv6        = 41
	protoRouting     = 43
	protoFragment    = 44
	protoGRE         = 47
	protoESP         = 50
	protoAH          = 51
	protoICMPv6      = 58
	protoDestination = 60
	protoIPIP        = 94
	protoEtherIP     = 97
	protoMobility    = 135
	protoMPLS        = 137
	protoHIP         = 139
	protoShim6       = 140
	protoEthernet    = 143
)

// ipv4 decodes an IPv4 packet (RFC 791 §3.1).
//
// The total length is believed even beyond the end of the frame, since captures lose the true length
// of frames that they cut (ERSPAN, NFLOG): what is missing is then a gap. A total length of 0 is a
// segment that the network card cuts up later, so that the frame's length counts.
func (d *Decoder) ipv4(p *Packet, l layer) Result {
	const (
		more       = 0x2000
		offsetMask = 0x1FFF
	)
	b := l.b
	if len(b) < 20 {
		return l.short(20)
	}
	head := int(b[0]&0xF) * 4
	if b[0]>>4 != 4 || head < 20 {
		return Malformed
	}
	total := int(be16(b[2:]))
	if total == 0 {
		total = l.wire
	}
	if total < head {
		return Malformed
	}
	if len(b) > total {
		b = b[:total]
	}
	if len(b) < head {
		return SnapCut
	}
	p.TTL, p.IPID = b[8], be16(b[4:])
	mapIPv4(&p.Src, b[12:16])
	mapIPv4(&p.Dst, b[16:20])
	proto := b[9]
	fragment := be16(b[6:])
	l.b, l.wire = b[head:], total-head
	if fragment&(more|offsetMask) != 0 {
		f := fragmentOf{
			key: fragmentKey{
				src: p.Src, dst: p.Dst, id: uint32(p.IPID), tap: p.Tap, net: p.Net, proto: proto,
			},
			off: int(fragment&offsetMask) * 8, more: fragment&more != 0, next: proto,
		}
		whole, _, res := d.reassemble(&f, l)
		if res != Decoded {
			return res
		}
		l.b, l.wire = whole, len(whole)
	}
	return d.transport(p, proto, l)
}

// mapIPv4 sets a to the IPv4-mapped form of the address b.
func mapIPv4(a *Addr, b []byte) {
	binary.BigEndian.PutUint64(a[0:], 0)
	binary.BigEndian.PutUint64(a[8:], 0xFFFF<<32|uint64(be32(b)))
}

// ipv6 decodes an IPv6 packet (RFC 8200 §3). A payload length of 0 without a jumbo option is a
// segment that the network card cuts up later, as with IPv4.
func (d *Decoder) ipv6(p *Packet, l layer) Result {
	const head = 40
	if len(l.b) < head {
		return l.short(head)
	}
	b := l.b[:head]
	if b[0]>>4 != 6 {
		return Malformed
	}
	next, n := b[6], int(be16(b[4:]))
	p.TTL, p.IPID = b[7], 0
	p.Src, p.Dst = Addr(b[8:24]), Addr(b[24:40])
	l = l.skip(head)
	if n == 0 && next == protoHopByHop {
		n = jumboLength(l.b)
	}
	if n != 0 {
		l.b, l.wire = l.b[:min(n, len(l.b))], n
	}
	return d.extensions(p, next, l)
}

// jumboLength returns the payload length that the jumbo option of the hop-by-hop header b gives
// (RFC 2675 §2), 0 when there is none.
func jumboLength(b []byte) int {
	const (
		pad1  = 0
		jumbo = 0xC2
	)
	if len(b) < 2 {
		return 0
	}
	b = b[2:min(len(b), 8+8*int(b[1]))]
	for len(b) >= 2 {
		if b[0] == pad1 {
			b = b[1:]
			continue
		}
		if b[0] == jumbo && b[1] == 4 && len(b) >= 6 {
			return int(be32(b[2:]))
		}
		b = b[min(len(b), 2+int(b[1])):]
	}
	return 0
}

// extensions follows the chain of IPv6 extension headers (RFC 8200 §4) to the transport.
func (d *Decoder) extensions(p *Packet, next uint8, l layer) Result {
	const (
		more       = 0x0001
		offsetMask = 0xFFF8
	)
	for {
		var n int
		switch next {
		default:
			return d.transport(p, next, l)
		case protoHopByHop, protoRouting, protoDestination, protoMobility, protoHIP, protoShim6,
			protoFragment, protoAH:
			if len(l.b) < 8 {
				return l.short(8)
			}
			n = 8 + 8*int(l.b[1])
		}
		switch next {
		case protoAH:
			n = 8 + 4*int(l.b[1])
		case protoFragment:
			n = 8
			fragment := be16(l.b[2:])
			if fragment&(more|offsetMask) == 0 {
				break // a fragment of its own (RFC 6946)
			}
			if l.depth++; l.depth > d.limits.MaxDepth {
				return TooDeep
			}
			f := fragmentOf{
				key: fragmentKey{
					src: p.Src, dst: p.Dst, id: be32(l.b[4:]), tap: p.Tap, net: p.Net, proto: protoFragment,
				},
				off: int(fragment & offsetMask), more: fragment&more != 0, next: l.b[0], strict: true,
			}
			whole, first, res := d.reassemble(&f, l.skip(8))
			if res != Decoded {
				return res
			}
			next, l.b, l.wire = first, whole, len(whole)
			continue
		}
		if len(l.b) < n {
			return l.short(n)
		}
		next, l = l.b[0], l.skip(n)
	}
}

// transport decodes what an IP packet carries.
func (d *Decoder) transport(p *Packet, proto uint8, l layer) Result {
	switch proto {
	case ProtoTCP:
		return d.tcp(p, l)
	case ProtoUDP:
		return d.udp(p, l)
	case ProtoSCTP:
		return d.sctp(p, l)
	case protoICMP, protoICMPv6:
		return icmp(p, proto, l)
	case protoIPv4, protoIPIP:
		return d.etherType(p, typeIPv4, l.inner(0))
	case protoIPv6:
		return d.etherType(p, typeIPv6, l.inner(0))
	case protoMPLS:
		return d.etherType(p, typeMPLS, l.inner(0))
	case protoEthernet:
		return d.etherType(p, typeTEB, l.inner(0))
	case protoGRE:
		return d.gre(p, l)
	case protoEtherIP:
		return d.etherIP(p, l)
	case protoAH:
		return d.extensions(p, proto, l)
	case protoESP:
		return Encrypted
	}
	return OtherProto
}

// tcp decodes a TCP segment (RFC 9293 §3.1). Cut options and payload are no error.
func (d *Decoder) tcp(p *Packet, l layer) Result {
	b := l.b
	if len(b) < 20 {
		return l.short(20)
	}
	head := int(b[12]>>4) * 4
	if head < 20 || head > l.wire {
		return Malformed
	}
	p.Proto = ProtoTCP
	p.SrcPort, p.DstPort = be16(b), be16(b[2:])
	p.Seq, p.Ack = be32(b[4:]), be32(b[8:])
	p.Flags, p.Window = b[13], be16(b[14:])
	captured := min(head, len(b))
	p.Options, p.Payload, p.PayloadLen = b[20:captured], b[captured:], l.wire-head
	return Decoded
}

// udp decodes a UDP datagram (RFC 768), and the tunnels in UDP. A length of 0 means the whole packet
// (RFC 2675 §4).
func (d *Decoder) udp(p *Packet, l layer) Result {
	const head = 8
	if len(l.b) < head {
		return l.short(head)
	}
	p.Proto = ProtoUDP
	p.SrcPort, p.DstPort = be16(l.b), be16(l.b[2:])
	if n := int(be16(l.b[4:])); n != 0 {
		if n < head || n > l.wire {
			return Malformed
		}
		l = l.trim(n)
	}
	l = l.skip(head)
	p.Payload, p.PayloadLen = l.b, l.wire
	if res := d.udpTunnel(p, p.DstPort, l); res != Malformed {
		return res
	}
	if res := d.udpTunnel(p, p.SrcPort, l); res != Malformed {
		return res
	}
	return Decoded
}

// sctp decodes the common header of SCTP (RFC 9260 §3.1).
func (d *Decoder) sctp(p *Packet, l layer) Result {
	const head = 12
	if len(l.b) < head {
		return l.short(head)
	}
	p.Proto = ProtoSCTP
	p.SrcPort, p.DstPort = be16(l.b), be16(l.b[2:])
	p.Payload, p.PayloadLen = l.b[head:], l.wire-head
	return Decoded
}
