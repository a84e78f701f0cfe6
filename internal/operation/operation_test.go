package operation

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
)

// post makes an exchange with a request that has a body of a type.
func post(path, mediaType string) *exchange.Exchange {
	x := outputtest.Exchange("POST "+path+" HTTP/1.1\nHost: a\nContent-Type: "+mediaType+"\n\nx", "")
	x.Request.Framing = proto.ByLength
	return x
}

func get(target string) *exchange.Exchange {
	return outputtest.Exchange("GET "+target+" HTTP/1.1\nHost: a\n\n", "")
}

const upload = "--b\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n" +
	`{"query":"mutation Up($f: Upload!) { up(f: $f) { id } }","variables":{"f":null}}` +
	"\r\n--b\r\nContent-Disposition: form-data; name=\"map\"\r\n\r\n{}\r\n--b--\r\n"

var long = strings.Repeat("ü", MaxName)

var cases = []struct {
	name string
	x    *exchange.Exchange
	body string
	want string
}{
	// GraphQL over POST.
	{"anonymous", post("/graphql", "application/json"), `{"query":"{ hero { name } }"}`, "graphql query"},
	{"named", post("/graphql", "application/json; charset=utf-8"), `{"query":"query Hero($id: ID = \"{\") { hero(id: $id) { name } }","variables":{"id":"1"}}`, "graphql query Hero"},
	{"mutation", post("/api", "application/json"), `{"variables":{"a":[{"query":"no"}]},"query":"\n# comment {\nmutation Add @x(a: {b: 1}) { add }"}`, "graphql mutation Add"},
	{"subscription", post("/api", "application/graphql+json"), `{"query":"subscription { a }"}`, "graphql subscription"},
	{"operationName", post("/api", "application/json"), `{"operationName":"B","query":"query A { a } mutation B { b }"}`, "graphql mutation B"},
	{"operationName null", post("/api", "application/json"), `{"operationName":null,"query":"query A { a } mutation B { b }"}`, "graphql query A"},
	{"operationName that isn't there", post("/api", "application/json"), `{"operationName":"C","query":"query A { a }"}`, "graphql query C"},
	{"fragment first", post("/api", "application/json"), `{"query":"fragment F on T @d(a: {b: \"}\"}) { x { y } } query Q { ...F }"}`, "graphql query Q"},
	{"fragment only", post("/api", "application/json"), `{"query":"fragment F on T { x }"}`, "graphql"},
	{"block string", post("/api", "application/json"), `{"query":"{ a(b: \"\"\"}} \\\"\"\" \"\"\") } query Q { c }"}`, "graphql query"},
	{"operation behind block string", post("/api", "application/json"), `{"operationName":"Q","query":"{ a(b: \"\"\"}} \\\"\"\" }\"\"\") } mutation Q { c }"}`, "graphql mutation Q"},
	{"persisted", post("/api", "application/json"), `{"operationName":"A","variables":{},"extensions":{"x":[1],"persistedQuery":{"version":1,"sha256Hash":"00"}}}`, "graphql A"},
	{"only a name, by the path", post("/v1/GraphQL?x", "application/json"), `{"operationName":"A","id":"12"}`, "graphql A"},
	{"only a name", post("/v1/api", "application/json"), `{"operationName":"A","id":"12"}`, ""},
	{"other extensions", post("/api", "application/json"), `{"operationName":"A","extensions":{"a":"persistedQuery","b":{"persistedQuery":1}}}`, ""},
	{"batch", post("/api", "application/json"), `[{"query":"query A { a }"},{"query":"mutation B { b }"},{"query":"{ c }"}]`, "graphql query A B"},
	{"a search", post("/search", "application/json"), `{"query":"query letters"}`, ""},
	{"a search for half a document", post("/search", "application/json"), `{"query":"query letters {"}`, ""},
	{"another search", post("/search", "application/json"), `{"query":"shoes"}`, ""},
	{"a search in braces", post("/search", "application/json"), `{"query":"{\"a\": 1}"}`, ""},
	{"a structured search", post("/_search", "application/json"), `{"query":{"match":{"query":"query A { a }"}}}`, ""},
	{"a search, the path says graphql", post("/graphql", "application/json"), `{"query":"select 1"}`, "graphql"},
	{"application/graphql", post("/api", "application/graphql"), "query A { a }", "graphql query A"},
	{"byte order mark", post("/api", "application/json"), "\ufeff{\"query\":\"\ufeffquery A { a }\"}", "graphql query A"},
	{"upload", post("/graphql", "multipart/form-data; boundary=b"), upload, "graphql mutation Up"},
	{"upload, cut", post("/graphql", "multipart/form-data; boundary=b"), upload[:105], "graphql mutation Up"},
	{"upload elsewhere", post("/photos", "multipart/form-data; boundary=b"), upload, ""},
	{"form", post("/graphql", "application/x-www-form-urlencoded"), "query=mutation+A+%7Ba%7D", "graphql mutation A"},
	{"JSON as a form", post("/graphql", "application/x-www-form-urlencoded"), ` {"query":"mutation A {a}"}`, "graphql mutation A"},
	{"many names", post("/api", "application/json"), "[" + strings.Repeat(`{"query":"query A { a }"},`, 40) + "]", "graphql query" + strings.Repeat(" A", MaxNames)},
	{"long name", post("/graphql", "application/json"), `{"operationName":"` + long + `"}`, "graphql " + long[:MaxName]},
	{"a name of no characters", post("/graphql", "application/x-www-form-urlencoded"), "operationName=a%ff", "graphql a\ufffd"},
	{"no media type", outputtest.Exchange("POST /graphql HTTP/1.1\n\nx", ""), `{"query":"{ a }"}`, ""},
	{"compressed", func() *exchange.Exchange {
		return outputtest.Exchange("POST /graphql HTTP/1.1\nContent-Type: application/json\nContent-Encoding: gzip\n\nx", "")
	}(), `{"query":"{ a }"}`, ""},

	// Bodies that are cut.
	{"cut in the query", post("/api", "application/json"), `{"query":"query Hero($id: ID) { hero(id: $id) { na`, "graphql query Hero"},
	{"cut in an escape", post("/api", "application/json"), `{"query":"query Hero {\n a \u00`, "graphql query Hero"},
	{"cut in a character", post("/api", "application/json"), `{"query":"query Hero { a(b: \"` + "ü"[:1], "graphql query Hero"},
	{"cut behind the query", post("/api", "application/json"), `{"query":"query Hero { a }","variab`, "graphql query Hero"},
	{"cut in the name", post("/api", "application/json"), `{"query":"query Her`, "graphql query Her"},
	{"cut in operationName", post("/graphql", "application/json"), `{"operationName":"Her`, ""},
	{"cut in variables", post("/graphql", "application/json"), `{"operationName":"Hero","variables":{"a":[{"b`, "graphql Hero"},
	{"broken", post("/api", "application/json"), `{"query":"query A { a }" "operationName"}`, "graphql query A"},
	{"no colon", post("/api", "application/json"), `{"query" "query A { a }"}`, ""},
	{"broken escape", post("/api", "application/json"), `{"query":"query A { \x }","b":1}`, ""},
	{"longer than is looked at", post("/api", "application/json"), `{"a":"` + strings.Repeat("a", Peek) + `","query":"{ a }"}`, ""},

	// GraphQL over GET.
	{"get", get("/graphql?query=query%20A%20%7Ba%7D&variables={}"), "", "graphql query A"},
	{"get with a name", get("/graphql?operationName=B&query=query%20A%7Ba%7D+query+B%7Bb%7D"), "", "graphql query B"},
	{"get elsewhere", get("/api?query=%7Ba%7D"), "", "graphql query"},
	{"get persisted", get("/api?operationName=A&extensions=%7B%22persistedQuery%22%3A%7B%7D%7D"), "", "graphql A"},
	{"get of a search", get("/search?query=shoes&operationName=x"), "", ""},
	{"get with a bad escape", get("/api?query=%7Ba%7D&b=%zz"), "", "graphql query"},
	{"post to an address with a query", post("/search?query=%7Ba%7D", "application/json"), `{}`, ""},
	{"a long address", get("/graphql?query=%7Ba%7D&x=" + strings.Repeat("x", maxQuery)), "", ""},

	// JSON-RPC.
	{"call", post("/", "application/json"), `{"jsonrpc":"2.0","method":"eth_call","params":[{"method":"no"}],"id":1}`, "jsonrpc call eth_call"},
	{"notification", post("/", "application/json-rpc"), `{"jsonrpc":"2.0","method":"log","params":{"id":1}}`, "jsonrpc notification log"},
	{"call with id null", post("/", "application/json"), `{"jsonrpc":"2.0","method":"a","id":null}`, "jsonrpc call a"},
	{"1.0", post("/", "application/json"), `{"method":"getinfo","params":[],"id":"x"}`, "jsonrpc call getinfo"},
	{"1.0 by name", post("/", "text/json"), `{"jsonrpc":"1.0","id":"x","method":"getinfo","params":[]}`, "jsonrpc call getinfo"},
	{"1.0 notification", post("/", "application/json"), `{"method":"a","params":[],"id":null}`, "jsonrpc notification a"},
	{"batch of calls", post("/", "application/json"), ` [{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b","id":1}]`, "jsonrpc call a b"},
	{"batch of notifications", post("/", "application/json"), `[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b"}]`, "jsonrpc notification a b"},
	{"an answer", post("/", "application/json"), `{"jsonrpc":"2.0","result":{"method":"x"},"id":1}`, ""},
	{"a method that isn't one", post("/pay", "application/json"), `{"method":"card","id":1}`, ""},
	{"a method with params", post("/pay", "application/json"), `{"method":"card","params":{}}`, ""},
	{"cut in params", post("/", "application/json"), `{"jsonrpc":"2.0","method":"a","params":["b`, "jsonrpc a"},
	{"cut in params before the version", post("/", "application/json"), `{"method":"a","params":["b`, "jsonrpc a"},
	{"cut in the method", post("/", "application/json"), `{"jsonrpc":"2.0","method":"a`, ""},
	{"text", post("/rpc", "text/plain"), `{"jsonrpc":"2.0","method":"a","id":1}`, "jsonrpc call a"},
	{"text elsewhere", post("/", "text/plain"), `{"jsonrpc":"2.0","method":"a","id":1}`, ""},
	{"a form", post("/rpc", "application/x-www-form-urlencoded"), `{"jsonrpc":"2.0","method":"a","id":1}`, "jsonrpc call a"},

	{"no JSON", post("/graphql", "application/json"), `"query"`, ""},
	{"nothing", post("/graphql", "application/json"), "", ""},
	{"no request", outputtest.Exchange("", "HTTP/1.1 200 OK\nA: b\n\n"), `{"query":"{ a }"}`, ""},
}

func describe(o exchange.Operation) string {
	return strings.Join(strings.Fields(fmt.Sprint(o.System, " ", o.Kind, " ", strings.Join(o.Names, " "))), " ")
}

func TestOf(t *testing.T) {
	for _, c := range cases {
		if got := describe(Of(c.x, []byte(c.body))); got != c.want {
			t.Errorf("%s: %q instead of %q", c.name, got, c.want)
		}
		if c.body != "" && c.want != "" && Wants(&c.x.Request) == 0 {
			t.Errorf("%s: its body isn't wanted", c.name)
		}
	}
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		name   string
		x      *exchange.Exchange
		change func(m *proto.Message)
		want   bool
	}{
		{"JSON", post("/", "application/json"), nil, true},
		{"JSON by another name", post("/", "Application/VND.x+JSON;v=1"), nil, true},
		{"no body", post("/", "application/json"), func(m *proto.Message) { m.Framing = proto.NoBody }, false},
		{"a response", post("/", "application/json"), func(m *proto.Message) { m.Kind = proto.Response }, false},
		{"HTML", post("/graphql", "text/html"), nil, false},
		{"a form", post("/", "application/x-www-form-urlencoded"), nil, false},
		{"a form for GraphQL", post("/GRAPHQL", "application/x-www-form-urlencoded"), nil, true},
		{"nothing", get("/graphql"), func(m *proto.Message) { m.Framing = proto.ByLength }, false},
	} {
		if c.change != nil {
			c.change(&c.x.Request)
		}
		if got := Wants(&c.x.Request) > 0; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	m := &post("/some/path", "application/json").Request
	if n := testing.AllocsPerRun(10, func() { Wants(m) }); n > 0 {
		t.Errorf("%v allocations to look at a head", n)
	}
}

// Most bodies of JSON ask for nothing of the kind, and cost no more than a search.
func TestOtherJSONIsntRead(t *testing.T) {
	x, body := post("/orders", "application/json"), []byte(`{"items":[1,2,3],"quantity":4}`)
	if n := testing.AllocsPerRun(10, func() { Of(x, body) }); n > 0 {
		t.Errorf("%v allocations for a body that tells nothing", n)
	}
}

// Invariant: whatever a request is, what is told of it is within its bounds and readable, and it is told without a
// panic.
func FuzzOf(f *testing.F) {
	for _, c := range cases {
		if c.x.HasRequest {
			f.Add(string(c.x.Request.Bytes(c.x.Request.Method)), string(c.x.Request.Bytes(c.x.Request.Target)), string(c.x.Request.Field("content-type")), []byte(c.body))
		}
	}
	f.Fuzz(func(t *testing.T, method, target, contentType string, body []byte) {
		if strings.ContainsAny(method+target+contentType, " \r\n") {
			return
		}
		o := Of(outputtest.Exchange(method+" "+target+" HTTP/1.1\nContent-Type: "+contentType+"\n\nx", ""), body)
		if len(o.Names) > MaxNames || (o.System == "") != (o.Kind == "" && o.Names == nil) && o.System != GraphQL {
			t.Fatalf("%+v", o)
		}
		for _, name := range o.Names {
			if name == "" || len(name) > MaxName || !utf8.ValidString(name) {
				t.Fatalf("the name %q", name)
			}
		}
	})
}
