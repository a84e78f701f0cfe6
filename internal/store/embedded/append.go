package embedded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/wal"
)

// Append implements store.Store. Calls wait for each other, and for the disk when the tail before is still being
// written.
func (e *Engine) Append(b *record.Batch) (stored int, err error) {
	if b.Len() == 0 {
		return 0, nil
	}
	e.appending.Lock()
	defer e.appending.Unlock()
	// Making a segment in vain takes long, and whoever calls may not have time: so this first.
	if e.isFull() {
		return 0, e.fail(b.Len(), fmt.Errorf("%w: less than %d MiB are free beyond what the exchanges in memory need", store.ErrFull, e.options.Reserve>>20))
	}
	if e.full() {
		if err := e.flush(); err != nil {
			return 0, e.fail(b.Len(), err)
		}
	}
	// What may fail comes before the log: what is there comes back when the store is opened again.
	known, err := e.known(e.decoder, b.Bytes())
	if err != nil {
		return 0, e.fail(b.Len(), err)
	}
	if err := e.log.Append(b.Bytes()); err != nil {
		if errors.Is(err, wal.ErrFull) {
			err = fmt.Errorf("%w: %w", store.ErrFull, err)
		}
		return 0, e.fail(b.Len(), err)
	}
	if stored, err = e.add(e.decoder, b.Bytes(), known); err != nil {
		return stored, err
	}
	e.mu.Lock()
	if e.problem != "" {
		e.options.Warn("storing goes on")
		e.problem = ""
	}
	e.mu.Unlock()
	return stored, nil
}

// fail counts exchanges that couldn't be stored, and says so once.
func (e *Engine) fail(n int, err error) error {
	e.mu.Lock()
	e.status.Lost += int64(n)
	first := e.problem == ""
	e.problem = err.Error()
	e.mu.Unlock()
	if first {
		e.options.Warn(fmt.Sprintf("storing has stopped, exchanges are lost: %v", err))
	}
	return err
}

// add adds rows to the tail, but for those that are stored already. It returns how many were new.
func (e *Engine) add(d *record.Decoder, batch []byte, k known) (stored int, err error) {
	for {
		e.mu.Lock()
		if e.segments.changes() == k.version {
			break
		}
		e.mu.Unlock() // the sealed tail has become a segment meanwhile
		if k, err = e.known(d, batch); err != nil {
			return 0, err
		}
	}
	defer e.mu.Unlock()
	e.tail.logged += int64(len(batch))
	err = d.Each(batch, func(r *record.Row) error {
		id := keyOf(r.ID())
		_, again := e.tail.ids[id]
		if !again && e.sealed != nil {
			_, again = e.sealed.ids[id]
		}
		if again || k.ids[string(r.ID())] {
			e.status.Duplicates++
			return nil
		}
		e.tail.ids[id] = struct{}{}
		e.tail.rows.Append(r)
		stored++
		return nil
	})
	return stored, err
}

// known are the ids of a batch that are in segments, in a version of them.
type known struct {
	ids     map[string]bool
	version uint64
}

// known returns the ids of a batch that are in segments.
func (e *Engine) known(d *record.Decoder, batch []byte) (k known, err error) {
	for {
		k.version = e.segments.changes()
		if k.ids, err = e.lookUp(d, batch); err == nil {
			return k, nil
		}
		if err = e.damage(err); err != nil { // else the segment is set aside
			return k, err
		}
	}
}

func (e *Engine) lookUp(d *record.Decoder, batch []byte) (map[string]bool, error) {
	last := e.segments.last()
	var ids map[string]int64
	if err := d.Keys(batch, func(id []byte, start int64) {
		if start <= last {
			if ids == nil {
				ids = map[string]int64{}
			}
			ids[string(id)] = start
		}
	}); err != nil {
		return nil, err
	}
	if ids == nil {
		return nil, nil
	}
	return e.segments.known(ids)
}

// full reports whether the tail is to be written to a segment before more is added.
func (e *Engine) full() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tail
	return t.rows.Len() >= e.options.TailRows || t.rows.Bytes() >= e.options.TailBytes || t.logged >= min(tailLog*e.options.TailBytes, maxTailLog)
}

// tailLog is how many times TailBytes the log of a tail may have, maxTailLog how many bytes: exchanges that are stored
// already are logged all the same, and texts that are the same in many rows are in the tail once, but written out in
// the segment, whose columns are read as a whole.
const (
	tailLog    = 4
	maxTailLog = 1 << 30
)

// Sync implements store.Store.
func (e *Engine) Sync() error { return e.log.Sync() }

// Flush writes the tail to segments.
func (e *Engine) Flush() error {
	e.appending.Lock()
	err := e.flush()
	e.appending.Unlock()
	if err != nil {
		return err
	}
	e.flushing.Lock() // until it is written
	defer e.flushing.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sealed != nil {
		return errors.New("the tail couldn't be written to a segment: " + e.problem)
	}
	return nil
}

// flush takes the tail away and has it written. It waits for the one before. The caller holds appending.
func (e *Engine) flush() error {
	e.flushing.Lock()
	e.mu.Lock()
	waiting := e.sealed
	empty, logged := e.tail.rows.Len() == 0, e.tail.logged
	e.mu.Unlock()
	if waiting != nil { // it couldn't be written
		if err := e.write(waiting); err != nil {
			e.flushing.Unlock()
			return err
		}
	}
	if empty {
		defer e.flushing.Unlock()
		if logged == 0 {
			return nil
		}
		// All that the log has was stored before.
		e.mu.Lock()
		e.tail.logged = 0
		e.mu.Unlock()
		e.forgetLog(e.log.Stats().Seq)
		return nil
	}
	e.mu.Lock()
	t := e.tail
	t.chunk = t.rows.Chunk()
	e.tail, e.sealed = t.next(e.options.Now()), t
	e.mu.Unlock()
	through, err := e.log.Rotate()
	if err != nil {
		through = e.log.Stats().Seq // all of it is in this tail, which is written now
	}
	t.through = through
	if err != nil {
		defer e.flushing.Unlock()
		err := e.write(t)
		if err != nil && t.through > 0 {
			t.through-- // the current file will have exchanges of the next tail, too
		}
		return err
	}
	go func() {
		defer e.flushing.Unlock()
		e.options.yield()
		if err := e.write(t); err != nil {
			e.fail(0, err)
		}
	}()
	return nil
}

// write writes a tail to segments, and forgets its log. The caller holds flushing.
func (e *Engine) write(t *tail) error {
	written, err := e.segments.write(t.chunk)
	if err != nil {
		if disk.IsFull(err) {
			err = fmt.Errorf("%w: %w", store.ErrFull, err)
			e.setFull()
		}
		return err
	}
	e.mu.Lock()
	e.segments.replace(nil, written)
	e.sealed = nil
	e.mu.Unlock()
	e.forgetLog(t.through)
	return nil
}

// forgetLog deletes files of the log, all of whose exchanges are in segments.
func (e *Engine) forgetLog(through uint64) {
	if err := e.log.Remove(through); err != nil {
		e.options.Warn(fmt.Sprintf("old files of the store's log stay: %v", err))
	}
}

// syncing makes the log durable, whatever else takes long, and looks for room.
func (e *Engine) syncing(ctx context.Context) {
	e.options.yield()
	tick := time.NewTicker(e.options.SyncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := e.log.Sync(); err != nil {
			e.fail(0, err)
		}
		e.room()
	}
}

// background does what is due: it writes old tails, merges segments, and forgets what is too old.
func (e *Engine) background(ctx context.Context) {
	e.options.yield()
	tick := time.NewTicker(e.options.SyncEvery)
	defer tick.Stop()
	var cleaned time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := e.options.Now()
		e.mu.Lock()
		old := e.tail.rows.Len() > 0 && now.Sub(e.tail.since) >= e.options.TailAge
		e.mu.Unlock()
		if old {
			if err := e.Flush(); err != nil {
				e.fail(0, err)
			}
		}
		if e.isFull() {
			// Merging needs room, too.
		} else if err := e.merge(ctx); disk.IsFull(err) {
			e.setFull()
		} else if err != nil && ctx.Err() == nil {
			e.options.Warn(fmt.Sprintf("merging small segments: %v", err))
		}
		if now.Sub(cleaned) >= cleanEvery {
			cleaned = now
			if err := e.expire(); err != nil {
				e.options.Warn(fmt.Sprintf("deleting old exchanges: %v", err))
			}
		}
	}
}

// cleanEvery is how often retention is applied.
const cleanEvery = 10 * time.Second

func (e *Engine) isFull() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.noRoom
}

// setFull says that there is no room, until room looks again.
func (e *Engine) setFull() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noRoom = true
}

// room looks whether there is room on the disk.
func (e *Engine) room() {
	free, err := e.options.FS.Free(e.dir)
	e.mu.Lock()
	defer e.mu.Unlock()
	// What isn't in a segment is to be written once more.
	waiting := e.tail.rows.Bytes()
	if e.sealed != nil {
		waiting += e.sealed.rows.Bytes()
	}
	e.noRoom = err == nil && free < e.options.Reserve+waiting/4
}

func (e *Engine) retention(now time.Time) (r store.Retention) {
	if e.options.MaxAge > 0 {
		r.Before = now.Add(-e.options.MaxAge).UnixNano()
	}
	r.MaxBytes = e.options.MaxBytes
	return r
}
