package exchange

import (
	"slices"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// StreamPairer pairs the messages of a protocol with streams: a response answers the request of its stream. It is the
// proto.Sink of the connection's parser.
//
// # Theory of operation
//
//	request begins --> waiting --(response begins)--> answered --(both have ended)--> finished
//	        any --(given up: Abort, then the ends of what is open)--> finished
//	        any --(the connection ends)--> finished
//
// What a loss may have hidden is a matter of the streams that were open then.
type StreamPairer struct {
	*Layer
	client   proto.Direction
	protocol string
	// streams are the exchanges that aren't finished.
	streams open
	// last is the exchange that was looked up last, the most likely one to be next.
	last *Exchange
	// resumed: the parser began in the middle.
	resumed bool
}

// Open begins the pairing of the messages of a connection. resumed: the parser begins in the middle. The pairer may be
// one that was used before.
func (p *StreamPairer) Open(l *Layer, protocol string, client proto.Direction, resumed bool) {
	p.streams.reset()
	*p = StreamPairer{Layer: l, client: client, protocol: protocol, resumed: resumed, streams: p.streams}
	if u := l.taken(); u != nil && u.response.Status == 101 {
		p.continued(&u.request)
	}
}

// continued begins the exchange of stream 1, whose request came before the protocol was changed (RFC 7540 §3.2).
func (p *StreamPairer) continued(m *proto.Message) {
	m.Stream = 1
	x := p.begin(m)
	x.HasRequest = true
	x.Request.CopyFrom(m)
	x.sort = sortContinued
	p.engine.wait(x)
}

// begin makes an exchange from its first message.
func (p *StreamPairer) begin(m *proto.Message) *Exchange {
	if old := p.streams.get(m.Stream); old != nil {
		p.complete(old, m.First) // its number is used again
	}
	client := p.client
	if m.OneWay { // of which each end may send both kinds
		if client = m.Dir; m.Kind != proto.Request {
			client = m.Dir.Other()
		}
	}
	x := p.Layer.begin(m, p.protocol, client)
	x.pairer = p
	x.lost = [2]bool{p.resumed, p.resumed}
	p.streams.add(m.Stream, x)
	p.last = x
	return x
}

// Waiting reports whether an exchange isn't finished.
func (p *StreamPairer) Waiting() bool { return p.streams.len() > 0 }

// find returns the exchange of a stream, nil when there is none.
func (p *StreamPairer) find(stream uint64) *Exchange {
	if x := p.last; x != nil && x.StreamID() == stream {
		return x
	}
	x := p.streams.get(stream)
	if x != nil {
		p.last = x
	}
	return x
}

// Head implements proto.Sink.
func (p *StreamPairer) Head(m *proto.Message) proto.Answers {
	e := p.engine
	if m.Kind == proto.Request {
		if old := p.streams.get(m.Stream); m.Again && old != nil && !old.HasResponse {
			old.Retries++
			return proto.AnswersUnknown
		}
		x := p.begin(m)
		p.ask(x, m)
		if m.OneWay {
			x.Stream = true // nobody waits for it
			e.answered.push(x)
		} else {
			e.wait(x)
		}
		return proto.AnswersUnknown
	}
	x := p.find(m.Stream)
	if m.Kind == proto.Interim {
		switch {
		case x == nil:
			return proto.AnswersUnknown
		case len(x.Interim) < MaxInterim:
			x.Interim = append(x.Interim, Interim{m.Status, m.First})
		default:
			e.Counters.Interim++
		}
		return answers(x)
	}
	switch {
	case m.OneWay:
		x = p.begin(m)
		x.Stream = true
	case x == nil || x.HasResponse:
		x = p.begin(m)
		x.Anomalies.Set(proto.ResponseWithoutRequest)
	default:
		x.leave()
		e.charge(x, footprint(m))
		if x.underWay[proto.Request] != nil {
			x.Anomalies.Set(proto.EarlyResponse)
		}
	}
	e.answered.push(x)
	p.answer(x, m)
	return answers(x)
}

// WantsBody implements proto.Sink.
func (p *StreamPairer) WantsBody(m *proto.Message) int {
	x := p.find(m.Stream)
	if x == nil {
		return 0
	}
	if m.Kind == proto.Request && !x.HasResponse && !m.OneWay {
		p.engine.wait(x) // it isn't waiting for its answer while it is still being sent
	}
	return p.engine.wantsBody(x, m)
}

// Body implements proto.Sink.
func (p *StreamPairer) Body(m *proto.Message, b []byte) {
	if x := p.find(m.Stream); x != nil {
		p.engine.keepBody(x, m, b)
	}
}

// End implements proto.Sink.
func (p *StreamPairer) End(m *proto.Message) {
	x := p.find(m.Stream)
	if x == nil || m.Kind == proto.Interim || x.underWay[m.Kind] != m {
		return
	}
	p.engine.charge(x, footprint(m)) // the trailers
	x.underWay[m.Kind] = nil
	if m.Kind == proto.Request {
		x.Request.Finish(m)
	} else {
		x.Response.Finish(m)
		if m.End == proto.Upgraded {
			p.upgraded(x)
		}
	}
	switch {
	case x.underWay != [2]*proto.Message{}:
	case m.Close == proto.StreamReset && x.Abort == nil: // which follows
	case x.HasResponse, x.Abort != nil, x.Request.OneWay:
		p.complete(x, m.Last)
	default:
		p.engine.wait(x) // now it does
	}
}

// Abort implements proto.Sink.
func (p *StreamPairer) Abort(a *proto.Abort) {
	x := p.find(a.Stream)
	if x == nil {
		return
	}
	if x.Abort == nil {
		c := *a
		x.Abort = &c
	}
	if x.underWay == [2]*proto.Message{} {
		p.complete(x, a.At)
	}
}

// Lost implements proto.Sink.
func (p *StreamPairer) Lost(d proto.Direction, _ clock.Mark) {
	for x := range p.streams.all() {
		x.lost[d] = true
	}
}

// Closed says that a half-stream has ended, after the parser was told. When it is the server's, what
// waits won't be answered any more; when both have, nothing more can come.
func (p *StreamPairer) Closed(d proto.Direction, at clock.Mark, both bool) {
	if d == p.client && !both || p.streams.len() == 0 {
		return
	}
	ended := make([]*Exchange, 0, p.streams.len())
	for x := range p.streams.all() {
		if both || !x.HasResponse {
			ended = append(ended, x)
		}
	}
	slices.SortFunc(ended, age)
	for _, x := range ended {
		p.complete(x, at)
	}
}

// age is the order in which exchanges of one connection were begun.
func age(a, b *Exchange) int { return int(a.Index) - int(b.Index) }

// giveUp implements pairing.
func (p *StreamPairer) giveUp(x *Exchange, at clock.Mark) { p.complete(x, at) }

// losses implements pairing.
func (p *StreamPairer) losses(x *Exchange) [2]bool { return x.lost }

// complete finishes an exchange.
func (p *StreamPairer) complete(x *Exchange, at clock.Mark) {
	p.streams.remove(x.StreamID())
	if p.last == x {
		p.last = nil
	}
	p.finish(x, at, x.lost)
}
