package pipeline_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// waiter decides on exchanges a time after they were completed, and marks them.
type waiter struct {
	delay     int64
	queue     []*exchange.Exchange
	added     int
	abandoned int
}

func (w *waiter) Add(x *exchange.Exchange) {
	w.queue = append(w.queue, x)
	w.added++
}

func (w *waiter) Decided(now int64) (n int) {
	for n < len(w.queue) && (now == math.MaxInt64 || w.queue[n].Completed.Time+w.delay <= now) {
		w.queue[n].Hop.Method = exchange.Root
		n++
	}
	w.queue = slices.Delete(w.queue, 0, n)
	return n
}

func (w *waiter) Abandon(n int) {
	w.queue = slices.Delete(w.queue, 0, n)
	w.abandoned += n
}

// TestLinker: what a linker waits for is delivered whole, once, in the same order, with any number of workers.
func TestLinker(t *testing.T) {
	s := &script{}
	const n = 2000
	for i := range n {
		c := host{byte(1 + i>>8), uint16(20000 + i)}
		s.connect(c, web)
		s.tcp(c, web, 2, 2, flagACK, get)
		s.wait(5 * time.Millisecond)
		s.tcp(web, c, 2, uint32(2+len(get)), flagACK, answer)
	}
	plain, _ := become(t, config(), s.records)
	for _, workers := range []int{1, 2, 5} {
		w := &waiter{delay: int64(time.Second)}
		c := config()
		c.Workers, c.Linker = workers, w
		got, stats := become(t, c, s.records)
		if got != plain {
			t.Errorf("%d workers: another order", workers)
		}
		if w.added != n || w.abandoned != 0 || len(w.queue) != 0 || stats.Unlinked != 0 {
			t.Errorf("%d workers: %d added, %d abandoned, %d left, %d not linked", workers, w.added, w.abandoned, len(w.queue), stats.Unlinked)
		}
	}
	w := &waiter{delay: math.MaxInt64 / 4}
	c := config()
	c.Linker = w
	if got, stats := become(t, c, s.records); got != plain || stats.Unlinked != 0 {
		t.Errorf("at the end of the capture all must be decided: %d weren't", stats.Unlinked)
	}
}

// stubborn decides nothing.
type stubborn struct{ waiter }

func (s *stubborn) Decided(int64) int { return 0 }

// TestLinkerAbandons: what a linker never decides is delivered nevertheless, and counted.
func TestLinkerAbandons(t *testing.T) {
	s := &script{}
	c := host{1, 20000}
	s.connect(c, web)
	seq, ack := uint32(2), uint32(2)
	const n = 70_000
	for range n {
		s.tcp(c, web, seq, ack, flagACK, get)
		seq += uint32(len(get))
		s.tcp(web, c, ack, seq, flagACK, answer)
		ack += uint32(len(answer))
	}
	linker := &stubborn{}
	with := config()
	with.Linker = linker
	got, stats := become(t, with, s.records)
	plain, _ := become(t, config(), s.records)
	if got != plain || stats.Unlinked != n || linker.abandoned != n {
		t.Errorf("%d not linked, %d abandoned, want %d", stats.Unlinked, linker.abandoned, n)
	}
}

var _ pipeline.Linker = (*stubborn)(nil)
