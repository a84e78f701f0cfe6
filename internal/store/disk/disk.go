// Package disk is the file system as the store needs it: files that are only appended to, folders whose entries
// can be made durable, one writer at a time, and how much room is left.
//
// What is written is durable only after Sync of the file and, if the file is new, renamed or removed, SyncDir of its
// folder. All goes through FS, so that tests can lose power and room at any moment; see faultfs.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
)

// Modes of what is created: captured traffic is nobody else's business.
const (
	FileMode fs.FileMode = 0o600
	DirMode  fs.FileMode = 0o700
)

// ErrUnknown is Free's answer where the file system doesn't tell.
var ErrUnknown = errors.New("the free space isn't known here")

// File is an open file. It may be used by several goroutines; the order of writes is then theirs to see to.
type File interface {
	io.ReaderAt
	// Write appends, wherever the end is by then. A write that fails may have appended a part.
	io.Writer
	io.Closer
	// Sync makes the content durable, and not the file's name. After an error the content since the last Sync
	// may be lost even if a later Sync succeeds: the kernel forgets pages that it failed to write. Such a file
	// mustn't be trusted beyond what was synced before.
	Sync() error
	// Truncate cuts the file off, or fills it up with zeros.
	Truncate(size int64) error
	// Size returns the length in bytes.
	Size() (int64, error)
}

// FS is a file system. Errors are those of package os: errors.Is knows fs.ErrNotExist and fs.ErrExist, and IsFull a
// full disk. It may be used by several goroutines.
type FS interface {
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Create makes a file and opens it for appending and reading. It is an error if the name exists.
	Create(name string) (File, error)
	// Rename gives a file another name; what had that name is replaced.
	Rename(from, to string) error
	// Remove deletes a file or an empty folder.
	Remove(name string) error
	// ReadDir returns what is in a folder, sorted by name.
	ReadDir(dir string) ([]fs.DirEntry, error)
	// Stat tells of a file or folder.
	Stat(name string) (fs.FileInfo, error)
	// Mkdir makes a folder. It is an error if the name exists.
	Mkdir(dir string) error
	// SyncDir makes durable which names are in a folder.
	SyncDir(dir string) error
	// Truncate cuts a file off durably.
	Truncate(name string, size int64) error
	// Free returns how many bytes may still be written below dir, or ErrUnknown.
	Free(dir string) (int64, error)
}

// MkdirAll makes a folder with all that lead to it, durably.
func MkdirAll(f FS, dir string) error {
	switch info, err := f.Stat(dir); {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is needed as a folder, but is a file: move it away, or choose another folder", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrNotExist}
	}
	if err := MkdirAll(f, parent); err != nil {
		return err
	}
	if err := f.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.SyncDir(parent)
}

// IsFull reports whether an error says that there is no room: on the file system, or within the user's quota.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
