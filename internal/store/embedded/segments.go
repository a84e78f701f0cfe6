package embedded

import (
	"bufio"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
)

// maxOpen is how many segments are kept open that nobody reads at the moment.
const maxOpen = 128

// segments are the segments of a store. They are safe for concurrent use.
type segments struct {
	fs  disk.FS
	dir string
	// aside is told of a segment that can't be read, and takes it away.
	aside func(f *file, err error)

	mu sync.Mutex
	// all are ordered by first, then by name. The slice is never changed, but replaced.
	all []*file
	// version counts the changes, and next is the number of the next segment.
	version, next uint64
	open          int
	// lookups counts those of filters, whose hashes seed makes.
	lookups uint64
	seed    maphash.Seed
	// unfinished: segments that were merged couldn't be deleted. garbage are files that couldn't be. Both are guarded by
	// Engine.flushing.
	unfinished bool
	garbage    []string
	// days are the folders that are known durable.
	days map[string]bool
}

// file is one segment. What is in it is told by its name:
// day=2026-11-22/093015.123456789-093112.000000001-131072-42-0002f1a07c3d5e19.parquet has 131,072 exchanges that started
// between these times of that day (UTC); 42 makes names unique, and the rest is the segment's checksum.
type file struct {
	segments    *segments
	path        string // below segments.dir
	first, last int64
	rows, bytes int64
	sum         uint64

	// The rest is guarded by segments.mu. refs are those who read it; gone: it is deleted, or set aside.
	refs   int
	gone   bool
	large  bool // too large in memory to be merged; guarded by Engine.flushing
	handle disk.File
	opened *segment.Segment
	filter *idFilter // nil: not made, or given up
}

const (
	suffix      = ".parquet"
	temporary   = ".tmp"
	mergeSuffix = ".merge"
	dayPrefix   = "day="
	clockFormat = "150405.000000000"
)

func newSegments(f disk.FS, dir string, aside func(f *file, err error)) *segments {
	return &segments{fs: f, dir: dir, aside: aside, next: 1, seed: maphash.MakeSeed(), days: map[string]bool{}}
}

// name returns the path of a new segment.
func name(first, last int64, rows int, number, sum uint64) string {
	from, to := time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
	return filepath.Join(dayPrefix+from.Format(time.DateOnly),
		fmt.Sprintf("%s-%s-%d-%d-%016x%s", from.Format(clockFormat), to.Format(clockFormat), rows, number, sum, suffix))
}

// parseName is the inverse of name.
func parseName(path string) (first, last, rows int64, number, sum uint64, ok bool) {
	dir, base := filepath.Split(path)
	day, isDay := strings.CutPrefix(filepath.Base(dir), dayPrefix)
	base, isSegment := strings.CutSuffix(base, suffix)
	parts := strings.Split(base, "-")
	if !isDay || !isSegment || len(parts) != 5 {
		return 0, 0, 0, 0, 0, false
	}
	from, err1 := time.ParseInLocation(time.DateOnly+clockFormat, day+parts[0], time.UTC)
	to, err2 := time.ParseInLocation(time.DateOnly+clockFormat, day+parts[1], time.UTC)
	rows, err3 := strconv.ParseInt(parts[2], 10, 32)
	number, err4 := strconv.ParseUint(parts[3], 10, 63)
	sum, err5 := strconv.ParseUint(parts[4], 16, 64)
	return from.UnixNano(), to.UnixNano(), rows, number, sum, errors.Join(err1, err2, err3, err4, err5) == nil && rows > 0
}

// recover finds the segments, and finishes what a crash left unfinished.
func (s *segments) recover() error {
	if err := s.finishMerges(); err != nil {
		return err
	}
	if err := s.each(func(path string) error {
		if strings.HasSuffix(path, temporary) {
			return s.fs.Remove(filepath.Join(s.dir, path))
		}
		return nil
	}); err != nil {
		return err
	}
	return s.list()
}

// list finds the segments.
func (s *segments) list() error {
	names, err := s.names()
	if err != nil {
		return err
	}
	return s.take(names)
}

// listStable is list while another process may write: each exchange is in one of the segments.
func (s *segments) listStable() error {
	var before []string
	for try := range maxTries {
		names, err := s.names()
		if err != nil {
			return err
		}
		// What changes while folders are read may be seen in part. If nothing has changed since the last look, then nothing
		// changed during that: what was made then is seen now.
		if try == 0 || !slices.Equal(names, before) {
			before = names
			continue
		}
		if names, err = s.replaced(names); errors.Is(err, fs.ErrNotExist) {
			continue // one was deleted since: the next look differs
		} else if err != nil {
			return err
		}
		return s.take(names)
	}
	return fmt.Errorf("the segments of the store change faster than they are listed: try again")
}

// replaced leaves out the segments that were merged into others, and aren't deleted yet.
func (s *segments) replaced(names []string) ([]string, error) {
	gone := map[string]bool{}
	for _, name := range names {
		path, isList := strings.CutSuffix(name, mergeSuffix)
		if !isList || !slices.Contains(names, path) {
			continue
		}
		list, err := readFile(s.fs, filepath.Join(s.dir, name))
		if err != nil {
			return nil, err
		}
		for old := range strings.Lines(string(list)) {
			gone[strings.TrimSuffix(old, "\n")] = true
		}
		delete(gone, path)
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return gone[name] }), nil
}

// names returns the paths of all files in the folders of days.
func (s *segments) names() (all []string, err error) {
	err = s.each(func(path string) error {
		all = append(all, path)
		return nil
	})
	return all, err
}

// take takes those of some files that are segments.
func (s *segments) take(names []string) error {
	var all []*file
	next := uint64(1)
	for _, path := range names {
		first, last, rows, number, sum, ok := parseName(path)
		if !ok {
			continue
		}
		info, err := s.fs.Stat(filepath.Join(s.dir, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		} else if err != nil {
			return err
		}
		all = append(all, &file{segments: s, path: path, first: first, last: last, rows: rows, bytes: info.Size(), sum: sum})
		next = max(next, number+1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(all)
	s.next = max(s.next, next)
	return nil
}

// each calls f for each file in the folders of days.
func (s *segments) each(f func(path string) error) error {
	days, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, day := range days {
		if !day.IsDir() || !strings.HasPrefix(day.Name(), dayPrefix) {
			continue
		}
		entries, err := s.fs.ReadDir(filepath.Join(s.dir, day.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		for _, entry := range entries {
			if err := f(filepath.Join(day.Name(), entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// set replaces the list. The caller holds mu.
func (s *segments) set(all []*file) {
	slices.SortFunc(all, func(a, b *file) int {
		switch {
		case a.first != b.first:
			if a.first < b.first {
				return -1
			}
			return 1
		}
		return strings.Compare(a.path, b.path)
	})
	s.all = all
	s.version++
}

// last returns the start of the last exchange in any segment, and the least number when there is none.
func (s *segments) last() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := int64(math.MinInt64)
	for _, f := range s.all {
		last = max(last, f.last)
	}
	return last
}

// changes returns a number that grows when the segments change.
func (s *segments) changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// snapshot returns the segments as they are now, and a function that lets go of them.
func (s *segments) snapshot() (all []*file, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = s.all
	for _, f := range all {
		f.refs++
	}
	return all, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, f := range all {
			f.refs--
			f.settle()
		}
	}
}

// settle closes a file that nobody reads, if it is gone or too many are open. The caller holds mu.
func (f *file) settle() {
	if f.refs == 0 && f.handle != nil && (f.gone || f.segments.open > maxOpen) {
		_ = f.handle.Close()
		f.handle, f.opened = nil, nil
		f.segments.open--
	}
}

// segment returns the open segment, for those who have it from snapshot.
func (f *file) segment() (*segment.Segment, error) {
	s := f.segments
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.opened != nil {
		return f.opened, nil
	}
	h, err := s.fs.Open(filepath.Join(s.dir, f.path))
	if err != nil {
		return nil, &fileError{f, err}
	}
	size, err := h.Size()
	if err == nil {
		f.opened, err = segment.OpenSum(h, size, f.sum)
	}
	if err == nil && len(f.opened.Parts()) != 1 {
		err = fmt.Errorf("%w: it has %d row groups instead of one", segment.ErrDamaged, len(f.opened.Parts()))
	}
	if err != nil {
		f.opened = nil
		_ = h.Close()
		return nil, &fileError{f, err}
	}
	f.handle = h
	s.open++
	return f.opened, nil
}

// fileError is an error of one segment.
type fileError struct {
	file *file
	err  error
}

func (e *fileError) Error() string { return "segment " + e.file.path + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// Rows, Times and Open implement vector.Part.
func (f *file) Rows() int             { return int(f.rows) }
func (f *file) Times() (int64, int64) { return f.first, f.last }
func (f *file) Open() (vector.Chunk, error) {
	s, err := f.segment()
	if err != nil {
		return nil, err
	}
	c, err := s.Parts()[0].Open()
	if err != nil {
		return nil, &fileError{f, err}
	}
	return &chunk{c, f}, nil
}

// known returns which of these ids, with the starts of their exchanges, are in segments.
func (s *segments) known(ids map[string]int64) (map[string]bool, error) {
	all, release := s.snapshot()
	defer release()
	found := map[string]bool{}
	var wanted [][]byte
	for _, f := range all {
		wanted = wanted[:0]
		for id, at := range ids {
			if f.first <= at && at <= f.last {
				wanted = append(wanted, []byte(id))
			}
		}
		if len(wanted) == 0 {
			continue
		}
		err := func() error {
			filter, err := s.filter(f)
			if err != nil {
				return err
			}
			wanted = slices.DeleteFunc(wanted, func(id []byte) bool { return !filter.may(s.hash(id)) })
			if len(wanted) == 0 {
				return nil
			}
			c, err := f.Open()
			if err != nil {
				return err
			}
			defer c.Release()
			return c.(*chunk).has(record.ID, wanted, found)
		}()
		var damaged *fileError
		switch {
		case errors.As(err, &damaged) && errors.Is(err, segment.ErrDamaged):
			s.aside(f, err)
		case err != nil:
			return nil, err
		}
	}
	return found, nil
}

// write writes rows to new segments, one a day, which nobody sees yet: see add.
func (s *segments) write(m *vector.Memory) (written []*file, err error) {
	defer func() {
		if err != nil {
			for _, f := range written {
				s.discard(filepath.Join(s.dir, f.path))
			}
			written = nil
		}
	}()
	order := m.Order()
	times, err := m.Ints(record.Time)
	if err != nil {
		return nil, err
	}
	for len(order) > 0 {
		day := dayOf(times[order[0]])
		n := slices.IndexFunc(order, func(r uint32) bool { return dayOf(times[r]) != day })
		if n < 0 {
			n = len(order)
		}
		f, err := s.writeOne(m, order[:n], times, "")
		if err != nil {
			return written, err
		}
		written = append(written, f)
		order = order[n:]
	}
	return written, nil
}

// dayOf returns the number of the day, from 1970.
func dayOf(ns int64) int64 {
	const day = 24 * 3600 * 1e9
	d := ns / day
	if ns%day < 0 {
		d--
	}
	return d
}

// discard deletes a file that is of no use, now or before the next segment is written: then its rows would be there
// twice.
func (s *segments) discard(path string) {
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.garbage = append(s.garbage, path)
	}
}

// sweep deletes what couldn't be deleted before.
func (s *segments) sweep() error {
	for len(s.garbage) > 0 {
		if err := s.fs.Remove(s.garbage[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a segment that wasn't finished: %w", err)
		}
		s.garbage = s.garbage[1:]
	}
	return nil
}

// makeDay makes the folder of a day, durably. One that is there need not be durable: making that so may have failed.
func (s *segments) makeDay(dir string) error {
	err := disk.MkdirAll(s.fs, dir)
	s.mu.Lock()
	known := s.days[dir]
	s.mu.Unlock()
	if err == nil && !known {
		err = s.fs.SyncDir(s.dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.days[dir] = err == nil; err != nil {
		delete(s.days, dir)
	}
	return err
}

// writeOne writes rows of one day as one segment. merged is the content of the file that says what it replaces; empty: it
// replaces nothing.
func (s *segments) writeOne(m *vector.Memory, order []uint32, times vector.Ints, merged string) (f *file, err error) {
	if err := s.sweep(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	number := s.next
	s.next++
	s.mu.Unlock()
	f = &file{segments: s, first: times[order[0]], last: times[order[len(order)-1]], rows: int64(len(order))}
	// The name has the checksum, which isn't known yet.
	unnamed := filepath.Join(s.dir, filepath.Dir(name(f.first, f.last, len(order), number, 0)), strconv.FormatUint(number, 10)+suffix+temporary)
	if err := s.makeDay(filepath.Dir(unnamed)); err != nil {
		return nil, err
	}
	h, err := s.fs.Create(unnamed)
	if err != nil {
		return nil, err
	}
	left := unnamed
	defer func() {
		if err != nil {
			_ = h.Close()
			s.discard(left)
		}
	}()
	buffered := bufio.NewWriterSize(h, 1<<20)
	w := segment.NewWriter(buffered)
	if err := errors.Join(w.Write(m, order), w.Close(), buffered.Flush()); err != nil {
		return nil, fmt.Errorf("writing a segment: %w", err)
	}
	if f.bytes, err = h.Size(); err != nil {
		return nil, err
	}
	if err := h.Sync(); err != nil {
		return nil, fmt.Errorf("writing a segment: %w", err)
	}
	if err := h.Close(); err != nil {
		return nil, err
	}
	f.sum = w.Sum()
	f.path = name(f.first, f.last, len(order), number, f.sum)
	path := filepath.Join(s.dir, f.path)
	if merged != "" {
		if err := writeFile(s.fs, path+mergeSuffix, []byte(merged)); err != nil {
			return nil, err
		}
	}
	if err := s.fs.Rename(unnamed, path); err != nil {
		return nil, err
	}
	left = path
	return f, s.fs.SyncDir(filepath.Dir(path))
}

// replace lets everybody see new segments instead of old ones. The old ones stay on the disk.
func (s *segments) replace(old, written []*file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*file, 0, len(s.all)+len(written))
	for _, f := range s.all {
		if !slices.Contains(old, f) {
			all = append(all, f)
			continue
		}
		f.gone = true
		f.settle()
	}
	s.set(append(all, written...))
}

// remove deletes segments.
func (s *segments) remove(old []*file) error {
	s.replace(old, nil)
	for _, f := range old {
		path := filepath.Join(s.dir, f.path)
		if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// The folder of a day goes with its last segment.
		if entries, err := s.fs.ReadDir(filepath.Dir(path)); err == nil && len(entries) == 0 {
			_ = s.fs.Remove(filepath.Dir(path))
		}
	}
	return nil
}

func (s *segments) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.all {
		f.gone = true
		f.settle()
	}
	return nil
}

// readFile and writeFile are for small files. What is written is durable.
func readFile(f disk.FS, path string) ([]byte, error) {
	h, err := f.Open(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return io.ReadAll(io.NewSectionReader(h, 0, 1<<20))
}

func writeFile(f disk.FS, path string, content []byte) error {
	_ = f.Remove(path + temporary)
	h, err := f.Create(path + temporary)
	if err != nil {
		return err
	}
	_, err = h.Write(content)
	if err = errors.Join(err, h.Sync(), h.Close()); err != nil {
		_ = f.Remove(path + temporary)
		return err
	}
	if err := f.Rename(path+temporary, path); err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}
