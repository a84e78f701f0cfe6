package pcapng

import (
	"encoding/binary"
	"path/filepath"

	"github.com/culprit-http/culprit/internal/capture"
)

// Section is what the block at the beginning of a file tells; what is empty is left out.
type Section struct{ Hardware, OS, Application, Comment string }

// AppendSection appends the block that begins a file.
func AppendSection(dst []byte, s Section) []byte {
	from := len(dst)
	dst = openBlock(dst, blockSection)
	dst = binary.LittleEndian.AppendUint32(dst, byteOrderMagic)
	dst = binary.LittleEndian.AppendUint16(dst, 1) // version 1.0
	dst = binary.LittleEndian.AppendUint16(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, 1<<64-1) // the length of the section isn't known
	for _, option := range [...]struct {
		code  uint16
		value string
	}{
		{sectionHardware, s.Hardware}, {sectionOS, s.OS}, {sectionApplication, s.Application}, {optionComment, s.Comment},
	} {
		if option.value != "" {
			dst = appendOption(dst, option.code, text(option.value))
		}
	}
	return closeBlock(dst, from)
}

// AppendInterface appends the description of an interface, whose packets have times in nanoseconds.
func AppendInterface(dst []byte, t *capture.Tap, link capture.LinkType) []byte {
	from := len(dst)
	dst = openBlock(dst, blockInterface)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(link))
	dst = binary.LittleEndian.AppendUint16(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(t.SnapLen))
	if t.Name != "" {
		dst = appendOption(dst, interfaceName, text(t.Name))
	}
	if t.Recorded != "" {
		dst = appendOption(dst, optionComment, text(capture.RecordedComment(t.Recorded)))
	}
	switch {
	case t.Observer != "":
		dst = appendOption(dst, interfaceDescription, text("captured on "+t.Observer))
	case t.File != "":
		dst = appendOption(dst, interfaceDescription, text(readFrom+filepath.Base(t.File)))
	}
	dst = appendOption(dst, interfaceResolution, []byte{nanoseconds})
	if t.Filter != "" {
		filter := append([]byte{filterText}, text(t.Filter)...)
		dst = appendOption(dst, interfaceFilter, filter[:min(len(filter), maxOption)])
	}
	return closeBlock(dst, from)
}

// readFrom stands before the name of the file in the description of an interface.
const readFrom = "read from "

// Packet is a packet as it stands in a file.
type Packet struct {
	// Interface is the number of the interface in the file, from 0 in the order of their descriptions.
	Interface uint32
	// Time is the arrival in nanoseconds since 1970 UTC; there is none before.
	Time int64
	// Data is what is kept of the packet, Wire its length on the wire.
	Data []byte
	Wire int
	// ID is the number of the packet where it was captured, 0 when it isn't told. Drops are packets lost before it.
	ID    uint64
	Drops uint32
	// Comment is for people, empty: none.
	Comment []byte
}

// MaxData is how much of a packet a file may have, in bytes: readers refuse blocks of more than 16 MiB.
const MaxData = maxPacket

// Size returns what AppendPacket appends for the packet, in bytes.
func (p *Packet) Size() int {
	options := 0
	if n := min(len(p.Comment), maxOption); n > 0 {
		options += 4 + (n+3)&^3
	}
	if p.Drops > 0 {
		options += 4 + 8
	}
	if p.ID > 0 {
		options += 4 + 8
	}
	if options > 0 {
		options += 4
	}
	return packetSize + (len(p.Data)+3)&^3 + options
}

// AppendPacket appends a packet of at most MaxData bytes.
func AppendPacket(dst []byte, p *Packet) []byte {
	le := binary.LittleEndian
	total := p.Size()
	stamp := timestamp(p.Time)
	dst = le.AppendUint32(dst, blockPacket)
	dst = le.AppendUint32(dst, uint32(total))
	dst = le.AppendUint32(dst, p.Interface)
	dst = le.AppendUint32(dst, uint32(stamp>>32))
	dst = le.AppendUint32(dst, uint32(stamp))
	dst = le.AppendUint32(dst, uint32(len(p.Data)))
	dst = le.AppendUint32(dst, uint32(max(p.Wire, len(p.Data))))
	dst = append(dst, p.Data...)
	dst = append(dst, 0, 0, 0)[:len(dst)+(-len(p.Data)&3)]
	if len(p.Comment) > 0 {
		dst = appendOption(dst, optionComment, p.Comment)
	}
	if p.Drops > 0 {
		dst = appendNumber(dst, packetDrops, uint64(p.Drops))
	}
	if p.ID > 0 {
		dst = appendNumber(dst, packetID, p.ID)
	}
	if len(p.Comment) > 0 || p.Drops > 0 || p.ID > 0 {
		dst = le.AppendUint32(dst, optionEnd)
	}
	return le.AppendUint32(dst, uint32(total))
}

func appendNumber(dst []byte, code uint16, v uint64) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, code)
	dst = binary.LittleEndian.AppendUint16(dst, 8)
	return binary.LittleEndian.AppendUint64(dst, v)
}

// AppendSecrets appends decryption secrets: lines of a TLS key log.
func AppendSecrets(dst []byte, lines []byte) []byte {
	from := len(dst)
	dst = openBlock(dst, blockSecrets)
	dst = binary.LittleEndian.AppendUint32(dst, secretsTLS)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(lines)))
	dst = append(dst, lines...)
	dst = append(dst, 0, 0, 0)[:len(dst)+(-len(lines)&3)]
	return closeBlock(dst, from)
}

// secretsSize is what AppendSecrets appends, in bytes.
func secretsSize(lines []byte) int { return 16 + (len(lines)+3)&^3 + 8 }

// openBlock begins a block, and closeBlock ends the one that begins at from: an end of the options, and its length
// at both of its ends.
func openBlock(dst []byte, kind uint32) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, kind), 0, 0, 0, 0)
}

func closeBlock(dst []byte, from int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, optionEnd)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(dst)-from+4))
	copy(dst[from+4:from+8], dst[len(dst)-4:])
	return dst
}

// appendOption appends an option with its padding. What is too long is cut.
func appendOption(b []byte, code uint16, value []byte) []byte {
	value = value[:min(len(value), maxOption)]
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	return append(b, 0, 0, 0)[:len(b)+(-len(value)&3)]
}

// timestamp returns a time as interfaces count it; there are none before 1970.
func timestamp(t int64) uint64 { return uint64(max(t, 0)) }

// appendTime appends a timestamp, the higher half first.
func appendTime(b []byte, t int64) []byte {
	v := timestamp(t)
	b = binary.LittleEndian.AppendUint32(b, uint32(v>>32))
	return binary.LittleEndian.AppendUint32(b, uint32(v))
}
