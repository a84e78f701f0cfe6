package timing

const (
	// maxLabels is how many classes of calls a plan tells apart; all further ones share the last label.
	maxLabels = 24
	// paired is of how many of them it knows how each begins against each other.
	paired = 6
	// ranks is how many steps from one begin to the next, and from one end to the one before, are told apart.
	ranks = 3
	// reach is how many calls back a call looks for one that had to end first.
	reach = 16
)

// The measures of a request and its calls: each is one gap. Each label has perLabel of its own, each pair of the first
// labels one.
const (
	first = iota         // from the request's begin to that of its first call
	last                 // from the end of the call that ends last to the request's
	step                 // from one begin to the next, of the first three and of all further ones
	fold  = step + ranks // from one end to the one after, the last three
	plain = fold + ranks

	after    = 0 // from the end of the latest call that had ended by then, or the request's begin, to the begin
	from     = 1 // from the request's begin to that of the label's first call
	to       = 2 // from the end of the label's last call to the request's end
	perLabel = 3

	pairs    = plain + perLabel*maxLabels
	measures = pairs + paired*(paired-1)/2
)

// span is a call as a plan sees it.
type span struct {
	start, end int64
	label      int
}

// cell is a measure, and the bin of a gap.
type cell struct{ measure, bin uint16 }

// measured lists the gaps of a request that began and ended then, with its calls in order of their start.
func measured(out []cell, tick, start, end int64, calls []span) []cell {
	if len(calls) == 0 {
		return out
	}
	// ends are the latest ends, latest first.
	var ends [ranks + 1]int64
	n := 0
	var seen uint32
	var begun [paired]int64
	for i, c := range calls {
		latest := start
		for j := max(0, i-reach); j < i; j++ {
			if e := calls[j].end; e <= c.start && e > latest {
				latest = e
			}
		}
		own := plain + perLabel*c.label
		out = append(out, cell{uint16(own + after), binOf(c.start-latest, tick)})
		if i == 0 {
			out = append(out, cell{first, binOf(c.start-start, tick)})
		} else {
			out = append(out, cell{uint16(step + min(i, ranks) - 1), binOf(c.start-calls[i-1].start, tick)})
		}
		if seen&(1<<c.label) == 0 {
			seen |= 1 << c.label
			out = append(out, cell{uint16(own + from), binOf(c.start-start, tick)})
			if c.label < paired {
				begun[c.label] = c.start
			}
		}
		k := n
		if n < len(ends) {
			n++
		} else if k = n - 1; c.end <= ends[k] {
			continue
		}
		for ; k > 0 && ends[k-1] < c.end; k-- {
			ends[k] = ends[k-1]
		}
		ends[k] = c.end
	}
	out = append(out, cell{last, binOf(end-ends[0], tick)})
	for i := 1; i < n; i++ {
		out = append(out, cell{uint16(fold + i - 1), binOf(ends[i-1]-ends[i], tick)})
	}
	left := seen
	for i := len(calls) - 1; i >= 0 && left != 0; i-- {
		if c := &calls[i]; left&(1<<c.label) != 0 {
			left &^= 1 << c.label
			out = append(out, cell{uint16(plain + perLabel*c.label + to), binOf(end-c.end, tick)})
		}
	}
	m := pairs
	for b := 1; b < paired; b++ {
		for a := range b {
			if seen&(1<<a) != 0 && seen&(1<<b) != 0 {
				out = append(out, cell{uint16(m), binOf(begun[b]-begun[a], tick)})
			}
			m++
		}
	}
	return out
}

// kind is what a measure of a label is of the label: after, from or to; -1 for others.
func kind(m int) int {
	if m >= plain && m < pairs {
		return (m - plain) % perLabel
	}
	return -1
}

// opening says that a measure is known when its call begins.
func opening(m int) bool {
	return m == first || m >= step && m < fold || m >= pairs || kind(m) == after || kind(m) == from
}
