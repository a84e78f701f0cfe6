package pipeline

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/detect"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/proto"
)

// lane is detection, then a parser, and what makes exchanges of its messages: of a connection, or of one that a stream of it
// carries.
type lane struct {
	detect.Stream
	shard *shard
	own   *connection

	// sink is where the messages go now, one of the others; nil before there are any.
	sink    pairing
	pairer  exchange.Pairer
	streams *exchange.StreamPairer
	// heard tells who follows of the messages before they go there; nil: nobody wants that.
	heard *follow.Sink
	// layer is the one of what is spoken now, and base the lane's own. sessions are those of the TLS sessions that were begun.
	layer    *exchange.Layer
	base     exchange.Layer
	sessions []*exchange.Layer

	closed [2]bool
	// lingering is how many of its TLS sessions wait for keys though the lane has ended; at is then its end.
	lingering int
	at        clock.Mark
}

// pairing makes exchanges of messages, and is told of the end of half-streams.
type pairing interface {
	proto.Sink
	Closed(d proto.Direction, at clock.Mark, both bool)
}

// Sink implements detect.Opener.
func (l *lane) Sink(p *proto.Protocol, client proto.Direction, resumed bool, at clock.Mark) proto.Sink {
	if l.sink != nil {
		// Another protocol takes over: what the first left unanswered stays so.
		l.sink.Closed(client, at, true)
		l.sink = nil
	}
	l.unheard(at)
	l.own.count(p.Name)
	if l == &l.own.lane {
		l.own.flow.client = client
	}
	link := l.layer
	if p.Pairing != proto.ByStream && p.Pairing != proto.AsSession {
		link.Forget()
	}
	switch p.Pairing {
	case proto.Wrapper:
		l.layer = link.Within(0)
		l.sessions = append(l.sessions, l.layer)
		return wrapper{exchange.Wrapper{Layer: l.layer}, l}
	case proto.ByStream:
		if l.streams == nil {
			l.streams = new(exchange.StreamPairer)
		}
		l.streams.Open(link, p.Name, client, resumed)
		l.sink = l.streams
	case proto.AsSession:
		s := new(exchange.SessionPairer)
		s.Open(link, p.Name, client, resumed)
		l.sink = s
	default:
		l.pairer.Open(link, p.Name, client, resumed)
		l.sink = &l.pairer
	}
	return l.overhear(p, l.sink)
}

// Prior implements detect.Opener.
func (l *lane) Prior() *proto.Message { return l.layer.Prior() }

// Nest implements detect.Opener.
func (l *lane) Nest(n proto.Nested) proto.Parser {
	if n.Stream == 0 {
		in := new(detect.Stream)
		in.OpenNested(&l.shard.detector, l, n)
		if l.own.tee != nil && l == &l.own.lane {
			return l.own.tee.Nested(in)
		}
		return in
	}
	in := &lane{shard: l.shard, own: l.own, layer: l.layer.Within(n.Stream)}
	in.OpenNested(&l.shard.detector, in, n)
	return in
}

// Recognised implements detect.Opener.
func (l *lane) Recognised(name string) { l.own.count(name) }

// Close implements proto.Parser for a stream of a connection.
func (l *lane) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	l.Stream.Close(d, at, why)
	l.close(d, at, why)
}

// close notes the end of a half-stream, and tells of it unless something waits.
func (l *lane) close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	l.closed[d], l.at = true, at
	if s, ok := l.sink.(*exchange.SessionPairer); ok {
		s.Why = why
	}
	switch both := l.closed[d.Other()]; {
	case !both:
		l.end(d, false)
	case l.lingering == 0:
		l.end(d, true)
	}
}

// end tells of the end of a half-stream; with the second, of the lane's.
func (l *lane) end(d proto.Direction, both bool) {
	if l.sink != nil {
		l.sink.Closed(d, l.at, both)
	}
	if !both {
		return
	}
	l.unheard(l.at)
	l.layer.Forget()
	for _, s := range l.sessions {
		s.Closed(l.at)
	}
	l.sessions = nil
	if l == &l.own.lane {
		l.own.flow.end(l.shard, l.at)
	}
}

// wrapper is the sink of a TLS session. It keeps what carries it as long as that waits for keys.
type wrapper struct {
	exchange.Wrapper
	lane *lane
}

// Session implements proto.Sink.
func (w wrapper) Session(s *proto.TLS) {
	if t := w.lane.own.tee; t != nil {
		t.Session(s)
	}
	w.Wrapper.Session(s)
}

// Linger implements tls.Keeper.
func (w wrapper) Linger(waiting bool) {
	l, c := w.lane, w.lane.own
	if waiting {
		l.lingering++
		c.lingering++
		if c.tee != nil {
			c.tee.Linger(true)
		}
		return
	}
	l.lingering--
	c.lingering--
	if l.lingering == 0 && l.closed[0] && l.closed[1] {
		l.end(proto.Originator, false)
		l.end(proto.Responder, true)
	}
	if c.lingering > 0 {
		return
	}
	if c.tee != nil {
		c.tee.Linger(false)
	}
	if c.closed[0] && c.closed[1] {
		c.over()
	}
}
