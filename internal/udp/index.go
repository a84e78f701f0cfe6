package udp

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/culprit-http/culprit/internal/packet"
)

// index finds flows by their keys. It is a hash table with chains that go through the flows: a Go map would hold a copy of each key, which
// long after it was written isn't in the processor's cache any more, while the flow that has the key is about to be used anyway.
type index struct {
	seed  maphash.Seed
	heads []*flow // a power of two of them, at least minHeads, and at least as many as there are flows
	count int
}

const minHeads = 16

func newIndex() index { return index{seed: maphash.MakeSeed(), heads: make([]*flow, minHeads)} }

// hash returns the hash of a key. It is seeded, or somebody might send flows that all go into one chain.
func (x *index) hash(key *packet.Flow) uint64 {
	var b [48]byte
	copy(b[:16], key.Lo[:])
	copy(b[16:32], key.Hi[:])
	binary.LittleEndian.PutUint16(b[32:], key.LoPort)
	binary.LittleEndian.PutUint16(b[34:], key.HiPort)
	binary.LittleEndian.PutUint32(b[36:], key.Tap)
	binary.LittleEndian.PutUint32(b[40:], key.Net)
	b[44] = key.Proto
	return maphash.Bytes(x.seed, b[:])
}

func (x *index) head(hash uint64) **flow { return &x.heads[hash&uint64(len(x.heads)-1)] }

// get returns the flow of a key, nil when there is none.
func (x *index) get(key *packet.Flow) *flow {
	h := x.hash(key)
	for f := *x.head(h); f != nil; f = f.chain {
		if f.hash == h && f.key == *key {
			return f
		}
	}
	return nil
}

// add adds a flow by its key, which no other has.
func (x *index) add(f *flow) {
	if x.count == len(x.heads) {
		x.resize(2 * len(x.heads))
	}
	x.count++
	f.hash = x.hash(&f.key)
	head := x.head(f.hash)
	f.chain, *head = *head, f
}

// remove removes a flow that is there.
func (x *index) remove(f *flow) {
	at := x.head(f.hash)
	for *at != f {
		at = &(*at).chain
	}
	*at, f.chain = f.chain, nil
	x.count--
	if n := len(x.heads); n > minHeads && x.count < n/8 {
		x.resize(n / 2)
	}
}

// resize makes it a table of n heads.
func (x *index) resize(n int) {
	old := x.heads
	x.heads = make([]*flow, n)
	for _, f := range old {
		for f != nil {
			next, head := f.chain, x.head(f.hash)
			f.chain, *head = *head, f
			f = next
		}
	}
}
