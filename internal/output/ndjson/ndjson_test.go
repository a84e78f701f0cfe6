package ndjson

// Invariant of FuzzString: whatever the bytes, the string is valid JSON without a character that steers a
// terminal, and it decodes to the bytes, with each that isn't UTF-8 as \xNN.
//
// Invariant of FuzzDocument: whatever a message holds, its document is one line of valid JSON, no object in
// it names a key twice, and every header value is in it, in order.

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var _ output.Output = (*Output)(nil)

const (
	get = "GET /a?b=c HTTP/1.1\nHost: shop.example\n\n"
	ok  = "HTTP/1.1 200 OK\nContent-Type: text/plain\n\nhello"
)

// document encodes an exchange, and checks what holds for all documents.
func document(t *testing.T, x *exchange.Exchange) []byte {
	t.Helper()
	e := NewEncoder()
	b := e.Append(nil, x)
	if !json.Valid(b) {
		t.Fatalf("no JSON: %s", b)
	}
	if bytes.ContainsAny(b, "\r\n") {
		t.Fatalf("more than a line: %q", b)
	}
	unique(t, json.NewDecoder(bytes.NewReader(b)), "")
	return b
}

// unique reads a value, and fails if an object in it has a key twice.
func unique(t *testing.T, d *json.Decoder, path string) {
	t.Helper()
	token, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	delim, nested := token.(json.Delim)
	if !nested {
		return
	}
	seen := map[string]bool{}
	for d.More() {
		inner := path
		if delim == '{' {
			token, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			key := token.(string)
			if seen[key] {
				t.Errorf("%s.%s is there twice", path, key)
			}
			seen[key] = true
			inner += "." + key
		}
		unique(t, d, inner)
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		t.Fatal(err)
	}
}

func headers(t *testing.T, x *exchange.Exchange) map[string][]string {
	t.Helper()
	var d struct {
		HTTP struct {
			Request struct{ Headers map[string][]string }
		}
	}
	if err := json.Unmarshal(document(t, x), &d); err != nil {
		t.Fatal(err)
	}
	return d.HTTP.Request.Headers
}

func TestGolden(t *testing.T) {
	full := outputtest.Exchange(
		"POST http://shop.example:8080/login?next=%2F HTTP/1.1\nHost: shop.example\nUser-Agent: curl/8.5.0\nAccept: a\naccept: b\n\nuser=a",
		"HTTP/1.1 302 Found\nSet-Cookie: a=1\nSet-Cookie: b=2\nLocation: /\n\n")
	full.Tap.Name = "proxy"
	full.Timing.TLS, full.Timing.Idle, full.Timing.Overlap = 2_000_000, 1000, 500
	full.Interim = []exchange.Interim{{Status: 100}, {Status: 103}}
	full.Anomalies.Set(proto.DuplicateLength)
	full.Anomalies.Set(proto.EarlyResponse)
	full.Stream = true
	full.RequestBody.Parts = []exchange.Part{{Name: "a", Filename: "b.txt", Type: "text/plain", Bytes: 3}}
	full.Conn.Why, full.Conn.By = proto.Reset, proto.Responder
	full.Process = [2]*exchange.Process{
		{PID: 412, Name: "curl", Args: []string{"curl", "http://shop.example:8080/"}, Executable: "/usr/bin/curl", User: "alice"},
		{Name: "nginx", User: "www-data", ContainerID: "c0ffee", PodUID: "6f2c", Unit: "nginx.service"}, // which of several isn't known
	}

	unanswered := outputtest.Exchange(get, "")
	unanswered.Grade, unanswered.Reason = exchange.Unanswered, "capture ended"
	unanswered.Timing.Wait, unanswered.Timing.Receive = -1, -1

	orphan := outputtest.Exchange("", ok)
	orphan.Grade, orphan.Reason, orphan.MissingBytes = exchange.Gap, "12 bytes missing", 12
	orphan.Flow = outputtest.Flow("[2001:db8::7]:51022", "[2001:db8::2]:8000")
	orphan.Client = proto.Responder

	var w bytes.Buffer
	for _, x := range []*exchange.Exchange{full, unanswered, orphan} {
		if err := json.Indent(&w, document(t, x), "", "  "); err != nil {
			t.Fatal(err)
		}
		w.WriteByte('\n')
	}
	outputtest.Golden(t, *update, "documents.json", w.Bytes())
}

// Every field of the table gets into the document, under its path and with its kind.
func TestFields(t *testing.T) {
	table := []exchange.Field{
		{Name: "text", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Text = exchange.Text, "a" }},
		{Name: "a.bytes", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Bytes = exchange.Text, []byte("b") }},
		{Name: "a.empty", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind = exchange.Text }},
		{Name: "a.b.absent", Get: func(*exchange.Exchange, *exchange.Value) {}},
		{Name: "a.b.int", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Int = exchange.Int, -7 }},
		{Name: "a.b.c.duration", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Int = exchange.Duration, 1e9 }},
		{Name: "a.d.c.time", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Int = exchange.Time, -1 }},
		{Name: "a.z", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Int = exchange.Bool, 1 }},
		{Name: "b.c.no", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Int = exchange.Bool, 0 }},
		{Name: "b.ip", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Addr = exchange.IP, packet.Addr{15: 1} }},
		{Name: "b.float", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Float = exchange.Float, 0.25 }},
		{Name: "b.infinite", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.Float = exchange.Float, math.Inf(1) }},
		{Name: "list", Get: func(_ *exchange.Exchange, v *exchange.Value) { v.Kind, v.List = exchange.List, []string{"a", "\x00"} }},
		{Name: "headers", Get: func(x *exchange.Exchange, v *exchange.Value) { v.Kind, v.Message = exchange.Headers, &x.Request }},
	}
	e := newEncoder(table)
	got := string(e.Append(nil, outputtest.Exchange(get, ok)))
	const want = `{"text":"a","a":{"bytes":"b","empty":"","b":{"int":-7,"c":{"duration":1000000000}},` +
		`"d":{"c":{"time":"1969-12-31T23:59:59.999999999Z"}},"z":true},"b":{"c":{"no":false},"ip":"::1","float":0.25,"infinite":null},` +
		`"list":["a","\u0000"],"headers":{"host":["shop.example"]}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Nothing at all is an empty object.
func TestNoFields(t *testing.T) {
	e := newEncoder(nil)
	if got := string(e.Append(nil, nil)); got != "{}" {
		t.Error(got)
	}
}

// Fields of one object stand together in the table, or the document would name the object twice.
func TestTableNamesEachObjectOnce(t *testing.T) {
	closed := map[string]bool{}
	var open []string
	for i := range exchange.Fields {
		parts := strings.Split(exchange.Fields[i].Name, ".")
		same := 0
		for same < min(len(parts), len(open)) && parts[same] == open[same] {
			same++
		}
		for k := same; k < len(open); k++ {
			closed[strings.Join(open[:k+1], ".")] = true
		}
		for k := range parts {
			if path := strings.Join(parts[:k+1], "."); closed[path] {
				t.Errorf("field %s comes back to %s", exchange.Fields[i].Name, path)
			}
		}
		open = parts
	}
}

func TestHeaders(t *testing.T) {
	x := outputtest.Exchange("GET / HTTP/1.1\nX-A: 1\nHOST: a\nx-a: 2\nX-Ä: 3\nX-a: \nX_A: 4\n: 5\n\n", ok)
	got := headers(t, x)
	want := map[string][]string{"x-a": {"1", "2", ""}, "host": {"a"}, "x-Ä": {"3"}, "x_a": {"4"}, "": {"5"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}

	// Folded values are joined with a space (RFC 9112 §5.2); trailers are merged with the headers.
	x = outputtest.Exchange("GET / HTTP/1.1\nX-A: one \r\n\t two\r\n three\nX-B: 1\nx-b: 2\n\n", ok)
	m := &x.Request
	m.Raw = append([]byte{}, "X-Aone \r\n\t two\r\n threeX-B1x-b2"...)
	m.Method, m.Target, m.Proto = proto.Span{}, proto.Span{}, proto.Span{}
	m.Fields = []proto.Field{
		{Name: proto.Span{Off: 0, Len: 3}, Value: proto.Span{Off: 3, Len: 19}, Flags: proto.Folded},
		{Name: proto.Span{Off: 22, Len: 3}, Value: proto.Span{Off: 25, Len: 1}},
		{Name: proto.Span{Off: 26, Len: 3}, Value: proto.Span{Off: 29, Len: 1}, Flags: proto.Trailer},
	}
	got = headers(t, x)
	want = map[string][]string{"x-a": {"one two three"}, "x-b": {"1", "2"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Names that the redactor or a lower-casing could mangle: only ASCII letters change case.
func TestOnlyLettersAreLowered(t *testing.T) {
	for c := range 0x80 {
		if strings.ContainsRune(":\n\r", rune(c)) {
			continue // they end the name
		}
		name := "X" + string(rune(c)) + "Z"
		got := headers(t, outputtest.Exchange("GET / HTTP/1.1\n"+name+": v\n\n", ok))
		if want := "x" + strings.ToLower(string(rune(c))) + "z"; len(got) != 1 || got[want] == nil {
			t.Errorf("%q became %q, want %q", name, got, want)
		}
	}
}

func TestHostileBytes(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain / text", `"plain / text"`},
		{`"\`, `"\"\\"`},
		{"\r\n\t\x00\x1b\x7f", `"\r\n\t\u0000\u001b\u007f"`},
		{"Grüße 日本 👍", `"Grüße 日本 👍"`},
		{"\u009b", `"\u009b"`},
		{"\u2028\u202e\u2066", `"\u2028\u202e\u2066"`},
		{"caf\xe9", `"caf\\xe9"`},
		{"\xed\xa0\x80", `"\\xed\\xa0\\x80"`},
		{"\xf0\x9f\x91", `"\\xf0\\x9f\\x91"`},
		{"\uFFFD", `"` + "\uFFFD" + `"`},
		{`\xe9 \xE9 \x`, `"\\x5cxe9 \\xE9 \\x"`},
		{"", `""`},
	} {
		if got := string(appendString(nil, c.in)); got != c.want {
			t.Errorf("%q: got %s, want %s", c.in, got, c.want)
		}
	}
}

var escape = regexp.MustCompile(`^\\x[0-9a-f]{2}`)

// Strings are looked at eight bytes at a time: every byte is found at every place.
func TestEveryByteAtEveryPlace(t *testing.T) {
	for c := range 256 {
		for place := range 17 {
			in := bytes.Repeat([]byte{'a'}, 17)
			in[place] = byte(c)
			var got string
			if err := json.Unmarshal(appendBytes(nil, in), &got); err != nil || got != readable(in) {
				t.Fatalf("%q reads as %q: %v", in, got, err)
			}
		}
	}
}

// readable is what a string decodes to: what isn't UTF-8 as \xNN, and a backslash that would read so too.
func readable(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&s, `\x%02x`, b[0])
		} else if r == '\\' && escape.Match(b) {
			s.WriteString(`\x5c`)
		} else {
			s.Write(b[:n])
		}
		b = b[n:]
	}
	return s.String()
}

func FuzzString(f *testing.F) {
	for _, s := range []string{"a", "\"\\\n\x00", "caf\xe9", "\u2028\u202e", "\xf0\x9f\x91", "日本"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out := appendBytes(nil, b)
		var got string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if got != readable(b) {
			t.Fatalf("%q reads as %q", b, got)
		}
		for _, r := range string(out) {
			if r < 0x20 || 0x7f <= r && r < 0xa0 || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
				t.Fatalf("%q passed %U", b, r)
			}
		}
		if again := appendString(nil, string(b)); !bytes.Equal(out, again) {
			t.Fatalf("as a string it is %q", again)
		}
	})
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte("GET"), []byte("/a?b"), []byte("Host"), []byte("a"), []byte("hOST"), []byte("b"))
	f.Add([]byte("\xff"), []byte("\x00\n"), []byte(""), []byte("\u2028"), []byte("a\xe9"), []byte(`"\`))
	f.Fuzz(func(t *testing.T, method, target, name1, value1, name2, value2 []byte) {
		x := outputtest.Exchange(get, ok)
		m := &x.Request
		m.Raw = nil
		span := func(b []byte) proto.Span {
			m.Raw = append(m.Raw, b...)
			return proto.Span{Off: uint32(len(m.Raw) - len(b)), Len: uint32(len(b))}
		}
		m.Method, m.Target, m.Proto = span(method), span(target), proto.Span{}
		m.Fields = []proto.Field{
			{Name: span(name1), Value: span(value1)},
			{Name: span(name2), Value: span(value2)},
			{Name: span(name1), Value: span(value2)},
		}
		var got []string
		for _, values := range headers(t, x) {
			got = append(got, values...)
		}
		want := []string{readable(value1), readable(value2), readable(value2)}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got the values %q, want %q", got, want)
		}
	})
}

func TestOutput(t *testing.T) {
	var w bytes.Buffer
	o := New(&w)
	x := outputtest.Exchange(get, ok)
	n := 0
	for ; w.Len() == 0 && n < 1000; n++ {
		if err := o.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
	if w.Len() == 0 {
		t.Error("nothing is written before the end")
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(w.String(), "}\n{") + 1; got != n || !strings.HasSuffix(w.String(), "}\n") {
		t.Errorf("%d documents of %d", got, n)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrors(t *testing.T) {
	o := New(broken{})
	err := o.Exchange(outputtest.Exchange(get, ok))
	if e := o.Close(); err == nil {
		err = e
	}
	if err == nil {
		t.Error("nobody learned that nothing could be written")
	}
}

func TestTimesKeepTheirNanoseconds(t *testing.T) {
	var e Encoder
	for _, want := range []string{
		"2024-05-06T10:42:07.118000001Z", "2024-05-06T10:42:07.999999999Z", "2024-05-06T10:42:08.000000000Z",
		"1969-12-31T23:59:59.000000001Z", "1970-01-01T00:00:00.000000000Z",
	} {
		at, err := time.Parse(time.RFC3339Nano, want)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(e.appendTime(nil, at.UnixNano())); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// maxAllocations is how many allocations a document with ordinary headers may take: what the table's
// getters make that isn't in the exchange, such as the event id.
const maxAllocations = 3

func TestAllocations(t *testing.T) {
	o := New(io.Discard)
	x := outputtest.Exchange(get, ok)
	x.Flow.End(proto.Originator) // made once a connection
	x.Flow.CommunityID()
	if n := testing.AllocsPerRun(1000, func() { o.Exchange(x) }); n > maxAllocations {
		t.Errorf("%v allocations a document, want at most %d", n, maxAllocations)
	}
}
