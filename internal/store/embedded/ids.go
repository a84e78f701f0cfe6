package embedded

import (
	"hash/maphash"
	"slices"

	"github.com/culprit-http/culprit/internal/store/record"
)

// idKey is an id in its text form, which has this length, as a key of maps: without pointers.
type idKey [26]byte

func keyOf(id []byte) (k idKey) {
	copy(k[:], id)
	return k
}

// maxFilters is for how many segments hashes of the ids are kept, each of four bytes an exchange; those that were
// used last. Exchanges end later than they start, so most batches have some that are as old as exchanges in segments,
// and each such id is looked up.
const maxFilters = 64

// idFilter are the sorted hashes of the ids of a segment.
type idFilter struct {
	hashes []uint32
	used   uint64 // when it was used last, in look-ups
}

// hash returns the hash of an id.
func (s *segments) hash(id []byte) uint32 { return uint32(maphash.Bytes(s.seed, id)) }

func (f *idFilter) may(hash uint32) bool {
	_, found := slices.BinarySearch(f.hashes, hash)
	return found
}

// filter returns the hashes of the ids of a segment that the caller holds.
func (s *segments) filter(f *file) (*idFilter, error) {
	s.mu.Lock()
	s.lookups++
	now, have := s.lookups, f.filter
	if have != nil {
		have.used = now
	}
	s.mu.Unlock()
	if have != nil {
		return have, nil
	}
	c, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer c.Release()
	ids, err := c.Texts(record.ID)
	if err != nil {
		return nil, err
	}
	made := &idFilter{hashes: make([]uint32, 0, len(ids.Rows)), used: now}
	for _, n := range ids.Rows {
		if n != 0 {
			made.hashes = append(made.hashes, s.hash(ids.Dict.At(n)))
		}
	}
	slices.Sort(made.hashes)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.filter = made
	var oldest *file
	count := 0
	for _, f := range s.all {
		if f.filter == nil {
			continue
		}
		if count++; oldest == nil || f.filter.used < oldest.filter.used {
			oldest = f
		}
	}
	if count > maxFilters {
		oldest.filter = nil
	}
	return made, nil
}
