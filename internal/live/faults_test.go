//go:build linux

package live

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// said waits until culprit has said something on standard error.
func (p *tracer) said(t *testing.T, text string) {
	t.Helper()
	if !p.stderr.has(containing(text), p.Process, lab.Patience) {
		t.Fatalf("culprit didn't say %q:\n%s", text, p.stderr)
	}
}

// An interface that goes down is captured from again when it is up.
func TestInterfaceGoesDown(t *testing.T) {
	for _, device := range []string{"s0", "any"} {
		t.Run(device, func(t *testing.T) {
			client, server, nginx := pair(t, newLab(t, "nginx"))
			p := start(t, server.Namespace, "-i", device)
			drive(t, client.Namespace, server4+":80", 2, 20, numbered("before"))
			for range 3 {
				check(t, server.Namespace.IP("link set dev s0 down"))
				if device != "any" {
					p.said(t, "s0 went down")
				}
				check(t, server.Namespace.IP("link set dev s0 up"))
				drive(t, client.Namespace, server4+":80", 2, 20, numbered("after"))
			}
			r := p.stop(t)
			if r.status != 0 || r.packets.dropped > 0 {
				t.Errorf("exit status %d; standard error:\n%s", r.status, r.stderr)
			}
			same(t, must(nginx.Log())(t), r.exchanges)
		})
	}
}

// An interface that is down at the beginning is captured from when it comes up.
func TestInterfaceIsDown(t *testing.T) {
	client, server, nginx := pair(t, newLab(t, "nginx"))
	check(t, server.Namespace.IP("link set dev s0 down"))
	p := start(t, server.Namespace, "-i", "s0")
	check(t, server.Namespace.IP("link set dev s0 up"))
	drive(t, client.Namespace, server4+":80", 2, 20, nil)
	r := p.stop(t)
	if r.status != 0 || r.packets.dropped > 0 || !strings.Contains(r.stderr, "s0 is down") {
		t.Errorf("exit status %d; standard error:\n%s", r.status, r.stderr)
	}
	same(t, must(nginx.Log())(t), r.exchanges)
}

// An interface that is deleted is captured from again when one of its name is there.
func TestInterfaceIsMadeAgain(t *testing.T) {
	for _, c := range []struct {
		device string
		filter []string
	}{
		{"s0", nil}, {"s0", []string{"tcp", "port", "80"}}, {"any", nil}, // any sees it as soon as it is there
	} {
		t.Run(strings.Join(append([]string{c.device}, c.filter...), " "), func(t *testing.T) {
			l := newLab(t, "nginx")
			client := lab.End{Namespace: must(l.Namespace("client"))(t), Interface: "c0", Addresses: []string{client4 + "/24"}}
			server := lab.End{Namespace: must(l.Namespace("server"))(t), Interface: "s0", Addresses: []string{server4 + "/24"}}
			check(t, lab.Veth(client, server))
			nginx := must(server.Namespace.Nginx(t.TempDir(), "0.0.0.0:80"))(t)
			p := start(t, server.Namespace, append([]string{"-i", c.device}, c.filter...)...)
			drive(t, client.Namespace, server4+":80", 2, 20, numbered("before"))
			check(t, lab.Settle(client.Namespace, server.Namespace))
			for range 2 {
				check(t, server.Namespace.IP("link delete dev s0"))
				if c.device != "any" {
					p.said(t, "s0 is gone")
				}
				back := strings.Count(p.stderr.String(), "s0 is back")
				check(t, lab.Veth(client, server))
				if c.device != "any" {
					p.times(t, "s0 is back", back+1)
				}
				drive(t, client.Namespace, server4+":80", 2, 20, numbered("after"))
				check(t, lab.Settle(client.Namespace, server.Namespace))
			}
			r := p.stop(t)
			if r.status != 0 || r.packets.dropped > 0 {
				t.Errorf("exit status %d; standard error:\n%s", r.status, r.stderr)
			}
			same(t, must(nginx.Log())(t), r.exchanges)
		})
	}
}

// times waits until culprit has said something that many times on standard error.
func (p *tracer) times(t *testing.T, text string, times int) {
	t.Helper()
	late := time.NewTimer(lab.Patience)
	defer late.Stop()
	for {
		all, changed := p.stderr.get()
		if strings.Count(strings.Join(all, "\n"), text) >= times {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			t.Fatalf("culprit didn't say %q %d times:\n%s", text, times, p.stderr)
		}
	}
}

// With a small snap length the heads of requests are there and bodies aren't: all that was on the wire is counted, and
// nothing is called complete of which bytes are missing.
func TestSnapLength(t *testing.T) {
	const snap = 128
	client, server, nginx := pair(t, newLab(t, "nginx"))
	p := start(t, server.Namespace, "-i", "s0", "--snaplen", strconv.Itoa(snap))
	drive(t, client.Namespace, server4+":80", 4, 130, mixed)
	r := p.stop(t)
	log := must(nginx.Log())(t)
	seen := map[string]exchange{}
	for _, x := range r.exchanges {
		seen[x.URL.Original] = x
	}
	if len(seen) != len(log) || len(r.exchanges) != len(log) || r.packets.dropped > 0 {
		t.Errorf("%d exchanges with %d targets, want %d; standard error:\n%s", len(r.exchanges), len(seen), len(log), r.stderr)
	}
	for _, a := range log {
		x := seen[a.Target]
		if x.HTTP.Request.Method != a.Method || x.HTTP.Response.Status != a.Status || x.Client.Port != a.Port {
			t.Errorf("nginx: %+v\nculprit: %+v", a, x)
		}
		if a.Sent > snap && x.Culprit.Grade != "gap" {
			t.Errorf("%s: %s, though most of a response of %d bytes wasn't captured", a.Target, x.Culprit.Grade, a.Sent)
		}
		if x.HTTP.Response.Body.Bytes > a.Body {
			t.Errorf("%s: a body of %d bytes, nginx says %d", a.Target, x.HTTP.Response.Body.Bytes, a.Body)
		}
	}
}

// processes are a process and all that it has started.
func processes(pid int) (all []int) {
	all = append(all, pid)
	for _, child := range lab.Children(pid) {
		all = append(all, processes(child)...)
	}
	return all
}

func signal(t *testing.T, pids []int, s syscall.Signal) {
	t.Helper()
	for _, pid := range pids {
		check(t, syscall.Kill(pid, s))
	}
}

// A culprit that isn't let run loses packets when its ring is full. They are counted, and what was lost makes no pair of
// a request and another one's response.
func TestRingOverflows(t *testing.T) {
	const ring = 1 << 20
	client, server, nginx := pair(t, newLab(t, "nginx"))
	quiet(t, client, server)
	before := packets(t, server)
	p := start(t, server.Namespace, "-i", "s0", "--ring", strconv.Itoa(ring), "--block", "131072", "--max-body", "4KiB", "--reveal")
	echoes := func(word string) func(int) lab.Request {
		return func(i int) lab.Request {
			kinds := []string{"/echo", "/size/100K", "/echo", "/size/4K"}
			return lab.Request{Target: fmt.Sprintf("%s?id=%s%d", kinds[i%len(kinds)], word, i)}
		}
	}
	drive(t, client.Namespace, server4+":80", 3, 30, echoes("begin"))
	all := processes(p.PID)
	signal(t, all, syscall.SIGSTOP)
	sent := int64(0)
	for round := 0; sent < 8*ring; round++ {
		for _, a := range drive(t, client.Namespace, server4+":80", 3, 60, echoes(fmt.Sprintf("paused%d-", round))) {
			sent += a.Content
		}
	}
	signal(t, all, syscall.SIGCONT)
	// It is itself again when it shows a request that was made since.
	for round := 0; ; round++ {
		word := fmt.Sprintf("again%d-", round)
		drive(t, client.Namespace, server4+":80", 1, 1, numbered(word))
		if p.stdout.has(containing("id="+word+"0"), p.Process, time.Second) {
			break
		}
		if round > 30 {
			t.Fatalf("culprit doesn't recover:\n%s", p.stderr)
		}
	}
	drive(t, client.Namespace, server4+":80", 3, 60, numbered("end"))
	check(t, lab.Settle(client.Namespace, server.Namespace))
	after := packets(t, server)
	r := p.stop(t)
	log := must(nginx.Log())(t)

	const lossy = 3
	if r.status != lossy || r.packets.dropped == 0 || !strings.Contains(r.stderr, "lost") {
		t.Errorf("exit status %d, want %d, and that packets were lost:\n%s", r.status, lossy, r.stderr)
	}
	if r.packets.received != after-before {
		t.Errorf("received %d packets, the interface counts %d:\n%s", r.packets.received, after-before, r.stderr)
	}
	logged := map[string]lab.Access{}
	for _, a := range log {
		logged[a.Target] = a
	}
	complete := map[string]int{}
	for _, x := range r.exchanges {
		target, response := x.URL.Original, &x.HTTP.Response
		if answered := response.Headers["x-id"]; target != "" && len(answered) > 0 && answered[0] != id(target) {
			t.Errorf("request %s is paired with the response to %s: %+v", target, answered, x)
		}
		if strings.HasPrefix(target, "/echo") && response.Body.Content != "" && !strings.Contains("id="+id(target)+" target="+target+"\n", response.Body.Content) {
			t.Errorf("request %s is paired with the body %q", target, response.Body.Content)
		}
		if x.Culprit.Grade != "complete" {
			continue
		}
		complete[target]++
		a, ok := logged[target]
		if !ok || a.Port != x.Client.Port || a.Status != response.Status || a.Sent != response.Bytes || a.Body != response.Body.Bytes || a.Length != x.HTTP.Request.Bytes {
			t.Errorf("culprit: %+v\nnginx:   %+v", x, a)
		}
	}
	for target, n := range complete {
		if n > 1 {
			t.Errorf("%s is shown %d times", target, n)
		}
	}
	for _, word := range []string{"begin", "end"} {
		for target := range logged {
			if strings.HasPrefix(id(target), word) && complete[target] == 0 {
				t.Errorf("%s isn't there, though nothing was lost then", target)
			}
		}
	}
}

// A culprit that is told to end in the middle of traffic shows what was complete, and nothing that wasn't.
func TestStopInTheMiddle(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			client, server, nginx := pair(t, newLab(t, "nginx"))
			p := start(t, server.Namespace, "-i", "s0")
			driven := make(chan error, 1)
			go func() {
				_, err := client.Namespace.Drive(t.Context(), lab.Load{Address: server4 + ":80", Connections: 4, Requests: 2000})
				driven <- err
			}()
			if !p.stdout.has(containing("id=100\""), p.Process, lab.Patience) {
				t.Fatalf("culprit shows nothing:\n%s", p.stderr)
			}
			check(t, p.Signal(s))
			r := p.result(t)
			check(t, <-driven)
			if r.status != 0 || r.packets.dropped > 0 {
				t.Errorf("exit status %d; standard error:\n%s", r.status, r.stderr)
			}
			logged := map[string]lab.Access{}
			for _, a := range must(nginx.Log())(t) {
				logged[a.Target] = a
			}
			incomplete := 0
			for _, x := range r.exchanges {
				a := logged[x.URL.Original]
				switch x.Culprit.Grade {
				case "complete":
					if a.Port != x.Client.Port || a.Sent != x.HTTP.Response.Bytes {
						t.Errorf("culprit: %+v\nnginx:   %+v", x, a)
					}
				default:
					incomplete++
				}
			}
			if incomplete > 4 {
				t.Errorf("%d exchanges aren't complete, but there were only 4 connections", incomplete)
			}
		})
	}
}

// --duration ends a capture, and --count does when that many exchanges were shown.
func TestEndsByItself(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want int // exchanges; 0: whatever came in time
	}{
		{"duration", []string{"--duration", "1s"}, 0},
		{"count", []string{"--count", "7"}, 7},
		{"count before duration", []string{"--count", "5", "--duration", "1h"}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server, nginx := pair(t, newLab(t, "nginx"))
			p := start(t, server.Namespace, append([]string{"-i", "s0"}, c.args...)...)
			drive(t, client.Namespace, server4+":80", 1, 20, nil)
			r := p.result(t)
			logged := map[string]bool{}
			for _, a := range must(nginx.Log())(t) {
				logged[a.Target] = true
			}
			if r.status != 0 || r.packets.dropped > 0 || c.want > 0 && len(r.exchanges) != c.want {
				t.Errorf("exit status %d, %d exchanges; standard error:\n%s", r.status, len(r.exchanges), r.stderr)
			}
			for _, x := range r.exchanges {
				if x.Culprit.Grade == "complete" && !logged[x.URL.Original] {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

// Who may not capture is told what is missing, and how to get it; who names what isn't there, what there is.
func TestRefused(t *testing.T) {
	_, server, _ := pair(t, newLab(t, "nginx"))
	const failed, usage = 1, 2
	for _, c := range []struct {
		name   string
		args   []string
		alter  func(t *testing.T, cmd *exec.Cmd)
		status int
		says   []string
	}{
		{"another user", []string{"-i", "s0"}, asNobody, failed, []string{"s0", "CAP_NET_RAW"}},
		{"another user, any", []string{"-i", "any"}, asNobody, failed, []string{"any", "CAP_NET_RAW"}},
		// Capabilities of a namespace that doesn't own the network are worth nothing.
		{"root of another user namespace", []string{"-i", "s0"}, asOtherRoot, failed, []string{"s0", "CAP_NET_RAW"}},
		{"network namespace of another", []string{"-i", "s0", "--netns", server.Namespace.Path}, asOtherRoot, failed, []string{"s0", "user namespace"}},
		{"no such interface", []string{"-i", "eth7"}, nil, failed, []string{`"eth7"`, "any, lo, s0"}},
		{"no such interface beside another", []string{"-i", "s0", "-i", "eth7"}, nil, failed, []string{`"eth7"`, "any, lo, s0"}},
		{"no name of an interface", []string{"-i", "a-name-that-is-too-long"}, nil, failed, []string{`"a-name-that-is-too-long"`}},
		{"no such namespace", []string{"-i", "s0", "--netns", "nowhere"}, nil, failed, []string{"nowhere"}},
		{"no such process", []string{"-i", "s0", "--netns", "pid:4194305"}, nil, failed, []string{"4194305"}},
		{"no network namespace", []string{"-i", "s0", "--netns", "/etc/passwd"}, nil, failed, []string{"/etc/passwd"}},
		{"bad filter", []string{"-i", "s0", "port", "eighty"}, nil, usage, []string{"capture filter"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd, stdout, stderr := command(t, append([]string{"--reveal"}, c.args...)...) // no key of this user's is needed
			if c.alter != nil {
				c.alter(t, cmd)
			}
			p := &tracer{must(server.Namespace.Start(cmd))(t), stdout, stderr}
			select {
			case <-p.Ended():
			case <-time.After(lab.Patience):
				t.Fatalf("culprit goes on:\n%s", stderr)
			}
			if got := p.Cmd.ProcessState.ExitCode(); got != c.status || stdout.String() != "" {
				t.Errorf("exit status %d, want %d; standard output %q", got, c.status, stdout)
			}
			for _, s := range c.says {
				if !strings.Contains(stderr.String(), s) {
					t.Errorf("nothing about %q in\n%s", s, stderr)
				}
			}
			all, _ := stderr.get()
			if slices.ContainsFunc(all, capturing.MatchString) || slices.ContainsFunc(all, containing("goroutine ")) {
				t.Errorf("standard error:\n%s", stderr)
			}
		})
	}
}

// nobody is a user without privileges.
const nobody = 65534

// rootOutside reports whether the tests run as root of the machine, and may be anyone.
func rootOutside() bool {
	b, _ := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(b))
	return len(f) == 3 && f[0] == "0" && f[1] == "0" && number(f[2]) > nobody
}

// asNobody makes a command run without any capability.
func asNobody(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if rootOutside() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return
	}
	inUserNamespace(cmd, 1000) // whoever isn't root there loses all capabilities when it executes culprit
}

// asOtherRoot makes a command run as root of a user namespace of its own, but in the network that it is in.
func asOtherRoot(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	inUserNamespace(cmd, 0)
}

func inUserNamespace(cmd *exec.Cmd, user int) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getgid(), Size: 1}},
	}
}

// Whoever isn't root does it in a user namespace: some of these tests, once more.
func TestAsOrdinaryUser(t *testing.T) {
	newLab(t, "nginx")
	if !rootOutside() {
		t.Skip("the other tests run as an ordinary user already")
	}
	dir := t.TempDir()
	for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		check(t, os.Chmod(d, 0o755))
	}
	check(t, os.Chown(dir, nobody, nobody))
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^(TestSeesEveryExchange|TestOtherNamespace|TestRefused|TestInterfaceIsMadeAgain)$/^(server|lo|any,.*|large,_offload,_server|filter|process|another_user|s0)$")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CULPRIT_LAB") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, "TMPDIR="+dir, "HOME="+dir)
	out, err := cmd.CombinedOutput()
	text := string(out)
	passed := strings.Count(text, "    --- PASS")
	switch {
	case err != nil:
		t.Errorf("%v:\n%s", err, text)
	case strings.Contains(text, lab.ErrUnavailable.Error()):
		t.Skip("an ordinary user can't make namespaces here: " + strings.TrimSpace(text))
	case passed < 8:
		t.Errorf("only %d tests passed:\n%s", passed, text)
	}
}

// wrk counts its requests itself.
func TestWrk(t *testing.T) {
	client, server, nginx := pair(t, newLab(t, "nginx", "wrk"))
	p := start(t, server.Namespace, "-i", "s0", "--ring", "256MiB", "port", "80") // room for all of it
	wrk := must(lab.Program("wrk"))(t)
	cmd := exec.Command(wrk, "-t", "1", "-c", "8", "-d", "1s", "http://"+server4+"/echo?id=wrk")
	said := newLines()
	cmd.Stdout, cmd.Stderr = said, said
	check(t, must(client.Namespace.Start(cmd))(t).Wait())
	check(t, lab.Settle(client.Namespace, server.Namespace))
	r := p.stop(t)
	logged := must(nginx.Log())(t)

	requests := uint64(0)
	all, _ := said.get()
	for _, line := range all { // "  12345 requests in 1.00s, 2.34MB read"
		if n, _, ok := strings.Cut(strings.TrimSpace(line), " requests in "); ok {
			requests = number(n)
		}
	}
	if requests == 0 || strings.Contains(said.String(), "Non-2xx") {
		t.Fatalf("wrk:\n%s", said)
	}
	if r.packets.dropped > 0 || r.status != 0 {
		t.Errorf("exit status %d; standard error:\n%s", r.status, r.stderr)
	}
	// When its time is over, wrk goes in the middle of requests.
	if n := r.grades["complete"]; n < requests || n > uint64(len(logged)) || uint64(len(logged)) > requests+8 || len(r.exchanges)-int(n) > 8 {
		t.Errorf("wrk made %d requests, nginx has logged %d, culprit has shown %d complete ones:\n%s", requests, len(logged), n, r.stderr)
	}
	ports := map[int]int{}
	for _, x := range r.exchanges {
		ports[x.Client.Port]++
	}
	for _, a := range logged {
		ports[a.Port]--
	}
	for port, n := range ports {
		if n < 0 || n > 1 {
			t.Errorf("port %d: culprit has shown %d more exchanges than nginx has logged", port, n)
		}
	}
	t.Logf("wrk made %d requests, culprit has shown %d", requests, len(r.exchanges))
}

// Several capture at the same time, and each sees everything.
func TestSeveralAtOnce(t *testing.T) {
	client, server, nginx := pair(t, newLab(t, "nginx"))
	var running []*tracer
	kinds := [][]string{{"-i", "s0"}, {"-i", "any"}, {"-i", "s0", "port", "80"}, {"-i", "s0", "--fanout", "2", "--ring", "32MiB"}, {"-i", "s0", "--fanout", "2", "--ring", "32MiB"}}
	for _, args := range kinds {
		running = append(running, start(t, server.Namespace, args...))
	}
	drive(t, client.Namespace, server4+":80", 8, 130, mixed)
	var results []result
	for _, p := range running {
		results = append(results, p.stop(t))
	}
	log := must(nginx.Log())(t)
	for i := range results {
		clean(t, &results[i])
		same(t, log, results[i].exchanges)
		if n := len(results[i].exchanges); n != len(log) {
			t.Errorf("%v has shown %d of %d exchanges; standard error:\n%s", kinds[i], n, len(log), results[i].stderr)
		}
	}
}
