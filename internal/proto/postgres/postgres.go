// Package postgres takes the frontend/backend protocol of PostgreSQL apart, versions 3.0 and 3.2
// (https://www.postgresql.org/docs/current/protocol.html), as servers, poolers and what imitates them speak it.
//
// # Theory of operation
//
// Each direction is a sequence of messages: a type, a length, a body. The client's first packets have no type:
//
//	startup --(SSLRequest, GSSENCRequest)--> waiting --('N')--> startup
//	                                         waiting --('S')--> handed over to TLS
//	                                         waiting --('G')--> stopped: what follows is encrypted
//	startup --(CancelRequest)--> over
//	startup --(StartupMessage)--> typed messages, until the end
//
//	either direction --(gap, or what can't be a message)--> lost --(see loss.go)--> typed messages
//
// What the client sends makes requests, each with a number (Message.Stream) and a place in a queue of what the server will
// answer, in the order in which it will:
//
//	StartupMessage            LOGIN, answered by all until the first ReadyForQuery, or an error
//	Query                     the statement's first word, answered by all until ReadyForQuery
//	FunctionCall              FUNCTION, likewise
//	Parse/Bind/Describe ...
//	  ... Execute             the statement's first word, answered by all until CommandComplete or the like
//	  ... Sync or Flush       PREPARE, BIND, DESCRIBE or CLOSE, by what came first, answered by as much
//	Sync alone                SYNC, answered by ReadyForQuery
//	CancelRequest, Terminate  CANCEL and TERMINATE, which nobody answers
//
// A Sync right behind an Execute belongs to it, and the answer to the Execute then ends with ReadyForQuery: it is when the
// implicit transaction commits. After an error within the extended protocol the server skips what comes before the next Sync;
// these requests are given up (Sink.Abort).
//
// COPY FROM STDIN is a request whose body are the rows; it ends with CopyDone or CopyFail.
//
// Notifications, and errors that nobody asked for, are responses of their own.
package postgres

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes PostgreSQL to detection.
var Protocol = proto.Protocol{Name: "postgresql", Probe: Probe, Resume: Resume, New: New, Pairing: proto.ByStream}

// Bounds that aren't worth a setting.
const (
	// maxName is how much is looked at of the name of a statement, a portal or a channel. PostgreSQL tells 63 bytes apart.
	maxName = 256
	// maxStartup is the longest packet of the start-up that a server takes.
	maxStartup = 10000
	// maxText is how much is looked at of an error, a notice, or a server's parameter.
	maxText = 8 << 10
	// maxTag is how much is kept of a command tag.
	maxTag = 64
	// maxColumns is how many columns of a result have types, so that what is sent of them in binary can be shown.
	maxColumns = 256
	// maxStatements and maxPortals are how many prepared statements and named portals of a connection are known, maxPrepared how
	// many bytes the statements may have.
	maxStatements = 512
	maxPortals    = 32
	maxPrepared   = 256 << 10
	// maxEarly is how much a client may send before it knows whether the server agrees to encryption.
	maxEarly = 1 << 10
	// maxNotices is how many bytes of notices are kept of a response.
	maxNotices = 16 << 10
	// pause is for how long a client has to be silent, in nanoseconds, to be taken to have had all answers; see loss.go.
	pause = 1e9
	// keepBuffer is the largest buffer that is kept for the next connection.
	keepBuffer = 4 << 10
)

// Parser takes one connection apart. See the package comment.
type Parser struct {
	sink   proto.Sink
	limits *proto.Limits
	held   *int
	// counted is what of held is this parser's.
	counted int
	client  proto.Direction
	halves  [2]half
	phase   phase
	closed  [2]bool

	// early is what the client sent while the server's answer to a request for encryption is out; it begins at earlyAt.
	early     []byte
	earlyAt   clock.Mark
	earlyLost bool
	// asked marks the first request for encryption of the session.
	asked     clock.Mark
	hasAsked  bool
	askedSize int64

	// streams counts the requests and the pushes.
	streams uint64
	request request
	answer  answer
	push    proto.Message
	// pushed holds the texts of push.
	pushed []byte
	// waiting is the queue of what the server will answer; those before next have been.
	waiting []expected
	next    int
	names   names

	// skipping: the server skips all until the client's next Sync.
	skipping bool
	// holed: the client sent what wasn't seen. pipelines: it doesn't wait for answers. adrift: both, so that it can't be known what
	// is answered.
	holed, pipelines, adrift bool
	// joined: the server's beginning is missing, and nothing else.
	joined bool
	// due is where the answer to the latest request is to begin when the server's messages are lost, -1 when that isn't known.
	due int64
	// untold: something was asked since the sink was told last that answers may be missing.
	untold bool
	// idle: what was seen last of the connection, while it was adrift, is the server's ReadyForQuery, at idleAt in nanoseconds since
	// 1970.
	idle   bool
	idleAt int64
}

type phase uint8

const (
	phaseStartup phase = iota
	phaseWaiting
	phaseTyped
)

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = new(Parser)
	}
	old := *p
	*p = Parser{
		sink: c.Sink, limits: c.Limits, held: c.Held, client: c.Client, due: -1,
		early: old.early[:0], waiting: old.waiting[:0], names: old.names,
	}
	for d := range p.halves {
		p.halves[d].buf = old.halves[d].buf[:0]
	}
	p.request.msg.Facts, p.request.raw = old.request.msg.Facts[:0], old.request.raw[:0]
	p.answer.msg.Facts, p.answer.raw = old.answer.msg.Facts[:0], old.answer.raw[:0]
	p.answer.notices = old.answer.notices[:0]
	p.answer.types, p.answer.line, p.pushed = old.answer.types[:0], old.answer.line[:0], old.pushed[:0]
	p.request.types = old.request.types[:0]
	p.push.Facts = old.push.Facts[:0]
	if c.Resumed {
		p.phase, p.holed, p.joined = phaseTyped, true, true
		p.halves[0].lost, p.halves[1].lost = true, true
	}
	return p
}

var proceed = proto.Verdict{Action: proto.Continue}

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	v := p.data(d, b, at)
	if v.Action == proto.Handover {
		p.release()
	} else {
		p.settle()
	}
	return v
}

func (p *Parser) data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	h := &p.halves[d]
	if p.phase == phaseWaiting && d == p.client {
		p.wait(b, at)
		return proceed
	}
	for p.phase == phaseWaiting && len(b) > 0 {
		v, n := p.agreed(b)
		if v.Action != proto.Continue {
			return v
		}
		b, at = b[n:], at.After(n)
		p.replay()
	}
	if h.lost {
		n, ok := p.regain(d, b, at)
		if !ok {
			return proceed
		}
		b, at = b[n:], at.After(n)
	}
	for len(b) > 0 && !h.lost {
		n := p.take(d, h, b, at)
		b, at = b[n:], at.After(n)
		if p.phase == phaseWaiting && d == p.client && len(b) > 0 {
			p.wait(b, at)
			break
		}
	}
	return proceed
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	h := &p.halves[d]
	if d != p.client {
		p.joined, p.due = false, -1
	}
	p.idle = false
	switch {
	case h.lost:
		if d != p.client {
			p.tell(at)
		}
	case p.phase == phaseWaiting && d != p.client:
		// The answer to a request for encryption: what the client says next tells what it was.
		p.lose(d, at)
		p.phase = phaseStartup
		p.replay()
	case p.phase == phaseWaiting:
		p.earlyLost = true
	case h.open && n != proto.Unknown && n <= h.length-h.pos && bulk(d == p.client, h.typ):
		p.hide(d, h, n, at)
	default:
		p.lose(d, at)
	}
	p.settle()
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, _ clock.Mark, why proto.CloseReason) {
	if d == p.client && p.request.copying {
		p.request.msg.Close = why
		p.endCopy(proto.Cut)
	}
	if d != p.client && p.answer.open {
		p.answer.msg.Close = why
		p.endAnswer(proto.Cut)
	}
	p.halves[d].lost, p.halves[d].open, p.halves[d].headLen = true, false, 0
	p.adrift = true
	p.closed[d] = true
	if p.closed[d.Other()] {
		p.release()
	}
}

// half is the framing of one direction.
type half struct {
	lost bool
	// head collects the type and the length of a message that come in pieces.
	head    [5]byte
	headLen int
	// open: the body of a message is read. It has length bytes, of which pos have come; the first keep of them are wanted, and
	// collected in buf when they come in pieces. size is the length of the message's type and length.
	open        bool
	typ         byte
	length, pos int64
	keep        int
	size        int64
	buf         []byte
	// holed: some of the body is missing.
	holed bool
	// first marks the first byte of the message, last the last that has come.
	first, last clock.Mark
}

// take takes bytes of one message. It returns how many.
func (p *Parser) take(d proto.Direction, h *half, b []byte, at clock.Mark) (n int) {
	if !h.open {
		if n = p.takeHead(d, h, b, at); !h.open {
			return n
		}
		b, at = b[n:], at.After(n)
	}
	k := int(min(int64(len(b)), h.length-h.pos))
	whole := h.pos == 0 && int64(k) == h.length
	if !whole && h.pos < int64(h.keep) {
		h.buf = append(h.buf, b[:min(k, h.keep-int(h.pos))]...)
	}
	if k > 0 {
		h.pos += int64(k)
		h.last = at.After(k - 1)
		p.progress(d, h, int64(k))
	}
	if h.pos == h.length {
		body := h.buf
		if whole {
			body = b[:min(k, h.keep)]
		}
		p.message(d, h, body)
	}
	return n + k
}

// takeHead takes bytes of the type and the length of a message. It returns how many.
func (p *Parser) takeHead(d proto.Direction, h *half, b []byte, at clock.Mark) (n int) {
	size := 5
	if p.phase == phaseStartup && d == p.client {
		size = 4
	}
	if h.headLen == 0 {
		h.first = at
	}
	head := b
	if n = size; h.headLen > 0 || len(b) < size {
		n = copy(h.head[h.headLen:size], b)
		if h.headLen += n; h.headLen < size {
			return n
		}
		head = h.head[:]
	}
	h.last = at.After(n - 1)
	h.headLen = 0
	if !p.begin(d, h, head[:size]) {
		p.lose(d, h.first)
		return len(b)
	}
	return n
}

// begin begins a message. It reports whether it can be one.
func (p *Parser) begin(d proto.Direction, h *half, head []byte) bool {
	h.size = int64(len(head))
	h.pos, h.holed, h.keep = 0, false, 0
	h.buf = h.buf[:0]
	if len(head) == 4 {
		h.typ = 0
		h.length = int64(int32(order.Uint32(head))) - 4
		h.keep = int(h.length)
		if h.length < 4 || h.length > maxStartup {
			return false
		}
	} else {
		h.typ = head[0]
		h.length = int64(int32(order.Uint32(head[1:]))) - 4
		if !sane(d == p.client, h.typ, h.length) {
			return false
		}
		if d == p.client {
			h.keep = p.wantsAsked(h)
		} else {
			h.keep = p.wantsAnswered(h)
		}
	}
	h.open = true
	return true
}

// message ends a message; body is what was to be kept of it.
func (p *Parser) message(d proto.Direction, h *half, body []byte) {
	h.open = false
	switch {
	case d != p.client:
		p.answered(h, body)
	case h.typ == 0:
		p.startup(h, body)
	default:
		p.sent(h, body)
	}
	if cap(h.buf) > keepBuffer {
		h.buf = nil
	}
}

// bulk reports whether a message is one of many that make a body.
func bulk(client bool, typ byte) bool {
	return typ == 'd' || typ == 'D' && !client
}

// progress counts bytes of a message that belong to a request or a response under way.
func (p *Parser) progress(d proto.Direction, h *half, n int64) {
	m := p.counts(d, h.typ)
	if m == nil {
		return
	}
	m.Size += n
	m.Last = h.last
	if bulk(d == p.client, h.typ) {
		m.BodyBytes += n
	}
}

// counts returns the message that grows with what is sent, nil when there is none.
func (p *Parser) counts(d proto.Direction, typ byte) *proto.Message {
	switch {
	case d == p.client && p.request.copying && typ == 'd':
		return &p.request.msg
	case d != p.client && p.answer.open && typ != 'A':
		return &p.answer.msg
	}
	return nil
}

// hide skips missing bytes within a row.
func (p *Parser) hide(d proto.Direction, h *half, n int64, at clock.Mark) {
	h.holed = true
	h.pos += n
	h.last = at.After(int(n) - 1)
	if m := p.counts(d, h.typ); m != nil {
		m.MissingBytes += n
	}
	p.progress(d, h, n)
	if h.pos == h.length {
		p.message(d, h, nil)
	}
}

// settle counts what the parser keeps.
func (p *Parser) settle() {
	n := cap(p.early) + cap(p.halves[0].buf) + cap(p.halves[1].buf) + cap(p.request.raw) + cap(p.answer.raw) + cap(p.answer.line) +
		typeSize*(cap(p.answer.types)+cap(p.request.types)) + cap(p.pushed) + expectedSize*cap(p.waiting) + factSize*cap(p.answer.notices) + p.names.size()
	*p.held += n - p.counted
	p.counted = n
}

// release lets go of all but what is worth keeping for the next connection.
func (p *Parser) release() {
	for _, b := range [...]*[]byte{&p.early, &p.halves[0].buf, &p.halves[1].buf, &p.request.raw, &p.answer.raw, &p.answer.line, &p.pushed} {
		if cap(*b) > keepBuffer {
			*b = nil
		}
	}
	if cap(p.waiting) > keepBuffer/expectedSize {
		p.waiting = nil
	}
	if cap(p.answer.notices) > keepBuffer/factSize {
		p.answer.notices = nil
	}
	clear(p.waiting[:cap(p.waiting)])
	p.waiting, p.next = p.waiting[:0], 0
	p.names.clear()
	*p.held -= p.counted
	p.counted = 0
}
