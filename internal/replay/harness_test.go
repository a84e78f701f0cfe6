package replay_test

import (
	"cmp"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/capture/synthetic"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/replay"
	"github.com/culprit-http/culprit/internal/tcp"
)

// wiretap relays connections to a server, and writes down what each side sent, and when.
type wiretap struct {
	listener net.Listener
	server   string
	mu       sync.Mutex
	said     []saying
	conns    [][2]netip.AddrPort
	all      sync.WaitGroup
}

// saying is what a side sent at once; without data, its end.
type saying struct {
	conn int
	side synthetic.Side
	at   int64
	data []byte
}

func newWiretap(t testing.TB, server string) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{listener: l, server: server}
	w.all.Add(1)
	go func() {
		defer w.all.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", server)
			if err != nil {
				c.Close()
				continue
			}
			w.mu.Lock()
			n := len(w.conns)
			w.conns = append(w.conns, [2]netip.AddrPort{c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort()})
			w.mu.Unlock()
			w.all.Add(2)
			go w.pump(n, synthetic.Client, c, s)
			go w.pump(n, synthetic.Server, s, c)
		}
	}()
	t.Cleanup(func() { l.Close() })
	return w
}

func (w *wiretap) pump(n int, side synthetic.Side, from, to net.Conn) {
	defer w.all.Done()
	buf := make([]byte, 64<<10)
	for {
		k, err := from.Read(buf)
		w.mu.Lock()
		w.said = append(w.said, saying{n, side, time.Now().UnixNano(), slices.Clone(buf[:k])})
		w.mu.Unlock()
		if k > 0 {
			to.Write(buf[:k])
		}
		if err != nil {
			to.(*net.TCPConn).CloseWrite()
			return
		}
	}
}

// url is where the server is listened to.
func (w *wiretap) url() string { return "http://" + w.listener.Addr().String() }

// records ends the listening, and gives the packets.
func (w *wiretap) records(t testing.TB) []capture.Record {
	t.Helper()
	w.listener.Close()
	w.all.Wait()
	slices.SortStableFunc(w.said, func(a, b saying) int { return cmp.Compare(a.at, b.at) })
	conns := make([]*synthetic.Conn, len(w.conns))
	var out []capture.Record
	for _, s := range w.said {
		var b synthetic.Batch
		if conns[s.conn] == nil {
			conns[s.conn] = &synthetic.Conn{}
			conns[s.conn].Open(&b, w.conns[s.conn][0], w.conns[s.conn][1], s.at)
		}
		if len(s.data) > 0 {
			conns[s.conn].Data(&b, s.side, s.at, s.data)
		} else {
			conns[s.conn].End(&b, s.side, s.at)
		}
		for _, p := range b.Packets {
			data := b.Bytes[p.From:p.To]
			out = append(out, capture.Record{Time: p.Time, Number: uint64(len(out) + 1), Data: data, WireLen: len(data), Link: synthetic.LinkType})
		}
	}
	return out
}

// memory is a capture.Source of records in memory.
type memory struct {
	records []capture.Record
	at      int
}

func (m *memory) Next(r *capture.Record) error {
	if m.at == len(m.records) {
		return io.EOF
	}
	*r = m.records[m.at]
	m.at++
	return nil
}
func (m *memory) Taps() []capture.Tap { return []capture.Tap{{}} }
func (m *memory) Warnings() []string  { return nil }
func (m *memory) Close() error        { return nil }

// receiver gives exchanges to one function, and chunks to another.
type receiver struct {
	each   func(x *exchange.Exchange) error
	chunks func(c *follow.Chunk) error
}

func (r receiver) Exchanges(done, _ []*exchange.Exchange) error {
	for _, x := range done {
		if err := r.each(x); err != nil {
			return err
		}
	}
	return nil
}
func (r receiver) Idle() error { return nil }
func (r receiver) Chunks(list []follow.Chunk) error {
	for i := range list {
		if err := r.chunks(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// analyse has the pipeline make exchanges of packets.
func analyse(t testing.TB, records []capture.Record, to receiver) {
	t.Helper()
	c := pipeline.Config{
		Workers: 1, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits,
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute, MaxBody: 1 << 20},
	}
	if to.chunks != nil {
		c.Follow = follow.Plain
	}
	if to.each == nil {
		to.each = func(*exchange.Exchange) error { return nil }
	}
	if _, err := pipeline.Run(context.Background(), &memory{records: records}, c, to); err != nil {
		t.Fatal(err)
	}
}

// setup is how a recording is made.
type setup struct {
	selection replay.Selection
	rewrite   replay.Rewrite
	carry     []string
	// change changes exchanges before they are added.
	change func(x *exchange.Exchange)
}

// recordingOf makes a recording of what was heard.
func recordingOf(t testing.TB, w *wiretap, s setup) *replay.Recording {
	t.Helper()
	return recordingFrom(t, w.records(t), s)
}

func recordingFrom(t testing.TB, records []capture.Record, s setup) *replay.Recording {
	t.Helper()
	var rules []replay.Carry
	for _, text := range s.carry {
		c, err := replay.ParseCarry(text)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, c)
	}
	routes, err := measure.NewRoutes(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := replay.NewRecording(s.selection, &s.rewrite, rules, routes, func() (replay.Spool, error) { return newFile(t) })
	analyse(t, records, receiver{each: func(x *exchange.Exchange) error {
		if s.change != nil {
			s.change(x)
		}
		return r.Add(x)
	}})
	r.Prepare()
	return r
}

func newFile(testing.TB) (replay.Spool, error) { return &file{}, nil }

// file is a Spool in memory.
type file struct{ b []byte }

func (f *file) WriteAt(b []byte, at int64) (int, error) {
	f.b = append(f.b[:at], b...)
	return len(b), nil
}

func (f *file) ReadAt(b []byte, at int64) (int, error) { return copy(b, f.b[at:]), nil }

// options are those of a run as fast as possible.
func options(t testing.TB, to string) *replay.Options {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return &replay.Options{To: u, Concurrency: 8, Timeout: 10 * time.Second, HTTP: "auto", Limits: replay.Limits{MaxHead: 64 << 10, MaxBody: 1 << 20}}
}

// run replays a recording, and sums up.
func run(t testing.TB, r *replay.Recording, o *replay.Options) (*replay.Summary, []*replay.Outcome) {
	t.Helper()
	s := replay.NewSummary(&o.Rules, nil)
	var all []*replay.Outcome
	o.Done = func(x *replay.Outcome) error {
		s.Add(x)
		all = append(all, x)
		return nil
	}
	if err := replay.Run(context.Background(), r, o); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	return s, all
}

// serve serves on loopback.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// script is a server that says what it is told, byte by byte, whatever it is asked: each connection gets the next one of the list, or the last.
func script(t testing.TB, talk ...func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Add(1)
			go func() {
				defer all.Done()
				defer c.Close()
				talk[min(n, len(talk)-1)](c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

func newListener() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func discard() *log.Logger { return log.New(io.Discard, "", 0) }
