package logstash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/endpoint/stream/streamtest"
	"github.com/culprit-http/culprit/internal/ship"
)

// events returns n events from a number on, with bodies of some size.
func events(from, n, size int) (all []ship.Event) {
	for i := from; i < from+n; i++ {
		body := fmt.Sprintf(`{"n":%d,"x":"`, i)
		all = append(all, ship.Event{Body: []byte(body + strings.Repeat("x", max(size-len(body)-2, 0)) + `"}`)})
	}
	return all
}

func sender(t *testing.T, target string, o Options) ship.Sender {
	t.Helper()
	senders, err := New(target, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := senders()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// receiver keeps the lines that it gets, with how often.
type receiver struct {
	net.Listener
	lock  sync.Mutex
	lines map[string]int
	// changed is told when something was received, or a connection ended.
	changed *sync.Cond
	open    map[net.Conn]bool
	ended   int
}

func receive(t *testing.T, l net.Listener) *receiver {
	r := &receiver{Listener: l, lines: map[string]int{}, open: map[net.Conn]bool{}}
	r.changed = sync.NewCond(&r.lock)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.lock.Lock()
			r.open[c] = true
			r.lock.Unlock()
			go r.read(c)
		}
	}()
	t.Cleanup(func() { l.Close(); r.hangUp() })
	return r
}

func (r *receiver) read(c net.Conn) {
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		r.lock.Lock()
		if err == nil {
			r.lines[line]++
		} else {
			r.ended++
			delete(r.open, c)
			c.Close()
		}
		r.changed.Broadcast()
		r.lock.Unlock()
		if err != nil {
			return
		}
	}
}

// hangUp closes all connections.
func (r *receiver) hangUp() {
	r.lock.Lock()
	defer r.lock.Unlock()
	for c := range r.open {
		c.Close()
	}
}

// wait returns when there are so many different lines.
func (r *receiver) wait(lines int) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for len(r.lines) < lines {
		r.changed.Wait()
	}
}

func (r *receiver) has(e *ship.Event) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.lines[string(e.Body)+"\n"] > 0
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLines(t *testing.T) {
	r := receive(t, loopback(t))
	s := sender(t, "tcp://"+r.Addr().String(), Options{})
	all := append(events(0, 1000, 0), events(1000, 3, 3*chunkSize)...)
	for _, batch := range [][]ship.Event{all[:1], all[1:1001], all[1001:]} {
		if result, err := s.Send(t.Context(), batch); err != nil || result.Delivered != len(batch) {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	r.wait(len(all))
	for i := range all {
		if got := r.lines[string(all[i].Body)+"\n"]; got != 1 {
			t.Errorf("event %d came %d times", i, got)
		}
	}
}

func TestTLS(t *testing.T) {
	ca, err := streamtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	config, err := ca.Server(false, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, streamtest.Secure(loopback(t), config))
	s := sender(t, "tls://"+r.Addr().String(), Options{Endpoint: endpoint.Options{TLS: endpoint.TLS{CA: ca.PEM}}})
	all := events(0, 1000, 500)
	if _, err := s.Send(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	r.wait(len(all))
}

// A receiver that closes idle connections, or comes back between two batches, isn't worth an error, and loses nothing.
func TestClosedBetweenBatches(t *testing.T) {
	r := receive(t, loopback(t))
	s := sender(t, "tcp://"+r.Addr().String(), Options{})
	for i := range 20 {
		if _, err := s.Send(t.Context(), events(i, 1, 0)); err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		r.wait(i + 1)
		r.hangUp()
		<-s.(*Sender).conn.over
	}
}

// After a connection has ended, nothing that is sent on it counts as delivered, though the system takes it.
func TestClosedWhileSending(t *testing.T) {
	near, far := net.Pipe()
	r := receive(t, loopback(t))
	var dials int
	s := sender(t, "tcp://"+r.Addr().String(), Options{Endpoint: endpoint.Options{Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		if dials++; dials == 1 {
			return near, nil
		}
		return net.Dial(network, address)
	}}})
	go func() { // takes one event and hangs up
		bufio.NewReaderSize(far, 1<<20).ReadString('\n')
		far.Close()
	}()
	all := events(0, 3, chunkSize) // a write each
	result, err := s.Send(t.Context(), all)
	if err == nil || result.Delivered != 0 {
		t.Fatalf("%+v, %v; want an error, and nothing delivered", result, err)
	}
	if _, err := s.Send(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	r.wait(len(all))
}

// hook is a connection on which written is called of each write, which then succeeds.
type hook struct {
	net.Conn
	written func()
}

func (h *hook) Write(b []byte) (int, error) {
	h.written()
	return len(b), nil
}

// What was written counts only while the connection stands.
func TestEndedAfterwards(t *testing.T) {
	near, far := net.Pipe()
	var s *Sender
	h := &hook{Conn: near, written: func() {
		far.Close()
		<-s.conn.over
	}}
	s = sender(t, "tcp://anywhere:1", Options{Endpoint: endpoint.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return h, nil }}}).(*Sender)
	if result, err := s.Send(t.Context(), events(0, 1, 0)); err == nil || result.Delivered != 0 || !strings.Contains(err.Error(), "anywhere:1: the server closed the connection") {
		t.Errorf("%+v, %v", result, err)
	}
}

// A receiver that reads nothing ends in an error within the timeout, and so does ctx.
func TestStalled(t *testing.T) {
	l := loopback(t)
	defer l.Close()
	s := sender(t, "tcp://"+l.Addr().String(), Options{Timeout: 50 * time.Millisecond})
	big := events(0, 64, 1<<20) // more than the buffers of both systems
	result, err := s.Send(t.Context(), big)
	if err == nil || result.Delivered != 0 || !strings.Contains(err.Error(), "has taken nothing for 50ms") || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("%+v, %v", result, err)
	}

	one := loopback(t)
	defer one.Close()
	s = sender(t, "tcp://"+one.Addr().String(), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if c, err := one.Accept(); err == nil {
			io.ReadFull(c, make([]byte, 1))
			cancel() // and read no more
		}
	}()
	if result, err := s.Send(ctx, big); !errors.Is(err, context.Canceled) || result.Delivered != 0 {
		t.Errorf("%+v, %v; want that of ctx", result, err)
	}
}

// Through a wire that resets connections at random places, so that what had been taken from the sender is destroyed: everything
// comes, since what may have been lost is sent again with the next batch.
func TestResets(t *testing.T) {
	unnoticed := 0
	for seed := range uint64(20) {
		r := receive(t, loopback(t))
		cut, resets := rand.New(rand.NewPCG(seed, 1)), 0
		wire := &streamtest.Wire{To: r.Addr().String()}
		wire.Cut = func() (int64, int64) {
			if resets++; resets > 30 {
				return -1, -1
			}
			return cut.Int64N(60_000), -1
		}
		address, err := wire.Start()
		if err != nil {
			t.Fatal(err)
		}
		s := sender(t, "tcp://"+address, Options{})
		random := rand.New(rand.NewPCG(seed, 0))
		all := events(0, 2000, 100)
		for done := 0; done < len(all); {
			batch := all[done:min(done+1+random.IntN(100), len(all))]
			if _, err := s.Send(t.Context(), batch); err != nil {
				continue // as a shipper does
			}
			done += len(batch)
			// The receiver has read the batch, or the connection that it was sent on has ended.
			if !r.until(&batch[len(batch)-1], s.(*Sender).conn) {
				unnoticed++
			}
		}
		for i := len(all); ; i++ { // a reset may have come after the last batch
			end := events(i, 1, 0)
			if _, err := s.Send(t.Context(), end); err == nil && r.until(&end[0], s.(*Sender).conn) {
				break
			}
		}
		s.Close()
		wire.Close()
		for i := range all {
			if !r.has(&all[i]) {
				t.Errorf("seed %d: event %d of %d is lost", seed, i, len(all))
				break
			}
		}
	}
	if unnoticed == 0 {
		t.Error("no reset destroyed what had been delivered: the test shows nothing")
	}
}

// until returns when an event has come, or the connection ended without that.
func (r *receiver) until(e *ship.Event, c *conn) (came bool) {
	stop := context.AfterFunc(after(c.over), func() {
		r.lock.Lock()
		defer r.lock.Unlock()
		r.changed.Broadcast()
	})
	defer stop()
	r.lock.Lock()
	defer r.lock.Unlock()
	for r.lines[string(e.Body)+"\n"] == 0 && !c.ended() {
		r.changed.Wait()
	}
	return r.lines[string(e.Body)+"\n"] > 0
}

// after returns a context that is done when a channel is closed.
func after(c <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-c
		cancel()
	}()
	return ctx
}

// What was sent long before a connection ended isn't sent again; what is kept is bounded, and whole lines.
func TestSettled(t *testing.T) {
	r := receive(t, loopback(t))
	s := sender(t, "tcp://"+r.Addr().String(), Options{}).(*Sender)
	for i := range 3 {
		if _, err := s.Send(t.Context(), events(i, 1, 0)); err != nil {
			t.Fatal(err)
		}
		r.wait(i + 1)
		if i == 1 {
			s.sent = s.sent.Add(-settled)
		}
		r.hangUp()
		<-s.conn.over
	}
	for i, want := range []int{2, 1, 1} {
		if got := r.lines[string(events(i, 1, 0)[0].Body)+"\n"]; got != want {
			t.Errorf("event %d came %d times, want %d", i, got, want)
		}
	}

	s.remember(events(0, 5000, 1000))
	if len(s.recent) > 2*recentBytes {
		t.Errorf("%d bytes are kept", len(s.recent))
	}
	kept := last(s.recent)
	if n := len(kept); n > recentBytes || n < recentBytes-2000 || !strings.HasPrefix(string(kept), `{"n":`) || !strings.HasSuffix(string(kept), "\n") {
		t.Errorf("%d bytes are sent again: %.20q … %q", n, kept, kept[n-5:])
	}
}

func TestFailover(t *testing.T) {
	down := loopback(t)
	down.Close()
	r := receive(t, loopback(t))
	s := sender(t, "tcp://"+down.Addr().String()+",tcp://"+r.Addr().String(), Options{})
	if _, err := s.Send(t.Context(), events(0, 10, 0)); err != nil {
		t.Fatal(err)
	}
	r.wait(10)

	s = sender(t, "tcp://"+down.Addr().String(), Options{})
	if _, err := s.Send(t.Context(), events(0, 1, 0)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v, want that the connection was refused", err)
	}
}

func TestExplain(t *testing.T) {
	s := &Sender{timeout: time.Second}
	if err := s.explain(io.EOF); err.Error() != "the server closed the connection" {
		t.Error(err)
	}
	if err := s.explain(errStalled); !strings.Contains(err.Error(), "taken nothing for 1s") {
		t.Error(err)
	}
	if err := s.explain(net.ErrClosed); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
