package timing

import (
	"math"
	"time"
)

// Event is one end of an exchange, as a tap saw it. Tap, Peer and Op are numbers that the caller gives to names, small
// ones, since tables are indexed with their order of appearance.
type Event struct {
	// ID names the event; it isn't 0, and no other event has it.
	ID uint64
	// Tap is the place: who answers what is In, and makes what is not. Times of two taps are never compared.
	Tap uint32
	// Peer is the other party, as a role rather than as one of many addresses with that role. That of a request isn't
	// looked at.
	Peer uint32
	// Op is what is asked for: an endpoint, a template of a statement.
	Op uint32
	// In says that the tap was asked; otherwise it asks.
	In bool
	// Start is the first byte of the request, End the last of the response, in nanoseconds since some moment that is the
	// same for all events of the tap, within 36 years of it.
	Start, End int64
}

// Link is what was decided about one call.
type Link struct {
	// Child is the call's event. Parent is the request that it was made for, or 0: none of those that were seen.
	Child, Parent uint64
	// Confidence is the probability that this is so, by all that was learned: of links with 0.9, nine in ten are right.
	Confidence float64
}

// Options are the limits. The zero value of each means its default.
type Options struct {
	// Delay is how long after its start a call is decided, in the time of the events; DefaultDelay. What other calls
	// say until then counts. Negative: never before Flush.
	Delay time.Duration
	// WarmUp is how long the first calls of a tap wait at most for WarmRequests requests to learn from; DefaultWarmUp.
	WarmUp time.Duration
	// MaxSpans is how many events are held at a time, of all taps; DefaultMaxSpans. Beyond it, the oldest calls are
	// decided at once, and what is needed no more is forgotten.
	MaxSpans int
}

const (
	DefaultDelay    = 2 * time.Second
	DefaultWarmUp   = 10 * time.Second
	DefaultMaxSpans = 200_000
)

// farthest bounds times, so that sums of them don't overflow.
const farthest = 1 << 62

// WarmRequests is how many requests a tap learns from before it decides for the first time.
const WarmRequests = 1000

// Stats counts what was done, and each limit that was hit.
type Stats struct {
	// Requests and Calls are the events that were added, Linked and Unlinked the calls that were decided, with a parent
	// or with none.
	Requests, Calls, Linked, Unlinked uint64
	// Held is how many events are held now.
	Held int
	// Learned is how often a plan was fitted to what was seen.
	Learned uint64
	// OverSpans is how many calls were decided early, and requests forgotten, because of MaxSpans, OverKnown how many
	// known links were forgotten for it. OverCandidates is how many calls had more
	// requests under way than maxCandidates; OverClasses how many events had to share the class of others, beyond maxClasses
	// of a tap or maxPlans; OverTaps how many events of a tap beyond maxTaps weren't looked at; OverCalls how often a request wasn't considered since it had maxCalls calls already. Late is
	// how many events came after the watermark that promised there would be none.
	OverSpans, OverKnown, OverCandidates, OverClasses, OverTaps, OverCalls, Late uint64
}

// Linker decides. It isn't safe for concurrent use.
type Linker struct {
	opt  Options
	emit func(Link)
	taps map[uint32]*tap
	// order is the taps as they appeared: maps have none.
	order     []*tap
	known     map[uint64]uint64
	watermark int64
	held      int
	plans     int
	smooth    *smoother
	stats     Stats
}

// New makes a linker that gives each decision to emit, once a call.
func New(opt Options, emit func(Link)) *Linker {
	if opt.Delay == 0 {
		opt.Delay = DefaultDelay
	}
	if opt.WarmUp == 0 {
		opt.WarmUp = DefaultWarmUp
	}
	if opt.MaxSpans <= 0 {
		opt.MaxSpans = DefaultMaxSpans
	}
	return &Linker{opt: opt, emit: emit, taps: map[uint32]*tap{}, known: map[uint64]uint64{}, watermark: math.MinInt64, smooth: newSmoother()}
}

// Stats returns the counters.
func (l *Linker) Stats() Stats {
	s := l.stats
	s.Held = l.held
	return s
}

// Add takes an event. Events come in any order, but none that began before the watermark of the last Advance.
func (l *Linker) Add(e Event) {
	e.Start = min(max(e.Start, -farthest), farthest)
	e.End = min(max(e.End, e.Start), farthest)
	if e.Start < l.watermark {
		l.stats.Late++
	}
	t := l.taps[e.Tap]
	if t == nil {
		if len(l.order) == maxTaps {
			l.stats.OverTaps++
			if !e.In {
				l.emit(Link{Child: e.ID})
			}
			return
		}
		t = newTap(l, uint64(len(l.order)))
		l.taps[e.Tap], l.order = t, append(l.order, t)
	}
	if l.held >= l.opt.MaxSpans {
		l.shed()
	}
	t.add(e)
	l.held++
}

// Known says that whose child a call is is known from elsewhere: it isn't decided here, nor given to emit, but takes its
// place and teaches how such calls are made. It is said before the call is decided. Parent 0 is nobody.
func (l *Linker) Known(child, parent uint64) {
	if len(l.known) >= l.opt.MaxSpans {
		// What was said of calls that never came.
		l.stats.OverKnown += uint64(len(l.known))
		clear(l.known)
	}
	l.known[child] = parent
}

// Advance promises that all events that began before the watermark were added, and decides what can be decided.
func (l *Linker) Advance(watermark int64) {
	watermark = min(max(watermark, -farthest), farthest)
	if watermark <= l.watermark {
		return
	}
	l.watermark = watermark
	if l.opt.Delay < 0 {
		return
	}
	// Half of the delay is what is waited for at least, the other half how long it may take until it is looked.
	half := int64(l.opt.Delay / 2)
	for _, t := range l.order {
		if t.ready(watermark) && (watermark-half >= t.settled) {
			t.advance(watermark, watermark-half)
		}
	}
}

// Flush decides all that is left. The linker can go on to be used; what it learned stays.
func (l *Linker) Flush() {
	for _, t := range l.order {
		t.advance(math.MaxInt64, math.MaxInt64)
	}
	clear(l.known)
}

// shed makes room: calls are decided now, and the oldest requests forgotten as long as that isn't enough.
func (l *Linker) shed() {
	for _, t := range l.order {
		before := l.stats.Linked + l.stats.Unlinked
		t.advance(math.MaxInt64, t.latest+1)
		l.stats.OverSpans += l.stats.Linked + l.stats.Unlinked - before
	}
	for _, t := range l.order {
		if l.held <= l.opt.MaxSpans/4*3 {
			return
		}
		for _, r := range t.requests {
			t.forget(r)
			l.stats.OverSpans++
		}
		t.requests = t.requests[:0]
	}
}
