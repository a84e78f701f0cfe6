package privilege

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// life is set in the environment of the tests' second life, in which privileges are dropped. Its value is a task in JSON.
const life = "CULPRIT_TEST_LIFE"

func TestMain(m *testing.M) {
	if text := os.Getenv(life); text != "" {
		var job task
		if err := json.Unmarshal([]byte(text), &job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := job.run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// task is what a second life does.
type task struct {
	Options Options
	Reduce  bool
	// Raise: the capabilities are permitted only, and Missing is asked; no more is done.
	Raise bool
	// Folder has the files that the tests open: see folder.
	Folder string
}

// outcome is what came of it.
type outcome struct {
	Report Report
	Failed string            // what Drop or Reduce said
	Tried  map[string]string // what was tried, and how it ended
}

// run drops privileges, tries things, says how they ended, waits to be looked at, and for SIGINT.
func (j *task) run() error {
	if j.Raise {
		return raise()
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT)

	// All that has to be there before: a network, connected sockets, a capture, a listener, open files, threads, and a descriptor of
	// the network namespace.
	if err := loopbackUp(); err != nil {
		return err
	}
	capture, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return fmt.Errorf("a capture socket: %w", err)
	}
	if err := unix.Bind(capture, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: 1}); err != nil {
		return err
	}
	if err := unix.SetsockoptTimeval(capture, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		return err
	}
	udp, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(j.Folder, "private", "early"))
	if err != nil {
		return err
	}
	namespace, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	const threads = 8
	var ready sync.WaitGroup
	ready.Add(threads)
	dropped := make(chan struct{})
	older := make(chan string, threads)
	for range threads {
		go func() {
			runtime.LockOSThread()
			ready.Done()
			<-dropped
			older <- ended(openFile("/etc/passwd"))
		}()
	}
	ready.Wait()

	var o outcome
	if j.Reduce {
		o.Report, err = Reduce(j.Options.Keep...)
	} else {
		o.Report, err = Drop(j.Options)
	}
	if err != nil {
		o.Failed = err.Error()
		return json.NewEncoder(os.Stdout).Encode(o)
	}
	close(dropped)

	in := func(name string) string { return filepath.Join(j.Folder, name) }
	tried := map[string]error{
		"read /etc/passwd":       openFile("/etc/passwd"),
		"read granted file":      openFile(in("read/file")),
		"list granted folder":    readDirectory(in("read")),
		"read sibling":           openFile(in("other")),
		"write in read folder":   createFile(in("read/new")),
		"create in write folder": createFile(in("write/new")),
		"rename there":           os.Rename(in("write/new"), in("write/renamed")),
		"remove there":           os.Remove(in("write/renamed")),
		"write granted file":     openForWriting(in("single")),
		"create beside it":       createFile(in("single.new")),
		"write early file":       writeFileAt(file),
		"list /proc":             readDirectory("/proc"),
		"run a program":          exec.Command("/bin/true").Run(),
		"setuid 0":               becomeRoot(),
		"connect":                dial("tcp", listener.Addr().String()),
		"connect to a name's":    dial("unixgram", "/dev/log-or-anything"),
		"listen":                 listen(),
		"raw socket":             socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
		"capture socket":         socket(unix.AF_PACKET, unix.SOCK_RAW, 0),
		"netlink route":          interfaces(),
		"netlink sockets":        socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG),
		"netlink netfilter":      socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER),
		"signal the parent":      unix.Kill(os.Getppid(), 0),
		"signal itself":          unix.Kill(os.Getpid(), 0),
		"trace the parent":       unix.PtraceSeize(os.Getppid()),
		"new namespace":          unix.Unshare(unix.CLONE_NEWUSER),
		"enter a namespace":      enter(namespace),
		"executable memory":      executableMemory(),
		"capture delivers":       delivers(capture, udp),
		"threads":                startThreads(),
		"memory":                 useMemory(),
		"wait for a timer":       wait(),
		"look into the parent":   lookInto(os.Getppid()),
	}
	o.Tried = make(map[string]string)
	for what, err := range tried {
		o.Tried[what] = ended(err)
	}
	for range threads {
		o.Tried["read /etc/passwd in older threads"] = <-older
		if o.Tried["read /etc/passwd in older threads"] != o.Tried["read /etc/passwd"] {
			break
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		return err
	}
	<-interrupted
	fmt.Println("interrupted")
	return nil
}

// raise prints what Missing says in a process that is permitted CAP_NET_RAW, not in effect, and then which are in effect.
func raise() error {
	if err := setCapabilities(capabilitySets{permitted: setOf([]Cap{CapNetRaw, CapNetAdmin})}); err != nil {
		return err
	}
	before := ended(socket(unix.AF_PACKET, unix.SOCK_RAW, 0))
	o := outcome{Tried: map[string]string{"before": before}}
	o.Tried["missing"] = strings.Join(Missing(CapSysAdmin, CapNetRaw, 40), ",")
	o.Tried["after"] = ended(socket(unix.AF_PACKET, unix.SOCK_RAW, 0))
	have, err := capabilities()
	if err != nil {
		return err
	}
	o.Tried["effective"] = have.effective.String()
	return json.NewEncoder(os.Stdout).Encode(o)
}

// ended says how something ended: "ok", or the name of the system's error.
func ended(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

func htons(v uint16) uint16 { return v<<8 | v>>8 } // both processors that there are filters for are little-endian

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bringing lo up: %w", err)
	}
	return nil
}

func openFile(path string) error {
	f, err := os.Open(path)
	if err == nil {
		_, err = io.ReadAll(f)
		f.Close()
	}
	return err
}

func readDirectory(path string) error {
	_, err := os.ReadDir(path)
	return err
}

func createFile(path string) error {
	f, err := os.Create(path)
	if err == nil {
		f.Close()
	}
	return err
}

func openForWriting(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_TRUNC, 0)
	if err == nil {
		f.Close()
	}
	return err
}

// writeFileAt does with a file what a rotating recording does.
func writeFileAt(f *os.File) error {
	_, err := f.Write([]byte("early"))
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = f.Write([]byte("later"))
	}
	if err == nil {
		err = f.Sync()
	}
	return err
}

func becomeRoot() error {
	// Without the library, which ends the program when threads differ.
	_, _, errno := unix.RawSyscall(unix.SYS_SETUID, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func dial(network, address string) error {
	c, err := net.Dial(network, address)
	if err == nil {
		c.Close()
	}
	return err
}

func listen() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		l.Close()
	}
	return err
}

func socket(domain, kind, protocol int) error {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func interfaces() error {
	all, err := net.Interfaces()
	if err == nil && len(all) == 0 {
		err = errors.New("no interfaces")
	}
	return err
}

func enter(namespace *os.File) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
	}()
	return <-done
}

func executableMemory() error {
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err == nil {
		unix.Munmap(b)
	}
	return err
}

// delivers sends a datagram, and looks for it in what is captured.
func delivers(capture int, udp net.Conn) error {
	mark := []byte("is this captured?")
	if _, err := udp.Write(mark); err != nil {
		return err
	}
	for b := make([]byte, 2000); ; {
		n, _, err := unix.Recvfrom(capture, b, 0)
		if err != nil {
			return err
		}
		if bytes.Contains(b[:n], mark) {
			return nil
		}
	}
}

// startThreads has more goroutines at once that hold a thread than there are threads.
func startThreads() error {
	const n = 40
	var all, done sync.WaitGroup
	all.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread() // and the thread ends
			all.Done()
			all.Wait()
		})
	}
	done.Wait()
	return nil
}

func useMemory() error {
	for range 4 {
		b := make([]byte, 64<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		b = nil
		runtime.GC()
		debug.FreeOSMemory()
	}
	return nil
}

// lookInto reads what is hidden from strangers of a process: the files that it has open.
func lookInto(pid int) error {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/0", pid))
	return err
}

func wait() error {
	<-time.After(time.Millisecond)
	return nil
}

// folder makes the files that a second life tries to open. All of them can be opened by everyone, as far as permissions go, but
// for those in private.
func folder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "privilege") // t.TempDir is the test's user's own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	for name, mode := range map[string]os.FileMode{".": 0o777, "read": 0o777, "write": 0o777, "private": 0o700} {
		name = filepath.Join(folder, name)
		if err := os.MkdirAll(name, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"read/file", "other", "single"} {
		name = filepath.Join(folder, name)
		if err := os.WriteFile(name, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// life2 starts a second life as a certain user, in a network namespace of its own.
type life2 struct {
	name string
	// uid and gid are mapped to the test's user in a user namespace; without one they are nil.
	uid, gid *int
	ambient  []uintptr
	static   bool
}

func number(n int) *int { return &n }

// lives are the situations in which privileges are dropped. Programs that are linked with the C library drop privileges another
// way, but the program that people get is a static one.
func lives() (all []life2) {
	for _, static := range []bool{true, false} {
		all = append(all,
			life2{name: "root", static: static},
			life2{name: "root of a namespace", uid: number(0), gid: number(0), static: static},
			life2{name: "user of a namespace", uid: number(1000), gid: number(1000), static: static,
				ambient: []uintptr{uintptr(CapNetRaw), uintptr(CapNetAdmin)}},
		)
	}
	return all
}

// static builds the tests as the program is built.
func static(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "static")
	cmd := exec.Command("go", "test", "-c", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building without cgo: %v\n%s", err, out)
	}
	return path
}

// begin starts the life, and returns what came of its task. It then waits for SIGINT, unless it has failed.
func (l *life2) begin(t *testing.T, program string, j task) (*exec.Cmd, *bufio.Reader, outcome) {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), life+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL, AmbientCaps: l.ambient}
	if l.uid != nil {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: *l.uid, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: *l.gid, HostID: os.Getgid(), Size: 1}}
	} else if os.Getuid() != 0 {
		t.Skip("needs root: it tries what a process that gave up root's rights can still do")
	} else {
		cmd.SysProcAttr.Credential = &syscall.Credential{Groups: []uint32{4, 24}}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // if it is still there
		cmd.Wait()
		if stderr.Len() > 0 {
			t.Errorf("standard error: %s", &stderr)
		}
	})
	r := bufio.NewReader(stdout)
	line, err := r.ReadBytes('\n')
	if err != nil {
		t.Fatalf("no outcome: %v", err)
	}
	var o outcome
	if err := json.Unmarshal(line, &o); err != nil {
		t.Fatal(err)
	}
	return cmd, r, o
}

// each runs a test for each life.
func each(t *testing.T, test func(t *testing.T, l *life2, program string)) {
	withoutC := static(t)
	for _, l := range lives() {
		name, program := l.name+", with cgo or not", "/proc/self/exe"
		if l.static {
			name, program = l.name+", static", withoutC
		}
		t.Run(name, func(t *testing.T) { test(t, &l, program) })
	}
}

// check compares what was tried.
func (o *outcome) check(t *testing.T, want map[string]string) {
	t.Helper()
	if o.Failed != "" {
		t.Fatal(o.Failed)
	}
	for what, how := range want {
		if got := o.Tried[what]; !slices.Contains(strings.Split(how, " "), got) {
			t.Errorf("%s: %s, want %s", what, got, how)
		}
	}
	for what := range o.Tried {
		if _, ok := want[what]; !ok {
			t.Errorf("%s isn't checked", what)
		}
	}
}

// status reads fields of all threads of a process, and wants them alike.
func status(t *testing.T, pid int, field string) string {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	value := ""
	for _, name := range threads {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended since
		}
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(b), "\n"+field+":")
		if !ok {
			t.Fatalf("%s has no %s", name, field)
		}
		this, _, _ := strings.Cut(rest, "\n")
		this = strings.Join(strings.Fields(this), " ")
		if value != "" && this != value {
			t.Errorf("the threads differ in %s: %q and %q", field, value, this)
		}
		value = this
	}
	return value
}

func TestDrop(t *testing.T) { each(t, testDrop) }

func testDrop(t *testing.T, l *life2, program string) {
	dir := folder(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	cmd, stdout, o := l.begin(t, program, task{Folder: dir, Options: Options{
		ReadPaths:  []string{in("read"), in("nonexistent")},
		WritePaths: []string{in("write"), in("single")},
	}})
	t.Logf("report:\n%s", o.Report)

	landlock, _ := ll.LandlockGetABIVersion()
	forbidden := "EACCES"
	if landlock < 1 {
		forbidden = "ok"
		t.Log("no Landlock here: files are checked as far as permissions go")
	}
	o.check(t, map[string]string{
		"read /etc/passwd":                  forbidden,
		"read /etc/passwd in older threads": forbidden,
		"read granted file":                 "ok",
		"list granted folder":               "ok",
		"read sibling":                      forbidden,
		"write in read folder":              forbidden,
		"create in write folder":            "ok",
		"rename there":                      "ok",
		"remove there":                      "ok",
		"write granted file":                "ok",
		"create beside it":                  forbidden,
		"write early file":                  "ok",
		"list /proc":                        forbidden,
		"run a program":                     "EPERM EACCES",
		"setuid 0":                          "EPERM",
		"connect":                           "EPERM",
		"connect to a name's":               "EPERM",
		"listen":                            "EPERM",
		"raw socket":                        "EPERM",
		"capture socket":                    "EPERM",
		"netlink route":                     "ok",
		"netlink sockets":                   "ok",
		"netlink netfilter":                 "EPERM",
		"signal the parent":                 "EPERM",
		"signal itself":                     "ok",
		"trace the parent":                  "EPERM",
		"new namespace":                     "EPERM",
		"enter a namespace":                 "EPERM",
		"executable memory":                 "EPERM",
		"capture delivers":                  "ok",
		"threads":                           "ok",
		"memory":                            "ok",
		"wait for a timer":                  "ok",
		"look into the parent":              forbidden,
	})
	if landlock >= 1 && !(strings.Contains(o.Report.String(), "out of this user's reach: "+in("nonexistent")) &&
		strings.Contains(o.Report.String(), "reads "+in("read")+";")) {
		t.Errorf("the report doesn't tell the folder that is there from the one that isn't: %s", o.Report)
	}

	const none = "0000000000000000"
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
		if got := status(t, cmd.Process.Pid, set); got != none {
			t.Errorf("%s is %s", set, got)
		}
	}
	bounded := status(t, cmd.Process.Pid, "CapBnd") == none
	if can := l.ambient == nil; bounded != can { // the user lacks CAP_SETPCAP, and the report says so
		t.Errorf("the bounding set is empty: %v, want %v", bounded, can)
	}
	if said := !strings.Contains(o.Report.String(), "the bounding set stays"); said != bounded {
		t.Errorf("the bounding set is empty: %v, and the report says %s", bounded, o.Report)
	}
	for field, want := range map[string]string{"NoNewPrivs": "1", "Seccomp": "2"} {
		if got := status(t, cmd.Process.Pid, field); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
	if l.uid == nil {
		for field, want := range map[string]string{"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": ""} {
			if got := status(t, cmd.Process.Pid, field); got != want {
				t.Errorf("%s is %q, want %q", field, got, want)
			}
		}
	}
	user := o.Report[0]
	switch {
	case l.uid == nil && (!user.Done || user.Text != "nobody (uid 65534, gid 65534)"),
		l.uid != nil && *l.uid == 0 && (user.Done || !strings.Contains(user.Text, "65534 isn't mapped in this user namespace")),
		l.uid != nil && *l.uid != 0 && (!user.Done || !strings.Contains(user.Text, "who isn't root")):
		t.Errorf("user: %+v", user)
	}

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if line, err := stdout.ReadString('\n'); err != nil || line != "interrupted\n" {
		t.Errorf("after SIGINT: %q, %v", line, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(in("private/early")); err != nil || string(b) != "later" {
		t.Errorf("the file that was open holds %q, %v", b, err)
	}
}

// What is kept works, and nothing beside it.
func TestKeep(t *testing.T) { each(t, testKeep) }

func testKeep(t *testing.T, l *life2, program string) {
	dir := folder(t)
	cmd, _, o := l.begin(t, program, task{Folder: dir, Options: Options{Network: true, Keep: []Cap{CapNetRaw}}})
	for what, want := range map[string]string{
		"connect": "ok", "listen": "ok", "capture socket": "ok", "raw socket": "EPERM", "run a program": "EPERM EACCES",
		"setuid 0": "EPERM", "enter a namespace": "EPERM", "create in write folder": "EACCES EPERM", "capture delivers": "ok",
	} {
		if got := o.Tried[what]; !slices.Contains(strings.Split(want, " "), got) {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	for _, set := range []string{"CapPrm", "CapEff"} {
		if got := status(t, cmd.Process.Pid, set); got != "0000000000002000" {
			t.Errorf("%s is %s", set, got)
		}
	}
}

// A process that finds owners of sockets itself sees others' files.
func TestInspect(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it tries what a process that gave up root's rights can still do")
	}
	_, _, o := (&life2{}).begin(t, static(t), task{Folder: folder(t), Options: Options{Inspect: true, Keep: []Cap{CapSysPtrace, CapDACReadSearch}}})
	for what, want := range map[string]string{"look into the parent": "ok", "list /proc": "ok", "connect": "EPERM", "run a program": "EPERM"} {
		if got := o.Tried[what]; got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
}

// What the keeper of the privileges does.
func TestReduce(t *testing.T) { each(t, testReduce) }

func testReduce(t *testing.T, l *life2, program string) {
	cmd, _, o := l.begin(t, program, task{Folder: folder(t), Reduce: true, Options: Options{Keep: []Cap{CapNetRaw, CapSysAdmin, CapSysPtrace}}})
	admin, look := "ok", "ok"
	if l.uid != nil {
		look = "EACCES" // it has no rights over processes outside of its user namespace
	}
	want := "0000000000282000"
	if l.ambient != nil {
		admin, want = "EPERM", "0000000000002000"
	}
	for what, want := range map[string]string{
		"read /etc/passwd": "ok", "list /proc": "ok", "look into the parent": look, "capture socket": "ok", "enter a namespace": admin, "netlink route": "ok",
		"run a program": "EPERM", "connect": "EPERM", "signal the parent": "EPERM", "remove there": "EPERM", "trace the parent": "EPERM",
	} {
		if got := o.Tried[what]; got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	if got := status(t, cmd.Process.Pid, "CapEff"); got != want {
		t.Errorf("capabilities in effect: %s, want %s", got, want)
	}
}

// A user that was asked for is become, or nothing goes on.
func TestUser(t *testing.T) { each(t, testUser) }

func testUser(t *testing.T, l *life2, program string) {
	root := l.uid == nil
	for _, c := range []struct{ user, uid, fails string }{
		{"1234:4321", "1234", "becoming user 1234:4321: "},
		{"12345", "12345", "becoming user 12345: "},
		{"nobody", "65534", "becoming user nobody: "},
		{"there-is-none", "", "isn't known here"},
		{"1:x", "", "give a name, or UID:GID"},
		{"4294967295:1", "", "give a name, or UID:GID"},
	} {
		cmd, _, o := l.begin(t, program, task{Folder: folder(t), Options: Options{User: c.user}})
		if root && c.uid != "" {
			if got := status(t, cmd.Process.Pid, "Uid"); o.Failed != "" || got != strings.Join([]string{c.uid, c.uid, c.uid, c.uid}, " ") {
				t.Errorf("user %s: %q, %s", c.user, got, o.Failed)
			}
		} else if !strings.Contains(o.Failed, c.fails) {
			t.Errorf("user %s: %q, want %q", c.user, o.Failed, c.fails)
		}
	}
}

// What is permitted but not in effect, as setcap without "e" leaves it, isn't missing.
func TestMissing(t *testing.T) { each(t, testMissing) }

func testMissing(t *testing.T, l *life2, program string) {
	_, _, o := l.begin(t, program, task{Raise: true})
	o.check(t, map[string]string{"before": "EPERM", "missing": "CAP_SYS_ADMIN,CAP_40", "after": "ok", "effective": "CAP_NET_RAW"})
}
