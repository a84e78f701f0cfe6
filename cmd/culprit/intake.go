package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
)

// The limits of what waits to be stored.
const (
	// batchRows and batchBytes are how many exchanges a batch gets, and about how many bytes; batchAge is how long an
	// exchange waits for others at most.
	batchRows  = 4096
	batchBytes = 1 << 20
	batchAge   = 100 * time.Millisecond
	// storeQueue is how many full batches wait for the store, and storeQueueBytes how many bytes they may have, a last one
	// beyond that. When there are so many, files are read no further, and of a live capture exchanges are left out, and
	// counted.
	storeQueue      = 32
	storeQueueBytes = 32 << 20
)

// appender is the part of a store that takes exchanges.
type appender interface {
	Append(b *record.Batch) (stored int, err error)
}

// intake stores exchanges, in a goroutine of its own, so that the pipeline needn't wait for a disk.
//
//	add (pipeline) --> filling --full--> queue --> store (writer)
//	                      \________ every batchAge _____/
type intake struct {
	store appender
	// waits: add waits for room rather than to leave something out. warn is told once when something is left out.
	waits bool
	warn  func(format string, args ...any)

	mu      sync.Mutex
	filling *record.Batch
	queue   chan *record.Batch
	spare   chan *record.Batch
	bytes   atomic.Int64  // in the queue
	room    chan struct{} // there is less in it
	done    chan struct{}
	once    sync.Once

	// Added exchanges were stored, are known, which were stored before, failed, or were dropped, since the queue was
	// full, or wait.
	added, stored, known, failed, dropped atomic.Uint64
	// failure is the first error of the store.
	failure atomic.Pointer[error]
}

// newIntake begins to store. tick tells from time to time that what waits has waited long enough; nil: every
// batchAge.
func newIntake(s appender, waits bool, warn func(format string, args ...any), tick <-chan time.Time) *intake {
	i := &intake{
		store: s, waits: waits, warn: warn, filling: &record.Batch{}, queue: make(chan *record.Batch, storeQueue),
		spare: make(chan *record.Batch, storeQueue+1), room: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go func() {
		if !waits {
			yield()
		}
		i.write(tick)
	}()
	return i
}

// add has an exchange stored, which it copies. It returns an error when the store has failed and the input can be read
// again. Calls come from one goroutine at a time.
func (i *intake) add(x *exchange.Exchange) error {
	if err := i.failure.Load(); err != nil && i.waits {
		return *err
	}
	i.added.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	if full(i.filling) && !i.offer() {
		if i.dropped.Add(1) == 1 {
			i.warn("the store can't keep up: exchanges are left out of it, and counted")
		}
		return nil
	}
	i.filling.Add(x)
	if full(i.filling) {
		i.offer()
	}
	return nil
}

// offer puts the batch into the queue, and begins another. It reports whether there was room. The caller holds mu.
func (i *intake) offer() bool {
	b := i.filling
	if i.waits {
		i.mu.Unlock() // the writer, which makes room, looks for what has waited
		for i.bytes.Load() >= storeQueueBytes {
			<-i.room
		}
		i.mu.Lock()
		if i.filling != b { // the writer has taken it
			return true
		}
	} else if i.bytes.Load() >= storeQueueBytes || len(i.queue) == cap(i.queue) {
		return false
	}
	i.bytes.Add(int64(len(b.Bytes())))
	i.next()
	if i.waits {
		i.mu.Unlock()
		i.queue <- b
		i.mu.Lock()
		return true
	}
	i.queue <- b // nobody else puts any in
	return true
}

func full(b *record.Batch) bool { return b.Len() >= batchRows || len(b.Bytes()) >= batchBytes }

// next begins another batch. The caller holds mu.
func (i *intake) next() {
	select {
	case i.filling = <-i.spare:
	default:
		i.filling = &record.Batch{}
	}
}

// write stores what comes, and what has waited for long.
func (i *intake) write(tick <-chan time.Time) {
	defer close(i.done)
	if tick == nil {
		ticker := time.NewTicker(batchAge)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case b, more := <-i.queue:
			if !more {
				i.append(i.filling) // nothing is added any more
				return
			}
			i.bytes.Add(-int64(len(b.Bytes())))
			i.append(b)
			select {
			case i.room <- struct{}{}:
			default:
			}
		case <-tick:
			i.mu.Lock()
			b := i.filling
			if b.Len() > 0 && len(i.queue) == 0 {
				i.next()
			} else {
				b = nil
			}
			i.mu.Unlock()
			i.append(b)
		}
	}
}

// append stores a batch, which is then used again.
func (i *intake) append(b *record.Batch) {
	if b == nil || b.Len() == 0 {
		return
	}
	n := uint64(b.Len())
	stored, err := i.store.Append(b)
	i.stored.Add(uint64(stored))
	if err == nil {
		i.known.Add(n - uint64(stored))
	} else {
		i.failed.Add(n - uint64(stored))
		i.failure.CompareAndSwap(nil, &err)
	}
	if b.Reset(); cap(b.Bytes()) > 2*batchBytes {
		return
	}
	select {
	case i.spare <- b:
	default:
	}
}

// waiting is how many exchanges wait to be stored.
func (i *intake) waiting() uint64 {
	done := i.stored.Load() + i.known.Load() + i.failed.Load() + i.dropped.Load()
	return max(i.added.Load(), done) - done
}

// lost is how many couldn't be stored.
func (i *intake) lost() uint64 { return i.failed.Load() + i.dropped.Load() }

// close stores what waits, and returns when that is done. It comes after the last add.
func (i *intake) close() {
	i.once.Do(func() { close(i.queue) })
	<-i.done
}

// explainFull says what to do when files couldn't be imported for lack of room.
func explainFull(err error) error {
	if errors.Is(err, store.ErrFull) {
		return fmt.Errorf("%w; make room and import again: what is stored isn't stored twice", err)
	}
	return err
}
