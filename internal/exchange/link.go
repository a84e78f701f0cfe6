package exchange

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Link is what the exchanges of one connection have in common, whatever protocols it speaks one after the other, or
// one within another. The sinks of its parsers share it.
type Link struct {
	engine *Engine
	flow   *proto.Flow
	facts  *proto.Facts
	// index counts the exchanges that were begun.
	index uint32

	// session is the TLS session that carries what is spoken now, nil when there is none, and sessionIndex the value of index
	// when it began.
	session      *proto.TLS
	sessionIndex uint32
	// upgrade is the exchange that handed the connection over, until the protocol that took over has begun.
	upgrade *upgrade
}

// upgrade is what is kept of an exchange that handed the connection over to another protocol.
type upgrade struct{ request, response proto.Message }

// Open makes the link ready for a connection.
func (l *Link) Open(e *Engine, f *proto.Flow, facts *proto.Facts) {
	*l = Link{engine: e, flow: f, facts: facts}
}

// Detach has the link go on without the transport, whose facts it copies: they are about to be another connection's.
func (l *Link) Detach() {
	facts := *l.facts
	l.facts = &facts
}

func (l *Link) link() *Link { return l }

// Session implements that part of proto.Sink for all sinks of the connection.
func (l *Link) Session(s *proto.TLS) {
	if l.session == nil || l.session.Hello != s.Hello {
		l.sessionIndex = l.index
	}
	l.session = s
}

// upgraded keeps what handed the connection over.
func (l *Link) upgraded(x *Exchange) {
	if l.upgrade = nil; !x.HasRequest || !x.HasResponse {
		return
	}
	l.upgrade = new(upgrade)
	l.upgrade.request.CopyFrom(&x.Request)
	l.upgrade.response.CopyFrom(&x.Response)
}

// Prior returns the response that handed the connection over, nil if there is none. It is borrowed until another protocol
// begins.
func (l *Link) Prior() *proto.Message {
	if l.upgrade == nil {
		return nil
	}
	return &l.upgrade.response
}

// begin makes an exchange from its first message.
func (l *Link) begin(m *proto.Message, protocol string, client proto.Direction) *Exchange {
	x := l.engine.get()
	l.engine.charge(x, size+footprint(m))
	x.Flow, x.Client, x.Protocol, x.Index = l.flow, client, protocol, l.index
	x.Tap = l.engine.tap(m.First.Tap)
	l.index++
	x.Start, x.FirstPacket = m.First, m.First.Packet
	x.RequestBody.DecodedBytes, x.ResponseBody.DecodedBytes = -1, -1
	for d := range x.before {
		x.before[d] = counts(&l.facts.Half[d])
	}
	if n := &x.before[m.Dir]; n.Packets > 0 {
		n.Packets-- // the packet that the message begins with belongs to it
	}
	return x
}

// ask gives an exchange its request.
func (l *Link) ask(x *Exchange, m *proto.Message) {
	x.HasRequest = true
	x.Request.CopyFrom(m)
	x.underWay[proto.Request] = m
	if peeks := l.engine.limits.Peeks; peeks != nil {
		x.peek = peeks(m)
	}
}

func counts(h *proto.HalfFacts) Counts {
	return Counts{
		Packets: h.Packets, Bytes: h.Bytes, Retransmits: h.Retransmits, OutOfOrder: h.OutOfOrder,
		DupAcks: h.DupAcks, ZeroWindows: h.ZeroWindows, Duplicates: h.Duplicates, Overlaps: h.Overlaps,
	}
}

// finish hands out an exchange. lost marks the directions in which messages may have gone unseen.
func (l *Link) finish(x *Exchange, at clock.Mark, lost [2]bool) {
	e := l.engine
	x.leave()
	x.pairer, x.underWay = nil, [2]*proto.Message{}
	e.charge(x, -x.charged)
	x.TLS = l.session
	x.Completed = l.completion(x, at)
	x.LastPacket = max(at.Packet, x.Request.Last.Packet, x.Response.Last.Packet)
	if x.HasRequest {
		x.Anomalies |= x.Request.Anomalies
		x.MissingBytes += x.Request.MissingBytes
	}
	if x.HasResponse {
		x.Anomalies |= x.Response.Anomalies
		x.MissingBytes += x.Response.MissingBytes
		x.Stream = x.Stream || isStream(&x.Response)
	}
	x.Conn = *l.facts
	for d := range x.During {
		x.During[d] = counts(&l.facts.Half[d])
		x.During[d].subtract(&x.before[d])
		if x.During[d].Overlaps > 0 {
			x.Anomalies.Set(proto.OverlapDiffers)
		}
	}
	x.grade(lost)
	e.Counters.Exchanges[x.Grade]++
	e.out.Done = append(e.out.Done, x)
}

// completion returns what completed an exchange: the latest of an event, of the last bytes of its messages, and
// of the end of the connection if that cut one short.
func (l *Link) completion(x *Exchange, at clock.Mark) clock.Mark {
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
	if x.cut() {
		latest(&l.facts.Closed)
	}
	return at
}

// cut reports whether the end of the connection, rather than of a stream, ended a message.
func (x *Exchange) cut() bool {
	return x.Request.End == proto.Cut && x.Request.Close != proto.StreamReset || x.Response.End == proto.Cut && x.Response.Close != proto.StreamReset
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
