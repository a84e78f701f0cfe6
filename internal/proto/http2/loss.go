package http2

import (
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// maxDoubt is how long a message whose end may have been lost is followed after the last of its frames, in capture time;
// doubtEvery how often those that are in doubt are looked through.
const (
	maxDoubt   = 5 * time.Second
	doubtEvery = time.Second
)

// lose gives up a direction until a segment surely begins with a frame.
func (p *Parser) lose(s *side, at clock.Mark) {
	if s.blocks.open {
		p.breakBlock(s, proto.Broken, proto.Open)
	}
	p.release(&s.buf)
	p.forget(s)
	s.state, s.have, s.stream = stateLost, 0, nil
	s.unacked.n = 0
	if s.maxFrame > 0 {
		s.usual = max(s.maxFrame, startFrame)
	}
	s.maxFrame, s.table.allowed = 0, 0
	for d := range p.sides {
		// Either what was sent is missing, or what allowed to send more.
		p.sides[d].flow.known = false
	}
	p.sides[s.dir.Other()].maxFrame, p.sides[s.dir.Other()].table.allowed = 0, 0
	p.hole(s, at)
	p.sink.Lost(s.dir, at)
}

// hole puts in doubt what may have been sent in a hole.
func (p *Parser) hole(s *side, at clock.Mark) {
	for st := p.oldest; st != nil; {
		next := st.next
		h := &st.half[s.dir]
		switch m := &h.m; h.state {
		case idle:
			p.doubt(s, h, at)
		case open:
			if m.Framing == proto.ByLength && m.BodyBytes == m.Length && !h.doubt {
				// Nothing of it can be missing but that it is over.
				p.end(st, s.dir, proto.Whole, proto.Open)
				h.state = givenUp
				p.settle(st)
				break
			}
			p.doubt(s, h, at)
			if !h.holed && m.Framing != proto.NoBody {
				h.holed = true
				p.missing(h, 1)
			}
			if h.counting {
				h.parts.Gap(proto.Unknown)
			}
		case tunneled:
			p.carryGap(st, s.dir, proto.Unknown, at)
		}
		st = next
	}
}

func (p *Parser) doubt(s *side, h *half, at clock.Mark) {
	h.doubt, h.doubtAt = true, at.Time
	if !s.doubtful {
		s.doubtful, s.due = true, at.Time+int64(doubtEvery)
	}
}

// expire ends the messages of a direction that have been in doubt for too long.
func (p *Parser) expire(s *side) {
	now := s.latest.Time
	if !s.doubtful || now < s.due {
		return
	}
	s.doubtful, s.due = false, now+int64(doubtEvery)
	for st := p.oldest; st != nil; {
		next := st.next
		if h := &st.half[s.dir]; h.doubt && h.state == open {
			if now-max(h.doubtAt, h.m.Last.Time) > int64(maxDoubt) {
				p.end(st, s.dir, proto.Broken, proto.Open)
				h.state = givenUp
				p.settle(st)
			} else {
				s.doubtful = true
			}
		}
		st = next
	}
}

// miss takes a gap of n bytes that lies within a frame.
func (p *Parser) miss(s *side, n int, at clock.Mark) {
	if n == 0 {
		return
	}
	switch s.f.kind {
	case data:
		p.missData(s, n, at)
		return
	case headers, pushPromise, continuation:
		if s.blocks.open {
			left := s.remain + s.rest - n
			told := s.blocks
			p.breakBlock(s, proto.Broken, proto.Open)
			p.sink.Lost(s.dir, at)
			if !s.f.has(endHeaders) {
				s.blocks = collecting{open: true, told: true, f: told.f, frames: told.frames, buf: s.blocks.buf}
			}
			p.release(&s.buf)
			p.skip(s, left)
			return
		}
	case rstStream:
		if s.state == stateCollect {
			if st := p.streams[s.f.stream]; st != nil {
				p.abort(st, &proto.Abort{By: s.dir, Name: "?", At: s.at})
			}
		}
	case settings, windowUpdate:
		for d := range p.sides {
			p.sides[d].flow.known = false
		}
		other := &p.sides[s.dir.Other()]
		other.maxFrame, other.table.allowed = 0, 0
		if s.f.kind == settings && s.state == stateCollect && !s.f.has(ack) {
			s.unacked.n = 0
		}
	}
	p.release(&s.buf)
	p.skip(s, s.remain+s.rest-n)
}

// missData takes a gap of n bytes within a DATA frame.
func (p *Parser) missData(s *side, n int, at clock.Mark) {
	st := s.stream
	var h *half
	if st != nil {
		h = &st.half[s.dir]
	}
	if s.state == statePadLength {
		// How much of the frame is padding isn't known.
		if h != nil && h.state == open {
			p.doubt(s, h, at)
			if !h.holed && h.m.Framing != proto.NoBody {
				h.holed = true
				p.missing(h, 1)
			}
		}
		if h != nil && h.state == tunneled {
			p.carryGap(st, s.dir, proto.Unknown, at)
		}
		left := s.remain + s.rest - n
		s.state, s.remain, s.rest = stateSkip, left, 0
	} else {
		body := 0
		if s.state == stateData {
			body = min(n, s.remain)
		}
		if h != nil && body > 0 {
			switch h.state {
			case open:
				p.missing(h, int64(body))
			case tunneled:
				p.carryGap(st, s.dir, int64(body), at)
			}
		}
		s.remain -= body
		if n -= body; n > 0 || s.remain == 0 {
			if s.state == stateData {
				s.state, s.remain, s.rest = stateSkip, s.rest, 0
			}
			s.remain -= n
		}
		n += body
	}
	if h != nil {
		h.grow(at, n)
	}
	if s.remain == 0 {
		p.over(s)
	}
}
