package cgi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// text is what a message says.
func text(m *proto.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %d %s %#x %s %d", m.Bytes(m.Method), m.Bytes(m.Target), m.Bytes(m.Proto), m.Status, m.Bytes(m.Reason), m.Version, m.Framing, m.Length)
	for i := range m.Fields {
		fmt.Fprintf(&b, "\n%s: %s", m.Bytes(m.Fields[i].Name), m.Bytes(m.Fields[i].Value))
	}
	for i := range m.Facts {
		fmt.Fprintf(&b, "\n%s = %s %d", m.Facts[i].Name, m.Bytes(m.Facts[i].Value), m.Facts[i].Number)
	}
	m.Anomalies.Each(func(a proto.Anomaly) { fmt.Fprintf(&b, "\n[%s]", a) })
	return b.String()
}

func TestRequest(t *testing.T) {
	var r Request // used again and again
	for _, c := range []struct {
		name      string
		variables []string
		known     bool
		want      string
	}{
		{"a form", []string{"REQUEST_METHOD=POST", "REQUEST_URI=/a?b", "SERVER_PROTOCOL=HTTP/1.0", "CONTENT_TYPE=a/b", "CONTENT_LENGTH=3", "HTTP_HOST=h", "HTTP_X_Y_Z=1_2",
			"SCRIPT_FILENAME=/s", "REMOTE_ADDR=::1", "REMOTE_PORT=80", "PASSWORD=x"}, true,
			"POST /a?b HTTP/1.0 0  0x100 length 3\ncontent-type: a/b\ncontent-length: 3\nhost: h\nx-y-z: 1_2\nscript = /s 0\nremote_ip = ::1 0\nremote_port =  80"},
		{"no body", []string{"REQUEST_METHOD=GET", "REQUEST_URI=/", "SERVER_PROTOCOL=HTTP/3.0", "CONTENT_LENGTH=", "REMOTE_PORT="}, true,
			"GET / HTTP/3.0 0  0x101 none -1"},
		{"a body of nothing", []string{"REQUEST_METHOD=PUT", "REQUEST_URI=/", "SERVER_PROTOCOL=HTTP/1.1", "CONTENT_LENGTH=0"}, true,
			"PUT / HTTP/1.1 0  0x101 none 0\ncontent-length: 0"},
		{"twice, as variables and as fields", []string{"HTTP_CONTENT_TYPE=a", "HTTP_CONTENT_LENGTH=1", "CONTENT_TYPE=b", "CONTENT_LENGTH=2", "REQUEST_METHOD=A", "REQUEST_METHOD=B"}, false,
			"A   0  0x101 length 1\ncontent-type: a\ncontent-length: 1"},
		{"the target in parts", []string{"QUERY_STRING=q=%20", "SCRIPT_NAME=/app", "PATH_INFO=/x y%?#ü", "REQUEST_METHOD=GET", "DOCUMENT_URI=/no", "SERVER_PROTOCOL=HTTP/1.1"}, false,
			"GET /app/x%20y%25%3F%23%C3%BC?q=%20 HTTP/1.1 0  0x101 none -1"},
		{"the target of the document", []string{"DOCUMENT_URI=/d", "REQUEST_METHOD=GET"}, false, "GET /d  0  0x101 none -1"},
		{"nothing", nil, false, "?   0  0x101 none -1\n[bad-start-line]"},
		{"oddities", []string{"REQUEST_METHOD=GET", "REQUEST_URI=/a b\xff", "SERVER_PROTOCOL=HTTP/1.1", "CONTENT_LENGTH=-1", "HTTP_A=\x01", "HTTP_B=2", "HTTP_C=3"}, true,
			"GET /a b\xff HTTP/1.1 0  0x101 none -1\ncontent-length: -1\na: \x01\nb: 2\n[control-in-field]\n[bad-length]\n[spaces-in-target]\n[too-many-fields]\n[control-in-target]"},
	} {
		maxFields := 10
		if c.name == "oddities" {
			maxFields = 3
		}
		var m proto.Message
		m.Reset()
		r.Begin(&m, maxFields)
		for _, v := range c.variables {
			name, value, _ := strings.Cut(v, "=")
			r.Add([]byte(name), []byte(value))
		}
		if known := r.Known(); known != c.known {
			t.Errorf("%s: known %v", c.name, known)
		}
		r.End()
		if got := text(&m); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestReadHead(t *testing.T) {
	for _, c := range []struct {
		head         string
		whole, known bool
		want         string
	}{
		{"Status: 404 Not Found\r\nA: b\r\n\r\n", true, true, "   404 Not Found 0x101 stream -1\nStatus: 404 Not Found\nA: b"},
		{"A:b \nC :\td\n\n", true, true, "   200  0x101 stream -1\nA: b\nC: d"},
		{"Location: /x\n\n", true, true, "   302  0x101 stream -1\nLocation: /x"},
		{"A: b\r\n", false, false, "   0  0x101 stream -1\nA: b"},
		{"Status: 200\r\n", false, true, "   200  0x101 stream -1\nStatus: 200"},
		{"HTTP/1.0 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true, true, "  HTTP/1.0 304 Not Modified 0x100 none 5\nContent-Length: 5"},
		{"HTTP/1.1 204\r\n\r\n", true, true, "  HTTP/1.1 204  0x101 none -1"},
		{"HTTP/1.1\r\n\r\n", true, true, "  HTTP/1.1 0  0x101 stream -1\n[bad-status]"},
		{"Status: 2x0\nContent-Length: 4\nContent-Length: 4\n\n", true, true, "   0  0x101 length 4\nStatus: 2x0\nContent-Length: 4\nContent-Length: 4\n[duplicate-length]\n[bad-status]"},
		{"Content-Length: 4\nContent-Length: 5\nContent-Length: x\n: y\nz\n1: 2\n\n", true, true,
			"   200  0x101 length 4\nContent-Length: 4\nContent-Length: 5\nContent-Length: x\n: y\n[bad-field-name]\n[field-without-colon]\n[conflicting-length]\n[bad-length]\n[too-many-fields]"},
		{"\r\n", true, true, "   200  0x101 stream -1"},
	} {
		var m proto.Message
		m.Reset()
		if known := ReadHead(&m, []byte(c.head), c.whole, 4); known != c.known {
			t.Errorf("%q: known %v", c.head, known)
		}
		if got := text(&m); got != c.want {
			t.Errorf("%q: got\n%s\nwant\n%s", c.head, got, c.want)
		}
	}
}

func TestHeadEnd(t *testing.T) {
	for in, want := range map[string]int{
		"": -1, "a": -1, "a\n": -1, "a\n\n": 3, "a\r\n\r\nb": 5, "a\r\n\r": -1, "\n": 1, "\r\n": 2, "a\n\r\nb\n\n": 4, "a\r\r\n\n": 5, "\r\r\n": -1,
	} {
		if got := HeadEnd([]byte(in), 0); got != want {
			t.Errorf("HeadEnd(%q) = %d, want %d", in, got, want)
		}
		// The same, when it comes byte by byte.
		got, scanned := -1, 0
		for i := 1; i <= len(in) && got < 0; i++ {
			got = HeadEnd([]byte(in[:i]), scanned)
			scanned = LineStart([]byte(in[:i]))
		}
		if got != want {
			t.Errorf("HeadEnd(%q) byte by byte = %d, want %d", in, got, want)
		}
	}
}

func TestBegins(t *testing.T) {
	for in, want := range map[string][2]proto.Match{
		"":                  {proto.NeedMore, proto.NeedMore},
		"S":                 {proto.NeedMore, proto.NeedMore},
		"STATUS: 200":       {proto.Yes, proto.Yes},
		"HTTP/1.1 200":      {proto.Yes, proto.Yes},
		"HTTP/2":            {proto.No, proto.No},
		"content-type: a/b": {proto.Yes, proto.No},
		"Set-Coo":           {proto.NeedMore, proto.No},
		"<p>":               {proto.No, proto.No},
	} {
		if got := [2]proto.Match{Begins([]byte(in)), BeginsStatus([]byte(in))}; got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// glutton is a sink that wants so many bytes.
type glutton struct {
	proto.Sink
	want int
	got  []byte
}

func (g *glutton) WantsBody(*proto.Message) int    { return g.want - len(g.got) }
func (g *glutton) Body(_ *proto.Message, p []byte) { g.got = append(g.got, p...) }

func TestBody(t *testing.T) {
	var b Body
	for _, c := range []struct {
		head   string
		events int64
	}{
		{"Content-Type: text/event-stream; charset=utf-8\n\n", 2},
		{"Content-Type: text/html\n\n", 0},
		{"Content-Type: text/event-stream\nContent-Encoding: gzip\n\n", 0},
		{"Content-Type: text/event-stream\nContent-Encoding: identity\n\n", 2},
		{"Status: 204\nContent-Type: text/event-stream\n\n", 0},
	} {
		var m proto.Message
		m.Reset()
		ReadHead(&m, []byte(c.head), true, 10)
		held, sink := 0, &glutton{want: 12}
		b.Begin(&m)
		b.Add(&m, []byte("data: 1\n\n"), sink, &held)
		b.Miss(&m, 5, &held)
		b.Add(&m, []byte("\n\ndata: 2\n\n"), sink, &held)
		b.End(&m, true, &held)
		if m.Parts.Count != c.events || m.BodyBytes != 25 || m.MissingBytes != 5 || string(sink.got) != "data: 1\n\n\n\nd" || held != 0 {
			t.Errorf("%q: %+v, %d bytes, %d missing, %q, %d held", c.head, m.Parts, m.BodyBytes, m.MissingBytes, sink.got, held)
		}
	}
}
