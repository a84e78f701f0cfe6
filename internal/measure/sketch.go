package measure

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and the precision of sketches. Two digits mean that a quantile is at most 1 % above the true one;
// below finest × 100 it is at most finest above it.
const (
	// finest is the smallest difference that a sketch tells, in nanoseconds.
	finest = 64
	// longest is the largest duration that a sketch tells, in nanoseconds: a day. Longer ones count as this.
	longest = 24 * 3600 * 1e9
	digits  = 2
)

// Sketch is the distribution of durations: what percentiles are told from. It takes as much memory as the
// durations differ, at most 64 KiB however many there are, and sketches add up: merged, they say what one
// sketch of everything would say.
//
// The zero Sketch is empty and ready. A Sketch must not be copied, and isn't safe for concurrent use.
type Sketch struct {
	// h has sparse counters, since most sketches hold a few dozen different durations; nil until there is one.
	h *hdrhistogram.PackedHistogram
}

func (s *Sketch) make() *hdrhistogram.PackedHistogram {
	if s.h == nil {
		s.h = hdrhistogram.NewPacked(finest, longest, digits)
	}
	return s.h
}

// Add adds a duration in nanoseconds. A negative one is unknown, and not counted. Add allocates only to make
// room for durations unlike those before.
func (s *Sketch) Add(ns int64) {
	if ns < 0 {
		return
	}
	_ = s.make().RecordValue(min(ns, longest)) // fails only outside of the range
}

// Count returns how many durations were added.
func (s *Sketch) Count() int64 {
	if s.h == nil {
		return 0
	}
	return s.h.TotalCount()
}

// Quantile returns the duration in nanoseconds that the part q, from 0 to 1, of all durations don't exceed,
// and false when there is none. It is one that was added, or at most 1 % above it (64 ns, of short ones).
func (s *Sketch) Quantile(q float64) (int64, bool) {
	if s.Count() == 0 || math.IsNaN(q) {
		return 0, false
	}
	return min(s.h.ValueAtPercentile(q*100), longest), true
}

// Merge adds the durations of another sketch, which doesn't change.
func (s *Sketch) Merge(from *Sketch) {
	if from.Count() > 0 {
		s.make().Merge(from.h)
	}
}

// Reset empties the sketch, and keeps its memory for what comes next.
func (s *Sketch) Reset() {
	if s.h != nil {
		s.h.Reset()
	}
}
