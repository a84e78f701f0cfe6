package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

const (
	// WindowSize is how much a Window reads at a time, in bytes, unless more is asked for.
	WindowSize = 256 << 10
	// block is the unit in which a file is read that can't be read as a whole, in bytes.
	block = 4096
)

// Window is the part of a file that is in memory. The file may grow; what was read doesn't change.
type Window struct {
	File File
	// Size is how much of the file may be read.
	Size int64
	// Failure is why a part couldn't be read; nil: all could.
	Failure error

	b   []byte
	off int64
	// All parts that couldn't be read are between badFrom and badTo.
	badFrom, badTo int64
}

// Reset makes it a window of another file, and keeps its memory.
func (w *Window) Reset(f File, size int64) { *w = Window{File: f, Size: size, b: w.b[:0]} }

// Bytes returns n bytes at off, which must be within Size. They are valid until the next call. What can't be read is
// zeros, which no checksum must fit.
func (w *Window) Bytes(off int64, n int) []byte {
	if i := off - w.off; i >= 0 && i+int64(n) <= int64(len(w.b)) {
		return w.b[i : i+int64(n)]
	}
	want := int(min(int64(max(n, WindowSize)), w.Size-off))
	if cap(w.b) < want {
		w.b = make([]byte, want)
	}
	w.b, w.off = w.b[:want], off
	if read, err := w.File.ReadAt(w.b, off); read < want {
		clear(w.b[read:])
		if !errors.Is(err, io.EOF) {
			w.pick(read)
		}
	}
	return w.b[:n]
}

// pick reads what it can from a position in the window on, block by block.
func (w *Window) pick(from int) {
	for from < len(w.b) {
		to := min(len(w.b), from+block-int((w.off+int64(from))%block))
		if n, err := w.File.ReadAt(w.b[from:to], w.off+int64(from)); n < to-from {
			clear(w.b[from+n : to])
			if !errors.Is(err, io.EOF) {
				if w.Failure == nil {
					w.badFrom = w.off + int64(from)
				}
				w.Failure, w.badFrom, w.badTo = err, min(w.badFrom, w.off+int64(from)), max(w.badTo, w.off+int64(to))
			}
		}
		from = to
	}
}

// Unreadable returns why a part of the file may not have been readable, or nil.
func (w *Window) Unreadable(from, to int64) error {
	if w.badFrom < to && from < w.badTo {
		return w.Failure
	}
	return nil
}

// Find returns where the marker stands next, little-endian, at pos or behind, or Size.
func (w *Window) Find(pos int64, marker uint64) int64 {
	var m [8]byte
	binary.LittleEndian.PutUint64(m[:], marker)
	for w.Size-pos >= int64(len(m)) {
		b := w.Bytes(pos, int(min(int64(w.left(pos)), w.Size-pos)))
		if i := bytes.Index(b, m[:]); i >= 0 {
			return pos + int64(i)
		}
		pos += int64(len(b) - len(m) + 1)
	}
	return w.Size
}

// left returns how many bytes can be had at pos without reading, or else with it.
func (w *Window) left(pos int64) int {
	if n := w.off + int64(len(w.b)) - pos; pos >= w.off && n >= 8 {
		return int(n)
	}
	return WindowSize
}
