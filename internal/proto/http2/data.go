package http2

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// data begins a DATA frame (RFC 9113 §6.1), whose header ends in the bytes that at marks.
func (p *Parser) data(s *side, at clock.Mark) {
	f := &s.f
	s.nothing(f.length == 0 && !f.has(endStream))
	if f.length > 0 {
		s.empty = 0
	}
	st := p.streams[f.stream]
	s.stream = st
	p.spend(s, st, f.length)
	if st != nil {
		h := &st.half[s.dir]
		if h.state == done || h.state == idle && !h.doubt {
			s.odd.Set(proto.BadFrame)
		}
		at.Offset = s.at.Offset
		h.grow(at, frameHeader)
	}
	switch {
	case !f.has(padded):
		s.state, s.remain, s.rest = stateData, f.length, 0
		if f.length == 0 {
			p.skip(s, 0)
		}
	case f.length == 0:
		s.odd.Set(proto.BadFrame)
		p.skip(s, 0)
	default:
		s.state, s.remain, s.rest = statePadLength, 1, f.length-1
	}
}

// padded takes the length of a frame's padding.
func (p *Parser) padded(s *side, padding int, at clock.Mark) {
	if s.stream != nil {
		s.stream.half[s.dir].grow(at, 1)
	}
	if padding > s.rest {
		s.odd.Set(proto.BadFrame)
		padding = s.rest
	}
	s.state, s.remain, s.rest = stateData, s.rest-padding, padding
	if s.remain == 0 {
		p.skip(s, padding)
	}
}

// payload takes bytes that a DATA frame carries.
func (p *Parser) payload(s *side, b []byte, at clock.Mark) {
	st := s.stream
	if st == nil {
		return
	}
	h := &st.half[s.dir]
	switch h.state {
	case open:
		h.grow(at, len(b))
		if st.answers == proto.AnswersCONNECT && s.dir == p.client && st.half[s.dir.Other()].state == idle {
			p.keepEarly(st, b, at)
			return
		}
		p.body(h, b)
	case tunneled:
		p.carry(st, s.dir, b, at)
	}
}

// body takes bytes of a body.
func (p *Parser) body(h *half, b []byte) {
	m := &h.m
	m.BodyBytes += int64(len(b))
	if m.Framing == proto.NoBody {
		m.Anomalies.Set(proto.BodyOnNoBody)
	}
	if h.counting {
		h.parts.Write(b)
		p.recount(h)
	}
	if want := p.sink.WantsBody(m); want > 0 {
		p.sink.Body(m, b[:min(want, len(b))])
	}
}

// recount takes over what was counted of the messages in a body.
func (p *Parser) recount(h *half) {
	h.m.Parts = h.parts.Parts()
	held := h.parts.Held()
	*p.held += held - h.partsHeld
	h.partsHeld = held
}

// grow notes that a message has n more bytes, which begin at a mark. Bytes that were lost and sent again may arrive after
// those behind them; the message has come when all of them have.
func (h *half) grow(at clock.Mark, n int) {
	if h.state != open {
		return
	}
	m := &h.m
	m.Size += int64(n)
	end := at.Offset + int64(n-1)
	if at.Time >= m.Last.Time {
		m.Last = at
	}
	m.Last.Offset = end
}

// missing notes n bytes of the body that weren't captured.
func (p *Parser) missing(h *half, n int64) {
	h.m.BodyBytes += n
	h.m.MissingBytes += n
	if h.counting {
		h.parts.Gap(n)
		p.recount(h)
	}
}
