package storetest

import "github.com/culprit-http/culprit/internal/exchange"

var (
	upstreams = []string{"", "10.0.0.9:80", "[2001:db8::9]:3306"}
	whys      = []string{"", "the server had the whole request and took its time", "caf\xe9"}
	proofs    = []string{"412 ms of 430 ms between packet 81 and packet 97", "RTT 0.3 ms", "caf\xe9 \x00"}
)

// blame makes a verdict, says whom the time of each phase was due to, and what caused the exchange.
func (g *generator) blame(x *exchange.Exchange) {
	for p := range x.Timing.Causes {
		if g.in(3) {
			x.Timing.Causes[p] = exchange.Causes{Client: g.up(1e9), ClientNetwork: g.up(1e8), ServerNetwork: g.up(1e8), Server: g.up(1e11), Known: true}
		}
	}
	if g.in(2) {
		x.Blame.Who = exchange.Who(1 + g.n(int(exchange.NumWho)-1))
	}
	if b := &x.Blame; b.Who > exchange.Nobody {
		b.Situation = exchange.Situation(1 + g.n(int(exchange.NumSituations)-1))
		b.Time, b.Confidence = g.up(max(x.Timing.Total, 0)), float64(g.n(101))/100
		b.Upstream, b.Why = pick(&g.random, upstreams...), pick(&g.random, whys...)
		for range g.n(exchange.MaxEvidence) {
			b.Facts = append(b.Facts, pick(&g.random, proofs...))
		}
	}
	if h := &x.Hop; g.in(3) {
		h.Method, h.Trace[0] = exchange.HopMethod(1+g.n(int(exchange.NumHopMethods)-1)), byte(g.n(100))
		if h.Method > exchange.Root {
			h.Parent[0], h.Depth, h.Confidence = byte(1+g.n(100)), g.n(5), float64(g.n(101))/100
		}
	}
}
