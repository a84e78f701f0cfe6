package clock

import (
	"testing"
	"time"
)

func TestTicksEveryInterval(t *testing.T) {
	var c Clock
	base := int64(1_700_000_000_000_000_000)
	ticks := 0
	for i := range int64(1001) {
		if c.Advance(base + i*int64(time.Millisecond)) {
			ticks++
		}
	}
	if ticks != 10 {
		t.Errorf("ticks in a second = %d, want 10", ticks)
	}
	if c.Elapsed() != int64(time.Second) {
		t.Errorf("elapsed = %v, want 1s", time.Duration(c.Elapsed()))
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	var c Clock
	c.Advance(2000)
	c.Advance(1000)
	if c.Now() != 2000 || c.Elapsed() != 0 || c.Jumps != 0 {
		t.Errorf("now %d elapsed %d jumps %d, want 2000 0 0", c.Now(), c.Elapsed(), c.Jumps)
	}
}

func TestJumpExpiresNothing(t *testing.T) {
	var c Clock
	c.Advance(0)
	c.Advance(int64(24 * time.Hour))
	if c.Elapsed() != 0 || c.Jumps != 1 {
		t.Errorf("forward jump: elapsed %d jumps %d, want 0 1", c.Elapsed(), c.Jumps)
	}
	c.Advance(int64(24*time.Hour + time.Second))
	if c.Elapsed() != int64(time.Second) {
		t.Errorf("elapsed = %d, want 1s", c.Elapsed())
	}
	c.Advance(int64(time.Hour))
	if c.Jumps != 2 || c.Now() != int64(24*time.Hour+time.Second) {
		t.Errorf("backward jump: now %d jumps %d", c.Now(), c.Jumps)
	}
}

// A live clock that was set back goes on from there, and so do timers.
func TestLiveClockIsSetBack(t *testing.T) {
	c := Clock{Live: true}
	base := int64(1_700_000_000_000_000_000)
	c.Advance(base)
	c.Advance(base - int64(maxBack)) // out of order
	if c.Now() != base || c.Jumps != 0 {
		t.Errorf("now %d, %d jumps after a packet out of order", c.Now(), c.Jumps)
	}
	ticks := 0
	for i := range int64(100) {
		if c.Advance(base - int64(30*time.Minute) + i*int64(10*time.Millisecond)) {
			ticks++
		}
	}
	if ticks != 9 || c.Jumps != 1 {
		t.Errorf("%d ticks in the second after, %d jumps; want 9 and 1", ticks, c.Jumps)
	}
}
