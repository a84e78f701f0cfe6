package otlp

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/packet"
	wire "github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/sample"
	"github.com/culprit-http/culprit/internal/ship"
)

var (
	_ ship.Encoder = (*Encoder)(nil)
	_ ship.Sender  = (*Sender)(nil)
)

const (
	get = "GET /users/7?a=b HTTP/1.1\nHost: shop.example:8443\nUser-Agent: curl/8.5.0\n\n"
	ok  = "HTTP/1.1 200 OK\nContent-Type: text/plain\n\nhello"

	traceHex  = "0af7651916cd43dd8448eb211c80319c"
	parentHex = "b7ad6b7169203331"
)

// decoded is a span with all that is around it.
type decoded struct {
	span       *tracev1.Span
	attributes map[string]any
	resource   map[string]any
	scope      *tracev1.ScopeSpans
}

// decode reads a body with OpenTelemetry's own code. A request has the fields of TracesData.
func decode(t *testing.T, body []byte) decoded {
	t.Helper()
	var d tracev1.TracesData
	if err := proto.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.ResourceSpans) != 1 || len(d.ResourceSpans[0].ScopeSpans) != 1 || len(d.ResourceSpans[0].ScopeSpans[0].Spans) != 1 {
		t.Fatalf("want one span: %v", &d)
	}
	known(t, &d)
	scope := d.ResourceSpans[0].ScopeSpans[0]
	return decoded{scope.Spans[0], values(t, scope.Spans[0].Attributes), values(t, d.ResourceSpans[0].Resource.Attributes), scope}
}

// known fails where a message has fields that its type doesn't know.
func known(t *testing.T, m proto.Message) {
	t.Helper()
	plain := proto.Clone(m)
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(marshal(t, m), plain); err != nil {
		t.Fatal(err)
	}
	if a, b := proto.Size(m), proto.Size(plain); a != b {
		t.Errorf("%d bytes are fields that aren't known", a-b)
	}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func values(t *testing.T, all []*commonv1.KeyValue) map[string]any {
	t.Helper()
	m := map[string]any{}
	for _, kv := range all {
		if _, twice := m[kv.Key]; twice {
			t.Errorf("%s is there twice", kv.Key)
		}
		switch v := kv.Value.Value.(type) {
		case *commonv1.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *commonv1.AnyValue_IntValue:
			m[kv.Key] = v.IntValue
		case *commonv1.AnyValue_DoubleValue:
			m[kv.Key] = v.DoubleValue
		case *commonv1.AnyValue_BoolValue:
			m[kv.Key] = v.BoolValue
		case *commonv1.AnyValue_ArrayValue:
			var list []string
			for _, element := range v.ArrayValue.Values {
				list = append(list, element.GetStringValue())
			}
			m[kv.Key] = list
		default:
			t.Errorf("%s: %v", kv.Key, kv.Value)
		}
	}
	return m
}

func encode(t *testing.T, x *exchange.Exchange) decoded {
	t.Helper()
	return decode(t, NewEncoder(&Options{Version: "1.2.3"}).Exchange(nil, x))
}

func TestSpan(t *testing.T) {
	x := outputtest.Exchange(get, strings.Replace(ok, "200 OK", "503 Sorry", 1))
	x.Tap.Observer, x.Tap.Name = "host-1", "eth0"
	x.Enriched.Route = "/users/{id}"
	x.Enriched.Service[wire.Responder] = "shop"
	x.Anomalies.Set(wire.DuplicateLength)
	x.Anomalies.Set(wire.EarlyResponse)
	x.Stream = true
	x.Weight = 10
	x.Process[wire.Responder] = &exchange.Process{PID: 7, Name: "nginx", ContainerID: "c0ffee", PodUID: "6f2c"}
	d := encode(t, x)

	if want := map[string]any{"service.name": "shop", "host.name": "host-1", "container.id": "c0ffee", "k8s.pod.uid": "6f2c"}; fmt.Sprint(d.resource) != fmt.Sprint(want) {
		t.Errorf("resource %v, want %v", d.resource, want)
	}
	if d.scope.Scope.Name != "culprit" || d.scope.Scope.Version != "1.2.3" || d.scope.SchemaUrl != SchemaURL {
		t.Errorf("scope %v", d.scope)
	}
	s := d.span
	if s.Name != "GET /users/{id}" || s.Kind != tracev1.Span_SPAN_KIND_SERVER {
		t.Errorf("%q, %v", s.Name, s.Kind)
	}
	if s.Status.GetCode() != tracev1.Status_STATUS_CODE_ERROR || s.Status.Message != "" {
		t.Errorf("status %v", s.Status)
	}
	start := uint64(x.Start.Time)
	if s.StartTimeUnixNano != start || s.EndTimeUnixNano != start+17_400_000 {
		t.Errorf("from %d to %d", s.StartTimeUnixNano, s.EndTimeUnixNano)
	}
	if len(s.Events) != 2 || s.Events[0].Name != "culprit.request.sent" || s.Events[0].TimeUnixNano != start+100_000 ||
		s.Events[1].Name != "culprit.response.begun" || s.Events[1].TimeUnixNano != start+17_300_000 {
		t.Errorf("events %v", s.Events)
	}
	id := x.ID("host-1")
	want := map[string]any{
		"http.request.method": "GET", "http.route": "/users/{id}", "http.response.status_code": int64(503), "error.type": "503",
		"url.scheme": "http", "url.path": "/users/7", "url.query": "a=b", "server.address": "shop.example", "server.port": int64(8443),
		"client.address": "10.0.0.7", "network.peer.address": "10.0.0.7", "network.peer.port": int64(51022),
		"network.local.address": "10.0.0.2", "network.local.port": int64(8000), "network.transport": "tcp", "network.type": "ipv4",
		"network.protocol.name": "http", "network.protocol.version": "1.1", "user_agent.original": "curl/8.5.0",
		"http.request.size": x.Request.Size, "http.request.body.size": int64(0), "http.response.size": x.Response.Size, "http.response.body.size": int64(5),
		"event.id": string(exchange.AppendID(nil, id)), "event.outcome": "failure", "observer.ingress.interface.name": "eth0",
		"network.community_id": x.Flow.CommunityID(), "destination.process.pid": int64(7), "destination.process.name": "nginx",
		"culprit.grade": "complete", "culprit.anomalies": []string{"duplicate-length", "early-response"}, "culprit.stream": true,
		"culprit.sample.weight": int64(10), "culprit.packets.tap": "shop.pcap", "culprit.packets.first": int64(81), "culprit.packets.last": int64(97),
		"culprit.http.connection_index": int64(0), "culprit.timing.connect": int64(300_000), "culprit.timing.send": int64(100_000),
		"culprit.timing.wait": int64(17_200_000), "culprit.timing.ttfb": int64(17_300_000), "culprit.timing.receive": int64(100_000),
		"culprit.timing.total": int64(17_700_000), "culprit.net.handshake.server_rtt": int64(200_000), "culprit.net.handshake.client_rtt": int64(100_000),
	}
	for name, value := range want {
		if fmt.Sprintf("%T %v", d.attributes[name], d.attributes[name]) != fmt.Sprintf("%T %v", value, value) {
			t.Errorf("%s is %v, want %v", name, d.attributes[name], value)
		}
	}
	for name := range d.attributes {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %v", name, d.attributes[name])
		}
	}
}

// Every field of the table exists; attributes that have the name of a field have its value.
func TestSpanFields(t *testing.T) {
	attributes := map[string]bool{}
	for _, f := range spanFields {
		if !slices.ContainsFunc(exchange.Fields, func(have exchange.Field) bool { return have.Name == f.field }) {
			t.Errorf("there is no field %s", f.field)
		}
		if attributes[f.attribute] {
			t.Errorf("%s is there twice", f.attribute)
		}
		attributes[f.attribute] = true
		if strings.HasPrefix(f.attribute, "culprit.") && f.attribute != f.field {
			t.Errorf("%s isn't %s", f.attribute, f.field)
		}
	}
	for _, private := range []string{"headers", "content", "referrer", "secrets", "command_line"} {
		for _, f := range spanFields {
			if strings.Contains(f.field, private) {
				t.Errorf("%s is exported", f.field)
			}
		}
	}
}

// The texts of a span are those of the document, escapes included.
func TestHostileTexts(t *testing.T) {
	for _, hostile := range []string{"\xff\xfe", "caf\xe9", "\xed\xa0\x80", "\x00\x1b[31m", "Grüße", `\xe9 \xE9 \x`, strings.Repeat("\xf0\x9f", 4000), "\u202e"} {
		x := outputtest.Exchange(strings.Replace(get, "curl/8.5.0", hostile, 1), ok)
		x.Enriched.Route = "/" + hostile
		method := &x.Request
		method.Raw = append(method.Raw, hostile...)
		method.Method = wire.Span{Off: uint32(len(method.Raw) - len(hostile)), Len: uint32(len(hostile))}
		d := encode(t, x)
		var document struct {
			Agent struct{ Original string } `json:"user_agent"`
		}
		e := ndjson.NewEncoder()
		if err := json.Unmarshal(e.Append(nil, x), &document); err != nil {
			t.Fatal(err)
		}
		if got := d.attributes["user_agent.original"]; got != document.Agent.Original || !utf8.ValidString(d.span.Name) {
			t.Errorf("%q became %q, the document has %q", hostile, got, document.Agent.Original)
		}
		if d.attributes["http.request.method"] != "_OTHER" || d.attributes["http.request.method_original"] == nil || !strings.HasPrefix(d.span.Name, "HTTP /") {
			t.Errorf("%q: %v, %q", hostile, d.attributes["http.request.method"], d.span.Name)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name, response string
		change         func(x *exchange.Exchange)
		status         tracev1.Status_StatusCode
		message, kind  string
		end            int64
	}{
		{"success", ok, nil, tracev1.Status_STATUS_CODE_UNSET, "", "", 17_400_000},
		{"the client's fault", "HTTP/1.1 404 Not Found\n\n", nil, tracev1.Status_STATUS_CODE_UNSET, "", "", 17_400_000},
		{"the server's fault", "HTTP/1.1 500 Oops\n\n", nil, tracev1.Status_STATUS_CODE_ERROR, "", "500", 17_400_000},
		{"broken", "", func(x *exchange.Exchange) {
			x.Grade, x.Reason = exchange.Aborted, "reset by the server before an answer"
			x.Timing.Receive, x.Timing.Duration = -1, 9_000_000
			x.Completed.Time = x.Start.Time + 9_000_000
		}, tracev1.Status_STATUS_CODE_ERROR, "reset by the server before an answer", "aborted", 9_000_000},
		{"broken with a status", ok, func(x *exchange.Exchange) { x.Grade, x.Reason = exchange.Aborted, "cut" }, tracev1.Status_STATUS_CODE_ERROR, "cut", "aborted", 17_400_000},
		{"unanswered", "", func(x *exchange.Exchange) {
			x.Grade, x.Reason, x.Timing.Duration = exchange.Unanswered, "capture ended", -1
			x.Completed.Time = x.Start.Time + 5
		}, tracev1.Status_STATUS_CODE_UNSET, "", "", 5},
		{"time runs backwards", "", func(x *exchange.Exchange) { x.Completed.Time = x.Start.Time - 5; x.Timing.Duration = -1 }, tracev1.Status_STATUS_CODE_UNSET, "", "", 0},
	} {
		x := outputtest.Exchange(get, c.response)
		if c.change != nil {
			c.change(x)
		}
		d := encode(t, x)
		kind, _ := d.attributes["error.type"].(string)
		if d.span.Status.GetCode() != c.status || d.span.Status.GetMessage() != c.message || kind != c.kind {
			t.Errorf("%s: %v, error.type %q", c.name, d.span.Status, kind)
		}
		if got := int64(d.span.EndTimeUnixNano - d.span.StartTimeUnixNano); got != c.end {
			t.Errorf("%s: takes %d, want %d", c.name, got, c.end)
		}
	}
	x := outputtest.Exchange(get, ok)
	x.Start.Time = -5 // packets can say that they are from before 1970
	if d := encode(t, x); d.span.StartTimeUnixNano != 0 || d.span.EndTimeUnixNano != 17_400_000 {
		t.Errorf("before 1970: from %d to %d", d.span.StartTimeUnixNano, d.span.EndTimeUnixNano)
	}
	x = outputtest.Exchange("", ok)
	if d := encode(t, x); d.span.Name != "HTTP" || d.attributes["server.address"] != "10.0.0.2" || d.attributes["server.port"] != int64(8000) {
		t.Errorf("without request: %v", d.span)
	}
}

func TestServiceName(t *testing.T) {
	x := outputtest.Exchange(get, ok)
	x.Client = wire.Responder // so that the ends aren't mixed up
	for _, c := range []struct {
		change func(o *Options)
		want   string
	}{
		{func(o *Options) {}, "10.0.0.7:51022"},
		{func(o *Options) { x.Enriched.Domain[wire.Originator] = "db.example" }, "db.example"},
		{func(o *Options) { o.Service = "all" }, "all"},
		{func(o *Options) { o.Service = "all"; x.Enriched.Service[wire.Originator] = "shop" }, "shop"},
	} {
		var o Options
		c.change(&o)
		if d := decode(t, NewEncoder(&o).Exchange(nil, x)); d.resource["service.name"] != c.want {
			t.Errorf("%v, want %s", d.resource, c.want)
		}
	}
}

func TestTraceContext(t *testing.T) {
	const short = "8448eb211c80319c"
	own := "own"
	for _, c := range []struct {
		name, headers               string
		trace, parent, state, flags string
	}{
		{"none", "", own, "", "", "103"},
		{"w3c", "traceparent: 00-" + traceHex + "-" + parentHex + "-01\ntracestate: a=1, b=2\nTraceState: c=3\n", traceHex, parentHex, "a=1,b=2,c=3", "301"},
		{"w3c not sampled", "traceparent: 00-" + traceHex + "-" + parentHex + "-00\n", traceHex, parentHex, "", "300"},
		{"w3c of a later version", "traceparent: cc-" + traceHex + "-" + parentHex + "-03-more\n", traceHex, parentHex, "", "303"},
		{"w3c without parent", "traceparent: 00-" + traceHex + "-0000000000000000-01\n", traceHex, "", "", "301"},
		{"w3c with a bad parent", "traceparent: 00-" + traceHex + "-b7ad6b716920333z-01\n", traceHex, "", "", "301"},
		{"w3c without trace", "traceparent: 00-00000000000000000000000000000000-" + parentHex + "-01\ntracestate: a=1\n", own, "", "", "103"},
		{"state with control characters", "traceparent: 00-" + traceHex + "-" + parentHex + "-01\ntracestate: a=\x01\n", traceHex, parentHex, "", "301"},
		{"state that is too long", "traceparent: 00-" + traceHex + "-" + parentHex + "-01\ntracestate: a=" + strings.Repeat("b", maxTraceState) + "\n", traceHex, parentHex, "", "301"},
		{"b3", "b3: " + traceHex + "-" + parentHex + "-1-05e3ac9a4f6e3b90\n", traceHex, parentHex, "", "301"},
		{"b3 debug", "b3: " + traceHex + "-" + parentHex + "-d\n", traceHex, parentHex, "", "301"},
		{"b3 not sampled", "b3: " + traceHex + "-" + parentHex + "-0\ntracestate: a=1\n", traceHex, parentHex, "", "300"},
		{"b3 of 64 bits", "b3: " + short + "-" + parentHex + "\n", "0000000000000000" + short, parentHex, "", "300"},
		{"b3 cut", "b3: " + traceHex + "-b7ad\n", traceHex, "", "", "300"},
		{"b3 alone", "b3: " + traceHex + "\n", traceHex, "", "", "300"},
		{"b3 in several headers", "X-B3-TraceId: " + strings.ToUpper(short) + "\nX-B3-SpanId: " + parentHex + "\nX-B3-Sampled: 1\n", "0000000000000000" + short, parentHex, "", "301"},
		{"w3c before b3", "b3: " + short + "-05e3ac9a4f6e3b90-1\ntraceparent: 00-" + traceHex + "-" + parentHex + "-00\n", traceHex, parentHex, "", "300"},
		{"hostile", "traceparent: \xff\xff\nb3: -\n", own, "", "", "103"},
	} {
		x := outputtest.Exchange(strings.TrimSuffix(get, "\n")+c.headers+"\n", ok)
		id := x.ID("")
		if c.trace == own {
			c.trace = hex.EncodeToString(id[:])
		}
		d := encode(t, x)
		if got := hex.EncodeToString(d.span.TraceId); got != c.trace {
			t.Errorf("%s: trace %s, want %s", c.name, got, c.trace)
		}
		if got := hex.EncodeToString(d.span.ParentSpanId); got != c.parent {
			t.Errorf("%s: parent %s, want %s", c.name, got, c.parent)
		}
		if d.span.TraceState != c.state || fmt.Sprintf("%x", d.span.Flags) != c.flags {
			t.Errorf("%s: state %q, flags %x", c.name, d.span.TraceState, d.span.Flags)
		}
		if got, want := hex.EncodeToString(d.span.SpanId), hex.EncodeToString(id[6:14]); got != want {
			t.Errorf("%s: span %s, want %s", c.name, got, want)
		}
	}
}

// What others caused is below it: in the trace of what all began with where the request names none, and in its own where both carry its id.
func TestParents(t *testing.T) {
	parent, root := [16]byte{5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, [16]byte{1, 2, 3}
	const w3c = "traceparent: 00-" + traceHex + "-" + parentHex + "-01\n"
	below, began := "0b0c0d0e0f100000", hex.EncodeToString(root[:])
	for _, c := range []struct {
		name, headers        string
		method               exchange.HopMethod
		trace, parent, flags string
	}{
		{"a root", "", exchange.Root, "own", "", "103"},
		{"by content", "", exchange.ByContent, began, below, "303"},
		{"by id", w3c, exchange.ByID, traceHex, below, "301"},
		{"by timing, with another trace", w3c, exchange.ByTiming, traceHex, parentHex, "301"},
	} {
		x := outputtest.Exchange(strings.TrimSuffix(get, "\n")+c.headers+"\n", ok)
		x.Hop = exchange.Hop{Method: c.method, Trace: root, Depth: 1, Confidence: 0.75}
		id := x.ID("")
		if c.method > exchange.Root {
			x.Hop.Parent = parent
		}
		if c.trace == "own" {
			c.trace = hex.EncodeToString(id[:])
		}
		d := encode(t, x)
		if got := hex.EncodeToString(d.span.TraceId) + " " + hex.EncodeToString(d.span.ParentSpanId) + fmt.Sprintf(" %x", d.span.Flags); got != c.trace+" "+c.parent+" "+c.flags {
			t.Errorf("%s: %s, want %s %s %s", c.name, got, c.trace, c.parent, c.flags)
		}
		var random uint64
		for _, b := range d.span.TraceId[9:] {
			random = random<<8 | uint64(b)
		}
		if random != sample.Randomness(x) {
			t.Errorf("%s: the trace id has the randomness %x, it is chosen by %x", c.name, random, sample.Randomness(x))
		}
	}
	x := outputtest.Query("mysql", "SELECT", "SELECT 1")
	x.Hop = exchange.Hop{Method: exchange.ByTiming, Trace: root, Parent: parent, Confidence: 0.75}
	if d := encode(t, x); d.span.Flags != 0x103 || hex.EncodeToString(d.span.ParentSpanId) != below {
		t.Errorf("a statement's parent %x isn't in its own process, flags %x", d.span.ParentSpanId, d.span.Flags)
	}
}

// The verdict is on the span.
func TestBlame(t *testing.T) {
	d := encode(t, outputtest.Slow())
	for name, want := range map[string]any{
		"culprit.blame.who": "server", "culprit.blame.situation": "slow-application", "culprit.blame.time": int64(412_000_000), "culprit.blame.confidence": 0.95,
		"culprit.split.wait.server": int64(412_000_000), "culprit.split.wait.server_network": int64(300_000),
		"culprit.blame.evidence": []string{"412 ms of 430 ms between packet 81 (request complete, ACKed in 300 µs) and packet 97 (first byte)"},
	} {
		if fmt.Sprint(d.attributes[name]) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", name, d.attributes[name], want)
		}
	}
}

// Ids are never zero, which isn't an id, and differ where events differ.
func TestIDs(t *testing.T) {
	if spanID([16]byte{}) == [8]byte{} {
		t.Error("a span without id")
	}
	x := outputtest.Exchange(get, ok)
	x.KnownID = new([16]byte)
	if d := encode(t, x); len(d.span.TraceId) != 16 || d.span.TraceId[15] == 0 {
		t.Errorf("trace %x", d.span.TraceId)
	}
	x.KnownID = nil
	spans, traces := map[string]bool{}, map[string]bool{}
	const n = 5000
	for i := range int64(n) {
		x.Request.First.Offset = i
		d := encode(t, x)
		spans[string(d.span.SpanId)], traces[string(d.span.TraceId)] = true, true
	}
	if len(spans) != n || len(traces) != n {
		t.Errorf("%d spans and %d traces of %d events", len(spans), len(traces), n)
	}
}

// What tracestate says of sampling is what package sample has done.
func TestThreshold(t *testing.T) {
	for _, n := range []uint32{1, 2, 3, 10, 16, 1000, sample.MaxN} {
		want := strings.TrimRight(fmt.Sprintf("%014x", sample.Threshold(n)), "0")
		if want == "" {
			want = "0"
		}
		x := outputtest.Exchange(get, ok)
		x.Weight = n
		d := encode(t, x)
		if d.span.TraceState != "ot=th:"+want {
			t.Errorf("1 in %d: %q, want ot=th:%s", n, d.span.TraceState, want)
		}
		var random uint64
		for _, b := range d.span.TraceId[9:] {
			random = random<<8 | uint64(b)
		}
		if random != sample.Randomness(x) {
			t.Errorf("the trace id has the randomness %x, it was chosen by %x", random, sample.Randomness(x))
		}
	}
	for _, c := range []struct {
		state  string
		weight uint32
		want   string
	}{
		{"a=1,ot=th:c,b=2", 2, "ot=th:8,a=1,b=2"},
		{"a=1,ot=th:c", 0, "a=1"},
		{"ot=rv:6e6d1a75832a2f;th:c,b=2", 2, "b=2"},
		{strings.Repeat("a=1,", 40), 1, "ot=th:0" + strings.Repeat(",a=1", 31)},
	} {
		x := outputtest.Exchange(strings.TrimSuffix(get, "\n")+"traceparent: 00-"+traceHex+"-"+parentHex+"-01\ntracestate: "+c.state+"\n\n", ok)
		x.Weight = c.weight
		if d := encode(t, x); d.span.TraceState != c.want {
			t.Errorf("%q with weight %d: %q, want %q", c.state, c.weight, d.span.TraceState, c.want)
		}
	}
}

func TestSignalsOfEncoder(t *testing.T) {
	x, r := outputtest.Exchange(get, ok), row()
	for _, c := range []struct {
		signals         []string
		traces, metrics bool
	}{{nil, true, true}, {[]string{Traces}, true, false}, {[]string{Metrics}, false, true}} {
		e := NewEncoder(&Options{Signals: c.signals})
		if got := len(e.Exchange(nil, x)) > 0; got != c.traces {
			t.Errorf("%v: spans %v", c.signals, got)
		}
		if got := len(e.Rollup(nil, r)) > 0; got != c.metrics {
			t.Errorf("%v: metrics %v", c.signals, got)
		}
	}
}

// Bodies are appended, and can stand behind one another.
func TestBodiesFollowOneAnother(t *testing.T) {
	e := NewEncoder(&Options{})
	b := []byte("before")
	for range 3 {
		b = e.Exchange(b, outputtest.Exchange(get, ok))
	}
	var d tracev1.TracesData
	if err := proto.Unmarshal(b[len("before"):], &d); err != nil || len(d.ResourceSpans) != 3 || string(b[:6]) != "before" {
		t.Errorf("%v, %v", &d, err)
	}
}

func TestAllocations(t *testing.T) {
	e := NewEncoder(&Options{Version: "1"})
	x := outputtest.Exchange(strings.TrimSuffix(get, "\n")+"traceparent: 00-"+traceHex+"-"+parentHex+"-01\ntracestate: a=1\n\n", ok)
	x.Enriched.Route, x.Weight = "/users/{id}", 4
	x.Flow.CommunityID() // made once a connection
	r := row()
	var dst []byte
	if n := testing.AllocsPerRun(100, func() { dst = e.Rollup(e.Exchange(dst[:0], x), r) }); n > 0 {
		t.Errorf("%v allocations for an exchange and a row", n)
	}
}

func BenchmarkExchange(b *testing.B) {
	e := NewEncoder(&Options{Version: "1"})
	x := outputtest.Exchange(get, ok)
	x.Enriched.Route = "/users/{id}"
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = e.Exchange(dst[:0], x)
	}
	b.SetBytes(int64(len(dst)))
}

// Whatever an exchange has, its span can be read.
func FuzzSpan(f *testing.F) {
	f.Add([]byte("GET"), []byte("/a?b"), []byte("traceparent"), []byte("00-"+traceHex+"-"+parentHex+"-01"), []byte("tracestate"), []byte("ot=th:8"), int64(5), uint32(3))
	f.Add([]byte("\xff"), []byte("http://[::1]:99999/\xff"), []byte("b3"), []byte(traceHex+"-"), []byte("host"), []byte("a:b"), int64(-1), uint32(0))
	f.Fuzz(func(t *testing.T, method, target, name1, value1, name2, value2 []byte, duration int64, weight uint32) {
		x := outputtest.Exchange(get, ok)
		m := &x.Request
		m.Raw = nil
		span := func(b []byte) wire.Span {
			m.Raw = append(m.Raw, b...)
			return wire.Span{Off: uint32(len(m.Raw) - len(b)), Len: uint32(len(b))}
		}
		m.Method, m.Target, m.Proto = span(method), span(target), wire.Span{}
		m.Fields = []wire.Field{{Name: span(name1), Value: span(value1)}, {Name: span(name2), Value: span(value2)}}
		x.Timing.Duration, x.Weight = duration, weight
		x.Flow.Addr[0] = packet.Addr{15: 1}
		d := encode(t, x)
		if len(d.span.TraceId) != 16 || len(d.span.SpanId) != 8 || len(d.span.ParentSpanId)%8 != 0 || len(d.span.TraceState) > 2*maxTraceState {
			t.Errorf("%v", d.span)
		}
	})
}
