package keytap

import (
	"errors"
	"fmt"
	"os"
	"syscall"
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
		_, err = t.file.Write(lines)
	}
	if err != nil {
		t.failed = true
		advice := ""
		if errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EAGAIN) {
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
	t.file, err = os.OpenFile(t.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	return err
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
