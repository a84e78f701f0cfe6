package pipeline

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
)

const (
	// MaxUnderWay is how many exchanges under way a View has, the oldest, and MaxUnderWayBytes about how many bytes
	// they take. The rest is counted.
	MaxUnderWay      = 1000
	MaxUnderWayBytes = 8 << 20
)

// Question is what a Watch is asked. Questions are told apart, since one costs more than the other.
type Question uint8

const (
	// Totals: View.Stats, which costs a few microseconds for each worker.
	Totals Question = iota
	// UnderWay: View.UnderWay and View.Begun, which costs a look at each exchange under way, and a copy of those that
	// are given.
	UnderWay
	numQuestions
)

// View is how a run stands at the end of an epoch: the same of all of its workers.
type View struct {
	// Running: packets are still read. Otherwise nothing is under way, and Stats are the totals of the runs that
	// have ended.
	Running bool
	// First and Now are the times of the first packet and of the capture clock, in nanoseconds since 1970; 0 before the
	// first packet.
	First, Now int64
	// Stats are the totals so far, when they were asked for. The packets that wait to be put together are among
	// those ignored, as held.
	Stats Stats
	// UnderWay are exchanges that have begun and aren't finished, the oldest first, when they were asked for. Begun is
	// how many there are, and LeftOut for how many of them there was no room.
	UnderWay       []Snapshot
	Begun, LeftOut int
}

// Snapshot is a copy of an exchange under way, which belongs to who asked. Its times are those so far.
type Snapshot struct {
	*exchange.Exchange
	State exchange.State
}

// Inspector is a Receiver that looks at the snapshots before who asked for them gets them. Its calls come from the
// goroutine of the others.
type Inspector interface {
	Receiver
	// Inspect returns those of the snapshots that are to be shown, in their order. It may change them.
	Inspect(list []Snapshot) []Snapshot
}

// Watch is how the runs of one capture are asked how they stand while they go on. They answer at the end of an epoch,
// when the packets before it have been dealt with and what was finished has been delivered. As long as nobody
// asks, that costs a look at a flag for each epoch.
//
//	Ask --> flag of each run --> reader --> workers --> deliverer: Inspect --> Look.Wait
//
// The zero value is ready. It is safe for concurrent use.
type Watch struct {
	mu   sync.Mutex
	runs []*watched
	// ended are the totals of the runs that have ended, first the time of their first packet, now their clock's at
	// the end.
	ended      Stats
	first, now int64
	looks      [numQuestions]*Look
}

// watched is one run that can be asked.
type watched struct {
	watch *Watch
	// unheard has a bit for each question that the run hasn't heard.
	unheard atomic.Uint32
}

// Look is a question under way, and its answer.
type Look struct {
	question Question
	done     chan struct{}
	view     View
	// missing are the runs that haven't answered.
	missing []*watched
}

// Ask asks a question. Who asks while it is under way gets the same answer, which may be one of the moment before.
func (w *Watch) Ask(q Question) *Look {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.looks[q]; l != nil {
		return l
	}
	l := &Look{question: q, done: make(chan struct{}), missing: slices.Clone(w.runs)}
	// Those that end from now on bring their totals themselves: they may have answered by then.
	l.view.Stats.add(&w.ended)
	if len(w.runs) == 0 {
		w.complete(l)
		return l
	}
	w.looks[q] = l
	for _, r := range w.runs {
		r.unheard.Or(1 << q)
	}
	return l
}

// Wait waits for the answer, which is shared by all who asked. A run that waits for its receiver doesn't answer
// meanwhile: ctx bounds the wait.
func (l *Look) Wait(ctx context.Context) (*View, error) {
	select {
	case <-l.done:
		return &l.view, nil
	default:
	}
	select {
	case <-l.done:
		return &l.view, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// join adds a run. It answers the questions that come from now on.
func (w *Watch) join() *watched {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &watched{watch: w}
	w.runs = append(w.runs, r)
	return r
}

// heard returns the questions that the run hasn't heard, a bit for each.
func (r *watched) heard() questions {
	if r == nil || r.unheard.Load() == 0 {
		return 0
	}
	return questions(r.unheard.Swap(0))
}

// questions has a bit for each question.
type questions uint32

func (q questions) has(one Question) bool { return q&(1<<one) != 0 }

// answer gives what a run has to say on the questions it has heard.
func (r *watched) answer(qs questions, part *View) {
	w := r.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	for q, l := range w.looks {
		if l != nil && qs.has(Question(q)) {
			w.part(l, r, part)
		}
	}
}

// part adds what one run says to an answer. The caller holds mu.
func (w *Watch) part(l *Look, r *watched, part *View) {
	i := slices.Index(l.missing, r)
	if i < 0 {
		return // it was asked before it joined
	}
	l.missing = slices.Delete(l.missing, i, i+1)
	v := &l.view
	v.span(part.First, part.Now)
	switch l.question {
	case Totals:
		v.Stats.add(&part.Stats)
	case UnderWay:
		v.UnderWay = append(v.UnderWay, part.UnderWay...)
		v.Begun += part.Begun
		v.LeftOut += part.LeftOut
	}
	if len(l.missing) == 0 {
		w.complete(l)
	}
}

// span widens the time that a view is about.
func (v *View) span(first, now int64) {
	if v.First == 0 || first != 0 && first < v.First {
		v.First = first
	}
	v.Now = max(v.Now, now)
}

// complete gives an answer to those who wait. The caller holds mu.
func (w *Watch) complete(l *Look) {
	v := &l.view
	v.Running = len(w.runs) > 0
	v.span(w.first, w.now)
	sortSnapshots(v.UnderWay)
	if n := len(v.UnderWay) - MaxUnderWay; n > 0 {
		v.UnderWay, v.LeftOut = v.UnderWay[:MaxUnderWay], v.LeftOut+n
	}
	if w.looks[l.question] == l {
		w.looks[l.question] = nil
	}
	close(l.done)
}

// leave takes a run out that has ended, with its totals.
func (r *watched) leave(s *Stats, first, now int64) {
	if r == nil {
		return
	}
	w := r.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs = slices.DeleteFunc(w.runs, func(o *watched) bool { return o == r })
	w.ended.add(s)
	end := View{First: w.first, Now: w.now}
	end.span(first, now)
	w.first, w.now = end.First, end.Now
	for _, l := range w.looks {
		if l != nil {
			w.part(l, r, &View{Stats: *s})
		}
	}
}

// asked are the questions that a run has heard at the end of an epoch, and the reader's part of the answer.
type asked struct {
	by        *watched
	questions questions
	view      View
	at        clock.Mark
}

// hear returns the questions that the run hasn't heard, nil when there are none.
func (r *run) hear(at clock.Mark) *asked {
	qs := r.watched.heard()
	if qs == 0 {
		return nil
	}
	a := &asked{by: r.watched, questions: qs, at: at, view: View{First: r.first, Now: at.Time}}
	if qs.has(Totals) {
		a.view.Stats = r.read()
	}
	return a
}

// standing is what one worker says at the end of an epoch.
type standing struct {
	stats     Stats
	snapshots []Snapshot
	begun     int
}

// standing answers for the worker's shards.
func (w *worker) standing(a *asked) (s standing) {
	if a.questions.has(Totals) {
		s.stats = newStats()
		w.total(&s.stats)
	}
	if a.questions.has(UnderWay) {
		s.snapshots, s.begun = w.underWay(a.at)
	}
	return s
}

// answer puts together what the reader and the workers say, shows it to the receiver, and gives it to those who asked.
// When the receiver has failed, the end of the run answers.
func (d *deliverer) answer(a *asked, workers []standing) {
	if d.err != nil {
		return
	}
	v := &a.view
	for i := range workers {
		s := &workers[i]
		v.Stats.add(&s.stats)
		v.UnderWay = append(v.UnderWay, s.snapshots...)
		v.Begun += s.begun
	}
	sortSnapshots(v.UnderWay)
	v.UnderWay = bounded(v.UnderWay)
	v.LeftOut = v.Begun - len(v.UnderWay)
	for i := range v.UnderWay {
		measure.Time(v.UnderWay[i].Exchange)
	}
	if to, ok := d.to.(Inspector); ok && len(v.UnderWay) > 0 {
		v.UnderWay = to.Inspect(v.UnderWay)
	}
	a.by.answer(a.questions, v)
}

// underWay copies the oldest exchanges under way, and counts all.
func (w *worker) underWay(at clock.Mark) (list []Snapshot, begun int) {
	var oldest eldest
	for _, sh := range w.owned {
		for x := range sh.engine.UnderWay() {
			begun++
			oldest.add(x)
		}
	}
	bytes := 0
	for _, x := range oldest.sorted() {
		if bytes += x.Footprint(); bytes > MaxUnderWayBytes {
			break
		}
		c, state := x.Snapshot(at)
		c.Statement = w.statements.Of(c)
		list = append(list, Snapshot{c, state})
	}
	return list, begun
}

// bounded is as many snapshots as there is room for. Since each worker has cut its list in the same way, they are the
// same with any number of workers.
func bounded(list []Snapshot) []Snapshot {
	bytes := 0
	for i := range list {
		if bytes += list[i].Footprint(); i == MaxUnderWay || bytes > MaxUnderWayBytes {
			return list[:i]
		}
	}
	return list
}

func sortSnapshots(list []Snapshot) {
	slices.SortFunc(list, func(a, b Snapshot) int { return age(a.Exchange, b.Exchange) })
}

// age is the order of snapshots: by start. There are no equal ones within a tap.
func age(a, b *exchange.Exchange) int {
	return cmp.Or(cmp.Compare(a.Start.Time, b.Start.Time), cmp.Compare(a.Start.Tap, b.Start.Tap), cmp.Compare(a.Start.Packet, b.Start.Packet),
		cmp.Compare(a.Start.Offset, b.Start.Offset), cmp.Compare(a.Index, b.Index))
}

// eldest keeps the MaxUnderWay oldest exchanges that are added, as a heap with the youngest on top.
type eldest struct{ heap []*exchange.Exchange }

func (e *eldest) add(x *exchange.Exchange) {
	h := e.heap
	if len(h) < MaxUnderWay {
		h = append(h, x)
		for i := len(h) - 1; i > 0 && age(h[(i-1)/2], h[i]) < 0; i = (i - 1) / 2 {
			h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
		}
		e.heap = h
		return
	}
	if age(x, h[0]) >= 0 {
		return
	}
	h[0] = x
	for i := 0; ; {
		top := i
		for _, below := range [...]int{2*i + 1, 2*i + 2} {
			if below < len(h) && age(h[below], h[top]) > 0 {
				top = below
			}
		}
		if top == i {
			return
		}
		h[i], h[top] = h[top], h[i]
		i = top
	}
}

// sorted returns the exchanges, the oldest first.
func (e *eldest) sorted() []*exchange.Exchange {
	slices.SortFunc(e.heap, age)
	return e.heap
}
