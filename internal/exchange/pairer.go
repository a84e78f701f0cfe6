package exchange

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Pairer pairs the messages of one connection. It is the proto.Sink of the connection's parser.
//
// # Theory of operation
//
// Without stream ids the nth response answers the nth request, as long as every byte of both
// half-streams was seen. After a loss, counting is worthless, and acknowledgements decide. A request
// carries how many bytes of the response stream its sender had received (Mark.Peer): a response that
// begins before that point answers an earlier one. A response carries how many bytes of the request stream
// the server had received: it doesn't answer a request that begins behind that point.
//
// This leaves one response for one request as long as the client waits for each answer before it sends
// the next request. So that is taken for granted until it is seen not to: a request that was sent
// while another, which may be one in a hole, had no byte of its answer is pipelined. After a loss on a
// connection that pipelines any of the waiting requests may be meant; none is paired, and the anomaly
// says so. Where requests and responses can't be told apart by a loss there is nothing to find hold of
// again, so it stays so until the connection ends.
type Pairer struct {
	engine   *Engine
	flow     *proto.Flow
	facts    *proto.Facts
	client   proto.Direction
	protocol string

	// pending are the exchanges that aren't finished, in the order of their requests.
	pending []*Exchange
	// sending and answering are those whose request or response is under way, request and response the parser's
	// messages as long as they are.
	sending, answering *Exchange
	request, response  *proto.Message
	index              uint32

	// lost marks directions in which messages may have gone unseen since the last sure pair, and lostAt
	// the place of the last loss.
	lost   [2]bool
	lostAt [2]int64
	// settled is where the last response ended, received how much of the request stream the server had
	// received when it began, and heard the same, but at least the request that it answers. pipelines: the
	// client doesn't wait for answers.
	settled, received, heard int64
	pipelines                bool
}

// Reset makes the pairer ready for another connection, and keeps its memory.
func (p *Pairer) Reset() { *p = Pairer{pending: p.pending[:0]} }

// Open begins the pairing of the messages of a connection, or of the protocol that takes one over: its
// exchanges are counted on. resumed: the parser begins in the middle, so that messages may have been
// missed.
func (p *Pairer) Open(e *Engine, protocol string, client proto.Direction, resumed bool, f *proto.Flow, facts *proto.Facts) {
	*p = Pairer{engine: e, flow: f, facts: facts, client: client, protocol: protocol, pending: p.pending[:0], index: p.index}
	if resumed {
		p.lost, p.lostAt = [2]bool{true, true}, [2]int64{-1, -1}
	}
}

// begin makes an exchange from its first message.
func (p *Pairer) begin(m *proto.Message) *Exchange {
	x := p.engine.get()
	p.engine.charge(x, size+footprint(m))
	x.pairer = p
	x.Flow, x.Client, x.Protocol, x.Index = p.flow, p.client, p.protocol, p.index
	x.Tap = p.engine.tap(m.First.Tap)
	p.index++
	x.Start, x.FirstPacket = m.First, m.First.Packet
	x.RequestBody.DecodedBytes, x.ResponseBody.DecodedBytes = -1, -1
	for d := range x.before {
		x.before[d] = counts(&p.facts.Half[d])
	}
	if n := &x.before[m.Dir]; n.Packets > 0 {
		n.Packets-- // the packet that the message begins with belongs to it
	}
	return x
}

func counts(h *proto.HalfFacts) Counts {
	return Counts{
		Packets: h.Packets, Bytes: h.Bytes, Retransmits: h.Retransmits, OutOfOrder: h.OutOfOrder,
		DupAcks: h.DupAcks, ZeroWindows: h.ZeroWindows, Duplicates: h.Duplicates, Overlaps: h.Overlaps,
	}
}

// Head implements proto.Sink.
func (p *Pairer) Head(m *proto.Message) proto.Answers {
	switch m.Kind {
	case proto.Request:
		p.begun(m)
		return proto.AnswersUnknown
	case proto.Interim:
		x := p.match(m)
		if x == nil {
			return proto.AnswersUnknown
		}
		x.expected = m.First.Offset + m.HeadSize
		if len(x.Interim) < MaxInterim {
			x.Interim = append(x.Interim, Interim{m.Status, m.First})
		} else {
			p.engine.Counters.Interim++
		}
		return answers(x)
	}
	if m.First.Peer > 0 && m.First.Peer == p.received && m.Status != requestTimeout {
		p.pipelines = true // the server has received nothing since the response before, but has had another request
	}
	x := p.match(m)
	p.received = max(p.received, m.First.Peer)
	p.heard = p.received
	if x == nil {
		x = p.begin(m)
		x.Anomalies.Set(proto.ResponseWithoutRequest)
		p.pending = append(p.pending, nil)
		copy(p.pending[1:], p.pending)
		p.pending[0] = x
	} else {
		x.leave()
		p.engine.charge(x, footprint(m))
		if x.Request.End == proto.Unfinished {
			x.Anomalies.Set(proto.EarlyResponse)
		}
	}
	p.engine.answered.push(x)
	x.HasResponse = true
	x.Response.CopyFrom(m)
	p.answering, p.response = x, m
	return answers(x)
}

// begun begins an exchange with its request.
func (p *Pairer) begun(m *proto.Message) {
	first := p.firstWaiting()
	if len(p.pending) >= p.engine.limits.MaxWaiting && first < len(p.pending) {
		p.engine.Counters.Overflow++
		x := p.pending[first]
		x.Reason = "more requests wait on this connection than the limit (max waiting)"
		p.giveUp(x, m.First)
	}
	p.follow(m)
	x := p.begin(m)
	x.HasRequest, x.expected = true, m.First.Peer
	x.Request.CopyFrom(m)
	p.sending, p.request = x, m
	p.pending = append(p.pending, x)
	p.engine.wait(x)
}

// answers says what kind of request a response answers.
func answers(x *Exchange) proto.Answers {
	if !x.HasRequest {
		return proto.AnswersUnknown
	}
	switch method := x.Request.Bytes(x.Request.Method); {
	case bytes.Equal(method, methodHEAD):
		return proto.AnswersHEAD
	case bytes.Equal(method, methodCONNECT):
		return proto.AnswersCONNECT
	}
	return proto.AnswersOrdinary
}

var methodHEAD, methodCONNECT = []byte("HEAD"), []byte("CONNECT")

// firstWaiting returns the index of the first pending exchange that has no response.
func (p *Pairer) firstWaiting() int {
	i := 0
	for i < len(p.pending) && p.pending[i].HasResponse {
		i++
	}
	return i
}

// WantsBody implements proto.Sink.
func (p *Pairer) WantsBody(m *proto.Message) int {
	e := p.engine
	if x := p.sending; x != nil && m.Kind == proto.Request && !x.HasResponse {
		e.wait(x) // it isn't waiting for its answer while it is still being sent
	}
	limit := e.limits.MaxBody
	if limit == 0 {
		return 0
	}
	b := p.body(m)
	if b == nil || b.holed {
		return 0
	}
	if m.MissingBytes > 0 {
		b.holed = true // what comes behind a hole doesn't continue the body
		return 0
	}
	return limit - len(b.raw)
}

// Body implements proto.Sink.
func (p *Pairer) Body(m *proto.Message, b []byte) {
	if to := p.body(m); to != nil {
		to.raw = append(to.raw, b...)
		p.engine.charge(p.current(m), len(b))
	}
}

// body returns where the body of the message under way is kept.
func (p *Pairer) body(m *proto.Message) *Body {
	switch x := p.current(m); {
	case x == nil:
		return nil
	case m.Kind == proto.Request:
		return &x.RequestBody
	default:
		return &x.ResponseBody
	}
}

// End implements proto.Sink.
func (p *Pairer) End(m *proto.Message) {
	x := p.current(m)
	if x == nil {
		return
	}
	p.engine.charge(x, footprint(m)) // the trailers
	switch m.Kind {
	case proto.Request:
		p.sending = nil
		x.Request.Finish(m)
		switch {
		case !x.HasResponse:
			p.engine.wait(x) // now it does
		case x.Response.End != proto.Unfinished:
			p.heard = max(p.heard, m.Last.Offset+1)
			p.complete(x, m.Last)
		}
	case proto.Response:
		p.answering = nil
		x.Response.Finish(m)
		p.settled = max(p.settled, m.Last.Offset+1)
		if x.HasRequest {
			p.heard = max(p.heard, x.Request.Last.Offset+1)
		}
		if !x.HasRequest || x.Request.End != proto.Unfinished {
			p.complete(x, m.Last)
		}
	}
}

// Lost implements proto.Sink.
func (p *Pairer) Lost(d proto.Direction, at clock.Mark) {
	p.lost[d], p.lostAt[d] = true, max(p.lostAt[d], at.Offset)
}

// Abort implements proto.Sink: without streams there is nothing to give up but the connection.
func (p *Pairer) Abort(*proto.Abort) {}

// Session implements proto.Sink.
func (p *Pairer) Session(*proto.TLS) {}

// Closed says that a half-stream has ended, after the parser was told. When it is the server's, what
// waits won't be answered any more; when both have, nothing more can come.
func (p *Pairer) Closed(d proto.Direction, at clock.Mark, both bool) {
	if d != p.client || both {
		for i := 0; i < len(p.pending); {
			x := p.pending[i]
			if !both && x.HasResponse {
				i++ // its request is still under way
				continue
			}
			p.abandon(x, at)
		}
	}
}

// giveUp abandons a request whose response may still come: who counts must not take it for another's.
func (p *Pairer) giveUp(x *Exchange, at clock.Mark) {
	p.lost[p.client] = true
	p.lostAt[p.client] = max(p.lostAt[p.client], x.Request.First.Offset)
	p.abandon(x, at)
}

// abandon finishes an exchange that lacks something.
func (p *Pairer) abandon(x *Exchange, at clock.Mark) {
	if p.sending == x {
		p.sending = nil
	}
	if p.answering == x {
		p.answering = nil
	}
	p.complete(x, at)
}

// maxIdlePending is the largest list of pending exchanges that is kept when it is empty.
const maxIdlePending = 16

// complete finishes an exchange.
func (p *Pairer) complete(x *Exchange, at clock.Mark) {
	e := p.engine
	for i := range p.pending {
		if p.pending[i] == x {
			p.pending = append(p.pending[:i], p.pending[i+1:]...)
			break
		}
	}
	if len(p.pending) == 0 && cap(p.pending) > maxIdlePending {
		p.pending = nil
	}
	x.leave()
	x.pairer = nil
	e.charge(x, -x.charged)
	x.Completed = p.completion(x, at)
	x.LastPacket = max(at.Packet, x.Request.Last.Packet, x.Response.Last.Packet)
	if x.HasRequest {
		x.Anomalies |= x.Request.Anomalies
		x.MissingBytes += x.Request.MissingBytes
	}
	if x.HasResponse {
		x.Anomalies |= x.Response.Anomalies
		x.MissingBytes += x.Response.MissingBytes
		x.Stream = isStream(&x.Response)
	}
	x.Conn = *p.facts
	for d := range x.During {
		x.During[d] = counts(&p.facts.Half[d])
		x.During[d].subtract(&x.before[d])
		if x.During[d].Overlaps > 0 {
			x.Anomalies.Set(proto.OverlapDiffers)
		}
	}
	x.grade(p)
	e.Counters.Exchanges[x.Grade]++
	e.out.Done = append(e.out.Done, x)
}

// completion returns what completed an exchange: the latest of an event, of the last bytes of its messages, and
// of the end of the connection if that cut one short.
func (p *Pairer) completion(x *Exchange, at clock.Mark) clock.Mark {
	latest := func(m *clock.Mark) {
		if m.Time > at.Time {
			at = *m
		}
	}
	if x.HasRequest {
		latest(&x.Request.Last)
	}
	if x.HasResponse {
		latest(&x.Response.Last)
	}
	if x.Request.End == proto.Cut || x.Response.End == proto.Cut {
		latest(&p.facts.Closed)
	}
	return at
}

// streamTypes are the media types of responses that go on as long as there is news.
var streamTypes = []string{"text/event-stream", "multipart/x-mixed-replace"}

// isStream reports whether the time that a response takes says nothing of the server's speed: it goes on
// until someone has enough, or another protocol took the connection over.
func isStream(m *proto.Message) bool {
	if m.End == proto.Upgraded {
		return true
	}
	b := MediaType(m)
	for _, t := range streamTypes {
		if string(b) == t {
			return true
		}
	}
	return false
}

func (c *Counts) subtract(o *Counts) {
	c.Packets -= o.Packets
	c.Bytes -= o.Bytes
	c.Retransmits -= o.Retransmits
	c.OutOfOrder -= o.OutOfOrder
	c.DupAcks -= o.DupAcks
	c.ZeroWindows -= o.ZeroWindows
	c.Duplicates -= o.Duplicates
	c.Overlaps -= o.Overlaps
}
