package hops

import (
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/culprit-http/culprit/internal/correlate/hops/timing"
	"github.com/culprit-http/culprit/internal/exchange"
)

// byTiming has the timing engine decide what nothing else did. The engine knows places, which are services here, or processes where they are
// known, and what goes in and out there. Calls that are decided already teach it.
type byTiming struct {
	l      *Linker
	engine *timing.Linker
	// events are the numbers of what the engine was told: each observation has one for its request coming in, and the next one for it going out.
	events map[uint64]*Span
	last   uint64
	// begun is the time that is the engine's 0; 0: it was told nothing yet.
	begun int64
	// wanted are the places at which a call was left to the engine.
	wanted map[uint32]bool
	// processes are the places that are processes, names the numbers of roles and of what is asked for.
	processes map[process]uint32
	names     map[uint64]uint32
}

// process is one, of the host that captures.
type process struct {
	observer string
	pid      int
}

// guess is what the engine says of an exchange at a tap.
type guess struct {
	parent *Span
	sure   float64
}

// maxNames bounds the names that the engine is told; what is beyond shares one.
const maxNames = 1 << 16

// sureTiming is how sure a link by timing is at most: times alone prove nothing.
const sureTiming = 0.98

// leastTiming is how sure a link by timing must be: less likely ones are left out.
const leastTiming = 0.3

// timingDelay is how long the engine waits, after what began at a time is known, before it decides.
const timingDelay = 2 * time.Second

func newByTiming(l *Linker) *byTiming {
	b := &byTiming{l: l, events: map[uint64]*Span{}, wanted: map[uint32]bool{}, processes: map[process]uint32{}, names: map[uint64]uint32{}}
	b.engine = timing.New(timing.Options{Delay: timingDelay, MaxSpans: 2 * l.max}, b.linked)
	return b
}

// sureAlone is how sure a link is to the only request that was under way.
const sureAlone = 0.9

// alone links what can have one parent only: of all requests to who makes such calls, one was under way all the while.
func (l *Linker) alone(s *Span) {
	if s.decided || s.role != Call {
		return
	}
	var parent *Span
	for o := range s.all {
		if !o.guessable() {
			continue
		}
		for _, v := range o.asks.callers {
			shift, two := l.shift(v, o), false
			v.before(o, shift, func(p *Span) bool {
				if p.End < o.End-shift || p.one().gone || p.one() == s || !alike(p, o) {
					return true
				}
				two = parent != nil && parent.one() != p.one()
				parent = p
				return !two
			})
			if two {
				return
			}
		}
	}
	if parent != nil {
		l.join(s, parent, exchange.ByTiming, sureAlone)
	}
}

// addAll tells the engine of exchanges. It is told nothing of places at which everything was decided so far.
func (b *byTiming) addAll(batch []*Span) {
	for _, s := range batch {
		if one := s.one(); !one.decided && one.role == Call {
			for o := range one.all {
				if o.guessable() {
					b.wanted[b.askedFrom(o)] = true
				}
			}
		}
	}
	for _, s := range batch {
		b.add(s)
	}
}

// What a proxy asks for of its own accord, such as whether a server is well, has no parent: where so many of so many links from an address to a service
// are of requests that were passed on as they were, one that wasn't is the proxy's own.
const (
	passedLinks = 5
	passedShare = 0.9
)

// guessable reports whether times may tell the parent of an exchange: somebody is known to make such, and not only by passing them on.
func (s *Span) guessable() bool {
	a := s.asks
	return s.serves != nil && a != nil && len(a.callers) > 0 && (!s.causes() || a.linked < passedLinks || float64(a.same) < passedShare*float64(a.linked))
}

// add tells the engine of an exchange. It is decided here if the engine can't say anything of it.
func (b *byTiming) add(s *Span) {
	one := s.one()
	for o := range one.all {
		if o.serves != nil && o.causes() && b.wanted[b.servedAt(o)] {
			b.number(o)
			b.engine.Add(timing.Event{ID: o.event, Tap: b.servedAt(o), Op: b.operation(o), In: true, Start: b.since(o.Start), End: b.since(o.End)})
		}
		if o.serves == nil || o.asks == nil || len(o.asks.callers) == 0 || one.role != Call || !one.decided && !o.guessable() || !b.wanted[b.askedFrom(o)] {
			continue
		}
		b.number(o)
		parent := uint64(0)
		if one.decided {
			if parent = b.eventOf(one.parent, o.asks); parent == 0 && one.parent != nil {
				continue
			}
		} else {
			one.waits++
		}
		shift := b.l.shift(o.asks.callers[0], o)
		b.engine.Add(timing.Event{ID: o.event + 1, Tap: b.askedFrom(o), Peer: b.role(o), Op: b.operation(o), Start: b.since(o.Begun - shift), End: b.since(o.End - shift)})
		if one.decided {
			b.engine.Known(o.event+1, parent)
		}
	}
	if !one.decided && one.waits == 0 && one.earlier == nil {
		b.l.leave(one)
	}
}

// number gives an observation its events.
func (b *byTiming) number(o *Span) {
	if o.event == 0 {
		b.last += 2
		o.event = b.last
		b.events[o.event], b.events[o.event+1] = o, o
	}
}

// eventOf returns the event of an exchange that one of the callers served, 0 where there is none.
func (b *byTiming) eventOf(p *Span, a *asking) uint64 {
	if p != nil {
		for o := range p.all {
			if o.event != 0 && slices.Contains(a.callers, o.serves) {
				return o.event
			}
		}
	}
	return 0
}

// since makes a time of a clock the engine's: it counts from the first that it was told.
func (b *byTiming) since(t int64) int64 {
	if b.begun == 0 {
		b.begun = t
	}
	return t - b.begun
}

func (b *byTiming) advance(until int64) {
	if b.begun != 0 {
		b.engine.Advance(until - b.begun)
	}
}

func (b *byTiming) flush() { b.engine.Flush() }

// linked takes a decision.
func (b *byTiming) linked(k timing.Link) {
	o := b.events[k.Child]
	if o == nil {
		return
	}
	child := o.one()
	if child.decided || child.waits == 0 {
		return
	}
	sure := min(k.Confidence, sureTiming)
	if p := b.events[k.Parent]; p != nil && !p.gone && (child.guess.parent == nil || sure > child.guess.sure) {
		child.guess = guess{p, sure}
	}
	if child.waits--; child.waits > 0 {
		return
	}
	g := child.guess
	if g.parent != nil && g.sure < leastTiming {
		b.l.Counts.Unclear++
		g.parent = nil
	}
	if g.parent == nil || !b.l.join(child, g.parent, exchange.ByTiming, g.sure) {
		b.l.leave(child)
	}
}

// forget lets go of an observation that was told of.
func (b *byTiming) forget(o *Span) {
	if o.event != 0 {
		delete(b.events, o.event)
		delete(b.events, o.event+1)
	}
}

// servedAt is the place where an exchange was served.
func (b *byTiming) servedAt(o *Span) uint32 {
	if pid := o.PID[server]; pid != 0 {
		k := process{o.Observer, pid}
		n, ok := b.processes[k]
		if !ok && len(b.processes) < maxNames {
			b.l.numbers++
			n = b.l.numbers
			b.processes[k] = n
		}
		if n != 0 {
			return n
		}
	}
	return o.serves.one().number
}

// askedFrom is the place that an exchange was made at.
func (b *byTiming) askedFrom(o *Span) uint32 {
	if pid := o.PID[0]; pid != 0 {
		if n, ok := b.processes[process{o.Observer, pid}]; ok {
			return n
		}
	}
	return o.asks.callers[0].one().number
}

// role names what an exchange was made to: many servers may have one role.
func (b *byTiming) role(o *Span) uint32 {
	d := b.l.digest
	d.Reset()
	if o.Service[server] != "" {
		_, _ = d.WriteString(o.Service[server])
	} else {
		port := o.Server.Port()
		_, _ = d.WriteString(o.Protocol)
		_, _ = d.Write([]byte{0, byte(port >> 8), byte(port)})
	}
	return b.name(d)
}

// operation names what an exchange does: its method and route, or its statement without literals.
func (b *byTiming) operation(o *Span) uint32 {
	d := b.l.digest
	d.Reset()
	_, _ = d.WriteString(o.Verb)
	_, _ = d.Write([]byte{0})
	_, _ = d.WriteString(o.operation)
	return b.name(d)
}

func (b *byTiming) name(d *xxhash.Digest) uint32 {
	h := d.Sum64()
	n, ok := b.names[h]
	if !ok {
		if len(b.names) == maxNames {
			return 0
		}
		n = uint32(len(b.names) + 1)
		b.names[h] = n
	}
	return n
}
