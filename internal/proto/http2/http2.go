// Package http2 takes HTTP/2 apart (RFC 9113, with HPACK of RFC 7541 and the extended CONNECT of RFC 8441).
//
// # Theory of operation
//
// Each direction is a machine that reads frames:
//
//	preface --> header -+-> DATA: [padding's length] -> body -> [padding] ->-+
//	  (client)   ^      +-> collect, then act on it -> [rest] ------------->-+
//	             |      +-> skip (extensions, PRIORITY, PING) ------------->-+
//	             +-----------------------------------------------------------+
//
//	any --(a gap that may hide a frame's border)--> lost
//	lost --(a segment that surely begins with a frame)--> header
//
// What DATA carries is passed on as it comes. Header blocks are decoded where they are when they lie within one call of
// Data, and are collected otherwise.
//
// Each stream has two halves, one a direction:
//
//	idle --HEADERS--> open --(END_STREAM)--> done
//	  |                |  \--(RST_STREAM, GOAWAY, close)--> done
//	  |                \--(2xx to a CONNECT)--> tunnel --(END_STREAM)--> done
//	  \--(the message can't be known)--> done
//
// and is let go when both are done. Messages that open on it afterwards are told from those of new streams by their
// number, since numbers only grow.
//
// # Loss
//
// A gap within a frame whose header was seen hides no border, and costs what the frame carries. Any other loses the
// direction until a segment begins with a frame for sure. Then these things aren't known any more:
//
//   - the dynamic table of the direction, see table;
//   - the windows of flow control;
//   - whether bytes of the messages under way were hidden, or their ends. Such a message goes on, in doubt: when its last
//     frame comes, its announced length tells how many bytes are missing. Without one it ends Broken; so it does when
//     nothing more is seen of it for a while. What its sink is given in between counts as one byte missing, so that the
//     sink doesn't join what is before the hole with what is behind it.
package http2

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes HTTP/2 to detection.
var Protocol = proto.Protocol{Name: "http2", Probe: Probe, Resume: Resume, New: New, Pairing: proto.ByStream}

type state uint8

const (
	statePreface state = iota
	stateHeader
	statePadLength // the first byte of a padded DATA frame
	stateData
	stateCollect // the payload of a frame that is looked at as a whole
	stateSkip    // the rest of a frame
	stateLost
	stateDone
)

// Bounds that aren't worth a setting.
const (
	// maxEarly is how many bytes that a client sends after CONNECT, before the answer, are kept.
	maxEarly = 16 << 10
	// maxFragments is how many frames a header block may come in.
	maxFragments = 256
	// maxEmpty is how many frames that carry nothing may follow each other, maxResets how many requests given up by the client
	// before an answer, before it is called a flood.
	maxEmpty  = 1000
	maxResets = 100
	// maxRecent is how many of the streams that were given up are remembered.
	maxRecent = 32
	// maxUnacked is how many SETTINGS that weren't acknowledged are kept.
	maxUnacked = 8
	// keepCapacity is the largest buffer that a direction keeps between frames, keepTable the largest table, and keepStreams the
	// most streams, that a parser keeps for the next connection.
	keepCapacity = 1 << 10
	keepTable    = 8 << 10
	keepStreams  = 8
	// maxFree is how many streams are kept for the next ones of the connection.
	maxFree = 128
	// maxOverhead is what a HEADERS frame has beside its block: padding and priority.
	maxOverhead = 1 + 5 + 255
)

// Parser takes one connection apart. See the package comment.
type Parser struct {
	sink   proto.Sink
	limits *proto.Limits
	nest   func(proto.Nested) proto.Parser
	held   *int
	client proto.Direction
	// resumed: there were streams before the parser began.
	resumed bool
	sides   [2]side
	block   block

	// streams are those that are followed, by number; oldest and newest are the ends of their list, in the order in which they
	// began. free are those that may be used again.
	streams        map[uint32]*stream
	oldest, newest *stream
	free           []*stream
	// opened are the numbers of the streams that each end has opened.
	opened [2]numbers
	// goneAway are the GOAWAYs, by the end that sent them.
	goneAway [2]departure
	// resets counts the requests in a row that the client has given up before their answer. recent are the streams that were given
	// up last, by either, and nextRecent is where the next one goes.
	resets     int
	recent     [maxRecent]uint32
	nextRecent int
}

// side is the state of one direction.
type side struct {
	dir   proto.Direction
	state state
	// header collects the header of a frame, of which have bytes are there.
	header [frameHeader]byte
	have   int
	// f is the frame at hand, at marks its first byte, and latest the byte of it that arrived last.
	f          frame
	at, latest clock.Mark
	// remain is how much of what the state reads is left, rest what of the payload comes after it.
	remain, rest int
	// buf collects a payload.
	buf []byte
	// stream is that of a DATA frame, nil when it isn't followed.
	stream *stream

	table   table
	blocks  collecting
	flow    flow
	unacked unacked
	// maxFrame is the largest frame that the receiver allows, 0 when it isn't known, and then usual is what it was last known to be.
	maxFrame, usual int

	// odd are anomalies for the next message: what they are of isn't a message, or isn't shown.
	odd proto.Anomalies
	// empty counts the frames in a row that carry nothing.
	empty int
	// doubtful: there are messages in doubt, which are looked through again at due.
	doubtful bool
	due      int64
}

// collecting is a header block that comes in several frames.
type collecting struct {
	// open: there is one.
	open bool
	// f is its first frame, at marks that frame's first byte, size counts the bytes of all its frames, and frames these. latest is
	// the byte that arrived last.
	f          frame
	at, latest clock.Mark
	size       int64
	frames     int
	// buf collects the block. spoilt: it was too much, or can't be read. told: its message was told, and the rest is passed over.
	buf          []byte
	spoilt, told bool
	// promised is the stream that a PUSH_PROMISE opens.
	promised uint32
}

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = &Parser{streams: make(map[uint32]*stream)}
	}
	old := p.sides
	clear(p.streams)
	*p = Parser{
		sink: c.Sink, limits: c.Limits, nest: c.Nest, held: c.Held, client: c.Client, resumed: c.Resumed,
		streams: p.streams, free: p.free, block: p.block,
	}
	*p.held += len(p.free) * streamCost
	for d := range p.sides {
		s := &p.sides[d]
		*s = side{dir: proto.Direction(d), state: stateHeader, maxFrame: startFrame, usual: startFrame}
		s.buf, s.blocks.buf = old[d].buf[:0], old[d].blocks.buf[:0]
		s.table.data, s.table.entries = old[d].table.data, old[d].table.entries
		s.table.reset()
		s.flow.reset()
		p.goneAway[d].last = maxStream
		if proto.Direction(d) == p.client {
			s.state = statePreface
		}
		if c.Resumed {
			s.state = stateLost
			s.maxFrame = 0
			s.table.forget()
			s.table.allowed = 0
			s.flow.known = false
		}
	}
	if c.Prior != nil && c.Prior.Status == 101 {
		// The request of stream 1 came before the change of protocol, with settings that aren't known here (RFC 7540 §3.2).
		p.sides[p.client.Other()].flow.known = false
		p.opened[p.client].saw(1)
		if st := p.open(1, nil); st != nil {
			st.half[p.client].state = done
		}
	}
	return p
}

var proceed = proto.Verdict{Action: proto.Continue}

// preface is what a client sends first (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	s := &p.sides[d]
	begin, size := at.Offset, len(b)
	if s.state == stateLost && p.begins(s, b) {
		s.have = 0
		if s.state == stateLost {
			s.state = stateHeader
		}
	}
	for len(b) > 0 {
		at.Offset = begin + int64(size-len(b))
		var n int
		switch s.state {
		case statePreface:
			n = p.preface(s, b, at)
		case stateHeader:
			n = p.header(s, b, at)
		case statePadLength:
			n = 1
			s.came(at)
			p.padded(s, int(b[0]), at)
		case stateData:
			n = min(len(b), s.remain)
			s.came(at)
			s.remain -= n
			p.payload(s, b[:n], at)
			if s.remain == 0 {
				p.skip(s, s.rest)
			}
		case stateCollect:
			n = p.collect(s, b, at)
		case stateSkip:
			n = min(len(b), s.remain)
			s.came(at)
			s.remain -= n
			if st := s.stream; st != nil {
				st.half[d].grow(at, n)
			}
			if s.remain == 0 {
				p.over(s)
			}
		case stateLost, stateDone:
			return proceed
		}
		b = b[n:]
	}
	return proceed
}

// came notes when bytes of the frame have arrived.
func (s *side) came(at clock.Mark) {
	if at.Time >= s.latest.Time {
		s.latest = at
	}
}

// preface takes bytes of the client's preface. It returns how many it took.
func (p *Parser) preface(s *side, b []byte, at clock.Mark) int {
	n := min(len(preface)-s.have, len(b))
	if string(b[:n]) != preface[s.have:s.have+n] {
		s.odd.Set(proto.SurplusBytes)
		p.lose(s, at)
		return len(b)
	}
	if s.have += n; s.have == len(preface) {
		s.state, s.have = stateHeader, 0
	}
	return n
}

// header takes bytes of a frame's header. It returns how many it took.
func (p *Parser) header(s *side, b []byte, at clock.Mark) int {
	if s.have == 0 {
		s.at, s.latest = at, at
		if len(b) >= frameHeader {
			s.f = parseFrame(b)
			p.frame(s, at)
			return frameHeader
		}
	}
	s.came(at)
	n := copy(s.header[s.have:], b)
	if s.have += n; s.have == frameHeader {
		s.have = 0
		s.f = parseFrame(s.header[:])
		p.frame(s, at)
	}
	return n
}

// frame begins a frame, whose header ends in the bytes that at marks.
func (p *Parser) frame(s *side, at clock.Mark) {
	f := &s.f
	s.stream = nil
	if s.maxFrame > 0 && f.length > s.maxFrame {
		s.odd.Set(proto.FrameTooLarge)
	}
	if s.blocks.open && (f.kind != continuation || f.stream != s.blocks.f.stream) {
		// Nothing may come between the frames of a block (RFC 9113 §6.10).
		s.odd.Set(proto.BadFrame)
		p.breakBlock(s, proto.Broken, proto.Open)
	}
	if !f.allowed() {
		s.odd.Set(proto.BadFrame)
		if f.kind == headers || f.kind == pushPromise {
			p.forget(s)
		}
		p.skip(s, f.length)
		return
	}
	switch f.kind {
	case data:
		p.data(s, at)
	case headers, pushPromise, continuation:
		p.fragment(s)
	case rstStream, settings, goAway, windowUpdate:
		s.nothing(f.kind == settings)
		s.state, s.remain = stateCollect, min(f.length, rules[f.kind].keep)
		s.rest = f.length - s.remain
		if s.remain == 0 {
			p.act(s, nil)
		}
	default:
		s.nothing(true)
		p.skip(s, f.length)
	}
}

// nothing counts a frame that carries nothing.
func (s *side) nothing(is bool) {
	if !is {
		return
	}
	if s.empty++; s.empty > maxEmpty {
		s.odd.Set(proto.FloodOfFrames)
	}
}

// skip passes over the next n bytes, which end the frame.
func (p *Parser) skip(s *side, n int) {
	s.state, s.remain, s.rest = stateSkip, n, 0
	if n == 0 {
		p.over(s)
	}
}

// over ends the frame.
func (p *Parser) over(s *side) {
	s.state = stateHeader
	st := s.stream
	if st == nil {
		return
	}
	s.stream = nil
	p.flowed(s, st)
	if s.f.has(endStream) {
		p.finish(st, s.dir)
	}
}

// collect takes bytes of a payload that is looked at as a whole. It returns how many it took.
func (p *Parser) collect(s *side, b []byte, at clock.Mark) int {
	s.came(at)
	n := min(len(b), s.remain)
	if s.remain -= n; s.remain > 0 || len(s.buf) > 0 {
		p.keep(&s.buf, b[:n])
		if s.remain > 0 {
			return n
		}
		p.act(s, s.buf)
		p.release(&s.buf)
		return n
	}
	p.act(s, b[:n])
	return n
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

// act does what a frame says whose payload, or what is looked at of it, is b.
func (p *Parser) act(s *side, b []byte) {
	rest := s.rest
	switch s.f.kind {
	case headers, pushPromise, continuation:
		p.addFragment(s, b, s.f.length > len(b))
	case rstStream:
		p.reset(s, be32(b))
	case settings:
		p.settings(s, b)
	case goAway:
		p.depart(s, be32(b)&maxStream, be32(b[4:]))
	case windowUpdate:
		p.widen(s, int64(be32(b)&maxStream))
	}
	p.skip(s, rest)
}

func be32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	s := &p.sides[d]
	switch s.state {
	case stateLost:
		p.hole(s, at)
		return
	case stateDone:
		return
	case statePadLength, stateData, stateCollect, stateSkip:
		if left := int64(s.remain + s.rest); n != proto.Unknown {
			s.came(at)
			p.miss(s, int(min(n, left)), at)
			if n <= left {
				return
			}
		}
	}
	p.lose(s, at)
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	s := &p.sides[d]
	if s.state == stateDone {
		return
	}
	if s.blocks.open {
		p.breakBlock(s, proto.Cut, why)
	}
	p.release(&s.buf)
	p.release(&s.blocks.buf)
	*p.held -= s.table.cost()
	s.table.clear()
	if cap(s.table.data) > keepTable {
		s.table = table{}
	}
	s.state, s.stream = stateDone, nil
	for st := p.oldest; st != nil; {
		next := st.next
		p.ended(st, d, at, why)
		st = next
	}
	if p.sides[d.Other()].state == stateDone {
		for p.oldest != nil {
			p.drop(p.oldest)
		}
		*p.held -= len(p.free) * streamCost
		n := min(len(p.free), keepStreams)
		clear(p.free[n:])
		p.free = p.free[:n]
	}
}
