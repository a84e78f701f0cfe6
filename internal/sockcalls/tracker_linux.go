package sockcalls

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/ptrace"
)

// The limits.
const (
	// MaxRead is how much is read of what one call has moved, in bytes. Of more, the length alone is known.
	MaxRead = 1 << 20
	// maxVectors is how many buffers of a call are looked at, and maxMessages how many messages.
	maxVectors  = 1024
	maxMessages = 64
)

// Tracker makes events of system calls. It implements ptrace.Handler; its calls come from one goroutine.
type Tracker struct {
	sink    Sink
	calls   map[uint64]*call
	sockets map[uint64]*Socket // by inode
	// live are the processes.
	live map[int]*process
	seen int
	buf  []byte
	// pending is what the kernel knew of the socket that a call is about to close, by thread.
	pending map[int]closing
}

// process is what is known of a process.
type process struct {
	id int
	// files are its descriptors that were looked at: the socket, or nil when it is none.
	files map[int]*Socket
	pidfd int
	uring bool
}

// closing is what is kept of a socket from before it is closed.
type closing struct {
	socket *Socket
	info   *Info
}

// New returns a tracker.
func New(s Sink) *Tracker {
	return &Tracker{sink: s, calls: calls(), sockets: map[uint64]*Socket{}, live: map[int]*process{}, buf: make([]byte, 64<<10), pending: map[int]closing{}}
}

// Start implements ptrace.Handler.
func (t *Tracker) Start(p *ptrace.Process) {
	q := &process{id: p.ID, files: map[int]*Socket{}, pidfd: -1}
	if p.Parent != nil {
		for fd, s := range p.Parent.Value.(*process).files {
			q.files[fd] = s
		}
	}
	if fd, err := unix.PidfdOpen(p.ID, 0); err == nil {
		q.pidfd = fd
	}
	p.Value = q
	t.live[p.ID] = q
}

// Exec implements ptrace.Handler: descriptors may have been closed by it.
func (t *Tracker) Exec(p *ptrace.Process) {
	q := p.Value.(*process)
	before := q.files
	q.files = map[int]*Socket{}
	t.gone(before, q, time.Now(), "execve")
}

// Signal implements ptrace.Handler.
func (t *Tracker) Signal(*ptrace.Thread, int) {}

// End implements ptrace.Handler.
func (t *Tracker) End(p *ptrace.Process, _, _ int) {
	q := p.Value.(*process)
	delete(t.live, q.id)
	if q.pidfd >= 0 {
		unix.Close(q.pidfd)
	}
	t.gone(q.files, q, time.Now(), "exit")
}

// gone tells of sockets that nobody has any more, of those that a process had.
func (t *Tracker) gone(files map[int]*Socket, q *process, at time.Time, why string) {
	told := map[*Socket]bool{}
	var held map[uint64]bool
	for _, s := range files {
		if s == nil || s.closed || told[s] {
			continue
		}
		told[s] = true
		if held == nil {
			held = t.held()
		}
		if !held[s.Inode] {
			t.closed(s, &Event{What: Closed, PID: q.id, TID: q.id, Call: why, Began: at, Ended: at})
		}
	}
}

// held returns the numbers of the sockets that any process has open.
func (t *Tracker) held() map[uint64]bool {
	all := map[uint64]bool{}
	for pid := range t.live {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if inode, ok := socketInode(dir + "/" + e.Name()); ok {
				all[inode] = true
			}
		}
	}
	return all
}

// socketInode returns the number of the socket that a link of /proc stands for.
func socketInode(link string) (uint64, bool) {
	target, err := os.Readlink(link)
	if err != nil {
		return 0, false
	}
	text, ok := strings.CutPrefix(target, "socket:[")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
	return n, err == nil
}

// file returns the socket of a descriptor, nil when it is none.
func (t *Tracker) file(p *process, fd int) *Socket {
	if s, there := p.files[fd]; there {
		return s
	}
	inode, ok := socketInode(fmt.Sprintf("/proc/%d/fd/%d", p.id, fd))
	if !ok {
		p.files[fd] = nil
		return nil
	}
	s := t.sockets[inode]
	if s == nil {
		t.seen++
		s = &Socket{Inode: inode, ID: t.seen}
		t.describe(p, fd, s)
		t.sockets[inode] = s
	}
	p.files[fd] = s
	return s
}

// describe asks the kernel what a socket is.
func (t *Tracker) describe(p *process, fd int, s *Socket) {
	t.borrow(p, fd, func(own int) {
		family, _ := unix.GetsockoptInt(own, unix.SOL_SOCKET, unix.SO_DOMAIN)
		protocol, _ := unix.GetsockoptInt(own, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		switch {
		case family == unix.AF_UNIX:
			s.Kind = Unix
		case protocol == unix.IPPROTO_TCP:
			s.Kind = TCP
		case protocol == unix.IPPROTO_UDP:
			s.Kind = UDP
		}
		ends(own, s)
		if s.Kind == TCP && s.Peer.IsValid() {
			s.connected, s.Known = true, true
		}
	})
}

// ends asks the kernel for the ends of a socket.
func ends(own int, s *Socket) {
	if a, err := unix.Getsockname(own); err == nil {
		if local := addrPort(a); local.IsValid() {
			s.Local = local
		}
	}
	if a, err := unix.Getpeername(own); err == nil {
		if peer := addrPort(a); peer.IsValid() {
			s.Peer = peer
		}
		if u, ok := a.(*unix.SockaddrUnix); ok && u.Name != "" {
			s.Path = u.Name
		}
	}
}

func addrPort(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// borrow calls f with a descriptor of our own for a program's socket. It is closed at once: as long as it is open, the connection is.
func (t *Tracker) borrow(p *process, fd int, f func(own int)) bool {
	if p.pidfd < 0 {
		return false
	}
	own, err := unix.PidfdGetfd(p.pidfd, fd, 0)
	if err != nil {
		return false
	}
	defer unix.Close(own)
	f(own)
	return true
}

// info asks what the kernel knows of a connection, nil when it doesn't tell.
func (t *Tracker) info(p *process, fd int) (info *Info) {
	t.borrow(p, fd, func(own int) {
		raw, err := unix.GetsockoptTCPInfo(own, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		us := func(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
		info = &Info{
			State: raw.State, RTT: us(uint64(raw.Rtt)), RTTVar: us(uint64(raw.Rttvar)), MinRTT: us(uint64(raw.Min_rtt)),
			Retransmits: raw.Total_retrans, Lost: raw.Lost, Sent: raw.Bytes_sent, Acked: raw.Bytes_acked, Received: raw.Bytes_received,
			Busy: us(raw.Busy_time), WindowLimited: us(raw.Rwnd_limited), BufferLimited: us(raw.Sndbuf_limited), Unsent: raw.Notsent_bytes,
			NotAcked: raw.Unacked,
		}
	})
	return info
}

// Enter implements ptrace.Handler.
func (t *Tracker) Enter(th *ptrace.Thread, c *ptrace.Call) (exit bool) {
	k := t.calls[c.Number]
	if k == nil {
		return false
	}
	p := th.Process.Value.(*process)
	if k.exited == nil {
		return t.file(p, int(int32(c.Args[k.socket]))) != nil
	}
	if c.Number == unix.SYS_CONNECT {
		return t.file(p, int(int32(c.Args[0]))) != nil // as it is before the call
	}
	if c.Number == unix.SYS_CLOSE {
		fd := int(int32(c.Args[0]))
		s := t.file(p, fd)
		if s == nil {
			delete(p.files, fd)
			return false
		}
		pending := closing{socket: s}
		if s.Kind == TCP {
			pending.info = t.info(p, fd)
		}
		t.pending[th.ID] = pending
	}
	return true
}

// Exit implements ptrace.Handler.
func (t *Tracker) Exit(th *ptrace.Thread, c *ptrace.Call) {
	k := t.calls[c.Number]
	p := th.Process.Value.(*process)
	e := Event{PID: th.Process.ID, TID: th.ID, Call: k.name, Began: c.Began, Ended: c.Ended}
	if k.exited != nil {
		k.exited(t, p, c, &e)
		return
	}
	if e.Socket = t.file(p, int(int32(c.Args[k.socket]))); e.Socket != nil {
		t.moved(p, k, c, &e)
	}
}

// tell passes an event on.
func (t *Tracker) tell(e *Event) { t.sink.Event(e) }

// harmless are errors that mean that a call is to be made again.
func harmless(errno int) bool {
	switch errno {
	case 0, int(unix.EAGAIN), int(unix.EINTR), int(unix.EINPROGRESS), int(unix.EALREADY), 512, 513, 514, 516: // ERESTARTSYS and the like
		return true
	}
	return false
}

// fail tells of a call that failed, unless it is only to be made again.
func (t *Tracker) fail(p *process, fd int, e *Event, errno int) {
	if harmless(errno) {
		return
	}
	e.What, e.Errno = Failed, errno
	if e.Socket.Kind == TCP {
		e.Info = t.info(p, fd)
	}
	t.tell(e)
}

// peeks: MSG_PEEK, MSG_ERRQUEUE: nothing is taken from what comes.
const peeks = unix.MSG_PEEK | unix.MSG_ERRQUEUE

// moved tells of bytes that were sent or received.
func (t *Tracker) moved(p *process, k *call, c *ptrace.Call, e *Event) {
	fd := int(int32(c.Args[k.socket]))
	s := e.Socket
	if k.flags > 0 && c.Args[k.flags]&peeks != 0 && k.receives {
		return
	}
	if c.Errno != 0 {
		t.fail(p, fd, e, c.Errno)
		return
	}
	t.settle(p, fd, s, e)
	n := int(c.Result)
	if e.What = Sent; k.receives {
		e.What = Received
	}
	if n == 0 && k.receives && s.Kind != UDP && wanted(k, c) {
		e.What = Ended
		t.tell(e)
		return
	}
	switch k.shape {
	case buffer:
		e.Length, e.Data = n, t.read(p, c.Args[1], n)
		if k.address > 0 && c.Args[k.address] != 0 {
			e.Peer = t.peer(p, c.Args[k.address], 28)
		}
		t.tell(e)
	case vector:
		e.Length, e.Data = n, t.gather(p, c.Args[1], int(min(c.Args[2], maxVectors)), n)
		t.tell(e)
	case message:
		t.message(p, c.Args[1], n, e)
	case messages:
		for i := range min(n, maxMessages) {
			header := c.Args[1] + uint64(i)*messageSize
			var length [4]byte
			if _, err := ptrace.ReadMemory(p.id, header+messageHeaderSize, length[:]); err != nil {
				break
			}
			t.message(p, header, int(binary.NativeEndian.Uint32(length[:])), e)
		}
	case fromFile:
		e.Length, e.Data = n, nil
		t.tell(e)
	}
}

// wanted reports whether a call asked for any bytes.
func wanted(k *call, c *ptrace.Call) bool { return k.shape != buffer || c.Args[2] > 0 }

// settle notes that a connection is there, since bytes pass.
func (t *Tracker) settle(p *process, fd int, s *Socket, e *Event) {
	if s.Kind != TCP || s.connected {
		if s.Kind == UDP && !s.Local.IsValid() {
			t.borrow(p, fd, func(own int) { ends(own, s) })
		}
		return
	}
	s.connected, s.connecting = true, false
	t.borrow(p, fd, func(own int) { ends(own, s) })
	t.tell(&Event{What: Connected, Socket: s, PID: e.PID, TID: e.TID, Call: e.Call, Began: e.Began, Ended: e.Began})
}

// The sizes of struct msghdr and struct mmsghdr, on 64-bit systems.
const (
	messageHeaderSize = 56
	messageSize       = 64
)

// message tells of one message of n bytes, whose msghdr is at an address.
func (t *Tracker) message(p *process, header uint64, n int, e *Event) {
	var h [messageHeaderSize]byte
	if _, err := ptrace.ReadMemory(p.id, header, h[:]); err != nil {
		e.Length, e.Data = n, nil
		t.tell(e)
		return
	}
	word := func(at int) uint64 { return binary.NativeEndian.Uint64(h[at:]) }
	e.Peer = netip.AddrPort{}
	if name, size := word(0), binary.NativeEndian.Uint32(h[8:]); name != 0 && size > 0 {
		e.Peer = t.peer(p, name, int(min(size, 128)))
	}
	e.Length, e.Data = n, t.gather(p, word(16), int(min(word(24), maxVectors)), n)
	t.tell(e)
}

// peer reads the address of a datagram.
func (t *Tracker) peer(p *process, at uint64, size int) netip.AddrPort {
	b := make([]byte, size)
	n, _ := ptrace.ReadMemory(p.id, at, b)
	a, _ := parseAddress(b[:n])
	return netip.AddrPortFrom(a.ip.Addr().Unmap(), a.ip.Port())
}

// room returns n bytes of memory that is used again.
func (t *Tracker) room(n int) []byte {
	if n > len(t.buf) {
		t.buf = make([]byte, n)
	}
	return t.buf[:n]
}

// read reads what a call has moved. It is valid until the next call.
func (t *Tracker) read(p *process, at uint64, n int) []byte {
	b := t.room(min(max(n, 0), MaxRead))
	got, _ := ptrace.ReadMemory(p.id, at, b)
	return b[:got]
}

// gather reads n bytes of several buffers, whose addresses and lengths are at an address.
func (t *Tracker) gather(p *process, vectors uint64, count, n int) []byte {
	list := make([]byte, 16*count)
	if _, err := ptrace.ReadMemory(p.id, vectors, list); err != nil {
		return nil
	}
	b := t.room(min(max(n, 0), MaxRead))
	at := 0
	for ; len(list) > 0 && at < len(b); list = list[16:] {
		size := min(binary.NativeEndian.Uint64(list[8:]), uint64(len(b)-at))
		got, err := ptrace.ReadMemory(p.id, binary.NativeEndian.Uint64(list), b[at:at+int(size)])
		if at += got; err != nil {
			break
		}
	}
	return b[:at]
}
