package packet

// gre decodes GRE: version 0 (RFC 2784, RFC 2890) and the version 1 of PPTP (RFC 2637 §4.1).
func (d *Decoder) gre(p *Packet, l layer) Result {
	const (
		checksum, routing, key, sequence, ack = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
		version                               = 0x0007
	)
	if len(l.b) < 4 {
		return l.short(4)
	}
	flags, t := be16(l.b), be16(l.b[2:])
	v := flags & version
	if v > 1 || flags&routing != 0 {
		return OtherProto
	}
	n := 4
	for _, f := range [...]uint16{checksum, key, sequence, ack} {
		if flags&f != 0 && (f != ack || v == 1) {
			n += 4
		}
	}
	if len(l.b) < n {
		return l.short(n)
	}
	if l.wire == n {
		return OtherProto // PPTP's acknowledgements, and keep-alives
	}
	l = l.inner(n)
	switch {
	case t == typeERSPAN && flags&sequence != 0:
		return d.erspan(p, 8, l)
	case t == typeERSPAN: // type I has no header of its own
		return d.etherType(p, typeTEB, l)
	case t == typeERSPAN3:
		return d.erspan3(p, l)
	case t == typeWCCP:
		// Version 2 puts a redirect header before the packet.
		if ipType(l) == 0 && len(l.b) >= 4 {
			l = l.skip(4)
		}
		return d.ip(p, l)
	case 0x8200 <= t && t <= 0x83FF: // Aruba access points send the 802.11 frame
		return d.wifi(p, l)
	}
	return d.etherType(p, t, l)
}

// erspan decodes a mirrored frame behind a header of n bytes (draft-foschiano-erspan §4.2).
func (d *Decoder) erspan(p *Packet, n int, l layer) Result {
	if len(l.b) < n {
		return l.short(n)
	}
	return d.etherType(p, typeTEB, l.skip(n))
}

// erspan3 decodes ERSPAN type III (draft-foschiano-erspan §4.3).
func (d *Decoder) erspan3(p *Packet, l layer) Result {
	const frameType, ip, subheader = 0x7C00, 2 << 10, 0x0001
	if len(l.b) < 12 {
		return l.short(12)
	}
	n := 12
	flags := be16(l.b[10:])
	if flags&subheader != 0 {
		n += 8
	}
	if flags&frameType == ip {
		if len(l.b) < n {
			return l.short(n)
		}
		return d.ip(p, l.skip(n))
	}
	return d.erspan(p, n, l)
}

// etherIP decodes Ethernet in IP (RFC 3378).
func (d *Decoder) etherIP(p *Packet, l layer) Result {
	if len(l.b) < 2 {
		return l.short(2)
	}
	if l.b[0]>>4 != 3 {
		return Malformed
	}
	return d.etherType(p, typeTEB, l.inner(2))
}

// nsh decodes a network service header (RFC 8300 §2.2).
func (d *Decoder) nsh(p *Packet, l layer) Result {
	if len(l.b) < 8 {
		return l.short(8)
	}
	n := int(l.b[1]&0x3F) * 4
	if n < 8 {
		return Malformed
	}
	if len(l.b) < n {
		return l.short(n)
	}
	return d.nextProtocol(p, l.b[3], l.inner(n))
}

// nextProtocol decodes what the "next protocol" of NSH and VXLAN-GPE announces.
func (d *Decoder) nextProtocol(p *Packet, next uint8, l layer) Result {
	types := [...]uint16{1: typeIPv4, 2: typeIPv6, 3: typeTEB, 4: typeNSH, 5: typeMPLS}
	if int(next) < len(types) && types[next] != 0 {
		return d.etherType(p, types[next], l)
	}
	return NonIP
}

// udpTunnel decodes the payload l of a UDP datagram on a port that a tunnel uses. A port proves
// nothing, and the headers of tunnels little: where nothing that is known comes out, it isn't that
// tunnel, p is left as it was, and the result is Malformed.
func (d *Decoder) udpTunnel(p *Packet, port uint16, l layer) Result {
	var decode func(*Decoder, *Packet, layer) Result
	switch port {
	case 4789, 8472: // the second is Linux's, from before there was an assignment
		decode = (*Decoder).vxlan
	case 4790:
		decode = (*Decoder).vxlanGPE
	case 6081:
		decode = (*Decoder).geneve
	case 2152:
		decode = (*Decoder).gtp
	case 3544:
		decode = (*Decoder).teredo
	case 1701:
		decode = (*Decoder).l2tp
	case 4754: // RFC 8086
		decode = (*Decoder).gre
	case 6635:
		decode = (*Decoder).mplsInUDP
	case 4500:
		decode = (*Decoder).espInUDP
	default:
		if !teredoBetweenPeers(l) {
			return Malformed
		}
		decode = (*Decoder).teredo
	}
	outer := *p
	res := decode(d, p, l)
	switch res {
	case Malformed, NonIP, OtherProto:
		*p = outer
		return Malformed
	}
	return res
}

// vxlan decodes VXLAN (RFC 7348 §5). Reserved fields are ignored, as it tells receivers to do.
func (d *Decoder) vxlan(p *Packet, l layer) Result {
	const hasVNI = 0x08
	if len(l.b) < 8 {
		return l.short(8)
	}
	if l.b[0]&hasVNI == 0 {
		return Malformed
	}
	p.Net = join(p.Net, netVXLAN, be32(l.b[4:])>>8)
	return d.etherType(p, typeTEB, l.inner(8))
}

// vxlanGPE decodes the generic protocol extension of VXLAN (draft-ietf-nvo3-vxlan-gpe §3).
func (d *Decoder) vxlanGPE(p *Packet, l layer) Result {
	const hasVNI, gpe = 0x08, 0x04
	if len(l.b) < 8 {
		return l.short(8)
	}
	if l.b[0]&(hasVNI|gpe) != hasVNI|gpe {
		return Malformed
	}
	p.Net = join(p.Net, netVXLAN, be32(l.b[4:])>>8)
	return d.nextProtocol(p, l.b[3], l.inner(8))
}

// geneve decodes Geneve (RFC 8926 §3.4).
func (d *Decoder) geneve(p *Packet, l layer) Result {
	if len(l.b) < 8 {
		return l.short(8)
	}
	if l.b[0]>>6 != 0 {
		return Malformed
	}
	n := 8 + int(l.b[0]&0x3F)*4
	if len(l.b) < n {
		return l.short(n)
	}
	p.Net = join(p.Net, netGeneve, be32(l.b[4:])>>8)
	return d.etherType(p, be16(l.b[2:]), l.inner(n))
}

// gtp decodes a user packet of GTP version 1 (3GPP TS 29.281 §5). Signalling isn't a tunnel.
func (d *Decoder) gtp(p *Packet, l layer) Result {
	const (
		versionType, gtp1              = 0xF0, 0x30
		extension, sequence, number    = 0x04, 0x02, 0x01
		userPacket, noMore, head, rest = 0xFF, 0, 8, 4
	)
	if len(l.b) < head {
		return l.short(head)
	}
	flags := l.b[0]
	if flags&versionType != gtp1 || l.b[1] != userPacket {
		return Malformed
	}
	l = l.trim(head + int(be16(l.b[2:])))
	n := head
	if flags&(extension|sequence|number) != 0 {
		n += rest
		if len(l.b) < n {
			return l.short(n)
		}
		for next := l.b[n-1]; flags&extension != 0 && next != noMore; next = l.b[n-1] {
			if len(l.b) < n+1 {
				return l.short(n + 1)
			}
			units := int(l.b[n])
			if units == 0 {
				return Malformed
			}
			n += units * 4
			if len(l.b) < n {
				return l.short(n)
			}
		}
	}
	return d.ip(p, l.inner(n))
}

// teredoBetweenPeers recognises Teredo on the ports that its clients use among themselves: an IPv6 packet
// that fills the datagram, from or to the Teredo prefix 2001::/32 (RFC 4380 §2.6).
func teredoBetweenPeers(l layer) bool {
	const header = 40
	b := l.b
	return len(b) >= header && b[0]>>4 == 6 && int(be16(b[4:]))+header == l.wire &&
		(be32(b[8:]) == 0x20010000 || be32(b[24:]) == 0x20010000)
}

// teredo decodes Teredo (RFC 4380 §5.1.1): an IPv6 packet, perhaps behind an authentication header
// and an origin indication.
func (d *Decoder) teredo(p *Packet, l layer) Result {
	const authentication, origin = 0x0001, 0x0000
	if len(l.b) >= 4 && be16(l.b) == authentication {
		n := 4 + int(l.b[2]) + int(l.b[3]) + 9
		if len(l.b) < n {
			return l.short(n)
		}
		l = l.skip(n)
	}
	if len(l.b) >= 8 && be16(l.b) == origin {
		l = l.skip(8)
	}
	if ipType(l) != typeIPv6 {
		return Malformed
	}
	return d.etherType(p, typeIPv6, l.inner(0))
}

// l2tp decodes a data message of L2TP version 2 (RFC 2661 §3.1), which carries PPP. Control messages
// aren't a tunnel.
func (d *Decoder) l2tp(p *Packet, l layer) Result {
	const control, length, sequence, offset, version = 0x8000, 0x4000, 0x0800, 0x0200, 0x000F
	if len(l.b) < 6 {
		return l.short(6)
	}
	flags := be16(l.b)
	if flags&version != 2 || flags&control != 0 {
		return Malformed
	}
	n := 6
	if flags&length != 0 {
		n += 2
	}
	if flags&sequence != 0 {
		n += 4
	}
	if flags&offset != 0 {
		if len(l.b) < n+2 {
			return l.short(n + 2)
		}
		n += 2 + int(be16(l.b[n:]))
	}
	if len(l.b) < n {
		return l.short(n)
	}
	return d.etherType(p, typePPP, l.inner(n))
}

// mplsInUDP decodes MPLS in UDP (RFC 7510).
func (d *Decoder) mplsInUDP(p *Packet, l layer) Result {
	return d.etherType(p, typeMPLS, l.inner(0))
}

// espInUDP tells encapsulated ESP from IKE, which begins with four zero bytes (RFC 3948 §2), and from
// keep-alives, which are shorter than any ESP packet.
func (d *Decoder) espInUDP(_ *Packet, l layer) Result {
	if len(l.b) < 8 || be32(l.b) == 0 {
		return Malformed
	}
	return Encrypted
}
