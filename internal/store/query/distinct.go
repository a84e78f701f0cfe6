package query

import (
	"github.com/axiomhq/hyperloglog"
	"github.com/cespare/xxhash/v2"

	"github.com/culprit-http/culprit/internal/store"
)

// set counts different values, which it knows by their 64-bit hashes: exactly up to store.DistinctExact, and above
// by a HyperLogLog, whose standard error at this precision is 0.4 %.
type set struct {
	// table has the hashes at places that follow from them (open addressing with linear probing); 0 is none. Its length
	// is a power of two.
	table []uint64
	count int
	// estimate replaces the table once there are too many.
	estimate *hyperloglog.Sketch
}

// estimateBytes is what an estimate takes.
const estimateBytes = 1 << 16

// hashText and hashInt return the hashes of values, which are never 0. They are the same in every process, so that
// an estimate is, too.
func hashText(text []byte) uint64 { return max(xxhash.Sum64(text), 1) }

// hashInt mixes the bits of a number, in a way that can be undone: different numbers have different hashes (but for
// the two that would be 0 and 1).
func hashInt(n int64) uint64 {
	h := uint64(n) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return max(h^h>>31, 1)
}

// add adds a hash. spread is an odd number that others can't know: hashes made to meet in the table don't. It
// returns by how many bytes the set has grown.
func (s *set) add(hash, spread uint64) (grown int64) {
	if s.estimate != nil {
		s.estimate.InsertHash(hash)
		return 0
	}
	if s.count >= len(s.table)/4*3 {
		grown = s.grow(spread)
	}
	if !s.insert(hash, spread) || s.count <= store.DistinctExact {
		return grown
	}
	s.estimate = hyperloglog.New16NoSparse()
	for _, h := range s.table {
		if h != 0 {
			s.estimate.InsertHash(h)
		}
	}
	grown += estimateBytes - int64(len(s.table))*8
	s.table, s.count = nil, 0
	return grown
}

// insert reports whether the hash is new.
func (s *set) insert(hash, spread uint64) bool {
	mask := uint64(len(s.table) - 1)
	i := hash * spread >> 32 & mask
	for ; s.table[i] != 0; i = (i + 1) & mask {
		if s.table[i] == hash {
			return false
		}
	}
	s.table[i] = hash
	s.count++
	return true
}

func (s *set) grow(spread uint64) int64 {
	old := s.table
	s.table, s.count = make([]uint64, max(2*len(old), 8)), 0
	for _, h := range old {
		if h != 0 {
			s.insert(h, spread)
		}
	}
	return int64(len(s.table)-len(old)) * 8
}

// merge adds the values of another set, which doesn't change.
func (s *set) merge(from *set, spread uint64) (grown int64) {
	if from.estimate == nil {
		for _, h := range from.table {
			if h != 0 {
				grown += s.add(h, spread)
			}
		}
		return grown
	}
	if s.estimate == nil {
		old := s.table
		s.estimate = hyperloglog.New16NoSparse()
		for _, h := range old {
			if h != 0 {
				s.estimate.InsertHash(h)
			}
		}
		s.table, s.count = nil, 0
		grown = estimateBytes - int64(len(old))*8
	}
	_ = s.estimate.Merge(from.estimate) // fails only for another precision
	return grown
}

// len returns how many different values there are.
func (s *set) len() float64 {
	if s.estimate != nil {
		return float64(s.estimate.Estimate())
	}
	return float64(s.count)
}
