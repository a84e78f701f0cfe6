package folder

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// directory makes the system calls for files that lie in the folder itself, without what os.Root and os.File do beside them, which takes
// longer than to write a short file. A name without a slash leads nowhere else, as long as no link is followed.
type directory struct{ dir *os.File }

// openDirectory returns the calls for a folder.
func openDirectory(root *os.Root) (*directory, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	return &directory{dir}, nil
}

func (d *directory) close() error { return d.dir.Close() }

// empty reports whether there is nothing in the folder.
func (d *directory) empty() bool {
	_, err := d.dir.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

func (d *directory) fd() int { return int(d.dir.Fd()) }

// again makes a call until no signal interrupts it.
func again(op, name string, call func() error) error {
	for {
		switch err := call(); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
}

// open opens a file that isn't a link.
func (d *directory) open(name string, flags int) (File, error) {
	fd := -1
	err := again("open", name, func() (err error) {
		fd, err = unix.Openat(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &file{fd: fd, name: name}, nil
}

// exists reports whether there is something of a name.
func (d *directory) exists(name string) (bool, error) {
	var st unix.Stat_t
	err := again("stat", name, func() error { return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// change sets when a file, which isn't a link, says that it was changed last, and read.
func (d *directory) change(name string, modified time.Time) error {
	at, err := unix.TimeToTimespec(modified)
	if err != nil {
		return &fs.PathError{Op: "chtimes", Path: name, Err: err}
	}
	return again("chtimes", name, func() error {
		return unix.UtimesNanoAt(d.fd(), name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// rename gives a file another name, which no other has unless over.
func (d *directory) rename(from, to string, over bool) error {
	if over {
		return again("rename", to, func() error { return unix.Renameat(d.fd(), from, d.fd(), to) })
	}
	err := again("rename", to, func() error { return unix.Renameat2(d.fd(), from, d.fd(), to, unix.RENAME_NOREPLACE) })
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// The file system can't do both at once.
	if there, err := d.exists(to); err != nil {
		return err
	} else if there {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	return d.rename(from, to, true)
}

// file is an open file.
type file struct {
	fd   int
	name string
}

// Write implements io.Writer.
func (f *file) Write(p []byte) (int, error) {
	return f.all("write", p, func(p []byte) (int, error) { return unix.Write(f.fd, p) })
}

// WriteAt implements io.WriterAt.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	return f.all("write", p, func(p []byte) (int, error) {
		n, err := unix.Pwrite(f.fd, p, at)
		at += int64(max(n, 0))
		return n, err
	})
}

// all writes all of p.
func (f *file) all(op string, p []byte, call func([]byte) (int, error)) (done int, err error) {
	for done < len(p) {
		n := 0
		if err := again(op, f.name, func() (err error) { n, err = call(p[done:]); return err }); err != nil {
			return done, err
		}
		if n == 0 {
			return done, &fs.PathError{Op: op, Path: f.name, Err: io.ErrShortWrite}
		}
		done += n
	}
	return done, nil
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, at int64) (done int, err error) {
	for done < len(p) {
		n := 0
		if err := again("read", f.name, func() (err error) { n, err = unix.Pread(f.fd, p[done:], at+int64(done)); return err }); err != nil {
			return done, err
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

// Seek implements io.Seeker.
func (f *file) Seek(offset int64, whence int) (at int64, err error) {
	err = again("seek", f.name, func() (err error) { at, err = unix.Seek(f.fd, offset, whence); return err })
	return at, err
}

// Close implements io.Closer.
func (f *file) Close() error {
	if f.fd < 0 {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	fd := f.fd
	f.fd = -1
	if err := unix.Close(fd); err != nil && err != unix.EINTR { // Linux has closed it even then
		return &fs.PathError{Op: "close", Path: f.name, Err: err}
	}
	return nil
}
