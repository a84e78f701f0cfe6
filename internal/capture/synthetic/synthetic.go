// Package synthetic makes packets of conversations that weren't captured but recorded by somebody who took part in them: who knows the
// bytes, their times, and perhaps the addresses, gets packets of TCP over IP that every tool for captures reads.
//
// # Theory of operation
//
// A Conn is told what happens, in its order, and appends the packets that would have carried it to a Batch:
//
//	Open            SYN, SYN+ACK, ACK          (Join: nothing, since the beginning isn't known)
//	Data            segments of MaxSegment bytes at most, which acknowledge all that came from the other side
//	Gap             nothing; the sequence numbers go on behind the hole
//	End             FIN+ACK, ACK
//	Reset           RST+ACK
//
// An acknowledgement without data comes where the other side has sent much, or something behind a hole, and had no answer. All packets have the
// time of what they carry: the network takes no time, loses nothing, and says nothing of the real one.
package synthetic

import (
	"encoding/binary"
	"net/netip"
)

// LinkType is the link type of the packets: they begin with IP (LINKTYPE_RAW, https://www.tcpdump.org/linktypes.html).
const LinkType = 101

const (
	// MaxSegment is the most data of a packet, in bytes: the length of an IP packet has 16 bits.
	MaxSegment = 16 << 10
	// ackEvery is how many bytes a side sends, at most, before the other acknowledges them without data of its own. It is less than
	// what the windows allow.
	ackEvery = 256 << 10

	ipv4Size = 20
	ipv6Size = 40
	tcpSize  = 20
	// optionsSize is the length of the options of a SYN: maximum segment size and window scale.
	optionsSize = 8
	// MaxPacket is the length of the largest packet, in bytes.
	MaxPacket = ipv6Size + tcpSize + MaxSegment

	protocolTCP = 6
	hopLimit    = 64
	window      = 0xffff
	// windowScale is such that no window is ever full (RFC 7323 §2.3).
	windowScale = 14
	// begin is the sequence number of the first byte of data in both directions.
	begin = 1
)

const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// Side is one of the sides of a conversation: who opened it, or who was asked to.
type Side uint8

// The sides.
const (
	Client Side = iota
	Server
)

// Other returns the opposite side.
func (s Side) Other() Side { return s ^ 1 }

// Batch takes packets. Its memory is used again after Reset.
type Batch struct {
	// Bytes are the packets, one after the other.
	Bytes   []byte
	Packets []Packet
}

// Packet is a packet in a Batch.
type Packet struct {
	// Time is in nanoseconds since 1970.
	Time int64
	// From and To are where it lies in Batch.Bytes.
	From, To int
}

// Reset empties the batch.
func (b *Batch) Reset() { b.Bytes, b.Packets = b.Bytes[:0], b.Packets[:0] }

// Room is how many bytes n bytes of data in one call of Data take in a Batch, at most, with the handshake before them and the ends behind
// them: for who brings the memory.
func Room(n int) int {
	const bare = ipv6Size + tcpSize + optionsSize
	return n + (n/MaxSegment+n/ackEvery+10)*bare
}

// Conn makes the packets of one conversation. Call Open or Join first.
type Conn struct {
	ends [2]netip.AddrPort
	half [2]half
	id   uint16
}

// half is what one side sends.
type half struct {
	// next is the sequence number of the next byte, acked is up to where the other side has acknowledged.
	next, acked uint32
	ended       bool
}

// Open begins a conversation with a handshake. Both addresses have to be of IPv4 or both of IPv6.
func (c *Conn) Open(b *Batch, client, server netip.AddrPort, at int64) {
	c.Join(client, server)
	c.half[Client].next, c.half[Server].next = begin-1, begin-1
	c.packet(b, Client, at, flagSYN, nil)
	c.half[Client].next++
	c.packet(b, Server, at, flagSYN|flagACK, nil)
	c.half[Server].next++
	c.packet(b, Client, at, flagACK, nil)
}

// Join begins a conversation of which the beginning isn't known: nothing is sent.
func (c *Conn) Join(client, server netip.AddrPort) {
	*c = Conn{ends: [2]netip.AddrPort{unmap(client), unmap(server)}}
	for s := range c.half {
		c.half[s] = half{next: begin, acked: begin}
	}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// Data has a side send bytes. What a side sends behind its end is left out.
func (c *Conn) Data(b *Batch, from Side, at int64, data []byte) {
	h := &c.half[from]
	if h.ended {
		return
	}
	for len(data) > 0 {
		n := min(len(data), MaxSegment)
		flags := uint8(flagACK)
		if n == len(data) {
			flags |= flagPSH
		}
		c.packet(b, from, at, flags, data[:n])
		h.next += uint32(n)
		data = data[n:]
		if h.next-h.acked >= ackEvery {
			c.packet(b, from.Other(), at, flagACK, nil)
		}
	}
}

// Gap has a side send n bytes that weren't recorded. The other side acknowledges them: they aren't sent again.
func (c *Conn) Gap(b *Batch, from Side, at int64, n uint32) {
	h := &c.half[from]
	if h.ended || n == 0 {
		return
	}
	h.next += n
	c.packet(b, from.Other(), at, flagACK, nil)
}

// End ends what a side sends.
func (c *Conn) End(b *Batch, from Side, at int64) {
	h := &c.half[from]
	if h.ended {
		return
	}
	c.packet(b, from, at, flagFIN|flagACK, nil)
	h.next++
	h.ended = true
	c.packet(b, from.Other(), at, flagACK, nil)
}

// Reset has a side give the conversation up.
func (c *Conn) Reset(b *Batch, from Side, at int64) {
	if c.half[from].ended {
		return
	}
	c.packet(b, from, at, flagRST|flagACK, nil)
	c.half[0].ended, c.half[1].ended = true, true
}

// packet appends a packet that a side sends, which acknowledges all that came from the other.
func (c *Conn) packet(b *Batch, from Side, at int64, flags uint8, data []byte) {
	src, dst := c.ends[from], c.ends[from.Other()]
	peer := &c.half[from.Other()]
	start := len(b.Bytes)
	size := tcpSize + len(data)
	if flags&flagSYN != 0 {
		size += optionsSize
	}
	out := appendIP(b.Bytes, src.Addr(), dst.Addr(), protocolTCP, c.id, size)
	c.id++
	segment := len(out)
	out = binary.BigEndian.AppendUint16(out, src.Port())
	out = binary.BigEndian.AppendUint16(out, dst.Port())
	out = binary.BigEndian.AppendUint32(out, c.half[from].next)
	if flags&flagACK != 0 {
		peer.acked = peer.next
		out = binary.BigEndian.AppendUint32(out, peer.next)
	} else {
		out = append(out, 0, 0, 0, 0)
	}
	out = append(out, uint8(size-len(data))/4<<4, flags)
	out = binary.BigEndian.AppendUint16(out, window)
	out = append(out, 0, 0, 0, 0)
	if flags&flagSYN != 0 {
		out = append(out, 2, 4, MaxSegment>>8, MaxSegment&0xff, 1, 3, 3, windowScale)
	}
	out = append(out, data...)
	// The checksum is over a pseudo-header, too (RFC 9293 §3.1, RFC 8200 §8.1).
	sum := addresses(src.Addr()) + addresses(dst.Addr()) + protocolTCP + uint64(size) + words(out[segment:])
	binary.BigEndian.PutUint16(out[segment+16:], fold(sum))
	b.Bytes = out
	b.Packets = append(b.Packets, Packet{Time: at, From: start, To: len(out)})
}

// appendIP appends the header of an IP packet with n bytes of payload.
func appendIP(out []byte, src, dst netip.Addr, protocol uint8, id uint16, n int) []byte {
	if !src.Is4() || !dst.Is4() {
		out = append(out, 6<<4, 0, 0, 0)
		out = binary.BigEndian.AppendUint16(out, uint16(n))
		out = append(out, protocol, hopLimit)
		a, z := src.As16(), dst.As16()
		return append(append(out, a[:]...), z[:]...)
	}
	at := len(out)
	out = append(out, 4<<4|ipv4Size/4, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(ipv4Size+n))
	out = binary.BigEndian.AppendUint16(out, id)
	out = append(out, 0x40, 0, hopLimit, protocol, 0, 0) // not to be fragmented
	a, z := src.As4(), dst.As4()
	out = append(append(out, a[:]...), z[:]...)
	binary.BigEndian.PutUint16(out[at+10:], fold(words(out[at:])))
	return out
}

// addresses adds up an address.
func addresses(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return words(b[:])
	}
	b := a.As16()
	return words(b[:])
}

// words adds up words of 16 bits (RFC 1071). Any sum of words of 32 bits folds to the same.
func words(b []byte) (s uint64) {
	for len(b) >= 8 {
		w := binary.BigEndian.Uint64(b)
		s += w>>32 + w&0xffffffff
		b = b[8:]
	}
	for len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
