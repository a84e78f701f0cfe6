// Package redis takes apart the protocol of Redis, and of the servers that speak it (Valkey, KeyDB, Dragonfly): RESP2 and RESP3
// (https://redis.io/docs/latest/develop/reference/protocol-spec/), and the inline commands of people and scripts.
//
// A command is a request, whose Target is the command as one would type it, and its reply a response; replies come in the order
// of the commands. What a server sends unasked, such as the messages of a subscription, are responses that go one way.
//
// # Theory of operation
//
// The client's side:
//
//	start --(*n)------------> length --($n)--> data --(n bytes)--> end --(CRLF)--> length, or start after the last
//	start --(anything else)-> inline --(line end)--> start
//
// A command is told (Head) when all of it that is shown has come, and ends with its last byte: a large value isn't kept, but
// counted.
//
// The server's side. Replies nest; frames hold what is still to come of each level:
//
//	start --(line of one value)-----------> value over
//	start --($n, =n or !n)--> data --(n bytes, CRLF)--> value over
//	start --($?)--> chunk --(;n)--> data --> chunk ... --(;0)--> value over
//	start --(*n, ~n, %n, >n, |n)----------> start, one level down; n ? until "."
//	value over --> start, or up one level after the last of its level, or a reply is over at the top
//	start --(FULLRESYNC, or the answer to SYNC)--> dump: the file of a replica, then the master's commands: the parser stops
//
// Either side:
//
//	any --(gap, or what can't be RESP)--> lost
//	the client's side: lost --(a segment that begins with a command)--> start
//	the server's side: lost --(a segment of replies, before which the client had received all, and then asked)--> start
//	data --(gap that ends within what isn't shown)--> data
//
// An element of a nested reply looks like a reply, which is why the server's side needs the client's acknowledgement to go on.
//
// What a reply is can depend on its command: SUBSCRIBE has one reply for each channel, PSYNC is followed by a dump. So the
// commands that matter are kept in a queue (awaited) with their numbers, and replies are counted. After a loss counting is
// worthless, and only what tells by itself is used. Pairing is left to the engine, which decides by acknowledgements then; see
// exchange.Pairer.
package redis

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes the protocol to detection.
var Protocol = proto.Protocol{
	Name: "redis", Probe: Probe, ProbeBoth: ProbeBoth, Port: 6379, Resume: Resume, New: New, Pairing: proto.InOrder,
}

const (
	// maxArgument is how many bytes of an argument are shown; a longer one ends with an ellipsis and its length.
	maxArgument = 256
	// maxName is how many bytes of a command's name, or of its second word, are shown, and of a user's.
	maxName = 32
	// maxNumberLine is the longest line that holds nothing but a type and a number, without its end.
	maxNumberLine = 32
	// maxBulk is the largest string that is believed, in bytes, maxItems the largest count of items. Servers refuse more than
	// 512 MiB, unless they are told otherwise (proto-max-bulk-len).
	maxBulk  = 1 << 40
	maxItems = 1 << 31
	// maxDepth is how deep replies may nest.
	maxDepth = 32
	// keepCapacity is the largest buffer that is kept when it is empty.
	keepCapacity = 4 << 10
)

var proceed = proto.Verdict{Action: proto.Continue}

// Parser takes one connection apart.
type Parser struct {
	sink   proto.Sink
	limits *proto.Limits
	client proto.Direction
	held   *int
	// charged is what the parser has in held.
	charged int

	requests requests
	replies  replies
	session  session
	awaited  awaited
}

// session is what the commands have made of the connection.
type session struct {
	// database is the one that was selected, unknownDatabase when that isn't known. selected is the one before MULTI.
	database, selected int32
	// user is who logged in, empty when nobody did or it isn't known; asking is who wants to.
	user, asking name
	// transaction: MULTI was sent, and neither EXEC nor DISCARD.
	transaction bool
	// silent: the client wants no replies (CLIENT REPLY OFF); skip: none to the next command.
	silent, skip bool
	// subscribed: the client has subscribed, or may have. channels counts what it has subscribed to, by kind of subscription.
	subscribed bool
	// totals are the counts that confirmations tell: of channels and patterns, and of sharded channels.
	channels [kinds]int64
	totals   [2]int64
	// resp3: the server has used a type that RESP2 hasn't, so that pushes are told from replies.
	resp3 bool
	// monitoring: MONITOR was sent.
	monitoring bool
}

const (
	unknownDatabase = -1
	noPeer          = -1
)

// name is a short text.
type name struct {
	text [maxName]byte
	n    uint8
}

func (n *name) set(b []byte) { n.n = uint8(copy(n.text[:], b)) }

func (n *name) bytes() []byte { return n.text[:n.n] }

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if ok {
		p.reuse()
	} else {
		p = new(Parser)
	}
	p.sink, p.limits, p.client, p.held = c.Sink, c.Limits, c.Client, c.Held
	p.requests.msg.Dir, p.replies.msg.Dir = c.Client, c.Client.Other()
	if c.Resumed {
		p.requests.state, p.replies.state = requestLost, replyLost
		p.forget()
	}
	p.requests.peer = noPeer
	return p
}

// reuse empties a parser whose connection is over, and keeps its memory.
func (p *Parser) reuse() {
	q, r := &p.requests, &p.replies
	*p = Parser{
		requests: requests{line: q.line[:0], argument: q.argument[:0], text: q.text[:0]},
		replies:  replies{line: r.line[:0], out: r.out[:0], decision: decision{early: r.decision.early[:0]}},
		awaited:  awaited{entries: p.awaited.entries[:0]},
	}
	p.requests.msg.Facts, p.replies.msg.Facts = q.msg.Facts[:0], r.msg.Facts[:0]
}

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	v := proceed
	if d == p.client {
		p.request(b, at)
	} else {
		v = p.reply(b, at)
	}
	p.charge()
	return v
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	if d == p.client {
		p.requestGap(n, at)
	} else {
		p.replyGap(n, at)
	}
	p.charge()
}

// Close implements proto.Parser. A command that never came whole is no message.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	if d == p.client {
		q := &p.requests
		q.msg.Close = why
		p.endRequest(proto.Cut)
		q.state, q.begun = requestLost, false
		q.release()
	} else {
		r := &p.replies
		r.msg.Close = why
		p.endReply(proto.Cut)
		r.state, r.begun = replyOver, false
		r.release()
		p.awaited.clear()
	}
	p.charge()
}

// charge accounts for what is kept between calls.
func (p *Parser) charge() {
	q, r := &p.requests, &p.replies
	n := len(q.line) + len(q.argument) + len(r.line) + len(r.decision.early) + p.awaited.size()
	if q.begun && !q.told {
		n += len(q.text)
	}
	if n != p.charged {
		*p.held += n - p.charged
		p.charged = n
	}
}

// forget gives up what the session is known to be, when commands may have gone unseen.
func (p *Parser) forget() {
	p.awaited.lost()
	p.session = session{database: unknownDatabase, selected: unknownDatabase, subscribed: true, monitoring: true}
}
