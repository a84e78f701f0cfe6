// Package template is a parser to begin a new one from. Its protocol is a toy that no one speaks, and
// it is registered nowhere; docs/adding-a-protocol.md walks through it.
//
// A client asks and a server answers, as often as they like, in order; a code other than 0 is an error:
//
//	message = head text
//	head    = %x01 ("ASK" SP topic / "ANSWER" SP code) SP length LF
//	text    = length bytes, none of which is %x01
//
// The byte %x01 makes it possible to find the next message after bytes were lost. A protocol without
// such a mark must find something else that it can be sure of, or stay lost.
//
// # Theory of operation
//
// Each direction is a small machine:
//
//	             +--(head without text)--+
//	             v                       |
//	head -> (line complete) ------> text, until length is reached -> head
//
//	head --(gap, or what can't be a head)--> lost
//	text --(gap that goes beyond it)-------> lost
//	lost --(a line that is a head)---------> text
package template

import (
	"bytes"
	"strconv"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes the protocol to detection.
var Protocol = proto.Protocol{Name: "template", Probe: Probe, Resume: Probe, New: New}

const (
	mark = 0x01
	// maxNumber is how many digits a length or a code may have.
	maxNumber = 9
)

// verbs are the beginnings of heads, by the role of their sender.
var verbs = [...]struct {
	text string
	role proto.Role
}{
	{"\x01ASK ", proto.Client},
	{"\x01ANSWER ", proto.Server},
}

// Probe implements proto.Protocol. Both verbs are rare enough to be sure of.
func Probe(b []byte) (proto.Match, proto.Role) {
	for _, v := range verbs {
		switch n := min(len(b), len(v.text)); {
		case string(b[:n]) != v.text[:n]:
		case n < len(v.text):
			// The mark alone, or a verb's beginning.
			return proto.NeedMore, proto.AnyRole
		default:
			return proto.Yes, v.role
		}
	}
	return proto.No, proto.AnyRole
}

// Parser takes one connection apart.
type Parser struct {
	sink   proto.Sink
	limits *proto.Limits
	client proto.Direction
	held   *int
	halves [2]half
}

// half is the state of one direction.
type half struct {
	msg proto.Message
	// state is what is expected; remain is what is left of the text.
	state  state
	remain int64
	// line collects a head that comes in pieces; lineAt marks its first byte.
	line   []byte
	lineAt clock.Mark
}

type state uint8

const (
	inHead state = iota
	inText
	inLost
)

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p := &Parser{sink: c.Sink, limits: c.Limits, client: c.Client, held: c.Held}
	for d := range p.halves {
		p.halves[d].msg.Dir = proto.Direction(d)
		if c.Resumed {
			p.halves[d].state = inLost
		}
	}
	return p
}

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	h := &p.halves[d]
	for len(b) > 0 {
		var n int
		switch {
		case h.state == inText:
			n = p.text(h, b, at)
		case h.state == inLost && len(h.line) == 0 && b[0] != mark:
			if n = bytes.IndexByte(b, mark); n < 0 {
				n = len(b)
			}
		default:
			n = p.head(h, b, at)
		}
		b, at = b[n:], at.After(n)
	}
	return proto.Verdict{Action: proto.Continue}
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	h := &p.halves[d]
	if h.state != inText {
		p.lose(h, at)
		return
	}
	// The length tells how much of what is missing belongs to the text.
	hidden := min(n, h.remain)
	h.msg.MissingBytes += hidden
	p.count(h, hidden, at)
	if n > hidden {
		p.lose(h, at)
	}
}

// Close implements proto.Parser. A head that never came whole is no message.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	h := &p.halves[d]
	p.release(h)
	if h.state == inText {
		h.msg.Close = why
		p.end(h, proto.Cut)
	}
}

// head takes bytes of a head. It returns how many it took.
func (p *Parser) head(h *half, b []byte, at clock.Mark) int {
	n := bytes.IndexByte(b, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(b)
	}
	switch {
	case len(h.line)+n > p.limits.MaxHead:
		p.lose(h, at)
	case whole && len(h.line) == 0:
		// The common case: the head lies within b, and is parsed there.
		p.message(h, b[:n], at, at.After(n-1))
	default:
		if len(h.line) == 0 {
			h.lineAt = at
		}
		h.line = append(h.line, b[:n]...)
		*p.held += n
		if whole {
			p.message(h, h.line, h.lineAt, at.After(n-1))
			p.release(h)
		}
	}
	return n
}

// message begins the message whose head is line. first and last mark the line's ends.
func (p *Parser) message(h *half, line []byte, first, last clock.Mark) {
	if h.state == inLost {
		// What was lost may have ended with a mark of its own.
		i := bytes.LastIndexByte(line, mark)
		line, first = line[i:], first.After(i)
	}
	m := &h.msg
	d := m.Dir
	m.Reset()
	m.Dir, m.First, m.Last = d, first, last
	m.HeadSize, m.Size = int64(len(line)), int64(len(line))
	if !p.parse(m, line) {
		p.lose(h, first)
		return
	}
	p.sink.Head(m)
	h.state, h.remain = inText, m.Length
	if m.Length == 0 {
		p.end(h, proto.Whole)
	}
}

// parse fills in m from its head. It reports whether it is one.
func (p *Parser) parse(m *proto.Message, line []byte) bool {
	v := verbs[0]
	if m.Dir != p.client {
		v = verbs[1]
		m.Kind = proto.Response
	}
	if !bytes.HasPrefix(line, []byte(v.text)) {
		return false
	}
	subject := line[len(v.text) : len(line)-1]
	space := bytes.LastIndexByte(subject, ' ')
	if space < 1 {
		return false
	}
	length, ok := number(subject[space+1:])
	if !ok {
		return false
	}
	span := proto.Span{Off: uint32(len(v.text)), Len: uint32(space)}
	if m.Kind == proto.Request {
		m.Method = proto.Span{Off: 1, Len: uint32(len(v.text) - 2)}
		m.Target = span
	} else if m.Status, ok = number(subject[:space]); !ok {
		return false
	} else if m.Status != 0 {
		m.Facts = append(m.Facts, proto.Fact{Name: proto.FactError, Value: span})
	}
	m.Raw = line
	m.Framing, m.Length = proto.ByLength, int64(length)
	return true
}

func number(b []byte) (n int, ok bool) {
	if len(b) > maxNumber {
		return 0, false
	}
	n, err := strconv.Atoi(string(b))
	return n, err == nil && n >= 0
}

// text takes bytes of the text. It returns how many it took.
func (p *Parser) text(h *half, b []byte, at clock.Mark) int {
	n := int(min(int64(len(b)), h.remain))
	if want := p.sink.WantsBody(&h.msg); want > 0 {
		p.sink.Body(&h.msg, b[:min(n, want)])
	}
	p.count(h, int64(n), at)
	return n
}

// count moves on by n bytes of the text, which begin at a mark.
func (p *Parser) count(h *half, n int64, at clock.Mark) {
	m := &h.msg
	m.BodyBytes += n
	m.Size += n
	m.Last = at.After(int(n) - 1)
	if h.remain -= n; h.remain == 0 {
		p.end(h, proto.Whole)
	}
}

// end closes the message. What Raw borrowed is gone by now, and there is no fact that the head didn't have.
func (p *Parser) end(h *half, how proto.End) {
	h.state = inHead
	h.msg.End, h.msg.Raw, h.msg.Facts = how, nil, h.msg.Facts[:0]
	p.sink.End(&h.msg)
}

// lose gives up a direction until a head is found.
func (p *Parser) lose(h *half, at clock.Mark) {
	p.release(h)
	if h.state != inLost {
		h.state = inLost
		p.sink.Lost(h.msg.Dir, at)
	}
}

// release lets go of a collected head.
func (p *Parser) release(h *half) {
	*p.held -= len(h.line)
	h.line = nil
}
