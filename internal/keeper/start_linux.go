package keeper

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// marker is the environment variable by which the keeper finds its socket. Its value is the number of the file descriptor. That
// alone makes no keeper: Inherited checks what it finds there.
const marker = "CULPRIT_KEEPER"

// Start runs the keeper: this program once more, which must call Inherited before anything else, and then Serve. It has the
// same arguments but for the first, none of which it needs: what the two agree on, at most MaxMessage less the greeting in bytes, is
// what it gets from Inherited. Start returns when the keeper is ready. It is called while the process has its privileges, and while
// nothing else in it starts a process.
//
// An error means that no second process can be had (no /proc, a container that forbids it), or that it failed, which it has said on
// standard error. The caller may go on with Local.
func Start(agreed []byte) (*Conn, error) {
	if os.Getenv(marker) != "" {
		return nil, errors.New("this process was itself started to keep privileges, or " + marker + " is set: unset it")
	}
	if len(greeting)+len(agreed) > MaxMessage {
		return nil, fmt.Errorf("%d bytes are too many to agree on: at most %d", len(agreed), MaxMessage-len(greeting))
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("a socket to a second process: %w", err)
	}
	socket, err := unixConn(pair[0])
	if err != nil {
		unix.Close(pair[1])
		return nil, err
	}
	cmd, err := run(socket, pair[1], agreed)
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("starting a second process, to keep privileges: %w", err)
	}
	gone := make(chan struct{})
	go func() {
		cmd.Wait() // how it ended, it has said itself
		close(gone)
	}()

	l := newLink(socket, gone)
	if r, files, err := l.read(); err != nil || r.id != readyID || r.err != nil {
		closeAll(files)
		l.close()
		return nil, errors.New("the second process, which was to keep privileges, ended before it was ready")
	}
	go l.receive()
	return &Conn{link: l}, nil
}

// run starts the process, and closes its end of the pair here.
func run(socket *net.UnixConn, theirs int, agreed []byte) (*exec.Cmd, error) {
	// The descriptor is inherited under its number, since 3 and those that follow, which os/exec would give, may be the user's:
	// "culprit … -o har=/dev/fd/3 3>file".
	inherited, err := unix.FcntlInt(uintptr(theirs), unix.F_DUPFD, 3)
	unix.Close(theirs)
	if err != nil {
		return nil, err
	}
	defer unix.Close(inherited)
	if _, err := socket.Write(append([]byte(greeting), agreed...)); err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path:   "/proc/self/exe",
		Args:   []string{os.Args[0], "keeper", "of", strconv.Itoa(os.Getpid())}, // for ps only
		Env:    append(os.Environ(), marker+"="+strconv.Itoa(inherited)),
		Stderr: os.Stderr,
		// Ctrl-C is for the worker, which has things to finish.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	return cmd, cmd.Start()
}

// unixConn takes over a descriptor.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "keeper")
	defer f.Close() // net.FileConn makes its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("a socket between two processes: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("a socket between two processes is none of the local kind")
	}
	return u, nil
}
