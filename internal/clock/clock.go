// Package clock holds capture time: the marks that say when and where a byte was seen, and the
// clock that packets drive. Nothing here reads the machine's clock.
package clock

import "time"

// Tick is the interval of capture time between two clock ticks.
const Tick = 100 * time.Millisecond

// MaxJump is the largest step of capture time that is believed. A larger one is an anomaly that
// expires nothing: two files of different days read one after the other must not time out the
// connections of the first.
const MaxJump = time.Hour

// Mark says when and where a byte was seen.
type Mark struct {
	// Time is the arrival of the packet, in nanoseconds since 1970 UTC.
	Time int64
	// Packet is the number of the packet in its file, from 1, as Wireshark counts.
	Packet uint64
	// Offset is the position of the byte in its half-stream, from 0.
	Offset int64
	// Peer is how many bytes of the opposite half-stream the sender had acknowledged when it sent
	// this byte: what it can have been an answer to. It is -1 when the packet acknowledged nothing.
	Peer int64
	// Tap is the index of the tap that saw the packet.
	Tap uint32
}

// After marks the byte that comes n bytes after that of m, in the same segment.
func (m Mark) After(n int) Mark {
	m.Offset += int64(n)
	return m
}

// Clock follows capture time. Its time is the largest seen, so no duration is negative, and its
// elapsed time leaves out jumps of more than MaxJump, so that timers survive them.
//
// The zero value is ready. A Clock isn't safe for concurrent use: the packet source owns it and
// sends its ticks to the shards.
type Clock struct {
	now     int64
	elapsed int64
	next    int64
	started bool

	// Jumps counts steps of more than MaxJump, forward or backward, and those by which a live clock was set back.
	Jumps uint64
	// Live: the time is the machine's, so it can be set back for good. Then it is followed, and the timers go on.
	Live bool
}

// maxBack is how far the times of a live capture go back without its clock having been set: packets of several
// processors and interfaces come a little out of order.
const maxBack = time.Second

// Now returns the largest time seen, in nanoseconds since 1970 UTC; of a live clock, since it was set back last.
func (c *Clock) Now() int64 { return c.now }

// Elapsed returns the nanoseconds of capture time that have passed since the first packet, without
// jumps. Timers run on it.
func (c *Clock) Elapsed() int64 { return c.elapsed }

// Advance tells the clock the time of the next packet and reports whether a tick is due.
func (c *Clock) Advance(t int64) (tick bool) {
	if !c.started {
		c.started, c.now, c.next = true, t, int64(Tick)
		return false
	}
	step := t - c.now
	switch {
	case c.Live && step < -int64(maxBack):
		c.Jumps++
		c.now = t
		return false
	case step > int64(MaxJump):
		c.Jumps++
		c.now = t
		return false
	case step < -int64(MaxJump):
		c.Jumps++
		return false
	case step <= 0:
		return false
	}
	c.now = t
	c.elapsed += step
	if c.elapsed < c.next {
		return false
	}
	c.next = c.elapsed - c.elapsed%int64(Tick) + int64(Tick)
	return true
}
