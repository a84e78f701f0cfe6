package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/culprit-http/culprit/internal/synth"
)

// The captures of the same small exchanges in both versions of HTTP, by name.
const (
	gets1 = "gets"
	gets2 = "gets-h2"
)

const (
	keptAlive  = 64  // connections of HTTP/1
	carrying   = 4   // connections of HTTP/2
	concurrent = 100 // streams of each
)

// multiplexed returns the captures of small exchanges.
func multiplexed(o options) (all []*benchCapture) {
	for _, c := range []struct {
		name, about string
		write       func(w io.Writer, size int64) (truth, error)
	}{
		{gets1, "GETs with 8 fields, 1 KB answers with 5, on 64 keep-alive connections", keepAlive},
		{gets2, "the same, HTTP/2, 100 streams at a time on 4 connections", streams},
	} {
		get := func(size int64) (file, error) {
			return cached(filepath.Join(o.cache, fmt.Sprintf("%s-%d.pcap", c.name, size)), func(out *os.File) (truth, error) { return c.write(out, size) })
		}
		all = append(all, &benchCapture{name: c.name, about: c.about, inside: c.name == gets2, make: func() (full, part file, err error) {
			if full, err = get(o.size); err == nil {
				part, err = get(o.size / partOf)
			}
			return full, part, err
		}})
	}
	return all
}

// asked are the fields of each request beside what it asks for, and answered those of each response beside its length.
var (
	asked = [][2]string{
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0"},
		{"accept", "application/json, text/plain, */*"},
		{"accept-language", "en-US,en;q=0.5"},
		{"accept-encoding", "identity"},
		{"cookie", "sid=0123456789abcdef0123456789abcdef"},
		{"referer", "https://shop.example/basket"},
		{"x-requested-with", "XMLHttpRequest"},
	}
	answered = [][2]string{
		{"server", "nginx/1.22.1"},
		{"date", "Thu, 15 Jan 2026 10:42:07 GMT"},
		{"content-type", "application/json"},
		{"cache-control", "no-store"},
	}
)

const authority = "shop.example"

func targetOf(n int) string { return "/small/item.json?n=" + strconv.Itoa(n) }

// smallBody returns the body of an answer.
func smallBody(random *rand.Rand) []byte {
	return bytes.Repeat([]byte("0123456789abcdef"), 64)[:600+random.IntN(400)]
}

func clientOf(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 94, 0, 2}), uint16(40000+i))
}

// exchanges makes connections on which what next appends is done, until the capture has its size.
func exchanges(w io.Writer, size int64, connections int, open func(c *synth.Conn) (next func())) error {
	sim := synth.New(w, synth.Options{})
	for i := range connections {
		c := sim.Dial(time.Duration(i)*time.Millisecond, clientOf(i), netip.MustParseAddrPort("10.94.0.1:80"),
			synth.Path{Client: 15 * time.Microsecond, Server: 10 * time.Microsecond})
		next, closing := open(c), false
		c.Next = func(c *synth.Conn) {
			switch {
			case sim.Written() < size:
				next()
			case !closing:
				closing = true
				c.Close(synth.Client)
				c.RecvEnd(synth.Server)
				c.Close(synth.Server)
			}
		}
	}
	return sim.Run()
}

// keepAlive makes exchanges of HTTP/1.1, one after the other on each connection.
func keepAlive(w io.Writer, size int64) (t truth, err error) {
	random := rand.New(rand.NewPCG(1, 1))
	fields := func(list [][2]string) string {
		var b strings.Builder
		for _, f := range list {
			b.WriteString(f[0] + ": " + f[1] + "\r\n")
		}
		return b.String()
	}
	request, response := fields(asked), fields(answered)
	err = exchanges(w, size, keptAlive, func(c *synth.Conn) func() {
		return func() {
			body := smallBody(random)
			head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n", response, len(body))
			c.Exchange(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nhost: %s\r\n%s\r\n", targetOf(t.Requests), authority, request), 100*time.Microsecond, head, body)
			t.Requests++
			t.Answered++
		}
	})
	return t, err
}

// speaker writes the frames of one side.
type speaker struct {
	buf    bytes.Buffer
	frames *http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder
}

func newSpeaker() *speaker {
	s := &speaker{}
	s.frames, s.fields = http2.NewFramer(&s.buf, nil), hpack.NewEncoder(&s.block)
	return s
}

// headers writes a frame of fields. What can't be written to memory doesn't occur.
func (s *speaker) headers(stream uint32, end bool, lists ...[][2]string) {
	s.block.Reset()
	for _, list := range lists {
		for _, f := range list {
			_ = s.fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
	}
	_ = s.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: s.block.Bytes(), EndStream: end, EndHeaders: true})
}

// take returns what was written since.
func (s *speaker) take() []byte {
	b := bytes.Clone(s.buf.Bytes())
	s.buf.Reset()
	return b
}

// streams makes exchanges of HTTP/2, as many at a time as there are streams: all requests go out, then come the heads of all
// answers, and then their bodies, in another order.
func streams(w io.Writer, size int64) (t truth, err error) {
	const window = 1 << 20
	random := rand.New(rand.NewPCG(1, 1))
	err = exchanges(w, size, carrying, func(c *synth.Conn) func() {
		client, server := newSpeaker(), newSpeaker()
		client.buf.WriteString(http2.ClientPreface)
		_ = client.frames.WriteSettings(http2.Setting{ID: http2.SettingEnablePush})
		_ = client.frames.WriteWindowUpdate(0, window)
		_ = server.frames.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: concurrent})
		_ = server.frames.WriteSettingsAck()
		c.Exchange(client.take(), time.Microsecond, server.take())
		_ = client.frames.WriteSettingsAck()
		stream := uint32(1)
		return func() {
			first, sent := stream, 0
			for range concurrent {
				client.headers(stream, true, [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", authority}, {":path", targetOf(t.Requests)}}, asked)
				stream += 2
				t.Requests++
				t.Answered++
			}
			bodies := make([][]byte, concurrent)
			for _, i := range random.Perm(concurrent) {
				bodies[i] = smallBody(random)
				server.headers(first+2*uint32(i), false, [][2]string{{":status", "200"}}, answered, [][2]string{{"content-length", strconv.Itoa(len(bodies[i]))}})
			}
			for _, i := range random.Perm(concurrent) {
				_ = server.frames.WriteData(first+2*uint32(i), true, bodies[i])
				sent += len(bodies[i])
			}
			c.Exchange(client.take(), 100*time.Microsecond, server.take())
			_ = client.frames.WriteWindowUpdate(0, uint32(sent))
		}
	})
	return t, err
}
