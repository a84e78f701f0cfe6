package hops

import (
	"github.com/culprit-http/culprit/internal/exchange"
)

// maxTranslated is how far two observations of one exchange may be apart in time at a tap that sees both sides of what translates addresses.
const maxTranslated = 50_000_000

// observed joins an exchange to its observation at another tap: the same connection, and the same place in it. It reports whether there is one.
func (l *Linker) observed(s *Span) bool {
	if len(l.tapNames) < 2 {
		return false
	}
	if !l.several { // what came before there was a second tap
		l.several = true
		for _, list := range [...][]*Span{l.pending, l.waiting} {
			for _, t := range list {
				l.file(t, observation(t))
			}
		}
	}
	k := observation(s)
	var best *Span
	var nearest int64
	exact := false
	whole := l.index.each(k, MaxSame, func(t *Span) bool {
		if t.one().has(s.tap) || t.Client != s.Client || t.Server != s.Server || t.Status != s.Status && t.Status*s.Status != 0 {
			return true
		}
		skew, bound := l.skew(t, s)
		apart := s.Start - skew - t.Start
		if apart = max(apart, -apart); apart > bound+int64(maxFollow) {
			return true
		}
		same := !s.midstream && !t.midstream
		switch {
		case same && s.index != t.index:
		case best == nil, same && !exact, same == exact && apart <= nearest:
			best, nearest, exact = t, apart, same
		}
		return true
	})
	if !whole {
		l.Counts.Same++
	}
	l.file(s, k)
	if best == nil {
		return false
	}
	l.twin(best, s)
	return true
}

// observation is the key of what an exchange is seen by again.
func observation(s *Span) key { return mix(observations, s.flow^s.stream<<32^s.content) }

// has reports whether there is an observation at a tap.
func (s *Span) has(tap uint32) bool {
	for o := range s.all {
		if o.tap == tap {
			return true
		}
	}
	return false
}

// twin makes s an observation of what t is one of.
func (l *Linker) twin(t, s *Span) {
	t = t.one()
	t.twins = append(t.twins, s)
	s.first = t
	for p := t; p != nil && p.last < s.End; p = p.parent {
		p.last = s.End
	}
	for o := range t.all {
		if o != s {
			l.compare(o, s)
		}
	}
}

// translated joins observations of exchanges whose addresses were translated between the taps, or between two interfaces of one. Every byte of
// the heads is the same then; a proxy may leave them so, too, but it answers the handshake itself. So one end must be as it was, but
// for the address or the port of a client; or the handshakes must be one: the SYN was at the second tap before its answer was at
// the first. Without an end that is as it was, the heads must be the only ones like that.
func (l *Linker) translated(batch []*Span) {
	for _, s := range batch {
		if s.Family != exchange.HTTP || s.first != nil || s.Verb == "" || l.heads[s.head] < 2 {
			continue
		}
		var twin *Span
		rivals := 0
		l.index.each(mix(contents, s.content), MaxSame, func(t *Span) bool {
			if len(l.tapNames) == 1 && t.End+maxTranslated < s.Start { // the latest come first
				return false
			}
			if t.head != s.head || t.one() == s || t.flow == s.flow || t.gone || t.one().gone || t.one().decided || t.first != nil {
				return true
			}
			if t.Server.Addr() == s.Client.Addr() || s.Server.Addr() == t.Client.Addr() { // one hop further
				return true
			}
			skew, bound := l.skew(t, s)
			within := apart(t, s, skew) <= bound+maxTranslated
			if s.index != t.index && !s.midstream && !t.midstream {
				return true
			}
			kept := t.Client == s.Client || t.Server == s.Server && t.Client.Port() == s.Client.Port()
			if !kept && !l.oneHandshake(t, s, skew) {
				return true
			}
			if t.tap == s.tap {
				if !kept || apart(t, s, 0) > maxTranslated || (t.Start <= s.Start) != (t.End >= s.End) {
					return true
				}
			} else if !within || t.has(s.tap) || s.has(t.tap) {
				return true
			}
			if kept {
				twin, rivals = t, 0
				return false
			}
			twin = t
			rivals++
			return true
		})
		if twin != nil && rivals <= 1 {
			l.twin(twin, s)
			for _, t := range s.twins {
				l.twin(twin, t)
			}
			s.twins = nil
			l.Counts.Merged++
		}
	}
}

// oneHandshake reports whether the handshakes of two connections are one: each SYN was seen before either was answered.
func (l *Linker) oneHandshake(t, s *Span, skew int64) bool {
	return t.syn > 0 && s.syn > 0 && t.synAck > 0 && s.synAck > 0 && s.syn-skew < t.synAck && t.syn < s.synAck-skew
}

// apart is how long the starts of two observations are apart, when the clock of the second is ahead by skew.
func apart(t, s *Span, skew int64) int64 {
	d := s.Start - skew - t.Start
	return max(d, -d)
}
