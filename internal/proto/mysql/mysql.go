// Package mysql takes the client/server protocol of MySQL and MariaDB apart
// (https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html and
// https://mariadb.com/kb/en/clientserver-protocol/): a login, and then commands and what they return.
//
// Each command is a request and what answers it one response, with all of its results. A command that nobody answers is one-way.
// Statements that were prepared are kept by number, so that an execution shows its text.
//
// # Theory of operation
//
// Packets carry their length, so there is always a next one to look at:
//
//	packet = length (3 bytes, little-endian) sequence (1 byte) payload
//
// and one of 2^24-1 bytes goes on in the next. In a compressed session these lie within other packets (see compress.go). Which
// command it is, the first byte of the client's payload says; what an answer's first byte means depends on the command:
//
//	login --(SSLRequest)--> Handover to TLS, in which a login without greeting follows
//	login --(OK)----------> idle
//
//	             +-------------(OK, ERR, or a single packet)-----------+
//	             v                                                     |
//	idle --(the next answer begins)--> result --(column count)--> columns --(all, and EOF)--> rows
//	                                   ^  ^                                                   |
//	                                   |  +-----------(more results)--------------------------+
//	                                   +-(0xFB: the client sends a file)                      |
//	idle <---------------------------------------------------------(EOF, OK or ERR)-----------+
//
// Whether an EOF stands between columns and rows depends on the session's capabilities. The packet itself tells as well, since an
// EOF has five bytes and the OK that takes its place at least seven; so nothing need be known of the login.
//
// Answers come in the order of commands, so that they are paired by counting (proto.InOrder). After a loss the engine goes by
// acknowledgements, and so does this parser: an answer begins where the client's acknowledgement stood when it sent the command.
package mysql

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes the protocol to detection.
var Protocol = proto.Protocol{Name: "mysql", Probe: Probe, Resume: Resume, ResumeHinted: ResumeHinted, New: New, Pairing: proto.InOrder}

// Parser takes one connection apart.
type Parser struct {
	sink   proto.Sink
	limits *proto.Limits
	client proto.Direction
	held   *int
	halves [2]half

	// verdict is what Data answers.
	verdict proto.Verdict
	closed  int

	session  session
	commands outstanding
	answer   answer
	prepared statements

	// sendingFile: the client's packets are those of a file (LOCAL INFILE), up to an empty one, and the next has the number
	// fileNext. asking: the request is kept open, since a file may follow.
	sendingFile, asking bool
	fileNext            byte
	// shown is the text of a row, and holds what it counted for.
	shown  []byte
	shownN int
	// unzip undoes compression.
	unzip inflater
}

// phase is how far a session has come.
type phase uint8

const (
	// greeting: the server speaks next, or the client, in a session within TLS, and after a capture that began late.
	greeting phase = iota
	// login: the client has answered.
	login
	// commanding: the client is in.
	commanding
)

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p := &Parser{sink: c.Sink, limits: c.Limits, client: c.Client, held: c.Held}
	p.prepared.held = c.Held
	for d := range p.halves {
		p.halves[d].msg.Dir = proto.Direction(d)
		p.halves[d].lost = c.Resumed
	}
	p.session.inferred = c.Resumed
	p.commands.doubt = c.Resumed
	if c.Resumed {
		p.session.phase = commanding
	}
	return p
}

func (p *Parser) isClient(h *half) bool { return h.msg.Dir == p.client }

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	h := &p.halves[d]
	if h.lost {
		n := p.resync(h, b, at)
		if n < 0 {
			return p.verdict
		}
		b, at = b[n:], at.After(n)
	}
	p.feed(h, b, at)
	p.commands.settle(p.held)
	v := p.verdict
	if v.Action == proto.Handover {
		p.forget()
	}
	return v
}

// feed takes bytes that aren't lost.
func (p *Parser) feed(h *half, b []byte, at clock.Mark) {
	whole := len(b)
	for len(b) > 0 && p.verdict.Action == proto.Continue {
		if h.lost {
			return // what the beginning of a segment would show, its end doesn't
		}
		var n int
		if h.compressed {
			n = p.outer(h, b, at)
		} else {
			n = p.packets(h, b, mark{at: at})
		}
		b, at = b[n:], at.After(n)
	}
	if p.verdict.Action == proto.Handover {
		p.verdict.Consumed = whole - len(b)
	}
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	h := &p.halves[d]
	switch {
	case h.lost:
		// Nothing of it was expected.
		p.sink.Lost(d, at)
	case n == proto.Unknown || h.compressed || !p.skip(h, n, at):
		p.lose(h, at)
	}
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	h := &p.halves[d]
	h.release(p.held)
	if h.open {
		h.msg.Close, h.msg.Facts = why, h.msg.Facts[:0]
		p.end(h, proto.Cut)
	}
	h.free(p.held)
	if p.closed++; p.closed == len(p.halves) {
		p.forget()
	}
}

// forget lets go of all that is kept.
func (p *Parser) forget() {
	for i := range p.halves {
		p.halves[i].release(p.held)
		p.halves[i].free(p.held)
	}
	p.commands.clear(&p.prepared)
	p.commands.settle(p.held)
	p.prepared.clear()
	p.prepared.drop(&p.answer.command)
	p.answer.command = command{}
	p.freeShown()
	p.unzip.free(p.held)
}

// end closes the open message of a half. What Raw borrowed is gone by now; facts are those that end made, if any.
func (p *Parser) end(h *half, how proto.End) {
	m := &h.msg
	m.End = how
	m.Size = m.Last.Offset + 1 - m.First.Offset
	if len(m.Facts) == 0 {
		m.Raw = nil
	}
	h.open = false
	p.sink.End(m)
	if cap(h.text) > keptText {
		h.free(p.held)
	}
}

// keptText is the largest buffer for a message's texts that is kept from one to the next, in bytes.
const keptText = 4 << 10

// begin makes a half's message anew.
func (p *Parser) begin(h *half, kind proto.Kind, first clock.Mark) *proto.Message {
	m := &h.msg
	d := m.Dir
	m.Reset()
	m.Raw = nil
	m.Dir, m.Kind, m.First, m.Last = d, kind, first, first
	h.text = h.text[:0]
	return m
}

// head emits the head of a half's message, with the texts that were written for it.
func (p *Parser) head(h *half) {
	m := &h.msg
	h.settle(p.held)
	m.Raw = h.text
	h.open = true
	p.sink.Head(m)
	// What comes with the end is new.
	m.Raw, m.Facts = nil, m.Facts[:0]
	h.text = h.text[:0]
}

// lose gives up a direction until something begins that is sure.
func (p *Parser) lose(h *half, at clock.Mark) {
	h.release(p.held)
	if h.open {
		h.msg.Facts = h.msg.Facts[:0]
		p.end(h, proto.Broken)
	}
	if h.lost {
		return
	}
	h.lost = true
	p.sink.Lost(h.msg.Dir, at)
	if s := &p.session; s.phase != commanding {
		s.inferred = s.inferred || s.agreed == 0
		p.enter()
	}
	if p.isClient(h) {
		p.commands.doubt = true
		p.sendingFile, p.asking = false, false
		p.prepared.forgetLong()
		return
	}
	p.prepared.drop(&p.answer.command)
	p.answer.reset()
	p.freeShown()
}

// enter begins the commands of a session, in compressed packets where that was agreed.
func (p *Parser) enter() {
	p.session.phase = commanding
	if !p.session.inferred && p.answer.ends == endsUnknown && p.session.agreed != 0 {
		p.answer.ends = endsByEOF
		if p.session.has(capDeprecateEOF) {
			p.answer.ends = endsBare
		}
	}
	if p.session.compression != "" {
		for i := range p.halves {
			p.halves[i].compressed = true
		}
	}
}

// resync looks for the place in a lost direction where something surely begins. It returns how many bytes come before, or -1.
func (p *Parser) resync(h *half, b []byte, at clock.Mark) int {
	if p.session.inferred && !p.commands.seen {
		if match, role := Probe(b); match == proto.Yes && (role == proto.Client) == p.isClient(h) {
			p.restart()
			return 0
		}
	}
	if p.isClient(h) {
		compressed := false
		if h.compressed || !plausibleAll(b) {
			if !plausibleOuter(b) {
				return -1
			}
			compressed = true
		}
		if compressed && !h.compressed {
			p.halves[0].compressed, p.halves[1].compressed = true, true
		}
		h.lost, p.commands.seen = false, true
		return 0
	}
	header := headerSize
	if h.compressed {
		header = outerHeader
	}
	n := p.commands.resync(b, at, header, &p.prepared)
	h.lost = n < 0
	return n
}

// restart begins a session with its login, where nothing of it was seen before.
func (p *Parser) restart() {
	p.session = session{}
	p.commands.doubt = false
	for i := range p.halves {
		p.halves[i].lost, p.halves[i].compressed = false, false
	}
}
