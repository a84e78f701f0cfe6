//go:build !linux

package main

import "runtime/debug"

// peakKnown: the system tells how much memory a process had.
const peakKnown = false

func resetPeak() int64 {
	debug.FreeOSMemory()
	return 0
}

func peakMemory() int64 { return 0 }

// forget does nothing: what is cold elsewhere is only the process.
func forget(string) error { return nil }
