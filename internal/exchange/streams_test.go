package exchange_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// told drives a sink with messages, one each millisecond.
type told struct {
	*connection
	sink interface {
		proto.Sink
		Closed(d proto.Direction, at clock.Mark, both bool)
	}
}

func (c *told) mark() clock.Mark {
	c.now += 1e6
	return clock.Mark{Time: epoch + c.now, Packet: uint64(c.now / 1e6), Offset: c.now / 1e6 * 10, Peer: -1}
}

// streams begins a connection with streams.
func (t *table) streams(resumed bool) *told {
	c := t.connect()
	s := new(exchange.StreamPairer)
	s.Open(&c.layer, "http2", proto.Originator, resumed)
	return &told{c, s}
}

// head makes a message of words, "GET /a" or "200", and gives it to the sink.
func (c *told) head(stream uint64, words string) *proto.Message {
	m := &proto.Message{Stream: stream, Length: -1, Version: 0x0200, First: c.mark(), Raw: []byte(words)}
	m.Last = m.First
	method, target, asks := strings.Cut(words, " ")
	if asks {
		m.Method = proto.Span{Len: uint32(len(method))}
		m.Target = proto.Span{Off: uint32(len(method)) + 1, Len: uint32(len(target))}
	} else {
		m.Kind, m.Dir = proto.Response, proto.Responder
		fmt.Sscan(words, &m.Status)
		if m.Status < 200 {
			m.Kind = proto.Interim
		}
	}
	c.sink.Head(m)
	m.Raw = nil
	return m
}

func (c *told) end(m *proto.Message, how proto.End, why proto.CloseReason) {
	m.Last = c.mark()
	m.End, m.Close = how, why
	c.sink.End(m)
}

func (c *told) abort(stream uint64, by proto.Direction, name string) {
	c.sink.Abort(&proto.Abort{Stream: stream, By: by, Name: name, At: c.mark()})
}

func (c *told) close() {
	c.facts.Why = proto.Finished
	c.sink.Closed(proto.Originator, c.mark(), false)
	c.sink.Closed(proto.Responder, c.mark(), true)
	c.layer.Closed(c.mark())
}

// TestStreams: responses answer the requests of their streams, in whatever order they come, and each way to end has its grade.
func TestStreams(t *testing.T) {
	b := newTable(defaults())
	c := b.streams(false)
	one, three := c.head(1, "GET /one"), c.head(3, "GET /three")
	c.end(three, proto.Whole, proto.Open)
	c.end(one, proto.Whole, proto.Open)
	hint := c.head(1, "103")
	c.end(hint, proto.Whole, proto.Open)
	second, first := c.head(3, "203"), c.head(1, "200")
	c.end(second, proto.Whole, proto.Open)
	c.end(first, proto.Whole, proto.Open)
	// An answer before its request is over, which is then given up.
	five := c.head(5, "POST /five")
	early := c.head(5, "413")
	c.end(early, proto.Whole, proto.Open)
	c.end(five, proto.Cut, proto.StreamReset)
	c.abort(5, proto.Responder, "NO_ERROR")
	// Given up in the middle of the answer, and before it.
	seven, nine := c.head(7, "GET /seven"), c.head(9, "GET /nine")
	c.end(seven, proto.Whole, proto.Open)
	c.end(nine, proto.Whole, proto.Open)
	cut := c.head(7, "200")
	c.end(cut, proto.Cut, proto.StreamReset)
	c.abort(7, proto.Originator, "CANCEL")
	c.abort(9, proto.Responder, "REFUSED_STREAM")
	c.abort(99, proto.Responder, "CANCEL") // nobody knows it
	// Given up when all was said.
	whole := c.head(11, "GET /eleven")
	c.end(whole, proto.Whole, proto.Open)
	answer := c.head(11, "200")
	c.end(answer, proto.Whole, proto.Open)
	c.abort(11, proto.Originator, "NO_ERROR")
	// Nobody asked, nobody answers.
	alone := c.head(13, "200")
	c.end(alone, proto.Whole, proto.Open)
	late := c.head(15, "GET /fifteen")
	c.end(late, proto.Whole, proto.Open)
	c.close()
	compare(t, b.text(), `
		1 GET /three 203 complete
		0 GET /one (103) 200 complete
		2 POST /five 413 aborted: answered after 0 B of the request, stream given up by the server: NO_ERROR [early-response]
		3 GET /seven 200 aborted: after 0 B of the response, stream given up by the client: CANCEL
		4 GET /nine - aborted: stream given up by the server: REFUSED_STREAM
		5 GET /eleven 200 complete
		6 - - 200 gap: a response without a request [response-without-request]
		7 GET /fifteen - unanswered: the client closed before an answer`)
	if b.engine.Memory() != 0 {
		t.Errorf("%d bytes are still charged", b.engine.Memory())
	}
	if x := b.out.Done[3]; x.Abort == nil || x.Abort.By != proto.Originator || x.ErrorCode() != "CANCEL" || x.StreamID() != 7 {
		t.Errorf("%+v", x.Abort)
	}
}

// TestStreamsLost: a loss matters to the streams that were open, and to no later one.
func TestStreamsLost(t *testing.T) {
	b := newTable(defaults())
	c := b.streams(false)
	c.facts.Half[1].Gaps = 1
	one := c.head(1, "GET /one")
	c.end(one, proto.Whole, proto.Open)
	c.sink.Lost(proto.Responder, c.mark())
	three := c.head(3, "GET /three")
	c.end(three, proto.Whole, proto.Open)
	c.close()
	compare(t, b.text(), `
		0 GET /one - gap: its response may have been in bytes that weren't captured
		1 GET /three - unanswered: the client closed before an answer`)
}

// TestStreamUsedAgain: a stream whose number comes again is over.
func TestStreamUsedAgain(t *testing.T) {
	b := newTable(defaults())
	c := b.streams(false)
	c.head(1, "GET /one")
	two := c.head(1, "GET /two")
	c.end(two, proto.Whole, proto.Open)
	answer := c.head(1, "200")
	c.end(answer, proto.Whole, proto.Open)
	if got := b.text(); !strings.HasPrefix(got, "0 GET /one - unanswered") || !strings.HasSuffix(got, "1 GET /two 200 complete\n") {
		t.Error(got)
	}
}

// TestStreamsTimeOut: a request that waits too long is given up, and its late answer is nobody's.
func TestStreamsTimeOut(t *testing.T) {
	b := newTable(defaults())
	c := b.streams(false)
	one := c.head(1, "GET /one")
	c.end(one, proto.Whole, proto.Open)
	b.engine.Tick(int64(6*time.Minute), c.mark())
	answer := c.head(1, "200")
	c.end(answer, proto.Whole, proto.Open)
	c.close()
	if got := b.text(); !strings.HasPrefix(got, "0 GET /one - unanswered: no answer within the exchange timeout\n1 - - 200 gap") {
		t.Error(got)
	}
}

// TestContinued: after a change to HTTP/2 the request before it is answered on stream 1 (RFC 7540 §3.2), and ids differ.
func TestContinued(t *testing.T) {
	b := newTable(defaults())
	c := b.connect()
	c.play(`> GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n` + "\n" + `< HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n`)
	s := new(exchange.StreamPairer)
	s.Open(&c.layer, "http2", proto.Originator, false)
	h := &told{c, s}
	answer := h.head(1, "200")
	h.end(answer, proto.Whole, proto.Open)
	compare(t, b.text(), "0 GET /a 101 complete stream\n1 GET /a 200 complete")
	if a, b := b.out.Done[0].ID(""), b.out.Done[1].ID(""); a == b {
		t.Error("both have one id")
	}
}

// TestSession: all messages of a WebSocket are one exchange, and each one more on request; ids differ.
func TestSession(t *testing.T) {
	for _, messages := range []bool{false, true} {
		limits := defaults()
		limits.Messages = messages
		b := newTable(limits)
		c := b.connect()
		c.play(`> GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n` + "\n" + `< HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n`)
		s := new(exchange.SessionPairer)
		s.Open(&c.layer, "websocket", proto.Originator, false)
		h := &told{c, s}
		say := func(d proto.Direction, kind string, size int64, status int) {
			m := &proto.Message{Kind: proto.Event, Dir: d, Length: -1, First: h.mark(), Raw: []byte(kind), Method: proto.Span{Len: uint32(len(kind))}, Status: status}
			m.Last = m.First
			h.sink.Head(m)
			m.Raw, m.Method = nil, proto.Span{}
			m.BodyBytes, m.Size = size, size+2
			if status == 0 {
				m.Parts = proto.Parts{Count: 1, Bytes: size, Largest: size}
			}
			if want := h.sink.WantsBody(m); (want > 0) != messages {
				t.Errorf("wants %d bytes", want)
			} else if want > 0 && size > 0 {
				h.sink.Body(m, make([]byte, size))
			}
			h.end(m, proto.Whole, proto.Open)
		}
		say(proto.Responder, "text", 5, 0) // the server speaks first
		say(proto.Originator, "text", 7, 0)
		say(proto.Responder, "binary", 50, 0)
		say(proto.Originator, "close", 0, 1001)
		h.close()
		done := b.out.Done
		want := 2
		if messages {
			want = 6
		}
		if len(done) != want || b.engine.Memory() != 0 {
			t.Fatalf("%d exchanges, %d bytes still charged:\n%s", len(done), b.engine.Memory(), b.text())
		}
		ids := map[[exchange.IDSize]byte]bool{}
		for _, x := range done {
			ids[x.ID("")] = true
		}
		if len(ids) != want {
			t.Errorf("%d exchanges have %d ids", want, len(ids))
		}
		x := done[want-1]
		if x.Protocol != "websocket" || string(x.Request.Bytes(x.Request.Target)) != "/chat" || x.Response.Status != 101 || !x.Stream || x.Grade != exchange.Complete ||
			x.Request.Parts != (proto.Parts{Count: 1, Bytes: 7, Largest: 7}) || x.Response.Parts != (proto.Parts{Count: 2, Bytes: 55, Largest: 50}) ||
			x.Closing != (exchange.Closing{Seen: true, By: proto.Originator, Code: 1001}) {
			t.Errorf("the session is %+v", x)
		}
		if !messages {
			continue
		}
		for i, x := range done[1:5] {
			if string(x.Request.Bytes(x.Request.Target)) != "/chat" || x.Request.Field("host") == nil {
				t.Errorf("message %d is about %q", i, x.Request.Bytes(x.Request.Target))
			}
		}
		if m := done[3].Message; m.Kind != "binary" || m.Dir != proto.Responder || m.Index != 1 || done[3].Response.BodyBytes != 50 || done[3].Response.Status != 0 {
			t.Errorf("a message is %+v of %+v", m, done[3])
		}
	}
}

// TestTLSRecord: a TLS session of which no exchange came has a record, one of which some came has none.
func TestTLSRecord(t *testing.T) {
	for _, c := range []struct {
		name  string
		tls   proto.TLS
		why   proto.CloseReason
		asks  bool
		grade exchange.Grade
		want  string
	}{
		{"no keys", proto.TLS{Established: true, Reason: "no keys were given"}, proto.Finished, false, exchange.Undecryptable, "no keys were given"},
		{"failed", proto.TLS{Failure: "TLS handshake failed"}, proto.Finished, false, exchange.Aborted, "TLS handshake failed"},
		{"reset", proto.TLS{}, proto.Reset, false, exchange.Aborted, "TLS handshake: reset by the client"},
		{"given up", proto.TLS{}, proto.TimedOut, false, exchange.Unanswered, "TLS handshake: connection silent"},
		{"nothing said", proto.TLS{Established: true, Decrypted: true}, proto.Finished, false, exchange.Complete, ""},
		{"read", proto.TLS{Established: true, Decrypted: true}, proto.Finished, true, exchange.Complete, ""},
	} {
		b := newTable(defaults())
		x := b.connect()
		c.tls.Hello = clock.Mark{Time: epoch + 5, Packet: 4}
		x.layer.Session(&c.tls)
		if c.asks {
			x.play(sprintf(get, "a") + ok)
		}
		x.facts.Why = c.why
		x.pairer.Closed(proto.Responder, clock.Mark{Time: epoch + 1e9}, true)
		x.layer.Closed(clock.Mark{Time: epoch + 1e9, Packet: 9})
		if len(b.out.Done) != 1 {
			t.Fatalf("%s: %s", c.name, b.text())
		}
		done := b.out.Done[0]
		if done.Grade != c.grade || done.Reason != c.want || done.TLS == nil || done.HasRequest != c.asks || (done.Protocol == "tls") == c.asks {
			t.Errorf("%s: %v %q %+v", c.name, done.Grade, done.Reason, done)
		}
		if !c.asks && (done.Start.Packet != 4 || done.LastPacket != 9) {
			t.Errorf("%s: packets %d to %d", c.name, done.Start.Packet, done.LastPacket)
		}
	}
}
