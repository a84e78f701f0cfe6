package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// hopTree is a tree as a night has it: a proxy, a cache that was seen at two taps, an application, and what it asks.
func hopTree() *hops.Tree {
	const ms = 1_000_000
	begin := time.Date(2026, 1, 15, 10, 42, 7, 118_000_000, time.UTC).UnixNano()
	number := byte(0)
	node := func(parent *hops.Node, m exchange.HopMethod, sure float64, from, took, self int64, change func(s *hops.Span)) *hops.Node {
		number++
		s := &hops.Span{
			ID: [exchange.IDSize]byte{15: number}, Protocol: "http", Verb: "GET", Target: "/api/cart?a=" + strings.Repeat("b", 40), Host: "shop.example", Status: 200,
			Client: netip.MustParseAddrPort("10.0.0.7:51022"), Server: netip.MustParseAddrPort("10.0.0.2:80"),
		}
		s.Start, s.Begun, s.End = begin+from*ms, begin+from*ms, begin+(from+took)*ms
		change(s)
		n := &hops.Node{Span: s, Parent: parent, Start: s.Start, End: s.End, Self: self * ms, Seen: []*hops.Span{s}, Hop: exchange.Hop{Method: m, Confidence: sure}}
		n.Blame.Who = exchange.Nobody
		if parent != nil {
			n.Hop.Parent, n.Hop.Depth = parent.ID, parent.Hop.Depth+1
			parent.Children = append(parent.Children, n)
		}
		return n
	}
	root := node(nil, exchange.Root, 1, 0, 431, 1, func(s *hops.Span) { s.Process[1], s.Service[0] = "haproxy", "front\x1b[2J" })
	cache := node(root, exchange.ByID, 1, 1, 430, 2, func(s *hops.Span) {
		s.Server, s.Tap, s.Process[1] = netip.MustParseAddrPort("10.0.0.3:6081"), "proxy", "varnishd"
	})
	second := *cache.Span
	second.Tap = "cache"
	cache.Seen = append(cache.Seen, &second)
	cache.Network = hops.Network{Request: 300_000, Response: 410_000, Known: true}
	app := node(cache, exchange.ByProxyHeader, 0.99, 2, 428, 12, func(s *hops.Span) {
		s.Server, s.Service[1], s.Status = netip.MustParseAddrPort("10.0.0.4:8000"), "shop", 500
	})
	node(app, exchange.ByContent, 0.9, 3, 1, 1, func(s *hops.Span) {
		s.Protocol, s.Family, s.Verb, s.Target, s.Server, s.Status = "dns", exchange.Names, "A", "db.example", netip.MustParseAddrPort("10.0.0.53:53"), 0
	}).Role = hops.Lookup
	query := node(app, exchange.ByTiming, 0.42, 5, 407, 407, func(s *hops.Span) {
		s.Protocol, s.Family, s.Verb, s.Status = "mysql", exchange.Database, "SELECT", 0
		s.Target, s.Server = "SELECT *\n\tFROM orders WHERE name = \"\x1b]0;a\\b\" AND "+strings.Repeat("x = ? AND ", 20), netip.MustParseAddrPort("[2001:db8::5]:3306")
	})
	late := node(app, exchange.ByID, 0.9, 500, 3, 3, func(s *hops.Span) { s.Target, s.Status, s.Failed = "/log", 0, true })
	late.Async = true
	last := node(app, exchange.ByContent, 0.94, 510, 3, 3, func(s *hops.Span) { s.Target, s.Status = "/log", 502 })
	last.Role, last.Unseen = hops.Retry, "its 502 is about an upstream of which no packet was seen"
	root.Blame = exchange.Blame{Who: exchange.ByUpstream, Situation: exchange.SlowUpstream, Time: 407 * ms, Confidence: 0.9}
	return &hops.Tree{Root: root, Nodes: 7, Culprit: query}
}

func showTree(width int) string {
	var b bytes.Buffer
	o := newTreeLayout(bufio.NewWriter(&b), target{w: &b, terminal: terminal.Terminal{Width: width}, location: time.UTC})
	tree := hopTree()
	_ = o.tree(tree, exchange.IDText(tree.Culprit.ID))
	_ = o.end([]hops.Clock{{Tap: [2]string{"proxy", "cache"}, Ahead: -3_210_000, Bound: 120_000, Samples: 812}})
	return b.String()
}

func TestTreeLayout(t *testing.T) {
	for _, width := range []int{0, 80, 100, 140} {
		goldenFile(t, fmt.Sprintf("hops-%d.golden", width), showTree(width))
	}
	for width := 60; width <= 200; width++ {
		for line := range strings.Lines(showTree(width)) {
			if n := terminal.Width([]byte(strings.TrimSuffix(line, "\n"))); n > width {
				t.Errorf("%d columns of %d: %q", n, width, line)
			}
		}
	}
	for width := range 60 {
		showTree(width)
	}
	if s := showTree(0) + showTree(100); strings.ContainsAny(s, "\x1b\t") {
		t.Errorf("it steers a terminal: %q", s)
	}
}
