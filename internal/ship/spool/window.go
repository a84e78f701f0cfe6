package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/culprit-http/culprit/internal/store/disk"
)

const (
	// windowSize is how much is read at a time, in bytes, unless a frame is larger.
	windowSize = 256 << 10
	// block is the unit in which a file is read that can't be read as a whole, in bytes.
	block = 4096
)

// window is the part of a file that is in memory. The file may grow; what was read doesn't change.
type window struct {
	f    disk.File
	size int64 // of what may be read
	b    []byte
	off  int64
}

// bytes returns n bytes at off, which must be within size. They are valid until the next call. What can't be read is
// zeros, which no checksum fits.
func (w *window) bytes(off int64, n int) []byte {
	if i := off - w.off; i >= 0 && i+int64(n) <= int64(len(w.b)) {
		return w.b[i : i+int64(n)]
	}
	want := int(min(int64(max(n, windowSize)), w.size-off))
	if cap(w.b) < want {
		w.b = make([]byte, want)
	}
	w.b, w.off = w.b[:want], off
	if read, err := w.f.ReadAt(w.b, off); read < want {
		clear(w.b[read:])
		if !errors.Is(err, io.EOF) {
			w.pick(read)
		}
	}
	return w.b[:n]
}

// pick reads what it can from a position in the window on, block by block.
func (w *window) pick(from int) {
	for from < len(w.b) {
		to := min(len(w.b), from+block-int((w.off+int64(from))%block))
		n, _ := w.f.ReadAt(w.b[from:to], w.off+int64(from))
		clear(w.b[from+n : to])
		from = to
	}
}

// find returns where the marker stands next, at pos or behind, or size.
func (w *window) find(pos int64, marker uint64) int64 {
	var m [8]byte
	binary.LittleEndian.PutUint64(m[:], marker)
	for w.size-pos >= int64(len(m)) {
		have := windowSize
		if left := w.off + int64(len(w.b)) - pos; pos >= w.off && left >= int64(len(m)) {
			have = int(left)
		}
		b := w.bytes(pos, int(min(int64(have), w.size-pos)))
		if i := bytes.Index(b, m[:]); i >= 0 {
			return pos + int64(i)
		}
		pos += int64(len(b) - len(m) + 1)
	}
	return w.size
}

// next returns the first intact frame at pos or behind, and where it stands. Its bytes are valid until the next
// call. budget is how many bytes more may be summed up in vain: that must end, whatever a file holds.
func (w *window) next(pos int64, marker uint64, budget *int64) (f stored, at int64, ok bool) {
	for *budget > 0 {
		if pos = w.find(pos, marker); w.size-pos < frameHead {
			break
		}
		f, ok := parseFrame(w.bytes(pos, frameHead))
		if !ok || int64(f.size) > w.size-pos {
			pos++
			continue
		}
		if f.b = w.bytes(pos, f.size); intact(f.b) {
			return f, pos, true
		}
		*budget -= int64(f.size)
		pos++
	}
	return stored{}, w.size, false
}

// budget returns what next may spend on a file.
func (w *window) budget() int64 { return 2*w.size + MaxFrame }
