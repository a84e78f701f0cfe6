package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/proto/body"
)

// Limits bound what is taken of an answer.
type Limits struct {
	// MaxHead is the largest head of an answer, and the largest trailers, in bytes.
	MaxHead int
	// MaxBody is how much of a body is kept to be compared, in bytes, before and after its coding is undone.
	MaxBody int
}

// The limits of answers that aren't options.
const (
	// maxInterim is how many interim answers come before the final one.
	maxInterim = 100
	// maxRead is how many bytes of a body are read; what is behind them isn't waited for.
	maxRead = 1 << 30
	// smallBody is the largest request body that is written before the answer is read: it fits in the buffers of the connection.
	smallBody = 32 << 10
	// continueTimeout is how long a request waits for 100 (Continue) before it sends its body anyway (RFC 9110 §10.1.1).
	continueTimeout = time.Second
)

// times are when the parts of an exchange were sent and came, in nanoseconds since 1970; 0: they didn't.
type times struct{ sent, asked, first, last int64 }

// errEarly: the connection ended before anything of the answer came.
var errEarly = errors.New("the server closed the connection without an answer")

// http1 is a connection that speaks HTTP/1.1. It isn't safe for concurrent use.
//
//	ready --(request written, answer read to its end)--> ready, and rests until the next one
//	      --(either says close, or an error)-----------> over
type http1 struct {
	conn   net.Conn
	r      *bufio.Reader
	limits *Limits
	clock  func() time.Time
	// over: there can't be another exchange.
	over bool
	buf  []byte
	// came gets what came of waiting for the first byte, while the connection rests and until somebody peeks; nil: nobody waits.
	came chan error
}

func newHTTP1(conn net.Conn, limits *Limits, clock func() time.Time) *http1 {
	return &http1{conn: conn, r: bufio.NewReaderSize(conn, 32<<10), limits: limits, clock: clock}
}

// rest has the connection wait for the next request: from now on somebody reads, to see whether the server closes it.
func (c *http1) rest() error {
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	came := make(chan error, 1)
	c.came = came
	go func() {
		_, err := c.r.Peek(1)
		came <- err
	}()
	return nil
}

// stale reports whether the server has closed the connection while it waited, or said something nobody asked for.
func (c *http1) stale() bool {
	select {
	case <-c.came: // never, if it is nil
		c.came, c.over = nil, true
	default:
	}
	return c.over
}

// peek is Peek of the reader, once nobody else reads.
func (c *http1) peek(n int) ([]byte, error) {
	if c.came != nil {
		err := <-c.came
		if c.came = nil; err != nil {
			return nil, err
		}
	}
	return c.r.Peek(n)
}

// do sends a request and reads its answer. What came of it is returned with an error, too; errEarly: nothing.
func (c *http1) do(q *Request, deadline time.Time) (a *Answer, t times, err error) {
	defer func() { c.over = c.over || err != nil }()
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, t, err
	}
	head := appendHead(c.buf[:0], q)
	c.buf = head
	tail := appendBody(nil, q)
	t.sent = c.clock().UnixNano()
	written := make(chan error, 1)
	switch {
	case q.Expect:
		if _, err := c.conn.Write(head); err != nil {
			return nil, t, fmt.Errorf("%w: %w", errEarly, err)
		}
		if final, err := c.agreed(deadline); err != nil {
			return nil, t, err
		} else if final { // it answers without having seen the body
			c.over = true
			t.asked = c.clock().UnixNano()
			written <- nil
			break
		}
		c.write(tail, written, &t)
	case len(tail) <= smallBody:
		_, err := c.conn.Write(append(head, tail...))
		t.asked = c.clock().UnixNano()
		written <- err // the server may have answered all the same
	default:
		c.write(append(head, tail...), written, &t)
	}
	a, err = c.answer(q, &t)
	if errors.Is(err, io.EOF) && t.first == 0 {
		err = errEarly
	}
	select {
	case e := <-written:
		if err != nil && e != nil && t.first == 0 {
			err = fmt.Errorf("%w: %w", errEarly, e)
		}
		c.over = c.over || e != nil
	default: // the answer came before the whole request was taken
		c.over = true
		c.conn.Close()
		<-written
	}
	return a, t, err
}

// write writes while the answer is read.
func (c *http1) write(b []byte, written chan<- error, t *times) {
	t.asked = c.clock().UnixNano()
	go func() {
		_, err := c.conn.Write(b)
		written <- err
	}()
}

// agreed waits for 100 (Continue). final: another answer comes. If none comes in time, the body is sent.
func (c *http1) agreed(deadline time.Time) (final bool, err error) {
	wait := c.clock().Add(continueTimeout)
	if wait.After(deadline) {
		wait = deadline
	}
	if err := c.conn.SetReadDeadline(wait); err != nil {
		return false, err
	}
	defer c.conn.SetReadDeadline(deadline)
	begin, err := c.peek(len("HTTP/1.1 1"))
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return false, nil
	case errors.Is(err, io.EOF):
		return false, errEarly
	case err != nil:
		return false, fmt.Errorf("%w: %w", errEarly, err)
	}
	return begin[len(begin)-1] != '1', nil
}

// appendHead appends the head of a request.
func appendHead(dst []byte, q *Request) []byte {
	version := " HTTP/1.1\r\n"
	if q.HTTP10 {
		version = " HTTP/1.0\r\n"
	}
	dst = append(append(append(append(dst, q.Method...), ' '), q.Target...), version...)
	for _, f := range q.Fields {
		if !f.Trailer {
			dst = appendField(dst, f)
		}
	}
	return append(dst, "\r\n"...)
}

func appendField(dst []byte, f Field) []byte {
	return append(append(append(append(dst, f.Name...), ": "...), f.Value...), "\r\n"...)
}

// maxChunk is the size of the chunks that a body is sent in. Where those of the recording ended isn't known.
const maxChunk = 16 << 10

// appendBody appends the body of a request, in its framing.
func appendBody(dst []byte, q *Request) []byte {
	switch {
	case !q.HasBody:
		return dst
	case !q.Chunked:
		return append(dst, q.Body...)
	}
	for rest := q.Body; len(rest) > 0; {
		chunk := rest[:min(len(rest), maxChunk)]
		rest = rest[len(chunk):]
		dst = append(strconv.AppendInt(dst, int64(len(chunk)), 16), "\r\n"...)
		dst = append(append(dst, chunk...), "\r\n"...)
	}
	dst = append(dst, "0\r\n"...)
	for _, f := range q.Fields {
		if f.Trailer {
			dst = appendField(dst, f)
		}
	}
	return append(dst, "\r\n"...)
}

// answer reads the final answer.
func (c *http1) answer(q *Request, t *times) (*Answer, error) {
	for range maxInterim {
		if _, err := c.peek(1); err != nil {
			return nil, err
		}
		if now := c.clock().UnixNano(); t.first == 0 {
			t.first = now
		}
		a, err := c.head()
		if err != nil {
			return nil, err
		}
		if a.Status >= 200 || a.Status == 101 {
			if a.Status == 101 {
				c.over = true
				return a, errors.New("the server changed the protocol though nobody asked it to")
			}
			err := c.body(q, a)
			t.last = c.clock().UnixNano()
			return a, err
		}
		t.first = 0 // an interim answer never is the beginning of the answer
	}
	return nil, fmt.Errorf("more than %d interim answers", maxInterim)
}

// line reads a line, without its end. left is what the head may still have.
func (c *http1) line(left *int) ([]byte, error) {
	var all []byte
	for {
		part, err := c.r.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return nil, fmt.Errorf("the head of the answer is longer than %d bytes; --max-head allows more", c.limits.MaxHead)
		}
		all = append(all, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("within the head of the answer: %w", err)
		}
		return bytes.TrimRight(all, "\r\n"), nil
	}
}

// head reads a head.
func (c *http1) head() (*Answer, error) {
	left := c.limits.MaxHead
	line, err := c.line(&left)
	if err != nil {
		return nil, err
	}
	a := &Answer{}
	version, rest, _ := strings.Cut(string(line), " ")
	code, reason, _ := strings.Cut(rest, " ")
	a.Proto, a.Reason = version, reason
	a.Status, err = strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || len(code) != 3 || a.Status < 100 {
		return nil, fmt.Errorf("the server doesn't answer in HTTP/1.1: %s", shorten(strconv.Quote(string(line))))
	}
	a.Fields, err = c.fields(&left, false)
	return a, err
}

// fields reads header or trailer fields to the empty line behind them.
func (c *http1) fields(left *int, trailer bool) (all []Field, err error) {
	for {
		line, err := c.line(left)
		switch {
		case err != nil:
			return nil, err
		case len(line) == 0:
			return all, nil
		case (line[0] == ' ' || line[0] == '\t') && len(all) > 0:
			all[len(all)-1].Value += " " + string(bytes.TrimSpace(line))
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(string(name)) {
			return nil, fmt.Errorf("the answer has a malformed header line: %s", shorten(strconv.Quote(string(line))))
		}
		all = append(all, Field{Name: string(name), Value: string(bytes.TrimSpace(value)), Trailer: trailer})
	}
}

// body reads the body of an answer (RFC 9112 §6.3).
func (c *http1) body(q *Request, a *Answer) error {
	a.Body.Decoded = -1
	if v, ok := a.Get("connection"); ok && hasOption(v, "close") || a.Proto == "HTTP/1.0" && !hasOption(v, "keep-alive") {
		c.over = true
	}
	if v, ok := q.Get("connection"); ok && hasOption(v, "close") {
		c.over = true
	}
	if q.Method == "HEAD" || a.Status == 204 || a.Status == 304 {
		return nil
	}
	coding, chunked := a.Get("transfer-encoding")
	length, err := lengthOf(a)
	switch {
	case chunked && !strings.EqualFold(strings.TrimSpace(coding), "chunked"):
		c.over = true
		return fmt.Errorf("the answer has a transfer coding that isn't known: %q", coding)
	case chunked:
		if err := readBody(httputil.NewChunkedReader(c.r), a, c.limits); err != nil {
			return err
		}
		left := c.limits.MaxHead
		trailers, err := c.fields(&left, true)
		a.Fields = append(a.Fields, trailers...)
		return err
	case err != nil:
		return err
	case length >= 0:
		if err := readBody(io.LimitReader(c.r, length), a, c.limits); err != nil {
			return err
		}
		if a.Body.Size < length {
			return fmt.Errorf("the connection ended after %d of %d bytes of the answer's body", a.Body.Size, length)
		}
		return nil
	}
	c.over = true
	return readBody(c.r, a, c.limits)
}

// lengthOf returns the length that an answer has by its header, -1 if it doesn't say.
func lengthOf(a *Answer) (int64, error) {
	length := int64(-1)
	for _, f := range a.Fields {
		if !strings.EqualFold(f.Name, "content-length") {
			continue
		}
		n, err := strconv.ParseInt(f.Value, 10, 64)
		if err != nil || n < 0 || length >= 0 && n != length {
			return 0, fmt.Errorf("the answer has a length that makes no sense: %q", shorten(f.Value))
		}
		length = n
	}
	return length, nil
}

// hasOption reports whether a list of a header field has an option.
func hasOption(list, option string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(o), option) {
			return true
		}
	}
	return false
}

// readBody reads a body to its end, keeps the beginning, and undoes its codings.
func readBody(r io.Reader, a *Answer, limits *Limits) error {
	var kept bytes.Buffer
	n, err := io.Copy(&kept, io.LimitReader(r, int64(limits.MaxBody)))
	rest := int64(0)
	if err == nil {
		rest, err = io.Copy(io.Discard, io.LimitReader(r, maxRead))
	}
	b := &a.Body
	*b = Body{Bytes: kept.Bytes(), Size: n + rest, Decoded: -1}
	switch {
	case err != nil:
		b.State = Cut
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("within the answer's body, after %d bytes: %w", b.Size, err)
	case rest == maxRead:
		b.State = Cut
		return fmt.Errorf("the answer's body is longer than %d bytes", maxRead)
	case rest > 0:
		b.State = Cut
	case b.Size > 0:
		b.State = Whole
	}
	decode(a, limits)
	return nil
}

// decode undoes the content codings of a body.
func decode(a *Answer, limits *Limits) {
	b := &a.Body
	var codings []string
	for _, f := range a.Fields {
		if strings.EqualFold(f.Name, "content-encoding") && !f.Trailer {
			codings = append(codings, f.Value)
		}
	}
	if len(codings) == 0 || b.State == NoBody {
		b.Decoded = b.Size
		return
	}
	var d body.Decoder
	out, r := d.Decode([]byte(strings.Join(codings, ",")), b.Bytes, limits.MaxBody)
	switch {
	case r.Undecoded != "" || r.Bad && len(out) == 0:
		if b.State == Whole {
			b.State = Coded
		}
		return
	case b.State == Whole && (r.Limited || !r.Complete):
		b.State = Cut
	}
	b.Bytes, b.Decoded = bytes.Clone(out), r.Decoded
	if b.State == Cut {
		b.Decoded = -1
	}
}
