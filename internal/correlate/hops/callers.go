package hops

import (
	"cmp"
	"math/bits"
	"slices"
)

// service is what answers at an address and port.
type service struct {
	serviceKey
	number uint32
	// spans are what it was asked, in the order of their start once sorted.
	spans  []*Span
	sorted bool
	// longest is the longest time that any took.
	longest int64
	// group is the service that stands for several that can't be told apart as callers; nil: this one.
	group *service
}

// home is what is known of an address as the origin of requests: the services there, and those at other addresses of the same machine, or behind
// it, that were seen to make requests from it.
type home struct {
	services []*service
	learned  []learnedService
}

type learnedService struct {
	*service
	links int
}

// The limits of what is learned of an address.
const (
	// maxLearned is how many services with another address are known to ask from an address.
	maxLearned = 8
	// sureLinks is how many links must agree before they count.
	sureLinks = 3
)

// asking is what comes from one address for one service. Who of those at the address makes these requests is learned.
//
// Theory. A request that a service makes begins while it answers another, at a delay that is its own. So, of the pairs of a request to the service
// u and a later call, those that belong together come on top of those that chance brings together. Chance knows no direction: it brings as
// many calls shortly before a request to u as shortly after one. The excess of "after" over "before", for a call, is about 1 for who makes it and
// for all from which that one has its own request, 0 for strangers, and below 0 for those further on. A pair counts only where the request
// was under way as long as the call, and in the mirror only where it would have been. Of those with an excess the one is chosen whose
// requests are the last before the call: the nearest.
type asking struct {
	from    homeKey
	to      *service
	callers []*service
	// known: callers are known, though they may be none; calls is of how many calls they were learned.
	known bool
	calls int
	rows  []*excess
	// passed is how many calls of a batch were looked at as passed on.
	passed int
}

// excess counts the pairs of a candidate's requests and calls by the time between their starts, in quarters of powers of two of nanoseconds.
type excess struct {
	of            *service
	after, before [lagBins]int32
}

const (
	lagBins = 4 * 40
	// maxLag is the longest time between a request and a call for it that is looked at, and maxPairs how many requests before a call, and after it.
	maxLag   = 60_000_000_000
	maxPairs = 1024
	// sampled is how many calls of an asking are looked at in a batch.
	sampled = 200
	// enough is the excess that makes a caller, for a call.
	enough = 0.3
	// forgetAt is at how many calls what was counted is halved, so that what changes is noticed.
	forgetAt = 4000
)

type askKey struct {
	from homeKey
	to   *service
}

// house puts a span where it was served, and where it came from.
func (l *Linker) house(s *Span) {
	k := serviceKey{s.tap, s.Server}
	v := l.services[k]
	if v == nil {
		if len(l.services) >= MaxServices {
			l.evict()
		}
		if len(l.services) >= MaxServices {
			l.Counts.Homeless++
			return
		}
		l.numbers++
		v = &service{serviceKey: k, number: l.numbers}
		l.services[k] = v
		h := l.home(homeOf(s.tap, s.Server.Addr()))
		h.services = append(h.services, v)
	}
	if n := len(v.spans); n > 0 && earlier(v.spans[n-1], s) > 0 {
		v.sorted = false
	} else if n == 0 {
		v.sorted = true
	}
	v.spans = append(v.spans, s)
	v.longest = max(v.longest, s.End-s.Start)
	s.serves = v
	a := askKey{homeOf(s.tap, s.Client.Addr()), v}
	if s.asks = l.askings[a]; s.asks == nil && len(l.askings) < maxAskings {
		s.asks = &asking{from: a.from, to: v}
		l.askings[a] = s.asks
	}
}

// maxAskings is how many pairs of an address and a service are told apart.
const maxAskings = 1 << 16

func (l *Linker) home(k homeKey) *home {
	h := l.homes[k]
	if h == nil {
		h = &home{}
		l.homes[k] = h
	}
	return h
}

// unhouse takes a span out of the service's.
func (l *Linker) unhouse(s *Span) {
	v := s.serves
	if v == nil {
		return
	}
	s.serves = nil
	v.order()
	i, ok := slices.BinarySearchFunc(v.spans, s, earlier)
	for ok && i < len(v.spans) && v.spans[i] != s && earlier(v.spans[i], s) == 0 {
		i++
	}
	if ok && i < len(v.spans) && v.spans[i] == s {
		v.spans = slices.Delete(v.spans, i, i+1)
	}
}

// evict forgets the services of which nothing is kept.
func (l *Linker) evict() {
	for k, a := range l.askings {
		if len(a.to.spans) == 0 {
			delete(l.askings, k)
		}
	}
	for k, h := range l.homes {
		h.services = slices.DeleteFunc(h.services, func(v *service) bool { return len(v.spans) == 0 })
		h.learned = slices.DeleteFunc(h.learned, func(v learnedService) bool { return len(v.spans) == 0 })
		if len(h.services)+len(h.learned) == 0 {
			delete(l.homes, k)
		}
	}
	for k, v := range l.services {
		if len(v.spans) == 0 {
			delete(l.services, k)
		}
	}
}

func (v *service) order() {
	if !v.sorted {
		slices.SortFunc(v.spans, earlier)
		v.sorted = true
	}
}

// after returns the place of the first request that began after a time.
func (v *service) after(t int64) int {
	v.order()
	at, _ := slices.BinarySearchFunc(v.spans, t, func(s *Span, t int64) int { return cmp.Compare(s.Start, t+1) })
	return at
}

// one returns the service that stands for it.
func (v *service) one() *service {
	for v.group != nil {
		v = v.group
	}
	return v
}

// learnCallers learns who asks, from a batch in order of time.
func (l *Linker) learnCallers(batch []*Span) {
	calls := map[*asking][]*Span{}
	var order []*asking
	for _, s := range batch {
		if s.asks == nil || len(l.candidates(s.asks)) == 0 {
			continue
		}
		if calls[s.asks] == nil {
			order = append(order, s.asks)
		}
		calls[s.asks] = append(calls[s.asks], s)
	}
	for _, a := range order {
		list := calls[a]
		step := max(1, len(list)/sampled)
		for i := 0; i < len(list); i += step {
			l.look(a, l.candidates(a), list[i])
		}
	}
	// The nearest of several callers is known by who calls whom, which may be learned only now.
	for _, a := range order {
		a.choose()
	}
}

// learnHomes learns which services ask from addresses at which none is reached, as those with several addresses do: they pass on what they are asked.
// Requests to them with the same method and target are counted around calls as learnCallers counts all.
func (l *Linker) learnHomes(batch []*Span) {
	var order []*asking
	for _, s := range batch {
		a := s.asks
		if s.decided || a == nil || !s.causes() || a.calls > 0 && len(a.rows) == 0 || len(l.candidates(a)) > 0 {
			continue
		}
		if a.passed++; a.passed > sampled {
			continue
		}
		if a.passed == 1 {
			order = append(order, a)
		}
		l.passedAround(a, s)
	}
	for _, a := range order {
		n := int32(min(a.passed, sampled))
		for _, e := range a.rows {
			if most, _ := e.excess(); n >= sureLinks && float64(most) >= explained*float64(n) {
				l.homed(a.from, e.of, sureLinks)
			}
		}
		a.passed, a.rows = 0, nil
	}
}

// passedAround counts the requests with the method and target of a call around it.
func (l *Linker) passedAround(a *asking, c *Span) {
	if !l.index.each(mix(contents, c.content), MaxSame, func(p *Span) bool {
		v := p.serves
		if p.content != c.content || p.passed != c.passed || v == nil || p.Client.Addr() == c.Client.Addr() || p.Server == c.Server || p.one() == c.one() {
			return true
		}
		i := slices.IndexFunc(a.rows, func(e *excess) bool { return e.of == v })
		if i < 0 {
			if len(a.rows) == maxCandidates {
				return true
			}
			i = len(a.rows)
			a.rows = append(a.rows, &excess{of: v})
		}
		a.rows[i].add(p, c, l.shift(v, c))
		return true
	}) {
		l.Counts.Same++
	}
}

// add counts a request around a call.
func (e *excess) add(p, c *Span, shift int64) {
	lag := c.Begun - shift - p.Start
	bins := &e.after
	if lag < 0 {
		lag, bins = -lag, &e.before
	}
	if lag <= maxLag && p.End-p.Start >= lag+c.End-c.Begun && alike(p, c) {
		bins[binOf(lag)]++
	}
}

// candidates are the services that may ask from an address for another one.
func (l *Linker) candidates(a *asking) []*service {
	h := l.homes[a.from]
	if h == nil {
		return nil
	}
	l.askers = l.askers[:0]
	add := func(v *service) {
		if v != a.to && len(v.spans) > 0 && v.spans[0].causes() && len(l.askers) < maxCandidates {
			l.askers = append(l.askers, v)
		}
	}
	for _, v := range h.services {
		if v.tap == a.to.tap {
			add(v)
		}
	}
	if len(l.askers) == 0 { // it was seen at another tap only
		for _, v := range h.services {
			add(v)
		}
	}
	for _, v := range h.learned {
		if v.links >= sureLinks {
			add(v.service)
		}
	}
	return l.askers
}

// maxCandidates is how many services of an address are compared as callers.
const maxCandidates = 32

// look counts the requests around a call.
func (l *Linker) look(a *asking, candidates []*service, c *Span) {
	a.calls++
	for _, v := range candidates {
		i := slices.IndexFunc(a.rows, func(e *excess) bool { return e.of == v })
		if i < 0 {
			i = len(a.rows)
			a.rows = append(a.rows, &excess{of: v})
		}
		a.rows[i].count(c, l.shift(v, c), func(*Span) bool { return true })
	}
	if a.calls >= forgetAt {
		a.calls /= 2
		for _, e := range a.rows {
			e.halve()
		}
	}
}

func (e *excess) halve() {
	for b := range lagBins {
		e.after[b] /= 2
		e.before[b] /= 2
	}
}

// count counts the requests to the candidate around a call, whose tap's clock is ahead by shift: those that are wanted.
func (e *excess) count(c *Span, shift int64, wanted func(p *Span) bool) {
	begun := c.Begun - shift
	at := e.of.after(begun)
	spans := e.of.spans
	for i := at - 1; i >= max(0, at-maxPairs); i-- {
		p := spans[i]
		if begun-p.Start > maxLag {
			break
		}
		if wanted(p) {
			e.add(p, c, shift)
		}
	}
	for i := at; i < min(len(spans), at+maxPairs); i++ {
		p := spans[i]
		if p.Start-begun > maxLag {
			break
		}
		if wanted(p) {
			e.add(p, c, shift)
		}
	}
}

// binOf returns the bin of a time: two bits behind the leading one.
func binOf(lag int64) int {
	n := bits.Len64(uint64(lag))
	if n < 3 {
		return int(lag)
	}
	return 4*(n-2) + int(lag>>(n-3))&3
}

// lagOf returns about the middle of a bin.
func lagOf(bin int) int64 {
	if bin < 4 {
		return int64(bin)
	}
	return (int64(4+bin%4)*2 + 1) << (bin / 4) / 4
}

// alike reports whether the process that served one exchange may have made another.
func alike(p, c *Span) bool {
	return p.PID[server] == 0 || c.PID[0] == 0 || p.PID[server] == c.PID[0] || p.Observer != c.Observer
}

// excess returns the most by which later calls outnumber earlier ones up to some time, and about the time in which half of that comes.
func (e *excess) excess() (most int32, lag int64) {
	sum, at := int32(0), 0
	for b := range lagBins {
		if sum += e.after[b] - e.before[b]; sum > most {
			most, at = sum, b
		}
	}
	sum = 0
	for b := range at + 1 {
		if sum += e.after[b] - e.before[b]; 2*sum >= most {
			return most, lagOf(b)
		}
	}
	return most, 0
}

// choose chooses the callers by what was counted.
func (a *asking) choose() {
	type row struct {
		of   *service
		most int32
		lag  int64
	}
	var rows []row
	for _, e := range a.rows {
		if most, lag := e.excess(); float64(most) >= enough*float64(a.calls) && most > 0 {
			rows = append(rows, row{e.of, most, lag})
		}
	}
	slices.SortStableFunc(rows, func(x, y row) int { return cmp.Compare(x.lag, y.lag) })
	a.callers, a.known = a.callers[:0], true
	told := int32(0)
	for _, r := range rows {
		a.callers = append(a.callers, r.of)
		if told += r.most; float64(told) >= explained*float64(a.calls) {
			break
		}
	}
	for _, v := range a.callers[min(1, len(a.callers)):] {
		merge(a.callers[0], v)
	}
}

// explained is which part of the calls the chosen callers must explain.
const explained = 0.85

// merge has two services be one as callers.
func merge(v, w *service) {
	if v, w = v.one(), w.one(); v != w {
		if w.number < v.number {
			v, w = w, v
		}
		w.group = v
	}
}

// may reports whether a parent's service may have made a child, as far as is learned: known is false where nothing is.
func may(parent, child *Span) (yes, known bool) {
	if child.asks == nil || parent.serves == nil || !child.asks.known {
		return true, false
	}
	return slices.Contains(child.asks.callers, parent.serves), true
}

// learn takes note that a service asks from an address that isn't its own.
func (l *Linker) learn(child, parent *Span) {
	if parent.serves == nil || child.Client.Addr() == parent.Server.Addr() {
		return
	}
	l.homed(homeOf(child.tap, child.Client.Addr()), parent.serves, 1)
}

// homed counts links that say that a service asks from an address.
func (l *Linker) homed(at homeKey, v *service, links int) {
	h := l.home(at)
	i := slices.IndexFunc(h.learned, func(k learnedService) bool { return k.service == v })
	if i < 0 {
		if len(h.learned) == maxLearned {
			return
		}
		i = len(h.learned)
		h.learned = append(h.learned, learnedService{service: v})
	}
	if h.learned[i].links < sureLinks && h.learned[i].links+links >= sureLinks {
		l.moved = true
	}
	h.learned[i].links += links
}

// sameHost reports whether a parent was served where its child came from, as far as addresses tell.
func (l *Linker) sameHost(parent, child *Span) bool {
	if homeOf(parent.tap, parent.Server.Addr()) == homeOf(child.tap, child.Client.Addr()) {
		return true
	}
	if parent.PID[server] != 0 && parent.PID[server] == child.PID[0] && parent.Observer == child.Observer {
		return true
	}
	h := l.homes[homeOf(child.tap, child.Client.Addr())]
	return h != nil && parent.serves != nil && slices.ContainsFunc(h.learned, func(v learnedService) bool {
		return v.service == parent.serves && v.links >= sureLinks
	})
}
