package faultfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/culprit-http/culprit/internal/store/disk"
)

func fresh(seed uint64) *FS { return New(rand.New(rand.NewPCG(seed, 0))) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// It behaves like the operating system's, as the test of package disk has it.
func TestConformance(t *testing.T) {
	f := fresh(1)
	must(t, disk.MkdirAll(f, "/a/b"))
	must(t, disk.MkdirAll(f, "/a/b"))
	w, err := f.Create("/a/b/x")
	must(t, err)
	if _, err := f.Create("/a/b/x"); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if _, err := f.Create("/nowhere/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	_, err = w.Write([]byte("hello world"))
	must(t, err)
	must(t, w.Truncate(5))
	_, err = w.Write([]byte("!"))
	must(t, err)
	b := make([]byte, 7)
	if n, err := w.ReadAt(b, 0); n != 6 || err != io.EOF || string(b[:n]) != "hello!" {
		t.Errorf("%q %v", b[:n], err)
	}
	if n, err := w.ReadAt(b, 6); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	if n, err := w.Size(); n != 6 || err != nil {
		t.Error(n, err)
	}
	must(t, w.Close())
	if err := w.Sync(); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	if err := w.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	must(t, f.Truncate("/a/b/x", 2))
	r, err := f.Open("/a/b/x")
	must(t, err)
	if _, err := r.Write([]byte("x")); err == nil {
		t.Error("written to a file that was opened for reading")
	}
	must(t, f.Rename("/a/b/x", "/a/b/y"))
	if _, err := f.Open("/a/b/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	all, err := f.ReadDir("/a/b")
	if err != nil || len(all) != 1 || all[0].Name() != "y" || !all[0].Type().IsRegular() {
		t.Error(all, err)
	}
	if i, err := f.Stat("/a/b/y"); err != nil || i.Size() != 2 || i.Mode().Perm() != disk.FileMode {
		t.Error(i, err)
	}
	if err := disk.MkdirAll(f, "/a/b/y"); err == nil {
		t.Error("a folder in place of a file")
	}
	if err := f.Remove("/a/b"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Error(err)
	}
	must(t, f.Remove("/a/b/y"))
	must(t, f.Remove("/a/b"))
	if f.Used() != 0 {
		t.Error(f.Used())
	}
}

// What was synced is always there after a crash; what wasn't sometimes is, sometimes in part, and sometimes not.
func TestCrash(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(2000) {
		f := fresh(seed)
		must(t, disk.MkdirAll(f, "/d"))
		w, err := f.Create("/d/safe")
		must(t, err)
		_, err = w.Write(bytes.Repeat([]byte("a"), 2000))
		must(t, err)
		must(t, w.Sync())
		must(t, f.SyncDir("/d"))
		_, err = w.Write(bytes.Repeat([]byte("b"), 3000))
		must(t, err)
		u, err := f.Create("/d/unsynced")
		must(t, err)
		_, err = u.Write([]byte("c"))
		must(t, err)
		must(t, f.Rename("/d/unsynced", "/d/renamed"))
		f.Crash()
		if _, err := w.Write([]byte("x")); !errors.Is(err, ErrDown) {
			t.Fatal("a handle has survived:", err)
		}
		b := f.ReadFile("/d/safe")
		if len(b) < 2000 || !bytes.Equal(b[:2000], bytes.Repeat([]byte("a"), 2000)) {
			t.Fatalf("seed %d: what was synced is gone: %d bytes", seed, len(b))
		}
		switch tail := b[2000:]; {
		case len(tail) == 0:
			seen["nothing"]++
		case len(tail) == 3000 && bytes.Count(tail, []byte("b")) == 3000:
			seen["all"]++
		case bytes.Contains(tail, []byte("\x00b")):
			seen["a hole"]++
		case bytes.Count(tail, []byte("b")) == len(tail):
			seen["a part"]++
		}
		_, err1 := f.Stat("/d/unsynced")
		i, err2 := f.Stat("/d/renamed")
		switch {
		case err1 == nil && err2 == nil:
			t.Fatal("a renamed file has both names")
		case err1 == nil:
			seen["old name"]++
		case err2 == nil && i.Size() == 0:
			seen["new name, empty"]++
		case err2 == nil:
			seen["new name"]++
		default:
			seen["no name"]++
		}
	}
	t.Log(seen)
	for _, what := range []string{"nothing", "all", "a hole", "a part", "old name", "new name, empty", "new name", "no name"} {
		if seen[what] < 10 {
			t.Errorf("%q happened %d times", what, seen[what])
		}
	}
}

// A sync that fails loses what the next one doesn't bring back.
func TestFailedSyncLies(t *testing.T) {
	lost, some := 0, 0
	for seed := range uint64(100) {
		f := fresh(seed)
		w, err := f.Create("/x")
		must(t, err)
		must(t, f.SyncDir("/"))
		want := bytes.Repeat([]byte("a"), 5000)
		_, err = w.Write(want)
		must(t, err)
		f.Inject(func(op Op) *Fault {
			if op.Kind == Sync {
				return &Fault{Err: syscall.EIO}
			}
			return nil
		})
		if err := w.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		f.Inject(nil)
		must(t, w.Sync())
		if !bytes.Equal(f.ReadFile("/x"), want) {
			t.Fatal("until the crash all looks well")
		}
		f.Crash()
		if !bytes.Equal(f.ReadFile("/x"), want) {
			lost++
		}
		if bytes.Contains(f.ReadFile("/x"), []byte("a")) {
			some++
		}
	}
	if lost < 50 || some < 20 {
		t.Errorf("%d of 100 lost something, and %d kept something", lost, some)
	}
}

func TestCapacityAndFaults(t *testing.T) {
	f := fresh(1)
	if _, err := f.Free("/"); !errors.Is(err, disk.ErrUnknown) {
		t.Error(err)
	}
	f.SetCapacity(10)
	w, err := f.Create("/x")
	must(t, err)
	if n, err := w.Write(make([]byte, 15)); n != 10 || !disk.IsFull(err) {
		t.Error(n, err)
	}
	if n, err := f.Free("/"); n != 0 || err != nil {
		t.Error(n, err)
	}
	must(t, w.Truncate(4))
	if n, _ := f.Free("/"); n != 6 {
		t.Error(n)
	}
	if err := w.Truncate(11); !disk.IsFull(err) {
		t.Error(err)
	}
	f.Inject(func(op Op) *Fault {
		if op.Kind == Write && op.Name == "/x" && op.Len == 5 {
			return &Fault{Err: syscall.EIO, Done: 2}
		}
		return nil
	})
	if n, err := w.Write(make([]byte, 5)); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Error(n, err)
	}
	must(t, f.Remove("/x"))
	if f.Used() != 0 {
		t.Error(f.Used())
	}
}

// The power goes at the operation that was asked for, and comes back with Crash.
func TestCrashAfter(t *testing.T) {
	f := fresh(1)
	must(t, f.Mkdir("/a"))
	if f.Ops() != 1 {
		t.Error(f.Ops())
	}
	f.CrashAfter(2)
	must(t, f.Mkdir("/b"))
	if err := f.Mkdir("/c"); !errors.Is(err, ErrDown) {
		t.Error(err)
	}
	if _, err := f.Stat("/"); !errors.Is(err, ErrDown) {
		t.Error(err)
	}
	f.Crash()
	must(t, disk.MkdirAll(f, "/d"))
	f.Crash()
	if _, err := f.Stat("/d"); err != nil {
		t.Error("made durably, but", err)
	}
	f.WriteFile("/d/x", []byte("abc"))
	f.Crash()
	if got := f.ReadFile("/d/x"); string(got) != "abc" {
		t.Errorf("%q", got)
	}
}

// The same dice give the same world.
func TestRepeatable(t *testing.T) {
	world := func() (all []string) {
		f := fresh(7)
		for i := range 20 {
			name := fmt.Sprint("/", i)
			w, err := f.Create(name)
			must(t, err)
			_, err = w.Write(bytes.Repeat([]byte{byte(i)}, 2000))
			must(t, err)
		}
		f.Crash()
		for i := range 20 {
			all = append(all, string(f.ReadFile(fmt.Sprint("/", i))))
		}
		return all
	}
	if !slices.Equal(world(), world()) {
		t.Error("they differ")
	}
}
