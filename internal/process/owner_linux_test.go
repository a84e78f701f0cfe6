package process

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ticking is a clock that goes on by a millisecond each time it is read.
type ticking struct{ t time.Time }

func (c *ticking) now() time.Time {
	c.t = c.t.Add(time.Millisecond)
	return c.t
}

func openScanner(t testing.TB) (*Scanner, *ticking) {
	t.Helper()
	s, err := NewScanner("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c := &ticking{time.Unix(1e9, 0)}
	s.now = c.now
	return s, c
}

// listener returns a listening socket, its inode, and a file of it for children. The test closes the file.
func listener(t *testing.T) (*net.TCPListener, uint64, *os.File) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return l.(*net.TCPListener), inode(t, l.(*net.TCPListener)), f
}

// owner asks for one socket.
func owner(t *testing.T, s *Scanner, w Want) Answer {
	t.Helper()
	a, err := s.Owners([]Want{w})
	if err != nil {
		t.Fatal(err)
	}
	return a[0]
}

func TestOwner(t *testing.T) {
	s, clock := openScanner(t)
	l, ino, f := listener(t)
	a := owner(t, s, Want{Inode: ino, UID: uint32(os.Getuid())})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := a.Process
	if p == nil || p.PID != os.Getpid() || p.Executable != exe || !slices.Equal(p.Args, os.Args) || !strings.HasPrefix(filepath.Base(exe), p.Name) || p.User == "" {
		t.Fatalf("%+v", p)
	}
	if again := owner(t, s, Want{Inode: ino}); again.Process != p {
		t.Error("not the same object: ", again)
	}
	clock.t = clock.t.Add(2 * factsFor)
	if again := owner(t, s, Want{Inode: ino}); again.Process != p {
		t.Error("not the same object after it was read again: ", again)
	}

	// Passed to a child, and closed here.
	c := start(t, "hold", f)
	l.Close()
	f.Close()
	a = owner(t, s, Want{Inode: ino, UID: uint32(os.Getuid())})
	if a.Process == nil || a.Process.PID != c.Process.Pid {
		t.Errorf("passed on: %+v, want %d", a.Process, c.Process.Pid)
	}
	// The child is gone, and the socket with it.
	c.end()
	if a = owner(t, s, Want{Inode: ino, Recheck: true}); a.Process != nil || a.Later {
		t.Errorf("nobody's: %+v", a)
	}
	if n := s.Counters(); n.Scans != 1 || n.Remembered != 2 || n.Found != 2 {
		t.Errorf("%+v", n)
	}
}

// Several processes that hold a socket have in common what they have in common.
func TestOwnersShare(t *testing.T) {
	s, _ := openScanner(t)
	if _, err := s.Blind(); err != nil { // the processes that there are aren't new any more
		t.Fatal(err)
	}
	l, ino, f := listener(t)
	c := start(t, "pass", f)
	grandchild, err := strconv.Atoi(c.said)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	f.Close()
	p := owner(t, s, Want{Inode: ino, UID: uint32(os.Getuid())}).Process
	if p == nil || p.PID != 0 || p.Name == "" || p.Executable == "" || p.User == "" || !slices.Equal(p.Args, os.Args[:1]) {
		t.Errorf("%+v, want what %d and %d have in common", p, c.Process.Pid, grandchild)
	}
	if n := s.Counters(); n.Scans != 1 {
		t.Errorf("it took a scan: %+v", n)
	}
}

// A process that was there before it opened its socket is found: while it is new, and later by looking at all.
func TestOwnerOpensLate(t *testing.T) {
	s, clock := openScanner(t)
	if _, err := s.Blind(); err != nil {
		t.Fatal(err)
	}
	l, ino, f := listener(t)
	f.Close()
	for _, c := range []struct {
		name  string
		wait  time.Duration
		scans uint64
	}{{"new", time.Second, 1}, {"known", time.Hour, 2}} {
		p := start(t, "late "+l.Addr().String())
		clock.t = clock.t.Add(time.Second)                   // new ones may be looked at again
		owner(t, s, Want{Inode: ino + 1<<40, Recheck: true}) // the process is seen
		clock.t = clock.t.Add(c.wait)
		client := addrPort(dummyAddr(p.tell("")))
		found, err := openDiag(t).Find(unix.IPPROTO_TCP, client, addrPort(l.Addr()), 1)
		if err != nil || found.Inode == 0 {
			t.Fatal(found, err)
		}
		a := owner(t, s, Want{Inode: found.Inode, UID: found.UID})
		if a.Process == nil || a.Process.PID != p.Process.Pid {
			t.Errorf("%s: %+v", c.name, a)
		}
		if n := s.Counters().Scans; n != c.scans {
			t.Errorf("%s: %d scans", c.name, n)
		}
	}
}

type dummyAddr string

func (dummyAddr) Network() string  { return "" }
func (a dummyAddr) String() string { return string(a) }

// Looking at all processes isn't repeated for a socket that nobody holds, nor too often for others.
func TestOwnersEffort(t *testing.T) {
	s, clock := openScanner(t)
	const nobody = 1 << 40
	ask := func(inode uint64) Answer { return owner(t, s, Want{Inode: inode, UID: 4242}) }
	if a := ask(nobody); a.Later || a.Process != nil && a.Process.Name != "" {
		t.Errorf("the first time: %+v", a)
	}
	if a := ask(nobody + 1); !a.Later {
		t.Errorf("another one, too early: %+v", a)
	}
	s.full, s.hidden = pace{}, pace{} // it isn't for want of time
	if a := ask(nobody); a.Later {
		t.Errorf("the second time: %+v", a)
	}
	if n := s.Counters(); n.Scans != 1 {
		t.Errorf("%+v", n)
	}
	if a := owner(t, s, Want{Inode: nobody + 2, Recheck: true}); a.Later {
		t.Errorf("a recheck isn't put off: %+v", a)
	}
	clock.t = clock.t.Add(time.Minute)
	if a := ask(nobody + 1); a.Later {
		t.Errorf("another one: %+v", a)
	}
	clear(s.blind)
	if a := ask(nobody + 1); a.Process != nil {
		t.Errorf("a socket that nobody holds: %+v", a)
	}
	if a := owner(t, s, Want{Inode: nobody + 1, UID: 4242, Listening: true}); a.Process == nil || a.Process.User != "4242" || a.Process.PID != 0 {
		t.Errorf("a socket that somebody must hold: %+v", a)
	}
	if a := ask(0); a != (Answer{}) {
		t.Errorf("no socket: %+v", a)
	}
	if n := s.Counters(); n.Scans != 2 || n.Later != 1 || n.Wanted != 8 {
		t.Errorf("%+v", n)
	}
	clock.t = clock.t.Add(time.Minute)
	if ask(nobody + 1); s.Counters().Scans != 3 {
		t.Errorf("after long: %+v", s.Counters())
	}
}

// The holders of the listening socket are looked into first.
func TestOwnersByListener(t *testing.T) {
	s, _ := openScanner(t)
	server := start(t, "listen 127.0.0.1:0")
	at := addrPort(dummyAddr(server.said))
	d := openDiag(t)
	listeners, err := d.Listeners(unix.IPPROTO_TCP, at.Port())
	if err != nil || len(listeners) != 1 {
		t.Fatal(listeners, err)
	}
	want := Want{Inode: listeners[0].Inode, UID: listeners[0].UID}
	if a := owner(t, s, want); a.Process == nil || a.Process.PID != server.Process.Pid {
		t.Fatalf("%+v", a)
	}
	s.recent = nil
	for range 3 {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		server.tell("accept")
		f, err := d.Find(unix.IPPROTO_TCP, at, addrPort(c.LocalAddr()), 1)
		if err != nil || f.Inode == 0 {
			t.Fatal(f, err)
		}
		s.recent = nil
		a := owner(t, s, Want{Inode: f.Inode, UID: f.UID, Listener: want.Inode, Recheck: true})
		if a.Process == nil || a.Process.PID != server.Process.Pid {
			t.Errorf("%+v", a)
		}
		server.tell("close")
		c.Close()
	}
}

// A number that another process has now isn't taken for the process that had it.
func TestPIDReuse(t *testing.T) {
	if !inNamespace(t, unix.CLONE_NEWPID|unix.CLONE_NEWNS) {
		return
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		t.Skip("no procfs of its own for a process namespace: ", err)
	}
	if err := upLoopback(); err != nil {
		t.Fatal(err)
	}
	s, clock := openScanner(t)
	l, ino, f := listener(t)
	first := start(t, "hold", f)
	l.Close()
	f.Close()
	pid := first.Process.Pid
	if a := owner(t, s, Want{Inode: ino}); a.Process == nil || a.Process.PID != pid {
		t.Fatalf("%+v", a)
	}
	first.end()
	s.recent = nil

	l2, ino2, f2 := listener(t)
	var second *program
	for range 50 { // the runtime may take the number for a thread
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Skip("process numbers can't be chosen: ", err)
		}
		if second = start(t, "hold", f2); second.Process.Pid == pid {
			break
		}
		second.end()
	}
	if second.Process.Pid != pid {
		t.Skip("the number wasn't given again")
	}
	l2.Close()
	f2.Close()
	if a := owner(t, s, Want{Inode: ino, Recheck: true}); a.Process != nil {
		t.Errorf("the old socket: %+v", a.Process)
	}
	clock.t = clock.t.Add(time.Minute)
	s.recent = nil // it is found by looking at all, and still open from before
	a := owner(t, s, Want{Inode: ino2})
	if a.Process == nil || a.Process.PID != pid {
		t.Fatalf("the new socket: %+v", a)
	}
}

// Without privileges it is told how much isn't seen and why, and of a socket its owner's name.
func TestBlind(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("as root only: it becomes another user")
	}
	exe, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "culprit")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "test")
	if err := os.WriteFile(program, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^TestBlindAsNobody$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), inNamespaces+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestBlindAsNobody(t *testing.T) {
	if os.Getenv(inNamespaces) == "" || os.Getuid() == 0 {
		t.Skip("TestBlind runs it")
	}
	s, clock := openScanner(t)
	b, err := s.Blind()
	if err != nil || b.Processes == 0 || b.Processes >= b.Seen || !slices.Equal(b.Missing, []string{"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"}) {
		t.Errorf("%+v %v", b, err)
	}
	want := fmt.Sprintf("%d of %d processes couldn't be looked into: that needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", b.Processes, b.Seen)
	if b.String() != want {
		t.Errorf("%s", b)
	}
	clock.t = clock.t.Add(time.Second)
	if a := owner(t, s, Want{Inode: 1 << 40, UID: 0}); a.Later || a.Process == nil || a.Process.User != "root" || a.Process.PID != 0 || a.Process.Name != "" {
		t.Errorf("root's socket: %+v", a)
	}
	if n := s.Counters().Scans; n != 1 {
		t.Errorf("%d scans for a socket of root, who can't be looked into", n)
	}
	clock.t = clock.t.Add(time.Minute)
	_, ino, _ := listener(t)
	if a := owner(t, s, Want{Inode: ino, UID: 65534}); a.Process == nil || a.Process.PID != os.Getpid() {
		t.Errorf("the own socket: %+v", a)
	}
}

func TestNewScannerErrors(t *testing.T) {
	for _, path := range []string{"/nowhere", "/", "/etc/passwd"} {
		if s, err := NewScanner(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v %v", path, s, err)
		}
	}
}

func BenchmarkOwnerRemembered(b *testing.B) {
	s, err := NewScanner("")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).File()
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(raw.Fd()), &st); err != nil {
		b.Fatal(err)
	}
	wants := []Want{{Inode: st.Ino}}
	b.ReportAllocs()
	for b.Loop() {
		a, err := s.Owners(wants)
		if err != nil || a[0].Process == nil {
			b.Fatal(a, err)
		}
	}
}

// A connection that is new, of a server that holds many.
func BenchmarkOwnerNewConnection(b *testing.B) {
	for _, held := range []int{10, 1000} {
		b.Run(strconv.Itoa(held), func(b *testing.B) {
			s, err := NewScanner("")
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for range held {
				fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					b.Fatal(err)
				}
				unix.Close(fds[1])
				defer unix.Close(fds[0])
			}
			var st unix.Stat_t
			later := 0
			b.ReportAllocs()
			for b.Loop() {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					b.Fatal(err)
				}
				if err := unix.Fstat(fd, &st); err != nil {
					b.Fatal(err)
				}
				a, err := s.Owners([]Want{{Inode: st.Ino}})
				if err != nil {
					b.Fatal(err)
				}
				if a[0].Process == nil {
					later++
				}
				unix.Close(fd)
			}
			b.ReportMetric(float64(later)/float64(b.N), "missed/op")
		})
	}
}

func BenchmarkScan(b *testing.B) {
	s, err := NewScanner("")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for range 200 {
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			b.Skip(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Kill()
	}
	for b.Loop() {
		if err := s.scan(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(s.known)), "processes")
}
