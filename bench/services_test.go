package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

// culprit finds every command, statement and question, and each has its answer.
func TestServices(t *testing.T) {
	families := map[string]exchange.Family{"redis": exchange.Database, "mysql": exchange.Database, "postgres": exchange.Database, "dns": exchange.Names}
	for _, c := range services(options{cache: t.TempDir(), size: 500_000}) {
		if err := c.prepare(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		n := 0
		readBy(t, c.full, func(x *exchange.Exchange) {
			n++
			if x.Grade != exchange.Complete || x.Anomalies != 0 || x.Family != families[c.protocol] || x.Failed() {
				t.Fatalf("%s: %s of %q, %v, %v", c.name, x.Request.Bytes(x.Request.Method), x.Protocol, x.Grade, x.Anomalies)
			}
		})
		if n == 0 || n != c.full.truth.Requests {
			t.Errorf("%s: %d exchanges, want %d", c.name, n, c.full.truth.Requests)
		}
	}
}

// What knows a protocol is used on it, and nothing else is.
func TestSpeaking(t *testing.T) {
	all := tools("culprit")
	for _, c := range []struct{ tool, protocol, says, line string }{
		{"tshark", "", "http || http2", "/a\t\t\t\n"},
		{"tshark", "redis", "resp && tcp.srcport == 6379", "OK,OK\t3,4\n"},
		{"tshark", "postgres", "pgsql.tag", "SELECT 3,SELECT 3,BEGIN,COMMIT\n"},
		{"culprit -o ndjson", "mysql", "ndjson", ""},
		{"tcpflow -c", "dns", "", ""},
		{"packet loop", "dns", "p", ""},
	} {
		i := slices.IndexFunc(all, func(t tool) bool { return t.name == c.tool })
		got, ok := all[i].speaking(c.protocol)
		if ok != (c.says != "") {
			t.Errorf("%s on %q: %v", c.tool, c.protocol, ok)
			continue
		}
		if command := strings.Join(got.command(file{path: "p"}), " "); ok && !strings.Contains(command, c.says) {
			t.Errorf("%s on %q: %s, want it to say %s", c.tool, c.protocol, command, c.says)
		}
		want := 0
		if c.protocol != "" {
			want = 4
		}
		if c.line != "" && got.found([]byte(c.line)) != want {
			t.Errorf("%s on %q finds %d in %q, want %d", c.tool, c.protocol, got.found([]byte(c.line)), c.line, want)
		}
	}
}
