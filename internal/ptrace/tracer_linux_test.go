package ptrace

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if Launching(os.Args) {
		os.Exit(Launch(os.Args))
	}
	os.Exit(m.Run())
}

// record is a handler that writes down what it is told.
type record struct {
	t       *testing.T
	starts  int
	execs   int
	ends    int
	written map[string]int // by what was written
	exit    func(t *Thread, c *Call)
	signal  func(t *Thread, signal int)
}

func (r *record) Start(*Process)            { r.starts++ }
func (r *record) Exec(*Process)             { r.execs++ }
func (r *record) End(*Process, int, int)    { r.ends++ }
func (r *record) Enter(*Thread, *Call) bool { return true }
func (r *record) Signal(t *Thread, signal int) {
	if r.signal != nil {
		r.signal(t, signal)
	}
}

func (r *record) Exit(t *Thread, c *Call) {
	if c.Ended.Before(c.Began) {
		r.t.Errorf("a call ended before it began: %+v", c)
	}
	if r.exit != nil {
		r.exit(t, c)
	}
	if c.Number == unix.SYS_WRITE && c.Result > 0 {
		b := make([]byte, c.Result)
		if _, err := ReadMemory(t.Process.ID, c.Args[1], b); err != nil {
			r.t.Errorf("memory of %d: %v", t.Process.ID, err)
		}
		if r.written == nil {
			r.written = map[string]int{}
		}
		r.written[string(b)]++
	}
}

// follow runs a program to its end.
func follow(t *testing.T, r *record, calls []uint64, args ...string) (status, signal int) {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Skipf("%s isn't there: %v", args[0], err)
	}
	r.t = t
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	// The thread ends with the goroutine, and nothing is traced by one that others use.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		tr := New(calls, r)
		_, err := tr.Start(&Command{Path: path, Args: args, Env: os.Environ(), Files: [3]*os.File{null, null, null}})
		if err == nil {
			status, signal, err = tr.Run()
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("it doesn't end")
	}
	return status, signal
}

// python isn't a script that runs another one.
const python = "/usr/bin/python3"

var writes = []uint64{unix.SYS_WRITE}

func TestRun(t *testing.T) {
	r := &record{}
	status, signal := follow(t, r, writes, "sh", "-c", "echo one; /bin/echo two; exit 7")
	if status != 7 || signal != 0 {
		t.Errorf("got status %d, signal %d", status, signal)
	}
	if r.starts != 2 || r.execs != 2 || r.ends != 2 {
		t.Errorf("got %d starts, %d execs, %d ends", r.starts, r.execs, r.ends)
	}
	if r.written["one\n"] != 1 || r.written["two\n"] != 1 {
		t.Errorf("got %v", r.written)
	}
}

func TestKilled(t *testing.T) {
	if status, signal := follow(t, &record{}, writes, "sh", "-c", "kill -TERM $$"); status != 0 || signal != int(unix.SIGTERM) {
		t.Errorf("got status %d, signal %d", status, signal)
	}
}

func TestErrno(t *testing.T) {
	var errs []int
	r := &record{exit: func(_ *Thread, c *Call) {
		if c.Number == unix.SYS_CLOSE && int32(c.Args[0]) == 999 {
			errs = append(errs, c.Errno)
		}
	}}
	follow(t, r, []uint64{unix.SYS_CLOSE}, python, "-c", "import os\ntry: os.close(999)\nexcept OSError: pass")
	if len(errs) != 1 || errs[0] != int(syscall.EBADF) {
		t.Errorf("got %v", errs)
	}
}

// TestForks: a hundred children, each of which writes.
func TestForks(t *testing.T) {
	r := &record{}
	status, _ := follow(t, r, writes, python, "-c", `
import os
for i in range(100):
    if os.fork() == 0:
        os.write(1, b"child\n")
        os._exit(0)
for i in range(100):
    os.wait()
`)
	if status != 0 || r.written["child\n"] != 100 || r.starts != 101 || r.ends != 101 {
		t.Errorf("status %d, %d wrote, %d starts, %d ends", status, r.written["child\n"], r.starts, r.ends)
	}
}

// TestThreads: sixty threads at once, and then one of them runs another program.
func TestThreads(t *testing.T) {
	r := &record{}
	status, _ := follow(t, r, writes, python, "-c", `
import os, threading
gate = threading.Barrier(60)
def work():
    gate.wait()
    os.write(1, b"thread\n")
    gate.wait()
all = [threading.Thread(target=work) for i in range(60)]
[t.start() for t in all]
[t.join() for t in all]
threading.Thread(target=lambda: os.execv("/bin/echo", ["echo", "after"])).start()
threading.Event().wait()
`)
	if status != 0 || r.written["thread\n"] != 60 || r.written["after\n"] != 1 || r.execs != 2 || r.starts != 1 || r.ends != 1 {
		t.Errorf("status %d, written %v, %d execs, %d starts, %d ends", status, r.written, r.execs, r.starts, r.ends)
	}
}

// TestSIGTRAP: a program that uses the signal that debuggers use, itself.
func TestSIGTRAP(t *testing.T) {
	r := &record{}
	status, signal := follow(t, r, writes, python, "-c", `
import os, signal
signal.signal(signal.SIGTRAP, lambda *_: os.write(1, b"trapped\n"))
for i in range(3): os.kill(os.getpid(), signal.SIGTRAP)
`)
	if status != 0 || signal != 0 || r.written["trapped\n"] != 3 {
		t.Errorf("status %d, signal %d, written %v", status, signal, r.written)
	}
}

// TestStopped: a program that is stopped stays so until it is continued.
func TestStopped(t *testing.T) {
	r := &record{}
	status, _ := follow(t, r, writes, python, "-c", `
import os, signal
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
    os.write(1, b"continued\n")
    os._exit(3)
_, how = os.waitpid(child, os.WUNTRACED)
assert os.WIFSTOPPED(how)
os.write(1, b"stopped\n")
os.kill(child, signal.SIGCONT)
_, how = os.waitpid(child, 0)
os._exit(os.WEXITSTATUS(how))
`)
	if status != 3 || r.written["stopped\n"] != 1 || r.written["continued\n"] != 1 {
		t.Errorf("status %d, written %v", status, r.written)
	}
}

func TestNotThere(t *testing.T) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		_, err := New(writes, &record{t: t}).Start(&Command{Path: filepath.Join(t.TempDir(), "none"), Args: []string{"none"}, Files: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}})
		done <- err
	}()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

// TestAttach: a program that runs already is followed from now on; one that has a tracer isn't.
func TestAttach(t *testing.T) {
	cmd := exec.Command(python, "-c", `
import os, sys
sys.stdin.readline()
os.write(1, b"after\n")
`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("%v: apt-get install python3", err)
	}
	r := &record{t: t}
	attached, done, second := make(chan error), make(chan error), make(chan error)
	go func() {
		runtime.LockOSThread()
		tr := New(writes, r)
		err := tr.Attach(cmd.Process.Pid)
		attached <- err
		if err == nil {
			_, _, err = tr.Run()
		}
		done <- err
	}()
	if err := <-attached; err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		t.Skipf("attaching: %v", err)
	}
	go func() {
		runtime.LockOSThread()
		second <- New(writes, r).Attach(cmd.Process.Pid)
	}()
	if err := <-second; err == nil || !strings.Contains(err.Error(), fmt.Sprintf("is being traced by process %d", os.Getpid())) {
		t.Errorf("a second tracer: %v", err)
	}
	fmt.Fprintln(in, "go")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if r.written["after\n"] != 1 || r.starts != 1 || r.ends != 1 {
		t.Errorf("written %v, %d starts, %d ends", r.written, r.starts, r.ends)
	}
}
