package ptrace

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// options are those of every thread that is traced. What is started dies with its tracer, what is attached to doesn't: it has no filter.
const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACEEXEC |
	unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK

// Tracer follows programs. Its methods may be called by the goroutine of Run alone, but for Signal.
type Tracer struct {
	handler Handler
	// wanted are the calls that are told of.
	wanted  map[uint64]bool
	threads map[int]*Thread
	// early are threads that have stopped before their parent told of them.
	early map[int]bool
	// filtered: a filter stops what is traced at the calls that are wanted; without one it stops at all calls.
	filtered bool
	// launching is the process of the launcher, until it has become the program.
	launching *Process
	// last is how the first process ended.
	first        *Process
	status, sign int
	// detaching: what is traced is to be let go, once the signal has come that says so; letting: it has.
	detaching atomic.Bool
	letting   bool
}

// New returns a tracer that tells of calls.
func New(calls []uint64, h Handler) *Tracer {
	t := &Tracer{handler: h, wanted: map[uint64]bool{}, threads: map[int]*Thread{}, early: map[int]bool{}}
	for _, n := range calls {
		t.wanted[n] = true
	}
	return t
}

// request makes a request of ptrace(2).
func request(what int, tid int, addr, data uintptr) error {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(what), uintptr(tid), addr, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// attach begins to trace all threads of a process.
func (t *Tracer) attach(pid int, options uintptr) (*Process, error) {
	p := &Process{ID: pid}
	for again := true; again; { // threads may be started meanwhile, by one that isn't traced yet
		again = false
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
		for _, e := range entries {
			tid, err := strconv.Atoi(e.Name())
			if err != nil || t.threads[tid] != nil {
				continue
			}
			switch err := request(unix.PTRACE_SEIZE, tid, 0, options); {
			case err == unix.ESRCH: // it has ended
				continue
			case err != nil && tid != pid && tracerOf(tid) == unix.Gettid(): // it was started by one that is traced
				continue
			case err != nil:
				return nil, refused(pid, err)
			}
			again = true
			t.threads[tid] = &Thread{ID: tid, Process: p, state: running}
			p.threads++
		}
	}
	if p.threads == 0 {
		return nil, fmt.Errorf("process %d: %w", pid, unix.ESRCH)
	}
	return p, nil
}

// refused says why a process can't be traced.
func refused(pid int, err error) error {
	if by := statusOf(tracerOf(pid), "Tgid:"); by > 0 {
		return fmt.Errorf("process %d is being traced by process %d (%s): a process can have one tracer", pid, by, nameOf(by))
	}
	if err == unix.EPERM {
		if scope, e := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); e == nil && strings.TrimSpace(string(scope)) != "0" {
			return fmt.Errorf("process %d can't be traced: %w (kernel.yama.ptrace_scope is %s: it takes CAP_SYS_PTRACE)", pid, err, strings.TrimSpace(string(scope)))
		}
		return fmt.Errorf("process %d can't be traced: %w: it is another user's, or may gain privileges", pid, err)
	}
	return fmt.Errorf("process %d can't be traced: %w", pid, err)
}

// tracerOf returns the thread that traces a thread, 0 when none does or that isn't known.
func tracerOf(tid int) int { return statusOf(tid, "TracerPid:") }

// statusOf returns a number of a thread's status, 0 when it isn't known.
func statusOf(tid int, key string) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(value))
			return n
		}
	}
	return 0
}

func nameOf(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(name))
}

// Attach begins to trace a process that is running, with all its threads, at all its calls: it has no filter. Run is to be called by the
// same goroutine, which has to be locked to its thread.
func (t *Tracer) Attach(pid int) error {
	p, err := t.attach(pid, options)
	if err != nil {
		return err
	}
	for _, th := range t.threads {
		if err := request(unix.PTRACE_INTERRUPT, th.ID, 0, 0); err != nil && err != unix.ESRCH {
			return refused(pid, err)
		}
	}
	t.first = p
	t.handler.Start(p)
	return nil
}

// Signal sends a signal to the first process. It may be called by any goroutine.
func (t *Tracer) Signal(pid int, signal unix.Signal) error { return unix.Kill(pid, signal) }

// Run follows what is traced until all of it has ended, and returns how the first process did: with an exit status, or, if signal isn't 0,
// killed by one. The goroutine must be locked to the thread that began the tracing.
func (t *Tracer) Run() (status, signal int, err error) {
	for len(t.threads)+len(t.early) > 0 {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD:
			return t.status, t.sign, nil
		case err != nil:
			return 0, 0, fmt.Errorf("waiting for what is traced: %w", err)
		}
		if err := t.stopped(tid, ws); err != nil && err != unix.ESRCH { // ESRCH: it was killed
			return 0, 0, fmt.Errorf("tracing thread %d: %w", tid, err)
		}
	}
	return t.status, t.sign, nil
}

// stopped deals with what a thread has come to.
func (t *Tracer) stopped(tid int, ws unix.WaitStatus) error {
	th := t.threads[tid]
	switch {
	case ws.Exited() || ws.Signaled():
		t.ended(tid, th, ws)
		return nil
	case !ws.Stopped():
		return nil
	case th == nil:
		t.early[tid] = true // it goes on once its parent has told of it
		return nil
	}
	signal := ws.StopSignal()
	switch event := int(ws) >> 16; event {
	case 0:
		if signal == unix.SIGTRAP|0x80 {
			return t.call(th)
		}
		return t.signalled(th, signal)
	case unix.PTRACE_EVENT_SECCOMP:
		return t.call(th)
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
		if err := t.begot(th, event); err != nil {
			return err
		}
		return t.resume(th, 0)
	case unix.PTRACE_EVENT_EXEC:
		return t.exec(th)
	case unix.PTRACE_EVENT_STOP:
		if signal != unix.SIGTRAP { // the whole process is stopped, and listens for what continues it
			return request(unix.PTRACE_LISTEN, th.ID, 0, 0)
		}
	}
	return t.resume(th, 0)
}

// signalled deals with a signal that a thread is about to get.
func (t *Tracer) signalled(th *Thread, signal unix.Signal) error {
	if signal == unix.SIGTRAP {
		if th.stepping != 0 {
			if err := t.stepped(th); err != nil {
				return err
			}
			return t.resume(th, 0)
		}
		if ours, err := t.broke(th); ours || err != nil {
			return err
		}
	}
	if signal == unix.SIGSTOP && !t.letting && t.detaching.Load() { // which Detach has sent
		t.letting = true
		for _, other := range t.threads {
			if other != th {
				_ = request(unix.PTRACE_INTERRUPT, other.ID, 0, 0) // or it has ended
			}
		}
		signal = 0
	}
	if t.launching == nil && signal != 0 {
		t.handler.Signal(th, int(signal))
	}
	return t.resume(th, signal)
}

// resume has a thread go on, with a signal unless that is 0.
func (t *Tracer) resume(th *Thread, signal unix.Signal) error {
	if t.letting {
		return t.letGo(th, signal)
	}
	how := unix.PTRACE_CONT
	if th.state == inCall || !t.filtered {
		how = unix.PTRACE_SYSCALL
	}
	return request(how, th.ID, 0, uintptr(signal))
}

// Detach ends the tracing of what was attached to; Run returns then. It may be called by any goroutine.
func (t *Tracer) Detach(pid int) {
	if !t.detaching.Swap(true) {
		// Any stop will do for Run to notice, and nobody can block this signal. It isn't delivered.
		_ = unix.Kill(pid, unix.SIGSTOP)
	}
}

// letGo ends the tracing of a thread that is stopped.
func (t *Tracer) letGo(th *Thread, signal unix.Signal) error {
	th.Process.clear()
	delete(t.threads, th.ID)
	return request(unix.PTRACE_DETACH, th.ID, 0, uintptr(signal))
}

// callInfo is struct ptrace_syscall_info (ptrace(2)): in entry and in a stop by the filter, data are the number and the arguments; at the
// exit, the result and whether it is an error.
type callInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	ip   uint64
	sp   uint64
	data [8]uint64
}

// The values of callInfo.op.
const (
	infoEntry   = 1
	infoExit    = 2
	infoSeccomp = 3
)

// call deals with a stop before or after a system call.
func (t *Tracer) call(th *Thread) error {
	var info callInfo
	if err := request(unix.PTRACE_GET_SYSCALL_INFO, th.ID, unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info))); err != nil {
		return err
	}
	switch info.op {
	case infoEntry, infoSeccomp:
		th.call = Call{Number: info.data[0], Began: time.Now()}
		copy(th.call.Args[:], info.data[1:7])
		th.wanted = t.launching == nil && info.arch == auditArch && t.wanted[th.call.Number] && t.handler.Enter(th, &th.call)
		th.state = running
		if th.wanted || !t.filtered {
			th.state = inCall
		}
	case infoExit:
		th.state = running
		if !th.wanted {
			break
		}
		th.wanted = false
		th.call.Ended = time.Now()
		th.call.Result, th.call.Errno = int64(info.data[0]), 0
		if info.data[1]&0xff != 0 {
			th.call.Errno = int(-th.call.Result)
		}
		t.handler.Exit(th, &th.call)
	}
	return t.resume(th, 0)
}

// begot takes a thread that another one has started.
func (t *Tracer) begot(parent *Thread, event int) error {
	var message uintptr
	if err := request(unix.PTRACE_GETEVENTMSG, parent.ID, 0, uintptr(unsafe.Pointer(&message))); err != nil {
		return err
	}
	tid := int(message)
	p := parent.Process
	// A thread is a clone, but so may be a process.
	if event != unix.PTRACE_EVENT_CLONE || statusOf(tid, "Tgid:") == tid {
		p = &Process{ID: tid, Parent: parent.Process}
		p.inherit()
		t.handler.Start(p)
	}
	return t.adopt(tid, p)
}

// adopt makes a thread one of a process.
func (t *Tracer) adopt(tid int, p *Process) error {
	th := &Thread{ID: tid, Process: p, state: running}
	t.threads[tid] = th
	p.threads++
	if t.early[tid] {
		delete(t.early, tid)
		return t.resume(th, 0)
	}
	return nil
}

// orphans adopts threads whose parents were killed before they told of them.
func (t *Tracer) orphans() {
	for tid := range t.early {
		id := statusOf(tid, "Tgid:")
		var p *Process
		for _, th := range t.threads {
			if th.Process.ID == id {
				p = th.Process
			}
		}
		if p == nil {
			p = &Process{ID: id}
			t.handler.Start(p)
		}
		_ = t.adopt(tid, p) // or it was killed, which is told
	}
}

// exec deals with a process that runs another program. Whichever thread asked for it has the process's number now, and the others are gone.
func (t *Tracer) exec(th *Thread) error {
	p := th.Process
	for tid, other := range t.threads {
		if other.Process == p && tid != th.ID {
			delete(t.threads, tid)
		}
	}
	p.threads, p.breakpoints = 1, nil
	th.stepping = 0
	th.wanted, th.state = false, running
	if p == t.launching {
		t.launching, t.filtered = nil, true
		t.handler.Start(p)
	}
	t.handler.Exec(p)
	return t.resume(th, 0)
}

// ended forgets a thread, and tells of the end of its process, which is that of its first thread.
func (t *Tracer) ended(tid int, th *Thread, ws unix.WaitStatus) {
	delete(t.threads, tid)
	delete(t.early, tid)
	defer t.orphans()
	if th == nil || tid != th.Process.ID {
		return
	}
	status, signal := ws.ExitStatus(), 0
	if ws.Signaled() {
		status, signal = 0, int(ws.Signal())
	}
	if th.Process == t.first {
		t.status, t.sign = status, signal
	}
	if th.Process != t.launching {
		t.handler.End(th.Process, status, signal)
	}
}

// ReadMemory reads memory of a process. It returns how much could be read, with an error when that isn't all.
func ReadMemory(pid int, address uint64, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(b)}}, 0)
	if err == nil && n < len(b) {
		err = unix.EFAULT
	}
	return max(n, 0), err
}

// Lock ties the goroutine to its thread, for as long as it traces.
func Lock() { runtime.LockOSThread() }

var errNoProgram = errors.New("no program to run")
