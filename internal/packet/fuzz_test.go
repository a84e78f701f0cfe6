// Invariants. Decode: whatever the bytes, it doesn't panic; a packet that it calls decoded has its
// slices within the frame or a reassembled datagram and a length on the wire of at least what was
// captured; every frame is counted exactly once, and after Flush none is held. Reassembly: a datagram
// that is cut anyhow and comes in any order has the same bytes; memory keeps to its limit.

package packet

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/culprit-http/culprit/internal/capture"
)

func FuzzDecode(f *testing.F) {
	tcp := tcpSegment()
	v4 := ip4(ProtoTCP, tcp)
	f.Add(uint16(1), uint16(0), eth(typeIPv4, v4))
	f.Add(uint16(1), uint16(60), eth(typeVLAN, vlan(7, typeIPv6, ip6(ProtoTCP, tcp))))
	f.Add(uint16(1), uint16(0), eth(typeMPLS, concat(x("00020140 00000000"), eth(typeIPv4, v4))))
	f.Add(uint16(127), uint16(0), concat(x("0000 0900 02000000 10"), x("8802 0000"), make([]byte, 20), x("8000"), make([]byte, 12), u16(8+len(v4)), snap(typeIPv4, v4)))
	f.Add(uint16(239), uint16(0), concat(x("02 00 0000"), little16(4+len(v4)), little16(9), v4))
	f.Add(uint16(101), uint16(0), ip6(protoHopByHop, concat(x("06 00 c204"), u32(8+len(tcp)), tcp)))
	f.Add(uint16(101), uint16(0), ip6Fragment(ProtoTCP, 1, 9, tcp[:16]))
	f.Add(uint16(101), uint16(0), ip4Fragment(ProtoTCP, 2, 9, tcp[16:]))
	for _, port := range []int{4789, 4790, 6081, 2152, 3544, 1701, 4754, 6635, 4500} {
		f.Add(uint16(101), uint16(0), ip4(ProtoUDP, udp(50000, port, concat(x("3cff 0000 00000085 01100900 00000000"), v4))))
	}
	f.Add(uint16(101), uint16(0), ip4(protoGRE, concat(x("1000 22eb 00000001 20070001 00000000 0000 0801"), make([]byte, 8), v4)))
	f.Add(uint16(101), uint16(0), ip4Back(protoICMP, icmpMessage(3, 4, x("00000578"), v4)))
	f.Add(uint16(101), uint16(0), ip6Back(protoICMPv6, icmpMessage(1, 4, make([]byte, 4), ip6(protoHopByHop, concat(x("2c000104 00000000 06000001 00000007"), tcp)))))
	f.Fuzz(func(t *testing.T, link, more uint16, frame []byte) {
		d := NewDecoder(DefaultLimits())
		var p Packet
		var sum Count
		// Twice: the second time what the first one left is there.
		for range 2 {
			r := capture.Record{Data: frame, WireLen: len(frame) + int(more), Link: capture.LinkType(link % 280)}
			switch d.Decode(&p, &r) {
			case ICMPError:
				if p.Proto != ProtoTCP && p.Proto != ProtoUDP && p.Proto != ProtoSCTP || p.ICMP.Type == 0 || p.PayloadLen != 0 {
					t.Fatalf("an error about %+v", p)
				}
			case Decoded:
				if p.PayloadLen < len(p.Payload) {
					t.Fatalf("%d bytes captured of %d", len(p.Payload), p.PayloadLen)
				}
				if d.FragmentStats().Reassembled == 0 && (!within(p.Payload, frame) || !within(p.Options, frame)) {
					t.Fatal("slices outside the frame")
				}
			}
			sum.add(Count{1, uint64(len(frame))})
			if got := total(d); got != sum {
				t.Fatalf("counted %+v of %+v", got, sum)
			}
		}
		d.Flush()
		if got := total(d); got != sum || d.Counts()[Held] != (Count{}) || d.fragments.memory != 0 {
			t.Fatalf("counted %+v of %+v, %+v held, %d bytes", got, sum, d.Counts()[Held], d.fragments.memory)
		}
	})
}

func total(d *Decoder) (sum Count) {
	for _, c := range d.Counts() {
		sum.add(c)
	}
	return sum
}

// within reports whether b lies in frame.
func within(b, frame []byte) bool {
	if len(b) == 0 {
		return true
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(frame)))
	return at+uintptr(len(b)) <= uintptr(len(frame))
}

func FuzzReassembly(f *testing.F) {
	f.Add(uint64(1), []byte("a datagram that comes in pieces"))
	f.Add(uint64(2), make([]byte, 3000))
	f.Fuzz(func(t *testing.T, seed uint64, payload []byte) {
		if len(payload) == 0 || len(payload) > 30000 {
			return // checkReassembly would need more pieces than the limit
		}
		checkReassembly(t, rand.New(rand.NewPCG(seed, 2)), udp(1, 2, payload))
	})
}

// FuzzFragments gives arbitrary fragments: each three bytes are id, offset, and length with flag.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{1, 0, 0x82, 1, 2, 2})
	f.Add([]byte{1, 0, 0x84, 1, 1, 0x82, 1, 4, 2})
	f.Fuzz(func(t *testing.T, script []byte) {
		limits := DefaultLimits()
		limits.MaxDatagrams, limits.MaxFragments, limits.MaxFragmentBytes = 8, 16, 8192
		d := NewDecoder(limits)
		var p Packet
		var sum Count
		data := make([]byte, 8*128)
		for i := 0; i+3 <= len(script); i += 3 {
			id, off, n := script[i], int(script[i+1]), int(script[i+2]&0x7F)
			fragment := off
			if script[i+2]&0x80 != 0 {
				fragment |= moreFragments
			}
			data[0] = id >> 4 // so that copies may differ
			frame := ip4Fragment(253, fragment, int(id&0xF), data[:8*n])
			sum.add(Count{1, uint64(len(frame))})
			d.Decode(&p, &capture.Record{Data: frame, WireLen: len(frame), Link: 101})
			if d.fragments.memory > limits.MaxFragmentBytes || len(d.fragments.byKey) > limits.MaxDatagrams {
				t.Fatalf("%d bytes, %d datagrams", d.fragments.memory, len(d.fragments.byKey))
			}
		}
		d.Flush()
		if got := total(d); got != sum || d.Counts()[Held] != (Count{}) || d.fragments.memory != 0 {
			t.Fatalf("counted %+v of %+v, %d bytes left", got, sum, d.fragments.memory)
		}
	})
}
