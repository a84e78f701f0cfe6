package timing

import (
	"math"
	"math/rand/v2"
	"testing"
)

// best tries every assignment.
func best(offers [][]offer, taken map[int]bool) float64 {
	if len(offers) == 0 {
		return 0
	}
	most := best(offers[1:], taken)
	for _, o := range offers[0] {
		if !taken[o.column] {
			taken[o.column] = true
			most = max(most, o.gain+best(offers[1:], taken))
			delete(taken, o.column)
		}
	}
	return most
}

func TestAssignmentIsBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		rows, columns := 1+rng.IntN(6), 1+rng.IntN(6)
		offers := make([][]offer, rows)
		for r := range offers {
			for c := range columns {
				if rng.IntN(3) > 0 {
					offers[r] = append(offers[r], offer{c, float64(rng.IntN(21) - 6)})
				}
			}
		}
		sum := 0.0
		used := map[int]bool{}
		var a assignment
		for r, c := range a.solve(offers, columns) {
			if c < 0 {
				continue
			}
			if used[c] {
				t.Fatalf("column %d is used twice: %v", c, offers)
			}
			used[c] = true
			found := false
			for _, o := range offers[r] {
				if o.column == c {
					sum, found = sum+o.gain, true
				}
			}
			if !found {
				t.Fatalf("row %d has column %d, which it wasn't offered: %v", r, c, offers)
			}
		}
		if want := best(offers, map[int]bool{}); math.Abs(sum-want) > 1e-9 {
			t.Fatalf("gain %v, want %v: %v", sum, want, offers)
		}
	}
}
