package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/record"
)

// gated is a store each of whose appends waits until it is let through.
type gated struct {
	gate     chan struct{}
	appended chan int
	fail     error
}

func newGated() *gated { return &gated{gate: make(chan struct{}), appended: make(chan int, 1000)} }

func (g *gated) Append(b *record.Batch) (int, error) {
	<-g.gate
	g.appended <- b.Len()
	if g.fail != nil {
		return 0, g.fail
	}
	return b.Len() - 1, nil // one of each was stored before
}

// never is a tick that doesn't come.
func never() <-chan time.Time { return make(chan time.Time) }

func someExchange() *exchange.Exchange {
	return outputtest.Exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}

// reconcile wants that all that was added is accounted for.
func reconcile(t *testing.T, i *intake) {
	t.Helper()
	sum := i.stored.Load() + i.known.Load() + i.failed.Load() + i.dropped.Load()
	if i.added.Load() != sum || i.waiting() != 0 {
		t.Errorf("%d were added, %d are accounted for, %d wait", i.added.Load(), sum, i.waiting())
	}
}

// A live capture never waits: what finds no room is left out, counted, and told once.
func TestIntakeLeavesOutWhatFindsNoRoom(t *testing.T) {
	g := newGated()
	warnings := 0
	i := newIntake(g, false, func(string, ...any) { warnings++ }, never())
	x := someExchange()
	for i.dropped.Load() < 10 {
		if err := i.add(x); err != nil {
			t.Fatal(err)
		}
		if i.added.Load() > (storeQueue+3)*batchRows {
			t.Fatalf("%d were taken, and none left out", i.added.Load())
		}
	}
	if warnings != 1 {
		t.Errorf("%d warnings", warnings)
	}
	if n := i.bytes.Load(); n > storeQueueBytes+2*batchBytes {
		t.Errorf("%d bytes wait", n)
	}
	close(g.gate)
	i.close()
	reconcile(t, i)
	if i.dropped.Load() != 10 || i.lost() != 10 || i.known.Load() == 0 {
		t.Errorf("dropped %d, lost %d, known %d", i.dropped.Load(), i.lost(), i.known.Load())
	}
}

// Files can wait: nothing is left out, however slow the store is.
func TestIntakeOfFilesWaits(t *testing.T) {
	g := newGated()
	i := newIntake(g, true, func(format string, args ...any) { t.Errorf(format, args...) }, never())
	x := someExchange()
	const n = (storeQueue + 5) * batchRows
	done := make(chan error, 1)
	go func() {
		var err error
		for range n {
			err = errors.Join(err, i.add(x))
		}
		done <- err
	}()
	g.gate <- struct{}{}
	<-g.appended
	select {
	case <-done:
		t.Fatal("more was taken than the queue has room for")
	default:
	}
	close(g.gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	i.close()
	reconcile(t, i)
	if i.added.Load() != n || i.lost() != 0 {
		t.Errorf("added %d, lost %d", i.added.Load(), i.lost())
	}
}

// Few exchanges don't wait for a full batch.
func TestIntakeStoresFewWithTime(t *testing.T) {
	g := newGated()
	close(g.gate)
	tick := make(chan time.Time)
	i := newIntake(g, false, nil, tick)
	tick <- time.Time{} // there is nothing
	x := someExchange()
	for range 3 {
		if err := i.add(x); err != nil {
			t.Fatal(err)
		}
	}
	if i.waiting() != 3 {
		t.Errorf("%d wait", i.waiting())
	}
	tick <- time.Time{}
	if n := <-g.appended; n != 3 {
		t.Errorf("%d were stored", n)
	}
	i.close()
	reconcile(t, i)
}

// When the store fails, an import ends with its error, and a capture goes on; both count.
func TestIntakeOfAFailingStore(t *testing.T) {
	for _, waits := range []bool{true, false} {
		t.Run(fmt.Sprint(waits), func(t *testing.T) {
			g := newGated()
			g.fail = store.ErrFull
			close(g.gate)
			tick := make(chan time.Time)
			i := newIntake(g, waits, func(string, ...any) {}, tick)
			x := someExchange()
			if err := i.add(x); err != nil {
				t.Fatal(err)
			}
			tick <- time.Time{}
			<-g.appended
			tick <- time.Time{} // the writer is through with it
			if err := i.add(x); waits != errors.Is(err, store.ErrFull) {
				t.Errorf("waits %v: got %v", waits, err)
			}
			i.close()
			reconcile(t, i)
			if waits && i.failed.Load() != 1 || !waits && i.failed.Load() != 2 {
				t.Errorf("waits %v: %d failed", waits, i.failed.Load())
			}
		})
	}
}

// Batches that were large are not kept for reuse: the queue's memory is bounded.
func TestIntakeAllocates(t *testing.T) {
	g := &counting{}
	i := newIntake(g, true, nil, never())
	defer i.close()
	x := someExchange()
	for range 3 * batchRows {
		_ = i.add(x)
	}
	if n := testing.AllocsPerRun(1000, func() { _ = i.add(x) }); n > 0 {
		t.Errorf("%v allocations an exchange", n)
	}
}

// counting is a store that takes everything at once.
type counting struct{ n atomic.Int64 }

func (c *counting) Append(b *record.Batch) (int, error) {
	c.n.Add(int64(b.Len()))
	return b.Len(), nil
}

// What was under way when an import was interrupted isn't stored: the file will tell how it ended.
func TestInterruptedImportLeavesOutWhatWasUnderWay(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		g := newGated()
		close(g.gate)
		s := &serving{config: &config.Serve{}, capturing: capturing{config: &config.Capture{}}, intake: newIntake(g, true, nil, never())}
		s.interrupted.Store(interrupted)
		whole, cut := someExchange(), someExchange()
		cut.Conn.Why = proto.CaptureEnded
		if err := s.Exchanges([]*exchange.Exchange{whole, cut}, nil); err != nil {
			t.Fatal(err)
		}
		s.intake.close()
		added, unfinished := uint64(2), uint64(0)
		if interrupted {
			added, unfinished = 1, 1
		}
		if s.intake.added.Load() != added || s.unfinished != unfinished {
			t.Errorf("interrupted %v: %d are stored, %d left out", interrupted, s.intake.added.Load(), s.unfinished)
		}
	}
}
