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
	// gone is how many of the spans are.
	gone int
	// asked is from where it is asked, by whom is known.
	asked []*asking
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
// requests are the last before the call: the nearest. Where calls are few, chance also makes loops of what is a chain; the weak side of a loop is dropped.
type asking struct {
	from    homeKey
	to      *service
	callers []*service
	// known: callers are known, though they may be none; calls is of how many calls they were learned.
	known bool
	calls int
	rows  []*excess
	// linked is how many of the calls were linked, same how many of these with a parent that has their method and target.
	linked, same int
	// proven are callers that pass on what they are asked. passed is how many calls of a batch were looked at as passed on, around what was
	// around them, strange how many more are spared that since they weren't.
	proven          []*service
	around          []*excess
	passed, strange int
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
	sampled = 2000
	// enough is the excess that makes a caller, for a call.
	enough = 0.3
	// forgetAt is at how many calls what was counted is halved, so that what changes is noticed.
	forgetAt = 10_000
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

// clean takes out of the services what is gone.
func (l *Linker) clean() {
	for _, v := range l.services {
		if v.gone > 0 {
			v.spans = slices.DeleteFunc(v.spans, func(s *Span) bool { return s.one().gone })
			v.gone = 0
		}
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
	for range 2 { // and once more when it is known who asks whom
		for _, a := range order {
			a.choose()
		}
	}
	for _, a := range order {
		a.choose()
		for _, v := range a.callers[min(1, len(a.callers)):] {
			merge(a.callers[0], v)
		}
	}
}

// learnPassed learns who passes on what it is asked: requests with the method and target of a call are counted around it as learnCallers counts all.
// This knows callers whatever their delays, and also those that ask from an address at which they aren't reached.
func (l *Linker) learnPassed(batch []*Span) {
	var order []*asking
	for _, s := range batch {
		a := s.asks
		if s.decided || a == nil || !s.causes() || len(a.proven) > 0 {
			continue
		}
		if a.strange > 0 {
			a.strange--
			continue
		}
		if a.passed == 0 {
			order = append(order, a)
		}
		if a.passed < passedSampled {
			a.passed++
			l.passedAround(a, s)
		}
	}
	for _, a := range order {
		switch {
		case a.passed >= sureLinks && float64(sumOf(a.around)) >= explained*float64(a.passed):
			for _, e := range a.around {
				if most, _ := e.excess(); float64(most) >= shared*float64(a.passed) {
					a.proven = append(a.proven, e.of)
					if homeOf(e.of.tap, e.of.at.Addr()) != a.from {
						l.homed(a.from, e.of, sureLinks)
					}
					l.moved = true
				}
			}
		case a.passed == passedSampled:
			a.strange = passedAgain
		}
		a.passed, a.around = 0, nil
	}
}

// passedSampled is how many calls of an asking are looked at as passed on, in a batch. If they aren't, so many calls are spared.
const (
	passedSampled = 32
	passedAgain   = 1000
	// shared is the least part of the calls that a service must explain that isn't alone at an address.
	shared = 0.05
)

// sumOf returns the excess of all.
func sumOf(all []*excess) (sum int32) {
	for _, e := range all {
		most, _ := e.excess()
		sum += most
	}
	return sum
}

// passedAround counts the requests with the method and target of a call around it.
func (l *Linker) passedAround(a *asking, c *Span) {
	if !l.index.each(mix(contents, c.content), MaxSame, func(p *Span) bool {
		v := p.serves
		if p.content != c.content || p.passed != c.passed || v == nil || p.Client.Addr() == c.Client.Addr() || p.Server == c.Server || p.one() == c.one() {
			return true
		}
		i := slices.IndexFunc(a.around, func(e *excess) bool { return e.of == v })
		if i < 0 {
			if len(a.around) == maxCandidates {
				return true
			}
			i = len(a.around)
			a.around = append(a.around, &excess{of: v})
		}
		a.around[i].add(p, c, l.shift(v, c))
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
	takes := c.End - c.Begun
	if c.ResponseStart == 0 { // it was given up, maybe once its parent had been answered
		takes = 0
	}
	if lag <= maxLag && p.End-p.Start >= lag+takes && alike(p, c) {
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
	spans, longest := e.of.spans, min(e.of.longest, maxLag)
	for i := at - 1; i >= max(0, at-maxPairs); i-- {
		p := spans[i]
		if begun-p.Start > longest {
			break
		}
		if wanted(p) {
			e.add(p, c, shift)
		}
	}
	for i := at; i < min(len(spans), at+maxPairs); i++ {
		p := spans[i]
		if p.Start-begun > longest {
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
		most, lag := e.excess()
		switch {
		case most <= 0 || float64(most) < enough*float64(a.calls):
		case e.of.askedBy(a.to, maxAsked) && float64(most) < byWayOf*float64(a.calls): // chance: who is asked by way of it seldom asks it
		default:
			rows = append(rows, row{e.of, most, lag})
		}
	}
	slices.SortStableFunc(rows, func(x, y row) int { return cmp.Compare(x.lag, y.lag) })
	a.callers, a.known = append(a.callers[:0], a.proven...), true
	if len(a.proven) > 0 {
		rows = nil
	}
	told := int32(0)
	for _, r := range rows {
		if slices.ContainsFunc(rows, func(q row) bool { return q.of.askedBy(r.of, maxAsked) && float64(q.most) >= byWayOf*float64(r.most) }) {
			continue // it asks by way of another
		}
		a.callers = append(a.callers, r.of)
		if told += r.most; float64(told) >= explained*float64(a.calls) {
			break
		}
	}
	a.to.asked = slices.DeleteFunc(a.to.asked, func(by *asking) bool { return by == a })
	if len(a.callers) > 0 {
		a.to.asked = append(a.to.asked, a)
	}
}

// maxAsked is by way of how many others a service is known to ask another; it does no more than that if the excess of the other is that part of its own.
const (
	maxAsked = 8
	byWayOf  = 0.7
)

// askedBy reports whether v is asked by w, by way of others if need be.
func (v *service) askedBy(w *service, depth int) bool {
	return depth > 0 && slices.ContainsFunc(v.asked, func(a *asking) bool {
		return slices.ContainsFunc(a.callers, func(u *service) bool { return u == w || u.askedBy(w, depth-1) })
	})
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
