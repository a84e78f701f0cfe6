package postgres

import "github.com/culprit-http/culprit/internal/proto"

// Probe implements proto.Protocol: a connection begins with a packet of a known code and a length that suits it. The server says
// nothing before.
func Probe(b []byte) (proto.Match, proto.Role) {
	if len(b) < 8 {
		// The length is at most maxStartup, and all codes are larger than 2 bytes.
		if len(b) > 0 && b[0] != 0 || len(b) > 1 && b[1] != 0 || len(b) > 2 && b[2] > maxStartup>>8 {
			return proto.No, proto.AnyRole
		}
		return proto.NeedMore, proto.AnyRole
	}
	length, code := order.Uint32(b), order.Uint32(b[4:])
	switch {
	case (code == codeTLS || code == codeGSS) && length == 8 && len(b) == 8:
	case code == codeCancel && length >= 12 && length <= 12+256:
	case code>>16 == major && length >= 9 && length <= maxStartup && (len(b) < 9 || 'a' <= b[8] && b[8] <= 'z' || b[8] == '_' || b[8] == 0):
	default:
		return proto.No, proto.AnyRole
	}
	return proto.Yes, proto.Client
}
