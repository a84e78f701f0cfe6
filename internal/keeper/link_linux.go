package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// closing is how long Close waits for the keeper to be gone.
const closing = time.Second

// link is the worker's end of the socket to the keeper. One goroutine reads the replies, and gives each to whoever waits for it.
type link struct {
	socket *net.UnixConn
	buffer []byte        // of read
	ended  chan struct{} // closed when nothing more can be read
	gone   chan struct{} // closed when the process is gone

	mu      sync.Mutex
	last    uint32                 // the id that was used last
	waiting map[uint32]chan answer // each has room for one
}

type answer struct {
	reply reply
	files []*os.File
}

func newLink(socket *net.UnixConn, gone chan struct{}) *link {
	return &link{socket: socket, buffer: make([]byte, MaxMessage), gone: gone, ended: make(chan struct{}), waiting: make(map[uint32]chan answer)}
}

func (l *link) call(service string, payload []byte) ([]byte, []*os.File, error) {
	wait := make(chan answer, 1)
	r := request{service: service, payload: payload}
	l.mu.Lock()
	for r.id = l.last + 1; r.id == readyID || l.waiting[r.id] != nil; r.id++ {
	}
	l.last = r.id
	l.waiting[r.id] = wait
	l.mu.Unlock()

	if _, err := l.socket.Write(r.append(nil)); err != nil {
		l.mu.Lock()
		delete(l.waiting, r.id)
		l.mu.Unlock()
		select {
		case a := <-wait: // it can't have been answered
			closeAll(a.files)
		default:
		}
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed) {
			return nil, nil, ErrEnded
		}
		return nil, nil, fmt.Errorf("asking the process that kept the privileges for %s: %w", service, err)
	}
	select {
	case a := <-wait:
		return a.result()
	case <-l.ended:
	}
	// The answer may have been the last that came.
	select {
	case a := <-wait:
		return a.result()
	default:
		return nil, nil, ErrEnded
	}
}

func (a *answer) result() ([]byte, []*os.File, error) {
	if a.reply.err != nil {
		return nil, nil, a.reply.err
	}
	return a.reply.payload, a.files, nil
}

// receive reads replies until the keeper ends or sends nonsense.
func (l *link) receive() {
	defer close(l.ended)
	for {
		r, files, err := l.read()
		if err != nil {
			l.socket.Close() // a keeper that sent nonsense ends too
			return
		}
		l.mu.Lock()
		wait := l.waiting[r.id]
		delete(l.waiting, r.id)
		l.mu.Unlock()
		if wait == nil {
			closeAll(files)
			continue
		}
		wait <- answer{r, files}
	}
}

// read reads one reply and its files.
func (l *link) read() (r reply, files []*os.File, err error) {
	b := l.buffer
	oob := make([]byte, unix.CmsgSpace(4*MaxFiles))
	n, oobn, flags, _, err := l.socket.ReadMsgUnix(b, oob)
	if err != nil {
		return r, nil, err
	}
	// The files first: whatever else is wrong, they are open now.
	fds, err := received(oob[:oobn])
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "keeper"))
	}
	if err == nil {
		err = r.parse(b[:n])
	}
	if err == nil && (flags&unix.MSG_TRUNC != 0 || r.files < len(files)) {
		err = errMessage
	}
	if err != nil {
		closeAll(files)
		return r, nil, err
	}
	if r.files > len(files) {
		// The kernel leaves out those for which this process has no room.
		closeAll(files)
		return reply{id: r.id, err: &Error{Text: "too many open files: raise the limit (ulimit -n)", Errno: unix.EMFILE}}, nil, nil
	}
	r.payload = bytes.Clone(r.payload)
	return r, files, nil
}

// received finds the file descriptors in control messages.
func received(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		some, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, err
		}
		fds = append(fds, some...)
	}
	return fds, nil
}

func (l *link) close() error {
	err := l.socket.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	patience := time.NewTimer(closing)
	defer patience.Stop()
	select {
	case <-l.gone:
	case <-patience.C:
	}
	return err
}
