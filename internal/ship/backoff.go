package ship

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// The pauses between attempts: they double from firstPause to longestPause, and each is cut to a random part of itself,
// so that many agents don't come back at the same moment. A receiver's own wish is followed up to longestWish.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 30 * time.Second
	longestWish  = 5 * time.Minute
)

// pause returns how long to wait before the next attempt, after as many that failed one after the other.
func pause(failed int, err error) time.Duration {
	var later *LaterError
	if errors.As(err, &later) && later.After > 0 {
		return jitter(min(later.After, longestWish)) + min(later.After, longestWish)
	}
	whole := longestPause
	if failed < 16 {
		whole = min(firstPause<<max(failed-1, 0), longestPause)
	}
	return whole/2 + jitter(whole)
}

// jitter returns a random part of a half.
func jitter(d time.Duration) time.Duration { return rand.N(d/2 + 1) }

// sleep waits, but not beyond ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
