package firehose

import (
	"cmp"
	"hash/maphash"
	"slices"
)

// EventKind says what happens with a stream.
type EventKind byte

// The kinds of events. Those of one stream come in this order: Begin; any number of Data, Missing and Lost; End or Closed. One that was
// closed may be Resumed, and is then closed again.
const (
	// Begin: there is a new stream.
	Begin EventKind = iota
	// Data: bytes of it, in Data. Time is when the server handled them, Count their place.
	Data
	// Missing: from the place Count on, so many fragments are missing here as Missing says.
	Missing
	// Lost: so many bytes are missing here as Missing says, since the fragment before was cut short.
	Lost
	// End: the stream is over, at Time.
	End
	// Closed: nothing more is awaited, for the reason Why, and no end was seen.
	Closed
	// Resumed: a stream that was closed goes on.
	Resumed
	// Doubt: a stream turns out to be corrupt after it was over.
	Doubt
)

// CloseReason says why a stream was closed.
type CloseReason byte

// The reasons.
const (
	// EndOfInput: there are no more fragments.
	EndOfInput CloseReason = iota
	// Idle: nothing was heard of it for too long.
	Idle
	// TooMany: there were too many open streams, and of this one nothing was heard for longest.
	TooMany
)

// Event is something that happens with a stream. It is borrowed until return.
type Event struct {
	Kind   EventKind
	Stream *Stream
	Data   []byte
	Time   int64
	Count  uint64
	// Missing is how many fragments or bytes are missing.
	Missing uint64
	Why     CloseReason
}

// The defaults of Limits.
const (
	MaxStreams = 65536
	Window     = 16
	MaxHeld    = 4 << 20
)

const (
	// maxWait is how many fragments of the whole file a missing one is awaited for, and maxWaitTime for how many microseconds: servers write in order,
	// and what isn't was put together by somebody else.
	maxWait     = 256
	maxWaitTime = 2_000_000
	// maxJump is by how many microseconds time may go on with a fragment; if it is more, the clock was set, and nobody was idle for so long.
	maxJump = 60 * 60 * 1_000_000
	// maxPast is how many streams that are over are remembered.
	maxPast = 4096
	// maxNested is how many headers within data are remembered.
	maxNested = 64
)

// Limits bounds what a Sequencer keeps. Zero values are the defaults.
type Limits struct {
	// Streams is how many may be open. With more, the one is closed of which nothing was heard for longest.
	Streams int
	// Window is how many fragments of a stream are kept that come before their turn, and Held how many bytes of all streams.
	Window int
	Held   int
	// Idle is after how many microseconds without a fragment a stream is closed, 0 for never.
	Idle int64
}

// SequencerTotals counts what a Sequencer did.
type SequencerTotals struct {
	// Streams began. Idle and TooMany of them were closed for that.
	Streams, Idle, TooMany uint64
	// Missing fragments; Duplicates, Unequal of them, Late and Stray ones, which were dropped. Stray ones have a place that they can't have: far from
	// where the stream is, or, behind damage, one that was passed.
	Missing, Duplicates, Unequal, Late, Stray uint64
}

// Sequencer makes streams of fragments: each in order, without duplicates, and with what is missing. It isn't safe for concurrent use.
type Sequencer struct {
	limits Limits
	emit   func(e *Event) error
	totals SequencerTotals
	event  Event
	seed   maphash.Seed

	open map[half]*Stream
	// oldest and newest are the ends of the list of open streams, by when something was heard of them.
	oldest, newest *Stream
	// waiting are the open streams with something held, in the order in which they began to wait.
	waiting []waiter
	held    int
	// past has streams that are over, pastOrder which, in order; both are bounded.
	past      map[half]*Stream
	pastOrder []*Stream
	nested    []nested
	now       int64
	// idleFrom is the time from which on streams may have been idle: that of the last jump.
	idleFrom int64
	serial   uint64
}

// waiter is a stream that waits since a time and a fragment of the file.
type waiter struct {
	stream *Stream
	since  int64
	serial uint64
}

// nested is a header within the data of a stream.
type nested struct {
	within *Stream
	half   half
	count  uint64
}

// NewSequencer returns a Sequencer that tells emit what happens. An error of emit is returned by what led to it, and ends the work.
func NewSequencer(l Limits, emit func(e *Event) error) *Sequencer {
	if l.Streams <= 0 {
		l.Streams = MaxStreams
	}
	if l.Window <= 0 {
		l.Window = Window
	}
	if l.Held <= 0 {
		l.Held = MaxHeld
	}
	return &Sequencer{limits: l, emit: emit, seed: maphash.MakeSeed(), open: map[half]*Stream{}, past: map[half]*Stream{}}
}

// Totals returns what was done until now.
func (q *Sequencer) Totals() SequencerTotals { return q.totals }

// Fragment takes the next fragment of the file. It is borrowed until return.
func (q *Sequencer) Fragment(f *Fragment) error {
	q.serial++
	if err := q.tick(f); err != nil {
		return err
	}
	key := half{f.UUID, f.Dir}
	s := q.open[key]
	if s == nil {
		var err error
		if s, err = q.begin(key, f); s == nil || err != nil {
			return err
		}
	}
	q.touch(s)
	if f.Untrusted && s.State&Untrusted == 0 {
		if s.Fragments > 0 || s.ending || len(s.held) > 0 {
			q.totals.Stray++ // what goes on with a stream is trusted
			return nil
		}
		s.State |= Untrusted
	}
	switch {
	case f.End:
		return q.end(s, f)
	case f.Count == s.next:
		s.inOrder++
		if len(s.held) > 0 {
			s.Reordered++
		}
		if err := q.deliver(s, f); err != nil {
			return err
		}
		return q.drain(s)
	case f.Count < s.next:
		q.again(s, f)
		return nil
	}
	return q.hold(s, f)
}

// Close ends all streams that are open, in the order in which they began.
func (q *Sequencer) Close() error {
	rest := make([]*Stream, 0, len(q.open))
	for _, s := range q.open {
		rest = append(rest, s)
	}
	slices.SortFunc(rest, func(a, b *Stream) int { return int(int64(a.serial) - int64(b.serial)) })
	for _, s := range rest {
		if err := q.close(s, EndOfInput); err != nil {
			return err
		}
	}
	return nil
}

// tick moves time on, and ends what waited for too long.
func (q *Sequencer) tick(f *Fragment) error {
	if t := f.Time; t > q.now && !f.Untrusted {
		if t > q.now+maxJump {
			q.idleFrom = t
		}
		q.now = t
	}
	for len(q.waiting) > 0 {
		w := q.waiting[0]
		s := w.stream
		waits := s.waits && s.since == w.serial
		if waits && q.serial-w.serial <= maxWait && q.now-w.since <= maxWaitTime {
			break
		}
		q.waiting = q.waiting[1:]
		if waits {
			s.waits = false
			if err := q.release(s); err != nil {
				return err
			}
		}
	}
	for s := q.oldest; s != nil && q.limits.Idle > 0 && q.now-max(s.seen, q.idleFrom) > q.limits.Idle; s = q.oldest {
		q.totals.Idle++
		if err := q.close(s, Idle); err != nil {
			return err
		}
	}
	return nil
}

// begin returns the stream that a fragment is the first of, or goes on with; nil if it is part of one that is over.
func (q *Sequencer) begin(key half, f *Fragment) (*Stream, error) {
	s := q.past[key]
	if s != nil && f.Untrusted {
		q.totals.Stray++
		return nil, nil
	}
	if s != nil && !s.over {
		delete(q.past, key)
		s.State &^= NoEnd
		if err := q.admit(s); err != nil {
			return nil, err
		}
		return s, q.tell(Event{Kind: Resumed, Stream: s, Time: f.Time})
	}
	nth := 0
	if s != nil {
		if q.repeats(s, f) {
			return nil, nil
		}
		nth = s.Nth + 1
	}
	s = &Stream{UUID: f.UUID, Dir: f.Dir, Nth: nth, serial: q.serial}
	q.totals.Streams++
	if err := q.admit(s); err != nil {
		return nil, err
	}
	return s, q.tell(Event{Kind: Begin, Stream: s, Time: f.Time})
}

// admit adds a stream to the open ones.
func (q *Sequencer) admit(s *Stream) error {
	if len(q.open) >= q.limits.Streams {
		q.totals.TooMany++
		if err := q.close(q.oldest, TooMany); err != nil {
			return err
		}
	}
	q.open[s.half()] = s
	return nil
}

// repeats takes a fragment of a stream that is over, if it was there before.
func (q *Sequencer) repeats(s *Stream, f *Fragment) bool {
	again := f.End && f.Count == s.endCount
	if !f.End && f.Count < s.endCount {
		is := like(q.seed, f)
		switch was := &s.recent[f.Count%recentFragments]; {
		case f.Count == 0:
			s.repeating = s.first.there && s.first.same(&is) && s.first.time == f.Time
			again = s.repeating
		case was.there && was.count == f.Count:
			again = was.same(&is)
		default:
			again = s.repeating
		}
	}
	if again {
		s.Duplicates++
		q.totals.Duplicates++
	}
	return again
}

// deliver delivers the fragment whose turn it is.
func (q *Sequencer) deliver(s *Stream, f *Fragment) error {
	is := like(q.seed, f)
	s.recent[f.Count%recentFragments] = is
	if f.Count == 0 {
		s.first = is
	}
	if s.Fragments == 0 {
		s.First = f.Time
	}
	s.next = f.Count + 1
	s.Fragments++
	s.Bytes += int64(len(f.Data))
	s.Last = max(s.Last, f.Time)
	if f.Untrusted {
		s.State |= Untrusted
	}
	if f.Damaged {
		s.State |= Corrupt
	}
	if f.Nested {
		q.note(s, f.Data)
	}
	if len(f.Data) > 0 {
		if err := q.tell(Event{Kind: Data, Stream: s, Data: f.Data, Time: f.Time, Count: f.Count}); err != nil {
			return err
		}
	}
	if f.Lost == 0 {
		return nil
	}
	s.State |= Cut
	s.Lost += int64(f.Lost)
	return q.tell(Event{Kind: Lost, Stream: s, Time: f.Time, Count: f.Count, Missing: uint64(f.Lost)})
}

// drain delivers what was held and whose turn it is now, and the end.
func (q *Sequencer) drain(s *Stream) error {
	for len(s.held) > 0 && s.held[0].f.Count <= s.next {
		h := s.held[0]
		s.held = slices.Delete(s.held, 0, 1)
		q.held -= len(h.f.Data)
		if err := q.deliver(s, &h.f); err != nil {
			return err
		}
	}
	if len(s.held) == 0 {
		s.held = nil
		s.waits = s.ending && s.next < s.endCount
	}
	if s.ending && s.next >= s.endCount {
		return q.over(s)
	}
	return nil
}

// hold keeps a fragment until its turn comes.
func (q *Sequencer) hold(s *Stream, f *Fragment) error {
	i, found := slices.BinarySearchFunc(s.held, f.Count, func(h held, count uint64) int { return cmp.Compare(h.f.Count, count) })
	if found {
		a, b := like(q.seed, &s.held[i].f), like(q.seed, f)
		q.duplicate(s, a.same(&b))
		return nil
	}
	h := held{f: *f, inOrder: s.inOrder}
	h.f.Data = slices.Clone(f.Data)
	s.held = slices.Insert(s.held, i, h)
	q.held += len(h.f.Data)
	q.wait(s)
	for len(s.held) > q.limits.Window || q.held > q.limits.Held && len(s.held) > 0 {
		if err := q.skip(s); err != nil {
			return err
		}
		if q.open[s.half()] != s {
			return nil
		}
	}
	return nil
}

// wait puts a stream among those that wait.
func (q *Sequencer) wait(s *Stream) {
	if !s.waits {
		s.waits, s.since = true, q.serial
		q.waiting = append(q.waiting, waiter{s, q.now, q.serial})
	}
}

// skip gives up what is missing before the first fragment that is held.
func (q *Sequencer) skip(s *Stream) error {
	if h := &s.held[0]; h.f.Count > s.next {
		if s.inOrder > h.inOrder && h.f.Count-s.next > uint64(q.limits.Window) {
			q.stray(s) // others went on without it: its place is wrong
			return nil
		}
		if err := q.missing(s, h.f.Count); err != nil {
			return err
		}
	}
	return q.drain(s)
}

// release gives up all that is missing.
func (q *Sequencer) release(s *Stream) error {
	for len(s.held) > 0 && !(s.ending && s.held[0].f.Count >= s.endCount) {
		if err := q.skip(s); err != nil {
			return err
		}
	}
	if !s.ending || s.over {
		return nil
	}
	if s.next < s.endCount {
		if err := q.missing(s, s.endCount); err != nil {
			return err
		}
	}
	return q.over(s)
}

// missing tells that the fragments until, but not including, the place upTo are missing.
func (q *Sequencer) missing(s *Stream, upTo uint64) error {
	n := upTo - s.next
	if s.next == 0 {
		s.State |= NoStart
	} else {
		s.State |= Gap
	}
	from := s.next
	s.Missing += n
	q.totals.Missing += n
	s.next = upTo
	if err := q.tell(Event{Kind: Missing, Stream: s, Time: q.now, Count: from, Missing: n}); err != nil {
		return err
	}
	return q.swallowed(s, from, upTo)
}

// swallowed marks the streams that hold headers of the fragments of another one that are missing: from a place until, but not including, another.
func (q *Sequencer) swallowed(s *Stream, from, upTo uint64) error {
	for _, in := range q.nested {
		if in.half == s.half() && in.count >= from && in.count < upTo {
			if err := q.corrupt(in.within); err != nil {
				return err
			}
		}
	}
	return nil
}

// end takes the end of a stream.
func (q *Sequencer) end(s *Stream, f *Fragment) error {
	if s.ending {
		q.duplicate(s, s.endCount == f.Count)
		return nil
	}
	s.ending, s.endCount, s.End = true, f.Count, f.Time
	if f.Count < s.next {
		s.State |= Corrupt // there are more than it says
	}
	if s.next >= s.endCount && len(s.held) == 0 {
		return q.over(s)
	}
	q.wait(s)
	return nil
}

// over ends a stream whose end has come.
func (q *Sequencer) over(s *Stream) error {
	for len(s.held) > 0 {
		q.stray(s)
	}
	q.forget(s)
	s.over = true
	return q.tell(Event{Kind: End, Stream: s, Time: s.End})
}

// close ends a stream without its end.
func (q *Sequencer) close(s *Stream, why CloseReason) error {
	if err := q.release(s); err != nil || s.over {
		return err
	}
	if err := q.swallowed(s, s.next, ended); err != nil {
		return err
	}
	q.forget(s)
	s.State |= NoEnd
	return q.tell(Event{Kind: Closed, Stream: s, Time: q.now, Why: why})
}

// stray drops the first fragment that is held: its place can't be right.
func (q *Sequencer) stray(s *Stream) {
	q.held -= len(s.held[0].f.Data)
	s.held = slices.Delete(s.held, 0, 1)
	s.State |= Corrupt
	q.totals.Stray++
}

// forget removes a stream from the open ones, and remembers it among those of the past.
func (q *Sequencer) forget(s *Stream) {
	q.unlink(s)
	s.waits = false
	delete(q.open, s.half())
	if len(q.pastOrder) >= maxPast {
		if first := q.pastOrder[0]; q.past[first.half()] == first {
			delete(q.past, first.half())
		}
		q.pastOrder = q.pastOrder[1:]
	}
	q.past[s.half()] = s
	q.pastOrder = append(q.pastOrder, s)
}

// again takes a fragment whose place was passed.
func (q *Sequencer) again(s *Stream, f *Fragment) {
	was := &s.recent[f.Count%recentFragments]
	if f.Count == 0 && !(was.there && was.count == 0) {
		was = &s.first
	}
	switch {
	case was.there && was.count == f.Count:
		is := like(q.seed, f)
		q.duplicate(s, was.same(&is))
	case s.next-f.Count <= recentFragments: // it would be remembered
		s.Late++
		q.totals.Late++
		s.State |= Gap
	default:
		q.duplicate(s, s.Missing == 0)
	}
}

// duplicate counts a fragment that was there before.
func (q *Sequencer) duplicate(s *Stream, same bool) {
	s.Duplicates++
	q.totals.Duplicates++
	if !same {
		s.Unequal++
		q.totals.Unequal++
		s.State |= Corrupt
	}
}

// note remembers the headers within the data of a stream. If just these turn out to be missing, it is they that were there.
func (q *Sequencer) note(s *Stream, data []byte) {
	data = append(slices.Clone(data), crlf...) // the last one may have the line end of the fragment
	for at, n := 0, 0; n < maxNested; n++ {
		_, limit, end := findHeader(data, at, true)
		if end < 0 {
			return
		}
		at = end + len(crlf)
		var h header
		if h.parse(data[limit-1:]) != readWhole {
			continue
		}
		if len(q.nested) >= maxNested {
			q.nested = slices.Delete(q.nested, 0, 1)
		}
		q.nested = append(q.nested, nested{s, half{h.uuid, h.dir}, h.count})
	}
}

// corrupt marks a stream, which may be over.
func (q *Sequencer) corrupt(s *Stream) error {
	if s == nil || s.State&Corrupt != 0 {
		return nil
	}
	s.State |= Corrupt
	if q.open[s.half()] == s {
		return nil
	}
	return q.tell(Event{Kind: Doubt, Stream: s, Time: q.now})
}

// touch makes a stream the one of which something was heard last.
func (q *Sequencer) touch(s *Stream) {
	s.seen = q.now
	if q.newest == s {
		return
	}
	q.unlink(s)
	s.older = q.newest
	if q.newest != nil {
		q.newest.newer = s
	} else {
		q.oldest = s
	}
	q.newest = s
}

// unlink takes a stream out of the list.
func (q *Sequencer) unlink(s *Stream) {
	if s.older != nil {
		s.older.newer = s.newer
	} else if q.oldest == s {
		q.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else if q.newest == s {
		q.newest = s.older
	}
	s.older, s.newer = nil, nil
}

func (q *Sequencer) tell(e Event) error {
	q.event = e
	return q.emit(&q.event)
}
