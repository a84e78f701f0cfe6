package dns

import (
	"hash/maphash"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// conversation turns the messages of one flow or connection into those that the sink takes.
type conversation struct {
	*scratch
	book
	sink    proto.Sink
	variant *variant
	limits  *proto.Limits
	// group: what is asked goes to a group, and the answers come on flows of their own.
	group bool
	// transfers: an answer may have many messages, since this is a connection.
	transfers bool
}

// scratch is what a conversation needs while it takes a message, and not in between: all flows of a shard have one in common,
// so that flows are small, and what is used all the time is in the processor's cache.
type scratch struct {
	describer
	// msg is the message under way; it is one for all, since it ends before the next begins.
	msg proto.Message
	// body is the text of the answers.
	body []byte
	seed maphash.Seed
}

// begin makes it ready for a flow, with the memory of another.
func (c *conversation) begin(x *proto.Context, v *variant, transfers bool) {
	if c.scratch == nil {
		c.scratch = common(x)
	}
	c.book.begin(x.Held)
	c.sink, c.variant, c.limits, c.group, c.transfers = x.Sink, v, x.Limits, x.Group, transfers
}

// common returns the scratch of the shard, or one of its own where nothing is shared.
func common(x *proto.Context) *scratch {
	if x.Shared != nil {
		if s, ok := (*x.Shared).(*scratch); ok {
			return s
		}
	}
	s := &scratch{seed: maphash.MakeSeed()}
	if x.Shared != nil {
		*x.Shared = s
	}
	return s
}

// maxIdle is how much of a buffer is kept for the next message, in bytes.
const maxIdle = 16 << 10

// finish lets go of what the flow had.
func (c *conversation) finish() { c.reset() }

// piece is one message as it was captured.
type piece struct {
	by proto.Direction
	// b is what is there of it, without what frames it. size is how long it was, with that, and missing how many bytes weren't
	// captured.
	b             []byte
	size, missing int
	first, last   clock.Mark
	// how is how it ended, and why if that was the connection's end.
	how proto.End
	why proto.CloseReason
}

// take takes a message.
func (c *conversation) take(p *piece) {
	cut := p.missing > 0 || p.how == proto.Cut
	c.describer.variant, c.describer.limits = c.variant, c.limits
	defer c.clear()
	if len(p.b) < headerSize || !c.parse(p.b, cut) {
		if cut {
			c.sink.Lost(p.by, p.first)
		}
		return
	}
	m := &c.msg
	m.Reset()
	m.Dir, m.First = p.by, p.first
	c.question(m)
	if !c.content.response() {
		c.asks(m, p)
		return
	}
	c.answer(p)
}

// clear forgets the bytes of a message, and buffers that were large for once.
func (s *scratch) clear() {
	s.b = nil
	if cap(s.msg.Raw) > maxIdle {
		s.msg.Raw, s.msg.Facts = nil, nil
	}
	if cap(s.body) > maxIdle {
		s.body = nil
	}
}

// asks takes a question.
func (c *conversation) asks(m *proto.Message, p *piece) {
	c.describer.request(m)
	m.OneWay = c.variant.anybody && (c.group || c.id == 0) || c.opcode() == opDSO && c.id == 0
	if m.OneWay {
		m.Stream = c.next()
	} else {
		q := question{id: c.id, typ: c.typ, hash: c.hash(m), by: p.by, asked: p.first.Time}
		again, full := c.ask(&q, c.limits.MaxStreams)
		m.Stream, m.Again = q.stream, again
		if full {
			m.Anomalies.Set(proto.StreamLimit)
		}
	}
	c.sink.Head(m)
	m.BodyBytes = int64(p.missing)
	c.end(m, p)
}

// hash returns the hash of the question, which isn't 0, or 0 when there is none.
func (c *conversation) hash(m *proto.Message) uint64 {
	if c.name == 0 && c.opcode() == opQuery {
		return 0
	}
	return maphash.Bytes(c.seed, c.key(m)) | 1
}

// answer takes an answer.
func (c *conversation) answer(p *piece) {
	m := &c.msg
	q := question{id: c.id, hash: c.hash(m), by: p.by.Other()}
	i, how := c.find(&q)
	if how == expected && c.open[i].transfer != nil {
		if c.continues(&c.open[i], p) {
			c.settle(i)
		}
		return
	}
	switch {
	case how == expected:
		m.Stream = c.open[i].stream
	case how == unexpected:
		m.OneWay = true
		m.Anomalies.Set(proto.UnexpectedAnswer)
	case how == ambiguous:
		m.Anomalies.Set(proto.AmbiguousPairing)
	}
	if how != expected {
		m.Stream = c.next()
		m.OneWay = m.OneWay || c.variant.anybody
	}
	if c.transfers && how != unexpected && c.transfer(&q, i, how, p) {
		return
	}
	if how == expected {
		c.settle(i)
	}
	c.describer.response(m)
	c.sink.Head(m)
	c.rows(m, p)
	c.end(m, p)
}

// rows counts the records of an answer, and hands them out where they are wanted.
func (c *conversation) rows(m *proto.Message, p *piece) {
	if m.Framing == proto.Rendered {
		if m.Parts.Count == 0 && c.read > 0 {
			m.Parts.First = p.first.Time
		}
		m.Parts.Count += int64(c.read)
		m.Parts.Bytes += int64(c.content.size)
		m.Parts.Largest = max(m.Parts.Largest, int64(c.largest))
		m.BodyBytes += int64(c.content.size)
		if want := c.sink.WantsBody(m); want > 0 && c.read > 0 {
			c.body = c.lines(c.body[:0], want)
			c.sink.Body(m, c.body)
		}
	}
	m.BodyBytes += int64(p.missing)
}

// end ends a message.
func (c *conversation) end(m *proto.Message, p *piece) {
	m.Raw, m.Facts = m.Raw[:0], m.Facts[:0]
	m.Method, m.Target = proto.Span{}, proto.Span{}
	m.Last, m.End, m.Close = p.last, p.how, p.why
	m.Size += int64(p.size)
	m.MissingBytes += int64(p.missing)
	c.sink.End(m)
}
