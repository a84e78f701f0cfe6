package packet

// ICMPHeader is what an ICMP error message says of the packet that it quotes (RFC 792, RFC 4443 §3).
type ICMPHeader struct {
	// From is who sent the message.
	From Addr
	// Type and Code are the message's, V6 tells the version of ICMP that they are of.
	Type, Code uint8
	V6         bool
	// MTU is that of the next hop in bytes, where the message tells it (RFC 1191 §4, RFC 4443 §3.2), else 0.
	MTU uint32
}

// The types of ICMP errors. A redirect isn't one: the packet went on.
const (
	icmpUnreachable = 3
	icmpQuench      = 4
	icmpTime        = 11
	icmpParameter   = 12

	icmp6Unreachable = 1
	icmp6TooBig      = 2
	icmp6Time        = 3
	icmp6Parameter   = 4

	// icmpTooBig is the code of icmpUnreachable that says so.
	icmpTooBig = 4
)

// Unreachable reports whether the message says that packets don't get to the destination, for whatever reason.
func (h *ICMPHeader) Unreachable() bool {
	if h.V6 {
		return h.Type == icmp6Unreachable
	}
	return h.Type == icmpUnreachable && h.Code != icmpTooBig
}

// Hard reports whether the message says that it's no use to go on, rather than that a route is missing, which may come back (RFC 1122
// §4.2.3.9, RFC 5461 §2): the destination has no such port or protocol, or packets to it are forbidden.
func (h *ICMPHeader) Hard() bool {
	if !h.Unreachable() {
		return false
	}
	if h.V6 {
		switch h.Code {
		case 1, 4, 5, 6: // prohibited; port; source address policy, rejected route (RFC 4443 §3.1)
			return true
		}
		return false
	}
	switch h.Code {
	case 2, 3, 9, 10, 13: // protocol, port; prohibited (RFC 1812 §5.2.7.1)
		return true
	}
	return false
}

// icmpLength is where a message has the length of what it quotes, and in units of how many bytes (RFC 4884 §3); none: it has none.
type icmpLength struct{ at, unit int }

// icmp decodes the message l. The result is ICMPError, and p the packet that it quotes, when it is an error about a packet of TCP,
// UDP or SCTP whose ports were quoted, and that the receiver of the message sent. All others are ICMP, also those that are cut
// or malformed: then p is undefined.
//
// What is quoted has been through who knows what: routers change its header, and hosts get its lengths wrong. So only the
// fields that tell the flow are taken, and no length is believed beyond the message's own.
func icmp(p *Packet, proto uint8, l layer) Result {
	const head = 8
	b := l.b
	if len(b) < head {
		return ICMP
	}
	h := ICMPHeader{From: p.Src, Type: b[0], Code: b[1], V6: proto == protoICMPv6}
	to := p.Dst
	var length icmpLength
	switch {
	case h.V6 && (h.Type == icmp6Unreachable || h.Type == icmp6Time):
		length = icmpLength{4, 8}
	case h.V6 && h.Type == icmp6TooBig:
		h.MTU = be32(b[4:])
	case h.V6 && h.Type == icmp6Parameter:
	case h.V6:
		return ICMP
	case h.Type == icmpUnreachable:
		length = icmpLength{5, 4}
		if h.Code == icmpTooBig {
			h.MTU = uint32(be16(b[6:]))
		}
	case h.Type == icmpTime, h.Type == icmpParameter:
		length = icmpLength{5, 4}
	case h.Type == icmpQuench:
	default:
		return ICMP
	}
	quoted := b[head:]
	if length.unit > 0 {
		// What follows the quoted packet, if its length is told, are extensions.
		if n := int(b[length.at]) * length.unit; n > 0 && n < len(quoted) {
			quoted = quoted[:n]
		}
	}
	var ok bool
	if h.V6 {
		ok = quote6(p, quoted)
	} else {
		ok = quote4(p, quoted)
	}
	if !ok || p.Src != to {
		return ICMP
	}
	p.ICMP = h
	p.Payload, p.PayloadLen = nil, 0 // a tunnel's
	return ICMPError
}

// quote4 takes the beginning of an IPv4 packet.
func quote4(p *Packet, b []byte) bool {
	const offsetMask = 0x1FFF
	if len(b) < 20 || b[0]>>4 != 4 || be16(b[6:])&offsetMask != 0 {
		return false
	}
	head := int(b[0]&0xF) * 4
	if head < 20 || len(b) < head {
		return false
	}
	mapIPv4(&p.Src, b[12:16])
	mapIPv4(&p.Dst, b[16:20])
	return quoteTransport(p, b[9], b[head:])
}

// quote6 takes the beginning of an IPv6 packet, with those extension headers that may come before a transport.
func quote6(p *Packet, b []byte) bool {
	const (
		head       = 40
		offsetMask = 0xFFF8
	)
	if len(b) < head || b[0]>>4 != 6 {
		return false
	}
	p.Src, p.Dst = Addr(b[8:24]), Addr(b[24:40])
	next := b[6]
	for b = b[head:]; ; {
		n := 0
		switch next {
		case protoHopByHop, protoRouting, protoDestination:
			if len(b) >= 8 {
				n = 8 + 8*int(b[1])
			}
		case protoAH:
			if len(b) >= 8 {
				n = 8 + 4*int(b[1])
			}
		case protoFragment:
			if len(b) >= 8 && be16(b[2:])&offsetMask == 0 {
				n = 8
			}
		default:
			return quoteTransport(p, next, b)
		}
		if n == 0 || len(b) < n {
			return false
		}
		next, b = b[0], b[n:]
	}
}

// quoteTransport takes the beginning of a transport header: 8 bytes at least (RFC 792).
func quoteTransport(p *Packet, proto uint8, b []byte) bool {
	const least = 8
	if len(b) < least {
		return false
	}
	switch proto {
	case ProtoTCP:
		p.Seq = be32(b[4:])
	case ProtoUDP, ProtoSCTP:
	default:
		return false
	}
	p.Proto, p.SrcPort, p.DstPort = proto, be16(b), be16(b[2:])
	return true
}
