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
	// empty: nothing was in it at first, so that there is no need to look for a name before the file has it.
	empty bool
	// direct makes the system calls for names without a slash; nil: root does.
	direct *directory
}

// Open returns a Folder in root. force: what is there by a name is replaced, when the new file is complete.
func Open(root *os.Root, force bool) *Folder {
	f := &Folder{root: root, force: force, made: map[string]bool{}}
	if d, err := openDirectory(root); err == nil {
		f.direct = d
		f.empty = d.empty()
	}
	return f
}

// calls returns what makes the system calls for names, nil if root is to do it.
func (f *Folder) calls(names ...string) *directory {
	for _, name := range names {
		if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
			return nil
		}
	}
	return f.direct
}

// Name returns the name of the folder.
func (f *Folder) Name() string { return f.root.Name() }

// Close closes the folder.
func (f *Folder) Close() error {
	if f.direct != nil {
		_ = f.direct.close() // nothing is written by it
	}
	return f.root.Close()
}

// Create makes the file of a name, under its temporary name. Without force it is an error that wraps fs.ErrExist when there is a file of
// the name or of the temporary one, here or, where the folder was empty at first, in Finish.
func (f *Folder) Create(name string) (File, error) {
	if err := f.parents(name); err != nil {
		return nil, err
	}
	part := name + PartSuffix
	if f.force {
		if err := f.root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	} else if !f.empty || f.calls(name) == nil { // otherwise Finish finds out
		if err := f.absent(name); err != nil {
			return nil, err
		}
	}
	return f.open(part, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// absent returns an error if there is something of a name.
func (f *Folder) absent(name string) error {
	var err error
	if d := f.calls(name); d != nil {
		there, e := d.exists(name)
		if err = e; !there && e == nil {
			return nil
		}
	} else {
		_, err = f.root.Lstat(name)
	}
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w", name, fs.ErrExist)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// Reopen opens a file again that Create has made, and that was closed but not finished.
func (f *Folder) Reopen(name string) (File, error) { return f.open(name+PartSuffix, os.O_RDWR) }

func (f *Folder) open(part string, flags int) (File, error) {
	if d := f.calls(part); d != nil {
		return d.open(part, flags)
	}
	file, err := f.root.OpenFile(part, flags, 0o600)
	if err != nil {
		return nil, err // not a nil *os.File that isn't nil
	}
	return file, nil
}

// Finish gives a file its name, once it is closed and complete. modified, unless it is zero, is when it says that it was changed last.
func (f *Folder) Finish(name string, modified time.Time) error {
	return f.FinishAs(name, name, modified)
}

// FinishAs gives a file another name than that which it was made for, under the rules of Create.
func (f *Folder) FinishAs(name, final string, modified time.Time) error {
	if err := f.parents(final); err != nil {
		return err
	}
	part := name + PartSuffix
	d := f.calls(part, final)
	if !modified.IsZero() {
		var err error
		if d != nil {
			err = d.change(part, modified)
		} else {
			err = f.root.Chtimes(part, modified, modified)
		}
		if err != nil {
			return err
		}
	}
	if d != nil {
		return d.rename(part, final, f.force)
	}
	if !f.force {
		if err := f.absent(final); err != nil {
			return err
		}
	}
	return f.root.Rename(part, final)
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
