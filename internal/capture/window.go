package capture

import (
	"errors"
	"fmt"
	"io"
)

const (
	// blockSize is the size of a block, in bytes, and so of a read(2).
	blockSize = 256 << 10
	// minBlockSize is the size of a block when there are many inputs.
	minBlockSize = 64 << 10
	// windowMemory is what the windows of all inputs may hold together, in bytes, unless blocks of
	// minBlockSize take more. One packet that is larger than a block takes more, for as long as it is read.
	windowMemory = 16 << 20
	// spareBlocks is how many blocks that nobody uses are kept for reuse.
	spareBlocks = 16
	// pageSize aligns reads, in the file and in memory.
	pageSize = 4096
	// maxEmptyReads is how many reads in a row may return nothing and no error.
	maxEmptyReads = 100
)

// blockPool hands out blocks of one size and takes them back when their last holder releases them,
// on any goroutine.
type blockPool struct {
	size  int
	spare chan *Block
}

func newBlockPool(size int) *blockPool {
	return &blockPool{size: size, spare: make(chan *Block, spareBlocks)}
}

// get returns a block of at least n bytes, held once.
func (p *blockPool) get(n int) *Block {
	var b *Block
	if n > p.size {
		b = &Block{Bytes: make([]byte, n)}
	} else {
		select {
		case b = <-p.spare:
		default:
			b = &Block{Bytes: make([]byte, p.size), free: p.put}
		}
	}
	b.refs.Store(1)
	return b
}

func (p *blockPool) put(b *Block) {
	select {
	case p.spare <- b:
	default:
	}
}

// window is a moving view of a stream. What is in view lies in one block, so that records can point
// into it:
//
//	block.Bytes   |  passed  |  in view: buf[pos:]  |  free  |
//	                         ^ pos                  ^ len(buf)
//
// When too little is free, what is in view moves to the beginning of a block: of the same one when
// nobody else holds it.
type window struct {
	in    io.Reader
	pool  *blockPool
	block *Block
	buf   []byte // the part of block.Bytes that has been read
	pos   int
	base  int64 // offset of block.Bytes[0] in the stream
	err   error // why in gives no more
}

func newWindow(in io.Reader, pool *blockPool) *window {
	w := &window{in: in, pool: pool, block: pool.get(0)}
	w.buf = w.block.Bytes[:0]
	return w
}

// offset returns the offset in the stream of the first byte in view.
func (w *window) offset() int64 { return w.base + int64(w.pos) }

// peek returns the next n bytes. When the stream ends before the first of them the error is io.EOF, when it
// ends later a *cutError; ErrIdle leaves everything as it is, for another try.
func (w *window) peek(n int) ([]byte, error) {
	if n <= len(w.buf)-w.pos {
		return w.buf[w.pos : w.pos+n], nil
	}
	return w.fill(n)
}

// available returns the next n bytes, or fewer when the stream ends before.
func (w *window) available(n int) ([]byte, error) {
	_, err := w.peek(n)
	var cut *cutError
	if err == nil || err == io.EOF || errors.As(err, &cut) {
		view := w.buf[w.pos:]
		return view[:min(n, len(view))], nil
	}
	return nil, err
}

func (w *window) fill(n int) ([]byte, error) {
	for len(w.buf)-w.pos < n {
		if w.err == nil {
			w.read()
			if w.err == ErrIdle {
				w.err = nil
				return nil, ErrIdle
			}
			continue
		}
		have := len(w.buf) - w.pos
		switch {
		case w.err != io.EOF && w.err != io.ErrUnexpectedEOF:
			return nil, w.err
		case w.err == io.EOF && have == 0:
			return nil, io.EOF
		case have == 0:
			return nil, &cutError{}
		}
		return nil, &cutError{missing: n - have}
	}
	return w.buf[w.pos : w.pos+n], nil
}

// read reads once into the free part of the block. A reader that returns ErrIdle may go on to write
// there: nothing moves before it has returned.
func (w *window) read() {
	if len(w.block.Bytes)-len(w.buf) < pageSize {
		w.move()
	}
	for range maxEmptyReads {
		n, err := w.in.Read(w.block.Bytes[len(w.buf):])
		w.buf = w.block.Bytes[:len(w.buf)+n]
		if w.err = err; n > 0 || err != nil {
			return
		}
	}
	w.err = io.ErrNoProgress
}

// move brings what is in view to the beginning of a block, at such a place that the next read is
// aligned.
func (w *window) move() {
	view := w.buf[w.pos:]
	start := -len(view) & (pageSize - 1)
	need := w.pool.size
	if size := start + len(view); size > need/2 {
		need = 2 * size // one packet fills the block: grow, in step with what arrives
	}
	block := w.block
	if have := len(block.Bytes); have < need || have > w.pool.size && need == w.pool.size || block.refs.Load() > 1 {
		block = w.pool.get(need)
	}
	copy(block.Bytes[start:], view)
	if block != w.block {
		w.block.Release()
		w.block = block
	}
	w.base = w.offset() - int64(start)
	w.buf, w.pos = block.Bytes[:start+len(view)], start
}

// close gives the block back, unless an interrupted read may still write into it.
func (w *window) close(interrupted bool) {
	if !interrupted {
		w.block.Release()
	}
	w.block, w.buf, w.err = nil, nil, io.EOF
	w.pos = 0
}

// cutError says that a stream ends in the middle of something.
type cutError struct {
	missing int // bytes; 0 when nobody knows
}

func (e *cutError) Error() string {
	if e.missing == 0 {
		return "the data ends early"
	}
	return fmt.Sprintf("at least %d bytes are missing", e.missing)
}
