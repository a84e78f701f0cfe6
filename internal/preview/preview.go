// Package preview lays bodies out for reading, by their media type: JSON indented, forms and multipart listed, messages of
// gRPC and protobuf decoded, events listed, text as text; of anything else it says what it is.
//
// What it gives is plain text: whoever shows it escapes control characters. Bodies come redacted, and stay so: they are
// laid out as they are. What couldn't be searched before, since it was compressed or has the names of its members in a
// descriptor only, goes through Options.Redact once it is decoded.
package preview

import (
	"bytes"
	"path"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// The bounds of a preview, whatever the limits of the caller.
const (
	// MaxLines is the largest number of lines, MaxLine the longest, and MaxText the size of all, in bytes.
	MaxLines = 100_000
	MaxLine  = 1 << 20
	MaxText  = 16 << 20
	// MaxDepth is how deep JSON is indented: deeper, its indentation would outgrow the body by far.
	MaxDepth = 64
	// MaxNested is how deep protobuf messages within messages are decoded.
	MaxNested = 32
	// MaxInflated is how many bytes the compressed messages of a body are inflated to, taken together.
	MaxInflated = 1 << 20
	// MaxMessage is the largest JSON, in bytes, that a protobuf message is turned into: what comes after it is left out.
	MaxMessage = 1 << 20
)

// Limits bound one preview. Zero values stand for the largest there are, but for Columns.
type Limits struct {
	// Columns is the width to lay out for: JSON that fits stays on one line. 0: 80.
	Columns int
	// Lines is how many lines there may be, LineBytes how long each.
	Lines, LineBytes int
}

// Form is the way in which a body is shown.
type Form string

// The forms.
const (
	// None: there is no body, or nothing of it was kept.
	None Form = ""
	// Plain is text as it is.
	Plain Form = "text"
	JSON  Form = "json"
	// Pairs are the names and values of a form, Parts those of multipart.
	Pairs Form = "form"
	Parts Form = "multipart"
	// Messages are those of gRPC, or one of protobuf.
	Messages Form = "messages"
	Events   Form = "events"
	// Binary has no lines: the body is told of by the other members of Text.
	Binary Form = "binary"
)

// Text is a body as people read it.
type Text struct {
	Form Form
	// Lines are without line ends, and unescaped.
	Lines []string
	// Notes are remarks, each short enough for a line.
	Notes []string
	// Kind is what a binary body looks like (https://mimesniff.spec.whatwg.org), empty when that is nothing known.
	Kind string
	// SHA256 is the digest of what was kept of a binary body, in hexadecimal. Cut: that isn't all of it.
	SHA256 string
	Cut    bool
}

// Options say how bodies are decoded.
type Options struct {
	// Protosets describe messages of protobuf.
	Protosets []*Protoset
	// Redact hides the secrets of a text of a media type that is made of a body, application/json for one. It is called for
	// messages of gRPC and protobuf; nil: these aren't decoded, since nobody would hide their secrets. Where secrets are to
	// be seen, it returns the text as it is.
	Redact func(mediaType string, text []byte) []byte
}

// Previewer lays bodies out. It doesn't change, so that it is as safe for concurrent use as Options.Redact.
type Previewer struct{ o Options }

// New returns a Previewer.
func New(o Options) *Previewer { return &Previewer{o: o} }

// work is the preview at hand.
type work struct {
	*Previewer
	page
	x        *exchange.Exchange
	response bool
	m        *proto.Message
	b        *exchange.Body
	// inflated is how many bytes messages were inflated to so far, by decoder.
	inflated int
	decoder  body.Decoder
}

// layouts tell by media type how a body is shown; the first pattern that fits counts. Types that aren't here are shown by
// what the body looks like. Those that aren't text may hold anything.
var layouts = [...]struct {
	pattern string
	form    Form
	text    bool
	show    func(w *work)
}{
	{"application/grpc", Messages, false, (*work).grpc},
	{"application/grpc+*", Messages, false, (*work).grpc},
	{"application/grpc-web", Messages, false, (*work).grpc},
	{"application/grpc-web+*", Messages, false, (*work).grpc},
	{"application/grpc-web-text", Messages, false, (*work).grpcText},
	{"application/grpc-web-text+*", Messages, false, (*work).grpcText},
	{"application/json", JSON, true, (*work).json},
	{"*/*+json", JSON, true, (*work).json},
	{"text/json", JSON, true, (*work).json},
	{"application/x-ndjson", JSON, true, (*work).json},
	{"application/ndjson", JSON, true, (*work).json},
	{"application/jsonl", JSON, true, (*work).json},
	{"application/json-seq", JSON, true, (*work).json},
	{"application/json-rpc", JSON, true, (*work).json},
	{"application/x-www-form-urlencoded", Pairs, true, (*work).pairs},
	{"multipart/*", Parts, false, (*work).parts},
	{"text/event-stream", Events, true, (*work).events},
	{"application/protobuf", Messages, false, (*work).protobuf},
	{"application/x-protobuf", Messages, false, (*work).protobuf},
	{"application/vnd.google.protobuf", Messages, false, (*work).protobuf},
	{"application/x-google-protobuf", Messages, false, (*work).protobuf},
	{"text/*", Plain, true, (*work).plain},
	{"*/*+xml", Plain, true, (*work).plain},
	{"application/xml", Plain, true, (*work).plain},
	{"application/javascript", Plain, true, (*work).plain},
	{"application/graphql", Plain, true, (*work).plain},
}

// Preview lays out what was kept of the body of the request, or of the response.
func (p *Previewer) Preview(x *exchange.Exchange, response bool, o Limits) Text {
	w := &work{Previewer: p, page: newPage(o), x: x, response: response, m: &x.Request, b: &x.RequestBody}
	if response {
		w.m, w.b = &x.Response, &x.ResponseBody
	}
	if len(w.b.Bytes) == 0 {
		return Text{}
	}
	w.Cut = w.b.Cut || w.m.MissingBytes > 0
	mediaType := string(exchange.MediaType(w.m))
	for i := range layouts {
		l := &layouts[i]
		if ok, _ := path.Match(l.pattern, mediaType); !ok {
			continue
		}
		w.Form = l.form
		if w.b.Undecoded != "" || l.text && !isText(w.b.Bytes, true, w.b.Cut) {
			w.binary()
		} else {
			l.show(w)
		}
		return w.done()
	}
	if w.b.Undecoded == "" && isText(w.b.Bytes, false, w.b.Cut) {
		w.plain()
	} else {
		w.binary()
	}
	return w.done()
}

// plain shows text.
func (w *work) plain() {
	w.Form = Plain
	w.text("", w.b.Bytes)
}

// isText reports whether a body can be shown as text. One that is declared to be text may be in any charset, but holds no
// NUL; another must be UTF-8 without control characters, but for its last character when it was cut.
func isText(b []byte, declared, cut bool) bool {
	if declared {
		return bytes.IndexByte(b, 0) < 0
	}
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1:
			return cut && !utf8.FullRune(b)
		case r == 0x7f, r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f':
			return false
		}
		b = b[size:]
	}
	return true
}
