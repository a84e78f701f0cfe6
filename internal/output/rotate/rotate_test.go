package rotate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
)

// lines is an output that writes the start of each exchange, in lines of that length, and keeps some back as ndjson does.
type lines struct {
	w    *bufio.Writer
	size int
}

func (l *lines) Exchange(x *exchange.Exchange) error {
	text := fmt.Sprintf("%0*d\n", l.size-1, x.Start.Time)
	if l.w.Available() < len(text) {
		if err := l.w.Flush(); err != nil {
			return err
		}
	}
	_, err := l.w.WriteString(text)
	return err
}
func (l *lines) Flush() error { return l.w.Flush() }
func (l *lines) Close() error { return l.w.Flush() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// opened opens n files in a folder, as they are.
func opened(t *testing.T, dir string, n int) (files []File) {
	t.Helper()
	for i := range n {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(i)), os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		t.Cleanup(func() { _ = f.Close() })
		files = append(files, f)
	}
	return files
}

// write writes exchanges that start at these times, in lines of 10 bytes.
func write(t *testing.T, dir string, n int, o Options, starts ...int64) {
	t.Helper()
	out, err := New(opened(t, dir, n), func(w io.Writer) output.Output { return &lines{bufio.NewWriterSize(w, 35), 10} }, o)
	must(t, err)
	for _, at := range starts {
		x := &exchange.Exchange{}
		x.Start.Time = at
		must(t, out.Exchange(x))
	}
	must(t, out.Flush())
	must(t, out.Close())
}

// contents returns what is in the files, with spaces between lines.
func contents(t *testing.T, dir string, n int) (all []string) {
	t.Helper()
	for i := range n {
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
		must(t, err)
		text := ""
		for line := range strings.Lines(string(b)) {
			if text += strings.TrimLeft(strings.TrimSuffix(line, "\n"), "0") + " "; !strings.HasSuffix(line, "\n") {
				text += "(torn) "
			}
		}
		all = append(all, strings.TrimSpace(text))
	}
	return all
}

func TestRotation(t *testing.T) {
	for name, test := range map[string]struct {
		o      Options
		files  int
		starts []int64
		want   []string
	}{
		"never":           {Options{}, 2, []int64{1, 2, 3, 4, 5}, []string{"1 2 3 4 5", ""}},
		"size":            {Options{Size: 30}, 3, []int64{1, 2, 3, 4, 5, 6, 7}, []string{"1 2 3", "4 5 6", "7"}},
		"between":         {Options{Size: 39}, 3, []int64{1, 2, 3, 4, 5, 6, 7}, []string{"1 2 3", "4 5 6", "7"}},
		"used again":      {Options{Size: 20}, 2, []int64{1, 2, 3, 4, 5}, []string{"5", "3 4"}},
		"one file":        {Options{Size: 20}, 1, []int64{1, 2, 3}, []string{"3"}},
		"larger":          {Options{Size: 5}, 3, []int64{1, 2, 3}, []string{"1", "2", "3"}},
		"time":            {Options{Every: 10}, 3, []int64{100, 105, 109, 110, 111, 121}, []string{"100 105 109", "110 111", "121"}},
		"goes back":       {Options{Every: 10}, 3, []int64{100, 50, 99, 109, 110}, []string{"100 50 99 109", "110", ""}},
		"size, then time": {Options{Size: 20, Every: 10}, 4, []int64{1, 2, 3, 4, 11, 12}, []string{"1 2", "3 4", "11 12", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, test.files, test.o, test.starts...)
			if got := contents(t, dir, test.files); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// A later run goes on where the one before has ended, however that ended.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	o := Options{Size: 30}
	write(t, dir, 3, o, 1, 2, 3, 4)
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, "0"), old, old))
	write(t, dir, 3, o, 5)
	if got, want := contents(t, dir, 3), []string{"1 2 3", "4 5", ""}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	f, err := os.OpenFile(filepath.Join(dir, "1"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("torn")
	must(t, errors.Join(err, f.Close()))
	write(t, dir, 3, o, 6, 7, 8)
	if got, want := contents(t, dir, 3), []string{"1 2 3", "4 5 6", "7 8"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The end of the last line is found wherever it is.
func TestWholeLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	for _, before := range []int{0, 1, readBack - 1, readBack, readBack + 1, 3*readBack + 7} {
		for _, behind := range []int{0, 1, readBack - 1, readBack, readBack + 1, 3 * readBack} {
			b := bytes.Repeat([]byte("x"), before+behind)
			if before > 0 {
				b[before-1] = '\n'
			}
			must(t, os.WriteFile(name, b, 0o600))
			f, err := os.Open(name)
			must(t, err)
			n, err := wholeLines(f, int64(len(b)))
			must(t, errors.Join(err, f.Close()))
			if n != int64(before) {
				t.Errorf("%d and %d bytes: %d", before, behind, n)
			}
		}
	}
}

// failing takes so many bytes.
type failing struct {
	*os.File
	room int
}

func (f *failing) Write(b []byte) (int, error) {
	n, err := f.File.Write(b[:min(len(b), f.room)])
	if f.room -= n; n < len(b) && err == nil {
		err = errors.New("no room")
	}
	return n, err
}

// After a write that fails half-way the file has whole lines, and the next write goes on behind them.
func TestFailedWrite(t *testing.T) {
	dir := t.TempDir()
	files := opened(t, dir, 2)
	full := &failing{files[0].(*os.File), 25}
	files[0] = full
	r := &ring{files: files}
	must(t, r.resume())
	text := []byte("1........\n2........\n3........\n")
	if n, err := r.Write(text); n != 20 || err == nil {
		t.Error(n, err)
	}
	full.room = 100
	if n, err := r.Write([]byte("4........\n")); n != 10 || err != nil {
		t.Error(n, err)
	}
	if got, want := contents(t, dir, 2), []string{"1........ 2........ 4........", ""}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Whatever the lengths: nothing is lost but what was in files that were used again, and no file is too long.
func TestLengths(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		n, limit := 1+r.IntN(5), int64(20+r.IntN(80))
		files := opened(t, dir, n)
		w := &ring{files: files, limit: limit}
		must(t, w.resume())
		var all []string
		for range 30 {
			batch := ""
			for range 1 + r.IntN(4) {
				line := fmt.Sprintf("%0*d\n", 1+r.IntN(30), len(all))
				all = append(all, line)
				batch += line
			}
			if k, err := w.Write([]byte(batch)); k != len(batch) || err != nil {
				t.Fatal(k, err)
			}
		}
		kept := ""
		for i := range n {
			b, err := os.ReadFile(filepath.Join(dir, fmt.Sprint((w.at+1+i)%n)))
			must(t, err)
			if kept += string(b); int64(len(b)) > limit && strings.Count(string(b), "\n") > 1 {
				t.Errorf("seed %d: %d bytes, limit %d", seed, len(b), limit)
			}
		}
		if whole := strings.Join(all, ""); kept == "" || !strings.HasSuffix(whole, kept) {
			t.Errorf("seed %d: %q isn't the end of %q", seed, kept, whole)
		}
	}
}

func TestNoFiles(t *testing.T) {
	inner := func(w io.Writer) output.Output { return &lines{bufio.NewWriter(w), 10} }
	if _, err := New(nil, inner, Options{}); err == nil {
		t.Error("without files")
	}
	read, _, err := os.Pipe()
	must(t, err)
	defer read.Close()
	if _, err := New([]File{read}, inner, Options{}); err == nil || !strings.Contains(err.Error(), "rotation needs files") {
		t.Error("a pipe:", err)
	}
}
