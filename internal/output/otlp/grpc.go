package otlp

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/culprit-http/culprit/internal/ship"
)

// Pings find out that a connection is dead: the first after so long without a sign of the receiver, which then has so long to
// answer.
const (
	pingAfter   = 15 * time.Second
	pingTimeout = 10 * time.Second
)

// overGRPC is OTLP/gRPC: calls with one message each way, over net/http. A message has a head of five bytes: whether it is
// compressed, and its length.
type overGRPC struct {
	u       *url.URL
	packed  bool
	timeout time.Duration
}

const grpcHead = 5

// newGRPC returns the protocol, and has the transport talk HTTP/2 alone: over TLS, or else in plain text from the start.
func newGRPC(u *url.URL, o *Options, t *http.Transport) *overGRPC {
	t.Protocols = new(http.Protocols)
	if u.Scheme == "https" {
		t.Protocols.SetHTTP2(true)
	} else {
		t.Protocols.SetUnencryptedHTTP2(true)
		t.Proxy = nil // HTTP proxies don't pass HTTP/2 in plain text
	}
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	return &overGRPC{u: u, packed: o.Compression == Gzip, timeout: o.Timeout}
}

func (*overGRPC) head() int { return grpcHead }

func (p *overGRPC) request(signal int, body []byte) (*http.Request, error) {
	body[0] = 0
	binary.BigEndian.PutUint32(body[1:grpcHead], uint32(len(body)-grpcHead))
	r, err := http.NewRequest(http.MethodPost, p.u.String()+signals[signal].call, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/grpc+proto")
	r.Header.Set("Te", "trailers")
	r.Header.Set("Grpc-Timeout", strconv.FormatInt(max(p.timeout.Milliseconds(), 1), 10)+"m")
	r.Header.Set("Grpc-Accept-Encoding", "gzip")
	if p.packed {
		body[0] = 1
		r.Header.Set("Grpc-Encoding", "gzip")
	}
	return r, nil
}

func (p *overGRPC) read(_ int, r *http.Response) (a answer, err error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	if r.ProtoMajor != 2 {
		return a, errors.New("the receiver doesn't talk HTTP/2, which gRPC needs (protocol http may do)")
	}
	if r.StatusCode != http.StatusOK {
		return a, httpError(r, "")
	}
	code, message, details := callStatus(r)
	if code == "" {
		switch {
		case err != nil:
			return a, err
		case len(b) > maxAnswer:
			return a, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
		case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
			return a, errors.New("the receiver doesn't talk gRPC (protocol http may do)")
		}
		return a, errors.New("the answer ends without a status")
	}
	if code != "0" {
		return a, callError(code, message, readStatus(details))
	}
	return readAnswer(unframe(b)), nil
}

// callStatus returns the status of a call, which is in the trailers, or in the headers when there is no message.
func callStatus(r *http.Response) (code, message string, details []byte) {
	h := r.Trailer
	if h.Get("Grpc-Status") == "" {
		h = r.Header
	}
	message = h.Get("Grpc-Message")
	if text, err := url.PathUnescape(message); err == nil {
		message = text
	}
	// Padding is optional, and most leave it out.
	details, _ = base64.RawStdEncoding.DecodeString(strings.TrimRight(h.Get("Grpc-Status-Details-Bin"), "="))
	return h.Get("Grpc-Status"), plain([]byte(message)), details
}

// unframe returns the message of an answer; nil when it can't be read.
func unframe(b []byte) []byte {
	if len(b) < grpcHead || uint32(len(b)-grpcHead) < binary.BigEndian.Uint32(b[1:grpcHead]) {
		return nil
	}
	packed, b := b[0] == 1, b[grpcHead:]
	if !packed {
		return b
	}
	z, err := gzip.NewReader(strings.NewReader(string(b)))
	if err != nil {
		return nil
	}
	b, _ = io.ReadAll(io.LimitReader(z, maxAnswer))
	return b
}

// fate is what becomes of the events of a call that failed.
type fate uint8

const (
	// refuse: the receiver will never take them.
	refuse fate = iota
	// retry: it may take them later.
	retry
	// retryIfTold: it may take them later if it says when.
	retryIfTold
)

// callCodes are the codes of calls (google.rpc.Code): their names, and what follows from them by the OTLP specification. What
// is wrong with the receiver or its address rather than with the events is tried again.
var callCodes = map[string]struct {
	name string
	fate fate
	hint string
}{
	"1":  {"CANCELLED", retry, ""},
	"2":  {"UNKNOWN", refuse, ""},
	"3":  {"INVALID_ARGUMENT", refuse, ""},
	"4":  {"DEADLINE_EXCEEDED", retry, ""},
	"5":  {"NOT_FOUND", refuse, ""},
	"6":  {"ALREADY_EXISTS", refuse, ""},
	"7":  {"PERMISSION_DENIED", retry, "the credentials don't allow it"},
	"8":  {"RESOURCE_EXHAUSTED", retryIfTold, ""},
	"9":  {"FAILED_PRECONDITION", refuse, ""},
	"10": {"ABORTED", retry, ""},
	"11": {"OUT_OF_RANGE", retry, ""},
	"12": {"UNIMPLEMENTED", retry, "check the URL, and that the receiver takes this signal; signals says which are sent"},
	"13": {"INTERNAL", refuse, ""},
	"14": {"UNAVAILABLE", retry, ""},
	"15": {"DATA_LOSS", retry, ""},
	"16": {"UNAUTHENTICATED", retry, "check the credentials: user and password, bearer, or headers"},
}

// tooLarge are words of the messages by which gRPC's libraries say that a message is larger than they take. There is no code
// for it.
var tooLarge = [...]string{"larger than max", "exceeds maximum size"}

// callError returns the error for a status of a call.
func callError(code, message string, s status) error {
	c := callCodes[code]
	if c.name == "" {
		c.name = "gRPC status " + plain([]byte(code))
	}
	text := c.name
	if message != "" {
		text += ": " + message
	}
	if c.hint != "" {
		text += " (" + c.hint + ")"
	}
	for _, words := range tooLarge {
		if c.fate == retryIfTold && strings.Contains(message, words) {
			return fmt.Errorf("%s: %w", text, ship.ErrTooLarge)
		}
	}
	switch {
	case c.fate == refuse, c.fate == retryIfTold && s.later == 0:
		return &refusal{text}
	case s.later > 0:
		return &ship.LaterError{After: s.later, Err: errors.New(text)}
	}
	return errors.New(text)
}
