// Package capture reads packets: from pcap and pcapng files, and from streams of mod_firehose's, compressed or not, from standard
// input, and from several of these at once in order of time.
package capture

import (
	"errors"
	"sync/atomic"
)

// ErrIdle says that an input has nothing to give at the moment: see Source.
var ErrIdle = errors.New("nothing to read yet")

// LinkType is a pcap link-layer type (https://www.tcpdump.org/linktypes.html).
type LinkType uint16

// Block is a stretch of captured bytes that several records point into. It is counted, so that a
// reader may hand records to other goroutines and reuse the memory when the last is done.
type Block struct {
	// Bytes is the memory of the block.
	Bytes []byte

	refs atomic.Int32
	free func(*Block)
}

// NewBlock returns a block over memory that belongs to somebody else. Nobody holds it yet; free is called each
// time that the last hold on it has been given up, on any goroutine.
func NewBlock(memory []byte, free func(*Block)) *Block { return &Block{Bytes: memory, free: free} }

// Retain keeps the block's memory from being reused until a matching Release.
func (b *Block) Retain() { b.refs.Add(1) }

// Release gives up one hold on the block.
func (b *Block) Release() {
	if b.refs.Add(-1) == 0 && b.free != nil {
		b.free(b)
	}
}

// Record is one captured packet as its source delivers it.
type Record struct {
	// Time is the packet's arrival in nanoseconds since 1970 UTC.
	Time int64
	// Number counts the records of the file, from 1 and over all its interfaces, as Wireshark does. It goes on
	// in the next file of a rotation.
	Number uint64
	// Data is what was captured of the packet, from the link layer on. It is valid until the next
	// call of Next, or as long as Block is retained.
	Data []byte
	// Block owns the memory of Data.
	Block *Block
	// WireLen is the packet's length on the wire, at least len(Data).
	WireLen int
	// Tap is an index into Source.Taps.
	Tap uint32
	// Link is the type of the link layer.
	Link LinkType
}

// Tap is one place where packets were seen: a file, a pcapng interface, a live interface.
type Tap struct {
	// Name is the name that the user gave (TAP=FILE), or the name of the interface, or empty. It
	// never holds a file's path, since event ids depend on it.
	Name string
	// File names what the packets are read from, for messages.
	File string
	// Received counts records delivered; Bytes their captured bytes.
	Received, Bytes uint64
	// Dropped counts packets that the capturing kernel or tool says it lost, where the file tells
	// (pcapng interface statistics); IfDropped those that the interface lost.
	Dropped, IfDropped uint64

	// Recorded says what recorded it, where that wasn't on the wire: the packets are then made from what a party to the conversation
	// has sent and received. Addresses may be made up, and nothing but the bytes and their times is known. See RecordedByServer.
	Recorded string

	// The rest is known of live captures only. Observer is the name of the host that captures; Filter the
	// capture filter in tcpdump's language, SnapLen the most that is captured of a packet, in bytes. Freezes
	// counts how often the kernel found the ring full.
	Observer, Filter string
	SnapLen          int
	Freezes          uint64
}

// What Tap.Recorded may be.
const (
	// RecordedByServer: an HTTP server, such as Apache httpd with mod_firehose.
	RecordedByServer = "server"
	// RecordedByProgram: the system calls of a program, which culprit runs.
	RecordedByProgram = "program"
	// RecordedAsExchanges: it was made from exchanges, such as those of a HAR file.
	RecordedAsExchanges = "exchanges"
)

// recordedComments are what a pcapng file says, in the comment of an interface, of packets that were made of a recording: with that, they
// are known again when they are read.
var recordedComments = map[string]string{
	RecordedByServer:    "synthetic packets, not captured on the wire: made of what a server recorded [culprit:recorded=server]",
	RecordedAsExchanges: "synthetic packets, not captured on the wire: made of recorded exchanges [culprit:recorded=exchanges]",
}

// RecordedComment returns the comment for the interface of a tap that is Recorded.
func RecordedComment(by string) string { return recordedComments[by] }

// recordedBy returns what a comment says that recorded the packets of an interface, empty for all others.
func recordedBy(comment []byte) string {
	for by, text := range recordedComments {
		if string(comment) == text {
			return by
		}
	}
	return ""
}

// Source delivers packets, one after the other.
//
// All methods are called from one goroutine. Next fills r and returns nil, or returns io.EOF
// at the end, or an error that names the file and the offset; after an error every record before
// it has been delivered, and a further call gives what else there is, or io.EOF. What was wrong but
// didn't end the input is in Warnings after Next returned io.EOF. Taps may grow while reading; entries
// never move to another index. A source that waits for its input (a pipe, a growing file) returns ErrIdle
// from Next when nothing has come for about 100 ms, so that its caller can do other things; the caller
// then calls Next again.
type Source interface {
	Next(r *Record) error
	Taps() []Tap
	Warnings() []string
	Close() error
}

// Live is a Source whose packets are captured as they are read. It returns ErrIdle as soon as all that was
// captured has been delivered.
type Live interface {
	Source
	// Now returns the time, in nanoseconds since 1970 UTC, up to which all packets have been delivered, when
	// Next has returned ErrIdle.
	Now() int64
}
