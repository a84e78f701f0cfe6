package mysql

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

const (
	headerSize = 4
	// maxPacket is the length of a packet that goes on in the next.
	maxPacket = 1<<24 - 1
)

// half is the state of one direction: where it is within its packets, and its message.
type half struct {
	msg  proto.Message
	open bool
	lost bool
	// compressed: packets lie within others.
	compressed bool
	outerState outer

	// header collects the header of a packet that comes in pieces.
	header    [headerSize]byte
	headerLen int
	// inside: a packet is under way, of which remain bytes are still to come; more: it goes on in the next packet.
	inside, more bool
	remain       int
	// first marks the first byte of the packet; sequence is the number of its first part.
	first    clock.Mark
	sequence byte
	// size is the length of the packet, as far as announced.
	size int64
	// need is how many bytes of it are wanted in one piece, kept what was collected of them, and told: they were there.
	need int
	kept []byte
	told bool
	use  use

	// text holds the texts of the message; textN is what it counted for.
	text  []byte
	textN int
}

// use is what the rest of a packet is for.
type use uint8

const (
	// ignored: its length alone matters.
	ignored use = iota
	// ofRequest: it is the end of the request.
	ofRequest
	// ofFile: it is part of the file that the request sends.
	ofFile
	// ofAnswer: it is part of the answer, ofRow of one of its rows, ofEnd of its last packet.
	ofAnswer
	ofRow
	ofEnd
)

// mark tells the place of bytes. Those of a compressed packet have no place of their own: it is where the packet begins, and ends.
type mark struct {
	at clock.Mark
	// end marks the last byte of the compressed packet.
	end      clock.Mark
	squeezed bool
}

// byteAt marks the n-th byte, and last the end of a piece of n bytes.
func (m mark) byteAt(n int) clock.Mark {
	if m.squeezed {
		return m.at
	}
	return m.at.After(n)
}

func (m mark) last(n int) clock.Mark {
	if m.squeezed {
		return m.end
	}
	return m.at.After(n - 1)
}

// settle counts what the texts take.
func (h *half) settle(held *int) {
	if n := cap(h.text); n != h.textN {
		*held += n - h.textN
		h.textN = n
	}
}

// free lets go of the texts.
func (h *half) free(held *int) {
	*held -= h.textN
	h.text, h.textN = nil, 0
}

// release lets go of what was collected, and forgets the packet.
func (h *half) release(held *int) {
	*held -= len(h.kept)
	h.kept = nil
	h.headerLen, h.inside, h.more, h.told = 0, false, false, false
	h.outerState.release(held)
}

func length24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// packets takes bytes, whose place is at. It returns how many it took: all, unless it gave up or the session turned into
// something else.
func (p *Parser) packets(h *half, b []byte, at mark) int {
	i := 0
	for i < len(b) {
		if h.lost || p.verdict.Action != proto.Continue {
			return i
		}
		if !h.inside && !h.more && h.headerLen == 0 && len(b)-i > headerSize {
			if h.msg.Dir != p.client && p.answer.state == inRows {
				if n := p.rows(h, b[i:], i, at); n > 0 {
					i += n
					continue
				}
			}
			n := length24(b[i:])
			if n > 0 && n < maxPacket && n <= len(b)-i-headerSize {
				// The common case: the packet lies within b.
				h.first, h.sequence, h.size = at.byteAt(i), b[i+3], int64(n)
				i += headerSize
				payload := b[i : i+n]
				i += n
				last := at.last(i)
				h.use = ignored
				p.tell(h, payload[:min(n, p.wants(h, payload[0]))], last)
				p.moreOf(h, n, last)
				if h.use == ofRow && !h.lost {
					if want := p.rowWanted(h); want > 0 {
						p.showRow(h, payload[:min(n, want)])
					}
				}
				p.done(h, last)
				if h.compressed != at.squeezed {
					return i // what follows is compressed
				}
				continue
			}
		}
		if !h.inside {
			i += p.header(h, b[i:], at, i)
		} else {
			i += p.piece(h, b[i:], at, i)
		}
		if h.compressed != at.squeezed {
			return i
		}
	}
	return i
}

// header takes bytes of a packet's header. It returns how many it took.
func (p *Parser) header(h *half, b []byte, at mark, i int) int {
	if h.headerLen == 0 && !h.more {
		h.first = at.byteAt(i)
	}
	n := copy(h.header[h.headerLen:], b)
	if h.headerLen += n; h.headerLen < headerSize {
		return n
	}
	last := at.last(i + n)
	size := length24(h.header[:])
	h.headerLen, h.inside, h.remain = 0, true, size
	if !h.more {
		h.sequence = h.header[3]
		h.size, h.told, h.need, h.use = 0, false, 1, ignored
	}
	h.size += int64(size)
	h.more = size == maxPacket
	if h.open && h.told {
		h.msg.Last = last
	}
	if size == 0 {
		p.complete(h, last)
	}
	return n
}

// piece takes bytes of a packet's payload. It returns how many it took.
func (p *Parser) piece(h *half, b []byte, at mark, i int) int {
	n := min(len(b), h.remain)
	if !h.told && len(h.kept) == 0 && h.need == 1 {
		h.need = p.wants(h, b[0])
	}
	if len(h.kept) < h.need {
		n = min(n, h.need-len(h.kept))
		h.kept = append(h.kept, b[:n]...)
		*p.held += n
	}
	h.remain -= n
	last := at.last(i + n)
	if !h.told && len(h.kept) >= h.need {
		p.told(h, last)
		if h.lost || !h.inside {
			return n
		}
	} else if h.told {
		p.moreOf(h, n, last)
	}
	if h.remain == 0 {
		p.complete(h, last)
	}
	return n
}

// told hands on the beginning of a packet, when all that is needed of it is there.
func (p *Parser) told(h *half, last clock.Mark) {
	h.told = true
	kept := h.kept
	h.kept, h.need = nil, 0
	*p.held -= len(kept)
	p.tell(h, kept, last)
	if h.lost {
		return
	}
	if h.use == ofRow {
		if want := p.rowWanted(h); want > len(kept) {
			// Go on collecting, for what is shown of it.
			h.kept, h.need = kept, want
			*p.held += len(kept)
		}
	}
	p.moreOf(h, len(kept), last)
}

// complete ends a packet, or its part that goes on in the next.
func (p *Parser) complete(h *half, last clock.Mark) {
	h.inside = false
	if h.more {
		return
	}
	if !h.told {
		p.told(h, last)
		if h.lost {
			return
		}
	}
	p.done(h, last)
	*p.held -= len(h.kept)
	h.kept, h.told = nil, false
}

// skip goes over n missing bytes. It reports whether they are within a packet of which nothing more than its length is needed.
func (p *Parser) skip(h *half, n int64, at clock.Mark) bool {
	if !h.inside || !h.told || n > int64(h.remain) {
		return false
	}
	*p.held -= len(h.kept)
	h.kept, h.need = nil, 0
	last := at.After(int(n) - 1)
	h.remain -= int(n)
	if h.open {
		h.msg.MissingBytes += n
	}
	p.moreOf(h, int(n), last)
	if h.remain == 0 {
		p.complete(h, last)
	}
	return true
}

// wants returns how many bytes of a packet are needed in one piece, given its first.
func (p *Parser) wants(h *half, first byte) int {
	if p.isClient(h) {
		return p.wantsOfClient(first)
	}
	return p.wantsOfServer(first)
}

// tell hands on the beginning of a packet: all of it, or as much as is needed. last marks the byte that was seen last.
func (p *Parser) tell(h *half, b []byte, last clock.Mark) {
	if p.isClient(h) {
		p.fromClient(h, b, last)
		return
	}
	p.fromServer(h, b, last)
}

// moreOf counts n bytes of a packet whose beginning was handed on, these included.
func (p *Parser) moreOf(h *half, n int, last clock.Mark) {
	if !h.open || h.use == ignored {
		return
	}
	m := &h.msg
	m.Last = last
	if h.use == ofRow {
		m.BodyBytes += int64(n)
		m.Parts.Bytes += int64(n)
	}
}

// done ends a packet.
func (p *Parser) done(h *half, last clock.Mark) {
	if h.lost {
		return
	}
	switch h.use {
	case ofRow:
		h.msg.Parts.Largest = max(h.msg.Parts.Largest, h.size)
		if len(h.kept) > 0 {
			p.showRow(h, h.kept)
		}
	case ofEnd:
		p.finish(h, last)
	case ofRequest:
		p.sent(h)
	case ofFile:
		if h.size == 0 {
			p.sendingFile = false
			p.sentWhole(h)
		}
	}
}
