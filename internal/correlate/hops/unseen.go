package hops

import (
	"strconv"

	"github.com/culprit-http/culprit/internal/exchange"
)

// unseen says why there must be a hop behind the node of which no packet was seen, empty when there is no sign of one.
func (n *Node) unseen() string {
	if n.Family != exchange.HTTP || n.Verb == "" {
		return ""
	}
	passed := 0
	for _, c := range n.Children {
		if c.Family == exchange.HTTP || c.Verb == "connect" {
			passed++
		}
	}
	if passed > 0 {
		return ""
	}
	switch {
	case n.Status == 502 || n.Status == 504:
		return "its " + strconv.Itoa(n.Status) + " is about an upstream of which no packet was seen: a unix socket, or another network"
	case n.behind != "" && n.Protocol != "fastcgi" && n.Protocol != "uwsgi" && n.product != "":
		return n.product + " answered with what " + n.behind + " made, of which no packet was seen: a unix socket, or the same process"
	case n.via > n.below():
		return "its answer names " + strconv.Itoa(n.via) + " proxies, and no packet was seen of what is behind them"
	}
	return ""
}

// below is how many proxies are seen from the node on.
func (n *Node) below() int { return 1 }
