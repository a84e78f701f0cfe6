package process

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	// asChild makes the test binary a process of a test: what it holds is in the variable.
	asChild = "CULPRIT_TEST_CHILD"
	// inNamespaces is set in the environment of a test's second life.
	inNamespaces = "CULPRIT_TEST_NAMESPACES"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(asChild); role != "" {
		if err := child(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child holds sockets until its standard input ends. It tells of them in one line first.
func child(role string) error {
	say := func(args ...any) { fmt.Println(args...) }
	switch what, arg, _ := strings.Cut(role, " "); what {
	case "hold": // what it has inherited
		say("ready")
	case "connect":
		c, err := net.Dial("tcp", arg)
		if err != nil {
			return err
		}
		defer c.Close()
		say(c.LocalAddr())
	case "listen": // and accept one connection for each line of input, and close it at the next
		l, err := net.Listen("tcp", arg)
		if err != nil {
			return err
		}
		defer l.Close()
		say(l.Addr())
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			say("accepted", c.RemoteAddr())
			if !lines.Scan() {
				return nil
			}
			c.Close()
			say("closed")
		}
		return nil
	case "late": // connects when it is told to
		say("ready")
		lines := bufio.NewScanner(os.Stdin)
		lines.Scan()
		c, err := net.Dial("tcp", arg)
		if err != nil {
			return err
		}
		defer c.Close()
		say(c.LocalAddr())
	case "pass": // starts a child of its own that inherits descriptor 3
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asChild+"=hold")
		cmd.ExtraFiles = []*os.File{os.NewFile(3, "")}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		defer cmd.Wait()
		defer in.Close()
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			return err
		}
		say(cmd.Process.Pid)
	default:
		return fmt.Errorf("what is %q?", role)
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// program is a child with its first line.
type program struct {
	*exec.Cmd
	t    *testing.T
	in   io.WriteCloser
	out  *bufio.Reader
	said string
}

// start starts a child that holds files as descriptors 3 and following; it ends with the test.
func start(t *testing.T, role string, files ...*os.File) *program {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{Cmd: cmd, t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(p.end)
	p.said = p.line()
	return p
}

func (p *program) line() string {
	p.t.Helper()
	s, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSuffix(s, "\n")
}

func (p *program) tell(s string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.in, s+"\n"); err != nil {
		p.t.Fatal(err)
	}
	return p.line()
}

func (p *program) end() {
	p.in.Close()
	p.Wait()
}

// inNamespace reports whether the test runs in a user and network namespace of its own. If not, it is run there.
func inNamespace(t *testing.T, more uintptr) bool {
	t.Helper()
	if os.Getenv(inNamespaces) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespaces+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | more,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil && cmd.ProcessState == nil:
		t.Skipf("no user namespaces here: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// upLoopback brings the loopback interface up.
func upLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// inode returns the number of a socket.
func inode(t *testing.T, c syscall.Conn) (n uint64) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if e := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return st.Ino
}
