package fastcgi

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// lose gives up a direction until a segment surely begins with a record.
func (p *Parser) lose(s *side, at clock.Mark) {
	s.state, s.have, s.stream = stateLost, 0, nil
	p.doubt(s)
	p.sink.Lost(s.dir, at)
}

// doubt notes that bytes of a direction are missing that may have been of any request.
func (p *Parser) doubt(s *side) {
	for _, st := range p.open() {
		st.doubt[s.dir] = true
		if st.doubt[s.dir.Other()] {
			p.giveUp(st) // its id may have been used again
			continue
		}
		h := &st.half[s.dir]
		switch h.progress {
		case head:
			p.broken(st, s.dir)
		case body:
			if m := &h.m; m.Framing == proto.ByLength && m.BodyBytes == m.Length && s.dir == p.client {
				// Nothing of it can be missing but that it is over.
				p.end(st, s.dir, proto.Whole, proto.Open)
				p.settle(st)
				break
			}
			if !h.holed && h.m.Framing != proto.NoBody {
				h.holed = true
				h.body.Miss(&h.m, 1, p.held)
			}
		}
	}
}

// miss takes a gap of n bytes that lies within the record at hand.
func (p *Parser) miss(s *side, n int, at clock.Mark) {
	if n == 0 {
		return
	}
	if s.state == statePadding {
		p.pad(s, n, at)
		return
	}
	lost := min(n, s.remain)
	s.remain -= lost
	s.came(at)
	if st := s.stream; st != nil {
		h := &st.half[s.dir]
		if s.rec.kind != stderr {
			h.grow(at, at.Offset, lost)
		}
		switch k := s.rec.kind; {
		case (k == stdin || k == stdout) && h.progress == body:
			h.body.Miss(&h.m, int64(lost), p.held)
		case k == params && h.progress == head, k == stdout && (h.progress == head || h.progress == idle):
			p.broken(st, s.dir)
			p.sink.Lost(s.dir, at)
		}
	} else if s.rec.kind == beginRequest {
		s.rec.kind = 0
		if old := p.streams[s.rec.id]; old != nil {
			p.supersede(old)
		}
		p.sink.Lost(s.dir, at)
	}
	if s.remain > 0 {
		return
	}
	p.carried(s)
	if n -= lost; n > 0 {
		p.miss(s, n, at)
	}
}
