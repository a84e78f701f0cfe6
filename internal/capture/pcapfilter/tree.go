package pcapfilter

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
)

// node is a condition of the syntax tree. append appends its text, which parses to the same node
// wherever a condition may stand.
type node interface {
	append(b []byte) []byte
}

// logical is a conjunction or disjunction. The language has one precedence for both, and they
// associate to the left.
type logical struct {
	or   bool
	a, b node
}

func (n *logical) append(b []byte) []byte {
	b = n.a.append(b)
	if n.or {
		b = append(b, " or "...)
	} else {
		b = append(b, " and "...)
	}
	return appendOperand(b, n.b)
}

type negation struct{ x node }

func (n *negation) append(b []byte) []byte { return appendOperand(append(b, "not "...), n.x) }

func appendOperand(b []byte, n node) []byte {
	if _, ok := n.(*logical); !ok {
		return n.append(b)
	}
	return append(n.append(append(b, '(')), ')')
}

// qualified is what the primitives with a value have in common.
type qualified struct {
	proto protocol
	dir   direction
}

func (q qualified) append(b []byte, k kind) []byte {
	if q.proto != anyProto {
		b = append(append(b, protocolTable[q.proto].name...), ' ')
	}
	if q.dir != eitherSide {
		b = append(append(b, directionNames[q.dir]...), ' ')
	}
	return append(append(b, kindNames[k]...), ' ')
}

// addressTest is "host" or "net" with an IPv4 address. A host is a net of 32 bits.
type addressTest struct {
	qualified
	addr, mask uint32
}

func (n *addressTest) append(b []byte) []byte {
	text := func(v uint32) []byte {
		return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).AppendTo(nil)
	}
	ones := bits.LeadingZeros32(^n.mask)
	switch {
	case ones == 32:
		return append(n.qualified.append(b, host), text(n.addr)...)
	case n.mask<<ones == 0:
		b = append(n.qualified.append(b, network), text(n.addr)...)
		return strconv.AppendInt(append(b, '/'), int64(ones), 10)
	}
	b = append(n.qualified.append(b, network), text(n.addr)...)
	return append(append(b, " mask "...), text(n.mask)...)
}

// address6Test is "host" or "net" with an IPv6 prefix.
type address6Test struct {
	qualified
	prefix netip.Prefix
}

func (n *address6Test) append(b []byte) []byte {
	if n.prefix.IsSingleIP() {
		return n.prefix.Addr().AppendTo(n.qualified.append(b, host))
	}
	return n.prefix.AppendTo(n.qualified.append(b, network))
}

// macTest is "ether host".
type macTest struct {
	qualified
	mac [6]byte
}

func (n *macTest) append(b []byte) []byte {
	return fmt.Appendf(n.qualified.append(b, host), "%02x:%02x:%02x:%02x:%02x:%02x",
		n.mac[0], n.mac[1], n.mac[2], n.mac[3], n.mac[4], n.mac[5])
}

// portTest is "port" or "portrange"; a port is a range of one.
type portTest struct {
	qualified
	low, high uint16
}

func (n *portTest) append(b []byte) []byte {
	if n.low == n.high {
		return strconv.AppendUint(n.qualified.append(b, port), uint64(n.low), 10)
	}
	return fmt.Appendf(n.qualified.append(b, portRange), "%d-%d", n.low, n.high)
}

// numberTest is "proto".
type numberTest struct {
	proto  protocol
	number uint32
}

func (n *numberTest) append(b []byte) []byte {
	return strconv.AppendUint(qualified{proto: n.proto}.append(b, proto), uint64(n.number), 10)
}

// protocolTest is a protocol's name alone.
type protocolTest struct{ proto protocol }

func (n *protocolTest) append(b []byte) []byte {
	return append(b, protocolTable[n.proto].name...)
}

// primitiveTest is one of the primitives of primitiveTable.
type primitiveTest struct {
	what   primitive
	proto  protocol // of broadcast and multicast
	has    bool     // a number is given
	number uint32
}

func (n *primitiveTest) append(b []byte) []byte {
	if n.proto != anyProto {
		b = append(append(b, protocolTable[n.proto].name...), ' ')
	}
	b = append(b, primitiveTable[n.what].name...)
	if n.has {
		b = strconv.AppendUint(append(b, ' '), uint64(n.number), 10)
	}
	return b
}

// relation compares two values.
type relation struct {
	op   string
	a, b value
}

func (n *relation) append(b []byte) []byte {
	b = append(append(n.a.append(b), ' '), n.op...)
	return n.b.append(append(b, ' '))
}

// value is an arithmetic expression: a *constant, *packetLength, *load, *negative or *operation.
type value interface {
	append(b []byte) []byte
}

type constant struct{ n uint32 }

func (v *constant) append(b []byte) []byte { return strconv.AppendUint(b, uint64(v.n), 10) }

type packetLength struct{}

func (*packetLength) append(b []byte) []byte { return append(b, "len"...) }

// load is bytes of the packet: proto[index:size].
type load struct {
	proto protocol
	index value
	size  int
}

func (v *load) append(b []byte) []byte {
	b = append(append(b, protocolTable[v.proto].name...), '[')
	b = v.index.append(b)
	if v.size != 1 {
		b = append(b, ':', byte('0'+v.size))
	}
	return append(b, ']')
}

type negative struct{ x value }

func (v *negative) append(b []byte) []byte {
	return appendValue(append(b, '-'), v.x, 0, unaryLevel)
}

// operation is an operator applied to two values, modulo 2^32.
type operation struct {
	op   *operator
	a, b value
}

func (v *operation) append(b []byte) []byte {
	b = appendValue(b, v.a, v.op.level, v.op.level)
	b = append(append(append(b, ' '), v.op.symbol...), ' ')
	return appendValue(b, v.b, v.op.level, v.op.level+1)
}

// appendValue appends an operand of an operator of the given level, in parentheses unless it binds at
// least as tightly as least.
func appendValue(b []byte, v value, level, least int) []byte {
	if o, ok := v.(*operation); ok && (level == looseLevel || o.op.level == looseLevel || o.op.level < least) {
		return append(v.append(append(b, '(')), ')')
	}
	if _, ok := v.(*negative); ok && level == looseLevel {
		return append(v.append(append(b, '(')), ')')
	}
	return v.append(b)
}
