package capture

import (
	"io"
	"os"
	"strings"
)

// Stdin is the path that means standard input.
const Stdin = "-"

// Input is one thing to read packets from.
type Input struct {
	// Tap is the name that the user gave to where the packets were seen, or empty. Inputs of one
	// name are one tap.
	Tap string
	// Path is the file, or Stdin.
	Path string
}

// ParseInput splits the form [TAP=]FILE at its first equals sign. The whole of arg is the file when
// such a file exists, or when what stands before the sign is empty or holds a slash: so ./a=b.pcap
// is always a file.
func ParseInput(arg string) Input {
	tap, path, found := strings.Cut(arg, "=")
	if !found || tap == "" || strings.ContainsRune(tap, '/') {
		return Input{Path: arg}
	}
	if _, err := os.Stat(arg); err == nil {
		return Input{Path: arg}
	}
	return Input{Tap: tap, Path: path}
}

// label names the input in messages.
func (in Input) label() string {
	if in.Path == Stdin {
		return "standard input"
	}
	return in.Path
}

// Options says how inputs are read. The zero value is ready.
type Options struct {
	// Follow waits at the end of a file for more, as tail -f does, and lets inputs that have nothing to
	// give be overtaken by others after idleAfter.
	Follow bool
	// Stdin is what Input{Path: "-"} reads: os.Stdin when nil. Close doesn't close it.
	Stdin io.Reader
	// MaxPacket is the largest captured length, in bytes, that is believed: DefaultMaxPacket when 0. A
	// larger snap length of the file raises it, up to MaxSnapLen.
	MaxPacket int
}

const (
	// DefaultMaxPacket is the largest snap length that libpcap and Wireshark use by default.
	DefaultMaxPacket = 256 << 10
	// MaxSnapLen is the largest snap length of a file that is believed, as in Wireshark
	// (WTAP_MAX_PACKET_SIZE_USBPCAP). Memory grows to it only as the bytes arrive.
	MaxSnapLen = 128 << 20
)

// packetLimit returns the largest captured length believed in a file with the snap length snap, which is 0
// when the file has none.
func (o *Options) packetLimit(snap uint32) uint32 {
	limit := uint32(DefaultMaxPacket)
	if o.MaxPacket > 0 {
		limit = uint32(min(o.MaxPacket, MaxSnapLen))
	}
	return max(limit, min(snap, MaxSnapLen))
}
