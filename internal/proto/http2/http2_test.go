package http2

import (
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/prototest"
)

func script(f func(t *talk)) string {
	t := newTalk()
	f(t)
	return t.text()
}

var cases = []prototest.Case{
	{Name: "get", Script: script(func(t *talk) {
		t.get(1, "/a?b=c")
		t.answer(1, "200", "hello")
	})},
	{Name: "interleaved", Script: script(func(t *talk) {
		t.get(1, "/1")
		t.get(3, "/3")
		t.head(0, 5, false, ":method", "POST", ":scheme", "http", ":authority", "a.example", ":path", "/5", "content-length", "6")
		t.client().WriteData(5, false, []byte("abc"))
		t.say(0)
		t.head(1, 3, false, ":status", "200", "content-length", "4")
		t.head(1, 1, false, ":status", "404")
		t.server().WriteData(1, false, []byte("no"))
		t.server().WriteData(3, false, []byte("ab"))
		t.server().WriteData(1, true, []byte("pe"))
		t.server().WriteData(3, true, []byte("cd"))
		t.say(1)
		t.client().WriteData(5, true, []byte("def"))
		t.say(0)
		t.answer(5, "204", "")
	})},
	{Name: "padded", Script: script(func(t *talk) {
		t.client().WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, EndHeaders: true, PadLength: 7,
			Priority:      xhttp2.PriorityParam{StreamDep: 3, Weight: 15},
			BlockFragment: t.encode(0, ":method", "POST", ":scheme", "http", ":path", "/")})
		t.client().WriteDataPadded(1, false, []byte("abc"), make([]byte, 9))
		t.client().WriteDataPadded(1, true, nil, make([]byte, 3))
		t.say(0)
		t.answer(1, "200", "x")
	})},
	{Name: "continuation and trailers", Script: script(func(t *talk) {
		b := t.encode(0, ":method", "POST", ":scheme", "http", ":authority", "a.example", ":path", "/long", "x-long", "0123456789abcdef")
		t.client().WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:5]})
		t.client().WriteContinuation(1, false, b[5:20])
		t.client().WriteContinuation(1, false, nil)
		t.client().WriteContinuation(1, true, b[20:])
		t.client().WriteData(1, false, []byte("abc"))
		t.head(0, 1, true, "x-sum", "1")
		t.say(0)
		t.head(1, 1, false, ":status", "200", "content-type", "application/grpc")
		t.server().WriteData(1, false, []byte("\x00\x00\x00\x00\x03abc"))
		t.head(1, 1, true, "grpc-status", "0", "!x-secret", "no")
		t.say(1)
	})},
	{Name: "interim", Script: script(func(t *talk) {
		t.head(0, 1, false, ":method", "PUT", ":scheme", "http", ":path", "/", "expect", "100-continue")
		t.head(1, 1, false, ":status", "100")
		t.head(1, 1, false, ":status", "103", "link", "x")
		t.line("")
		t.client().WriteData(1, true, []byte("abc"))
		t.say(0)
		t.answer(1, "201", "")
	})},
	{Name: "head", Script: script(func(t *talk) {
		t.head(0, 1, true, ":method", "HEAD", ":scheme", "http", ":path", "/")
		t.head(1, 1, true, ":status", "200", "content-length", "500")
		t.line("")
		t.head(0, 3, true, ":method", "HEAD", ":scheme", "http", ":path", "/")
		t.head(1, 3, false, ":status", "200", "content-length", "500")
		t.server().WriteData(3, true, nil)
	})},
	{Name: "push", Script: script(func(t *talk) {
		t.get(1, "/")
		t.server().WritePushPromise(xhttp2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true, PadLength: 3,
			BlockFragment: t.encode(1, ":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", "/style.css")})
		t.answer(1, "200", "x")
		t.answer(2, "200", "css")
	})},
	{Name: "reset", Script: script(func(t *talk) {
		t.get(1, "/1")
		t.get(3, "/3")
		t.head(0, 5, false, ":method", "POST", ":scheme", "http", ":path", "/5")
		t.client().WriteData(5, false, []byte("abc"))
		t.say(0)
		t.server().WriteRSTStream(1, xhttp2.ErrCodeRefusedStream)
		t.head(1, 3, false, ":status", "200")
		t.server().WriteData(3, false, []byte("ab"))
		t.say(1)
		t.client().WriteRSTStream(3, xhttp2.ErrCodeCancel)
		t.say(0)
		t.server().WriteData(3, false, []byte("cd"))
		t.head(1, 3, true, "x-late", "1")
		t.answer(5, "413", "")
		t.server().WriteRSTStream(5, xhttp2.ErrCodeNo)
		t.say(1)
	})},
	{Name: "goaway", Script: script(func(t *talk) {
		t.get(1, "/1")
		t.get(3, "/3")
		t.server().WriteGoAway(1, xhttp2.ErrCodeEnhanceYourCalm, []byte("slow down"))
		t.say(1)
		t.get(5, "/5")
		t.answer(1, "200", "ok")
		t.line("<close fin")
		t.line(">close fin")
	})},
	{Name: "connect", Script: script(func(t *talk) {
		t.head(0, 1, false, ":method", "CONNECT", ":authority", "b.example:443")
		t.client().WriteData(1, false, []byte("early"))
		t.say(0)
		t.head(1, 1, false, ":status", "200")
		t.server().WriteData(1, false, []byte("answer"))
		t.say(1)
		t.client().WriteData(1, true, []byte("more"))
		t.say(0)
		t.server().WriteData(1, true, nil)
	})},
	{Name: "connect refused", Script: script(func(t *talk) {
		t.head(0, 1, false, ":method", "CONNECT", ":authority", "b.example:443")
		t.client().WriteData(1, false, []byte("early"))
		t.say(0)
		t.answer(1, "403", "no")
		t.client().WriteData(1, true, []byte("more"))
	})},
	{Name: "websocket", Script: script(func(t *talk) {
		t.head(0, 1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/chat", ":authority", "a.example")
		t.say(0)
		t.head(1, 1, false, ":status", "200")
		t.say(1)
		t.client().WriteData(1, false, []byte("\x81\x00"))
	})},
	{Name: "odd", Script: script(func(t *talk) {
		t.head(0, 1, true, ":method", "GET", ":scheme", "http", ":path", "/a b", "X-Upper", "1", ":late", "x", "content-length", "3")
		t.client().WriteRawFrame(0x42, 0xff, 9, []byte("unknown"))
		t.client().WriteRawFrame(xhttp2.FramePing, 0, 0, []byte("short"))
		t.client().WriteRawFrame(xhttp2.FrameData, 0, 0, []byte("nowhere"))
		t.client().WriteRawFrame(xhttp2.FrameData, 8, 1, []byte{200, 1, 2})
		t.get(3, "/3")
		t.head(1, 1, false, ":status", "20x", "content-length", "5", "content-length", "6")
		t.server().WriteData(1, true, []byte("abc"))
		t.head(1, 3, false, ":status", "200", "content-length", "5")
		t.server().WriteData(3, true, []byte("abc"))
	})},
	{Name: "cut off block", Script: script(func(t *talk) {
		b := t.encode(0, ":method", "GET", ":scheme", "http", ":path", "/cut", "x-a", "0123456789")
		t.client().WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:len(b)-3], EndStream: true, EndHeaders: true})
		t.get(3, "/3")
		b = t.encode(0, ":method", "GET", ":scheme", "http", ":path", "/left", "x-b", "0123456789")
		t.client().WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 5, BlockFragment: b, EndStream: true})
		t.get(7, "/7")
		t.client().WriteContinuation(9, true, b)
		t.answer(3, "200", "x")
	})},
	{Name: "limits", Limits: &proto.Limits{MaxHead: 100, MaxFields: 6, MaxStreams: 9}, MaxBody: 3, Script: script(func(t *talk) {
		t.head(0, 1, true, ":method", "GET", ":scheme", "http", ":path", "/1", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5")
		t.head(0, 3, true, ":method", "GET", ":scheme", "http", ":path", "/3", "x", string(make([]byte, 150)))
		t.head(0, 5, true, ":method", "GET", ":scheme", "http", ":path", "/5")
		t.say(0)
		t.answer(1, "200", "hello")
		t.answer(3, "200", "hello")
		t.answer(5, "200", "hello")
		t.get(7, "/7")
		t.answer(7, "200", "")
	})},
	{Name: "resumed at the beginning", Resumed: true, Script: script(func(t *talk) {
		t.head(0, 1, true, ":method", "GET", ":scheme", "http", ":path", "/1", "x-a", "aaa")
		t.line("")
		t.get(3, "/3")
		t.head(0, 5, true, ":method", "GET", ":scheme", "http", ":path", "/5", "x-a", "aaa")
		t.line("")
		t.answer(3, "200", "x")
	})},
	{Name: "resumed", Resumed: true, Script: `
> \x00\x00\x03\x00\x00\x00\x00\x00\x07abc
< \x00\x00\x03\x01\x04\x00\x00\x00\x09\x88\xc0\xbe\x00\x00\x02\x00\x01\x00\x00\x00\x09ok
> \x00\x00\x07\x01\x05\x00\x00\x00\x0b\x82\x86\xbf\x44\x02/x\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01
< \x00\x00\x02\x01\x05\x00\x00\x00\x0b\xbf\xbe\x00\x00\x00\x04\x01\x00\x00\x00\x00
> \x00\x00\x04\x01\x05\x00\x00\x00\x0d\x82\x86\xbe\xbf`},
}

func TestSuite(t *testing.T) {
	for i := range cases {
		cases[i].Want = wanted[cases[i].Name]
	}
	prototest.Run(t, New, cases)
}
func FuzzSuite(f *testing.F) { prototest.Fuzz(f, New, cases) }
