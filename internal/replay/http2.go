package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// http2 is a connection that speaks HTTP/2. It is safe for concurrent use: each request is a stream.
type http2 struct {
	conn   *http.ClientConn
	limits *Limits
	clock  func() time.Time
	to     *url.URL
}

// newHTTP2 speaks HTTP/2 on a connection, whose handshake is over if it is of TLS.
func newHTTP2(ctx context.Context, conn net.Conn, to *url.URL, limits *Limits, clock func() time.Time) (*http2, error) {
	var speaks http.Protocols
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	t := &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: int64(limits.MaxHead), ExpectContinueTimeout: continueTimeout, Protocols: &speaks}
	if to.Scheme == "https" {
		speaks.SetHTTP2(true)
		t.DialTLSContext = dial
	} else {
		speaks.SetUnencryptedHTTP2(true)
		t.DialContext = dial
	}
	c, err := t.NewClientConn(ctx, to.Scheme, address(to))
	if err != nil {
		return nil, fmt.Errorf("HTTP/2: %w", err)
	}
	return &http2{conn: c, limits: limits, clock: clock, to: to}, nil
}

// notInHTTP2 are header fields that HTTP/2 hasn't, or that the library writes itself (RFC 9113 §8.2.2).
var notInHTTP2 = []string{"host", "connection", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade", "content-length"}

// errUnseen: the server takes no more requests on a connection, and hasn't looked at this one (RFC 9113 §6.8), so that it may be sent on another, whatever its method.
var errUnseen = errors.New("the server took no more requests on the connection")

// goAway is in what the library says of a request that was sent and that a server's GOAWAY says it won't look at.
const goAway = "graceful shutdown GOAWAY"

// do sends a request and reads its answer. What came of it is returned with an error, too.
func (c *http2) do(ctx context.Context, q *Request) (a *Answer, t times, err error) {
	target := &url.URL{Scheme: c.to.Scheme, Host: address(c.to), Opaque: q.Target}
	if strings.HasPrefix(q.Target, "//") { // which Opaque would take for an authority
		if target.Opaque, target.Path = "", q.Target; true {
			path, query, has := strings.Cut(q.Target, "?")
			target.RawPath, target.RawQuery, target.ForceQuery = path, query, has && query == ""
			if target.Path, err = url.PathUnescape(path); err != nil {
				return nil, t, err
			}
		}
	}
	header := http.Header{"User-Agent": nil}
	for _, f := range q.Fields {
		lower := strings.ToLower(f.Name)
		if f.Trailer || slices.Contains(notInHTTP2, lower) || lower == "te" && f.Value != "trailers" {
			continue
		}
		header[http.CanonicalHeaderKey(f.Name)] = append(header[http.CanonicalHeaderKey(f.Name)], f.Value)
	}
	if header["User-Agent"] == nil {
		header["User-Agent"] = []string{""} // or the library would write its own
	}
	var asked, first atomic.Int64
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders:         func() { wrote.Store(true) },
		WroteRequest:         func(httptrace.WroteRequestInfo) { asked.Store(c.clock().UnixNano()) },
		GotFirstResponseByte: func() { first.Store(c.clock().UnixNano()) },
	})
	req := (&http.Request{Method: q.Method, URL: target, Header: header, Host: q.Authority, Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: 0}).WithContext(ctx)
	if q.HasBody {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(q.Body)), int64(len(q.Body))
		if q.Chunked {
			req.ContentLength = -1
		}
		if len(q.Body) == 0 {
			req.Body = http.NoBody
		}
	}
	t.sent = c.clock().UnixNano()
	defer func() { t.asked, t.first = max(asked.Load(), t.sent), first.Load() }()
	resp, err := c.conn.RoundTrip(req)
	if err != nil {
		if ctx.Err() == nil && (!wrote.Load() && c.conn.Available() == 0 || strings.Contains(err.Error(), goAway)) {
			err = fmt.Errorf("%w: %w", errUnseen, err)
		}
		return nil, t, err
	}
	defer resp.Body.Close()
	a = &Answer{Status: resp.StatusCode, Proto: "HTTP/2.0", Fields: sortedFields(resp.Header, false), Body: Body{Decoded: -1}}
	if q.Method != "HEAD" && a.Status != 204 && a.Status != 304 {
		err = readBody(resp.Body, a, c.limits)
	}
	a.Fields = append(a.Fields, sortedFields(resp.Trailer, true)...)
	t.last = c.clock().UnixNano()
	return a, t, err
}

// sortedFields are the fields of a header, in lower case, as HTTP/2 has them. Their order is lost.
func sortedFields(h http.Header, trailer bool) (all []Field) {
	for name, values := range h {
		for _, v := range values {
			all = append(all, Field{Name: strings.ToLower(name), Value: v, Trailer: trailer})
		}
	}
	slices.SortStableFunc(all, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// address is where a URL's server listens.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}
