// Package memcached follows connections to memcached: the text protocol with its meta commands (protocol.txt of memcached 1.6), the
// binary protocol (BinaryProtocolRevamped), and both over UDP. Values are skipped by their length.
//
// # Theory of operation
//
// The first byte of a connection tells the dialect. Each direction is then a small machine:
//
//	text:    line --(that announces a value)--> value --> line end --> line
//	binary:  head --(header, extras, key)-----> value --> head
//	any --(a gap that isn't within a value, or what can't be a line or a header)--> lost
//	lost --(a segment that surely begins a message)--> line or head
//
// The responses to quiet requests are left out where they would say the ordinary: a value that isn't there, a value that was
// stored. So messages are numbered here rather than paired by counting; see Parser.answered.
//
// What is stored isn't handed out as a body: a text connection logs in by storing its user and password.
package memcached

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes memcached to detection.
var Protocol = proto.Protocol{
	Name: "memcached", Probe: Probe, ProbeBoth: ProbeBoth, Port: 11211, Resume: Resume, New: New,
	ProbeDatagram: ProbeDatagram, NewDatagrams: NewDatagrams, Pairing: proto.ByStream,
}

// keptBuffer is how much memory for texts and facts is kept from one message to the next, in bytes and in facts: more than nearly
// all need.
const (
	keptBuffer = 1 << 10
	keptFacts  = 32
)

// dialect is how a connection speaks.
type dialect uint8

const (
	undecided dialect = iota
	speaksText
	speaksBinary
)

// Parser takes one connection apart.
type Parser struct {
	sink    proto.Sink
	limits  *proto.Limits
	client  proto.Direction
	held    *int
	dialect dialect
	halves  [2]half
	closed  [2]bool

	waiting queue
	// next is the number of the next exchange; step is what is added for the one after.
	next, step uint64
	// again: the request that comes was sent before, and not answered. alone: it comes in a datagram of its own, so that nothing
	// will tell that a quiet request had the ordinary outcome.
	again, alone bool
}

// half is the state of one direction.
type half struct {
	msg   proto.Message
	state state
	// open: the Head of msg was emitted, and its End wasn't.
	open bool
	// head collects a line or a header that comes in pieces; headAt marks its first byte.
	head   []byte
	headAt clock.Mark
	// remain is what is left of the value, tail what is left of the line end behind it.
	remain int64
	tail   int
	// answers is the request that the open response answers, its stream 0 when it isn't known. series: the response goes on until a
	// line or a packet says that it is over.
	answers request
	series  bool
	// passed: the response is passed over.
	passed bool
}

type state uint8

const (
	// inHead: a line, or a header, is expected.
	inHead state = iota
	// inValue: bytes of a value, then those of its line end, are.
	inValue
	// inLong: the rest of a line that is longer than the limit is skipped.
	inLong
	// inLost: bytes are missing, and the beginning of a message is looked for.
	inLost
)

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = &Parser{}
	}
	p.open(c)
	return p
}

// open begins a connection.
func (p *Parser) open(c *proto.Context) {
	waiting := p.waiting.list[:0]
	messages := [2]proto.Message{p.halves[0].msg, p.halves[1].msg}
	*p = Parser{sink: c.Sink, limits: c.Limits, client: c.Client, held: c.Held, next: 1, step: 1}
	p.waiting.list = waiting
	for d := range p.halves {
		h := &p.halves[d]
		h.msg = messages[d]
		h.msg.Reset()
		h.msg.Dir = proto.Direction(d)
		if c.Resumed {
			h.state = inLost
		}
	}
	p.waiting.unsure = c.Resumed
}

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	h := &p.halves[d]
	if h.state == inLost && !p.found(h, b, at) {
		return proto.Verdict{}
	}
	if p.dialect == undecided {
		p.dialect = speaksText
		if b[0] == magicRequest || b[0] == magicResponse {
			p.dialect = speaksBinary
		}
	}
	for len(b) > 0 && h.state != inLost {
		n := p.take(h, b, at)
		b, at = b[n:], at.After(n)
	}
	return proto.Verdict{}
}

// take takes bytes of what is expected. It returns how many it took.
func (p *Parser) take(h *half, b []byte, at clock.Mark) int {
	switch {
	case h.state == inValue:
		return p.value(h, b, at)
	case h.state == inLong:
		return p.long(h, b, at)
	case p.dialect == speaksBinary:
		return p.header(h, b, at)
	}
	return p.line(h, b, at)
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	h := &p.halves[d]
	if h.state != inValue || n < 0 || n > h.remain {
		// Only within a value is it known what comes next.
		p.lose(h, at)
		return
	}
	m := &h.msg
	m.MissingBytes += n
	p.passed(h, n, at)
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	h := &p.halves[d]
	p.release(h)
	if h.open {
		h.msg.Close = why
		p.end(h, proto.Cut)
	}
	if d != p.client && why == proto.Finished && h.state == inHead {
		p.silence(h, p.waiting.quiet(), at, proto.UntilClose)
	}
	if p.closed[d] = true; d != p.client || p.closed[d.Other()] {
		p.drop(p.waiting.len())
		if cap(p.waiting.list) > keptFacts {
			p.waiting.list, p.waiting.first = nil, 0
		}
	}
}

// collect puts b behind what there is of a line or a header.
func (p *Parser) collect(h *half, b []byte, at clock.Mark) {
	if len(h.head) == 0 {
		h.headAt = at
	}
	h.head = append(h.head, b...)
	*p.held += len(b)
}

// release lets go of a collected line or header.
func (p *Parser) release(h *half) {
	*p.held -= len(h.head)
	h.head = h.head[:0]
	if cap(h.head) > keptBuffer {
		h.head = nil
	}
}

// begin prepares the message of a direction.
func (p *Parser) begin(h *half, first, last clock.Mark, size int) *proto.Message {
	m := &h.msg
	d := m.Dir
	m.Reset()
	m.Dir, m.First, m.Last, m.Size = d, first, last, int64(size)
	if d != p.client {
		m.Kind = proto.Response
	}
	return m
}

// emit hands out the head of a message, after which its texts are gone.
func (p *Parser) emit(h *half) {
	if !h.passed {
		p.sink.Head(&h.msg)
	}
	h.open = true
	forget(&h.msg)
}

// end closes the message of a direction.
func (p *Parser) end(h *half, how proto.End) {
	h.msg.End = how
	h.open = false
	if !h.passed {
		p.sink.End(&h.msg)
	}
	h.passed = false
	forget(&h.msg)
}

// lose gives up a direction until the beginning of a message is found.
func (p *Parser) lose(h *half, at clock.Mark) {
	p.release(h)
	if h.open {
		p.end(h, proto.Broken)
	}
	p.waiting.unsure = true
	if h.state != inLost {
		h.state = inLost
		p.sink.Lost(h.msg.Dir, at)
	}
}

// value takes bytes of a value, and of the line end behind it. It returns how many it took.
func (p *Parser) value(h *half, b []byte, at clock.Mark) int {
	if h.remain == 0 {
		return p.lineEnd(h, b, at)
	}
	n := int(min(int64(len(b)), h.remain))
	if h.msg.Kind == proto.Response {
		p.render(h, b[:n])
	}
	p.passed(h, int64(n), at)
	return n
}

// passed moves on by n bytes of a value, which begin at a mark.
func (p *Parser) passed(h *half, n int64, at clock.Mark) {
	m := &h.msg
	m.Size += n
	m.Last = at.After(int(n) - 1)
	if m.Kind == proto.Response {
		m.BodyBytes += n
	}
	if h.remain -= n; h.remain == 0 && h.tail == 0 {
		p.valueOver(h)
	}
}

// lineEnd takes a byte of the line end behind a value of the text protocol.
func (p *Parser) lineEnd(h *half, b []byte, at clock.Mark) int {
	if b[0] != lineEnd[len(lineEnd)-h.tail] {
		h.msg.Anomalies.Set(proto.BadValue)
		p.lose(h, at)
		return 1
	}
	h.msg.Size++
	h.msg.Last = at
	if h.tail--; h.tail == 0 {
		p.valueOver(h)
	}
	return 1
}

const lineEnd = "\r\n"

// valueOver goes on behind a value.
func (p *Parser) valueOver(h *half) {
	h.state = inHead
	switch {
	case h.msg.Kind == proto.Request:
		p.end(h, proto.Whole)
	default:
		p.render(h, newline)
		if !h.series {
			p.end(h, proto.Whole)
		}
	}
}

var newline = []byte("\n")

// part counts an item of a response, of n bytes, whose line or header begins at a mark.
func (h *half) part(n int64, at clock.Mark) {
	m := &h.msg
	if m.Parts.Count == 0 {
		m.Parts.First = at.Time
	}
	m.Parts.Count++
	m.Parts.Bytes += n
	m.Parts.Largest = max(m.Parts.Largest, n)
	m.Framing = proto.Rendered
}

// render adds to the text of a result, as far as it is wanted.
func (p *Parser) render(h *half, b []byte) {
	if !h.open || h.passed {
		return
	}
	if want := p.sink.WantsBody(&h.msg); want > 0 && len(b) > 0 {
		p.sink.Body(&h.msg, b[:min(len(b), want)])
	}
}

// forget drops the texts and facts of a message that have been handed out, and memory that few messages need.
func forget(m *proto.Message) {
	m.Raw, m.Facts = m.Raw[:0], m.Facts[:0]
	m.Method, m.Target = proto.Span{}, proto.Span{}
	if cap(m.Raw) > keptBuffer {
		m.Raw = nil
	}
	if cap(m.Facts) > keptFacts {
		m.Facts = nil
	}
}

// words takes a line apart at its spaces.
type words struct {
	line []byte
	at   int
}

// next returns the next word, empty when there is none, and where it begins.
func (w *words) next() (word []byte, at int) {
	for w.at < len(w.line) && w.line[w.at] == ' ' {
		w.at++
	}
	at = w.at
	if i := bytes.IndexByte(w.line[at:], ' '); i >= 0 {
		w.at = at + i
	} else {
		w.at = len(w.line)
	}
	return w.line[at:w.at], at
}
