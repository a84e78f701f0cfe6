package http2

import (
	"bytes"
	"fmt"
	"strings"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/culprit-http/culprit/internal/proto"
)

// talk writes down a conversation, frame by frame, as a script of package prototest.
type talk struct {
	script strings.Builder
	ends   [2]talker
}

// talker is one end, with what it has encoded so far.
type talker struct {
	frames  *xhttp2.Framer
	sent    bytes.Buffer
	encoder *hpack.Encoder
	block   bytes.Buffer
}

// newTalk begins a conversation with the prefaces of both ends.
func newTalk() *talk {
	t := new(talk)
	for d := range t.ends {
		e := &t.ends[d]
		e.frames = xhttp2.NewFramer(&e.sent, nil)
		e.frames.AllowIllegalWrites = true
		e.encoder = hpack.NewEncoder(&e.block)
	}
	t.ends[0].sent.WriteString(preface)
	t.client().WriteSettings()
	t.say(0)
	t.server().WriteSettings()
	t.server().WriteSettingsAck()
	t.say(1)
	t.client().WriteSettingsAck()
	return t
}

func (t *talk) client() *xhttp2.Framer { return t.ends[0].frames }
func (t *talk) server() *xhttp2.Framer { return t.ends[1].frames }

// say makes a segment of what an end has sent since the last one.
func (t *talk) say(d proto.Direction) {
	b := t.ends[d].sent.Bytes()
	if len(b) == 0 {
		return
	}
	fmt.Fprintf(&t.script, "%s ", "><"[d:d+1])
	for _, c := range b {
		fmt.Fprintf(&t.script, `\x%02x`, c)
	}
	t.script.WriteByte('\n')
	t.ends[d].sent.Reset()
}

func (t *talk) line(text string) {
	t.say(0)
	t.say(1)
	t.script.WriteString(text + "\n")
}

// encode encodes fields, given as names and values in turn. A name with ! in front is never indexed, with - not this time.
func (t *talk) encode(d proto.Direction, fields ...string) []byte {
	e := &t.ends[d]
	e.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		e.encoder.WriteField(hpack.HeaderField{Name: strings.TrimPrefix(fields[i], "!"), Value: fields[i+1], Sensitive: fields[i][0] == '!'})
	}
	return bytes.Clone(e.block.Bytes())
}

// head sends HEADERS.
func (t *talk) head(d proto.Direction, stream uint32, fin bool, fields ...string) {
	t.ends[d].frames.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: t.encode(d, fields...), EndStream: fin, EndHeaders: true})
}

// get sends a request without a body.
func (t *talk) get(stream uint32, path string) {
	t.head(0, stream, true, ":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", path)
	t.say(0)
}

// answer sends a response with a body.
func (t *talk) answer(stream uint32, status, body string) {
	t.head(1, stream, body == "", ":status", status, "content-type", "text/plain")
	if body != "" {
		t.server().WriteData(stream, true, []byte(body))
	}
	t.say(1)
}

func (t *talk) text() string {
	t.say(0)
	t.say(1)
	return t.script.String()
}
