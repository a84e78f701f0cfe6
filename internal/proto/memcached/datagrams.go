package memcached

import (
	"encoding/binary"
	"slices"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// frameSize is the length of the header of a datagram: request id, sequence number, number of datagrams, reserved; two bytes
// each.
const frameSize = 8

// frame is a datagram without its header.
type frame struct {
	id, sequence, total uint16
	payload             []byte
}

// readFrame reads a datagram. ok: it is one.
func readFrame(b []byte) (f frame, ok bool) {
	if len(b) <= frameSize {
		return f, false
	}
	f = frame{
		id: binary.BigEndian.Uint16(b), sequence: binary.BigEndian.Uint16(b[2:]), total: binary.BigEndian.Uint16(b[4:]),
		payload: b[frameSize:],
	}
	return f, f.sequence < f.total
}

// Datagrams takes the datagrams of a flow apart. Each request id has a parser of its own, as if it were a connection: the request is
// one datagram, the response one or more.
//
// A datagram of a response that comes out of order, or not at all, is a gap. A response goes on until its text says that it is over,
// whatever the numbers say.
type Datagrams struct {
	context proto.Context
	parsers map[uint16]*conversation
	// order has the ids that wait, oldest first, among those that don't any more.
	order []turn
	turns uint64
	spare []*conversation
}

// turn says that a request id was the so many-th.
type turn struct {
	id     uint16
	number uint64
}

// conversation is what is said under one request id.
type conversation struct {
	Parser
	// asked: a request came. hash tells it from others, and sequence is the next datagram of the response.
	asked    bool
	hash     uint64
	sequence uint16
	turn     uint64
}

// datagramParser is what a conversation is estimated to take, in bytes.
const datagramParser = 1 << 10

// NewDatagrams returns what takes the datagrams of a flow apart.
func NewDatagrams(c *proto.Context) proto.Datagrams {
	return &Datagrams{context: *c, parsers: map[uint16]*conversation{}}
}

// Datagram implements proto.Datagrams.
func (p *Datagrams) Datagram(d proto.Direction, b []byte, size int, at clock.Mark) {
	f, ok := readFrame(b)
	if !ok || d == p.context.Client && f.total != 1 {
		p.context.Sink.Lost(d, at)
		return
	}
	c := p.parsers[f.id]
	if d == p.context.Client {
		hash := tag(f.payload)
		again := c != nil && c.asked && c.hash == hash && !c.halves[d.Other()].open
		if c != nil && !again {
			p.end(c, at, proto.Evicted)
		}
		if c == nil || !again {
			c = p.begin(f.id, at)
		}
		c.again, c.asked, c.hash = again, true, hash
		if again {
			// The numbers of the first time.
			c.next = uint64(f.id) + 1
			c.drop(c.waiting.len())
		}
	} else if c == nil {
		c = p.begin(f.id, at)
	}
	if d != p.context.Client {
		switch {
		case f.sequence < c.sequence:
			return // it came twice
		case f.sequence > c.sequence:
			c.Gap(d, proto.Unknown, at)
		}
		c.sequence = f.sequence + 1
	}
	c.Data(d, f.payload, at.After(frameSize))
	if missing := size - len(b); missing > 0 {
		c.Gap(d, int64(missing), at.After(len(b)))
	}
	// memcached 1.6 numbers the datagrams of each value of a response anew.
	switch {
	case d == p.context.Client && c.waiting.len() > 0, d != p.context.Client && c.sequence < f.total:
		return
	case c.halves[d].open || c.waiting.len() > 0:
		c.sequence = 0
		return
	}
	p.end(c, at, proto.CaptureEnded)
	p.forget(f.id)
}

// begin begins what is said under a request id.
func (p *Datagrams) begin(id uint16, at clock.Mark) *conversation {
	if p.parsers[id] == nil && len(p.parsers) >= p.context.Limits.MaxStreams {
		p.evict(at)
	}
	c := p.parsers[id]
	if c == nil {
		if n := len(p.spare); n > 0 {
			c, p.spare = p.spare[n-1], p.spare[:n-1]
		} else {
			c = &conversation{}
		}
		*p.context.Held += datagramParser
		p.turns++
		c.turn = p.turns
		p.tidy()
		p.order = append(p.order, turn{id, c.turn})
	}
	p.parsers[id] = c
	context := p.context
	context.Resumed = false
	c.open(&context)
	c.asked, c.sequence = false, 0
	c.next, c.step, c.alone = uint64(id)+1, 1<<16, true
	return c
}

// tidy drops the ids that don't wait any more when they are the most.
func (p *Datagrams) tidy() {
	if len(p.order) > 2*len(p.parsers)+8 {
		p.order = slices.DeleteFunc(p.order, func(t turn) bool { return p.waits(t) == nil })
	}
}

// waits returns what is said under an id, nil when that isn't what it was.
func (p *Datagrams) waits(t turn) *conversation {
	if c := p.parsers[t.id]; c != nil && c.turn == t.number {
		return c
	}
	return nil
}

// end ends what is said.
func (p *Datagrams) end(c *conversation, at clock.Mark, why proto.CloseReason) {
	c.Close(p.context.Client, at, why)
	c.Close(p.context.Client.Other(), at, why)
}

// forget lets go of a request id.
func (p *Datagrams) forget(id uint16) {
	c := p.parsers[id]
	delete(p.parsers, id)
	*p.context.Held -= datagramParser
	p.spare = append(p.spare, c)
	if len(p.parsers) == 0 {
		p.order = p.order[:0]
		p.spare = slices.Delete(p.spare, 1, len(p.spare))
	}
}

// evict gives up the request id that waits longest.
func (p *Datagrams) evict(at clock.Mark) {
	for len(p.order) > 0 {
		t := p.order[0]
		p.order = p.order[1:]
		if c := p.waits(t); c != nil {
			p.end(c, at, proto.Evicted)
			p.forget(t.id)
			return
		}
	}
}

// Close implements proto.Datagrams.
func (p *Datagrams) Close(at clock.Mark, why proto.CloseReason) {
	order := p.order
	for _, t := range order {
		if c := p.waits(t); c != nil {
			p.end(c, at, why)
			p.forget(t.id)
		}
	}
}
