package beats

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lumberjack "github.com/elastic/go-lumber/client/v2"
	"github.com/elastic/go-lumber/lj"
	lumber "github.com/elastic/go-lumber/server/v2"

	"github.com/culprit-http/culprit/internal/endpoint"
	"github.com/culprit-http/culprit/internal/endpoint/stream/streamtest"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/ship"
)

// go-lumber's server logs what happens to connections.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// events returns n events, whose bodies a decoder and encoder would change.
func events(n int) (all []ship.Event) {
	for i := range n {
		e := ship.Event{Body: fmt.Appendf(nil, `{"n":%d, "f":1.50, "big":12345678901234567890, "dup":1,"dup":2,"u":"<\u00e9>"}`, i)}
		binary.BigEndian.PutUint64(e.ID[8:], uint64(i)+1)
		all = append(all, e)
	}
	return all
}

func id(e *ship.Event) string { return string(exchange.AppendID(nil, e.ID)) }

// body returns what an event looks like at the server.
func body(e *ship.Event, beat string) string {
	return fmt.Sprintf(`{"@metadata":{"beat":%q,"type":"_doc","version":"1.2.3","_id":%q},%s`, beat, id(e), e.Body[1:])
}

// server is go-lumber's. It keeps what it got by id, before it acknowledges.
type server struct {
	address string
	lock    sync.Mutex
	got     map[string]string
	copies  int
	windows []int
	// refuse, if set, says of which batches nothing is acknowledged.
	refuse func(n int) bool
	// closes, if set, says on which documents connections are closed.
	closes func(document string) bool
	// received is told of each batch, if there is room.
	received chan struct{}
}

func serve(t *testing.T, l net.Listener, options ...lumber.Option) *server {
	t.Helper()
	s := &server{address: l.Addr().String(), got: map[string]string{}, received: make(chan struct{}, 1)}
	raw := func(b []byte, v any) error {
		if !json.Valid(b) {
			return fmt.Errorf("not JSON: %q", b)
		}
		if s.closes != nil && s.closes(string(b)) {
			return errors.New("it can't be parsed")
		}
		*v.(*any) = string(b)
		return nil
	}
	in, err := lumber.NewWithListener(l, append(options, lumber.JSONDecoder(raw))...)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for b := range in.ReceiveChan() {
			if s.take(b) {
				b.ACK()
			}
			select {
			case s.received <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() { in.Close() })
	return s
}

func (s *server) take(b *lj.Batch) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.windows = append(s.windows, len(b.Events))
	if s.refuse != nil && s.refuse(len(b.Events)) {
		return false
	}
	for _, e := range b.Events {
		var d struct {
			Metadata struct {
				ID string `json:"_id"`
			} `json:"@metadata"`
		}
		if json.Unmarshal([]byte(e.(string)), &d) != nil {
			return false
		}
		if _, ok := s.got[d.Metadata.ID]; ok {
			s.copies++
		}
		s.got[d.Metadata.ID] = e.(string)
	}
	return true
}

// check wants these events at the server, byte for byte, and no other.
func (s *server) check(t *testing.T, all []ship.Event) {
	t.Helper()
	s.lock.Lock()
	defer s.lock.Unlock()
	if len(s.got) != len(all) {
		t.Errorf("the server has %d events, want %d", len(s.got), len(all))
	}
	for i := range all {
		if got, want := s.got[id(&all[i])], body(&all[i], "culprit"); got != want {
			t.Fatalf("event %d is\n%s\nwant\n%s", i, got, want)
		}
	}
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func sender(t *testing.T, target string, o Options) *Sender {
	t.Helper()
	o.Version = "1.2.3"
	senders, err := New(target, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := senders()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s.(*Sender)
}

// Windows double up to the largest; bodies come unchanged.
func TestWindows(t *testing.T) {
	for _, compression := range []int{0, 9, NoCompression} {
		s := serve(t, loopback(t))
		c := sender(t, "tcp://"+s.address, Options{Compression: compression, Window: 300})
		all := events(1500)
		if result, err := c.Send(t.Context(), all); err != nil || result.Delivered != len(all) {
			t.Fatalf("%+v, %v", result, err)
		}
		s.check(t, all)
		if want := []int{64, 128, 256, 300, 300, 300, 152}; !slices.Equal(s.windows, want) {
			t.Errorf("windows of %d events, want %d", s.windows, want)
		}
	}
}

// A window isn't larger than its limit in bytes.
func TestLargeEvents(t *testing.T) {
	s := serve(t, loopback(t))
	c := sender(t, "tcp://"+s.address, Options{Compression: NoCompression})
	all := events(8)
	for i := range all {
		size := windowBytes * 2 / 5
		if i == 5 {
			size = 2 * windowBytes
		}
		all[i].Body = fmt.Appendf(nil, `{"x":"%s"}`, strings.Repeat("x", size))
	}
	all[7].Body = []byte("{}")
	if _, err := c.Send(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if want := []int{2, 2, 1, 1, 2}; !slices.Equal(s.windows, want) {
		t.Errorf("windows of %d events, want %d", s.windows, want)
	}
	if got, want := s.got[id(&all[7])], `{"@metadata":{"beat":"culprit","type":"_doc","version":"1.2.3","_id":"`+id(&all[7])+`"}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	all[0].Body = nil
	if _, err := c.Send(t.Context(), all[:1]); err == nil || !strings.Contains(err.Error(), "isn't a JSON object") {
		t.Errorf("%v for an event that is none", err)
	}
}

func TestTLS(t *testing.T) {
	ca, err := streamtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	config, err := ca.Server(true, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Sign("agent")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, streamtest.Secure(loopback(t), config))
	c := sender(t, "tls://"+s.address, Options{Endpoint: endpoint.Options{TLS: endpoint.TLS{CA: ca.PEM, Cert: cert, Key: key}}})
	all := events(500)
	if _, err := c.Send(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	s.check(t, all)
}

// Through a wire that breaks at random places: what Send says is delivered is there when it says so, and in the end each event is,
// whatever was sent how often.
func TestResets(t *testing.T) {
	var copies, partly int
	for seed := range uint64(10) {
		s := serve(t, loopback(t), lumber.Keepalive(time.Millisecond))
		cut := rand.New(rand.NewPCG(seed, 1))
		wire := &streamtest.Wire{To: s.address, Cut: func() (int64, int64) {
			switch cut.IntN(4) {
			case 0:
				return 0, 0
			case 1:
				return cut.Int64N(60_000), -1
			case 2:
				return -1, cut.Int64N(60)
			}
			return 20_000 + cut.Int64N(60_000), 60 + cut.Int64N(60)
		}}
		address, err := wire.Start()
		if err != nil {
			t.Fatal(err)
		}
		c := sender(t, "tcp://"+address+",tcp://"+address, Options{Compression: NoCompression, Window: 100})
		all := events(1500)
		random := rand.New(rand.NewPCG(seed, 0))
		for done := 0; done < len(all); {
			batch := all[done:min(done+1+random.IntN(1000), len(all))]
			result, err := c.Send(t.Context(), batch)
			if err == nil && result.Delivered != len(batch) {
				t.Fatalf("seed %d: %+v of %d events, without an error", seed, result, len(batch))
			}
			if result.Delivered > 0 && err != nil {
				partly++
			}
			s.lock.Lock()
			for i := range batch[:result.Delivered] {
				if _, ok := s.got[id(&batch[i])]; !ok {
					t.Fatalf("seed %d: event %d is said to be delivered, but isn't there", seed, done+i)
				}
			}
			s.lock.Unlock()
			done += result.Delivered
		}
		s.check(t, all)
		copies += s.copies
		c.Close()
		wire.Close()
	}
	if copies == 0 || partly == 0 {
		t.Errorf("%d events came again, %d batches were delivered in part: the test shows nothing", copies, partly)
	}
}

// A server that hangs up on an idle connection isn't worth an error.
func TestClosedBetweenBatches(t *testing.T) {
	s := serve(t, loopback(t))
	all := events(20)
	var last net.Conn
	c := sender(t, "tcp://"+s.address, Options{Endpoint: endpoint.Options{Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		near, far := net.Pipe()
		to, err := net.Dial(network, address)
		if err != nil {
			return nil, err
		}
		last = far
		go func() { io.Copy(to, far); to.Close() }()
		go func() { io.Copy(far, to); far.Close() }()
		return near, nil
	}}})
	for i := range all {
		if _, err := c.Send(t.Context(), all[i:i+1]); err != nil {
			t.Fatal(err)
		}
		last.Close()
	}
	s.check(t, all)
}

// A server that acknowledges too late gets smaller windows.
func TestShrink(t *testing.T) {
	s := serve(t, loopback(t), lumber.Keepalive(0))
	s.refuse = func(n int) bool { return n > 10 }
	c := sender(t, "tcp://"+s.address, Options{Timeout: 50 * time.Millisecond})
	all := events(100)
	for done, failed := 0, 0; done < len(all); {
		result, err := c.Send(t.Context(), all[done:])
		if done += result.Delivered; err == nil {
			break
		}
		if failed++; failed > 100 || !strings.Contains(err.Error(), "silent for 50ms") {
			t.Fatalf("%d times: %v", failed, err)
		}
	}
	s.check(t, all)
	if want := []int{64, 32, 16, 8}; !slices.Equal(s.windows[:4], want) {
		t.Errorf("windows of %d events, want %d first", s.windows, want)
	}
}

// An event on which the server closes the connection is set aside, once others are known to be taken. Nothing else is.
func TestPoison(t *testing.T) {
	l := loopback(t)
	s := serve(t, l)
	all := events(100)
	poison := map[int]bool{0: true, 41: true, 42: true, 99: true}
	s.closes = func(document string) bool {
		for i := range poison {
			if strings.Contains(document, id(&all[i])) {
				return true
			}
		}
		return false
	}
	c := sender(t, "tcp://"+s.address, Options{})
	var rejected []string
	attempts := 0
	for left := slices.Clone(all); len(left) > 1; { // the last one has no other beside it
		if attempts++; attempts > 1000 {
			t.Fatalf("%d events are left", len(left))
		}
		result, err := c.Send(t.Context(), left)
		for _, r := range result.Rejected {
			rejected = append(rejected, id(&left[r.Index]))
		}
		if err != nil {
			left = left[result.Delivered:]
			continue
		}
		var retry []ship.Event
		for _, i := range result.Retry {
			retry = append(retry, left[i])
		}
		left = retry
	}
	want := []string{id(&all[0]), id(&all[41]), id(&all[42])}
	if !slices.Equal(rejected, want) || len(s.got) != len(all)-len(poison) {
		t.Errorf("%d events are set aside, %v, and %d delivered; want %v and %d", len(rejected), rejected, len(s.got), want, len(all)-len(poison))
	}
}

// Only one event is suspected: that on which, alone, the connection was closed each time.
func TestSuspicious(t *testing.T) {
	all := events(2)
	s := &Sender{}
	for i, c := range []struct {
		event, window, acknowledged int
		err                         error
		struck                      int
	}{
		{0, 1, 0, io.EOF, 1}, {0, 1, 0, io.ErrClosedPipe, 2}, {1, 1, 0, io.EOF, 1}, {1, 1, 0, io.EOF, 2}, {1, 2, 0, io.EOF, 0},
		{1, 1, 0, io.EOF, 1}, {1, 1, 0, os.ErrDeadlineExceeded, 0}, {1, 1, 0, io.EOF, 1}, {1, 1, 1, io.EOF, 0},
		{0, 1, 0, io.EOF, 1}, {0, 1, 0, lumberjack.ErrProtocolError, 0},
	} {
		s.batch = make([]any, c.window)
		if s.suspicious(&all[c.event], c.acknowledged, c.err); s.struck != c.struck || c.struck > 0 && s.suspect != all[c.event].ID {
			t.Errorf("step %d: struck %d times, want %d", i, s.struck, c.struck)
		}
	}
}

// While a server takes nothing at all, no event is to blame.
func TestNoPoison(t *testing.T) {
	c := sender(t, "tcp://"+answer(t, nil, false), Options{})
	all := events(10)
	for range 50 {
		if result, err := c.Send(t.Context(), all); err == nil || result.Delivered != 0 || result.Rejected != nil {
			t.Fatalf("%+v, %v", result, err)
		}
	}
}

// Nor is one when the server comes back while an event is suspected.
func TestBackFromOutage(t *testing.T) {
	s := serve(t, loopback(t))
	var down atomic.Bool
	down.Store(true)
	wire := &streamtest.Wire{To: s.address, Cut: func() (int64, int64) {
		if down.Load() {
			return 5, -1
		}
		return -1, -1
	}}
	address, err := wire.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	c := sender(t, "tcp://"+address, Options{Window: 1})
	all := events(5)
	for i := range strikes {
		if _, err := c.Send(t.Context(), all); err == nil || c.struck != i+1 {
			t.Fatalf("%v, struck %d times, want %d", err, c.struck, i+1)
		}
	}
	down.Store(false)
	result, err := c.Send(t.Context(), all)
	if err != nil || result.Rejected != nil || len(result.Retry) != len(all)-2 || len(s.got) != 2 {
		t.Errorf("%+v, %v, and the server has %d events", result, err, len(s.got))
	}
	for _, i := range result.Retry {
		if _, ok := s.got[id(&all[i])]; ok || i == 0 {
			t.Errorf("event %d is to be sent again, and was delivered", i)
		}
	}
}

// A server that says forever that it is at work is left in the end; ctx ends it at once.
func TestAtWork(t *testing.T) {
	s := serve(t, loopback(t), lumber.Keepalive(time.Millisecond))
	s.refuse = func(int) bool { return true }
	c := sender(t, "tcp://"+s.address, Options{Patience: 50 * time.Millisecond})
	if result, err := c.Send(t.Context(), events(1)); err == nil || result.Delivered != 0 || !strings.Contains(err.Error(), "acknowledged nothing for 50ms") {
		t.Errorf("%+v, %v", result, err)
	}

	<-s.received
	ctx, cancel := context.WithCancel(t.Context())
	c = sender(t, "tcp://"+s.address, Options{})
	go func() { <-s.received; cancel() }()
	if result, err := c.Send(ctx, events(1)); !errors.Is(err, context.Canceled) || result.Delivered != 0 {
		t.Errorf("%+v, %v; want that of ctx", result, err)
	}
}

// answer runs a server that says something on each connection, and then closes or keeps it.
func answer(t *testing.T, text []byte, keep bool) string {
	t.Helper()
	l := loopback(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.ReadFull(c, make([]byte, 6)) // the size of the window
				c.Write(text)
				if !keep {
					c.(*net.TCPConn).CloseWrite()
				}
				io.Copy(io.Discard, c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestAnswers(t *testing.T) {
	ack := func(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte("2A"), n) }
	for _, c := range []struct {
		name      string
		text      []byte
		delivered int
		want      string
	}{
		{"of some", ack(3), 3, "closed the connection before it had acknowledged"},
		{"of some, and that it is at work", append(ack(3), ack(0)...), 3, "closed the connection"},
		{"of more than there are", ack(11), 0, "acknowledged 11 events of a window of 10"},
		{"of far more than there are", ack(1<<32 - 1), 0, "protocol error"},
		{"of the first version", []byte("1A\x00\x00\x00\x0a"), 0, "is there a Beats input"},
		{"of a web server", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), 0, "is there a Beats input"},
		{"none", nil, 0, "closed the connection"},
		{"half of one", ack(10)[:5], 0, "closed the connection"},
		{"one by one", bytes.Join([][]byte{ack(1), ack(2), ack(2), ack(9), ack(10)}, nil), 10, ""},
	} {
		s := sender(t, "tcp://"+answer(t, c.text, false), Options{})
		result, err := s.Send(t.Context(), events(10))
		if result.Delivered != c.delivered || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %d, %q", c.name, result, err, c.delivered, c.want)
		}
	}
	s := sender(t, "tcp://"+answer(t, ack(3), true), Options{Timeout: 50 * time.Millisecond})
	if result, err := s.Send(t.Context(), events(10)); result.Delivered != 3 || err == nil || !strings.Contains(err.Error(), "silent for 50ms") {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestFailover(t *testing.T) {
	s := serve(t, loopback(t))
	c := sender(t, "tcp://"+answer(t, nil, false)+",tcp://"+s.address, Options{Index: "web"})
	all := events(5)
	if result, err := c.Send(t.Context(), all); err == nil || result.Delivered != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if result, err := c.Send(t.Context(), all); err != nil || result.Delivered != len(all) {
		t.Errorf("%+v, %v", result, err)
	}
	if got, want := s.got[id(&all[0])], body(&all[0], "web"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Window: -1}, "window: -1"}, {Options{Window: MaxWindow + 1}, "1 to 65536"},
		{Options{Compression: 10}, "compression: 10"}, {Options{Compression: -2}, "compression: -2"},
	} {
		if _, err := New("tcp://a", c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	if s := sender(t, "tcp://a", Options{}); s.dialer.Address() != "a:5044" {
		t.Errorf("it is at %s", s.dialer.Address())
	}
}

// BenchmarkSend measures windows of documents of 1.5 KB into a server that reads and acknowledges, on the same machine.
func BenchmarkSend(b *testing.B) {
	for _, level := range []int{NoCompression, 1, DefaultCompression} {
		b.Run(fmt.Sprint("level=", level), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			in, err := lumber.NewWithListener(l, lumber.JSONDecoder(func([]byte, any) error { return nil }))
			if err != nil {
				b.Fatal(err)
			}
			defer in.Close()
			go func() {
				for batch := range in.ReceiveChan() {
					batch.ACK()
				}
			}()
			senders, err := New("tcp://"+l.Addr().String(), Options{Compression: level})
			if err != nil {
				b.Fatal(err)
			}
			s, err := senders()
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			all := events(DefaultWindow)
			for i := range all {
				all[i].Body = fmt.Appendf(nil, `{"n":%d`, i)
				for field := range 50 {
					all[i].Body = fmt.Appendf(all[i].Body, `,"culprit.field.%d":"%d"`, field, i*7919+field)
				}
				all[i].Body = append(all[i].Body, '}')
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Send(b.Context(), all); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*len(all))/b.Elapsed().Seconds(), "events/s")
		})
	}
}
