package http1

import (
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// heads is a sink that keeps the messages whose heads came.
type heads struct{ messages []*proto.Message }

func (h *heads) Head(m *proto.Message) proto.Answers {
	c := new(proto.Message)
	c.CopyFrom(m)
	h.messages = append(h.messages, c)
	return proto.AnswersOrdinary
}
func (h *heads) Body(*proto.Message, []byte)      {}
func (h *heads) WantsBody(*proto.Message) int     { return 0 }
func (h *heads) End(m *proto.Message)             { h.messages[len(h.messages)-1].Finish(m) }
func (h *heads) Lost(proto.Direction, clock.Mark) {}
func (h *heads) Abort(*proto.Abort)               {}
func (h *heads) Session(*proto.TLS)               {}
func (h *heads) Proxied(*proto.Proxied)           {}

// one parses the first message in text, which a server sends if it begins with HTTP.
func one(t *testing.T, text string) *proto.Message {
	t.Helper()
	h, held := &heads{}, 0
	p := New(&proto.Context{Sink: h, Limits: &proto.Limits{MaxHead: 1 << 16, MaxFields: 5}, Held: &held})
	d := proto.Originator
	if strings.HasPrefix(strings.ToUpper(text), "HTTP") {
		d = proto.Responder
	}
	p.Data(d, []byte(text), clock.Mark{})
	p.Close(d, clock.Mark{}, proto.Finished)
	if held != 0 {
		t.Errorf("%d bytes held in the end", held)
	}
	if len(h.messages) == 0 {
		t.Fatal("no message")
	}
	return h.messages[0]
}

func TestStartLines(t *testing.T) {
	for _, c := range []struct {
		text, method, target, reason string
		status                       int
		version                      uint16
		anomalies                    string
	}{
		{"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/a?b", "", 0, 0x0101, ""},
		{"OPTIONS * HTTP/1.0\r\n\r\n", "OPTIONS", "*", "", 0, 0x0100, ""},
		{"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT", "a:443", "", 0, 0x0101, ""},
		{"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "http://a/", "", 0, 0x0101, ""},
		{"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "BREW", "/pot", "", 0, 0x0101, ""},
		{"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/a b", "", 0, 0x0101, "spaces-in-target"},
		{"GET  /a  HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/a", "", 0, 0x0101, "bad-start-line"},
		{"GET /\xff\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/\xff\x01", "", 0, 0x0101, "control-in-field control-in-target"},
		{"GET / HTTP/1.1\r\n\r\n", "GET", "/", "", 0, 0x0101, "missing-host"},
		{"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "GET", "/", "", 0, 0x0101, "duplicate-host"},
		{"GET / HTTP/x\r\nHost: a\r\n\r\n", "GET", "/", "", 0, 0, "bad-version"},
		{"GET /old\r\n", "GET", "/old", "", 0, 0x0009, "http-0.9"},
		{"\r\n\r\nGET / HTTP/1.0\r\n\r\n", "GET", "/", "", 0, 0x0100, "leading-empty-line"},
		{"GET / HTTP/1.0\n\n", "GET", "/", "", 0, 0x0100, "line-end-lf"},
		{"HTTP/1.1 200 OK fine\r\n\r\n", "", "", "OK fine", 200, 0x0101, ""},
		{"HTTP/1.1 204\r\n\r\n", "", "", "", 204, 0x0101, ""},
		{"HTTP/1.1  200 OK\r\n\r\n", "", "", "OK", 200, 0x0101, "bad-start-line"},
		{"HTTP/1.1 2000 OK\r\n\r\n", "", "", "OK", 2000, 0x0101, "bad-status"},
		{"HTTP/1.1 abc\r\n\r\n", "", "", "abc", 0, 0x0101, "bad-status"},
		{"http/1.1 200 OK\r\n\r\n", "", "", "OK", 200, 0x0101, "bad-version"},
		{"HTTP/1.1\v200\vOK\r\n\r\n", "", "", "OK", 200, 0x0101, "control-in-field bad-status"},
	} {
		m := one(t, c.text)
		if string(m.Bytes(m.Method)) != c.method || string(m.Bytes(m.Target)) != c.target || string(m.Bytes(m.Reason)) != c.reason ||
			m.Status != c.status || m.Version != c.version || !sameAnomalies(m, c.anomalies) {
			t.Errorf("%q: method %q target %q reason %q status %d version %#x anomalies %q", c.text,
				m.Bytes(m.Method), m.Bytes(m.Target), m.Bytes(m.Reason), m.Status, m.Version, anomalies(m))
		}
	}
}

func anomalies(m *proto.Message) string {
	var names []string
	m.Anomalies.Each(func(a proto.Anomaly) { names = append(names, a.String()) })
	return strings.Join(names, " ")
}

func TestFields(t *testing.T) {
	for _, c := range []struct{ lines, want, anomalies string }{
		{"A: 1\r\nb:2\r\nC:\t3 \t\r\n", "A=1 b=2 C=3", ""},
		{"A: 1\r\n 2\r\n\t3\r\nB: 4\r\n", "A=1\r\n 2\r\n\t3 B=4", "obs-fold"},
		{" folded\r\nA: 1\r\n", "A=1", "obs-fold field-without-colon"},
		{"A : 1\r\n", "A=1", "space-before-colon"},
		{"A b: 1\r\n", "A b=1", "bad-field-name"},
		{": 1\r\n", "=1", "bad-field-name"},
		{"no colon\r\nA: 1\r\n", "A=1", "field-without-colon"},
		{"A: 1\x00\r\n", "A=1\x00", "control-in-field"},
		{"A: caf\xe9\r\n", "A=caf\xe9", ""},
		{"A:\r\n", "A=", ""},
		{"A: 1\nB: 2\n", "A=1 B=2", "line-end-lf"},
		{"A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\n and its line\r\n", "A=1 B=2 C=3 D=4 E=5", "obs-fold too-many-fields"},
	} {
		m := one(t, "GET / HTTP/1.0\r\n"+c.lines+"\r\n")
		var got []string
		for _, f := range m.Fields {
			got = append(got, string(m.Bytes(f.Name))+"="+string(m.Bytes(f.Value)))
		}
		if strings.Join(got, " ") != c.want || anomalies(m) != c.anomalies {
			t.Errorf("%q: %q %q, want %q %q", c.lines, got, anomalies(m), c.want, c.anomalies)
		}
	}
}

func TestFraming(t *testing.T) {
	for _, c := range []struct {
		head      string
		framing   proto.Framing
		length    int64
		anomalies string
	}{
		{"POST / HTTP/1.0\r\n", proto.NoBody, -1, ""},
		{"POST / HTTP/1.0\r\nContent-Length: 5\r\n", proto.ByLength, 5, ""},
		{"POST / HTTP/1.0\r\nContent-Length: 0005\r\n", proto.ByLength, 5, ""},
		{"POST / HTTP/1.0\r\nContent-Length: 5, 5\r\n", proto.ByLength, 5, "duplicate-length"},
		{"POST / HTTP/1.0\r\nContent-Length: 5\r\nContent-Length: 6\r\n", proto.ByLength, 5, "conflicting-length"},
		{"POST / HTTP/1.0\r\nContent-Length: -5\r\n", proto.NoBody, -1, "bad-length"},
		{"POST / HTTP/1.0\r\nContent-Length: +5\r\n", proto.NoBody, -1, "bad-length"},
		{"POST / HTTP/1.0\r\nContent-Length: 9999999999999999999\r\n", proto.NoBody, -1, "bad-length"},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", proto.Chunked, -1, ""},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n", proto.Chunked, -1, "obs-fold"},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, Chunked\r\n", proto.Chunked, -1, ""},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n", proto.NoBody, -1, "unknown-transfer-coding"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", proto.Chunked, 5, "length-and-chunked"},
		{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", proto.Chunked, -1, "transfer-coding-in-http10"},
		{"HTTP/1.1 200 OK\r\n", proto.UntilClose, -1, ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", proto.ByLength, 7, ""},
		{"HTTP/1.1 204 OK\r\nContent-Length: 7\r\n", proto.NoBody, 7, ""},
		{"HTTP/1.1 304 OK\r\nTransfer-Encoding: chunked\r\n", proto.NoBody, -1, ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n", proto.UntilClose, -1, "chunked-not-last"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 7\r\n", proto.ByLength, 7, "length-and-chunked"},
	} {
		m := one(t, c.head+"\r\n")
		if m.Framing != c.framing || m.Length != c.length || !sameAnomalies(m, c.anomalies) {
			t.Errorf("%q: %v %d %q, want %v %d %q", c.head, m.Framing, m.Length, anomalies(m), c.framing, c.length, c.anomalies)
		}
	}
}

// sameAnomalies compares, but for the end that the tests never send.
func sameAnomalies(m *proto.Message, want string) bool {
	got := strings.TrimSpace(strings.ReplaceAll(anomalies(m), proto.EndedWithoutLastChunk.String(), ""))
	return got == want
}

// Words of eight bytes must be judged like their bytes, whatever stands where in them.
func TestWordsAreJudgedLikeBytes(t *testing.T) {
	b := make([]byte, 24)
	for at := range 16 {
		for c := range 256 {
			for i := range b {
				b[i] = "aZ-mNxQzA"[i%9]
			}
			b[at] = byte(c)
			want := len(b)
			if !isToken[c] {
				want = at
			}
			if got := tokenEnd(b, 0); got != want {
				t.Errorf("%#x at %d: the token ends at %d, want %d", c, at, got, want)
			}
			controls := 0
			if c < 0x20 {
				controls = 1
			}
			if got := countControls(b); got != controls {
				t.Errorf("%#x at %d: %d controls, want %d", c, at, got, controls)
			}
		}
	}
	if got := countControls(make([]byte, 10000)); got != 10000 {
		t.Errorf("%d controls of 10,000", got)
	}
}
