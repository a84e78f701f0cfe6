package embedded

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/bench/store/generate"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/store"
	"github.com/culprit-http/culprit/internal/store/disk"
	"github.com/culprit-http/culprit/internal/store/record"
)

// patience is after how long a test fails that waits for something that doesn't come.
const patience = time.Minute

// batches returns so many batches of generated exchanges.
func batches(n, rows int) []record.Batch {
	g := generate.New(generate.Options{Seed: 3})
	all := make([]record.Batch, n)
	for i := range all {
		for range rows {
			all[i].Add(g.Next())
		}
	}
	return all
}

// begin opens a store for a test. Warnings are told to warn; nil: they fail the test.
func begin(t *testing.T, dir string, o Options, warn func(text string)) *Engine {
	t.Helper()
	if o.Warn = warn; warn == nil {
		o.Warn = func(text string) { t.Errorf("warning: %s", text) }
	}
	e, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return e
}

func appendTo(t *testing.T, e *Engine, b *record.Batch, want int) {
	t.Helper()
	if n, err := e.Append(b); n != want || err != nil {
		t.Fatalf("%d of %d exchanges are stored: %v", n, want, err)
	}
}

func flush(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
}

// count returns how many exchanges a search finds.
func count(t *testing.T, r store.Reader) (n int) {
	t.Helper()
	_, err := r.Search(context.Background(), &store.Search{Limit: store.MaxLimit}, func(*exchange.Exchange) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// faulty is a file system of which some calls are seen to first.
type faulty struct {
	disk.FS
	open, create func(name string) error
	synced       func(name string)
}

func (f *faulty) Open(name string) (disk.File, error) {
	if f.open != nil {
		if err := f.open(name); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	return f.FS.Open(name)
}

func (f *faulty) Create(name string) (disk.File, error) {
	if f.create != nil {
		if err := f.create(name); err != nil {
			return nil, &fs.PathError{Op: "create", Path: name, Err: err}
		}
	}
	h, err := f.FS.Create(name)
	return &faultyFile{h, f, name}, err
}

type faultyFile struct {
	disk.File
	fs   *faulty
	name string
}

func (f *faultyFile) Sync() error {
	err := f.File.Sync()
	if f.fs.synced != nil {
		f.fs.synced(f.name)
	}
	return err
}

// Exchanges that are stored already don't fill the disk with their log, however often they come.
func TestLogOfDuplicates(t *testing.T) {
	const tailBytes = 64 << 10
	e := begin(t, t.TempDir(), Options{TailBytes: tailBytes, SyncEvery: time.Hour}, nil)
	b := &batches(1, 50)[0]
	appendTo(t, e, b, 50)
	flush(t, e)
	most := int64(0)
	for range 40 * tailBytes / len(b.Bytes()) {
		appendTo(t, e, b, 0)
		most = max(most, logBytes(e.options.FS, e.dir))
	}
	if allowed := int64((tailLog+1)*tailBytes + len(b.Bytes())); most > allowed {
		t.Errorf("the log has grown to %d bytes, and %d would do", most, allowed)
	}
	flush(t, e)
	if left := logBytes(e.options.FS, e.dir); left != 0 {
		t.Errorf("%d bytes of log are left, all of which are in segments", left)
	}
	if n := count(t, e); n != 50 {
		t.Errorf("there are %d exchanges instead of 50", n)
	}
}

// A log all of whose exchanges are in segments is gone once it is replayed.
func TestReplayOfDuplicates(t *testing.T) {
	dir, b := t.TempDir(), &batches(1, 50)[0]
	e := begin(t, dir, Options{SyncEvery: time.Hour}, nil)
	appendTo(t, e, b, 50)
	flush(t, e)
	appendTo(t, e, b, 0)
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	e = begin(t, copied, Options{SyncEvery: time.Hour}, nil)
	if left := logBytes(e.options.FS, e.dir); left != 0 {
		t.Errorf("%d bytes of log are left, all of which are in segments", left)
	}
	if n := count(t, e); n != 50 {
		t.Errorf("there are %d exchanges instead of 50", n)
	}
}

// While a merge takes its time, the log is made durable.
func TestSyncWhileMerging(t *testing.T) {
	merging, goOn, synced := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	var once sync.Once
	var appended atomic.Bool
	f := &faulty{FS: disk.OS(), create: func(name string) error {
		if strings.Contains(name, mergeSuffix) {
			once.Do(func() { close(merging); <-goOn })
		}
		return nil
	}, synced: func(name string) {
		if strings.HasSuffix(name, ".log") && appended.Load() {
			select {
			case synced <- struct{}{}:
			default:
			}
		}
	}}
	e := begin(t, t.TempDir(), Options{FS: f, SyncEvery: time.Millisecond}, nil)
	all := batches(mergeAtLeast+1, 10)
	for i := range mergeAtLeast {
		appendTo(t, e, &all[i], 10)
		if i < mergeAtLeast-1 {
			flush(t, e)
		}
	}
	var last sync.WaitGroup
	defer last.Wait()
	defer close(goOn)
	last.Go(func() { // which may wait for the merge
		if err := e.Flush(); err != nil {
			t.Error(err)
		}
	})
	wait := func(c <-chan struct{}, what string) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(patience):
			t.Fatal(what)
		}
	}
	wait(merging, "nothing is merged")
	appended.Store(true) // all before is synced
	appendTo(t, e, &all[mergeAtLeast], 10)
	wait(synced, "the log isn't synced while segments are merged")
}

// A segment that somebody has deleted is left out, and storing goes on.
func TestDeletedSegment(t *testing.T) {
	var warnings []string
	e := begin(t, t.TempDir(), Options{SyncEvery: time.Hour}, func(text string) { warnings = append(warnings, text) })
	b := &batches(1, 10)[0]
	appendTo(t, e, b, 10)
	flush(t, e)
	found, err := filepath.Glob(filepath.Join(e.dir, segmentsDir, "*", "*"+suffix))
	if len(found) != 1 || err != nil {
		t.Fatal(found, err)
	}
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	appendTo(t, e, b, 10)
	if n := count(t, e); n != 10 {
		t.Errorf("there are %d exchanges instead of 10", n)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "left out") {
		t.Errorf("warnings: %q", warnings)
	}
}

// What Append couldn't store isn't in the log either: it would be there when the store is opened again.
func TestFailedAppendIsNotLogged(t *testing.T) {
	var fails atomic.Bool
	f := &faulty{FS: disk.OS(), open: func(name string) error {
		if fails.Load() && strings.HasSuffix(name, suffix) {
			return syscall.EMFILE
		}
		return nil
	}}
	e := begin(t, t.TempDir(), Options{FS: f, SyncEvery: time.Hour}, func(string) {})
	b := &batches(1, 10)[0]
	appendTo(t, e, b, 10)
	flush(t, e)
	fails.Store(true)
	n, err := e.Append(b)
	fails.Store(false)
	if n != 0 || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("%d are stored: %v", n, err)
	}
	if logged := logBytes(f, e.dir); logged != 0 {
		t.Errorf("%d bytes are logged", logged)
	}
	if s, err := e.Status(context.Background()); err != nil || s.Lost != 10 || s.Problem == "" {
		t.Errorf("%d are lost, problem %q, error %v", s.Lost, s.Problem, err)
	}
}

// Segments that are large in memory aren't merged, however small they are on the disk.
func TestMergeWithinMemory(t *testing.T) {
	e := begin(t, t.TempDir(), Options{SyncEvery: time.Hour}, nil)
	rows := []int{10, 30, 10, 10}
	all := batches(len(rows), 30)
	g := generate.New(generate.Options{Seed: 3})
	for i, n := range rows {
		all[i].Reset()
		for range n {
			all[i].Add(g.Next())
		}
		appendTo(t, e, &all[i], n)
		flush(t, e)
	}
	files, release := e.segments.snapshot()
	defer release()
	cost := func(f *file) int64 {
		var cols []int
		for i := range record.Columns {
			cols = append(cols, i)
		}
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Release()
		return c.Cost(cols)
	}
	sum := func(n int) (sum int64) {
		for _, f := range files[:n] {
			sum += cost(f)
		}
		return sum
	}
	for n := 2; n <= len(files); n++ {
		if got, err := within(files, sum(n)); len(got) != n || err != nil {
			t.Errorf("%d of %d segments fit: %v", len(got), n, err)
		}
	}
	if got, err := within(files, sum(2)-1); len(got) != 0 || err != nil || files[0].large || !files[1].large {
		t.Errorf("%d segments fit: %v, large: %v %v", len(got), err, files[0].large, files[1].large)
	}
	if got := mergeable(files); got != nil {
		t.Errorf("%d segments are to be merged beside the large one", len(got))
	}
}

// A Reader that several goroutines ask sets damaged segments aside.
func TestReaderSetsAside(t *testing.T) {
	dir := t.TempDir()
	e := begin(t, dir, Options{SyncEvery: time.Hour}, nil)
	all := batches(3, 10)
	for i := range all {
		appendTo(t, e, &all[i], 10)
		flush(t, e)
	}
	found, err := filepath.Glob(filepath.Join(dir, segmentsDir, "*", "*"+suffix))
	if len(found) != 3 || err != nil {
		t.Fatal(found, err)
	}
	r, err := OpenReader(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, name := range found[1:] {
		if err := os.Truncate(name, 100); err != nil {
			t.Fatal(err)
		}
	}
	var asked sync.WaitGroup
	for range 8 {
		asked.Go(func() {
			if n := count(t, r); n != 10 {
				t.Errorf("%d exchanges are found instead of 10", n)
			}
			if _, err := r.Status(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	asked.Wait()
	if s, err := r.Status(context.Background()); err != nil || s.Damaged != 2 {
		t.Errorf("%d segments are damaged: %v", s.Damaged, err)
	}
}
