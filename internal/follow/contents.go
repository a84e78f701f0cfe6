package follow

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Contents says which messages are told of, beside half-streams, and how much of them.
type Contents uint8

// What there is to choose from.
const (
	// Heads: where the messages of HTTP begin and end.
	Heads Contents = 1 << iota
	// Bodies: these, and their bodies.
	Bodies
	// Sessions: the messages of sessions such as WebSocket, with what they say. Compressed ones are inflated, which isn't done otherwise.
	Sessions
)

const (
	// MaxText is how many bytes are kept of each text of a Message.
	MaxText = 8 << 10
	// messageSize is what a message that is under way is estimated to take, beside its texts.
	messageSize = 512
	// wantsAll is how much of a body is wanted at a time.
	wantsAll = 1 << 30
)

// Sink is a proto.Sink before another one, which it hides nothing from: it makes chunks of the messages that pass, and of bodies that the
// one behind it doesn't want. Parsers call it for each message as they would call that one, and with the same results.
type Sink struct {
	// The one behind it, which takes Abort, Session and Proxied.
	proto.Sink
	writer   *Writer
	flow     *proto.Flow
	protocol string
	// inner: the messages were decrypted. bodies: so are their bodies wanted. streams: the protocol has streams, so that several messages
	// of a direction are under way at a time, and a loss may be any one's.
	inner, bodies, streams bool
	// want is how much of the body the one behind it wants, by its last answer.
	want int
	// open are the messages under way. last is the one of each direction that was looked up last.
	open map[*proto.Message]*Message
	last [2]*Message
}

// Sink returns what stands before the sink of a parser of a protocol, which speaks on a connection: within TLS, if inner. bodies: the
// bodies of the messages are wanted, too.
func (w *Writer) Sink(f *proto.Flow, p *proto.Protocol, behind proto.Sink, inner, bodies bool) *Sink {
	return &Sink{Sink: behind, writer: w, flow: f, protocol: p.Name, inner: inner, bodies: bodies, streams: p.Pairing == proto.ByStream}
}

// Head implements proto.Sink.
func (s *Sink) Head(m *proto.Message) proto.Answers {
	answers := s.Sink.Head(m)
	if old := s.find(m); old != nil {
		s.end(old, proto.Broken, m.First) // a parser that forgets to say that a message is over has no say in what becomes of the next
	}
	o := s.message(m)
	if s.open == nil {
		s.open = map[*proto.Message]*Message{}
	}
	s.open[m], s.last[m.Dir] = o, o
	*s.writer.Held += o.held
	s.show(o, Chunk{Step: Begin, At: m.First})
	return answers
}

// WantsBody implements proto.Sink.
func (s *Sink) WantsBody(m *proto.Message) int {
	s.want = s.Sink.WantsBody(m)
	if s.bodies {
		return wantsAll
	}
	return s.want
}

// Body implements proto.Sink.
func (s *Sink) Body(m *proto.Message, b []byte) {
	if n := min(s.want, len(b)); n > 0 {
		s.Sink.Body(m, b[:n])
		s.want -= n
	}
	if !s.bodies {
		return
	}
	o := s.find(m)
	if o == nil {
		return
	}
	s.miss(o, m)
	at := m.Last // it has just come
	at.Offset = max(at.Offset-int64(len(b)-1), m.First.Offset)
	s.show(o, Chunk{Step: Body, At: at, Data: b})
}

// End implements proto.Sink.
func (s *Sink) End(m *proto.Message) {
	s.Sink.End(m)
	o := s.find(m)
	if o == nil {
		return
	}
	s.miss(o, m)
	s.end(o, m.End, m.Last)
}

// Lost implements proto.Sink. Where there are streams, what is missing may be of any body that is under way.
func (s *Sink) Lost(d proto.Direction, at clock.Mark) {
	s.Sink.Lost(d, at)
	if !s.streams || !s.bodies {
		return
	}
	for _, o := range s.underWay() {
		if o.Dir == d && o.of.Framing != proto.NoBody {
			o.lost, o.missing = true, o.of.MissingBytes
			s.show(o, Chunk{Step: Body, At: at, Gap: proto.Unknown})
		}
	}
}

// Closed ends what is still under way, since no more is going to come of it.
func (s *Sink) Closed(at clock.Mark) {
	for _, o := range s.underWay() {
		s.end(o, proto.Cut, at)
	}
}

// underWay are the messages under way, in the order in which they began.
func (s *Sink) underWay() []*Message {
	if len(s.open) == 0 {
		return nil
	}
	all := make([]*Message, 0, len(s.open))
	for _, o := range s.open {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *Message) int { return cmp.Compare(a.nth, b.nth) })
	return all
}

// find returns the message under way that stands for m, nil if there is none.
func (s *Sink) find(m *proto.Message) *Message {
	if o := s.last[m.Dir]; o != nil && o.of == m {
		return o
	}
	o := s.open[m]
	if o != nil {
		s.last[m.Dir] = o
	}
	return o
}

// miss tells of bytes of a body that are missing before what comes now, or before the end.
func (s *Sink) miss(o *Message, m *proto.Message) {
	n := m.MissingBytes - o.missing
	o.missing = m.MissingBytes
	if n <= 0 || !s.bodies || o.lost && m.End != proto.Unfinished {
		return // what is added up at the end was told of when it was lost
	}
	if s.streams && n == 1 {
		n = proto.Unknown // parsers of such protocols count one byte for a hole of unknown length, until they know more
	}
	s.show(o, Chunk{Step: Body, At: m.Last, Gap: n})
}

// end ends a message.
func (s *Sink) end(o *Message, how proto.End, at clock.Mark) {
	delete(s.open, o.of)
	if s.last[o.Dir] == o {
		s.last[o.Dir] = nil
	}
	*s.writer.Held -= o.held
	o.of = nil
	o.Ended, o.Last = how, at
	s.show(o, Chunk{Step: End, At: at})
}

// show gives a chunk of a message to who follows.
func (s *Sink) show(o *Message, c Chunk) {
	w := s.writer
	c.Flow, c.Tap, c.Dir, c.Inner, c.Message, c.seq = s.flow, w.Tap(c.At.Tap), o.Dir, s.inner, o, w.Seq
	w.add(c)
}

// The header fields of which a Message has the values, and the pseudo-header of HTTP/2 that stands for one.
const (
	fieldType        = "content-type"
	fieldCoding      = "content-encoding"
	fieldDisposition = "content-disposition"
	fieldMessages    = "grpc-encoding"
	fieldHost        = "host"
	fieldAuthority   = ":authority"
)

// message makes what is told of a message. Its texts are one string, in pieces.
func (s *Sink) message(m *proto.Message) *Message {
	w := s.writer
	w.nth++
	o := &Message{Protocol: s.protocol, Stream: m.Stream, Kind: m.Kind, Dir: m.Dir, First: m.First, Status: m.Status, of: m, nth: w.nth}
	authority := m.Field(fieldAuthority)
	if authority == nil {
		authority = m.Field(fieldHost)
	}
	values := [...][]byte{m.Bytes(m.Method), m.Bytes(m.Target), authority, m.Field(fieldType), codings(m), m.Field(fieldDisposition), m.Field(fieldMessages)}
	text := w.text[:0]
	var ends [len(values)]int
	for i, v := range values {
		text = append(text, v[:min(len(v), MaxText)]...)
		ends[i] = len(text)
	}
	w.text = text
	all, from := string(text), 0
	for i, to := range [...]*string{&o.Method, &o.Target, &o.Authority, &o.Type, &o.Coding, &o.Disposition, &o.MessageCoding} {
		*to, from = all[from:ends[i]], ends[i]
	}
	o.held = messageSize + len(all)
	return o
}

// codings returns the values of all Content-Encoding headers, joined by commas (RFC 9110 §5.3).
func codings(m *proto.Message) []byte {
	var all [][]byte
	var first []byte
	for i := range m.Fields {
		f := &m.Fields[i]
		if int(f.Name.Len) != len(fieldCoding) || f.Flags&proto.Trailer != 0 || !proto.EqualFold(m.Bytes(f.Name), fieldCoding) {
			continue
		}
		v := m.Bytes(f.Value)
		switch {
		case first == nil:
			first = v
		case all == nil:
			all = [][]byte{first, v}
		default:
			all = append(all, v)
		}
	}
	if all == nil {
		return first
	}
	return bytes.Join(all, []byte(","))
}
