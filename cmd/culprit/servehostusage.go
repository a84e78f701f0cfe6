package main

import (
	"time"

	"github.com/culprit-http/culprit/internal/host"
)

const (
	// answerWithin is how long a sample waits for what processes use: it is done before the next one.
	answerWithin = host.Every * 9 / 10
	// useWithin is how late an answer still counts, for a later sample.
	useWithin = 3 * time.Second
)

// usageCalls ask what processes use, one question at a time, so that a process which doesn't answer delays no sample. Its methods
// are called from one goroutine.
type usageCalls struct {
	ask   func(pids []int32) ([]host.Stat, error)
	ended <-chan struct{} // closed when nobody waits any more

	answer chan usageAnswer // of the question that isn't answered yet; nil: there is none
	asked  time.Time        // when it was asked
}

// usageAnswer is an answer.
type usageAnswer struct {
	stats []host.Stat
	err   error
}

// of asks, or goes on waiting for the answer to the last question. It returns host.ErrLate when that doesn't come.
func (c *usageCalls) of(pids []int32) ([]host.Stat, error) {
	patience := time.NewTimer(answerWithin)
	defer patience.Stop()
	for {
		if c.answer == nil {
			answer := make(chan usageAnswer, 1) // whoever answers late is in nobody's way
			c.answer, c.asked = answer, time.Now()
			go func() {
				stats, err := c.ask(pids)
				answer <- usageAnswer{stats, err}
			}()
		}
		select {
		case u := <-c.answer:
			old := c.hangs()
			c.answer = nil
			if u.err == nil && old {
				continue
			}
			return u.stats, u.err
		case <-patience.C:
		case <-c.ended:
		}
		return nil, host.ErrLate
	}
}

// hangs reports whether an answer is so late that it won't count.
func (c *usageCalls) hangs() bool { return c.answer != nil && time.Since(c.asked) > useWithin }
