package mongodb

import (
	"encoding/binary"

	"github.com/klauspost/compress/snappy"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// compressions are the names of the compressions, by the byte that tells them; codings are what undoes them, as content codings.
var (
	compressions = [...]string{"noop", "snappy", "zlib", "zstd"}
	codings      = [...]string{"", "", "deflate", "zstd"}
)

const (
	// compressedSize is the length of what OP_COMPRESSED has before the data: opcode (4), size (4), compression (1).
	compressedSize = 9
	useSnappy      = 1
)

// inflate undoes OP_COMPRESSED, as far as the limit goes. content lives until the next call, and is nil when it can't be read; size is
// how long all of it is said to be. An anomaly of the message says what is wrong.
func (p *Parser) inflate(m *proto.Message, b []byte, whole bool) (opcode uint32, content []byte, size int64, compression string) {
	if len(b) < compressedSize {
		m.Anomalies.Set(proto.BadFrame)
		return opCompressed, nil, 0, "?"
	}
	opcode = binary.LittleEndian.Uint32(b)
	size = int64(int32(binary.LittleEndian.Uint32(b[4:])))
	by := int(b[8])
	b = b[compressedSize:]
	if by >= len(compressions) || size < 0 || size > maxLength {
		m.Anomalies.Set(proto.BadFrame)
		return opcode, nil, 0, "?"
	}
	compression = compressions[by]
	if !whole {
		m.Anomalies.Set(proto.MessageTooLarge)
	}
	switch {
	case codings[by] != "":
		if p.decoder == nil {
			p.decoder = new(body.Decoder)
		}
		out, r := p.decoder.Decode([]byte(codings[by]), b, p.limits.MaxMessage)
		switch {
		case r.Undecoded != "" || r.Bad:
			m.Anomalies.Set(proto.BadFrame)
			return opcode, nil, 0, compression
		case r.Limited:
			m.Anomalies.Set(proto.MessageTooLarge)
		}
		content = out
	case by == useSnappy:
		n, err := snappy.DecodedLen(b)
		switch {
		case err != nil || int64(n) != size:
			m.Anomalies.Set(proto.BadFrame)
			return opcode, nil, 0, compression
		case n > p.limits.MaxMessage || !whole:
			// A block is undone as a whole, or not at all.
			m.Anomalies.Set(proto.MessageTooLarge)
			return opcode, nil, 0, compression
		}
		out, err := snappy.Decode(p.plain[:cap(p.plain)], b)
		if err != nil {
			m.Anomalies.Set(proto.BadFrame)
			return opcode, nil, 0, compression
		}
		if content = out; cap(out) <= keptPlain {
			p.plain = out
		}
	default:
		content = b
	}
	return opcode, content, size, compression
}

// keptPlain is how much memory for decompressed messages is kept from one to the next, in bytes.
const keptPlain = 4 << 10
