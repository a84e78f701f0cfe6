package files

import (
	"container/list"
	"fmt"
	"time"

	"github.com/culprit-http/culprit/internal/output/folder"
)

// Folder is where the files are; *folder.Folder is one.
type Folder interface {
	// Create makes a file under a temporary name, Reopen opens it again once it was closed, and Finish gives it its name. Remove removes
	// one that was closed and isn't wanted.
	Create(name string) (folder.File, error)
	Reopen(name string) (folder.File, error)
	Finish(name string, modified time.Time) error
	Remove(name string) error
}

const (
	// blockSize is how much of a file waits to be written, in bytes.
	blockSize = 64 << 10
	// MaxPending is how much of all files waits, in bytes.
	MaxPending = 32 << 20
	// minBuffer is the smallest buffer, and maxSpare how many are kept for use again.
	minBuffer = 2 << 10
	maxSpare  = 64
)

// sheet is a file that is being written. A small one is made when it is complete, by one call each to make, to write and to name it.
type sheet struct {
	name string
	// modified is when the file is to have been changed last, zero: now.
	modified time.Time
	// buf waits to be written behind the first written bytes.
	buf     []byte
	written int64
	// hollow is where the last room ends that was left.
	hollow int64
	// made: there is a file. file is there while it is open.
	made bool
	file folder.File
	// in is the sheet's place among the open ones, waits that among those with something to write.
	in, waits *list.Element
}

// sheets are the files that are being written.
type sheets struct {
	folder Folder
	// open are the sheets whose files are open, waiting those with something to write, each with the one used last first.
	open, waiting *list.List
	pending       int
	spare         [][]byte
	// The limits.
	maxOpen, maxPending int
	// made counts the files.
	made uint64
}

func newSheets(f Folder, maxOpen int) *sheets {
	return &sheets{folder: f, open: list.New(), waiting: list.New(), maxOpen: maxOpen, maxPending: MaxPending}
}

func wrap(name string, err error) error {
	if err != nil {
		return fmt.Errorf("files output: %s: %w", name, err)
	}
	return nil
}

// add puts bytes behind those that are there.
func (p *sheets) add(s *sheet, b []byte) error {
	if len(s.buf)+len(b) > blockSize {
		if err := p.write(s); err != nil {
			return err
		}
	}
	if len(b) >= blockSize {
		if err := p.need(s); err != nil {
			return err
		}
		n, err := s.file.WriteAt(b, s.written)
		s.written += int64(n)
		return wrap(s.name, err)
	}
	p.reserve(s, len(b))
	s.buf = append(s.buf, b...)
	p.pending += len(b)
	for p.pending > p.maxPending {
		if err := p.write(p.waiting.Back().Value.(*sheet)); err != nil {
			return err
		}
	}
	return nil
}

// reserve makes room for n bytes in the buffer of a sheet, which comes to be the one that was used last.
func (p *sheets) reserve(s *sheet, n int) {
	switch {
	case s.waits == nil:
		s.waits = p.waiting.PushFront(s)
	default:
		p.waiting.MoveToFront(s.waits)
	}
	if len(s.buf)+n <= cap(s.buf) {
		return
	}
	if k := len(p.spare); k > 0 && cap(s.buf) == 0 && cap(p.spare[k-1]) >= n {
		s.buf, p.spare = p.spare[k-1], p.spare[:k-1]
		return
	}
	grown := make([]byte, len(s.buf), min(max(minBuffer, 4*cap(s.buf), len(s.buf)+n), blockSize))
	copy(grown, s.buf)
	s.buf = grown
}

// write writes what waits of a sheet, and gives its buffer back.
func (p *sheets) write(s *sheet) error {
	if s.waits == nil {
		return nil
	}
	p.waiting.Remove(s.waits)
	s.waits = nil
	p.pending -= len(s.buf)
	buf := s.buf
	s.buf = nil
	if len(p.spare) < maxSpare {
		p.spare = append(p.spare, buf[:0])
	}
	if err := p.need(s); err != nil {
		return err
	}
	n, err := s.file.WriteAt(buf, s.written)
	s.written += int64(n)
	return wrap(s.name, err)
}

// skip leaves room for n bytes.
func (p *sheets) skip(s *sheet, n int64) error {
	err := p.write(s)
	s.written += n
	s.hollow = s.written
	return err
}

// need opens the file of a sheet, and closes another where there are too many.
func (p *sheets) need(s *sheet) error {
	if s.file != nil {
		p.open.MoveToFront(s.in)
		return nil
	}
	if p.open.Len() >= p.maxOpen {
		if err := p.shut(p.open.Back().Value.(*sheet)); err != nil {
			return err
		}
	}
	open := p.folder.Create
	if s.made {
		open = p.folder.Reopen
	}
	f, err := open(s.name)
	if err != nil {
		return wrap(s.name, err)
	}
	if !s.made {
		p.made++
	}
	s.made, s.file, s.in = true, f, p.open.PushFront(s)
	return nil
}

// shut closes the file of a sheet, if it is open.
func (p *sheets) shut(s *sheet) error {
	if s.file == nil {
		return nil
	}
	p.open.Remove(s.in)
	err := s.file.Close()
	s.file, s.in = nil, nil
	return wrap(s.name, err)
}

// finish writes what waits of a sheet, and gives its file, if there is one, its name.
func (p *sheets) finish(s *sheet) error {
	err := p.write(s)
	if err == nil && s.hollow > 0 && s.hollow == s.written { // nothing comes behind it: the file has to be as long
		if err = p.need(s); err == nil {
			_, err = s.file.WriteAt([]byte{0}, s.written-1)
			err = wrap(s.name, err)
		}
	}
	if e := p.shut(s); err == nil {
		err = e
	}
	if err != nil || !s.made {
		return err
	}
	return wrap(s.name, p.folder.Finish(s.name, s.modified))
}

// discard forgets a sheet that isn't wanted.
func (p *sheets) discard(s *sheet) error {
	if s.waits != nil {
		p.waiting.Remove(s.waits)
		p.pending -= len(s.buf)
		if len(p.spare) < maxSpare {
			p.spare = append(p.spare, s.buf[:0])
		}
		s.waits, s.buf = nil, nil
	}
	if err := p.shut(s); err != nil || !s.made {
		return err
	}
	return wrap(s.name, p.folder.Remove(s.name))
}

// flush writes all that waits.
func (p *sheets) flush() error {
	for e := p.waiting.Back(); e != nil; e = p.waiting.Back() {
		if err := p.write(e.Value.(*sheet)); err != nil {
			return err
		}
	}
	return nil
}

// close closes all files that are open. They keep their temporary names, unless they were finished before.
func (p *sheets) close() (err error) {
	for e := p.open.Front(); e != nil; e = p.open.Front() {
		if e := p.shut(e.Value.(*sheet)); err == nil {
			err = e
		}
	}
	return err
}
