// Package proto is the contract between the transport and the protocols: what a parser is given,
// what it answers, and the messages it emits. It knows no protocol.
package proto

import (
	"github.com/culprit-http/culprit/internal/clock"
)

// Direction says who sent something: the originator of the connection or its responder. Both are
// observed facts; client and server are conclusions, and may be the other way round when a capture
// starts mid-stream.
type Direction uint8

// The two directions.
const (
	Originator Direction = iota
	Responder
)

// Other returns the opposite direction.
func (d Direction) Other() Direction { return d ^ 1 }

func (d Direction) String() string {
	if d == Originator {
		return "originator"
	}
	return "responder"
}

// CloseReason says why a half-stream ended.
type CloseReason uint8

// The reasons for which a half-stream ends.
const (
	// Open: it hasn't ended.
	Open CloseReason = iota
	// Finished: its sender closed it with a FIN.
	Finished
	// Reset: either side sent a RST.
	Reset
	// Replaced: a new connection took over the same addresses and ports.
	Replaced
	// TimedOut: nothing was seen for the connection timeout.
	TimedOut
	// Evicted: the memory budget needed the space.
	Evicted
	// CaptureEnded: the input ended while the connection was open.
	CaptureEnded
	// StreamReset: the stream that carried it was given up, while its connection may go on; see Sink.Abort. It is why a
	// message ended, never a connection.
	StreamReset
)

var closeNames = [...]string{"open", "fin", "rst", "replaced", "timeout", "evicted", "capture-ended", "stream-reset"}

func (r CloseReason) String() string { return closeNames[r] }

// Action is a parser's answer to data.
type Action uint8

// The answers of a parser.
const (
	// Continue: the bytes were taken; go on.
	Continue Action = iota
	// Stop: no further Data and Gap; the bytes of the connection are still counted.
	Stop
	// Handover: the parser took Consumed bytes; detection takes the rest of the connection.
	Handover
)

// Verdict is what a parser answers to Data.
type Verdict struct {
	Action Action
	// Consumed is how many bytes of the call's data the parser took before a Handover.
	Consumed int
	// Hint names the protocol that the parser expects to follow a Handover, if it knows.
	Hint string
	// Early are bytes of the other direction that came before the Handover was agreed and belong to
	// what follows; EarlyAt marks the first. Borrowed, like a message.
	Early   []byte
	EarlyAt clock.Mark
	// EarlyLost: bytes of the other direction are missing or were too many to keep.
	EarlyLost bool
}

// Parser takes the bytes of one connection apart into messages. It does no I/O, starts no goroutine,
// reads no clock and writes no log.
//
// The calls of one direction come in the order of its bytes; the two directions are interleaved so
// that bytes are delivered after the bytes that their sender had acknowledged, where both were
// captured. Calls are never concurrent. After a verdict of Stop only Close is called; after a Handover
// nothing is. After Close of a direction there is no Data or Gap in it.
type Parser interface {
	// Data delivers bytes. b is borrowed until return: whoever keeps, copies. at is the arrival of
	// the segment that carried b[0], never the time of its release from the reordering window.
	Data(d Direction, b []byte, at clock.Mark) Verdict
	// Gap says that n bytes are missing: they weren't captured, or couldn't be decrypted. n is Unknown when it can't be told
	// how many.
	Gap(d Direction, n int64, at clock.Mark)
	// Close says that a direction has ended. The other may go on (half-close).
	Close(d Direction, at clock.Mark, why CloseReason)
}

// Datagrams takes the datagrams of one flow apart into messages, under the rules of Parser.
type Datagrams interface {
	// Datagram delivers one datagram. b is borrowed until return; it lacks what the snap length cut off, which is why it may be
	// shorter than size. at marks it: its offset counts what the direction has sent before.
	Datagram(d Direction, b []byte, size int, at clock.Mark)
	// Close says that the flow is over.
	Close(at clock.Mark, why CloseReason)
}

// Unknown is the length of a gap that isn't known.
const Unknown = -1

// Match is a probe's opinion of the first bytes of a half-stream.
type Match uint8

// A probe's opinions.
const (
	No Match = iota
	NeedMore
	Yes
)

// Role is the part that the sender of probed bytes plays.
type Role uint8

// The roles of a sender.
const (
	AnyRole Role = iota
	Client
	Server
)

// Protocol describes a protocol to detection.
type Protocol struct {
	// Name is the name users see: lower case, as ECS network.protocol has it.
	Name string
	// Probe looks at the first bytes that one side sent, and says whether they are this protocol,
	// and who sends them. It must be cheap and must not keep b. It looks at 1,024 bytes at most.
	Probe func(b []byte) (Match, Role)
	// ProbeBoth is asked too once both sides have sent something, for what the first line of neither tells alone: of asked, the first
	// bytes of who spoke first, and of answered, those of the other, at most 2,048 of each. Yes: who spoke first is the client; No: it
	// isn't this protocol, whatever Probe says; NeedMore leaves it to Probe. Without answered, Yes says no more than that asked may
	// be a request: on Port, which is the protocol's registered port, that decides where nothing else does. Nil: Probe tells all.
	ProbeBoth func(asked, answered []byte) Match
	Port      uint16
	// Resume is Probe for the start of a segment in the middle of a stream: after a gap, or when the
	// capture started late. It must be sure: a body may hold anything. Nil: the protocol can't be
	// picked up mid-stream.
	Resume func(b []byte) (Match, Role)
	// ResumeHinted is Resume where the user says that the connection speaks the protocol, so that what is plausible is enough. Nil: no less
	// than Resume will do.
	ResumeHinted func(b []byte) (Match, Role)
	// New makes a parser. Nil: the protocol is only recognised, and counted as ignored.
	New func(c *Context) Parser
	// ProbeDatagram looks at one datagram and its ports, and says whether it is this protocol, and who sends it; it never needs
	// more. It must be cheap, and must not keep b. NewDatagrams makes what takes the datagrams of a flow. Nil: the protocol
	// doesn't go over datagrams.
	ProbeDatagram func(b []byte, src, dst uint16) (Match, Role)
	NewDatagrams  func(c *Context) Datagrams
	// Pairing says how its messages become exchanges.
	Pairing Pairing
	// Upgrades: what was only recognised may turn into TLS in the middle (STARTTLS and the like).
	Upgrades bool
}

// Pairing says how the messages of a protocol become exchanges.
type Pairing uint8

// The ways of pairing.
const (
	// InOrder: the nth response answers the nth request.
	InOrder Pairing = iota
	// ByStream: a response answers the request of its Message.Stream.
	ByStream
	// AsSession: all messages are of kind Event, and make one exchange, which ends with the connection or the stream.
	AsSession
	// Wrapper: the protocol has no messages of its own; it carries another, and tells of its session (Sink.Session).
	Wrapper
)

// Context is what a parser gets at construction. The pointers stay valid as long as the parser.
type Context struct {
	// Client is the direction that sends requests.
	Client Direction
	// Resumed is set when the parser begins in the middle of a half-stream rather than at its start.
	Resumed bool
	// Sink takes the messages.
	Sink Sink
	// Limits are the limits in force.
	Limits *Limits
	// Held counts the bytes that the parsers of a shard keep. A parser adds what it buffers and
	// subtracts it when it lets go, at the latest at Close.
	Held *int
	// Spare is a parser of the same protocol whose connection is over, for New to use again, or nil.
	Spare Parser
	// SpareDatagrams is the same for NewDatagrams.
	SpareDatagrams Datagrams
	// Shared is where the parsers of a protocol keep what they share within a shard, where they are called one after the other:
	// what they need during a call alone. The first sets it. Nil: nothing is shared.
	Shared *any
	// Group: the datagrams go to a group (multicast), so that who answers does it on a flow of its own.
	Group bool
	// Prior is the response that handed the connection over to this protocol, nil when there was none or it isn't known. It is
	// borrowed until New returns.
	Prior *Message
	// Nest returns what takes the bytes of a connection within this one: detection, and then the parser that it chooses.
	Nest func(n Nested) Parser
}

// Nested describes a connection within another.
type Nested struct {
	// Stream is the stream that carries it, 0 when it is all that the outer connection carries.
	Stream uint64
	// Client is the direction that is expected to ask, and At marks the beginning.
	Client Direction
	At     clock.Mark
	// Hint names the protocol to expect, empty when nothing is known; see Protocol.Name.
	Hint string
}

// Limits bound what parsers keep for one connection.
type Limits struct {
	// MaxStreams is how many streams of a connection are followed at a time.
	MaxStreams int
	// MaxMessage is the largest message of a stream of messages (WebSocket, gRPC) that is put together or inflated, in bytes.
	MaxMessage int
	// MaxStatement is how many bytes of a statement or a command are kept, with its parameters.
	MaxStatement int
	// MaxHead is the largest message head (start line and headers, or trailers), in bytes.
	MaxHead int
	// MaxFields is the largest number of header fields that are kept of a message.
	MaxFields int
}

// Sink takes the messages of a parser. The engine that pairs requests with responses implements it.
//
// For each message a parser calls Head once, then Body any number of times, then End once. Heads
// come in the order of their first bytes within a direction; in protocols without stream ids the
// next Head of a direction comes after the End of the one before, but for interim responses. From Head to
// End m is the same pointer, and between calls of the parser it says how far the message has come: a sink may
// look at it then, but for Raw and what points into it.
type Sink interface {
	// Head says that the head of m is complete. For a response it returns what the request was that
	// it answers, as far as known, since its framing may depend on it. m is borrowed.
	Head(m *Message) Answers
	// Body adds captured bytes of the message's body, transfer-decoded. It is called only while
	// WantsBody is true. b is borrowed.
	Body(m *Message, b []byte)
	// WantsBody says whether the body of m is wanted, and how many more bytes.
	WantsBody(m *Message) int
	// End says that the message is over; m.End says how. m is borrowed. Its Raw, Fields and Facts now hold the
	// trailers, and the facts that weren't known before, alone.
	End(m *Message)
	// Lost says that bytes are missing, or weren't understood, that may have held whole messages or
	// the beginning of one: from here on, messages can't be paired by counting alone.
	Lost(d Direction, at clock.Mark)
	// Abort says that one side gave up a stream, in protocols that have streams. It is called after the End of the messages that were
	// open on the stream, which end as Cut with StreamReset.
	Abort(a *Abort)
	// Session tells of the TLS session that carries what follows, each time that more is known of it.
	Session(s *TLS)
	// Proxied tells what a proxy said of the connection that it passes on. p isn't changed any more.
	Proxied(p *Proxied)
}

// Abort says that a stream was given up, by whom and why.
type Abort struct {
	Stream uint64
	By     Direction
	// Code is the protocol's number of the reason, Name its name, such as CANCEL.
	Code uint32
	Name string
	// GoAway: the whole connection was, and this stream wasn't worked on.
	GoAway bool
	At     clock.Mark
}

// Answers says what kind of request a response answers.
type Answers uint8

// The kinds of request that matter to the framing of responses.
const (
	// AnswersUnknown: the request isn't known.
	AnswersUnknown Answers = iota
	// AnswersOrdinary: a request whose response is framed by its own headers.
	AnswersOrdinary
	// AnswersHEAD: the response has no body.
	AnswersHEAD
	// AnswersCONNECT: a 2xx response opens a tunnel.
	AnswersCONNECT
)

// Kind is the kind of a message.
type Kind uint8

// The kinds of message.
const (
	Request Kind = iota
	Response
	// Interim is a response that isn't the answer yet (HTTP 1xx).
	Interim
	// Event is a message that neither asks nor answers, such as one of a WebSocket. Its Method is its kind; Status and Reason are
	// those of a closing one.
	Event
)

// End says how a message ended.
type End uint8

// The ways in which a message ends.
const (
	// Unfinished: it hasn't ended.
	Unfinished End = iota
	// Whole: all of it was seen, but for missing bytes that are counted within its body.
	Whole
	// Broken: it was malformed beyond what the parser can follow, or a gap hid its end.
	Broken
	// Cut: the half-stream ended before the message did. CloseReason tells how.
	Cut
	// Upgraded: the connection was handed on to another protocol.
	Upgraded
)

// Span is a stretch of Message.Raw.
type Span struct{ Off, Len uint32 }

// Fact is something that a parser tells of a message beyond what all protocols have: a text, as a span of Message.Raw, or a
// number. Which names there are, and the fields of the document that show them, is in one table (exchange.Facts). A name may come
// more than once.
type Fact struct {
	Name   string
	Value  Span
	Number int64
}

// Names of facts that mean the same in every protocol.
const (
	// FactError is the code of an error. A response that has it says that the request failed.
	FactError = "error_code"
	// FactErrorText is what the server says of it.
	FactErrorText = "error_message"
)

// Field is a header field, or a trailer field, as spans of Message.Raw.
type Field struct {
	Name, Value Span
	// Flags tell trailers from headers.
	Flags FieldFlags
}

// FieldFlags are facts about a field.
type FieldFlags uint8

// The facts about a field.
const (
	// Trailer: the field came after the body.
	Trailer FieldFlags = 1 << iota
	// Folded: the value spans several lines (obs-fold, RFC 9112 §5.2), line ends included.
	Folded
	// Obscure: the name or the value couldn't be known, since the compression's state wasn't captured; what isn't known is "?".
	Obscure
	// Sensitive: the sender forbade to index it (RFC 7541 §7.1.3).
	Sensitive
)

// Framing says how the end of a body is known (RFC 9112 §6.3).
type Framing uint8

// The framings.
const (
	NoBody Framing = iota
	ByLength
	Chunked
	UntilClose
	// UntilStreamEnd: the last frame of the stream says that it is (RFC 9113 §8.1).
	UntilStreamEnd
	Tunnel
	// Rendered: what Sink.Body gets is a text that the parser makes of what was sent, and has another length.
	Rendered
)

var framingNames = [...]string{"none", "length", "chunked", "close", "stream", "tunnel", "rendered"}

func (f Framing) String() string { return framingNames[f] }

// Message is one message of a protocol: a request, a response, or an interim response. A parser
// reuses one for all messages of a direction; who keeps it, copies it (CopyFrom).
type Message struct {
	// Kind, Dir and Stream say what it is. Stream is 0 in protocols without streams.
	Kind   Kind
	Dir    Direction
	Stream uint64
	// End says how the message ended, and Close why, when the half-stream ended first.
	End   End
	Close CloseReason

	// First and Last mark the first and the last byte of the message.
	First, Last clock.Mark
	// Size is how many bytes of the half-stream the message took, head and framing included.
	Size int64

	// Raw is the head as sent, or, in protocols whose heads aren't text, the texts that the parser made of it; once an exchange holds the message, with the trailers, if any, behind
	// it. Method to Reason and Fields are spans of it.
	Raw    []byte
	Method Span
	// Target is the request target exactly as sent.
	Target Span
	// Proto is the version as sent, such as "HTTP/1.1".
	Proto  Span
	Reason Span
	Fields []Field
	// Facts are what the parser tells beyond that.
	Facts []Fact
	// Status is the status code of a response.
	Status int
	// Version is major<<8 | minor; 0x0009 is HTTP/0.9.
	Version uint16

	// HeadSize is the length of the head, with its final empty line.
	HeadSize int64
	// Framing says how the body's end is known. Length is the announced length, -1 when none is.
	Framing Framing
	Length  int64
	// BodyBytes is the length of the body after transfer-decoding, as far as seen, missing bytes
	// within it included. MissingBytes of it weren't captured.
	BodyBytes    int64
	MissingBytes int64
	// Chunks counts the chunks of a chunked body, the last one excepted.
	Chunks int64
	// Parts are the messages that the body consists of, where it is a stream of them (gRPC, event streams, WebSocket).
	Parts Parts
	// OneWay: a request that nobody answers, or a response that nobody asked for: an exchange by itself.
	OneWay bool
	// Blocks: the answer to the request waits for an event, so that its duration says nothing of the server's speed.
	Blocks bool
	// Greeting is when the server, which speaks first, greeted the client that sends the request: it could be sent from then on. In
	// nanoseconds since 1970, 0 where the server doesn't speak first, or that wasn't seen.
	Greeting int64
	// Again: the request of its stream is sent once more, since no answer came.
	Again bool
	// Pushed: the server promised the request of its own accord (RFC 9113 §8.4).
	Pushed bool
	// Stalled is how long the sender had to wait for the receiver to open its flow-control window, in nanoseconds, and Stalls how
	// often, in protocols that have one.
	Stalled int64
	Stalls  int

	// Anomalies are the oddities found.
	Anomalies Anomalies
}

// Parts counts the messages that a body consists of: messages of a stream, rows of a result, documents, items.
type Parts struct {
	// Count is how many there are, Compressed how many of them came compressed.
	Count, Compressed int64
	// Bytes is their size without framing, Largest that of the largest, as sent.
	Bytes, Largest int64
	// First is the time of the first byte of the first, in nanoseconds since 1970, 0 where that isn't told.
	First int64
}

// Bytes returns the bytes of a span.
func (m *Message) Bytes(s Span) []byte { return m.Raw[s.Off : s.Off+s.Len] }

// Reset empties the message and keeps its memory.
func (m *Message) Reset() {
	*m = Message{Raw: m.Raw[:0], Fields: m.Fields[:0], Facts: m.Facts[:0], Length: -1}
}

// Say adds a fact that is a text, which it copies to the end of Raw.
func (m *Message) Say(name string, text []byte) {
	m.Facts = append(m.Facts, Fact{Name: name, Value: Span{Off: uint32(len(m.Raw)), Len: uint32(len(text))}})
	m.Raw = append(m.Raw, text...)
}

// Count adds a fact that is a number.
func (m *Message) Count(name string, n int64) {
	m.Facts = append(m.Facts, Fact{Name: name, Number: n})
}

// Fact returns the first fact of a name, nil when there is none.
func (m *Message) Fact(name string) *Fact {
	for i := range m.Facts {
		if m.Facts[i].Name == name {
			return &m.Facts[i]
		}
	}
	return nil
}

// FactText returns the text of the first fact of a name, nil when there is none.
func (m *Message) FactText(name string) []byte {
	if f := m.Fact(name); f != nil {
		return m.Bytes(f.Value)
	}
	return nil
}

// Finish takes from src, the same message at its End, what its Head didn't know: the body's size, how
// it ended, the trailers, and the facts.
func (m *Message) Finish(src *Message) {
	m.End, m.Close, m.Last, m.Size = src.End, src.Close, src.Last, src.Size
	m.Framing, m.BodyBytes, m.MissingBytes, m.Chunks = src.Framing, src.BodyBytes, src.MissingBytes, src.Chunks
	m.Parts, m.Stalled, m.Stalls = src.Parts, src.Stalled, src.Stalls
	m.Anomalies |= src.Anomalies
	m.Blocks = m.Blocks || src.Blocks
	if len(src.Fields) == 0 && len(src.Facts) == 0 {
		return
	}
	base := uint32(len(m.Raw))
	m.Raw = append(m.Raw, src.Raw...)
	for _, f := range src.Facts {
		f.Value.Off += base
		m.Facts = append(m.Facts, f)
	}
	for _, f := range src.Fields {
		f.Name.Off += base
		f.Value.Off += base
		m.Fields = append(m.Fields, f)
	}
}

// Progress takes from src, the same message while it is under way, how far it has come.
func (m *Message) Progress(src *Message) {
	m.Last, m.Size, m.BodyBytes, m.MissingBytes, m.Chunks = src.Last, src.Size, src.BodyBytes, src.MissingBytes, src.Chunks
	m.Parts, m.Stalled, m.Stalls = src.Parts, src.Stalled, src.Stalls
	m.Anomalies |= src.Anomalies
}

// CopyFrom makes m a copy of src that owns its memory.
func (m *Message) CopyFrom(src *Message) {
	raw, fields, facts := m.Raw[:0], m.Fields[:0], m.Facts[:0]
	*m = *src
	m.Raw = append(raw, src.Raw...)
	m.Fields = append(fields, src.Fields...)
	m.Facts = append(facts, src.Facts...)
}

// Field returns the value of the first header field of that lower-case name, nil when there is none.
// Trailers aren't searched (RFC 9110 §6.5.1).
func (m *Message) Field(name string) []byte {
	for i := range m.Fields {
		f := &m.Fields[i]
		if int(f.Name.Len) == len(name) && f.Flags&Trailer == 0 && EqualFold(m.Bytes(f.Name), name) {
			return m.Bytes(f.Value)
		}
	}
	return nil
}

// EqualFold reports whether b equals the lower-case ASCII string s, ignoring ASCII case.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}
