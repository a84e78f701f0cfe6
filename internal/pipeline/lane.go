package pipeline

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/detect"
	"github.com/culprit-http/culprit/internal/exchange"
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
	closed  [2]bool
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
	l.own.count(p.Name)
	link := &l.own.link
	switch p.Pairing {
	case proto.Wrapper:
		return wrapper{exchange.Wrapper{Link: link}, l.own}
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
	return l.sink
}

// Prior implements detect.Opener.
func (l *lane) Prior() *proto.Message { return l.own.link.Prior() }

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
	in := &lane{shard: l.shard, own: l.own}
	in.OpenNested(&l.shard.detector, in, n)
	return in
}

// Recognised implements detect.Opener.
func (l *lane) Recognised(name string) { l.own.count(name) }

// Close implements proto.Parser for a stream of a connection.
func (l *lane) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	l.Stream.Close(d, at, why)
	l.closed[d] = true
	l.end(d, at, l.closed[d.Other()])
}

// end tells of the end of a half-stream.
func (l *lane) end(d proto.Direction, at clock.Mark, both bool) {
	if l.sink != nil {
		l.sink.Closed(d, at, both)
	}
}

// wrapper is the sink of what carries another protocol. It keeps the connection as long as that waits for keys.
type wrapper struct {
	exchange.Wrapper
	own *connection
}

// Session implements proto.Sink.
func (w wrapper) Session(s *proto.TLS) {
	if w.own.tee != nil {
		w.own.tee.Session(s)
	}
	w.Wrapper.Session(s)
}

// Linger implements tls.Keeper.
func (w wrapper) Linger(waiting bool) {
	c := w.own
	if c.tee != nil {
		c.tee.Linger(waiting)
	}
	switch {
	case waiting && !c.lingers:
		c.lingers = true
		c.link.Detach()
	case !waiting && c.lingers:
		c.lingers = false
		c.end(proto.Originator, c.at, false)
		c.end(proto.Responder, c.at, true)
		c.over(c.at)
	}
}
