package web

import (
	"time"

	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
)

const (
	// MaxLinkedBefore and MaxLinkedBehind are how many exchanges are looked at for a tree: the last that began before the one that is asked
	// about, or before its root, and the first from then on.
	MaxLinkedBefore, MaxLinkedBehind = 5_000, 10_000
	// MaxHops is how many exchanges of a tree are given.
	MaxHops = 2_000

	// linkMargin is how long before and behind an exchange others of its tree are looked for, until its root is known; then as far as it reaches,
	// and rootMargin further, for lookups before and for what is done when the answer is there.
	linkMargin = 30 * time.Second
	rootMargin = 5 * time.Second
	// longestTree bounds the time of a tree that is looked at.
	longestTree = time.Hour
	// maxWorded is how many verdicts that a tree changed are put into words: each takes a look at the store.
	maxWorded = 50
)

// traceView is the JSON of a tree. Durations are nanoseconds.
type traceView struct {
	// ID is that of the exchange that was asked about, Root that of the one that all began with.
	ID   text `json:"id"`
	Root text `json:"root"`
	// Culprit is the id of the node that is to blame.
	Culprit *text       `json:"culprit"`
	Nodes   []traceNode `json:"nodes"`
	// LeftOut nodes are beyond MaxHops.
	LeftOut int         `json:"left_out"`
	Offsets []tapOffset `json:"offsets"`
	// From and To are the time that was looked at.
	From     stamp `json:"from"`
	To       stamp `json:"to"`
	LookedAt int   `json:"looked_at"`
	// Truncated: there was more in that time than was looked at.
	Truncated bool `json:"truncated"`
	Cost      cost `json:"cost"`
}

// tapOffset is the JSON of a tap's clock against that of the root's tap.
type tapOffset struct {
	Tap     text   `json:"tap"`
	Offset  int64  `json:"offset"`
	Bound   int64  `json:"bound"`
	Samples uint64 `json:"samples"`
}

// traceNode is the JSON of an exchange in a tree.
type traceNode struct {
	ID         text    `json:"id"`
	Parent     *text   `json:"parent"`
	Depth      int     `json:"depth"`
	Method     string  `json:"method"`
	Confidence float64 `json:"confidence"`
	Role       string  `json:"role"`
	Earlier    *text   `json:"earlier"`
	Async      bool    `json:"async"`
	Protocol   string  `json:"protocol"`
	Verb       text    `json:"verb"`
	Target     text    `json:"target"`
	Route      text    `json:"route"`
	Host       text    `json:"host"`
	Status     *int    `json:"status"`
	Failed     bool    `json:"failed"`
	Grade      string  `json:"grade"`
	Client     string  `json:"client"`
	Server     string  `json:"server"`
	Service    text    `json:"service"`
	Process    text    `json:"process"`
	Tap        text    `json:"tap"`
	Start      stamp   `json:"start"`
	// Offset is from the start of the root, on the clock of its tap.
	Offset   int64         `json:"offset"`
	Duration int64         `json:"duration"`
	Self     int64         `json:"self"`
	Seen     []tapSight    `json:"seen"`
	Network  *betweenTaps  `json:"network"`
	Unseen   text          `json:"unseen"`
	Blame    *traceVerdict `json:"blame"`
}

// tapSight is the JSON of an exchange as another tap saw it.
type tapSight struct {
	ID       text  `json:"id"`
	Tap      text  `json:"tap"`
	Duration int64 `json:"duration"`
}

type betweenTaps struct {
	Request  int64 `json:"request"`
	Response int64 `json:"response"`
}

// traceVerdict is the JSON of a verdict, with what the tree tells.
type traceVerdict struct {
	Who        string  `json:"who"`
	Situation  string  `json:"situation"`
	Time       int64   `json:"time"`
	Share      float64 `json:"share"`
	Confidence float64 `json:"confidence"`
	Upstream   text    `json:"upstream"`
	Why        text    `json:"why"`
	Evidence   []text  `json:"evidence"`
}

// roleNames are the roles as the API has them.
var roleNames = [...]string{hops.Call: "call", hops.Lookup: "lookup", hops.Retry: "retry", hops.Redirect: "redirect"}

// linking links what is stored around an exchange.
type linking struct {
	reading
	id       [exchange.IDSize]byte
	tree     *hops.Tree
	from, to int64
	looked   int
}

// oneTrace answers with the tree that an exchange belongs to.
func (s *Server) oneTrace(c *call) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	var start, end int64
	if err := s.options.Store.Exchange(c.Context(), id, func(x *exchange.Exchange) error {
		start, end = x.Start.Time, max(x.Completed.Time, x.Start.Time)
		return nil
	}); err != nil {
		return err
	}
	l := &linking{reading: s.newReading(c.Context(), "hops"), id: id}
	margin := linkMargin.Nanoseconds()
	if err := l.link(start, start-margin, min(end, start+longestTree.Nanoseconds())+margin); err != nil {
		return err
	}
	if l.tree == nil {
		return problems.notFound.of("exchange %s is none that others cause, or that causes others", clip(c.PathValue("id")))
	}
	// The root may last longer than was looked at, and have begun earlier.
	if root := l.tree.Root; root.End > l.to || root.Span.Start-rootMargin.Nanoseconds() < l.from {
		near := rootMargin.Nanoseconds()
		to := max(min(root.End, root.Span.Start+longestTree.Nanoseconds())+near, l.to)
		if err := l.link(root.Span.Start, min(root.Span.Start-near, l.from), to); err != nil {
			return err
		}
	}
	view, err := l.view()
	if err != nil {
		return err
	}
	return c.json(view)
}

// link makes the tree of what began between two times, of which the last before split and the first from there on are looked at.
func (l *linking) link(split, from, to int64) error {
	l.from, l.to, l.looked, l.truncated = max(from, 1), to, 0, false
	w := window{
		scope: store.Scope{From: l.from, To: l.to}, split: split, before: MaxLinkedBefore, behind: MaxLinkedBehind,
	}
	if err := l.begin(&w); err != nil {
		return err
	}
	w.border.room = 0 // a part of a nanosecond isn't worth an order of its own
	// What is read comes by its begin, and all of it before anything is decided.
	var found *hops.Tree
	linker := hops.New(hops.Options{Wait: 2 * longestTree}, func(t *hops.Tree) {
		if found == nil && t.Find(l.id) != nil {
			found = t
		}
	})
	var q store.Search
	behind := 0
	if err := l.each(&w, &q, func(x *exchange.Exchange) error {
		l.looked++
		if x.Start.Time >= split {
			behind++
		}
		linker.Add(x)
		return nil
	}); err != nil {
		return err
	}
	linker.Flush()
	l.truncated = l.truncated || behind >= MaxLinkedBehind
	if found != nil || l.tree == nil {
		l.tree = found
	}
	return nil
}

// view makes the JSON of the tree.
func (l *linking) view() (*traceView, error) {
	t := l.tree
	v := &traceView{
		ID: idText(l.id), Root: idText(t.Root.ID), Nodes: []traceNode{}, Offsets: []tapOffset{}, From: stamp(l.from), To: stamp(l.to),
		LookedAt: l.looked, Truncated: l.truncated,
	}
	if t.Culprit != nil {
		v.Culprit = idOf(t.Culprit)
	}
	for _, o := range t.Offsets {
		if o.Samples > 0 {
			v.Offsets = append(v.Offsets, tapOffset{text(o.Tap), o.Ahead, o.Bound, o.Samples})
		}
	}
	worded := 0
	var err error
	t.All(func(n *hops.Node) bool {
		if len(v.Nodes) == MaxHops {
			v.LeftOut++
			return true
		}
		node := nodeView(t, n)
		if node.Blame, err = l.verdict(n, &worded); err != nil {
			return false
		}
		v.Nodes = append(v.Nodes, node)
		return true
	})
	v.Cost = costOf(l.cost)
	return v, err
}

func idOf(n *hops.Node) *text {
	if n == nil {
		return nil
	}
	id := idText(n.ID)
	return &id
}

func nodeView(t *hops.Tree, n *hops.Node) traceNode {
	const server = 1
	v := traceNode{
		ID: idText(n.ID), Parent: idOf(n.Parent), Depth: n.Depth(), Method: n.Hop.Method.String(), Confidence: rounded(n.Hop.Confidence),
		Role: roleNames[n.Role], Earlier: idOf(n.Earlier), Async: n.Async, Protocol: n.Protocol, Verb: text(n.Verb), Target: text(n.Target),
		Route: text(n.Route), Host: text(n.Host), Failed: n.Failed, Grade: n.Grade.String(), Client: n.Client.String(), Server: n.Server.String(),
		Service: text(n.Service[server]), Process: text(n.Process[server]), Tap: text(n.Tap), Start: stamp(n.Start),
		Offset: n.Start - t.Root.Start, Duration: n.End - n.Start, Self: n.Self, Seen: []tapSight{}, Unseen: text(n.Unseen),
	}
	if n.Status > 0 {
		v.Status = &n.Status
	}
	for _, s := range n.Seen {
		if s != n.Span {
			v.Seen = append(v.Seen, tapSight{idText(s.ID), text(s.Tap), s.End - s.Start})
		}
	}
	if n.Network.Known {
		v.Network = &betweenTaps{n.Network.Request, n.Network.Response}
	}
	return v
}

// verdict is that on a node. What the tree changed of it has no words yet: these need the exchange itself.
func (l *linking) verdict(n *hops.Node, worded *int) (*traceVerdict, error) {
	b := &n.Blame
	if b.Who == exchange.Unjudged {
		return nil, nil
	}
	v := &traceVerdict{
		Who: b.Who.String(), Situation: b.Situation.String(), Time: b.Time, Confidence: rounded(b.Confidence), Upstream: text(b.Upstream), Evidence: []text{},
	}
	why, facts := b.Why, b.Facts
	if b.Who > exchange.Nobody && why == "" && *worded < maxWorded {
		*worded++
		err := l.s.options.Store.Exchange(l.ctx, n.ID, func(x *exchange.Exchange) error {
			judged := *x
			judged.Blame = *b
			why, facts = judged.Why(), judged.Proofs()
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	v.Why = text(why)
	for _, f := range facts {
		v.Evidence = append(v.Evidence, text(f))
	}
	if whole := n.End - n.Start; whole > 0 && b.Time > 0 {
		v.Share = rounded(min(float64(b.Time)/float64(whole), 1))
	}
	return v, nil
}
