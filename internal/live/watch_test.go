//go:build linux

package live

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/culprit-http/culprit/internal/lab"
)

// watchedFrame is a document of culprit sockets --watch --json.
type watchedFrame struct {
	Lost          uint64  `json:"packets_lost"`
	Elsewhere     float64 `json:"elsewhere_requests_per_second"`
	Serves, Calls []watchedRow
	Notes         []string
}

type watchedRow struct {
	IP          netip.Addr
	Port        uint16
	Connections int
	Requests    float64 `json:"requests_per_second"`
	Errors      float64 `json:"errors_per_second"`
	P50, P99    int64
	Waiting     int
	Processes   []struct {
		PID  int
		Name string
	}
}

// row returns the row of an address, or nil.
func rowOf(rows []watchedRow, address string) *watchedRow {
	end := netip.MustParseAddrPort(address)
	i := slices.IndexFunc(rows, func(r watchedRow) bool { return r.IP == end.Addr() && r.Port == end.Port() })
	if i < 0 {
		return nil
	}
	return &rows[i]
}

// watcher is a running culprit sockets --watch.
type watcher struct {
	*lab.Process
	stdout, stderr *lines
}

func watch(t *testing.T, n *lab.Namespace, args ...string) *watcher {
	t.Helper()
	w := &watcher{stdout: newLines(), stderr: newLines()}
	cmd := exec.Command(os.Getenv(binary), append([]string{"sockets", "--watch", "--json", "--interval", "200ms", "--ring", "64MiB"}, args...)...)
	cmd.Stdout, cmd.Stderr = w.stdout, w.stderr
	w.Process = must(n.Start(cmd))(t)
	w.shows(t, "anything", func(*watchedFrame) bool { return true })
	return w
}

// shows waits until a frame is as wanted, and returns it.
func (w *watcher) shows(t *testing.T, what string, wanted func(f *watchedFrame) bool) (found watchedFrame) {
	t.Helper()
	is := func(line string) bool {
		var f watchedFrame
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Errorf("%v: %s", err, line)
			return true
		}
		if wanted(&f) {
			found = f
			return true
		}
		return false
	}
	if !w.stdout.has(is, w.Process, lab.Patience) {
		all, _ := w.stdout.get()
		w.Kill()
		t.Fatalf("culprit sockets --watch doesn't show %s; at last:\n%s\nstandard error:\n%s", what, strings.Join(all[max(len(all)-1, 0):], "\n"), w.stderr)
	}
	return found
}

func (w *watcher) stop(t *testing.T) {
	t.Helper()
	if err := w.Stop(os.Interrupt); err != nil || strings.Contains(w.stderr.String(), "lost") {
		t.Errorf("culprit sockets --watch: %v\n%s", err, w.stderr)
	}
}

// A server's host shows what it serves: at the right address, with its errors, the connections and the processes.
func TestWatchServes(t *testing.T) {
	l := newLab(t, "ip", "nginx")
	client, server, nginx := pair(t, l)
	w := watch(t, server.Namespace)
	idle := must(client.Namespace.Dial("tcp", server4+":80"))(t) // a connection that stays
	defer idle.Close()
	drive(t, client.Namespace, server4+":80", 2, 40, func(i int) lab.Request {
		if i%4 == 0 {
			return lab.Request{Target: "/status/500"}
		}
		return lab.Request{Target: "/echo"}
	})
	f := w.shows(t, "40 requests, a quarter of them failed", func(f *watchedFrame) bool {
		r := rowOf(f.Serves, server4+":80")
		return r != nil && r.Connections > 0 && r.Requests > 0 && fmt.Sprintf("%.2f", r.Errors/r.Requests) == "0.25"
	})
	r := rowOf(f.Serves, server4+":80")
	if r.P50 <= 0 || r.P99 < r.P50 || len(r.Processes) == 0 || r.Processes[0].PID != nginx.PID || r.Processes[0].Name != "nginx" {
		t.Errorf("%+v", r)
	}
	for _, other := range []string{"[" + server6 + "]:80", "127.0.0.1:80", "[::1]:80"} {
		if r := rowOf(f.Serves, other); r == nil || r.Requests > 0 || r.P50 != 0 {
			t.Errorf("%s: %+v", other, r)
		}
	}
	if f.Elsewhere > 0 || f.Lost > 0 || len(f.Calls) > 0 {
		t.Errorf("%+v", f)
	}
	w.stop(t)
}

// A client's host shows what its processes talk to, and which requests wait.
func TestWatchCalls(t *testing.T) {
	l := newLab(t, "ip", "nginx")
	client, server, _ := pair(t, l)
	silent := must(server.Namespace.Listen("tcp", server4+":81"))(t)
	defer silent.Close()
	taken := make(chan net.Conn, 1)
	go func() {
		if c, err := silent.Accept(); err == nil {
			taken <- c
		}
	}()
	kept := must(client.Namespace.Dial("tcp", server4+":80"))(t)
	defer kept.Close()
	w := watch(t, client.Namespace)
	answers := bufio.NewReader(kept)
	for range 10 {
		must(io.WriteString(kept, "GET /size/0 HTTP/1.1\r\nHost: x\r\n\r\n"))(t)
		for line := ""; line != "\r\n"; {
			line = must(answers.ReadString('\n'))(t)
		}
	}
	f := w.shows(t, "the requests of this process", func(f *watchedFrame) bool {
		r := rowOf(f.Calls, server4+":80")
		return r != nil && r.Connections == 1 && r.Requests > 0
	})
	if r := rowOf(f.Calls, server4+":80"); len(r.Processes) != 1 || r.Processes[0].PID != os.Getpid() || r.P99 <= 0 || r.Errors > 0 {
		t.Errorf("%+v", r)
	}
	if r := rowOf(f.Serves, server4+":80"); r != nil {
		t.Errorf("a server elsewhere is shown as served here: %+v", r)
	}

	hung := must(client.Namespace.Dial("tcp", server4+":81"))(t)
	defer hung.Close()
	must(io.WriteString(hung, "GET /hung HTTP/1.1\r\nHost: x\r\n\r\n"))(t)
	waits := func(n int) func(f *watchedFrame) bool {
		return func(f *watchedFrame) bool {
			r := rowOf(f.Calls, server4+":81")
			return r != nil && r.Waiting == n
		}
	}
	w.shows(t, "the request that waits", waits(1))
	// Only what comes from now on tells that it waits no more.
	var over atomic.Bool
	must(io.WriteString(<-taken, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))(t)
	w.shows(t, "its answer", func(f *watchedFrame) bool {
		r := rowOf(f.Calls, server4+":81")
		if r != nil && r.Waiting == 1 {
			over.Store(true)
		}
		return over.Load() && waits(0)(f) && r.Requests > 0 && r.P50 > int64(time.Second)
	})
	w.stop(t)
}

// Of another network namespace; and a capture filter leaves out what it leaves out.
func TestWatchNetNS(t *testing.T) {
	l := newLab(t, "ip", "nginx")
	client, server, _ := pair(t, l)
	here := must(l.Namespace("here"))(t)
	w := watch(t, here, "--netns", server.Namespace.Path, "-i", server.Interface, "tcp", "port", "80")
	drive(t, client.Namespace, server4+":80", 1, 10, nil)
	w.shows(t, "what is served in the other namespace", func(f *watchedFrame) bool {
		r := rowOf(f.Serves, server4+":80")
		return r != nil && r.Requests > 0
	})
	w.stop(t)
	w = watch(t, server.Namespace, "port", "81")
	drive(t, client.Namespace, server4+":80", 1, 10, nil)
	if err := w.Stop(os.Interrupt); err != nil {
		t.Errorf("%v\n%s", err, w.stderr)
	}
	all, _ := w.stdout.get()
	var last watchedFrame
	check(t, json.Unmarshal([]byte(all[len(all)-1]), &last))
	if r := rowOf(last.Serves, server4+":80"); r == nil || r.Requests > 0 || !strings.Contains(w.stderr.String(), "no packet came that passes the capture filter") {
		t.Errorf("%+v\n%s", r, w.stderr)
	}
}

// On a terminal, frames replace each other, and Control-C leaves it as it was.
func TestWatchTerminal(t *testing.T) {
	l := newLab(t, "ip", "nginx")
	_, server, _ := pair(t, l)
	screen, tty, err := pty.Open()
	check(t, err)
	defer screen.Close()
	check(t, pty.Setsize(screen, &pty.Winsize{Rows: 12, Cols: 80}))
	cmd := exec.Command(os.Getenv(binary), "sockets", "--watch", "--interval", "200ms")
	stderr := newLines()
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=1")
	cmd.Stdout, cmd.Stderr = tty, stderr
	p := must(server.Namespace.Start(cmd))(t)
	tty.Close()
	shown := newLines()
	frames := make(chan struct{})
	go func() { // until the other end is closed
		defer close(frames)
		_, _ = io.Copy(shown, screen)
	}()
	if !shown.has(containing("\x1b[J\x1b[H"), p, lab.Patience) { // the end of a frame, and the beginning of the next
		t.Errorf("no second frame:\n%s", stderr)
	}
	if err := p.Stop(os.Interrupt); err != nil {
		t.Errorf("%v\n%s", err, stderr)
	}
	<-frames
	all, _ := shown.get()
	text := strings.Join(append(all, string(shown.rest)), "\n")
	if !strings.HasPrefix(text, "\x1b[H\x1b[2J") || strings.Contains(text, "\x1b[?") || !strings.HasSuffix(text, "\x1b[K\r\n\x1b[J") {
		t.Errorf("%q ... %q", text[:min(len(text), 300)], text[max(len(text)-300, 0):])
	}
	for frame := range strings.SplitSeq(strings.TrimPrefix(text, "\x1b[H"), "\x1b[H") {
		if n := strings.Count(frame, "\n"); n > 11 || !strings.Contains(frame, "serves") || !strings.Contains(frame, ":80") {
			t.Errorf("%d lines on a terminal of 12: %q", n, frame)
		}
	}
}
