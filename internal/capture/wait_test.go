package capture

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// next returns the content of the next record, and fails the test when it doesn't come in a while.
func next(t *testing.T, s Source) string {
	t.Helper()
	var r Record
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := s.Next(&r)
		if err == nil {
			return string(r.Data)
		}
		if err != ErrIdle || time.Now().After(deadline) {
			t.Fatalf("Next: %v", err)
		}
	}
}

// fails returns the error that ends the source.
func fails(t *testing.T, s Source) error {
	t.Helper()
	var r Record
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := s.Next(&r)
		if err == nil {
			t.Fatalf("a record: %q", r.Data)
		}
		if err != ErrIdle || time.Now().After(deadline) {
			return err
		}
	}
}

func idle(t *testing.T, s Source) {
	t.Helper()
	var r Record
	if err := s.Next(&r); err != ErrIdle {
		t.Fatalf("Next: %v, want ErrIdle", err)
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func put(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, o Options, inputs ...Input) Source {
	t.Helper()
	s, err := Open(inputs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A record comes out of a pipe as soon as it is whole, however it was cut into writes.
func TestPipe(t *testing.T) {
	r, w := pipe(t)
	s := open(t, Options{Stdin: r}, Input{Path: Stdin})
	idle(t, s)
	file := simplePcap(at("a", 1, 2, 3)...)
	first, second := len(simplePcap(at("a", 1)...)), len(simplePcap(at("a", 1, 2)...))
	put(t, w, file[:3])
	idle(t, s)
	put(t, w, file[3:first])
	if got := next(t, s); got != "a1" {
		t.Errorf("record %q, want a1", got)
	}
	idle(t, s)
	put(t, w, file[first:second+5])
	if got := next(t, s); got != "a2" {
		t.Errorf("record %q, want a2", got)
	}
	idle(t, s)
	put(t, w, file[second+5:])
	w.Close()
	if got := next(t, s); got != "a3" {
		t.Errorf("record %q, want a3", got)
	}
	if err := fails(t, s); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

// What comes through a pipe in many reads is what the file holds, also compressed and of another
// reader than a file.
func TestPipeOfMuch(t *testing.T) {
	file := simplePcap(manyPackets(3000)...)
	want, _ := readBytes(t, file)
	for name, content := range map[string][]byte{"plain": file, "gzip": compressors["gzip"](t, file)} {
		r, w := pipe(t)
		go func() {
			w.Write(content)
			w.Close()
		}()
		recs, _ := readAll(t, Options{Stdin: r}, Input{Path: Stdin})
		expect(t, recs, want...)
		recs, _ = readAll(t, Options{Stdin: bytes.NewReader(content)}, Input{Path: Stdin})
		if expect(t, recs, want...); t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestEmptyPipe(t *testing.T) {
	s := open(t, Options{Stdin: strings.NewReader("")}, Input{Path: Stdin})
	if err := fails(t, s); err == io.EOF || !strings.Contains(err.Error(), "standard input: it is empty") {
		t.Errorf("error %v", err)
	}
}

// Close returns although a read, or the opening of a named pipe, is stuck.
func TestCloseWhileStuck(t *testing.T) {
	r, _ := pipe(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Stdin: r}, Input{Path: Stdin}, Input{Path: fifo})
	idle(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	var rec Record
	if err := s.Next(&rec); err != io.EOF {
		t.Errorf("Next after Close: %v", err)
	}
}

func TestNamedPipe(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{}, Input{Path: fifo})
	idle(t, s)
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	put(t, w, simplePcap(at("a", 1)...))
	if got := next(t, s); got != "a1" {
		t.Errorf("record %q", got)
	}
	idle(t, s)
	w.Close()
	if err := fails(t, s); err != io.EOF {
		t.Error(err)
	}
}

// Without --follow a pipe is waited for, so that the order of time holds; with it others go on.
func TestMergeWithPipe(t *testing.T) {
	r, w := pipe(t)
	file := write(t, "capture", simplePcap(at("f", 1, 3)...))
	s := open(t, Options{Stdin: r}, Input{Path: Stdin}, Input{Path: file})
	idle(t, s)
	put(t, w, simplePcap(at("p", 2)...))
	w.Close()
	var got []string
	for range 3 {
		got = append(got, next(t, s))
	}
	if g := strings.Join(got, " "); g != "f1 p2 f3" {
		t.Errorf("records %s, want f1 p2 f3", g)
	}

	r, w = pipe(t)
	s = open(t, Options{Stdin: r, Follow: true}, Input{Path: Stdin}, Input{Path: file})
	if got := next(t, s) + next(t, s); got != "f1f3" {
		t.Errorf("records %s, want f1f3", got)
	}
	put(t, w, simplePcap(at("p", 2)...))
	if got := next(t, s); got != "p2" {
		t.Errorf("record %s, want p2", got)
	}
	if taps := s.Taps(); len(taps) != 2 {
		t.Errorf("taps = %+v", taps)
	}
}

func appendTo(t *testing.T, path string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put(t, f, b)
}

func TestFollow(t *testing.T) {
	file := simplePcap(at("a", 1, 2)...)
	first := len(simplePcap(at("a", 1)...))
	path := write(t, "capture", nil)
	s := open(t, Options{Follow: true}, Input{Path: path})
	idle(t, s)
	appendTo(t, path, file[:first+7])
	if got := next(t, s); got != "a1" {
		t.Errorf("record %q", got)
	}
	idle(t, s)
	appendTo(t, path, file[first+7:])
	if got := next(t, s); got != "a2" {
		t.Errorf("record %q", got)
	}
	idle(t, s)
	if len(s.Warnings()) > 0 {
		t.Errorf("warnings: %q", s.Warnings())
	}
}

// A followed file that is truncated or replaced says so.
func TestFollowEnds(t *testing.T) {
	for want, change := range map[string]func(path string) error{
		"was truncated": func(path string) error { return os.Truncate(path, 10) },
		"was replaced": func(path string) error {
			if err := os.Rename(path, path+".1"); err != nil {
				return err
			}
			return os.WriteFile(path, simplePcap(), 0o600)
		},
	} {
		path := write(t, "capture", simplePcap(at("a", 1)...))
		s := open(t, Options{Follow: true}, Input{Path: path})
		next(t, s)
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		if err := fails(t, s); !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// A file that another program truncates while it is read ends with an error, after what was read.
func TestTruncatedWhileRead(t *testing.T) {
	file := simplePcap(manyPackets(6000)...) // more than one read
	for name, content := range map[string][]byte{"plain": file, "gzip": compressors["gzip"](t, file)} {
		path := write(t, "capture", content)
		s := open(t, Options{}, Input{Path: path})
		next(t, s)
		if err := os.Truncate(path, 100); err != nil {
			t.Fatal(err)
		}
		recs, err := drain(s)
		if err == io.EOF || !strings.Contains(err.Error(), "was truncated from "+itoa(len(content))+" to 100 bytes") {
			t.Errorf("%s: error %v", name, err)
		}
		if len(recs) == 0 {
			t.Errorf("%s: nothing of what had been read was delivered", name)
		}
	}
}
