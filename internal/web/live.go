package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/filter"
	"github.com/culprit-http/culprit/internal/output/ndjson"
)

// Limits of live streams.
const (
	// MaxSubscribers is how many live streams there may be at once. More get the status 429.
	MaxSubscribers = 32
	// LiveEvents and LiveBytes bound what a subscriber that reads slowly is behind, in events and in bytes of their
	// documents. What comes beyond is left out, counted, and told by an event gap.
	LiveEvents = 1024
	LiveBytes  = 4 << 20
	// LiveGrace is how long a subscriber whose connection broke can come back and miss nothing.
	LiveGrace = 30 * time.Second
	// Heartbeat is how often an idle stream sends something, so that both ends see that it lives.
	Heartbeat = 15 * time.Second
	// retry is after how many milliseconds a browser comes back.
	retry = 1000
	// liveBatch is how many events are written at once.
	liveBatch = 64
)

// feed hands exchanges to the subscribers of live streams, as they complete.
//
//	Publish (capture) --> match, encode once --> ring of each subscriber --> its request's goroutine --> client
//
// The capture never waits: a ring is locked for as long as it takes to put in an element, and what doesn't fit is
// left out. When nobody listens, Publish is one look at a pointer.
type feed struct {
	// run tells the ids of this run from those of others.
	run string
	// subscribers is replaced, never changed, by who holds mu.
	subscribers atomic.Pointer[[]*subscriber]
	leftOut     atomic.Int64
	closed      chan struct{}

	mu    sync.Mutex
	last  uint64
	ended bool

	// What Publish and Waiting alone use.
	encoder ndjson.Encoder
	doc     []byte
	safe    bytes.Buffer
}

func newFeed() *feed {
	return &feed{run: rand.Text()[:8], closed: make(chan struct{}), encoder: ndjson.NewEncoder()}
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.ended = true
		close(f.closed)
	}
}

// liveState says who watches.
type liveState struct {
	Subscribers int `json:"subscribers"`
	// LeftOut are the events that subscribers were too slow for.
	LeftOut int64 `json:"left_out"`
}

func (f *feed) state() liveState { return liveState{len(f.list()), f.leftOut.Load()} }

func (f *feed) list() []*subscriber {
	if p := f.subscribers.Load(); p != nil {
		return *p
	}
	return nil
}

// Publish shows an exchange to those who watch. It must be redacted, and is borrowed until return. Publish never
// waits. Calls of Publish and Waiting come from one goroutine.
func (s *Server) Publish(x *exchange.Exchange) { s.feed.publish(event{name: "exchange"}, x) }

// Waiting shows an exchange that has been waiting for its answer. It is as Publish.
func (s *Server) Waiting(x *exchange.Exchange, waited time.Duration) {
	s.feed.publish(event{name: "waiting", waited: waited.Nanoseconds()}, x)
}

func (f *feed) publish(e event, x *exchange.Exchange) {
	for _, sub := range f.list() {
		if sub.where != nil && !sub.where.Match(x) {
			continue
		}
		if !sub.room() { // before the work of a document
			f.leftOut.Add(1)
			continue
		}
		if e.doc == nil {
			f.doc = f.encoder.Append(f.doc[:0], x)
			e.doc = bytes.Clone(htmlSafe(&f.safe, f.doc))
		}
		if !sub.put(e) {
			f.leftOut.Add(1)
		}
	}
}

// event is one element of a ring.
type event struct {
	name   string
	doc    []byte
	waited int64
	// gap is how many events were left out before this one.
	gap int64
}

// subscriber is one live stream. It outlives its connection by LiveGrace.
//
//	begin ............ read .............. end      numbers of events
//	   | kept, to be read |  not yet read   |
//	   |  again           |                 |
//
// There are at most LiveEvents from begin to end. Those not read are never overwritten.
type subscriber struct {
	number uint64
	// question is what the client asked for: only the same question goes on.
	question string
	// where is used by the goroutine of Publish alone.
	where *filter.Filter
	// wake has an element when there may be something to read.
	wake chan struct{}

	mu               sync.Mutex
	ring             []event
	begin, read, end uint64
	// kept and unread are the bytes of the events from begin, and from read.
	kept, unread int
	gap          int64
	// connection counts the connections: only the last one reads. attached: it lives.
	connection int
	attached   bool
	grace      *time.Timer
}

func (u *subscriber) at(n uint64) *event { return &u.ring[n%LiveEvents] }

// room reports whether another event fits, and counts it as left out otherwise.
func (u *subscriber) room() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.end-u.read >= LiveEvents || u.unread >= LiveBytes {
		u.gap++
		return false
	}
	return true
}

// put appends an event, or counts it as left out. It makes room at the expense of what was read.
func (u *subscriber) put(e event) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := len(e.doc); u.unread > 0 && u.unread+n > LiveBytes {
		u.gap++
		return false
	}
	for u.begin < u.read && (u.end-u.begin >= LiveEvents || u.kept+len(e.doc) > LiveBytes) {
		u.kept -= len(u.at(u.begin).doc)
		*u.at(u.begin) = event{}
		u.begin++
	}
	if len(u.ring) < LiveEvents && u.end == uint64(len(u.ring)) {
		u.ring = append(u.ring, event{}) // the ring of one that sees little stays small
	}
	e.gap, u.gap = u.gap, 0
	*u.at(u.end) = e
	u.end++
	u.kept += len(e.doc)
	u.unread += len(e.doc)
	select {
	case u.wake <- struct{}{}:
	default:
	}
	return true
}

// take copies events to read to dst, the number of the first of which is from. gap is how many were left out behind
// them. ok is false when another connection has taken over.
func (u *subscriber) take(connection int, dst []event) (events []event, from uint64, gap int64, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.connection != connection {
		return nil, 0, 0, false
	}
	from = u.read
	for ; u.read < u.end && len(dst) < liveBatch; u.read++ {
		dst = append(dst, *u.at(u.read))
		u.unread -= len(u.at(u.read).doc)
	}
	if u.read == u.end {
		gap, u.gap = u.gap, 0
	}
	return dst, from, gap, true
}

// resume makes a new connection the reader, from the event behind last on. It returns how many events in between are
// not kept any more.
func (u *subscriber) resume(last uint64) (connection int, lost int64, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if last >= u.end {
		return 0, 0, false // no event has this number
	}
	if next := last + 1; next < u.begin {
		lost = int64(u.begin - next)
	}
	u.read = max(last+1, u.begin)
	u.unread = 0
	for n := u.read; n < u.end; n++ {
		u.unread += len(u.at(n).doc)
	}
	if u.grace != nil {
		u.grace.Stop()
	}
	u.connection++
	u.attached = true
	select {
	case u.wake <- struct{}{}: // the connection before, if it still waits, sees that it is over
	default:
	}
	return u.connection, lost, true
}

// subscribe finds the subscriber that a client was, by the id of the last event that it got, or makes a new one. lost
// is how many events it missed, -1 when that isn't known.
func (f *feed) subscribe(question string, where *filter.Filter, lastID string) (u *subscriber, connection int, lost int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, 0, 0, problems.closing.of("culprit is ending")
	}
	number, last, known := f.parseID(lastID)
	all := f.list()
	if known {
		for _, u := range all {
			if u.number != number || u.question != question {
				continue
			}
			if connection, lost, ok := u.resume(last); ok {
				return u, connection, lost, nil
			}
		}
	}
	if len(all) >= MaxSubscribers {
		i := slices.IndexFunc(all, func(u *subscriber) bool {
			u.mu.Lock()
			defer u.mu.Unlock()
			return !u.attached
		})
		if i < 0 {
			return nil, 0, 0, problems.tooMany.of("%d live streams run, and no more are allowed; close one", MaxSubscribers)
		}
		all = slices.Delete(slices.Clone(all), i, i+1)
	}
	f.last++
	u = &subscriber{number: f.last, question: question, where: where, wake: make(chan struct{}, 1), attached: true}
	all = append(slices.Clip(slices.Clone(all)), u)
	f.subscribers.Store(&all)
	if lastID != "" {
		lost = -1
	}
	return u, 0, lost, nil
}

// leave ends a connection. The subscriber goes when its client doesn't come back.
func (f *feed) leave(u *subscriber, connection int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.connection != connection {
		return
	}
	u.attached = false
	u.grace = time.AfterFunc(LiveGrace, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		u.mu.Lock()
		gone := u.connection == connection && !u.attached
		u.mu.Unlock()
		if gone {
			all := slices.DeleteFunc(slices.Clone(f.list()), func(o *subscriber) bool { return o == u })
			f.subscribers.Store(&all)
		}
	})
}

func (f *feed) id(u *subscriber, event uint64) string {
	return f.run + "." + strconv.FormatUint(u.number, 10) + "." + strconv.FormatUint(event, 10)
}

func (f *feed) parseID(id string) (subscriber, event uint64, ok bool) {
	run, rest, _ := strings.Cut(id, ".")
	a, b, found := strings.Cut(rest, ".")
	subscriber, err1 := strconv.ParseUint(a, 10, 64)
	event, err2 := strconv.ParseUint(b, 10, 64)
	return subscriber, event, run == f.run && found && err1 == nil && err2 == nil
}

// live answers with exchanges as they complete, as server-sent events.
func (s *Server) live(c *call) error {
	where, err := c.where()
	if err != nil {
		return err
	}
	fields, err := c.fields("fields")
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/event-stream")
	if c.Method == http.MethodHead {
		return c.empty(http.StatusOK)
	}
	f := s.feed
	question := c.values.Get("where") + "\x00" + strings.Join(c.values["fields"], ",")
	u, connection, lost, err := f.subscribe(question, where, c.Header.Get("Last-Event-ID"))
	if err != nil {
		return err
	}
	defer f.leave(u, connection)
	out := tail{answer: &c.answer, prune: newPruner(fields)}
	fmt.Fprintf(&out.text, "retry: %d\n\n", retry)
	out.gap(lost)
	if err := f.follow(c.Context(), u, connection, &out); !errors.Is(err, errGone) {
		return err
	}
	return nil // the client may come back
}

// follow writes events until the client leaves, or the server ends.
func (f *feed) follow(ctx context.Context, u *subscriber, connection int, out *tail) error {
	beat := time.NewTicker(Heartbeat)
	defer beat.Stop()
	var batch []event
	for {
		events, from, gap, ok := u.take(connection, batch[:0])
		if !ok {
			return out.send()
		}
		for i := range events {
			out.gap(events[i].gap)
			out.event(f.id(u, from+uint64(i)), &events[i])
		}
		out.gap(gap)
		if err := out.send(); err != nil {
			return err
		}
		clear(events)
		batch = events
		if len(events) == liveBatch {
			continue
		}
		select {
		case <-u.wake:
		case <-beat.C:
			out.text.WriteString(":\n\n")
		case <-ctx.Done():
			return nil
		case <-f.closed:
			return nil
		}
	}
}

// tail writes server-sent events.
type tail struct {
	answer *answer
	prune  *pruner
	text   bytes.Buffer
	pruned []byte
}

func (t *tail) event(id string, e *event) {
	doc := e.doc
	if t.prune != nil {
		t.pruned = t.prune.append(t.pruned[:0], doc)
		doc = t.pruned
	}
	// Documents have no line ends, which would end the event.
	if e.name == "waiting" {
		fmt.Fprintf(&t.text, "event: waiting\nid: %s\ndata: {\"waited\":%d,\"exchange\":%s}\n\n", id, e.waited, doc)
		return
	}
	fmt.Fprintf(&t.text, "event: exchange\nid: %s\ndata: %s\n\n", id, doc)
}

// gap tells how many events were left out: n, or, when it is negative, an unknown number.
func (t *tail) gap(n int64) {
	switch {
	case n > 0:
		fmt.Fprintf(&t.text, "event: gap\ndata: {\"left_out\":%d}\n\n", n)
	case n < 0:
		t.text.WriteString("event: gap\ndata: {\"left_out\":null}\n\n")
	}
}

// send sends what was written, at once.
func (t *tail) send() error {
	if t.text.Len() == 0 {
		return nil
	}
	if _, err := t.answer.Write(t.text.Bytes()); err != nil {
		return err
	}
	t.text.Reset()
	if err := t.answer.flush(); err != nil {
		return err
	}
	if err := t.answer.control.Flush(); err != nil {
		return errGone
	}
	return nil
}
