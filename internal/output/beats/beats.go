// Package beats delivers events to Logstash's Beats input, and to whatever else speaks version 2 of the lumberjack protocol, which
// acknowledges.
//
//	window of n events -->          the server has them until its pipeline took them
//	                   <-- 0, 0...  it is at work (Logstash says so every few seconds)
//	                   <-- k        it is responsible for the first k
//	                   <-- n        for all; now the next window may come
//
// One window is on its way on a connection at a time: a second one would wait unread while the first one's pipeline is blocked, until
// the write of it timed out. Several workers fill the pauses.
package beats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	lumberjack "github.com/elastic/go-lumber/client/v2"

	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/endpoint/stream"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/ship"
)

// Defaults of Options, and limits.
const (
	DefaultPort        = 5044
	DefaultTimeout     = 30 * time.Second
	DefaultPatience    = 5 * time.Minute
	DefaultWindow      = 2048
	DefaultCompression = 3
	NoCompression      = -1
	DefaultIndex       = "culprit"

	// MaxWindow is the largest Options.Window.
	MaxWindow = 1 << 16
	// firstWindow is how many events the first window of a connection has; later ones have twice as many each time, until
	// that fails.
	firstWindow = 64
	// windowBytes is how large a window may be, before compression, unless it is a single event.
	windowBytes = 4 << 20
	// strikes is how often a server may close the connection on a window of one event before the event is suspected.
	strikes = 3
)

// Options say how a Beats input is reached.
type Options struct {
	Endpoint endpoint.Options
	// Timeout bounds how long the server may be silent, and how long a window may take to be written; 0: DefaultTimeout.
	Timeout time.Duration
	// Patience bounds how long the server may say that it is at work without acknowledging anything; 0: DefaultPatience.
	Patience time.Duration
	// Window is how many events may wait for an acknowledgement, at most MaxWindow; 0: DefaultWindow.
	Window int
	// Compression is the level of zlib, 1 to 9; 0: DefaultCompression; NoCompression.
	Compression int
	// Index is the name that pipelines make those of indices of, @metadata.beat; empty: DefaultIndex.
	Index string
	// Version is @metadata.version: culprit's.
	Version string
}

// New returns what makes Senders for the servers of a target, tcp://HOST:PORT or tls://HOST:PORT with commas between them. Each
// begins with another server, and takes the next one when there is trouble. It is called from one goroutine.
func New(target string, o Options) (func() (ship.Sender, error), error) {
	servers, err := stream.Parse(target, DefaultPort, o.Endpoint)
	if err != nil {
		return nil, err
	}
	set(&o.Timeout, DefaultTimeout)
	set(&o.Patience, DefaultPatience)
	set(&o.Window, DefaultWindow)
	set(&o.Compression, DefaultCompression)
	set(&o.Index, DefaultIndex)
	if o.Window < 1 || o.Window > MaxWindow {
		return nil, fmt.Errorf("window: %d: want 1 to %d events", o.Window, MaxWindow)
	}
	if o.Compression < NoCompression || o.Compression > 9 {
		return nil, fmt.Errorf("compression: %d: want a level from 1 to 9, or %d for none", o.Compression, NoCompression)
	}
	head, err := metadata(&o)
	if err != nil {
		return nil, err
	}
	return func() (ship.Sender, error) {
		return &Sender{o: o, dialer: servers.Dialer(), window: min(firstWindow, o.Window), goal: o.Window, head: head}, nil
	}, nil
}

func set[T comparable](option *T, value T) {
	var none T
	if *option == none {
		*option = value
	}
}

// metadata returns the beginning of all documents: what pipelines for Beats expect in @metadata, up to the event's id.
func metadata(o *Options) ([]byte, error) {
	b, err := json.Marshal(map[string]string{"beat": o.Index, "type": "_doc", "version": o.Version})
	if err != nil {
		return nil, err
	}
	return append(append([]byte(`{"@metadata":`), b[:len(b)-1]...), `,"_id":"`...), nil
}

// Sender has a connection to one server at a time. It implements ship.Sender.
type Sender struct {
	o      Options
	dialer *stream.Dialer
	conn   net.Conn
	client *lumberjack.Client
	// window is how many events the next window has at most. It doubles up to goal, and then grows slowly to Options.Window: goal is
	// half of what failed last.
	window, goal int
	// head is the beginning of all documents; document is where the one is made that is being sent; batch is what the client
	// takes.
	head, document []byte
	batch          []any
	// suspect is the event on which, alone in its window, the server closed the connection the last times.
	suspect [exchange.IDSize]byte
	struck  int
	// others counts the calls of tryOthers.
	others int
}

// Send implements ship.Sender.
func (s *Sender) Send(ctx context.Context, events []ship.Event) (ship.Result, error) {
	defer func() { clear(s.batch) }()
	if len(events) > 1 && s.struck >= strikes && s.suspect == events[0].ID {
		return s.tryOthers(ctx, events)
	}
	done := 0
	for done < len(events) {
		// Logstash closes connections that were idle for a minute. That isn't worth an error.
		idle := s.conn != nil && done == 0
		if s.conn == nil {
			if err := s.connect(ctx); err != nil {
				return ship.Result{Delivered: done}, err
			}
		}
		n := s.fill(events[done:])
		acknowledged, err := s.deliver(ctx, n)
		done += acknowledged
		if err == nil {
			s.grow(n)
			continue
		}
		stream.Abort(s.conn)
		s.drop()
		if idle && acknowledged == 0 && ctx.Err() == nil && closed(err) {
			continue
		}
		s.suspicious(&events[done], acknowledged, err)
		s.shrink()
		return ship.Result{Delivered: done}, s.leave(err)
	}
	return ship.Result{Delivered: done}, nil
}

// suspicious notes that the server closed the connection on an event that was alone in its window. It may do so on any.
func (s *Sender) suspicious(e *ship.Event, acknowledged int, err error) {
	switch {
	case len(s.batch) != 1 || acknowledged != 0 || !closed(err):
		s.struck = 0
	case s.struck > 0 && s.suspect == e.ID:
		s.struck++
	default:
		s.suspect, s.struck = e.ID, 1
	}
}

// tryOthers finds out whether it is the first event, which is suspected, that makes the server close the connection: then it
// takes another one, and closes on the first again. A server that can't parse a document does that, and all that come after it
// would wait forever.
func (s *Sender) tryOthers(ctx context.Context, events []ship.Event) (r ship.Result, err error) {
	s.struck = 0
	s.others++
	other := 1 + s.others%(len(events)-1) // each time another, as it may be like the first
	s.drop()
	if err := s.connect(ctx); err != nil {
		return r, err
	}
	alone := func(e *ship.Event) error {
		s.batch = append(s.batch[:0], e)
		_, err := s.deliver(ctx, 1)
		return err
	}
	known := false // what becomes of the other
	if err = alone(&events[other]); err == nil {
		known = true
		err = alone(&events[0])
	}
	if err != nil {
		stream.Abort(s.conn)
		s.drop()
		if !known || ctx.Err() != nil || !closed(err) {
			return r, s.leave(err)
		}
		r.Rejected = []ship.Rejection{{Reason: "the server closes the connection when it gets this event, and takes others: it may be too large for it; its log may say why"}}
	}
	for i := 1; i < len(events); i++ {
		if i != other {
			r.Retry = append(r.Retry, i)
		}
	}
	return r, nil
}

func (s *Sender) connect(ctx context.Context) error {
	c, err := s.dialer.Dial(ctx)
	if err != nil {
		return err
	}
	client, err := lumberjack.NewWithConn(c, lumberjack.Timeout(s.o.Timeout), lumberjack.CompressionLevel(max(s.o.Compression, 0)),
		lumberjack.JSONEncoder(s.encode))
	if err != nil {
		c.Close()
		return err
	}
	s.conn, s.client = c, client
	return nil
}

// fill takes the events of the next window, and returns how many they are.
func (s *Sender) fill(events []ship.Event) int {
	s.batch = s.batch[:0]
	bytes := 0
	for i := range events {
		bytes += len(events[i].Body)
		if len(s.batch) == s.window || bytes > windowBytes && i > 0 {
			break
		}
		s.batch = append(s.batch, &events[i])
	}
	return len(s.batch)
}

// encode makes the document of an event: its body with @metadata in front, whose bytes aren't looked at. The client copies it
// before it asks for the next one.
func (s *Sender) encode(event any) ([]byte, error) {
	e := event.(*ship.Event)
	if len(e.Body) < 2 || e.Body[0] != '{' {
		return nil, fmt.Errorf("event %s isn't a JSON object", exchange.AppendID(nil, e.ID))
	}
	s.document = exchange.AppendID(append(s.document[:0], s.head...), e.ID)
	s.document = append(s.document, `"}`...)
	if e.Body[1] != '}' {
		s.document = append(s.document, ',')
	}
	s.document = append(s.document, e.Body[1:]...)
	return s.document, nil
}

// deliver sends a window and waits for its acknowledgements. It returns how many events, from the first, the server has
// acknowledged, with and without an error.
func (s *Sender) deliver(ctx context.Context, n int) (acknowledged int, err error) {
	c := s.conn
	stop := context.AfterFunc(ctx, func() { stream.Abort(c) })
	defer func() {
		if !stop() {
			err = ctx.Err() // the connection is closed
		}
	}()
	if err := s.client.Send(s.batch); err != nil {
		return 0, err
	}
	moved := time.Now()
	for acknowledged < n {
		sequence, err := s.client.ReceiveACK()
		switch k := int(sequence); {
		case err != nil:
			return acknowledged, err
		case k > n:
			return acknowledged, fmt.Errorf("it acknowledged %d events of a window of %d: %w", k, n, lumberjack.ErrProtocolError)
		case k > acknowledged:
			acknowledged, moved = k, time.Now()
		case time.Since(moved) > s.o.Patience:
			return acknowledged, fmt.Errorf("the server says that it is at work, but has acknowledged nothing for %v: is its pipeline blocked?", s.o.Patience)
		}
	}
	return acknowledged, nil
}

// grow makes windows larger after one of n events went well.
func (s *Sender) grow(n int) {
	switch {
	case n < s.window: // nothing is known of larger ones
	case s.window < s.goal:
		s.window = min(2*s.window, s.goal)
	default:
		s.window = min(s.window+firstWindow, s.o.Window)
	}
}

// shrink makes windows smaller after one that failed, so that slow servers acknowledge in time, and what one event does to a server
// holds up few others.
func (s *Sender) shrink() {
	s.goal = max(len(s.batch)/2, 1)
	s.window = s.goal
}

// leave returns what an error of this server means, and goes on to the next one.
func (s *Sender) leave(err error) error {
	defer s.dialer.Next()
	return fmt.Errorf("%s: %w", s.dialer.Address(), s.explain(err))
}

// closed reports whether an error is what comes of a connection that the server had closed.
func closed(err error) bool {
	var e net.Error
	return !errors.Is(err, lumberjack.ErrProtocolError) && !(errors.As(err, &e) && e.Timeout())
}

// explain says what an error of a connection means.
func (s *Sender) explain(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the server closed the connection before it had acknowledged")
	case errors.Is(err, lumberjack.ErrProtocolError):
		return fmt.Errorf("%w: is there a Beats input on that port?", err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("the server has been silent for %v: is its pipeline blocked?", s.o.Timeout)
	}
	return err
}

// drop gives the connection up.
func (s *Sender) drop() {
	if s.conn != nil {
		s.conn.Close()
		s.conn, s.client = nil, nil
	}
}

// Close implements ship.Sender.
func (s *Sender) Close() error {
	s.drop()
	return nil
}
