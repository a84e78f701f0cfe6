package wal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/culprit-http/culprit/internal/store/disk"
)

// MaxDamage is how many damaged places a report lists; the others are only counted.
const MaxDamage = 64

// Func takes a record: the number of its file, that file's header, and the payload. Both are borrowed until return.
type Func func(seq uint64, header, payload []byte) error

// Damage is a range of a file that has no record that can be trusted.
type Damage struct {
	// Seq is the file's number, Offset and Bytes the range.
	Seq           uint64
	Offset, Bytes int64
	// Torn: at the end of a file. That is normal after a crash or a full disk, in what was never synced.
	Torn bool
	// Err is why, if it isn't a checksum.
	Err error
}

func (d Damage) String() string {
	what := "damaged"
	if d.Torn {
		what = "torn end"
	}
	s := fmt.Sprintf("%s: %s: %d bytes from offset %d on are left out", fileName(d.Seq), what, d.Bytes, d.Offset)
	if d.Err != nil {
		s += ": " + d.Err.Error()
	}
	return s
}

// Report tells what a replay has found.
type Report struct {
	// Files were read, with Records that were delivered, of Bytes payload.
	Files   int
	Records uint64
	Bytes   int64
	// Duplicates weren't delivered, since they had been: written again after a failed sync.
	Duplicates uint64
	// Missing is how many records are known to lack between those that were delivered.
	Missing uint64
	// Torn and Damaged count bytes that were left out: at the ends of files, and elsewhere.
	Torn, Damaged int64
	// Places are the first MaxDamage of these, and Unlisted the number of the others.
	Places   []Damage
	Unlisted uint64
	// Gone is how many files were removed by their writer before they were read.
	Gone int
	// Unsynced is why a file couldn't be made durable, without its torn end, if so. Its records should soon be kept
	// elsewhere: if they were never synced, a power cut could still take them.
	Unsynced error
}

func (r *Report) damage(d Damage) {
	if d.Bytes <= 0 {
		return
	}
	if d.Torn {
		r.Torn += d.Bytes
	} else {
		r.Damaged += d.Bytes
	}
	if len(r.Places) < MaxDamage {
		r.Places = append(r.Places, d)
	} else {
		r.Unlisted++
	}
}

// VersionError says that a file was written by a program with another format.
type VersionError struct {
	Path    string
	Version uint32
	// Writer is the name and version of the program.
	Writer string
}

func (e *VersionError) Error() string {
	who := "another version of culprit"
	if e.Writer != "" {
		who = e.Writer
	}
	return fmt.Sprintf("%s has format %d, written by %s; this program knows format %d: open the store once with the program that wrote it and let it end in order, or move the file away",
		e.Path, e.Version, who, version)
}

// checkVersion returns a *VersionError for a file of another version, and nothing for one that is damaged.
func checkVersion(f disk.FS, path string) error {
	r, err := f.Open(path)
	if err != nil {
		return nil // Replay tells
	}
	defer r.Close()
	w, err := newWindow(r)
	if err != nil {
		return nil
	}
	_, _, err = w.head(path)
	var other *VersionError
	if errors.As(err, &other) {
		return other
	}
	return nil
}

// Replay calls fn for each record of the files that were there at Open and still count, in the order of Append. It stops
// at the first error of fn, and returns it. Torn ends are cut off, and the rest is made durable, since the process that
// wrote it may have ended before its Sync. What can't be read is left out and reported.
func (l *Log) Replay(fn Func) (Report, error) {
	return replay(l.fs, l.dir, l.from, l.opened, fn, true)
}

// Read is Replay for those who don't write the log: it changes nothing. The log may be written meanwhile; a record that
// is just being written looks torn. nil is the operating system's file system.
func Read(f disk.FS, dir string, from uint64, fn Func) (Report, error) {
	if f == nil {
		f = disk.OS()
	}
	return replay(f, dir, from, maxSeq, fn, false)
}

func replay(f disk.FS, dir string, from, to uint64, fn Func, cut bool) (r Report, err error) {
	seqs, err := files(f, dir)
	if err != nil {
		return r, err
	}
	p := player{fs: f, fn: fn, report: &r}
	limits := p.limits(dir, seqs, from, to)
	for i, seq := range seqs {
		if seq < from || seq > to {
			continue
		}
		p.limit = limits[i]
		last := i+1 == len(seqs) || seqs[i+1] > to
		err := p.play(filepath.Join(dir, fileName(seq)), seq, last, cut)
		if errors.Is(err, errGone) {
			r.Gone++
			continue
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// limits returns for each file from which index on its records stand in a later file too.
func (p *player) limits(dir string, seqs []uint64, from, to uint64) []uint64 {
	limits := make([]uint64, len(seqs))
	var life uint64
	limit := uint64(math.MaxUint64)
	for i, seq := range slices.Backward(seqs) {
		if limits[i] = limit; seq < from || seq > to {
			continue
		}
		f, err := p.fs.Open(filepath.Join(dir, fileName(seq)))
		if err != nil {
			continue // play tells
		}
		if w, err := newWindow(f); err == nil {
			if h, pos, err := w.head(""); err == nil && h.seq == seq {
				if h.life != life {
					life, limit = h.life, math.MaxUint64
					limits[i] = limit
				}
				if w.copied(&h, pos) {
					limit = min(limit, h.first)
				}
			}
		}
		_ = f.Close()
	}
	return limits
}

// copied reports whether all copies of records are there, at pos and behind, so that none before is needed. What has no
// copy was never taken.
func (w *window) copied(h *head, pos int64) bool {
	for index, i := h.first, uint32(0); i < h.copies; i++ {
		if w.Size-pos < overhead {
			return false
		}
		rec := parseRecord(w.Bytes(pos, recordHead))
		whole := overhead + int64(rec.size)
		if rec.marker != h.marker || i == 0 && rec.index != index || i > 0 && rec.index <= index ||
			rec.size == 0 || rec.size > MaxRecord || whole > w.Size-pos || !intact(w.Bytes(pos, int(whole))) {
			return false
		}
		index = rec.index
		pos += whole
	}
	return true
}

// player reads files one after the other.
type player struct {
	fs     disk.FS
	fn     Func
	report *Report
	// life and index are those of the last record delivered.
	life, index uint64
	// limit is the index from which on a later file has the records.
	limit uint64
}

var errGone = errors.New("the file is gone")

// play reads a file.
func (p *player) play(path string, seq uint64, last, cut bool) error {
	f, err := p.fs.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	defer f.Close()
	w, err := newWindow(f)
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	p.report.Files++
	h, pos, err := w.head(path)
	var other *VersionError
	switch {
	case errors.As(err, &other):
		return err
	case err == nil && h.seq != seq:
		err = errForeign
		fallthrough
	case err != nil:
		// Without its head nothing in the file can be understood. One that lacks its end has no records.
		torn := last || err != errForeign && w.shortHead()
		p.report.damage(Damage{Seq: seq, Bytes: w.Size, Torn: torn && w.Failure == nil, Err: cmp.Or(w.Failure, err)})
		return nil
	}
	end, sure, err := p.records(w, &h, pos)
	if err != nil {
		return err
	}
	if !cut {
		return nil
	}
	if !sure {
		end = w.Size
	}
	// This syncs too, if there is nothing to cut off.
	err = p.fs.Truncate(path, end)
	if err == nil {
		err = p.fs.SyncDir(filepath.Dir(path))
	}
	p.report.Unsynced = cmp.Or(p.report.Unsynced, err)
	return nil
}

// records delivers the records of a file from pos on. It returns the end of the last, and whether it is sure that none
// follows.
func (p *player) records(w *window, h *head, pos int64) (end int64, sure bool, err error) {
	end = pos
	// Bytes that look like a record but aren't are summed up for nothing: that must end, whatever a file holds.
	budget := 2*w.Size + MaxRecord
	for budget > 0 {
		pos = w.Find(pos, h.marker)
		if w.Size-pos < overhead {
			break
		}
		rec := parseRecord(w.Bytes(pos, recordHead))
		whole := overhead + int64(rec.size)
		if rec.size == 0 || rec.size > MaxRecord || whole > w.Size-pos {
			pos++
			continue
		}
		b := w.Bytes(pos, int(whole))
		if !intact(b) {
			budget -= whole
			pos++
			continue
		}
		p.report.damage(Damage{Seq: h.seq, Offset: end, Bytes: pos - end, Err: w.Unreadable(end, pos)})
		if err := p.deliver(h, rec.index, b[recordHead:len(b)-1]); err != nil {
			return end, false, err
		}
		pos += whole
		end = pos
	}
	failure := w.Unreadable(end, w.Size)
	sure = budget > 0 && failure == nil
	p.report.damage(Damage{Seq: h.seq, Offset: end, Bytes: w.Size - end, Torn: sure, Err: failure})
	return end, sure, nil
}

// deliver passes on a record, unless it was already.
func (p *player) deliver(h *head, index uint64, payload []byte) error {
	r := p.report
	switch {
	case index >= p.limit, h.life == p.life && index <= p.index:
		r.Duplicates++
		return nil
	case h.life != p.life:
		p.life = h.life
	default:
		r.Missing += index - p.index - 1
	}
	p.index = index
	r.Records++
	r.Bytes += int64(len(payload))
	if err := p.fn(h.seq, h.header, payload); err != nil {
		return fmt.Errorf("replaying %s: %w", fileName(h.seq), err)
	}
	return nil
}

// window is the part of a file that is in memory.
type window struct{ disk.Window }

func newWindow(f disk.File) (*window, error) {
	size, err := f.Size()
	return &window{disk.Window{File: f, Size: size}}, err
}

// head reads the file's head and returns where records begin.
func (w *window) head(path string) (h head, end int64, err error) {
	if w.Size < prologue {
		return h, 0, errHead
	}
	n, err := headSize(w.Bytes(0, prologue))
	if err != nil || int64(n) > w.Size {
		return h, 0, errHead
	}
	if h, err = parseHead(w.Bytes(0, n)); err != nil {
		return h, 0, err
	}
	if h.version != version {
		return h, 0, &VersionError{Path: path, Version: h.version, Writer: printable(h.writer)}
	}
	return h, int64(n), nil
}

// printable replaces what could do harm on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// shortHead reports whether a file is too short for the head that it begins with.
func (w *window) shortHead() bool {
	if w.Size < prologue {
		return true
	}
	n, err := headSize(w.Bytes(0, prologue))
	return err == nil && int64(n) > w.Size
}
