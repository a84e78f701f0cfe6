package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// LockName is the name of the file in a folder that its writer holds locked. It stays when the writer is gone: a
// writer that deleted it could let two others lock two files of that name.
const LockName = "culprit.lock"

// DirLock is a folder that this process alone writes. The system lets go of it when the process ends, however it
// ends.
type DirLock struct{ f *os.File }

// LockedError says that another process writes a folder.
type LockedError struct {
	// Dir is the folder.
	Dir string
	// PID is the writer's process id, as it sees itself, or 0 if it isn't known.
	PID int
}

func (e *LockedError) Error() string {
	who := "another culprit"
	if e.PID > 0 {
		who = "culprit (pid " + strconv.Itoa(e.PID) + ")"
	}
	return fmt.Sprintf("the store %s is being written by %s: stop it, or choose another folder; many may read", e.Dir, who)
}

// Lock makes this process the writer of a folder. The error is a *LockedError if there is one already, and
// errors.ErrUnsupported where the system has no such locks.
func Lock(dir string) (*DirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE, FileMode)
	if err != nil {
		return nil, fmt.Errorf("locking the store: %w", err)
	}
	free, err := tryLock(f)
	switch {
	case err != nil:
		err = fmt.Errorf("locking the store %s: %w", dir, err)
	case !free:
		err = &LockedError{Dir: dir, PID: holder(f)}
	default:
		// The number is for the message only: if it can't be written, the lock holds all the same.
		if f.Truncate(0) == nil {
			_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		}
		return &DirLock{f}, nil
	}
	return nil, errors.Join(err, f.Close())
}

// Unlock lets others write the folder.
func (l *DirLock) Unlock() error {
	_ = l.f.Truncate(0)
	return l.f.Close()
}

// holder returns the process id that a lock file tells, or 0.
func holder(f *os.File) int {
	var b [16]byte
	n, _ := f.ReadAt(b[:], 0)
	for i, c := range b[:n] {
		if c == '\n' {
			pid, err := strconv.ParseUint(string(b[:i]), 10, 31)
			if err != nil {
				return 0
			}
			return int(pid)
		}
	}
	return 0
}
