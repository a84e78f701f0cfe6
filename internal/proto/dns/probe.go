package dns

import (
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/proto"
)

// The ports by which the three are told apart.
const (
	port      = 53
	portMDNS  = 5353
	portLLMNR = 5355
	// portNetBIOS has messages of the same form, with another meaning (RFC 1002 §4.2).
	portNetBIOS = 137
)

// maxQuestion is the longest message that is believed to be a question by its beginning alone, in bytes.
const maxQuestion = 4 << 10

// maxQuestions is how many questions a message is believed to have: mDNS asks for many things at once.
const maxQuestions = 256

// role says who sends a message.
func (h *header) role() proto.Role {
	if h.response() {
		return proto.Server
	}
	return proto.Client
}

// sane reports whether a header is one of DNS, wherever it is.
func (h *header) sane() bool {
	rcode, n := h.flags&15, &h.counts
	switch op := h.opcode(); {
	case h.flags&flagZ != 0 || rcode > 11:
		return false
	case op == opUpdate:
		return n[questions] == 1
	case op != opQuery && op != opNotify || n[questions] != 1:
		return false
	case h.response():
		return true
	}
	// IXFR and NOTIFY have a record of what the sender has.
	return rcode == 0 && h.flags&(flagTC|flagRA) == 0 && n[answers] <= 1 && n[authorities] <= 1 && n[additionals] <= 4
}

// asksFor reports whether a question of that type and class is one that is asked. Types from firstPrivate on are for private
// use (RFC 6895 §3.1).
func asksFor(typ, class uint16) bool {
	const firstPrivate, lastPrivate = 65280, 65534
	return (known(typ) && typ != typeOPT || firstPrivate <= typ && typ <= lastPrivate) && (class == classIN || class == classCH || class == classANY)
}

// probeDNS is strict, but for the port of DNS.
func probeDNS(b []byte, src, dst uint16) (proto.Match, proto.Role) {
	if len(b) < headerSize || src == portNetBIOS || dst == portNetBIOS {
		return proto.No, proto.AnyRole
	}
	if src == port || dst == port {
		return lenient(b)
	}
	for _, p := range [...]uint16{src, dst} {
		if p == portMDNS || p == portLLMNR {
			return proto.No, proto.AnyRole
		}
	}
	return strict(b)
}

// probePort is for what has a port of its own.
func probePort(own uint16) func(b []byte, src, dst uint16) (proto.Match, proto.Role) {
	return func(b []byte, src, dst uint16) (proto.Match, proto.Role) {
		if src != own && dst != own || src == port || dst == port || len(b) < headerSize {
			return proto.No, proto.AnyRole
		}
		return lenient(b)
	}
}

// lenient takes what may be a message.
func lenient(b []byte) (proto.Match, proto.Role) {
	h := readHeader(b)
	op := h.opcode()
	if !h.response() && h.flags&15 != 0 || h.counts[questions] > maxQuestions {
		return proto.No, proto.AnyRole
	}
	if int(op) >= len(opcodes) || opcodes[op] == "" || h.counts[questions] == 0 && op != opDSO {
		// Nothing else tells that it is one.
		var c content
		if c.parse(b, false); c.malformed || c.surplus {
			return proto.No, proto.AnyRole
		}
		return proto.Yes, h.role()
	}
	if name, ok := skipName(b, headerSize); !ok && name < len(b) {
		return proto.No, proto.AnyRole
	}
	return proto.Yes, h.role()
}

// strict takes what is a message, to its last byte.
func strict(b []byte) (proto.Match, proto.Role) {
	if h := readHeader(b); !h.sane() {
		return proto.No, h.role()
	}
	var c content
	if c.parse(b, false); c.malformed || c.surplus || !asksFor(c.typ, c.class) {
		return proto.No, proto.AnyRole
	}
	return proto.Yes, c.role()
}

// Probe implements proto.Protocol for connections.
func Probe(b []byte) (proto.Match, proto.Role) {
	const before = lengthSize + headerSize
	if len(b) < lengthSize {
		return proto.NeedMore, proto.AnyRole
	}
	size := int(binary.BigEndian.Uint16(b))
	if size < headerSize+5 {
		return proto.No, proto.AnyRole
	}
	if len(b) < before {
		// The bits that messages don't have, as far as they are there.
		if len(b) > 4 && (b[4]&0x80 == 0 && size > maxQuestion || b[4]>>3&15 > opDSO) || len(b) > 6 && b[6] != 0 || len(b) > 7 && b[7] != 1 {
			return proto.No, proto.AnyRole
		}
		return proto.NeedMore, proto.AnyRole
	}
	if lengthSize+size <= len(b) {
		return strict(b[lengthSize:][:size])
	}
	h := readHeader(b[lengthSize:])
	if !h.sane() || !h.response() && size > maxQuestion {
		return proto.No, proto.AnyRole
	}
	var c content
	switch name, ok := skipName(b[lengthSize:], headerSize); {
	case !ok && lengthSize+name < len(b): // it isn't one
		return proto.No, proto.AnyRole
	case !c.parse(b[lengthSize:], true):
		return proto.NeedMore, proto.AnyRole
	case !asksFor(c.typ, c.class):
		return proto.No, proto.AnyRole
	}
	return proto.Yes, h.role()
}

// never is the probe for connections of what goes over datagrams alone.
func never([]byte) (proto.Match, proto.Role) { return proto.No, proto.AnyRole }

// Resume implements proto.Protocol.
func Resume(b []byte) (proto.Match, proto.Role) {
	if !sure(b) {
		return proto.No, proto.AnyRole
	}
	h := readHeader(b[lengthSize:])
	return proto.Yes, h.role()
}

// sure reports whether b begins with a whole message.
func sure(b []byte) bool {
	if len(b) < lengthSize+headerSize {
		return false
	}
	size := int(binary.BigEndian.Uint16(b))
	if size < headerSize || lengthSize+size > len(b) {
		return false
	}
	match, _ := strict(b[lengthSize:][:size])
	return match == proto.Yes
}
