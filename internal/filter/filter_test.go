package filter

import (
	"errors"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

const (
	get = "GET /api/users?page=2 HTTP/1.1\nHost: Shop.example:8080\nUser-Agent: curl/8.5.0\n" +
		"Accept: text/html\nAccept: application/json\nX-Bytes: caf\xe9\n\n"
	answered500 = "HTTP/1.1 500 Internal Server Error\nContent-Type: text/html; charset=utf-8\nServer: nginx\n\n" + "0123456789"
)

// samples are exchanges of different shapes, by name.
func samples() map[string]*exchange.Exchange {
	failed := outputtest.Exchange(get, answered500)
	failed.Anomalies.Set(proto.ObsFold)
	failed.Anomalies.Set(proto.MissingHost)
	failed.Process[proto.Responder] = &exchange.Process{PID: 412, Name: "nginx", Args: []string{"nginx", "-c", "x"}, ContainerID: "c0ffee"}

	unanswered := outputtest.Exchange(get, "")
	unanswered.Grade, unanswered.Reason = exchange.Unanswered, "no response"
	unanswered.Timing = exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: -1, Wait: -1, Receive: -1, Duration: -1, Total: -1}

	orphan := outputtest.Exchange("", "HTTP/1.1 200 OK\nServer: x\n\n")
	orphan.Grade = exchange.Midstream

	stream := outputtest.Exchange("POST /events HTTP/1.1\nHost: a\n\nhello", "HTTP/1.1 200 OK\nContent-Type: text/event-stream\n\n")
	stream.Stream = true
	stream.Flow = outputtest.Flow("[2001:db8::7]:51022", "[2001:db8::2]:8000")
	stream.ResponseBody.Bytes = nil
	return map[string]*exchange.Exchange{"failed": failed, "unanswered": unanswered, "orphan": orphan, "stream": stream}
}

// matching is what a filter selects of the samples, and its canonical text where that differs.
var matching = []struct{ text, want, canonical string }{
	{"http.response.status_code >= 500", "failed", ""},
	{"status >= 500", "failed", "http.response.status_code >= 500"},
	{"status == 200", "orphan stream", "http.response.status_code == 200"},
	{"status < 300", "orphan stream", "http.response.status_code < 300"},
	{"status <= 499.5", "orphan stream", "http.response.status_code <= 499.5"},
	{"status > 5e2", "", "http.response.status_code > 500"},
	{"500 <= status", "failed", "http.response.status_code >= 500"},
	{"200 <= status < 300", "orphan stream", "http.response.status_code >= 200 and http.response.status_code < 300"},
	{"status in 500..599", "failed", "http.response.status_code >= 500 and http.response.status_code <= 599"},
	{"status in [500, 200]", "failed orphan stream", "http.response.status_code in [500, 200]"},
	{"status in [500.5]", "", "http.response.status_code in [500.5]"},
	{"status not in [200]", "failed unanswered", "not (http.response.status_code in [200])"},
	{"status > -1", "failed orphan stream", "http.response.status_code > -1"},

	// An absent field compares false, with != too; not inverts what it stands before.
	{"status != 200", "failed", "http.response.status_code != 200"},
	{"not (status == 200)", "failed unanswered", "not (http.response.status_code == 200)"},
	{"not has(status)", "unanswered", "not has(http.response.status_code)"},
	{"duration >= 0", "failed orphan stream", "event.duration >= 0s"},
	{"path != \"/\"", "failed stream unanswered", `url.path != "/"`},
	{"header(\"x-none\") != \"a\"", "", `header("x-none") != "a"`},

	{`method == "GET"`, "failed unanswered", `http.request.method == "GET"`},
	{`method == 'GET' and not has(status)`, "unanswered", `http.request.method == "GET" and not has(http.response.status_code)`},
	{"method in [`POST`, 'PUT']", "stream", `http.request.method in ["POST", "PUT"]`},
	{`path startsWith "/api"`, "failed unanswered", `url.path startsWith "/api"`},
	{`path endsWith "s"`, "failed stream unanswered", `url.path endsWith "s"`},
	{`target contains "page="`, "failed unanswered", `url.original contains "page="`},
	{`path matches "^/(api|v[0-9])/"`, "failed unanswered", `url.path matches "^/(api|v[0-9])/"`},
	{`path not matches "^/api"`, "orphan stream", `not (url.path matches "^/api")`},
	{`http.version < "2"`, "failed orphan stream unanswered", ""},
	{`vhost == "shop.example"`, "", `url.domain == "shop.example"`},
	{`lower(vhost) == "shop.example"`, "failed unanswered", `lower(url.domain) == "shop.example"`},
	{`grade == "unanswered"`, "unanswered", `culprit.grade == "unanswered"`},
	{`lower(grade) startsWith "un"`, "unanswered", `lower(culprit.grade) startsWith "un"`},
	{`http.request.body.content == "hello"`, "stream", ""},
	{`url.domain contains "."`, "failed unanswered", ""},

	{"duration > 17ms", "failed orphan stream", "event.duration > 17ms"},
	{"duration > 1m30s or wait == 17200us", "failed orphan stream", "event.duration > 1m30s or culprit.timing.wait == 17.2ms"},
	{"wait in 17.1ms..17.3ms", "failed orphan stream", "culprit.timing.wait >= 17.1ms and culprit.timing.wait <= 17.3ms"},
	{"wait in .1s..1h", "", "culprit.timing.wait >= 100ms and culprit.timing.wait <= 1h0m0s"},
	{"send == 100µs", "failed orphan stream", "culprit.timing.send == 100µs"},
	{"send == 100μs and send != 5ns", "failed orphan stream", "culprit.timing.send == 100µs and culprit.timing.send != 5ns"},
	{"send > -5ms", "failed orphan stream", "culprit.timing.send > -5ms"},
	{"size == 10B", "failed", "http.response.body.bytes == 10"},
	{"size < 10KB", "failed orphan stream", "http.response.body.bytes < 10000"},
	{"size < 10kib", "failed orphan stream", "http.response.body.bytes < 10240"},
	{"size > 1.5MiB", "", "http.response.body.bytes > 1572864"},
	{"size < 0.1KiB", "failed orphan stream", "http.response.body.bytes < 102.4"},

	{`client == "10.0.0.7"`, "failed orphan unanswered", `client.ip == "10.0.0.7"`},
	{`client == "::ffff:10.0.0.7"`, "failed orphan unanswered", `client.ip == "10.0.0.7"`},
	{`client != "10.0.0.7"`, "stream", `client.ip != "10.0.0.7"`},
	{`client in ["2001:DB8::7", "1.2.3.4"]`, "stream", `client.ip in ["2001:db8::7", "1.2.3.4"]`},
	{`cidr(client, "10.1.2.3/8")`, "failed orphan unanswered", `cidr(client.ip, "10.0.0.0/8")`},
	{`cidr(client, "::ffff:10.0.0.0/104")`, "failed orphan unanswered", `cidr(client.ip, "10.0.0.0/8")`},
	{`not cidr(server, "2001:db8::/32")`, "failed orphan unanswered", `not cidr(server.ip, "2001:db8::/32")`},
	{"port == 8000", "failed orphan stream unanswered", "server.port == 8000"},

	{`time > "2024-05-06T10:42:07Z"`, "failed orphan stream unanswered", ""},
	{`time > "2024-05-06T12:42:08+02:00"`, "", `time > "2024-05-06T10:42:08Z"`},
	{`time in "2024-05-06T00:00:00Z".."2024-05-07T00:00:00Z"`, "failed orphan stream unanswered",
		`time >= "2024-05-06T00:00:00Z" and time <= "2024-05-07T00:00:00Z"`},

	{`header("accept") == "application/json"`, "failed unanswered", ""},
	{`header("Content-Type") contains "html"`, "failed", `header("content-type") contains "html"`},
	{`request_header("content-type") contains "html"`, "", ""},
	{`response_header("accept") == "text/html" or request_header("server") == "nginx"`, "", ""},
	{`response_header("server") in ["nginx", "x"]`, "failed orphan", ""},
	{`process == "nginx" and pid == 412`, "failed", `process.name == "nginx" and process.pid == 412`},
	{`server_process == "nginx" and not has(client_process)`, "failed", `destination.process.name == "nginx" and not has(source.process.name)`},
	{`process.command_line contains "-c x" and container startsWith "c0"`, "failed", `process.command_line contains "-c x" and container.id startsWith "c0"`},
	{`not has(process)`, "orphan stream unanswered", `not has(process.name)`},
	{`has(header("user-agent"))`, "failed unanswered", ""},
	{`lower(header("user-agent")) startsWith "curl"`, "failed unanswered", ""},
	{`header("x-bytes") endsWith b"\xe9"`, "failed unanswered", ""},
	{`header("x-bytes") endsWith "\xe9"`, "", `header("x-bytes") endsWith "é"`},
	{"has(http.request.headers)", "failed stream unanswered", ""},

	{`anomalies contains "obs-fold"`, "failed", `culprit.anomalies contains "obs-fold"`},
	{`"missing-host" in anomalies`, "failed", `culprit.anomalies contains "missing-host"`},
	{`anomalies contains "obs"`, "", `culprit.anomalies contains "obs"`},
	{`anomalies matches "^obs"`, "failed", `culprit.anomalies matches "^obs"`},
	{"has(anomalies)", "failed", "has(culprit.anomalies)"},

	{"culprit.stream", "stream", ""},
	{"!culprit.stream", "failed orphan unanswered", "not culprit.stream"},
	{"not not culprit.stream", "stream", "not (not culprit.stream)"},

	{"has(status) && status != 200 || culprit.stream", "failed stream",
		"has(http.response.status_code) and http.response.status_code != 200 or culprit.stream"},
	{"(culprit.stream or status == 500) and size == 10", "failed",
		"(culprit.stream or http.response.status_code == 500) and http.response.body.bytes == 10"},
	{"has(status) and (has(path) and has(query))", "failed", "has(http.response.status_code) and has(url.path) and has(url.query)"},
	{"status == 500 // not 200ms\n", "failed", "http.response.status_code == 500"},
	{"status /* 10KB \" */ == 500", "failed", "http.response.status_code == 500"},
	{`target contains "200ms" or target contains '10KB\' 5s' or status == 500`, "failed",
		`url.original contains "200ms" or url.original contains "10KB' 5s" or http.response.status_code == 500`},
}

func TestMatch(t *testing.T) {
	xs := samples()
	for _, c := range matching {
		f, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		var got []string
		for _, name := range []string{"failed", "orphan", "stream", "unanswered"} {
			if f.Match(xs[name]) {
				got = append(got, name)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: matches %q, want %q", c.text, s, c.want)
		}
		canonical := c.canonical
		if canonical == "" {
			canonical = c.text
		}
		if f.String() != canonical {
			t.Errorf("%s: canonical text is\n%s, want\n%s", c.text, f, canonical)
		}
	}
}

// refused are texts that aren't in the language, with the part that the error points to and a piece
// of the advice.
var refused = []struct{ text, part, msg string }{
	{"", "", "empty"},
	{" \n", "", "empty"},
	{"status >=", "", "too early"},
	{"(status == 500", "", "too early"},
	{"status == 500)", ")", "doesn't belong here"},
	{"status 200ms", "200ms", "200ms doesn't belong here"},
	{"status = 500", "=", "doesn't belong here"},
	{"duration > 5min", "5min", "units are ns"},
	{"duration > 5d", "5d", "units are ns"},
	{"size > 99999999999GB", "99999999999GB", "isn't a number"},
	{"method == \"GET", "", "not terminated"},
	{"path == \"\xff\"", "\xff", `b"\xff"`},

	{"statsu >= 500", "statsu", "did you mean status?"},
	{"tsatsu >= 500", "tsatsu", "did you mean status?"},
	{"x200ms == 5", "x200ms", "there is no field x200ms"},
	{"$00ms == 5", "$00ms", "there is no field $00ms"},
	{"dúration > 5ms and stauts == 1", "dúration", "did you mean duration?"},
	{"has(path) and http.response.status > 5", "http.response.status", "http.response.status_code"},
	{"status_code == 200", "status_code", "http.response.status_code"},
	{"response.body == 200", "response.body", "http.response.body.bytes"},
	{"frobnicate == 200", "frobnicate", "docs/filter.md"},

	{`status == "abc"`, `"abc"`, "is a number; write it such as 500"},
	{"method > 5", "5", "is text"},
	{"path startsWith 5", "5", "is text"},
	{"status startsWith \"5\"", "startsWith", "doesn't work on http.response.status_code"},
	{"duration > 200", "200", "such as 200ms"},
	{"size > 200ms", "200ms", "10KB"},
	{"status == 10KB", "10KB", "doesn't count bytes"},
	{"duration < 10KB", "10KB", "doesn't count bytes"},
	{"method == true", "true", "is text"},
	{"culprit.stream == true", "==", "alone, or after not"},
	{`client == "10.0.0.256"`, `"10.0.0.256"`, "isn't an IP address"},
	{`client == "fe80::1%eth0"`, `"fe80::1%eth0"`, "isn't an IP address"},
	{`client == "10.0.0.0/8"`, `"10.0.0.0/8"`, `cidr(client.ip, "10.0.0.0/8")`},
	{`client < "10.0.0.7"`, "<", "cidr"},
	{`client startsWith "10."`, "startsWith", "cidr"},
	{`cidr(client, "10.0.0.7")`, `"10.0.0.7"`, "isn't a network"},
	{`cidr(client, "::ffff:0:0/64")`, `"::ffff:0:0/64"`, "96"},
	{`cidr(path, "10.0.0.0/8")`, "path", "url.path is text"},
	{"cidr(client)", "cidr", "such as cidr(client"},
	{"cidr(client, 5)", "5", "such as cidr(client"},
	{`time > "yesterday"`, `"yesterday"`, "2026-11-21T10:00:00Z"},
	{`time > "0001-01-01T00:00:00Z"`, `"0001-01-01T00:00:00Z"`, "isn't a time"},
	{`anomalies == "obs-fold"`, "==", "with contains"},
	{`anomalies in ["obs-fold"]`, "in", "with contains"},
	{`"GET" in method`, "method", "method contains"},
	{`"GET" in ["GET"]`, `[`, "a field on one side"},
	{`path matches "("`, `"("`, "missing closing )"},
	{`http.request.headers == "x"`, "==", `header("name")`},
	{`http.request.headers["host"] == "x"`, `http.request.headers[`, `header("name")`},
	{`http.request.headers[0] == "x"`, `http.request.headers[`, "dots alone"},
	{"status in []", "[", "empty"},
	{"status in [500, '501']", "'501'", "is a number"},
	{"status in 599..500", "..", "lower end"},
	{"status in 500", "500", "500..599"},
	{`path in "a".."b"`, "..", "ranges are for"},
	{"status in [path]", "path", "values only"},
	{"has()", "has", "has takes one"},
	{"has(5)", "5", "a field must stand here"},
	{"has(lower(path))", "lower", "without lower"},
	{"lower(status) == 5", "status", "lower is for text"},
	{"lower(path, path) == 'a'", "lower", "lower takes one"},
	{"header() == 'a'", "header", "name of a header"},
	{"header(path) == 'a'", "path", "name of a header"},
	{"header('') == 'a'", "''", "name of a header"},
	{"header('host')", "header", "has(header(\"host\"))"},

	{"5", "5", "a value alone"},
	{"true", "true", "a value alone"},
	{"status", "status", "is no condition"},
	{"1 == 2", "1", "a field must stand here"},
	{"'abc' contains path", "'abc'", "a field must stand here"},
	{"send > wait", "wait", "values only"},
	{"send > wiat", "wiat", "did you mean wait?"},
	{"status == nil", "nil", "has(field)"},
	{"not status == 500", "not status", "parentheses"},
	{"!path startsWith '/'", "!path", "parentheses"},
	{"status == 500 + 1", "+", "no arithmetic"},
	{"-status == 5", "-status", "no arithmetic"},
	{"(status == 500) == true", "==", "not a condition"},
	{"status ?? 500", "??", "has(field)"},
	{"status > 500 ? true : false", ">", "conditionals"},
	{"if culprit.stream { true } else { false }", "culprit.stream", "conditionals"},
	{"status?.code == 5", "status?.code", "?. isn't part"},
	{"path[1:2] == 'a'", "[", "fields have no parts"},
	{"path.lower() == 'a'", "lower", "no methods"},
	{"len(path) > 5", "len", "there is no such function"},
	{"upper(path) == 'A'", "upper", "lower"},
	{"frobnicate(path)", "frobnicate", "there is no such function"},
	{"any(anomalies, {# == 'a'})", "any", "there is no such function"},
	{"path | lower() == 'a'", "lower", "pipes"},
	{"has(has(path))", "has", "is a condition"},
	{"{'a': 1}", "{", "isn't part"},
	{"[1]", "[", "right of in"},
	{"let a = status; a == 5", "a", "without variables"},
	{"has(path); has(path)", "has", "without variables"},
	{"status in 1..2..3", "..", "range stands"},
	{strings.Repeat("-", 200) + "status == 5", strings.Repeat("-", 200) + "status", "no arithmetic"},
	{strings.Repeat("not ", 64) + "culprit.stream", "culprit.stream", "64 deep"},
}

func TestRefused(t *testing.T) {
	for _, c := range refused {
		f, err := Parse(c.text)
		if err == nil {
			t.Errorf("%s: accepted as %s", c.text, f)
			continue
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error is a %T", c.text, err)
			continue
		}
		if part := e.Text[e.Pos : e.Pos+e.Len]; part != c.part || !strings.Contains(e.Msg, c.msg) {
			t.Errorf("%s: points to %q, want %q with %q in:\n%v", c.text, part, c.part, c.msg, e)
		}
	}
}

func TestTooLong(t *testing.T) {
	long := "path == '" + strings.Repeat("a", MaxLength) + "'"
	if _, err := Parse(long); err == nil || !strings.Contains(err.Error(), "4096 are allowed") {
		t.Errorf("error is %v", err)
	}
	chain := strings.Repeat("culprit.stream or ", 200) + "has(path)"
	f, err := Parse(chain)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.Root().(*Or).Nodes); n != 201 {
		t.Errorf("a chain of 201 has %d nodes", n)
	}
}

func TestErrorShowsPlace(t *testing.T) {
	_, err := Parse("path == \"é\t\"\nand statsu == 5\nor has(path)")
	want := "there is no field statsu; did you mean status?\n" +
		"  and statsu == 5\n" +
		"      ^^^^^^"
	if err == nil || err.Error() != want {
		t.Errorf("error is\n%v\nwant\n%s", err, want)
	}
	_, err = Parse("path == \"é\x1b\" and statsu == 5")
	want = "there is no field statsu; did you mean status?\n" +
		"  path == \"é \" and statsu == 5\n" +
		"                   ^^^^^^"
	if err == nil || err.Error() != want {
		t.Errorf("error is\n%v\nwant\n%s", err, want)
	}
}

func TestFields(t *testing.T) {
	f, err := Parse(`status > 5 and (path == "a" or not (http.response.status_code == 7)) and header("a") == "b" and cidr(client, "::/0")`)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, field := range f.Fields() {
		names = append(names, field.Name)
	}
	want := "http.response.status_code url.path http.request.headers http.response.headers client.ip"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("fields are %s, want %s", got, want)
	}
}

// Every field can be named by its canonical name and by each alias.
func TestEveryName(t *testing.T) {
	for i := range exchange.Fields {
		field := &exchange.Fields[i]
		for _, name := range append([]string{Name(field)}, field.Aliases...) {
			f, err := Parse("has(" + name + ")")
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := f.Root().(*Has).Operand.Field; got != field {
				t.Errorf("%s is taken for %s", name, got.Name)
			}
		}
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	xs := samples()
	for _, text := range []string{
		`status >= 500 and path startsWith "/api" and duration > 1ms`,
		`cidr(client, "10.0.0.0/8") and lower(vhost) == "shop.example" and header("accept") matches "json"`,
		`grade == "complete" and status in [500, 502] and method in ["GET", "POST"]`,
	} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Match(xs["failed"]) {
			t.Fatalf("%s doesn't match", text)
		}
		// Under the race detector the pools of package regexp forget on purpose.
		if n := testing.AllocsPerRun(100, func() { f.Match(xs["failed"]) }); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	x := samples()["failed"]
	for _, text := range []string{
		`status >= 500 and path startsWith "/api"`,
		`method == "GET" and path startsWith "/api/transactions"`,
		`header("user-agent") contains "curl" and duration > 5ms and cidr(client, "10.0.0.0/8")`,
	} {
		f, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Match(x)
			}
		})
	}
}

// Invariant: no text makes Parse panic; an error points into the text; an accepted filter's canonical
// text parses to the same canonical text, and both select the same exchanges.
func FuzzParse(f *testing.F) {
	for _, c := range matching {
		f.Add(c.text)
	}
	for _, c := range refused {
		f.Add(c.text)
	}
	xs := samples()
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Pos < 0 || e.Len < 0 || e.Pos+e.Len > len(e.Text) || e.Error() == "" {
				t.Fatalf("bad error %#v", err)
			}
			return
		}
		canonical := a.String()
		if len(canonical) > MaxLength {
			return // full names are longer than aliases
		}
		b, err := Parse(canonical)
		if err != nil {
			t.Fatalf("%q: canonical text %q is refused: %v", text, canonical, err)
		}
		if b.String() != canonical {
			t.Fatalf("%q: canonical text %q parses to %q", text, canonical, b)
		}
		for name, x := range xs {
			if a.Match(x) != b.Match(x) {
				t.Fatalf("%q and its canonical text %q differ on %s", text, canonical, name)
			}
		}
	})
}
