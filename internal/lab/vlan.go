//go:build linux

package lab

import "encoding/binary"

// Lengths of an Ethernet frame's parts, in bytes: the two addresses, and a VLAN tag.
const (
	macsLen = 12
	vlanLen = 4
)

// The EtherTypes of VLAN tags: that of a customer (802.1Q), and the outer one of a provider (802.1ad).
const (
	TagVLAN    = 0x8100
	TagService = 0x88a8
)

// Tag is a VLAN tag: its EtherType and its number, with the priority in the upper four bits.
type Tag struct{ Type, ID uint16 }

func (t Tag) put(b []byte) {
	binary.BigEndian.PutUint16(b, t.Type)
	binary.BigEndian.PutUint16(b[2:], t.ID)
}

// push appends a frame to dst with tags put into it, the outermost first.
func push(dst, frame []byte, tags []Tag) []byte {
	if len(frame) < macsLen {
		return append(dst, frame...)
	}
	dst = append(dst, frame[:macsLen]...)
	for _, t := range tags {
		dst = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dst, t.Type), t.ID)
	}
	return append(dst, frame[macsLen:]...)
}

// pop appends a frame to dst without the given tags. It reports false if the frame doesn't have exactly these
// outermost, and then appends nothing.
func pop(dst, frame []byte, tags []Tag) ([]byte, bool) {
	n := macsLen
	for _, t := range tags {
		if len(frame) < n+vlanLen || binary.BigEndian.Uint16(frame[n:]) != t.Type || binary.BigEndian.Uint16(frame[n+2:]) != t.ID {
			return dst, false
		}
		n += vlanLen
	}
	if len(frame) < macsLen {
		return dst, false
	}
	return append(append(dst, frame[:macsLen]...), frame[n:]...), true
}
