package query

import "math/bits"

// bitmap has a bit for each row of a chunk: whether it is selected. The bits behind the last row are 0.
type bitmap []uint64

// words is how many words a bitmap of n rows has.
func words(n int) int { return (n + 63) / 64 }

// fill selects the first n rows, and no others.
func (b bitmap) fill(n int) {
	for i := range b {
		b[i] = ^uint64(0)
	}
	if rest := n % 64; rest != 0 {
		b[len(b)-1] = 1<<rest - 1
	}
}

func (b bitmap) empty() bool {
	for _, w := range b {
		if w != 0 {
			return false
		}
	}
	return true
}

// count returns how many rows are selected.
func (b bitmap) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// rows appends the numbers of the selected rows.
func (b bitmap) rows(dst []uint32) []uint32 {
	for i, w := range b {
		for base := uint32(i * 64); w != 0; w &= w - 1 {
			dst = append(dst, base+uint32(bits.TrailingZeros64(w)))
		}
	}
	return dst
}

// keep unselects the rows that a test refuses, asking for selected ones only.
func (b bitmap) keep(test func(row int) bool) {
	for i, w := range b {
		for base := i * 64; w != 0; w &= w - 1 {
			if bit := bits.TrailingZeros64(w); !test(base + bit) {
				b[i] &^= 1 << bit
			}
		}
	}
}

// sparse is up to how many selected rows of a word are looked at one by one, instead of all 64 without branches.
const sparse = 8

// keepHits unselects the rows whose text isn't hit: hits has a 1 for each number of a text that is.
func (b bitmap) keepHits(rows []uint32, hits []uint8) {
	for i, w := range b {
		if w == 0 {
			continue
		}
		base := i * 64
		if bits.OnesCount64(w) <= sparse {
			for rest := w; rest != 0; rest &= rest - 1 {
				bit := bits.TrailingZeros64(rest)
				w &^= uint64(hits[rows[base+bit]]^1) << bit
			}
			b[i] = w
			continue
		}
		var m uint64
		for j, n := range rows[base:min(base+64, len(rows))] {
			m |= uint64(hits[n]) << (j & 63)
		}
		b[i] = w & m
	}
}

// keepRange unselects the rows whose number isn't from lo to hi.
func (b bitmap) keepRange(rows []int64, lo, hi int64) {
	span := uint64(hi) - uint64(lo)
	for i, w := range b {
		if w == 0 {
			continue
		}
		base := i * 64
		if bits.OnesCount64(w) <= sparse {
			for rest := w; rest != 0; rest &= rest - 1 {
				bit := bits.TrailingZeros64(rest)
				_, out := bits.Sub64(span, uint64(rows[base+bit])-uint64(lo), 0)
				w &^= out << bit
			}
			b[i] = w
			continue
		}
		var m uint64 // of those that are out of the range
		for j, v := range rows[base:min(base+64, len(rows))] {
			_, out := bits.Sub64(span, uint64(v)-uint64(lo), 0)
			m |= out << (j & 63)
		}
		b[i] = w &^ m
	}
}
