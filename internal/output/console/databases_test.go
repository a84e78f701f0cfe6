package console

import (
	"bytes"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

func unansweredAsk(x *exchange.Exchange) *exchange.Exchange {
	x.HasResponse, x.Response, x.ResponseBody = false, proto.Message{}, exchange.Body{}
	x.Grade, x.Reason = exchange.Unanswered, "no answer: connection silent"
	return x
}

// databaseGoldens are what databases, names and flows look like.
var databaseGoldens = []struct {
	name    string
	options Options
	make    func() *exchange.Exchange
}{
	{"query", screen, func() *exchange.Exchange {
		x := outputtest.Query("mysql", "SELECT", "SELECT name, price\n  FROM products\r\n\n WHERE id = ?")
		x.Request.Say("database", []byte("shop"))
		x.Request.Say("user", []byte("app"))
		x.Request.Say("parameter", []byte("7"))
		x.Request.Say("parameter", []byte("'a\x1b[2Jb'"))
		x.Response.Count("warnings", 1)
		return x
	}},
	{"query-pipe", pipe, func() *exchange.Exchange {
		x := outputtest.Query("postgresql", "SELECT", "SELECT "+strings.Repeat("a_long_name, ", 20)+"1")
		x.ResponseBody.Bytes = []byte(strings.Repeat("cell\t", 40) + "\\N\n")
		return x
	}},
	{"query-long", screen, func() *exchange.Exchange {
		x := outputtest.Query("postgresql", "SELECT", "SELECT "+strings.Repeat("a_long_name, ", 20)+"1")
		x.ResponseBody.Bytes, x.ResponseBody.Cut = []byte(strings.Repeat("cell\t", 40)+"\\N\n"), true
		return x
	}},
	{"query-failed-colour", Options{Terminal: terminal.Terminal{Width: 80, Color: true}}, func() *exchange.Exchange {
		x := outputtest.Failed(outputtest.Query("postgresql", "UPDATE", "UPDATE visits SET hits = ?"), "40P01", "deadlock detected\x1b[2J")
		x.Response.Say("notice", []byte("WARNING: there is no transaction in progress"))
		x.Response.Framing, x.Response.Parts, x.ResponseBody.Bytes = proto.NoBody, proto.Parts{}, nil
		return x
	}},
	{"query-changed", screen, func() *exchange.Exchange {
		x := outputtest.Query("mysql", "UPDATE", "UPDATE visits SET hits = ?")
		x.Response.Framing, x.Response.Parts, x.ResponseBody.Bytes = proto.NoBody, proto.Parts{}, nil
		x.Response.Count("affected_rows", 0)
		return x
	}},
	{"query-unanswered", screen, func() *exchange.Exchange {
		return unansweredAsk(outputtest.Query("mysql", "SELECT", "SELECT SLEEP(?)"))
	}},
	{"query-facts", screen, func() *exchange.Exchange { return outputtest.WithFacts(outputtest.Query("redis", "GET", "GET cart:7")) }},
	{"push", screen, func() *exchange.Exchange {
		x := outputtest.Push("news of the day")
		x.ResponseBody.Bytes = []byte("\"hello\"\n")
		return x
	}},
	{"lookup", screen, func() *exchange.Exchange {
		x := outputtest.Lookup("A", "www.shop.example", "10.0.0.7", "10.0.0.8")
		x.Response.Say("flag", []byte("RD"))
		x.Response.Say("flag", []byte("RA"))
		return x
	}},
	{"lookup-failed", screen, func() *exchange.Exchange {
		x := outputtest.Lookup("A", "missing.shop.example")
		x.Response.Facts = nil
		x.Response.Say("rcode", []byte("NXDOMAIN"))
		return x
	}},
	{"lookup-killed", screen, func() *exchange.Exchange {
		x := unansweredAsk(outputtest.Lookup("A", "cache.shop.example"))
		x.Grade, x.Reason, x.Retries = exchange.Aborted, "port unreachable, says 10.0.0.53", 2
		x.Conn.Errors = 1
		return x
	}},
	{"lookup-hostile", screen, func() *exchange.Exchange {
		return outputtest.Lookup("TXT", "a\x1b[2Jb.example", "v=spf1 \x1b]0;owned\x07"+strings.Repeat(" include:example", 20))
	}},
	{"flow", screen, func() *exchange.Exchange { return outputtest.FlowRecord("ssh") }},
	{"flow-refused", screen, func() *exchange.Exchange {
		x := outputtest.FlowRecord("empty")
		x.Period.Number, x.During = 0, [2]exchange.Counts{{Packets: 1}, {Packets: 1}}
		x.Grade, x.Reason = exchange.Aborted, "connection refused"
		return x
	}},
	{"flow-goes-on", screen, func() *exchange.Exchange {
		x := outputtest.FlowRecord("udp")
		x.Flow.Proto, x.Period.Final = 17, false
		return x
	}},
	{"fastcgi", screen, outputtest.FastCGI},
	{"proxied", screen, func() *exchange.Exchange { return outputtest.Proxied(outputtest.Query("mysql", "SELECT", "SELECT 1")) }},
}

func TestDatabases(t *testing.T) {
	for _, g := range databaseGoldens {
		t.Run(g.name, func(t *testing.T) {
			var w bytes.Buffer
			o := New(&w, g.options)
			if err := o.Exchange(g.make()); err != nil {
				t.Fatal(err)
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			outputtest.Golden(t, *update, "databases-"+g.name+".txt", w.Bytes())
			for line := range strings.Lines(w.String()) {
				if line = strings.TrimSuffix(line, "\n"); g.options.Terminal.Width == 80 && !g.options.Terminal.Color && terminal.Width([]byte(line)) > 80 && !strings.Contains(g.name, "long") {
					t.Errorf("%d columns: %s", terminal.Width([]byte(line)), line)
				}
				if !g.options.Terminal.Color && strings.ContainsAny(line, "\x1b\x07\r") {
					t.Errorf("not safe: %q", line)
				}
			}
		})
	}
}
