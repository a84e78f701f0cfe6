package sctp

import "encoding/binary"

// The chunk types that matter here (RFC 9260 §3.2, RFC 3758, RFC 8260).
const (
	chunkData             = 0
	chunkInit             = 1
	chunkInitAck          = 2
	chunkSACK             = 3
	chunkAbort            = 6
	chunkCookieEcho       = 10
	chunkShutdownComplete = 14
	chunkIData            = 64
	chunkForwardTSN       = 192
	chunkIForwardTSN      = 194
)

// Flags of data chunks.
const (
	flagEnd = 1 << iota
	flagBegin
	flagUnordered
)

// headers are the lengths of the chunks' fixed parts; those of other types have only the common one.
var headers = [256]uint8{
	chunkData: 16, chunkInit: 20, chunkInitAck: 20, chunkIData: 20, chunkForwardTSN: 8, chunkIForwardTSN: 8,
}

// chunk is one chunk of a packet. Which fields hold something depends on the type.
type chunk struct {
	kind, flags uint8
	// tsn is the transmission sequence number: of the data, the first to come (INIT), or the last
	// that won't come (FORWARD-TSN).
	tsn uint32
	// tag is the verification tag that an INIT offers.
	tag uint32
	// sid is the stream. order numbers its messages, modulo orders; fsn the fragments of an I-DATA
	// message.
	sid    uint16
	order  uint32
	orders uint64
	fsn    uint32
	// data is what was captured of size bytes.
	data []byte
	size int
}

// parse takes the first chunk off b, of which wire bytes were on the wire. It reports false when
// there is none: at the end, where the capture was cut, or because the rest is malformed.
func parse(b []byte, wire int) (c chunk, rest []byte, malformed, ok bool) {
	const common = 4
	if len(b) < common {
		return c, nil, len(b) == wire && wire > 0, false
	}
	c.kind, c.flags = b[0], b[1]
	n := int(binary.BigEndian.Uint16(b[2:]))
	head := max(common, int(headers[c.kind]))
	if n < head || n > wire {
		return c, nil, true, false
	}
	if len(b) < head {
		return c, nil, false, false
	}
	switch c.kind {
	case chunkData, chunkIData:
		c.tsn, c.sid = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint16(b[8:])
		c.order, c.orders = uint32(binary.BigEndian.Uint16(b[10:])), 1<<16
		if c.kind == chunkIData {
			c.order, c.orders = binary.BigEndian.Uint32(b[12:]), 1<<32
			if c.flags&flagBegin == 0 { // the field is the payload protocol in the first fragment
				c.fsn = binary.BigEndian.Uint32(b[16:])
			}
		}
		c.data, c.size = b[head:min(n, len(b))], n-head
	case chunkInit, chunkInitAck:
		c.tag, c.tsn = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[16:])
	case chunkForwardTSN, chunkIForwardTSN:
		c.tsn = binary.BigEndian.Uint32(b[4:])
	}
	return c, b[min((n+3)&^3, len(b)):], false, true
}
