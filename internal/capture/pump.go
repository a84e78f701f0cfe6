package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// idleAfter is how long a source waits before it returns ErrIdle.
	idleAfter = 100 * time.Millisecond
	// pollEvery is the interval at which a followed file is looked at.
	pollEvery = 100 * time.Millisecond
)

// pump makes a reader whose reads may block into one that returns ErrIdle after a while.
//
// One read is under way at a time, on the pump's goroutine. After ErrIdle it is still under way and
// owns the buffer; the next call of Read waits for it again, so it must pass the same buffer.
type pump struct {
	requests chan []byte
	results  chan readResult
	stop     chan struct{}
	pending  bool
	patience time.Duration // how long Read waits
	timer    *time.Timer

	mu     sync.Mutex
	input  io.Closer // what the goroutine opened
	closed bool
}

type readResult struct {
	n   int
	err error
}

// newPump reads from what open returns, and calls open on its goroutine too, since to open a named
// pipe means to wait for its writer.
func newPump(open func(stop <-chan struct{}) (io.ReadCloser, error)) *pump {
	p := &pump{
		// One slot each, so that neither side ever waits to be heard.
		requests: make(chan []byte, 1),
		results:  make(chan readResult, 1),
		stop:     make(chan struct{}),
		patience: idleAfter,
		timer:    time.NewTimer(idleAfter),
	}
	go p.run(open)
	return p
}

func (p *pump) run(open func(stop <-chan struct{}) (io.ReadCloser, error)) {
	in, err := open(p.stop)
	if err == nil && !p.own(in) {
		return
	}
	var content io.ReadCloser
	for {
		var b []byte
		select {
		case b = <-p.requests:
		case <-p.stop:
			if content != nil {
				content.Close()
			}
			return
		}
		if err == nil && content == nil {
			content, err = decompress(in)
		}
		var res readResult
		if res.err = err; err == nil {
			res.n, res.err = content.Read(b)
		}
		p.results <- res
	}
}

// own notes what to close, or closes it if the pump is closed already.
func (p *pump) own(in io.Closer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		in.Close()
		return false
	}
	p.input = in
	return true
}

func (p *pump) Read(b []byte) (int, error) {
	if !p.pending {
		p.requests <- b
		p.pending = true
	}
	p.timer.Reset(p.patience)
	select {
	case res := <-p.results:
		p.pending = false
		return res.n, res.err
	case <-p.timer.C:
		return 0, ErrIdle
	}
}

// Close ends the goroutine; if it is stuck in a read that closing the input doesn't end (a terminal,
// standard input), as soon as that returns.
func (p *pump) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	close(p.stop)
	if p.input != nil {
		return p.input.Close()
	}
	return nil
}

// tail reads a file that grows: it waits at the end for more, until stop.
type tail struct {
	*os.File
	stop   <-chan struct{}
	offset int64
}

func (t *tail) Read(b []byte) (int, error) {
	for {
		n, err := t.File.Read(b)
		t.offset += int64(n)
		if n > 0 || err != io.EOF {
			return n, err
		}
		if err := t.check(); err != nil {
			return 0, err
		}
		select {
		case <-time.After(pollEvery):
		case <-t.stop:
			return 0, os.ErrClosed
		}
	}
}

// check reports whether more can still come.
func (t *tail) check() error {
	now, err := t.Stat()
	if err != nil {
		return err
	}
	if now.Size() < t.offset {
		return shrunk(t.offset, now.Size())
	}
	// A file that was only removed may still be written to.
	if there, err := os.Stat(t.Name()); err == nil && !os.SameFile(now, there) {
		return errors.New("the file was replaced by another: start again to follow that one")
	}
	return nil
}

// wholeFile reads a file to its end and fails if that came nearer meanwhile.
type wholeFile struct {
	*os.File
	size int64 // when opened
}

func (f *wholeFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	if err == io.EOF {
		if now, statErr := f.Stat(); statErr == nil && now.Size() < f.size {
			return n, shrunk(f.size, now.Size())
		}
	}
	return n, err
}

func shrunk(before, now int64) error {
	return fmt.Errorf("the file was truncated from %d to %d bytes while it was read: another program writes to it", before, now)
}
