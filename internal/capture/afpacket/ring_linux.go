package afpacket

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/pcapfilter"
)

// The layout of a block and of a packet in it: struct tpacket_block_desc and struct tpacket3_hdr of
// linux/if_packet.h. All numbers are in the order of the machine.
const (
	blockStatus  = 8
	blockPackets = 12
	blockFirst   = 16
	blockHeader  = 48

	packetSeconds = 4
	packetNanos   = 8
	packetSnapLen = 12
	packetLength  = 16
	packetStatus  = 20
	packetMAC     = 24
	packetTCI     = 32
	packetTPID    = 36
	packetHeader  = 48
	// The socket address of the packet, a struct sockaddr_ll, follows the header.
	addressProtocol = packetHeader + 2
	addressIndex    = packetHeader + 4
	addressHardware = packetHeader + 8
	addressType     = packetHeader + 10
	addressLength   = packetHeader + 11
	addressBytes    = packetHeader + 12
	addressEnd      = packetHeader + 20

	cookedHeader = 20 // LINKTYPE_LINUX_SLL2
	macAddresses = 12
	vlanTag      = 4
	typeIPv4     = 0x0800
	typeVLAN     = 0x8100
	typeIPv6     = 0x86dd
)

// ring is the receiving end of a packet socket: a circle of blocks in memory that the kernel shares with us. A
// block belongs to the kernel until it is full or its time is over; then to us, until everybody who holds it has
// released it. The kernel fills the blocks in turn, and stops ("freezes") at one that isn't back yet.
//
//	kernel fills  --full, or Retire after its first packet-->  ours  --last hold released-->  kernel's again
type ring struct {
	socket *Socket
	fd     int
	tap    uint32
	memory []byte
	blocks []*capture.Block
	// held tells by block whether somebody on our side still holds it.
	held []atomic.Bool
	// holds counts who needs the memory: the source, and each block that is ours.
	holds atomic.Int32

	next int            // the block to read next
	open *capture.Block // the block that is being read, nil between blocks
	left uint32         // packets of open that weren't taken
	at   int            // where the next of them is in open
	last int64          // the time of the last one that was

	// taken counts packets delivered; seen and dropped are the kernel's counts: what passed the filter, and
	// what of it found no room.
	taken, seen, dropped uint64
	// match applies the capture filter where the kernel doesn't; nil where it does.
	match *pcapfilter.LiveMatcher
	// down: the interface went down; lost: it is gone.
	down, lost bool
}

// newRing maps the ring of a socket, whose packets are filtered here if the kernel doesn't.
func newRing(s *Socket, tap uint32, filter *pcapfilter.Filter) (*ring, error) {
	var match *pcapfilter.LiveMatcher
	if !s.Filtered && filter != nil {
		var err error
		if match, err = filter.LiveMatcher(s.Link); err != nil {
			return nil, err
		}
	}
	fd := int(s.Packets.Fd())
	memory, err := unix.Mmap(fd, 0, s.Ring, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the ring of %s: %w", s.Packets.Name(), err)
	}
	g := &ring{socket: s, fd: fd, tap: tap, memory: memory, match: match, down: s.Down}
	g.divide(s.Block)
	return g, nil
}

// divide makes the blocks.
func (g *ring) divide(size int) {
	g.holds.Store(1)
	g.held = make([]atomic.Bool, len(g.memory)/size)
	for i := range g.held {
		g.blocks = append(g.blocks, capture.NewBlock(g.memory[i*size:(i+1)*size:(i+1)*size], func(b *capture.Block) {
			atomic.StoreUint32(status(b), unix.TP_STATUS_KERNEL)
			g.held[i].Store(false)
			g.release()
		}))
	}
}

// status is the word of a block that says whose it is.
func status(b *capture.Block) *uint32 { return (*uint32)(unsafe.Pointer(&b.Bytes[blockStatus])) }

// release gives up one hold on the memory.
func (g *ring) release() {
	if g.holds.Add(-1) == 0 {
		unix.Munmap(g.memory)
		g.socket.Close()
	}
}

// close lets go of the ring. The memory stays until the last of its blocks is released.
func (g *ring) close() {
	if g.open != nil {
		g.open.Release()
		g.open = nil
	}
	g.left = 0
	g.release()
}

// ready reports whether a packet is there to be taken.
func (g *ring) ready() bool {
	for g.left == 0 {
		if g.open != nil {
			g.open.Release()
			g.open = nil
		}
		b := g.blocks[g.next]
		if g.held[g.next].Load() || atomic.LoadUint32(status(b))&unix.TP_STATUS_USER == 0 {
			return false
		}
		g.held[g.next].Store(true)
		g.holds.Add(1)
		b.Retain()
		g.open = b
		g.next++
		if g.next == len(g.blocks) {
			g.next = 0
		}
		g.left = binary.NativeEndian.Uint32(b.Bytes[blockPackets:])
		g.at = int(binary.NativeEndian.Uint32(b.Bytes[blockFirst:]))
	}
	return true
}

// time returns the arrival of the packet that is ready, 0 if the block contradicts itself.
func (g *ring) time() int64 {
	if g.at < blockHeader || g.at > len(g.open.Bytes)-addressEnd {
		return 0
	}
	return timeOf(g.open.Bytes[g.at:])
}

func timeOf(p []byte) int64 {
	return int64(binary.NativeEndian.Uint32(p[packetSeconds:]))*1e9 + int64(binary.NativeEndian.Uint32(p[packetNanos:]))
}

// outcome is what take found.
type outcome uint8

const (
	taken    outcome = iota
	rejected         // by the capture filter
	broken           // the block contradicts itself: the rest of it is passed over
)

// take takes the packet that is ready, and fills r with it if the filter passes it.
func (g *ring) take(r *capture.Record) outcome {
	b := g.open.Bytes
	at := g.at
	if at < blockHeader || at > len(b)-addressEnd {
		g.left = 0
		return broken
	}
	p := b[at:]
	first, length := int(binary.NativeEndian.Uint16(p[packetMAC:])), int(binary.NativeEndian.Uint32(p[packetSnapLen:]))
	next := int(binary.NativeEndian.Uint32(p)) // tp_next_offset
	if g.left > 1 && next < addressEnd || length > len(p) || first < addressEnd+cookedHeader+vlanTag || first > len(p)-length {
		g.left = 0
		return broken
	}
	g.left--
	g.at += next
	g.taken++
	g.last = timeOf(p)
	tagged := binary.NativeEndian.Uint32(p[packetStatus:])&unix.TP_STATUS_VLAN_VALID != 0
	wireLen := int(binary.NativeEndian.Uint32(p[packetLength:]))
	if g.match != nil && !g.match.Match(p[first:first+length], wireLen, known(p, tagged)) {
		return rejected
	}
	r.Time = g.last
	r.Data = p[first : first+length : first+length]
	r.WireLen = wireLen
	r.Block, r.Tap, r.Link = g.open, g.tap, g.socket.Link
	switch {
	case g.socket.Cooked:
		cook(r, p, first, length, tagged)
	case tagged && r.Link == LinkEthernet && length >= macAddresses:
		// The tag stood behind the addresses.
		r.Data = p[first-vlanTag : first+length : first+length]
		copy(r.Data, r.Data[vlanTag:vlanTag+macAddresses])
		putTag(r.Data[macAddresses:], p)
		r.WireLen += vlanTag
	}
	r.WireLen = max(r.WireLen, len(r.Data))
	return taken
}

// known is what the kernel knows of a packet beside its bytes.
func known(p []byte, tagged bool) *pcapfilter.Ancillary {
	a := &pcapfilter.Ancillary{
		Protocol: binary.BigEndian.Uint16(p[addressProtocol:]), PacketType: p[addressType], Stripped: tagged,
		HardwareType: binary.NativeEndian.Uint16(p[addressHardware:]), Interface: binary.NativeEndian.Uint32(p[addressIndex:]),
	}
	if tagged {
		a.TPID, a.TCI = tagOf(p)
	}
	return a
}

// tagOf returns the VLAN tag that the kernel took out of a packet: type, and priority and number.
func tagOf(p []byte) (tpid, tci uint16) {
	tpid = typeVLAN
	if binary.NativeEndian.Uint32(p[packetStatus:])&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = binary.NativeEndian.Uint16(p[packetTPID:])
	}
	return tpid, uint16(binary.NativeEndian.Uint32(p[packetTCI:]))
}

// putTag puts the tag back.
func putTag(b, p []byte) {
	tpid, tci := tagOf(p)
	binary.BigEndian.PutUint16(b, tpid)
	binary.BigEndian.PutUint16(b[2:], tci)
}

// cook puts a cooked header before a packet (https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html), made of
// the socket address that came with it. A VLAN tag follows the header.
func cook(r *capture.Record, p []byte, first, length int, tagged bool) {
	size := cookedHeader
	if tagged {
		size += vlanTag
	}
	protocol := binary.BigEndian.Uint16(p[addressProtocol:])
	r.Data = p[first-size : first+length : first+length]
	r.WireLen += size
	h := r.Data
	if tagged {
		if hasInnerTag(p[first:first+length], protocol) {
			protocol = typeVLAN
		}
		var tci uint16
		inner := protocol
		protocol, tci = tagOf(p)
		binary.BigEndian.PutUint16(h[cookedHeader:], tci)
		binary.BigEndian.PutUint16(h[cookedHeader+2:], inner)
	}
	binary.BigEndian.PutUint16(h, protocol)
	h[2], h[3] = 0, 0
	binary.BigEndian.PutUint32(h[4:], binary.NativeEndian.Uint32(p[addressIndex:]))
	binary.BigEndian.PutUint16(h[8:], binary.NativeEndian.Uint16(p[addressHardware:]))
	h[10], h[11] = p[addressType], p[addressLength]
	copy(h[12:cookedHeader], p[addressBytes:addressEnd])
}

// hasInnerTag reports whether a packet whose outer tag was taken out begins with another tag. The kernel then tells
// the protocol behind all tags, and not that there is one more.
func hasInnerTag(b []byte, protocol uint16) bool {
	if len(b) < vlanTag || binary.BigEndian.Uint16(b[2:]) != protocol {
		return false
	}
	version := b[0] >> 4
	return !(protocol == typeIPv4 && version == 4 || protocol == typeIPv6 && version == 6)
}

// count adds the kernel's counts since the last time, and returns what was dropped and how often the ring was
// full.
func (g *ring) count() (dropped, freezes uint64) {
	s, err := unix.GetsockoptTpacketStatsV3(g.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, 0 // the interface is gone
	}
	g.seen += uint64(s.Packets)
	g.dropped += uint64(s.Drops)
	return uint64(s.Drops), uint64(s.Freeze_q_cnt)
}
