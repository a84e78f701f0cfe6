package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// worker takes chunks from the queue and delivers them with its Sender.
type worker struct {
	out    *Output
	sender Sender
	events []Event
	// failures is how many attempts have failed one after the other.
	failures int
	// begun is how much the output had delivered when the chunk was begun; suspects are those of its events that may be why
	// batches failed. judging: it is their turn, after all others.
	begun    uint64
	suspects []Event
	judging  bool
	// slow: the last attempt took so long that its failure is told at once.
	slow bool
	// most is how large batches are asked for, in bytes, once the receiver has found some too large; 0: it hasn't.
	most int
}

// work delivers until the queue is at its end, or ctx is done.
func (w *worker) work(ctx context.Context) {
	o := w.out
	defer w.sender.Close()
	for {
		c, err := o.o.Queue.Next(ctx, w.batchBytes())
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return
		case err != nil:
			w.failed(fmt.Errorf("the queue can't be read: %w", err))
			sleep(ctx, pause(w.failures, err))
			continue
		}
		if t, settled := w.chunk(ctx, c); settled {
			o.delivered.Add(t.delivered)
			o.known.Add(t.known)
			o.rejected.Add(t.rejected)
			o.bytes.Add(t.bytes)
			o.o.Queue.Done(c)
			select {
			case o.room <- struct{}{}:
			default:
			}
		}
	}
}

// tally is what became of the events of a chunk.
type tally struct{ delivered, known, rejected, bytes uint64 }

// chunk delivers a chunk, and reports whether all of it is settled: what isn't stays in the queue.
func (w *worker) chunk(ctx context.Context, c *Chunk) (t tally, settled bool) {
	events := w.events[:0]
	for _, f := range c.Frames {
		var err error
		if events, err = appendEvents(events, f); err != nil {
			// The queue's checksum fits, so the writer was at fault: what can be read is delivered.
			w.out.o.Say("%s: %v: the rest of it is left out, and counted as rejected", w.out.o.Name, err)
		}
	}
	if missing := c.Events - len(events); missing > 0 {
		t.rejected += uint64(missing)
	}
	w.events, w.suspects, w.judging = events, nil, false
	w.begun = w.out.acknowledged.Load()
	if !w.deliver(ctx, events, &t) {
		return t, false
	}
	w.judging = true
	for i := range w.suspects {
		if !w.deliver(ctx, w.suspects[i:i+1:i+1], &t) {
			return t, false
		}
	}
	return t, true
}

// slowAttempt is how long an attempt takes, before it fails, for the user to be told without waiting for another.
const slowAttempt = 2 * time.Second

// leastBatch is the least that batches are asked for because of a receiver that finds them too large.
const leastBatch = 64 << 10

// batchBytes is how large a batch may be.
func (w *worker) batchBytes() int {
	if w.most == 0 {
		return w.out.o.BatchBytes
	}
	w.most += w.most / 16 // it may have been an exception
	return min(w.most, w.out.o.BatchBytes)
}

// tooLarge notes that a batch was.
func (w *worker) tooLarge(events []Event) {
	size := 0
	for i := range events {
		size += len(events[i].Body)
	}
	w.most = max(size/2, leastBatch)
	w.out.counters.failed.Add(1)
}

// ofContent is implemented by errors that may be due to what was sent, and not to the receiver's state: a batch that fails so
// again and again may have one event in it that is the reason.
type ofContent interface{ OfContent() bool }

const (
	// suspicious is how many such failures of a batch there are before its halves are sent, and of a single event before the
	// others go first; convicted how many there are before it is refused, if others were delivered meanwhile.
	suspicious = 3
	convicted  = 10
)

// deliver sends events until each was delivered or refused for good, and reports whether that is so; else ctx is
// done.
func (w *worker) deliver(ctx context.Context, events []Event, t *tally) bool {
	o := w.out
	blamed := 0
	for len(events) > 0 {
		if ctx.Err() != nil {
			return false
		}
		o.sent.Add(1)
		begun := time.Now()
		r, err := w.sender.Send(ctx, events)
		w.slow = time.Since(begun) > slowAttempt
		before := len(events)
		events = w.settle(events, &r, err, t)
		if len(events) < before {
			o.acknowledged.Add(1)
		}
		if len(events) == 0 {
			w.worked()
			return true
		}
		if err == nil && len(events) < before {
			w.worked()
			err = errBusy
		}
		var content ofContent
		if len(events) == before && errors.As(err, &content) && content.OfContent() {
			blamed++
		}
		large := errors.Is(err, ErrTooLarge) && len(events) == before
		switch {
		case large && before == 1:
			w.reject(&events[0], err.Error(), t)
			return true
		case large, blamed >= suspicious && before > 1:
			if large {
				w.tooLarge(events)
			}
			half := before / 2
			rest := slices.Clone(events[half:]) // settle uses the space behind the first half
			return w.deliver(ctx, events[:half:half], t) && w.deliver(ctx, rest, t)
		case blamed >= suspicious && before == 1 && !w.judging:
			w.suspects = append(w.suspects, events[0])
			return true
		case blamed >= convicted && before == 1 && o.acknowledged.Load() > w.begun:
			w.reject(&events[0], err.Error(), t)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			err = errBusy
		}
		w.failed(err)
		sleep(ctx, pause(w.failures, err))
	}
	return true
}

// errBusy is the error of a receiver that took a batch, but not all of its events.
var errBusy = errors.New("the receiver was too busy to take all events of a batch")

// settle counts what became of events that were sent, and returns those that are to be sent again, in the same space.
func (w *worker) settle(events []Event, r *Result, err error, t *tally) []Event {
	acknowledged := len(events)
	if err != nil {
		acknowledged = min(max(r.Delivered, 0), len(events))
	}
	left := events[:0:len(events)]
	retry, rejected := r.Retry, r.Rejected
	for i := range events {
		switch {
		case len(rejected) > 0 && rejected[0].Index == i:
			w.reject(&events[i], rejected[0].Reason, t)
			rejected = rejected[1:]
			if len(retry) > 0 && retry[0] == i {
				retry = retry[1:]
			}
		case len(retry) > 0 && retry[0] == i:
			left = append(left, events[i])
			retry = retry[1:]
		case i >= acknowledged:
			left = append(left, events[i])
		default:
			t.delivered++
			t.bytes += uint64(len(events[i].Body))
		}
	}
	t.known += uint64(max(r.Known, 0))
	return left
}

// reject sets an event aside.
func (w *worker) reject(e *Event, reason string, t *tally) {
	o := w.out
	t.rejected++
	o.tell(&o.refusing, "an event was refused for good: %s", reason)
	if o.o.SetAside == nil {
		return
	}
	if err := o.o.SetAside(e, reason); err != nil {
		o.tell(&o.setting, "events that were refused can't be set aside: %v", err)
	}
}

// failed notes that an attempt has failed.
func (w *worker) failed(err error) {
	o := w.out
	w.failures++
	o.counters.failed.Add(1)
	if o.fail(err.Error(), w.failures > 1 || w.slow) {
		o.o.Say("%s: %v; trying again", o.o.Name, err)
	}
}

// worked notes that one hasn't.
func (w *worker) worked() {
	o := w.out
	w.failures = 0
	if took := o.recover(); took > 0 {
		o.o.Say("%s: delivers again, after %s", o.o.Name, took.Round(time.Millisecond))
	}
}
