package packet

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
)

// decodeAll decodes frames of one link type and returns the results and the last packet.
func decodeAll(d *Decoder, link capture.LinkType, frames ...[]byte) (res []Result, p Packet) {
	for _, f := range frames {
		res = append(res, d.Decode(&p, &capture.Record{Data: f, WireLen: len(f), Link: link}))
	}
	return res, p
}

const moreFragments = 0x2000

func TestFragmentsBecomeWhole(t *testing.T) {
	tcp := tcpSegment()
	v4 := func(off, end int) []byte {
		flag := moreFragments
		if end == len(tcp) {
			flag = 0
		}
		return ip4Fragment(ProtoTCP, flag|off/8, 9, tcp[off:end])
	}
	v6 := func(off, end int) []byte {
		flag := 1
		if end == len(tcp) {
			flag = 0
		}
		return ip6Fragment(ProtoTCP, off|flag, 9, tcp[off:end])
	}
	n := len(tcp)
	for _, c := range []struct {
		name   string
		frames [][]byte
	}{
		{"IPv4 in order", [][]byte{v4(0, 16), v4(16, 32), v4(32, n)}},
		{"IPv4 backwards", [][]byte{v4(32, n), v4(16, 32), v4(0, 16)}},
		{"IPv4 duplicates", [][]byte{v4(0, 16), v4(0, 16), v4(32, n), v4(32, n), v4(16, 32)}},
		{"IPv4 overlaps that agree", [][]byte{v4(0, 24), v4(32, n), v4(8, 40)}},
		{"IPv4 piece around others", [][]byte{v4(8, 16), v4(24, 32), v4(40, n), v4(0, 40)}},
		{"IPv6", [][]byte{v6(16, 32), v6(32, n), v6(0, 16)}},
		{"IPv6 duplicates", [][]byte{v6(16, 32), v6(16, 32), v6(32, n), v6(0, 16)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(DefaultLimits())
			res, p := decodeAll(d, 101, c.frames...)
			for i, r := range res[:len(res)-1] {
				if r != Held {
					t.Errorf("fragment %d: %v", i, r)
				}
			}
			if res[len(res)-1] != Decoded {
				t.Fatalf("%v", res)
			}
			checkSegment(t, &p)
			if got := d.Counts(); got[Decoded].Packets != uint64(len(c.frames)) || got[Held] != (Count{}) {
				t.Errorf("counts %v", got)
			}
			if f := &d.fragments; f.memory != 0 || len(f.byKey) != 0 || f.stats != (FragmentStats{Reassembled: 1}) {
				t.Errorf("%d bytes and %d datagrams are left, %+v", f.memory, len(f.byKey), f.stats)
			}
		})
	}
}

func TestBadFragments(t *testing.T) {
	a, b := make([]byte, 16), []byte("sixteen bytes...")
	v4 := func(fragment int, payload []byte) []byte { return ip4Fragment(ProtoTCP, fragment, 9, payload) }
	for _, c := range []struct {
		name   string
		frames [][]byte
		stats  FragmentStats
	}{
		{"IPv4 overlap that differs", [][]byte{v4(moreFragments, a), v4(moreFragments|1, b), v4(2, a)}, FragmentStats{Contradicting: 1}},
		{"IPv6 overlap", [][]byte{ip6Fragment(6, 1, 9, a), ip6Fragment(6, 8|1, 9, a), ip6Fragment(6, 16, 9, a)}, FragmentStats{Contradicting: 1}},
		{"two ends", [][]byte{v4(4, a), v4(2, a)}, FragmentStats{Contradicting: 1}},
		{"more behind the end", [][]byte{v4(2, a), v4(moreFragments|4, a)}, FragmentStats{Contradicting: 1}},
		{"end before what has come", [][]byte{v4(moreFragments|4, a), v4(2, a)}, FragmentStats{Contradicting: 1}},
		{"never whole", [][]byte{v4(moreFragments, a), v4(moreFragments|4, a)}, FragmentStats{Expired: 1}},
		{"odd length", [][]byte{v4(moreFragments, a[:15])}, FragmentStats{}},
		{"empty", [][]byte{v4(moreFragments, nil)}, FragmentStats{}},
		{"beyond 64 KB", [][]byte{v4(0x1FFF, a)}, FragmentStats{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(DefaultLimits())
			var sum Count
			for _, f := range c.frames {
				sum.add(Count{1, uint64(len(f))})
			}
			decodeAll(d, 101, c.frames...)
			d.Flush()
			if got := d.Counts(); got[BadFragment] != sum || got[Held] != (Count{}) {
				t.Errorf("counts %v, want %v as bad", got, sum)
			}
			if got := d.FragmentStats(); got != c.stats {
				t.Errorf("%+v, want %+v", got, c.stats)
			}
		})
	}
}

// Frames that waited are counted as what their datagram turned out to be.
func TestHeldFramesAreCountedAsTheirDatagram(t *testing.T) {
	ping := make([]byte, 24)
	d := NewDecoder(DefaultLimits())
	first, last := ip4Fragment(protoICMP, moreFragments, 1, ping[:16]), ip4Fragment(protoICMP, 2, 1, ping[16:])
	res, _ := decodeAll(d, 101, first)
	if got := d.Counts()[Held]; res[0] != Held || got != (Count{1, uint64(len(first))}) {
		t.Errorf("%v, held %v", res, got)
	}
	decodeAll(d, 101, last)
	if got := d.Counts(); got[ICMP] != (Count{2, uint64(len(first) + len(last))}) || got[Held] != (Count{}) {
		t.Errorf("counts %v", got)
	}
}

// A datagram in fragments may carry, in a tunnel, a fragment of another one.
func TestFragmentsWithinFragments(t *testing.T) {
	tcp := tcpSegment()
	var frames [][]byte
	for i, inner := range [][]byte{ip4Fragment(ProtoTCP, moreFragments, 1, tcp[:16]), ip4Fragment(ProtoTCP, 2, 1, tcp[16:])} {
		frames = append(frames, ip4Fragment(protoIPv4, moreFragments, 10+i, inner[:16]), ip4Fragment(protoIPv4, 2, 10+i, inner[16:]))
	}
	d := NewDecoder(DefaultLimits())
	res, p := decodeAll(d, 101, frames...)
	if res[3] != Decoded {
		t.Fatalf("%v", res)
	}
	checkSegment(t, &p)
	if got := d.Counts(); got[Decoded].Packets != 4 || got[Held] != (Count{}) {
		t.Errorf("counts %v", got)
	}
}

// Datagrams that differ only in tap or network aren't mixed.
func TestFragmentsOfOtherNetworks(t *testing.T) {
	tcp := tcpSegment()
	first, last := ip4Fragment(ProtoTCP, moreFragments, 1, tcp[:16]), ip4Fragment(ProtoTCP, 2, 1, tcp[16:])
	d := NewDecoder(DefaultLimits())
	var p Packet
	for i, r := range []capture.Record{
		{Data: eth(typeVLAN, vlan(1, typeIPv4, first)), Link: 1},
		{Data: eth(typeVLAN, vlan(2, typeIPv4, last)), Link: 1},
		{Data: eth(typeVLAN, vlan(1, typeIPv4, last)), Link: 1, Tap: 1},
	} {
		if res := d.Decode(&p, &r); res != Held {
			t.Errorf("%d: %v", i, res)
		}
	}
}

func TestFragmentLimits(t *testing.T) {
	limits := DefaultLimits()
	limits.MaxDatagrams, limits.MaxFragments, limits.MaxFragmentBytes = 4, 5, 3000
	piece := make([]byte, 8)
	t.Run("datagrams", func(t *testing.T) {
		d := NewDecoder(limits)
		for id := range 10 {
			decodeAll(d, 101, ip4Fragment(ProtoTCP, moreFragments, id, piece))
		}
		if d.FragmentStats().Evicted != 6 || len(d.fragments.byKey) != 4 || d.Counts()[Held].Packets != 4 || d.Counts()[BadFragment].Packets != 6 {
			t.Errorf("%+v, %d held, %v", d.FragmentStats(), len(d.fragments.byKey), d.Counts())
		}
		// The newest are kept.
		if res, _ := decodeAll(d, 101, ip4Fragment(protoICMP, 1, 9, piece), ip4Fragment(ProtoTCP, 1, 9, piece)); res[1] == Held {
			t.Errorf("the newest datagram is gone")
		}
	})
	t.Run("pieces", func(t *testing.T) {
		d := NewDecoder(limits)
		for i := range 8 {
			decodeAll(d, 101, ip4Fragment(ProtoTCP, moreFragments|2*i, 1, piece))
		}
		if d.FragmentStats().TooMany != 1 || d.Counts()[BadFragment].Packets != 8 || d.fragments.memory != datagramMemory {
			t.Errorf("%+v, %v, %d bytes", d.FragmentStats(), d.Counts(), d.fragments.memory)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		d := NewDecoder(limits)
		for id := range 10 {
			decodeAll(d, 101, ip4Fragment(ProtoTCP, moreFragments, id, make([]byte, 1000)))
			if d.fragments.memory > limits.MaxFragmentBytes {
				t.Fatalf("%d bytes", d.fragments.memory)
			}
		}
		if d.FragmentStats().Evicted != 8 {
			t.Errorf("%+v", d.FragmentStats())
		}
	})
	t.Run("time", func(t *testing.T) {
		d := NewDecoder(limits)
		decodeAll(d, 101, ip4Fragment(ProtoTCP, moreFragments, 1, piece))
		d.Tick(int64(time.Second))
		decodeAll(d, 101, ip4Fragment(ProtoTCP, moreFragments, 2, piece))
		d.Tick(int64(limits.FragmentTimeout) - 1)
		if d.FragmentStats().Expired != 0 {
			t.Errorf("expired too early")
		}
		d.Tick(int64(limits.FragmentTimeout))
		if d.FragmentStats().Expired != 1 || d.Counts()[Held].Packets != 1 {
			t.Errorf("%+v, %v", d.FragmentStats(), d.Counts())
		}
	})
}

// TestReassemblyAgainstACopy cuts random datagrams into fragments that may overlap, and gives them in
// random order with duplicates.
func TestReassemblyAgainstACopy(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		payload := make([]byte, 1+rng.IntN(5000))
		for i := range payload {
			payload[i] = byte(rng.Uint32())
		}
		checkReassembly(t, rng, udp(1, 2, payload))
	}
}

// checkReassembly checks that the fragments of an IPv4 datagram, however they are cut, come together
// to the same bytes, and that nothing is left afterwards.
func checkReassembly(t *testing.T, rng *rand.Rand, datagram []byte) {
	t.Helper()
	var frames [][]byte
	for off := 0; off < len(datagram); {
		end := off + 8*(1+rng.IntN(64))
		from := off &^ 7
		if rng.IntN(4) == 0 {
			from = max(0, from-8*rng.IntN(8))
		}
		flag := moreFragments
		if end >= len(datagram) {
			end, flag = len(datagram), 0
		}
		f := ip4Fragment(ProtoUDP, flag|from/8, 1, datagram[from:end])
		frames = append(frames, f)
		off = end
	}
	rng.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	d := NewDecoder(DefaultLimits())
	var p Packet
	for i, f := range frames {
		for copies := rng.IntN(2); copies >= 0; copies-- {
			res := d.Decode(&p, &capture.Record{Data: f, WireLen: len(f), Link: 101})
			if res == Decoded {
				if string(p.Payload) != string(datagram[8:]) {
					t.Fatalf("the datagram came out differently")
				}
				return
			}
			if res != Held {
				t.Fatalf("fragment %d of %d: %v, %+v", i, len(frames), res, d.FragmentStats())
			}
		}
	}
	t.Fatalf("%d fragments didn't become whole", len(frames))
}
