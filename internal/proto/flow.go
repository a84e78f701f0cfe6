package proto

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
)

// Flow identifies a connection. It never changes once made, so that exchanges may point to it from
// any goroutine.
type Flow struct {
	// Addr and Port are the ends, indexed by Direction.
	Addr [2]packet.Addr
	Port [2]uint16
	// Proto is the transport: packet.ProtoTCP, packet.ProtoUDP or packet.ProtoSCTP.
	Proto uint8
	// Stream is the stream of an SCTP association.
	Stream uint16
	// Net tells apart networks whose addresses may collide; see packet.Packet.
	Net uint32
	// MAC are the ends' addresses on the link of the first packet, indexed by Direction, and VLAN is its outermost tag's; zero where there is
	// none, or the link isn't Ethernet.
	MAC  [2][6]byte
	VLAN uint16
	// First marks the first packet.
	First clock.Mark
	// Midstream: the capture began after the connection did.
	Midstream bool
	// Recorded: it wasn't captured on the wire but recorded by one of its ends, and its packets were made from that. How long its holes are
	// isn't known; HalfFacts.Missing counts the fragments that are missing.
	Recorded bool

	ends, community once
}

// once is a text that is made when it is first wanted.
type once struct {
	sync.Once
	text string
	at   int
}

// CommunityID returns the flow's Community ID, version 1 with seed 0
// (https://github.com/corelight/community-id-spec).
func (f *Flow) CommunityID() string {
	f.community.Do(func() {
		a, b := Originator, Responder
		if c := bytes.Compare(f.Addr[a][:], f.Addr[b][:]); c > 0 || c == 0 && f.Port[a] > f.Port[b] {
			a, b = b, a
		}
		in := make([]byte, 2, 40)
		for _, d := range [2]Direction{a, b} {
			addr := f.Addr[d][:]
			if f.Addr[d].Netip().Is4() {
				addr = addr[12:]
			}
			in = append(in, addr...)
		}
		in = append(in, f.Proto, 0)
		in = binary.BigEndian.AppendUint16(in, f.Port[a])
		in = binary.BigEndian.AppendUint16(in, f.Port[b])
		sum := sha1.Sum(in)
		f.community.text = "1:" + base64.StdEncoding.EncodeToString(sum[:])
	})
	return f.community.text
}

// End returns "address:port" of one end, IPv6 addresses in brackets.
func (f *Flow) End(d Direction) string {
	f.ends.Do(func() {
		var buf [128]byte
		b := netip.AddrPortFrom(f.Addr[Originator].Netip(), f.Port[Originator]).AppendTo(buf[:0])
		f.ends.at = len(b)
		b = netip.AddrPortFrom(f.Addr[Responder].Netip(), f.Port[Responder]).AppendTo(b)
		f.ends.text = string(b)
	})
	if d == Originator {
		return f.ends.text[:f.ends.at]
	}
	return f.ends.text[f.ends.at:]
}

// Facts are what the transport has observed of a connection so far. The transport owns and changes
// them; others read them during a call, or copy them.
type Facts struct {
	// Half holds the facts of each half-stream, indexed by its sender.
	Half [2]HalfFacts
	// SYN, SYNACK and Ready are the times of the first SYN, of the first SYN+ACK, and of the ACK that
	// completed the handshake, in nanoseconds since 1970; 0 when it wasn't seen.
	SYN, SYNACK, Ready int64
	// LastSYN and LastSYNACK are the times of the last ones. From SYN to LastSYN, and from SYNACK to LastSYNACK, the connection waited for
	// its handshake to be repeated.
	LastSYN, LastSYNACK int64
	// SYNs and SYNACKs count how often each was sent. Unaccepted counts the SYN+ACKs that were sent again although the ACK and the first
	// data of the originator had passed long before: what a listener does whose accept queue is full.
	SYNs, SYNACKs, Unaccepted uint16
	// Error is the last ICMP error that a router or an end sent of a packet of this connection; Errors counts them.
	Error  ICMPError
	Errors uint32
	// Why says how the connection ended, and By who ended it, once it has.
	Why CloseReason
	By  Direction
	// Closed marks the packet that ended it.
	Closed clock.Mark
	// Episodes are the times in which a half-stream was held up, by when they ended, at most MaxEpisodes. They are the transport's: who
	// copies the facts must copy them by themselves.
	Episodes []Episode
}

// HalfFacts are the facts of one half-stream: of what one side sent.
type HalfFacts struct {
	// Packets and Bytes count what was sent: all segments, and payload bytes with retransmissions.
	Packets, Bytes uint64
	// Wire counts the bytes of their frames on the wire, Captured those that were captured.
	Wire, Captured uint64
	// MAC is what the frame of the first packet begins with: the receiver's address, and the sender's; zero if the link isn't Ethernet.
	MAC [12]byte
	// First and Last are the times of the first and the last packet, Ended that of its end (a FIN, or a reset); 0 when there is none.
	First, Last, Ended int64
	// LastPacket is the number of the last packet.
	LastPacket uint64
	// Acked is how many bytes of this half-stream the other side has acknowledged.
	Acked int64
	// AllAcked says when the other side last acknowledged everything that this side had sent.
	AllAcked Acked

	// RTT is the smoothed round-trip time from the tap to the other side and back (RFC 6298), MinRTT
	// the smallest sample, in nanoseconds; RTTSamples counts the samples.
	RTT, MinRTT int64
	RTTSamples  uint32

	// Retransmits counts segments that carry bytes sent before; OutOfOrder those that came late by
	// reordering; DupAcks the duplicate ACKs sent (RFC 5681 §2); ZeroWindows how often the window
	// was closed; KeepAlives the keep-alive probes; SACKs the ACKs with SACK blocks; Duplicates the
	// packets captured twice; OutOfWindow the segments far outside the window, which were ignored.
	Retransmits, OutOfOrder, DupAcks, ZeroWindows uint32
	KeepAlives, SACKs, Duplicates, OutOfWindow    uint32
	// Gaps counts holes that were never filled, Missing their bytes; see Flow.Recorded.
	Gaps    uint32
	Missing int64
	// Overlaps counts retransmissions whose bytes differ from the first copy.
	Overlaps uint32

	// MSS is the maximum segment size offered, 0 when unknown. WindowScale is the shift offered, -1
	// when unknown or not offered. SACKPermitted: the SYN allowed selective acknowledgement.
	MSS           uint16
	WindowScale   int8
	SACKPermitted bool
	// Window is the last advertised receive window in bytes, scaled where the scale is known, and MaxWindow the largest.
	Window, MaxWindow uint32
	// MaxFlight is the most that was under way unacknowledged, in bytes.
	MaxFlight uint32
	// Small counts segments with payload that were smaller than the MSS and came while earlier data was unacknowledged.
	// DSACKs counts the duplicate selective acknowledgements (RFC 2883) of what this side sent.
	Small, DSACKs uint32
}

// ICMPError is an error message about a packet that couldn't be delivered (RFC 792, RFC 4443).
type ICMPError struct {
	// At marks it, From is who sent it, Of the sender of the packet that it is about.
	At   clock.Mark
	From packet.Addr
	Of   Direction
	// Type and Code are the message's, V6 tells the version of ICMP that they are of.
	Type, Code uint8
	V6         bool
	// MTU is what the next hop takes, where it says so, in bytes.
	MTU uint32
}

// Proxied is what a proxy says of the connection that it passes on, by the PROXY protocol
// (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
type Proxied struct {
	// Version is 1 or 2. Local: the proxy speaks for itself, and of no client.
	Version int
	Local   bool
	// Client and Server are the ends of the connection that the proxy took, not valid where it didn't tell.
	Client, Server netip.AddrPort
	// Transport is tcp, udp or unix, or empty.
	Transport string
	// Authority is the name that was asked for, ALPN the protocol, UniqueID an id of the connection, TLSVersion and
	// CommonName what the proxy says of its client's TLS; empty where it doesn't.
	Authority, ALPN, UniqueID, TLSVersion, CommonName string
}
