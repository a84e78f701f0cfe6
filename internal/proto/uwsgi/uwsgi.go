// Package uwsgi takes the uwsgi protocol apart (https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html): what web servers speak with uWSGI.
// Its messages look like those of HTTP, and its responses are such.
//
// # Theory of operation
//
// Each direction is a small machine:
//
//	web server:   header --> block of variables -+-> body by length -+--> header
//	                 ^                           +-------------------+
//	application:  head -+-> body by length ------+--> head
//	                    +-> body until close
//
//	any but a body --(a gap, or bytes that can't be a message)--> lost
//	lost --(a segment that surely begins a message)--> header, or head
//
// Web servers send one request a connection, and applications close it behind the answer; the protocol doesn't say that it must be so.
package uwsgi

import (
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/cgi"
)

// Protocol describes uwsgi to detection.
var Protocol = proto.Protocol{Name: "uwsgi", Probe: Probe, Resume: Resume, New: New}

type state uint8

const (
	stateHead state = iota // header and block of variables, or the head of a response
	stateLength
	stateUntilClose
	stateLost
	stateDone
)

// keepCapacity is the largest buffer that a side keeps between messages.
const keepCapacity = 4 << 10

// Parser takes one connection apart. See the package comment.
type Parser struct {
	sink    proto.Sink
	limits  *proto.Limits
	held    *int
	client  proto.Direction
	sides   [2]side
	request cgi.Request
}

// side is the state of one direction.
type side struct {
	state state
	msg   proto.Message
	body  cgi.Body
	// remain is what is left of a body whose length is known.
	remain int64
	// buf collects a head that comes in pieces; bufAt marks its first byte, latest the byte that arrived last, and scanned is how much
	// of it holds no empty line.
	buf           []byte
	bufAt, latest clock.Mark
	scanned       int
	// surplus: something came before the next message.
	surplus bool
}

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = new(Parser)
	}
	old := p.sides
	*p = Parser{sink: c.Sink, limits: c.Limits, held: c.Held, client: c.Client, request: p.request}
	for d := range p.sides {
		s := &p.sides[d]
		s.buf, s.body = old[d].buf[:0], old[d].body
		s.msg.Fields, s.msg.Facts = old[d].msg.Fields[:0], old[d].msg.Facts[:0]
		s.msg.Dir = proto.Direction(d)
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
	if s.state == stateLost && p.begins(d, b) {
		s.state = stateHead
	}
	for len(b) > 0 {
		at.Offset = begin + int64(size-len(b))
		var n int
		switch s.state {
		case stateHead:
			if d == p.client {
				n = p.block(s, b, at)
			} else {
				n = p.head(s, b, at)
			}
		case stateLength:
			n = int(min(int64(len(b)), s.remain))
			s.remain -= int64(n)
			p.content(s, b[:n], at)
			if s.remain == 0 {
				p.end(s, proto.Whole, proto.Open)
			}
		case stateUntilClose:
			n = len(b)
			p.content(s, b, at)
		case stateLost:
			s.surplus = true
			return proceed
		case stateDone:
			return proceed
		}
		b = b[n:]
	}
	return proceed
}

// begins reports whether a segment surely begins a message.
func (p *Parser) begins(d proto.Direction, b []byte) bool {
	if d != p.client {
		return cgi.BeginsStatus(b) == proto.Yes
	}
	m, _ := Resume(b)
	return m == proto.Yes
}

// keep collects bytes of a head.
func (p *Parser) keep(s *side, b []byte, at clock.Mark) {
	if len(b) == 0 {
		return
	}
	if len(s.buf) == 0 {
		s.bufAt, s.latest = at, at
	}
	if at.Time >= s.latest.Time {
		s.latest = at
	}
	*p.held += len(b)
	s.buf = append(s.buf, b...)
}

// release empties the collected bytes.
func (p *Parser) release(s *side) {
	*p.held -= len(s.buf)
	if s.buf = s.buf[:0]; cap(s.buf) > keepCapacity {
		s.buf = nil
	}
	s.scanned = 0
}

// block takes bytes of a packet: its header and its variables. It returns how many it took.
func (p *Parser) block(s *side, b []byte, at clock.Mark) int {
	if len(s.buf) == 0 && len(b) >= packetHeader {
		// The common case: all of it lies within b.
		if n := packetHeader + int(binary.LittleEndian.Uint16(b[1:])); n <= len(b) && requests[b[0]] && n <= p.limits.MaxHead {
			p.asked(s, b[:n], at, at, proto.Whole, proto.Open)
			return n
		}
	}
	n := min(len(b), max(packetHeader-len(s.buf), 0))
	if p.keep(s, b[:n], at); len(s.buf) < packetHeader {
		return n
	}
	if !requests[s.buf[0]] {
		s.surplus = true
		p.lose(s, at)
		return len(b)
	}
	size := packetHeader + int(binary.LittleEndian.Uint16(s.buf[1:]))
	take := min(len(b)-n, min(size, p.limits.MaxHead)-len(s.buf))
	p.keep(s, b[n:n+take], at.After(n))
	switch n += take; len(s.buf) {
	case size:
		p.asked(s, s.buf, s.bufAt, s.latest, proto.Whole, proto.Open)
	case p.limits.MaxHead:
		p.asked(s, s.buf, s.bufAt, s.latest, proto.Broken, proto.Open)
		p.lose(s, at)
		return len(b)
	}
	return n
}

// begin begins a message whose head has so many bytes.
func (p *Parser) begin(s *side, k proto.Kind, size int, at, latest clock.Mark) {
	m := &s.msg
	d := m.Dir
	m.Reset()
	m.Kind, m.Dir, m.First, m.Last = k, d, at, latest
	m.HeadSize, m.Size = int64(size), int64(size)
	m.Last.Offset = at.Offset + int64(size-1)
	if s.surplus {
		m.Anomalies.Set(proto.SurplusBytes)
		s.surplus = false
	}
}

// asked takes a packet that is a request. how is Whole for all of it; otherwise it says how a request ends that won't be complete,
// and why: it is told of if it is known what it asks for.
func (p *Parser) asked(s *side, b []byte, at, latest clock.Mark, how proto.End, why proto.CloseReason) {
	m, r := &s.msg, &p.request
	p.begin(s, proto.Request, len(b), at, latest)
	r.Begin(m, p.limits.MaxFields)
	for block := b[min(len(b), packetHeader):]; len(block) > 0; {
		name, value, rest, ok := variable(block)
		if !ok {
			if how == proto.Whole {
				m.Anomalies.Set(proto.BadValue)
			}
			break
		}
		r.Add(name, value)
		block = rest
	}
	if how != proto.Whole && !r.Known() {
		p.release(s)
		return
	}
	if how == proto.Broken && len(b) == p.limits.MaxHead {
		m.Anomalies.Set(proto.HeadTooLarge)
	}
	r.End()
	if how != proto.Whole {
		m.Framing = proto.NoBody // the rest of the head decides
	}
	s.body.Begin(m)
	p.sink.Head(m)
	m.Raw, m.Fields, m.Facts = nil, m.Fields[:0], m.Facts[:0]
	p.release(s)
	switch {
	case how != proto.Whole:
		p.end(s, how, why)
	case m.Framing == proto.ByLength:
		s.state, s.remain = stateLength, m.Length
	default:
		p.end(s, proto.Whole, proto.Open)
	}
}

// head takes bytes of the head of a response. It returns how many it took.
func (p *Parser) head(s *side, b []byte, at clock.Mark) int {
	have := len(s.buf)
	if have == 0 {
		if n := cgi.HeadEnd(b, 0); n > 0 && n <= p.limits.MaxHead && cgi.BeginsStatus(b) == proto.Yes {
			p.answer(s, b[:n], at, at, proto.Whole, proto.Open)
			return n
		}
	}
	p.keep(s, b[:min(len(b), p.limits.MaxHead-have)], at)
	if cgi.BeginsStatus(s.buf) == proto.No {
		s.surplus = true
		p.lose(s, at)
		return len(b)
	}
	n := cgi.HeadEnd(s.buf, s.scanned)
	s.scanned = cgi.LineStart(s.buf)
	switch {
	case n > 0:
		*p.held -= len(s.buf) - n
		s.buf = s.buf[:n]
		p.answer(s, s.buf, s.bufAt, s.latest, proto.Whole, proto.Open)
		return n - have
	case len(s.buf) == p.limits.MaxHead:
		p.answer(s, s.buf, s.bufAt, s.latest, proto.Broken, proto.Open)
		p.lose(s, at)
	}
	return len(b)
}

// answer takes the head of a response. how is Whole for all of it; otherwise it says how a response ends that won't be complete,
// and why: it is told of if its status is known.
func (p *Parser) answer(s *side, b []byte, at, latest clock.Mark, how proto.End, why proto.CloseReason) {
	m := &s.msg
	p.begin(s, proto.Response, len(b), at, latest)
	lines := b
	if how != proto.Whole {
		lines = b[:cgi.LineStart(b)]
	}
	if !cgi.ReadHead(m, lines, how == proto.Whole, p.limits.MaxFields) {
		m.Raw, m.Fields = nil, m.Fields[:0]
		p.release(s)
		return
	}
	if how == proto.Broken && len(b) == p.limits.MaxHead {
		m.Anomalies.Set(proto.HeadTooLarge)
	}
	switch {
	case how != proto.Whole:
		m.Framing = proto.NoBody // the rest of the head decides
	case m.Framing == proto.UntilStreamEnd:
		m.Framing = proto.UntilClose
	}
	s.body.Begin(m)
	if p.sink.Head(m) == proto.AnswersHEAD {
		m.Framing = proto.NoBody
	}
	m.Raw, m.Fields = nil, m.Fields[:0]
	p.release(s)
	switch {
	case how != proto.Whole:
		p.end(s, how, why)
	case m.Framing == proto.UntilClose:
		s.state = stateUntilClose
	case m.Framing == proto.ByLength:
		s.state, s.remain = stateLength, m.Length
	default:
		p.end(s, proto.Whole, proto.Open)
	}
}

// content takes bytes of a body.
func (p *Parser) content(s *side, b []byte, at clock.Mark) {
	m := &s.msg
	m.Size += int64(len(b))
	if at.Time >= m.Last.Time {
		m.Last = at
	}
	m.Last.Offset = at.Offset + int64(len(b)-1)
	s.body.Add(m, b, p.sink, p.held)
}

// end ends the message under way.
func (p *Parser) end(s *side, how proto.End, why proto.CloseReason) {
	m := &s.msg
	s.body.End(m, how == proto.Whole, p.held)
	m.End, m.Close = how, why
	p.sink.End(m)
	s.state = stateHead
}

// lose gives up a direction until a message surely begins.
func (p *Parser) lose(s *side, at clock.Mark) {
	p.release(s)
	s.state = stateLost
	p.sink.Lost(s.msg.Dir, at)
}

// partial tells of a head that won't come whole, as far as it is known what it says.
func (p *Parser) partial(s *side, how proto.End, why proto.CloseReason) {
	switch {
	case len(s.buf) == 0:
	case s.msg.Dir == p.client:
		p.asked(s, s.buf, s.bufAt, s.latest, how, why)
	default:
		p.answer(s, s.buf, s.bufAt, s.latest, how, why)
	}
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	s := &p.sides[d]
	m := &s.msg
	switch {
	case s.state == stateLost, s.state == stateDone:
		return
	case s.state == stateHead:
		p.partial(s, proto.Broken, proto.Open)
	case n == proto.Unknown:
		p.end(s, proto.Broken, proto.Open)
	case s.state == stateUntilClose:
		m.Size += n
		s.body.Miss(m, n, p.held)
		return
	default:
		hidden := min(n, s.remain)
		s.remain -= hidden
		m.Size += hidden
		if at.Time >= m.Last.Time {
			m.Last = at
		}
		m.Last.Offset = at.Offset + hidden - 1
		s.body.Miss(m, hidden, p.held)
		if s.remain == 0 {
			p.end(s, proto.Whole, proto.Open)
		}
		if n == hidden {
			return
		}
	}
	p.lose(s, at)
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, _ clock.Mark, why proto.CloseReason) {
	s := &p.sides[d]
	switch s.state {
	case stateHead:
		p.partial(s, proto.Cut, why)
	case stateUntilClose:
		if why == proto.Finished {
			p.end(s, proto.Whole, proto.Open)
			break
		}
		p.end(s, proto.Cut, why)
	case stateLength:
		p.end(s, proto.Cut, why)
	}
	p.release(s)
	s.state = stateDone
}
