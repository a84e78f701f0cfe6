package replay

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// RawRecording is the bytes of connections: what the originators sent is sent again, what came back is there to be compared with. It isn't safe for
// concurrent use while it is filled; then it isn't changed any more.
type RawRecording struct {
	// First is when the first connection began, in nanoseconds since 1970. Bytes is how many bytes are sent.
	First, Last int64
	Bytes       int64
	// Midstream counts connections whose begin wasn't recorded, Holed those with holes in what is sent: neither is sent. Empty counts those on which nothing was sent.
	Midstream, Holed, Empty uint64
	// Undecrypted counts those with TLS that couldn't be read.
	Undecrypted uint64

	spool spool
	conns map[*proto.Flow]*rawConn
	order []*rawConn
}

// rawConn is a connection of a RawRecording.
type rawConn struct {
	client, server string
	start          int64
	events         []rawEvent
	// back are the stretches that came back, with their total; holed: something of them is missing, from byte holedAt on.
	back    []stretch
	total   int64
	holedAt int64
	// midstream, holed, undecrypted: it isn't sent, and why.
	midstream, holed, undecrypted bool
}

type stretch struct{ at, n int64 }

// rawEvent is bytes that are sent, or the end of them.
type rawEvent struct {
	stretch
	time int64
	// after is how many bytes had come back before.
	after int64
	end   bool
}

// NewRawRecording returns an empty RawRecording. open makes the file for what is too much for memory.
func NewRawRecording(open func() (Spool, error)) *RawRecording {
	return &RawRecording{spool: spool{open: open}, conns: map[*proto.Flow]*rawConn{}}
}

// Len is how many connections there are.
func (r *RawRecording) Len() int { return len(r.order) }

// Add takes a chunk, which it doesn't keep.
func (r *RawRecording) Add(c *follow.Chunk) error {
	if c.Flow.Proto != packet.ProtoTCP || c.Message != nil {
		return nil
	}
	x := r.conns[c.Flow]
	if x == nil {
		x = &rawConn{client: c.Flow.End(proto.Originator), server: c.Flow.End(proto.Responder), start: c.Flow.First.Time, midstream: c.Flow.Midstream, holedAt: -1}
		r.conns[c.Flow] = x
	}
	switch sends := c.Dir == proto.Originator; {
	case c.Undecrypted != "":
		x.undecrypted = true
	case c.Gap != 0 && sends:
		x.holed = true
	case c.Gap != 0:
		if x.holedAt < 0 {
			x.holedAt = x.total
		}
	case len(c.Data) > 0:
		at, err := r.spool.add(c.Data)
		if err != nil {
			return err
		}
		s := stretch{at, int64(len(c.Data))}
		if !sends {
			x.back = append(x.back, s)
			x.total += s.n
			break
		}
		x.events = append(x.events, rawEvent{stretch: s, time: c.At.Time, after: x.total})
	case c.Close == proto.Finished && sends:
		x.events = append(x.events, rawEvent{time: c.At.Time, after: x.total, end: true})
	}
	return nil
}

// Prepare puts the connections in their order, and leaves out those that can't be sent.
func (r *RawRecording) Prepare() {
	for _, x := range r.conns {
		sends := slices.ContainsFunc(x.events, func(e rawEvent) bool { return e.n > 0 })
		switch {
		case x.undecrypted:
			r.Undecrypted++
		case x.midstream:
			r.Midstream++
		case x.holed:
			r.Holed++
		case !sends && x.total == 0:
			r.Empty++
		default:
			r.order = append(r.order, x)
		}
	}
	r.conns = nil
	slices.SortFunc(r.order, func(a, b *rawConn) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.client, b.client)) })
	for i, x := range r.order {
		if i == 0 {
			r.First = x.start
		}
		r.Last = max(r.Last, x.start)
		for _, e := range x.events {
			r.Bytes += e.n
			r.Last = max(r.Last, e.time)
		}
	}
}

// RawOptions say how bytes are sent.
type RawOptions struct {
	// To is where they go: tcp or tls, a host and a port.
	To *url.URL
	// Speed is how much faster than recorded, 0: as fast as possible. Concurrency is how many connections are open at a time.
	Speed       float64
	Concurrency int
	// Timeout is how long it is waited for a connection, and for bytes that don't come.
	Timeout  time.Duration
	Insecure bool
	// Keep, if it isn't nil, makes what takes the bytes that come back on a connection, by its number from 0.
	Keep func(number int, client string) (io.WriteCloser, error)
	// Done is called with each connection that is over, one at a time.
	Done func(o *RawOutcome) error
}

// RawOutcome is what came of a connection.
type RawOutcome struct {
	Number         int
	Client, Server string
	// Sent of Wanted bytes were sent; Got is how many came back, Recorded how many did in the recording.
	Sent, Wanted, Got, Recorded int64
	// DiffersAt is the first byte that came back and isn't the recorded one, -1: none differs as far as both go. Incomplete: not all that came back was recorded.
	DiffersAt  int64
	Incomplete bool
	// Late is the most by which bytes were sent later than due, in nanoseconds.
	Late int64
	Err  error
}

// quiet is how long it is waited for bytes that came in the recording before the next ones are sent all the same.
const quiet = time.Second

// rawRunner is a run of bytes.
type rawRunner struct {
	*RawOptions
	recording *RawRecording
	start     time.Time
	mu        sync.Mutex
	failed    error
	cancel    context.CancelFunc
}

// RunRaw sends the bytes of a recording that was prepared.
func RunRaw(ctx context.Context, r *RawRecording, o *RawOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	run := &rawRunner{RawOptions: o, recording: r, start: time.Now(), cancel: cancel}
	slots := make(chan struct{}, o.Concurrency)
	var all sync.WaitGroup
	for i, x := range r.order {
		sleepUntil(ctx, run.due(x.start))
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		all.Add(1)
		go func() {
			defer all.Done()
			defer func() { <-slots }()
			run.connection(ctx, i, x)
		}()
	}
	all.Wait()
	if run.failed != nil {
		return run.failed
	}
	return ctx.Err()
}

// due is when something of the recording is to be; the zero time is at once.
func (r *rawRunner) due(at int64) time.Time {
	if r.Speed == 0 {
		return time.Time{}
	}
	return r.start.Add(time.Duration(min(float64(at-r.recording.First)/r.Speed, math.MaxInt64/2)))
}

// connection makes a connection of the recording again.
func (r *rawRunner) connection(ctx context.Context, number int, x *rawConn) {
	o := &RawOutcome{Number: number, Client: x.client, Server: x.server, Recorded: x.total, DiffersAt: -1, Incomplete: x.holedAt >= 0}
	for _, e := range x.events {
		o.Wanted += e.n
	}
	o.Err = r.talk(ctx, x, o)
	if ctx.Err() != nil && o.Err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		if r.failed = r.Done(o); r.failed != nil {
			r.cancel()
		}
	}
}

func (r *rawRunner) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.To.Host)
	if err != nil || r.To.Scheme != "tls" {
		return conn, err
	}
	secured := tls.Client(conn, &tls.Config{ServerName: r.To.Hostname(), InsecureSkipVerify: r.Insecure})
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secured, nil
}

// talk sends what is to be sent, and takes what comes.
func (r *rawRunner) talk(ctx context.Context, x *rawConn, o *RawOutcome) error {
	conn, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var keep io.WriteCloser
	if r.Keep != nil {
		if keep, err = r.Keep(o.Number, x.client); err != nil {
			conn.Close()
			return err
		}
	}
	l := &listener{conn: conn, keep: keep, expected: expected{spool: &r.recording.spool, list: x.back, holedAt: x.holedAt}, more: make(chan struct{}, 1), over: make(chan struct{})}
	go l.run()
	err = r.send(ctx, conn, l, x, o)
	if err == nil {
		l.wait(ctx, x.total, r.Timeout) // the rest of what came in the recording
		if x.total == 0 || closed(x) {
			l.wait(ctx, math.MaxInt64, quiet) // more may come
		}
	}
	conn.Close()
	<-l.over
	o.Got, o.DiffersAt = l.got, l.differsAt()
	if keep != nil {
		if e := keep.Close(); l.err == nil {
			l.err = e
		}
	}
	if l.err != nil {
		return l.err
	}
	return err
}

// closed reports whether the client closed its side.
func closed(x *rawConn) bool { return len(x.events) > 0 && x.events[len(x.events)-1].end }

func (r *rawRunner) send(ctx context.Context, conn net.Conn, l *listener, x *rawConn, o *RawOutcome) error {
	for i := range x.events {
		e := &x.events[i]
		l.wait(ctx, e.after, quiet)
		due := r.due(e.time)
		sleepUntil(ctx, due)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !due.IsZero() {
			o.Late = max(o.Late, int64(time.Since(due)))
		}
		if e.end {
			if half, ok := conn.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // it may be closed already
			}
			continue
		}
		b, err := r.recording.spool.get(e.at, e.n)
		if err != nil {
			return err
		}
		if err := conn.SetWriteDeadline(time.Now().Add(r.Timeout)); err != nil {
			return err
		}
		n, err := conn.Write(b)
		o.Sent += int64(n)
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", o.Sent, o.Wanted, err)
		}
	}
	return nil
}

// sleepUntil waits until a time, or until ctx is done.
func sleepUntil(ctx context.Context, until time.Time) {
	wait := time.Until(until)
	if until.IsZero() || wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// listener takes what comes back on a connection.
type listener struct {
	conn net.Conn
	keep io.Writer
	expected
	// more says that something has come; over is closed at the end.
	more, over chan struct{}

	mu  sync.Mutex
	got int64
	err error // of what keeps the bytes
}

func (l *listener) run() {
	defer close(l.over)
	buf := make([]byte, 32<<10)
	for {
		n, err := l.conn.Read(buf)
		if n > 0 {
			l.compare(buf[:n])
			if l.keep != nil && l.err == nil {
				_, l.err = l.keep.Write(buf[:n])
			}
			l.mu.Lock()
			l.got += int64(n)
			l.mu.Unlock()
			select {
			case l.more <- struct{}{}:
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

// wait waits until so many bytes have come, the connection is over, or nothing more has come for a time.
func (l *listener) wait(ctx context.Context, bytes int64, atMost time.Duration) {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	for {
		l.mu.Lock()
		enough := l.got >= bytes
		l.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-l.more:
			timer.Reset(atMost)
		case <-l.over:
			return
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// expected is what came back in the recording, to compare with as it comes.
type expected struct {
	spool *spool
	list  []stretch
	// holedAt is where the recording has a hole, -1: nowhere.
	holedAt int64
	// seen is how many bytes were compared; differs the first that differs, from 1 on, 0: none.
	seen, differs int64
	now           []byte
}

// compare compares the next bytes.
func (e *expected) compare(b []byte) {
	for len(b) > 0 && e.differs == 0 && (e.holedAt < 0 || e.seen < e.holedAt) {
		if len(e.now) == 0 {
			if len(e.list) == 0 {
				return
			}
			now, err := e.spool.get(e.list[0].at, e.list[0].n)
			if err != nil {
				return
			}
			e.now, e.list = now, e.list[1:]
		}
		n := min(len(b), len(e.now))
		for i := range n {
			if b[i] != e.now[i] {
				e.differs = e.seen + int64(i) + 1
				return
			}
		}
		b, e.now = b[n:], e.now[n:]
		e.seen += int64(n)
	}
}

func (e *expected) differsAt() int64 { return e.differs - 1 }
