package sockcalls

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/culprit-http/culprit/internal/ptrace"
)

func TestMain(m *testing.M) {
	if ptrace.Launching(os.Args) {
		os.Exit(ptrace.Launch(os.Args))
	}
	os.Exit(m.Run())
}

// events writes down what happened to TCP sockets.
type events struct {
	lines          []string
	sent, received map[int]*bytes.Buffer
	unread         int
	info           *Info
}

func (s *events) Event(e *Event) {
	if e.Socket == nil || e.Socket.Kind != TCP {
		return
	}
	name := [...]string{"connecting", "connected", "accepted", "sent", "received", "ended", "shut", "closed", "failed", "unseen"}[e.What]
	line := fmt.Sprintf("%d %s", e.Socket.ID, name)
	switch e.What {
	case Sent, Received:
		to := s.sent
		if e.What == Received {
			to = s.received
		}
		if to[e.Socket.ID] == nil {
			to[e.Socket.ID] = &bytes.Buffer{}
		}
		to[e.Socket.ID].Write(e.Data)
		s.unread += e.Length - len(e.Data)
	case Failed:
		line += " " + e.Call + " " + unix.ErrnoName(unix.Errno(e.Errno))
	case Closed:
		s.info = e.Info
	}
	if len(s.lines) == 0 || s.lines[len(s.lines)-1] != line {
		s.lines = append(s.lines, line)
	}
}

// watch runs a program to its end.
func watch(t *testing.T, args ...string) *events {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Skipf("%s isn't there: %v", args[0], err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	s := &events{sent: map[int]*bytes.Buffer{}, received: map[int]*bytes.Buffer{}}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		tr := ptrace.New(Numbers(), New(s))
		_, err := tr.Start(&ptrace.Command{Path: path, Args: args, Env: os.Environ(), Files: [3]*os.File{null, null, null}})
		if err == nil {
			_, _, err = tr.Run()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return s
}

const python = "/usr/bin/python3"

func TestCurl(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 300_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		w.Write(got)
	}))
	defer server.Close()
	file := t.TempDir() + "/body"
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	s := watch(t, "curl", "-s", "-o", "/dev/null", "-H", "Expect:", "--data-binary", "@"+file, server.URL)
	if len(s.sent) != 1 || s.unread != 0 {
		t.Fatalf("got %d sockets, %d bytes that weren't read\n%s", len(s.sent), s.unread, strings.Join(s.lines, "\n"))
	}
	for id := range s.sent {
		if !bytes.HasPrefix(s.sent[id].Bytes(), []byte("POST / HTTP/1.1\r\n")) || !bytes.HasSuffix(s.sent[id].Bytes(), body) {
			t.Errorf("sent %d bytes", s.sent[id].Len())
		}
		if !bytes.HasPrefix(s.received[id].Bytes(), []byte("HTTP/1.1 200 OK\r\n")) || s.received[id].Len() < len(body) {
			t.Errorf("received %d bytes", s.received[id].Len())
		}
		if s.info == nil || s.info.Acked < uint64(len(body)) || s.info.Received != uint64(s.received[id].Len()) {
			t.Errorf("the kernel tells %+v", s.info)
		}
	}
	if first, last := s.lines[0], s.lines[len(s.lines)-1]; !strings.HasSuffix(first, "connecting") || !strings.HasSuffix(last, "closed") {
		t.Errorf("got %q", s.lines)
	}
}

func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	s := watch(t, "curl", "-s", "http://"+address)
	if !slices.ContainsFunc(s.lines, func(l string) bool { return strings.HasSuffix(l, "failed getsockopt ECONNREFUSED") }) {
		t.Errorf("got %q", s.lines)
	}
	s = watch(t, python, "-c", "import socket; h, p = '"+address+"'.split(':'); socket.create_connection((h, int(p)))")
	if !slices.ContainsFunc(s.lines, func(l string) bool { return strings.HasSuffix(l, "failed connect ECONNREFUSED") }) {
		t.Errorf("got %q", s.lines)
	}
}

// TestShared: a socket that a child has, too, is closed with the last of them, however its descriptor was copied.
func TestShared(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := watch(t, python, "-c", `
import os, socket
s = socket.create_connection(("127.0.0.1", `+port+`))
s.sendall(b"one")
if os.fork() == 0:
    d = os.dup2(s.fileno(), 77)
    s.close()
    os.write(77, b"two")
    os._exit(0)
s.close()
os.wait()
`)
	if len(s.sent) != 1 || s.sent[1] == nil || s.sent[1].String() != "onetwo" {
		t.Errorf("got %v", s.sent)
	}
	want := []string{"1 connecting", "1 connected", "1 sent", "1 closed"}
	if !slices.Equal(s.lines, want) {
		t.Errorf("got %q", s.lines)
	}
}

// TestBrokenPipe: the peer leaves while the program sends.
func TestBrokenPipe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			c.(*net.TCPConn).SetLinger(0)
			c.Read(make([]byte, 1000))
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := watch(t, python, "-c", `
import socket
s = socket.create_connection(("127.0.0.1", `+port+`))
for i in range(2):
    try:
        while True: s.send(b"x" * 65536)
    except OSError as e: pass
`)
	all := strings.Join(s.lines, "\n")
	if !strings.Contains(all, "failed sendto ECONNRESET") || !strings.Contains(all, "failed sendto EPIPE") {
		t.Errorf("got %q", s.lines)
	}
}
