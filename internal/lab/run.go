//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// secondLife is set in the environment of the program's second life: to entered in the namespaces, else to why
// there are none.
const (
	secondLife = "CULPRIT_LAB"
	entered    = "in namespaces"
)

// Ordinary, set in the environment, makes Run use a user namespace even for root, as it must for others.
const Ordinary = "CULPRIT_LAB_USER_NAMESPACE"

// ErrUnavailable says that the system doesn't let this program make namespaces.
var ErrUnavailable = errors.New("no network namespaces of one's own here")

// Run runs the program again, with the same arguments, in a network and a mount namespace of its own, and
// there calls run. Whoever isn't root gets a user namespace too, and is root in it. It returns the exit status
// of the second life, or of run where there are no namespaces; then New fails. It is called from the main
// goroutine, first.
//
//	func TestMain(m *testing.M) { os.Exit(lab.Run(m.Run)) }
func Run(run func() int) int {
	// Namespaces belong to threads. The main one is the one that /proc/PID shows: it stays where it is, and out
	// of the hands of other goroutines.
	runtime.LockOSThread()
	why := os.Getenv(secondLife)
	if why == "" {
		status, err := again()
		if err == nil {
			return status
		}
		why = err.Error()
	} else if why == entered {
		if err := furnish(); err != nil {
			why = err.Error()
		}
	}
	os.Setenv(secondLife, why)
	status := run()
	for _, p := range reap() {
		fmt.Fprintf(os.Stderr, "lab: a process was left behind, and is now killed: %s\n", p)
		status = max(status, 1)
	}
	return status
}

// Check returns nil in the second life of a program, and else an ErrUnavailable that says why.
func Check() error {
	switch why := os.Getenv(secondLife); why {
	case entered:
		return nil
	case "":
		return fmt.Errorf("%w: the program didn't begin with lab.Run", ErrUnavailable)
	default:
		return fmt.Errorf("%w: %s", ErrUnavailable, why)
	}
}

// again is the first life. An error says that the second didn't begin.
func again() (status int, err error) {
	ways := []uintptr{syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER}
	if os.Geteuid() != 0 || os.Getenv(Ordinary) != "" {
		ways = ways[1:]
	}
	for _, flags := range ways {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Env = append(os.Environ(), secondLife+"="+entered)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		}
		if err = cmd.Start(); err != nil {
			continue
		}
		err = cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return 0, err
		}
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return cmd.ProcessState.ExitCode(), nil
	}
	return 0, err
}

// furnish prepares the namespaces for what New makes in them.
func furnish() error {
	// What is left behind becomes ours, so that reap finds it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopting orphans: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("a mount namespace of one's own: %w", err)
	}
	// The names of network namespaces are files there; ip(8) and culprit look for them there too.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting a tmpfs on /run: %w", err)
	}
	if err := os.Mkdir(names, 0o755); err != nil {
		return err
	}
	ip, err := Program("ip")
	if err != nil {
		return err
	}
	if out, err := exec.Command(ip, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	return nil
}

// Program returns the path of a program, also of those that only root's search path has.
func Program(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err != nil {
			path, err = exec.LookPath(dir + name)
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s isn't installed: make deps says how to get it", name)
	}
	return path, nil
}

// Children returns the processes whose parent is pid, oldest first.
func Children(pid int) (children []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		// PID (name) state parent; the name may hold anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 2 && fields[1] == strconv.Itoa(pid) {
			children = append(children, child)
		}
	}
	slices.Sort(children)
	return children
}

// reap ends all processes that were left behind, and returns what they were.
func reap() (left []string) {
	for {
		children := Children(os.Getpid())
		if len(children) == 0 {
			return left
		}
		for _, pid := range children {
			name, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
			if len(name) > 0 { // else it has ended
				left = append(left, fmt.Sprintf("%d (%s)", pid, strings.ReplaceAll(strings.TrimRight(string(name), "\x00"), "\x00", " ")))
			}
			_ = unix.Kill(pid, unix.SIGKILL)
			for err := error(unix.EINTR); errors.Is(err, unix.EINTR); {
				_, err = unix.Wait4(pid, nil, 0, nil)
			}
		}
	}
}
