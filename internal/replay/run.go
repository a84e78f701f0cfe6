// Package replay sends the requests of a recording again, and compares what comes back with what came back then.
//
// # Theory of operation
//
//	exchanges --Add--> Recording (spool) --Prepare--> connections, each a list of items
//	                                                        |
//	              a connection of the recording is a session: one goroutine, its items in order
//	                                                        |
//	  wait for what earlier answers give --> wait until due --> send, read --> compare --> Done
//
// Each recorded connection is a connection of its own, and is opened a little before its first request is due. On a connection of HTTP/1.1 a request
// is sent once the answer before it has come, and isn't due earlier. The streams of a connection of HTTP/2 overlap as they did: a request waits for
// the answers that had come in the recording before it was sent, and for no others. Where HTTP/2 was recorded and HTTP/1.1 is spoken, a few connections
// take the place of one.
//
// What an answer gives to later requests (cookies, tokens) is known from the recording: a value that an answer had, and a later request had again.
// That request waits for the answer, and has the new value in place of the old one. Waiting goes back in the time of the recording only, so that no two
// requests can wait for each other; and who waits takes no slot of the concurrency.
//
// The package connects to the target, and reads the clock to keep time. Files are opened by others.
package replay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how a recording is replayed.
type Options struct {
	// To is where requests go: http or https, a host, and possibly a path that goes before theirs.
	To *url.URL
	// Speed is how much faster than recorded: 1 as recorded, 0 as fast as possible. Rate, if not 0, is how many requests a second are sent instead.
	Speed, Rate float64
	// Concurrency is how many connections of the recording are open at a time.
	Concurrency int
	// Timeout is how long a request may take, with its connection.
	Timeout time.Duration
	// HTTP is auto, 1.1 or 2.
	HTTP string
	// Insecure: the certificate of the target isn't verified.
	Insecure bool
	Limits   Limits
	Rules    Rules
	// Done is called with each exchange that is over, one at a time. An error ends the run. The Outcome is the callee's.
	Done func(o *Outcome) error
}

// The limits of a run that aren't options.
const (
	// minLead and maxLead bound how long before its first request a connection is opened.
	minLead, maxLead = 50 * time.Millisecond, 2 * time.Second
	// parallel is how many connections of HTTP/1.1 take the place of one of HTTP/2, as in browsers.
	parallel = 6
	// maxStreams is how many requests of a connection of HTTP/2 are under way.
	maxStreams = 256
	// maxAttempts is how many connections of HTTP/2 a request is tried on, when servers take leave before they have seen it.
	maxAttempts = 20
	// maxUnreachable is how many connections may fail, none having been made, before the target is given up.
	maxUnreachable = 20
)

// Outcome is what came of a request.
type Outcome struct {
	Item    *Item
	Request *Request
	// Answer is nil if none came; Err says why, or why it isn't whole.
	Answer *Answer
	Err    error
	// Sent is when the request was sent, Asked when it was as a whole, First and Last when the first and the last byte of the answer came, in nanoseconds
	// since 1970; 0: it didn't.
	Sent, Asked, First, Last int64
	// Late is how much later than it was due it was sent, in nanoseconds; -1 where nothing says when it is due.
	Late int64
	// Waited: it wasn't sent when it was due since an answer before it hadn't come, or for lack of a slot.
	Waited bool
	// Connect and TLS are how long these took, in nanoseconds, for the first request of a connection; -1 for others.
	Connect, TLS int64
	// Again: the connection had been closed, and it was sent on a new one.
	Again bool
	// Local and Remote are the ends of the connection; Session counts connections of the recording from 0, Index the requests of one.
	Local, Remote  string
	Session, Index int
	// HTTP2: it was sent as a stream of HTTP/2.
	HTTP2 bool
	// Findings are how the answer differs; Compared: there was one to compare with.
	Findings []Finding
	Compared bool
}

// Duration is from the first byte of the request to the last of the answer, in nanoseconds; -1 without an answer.
func (o *Outcome) Duration() int64 {
	if o.Err != nil || o.Last == 0 {
		return -1
	}
	return max(o.Last-o.Sent, 0)
}

// ErrUnreachable is the error of a run that made no connection to its target.
var ErrUnreachable = errors.New("the target can't be reached")

// errUnfilled: a secret that was redacted stands in a target still. errUnfit: what an answer gave would break out of its header.
var (
	errUnfilled = errors.New("not sent: an earlier answer didn't give what it needs")
	errUnfit    = errors.New("not sent: an earlier answer gave a value that no header may have")
)

// runner is a run.
type runner struct {
	*Options
	recording *Recording
	comparer  *comparer
	carrier   *carrier
	ranks     []int32
	start     time.Time
	slots     chan struct{}
	cancel    context.CancelCauseFunc

	mu     sync.Mutex
	failed error

	connected   atomic.Bool
	unreachable atomic.Int32
}

// Run sends the requests of a recording that was prepared, until all are done or ctx is. It returns the first error of Done, or that of the recording.
func Run(ctx context.Context, r *Recording, o *Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run := &runner{Options: o, recording: r, comparer: newComparer(&o.Rules), carrier: r.carrier, slots: make(chan struct{}, o.Concurrency), cancel: cancel}
	if o.Rate > 0 {
		run.rank()
	}
	if len(r.order) > 0 {
		run.start = time.Now().Add(run.lead(r.order[0]))
	}
	var sessions sync.WaitGroup
	for i, items := range r.order {
		sleepUntil(ctx, run.due(items[0]).Add(-run.lead(items)))
		if run.acquire(ctx) != nil {
			break
		}
		sessions.Add(1)
		go func() {
			defer sessions.Done()
			defer run.release()
			run.session(ctx, i, items)
		}()
	}
	sessions.Wait()
	run.mu.Lock()
	defer run.mu.Unlock()
	switch {
	case run.failed != nil:
		return run.failed
	case errors.Is(context.Cause(ctx), ErrUnreachable):
		return context.Cause(ctx)
	}
	return ctx.Err()
}

// rank finds the place of each item in the order of time.
func (r *runner) rank() {
	entries := r.recording.entries
	order := make([]int32, len(entries))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(entries[a].start, entries[b].start), cmp.Compare(a, b))
	})
	r.ranks = make([]int32, len(entries))
	for rank, n := range order {
		r.ranks[n] = int32(rank)
	}
}

// timed reports whether requests are due at some time.
func (r *runner) timed() bool { return r.Rate > 0 || r.Speed > 0 }

// due is when an item is to be sent; the zero time is at once.
func (r *runner) due(n int32) time.Time {
	switch {
	case r.Rate > 0:
		return r.start.Add(time.Duration(min(float64(r.ranks[n])/r.Rate*float64(time.Second), math.MaxInt64/2)))
	case r.Speed > 0:
		after := float64(r.recording.entries[n].start-r.recording.First) / r.Speed
		return r.start.Add(time.Duration(min(after, math.MaxInt64/2)))
	}
	return time.Time{}
}

// lead is how long before its first request a connection is opened: about as long as in the recording.
func (r *runner) lead(items []int32) time.Duration {
	if !r.timed() {
		return 0
	}
	return min(max(time.Duration(r.recording.entries[items[0]].setup)*time.Microsecond, minLead), maxLead)
}

func (r *runner) acquire(ctx context.Context) error {
	select {
	case r.slots <- struct{}{}:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *runner) release() { <-r.slots }

// fail ends the run.
func (r *runner) fail(err error) {
	r.mu.Lock()
	if r.failed == nil {
		r.failed = err
	}
	r.mu.Unlock()
	r.cancel(err)
}

// session is a connection of the recording, and the connections that take its place.
type session struct {
	*runner
	// life is the run's: when it is done, connections end.
	life   context.Context
	number int
	host   string // that TLS is to name
	http2  bool   // it was recorded as HTTP/2
	// places bounds the connections of HTTP/1.1; idle are those that wait.
	places chan struct{}
	mu     sync.Mutex
	idle   []*link
	// two is the connection of HTTP/2; plain: the target doesn't speak it. opening guards both.
	opening sync.Mutex
	two     *link
	plain   bool
}

// link is a connection to the target.
type link struct {
	conn          net.Conn
	one           *http1
	two           *http2
	connect, tls  int64
	local, remote string
	used          atomic.Bool
	stop          func() bool
	// Of HTTP/2, guarded by session.mu: how many requests are under way; spent: it takes no further ones, and is closed when none is.
	streams int
	spent   bool
}

func (l *link) close() {
	l.stop()
	if l.two != nil {
		l.two.conn.Close()
	}
	l.conn.Close()
}

// pending is a request that is under way.
type pending struct {
	end  int64 // in the time of the recording
	over chan struct{}
}

// session sends the items of a connection.
func (r *runner) session(ctx context.Context, number int, items []int32) {
	s := &session{runner: r, life: ctx, number: number}
	defer s.close()
	var all sync.WaitGroup
	defer all.Wait()
	var underWay []pending
	for index, n := range items {
		it, err := r.recording.item(n)
		if err != nil {
			r.fail(err)
			return
		}
		if index == 0 {
			s.http2 = it.HTTP2
			s.host = hostOf(it.Authority)
			s.places = make(chan struct{}, 1)
			if s.http2 {
				s.places = make(chan struct{}, parallel)
			}
			s.open(ctx) // ahead: whether that works is told with the request
		}
		// Those that had been answered before it was sent.
		underWay = slices.DeleteFunc(underWay, func(p pending) bool {
			if p.end > it.Start && s.http2 && len(underWay) < maxStreams {
				return false
			}
			select {
			case <-p.over:
			case <-ctx.Done():
			}
			return true
		})
		if !r.awaitValues(ctx, it) {
			return
		}
		ready, due := time.Now(), r.due(n)
		sleepUntil(ctx, due)
		if ctx.Err() != nil {
			return
		}
		waited := r.timed() && ready.After(due)
		p := pending{it.End(), make(chan struct{})}
		underWay = append(underWay, p)
		all.Add(1)
		one := func() {
			defer all.Done()
			defer close(p.over)
			s.one(ctx, it, index, due, waited)
		}
		if s.http2 {
			go one()
		} else {
			one()
		}
	}
}

// awaitValues waits for what earlier answers give to a request, at most as long as a request may take. Who waits takes no slot.
func (r *runner) awaitValues(ctx context.Context, it *Item) bool {
	list := r.carrier.awaited(it)
	if len(list) == 0 {
		return ctx.Err() == nil
	}
	r.release()
	short, cancel := context.WithTimeout(ctx, r.Timeout)
	_ = r.carrier.await(short, list) // then it is sent as it was
	cancel()
	r.slots <- struct{}{} // others let go of theirs in any case
	return ctx.Err() == nil
}

// one sends an item, and tells what came of it.
func (s *session) one(ctx context.Context, it *Item, index int, due time.Time, waited bool) {
	q := s.recording.rewrite.request(it, s.To, s.carrier)
	o := &Outcome{Item: it, Request: q, Session: s.number, Index: index, Late: -1, Waited: waited, Connect: -1, TLS: -1}
	switch {
	case mark.MatchString(q.Target):
		o.Err, o.Sent = errUnfilled, time.Now().UnixNano()
	case slices.ContainsFunc(q.Fields, func(f Field) bool { return !isValue(f.Value) }):
		o.Err, o.Sent = errUnfit, time.Now().UnixNano()
	default:
		short, cancel := context.WithTimeout(ctx, s.Timeout)
		s.send(short, o)
		cancel()
	}
	if ctx.Err() != nil && o.Err != nil { // it wasn't the server's fault
		s.carrier.settle(it, nil)
		return
	}
	if s.timed() && o.Sent != 0 {
		o.Late = max(o.Sent-due.UnixNano(), 0)
	}
	s.carrier.settle(it, o.Answer)
	switch {
	case o.Err != nil:
		cause := Cause(o.Err)
		if o.Answer != nil {
			cause = fmt.Sprintf("status %d, then %s", o.Answer.Status, cause)
		}
		o.Findings = []Finding{{Kind: NoAnswer, Recorded: statusOf(it), Replayed: shorten(cause)}}
		o.Compared = it.Answered
	case it.Answered:
		o.Findings, o.Compared = s.comparer.compare(it, o.Answer, q.Authority), true
	}
	s.runner.mu.Lock()
	defer s.runner.mu.Unlock()
	if s.failed == nil {
		if err := s.Done(o); err != nil {
			s.failed = err
			s.cancel(err)
		}
	}
}

func statusOf(it *Item) string {
	if !it.Answered {
		return ""
	}
	return fmt.Sprint(it.Answer.Status)
}

// Cause is an error without what is known anyway: addresses, that differ with each connection.
func Cause(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		text := op.Err.Error()
		if _, inner, found := strings.Cut(text, ": "); found {
			text = inner
		}
		return op.Op + ": " + text
	}
	return err.Error()
}

// send sends a request on a connection that is there, or on a new one.
func (s *session) send(ctx context.Context, o *Outcome) {
	for attempt := 0; ; attempt++ {
		l, err := s.link(ctx)
		if err != nil {
			if o.Sent == 0 {
				o.Sent = time.Now().UnixNano()
			}
			o.Err = err
			return
		}
		first := !l.used.Swap(true)
		if first {
			o.Connect, o.TLS = l.connect, l.tls
		}
		o.Local, o.Remote, o.HTTP2 = l.local, l.remote, l.two != nil
		var t times
		if l.two != nil {
			o.Answer, t, o.Err = l.two.do(ctx, o.Request)
		} else {
			deadline, _ := ctx.Deadline()
			o.Answer, t, o.Err = l.one.do(o.Request, deadline)
		}
		o.Sent, o.Asked, o.First, o.Last = t.sent, t.asked, t.first, t.last
		s.back(l, o.Err)
		switch {
		case o.Err == nil || ctx.Err() != nil:
			return
		case errors.Is(o.Err, errUnseen) && attempt < maxAttempts:
		case first || attempt > 0 || o.Answer != nil || t.first != 0 || !Idempotent(o.Request.Method):
			return
		}
		o.Again = true // the server had closed the connection while it waited
	}
}

// open makes a connection ahead of its first request.
func (s *session) open(ctx context.Context) {
	short, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	l, err := s.link(short)
	if err == nil {
		s.back(l, nil)
	}
}

// link takes a connection that is free, or makes one. back is to be called for it.
func (s *session) link(ctx context.Context) (*link, error) {
	if l, err := s.multiplexed(ctx); l != nil || err != nil {
		return l, err
	}
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for l := s.free(); l != nil; l = s.free() {
		if !l.one.stale() {
			return l, nil
		}
		l.close()
	}
	l, err := s.dial(ctx)
	if err != nil {
		<-s.places
	}
	return l, err
}

// multiplexed returns the connection that speaks HTTP/2, nil where that isn't wanted, or the target doesn't.
func (s *session) multiplexed(ctx context.Context) (*link, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.plain || s.HTTP != "2" && (s.HTTP != "auto" || !s.http2 || s.To.Scheme != "https") {
		return nil, nil
	}
	if l := s.two; l != nil {
		s.mu.Lock()
		l.spent = l.spent || l.two.conn.Err() != nil
		spent, idle := l.spent, l.streams == 0
		if !spent {
			l.streams++
		}
		s.mu.Unlock()
		if !spent {
			return l, nil
		}
		if idle { // otherwise, what is under way may still be answered
			l.close()
		}
		s.two = nil
	}
	l, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if l.two == nil {
		s.plain = true
		s.put(l)
		return nil, nil
	}
	s.two, l.streams = l, 1
	return l, nil
}

// free takes a connection of HTTP/1.1 that waits, nil if there is none; put gives one.
func (s *session) free() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.idle)
	if n == 0 {
		return nil
	}
	l := s.idle[n-1]
	s.idle = s.idle[:n-1]
	return l
}

func (s *session) put(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, l)
}

// back gives a connection back.
func (s *session) back(l *link, err error) {
	if l.two != nil {
		s.mu.Lock()
		l.streams--
		l.spent = l.spent || errors.Is(err, errUnseen)
		over := l.spent && l.streams == 0
		s.mu.Unlock()
		if over {
			l.close()
		}
		return
	}
	if err == nil && !l.one.over && l.one.rest() == nil {
		s.put(l)
	} else {
		l.close()
	}
	<-s.places
}

// close closes what is open, once nothing is under way.
func (s *session) close() {
	if s.two != nil {
		s.two.close()
	}
	for _, l := range s.idle {
		l.close()
	}
}

// dial makes a connection.
func (s *session) dial(ctx context.Context) (*link, error) {
	begin := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address(s.To))
	if err != nil {
		if n := s.unreachable.Add(1); n >= maxUnreachable && !s.connected.Load() {
			s.cancel(fmt.Errorf("%w: %w", ErrUnreachable, err))
		}
		return nil, err
	}
	l := &link{conn: conn, connect: int64(time.Since(begin)), tls: -1, local: conn.LocalAddr().String(), remote: conn.RemoteAddr().String()}
	negotiated := ""
	if s.To.Scheme == "https" {
		begin := time.Now()
		c := &tls.Config{ServerName: s.To.Hostname(), InsecureSkipVerify: s.Insecure, NextProtos: []string{"http/1.1"}}
		if s.recording.rewrite.KeepHost && s.host != "" {
			c.ServerName = s.host
		}
		switch {
		case s.HTTP == "2":
			c.NextProtos = []string{"h2"}
		case s.HTTP == "auto" && s.http2:
			c.NextProtos = []string{"h2", "http/1.1"}
		}
		secured := tls.Client(conn, c)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			if n := s.unreachable.Add(1); n >= maxUnreachable && !s.connected.Load() {
				s.cancel(fmt.Errorf("%w: TLS: %w", ErrUnreachable, err))
			}
			return nil, fmt.Errorf("TLS: %w", err)
		}
		l.conn, l.tls, negotiated = secured, int64(time.Since(begin)), secured.ConnectionState().NegotiatedProtocol
	}
	s.connected.Store(true)
	if negotiated == "h2" || s.HTTP == "2" {
		if s.To.Scheme == "https" && negotiated != "h2" {
			l.conn.Close()
			return nil, errors.New("the target doesn't speak HTTP/2 over TLS; leave --http at auto")
		}
		if l.two, err = newHTTP2(ctx, l.conn, s.To, &s.Limits, time.Now); err != nil {
			l.conn.Close()
			return nil, err
		}
	} else {
		l.one = newHTTP1(l.conn, &s.Limits, time.Now)
	}
	whole := l.conn
	l.stop = context.AfterFunc(s.life, func() { whole.Close() })
	return l, nil
}

// hostOf returns the host of an authority.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.Trim(authority, "[]")
}
