// Package ptrace runs programs under observation: it tells of the system calls that they make, of the programs and threads that they
// start, and of their ends, without any privilege.
//
// # Theory of operation
//
// A program is started by a launcher, which is this program again. It waits until it is traced, then forbids itself to gain
// privileges, installs a filter of seccomp that stops it at the system calls of interest, and becomes the program that was asked for.
// The filter and the tracing are inherited by all that the program starts. A call that isn't of interest costs what the filter takes;
// one that is stops the thread twice, before and after it.
//
//	launcher --SEIZE--> filter, exec --> running --(call)--> Enter --(the kernel does it)--> Exit --> running
//	                                        |--(fork, clone)--> another Thread, of the same Process or a new one
//	                                        |--(signal)--> the signal is passed on
//	                                        `--(stop)--> listening, until it is continued
//
// The kernel ties a tracer to one thread of its process. So does Run: it locks the goroutine that calls it to its thread, and all calls of the
// Handler come from there.
//
// When the tracer dies the kernel kills what it has started (PTRACE_O_EXITKILL), since calls that the filter stops would fail without one. What it
// has attached to goes on.
package ptrace

import "time"

// Process is a program that is being run, with all its threads.
type Process struct {
	// ID is its number. Parent is who started it, nil of the first and of those that were attached to.
	ID     int
	Parent *Process
	// Value is the handler's to use.
	Value any

	threads int
	// breakpoints are those that are set in it, by their address.
	breakpoints map[uint64]*breakpoint
}

// Thread is a thread of a Process.
type Thread struct {
	ID      int
	Process *Process

	state  threadState
	call   Call
	wanted bool
	// stepping is the address of the breakpoint that it steps over, 0: of none.
	stepping uint64
}

// Call is a system call.
type Call struct {
	// Number is that of the architecture, Args are the arguments as they are in its registers.
	Number uint64
	Args   [6]uint64
	// Began is when it was about to be made, and Ended when it was over.
	Began, Ended time.Time
	// Result is what it returned, Errno its error if it failed; 0: it didn't. Both are known in Exit.
	Result int64
	Errno  int
}

// Handler is told what happens. All calls come from the goroutine that called Run, while the thread in question is stopped: what a handler
// does, the program waits for. Pointers to calls are valid until return; processes and threads until their end was told.
type Handler interface {
	// Start tells of a new process: by fork it has what its parent had, open files among them. The first, and those attached to, have no
	// parent.
	Start(p *Process)
	// Exec says that a process runs another program from now on. All its other threads are gone.
	Exec(p *Process)
	// Enter says that a call is about to be made, and reports whether Exit is wanted.
	Enter(t *Thread, c *Call) (exit bool)
	// Exit says how a call ended.
	Exit(t *Thread, c *Call)
	// Signal says that a signal is delivered to a thread.
	Signal(t *Thread, signal int)
	// End says that a process is over: with an exit status, or, if signal isn't 0, killed by one.
	End(p *Process, status, signal int)
}

type threadState uint8

const (
	// starting: the thread is known from its parent, or by its first stop, but not from both.
	starting threadState = iota
	running
	// inCall: it stops after the call.
	inCall
)
