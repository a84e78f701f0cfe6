package ship

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/rollup"
)

// The limits of what waits to be queued.
const (
	// frameEvents and frameBytes are how many events a frame gets, and about how many bytes; frameAge is how long an
	// event waits for others at most.
	frameEvents = 1000
	frameBytes  = 256 << 10
	frameAge    = 200 * time.Millisecond
	// framesWaiting is how many full frames wait for the queue. When there are as many, files are read no further, and of
	// a live capture frames are left out, and counted.
	framesWaiting = 16
	// framesBytes is how many bytes they may have, but for a single one.
	framesBytes = 8 << 20
)

// Defaults.
const (
	DefaultWorkers    = 2
	DefaultBatchBytes = 4 << 20
)

// Options say what an Output is made of.
type Options struct {
	// Name is that of the output, for messages and counters.
	Name    string
	Encoder Encoder
	Queue   Queue
	// Sender makes the Sender of one worker.
	Sender func() (Sender, error)
	// Workers is how many batches are on their way at once; 0: DefaultWorkers. More than one may change the order.
	Workers int
	// BatchBytes is the size of a batch's bodies, about; 0: DefaultBatchBytes.
	BatchBytes int
	// Waits: Exchange waits for room in the queue rather than to have something left out or dropped, until Hurry is called.
	Waits bool
	// SetAside keeps an event that the receiver refused for good, with its reason; nil: it is only counted. Calls come from
	// several goroutines.
	SetAside func(e *Event, reason string) error
	// Say tells the user of troubles, and of their end; it is called from several goroutines.
	Say func(format string, args ...any)
	// Polite, if not nil, is called in each goroutine of the output before it does anything.
	Polite func()
}

// Output delivers exchanges and rollups to a receiver. It implements output.Output; Exchange and Rollup only encode.
//
//	Exchange --> filling --full or old--> frames --> writer --Append--> Queue --Next--> worker --Send--> receiver
type Output struct {
	o Options
	counters

	fill    sync.Mutex
	filling frame
	// over: End was called.
	over   bool
	frames chan frame
	spare  chan []byte
	// waiting is how many bytes wait in frames; taken tells that they have become less.
	waiting atomic.Int64
	taken   chan struct{}

	// acknowledged counts the attempts that have settled something.
	acknowledged atomic.Uint64

	// losing, refusing and setting say when losses, refusals, and refused events that can't be kept were told.
	losing, refusing, setting reminder
	lossReason                atomic.Pointer[string]

	// room tells that something was delivered; hurry is closed by Hurry.
	room, hurry chan struct{}
	hurried     sync.Once

	// stop ends the workers, ended is closed when all goroutines have.
	stop   context.CancelFunc
	ended  chan struct{}
	once   sync.Once
	ending error
}

// frame is a frame that is being filled, or waits for the queue.
type frame struct {
	b      []byte
	events int
}

var _ output.Output = (*Output)(nil)

// New returns an output, and begins to deliver what its queue holds.
func New(o Options) (*Output, error) {
	if o.Workers == 0 {
		o.Workers = DefaultWorkers
	}
	if o.BatchBytes == 0 {
		o.BatchBytes = DefaultBatchBytes
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	out := &Output{o: o, frames: make(chan frame, framesWaiting), spare: make(chan []byte, framesWaiting+1), ended: make(chan struct{}),
		room: make(chan struct{}, 1), hurry: make(chan struct{}), taken: make(chan struct{}, 1)}
	if !o.Waits {
		out.Hurry()
	}
	ctx, stop := context.WithCancel(context.Background())
	out.stop = stop
	var all []*worker
	for range o.Workers {
		s, err := o.Sender()
		if err != nil {
			stop()
			for _, w := range all {
				w.sender.Close()
			}
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
		all = append(all, &worker{out: out, sender: s})
	}
	var running sync.WaitGroup
	begin := func(f func()) {
		running.Go(func() {
			if o.Polite != nil {
				o.Polite()
			}
			f()
		})
	}
	begin(out.write)
	for _, w := range all {
		begin(func() { w.work(ctx) })
	}
	go func() {
		running.Wait()
		stop()
		close(out.ended)
	}()
	return out, nil
}

// Exchange implements output.Output.
func (o *Output) Exchange(x *exchange.Exchange) error {
	e := Event{Kind: Exchange, ID: x.ID(x.Tap.Observer), Time: x.Start.Time, Weight: max(x.Weight, 1)}
	o.add(&e, x.Flow.CommunityID(), func(dst []byte) []byte { return o.o.Encoder.Exchange(dst, x) }, &o.exchanges)
	return nil
}

// Rollup delivers a row, which is borrowed, if the encoder has a use for it. It is called from the goroutine of Exchange.
func (o *Output) Rollup(r *rollup.Row) {
	e := Event{Kind: Rollup, ID: r.ID, Time: r.Start, Weight: 1}
	o.add(&e, "", func(dst []byte) []byte { return o.o.Encoder.Rollup(dst, r) }, &o.rollups)
}

// add adds an event to the frame that is being filled. count is the counter of what was added.
func (o *Output) add(e *Event, key string, body func(dst []byte) []byte, count *atomic.Uint64) {
	o.fill.Lock()
	defer o.fill.Unlock()
	if o.over || o.filling.full() && !o.offer() {
		count.Add(1)
		o.lose(1, errSlow)
		return
	}
	if o.filling.b == nil {
		o.begin()
	}
	f := &o.filling
	begin := len(f.b)
	var added bool
	if f.b, added = appendEvent(f.b, e, key, body); !added {
		return
	}
	count.Add(1)
	if begin > 0 && len(f.b) > frameBytes {
		// A large one gets a frame of its own: what can't be queued takes no others with it.
		large := slices.Clone(f.b[begin:])
		if f.b = f.b[:begin]; !o.offer() {
			o.lose(1, errSlow)
			return
		}
		o.filling.b, f = large, &o.filling
	}
	if f.events++; f.full() {
		o.offer()
	}
}

func (f *frame) full() bool { return f.events >= frameEvents || len(f.b) >= frameBytes }

// begin begins a frame. The caller holds fill.
func (o *Output) begin() {
	select {
	case b := <-o.spare:
		o.filling = frame{b: b[:0]}
	default:
		o.filling = frame{b: make([]byte, 0, frameBytes+frameBytes/8)}
	}
}

// offer hands the frame over to the writer, and reports whether there was room. The caller holds fill.
func (o *Output) offer() bool {
	f := o.filling
	for n := int64(len(f.b)); ; {
		if w := o.waiting.Load(); w == 0 || w+n <= framesBytes {
			select {
			case o.frames <- f:
				o.waiting.Add(n)
				o.filling = frame{}
				return true
			default:
			}
		}
		select {
		case <-o.taken:
		case <-o.hurry:
			return o.offerNow(f)
		}
	}
}

// offerNow is offer for those who don't wait.
func (o *Output) offerNow(f frame) bool {
	n := int64(len(f.b))
	if w := o.waiting.Load(); w > 0 && w+n > framesBytes {
		return false
	}
	select {
	case o.frames <- f:
		o.waiting.Add(n)
		o.filling = frame{}
		return true
	default:
		return false
	}
}

// Hurry ends the waiting for room: from now on, what there is no room for is left out, and counted.
func (o *Output) Hurry() { o.hurried.Do(func() { close(o.hurry) }) }

// roomShare is one over the share of a queue that is left free by those who wait: it drops what is oldest some frames at a
// time.
const roomShare = 8

// hasten reports whether somebody is in a hurry.
func (o *Output) hasten() bool {
	select {
	case <-o.hurry:
		return true
	default:
		return false
	}
}

// waitForRoom waits until the queue has room for a frame without dropping another, and reports whether it has: not if somebody
// is in a hurry.
func (o *Output) waitForRoom(f *frame) bool {
	for {
		if q := o.o.Queue.Stats(); q.Waiting == 0 || q.Bytes+int64(len(f.b)) <= q.Limit-q.Limit/roomShare {
			return true
		}
		select {
		case <-o.room:
		case <-o.hurry:
			return false
		case <-o.ended:
			return false
		}
	}
}

// write gives frames to the queue, until there are no more.
func (o *Output) write() {
	defer o.o.Queue.CloseAppend()
	ticker := time.NewTicker(frameAge)
	defer ticker.Stop()
	for {
		select {
		case f, more := <-o.frames:
			if !more {
				return
			}
			o.waiting.Add(-int64(len(f.b)))
			select {
			case o.taken <- struct{}{}:
			default:
			}
			o.append(f)
		case <-ticker.C:
			if len(o.frames) > 0 {
				continue
			}
			if !o.fill.TryLock() { // somebody adds, who may be waiting for this goroutine
				continue
			}
			f := o.filling
			if o.filling = (frame{}); len(o.frames) > 0 { // which is older
				o.filling, f = f, frame{}
			}
			o.fill.Unlock()
			o.append(f)
		}
	}
}

// append gives a frame to the queue.
func (o *Output) append(f frame) {
	if f.events == 0 {
		return
	}
	if o.o.Waits && !o.waitForRoom(&f) {
		o.lose(f.events, errHurried)
		return
	}
	for {
		err := o.o.Queue.Append(f.b, f.events)
		if err == nil {
			break
		}
		if !o.o.Waits || !errors.Is(err, ErrNoRoom) || o.hasten() {
			o.lose(f.events, err)
			break
		}
		// Of a file, nothing need be lost: there may be room later.
		o.tell(&o.losing, "waiting: %v", err)
		select {
		case <-o.room:
		case <-o.hurry:
		case <-time.After(frameAge):
		}
	}
	if cap(f.b) > 4*frameBytes {
		return
	}
	select {
	case o.spare <- f.b:
	default:
	}
}

// Flush implements output.Output. What was added is on its way soon anyway.
func (o *Output) Flush() error { return nil }

// Close implements output.Output: it waits until all is delivered.
func (o *Output) Close() error { return o.End(context.Background()) }

// End delivers what waits, until that is done or ctx is. What a queue keeps on disk is delivered by the next run;
// what one in memory has left is lost, and counted. It comes after the last Exchange. A second call returns what the first
// has.
func (o *Output) End(ctx context.Context) error {
	o.once.Do(func() { o.ending = o.end(ctx) })
	return o.ending
}

func (o *Output) end(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		o.Hurry()
		o.stop()
	})()
	o.fill.Lock()
	o.over = true
	last := o.filling
	o.filling = frame{}
	o.fill.Unlock()
	if last.events > 0 {
		select {
		case o.frames <- last:
			o.waiting.Add(int64(len(last.b)))
		case <-o.hurry:
			select {
			case o.frames <- last:
				o.waiting.Add(int64(len(last.b)))
			default:
				o.lose(last.events, errSlow)
			}
		}
	}
	close(o.frames)
	<-o.ended
	return o.o.Queue.Close()
}

// The reasons of losses before the queue.
var (
	errSlow    = errors.New("the queue can't keep up")
	errHurried = errors.New("the queue was full when the run was ended")
)

// lose counts events that never got into the queue, and tells of it from time to time.
func (o *Output) lose(n int, why error) {
	o.lost.Add(uint64(n))
	text := why.Error()
	o.lossReason.Store(&text)
	o.tell(&o.losing, "events are lost, and counted: %v", why)
}

// tellEvery is how often the same is told at most.
const tellEvery = time.Minute

// reminder says when something was told.
type reminder struct {
	mu sync.Mutex
	at time.Time
}

// due reports whether it is time to tell something again.
func (r *reminder) due() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.at.IsZero() && now.Sub(r.at) < tellEvery {
		return false
	}
	r.at = now
	return true
}

// tell tells something unless it was told just now.
func (o *Output) tell(r *reminder, format string, args ...any) {
	if r.due() {
		o.o.Say("%s: "+format, append([]any{o.o.Name}, args...)...)
	}
}

// Stats returns the counters.
func (o *Output) Stats() Stats {
	s := Stats{
		Name: o.o.Name, Delivered: o.delivered.Load(), Known: o.known.Load(), Rejected: o.rejected.Load(), Lost: o.lost.Load(),
		Sent: o.sent.Load(), Failed: o.failed.Load(), Bytes: o.bytes.Load(), Queue: o.o.Queue.Stats(),
	}
	s.Exchanges, s.Rollups = o.exchanges.Load(), o.rollups.Load() // after the others, which don't count what these don't
	gone := s.Delivered + s.Rejected + s.Lost + uint64(s.Queue.Dropped+s.Queue.Damaged)
	s.Waiting = max(s.Exchanges+s.Rollups+uint64(s.Queue.Recovered), gone) - gone
	o.mu.Lock()
	s.Problem, s.Since = o.problem, o.counters.since
	o.mu.Unlock()
	if why := o.lossReason.Load(); why != nil {
		s.Loss = *why
	}
	return s
}
