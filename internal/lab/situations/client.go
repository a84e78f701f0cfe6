//go:build linux

package situations

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// asking is a request and how it is made.
type asking struct {
	method, target string
	host           string
	headers        []string
	// body is the length of the request's body, sent in pieces with a pause before each but the first.
	body, pieces int
	pause        time.Duration
	// split sends the body by itself, right behind the head.
	split bool
	// before is how long it waits before it reads more than the beginning of the answer.
	before time.Duration
}

// answered is what came back.
type answered struct {
	status int
	// took is from the beginning to the end, received from the answer's first byte on.
	took, received time.Duration
}

// ask sends the request.
func (c *clientConn) ask(q asking) error {
	if q.method == "" {
		q.method = http.MethodGet
	}
	if q.host == "" {
		q.host = "lab"
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", q.method, q.target, q.host)
	for _, h := range q.headers {
		head.WriteString(h + "\r\n")
	}
	if q.body > 0 {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", q.body)
	}
	head.WriteString("\r\n")
	content := append([]byte(head.String()), make([]byte, q.body)...)
	if q.split {
		if _, err := c.Write(content[:head.Len()]); err != nil {
			return err
		}
		content = content[head.Len():]
	}
	pieces := max(q.pieces, 1)
	for i := range pieces {
		if i > 0 {
			time.Sleep(q.pause)
		}
		n := len(content) / (pieces - i)
		if _, err := c.Write(content[:n]); err != nil {
			return err
		}
		content = content[n:]
	}
	return nil
}

// hear reads the answer.
func (c *clientConn) hear(q asking) (a answered, err error) {
	if _, err := c.r.Peek(1); err != nil {
		return a, err
	}
	began := time.Now()
	time.Sleep(q.before)
	response, err := http.ReadResponse(c.r, &http.Request{Method: q.method})
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	a.status = response.StatusCode
	_, err = io.Copy(io.Discard, response.Body)
	a.received = time.Since(began)
	return a, err
}

// do sends a request and reads the answer.
func (c *clientConn) do(q asking) (answered, error) {
	began := time.Now()
	if err := c.ask(q); err != nil {
		return answered{}, err
	}
	a, err := c.hear(q)
	a.took = time.Since(began)
	return a, err
}

// once makes a connection for one request.
func (s *site) once(address string, o dialing, q asking) (answered, error) {
	c, err := s.dial(address, o)
	if err != nil {
		return answered{}, err
	}
	defer c.Close()
	return c.do(q)
}

// flushed waits until what was written has been acknowledged.
func (c *appConn) flushed() error {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return err
	}
	for {
		left := 0
		var e error
		if err := raw.Control(func(fd uintptr) { left, e = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
			return err
		}
		if e != nil || left == 0 {
			return e
		}
		time.Sleep(time.Millisecond)
	}
}
