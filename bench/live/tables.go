//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// row is a captor with its turns under a load. A turn that failed is nil.
type row struct {
	captor *captor
	turns  []*turn
	failed int
}

// tables prints.
type tables struct {
	w        io.Writer
	markdown bool
}

// legend says what the columns of the tables are.
const legend = `
CPU s is the captor's user and system time, with its children; ×: by culprit's, turn by turn. packets %: of what passed the
interface, as the captor tells; dropped: lost, as it tells, in all rounds; found %: of the requests that the load counts (wrk leaves
out the last ones, on their way when it ends). behind s: how long it was busy after the load. VmHWM, RssAnon: the peaks of its
processes, added up. others µs: CPU time of nginx and the load for each request, with what the kernel does to capture. idle %,
else %: of one core, what nobody used, and what other programs and threads of the kernel used.
`

// load prints what became of the captors under a load. Figures are medians of the turns, ratios medians of the
// ratios of turns in the same round; counts are sums.
func (t tables) load(l *load, rows []*row) {
	fmt.Fprintf(t.w, "\n%s: %s\n\n", l.name, l.about)
	alone := find(rows, func(c *captor) bool { return c.name == none })
	culprit := find(rows, func(c *captor) bool { return strings.HasPrefix(c.name, "culprit") })
	head := []string{"captor", "requests/s", "% of none", "CPU s", "µs/packet", "×", "µs/exchange", "×",
		"packets %", "dropped", "found %", "behind s", "VmHWM MB", "RssAnon MB", "others µs", "idle %", "else %", ""}
	var lines [][]string
	for _, r := range rows {
		c := r.captor
		captured := c.name != none
		line := []string{
			c.name,
			whole(r.median(requestRate)),
			whole(100 * r.ratio(alone, requestRate)),
			"", "", "", "", "", "", "", "", "", "", "",
			tenths(r.median(func(t *turn) float64 { return micros(t.others.Seconds(), t.requests) })),
			whole(r.median(func(t *turn) float64 { return 100 * t.idle })),
			whole(r.median(func(t *turn) float64 { return 100 * t.elsewhere })),
			r.remark(),
		}
		if captured {
			line[3] = hundredths(r.median(func(t *turn) float64 { return t.cpu.Seconds() }))
			line[4], line[5] = hundredths(r.median(perPacket)), hundredths(r.ratio(culprit, perPacket))
			line[6], line[7] = hundredths(r.median(perExchange)), hundredths(r.ratio(culprit, perExchange))
			line[8] = tenths(100 * r.median(func(t *turn) float64 { return share(t.packets, t.wire) }))
			line[9] = r.dropped()
			line[11] = tenths(r.median(func(t *turn) float64 { return t.behind.Seconds() }))
			line[12] = tenths(r.median(func(t *turn) float64 { return float64(t.memory.resident) / 1e6 }))
			line[13] = tenths(r.median(func(t *turn) float64 { return float64(t.memory.anonymous) / 1e6 }))
		}
		if c.found != nil {
			line[10] = tenths(100 * r.median(func(t *turn) float64 { return share(t.found, t.requests) }))
		}
		lines = append(lines, line)
	}
	t.print(head, lines)
}

func find(rows []*row, is func(*captor) bool) *row {
	for _, r := range rows {
		if is(r.captor) {
			return r
		}
	}
	return nil
}

func requestRate(t *turn) float64 { return t.perSecond() }

func perPacket(t *turn) float64 { return micros(t.cpu.Seconds(), t.packets) }

func perExchange(t *turn) float64 { return micros(t.cpu.Seconds(), t.found) }

func micros(seconds float64, n int) float64 {
	if n <= 0 {
		return math.NaN()
	}
	return seconds * 1e6 / float64(n)
}

func share(part, of int) float64 {
	if part < 0 || of <= 0 {
		return math.NaN()
	}
	return float64(part) / float64(of)
}

// median is of all turns that know the figure; NaN when none does.
func (r *row) median(figure func(*turn) float64) float64 {
	var all []float64
	for _, t := range r.turns {
		if t != nil {
			all = append(all, figure(t))
		}
	}
	return median(all)
}

// ratio is the median of this captor's figure by another's in the same round; NaN when there is none.
func (r *row) ratio(other *row, figure func(*turn) float64) float64 {
	var all []float64
	for i, t := range r.turns {
		if other != nil && t != nil && other.turns[i] != nil {
			all = append(all, figure(t)/figure(other.turns[i]))
		}
	}
	return median(all)
}

func median(all []float64) float64 {
	all = slices.DeleteFunc(all, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
	if len(all) == 0 {
		return math.NaN()
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// dropped is the sum of what the captor says that it lost.
func (r *row) dropped() string {
	sum, known := 0, false
	for _, t := range r.turns {
		if t != nil && t.dropped >= 0 {
			sum, known = sum+t.dropped, true
		}
	}
	if !known {
		return "-"
	}
	return thousands(float64(sum))
}

// remark says what the figures don't.
func (r *row) remark() string {
	var parts []string
	if r.captor.remark != "" {
		parts = append(parts, r.captor.remark)
	}
	killed, errors, incomplete := 0, 0, 0
	for _, t := range r.turns {
		if t == nil {
			continue
		}
		errors += t.errors
		killed += btoi(t.killed)
		if t.complete >= 0 {
			incomplete += t.found - t.complete
		}
	}
	for _, p := range []struct {
		what string
		n    int
	}{
		{"exchanges not complete", incomplete}, {"requests failed", errors}, {"killed", killed}, {"turns failed", r.failed},
	} {
		if p.n > 0 {
			parts = append(parts, p.what+": "+thousands(float64(p.n)))
		}
	}
	return strings.Join(parts, "; ")
}

// print prints a table: the first column and the last to the left, numbers to the right.
func (t tables) print(head []string, rows [][]string) {
	widths := make([]int, len(head))
	for _, line := range append([][]string{head}, rows...) {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	left := func(i int) bool { return i == 0 || head[i] == "" }
	line := func(cells []string) {
		padded := make([]string, len(cells))
		for i, cell := range cells {
			if pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)); left(i) {
				padded[i] = cell + pad
			} else {
				padded[i] = pad + cell
			}
		}
		if t.markdown {
			fmt.Fprintf(t.w, "| %s |\n", strings.Join(padded, " | "))
		} else {
			fmt.Fprintln(t.w, strings.TrimRight(strings.Join(padded, "  "), " "))
		}
	}
	line(head)
	if t.markdown {
		rule := make([]string, len(head))
		for i, w := range widths {
			rule[i] = strings.Repeat("-", max(w-1, 2)) + ":"
			if left(i) {
				rule[i] = strings.Repeat("-", max(w, 3))
			}
		}
		fmt.Fprintf(t.w, "| %s |\n", strings.Join(rule, " | "))
	}
	for _, r := range rows {
		line(r)
	}
}

func whole(x float64) string      { return decimals(x, 0) }
func tenths(x float64) string     { return decimals(x, 1) }
func hundredths(x float64) string { return decimals(x, 2) }

// decimals writes a figure, "-" if it isn't known.
func decimals(x float64, n int) string {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return "-"
	case n == 0:
		return thousands(x)
	}
	return fmt.Sprintf("%.*f", n, x)
}

// thousands writes a whole number with commas between the thousands.
func thousands(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
