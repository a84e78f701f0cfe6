package http1

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

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
	if s.state == stateStart && (d == p.client || !p.simple) {
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
		p.begin(s, s.bufAt)
		f, _ := p.parse(s, s.buf[:end])
		return p.message(s, &f, end, s.bufLast, end-have)
	}
	s.scanned = max(len(s.buf)-3, 0)
	if len(s.buf) == p.limits.MaxHead {
		p.begin(s, s.bufAt)
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
		s.surplus, s.state = true, stateJunk
		return 0, proceed
	}
	// The answer to an HTTP/0.9 request is a body and nothing else.
	p.simple = false
	first := at
	if len(s.buf) > 0 {
		first = s.bufAt
	}
	p.begin(s, first)
	s.begun()
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

// maxJunk is how many bytes before a status line are passed over, as clients do; sure is how many bytes of a
// status line are enough to know it.
const (
	maxJunk = 64
	sure    = len("HTTP/1.1 200")
)

// junk takes bytes of the server that begin no response, until one surely begins: at the beginning of a line,
// or within the first four bytes. It returns how many it took.
func (p *Parser) junk(s *side, b []byte, at clock.Mark) int {
	for i := range b {
		here := at
		here.Offset += int64(i)
		p.keep(s, b[i:i+1], here)
		k := len(s.buf) - sure
		if k > maxJunk {
			break
		}
		if k < 0 || k > 4 && s.buf[k-1] != '\n' {
			continue
		}
		if m, role := Resume(s.buf[k:]); m == proto.Yes && role == proto.Server {
			*p.held -= k
			s.buf = append(s.buf[:0], s.buf[k:]...)
			if s.bufAt.Offset+int64(k) >= at.Offset {
				s.bufAt = clock.Mark{Time: at.Time, Packet: at.Packet, Offset: s.bufAt.Offset, Peer: at.Peer, Tap: at.Tap}
			}
			s.bufAt.Offset += int64(k)
			s.state = stateHead
			return i + 1
		}
	}
	if len(s.buf) > maxJunk+sure {
		p.lose(s, at)
	}
	return len(b)
}

// partialHead shows what is known of a head that won't come whole: its complete lines.
func (p *Parser) partialHead(s *side, how proto.End, why proto.CloseReason) {
	p.begin(s, s.bufAt)
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
	s.begun()
	if m.Kind == proto.Response {
		m.Kind = responseKind(m.Status)
	}
	p.sink.Head(m)
	p.end(s, how)
}
