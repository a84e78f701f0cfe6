package pcapng

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
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

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/synth"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// spoken is what one end of a TLS connection sent at a time.
type spoken struct {
	side synth.Side
	b    []byte
}

// conversations are TLS connections that were spoken by Go's own TLS, one request and answer after the other.
type conversations struct {
	mu     sync.Mutex
	spoken []spoken
	keys   bytes.Buffer
}

// end is one end of a connection, whose writes are noted.
type end struct {
	net.Conn
	to   *conversations
	side synth.Side
}

func (e *end) Write(b []byte) (int, error) {
	e.to.mu.Lock()
	e.to.spoken = append(e.to.spoken, spoken{e.side, bytes.Clone(b)})
	e.to.mu.Unlock()
	return e.Conn.Write(b)
}

// Write implements io.Writer for the key log.
func (c *conversations) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys.Write(b)
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.example"}, NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// speak has a client ask for targets, and returns what went over the wire, the key log, and the client random.
func speak(t *testing.T, version uint16, targets ...string) (all []spoken, keys string, random [32]byte) {
	t.Helper()
	c := &conversations{}
	left, right := net.Pipe()
	done := make(chan error, 1)
	go func() {
		server := tls.Server(&end{right, c, synth.Server}, &tls.Config{Certificates: []tls.Certificate{certificate()}, SessionTicketsDisabled: true})
		b := make([]byte, 4096)
		for range targets {
			if _, err := server.Read(b); err != nil {
				done <- err
				return
			}
			if _, err := server.Write(answer(200, 100)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	client := tls.Client(&end{left, c, synth.Client}, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, KeyLogWriter: c})
	b := make([]byte, len(answer(200, 100)))
	for _, target := range targets {
		if _, err := client.Write(get(target)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	random, ok := clientHello(c.spoken[0].b)
	if !ok {
		t.Fatalf("that is no ClientHello: %x", c.spoken[0].b)
	}
	return c.spoken, c.keys.String(), random
}

// tlsConn is a connection of a capture.
type tlsConn struct {
	keys   string
	random [32]byte
	// requests and answers are the numbers of the packets that have them.
	requests, answers []uint64
}

// converse makes a capture of TLS connections, one after the other, and returns it with the key log of each.
func converse(t *testing.T, version uint16, connections int, targets ...string) (src []capture.Record, conns []tlsConn) {
	t.Helper()
	var out bytes.Buffer
	s := synth.New(&out, synth.Options{Nano: true})
	for n := range connections {
		all, keys, random := speak(t, version, targets...)
		conns = append(conns, tlsConn{keys: keys, random: random})
		client := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(50000+n))
		c := s.Dial(time.Duration(n)*10*time.Second, client, netip.MustParseAddrPort("10.0.0.2:443"), synth.Path{Client: time.Millisecond, Server: time.Millisecond})
		for _, p := range all {
			c.Send(p.side, p.b)
			c.Recv(1-p.side, len(p.b))
		}
		quit(c)
	}
	if err := s.Run(); err != nil {
		t.Fatal(err)
	}
	src = records(t, out.Bytes())
	f := feeding{t: t, r: New([]File{sink{}}, Options{}), decoder: packet.NewDecoder(packet.DefaultLimits()), flows: map[packet.Flow]*fed{}}
	for _, rec := range src {
		f.packet(rec)
	}
	f.r.Close()
	for _, c := range f.flows {
		conn := &conns[c.flow.Port[0]-50000]
		conn.requests, conn.answers = c.client[len(c.client)-len(targets):], c.server[len(c.server)-len(targets):]
	}
	return src, conns
}

// feeding gives records to a recorder as the pipeline does.
type feeding struct {
	t       *testing.T
	r       *Recorder
	decoder *packet.Decoder
	flows   map[packet.Flow]*fed
}

// fed is a connection that was given to a recorder. client and server are the numbers of the packets with data.
type fed struct {
	flow           proto.Flow
	client, server []uint64
}

func feed(t *testing.T, files []File, o Options) *feeding {
	return &feeding{t: t, r: New(files, o), decoder: packet.NewDecoder(packet.DefaultLimits()), flows: map[packet.Flow]*fed{}}
}

func (f *feeding) packet(rec capture.Record) *fed {
	f.t.Helper()
	var p packet.Packet
	if f.decoder.Decode(&p, &rec) != packet.Decoded {
		f.t.Fatal("not decoded")
	}
	key, _ := p.Key()
	f.r.Packet(&rec, &p, &key)
	c := f.flows[key]
	if c == nil {
		c = &fed{flow: proto.Flow{Addr: [2]packet.Addr{p.Src, p.Dst}, Port: [2]uint16{p.SrcPort, p.DstPort}, Proto: p.Proto}}
		c.flow.First.Packet = rec.Number
		f.flows[key] = c
	}
	switch {
	case p.PayloadLen == 0:
	case p.SrcPort == c.flow.Port[0]:
		c.client = append(c.client, rec.Number)
	default:
		c.server = append(c.server, rec.Number)
	}
	return c
}

// exchange is one of a connection.
func (c *fed) exchange(of tlsConn, index int) *exchange.Exchange {
	x := &exchange.Exchange{
		Flow: &c.flow, Index: uint32(index), Number: uint64(index) + 1,
		FirstPacket: of.requests[index], LastPacket: of.answers[index], TLS: &proto.TLS{Random: of.random, HasRandom: true},
	}
	x.Completed.Time = int64(x.LastPacket)
	return x
}

func store(lines ...string) *keylog.Store {
	s := keylog.NewStore(keylog.Options{})
	s.Add([]byte(strings.Join(lines, "")))
	return s
}

// wanted are the lines of a key log that are needed.
func wanted(keys string) (all []string) {
	for line := range strings.Lines(keys) {
		if !strings.HasPrefix(line, "EXPORTER") {
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

// order shows the blocks of a file behind the descriptions: K and the sessions whose secrets a block has, H for a ClientHello, p
// for another packet.
func order(t *testing.T, file []byte, conns []tlsConn) string {
	t.Helper()
	var s strings.Builder
	for _, b := range blocks(t, file) {
		switch b.kind {
		case blockPacket:
			if slices.ContainsFunc(conns, func(c tlsConn) bool { return bytes.Contains(b.body, c.random[:]) }) {
				s.WriteByte('H')
			} else {
				s.WriteByte('p')
			}
		case blockSecrets:
			if kind := binary.LittleEndian.Uint32(b.body); kind != 0x544c534b {
				t.Errorf("secrets of kind %x", kind)
			}
			lines := string(b.body[8 : 8+binary.LittleEndian.Uint32(b.body[4:])])
			s.WriteByte('K')
			found := false
			for i, c := range conns {
				if slices.Equal(wanted(lines), wanted(c.keys)) {
					found = true
					fmt.Fprint(&s, i)
				}
			}
			if !found {
				t.Errorf("secrets of nobody, or not all:\n%s", lines)
			}
		}
	}
	return s.String()
}

func TestSecretsBeforeTheHello(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		src, conns := converse(t, version, 2, "/a")
		var d disk
		// A third session isn't in the capture.
		_, stranger, _ := speak(t, version, "/b")
		f := feed(t, []File{&d}, Options{Keys: store(conns[0].keys, conns[1].keys, stranger)})
		for i, rec := range src {
			c := f.packet(rec)
			if bytes.Contains(rec.Data, conns[0].random[:]) {
				f.packet(rec) // once more: it was sent again
			}
			if i == len(src)-1 {
				if err := f.r.Flush(); err != nil {
					t.Fatal(err)
				}
				awaitWritten(f.r, uint64(len(src)+1))
				if err := f.r.Exchange(c.exchange(conns[1], 0)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := closeOf(t, f.r); err != nil {
			t.Fatal(err)
		}
		got := order(t, d.data, conns)
		if strings.Count(got, "K") != 2 || !strings.Contains(got, "pK0HH") || !strings.Contains(got, "pK1H") {
			t.Errorf("%x: %s", version, got)
		}
		if !strings.Contains(blocks(t, d.data)[0].options[optionComment][0], "with the keys") {
			t.Error("the file doesn't say that it has keys")
		}
		if n := f.r.Counters().Secrets; n != 2 {
			t.Error(n)
		}
	}
}

// Keys that come when the handshake is under way come before it, although the writer was told to write.
func TestSecretsThatComeLater(t *testing.T) {
	src, conns := converse(t, tls.VersionTLS13, 1, "/a")
	keys := store()
	keys.SetMayGrow(true)
	var d disk
	f := feed(t, []File{&d}, Options{Keys: keys, Live: true})
	n := uint64(0)
	for i, rec := range src {
		f.packet(rec)
		if bytes.Contains(rec.Data, conns[0].random[:]) {
			n = uint64(i)
		}
	}
	if err := f.r.Flush(); err != nil {
		t.Fatal(err)
	}
	awaitWritten(f.r, n) // what came before the ClientHello doesn't wait
	// The keys come in two parts.
	lines := strings.SplitAfter(conns[0].keys, "\n")
	keys.Add([]byte(strings.Join(lines[:2], "")))
	if err := f.r.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := f.r.Counters().Secrets; n != 0 {
		t.Errorf("%d sessions were written with a part of their keys", n)
	}
	keys.Add([]byte(strings.Join(lines[2:], "")))
	if err := f.r.Flush(); err != nil {
		t.Fatal(err)
	}
	awaitWritten(f.r, uint64(len(src))) // before the end
	if err := closeOf(t, f.r); err != nil {
		t.Fatal(err)
	}
	if got := order(t, d.data, conns); strings.Count(got, "K") != 1 || !strings.Contains(got, "pK0Hp") {
		t.Errorf("%s", got)
	}
	got, _ := read(t, d.data)
	same(t, got, src)
}

// awaitWritten waits until so many packets are written. It fails by taking forever.
func awaitWritten(r *Recorder, n uint64) {
	for r.Counters().Written < n {
		runtime.Gosched()
	}
}

// Nothing waits for keys for ever, nor when memory is short; what comes later goes with the next packet, or to the end.
func TestSecretsThatComeTooLate(t *testing.T) {
	src, conns := converse(t, tls.VersionTLS13, 1, "/a")
	for name, end := range map[string]func(f *feeding) (more uint64){
		"time": func(f *feeding) uint64 {
			f.r.mu.Lock()
			defer f.r.mu.Unlock()
			f.r.secrets.awaited[0].until = time.Time{}
			return 0
		},
		"memory": func(f *feeding) uint64 {
			const more = minMemory / pageCost
			for range more {
				f.r.Packet(&src[0], nil, nil)
			}
			return more
		},
	} {
		for _, before := range []bool{true, false} {
			keys := store()
			keys.SetMayGrow(true)
			var d disk
			f := feed(t, []File{&d}, Options{Keys: keys, Memory: minMemory})
			var c *fed
			for _, rec := range src[:len(src)-1] {
				c = f.packet(rec)
			}
			n := end(f) + uint64(len(src)-1)
			if err := f.r.Flush(); err != nil {
				t.Fatal(err)
			}
			awaitWritten(f.r, n)
			keys.Add([]byte(conns[0].keys))
			if err := f.r.Exchange(c.exchange(conns[0], 0)); err != nil {
				t.Fatal(err)
			}
			want := "pK0"
			if before {
				f.packet(src[len(src)-1])
				want = "pK0p"
			}
			if err := closeOf(t, f.r); err != nil {
				t.Fatal(err)
			}
			if got := order(t, d.data, conns); strings.Count(got, "K") != 1 || !strings.HasSuffix(got, want) {
				t.Errorf("%s: %s, want it to end with %s", name, got[max(0, len(got)-100):], want)
			}
		}
	}
}

// A flood of ClientHellos for which there are no keys stays within its limits, and delays nothing for long.
func TestFloodOfSessions(t *testing.T) {
	src, conns := converse(t, tls.VersionTLS13, 1, "/a")
	hello := src[slices.IndexFunc(src, func(r capture.Record) bool { return bytes.Contains(r.Data, conns[0].random[:]) })]
	at := bytes.Index(hello.Data, conns[0].random[:])
	for _, matched := range []bool{false, true} {
		keys := store()
		keys.SetMayGrow(true)
		var d disk
		f := feed(t, []File{&d}, Options{Keys: keys, Memory: minMemory, Matched: matched})
		for n := range uint64(3 * maxAwaited) {
			rec := hello
			rec.Number = n + 1
			rec.Data = bytes.Clone(hello.Data)
			binary.BigEndian.PutUint64(rec.Data[at:], n)
			binary.BigEndian.PutUint32(rec.Data[14+20+4:], uint32(n)<<12) // the sequence number: it is new
			f.packet(rec)
			if s := &f.r.secrets; len(s.awaited) > maxAwaited {
				t.Fatalf("%d sessions are awaited", len(s.awaited))
			}
			for _, c := range f.r.flows.all {
				if len(c.sessions) > maxConnSessions {
					t.Fatalf("%d sessions of a connection", len(c.sessions))
				}
			}
		}
		if err := closeOf(t, f.r); err != nil {
			t.Fatal(err)
		}
		if c := f.r.Counters(); !matched && c.Written != 3*maxAwaited || c.Secrets != 0 {
			t.Errorf("%+v", c)
		}
	}
}

// Secrets that wait to be written have their share of the memory. What is beyond it is counted.
func TestRoomForSecrets(t *testing.T) {
	src, conns := converse(t, tls.VersionTLS12, 1, "/a")
	rec := src[slices.IndexFunc(src, func(r capture.Record) bool { return bytes.Contains(r.Data, conns[0].random[:]) })]
	at := bytes.Index(rec.Data, conns[0].random[:])
	const n, known = 1000, "CLIENT_RANDOM %016x%048x %096x\n"
	keys := store()
	gate := make(chan struct{})
	d := disk{gate: gate}
	f := feed(t, []File{&d}, Options{Keys: keys, Live: true, Memory: minMemory})
	for i := range uint64(n) {
		keys.Add(fmt.Appendf(nil, known, i, 0, i))
		rec.Number, rec.Data = i+1, bytes.Clone(rec.Data)
		clear(rec.Data[at : at+32])
		binary.BigEndian.PutUint64(rec.Data[at:], i)
		f.packet(rec)
		f.r.mu.Lock()
		if s := &f.r.secrets; s.size > s.limit || s.limit > minMemory/4 {
			t.Fatalf("secrets take %d bytes of %d", s.size, s.limit)
		}
		f.r.mu.Unlock()
	}
	close(gate)
	if err := closeOf(t, f.r); err != nil {
		t.Fatal(err)
	}
	c := f.r.Counters()
	if c.Keyless == 0 || c.Keyless+c.Secrets != n || !strings.Contains(f.r.Lost(), fmt.Sprintf("keys of %d connections", c.Keyless)) {
		t.Errorf("%+v, %q", c, f.r.Lost())
	}
}

// Of the connections of exchanges that were selected, all is written from the beginning on, with their keys; of others, nothing.
func TestSecretsOfSelectedExchanges(t *testing.T) {
	src, conns := converse(t, tls.VersionTLS13, 3, "/a", "/b", "/c")
	for _, selected := range [][]uint32{{0}, {1}, {0, 2}, {2}} {
		var d disk
		f := feed(t, []File{&d}, Options{Matched: true, Keys: store(conns[0].keys, conns[1].keys, conns[2].keys)})
		var want []capture.Record
		var mine []capture.Record
		for _, rec := range src {
			c := f.packet(rec)
			n := int(c.flow.Port[0] - 50000)
			if n == 1 {
				mine = append(mine, rec)
			}
			index := slices.Index(conns[n].answers, rec.Number)
			if index < 0 {
				continue
			}
			x := c.exchange(conns[n], index)
			if n == 1 && slices.Contains(selected, x.Index) {
				if err := f.r.Exchange(x); err != nil {
					t.Fatal(err)
				}
				want = slices.Clone(mine)
			} else {
				f.r.Unmatched(x)
			}
		}
		if err := closeOf(t, f.r); err != nil {
			t.Fatal(err)
		}
		got, _ := read(t, d.data)
		if len(got) < len(want) {
			t.Fatalf("%v: %d packets, want %d", selected, len(got), len(want))
		}
		same(t, got[:len(want)], want)
		if extra := len(got) - len(want); extra > 4 {
			t.Errorf("%v: %d more packets", selected, extra)
		}
		if o := order(t, d.data, conns); !strings.HasPrefix(o, "K1ppp") || strings.Count(o, "K") != 1 {
			t.Errorf("%v: %s", selected, o)
		}
		if c := f.r.Counters(); c.Incomplete != 0 {
			t.Errorf("%+v", c)
		}
	}
}

// HTTP/2 without TLS can't be read from its middle either.
func TestHTTP2FromItsBeginning(t *testing.T) {
	src := dialogue(t, func(c *synth.Conn) {
		for i, b := range []string{http2Preface + "\r\nSM\r\n\r\n", "first", "second"} {
			c.Exchange([]byte(b), time.Millisecond, []byte("answer"))
			c.Wait(synth.Client, time.Duration(i)*time.Second)
		}
		quit(c)
	})
	var d disk
	f := feed(t, []File{&d}, Options{Matched: true})
	for _, rec := range src {
		c := f.packet(rec)
		if len(c.server) == 0 || c.server[len(c.server)-1] != rec.Number {
			continue
		}
		x := c.exchange(tlsConn{requests: c.client, answers: c.server}, len(c.server)-1)
		x.TLS = nil
		if x.Index == 2 {
			if err := f.r.Exchange(x); err != nil {
				t.Fatal(err)
			}
		} else {
			f.r.Unmatched(x)
		}
	}
	if err := closeOf(t, f.r); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, d.data)
	same(t, got, src)
}

// Without Options.Keys, no keys are written, whatever exchanges say.
func TestNoSecretsUnlessAsked(t *testing.T) {
	src, conns := converse(t, tls.VersionTLS13, 1, "/a")
	for _, matched := range []bool{false, true} {
		var d disk
		f := feed(t, []File{&d}, Options{Matched: matched})
		var c *fed
		for _, rec := range src {
			c = f.packet(rec)
		}
		if err := f.r.Exchange(c.exchange(conns[0], 0)); err != nil {
			t.Fatal(err)
		}
		if err := closeOf(t, f.r); err != nil {
			t.Fatal(err)
		}
		if got := order(t, d.data, conns); strings.Contains(got, "K") || !strings.Contains(got, "H") || strings.Contains(string(d.data), "TRAFFIC_SECRET") {
			t.Errorf("%s", got)
		}
	}
}

// Each file has the keys of the connections that it has packets of, once.
func TestSecretsOfEachFile(t *testing.T) {
	src, conns := converse(t, tls.VersionTLS13, 2, "/a", "/b", "/c", "/d")
	all, files := disks(4)
	f := feed(t, files, Options{Keys: store(conns[0].keys, conns[1].keys), RotateEvery: 5 * time.Second, RotateSize: 64 << 10})
	for _, rec := range src {
		if c := f.packet(rec); c.flow.Port[0] == 50001 && slices.Contains(conns[1].answers, rec.Number) {
			if err := f.r.Exchange(c.exchange(conns[1], slices.Index(conns[1].answers, rec.Number))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := closeOf(t, f.r); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"K0H", "K1H"} {
		if got := order(t, all[i].data, conns); !strings.Contains(got, want) || strings.Count(got, "K") != 1 {
			t.Errorf("file %d: %s", i, got)
		}
	}

	// A connection that goes on in other files has its keys there, too.
	src, conns = converse(t, tls.VersionTLS12, 1, "/a", "/b", "/c", "/d")
	all, files = disks(3)
	f = feed(t, files, Options{Matched: true, Keys: store(conns[0].keys), RotateSize: 1})
	for _, rec := range src {
		c := f.packet(rec)
		if i := slices.Index(conns[0].answers, rec.Number); i >= 0 {
			if err := f.r.Exchange(c.exchange(conns[0], i)); err != nil {
				t.Fatal(err)
			}
			if err := f.r.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := closeOf(t, f.r); err != nil {
		t.Fatal(err)
	}
	with := 0
	for _, d := range all {
		got := order(t, d.data, conns)
		with += strings.Count(got, "K")
		if strings.Count(got, "K") > 1 {
			t.Errorf("%s", got)
		}
	}
	if n := f.r.Counters().Secrets; n != 4 {
		t.Errorf("%d exchanges in files of their own, and %d secrets", 4, n)
	}
}

// A file with its keys opens in tshark, without being told of any.
func TestTsharkDecryptsIt(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		src, conns := converse(t, version, 3, "/a", "/b", "/c")
		for _, matched := range []bool{false, true} {
			var d disk
			f := feed(t, []File{&d}, Options{Matched: matched, Keys: store(conns[0].keys, conns[1].keys)}) // not those of the third
			for _, rec := range src {
				c := f.packet(rec)
				if n := int(c.flow.Port[0] - 50000); n == 1 && rec.Number == conns[n].answers[1] {
					if err := f.r.Exchange(c.exchange(conns[n], 1)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := closeOf(t, f.r); err != nil {
				t.Fatal(err)
			}
			want := "/a /b /c /a /b /c"
			if matched {
				want = "/a /b"
			}
			got := strings.Fields(tool(t, "tshark", "-r", saved(t, d.data), "-Y", "http.request", "-T", "fields", "-e", "http.request.uri"))
			if strings.Join(got, " ") != want {
				t.Errorf("%x, matched %v: tshark shows %q, want %s", version, matched, got, want)
			}
		}
	}
}
