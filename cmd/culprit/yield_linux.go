package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// yielding is the nice value of work that the capture goes before.
const yielding = 10

// yield makes the calling goroutine's work yield to all else, the capture first: it keeps its thread, which takes what
// others leave of the processors. The thread ends with the goroutine.
func yield() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, yielding) // without it, the work is done all the same
}
