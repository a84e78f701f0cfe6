package mongodb

import (
	"bytes"
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/proto"
)

// probed is how much of a message is looked at: a header, and what is behind it.
const probed = headerSize + 10

// Probe implements proto.Protocol: a header, and the beginning of what its opcode announces.
func Probe(b []byte) (proto.Match, proto.Role) {
	if len(b) < 4 {
		return proto.NeedMore, proto.AnyRole
	}
	if n := int64(int32(binary.LittleEndian.Uint32(b))); n < probed || n > maxLength {
		return proto.No, proto.AnyRole
	}
	if len(b) < probed {
		if len(b) >= headerSize && !isOpcode(readHeader(b).opcode) {
			return proto.No, proto.AnyRole
		}
		return proto.NeedMore, proto.AnyRole
	}
	head, content := readHeader(b), b[headerSize:]
	role := proto.Client
	switch {
	case head.opcode == opReply:
		role = proto.Server
	case (head.opcode == opMsg || head.opcode == opCompressed) && head.responseTo != 0:
		role = proto.Server
	case head.responseTo != 0 && head.responseTo != 0xffffffff:
		return proto.No, proto.AnyRole
	}
	first := binary.LittleEndian.Uint32(content)
	switch head.opcode {
	case opMsg:
		if first&requiredFlags&^(checksumPresent|moreToCome) != 0 || content[4] > 1 {
			return proto.No, proto.AnyRole
		}
		size := int64(int32(binary.LittleEndian.Uint32(content[5:])))
		if size < 5 || size > head.length-headerSize-5 || content[4] == 0 && !isType(content[9]) {
			return proto.No, proto.AnyRole
		}
	case opReply:
		if first > 0xf || head.length < headerSize+20 {
			return proto.No, proto.AnyRole
		}
	case opQuery, opInsert, opUpdate, opDelete, opGetMore:
		if first > 0xff || !isNamespace(content[4:]) {
			return proto.No, proto.AnyRole
		}
	case opCompressed:
		if !isOpcode(first) || int(content[8]) >= len(compressions) {
			return proto.No, proto.AnyRole
		}
	case opKillCursors:
		if first != 0 {
			return proto.No, proto.AnyRole
		}
	default:
		return proto.No, proto.AnyRole
	}
	return proto.Yes, role
}

// Resume implements proto.Protocol. What Probe looks at is sure enough.
func Resume(b []byte) (proto.Match, proto.Role) {
	if match, role := Probe(b); match == proto.Yes {
		return match, role
	}
	return proto.No, proto.AnyRole
}

// begins reports whether a segment surely begins a message of a direction.
func (p *Parser) begins(d proto.Direction, b []byte) bool {
	match, role := Resume(b)
	return match == proto.Yes && (role == proto.Client) == (d == p.client)
}

// isOpcode reports whether a number is an opcode that is in use.
func isOpcode(n uint32) bool {
	return n == opReply || n == opMsg || n == opCompressed || n == opQuery || n == opKillCursors || olds[n] != nil
}

// isType reports whether a byte may be the type of the first element of a document, or the end of an empty one.
func isType(b byte) bool {
	_, ok := fixed[b]
	return ok || b == 0
}

// isNamespace reports whether b begins with the name of a database.
func isNamespace(b []byte) bool {
	for i, c := range b {
		switch {
		case c == 0 || c == '.':
			return i > 0
		case c <= ' ' || c == 0x7f || bytes.IndexByte([]byte(`/\"*<>:|?`), c) >= 0:
			return false
		}
	}
	return true
}
