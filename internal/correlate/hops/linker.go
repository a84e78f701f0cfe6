package hops

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
)

// The limits of what a Linker keeps. They are shown in docs/limits-and-loss.md.
const (
	// MaxSpans is how many exchanges are kept at a time. Beyond it the oldest are decided before Wait has passed.
	MaxSpans = 100_000
	// MaxServices is how many services are told apart; exchanges of further ones are linked by ids alone.
	MaxServices = 4096
	// MaxSame is how many exchanges with one id, or with the same method and target, are compared with a request.
	MaxSame = 256
	// MaxDepth is how many hops a chain has at most.
	MaxDepth = 64
)

// The times of linking.
const (
	// DefaultWait is how long an exchange is waited for that may have caused another, from the begin of that one.
	DefaultWait = 30 * time.Second
	// maxAsync is how long after its answer an exchange may have caused another, where an id says so.
	maxAsync = 5 * time.Second
	// maxFollow is how long after an answer what it sent its client to is asked for, and how long a looked up address is used at once.
	maxFollow = 5 * time.Second
)

// Options say how exchanges are linked.
type Options struct {
	// Wait is how long, in capture time, an exchange that began may take to be over and yet be found by those that it caused; 0: DefaultWait.
	Wait time.Duration
	// MaxSpans bounds what is kept; 0: MaxSpans.
	MaxSpans int
}

// Counts say what was done.
type Counts struct {
	// Exchanges were added; of these Apart took no part: nothing can have caused them, and they can't have caused anything. Merged were
	// observations of an exchange that was known from another tap.
	Exchanges, Apart, Merged uint64
	// Linked were given a parent, by method; Roots weren't.
	Linked [exchange.NumHopMethods]uint64
	Roots  uint64
	// Unclear had a parent by timing that wasn't likely enough; they are among the roots.
	Unclear uint64
	// Hurried were decided before Wait had passed, since there were MaxSpans. Late came when what could have been linked to them may have been decided.
	Hurried, Late uint64
	// Same counts searches that ended at MaxSame, Deep links that were refused at MaxDepth, Homeless exchanges of services beyond MaxServices,
	// TapsLumped exchanges of taps that aren't told apart.
	Same, Deep, Homeless, TapsLumped uint64
}

// Linker links exchanges. It isn't safe for concurrent use.
type Linker struct {
	Counts Counts

	wait int64
	max  int
	told func(*Tree)

	// now is the latest end seen, settled up to when all that began is decided, but for what the timing engine has yet to tell; looked is
	// when that was looked for last.
	now, settled, looked int64
	// begun is when the first exchange began.
	begun int64
	// pending are those that weren't looked at yet, waiting those that were and that are waited for, undecided or parts of trees that may grow.
	pending, waiting []*Span
	spans            int

	index    index
	services map[serviceKey]*service
	homes    map[homeKey]*home
	askings  map[askKey]*asking
	clocks   map[[2]uint32]*between
	gaps     map[gapKey]*gap
	// heads is how many requests have the same heads, to the byte.
	heads    map[uint64]int32
	tellings map[tellingKey]*telling
	numbers  uint32
	// moved: it was learned that a service asks from another address than its own.
	moved bool
	// several: there are several taps. forwarded: a proxy said whom it asks for; who asked is then looked up.
	several, forwarded bool
	timing             *byTiming

	taps          map[tapKey]uint32
	tapNames      []tapKey
	lastTap       *exchange.Tap
	lastTapIs     tapKey
	lastTapNumber uint32
	texts         map[string]string

	digest  *xxhash.Digest
	scratch []byte
	target  []byte
	edges   []edge
	claims  []claim

	askers []*service
	routes *measure.Routes
}

// New returns a Linker that tells each tree once nothing can join it any more.
func New(o Options, told func(*Tree)) *Linker {
	l := &Linker{
		wait: int64(cmp.Or(o.Wait, DefaultWait)), max: cmp.Or(o.MaxSpans, MaxSpans), told: told,
		services: map[serviceKey]*service{}, homes: map[homeKey]*home{}, askings: map[askKey]*asking{},
		clocks: map[[2]uint32]*between{}, gaps: map[gapKey]*gap{}, heads: map[uint64]int32{}, tellings: map[tellingKey]*telling{}, taps: map[tapKey]uint32{}, texts: map[string]string{}, digest: xxhash.New(),
	}
	l.routes, _ = measure.NewRoutes(nil) // no rule can't be wrong
	l.timing = newByTiming(l)
	return l
}

// Add adds an exchange that is over. x is borrowed until Add returns. Exchanges come in about the order of their ends: those that end Wait before
// one that came earlier may be too late to be linked. part: it takes part; the others are in no tree.
func (l *Linker) Add(x *exchange.Exchange) (part bool) { return l.Take(x) != nil }

// Take is Add for those who hide the secrets of x afterwards, and then have the returned Span show what is left; nil: it takes no part.
func (l *Linker) Take(x *exchange.Exchange) *Span {
	l.Counts.Exchanges++
	if !takesPart(x) {
		l.Counts.Apart++
		return nil
	}
	s := l.newSpan(x)
	if s.Start < l.settled {
		l.Counts.Late++
	}
	l.spans++
	if l.observed(s) {
		l.Counts.Merged++
	} else {
		l.pending = append(l.pending, s)
	}
	l.enter(s)
	if s.End > l.now {
		l.now = s.End
	}
	if l.begun == 0 {
		l.begun = s.Start
	}
	switch {
	case l.spans >= l.max:
		l.hurry()
	case l.now-l.looked > l.wait/8 && l.now-l.begun > 2*l.wait: // the first lot has something to learn from
		l.looked = l.now
		l.settle(l.now - l.wait)
	}
	return s
}

// enter puts a span where others find it.
func (l *Linker) enter(s *Span) {
	l.forwarded = l.forwarded || s.from != 0
	for i := range s.ids[:s.nIDs] {
		if d := &s.ids[i]; d.class != parentIDs {
			l.file(s, d.key)
		}
	}
	for _, k := range s.answers {
		l.file(s, k)
	}
	if s.location != 0 {
		l.file(s, s.location)
	}
	if s.wanted != 0 && s.Failed {
		l.file(s, s.wanted)
	}
	if s.causes() {
		if l.forwarded {
			l.file(s, endKey(s.Client))
		}
		l.file(s, mix(contents, s.content))
		l.heads[s.head]++
	}
	l.house(s)
}

func (l *Linker) file(s *Span, k key) { s.entries = append(s.entries, l.index.add(k, s)) }

// causes reports whether an exchange may cause others: a database asks nobody.
func (s *Span) causes() bool { return s.Family == exchange.HTTP && s.Verb != "" }

// earlier compares by time, the longer first, and by id, so that the order is the same however exchanges came.
func earlier(a, b *Span) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End), slices.Compare(a.ID[:], b.ID[:]))
}

// hurry decides the older half, since there is no more room.
func (l *Linker) hurry() {
	slices.SortFunc(l.pending, earlier)
	if n := len(l.pending); n > 0 {
		l.Counts.Hurried += uint64(n / 2)
		l.settle(l.pending[n/2].Start)
	}
	if l.spans >= l.max { // what is left waits for others: it will never be told all
		l.timing.flush()
		l.tell(true)
	}
	l.looked = l.now
}

// Flush decides and tells all that is left.
func (l *Linker) Flush() {
	l.settle(1<<63 - 1)
	l.timing.flush()
	l.tell(true)
}

// settle decides what began before a time.
func (l *Linker) settle(until int64) {
	if until < l.settled {
		until = l.settled
	}
	l.settled = until
	slices.SortFunc(l.pending, earlier)
	batch := l.due(until)
	if len(batch) > 0 {
		l.learnCallers(batch)
		for _, s := range batch {
			if !l.byID(s) {
				l.byHeader(s)
			}
		}
		l.learnPassed(batch)
		if l.moved { // who is at an address was learned
			l.moved = false
			l.learnCallers(batch)
		}
		l.byContent(batch)
		l.byWords(batch)
		l.byFailure(batch)
		l.lookUp(batch)
		for _, s := range batch {
			l.follow(s)
		}
		for _, s := range batch {
			l.alone(s)
		}
		l.timing.addAll(batch)
		l.waiting = append(l.waiting, batch...)
	}
	l.timing.advance(until)
	l.tell(false)
}

// due takes what began before a time out of what is pending, and joins the observations of what was translated on the way. Lookups of names wait
// a little longer, since they belong to what was connected to afterwards.
func (l *Linker) due(until int64) (batch []*Span) {
	kept := l.pending[:0]
	for _, s := range l.pending {
		switch {
		case s.gone || s.first != nil:
		case s.Start >= until || s.Family == exchange.Names && s.Start >= until-int64(maxFollow):
			kept = append(kept, s)
		default:
			batch = append(batch, s)
		}
	}
	clear(l.pending[len(kept):])
	l.pending = kept
	if n := len(batch); n > 0 {
		l.translated(batch)
		batch = slices.DeleteFunc(batch, func(s *Span) bool { return s.first != nil })
	}
	return batch
}

// join makes one exchange the parent of another, unless it can't be.
func (l *Linker) join(child, parent *Span, m exchange.HopMethod, sure float64) bool {
	child, parent = child.one(), parent.one()
	if child.decided || child == parent || parent.gone {
		return false
	}
	depth := 0
	for p := parent; p != nil; p = p.parent {
		if p == child {
			return false
		}
		if depth++; depth >= MaxDepth {
			l.Counts.Deep++
			return false
		}
	}
	child.parent, child.method, child.sure = parent, m, sure
	parent.children = append(parent.children, child)
	for o := range child.all {
		if a := o.asks; a != nil && m < exchange.ByTiming {
			if a.linked++; parent.content == child.content {
				a.same++
			}
		}
	}
	for p := parent; p != nil && p.last < child.last; p = p.parent {
		p.last = child.last
	}
	l.Counts.Linked[m]++
	l.decide(child)
	return true
}

// leave decides that an exchange has no parent.
func (l *Linker) leave(s *Span) {
	if s = s.one(); s.decided {
		return
	}
	s.method, s.sure = exchange.Root, 1
	l.Counts.Roots++
	l.decide(s)
}

// decide has those decided that depend on s.
func (l *Linker) decide(s *Span) {
	s.decided = true
	followers := s.followers
	s.followers = nil
	for _, f := range followers {
		l.decideFollower(f, s)
	}
}

// one returns the first observation of the exchange.
func (s *Span) one() *Span {
	if s.first != nil {
		return s.first
	}
	return s
}

// all returns the observations of an exchange, of which s is the first.
func (s *Span) all(yield func(*Span) bool) {
	if !yield(s) {
		return
	}
	for _, t := range s.twins {
		if !yield(t) {
			return
		}
	}
}

// tell tells the trees that nothing can join any more, or all.
func (l *Linker) tell(all bool) {
	open := l.settled
	for _, s := range l.waiting {
		if !s.decided {
			if all {
				l.leave(s)
			} else if s.Start < open {
				open = s.Start
			}
		}
	}
	kept := l.waiting[:0]
	var roots []*Span
	for _, s := range l.waiting {
		if s.decided && s.parent == nil && (all || s.last+int64(maxAsync) < open) {
			roots = append(roots, s)
		}
	}
	for _, r := range roots {
		r.mark()
	}
	for _, s := range l.waiting {
		if !s.gone {
			kept = append(kept, s)
		}
	}
	clear(l.waiting[len(kept):])
	l.waiting = kept
	slices.SortFunc(roots, earlier)
	for _, r := range roots {
		t := l.tree(r)
		l.forget(r)
		if l.told != nil {
			l.told(t)
		}
	}
	l.clean()
}

// mark marks a tree as told.
func (s *Span) mark() {
	s.gone = true
	for _, c := range s.children {
		c.mark()
	}
}

// forget takes a tree out of all tables.
func (l *Linker) forget(s *Span) {
	for o := range s.all {
		for _, e := range o.entries {
			l.index.remove(e)
		}
		o.entries = nil
		if o.serves != nil {
			o.serves.gone++
		}
		if o.causes() {
			if l.heads[o.head]--; l.heads[o.head] == 0 {
				delete(l.heads, o.head)
			}
		}
		l.timing.forget(o)
		l.spans--
	}
	for _, c := range s.children {
		l.forget(c)
	}
}

// serviceKey is what makes a service: where it is reached, as one tap sees it.
type serviceKey struct {
	tap uint32
	at  netip.AddrPort
}

// homeKey is an address: a loopback one of a tap, any other of the network.
type homeKey struct {
	tap uint32
	at  netip.Addr
}

func homeOf(tap uint32, a netip.Addr) homeKey {
	if !a.IsLoopback() {
		tap = 0
	}
	return homeKey{tap, a}
}
