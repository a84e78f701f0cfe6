package hops

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/culprit-http/culprit/internal/exchange"
)

// maxWords is how many values of a request are looked at: in its path, its query and its cookies, or in the text of a statement; maxWord is how long
// a value may be, and maxStatement how much of a statement is looked at, in bytes.
const (
	maxWords     = 8
	maxWord      = 64
	maxStatement = 2048
)

// words are the values that an exchange has: what has a digit in it. A service asks its database about what it was asked about.
type words struct {
	list [maxWords]uint32
	n    int
}

// The places of a request that values come from; a statement has one.
const (
	fromTarget = iota
	fromCookie
	fromBody
	places
)

func (w *words) add(b []byte) {
	if len(b) == 0 || len(b) > maxWord || w.n == maxWords || !bytes.ContainsAny(b, "0123456789") {
		return
	}
	h := uint32(xxhash.Sum64(b))
	for _, have := range w.list[:w.n] {
		if have == h {
			return
		}
	}
	w.list[w.n] = h
	w.n++
}

// split adds the parts of b that have nothing but letters, digits, and - within them.
func (w *words) split(b []byte) {
	from := 0
	for i, c := range b {
		if !isWord[c] {
			w.add(b[from:i])
			from = i + 1
		}
	}
	w.add(b[from:])
}

var isWord = func() (is [256]bool) {
	for c := range is {
		is[c] = '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '-' || c >= 0x80
	}
	return is
}()

// share reports whether two have a value in common.
func (w *words) share(o *words) bool {
	for _, a := range w.list[:w.n] {
		for _, b := range o.list[:o.n] {
			if a == b {
				return true
			}
		}
	}
	return false
}

// values takes the values of an exchange.
func (l *Linker) values(s *Span, x *exchange.Exchange) {
	switch {
	case x.Family == exchange.HTTP && x.HasRequest:
		u := x.URL()
		s.words[fromTarget].split(u.Path)
		s.words[fromTarget].split(u.Query)
		s.words[fromCookie].split(x.Request.Field("cookie"))
		if n := x.Request.BodyBytes; n > 0 {
			l.target = strconv.AppendInt(l.target[:0], n, 10)
			s.words[fromBody].add(l.target)
		}
		s.words[fromBody].split(x.RequestBody.Bytes[:min(len(x.RequestBody.Bytes), maxStatement)])
	case x.Family == exchange.Database && x.HasRequest:
		statement := x.Request.Bytes(x.Request.Target)
		statement = statement[:min(len(statement), maxStatement)]
		for len(statement) > 0 {
			text, rest, _ := bytes.Cut(statement, []byte("/*"))
			s.words[0].split(text)
			comment, after, _ := bytes.Cut(rest, []byte("*/"))
			l.comment(s, comment)
			statement = after
		}
	}
}

// comment reads the pairs of a comment, name='value', as tracers put into statements (https://google.github.io/sqlcommenter/spec/). They mean what
// header fields of these names mean, with _ for -.
func (l *Linker) comment(s *Span, text []byte) {
	for pair := range bytes.SplitSeq(text, []byte(",")) {
		name, value, ok := bytes.Cut(bytes.TrimSpace(pair), []byte("="))
		if !ok || len(name) >= len(byLength) {
			continue
		}
		l.target = append(l.target[:0], name...)
		for i, c := range l.target {
			if c == '_' {
				l.target[i] = '-'
			}
		}
		if h := find(l.target); h != nil && h.read != nil && h.asked {
			h.read(s, bytes.Trim(value, "'\""), false)
		}
	}
}

// telling is what a kind of statement has in common with the requests that it is made for: for each place that values come from, the requests with a
// common value around calls.
type telling struct {
	calls int
	from  [places]excess
	// looked is how many calls of a batch were looked at.
	looked int
	// several: a request was seen to make more than one such call.
	several bool
	gap     gap
}

// place returns the place of requests that has the value, and whether there is one that can be relied upon.
func (t *telling) place() (place int, ok bool) {
	var best int32
	for p := range places {
		if most, _ := t.from[p].excess(); most > best {
			place, best = p, most
		}
	}
	return place, t.calls >= tellingCalls && float64(best) >= tellingShare*float64(t.calls)
}

// lag is about how long after the request such calls come.
func (t *telling) lag() int64 {
	place, _ := t.place()
	_, lag := t.from[place].excess()
	return lag
}

// A kind of statement tells which request it is for, if of so many calls looked at so great a part has a request with a common value beyond chance.
const (
	tellingCalls = 5
	tellingShare = 0.5
	// sureWords is how sure a link by a common value is.
	sureWords = 0.97
)

type tellingKey struct {
	to        *service
	operation string
}

// byWords links statements to the requests with which they have a value in common.
//
// Theory. The key that is read from a cache, the number in a condition: they often are what the request named. That a kind of
// statement has such a value, rather than a number of its own, is learned as callers are (see asking). Where one request alone was under way with the
// value, the statement is for it. Where there are several, the times decide: from what the request did last to the call, and from its end
// to the answer, as the clear cases have them; and a request makes one such call, unless it was seen to make more.
func (l *Linker) byWords(batch []*Span) {
	for _, s := range batch {
		if s.decided || s.Family != exchange.Database || s.words[0].n == 0 || s.asks == nil || len(s.asks.callers) == 0 {
			continue
		}
		k := tellingKey{s.serves, s.operation}
		t := l.tellings[k]
		if t == nil {
			if len(l.tellings) >= maxAskings {
				continue
			}
			t = &telling{gap: firstGap()}
			l.tellings[k] = t
		}
		if t.looked++; t.looked <= sampled {
			l.lookAt(t, s)
		}
	}
	calls := map[*telling][]*Span{}
	var order []*telling
	for _, s := range batch {
		if s.decided || s.Family != exchange.Database || s.words[0].n == 0 || s.asks == nil {
			continue
		}
		t := l.tellings[tellingKey{s.serves, s.operation}]
		if t == nil {
			continue
		}
		if calls[t] == nil {
			order = append(order, t)
		}
		calls[t] = append(calls[t], s)
	}
	// What requests ask first comes first, since what comes next is told by what came before.
	slices.SortStableFunc(order, func(a, b *telling) int { return cmp.Compare(a.lag(), b.lag()) })
	for _, t := range order {
		t.looked = 0
		if place, ok := t.place(); ok {
			l.byValue(t, place, calls[t])
		}
	}
}

// byValue links the calls of a kind of statement by the values of a place.
func (l *Linker) byValue(t *telling, place int, calls []*Span) {
	l.edges = l.edges[:0]
	for _, s := range calls {
		from := len(l.edges)
		for _, v := range s.asks.callers {
			l.sharing(v, s, place, maxContentEdges, func(p *Span) {
				l.edges = append(l.edges, edge{child: s, parent: p, gap: &t.gap, most: sureWords})
			})
		}
		if edges := l.edges[from:]; len(edges) == 1 {
			p := edges[0].parent
			t.several = t.several || passedOn(p, s)
			t.gap.learn(l.since(p, s))
			l.join(s, p, exchange.ByContent, sureWords)
			l.edges = l.edges[:from]
		}
	}
	for i := range l.edges {
		e := &l.edges[i]
		e.alone = !t.several
		e.cost = e.gap.cost(l.since(e.parent, e.child))
	}
	l.assign()
}

// since returns the logarithms of the times from what the parent did last to a call, and from its end to the parent's answer.
func (l *Linker) since(p, s *Span) (g [2]float64, answered bool) {
	shift := l.shift(p.serves, s)
	last := p.Start
	for _, c := range p.one().children {
		if c.tap == s.tap && c.End <= s.Start {
			last = max(last, c.End-shift)
		}
	}
	g[0] = math.Log(float64(max(s.Start-shift-last, 1000)))
	if p.ResponseStart == 0 || p.ResponseStart < s.End-shift {
		return g, false
	}
	g[1] = math.Log(float64(max(p.ResponseStart-(s.End-shift), 1000)))
	return g, true
}

// lookAt looks at a call.
func (l *Linker) lookAt(t *telling, s *Span) {
	if t.calls++; t.calls >= forgetAt {
		t.calls /= 2
		for p := range places {
			t.from[p].halve()
		}
	}
	for p := range places {
		for _, v := range s.asks.callers {
			t.from[p].of = v
			t.from[p].count(s, l.shift(v, s), func(q *Span) bool { return q.words[p].share(&s.words[0]) })
		}
	}
}

// sharing calls f for requests that were under way around a call and have a value at a place in common with it, limit at most, and returns how many.
func (l *Linker) sharing(v *service, s *Span, place, limit int, f func(p *Span)) (n int) {
	shift := l.shift(v, s)
	v.before(s, shift, func(p *Span) bool {
		if p.End >= s.End-shift && p.words[place].share(&s.words[0]) && alike(p, s) && !p.gone {
			f(p)
			n++
		}
		return n < limit
	})
	return n
}
