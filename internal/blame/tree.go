package blame

import (
	"cmp"
	"slices"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Node is an exchange in the tree of those that one request caused, as far as verdicts need to know it. Times are nanoseconds since
// 1970, on one clock.
type Node struct {
	// Begun is when it began: with its SYN where it is the first of its connection and waited for that, else with Start. Start is the first
	// byte of the request, SendEnd its last, ResponseStart the first of the answer, 0 where there was none, End what completed it.
	Begun, Start, SendEnd, ResponseStart, End int64
	// Status is that of the answer, 0 where there is none; Failed: it says that the request failed.
	Status int
	Failed bool
	Family exchange.Family
	Grade  exchange.Grade
	// Address is who serves it, such as 10.0.0.4:8000.
	Address string
	// SendPacket is the packet of the request's last byte.
	SendPacket uint64
	// Forwards: it passes its parent's request on, so that what serves the parent is a proxy.
	Forwards bool
	// Link is how sure it is that the parent caused it, from 0 to 1.
	Link float64
	// Lookup is the question to a resolver that it waited for before it connected, nil where none was seen. Earlier are the attempts of the
	// same request before it that failed, and Redirects the redirects that led to it, the oldest first.
	Lookup             *Node
	Earlier, Redirects []*Node
	Children           []*Node
	// Blame is the verdict: before, on the exchange alone; afterwards, with what its children tell.
	Blame exchange.Blame
	// Ref is the caller's.
	Ref any
}

// MaxDepth is how deep JudgeTree goes: what lies deeper is judged as if it had no children.
const MaxDepth = 64

// JudgeTree judges the exchanges of a tree again, each with what those that it caused tell, the deepest first. It returns the node
// whose own doing it was that the root was slow, or failed: the root itself, or the one to which the blame of upstreams leads; nil where nobody
// is to blame. It changes the verdicts of the nodes and nothing else.
func JudgeTree(root *Node) *Node {
	judgeTree(root, 0)
	return culprit(root)
}

func judgeTree(n *Node, depth int) {
	if depth < MaxDepth {
		for _, child := range n.Children {
			judgeTree(child, depth+1)
		}
		for _, t := range trees {
			if v, ok := t.judge(n); ok {
				v.Situation = cmp.Or(v.Situation, t.situation)
				v.Who = cmp.Or(v.Who, t.who)
				if v.Confidence < MinConfidence {
					continue // what the exchange alone shows is the surer
				}
				n.Blame = v
				break
			}
		}
	}
}

// treeRule is a rule about an exchange and those that it caused. The first that gives a verdict counts.
type treeRule struct {
	situation exchange.Situation
	who       exchange.Who
	when      string
	judge     func(n *Node) (exchange.Blame, bool)
}

// trees are the rules about an exchange with others.
var trees = []treeRule{
	{exchange.ServerTimeout, exchange.ByUpstream,
		"status 504, and one that it asked stayed silent: that is named", silentHop},
	{exchange.FailedHop, exchange.ByUpstream,
		"it failed by the server's fault, and so did one that it asked; the deepest is named", failedHop},
	{exchange.Retried, exchange.ByUpstream,
		"attempts before it failed, and took the larger part of the time", retried},
	{exchange.Redirected, exchange.ByServer,
		"redirects led to it, and took the larger part of the time", redirected},
	{exchange.SlowDNS, exchange.ByDNS,
		"it waited for a resolver before it connected, for longer than for anything else", slowLookup},
	{exchange.PoolWait, exchange.ByProxy,
		"it had the whole request, and began to pass it on late: a queue, or no free connection to the upstream", poolWait},
	{exchange.SlowUpstream, exchange.ByUpstream,
		"the larger part of what the server took was spent waiting for one that it asked", slowUpstream},
}

// serversFault reports whether a verdict puts a failure on the server's side.
func serversFault(b *exchange.Blame) bool {
	return b.Failed && (b.Who == exchange.ByServer || b.Who == exchange.ByUpstream || b.Who == exchange.ByServerNetwork || b.Who == exchange.ByDNS || b.Who == exchange.ByProxy ||
		b.Who == exchange.ByProtocol || b.Who == exchange.Unclear)
}

// silentHop: a 504 names who stayed silent.
func silentHop(n *Node) (exchange.Blame, bool) {
	if n.Blame.Situation != exchange.ServerTimeout || n.Blame.Who != exchange.ByUpstream {
		return exchange.Blame{}, false
	}
	var silent *Node
	for _, child := range n.Children {
		if child.ResponseStart == 0 && (silent == nil || child.End-child.Start > silent.End-silent.Start) || child.Blame.Situation == exchange.ServerTimeout {
			silent = child
		}
	}
	if silent == nil {
		return exchange.Blame{}, false
	}
	b := n.Blame
	b.Upstream = silent.Address
	if silent.Blame.Upstream != "" {
		b.Upstream = silent.Blame.Upstream
	}
	b.Confidence = 0.95 * silent.sure()
	putFirst(&b, exchange.Evidence{Sentence: exchange.SaysSilentHop, Time: max(silent.End-silent.SendEnd, 0)})
	return b, true
}

// failedHop: a failure names the deepest hop that failed.
func failedHop(n *Node) (exchange.Blame, bool) {
	if !serversFault(&n.Blame) || n.Blame.Situation == exchange.ServerTimeout {
		return exchange.Blame{}, false
	}
	var failed *Node
	for _, child := range n.Children {
		// What failed last is what it couldn't do without: attempts before it may have been made good.
		if (serversFault(&child.Blame) || child.Failed && child.Family == exchange.Database) && (failed == nil || child.End > failed.End) && !madeGood(n, child) {
			failed = child
		}
	}
	if failed == nil {
		return exchange.Blame{}, false
	}
	b := n.Blame
	b.Who, b.Situation = exchange.ByUpstream, exchange.FailedHop
	b.Upstream = failed.Address
	situation := failed.Blame.Situation
	if failed.Blame.Upstream != "" {
		b.Upstream = failed.Blame.Upstream
	}
	if situation == exchange.FailedHop && failed.Blame.N > 0 && failed.Blame.Evidence[0].Sentence == exchange.SaysFailedHop {
		situation = exchange.Situation(failed.Blame.Evidence[0].Number)
	}
	b.Confidence = 0.9 * failed.sure()
	if n.Status == 502 || n.Status == 503 {
		b.Confidence = 0.95 * failed.sure()
	}
	putFirst(&b, exchange.Evidence{Sentence: exchange.SaysFailedHop, Number: int64(situation)})
	return b, true
}

// madeGood reports whether a later child of the same server, or one that passes the same request on, didn't fail.
func madeGood(n, failed *Node) bool {
	for _, other := range n.Children {
		if other != failed && other.Start >= failed.End && !other.Failed && !other.Blame.Failed && other.Forwards && failed.Forwards {
			return true
		}
	}
	return false
}

// busy returns what an exchange took.
func (n *Node) busy() int64 { return max(n.End-n.Begun, 0) }

// sure returns how sure the link to the parent is.
func (n *Node) sure() float64 {
	if n.Link <= 0 || n.Link > 1 {
		return 1
	}
	return n.Link
}

// retried: attempts before it took the time.
func retried(n *Node) (exchange.Blame, bool) {
	if len(n.Earlier) > 0 {
		first := n.Earlier[0]
		last := n.Earlier[len(n.Earlier)-1]
		return blameRetry(n, n.Start-first.Begun, len(n.Earlier)+1, last, first.sure(), false)
	}
	// A proxy tried another one, or the same again.
	for _, child := range n.Children {
		if len(child.Earlier) > 0 && child.Forwards {
			return blameRetry(n, child.Start-child.Earlier[0].Begun, len(child.Earlier)+1, child.Earlier[len(child.Earlier)-1], child.sure(), true)
		}
	}
	return exchange.Blame{}, false
}

func blameRetry(n *Node, lost int64, times int, failed *Node, sure float64, within bool) (exchange.Blame, bool) {
	if !n.mattersMore(lost, StallFloor, within) {
		return exchange.Blame{}, false
	}
	b := exchange.Blame{Time: lost, Confidence: 0.9 * sure, Upstream: failed.Address}
	say(&b, exchange.Evidence{Sentence: exchange.SaysRetried, Time: lost, Number: int64(times)})
	return b, true
}

// mattersMore reports whether a time is worth a verdict, and more than what the verdict on the exchange alone is about. Within: it is a part of what
// the server took, so that it is compared with the rest of that.
func (n *Node) mattersMore(took, floor int64, within bool) bool {
	if n.Blame.Failed || took < floor || took < n.busy()/leastShare {
		return false
	}
	if within && n.waits() {
		return took > n.Blame.Time/2
	}
	return took > n.Blame.Time
}

// redirected: the redirects before it took the time.
func redirected(n *Node) (exchange.Blame, bool) {
	if len(n.Redirects) == 0 {
		return exchange.Blame{}, false
	}
	lost := n.Start - n.Redirects[0].Begun
	if !n.mattersMore(lost, WorkFloor, false) {
		return exchange.Blame{}, false
	}
	b := exchange.Blame{Time: lost, Confidence: 0.85 * n.Redirects[0].sure()}
	say(&b, exchange.Evidence{Sentence: exchange.SaysRedirected, Time: lost, Number: int64(len(n.Redirects))})
	return b, true
}

// slowLookup: the resolver took the time before the connection.
func slowLookup(n *Node) (exchange.Blame, bool) {
	at, who := n.Lookup, n
	if at == nil {
		for _, child := range n.Children {
			if child.Lookup != nil && (at == nil || child.Lookup.busy() > at.busy()) {
				at, who = child.Lookup, child
			}
		}
	}
	if at == nil || !n.mattersMore(at.busy(), WorkFloor, who != n) {
		return exchange.Blame{}, false
	}
	b := exchange.Blame{Time: at.busy(), Confidence: 0.9 * at.sure() * who.sure(), Upstream: at.Address}
	say(&b, exchange.Evidence{Sentence: exchange.SaysLookup, Time: at.busy()})
	return b, true
}

// waits reports whether the verdict on the exchange alone is that its server took its time: others may have been the reason.
func (n *Node) waits() bool {
	return !n.Blame.Failed && n.Blame.Who == exchange.ByServer && n.Blame.Situation == exchange.SlowApplication
}

// poolWait: a proxy began to pass the request on late.
func poolWait(n *Node) (exchange.Blame, bool) {
	if !n.waits() {
		return exchange.Blame{}, false
	}
	first := n.first()
	if first == nil || !first.Forwards {
		return exchange.Blame{}, false
	}
	// What it took to look up and to connect isn't the pool's.
	began := first.Begun
	if first.Lookup != nil {
		began = min(began, first.Lookup.Begun)
	}
	if len(first.Earlier) > 0 {
		began = min(began, first.Earlier[0].Begun)
	}
	waited := began - n.SendEnd
	if waited < WorkFloor || waited < n.Blame.Time/2 {
		return exchange.Blame{}, false
	}
	b := exchange.Blame{Time: waited, Confidence: 0.9 * first.sure(), Upstream: first.Address}
	say(&b, exchange.Evidence{Sentence: exchange.SaysPool, Time: waited, First: n.SendPacket})
	return b, true
}

// first returns the child that began first, nil when there is none.
func (n *Node) first() *Node {
	var first *Node
	for _, child := range n.Children {
		if first == nil || child.Begun < first.Begun {
			first = child
		}
	}
	return first
}

// slowUpstream: the server waited for one that it asked.
func slowUpstream(n *Node) (exchange.Blame, bool) {
	if !n.waits() || len(n.Children) == 0 {
		return exchange.Blame{}, false
	}
	from, to := n.SendEnd, n.End
	all := covered(n.Children, "", from, to)
	var most string
	var took int64
	calls, sure := 0, 1.0
	for _, child := range n.Children {
		if child.Address == most && calls > 0 {
			continue
		}
		if t := covered(n.Children, child.Address, from, to); t > took {
			most, took = child.Address, t
		}
		calls = 1
	}
	own := n.Blame.Time - all
	if took < WorkFloor || took <= own {
		return exchange.Blame{}, false
	}
	calls = 0
	deepest := ""
	var longest int64
	for _, child := range n.Children {
		if child.Address != most || child.Begun >= to || child.End <= from {
			continue
		}
		calls++
		sure = min(sure, child.sure())
		if t := child.busy(); t > longest {
			longest, deepest = t, ""
			if child.Blame.Who == exchange.ByUpstream && child.Blame.Situation == exchange.SlowUpstream {
				deepest = child.Blame.Upstream
			}
		}
	}
	b := exchange.Blame{Time: min(took, n.Blame.Time), Confidence: 0.95 * sure, Upstream: cmp.Or(deepest, most)}
	say(&b, exchange.Evidence{Sentence: exchange.SaysUpstream, Time: took, Number: int64(calls)})
	if own > 0 {
		say(&b, exchange.Evidence{Sentence: exchange.SaysOwn, Time: own})
	}
	for i := range n.Blame.N {
		say(&b, n.Blame.Evidence[i])
	}
	return b, true
}

// covered returns how much of a time the children that ask an address were under way, of all when it is empty.
func covered(children []*Node, address string, from, to int64) int64 {
	type span struct{ from, to int64 }
	spans := make([]span, 0, len(children))
	for _, c := range children {
		if s := (span{max(c.Begun, from), min(c.End, to)}); s.from < s.to && (address == "" || c.Address == address) {
			spans = append(spans, s)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	sum, end := int64(0), from
	for _, s := range spans {
		if s.to > end {
			sum += s.to - max(s.from, end)
			end = s.to
		}
	}
	return sum
}

// putFirst makes a fact the first of a verdict.
func putFirst(b *exchange.Blame, e exchange.Evidence) {
	n := min(int(b.N), len(b.Evidence)-1)
	copy(b.Evidence[1:], b.Evidence[:n])
	b.Evidence[0] = e
	b.N = uint8(n + 1)
}

// culprit returns the node to which the blame leads: from a node that blames an upstream, to the child that is meant; nil where nobody is
// blamed, or it isn't clear who.
func culprit(n *Node) *Node {
	if n.Blame.Who <= exchange.Nobody || n.Blame.Who == exchange.Unclear {
		return nil
	}
	for range MaxDepth {
		if n.Blame.Who != exchange.ByUpstream {
			return n
		}
		var next *Node
		for _, child := range n.Children {
			if child.Address != n.Blame.Upstream && child.Blame.Upstream != n.Blame.Upstream {
				continue
			}
			if next == nil || score(child) > score(next) {
				next = child
			}
		}
		if next == nil || next.Blame.Who <= exchange.Nobody {
			if next != nil {
				return next
			}
			return n
		}
		n = next
	}
	return n
}

// score says how likely a child is the one that is meant.
func score(n *Node) int64 {
	s := n.busy()
	if n.Blame.Failed || n.Failed {
		s += 1 << 60
	}
	return s
}
