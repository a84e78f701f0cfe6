package hops

import (
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Role is the part that an exchange plays beside those that its parent made as well.
type Role uint8

// The roles.
const (
	// Call: it was made for its parent.
	Call Role = iota
	// Lookup: it asked for the address that was then connected to.
	Lookup
	// Redirect: it asks for what the answer of Earlier sent its client to.
	Redirect
	// Retry: it is Earlier once more, which failed.
	Retry
)

var roleNames = [...]string{"call", "lookup", "redirect", "retry"}

func (r Role) String() string { return roleNames[r] }

// maxAgain is how soon a request is sent again to be taken for a retry where nothing else tells, in nanoseconds.
const maxAgain = 1_000_000_000

// lookUp finds the lookups before the connections of a batch: first those of the names that are asked for, which leave less to guess.
func (l *Linker) lookUp(batch []*Span) {
	for _, named := range [...]bool{true, false} {
		for _, s := range batch {
			for o := range s.all {
				if (o.Begun < o.Start || o.Verb == "connect") && !o.lookedUp {
					o.lookedUp = l.lookup(o, named)
				}
			}
		}
	}
}

// follow looks for what an exchange follows from, other than a parent: a redirect, or a failure of the same.
func (l *Linker) follow(s *Span) {
	if s.decided || s.Family != exchange.HTTP || s.Verb == "" || s.role != Call {
		return
	}
	if e := l.redirect(s); e != nil {
		l.after(s, e, Redirect)
	} else if e := l.failed(s); e != nil {
		l.after(s, e, Retry)
	}
}

// after has s be decided once what is before it is.
func (l *Linker) after(s, before *Span, r Role) {
	before = before.one()
	s.role, s.earlier = r, before
	switch {
	case s.decided:
	case before.decided:
		l.decideFollower(s, before)
	default:
		before.followers = append(before.followers, s)
	}
}

// lookup finds the lookup of an address before it was connected to, named: of the name that is asked for. It reports whether there is one.
func (l *Linker) lookup(s *Span, named bool) bool {
	var best *Span
	k := lookupKey(s.tap, s.Client.Addr(), s.Server.Addr().Unmap())
	if named {
		k = namedKey(k, s.Host)
	}
	l.index.each(k, MaxSame, func(d *Span) bool {
		if named && !strings.EqualFold(d.Target, s.Host) {
			return true
		}
		if free := d.one(); free.role == Lookup || free.gone || free.decided {
			return true
		}
		if d.End <= s.Begun && d.End >= s.Begun-int64(maxFollow) && (best == nil || earlier(d, best) > 0) {
			best = d
		}
		return true
	})
	if best == nil {
		return false
	}
	best = best.one()
	best.role, best.earlier = Lookup, s.one()
	if s.one().decided {
		l.decideFollower(best, s.one())
	} else {
		s.one().followers = append(s.one().followers, best)
	}
	return true
}

// redirect finds the answer that sent a client here.
func (l *Linker) redirect(s *Span) (best *Span) {
	if s.wanted == 0 {
		return nil
	}
	l.index.each(s.wanted, MaxSame, func(r *Span) bool {
		if r.location == s.wanted && r.one() != s && !r.one().gone && r.ResponseStart <= s.Start && s.Start <= r.End+int64(maxFollow) && (best == nil || earlier(r, best) > 0) {
			best = r
		}
		return true
	})
	return best
}

// failed finds the request that had no answer and was sent again. Where there are several, it isn't known which.
func (l *Linker) failed(s *Span) (found *Span) {
	n := 0
	l.index.each(s.wanted, MaxSame, func(p *Span) bool {
		if p.wanted == s.wanted && p.one() != s && !p.one().gone && p.Failed && (p.Status == 0 || p.Grade == exchange.Aborted) && p.Verb == s.Verb && p.Server == s.Server &&
			p.passed == s.passed && p.End <= s.Start && s.Start-p.End <= maxAgain {
			found = p
			n++
		}
		return true
	})
	if n != 1 {
		return nil
	}
	return found
}

// decideFollower gives a follower its parent, now that the one it follows has its own.
func (l *Linker) decideFollower(f, s *Span) {
	if f.role == Lookup {
		if p := s.parent; p == nil || !l.join(f, p, exchange.ByContent, s.sure) {
			if !l.join(f, s, exchange.ByContent, 0.9) {
				l.leave(f)
			}
		}
		return
	}
	m, sure := exchange.ByProxyHeader, 0.95
	if f.role == Retry {
		m, sure = exchange.ByContent, 0.8
	}
	if p := s.parent; p != nil && p != s.earlier {
		if l.join(f, p, s.method, s.sure*sure) {
			return
		}
	}
	if !l.join(f, s, m, sure) {
		l.leave(f)
	}
}
