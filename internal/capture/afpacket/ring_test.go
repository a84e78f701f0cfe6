//go:build linux

package afpacket

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/capture"
)

// frame is a packet as the kernel puts it into a block.
type frame struct {
	data      []byte
	length    int // on the wire
	status    uint32
	tci, tpid uint16
	protocol  uint16
	index     int32
}

// first is where the kernel puts the first byte of a packet of an interface with a header of 14 bytes.
const first = 96 + reserve - 14

// block returns a block that holds packets, owned by us.
func block(size int, packets ...frame) []byte {
	b := aligned(size)
	n := binary.NativeEndian
	n.PutUint32(b[blockStatus:], unix.TP_STATUS_USER)
	n.PutUint32(b[blockPackets:], uint32(len(packets)))
	n.PutUint32(b[blockFirst:], blockHeader)
	at := blockHeader
	for _, f := range packets {
		p := b[at:]
		next := (first + len(f.data) + 15) &^ 15
		n.PutUint32(p, uint32(next))
		n.PutUint32(p[packetSeconds:], 1_700_000_000)
		n.PutUint32(p[packetNanos:], uint32(at))
		n.PutUint32(p[packetSnapLen:], uint32(len(f.data)))
		n.PutUint32(p[packetLength:], uint32(f.length))
		n.PutUint32(p[packetStatus:], f.status)
		n.PutUint16(p[packetMAC:], first)
		n.PutUint32(p[packetTCI:], uint32(f.tci))
		n.PutUint16(p[packetTPID:], f.tpid)
		binary.BigEndian.PutUint16(p[addressProtocol:], f.protocol)
		n.PutUint32(p[addressIndex:], uint32(f.index))
		n.PutUint16(p[addressHardware:], 1)
		p[addressType], p[addressLength] = unix.PACKET_OUTGOING, 6
		copy(p[addressBytes:], "\xaa\xbb\xcc\xdd\xee\xff\x00\x00")
		copy(p[first:], f.data)
		at += next
	}
	return b
}

// aligned returns memory that is aligned as the kernel's is.
func aligned(size int) []byte {
	words := make([]uint64, size/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)
}

// over returns a ring over blocks of one size.
func over(facts Facts, blocks ...[]byte) *ring {
	size := len(blocks[0])
	g := &ring{socket: &Socket{Facts: facts}, memory: aligned(size * len(blocks))}
	for i, b := range blocks {
		copy(g.memory[i*size:], b)
	}
	g.divide(size)
	return g
}

func TestTakePutsBackWhatTheKernelTookOut(t *testing.T) {
	const (
		addresses = "0102030405060708090a0b0c"
		ip        = "4500" // and so on
	)
	tagged := uint32(unix.TP_STATUS_VLAN_VALID)
	for _, c := range []struct {
		name  string
		facts Facts
		frame frame
		want  string
	}{
		{"Ethernet", Facts{Link: LinkEthernet}, frame{data: bytesOf(t, addresses+"0800"+ip)}, addresses + "0800" + ip},
		{"a tag", Facts{Link: LinkEthernet}, frame{data: bytesOf(t, addresses+"0800"+ip), status: tagged, tci: 0x6005},
			addresses + "8100" + "6005" + "0800" + ip},
		{"the outer tag of two", Facts{Link: LinkEthernet},
			frame{data: bytesOf(t, addresses+"8100"+"0007"+"0800"+ip), status: tagged | unix.TP_STATUS_VLAN_TPID_VALID, tci: 5, tpid: 0x88a8},
			addresses + "88a8" + "0005" + "8100" + "0007" + "0800" + ip},
		{"cut in the addresses", Facts{Link: LinkEthernet}, frame{data: bytesOf(t, "0102030405"), status: tagged, tci: 5}, "0102030405"},
		{"raw IP", Facts{Link: LinkRaw}, frame{data: bytesOf(t, ip)}, ip},
		{"cooked", Facts{Link: LinkCooked, Cooked: true}, frame{data: bytesOf(t, ip), protocol: 0x0800, index: 7},
			"0800" + "0000" + "00000007" + "0001" + "04" + "06" + "aabbccddeeff0000" + ip},
		{"cooked with a tag", Facts{Link: LinkCooked, Cooked: true},
			frame{data: bytesOf(t, ip), protocol: 0x86dd, index: 7, status: tagged, tci: 0x2005},
			"8100" + "0000" + "00000007" + "0001" + "04" + "06" + "aabbccddeeff0000" + "2005" + "86dd" + ip},
		{"cooked with two tags, of which the kernel tells one", Facts{Link: LinkCooked, Cooked: true},
			frame{data: bytesOf(t, "0007"+"0800"+ip), protocol: 0x0800, index: 7, status: tagged | unix.TP_STATUS_VLAN_TPID_VALID, tci: 5, tpid: 0x88a8},
			"88a8" + "0000" + "00000007" + "0001" + "04" + "06" + "aabbccddeeff0000" + "0005" + "8100" + "0007" + "0800" + ip},
	} {
		c.frame.length = len(c.frame.data)
		g := over(c.facts, block(4096, c.frame))
		var r capture.Record
		if !g.ready() || g.take(&r) != taken {
			t.Errorf("%s: no packet", c.name)
			continue
		}
		if got := hex.EncodeToString(r.Data); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
		if r.WireLen != len(r.Data) || r.Link != c.facts.Link || r.Time != 1_700_000_000_000_000_000+blockHeader {
			t.Errorf("%s: %d bytes on the wire, link %d, time %d", c.name, r.WireLen, r.Link, r.Time)
		}
		if g.ready() {
			t.Errorf("%s: a second packet", c.name)
		}
	}
}

// A block goes back to the kernel when all who hold it have released it, and in that order the next is read.
func TestBlocksGoBackWhenReleased(t *testing.T) {
	packet := frame{data: []byte("packet"), length: 6}
	g := over(Facts{Link: LinkRaw}, block(4096, packet, packet), block(4096, packet))
	var r capture.Record
	for i, want := range []int{0, 0, 1} {
		if !g.ready() || g.take(&r) != taken {
			t.Fatalf("packet %d isn't there", i)
		}
		if r.Block != g.blocks[want] || !bytes.Equal(r.Data, packet.data) {
			t.Errorf("packet %d is %q of another block", i, r.Data)
		}
		if i == 0 {
			r.Block.Retain()
		}
	}
	mine := func(i int) bool { return *status(g.blocks[i])&unix.TP_STATUS_USER != 0 }
	if g.ready() {
		t.Error("the first block is read again while it is held")
	}
	if !mine(0) || mine(1) {
		t.Error("a block that is held went back, or one that isn't did not")
	}
	g.blocks[0].Release()
	if mine(0) {
		t.Error("the block didn't go back")
	}
	if g.holds.Load() != 1 {
		t.Errorf("%d hold the memory", g.holds.Load())
	}
}

// Looking after the sockets doesn't take back the packet that was delivered last.
func TestUpkeepKeepsTheRecord(t *testing.T) {
	packet := frame{data: []byte("packet"), length: 6}
	g := over(Facts{Link: LinkRaw}, block(4096, packet), block(4096))
	g.lost = true // so that it is to be opened anew
	reopened := 0
	s := &source{
		taps: make([]capture.Tap, 1), rings: []*ring{g}, losses: make([]losses, 1), number: tendEvery - 1, tendAt: tendEvery,
		configs: []Tap{{Sockets: []*Socket{g.socket}, Reopen: func(int) (*Socket, error) { reopened++; return nil, errors.New("not yet") }}},
	}
	var r capture.Record
	if err := s.Next(&r); err != nil || string(r.Data) != "packet" {
		t.Fatalf("%q, %v", r.Data, err)
	}
	if *status(g.blocks[0])&unix.TP_STATUS_USER == 0 || !g.held[0].Load() {
		t.Error("the block went back while its packet was in use")
	}
	if err := s.Next(&r); err != capture.ErrIdle || reopened != 1 || g.held[0].Load() {
		t.Errorf("%v, reopened %d times", err, reopened)
	}
}

// Whatever the memory holds: no packet lies outside of its block, and reading ends.
func FuzzTake(f *testing.F) {
	f.Add(block(4096, frame{data: []byte("packet"), length: 6}), false)
	f.Add(block(4096, frame{data: make([]byte, 1500), length: 9000, status: unix.TP_STATUS_VLAN_VALID}), true)
	f.Fuzz(func(t *testing.T, memory []byte, cooked bool) {
		b := block(4096)
		copy(b, memory)
		binary.NativeEndian.PutUint32(b[blockStatus:], unix.TP_STATUS_USER)
		facts := Facts{Link: LinkEthernet}
		if cooked {
			facts = Facts{Link: LinkCooked, Cooked: true}
		}
		g := over(facts, b)
		b = g.memory
		var r capture.Record
		for n := 0; g.ready(); n++ {
			if n > len(b) {
				t.Fatal("reading doesn't end")
			}
			if g.take(&r) != taken {
				continue
			}
			if len(r.Data) == 0 {
				continue
			}
			begin := uintptr(unsafe.Pointer(&r.Data[0])) - uintptr(unsafe.Pointer(&b[0]))
			if begin >= uintptr(len(b)) || begin+uintptr(len(r.Data)) > uintptr(len(b)) || r.WireLen < len(r.Data) {
				t.Fatalf("%d bytes at %d", len(r.Data), begin)
			}
		}
	})
}
