//go:build unix

package keylog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// following is a Follower in a folder of its own.
type following struct {
	*Follower
	t     *testing.T
	path  string
	there bool
	said  []string
}

func follow(t *testing.T, prepare func(path string)) *following {
	t.Helper()
	f := &following{t: t, path: filepath.Join(t.TempDir(), "keys.log")}
	prepare(f.path)
	f.Follower = NewFollower(NewStore(Options{}), func(format string, args ...any) { f.said = append(f.said, fmt.Sprintf(format, args...)) })
	t.Cleanup(f.Close)
	var err error
	if f.there, err = f.Open(f.path); err != nil {
		t.Fatal(err)
	}
	return f
}

// write writes to the key log as whoever makes it does.
func (f *following) write(flags int, text string) {
	f.t.Helper()
	w, err := os.OpenFile(f.path, os.O_WRONLY|flags, 0o600)
	if err == nil {
		_, err = w.WriteString(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// knows checks which sessions are known after a poll, or after as many as it takes to look for the file.
func (f *following) knows(polls int, sessions ...byte) {
	f.t.Helper()
	for range polls {
		f.Poll()
	}
	g := f.store.Publish()
	for n := byte(1); n < 10; n++ {
		want := strings.ContainsRune(string(sessions), rune(n))
		if got := f.store.Secrets(random(n), g) != nil; got != want {
			f.t.Errorf("session %d: known %v, want %v", n, got, want)
		}
	}
}

func nothing(string) {}

func TestFollowAFileThatGrows(t *testing.T) {
	f := follow(t, func(path string) {
		if err := os.WriteFile(path, []byte(tls13(1)+row("CLIENT_RANDOM", 2, 1, 48)[:50]), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	f.knows(0, 1)
	if !f.there {
		t.Error("it isn't there")
	}
	f.write(os.O_APPEND, row("CLIENT_RANDOM", 2, 1, 48)[50:]+"\nnonsense\n"+row("CLIENT_RANDOM", 3, 1, 48))
	f.knows(1, 1, 2, 3)
	f.write(os.O_APPEND, "more nonsense\n")
	f.knows(1, 1, 2, 3)
	if len(f.said) != 1 || !strings.HasSuffix(f.said[0], "keys.log: line 8 is no line of a key log, and is passed over") {
		t.Errorf("%q", f.said)
	}
	// It is begun anew, and the half line at its end is nobody's.
	f.write(os.O_APPEND, "CLIENT_RANDOM "+hexOf(4, 32)+" ")
	f.knows(1, 1, 2, 3)
	f.write(os.O_TRUNC, row("CLIENT_RANDOM", 5, 1, 48))
	f.knows(1, 1, 2, 3, 5)
	if s := f.store.Stats(); s.Malformed != 2 {
		t.Errorf("%+v", s)
	}
}

func TestFollowAFileThatComesLater(t *testing.T) {
	f := follow(t, nothing)
	if f.there {
		t.Error("it is there")
	}
	f.knows(2 * lookEvery)
	f.write(os.O_CREATE, tls13(1))
	f.knows(lookEvery, 1)
	f.write(os.O_APPEND, tls13(2))
	f.knows(1, 1, 2)
	// Another takes its place, and the old one has grown a last time.
	f.write(os.O_APPEND, tls13(3))
	if err := os.Rename(f.path, f.path+".1"); err != nil {
		t.Fatal(err)
	}
	f.write(os.O_CREATE, tls13(4))
	f.knows(lookEvery, 1, 2, 3, 4)
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.knows(lookEvery, 1, 2, 3, 4)
	if len(f.said) != 0 {
		t.Errorf("%q", f.said)
	}
}

// What comes isn't always a file. It is said once.
func TestFollowWhatCannotBeRead(t *testing.T) {
	f := follow(t, nothing)
	if err := os.Mkdir(f.path, 0o700); err != nil {
		t.Fatal(err)
	}
	f.knows(3 * lookEvery)
	if len(f.said) != 1 || !strings.Contains(f.said[0], "is a folder") {
		t.Errorf("%q", f.said)
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.write(os.O_CREATE, tls13(1))
	f.knows(lookEvery, 1)

	g := NewFollower(NewStore(Options{}), nil)
	if _, err := g.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Error(err)
	}
}

// A pipe is opened although nobody writes to it; writers come and go, with half lines.
func TestFollowAPipe(t *testing.T) {
	f := follow(t, func(path string) {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Skipf("no named pipes here: %v", err)
		}
	})
	f.knows(1)
	w, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.knows(1) // there is a writer, who says nothing
	text := row("CLIENT_RANDOM", 1, 1, 48)
	for _, part := range []string{text[:40], text[40:], strings.TrimSuffix(row("CLIENT_RANDOM", 2, 1, 48), "\n")} {
		if _, err := w.WriteString(part); err != nil {
			t.Fatal(err)
		}
		f.Poll()
	}
	f.knows(1, 1)
	w.Close()
	f.knows(1, 1, 2) // the line without an end was the last
	f.write(0, "")
	f.knows(1, 1, 2)
	if w, err = os.OpenFile(f.path, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.WriteString(row("CLIENT_RANDOM", 3, 1, 48)); err != nil {
		t.Fatal(err)
	}
	f.knows(1, 1, 2, 3)
	if len(f.said) != 0 {
		t.Errorf("%q", f.said)
	}
}

// A file without an end doesn't keep the others waiting.
func TestFollowAnEndlessFile(t *testing.T) {
	f := follow(t, nothing)
	if _, err := f.Open("/dev/zero"); err != nil {
		t.Skipf("there is no /dev/zero: %v", err)
	}
	f.write(os.O_CREATE, tls13(1))
	f.knows(lookEvery, 1)
	if k := f.files[1]; len(k.feed.rest) > MaxLine {
		t.Errorf("%d bytes are kept of a line", len(k.feed.rest))
	}
}
