package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asHolder makes the test binary the writer of a folder, until its standard input ends.
const asHolder = "CULPRIT_TEST_HOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asHolder); dir != "" {
		if _, err := Lock(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("locked")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0) // without Unlock
	}
	os.Exit(m.Run())
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	l, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Lock(dir)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Dir != dir {
		t.Fatalf("the second writer got %v", err)
	}
	if want := fmt.Sprintf("the store %s is being written by culprit (pid %d)", dir, os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q", err, want)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if l, err = Lock(dir); err != nil {
		t.Fatalf("unlocked, but: %v", err)
	}
	l.Unlock()
}

// Another process holds the lock as long as it lives, and not longer, though its number stays in the file.
func TestLockOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asHolder+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 7)
	if n, _ := out.Read(b); string(b[:n]) != "locked\n" && string(b[:n]) != "locked" {
		t.Errorf("the holder said %q", b[:n])
	}
	var locked *LockedError
	if _, err := Lock(dir); !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Errorf("want its pid %d, got %v", cmd.Process.Pid, err)
	}
	in.Close()
	cmd.Wait()
	l, err := Lock(dir)
	if err != nil {
		t.Fatalf("it has ended, but: %v", err)
	}
	l.Unlock()
}

func TestHolderOfAnyContent(t *testing.T) {
	for content, want := range map[string]int{
		"": 0, "123\n": 123, "123": 0, "-1\n": 0, "x\n": 0, "99999999999\n": 0, "\n": 0, "12\n34\n": 12,
		strings.Repeat("1", 100) + "\n": 0,
	} {
		name := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := holder(f); got != want {
			t.Errorf("%q: got %d, want %d", content, got, want)
		}
		f.Close()
	}
}

// What every FS must do alike; the test of faultfs asks the same.
func TestConformance(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	f := OS()
	if err := MkdirAll(f, dir); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(f, dir); err != nil {
		t.Fatal("again:", err)
	}
	name := filepath.Join(dir, "x")
	w, err := f.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Create(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating what exists: %v", err)
	}
	for _, s := range []string{"hello ", "world"} {
		if n, err := w.Write([]byte(s)); err != nil || n != len(s) {
			t.Fatal(n, err)
		}
	}
	if err := w.Truncate(5); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("!")); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 6)
	if _, err := w.ReadAt(b, 0); err != nil || !bytes.Equal(b, []byte("hello!")) {
		t.Errorf("after a cut the end is where it was cut: %q %v", b, err)
	}
	if n, err := w.Size(); n != 6 || err != nil {
		t.Error(n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); err == nil {
		t.Error("a closed file was synced")
	}
	if err := f.Truncate(name, 2); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat(name)
	if err != nil || info.Size() != 2 || info.Mode().Perm() != FileMode {
		t.Errorf("%v %v", info, err)
	}
	other := filepath.Join(dir, "y")
	if err := f.Rename(name, other); err != nil {
		t.Fatal(err)
	}
	if err := f.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Error("renamed, but still there:", err)
	}
	all, err := f.ReadDir(dir)
	if err != nil || len(all) != 1 || all[0].Name() != "y" {
		t.Error(all, err)
	}
	if err := MkdirAll(f, other); err == nil || !strings.Contains(err.Error(), "is a file") {
		t.Errorf("a folder in place of a file: %v", err)
	}
	if n, err := f.Free(dir); err != nil && !errors.Is(err, ErrUnknown) || err == nil && n <= 0 {
		t.Error(n, err)
	}
	if err := f.Remove(other); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Free(dir); err == nil || errors.Is(err, ErrUnknown) {
		t.Error("the free space of nothing:", err)
	}
}

func TestIsFull(t *testing.T) {
	for err, want := range map[error]bool{syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EIO: false, fs.ErrNotExist: false} {
		if got := IsFull(fmt.Errorf("x: %w", &fs.PathError{Op: "write", Path: "y", Err: err})); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}
