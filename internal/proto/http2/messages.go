package http2

import (
	"bytes"
	"slices"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/framed"
)

// fragment begins a frame that carries a header block, or a part of one.
func (p *Parser) fragment(s *side) {
	f, c := &s.f, &s.blocks
	s.empty = 0
	if f.kind == continuation {
		if !c.open {
			// Where its beginning was lost, this isn't odd.
			if s.table.certain {
				s.odd.Set(proto.BadFrame)
			}
			p.forget(s)
			p.skip(s, f.length)
			return
		}
		if c.frames++; c.frames > maxFragments && !c.spoilt {
			c.spoilt = true
			s.odd.Set(proto.FloodOfFrames)
		}
	} else {
		*c = collecting{open: true, f: *f, at: s.at, frames: 1, buf: c.buf}
	}
	c.size += frameHeader + int64(f.length)
	take := min(f.length, p.limits.MaxHead-len(c.buf)+maxOverhead)
	if c.spoilt || c.told {
		take = 0
	}
	s.state, s.remain, s.rest = stateCollect, take, f.length-take
	if take == 0 {
		p.act(s, nil)
	}
}

// strip returns what of a payload's beginning b is header block, and reports whether the padding leaves room for it.
func (f *frame) strip(b []byte) ([]byte, bool) {
	from, to := 0, f.length
	if f.kind != continuation && f.has(padded) {
		from = 1
		if len(b) > 0 {
			to -= int(b[0])
		}
	}
	switch {
	case f.kind == headers && f.has(hasPriority):
		from += 5
	case f.kind == pushPromise:
		from += 4
	}
	if from > to {
		return nil, false
	}
	return b[min(from, len(b)):min(to, len(b))], true
}

// addFragment takes the payload of such a frame; cut: not all of it.
func (p *Parser) addFragment(s *side, b []byte, cut bool) {
	c := &s.blocks
	c.reach(s)
	last := s.f.has(endHeaders)
	if !c.told {
		part, ok := s.f.strip(b)
		if !ok {
			s.odd.Set(proto.BadFrame)
			c.spoilt = true
		}
		c.promise(&s.f, b)
		if c.frames == 1 && last && !cut && ok {
			c.open = false
			p.complete(s, part, proto.Whole, proto.Open)
			return
		}
		room := p.limits.MaxHead - len(c.buf)
		c.spoilt = c.spoilt || cut || len(part) > room
		p.keep(&c.buf, part[:min(len(part), room)])
	}
	if !last {
		return
	}
	c.open = false
	if !c.told {
		p.complete(s, c.buf, proto.Whole, proto.Open)
		p.release(&c.buf)
	}
}

// reach notes how far the frame at hand has come.
func (c *collecting) reach(s *side) {
	if s.latest.Time >= c.latest.Time {
		c.latest = s.latest
	}
	c.latest.Offset = s.at.Offset + frameHeader + int64(s.f.length-s.remain) - 1
	if s.state == stateCollect {
		c.latest.Offset -= int64(s.rest)
	}
}

// promise reads which stream a PUSH_PROMISE opens.
func (c *collecting) promise(f *frame, b []byte) {
	if f.kind != pushPromise {
		return
	}
	if f.has(padded) {
		b = b[min(1, len(b)):]
	}
	if len(b) >= 4 {
		c.promised = be32(b) & maxStream
	}
}

// breakBlock ends a header block of which the rest won't come: it shows what is known of it.
func (p *Parser) breakBlock(s *side, how proto.End, why proto.CloseReason) {
	c := &s.blocks
	if !c.told {
		if s.state == stateCollect {
			part, _ := s.f.strip(s.buf)
			c.promise(&s.f, s.buf)
			p.keep(&c.buf, part)
			c.reach(s)
			c.size -= int64(s.remain + s.rest)
		} else if s.state == stateSkip {
			c.size -= int64(s.remain)
		}
		p.complete(s, c.buf, how, why)
	}
	p.release(&c.buf)
	c.open, c.told = false, false
	p.forget(s)
}

// forget gives up the dynamic table of a direction.
func (p *Parser) forget(s *side) {
	*p.held -= s.table.cost()
	s.table.forget()
}

// complete takes a header block. how is Whole for one that came whole; otherwise it says how a message ends that isn't
// complete, and why.
func (p *Parser) complete(s *side, b []byte, how proto.End, why proto.CloseReason) {
	p.expire(s)
	h, c := &p.block, &s.blocks
	h.reset(p.limits)
	before := s.table.cost()
	err := h.decode(&s.table, b)
	*p.held += s.table.cost() - before
	if how == proto.Whole && (err != nil || c.spoilt) {
		how = proto.Broken
		p.forget(s)
		if err == nil || c.spoilt {
			h.odd.Set(proto.HeaderBlockTooLarge)
		} else {
			h.odd.Set(proto.BadHeaderBlock)
		}
	}
	switch {
	case c.f.kind == pushPromise:
		p.promised(s, how, why)
	case s.dir == p.client:
		p.fromClient(s, how, why)
	default:
		p.fromServer(s, how, why)
	}
}

// fromClient takes a header block of the client: a request, or its trailers.
func (p *Parser) fromClient(s *side, how proto.End, why proto.CloseReason) {
	h, id := &p.block, s.blocks.f.stream
	st := p.streams[id]
	if st == nil {
		switch {
		case id&1 == 0 || p.opened[s.dir].passed(id):
			s.odd.Set(proto.BadFrame)
			return
		case h.has == 0 && !s.table.certain:
			return // the trailers of a request that wasn't seen: the method is hardly ever in the dynamic table
		}
		if st = p.open(id, s); st == nil {
			return
		}
	}
	switch st.half[s.dir].state {
	case idle:
		p.request(s, st, how, why)
	case open:
		p.trailers(s, st, how, why)
	}
}

// fromServer takes a header block of the server: a response, or its trailers.
func (p *Parser) fromServer(s *side, how proto.End, why proto.CloseReason) {
	h, id := &p.block, s.blocks.f.stream
	st := p.streams[id]
	if st == nil {
		switch {
		case p.opened[p.opener(id)].passed(id), slices.Contains(p.recent[:], id):
			return // of a stream that was given up
		case h.has == 0 && (!h.unknownFirst || s.blocks.f.has(endStream)):
			return // the trailers of a response that wasn't seen
		}
		if st = p.open(id, s); st == nil {
			return
		}
		st.half[p.client].state = done
	}
	half := &st.half[s.dir]
	switch half.state {
	case idle:
		// The response may have come before, unseen: then these are its trailers.
		if half.doubt && s.blocks.f.has(endStream) && h.has == 0 {
			half.state = done
			p.settle(st)
			return
		}
		p.response(s, st, how, why)
	case open:
		p.trailers(s, st, how, why)
	}
}

// begin begins a message whose head is the header block.
func (p *Parser) begin(s *side, h *half, kind proto.Kind) *proto.Message {
	m, c := &h.m, &s.blocks
	dir, stream := m.Dir, m.Stream
	m.Reset()
	m.Kind, m.Dir, m.Stream = kind, dir, stream
	m.First, m.HeadSize = c.at, c.size
	h.doubt = false // what was lost came before it
	p.reached(s, m)
	m.Anomalies = s.odd
	return m
}

// reached adds the frames of the header block to a message.
func (p *Parser) reached(s *side, m *proto.Message) {
	c := &s.blocks
	m.Size += c.size
	if c.latest.Time >= m.Last.Time {
		m.Last = c.latest
	}
	m.Last.Offset = c.latest.Offset
}

// request takes the head of a request.
func (p *Parser) request(s *side, st *stream, how proto.End, why proto.CloseReason) {
	h, half := &p.block, &st.half[s.dir]
	if how != proto.Whole && !h.asks() {
		s.odd |= h.odd
		half.state = givenUp
		return // what it asks for isn't known
	}
	m := p.begin(s, half, proto.Request)
	s.odd = 0
	h.asRequest(m)
	st.answers = answersOf(h.raw[m.Method.Off : m.Method.Off+m.Method.Len])
	fin := s.blocks.f.has(endStream)
	m.Framing = framingOf(h, fin)
	if st.answers == proto.AnswersCONNECT && !fin {
		m.Framing = proto.Tunnel
		st.protocol = string(h.value(protocol))
	}
	p.head(half)
	switch {
	case how != proto.Whole:
		p.end(st, s.dir, how, why)
		half.state = givenUp
	case fin:
		if m.Length > 0 {
			m.Anomalies.Set(proto.LengthDiffers)
		}
		p.finish(st, s.dir)
	}
	if p.streams[st.id] == st {
		p.leave(st, s.dir.Other(), s.at)
	}
}

// answersOf says what kind of request a method makes; "?" is one that isn't known.
func answersOf(method []byte) proto.Answers {
	switch string(method) {
	case "?":
		return proto.AnswersUnknown
	case "HEAD":
		return proto.AnswersHEAD
	case "CONNECT":
		return proto.AnswersCONNECT
	}
	return proto.AnswersOrdinary
}

// framingOf says how the end of a body is known.
func framingOf(h *block, fin bool) proto.Framing {
	switch {
	case fin:
		return proto.NoBody
	case h.length >= 0:
		return proto.ByLength
	}
	return proto.UntilStreamEnd
}

// head tells of the head of a message, and makes ready for its body. It returns what the sink knows of the request.
func (p *Parser) head(half *half) proto.Answers {
	m, h := &half.m, &p.block
	half.state = open
	half.counting = false
	if m.Framing != proto.NoBody && h.contentType.Len > 0 && !h.coded {
		mediaType := m.Bytes(h.contentType)
		if half.parts == nil {
			half.parts = framed.New(mediaType)
			half.counting = half.parts != nil
		} else {
			half.counting = half.parts.Reset(mediaType)
		}
	}
	answers := p.sink.Head(m)
	m.Raw, m.Fields = nil, nil
	return answers
}

// response takes the head of a response, interim or final.
func (p *Parser) response(s *side, st *stream, how proto.End, why proto.CloseReason) {
	h, half := &p.block, &st.half[s.dir]
	if how != proto.Whole && !h.hasPseudo(status) {
		s.odd |= h.odd
		half.state = givenUp
		p.settle(st)
		return
	}
	m := p.begin(s, half, proto.Response)
	s.odd = 0
	h.asResponse(m)
	fin := s.blocks.f.has(endStream)
	m.Framing = framingOf(h, fin)
	if m.Kind == proto.Interim || st.answers == proto.AnswersHEAD || m.Status == 204 || m.Status == 304 {
		m.Framing = proto.NoBody
	}
	answers := p.head(half)
	if st.answers == proto.AnswersUnknown {
		st.answers = answers
	}
	switch {
	case how != proto.Whole:
		p.end(st, s.dir, how, why)
		half.state = givenUp
		p.settle(st)
	case m.Kind == proto.Interim:
		if fin {
			m.Anomalies.Set(proto.BadFrame) // the answer is yet to come (RFC 9113 §8.1)
		}
		p.end(st, s.dir, proto.Whole, proto.Open)
		half.state = idle
		if fin {
			half.state = done
			p.settle(st)
		}
	case st.answers == proto.AnswersCONNECT && m.Status >= 200 && m.Status < 300:
		p.tunnel(s, st, fin)
	default:
		if answers == proto.AnswersHEAD {
			m.Framing = proto.NoBody
		}
		p.refuse(st)
		if fin {
			if m.Length > 0 && st.answers == proto.AnswersOrdinary && m.Status != 304 {
				m.Anomalies.Set(proto.LengthDiffers)
			}
			p.finish(st, s.dir)
		}
	}
}

// promised takes a PUSH_PROMISE (RFC 9113 §8.4): a request that the server makes in the client's place.
func (p *Parser) promised(s *side, how proto.End, why proto.CloseReason) {
	h, id := &p.block, s.blocks.promised
	if s.dir == p.client || id&1 != 0 || id == 0 || p.opened[s.dir].passed(id) || p.streams[id] != nil {
		s.odd.Set(proto.BadFrame)
		return
	}
	st := p.open(id, s)
	if st == nil {
		return
	}
	st.half[p.client].state = done
	half := &st.half[s.dir]
	if how != proto.Whole && !h.asks() {
		s.odd |= h.odd
		return
	}
	m := p.begin(s, half, proto.Request)
	s.odd = 0
	h.asRequest(m)
	m.Pushed = true
	m.Framing = proto.NoBody
	st.answers = answersOf(h.raw[m.Method.Off : m.Method.Off+m.Method.Len])
	p.head(half)
	p.end(st, s.dir, how, why)
	half.state = idle
}

// trailers takes the trailers of a message, which end it.
func (p *Parser) trailers(s *side, st *stream, how proto.End, why proto.CloseReason) {
	h, m := &p.block, &st.half[s.dir].m
	p.reached(s, m)
	m.Anomalies |= s.odd
	s.odd = 0
	h.asTrailers(m)
	if how != proto.Whole {
		p.end(st, s.dir, how, why)
		st.half[s.dir].state = givenUp
		p.settle(st)
		return
	}
	if !s.blocks.f.has(endStream) {
		m.Anomalies.Set(proto.BadTrailer) // they must be the last frame (RFC 9113 §8.1)
	}
	p.finish(st, s.dir)
}

// end ends the message of a half-stream. The trailers, if any, are in it already.
func (p *Parser) end(st *stream, d proto.Direction, how proto.End, why proto.CloseReason) {
	half := &st.half[d]
	m := &half.m
	if half.holed {
		half.holed = false
		m.BodyBytes--
		m.MissingBytes--
	}
	if half.doubt && how == proto.Whole && m.Kind != proto.Interim && m.Framing != proto.NoBody {
		if missing := m.Length - m.BodyBytes; m.Framing == proto.ByLength && missing >= 0 {
			m.BodyBytes += missing
			m.MissingBytes += missing
		} else {
			how = proto.Broken
		}
	}
	if how == proto.Whole && m.Framing == proto.ByLength && m.BodyBytes != m.Length {
		m.Anomalies.Set(proto.LengthDiffers)
	}
	if half.counting {
		p.counted(half, how)
	}
	if d != p.client && how == proto.Whole {
		p.resets = 0
	}
	m.End, m.Close = how, why
	p.sink.End(m)
	m.Raw, m.Fields = nil, nil
	half.state = done
}

// counted ends the count of the messages in a body.
func (p *Parser) counted(half *half, how proto.End) {
	m, c := &half.m, half.parts
	if how == proto.Whole {
		c.Close()
	}
	m.Parts = c.Parts()
	if c.Bad() {
		m.Anomalies.Set(proto.BadMessageFraming)
	}
	if lines := c.Trailers(); lines != nil {
		p.bodyTrailers(m, lines)
	}
	*p.held -= half.partsHeld
	half.partsHeld = 0
	half.counting = false
}

// bodyTrailers adds to a message the trailers that its body ended with (gRPC-Web), as lines of names and values.
func (p *Parser) bodyTrailers(m *proto.Message, lines []byte) {
	for len(lines) > 0 && len(m.Fields) < p.limits.MaxFields {
		line := lines
		if i := bytes.IndexByte(lines, '\n'); i >= 0 {
			line, lines = lines[:i], lines[i+1:]
		} else {
			lines = nil
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		name, value = bytes.TrimSpace(name), bytes.TrimSpace(value)
		off := len(m.Raw)
		m.Raw = append(append(m.Raw, name...), value...)
		m.Fields = append(m.Fields, proto.Field{Name: span(off, len(name)), Value: span(off+len(name), len(value)), Flags: proto.Trailer})
	}
}
