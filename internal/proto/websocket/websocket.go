// Package websocket takes the messages of a WebSocket apart (RFC 6455), compressed ones too (permessage-deflate, RFC 7692).
// It is reached by what the handshake turns a connection, or a stream of HTTP/2, into.
//
// # Theory of operation
//
// Each direction is a small machine:
//
//	          +----------------------------------------------+
//	          v                                              |
//	start -> header -> payload, until its length is reached -+
//
//	header  --(gap)------------------------------> lost
//	payload --(gap that goes beyond it)----------> lost
//	lost    --(segments that surely are frames)--> header
//	header  --(a length that can't be)-----------> dead
//
// A message consists of a frame of its kind and of continuation frames, up to one that is final. Control frames (ping, pong,
// close) may come between them. So a direction has two lanes: data messages have Message.Stream 0, control messages have Control.
//
// What a message tells, beyond what proto.Message says of each field:
//
//   - Kind is proto.Event, and Method one of text, binary, ping, pong, close; or continuation, of which the beginning wasn't
//     seen; or reserved, whose opcode has no meaning.
//   - A data message of one frame that isn't compressed is framed by length; others are chunked, and their frames are the chunks.
//   - A close message is all head: Status and Reason are what it says. It is emitted when it has come whole.
//   - Parts tell of data messages alone. Count is 1, and Bytes the payload as sent.
//   - BodyBytes is the payload as sent. Of a compressed message that is wanted it is what inflating it gave, once it has ended
//     without a gap.
//
// A compressed message is put together, bounded by a limit, and inflated at its end, if somebody wants its body; others are
// counted. What it may refer to are the last 32 KiB of the messages before it. Where these aren't known, after a gap or a message
// that nobody wanted, a message is inflated as far as it refers to nothing that isn't.
package websocket

import (
	"bytes"
	"io"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes WebSocket to detection.
var Protocol = proto.Protocol{Name: "websocket", Probe: Probe, New: New, Pairing: proto.AsSession}

// Control is the Message.Stream of control messages, which may come in the midst of a data message.
const Control = 1

// Probe implements proto.Protocol. A WebSocket begins with an HTTP handshake, which names it; its frames can't be told from
// other bytes.
func Probe([]byte) (proto.Match, proto.Role) { return proto.No, proto.AnyRole }

// Bounds that aren't worth a setting.
const (
	// maxControl is the largest payload of a control frame (RFC 6455 §5.5).
	maxControl = 125
	// scratchSize is how much is unmasked or inflated at a time.
	scratchSize = 4 << 10
	// keepPayload is the largest buffer for compressed messages that a side keeps between them.
	keepPayload = 4 << 10
)

type state uint8

const (
	stateHeader state = iota
	statePayload
	stateLost
	stateDead // what came can't be followed, and nothing behind it can
)

// Parser takes one connection apart. See the package comment.
type Parser struct {
	sink    proto.Sink
	limits  *proto.Limits
	held    *int
	client  proto.Direction
	deflate bool // permessage-deflate is in use, or may be
	foreign bool // so is an extension that isn't known here
	closed  [2]bool
	sides   [2]side

	// scratch, inflater and compressed are shared by both directions, and made when they are needed.
	scratch    []byte
	inflater   io.ReadCloser
	compressed bytes.Reader
}

// side is the state of one direction.
type side struct {
	state state
	// masked: frames of this direction are to be masked.
	masked bool
	// holed: bytes were lost, so what they began is continued without a beginning.
	holed bool
	// over: a close frame has come, behind which nothing may.
	over bool
	// credit counts the frames that the last segments seem to consist of, while the side is lost.
	credit int

	// head collects a frame header that comes in pieces; its first byte is at headAt, and the last to arrive at headLast.
	head            [maxHeader]byte
	headLen         int
	headAt, headEnd clock.Mark

	// frame is the header of the frame whose payload is read, pos the position in it, and msg its message.
	frame header
	pos   int64
	msg   *proto.Message

	// data is the data message, which is open between its frames; control is the control message.
	data, control proto.Message
	open          bool
	// check looks whether a text is UTF-8, as far as it was handed out; given is how far that is.
	check utf8Check
	given int64
	text  bool
	// deflated: the data message is compressed. Its payload is collected while wanted; partial: that isn't all of it.
	deflated, wanted, partial bool
	payload                   []byte
	window                    window
	// closing collects the payload of a close frame.
	closing    [maxControl]byte
	closingLen int
}

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = new(Parser)
	}
	raws := [2][2][]byte{{p.sides[0].data.Raw, p.sides[0].control.Raw}, {p.sides[1].data.Raw, p.sides[1].control.Raw}}
	x := negotiated(c.Prior)
	*p = Parser{sink: c.Sink, limits: c.Limits, held: c.Held, client: c.Client, deflate: x.deflate, foreign: x.foreign}
	for d := range p.sides {
		s := &p.sides[d]
		s.masked = proto.Direction(d) == c.Client
		s.data.Dir, s.control.Dir = proto.Direction(d), proto.Direction(d)
		s.data.Raw, s.control.Raw = raws[d][0], raws[d][1]
		s.window = newWindow(x.server)
		if s.masked {
			s.window = newWindow(x.client)
		}
		if c.Resumed {
			s.state, s.holed = stateLost, true
			s.window.forget()
		}
	}
	return p
}

var proceed = proto.Verdict{Action: proto.Continue}

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	s := &p.sides[d]
	if s.state == stateLost && s.regained(b) {
		s.state = stateHeader
	}
	for len(b) > 0 {
		var n int
		switch s.state {
		case stateHeader:
			n = p.header(s, b, at)
		case statePayload:
			n = int(min(int64(len(b)), s.frame.length-s.pos))
			p.take(s, b[:n], at)
		case stateLost:
			return proceed
		case stateDead:
			if p.sides[d.Other()].state == stateDead {
				return proto.Verdict{Action: proto.Stop}
			}
			return proceed
		}
		b = b[n:]
		at = at.After(n)
	}
	return proceed
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	s := &p.sides[d]
	s.credit = 0
	switch {
	case s.state == statePayload && n != proto.Unknown && s.frame.opcode != opClose:
		hidden := min(n, s.frame.length-s.pos)
		s.count(hidden, at)
		s.msg.MissingBytes += hidden
		if s.msg == &s.data {
			s.partial = true
		}
		p.advance(s, hidden)
		if n > hidden {
			p.lose(s, at, stateLost)
		}
	case s.state == statePayload || s.state == stateHeader:
		p.lose(s, at, stateLost)
	}
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, _ clock.Mark, why proto.CloseReason) {
	s := &p.sides[d]
	if s.state == statePayload && s.msg == &s.control {
		s.control.Close = why
		p.endControl(s, proto.Cut)
	}
	if s.open {
		s.data.Close = why
		p.endData(s, proto.Cut)
	}
	s.state = stateDead
	p.drop(&s.payload)
	p.drop(&s.window.last)
	p.closed[d] = true
	if p.closed[d.Other()] {
		p.drop(&p.scratch)
		if p.inflater != nil {
			p.inflater = nil
			*p.held -= inflaterSize
		}
	}
}

// lose gives up a direction: until frames surely begin, or for good.
func (p *Parser) lose(s *side, at clock.Mark, next state) {
	if s.state == statePayload && s.msg == &s.control && s.frame.opcode != opClose {
		p.endControl(s, proto.Broken)
	}
	if s.open {
		p.endData(s, proto.Broken)
	}
	s.state, s.holed, s.headLen, s.credit = next, true, 0, 0
	s.window.forget()
	p.sink.Lost(s.data.Dir, at)
}

// header takes bytes of a frame header. It returns how many.
func (p *Parser) header(s *side, b []byte, at clock.Mark) int {
	if s.headLen == 0 {
		if n := headerSize(b); len(b) >= n {
			p.begin(s, b[:n], at, at)
			return n
		}
		s.headAt, s.headEnd = at, at
	}
	if at.Time >= s.headEnd.Time {
		s.headEnd = at
	}
	taken := 0
	for need := headerSize(s.head[:s.headLen]); s.headLen < need; need = headerSize(s.head[:s.headLen]) {
		n := copy(s.head[s.headLen:need], b[taken:])
		if n == 0 {
			return taken
		}
		s.headLen += n
		taken += n
	}
	n := s.headLen
	s.headLen = 0
	p.begin(s, s.head[:n], s.headAt, s.headEnd)
	return taken
}

// begin begins a frame, whose header is b. first marks its first byte, latest the last to arrive.
func (p *Parser) begin(s *side, b []byte, first, latest clock.Mark) {
	h := parseHeader(b)
	latest.Offset = first.Offset + int64(len(b)-1)
	s.frame, s.pos = h, 0
	if h.length < 0 {
		// Where the next frame begins can't be known.
		if s.open {
			s.data.Anomalies.Set(proto.BadFrame)
		}
		p.lose(s, first, stateDead)
		return
	}
	opens := h.opcode != opContinuation || !s.open
	bad := h.malformed() || s.over
	switch {
	case h.isControl():
		s.msg = &s.control
	case !opens:
		s.msg = &s.data
	default:
		s.msg = &s.data
		if s.open {
			// A message began in the midst of another.
			p.endData(s, proto.Broken)
			bad = true
		}
		bad = bad || h.opcode == opContinuation && !s.holed
		s.open = true
	}
	m := s.msg
	if opens {
		s.start(m, h, len(b), first)
	}
	bad = p.reserved(s, opens) || bad
	m.Size += int64(len(b))
	m.Last = later(m.Last, latest)
	if bad {
		m.Anomalies.Set(proto.BadFrame)
	}
	switch {
	case s.masked && !h.masked:
		m.Anomalies.Set(proto.UnmaskedClient)
	case !s.masked && h.masked:
		m.Anomalies.Set(proto.MaskedServer)
	}
	s.state = statePayload
	if opens && h.opcode != opClose {
		p.sink.Head(m)
		if m == &s.data && s.deflated {
			s.wanted = p.sink.WantsBody(m) > 0
		}
	}
	if m.Framing == proto.Chunked {
		m.Chunks++
	}
	if h.length == 0 {
		p.advance(s, 0)
	}
}

// start makes m the message that a frame begins.
func (s *side) start(m *proto.Message, h header, size int, first clock.Mark) {
	d := m.Dir
	m.Reset()
	m.Kind, m.Dir, m.First, m.Last, m.HeadSize = proto.Event, d, first, first, int64(size)
	m.Raw = append(m.Raw, kinds[h.opcode]...)
	m.Method.Len = uint32(len(m.Raw))
	if m == &s.control {
		m.Stream, s.closingLen = Control, 0
		if h.opcode != opClose {
			m.Framing, m.Length = proto.ByLength, h.length
		}
		return
	}
	m.Parts.Count = 1
	m.Framing, m.Length = proto.Chunked, -1
	if h.final {
		m.Framing, m.Length = proto.ByLength, h.length
	}
	s.text, s.check, s.given = h.opcode == opText, utf8Check{}, 0
	s.deflated, s.wanted, s.partial = false, false, false
}

// reserved looks at the reserved bits of a frame, and reports whether they are malformed. That of compression belongs to the
// first frame of a data message.
func (p *Parser) reserved(s *side, opens bool) (bad bool) {
	h, m := &s.frame, s.msg
	rsv := h.rsv
	if rsv&rsv1 != 0 && p.deflate && opens && m == &s.data && h.opcode != opContinuation {
		s.deflated = true
		m.Framing, m.Length, m.Parts.Compressed = proto.Chunked, -1, 1
		rsv &^= rsv1
	}
	if rsv == 0 {
		return false
	}
	// The payload may be anything.
	s.text = s.text && m != &s.data
	return !p.foreign
}

// take takes bytes of a payload.
func (p *Parser) take(s *side, b []byte, at clock.Mark) {
	m := s.msg
	s.count(int64(len(b)), at)
	switch {
	case s.frame.opcode == opClose:
		if n := min(len(b), len(s.closing)-s.closingLen); n > 0 {
			s.frame.unmask(s.closing[s.closingLen:][:n], b[:n], s.pos)
			s.closingLen += n
		}
	case m == &s.data && s.deflated:
		if s.data.Parts.Bytes > int64(p.limits.MaxMessage) {
			m.Anomalies.Set(proto.MessageTooLarge)
		}
		p.collect(s, b)
	default:
		p.hand(s, b)
	}
	p.advance(s, int64(len(b)))
}

// hand hands out bytes of a payload that isn't compressed, as far as they are wanted.
func (p *Parser) hand(s *side, b []byte) {
	pos := s.pos
	for len(b) > 0 {
		want := p.sink.WantsBody(s.msg)
		if want <= 0 {
			return
		}
		piece := b[:min(want, len(b))]
		if s.frame.masked {
			p.needScratch()
			piece = piece[:min(len(piece), len(p.scratch))]
			s.frame.unmask(p.scratch, piece, pos)
			b, pos = b[len(piece):], pos+int64(len(piece))
			p.give(s, p.scratch[:len(piece)])
			continue
		}
		p.give(s, piece)
		return
	}
}

// give gives the sink bytes of a body that it wants.
func (p *Parser) give(s *side, b []byte) {
	p.sink.Body(s.msg, b)
	if s.msg == &s.data {
		s.given += int64(len(b))
		if s.text && !s.partial {
			s.check.write(b)
		}
	}
}

// count counts n bytes of a payload, which begin at a mark.
func (s *side) count(n int64, at clock.Mark) {
	m := s.msg
	m.Size += n
	if s.frame.opcode == opClose {
		m.HeadSize += n
	} else {
		m.BodyBytes += n
	}
	if m == &s.data {
		m.Parts.Bytes += n
	}
	at.Offset += n - 1
	m.Last = later(m.Last, at)
}

// advance moves on in a payload, and ends the frame with it.
func (p *Parser) advance(s *side, n int64) {
	if s.pos += n; s.pos < s.frame.length {
		return
	}
	s.state = stateHeader
	switch {
	case s.msg == &s.control:
		p.endControl(s, proto.Whole)
	case s.frame.final:
		p.endData(s, proto.Whole)
	}
}

// endControl ends the control message.
func (p *Parser) endControl(s *side, how proto.End) {
	m := &s.control
	if s.frame.opcode == opClose {
		s.over = true
		p.closing(m, s.closing[:s.closingLen], s.frame.length)
	}
	s.state = stateHeader
	m.End, m.Raw = how, m.Raw[:0]
	p.sink.End(m)
}

// closing tells the sink of a close message with a payload, of which the first bytes are b.
func (p *Parser) closing(m *proto.Message, b []byte, length int64) {
	if len(b) >= 2 {
		m.Status = int(b[0])<<8 | int(b[1])
		m.Reason = proto.Span{Off: uint32(len(m.Raw)), Len: uint32(len(b) - 2)}
		m.Raw = append(m.Raw, b[2:]...)
		if !mayBeSent(m.Status) {
			m.Anomalies.Set(proto.BadFrame)
		}
		if length == int64(len(b)) && !validText(b[2:]) {
			m.Anomalies.Set(proto.BadText)
		}
	}
	if length == 1 {
		m.Anomalies.Set(proto.BadFrame)
	}
	p.sink.Head(m)
}

// endData ends the data message.
func (p *Parser) endData(s *side, how proto.End) {
	m := &s.data
	s.msg, s.open = m, false
	whole := how == proto.Whole && !s.partial
	if s.deflated {
		whole = p.inflate(s, whole)
	}
	if s.text && (s.check.bad || whole && s.check.n > 0 && s.given == m.BodyBytes) {
		m.Anomalies.Set(proto.BadText)
	}
	m.Parts.Largest = m.Parts.Bytes
	m.End, m.Raw = how, m.Raw[:0]
	p.sink.End(m)
}

// later returns the mark of a message's last byte, when one at the mark at was added. The message has come when all of its
// bytes have, though bytes that were lost and sent again may arrive after those behind them.
func later(last, at clock.Mark) clock.Mark {
	if at.Time >= last.Time {
		return at
	}
	last.Offset = at.Offset
	return last
}

// needScratch makes the buffer for what is unmasked or inflated.
func (p *Parser) needScratch() {
	if p.scratch == nil {
		p.scratch = make([]byte, scratchSize)
		*p.held += scratchSize
	}
}

// drop lets go of a buffer.
func (p *Parser) drop(b *[]byte) {
	*p.held -= cap(*b)
	*b = nil
}
