// Package logstash delivers events to Logstash's TCP input, codec json_lines: JSON documents, one a line.
//
// The protocol has no acknowledgements. Events count as delivered when the system of the server has acknowledged their bytes
// and the connection still stands; where ours can't tell (see unacknowledged), when it has taken the bytes. The server's
// process may die before it reads them. So the last ones are kept, and sent again when the connection ends soon after them: a
// receiver that knows events by their ids has each once.
package logstash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/endpoint/stream"
	"github.com/culprit-http/culprit/internal/ship"
)

// DefaultTimeout is for Options.Timeout.
const DefaultTimeout = 30 * time.Second

// chunkSize is how many bytes are written at once, about; each write has a timeout of its own.
const chunkSize = 64 << 10

// The events that may not have been read by the server's process yet.
const (
	// recentBytes is how many bytes of events are kept, about.
	recentBytes = 2 << 20
	// settled is how long after the last of them they are taken to have been read.
	settled = 30 * time.Second
)

// The pauses between two looks at what isn't acknowledged yet: they double from the one to the other.
const (
	firstLook = 100 * time.Microsecond
	lastLook  = 20 * time.Millisecond
)

// Options say how a Logstash is reached.
type Options struct {
	Endpoint endpoint.Options
	// Timeout bounds how long the server may take no byte before that is an error; 0: DefaultTimeout.
	Timeout time.Duration
}

// New returns what makes Senders for the servers of a target, tcp://HOST:PORT or tls://HOST:PORT with commas between them. Each
// begins with another server, and takes the next one when there is trouble. It is called from one goroutine.
func New(target string, o Options) (func() (ship.Sender, error), error) {
	servers, err := stream.Parse(target, 0, o.Endpoint)
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return func() (ship.Sender, error) { return &Sender{dialer: servers.Dialer(), timeout: o.Timeout}, nil }, nil
}

// Sender writes to one server at a time. It implements ship.Sender.
type Sender struct {
	dialer  *stream.Dialer
	timeout time.Duration
	conn    *conn
	chunk   []byte
	// recent are the last events that were delivered on the connection, one a line, and sent is when; again are those of
	// connections that ended too soon after them.
	recent, again []byte
	sent          time.Time
}

// Send implements ship.Sender.
func (s *Sender) Send(ctx context.Context, events []ship.Event) (ship.Result, error) {
	if s.conn != nil && s.conn.ended() {
		s.drop() // while there was nothing to send: that is no error
	}
	if s.conn == nil {
		c, err := s.dialer.Dial(ctx)
		if err != nil {
			return ship.Result{}, err
		}
		s.conn = watch(c)
	}
	c := s.conn.Conn
	stop := context.AfterFunc(ctx, func() { stream.Abort(c) })
	err := s.send(ctx, events)
	if !stop() {
		err = ctx.Err() // the connection is closed
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", s.dialer.Address(), err)
		stream.Abort(c)
		s.drop()
		s.dialer.Next()
		return ship.Result{}, err
	}
	s.remember(events)
	return ship.Result{Delivered: len(events)}, nil
}

func (s *Sender) send(ctx context.Context, events []ship.Event) error {
	if err := s.write(s.again); err != nil {
		return s.explain(err)
	}
	s.chunk = s.chunk[:0]
	for i := range events {
		s.chunk = append(append(s.chunk, events[i].Body...), '\n')
		if len(s.chunk) < chunkSize && i < len(events)-1 {
			continue
		}
		if err := s.write(s.chunk); err != nil {
			return s.explain(err)
		}
		s.chunk = s.chunk[:0]
	}
	if err := s.conn.acknowledged(ctx, s.timeout); err != nil {
		return s.explain(err)
	}
	if s.conn.ended() {
		return s.explain(s.conn.err)
	}
	return nil
}

// write writes in pieces, each within the timeout, so that what goes on slowly isn't taken for what doesn't go on.
func (s *Sender) write(b []byte) error {
	for len(b) > 0 {
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
			return err
		}
		n, err := s.conn.Write(b[:min(len(b), chunkSize)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// explain says what an error of a connection means.
func (s *Sender) explain(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the server closed the connection")
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("the server has taken nothing for %v: is its pipeline blocked?", s.timeout)
	}
	return err
}

// remember keeps events that were delivered.
func (s *Sender) remember(events []ship.Event) {
	s.recent, s.again = append(s.recent, s.again...), s.again[:0]
	for i := range events {
		s.recent = append(append(s.recent, events[i].Body...), '\n')
		if len(s.recent) > 2*recentBytes {
			s.recent = last(s.recent)
		}
	}
	s.sent = time.Now()
}

// last moves the last lines of b to its beginning, and returns them: recentBytes at most.
func last(b []byte) []byte {
	if len(b) <= recentBytes {
		return b
	}
	tail := b[len(b)-recentBytes-1:]
	return b[:copy(b, tail[bytes.IndexByte(tail, '\n')+1:])]
}

// drop gives the connection up.
func (s *Sender) drop() {
	if s.conn == nil {
		return
	}
	s.conn.Close()
	s.conn.watching.Wait()
	if s.conn.when.Sub(s.sent) < settled {
		s.again = last(append(s.again, s.recent...))
	}
	s.conn, s.recent = nil, s.recent[:0]
}

// Close implements ship.Sender.
func (s *Sender) Close() error {
	s.drop()
	return nil
}

// conn is a connection on which the server has nothing to say, but may end it.
type conn struct {
	net.Conn
	watching sync.WaitGroup
	// over is closed when the server has ended the connection; err then says how, and when at what time.
	over chan struct{}
	err  error
	when time.Time
}

// watch reads, so that the end of a connection is noticed.
func watch(c net.Conn) *conn {
	w := &conn{Conn: c, over: make(chan struct{})}
	w.watching.Go(func() {
		_, w.err = io.Copy(io.Discard, c)
		if w.err == nil {
			w.err = io.EOF
		}
		w.when = time.Now()
		close(w.over)
	})
	return w
}

// ended reports whether the server has ended the connection, as far as we have heard.
func (c *conn) ended() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// errStalled is a net.Error, as those of a write.
var errStalled = &net.OpError{Op: "write", Err: context.DeadlineExceeded}

// acknowledged waits until the server's system has acknowledged all bytes. It is an error if it acknowledges none of them for as
// long as timeout, or if the connection ends.
func (c *conn) acknowledged(ctx context.Context, timeout time.Duration) error {
	below := stream.Below(c.Conn)
	left, known := unacknowledged(below)
	moved := time.Now()
	timer := time.NewTimer(firstLook)
	defer timer.Stop()
	for look := firstLook; known && left > 0; look = min(2*look, lastLook) {
		select {
		case <-c.over:
			return c.err
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		before := left
		if left, known = unacknowledged(below); left < before {
			moved = time.Now()
		} else if time.Since(moved) > timeout {
			return errStalled
		}
		timer.Reset(look)
	}
	return nil
}
