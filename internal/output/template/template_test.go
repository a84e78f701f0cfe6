package template

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

var update = flag.Bool("update", false, "rewrite the golden files, and the table of docs/format.md")

var _ output.Output = (*Output)(nil)

func page() *exchange.Exchange {
	return outputtest.Exchange(
		"POST /login?next=%2F HTTP/1.1\nHost: shop.example\nUser-Agent: curl/8.5\nX-A: 1\nX-A: 2\n\nuser=a\x1b[2J\nb",
		"HTTP/1.1 302 Found\nContent-Type: text/plain\nLocation: /\n\nmoved")
}

// last is an exchange that ends its connection.
func last() *exchange.Exchange {
	x := page()
	x.Index, x.Timing.Connect, x.Timing.Idle = 4, -1, -1
	x.Conn.Why, x.Conn.By = proto.Finished, proto.Responder
	x.Conn.Closed = clock.Mark{Time: x.Response.Last.Time + 2_500_000_000}
	return x
}

func unanswered() *exchange.Exchange {
	x := outputtest.Exchange("GET / HTTP/1.1\nHost: a\n\n", "")
	x.Timing = exchange.Timing{Idle: 1_000, Connect: -1, TLS: -1, Send: 0, Wait: -1, Receive: -1, Duration: -1, Total: -1}
	return x
}

func responseOnly() *exchange.Exchange {
	x := outputtest.Exchange("", "HTTP/1.1 200 OK\nServer: a\nX-Sum: 1\n\n")
	x.Response.Fields[1].Flags = proto.Trailer
	x.Timing = exchange.Timing{Idle: -1, Connect: -1, TLS: -1, Send: -1, Wait: -1, Receive: 0, Duration: -1, Total: -1}
	return x
}

// call is a gRPC call on an HTTP/2 stream within TLS.
func call() *exchange.Exchange {
	x := outputtest.HTTP2(":method: POST\n:scheme: https\n:path: /shop.Cart/Add\n:authority: shop.example\nx-a: 1\ncontent-type: application/grpc\n\n",
		":status: 200\ncontent-type: application/grpc\ntrailer grpc-status: 14\n\n")
	x.TLS = outputtest.TLS13()
	x.Timing.TLS = 8_000_000
	return x
}

// live is an exchange between processes of the capturing host.
func live() *exchange.Exchange {
	x := page()
	x.Process = [2]*exchange.Process{
		{PID: 812, Name: "curl", Args: []string{"curl", "--password=[redacted]", "a\x1b[2J\nb"}, Executable: "/usr/bin/curl", User: "1000", Unit: "session-3.scope"},
		{Name: "nginx", User: "www-data", ContainerID: "3f2a9c1b04de", PodUID: "8f4b1c9e-2f36-4d3f-9a53-6a2d1f0c7b11", Listening: true},
	}
	return x
}

// backwards is the same where the server had connected to the client.
func backwards() *exchange.Exchange {
	x := live()
	x.Client = proto.Responder
	return x
}

func format(t testing.TB, f string, x *exchange.Exchange) string {
	t.Helper()
	var b bytes.Buffer
	o, err := New(&b, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Exchange(x); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// every is a format with a line for every keyword.
func every() string {
	arguments := map[string]string{formatArg: "(%Y-%m-%dT%H:%M:%S)", nameArg: "(x-a)", fieldArg: "(event.outcome)", regexpArg: `(^(?:\S+) ([^ ]*))`}
	var f strings.Builder
	for i := range keywords {
		k := &keywords[i]
		fmt.Fprintf(&f, "%s = %%%s%s%%newline%%-", k.name, k.name, arguments[k.arg])
		if k.optional {
			fmt.Fprintf(&f, "%s = %%%s%%newline%%-", k.name, k.name)
		}
	}
	return f.String()
}

func TestGolden(t *testing.T) {
	for name, x := range map[string]*exchange.Exchange{
		"page": page(), "last": last(), "unanswered": unanswered(), "response-only": responseOnly(),
		"live": live(), "backwards": backwards(), "tls": outputtest.TLSRecord(), "grpc": call(), "message": outputtest.SessionMessage(proto.Originator, "text", "hi"),
		"blame": outputtest.Slow(),
	} {
		outputtest.Golden(t, *update, name+".txt", []byte(format(t, every(), x)))
	}
}

// Any field can be asked for, of any protocol.
func TestFields(t *testing.T) {
	for _, c := range []struct {
		x            *exchange.Exchange
		format, want string
	}{
		{outputtest.Query("mysql", "SELECT", "SELECT 1"), "%verb %subject %field(rows) %field(db.query.summary) %field(status)", "SELECT SELECT 1 3 SELECT 1 -"},
		{outputtest.Lookup("A", "a.example", "10.0.0.7", "10.0.0.8"), "%verb %subject %field(rcode) %field(resolved) %field(server)", "A a.example NOERROR 10.0.0.7,10.0.0.8 10.0.0.53"},
	} {
		if got := format(t, c.format, c.x); got != c.want+"\n" {
			t.Errorf("%s gives %q, want %q", c.format, got, c.want)
		}
	}
	for _, bad := range []string{"%field(no.such)", "%field(http.request.headers)", "%field"} {
		if _, err := New(io.Discard, bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"", ""},
		{"plain", "plain"},
		{"100%% %tab|%-|", "100% \t||"},
		{Common, `10.0.0.7 - - [06/May/2024:10:42:07 +0000] "POST /login?next=%2F HTTP/1.1" 302 66 "" "curl/8.5"`},
		{"%request.header.host", "shop.example"},
		{"%request.header.HOST(none)", "shop.example"},
		{"%request.header.referer", "-"},
		{"%request.header.referer()", ""},
		{"%request.header.referer(none)", "none"},
		{"%request.header.referer(a(b)c)", "a(b)c"},
		{"%request.header.user-agent|", "curl/8.5|"},
		{"%request.header.x-a", "1, 2"},
		{"%request.header.value(Host)", "shop.example"},
		{"%request.header.value(Nope)(none)", "none"},
		{"%source.ip-%dest.ip.", "10.0.0.7-10.0.0.2."},
		{"%source.ip:%source.port", "10.0.0.7:51022"},
		{"%request.method%request.url", "POST/login?next=%2F"},
		{"%tls.sni(no tls)", "no tls"},
		{"%response.header.grep(^Content-Type:\\s*([^\\s]*))", "text/plain"},
		{"%response.grep((mov)ed)", "mov"},
		{"%response.grep(m.*d)", "moved"},
		{"%response.grep(nope)(none)", "none"},
		{"%request.body", `user=a\x1b[2J\x0ab`},
		{"%request.timestamp2 %request.timestamp(%s %j)", "1714992127.118000 1714992127 127"},
		{"%connection.time %response.time %response.time.begin %response.time.end", "0.000300 0.017300 0.017200 0.000100"},
	} {
		if got := format(t, c.format, page()); got != c.want+"\n" {
			t.Errorf("%s\n got %q\nwant %q", c.format, got, c.want+"\n")
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"%request.metod", `format, column 1: unknown keyword %request.metod; did you mean %request.method?`},
		{"ab %respons.code", `format, column 4: unknown keyword %respons.code; did you mean %response.code?`},
		{"%nonsense", `format, column 1: unknown keyword %nonsense; docs/format.md lists them`},
		{"50% of", `format, column 3: no keyword follows the %; write %% for a per cent sign`},
		{"50%", `format, column 3: no keyword follows the %; write %% for a per cent sign`},
		{"%request.header.host(none", `format, column 1: %request.header.host: the parenthesis isn't closed`},
		{"%request.header.value", `format, column 1: %request.header.value needs an argument: %request.header.value(NAME)`},
		{"%request.grep(a)(", `format, column 1: %request.grep: the parenthesis isn't closed`},
		{"%request.grep([)", "format, column 1: %request.grep: error parsing regexp: missing closing ]: `[` (the syntax is RE2's)"},
		{"%request.timestamp(%Q)", `format, column 1: %request.timestamp: unknown conversion %Q in the time format "%Q"`},
		{"%request.timestamp(%)", `format, column 1: %request.timestamp: the time format "%" ends with a single %; write %% for a per cent sign`},
	} {
		_, err := New(nil, c.format)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.format, err, c.want)
		}
	}
}

func TestConversions(t *testing.T) {
	const f = "%a %A %b %B %c %d %D %e %F %h %H %I %j %m %M %p %r %R %s %S %T %x %X %y %Y %z %Z %%"
	const want = "Mon Monday May May Mon May  6 10:42:07 2024 06 05/06/24  6 2024-05-06 May 10 10 127 05 42 AM " +
		"10:42:07 AM 10:42 1714992127 07 10:42:07 05/06/24 10:42:07 24 2024 +0000 UTC %\n"
	if got := format(t, "%request.timestamp("+f+")", page()); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for c := range conversions {
		if !strings.Contains(f, "%"+string(c)) {
			t.Errorf("%%%c isn't tested", c)
		}
	}
}

// What docs/format.md says and what the code does are one table.
func TestDocumentation(t *testing.T) {
	const path, begin, end = "../../../docs/format.md", "<!-- keywords -->\n", "<!-- end of keywords -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no table between %q and %q", path, begin, end)
	}
	want := before + begin + table() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s isn't what the table of keywords says: run the test with -update", path)
	}
	if !strings.Contains(want, Common) {
		t.Errorf("%s doesn't give the common format as it is", path)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("\n| keyword | value |\n| --- | --- |\n")
	row := func(name, arg, meaning string) { fmt.Fprintf(&b, "| `%%%s%s` | %s |\n", name, arg, meaning) }
	for _, l := range literals {
		row(l.name, "", l.meaning)
	}
	for i := range keywords {
		k, arg := &keywords[i], ""
		if k.arg != "" {
			arg = "(" + k.arg + ")"
		}
		if k.optional {
			arg = "[" + arg + "]"
		}
		row(k.name, arg, k.meaning)
		for _, h := range headerPrefixes {
			if h.name == k.name+"." {
				row(h.name+nameArg, "", h.meaning)
			}
		}
	}
	b.WriteString("\n")
	return b.String()
}

// Every keyword of justniffer is known.
func TestJustniffersKeywords(t *testing.T) {
	for name := range strings.FieldsSeq(`% - newline tab source.ip source.port dest.ip dest.port streams connection connection.time
		connection.timestamp connection.timestamp2 close.time close.originator close.timestamp close.timestamp2 session.time
		session.requests idle.time.0 idle.time.1 request request.timestamp request.timestamp2 request.time request.size
		request.line request.method request.url request.protocol request.header request.header.host request.header.value(x)
		request.header.grep(x) request.grep(x) request.body response response.timestamp response.timestamp2 response.time
		response.time.begin response.time.end response.size response.line response.protocol response.code response.message
		response.header response.header.etag response.header.value(x) response.header.grep(x) response.grep(x) response.body
		tls.sni tls.version`) {
		if _, err := New(nil, "%"+name); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkCommon(b *testing.B) {
	o, err := New(io.Discard, Common)
	if err != nil {
		b.Fatal(err)
	}
	x := page()
	for b.Loop() {
		if err := o.Exchange(x); err != nil {
			b.Fatal(err)
		}
	}
}

// Invariant of FuzzFormat: any format is either refused with its position, or gives, for every kind
// of exchange, a line that ends with a newline and has no others than the format's own.
func FuzzFormat(f *testing.F) {
	f.Add(Common)
	f.Add(every())
	f.Add("%request.timestamp(%d/%b/%Y)(none)%request.grep((a)|b)%-%%")
	f.Fuzz(func(t *testing.T, s string) {
		o, err := New(nil, s)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "format, column ") {
				t.Fatalf("no position: %v", err)
			}
			return
		}
		own := strings.Count(s, "\n") + strings.Count(s, "%newline")
		for _, x := range []*exchange.Exchange{page(), last(), unanswered(), responseOnly(), live()} {
			var b bytes.Buffer
			o.w.Reset(&b)
			if err := o.Exchange(x); err != nil {
				t.Fatal(err)
			}
			if err := o.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); !strings.HasSuffix(got, "\n") || strings.Count(got, "\n") > own+1 {
				t.Fatalf("%q gives %q", s, got)
			}
		}
	})
}

// The host is where the request has it: in HTTP/2, in a pseudo-header, without what may stand before it.
func TestHost(t *testing.T) {
	const path = ":method: GET\n:scheme: https\n:path: /\n"
	for _, c := range []struct{ request, want string }{
		{path + ":authority: joe@shop.example:8443\n\n", "shop.example:8443\n"},
		{path + ":authority: a.example\nhost: b.example\n\n", "b.example\n"},
		{path + "\n", "-\n"},
	} {
		if got := format(t, "%request.header.host", outputtest.HTTP2(c.request, "")); got != c.want {
			t.Errorf("%q: got %q, want %q", c.request, got, c.want)
		}
	}
}
