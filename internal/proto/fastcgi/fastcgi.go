// Package fastcgi takes FastCGI apart (FastCGI Specification, version 1.0, April 1996): what web servers speak with PHP-FPM and its like. Its
// messages look like those of HTTP.
//
// # Theory of operation
//
// Each direction is a machine that reads records:
//
//	header --> content --> padding -+
//	  ^                             |
//	  +-----------------------------+
//
//	any --(a gap that may hide a record's border, or what is no record)--> lost
//	lost --(a segment that surely begins with a record, or has two that follow each other)--> header
//
// The records of several requests may be mixed, told apart by an id that is free again after END_REQUEST. So the parser numbers the
// requests itself (Message.Stream). Each has two halves:
//
//	web server:   idle --BEGIN_REQUEST--> head (PARAMS) --(empty PARAMS)--> body (STDIN) --(empty STDIN, of a filter empty DATA)--> done
//	application:  idle --STDOUT--> head --(empty line)--> body (STDOUT) --END_REQUEST--> done
//
// STDERR goes to the web server's log and is no part of the answer; its beginning is a fact of it.
//
// A request is forgotten when both are done. ABORT_REQUEST is an Abort; END_REQUEST, which answers it, is then passed over. An
// application that ends a request before all of STDIN has come leaves the rest to be read, or to be cut off by the id's next use.
//
// # Loss
//
// A gap within a record whose header was seen hides no border, and costs what the record carries: a part of a body, or the rest of a
// message whose head it was. Any other loses the direction until a record surely begins. The bodies under way go on, in
// doubt: when the end of one is seen, its announced length tells how many bytes are missing; without one it ends Broken. What the sink is
// given in between counts as one byte missing, so that it doesn't join what is before the hole with what is behind it. An answer of which
// nothing was seen before the hole begins only where it surely does. When both directions have lost bytes, ids may have changed hands:
// then no request from before is followed.
package fastcgi

import (
	"cmp"
	"slices"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/cgi"
)

// Protocol describes FastCGI to detection.
var Protocol = proto.Protocol{Name: "fastcgi", Probe: Probe, Resume: Resume, New: New, Pairing: proto.ByStream}

// The facts that messages of FastCGI have, beside those of cgi.
const (
	// FactRole is the role that the application is asked to play, where it isn't the usual one.
	FactRole = "role"
	// FactAppStatus is the status that the application ended with, where it isn't 0.
	FactAppStatus = "app_status"
	// FactProtocolStatus is how the request ended, where that isn't REQUEST_COMPLETE.
	FactProtocolStatus = "protocol_status"
	// FactStderr is the beginning of what the application wrote to its log.
	FactStderr = "stderr"
)

type state uint8

const (
	stateHeader state = iota
	stateContent
	statePadding
	stateLost
	stateDone
)

// Bounds that aren't worth a setting.
const (
	// maxStderr is how many bytes of STDERR are kept of a request.
	maxStderr = 2 << 10
	// keepCapacity is the largest buffer that a stream keeps for the next request, and maxFree how many streams are kept.
	keepCapacity = 4 << 10
	maxFree      = 4
	// streamCost is about what a stream that is followed takes, in bytes, beside its buffers.
	streamCost = 1 << 10
)

// Parser takes one connection apart. See the package comment.
type Parser struct {
	sink   proto.Sink
	limits *proto.Limits
	held   *int
	client proto.Direction
	sides  [2]side
	// streams are those that are followed, by the id that they have now; free are those that may be used again. number is that of the
	// last one.
	streams map[uint16]*stream
	free    []*stream
	number  uint64
	// request makes heads of requests, text holds what the end of a message tells.
	request cgi.Request
	text    []byte
}

// side is the state of one direction.
type side struct {
	dir   proto.Direction
	role  proto.Role
	state state
	// header collects the header of a record, of which have bytes are there.
	header [recordHeader]byte
	have   int
	// rec is the record at hand, at marks its first byte, latest the byte of it that arrived last, and remain is how much of its content
	// or of its padding is left.
	rec        record
	at, latest clock.Mark
	remain     int
	// stream is that of the record, nil when it isn't followed.
	stream *stream
	// fixed collects the content of BEGIN_REQUEST and END_REQUEST, of which got bytes are there.
	fixed [bodySize]byte
	got   int
	// odd are anomalies for the next message: what they are of isn't a message.
	odd proto.Anomalies
}

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = &Parser{streams: make(map[uint16]*stream)}
	}
	clear(p.streams)
	*p = Parser{
		sink: c.Sink, limits: c.Limits, held: c.Held, client: c.Client,
		streams: p.streams, free: p.free, request: p.request, text: p.text[:0],
	}
	for d := range p.sides {
		s := &p.sides[d]
		s.dir, s.role = proto.Direction(d), proto.Server
		if s.dir == c.Client {
			s.role = proto.Client
		}
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
	if s.state == stateLost {
		n := p.find(s, b)
		if n < 0 {
			return proceed
		}
		s.state, s.have = stateHeader, 0
		b = b[n:]
	}
	for len(b) > 0 {
		at.Offset = begin + int64(size-len(b))
		var n int
		switch s.state {
		case stateHeader:
			n = p.header(s, b, at)
		case stateContent:
			s.came(at)
			n = min(len(b), s.remain)
			s.remain -= n
			p.content(s, b[:n], at)
			if s.remain == 0 {
				p.carried(s)
			}
		case statePadding:
			n = min(len(b), s.remain)
			p.pad(s, n, at)
		default:
			return proceed
		}
		b = b[n:]
	}
	return proceed
}

// came notes when bytes of the record have arrived.
func (s *side) came(at clock.Mark) {
	if at.Time >= s.latest.Time {
		s.latest = at
	}
}

// header takes bytes of a record's header. It returns how many it took.
func (p *Parser) header(s *side, b []byte, at clock.Mark) int {
	if s.have == 0 {
		s.at, s.latest = at, at
	}
	s.came(at)
	n := copy(s.header[s.have:], b)
	if s.have += n; s.have < recordHeader {
		return n
	}
	s.have = 0
	s.rec = parseRecord(s.header[:])
	if s.rec.version != version {
		s.odd.Set(proto.SurplusBytes)
		p.lose(s, at)
		return len(b)
	}
	p.begin(s)
	return n
}

// begin begins a record.
func (p *Parser) begin(s *side) {
	r := &s.rec
	s.state, s.remain, s.got, s.stream = stateContent, r.length, 0, nil
	switch {
	case !r.allowed(s.role):
		s.odd.Set(proto.BadFrame)
		r.kind = 0 // it carries nothing that is looked at
	case r.id != 0 && r.kind != beginRequest:
		s.stream = p.follow(s)
	}
	if st := s.stream; st != nil && r.kind != stderr {
		st.half[s.dir].grow(s.latest, s.at.Offset, recordHeader)
	}
	if s.remain == 0 {
		p.carried(s)
	}
}

// carried ends the content of a record.
func (p *Parser) carried(s *side) {
	s.state, s.remain = statePadding, s.rec.padding
	if s.remain == 0 {
		s.state = stateHeader
	}
	p.over(s)
}

// pad takes n bytes of padding. It is part of a message unless that has ended.
func (p *Parser) pad(s *side, n int, at clock.Mark) {
	if st := s.stream; st != nil && s.rec.kind != stderr {
		st.half[s.dir].grow(at, at.Offset, n)
	}
	if s.remain -= n; s.remain == 0 {
		s.state = stateHeader
	}
}

// keep adds b to what is kept in buf, release lets go of that.
func (p *Parser) keep(buf *[]byte, b []byte) {
	*p.held += len(b)
	*buf = append(*buf, b...)
}

func (p *Parser) release(buf *[]byte) {
	*p.held -= len(*buf)
	if *buf = (*buf)[:0]; cap(*buf) > keepCapacity {
		*buf = nil
	}
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	s := &p.sides[d]
	switch s.state {
	case stateLost:
		p.doubt(s)
		return
	case stateDone:
		return
	case stateContent, statePadding:
		left := int64(s.remain)
		if s.state == stateContent {
			left += int64(s.rec.padding)
		}
		if n != proto.Unknown && n <= left {
			p.miss(s, int(n), at)
			return
		}
		if n != proto.Unknown {
			p.miss(s, int(left), at)
		}
	}
	p.lose(s, at)
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, _ clock.Mark, why proto.CloseReason) {
	s := &p.sides[d]
	if s.state == stateDone {
		return
	}
	s.state, s.stream = stateDone, nil
	for _, st := range p.open() {
		p.cut(st, d, why)
	}
	if p.sides[d.Other()].state == stateDone {
		for _, st := range p.open() {
			p.drop(st)
		}
	}
}

// open returns the streams that are followed, in the order in which they began.
func (p *Parser) open() []*stream {
	if len(p.streams) == 0 {
		return nil
	}
	all := make([]*stream, 0, len(p.streams))
	for _, st := range p.streams {
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b *stream) int { return cmp.Compare(a.number, b.number) })
	return all
}
