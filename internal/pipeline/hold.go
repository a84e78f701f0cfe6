package pipeline

import (
	"math"

	"github.com/culprit-http/culprit/internal/exchange"
)

// Linker finds out what exchanges have to do with each other before they are delivered, and says so on them. Its calls come from
// the goroutine of the receiver's.
type Linker interface {
	// Add takes an exchange, in the order of delivery. The linker may keep and change it until it is delivered.
	Add(x *exchange.Exchange)
	// Decided returns how many of those that weren't delivered yet, the oldest first, it has decided by the time of the capture, in
	// nanoseconds since 1970. It no longer touches them.
	Decided(now int64) int
	// Abandon says that the oldest n are delivered as they are, since more wait than may.
	Abandon(n int)
}

// What may wait for a linker: exchanges, and bytes that they take, estimated.
const (
	maxHeld      = 1 << 16
	maxHeldBytes = 128 << 20
)

// hold keeps exchanges until they are decided, in the order of delivery.
type hold struct {
	linker Linker // nil: nothing waits
	queue  []*exchange.Exchange
	sizes  []int
	bytes  int
	// abandoned counts those that were delivered undecided.
	abandoned uint64
}

// pass takes what is finished, and returns what is to be delivered now; all of it when the capture has ended.
func (h *hold) pass(done []*exchange.Exchange, now int64, ended bool) []*exchange.Exchange {
	if h.linker == nil {
		return done
	}
	for _, x := range done {
		h.linker.Add(x)
		size := x.Size()
		h.queue, h.sizes = append(h.queue, x), append(h.sizes, size)
		h.bytes += size
	}
	if ended {
		now = math.MaxInt64
	}
	n := h.linker.Decided(now)
	left, over := h.bytes, 0
	for i, size := range h.sizes {
		if i >= n {
			if len(h.queue)-i <= maxHeld && left <= maxHeldBytes && !ended {
				break
			}
			over++
		}
		left -= size
	}
	if over > 0 {
		h.linker.Abandon(over)
		h.abandoned += uint64(over)
		n += over
	}
	ready := append([]*exchange.Exchange(nil), h.queue[:n]...)
	h.queue = append(h.queue[:0], h.queue[n:]...)
	clear(h.queue[len(h.queue) : len(h.queue)+n])
	h.sizes = append(h.sizes[:0], h.sizes[n:]...)
	h.bytes = left
	return ready
}
