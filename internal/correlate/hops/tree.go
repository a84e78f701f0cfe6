package hops

import (
	"cmp"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Tree is what one request caused.
type Tree struct {
	Root *Node
	// Nodes is how many exchanges are in it.
	Nodes int
	// Culprit is the node that made it slow or fail, nil: nobody did, or it isn't clear.
	Culprit *Node
	// Offsets are the clocks of the taps against that of the root's, where more than one tap is in it.
	Offsets []Offset
}

// Offset is how a tap's clock goes.
type Offset struct {
	Observer, Tap string
	// Ahead is by how much it is ahead of that of the root's tap, and Bound how far off that may be, in nanoseconds; Samples is how many
	// exchanges that was seen by. 0 samples: it isn't known.
	Ahead, Bound int64
	Samples      uint64
}

// Node is an exchange in a tree.
type Node struct {
	// Span is its observation nearest to the client.
	*Span
	Parent   *Node
	Children []*Node
	// Hop is its place, as an exchange has it.
	Hop exchange.Hop
	// Start and End are nanoseconds since 1970 on the clock of the root's tap.
	Start, End int64
	// Self is its time less the union of its children's.
	Self int64
	Role Role
	// Earlier is what it follows from: the redirect or the attempt before it, and, of a lookup, the exchange that it was made for.
	Earlier *Node
	// Async: it began after its parent's answer had ended.
	Async bool
	// Seen are the observations, the nearest to the client first; there is one at least.
	Seen []*Span
	// Network is what the way between the first and the last of them took.
	Network Network
	// Unseen says why the chain goes on where no packet was seen; empty: there is no sign of that.
	Unseen string
	// Blame is the verdict with what its children tell.
	Blame exchange.Blame
}

// Network is the time between two taps, in nanoseconds. The two parts are exact but for the clocks; their sum is exact.
type Network struct {
	Request, Response int64
	Known             bool
}

// All visits the nodes, parents before their children, children by their begin, until f returns false.
func (t *Tree) All(f func(*Node) bool) { t.Root.all(f) }

func (n *Node) all(f func(*Node) bool) bool {
	if !f(n) {
		return false
	}
	for _, c := range n.Children {
		if !c.all(f) {
			return false
		}
	}
	return true
}

// Find returns the node of an exchange, by the id of any of its observations, nil when it isn't in the tree.
func (t *Tree) Find(id [exchange.IDSize]byte) (found *Node) {
	t.All(func(n *Node) bool {
		if slices.ContainsFunc(n.Seen, func(s *Span) bool { return s.ID == id }) {
			found = n
		}
		return found == nil
	})
	return found
}

// Depth is how many hops are between the node and the root.
func (n *Node) Depth() int { return n.Hop.Depth }

// Served is the observation nearest to the server.
func (n *Node) Served() *Span { return n.Seen[len(n.Seen)-1] }

// tree makes the tree of a root.
func (l *Linker) tree(root *Span) *Tree {
	t := &Tree{}
	nodes := map[*Span]*Node{}
	t.Root = l.node(t, root, nil, nodes)
	trace := t.Root.ID
	taps := []uint32{t.Root.tap}
	t.All(func(n *Node) bool {
		n.Hop.Trace = trace
		for _, s := range n.Seen {
			if !slices.Contains(taps, s.tap) {
				taps = append(taps, s.tap)
			}
		}
		if e := n.Span.one().earlier; e != nil && n.Role != Call {
			n.Earlier = nodes[e]
		}
		return true
	})
	for _, tap := range taps[1:] {
		o := Offset{}
		if tap < uint32(len(l.tapNames)) {
			o.Observer, o.Tap = l.tapNames[tap].observer, l.tapNames[tap].name
		}
		o.Ahead, o.Bound, o.Samples = l.clock(taps[0], tap)
		t.Offsets = append(t.Offsets, o)
	}
	t.All(func(n *Node) bool {
		n.retries()
		n.self()
		n.Unseen = n.unseen()
		return true
	})
	l.judge(t)
	return t
}

// node makes the node of an exchange, and of all below it.
func (l *Linker) node(t *Tree, s *Span, parent *Node, nodes map[*Span]*Node) *Node {
	n := &Node{Parent: parent, Role: s.role}
	nodes[s] = n
	t.Nodes++
	n.Seen = append(append(n.Seen, s), s.twins...)
	slices.SortStableFunc(n.Seen, func(a, b *Span) int { return cmp.Or(cmp.Compare(b.waited(), a.waited()), earlier(a, b)) })
	n.Span = n.Seen[0]
	n.Hop = exchange.Hop{Method: s.method, Confidence: s.sure}
	n.Blame = n.Verdict
	root := n
	if parent != nil {
		n.Hop.Parent, n.Hop.Depth = parent.ID, parent.Hop.Depth+1
		for root.Parent != nil {
			root = root.Parent
		}
	}
	shift := int64(0)
	if n.tap != root.tap {
		shift, _, _ = l.clock(root.tap, n.tap)
	}
	n.Start, n.End = n.Span.Start-shift, n.Span.End-shift
	n.Async = parent != nil && n.Role == Call && n.Start >= parent.End
	if first, last := n.Seen[0], n.Served(); first != last && first.ResponseStart > 0 && last.ResponseStart > 0 {
		ahead, _, samples := l.clock(first.tap, last.tap)
		if first.tap == last.tap {
			samples = 1
		}
		n.Network = Network{Request: max(last.Start-first.Start-ahead, 0), Known: samples > 0}
		n.Network.Response = max(first.waited()-last.waited()-n.Network.Request, 0)
	}
	children := slices.Clone(s.children)
	slices.SortFunc(children, earlier)
	for _, c := range children {
		n.Children = append(n.Children, l.node(t, c, n, nodes))
	}
	slices.SortStableFunc(n.Children, func(a, b *Node) int { return cmp.Compare(a.Start, b.Start) })
	return n
}

// waited is how long it took from the request to the answer; who is nearer to the client waits longer.
func (s *Span) waited() int64 {
	if s.ResponseStart == 0 {
		return s.End - s.Start
	}
	return s.ResponseStart - s.Start
}

// retries finds children that are others once more, which failed.
func (n *Node) retries() {
	for i, c := range n.Children {
		if c.Role != Call || c.Family != exchange.HTTP && c.Verb != "connect" {
			continue
		}
		for _, e := range slices.Backward(n.Children[:i]) {
			if e.Failed && e.End <= c.Start && e.again(c) {
				c.Role, c.Earlier = Retry, e
				break
			}
		}
	}
}

// again reports whether c may be the same request as e once more: like it, or a connection to the same kind of server that came to nothing.
func (e *Node) again(c *Node) bool {
	if e.Verb == "connect" {
		return e.Server.Port() == c.Server.Port()
	}
	return e.content == c.content
}

// self sets the node's own time: its time at the tap nearest to the server, less what its children took of it. The clocks of two taps are never
// compared where the child was seen at the node's own.
func (n *Node) self() {
	at := n.Served()
	type part struct{ from, to int64 }
	var parts []part
	for _, c := range n.Children {
		from, to := c.Begun-c.Span.Start+c.Start, c.End
		base := n.Start
		if i := slices.IndexFunc(c.Seen, func(s *Span) bool { return s.tap == at.tap }); i >= 0 {
			from, to, base = c.Seen[i].Begun, c.Seen[i].End, at.Start
		}
		from, to = max(from-base, 0), min(to-base, at.End-at.Start)
		if from < to {
			parts = append(parts, part{from, to})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	n.Self = at.End - at.Start
	upTo := int64(0)
	for _, p := range parts {
		if p.from = max(p.from, upTo); p.to > p.from {
			n.Self -= p.to - p.from
			upTo = p.to
		}
	}
}

// Trace links the exchanges that each gives to add, and returns the tree that has the one of that id, nil when none has. Links depend on what else is
// there: the more of the time around it is given, the surer they are.
func Trace(id [exchange.IDSize]byte, each func(add func(x *exchange.Exchange)) error) (found *Tree, err error) {
	l := New(Options{}, func(t *Tree) {
		if found == nil && t.Find(id) != nil {
			found = t
		}
	})
	if err := each(func(x *exchange.Exchange) { l.Add(x) }); err != nil {
		return nil, err
	}
	l.Flush()
	return found, nil
}
