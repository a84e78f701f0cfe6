// Package http1 takes HTTP/1.0 and 1.1 apart (RFC 9112), and recognises HTTP/0.9.
//
// # Theory of operation
//
// Each direction is a small machine:
//
//	          +-----------------------------------------------------------+
//	          v                                                           |
//	start -> head -+-> (no body) ------------------------------------> message over
//	               +-> body by length ---------------------------------->-+
//	               +-> chunk size -> chunk data -> chunk end -+           |
//	               |        ^----------------------------------+          |
//	               |        +-> trailers ---------------------------------+
//	               +-> body until close (ends with the half-stream)
//	               +-> tunnel (CONNECT, Upgrade: handed over to detection)
//
//	any but a body --(gap, or bytes that can't be a message)--> lost
//	lost --(a segment that surely begins a message)--> head
//
// A head that lies within one call of Data is parsed where it is; otherwise its bytes are collected.
// Bodies are counted, and copied only when the sink wants them.
package http1

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes HTTP/1 to detection.
var Protocol = proto.Protocol{Name: "http", Probe: Probe, Resume: Resume, New: New}

type state uint8

const (
	stateStart state = iota
	stateHead
	stateLength
	stateChunkSize
	stateChunkData
	stateChunkEnd
	stateTrailer
	stateUntilClose
	stateLost
	stateTunnel // a CONNECT was asked for: what the client sends before the answer is kept
	stateDone   // nothing more can come
)

// Bounds that aren't worth a setting.
const (
	// maxChunkLine is the longest line between chunks that is followed.
	maxChunkLine = 4096
	// maxEarly is how many bytes that a client sends after CONNECT, before the answer, are kept.
	maxEarly = 16 << 10
	// keepCapacity is the largest buffer that a side keeps between messages.
	keepCapacity = 16 << 10
)

// Parser takes one connection apart. See the package comment.
type Parser struct {
	sink   proto.Sink
	limits *proto.Limits
	client proto.Direction
	sides  [2]side
	held   *int
	// simple: the last request was HTTP/0.9, so its answer has no head.
	simple bool
}

// side is the state of one direction.
type side struct {
	state state
	msg   proto.Message
	// remain is what is left of the body or of the chunk.
	remain int64
	// buf collects a head, a line or early bytes that come in pieces; bufAt marks its first byte, bufLast the
	// last to arrive, and scanned is how far it was searched for the head's end.
	buf     []byte
	bufAt   clock.Mark
	bufLast clock.Mark
	scanned int
	// first: no message of this direction has come yet.
	first bool
	// surplus and emptyLines are anomalies for the next message: something came before it.
	surplus, emptyLines bool
}

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = new(Parser)
	}
	sides := p.sides
	*p = Parser{sink: c.Sink, limits: c.Limits, client: c.Client, held: c.Held}
	for d := range p.sides {
		s := &p.sides[d]
		s.buf, s.msg.Fields = sides[d].buf[:0], sides[d].msg.Fields[:0]
		s.msg.Dir, s.first = proto.Direction(d), !c.Resumed
		if c.Resumed {
			s.state = stateLost
		}
	}
	return p
}

var proceed = proto.Verdict{Action: proto.Continue}

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	s := &p.sides[d]
	begin, size := at.Offset, len(b)
	for len(b) > 0 {
		at.Offset = begin + int64(size-len(b))
		var n int
		switch s.state {
		case stateStart, stateHead, stateLost:
			var v proto.Verdict
			if n, v = p.head(s, b, at); v.Action != proto.Continue {
				v.Consumed = size - len(b) + n
				return v
			}
		case stateLength, stateChunkData:
			n = int(min(int64(len(b)), s.remain))
			s.remain -= int64(n)
			p.body(s, b[:n], at)
			if s.remain == 0 {
				if s.state == stateChunkData {
					s.state = stateChunkEnd
				} else {
					p.end(s, proto.Whole)
				}
			}
		case stateUntilClose:
			n = len(b)
			p.body(s, b, at)
		case stateChunkSize, stateChunkEnd, stateTrailer:
			n = p.chunkLine(s, b, at)
		case stateTunnel:
			n = len(b)
			if len(s.buf)+n > maxEarly {
				p.lose(s, at)
				break
			}
			p.keep(s, b, at)
		case stateDone:
			return proceed
		}
		b = b[n:]
	}
	return proceed
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	s := &p.sides[d]
	m := &s.msg
	switch s.state {
	case stateLength, stateChunkData:
		hidden := min(n, s.remain)
		s.remain -= hidden
		m.BodyBytes += hidden
		m.MissingBytes += hidden
		m.Size += hidden
		m.Last = at
		switch {
		case n > hidden && s.state == stateChunkData:
			p.end(s, proto.Broken)
			p.lose(s, at)
		case n > hidden:
			p.end(s, proto.Whole)
			p.lose(s, at)
		case s.remain == 0 && s.state == stateChunkData:
			s.state = stateChunkEnd
		case s.remain == 0:
			p.end(s, proto.Whole)
		}
	case stateUntilClose:
		m.BodyBytes += n
		m.MissingBytes += n
		m.Size += n
	case stateHead:
		p.partialHead(s, proto.Broken, proto.Open)
		p.lose(s, at)
	case stateChunkSize, stateChunkEnd, stateTrailer:
		m.MissingBytes += n
		p.end(s, proto.Broken)
		p.lose(s, at)
	case stateStart, stateTunnel:
		p.lose(s, at)
	}
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	s := &p.sides[d]
	switch s.state {
	case stateHead:
		p.partialHead(s, proto.Cut, why)
	case stateUntilClose:
		if why == proto.Finished {
			p.end(s, proto.Whole)
			break
		}
		s.msg.Close = why
		p.end(s, proto.Cut)
	case stateLength, stateChunkSize, stateChunkData, stateChunkEnd, stateTrailer:
		if s.state != stateLength && why == proto.Finished {
			s.msg.Anomalies.Set(proto.EndedWithoutLastChunk)
		}
		s.msg.Close = why
		p.end(s, proto.Cut)
	}
	p.release(s)
	s.state = stateDone
}

// keep collects bytes that can't be used yet.
func (p *Parser) keep(s *side, b []byte, at clock.Mark) {
	if len(s.buf) == 0 {
		s.bufAt = at
	}
	if at.Time > s.bufLast.Time || len(s.buf) == 0 {
		s.bufLast = at
	}
	*p.held += len(b)
	s.buf = append(s.buf, b...)
}

// release empties the collected bytes.
func (p *Parser) release(s *side) {
	*p.held -= len(s.buf)
	if cap(s.buf) > keepCapacity {
		s.buf = nil
	}
	s.buf, s.scanned = s.buf[:0], 0
}

// reach notes that a message has n more bytes, which begin at a mark. Bytes that were lost and sent again
// may arrive after those behind them; the message has come when all of them have.
func reach(m *proto.Message, at clock.Mark, n int) {
	end := at.Offset + int64(n-1)
	if at.Time >= m.Last.Time {
		m.Last = at
	}
	m.Last.Offset = end
}

// begin starts a message.
func (p *Parser) begin(s *side, at clock.Mark) {
	m := &s.msg
	d := m.Dir
	m.Reset()
	m.Dir, m.First = d, at
	if d != p.client {
		m.Kind = proto.Response
	}
	if s.surplus {
		m.Anomalies.Set(proto.SurplusBytes)
	}
	if s.emptyLines {
		m.Anomalies.Set(proto.LeadingEmptyLine)
	}
	s.surplus, s.emptyLines = false, false
}

// restart begins the message of the collected head anew, with what came before it.
func (p *Parser) restart(s *side) {
	oddities := s.msg.Anomalies & (1<<proto.SurplusBytes | 1<<proto.LeadingEmptyLine)
	p.begin(s, s.bufAt)
	s.msg.Anomalies = oddities
}

// body takes bytes of a body.
func (p *Parser) body(s *side, b []byte, at clock.Mark) {
	m := &s.msg
	m.BodyBytes += int64(len(b))
	m.Size += int64(len(b))
	reach(m, at, len(b))
	if want := p.sink.WantsBody(m); want > 0 {
		p.sink.Body(m, b[:min(want, len(b))])
	}
}

// end closes the current message.
func (p *Parser) end(s *side, how proto.End) {
	m := &s.msg
	if s.state != stateTrailer {
		m.Raw, m.Fields = nil, m.Fields[:0]
	}
	s.state = stateStart
	m.End = how
	p.sink.End(m)
	p.release(s)
}

// lose gives up a direction until a message surely begins.
func (p *Parser) lose(s *side, at clock.Mark) {
	p.release(s)
	s.state = stateLost
	p.sink.Lost(s.msg.Dir, at)
}

// head takes bytes before or in a head. It returns how many it took.
func (p *Parser) head(s *side, b []byte, at clock.Mark) (n int, v proto.Verdict) {
	d := s.msg.Dir
	if s.state == stateLost {
		// Only the start of a segment counts: what follows an empty line may be part of a body.
		if m, role := Resume(b); m != proto.Yes || (role == proto.Client) != (d == p.client) {
			s.surplus = true
			return len(b), proceed
		}
		s.state = stateHead
	}
	if s.state == stateStart {
		// Empty lines may come before a message (RFC 9112 §2.2).
		empty := 0
		for empty < len(b) && (b[empty] == '\r' || b[empty] == '\n') {
			empty++
		}
		if empty > 0 {
			s.emptyLines = true
			return empty, proceed
		}
		if d == p.client && !isToken[b[0]] {
			s.surplus = true
			p.lose(s, at)
			return len(b), proceed
		}
		s.state = stateHead
	}

	if d != p.client && !s.answerLike(b) {
		return p.notAResponse(s, b, at)
	}
	if len(s.buf) == 0 {
		// The common case: the head lies within b.
		p.begin(s, at)
		if f, end := p.parse(s, b); end > 0 && end <= p.limits.MaxHead {
			return p.message(s, &f, end, at, end)
		}
		s.msg.Raw, s.msg.Fields = nil, s.msg.Fields[:0]
	}
	have := len(s.buf)
	take := min(len(b), p.limits.MaxHead-have)
	p.keep(s, b[:take], at)
	if end, ok := p.headEnd(s, s.buf, s.scanned); ok {
		p.restart(s)
		f, _ := p.parse(s, s.buf[:end])
		return p.message(s, &f, end, s.bufLast, end-have)
	}
	s.scanned = max(len(s.buf)-3, 0)
	if len(s.buf) == p.limits.MaxHead {
		p.restart(s)
		s.msg.Anomalies.Set(proto.HeadTooLarge)
		p.cutHead(s, proto.Broken, proto.Open)
		p.lose(s, at)
		return len(b), proceed
	}
	return take, proceed
}

// parse parses a head that begins with b: up to its empty line, or the only line of an HTTP/0.9 request.
// It returns where it ends, -1 when that isn't in b.
func (p *Parser) parse(s *side, b []byte) (f framing, end int) {
	m := &s.msg
	if m.Dir == p.client && s.first {
		if n := bytes.IndexByte(b, '\n') + 1; n > 0 && isSimpleRequest(b[:n]) {
			f, _ = parseHead(m, b[:n], p.limits.MaxFields)
			return f, n
		}
	}
	return parseHead(m, b, p.limits.MaxFields)
}

// headEnd returns where the head in b ends: behind its empty line, or behind the only line of an
// HTTP/0.9 request. Before from there is no line end.
func (p *Parser) headEnd(s *side, b []byte, from int) (int, bool) {
	first := bytes.IndexByte(b[:from], '\n') < 0
	for i := from; ; {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return 0, false
		}
		i += j + 1
		if first && s.msg.Dir == p.client && s.first && isSimpleRequest(b[:i]) {
			return i, true
		}
		first = false
		switch {
		case i == len(b):
			return 0, false
		case b[i] == '\n':
			return i + 1, true
		case b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n':
			return i + 2, true
		}
	}
}

// answerLike reports whether what was collected and b may begin a response with a head.
func (s *side) answerLike(b []byte) bool {
	const begin = "http/"
	for i := len(s.buf); i < len(begin) && i-len(s.buf) < len(b); i++ {
		if c := b[i-len(s.buf)]; c != begin[i] && c|0x20 != begin[i] {
			return false
		}
	}
	return true
}

// notAResponse takes bytes of the server that begin no response.
func (p *Parser) notAResponse(s *side, b []byte, at clock.Mark) (int, proto.Verdict) {
	if !p.simple {
		s.surplus = true
		if len(s.buf) == 0 {
			if junk := junkBefore(b); junk > 0 {
				s.state = stateStart
				return junk, proceed
			}
		}
		p.lose(s, at)
		return len(b), proceed
	}
	// The answer to an HTTP/0.9 request is a body and nothing else.
	p.simple = false
	first := at
	if len(s.buf) > 0 {
		first = s.bufAt
	}
	p.begin(s, first)
	s.first = false
	m := &s.msg
	m.Version, m.Framing = 0x0009, proto.UntilClose
	m.Anomalies.Set(proto.HTTP09)
	p.sink.Head(m)
	s.state = stateUntilClose
	if len(s.buf) > 0 {
		p.body(s, s.buf, s.bufAt)
		p.release(s)
	}
	return 0, proceed
}

// maxJunk is how many bytes before a status line are passed over, as clients do.
const maxJunk = 64

// junkBefore returns how many bytes of junk stand before a response that surely begins in b: at the
// beginning of a line, or within the first four bytes. It is 0 when there is none.
func junkBefore(b []byte) int {
	for i := 1; i < min(len(b), maxJunk); i++ {
		if i > 4 && b[i-1] != '\n' {
			continue
		}
		if m, role := Resume(b[i:]); m == proto.Yes && role == proto.Server {
			return i
		}
	}
	return 0
}

// message takes a whole head of a size, tells the sink, and decides how the body ends. latest is the
// arrival of its last bytes to come, n what the caller took of its data.
func (p *Parser) message(s *side, f *framing, size int, latest clock.Mark, n int) (int, proto.Verdict) {
	m := &s.msg
	m.HeadSize, m.Size, m.Last = int64(size), int64(size), latest
	m.Last.Offset = m.First.Offset + int64(size-1)
	s.first = false
	if m.Kind == proto.Request {
		p.request(s, f)
		return n, proceed
	}
	return n, p.response(s, f)
}

// request decides how the body of a request ends (RFC 9112 §6.3).
func (p *Parser) request(s *side, f *framing) {
	m := &s.msg
	m.Framing, m.Length = f.request(m)
	p.simple = m.Version == 0x0009
	connect := proto.EqualFold(m.Bytes(m.Method), "connect")
	p.sink.Head(m)
	p.startBody(s)
	switch {
	case p.simple:
		s.state = stateDone // HTTP/0.9 has one request a connection
	case connect && s.state == stateStart:
		s.state = stateTunnel
	}
}

// response decides how the body of a response ends.
func (p *Parser) response(s *side, f *framing) proto.Verdict {
	m := &s.msg
	p.simple = false
	m.Kind = responseKind(m.Status)
	m.Framing, m.Length = f.response(m)
	answers := p.sink.Head(m)
	switch {
	case m.Kind == proto.Interim:
		p.end(s, proto.Whole)
		return proceed
	case m.Status == 101:
		hint := f.upgrade(m)
		p.end(s, proto.Upgraded)
		return p.handover(hint)
	case answers == proto.AnswersCONNECT && m.Status >= 200 && m.Status < 300:
		m.Framing = proto.Tunnel
		p.end(s, proto.Upgraded)
		return p.handover("")
	case answers == proto.AnswersHEAD:
		m.Framing = proto.NoBody
	}
	if client := &p.sides[p.client]; answers == proto.AnswersCONNECT && client.state == stateTunnel {
		// The tunnel was refused: what the client sent early is another request.
		early, at := client.buf, client.bufAt
		*p.held -= len(early)
		client.buf, client.state = nil, stateStart
		defer p.Data(p.client, early, at)
	}
	p.startBody(s)
	return proceed
}

// responseKind tells interim responses from final ones (RFC 9110 §15.2). 101 is final: the next bytes are
// another protocol's.
func responseKind(status int) proto.Kind {
	if status >= 100 && status < 200 && status != 101 {
		return proto.Interim
	}
	return proto.Response
}

// handover gives the connection back to detection, with what the client has sent early.
func (p *Parser) handover(hint string) proto.Verdict {
	client := &p.sides[p.client]
	*p.held -= len(client.buf)
	return proto.Verdict{
		Action: proto.Handover, Hint: hint, Early: client.buf, EarlyAt: client.bufAt, EarlyLost: client.state == stateLost,
	}
}

// startBody enters the state of the body that follows a head.
func (p *Parser) startBody(s *side) {
	m := &s.msg
	p.release(s)
	switch m.Framing {
	case proto.ByLength:
		s.remain = m.Length
		s.state = stateLength
		if s.remain == 0 {
			p.end(s, proto.Whole)
		}
	case proto.Chunked:
		s.state = stateChunkSize
	case proto.UntilClose:
		s.state = stateUntilClose
	default:
		p.end(s, proto.Whole)
	}
}

// partialHead shows what is known of a head that won't come whole: its complete lines.
func (p *Parser) partialHead(s *side, how proto.End, why proto.CloseReason) {
	p.restart(s)
	p.cutHead(s, how, why)
}

// cutHead emits the begun message from the complete lines of the collected head, if its start line is
// one of them.
func (p *Parser) cutHead(s *side, how proto.End, why proto.CloseReason) {
	m := &s.msg
	lines := s.buf[:bytes.LastIndexByte(s.buf, '\n')+1]
	if len(lines) == 0 {
		p.release(s)
		return
	}
	parseHead(m, lines, p.limits.MaxFields)
	m.HeadSize, m.Size = int64(len(s.buf)), int64(len(s.buf))
	m.Last = s.bufLast
	m.Last.Offset = s.bufAt.Offset + int64(len(s.buf)-1)
	m.Close = why
	if m.Kind == proto.Response {
		m.Kind = responseKind(m.Status)
	}
	p.sink.Head(m)
	p.end(s, how)
}
