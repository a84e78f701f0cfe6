package http1

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

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
}

// begun notes that the message has surely begun: what came before it has been told.
func (s *side) begun() { s.surplus, s.emptyLines, s.first = false, false, false }

// body takes bytes of a body.
func (p *Parser) body(s *side, b []byte, at clock.Mark) {
	m := &s.msg
	m.BodyBytes += int64(len(b))
	m.Size += int64(len(b))
	reach(m, at, len(b))
	if s.counting {
		p.count(s, b)
	}
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
	if s.counting {
		p.counted(s, how)
	}
	m.End = how
	p.sink.End(m)
	if cap(m.Fields) > keepFields {
		m.Fields = nil
	}
	p.release(s)
}

// lose gives up a direction until a message surely begins.
func (p *Parser) lose(s *side, at clock.Mark) {
	p.release(s)
	s.state = stateLost
	p.sink.Lost(s.msg.Dir, at)
}

// message takes a whole head of a size, tells the sink, and decides how the body ends. latest is the
// arrival of its last bytes to come, n what the caller took of its data.
func (p *Parser) message(s *side, f *framing, size int, latest clock.Mark, n int) (int, proto.Verdict) {
	m := &s.msg
	m.HeadSize, m.Size, m.Last = int64(size), int64(size), latest
	m.Last.Offset = m.First.Offset + int64(size-1)
	s.begun()
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
	p.startBody(s, f)
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
	p.startBody(s, f)
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
func (p *Parser) startBody(s *side, f *framing) {
	m := &s.msg
	if m.Framing != proto.NoBody && len(f.contentType) > 0 {
		s.startCounting(f.contentType)
	}
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
