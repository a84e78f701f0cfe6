package console

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/preview"
	"github.com/culprit-http/culprit/internal/proto"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	_ output.Output = (*Output)(nil)
	_ output.Waiter = (*Output)(nil)
)

var (
	screen = Options{Terminal: terminal.Terminal{Width: 80}}
	pipe   = Options{}
)

// typed makes a response of a media type.
func typed(mediaType, body string) *exchange.Exchange {
	return outputtest.Exchange("GET /x HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\nContent-Type: "+mediaType+"\n\n"+body)
}

func unauthorized() *exchange.Exchange {
	return outputtest.Exchange(
		"GET /api/transactions?investor_id=7 HTTP/1.1\nHost: shop.example\nAuthorization: Bearer …[redacted 15 #4f2a]\n\n",
		"HTTP/1.1 401 Unauthorized\nContent-Type: application/json\n\n{\"error\": \"key expired\"}")
}

func refusedUpload() *exchange.Exchange {
	x := outputtest.Exchange(
		"POST /upload HTTP/1.1\nHost: shop.example\nContent-Type: image/png\nContent-Length: 12478054\nExpect: 100-continue\n\n",
		"HTTP/1.1 413 Request Entity Too Large\nConnection: close\n\n")
	x.Request.BodyBytes, x.Request.Framing, x.Request.Length = 33_894, proto.ByLength, 12_478_054
	x.Interim = []exchange.Interim{{Status: 100, At: clock.Mark{Time: x.Start.Time + 3_100_000}}}
	x.Grade, x.Reason = exchange.Aborted, "answered after 33.1 KiB of 11.9 MiB, then reset"
	x.MissingBytes = 1460
	x.Timing.Overlap, x.Timing.Idle, x.Timing.TLS = 4_000_000, 1_200_000, 12_345_678
	x.Timing.Total += x.Timing.Idle + x.Timing.TLS
	x.Anomalies.Set(proto.EarlyResponse)
	x.Anomalies.Set(proto.LengthAndChunked)
	return x
}

func unanswered() *exchange.Exchange {
	x := outputtest.Exchange("GET /slow HTTP/1.1\nHost: shop.example\n\n", "")
	x.Grade, x.Reason = exchange.Unanswered, "capture ended"
	x.Timing.Wait, x.Timing.Receive, x.Timing.Duration, x.Timing.Total = -1, -1, -1, -1
	x.LastPacket = x.FirstPacket
	return x
}

func responseOnly() *exchange.Exchange {
	x := outputtest.Exchange("", "HTTP/1.1 304 Not Modified\nETag: \"a\"\n\n")
	x.Grade, x.Reason = exchange.OneSided, "requests weren't captured"
	x.Timing = exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: -1, Wait: -1, Receive: 500_000, Duration: -1, Total: -1}
	return x
}

const attack = "\x1b[2J\x1b]52;c;evil\x07\u202e\u009b\xff\r\n\x00"

func hostile() *exchange.Exchange {
	x := typed("text/plain\x1b[31m", "first\x1b[2J\r\n\tsecond\u202e\x9b\nthird\x07")
	x.Request.Raw = append(x.Request.Raw, attack...)
	evil := proto.Span{Off: uint32(len(x.Request.Raw) - len(attack)), Len: uint32(len(attack))}
	x.Request.Method, x.Request.Target = evil, evil
	x.Request.Fields = append(x.Request.Fields, proto.Field{Name: evil, Value: evil})
	x.Reason, x.Grade = attack, exchange.Gap
	x.Tap = &exchange.Tap{Name: "eth0\x1b[1m"}
	return x
}

func longAddresses() *exchange.Exchange {
	x := outputtest.Exchange("GET /"+strings.Repeat("segment/", 20)+"?last=1 HTTP/1.1\nHost: a\nCookie: "+strings.Repeat("日本=x; ", 40)+"\n\n",
		"HTTP/1.1 200 OK\nServer: b\n\n")
	x.Flow = outputtest.Flow("[2001:db8:1111:2222:3333:4444:5555:6666]:51022", "[2001:db8::2]:8000")
	x.Number, x.FirstPacket, x.LastPacket = 52_856, 1_234_567, 1_234_599
	return x
}

func multipart() *exchange.Exchange {
	x := outputtest.Exchange("POST /form HTTP/1.1\nHost: a\nContent-Type: multipart/form-data; boundary=b\n\n--b\nraw",
		"HTTP/1.1 200 OK\nX: y\n\n")
	x.RequestBody.Parts = []exchange.Part{
		{Name: "photo", Filename: "a.jpg\x1b[1m", Type: "image/jpeg", Bytes: 12_345}, {Name: "note", Bytes: 7},
	}
	return x
}

func cut() *exchange.Exchange {
	x := typed("application/json", `{"items": [1, 2, 3`)
	x.Response.BodyBytes, x.ResponseBody.Cut, x.ResponseBody.DecodedBytes = 12_478_054, true, -1
	return x
}

func cutBinary() *exchange.Exchange {
	x := typed("image/png", "\x89PNG\r\n\x1a\n\x00")
	x.Response.BodyBytes, x.ResponseBody.Cut, x.ResponseBody.DecodedBytes = 12_478_054, true, -1
	return x
}

func undecoded() *exchange.Exchange {
	x := outputtest.Exchange("GET /x HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Encoding: br\n\n\x1b\x02\x03")
	x.ResponseBody.Undecoded, x.ResponseBody.DecodedBytes = "br", -1
	return x
}

// grpc has two messages with a text each, and a byte that begins no other.
func grpc() *exchange.Exchange {
	return typed("application/grpc", "\x00\x00\x00\x00\x05\x0a\x03abc\x00\x00\x00\x00\x05\x0a\x03\x1b[2\x00")
}

func decoding() *preview.Previewer {
	return preview.New(preview.Options{Redact: func(_ string, text []byte) []byte { return text }})
}

func trailer() *exchange.Exchange {
	x := outputtest.Exchange("GET /x HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\nX-A: 1\nX-Sum: abc\n\nbody\n")
	x.Response.Fields[1].Flags = proto.Trailer
	return x
}

func oldest() *exchange.Exchange {
	x := outputtest.Exchange("GET /x", "HTTP/1.1 200 OK\n\n<p>hello")
	x.Response.Raw, x.Response.HeadSize, x.Response.Fields, x.Response.Status = nil, 0, nil, 0
	x.Response.Proto, x.Response.Reason, x.Response.Version = proto.Span{}, proto.Span{}, 9
	x.Anomalies.Set(proto.HTTP09)
	return x
}

// between makes an exchange between processes.
func between(client, server *exchange.Process) *exchange.Exchange {
	x := unauthorized()
	x.Process = [2]*exchange.Process{client, server}
	return x
}

var (
	curl  = &exchange.Process{PID: 812, Name: "curl", Unit: "session-3.scope"}
	nginx = &exchange.Process{
		PID: 97, Name: "nginx", Args: []string{"nginx", "-g", "daemon off;"}, Executable: "/usr/sbin/nginx", User: "www-data",
		ContainerID: "3f2a9c1b04de5c1a3f2a9c1b04de5c1a3f2a9c1b04de5c1a3f2a9c1b04de5c1a",
		PodUID:      "8f4b1c9e-2f36-4d3f-9a53-6a2d1f0c7b11", Unit: "nginx.service", Listening: true,
	}
)

// hostileProcess has names as long as they get, and as bad.
func hostileProcess() *exchange.Process {
	long := strings.Repeat(attack, 256/len(attack))
	return &exchange.Process{PID: 4194304, Name: attack + strings.Repeat("x", 64), ContainerID: attack, PodUID: "pod" + long, Unit: long}
}

func hostileProcesses() *exchange.Exchange { return between(hostileProcess(), hostileProcess()) }

var goldens = []struct {
	name    string
	options Options
	make    func() *exchange.Exchange
}{
	{"unauthorized", screen, unauthorized},
	{"unauthorized-pipe", pipe, unauthorized},
	{"unauthorized-colour", Options{Terminal: terminal.Terminal{Width: 100, Color: true}}, unauthorized},
	{"refused-upload", screen, refusedUpload},
	{"refused-upload-colour", Options{Terminal: terminal.Terminal{Width: 80, Color: true}}, refusedUpload},
	{"unanswered", screen, unanswered},
	{"response-only", screen, responseOnly},
	{"hostile", screen, hostile},
	{"long", screen, longAddresses},
	{"long-pipe", pipe, longAddresses},
	{"one-header", Options{Headers: []string{"CONTENT-type"}, Terminal: screen.Terminal}, unauthorized},
	{"no-headers", Options{NoHeaders: true, Terminal: screen.Terminal}, unauthorized},
	{"json", screen, func() *exchange.Exchange {
		return typed("application/problem+json; charset=utf-8", `{"title":"Not enough credit","detail":"balance 30, cost 50","accounts":["/account/1",{"id":2}]}`)
	}},
	{"json-broken", screen, func() *exchange.Exchange { return typed("application/json", `{"title":`) }},
	{"json-cut", screen, func() *exchange.Exchange {
		x := typed("application/json", `{"items": [{"id": 1, "name": "a name that takes more than a line, with what is around"}, {"id"`)
		x.Response.BodyBytes, x.ResponseBody.Cut, x.ResponseBody.DecodedBytes = 12_478_054, true, -1
		return x
	}},
	{"events", screen, func() *exchange.Exchange {
		return typed("text/event-stream", "event: tick\x1b[2J\ndata: 1\n\ndata: {\"a\":1}\n\n")
	}},
	{"grpc", Options{Preview: decoding(), Terminal: screen.Terminal}, grpc},
	{"grpc-not-decoded", screen, grpc},
	{"form", screen, func() *exchange.Exchange {
		return typed("application/x-www-form-urlencoded", "name=J%C3%BCrgen+M&empty=&flag&bad=%zz&esc=%1b%5b2J")
	}},
	{"multipart", screen, multipart},
	{"latin1", screen, func() *exchange.Exchange { return typed("text/html; charset=iso-8859-1", "<p>caf\xe9</p>\n") }},
	{"sniffed", screen, func() *exchange.Exchange { return typed("application/octet-stream", "key: value\nGrüße\n") }},
	{"binary", screen, func() *exchange.Exchange { return typed("image/png", "\x89PNG\r\n\x1a\n\x00") }},
	{"binary-cut", screen, cutBinary},
	{"cut", screen, cut},
	{"sniffed-cut", screen, func() *exchange.Exchange {
		x := typed("application/octet-stream", "Gr\u00fc\u00dfe \xe6\x97")
		x.Response.BodyBytes, x.ResponseBody.Cut, x.ResponseBody.DecodedBytes = 4096, true, -1
		return x
	}},
	{"undecoded", screen, undecoded},
	{"not-kept", screen, func() *exchange.Exchange {
		x := typed("text/css", "p {}")
		x.ResponseBody = exchange.Body{DecodedBytes: -1}
		return x
	}},
	{"trailer", screen, trailer},
	{"http09", screen, oldest},
	{"processes", screen, func() *exchange.Exchange { return between(curl, nginx) }},
	{"processes-pipe", pipe, func() *exchange.Exchange { return between(curl, nginx) }},
	{"processes-colour", Options{Terminal: terminal.Terminal{Width: 140, Color: true}}, func() *exchange.Exchange { return between(curl, nginx) }},
	{"processes-reversed", screen, func() *exchange.Exchange {
		x := between(nginx, curl)
		x.Client = proto.Responder
		return x
	}},
	{"process-client", screen, func() *exchange.Exchange { return between(curl, nil) }},
	{"process-server", screen, func() *exchange.Exchange {
		return between(nil, &exchange.Process{Name: "nginx", Unit: "nginx.service"})
	}},
	{"process-program", screen, func() *exchange.Exchange {
		return between(nil, &exchange.Process{PID: 5, Executable: "/usr/bin/python3.12"})
	}},
	{"process-owner", screen, func() *exchange.Exchange {
		return between(&exchange.Process{User: "www-data"}, &exchange.Process{PID: 5, Unit: "a.service"})
	}},
	{"process-empty", screen, func() *exchange.Exchange { return between(&exchange.Process{}, nil) }},
	{"processes-hostile", screen, hostileProcesses},
}

func show(t *testing.T, o Options, f func(*Output) error) []byte {
	t.Helper()
	var b bytes.Buffer
	out := New(&b, o)
	if err := f(out); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for _, c := range goldens {
		t.Run(c.name, func(t *testing.T) {
			got := show(t, c.options, func(o *Output) error { return o.Exchange(c.make()) })
			outputtest.Golden(t, *update, c.name+".txt", got)
		})
	}
}

// What verdicts say, and whom each part of the time is due to.
func TestVerdicts(t *testing.T) {
	for name, o := range map[string]Options{"blame": {NoHeaders: true, Terminal: screen.Terminal}, "blame-colour": {NoHeaders: true, Terminal: terminal.Terminal{Width: 100, Color: true}}} {
		got := show(t, o, func(o *Output) (err error) {
			for _, x := range outputtest.Verdicts() {
				err = errors.Join(err, o.Exchange(x))
			}
			return err
		})
		outputtest.Golden(t, *update, name+".txt", got)
	}
}

func TestWaiting(t *testing.T) {
	x := unanswered()
	got := show(t, screen, func(o *Output) error { return o.Waiting(x, 12300*time.Millisecond) })
	outputtest.Golden(t, *update, "waiting.txt", got)
	x.Process = [2]*exchange.Process{curl, nginx}
	got = show(t, screen, func(o *Output) error { return o.Waiting(x, 12300*time.Millisecond) })
	outputtest.Golden(t, *update, "waiting-processes.txt", got)
}

func TestFitsTheTerminal(t *testing.T) {
	for _, width := range []int{80, 100, 140} {
		for _, c := range goldens {
			got := show(t, Options{Terminal: terminal.Terminal{Width: width}}, func(o *Output) error { return o.Exchange(c.make()) })
			for line := range strings.SplitSeq(string(got), "\n") {
				if w := terminal.Width([]byte(line)); w > width {
					t.Errorf("%s: %d columns of %d: %s", c.name, w, width, line)
				}
			}
		}
	}
}

func TestNothingHostilePasses(t *testing.T) {
	for _, o := range []Options{screen, pipe} {
		x := hostile()
		x.Process = [2]*exchange.Process{hostileProcess(), hostileProcess()}
		got := show(t, o, func(out *Output) error { return out.Exchange(x) })
		for _, r := range string(got) {
			if r < ' ' && r != '\n' && r != '\t' || 0x7f <= r && r < 0xa0 || r == 0x202e || r == 0xfffd {
				t.Errorf("%U passed", r)
			}
		}
	}
}

// Indentation of JSON that is nested n deep takes n² bytes.
func TestDeepJSONStaysSmall(t *testing.T) {
	body := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	got := show(t, screen, func(o *Output) error { return o.Exchange(typed("application/json", body)) })
	if len(got) > 2*len(body) {
		t.Errorf("%d bytes of JSON are shown as %d", len(body), len(got))
	}
}

// Invariant of FuzzBody: whatever the body and its type, what is shown has no control character but
// newlines and tabs, and is at most a fixed multiple of the body.
func FuzzBody(f *testing.F) {
	for _, c := range goldens {
		x := c.make()
		f.Add(string(exchange.MediaType(&x.Response)), x.ResponseBody.Bytes, x.ResponseBody.Cut)
	}
	f.Fuzz(func(t *testing.T, mediaType string, body []byte, cut bool) {
		x := typed("x", "x")
		x.Response.Raw = append(x.Response.Raw, mediaType...)
		x.Response.Fields[0].Value = proto.Span{Off: uint32(len(x.Response.Raw) - len(mediaType)), Len: uint32(len(mediaType))}
		x.ResponseBody = exchange.Body{Bytes: body, Cut: cut, DecodedBytes: -1}
		x.Response.BodyBytes = int64(len(body))
		got := show(t, Options{Preview: decoding(), Terminal: screen.Terminal}, func(o *Output) error { return o.Exchange(x) })
		if len(got) > 2000+8*len(mediaType)+3*preview.MaxDepth*len(body) {
			t.Fatalf("%d bytes for a body of %d", len(got), len(body))
		}
		for _, r := range string(got) {
			if r < ' ' && r != '\n' && r != '\t' || 0x7f <= r && r < 0xa0 {
				t.Fatalf("%U passed", r)
			}
		}
	})
}
