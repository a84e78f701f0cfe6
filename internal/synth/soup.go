package synth

import "math/rand/v2"

// Segment is a TCP segment of one half-stream.
type Segment struct {
	// Seq is the sequence number of Data's first byte.
	Seq uint32
	// Offset is the position of Data's first byte in the stream, from 0.
	Offset int
	// Data is a slice of the stream itself.
	Data []byte
}

// SoupOptions says how hostile a soup is. Probabilities are per segment, from 0 to 1.
type SoupOptions struct {
	// Length of the stream, in bytes. 0 is a random length up to 64 KiB.
	Length int
	// MSS is the largest segment, in bytes; segments have a random length up to it. 0 is a random
	// one up to 1460.
	MSS int
	// Window is the largest number of segments by which one may come late. 0 keeps the order.
	Window int
	// Overlap is the probability of a segment that repeats bytes before it, after it or both.
	Overlap float64
	// Duplicate is the probability of a segment that comes again, within the window.
	Duplicate float64
	// Hole is the probability of a segment none of whose bytes ever come.
	Hole float64
}

// Hostile returns the options of the soup that a reassembler should be tried with first.
func Hostile() SoupOptions {
	return SoupOptions{Window: 16, Overlap: 0.2, Duplicate: 0.1, Hole: 0.02}
}

// Soup makes a stream of random bytes, and segments of it as a hostile network delivers them. The
// segments never contradict the stream or each other; the sequence numbers wrap around within most
// streams. The same seed and options give the same soup.
func Soup(seed uint64, o SoupOptions) (stream []byte, segs []Segment) {
	r := rand.New(rand.NewPCG(seed, 'S'))
	if o.Length == 0 {
		o.Length = 1 + r.IntN(64<<10)
	}
	if o.MSS == 0 {
		o.MSS = 1 + r.IntN(1460)
	}
	stream = make([]byte, o.Length)
	for i := range stream {
		stream[i] = byte(r.Uint32())
	}
	base := -uint32(r.IntN(o.Length + 1))

	// A run is a stretch without a hole; overlaps stay within theirs, so that holes stay holes.
	for runStart, at := 0, 0; at < o.Length; {
		end := min(at+1+r.IntN(o.MSS), o.Length)
		if r.Float64() < o.Hole {
			runStart, at = end, end
			continue
		}
		from := at
		if r.Float64() < o.Overlap {
			from -= r.IntN(min(at-runStart, o.MSS) + 1)
		}
		segs = append(segs, Segment{Offset: from, Data: stream[from:end]})
		at = end
	}
	for i := 0; i+1 < len(segs); i++ { // reach forward too, into what comes next
		s, next := &segs[i], &segs[i+1]
		if next.Offset <= s.Offset+len(s.Data) && r.Float64() < o.Overlap {
			end := next.Offset + r.IntN(len(next.Data)+1)
			s.Data = stream[s.Offset:max(end, s.Offset+len(s.Data))]
		}
	}
	for i := range segs {
		segs[i].Seq = base + uint32(segs[i].Offset)
	}
	return stream, late(r, segs, o)
}

// late duplicates segments and delays some, each by at most the window.
func late(r *rand.Rand, segs []Segment, o SoupOptions) []Segment {
	// slots[i] is what arrives after the i-th segment would have, in order.
	slots := make([][]Segment, len(segs)+o.Window)
	for i, s := range segs {
		slot := i + r.IntN(o.Window+1)
		slots[slot] = append(slots[slot], s)
		if r.Float64() < o.Duplicate {
			slot = i + r.IntN(o.Window+1)
			slots[slot] = append(slots[slot], s)
		}
	}
	out := make([]Segment, 0, len(segs)+len(segs)/8)
	for _, slot := range slots {
		out = append(out, slot...)
	}
	return out
}
