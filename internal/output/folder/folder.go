// Package folder makes the files of outputs that write many: under a temporary name until they are complete, never outside of their
// folder, never over what is there unless that was asked for, and for their owner alone.
//
//	Create --> NAME.part, being written --Close, Finish--> NAME
package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// PartSuffix ends the name of a file that isn't complete.
const PartSuffix = ".part"

// File is an open file of a folder.
type File interface {
	io.Writer
	io.WriterAt
	io.Seeker
	io.ReaderAt
	io.Closer
}

// Folder is a folder that files are made in. Names are paths with slashes, relative to it; folders that they name are made. A name that
// leads out of it, by .. or by a symbolic link, is an error. It isn't safe for concurrent use.
type Folder struct {
	root *os.Root
	// force: files that are there are replaced.
	force bool
	made  map[string]bool
}

// Open returns a Folder in root. force: what is there by a name is replaced, when the new file is complete.
func Open(root *os.Root, force bool) *Folder {
	return &Folder{root: root, force: force, made: map[string]bool{}}
}

// Name returns the name of the folder.
func (f *Folder) Name() string { return f.root.Name() }

// Close closes the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Create makes the file of a name, under its temporary name. Without force it is an error that wraps fs.ErrExist when there is a file of
// the name or of the temporary one.
func (f *Folder) Create(name string) (File, error) {
	if err := f.parents(name); err != nil {
		return nil, err
	}
	part := name + PartSuffix
	if f.force {
		if err := f.root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	} else if _, err := f.root.Lstat(name); err == nil {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return f.open(part, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Reopen opens a file again that Create has made, and that was closed but not finished.
func (f *Folder) Reopen(name string) (File, error) { return f.open(name+PartSuffix, os.O_RDWR) }

func (f *Folder) open(part string, flags int) (File, error) {
	file, err := f.root.OpenFile(part, flags, 0o600)
	if err != nil {
		return nil, err // not a nil *os.File that isn't nil
	}
	return file, nil
}

// Finish gives a file its name, once it is closed and complete. modified, unless it is zero, is when it says that it was changed last.
func (f *Folder) Finish(name string, modified time.Time) error {
	part := name + PartSuffix
	if !modified.IsZero() {
		if err := f.root.Chtimes(part, modified, modified); err != nil {
			return err
		}
	}
	return f.root.Rename(part, name)
}

// Remove removes a file that was closed and isn't wanted.
func (f *Folder) Remove(name string) error { return f.root.Remove(name + PartSuffix) }

// parents makes the folders that a name names.
func (f *Folder) parents(name string) error {
	dir := path.Dir(name)
	if dir == "." || f.made[dir] {
		return nil
	}
	if err := f.root.MkdirAll(strings.TrimPrefix(dir, "/"), 0o700); err != nil {
		return err
	}
	f.made[dir] = true
	return nil
}
