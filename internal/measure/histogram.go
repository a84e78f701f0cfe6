package measure

import (
	"math"
	"slices"
)

// HistogramScale is the scale of histograms: bucket i counts the values in (2^(i/32), 2^((i+1)/32)] seconds, as
// OpenTelemetry's exponential histograms of scale 5 do, and Prometheus's native histograms of schema 5. A value is within 1.1 % of the
// middle of its bucket.
const HistogramScale = 5

// bucketsPerOctave is how many buckets there are for each power of two.
const bucketsPerOctave = 1 << HistogramScale

// Histogram counts durations in buckets that others know, too: it can be shipped, and added to those of other agents.
// A Sketch is smaller and stays here. The zero Histogram is empty and ready.
type Histogram struct {
	// Count durations were added, of which Zero are 0; Sum is what they add up to, in nanoseconds, Min and Max the smallest
	// and the largest.
	Count, Zero uint64
	Sum         float64
	Min, Max    int64
	// Counts are those of the buckets Offset, Offset+1, ...
	Offset int32
	Counts []uint64
}

// Add adds a duration in nanoseconds. A negative one is unknown, and not counted.
func (h *Histogram) Add(ns int64) {
	if ns < 0 {
		return
	}
	if h.Count == 0 {
		h.Min, h.Max = ns, ns
	}
	h.Count++
	h.Sum += float64(ns)
	h.Min, h.Max = min(h.Min, ns), max(h.Max, ns)
	if ns == 0 {
		h.Zero++
		return
	}
	*h.bucket(bucketOf(ns))++
}

// bucket returns the counter of a bucket, for which it makes room.
func (h *Histogram) bucket(i int32) *uint64 {
	switch n := int32(len(h.Counts)); {
	case n == 0:
		h.Offset = i
		h.Counts = append(h.Counts, 0)
	case i < h.Offset:
		h.Counts = slices.Insert(h.Counts, 0, make([]uint64, h.Offset-i)...)
		h.Offset = i
	case i >= h.Offset+n:
		h.Counts = append(h.Counts, make([]uint64, i-h.Offset-n+1)...)
	}
	return &h.Counts[i-h.Offset]
}

// Merge adds what another one has counted.
func (h *Histogram) Merge(from *Histogram) {
	if from.Count == 0 {
		return
	}
	if h.Count == 0 {
		h.Min, h.Max = from.Min, from.Max
	}
	h.Count += from.Count
	h.Zero += from.Zero
	h.Sum += from.Sum
	h.Min, h.Max = min(h.Min, from.Min), max(h.Max, from.Max)
	for i, n := range from.Counts {
		if n > 0 {
			*h.bucket(from.Offset + int32(i)) += n
		}
	}
}

// Reset empties the histogram, and keeps its memory.
func (h *Histogram) Reset() { *h = Histogram{Counts: h.Counts[:0]} }

// origin is where the grid of buckets has its origin: receivers count in seconds.
const origin = 1e9

// Bounds returns the bounds of bucket i, in nanoseconds: it counts what is above low and at most high.
func Bounds(i int32) (low, high float64) {
	return origin * math.Exp2(float64(i)/bucketsPerOctave), origin * math.Exp2(float64(i+1)/bucketsPerOctave)
}

// octave are the bounds between the buckets of one octave, from a half to one.
var octave = func() (bounds [bucketsPerOctave]float64) {
	for k := range bounds {
		bounds[k] = math.Exp2(float64(k)/bucketsPerOctave - 1)
	}
	return bounds
}()

// bucketOf returns the bucket of a duration above 0.
func bucketOf(ns int64) int32 {
	fraction, exponent := math.Frexp(float64(ns) / origin)
	k := 0
	for step := bucketsPerOctave / 2; step > 0; step /= 2 {
		if fraction > octave[k+step] {
			k += step
		}
	}
	if k == 0 && fraction == octave[0] {
		k = -1 // a power of two is the upper bound of its bucket
	}
	return int32((exponent-1)*bucketsPerOctave + k)
}
