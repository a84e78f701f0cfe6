package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/culprit-http/culprit/internal/ship"
)

// signals are what is sent, in this order. Each kind of event has a request of its own.
var signals = [...]struct {
	kind       ship.Kind
	name       string
	path, call string // of HTTP, and of gRPC
}{
	{ship.Exchange, Traces, "/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"},
	{ship.Rollup, Metrics, "/v1/metrics", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"},
}

// protocol is how a request gets to a receiver.
type protocol interface {
	// head returns how many bytes the protocol puts before the message.
	head() int
	// request makes an HTTP request of the body, of which the first bytes are the head's.
	request(signal int, body []byte) (*http.Request, error)
	// read reads what the receiver answers. Its errors are a *refusal, ship.ErrTooLarge, a *ship.LaterError, or others, after
	// which the same request makes sense later.
	read(signal int, r *http.Response) (answer, error)
}

// refusal is the error of a receiver that will never take the request.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// Sender sends to one receiver, over one connection. It implements ship.Sender.
type Sender struct {
	o         *Options
	transport *http.Transport
	protocol  protocol

	batch   batch
	indices []int
	message []byte // what is sent, before compression
	body    []byte // what is sent
	packer  *gzip.Writer
}

func newSender(u *url.URL, o *Options) (*Sender, error) {
	transport, err := o.Endpoint.Transport(1)
	if err != nil {
		return nil, err
	}
	s := &Sender{o: o, transport: transport, protocol: &overHTTP{u: u, packed: o.Compression == Gzip}}
	if o.Protocol == GRPC {
		s.protocol = newGRPC(u, o, transport)
	}
	if o.Compression == Gzip {
		if s.packer, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close implements ship.Sender.
func (s *Sender) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Send implements ship.Sender: exchanges go by one request, rows by another. Where the first fails, the second isn't tried.
func (s *Sender) Send(ctx context.Context, events []ship.Event) (result ship.Result, err error) {
	begun := false
	for i := range signals {
		s.indices = s.indices[:0]
		for k := range events {
			if events[k].Kind == signals[i].kind && len(events[k].Body) > 0 {
				s.indices = append(s.indices, k)
			}
		}
		if len(s.indices) == 0 {
			continue
		}
		err := s.export(ctx, i, events, &result)
		switch {
		case err == nil:
			begun = true
		case !begun:
			return ship.Result{}, err
		default: // The next attempt is with the rest alone, and tells the error.
			result.Retry = append(result.Retry, s.indices...)
		}
	}
	slices.SortFunc(result.Rejected, func(a, b ship.Rejection) int { return a.Index - b.Index })
	return result, nil
}

// export sends the events at s.indices, and adds those that the receiver refuses to the result.
func (s *Sender) export(ctx context.Context, signal int, events []ship.Event, result *ship.Result) error {
	a, err := s.exchange(ctx, signal, events)
	if r := (*refusal)(nil); errors.As(err, &r) {
		for _, i := range s.indices {
			result.Rejected = append(result.Rejected, ship.Rejection{Index: i, Reason: r.reason})
		}
		return nil
	}
	if err != nil {
		return err
	}
	if a.rejected <= 0 {
		return nil
	}
	// The protocol doesn't say which, and forbids to send any of them again. The number is right.
	all := len(s.indices)
	n := int(min(a.rejected, int64(all)))
	reason := "the receiver refused it: " + a.message
	if n < all {
		reason = fmt.Sprintf("the receiver refused %d of %d events, perhaps not this one, as it doesn't say which: %s", n, all, a.message)
	}
	for _, i := range s.indices[all-n:] {
		result.Rejected = append(result.Rejected, ship.Rejection{Index: i, Reason: reason})
	}
	return nil
}

// exchange sends one request and reads its answer.
func (s *Sender) exchange(ctx context.Context, signal int, events []ship.Event) (a answer, err error) {
	s.message = s.batch.append(s.message[:0], events, s.indices)
	s.body = append(s.body[:0], make([]byte, s.protocol.head())...)
	if s.packer == nil {
		s.body = append(s.body, s.message...)
	} else {
		w := appender{&s.body}
		s.packer.Reset(w)
		if _, err = s.packer.Write(s.message); err == nil {
			err = s.packer.Close()
		}
		if err != nil {
			return a, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	r, err := s.protocol.request(signal, s.body)
	if err != nil {
		return a, err
	}
	r = r.WithContext(ctx)
	r.Header.Set("User-Agent", s.o.Endpoint.UserAgent)
	s.o.Endpoint.Auth.Set(r)
	for name, value := range s.o.Headers {
		r.Header.Set(name, value)
	}
	sent := &sent{body: s.body}
	r.Body, _ = sent.open()
	r.GetBody, r.ContentLength = sent.open, int64(len(s.body))
	answered, err := s.transport.RoundTrip(r)
	if err != nil {
		err = fmt.Errorf("%s: %w", r.URL.Host, s.explain(ctx, err))
	} else {
		a, err = s.protocol.read(signal, answered)
		answered.Body.Close()
		if err != nil {
			err = fmt.Errorf("%s: %w", r.URL.Host+r.URL.Path, s.explain(ctx, err))
		}
	}
	if sent.readers.Load() > 0 {
		s.body = nil // The transport may still read it: an answer can come before the end of the request.
	}
	return a, err
}

// explain says what the user can do about an error of the transport, where that isn't clear.
func (s *Sender) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v (timeout)", s.o.Timeout)
	case s.o.Protocol == HTTP && strings.Contains(err.Error(), "malformed HTTP response"):
		return fmt.Errorf("the receiver doesn't answer in HTTP/1 (for gRPC, set protocol: grpc): %w", err)
	}
	return err
}

// appender is an io.Writer that appends.
type appender struct{ to *[]byte }

func (a appender) Write(b []byte) (int, error) {
	*a.to = append(*a.to, b...)
	return len(b), nil
}

// sent is the body of a request. It counts who still reads it.
type sent struct {
	body    []byte
	readers atomic.Int32
}

func (s *sent) open() (io.ReadCloser, error) {
	s.readers.Add(1)
	return &sentReader{from: bytes.NewReader(s.body), sent: s}, nil
}

// sentReader reads a body until it is closed. HTTP/2 closes bodies while it reads them.
type sentReader struct {
	mu   sync.Mutex
	from *bytes.Reader // nil: closed
	sent *sent
}

func (r *sentReader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.from == nil {
		return 0, fs.ErrClosed
	}
	return r.from.Read(b)
}

func (r *sentReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.from != nil {
		r.from = nil
		r.sent.readers.Add(-1)
	}
	return nil
}

// hints say what the user can do about a status of HTTP.
var hints = map[int]string{
	http.StatusUnauthorized: "check the credentials: user and password, bearer, or headers",
	http.StatusForbidden:    "the credentials don't allow it",
	http.StatusNotFound:     "check the URL, and that the receiver takes this signal; signals says which are sent",
}

// httpError returns the error for a status of HTTP that isn't 2xx, by the OTLP specification, with what the receiver says.
// What is wrong with the receiver or its address rather than with the events is tried again.
func httpError(r *http.Response, message string) error {
	text := r.Status
	if message != "" {
		text += ": " + message
	}
	if hint := hints[r.StatusCode]; hint != "" {
		text += " (" + hint + ")"
	}
	err := errors.New(text)
	switch code := r.StatusCode; {
	case code == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%s: %w", text, ship.ErrTooLarge)
	case slices.Contains(retried[:], code):
		if later, ok := retryAfter(r); ok {
			return &ship.LaterError{After: later, Err: err}
		}
		return err
	case slices.Contains(misled[:], code), code < 400:
		return err
	}
	return &refusal{text}
}

// retried are the statuses after which the specification has requests sent again. misled are those of a receiver that is the
// wrong one, or doesn't know us: events aren't to blame, and wait until somebody mends it.
var (
	retried = [...]int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	misled  = [...]int{http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusMisdirectedRequest}
)

// retryAfter reads the header Retry-After (RFC 9110 §10.2.3). Dates are compared with the receiver's own clock.
func retryAfter(r *http.Response) (time.Duration, bool) {
	text := strings.TrimSpace(r.Header.Get("Retry-After"))
	if text == "" {
		return 0, false
	}
	if later, err := time.ParseDuration(text + "s"); err == nil && strings.Trim(text, "0123456789") == "" {
		return min(later, maxLater), true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxLater), true
}
