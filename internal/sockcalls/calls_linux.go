package sockcalls

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/ptrace"
)

// shape says how the arguments of a call hold what is sent or received; 0: it moves no bytes.
type shape uint8

const (
	// buffer: (fd, address, length, ...)
	buffer shape = iota + 1
	// vector: (fd, iovec, count, ...)
	vector
	// message: (fd, msghdr, flags); messages: (fd, mmsghdr, count, flags)
	message
	messages
	// fromFile: (out, in, offset, count) and the like: the kernel moves bytes of a file.
	fromFile
)

// call is a system call of interest.
type call struct {
	name  string
	shape shape
	// sends: bytes go to the socket; receives: they come from it.
	sends, receives bool
	// socket is the index of the argument with the socket's descriptor.
	socket int
	// flags is the index of the argument with flags such as MSG_PEEK, address that of a datagram's peer; 0: there is none.
	flags, address int
	// exited does what is particular about a call, once it has returned.
	exited func(t *Tracker, p *process, c *ptrace.Call, e *Event)
}

// calls returns the system calls of interest, by number.
func calls() map[uint64]*call {
	all := map[uint64]*call{
		unix.SYS_READ:     {name: "read", shape: buffer, receives: true},
		unix.SYS_WRITE:    {name: "write", shape: buffer, sends: true},
		unix.SYS_READV:    {name: "readv", shape: vector, receives: true},
		unix.SYS_WRITEV:   {name: "writev", shape: vector, sends: true},
		unix.SYS_SENDTO:   {name: "sendto", shape: buffer, sends: true, flags: 3, address: 4},
		unix.SYS_RECVFROM: {name: "recvfrom", shape: buffer, receives: true, flags: 3, address: 4},
		unix.SYS_SENDMSG:  {name: "sendmsg", shape: message, sends: true, flags: 2},
		unix.SYS_RECVMSG:  {name: "recvmsg", shape: message, receives: true, flags: 2},
		unix.SYS_SENDMMSG: {name: "sendmmsg", shape: messages, sends: true, flags: 3},
		unix.SYS_RECVMMSG: {name: "recvmmsg", shape: messages, receives: true, flags: 3},
		unix.SYS_SENDFILE: {name: "sendfile", shape: fromFile, sends: true},
		unix.SYS_SPLICE:   {name: "splice", shape: fromFile, sends: true, socket: 2},

		unix.SYS_CONNECT:        {name: "connect", exited: (*Tracker).connect},
		unix.SYS_ACCEPT4:        {name: "accept4", exited: (*Tracker).accept},
		unix.SYS_SHUTDOWN:       {name: "shutdown", exited: (*Tracker).shutdown},
		unix.SYS_GETSOCKOPT:     {name: "getsockopt", exited: (*Tracker).option},
		unix.SYS_CLOSE:          {name: "close", exited: (*Tracker).close},
		unix.SYS_CLOSE_RANGE:    {name: "close_range", exited: (*Tracker).closeRange},
		unix.SYS_DUP:            {name: "dup", exited: (*Tracker).dup},
		unix.SYS_DUP3:           {name: "dup3", exited: (*Tracker).dup},
		unix.SYS_IO_URING_SETUP: {name: "io_uring_setup", exited: (*Tracker).uring},
	}
	for number, c := range archCalls() {
		all[number] = c
	}
	return all
}

// Numbers returns the numbers of the system calls of interest.
func Numbers() []uint64 { return slices.Collect(maps.Keys(calls())) }
