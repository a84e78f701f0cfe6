package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// DefaultMemory is how many bytes of frames a queue in memory keeps, unless it is told otherwise.
const DefaultMemory = 32 << 20

var (
	// ErrQueueFull says that chunks that are being delivered leave no room for a frame.
	ErrQueueFull = NoRoom("the queue in memory is full of what is being delivered: raise its limit, or give it a spool")
	// ErrQueueClosed is returned after Close, and by Append after CloseAppend.
	ErrQueueClosed = errors.New("the queue is closed")
)

// frameCost is what a frame takes beside its bytes, at least: many small ones are bounded too.
const frameCost = 64

// Memory returns a Queue that keeps frames in memory, of limit bytes at most; 0 is DefaultMemory. What isn't delivered when
// the process ends is lost. Close counts it as dropped.
func Memory(limit int64) Queue {
	if limit <= 0 {
		limit = DefaultMemory
	}
	return &memory{stats: QueueStats{Limit: limit}, claims: map[*taken]struct{}{}}
}

type memory struct {
	mu     sync.Mutex
	frames []kept // those that weren't taken, the oldest first
	claims map[*taken]struct{}
	held   int64         // bytes of what was taken and isn't done
	wake   chan struct{} // is closed when there may be something for Next; nil: nobody waits
	stats  QueueStats
	ended  bool
	closed bool
}

type kept struct {
	b      []byte
	events int
}

func (k *kept) cost() int64 { return int64(len(k.b)) + frameCost }

// taken is what a chunk has: its Token.
type taken struct{ events, cost int64 }

// Append implements Queue. After an error the frame isn't in the queue, and counts nowhere.
func (m *memory) Append(frame []byte, events int) error {
	if len(frame) == 0 || events < 1 {
		return fmt.Errorf("queueing %d events in %d bytes: a frame has at least one event", events, len(frame))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return ErrQueueClosed
	}
	k := kept{append([]byte(nil), frame...), events}
	if m.held+k.cost() > m.stats.Limit {
		return fmt.Errorf("queueing %d bytes: %w", len(frame), ErrQueueFull)
	}
	for m.stats.Bytes+k.cost() > m.stats.Limit {
		m.drop()
	}
	m.frames = append(m.frames, k)
	m.stats.Bytes += k.cost()
	m.stats.Waiting += int64(events)
	if m.wake != nil {
		close(m.wake)
		m.wake = nil
	}
	return nil
}

// drop forgets the oldest frame.
func (m *memory) drop() {
	k := m.first()
	m.forget(int64(k.events), k.cost())
	m.stats.Dropped += int64(k.events)
}

// first takes the oldest frame off the list.
func (m *memory) first() kept {
	k := m.frames[0]
	m.frames[0] = kept{}
	m.frames = m.frames[1:]
	return k
}

func (m *memory) forget(events, cost int64) {
	m.stats.Waiting -= events
	m.stats.Bytes -= cost
}

// Next implements Queue.
func (m *memory) Next(ctx context.Context, maxBytes int) (*Chunk, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.frames) == 0 {
		switch {
		case m.closed:
			return nil, ErrQueueClosed
		case m.ended:
			return nil, io.EOF
		}
		if m.wake == nil {
			m.wake = make(chan struct{})
		}
		wake := m.wake
		m.mu.Unlock()
		var err error
		select {
		case <-wake:
		case <-ctx.Done():
			err = ctx.Err()
		}
		m.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	t := &taken{}
	c := &Chunk{Token: t}
	for len(m.frames) > 0 && (len(c.Frames) == 0 || len(m.frames[0].b) <= maxBytes) {
		k := m.first()
		maxBytes -= len(k.b)
		c.Frames = append(c.Frames, k.b)
		c.Events += k.events
		t.events += int64(k.events)
		t.cost += k.cost()
	}
	m.claims[t] = struct{}{}
	m.held += t.cost
	return c, nil
}

// Done implements Queue.
func (m *memory) Done(c *Chunk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := c.Token.(*taken)
	if !ok {
		return
	}
	if _, ok := m.claims[t]; ok {
		delete(m.claims, t)
		m.held -= t.cost
		m.forget(t.events, t.cost)
	}
}

// CloseAppend implements Queue.
func (m *memory) CloseAppend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end()
}

func (m *memory) end() {
	m.ended = true
	if m.wake != nil {
		close(m.wake)
		m.wake = nil
	}
}

// Stats implements Queue.
func (m *memory) Stats() QueueStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stats
}

// Close implements Queue.
func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrQueueClosed
	}
	m.stats.Dropped += m.stats.Waiting
	m.stats.Waiting, m.stats.Bytes = 0, 0
	m.frames, m.claims = nil, nil
	m.closed = true
	m.end()
	return nil
}
