package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// namedNamespaces is where ip netns keeps names.
const namedNamespaces = "/run/netns"

// OpenNetNS opens a network namespace: a name as ip netns lists it, the path of a namespace file, or "pid:N" for that
// of a process. The caller closes the file.
func OpenNetNS(spec string) (*os.File, error) {
	path := filepath.Join(namedNamespaces, spec)
	var pid int
	switch n, isPID := strings.CutPrefix(spec, "pid:"); {
	case isPID:
		var err error
		if pid, err = strconv.Atoi(n); err != nil || pid <= 0 {
			return nil, fmt.Errorf("network namespace %q: after pid: comes the number of a process", spec)
		}
		path = fmt.Sprintf("/proc/%d/ns/net", pid)
	case strings.Contains(spec, "/"):
		path = spec
	case spec == "" || spec == "." || spec == "..":
		return nil, fmt.Errorf("network namespace %q: neither a name, a path nor pid:N", spec)
	}
	f, err := os.Open(path)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrNotExist) && pid > 0:
		return nil, fmt.Errorf("network namespace %s: there is no process %d", spec, pid)
	case errors.Is(err, os.ErrNotExist) && path != spec:
		return nil, fmt.Errorf("network namespace %s: there is no %s; ip netns list shows the names, and pid:N takes that of a process", spec, path)
	case errors.Is(err, os.ErrPermission) && pid > 0:
		return nil, fmt.Errorf("network namespace %s: looking into process %d needs CAP_SYS_PTRACE, and that nothing else forbids it: %w", spec, pid, fs.ErrPermission)
	default:
		return nil, fmt.Errorf("network namespace %s: %w", spec, err)
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		f.Close()
		return nil, fmt.Errorf("network namespace %s: %s isn't one", spec, path)
	}
	return f, nil
}

// OwnNetNS reports whether a network namespace is the one that the process is in.
func OwnNetNS(ns *os.File) bool {
	theirs, err := ns.Stat()
	if err != nil {
		return false
	}
	ours, err := os.Stat("/proc/self/ns/net")
	return err == nil && os.SameFile(theirs, ours)
}

// Enter calls f in a network namespace, on a thread that ends with it; what f opens stays in the namespace. It needs
// CAP_SYS_ADMIN, here and in the user namespace that owns the network namespace. f mustn't start goroutines that
// count on the namespace, nor take long: Enter waits for it.
func Enter(ns *os.File, f func() error) error {
	done := make(chan error, 1)
	go enter(ns, f, done)
	return <-done
}

func enter(ns *os.File, f func() error, done chan<- error) {
	// Never unlocked: the thread ends with the goroutine, and nothing else ever runs in the namespace.
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The first thread can't end, and /proc/self tells of it. While it is kept busy here, another one is taken.
		again := make(chan error)
		go enter(ns, f, again)
		err := <-again
		runtime.UnlockOSThread()
		done <- err
		return
	}
	switch err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); {
	case errors.Is(err, unix.EPERM):
		done <- fmt.Errorf("entering network namespace %s needs CAP_SYS_ADMIN, also in the user namespace that owns it", ns.Name())
	case err != nil:
		done <- fmt.Errorf("entering network namespace %s: %w", ns.Name(), err)
	default:
		done <- f()
	}
}
