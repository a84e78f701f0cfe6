package query

import (
	"fmt"
	"sync"

	"github.com/culprit-http/culprit/internal/store"
)

// memory is the budget of a question. What open chunks take is waited for; what is held for good, groups and the
// like, is not.
type memory struct {
	mu         sync.Mutex
	freed      sync.Cond
	limit      int64 // 0: none
	held, open int64
	chunks     int // that are open
	closed     bool
}

func (m *memory) init(limit int64) {
	m.limit = limit
	m.freed.L = &m.mu
}

// wait takes n bytes for a chunk, when there is room for them or no other chunk is open. What can't fit even then
// is an error.
func (m *memory) wait(n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.closed && m.limit > 0 && m.held+m.open+n > m.limit && m.chunks > 0 {
		m.freed.Wait()
	}
	if m.limit > 0 && m.held+m.open+n > m.limit && !m.closed {
		return fmt.Errorf("%w: a block of the store and %s of groups take %s of memory, and %s are allowed; "+
			"ask for fewer fields or groups, or for less time, or allow more",
			store.ErrLimit, size(m.held), size(m.held+n), size(m.limit))
	}
	m.open += n
	m.chunks++
	return nil
}

// release gives back what wait took.
func (m *memory) release(n int64) {
	m.mu.Lock()
	m.open -= n
	m.chunks--
	m.mu.Unlock()
	m.freed.Broadcast()
}

// hold takes n bytes for good.
func (m *memory) hold(n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held += n
	if m.limit > 0 && m.held > m.limit {
		return fmt.Errorf("%w: its groups take more than the %s of memory that are allowed; "+
			"ask for fewer groups, longer intervals or less time, or allow more", store.ErrLimit, size(m.limit))
	}
	return nil
}

// close ends all waiting.
func (m *memory) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.freed.Broadcast()
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 10e3:
		return fmt.Sprintf("%d bytes", n)
	case n < 10e6:
		return fmt.Sprintf("%d KB", n/1e3)
	}
	return fmt.Sprintf("%d MB", n/1e6)
}
