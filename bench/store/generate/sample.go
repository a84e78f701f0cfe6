package generate

import (
	"math"
	"math/rand/v2"
)

// alias draws one of n things with given weights in constant time (Walker's method).
type alias struct {
	// Half of the cells of a table of n belong to cell i, the rest to other[i].
	keep  []float64
	other []int32
	// bits is the information in one draw.
	bits float64
}

func newAlias(weights []float64) alias {
	n := len(weights)
	a := alias{keep: make([]float64, n), other: make([]int32, n)}
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	var small, large []int32
	for i, w := range weights {
		if w > 0 {
			a.bits -= w / sum * math.Log2(w/sum)
		}
		a.keep[i], a.other[i] = w/sum*float64(n), int32(i)
		if a.keep[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.other[s] = l
		a.keep[l] -= 1 - a.keep[s]
		if a.keep[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		a.keep[i] = 1 // but for rounding
	}
	return a
}

func (a *alias) draw(r *rand.Rand) int {
	u := r.Float64() * float64(len(a.keep))
	i := int(u)
	if u-float64(i) < a.keep[i] {
		return i
	}
	return int(a.other[i])
}

// zipf returns the weights 1/rank^s of n ranks.
func zipf(n int, s float64) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = math.Pow(float64(i+1), -s)
	}
	return w
}

// logNormal is a distribution of positive numbers whose logarithms are normal.
type logNormal struct{ median, sigma float64 }

func (l logNormal) draw(r *rand.Rand) float64 { return l.median * math.Exp(r.NormFloat64()*l.sigma) }

// bits is the information in one draw that is rounded to whole numbers.
func (l logNormal) bits() float64 {
	return math.Log2(l.median * l.sigma * math.Sqrt(2*math.Pi*math.E))
}

// mix makes a number that looks random of one that doesn't, always the same one (the finalizer of SplitMix64).
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

const hexDigits = "0123456789abcdef"

// appendHex appends the low digits of n in hexadecimal.
func appendHex(dst []byte, n uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[n>>shift&15])
	}
	return dst
}

// appendUUID appends a random UUID (RFC 9562, version 4) of 122 of the bits of hi and lo.
func appendUUID(dst []byte, hi, lo uint64) []byte {
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	dst = append(appendHex(dst, hi>>32, 8), '-')
	dst = append(appendHex(dst, hi>>16&0xffff, 4), '-')
	dst = append(appendHex(dst, hi&0xffff, 4), '-')
	dst = append(appendHex(dst, lo>>48, 4), '-')
	return appendHex(dst, lo&(1<<48-1), 12)
}
