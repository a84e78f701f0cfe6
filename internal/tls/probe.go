package tls

import (
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/proto"
)

// hello recognises a handshake record with a ClientHello or ServerHello (RFC 8446 §5.1), and the
// SSL 2 ClientHello (RFC 5246 §E.2).
func hello(b []byte) (proto.Match, proto.Role) {
	if len(b) < 6 {
		if len(b) > 1 && b[0] == 0x16 && b[1] == 3 {
			return proto.NeedMore, proto.AnyRole
		}
		return proto.No, proto.AnyRole
	}
	switch {
	case b[0] == 0x16 && b[1] == 3 && b[2] <= 4 && b[5] == 1:
		return proto.Yes, proto.Client
	case b[0] == 0x16 && b[1] == 3 && b[2] <= 4 && b[5] == 2:
		return proto.Yes, proto.Server
	case b[0]&0x80 != 0 && b[2] == 1 && b[3] <= 3 && b[4] <= 4 && int(b[0]&0x7f)<<8|int(b[1]) <= 256:
		return proto.Yes, proto.Client
	}
	return proto.No, proto.AnyRole
}

// record recognises a TLS record in the middle of a stream.
func record(b []byte) (proto.Match, proto.Role) {
	if len(b) < 5 || b[0] < 0x14 || b[0] > 0x17 || b[1] != 3 || b[2] == 0 || b[2] > 4 {
		return proto.No, proto.AnyRole
	}
	if n := binary.BigEndian.Uint16(b[3:]); n == 0 || n > 1<<14+2048 {
		return proto.No, proto.AnyRole
	}
	return proto.Yes, proto.AnyRole
}
