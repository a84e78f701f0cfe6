package routing

import "slices"

// alignment says how a chain is made of what is expected, by the least number of hops that are missing or too many.
//
// It is the edit distance without replacements: cost[i][j] is that of the first i hops that are expected and the first j of the
// chain. Leaving out what is optional costs nothing.
type alignment struct {
	cost [][]int
	// whole: all that is expected is the begin of the chain, or all of it. begins: the chain is the begin of what is expected, or all.
	whole, begins bool
}

// align aligns a chain with what is expected.
func align(want []Want, chain []Hop) *alignment {
	a := &alignment{cost: make([][]int, len(want)+1)}
	for i := range a.cost {
		a.cost[i] = make([]int, len(chain)+1)
		for j := range a.cost[i] {
			if i == 0 {
				a.cost[i][j] = j
				continue
			}
			a.cost[i][j] = a.cost[i-1][j] + without(&want[i-1])
			if j == 0 {
				continue
			}
			a.cost[i][j] = min(a.cost[i][j], a.cost[i][j-1]+1)
			if want[i-1].is(&chain[j-1]) {
				a.cost[i][j] = min(a.cost[i][j], a.cost[i-1][j-1])
			}
		}
	}
	for j := 1; j <= len(chain); j++ {
		a.whole = a.whole || a.cost[len(want)][j] == 0
	}
	for i := range a.cost {
		a.begins = a.begins || a.cost[i][len(chain)] == 0
	}
	return a
}

// without is what it costs to leave out a hop.
func without(w *Want) int {
	if w.Optional {
		return 0
	}
	return 1
}

// nearest returns which of the expected chains a chain is most like, and marks those that it is as much like.
func nearest(all [][]Want, chain []Hop, marked []bool) (best []Want) {
	costs, least := make([]int, len(all)), 0
	for i, want := range all {
		costs[i] = align(want, chain).cost[len(want)][len(chain)]
		if best == nil || costs[i] < least {
			best, least = want, costs[i]
		}
	}
	for i := range costs {
		marked[i] = marked[i] || costs[i] == least
	}
	return best
}

// finding is something that differs: a sentence, and the hop that isn't where it is expected, or that is too many; nil: it is about neither.
type finding struct {
	what    string
	missing *Want
	extra   *Hop
}

// differences says what is missing in a chain, and what is too many.
func (a *alignment) differences(want []Want, chain []Hop) (all []finding) {
	var missing, extra []int
	for i, j := len(want), len(chain); i > 0 || j > 0; {
		switch c := a.cost[i][j]; {
		case i > 0 && j > 0 && want[i-1].is(&chain[j-1]) && c == a.cost[i-1][j-1]:
			i, j = i-1, j-1
		case i > 0 && c == a.cost[i-1][j]+without(&want[i-1]):
			i--
			if !want[i].Optional {
				missing = append(missing, i)
			}
		default:
			j--
			extra = append(extra, j)
		}
	}
	slices.Reverse(missing)
	slices.Reverse(extra)
	seen := ": " + Chain(chain)
	wanted := func(i int) string { return want[i].String() }
	found := func(j int) string { return chain[j].String() }
	for _, i := range missing {
		if k := slices.IndexFunc(extra, func(j int) bool { return want[i].is(&chain[j]) }); k >= 0 {
			all = append(all, finding{"in another order, " + want[i].String() + " should come " + between(i, len(want), wanted) + seen, &want[i], &chain[extra[k]]})
			extra = slices.Delete(extra, k, k+1)
			continue
		}
		all = append(all, finding{want[i].String() + " is missing " + between(i, len(want), wanted) + seen, &want[i], nil})
	}
	for _, j := range extra {
		all = append(all, finding{what: chain[j].String() + " isn't expected " + between(j, len(chain), found) + seen, extra: &chain[j]})
	}
	return all
}

// between says where hop i of n is.
func between(i, n int, name func(i int) string) string {
	switch {
	case n == 1:
		return "there"
	case i == 0:
		return "before " + name(1)
	case i == n-1:
		return "behind " + name(i-1)
	}
	return "between " + name(i-1) + " and " + name(i+1)
}

// absent says that no chain of a request was one that is expected: which hop is missing first.
func absent(want []Want, chains [][]Hop) finding {
	var like []Hop
	most := -1
	for _, chain := range chains {
		a := align(want, chain)
		for i := range a.cost {
			if i > most && slices.Contains(a.cost[i], 0) {
				most, like = i, chain
			}
		}
	}
	first := most
	for first < len(want)-1 && want[first].Optional {
		first++
	}
	where := "there"
	if first > 0 {
		where = "behind " + want[first-1].String()
	}
	return finding{want[first].String() + " is missing " + where + ": " + Chain(like), &want[first], nil}
}
