// Package query answers the questions of a store over chunks of columns, whatever holds them: it evaluates filters
// a column at a time, rules out chunks by their statistics, and keeps to its limits of time and memory.
package query

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// Limits bound what one question takes.
type Limits struct {
	// Workers is how many chunks are looked at in parallel; below 1: one.
	Workers int
	// Memory is how many bytes the columns that are read and the groups may take together, and Timeout how long
	// it may take, without the time in the caller's found; 0: no bound. What a Scope says of them goes first. What
	// is cut gives an error that is store.ErrLimit.
	Memory  int64
	Timeout time.Duration
	// Begin is called by each goroutine that looks at chunks, before it does; nil: nothing is.
	Begin func()
	// Now tells the time, for Timeout and Cost.Elapsed.
	Now func() time.Time
}

// run is one question under way.
type run struct {
	ctx    context.Context
	limits Limits
	begin  time.Time
	memory memory
	// outside is how many nanoseconds the caller took.
	outside atomic.Int64

	stored                atomic.Int64
	rows, skipped, amount atomic.Int64

	failure sync.Once
	failed  atomic.Bool
	err     error
}

func newRun(ctx context.Context, parts []vector.Part, s *store.Scope, l Limits) *run {
	if s.Timeout > 0 {
		l.Timeout = s.Timeout
	}
	if s.Memory > 0 {
		l.Memory = s.Memory
	}
	r := &run{ctx: ctx, limits: l, begin: l.Now()}
	r.memory.init(l.Memory)
	for _, p := range parts {
		r.stored.Add(int64(p.Rows()))
	}
	return r
}

// fail ends the question. The first error counts.
func (r *run) fail(err error) {
	r.failure.Do(func() {
		r.err = err
		r.failed.Store(true)
		r.memory.close()
	})
}

// check returns an error when the question shall end.
func (r *run) check() error {
	if r.failed.Load() {
		return r.err
	}
	if err := r.ctx.Err(); err != nil {
		return context.Cause(r.ctx)
	}
	if r.limits.Timeout > 0 && r.elapsed()-time.Duration(r.outside.Load()) >= r.limits.Timeout {
		return fmt.Errorf("%w: it took longer than %v, and %d of %d exchanges had been looked at; ask for less time, or allow more",
			store.ErrLimit, r.limits.Timeout, r.rows.Load()+r.skipped.Load(), r.stored.Load())
	}
	return nil
}

func (r *run) elapsed() time.Duration { return r.limits.Now().Sub(r.begin) }

// call calls the caller's function, whose time doesn't count.
func (r *run) call(f func() error) error {
	begin := r.limits.Now()
	err := f()
	r.outside.Add(int64(r.limits.Now().Sub(begin)))
	return err
}

func (r *run) cost() store.Cost {
	return store.Cost{
		Rows: r.rows.Load(), Skipped: r.skipped.Load(), Stored: r.stored.Load(), Bytes: r.amount.Load(), Elapsed: r.elapsed(),
	}
}

// worker looks at one chunk after the other.
type worker interface {
	// wanted reports whether a part is to be opened, as far as can be said without.
	wanted(p vector.Part) bool
	// judge says whether an open chunk can be ruled out, and else which columns will be read.
	judge(c vector.Chunk) (v verdict, columns []int)
	// look looks at the chunk of part number n. What it keeps of it, it holds in the budget.
	look(n int, c vector.Chunk) error
}

// each has the parts looked at by workers in parallel, which make makes: begun in the order of the parts.
func (r *run) each(parts []vector.Part, make func(e *evaluator) worker) error {
	var next atomic.Int64
	work := func() {
		if r.limits.Begin != nil {
			r.limits.Begin()
		}
		w := make(&evaluator{check: r.check})
		for {
			n := int(next.Add(1)) - 1
			if n >= len(parts) {
				return
			}
			err := r.check()
			if err == nil {
				err = r.part(w, n, parts[n])
			}
			if err != nil {
				r.fail(err)
				return
			}
		}
	}
	var others sync.WaitGroup
	here := r.limits.Begin == nil // whatever Begin does to a goroutine, it isn't the caller's
	workers := min(max(r.limits.Workers, 1), len(parts))
	if here {
		workers--
	}
	for range workers {
		others.Go(work)
	}
	if here {
		work()
	}
	others.Wait()
	return r.err
}

// part has one part looked at.
func (r *run) part(w worker, n int, p vector.Part) error {
	if !w.wanted(p) {
		r.skipped.Add(int64(p.Rows()))
		return nil
	}
	c, err := p.Open()
	if err != nil {
		return fmt.Errorf("opening a part of the store: %w", err)
	}
	defer r.release(c)
	v, columns := w.judge(c)
	if v == none {
		r.skipped.Add(int64(c.Len()))
		return nil
	}
	cost := c.Cost(columns) + int64(c.Len())*rowCost
	if err := r.memory.wait(cost); err != nil {
		return err
	}
	defer r.memory.release(cost)
	if err := r.check(); err != nil { // it may have waited for long
		return err
	}
	if err := w.look(n, c); err != nil {
		return err
	}
	r.rows.Add(int64(c.Len()))
	return nil
}

// rowCost is about how many bytes a row takes in the buffers of a worker, besides its columns.
const rowCost = 32

// release lets go of a chunk.
func (r *run) release(c vector.Chunk) {
	// Chunks of files tell what they read.
	if read, ok := c.(interface{ BytesRead() int64 }); ok {
		r.amount.Add(read.BytesRead())
	}
	c.Release()
}

// overlaps reports whether a part may have exchanges that a scope selects.
func overlaps(p vector.Part, s *store.Scope) bool {
	first, last := p.Times()
	lo, hi := bounds(s)
	return lo <= last && first <= hi
}
