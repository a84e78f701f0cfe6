package websocket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

// key is the masking key of the examples of RFC 6455 §5.7.
const key = "\x37\xfa\x21\x3d"

// frame makes a frame: first is its first byte. A masked one has key.
func frame(first byte, masked bool, payload string) string {
	b := []byte{first, 0}
	switch n := len(payload); {
	case n < length16:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = length16
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = length64
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if !masked {
		return string(b) + payload
	}
	b[1] |= bitMasked
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

// client and server make a step of a script, of one segment.
func client(frames ...string) string { return step(">", frames) }
func server(frames ...string) string { return step("<", frames) }

func step(sign string, frames []string) string {
	q := strconv.Quote(strings.Join(frames, ""))
	return sign + " " + strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`) + "\n"
}

func masked(first byte, payload string) string { return frame(first, true, payload) }
func plain(first byte, payload string) string  { return frame(first, false, payload) }

// response is the beginning of a response that agrees to extensions.
func response(extensions ...string) *proto.Message {
	m := &proto.Message{Kind: proto.Response, Status: 101}
	for _, value := range extensions {
		const name = "Sec-WebSocket-Extensions"
		at := uint32(len(m.Raw))
		m.Raw = append(m.Raw, name+value...)
		m.Fields = append(m.Fields, proto.Field{
			Name: proto.Span{Off: at, Len: uint32(len(name))}, Value: proto.Span{Off: at + uint32(len(name)), Len: uint32(len(value))},
		})
	}
	return m
}

// parsers makes parsers of connections that began with a response.
func parsers(prior *proto.Message) prototest.New {
	return func(c *proto.Context) proto.Parser {
		with := *c
		limits := *c.Limits
		limits.MaxMessage = 1 << 12
		with.Prior, with.Limits = prior, &limits
		return New(&with)
	}
}

// asSent hides how long an inflated body is from the conformance suite: the length is that of the payload where nobody wants
// the body, and the suite expects the same then.
type asSent struct{ proto.Sink }

func (s asSent) End(m *proto.Message) {
	if m.Parts.Compressed == 0 || m.MissingBytes > 0 {
		s.Sink.End(m)
		return
	}
	n, anomalies := m.BodyBytes, m.Anomalies
	m.BodyBytes, m.MissingBytes = m.Parts.Bytes, -1
	m.Anomalies &^= 1 << proto.CompressionContextLost // found by inflating
	s.Sink.End(m)
	m.BodyBytes, m.MissingBytes, m.Anomalies = n, 0, anomalies
}

func (s asSent) parsers(prior *proto.Message) prototest.New {
	inner := parsers(prior)
	return func(c *proto.Context) proto.Parser {
		with := *c
		with.Sink = asSent{c.Sink}
		return inner(&with)
	}
}

// Compressed messages of RFC 7692 §7.2.3: "Hello" in one block, the same by reference to it, in a block that isn't compressed,
// in a block that says that it is the last, and in two blocks.
const (
	hello      = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	helloAgain = "\xf2\x00\x11\x00\x00"
	helloPlain = "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"
	helloFinal = "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"
	helloTwo   = "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"
)

var long = strings.Repeat("0123456789", 30)

var cases = []prototest.Case{
	{Name: "both ways", Script: client("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") + server("\x81\x05Hello"), Want: `
> event 0 text at 0 head 6 length 5
> "Hello"
> end whole size 11 body 5
< event 0 text at 0 head 2 length 5
< "Hello"
< end whole size 7 body 5`},
	{Name: "ping and pong", Script: server(plain(0x89, "Hello")) + client("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), Want: `
<1 event 0 ping at 0 head 2 length 5
<1 "Hello"
<1 end whole size 7 body 5
>1 event 0 pong at 0 head 6 length 5
>1 "Hello"
>1 end whole size 11 body 5`},
	{Name: "in pieces, with a ping between", Script: server(plain(0x01, "Hel"), plain(0x89, ""), plain(0x00, ""), plain(0x80, "lo"), plain(0x82, "x")), Want: `
< event 0 text at 0 head 2 chunked
< "Hel"
<1 event 0 ping at 5 head 2 length 0
<1 end whole size 2 body 0
< "lo"
< end whole size 11 body 5 chunks 3
< event 0 binary at 13 head 2 length 1
< "x"
< end whole size 3 body 1`},
	{Name: "lengths", Script: client(masked(0x82, ""), masked(0x82, long[:125]), masked(0x82, long[:126]), masked(0x82, long)) +
		server(plain(0x82, long))},
	{Name: "close", Script: client(masked(0x88, "\x03\xe8bye")) + server(plain(0x88, "\x03\xe8")) + ">close fin\n<close fin", Want: `
>1 event 1000 close bye at 0 head 11 none
>1 end whole size 11 body 0
<1 event 1000 close at 0 head 4 none
<1 end whole size 4 body 0`},
	{Name: "close without a code, in the midst of a message", Script: server(plain(0x01, "Hel"), plain(0x88, "")) + "<close fin\n>close fin", Want: `
< event 0 text at 0 head 2 chunked
< "Hel"
<1 event 0 close at 5 head 2 none
<1 end whole size 2 body 0
< end cut size 5 body 3 fin chunks 1`},
	{Name: "bad closes", Script: server(plain(0x88, "\x03"), plain(0x88, "\x03\xee"), plain(0x88, "\x03\xe8"+long[:126]), plain(0x81, "x")), Want: `
<1 event 0 close at 0 head 3 none [bad-frame]
<1 end whole size 3 body 0 [bad-frame]
<1 event 1006 close at 3 head 4 none [bad-frame]
<1 end whole size 4 body 0 [bad-frame]
<1 event 1000 close ` + long[:123] + ` at 7 head 132 none [bad-frame]
<1 end whole size 132 body 0 [bad-frame]
< event 0 text at 139 head 2 length 1 [bad-frame]
< "x"
< end whole size 3 body 1 [bad-frame]`},
	{Name: "long ping", Script: server(plain(0x89, long)), Want: `
<1 event 0 ping at 0 head 4 length 300 [bad-frame]
<1 "` + long + `"
<1 end whole size 304 body 300 [bad-frame]`},
	{Name: "lengths longer than need be", Script: server("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x02ab", "\x82\x7e\x00\x02cd"), Want: `
< event 0 binary at 0 head 10 length 2 [bad-frame]
< "ab"
< end whole size 12 body 2 [bad-frame]
< event 0 binary at 12 head 4 length 2 [bad-frame]
< "cd"
< end whole size 6 body 2 [bad-frame]`},
	{Name: "lost, and a length that can't be", Script: server("\x81") + "<gap 1\n" + server("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x02ab"), Want: "< lost"},
	{Name: "masks the wrong way round", Script: client(plain(0x81, "a"), masked(0x81, "b")) + server(masked(0x81, "c"), plain(0x81, "d")), Want: `
> event 0 text at 0 head 2 length 1 [unmasked-client]
> "a"
> end whole size 3 body 1 [unmasked-client]
> event 0 text at 3 head 6 length 1
> "b"
> end whole size 7 body 1
< event 0 text at 0 head 6 length 1 [masked-server]
< "c"
< end whole size 7 body 1 [masked-server]
< event 0 text at 7 head 2 length 1
< "d"
< end whole size 3 body 1`},
	{Name: "bad frames", Script: server(plain(0x80, "a"), plain(0x83, "b"), plain(0x09, "c"), plain(0x8b, "d"), plain(0xa1, "e"), plain(0x01, "f"), plain(0xc0, "g"),
		plain(0x01, "h"), plain(0x81, "i"), "\x81\x7e\x00\x01j"), Want: `
< event 0 continuation at 0 head 2 length 1 [bad-frame]
< "a"
< end whole size 3 body 1 [bad-frame]
< event 0 reserved at 3 head 2 length 1 [bad-frame]
< "b"
< end whole size 3 body 1 [bad-frame]
<1 event 0 ping at 6 head 2 length 1 [bad-frame]
<1 "c"
<1 end whole size 3 body 1 [bad-frame]
<1 event 0 reserved at 9 head 2 length 1 [bad-frame]
<1 "d"
<1 end whole size 3 body 1 [bad-frame]
< event 0 text at 12 head 2 length 1 [bad-frame]
< "e"
< end whole size 3 body 1 [bad-frame]
< event 0 text at 15 head 2 chunked
< "fg"
< end whole size 6 body 2 chunks 2 [bad-frame]
< event 0 text at 21 head 2 chunked
< "h"
< end broken size 3 body 1 chunks 1
< event 0 text at 24 head 2 length 1 [bad-frame]
< "i"
< end whole size 3 body 1 [bad-frame]
< event 0 text at 27 head 4 length 1 [bad-frame]
< "j"
< end whole size 5 body 1 [bad-frame]`},
	{Name: "a length that can't be", Script: server(plain(0x01, "a"), "\x80\x7f\x80\x00\x00\x00\x00\x00\x00\x01x", plain(0x81, long)) + client(masked(0x81, "b")), Want: `
< event 0 text at 0 head 2 chunked
< "a"
< end broken size 3 body 1 chunks 1 [bad-frame]
< lost
> event 0 text at 0 head 6 length 1
> "b"
> end whole size 7 body 1`},
	{Name: "neither can be followed", Script: server("\x80\x7f\x80\x00\x00\x00\x00\x00\x00\x01") + client("\x80\x7f\x80\x00\x00\x00\x00\x00\x00\x01more"), Want: `
< lost
> lost
stop`},
	{Name: "gap in a payload", Script: client(masked(0x81, "0123")[:8]) + ">gap 1\n" + client(masked(0x81, "0123")[9:]+masked(0x81, "Hello")), Want: `
> event 0 text at 0 head 6 length 4
> "013"
> end whole size 10 body 4 missing 1
> event 0 text at 10 head 6 length 5
> "Hello"
> end whole size 11 body 5`},
	{Name: "gap that ends a payload in pieces", Script: server("\x01\x03H") + "<gap 2\n" + server(plain(0x80, "lo")), Want: `
< event 0 text at 0 head 2 chunked
< "Hlo"
< end whole size 9 body 5 chunks 2 missing 2`},
	{Name: "gap beyond a payload", Script: server("\x81\x03H") + "<gap 3\n" + server("\x01") + server("\x01\x03H") + "<gap 9\n" + server(long[:9]), Want: `
< event 0 text at 0 head 2 length 3
< "H"
< end whole size 5 body 3 missing 2
< lost`},
	{Name: "gap in a close", Script: server("\x88\x05\x03\xe8") + "<gap 2\n" + server("e"), Want: `< lost`},
	{Name: "gap in a header, in the midst of a message", Script: server(plain(0x01, "a"), "\x80") + "<gap 1\n" + server("xx"), Want: `
< event 0 text at 0 head 2 chunked
< "a"
< end broken size 3 body 1 chunks 1
< lost`},
	{Name: "found again", Script: server(plain(0x01, "a")) + "<gap 3\n" + server("\x00\x00\x00\x00", "\x00\x00\x00\x00") + server(plain(0x81, "b"), plain(0x82, "c")) + server(plain(0x81, "d")) +
		server(plain(0x80, "e")) + "<gap 2\n" + server(plain(0x81, "lost")) + server("lost") + server(plain(0x81, long[:126]), plain(0x00, "f"), plain(0x80, "g")) + "<gap 1\n" + server(masked(0x81, long)), Want: `
< event 0 text at 0 head 2 chunked
< "a"
< end broken size 3 body 1 chunks 1
< lost
< event 0 text at 20 head 2 length 1
< "d"
< end whole size 3 body 1
< event 0 continuation at 23 head 2 length 1
< "e"
< end whole size 3 body 1
< lost
< event 0 text at 38 head 4 length 126
< "` + long[:126] + `"
< end whole size 130 body 126
< event 0 continuation at 168 head 2 chunked
< "fg"
< end whole size 6 body 2 chunks 2
< lost`},
	{Name: "lost, and lost again", Script: server("\x81") + "<gap 1\n" + server(plain(0x81, "b"), plain(0x82, "c")) + "<gap 1\n" + server(plain(0x81, "d")), Want: "< lost"},
	{Name: "begun in the middle", Resumed: true, Script: server(plain(0x81, "a"), plain(0x81, "b")) + client(masked(0x81, long)), Want: `
resumed
> event 0 text at 0 head 8 length 300
> "` + long + `"
> end whole size 308 body 300`},
	{Name: "the originator is the server", Client: proto.Responder, Script: client(plain(0x81, "a")) + server(masked(0x81, "b"))},
	{Name: "reset", Script: client(masked(0x82, long)[:9]) + server("\x88\x03\x03") + ">close rst\n<close rst", Want: `
> event 0 binary at 0 head 8 length 300
> "0"
> end cut size 9 body 1 rst
<1 event 0 close at 0 head 3 none
<1 end cut size 3 body 0 rst`},
}

// compressed are cases of compression, as the suite sees them. Bodies have the length of the payload as sent.
var compressed = []prototest.Case{
	{Name: "blocks", Script: client(masked(0xc1, hello), masked(0xc1, helloAgain), masked(0xc1, helloPlain), masked(0x81, "plain")) +
		server(plain(0xc1, helloFinal), plain(0xc1, helloTwo), plain(0xc2, helloAgain), plain(0xc1, "\x00")), Want: `
> event 0 text at 0 head 6 chunked
> "Hello"
> end whole size 13 body 7 chunks 1
> event 0 text at 13 head 6 chunked
> "Hello"
> end whole size 11 body 5 chunks 1
> event 0 text at 24 head 6 chunked
> "Hello"
> end whole size 17 body 11 chunks 1
> event 0 text at 41 head 6 length 5
> "plain"
> end whole size 11 body 5
< event 0 text at 0 head 2 chunked
< "Hello"
< end whole size 10 body 8 chunks 1
< event 0 text at 10 head 2 chunked
< "Hello"
< end whole size 15 body 13 chunks 1
< event 0 binary at 25 head 2 chunked
< "Hello"
< end whole size 7 body 5 chunks 1
< event 0 text at 32 head 2 chunked
< end whole size 3 body 1 chunks 1`},
	{Name: "compressed in pieces, with a ping between", Script: server(plain(0x41, hello[:3]), plain(0x89, "p"), plain(0x80, hello[3:])), Want: `
< event 0 text at 0 head 2 chunked
<1 event 0 ping at 5 head 2 length 1
<1 "p"
<1 end whole size 3 body 1
< "Hello"
< end whole size 11 body 7 chunks 2`},
	{Name: "compressed and cut", Script: server(plain(0x41, helloTwo[:9])) + "<close fin\n>close fin", Want: `
< event 0 text at 0 head 2 chunked
< "He"
< end cut size 11 body 9 fin chunks 1`},
	{Name: "gap behind a last block", Script: server(plain(0xc1, helloFinal)[:9]) + "<gap 1\n" + server(plain(0xc1, helloAgain)), Want: `
< event 0 text at 0 head 2 chunked
< "Hello"
< end whole size 10 body 8 chunks 1 missing 1
< event 0 text at 10 head 2 chunked
< "H"
< end whole size 7 body 5 chunks 1`},
	{Name: "lost between compressed messages", Script: server(plain(0xc1, hello)) + "<gap 10\n" + server(plain(0xc1, helloAgain), plain(0x82, long)), Want: `
< event 0 text at 0 head 2 chunked
< "Hello"
< end whole size 9 body 7 chunks 1
< lost
< event 0 text at 19 head 2 chunked
< "H"
< end whole size 7 body 5 chunks 1
< event 0 binary at 26 head 4 length 300
< "` + long + `"
< end whole size 304 body 300`},
	{Name: "gap in a compressed message", Script: client(masked(0xc1, hello)) + client(masked(0xc1, helloTwo)[:15]) + ">gap 1\n" +
		client(masked(0xc1, helloTwo)[16:]+masked(0xc1, helloAgain)+masked(0xc1, hello)+masked(0xc1, helloAgain)), Want: `
> event 0 text at 0 head 6 chunked
> "Hello"
> end whole size 13 body 7 chunks 1
> event 0 text at 13 head 6 chunked
> "He"
> end whole size 19 body 13 chunks 1 missing 1
> event 0 text at 32 head 6 chunked
> "H"
> end whole size 11 body 5 chunks 1
> event 0 text at 43 head 6 chunked
> "Hello"
> end whole size 13 body 7 chunks 1
> event 0 text at 56 head 6 chunked
> "Hello"
> end whole size 11 body 5 chunks 1`},
}

// oddities are cases whose anomalies are only seen where bodies are wanted.
var oddities = []prototest.Case{
	{Name: "not UTF-8", Script: server(plain(0x81, "a\xff"), plain(0x81, "\xc3"), plain(0x82, "\xff"), plain(0x01, "\xc3"), plain(0x80, "\xa4"), plain(0x01, "\xe2\x82"), plain(0x80, "x"), plain(0x88, "\x03\xe8\xff")) +
		client(masked(0xc1, "\x00\x01\x00\xfe\xff\xff\x00")), Want: `
< event 0 text at 0 head 2 length 2
< "a\xff"
< end whole size 4 body 2 [bad-text]
< event 0 text at 4 head 2 length 1
< "\xc3"
< end whole size 3 body 1 [bad-text]
< event 0 binary at 7 head 2 length 1
< "\xff"
< end whole size 3 body 1
< event 0 text at 10 head 2 chunked
< "\xc3\xa4"
< end whole size 6 body 2 chunks 2
< event 0 text at 16 head 2 chunked
< "\xe2\x82x"
< end whole size 7 body 3 chunks 2 [bad-text]
<1 event 1000 close \xff at 23 head 5 none [bad-text]
<1 end whole size 5 body 0 [bad-text]
> event 0 text at 0 head 6 chunked
> "\xff"
> end whole size 13 body 1 chunks 1 [bad-text]`},
	{Name: "characters cut", Script: server("\x81\x04\xe2") + "<gap 1\n" + server("\xacx"+"\x88\x04\x03\xe8\xc3") + "<close fin\n>close fin", Want: `
< event 0 text at 0 head 2 length 4
< "\xe2\xacx"
< end whole size 6 body 4 missing 1
<1 event 1000 close \xc3 at 6 head 5 none
<1 end cut size 5 body 0 fin`},
	{Name: "beyond what is wanted", MaxBody: 3, Script: server(plain(0x81, "abc\xff"), plain(0x81, "ab\xc3\xa4"), plain(0xc1, hello)) + client(masked(0x81, long)), Want: `
< event 0 text at 0 head 2 length 4
< "abc"
< end whole size 6 body 4
< event 0 text at 6 head 2 length 4
< "ab\xc3"
< end whole size 6 body 4
< event 0 text at 12 head 2 chunked
< "Hel"
< end whole size 9 body 5 chunks 1
> event 0 text at 0 head 8 length 300
> "012"
> end whole size 308 body 300`},
	{Name: "not compressed", Script: server(plain(0xc2, "\x07"), plain(0xc2, hello), plain(0xc2, "\xf3\x48\xcd\xc9\xc9\x07\x00"), plain(0xc2, "")) + client(masked(0xc2, helloPlain[:7])), Want: `
< event 0 binary at 0 head 2 chunked
< end whole size 3 body 0 chunks 1 [bad-content-coding]
< event 0 binary at 3 head 2 chunked
< "Hello"
< end whole size 9 body 5 chunks 1
< event 0 binary at 12 head 2 chunked
< "Hello"
< end whole size 9 body 5 chunks 1
< event 0 binary at 21 head 2 chunked
< end whole size 2 body 0 chunks 1 [compression-context-lost]
> event 0 binary at 0 head 6 chunked
> "He\x00\x00\xff"
> end whole size 13 body 5 chunks 1 [bad-content-coding]`},
}

func TestConformance(t *testing.T) { prototest.Run(t, parsers(response()), cases) }

func TestConformanceUnknownHandshake(t *testing.T) {
	bare := make([]prototest.Case, len(cases))
	for i, c := range cases {
		// What reserved bits mean isn't known, so they aren't bad.
		c.Want = ""
		bare[i] = c
	}
	prototest.Run(t, parsers(nil), bare)
}

func TestConformanceCompressed(t *testing.T) {
	prototest.Run(t, asSent{}.parsers(response("permessage-deflate")), compressed)
	prototest.Run(t, asSent{}.parsers(nil), compressed)
}

func TestOddities(t *testing.T) {
	for _, c := range oddities {
		t.Run(c.Name, func(t *testing.T) { compare(t, parsers(response("permessage-deflate")), c) })
	}
}

// compare plays a case and compares what came of it with what is wanted.
func compare(t *testing.T, newParser prototest.New, c prototest.Case) {
	t.Helper()
	r, err := prototest.Play(newParser, c)
	if err != nil {
		t.Error(err)
	}
	if got, want := strings.TrimSpace(r.Text()), strings.TrimSpace(c.Want); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzParser(f *testing.F) {
	var seeds []prototest.Case
	seeds = append(append(append(seeds, cases...), compressed...), oddities...)
	prototest.Fuzz(f, parsers(nil), seeds)
}

func FuzzNoTakeover(f *testing.F) {
	prototest.Fuzz(f, parsers(response("permessage-deflate; server_no_context_takeover; client_max_window_bits=9")), compressed)
}

func TestProbe(t *testing.T) {
	if m, _ := Probe([]byte("\x81\x05Hello")); m != proto.No {
		t.Errorf("a frame is taken for a beginning: %v", m)
	}
}

// counter counts what a parser emits.
type counter struct {
	want  int
	heads int
	ends  int
	body  bytes.Buffer
	last  proto.Message
}

func (c *counter) Head(*proto.Message) proto.Answers {
	c.heads++
	c.body.Reset()
	return proto.AnswersUnknown
}
func (c *counter) Body(_ *proto.Message, b []byte)  { c.body.Write(b) }
func (c *counter) WantsBody(*proto.Message) int     { return max(c.want-c.body.Len(), 0) }
func (c *counter) End(m *proto.Message)             { c.ends++; c.last = *m }
func (c *counter) Lost(proto.Direction, clock.Mark) {}
func (c *counter) Abort(*proto.Abort)               {}
func (c *counter) Session(*proto.TLS)               {}
func (c *counter) Proxied(*proto.Proxied)           {}

func TestNoAllocations(t *testing.T) {
	for _, want := range []int{0, 1 << 10} {
		t.Run(fmt.Sprint(want), func(t *testing.T) {
			held, sink := 0, &counter{want: want}
			c := proto.Context{Sink: sink, Limits: &proto.Limits{MaxMessage: 1 << 20}, Held: &held, Prior: response()}
			p := New(&c)
			up, down := []byte(masked(0x81, "Hello")+masked(0x02, "x")+masked(0x89, "ping")+masked(0x80, "y")), []byte(plain(0x82, long)+plain(0x8a, "ping"))
			talk := func() {
				p.Data(proto.Originator, up, clock.Mark{})
				p.Data(proto.Originator, up[:1], clock.Mark{})
				p.Data(proto.Originator, up[1:], clock.Mark{})
				p.Data(proto.Responder, down, clock.Mark{})
			}
			talk()
			if n := testing.AllocsPerRun(100, talk); n != 0 {
				t.Errorf("%v allocations", n)
			}
			if sink.heads != sink.ends || sink.ends != 102*8 {
				t.Errorf("%d heads, %d ends", sink.heads, sink.ends)
			}
			if want == 0 && held != 0 {
				t.Errorf("%d bytes are held, and no body was wanted", held)
			}
			for _, d := range []proto.Direction{proto.Originator, proto.Responder} {
				p.Close(d, clock.Mark{}, proto.Finished)
			}
			if held != 0 {
				t.Errorf("%d bytes are held at the end", held)
			}
			c.Spare = p
			fresh := testing.AllocsPerRun(10, func() { New(&c) })
			if fresh != 0 {
				t.Errorf("%v allocations for a parser that is used again", fresh)
			}
		})
	}
}

// TestLargeMessages has messages whose length takes eight bytes.
func TestLargeMessages(t *testing.T) {
	held, sink := 0, &counter{want: 1 << 20}
	p := New(&proto.Context{Sink: sink, Limits: &proto.Limits{}, Held: &held, Prior: response()})
	large := strings.Repeat("0123456789", 1<<13)
	for n, piece := range []int{1, 7, 4000, 1 << 20} {
		for b := []byte(masked(0x82, large)); len(b) > 0; b = b[min(piece, len(b)):] {
			p.Data(proto.Originator, b[:min(piece, len(b))], clock.Mark{})
		}
		if sink.ends != n+1 || sink.body.String() != large || sink.last.Anomalies != 0 || sink.last.Size != maxHeader+int64(len(large)) {
			t.Errorf("in pieces of %d: %d ends, %d bytes, %+v", piece, sink.ends, sink.body.Len(), sink.last)
		}
	}
}

func TestGapOfUnknownLength(t *testing.T) {
	k := newTranscript(t)
	k.parser = New(&proto.Context{Sink: k, Limits: &k.limits, Held: &k.held, Prior: response()})
	k.data(proto.Responder, []byte("\x81\x05Hel"))
	k.parser.Gap(proto.Responder, proto.Unknown, clock.Mark{Offset: 5})
	k.data(proto.Responder, []byte("lo"))
	k.close()
	if of := k.of[proto.Responder]; k.lost != 1 || len(of) != 1 || of[0].m.End != proto.Broken || of[0].m.BodyBytes != 3 || of[0].m.MissingBytes != 0 {
		t.Errorf("lost %d times, %+v", k.lost, of)
	}
}

// TestMarks has bytes that were lost and sent again, so that they arrive after those behind them.
func TestMarks(t *testing.T) {
	held, sink := 0, &counter{}
	p := New(&proto.Context{Sink: sink, Limits: &proto.Limits{}, Held: &held, Prior: response()})
	p.Data(proto.Responder, []byte("\x82"), clock.Mark{Time: 10, Packet: 1, Offset: 100})
	p.Data(proto.Responder, []byte("\x7e"), clock.Mark{Time: 90, Packet: 9, Offset: 101})
	p.Data(proto.Responder, []byte("\x00\x7e"+long[:100]), clock.Mark{Time: 20, Packet: 2, Offset: 102})
	p.Data(proto.Responder, []byte(long[:26]), clock.Mark{Time: 30, Packet: 3, Offset: 204})
	first, last := clock.Mark{Time: 10, Packet: 1, Offset: 100}, clock.Mark{Time: 90, Packet: 9, Offset: 229}
	if sink.ends != 1 || sink.last.First != first || sink.last.Last != last {
		t.Errorf("%d ends, from %+v to %+v", sink.ends, sink.last.First, sink.last.Last)
	}
}

func TestCloseCodes(t *testing.T) {
	for code, want := range map[int]bool{0: false, 999: false, 1000: true, 1001: true, 1004: false, 1005: false, 1006: false, 1007: true, 1015: false, 3000: true, 4999: true, 5000: false} {
		if mayBeSent(code) != want {
			t.Errorf("%d: %v", code, !want)
		}
	}
}

func BenchmarkMessages(b *testing.B) {
	held := 0
	up := []byte(strings.Repeat(masked(0x81, long), 100))
	for _, want := range []int{0, 1 << 20} {
		b.Run(fmt.Sprintf("wanted=%d", want), func(b *testing.B) {
			p := New(&proto.Context{Sink: &counter{want: want}, Limits: &proto.Limits{MaxMessage: 1 << 20}, Held: &held, Prior: response()})
			b.SetBytes(int64(len(up)))
			b.ReportAllocs()
			for b.Loop() {
				p.Data(proto.Originator, up, clock.Mark{})
			}
		})
	}
}
