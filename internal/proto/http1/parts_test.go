package http1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// ends is a sink that notes how messages end.
type ends struct{ text []string }

func (e *ends) Head(*proto.Message) proto.Answers    { return proto.AnswersOrdinary }
func (e *ends) Body(*proto.Message, []byte)          {}
func (e *ends) WantsBody(*proto.Message) int         { return 0 }
func (e *ends) Lost(d proto.Direction, _ clock.Mark) { e.text = append(e.text, "lost") }
func (e *ends) Abort(*proto.Abort)                   {}
func (e *ends) Session(*proto.TLS)                   {}
func (e *ends) Proxied(*proto.Proxied)               {}

func (e *ends) String() string { return strings.Join(e.text, "; ") }

func (e *ends) End(m *proto.Message) {
	s := fmt.Sprintf("%d %d/%d %d %d", m.End, m.Parts.Count, m.Parts.Compressed, m.Parts.Bytes, m.Parts.Largest)
	for _, f := range m.Fields {
		s += fmt.Sprintf(" %s=%s", m.Bytes(f.Name), m.Bytes(f.Value))
		if f.Flags != proto.Trailer {
			s += " which is no trailer"
		}
	}
	m.Anomalies.Each(func(a proto.Anomaly) { s += " " + a.String() })
	e.text = append(e.text, s)
}

const (
	message  = "\x00\x00\x00\x00\x03abc"
	trailers = "\x80\x00\x00\x00\x10grpc-status: 0\r\n"
)

// response makes a response of a media type, by length or in chunks of a size.
func response(fields, body string, chunk int) string {
	if chunk == 0 {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n%s", fields, len(body), body)
	}
	s := "HTTP/1.1 200 OK\r\n" + fields + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	for len(body) > 0 {
		n := min(chunk, len(body))
		s += fmt.Sprintf("%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return s + "0\r\n"
}

var countedBodies = []struct{ name, response, want string }{
	{"events", response("Content-Type: text/event-stream;charset=utf-8", "data: a\n\ndata: bc\n\n", 0), "1 2/0 3 2"},
	{"events in chunks", response("content-type:text/event-stream", "data: a\n\ndata: bc\n\n", 5) + "\r\n", "1 2/0 3 2"},
	{"compressed events", response("Content-Type: text/event-stream\r\nContent-Encoding: gzip", "data: a\n\n", 0), "1 0/0 0 0"},
	{"events, not coded", response("Content-Encoding: Identity\r\nContent-Type: text/event-stream", "data: a\n\n", 0), "1 1/0 1 1"},
	{"gRPC-Web", response("Content-Type: application/grpc-web", message+message+trailers, 0), "1 2/0 6 3 grpc-status=0"},
	{"gRPC-Web in chunks", response("Content-Type: application/grpc-web+proto", message+trailers, 7) + "\r\n", "1 1/0 3 3 grpc-status=0"},
	{"trailers of both", response("Content-Type: application/grpc-web+proto", message+trailers, 7) + "A: b\r\n\r\n", "1 1/0 3 3 A=b grpc-status=0"},
	{"no trailers among the trailers", response("Content-Type: application/grpc-web", message+"\x80\x00\x00\x00\x05abc\r\n", 0), "1 1/0 3 3 field-without-colon"},
	{"gRPC-Web, broken", response("Content-Type: application/grpc-web", message+"\x7f"+message, 0), "1 1/0 3 3 bad-message-framing"},
	{"gRPC-Web, a message isn't whole", response("Content-Type: application/grpc-web", message+message[:6], 0), "1 1/0 3 3 bad-message-framing"},
	{"another type", response("Content-Type: text/plain", "data: a\n\n", 0), "1 0/0 0 0"},
	{"one after the other", response("Content-Type: text/event-stream", "data: a\n\n", 0) + response("Content-Type: text/plain", "data: a\n\n", 0) +
		response("X: y", "data: a\n\n", 0) + response("Content-Type: application/grpc-web", message, 0), "1 1/0 1 1; 1 0/0 0 0; 1 0/0 0 0; 1 1/0 3 3"},
}

func TestCountsMessages(t *testing.T) {
	for _, c := range countedBodies {
		for _, size := range []int{len(c.response), 1, 3} {
			var sink ends
			held := 0
			p := New(&proto.Context{Sink: &sink, Limits: &proto.Limits{MaxHead: 1 << 12, MaxFields: 10}, Held: &held})
			rest := []byte(c.response)
			for len(rest) > 0 {
				n := min(size, len(rest))
				p.Data(proto.Responder, rest[:n], clock.Mark{})
				rest = rest[n:]
			}
			if got := sink.String(); got != c.want {
				t.Errorf("%s, by %d: %s instead of %s", c.name, size, got, c.want)
			}
			if held != 0 {
				t.Errorf("%s, by %d: %d bytes are held", c.name, size, held)
			}
		}
	}
}

// What is counted before the end can be looked at, and what is kept is counted as held.
func TestCountsOnTheWay(t *testing.T) {
	var sink ends
	held := 0
	p := New(&proto.Context{Sink: &sink, Limits: &proto.Limits{MaxHead: 1 << 12, MaxFields: 10}, Held: &held}).(*Parser)
	body := "HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nContent-Length: 1000\r\n\r\n" + message + trailers
	p.Data(proto.Responder, []byte(body[:len(body)-2]), clock.Mark{})
	if n := p.sides[proto.Responder].msg.Parts.Count; n != 1 {
		t.Errorf("%d messages so far", n)
	}
	if held != len("grpc-status: 0") {
		t.Errorf("%d bytes are held", held)
	}
	p.Close(proto.Responder, clock.Mark{}, proto.Reset)
	if got, want := sink.String(), "3 1/0 3 3"; got != want || held != 0 {
		t.Errorf("%s instead of %s, %d bytes held", got, want, held)
	}
}

func TestGapWithinMessages(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\nContent-Length: 22\r\n\r\n"
	for _, c := range []struct {
		name string
		gap  int64
		want string
	}{
		{"within a message", 2, "1 3/0 7 3"},
		{"over its end", 4, "1 0/0 0 0"},
		{"of unknown length", proto.Unknown, "2 0/0 0 0; lost"},
	} {
		var sink ends
		held := 0
		p := New(&proto.Context{Sink: &sink, Limits: &proto.Limits{MaxHead: 1 << 12, MaxFields: 10}, Held: &held})
		p.Data(proto.Responder, []byte(head+message[:6]), clock.Mark{})
		p.Gap(proto.Responder, c.gap, clock.Mark{})
		rest := (message + message + "\x00\x00\x00\x00\x01a")[6+max(c.gap, 0):]
		p.Data(proto.Responder, []byte(rest), clock.Mark{})
		if got := sink.String(); got != c.want {
			t.Errorf("%s: %s instead of %s", c.name, got, c.want)
		}
	}
}

// A gap of unknown length leaves open where the message ends, wherever it is.
func TestGapOfUnknownLength(t *testing.T) {
	for _, sent := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ",
		"HTTP/1.1 200 OK\r\nContent-",
	} {
		var sink ends
		held := 0
		p := New(&proto.Context{Sink: &sink, Limits: &proto.Limits{MaxHead: 1 << 12, MaxFields: 10}, Held: &held}).(*Parser)
		p.Data(proto.Responder, []byte(sent), clock.Mark{})
		p.Gap(proto.Responder, proto.Unknown, clock.Mark{})
		if m := &p.sides[proto.Responder].msg; sink.String() != "2 0/0 0 0; lost" || m.MissingBytes != 0 || held != 0 {
			t.Errorf("%q: %s, %d bytes missing, %d held", sent, sink.String(), m.MissingBytes, held)
		}
	}
}
