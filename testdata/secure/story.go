//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// counted is what the servers and the clients counted themselves: the truth for tests.
type counted struct {
	// Requests that servers answered, by host; those of clients that log no keys are in Unread instead.
	Requests map[string]int `json:"requests"`
	// Calls of gRPC, as METHOD STATUS; Operations of GraphQL and JSON-RPC.
	Calls      map[string]int `json:"calls"`
	Operations map[string]int `json:"operations"`
	// Messages of WebSockets, by path and sender.
	Messages map[string]int `json:"messages"`
	// Unread are connections without keys, and Failed those that weren't made, by server name.
	Unread map[string]int `json:"unread"`
	Failed map[string]int `json:"failed"`
	// Days that certificates are good for when the story begins.
	Days map[string]int `json:"days"`
	// GivenUp are requests that the client gave up.
	GivenUp int `json:"given_up"`
}

type story struct {
	network    *network
	keys       *keyLog
	began      time.Time
	root       *x509.Certificate
	rootKey    *ecdsa.PrivateKey
	trusted    *x509.CertPool
	servers    []*http.Server
	transports []*http.Transport

	mu      sync.Mutex
	counted counted
}

func (s *story) count(f func(c *counted)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counted)
}

// habits are how a client speaks TLS.
type habits struct {
	from      string
	agent     string
	silent    bool // it logs no keys
	newest    uint16
	http1     bool
	distrusts bool // the authority isn't among those it knows
	once      bool // a connection for each request
	sessions  tls.ClientSessionCache
}

func (s *story) client(h habits) *http.Client {
	config := &tls.Config{RootCAs: s.trusted, MaxVersion: h.newest, Time: s.now, ClientSessionCache: h.sessions, KeyLogWriter: s.keys}
	if h.silent {
		config.KeyLogWriter = nil
	}
	if h.distrusts {
		config.RootCAs = x509.NewCertPool()
	}
	dial := s.network.dial(h.from)
	t := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: !h.http1, DisableKeepAlives: h.once,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			for _, t := range sites {
				if host, _, _ := net.SplitHostPort(address); host == t.name {
					return dial(ctx, network, t.address)
				}
			}
			return nil, fmt.Errorf("no server %s", address)
		},
	}
	if h.http1 {
		config.NextProtos = []string{"http/1.1"}
	}
	s.transports = append(s.transports, t)
	return &http.Client{Transport: agent{t, h.agent}}
}

// agent says who asks.
type agent struct {
	*http.Transport
	name string
}

func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", a.name)
	return a.Transport.RoundTrip(r)
}

func get(c *http.Client, target string) error { return send(c, "GET", target, "", "") }

func send(c *http.Client, method, target, kind, body string) error {
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return err
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if kind == "application/grpc" {
		r.Header.Set("Te", "trailers")
	}
	a, err := c.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	_, err = io.Copy(io.Discard, a.Body)
	return err
}

// tell lets the clients do what they do.
func (s *story) tell() error {
	s.counted = counted{Requests: map[string]int{}, Calls: map[string]int{}, Operations: map[string]int{}, Messages: map[string]int{},
		Unread: map[string]int{}, Failed: map[string]int{}, Days: map[string]int{}}
	for _, t := range sites {
		s.counted.Days[t.name] = t.days
	}
	for _, scene := range []func() error{s.browse, s.give, s.work, s.talk, s.resume, s.silent, s.fail} {
		if err := scene(); err != nil {
			return err
		}
		time.Sleep(150 * time.Millisecond)
	}
	for name := range s.counted.Unread {
		delete(s.counted.Requests, name)
	}
	return nil
}

// browse loads pages over HTTP/2, several streams at once.
func (s *story) browse() error {
	c := s.client(habits{from: browser, agent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"})
	for i := range 4 {
		if err := get(c, "https://shop.example/"); err != nil {
			return err
		}
		var all sync.WaitGroup
		failed := make([]error, 4)
		for j, path := range []string{"/shop.css", "/shop.js", fmt.Sprintf("/api/products/%d", 10+i), "/missing.png"} {
			all.Go(func() { failed[j] = get(c, "https://shop.example"+path) })
		}
		all.Wait()
		if err := errors.Join(failed...); err != nil {
			return err
		}
	}
	if err := get(c, "https://shop.example/news"); err != nil {
		return err
	}
	for _, name := range []string{"Basket", "Basket", "PlaceOrder"} {
		query := fmt.Sprintf(`{"operationName": %q, "query": "query %s { basket { items } }", "variables": {"id": 7}}`, name, name)
		if name == "PlaceOrder" {
			query = `{"operationName": "PlaceOrder", "query": "mutation PlaceOrder { place { id } }"}`
		}
		if err := send(c, "POST", "https://shop.example/graphql", "application/json", query); err != nil {
			return err
		}
	}
	return send(c, "POST", "https://shop.example/rpc", "application/json", `{"jsonrpc": "2.0", "id": 1, "method": "stock.count", "params": [17]}`)
}

// give asks for reports, and gives two of them up.
func (s *story) give() error {
	c := s.client(habits{from: browser, agent: "report/1.0"})
	if err := get(c, "https://shop.example/api/report"); err != nil {
		return err
	}
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), 120*time.Millisecond)
		r, err := http.NewRequestWithContext(ctx, "GET", "https://shop.example/api/report", nil)
		if err != nil {
			cancel()
			return err
		}
		_, err = c.Do(r)
		cancel()
		if err == nil {
			return errors.New("a report came too early")
		}
		s.count(func(c *counted) { c.GivenUp++ })
	}
	return nil
}

// work calls gRPC.
func (s *story) work() error {
	c := s.client(habits{from: worker, agent: "grpc-go/1.70.0"})
	for _, method := range []string{"Stock/Get", "Stock/Get", "Stock/Watch", "Orders/Place", "Stock/Get", "Orders/Place", "Orders/Cancel", "Orders/Import"} {
		body := grpcMessage("product 17")
		if method == "Orders/Import" {
			body = bytes.Repeat(body, 6)
		}
		if err := send(c, "POST", "https://api.shop.example/shop."+method, "application/grpc", string(body)); err != nil {
			return err
		}
	}
	return nil
}

// talk holds two WebSockets.
func (s *story) talk() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := s.client(habits{from: mobile, agent: "ShopApp/3.1 (iPhone; iOS 18.2)", http1: true})
	chat, _, err := websocket.Dial(ctx, "wss://chat.shop.example/chat", &websocket.DialOptions{HTTPClient: c, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return err
	}
	for _, text := range []string{"hello", "is the lamp still there?", strings.Repeat("a long story ", 60), "<b onclick=alert(1)>bye</b>"} {
		if err := chat.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			return err
		}
		s.count(func(c *counted) { c.Messages["chat, client"]++ })
		if _, _, err := chat.Read(ctx); err != nil {
			return err
		}
	}
	reader := chat.CloseRead(ctx)
	if err := chat.Ping(ctx); err != nil {
		return err
	}
	_ = reader
	if err := chat.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		return err
	}
	feed, _, err := websocket.Dial(ctx, "wss://chat.shop.example/feed", &websocket.DialOptions{HTTPClient: c})
	if err != nil {
		return err
	}
	defer feed.CloseNow()
	for {
		if _, _, err := feed.Read(ctx); websocket.CloseStatus(err) == websocket.StatusInternalError {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// resume makes a connection for each request, and takes sessions up again, in TLS 1.2 and 1.3.
func (s *story) resume() error {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := s.client(habits{from: mobile, agent: "curl/8.5.0", newest: version, http1: true, once: true, sessions: tls.NewLRUClientSessionCache(8)})
		for range 3 {
			if err := get(c, "https://shop.example/stock.csv"); err != nil {
				return err
			}
		}
	}
	return nil
}

// silent are clients that log no keys.
func (s *story) silent() error {
	for _, t := range []struct {
		name   string
		from   string
		newest uint16
		times  int
	}{{"pay.example", stall, 0, 5}, {"pay.example", mobile, 0, 2}, {"legacy.shop.example", stall, tls.VersionTLS12, 3}} {
		c := s.client(habits{from: t.from, agent: "till/1", silent: true, newest: t.newest, once: true})
		for range t.times {
			if err := get(c, "https://"+t.name+"/stock.csv"); err != nil {
				return err
			}
			s.count(func(c *counted) { c.Unread[t.name]++ })
		}
	}
	return nil
}

// fail are handshakes that fail: a certificate that has ended, an authority that isn't known, a version that is too old,
// and a client without a certificate of its own.
func (s *story) fail() error {
	for _, t := range []struct {
		name  string
		h     habits
		times int
	}{
		{"old.shop.example", habits{from: worker}, 3},
		{"legacy.shop.example", habits{from: audit, silent: true, distrusts: true}, 2},
		{"shop.example", habits{from: audit, distrusts: true}, 1},
		{"staff.shop.example", habits{from: audit, silent: true, newest: tls.VersionTLS12}, 2},
		{"staff.shop.example", habits{from: browser}, 1},
	} {
		t.h.once = true
		c := s.client(t.h)
		for range t.times {
			if get(c, "https://"+t.name+"/") == nil {
				return fmt.Errorf("%s was reached", t.name)
			}
			s.count(func(c *counted) { c.Failed[t.name]++ })
		}
	}
	return nil
}
