package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/bench/store/generate"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/store/record"
	"github.com/culprit-http/culprit/internal/store/segment"
)

var _ output.Output = (*Output)(nil)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folder is where the files of a test are.
type folder struct {
	t   testing.TB
	dir string
	n   int
}

func (f *folder) path(i int) string { return filepath.Join(f.dir, fmt.Sprint(i)) }

// output opens the files as they are, with a work file that has no name.
func (f *folder) output(o Options) *Output {
	f.t.Helper()
	var files []File
	open := func(name string) *os.File {
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		must(f.t, err)
		f.t.Cleanup(func() { _ = file.Close() })
		return file
	}
	for i := range f.n {
		files = append(files, open(f.path(i)))
	}
	work := open(filepath.Join(f.dir, "work"))
	must(f.t, os.Remove(work.Name()))
	out, err := New(files, work, o)
	must(f.t, err)
	return out
}

// documents returns the exchanges in a file, as documents in the order of the file.
func (f *folder) documents(i int) (all []string) {
	f.t.Helper()
	b, err := os.ReadFile(f.path(i))
	must(f.t, err)
	s, err := segment.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		f.t.Fatalf("file %d: %v", i, err)
	}
	var row record.Row
	var maker record.Maker
	encoder := ndjson.NewEncoder()
	for _, p := range s.Parts() {
		c, err := p.Open()
		must(f.t, err)
		for r := range p.Rows() {
			row.Reset()
			must(f.t, c.Row(r, nil, &row))
			all = append(all, string(encoder.Append(nil, maker.Exchange(&row))))
		}
		c.Release()
	}
	return all
}

// write writes n generated exchanges, and returns their documents in the order of writing.
func write(t testing.TB, o *Output, g *generate.Generator, n int) (want []string) {
	t.Helper()
	encoder := ndjson.NewEncoder()
	for range n {
		x := g.Next()
		want = append(want, string(encoder.Append(nil, x)))
		must(t, o.Exchange(x))
	}
	return want
}

func sorted(all []string) []string {
	all = slices.Clone(all)
	slices.Sort(all)
	return all
}

// What is written is read again by the store's reader, over several row groups.
func TestRoundTrip(t *testing.T) {
	f := &folder{t, t.TempDir(), 1}
	o := f.output(Options{GroupBytes: 1 << 20})
	if got := f.documents(0); len(got) != 0 {
		t.Fatalf("%d exchanges before the first", len(got))
	}
	want := write(t, o, generate.New(generate.Options{Seed: 1}), 5000)
	must(t, o.Flush())
	if got := f.documents(0); len(got) != 0 {
		t.Fatalf("%d exchanges in a file that isn't complete", len(got))
	}
	must(t, o.Close())
	if got := f.documents(0); !slices.Equal(sorted(got), sorted(want)) {
		t.Errorf("%d exchanges, want %d, or they differ", len(got), len(want))
	}
	b, err := os.ReadFile(f.path(0))
	must(t, err)
	s, err := segment.Open(bytes.NewReader(b), int64(len(b)))
	must(t, err)
	if n := len(s.Parts()); n < 3 {
		t.Errorf("%d row groups: memory isn't bounded by them", n)
	}
}

// Files are used in turn, each is complete, and has about the size that it may have, however many row groups it takes.
func TestRotation(t *testing.T) {
	t.Run("one group", func(t *testing.T) { rotation(t, 0, 300<<10, 8_000) })
	t.Run("several", func(t *testing.T) { rotation(t, 600<<10, 700<<10, 16_000) })
}

func rotation(t *testing.T, group, size int64, n int) {
	f := &folder{t, t.TempDir(), 4}
	o := f.output(Options{RotateSize: size, GroupBytes: group})
	want := write(t, o, generate.New(generate.Options{Seed: 1}), n)
	must(t, o.Close())
	var got []string
	last := (o.at + f.n - 1) % f.n
	for i := range f.n {
		info, err := os.Stat(f.path(i))
		must(t, err)
		if info.Size() > size*11/10 || info.Size() < size*8/10 && i != last {
			t.Errorf("file %d has %d bytes", i, info.Size())
		}
		got = append(got, f.documents(i)...)
	}
	if len(got) == len(want) {
		t.Fatal("no file was used again")
	}
	if newest := want[len(want)-len(got):]; !slices.Equal(sorted(got), sorted(newest)) {
		t.Errorf("%d exchanges, and they aren't the last", len(got))
	}
}

// A file ends when its exchanges span a time.
func TestRotationByTime(t *testing.T) {
	f := &folder{t, t.TempDir(), 3}
	o := f.output(Options{RotateEvery: 10 * time.Second})
	g := generate.New(generate.Options{Seed: 1})
	var starts []int64
	var x exchange.Exchange
	for _, second := range []int64{100, 109, 50, 110, 111, 121} {
		x = *g.Next()
		x.Start.Time = second * int64(time.Second)
		starts = append(starts, second)
		must(t, o.Exchange(&x))
	}
	must(t, o.Close())
	for i, want := range []int{3, 2, 1} {
		if got := f.documents(i); len(got) != want {
			t.Errorf("file %d has %d exchanges of %v", i, len(got), starts)
		}
	}
}

// A later run goes on in the file behind the newest, and leaves the others as they are.
func TestResume(t *testing.T) {
	f := &folder{t, t.TempDir(), 3}
	g := generate.New(generate.Options{Seed: 1})
	var all [][]string
	for run := range 4 {
		o := f.output(Options{})
		all = append(all, write(t, o, g, 10+run))
		must(t, o.Close())
		at := time.Now().Add(time.Duration(run-10) * time.Hour)
		must(t, os.Chtimes(f.path(run%3), at, at))
	}
	for i, run := range []int{3, 1, 2} {
		if got := f.documents(i); !slices.Equal(sorted(got), sorted(all[run])) {
			t.Errorf("file %d has %d exchanges, want those of run %d", i, len(got), run)
		}
	}
	o := f.output(Options{})
	must(t, o.Close())
	if got := f.documents(1); len(got) != 11 {
		t.Errorf("a run without exchanges has changed a file: %d", len(got))
	}
}

// failing fails when it has that many bytes.
type failing struct {
	File
	room int
}

func (f *failing) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errors.New("no room")
	}
	return f.File.Write(b)
}

// A disk that is full ends it, with a word on what that costs; the file that is there stays.
func TestFull(t *testing.T) {
	f := &folder{t, t.TempDir(), 1}
	o := f.output(Options{GroupBytes: 100 << 10})
	o.work = &failing{o.work, 150_000}
	g := generate.New(generate.Options{Seed: 1})
	var err error
	for n := 0; err == nil && n < 100_000; n++ {
		err = o.Exchange(g.Next())
	}
	if err == nil || !strings.Contains(err.Error(), "no room: the ") || !strings.Contains(err.Error(), f.path(0)) {
		t.Error(err)
	}
	if again := o.Exchange(g.Next()); again == nil {
		t.Error("it goes on")
	}
	if o.Flush() == nil || o.Close() == nil {
		t.Error("the end is quiet")
	}
	if got := f.documents(0); len(got) != 0 {
		t.Error(len(got), "exchanges")
	}
	// No room for the copy: the file is empty then, and not half a file.
	o = f.output(Options{})
	o.files[0] = &failing{o.files[0], 50_000}
	write(t, o, g, 500)
	if err := o.Close(); err == nil || !strings.Contains(err.Error(), "the 500 exchanges") {
		t.Error(err)
	}
	if b, err := os.ReadFile(f.path(0)); err != nil || len(b) != 0 {
		t.Error(len(b), err)
	}
}

func TestNoFiles(t *testing.T) {
	if _, err := New(nil, nil, Options{}); err == nil {
		t.Error("without files")
	}
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	if _, err := New([]File{w}, nil, Options{}); err == nil || !strings.Contains(err.Error(), "can only be written to files") {
		t.Error("a pipe:", err)
	}
}

// BenchmarkOutput: what an exchange costs.
func BenchmarkOutput(b *testing.B) {
	g := generate.New(generate.Options{Seed: 1})
	var all []*exchange.Exchange
	for range 2000 {
		x := *g.Next()
		all = append(all, &x)
	}
	f := &folder{b, b.TempDir(), 1}
	o := f.output(Options{})
	for i := 0; b.Loop(); i++ {
		must(b, o.Exchange(all[i%len(all)]))
	}
	must(b, o.Close())
	info, err := os.Stat(f.path(0))
	must(b, err)
	b.ReportMetric(float64(info.Size())/float64(b.N), "disk-B/exchange")
}
