package uwsgi

import (
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/proto"
)

// packetHeader is the length of a packet's header: modifier1, the size of what follows (little-endian), modifier2.
const packetHeader = 4

// requests are the modifiers of packets that are a request: a block of variables, which its body follows. They say who is to
// answer: WSGI, PSGI, Lua, Rack, the JVM, CGI, PHP, Mono.
var requests = [256]bool{0: true, 5: true, 6: true, 7: true, 8: true, 9: true, 14: true, 15: true}

// minBlock is the size of the smallest block that is taken for one: one variable.
const minBlock = 2 + 1 + 2

// variable takes a variable off b: two texts, each behind its length in two bytes. It reports whether there was one.
func variable(b []byte) (name, value, rest []byte, ok bool) {
	if name, b, ok = text(b); !ok {
		return nil, nil, nil, false
	}
	value, rest, ok = text(b)
	return name, value, rest, ok
}

func text(b []byte) (t, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// enough is how many variables convince Probe.
const enough = 2

// Probe implements proto.Protocol: a web server begins with a packet that is a request, whose first variables have names as such
// variables have.
func Probe(b []byte) (proto.Match, proto.Role) {
	switch {
	case len(b) == 0:
		return proto.NeedMore, proto.AnyRole
	case !requests[b[0]], len(b) >= packetHeader && b[3] != 0:
		return proto.No, proto.AnyRole
	case len(b) < packetHeader:
		return proto.NeedMore, proto.Client
	}
	size := int(binary.LittleEndian.Uint16(b[1:]))
	if size < minBlock {
		return proto.No, proto.AnyRole
	}
	block := b[packetHeader:min(len(b), packetHeader+size)]
	whole := len(block) == size
	for n := 0; n < enough && (len(block) > 0 || !whole); n++ {
		if !plausibleName(block) {
			return proto.No, proto.AnyRole
		}
		_, _, rest, ok := variable(block)
		switch {
		case !ok && whole:
			return proto.No, proto.AnyRole
		case !ok:
			return proto.NeedMore, proto.Client
		}
		block = rest
	}
	return proto.Yes, proto.Client
}

// maxName is the longest name that a variable is expected to have.
const maxName = 255

// plausibleName reports whether b may begin with the name of a variable: letters in upper case, digits and underscores.
func plausibleName(b []byte) bool {
	if len(b) < 2 {
		return len(b) == 0 || b[0] > 0
	}
	n := int(binary.LittleEndian.Uint16(b))
	if n == 0 || n > maxName {
		return false
	}
	for i, c := range b[2:min(len(b), 2+n)] {
		if (c < 'A' || c > 'Z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

// Resume implements proto.Protocol: it says Yes to a segment that begins with a request, if the method is within it.
func Resume(b []byte) (proto.Match, proto.Role) {
	if m, _ := Probe(b); m != proto.Yes {
		return proto.No, proto.AnyRole
	}
	block := b[packetHeader:min(len(b), packetHeader+int(binary.LittleEndian.Uint16(b[1:])))]
	for plausibleName(block) {
		name, _, rest, ok := variable(block)
		if !ok {
			break
		}
		if string(name) == "REQUEST_METHOD" {
			return proto.Yes, proto.Client
		}
		block = rest
	}
	return proto.No, proto.AnyRole
}
