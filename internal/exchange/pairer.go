package exchange

import (
	"bytes"
	"slices"

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
	*Layer
	client   proto.Direction
	protocol string

	// pending are the exchanges that aren't finished, in the order of their requests.
	pending []*Exchange
	// sending and answering are those whose request or response is under way.
	sending, answering *Exchange

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

// Open begins the pairing of the messages of a connection, or of the protocol that takes one over. resumed: the parser
// begins in the middle, so that messages may have been missed. The pairer may be one that was used before.
func (p *Pairer) Open(l *Layer, protocol string, client proto.Direction, resumed bool) {
	*p = Pairer{Layer: l, client: client, protocol: protocol, pending: p.pending[:0]}
	if resumed {
		p.lost, p.lostAt = [2]bool{true, true}, [2]int64{-1, -1}
	}
}

// begin makes an exchange from its first message.
func (p *Pairer) begin(m *proto.Message) *Exchange {
	x := p.Layer.begin(m, p.protocol, p.client)
	x.pairer = p
	return x
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
	if m.OneWay {
		p.unasked(m)
		return proto.AnswersUnknown
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
	p.answer(x, m)
	p.answering = x
	return answers(x)
}

// unasked begins an exchange that has a response alone, since nobody asked for it.
func (p *Pairer) unasked(m *proto.Message) {
	x := p.begin(m)
	x.Stream = true
	p.answer(x, m)
	p.engine.answered.push(x)
	p.answering = x
}

// begun begins an exchange with its request.
func (p *Pairer) begun(m *proto.Message) {
	if m.OneWay {
		x := p.begin(m)
		p.ask(x, m)
		x.Stream = true // nobody waits for it
		p.engine.answered.push(x)
		p.sending = x
		return
	}
	first := p.firstWaiting()
	if len(p.pending) >= p.engine.limits.MaxWaiting && first < len(p.pending) {
		p.engine.Counters.Overflow++
		x := p.pending[first]
		x.Reason = "more requests wait on this connection than the limit (max waiting)"
		p.giveUp(x, m.First)
	}
	p.follow(m)
	x := p.begin(m)
	p.ask(x, m)
	p.sending, x.expected = x, m.First.Peer
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
	if x := p.sending; x != nil && m.Kind == proto.Request && !x.HasResponse && !m.OneWay {
		e.wait(x) // it isn't waiting for its answer while it is still being sent
	}
	if x := p.current(m); x != nil {
		return e.wantsBody(x, m)
	}
	return 0
}

// Body implements proto.Sink.
func (p *Pairer) Body(m *proto.Message, b []byte) {
	if x := p.current(m); x != nil {
		p.engine.keepBody(x, m, b)
	}
}

// End implements proto.Sink.
func (p *Pairer) End(m *proto.Message) {
	x := p.current(m)
	if x == nil {
		return
	}
	p.engine.charge(x, footprint(m)) // the trailers
	x.underWay[m.Kind] = nil
	if m.End == proto.Upgraded {
		p.upgraded(x)
	}
	switch m.Kind {
	case proto.Request:
		p.sending = nil
		x.Request.Finish(m)
		switch {
		case x.Request.OneWay:
			p.complete(x, m.Last)
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

// Closed says that a half-stream has ended, after the parser was told. When it is the server's, what
// waits won't be answered any more; when both have, nothing more can come.
func (p *Pairer) Closed(d proto.Direction, at clock.Mark, both bool) {
	if d == p.client && !both {
		for _, x := range p.pending {
			x.gone(at)
		}
	}
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

// losses implements pairing.
func (p *Pairer) losses(*Exchange) [2]bool { return p.lost }

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
	if i := slices.Index(p.pending, x); i >= 0 {
		p.pending = slices.Delete(p.pending, i, i+1) // which forgets it: it would live as long as the list, with its body
	}
	if len(p.pending) == 0 && cap(p.pending) > maxIdlePending {
		p.pending = nil
	}
	p.finish(x, at, p.lost)
}
