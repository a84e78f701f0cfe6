package firehose

import (
	"fmt"
	"io"
)

// readSize is how many bytes a Reader wants at once, in bytes.
const readSize = 128 << 10

// Reader reads the fragments of a file, a pipe or a FIFO, each as soon as it is there. Its memory is bounded by the longest fragment that is
// read, and doesn't grow unless one is as long. It isn't safe for concurrent use.
type Reader struct {
	// Scanner finds the fragments. Its MaxLength may be set before the first is read.
	Scanner
	// Idle, if it is set, is called before waiting for more bytes: all that came with the ones before were given out. An error of it ends the reading.
	Idle func() error

	r io.Reader
	// buf[from:to] are the bytes that the scanner isn't done with.
	buf      []byte
	from, to int
	last     bool
	err      error
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next reads the next fragment. Its Data are borrowed until the next call. It returns io.EOF at the end, and any other error of r with where
// it came; fragments that were whole by then were given out before, and one that was cut off by it.
func (r *Reader) Next(f *Fragment) error {
	for {
		n, found := r.Scan(r.buf[r.from:r.to], r.last, f)
		r.from += n
		switch {
		case found:
			return nil
		case r.last:
			return r.err
		}
		if r.Idle != nil {
			if err := r.Idle(); err != nil {
				return err
			}
		}
		r.fill()
	}
}

// fill reads once.
func (r *Reader) fill() {
	if r.from > 0 {
		r.to = copy(r.buf, r.buf[r.from:r.to])
		r.from = 0
	}
	if r.to == len(r.buf) {
		bigger := make([]byte, max(readSize, 2*len(r.buf)))
		copy(bigger, r.buf)
		r.buf = bigger
	}
	const patience = 100 // reads of nothing
	for range patience {
		n, err := r.r.Read(r.buf[r.to:])
		r.to += n
		switch {
		case err == io.EOF:
			r.last, r.err = true, io.EOF
			return
		case err != nil:
			r.last, r.err = true, fmt.Errorf("byte %d of the firehose stream: %w", r.Offset()+int64(r.to-r.from), err)
			return
		case n > 0:
			return
		}
	}
	r.last, r.err = true, io.ErrNoProgress
}
