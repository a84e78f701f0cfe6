package keytap

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tee writes lines on to the key log that the user has named. It is opened when the first line comes, as programs do, and belongs to the pipe
// that the lines come from.
type tee struct {
	path   string
	notify func(format string, args ...any)
	file   *os.File
	failed bool
}

// write appends lines, and tells once of what goes wrong.
func (t *tee) write(lines []byte) {
	if t.failed {
		return
	}
	err := t.open()
	if err == nil {
		err = t.put(lines)
	}
	if err != nil {
		t.failed = true
		advice := ""
		if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EAGAIN) {
			advice = ": it is a pipe that nobody reads"
		}
		t.notify("%s names a key log that can't be written, and which lacks lines now: %v%s", keylogVariable, err, advice)
	}
}

func (t *tee) open() (err error) {
	if t.file != nil {
		return nil
	}
	// A pipe that nobody reads mustn't stop the programs.
	t.file, err = os.OpenFile(t.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o600)
	return err
}

// put writes lines without waiting for whoever reads a pipe.
func (t *tee) put(lines []byte) error {
	c, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Write(func(fd uintptr) (done bool) {
		for len(lines) > 0 && failed == nil {
			n, err := unix.Write(int(fd), lines)
			switch {
			case err == nil:
				lines = lines[n:]
			case err != unix.EINTR:
				failed = fmt.Errorf("write %s: %w", t.path, err)
			}
		}
		return true
	})
	return errors.Join(err, failed)
}

func (t *tee) close() error {
	if t.file == nil {
		return nil
	}
	if err := t.file.Close(); err != nil {
		return fmt.Errorf("the key log %s: %w", t.path, err)
	}
	return nil
}
