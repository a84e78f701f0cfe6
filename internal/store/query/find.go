package query

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/culprit-http/culprit/internal/store/vector"
)

// finder finds the texts of a dictionary that contain a part, in one pass over their bytes.
type finder struct {
	// needle is what is looked for, in lower case if fold: then ASCII case doesn't matter.
	needle []byte
	fold   bool
}

const (
	// sampled is how many bytes of a dictionary are looked at to find out which byte of the needle is rare there,
	// in runs of sampleRun.
	sampled   = 4096
	sampleRun = 512
	// patience is up to how many bytes may be compared in vain for each one passed, before texts are searched one
	// by one, by an algorithm that is slower and never slow.
	patience = 8
	// checkEvery is how many texts are tested between two looks at whether the question is still wanted.
	checkEvery = 1024
)

// mark sets hits[n] to 1 for each text n that contains the needle.
func (f *finder) mark(e *evaluator, d *vector.Dict, hits []uint8) error {
	total := d.Len()
	if total == 0 {
		return nil
	}
	if len(f.needle) == 0 {
		for n := 1; n <= total; n++ {
			hits[n] = 1
		}
		return nil
	}
	blob := d.Bytes[:d.Ends[total]]
	h := &hunt{finder: f, e: e, d: d, blob: blob, hits: hits, n: 1}
	first, second, rare := f.rarest(blob)
	var err error
	if rare {
		err = h.byByte(first)
	} else {
		err = h.byPair(first, second)
	}
	if err == nil && h.slow {
		return f.markEach(e, d, h.n, hits)
	}
	return err
}

// hunt is one pass over a dictionary.
type hunt struct {
	*finder
	e    *evaluator
	d    *vector.Dict
	blob []byte
	hits []uint8

	n       int // the text that is being searched
	pos     int // from where on the needle may begin
	wasted  int // bytes compared in vain
	checked int
	slow    bool // it is better to search the texts one by one, from n
}

// try looks whether the needle is at a place, from pos on, and moves pos. It returns false when the hunt shall end.
func (h *hunt) try(at int) bool {
	size := len(h.needle)
	h.pos = at + 1
	if !h.same(h.blob[at], h.needle[0]) || !h.same(h.blob[at+size-1], h.needle[size-1]) {
		return true
	}
	if h.equal(h.blob[at : at+size]) {
		for int(h.d.Ends[h.n]) <= at {
			h.n++
		}
		if at+size <= int(h.d.Ends[h.n]) { // else it spans two texts
			h.hits[h.n] = 1
			h.pos = int(h.d.Ends[h.n])
			return true
		}
	}
	if h.wasted += size; h.wasted > patience*at+1<<16 {
		for int(h.d.Ends[h.n]) <= at {
			h.n++
		}
		h.slow = true
	}
	return !h.slow
}

// checkBytes is how many bytes are passed between two looks at whether the question is still wanted.
const checkBytes = 1 << 20

// byByte hunts by the byte of the needle at offset k, which is rare.
func (h *hunt) byByte(k int) error {
	lo, hi := h.needle[k], h.needle[k]
	if h.fold && 'a' <= lo && lo <= 'z' {
		hi = lo &^ 0x20
	}
	c := cursor{blob: h.blob, lo: lo, hi: hi, nextLo: -1, nextHi: -1}
	for {
		at := c.next(h.pos+k) - k
		if at < 0 || at+len(h.needle) > len(h.blob) {
			return nil
		}
		if at-h.checked > checkBytes {
			h.checked = at
			if err := h.e.check(); err != nil {
				return err
			}
		}
		if !h.try(at) {
			return nil
		}
	}
}

// The bytes of a word, for arithmetic on eight bytes at once.
const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
	cases = 0x2020202020202020
)

// byPair hunts by the bytes of the needle at two offsets, at eight places at once. Places that pass aren't certain.
func (h *hunt) byPair(j, k int) error {
	fold := uint64(0)
	if h.fold {
		fold = cases // this takes some bytes for others: try knows better
	}
	a, b := lows*uint64(h.needle[j])|fold, lows*uint64(h.needle[k])|fold
	blob, size := h.blob, len(h.needle)
	at := 0
	// All of the needle is in the blob if it begins before end.
	for end := len(blob) - size + 1; at+16 <= end; {
		n := min(end-at, checkBytes) &^ 15
		first, second := blob[at+j:at+j+n], blob[at+k:at+k+n]
		second = second[:len(first)]
		for i := 0; i+16 <= len(first); i += 16 {
			// A byte is 0 where both bytes of the needle are at their places.
			x := (binary.LittleEndian.Uint64(first[i:i+8]) | fold) ^ a | (binary.LittleEndian.Uint64(second[i:i+8]) | fold) ^ b
			y := (binary.LittleEndian.Uint64(first[i+8:i+16]) | fold) ^ a | (binary.LittleEndian.Uint64(second[i+8:i+16]) | fold) ^ b
			x, y = (x-lows)&^x&highs, (y-lows)&^y&highs
			if x|y == 0 {
				continue
			}
			for ; x != 0; x &= x - 1 {
				if place := at + i + bits.TrailingZeros64(x)/8; place >= h.pos && !h.try(place) {
					return nil
				}
			}
			for ; y != 0; y &= y - 1 {
				if place := at + i + 8 + bits.TrailingZeros64(y)/8; place >= h.pos && !h.try(place) {
					return nil
				}
			}
		}
		at += n
		if err := h.e.check(); err != nil {
			return err
		}
	}
	for at = max(at, h.pos); at+size <= len(blob); at = max(at+1, h.pos) {
		if !h.try(at) {
			return nil
		}
	}
	return nil
}

// markEach is mark for the texts from number n, one by one.
func (f *finder) markEach(e *evaluator, d *vector.Dict, n int, hits []uint8) error {
	for ; n <= d.Len(); n++ {
		if n%checkEvery == 0 {
			if err := e.check(); err != nil {
				return err
			}
		}
		if hits[n] == 0 && f.in(e, d.At(uint32(n))) {
			hits[n] = 1
		}
	}
	return nil
}

// in reports whether a text contains the needle.
func (f *finder) in(e *evaluator, text []byte) bool {
	if f.fold {
		text = e.lower(text)
	}
	return bytes.Contains(text, f.needle)
}

// rarest returns the places of two bytes of the needle, of which the first is the rarest in a sample of the blob, and the
// second the one that is rarely with it; and whether the first is so rare that it pays to look for it alone. They are
// the same place if there is one byte only.
func (f *finder) rarest(blob []byte) (first, second int, rare bool) {
	var seen [256]int
	looked := 0
	step := max(len(blob)/(sampled/sampleRun), sampleRun)
	for from := 0; from < len(blob); from += step {
		run := blob[from:min(from+sampleRun, len(blob))]
		looked += len(run)
		for _, b := range run {
			seen[b]++
		}
	}
	count := func(i int) int {
		b := f.needle[i]
		if f.fold && 'a' <= b && b <= 'z' {
			return seen[b] + seen[b&^0x20]
		}
		return seen[b]
	}
	needle := f.needle[:min(len(f.needle), maxPlaces)]
	for i := range needle {
		if count(i) < count(first) {
			first = i
		}
	}
	if count(first)*rarity < looked {
		return first, first, true
	}
	var with [maxPlaces]int
	for from := 0; from < len(blob); from += step {
		for at := max(from-first, 0); at < from+sampleRun && at+len(needle) <= len(blob); at++ {
			if !f.same(blob[at+first], needle[first]) {
				continue
			}
			for i, b := range needle {
				if f.same(blob[at+i], b) {
					with[i]++
				}
			}
		}
	}
	second = first
	for i := range needle {
		if i != first && (second == first || with[i] < with[second]) {
			second = i
		}
	}
	return first, second, false
}

// maxPlaces is how many bytes of a needle are considered.
const maxPlaces = 32

// rarity is how many bytes of others there must be for each of a rare one.
const rarity = 256

func (f *finder) same(b, want byte) bool {
	return b == want || f.fold && lowerASCII(b) == want
}

func (f *finder) equal(b []byte) bool {
	if !f.fold {
		return bytes.Equal(b, f.needle)
	}
	for i, c := range b {
		if lowerASCII(c) != f.needle[i] {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}

// cursor finds the places of one of two bytes, which may be the same, from front to back. nextLo and nextHi are
// the next ones that are known, past the end when there are no more.
type cursor struct {
	blob           []byte
	lo, hi         byte
	nextLo, nextHi int
}

// next returns the first place from a position on, or -1.
func (c *cursor) next(from int) int {
	c.nextLo = seek(c.blob, c.lo, c.nextLo, from)
	place := c.nextLo
	if c.hi != c.lo {
		c.nextHi = seek(c.blob, c.hi, c.nextHi, from)
		place = min(place, c.nextHi)
	}
	if place >= len(c.blob) {
		return -1
	}
	return place
}

func seek(blob []byte, b byte, known, from int) int {
	if known >= from {
		return known
	}
	if from >= len(blob) {
		return len(blob)
	}
	if i := bytes.IndexByte(blob[from:], b); i >= 0 {
		return from + i
	}
	return len(blob)
}
