package exchange_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/proto"
)

// pairers are both ways of pairing, opened for a protocol of databases.
func (t *table) pairers(protocol string) map[string]*told {
	one := t.connect()
	one.pairer.Open(&one.layer, protocol, proto.Originator, false)
	two := t.connect()
	streams := new(exchange.StreamPairer)
	streams.Open(&two.layer, protocol, proto.Originator, false)
	return map[string]*told{"in order": {one, &one.pairer}, "by stream": {two, streams}}
}

// begin makes a message of words, the verb first, and gives its head to the sink once it was changed.
func (c *told) begin(kind proto.Kind, stream uint64, words string, change func(m *proto.Message)) *proto.Message {
	verb, subject, _ := strings.Cut(words, " ")
	m := &proto.Message{Kind: kind, Dir: proto.Direction(kind), Stream: stream, Length: -1, First: c.mark(), Raw: []byte(words)}
	m.Method = proto.Span{Len: uint32(len(verb))}
	if subject != "" {
		m.Target = proto.Span{Off: uint32(len(verb)) + 1, Len: uint32(len(subject))}
	}
	m.Last = m.First
	if change != nil {
		change(m)
	}
	c.sink.Head(m)
	m.Raw, m.Facts = nil, nil
	return m
}

// whole is begin, and the end.
func (c *told) whole(kind proto.Kind, stream uint64, words string, change func(m *proto.Message)) *proto.Message {
	m := c.begin(kind, stream, words, change)
	c.end(m, proto.Whole, proto.Open)
	return m
}

func oneWay(m *proto.Message) { m.OneWay = true }
func blocks(m *proto.Message) { m.Blocks = true }

// saying tells what became of exchanges of databases, one a line.
func (t *table) saying() string {
	var b strings.Builder
	for _, x := range t.out.Done {
		measure.Time(x)
		fmt.Fprintf(&b, "%d %s %s", x.Index, x.Verb(), x.Subject())
		if x.HasRequest && x.HasResponse {
			b.WriteString(" answered")
		}
		if x.Retries > 0 {
			fmt.Fprintf(&b, " again %d", x.Retries)
		}
		if x.Stream {
			b.WriteString(" stream")
		}
		fmt.Fprintf(&b, " %s", x.Grade)
		if x.Reason != "" {
			fmt.Fprintf(&b, ": %s", x.Reason)
		}
		x.Anomalies.Each(func(a proto.Anomaly) { fmt.Fprintf(&b, " [%s]", a) })
		b.WriteByte('\n')
	}
	t.out.Done = nil
	return b.String()
}

// TestOneWay: what nobody answers, and what nobody asked for, is an exchange by itself, and disturbs no pair.
func TestOneWay(t *testing.T) {
	b := newTable(defaults())
	for name, c := range b.pairers("redis") {
		t.Run(name, func(t *testing.T) {
			c.whole(proto.Request, 1, "GET a", nil)
			c.whole(proto.Request, 2, "QUIT now", oneWay)
			c.whole(proto.Response, 3, "MESSAGE news", oneWay)
			c.whole(proto.Request, 4, "GET b", nil)
			c.whole(proto.Response, 1, "", nil)
			c.whole(proto.Response, 5, "MESSAGE more", oneWay)
			c.whole(proto.Response, 4, "", nil)
			// Cut short.
			m := c.begin(proto.Request, 6, "SET c", oneWay)
			c.facts.Why, c.facts.By = proto.Reset, proto.Originator
			c.end(m, proto.Cut, proto.Reset)
			m = c.begin(proto.Response, 7, "MESSAGE cut", oneWay)
			c.end(m, proto.Cut, proto.Reset)
			c.close()
			compare(t, b.saying(), `
				1 QUIT now stream complete
				2 MESSAGE news stream complete
				0 GET a answered complete
				4 MESSAGE more stream complete
				3 GET b answered complete
				5 SET c stream aborted: 0 B of the request: reset by the client
				6 MESSAGE cut stream aborted: 0 B of the response: reset by the client`)
			if b.engine.Memory() != 0 {
				t.Errorf("%d bytes are still charged", b.engine.Memory())
			}
			for x := range b.engine.UnderWay() {
				t.Errorf("%s is under way", x.Subject())
			}
		})
	}
}

// TestOneWayIsUnderWay: between its head and its end it is, and not among those that wait for answers.
func TestOneWayIsUnderWay(t *testing.T) {
	limits := defaults()
	limits.PendingAfter = time.Second
	b := newTable(limits)
	for name, c := range b.pairers("redis") {
		t.Run(name, func(t *testing.T) {
			ask := c.begin(proto.Request, 1, "SET a", oneWay)
			push := c.begin(proto.Response, 2, "MESSAGE b", oneWay)
			under := map[string]exchange.State{}
			for x := range b.engine.UnderWay() {
				snapshot, state := x.Snapshot(clock.Mark{Time: epoch + c.now})
				under[string(snapshot.Subject())] = state
			}
			if len(under) != 2 || under["a"] != exchange.Sending || under["b"] != exchange.Receiving {
				t.Errorf("under way: %v", under)
			}
			b.engine.Tick(int64(time.Hour), clock.Mark{Time: epoch + int64(time.Hour)})
			if len(b.out.Waiting)+len(b.out.Done) != 0 || b.engine.Counters.TimedOut != 0 {
				t.Errorf("%d wait for an answer, %d are done", len(b.out.Waiting), len(b.out.Done))
			}
			c.end(ask, proto.Whole, proto.Open)
			c.end(push, proto.Whole, proto.Open)
			c.close()
			compare(t, b.saying(), "0 SET a stream complete\n1 MESSAGE b stream complete")
			b.engine.Tick(0, clock.Mark{})
		})
	}
}

// TestBlocks: what waits for an event says nothing of the server's speed, whether the request tells so or its answer.
func TestBlocks(t *testing.T) {
	b := newTable(defaults())
	for name, c := range b.pairers("redis") {
		t.Run(name, func(t *testing.T) {
			c.whole(proto.Request, 1, "BLPOP jobs", blocks)
			c.whole(proto.Response, 1, "", nil)
			c.whole(proto.Request, 2, "GET a", nil)
			c.whole(proto.Response, 2, "", nil)
			c.whole(proto.Request, 3, "EVAL x", nil)
			m := c.begin(proto.Response, 3, "", nil)
			m.Blocks = true // which its end tells
			c.end(m, proto.Whole, proto.Open)
			c.whole(proto.Request, 4, "BLPOP more", blocks)
			c.close()
			compare(t, b.saying(), `
				0 BLPOP jobs answered stream complete
				1 GET a answered complete
				2 EVAL x answered stream complete
				3 BLPOP more stream unanswered: the client closed before an answer`)
		})
	}
}

// TestAgain: a question that is sent again is the same exchange as long as there is no answer, and another one from then on.
func TestAgain(t *testing.T) {
	again := func(m *proto.Message) { m.Again = true }
	b := newTable(defaults())
	c := b.pairers("dns")["by stream"]
	ask := func(stream uint64, words string, change func(m *proto.Message)) {
		c.whole(proto.Request, stream, words, change)
	}
	first := c.now + 1e6
	ask(1, "Q one", nil)
	ask(1, "Q one", again)
	ask(1, "Q one", again)
	c.whole(proto.Response, 1, "", nil)
	ask(1, "Q one", again) // the answer was lost behind the tap, or somebody asks anew
	ask(2, "Q two", again) // its first wasn't captured
	ask(2, "Q two", nil)   // another one of the same number
	ask(3, "Q three", nil)
	c.begin(proto.Response, 3, "", nil) // of which the end is missing
	ask(3, "Q three", again)
	c.facts.Why = proto.TimedOut
	c.flow.Proto = 17
	c.sink.Closed(proto.Responder, c.mark(), true)
	if got := b.out.Done[0].Start.Time - epoch; got != first {
		t.Errorf("it begins at %d, first asked at %d", got, first)
	}
	if d := b.out.Done[0]; d.Response.First.Time-d.Start.Time < 5e6 {
		t.Error("the time from the first question doesn't count")
	}
	var retries []int
	for _, x := range b.out.Done {
		retries = append(retries, x.Retries)
	}
	if fmt.Sprint(retries) != "[2 0 0 0 0 0]" {
		t.Errorf("sent again %v times", retries)
	}
	for i, want := range map[int]exchange.Grade{0: exchange.Complete, 1: exchange.Unanswered, 3: exchange.Unanswered, 4: exchange.Unanswered, 5: exchange.Unanswered} {
		if b.out.Done[i].Grade != want {
			t.Errorf("%d is %s: %s", i, b.out.Done[i].Grade, b.out.Done[i].Reason)
		}
	}
	if b.engine.Memory() != 0 {
		t.Errorf("%d bytes are still charged", b.engine.Memory())
	}
}

// TestFactsOfHeadAndEnd: what is known at the beginning of a message and what only its end tells are one list, each with its text.
func TestFactsOfHeadAndEnd(t *testing.T) {
	b := newTable(defaults())
	for name, c := range b.pairers("mysql") {
		t.Run(name, func(t *testing.T) {
			m := c.begin(proto.Request, 1, "SELECT 1", func(m *proto.Message) { m.Say("database", []byte("shop")) })
			m.Say("parameter", []byte("seven"))
			c.end(m, proto.Whole, proto.Open)
			m = c.begin(proto.Response, 1, "", func(m *proto.Message) {
				m.Raw = nil
				m.Count("columns", 3)
				m.Framing = proto.Rendered
			})
			m.Count("warnings", 2)
			m.Say(proto.FactError, []byte("1146"))
			m.Say(proto.FactErrorText, []byte("no such table"))
			m.Framing, m.Parts = proto.Rendered, proto.Parts{Count: 4, Bytes: 90}
			m.BodyBytes = 90
			c.end(m, proto.Whole, proto.Open)
			x := b.out.Done[len(b.out.Done)-1]
			for fact, want := range map[string]string{"database": "shop", "parameter": "seven"} {
				if got := x.Request.FactText(fact); string(got) != want {
					t.Errorf("%s is %q", fact, got)
				}
			}
			for fact, want := range map[string]string{proto.FactError: "1146", proto.FactErrorText: "no such table"} {
				if got := x.Response.FactText(fact); string(got) != want {
					t.Errorf("%s is %q", fact, got)
				}
			}
			if columns, warnings := x.Response.Fact("columns"), x.Response.Fact("warnings"); columns == nil || columns.Number != 3 || warnings == nil || warnings.Number != 2 {
				t.Errorf("%+v, %+v", columns, warnings)
			}
			if rows, ok := x.Rows(); !ok || rows != 4 || !x.Failed() || x.ErrorCode() != "1146" || string(x.Subject()) != "1" {
				t.Errorf("%d rows %v, failed %v, code %s, about %s", rows, ok, x.Failed(), x.ErrorCode(), x.Subject())
			}
			c.close()
			b.out.Done = nil
		})
	}
}

// TestFamilies: each protocol with a parser has a family, in which others than HTTP have fields of their own, and none of HTTP's.
func TestFamilies(t *testing.T) {
	for protocol, want := range map[string]exchange.Family{
		"http": exchange.HTTP, "http2": exchange.HTTP, "websocket": exchange.HTTP, "fastcgi": exchange.HTTP, "uwsgi": exchange.HTTP,
		"mysql": exchange.Database, "postgresql": exchange.Database, "redis": exchange.Database, "memcached": exchange.Database, "mongodb": exchange.Database,
		"dns": exchange.Names, "mdns": exchange.Names, "llmnr": exchange.Names, "tls": exchange.Secure, "ssh": exchange.Other, "": exchange.Other,
	} {
		if got := exchange.FamilyOf(protocol); got != want {
			t.Errorf("%s: %d, want %d", protocol, got, want)
		}
	}
}

// TestRendered: the text of a result has a length of its own: that of what was sent says nothing of how much of it is kept.
func TestRendered(t *testing.T) {
	for _, c := range []struct {
		limit int
		text  string
		kept  string
		cut   bool
		lost  int64
		end   proto.End
	}{
		{100, "1\tann\n", "1\tann\n", false, 0, proto.Whole},
		{3, "1\tann\n", "1\ta", true, 0, proto.Whole},
		{6, "1\tann\n", "1\tann\n", true, 0, proto.Whole}, // there may be more
		{0, "", "", false, 0, proto.Whole},
		{100, "1\tann\n", "1\tann\n", true, 70, proto.Whole},
		{100, "1\tann\n", "1\tann\n", true, 0, proto.Cut},
		{100, "1\tann\n", "1\tann\n", true, 0, proto.Broken},
	} {
		limits := defaults()
		limits.MaxBody = c.limit
		b := newTable(limits)
		for name, conn := range b.pairers("mysql") {
			conn.whole(proto.Request, 1, "SELECT 1", nil)
			m := conn.begin(proto.Response, 1, "", func(m *proto.Message) { m.Framing = proto.Rendered })
			text := []byte(c.text)
			if n := conn.sink.WantsBody(m); n != c.limit {
				t.Errorf("%s: %d bytes are wanted, want %d", name, n, c.limit)
			} else if n > 0 {
				conn.sink.Body(m, text[:min(n, len(text))])
			}
			m.BodyBytes = 4000 // as sent
			m.Parts.Count, m.MissingBytes = 1, c.lost
			conn.end(m, c.end, proto.Open)
			b.text()
			x := b.out.Done[len(b.out.Done)-1]
			if got := &x.ResponseBody; string(got.Bytes) != c.kept || got.Cut != c.cut {
				t.Errorf("%s, limit %d: %q, cut %v", name, c.limit, got.Bytes, got.Cut)
			}
			conn.close()
		}
		if b.engine.Memory() != 0 {
			t.Errorf("%d bytes are still charged", b.engine.Memory())
		}
	}
}
