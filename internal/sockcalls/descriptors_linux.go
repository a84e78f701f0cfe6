package sockcalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/ptrace"
)

// connect: (fd, address, length)
func (t *Tracker) connect(p *process, c *ptrace.Call, e *Event) {
	fd := int(int32(c.Args[0]))
	s := t.file(p, fd)
	if s == nil {
		return
	}
	e.Socket = s
	b := t.room(int(min(c.Args[2], 128)))
	n, _ := ptrace.ReadMemory(p.id, c.Args[1], b)
	a, ok := parseAddress(b[:n])
	if !ok {
		return
	}
	again := s.connecting && c.Errno != int(unix.EINPROGRESS)
	if s.Kind == Unix {
		s.Path = a.path
	} else if a.ip.IsValid() {
		s.Peer = addrUnmap(a.ip)
	}
	if !again && !(s.connected && s.Kind == TCP) { // a second call asks how the first went
		s.connecting = true
		asked := *e
		asked.What, asked.Peer = Connecting, s.Peer
		t.tell(&asked)
	}
	switch {
	case c.Errno == 0:
		t.connected(p, fd, e)
	case c.Errno == int(unix.EISCONN):
		t.connected(p, fd, e)
	default:
		if !harmless(c.Errno) {
			s.connecting = false
		}
		t.fail(p, fd, e, c.Errno)
	}
}

// connected tells that a connection is there, once.
func (t *Tracker) connected(p *process, fd int, e *Event) {
	s := e.Socket
	if s.connected && s.Kind != UDP {
		return
	}
	s.connected, s.connecting = true, false
	t.borrow(p, fd, func(own int) { ends(own, s) })
	e.What = Connected
	t.tell(e)
}

// accept: (fd, address, length, flags), which returns a descriptor.
func (t *Tracker) accept(p *process, c *ptrace.Call, e *Event) {
	fd := int(int32(c.Args[0]))
	if c.Errno != 0 {
		if e.Socket = t.file(p, fd); e.Socket != nil {
			t.fail(p, fd, e, c.Errno)
		}
		return
	}
	delete(p.files, int(c.Result))
	if s := t.file(p, int(c.Result)); s != nil {
		s.Accepted, s.Known = true, false
		e.What, e.Socket = Accepted, s
		t.tell(e)
	}
}

// shutdown: (fd, how)
func (t *Tracker) shutdown(p *process, c *ptrace.Call, e *Event) {
	fd := int(int32(c.Args[0]))
	s := t.file(p, fd)
	if s == nil {
		return
	}
	e.Socket = s
	switch {
	case c.Errno != 0:
		t.fail(p, fd, e, c.Errno)
	case c.Args[1] != unix.SHUT_RD:
		e.What = Shut
		t.tell(e)
	}
}

// option: (fd, level, option, value, length). What became of a connection that wasn't waited for is known from SO_ERROR.
func (t *Tracker) option(p *process, c *ptrace.Call, e *Event) {
	if c.Args[1] != unix.SOL_SOCKET || c.Args[2] != unix.SO_ERROR || c.Errno != 0 {
		return
	}
	fd := int(int32(c.Args[0]))
	s := t.file(p, fd)
	if s == nil {
		return
	}
	var value [4]byte
	if _, err := ptrace.ReadMemory(p.id, c.Args[3], value[:]); err != nil {
		return
	}
	e.Socket = s
	switch errno := int(binary.NativeEndian.Uint32(value[:])); {
	case errno != 0:
		s.connecting = false
		t.fail(p, fd, e, errno)
	case s.connecting && t.established(p, fd):
		t.connected(p, fd, e)
	}
}

// established reports whether a socket has a connection.
func (t *Tracker) established(p *process, fd int) (is bool) {
	if !t.borrow(p, fd, func(own int) {
		_, err := unix.Getpeername(own)
		is = err == nil
	}) {
		return true // no error, so likely
	}
	return is
}

// close: (fd)
func (t *Tracker) close(p *process, c *ptrace.Call, e *Event) {
	pending, there := t.pending[e.TID]
	delete(t.pending, e.TID)
	if !there || c.Errno == int(unix.EBADF) {
		return
	}
	delete(p.files, int(int32(c.Args[0])))
	if !t.held()[pending.socket.Inode] {
		e.What, e.Info = Closed, pending.info
		t.closed(pending.socket, e)
	}
}

// closed tells that nobody has a socket any more.
func (t *Tracker) closed(s *Socket, e *Event) {
	s.closed = true
	delete(t.sockets, s.Inode)
	e.Socket = s
	t.tell(e)
}

// closeRange: (first, last, flags)
func (t *Tracker) closeRange(p *process, c *ptrace.Call, e *Event) {
	if c.Errno != 0 || c.Args[2]&unix.CLOSE_RANGE_CLOEXEC != 0 {
		return
	}
	before := map[int]*Socket{}
	for fd, s := range p.files {
		if uint64(fd) >= c.Args[0] && uint64(fd) <= c.Args[1] {
			before[fd] = s
			delete(p.files, fd)
		}
	}
	t.gone(before, p, e.Ended, e.Call)
}

// dup, dup2, dup3: what the new descriptor was is closed.
func (t *Tracker) dup(p *process, c *ptrace.Call, e *Event) {
	if c.Errno != 0 || int(c.Result) == int(int32(c.Args[0])) {
		return
	}
	fd := int(c.Result)
	old := p.files[fd]
	delete(p.files, fd)
	if old != nil {
		t.gone(map[int]*Socket{fd: old}, p, e.Ended, e.Call)
	}
}

// uring: its calls aren't seen.
func (t *Tracker) uring(p *process, c *ptrace.Call, e *Event) {
	if c.Errno != 0 || p.uring {
		return
	}
	p.uring = true
	e.What = Unseen
	t.tell(e)
}

// Poll asks the kernel about the connections of a process, and calls f with each. It may be called while the process runs, by the goroutine
// of the handler.
func (t *Tracker) Poll(f func(s *Socket, i *Info)) {
	done := map[*Socket]bool{}
	for _, p := range t.live {
		for fd, s := range p.files {
			if s == nil || s.Kind != TCP || done[s] {
				continue
			}
			done[s] = true
			if i := t.info(p, fd); i != nil {
				f(s, i)
			}
		}
	}
}
