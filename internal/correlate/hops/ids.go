package hops

import (
	"github.com/culprit-http/culprit/internal/exchange"
)

// claim is an exchange that may be the parent of an observation of another, with what speaks for it.
type claim struct {
	parent, child *Span
	// exact: an id names this very exchange. open: it was under way when the child began. caller: its service is known to make such requests; here: it
	// was served where the child came from; same: method and target are the same; within: the child was over before it.
	exact, open, caller, here, same, within bool
}

// weight orders claims: what is said first counts most.
func (c *claim) weight() (n int) {
	for _, b := range [...]bool{c.exact, c.open, c.caller, c.here, c.same, c.within} {
		n *= 2
		if b {
			n++
		}
	}
	return n
}

// better reports whether a claim is better than another: of equal ones the one that began last, since of a chain of hops with one id all are under
// way, and the last is the nearest.
func (c *claim) better(o *claim) bool {
	if a, b := c.weight(), o.weight(); a != b {
		return a > b
	}
	return earlier(c.parent, o.parent) > 0
}

// byID links an exchange to the one that carries its ids. Each observation of it is tried: at one of the taps the parent may have been seen.
func (l *Linker) byID(s *Span) bool {
	if s.decided {
		return true
	}
	l.claims = l.claims[:0]
	for o := range s.all {
		for i := range o.ids[:o.nIDs] {
			d := &o.ids[i]
			l.claimAll(o, d.key, d.class, func(p *Span) bool { return d.class != varnishIDs || !answers(p, d.number) })
			if d.class == varnishIDs && !d.answered { // the backend's transaction comes after the client's
				l.claimAll(o, varnishKey(d.number-1), d.class, func(p *Span) bool { return answers(p, d.number-1) })
			}
		}
	}
	best, rivals := l.bestClaim()
	if best == nil {
		return false
	}
	sure := 1.0
	switch {
	case best.exact:
	case rivals > 0: // which were under way too: the last is the likeliest
		sure = 0.9
	case !best.here:
		sure = 0.95
	}
	if !l.join(s, best.parent, exchange.ByID, sure) {
		return false
	}
	l.learn(best.child, best.parent)
	return true
}

// claimAll adds the claims of those that have an id in common with o.
func (l *Linker) claimAll(o *Span, k key, of class, may func(p *Span) bool) {
	if !l.index.each(k, MaxSame, func(p *Span) bool {
		if c, ok := l.claim(p, o, of); ok && may(p) {
			c.exact = of == parentIDs || of == varnishIDs
			l.claims = append(l.claims, c)
		}
		return true
	}) {
		l.Counts.Same++
	}
}

// byHeader links an exchange to that of the client that its proxy names.
func (l *Linker) byHeader(s *Span) bool {
	if s.decided {
		return true
	}
	l.claims = l.claims[:0]
	for o := range s.all {
		if o.from == 0 {
			continue
		}
		if !l.index.each(o.from, MaxSame, func(p *Span) bool {
			if c, ok := l.claim(p, o, clientEnds); ok && (p.tap != o.tap || c.open) { // the connection has others, before and after it
				l.claims = append(l.claims, c)
			}
			return true
		}) {
			l.Counts.Same++
		}
	}
	best, rivals := l.bestClaim()
	if best == nil || rivals > 0 && !best.same { // streams of one connection: what comes next knows more
		return false
	}
	sure := 0.99
	if rivals > 0 {
		sure = 0.7
	}
	if !l.join(s, best.parent, exchange.ByProxyHeader, sure) {
		return false
	}
	l.learn(best.child, best.parent)
	return true
}

// bestClaim returns the best of the claims, and how many others are as good: those under way around it aren't, since a chain has that.
func (l *Linker) bestClaim() (best *claim, rivals int) {
	for i := range l.claims {
		if c := &l.claims[i]; best == nil || c.better(best) {
			best = c
		}
	}
	for i := range l.claims {
		c := &l.claims[i]
		if c.parent.one() == best.parent.one() || c.weight() < best.weight() || c.parent.tap != best.parent.tap {
			continue
		}
		if c.parent.Start > best.parent.Start || c.parent.End < best.parent.End {
			rivals++
		}
	}
	return best, rivals
}

// claim says what speaks for p as the parent of o, which have something of a class in common; ok: it can be.
func (l *Linker) claim(p, o *Span, c class) (k claim, ok bool) {
	if p.one() == o.one() || p.gone || p.one().gone || !p.causes() || !alike(p, o) {
		return k, false
	}
	skew, bound := l.skew(p, o)
	start, end := o.Start-skew, o.End-skew
	switch {
	case p.Start > start+bound, start > p.End+bound+int64(maxAsync):
		return k, false
	case bound == l.wait && !l.sameHost(p, o) && p.Start > start: // clocks that aren't known are likely set alike
		return k, false
	case bound == l.wait && o.ResponseStart > 0 && p.waited() < o.waited(): // who is nearer to the client waits longer
		return k, false
	case p.flow == o.flow: // the client's next request, or another stream; or it is the same exchange, and couldn't be told to be
		return k, false
	}
	if bound == l.wait { // what is likelier, then, if the clocks are set alike
		bound = 0
	}
	k = claim{parent: p, child: o, open: p.Start <= start+bound && start <= p.End+bound, here: l.sameHost(p, o), same: p.content == o.content, within: end <= p.End+bound}
	if yes, known := may(p, o); known {
		k.caller = yes
	}
	// A trace is of many calls: those at other places have no part in this one, nor have others of the same client.
	if c == traceIDs && !k.here && (p.tap == o.tap || p.Client.Addr() == o.Client.Addr()) {
		return k, false
	}
	return k, true
}

// answers reports whether the answer of an exchange names a transaction of Varnish as its own.
func answers(p *Span, number uint64) bool {
	for i := range p.ids[:p.nIDs] {
		if d := &p.ids[i]; d.class == varnishIDs && d.answered && d.number == number {
			return true
		}
	}
	return false
}
