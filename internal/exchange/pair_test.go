package exchange_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
	"github.com/culprit-http/culprit/internal/proto/http1"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// table drives an engine with the messages of one connection after the other.
type table struct {
	engine *exchange.Engine
	out    exchange.Collector
	limits exchange.Limits
	now    int64
	wrong  []string // what underWay found
}

const epoch = 1_700_000_000_000_000_000

func newTable(limits exchange.Limits) *table {
	tap := &exchange.Tap{Label: "a.pcap"}
	t := &table{limits: limits}
	t.engine = exchange.NewEngine(limits, func(uint32) *exchange.Tap { return tap }, &t.out)
	return t
}

func defaults() exchange.Limits {
	return exchange.Limits{MaxWaiting: 100, MaxBody: 1 << 16, ExchangeTimeout: 5 * time.Minute}
}

// connection is a connection whose steps are played.
type connection struct {
	*table
	link   exchange.Link
	layer  exchange.Layer
	pairer exchange.Pairer
	parser proto.Parser
	flow   proto.Flow
	facts  proto.Facts
	sent   [2]int64
	closed [2]bool
	held   int
}

func (t *table) connect() *connection {
	c := &connection{table: t, flow: proto.Flow{Proto: 6, First: clock.Mark{Time: epoch}}}
	c.facts.Half[0].Packets, c.facts.Half[1].Packets = 1, 1 // the handshake
	c.link.Open(t.engine, &c.flow, &c.facts)
	c.layer.Open(&c.link)
	c.pairer.Open(&c.layer, "http", proto.Originator, false)
	c.parser = http1.New(&proto.Context{Sink: &c.pairer, Limits: &proto.Limits{MaxHead: 8192, MaxFields: 100}, Held: &c.held})
	return c
}

// play plays steps in the form of prototest.Parse, one each millisecond. Every segment acknowledges all that the
// other side has sent.
func (c *connection) play(script string) {
	steps, err := prototest.Parse(script)
	if err != nil {
		panic(err)
	}
	for i := range steps {
		c.now += 1e6
		s := &steps[i]
		other := s.Dir.Other()
		at := clock.Mark{Time: epoch + c.now, Packet: uint64(c.now / 1e6), Offset: c.sent[s.Dir], Peer: c.sent[other]}
		half := &c.facts.Half[s.Dir]
		switch {
		case s.Close != proto.Open:
			if c.facts.Why == proto.Open {
				c.facts.Why, c.facts.By = s.Close, s.Dir
			}
			c.closed[s.Dir] = true
			c.parser.Close(s.Dir, at, s.Close)
			c.pairer.Closed(s.Dir, at, c.closed[other])
		case s.Gap > 0:
			at.Peer = -1
			half.Gaps++
			c.sent[s.Dir] += s.Gap
			c.parser.Gap(s.Dir, s.Gap, at)
		default:
			half.Packets++
			c.sent[s.Dir] += int64(len(s.Data))
			c.parser.Data(s.Dir, s.Data, at)
		}
	}
}

// text says what became of the exchanges that are finished, one a line.
func (t *table) text() string {
	var b strings.Builder
	var decoder body.Decoder
	for _, x := range t.out.Done {
		measure.Time(x)
		if t.limits.MaxBody > 0 {
			x.Decode(&decoder, t.limits.MaxBody)
		}
		method, target, status := "-", "-", "-"
		if x.HasRequest {
			method, target = string(x.Request.Bytes(x.Request.Method)), string(x.Request.Bytes(x.Request.Target))
		}
		if x.HasResponse {
			status = strconv.Itoa(x.Response.Status)
		}
		fmt.Fprintf(&b, "%d %s %s", x.Index, method, target)
		for _, i := range x.Interim {
			fmt.Fprintf(&b, " (%d)", i.Status)
		}
		fmt.Fprintf(&b, " %s %s", status, x.Grade)
		if x.Reason != "" {
			fmt.Fprintf(&b, ": %s", x.Reason)
		}
		x.Anomalies.Each(func(a proto.Anomaly) { fmt.Fprintf(&b, " [%s]", a) })
		if x.Stream {
			b.WriteString(" stream")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// compare compares texts but for the space around their lines.
func compare(t *testing.T, got, want string) {
	t.Helper()
	tidy := func(s string) (out string) {
		for line := range strings.Lines(s) {
			if line = strings.TrimSpace(line); line != "" {
				out += line + "\n"
			}
		}
		return out
	}
	if tidy(got) != tidy(want) {
		t.Errorf("got\n%s\nwant\n%s", tidy(got), tidy(want))
	}
}

// Messages of the scripts.
const (
	get  = `> GET /%s HTTP/1.1\r\nHost: a\r\n\r\n`
	ok   = "\n" + `< HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok` + "\n"
	none = "\n" + `< HTTP/1.1 204 No Content\r\n\r\n` + "\n"
)

func TestPairing(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"one after the other", sprintf(get, "a") + ok + sprintf(get, "b") + none,
			"0 GET /a 200 complete\n1 GET /b 204 complete"},
		{"pipelined", sprintf(get, "a") + sprintf(get, "b") + sprintf(get, "c") + ok + none + ok,
			"0 GET /a 200 complete\n1 GET /b 204 complete\n2 GET /c 200 complete"},
		{"HEAD, 204 and 304 have no body", `
			> HEAD /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\nGET /d HTTP/1.1\r\nHost: a\r\n\r\n
			< HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n
			` + none + ok,
			"0 HEAD /a 200 complete\n1 GET /b 304 complete\n2 GET /c 204 complete\n3 GET /d 200 complete"},
		{"100 and 103 aren't the answer", `
			> POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n
			< HTTP/1.1 100 Continue\r\n\r\n
			> abc
			< HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n` + ok,
			"0 POST /a (100) (103) 200 complete"},
		{"an early answer, then a reset", `
			> POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 12478054\r\n\r\n
			>repeat 33792 x
			< HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n
			>repeat 1000 x
			<close rst
			>close rst`,
			"0 POST /upload 413 aborted: answered after 34.0 KiB of 11.9 MiB, reset by the server [early-response]"},
		{"an early answer, and the request goes on", `
			> POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab
			` + ok + `
			> cd` + sprintf(get, "b") + none,
			"0 POST /a 200 complete [early-response]\n1 GET /b 204 complete"},
		{"408 unasked", `
			> \r\n
			< HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n
			<close fin
			>close fin`,
			"0 - - 408 gap: a response without a request [response-without-request]"},
		{"a response is lost", sprintf(get, "a") + `
			<gap 40` + sprintf(get, "b") + none + sprintf(get, "c") + ok,
			"0 GET /a - gap: its response wasn't captured\n1 GET /b 204 complete\n2 GET /c 200 complete"},
		{"several responses are lost", sprintf(get, "a") + "\n<gap 40" + sprintf(get, "b") + "\n<gap 40" + sprintf(get, "c") + "\n<gap 40" + sprintf(get, "d") + ok,
			"0 GET /a - gap: its response wasn't captured\n1 GET /b - gap: its response wasn't captured\n2 GET /c - gap: its response wasn't captured\n3 GET /d 200 complete"},
		{"a request is lost", sprintf(get, "a") + ok + "\n>gap 30" + none + sprintf(get, "c") + ok,
			"0 GET /a 200 complete\n1 - - 204 gap: its request wasn't captured [response-without-request]\n2 GET /c 200 complete"},
		{"pipelined, and a response is lost", sprintf(get, "a") + sprintf(get, "b") + sprintf(get, "c") + ok + "\n<gap 27" + ok,
			`0 GET /a 200 complete
			1 GET /b - gap: lost bytes leave open which response answers it [ambiguous-pairing]
			2 GET /c - gap: lost bytes leave open which response answers it [ambiguous-pairing]
			3 - - 200 gap: its request wasn't captured [response-without-request]`},
		{"pipelined, and a request is lost", sprintf(get, "a") + "\n>gap 30" + sprintf(get, "c") + ok + none + ok,
			`0 GET /a - gap: lost bytes leave open which response answers it [ambiguous-pairing]
			1 GET /c - gap: lost bytes leave open which response answers it [ambiguous-pairing]
			2 - - 200 gap: its request wasn't captured [response-without-request]
			3 - - 204 gap: its request wasn't captured [response-without-request]
			4 - - 200 gap: its request wasn't captured [response-without-request]`},
		{"pipelined in a hole, as the responses show", "\n>gap 60\n" + ok + ok + "\n>gap 30\n" + sprintf(get, "d") + ok + none,
			`0 - - 200 gap: its request wasn't captured [response-without-request]
			1 - - 200 gap: its request wasn't captured [response-without-request]
			2 GET /d - gap: lost bytes leave open which response answers it [ambiguous-pairing]
			3 - - 200 gap: its request wasn't captured [response-without-request]
			4 - - 204 gap: its request wasn't captured [response-without-request]`},
		{"lost bytes of a body of known length", sprintf(get, "a") + `
			< HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n
			<gap 60
			<repeat 40 x` + sprintf(get, "b") + none,
			"0 GET /a 200 gap: 60 bytes weren't captured\n1 GET /b 204 complete"},
		{"lost bytes of a chunked body", sprintf(get, "a") + `
			< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe
			<gap 60
			< o\r\n0\r\n\r\n` + sprintf(get, "b") + none,
			"0 GET /a 200 gap: 3 bytes weren't captured\n1 GET /b 204 complete [surplus-bytes]"},
		{"lost bytes of a head", `> GET /a HTTP/1.1\r\nHost: a\r\nX: 
			>gap 20
			` + ok,
			"0 GET /a 200 gap: its end isn't known: bytes are missing or malformed"},
		{"a malformed chunk", sprintf(get, "a") + `
			< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n`,
			"0 GET /a 200 gap: its end isn't known: bytes are missing or malformed [bad-chunk-size]"},
		{"an event stream", sprintf(get, "a") + `
			< HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\ndata: 1\n\n
			<close fin`,
			"0 GET /a 200 complete stream"},
		{"an upgrade", sprintf(get, "chat") + `
			< HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n`,
			"0 GET /chat 101 complete stream"},
		{"a tunnel", `
			> CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n
			< HTTP/1.1 200 Connection established\r\n\r\n`,
			"0 CONNECT b:443 200 complete stream"},
		{"a tunnel refused", `
			> CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n
			< HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n`,
			"0 CONNECT b:443 403 complete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTable(defaults())
			conn := b.connect()
			conn.play(c.script)
			conn.layer.Forget()
			compare(t, b.text(), c.want)
			if b.engine.Memory() != 0 {
				t.Errorf("%d bytes are held when nothing is pending", b.engine.Memory())
			}
		})
	}
}

// sprintf fills in the name of a request, on a line of its own.
func sprintf(format, name string) string { return "\n" + fmt.Sprintf(format, name) + "\n" }

// step is a message whose marks are made by hand, for what no well-behaved pair of hosts would send.
type step struct {
	what      string // q: a request, r: a response, lost: in the client's direction, or the server's
	off, size int64
	peer      int64
}

// TestAcknowledgements pairs by acknowledgements alone.
func TestAcknowledgements(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"nothing is lost: what is acknowledged doesn't matter", []step{
			{"q", 0, 10, 99}, {"r", 0, 5, 0}, {"q", 10, 10, -1}, {"r", 5, 5, -1}}, "q0=r0 q10=r5"},
		{"it was sent before the server had the request", []step{
			{"lost>", 0, 30, -1}, {"q", 30, 10, 0}, {"r", 0, 5, 30}, {"r", 5, 5, 40}}, "r0 q30 r5"},
		{"it had been received when the request was sent", []step{
			{"lost<", 0, 5, -1}, {"q", 0, 10, 50}, {"r", 10, 5, 10}, {"r", 50, 5, 10}}, "r10 q0 r50"},
		{"the next was sent with its answer", []step{
			{"q", 0, 10, 0}, {"lost<", 0, 5, -1}, {"q", 10, 10, 5}, {"r", 5, 5, -1}}, "q0 q10=r5"},
		{"no acknowledgements at all, one request", []step{
			{"lost<", 0, 5, -1}, {"q", 0, 10, -1}, {"r", 5, 5, -1}}, "q0=r5"},
		{"no acknowledgements at all, two", []step{
			{"lost<", 0, 5, -1}, {"q", 0, 10, -1}, {"q", 10, 10, -1}, {"r", 5, 5, -1}}, "q0 q10 r5"},
		{"a request was lost behind it, which the server has received", []step{
			{"lost>", 0, 5, -1}, {"q", 5, 10, 0}, {"lost>", 15, 10, -1}, {"r", 40, 5, 25}}, "q5 r40"},
		{"the server has received more than was seen", []step{
			{"lost<", 0, 5, -1}, {"q", 0, 10, 0}, {"r", 40, 5, 25}}, "q0 r40"},
		{"a pair mends what was lost before it, not what is lost behind", []step{
			{"lost>", 0, 10, -1}, {"r", 0, 5, 10}, {"q", 10, 10, 5}, {"lost>", 20, 20, -1}, {"r", 5, 5, 20},
			{"q", 40, 10, 10}, {"r", 10, 5, 40}}, "r0 q10=r5 r10 q40"},
		{"nor what is lost behind it of the responses", []step{
			{"q", 0, 10, 0}, {"lost<", 20, 5, -1}, {"r", 0, 5, 10}, {"q", 10, 10, 60}, {"r", 30, 5, 20}}, "q0=r0 r30 q10"},
		{"a request was lost behind it, but this begins where its answer does", []step{
			{"q", 0, 10, 0}, {"lost>", 10, 10, -1}, {"r", 0, 5, 20}}, "q0=r0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTable(defaults())
			p := &b.connect().pairer
			for i, s := range c.steps {
				at := clock.Mark{Time: epoch + int64(i), Packet: uint64(i + 1), Offset: s.off, Peer: s.peer}
				m := &proto.Message{First: at, Last: at, Size: s.size, HeadSize: s.size, Status: 200, Length: -1}
				m.Last.Offset += s.size - 1
				switch s.what {
				case "lost>":
					p.Lost(proto.Originator, at)
					continue
				case "lost<":
					p.Lost(proto.Responder, at)
					continue
				case "r":
					m.Kind, m.Dir = proto.Response, proto.Responder
				}
				p.Head(m)
				m.End = proto.Whole
				p.End(m)
			}
			p.Closed(proto.Responder, clock.Mark{Time: epoch + 99, Packet: 99}, true)
			var got []string
			for _, x := range b.out.Done {
				text := ""
				if x.HasRequest {
					text = fmt.Sprintf("q%d", x.Request.First.Offset)
				}
				if x.HasRequest && x.HasResponse {
					text += "="
				}
				if x.HasResponse {
					text += fmt.Sprintf("r%d", x.Response.First.Offset)
				}
				got = append(got, text)
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
		})
	}
}

// TestEndings ends an exchange at each point, in each way, by each side.
func TestEndings(t *testing.T) {
	const request, half = `> GET /a HTTP/1.1\r\nHost: a\r\n\r\n`, `
		> POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc`
	const response = request + `
		< HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n
		<repeat 1500 x`
	const untilClose = request + `
		< HTTP/1.1 200 OK\r\n\r\n
		<repeat 1500 x`
	for _, c := range []struct{ script, want string }{
		{request + "\n<close fin", "GET /a - aborted: closed by the server without an answer"},
		{request + "\n<close rst\n>close rst", "GET /a - aborted: reset by the server before an answer"},
		{request + "\n>close rst\n<close rst", "GET /a - aborted: reset by the client before an answer"},
		{request + "\n>close fin\n<close fin", "GET /a - unanswered: the client closed before an answer"},
		{request + "\n>close capture-ended\n<close capture-ended", "GET /a - unanswered: capture ended"},
		{request + "\n>close timeout\n<close timeout", "GET /a - unanswered: no answer: connection silent"},
		{request + "\n>close evicted\n<close evicted", "GET /a - unanswered: no answer: forgotten for lack of memory"},
		{request + "\n>close replaced\n<close replaced", "GET /a - unanswered: no answer: another connection took over its ports"},
		{half + "\n>close fin\n<close fin", "POST /a - aborted: the client closed before the request had ended"},
		{half + "\n>close rst\n<close rst", "POST /a - aborted: reset by the client before an answer"},
		{half + "\n<close rst\n>close rst", "POST /a - aborted: reset by the server before an answer"},
		{response + "\n<close fin\n>close fin", "GET /a 200 aborted: 1.46 KiB of 1.95 KiB of the response: closed by the server"},
		{response + "\n<close rst\n>close rst", "GET /a 200 aborted: 1.46 KiB of 1.95 KiB of the response: reset by the server"},
		{response + "\n>close rst\n<close rst", "GET /a 200 aborted: 1.46 KiB of 1.95 KiB of the response: reset by the client"},
		{response + "\n>close capture-ended\n<close capture-ended", "GET /a 200 gap: 1.46 KiB of 1.95 KiB of the response: capture ended"},
		{response + "\n>close timeout\n<close timeout", "GET /a 200 gap: 1.46 KiB of 1.95 KiB of the response: connection silent"},
		{response + "\n>close evicted\n<close evicted", "GET /a 200 gap: 1.46 KiB of 1.95 KiB of the response: forgotten for lack of memory"},
		{untilClose + "\n<close fin", "GET /a 200 complete"},
		{untilClose + "\n<close rst\n>close rst", "GET /a 200 aborted: 1.46 KiB of the response: reset by the server"},
		{untilClose + "\n>close capture-ended\n<close capture-ended", "GET /a 200 gap: 1.46 KiB of the response: capture ended"},
		{request + ok + "\n<close fin\n>close fin", "GET /a 200 complete"},
	} {
		t.Run(c.want, func(t *testing.T) {
			b := newTable(defaults())
			b.connect().play(c.script)
			if got := b.text(); !strings.Contains(got, c.want+"\n") && !strings.Contains(got, c.want+" [") {
				t.Errorf("%s\ngave\n%swant\n%s", c.script, got, c.want)
			}
			for _, x := range b.out.Done {
				if x.Grade == exchange.Complete != (x.Reason == "") {
					t.Errorf("grade %v, reason %q", x.Grade, x.Reason)
				}
			}
		})
	}
}

func TestOneSided(t *testing.T) {
	b := newTable(defaults())
	for d, script := range []string{sprintf(get, "a") + sprintf(get, "b"), ok + none} {
		c := b.connect()
		c.facts.Half[proto.Direction(d).Other()].Packets = 0
		c.play(script + ">close capture-ended\n<close capture-ended")
	}
	for _, x := range b.out.Done {
		if x.Grade != exchange.OneSided {
			t.Errorf("graded %v: %s", x.Grade, x.Reason)
		}
	}
	if len(b.out.Done) != 4 {
		t.Errorf("%d exchanges, want 4:\n%s", len(b.out.Done), b.text())
	}
}

// TestIndex: a protocol that takes a connection over is counted on, and the next connection isn't.
func TestIndex(t *testing.T) {
	b := newTable(defaults())
	c := b.connect()
	c.play(sprintf(get, "a") + ok + sprintf(get, "b") + ok)
	c.pairer.Open(&c.layer, "http", proto.Originator, false)
	c.play(sprintf(get, "c") + ok)
	c.link.Open(b.engine, &c.flow, &c.facts)
	c.layer.Open(&c.link)
	c.pairer.Open(&c.layer, "http", proto.Originator, false)
	c.play(sprintf(get, "d") + ok)
	compare(t, b.text(), "0 GET /a 200 complete\n1 GET /b 200 complete\n2 GET /c 200 complete\n0 GET /d 200 complete")
}

func TestHungRequest(t *testing.T) {
	limits := defaults()
	limits.PendingAfter = 10 * time.Second
	b := newTable(limits)
	c := b.connect()
	c.play(sprintf(get, "hung"))
	tick := func(elapsed time.Duration) {
		b.engine.Tick(int64(elapsed), clock.Mark{Time: epoch + int64(elapsed), Packet: 99})
	}
	for _, at := range []time.Duration{time.Second, 10 * time.Second, 11 * time.Second, 12 * time.Second, time.Minute} {
		tick(at)
		if want := at >= 11*time.Second; len(b.out.Waiting) == 1 != want || len(b.out.Waiting) > 1 {
			t.Errorf("at %v: %d requests were shown as waiting", at, len(b.out.Waiting))
		}
	}
	if x := b.out.Waiting[0]; string(x.Request.Bytes(x.Request.Target)) != "/hung" || x.Grade != exchange.Unanswered || x.Timing.Duration != -1 {
		t.Errorf("shown as %+v", x)
	}
	tick(5*time.Minute + time.Second)
	compare(t, b.text(), "0 GET /hung - unanswered: no answer within the exchange timeout")
	if b.engine.Counters.TimedOut != 1 || b.engine.Memory() != 0 {
		t.Errorf("timed out %d, memory %d", b.engine.Counters.TimedOut, b.engine.Memory())
	}

	// The answer comes all the same: it must not be taken for that of the next.
	c.play(sprintf(get, "next") + none + ok)
	compare(t, b.text(), `
		0 GET /hung - unanswered: no answer within the exchange timeout
		1 GET /next - gap: lost bytes leave open which response answers it [ambiguous-pairing]
		2 - - 204 gap: its request wasn't captured [response-without-request]
		3 - - 200 gap: its request wasn't captured [response-without-request]`)
}

// TestSlowUpload: a request isn't waiting for its answer while it is still being sent.
func TestSlowUpload(t *testing.T) {
	limits := defaults()
	limits.PendingAfter = 10 * time.Second
	b := newTable(limits)
	c := b.connect()
	c.play(`> POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n`)
	for i := range 10 {
		b.engine.Tick(int64(i)*int64(time.Minute), clock.Mark{})
		c.play("> x")
	}
	b.engine.Tick(int64(10*time.Minute), clock.Mark{})
	c.play(ok)
	compare(t, b.text(), "0 POST /slow 200 complete")
	if len(b.out.Waiting) != 1 {
		t.Errorf("shown as waiting %d times", len(b.out.Waiting))
	}
}

func TestMaxWaiting(t *testing.T) {
	limits := defaults()
	limits.MaxWaiting = 3
	b := newTable(limits)
	c := b.connect()
	c.play(sprintf(get, "a") + `
		< HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab` + sprintf(get, "b") + sprintf(get, "c") + sprintf(get, "d") + `
		< cd` + ok)
	compare(t, b.text(), `
		1 GET /b - unanswered: more requests wait on this connection than the limit (max waiting)
		0 GET /a 200 complete
		2 GET /c - gap: lost bytes leave open which response answers it [ambiguous-pairing]
		3 GET /d - gap: lost bytes leave open which response answers it [ambiguous-pairing]
		4 - - 200 gap: its request wasn't captured [response-without-request]`)
	if b.engine.Counters.Overflow != 1 {
		t.Errorf("overflow %d, want 1", b.engine.Counters.Overflow)
	}
}

func TestMaxInterim(t *testing.T) {
	b := newTable(defaults())
	b.connect().play(sprintf(get, "a") + strings.Repeat(`< HTTP/1.1 102 Processing\r\n\r\n`+"\n", 1000) + ok)
	if x := b.out.Done[0]; len(x.Interim) != exchange.MaxInterim || b.engine.Counters.Interim != 1000-exchange.MaxInterim {
		t.Errorf("kept %d, counted %d", len(x.Interim), b.engine.Counters.Interim)
	}
}

func TestBodies(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(bytes.Repeat([]byte("hello "), 500)) // a buffer takes everything
	_ = w.Close()
	z := zipped.Bytes()
	chunked := fmt.Sprintf(`Transfer-Encoding: chunked\r\n\r\n5\r\n%s\r\n%x\r\n%s\r\n0\r\nX-Sum: 7\r\n\r\n`, escape(z[:5]), len(z)-5, escape(z[5:]))
	for _, c := range []struct {
		name, response string
		limit          int
		body           string
		cut            bool
		decoded, bytes int64
	}{
		{"plain", `Content-Length: 5\r\n\r\nhello`, 100, "hello", false, 5, 5},
		{"cut", `Content-Length: 5\r\n\r\nhello`, 3, "hel", true, -1, 5},
		{"none wanted", `Content-Length: 5\r\n\r\nhello`, 0, "", false, -1, 5},
		{"chunked, gzip, trailer", `Content-Encoding: gzip\r\n` + chunked, 1 << 20, strings.Repeat("hello ", 500), false, 3000, int64(len(z))},
		{"gzip, limited", `Content-Encoding: gzip\r\n` + chunked, 60, strings.Repeat("hello ", 10), true, -1, int64(len(z))},
		{"unknown coding", `Content-Encoding: sdch\r\nContent-Length: 5\r\n\r\nhello`, 100, "hello", false, -1, 5},
		{"a hole", `Content-Length: 9\r\n\r\nabc` + "\n<gap 3\n< ghi", 100, "abc", true, -1, 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			limits := defaults()
			limits.MaxBody = c.limit
			b := newTable(limits)
			b.connect().play(sprintf(get, "a") + `< HTTP/1.1 200 OK\r\n` + c.response)
			b.text()
			x := b.out.Done[0]
			if got := &x.ResponseBody; string(got.Bytes) != c.body || got.Cut != c.cut || got.DecodedBytes != c.decoded || x.Response.BodyBytes != c.bytes {
				t.Errorf("body %q, cut %v, decoded %d, %d bytes", got.Bytes, got.Cut, got.DecodedBytes, x.Response.BodyBytes)
			}
			if strings.Contains(c.name, "trailer") {
				last := x.Response.Fields[len(x.Response.Fields)-1]
				if string(x.Response.Bytes(last.Name)) != "X-Sum" || string(x.Response.Bytes(last.Value)) != "7" || last.Flags&proto.Trailer == 0 {
					t.Errorf("the trailer didn't come: %+v", x.Response.Fields)
				}
			}
			if b.engine.Memory() != 0 {
				t.Errorf("%d bytes are held when nothing is pending", b.engine.Memory())
			}
		})
	}
}

// escape writes bytes for a script.
func escape(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return s.String()
}

// TestRecycled: an exchange that is used again has nothing of the one before.
func TestRecycled(t *testing.T) {
	b := newTable(defaults())
	b.connect().play(`> POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc` + "\n" + `< HTTP/1.1 100 Continue\r\n\r\n` + "\n" + `< HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nxyz`)
	b.out.Recycle(b.out.Done)
	first := b.out.Done[0]
	b.out.Done = nil
	b.connect().play(sprintf(get, "b") + "\n<close rst\n>close rst")
	b.text()
	x := b.out.Done[0]
	if x != first {
		t.Fatal("it wasn't used again")
	}
	if x.HasResponse || len(x.Interim) > 0 || len(x.RequestBody.Bytes) > 0 || len(x.ResponseBody.Bytes) > 0 || len(x.Request.Fields) != 1 || x.Anomalies != 0 {
		t.Errorf("%+v", x)
	}
}
