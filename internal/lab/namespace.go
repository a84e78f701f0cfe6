//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// names is where network namespaces have their names.
const names = "/run/netns"

// firstLink is more than the number of any interface that a new namespace has.
const firstLink = 100

// Lab is a set of network namespaces with what runs in them. Its methods may be called from several
// goroutines.
type Lab struct {
	mu        sync.Mutex
	spaces    []*Namespace
	processes []*Process
	closers   []func() error

	// links is the number of the last interface that Veth has made.
	links atomic.Int32
}

// New returns an empty laboratory. It fails with ErrUnavailable where the system doesn't let this program have
// namespaces, or when it didn't begin with Run.
func New() (*Lab, error) {
	if err := Check(); err != nil {
		return nil, err
	}
	l := &Lab{}
	l.links.Store(firstLink)
	return l, l.stamp()
}

// stamp has the kernel note when packets arrive, for as long as the laboratory is open. It begins to some milliseconds after the first socket
// wants it; what a recording reads before has the time at which it was read.
func (l *Lab) stamp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("a socket that wants times: %w", err)
	}
	l.Finally(func() error { return unix.Close(fd) })
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
}

// Close ends everything: what was told with Finally, last first; all processes; and the namespaces with the
// interfaces in them.
func (l *Lab) Close() error {
	l.mu.Lock()
	closers, processes, spaces := l.closers, l.processes, l.spaces
	l.closers, l.processes, l.spaces = nil, nil, nil
	l.mu.Unlock()
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	for _, p := range processes {
		p.Kill()
	}
	for _, n := range spaces {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}

// Finally has f called by Close, before anything else ends.
func (l *Lab) Finally(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

// Namespace is a network namespace. It has a thread of its own for as long as it lives.
type Namespace struct {
	// Name is its name as ip(8) knows it, Path the file that stands for it.
	Name, Path string

	lab  *Lab
	file *os.File
	work chan func()
	quit chan struct{}
	done chan struct{}
}

// quiet are the settings that keep a new namespace from sending, and from refusing, what a test didn't ask for.
var quiet = []string{
	"ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0",
	"ipv6/conf/all/accept_dad=0", "ipv6/conf/default/accept_dad=0",
	"ipv6/conf/default/router_solicitations=0", "ipv6/conf/default/accept_ra=0",
}

// Namespace makes a new network namespace, in which the loopback interface is up.
func (l *Lab) Namespace(name string) (*Namespace, error) {
	n := &Namespace{
		Name: name, Path: filepath.Join(names, name), lab: l,
		work: make(chan func()), quit: make(chan struct{}), done: make(chan struct{}),
	}
	begun := make(chan error, 1)
	go n.thread(begun)
	if err := <-begun; err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	l.mu.Lock()
	l.spaces = append(l.spaces, n)
	l.mu.Unlock()
	if err := n.IP("link set lo up"); err != nil {
		return nil, err
	}
	for _, s := range quiet {
		name, value, _ := strings.Cut(s, "=")
		if err := n.Sysctl(name, value); err != nil && !errors.Is(err, os.ErrNotExist) { // there may be no IPv6
			return nil, err
		}
	}
	return n, nil
}

// thread is the life of the namespace's thread.
func (n *Namespace) thread(begun chan<- error) {
	defer close(n.done)
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	var err error
	if n.file, err = n.unshare(); err != nil {
		begun <- err
		return
	}
	close(begun)
	for {
		select {
		case f := <-n.work:
			f()
		case <-n.quit:
			return
		}
	}
}

// unshare moves the calling thread into a new network namespace, and gives that its name.
func (n *Namespace) unshare() (*os.File, error) {
	f, err := os.OpenFile(n.Path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return nil, err
	}
	f.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, errors.Join(fmt.Errorf("unshare: %w", err), os.Remove(n.Path))
	}
	if err := unix.Mount("/proc/thread-self/ns/net", n.Path, "", unix.MS_BIND, ""); err != nil {
		return nil, errors.Join(fmt.Errorf("mount: %w", err), os.Remove(n.Path))
	}
	return os.Open(n.Path)
}

func (n *Namespace) close() error {
	close(n.quit)
	<-n.done // processes that were started there end now, if they haven't
	n.file.Close()
	if err := unix.Unmount(n.Path, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting %s: %w", n.Path, err)
	}
	return os.Remove(n.Path)
}

// Do calls f on the namespace's thread, and returns what it returns. What f opens belongs to the namespace;
// f must not wait for another Do.
func (n *Namespace) Do(f func() error) error {
	result := make(chan error, 1)
	select {
	case n.work <- func() { result <- f() }:
		return <-result
	case <-n.done:
		return fmt.Errorf("network namespace %s is closed", n.Name)
	}
}

// Go calls f in a goroutine with a thread of its own in the namespace. The channel gives what f returns.
// Goroutines that f starts aren't in the namespace.
func (n *Namespace) Go(f func() error) <-chan error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("entering network namespace %s: %w", n.Name, err)
			return
		}
		result <- f()
	}()
	return result
}

// Dial connects within the namespace; the address must be a number.
func (n *Namespace) Dial(network, address string) (c net.Conn, err error) {
	err = n.Do(func() error {
		d := net.Dialer{Timeout: Patience}
		c, err = d.Dial(network, address)
		return err
	})
	return c, err
}

// Listen listens within the namespace.
func (n *Namespace) Listen(network, address string) (l net.Listener, err error) {
	err = n.Do(func() error { l, err = net.Listen(network, address); return err })
	return l, err
}

// IP runs ip(8) in the namespace, with the words of args.
func (n *Namespace) IP(args string) error {
	ip, err := Program("ip")
	if err != nil {
		return err
	}
	var out []byte
	cmd := exec.Command(ip, strings.Fields(args)...)
	if err := n.Do(func() error { out, err = cmd.CombinedOutput(); return err }); err != nil {
		return fmt.Errorf("ip %s, in network namespace %s: %w: %s", args, n.Name, err, out)
	}
	return nil
}

// Sysctl sets a value under /proc/sys/net, such as ipv4/ip_forward.
func (n *Namespace) Sysctl(name, value string) error {
	return n.Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
}

// Start starts a command in the namespace. It is killed when the laboratory closes, if it lives then.
func (n *Namespace) Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// It ends with the namespace's thread, at the latest.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := n.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Path, err)
	}
	p := &Process{Cmd: cmd, PID: cmd.Process.Pid, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	n.lab.mu.Lock()
	n.lab.processes = append(n.lab.processes, p)
	n.lab.mu.Unlock()
	return p, nil
}
