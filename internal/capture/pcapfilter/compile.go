package pcapfilter

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
)

// scheme is how a link layer says which network protocol it carries.
type scheme uint8

const (
	byEtherType scheme = iota
	byPPP              // the PPP protocol field
	byFamilyBE         // an address family, big endian
	byFamily           // an address family in the byte order of the machine that captured
	byVersion          // nothing but the version nibble of IP
	onlyIP
	onlyIP6
)

// layout is where things are in a packet, as far as the primitives so far have told: "vlan", "mpls"
// and "pppoes" move it for what follows in the expression, whatever the logic between them. Offsets
// are in bytes.
type layout struct {
	scheme    scheme
	ethernet  bool   // Ethernet addresses at the start of the header
	labelled  bool   // MPLS labels may follow
	labels    int    // MPLS labels so far
	header    uint32 // link header
	typeField uint32
	payload   uint32 // network header

	direction, outgoing uint32 // where the direction is, and its value for packets sent
	directionSize       int    // 0: there is none
	ifindex             uint32 // where the interface index is
	hasIfindex          bool

	live // of packet sockets
}

type linkLayer struct {
	name string
	layout
}

// linkLayers are the link types that code is generated for (https://www.tcpdump.org/linktypes.html).
var linkLayers = map[capture.LinkType]linkLayer{
	0:   {"BSD loopback", layout{scheme: byFamily, payload: 4}},
	1:   {"Ethernet", layout{ethernet: true, labelled: true, typeField: 12, payload: 14}},
	12:  {"raw IP", layout{scheme: byVersion}},
	14:  {"raw IP", layout{scheme: byVersion}},
	101: {"raw IP", layout{scheme: byVersion}},
	108: {"OpenBSD loopback", layout{scheme: byFamilyBE, payload: 4}},
	113: {"Linux cooked v1", layout{typeField: 14, payload: 16, direction: 0, outgoing: 4, directionSize: 2}},
	228: {"raw IPv4", layout{scheme: onlyIP}},
	229: {"raw IPv6", layout{scheme: onlyIP6}},
	276: {"Linux cooked v2", layout{typeField: 0, payload: 20, direction: 10, outgoing: 4, directionSize: 1, ifindex: 4, hasIfindex: true}},
}

// pppTypes are the PPP protocol numbers of what has another number as EtherType (RFC 1661, RFC 3032).
var pppTypes = map[uint32]uint32{etherIP: 0x0021, etherIP6: 0x0057, etherMPLS: 0x0281}

// The address families of the loopback link types. That of IPv6 differs between systems.
const familyIP = 2

var familiesIP6 = [...]uint32{30, 24, 28} // macOS, NetBSD and OpenBSD, FreeBSD

// compiler makes conditions of a syntax tree.
type compiler struct {
	layout
	name   string // of the link type
	reason string // why it failed, if it did

	asksType, asksTag bool // a condition depends on the network protocol, on a VLAN tag
}

func (c *compiler) fail(format string, args ...any) *condition {
	if c.reason == "" {
		c.reason = fmt.Sprintf(format, args...)
	}
	return never
}

func (c *compiler) unsupported(n node) *condition {
	return c.fail("the capture filter can't test %q on %s packets", n.append(nil), c.name)
}

// compile makes the condition of a syntax tree for packets of a layout, or of those of the variants, the first
// that applies.
func (c *compiler) compile(root node, plain layout, variants []variant) *condition {
	c.layout = plain
	whole := c.condition(root)
	asksType, asksTag := c.asksType, c.asksTag
	for _, v := range slices.Backward(variants) {
		if asksTag || asksType && v.byType {
			c.layout = v.layout
			whole = choice(v.when, c.condition(root), whole)
		}
	}
	return whole
}

// condition is a test of the packet, or a combination of others. They are evaluated from left to
// right, as far as needed.
type condition struct {
	kind conditionKind
	a, b *condition
	when *condition // of a choice

	load []bpf.Instruction // leaves the value in A, and for x also a second one in X
	test bpf.JumpTest      // of A with k, or with X: JumpEqual, JumpGreaterThan, JumpGreaterOrEqual or JumpBitsSet
	x    bool
	k    uint32
}

type conditionKind uint8

const (
	isTest conditionKind = iota
	isAnd
	isOr
	isNot
	isChoice // a if when, else b
	isAlways
	isNever
)

var (
	always = &condition{kind: isAlways}
	never  = &condition{kind: isNever}
)

func all(first *condition, rest ...*condition) *condition { return join(isAnd, first, rest) }
func anyOf(first *condition, rest ...*condition) *condition {
	return join(isOr, first, rest)
}
func not(a *condition) *condition { return &condition{kind: isNot, a: a} }

func join(k conditionKind, c *condition, rest []*condition) *condition {
	for _, r := range rest {
		c = &condition{kind: k, a: c, b: r}
	}
	return c
}

func choice(when, a, b *condition) *condition {
	return &condition{kind: isChoice, when: when, a: a, b: b}
}

// at loads size bytes at an offset.
func at(offset uint32, size int) []bpf.Instruction {
	if offset >= ancillaryOffset {
		return []bpf.Instruction{bpf.LoadExtension{Num: bpf.Extension(offset - ancillaryOffset)}}
	}
	return []bpf.Instruction{bpf.LoadAbsolute{Off: offset, Size: size}}
}

// equal tests size bytes at an offset.
func equal(offset uint32, size int, k uint32) *condition {
	return &condition{load: at(offset, size), test: bpf.JumpEqual, k: k}
}

// masked tests the bits of mask of size bytes at an offset.
func masked(offset uint32, size int, k, mask uint32) *condition {
	c := equal(offset, size, k)
	if mask != ^uint32(0) {
		c.load = append(c.load, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask})
	}
	return c
}

// condition compiles a node. The order of its calls is that of the text: the layout depends on it.
func (c *compiler) condition(n node) *condition {
	switch n := n.(type) {
	case *logical:
		a := c.condition(n.a)
		b := c.condition(n.b)
		if n.or {
			return anyOf(a, b)
		}
		return all(a, b)
	case *negation:
		return not(c.condition(n.x))
	case *addressTest:
		return c.address(n)
	case *address6Test:
		return c.address6(n)
	case *macTest:
		return c.mac(n)
	case *portTest:
		return c.port(n)
	case *numberTest:
		return c.number(n)
	case *protocolTest:
		return c.protocol(n.proto)
	case *primitiveTest:
		return c.primitive(n)
	}
	return c.relation(n.(*relation))
}

// network tests the network protocol.
func (c *compiler) network(etherType uint32) *condition {
	c.asksType = true
	if c.labels > 0 {
		// No field names what is under the labels: it is IP if the last label has its bottom bit set
		// (RFC 3032 §2.1) and the version fits.
		bottom := masked(c.payload-2, 1, 1, 1)
		switch etherType {
		case etherIP:
			return all(bottom, masked(c.payload, 1, 0x40, 0xf0))
		case etherIP6:
			return all(bottom, masked(c.payload, 1, 0x60, 0xf0))
		}
		return c.fail("the capture filter can't tell protocols other than ip and ip6 after %q", "mpls")
	}
	switch c.scheme {
	case byEtherType:
		if c.payload == nowhere && etherType != etherVLAN && etherType != etherQinQ {
			return never // what there is, is a tag
		}
		return equal(c.typeField, 2, etherType)
	case byPPP:
		if t, ok := pppTypes[etherType]; ok {
			etherType = t
		}
		return equal(c.typeField, 2, etherType)
	case byVersion:
		switch etherType {
		case etherIP:
			return masked(0, 1, 0x40, 0xf0)
		case etherIP6:
			return masked(0, 1, 0x60, 0xf0)
		}
	case onlyIP:
		if etherType == etherIP {
			return always
		}
	case onlyIP6:
		if etherType == etherIP6 {
			return always
		}
	default:
		switch etherType {
		case etherIP:
			return c.addressFamily(familyIP)
		case etherIP6:
			return anyOf(c.addressFamily(familiesIP6[0]), c.addressFamily(familiesIP6[1]), c.addressFamily(familiesIP6[2]))
		}
	}
	return never
}

// addressFamily tests the loopback header. Families are small, so a file from a machine of the other
// byte order needs no telling.
func (c *compiler) addressFamily(family uint32) *condition {
	if c.scheme == byFamilyBE {
		return equal(0, 4, family)
	}
	return anyOf(equal(0, 4, family<<24), equal(0, 4, family))
}

// sides combines the conditions on source and destination.
func sides(d direction, src, dst *condition) *condition {
	switch d {
	case source:
		return src
	case destination:
		return dst
	case bothSides:
		return all(src, dst)
	}
	return anyOf(src, dst)
}

func (c *compiler) address(n *addressTest) *condition {
	either := func(src, dst uint32) *condition {
		return sides(n.dir, masked(c.payload+src, 4, n.addr, n.mask), masked(c.payload+dst, 4, n.addr, n.mask))
	}
	// The sender's and target's protocol addresses (RFC 826), where hardware addresses have 6 bytes.
	const arpSource, arpTarget = 14, 24
	switch n.proto {
	case ip:
		return all(c.network(etherIP), either(12, 16))
	case arp, rarp:
		return all(c.network(uint32(protocolTable[n.proto].etherType)), either(arpSource, arpTarget))
	}
	test := all(c.network(etherIP), either(12, 16))
	if c.labels > 0 {
		return test // nothing but IP is known under labels
	}
	return anyOf(test, all(anyOf(c.network(etherARP), c.network(etherRARP)), either(arpSource, arpTarget)))
}

func (c *compiler) address6(n *address6Test) *condition {
	addr := n.prefix.Addr().As16()
	words := func(offset uint32) (test *condition) {
		for i := 0; i < 16; i += 4 {
			ones := max(0, min(n.prefix.Bits()-8*i, 32))
			word := masked(c.payload+offset+uint32(i), 4, binary.BigEndian.Uint32(addr[i:]), ^uint32(0)<<(32-ones))
			if test == nil {
				test = word
			} else {
				test = all(test, word)
			}
		}
		return test
	}
	return all(c.network(etherIP6), sides(n.dir, words(8), words(24)))
}

func (c *compiler) mac(n *macTest) *condition {
	if !c.ethernet {
		return c.unsupported(n)
	}
	return sides(n.dir, c.macAt(6, n.mac), c.macAt(0, n.mac))
}

func (c *compiler) macAt(offset uint32, mac [6]byte) *condition {
	offset += c.header
	return all(equal(offset+2, 4, binary.BigEndian.Uint32(mac[2:])), equal(offset, 2, uint32(binary.BigEndian.Uint16(mac[:]))))
}

// port tests ports: of the first fragments of IPv4, and of IPv6 without extension headers.
func (c *compiler) port(n *portTest) *condition {
	numbers := []uint32{protoSCTP, protoTCP, protoUDP}
	if n.proto != anyProto {
		numbers = []uint32{protocolTable[n.proto].number}
	}
	carries := func(offset uint32) *condition {
		test := equal(c.payload+offset, 1, numbers[0])
		for _, number := range numbers[1:] {
			test = anyOf(test, equal(c.payload+offset, 1, number))
		}
		return test
	}
	ports := func(load func(offset uint32) []bpf.Instruction) *condition {
		inRange := func(offset uint32) *condition {
			number := load(offset)
			if n.low == n.high {
				return &condition{load: number, test: bpf.JumpEqual, k: uint32(n.low)}
			}
			return all(&condition{load: number, test: bpf.JumpGreaterOrEqual, k: uint32(n.low)},
				not(&condition{load: number, test: bpf.JumpGreaterThan, k: uint32(n.high)}))
		}
		return sides(n.dir, inRange(0), inRange(2))
	}
	v6 := ports(func(offset uint32) []bpf.Instruction {
		return []bpf.Instruction{bpf.LoadAbsolute{Off: c.payload + 40 + offset, Size: 2}}
	})
	v4 := ports(func(offset uint32) []bpf.Instruction {
		return []bpf.Instruction{bpf.LoadMemShift{Off: c.payload}, bpf.LoadIndirect{Off: c.payload + offset, Size: 2}}
	})
	return anyOf(
		all(c.network(etherIP6), carries(6), v6),
		all(c.network(etherIP), carries(9), c.firstFragment(), v4))
}

// firstFragment tests that an IPv4 packet is whole or a first fragment: the fragment offset is 0
// (RFC 791 §3.1).
func (c *compiler) firstFragment() *condition {
	return not(&condition{
		load: []bpf.Instruction{bpf.LoadAbsolute{Off: c.payload + 6, Size: 2}},
		test: bpf.JumpBitsSet, k: 0x1fff,
	})
}

// inIP and inIP6 test the transport. That of IPv6 is also looked for after a fragment header at the
// very start, as libpcap does.
func (c *compiler) inIP(number uint32) *condition {
	return all(c.network(etherIP), equal(c.payload+9, 1, number))
}

func (c *compiler) inIP6(number uint32) *condition {
	return all(c.network(etherIP6), anyOf(equal(c.payload+6, 1, number),
		all(equal(c.payload+6, 1, protoFragment), equal(c.payload+40, 1, number))))
}

func (c *compiler) number(n *numberTest) *condition {
	switch n.proto {
	case link:
		return c.network(n.number)
	case ip:
		return c.inIP(n.number)
	case ip6:
		return c.inIP6(n.number)
	}
	return anyOf(c.inIP(n.number), c.inIP6(n.number))
}

func (c *compiler) protocol(p protocol) *condition {
	info := &protocolTable[p]
	switch info.family {
	case noFamily:
		return c.network(uint32(info.etherType))
	case inIP:
		return c.inIP(info.number)
	case inIP6:
		return c.inIP6(info.number)
	}
	return anyOf(c.inIP6(info.number), c.inIP(info.number))
}

func (c *compiler) primitive(n *primitiveTest) *condition {
	length := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}}
	switch n.what {
	case less:
		return not(&condition{load: length, test: bpf.JumpGreaterThan, k: n.number})
	case greater:
		return &condition{load: length, test: bpf.JumpGreaterOrEqual, k: n.number}
	case vlan:
		return c.vlan(n)
	case mpls:
		return c.mpls(n)
	case pppoed:
		return c.network(etherPPPoD)
	case pppoes:
		return c.pppoes(n)
	case broadcast, multicast:
		return c.cast(n)
	case ifindex:
		if !c.hasIfindex {
			return c.unsupported(n)
		}
		return equal(c.ifindex, 4, n.number)
	}
	if c.directionSize == 0 {
		return c.fail("the capture filter can't test %q: %s packets don't say which way they went", n.append(nil), c.name)
	}
	sent := equal(c.direction, c.directionSize, c.outgoing)
	if n.what == inbound {
		return not(sent)
	}
	return sent
}

func (c *compiler) cast(n *primitiveTest) *condition {
	switch {
	case n.proto == ip: // 224.0.0.0/4 and above
		return all(c.network(etherIP), &condition{
			load: []bpf.Instruction{bpf.LoadAbsolute{Off: c.payload + 16, Size: 1}}, test: bpf.JumpGreaterOrEqual, k: 224,
		})
	case n.proto == ip6: // ff00::/8
		return all(c.network(etherIP6), equal(c.payload+24, 1, 0xff))
	case !c.ethernet:
		return c.unsupported(n)
	case n.what == broadcast:
		return c.macAt(0, [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	}
	return &condition{load: []bpf.Instruction{bpf.LoadAbsolute{Off: c.header, Size: 1}}, test: bpf.JumpBitsSet, k: 1}
}

func (c *compiler) vlan(n *primitiveTest) *condition {
	if c.scheme != byEtherType || c.labels > 0 {
		return c.unsupported(n)
	}
	c.asksTag = true
	test, tci := always, c.payload
	if !c.stripped {
		test = anyOf(c.network(etherVLAN), c.network(etherQinQ), c.network(etherQinQ9))
	}
	switch {
	case c.stripped:
		tci = adTCI
		c.typeField, c.payload, c.stripped = c.behind.typeField, c.behind.payload, false
	case c.ahead:
		tci = c.typeField + 2
		c.typeField, c.payload = c.typeField+4, 0
	default:
		c.typeField, c.payload = c.payload+2, c.payload+4
	}
	if n.has {
		test = all(test, masked(tci, 2, n.number, 0x0fff))
	}
	return test
}

func (c *compiler) mpls(n *primitiveTest) *condition {
	var test *condition
	switch {
	case !c.labelled:
		return c.unsupported(n)
	case c.labels > 0:
		test = masked(c.payload-2, 1, 0, 1) // the label before isn't the last
	default:
		test = c.network(etherMPLS)
	}
	if n.has {
		test = all(test, masked(c.payload, 4, n.number<<12, 0xfffff000))
	}
	c.payload += 4
	c.labels++
	return test
}

func (c *compiler) pppoes(n *primitiveTest) *condition {
	test := c.network(etherPPPoS)
	if n.has {
		test = all(test, masked(c.payload, 4, n.number, 0xffff))
	}
	// What follows is a PPP packet after the PPPoE header (RFC 2516 §4).
	c.scheme, c.ethernet, c.labelled, c.fields = byPPP, false, true, nil
	c.header = c.payload + 6
	c.typeField = c.header
	c.payload = c.header + 2
	return test
}

// relation compares two values, after all the tests that the bytes to load are those meant.
func (c *compiler) relation(n *relation) *condition {
	test := &condition{}
	a := c.value(n.a, 0)
	if k, ok := n.b.(*constant); ok {
		test.load, test.k = a, k.n
	} else {
		test.load, test.x = slices.Concat(a, []bpf.Instruction{bpf.StoreScratch{Src: bpf.RegA, N: 0}}, c.value(n.b, 1),
			[]bpf.Instruction{bpf.TAX{}, bpf.LoadScratch{Dst: bpf.RegA, N: 0}}), true
	}
	inverted := false
	switch n.op {
	case "=", "!=":
		test.test, inverted = bpf.JumpEqual, n.op == "!="
	case ">", "<=":
		test.test, inverted = bpf.JumpGreaterThan, n.op == "<="
	case ">=", "<":
		test.test, inverted = bpf.JumpGreaterOrEqual, n.op == "<"
	}
	if inverted {
		test = not(test)
	}
	conditions := append(c.present(n.a), c.present(n.b)...)
	conditions = append(conditions, test)
	return all(conditions[0], conditions[1:]...)
}

// present returns the tests that a packet has the headers that a value loads bytes of.
func (c *compiler) present(v value) []*condition {
	switch v := v.(type) {
	case *negative:
		return c.present(v.x)
	case *operation:
		return c.present(v.a) // libpcap forgets the right operand's, and filters are written by its results
	case *load:
		index := c.present(v.index)
		switch info := &protocolTable[v.proto]; {
		case v.proto == link:
			return index
		case info.family == noFamily:
			return append(index, c.network(uint32(info.etherType)))
		case info.family == inIP6:
			return append(index, c.network(etherIP6), equal(c.payload+6, 1, info.number))
		default:
			return slices.Concat([]*condition{c.network(etherIP)}, index,
				[]*condition{equal(c.payload+9, 1, info.number), c.firstFragment()})
		}
	}
	return nil
}

// scratchSlots is how many values a program can put aside (BPF_MEMWORDS).
const scratchSlots = 16

// value loads a value into A. Scratch slots from slot on are free for it.
func (c *compiler) value(v value, slot int) []bpf.Instruction {
	if slot >= scratchSlots {
		c.fail("the capture filter has an arithmetic expression that needs more than %d intermediate values", scratchSlots)
		return nil
	}
	put := bpf.StoreScratch{Src: bpf.RegA, N: slot}
	get := bpf.LoadScratch{Dst: bpf.RegA, N: slot}
	switch v := v.(type) {
	case *constant:
		return []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA, Val: v.n}}
	case *packetLength:
		return []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}}
	case *negative:
		return append(c.value(v.x, slot), bpf.TAX{}, bpf.LoadConstant{Dst: bpf.RegA, Val: 0}, bpf.ALUOpX{Op: bpf.ALUOpSub})
	case *operation:
		a := c.value(v.a, slot)
		if k, ok := v.b.(*constant); ok {
			return append(a, bpf.ALUOpConstant{Op: v.op.alu, Val: k.n})
		}
		return slices.Concat(a, []bpf.Instruction{put}, c.value(v.b, slot+1), []bpf.Instruction{bpf.TAX{}, get, bpf.ALUOpX{Op: v.op.alu}})
	}
	return c.bytes(v.(*load), slot)
}

func (c *compiler) bytes(v *load, slot int) []bpf.Instruction {
	base, inIPv4 := c.payload, false
	switch info := &protocolTable[v.proto]; {
	case v.proto == link && c.fields != nil:
		return c.headerBytes(v)
	case v.proto == link:
		base = c.header
	case v.proto == icmp6:
		base += 40
	case info.family != noFamily:
		inIPv4 = true
	}
	shift := bpf.LoadMemShift{Off: c.payload}
	if k, ok := v.index.(*constant); ok {
		if inIPv4 {
			return []bpf.Instruction{shift, bpf.LoadIndirect{Off: base + k.n, Size: v.size}}
		}
		return []bpf.Instruction{bpf.LoadAbsolute{Off: base + k.n, Size: v.size}}
	}
	index := c.value(v.index, slot)
	if inIPv4 {
		index = append(index, bpf.StoreScratch{Src: bpf.RegA, N: slot}, shift, bpf.LoadScratch{Dst: bpf.RegA, N: slot}, bpf.ALUOpX{Op: bpf.ALUOpAdd})
	}
	return append(index, bpf.TAX{}, bpf.LoadIndirect{Off: base, Size: v.size})
}
