package synth

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"
)

// Truth is what a capture holds, as its maker knows it.
type Truth struct {
	// Exchanges counts HTTP requests; Answered those whose final response was sent.
	Exchanges, Answered int
	// Connections counts TCP connections.
	Connections int
	// Bodies counts the bytes of response bodies.
	Bodies int64
	// Packets counts the records of the capture; Bytes is its size as a file.
	Packets int
	Bytes   int64
}

// A Scenario makes a capture of one kind, of about size bytes, and tells what is in it.
type Scenario struct {
	Name, About string
	Make        func(w io.Writer, size int64, o Options) (Truth, error)
}

// Scenarios returns every scenario.
func Scenarios() []Scenario {
	return []Scenario{
		{"small", "65 keep-alive connections, 300-byte requests, 1 KB answers", Small},
		{"large", "bodies of 100 KB to 5 MB on keep-alive connections", Large},
		{"flows", "a connection a request, ports used again", Flows},
		{"lossy", "1 % loss, 1 % reordered, 0.5 % recorded twice", Lossy},
		{"demo", "a small shop's good and bad moments; the size is fixed", Demo},
	}
}

// scenario is a simulation that counts what it does.
type scenario struct {
	*Sim
	truth Truth
	size  int64
}

func newScenario(w io.Writer, size int64, o Options) *scenario {
	return &scenario{Sim: New(w, o), size: size}
}

func (s *scenario) finish() (Truth, error) {
	err := s.Run()
	s.truth.Packets, s.truth.Bytes = s.Packets(), s.Written()
	return s.truth, err
}

func (s *scenario) dial(at time.Duration, client, server netip.AddrPort, path Path) *Conn {
	s.truth.Connections++
	return s.Dial(at, client, server, path)
}

// between returns a random duration from min to max.
func (s *scenario) between(min, max time.Duration) time.Duration {
	return min + time.Duration(s.rand.Int64N(int64(max-min)+1))
}

// exchange appends an exchange to a connection, and counts it.
func (s *scenario) exchange(c *Conn, request []byte, think time.Duration, head, body []byte) {
	s.truth.Exchanges++
	c.Exchange(request, think, head, body)
	s.answered(c, Client, len(body))
}

// answered counts a response once a side has come to this step of its program.
func (s *scenario) answered(c *Conn, side Side, body int) {
	c.Call(side, func() {
		s.truth.Answered++
		s.truth.Bodies += int64(body)
	})
}

// The hosts of the scenarios for benchmarks.
func webServer() netip.AddrPort { return netip.MustParseAddrPort("10.92.0.1:80") }

func webClient(i, port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 91, byte(i >> 8), byte(2 + i)}), uint16(port))
}

func lan() Path { return Path{Client: 15 * time.Microsecond, Server: 10 * time.Microsecond} }

// webRequest builds a request like a browser's, with n in its target.
func webRequest(method, target string, n int, more string) []byte {
	b := make([]byte, 0, 384)
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, " HTTP/1.1\r\n"+
		"Host: shop.example\r\n"+
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0\r\n"+
		"Accept: application/json, text/plain, */*\r\n"+
		"Accept-Language: en-US,en;q=0.5\r\n"+
		"Accept-Encoding: identity\r\n"+
		"Connection: keep-alive\r\n"+
		"Cookie: sid=0123456789abcdef0123456789abcdef\r\n"...)
	b = append(b, more...)
	return append(b, "\r\n"...)
}

// webHead builds the head of a response like nginx's.
func webHead(status, mediaType string, length int, more string) []byte {
	return fmt.Appendf(make([]byte, 0, 256), "HTTP/1.1 %s\r\n"+
		"Server: nginx/1.22.1\r\n"+
		"Date: Thu, 15 Jan 2026 10:42:07 GMT\r\n"+
		"Content-Type: %s\r\n"+
		"Content-Length: %d\r\n"+
		"%s\r\n", status, mediaType, length, more)
}

// text returns n bytes of text without meaning.
func (s *scenario) text(n int) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyz012345 \n"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[s.rand.IntN(len(letters))]
	}
	return b
}

// resource is an answer made in advance.
type resource struct{ head, body []byte }

func (s *scenario) resources(n int, mediaType string, size func() int) []resource {
	all := make([]resource, n)
	for i := range all {
		body := s.text(size())
		all[i] = resource{webHead("200 OK", mediaType, len(body), "Connection: keep-alive\r\n"), body}
	}
	return all
}

// keepAlive opens connections that make exchanges, each by the function add, until the capture has
// its size, and then close.
func (s *scenario) keepAlive(connections int, path Path, add func(c *Conn)) {
	for i := range connections {
		c := s.dial(s.between(0, 10*time.Millisecond), webClient(i%4, 39000+i), webServer(), path)
		closing := false
		c.Next = func(c *Conn) {
			switch {
			case s.Written() < s.size:
				add(c)
			case !closing:
				closing = true
				c.Close(Client)
				c.RecvEnd(Server)
				c.Close(Server)
			}
		}
	}
}

// Small makes keep-alive traffic of small exchanges, as wrk and nginx do.
func Small(w io.Writer, size int64, o Options) (Truth, error) {
	s := newScenario(w, size, o)
	items := s.resources(64, "application/json", func() int { return 600 + s.rand.IntN(400) })
	s.keepAlive(65, lan(), func(c *Conn) {
		n := s.truth.Exchanges
		item := items[n%len(items)]
		s.exchange(c, webRequest("GET", "/small/item.json?n=", n, ""), s.between(50*time.Microsecond, 400*time.Microsecond), item.head, item.body)
	})
	return s.finish()
}

// Large makes downloads of 100 KB to 5 MB, and an upload now and then.
func Large(w io.Writer, size int64, o Options) (Truth, error) {
	const smallest, biggest, uploadEvery = 100_000, 5_000_000, 16
	s := newScenario(w, size, o)
	content := s.text(biggest)
	path := lan()
	path.Rate = 1_250_000_000
	s.keepAlive(8, path, func(c *Conn) {
		n := s.truth.Exchanges
		body := content[:smallest+s.rand.IntN(biggest-smallest)]
		if n%uploadEvery == 0 {
			request := webRequest("PUT", "/large/", n, fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", len(body)))
			s.exchange(c, append(request, body...), time.Millisecond, webHead("201 Created", "text/plain", 0, ""), nil)
			return
		}
		s.exchange(c, webRequest("GET", "/large/", n, ""), time.Millisecond, webHead("200 OK", "application/octet-stream", len(body), ""), body)
	})
	return s.finish()
}

// Flows makes a connection for each request. A client's ports come again after a while, as they do
// behind a proxy that keeps no connections.
func Flows(w io.Writer, size int64, o Options) (Truth, error) {
	const workers, ports = 32, 32
	s := newScenario(w, size, o)
	items := s.resources(64, "application/json", func() int { return 600 + s.rand.IntN(400) })
	for i := range items {
		items[i].head = webHead("200 OK", "application/json", len(items[i].body), "Connection: close\r\n")
	}
	var next func(worker, n int)
	next = func(worker, n int) {
		if s.Written() >= s.size {
			return
		}
		c := s.dial(s.Now()+s.between(20*time.Microsecond, 200*time.Microsecond),
			webClient(worker%4, 32768+worker*ports+n%ports), webServer(), lan())
		item := items[s.truth.Exchanges%len(items)]
		s.exchange(c, webRequest("GET", "/flow/item.json?n=", s.truth.Exchanges, ""),
			s.between(50*time.Microsecond, 300*time.Microsecond), item.head, item.body)
		c.Close(Server)
		c.RecvEnd(Client)
		c.Close(Client)
		c.Call(Client, func() { next(worker, n+1) })
	}
	for i := range workers {
		next(i, 0)
	}
	return s.finish()
}

// Lossy makes keep-alive traffic through a bad network, seen at a mirror port.
func Lossy(w io.Writer, size int64, o Options) (Truth, error) {
	s := newScenario(w, size, o)
	items := s.resources(64, "text/html", func() int { return 500 + s.rand.IntN(13_000) })
	path := Path{Client: 400 * time.Microsecond, Server: 200 * time.Microsecond, Loss: 0.01, Reorder: 0.01, Duplicate: 0.005}
	s.keepAlive(40, path, func(c *Conn) {
		n := s.truth.Exchanges
		item := items[n%len(items)]
		s.exchange(c, webRequest("GET", "/page.html?n=", n, ""), s.between(100*time.Microsecond, time.Millisecond), item.head, item.body)
	})
	return s.finish()
}
