package ship

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats are the counters of an output. At all times
//
//	Exchanges + Rollups + Queue.Recovered = Delivered + Rejected + Lost + Queue.Dropped + Queue.Damaged + Waiting
//
// where Waiting is what is in memory, in the queue, or on its way.
type Stats struct {
	// Name is that of the output.
	Name string
	// Exchanges and Rollups were given to the output.
	Exchanges, Rollups uint64
	// Delivered events were acknowledged, or, where the receiver doesn't acknowledge, given to the system to send. Known
	// ones among them the receiver had already.
	Delivered, Known uint64
	// Rejected events were refused for good, and set aside.
	Rejected uint64
	// Lost events were never queued: there was no room, or the queue failed. Loss is the reason of the last ones.
	Lost uint64
	Loss string
	// Waiting events are yet to be delivered.
	Waiting uint64
	// Sent is how many batches were tried, Failed how many of them failed, Bytes the size of the bodies that were
	// delivered.
	Sent, Failed, Bytes uint64
	Queue               QueueStats
	// Problem says why nothing is delivered at the moment, for people, since Since; empty: nothing is wrong with the
	// receiver. What is wrong with the queue, Queue says.
	Problem string
	Since   time.Time
}

// counters are what Stats are made of.
type counters struct {
	exchanges, rollups, delivered, known, rejected, lost, sent, failed, bytes atomic.Uint64

	mu      sync.Mutex
	problem string
	since   time.Time
	said    bool
	told    reminder
}

// fail notes a problem, and reports whether it is to be told: it lasts, and wasn't told.
func (c *counters) fail(problem string, lasts bool) (tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.problem == "" {
		c.since = time.Now()
	}
	c.problem = problem
	tell = lasts && !c.said && c.told.due()
	c.said = c.said || tell
	return tell
}

// recover notes that it is over, and returns how long it took, if it was told; else 0.
func (c *counters) recover() (took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said {
		took = max(time.Since(c.since), 1)
	}
	c.problem, c.said = "", false
	return took
}
