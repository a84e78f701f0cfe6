package exchange_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
)

// underWay says what the engine has under way, one a line.
func (t *table) underWay() string {
	var b strings.Builder
	at := clock.Mark{Time: epoch + t.now, Packet: uint64(t.now / 1e6)}
	for x := range t.engine.UnderWay() {
		c, state := x.Snapshot(at)
		target, status := "-", "-"
		if c.HasRequest {
			target = string(c.Request.Bytes(c.Request.Target))
		}
		if c.HasResponse {
			status = fmt.Sprint(c.Response.Status)
		}
		fmt.Fprintf(&b, "%d %s %s %s", c.Index, target, status, state)
		fmt.Fprintf(&b, " %d %d %s", c.Request.BodyBytes, c.Response.BodyBytes, c.Grade)
		for _, i := range c.Interim {
			fmt.Fprintf(&b, " (%d)", i.Status)
		}
		if c.MissingBytes > 0 {
			fmt.Fprintf(&b, " missing %d", c.MissingBytes)
		}
		b.WriteByte('\n')
		if c.ID("") != x.ID("") || c.Completed != at || c.Tap != x.Tap || c == x {
			t.wrong = append(t.wrong, fmt.Sprintf("%s isn't a copy of the exchange", target))
		}
	}
	return b.String()
}

// Each step of a conversation leaves under way what has begun and isn't over.
func TestUnderWay(t *testing.T) {
	type step struct{ play, want string }
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"a slow answer", []step{
			{`> GET /a HTTP/1.1\r\nHost: a\r\n`, ""}, // an exchange begins with a head
			{`> \r\n`, "0 /a - waiting 0 0 unanswered"},
			{`< HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n`, "0 /a 200 receiving 0 0 complete"},
			{`< abc`, "0 /a 200 receiving 0 3 complete"},
			{`< de`, ""},
		}},
		{"an upload", []step{
			{`> PUT /u HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n`, "0 /u - sending 0 0 unanswered"},
			{`< HTTP/1.1 100 Continue\r\n\r\n`, "0 /u - sending 0 0 unanswered (100)"},
			{`> abc`, "0 /u - sending 3 0 unanswered (100)"},
			{`> def`, "0 /u - waiting 6 0 unanswered (100)"},
			{`< HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n`, ""},
		}},
		{"an early answer", []step{
			{`> PUT /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n8\r\nef`, "0 /u - sending 6 0 unanswered"},
			{`< HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nn`, "0 /u 413 receiving 6 1 complete"},
			{`< o`, "0 /u 413 sending 6 2 complete"},
			{`> ghijkl\r\n0\r\n\r\n`, ""},
		}},
		{"pipelined requests", []step{
			{`> GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n`, "0 /a - waiting 0 0 unanswered\n1 /b - waiting 0 0 unanswered"},
			{`< HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no`, "1 /b - waiting 0 0 unanswered\n0 /a 200 receiving 0 1 complete"},
			{`< kHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n`, "1 /b 200 receiving 0 0 complete"},
			{`<close fin`, ""},
		}},
		{"an event stream", []step{
			{`> GET /e HTTP/1.1\r\nHost: a\r\n\r\n`, "0 /e - waiting 0 0 unanswered"},
			{`< HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n`, "0 /e 200 stream 0 9 complete"},
			{`<close fin`, ""},
		}},
		{"an answer without a request", []step{
			{`< HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab`, "0 - 200 receiving 0 2 gap"},
			{`< cd`, ""},
		}},
		{"a hole in a body", []step{
			{`> GET /h HTTP/1.1\r\nHost: a\r\n\r\n`, "0 /h - waiting 0 0 unanswered"},
			{`< HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab`, "0 /h 200 receiving 0 2 complete"},
			{`<gap 3`, "0 /h 200 receiving 0 5 gap missing 3"},
			{`< fghi`, ""},
		}},
		{"an upgrade", []step{
			{`> GET /w HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n`, "0 /w - waiting 0 0 unanswered"},
			{`< HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n`, ""},
		}},
		{"a reset", []step{
			{`> GET /a HTTP/1.1\r\nHost: a\r\n\r\n`, "0 /a - waiting 0 0 unanswered"},
			{"<close rst\n>close rst", ""},
		}},
	} {
		tab := newTable(defaults())
		conn := tab.connect()
		for i, s := range c.steps {
			conn.play(s.play)
			if got := strings.TrimSuffix(tab.underWay(), "\n"); got != s.want {
				t.Errorf("%s, step %d: under way are\n%s\nwant\n%s", c.name, i, got, s.want)
			}
		}
		if len(tab.wrong) > 0 {
			t.Errorf("%s: %v", c.name, tab.wrong)
		}
		conn.layer.Forget()
		if tab.engine.Memory() != 0 {
			t.Errorf("%s: %d bytes are still charged", c.name, tab.engine.Memory())
		}
	}
}

// A request that was shown as waiting is still under way; one that was given up isn't.
func TestUnderWayTimesOut(t *testing.T) {
	limits := defaults()
	limits.PendingAfter = 10e9
	tab := newTable(limits)
	tab.connect().play(`> GET /a HTTP/1.1\r\nHost: a\r\n\r\n`)
	for _, c := range []struct {
		elapsed int64
		want    string
	}{{1e9, "0 /a - waiting 0 0 unanswered\n"}, {11e9, "0 /a - waiting 0 0 unanswered\n"}, {400e9, ""}} {
		tab.engine.Tick(c.elapsed, clock.Mark{Time: epoch + c.elapsed})
		if got := tab.underWay(); got != c.want {
			t.Errorf("after %d s: %q", c.elapsed/1e9, got)
		}
	}
}

// A request that goes on after its answer has begun doesn't wait for it: it isn't shown as waiting, nor given up.
func TestAnsweredRequestsDoNotWait(t *testing.T) {
	limits := defaults()
	limits.PendingAfter = 10e9
	tab := newTable(limits)
	tab.connect().play(`> PUT /u HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc
		< HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n
		> def`)
	for _, elapsed := range []int64{11e9, 400e9} {
		tab.engine.Tick(elapsed, clock.Mark{Time: epoch + elapsed})
		if got := tab.underWay(); got != "0 /u 413 sending 6 0 complete\n" || len(tab.out.Waiting) > 0 {
			t.Errorf("after %d s: %q, %d shown as waiting", elapsed/1e9, got, len(tab.out.Waiting))
		}
	}
}

// Looking at an exchange changes nothing of it: the copy may be changed, and what comes later is the same.
func TestSnapshotIsACopy(t *testing.T) {
	play := func(look bool) string {
		tab := newTable(defaults())
		conn := tab.connect()
		for _, step := range []string{`> PUT /u HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab`, `< HTTP/1.1 103 Early Hints\r\n\r\n`, `> cd`,
			`< HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab`, `< cd`} {
			conn.play(step)
			for x := range tab.engine.UnderWay() {
				if !look {
					break
				}
				c, _ := x.Snapshot(clock.Mark{Time: epoch + tab.now})
				clear(c.Request.Raw)
				clear(c.Response.Raw)
				clear(c.Request.Fields)
				clear(c.Response.Fields)
				clear(c.Interim)
			}
		}
		text := tab.text()
		for _, x := range tab.out.Done {
			text += string(x.Request.Raw) + string(x.Response.Raw) + string(x.Response.Bytes(x.Response.Reason))
		}
		return text
	}
	if got, want := play(true), play(false); got != want || !strings.Contains(want, "PUT /u (103) 200") {
		t.Errorf("got %s, want %s", got, want)
	}
}
