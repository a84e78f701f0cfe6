package disk

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// OS returns the file system of the operating system.
func OS() FS { return system{} }

type system struct{}

// file differs from os.File in what Sync does.
type file struct{ *os.File }

func (f file) Sync() error { return syncData(f.File) }

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, FileMode)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (system) Open(name string) (File, error) { return open(name, os.O_RDONLY) }

func (system) Create(name string) (File, error) {
	return open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND)
}

func (system) Rename(from, to string) error              { return os.Rename(from, to) }
func (system) Remove(name string) error                  { return os.Remove(name) }
func (system) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }
func (system) Stat(name string) (fs.FileInfo, error)     { return os.Stat(name) }
func (system) Mkdir(dir string) error                    { return os.Mkdir(dir, DirMode) }
func (system) Free(dir string) (int64, error)            { return Free(dir) }

func (system) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // some network file systems can't sync folders, and have nothing to sync
	}
	return errors.Join(err, d.Close())
}

func (system) Truncate(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err = f.Truncate(size); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
