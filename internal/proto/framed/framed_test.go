package framed

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/proto"
)

// frame is a frame of gRPC.
func frame(flags byte, payload string) string {
	b := binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(payload)))
	return string(b) + payload
}

func text(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// describe gives all that a counter tells.
func describe(c *Counter) string {
	p := c.Parts()
	s := fmt.Sprintf("%d/%d %d %d", p.Count, p.Compressed, p.Bytes, p.Largest)
	if t := c.Trailers(); t != nil {
		s += fmt.Sprintf(" %q", t)
	}
	if c.Bad() {
		s += " bad"
	}
	return s
}

const (
	ordinary = "application/grpc"
	web      = "application/grpc-web+proto"
	webText  = "application/grpc-web-text"
	sse      = "text/event-stream; charset=utf-8"
)

var bodies = []struct{ name, contentType, body, want string }{
	{"nothing", ordinary, "", "0/0 0 0"},
	{"one message", ordinary, frame(0, "abc"), "1/0 3 3"},
	{"an empty message", "Application/gRPC+proto; x=y", frame(0, ""), "1/0 0 0"},
	{"several", ordinary, frame(0, "abc") + frame(1, "abcdef") + frame(0, "") + frame(1, "a"), "4/2 10 6"},
	{"cut in a message", ordinary, frame(0, "abc") + frame(0, "abc")[:7], "1/0 3 3 bad"},
	{"cut in a prefix", ordinary, frame(0, "abc")[:4], "0/0 0 0 bad"},
	{"bad flags", ordinary, frame(0, "abc") + frame(2, "abc") + frame(0, "abc"), "1/0 3 3 bad"},
	{"trailers of gRPC-Web in gRPC", ordinary, frame(0, "abc") + frame(0x80, "abc"), "1/0 3 3 bad"},
	{"web", web, frame(0, "abc") + frame(0x80, "grpc-status: 0\r\n"), `1/0 3 3 "grpc-status: 0\r\n"`},
	{"web, no trailers in them", web, frame(1, "abc") + frame(0x80, ""), "1/1 3 3"},
	{"web, cut in trailers", web, frame(0, "abc") + frame(0x80, "grpc-status: 0\r\n")[:9], "1/0 3 3 bad"},
	{"web, more behind trailers", web, frame(0x80, "a: b\r\n") + frame(0, "abc"), `0/0 0 0 "a: b\r\n" bad`},
	{"web, trailers compressed", web, frame(0, "a") + frame(0x81, "a: b\r\n"), "1/0 1 1 bad"},
	{"web, long trailers", web, frame(0x80, strings.Repeat("a: bcd\r\n", 4000)),
		fmt.Sprintf("0/0 0 0 %q", strings.Repeat("a: bcd\r\n", MaxTrailers/8))},
	{"web, one endless trailer", web, frame(0x80, strings.Repeat("a", 2*MaxTrailers)), `0/0 0 0 ""`},
	{"text", webText, text(frame(0, "abc") + frame(0x80, "grpc-status: 14\r\n")), `1/0 3 3 "grpc-status: 14\r\n"`},
	{"text in pieces", webText, text(frame(0, "abc")) + text(frame(1, "abcd")) + "\r\n" + text(frame(0x80, "a: b")), `2/1 7 4 "a: b"`},
	{"text in pieces that end anywhere", webText, text(frame(0, "abc")[:1]) + text(frame(0, "abc")[1:3]) + text(frame(0, "abc")[3:]), "1/0 3 3"},
	{"text that isn't base64", webText, text(frame(0, "abc")) + "????" + text(frame(0, "abc")), "1/0 3 3 bad"},
	{"text that is cut", webText, text(frame(0, "abc")) + "AA", "1/0 3 3 bad"},

	{"no event", sse, "", "0/0 0 0"},
	{"one event", sse, "data: abc\n\n", "1/0 3 3"},
	{"line ends", sse, "data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\n\n", "4/0 4 1"},
	{"lines of data", sse, "data: abc\ndata:de\ndata\n\n", "1/0 7 7"},
	{"other fields", sse, ": comment\n\nevent: x\nid: 1\n\nevent: y\ndata: a\nid: 2\n\nretry: 10\n\n", "1/0 1 1"},
	{"names that begin alike", sse, "dat: a\n\ndatax: b\n\nDATA: c\n\n data: d\n\n", "0/0 0 0"},
	{"two spaces", sse, "data:  a\n\n", "1/0 2 2"},
	{"a colon in data", sse, "data:a: b:\n\n", "1/0 5 5"},
	{"empty data", sse, "data\n\ndata:\n\n", "2/0 0 0"},
	{"empty lines", sse, "\n\n\r\n\ndata: a\n\n\n\n", "1/0 1 1"},
	{"not ended", sse, "data: a\n\ndata: b\n", "1/0 1 1"},
	{"byte order mark", sse, "\ufeffdata: a\n\n", "1/0 1 1"},
	{"two byte order marks", sse, "\ufeff\ufeffdata: a\n\n", "0/0 0 0"},
	{"half a byte order mark", sse, "\xef\xbbdata: a\n\ndata: b\n\n", "1/0 1 1"},
	{"half a byte order mark and no more", sse, "\xef\n\ndata: b\n\n", "1/0 1 1"},
}

// count counts a body that comes in pieces of a size.
func count(contentType, body string, size int) *Counter {
	c := New([]byte(contentType))
	for len(body) > 0 {
		n := min(size, len(body))
		c.Write([]byte(body[:n]))
		body = body[n:]
	}
	c.Close()
	return c
}

func TestCounter(t *testing.T) {
	for _, b := range bodies {
		for _, size := range []int{len(b.body), 1, 2, 3, 7} {
			if got := describe(count(b.contentType, b.body, size)); got != b.want {
				t.Errorf("%s, by %d: %s instead of %s", b.name, size, got, b.want)
			}
		}
	}
}

func TestMediaTypes(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/grpc": true, "application/grpc+json": true, "APPLICATION/GRPC-WEB": true, " application/grpc-web-text+proto ;x": true, "text/event-stream": true,
		"": false, "application/grpcx": false, "application/grpc-webx": false, "text/event-stream+x": false, "application/json": false, "text/event": false,
	} {
		if got := New([]byte(contentType)) != nil; got != want {
			t.Errorf("%q: %v", contentType, got)
		}
		var c Counter
		if got := c.Reset([]byte(contentType)); got != want {
			t.Errorf("Reset %q: %v", contentType, got)
		}
	}
}

func TestZeroCounter(t *testing.T) {
	var c Counter
	c.Write([]byte(frame(0, "abc")))
	c.Gap(3)
	if got := describe(&c); got != "0/0 0 0" {
		t.Error(got)
	}
}

func TestReset(t *testing.T) {
	c := count(web, frame(0, "abc")+frame(0x80, "a: b\r\n")+"x", 4)
	c.Reset([]byte(sse))
	if got := describe(c); got != "0/0 0 0" || c.Held() != 0 {
		t.Errorf("after Reset: %s, %d bytes held", got, c.Held())
	}
	c.Write([]byte("data: a\n\n"))
	if got := describe(c); got != "1/0 1 1" {
		t.Errorf("of another body: %s", got)
	}
}

// Gaps are written as ~, which takes the place of one byte, or as % for one of unknown length.
var gaps = []struct{ name, contentType, body, want string }{
	{"in a message", ordinary, frame(0, "a~~d") + frame(0, "e"), "2/0 5 4"},
	{"at the end of a message", ordinary, frame(0, "ab~~") + frame(0, "e"), "2/0 5 4"},
	{"a whole message", ordinary, frame(0, "~~~~") + frame(0, "e"), "2/0 5 4"},
	{"over the end of a message", ordinary, frame(0, "abc~") + "~" + frame(0, "e")[1:] + frame(0, "f"), "0/0 0 0"},
	{"in a prefix", ordinary, frame(0, "abc") + "~" + frame(0, "de")[1:] + frame(0, "f"), "1/0 3 3"},
	{"of unknown length", ordinary, frame(0, "abc") + frame(0, "d%") + frame(0, "f"), "1/0 3 3"},
	{"in trailers", web, frame(0, "abc") + frame(0x80, "a: ~\r\n"), "1/0 3 3"},
	{"in text", webText, text(frame(0, "abc")) + "AAAA~AAA" + text(frame(0, "abc")), "1/0 3 3"},
	{"in a message in text", webText, text(frame(0, "abcdefghi"))[:12] + "~~~~" + text(frame(0, "abcdefghi"))[16:] + text(frame(0, "abc")), "0/0 0 0"},
	{"in an event", sse, "data: a\n\ndata: ~\n\ndata: c\n\n", "2/0 2 1"},
	{"at the end of an event", sse, "data: a\n\ndata: b~\ndata: c\n\ndata: d\n\n", "2/0 2 1"},
	{"at a line end", sse, "data: a\r~\r\ndata: b\r\n\r\ndata: c\r\n\r\n", "1/0 1 1"},
	{"before a line feed", sse, "data: a\n\n%\ndata: b\n\ndata: c\n\n", "2/0 2 1"},
	{"at the beginning", sse, "%\n\ndata: b\n\n", "1/0 1 1"},
}

func TestGap(t *testing.T) {
	for _, b := range gaps {
		c := New([]byte(b.contentType))
		body := b.body
		for len(body) > 0 {
			switch n := strings.IndexAny(body, "~%"); {
			case n < 0:
				c.Write([]byte(body))
				body = ""
			case n > 0:
				c.Write([]byte(body[:n]))
				body = body[n:]
			case body[0] == '%':
				c.Gap(proto.Unknown)
				body = body[1:]
			default:
				n := len(body) - len(strings.TrimLeft(body, "~"))
				c.Gap(int64(n))
				body = body[n:]
			}
		}
		c.Close()
		if got := describe(c); got != b.want {
			t.Errorf("%s: %s instead of %s", b.name, got, b.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	for _, b := range []struct{ contentType, body string }{
		{ordinary, strings.Repeat(frame(0, "abcdef"), 100)},
		{sse, strings.Repeat("event: x\ndata: abcdef\n\n", 100)},
		{webText, strings.Repeat(text(frame(0, "abcdef")), 100) + text(frame(0x80, "a: b\r\n"))},
	} {
		contentType, body := []byte(b.contentType), []byte(b.body)
		var c Counter
		if n := testing.AllocsPerRun(10, func() {
			c.Reset(contentType)
			c.Write(body)
			c.Close()
		}); n > 0 {
			t.Errorf("%s: %v allocations", b.contentType, n)
		}
	}
}

// reference counts the whole body at once, in the plainest way.
func reference(form form, b []byte) (p proto.Parts, bad bool) {
	add := func(size int) {
		p.Count++
		p.Bytes += int64(size)
		p.Largest = max(p.Largest, int64(size))
	}
	if form == eventStream {
		b = bytes.TrimPrefix(b, []byte("\ufeff"))
		b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
		lines := bytes.Split(b, []byte("\n"))
		var data [][]byte
		for _, line := range lines[:len(lines)-1] {
			name, value, _ := bytes.Cut(line, []byte(":"))
			switch {
			case len(line) == 0 && data != nil:
				add(len(bytes.Join(data, []byte("\n"))))
				data = nil
			case string(name) == "data":
				data = append(data, bytes.TrimPrefix(value, []byte(" ")))
			}
		}
		return p, false
	}
	trailers := false
	for len(b) >= prefixSize {
		size := int(binary.BigEndian.Uint32(b[1:]))
		switch flags := b[0]; {
		case trailers, flags > 1 && (form == grpc || flags != 0x80):
			return p, true
		case size > len(b)-prefixSize:
			return p, true
		case flags == 0x80:
			trailers = true
		default:
			add(size)
			p.Compressed += int64(flags)
		}
		b = b[prefixSize+size:]
	}
	return p, len(b) > 0
}

// Invariant: a body gives the same counts whole and byte by byte, those of a plain reading of the whole; gaps anywhere
// give no more messages, and nothing panics.
func FuzzCounter(f *testing.F) {
	for _, b := range bodies {
		f.Add(b.contentType, []byte(b.body), uint(3), uint(2))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte, at, missing uint) {
		c := New([]byte(contentType))
		if c == nil {
			return
		}
		c.Write(body)
		c.Close()
		whole := describe(c)
		if got := describe(count(contentType, string(body), 1)); got != whole {
			t.Fatalf("byte by byte %s, whole %s", got, whole)
		}
		if c.Held() > MaxTrailers {
			t.Fatalf("%d bytes are held", c.Held())
		}
		if c.form != grpcWebText {
			want, bad := reference(c.form, body)
			if c.Parts() != want || c.Bad() != bad {
				t.Fatalf("%s, but a plain reading gives %+v, bad %v", whole, want, bad)
			}
		}
		at = min(at, uint(len(body)))
		missing = min(missing, uint(len(body))-at)
		for _, n := range []int64{int64(missing), proto.Unknown} {
			g := New([]byte(contentType))
			g.Write(body[:at])
			g.Gap(n)
			g.Write(body[at+missing:])
			g.Close()
			if g.Parts().Count > c.Parts().Count {
				t.Fatalf("%s with a gap, %s without", describe(g), whole)
			}
		}
	})
}
