package pipeline

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// spoken is what one side says at once.
type spoken struct {
	d    proto.Direction
	data []byte
}

// recorder is an end of a connection that writes down what it sends.
type recorder struct {
	net.Conn
	mu   *sync.Mutex
	list *[]spoken
	d    proto.Direction
}

func (r recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	*r.list = append(*r.list, spoken{r.d, bytes.Clone(b)})
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// secured returns what goes over the wire when things are said over TLS, the first by the client, and the keys.
func secured(t *testing.T, name string, says []spoken) (list []spoken, keys []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Unix(4e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	var mu sync.Mutex
	near, far := net.Pipe()
	ends := [2]net.Conn{
		stdtls.Client(recorder{near, &mu, &list, proto.Originator}, &stdtls.Config{ServerName: name, InsecureSkipVerify: true, KeyLogWriter: &log, MinVersion: stdtls.VersionTLS13}),
		stdtls.Server(recorder{far, &mu, &list, proto.Responder}, &stdtls.Config{Certificates: []stdtls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, SessionTicketsDisabled: true}),
	}
	for _, s := range says {
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(ends[s.d.Other()], make([]byte, len(s.data)))
			read <- err
		}()
		if _, err := ends[s.d].Write(s.data); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
	}
	near.Close()
	far.Close()
	return list, log.Bytes()
}

var (
	askInside    = []byte("GET /inside HTTP/1.1\r\nHost: inner.example\r\n\r\n")
	answerInside = []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	inside       = []spoken{{proto.Originator, askInside}, {proto.Responder, answerInside}}
)

// alone returns a shard of its own and what comes of it.
func alone(keys *keylog.Store) (*shard, *exchange.Collector) {
	c := &Config{
		Keys: keys, Memory: 512 << 20, TLS: tls.DefaultLimits(),
		Parser:   proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10},
		Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 300e9},
	}
	out, tap, tally := &exchange.Collector{}, &exchange.Tap{}, newTally()
	return newShard(c, &tally, func(uint32) *exchange.Tap { return tap }, out), out
}

// know makes keys known to a shard.
func (s *shard) know(keys *keylog.Store, lists ...[]byte) {
	for _, l := range lists {
		keys.Add(l)
	}
	s.tls.Publish(tls.State{Generation: keys.Publish(), MayGrow: keys.MayGrow(), None: keys.Empty()})
}

// wantNothingLeft checks that a shard holds nothing.
func (s *shard) wantNothingLeft(t *testing.T) {
	t.Helper()
	under := 0
	for range s.engine.UnderWay() {
		under++
	}
	if s.held != 0 || s.engine.Memory() != 0 || under != 0 {
		t.Errorf("left behind: %d bytes held, %d of exchanges, %d exchanges under way", s.held, s.engine.Memory(), under)
	}
}

// wire is a connection to which a test says what is sent.
type wire struct {
	c     *connection
	facts *proto.Facts
	mark  clock.Mark
	sent  [2]int64
	enc   [2]*hpack.Encoder
	buf   [2]bytes.Buffer
}

func dial(s *shard, f *proto.Flow) *wire {
	w := &wire{facts: &proto.Facts{}, mark: clock.Mark{Time: 1e18}}
	w.c = s.open(f, w.facts).(*connection)
	for d := range w.enc {
		w.enc[d] = hpack.NewEncoder(&w.buf[d])
	}
	return w
}

func (w *wire) send(d proto.Direction, b []byte) {
	w.mark.Packet++
	w.mark.Time += 1e6
	w.mark.Offset, w.mark.Peer = w.sent[d], w.sent[d.Other()]
	w.facts.Half[d].Packets++
	w.facts.Half[d].Bytes += uint64(len(b))
	w.c.Data(d, b, w.mark)
	w.sent[d] += int64(len(b))
}

func (w *wire) say(list []spoken) {
	for _, s := range list {
		w.send(s.d, s.data)
	}
}

func (w *wire) close() {
	w.facts.Why = proto.Finished
	w.c.Close(proto.Originator, w.mark, proto.Finished)
	w.c.Close(proto.Responder, w.mark, proto.Finished)
}

// frame sends what a function writes.
func (w *wire) frame(d proto.Direction, write func(f *http2.Framer) error) {
	var b bytes.Buffer
	if err := write(http2.NewFramer(&b, nil)); err != nil {
		panic(err)
	}
	w.send(d, b.Bytes())
}

// begin begins HTTP/2.
func (w *wire) begin() {
	w.send(proto.Originator, []byte(http2.ClientPreface))
	for d := range proto.Direction(2) {
		w.frame(d, func(f *http2.Framer) error { return f.WriteSettings() })
	}
}

func (w *wire) headers(d proto.Direction, stream uint32, end bool, pairs ...string) {
	w.buf[d].Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = w.enc[d].WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}) // a buffer takes everything
	}
	w.frame(d, func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: w.buf[d].Bytes(), EndHeaders: true, EndStream: end})
	})
}

func (w *wire) data(d proto.Direction, stream uint32, end bool, b []byte) {
	w.frame(d, func(f *http2.Framer) error { return f.WriteData(stream, end, b) })
}

// tunnel has a stream become one.
func (w *wire) tunnel(stream uint32) {
	w.headers(proto.Originator, stream, false, ":method", "CONNECT", ":authority", "inner.example:443")
	w.headers(proto.Responder, stream, false, ":status", "200")
}

// carry has a stream carry what is said.
func (w *wire) carry(stream uint32, list []spoken) {
	for _, s := range list {
		w.data(s.d, stream, false, s.data)
	}
}

// get asks for a path on a stream.
func (w *wire) get(stream uint32, path string) {
	w.headers(proto.Originator, stream, true, ":method", "GET", ":scheme", "http", ":path", path, ":authority", "a.example")
}

// told says in a word each what exchanges were told: protocol, target, name of the TLS server, grade.
func told(out *exchange.Collector) (list []string) {
	for _, x := range out.Done {
		name := "-"
		if x.TLS != nil {
			name = x.TLS.ServerName
		}
		list = append(list, fmt.Sprintf("%s %s %s %s", x.Protocol, x.Request.Bytes(x.Request.Target), name, x.Grade))
	}
	slices.Sort(list)
	return list
}

func wantTold(t *testing.T, out *exchange.Collector, want ...string) {
	t.Helper()
	if got := told(out); !slices.Equal(got, want) {
		t.Errorf("told\n%q, want\n%q", got, want)
	}
}

// A stream that carries TLS ends while its keys are waited for, and the connection goes on: it is neither over when the keys
// have come nor when they haven't.
func TestStreamWaitsForKeys(t *testing.T) {
	list, log := secured(t, "inner.example", inside)
	for _, come := range []bool{false, true} {
		keys := keylog.NewStore(keylog.Options{})
		keys.SetMayGrow(true)
		s, out := alone(keys)
		s.know(keys)
		flow := &proto.Flow{Port: [2]uint16{1111, 80}}
		first := dial(s, flow)
		first.begin()
		first.tunnel(1)
		first.carry(1, list)
		for d := range proto.Direction(2) {
			first.data(d, 1, true, nil)
		}
		if first.c.lingering != 1 {
			t.Fatalf("%d sessions wait", first.c.lingering)
		}
		in := "tls  inner.example undecryptable"
		if come {
			in = "http /inside inner.example complete"
			s.know(keys, log)
		} else {
			s.tls.Tick(100e9)
		}
		if first.c.lingering != 0 || len(s.free) != 0 {
			t.Errorf("%d sessions wait, %d connections are free", first.c.lingering, len(s.free))
		}
		second := dial(s, &proto.Flow{Port: [2]uint16{2222, 80}})
		second.begin()
		first.get(3, "/first")
		first.headers(proto.Responder, 3, true, ":status", "204")
		first.close()
		second.close()
		want := []string{in, "http2 /first - complete", "http2 inner.example:443 - complete"}
		slices.Sort(want)
		wantTold(t, out, want...)
		for _, x := range out.Done {
			if x.Flow != flow {
				t.Error("told of another connection")
			}
		}
		s.wantNothingLeft(t)
	}
}

// TLS sessions on streams are those of their streams alone.
func TestSessionsOfStreams(t *testing.T) {
	one, log1 := secured(t, "one.example", inside)
	two, log2 := secured(t, "two.example", inside)
	keys := keylog.NewStore(keylog.Options{})
	s, out := alone(keys)
	s.know(keys, log1, log2)
	w := dial(s, &proto.Flow{})
	w.begin()
	w.get(3, "/plain")
	w.tunnel(1)
	w.tunnel(5)
	for i := range max(len(one), len(two)) {
		if i < len(one) {
			w.carry(1, one[i:i+1])
		}
		if i < len(two) {
			w.carry(5, two[i:i+1])
		}
	}
	w.headers(proto.Responder, 3, true, ":status", "204")
	w.close()
	wantTold(t, out, "http /inside one.example complete", "http /inside two.example complete",
		"http2 /plain - complete", "http2 inner.example:443 - complete", "http2 inner.example:443 - complete")
	s.wantNothingLeft(t)
}

// What is said over TLS within TLS has the inner session, and neither has a record of its own.
func TestTLSWithinTLS(t *testing.T) {
	inner, log1 := secured(t, "inner.example", inside)
	connect := []spoken{
		{proto.Originator, []byte("CONNECT inner.example:443 HTTP/1.1\r\nHost: inner.example:443\r\n\r\n")}, {proto.Responder, []byte("HTTP/1.1 200 OK\r\n\r\n")},
	}
	for _, c := range []struct {
		before []spoken
		want   []string
	}{
		{connect, []string{"http /inside inner.example complete", "http inner.example:443 proxy.example complete"}},
		{nil, []string{"http /inside inner.example complete"}},
	} {
		outer, log2 := secured(t, "proxy.example", append(c.before, inner...))
		keys := keylog.NewStore(keylog.Options{})
		s, out := alone(keys)
		s.know(keys, log1, log2)
		w := dial(s, &proto.Flow{})
		w.say(outer)
		w.close()
		wantTold(t, out, c.want...)
		s.wantNothingLeft(t)
	}
}

// dsb is a capture in which blocks of secrets come before packets with these numbers, from 0 on.
type dsb struct {
	records []capture.Record
	at      int
	blocks  map[int][]byte
	seen    []capture.Secret
}

func (c *dsb) Next(r *capture.Record) error {
	if b := c.blocks[c.at]; b != nil {
		c.seen = append(c.seen, capture.Secret{Type: secretTLS, Data: b})
		delete(c.blocks, c.at)
	}
	if c.at == len(c.records) {
		return io.EOF
	}
	*r = c.records[c.at]
	c.at++
	return nil
}

func (c *dsb) Taps() []capture.Tap       { return []capture.Tap{{}} }
func (c *dsb) Warnings() []string        { return nil }
func (c *dsb) Close() error              { return nil }
func (c *dsb) Secrets() []capture.Secret { return c.seen }

// tellings takes what is told.
type tellings struct{ exchange.Collector }

func (l *tellings) Exchanges(done, _ []*exchange.Exchange) error {
	l.Done = append(l.Done, done...)
	return nil
}

func (l *tellings) Idle() error { return nil }

// Keys that come behind the packets that need them open the same with any number of workers.
func TestKeysBehindPackets(t *testing.T) {
	list, log := secured(t, "a.example", inside)
	_, other := secured(t, "b.example", inside)
	var pcap bytes.Buffer
	sim := synth.New(&pcap, synth.Options{Nano: true})
	conn := sim.Dial(0, netip.MustParseAddrPort("10.0.0.7:51022"), netip.MustParseAddrPort("10.0.0.2:443"), synth.Path{Client: 10 * time.Microsecond, Server: 10 * time.Microsecond})
	sides := [2]synth.Side{synth.Client, synth.Server}
	for _, s := range list {
		conn.Send(sides[s.d], s.data)
		conn.Recv(sides[s.d.Other()], len(s.data))
	}
	if err := sim.Run(); err != nil {
		t.Fatal(err)
	}
	var records []capture.Record
	le := binary.LittleEndian
	link := capture.LinkType(le.Uint32(pcap.Bytes()[20:]))
	for b := pcap.Bytes()[24:]; len(b) > 0; {
		n := 16 + int(le.Uint32(b[8:]))
		records = append(records, capture.Record{Time: int64(le.Uint32(b))*1e9 + int64(le.Uint32(b[4:])), Number: uint64(len(records) + 1), Data: b[16:n], WireLen: n - 16, Link: link})
		b = b[n:]
	}
	last := len(records) - 1
	for name, c := range map[string]struct {
		blocks map[int][]byte
		want   string
	}{
		"before all":                             {map[int][]byte{0: log}, "http /inside a.example complete"},
		"at the end, and none before":            {map[int][]byte{last: log}, "tls  a.example undecryptable"},
		"at the end, and those of others before": {map[int][]byte{0: other, last: log}, "http /inside a.example complete"},
		"in the middle":                          {map[int][]byte{0: other, last / 2: log}, "http /inside a.example complete"},
	} {
		for _, workers := range []int{1, 2, 8} {
			blocks := map[int][]byte{}
			for at, b := range c.blocks {
				blocks[at] = b
			}
			config := Config{
				Workers: workers, Memory: 512 << 20, Packet: packet.DefaultLimits(), TCP: tcp.DefaultLimits, TLS: tls.DefaultLimits(), Keys: keylog.NewStore(keylog.Options{}),
				Parser: proto.Limits{MaxHead: 1 << 16, MaxFields: 256, MaxStreams: 1000, MaxMessage: 1 << 20, MaxStatement: 16 << 10}, Exchange: exchange.Limits{MaxWaiting: 1000, ExchangeTimeout: 5 * time.Minute},
			}
			l := &tellings{}
			if _, err := Run(context.Background(), &dsb{records: records, blocks: blocks}, config, l); err != nil {
				t.Fatal(err)
			}
			t.Run(fmt.Sprintf("%s, %d workers", name, workers), func(t *testing.T) { wantTold(t, &l.Collector, c.want) })
		}
	}
}

// Exchanges that begin alike on streams of a connection have ids of their own.
func TestIDsInTunnels(t *testing.T) {
	s, out := alone(nil)
	w := dial(s, &proto.Flow{})
	w.begin()
	w.tunnel(1)
	w.tunnel(3)
	for _, said := range inside {
		for _, stream := range []uint32{1, 3} {
			w.mark.Time -= 1e6
			w.carry(stream, []spoken{said})
		}
	}
	w.close()
	seen := map[[exchange.IDSize]byte]bool{}
	for _, x := range out.Done {
		seen[x.ID("")] = true
	}
	if len(out.Done) != 4 || len(seen) != 4 {
		t.Errorf("%d exchanges have %d ids", len(out.Done), len(seen))
	}
}

// What the transport observed during an exchange is told alike whether its keys came before it or long after.
func TestDuringWhenKeysAreLate(t *testing.T) {
	list, log := secured(t, "a.example", inside)
	var told [2][2]exchange.Counts
	for i, late := range []bool{false, true} {
		keys := keylog.NewStore(keylog.Options{})
		keys.SetMayGrow(true)
		s, out := alone(keys)
		s.know(keys)
		if !late {
			s.know(keys, log)
		}
		w := dial(s, &proto.Flow{})
		last := len(list) - 1
		w.say(list[:last])
		w.facts.Half[list[last].d].Retransmits += 3
		w.say(list[last:])
		w.facts.Half[list[last].d].Retransmits += 5 // of what nobody needs any more
		if late {
			s.know(keys, log)
		}
		w.close()
		wantTold(t, out, "http /inside a.example complete")
		told[i] = out.Done[0].During
		if got := told[i][proto.Responder].Retransmits; got != 3 {
			t.Errorf("late %v: %d retransmits, want 3", late, got)
		}
	}
	if told[0] != told[1] {
		t.Errorf("during the exchange %+v, and with late keys %+v", told[0], told[1])
	}
}

// Of the exchange that handed a connection over nothing is kept that the next protocol doesn't need, and what is kept is counted.
func TestUpgradeMemory(t *testing.T) {
	const n, head = 50, 200 << 10
	x := strings.Repeat("x", head)
	for name, c := range map[string]struct {
		ask, answer string
		kept        bool
	}{
		"CONNECT": {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nX: " + x + "\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + x + "\r\n\r\n", false},
		"upgrade": {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nX: " + x + "\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\nX: " + x + "\r\n\r\n", true},
	} {
		s, out := alone(nil)
		live := func() int {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		before := live()
		var all []*wire
		for range n {
			w := dial(s, &proto.Flow{})
			w.send(proto.Originator, []byte(c.ask))
			w.send(proto.Responder, []byte(c.answer))
			all = append(all, w)
			out.Done = nil
		}
		took, counted := (live()-before)/n, (s.held+s.engine.Memory())/n
		if kept := counted > head; kept != c.kept || took > counted*3/2+16<<10 {
			t.Errorf("%s: %d bytes a connection, %d counted", name, took, counted)
		}
		for _, w := range all {
			w.close()
		}
		s.wantNothingLeft(t)
	}
}

// cutFrame is a WebSocket frame of 4096 bytes of which 100 come.
var cutFrame = append([]byte{0x82, 126, 0x10, 0}, make([]byte, 100)...)

// A WebSocket that ends in the midst of a message was aborted.
func TestCutWebSocket(t *testing.T) {
	s, out := alone(nil)
	w := dial(s, &proto.Flow{})
	w.send(proto.Originator, []byte("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	w.send(proto.Responder, []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))
	w.send(proto.Responder, cutFrame)
	w.close()
	wantTold(t, out, "http /ws - complete", "websocket /ws - aborted")
	s.wantNothingLeft(t)
}

// So was one whose stream was reset, within a message or between two; the session has the request that began it.
func TestResetWebSocket(t *testing.T) {
	for _, says := range [][]byte{cutFrame, {0x81, 2, 'h', 'i'}} {
		s, out := alone(nil)
		w := dial(s, &proto.Flow{})
		w.begin()
		w.headers(proto.Originator, 1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/ws", ":authority", "a", "sec-websocket-version", "13")
		w.headers(proto.Responder, 1, false, ":status", "200")
		w.data(proto.Responder, 1, false, says)
		w.frame(proto.Responder, func(f *http2.Framer) error { return f.WriteRSTStream(1, http2.ErrCodeInternal) })
		w.close()
		wantTold(t, out, "http2 /ws - complete", "websocket /ws - aborted")
		s.wantNothingLeft(t)
	}
}

// A tunnel that makes room for other streams ends, with what it carries.
func TestTunnelMakesRoom(t *testing.T) {
	s, out := alone(nil)
	s.detector.Limits = &proto.Limits{MaxHead: 256 << 10, MaxFields: 256, MaxStreams: 2, MaxMessage: 1 << 20, MaxStatement: 16 << 10}
	w := dial(s, &proto.Flow{})
	w.begin()
	w.headers(proto.Originator, 1, false, ":method", "CONNECT", ":authority", "inner.example:80")
	// A loss while the request waits for its answer: the stream's end may have been in it.
	w.mark.Offset = w.sent[proto.Originator]
	w.c.Gap(proto.Originator, 1000, w.mark)
	w.sent[proto.Originator] += 1000
	w.headers(proto.Responder, 1, false, ":status", "200")
	for range 2 { // the first finds the borders of frames again
		w.frame(proto.Originator, func(f *http2.Framer) error {
			if err := f.WriteData(1, false, askInside); err != nil {
				return err
			}
			return f.WritePing(false, [8]byte{})
		})
	}
	for _, stream := range []uint32{3, 5, 7} {
		w.get(stream, "/x")
	}
	if n := s.tls.Counters.Sessions; n != 0 {
		t.Errorf("%d TLS sessions", n)
	}
	w.close()
	if got := told(out); !slices.ContainsFunc(got, func(x string) bool { return strings.HasPrefix(x, "http /inside") }) {
		t.Errorf("nothing is told of what the tunnel carried: %q", got)
	}
	s.wantNothingLeft(t)
}

// What TLS carries begins when one side has already ended, and is told with nothing left behind.
func TestInnerAfterAnEnd(t *testing.T) {
	list, log := secured(t, "a.example", []spoken{{proto.Originator, []byte("x")}, {proto.Responder, answerInside}})
	keys := keylog.NewStore(keylog.Options{})
	s, out := alone(keys)
	s.know(keys, log)
	w := dial(s, &proto.Flow{})
	said := len(list) - 2 // what the client says
	w.say(list[:said])
	w.c.Close(proto.Originator, w.mark, proto.Finished)
	w.say(list[said+1:])
	w.c.Close(proto.Responder, w.mark, proto.Finished)
	if len(out.Done) != 1 || out.Done[0].Protocol != "http" {
		t.Errorf("told %q", told(out))
	}
	s.wantNothingLeft(t)
}
