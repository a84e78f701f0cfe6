package packet

import (
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/capture"
)

const linkEthernet capture.LinkType = 1

// linkLayers are the decoders of the link types, by number (https://www.tcpdump.org/linktypes.html).
var linkLayers = [...]func(*Decoder, *Packet, layer) Result{
	0:            (*Decoder).loopback,
	linkEthernet: (*Decoder).ethernet,
	9:            (*Decoder).ppp,
	12:           (*Decoder).ip,
	14:           (*Decoder).ip,
	50:           (*Decoder).ppp,
	51:           (*Decoder).pppoe,
	101:          (*Decoder).ip,
	104:          (*Decoder).hdlc,
	105:          (*Decoder).wifi,
	108:          (*Decoder).loopback,
	109:          (*Decoder).enc,
	113:          (*Decoder).cooked,
	117:          (*Decoder).pflog,
	119:          (*Decoder).prism,
	127:          (*Decoder).radiotap,
	163:          (*Decoder).avs,
	228:          (*Decoder).ip,
	229:          (*Decoder).ip,
	239:          (*Decoder).nflog,
	276:          (*Decoder).cooked2,
}

// The EtherTypes that are understood (IEEE 802 numbers at IANA).
const (
	typeIPv4     = 0x0800
	typeARP      = 0x0806
	typeERSPAN3  = 0x22EB
	typeTEB      = 0x6558 // transparent Ethernet bridging
	typeRARP     = 0x8035
	typeVLAN     = 0x8100
	typeIPv6     = 0x86DD
	typePPP      = 0x880B
	typeWCCP     = 0x883E
	typeMPLS     = 0x8847
	typeMPLSUp   = 0x8848 // upstream-assigned label
	typePPPoE    = 0x8864
	typeQinQ     = 0x88A8
	typeERSPAN   = 0x88BE
	typeMACsec   = 0x88E5
	typePBB      = 0x88E7 // 802.1ah I-TAG
	typeVNTag    = 0x8926
	typeNSH      = 0x894F
	typeOldQinQ  = 0x9100
	typeOldQinQ2 = 0x9200

	// minType is the smallest EtherType; up to maxLength the field is a length (IEEE 802.3 §3.2.6).
	minType   = 0x0600
	maxLength = 1500
)

// The kinds of network identifier that are mixed into Packet.Net.
const (
	netVLAN = 1 + iota
	netService
	netVXLAN
	netGeneve
)

// join mixes another identifier of up to 24 bits into a Net. A single one is never hashed to 0, and
// two of one kind never collide.
func join(net uint32, kind, id uint32) uint32 {
	h := (net ^ (kind<<24 | id)) * 0x9E3779B1
	return h ^ h>>15
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// ethernet decodes an Ethernet frame, without preamble.
func (d *Decoder) ethernet(p *Packet, l layer) Result {
	if len(l.b) < 14 {
		return l.short(14)
	}
	if l.depth == 0 {
		p.MAC = [12]byte(l.b)
	}
	t := be16(l.b[12:])
	if t == typeIPv4 {
		return d.ipv4(p, l.skip(14))
	}
	return d.lengthOrType(p, t, l.skip(14))
}

// lengthOrType decodes what follows the type field of an Ethernet header or of a VLAN tag.
func (d *Decoder) lengthOrType(p *Packet, t uint16, l layer) Result {
	switch {
	case t >= minType:
		return d.etherType(p, t, l)
	case t <= maxLength:
		return d.llc(p, l.trim(int(t)))
	}
	return NonIP
}

// etherType decodes what an EtherType announces. All encapsulations come through here, so that the
// depth is checked in one place.
func (d *Decoder) etherType(p *Packet, t uint16, l layer) Result {
	if l.depth > d.limits.MaxDepth {
		return TooDeep
	}
	switch t {
	case typeIPv4:
		return d.ipv4(p, l)
	case typeIPv6:
		return d.ipv6(p, l)
	case typeARP, typeRARP:
		return ARP
	case typeVLAN, typeQinQ, typeOldQinQ, typeOldQinQ2:
		if len(l.b) < 4 {
			return l.short(4)
		}
		// VLAN 0 is no network of its own: such a tag only carries a priority (IEEE 802.1Q §9.6).
		if id := be16(l.b) & 0x0FFF; id != 0 {
			p.Net = join(p.Net, netVLAN, uint32(id))
			if l.depth == 0 {
				p.VLAN = id
			}
		}
		return d.lengthOrType(p, be16(l.b[2:]), l.inner(4))
	case typeMPLS, typeMPLSUp:
		return d.mpls(p, l)
	case typePPPoE:
		return d.pppoe(p, l)
	case typePPP:
		return d.ppp(p, l)
	case typeTEB:
		return d.ethernet(p, l)
	case typeMACsec:
		return d.macsec(p, l)
	case typePBB:
		if len(l.b) < 4 {
			return l.short(4)
		}
		p.Net = join(p.Net, netService, be32(l.b)&0xFFFFFF)
		return d.ethernet(p, l.inner(4))
	case typeVNTag:
		if len(l.b) < 6 {
			return l.short(6)
		}
		return d.lengthOrType(p, be16(l.b[4:]), l.inner(6))
	case typeNSH:
		return d.nsh(p, l)
	}
	return NonIP
}

// llc decodes an 802.2 header: SNAP (RFC 1042) or, as some old hosts do, IP on its own SAP.
func (d *Decoder) llc(p *Packet, l layer) Result {
	const (
		snap = 0xAAAA03
		ip   = 0x060603
	)
	if len(l.b) < 4 {
		return l.short(4)
	}
	switch be32(l.b) >> 8 {
	case ip:
		return d.etherType(p, typeIPv4, l.inner(3))
	case snap:
		if len(l.b) < 8 {
			return l.short(8)
		}
		// The second organisation is that of bridged tunnels (IEEE 802.1H).
		if org := be32(l.b[2:]) & 0xFFFFFF; org == 0 || org == 0x0000F8 {
			return d.etherType(p, be16(l.b[6:]), l.inner(8))
		}
	}
	return NonIP
}

// macsec decodes a frame whose SecTAG (IEEE 802.1AE §9.3) says that it is only authenticated.
func (d *Decoder) macsec(p *Packet, l layer) Result {
	const (
		hasSCI    = 0x20
		encrypted = 0x08 | 0x04
	)
	if len(l.b) < 6 {
		return l.short(6)
	}
	if l.b[0]&encrypted != 0 {
		return Encrypted
	}
	n := 6
	if l.b[0]&hasSCI != 0 {
		n = 14
	}
	if len(l.b) < n+2 {
		return l.short(n + 2)
	}
	return d.lengthOrType(p, be16(l.b[n:]), l.inner(n+2))
}

// mpls decodes a label stack (RFC 3032 §2.1). The stack doesn't say what it carries: an IP packet is
// told by its version, and an Ethernet pseudowire has a control word, which begins with a zero nibble
// (RFC 4448 §4.6), or not, when the Ethernet header is where it then must be.
func (d *Decoder) mpls(p *Packet, l layer) Result {
	const (
		bottom      = 0x100
		controlWord = 4
		macs        = 12
	)
	for {
		if len(l.b) < 4 {
			return l.short(4)
		}
		last := be32(l.b)&bottom != 0
		l = l.skip(4)
		if last {
			break
		}
	}
	l.depth++
	if t := ipType(l); t != 0 {
		return d.etherType(p, t, l)
	}
	if len(l.b) >= macs+2 && l.b[0]>>4 == 0 && !commonType(be16(l.b[macs:])) {
		l = l.skip(controlWord)
	}
	return d.etherType(p, typeTEB, l)
}

// ipType returns the EtherType of what looks like an IP packet, and 0 for all else.
func ipType(l layer) uint16 {
	switch {
	case len(l.b) == 0:
	case l.b[0]>>4 == 4 && l.b[0]&0xF >= 5:
		if len(l.b) < 4 || int(be16(l.b[2:])) <= l.wire {
			return typeIPv4
		}
	case l.b[0]>>4 == 6:
		if len(l.b) < 6 || int(be16(l.b[4:]))+40 <= l.wire {
			return typeIPv6
		}
	}
	return 0
}

// commonType reports whether t is an EtherType that Ethernet frames usually have.
func commonType(t uint16) bool {
	switch t {
	case typeIPv4, typeIPv6, typeARP, typeVLAN, typeQinQ, typeMPLS, typePPPoE:
		return true
	}
	return false
}

// ip decodes an IP packet without a header before it, of either version.
func (d *Decoder) ip(p *Packet, l layer) Result {
	if len(l.b) == 0 {
		return l.short(1)
	}
	switch l.b[0] >> 4 {
	case 4:
		return d.etherType(p, typeIPv4, l)
	case 6:
		return d.etherType(p, typeIPv6, l)
	}
	return NonIP
}

// loopback decodes LINKTYPE_NULL and LINKTYPE_LOOP: an address family, in the byte order of the
// capturing host or of the network.
func (d *Decoder) loopback(p *Packet, l layer) Result {
	if len(l.b) < 4 {
		return l.short(4)
	}
	return d.family(p, l)
}

// family decodes an IP packet after a 32-bit address family of either byte order, at the start of l.
func (d *Decoder) family(p *Packet, l layer) Result {
	f := be32(l.b)
	if f > 0xFFFF {
		f = binary.LittleEndian.Uint32(l.b)
	}
	switch f {
	case 2, 10, 24, 28, 30: // AF_INET everywhere; AF_INET6 of Linux, NetBSD, FreeBSD, Darwin
		return d.ip(p, l.skip(4))
	}
	return NonIP
}

// enc decodes OpenBSD's encapsulating interface: family, SPI, flags.
func (d *Decoder) enc(p *Packet, l layer) Result {
	if len(l.b) < 12 {
		return l.short(12)
	}
	return d.ip(p, l.skip(12))
}

// pflog decodes OpenBSD's packet filter log, whose header begins with its unpadded length.
func (d *Decoder) pflog(p *Packet, l layer) Result {
	if len(l.b) < 1 {
		return l.short(1)
	}
	n := (int(l.b[0]) + 3) &^ 3
	if len(l.b) < n {
		return l.short(n)
	}
	if n < 4 {
		return Malformed
	}
	return d.ip(p, l.skip(n))
}

// ppp decodes a PPP frame (RFC 1661, RFC 1662): with or without address and control, the protocol
// of one or two bytes. In their place Cisco HDLC may come.
func (d *Decoder) ppp(p *Packet, l layer) Result {
	const (
		addressControl = 0xFF03
		hdlcUnicast    = 0x0F00
		hdlcBroadcast  = 0x8F00
	)
	if len(l.b) < 2 {
		return l.short(2)
	}
	switch be16(l.b) {
	case hdlcUnicast, hdlcBroadcast:
		return d.hdlc(p, l)
	case addressControl:
		l = l.skip(2)
		if len(l.b) < 2 {
			return l.short(2)
		}
	}
	proto, n := be16(l.b), 2
	if l.b[0]&1 != 0 {
		proto, n = uint16(l.b[0]), 1
	}
	switch proto {
	case 0x0021:
		return d.etherType(p, typeIPv4, l.inner(n))
	case 0x0057:
		return d.etherType(p, typeIPv6, l.inner(n))
	case 0x0281, 0x0283:
		return d.etherType(p, typeMPLS, l.inner(n))
	case 0x0053, 0x00FD: // ECP, and CCP, which carries MPPE
		return Encrypted
	}
	return NonIP
}

// pppoe decodes a PPPoE session frame (RFC 2516 §4); discovery isn't IP.
func (d *Decoder) pppoe(p *Packet, l layer) Result {
	if len(l.b) < 6 {
		return l.short(6)
	}
	if l.b[0] != 0x11 {
		return Malformed
	}
	if l.b[1] != 0 {
		return NonIP
	}
	return d.ppp(p, l.skip(6).trim(int(be16(l.b[4:]))))
}

// hdlc decodes Cisco HDLC: address, control, EtherType.
func (d *Decoder) hdlc(p *Packet, l layer) Result {
	if len(l.b) < 4 {
		return l.short(4)
	}
	return d.etherType(p, be16(l.b[2:]), l.skip(4))
}

// Hardware types (ARPHRD_ of Linux) that say what a cooked capture carries, where the EtherType
// doesn't.
const (
	hardwareWifi     = 801
	hardwareRadiotap = 803
	hardwareNetlink  = 824
)

// cooked decodes LINKTYPE_LINUX_SLL.
func (d *Decoder) cooked(p *Packet, l layer) Result {
	if len(l.b) < 16 {
		return l.short(16)
	}
	return d.cookedType(p, be16(l.b[2:]), be16(l.b[14:]), l.skip(16))
}

// cooked2 decodes LINKTYPE_LINUX_SLL2.
func (d *Decoder) cooked2(p *Packet, l layer) Result {
	if len(l.b) < 20 {
		return l.short(20)
	}
	return d.cookedType(p, be16(l.b[8:]), be16(l.b), l.skip(20))
}

func (d *Decoder) cookedType(p *Packet, hardware, t uint16, l layer) Result {
	const llcType = 4 // ETH_P_802_2
	switch {
	case hardware == hardwareRadiotap:
		return d.radiotap(p, l)
	case hardware == hardwareWifi:
		return d.wifi(p, l)
	case hardware == hardwareNetlink:
		return NonIP
	case t == llcType:
		return d.llc(p, l)
	case t < minType:
		return NonIP
	}
	return d.etherType(p, t, l)
}

// nflog decodes the Linux netfilter log: a header, then attributes (length, type, value, padding) in
// the byte order of the capturing host, one of which is the packet.
func (d *Decoder) nflog(p *Packet, l layer) Result {
	const (
		header  = 4
		payload = 9
	)
	if len(l.b) < header+4 {
		return l.short(header + 4)
	}
	l = l.skip(header)
	var order binary.ByteOrder = binary.LittleEndian
	if n := int(order.Uint16(l.b)); n < 4 || n > l.wire {
		order = binary.BigEndian
	}
	for {
		if len(l.b) < 4 {
			return l.short(4)
		}
		n, t := int(order.Uint16(l.b)), order.Uint16(l.b[2:])&0x7FFF
		if n < 4 {
			return Malformed
		}
		if t == payload {
			return d.ip(p, l.skip(4).trim(n-4))
		}
		n = (n + 3) &^ 3
		if len(l.b) < n {
			return l.short(n)
		}
		l = l.skip(n)
	}
}
