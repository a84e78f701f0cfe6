package timing

import "testing"

func TestMeasures(t *testing.T) {
	// Two calls of label 0 in a row, and one of label 1 beside the second.
	calls := []span{{10, 30, 0}, {34, 60, 0}, {35, 80, 1}}
	got := map[int][]int{}
	for _, c := range measured(nil, 1, 0, 87, calls) {
		got[int(c.measure)] = append(got[int(c.measure)], int(c.bin)-half)
	}
	bin := func(gap int64) int { return int(binOf(gap, 1)) - half }
	label := func(l, k int) int { return plain + perLabel*l + k }
	want := map[int][]int{
		first: {bin(10)}, last: {bin(7)},
		step: {bin(24)}, step + 1: {bin(1)},
		fold: {bin(20)}, fold + 1: {bin(30)},
		label(0, after): {bin(10), bin(4)}, label(1, after): {bin(5)},
		label(0, from): {bin(10)}, label(1, from): {bin(35)},
		label(0, to): {bin(27)}, label(1, to): {bin(7)},
		pairs: {bin(25)},
	}
	for m, w := range want {
		if g := got[m]; len(g) != len(w) || g[0] != w[0] || g[len(g)-1] != w[len(w)-1] {
			t.Errorf("measure %d: bins %v, want %v", m, g, w)
		}
		delete(got, m)
	}
	if len(got) > 0 {
		t.Errorf("more than expected: %v", got)
	}
}
