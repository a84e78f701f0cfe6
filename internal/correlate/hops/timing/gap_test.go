package timing

import (
	"math"
	"testing"
)

func TestBins(t *testing.T) {
	for gap := int64(0); gap < 8; gap++ {
		if got := int(binOf(gap*1000, 1000)) - half; got != int(gap) {
			t.Errorf("%d ticks are in bin %d; they are told apart one by one", gap, got)
		}
	}
	before := uint16(0)
	for v := int64(1); v < 1<<60; v += v/16 + 1 {
		up, down := binOf(v, 1), binOf(-v, 1)
		if int(up)+int(down) != 2*half || int(up) >= bins {
			t.Fatalf("gap %d: bins %d and %d", v, up, down)
		}
		if up < before || int(up) > int(before)+1 && before != 0 {
			t.Fatalf("gap %d is in bin %d, after %d", v, up, before)
		}
		before = up
	}
	if binOf(math.MinInt64, 1) != 0 || binOf(math.MaxInt64, 1) != bins-1 {
		t.Error("the longest gaps aren't in the last bins")
	}
}

func TestSmoothing(t *testing.T) {
	s := newSmoother()
	var out [bins]float64
	for _, c := range []struct {
		ticks int64
		own   float64 // the least share that stays in the bin
		most  float64 // the largest
	}{{0, 0.9, 1}, {-1, 0.5, 1}, {5, 0.3, 0.9}, {1000, 0.1, 0.4}} {
		var h histogram
		b := binOf(c.ticks, 1)
		h.n[b] = 2
		s.apply(&h, &out)
		sum := 0.0
		for _, v := range out {
			sum += v
		}
		if math.Abs(sum-2) > 1e-6 {
			t.Errorf("gap %d: %v of 2 are left", c.ticks, sum)
		}
		if share := out[b] / 2; share < c.own || share > c.most {
			t.Errorf("gap %d: %.2f stay in its bin, want %.2f to %.2f", c.ticks, share, c.own, c.most)
		}
	}
}
