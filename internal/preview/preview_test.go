package preview

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/redact"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample is a body to show, as that of a response, with header fields of its own.
type sample struct {
	fields string
	bytes  []byte
	change func(x *exchange.Exchange)
}

func typed(mediaType, text string) sample {
	return sample{fields: "Content-Type: " + mediaType + "\n", bytes: []byte(text)}
}

func cut(b sample) sample {
	b.change = func(x *exchange.Exchange) { x.ResponseBody.Cut = true }
	return b
}

// exchange makes an exchange with it.
func (b sample) exchange() *exchange.Exchange {
	x := outputtest.Exchange("POST /shop.Orders/Place HTTP/1.1\nHost: a\n\n", "HTTP/1.1 200 OK\n"+b.fields+"\nx")
	x.ResponseBody.Bytes = bytes.Clone(b.bytes)
	if b.change != nil {
		b.change(x)
	}
	return x
}

// hide is a Redact that does what outputs do.
func hide(mediaType string, b []byte) []byte {
	x := outputtest.Exchange("POST / HTTP/1.1\nContent-Type: "+mediaType+"\n\nx", "")
	x.RequestBody.Bytes = bytes.Clone(b)
	redact.New([]byte("key")).Exchange(x)
	return x.RequestBody.Bytes
}

func frame(flags byte, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(payload))), payload...)
}

func frames(all ...[]byte) []byte { return bytes.Join(all, nil) }

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

func snapped(b []byte) []byte {
	var out bytes.Buffer
	w := snappy.NewBufferedWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// order is a message with all kinds of fields.
func order(t testing.TB) []byte {
	return encode(t, "shop.Order", `
		id: "A-17" quantity: -3 delta: -1 price: 12.5 kind: KIND_EXPRESS tags: "new" tags: "J\"ü\n" sizes: 36 sizes: 300
		stock { key: "here" value: 4 } stock { key: "there" value: 0 }
		at { seconds: 1715000000 nanos: 500000000 } within { seconds: -1 nanos: -500000000 }
		extra { [type.googleapis.com/shop.Address] { street: "Any Street" } }
		address { street: "Main Street" within { street: "Town" } }
		photo: "\211PNG\r\n" password: "hunter2" gift: true note { value: "ring twice" } weights: 0.5 weights: 1 code: 7
		floors { key: -1 value { street: "Cellar" } } checks: -2`)
}

const grpcType = "Content-Type: application/grpc\n"

// called is a body of gRPC of the request.
func called(fields string, b []byte) sample { return sample{fields: grpcType + fields, bytes: b} }

var known = strings.Repeat("0123456789", 30)

// goldens are bodies and what options they are shown with: with descriptors, and in the request.
var goldens = []struct {
	name      string
	described bool
	request   bool
	body      func(t testing.TB) sample
}{
	{name: "json", body: func(testing.TB) sample {
		return typed("application/json; charset=utf-8", "\ufeff {\"a\":[1,2.50,{\"b\":null}],\"empty\":[ ],\"c\" : {\t},\"text\":\"a \\\"quoted\\\" {word}, and some more of it\",\"d\":true}\n")
	}},
	{name: "json-short", body: func(testing.TB) sample { return typed("application/json", " {\"a\": [1]}\r\n") }},
	{name: "json-pretty", body: func(testing.TB) sample { return typed("application/json", "{\n\"a\":\n1,\n\"b\": [\r\n]}\n") }},
	{name: "json-line-feed", body: func(testing.TB) sample {
		return typed("application/json", "{\"a\":1,\"b\":\"two\nlines\",\"c\":\""+known[:60]+"\"}")
	}},
	{name: "json-cut", body: func(testing.TB) sample {
		return cut(typed("application/vnd.api+json", `{"data":[{"id":1,"name":"`+known[:60]+`"},{"id":2,"na`))
	}},
	{name: "json-broken", body: func(testing.TB) sample {
		return typed("application/json", `{"data":[{"id":1,"name":"`+known[:60]+"\"}, oops],\r\n  \"b\": 2}\ntail")
	}},
	{name: "json-values", body: func(testing.TB) sample {
		return typed("application/json", `{"a":"`+known[:80]+`"}`+"{\"b\":1}\n[2]")
	}},
	{name: "json-redacted", body: func(testing.TB) sample {
		return typed("application/json", `{"password":"…[redacted 7 #4f2a]","pin":"…[redacted 4 #1b2c]","user":"a user with a name that is long"}`)
	}},
	{name: "json-lines", body: func(testing.TB) sample {
		return typed("application/x-ndjson", "{\"a\":1}\n{\"b\":\""+known[:70]+"\"}\r\n\n{\"c\":3}\n")
	}},
	{name: "json-seq", body: func(testing.TB) sample { return typed("application/json-seq", "\x1e{\"a\":1}\n\x1e{\"b\":2}\n") }},
	{name: "form", body: func(testing.TB) sample {
		return typed("application/x-www-form-urlencoded", "name=J%C3%BCrgen+M&empty=&flag&bad=%zz&line=%0a")
	}},
	{name: "form-of-json", body: func(testing.TB) sample { return typed("application/x-www-form-urlencoded", `{"a":1}`) }},
	{name: "multipart", body: func(testing.TB) sample {
		return typed("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\ntwo\r\nlines\r\n"+
			"--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n"+
			"--b\r\nContent-Disposition: form-data; name=\"bytes\"\r\n\r\n\x00\x01\r\n"+
			"--b\r\nContent-Disposition: form-data; name=\"data\"\r\nContent-Type: application/json\r\n\r\n{\"a\":\""+known[:80]+"\"}\r\n"+
			"--b\r\nContent-Disposition: form-data; name=\"long\"\r\n\r\n"+strings.Repeat("a line of text\n", 2*maxPart/15)+"\r\n--b--\r\n")
	}},
	{name: "multipart-cut", body: func(testing.TB) sample {
		return cut(typed("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nsome te"))
	}},
	{name: "multipart-not", body: func(testing.TB) sample { return typed("multipart/form-data", "no boundary\n") }},
	{name: "xml", body: func(testing.TB) sample { return typed("application/atom+xml", "<feed>\r\n\t<a/>\r\n</feed>\r\n") }},
	{name: "events", body: func(testing.TB) sample {
		return typed("text/event-stream", ": hello\n\ndata: first\ndata: second\n\nevent: price\nid: 7\ndata: {\"symbol\":\"ABC\",\"text\":\""+known[:60]+"\"}\n\nid: 8\n\n"+
			"data: [DONE]\r\n\r\nevent: end\rdata\r\rdata: not ended")
	}},
	{name: "events-cut", body: func(testing.TB) sample { return cut(typed("text/event-stream", "data: a\n\nevent: b\n")) }},
	{name: "text-sniffed", body: func(testing.TB) sample { return typed("application/octet-stream", "key: value\n") }},
	{name: "binary", body: func(testing.TB) sample { return typed("image/png", "\x89PNG\r\n\x1a\n\x00") }},
	{name: "binary-other", body: func(testing.TB) sample { return cut(typed("application/octet-stream", "\x89PNG\r\n\x1a\n\x00")) }},
	{name: "binary-declared-text", body: func(testing.TB) sample { return typed("application/json", "{\"a\":\"\x00\"}") }},
	{name: "undecoded", body: func(testing.TB) sample {
		b := typed("application/json", "\x1b\x02\x03")
		b.change = func(x *exchange.Exchange) { x.ResponseBody.Undecoded = "br" }
		return b
	}},

	{name: "grpc", described: true, request: true, body: func(t testing.TB) sample { return called("", frame(0, order(t))) }},
	{name: "grpc-response", described: true, body: func(t testing.TB) sample {
		return called("", frame(0, encode(t, "shop.Receipt", `token: "abcdefgh"`)))
	}},
	{name: "grpc-undescribed", request: true, body: func(t testing.TB) sample { return called("", frame(0, order(t))) }},
	{name: "grpc-messages", described: true, body: func(t testing.TB) sample {
		receipt := encode(t, "shop.Receipt", `token: "a"`)
		return called("Grpc-Encoding: gzip\n", frames(frame(0, nil), frame(0, receipt), frame(1, gzipped(receipt)), frame(0, receipt)[:6]))
	}},
	{name: "grpc-zstd", described: true, body: func(t testing.TB) sample {
		return called("grpc-encoding: zstd\n", frame(1, zstded(encode(t, "shop.Receipt", `token: "a"`))))
	}},
	{name: "grpc-snappy", described: true, body: func(t testing.TB) sample {
		receipt := encode(t, "shop.Receipt", `token: "a"`)
		return called("grpc-encoding: snappy\n", frames(frame(1, snapped(receipt)), frame(1, snappy.Encode(nil, receipt)), frame(1, []byte("nothing"))))
	}},
	{name: "grpc-unknown-coding", body: func(t testing.TB) sample {
		return called("", frames(frame(1, []byte("abc")), frame(0, nil)))
	}},
	{name: "grpc-broken", described: true, body: func(t testing.TB) sample {
		return called("", frames(frame(0, encode(t, "shop.Receipt", `token: "a"`)), []byte("\x7fabcdef")))
	}},
	{name: "grpc-contradiction", described: true, request: true, body: func(testing.TB) sample {
		// Another wire type, a field that isn't known, text that isn't UTF-8, and half a field.
		return called("", frame(0, []byte("\x08\x05\xf8\x07\x96\x01\x0a\x02\xff\"\x32\x09a")))
	}},
	{name: "grpc-json", body: func(testing.TB) sample {
		return sample{fields: "Content-Type: application/grpc+json\n", bytes: frame(0, []byte(`{"password":"abc"}`))}
	}},
	{name: "grpc-not-protobuf", body: func(testing.TB) sample {
		return called("", frames(frame(0, []byte(`{"password":"abc"}`)), frame(0, []byte("text that is none")), frame(0, []byte{0, 1, 2}), frame(0, []byte("text that is cut"))[:9]))
	}},
	{name: "grpc-other", body: func(testing.TB) sample {
		return sample{fields: "Content-Type: application/grpc+thrift\n", bytes: frames(frame(0, []byte("password: abc")), frame(0, []byte("\x00\x01")))}
	}},
	{name: "grpc-web", described: true, body: func(t testing.TB) sample {
		return sample{fields: "Content-Type: application/grpc-web+proto\n",
			bytes: frames(frame(0, encode(t, "shop.Receipt", `token: "a"`)), frame(0x80, []byte("grpc-status: 0\r\n")))}
	}},
	{name: "grpc-web-text", described: true, body: func(t testing.TB) sample {
		s := base64.StdEncoding.EncodeToString(frame(0, encode(t, "shop.Receipt", `token: "ab"`))) + "\n" +
			base64.StdEncoding.EncodeToString(frame(0x80, []byte("grpc-status: 0\r\n")))
		return sample{fields: "Content-Type: application/grpc-web-text\n", bytes: []byte(s + "?!?!")}
	}},
	{name: "protobuf", described: true, body: func(t testing.TB) sample {
		return sample{fields: "Content-Type: application/x-protobuf; messageType=\"shop.Receipt\"\n", bytes: encode(t, "shop.Receipt", `token: "a"`)}
	}},
	{name: "protobuf-undescribed", body: func(t testing.TB) sample {
		return sample{fields: "Content-Type: application/protobuf\n", bytes: encode(t, "shop.Address", `street: "a" within { street: "b" }`)}
	}},
	{name: "protobuf-not", body: func(testing.TB) sample { return typed("application/protobuf", "not found\n") }},
	{name: "guesses", body: func(testing.TB) sample {
		return sample{fields: "Content-Type: application/protobuf\n", bytes: []byte(
			"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + // -1
				"\x15\x00\x00\xc0\x3f" + "\x1d\x2a\x00\x00\x00" + // 1.5, 42
				"\x21\x00\x00\x00\x00\x00\x00\xf8\x3f" + "\x29\x2a\x00\x00\x00\x00\x00\x00\x00" + // 1.5, 42
				"\x32\x00" + "\x3a\x03\x0a\x01a" + "\x5a\x28" + strings.Repeat("\xff", 40) + "\x42\x02\xff\x00" + // empty, a message, bytes
				"\x4b\x08\x01\x4c" + // a group
				"\x62\x22\" " + known[:32] + // text that is framed as a message
				"\x6a\x05\x80\x80\x80\x04\x01" + // framed as a message with too large a number
				"\x52\x05\na\nb\n")} // text that begins with a line feed
	}},
}

// show gives all of a text.
func show(x Text) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "form %q\n", x.Form)
	for _, line := range x.Lines {
		if strings.ContainsAny(line, "\x1e\n\r\x00") {
			line = fmt.Sprintf("%q", line)
		}
		fmt.Fprintf(&b, "|%s\n", line)
	}
	for _, note := range x.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	for _, p := range [][2]string{{"kind", x.Kind}, {"sha256", x.SHA256}} {
		if p[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", p[0], p[1])
		}
	}
	if x.Cut {
		b.WriteString("cut\n")
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for _, c := range goldens {
		t.Run(c.name, func(t *testing.T) {
			o := Options{Redact: hide}
			if c.described {
				o.Protosets = []*Protoset{loadShop(t)}
			}
			x := c.body(t).exchange()
			if c.request {
				x.Request.Raw, x.Request.Fields = x.Response.Raw, x.Response.Fields
				target := "/shop.Orders/Place"
				x.Request.Target = proto.Span{Off: uint32(len(x.Request.Raw)), Len: uint32(len(target))}
				x.Request.Raw = append(x.Request.Raw, target...)
				x.RequestBody = x.ResponseBody
			}
			outputtest.Golden(t, *update, c.name+".txt", show(New(o).Preview(x, !c.request, Limits{})))
		})
	}
}

// What is decoded passes through Redact; where there is none, nothing is decoded.
func TestNothingIsDecodedUnredacted(t *testing.T) {
	for _, c := range goldens {
		x := c.body(t).exchange()
		text := New(Options{Protosets: []*Protoset{loadShop(t)}}).Preview(x, true, Limits{})
		if strings.HasPrefix(c.name, "grpc") && (text.Form != Binary || len(text.Lines) > 0 || text.SHA256 == "") {
			t.Errorf("%s is shown as %s", c.name, show(text))
		}
	}
	x := called("Grpc-Encoding: gzip\n", frames(frame(0, encode(t, "shop.Order", `password: "hunter2"`)), frame(1, gzipped(encode(t, "shop.Order", `password: "hunter3"`))))).exchange()
	x.Request.Raw, x.Request.Fields, x.RequestBody = append(x.Response.Raw, "/shop.Orders/Place"...), x.Response.Fields, x.ResponseBody
	x.Request.Target = proto.Span{Off: uint32(len(x.Response.Raw)), Len: uint32(len("/shop.Orders/Place"))}
	text := New(Options{Protosets: []*Protoset{loadShop(t)}, Redact: hide}).Preview(x, false, Limits{})
	if all := string(show(text)); strings.Contains(all, "hunter") || strings.Count(all, "[redacted 7 ") != 2 {
		t.Error(all)
	}
}

func TestNothingKept(t *testing.T) {
	x := typed("application/json", "").exchange()
	if text := New(Options{}).Preview(x, true, Limits{}); text.Form != None || text.Lines != nil || text.Notes != nil {
		t.Errorf("%s", show(text))
	}
}

func TestMissingBytes(t *testing.T) {
	x := typed("image/png", "\x89PNG").exchange()
	x.Response.MissingBytes = 1
	if text := New(Options{}).Preview(x, true, Limits{}); !text.Cut {
		t.Error("a digest of bytes of which some are missing passes for that of all")
	}
}

func TestLimits(t *testing.T) {
	many := strings.Repeat("[1,", 10) + strings.Repeat("]", 10)
	for _, c := range []struct {
		name string
		body sample
		o    Limits
		want string
	}{
		{"lines", typed("text/plain", "a\nb\nc\nd\n"), Limits{Lines: 2}, "form \"text\"\n|a\n|b\nnote: 2 lines left out here\n"},
		{"one line", typed("text/plain", "a\nb\nc\n"), Limits{Lines: 2}, "form \"text\"\n|a\n|b\nnote: 1 line left out here\n"},
		{"long lines", typed("text/plain", "abü\nabcd\nabc"), Limits{LineBytes: 3}, "form \"text\"\n|ab\n|abc\n|abc\nnote: 2 lines cut after 3 bytes\n"},
		{"JSON that fits", typed("application/json", many), Limits{Columns: len(many)}, "form \"json\"\n|" + many + "\n"},
		{"JSON that doesn't", typed("application/json", "[1,2]"), Limits{Columns: 4}, "form \"json\"\n|[\n|  1,\n|  2\n|]\n"},
		{"JSON of more lines", typed("application/json", "[1,2]"), Limits{Columns: 4, Lines: 3}, "form \"json\"\n|[\n|  1,\n|  2\nnote: 1 line left out here\n"},
		{"JSON behind a prefix", typed("text/event-stream", "data: [1,2]\ndata: [3]\n\n"), Limits{Columns: 6}, "form \"events\"\n|event 1\n|  [\n|    1,\n|    2\n|  ]\n|  [3]\n"},
		{"form", typed("application/x-www-form-urlencoded", "a=1&b=2&c=3"), Limits{Lines: 1}, "form \"form\"\n|  a = 1\nnote: 2 lines left out here\n"},
		{"messages", called("", bytes.Repeat(frame(0, nil), 9)), Limits{Lines: 3},
			"form \"messages\"\n|message 1: 0 B\n|message 2: 0 B\n|message 3: 0 B\nnote: without a descriptor of the method, fields have numbers: see --proto\nnote: the last 30 B are left out\n"},
	} {
		if got := string(show(New(Options{Redact: hide}).Preview(c.body.exchange(), true, c.o))); got != c.want {
			t.Errorf("%s:\n%s\ninstead of\n%s", c.name, got, c.want)
		}
	}
}

// Each of these is small, and would be large, or take long, if nothing bounded it.
func TestBombs(t *testing.T) {
	protosets := []*Protoset{loadShop(t)}
	bomb := frame(1, gzipped(make([]byte, MaxInflated-1)))
	nested := []byte("abc")
	for range 2000 {
		nested = append(binary.AppendUvarint([]byte{0x0a}, uint64(len(nested))), nested...)
	}
	for name, b := range map[string]sample{
		"compressed messages": called("grpc-encoding: gzip\n", bytes.Repeat(bomb, 20)),
		"nested messages":     called("", frame(0, nested)),
		"groups":              called("", frame(0, bytes.Repeat([]byte{0x0b}, 100_000))),
		"closed groups":       called("", frame(0, append(bytes.Repeat([]byte{0x0b}, 9_000), bytes.Repeat([]byte{0x0c}, 9_000)...))),
		"many fields":         called("", frame(0, bytes.Repeat([]byte("\x08\x01\x10\x01\x18\x01"), 50_000))),
		"deep JSON":           typed("application/json", strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)),
		"wide JSON":           typed("application/json", strings.Repeat("[", MaxDepth)+strings.Repeat("1,", MaxLines+10)),
		"many JSON values":    typed("application/json", strings.Repeat("1 ", MaxLines+10)),
		"packed numbers":      {fields: "Content-Type: application/protobuf; messageType=shop.Order\n", bytes: append([]byte("\x3a\x80\x80\x40"), make([]byte, 1<<20)...)},
		"long lines":          typed("text/plain", strings.Repeat(strings.Repeat("x", 1023)+"\n", 20_000)),
		"lines":               typed("text/plain", strings.Repeat("\n", MaxLines+10)),
		"pairs":               typed("application/x-www-form-urlencoded", strings.Repeat("&", MaxLines+10)),
		"events":              typed("text/event-stream", strings.Repeat("data\n\n", MaxLines+10)),
		"a long line":         typed("text/plain", strings.Repeat("x", 4*MaxLine)),
	} {
		text := New(Options{Protosets: protosets, Redact: func(_ string, b []byte) []byte { return b }}).Preview(b.exchange(), true, Limits{})
		size := 0
		for _, line := range text.Lines {
			size += len(line)
			if len(line) > MaxLine {
				t.Errorf("%s: a line of %d bytes", name, len(line))
			}
		}
		if len(text.Lines) > MaxLines || size > MaxText+MaxLine || size > 8*len(b.bytes)+MaxInflated+MaxText {
			t.Errorf("%s: %d lines, %d bytes", name, len(text.Lines), size)
		}
		if len(text.Notes) > 4 {
			t.Errorf("%s: %d notes", name, len(text.Notes))
		}
	}
}

// What a message is turned into is bounded, whatever of it is too much, and says what is left out.
func TestMessageLimits(t *testing.T) {
	nested := []byte("\x08\x01")
	for range 3 * MaxNested {
		nested = append(binary.AppendUvarint([]byte{0x0a}, uint64(len(nested))), nested...)
	}
	protosets := []*Protoset{loadShop(t)}
	for _, c := range []struct {
		name, message, left string
		largest             int
	}{
		{"many fields", strings.Repeat("\x08\x01", 2*maxFields), "more, left out", 3*maxFields + 100},
		{"many texts", strings.Repeat("\x0a\x14"+known[:20], maxFields-1), "more, left out", MaxMessage + 100},
		{"many packed numbers", "\x3a\x80\x80\x40" + strings.Repeat("\x01", 1<<20), "more, left out", MaxMessage + 100},
		{"many in a map", strings.Repeat("\x42\x16\x0a\x14"+known[:20], maxFields-1), "more, left out", MaxMessage + 100},
		{"nested", string(nested), "B nested too deeply", 10 * MaxNested},
	} {
		w := work{Previewer: New(Options{Protosets: protosets})}
		d := w.messageType("shop.Order")
		if c.name == "nested" {
			d = nil
		}
		got := w.decode([]byte(c.message), d)
		if len(got) > c.largest || !bytes.Contains(got, []byte(c.left)) || !json.Valid(got) {
			t.Errorf("%s: %d bytes, which begin with %.100s and end with %s", c.name, len(got), got, got[max(len(got)-100, 0):])
		}
	}
}

func TestInflatesUpToALimit(t *testing.T) {
	most := frame(1, gzipped(make([]byte, MaxInflated-10)))
	text := New(Options{Redact: hide}).Preview(called("grpc-encoding: gzip\n", frames(most, most, most)).exchange(), true, Limits{})
	all := string(show(text))
	for _, want := range []string{", in gzip, inflated to 1.00 MiB\n", ", in gzip, inflated to 10 B and more\n", ", in gzip, not decoded\n"} {
		if strings.Count(all, want) != 1 {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

// Deeper than is indented, JSON goes on in the line.
func TestDeepJSON(t *testing.T) {
	const more = 2
	b := strings.Repeat("[", MaxDepth+more) + "1" + strings.Repeat("]", MaxDepth+more)
	text := New(Options{}).Preview(typed("application/json", b).exchange(), true, Limits{})
	if len(text.Lines) != 2*MaxDepth+1 || text.Lines[MaxDepth] != strings.Repeat("  ", MaxDepth)+"[[1]]" {
		t.Errorf("%s", show(text))
	}
}

// Invariant: whatever a body and its type, it is shown without a panic, within the limits, and in lines without line feeds but
// those of values that were escaped.
func FuzzPreview(f *testing.F) {
	for _, c := range goldens {
		b := c.body(f)
		f.Add(b.fields, b.bytes, false, c.described)
	}
	protosets := []*Protoset{loadShop(f)}
	f.Fuzz(func(t *testing.T, fields string, bytes []byte, isCut, described bool) {
		if strings.Contains(fields, "\n\n") || strings.HasPrefix(fields, "\n") || !strings.HasSuffix(fields, "\n") {
			return
		}
		for line := range strings.Lines(fields) {
			if !strings.Contains(line, ": ") {
				return
			}
		}
		o := Options{Redact: func(_ string, b []byte) []byte { return b }}
		if described {
			o.Protosets = protosets
		}
		x := sample{fields: fields, bytes: bytes}.exchange()
		x.ResponseBody.Cut = isCut
		limits := Limits{Columns: 40, Lines: 1000, LineBytes: 500}
		text := New(o).Preview(x, true, limits)
		if len(text.Lines) > limits.Lines || (text.Form == None) != (len(bytes) == 0) || (text.Form == Binary) != (text.SHA256 != "") {
			t.Fatalf("%s", show(text))
		}
		for _, line := range text.Lines {
			if len(line) > limits.LineBytes || strings.Contains(line, "\n") && text.Form != Pairs && text.Form != Parts {
				t.Fatalf("the line %q", line)
			}
		}
	})
}
