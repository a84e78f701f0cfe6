// Package rotate spreads the lines of an output over files that are used in turn, so that it never takes more than so much
// room. A line is never in two files.
//
//	Exchange --> inner output --lines--> file 1 | file 2 | ... | file n
//	   |                                   ^                       |
//	   +-- capture time: is the file due?  +--- used again --------+
package rotate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
)

// File is one of the files; an *os.File that was opened for reading and writing, not truncated.
type File interface {
	io.ReaderAt
	io.Writer
	io.Seeker
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	Name() string
}

// Options say when a file ends.
type Options struct {
	// Size ends a file before it would have more bytes; 0: never. A longer line has a file of its own.
	Size int64
	// Every ends a file when the starts of its exchanges would span that much; 0: never.
	Every time.Duration
}

// Output is an output that rotates. It implements output.Output, and nothing else that the one inside may.
type Output struct {
	inner output.Output
	ring  *ring
	every int64
	first int64 // start of the first exchange in the file, in nanoseconds since 1970
	begun bool  // there is one
}

// New returns an output that writes to files what the output of inner writes, which must be lines, each Write of
// whole ones. It goes on behind the newest line in the files: what an earlier run has written stays until it is its file's
// turn. The start of a line whose end is missing is cut off. The files stay the caller's to close.
func New(files []File, inner func(w io.Writer) output.Output, o Options) (*Output, error) {
	r := &ring{files: files, limit: o.Size}
	if err := r.resume(); err != nil {
		return nil, err
	}
	return &Output{inner: inner(r), ring: r, every: int64(o.Every)}, nil
}

// Exchange implements output.Output.
func (o *Output) Exchange(x *exchange.Exchange) error {
	if at := x.Start.Time; o.every > 0 {
		if o.begun && at-o.first >= o.every {
			if err := o.inner.Flush(); err != nil {
				return err
			}
			if err := o.ring.turn(); err != nil {
				return err
			}
			o.begun = false
		}
		if !o.begun {
			o.first, o.begun = at, true
		}
	}
	return o.inner.Exchange(x)
}

// Flush implements output.Output.
func (o *Output) Flush() error { return o.inner.Flush() }

// Close implements output.Output.
func (o *Output) Close() error { return o.inner.Close() }

// ring is the files, of which one is written.
type ring struct {
	files []File
	at    int
	// size is the length of the current file, limit what it may have at most, or 0.
	size, limit int64
}

// resume finds the newest file, and goes on behind its last line.
func (r *ring) resume() error {
	if len(r.files) == 0 {
		return errors.New("there is no file to write")
	}
	var newest time.Time
	for i, f := range r.files {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no file: rotation needs files", f.Name())
		}
		if info.Size() > 0 && info.ModTime().After(newest) {
			newest, r.at, r.size = info.ModTime(), i, info.Size()
		}
	}
	size, err := wholeLines(r.files[r.at], r.size)
	if err != nil {
		return err
	}
	r.size = size
	return r.cut()
}

// readBack is how much is read at once while looking for the end of a line, in bytes.
const readBack = 64 << 10

// wholeLines returns how much of a file of that size is whole lines.
func wholeLines(f File, size int64) (int64, error) {
	b := make([]byte, readBack)
	for size > 0 {
		from := max(0, size-readBack)
		part := b[:size-from]
		if _, err := f.ReadAt(part, from); err != nil && err != io.EOF {
			return 0, fmt.Errorf("looking for the last line: %w", err)
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		size = from
	}
	return 0, nil
}

// cut makes the current file what counts of it.
func (r *ring) cut() error {
	f := r.files[r.at]
	if err := f.Truncate(r.size); err != nil {
		return err
	}
	_, err := f.Seek(r.size, io.SeekStart)
	return err
}

// turn begins the next file.
func (r *ring) turn() error {
	r.at, r.size = (r.at+1)%len(r.files), 0
	return r.cut()
}

// Write writes whole lines, and begins files where they are due. After an error, the lines that weren't written whole
// aren't in the file.
func (r *ring) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := r.fitting(p)
		if len(part) == 0 {
			if err := r.turn(); err != nil {
				return n, err
			}
			continue
		}
		written, err := r.files[r.at].Write(part)
		if err == nil && written < len(part) {
			err = io.ErrShortWrite
		}
		if err != nil {
			whole := bytes.LastIndexByte(part[:written], '\n') + 1
			r.size += int64(whole)
			return n + whole, errors.Join(err, r.cut())
		}
		n += written
		r.size += int64(written)
		p = p[written:]
	}
	return n, nil
}

// fitting returns those of the lines at the start of p that belong into the current file; none: into the next.
func (r *ring) fitting(p []byte) []byte {
	room := int64(len(p))
	if r.limit > 0 {
		room = r.limit - r.size
	}
	if int64(len(p)) <= room {
		return p
	}
	if room > 0 {
		if i := bytes.LastIndexByte(p[:room], '\n'); i >= 0 {
			return p[:i+1]
		}
	}
	if r.size > 0 {
		return nil
	}
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return p[:i+1]
	}
	return p
}
