package hops

import (
	"github.com/culprit-http/culprit/internal/blame"
	"github.com/culprit-http/culprit/internal/exchange"
)

// judge has the verdicts of a tree made, and marks the culprit.
func (l *Linker) judge(t *Tree) {
	made := map[*Node]*blame.Node{}
	root := verdictNode(t.Root, made)
	t.All(func(n *Node) bool {
		b := made[n]
		for e := n; e != nil && e.Earlier != nil && n.Role != Lookup; e = e.Earlier {
			before := made[e.Earlier]
			if e.Role == Retry {
				b.Earlier = append([]*blame.Node{before}, b.Earlier...)
			} else {
				b.Redirects = append([]*blame.Node{before}, b.Redirects...)
			}
		}
		if n.Role == Lookup && n.Earlier != nil {
			made[n.Earlier].Lookup = b
		}
		return true
	})
	culprit := blame.JudgeTree(root)
	t.All(func(n *Node) bool {
		b := made[n]
		n.Blame = b.Blame
		if b == culprit {
			t.Culprit = n
		}
		return true
	})
}

// verdictNode makes what verdicts need to know of a node, and of all below it. What a redirect or a failed attempt led to, or a lookup was for, isn't
// among what it caused, though it stands below it.
func verdictNode(n *Node, made map[*Node]*blame.Node) *blame.Node {
	b := &blame.Node{
		Begun: n.Begun - n.Span.Start + n.Start, Start: n.Start, SendEnd: n.SendEnd - n.Span.Start + n.Start, End: n.End, Status: n.Status, Failed: n.Failed,
		Family: n.Family, Grade: n.Grade, Address: n.Server.String(), SendPacket: n.FirstPacket, Link: n.Hop.Confidence, Blame: n.Verdict, Ref: n,
		Forwards: n.Parent != nil && n.Family == exchange.HTTP && n.Parent.content == n.content,
	}
	if n.ResponseStart > 0 {
		b.ResponseStart = n.ResponseStart - n.Span.Start + n.Start
	}
	if n.Hop.Method == exchange.Root {
		b.Link = 1
	}
	made[n] = b
	for _, c := range n.Children {
		child := verdictNode(c, made)
		if c.Earlier != n {
			b.Children = append(b.Children, child)
		}
	}
	return b
}
