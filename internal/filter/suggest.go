package filter

import (
	"cmp"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
)

const (
	// maxSuggestions is how many names an error suggests.
	maxSuggestions = 3
	// maxTypos is how many letters may differ for a name to be suggested.
	maxTypos = 2
)

// unknown is the message about a name that no field has, with the names that come nearest.
func unknown(name string) string {
	const list = "docs/filter.md lists the fields"
	found := nearest(name)
	if len(found) == 0 {
		return "there is no field " + name + "; " + list
	}
	return "there is no field " + name + "; did you mean " + strings.Join(found, ", ") + "?"
}

// nearest returns the names that differ from name by a few letters, nearest first, and then those
// that have it at the beginning, or after a dot.
func nearest(name string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	consider := func(s string) {
		d := distance(strings.ToLower(name), s)
		switch {
		case d <= min(maxTypos, len(name)/2):
		case len(name) > maxTypos && (strings.HasPrefix(s, name) || strings.Contains(s, "."+name)):
			d = maxTypos + 1
		default:
			return
		}
		found = append(found, candidate{s, d})
	}
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		if f.Name == Name(f) {
			consider(f.Name)
		}
		for _, a := range f.Aliases {
			consider(a)
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, f := range found[:min(len(found), maxSuggestions)] {
		names = append(names, f.name)
	}
	return names
}

// distance returns how many bytes must be inserted, deleted, replaced, or swapped with their neighbour
// to make b of a (optimal string alignment); or more than maxTypos, when it is more than that.
func distance(a, b string) int {
	if d := len(a) - len(b); d > maxTypos || d < -maxTypos {
		return maxTypos + 1
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, last, row := rows[0], rows[1], rows[2]
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := last[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(replaced, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
