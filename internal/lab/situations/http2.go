//go:build linux

package situations

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Client is a client's connection of HTTP/2 in plain text. It reads frames when it is told to, and not before.
type h2Client struct {
	*clientConn
	f       *http2.Framer
	head    bytes.Buffer
	encoder *hpack.Encoder
	// ended are the streams whose answers have come; leave is what may be sent: by the connection, and by its stream.
	ended map[uint32]bool
	leave map[uint32]int
	// first is the window that the server gives to a new stream.
	first int
}

// h2 connects. window is the flow-control window of each stream, in bytes.
func (s *site) h2(address string, window uint32) (*h2Client, error) {
	conn, err := s.dial(address, dialing{})
	if err != nil {
		return nil, err
	}
	c := &h2Client{clientConn: conn, f: http2.NewFramer(conn, conn.r), ended: map[uint32]bool{}, leave: map[uint32]int{0: 65535}, first: 65535}
	c.encoder = hpack.NewEncoder(&c.head)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	if err := errors.Join(c.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}), c.f.WriteWindowUpdate(0, 1<<20)); err != nil {
		return nil, err
	}
	// The server's settings, before the first request.
	for {
		f, err := c.frame()
		if err != nil {
			return nil, err
		}
		if x, ok := f.(*http2.SettingsFrame); ok && !x.IsAck() {
			return c, nil
		}
	}
}

// frame reads a frame, and keeps account.
func (c *h2Client) frame() (http2.Frame, error) {
	f, err := c.f.ReadFrame()
	if err != nil {
		return nil, err
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			break
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			c.first = int(v)
		}
		return f, c.f.WriteSettingsAck()
	case *http2.WindowUpdateFrame:
		if _, ok := c.leave[f.StreamID]; !ok {
			c.leave[f.StreamID] = c.first
		}
		c.leave[f.StreamID] += int(f.Increment)
	case *http2.RSTStreamFrame:
		return nil, fmt.Errorf("stream %d was reset: %v", f.StreamID, f.ErrCode)
	case *http2.GoAwayFrame:
		return nil, fmt.Errorf("the server goes away: %v", f.ErrCode)
	}
	if f.Header().Flags.Has(http2.FlagDataEndStream) && (f.Header().Type == http2.FrameData || f.Header().Type == http2.FrameHeaders) {
		c.ended[f.Header().StreamID] = true
	}
	return f, nil
}

// ask sends a request's head.
func (c *h2Client) ask(stream uint32, method, target string) error {
	c.head.Reset()
	for _, h := range []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "lab"}, {Name: ":path", Value: target}} {
		if err := c.encoder.WriteField(h); err != nil {
			return err
		}
	}
	return c.f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.head.Bytes(), EndStream: method == http.MethodGet, EndHeaders: true})
}

// until reads frames until the stream has ended.
func (c *h2Client) until(stream uint32) error {
	for !c.ended[stream] {
		if _, err := c.frame(); err != nil {
			return err
		}
	}
	return nil
}

// send sends a body as the windows let it.
func (c *h2Client) send(stream uint32, size int) error {
	if _, ok := c.leave[stream]; !ok {
		c.leave[stream] = c.first
	}
	for size > 0 {
		n := min(size, c.leave[0], c.leave[stream], 8<<10)
		if n <= 0 {
			if _, err := c.frame(); err != nil {
				return err
			}
			continue
		}
		size -= n
		c.leave[0] -= n
		c.leave[stream] -= n
		if err := c.f.WriteData(stream, size == 0, make([]byte, n)); err != nil {
			return err
		}
	}
	return nil
}

// h2Window is the flow-control window of streams that are to stall, in bytes.
const h2Window = 16 << 10

// h2Address is where the app speaks HTTP/2.
const h2Address = serverHost + ":85"

// serveHTTP2 has the app speak HTTP/2 in plain text.
func (s *site) serveHTTP2() error {
	server := &http.Server{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: h2Window}}
	server.Protocols.SetUnencryptedHTTP2(true)
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := behave(r.URL.Query())
		if err != nil || b.hear(r.Body) != nil {
			return
		}
		_, _ = w.Write(make([]byte, b.body))
	})
	l, err := s.server.Listen("tcp", h2Address)
	if err != nil {
		return err
	}
	go func() { _ = server.Serve(l) }() // until the end
	return nil
}

// flowControl: a window of HTTP/2 is closed, while that of TCP is open: the client lets the server wait, or the server the client.
func flowControl(s *site, n int) error {
	if err := s.serveHTTP2(); err != nil {
		return err
	}
	return s.each(n, 8, func(i int) error {
		c, err := s.h2(h2Address, h2Window)
		if err != nil {
			return err
		}
		defer c.Close()
		const stream = 1
		wait := between(i, 200*time.Millisecond, 400*time.Millisecond)
		if i%2 == 0 {
			kind := "h2-window-client"
			if err := c.ask(stream, http.MethodGet, path(kind, i)+"?body=30000"); err != nil {
				return err
			}
			time.Sleep(wait)
			if err := c.f.WriteWindowUpdate(stream, 1<<20); err != nil {
				return err
			}
			s.know(path(kind, i), kind, "the client gave no leave for %v", wait)
			return c.until(stream)
		}
		kind := "h2-window-server"
		if err := errors.Join(c.ask(stream, http.MethodPost, path(kind, i)+"?body=100&read="+wait.String()), c.send(stream, 40_000)); err != nil {
			return err
		}
		s.know(path(kind, i), kind, "the server gave no leave for %v", wait)
		return c.until(stream)
	})
}

// headOfLine: a server that sends all of a long answer before it begins with a short one, on a narrow path.
func headOfLine(s *site, n int) error {
	if err := s.app.listen(serverHost+":86", serveInOrder); err != nil {
		return err
	}
	return s.each(n/2, 1, func(i int) error {
		c, err := s.h2(serverHost+":86", 1<<20)
		if err != nil {
			return err
		}
		defer c.Close()
		first, second := path("h2-long", i), path("h2-behind", i)
		if err := errors.Join(c.ask(1, http.MethodGet, first), c.ask(3, http.MethodGet, second), c.until(1), c.until(3)); err != nil {
			return err
		}
		s.know(first, "h2-long", "60 kB through 200 kB/s")
		s.know(second, "h2-behind", "behind 60 kB through 200 kB/s")
		return nil
	})
}

// serveInOrder answers the requests of a connection of HTTP/2 one after the other, the first of each two with a long answer.
func serveInOrder(c *appConn) {
	const long, short, frame = 60_000, 500, 8 << 10
	if _, err := io.CopyN(io.Discard, c.r, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(c, c.r)
	if f.WriteSettings() != nil {
		return
	}
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	var asked []uint32
	for {
		got, err := f.ReadFrame()
		if err != nil {
			return
		}
		if x, ok := got.(*http2.SettingsFrame); ok && !x.IsAck() {
			if f.WriteSettingsAck() != nil {
				return
			}
		}
		if got.Header().Type == http2.FrameHeaders {
			asked = append(asked, got.Header().StreamID)
		}
		if len(asked) < 2 {
			continue
		}
		for k, stream := range asked {
			head.Reset()
			if encoder.WriteField(hpack.HeaderField{Name: ":status", Value: "200"}) != nil ||
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true}) != nil {
				return
			}
			for left := []int{long, short}[k]; left > 0; left -= min(left, frame) {
				if f.WriteData(stream, left <= frame, make([]byte, min(left, frame))) != nil {
					return
				}
			}
		}
		asked = nil
	}
}
