//go:build unix

package main

import (
	"syscall"
	"time"
)

// timer measures what this process takes.
type timer struct {
	began time.Time
	used  time.Duration
}

func newTimer() timer { return timer{time.Now(), cpuTime()} }

// wall and cpu return the seconds since the timer was made: on the clock, and of all cores together, in user and system.
func (t timer) wall() float64 { return time.Since(t.began).Seconds() }
func (t timer) cpu() float64  { return (cpuTime() - t.used).Seconds() }

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
