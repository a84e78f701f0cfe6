// Package packet decodes captured frames: link layers, VLAN tags, tunnels, IP with
// defragmentation, the TCP, UDP and SCTP headers, and those that ICMP errors quote. It allocates nothing for a packet that isn't a
// fragment.
package packet

import (
	"encoding/binary"
	"net/netip"
)

// Addr is an IP address as 16 bytes; IPv4 is kept as an IPv4-mapped IPv6 address.
type Addr [16]byte

// Netip returns the address as a netip.Addr, IPv4 unmapped.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// String returns the usual text form of the address.
func (a Addr) String() string { return a.Netip().String() }

// TCP flags, as in the header (RFC 9293 §3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// IP protocol numbers that Decode returns as Proto.
const (
	ProtoTCP  = 6
	ProtoUDP  = 17
	ProtoSCTP = 132
)

// Packet is one decoded packet. It is reused for every packet: slices in it point into the captured
// frame, and are valid as long as that is, or into a reassembled datagram.
type Packet struct {
	// Time is the arrival in nanoseconds since 1970 UTC.
	Time int64
	// Number is that of the record; see capture.Record.
	Number uint64
	// Tap is the index of the tap.
	Tap uint32
	// Net tells apart networks whose addresses may collide: a hash of the VLAN ids (priorities and
	// VLAN 0, which is none, left out), the 802.1ah service id, and the VXLAN or Geneve network
	// identifiers, from the outside to the inside; 0 when there is none. Tunnel ids that differ by
	// direction (GTP-U TEID, GRE key) aren't in it.
	Net uint32

	// Src and Dst are the innermost IP addresses.
	Src, Dst Addr
	// SrcPort and DstPort are the transport's ports.
	SrcPort, DstPort uint16
	// Proto is the transport: ProtoTCP, ProtoUDP or ProtoSCTP.
	Proto uint8
	// IPID is the IPv4 identification, 0 for IPv6.
	IPID uint16
	// TTL is the time to live or hop limit.
	TTL uint8

	// Flags, Seq, Ack, Window and Options are the TCP header's. Window isn't scaled. Options is what
	// was captured between the fixed header and the payload.
	Flags    uint8
	Window   uint16
	Seq, Ack uint32
	Options  []byte

	// Payload is what was captured of the transport's payload (for SCTP: the chunks).
	Payload []byte
	// PayloadLen is the payload's length on the wire, in bytes; it exceeds len(Payload) when the snap
	// length cut the packet. It follows the IP header, even beyond the length of the frame.
	PayloadLen int

	// Wire is the length of the frame on the wire, Captured how much of it there is, in bytes.
	Wire, Captured uint32
	// MAC is what an Ethernet frame begins with: the receiver's address, and the sender's; zero of other links. VLAN is the identifier of
	// its outermost tag, 0 where there is none.
	MAC  [12]byte
	VLAN uint16

	// ICMP is the error message that quotes the packet, valid iff the result of Decode is ICMPError.
	ICMP ICMPHeader
}

// Flow is the key of a conversation without direction: the lower (address, port) first.
type Flow struct {
	Lo, Hi         Addr
	LoPort, HiPort uint16
	Tap            uint32
	Net            uint32
	Proto          uint8
}

// Key returns the flow key of the packet, and whether the packet goes from Lo to Hi.
func (p *Packet) Key() (f Flow, fromLo bool) {
	f.Tap, f.Net, f.Proto = p.Tap, p.Net, p.Proto
	if less(&p.Src, p.SrcPort, &p.Dst, p.DstPort) {
		f.Lo, f.Hi, f.LoPort, f.HiPort = p.Src, p.Dst, p.SrcPort, p.DstPort
		return f, true
	}
	f.Lo, f.Hi, f.LoPort, f.HiPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	return f, false
}

func less(a *Addr, aPort uint16, b *Addr, bPort uint16) bool {
	if x, y := binary.BigEndian.Uint64(a[0:]), binary.BigEndian.Uint64(b[0:]); x != y {
		return x < y
	}
	if x, y := binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(b[8:]); x != y {
		return x < y
	}
	return aPort < bPort
}

// Hash returns a hash of the flow that is the same in every process, for choosing shards. Net isn't in
// it: a mirror port may tag one direction only, and both must come to one shard.
func (f *Flow) Hash() uint64 {
	const k = 0x9E3779B97F4A7C15
	h := uint64(f.Tap)
	h = mix(h, uint64(f.LoPort)<<24|uint64(f.HiPort)<<8|uint64(f.Proto), k)
	h = mix(h, binary.LittleEndian.Uint64(f.Lo[0:]), binary.LittleEndian.Uint64(f.Lo[8:]))
	h = mix(h, binary.LittleEndian.Uint64(f.Hi[0:]), binary.LittleEndian.Uint64(f.Hi[8:]))
	return h
}

func mix(h, a, b uint64) uint64 {
	h = (h ^ a) * 0x9E3779B97F4A7C15
	h ^= h >> 29
	h = (h ^ b) * 0xBF58476D1CE4E5B9
	return h ^ h>>32
}

// Result says what Decode made of a frame.
type Result uint8

// The results of Decode. All but Decoded, Held and ICMPError are reasons for which a packet is ignored. They have the name that the
// reconciliation shows; ICMPError has that of the errors about packets of no known flow.
const (
	// Decoded: the packet holds a TCP, UDP or SCTP packet.
	Decoded Result = iota
	// Held: a fragment that waits for the others. Decoder.Counts tells what becomes of it.
	Held
	ARP
	ICMP // but for the next
	// ICMPError: the packet holds what an ICMP error message quotes of the packet that it is about: the addresses, the
	// ports, and for TCP the sequence number.
	ICMPError
	NonIP       // another network protocol: LLDP, STP, IPX, a management frame, ...
	OtherProto  // IP, but neither TCP, UDP, SCTP nor a tunnel that is known
	Encrypted   // ESP, or an 802.11 frame whose payload is encrypted
	Malformed   // a header that contradicts itself, or ends before its fixed part
	SnapCut     // the snap length cut the headers
	UnknownLink // a link type that isn't supported
	BadFragment // fragments that overlap, or never became whole, or exceeded a limit
	TooDeep     // more encapsulations than the limit
	numResults
)

var resultNames = [numResults]string{
	Decoded: "decoded", Held: "fragment", ARP: "arp", ICMP: "icmp", ICMPError: "icmp", NonIP: "non-ip", OtherProto: "other-ip",
	Encrypted: "encrypted", Malformed: "malformed", SnapCut: "snap-cut", UnknownLink: "unknown-link",
	BadFragment: "bad-fragment", TooDeep: "too-deep",
}

// String returns the name that users see.
func (r Result) String() string { return resultNames[r] }

// Results is the number of different results, for tables of counters.
const Results = int(numResults)
