package ptrace

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// launcherName is the name by which the launcher is called, which no user would choose.
const launcherName = "culprit: launching"

// The descriptors of the launcher: it says on report that it is there, waits for the end of go, and says on report what went wrong.
const (
	goFD     = 3
	reportFD = 4
)

// Command is a program to run.
type Command struct {
	// Path is the program's file, Args are its arguments with its name, Env its environment.
	Path      string
	Args, Env []string
	// Files are its standard input, output and error.
	Files [3]*os.File
}

// Start starts a program, stopped by a filter at the calls that are told of. Run is to be called by the same goroutine, which has to be locked
// to its thread. The program of the calling process has to call Launch first of all when Launching is true.
func (t *Tracer) Start(c *Command) (pid int, err error) {
	if c.Path == "" {
		return 0, errNoProgram
	}
	var calls []uint64
	for n := range t.wanted {
		calls = append(calls, n)
	}
	if _, err := filter(calls); err != nil {
		return 0, err
	}
	goes, going, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer going.Close()
	reports, reporting, err := os.Pipe()
	if err != nil {
		goes.Close()
		return 0, err
	}
	defer reports.Close()
	args := append([]string{launcherName, hex.EncodeToString(encode(calls)), c.Path}, c.Args...)
	pid, err = syscall.ForkExec("/proc/self/exe", args, &syscall.ProcAttr{
		Env: c.Env, Files: []uintptr{c.Files[0].Fd(), c.Files[1].Fd(), c.Files[2].Fd(), goes.Fd(), reporting.Fd()},
	})
	goes.Close()
	reporting.Close()
	if err != nil {
		return 0, fmt.Errorf("starting the launcher: %w", err)
	}
	// Its own exec has to be over before it is traced, or it would be taken for the program's.
	var ready [1]byte
	_, err = io.ReadFull(reports, ready[:])
	var p *Process
	if err == nil {
		p, err = t.attach(pid, options|unix.PTRACE_O_EXITKILL)
	}
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
		return 0, err
	}
	t.first, t.launching = p, p
	going.Close()
	if err := t.launched(reports); err != nil {
		return 0, err
	}
	return pid, nil
}

// launched follows the launcher until it has become the program, or says why it couldn't.
func (t *Tracer) launched(reports *os.File) error {
	for t.launching != nil && len(t.threads) > 0 {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for the launcher: %w", err)
		}
		if err := t.stopped(tid, ws); err != nil && err != unix.ESRCH {
			return fmt.Errorf("tracing the launcher: %w", err)
		}
	}
	if t.launching == nil {
		return nil
	}
	text, _ := io.ReadAll(reports)
	if len(text) == 0 {
		return errors.New("the launcher ended before it ran the program")
	}
	return errors.New(string(text))
}

// Launching reports whether this process is a launcher, by its arguments.
func Launching(args []string) bool { return len(args) > 3 && args[0] == launcherName }

// Launch does what a launcher does. It returns only if that fails, and then the status to exit with.
func Launch(args []string) int {
	runtime.LockOSThread() // the filter is that of a thread
	unix.CloseOnExec(goFD)
	unix.CloseOnExec(reportFD)
	b := [1]byte{'.'}
	_, err := unix.Write(reportFD, b[:])
	for again := err == nil; again; {
		_, err := unix.Read(goFD, b[:])
		again = err == unix.EINTR
	}
	err = launch(args)
	_, _ = unix.Write(reportFD, []byte(err.Error()))
	return 127
}

func launch(args []string) error {
	calls, err := hex.DecodeString(args[1])
	if err != nil {
		return err
	}
	prog, err := filter(decode(calls))
	if err != nil {
		return err
	}
	if err := install(prog); err != nil {
		return err
	}
	path := args[2]
	if err := unix.Exec(path, args[3:], os.Environ()); err != nil {
		return fmt.Errorf("%s: %w", strings.ToValidUTF8(path, "?"), err)
	}
	return nil
}
