//go:build linux

package live

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// sink is a server that takes what culprit prints: lines that are requests, which it answers.
type sink struct {
	net.Listener
	// lines gets each line that came; it is closed at the end of the connection.
	lines chan string
}

// startSink returns a sink in a namespace, and the connection to it that is to be culprit's standard output.
func startSink(t *testing.T, n *lab.Namespace) (*sink, *os.File) {
	t.Helper()
	const address = "127.0.0.1:9099"
	s := &sink{must(n.Listen("tcp", address))(t), make(chan string, 1000)}
	t.Cleanup(func() { s.Close() })
	go func() {
		defer close(s.lines)
		c, err := s.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for in := bufio.NewScanner(c); in.Scan(); {
			if line := in.Text(); strings.HasPrefix(line, "GET ") {
				s.lines <- line
				if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")); err != nil {
					return
				}
			}
		}
	}()
	c := must(n.Dial("tcp", address))(t)
	defer c.Close()
	f := must(c.(*net.TCPConn).File())(t)
	t.Cleanup(func() { f.Close() })
	return s, f
}

// more waits for n further lines.
func (s *sink) more(t *testing.T, n int) {
	t.Helper()
	late := time.NewTimer(lab.Patience)
	defer late.Stop()
	for i := range n {
		select {
		case _, ok := <-s.lines:
			if !ok {
				t.Fatalf("%d lines came, want %d", i, n)
			}
		case <-late.C:
			t.Fatalf("%d lines came, want %d", i, n)
		}
	}
}

// culprit prints what it captures into a connection over the interface on which it captures, and what it prints
// are requests. It doesn't see them, unless it is told to: then each line is followed by another without end.
func TestDoesNotFeedItself(t *testing.T) {
	const requests, many = 3, 50
	for _, include := range []bool{false, true} {
		t.Run(fmt.Sprintf("include own %v", include), func(t *testing.T) {
			n := must(newLab(t, "nginx").Namespace("host"))(t)
			must(n.Nginx(t.TempDir(), "127.0.0.1:80"))(t)
			sink, stdout := startSink(t, n)

			cmd := exec.Command(os.Getenv(binary), append([]string{
				"trace", "-i", "lo", "--stats", "--format", "GET %request.url HTTP/1.1\nHost: sink\n",
			}, roomy...)...)
			if include {
				cmd.Args = append(cmd.Args, "--include-own")
			}
			stderr := newLines()
			cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
			cmd.Stdout, cmd.Stderr = stdout, stderr
			p := must(n.Start(cmd))(t)
			stdout.Close()
			if !stderr.has(capturing.MatchString, p, lab.Patience) {
				t.Fatalf("culprit doesn't capture:\n%s", stderr)
			}
			drive(t, n, "127.0.0.1:80", 1, requests, numbered("x"))
			if include {
				sink.more(t, many)
				check(t, p.Stop(os.Interrupt))
				return
			}
			sink.more(t, requests)
			check(t, p.Stop(os.Interrupt))
			if line, more := <-sink.lines; more {
				t.Errorf("a further line: %q", line)
			}
			all, _ := stderr.get()
			if own := regexp.MustCompile(`\(.*\bown \d+`); !slices.ContainsFunc(all, own.MatchString) {
				t.Errorf("no packet counts as own:\n%s", stderr)
			}
		})
	}
}
