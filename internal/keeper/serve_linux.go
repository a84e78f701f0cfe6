package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Keeper is the keeper's end of the socket to the worker.
type Keeper struct {
	// Agreed is what the worker gave to Start, before it read anything of strangers'.
	Agreed []byte

	socket *net.UnixConn
}

// Inherited tells a keeper from any other process, for which it returns nil. It is called first of all in main. A keeper then calls
// privilege.Reduce and Serve, and exits. The error says that the process was started as a keeper, but not by a worker.
func Inherited() (*Keeper, error) {
	value := os.Getenv(marker)
	if value == "" {
		return nil, nil
	}
	os.Unsetenv(marker)
	k, err := inherited(value)
	if err != nil {
		return nil, fmt.Errorf("%s is set, which only culprit itself does: unset it (%w)", marker, err)
	}
	// It was run as "exe". The name is for people only.
	os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	return k, nil
}

func inherited(value string) (*Keeper, error) {
	fd, err := strconv.ParseUint(value, 10, 16)
	if err != nil || fd < 3 {
		return nil, errors.New("not a descriptor")
	}
	domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_UNIX {
		return nil, errors.New("not a local socket")
	}
	kind, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, errors.New("not a socket of that kind")
	}
	if maker, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil || int(maker.Pid) != os.Getppid() {
		return nil, errors.New("not made by the process that started this one, or that has ended")
	}
	unix.CloseOnExec(int(fd))
	b := make([]byte, MaxMessage)
	n, _, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
	if err != nil || !bytes.HasPrefix(b[:n], []byte(greeting)) {
		return nil, errors.New("no greeting")
	}
	socket, err := unixConn(int(fd))
	if err != nil {
		return nil, err
	}
	return &Keeper{Agreed: b[len(greeting):n:n], socket: socket}, nil
}

// Serve tells the worker that the keeper is ready, and answers its requests until it ends; then it returns nil, and the process
// should exit, whatever handlers still do. Requests are answered side by side, so that a slow one delays none. The error says
// that the worker sent what no worker of ours does; then too the process must exit.
func (k *Keeper) Serve(s Services) error {
	// A service manager that stops all processes of a service means the worker, which may need this one until it is done.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer k.hangUp()

	slots := make(map[string]chan struct{}, len(s))
	for name := range s {
		slots[name] = make(chan struct{}, MaxPending)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		k.hungUp()
	}()
	k.send(&reply{id: readyID}, nil)
	b := make([]byte, MaxMessage)
	for {
		// Without room for them, the kernel closes files that a worker sends.
		n, _, flags, _, err := k.socket.ReadMsgUnix(b, nil)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
			return nil
		case err != nil:
			return fmt.Errorf("reading a request: %w", err)
		case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
			return errMessage
		}
		var r request
		if err := r.parse(b[:n]); err != nil {
			return err
		}
		slot, known := slots[r.service]
		if !known {
			k.send(&reply{id: r.id, err: &Error{Text: fmt.Sprintf("there is no service %q", r.service)}}, nil)
			continue
		}
		// Our worker never asks for more at a time. One that does waits for itself, and one that doesn't take its answers too.
		select {
		case slot <- struct{}{}:
		case <-gone:
			return nil
		}
		req := bytes.Clone(r.payload)
		go func() {
			defer func() { <-slot }()
			payload, files, err := s.answer(r.service, req)
			answer := reply{id: r.id, payload: payload, files: len(files)}
			errors.As(err, &answer.err)
			k.send(&answer, files)
		}()
	}
}

// hangUp closes the socket. hungUp has it in use, and closing waits for that: so it is shut down first, of which hungUp hears.
func (k *Keeper) hangUp() {
	if raw, err := k.socket.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
	k.socket.Close()
}

// hungUp returns when the worker is gone, also while what it has sent is still to be read, or after hangUp.
func (k *Keeper) hungUp() {
	raw, err := k.socket.SyscallConn()
	if err != nil {
		return // it is closed
	}
	raw.Control(func(fd uintptr) {
		for {
			// Asked for nothing, the kernel tells of a hang-up.
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, -1); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
}

// send sends a reply, and closes the files. If the worker is gone, reading says so.
func (k *Keeper) send(r *reply, files []*os.File) {
	defer closeAll(files)
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = descriptor(f)
		}
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := k.socket.WriteMsgUnix(r.append(nil), oob, nil); errors.Is(err, unix.EBADF) {
		failed := reply{id: r.id, err: &Error{Text: "a service answered with a file that was closed", Errno: unix.EBADF}}
		k.socket.Write(failed.append(nil))
	}
}

// descriptor is f.Fd, without that function's side effect: it makes reads of the file block, also in the worker. Of a file that was
// closed it is -1, which isn't sent.
func descriptor(f *os.File) int {
	fd := -1
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(n uintptr) { fd = int(n) })
	}
	return fd
}
