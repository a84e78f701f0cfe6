package keytap

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/tls/keylog"
)

const (
	// pipeSize is how much a pipe should hold, in bytes, so that programs needn't wait: some thousand handshakes. The system may allow less.
	pipeSize = 1 << 20
	// readSize is how much is read at a time, in bytes.
	readSize = 64 << 10
	// maxSync is how much Sync reads at most, in bytes: a program may write faster than it is read.
	maxSync = 4 * pipeSize
)

// pipe is a named pipe that programs write lines of a key log into.
type pipe struct {
	file *os.File
	conn syscall.RawConn
	add  func(lines []byte)

	mu  sync.Mutex
	buf []byte
	// rest is a line whose end hasn't come; long: it is too long, and passed over.
	rest []byte
	long bool
}

// newPipe makes a named pipe. It is opened for writing, too: so it never ends, and whoever opens it for writing doesn't have to wait.
func newPipe(path string, add func(lines []byte)) (*pipe, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("making the named pipe %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	p := &pipe{file: f, add: add, buf: make([]byte, readSize)}
	if p.conn, err = f.SyscallConn(); err != nil {
		f.Close()
		return nil, err
	}
	_ = p.conn.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) // or it holds less
	})
	return p, nil
}

// follow reads until the pipe is closed.
func (p *pipe) follow() {
	_ = p.conn.Read(func(fd uintptr) (done bool) {
		for !p.read(int(fd)) {
		}
		return false
	})
}

// sync reads what there is.
func (p *pipe) sync() {
	_ = p.conn.Control(func(fd uintptr) { p.read(int(fd)) })
}

// read reads what there is, without waiting for more, and reports whether that was all.
func (p *pipe) read(fd int) (all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for total := 0; total < maxSync; {
		n, err := unix.Read(fd, p.buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return true
		}
		p.write(p.buf[:n])
		total += n
	}
	return false
}

// write takes what was read, and passes whole lines on.
func (p *pipe) write(b []byte) {
	end := bytes.LastIndexByte(b, '\n') + 1
	if end > 0 {
		lines := b[:end]
		if p.long {
			_, lines, _ = bytes.Cut(lines, []byte{'\n'})
		} else if len(p.rest) > 0 {
			lines = append(p.rest, lines...)
		}
		if len(lines) > 0 {
			p.add(lines)
		}
		p.rest, p.long = p.rest[:0], false
	}
	if p.long || len(p.rest)+len(b)-end > keylog.MaxLine {
		p.rest, p.long = p.rest[:0], true
		return
	}
	p.rest = append(p.rest, b[end:]...)
}
