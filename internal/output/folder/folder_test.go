package folder

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func openAt(t *testing.T, dir string, force bool) *Folder {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := Open(root, force)
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f *Folder, name, text string) {
	t.Helper()
	file, err := f.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFinish: a file has its name once it is complete, and not before; it is its owner's.
func TestFinish(t *testing.T) {
	dir := t.TempDir()
	f := openAt(t, dir, false)
	write(t, f, "a/b", "text")
	if _, err := os.Stat(filepath.Join(dir, "a/b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file has its name before it is complete: %v", err)
	}
	at := time.Unix(1_600_000_000, 0)
	if err := f.Finish("a/b", at); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "a/b"))
	if err != nil || info.Mode().Perm() != 0o600 || !info.ModTime().Equal(at) || info.Size() != 4 {
		t.Errorf("got %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a/b.part")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary name is still there: %v", err)
	}
}

// TestKept: what is there isn't written over, but with force, and then no sooner than the new file is complete.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openAt(t, dir, false).Create("a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.part"), []byte("a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openAt(t, dir, false).Create("b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("what a crash has left: got %v", err)
	}
	f := openAt(t, dir, true)
	write(t, f, "a", "new")
	write(t, f, "b", "new")
	if text, _ := os.ReadFile(filepath.Join(dir, "a")); string(text) != "old" {
		t.Errorf("got %q before the new one is complete", text)
	}
	if err := f.Finish("a", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "a")); string(text) != "new" {
		t.Errorf("got %q", text)
	}
}

// TestInside: no name leads out of the folder.
func TestInside(t *testing.T) {
	outside := t.TempDir()
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	f := openAt(t, dir, true)
	for _, name := range []string{"../x", "a/../../x", filepath.Join(outside, "x"), "link/x"} {
		if file, err := f.Create(name); err == nil {
			file.Close()
			t.Errorf("%s was made", name)
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("%s was made outside", entries[0].Name())
	}
}

// TestKeptLate: what comes to be there while a file is written isn't written over, either.
func TestKeptLate(t *testing.T) {
	for _, final := range []string{"a", "a.incomplete"} {
		dir := t.TempDir()
		f := openAt(t, dir, false)
		write(t, f, "a", "new")
		if err := os.WriteFile(filepath.Join(dir, final), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.FinishAs("a", final, time.Time{}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v", err)
		}
		if text, _ := os.ReadFile(filepath.Join(dir, final)); string(text) != "old" {
			t.Errorf("got %q", text)
		}
	}
}

// TestFile: what was written is read again, from where it is asked for, and a closed file is closed.
func TestFile(t *testing.T) {
	f := openAt(t, t.TempDir(), false)
	for _, name := range []string{"a", "b/c"} {
		file, err := f.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt([]byte("world"), 6); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write([]byte("hello ")); err != nil {
			t.Fatal(err)
		}
		if at, err := file.Seek(2, io.SeekStart); at != 2 || err != nil {
			t.Errorf("%d, %v", at, err)
		}
		b := make([]byte, 20)
		if n, err := file.ReadAt(b, 3); string(b[:n]) != "lo world" || !errors.Is(err, io.EOF) {
			t.Errorf("%q, %v", b[:n], err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("closed again: %v", err)
		}
		if again, err := f.Reopen(name); err != nil {
			t.Error(err)
		} else {
			again.Close()
		}
	}
}

// TestTimes: a file has the time that it is finished with, whether it lies in the folder itself or deeper.
func TestTimes(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := Open(root, false)
	defer f.Close()
	at := time.Date(2026, 11, 21, 10, 0, 0, 123456000, time.UTC)
	for _, name := range []string{"a", "b/c"} {
		file, err := f.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(file.Close(), f.Finish(name, at)); err != nil {
			t.Fatal(err)
		}
		if info, err := root.Stat(name); err != nil || !info.ModTime().Equal(at) {
			t.Errorf("%s: %v, %v, want %v", name, info, err, at)
		}
	}
}
