package pcapfilter

import (
	"golang.org/x/net/bpf"

	"github.com/culprit-http/culprit/internal/capture"
)

// A program on a packet socket sees a packet as the kernel holds it, which isn't how it will lie in a record.
// The outermost VLAN tag is gone, and where the socket is of type SOCK_DGRAM ("cooked"), so is the link header.
// What they said is ancillary data, which is loaded from offsets that no packet reaches.
//
//	link type 1             Ethernet header | network header           the outermost tag, if any, is ancillary
//	link type 1, sent       Ethernet header | tags | network header    unless the card adds the outermost
//	link type 101           network header
//	link type 276           more tags | network header                 the outermost tag and the type are ancillary
//	link type 276, sent     network header                             all tags are in the link header, before it
//
// So the tree is compiled for each way in which a packet may lie, and the program chooses. Where nothing is
// asked that lies differently, one way is enough. That "vlan" moves what follows stays a matter of the text, not
// of what was evaluated: a filter means the same live and in a file.
//
// Of two tags that are sent, one of 0x9100 within one of another type is passed over: the kernel doesn't take it
// for a tag.

// Offsets that aren't positions in the data (Linux, include/uapi/linux/filter.h).
const (
	ancillaryOffset = 0xfffff000 // SKF_AD_OFF: ancillary data, by its number
	linkOffset      = 0xffe00000 // SKF_LL_OFF: the link header, also where the data begins behind it

	adProtocol     = ancillaryOffset + uint32(bpf.ExtProto)
	adPacketType   = ancillaryOffset + uint32(bpf.ExtType)
	adInterface    = ancillaryOffset + uint32(bpf.ExtInterfaceIndex)
	adHardwareType = ancillaryOffset + uint32(bpf.ExtLinkLayerType)
	adTCI          = ancillaryOffset + uint32(bpf.ExtVLANTag)
	adStripped     = ancillaryOffset + uint32(bpf.ExtVLANTagPresent)
	adTPID         = ancillaryOffset + uint32(bpf.ExtVLANProto)
)

const (
	// nowhere is an offset beyond every packet. A load from there rejects the packet.
	nowhere = 1 << 30
	// longest is more than the length of any packet, and less than how far the offsets of the link header go.
	longest = 1 << 19
	// outgoing is the packet type of what this machine sends (PACKET_OUTGOING of linux/if_packet.h), in cooked
	// headers too.
	outgoing = 4
	// cookedHeader is the length of the header of Linux cooked v2, and etherHeader that of Ethernet's, in bytes.
	cookedHeader, etherHeader = 20, 14
)

// live is what a layout says of the packets of sockets.
type live struct {
	// stripped says that the outermost tag is ancillary. behind is where things are after it.
	stripped bool
	behind   struct{ typeField, payload uint32 }
	// ahead says that the tags are before the data.
	ahead bool
	// fields are pieces of the link header that the record will have, where the packet has none. From the offset
	// rest on, the record's bytes are those of the packet from restAt on.
	fields       []headerField
	rest, restAt uint32
}

// headerField is size bytes of a record at an offset that are the value loaded from another.
type headerField struct {
	offset uint32
	size   int
	from   uint32
}

// variant is a layout that some packets have.
type variant struct {
	when *condition
	// byType says that it matters to what asks for the network protocol, and not only to what asks for a tag.
	byType bool
	layout layout
}

// liveLayer returns how packets of a link type lie on a socket: the plain layout, and those that are to be tried
// before it.
func liveLayer(link capture.LinkType) (plain linkLayer, variants []variant, ok bool) {
	plain = linkLayers[link]
	plain.direction, plain.outgoing, plain.directionSize = adPacketType, outgoing, 1
	plain.ifindex, plain.hasIfindex = adInterface, true
	isStripped := equal(adStripped, 1, 1)
	switch link {
	case 101:
		return plain, nil, true
	case 1:
		// Before "vlan", a stripped tag isn't seen: so it is in tcpdump.
		received := plain.layout
		received.stripped = true
		received.behind.typeField, received.behind.payload = plain.typeField, plain.payload
		return plain, []variant{{isStripped, false, received}}, true
	case 276:
		plain.name = "live " + plain.name
		plain.typeField, plain.payload = adProtocol, 0
		plain.fields, plain.rest = cookedFields(adProtocol), cookedHeader

		received := plain.layout
		received.typeField, received.payload = adTPID, nowhere
		received.stripped, received.behind.typeField, received.behind.payload = true, adProtocol, 0
		received.fields = append(cookedFields(adTPID), headerField{cookedHeader, 2, adTCI}, headerField{cookedHeader + 2, 2, adProtocol})
		received.rest = cookedHeader + 4

		sent := plain.layout
		sent.typeField, sent.payload, sent.ahead = linkOffset+etherHeader-2, nowhere, true
		sent.restAt = linkOffset + etherHeader
		isTag := anyOf(equal(adProtocol, 2, etherVLAN), equal(adProtocol, 2, etherQinQ))
		return plain, []variant{{isStripped, true, received}, {isTag, false, sent}}, true
	}
	return plain, nil, false
}

// cookedFields returns the fields of a cooked header that are ancillary data. The sender's address isn't.
func cookedFields(protocol uint32) []headerField {
	return []headerField{{0, 2, protocol}, {4, 4, adInterface}, {8, 2, adHardwareType}, {10, 1, adPacketType}}
}

// headerBytes loads bytes of a link header that the packet doesn't have.
func (c *compiler) headerBytes(v *load) []bpf.Instruction {
	k, ok := v.index.(*constant)
	if !ok {
		c.fail("the capture filter can't test %q on %s packets: the offset must be a number there", v.append(nil), c.name)
		return nil
	}
	c.asksType = true
	c.asksTag = c.asksTag || k.n >= cookedHeader
	switch {
	case k.n > longest:
		return at(nowhere, v.size)
	case k.n >= c.rest:
		return at(k.n-c.rest+c.restAt, v.size)
	}
	for _, f := range c.fields {
		before, after := int(k.n)-int(f.offset), int(f.offset)+f.size-int(k.n)-v.size
		if before < 0 || after < 0 {
			continue
		}
		code := at(f.from, f.size)
		if after > 0 {
			code = append(code, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: uint32(8 * after)})
		}
		if before > 0 {
			code = append(code, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 1<<(8*v.size) - 1})
		}
		return code
	}
	c.fail("the capture filter can't test %q on %s packets: of the link header there is the protocol (ether[0:2]), the interface "+
		"(ether[4:4]), its type (ether[8:2]) and the packet's (ether[10])", v.append(nil), c.name)
	return nil
}

// Ancillary is what the kernel knows of a packet on a socket besides its bytes.
type Ancillary struct {
	// Protocol is the EtherType; that of what is behind the tag, if one was stripped.
	Protocol uint16
	// PacketType is a PACKET_ constant of linux/if_packet.h, such as PACKET_OUTGOING, and HardwareType an ARPHRD_
	// constant of linux/if_arp.h.
	PacketType   uint8
	HardwareType uint16
	// Interface is the index of the interface.
	Interface uint32
	// Stripped says that the packet's outermost VLAN tag was taken out of its bytes. TPID and TCI are those of
	// the tag.
	Stripped  bool
	TPID, TCI uint16

	link []byte // the link header, of cooked packets
}

// load does a load from an offset beyond the data.
func (a *Ancillary) load(i *bpf.RawInstruction) (value uint32, ok bool) {
	if a == nil {
		return 0, false
	}
	if i.K >= linkOffset && i.K < ancillaryOffset {
		size := uint32(4)
		switch i.Op {
		case ldB:
			size = 1
		case ldH:
			size = 2
		}
		at := i.K - linkOffset
		if uint64(at)+uint64(size) > uint64(len(a.link)) {
			return 0, false
		}
		for _, b := range a.link[at : at+size] {
			value = value<<8 | uint32(b)
		}
		return value, true
	}
	switch i.K {
	case adProtocol:
		return uint32(a.Protocol), true
	case adPacketType:
		return uint32(a.PacketType), true
	case adHardwareType:
		return uint32(a.HardwareType), true
	case adInterface:
		return a.Interface, true
	case adStripped:
		if a.Stripped {
			value = 1
		}
		return value, true
	case adTCI:
		return uint32(a.TCI), true
	case adTPID:
		return uint32(a.TPID), true
	}
	return 0, false
}

// LiveMatcher runs a filter on the packets of packet sockets, with the verdicts of the program that Compile makes
// for the kernel. It is for filters that the kernel doesn't take. It doesn't change, and is safe for concurrent
// use.
type LiveMatcher struct {
	code []bpf.RawInstruction
}

// MaxInterpreted is the longest program of a LiveMatcher, in instructions.
const MaxInterpreted = 4 * MaxInstructions

// LiveMatcher returns a LiveMatcher of the filter for the packets of sockets of a link type (see Options.Live). The
// error is a *LinkError.
func (f *Filter) LiveMatcher(link capture.LinkType) (*LiveMatcher, error) {
	program, err := f.program(link, Options{SnapLen: 1, Live: true}, MaxInterpreted)
	if err != nil {
		return nil, err
	}
	code, err := bpf.Assemble(program)
	return &LiveMatcher{code}, err
}

// Match reports whether the filter passes a packet. data is what was captured of it, as the kernel gave it: from
// the link header on or, of a SOCK_DGRAM socket, from the network header, and without the tag that known speaks
// of. wireLen is the length of the same on the wire.
func (m *LiveMatcher) Match(data []byte, wireLen int, known *Ancillary) bool {
	return runLive(m.code, data, uint32(wireLen), known) != 0
}
