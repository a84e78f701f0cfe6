package fastcgi

import (
	"bytes"
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/cgi"
)

// content takes bytes of a record's content.
func (p *Parser) content(s *side, b []byte, at clock.Mark) {
	switch s.rec.kind {
	case beginRequest, endRequest:
		s.got += copy(s.fixed[s.got:], b)
	}
	st := s.stream
	if st == nil {
		return
	}
	h := &st.half[s.dir]
	switch s.rec.kind {
	case params:
		if h.progress == head {
			p.collect(s, st, b, at)
		} else {
			h.grow(at, at.Offset, len(b))
		}
	case stdin:
		h.grow(at, at.Offset, len(b))
		if h.progress == body {
			p.input(h, b)
		}
	case stdout:
		p.output(s, st, b, at)
	case data, endRequest:
		h.grow(at, at.Offset, len(b))
	case stderr:
		if !h.over() {
			p.keep(&st.stderr, b[:min(len(b), maxStderr-len(st.stderr))])
		}
	}
}

// over does what the record at hand says, which has come whole.
func (p *Parser) over(s *side) {
	r, st := &s.rec, s.stream
	switch {
	case r.kind == beginRequest:
		p.asks(s)
		return
	case st == nil:
		return
	}
	h := &st.half[s.dir]
	switch r.kind {
	case params:
		if r.length == 0 && h.progress == head {
			p.asked(st, proto.Whole, proto.Open)
		}
	case stdin, data:
		if r.length == 0 && h.progress == body && (r.kind == data) == (st.role == filter) {
			p.finish(st, s.dir)
		}
	case abortRequest:
		if st.half[p.client.Other()].progress != done {
			p.abort(st, &proto.Abort{By: s.dir, Name: "ABORT_REQUEST", At: s.at})
		}
	case endRequest:
		p.answered(s, st)
	}
}

// asks takes BEGIN_REQUEST (FastCGI §5.1).
func (p *Parser) asks(s *side) {
	st := p.add(s, s.rec.id)
	if st == nil {
		return
	}
	st.role = role(binary.BigEndian.Uint16(s.fixed[:]))
	s.start(st, proto.Request)
	st.half[s.dir].grow(s.latest, s.at.Offset, recordHeader+s.rec.length)
}

// collect keeps PARAMS.
func (p *Parser) collect(s *side, st *stream, b []byte, at clock.Mark) {
	buf := &st.buf[s.dir]
	take := min(len(b), p.limits.MaxHead-len(*buf))
	st.half[s.dir].grow(at, at.Offset, take)
	if p.keep(buf, b[:take]); take == len(b) {
		return
	}
	h := &st.half[s.dir]
	h.m.Anomalies.Set(proto.HeadTooLarge)
	p.asked(st, proto.Broken, proto.Open)
	h.progress = givenUp
}

// asked takes the head of a request: the variables that were collected. how is Whole for all of them; otherwise it says how a request ends
// that won't be complete, and why: it is told of if it is known what it asks for.
func (p *Parser) asked(st *stream, how proto.End, why proto.CloseReason) {
	d := p.client
	h := &st.half[d]
	m, r := &h.m, &p.request
	r.Begin(m, p.limits.MaxFields)
	for b := st.buf[d]; len(b) > 0; {
		name, value, rest, ok := nameValue(b)
		if !ok {
			if how == proto.Whole {
				m.Anomalies.Set(proto.BadValue)
			}
			break
		}
		r.Add(name, value)
		b = rest
	}
	p.release(&st.buf[d])
	if how != proto.Whole && !r.Known() {
		h.progress = givenUp
		return
	}
	r.End()
	if name := roleNames[st.role]; name != "" {
		m.Say(FactRole, []byte(name))
	}
	m.HeadSize = m.Size
	if how != proto.Whole {
		m.Framing = proto.NoBody // the rest of the head decides
	}
	p.tell(h)
	if how != proto.Whole {
		p.end(st, d, how, why)
	} else if st.role == authorizer { // it has no STDIN (FastCGI §6.3)
		p.finish(st, d)
	}
}

// tell tells of the head of a message, and makes ready for its body. It returns what the request was that it answers.
func (p *Parser) tell(h *half) proto.Answers {
	m := &h.m
	h.progress = body
	h.body.Begin(m)
	answers := p.sink.Head(m)
	m.Raw, m.Fields, m.Facts = nil, m.Fields[:0], m.Facts[:0]
	return answers
}

// input takes bytes of STDIN.
func (p *Parser) input(h *half, b []byte) {
	m := &h.m
	if m.Framing == proto.NoBody {
		m.Framing = proto.UntilStreamEnd // web servers don't always know the length
	}
	h.body.Add(m, b, p.sink, p.held)
}

// output takes bytes of STDOUT.
func (p *Parser) output(s *side, st *stream, b []byte, at clock.Mark) {
	h := &st.half[s.dir]
	buf := &st.buf[s.dir]
	if h.progress == idle {
		s.start(st, proto.Response)
		h.grow(s.latest, s.at.Offset, recordHeader)
		h.unsure = true // something may be missing before it
	}
	if h.progress != head {
		h.grow(at, at.Offset, len(b))
		p.page(h, b)
		return
	}
	// How much of b is head?
	from := len(*buf)
	n, first := cgi.HeadEnd(b, 0), b
	if from > 0 || n < 0 {
		p.keep(buf, b[:min(len(b), p.limits.MaxHead-from)])
		first = *buf
		n = cgi.HeadEnd(first, st.scanned)
		st.scanned = cgi.LineStart(first)
	}
	if h.unsure {
		switch cgi.Begins(first) {
		case proto.No:
			p.disbelieve(s, st)
			return
		case proto.Yes:
			h.unsure, st.doubt[s.dir] = false, false
		}
	}
	if room := p.limits.MaxHead - from; n > p.limits.MaxHead || n < 0 && len(b) >= room {
		if from == 0 && n > 0 {
			p.keep(buf, b[:room])
		}
		h.grow(at, at.Offset, room)
		h.m.Anomalies.Set(proto.HeadTooLarge)
		p.partial(st, s.dir, proto.Broken, proto.Open)
		h.progress = givenUp
		return
	}
	if n < 0 {
		h.grow(at, at.Offset, len(b))
		return
	}
	h.grow(at, at.Offset, n-from)
	cgi.ReadHead(&h.m, first[:n], true, p.limits.MaxFields)
	h.m.HeadSize = h.m.Size
	p.answer(h)
	p.release(buf)
	st.scanned = 0
	if b = b[n-from:]; len(b) > 0 {
		at = at.After(n - from)
		h.grow(at, at.Offset, len(b))
		p.page(h, b)
	}
}

// disbelieve gives up an answer that doesn't begin with what came: that is the rest of one.
func (p *Parser) disbelieve(s *side, st *stream) {
	h := &st.half[s.dir]
	h.progress, h.unsure = givenUp, false
	s.odd |= h.m.Anomalies
	p.release(&st.buf[s.dir])
	st.scanned = 0
}

// page takes bytes of the body of a response.
func (p *Parser) page(h *half, b []byte) {
	if h.progress != body {
		return
	}
	if h.m.Framing == proto.NoBody {
		h.m.Anomalies.Set(proto.BodyOnNoBody)
	}
	h.body.Add(&h.m, b, p.sink, p.held)
}

// answer tells of the head of a response.
func (p *Parser) answer(h *half) {
	if p.tell(h) == proto.AnswersHEAD {
		h.m.Framing = proto.NoBody
	}
}

// partial tells of a head that won't come whole, as far as it is known what it says, and ends its message.
func (p *Parser) partial(st *stream, d proto.Direction, how proto.End, why proto.CloseReason) {
	h := &st.half[d]
	if d == p.client {
		p.asked(st, how, why)
		return
	}
	lines := st.buf[d][:cgi.LineStart(st.buf[d])]
	known := !h.unsure && cgi.ReadHead(&h.m, lines, false, p.limits.MaxFields)
	if known {
		h.m.HeadSize, h.m.Framing = h.m.Size, proto.NoBody // the rest of the head decides
		p.answer(h)
	}
	p.release(&st.buf[d])
	st.scanned, h.unsure = 0, false
	if known {
		p.end(st, d, how, why)
	}
	h.progress = givenUp
}

// answered takes END_REQUEST (FastCGI §5.5).
func (p *Parser) answered(s *side, st *stream) {
	h := &st.half[s.dir]
	if s.got == bodySize {
		st.appStatus, st.status = binary.BigEndian.Uint32(s.fixed[:]), s.fixed[4]
	}
	if h.unsure {
		p.disbelieve(s, st)
	}
	switch h.progress {
	case head:
		// There is no head, or only lines of one.
		cgi.ReadHead(&h.m, st.buf[s.dir], false, p.limits.MaxFields)
		if st.status == 0 {
			h.m.Anomalies.Set(proto.BadStartLine)
		}
		h.m.Framing, h.m.HeadSize = proto.NoBody, h.m.Size
		p.answer(h)
		p.release(&st.buf[s.dir])
		p.end(st, s.dir, proto.Broken, proto.Open)
	case body:
		p.end(st, s.dir, proto.Whole, proto.Open)
	}
	h.progress = done
	if client := &st.half[p.client]; client.progress == givenUp || client.progress == body && st.doubt[p.client] {
		// Either it isn't looked at, or its end may have been missed: the id is free now.
		if client.progress == body {
			p.end(st, p.client, proto.Whole, proto.Open)
		}
		client.progress = done
	}
	p.settle(st)
}

// explain adds to a response that ends what is told beside it.
func (p *Parser) explain(st *stream, m *proto.Message) {
	m.Raw = p.text[:0]
	if st.appStatus != 0 {
		m.Count(FactAppStatus, int64(st.appStatus))
	}
	if st.status != 0 {
		m.Say(FactProtocolStatus, []byte(statusName(st.status)))
	}
	if text := bytes.TrimSpace(st.stderr); len(text) > 0 {
		m.Say(FactStderr, text)
	}
	p.text = m.Raw[:0]
}

// finish ends the message of a half whose end was seen.
func (p *Parser) finish(st *stream, d proto.Direction) {
	p.end(st, d, proto.Whole, proto.Open)
	p.settle(st)
}

// end ends the message of a half.
func (p *Parser) end(st *stream, d proto.Direction, how proto.End, why proto.CloseReason) {
	h := &st.half[d]
	m := &h.m
	if h.holed {
		h.holed = false
		m.BodyBytes--
		m.MissingBytes--
	}
	if st.doubt[d] && how == proto.Whole && m.Framing != proto.NoBody {
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
	h.body.End(m, how == proto.Whole, p.held)
	if d != p.client {
		p.explain(st, m)
	}
	m.End, m.Close = how, why
	p.sink.End(m)
	m.Raw, m.Facts = nil, m.Facts[:0]
	h.progress = done
}
