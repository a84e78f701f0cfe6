package prototest

import (
	"fmt"
	"strings"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// newRecorder returns a Recorder that wants so many bytes of each body. A parser that begins in the
// middle has lost the beginning.
func newRecorder(want int, resumed bool) *Recorder {
	r := &Recorder{want: want, open: make(map[lane]*openMessage), pending: make(map[uint64][]proto.Answers)}
	if resumed {
		r.lost = true
		r.events = append(r.events, event{kind: lost, text: "resumed"})
	}
	return r
}

// Recorder is a proto.Sink that writes down what a parser emits, and how the parser breaks the
// contract. It answers Head as if requests and responses were paired first in, first out.
type Recorder struct {
	// Breaches say how the parser broke the contract.
	Breaches []string

	// want is how many bytes of each body are wanted.
	want   int
	events []event
	open   map[lane]*openMessage
	// pending are the requests that have no response yet, of each stream.
	pending map[uint64][]proto.Answers
	// lost: pairs can't be counted any more.
	lost bool
}

// lane is where messages follow each other: a direction, or one stream of it.
type lane struct {
	dir    proto.Direction
	stream uint64
}

func (l lane) String() string {
	if l.stream == 0 {
		return "><"[l.dir : l.dir+1]
	}
	return fmt.Sprintf("%c%d", "><"[l.dir], l.stream)
}

func laneOf(m *proto.Message) lane { return lane{m.Dir, m.Stream} }

// openMessage is the message of a lane between its Head and its End.
type openMessage struct {
	m       *proto.Message
	kind    proto.Kind
	framing proto.Framing
	first   int64
	body    int64
}

// eventKind is what a parser did.
type eventKind uint8

const (
	head eventKind = iota
	body
	end
	lost
	verdict
	aborted
	proxied
)

// event is one thing that a parser did. text is all of it that must not depend on how the bytes were
// cut into segments; it holds no time and no packet.
type event struct {
	kind eventKind
	lane lane
	text string
	// start is the start line of a head.
	start string
	// first is the offset of the message, headSize the length of its head, size that of the message.
	first, headSize, size int64
	framing               proto.Framing
	missing               int64
	how                   proto.End
	why                   proto.CloseReason
}

// Text returns the record, canonically: what a parser emitted, whatever the segments were. Each
// direction has its sign. A head has a line for itself and one for each field, a body one line
// however many pieces it came in:
//
//	> request GET / HTTP/1.1 at 0 head 27 none
//	>   host: a
//	> end whole size 27 body 0
//	< response 200 HTTP/1.1 OK at 0 head 38 length 5
//	<   content-length: 5
//	< "hello"
//	< end whole size 43 body 5
func (r *Recorder) Text() string {
	var b strings.Builder
	for i := range r.events {
		b.WriteString(r.events[i].text)
		b.WriteByte('\n')
	}
	return b.String()
}

func (r *Recorder) breach(format string, args ...any) {
	const enough = 10
	if len(r.Breaches) < enough {
		r.Breaches = append(r.Breaches, fmt.Sprintf(format, args...))
	}
}

var (
	kindNames = [...]string{proto.Request: "request", proto.Response: "response", proto.Interim: "interim", proto.Event: "event"}
	endNames  = [...]string{
		proto.Unfinished: "unfinished", proto.Whole: "whole", proto.Broken: "broken", proto.Cut: "cut", proto.Upgraded: "upgraded",
	}
)

// Head implements proto.Sink.
func (r *Recorder) Head(m *proto.Message) proto.Answers {
	l := laneOf(m)
	if o := r.open[l]; o != nil && o.kind != proto.Interim && m.Kind != proto.Interim {
		r.breach("%s Head of a %s before the End of the %s before it", l, kindNames[m.Kind], kindNames[o.kind])
	}
	r.open[l] = &openMessage{m: m, kind: m.Kind, framing: m.Framing, first: m.First.Offset}
	e := event{kind: head, lane: l, first: m.First.Offset, headSize: m.HeadSize, framing: m.Framing}
	words := []string{kindNames[m.Kind]}
	if m.Kind != proto.Request {
		words = append(words, fmt.Sprint(m.Status))
	}
	for _, flag := range [...]struct {
		set  bool
		name string
	}{{m.OneWay, "one-way"}, {m.Blocks, "blocks"}, {m.Again, "again"}} {
		if flag.set {
			words = append(words, flag.name)
		}
	}
	for _, span := range [...]proto.Span{m.Method, m.Target, m.Proto, m.Reason} {
		if b := r.span(m, span); len(b) > 0 {
			words = append(words, quote(b))
		}
	}
	e.start = strings.Join(words, " ")
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s at %d head %d %s", l, e.start, m.First.Offset, m.HeadSize, m.Framing)
	if m.Framing == proto.ByLength {
		fmt.Fprintf(&b, " %d", m.Length)
	}
	b.WriteString(anomalies(m.Anomalies))
	r.fields(&b, m)
	e.text = b.String()
	r.events = append(r.events, e)
	if m.End != proto.Unfinished {
		r.breach("Head of a message that has ended: %s", e.text)
	}
	return r.answers(m)
}

// answers pairs first in, first out.
func (r *Recorder) answers(m *proto.Message) proto.Answers {
	if m.Kind == proto.Request {
		a := proto.AnswersOrdinary
		switch string(r.span(m, m.Method)) {
		case "HEAD":
			a = proto.AnswersHEAD
		case "CONNECT":
			a = proto.AnswersCONNECT
		}
		r.pending[m.Stream] = append(r.pending[m.Stream], a)
		return proto.AnswersUnknown
	}
	pending := r.pending[m.Stream]
	if r.lost || len(pending) == 0 {
		return proto.AnswersUnknown
	}
	if m.Kind == proto.Response {
		r.pending[m.Stream] = pending[1:]
	}
	return pending[0]
}

// WantsBody implements proto.Sink.
func (r *Recorder) WantsBody(m *proto.Message) int {
	o := r.open[laneOf(m)]
	if o == nil {
		r.breach("WantsBody without Head")
		return 0
	}
	return max(r.want-int(o.body), 0)
}

// Body implements proto.Sink.
func (r *Recorder) Body(m *proto.Message, b []byte) {
	l := laneOf(m)
	o := r.open[l]
	switch {
	case o == nil || o.m != m:
		r.breach("%s Body without Head", l)
		return
	case r.WantsBody(m) < len(b):
		r.breach("Body of %d bytes, wanted were %d", len(b), r.WantsBody(m))
	case len(b) == 0:
		return
	}
	o.body += int64(len(b))
	if n := len(r.events); n > 0 && r.events[n-1].kind == body && r.events[n-1].lane == l {
		// A body comes in as many pieces as there are segments.
		last := &r.events[n-1]
		last.text = last.text[:len(last.text)-1] + quote(b) + `"`
		return
	}
	r.events = append(r.events, event{kind: body, lane: l, text: fmt.Sprintf(`%s "%s"`, l, quote(b))})
}

// End implements proto.Sink.
func (r *Recorder) End(m *proto.Message) {
	l := laneOf(m)
	o := r.open[l]
	if o == nil || o.m != m {
		r.breach("%s End without Head", l)
		return
	}
	delete(r.open, l)
	switch captured := m.BodyBytes - m.MissingBytes; {
	case m.End == proto.Unfinished:
		r.breach("End of a message that is unfinished")
	case (m.End == proto.Cut) != (m.Close != proto.Open):
		r.breach("a message ended %s by %s", endNames[m.End], m.Close)
	case m.First.Offset != o.first:
		r.breach("First moved from %d to %d between Head and End", o.first, m.First.Offset)
	case m.MissingBytes == 0 && m.Framing != proto.Rendered && o.body != min(captured, int64(r.want)):
		r.breach("a body of %d bytes was handed out with %d, wanted were %d", captured, o.body, r.want)
	case m.Size < m.HeadSize:
		r.breach("a message of %d bytes with a head of %d", m.Size, m.HeadSize)
	case m.Last.Offset < m.First.Offset:
		r.breach("Last %d before First %d", m.Last.Offset, m.First.Offset)
	}
	e := event{kind: end, lane: l, first: o.first, framing: o.framing, size: m.Size, missing: m.MissingBytes, how: m.End, why: m.Close}
	var b strings.Builder
	fmt.Fprintf(&b, "%s end %s size %d body %d", l, endNames[m.End], m.Size, m.BodyBytes)
	if m.Close != proto.Open {
		fmt.Fprintf(&b, " %s", m.Close)
	}
	if m.Chunks > 0 {
		fmt.Fprintf(&b, " chunks %d", m.Chunks)
	}
	if m.Framing == proto.Rendered && m.Parts.Count > 0 {
		fmt.Fprintf(&b, " parts %d of %d largest %d", m.Parts.Count, m.Parts.Bytes, m.Parts.Largest)
	}
	b.WriteString(anomalies(m.Anomalies))
	if len(m.Facts) == 0 && len(m.Fields) == 0 && len(m.Raw) > 0 || len(m.Fields) > 0 && m.Fields[0].Flags&proto.Trailer == 0 {
		r.breach("at End the message has but its trailers, and this one still has its head")
	}
	r.fields(&b, m)
	if m.MissingBytes > 0 {
		b.WriteString(missing(m.MissingBytes))
	}
	e.text = b.String()
	r.events = append(r.events, e)
}

// Abort implements proto.Sink.
func (r *Recorder) Abort(a *proto.Abort) {
	for _, d := range [...]proto.Direction{proto.Originator, proto.Responder} {
		if o := r.open[lane{d, a.Stream}]; o != nil && o.kind != proto.Interim {
			r.breach("stream %d was given up before the End of its %s", a.Stream, kindNames[o.kind])
		}
	}
	text := fmt.Sprintf("abort %d by %s %s", a.Stream, a.By, a.Name)
	if a.GoAway {
		text += " goaway"
	}
	r.events = append(r.events, event{kind: aborted, lane: lane{a.By, a.Stream}, text: text})
}

// Session implements proto.Sink: a session isn't part of what was said.
func (r *Recorder) Session(*proto.TLS) {}

// Proxied implements proto.Sink.
func (r *Recorder) Proxied(p *proto.Proxied) {
	r.events = append(r.events, event{kind: proxied, text: fmt.Sprintf("proxied %d %s %s %s", p.Version, p.Transport, p.Client, p.Server)})
}

// Lost implements proto.Sink.
func (r *Recorder) Lost(d proto.Direction, at clock.Mark) {
	r.lost = true
	r.events = append(r.events, event{kind: lost, lane: lane{dir: d}, text: lane{dir: d}.String() + " lost"})
}

// finish checks what must hold when there are no further calls.
func (r *Recorder) finish() {
	for l, o := range r.open {
		r.breach("%s a %s never ended", l, kindNames[o.kind])
	}
}

// missing is how the text of an End tells of missing bytes.
func missing(n int64) string { return fmt.Sprintf(" missing %d", n) }

// span returns the bytes of a span, which must lie within Raw.
func (r *Recorder) span(m *proto.Message, s proto.Span) []byte {
	if uint64(s.Off)+uint64(s.Len) > uint64(len(m.Raw)) {
		r.breach("span %d+%d lies outside Raw, which has %d bytes", s.Off, s.Len, len(m.Raw))
		return nil
	}
	return m.Bytes(s)
}

func (r *Recorder) fields(b *strings.Builder, m *proto.Message) {
	for i := range m.Fields {
		f := &m.Fields[i]
		fmt.Fprintf(b, "\n%s   %s: %s", laneOf(m), quote(r.span(m, f.Name)), quote(r.span(m, f.Value)))
	}
	for i := range m.Facts {
		f := &m.Facts[i]
		if f.Value.Len == 0 && f.Number != 0 {
			fmt.Fprintf(b, "\n%s   %s = %d", laneOf(m), f.Name, f.Number)
		} else {
			fmt.Fprintf(b, "\n%s   %s = %s", laneOf(m), f.Name, quote(r.span(m, f.Value)))
		}
	}
}

// quote escapes what isn't printable ASCII, byte by byte, so that text quoted in pieces reads like text quoted
// whole.
func quote(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		switch {
		case c == '\\':
			s.WriteString(`\\`)
		case c == '\r':
			s.WriteString(`\r`)
		case c == '\n':
			s.WriteString(`\n`)
		case c == '\t':
			s.WriteString(`\t`)
		case c < ' ' || c > '~':
			fmt.Fprintf(&s, `\x%02x`, c)
		default:
			s.WriteByte(c)
		}
	}
	return s.String()
}

func anomalies(a proto.Anomalies) string {
	var names []string
	a.Each(func(a proto.Anomaly) { names = append(names, a.String()) })
	if names == nil {
		return ""
	}
	return " [" + strings.Join(names, " ") + "]"
}
