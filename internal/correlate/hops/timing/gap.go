package timing

import (
	"math"
	"math/bits"
)

// Gaps are counted in bins: exact below perOctave ticks, then perOctave bins for each doubling, alike for negative ones.
const (
	perOctave = 4
	logOctave = 2
	// octaves reach to 2^30 ticks: 18 minutes of microseconds. Longer gaps are in the last bin.
	octaves = 30
	half    = perOctave * (octaves - logOctave + 1)
	bins    = 2*half + 1
)

// binOf is the bin of a gap of so many nanoseconds, on a clock with this tick.
func binOf(gap, tick int64) uint16 {
	v := uint64(gap)
	if gap < 0 {
		v = -v
	}
	// Divisions by constants are multiplications; this is most of what a proposal costs.
	switch tick {
	case 1e3:
		v /= 1e3
	case 1e4:
		v /= 1e4
	case 1e5:
		v /= 1e5
	case 1e6:
		v /= 1e6
	default:
		v /= uint64(tick)
	}
	b := int(v)
	if v >= perOctave {
		l := bits.Len64(v) - 1
		b = perOctave*(l-logOctave+1) + int(v>>(uint(l)-logOctave)&(perOctave-1))
		b = min(b, half)
	}
	if gap < 0 {
		return uint16(half - b)
	}
	return uint16(half + b)
}

// smoother spreads what was counted in one bin over its neighbours, by their distance in octaves: a gap of 100 µs says
// something about one of 110 µs, but one tick of a coarse clock nothing about two.
type smoother struct{ kernel [bins][]spread }

type spread struct {
	bin   int
	share float64
}

// bandwidth is the standard deviation of a smoothed gap, in octaves.
const bandwidth = 0.3

func newSmoother() *smoother {
	s := new(smoother)
	at := func(b int) float64 {
		d := b - half
		v := math.Abs(float64(d))
		if v >= perOctave {
			v = math.Exp2(v/perOctave+logOctave-1) * (1 + 0.5/perOctave)
		}
		return math.Copysign(math.Log2(1+v), float64(d))
	}
	for b := range s.kernel {
		sum := 0.0
		for o := range s.kernel {
			d := (at(o) - at(b)) / bandwidth
			if math.Abs(d) > 2.5 {
				continue
			}
			w := math.Exp(-d * d / 2)
			sum += w
			s.kernel[b] = append(s.kernel[b], spread{o, w})
		}
		for i := range s.kernel[b] {
			s.kernel[b][i].share /= sum
		}
	}
	return s
}

// histogram counts gaps.
type histogram struct {
	n   [bins]float32
	sum float64
}

func (s *smoother) apply(h *histogram, out *[bins]float64) {
	clear(out[:])
	for b, n := range h.n {
		if n != 0 {
			for _, k := range s.kernel[b] {
				out[k.bin] += float64(n) * k.share
			}
		}
	}
}
