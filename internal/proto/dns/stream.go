package dns

import (
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Parser takes one connection apart (RFC 7766). See the package's theory of operation.
type Parser struct {
	conversation
	halves [2]half
	closed int
}

// half is the state of one direction.
type half struct {
	// lost: where messages begin isn't known.
	lost bool
	// kept is the beginning of a message that isn't whole yet, with its length, up to the first byte that is missing. at marks
	// its first byte; missing counts what wasn't captured, and came is how much went by of it.
	kept    []byte
	at      clock.Mark
	missing int
	came    int
}

// lengthSize is the length of what says how long a message is, in bytes.
const lengthSize = 2

func newParser(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = new(Parser)
	}
	p.begin(c, &ordinary, true)
	p.closed = 0
	for d := range p.halves {
		h := &p.halves[d]
		*h = half{lost: c.Resumed, kept: h.kept[:0]}
	}
	return p
}

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	h := &p.halves[d]
	if h.lost {
		if !sure(b) {
			return proto.Verdict{}
		}
		h.lost = false
	}
	for len(b) > 0 && !h.lost {
		n := p.whole(h, d, b, at)
		if n == 0 {
			n = p.collect(h, d, b, at)
		}
		b, at = b[n:], at.After(n)
	}
	return proto.Verdict{}
}

// whole takes a message that lies within b, which is the common case. It returns its length, 0 when there is none.
func (p *Parser) whole(h *half, d proto.Direction, b []byte, at clock.Mark) int {
	if h.came > 0 || len(b) < lengthSize {
		return 0
	}
	n := lengthSize + int(binary.BigEndian.Uint16(b))
	if n > len(b) || n < lengthSize+headerSize {
		return 0
	}
	p.take(&piece{by: d, b: b[lengthSize:n], size: n, first: at, last: at.After(n - 1), how: proto.Whole})
	return n
}

// collect takes bytes of a message that comes in pieces. It returns how many.
func (p *Parser) collect(h *half, d proto.Direction, b []byte, at clock.Mark) int {
	if h.came == 0 {
		h.at = at
	}
	want := lengthSize
	if h.came >= lengthSize {
		want = h.length()
	}
	n := min(want-h.came, len(b))
	if h.missing == 0 {
		h.kept = append(h.kept, b[:n]...)
		*p.held += n
	}
	h.came += n
	switch {
	case h.came == lengthSize && h.length() < lengthSize+headerSize:
		p.lose(h, d, at)
	case h.came > lengthSize && h.came == h.length():
		p.complete(h, d, at.After(n-1))
	}
	return n
}

// length returns the length of the message under way, with what says it.
func (h *half) length() int { return lengthSize + int(binary.BigEndian.Uint16(h.kept)) }

// complete takes the message under way, all of which went by.
func (p *Parser) complete(h *half, d proto.Direction, last clock.Mark) {
	m := piece{by: d, b: h.kept[lengthSize:], size: h.length(), missing: h.missing, first: h.at, last: last, how: proto.Whole}
	p.take(&m)
	p.release(h)
}

// release lets go of the message under way.
func (p *Parser) release(h *half) {
	*p.held -= len(h.kept)
	h.kept, h.missing, h.came = h.kept[:0], 0, 0
	if cap(h.kept) > maxIdle {
		h.kept = nil
	}
}

// lose gives up a direction until a segment begins with a message.
func (p *Parser) lose(h *half, d proto.Direction, at clock.Mark) {
	p.release(h)
	h.lost = true
	p.sink.Lost(d, at)
}

// Gap implements proto.Parser. Since the length of a message comes first, what is missing within one hides nothing
// but a part of it.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	h := &p.halves[d]
	if h.lost {
		return
	}
	if h.came < lengthSize || n == proto.Unknown {
		p.lose(h, d, at)
		return
	}
	hidden := int(min(n, int64(h.length()-h.came)))
	h.missing += hidden
	h.came += hidden
	if h.came == h.length() {
		p.complete(h, d, at.After(hidden-1))
	}
	if n > int64(hidden) {
		p.lose(h, d, at)
	}
}

// Close implements proto.Parser. A message that isn't whole is one as far as its question can be known.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	h := &p.halves[d]
	if h.came > lengthSize {
		last := h.at.After(h.came - 1)
		last.Time = at.Time
		p.take(&piece{by: d, b: h.kept[lengthSize:], size: h.came, missing: h.missing, first: h.at, last: last, how: proto.Cut, why: why})
	}
	p.release(h)
	p.abandon(d, why)
	if p.closed++; p.closed == len(p.halves) {
		p.finish()
	}
}
