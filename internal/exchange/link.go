package exchange

import (
	"slices"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Link is what the exchanges of one connection have in common.
type Link struct {
	engine *Engine
	flow   *proto.Flow
	// facts are those of the transport, or, while something is replayed, those of then; live are always the former.
	facts, live *proto.Facts
	// index counts the exchanges that were begun.
	index uint32
}

// Open makes the link ready for a connection.
func (l *Link) Open(e *Engine, f *proto.Flow, facts *proto.Facts) {
	*l = Link{engine: e, flow: f, facts: facts, live: facts}
}

// Detach has the link go on without the transport, whose facts it copies: they are about to be another connection's.
func (l *Link) Detach() {
	facts := *l.live
	facts.Episodes = slices.Clone(facts.Episodes)
	if l.facts == l.live {
		l.facts = &facts
	}
	l.live = &facts
}

// Flow returns the connection.
func (l *Link) Flow() *proto.Flow { return l.flow }

// Facts returns what the transport had observed when what comes was sent. It is borrowed.
func (l *Link) Facts() *proto.Facts { return l.facts }

// Rewind has what comes be of the time when the transport had observed no more than f; nil: of now.
func (l *Link) Rewind(f *proto.Facts) {
	if l.facts = f; f == nil {
		l.facts = l.live
	}
}

func (l *Link) link() *Link { return l }

// Layer is one of the conversations of a connection: what it says itself, what is said within TLS, or on a stream. Layers lie
// one within another, and those of streams side by side. The sinks of a layer's parsers share it.
type Layer struct {
	*Link
	// outer is the layer that carries this one, nil when none does. path tells it from others of the connection; 0: it is the
	// connection itself.
	outer *Layer
	path  uint64
	// session is the TLS session that this layer is within, nil when it isn't one. begun: exchanges came of it, or of a
	// layer within.
	session *proto.TLS
	begun   bool
	// upgrade is the exchange that handed the layer over, until the protocol that took over has begun.
	upgrade *upgrade
	// proxied is what a proxy said of the layer, nil when none did.
	proxied *proto.Proxied
}

// upgrade is what is kept of an exchange that handed the connection over to another protocol.
type upgrade struct{ request, response proto.Message }

// Open makes the layer ready for what a connection says itself.
func (l *Layer) Open(k *Link) { *l = Layer{Link: k} }

// Within returns a layer within this one: that of a stream, or, if stream is 0, of a TLS session.
func (l *Layer) Within(stream uint64) *Layer {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	path := l.path
	if path == 0 {
		path = offset
	}
	in := &Layer{Link: l.Link, outer: l, path: (path ^ (stream + 1)) * prime}
	if stream != 0 {
		in.upgrade, l.upgrade = l.upgrade, nil // it was the stream that was handed over
	}
	return in
}

// Session implements that part of proto.Sink for the parser of a TLS session.
func (l *Layer) Session(s *proto.TLS) { l.session = s }

// Proxied implements that part of proto.Sink.
func (l *Layer) Proxied(p *proto.Proxied) { l.proxied = p }

// origin returns what a proxy said of the layer, or of the innermost one around it of which one did; nil when none did.
func (l *Layer) origin() *proto.Proxied {
	for ; l != nil; l = l.outer {
		if l.proxied != nil {
			return l.proxied
		}
	}
	return nil
}

// secured returns the TLS session that carries the layer, the innermost one, nil when none does.
func (l *Layer) secured() *proto.TLS {
	for ; l != nil; l = l.outer {
		if l.session != nil {
			return l.session
		}
	}
	return nil
}

// upgraded keeps what handed the layer over, where the protocol that takes over needs it: after an upgrade, or a CONNECT that
// names a protocol.
func (l *Layer) upgraded(x *Exchange) {
	l.Forget()
	if !x.HasRequest || !x.HasResponse || x.Response.Status != 101 && x.Request.Field(":protocol") == nil {
		return
	}
	l.upgrade = new(upgrade)
	l.upgrade.request.CopyFrom(&x.Request)
	l.upgrade.response.CopyFrom(&x.Response)
	l.engine.memory += l.upgrade.size()
}

func (u *upgrade) size() int { return footprint(&u.request) + footprint(&u.response) }

// Forget lets go of what handed the layer over.
func (l *Layer) Forget() { l.taken() }

// taken returns what handed the layer over, and lets go of it.
func (l *Layer) taken() *upgrade {
	u := l.upgrade
	if u != nil {
		l.engine.memory -= u.size()
		l.upgrade = nil
	}
	return u
}

// Prior returns the response that handed the layer over, nil if there is none. It is borrowed until another protocol begins.
func (l *Layer) Prior() *proto.Message {
	if l.upgrade == nil {
		return nil
	}
	return &l.upgrade.response
}

// begin makes an exchange from its first message.
func (l *Layer) begin(m *proto.Message, protocol string, client proto.Direction) *Exchange {
	x := l.record(m, protocol, client)
	x.Index = l.index
	l.index++
	for o := l; o != nil; o = o.outer {
		o.begun = true
	}
	return x
}

// Begun reports whether exchanges came of the layer, or of one within.
func (l *Layer) Begun() bool { return l.begun }

// record makes an exchange that begins as a message does.
func (l *Layer) record(m *proto.Message, protocol string, client proto.Direction) *Exchange {
	x := l.engine.get()
	l.engine.charge(x, size+footprint(m))
	x.Flow, x.Client, x.Protocol, x.Family = l.flow, client, protocol, l.engine.family(protocol)
	x.Tap, x.path = l.engine.tap(m.First.Tap), l.path
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
func (l *Layer) ask(x *Exchange, m *proto.Message) {
	x.HasRequest = true
	x.Request.CopyFrom(m)
	x.underWay[proto.Request] = m
	x.peek[proto.Request] = l.peeks(m)
}

// answer gives an exchange its response.
func (l *Layer) answer(x *Exchange, m *proto.Message) {
	l.acknowledged(x)
	x.HasResponse = true
	x.Response.CopyFrom(m)
	x.underWay[proto.Response] = m
	x.peek[proto.Response] = l.peeks(m)
	if x.left > 0 && m.First.Time > x.left {
		x.Anomalies.Set(proto.ClosedBeforeAnswer)
	}
}

// gone notes that the client has closed its side. A client may do so and still wait for its answer.
func (x *Exchange) gone(at clock.Mark) {
	if !x.HasResponse && x.Request.End == proto.Whole {
		x.left = at.Time
	}
}

func (l *Layer) peeks(m *proto.Message) int {
	if peeks := l.engine.limits.Peeks; peeks != nil {
		return peeks(m)
	}
	return 0
}

func counts(h *proto.HalfFacts) Counts {
	return Counts{
		Packets: h.Packets, Bytes: h.Bytes, Retransmits: h.Retransmits, OutOfOrder: h.OutOfOrder,
		DupAcks: h.DupAcks, ZeroWindows: h.ZeroWindows, Duplicates: h.Duplicates, Overlaps: h.Overlaps,
	}
}

// finish hands out an exchange. lost marks the directions in which messages may have gone unseen.
func (l *Layer) finish(x *Exchange, at clock.Mark, lost [2]bool) {
	e := l.engine
	x.leave()
	x.pairer, x.underWay = nil, [2]*proto.Message{}
	e.charge(x, -x.charged)
	x.TLS, x.Proxied = l.secured(), l.origin()
	if x.sort == sortSession {
		// It ends with what was said last, whenever its connection does.
		if at = x.Request.Last; x.Response.Last.Time > at.Time {
			at = x.Response.Last
		}
	}
	x.Completed = l.completion(x, at)
	if x.grpc = isNoCall; x.looksGRPC() {
		x.grpc = isCall
	}
	x.LastPacket = max(at.Packet, x.Request.Last.Packet, x.Response.Last.Packet)
	if x.HasRequest {
		x.Anomalies |= x.Request.Anomalies
		x.MissingBytes += x.Request.MissingBytes
	}
	if x.HasResponse {
		x.Anomalies |= x.Response.Anomalies
		x.MissingBytes += x.Response.MissingBytes
		x.Stream = x.Stream || isStream(&x.Response) || x.Response.Blocks
	}
	x.Stream = x.Stream || x.HasRequest && x.Request.Blocks
	x.Conn = *l.facts
	x.Conn.Episodes = nil
	x.witness(l.facts.Episodes)
	for d := range x.During {
		x.During[d] = counts(&l.facts.Half[d])
		x.During[d].subtract(&x.before[d])
		if x.During[d].Overlaps > 0 {
			x.Anomalies.Set(proto.OverlapDiffers)
		}
	}
	x.grade(lost)
	if x.Recorded() {
		x.forgetWire()
	}
	e.Counters.Exchanges[x.Grade]++
	e.out.Done = append(e.out.Done, x)
}

// witness keeps the episodes that touch an exchange; that of the first on a connection includes the handshake.
func (x *Exchange) witness(episodes []proto.Episode) {
	from := x.Start.Time
	if x.Index == 0 {
		from = 0
	}
	for i := range episodes {
		if e := &episodes[i]; e.To > from && e.From < x.Completed.Time {
			x.Episodes = append(x.Episodes, *e)
		}
	}
}

// acknowledged notes when all of the request was, if it was before what comes now.
func (l *Link) acknowledged(x *Exchange) {
	if a := l.facts.Half[x.Client].AllAcked; x.HasRequest && a.Time >= x.Request.Last.Time {
		x.Acked = a
	}
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
