//go:build unix

package keylog

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// nonblocking opens a pipe without waiting for its writer.
const nonblocking = syscall.O_NONBLOCK

// readNow reads what there is, without waiting for more: 0 bytes if nothing is there, io.EOF if there are no writers.
func readNow(f *os.File, b []byte) (n int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var e error
	err = c.Read(func(fd uintptr) bool {
		for {
			if n, e = syscall.Read(int(fd), b); !errors.Is(e, syscall.EINTR) {
				return true
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case errors.Is(e, syscall.EAGAIN):
		return 0, nil
	case e != nil:
		return 0, e
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
