package keylog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// lookEvery is at which of the polls a key log is looked for that isn't there yet, or that may be another file by now.
const lookEvery = 5

// maxPoll is how much is read of a key log at a time, in bytes, so that one that grows fast doesn't keep the others waiting.
const maxPoll = 4 << 20

// Follower reads key logs that others write meanwhile: files that grow, are truncated and begun anew, or are replaced; and
// pipes, whose writers come and go. It reads when Poll is called, and what it finds is pending until the store is published.
// It is safe for concurrent use.
//
//	            Open                     Poll
//	not there ------> open, at an offset -----> more, and again from 0 when it is shorter than that
//	    ^    Poll          |
//	    +------------------+  Poll: another file has that name
type Follower struct {
	store  *Store
	notify func(format string, args ...any)
	buf    []byte

	mu    sync.Mutex
	files []*followed
	polls int
}

// followed is one key log.
type followed struct {
	path   string
	file   *os.File // nil: it isn't there yet
	pipe   bool
	offset int64 // of a file
	feed   feed
	// said is the last trouble that notify was told of; complained: it was told of malformed lines.
	said       string
	complained bool
}

// NewFollower returns a Follower of no file. notify is told what the user should know, from whichever goroutine calls Poll.
func NewFollower(s *Store, notify func(format string, args ...any)) *Follower {
	return &Follower{store: s, notify: notify, buf: make([]byte, readSize)}
}

// Open begins to follow a key log, and reads what there is. One that isn't there is waited for; there tells the difference.
// It never waits for the writer of a pipe.
func (f *Follower) Open(path string) (there bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := &followed{path: path, feed: feed{store: f.store}}
	switch err := k.open(); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, err
	}
	f.files = append(f.files, k)
	for k.file != nil && f.read(k) == maxPoll && !k.pipe { // all of it, before the first packet
	}
	f.complain(k)
	return k.file != nil, nil
}

// open opens the file.
func (k *followed) open() error {
	file, err := os.OpenFile(k.path, os.O_RDONLY|nonblocking, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder: name the key log in it", k.path)
	}
	if err != nil {
		file.Close()
		return err
	}
	k.close()
	k.file, k.pipe, k.offset = file, !info.Mode().IsRegular(), 0
	k.feed.forget()
	k.feed.line, k.said = 0, ""
	return nil
}

func (k *followed) close() {
	if k.file != nil {
		k.file.Close()
		k.file = nil
	}
}

// Poll reads what the key logs have got since, without waiting for more. It is to be called several times a second, and
// before the end.
func (f *Follower) Poll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls++
	for _, k := range f.files {
		if f.polls%lookEvery == 0 {
			f.look(k)
		}
		if k.file != nil {
			f.read(k)
		}
		f.complain(k)
	}
}

// look opens a key log that has come, or that is another file by now.
func (f *Follower) look(k *followed) {
	if k.file != nil {
		now, err := os.Stat(k.path)
		if err != nil {
			return // it may come back, and meanwhile the old one may grow
		}
		if old, err := k.file.Stat(); err != nil || os.SameFile(old, now) {
			return
		}
		for f.read(k) == maxPoll {
		}
	}
	if err := k.open(); err != nil && !errors.Is(err, fs.ErrNotExist) && k.said != err.Error() {
		k.said = err.Error()
		advice := ""
		if errors.Is(err, fs.ErrPermission) {
			advice = "; make it before culprit is started, or for the user that culprit runs as by now"
		}
		f.notify("the key log %s is there by now, and can't be read: %v%s", k.path, err, advice)
	}
}

// read reads at most maxPoll bytes, and returns how many there were.
func (f *Follower) read(k *followed) (total int) {
	for total < maxPoll {
		n, err := k.next(f.buf[:min(len(f.buf), maxPoll-total)])
		k.feed.write(f.buf[:n])
		total += n
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			if k.said != err.Error() {
				k.said = err.Error()
				f.notify("the key log %s can't be read: %v", k.path, err)
			}
			return total
		case err != nil && k.pipe:
			k.feed.end() // whoever wrote has gone
			return total
		case n == 0:
			return total
		}
	}
	return total
}

// next reads on. io.EOF is the end of the file for now, or a pipe without writers.
func (k *followed) next(b []byte) (n int, err error) {
	if k.pipe {
		return readNow(k.file, b)
	}
	n, err = k.file.ReadAt(b, k.offset)
	k.offset += int64(n)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	info, e := k.file.Stat()
	if e != nil {
		return 0, e
	}
	if info.Size() >= k.offset {
		return 0, err
	}
	k.offset, k.feed.line = 0, 0
	k.feed.forget()
	n, err = k.file.ReadAt(b, 0)
	k.offset = int64(n)
	return n, err
}

// complain tells once of lines that are no key log's.
func (f *Follower) complain(k *followed) {
	if p := k.feed.problem; p.Malformed > 0 && !k.complained {
		k.complained = true
		f.notify("%s", p.Text(k.path))
	}
}

// Text says what is wrong with the key log of that name.
func (p Problem) Text(name string) string {
	if p.Malformed == 1 {
		return fmt.Sprintf("%s: line %d is no line of a key log, and is passed over", name, p.First)
	}
	return fmt.Sprintf("%s: %d lines are no lines of a key log, and are passed over; the first is line %d", name, p.Malformed, p.First)
}

// Close closes the files.
func (f *Follower) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.files {
		k.close()
	}
	f.files = nil
}
