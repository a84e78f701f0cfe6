package privilege

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filter of system calls is a list of what is allowed; all else fails with EPERM, as if a privilege were missing. A list
// of what is forbidden would grow with every kernel. The list has what Go's runtime does at any time (threads, memory,
// signals, polling), what reading and writing open files takes, and little more; what can do harm is allowed with certain
// arguments only. It also has what the C library does in a program that is linked with it, as tests are.

// call is a system call that may be made: with any arguments, or if one of the alternatives holds.
type call struct {
	number uint32
	any    []all
}

// all is a list of conditions that must all hold.
type all []condition

// condition says that 32 bits of an argument, under the mask, have one of the values.
type condition struct {
	// word counts the halves of the six arguments, the lower before the higher.
	word   uint32
	mask   uint32
	values []uint32
}

const everyBit = 1<<32 - 1

// arg is a condition on an argument of which the kernel takes the lower 32 bits only.
func arg(i uint32, values ...uint32) condition { return condition{2 * i, everyBit, values} }

// masked is a condition on some of the lower 32 bits.
func masked(i, mask uint32, values ...uint32) condition { return condition{2 * i, mask, values} }

// null holds for an argument, a pointer, that is null.
func null(i uint32) all {
	return all{{2 * i, everyBit, []uint32{0}}, {2*i + 1, everyBit, []uint32{0}}}
}

// plainCalls may be made with any arguments by whoever called Drop or Reduce. archCalls adds those of the architecture.
var plainCalls = [...]uint32{
	// memory and threads
	unix.SYS_BRK, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_MREMAP, unix.SYS_MUNMAP, unix.SYS_FUTEX, unix.SYS_GETTID,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETCPU, unix.SYS_SET_ROBUST_LIST, unix.SYS_SET_TID_ADDRESS,
	unix.SYS_RSEQ, unix.SYS_MEMBARRIER, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_WAIT4, unix.SYS_WAITID,
	// signals and time
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY,
	unix.SYS_SETITIMER, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
	// who and where it is
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETGROUPS,
	unix.SYS_CAPGET, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_GETRUSAGE, unix.SYS_GETRANDOM, unix.SYS_GETCWD,
	// open files
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV,
	unix.SYS_PWRITEV, unix.SYS_LSEEK, unix.SYS_CLOSE, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_FCNTL, unix.SYS_FLOCK, unix.SYS_FSYNC,
	unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSTAT, unix.SYS_FSTATFS, unix.SYS_GETDENTS64,
	unix.SYS_SENDFILE, unix.SYS_SPLICE, unix.SYS_COPY_FILE_RANGE, unix.SYS_PIPE2, unix.SYS_EVENTFD2,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_PPOLL, unix.SYS_PSELECT6,
	// files by name: user and Landlock say which
	unix.SYS_OPENAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_STATX, unix.SYS_READLINKAT,
	// open sockets: which can be opened is said below
	unix.SYS_BIND, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG,
	unix.SYS_SHUTDOWN, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT,
}

// writeCalls change names of files.
var writeCalls = [...]uint32{unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2}

// networkCalls make connections.
var networkCalls = [...]uint32{unix.SYS_CONNECT, unix.SYS_LISTEN, unix.SYS_ACCEPT4}

// serveCalls take connections that others make.
var serveCalls = [...]uint32{unix.SYS_ACCEPT4}

// What ioctl(2) may do: ask for the size of a terminal, and set its modes. Not among them is TIOCSTI, which types.
var ioctls = []uint32{
	unix.TCGETS, unix.TCSETS, unix.TCSETSW, unix.TCSETSF, unix.TIOCGWINSZ, unix.TIOCGPGRP, unix.TIOCINQ,
}

// interfaceIoctls ask about network interfaces.
var interfaceIoctls = []uint32{
	unix.SIOCGIFINDEX, unix.SIOCGIFNAME, unix.SIOCGIFHWADDR, unix.SIOCGIFFLAGS, unix.SIOCGIFMTU, unix.SIOCETHTOOL,
}

// callsFor lists the system calls that what o keeps takes.
func callsFor(o Options) []call {
	var calls []call
	plain := func(numbers []uint32) {
		for _, n := range numbers {
			calls = append(calls, call{number: n})
		}
	}
	plain(plainCalls[:])
	plain(archCalls[:])
	if len(o.WritePaths) > 0 {
		plain(writeCalls[:])
		plain(archWriteCalls[:])
	}

	// Netlink tells which addresses the host has, and who owns a socket, without a privilege.
	sockets := []all{{arg(0, unix.AF_NETLINK), arg(2, unix.NETLINK_ROUTE, unix.NETLINK_SOCK_DIAG)}}
	requests := ioctls
	if o.Serve && !o.Network {
		plain(serveCalls[:])
	}
	if o.Network {
		plain(networkCalls[:])
		// With their type, so that raw sockets, which a kept capability would allow, aren't among them.
		sockets = append(sockets, all{arg(0, unix.AF_INET, unix.AF_INET6), masked(1, 0xf, unix.SOCK_STREAM, unix.SOCK_DGRAM)})
	}
	if setOf(o.Keep).has(CapNetRaw) {
		// A local datagram socket is the handle for questions about interfaces.
		sockets = append(sockets, all{arg(0, unix.AF_PACKET)}, all{arg(0, unix.AF_UNIX), masked(1, 0xf, unix.SOCK_DGRAM)})
		requests = append(requests[:len(requests):len(requests)], interfaceIoctls...)
	}
	if setOf(o.Keep).has(CapSysAdmin) {
		calls = append(calls, call{unix.SYS_SETNS, []all{{arg(1, unix.CLONE_NEWNET)}}})
		requests = append(requests[:len(requests):len(requests)], unix.NS_GET_NSTYPE)
	}

	self := uint32(os.Getpid())
	return append(calls,
		call{unix.SYS_SOCKET, sockets},
		call{unix.SYS_IOCTL, []all{{arg(1, requests...)}}},
		// No memory is both written and run.
		call{unix.SYS_MMAP, []all{{masked(2, unix.PROT_EXEC, 0)}}},
		call{unix.SYS_MPROTECT, []all{{masked(2, unix.PROT_EXEC, 0)}}},
		// Threads, but no processes and no namespaces.
		call{unix.SYS_CLONE, []all{{masked(0, unix.CLONE_THREAD|unix.CLONE_VM|namespaces, unix.CLONE_THREAD|unix.CLONE_VM)}}},
		// Go's runtime interrupts its threads with signals, and ends itself with one.
		call{unix.SYS_KILL, []all{{arg(0, self)}}},
		call{unix.SYS_TGKILL, []all{{arg(0, self)}}},
		// Its own limits may be read.
		call{unix.SYS_PRLIMIT64, []all{append(null(2), arg(0, 0))}},
		// A thread may take less of the processor.
		call{unix.SYS_SETPRIORITY, []all{{arg(0, unix.PRIO_PROCESS), arg(1, 0)}}},
		// Names of threads and of stretches of memory.
		call{unix.SYS_PRCTL, []all{{arg(0, unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_VMA)}}},
	)
}

const namespaces = unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID |
	unix.CLONE_NEWUSER | unix.CLONE_NEWUTS

// Where things are in what the filter sees: struct seccomp_data of linux/seccomp.h.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// filter makes the program for the kernel.
func filter(calls []call) ([]bpf.RawInstruction, error) {
	deny := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	program := []bpf.Instruction{
		// The numbers mean something else to a program of another architecture.
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		deny,
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
		// The C library makes threads with clone if clone3, whose flags a filter can't see, isn't there.
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_CLONE3, SkipFalse: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	}
	for _, c := range calls {
		body := []bpf.Instruction{allow}
		if c.any != nil {
			body = body[:0]
			for _, a := range c.any {
				body = append(body, alternative(a, allow)...)
			}
			body = append(body, deny)
		}
		if len(body) > 255 {
			return nil, fmt.Errorf("the conditions of system call %d are too long for a jump", c.number)
		}
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: c.number, SkipFalse: uint8(len(body))})
		program = append(program, body...)
	}
	return bpf.Assemble(append(program, deny))
}

// alternative returns yes if all conditions hold, and goes on behind itself if one doesn't.
func alternative(conditions all, yes bpf.Instruction) (program []bpf.Instruction) {
	// Backwards, since each condition jumps over those behind it.
	program = []bpf.Instruction{yes}
	for i := len(conditions) - 1; i >= 0; i-- {
		c := conditions[i]
		block := []bpf.Instruction{bpf.LoadAbsolute{Off: offArgs + 4*c.word, Size: 4}}
		if c.mask != everyBit {
			block = append(block, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask})
		}
		for j, v := range c.values {
			jump := bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(c.values) - 1 - j)}
			if j == len(c.values)-1 {
				jump.SkipFalse = uint8(len(program))
			}
			block = append(block, jump)
		}
		program = append(block, program...)
	}
	return program
}

// restrictCalls lets all threads make these system calls only.
func restrictCalls(calls []call) Step {
	step := Step{Name: "system calls"}
	if auditArch == 0 {
		step.Text = "all: there is no filter for this processor"
		return step
	}
	program, err := filter(calls)
	if err != nil {
		step.Text = "all: " + err.Error()
		return step
	}
	// bpf.RawInstruction is laid out as the kernel wants it, but that isn't promised.
	code := make([]unix.SockFilter, len(program))
	for i, in := range program {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	// Kernels before 5.16 slow down whoever has a filter, lest code it runs for others spies by speculation, unless told that
	// none does. Those before 4.14 can't be told.
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, unix.SECCOMP_FILTER_FLAG_TSYNC} {
		err = seccomp(flags, &prog)
		if !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	switch {
	case err == nil:
		step.Text, step.Done = fmt.Sprintf("%d of them (seccomp)", len(calls)), true
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		step.Text = "all: this kernel has no seccomp filters for threads"
	default:
		step.Text = "all: seccomp failed: " + err.Error()
	}
	return step
}

// seccomp sets the filter of all threads.
func seccomp(flags uintptr, prog *unix.SockFprog) error {
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(prog)))
	switch {
	case errno != 0:
		return errno
	case thread != 0:
		return fmt.Errorf("thread %d has a filter of its own", thread)
	}
	return nil
}
