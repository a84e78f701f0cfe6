package spool

import "github.com/culprit-http/culprit/internal/store/disk"

// window is the part of a segment that is in memory.
type window struct{ disk.Window }

// next returns the first intact frame at pos or behind, and where it stands. Its bytes are valid until the next
// call. budget is how many bytes more may be summed up in vain: that must end, whatever a file holds.
func (w *window) next(pos int64, marker uint64, budget *int64) (f stored, at int64, ok bool) {
	for *budget > 0 {
		if pos = w.Find(pos, marker); w.Size-pos < frameHead {
			break
		}
		f, ok := parseFrame(w.Bytes(pos, frameHead))
		if !ok || int64(f.size) > w.Size-pos {
			pos++
			continue
		}
		if f.b = w.Bytes(pos, f.size); intact(f.b) {
			return f, pos, true
		}
		*budget -= int64(f.size)
		pos++
	}
	return stored{}, w.Size, false
}

// budget returns what next may spend on a file.
func (w *window) budget() int64 { return 2*w.Size + MaxFrame }
