//go:build !linux

package gauge

import "runtime/debug"

// PeakKnown: the system tells how much memory a process had.
const PeakKnown = false

// ResetPeak gives what isn't used back to the system.
func ResetPeak() int64 {
	debug.FreeOSMemory()
	return 0
}

// PeakMemory isn't known.
func PeakMemory() int64 { return 0 }

// Forget does nothing: what is cold elsewhere is only the process.
func Forget(string) error { return nil }
