package packet

import "encoding/binary"

// wifi decodes an IEEE 802.11 frame.
func (d *Decoder) wifi(p *Packet, l layer) Result { return d.wifiData(p, l, false) }

// wifiData decodes a data frame (IEEE 802.11 §9.3.2); padded says that the header is padded to four
// bytes, as some drivers do.
func (d *Decoder) wifiData(p *Packet, l layer, padded bool) Result {
	const (
		typeMask, typeData = 0x0C, 0x08
		qos, null          = 0x80, 0x40 // of the subtype, in the first byte
		toDS, fromDS       = 0x01, 0x02 // of the second byte
		protected, order   = 0x40, 0x80
		aggregate          = 0x80 // of the QoS control
	)
	if len(l.b) < 2 {
		return l.short(2)
	}
	kind, flags := l.b[0], l.b[1]
	if kind&typeMask != typeData || kind&null != 0 {
		return NonIP
	}
	if flags&protected != 0 {
		return Encrypted
	}
	n, control := 24, 0
	if flags&(toDS|fromDS) == toDS|fromDS {
		n += 6
	}
	if kind&qos != 0 {
		control = n
		n += 2
		if flags&order != 0 {
			n += 4
		}
	}
	if padded {
		n = (n + 3) &^ 3
	}
	if len(l.b) < n {
		return l.short(n)
	}
	if control == 0 || l.b[control]&aggregate == 0 {
		return d.llc(p, l.inner(n))
	}
	return d.subframe(p, l.inner(n))
}

// subframe decodes the first subframe of an A-MSDU (IEEE 802.11 §9.3.2.2.2) and counts the others.
func (d *Decoder) subframe(p *Packet, l layer) Result {
	const header = 14
	if len(l.b) < header {
		return l.short(header)
	}
	first := l.skip(header).trim(int(be16(l.b[12:])))
	for {
		n := (header + int(be16(l.b[12:])) + 3) &^ 3
		if len(l.b) < n+header {
			return d.llc(p, first)
		}
		l = l.skip(n)
		d.aggregated++
	}
}

// radiotap decodes the radiotap header (https://www.radiotap.org), of which only the length matters
// and the flag that says that the 802.11 header is padded.
func (d *Decoder) radiotap(p *Packet, l layer) Result {
	const (
		hasTSFT, hasFlags, more = 1 << 0, 1 << 1, 1 << 31
		padding                 = 0x20
	)
	if len(l.b) < 8 {
		return l.short(8)
	}
	n := int(binary.LittleEndian.Uint16(l.b[2:]))
	if l.b[0] != 0 || n < 8 {
		return Malformed
	}
	if len(l.b) < n {
		return l.short(n)
	}
	head := l.b[:n]
	present := binary.LittleEndian.Uint32(head[4:])
	at := 8
	for word := present; word&more != 0 && at+4 <= n; at += 4 {
		word = binary.LittleEndian.Uint32(head[at:])
	}
	if present&hasTSFT != 0 {
		at = (at+7)&^7 + 8
	}
	padded := present&hasFlags != 0 && at < n && head[at]&padding != 0
	return d.wifiData(p, l.skip(n), padded)
}

// prism decodes the Prism monitor header, or the AVS header that drivers put in its place.
func (d *Decoder) prism(p *Packet, l layer) Result {
	const avsMagic = 0x80211000
	if len(l.b) < 8 {
		return l.short(8)
	}
	if be32(l.b)&0xFFFFF000 == avsMagic {
		return d.avs(p, l)
	}
	n := binary.LittleEndian.Uint32(l.b[4:])
	if n > 0xFFFF {
		n = be32(l.b[4:])
	}
	return d.behind(p, n, l)
}

// avs decodes the AVS WLAN monitor header: magic, length.
func (d *Decoder) avs(p *Packet, l layer) Result {
	if len(l.b) < 8 {
		return l.short(8)
	}
	return d.behind(p, be32(l.b[4:]), l)
}

// behind decodes the 802.11 frame behind a monitor header of n bytes.
func (d *Decoder) behind(p *Packet, n uint32, l layer) Result {
	if n < 8 || n > 0xFFFF {
		return Malformed
	}
	if len(l.b) < int(n) {
		return l.short(int(n))
	}
	return d.wifi(p, l.skip(int(n)))
}
