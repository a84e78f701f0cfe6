// Package embedded is the engine that needs no set-up: a folder with a write-ahead log and Parquet segments.
//
//	culprit.lock                       held by the writer
//	format                             the version of this layout
//	log/                               the tail: exchanges that are in no segment yet (package wal)
//	segments/day=2026-11-22/...        segments by the day on which exchanges started (package segment)
//	damaged/                           segments that couldn't be read, set aside
//
// # Theory of operation
//
//	Append ----> log ----> tail ----> segment: sorted, written under a temporary name, synced, renamed
//	             (disk)   (memory)       |
//	                                     +--> then the log's files are removed
//
// Small segments of a day are merged. Nothing says which segments there are but their names, which also tell what is in
// them. Every step leaves a folder that opens: a segment whose log wasn't removed yet has exchanges that are in both, and
// replaying leaves out what is stored, by its id; segments that were merged are listed in a file that stands until they
// are gone.
//
// Queries work on what was there when they came: segments are read while others replace them, and files are deleted when
// nobody reads them any more. Other processes may read the folder too; they look again when a file is gone.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/query"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
	"github.com/culprit-http/culprit/internal/store/vector"
	"github.com/culprit-http/culprit/internal/store/wal"
)

// Options say how a store is kept. The zero value of each has a default.
type Options struct {
	// FS is where it is kept; nil: the operating system's.
	FS disk.FS
	// Now tells the time; nil: time.Now.
	Now func() time.Time
	// Workers, QueryMemory and QueryTimeout bound each question: goroutines, bytes, and time.
	Workers      int
	QueryMemory  int64
	QueryTimeout time.Duration
	// Yield is called by each goroutine that writes segments or answers questions, before it does: it may make the
	// goroutine yield to others. nil: nothing is called.
	Yield func()
	// TailRows and TailBytes bound the tail: a segment is written when it has as many exchanges, or takes as much
	// memory. TailAge is how old it may get.
	TailRows  int
	TailBytes int64
	TailAge   time.Duration
	// SyncEvery is how often the log is made durable: what a power cut may take.
	SyncEvery time.Duration
	// Reserve is how much room on the disk is left alone, in bytes.
	Reserve int64
	// Retention is applied from time to time. MaxAge is the largest age of an exchange, 0: any; MaxBytes is the
	// largest size of all segments, 0: any.
	MaxAge   time.Duration
	MaxBytes int64
	// Writer is the name and version of the program, for messages.
	Writer string
	// Warn is told what goes wrong in the background, in one line for people; nil: nobody.
	Warn func(text string)
}

// The defaults of Options.
const (
	DefaultQueryMemory  = 192 << 20
	DefaultQueryTimeout = 30 * time.Second
	DefaultTailRows     = segment.MaxRows
	DefaultTailBytes    = 128 << 20
	DefaultTailAge      = 10 * time.Minute
	DefaultSyncEvery    = 500 * time.Millisecond
	DefaultReserve      = 64 << 20
)

func (o Options) complete() Options {
	set(&o.FS, disk.OS())
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	set(&o.Workers, 1)
	set(&o.QueryMemory, DefaultQueryMemory)
	set(&o.QueryTimeout, DefaultQueryTimeout)
	set(&o.TailRows, DefaultTailRows)
	set(&o.TailBytes, DefaultTailBytes)
	set(&o.TailAge, DefaultTailAge)
	set(&o.SyncEvery, DefaultSyncEvery)
	set(&o.Reserve, DefaultReserve)
	o.TailRows = min(o.TailRows, segment.MaxRows)
	o.TailBytes = min(o.TailBytes, vector.MaxBytes)
	return o
}

func (o *Options) yield() {
	if o.Yield != nil {
		o.Yield()
	}
}

// set gives an option its default.
func set[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}

// The names in the folder.
const (
	logDir      = "log"
	segmentsDir = "segments"
	damagedDir  = "damaged"
	formatName  = "format"
	format      = "culprit store 1\n"
)

// Engine is an open store that this process writes. It implements store.Store.
type Engine struct {
	dir      string
	options  Options
	lock     *disk.DirLock
	log      *wal.Log
	segments *segments
	decoder  *record.Decoder

	// appending is held by Append, and by whoever takes the tail away. flushing is held while segments are made.
	appending, flushing sync.Mutex

	// mu guards what follows. It is held for moments only.
	mu sync.Mutex
	// tail is being filled; sealed is being written to a segment, or nil.
	tail, sealed *tail
	status       store.Status // the counters in it
	problem      string
	noRoom       bool

	stop  context.CancelFunc
	tasks sync.WaitGroup
	once  sync.Once
}

// tail are exchanges that are in no segment yet.
type tail struct {
	rows  *vector.Builder
	ids   map[idKey]struct{}
	since time.Time
	// logged is how many bytes of the log are about it: also of exchanges that were stored before, which aren't in it.
	logged int64
	// chunk are the rows, once it is sealed.
	chunk *vector.Memory
	// through is the last file of the log that has any of it, once it is sealed.
	through uint64
}

func newTail(now time.Time) *tail {
	return &tail{rows: vector.NewBuilder(), ids: map[idKey]struct{}{}, since: now}
}

// next returns the tail after this one.
func (t *tail) next(now time.Time) *tail {
	return &tail{rows: t.rows.Next(), ids: make(map[idKey]struct{}, len(t.ids)), since: now}
}

// Open opens the store in a folder, which is made if needed, as its only writer: otherwise the error is
// store.ErrBusy.
func Open(dir string, o Options) (*Engine, error) {
	o = o.complete()
	e := &Engine{dir: dir, options: o}
	if err := e.open(); err != nil {
		if e.lock != nil {
			_ = e.lock.Unlock()
		}
		return nil, fmt.Errorf("opening the store %s: %w", dir, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.tasks.Go(func() { e.syncing(ctx) })
	e.tasks.Go(func() { e.background(ctx) })
	return e, nil
}

func (e *Engine) open() (err error) {
	f := e.options.FS
	for _, dir := range []string{e.dir, filepath.Join(e.dir, segmentsDir)} {
		if err := disk.MkdirAll(f, dir); err != nil {
			return err
		}
	}
	if f == disk.OS() {
		var locked *disk.LockedError
		switch e.lock, err = disk.Lock(e.dir); {
		case errors.As(err, &locked):
			return fmt.Errorf("%w: %w", store.ErrBusy, err)
		case err != nil && !errors.Is(err, errors.ErrUnsupported):
			return err
		}
	}
	if err := checkFormat(f, e.dir, true); err != nil {
		return err
	}
	if e.decoder, err = record.NewDecoder(record.Header()); err != nil {
		return err
	}
	e.segments = newSegments(f, filepath.Join(e.dir, segmentsDir), e.setAside)
	if err := e.segments.recover(); err != nil {
		return err
	}
	if e.log, err = wal.Open(filepath.Join(e.dir, logDir), wal.Options{FS: f, Header: record.Header(), Writer: e.options.Writer}); err != nil {
		return err
	}
	// The folders in it may be there without being durable: making that so may have failed.
	if err := f.SyncDir(e.dir); err != nil {
		return err
	}
	return e.replay()
}

// checkFormat reads the version of the layout, and writes it if there is none and create is set.
func checkFormat(f disk.FS, dir string, create bool) error {
	path := filepath.Join(dir, formatName)
	text, err := readFile(f, path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		return writeFile(f, path, []byte(format))
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("the folder holds none: culprit serve fills one")
	case err != nil:
		return err
	case string(text) != format:
		return fmt.Errorf("it has the format %q, and this version of culprit knows %q: read it with the version that wrote it",
			strings.TrimSpace(string(text[:min(len(text), 40)])), strings.TrimSpace(format))
	}
	return nil
}

// replay fills the tail from the log.
func (e *Engine) replay() error {
	e.tail = newTail(e.options.Now())
	decoders := decoders{}
	noRoom := false
	report, err := e.log.Replay(func(_ uint64, header, payload []byte) error {
		d, err := decoders.get(header)
		if err != nil {
			return err
		}
		known, err := e.known(d, payload)
		if err != nil {
			return err
		}
		if _, err := e.add(d, payload, known); err != nil {
			return err
		}
		if noRoom || !e.full() {
			return nil
		}
		// The log stays as it is until all of it is read.
		written, err := e.segments.write(e.tail.rows.Chunk())
		if noRoom = disk.IsFull(err); noRoom {
			return nil // it takes memory then
		} else if err != nil {
			return err
		}
		e.segments.replace(nil, written)
		e.tail = e.tail.next(e.options.Now())
		return nil
	})
	if report.Damaged > 0 {
		e.options.Warn(fmt.Sprintf("the log of the store %s is damaged: %d bytes are left out", e.dir, report.Damaged))
	}
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.status.Duplicates = 0 // those of the log were stored before
	e.mu.Unlock()
	if report.Records == 0 {
		return nil
	}
	e.tail.logged = report.Bytes
	// What the log had need not be durable: its writer may have been killed before its sync.
	if err := e.Flush(); errors.Is(err, store.ErrFull) {
		e.options.Warn(fmt.Sprintf("the tail of the store stays in the log: %v", err))
	} else if err != nil {
		return err
	}
	return nil
}

// decoders are those of the headers met.
type decoders map[string]*record.Decoder

func (d decoders) get(header []byte) (*record.Decoder, error) {
	if have := d[string(header)]; have != nil {
		return have, nil
	}
	made, err := record.NewDecoder(header)
	d[string(header)] = made
	return made, err
}

// limits are those of a question.
func (e *Engine) limits() query.Limits { return e.options.limits() }

func (o *Options) limits() query.Limits {
	return query.Limits{Workers: o.Workers, Memory: o.QueryMemory, Timeout: o.QueryTimeout, Now: o.Now, Begin: o.Yield}
}

// expire applies retention.
func (e *Engine) expire() error {
	e.flushing.Lock()
	defer e.flushing.Unlock()
	d, err := e.forget(e.retention(e.options.Now()))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.Expired += d.Exchanges
	return err
}

// Close writes the tail to a segment, applies retention, and closes the store.
func (e *Engine) Close() (err error) {
	e.once.Do(func() {
		e.stop()
		e.tasks.Wait()
		err = errors.Join(e.log.Sync(), e.Flush(), e.expire(), e.log.Close(), e.segments.close())
		if e.lock != nil {
			err = errors.Join(err, e.lock.Unlock())
		}
	})
	return err
}
