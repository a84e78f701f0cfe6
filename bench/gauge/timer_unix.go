//go:build unix

// Package gauge is what measurements share: what a process takes, and how tables are printed.
package gauge

import (
	"syscall"
	"time"
)

// Timer measures what this process takes.
type Timer struct {
	began time.Time
	used  time.Duration
}

// NewTimer begins to measure.
func NewTimer() Timer { return Timer{time.Now(), cpuTime()} }

// Wall returns the seconds on the clock since the timer was made.
func (t Timer) Wall() float64 { return time.Since(t.began).Seconds() }

// CPU returns the seconds of all cores together, in user and system.
func (t Timer) CPU() float64 { return (cpuTime() - t.used).Seconds() }

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
