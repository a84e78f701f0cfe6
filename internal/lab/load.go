//go:build linux

package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Load is an exact number of requests over keep-alive connections.
type Load struct {
	// Address is the server's, such as 10.1.0.2:80.
	Address string
	// Connections is over how many connections at once, at least 1; Requests the number of requests in all.
	Connections, Requests int
	// Request returns request number i, from 0. It is called from several goroutines. Without it, every request is
	// for /echo with its number as the id.
	Request func(i int) Request
}

// Request is a request to send. Method is GET if empty. Body is the length of the body, which is zeros.
type Request struct {
	Method, Target string
	Body           int64
}

// Answer is what a client got for a request: over which port, as the connection's how many-eth, from 1.
type Answer struct {
	Request
	Port, Nth int
	Status    int
	// Content is the length of the response's body, and Beginning its first bytes.
	Content   int64
	Beginning string
}

// beginning is how much of a body a client keeps, in bytes.
const beginning = 256

// Drive sends the requests from the namespace, each after the one before it on its connection was answered. It
// returns all answers, in no order. When a server closes a connection after an answer, the next request opens
// another.
func (n *Namespace) Drive(ctx context.Context, l Load) ([]Answer, error) {
	if l.Request == nil {
		l.Request = func(i int) Request { return Request{Target: fmt.Sprintf("/echo?id=%d", i)} }
	}
	l.Connections = max(l.Connections, 1)
	ctx, cancel := context.WithTimeout(ctx, 2*Patience)
	defer cancel()
	var (
		all     []Answer
		failed  error
		mu      sync.Mutex
		running sync.WaitGroup
	)
	for k := range l.Connections {
		running.Add(1)
		go func() {
			defer running.Done()
			answers, err := n.client(ctx, &l, k)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, answers...)
			if err != nil && failed == nil {
				failed = err
				cancel()
			}
		}()
	}
	running.Wait()
	return all, failed
}

// client sends every request whose number is k, modulo the number of connections.
func (n *Namespace) client(ctx context.Context, l *Load, k int) (all []Answer, err error) {
	var c *client
	defer func() {
		if c != nil {
			c.conn.Close()
		}
	}()
	for i := k; i < l.Requests; i += l.Connections {
		if c == nil {
			conn, err := n.Dial("tcp", l.Address)
			if err != nil {
				return all, err
			}
			c = &client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), host: "lab"}
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
		}
		a, open, err := c.do(l.Request(i))
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return all, fmt.Errorf("request %d, %s %s: %w", i, a.Method, a.Target, err)
		}
		all = append(all, a)
		if !open {
			c.conn.Close()
			c = nil
		}
	}
	return all, nil
}

// client is one connection of a client.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	host string
	nth  int
}

// do sends a request and reads the answer. It reports whether the connection can be used again.
func (c *client) do(q Request) (a Answer, open bool, err error) {
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	c.nth++
	a = Answer{Request: q, Nth: c.nth, Port: c.conn.LocalAddr().(*net.TCPAddr).Port}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", q.Method, q.Target, c.host)
	if q.Body > 0 || q.Method == http.MethodPost || q.Method == http.MethodPut {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", q.Body)
	}
	head.WriteString("\r\n")
	if _, err := io.WriteString(c.conn, head.String()); err != nil {
		return a, false, err
	}
	if _, err := io.CopyN(onlyWriter{c.conn}, zeros{}, q.Body); err != nil {
		return a, false, err
	}
	response, err := http.ReadResponse(c.r, &http.Request{Method: q.Method})
	if err != nil {
		return a, false, err
	}
	defer response.Body.Close()
	a.Status = response.StatusCode
	start, err := io.ReadAll(io.LimitReader(response.Body, beginning))
	if err != nil {
		return a, false, err
	}
	rest, err := io.Copy(io.Discard, response.Body)
	a.Content, a.Beginning = int64(len(start))+rest, string(start)
	return a, !response.Close, err
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// onlyWriter hides what else a connection can do, so that io.Copy doesn't ask a TCP connection to splice.
type onlyWriter struct{ io.Writer }
