package keeper

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// life is set in the environment of the tests' second life, as a worker. Its value says which.
const life = "CULPRIT_TEST_LIFE"

func TestMain(m *testing.M) {
	k, err := Inherited()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(9)
	}
	if k != nil {
		if string(k.Agreed) == "refuse" {
			os.Exit(1)
		}
		if err := k.Serve(testServices(k.Agreed)); err != nil {
			fmt.Fprintln(os.Stderr, "keeper:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if worker := workers[os.Getenv(life)]; worker != nil {
		c, err := Start([]byte("agreed"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(8)
		}
		worker(c)
	}
	os.Exit(m.Run())
}

// workers are what the second life does once its keeper is ready.
var workers = map[string]func(*Conn){
	"exit":  func(*Conn) { os.Exit(5) },
	"panic": func(*Conn) { panic("the worker crashes") },
	// signals ends with the number of SIGINTs that it got before SIGTERM; it says so when it is ready for them.
	"signals": func(c *Conn) {
		got := make(chan os.Signal, 10)
		signal.Notify(got, syscall.SIGINT, syscall.SIGTERM)
		pid, _, _ := c.Call("pid", nil)
		fmt.Println(string(pid))
		n := 0
		for s := range got {
			if s == syscall.SIGTERM {
				if _, _, err := c.Call("echo", nil); err != nil {
					os.Exit(100) // the keeper should outlive the worker's last work
				}
				os.Exit(n)
			}
			n++
			fmt.Println("interrupted")
		}
	},
	"wait": func(c *Conn) {
		pid, _, _ := c.Call("pid", nil)
		fmt.Println(string(pid))
		select {}
	},
	// slow leaves a handler behind that never returns.
	"slow": func(c *Conn) {
		go c.Call("wait", nil)
		c.Call("together", nil)
	},
	// descriptors is started with file descriptors 3 to 9 open, and writes into each; its keeper must not have taken one away.
	"descriptors": func(c *Conn) {
		for fd := 3; fd < 10; fd++ {
			fmt.Fprintf(os.NewFile(uintptr(fd), ""), "%d", fd)
		}
		c.Close()
		os.Exit(0)
	},
}

func separate(t *testing.T) *Conn {
	t.Helper()
	c, err := Start([]byte("agreed"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// each runs a test without and with a second process.
func each(t *testing.T, test func(*testing.T, connect)) {
	t.Run("local", func(t *testing.T) { test(t, local) })
	t.Run("separate", func(t *testing.T) { test(t, separate) })
}

// worker starts a second life, whose standard error, which the keeper has too, is what is returned.
func worker(t *testing.T, name string, files ...*os.File) (cmd *exec.Cmd, stdout *bufio.Reader, stderr io.Reader) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), life+"="+name)
	cmd.ExtraFiles = files
	// Ctrl-C is sent to its group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		cmd.Process.Kill() // if it is still there
		errs.Close()
	})
	return cmd, bufio.NewReader(out), errs
}

// The exit status is the worker's own, and the keeper, which holds standard error open, ends with it.
func TestWorkerEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		says   string
	}{
		{"exit", 5, ""},
		{"panic", 2, "the worker crashes"},
	} {
		cmd, _, stderr := worker(t, c.name)
		text, err := io.ReadAll(stderr)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: status %d, want %d; it said %q", c.name, got, c.status, text)
		}
	}
}

func TestWorkerKilled(t *testing.T) {
	for _, name := range []string{"wait", "slow"} {
		cmd, stdout, stderr := worker(t, name)
		if name == "wait" {
			if _, err := stdout.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		cmd.Process.Kill()
		text, err := io.ReadAll(stderr) // until the keeper is gone
		if err != nil || len(text) > 0 {
			t.Errorf("%s: the keeper said %q, %v", name, text, err)
		}
		cmd.Wait()
	}
}

// Signals of the terminal go to the whole group, others to the worker alone: each comes once. A service manager sends them to the
// keeper too, which stays.
func TestSignals(t *testing.T) {
	cmd, stdout, stderr := worker(t, "signals")
	line := func() string {
		t.Helper()
		s, err := stdout.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(s)
	}
	keeper, err := strconv.Atoi(line())
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []int{-cmd.Process.Pid, cmd.Process.Pid} {
		if err := syscall.Kill(to, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		line()
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM} {
		if err := syscall.Kill(keeper, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(stderr)
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 2 {
		t.Errorf("the worker got %d interrupts, want 2; it said %q", got, text)
	}
}

func TestOwnSession(t *testing.T) {
	c := separate(t)
	pid, _, err := c.Call("pid", nil)
	if err != nil {
		t.Fatal(err)
	}
	if sid, _, err := c.Call("sid", nil); err != nil || !bytes.Equal(sid, pid) {
		t.Errorf("the keeper %s is in session %s, %v", pid, sid, err)
	}
	comm, err := os.ReadFile("/proc/" + string(pid) + "/comm")
	if err != nil || !strings.HasPrefix("keeper.test", strings.TrimSpace(string(comm))) {
		t.Errorf("the keeper is called %q, %v", comm, err)
	}
	if !c.Separate() {
		t.Error("the keeper isn't a process of its own")
	}
}

// What the user redirected stays the user's.
func TestInheritedDescriptors(t *testing.T) {
	var ends, files []*os.File
	for range 7 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ends, files = append(ends, r), append(files, w)
	}
	cmd, _, stderr := worker(t, "descriptors", files...)
	for _, f := range files {
		f.Close()
	}
	for i, r := range ends {
		if b, err := io.ReadAll(r); err != nil || string(b) != strconv.Itoa(3+i) {
			t.Errorf("descriptor %d got %q, %v", 3+i, b, err)
		}
	}
	text, _ := io.ReadAll(stderr)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, text)
	}
}

// A keeper that ends leaves its worker with errors, and not without an answer.
func TestKeeperEnds(t *testing.T) {
	c := separate(t)
	if _, _, err := c.Call("crash", nil); !errors.Is(err, ErrEnded) {
		t.Errorf("the call that it ended in: %v", err)
	}
	<-c.Ended()
	if _, _, err := c.Call("echo", nil); !errors.Is(err, ErrEnded) {
		t.Errorf("a call afterwards: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Start([]byte("refuse")); err == nil {
		t.Error("a keeper that ended at once is there")
	}
	if _, err := Start(make([]byte, MaxMessage)); err == nil {
		t.Error("more was agreed on than a message holds")
	}
}

// A file that a handler had closed is its mistake, and nobody else's.
func TestClosedFile(t *testing.T) {
	c := separate(t)
	if _, files, err := c.Call("closed", nil); err == nil || files != nil {
		t.Errorf("%d files, %v", len(files), err)
	}
	if _, _, err := c.Call("echo", nil); err != nil {
		t.Error(err)
	}
}

// Without room for them, files don't come, and the next call works.
func TestNoRoomForFiles(t *testing.T) {
	c := separate(t)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	low := unix.Rlimit{Cur: uint64(f.Fd()) + 3, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, files, err := c.Call("pipes", []byte{MaxFiles})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.EMFILE) || files != nil {
		t.Errorf("%d files, %v", len(files), err)
	}
	if _, files, err := c.Call("pipes", []byte{MaxFiles}); err != nil || len(files) != MaxFiles {
		t.Errorf("%d files, %v", len(files), err)
	} else {
		closeAll(files)
	}
}

// Whatever a hostile worker sends, the keeper answers or ends; it doesn't crash, hang, or take files.
func TestHostileWorker(t *testing.T) {
	good := (&request{id: 1, service: "echo", payload: []byte("x")}).append(nil)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, c := range []struct {
		name string
		send []byte
		oob  []byte
		ends bool
	}{
		{"a request", good, nil, false},
		{"an unknown service", (&request{id: 1, service: "\x00"}).append(nil), nil, false},
		{"a file", good, unix.UnixRights(int(null.Fd())), true},
		{"nothing", []byte{}, nil, true},
		{"less than a head", []byte{1, 0, 0}, nil, true},
		{"a name beyond the end", []byte{1, 0, 0, 0, 9, 'e'}, nil, true},
		{"no name", []byte{1, 0, 0, 0, 0, 'e'}, nil, true},
		{"a long name", append([]byte{1, 0, 0, 0, 200}, make([]byte, 300)...), nil, true},
		{"the id of readiness", (&request{service: "echo"}).append(nil), nil, true},
		{"too much", append(good, make([]byte, MaxMessage)...), nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := separate(t)
			answered := make(chan answer, 1)
			conn.mu.Lock()
			conn.waiting[1] = answered
			conn.mu.Unlock()
			if _, _, err := conn.socket.WriteMsgUnix(c.send, c.oob, nil); err != nil {
				t.Fatal(err)
			}
			if c.ends {
				<-conn.gone
				return
			}
			select {
			case <-answered:
			case <-conn.gone:
				t.Error("the keeper ended")
			}
		})
	}
}

// A worker that asks without end and takes no answers gets no further, and the keeper ends with it.
func TestWorkerThatDoesNotRead(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := unixConn(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd, err := run(socket, pair[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	message := (&request{id: 1, service: "echo", payload: make([]byte, 1<<10)}).append(nil)
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for full := 0; full < 100; { // it has had every chance to take more
		raw.Control(func(fd uintptr) {
			if unix.Sendto(int(fd), message, unix.MSG_DONTWAIT, nil) == nil {
				n++
				full = 0
			} else {
				full++
				unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 1)
			}
		})
		if n > 2000 {
			t.Fatal("the keeper takes requests without end")
		}
	}
	t.Logf("%d requests", n)
	socket.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the keeper: %v", err)
	}
}

// Handlers that never return, and a queue of requests behind them, don't keep the keeper alive.
func TestStuckHandlers(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := unixConn(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd, err := run(socket, pair[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint32(MaxPending + 5) {
		if _, err := socket.Write((&request{id: id + 1, service: "wait"}).append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := socket.Read(make([]byte, 100)); err != nil { // it is ready
		t.Fatal(err)
	}
	socket.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the keeper: %v", err)
	}
}

// The marker in the environment makes no keeper.
func TestForgedMarker(t *testing.T) {
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pair := func(kind int) [2]*os.File {
		p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return [2]*os.File{os.NewFile(uintptr(p[0]), ""), os.NewFile(uintptr(p[1]), "")}
	}
	stream, silent, wrong := pair(unix.SOCK_STREAM), pair(unix.SOCK_SEQPACKET), pair(unix.SOCK_SEQPACKET)
	for _, p := range [][2]*os.File{stream, silent, wrong} {
		defer p[0].Close()
		defer p[1].Close()
	}
	if _, err := wrong[0].Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, value string
		file        *os.File
	}{
		{"no number", "yes", file},
		{"standard error", "2", file},
		{"closed", "77", file},
		{"a file", "3", file},
		{"a stream", "3", stream[1]},
		{"nobody greets", "3", silent[1]},
		{"another greeting", "3", wrong[1]},
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), marker+"="+c.value)
		cmd.ExtraFiles = []*os.File{c.file}
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 9 || !strings.Contains(string(out), "unset it") {
			t.Errorf("%s: status %d: %s", c.name, cmd.ProcessState.ExitCode(), out)
		}
	}

	// A greeting that comes from somebody else than the parent: a shell between.
	if _, err := silent[0].Write([]byte(greeting)); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `"$0"; exit $?`, exe)
	cmd.Env = append(os.Environ(), marker+"=3")
	cmd.ExtraFiles = []*os.File{silent[1]}
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("another's child: status %d: %s", cmd.ProcessState.ExitCode(), out)
	}
}

func BenchmarkCall(b *testing.B) {
	c, err := Start([]byte("agreed"))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		if _, _, err := c.Call("echo", []byte("16 bytes or so..")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		c, err := Start(nil)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
