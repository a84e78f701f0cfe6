package packets

import (
	"encoding/binary"
	"strings"

	"github.com/culprit-http/culprit/internal/capture"
)

// What is read of pcapng (draft-ietf-opsawg-pcapng §4): the blocks that this package writes. Files that others have
// put into the folder end where something else comes.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	byteOrderMagic = 0x1a2b3c4d

	packetHeader = 28
	packetID     = 5
)

// maxBlock is the longest block that is read, in bytes: the longest packet with its options.
const maxBlock = 16 << 20

// blockLength returns the length of the block that begins with b, 0 when none can.
func blockLength(b []byte) int {
	if len(b) < 8 {
		return 0
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n < 12 || n > maxBlock || n%unit != 0 {
		return 0
	}
	return int(n)
}

// sound reports whether a block says its length at its end, too.
func sound(b []byte) bool {
	return len(b) >= 12 && binary.LittleEndian.Uint32(b[len(b)-4:]) == uint32(len(b))
}

// stored is a packet block.
type stored struct {
	iface uint32
	time  int64
	wire  int
	data  []byte // borrowed from the block
	id    uint64
}

// parsePacket reads a sound block; ok: it is a packet.
func parsePacket(b []byte) (p stored, ok bool) {
	le := binary.LittleEndian
	if len(b) < packetHeader+4 || le.Uint32(b) != blockPacket {
		return p, false
	}
	stamp := uint64(le.Uint32(b[12:]))<<32 | uint64(le.Uint32(b[16:]))
	size, rest := uint64(le.Uint32(b[20:])), b[packetHeader:len(b)-4]
	if size > uint64(len(rest)) || stamp >= 1<<63 {
		return p, false
	}
	p = stored{iface: le.Uint32(b[8:]), time: int64(stamp), wire: int(max(le.Uint32(b[24:]), uint32(size))), data: rest[:size:size]}
	for code, value := range options(rest[min((size+3)&^3, uint64(len(rest))):]) {
		if code == packetID && len(value) == 8 {
			p.id = le.Uint64(value)
		}
	}
	return p, true
}

// iface is an interface of a file.
type iface struct {
	block []byte
	at    uint32 // where that is in the file, in units of 4 bytes
	// label is the name of the tap as exchanges have it; nth counts the interfaces before it that have the same block.
	label string
	nth   int
	hash  uint64 // of the label
	link  capture.LinkType
}

// same reports whether two interfaces, maybe of two files, are one.
func (f *iface) same(o *iface) bool { return f.nth == o.nth && string(f.block) == string(o.block) }

// The options of an interface that name the tap, and what stands before the name of a file in its description.
const (
	interfaceName        = 2
	interfaceDescription = 3
	readFrom             = "read from "
)

// parseInterface reads a sound block; ok: it describes an interface.
func parseInterface(b []byte) (f iface, ok bool) {
	le := binary.LittleEndian
	if len(b) < 20 || le.Uint32(b) != blockInterface {
		return f, false
	}
	f.link = capture.LinkType(le.Uint16(b[8:]))
	for code, value := range options(b[16 : len(b)-4]) {
		switch file, isFile := strings.CutPrefix(string(value), readFrom); {
		case code == interfaceName:
			f.label = string(value)
		case code == interfaceDescription && isFile && f.label == "":
			f.label = file
		}
	}
	f.block, f.hash = append([]byte(nil), b...), labelHash(f.label)
	return f, true
}

// options iterates over the options at the end of a block.
func options(b []byte) func(func(uint16, []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			code, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
			if b = b[4:]; code == 0 || n > len(b) || !yield(code, b[:n]) {
				return
			}
			b = b[min((n+3)&^3, len(b)):]
		}
	}
}
