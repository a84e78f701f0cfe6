package pipeline_test

import (
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/culprit-http/culprit/internal/pipeline"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// said is what one side of a hostile conversation says at once.
type said struct {
	server bool
	data   []byte
}

// hostileTalk is what is said on each of many connections: a beginning, and then the same kind of thing again and again, each
// time by the same side and as long as the first. nil: that was all.
type hostileTalk struct {
	begins []said
	again  func(n int) said
	// closes: the client resets the connection after that.
	closes bool
	size   int // of what comes again
}

// packet makes the nth packet of a connection.
func (c *hostileTalk) packet(b []byte, client uint32, port uint16, nth int) []byte {
	if nth == 0 {
		return segment(b, client, port, 80, 1, 0, flagSYN, nil)
	}
	nth--
	at := [2]uint32{2, 2}
	for _, s := range c.begins[:min(nth, len(c.begins))] {
		at[b2(s.server)] += uint32(len(s.data))
	}
	var now said
	switch n := nth - len(c.begins); {
	case n < 0:
		now = c.begins[nth]
	case c.again == nil:
		return segment(b, client, port, 80, at[0], at[1], flagACK|flagRST*b2(c.closes), nil)
	default:
		now = c.again(n)
		if c.size == 0 {
			c.size = len(now.data)
		}
		if len(now.data) != c.size {
			panic(fmt.Sprintf("%d bytes, and %d before", len(now.data), c.size))
		}
		at[b2(now.server)] += uint32(n * c.size)
	}
	from := client
	if now.server {
		from |= server
	}
	return segment(b, from, port, 80, at[b2(now.server)], at[b2(!now.server)], flagACK, now.data)
}

// among has connections take turns.
func (c *hostileTalk) among(connections int) func(i int, b []byte) []byte {
	return func(i int, b []byte) []byte {
		client, nth := turn(i, connections)
		return c.packet(b, client, 1001, int(nth))
	}
}

// one has connections come one after the other, each with so many packets.
func (c *hostileTalk) one(packets int) func(i int, b []byte) []byte {
	return func(i int, b []byte) []byte { return c.packet(b, uint32(i/packets), 1001, i%packets) }
}

// frames writes frames of HTTP/2.
func frames(write func(f *http2.Framer)) []byte {
	var b bytes.Buffer
	write(http2.NewFramer(&b, nil))
	return b.Bytes()
}

// headersOf compresses fields.
func headersOf(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1], Sensitive: true}) // a buffer takes everything
	}
	return b.Bytes()
}

// http2Begins is how a connection of HTTP/2 begins.
func http2Begins() []said {
	return []said{
		{false, append([]byte(http2.ClientPreface), frames(func(f *http2.Framer) { _ = f.WriteSettings() })...)},
		{true, frames(func(f *http2.Framer) { _ = f.WriteSettings(); _ = f.WriteSettingsAck() })},
	}
}

var askHTTP2 = headersOf(":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", "/hostile")

// streamID is the number of the kth stream of a client.
func streamID(k int) uint32 { return uint32(2*k+1) & (1<<31 - 1) }

// manyHeaders opens k streams in one segment.
func manyHeaders(first, k int, end bool, block []byte) func(f *http2.Framer) {
	return func(f *http2.Framer) {
		for i := range k {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: streamID(first + i), BlockFragment: block, EndHeaders: true, EndStream: end})
		}
	}
}

// bombOf is 4,000 references to an entry of the dynamic table, which makes of each byte 4,000.
var bombOf = append(append([]byte(nil), askHTTP2...), bytes.Repeat([]byte{0x80 | 62}, 1200)...)

// fillTable puts an entry of nearly 4,096 bytes into the dynamic table.
func fillTable() []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	_ = e.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("@", 4000)})
	return append(append([]byte(nil), askHTTP2...), b.Bytes()...)
}

// deflated is a message of a WebSocket of zeros, compressed.
func deflated(n int) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(make([]byte, n))
	_ = w.Flush()
	body := bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
	head := []byte{0xc1, 126, 0, 0} // final, compressed, text
	binary.BigEndian.PutUint16(head[2:], uint16(len(body)))
	return append(head, body...)
}

func webSocketBegins() []said {
	return []said{
		{false, []byte("GET /chat HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")},
		{true, []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")},
	}
}

// spoken writes down what an end of a connection sends.
type spoken struct {
	net.Conn
	mu     *sync.Mutex
	list   *[]said
	server bool
}

func (s spoken) Write(b []byte) (int, error) {
	s.mu.Lock()
	*s.list = append(*s.list, said{s.server, bytes.Clone(b)})
	s.mu.Unlock()
	return s.Conn.Write(b)
}

// shakeHands records the handshake of a TLS session, whose server has a chain of certificates if it has many names, and what the
// client then says. Its keys go to log.
func shakeHands(t *testing.T, version uint16, names int, log io.Writer, says []byte) (list []said) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a.example"}, NotAfter: time.Unix(1<<32, 0)}
	for i := range names {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("%d-%s.example", i, strings.Repeat("n", 50)))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	chain := [][]byte{der}
	if names > 0 {
		chain = slices.Repeat(chain, 10)
	}
	near, far := net.Pipe()
	var mu sync.Mutex
	a := stdtls.Client(spoken{near, &mu, &list, false}, &stdtls.Config{ServerName: "a.example", InsecureSkipVerify: true, MaxVersion: version, KeyLogWriter: log})
	b := stdtls.Server(spoken{far, &mu, &list, true}, &stdtls.Config{Certificates: []stdtls.Certificate{{Certificate: chain, PrivateKey: key}}, MaxVersion: version, SessionTicketsDisabled: true})
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(b, make([]byte, len(says)))
		done <- err
	}()
	if _, err := a.Write(says); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	var cut []said
	for _, s := range list {
		for len(s.data) > 9000 {
			cut = append(cut, said{s.server, s.data[:9000]})
			s.data = s.data[9000:]
		}
		cut = append(cut, s)
	}
	return cut
}

// recordsOf are records of a type, of nothing.
func recordsOf(typ byte, n, size int) []byte {
	var b []byte
	for range n {
		b = append(b, typ, 3, 3)
		b = binary.BigEndian.AppendUint16(b, uint16(size))
		b = append(b, make([]byte, size)...)
	}
	return b
}

// handshakeRecord is a record with the beginning of a handshake message of n bytes.
func handshakeRecord(typ byte, n int, body []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{22, 3, 3}, uint16(4+len(body)))
	b = append(b, typ, byte(n>>16), byte(n>>8), byte(n))
	return append(b, body...)
}

// TestMemoryBudgetInside is TestMemoryBudget for what is inside TLS, HTTP/2 and WebSockets.
func TestMemoryBudgetInside(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes a while")
	}
	repeated := func(server bool, data []byte) func(int) said { return func(int) said { return said{server, data} } }
	zeros := deflated(3 << 19)
	hello13 := shakeHands(t, stdtls.VersionTLS13, 0, nil, make([]byte, 1000))
	hello12 := shakeHands(t, stdtls.VersionTLS12, 0, nil, make([]byte, 1000))
	bigCertificate := shakeHands(t, stdtls.VersionTLS12, 300, nil, make([]byte, 10))
	var log bytes.Buffer
	decrypted := shakeHands(t, stdtls.VersionTLS13, 0, &log, make([]byte, 32_000))
	clientHello := hello12[0]
	serverHello := hello12[1]

	for _, c := range []struct {
		name    string
		packets int
		next    func(i int, b []byte) []byte
		counted func(s *pipeline.Stats, odd proto.Anomalies) bool
	}{
		{"HPACK bombs", 20_000, (&hostileTalk{
			begins: append(http2Begins(), said{false, frames(manyHeaders(0, 1, true, fillTable()))}),
			again:  func(n int) said { return said{false, frames(manyHeaders(1+n, 1, true, bombOf))} },
		}).among(500), func(_ *pipeline.Stats, odd proto.Anomalies) bool { return odd.Has(proto.HeaderBlockTooLarge) }},
		{"full HPACK tables", 60_000, (&hostileTalk{
			begins: append(http2Begins(), said{false, frames(manyHeaders(0, 1, true, fillTable()))}, said{false, frames(manyHeaders(1, 1, true, append(fillTable(), 0x80|62)))}),
			again:  func(n int) said { return said{false, frames(manyHeaders(2+n, 1, true, fillTable()))} },
		}).among(20_000), evicted},
		{"streams without end", 5_000, (&hostileTalk{
			begins: http2Begins(),
			again:  func(n int) said { return said{false, frames(manyHeaders(20*n, 20, false, askHTTP2))} },
		}).among(200), evicted},
		{"connections of many streams", 5_000, (&hostileTalk{
			begins: append(http2Begins(), said{false, frames(manyHeaders(0, 200, true, askHTTP2))},
				said{true, frames(manyHeaders(0, 200, true, headersOf(":status", "200")))}),
		}).one(5), evicted},
		{"CONTINUATION flood", 40_000, (&hostileTalk{
			begins: append(http2Begins(), said{false, frames(func(f *http2.Framer) {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: askHTTP2})
			})}),
			again: repeated(false, frames(func(f *http2.Framer) { _ = f.WriteContinuation(1, false, bytes.Repeat([]byte{0x82}, 1200)) })),
		}).among(1000), evicted},
		{"RST flood", 10_000, (&hostileTalk{
			begins: http2Begins(),
			again: func(n int) said {
				return said{false, frames(func(f *http2.Framer) {
					for i := range 20 {
						manyHeaders(20*n+i, 1, true, askHTTP2)(f)
						_ = f.WriteRSTStream(streamID(20*n+i), http2.ErrCodeCancel)
					}
				})}
			},
		}).among(200), func(_ *pipeline.Stats, odd proto.Anomalies) bool { return odd.Has(proto.FloodOfFrames) }},
		{"SETTINGS and PING flood", 100_000, (&hostileTalk{
			begins: http2Begins(),
			again: repeated(false, frames(func(f *http2.Framer) {
				for range 20 {
					_ = f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 1 << 30}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<24 - 1})
					_ = f.WritePing(false, [8]byte{})
				}
			})),
		}).among(5000), nil},
		{"permessage-deflate bombs", 3_000, (&hostileTalk{begins: webSocketBegins(), again: repeated(true, zeros)}).among(200),
			func(_ *pipeline.Stats, odd proto.Anomalies) bool { return odd.Has(proto.DecompressionLimit) }},
		{"idle WebSockets", 80_000, (&hostileTalk{begins: webSocketBegins(), again: repeated(true, deflated(100))}).among(20_000), evicted},
		{"TLS that waits for keys", 60_000, (&hostileTalk{begins: hello13, again: repeated(false, recordsOf(23, 1, 1200))}).among(1000), waited},
		{"TLS that waits for keys, closed", 100_000, (&hostileTalk{begins: hello13, closes: true}).one(len(hello13) + 2), waited},
		{"TLS 1.2 that waits for keys", 30_000, (&hostileTalk{begins: hello12, again: repeated(true, recordsOf(23, 20, 1))}).among(1000), waited},
		{"handshakes without end", 60_000, (&hostileTalk{begins: hello13[:1]}).one(2), evicted},
		{"endless handshake messages", 4_000, (&hostileTalk{
			begins: []said{{false, handshakeRecord(1, 250_000, make([]byte, 16_000))}}, again: repeated(false, handshakeRecord(0, 0, make([]byte, 16_000))),
		}).among(200), evicted},
		{"long ClientHellos", 10_000, (&hostileTalk{begins: []said{longClientHello(hello13[0].data)}}).one(2), evicted},
		{"decrypted sessions, idle", 5_000 * (len(decrypted) + 1), (&hostileTalk{begins: decrypted}).one(len(decrypted) + 1),
			func(s *pipeline.Stats, _ proto.Anomalies) bool {
				return s.BudgetEvicted > 0 && s.TLS.Decrypted >= 4_999
			}},
		{"large certificates", 20_000, (&hostileTalk{begins: bigCertificate}).one(len(bigCertificate) + 1), evicted},
		{"repeated certificates", 20_000, (&hostileTalk{
			begins: []said{clientHello, serverHello}, again: repeated(true, handshakeRecord(11, 15_003, append([]byte{0, 0x3a, 0x98}, make([]byte, 15_000)...))),
		}).among(100), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys := keylog.NewStore(keylog.Options{})
			keys.SetMayGrow(true)
			keys.Add(log.Bytes())
			stats, odd := budgeted(t, c.name, c.packets, c.next, func(cfg *pipeline.Config) {
				cfg.Keys = keys
				cfg.Parser.MaxStreams, cfg.Parser.MaxMessage, cfg.Exchange.Messages = 1000, 1<<20, true
				cfg.TLS = tls.DefaultLimits() // as the program sets them
				cfg.TLS.MaxWaitingAll = budget / 2 / pipeline.Shards / 4
				cfg.TLS.MaxWaiting = min(cfg.TLS.MaxWaiting, cfg.TLS.MaxWaitingAll)
			})
			t.Logf("anomalies %b, connections %v, carried %v, TLS %+v", odd, stats.Connections, stats.Carried, stats.TLS)
			if c.counted != nil && !c.counted(&stats, odd) {
				t.Errorf("the limit isn't counted: %+v, anomalies %b", stats, odd)
			}
		})
	}
}

// longClientHello makes of a ClientHello one with an extension of 60,000 bytes.
func longClientHello(record []byte) said {
	body := bytes.Clone(record[9:])
	at := 34 + 1 + int(body[34])
	at += 2 + int(binary.BigEndian.Uint16(body[at:]))
	at += 1 + int(body[at])
	n := int(binary.BigEndian.Uint16(body[at:])) + 4 + 15_000
	binary.BigEndian.PutUint16(body[at:], uint16(n))
	body = binary.BigEndian.AppendUint16(body, 0xfff0)
	body = binary.BigEndian.AppendUint16(body, 15_000)
	body = append(body, make([]byte, 15_000)...)
	return said{false, handshakeRecord(1, len(body), body)}
}

func evicted(s *pipeline.Stats, _ proto.Anomalies) bool { return s.BudgetEvicted > 0 }

func waited(s *pipeline.Stats, _ proto.Anomalies) bool { return s.TLS.Overflow > 0 }
