package line

// Invariant of FuzzColumns: whatever a message holds, every line for a terminal of 80 columns or more fits
// it, and nothing in it can steer it. Characters that join what follows them (such as U+06DD) are left out:
// no two terminals agree on their widths.

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	_ output.Output   = (*Output)(nil)
	_ output.Waiter   = (*Output)(nil)
	_ output.Headline = (*Output)(nil)
)

const ok = "HTTP/1.1 200 OK\nContent-Type: text/plain\n\nhello"

// with makes an exchange and changes it.
func with(request, response string, change func(x *exchange.Exchange)) *exchange.Exchange {
	x := outputtest.Exchange(request, response)
	change(x)
	return x
}

// lasting sets the parts of the timing that the bar shows.
func lasting(connect, send, wait, receive time.Duration) func(x *exchange.Exchange) {
	return func(x *exchange.Exchange) {
		x.Timing = exchange.Timing{
			Idle: -1, Connect: int64(connect), TLS: -1, Send: int64(send), Wait: int64(wait), Receive: int64(receive),
			Duration: int64(send + wait + receive),
		}
	}
}

// cases are what the golden files show, in this order.
func cases() []*exchange.Exchange {
	get := func(target string) string { return "GET " + target + " HTTP/1.1\nHost: shop.example\n\n" }
	return []*exchange.Exchange{
		outputtest.Exchange(get("/"), ok),
		outputtest.Exchange(get("/api/transactions?investor_id=7&page=1&per_page=500&sort=date&order=descending"), ok),
		with(get("/slow"), ok, lasting(20*time.Millisecond, 10*time.Millisecond, 40*time.Millisecond, 10*time.Millisecond)),
		with(get("/minutes"), ok, lasting(0, 0, 59*time.Minute+5*time.Second, 0)),
		with(get("/days"), ok, lasting(0, 0, 2000*time.Hour, 0)),
		with(get("/large"), ok, func(x *exchange.Exchange) { x.Response.BodyBytes = 1023 << 20 }),
		with(get("/unknown"), ok, lasting(-1, -1, -1, -1)),
		// Targets in other forms, and no Host.
		outputtest.Exchange("GET http://other.example/x HTTP/1.1\nHost: shop.example\n\n", ok),
		outputtest.Exchange("OPTIONS * HTTP/1.1\nHost: shop.example\n\n", ok),
		outputtest.Exchange("CONNECT shop.example:443 HTTP/1.1\nHost: shop.example\n\n", ok),
		outputtest.Exchange("GET /no-host HTTP/1.0\n\n", ok),
		// IPv6.
		with(get("/six"), ok, func(x *exchange.Exchange) {
			x.Flow = outputtest.Flow("[2001:db8:1234:5678:9abc:def0:1234:5678]:51022", "[2001:db8::2]:8000")
		}),
		with(get("/four"), ok, func(x *exchange.Exchange) {
			x.Flow = outputtest.Flow("203.0.113.140:51022", "203.0.113.141:8000")
		}),
		// The other side connected: the client is the responder.
		with(get("/reversed"), ok, func(x *exchange.Exchange) { x.Client = proto.Responder }),
		// Methods, hostile bytes, wide characters.
		outputtest.Exchange("VERSION-CONTROL /long-standard-method HTTP/1.1\nHost: shop.example\n\n", ok),
		outputtest.Exchange(strings.Repeat("M", 300)+" /long-method HTTP/1.1\nHost: shop.example\n\n", ok),
		outputtest.Exchange("G\x1b[2JT /hostile\x1b]0;owned\x07\u202egpj HTTP/1.1\nHost: shop\x9b.example\n\n", ok),
		outputtest.Exchange(get("/日本語/東京都/千代田区/永田町/一丁目/地図"), ok),
		outputtest.Exchange(get("/emoji/👩\u200d👩\u200d👧/e\u0301te\u0301"), ok),
		with(get("/two"), ok, func(x *exchange.Exchange) { // a target with a space in it
			x.Request.Raw = []byte("GET /two words HTTP/1.1")
			x.Request.Fields, x.Request.Target = nil, proto.Span{Off: 4, Len: 10}
		}),
		// What isn't complete.
		with(get("/upload"), "HTTP/1.1 413 Content Too Large\n\n", func(x *exchange.Exchange) {
			x.Grade, x.Reason = exchange.Aborted, "answered after 33.0 KiB of 11.9 MiB, reset by the server"
		}),
		with(get("/hung"), "", func(x *exchange.Exchange) {
			x.Grade, x.Reason = exchange.Unanswered, "capture ended"
		}),
		with("", ok, func(x *exchange.Exchange) {
			x.Grade, x.Reason = exchange.Midstream, "the request was sent before the capture began; "+
				"it can't be known what this response answers, nor how long it took to come"
		}),
		outputtest.Exchange(get("/error"), "HTTP/1.1 503 Service Unavailable\n\n"),
	}
}

// kindCases are what has other columns, or more to say.
func kindCases() []*exchange.Exchange {
	const call = ":method: POST\n:scheme: https\n:path: /shop.Cart/Add\n:authority: joe:secret@shop.example:8443\ncontent-type: application/grpc\n\n"
	nameless := outputtest.TLSRecord()
	nameless.TLS.ServerName, nameless.TLS.ALPN = "", ""
	odd := outputtest.TLSRecord()
	odd.Flow = outputtest.Flow("10.0.0.7:51022", "10.0.0.2:8443")
	odd.TLS.ServerName, odd.TLS.ALPN = "a b\x1b.example", "h 2"
	odd.Grade, odd.Reason = exchange.Aborted, "TLS handshake: unknown_ca from the client"
	broken := outputtest.Session()
	broken.Grade, broken.Reason, broken.Closing = exchange.Aborted, "reset by the server", exchange.Closing{}
	late := outputtest.SessionMessage(proto.Responder, "binary", "12345")
	late.HasRequest, late.Request = false, proto.Message{}
	unnamed := outputtest.SessionMessage(proto.Originator, "text", "hello")
	unnamed.Request.Target.Len = 0 // the upgrade wasn't seen
	return []*exchange.Exchange{
		outputtest.TLSRecord(), nameless, odd,
		outputtest.HTTP2(":method: GET\n:scheme: https\n:path: /two\n:authority: shop.example\n\n", ":status: 404\n\n"),
		outputtest.HTTP2(":method: GET\n:scheme: https\n:path: ?\n:authority: shop.example\n\n", ":status: 200\n\n"),
		outputtest.HTTP2(call, ":status: 200\ncontent-type: application/grpc\ntrailer grpc-status: 14\n\n"),
		outputtest.HTTP2(call, ":status: 200\ncontent-type: application/grpc\ntrailer grpc-status: 5\n\n"),
		outputtest.HTTP2(call, ":status: 200\ncontent-type: application/grpc\ntrailer grpc-status: 0\n\n"),
		outputtest.Session(), broken,
		outputtest.SessionMessage(proto.Originator, "text", "hello"), outputtest.SessionMessage(proto.Responder, "ping", ""), late, unnamed,
	}
}

// processCases are what the golden files of live captures show.
func processCases() []*exchange.Exchange {
	curl, nginx := &exchange.Process{PID: 812, Name: "curl"}, &exchange.Process{PID: 97, Name: "nginx"}
	between := func(target string, client, server *exchange.Process) *exchange.Exchange {
		x := outputtest.Exchange("GET "+target+" HTTP/1.1\nHost: shop.example\n\n", ok)
		x.Process = [2]*exchange.Process{client, server}
		return x
	}
	named := func(name string) *exchange.Process { return &exchange.Process{PID: 4194304, Name: name} }
	hung := between("/hung", curl, nginx)
	hung.HasResponse, hung.Grade, hung.Reason = false, exchange.Unanswered, "capture ended"
	long := between("/midstream", named("systemd-resolved"), named("puma 5.6.5 (tcp"))
	long.Grade, long.Reason = exchange.Midstream, "the request was sent before the capture began; "+
		"it can't be known what this response answers, nor how long it took to come"
	reset := between("/reset", nil, nil)
	reset.Grade, reset.Reason = exchange.Aborted, "reset by the server"
	wide := between("/wide/note", named("データベース"), named("e\u0301te\u0301"))
	wide.Grade, wide.Reason = exchange.Aborted, "answered after 33.0 KiB, reset by server" // more bytes than columns
	half := between("/half", nil, nginx)
	half.Grade, half.Reason = exchange.Aborted, "reset by the server"
	unknown := between("/unknown", curl, nginx)
	lasting(-1, -1, -1, -1)(unknown)
	slow := between("/days", curl, nginx)
	lasting(0, 0, 2000*time.Hour, 0)(slow)
	reversed := between("/reversed", nginx, curl)
	reversed.Client = proto.Responder
	return []*exchange.Exchange{
		between("/", curl, nginx),
		between("/api/transactions?investor_id=7&page=1&per_page=500", curl, nginx),
		between("/remote/client", nil, nginx),
		between("/remote/server", curl, nil),
		between("/neither", nil, nil),
		reversed, unknown, slow,
		between("/one/of/several", curl, &exchange.Process{Name: "nginx"}),
		// Without a command name: by the program, or by the id alone; an owner alone says nothing here.
		between("/program", &exchange.Process{PID: 5, Executable: "/usr/bin/python3.12"}, nginx),
		between("/id", &exchange.Process{PID: 5}, nginx),
		between("/owner", &exchange.Process{User: "www-data"}, nginx),
		// Names that are long, hostile, or wide.
		between("/long", named("gunicorn: master"), named("nginx")),
		between("/both/long", named("systemd-resolved"), named("postgres: walwriter process")),
		between("/spaces", named("puma 5.6.5 (tcp"), named("kworker/0:1")),
		between("/posing", named("-"), named("a>b/1")),
		between("/hostile", named("\x1b[2J\x9b\u202e\x00"), named("\n\r\t ")),
		between("/wide", named("データベース"), named("e\u0301te\u0301")),
		hung, long, reset, wide, half,
	}
}

// show writes all cases, then one that waits.
func show(t *testing.T, term terminal.Terminal) []byte {
	t.Helper()
	waiting := outputtest.Exchange("GET /waiting HTTP/1.1\nHost: shop.example\n\n", "")
	return showAll(t, Options{Terminal: term, Location: time.UTC}, append(cases(), kindCases()...), waiting)
}

// showLive does the same with processes looked for.
func showLive(t *testing.T, term terminal.Terminal) []byte {
	t.Helper()
	all := processCases()
	waiting := outputtest.Exchange("GET /waiting HTTP/1.1\nHost: shop.example\n\n", "")
	waiting.Process = all[0].Process
	return showAll(t, Options{Terminal: term, Location: time.UTC, Processes: true}, all, waiting)
}

func showAll(t *testing.T, options Options, all []*exchange.Exchange, waiting *exchange.Exchange) []byte {
	t.Helper()
	var w bytes.Buffer
	o := New(&w, options)
	for _, x := range all {
		if err := o.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Waiting(waiting, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}

func TestGolden(t *testing.T) {
	for _, width := range []int{0, 80, 100, 140} {
		outputtest.Golden(t, *update, fmt.Sprintf("%d.txt", width), show(t, terminal.Terminal{Width: width}))
		outputtest.Golden(t, *update, fmt.Sprintf("live-%d.txt", width), showLive(t, terminal.Terminal{Width: width}))
	}
}

func showVerdicts(t *testing.T, term terminal.Terminal) []byte {
	t.Helper()
	waiting := outputtest.Slow()
	waiting.HasResponse = false
	return showAll(t, Options{Terminal: term, Location: time.UTC}, outputtest.Verdicts(), waiting)
}

func TestVerdicts(t *testing.T) {
	for _, width := range []int{0, 80, 140} {
		outputtest.Golden(t, *update, fmt.Sprintf("blame-%d.txt", width), showVerdicts(t, terminal.Terminal{Width: width}))
	}
	for width := 80; width <= 160; width++ {
		fits(t, showVerdicts(t, terminal.Terminal{Width: width}), width)
	}
}

// fits checks what is shown on a terminal.
func fits(t *testing.T, shown []byte, width int) {
	t.Helper()
	for line := range strings.Lines(string(shown)) {
		line, whole := strings.CutSuffix(line, "\n")
		if !whole {
			t.Errorf("width %d: no line end: %q", width, line)
		}
		if n := terminal.Width([]byte(line)); n > width {
			t.Errorf("width %d: %d columns: %q", width, n, line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 || 0x202a <= r && r <= 0x202e }) {
			t.Errorf("width %d: not safe: %q", width, line)
		}
	}
}

func TestLinesFitTheTerminal(t *testing.T) {
	for width := 80; width <= 200; width++ {
		fits(t, show(t, terminal.Terminal{Width: width}), width)
		fits(t, showLive(t, terminal.Terminal{Width: width}), width)
	}
	for width := 1; width < 80; width++ { // too narrow for the layout, but nothing breaks
		show(t, terminal.Terminal{Width: width})
		showLive(t, terminal.Terminal{Width: width})
	}
}

// Where the columns are depends on what is looked for, never on what was found.
func TestProcessesDoNotMoveColumns(t *testing.T) {
	for width := 80; width <= 200; width++ {
		term := terminal.Terminal{Width: width}
		options := Options{Terminal: term, Location: time.UTC, Processes: true}
		without := processCases()
		for _, x := range without {
			x.Process = [2]*exchange.Process{}
		}
		bare := outputtest.Exchange("GET /waiting HTTP/1.1\nHost: shop.example\n\n", "")
		with, plain := showLive(t, term), showAll(t, options, without, bare)
		if width < barFrom { // only notes differ
			note := regexp.MustCompile(`(?m)^ {13}.*\n`)
			with, plain = note.ReplaceAll(with, nil), note.ReplaceAll(plain, nil)
			if !bytes.Equal(with, plain) {
				t.Errorf("width %d:\n%s\nwithout processes:\n%s", width, with, plain)
			}
			continue
		}
		lines, bares := strings.Split(string(with), "\n"), strings.Split(string(plain), "\n")
		if len(lines) != len(bares) {
			t.Fatalf("width %d: %d lines, without processes %d", width, len(lines), len(bares))
		}
		for i := range lines {
			rest, same := strings.CutPrefix(lines[i], bares[i])
			if !same {
				t.Errorf("width %d:\n%s\nwithout processes:\n%s", width, lines[i], bares[i])
			}
			names := strings.TrimLeft(rest, " ")
			at := terminal.Width([]byte(lines[i])) - terminal.Width([]byte(names))
			if want := width - New(nil, options).processes; names != "" && at != want {
				t.Errorf("width %d: processes in column %d, not %d:\n%s", width, at, want, lines[i])
			}
		}
	}
}

// What isn't looked for isn't shown, and takes no room.
func TestProcessesNotLookedFor(t *testing.T) {
	for _, width := range []int{0, 80, 100, 140} {
		options := Options{Terminal: terminal.Terminal{Width: width}, Location: time.UTC}
		x, bare := processCases(), processCases()
		for _, x := range bare {
			x.Process = [2]*exchange.Process{}
		}
		if got, want := showAll(t, options, x, x[0]), showAll(t, options, bare, bare[0]); !bytes.Equal(got, want) {
			t.Errorf("width %d:\n%s\nwant\n%s", width, got, want)
		}
	}
}

// Colours add control sequences and nothing else.
func TestColour(t *testing.T) {
	sequence := regexp.MustCompile("\x1b\\[[0-9]*m")
	coloured := show(t, terminal.Terminal{Width: 100, Color: true})
	if got := sequence.ReplaceAll(coloured, nil); !bytes.Equal(got, show(t, terminal.Terminal{Width: 100})) {
		t.Errorf("without colours it reads\n%s", got)
	}
	if !bytes.Contains(coloured, []byte("\x1b[31m503\x1b[0m")) {
		t.Errorf("a 503 isn't red:\n%q", coloured)
	}
}

// Every line of the plain form has the same fields, so that awk can count on them.
func TestPlainFields(t *testing.T) {
	var w bytes.Buffer
	o := New(&w, Options{Location: time.UTC})
	for i, x := range cases() {
		w.Reset()
		if err := errors.Join(o.Exchange(x), o.Flush()); err != nil {
			t.Fatal(err)
		}
		fields := strings.Split(strings.TrimSuffix(w.String(), "\n"), " ")
		if complete := x.Grade == exchange.Complete; complete && len(fields) != 7 || !complete && len(fields) < 9 {
			t.Errorf("case %d: %d fields: %q", i, len(fields), w.String())
		}
		if _, err := time.Parse(time.RFC3339Nano, fields[0]); err != nil {
			t.Error(err)
		}
	}
}

// What nobody asked for has a result only when it says that something failed.
func TestUnaskedFailure(t *testing.T) {
	for _, c := range []struct {
		x    *exchange.Exchange
		want string
	}{
		{outputtest.Push("news"), " - "},
		{outputtest.Failed(outputtest.Push(""), "1156", "Got packets out of order"), " 1156 "},
	} {
		var w bytes.Buffer
		o := New(&w, Options{Location: time.UTC})
		if err := errors.Join(o.Exchange(c.x), o.Flush()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(w.String(), c.want) {
			t.Errorf("no %q in %q", c.want, w.String())
		}
	}
}

// With processes there is one field more, and it comes apart: no name holds what separates its parts.
func TestPlainProcesses(t *testing.T) {
	var w bytes.Buffer
	o := New(&w, Options{Location: time.UTC, Processes: true})
	end := regexp.MustCompile(`^(-|[^/>]+)(/[0-9]+)?$`)
	for i, x := range processCases() {
		w.Reset()
		if err := errors.Join(o.Exchange(x), o.Flush()); err != nil {
			t.Fatal(err)
		}
		fields := strings.Split(strings.TrimSuffix(w.String(), "\n"), " ")
		if complete := x.Grade == exchange.Complete; complete && len(fields) != 8 || !complete && len(fields) < 10 {
			t.Errorf("case %d: %d fields: %q", i, len(fields), w.String())
			continue
		}
		ends := strings.Split(fields[7], ">")
		if len(ends) != 2 {
			t.Errorf("case %d: %q", i, fields[7])
			continue
		}
		for side, p := range []*exchange.Process{x.Process[x.Client], x.Process[x.Server()]} {
			if !end.MatchString(ends[side]) {
				t.Errorf("case %d: %q", i, ends[side])
			}
			if unknown := output.ProcessName(p) == ""; unknown != (ends[side] == "-" || strings.HasPrefix(ends[side], "-/")) {
				t.Errorf("case %d: %q for %+v", i, ends[side], p)
			}
		}
	}
}

func TestTimesBefore1970(t *testing.T) {
	var w bytes.Buffer
	o := New(&w, Options{Location: time.UTC})
	x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", ok)
	x.Start.Time = -1
	if err := errors.Join(o.Exchange(x), o.Flush()); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := strings.Cut(w.String(), " "); got != "1969-12-31T23:59:59.999999999Z" {
		t.Error(got)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrors(t *testing.T) {
	o := New(broken{}, Options{Location: time.UTC})
	x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", ok)
	var err error
	for range 10000 {
		if err = o.Exchange(x); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("nobody learned that nothing could be written")
	}
}

func TestPlainDoesNotAllocate(t *testing.T) {
	var w discard
	o := New(&w, Options{Location: time.UTC})
	x := outputtest.Exchange("GET /api/cart HTTP/1.1\nHost: shop.example\n\n", ok)
	x.Flow.End(proto.Originator) // made once a connection
	if n := testing.AllocsPerRun(1000, func() { o.Exchange(x) }); n >= 1 {
		t.Errorf("%v allocations a line", n)
	}
	o = New(&w, Options{Location: time.UTC, Processes: true})
	x.Process[proto.Responder] = &exchange.Process{PID: 97, Name: "nginx: a name longer than the kernel's are/>"}
	if n := testing.AllocsPerRun(1000, func() { o.Exchange(x) }); n >= 1 {
		t.Errorf("%v allocations a line with processes", n)
	}
}

type discard struct{}

func (*discard) Write(b []byte) (int, error) { return len(b), nil }

func FuzzColumns(f *testing.F) {
	for _, x := range cases() {
		m := &x.Request
		f.Add(m.Bytes(m.Method), m.Bytes(m.Target), m.Field("host"), uint8(80), int64(x.Timing.Duration), x.Response.BodyBytes, "", "")
	}
	for _, x := range processCases() {
		name := func(d proto.Direction) string { return output.ProcessName(x.Process[d]) }
		f.Add([]byte("GET"), []byte("/"), []byte("a"), uint8(100), int64(math.MaxInt64), int64(5), name(x.Client), name(x.Server()))
	}
	joins := func(r rune) bool {
		_, rest, _, _ := uniseg.FirstGraphemeClusterInString(string(r)+"a", -1)
		return rest == ""
	}
	f.Fuzz(func(t *testing.T, method, target, host []byte, width uint8, duration, size int64, client, server string) {
		for _, b := range [][]byte{method, target, host, []byte(client), []byte(server)} {
			if bytes.ContainsFunc(b, joins) {
				return // a character that joins what follows it
			}
		}
		x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", ok)
		m := &x.Request
		m.Raw = nil
		span := func(b []byte) proto.Span {
			m.Raw = append(m.Raw, b...)
			return proto.Span{Off: uint32(len(m.Raw) - len(b)), Len: uint32(len(b))}
		}
		m.Method, m.Target = span(method), span(target)
		m.Fields = []proto.Field{{Name: span([]byte("Host")), Value: span(host)}}
		x.Timing.Duration, x.Response.BodyBytes = duration, size
		x.Process = [2]*exchange.Process{{Name: client, PID: int(width)}, {Name: server}}
		w := max(int(width), 80)
		for _, looked := range []bool{false, true} {
			x.Grade, x.Reason = exchange.Complete, ""
			var b bytes.Buffer
			o := New(&b, Options{Terminal: terminal.Terminal{Width: w}, Location: time.UTC, Processes: looked})
			if err := errors.Join(o.Exchange(x), o.Flush()); err != nil {
				t.Fatal(err)
			}
			fits(t, b.Bytes(), w)
			if n := bytes.Count(b.Bytes(), []byte("\n")); n != 1 {
				t.Errorf("%d lines: %q", n, b.Bytes())
			}
			x.Grade, x.Reason = exchange.Aborted, "reset by the server, after some of the response and before the end of it"
			b.Reset()
			if err := errors.Join(o.Exchange(x), o.Flush()); err != nil {
				t.Fatal(err)
			}
			fits(t, b.Bytes(), w)
		}
	})
}
