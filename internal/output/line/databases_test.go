package line

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

// databaseCases are what the golden files show of databases, of names and of flows.
func databaseCases() []*exchange.Exchange {
	query := outputtest.Query
	change := func(x *exchange.Exchange, change func(x *exchange.Exchange)) *exchange.Exchange {
		change(x)
		return x
	}
	rows := func(n int64) func(x *exchange.Exchange) {
		return func(x *exchange.Exchange) { x.Response.Parts.Count = n }
	}
	unanswered := func(x *exchange.Exchange) {
		x.HasResponse, x.Response = false, proto.Message{}
		x.Grade, x.Reason = exchange.Unanswered, "no answer: connection silent"
	}
	killed := func(x *exchange.Exchange) {
		unanswered(x)
		x.Grade, x.Reason, x.Retries = exchange.Aborted, "port unreachable, says 10.0.0.53", 1
	}
	flow := outputtest.FlowRecord
	return []*exchange.Exchange{
		query("mysql", "SELECT", "SELECT name, price\n\tFROM products\r\n   WHERE id = ? AND name = \"a \\ b\""),
		query("postgresql", "INSERT", "INSERT INTO visits (page, hits) VALUES ($1, $2) ON CONFLICT (page) DO UPDATE SET hits = visits.hits + EXCLUDED.hits RETURNING id"),
		outputtest.Failed(query("mysql", "SELECT", "SELECT * FROM missing"), "1146", "Table 'shop.missing' doesn't exist"),
		outputtest.Failed(query("postgresql", "UPDATE", "UPDATE a SET b = ?"), "40P01", "deadlock detected\x1b[2J\nProcess 7 waits for ShareLock on transaction 8; blocked by process 9."),
		outputtest.Failed(query("redis", "INCR", "INCR name"), "WRONGTYPE", "WRONGTYPE Operation against a key holding the wrong kind of value"),
		change(query("redis", "GET", "GET cart:7"), rows(1)),
		change(query("redis", "MGET", "MGET a b c"), rows(999)),
		change(query("mongodb", "find", "find {\"find\":\"users\"}"), rows(12_345)),
		change(query("mysql", "SELECT", "SELECT 1 FROM log"), rows(7_654_321)),
		change(query("mysql", "COMMIT", "COMMIT"), func(x *exchange.Exchange) { x.Response.Framing, x.Response.Parts = proto.NoBody, proto.Parts{} }),
		query("postgresql", "LOGIN", ""),
		change(query("mysql", "SELECT", "SELECT SLEEP(?)"), unanswered),
		change(query("redis", "BLPOP", "BLPOP jobs ?"), func(x *exchange.Exchange) { x.Stream = true }),
		change(query("memcached", "set", "set a ? ? ?"), func(x *exchange.Exchange) { // a quiet one, which has no answer
			x.HasResponse, x.Response, x.Request.OneWay = false, proto.Message{}, true
		}),
		outputtest.Push("news of the day"),
		outputtest.Lookup("A", "www.shop.example", "10.0.0.7", "10.0.0.8"),
		outputtest.Lookup("AAAA", "a-rather-long-label.and-another-one.of-a-service.shop.example", "2001:db8:1111:2222:3333:4444:5555:6666"),
		outputtest.Lookup("TXT", "shop.example", "v=spf1 \x1b]0;owned\x07 -all"),
		change(outputtest.Lookup("A", "missing.shop.example"), func(x *exchange.Exchange) {
			x.Response.Facts[0] = proto.Fact{}
			x.Response.Say("rcode", []byte("NXDOMAIN"))
		}),
		change(outputtest.Lookup("A", "cache.shop.example"), killed),
		change(outputtest.Lookup("SRV", "_http._tcp.shop.example"), unanswered),
		flow("ssh"),
		change(flow("empty"), func(x *exchange.Exchange) {
			x.During = [2]exchange.Counts{{Packets: 1}, {Packets: 1}}
			x.Grade, x.Reason, x.Timing.Duration = exchange.Aborted, "connection refused", 80_000
		}),
		change(flow("udp"), func(x *exchange.Exchange) {
			x.Flow = outputtest.Flow("10.0.0.7:51022", "[2001:db8::2]:7000")
			x.Flow.Proto = 17
		}),
		outputtest.Proxied(query("mysql", "SELECT", "SELECT 1")),
		outputtest.FastCGI(),
	}
}

func showDatabases(t *testing.T, term terminal.Terminal) []byte {
	t.Helper()
	waiting := outputtest.Query("mysql", "SELECT", "SELECT * FROM orders FOR UPDATE")
	waiting.HasResponse = false
	return showAll(t, Options{Terminal: term, Location: time.UTC}, databaseCases(), waiting)
}

func TestDatabases(t *testing.T) {
	for _, width := range []int{0, 80, 120} {
		outputtest.Golden(t, *update, fmt.Sprintf("databases-%d.txt", width), showDatabases(t, terminal.Terminal{Width: width}))
	}
	for width := 80; width <= 160; width++ {
		fits(t, showDatabases(t, terminal.Terminal{Width: width}), width)
	}
	for width := 1; width < 80; width++ {
		showDatabases(t, terminal.Terminal{Width: width})
	}
}

// TestPlainStatements: a statement is one word in quotes, so that the fields of a line can be told apart whatever it holds.
func TestPlainStatements(t *testing.T) {
	for _, text := range []string{"SELECT 1", `SELECT "a"`, "SELECT '\\\"'", "a\n\tb", "\x00\x1b[2J", "日本\u202e", " ", strings.Repeat(`"`, 50)} {
		var w bytes.Buffer
		o := New(&w, Options{Location: time.UTC})
		x := outputtest.Query("mysql", "SELECT", text)
		if err := errors.Join(o.Exchange(x), o.Flush()); err != nil {
			t.Fatal(err)
		}
		line := w.String()
		if n := strings.Count(line, `"`); n != 2 || strings.Count(line, "\n") != 1 {
			t.Errorf("%q: %d quotes in %q", text, n, line)
		}
		before, rest, _ := strings.Cut(line, ` "`)
		_, after, _ := strings.Cut(rest, `" `)
		if len(strings.Fields(before)) != 3 || len(strings.Fields(after)) != 3 {
			t.Errorf("%q: %q", text, line)
		}
	}
}
