package pcapfilter

import "fmt"

// maxAlternatives bounds the work of OneDirection. A filter with more alternatives than that isn't
// judged.
const maxAlternatives = 64

// side is a condition on one side of a packet.
type side struct {
	node  node
	dir   direction
	field field
}

// field is what a condition on a side is about.
type field uint8

const (
	noField field = iota
	addressField
	macField
	portField
)

// alternative is a set of sides that must all hold.
type alternative []side

// OneDirection reports whether the filter can pass only one direction of a connection, such as
// "dst port 8000", and if so why, for a message. It goes by src, dst, inbound and outbound; that a
// byte test may look at a port isn't seen. A connection whose two ends both have the address or port
// that is asked for doesn't count.
//
// The filter is taken as a list of alternatives, each a set of conditions on either side. It passes
// both directions if there are two alternatives, or one alone, such that a packet can satisfy the
// first and its answer the second.
func (f *Filter) OneDirection() (why string, ok bool) {
	if f.root == nil {
		return "", false
	}
	list, ok := alternatives(f.root, false)
	if !ok || len(list) == 0 {
		return "", false
	}
	for _, a := range list {
		if len(a) == 0 {
			return "", false
		}
	}
	for _, a := range list {
		for _, b := range list {
			if answers(a, b) {
				return "", false
			}
		}
	}
	first := list[0][0]
	why = fmt.Sprintf("%q passes one direction of a connection", first.node.append(nil))
	if first.field != noField {
		why += fmt.Sprintf("; without %q it passes both", directionNames[first.dir])
	}
	return why, true
}

// alternatives returns the alternatives of a node, or of its negation. The conditions that don't
// depend on the direction are left out, and so are negated ones: "not src host a" passes both
// directions of every connection without a.
func alternatives(n node, negated bool) (list []alternative, ok bool) {
	switch n := n.(type) {
	case *negation:
		return alternatives(n.x, !negated)
	case *logical:
		a, okA := alternatives(n.a, negated)
		b, okB := alternatives(n.b, negated)
		switch {
		case !okA || !okB:
			return nil, false
		case n.or != negated:
			list = append(a, b...)
		case len(a)*len(b) > maxAlternatives:
			return nil, false
		default:
			for _, x := range a {
				for _, y := range b {
					list = append(list, append(x[:len(x):len(x)], y...))
				}
			}
		}
		return list, len(list) <= maxAlternatives
	}
	if dir, field := sideOf(n); !negated && (dir == source || dir == destination) {
		return []alternative{{{n, dir, field}}}, true
	}
	return []alternative{nil}, true
}

// sideOf returns which side a primitive looks at, and what there. inbound and outbound are taken as two
// sides too.
func sideOf(n node) (direction, field) {
	switch n := n.(type) {
	case *addressTest:
		return n.dir, addressField
	case *address6Test:
		return n.dir, addressField
	case *macTest:
		return n.dir, macField
	case *portTest:
		return n.dir, portField
	case *primitiveTest:
		switch n.what {
		case inbound:
			return source, noField
		case outbound:
			return destination, noField
		}
	}
	return eitherSide, noField
}

// answers reports whether a packet may satisfy a and its answer b.
func answers(a, b alternative) bool {
	for _, x := range a {
		for _, y := range b {
			switch {
			case x.field != y.field:
			case x.dir != y.dir && exclusive(x.node, y.node):
				return false // the two are about one end
			case x.dir == y.dir && !a.bothEnds(x.field) && !b.bothEnds(x.field):
				return false // the two are about both ends, which nobody asked for
			}
		}
	}
	return true
}

// bothEnds reports whether there are conditions on a field of either end.
func (a alternative) bothEnds(f field) bool {
	seen := [bothSides]bool{}
	for _, s := range a {
		if s.field == f {
			seen[s.dir] = true
		}
	}
	return seen[source] && seen[destination]
}

// exclusive reports whether no end of a packet can satisfy both.
func exclusive(a, b node) bool {
	switch a := a.(type) {
	case *addressTest:
		b, ok := b.(*addressTest)
		return !ok || (a.addr^b.addr)&a.mask&b.mask != 0
	case *address6Test:
		b, ok := b.(*address6Test)
		return !ok || !a.prefix.Overlaps(b.prefix)
	case *macTest:
		return a.mac != b.(*macTest).mac
	case *portTest:
		b := b.(*portTest)
		return a.high < b.low || b.high < a.low
	}
	return false
}
