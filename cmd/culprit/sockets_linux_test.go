package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// runSockets runs culprit sockets in this process.
func runSockets(args ...string) (stdout, stderr string, err error) {
	cmd := newSockets()
	var out, errs bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

// ownSockets makes sockets of every kind that this process holds, and returns their ends, and the process id of a
// child that talks to it over a unix socket.
func ownSockets(t *testing.T) (listening, client, udp net.Addr, unix string, child int) {
	t.Helper()
	keep := func(c interface{ Close() error }, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	keep(l, err)
	c, err := net.Dial("tcp", l.Addr().String())
	keep(c, err)
	accepted, err := l.Accept()
	keep(accepted, err)
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	keep(u, err)

	path := filepath.Join(t.TempDir(), "a b.sock")
	ul, err := net.Listen("unix", path)
	keep(ul, err)
	uc, err := net.Dial("unix", path)
	keep(uc, err)
	ua, err := ul.Accept()
	keep(ua, err)
	f, err := uc.(*net.UnixConn).File()
	keep(f, err)
	cmd := exec.Command("sleep", "600")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Skipf("no other process to talk to: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	f.Close()
	uc.Close()
	return l.Addr(), c.LocalAddr(), u.LocalAddr(), path, cmd.Process.Pid
}

func TestSocketsOfThisProcess(t *testing.T) {
	listening, client, udp, unix, child := ownSockets(t)
	pid := fmt.Sprint(os.Getpid())

	out, errs, err := runSockets("--json", "--tcp", "--udp", "--unix", "--pid", pid)
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	var doc struct {
		Sockets []socketJSON
		OffWire []linkJSON `json:"off_wire"`
		Notes   []string
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	find := func(what string, is func(s *socketJSON) bool) *socketJSON {
		t.Helper()
		i := slices.IndexFunc(doc.Sockets, func(s socketJSON) bool { return is(&s) })
		if i < 0 {
			t.Fatalf("no %s in\n%s", what, out)
		}
		s := &doc.Sockets[i]
		held := slices.ContainsFunc(s.Processes, func(p processJSON) bool {
			return p.PID == os.Getpid() && p.Executable != "" && len(p.Args) > 0 && p.FD > 2
		})
		if !held || s.Inode == 0 || s.User == nil || s.User.ID != uint32(os.Getuid()) {
			t.Errorf("%s: %+v", what, s)
		}
		return s
	}
	at := func(e *endJSON, a net.Addr) bool {
		return e != nil && net.JoinHostPort(e.IP.String(), fmt.Sprint(e.Port)) == a.String()
	}
	s := find("listening socket", func(s *socketJSON) bool { return s.State == "listen" && at(s.Local, listening) })
	if s.Kind != "tcp" || s.Accept == nil || s.Accept.Most == 0 || s.Queue != nil || s.Remote != nil {
		t.Errorf("%+v", s)
	}
	find("client's end", func(s *socketJSON) bool {
		return s.State == "established" && at(s.Local, client) && at(s.Remote, listening)
	})
	find("server's end", func(s *socketJSON) bool {
		return s.State == "established" && at(s.Local, listening) && at(s.Remote, client)
	})
	find("UDP socket", func(s *socketJSON) bool { return s.Kind == "udp" && at(s.Local, udp) })
	find("listening unix socket", func(s *socketJSON) bool { return s.Kind == "unix" && s.State == "listen" && s.Path == unix })
	s = find("unix connection", func(s *socketJSON) bool { return s.State == "established" && s.Path == unix })
	if s.Peer == nil || len(s.Peer.Processes) != 1 || s.Peer.Processes[0].PID != child || s.Peer.Processes[0].Name != "sleep" {
		t.Errorf("the other end of the unix connection: %+v", s.Peer)
	}
	for _, s := range doc.Sockets {
		if !slices.ContainsFunc(s.Processes, func(p processJSON) bool { return p.PID == os.Getpid() }) {
			t.Errorf("not of this process: %+v", s)
		}
	}
	if len(doc.OffWire) != 1 || doc.OffWire[0].Path != unix || doc.OffWire[0].From.PIDs[0] != child || doc.OffWire[0].To.PIDs[0] != os.Getpid() {
		t.Errorf("off the wire: %+v", doc.OffWire)
	}

	// The table, as a pipe gets it; what isn't on the wire is told beside it.
	out, errs, err = runSockets("-l", "--pid", pid)
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	comm := strings.TrimSpace(string(name))
	want := fmt.Sprintf("%s(%s)", comm, pid)
	if len(rows) != 3 || !strings.HasPrefix(rows[0], "kind state local") || !strings.Contains(rows[1], "tcp listen "+listening.String()+" - 0/") ||
		!strings.HasSuffix(rows[1], want) || !strings.HasPrefix(rows[2], "udp unconnected "+udp.String()) {
		t.Errorf("%q, want the listening sockets of %s", rows, want)
	}
	if line := fmt.Sprintf("culprit: sleep (%d) talks to %s (%s) over %s: not on the wire\n", child, comm, pid, unix); !strings.Contains(errs, line) {
		t.Errorf("%q isn't in %q", line, errs)
	}
	if out, _, err = runSockets("--unix", "--process", "sleep", "--pid", fmt.Sprint(child)); err != nil || strings.Count(out, "\n") != 2 || !strings.Contains(out, `a\x20b.sock`) {
		t.Errorf("of the child: %q, %v", out, err)
	}
}

// The namespace of this process is the same by any name.
func TestSocketsNetNS(t *testing.T) {
	listening, _, _, _, _ := ownSockets(t)
	for _, ns := range []string{"/proc/self/ns/net", fmt.Sprintf("pid:%d", os.Getpid())} {
		out, errs, err := runSockets("--netns", ns, "-l", "--tcp", "--pid", fmt.Sprint(os.Getpid()))
		if err != nil && strings.Contains(err.Error(), "CAP_SYS_ADMIN") {
			t.Skipf("entering a namespace: %v", err)
		}
		if err != nil || !strings.Contains(out, listening.String()) {
			t.Errorf("%s: %v\n%s%s", ns, err, out, errs)
		}
	}

	// In another one, nobody listens.
	other := exec.Command("sleep", "600")
	other.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := other.Start(); err != nil {
		t.Skipf("making a network namespace: %v", err)
	}
	t.Cleanup(func() {
		other.Process.Kill()
		other.Wait()
	})
	out, errs, err := runSockets("--netns", fmt.Sprintf("pid:%d", other.Process.Pid), "-l", "--tcp")
	if err != nil || out != "" || !strings.Contains(errs, "none of 0 sockets is of the kinds and states that are wanted") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
}
