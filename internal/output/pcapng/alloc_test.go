//go:build !race

package pcapng

import "testing"

// TestSteadyStateAllocatesNothing: neither does the writer, whose allocations are counted too.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, o := range []Options{{}, {Matched: true}, {RotateSize: 1 << 20}} {
		o.Memory = 4 << 20
		r := New([]File{sink{}}, o)
		l := newLoad(100, 1000)
		for range 20_000 {
			l.give(r)
		}
		if n := testing.AllocsPerRun(20_000, func() { l.give(r) }); n > 0 {
			t.Errorf("%+v: %v allocations a packet", o, n)
		}
		if err := closeOf(t, r); err != nil {
			t.Fatal(err)
		}
	}
}
