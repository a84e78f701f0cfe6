package keytap

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// session is a line of a session of TLS 1.2.
func session(n byte) (line string, random [32]byte) {
	random = [32]byte(bytes.Repeat([]byte{n}, 32))
	return fmt.Sprintf("CLIENT_RANDOM %x %s\n", random, strings.Repeat("ab", 48)), random
}

// knows checks which sessions a store has.
func knows(t *testing.T, s *keylog.Store, want ...byte) {
	t.Helper()
	var got []byte
	for n := byte(1); n < 20; n++ {
		if _, random := session(n); s.Lines(&random) != nil {
			got = append(got, n)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("sessions %v are known, want %v", got, want)
	}
}

// open opens a pipe as a program does.
func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// TestPipe: lines arrive in parts, from several writers, and beside such as are none.
func TestPipe(t *testing.T) {
	x := prepare(t, environment(), Options{})
	a, b := open(t, x.keysPath), open(t, x.shimPath)
	one, _ := session(1)
	two, _ := session(2)
	three, _ := session(3)
	write(t, a, one[:50])
	write(t, b, two)
	x.Sync()
	knows(t, x.store, 2)
	write(t, a, one[50:]+"# a comment\n"+three[:20])
	x.Sync()
	knows(t, x.store, 1, 2)
	write(t, a, three[20:])
	x.Sync()
	knows(t, x.store, 1, 2, 3)
	// A line that is too long is passed over, wherever it is cut.
	four, _ := session(4)
	five, _ := session(5)
	for range 3 {
		write(t, a, strings.Repeat("x", keylog.MaxLine))
		x.Sync()
	}
	write(t, a, four[:30]+"\n"+five)
	x.Sync()
	knows(t, x.store, 1, 2, 3, 5)
	if p := x.pipes[0]; cap(p.rest) > 2*keylog.MaxLine {
		t.Errorf("%d bytes are held", cap(p.rest))
	}
	a.Close()
	if err := unix.Access(x.keysPath, unix.W_OK); err != nil {
		t.Error(err)
	}
	// Another writer comes when the first has gone.
	six, _ := session(6)
	write(t, open(t, x.keysPath), six)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	knows(t, x.store, 1, 2, 3, 5, 6)
}

// TestPipeIsRead: a writer of more than a pipe holds needn't wait for Sync.
func TestPipeIsRead(t *testing.T) {
	x := prepare(t, environment(), Options{})
	f := open(t, x.keysPath)
	for n := byte(1); n < 10; n++ {
		line, _ := session(n)
		write(t, f, strings.Repeat(line, pipeSize/len(line)))
	}
	x.Sync()
	knows(t, x.store, 1, 2, 3, 4, 5, 6, 7, 8, 9)
}

// TestPrivate: nobody else can look into the folder, and it is gone afterwards.
func TestPrivate(t *testing.T) {
	before := unix.Umask(0o022)
	defer unix.Umask(before)
	x := prepare(t, environment(), Options{})
	for path, want := range map[string]fs.FileMode{x.dir: fs.ModeDir | 0o700, x.keysPath: fs.ModeNamedPipe | 0o600, x.shimPath: fs.ModeNamedPipe | 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(x.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
	x.Sync()
	if err := x.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// TestOwnKeyLog: the key log that the user has named gets what it would have got, and no more.
func TestOwnKeyLog(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.log")
	if err := os.WriteFile(own, []byte("# before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	x := prepare(t, environment(keylogVariable+"="+own), Options{})
	one, _ := session(1)
	two, _ := session(2)
	write(t, open(t, x.keysPath), one)
	write(t, open(t, x.shimPath), two)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	knows(t, x.store, 1, 2)
	if b, err := os.ReadFile(own); err != nil || string(b) != "# before\n"+one {
		t.Errorf("got %q, %v", b, err)
	}
	if len(x.said) != 0 {
		t.Errorf("%q", x.said)
	}
}

// TestOwnKeyLogCannotBeWritten: it is said once, and the keys arrive nevertheless.
func TestOwnKeyLogCannotBeWritten(t *testing.T) {
	unread := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(unread, 0o600); err != nil {
		t.Fatal(err)
	}
	for own, want := range map[string]string{t.TempDir(): "is a directory", unread: "a pipe that nobody reads", "/dev/null": "", "": ""} {
		x := prepare(t, environment(keylogVariable+"="+own), Options{})
		for n := byte(1); n < 4; n++ {
			line, _ := session(n)
			write(t, open(t, x.keysPath), line)
			x.Sync()
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
		knows(t, x.store, 1, 2, 3)
		if want == "" && len(x.said) != 0 || want != "" && (len(x.said) != 1 || !strings.Contains(x.said[0], want)) {
			t.Errorf("%s: %q, want %q", own, x.said, want)
		}
	}
}

// TestOwnKeyLogIsFull: a pipe of the user's that nobody reads on from doesn't hold anybody up.
func TestOwnKeyLogIsFull(t *testing.T) {
	own := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(own, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(own, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	x := prepare(t, environment(keylogVariable+"="+own), Options{})
	f := open(t, x.keysPath)
	for n := byte(1); n < 4; n++ {
		line, _ := session(n)
		write(t, f, strings.Repeat(line, 100<<10/len(line)))
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	knows(t, x.store, 1, 2, 3)
	if len(x.said) != 1 || !strings.Contains(x.said[0], "a pipe that nobody reads") {
		t.Errorf("%q", x.said)
	}
}

// TestNoOtherFile: the user's key log isn't made before there is a line for it.
func TestNoOtherFile(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.log")
	x := prepare(t, environment(keylogVariable+"="+own), Options{})
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(own); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestStrangeFolder: where the temporary folder's name can't be preloaded from, another one is taken, or the shim does without it.
func TestStrangeFolder(t *testing.T) {
	programPath(t, "cc")
	temporary := filepath.Join(t.TempDir(), `a "b" \c:d $e`)
	if err := os.Mkdir(temporary, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temporary)
	x := prepareIn(t, temporary, environment(), Options{})
	if x.noShim != nil || !preloadable(x.shim) {
		t.Errorf("the shim is %q, %v", x.shim, x.noShim)
	}
	s := newServer(t, tls.VersionTLS13)
	run(t, x.env, "GET / HTTP/1.0\r\n\r\n", s.expand([]string{programPath(t, "openssl"), "s_client", "-quiet", "-ign_eof", "-connect", "HOST:PORT"})...)
	x.Sync()
	s.check(t, x.store, 1)
}

// TestNoShim: without a shim the environment has none, and what doesn't need it works.
func TestNoShim(t *testing.T) {
	curl := programPath(t, "curl")
	x := prepare(t, environment(), Options{Shim: "/none"})
	if x.noShim == nil || value(x.env, preloadVariable) != "" {
		t.Errorf("preloaded: %q, %v", value(x.env, preloadVariable), x.noShim)
	}
	s := newServer(t, tls.VersionTLS13)
	run(t, x.env, "", s.expand([]string{curl, "-sS", "--cacert", "CAFILE", "URL"})...)
	x.Sync()
	s.check(t, x.store, 1)
}

// TestCompile: the source is compiled without a word, and without a compiler that is said.
func TestCompile(t *testing.T) {
	cc := programPath(t, "cc")
	path := filepath.Join(t.TempDir(), shimFile)
	if err := compile(path); err != nil {
		t.Error(err)
	}
	if _, err := usable(path, t.TempDir()); err != nil {
		t.Error(err)
	}
	flags, err := built.ReadFile("shim/flags")
	if err != nil {
		t.Fatal(err)
	}
	args := append(strings.Fields(string(flags)), "-Wall", "-Wextra", "-Werror", "-o", os.DevNull, "shim/keylog.c")
	if out, err := exec.CommandContext(t.Context(), cc, args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Setenv("PATH", t.TempDir())
	if err := compile(path); err == nil || !strings.Contains(err.Error(), "no C compiler") {
		t.Errorf("without a compiler: %v", err)
	}
}

// TestNamedShim: one that is named is taken, or it is said why not.
func TestNamedShim(t *testing.T) {
	programPath(t, "cc")
	dir := t.TempDir()
	good := filepath.Join(dir, "a b.so")
	if err := compile(good); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.so")
	b, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	b[18] = 0x08 // EM_MIPS
	if err := errors.Join(os.WriteFile(other, b, 0o600), os.WriteFile(filepath.Join(dir, "text"), []byte(strings.Repeat("no shim ", 99)), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{good: "", other: "another architecture", filepath.Join(dir, "text"): "bad magic number", filepath.Join(dir, "none"): "no such file"} {
		for _, o := range []Options{{Shim: name}, {}} {
			env := environment()
			if o.Shim == "" {
				env = append(env, shimPathVariable+"="+name)
			}
			x := prepare(t, env, o)
			if want == "" {
				if x.noShim != nil || value(x.env, preloadVariable) != x.shim || filepath.Dir(x.shim) != x.dir {
					t.Errorf("%s: preloaded %q, %v", name, value(x.env, preloadVariable), x.noShim)
				}
			} else if x.noShim == nil || !strings.Contains(x.noShim.Error(), want) {
				t.Errorf("%s: %v, want %q", name, x.noShim, want)
			}
			x.Close()
		}
	}
}

// TestTwoLibraries: each library gets what belongs to it, and the program's own callbacks are called.
func TestTwoLibraries(t *testing.T) {
	cc := programPath(t, "cc")
	dir := t.TempDir()
	built := func(name string, flags ...string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		out, err := exec.CommandContext(t.Context(), cc, append([]string{"-O2", "-o", path, "testdata/libraries.c"}, flags...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return path
	}
	args := []string{built("program", "-ldl", "-lpthread")}
	for _, id := range []string{"1", "2"} {
		library := built("libssl-"+id+".so", "-shared", "-fPIC", "-DLIBRARY="+id, "-Wl,-soname,libssl-"+id+".so")
		args = append(args, built("plugin"+id+".so", "-shared", "-fPIC", "-DPLUGIN="+id, library, "-Wl,-rpath,"+dir))
	}
	x := prepare(t, environment(), Options{})
	if x.noShim != nil {
		t.Fatal(x.noShim)
	}
	// The store passes these lines over; they are counted by what is written.
	lines := filepath.Join(t.TempDir(), "lines")
	run(t, with(x.env, shimVariable, lines), "", args...)
	b, err := os.ReadFile(lines)
	if err == nil {
		t.Errorf("the shim has made a file: %q", b)
	}
	if err := os.WriteFile(lines, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, with(x.env, shimVariable, lines), "", args...)
	b, err = os.ReadFile(lines)
	if err != nil || strings.Count(string(b), "LIBRARY_1 00 00\n") != 24 || strings.Count(string(b), "LIBRARY_2 00 00\n") != 24 || strings.Count(string(b), "\n") != 48 {
		t.Errorf("got %v\n%s", err, b)
	}
	// Without the variable it does nothing.
	run(t, slices.DeleteFunc(slices.Clone(x.env), func(e string) bool { return strings.HasPrefix(e, shimVariable+"=") }), "", args...)
}

// TestPreload: what the user preloads is still preloaded, and what isn't for the shim runs as before.
func TestPreload(t *testing.T) {
	x := prepare(t, environment(preloadVariable+"=libc.so.6"), Options{})
	if x.noShim != nil {
		t.Skip(x.noShim)
	}
	if got := value(x.env, preloadVariable); got != "libc.so.6:"+x.shim {
		t.Errorf("got %q", got)
	}
	out := run(t, x.env, "", "/bin/sh", "-c", "cat /proc/self/maps; echo out; /bin/echo more")
	if !strings.Contains(out, x.shim) || !strings.HasSuffix(out, "out\nmore\n") {
		t.Errorf("got %s", out)
	}
}

func TestEnvironment(t *testing.T) {
	env := with([]string{"A=1", "B=2", "A=3", "AB=4"}, "A", "5")
	if !slices.Equal(env, []string{"B=2", "AB=4", "A=5"}) || value(env, "A") != "5" || value(env, "C") != "" || value([]string{"A=1", "A=2"}, "A") != "1" {
		t.Errorf("got %q", env)
	}
	for _, c := range []struct {
		options, keys, want string
		own                 bool
	}{
		{"", "/k", `--tls-keylog="/k" --require="/q"`, false},
		{"--no-warnings", "/k", `--no-warnings --tls-keylog="/k" --require="/q"`, false},
		{"", `/a b\c"d`, `--tls-keylog="/a b\\c\"d" --require="/q"`, false},
		{"--tls-keylog=/own", "/k", "--tls-keylog=/own", true},
		{"--x --tls-keylog /own", "/k", "--x --tls-keylog /own", true},
		{`"--tls-keylog=/own log"`, "/k", `"--tls-keylog=/own log"`, true},
		{"--tls-keylogger", "/k", `--tls-keylogger --tls-keylog="/k" --require="/q"`, false},
	} {
		if got, own := nodeOptions(c.options, c.keys, "/q"); got != c.want || own != c.own {
			t.Errorf("%q: got %q, %v, want %q, %v", c.options, got, own, c.want, c.own)
		}
	}
	if preload("", "/a") != "/a" || preload("b c", "/a") != "b c:/a" {
		t.Error("preload")
	}
	for path, want := range map[string]bool{"/tmp/a-b_c.so": true, "/a b": false, "/a:b": false, "/$LIB/a": false, "/a\nb": false, "/a;b": false} {
		if preloadable(path) != want {
			t.Errorf("%q: want %v", path, want)
		}
	}
}

// TestNodeOwnKeyLog: what node writes into another key log isn't known, and that is said.
func TestNodeOwnKeyLog(t *testing.T) {
	x := prepare(t, environment(nodeVariable+"=--tls-keylog=/own"), Options{})
	if value(x.env, nodeVariable) != "--tls-keylog=/own" || len(x.said) != 1 || !strings.Contains(x.said[0], nodeVariable) {
		t.Errorf("%q, said %q", value(x.env, nodeVariable), x.said)
	}
}

// FuzzPipe: however lines are cut, the store gets the same, and little is held.
func FuzzPipe(f *testing.F) {
	one, _ := session(1)
	two, _ := session(2)
	f.Add([]byte(one+two), uint16(3))
	f.Add([]byte(strings.Repeat("x", 2*keylog.MaxLine)+"\n"+one), uint16(1000))
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		var whole, parts []byte
		feed := func(into *[]byte, size int) {
			p := pipe{add: func(lines []byte) {
				if len(lines) == 0 || lines[len(lines)-1] != '\n' {
					t.Errorf("not whole lines: %q", lines)
				}
				*into = append(*into, lines...)
			}}
			for rest := b; len(rest) > 0; {
				n := min(size, len(rest))
				p.write(rest[:n])
				rest = rest[n:]
				if len(p.rest) > keylog.MaxLine {
					t.Fatalf("%d bytes are held", len(p.rest))
				}
			}
		}
		feed(&whole, max(len(b), 1))
		feed(&parts, int(size)+1)
		// A line that is too long may come whole, or not at all.
		short := func(text []byte) (lines []string) {
			for line := range strings.Lines(string(text)) {
				if len(line) <= keylog.MaxLine {
					lines = append(lines, line)
				}
			}
			return lines
		}
		if !slices.Equal(short(whole), short(parts)) {
			t.Errorf("whole: %q\nin parts of %d: %q", whole, int(size)+1, parts)
		}
	})
}
