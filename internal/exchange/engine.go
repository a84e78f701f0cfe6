package exchange

import (
	"bytes"
	"time"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// Limits bound what an Engine keeps.
type Limits struct {
	// MaxWaiting is how many requests of one connection may wait for their responses.
	MaxWaiting int
	// MaxBody is how many bytes of each body are kept, 0 for none.
	MaxBody int
	// PendingAfter is the capture time after which a request without an answer is shown as waiting; 0:
	// never. ExchangeTimeout is when it is given up.
	PendingAfter, ExchangeTimeout time.Duration
}

// Counters count what an engine did.
type Counters struct {
	// Exchanges counts finished exchanges by grade.
	Exchanges [Grades]uint64
	// Waiting is how many requests wait for their answer now; TimedOut counts those given up because
	// of ExchangeTimeout, Overflow those because of MaxWaiting.
	Waiting, TimedOut, Overflow uint64
}

// Engine makes exchanges from messages, for all connections of a shard. It isn't safe for concurrent
// use.
type Engine struct {
	limits  Limits
	tap     func(index uint32) *Tap
	decoder body.Decoder

	// waiting are the requests without the head of a response, in order of arrival.
	waiting queue
	out     *Collector
	memory  int
	elapsed int64

	// Counters may be read between calls.
	Counters Counters
}

// NewEngine returns an engine. tap tells the tap of a packet's tap index; out takes what is finished.
func NewEngine(limits Limits, tap func(index uint32) *Tap, out *Collector) *Engine {
	return &Engine{limits: limits, tap: tap, out: out}
}

// Memory returns how many bytes unfinished exchanges take, estimated.
func (e *Engine) Memory() int { return e.memory }

// Collector takes the exchanges of the engines of one worker, and keeps spare ones for them. It isn't
// safe for concurrent use.
type Collector struct {
	// Done are the finished exchanges, in the order in which they were finished; Waiting those that have
	// newly waited for PendingAfter. Their reader empties both.
	Done, Waiting []*Exchange

	free []*Exchange
}

// A collector keeps at most maxFree spare exchanges, none with buffers larger than maxFreeSize.
const (
	maxFree     = 4096
	maxFreeSize = 8 << 10
	size        = int(unsafe.Sizeof(Exchange{})) + 512
)

// Recycle takes back exchanges that nobody uses any more.
func (c *Collector) Recycle(list []*Exchange) {
	for _, x := range list {
		if len(c.free) == maxFree {
			return
		}
		if cap(x.Request.Raw)+cap(x.Response.Raw)+cap(x.RequestBody.raw)+cap(x.ResponseBody.raw) <= maxFreeSize {
			c.free = append(c.free, x)
		}
	}
}

func (e *Engine) get() *Exchange {
	e.memory += size
	free := e.out.free
	if len(free) == 0 {
		return new(Exchange)
	}
	x := free[len(free)-1]
	e.out.free = free[:len(free)-1]
	x.reset()
	return x
}

// reset empties an exchange and keeps its memory.
func (x *Exchange) reset() {
	requestRaw, requestFields := x.Request.Raw[:0], x.Request.Fields[:0]
	responseRaw, responseFields := x.Response.Raw[:0], x.Response.Fields[:0]
	requestBody, responseBody, interim := x.RequestBody.raw[:0], x.ResponseBody.raw[:0], x.Interim[:0]
	*x = Exchange{}
	x.Request.Raw, x.Request.Fields = requestRaw, requestFields
	x.Response.Raw, x.Response.Fields = responseRaw, responseFields
	x.RequestBody.raw, x.ResponseBody.raw, x.Interim = requestBody, responseBody, interim
}

// Tick shows requests that have waited for long, and gives up those that have waited too long. It
// takes the clock's elapsed time and the mark of the last packet.
func (e *Engine) Tick(elapsed int64, at clock.Mark) {
	e.elapsed = elapsed
	for x := e.waiting.head; x != nil; {
		next, age := x.next, elapsed-x.since
		switch {
		case age > int64(e.limits.ExchangeTimeout):
			e.Counters.TimedOut++
			x.Reason = "no answer within the exchange timeout"
			x.pairer.abandon(x, at)
		case e.limits.PendingAfter > 0 && age > int64(e.limits.PendingAfter):
			if !x.announced {
				x.announced = true
				e.out.Waiting = append(e.out.Waiting, x.snapshot(at))
			}
		default:
			return
		}
		x = next
	}
}

// snapshot copies what is known of a waiting request.
func (x *Exchange) snapshot(at clock.Mark) *Exchange {
	c := &Exchange{
		Flow: x.Flow, Tap: x.Tap, Client: x.Client, Protocol: x.Protocol, Index: x.Index,
		HasRequest: true, Grade: Unanswered, Start: x.Start, Completed: at, FirstPacket: x.FirstPacket,
		LastPacket: at.Packet, Anomalies: x.Anomalies,
	}
	c.Request.CopyFrom(&x.Request)
	c.clearTiming()
	return c
}

func (x *Exchange) clearTiming() {
	x.Timing = Timing{-1, -1, -1, -1, -1, -1, -1, -1, -1}
}

// queue is a doubly linked list of exchanges.
type queue struct{ head, tail *Exchange }

func (q *queue) push(x *Exchange) {
	x.queued, x.prev, x.next = true, q.tail, nil
	if q.tail != nil {
		q.tail.next = x
	} else {
		q.head = x
	}
	q.tail = x
}

func (q *queue) remove(x *Exchange) {
	if !x.queued {
		return
	}
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		q.head = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	} else {
		q.tail = x.prev
	}
	x.queued, x.prev, x.next = false, nil, nil
}

// Pairer pairs the messages of one connection. It is the proto.Sink of the connection's parser.
//
// # Theory of operation
//
// Without stream ids the nth response answers the nth request, as long as every byte of both
// half-streams was seen. After a loss, counting is worthless, and acknowledgements decide: each request
// carries how many bytes of the response stream its sender had received (Mark.Peer). A response that
// begins before that point answers an earlier request. And a client that doesn't pipeline has received
// the whole of a response before it sends the next request; so a response that begins at or behind what
// the next request had acknowledged doesn't answer this one. Where pipelining leaves it open, nothing is
// paired, and the anomaly says so.
type Pairer struct {
	engine   *Engine
	flow     *proto.Flow
	facts    *proto.Facts
	client   proto.Direction
	protocol string

	// pending are the exchanges that aren't finished, in the order of their requests.
	pending []*Exchange
	// sending and answering are those whose request or response is under way.
	sending, answering *Exchange
	// lost marks directions in which messages may have gone unseen since the last sure pair; lostAt is
	// since when.
	lost  [2]bool
	index uint32
}

// Reset makes the pairer ready for another connection, and keeps its memory.
func (p *Pairer) Reset() { *p = Pairer{pending: p.pending[:0]} }

// Open begins the pairing of the messages of a connection, or of the protocol that takes one over: its
// exchanges are counted on.
func (p *Pairer) Open(e *Engine, protocol string, client proto.Direction, f *proto.Flow, facts *proto.Facts) {
	*p = Pairer{engine: e, flow: f, facts: facts, client: client, protocol: protocol, pending: p.pending[:0], index: p.index}
}

// begin makes an exchange from its first message.
func (p *Pairer) begin(m *proto.Message) *Exchange {
	x := p.engine.get()
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
	p.engine.memory += len(m.Raw)
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
		p.request(m)
		return proto.AnswersUnknown
	case proto.Interim:
		if x := p.match(m); x != nil {
			x.Interim = append(x.Interim, Interim{m.Status, m.First})
			return answers(x)
		}
		return proto.AnswersUnknown
	}
	x := p.match(m)
	if x == nil {
		x = p.begin(m)
		x.Anomalies.Set(proto.ResponseWithoutRequest)
		p.pending = append(p.pending, nil)
		copy(p.pending[1:], p.pending)
		p.pending[0] = x
	} else {
		p.engine.waiting.remove(x)
		p.engine.memory += len(m.Raw)
		if x.Request.End == proto.Unfinished {
			x.Anomalies.Set(proto.EarlyResponse)
		}
	}
	x.HasResponse = true
	x.Response.CopyFrom(m)
	p.answering = x
	return answers(x)
}

// request begins an exchange with its request.
func (p *Pairer) request(m *proto.Message) {
	if len(p.pending) >= p.engine.limits.MaxWaiting {
		p.engine.Counters.Overflow++
		x := p.pending[0]
		x.Reason = "more requests wait on this connection than the limit (max waiting)"
		p.abandon(x, m.First)
		p.lost[p.client.Other()] = true
	}
	x := p.begin(m)
	x.HasRequest = true
	x.Request.CopyFrom(m)
	p.sending = x
	p.pending = append(p.pending, x)
	x.since = p.engine.elapsed
	p.engine.waiting.push(x)
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

// match returns the pending request that a response answers, nil if it was never seen. See the type's
// theory.
func (p *Pairer) match(m *proto.Message) *Exchange {
	for {
		i := 0
		for i < len(p.pending) && p.pending[i].HasResponse {
			i++
		}
		if i == len(p.pending) {
			return nil
		}
		x := p.pending[i]
		if after := x.Request.First.Peer; after > m.First.Offset {
			return nil // it was sent when this response had already been received
		}
		if !p.lost[0] && !p.lost[1] {
			return x
		}
		if i+1 == len(p.pending) {
			p.lost = [2]bool{}
			return x
		}
		here, next := x.Request.First.Peer, p.pending[i+1].Request.First.Peer
		switch {
		case here < 0 || next < 0 || here == next:
			// Pipelined across a loss: any of them may be meant.
			p.ambiguous(p.pending[i:], here, m.First)
			return nil
		case next <= m.First.Offset:
			x.Reason = "its response wasn't captured"
			x.lostResponse = true
			p.complete(x, m.First)
		default:
			p.lost = [2]bool{}
			return x
		}
	}
}

// ambiguous gives up the requests that were sent at one point of the response stream.
func (p *Pairer) ambiguous(pending []*Exchange, peer int64, at clock.Mark) {
	var drop []*Exchange
	for _, x := range pending {
		if x.Request.First.Peer == peer {
			drop = append(drop, x)
		}
	}
	for _, x := range drop {
		x.Anomalies.Set(proto.AmbiguousPairing)
		x.Reason = "lost bytes leave open which response answers it"
		x.lostResponse = true
		p.abandon(x, at)
	}
}

// WantsBody implements proto.Sink.
func (p *Pairer) WantsBody(m *proto.Message) int {
	limit := p.engine.limits.MaxBody
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
		p.engine.memory += len(b)
	}
}

// body returns where the body of the message under way is kept.
func (p *Pairer) body(m *proto.Message) *Body {
	switch {
	case m.Kind == proto.Request && p.sending != nil:
		return &p.sending.RequestBody
	case m.Kind == proto.Response && p.answering != nil:
		return &p.answering.ResponseBody
	}
	return nil
}

// End implements proto.Sink.
func (p *Pairer) End(m *proto.Message) {
	switch m.Kind {
	case proto.Request:
		if x := p.sending; x != nil {
			p.sending = nil
			x.Request.Finish(m)
			if x.HasResponse && x.Response.End != proto.Unfinished {
				p.complete(x, m.Last)
			}
		}
	case proto.Response:
		if x := p.answering; x != nil {
			p.answering = nil
			x.Response.Finish(m)
			if !x.HasRequest || x.Request.End != proto.Unfinished {
				p.complete(x, m.Last)
			}
		}
	}
}

// Lost implements proto.Sink.
func (p *Pairer) Lost(d proto.Direction, at clock.Mark) { p.lost[d] = true }

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

// complete finishes an exchange.
func (p *Pairer) complete(x *Exchange, at clock.Mark) {
	e := p.engine
	for i := range p.pending {
		if p.pending[i] == x {
			p.pending = append(p.pending[:i], p.pending[i+1:]...)
			break
		}
	}
	e.waiting.remove(x)
	x.pairer = nil
	e.memory -= size + len(x.Request.Raw) + len(x.Response.Raw) + len(x.RequestBody.raw) + len(x.ResponseBody.raw)
	x.Completed = p.completion(x, at)
	x.LastPacket = max(at.Packet, x.Request.Last.Packet, x.Response.Last.Packet)
	if x.HasRequest {
		x.Anomalies |= x.Request.Anomalies
		x.MissingBytes += x.Request.MissingBytes
	}
	if x.HasResponse {
		x.Anomalies |= x.Response.Anomalies
		x.MissingBytes += x.Response.MissingBytes
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
	if e.limits.MaxBody > 0 {
		x.decode(&e.decoder, e.limits.MaxBody)
	}
	e.Counters.Exchanges[x.Grade]++
	e.out.Done = append(e.out.Done, x)
}

// completion returns what completed an exchange: the latest of an event, of its last bytes, and of the end of
// the connection if that cut it short.
func (p *Pairer) completion(x *Exchange, at clock.Mark) clock.Mark {
	marks := []clock.Mark{x.Request.Last, x.Response.Last}
	if x.Request.End == proto.Cut || x.Response.End == proto.Cut {
		marks = append(marks, p.facts.Closed)
	}
	for _, m := range marks {
		if m.Time > at.Time {
			at = m
		}
	}
	return at
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
