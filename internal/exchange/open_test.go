package exchange

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// What is open is what a map would hold, whatever comes and goes, with few streams and with many.
func TestOpen(t *testing.T) {
	var o open
	random := rand.New(rand.NewPCG(1, 2))
	want := map[uint64]*Exchange{}
	most := 0
	for round := range 20000 {
		stream := random.Uint64N(12)
		if round/1000%2 == 0 {
			stream = random.Uint64N(60)
		}
		switch x := want[stream]; {
		case x == nil && random.Uint32N(3) > 0:
			x = &Exchange{}
			o.add(stream, x)
			want[stream] = x
		default:
			o.remove(stream)
			delete(want, stream)
		}
		if round%1000 == 999 {
			if random.Uint32()&1 == 0 {
				o.reset()
			} else {
				for s := range want {
					o.remove(s)
				}
			}
			clear(want)
		}
		most = max(most, len(want))
		for s := range uint64(60) {
			if o.get(s) != want[s] {
				t.Fatalf("round %d: stream %d is %p, want %p", round, s, o.get(s), want[s])
			}
		}
		seen := map[*Exchange]bool{}
		for x := range o.all() {
			seen[x] = true
		}
		if o.len() != len(want) || len(seen) != len(want) {
			t.Fatalf("round %d: %d exchanges, all are %d, want %d", round, o.len(), len(seen), len(want))
		}
		for _, x := range slices.Collect(maps.Values(want)) {
			if !seen[x] {
				t.Fatalf("round %d: one isn't among all", round)
			}
		}
	}
	if most <= maxFew {
		t.Errorf("only %d at a time", most)
	}
}

// A connection with one exchange after the other needs no map.
func TestOpenFew(t *testing.T) {
	var o open
	x := &Exchange{}
	for stream := range uint64(100) {
		o.add(stream, x)
		o.remove(stream)
	}
	if o.many != nil {
		t.Error("there is a map")
	}
}
