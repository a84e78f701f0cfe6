package measure

import (
	"math"
	"math/bits"
	"slices"
)

// Of q-digests.
const (
	// mantissaBits are the digits of a duration that are told, behind the first: leaves are at most 1/128 wide.
	mantissaBits = 7
	// universeBits is how many bits number the leaves, and how high the tree is.
	universeBits = 13
	// maxNodes is the k of the paper: a digest has at most three times as many nodes, and inner nodes hold at most 1/k of
	// all durations each.
	maxNodes = 512
	// pendingLeaves is how many durations wait to be digested together.
	pendingLeaves = 128
)

// QDigest is a q-digest (N. Shrivastava, C. Buragohain, D. Agrawal and S. Suri, Medians and Beyond: New Aggregation
// Techniques for Sensor Networks, SenSys 2004, https://arxiv.org/abs/cs/0408039). Durations are counted in the leaves of a
// binary tree over all values that there are. Where a pair of siblings and their parent hold little together, the parent
// holds it all, and it isn't told any more which of its leaves the durations were in:
//
//	          1                  a node i has the children 2i and 2i+1;
//	    2           3            leaf v is node 2¹³+v
//	 4     5     6     7
//	8 9  10 11 12 13 14 15       count(node, sibling and parent) > n/k, or they are joined
//
// The leaves aren't nanoseconds, since a tree over those would have 53 levels, and promise that much less: they grow with
// the durations, as the bins of DDSketch do. It takes 14 KiB at most.
//
// The rank of a quantile is off by at most one inner node for each level, 5 % of all durations; mostly it is within a tenth
// of that. Merged digests promise the same, and tell the same in any order unless they were joined differently before.
type QDigest struct {
	work *qdigestWork
	// pending are leaves that aren't in the tree yet.
	pending []uint16
	// nodes are those that hold something, by falling number: the leaves come first, and then level by level.
	nodes    []qnode
	count    int64
	min, max int64
}

// qnode is a node of the tree.
type qnode struct {
	number uint32
	count  int64
}

// qdigestWork is room for what is being made of two trees.
type qdigestWork struct {
	added, joined, level, up []qnode
}

// leafOf returns the leaf that a duration is counted in.
func leafOf(ns int64) uint16 {
	shift := max(bits.Len64(uint64(ns))-mantissaBits-1, 0)
	return uint16(shift<<mantissaBits + int(ns>>shift))
}

// leafBegin returns the first duration of a leaf. There are more leaves than durations.
func leafBegin(leaf int) int64 {
	if leaf > int(leafOf(largest)) {
		return largest + 1
	}
	shift := max(leaf>>mantissaBits-1, 0)
	return int64(leaf-shift<<mantissaBits) << shift
}

// Add implements Sketch.
func (d *QDigest) Add(ns int64) {
	if ns < 0 || d.count >= maxCount {
		return
	}
	ns = min(ns, largest)
	if d.count == 0 {
		d.min, d.max = ns, ns
	} else {
		d.min, d.max = min(d.min, ns), max(d.max, ns)
	}
	d.count++
	d.pending = append(d.pending, leafOf(ns))
	if len(d.pending) == pendingLeaves {
		d.settle()
	}
}

// settle takes what is pending into the tree.
func (d *QDigest) settle() {
	if len(d.pending) == 0 {
		return
	}
	w := d.work
	w.added = w.added[:0]
	slices.Sort(d.pending)
	for _, leaf := range slices.Backward(d.pending) {
		number := uint32(1)<<universeBits + uint32(leaf)
		if n := len(w.added); n > 0 && w.added[n-1].number == number {
			w.added[n-1].count++
		} else {
			w.added = append(w.added, qnode{number, 1})
		}
	}
	d.pending = d.pending[:0]
	d.join(w.added)
}

// join adds nodes of another tree, and compresses what comes of it.
func (d *QDigest) join(other []qnode) {
	w := d.work
	w.joined = w.joined[:0]
	mine := d.nodes
	for len(mine) > 0 && len(other) > 0 {
		switch {
		case mine[0].number > other[0].number:
			w.joined, mine = append(w.joined, mine[0]), mine[1:]
		case mine[0].number < other[0].number:
			w.joined, other = append(w.joined, other[0]), other[1:]
		default:
			w.joined = append(w.joined, qnode{mine[0].number, mine[0].count + other[0].count})
			mine, other = mine[1:], other[1:]
		}
	}
	w.joined = append(append(w.joined, mine...), other...)
	d.compress(w.joined)
}

// compress makes the tree of nodes that are sorted by falling number: level by level, from the leaves up, those that hold
// little are joined into their parents.
func (d *QDigest) compress(nodes []qnode) {
	w, few := d.work, d.count/maxNodes
	out := d.nodes[:0]
	w.level = w.level[:0]
	for first := uint32(1) << universeBits; ; first /= 2 {
		// Those of this level are what came up from below, and what was here before and hasn't met it: see up.
		w.up = w.up[:0]
		level := w.level
		n := 0
		for n < len(nodes) && nodes[n].number >= first {
			n++
		}
		own := nodes[:n]
		nodes = nodes[n:]
		next := func() (q qnode, ok bool) {
			switch {
			case len(level) > 0 && (len(own) == 0 || level[0].number > own[0].number):
				q, level = level[0], level[1:]
			case len(own) > 0:
				q, own = own[0], own[1:]
			default:
				return q, false
			}
			if len(level) > 0 && level[0].number == q.number {
				q.count += level[0].count
				level = level[1:]
			}
			return q, true
		}
		if first == 1 {
			if root, ok := next(); ok {
				out = append(out, root)
			}
			break
		}
		above := nodes
		q, ok := next()
		for ok {
			sibling, known := next()
			pair := known && sibling.number == q.number^1
			parent, sum := q.number/2, q.count
			if pair {
				sum += sibling.count
			}
			for len(above) > 0 && above[0].number > parent {
				above = above[1:]
			}
			held := int64(0)
			if len(above) > 0 && above[0].number == parent {
				held = above[0].count
			}
			switch {
			case sum+held <= few:
				w.up = append(w.up, qnode{parent, sum})
			case pair:
				out = append(out, q, sibling)
			default:
				out = append(out, q)
			}
			if q, ok = sibling, known; pair {
				q, ok = next()
			}
		}
		w.level, w.up = w.up, w.level
	}
	d.nodes = out
}

// Merge implements Sketch.
func (d *QDigest) Merge(from Sketch) error {
	other, ok := from.(*QDigest)
	if !ok {
		return unlike(QDigests, from)
	}
	if other.count == 0 {
		return nil
	}
	if d.count == 0 {
		d.min, d.max = other.min, other.max
	} else {
		d.min, d.max = min(d.min, other.min), max(d.max, other.max)
	}
	d.count = min(d.count+other.count, maxCount)
	d.join(other.nodes)
	for _, leaf := range other.pending {
		d.pending = append(d.pending, leaf)
		if len(d.pending) == pendingLeaves {
			d.settle()
		}
	}
	return nil
}

// Count implements Sketch.
func (d *QDigest) Count() int64 { return d.count }

// Quantile implements Sketch. The first and the last are exact.
func (d *QDigest) Quantile(q float64) (int64, bool) {
	if d.count == 0 || math.IsNaN(q) {
		return 0, false
	}
	rank := nearestRank(min(max(q, 0), 1), d.count)
	switch rank {
	case 0:
		return d.min, true
	case d.count - 1:
		return d.max, true
	}
	d.settle()
	// By where they end, and the narrower first. What is counted by then is below that end for certain; what isn't, but
	// might be, is in the inner nodes above.
	w := d.work
	w.joined = append(w.joined[:0], d.nodes...)
	slices.SortFunc(w.joined, func(a, b qnode) int {
		_, endA := a.leaves()
		_, endB := b.leaves()
		if endA != endB {
			return endA - endB
		}
		return int(b.number) - int(a.number)
	})
	for _, node := range w.joined {
		if rank < node.count {
			begin, end := node.leaves()
			told := leafBegin(end) - 1
			if end == begin+1 {
				told -= (told - leafBegin(begin)) / 2 // a leaf is narrow
			}
			return min(max(told, d.min), d.max), true
		}
		rank -= node.count
	}
	return d.max, true
}

// leaves returns the first leaf below a node, and the first behind.
func (q qnode) leaves() (begin, end int) {
	height := universeBits + 1 - bits.Len32(q.number)
	begin = int(q.number)<<height - 1<<universeBits
	return begin, begin + 1<<height
}

// What a q-digest takes besides nodes and what is pending, and each of these, in bytes.
const (
	qdigestSize = 80
	nodeSize    = 16
	leafSize    = 2
)

// Size implements Sketch.
func (d *QDigest) Size() int {
	return qdigestSize + cap(d.nodes)*nodeSize + cap(d.pending)*leafSize
}

// Accuracy implements Sketch.
func (d *QDigest) Accuracy() Accuracy { return Accuracy{Rank: float64(universeBits) / maxNodes} }
