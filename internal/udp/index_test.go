package udp

import (
	"math/rand/v2"
	"testing"

	"github.com/culprit-http/culprit/internal/packet"
)

// The index finds what a map would, whatever comes and goes, and is as large as it must be.
func TestIndex(t *testing.T) {
	x := newIndex()
	random := rand.New(rand.NewPCG(1, 2))
	want := map[packet.Flow]*flow{}
	key := func(n uint64) packet.Flow {
		k := packet.Flow{Lo: packet.Addr{15: 1}, Hi: packet.Addr{15: 2}, LoPort: 53, HiPort: uint16(n), Proto: packet.ProtoUDP}
		switch n % 5 { // each part of the key tells flows apart
		case 1:
			k.Tap = 1
		case 2:
			k.Net = 1
		case 3:
			k.Lo[0] = 1
		case 4:
			k.Hi[0], k.Proto = 1, packet.ProtoTCP
		}
		return k
	}
	for range 30000 {
		k := key(random.Uint64N(600))
		f := want[k]
		if got := x.get(&k); got != f {
			t.Fatalf("%v is %p, want %p", k, got, f)
		}
		if f == nil {
			f = &flow{key: k}
			x.add(f)
			want[k] = f
		} else if random.Uint32()&1 == 0 {
			x.remove(f)
			delete(want, k)
		}
		if x.count != len(want) || x.count > len(x.heads) {
			t.Fatalf("%d flows in %d chains, want %d", x.count, len(x.heads), len(want))
		}
	}
	if len(x.heads) <= minHeads {
		t.Errorf("%d chains for %d flows", len(x.heads), x.count)
	}
	for _, f := range want {
		x.remove(f)
	}
	if x.count != 0 || len(x.heads) != minHeads {
		t.Errorf("in the end: %d flows, %d chains", x.count, len(x.heads))
	}
}

// One part of a key alone makes it another.
func TestIndexKeys(t *testing.T) {
	x := newIndex()
	base := packet.Flow{Lo: packet.Addr{15: 1}, Hi: packet.Addr{15: 2}, LoPort: 1, HiPort: 2, Tap: 3, Net: 4, Proto: 17}
	x.add(&flow{key: base})
	for i, change := range []func(k *packet.Flow){
		func(k *packet.Flow) { k.Lo[3] = 9 }, func(k *packet.Flow) { k.Hi[3] = 9 }, func(k *packet.Flow) { k.LoPort = 9 },
		func(k *packet.Flow) { k.HiPort = 9 }, func(k *packet.Flow) { k.Tap = 9 }, func(k *packet.Flow) { k.Net = 9 }, func(k *packet.Flow) { k.Proto = 9 },
	} {
		other := base
		change(&other)
		if x.get(&other) != nil || x.hash(&other) == x.hash(&base) {
			t.Errorf("change %d: found, or of the same hash", i)
		}
	}
	if x.get(&base) == nil {
		t.Error("the flow itself isn't found")
	}
}
