//go:build linux

package situations

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// app is the server. What it does with a request is written in the request's query; see behaviour. It writes its answers itself, to the
// byte and the segment.
type app struct {
	site *site
	mu   sync.Mutex
	open map[uint16]*appConn
	// taken is how long it took from the beginning of a request to its end, by path.
	taken map[string]time.Duration
}

// appConn is a connection of the app; tcp is what is below it.
type appConn struct {
	net.Conn
	tcp *net.TCPConn
	r   *bufio.Reader
}

// behaviour is what a request asks the app to do.
type behaviour struct {
	// wait is how long it thinks before it answers; body the length of the answer's body.
	wait time.Duration
	body int
	// pause is how long it thinks after the first half of the body.
	pause time.Duration
	// status is that of the answer, location its target.
	status   int
	location string
	// early: it answers after so many bytes of the request's body, and closes.
	early int
	// reset: it resets the connection after so many bytes of the answer's body; -1: it doesn't.
	reset int
	// silent: it never answers, but closes after wait.
	silent bool
	// last: it closes after the answer.
	last bool
	// split sends head and body by themselves, and leaves Nagle's algorithm on.
	split bool
	// read is how long it waits before it reads the request's body.
	read time.Duration
}

func behave(q url.Values) (b behaviour, err error) {
	b.status, b.early, b.reset = http.StatusOK, -1, -1
	for name, values := range q {
		v := values[0]
		var e error
		switch name {
		case "wait":
			b.wait, e = time.ParseDuration(v)
		case "pause":
			b.pause, e = time.ParseDuration(v)
		case "read":
			b.read, e = time.ParseDuration(v)
		case "body":
			b.body, e = strconv.Atoi(v)
		case "status":
			b.status, e = strconv.Atoi(v)
		case "early":
			b.early, e = strconv.Atoi(v)
		case "reset":
			b.reset, e = strconv.Atoi(v)
		case "to":
			b.location = v
		case "silent":
			b.silent = true
		case "split":
			b.split = true
		default:
			e = errors.New("unknown")
		}
		if e != nil {
			return b, fmt.Errorf("%s=%s: %w", name, v, e)
		}
	}
	return b, nil
}

// serve answers at an address of the server's host, until the laboratory closes.
func (a *app) serve(address string) error {
	return a.listen(address, a.answers)
}

// listen has connections served by f, which owns them for as long as it runs.
func (a *app) listen(address string, f func(c *appConn)) error {
	l, err := a.site.server.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go a.own(c.(*net.TCPConn), f)
		}
	}()
	return nil
}

// own has a connection served by f, and closes it.
func (a *app) own(t *net.TCPConn, f func(c *appConn)) {
	c := &appConn{Conn: t, tcp: t, r: bufio.NewReaderSize(t, 16<<10)}
	port := uint16(t.RemoteAddr().(*net.TCPAddr).Port)
	a.mu.Lock()
	a.open[port] = c
	a.mu.Unlock()
	f(c)
	c.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[port] == c {
		delete(a.open, port)
	}
}

// answers answers requests until the connection is at its end.
func (a *app) answers(c *appConn) {
	for a.answer(c) == nil {
	}
}

// took returns how long the request with a path took to come.
func (a *app) took(path string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken[path]
}

// of returns the connection of a client's port, nil if there is none.
func (a *app) of(port uint16) *appConn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open[port]
}

// errDone says that a connection is at its end, as it was to be.
var errDone = errors.New("done")

// answer reads a request and does as it says.
func (a *app) answer(c *appConn) error {
	if _, err := c.r.Peek(1); err != nil {
		return err
	}
	began := time.Now()
	q, err := http.ReadRequest(c.r)
	if err != nil {
		return err
	}
	b, err := behave(q.URL.Query())
	if err != nil {
		b.status, b.body = http.StatusNotImplemented, 0
	}
	if err := b.hear(q.Body); err != nil {
		return err
	}
	a.mu.Lock()
	a.taken[q.URL.Path] = time.Since(began)
	a.mu.Unlock()
	return b.perform(c)
}

// hear reads a request's body.
func (b *behaviour) hear(body io.Reader) error {
	if b.early >= 0 {
		b.last = true
		_, err := io.CopyN(io.Discard, body, int64(b.early))
		return err
	}
	time.Sleep(b.read)
	_, err := io.Copy(io.Discard, body)
	return err
}

// perform answers.
func (b *behaviour) perform(c *appConn) error {
	time.Sleep(b.wait)
	if b.silent {
		return errDone
	}
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\nContent-Type: application/octet-stream\r\n", b.status, http.StatusText(b.status), b.body)
	if b.location != "" {
		fmt.Fprintf(&head, "Location: %s\r\n", b.location)
	}
	if b.last {
		head.WriteString("Connection: close\r\n")
	}
	head.WriteString("\r\n")
	content := append([]byte(head.String()), make([]byte, b.body)...)
	if b.reset >= 0 {
		if _, err := c.Write(content[:head.Len()+b.reset]); err != nil {
			return err
		}
		// What was written must be on the wire before the reset, which throws away what isn't.
		if err := c.flushed(); err != nil {
			return err
		}
		if err := c.tcp.SetLinger(0); err != nil {
			return err
		}
		return errDone
	}
	if b.split {
		if err := c.tcp.SetNoDelay(false); err != nil {
			return err
		}
	}
	if b.pause > 0 || b.split {
		half := head.Len() + b.body/2
		if _, err := c.Write(content[:half]); err != nil {
			return err
		}
		time.Sleep(b.pause)
		content = content[half:]
	}
	if _, err := c.Write(content); err != nil {
		return err
	}
	if b.last {
		return errDone
	}
	return nil
}
