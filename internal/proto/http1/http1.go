// Package http1 takes HTTP/1.0 and 1.1 apart (RFC 9112), and recognises HTTP/0.9.
//
// # Theory of operation
//
// Each direction is a small machine:
//
//	          +-----------------------------------------------------------+
//	          v                                                           |
//	start -> head -+-> (no body) ------------------------------------> message over
//	               +-> body by length ---------------------------------->-+
//	               +-> chunk size -> chunk data -> chunk end -+           |
//	               |        ^----------------------------------+          |
//	               |        +-> trailers ---------------------------------+
//	               +-> body until close (ends with the half-stream)
//	               +-> tunnel (CONNECT, Upgrade: handed over to detection)
//
//	any but a body --(gap, or bytes that can't be a message)--> lost
//	lost --(a segment that surely begins a message)--> head
//	start --(bytes of the server that begin no response)--> junk --> head, or lost
//
// A head that lies within one call of Data is parsed where it is; otherwise its bytes are collected.
// Bodies are counted, and copied only when the sink wants them.
package http1

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/framed"
)

// Protocol describes HTTP/1 to detection.
var Protocol = proto.Protocol{Name: "http", Probe: Probe, Resume: Resume, New: New}

type state uint8

const (
	stateStart state = iota
	stateHead
	stateLength
	stateChunkSize
	stateChunkData
	stateChunkEnd
	stateTrailer
	stateUntilClose
	stateLost
	stateJunk   // the server has sent what begins no response: one may follow soon
	stateTunnel // a CONNECT was asked for: what the client sends before the answer is kept
	stateDone   // nothing more can come
)

// Bounds that aren't worth a setting.
const (
	// maxChunkLine is the longest line between chunks that is followed.
	maxChunkLine = 4096
	// maxEarly is how many bytes that a client sends after CONNECT, before the answer, are kept.
	maxEarly = 16 << 10
	// keepCapacity is the largest buffer, and keepFields the longest list of fields, that a side keeps
	// between messages.
	keepCapacity = 512
	keepFields   = 32
)

// Parser takes one connection apart. See the package comment.
type Parser struct {
	sink   proto.Sink
	limits *proto.Limits
	client proto.Direction
	sides  [2]side
	held   *int
	// simple: the last request was HTTP/0.9, so its answer has no head.
	simple bool
}

// side is the state of one direction.
type side struct {
	state state
	msg   proto.Message
	// remain is what is left of the body or of the chunk.
	remain int64
	// buf collects a head, a line or early bytes that come in pieces; bufAt marks its first byte, bufLast the
	// last to arrive, and scanned is how far it was searched for the head's end.
	buf     []byte
	bufAt   clock.Mark
	bufLast clock.Mark
	scanned int
	// first: no message of this direction has come yet.
	first bool
	// parts counts the messages that the body consists of, valid iff counting.
	parts    *framed.Counter
	counting bool
	// surplus and emptyLines are anomalies for the next message: something came before it.
	surplus, emptyLines bool
}

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = new(Parser)
	}
	sides := p.sides
	*p = Parser{sink: c.Sink, limits: c.Limits, client: c.Client, held: c.Held}
	for d := range p.sides {
		s := &p.sides[d]
		s.buf, s.msg.Fields, s.parts = sides[d].buf[:0], sides[d].msg.Fields[:0], sides[d].parts
		s.msg.Dir, s.first = proto.Direction(d), !c.Resumed
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
	for len(b) > 0 {
		at.Offset = begin + int64(size-len(b))
		var n int
		switch s.state {
		case stateStart, stateHead, stateLost:
			var v proto.Verdict
			if n, v = p.head(s, b, at); v.Action != proto.Continue {
				v.Consumed = size - len(b) + n
				return v
			}
		case stateLength, stateChunkData:
			n = int(min(int64(len(b)), s.remain))
			s.remain -= int64(n)
			p.body(s, b[:n], at)
			if s.remain == 0 {
				if s.state == stateChunkData {
					s.state = stateChunkEnd
				} else {
					p.end(s, proto.Whole)
				}
			}
		case stateUntilClose:
			n = len(b)
			p.body(s, b, at)
		case stateChunkSize, stateChunkEnd, stateTrailer:
			n = p.chunkLine(s, b, at)
		case stateJunk:
			n = p.junk(s, b, at)
		case stateTunnel:
			n = len(b)
			if len(s.buf)+n > maxEarly {
				p.lose(s, at)
				break
			}
			p.keep(s, b, at)
		case stateDone:
			return proceed
		}
		b = b[n:]
	}
	return proceed
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	s := &p.sides[d]
	m := &s.msg
	if n == proto.Unknown && s.inBody() {
		p.end(s, proto.Broken)
		p.lose(s, at)
		return
	}
	switch s.state {
	case stateLength, stateChunkData:
		hidden := min(n, s.remain)
		s.remain -= hidden
		m.BodyBytes += hidden
		m.MissingBytes += hidden
		m.Size += hidden
		m.Last = at
		if s.counting {
			s.parts.Gap(hidden)
		}
		switch {
		case n > hidden && s.state == stateChunkData:
			p.end(s, proto.Broken)
			p.lose(s, at)
		case n > hidden:
			p.end(s, proto.Whole)
			p.lose(s, at)
		case s.remain == 0 && s.state == stateChunkData:
			s.state = stateChunkEnd
		case s.remain == 0:
			p.end(s, proto.Whole)
		}
	case stateUntilClose:
		m.BodyBytes += n
		m.MissingBytes += n
		m.Size += n
		if s.counting {
			s.parts.Gap(n)
		}
	case stateHead:
		p.partialHead(s, proto.Broken, proto.Open)
		p.lose(s, at)
	case stateChunkSize, stateChunkEnd, stateTrailer:
		m.MissingBytes += n
		p.end(s, proto.Broken)
		p.lose(s, at)
	case stateStart, stateJunk, stateTunnel:
		p.lose(s, at)
	}
}

// inBody reports whether a message is behind its head.
func (s *side) inBody() bool {
	switch s.state {
	case stateLength, stateChunkSize, stateChunkData, stateChunkEnd, stateTrailer, stateUntilClose:
		return true
	}
	return false
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	s := &p.sides[d]
	switch s.state {
	case stateHead:
		p.partialHead(s, proto.Cut, why)
	case stateUntilClose:
		if why == proto.Finished {
			p.end(s, proto.Whole)
			break
		}
		s.msg.Close = why
		p.end(s, proto.Cut)
	case stateLength, stateChunkSize, stateChunkData, stateChunkEnd, stateTrailer:
		if s.state != stateLength && why == proto.Finished {
			s.msg.Anomalies.Set(proto.EndedWithoutLastChunk)
		}
		s.msg.Close = why
		p.end(s, proto.Cut)
	}
	p.release(s)
	s.state = stateDone
}
