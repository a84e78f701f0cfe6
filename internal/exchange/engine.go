package exchange

import (
	"time"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Limits bound what an Engine keeps.
type Limits struct {
	// MaxWaiting is how many requests of one connection may wait for their responses.
	MaxWaiting int
	// MaxBody is how many bytes of each body are kept, 0 for none. Peeks returns how many are kept at least of a message whose head
	// is known; nil: none.
	MaxBody int
	Peeks   func(m *proto.Message) int
	// Messages: each message of a session makes an exchange.
	Messages bool
	// PendingAfter is the capture time after which a request without an answer is shown as waiting; 0:
	// never. ExchangeTimeout is when it is given up.
	PendingAfter, ExchangeTimeout time.Duration
}

// Counters count what an engine did.
type Counters struct {
	// Exchanges counts finished exchanges by grade.
	Exchanges [Grades]uint64
	// TimedOut counts requests given up because of ExchangeTimeout, Overflow those because of MaxWaiting.
	TimedOut, Overflow uint64
	// Interim counts interim responses that weren't kept because of MaxInterim.
	Interim uint64
}

// Engine makes exchanges from messages, for all connections of a shard. It isn't safe for concurrent
// use.
type Engine struct {
	limits Limits
	tap    func(index uint32) *Tap

	// waiting and announced are the requests without the head of a response, in the order in which they
	// began to wait; announced are those that were shown as waiting. answered are the exchanges whose response has
	// begun, and that aren't finished. So each exchange under way is in one of the three.
	waiting, announced, answered queue

	// named is the protocol of the last exchange, which is likely to be that of the next, and kind its family.
	named string
	kind  Family

	out     *Collector
	memory  int
	elapsed int64

	// Counters may be read between calls.
	Counters Counters
}

// NewEngine returns an engine. tap tells the tap of a packet's tap index; out takes what is finished.
func NewEngine(limits Limits, tap func(index uint32) *Tap, out *Collector) *Engine {
	return &Engine{limits: limits, tap: tap, out: out, kind: Other}
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

// A collector keeps at most maxFree spare exchanges, as many as come of the packets of one epoch when commands are sent in pipelines,
// none with buffers larger than maxFreeSize.
const (
	maxFree     = 4096
	maxFreeSize = 4 << 10
)

// MaxInterim is how many interim responses are kept of an exchange.
const MaxInterim = 32

// What an exchange is estimated to take, and each header field of it.
const (
	size      = int(unsafe.Sizeof(Exchange{})) + 512
	fieldSize = int(unsafe.Sizeof(proto.Field{}))
	factSize  = int(unsafe.Sizeof(proto.Fact{}))
)

// footprint is what a message's copy takes.
func footprint(m *proto.Message) int {
	return len(m.Raw) + len(m.Fields)*fieldSize + len(m.Facts)*factSize
}

// Recycle takes back exchanges that nobody uses any more.
func (c *Collector) Recycle(list []*Exchange) {
	for _, x := range list {
		if len(c.free) == maxFree {
			return
		}
		if x.capacity() <= maxFreeSize {
			c.free = append(c.free, x)
		}
	}
}

// capacity is what the buffers of an exchange take.
func (x *Exchange) capacity() int {
	return cap(x.Request.Raw) + cap(x.Response.Raw) + cap(x.RequestBody.raw) + cap(x.ResponseBody.raw) +
		(cap(x.Request.Fields)+cap(x.Response.Fields))*fieldSize + (cap(x.Request.Facts)+cap(x.Response.Facts))*factSize
}

// wantsBody returns how many more bytes of a message's body are wanted.
func (e *Engine) wantsBody(x *Exchange, m *proto.Message) int {
	if m.Kind == proto.Request {
		return e.wantsBodyOf(&x.RequestBody, m, x.peek[proto.Request])
	}
	return e.wantsBodyOf(&x.ResponseBody, m, x.peek[proto.Response])
}

// wantsBodyOf returns how many more bytes of a message's body are wanted, of which some are kept, and peek at least.
func (e *Engine) wantsBodyOf(b *Body, m *proto.Message, peek int) int {
	limit := max(e.limits.MaxBody, peek)
	if limit == 0 || b.holed {
		return 0
	}
	if m.MissingBytes > 0 {
		b.holed = true // what comes behind a hole doesn't continue the body
		return 0
	}
	return limit - len(b.raw)
}

// keepBody keeps bytes of a body.
func (e *Engine) keepBody(x *Exchange, m *proto.Message, b []byte) {
	to := &x.ResponseBody
	if m.Kind == proto.Request {
		to = &x.RequestBody
	}
	to.raw = append(to.raw, b...)
	e.charge(x, len(b))
}

// charge accounts for n bytes more that an unfinished exchange takes.
func (e *Engine) charge(x *Exchange, n int) {
	x.charged += n
	e.memory += n
}

// family is FamilyOf.
func (e *Engine) family(protocol string) Family {
	if protocol != e.named {
		e.named, e.kind = protocol, FamilyOf(protocol)
	}
	return e.kind
}

func (e *Engine) get() *Exchange {
	free := e.out.free
	if len(free) == 0 {
		return new(Exchange)
	}
	x := free[len(free)-1]
	free[len(free)-1] = nil // or it would live as long as the list, with the body that it may get
	e.out.free = free[:len(free)-1]
	x.reset()
	return x
}

// reset empties an exchange and keeps its memory.
func (x *Exchange) reset() {
	request, response := x.Request, x.Response
	requestBody, responseBody, interim := x.RequestBody.raw[:0], x.ResponseBody.raw[:0], x.Interim[:0]
	secrets, episodes := x.Secrets[:0], x.Episodes[:0]
	*x = Exchange{}
	x.Request.Raw, x.Request.Fields, x.Request.Facts = request.Raw[:0], request.Fields[:0], request.Facts[:0]
	x.Response.Raw, x.Response.Fields, x.Response.Facts = response.Raw[:0], response.Fields[:0], response.Facts[:0]
	x.RequestBody.raw, x.ResponseBody.raw, x.Interim, x.Secrets, x.Episodes = requestBody, responseBody, interim, secrets, episodes
}

// Tick shows requests that have waited for long, and gives up those that have waited too long. It
// takes the clock's elapsed time and the mark of the last packet.
func (e *Engine) Tick(elapsed int64, at clock.Mark) {
	e.elapsed = elapsed
	for _, q := range [2]*queue{&e.announced, &e.waiting} {
		for x := q.head; x != nil && elapsed-x.since > int64(e.limits.ExchangeTimeout); x = q.head {
			e.Counters.TimedOut++
			x.Reason = "no answer within the exchange timeout"
			x.pairer.giveUp(x, at)
		}
	}
	for x := e.waiting.head; x != nil && e.limits.PendingAfter > 0 && elapsed-x.since > int64(e.limits.PendingAfter); x = e.waiting.head {
		x.leave()
		e.announced.push(x)
		if !x.shown {
			x.shown = true
			e.out.Waiting = append(e.out.Waiting, x.snapshot(at))
		}
	}
}

// wait has a request wait from now on.
func (e *Engine) wait(x *Exchange) {
	if x.in == &e.waiting && x.since == e.elapsed {
		return // the order by tick is all that matters
	}
	x.leave()
	x.since = e.elapsed
	e.waiting.push(x)
}

// snapshot copies what is known of a request.
func (x *Exchange) snapshot(at clock.Mark) *Exchange {
	c := &Exchange{
		Flow: x.Flow, Tap: x.Tap, Client: x.Client, Protocol: x.Protocol, Family: x.Family, Index: x.Index, Retries: x.Retries,
		HasRequest: x.HasRequest, Grade: Unanswered, Start: x.Start, Completed: at, FirstPacket: x.FirstPacket,
		LastPacket: at.Packet, Anomalies: x.Anomalies,
	}
	c.Request.CopyFrom(&x.Request)
	c.RequestBody.DecodedBytes, c.ResponseBody.DecodedBytes = -1, -1
	c.clearTiming()
	return c
}

// UnknownTiming is the timing of which nothing is known.
var UnknownTiming = Timing{-1, -1, -1, -1, -1, -1, -1, -1, -1, Split{-1, -1, -1}, [Phases]Causes{}}

func (x *Exchange) clearTiming() {
	x.Timing = UnknownTiming
}

// queue is a doubly linked list of exchanges.
type queue struct{ head, tail *Exchange }

func (q *queue) push(x *Exchange) {
	x.in, x.prev, x.next = q, q.tail, nil
	if q.tail != nil {
		q.tail.next = x
	} else {
		q.head = x
	}
	q.tail = x
}

// leave takes an exchange out of the queue that it is in, if any.
func (x *Exchange) leave() {
	q := x.in
	if q == nil {
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
	x.in, x.prev, x.next = nil, nil, nil
}
