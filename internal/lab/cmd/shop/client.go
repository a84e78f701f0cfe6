//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/lab"
)

// client is a program of somebody's, with an address.
type client struct {
	story   *story
	space   *lab.Namespace
	addr    netip.Addr
	agent   string
	http    *http.Client
	headers http.Header // of all requests
	random  *rand.Rand

	mu  sync.Mutex
	ids *rand.Rand // of traces
}

// browserConnections is how many connections a browser opens to a host, at most.
const browserConnections = 6

func (s *story) client(r *rand.Rand, region string, addr netip.Addr, agent string) *client {
	c := &client{story: s, space: s.network.spaces[region], addr: addr, agent: agent, headers: http.Header{}, random: r, ids: rand.New(rand.NewPCG(r.Uint64(), 0))}
	jar, _ := cookiejar.New(nil) // it never fails
	c.http = &http.Client{
		Jar: jar,
		Transport: &http.Transport{
			DialContext: c.dial, MaxConnsPerHost: browserConnections, MaxIdleConnsPerHost: browserConnections, DisableCompression: true,
			ExpectContinueTimeout: time.Second,
		},
	}
	return c
}

// dial connects to the edge from the client's address. It takes as long as the way there and back, and so has a thread
// of its own.
func (c *client) dial(ctx context.Context, network, _ string) (conn net.Conn, err error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: c.addr.AsSlice()}, KeepAlive: -1}
	to := edge4
	if c.addr.Is6() {
		to = edge6
	}
	result := c.space.Go(func() error { conn, err = d.DialContext(ctx, network, to); return err })
	if err := <-result; err != nil {
		return nil, err
	}
	return conn, nil
}

// leave closes the connections that are idle.
func (c *client) leave() { c.http.CloseIdleConnections() }

// patience is after how long a client gives up, where it doesn't say.
const patience = 20 * time.Second

// request is what a client asks for.
type request struct {
	method, path string
	headers      map[string]string
	body         string
	// read is how much of the answer is read before the client goes; 0 is all.
	read int64
	// within is after how long the client gives up.
	within time.Duration
}

// do asks, reads the answer, and returns its status and headers; 0 is for none.
func (c *client) do(ctx context.Context, q request) (status int, header http.Header) {
	if q.method == "" {
		q.method = http.MethodGet
	}
	if q.within == 0 {
		q.within = patience
	}
	ctx, cancel := context.WithTimeout(ctx, q.within)
	defer cancel()
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	r, err := http.NewRequestWithContext(ctx, q.method, "http://shop.example"+q.path, body)
	if err != nil {
		c.story.failed(err.Error())
		return 0, nil
	}
	for name, values := range c.headers {
		r.Header[name] = values
	}
	if c.agent != "" {
		r.Header.Set("User-Agent", c.agent)
	}
	for name, value := range q.headers {
		r.Header.Set(name, value)
	}
	a, err := c.http.Do(r)
	if err != nil {
		c.story.failed(reason(err))
		return 0, nil
	}
	defer a.Body.Close()
	if q.read > 0 {
		_, err = io.CopyN(io.Discard, a.Body, q.read)
	} else {
		_, err = io.Copy(io.Discard, a.Body)
	}
	if err != nil {
		c.story.failed(reason(err))
	}
	return a.StatusCode, a.Header
}

// reason is why something failed, without what differs from one to the next.
func reason(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "gave up"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		err = e
	}
	return err.Error()
}

// traced adds the headers by which a request is found again on its whole way.
func (c *client) traced(h map[string]string) map[string]string {
	if h == nil {
		h = map[string]string{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h["Traceparent"] = fmt.Sprintf("00-%016x%016x-%016x-01", c.ids.Uint64(), c.ids.Uint64(), c.ids.Uint64())
	return h
}
