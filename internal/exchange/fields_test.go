package exchange_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/rollup"
)

var update = flag.Bool("update", false, "write docs/fields.md")

// samples are exchanges with and without what fields are made of.
func samples() map[string]*exchange.Exchange {
	full := outputtest.Exchange("POST http://shop.example:81/a?b=c HTTP/1.1\nHost: x\nUser-Agent: curl\nReferer: y\nX-Request-ID: r1\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nContent-Type: Text/Plain; charset=x\n\nhello",
		"HTTP/1.1 200 OK\nContent-Type: text/html\n\nworld")
	full.Tap.Name, full.Tap.Observer = "proxy", "host"
	full.Stream, full.MissingBytes, full.Reason, full.Grade = true, 7, "7 bytes weren't captured", exchange.Gap
	full.Anomalies.Set(proto.EarlyResponse)
	full.Interim = []exchange.Interim{{Status: 100}, {Status: 103}}
	full.RequestBody.Parts = []exchange.Part{{Name: "photo", Filename: "a.jpg", Type: "image/jpeg", Bytes: 3}}
	full.ResponseBody.Parts = full.RequestBody.Parts
	full.Timing.Idle, full.Timing.TLS, full.Timing.Overlap = 1, 2, 3
	full.Conn.Why = proto.Finished
	for d := range full.Conn.Half {
		full.Conn.Half[d].RTT, full.Conn.Half[d].MSS = 5, 1460
		full.During[d] = exchange.Counts{Packets: 2, Retransmits: 1, OutOfOrder: 1, DupAcks: 1, ZeroWindows: 1}
	}
	full.Process = [2]*exchange.Process{
		{PID: 7, Name: "curl", Args: []string{"curl", "-s", "http://shop.example:81/"}, Executable: "/usr/bin/curl", User: "alice"},
		{PID: 8, Name: "app", Args: []string{"app"}, Executable: "/app", User: "1000", ContainerID: "c0ffee", PodUID: "1-2", Unit: "app.service", Listening: true},
	}
	full.Enriched = exchange.Enriched{
		Route:     "/{word}",
		UserAgent: &exchange.UserAgent{Name: "Chrome", Version: "130", OS: "Android", OSVersion: "14", Device: "Pixel 8", Kind: "mobile"},
		Domain:    [2]string{"pc.example", "shop.example"}, Service: [2]string{"browser", "shop"},
	}
	full.Weight = 10
	for d := range full.Enriched.Place {
		full.Enriched.Place[d] = &exchange.Place{Country: "DE", Region: "Hesse", City: "Frankfurt", Location: "50.1,8.7", ASNumber: 64500, ASOrganization: "Example"}
	}
	full.Secrets = []string{"4f2a"}
	for p := range full.Timing.Causes {
		full.Timing.Causes[p] = exchange.Causes{Client: 1, ClientNetwork: 2, ServerNetwork: 3, Server: 4, Known: true}
	}
	full.Timing.Total = 100
	full.Blame = exchange.Blame{
		Who: exchange.ByUpstream, Situation: exchange.SlowUpstream, Time: 40, Confidence: 0.9, Upstream: "10.0.0.9:80", Why: "it waited", Facts: []string{"packet 7"},
	}
	full.Hop = exchange.Hop{Method: exchange.ByID, Parent: [exchange.IDSize]byte{1}, Trace: [exchange.IDSize]byte{2}, Depth: 1, Confidence: 1}
	resent := outputtest.Exchange("GET / HTTP/1.1\n\n", "")
	resent.Conn.SYNs = 2
	unknown := outputtest.Exchange("GET / HTTP/1.1\n\n", "")
	unknown.Timing = exchange.UnknownTiming
	recorded := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 204 No Content\n\n")
	recorded.Tap.Recorded = "server"
	all := map[string]*exchange.Exchange{
		"recorded": recorded, "full": full, "resent": resent, "unknown": unknown, "secure": secure(), "grpc": grpc(), "websocket": websocket(),
		"plain":    outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 204 No Content\n\n"),
		"request":  outputtest.Exchange("GET / HTTP/1.1\n\n", ""),
		"response": outputtest.Exchange("", "HTTP/1.1 200 OK\n\n"),
		"push":     outputtest.Push("news"), "lookup": outputtest.Lookup("A", "www.shop.example", "10.0.0.7"), "flow": outputtest.FlowRecord("ssh"),
		"name":    outputtest.WithFacts(outputtest.Lookup("A", "www.shop.example")),
		"no name": outputtest.Failed(outputtest.Lookup("A", "no.shop.example"), "NXDOMAIN", "the name doesn't exist"),
		"proxied": outputtest.Proxied(outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 204 No Content\n\n")),
		"fastcgi": outputtest.FastCGI(),
	}
	for _, protocol := range []string{"mysql", "postgresql", "redis", "memcached", "mongodb"} {
		all[protocol] = outputtest.WithFacts(outputtest.Query(protocol, "SELECT", "SELECT * FROM users WHERE id = 7"))
		all[protocol+" error"] = outputtest.Failed(outputtest.Query(protocol, "SELECT", "SELECT 1"), "1146", "no such table")
	}
	return all
}

// secure is an exchange within TLS, on an HTTP/2 stream that was given up.
func secure() *exchange.Exchange {
	x := outputtest.Exchange("POST /graphql HTTP/1.1\nHost: a\n\n{}", "HTTP/1.1 200 OK\n\nx")
	certificate := &proto.Certificate{
		Subject: "CN=a.example", Issuer: "CN=ca", CommonName: "a.example", Names: []string{"a.example", "10.0.0.1"}, NotBefore: 1, NotAfter: 2e18,
		Serial: "0A", SHA256: "AB", Key: "RSA 2048", Signature: "SHA256-RSA",
	}
	x.TLS = &proto.TLS{
		Version: 0x0303, Offered: 0x0304, Suite: 0x1301, SuiteName: "TLS_AES_128_GCM_SHA256", GroupName: "x25519", OfferedSuites: []uint16{0x1301, 0x00ff},
		ServerName: "a.example", ALPN: "h2", OfferedALPN: []string{"h2", "http/1.1"}, JA3: "j3", JA3S: "j3s", JA4: "j4", Resumption: "ticket",
		Retry: true, EarlyData: "accepted", Established: true, ServerChain: []*proto.Certificate{certificate}, ClientChain: []*proto.Certificate{certificate},
		Alerts: []proto.Alert{{Dir: proto.Responder, Fatal: true, Name: "unknown_ca"}}, Decrypted: true, Reason: "r", LostRecords: 1,
	}
	x.Request.Stream, x.Response.Stream, x.Request.Pushed = 7, 7, true
	x.Request.Stalled, x.Response.Stalled = 5, 6
	x.Abort = &proto.Abort{Stream: 7, By: proto.Responder, Name: "CANCEL", GoAway: true}
	x.Operation = exchange.Operation{System: "graphql", Kind: "query", Names: []string{"Orders"}}
	x.Timing.Handshake = exchange.Split{Client: 1, Server: 2, Network: 3}
	return x
}

// grpc is a call that failed.
func grpc() *exchange.Exchange {
	x := outputtest.Exchange("POST /shop.v1.Orders/Get HTTP/1.1\nHost: a\nContent-Type: application/grpc+proto\n\nx",
		"HTTP/1.1 200 OK\nContent-Type: application/grpc\ngrpc-status: 14\ngrpc-message: no%20luck\n\n")
	x.Request.Parts = proto.Parts{Count: 1, Compressed: 1, Bytes: 5, Largest: 5}
	x.Response.Parts = proto.Parts{Count: 2, Compressed: 1, Bytes: 7, Largest: 4}
	return x
}

// websocket is one message of a session that was closed.
func websocket() *exchange.Exchange {
	x := outputtest.Exchange("GET /chat HTTP/1.1\nHost: a\n\n", "HTTP/1.1 101 Switching Protocols\n\n")
	x.Message = &exchange.SessionMessage{Dir: proto.Responder, Kind: "text", Index: 3}
	x.Closing = exchange.Closing{Seen: true, By: proto.Responder, Code: 1011, Reason: "oops"}
	return x
}

// TestGRPC: a call is judged by its own status, wherever the server puts it.
func TestGRPC(t *testing.T) {
	x := grpc()
	service, method := x.GRPCMethod()
	code, ok := x.GRPCStatus()
	if string(service) != "shop.v1.Orders" || string(method) != "Get" || code != 14 || !ok || x.GRPCMessage() != "no luck" || x.GRPCKind() != "server-streaming" ||
		x.Outcome() != "failure" || x.ErrorCode() != "UNAVAILABLE" {
		t.Errorf("%s %s %d %v %q %s %s %s", service, method, code, ok, x.GRPCMessage(), x.GRPCKind(), x.Outcome(), x.ErrorCode())
	}
	for _, mediaType := range []string{"application/grpcx", "application/json", ""} {
		y := outputtest.Exchange("POST /a/b HTTP/1.1\nContent-Type: "+mediaType+"\n\n", "HTTP/1.1 200 OK\ngrpc-status: 14\n\n")
		if _, ok := y.GRPCStatus(); ok || y.Outcome() != "success" {
			t.Errorf("%q is taken for gRPC", mediaType)
		}
	}
}

func TestFieldTable(t *testing.T) {
	names := map[string]bool{}
	closed := map[string]bool{} // objects that are over
	var open []string
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			if names[name] {
				t.Errorf("the name %q is given twice", name)
			}
			names[name] = true
			if exchange.Lookup(name) != f {
				t.Errorf("Lookup(%q) finds another field", name)
			}
		}
		if f.Type == "" || f.Meaning == "" || f.Source == "" || f.Kind == exchange.Absent {
			t.Errorf("%s is described only in part", f.Name)
		}
		if (f.Kind == exchange.Duration) != (f.Unit == "ns") {
			t.Errorf("%s: kind %d, unit %q", f.Name, f.Kind, f.Unit)
		}
		// The encoder opens each object once: its fields stand together.
		parts := strings.Split(f.Name, ".")
		var path []string
		for n := 1; n < len(parts); n++ {
			path = append(path, strings.Join(parts[:n], "."))
		}
		for k, p := range open {
			if k >= len(path) || path[k] != p {
				closed[p] = true
			}
		}
		for _, p := range path {
			if closed[p] {
				t.Errorf("%s: the object %s has ended before", f.Name, p)
			}
			if f := exchange.Lookup(p); f != nil && f.Name == p {
				t.Errorf("%s: %s is a field, so it can't be an object", exchange.Fields[i].Name, p)
			}
		}
		open = path
	}
	if exchange.Lookup("no.such.field") != nil {
		t.Error("Lookup finds what isn't there")
	}
}

func TestFieldValues(t *testing.T) {
	absent, present := map[string]bool{}, map[string]bool{}
	for name, x := range samples() {
		for i := range exchange.Fields {
			f := &exchange.Fields[i]
			var v exchange.Value
			f.Get(x, &v)
			if v.Kind == exchange.Absent {
				absent[f.Name] = true
				continue
			}
			present[f.Name] = true
			switch {
			case v.Kind != f.Kind:
				t.Errorf("%s of %s has kind %d, the table says %d", f.Name, name, v.Kind, f.Kind)
			case v.Kind == exchange.Headers && v.Message == nil, v.Kind == exchange.List && len(v.List) == 0:
				t.Errorf("%s of %s is empty, but not absent", f.Name, name)
			case v.Kind == exchange.Duration && v.Int < 0:
				t.Errorf("%s of %s is negative: %d", f.Name, name, v.Int)
			}
		}
	}
	for i := range exchange.Fields {
		if name := exchange.Fields[i].Name; !present[name] {
			t.Errorf("%s is in none of the samples", name)
		}
	}
	for _, name := range []string{"http.request.method", "http.response.status_code", "http.response.bytes", "url.path", "user_agent.original", "event.duration", "culprit.grade"} {
		if absent[name] != (name != "culprit.grade") {
			t.Errorf("%s: absent in some samples %v", name, absent[name])
		}
	}
}

// The process of an exchange is the server's, or else the client's; each end has its own.
func TestProcessFields(t *testing.T) {
	client := &exchange.Process{PID: 7, Name: "curl", Args: []string{"curl", "-s", "a b"}, ContainerID: "c1"}
	shared := &exchange.Process{Name: "nginx", Unit: "nginx.service"} // several processes
	var v exchange.Value                                              // used again, as outputs do
	for _, c := range []struct {
		client, server *exchange.Process
		field          string
		want           string
	}{
		{client, shared, "process.name", "nginx"},
		{client, shared, "process", "nginx"},
		{client, shared, "pid", ""},
		{client, shared, "process.pid", ""},
		{client, shared, "process.command_line", ""},
		{client, shared, "container", ""},
		{client, shared, "unit", "nginx.service"},
		{client, shared, "server_process", "nginx"},
		{client, shared, "client_process", "curl"},
		{client, shared, "source.process.pid", "7"},
		{client, shared, "source.process.command_line", "curl -s a b"},
		{client, nil, "process", "curl"},
		{client, nil, "pid", "7"},
		{client, nil, "container.id", "c1"},
		{client, nil, "server_process", ""},
		{client, nil, "destination.process.pid", ""},
		{nil, client, "process", "curl"},
		{nil, client, "client_process", ""},
		{nil, client, "destination.process.pid", "7"},
		{nil, nil, "process", ""},
		{nil, nil, "source.process.user.name", ""},
	} {
		for _, dir := range []proto.Direction{proto.Originator, proto.Responder} {
			x := outputtest.Exchange("GET / HTTP/1.1\n\n", "")
			x.Client = dir
			x.Process[x.Client], x.Process[x.Server()] = c.client, c.server
			v.Kind, v.Text, v.Bytes = exchange.Absent, "", nil
			exchange.Lookup(c.field).Get(x, &v)
			got := v.Text + string(v.Bytes)
			if v.Kind == exchange.Int {
				got = fmt.Sprint(v.Int)
			}
			if got != c.want || (v.Kind == exchange.Absent) != (c.want == "") {
				t.Errorf("%s of %+v and %+v is %q, want %q", c.field, c.client, c.server, got, c.want)
			}
		}
	}
}

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		status int
		grade  exchange.Grade
		want   string
	}{
		{200, exchange.Complete, "success"}, {304, exchange.Gap, "success"}, {404, exchange.Complete, "failure"},
		{500, exchange.Complete, "failure"}, {200, exchange.Aborted, "failure"}, {0, exchange.Unanswered, "unknown"},
		{0, exchange.Aborted, "failure"},
	} {
		x := &exchange.Exchange{HasResponse: c.status > 0, Grade: c.grade}
		x.Response.Status = c.status
		if got := x.Outcome(); got != c.want {
			t.Errorf("status %d, %v: %s, want %s", c.status, c.grade, got, c.want)
		}
	}
}

// TestFieldDocs keeps docs/fields.md in step with the tables that it is made of.
func TestFieldDocs(t *testing.T) {
	const path = "../../docs/fields.md"
	want := fieldDocs()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./internal/exchange -update writes it)", err)
	}
	if !bytes.Equal(have, want) {
		t.Error("docs/fields.md isn't what the tables say: go test ./internal/exchange -update writes it; review the change")
	}
}

// gradeMeanings describe the grades.
var gradeMeanings = [exchange.Grades]string{
	exchange.Complete:      "every byte of the request and of its response was seen",
	exchange.Gap:           "bytes are missing within it, or around it so that it can't be known what it answers",
	exchange.Midstream:     "it began before the capture",
	exchange.OneSided:      "the other direction was never captured",
	exchange.Unanswered:    "the request got no response",
	exchange.Aborted:       "the connection ended in the middle of it",
	exchange.Undecryptable: "it was encrypted and no key fits",
}

func fieldDocs() []byte {
	var b bytes.Buffer
	b.WriteString(`# Fields

The document of an exchange, as ` + "`-o ndjson`" + ` writes it and ` + "`--where`" + ` asks for it. Names follow the Elastic Common
Schema ` + exchange.ECSVersion + `, and those of Elastic's Beats for the processes at the ends and the pod; what neither names is under
` + "`culprit`" + `. A field without a value is left out. The second column has the short names for ` + "`--where`" + `;
the types are those of Elasticsearch.

This page is made from the code: don't edit it, run ` + "`go test ./internal/exchange -update`" + `.

| field | aliases | type | unit | meaning | source |
| --- | --- | --- | --- | --- | --- |
`)
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", f.Name, quoted(f.Aliases), f.Type, f.Unit, f.Meaning, f.Source)
	}
	b.WriteString(`
## Grades

` + "`culprit.grade`" + ` says how much of an exchange was seen; ` + "`error.message`" + ` says why it isn't complete.

| grade | meaning |
| --- | --- |
`)
	for g, meaning := range gradeMeanings {
		fmt.Fprintf(&b, "| `%s` | %s |\n", exchange.Grade(g), meaning)
	}
	b.WriteString(`
## Anomalies

` + "`culprit.anomalies`" + ` lists what is odd about the messages of an exchange.

| anomaly | meaning |
| --- | --- |
`)
	for _, a := range proto.AnomalyTable {
		fmt.Fprintf(&b, "| `%s` | %s |\n", a.Name, a.Meaning)
	}
	b.WriteString(`
## Rollups

The document of a row, which counts the exchanges of one minute and series ([sampling.md](sampling.md)). Rows of the same minute
and series add up. A series is what these have in common: ` + "`observer.hostname`, `observer.ingress.interface.name`, `network.protocol`, `service.name`,\n`http.request.method`, `url.domain`, `culprit.route` and `culprit.rollup.status_class`" + `.

| field | type | unit | meaning |
| --- | --- | --- | --- |
`)
	for i := range rollup.Fields {
		f := &rollup.Fields[i]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, f.Unit, f.Meaning)
	}
	return b.Bytes()
}

func quoted(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, "`"+n+"`")
	}
	return strings.Join(out, ", ")
}
