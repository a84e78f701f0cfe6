// Package mongodb follows connections that speak MongoDB's wire protocol: OP_MSG, the older OP_QUERY, OP_REPLY and their like, and
// OP_COMPRESSED (https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/). Documents are BSON (https://bsonspec.org).
//
// # Theory of operation
//
// A message has a header with its length, its number and the number of the request that it answers, so that responses need no
// counting, and bytes that are missing within a message cost that message alone. Each direction is a small machine:
//
//	header --(a request, or something compressed)--> gathering --(all of it, or the limit)--> rest --> header
//	header --(a response)--------------------------> scanning --(all of it)--> header
//	header --(what can't be one)--> lost
//	any --(a gap that goes beyond the message)--> lost
//	lost --(a segment that surely begins a message)--> header
//
// Requests are read whole, as far as the limit goes, since what is shown of them is all over their documents. Responses may be
// large, and are read as they come; see scanner.
//
// The server may answer one request again and again (exhaust): each response announces that another follows, which then names the
// response before it as what it answers. The first answers the request, the others nobody asked for.
package mongodb

import (
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/body"
)

// Protocol describes MongoDB to detection.
var Protocol = proto.Protocol{Name: "mongodb", Probe: Probe, Resume: Resume, New: New, Pairing: proto.ByStream}

const (
	// headerSize is the length of a header: length of the message, its number, the number that it answers, opcode; four bytes each.
	headerSize = 16
	// maxLength is the largest message that a server takes, in bytes (maxMessageSizeBytes).
	maxLength = 48_000_000
	// keptBuffer and keptFacts are how much memory for texts and facts is kept from one message to the next.
	keptBuffer = 1 << 10
	keptFacts  = 32
	// maxAsked is how many requests are remembered until they are answered. Clients send one at a time.
	maxAsked = 16
	// maxCursors is how many cursors are remembered whose server waits for documents to come.
	maxCursors = 8
	// maxUser is how long the name of a user is that is kept, in bytes.
	maxUser = 128
)

// The opcodes.
const (
	opReply       = 1
	opUpdate      = 2001
	opInsert      = 2002
	opQuery       = 2004
	opGetMore     = 2005
	opDelete      = 2006
	opKillCursors = 2007
	opCompressed  = 2012
	opMsg         = 2013
)

// The flags of OP_MSG.
const (
	checksumPresent = 1 << 0
	moreToCome      = 1 << 1
	exhaustAllowed  = 1 << 16
	// requiredFlags are those that must be understood.
	requiredFlags = 0xffff
)

// header is the beginning of a message.
type header struct {
	length                 int64
	id, responseTo, opcode uint32
}

func readHeader(b []byte) header {
	return header{
		int64(int32(binary.LittleEndian.Uint32(b))), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:]),
		binary.LittleEndian.Uint32(b[12:]),
	}
}

// Parser takes one connection apart.
type Parser struct {
	sink    proto.Sink
	limits  *proto.Limits
	client  proto.Direction
	held    *int
	halves  [2]half
	scanner scanner

	// asked are the latest requests that wait for an answer, next is where the next goes.
	asked [maxAsked]asked
	next  int
	// cursors are those whose server waits for documents to come.
	cursors    [maxCursors]int64
	nextCursor int
	// exhausting: responses may come that nobody asked for, after the one to the request what.
	exhausting struct {
		on   bool
		what asked
	}
	// user is who logs in.
	user []byte
	// decoder undoes compression, nil until there is some. plain is what a message was.
	decoder *body.Decoder
	plain   []byte
}

// asked is what must be known of a request to read its response.
type asked struct {
	on bool
	id uint32
	// command: the response is that of a command, rather than the documents of an old query. writes: its n counts documents that
	// it changed. awaits: a cursor that it opens waits for documents to come. exhausts: it may be answered again and again, in an old
	// query until its cursor is closed.
	command, writes, awaits, exhausts bool
	// cursor is the one that it reads on.
	cursor int64
	// subject says what it was, database.collection.command, as far as it is kept: size bytes, of which the command begins at
	// method.
	subject      [64]byte
	method, size uint8
}

// half is the state of one direction.
type half struct {
	msg   proto.Message
	state state
	// open: the Head of msg was emitted, and its End wasn't.
	open bool
	head header
	// buf collects a header, or a message with it, that comes in pieces; bufAt marks its first byte.
	buf   []byte
	bufAt clock.Mark
	// first marks the first byte of the message, left is how much of it is still to come.
	first clock.Mark
	left  int64
}

type state uint8

const (
	// inHeader: a header is expected.
	inHeader state = iota
	// inGathering: a message is collected.
	inGathering
	// inScanning: a response is read as it comes.
	inScanning
	// inRest: the rest of a message is skipped.
	inRest
	// inLost: bytes are missing, and the beginning of a message is looked for.
	inLost
)

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	p, ok := c.Spare.(*Parser)
	if !ok {
		p = &Parser{}
	}
	messages := [2]proto.Message{p.halves[0].msg, p.halves[1].msg}
	*p = Parser{
		sink: c.Sink, limits: c.Limits, client: c.Client, held: c.Held, user: p.user[:0],
		scanner: scanner{token: p.scanner.token[:0]},
	}
	for d := range p.halves {
		h := &p.halves[d]
		h.msg = messages[d]
		h.msg.Reset()
		h.msg.Dir = proto.Direction(d)
		if c.Resumed {
			h.state = inLost
		}
	}
	return p
}

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	h := &p.halves[d]
	if h.state == inLost && p.begins(d, b) {
		h.state = inHeader
	}
	for len(b) > 0 && h.state != inLost {
		n := p.take(h, b, at)
		b, at = b[n:], at.After(n)
	}
	return proto.Verdict{}
}

// take takes bytes of what is expected. It returns how many it took.
func (p *Parser) take(h *half, b []byte, at clock.Mark) int {
	switch h.state {
	case inHeader:
		return p.header(h, b, at)
	case inGathering:
		return p.gather(h, b, at)
	}
	n := int(min(int64(len(b)), h.left))
	m := &h.msg
	m.Size += int64(n)
	m.Last = at.After(n - 1)
	if h.state == inScanning {
		p.scanner.feed(p, h, b[:n], at)
	}
	if h.left -= int64(n); h.left == 0 {
		p.over(h)
	}
	return n
}

// header takes bytes of a header. It returns how many it took; none when the message can be read within b.
func (p *Parser) header(h *half, b []byte, at clock.Mark) int {
	src, taken := b, 0
	first := at
	if len(h.buf) > 0 || len(b) < headerSize {
		taken = min(len(b), headerSize-len(h.buf))
		p.collect(h, b[:taken], at)
		if len(h.buf) < headerSize {
			return taken
		}
		src, first = h.buf, h.bufAt
	}
	h.head = readHeader(src)
	isReply := h.msg.Dir != p.client
	if h.head.length < headerSize || h.head.length > maxLength || h.head.opcode > maxOpcode {
		p.lose(h, first)
		return taken
	}
	h.first = first
	h.left = h.head.length
	if isReply && h.head.opcode != opCompressed {
		if taken == 0 {
			taken = headerSize
		}
		h.left -= headerSize
		p.release(h)
		p.response(h, at.After(taken-1))
		return taken
	}
	h.state = inGathering
	if taken == 0 {
		return 0 // it may lie within b
	}
	if h.left -= headerSize; h.left == 0 {
		p.gather(h, nil, at.After(taken-1))
	}
	return taken
}

// maxOpcode is the largest opcode that is taken for one.
const maxOpcode = 9999

// gather takes bytes of a message that is read whole, as far as the limit goes. It returns how many it took.
func (p *Parser) gather(h *half, b []byte, at clock.Mark) int {
	room := int64(max(p.limits.MaxMessage, headerSize) - len(h.buf))
	n := int(min(int64(len(b)), h.left, room))
	whole := h.left == int64(n)
	full := int64(n) == room
	src := b[:n]
	if len(h.buf) > 0 || !whole && !full {
		p.collect(h, b[:n], at)
		src = h.buf
	}
	h.left -= int64(n)
	if !whole && !full {
		return n
	}
	last := at
	if n > 0 {
		last = at.After(n - 1)
	}
	h.state = inRest
	if h.msg.Dir == p.client {
		p.request(h, src, whole, last)
	} else {
		p.compressedResponse(h, src, whole, last)
	}
	p.release(h)
	if h.left == 0 {
		p.over(h)
	}
	return n
}

// over goes on behind a message.
func (p *Parser) over(h *half) {
	scanned := h.state == inScanning
	h.state = inHeader
	if !h.open {
		return
	}
	if scanned {
		p.scanned(h)
	}
	p.end(h, proto.Whole)
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	h := &p.halves[d]
	if h.state == inLost || h.state == inHeader || n < 0 || n > h.left {
		p.lose(h, at)
		return
	}
	m := &h.msg
	switch h.state {
	case inGathering:
		// What was collected isn't enough to tell of the request.
		p.release(h)
		h.state = inRest
		p.sink.Lost(d, at)
	case inScanning:
		p.scanner.gap(n)
	}
	if h.open {
		m.MissingBytes += n
		m.Size += n
		m.Last = at.After(int(n) - 1)
	}
	if h.left -= n; h.left == 0 {
		p.over(h)
	}
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	h := &p.halves[d]
	p.release(h)
	if h.open {
		h.msg.Close = why
		p.end(h, proto.Cut)
	}
	if d != p.client {
		p.scanner.drop(p)
		p.decoder = nil
	}
}

// collect puts b behind what there is of a message.
func (p *Parser) collect(h *half, b []byte, at clock.Mark) {
	if len(h.buf) == 0 {
		h.bufAt = at
	}
	h.buf = append(h.buf, b...)
	*p.held += len(b)
}

// release lets go of what was collected.
func (p *Parser) release(h *half) {
	*p.held -= len(h.buf)
	h.buf = h.buf[:0]
	if cap(h.buf) > keptBuffer {
		h.buf = nil
	}
}

// begin prepares the message of a direction.
func (p *Parser) begin(h *half, last clock.Mark) *proto.Message {
	m := &h.msg
	d := m.Dir
	m.Reset()
	m.Dir, m.First, m.Last = d, h.first, last
	m.Size = h.head.length - h.left
	if d != p.client {
		m.Kind = proto.Response
	}
	return m
}

// emit hands out the head of a message, after which its texts are gone.
func (p *Parser) emit(h *half) {
	p.sink.Head(&h.msg)
	h.open = true
	forget(&h.msg)
}

// end closes the message of a direction.
func (p *Parser) end(h *half, how proto.End) {
	h.msg.End = how
	h.open = false
	p.sink.End(&h.msg)
	forget(&h.msg)
	if h.msg.Kind == proto.Response {
		p.scanner.drop(p)
	}
}

// lose gives up a direction until the beginning of a message is found.
func (p *Parser) lose(h *half, at clock.Mark) {
	p.release(h)
	if h.open {
		p.end(h, proto.Broken)
	}
	if h.state != inLost {
		h.state = inLost
		p.sink.Lost(h.msg.Dir, at)
	}
}

// forget drops the texts and facts of a message that have been handed out, and memory that few messages need.
func forget(m *proto.Message) {
	m.Raw, m.Facts = m.Raw[:0], m.Facts[:0]
	m.Method, m.Target = proto.Span{}, proto.Span{}
	if cap(m.Raw) > keptBuffer {
		m.Raw = nil
	}
	if cap(m.Facts) > keptFacts {
		m.Facts = nil
	}
}

// stream makes the number of an exchange from that of a message.
func stream(id uint32) uint64 { return uint64(id) + 1 }

// pushed makes the number of an exchange that is a response nobody asked for.
func pushed(id uint32) uint64 { return 1<<32 + stream(id) }

// remember notes what was asked.
func (p *Parser) remember(a asked) {
	a.on = true
	p.asked[p.next] = a
	p.next = (p.next + 1) % maxAsked
}

// recall returns what was asked, and forgets it. The result isn't on when that isn't known.
func (p *Parser) recall(id uint32) asked {
	for i := range p.asked {
		if q := &p.asked[i]; q.on && q.id == id {
			a := *q
			q.on = false
			return a
		}
	}
	return asked{}
}

// waits reports whether a cursor's server waits for documents to come.
func (p *Parser) waits(cursor int64) bool {
	for _, c := range p.cursors {
		if c == cursor && c != 0 {
			return true
		}
	}
	return false
}

// follow remembers a cursor whose server waits.
func (p *Parser) follow(cursor int64) {
	if cursor != 0 && !p.waits(cursor) {
		p.cursors[p.nextCursor] = cursor
		p.nextCursor = (p.nextCursor + 1) % maxCursors
	}
}
