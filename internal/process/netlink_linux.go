package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// netlinkBuffer takes the largest message that the kernel sends: dumps come in pieces of at most 32 KiB.
	netlinkBuffer = 64 << 10
	// netlinkPatience is how long the kernel may take for an answer. It answers at once or never.
	netlinkPatience = 2 * time.Second
	// netlinkReceive is the size of the kernel's receive buffer that is asked for; it may grant less.
	netlinkReceive = 1 << 20
)

// netlink is a netlink socket for questions and answers, one at a time. Its file may come from another process,
// and answers for the network namespace in which it was opened, whoever uses it.
//
// Answers are taken from whoever sends them, since sock_diag and rtnetlink let only the kernel and
// CAP_NET_ADMIN send to a socket.
type netlink struct {
	mu   sync.Mutex
	file *os.File // nil when closed
	fd   int
	seq  uint32
	buf  []byte
}

// openNetlink opens a netlink socket in the network namespace of the calling thread.
func openNetlink(family int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// newNetlink takes over an open netlink socket.
func newNetlink(file *os.File, family int) (*netlink, error) {
	n := &netlink{file: file, fd: int(file.Fd()), buf: make([]byte, netlinkBuffer)}
	for _, o := range []struct{ option, want int }{{unix.SO_DOMAIN, unix.AF_NETLINK}, {unix.SO_PROTOCOL, family}} {
		if got, err := unix.GetsockoptInt(n.fd, unix.SOL_SOCKET, o.option); err != nil {
			return nil, os.NewSyscallError("getsockopt", err)
		} else if got != o.want {
			return nil, fmt.Errorf("not a netlink socket of family %d", family)
		}
	}
	if err := unix.SetNonblock(n.fd, false); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	patience := unix.NsecToTimeval(int64(netlinkPatience))
	if err := unix.SetsockoptTimeval(n.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	// A smaller buffer does as well: a dump waits until what it sent has been read.
	_ = unix.SetsockoptInt(n.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, netlinkReceive)
	return n, nil
}

// close ends the socket. Questions after it fail.
func (n *netlink) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file == nil {
		return nil
	}
	err := n.file.Close()
	n.file = nil
	return err
}

// send sends a request whose header is filled in here. The caller holds mu.
func (n *netlink) send(req []byte, kind, flags uint16) error {
	if n.file == nil {
		return os.ErrClosed
	}
	n.seq++
	binary.NativeEndian.PutUint32(req[0:], uint32(len(req)))
	binary.NativeEndian.PutUint16(req[4:], kind)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(req[8:], n.seq)
	binary.NativeEndian.PutUint32(req[12:], 0)
	for {
		_, err := unix.Write(n.fd, req)
		if err != unix.EINTR {
			return os.NewSyscallError("write", err)
		}
	}
}

// receive reads one datagram, which is valid until the next one. The caller holds mu.
func (n *netlink) receive() ([]byte, error) {
	for {
		got, err := unix.Read(n.fd, n.buf)
		switch {
		case err == nil:
			return n.buf[:got], nil
		case err == unix.EAGAIN:
			return nil, errors.New("the kernel doesn't answer")
		case err != unix.EINTR:
			return nil, os.NewSyscallError("read", err)
		}
	}
}

// one asks for one thing. It returns the payload of the answer, valid until the next question, or the errno that
// the kernel answered with. The caller holds mu.
func (n *netlink) one(req []byte, kind uint16) ([]byte, error) {
	if err := n.send(req, kind, 0); err != nil {
		return nil, err
	}
	for {
		b, err := n.receive()
		if err != nil {
			return nil, err
		}
		for len(b) > 0 {
			var m message
			if m, b, err = nextMessage(b); err != nil {
				return nil, err
			}
			if m.seq != n.seq { // of a question that was given up
				continue
			}
			if m.kind == nlmsgError {
				if errno := m.errno(); errno != 0 {
					return nil, unix.Errno(errno)
				}
				continue
			}
			return m.payload, nil
		}
	}
}

// dump asks for all things of a sort and calls each with the payload of every answer, valid until it returns.
func (n *netlink) dump(req []byte, kind uint16, each func(payload []byte)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.send(req, kind, unix.NLM_F_DUMP); err != nil {
		return err
	}
	for {
		b, err := n.receive()
		if err != nil {
			return err
		}
		for len(b) > 0 {
			var m message
			if m, b, err = nextMessage(b); err != nil {
				return err
			}
			if m.seq != n.seq {
				continue
			}
			switch m.kind {
			case nlmsgDone, nlmsgError:
				if errno := m.errno(); errno != 0 {
					return unix.Errno(errno)
				}
				return nil
			default:
				each(m.payload)
			}
		}
	}
}
