package host

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/store/disk"
)

const (
	// DefaultMaxBytes is what the files may take together: nine months of samples without processes, or eleven weeks with 16.
	DefaultMaxBytes = 1 << 30
	// minFree is what has to be free on the disk, as for exchanges: these come first.
	minFree = 64 << 20
)

// Files are named after the times of their first and last samples. A log has one, since it grows.
const (
	logPrefix, logSuffix           = "log-", ".ndjson"
	machinePrefix, processesPrefix = "machine-", "processes-"
	tableSuffix, unfinished        = ".parquet", ".new"
	nameTime                       = "20060102T150405.000000000Z"
	maxProcessRows                 = maxSamples * MaxProcesses
	maxTable                       = 64 << 20 // in bytes
)

// ErrFull is the error of Append when the disk has no room to spare.
var ErrFull = errors.New("samples of the host aren't stored: fewer than 64 MiB are free on the disk; make room")

// Options say how samples are kept.
type Options struct {
	// FS is the file system, nil for the system's.
	FS disk.FS
	// Retain is how old samples may get, 0: any age.
	Retain time.Duration
	// MaxBytes is what the files may take, 0: DefaultMaxBytes. Beyond that the oldest go.
	MaxBytes int64
	// Yield is called by the goroutine that answers a question, before it does: it may make the goroutine yield to others.
	// nil: whoever asks does the work.
	Yield func()
}

// Store keeps samples in a folder of its own, which nobody else writes. Its methods may be called from any goroutine.
//
// Each sample is a line of a log at once. A log has an hour of samples at most, and they are in memory, too. Then it becomes
// tables (Parquet), which are made under another name, synced, and renamed before the log goes, that of the machine last: where it
// is, a log that came back after a crash goes, and where it isn't, they are made again. A torn end of a log is left out when the store is opened.
type Store struct {
	dir string
	fs  disk.FS
	o   Options

	mu    sync.Mutex
	files []*stored // all but the current log, by time
	log   disk.File // nil: there is none
	size  int64     // of log
	// samples are those of log. Those that are there don't change.
	samples  []Sample
	counters Counters
	buf      []byte
}

// Counters count what became of samples.
type Counters struct {
	// Stored samples were written, Lost ones couldn't be: the disk was full or failed. Deleted files were too old, or too many.
	Stored, Lost, Deleted uint64
	// Damaged are lines of logs that couldn't be read when the store was opened, a torn end included.
	Damaged uint64
	// Bytes is the size of all files.
	Bytes int64
}

// stored are the samples of an hour, or of less.
type stored struct {
	first, last int64
	// log: they are in a log, still.
	log bool
	// machine, processes and lines are the sizes of the files, 0 for those that aren't there.
	machine, processes, lines int64
}

func (f *stored) size() int64 { return f.machine + f.processes + f.lines }

func (f *stored) name(prefix string) string {
	if prefix == logPrefix {
		return logName(f.first)
	}
	return prefix + stampOf(f.first) + "-" + stampOf(f.last) + tableSuffix
}

func logName(first int64) string { return logPrefix + stampOf(first) + logSuffix }

func stampOf(t int64) string { return time.Unix(0, t).UTC().Format(nameTime) }

func parseStamp(s string) (int64, bool) {
	t, err := time.Parse(nameTime, s)
	return t.UnixNano(), err == nil && storable(t)
}

// parseName reads the times in the name of a file.
func parseName(name string) (prefix string, first, last int64, ok bool) {
	if rest, is := strings.CutPrefix(name, logPrefix); is {
		first, ok = parseStamp(strings.TrimSuffix(rest, logSuffix))
		return logPrefix, first, first, ok && strings.HasSuffix(rest, logSuffix)
	}
	for _, prefix := range [...]string{machinePrefix, processesPrefix} {
		rest, is := strings.CutPrefix(name, prefix)
		from, to, two := strings.Cut(strings.TrimSuffix(rest, tableSuffix), "-")
		if is && two && strings.HasSuffix(rest, tableSuffix) {
			first, ok = parseStamp(from)
			var more bool
			last, more = parseStamp(to)
			return prefix, first, last, ok && more && first <= last
		}
	}
	return "", 0, 0, false
}

// OpenStore opens a folder, and makes it if it isn't there. Files that aren't of this store stay as they are.
func OpenStore(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	s := &Store{dir: dir, fs: o.FS, o: o}
	if err := disk.MkdirAll(s.fs, dir); err != nil {
		return nil, fmt.Errorf("samples of the host: %w", err)
	}
	entries, err := s.fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("samples of the host: %w", err)
	}
	var logs []string
	for _, e := range entries {
		info, err := e.Info()
		prefix, first, last, ok := parseName(strings.TrimSuffix(e.Name(), unfinished))
		if err != nil || !ok || !info.Mode().IsRegular() {
			continue
		}
		switch {
		case strings.HasSuffix(e.Name(), unfinished):
			if err := s.fs.Remove(s.path(e.Name())); err != nil {
				return nil, fmt.Errorf("samples of the host: %w", err)
			}
		case prefix == logPrefix:
			logs = append(logs, e.Name())
		case prefix == machinePrefix:
			s.of(first, last).machine = info.Size()
		default:
			s.of(first, last).processes = info.Size()
		}
	}
	for i, name := range logs { // which ReadDir sorts by time
		if err := s.openLog(name, i == len(logs)-1); err != nil {
			return nil, fmt.Errorf("samples of the host: %s: %w", name, err)
		}
	}
	s.count()
	return s, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// of returns the entry of these times, which it makes if there is none.
func (s *Store) of(first, last int64) *stored {
	for _, f := range s.files {
		if f.first == first && f.last == last {
			return f
		}
	}
	f := &stored{first: first, last: last}
	s.files = append(s.files, f)
	slices.SortStableFunc(s.files, func(a, b *stored) int { return cmp.Compare(a.first, b.first) })
	return f
}

// openLog reads a log that is there from before. The newest goes on, if it is none that was made a table already.
func (s *Store) openLog(name string, newest bool) error {
	b, err := s.content(name)
	if err != nil {
		return err
	}
	samples, whole, damaged := parseLog(b)
	s.counters.Damaged += uint64(damaged)
	if whole < int64(len(b)) {
		s.counters.Damaged++ // its torn end, which goes with the log: it is written anew, or becomes a table
	}
	if len(samples) == 0 {
		return s.fs.Remove(s.path(name))
	}
	_, first, _, _ := parseName(name)
	if done, err := s.madeOf(first); err != nil || done {
		if err == nil {
			err = s.fs.Remove(s.path(name))
		}
		return err
	}
	if first != samples[0].Time { // its first line is damaged; it would be known by two names
		renamed := logName(samples[0].Time)
		if _, err := s.fs.Stat(s.path(renamed)); !errors.Is(err, fs.ErrNotExist) {
			return s.fs.Remove(s.path(name))
		}
		if err := s.fs.Rename(s.path(name), s.path(renamed)); err != nil {
			return err
		}
	}
	f := s.of(samples[0].Time, samples[len(samples)-1].Time)
	f.log, f.lines = true, whole
	if newest {
		s.samples = samples
		return nil // Append goes on with it
	}
	_ = s.tabulate(f, samples) // Clean tries again
	return nil
}

// madeOf reports whether the tables of a log are made, so that only its removal was missing. What there is of tables that weren't
// finished is deleted: the log may have lost its end since.
func (s *Store) madeOf(first int64) (bool, error) {
	for _, f := range s.files {
		if f.first == first && f.machine > 0 {
			return true, nil
		}
	}
	var errs []error
	s.files = slices.DeleteFunc(s.files, func(f *stored) bool {
		if f.first != first || f.log {
			return false
		}
		errs = append(errs, s.remove(f))
		return true
	})
	return false, errors.Join(errs...)
}

// content reads a file of the store's.
func (s *Store) content(name string) ([]byte, error) {
	f, err := s.fs.Open(s.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, maxLog))
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

// tabulate makes tables of a log, and deletes it.
func (s *Store) tabulate(f *stored, samples []Sample) error {
	var err error
	processes := slices.ContainsFunc(samples, func(s Sample) bool { return len(s.Processes) > 0 })
	if processes {
		if f.processes, err = s.writeFile(f.name(processesPrefix), samples, writeProcesses); err != nil {
			return err
		}
		if err := s.fs.SyncDir(s.dir); err != nil { // where the other is, this is
			return err
		}
	}
	if f.machine, err = s.writeFile(f.name(machinePrefix), samples, writeMachine); err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	if err := s.fs.Remove(s.path(f.name(logPrefix))); err != nil {
		return err
	}
	f.log, f.lines = false, 0
	return nil
}

// writeFile makes a table, and returns its size.
func (s *Store) writeFile(name string, samples []Sample, write func(io.Writer, []Sample) error) (size int64, err error) {
	f, err := s.fs.Create(s.path(name + unfinished))
	if errors.Is(err, fs.ErrExist) { // of an attempt that failed
		if err = s.fs.Remove(s.path(name + unfinished)); err == nil {
			f, err = s.fs.Create(s.path(name + unfinished))
		}
	}
	if err != nil {
		return 0, err
	}
	err = write(f, samples)
	if err == nil {
		size, err = f.Size()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.fs.Rename(s.path(name+unfinished), s.path(name))
	}
	if err != nil {
		_ = s.fs.Remove(s.path(name + unfinished))
	}
	return size, err
}

// Append stores a sample. After an error, it is lost, and counted.
func (s *Store) Append(sample *Sample) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.append(sample)
	if err != nil {
		s.counters.Lost++
		return fmt.Errorf("samples of the host: %w", err)
	}
	s.counters.Stored++
	return nil
}

func (s *Store) append(sample *Sample) error {
	if sample.Time < 0 || !storable(time.Unix(0, sample.Time)) {
		return errors.New("the clock is set to a time that can't be stored")
	}
	if free, err := s.fs.Free(s.dir); err == nil && free < minFree {
		return ErrFull
	}
	if n := len(s.samples); n > 0 && (n >= maxSamples || sample.Time <= s.samples[n-1].Time || hour(sample.Time) != hour(s.samples[0].Time)) {
		s.roll()
	}
	if err := s.openCurrent(sample.Time); err != nil {
		return err
	}
	var err error
	if s.buf, err = appendLine(s.buf[:0], sample); err != nil {
		return err
	}
	if _, err := s.log.Write(s.buf); err != nil {
		// What was written of it would spoil the next line.
		if e := s.log.Truncate(s.size); e != nil {
			s.roll()
		}
		return err
	}
	s.size += int64(len(s.buf))
	s.samples = append(s.samples, *sample)
	return nil
}

func hour(t int64) int64 { return t / int64(time.Hour) }

// openCurrent opens the log that a sample of that time goes to: that of before a restart, or a new one.
func (s *Store) openCurrent(first int64) (err error) {
	if s.log != nil {
		return nil
	}
	if len(s.samples) == 0 {
		s.log, err = s.fs.Create(s.path(logName(first)))
		s.size = 0
		return err
	}
	// Files are only appended to, so that a log can't be opened again: its lines go into another, and it is gone before that
	// has all of them, or after.
	return s.continueLog()
}

// continueLog goes on with the samples of a log that was there when the store was opened: they are copied, since files are
// opened for writing when they are made.
func (s *Store) continueLog() error {
	name := logName(s.samples[0].Time)
	var b []byte
	var err error
	for i := range s.samples {
		if b, err = appendLine(b, &s.samples[i]); err != nil {
			return err
		}
	}
	f, err := s.fs.Create(s.path(name + unfinished))
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = s.fs.Rename(s.path(name+unfinished), s.path(name))
	}
	if err != nil {
		_ = s.fs.Remove(s.path(name + unfinished))
		return errors.Join(err, f.Close())
	}
	s.log, s.size = f, int64(len(b))
	s.files = slices.DeleteFunc(s.files, func(f *stored) bool { return f.log && f.first == s.samples[0].Time })
	return nil
}

// roll ends the current log, and makes tables of it.
func (s *Store) roll() {
	if len(s.samples) == 0 {
		return
	}
	samples := s.samples
	f := s.of(samples[0].Time, samples[len(samples)-1].Time)
	f.log = true
	if s.log != nil {
		f.lines = s.size
		_ = s.log.Close() // what was written is in the file
	}
	s.log, s.samples, s.size = nil, nil, 0
	_ = s.tabulate(f, samples) // Clean tries again
}

// Clean deletes what is too old at that time, in nanoseconds since 1970, and the oldest of what is too much; and makes tables of
// logs where that failed before, or whose hour is over.
func (s *Store) Clean(now int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) > 0 && hour(now) != hour(s.samples[0].Time) {
		s.roll()
	}
	var errs []error
	for _, f := range s.files {
		if !f.log || s.isCurrent(f) {
			continue
		}
		b, err := s.content(f.name(logPrefix))
		if err == nil {
			if samples, _, _ := parseLog(b); len(samples) > 0 {
				err = s.tabulate(f, samples)
			}
		}
		errs = append(errs, err)
	}
	s.count()
	oldest := int64(math.MinInt64)
	if s.o.Retain > 0 {
		oldest = now - int64(s.o.Retain)
	}
	for len(s.files) > 0 {
		f := s.files[0]
		if f.last >= oldest && s.counters.Bytes <= s.o.MaxBytes || s.isCurrent(f) {
			break
		}
		if err := s.remove(f); err != nil {
			errs = append(errs, err)
			break
		}
		s.files = s.files[1:]
		s.counters.Deleted++
		s.counters.Bytes -= f.size()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("samples of the host: %w", err)
	}
	return nil
}

// isCurrent reports whether a file is the log of before a restart, with which Append goes on.
func (s *Store) isCurrent(f *stored) bool {
	return f.log && s.log == nil && len(s.samples) > 0 && f.first == s.samples[0].Time
}

func (s *Store) remove(f *stored) error {
	for _, file := range [...]struct {
		prefix string
		size   int64
	}{{processesPrefix, f.processes}, {machinePrefix, f.machine}, {logPrefix, f.lines}} {
		if file.size == 0 {
			continue
		}
		if err := s.fs.Remove(s.path(f.name(file.prefix))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *Store) count() {
	s.counters.Bytes = s.size
	for _, f := range s.files {
		s.counters.Bytes += f.size()
	}
}

// Counters returns the counters.
func (s *Store) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count()
	return s.counters
}

// Close closes the current log. The next one that opens the store goes on with it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		return nil
	}
	err := s.log.Close()
	s.log = nil
	return err
}
