package mongodb

import (
	"encoding/binary"
	"strconv"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

const (
	// maxNesting is how many documents deep what matters of a response lies.
	maxNesting = 6
	// maxToken is how long what is read at once may be: the type and the name of an element with the beginning of its value.
	maxToken = 3*maxName + 16
	// maxText is how much of the text of an error is kept, in bytes.
	maxText = 1 << 10
	// maxRendered is how much of a document of a result is kept to show it, in bytes.
	maxRendered = 64 << 10
)

// place is what a document of a response is.
type place uint8

const (
	_ place = iota
	// root: the response itself.
	root
	// cursor: what a query gave.
	cursor
	// batch: the documents or values of a result.
	batch
	// failures: the documents that couldn't be written; failed: why one couldn't.
	failures
	failed
)

// use is what is done with an element.
type use uint8

const (
	skipped use = iota
	// entered: its elements matter.
	entered
	// The others are read.
	success
	code
	codeName
	message
	count
	modified
	cursorID
	single
	part
)

// meaning says what an element is: what it is used for, and for documents that are entered what they are.
type meaning struct {
	use   use
	place place
}

// meanings are the elements that matter, by the document that they are in. Of what isn't here the length matters.
var meanings = [...]map[string]meaning{
	root: {
		"ok": {use: success}, "errmsg": {use: message}, "$err": {use: message}, "code": {use: code}, "codeName": {use: codeName},
		"n": {use: count}, "nModified": {use: modified}, "cursor": {entered, cursor}, "writeErrors": {entered, failures},
		"writeConcernError": {entered, failed}, "err": {use: message},
		// The results of distinct, listDatabases, findAndModify, and of old servers' aggregate and mapReduce.
		"values": {entered, batch}, "databases": {entered, batch}, "value": {use: single}, "result": {entered, batch},
		"results": {entered, batch},
	},
	cursor: {"id": {use: cursorID}, "firstBatch": {entered, batch}, "nextBatch": {entered, batch}},
	failed: {"code": {use: code}, "codeName": {use: codeName}, "errmsg": {use: message}},
}

// scanner reads the documents of a response as they come, without keeping them.
//
// # Theory of operation
//
//	flags -> kind -> length --(a document)--> element --> element ... --(the end of the outermost)--> kind
//	                                             |--(a document that matters)--> length
//	                                             +--(a value)--> skipping --> element
//	        kind --(a sequence)--> skipping --> kind
//	reply head -> length --(a document)--> element ... --> length         (OP_REPLY)
//	any --(what can't be BSON, or a gap that isn't within a value)--> blind
//
// A scanner that is blind skips what is left of the message, whose end is known all the same.
type scanner struct {
	step step
	// pos counts the bytes that were read, end is where the documents end.
	pos, end int64
	// frames are the documents that were entered, outermost first.
	frames [maxNesting]frame
	depth  int
	// skip is how much of the current value is still to come. wants is what it is read for, kept what there is of it.
	skip  int64
	wants use
	kept  []byte
	kind  byte
	size  int64
	holed bool
	// token collects what is read at once when it comes in pieces; tokenAt marks its first byte.
	token   []byte
	tokenAt clock.Mark
	// msg: the message is OP_MSG. documents: each document is one of the result.
	msg, documents bool
	// more: another response follows. unsure: that is missing.
	more    bool
	unsure  bool
	what    asked
	outcome outcome
}

// frame is a document that was entered.
type frame struct {
	end   int64
	place place
}

type step uint8

const (
	inFlags step = iota
	inReplyHead
	inKind
	inSequence
	inDocument
	inElement
	blind
)

// outcome is what the response says.
type outcome struct {
	ok, hasOK    bool
	code         int64
	hasCode      bool
	name, text   []byte
	n, modified  int64
	hasN, hasMod bool
	cursor       int64
	startingFrom int64
	// isQuery: it is OP_REPLY, and failed: its flags say that the query did.
	isQuery, failed bool
}

// start begins a response of so many bytes behind the header.
func (s *scanner) start(opcode uint32, size int64, what asked) {
	name, text := s.outcome.name[:0], s.outcome.text[:0]
	*s = scanner{token: s.token[:0], end: size, what: what, kept: s.kept[:0], outcome: outcome{name: name, text: text}}
	switch opcode {
	case opMsg:
		s.msg = true
	case opReply:
		s.step = inReplyHead
	default:
		s.step = blind
	}
}

// drop lets go of what is kept.
func (s *scanner) drop(p *Parser) {
	*p.held -= len(s.kept)
	s.kept = s.kept[:0]
	if cap(s.kept) > keptBuffer {
		s.kept = nil
	}
	s.wants, s.skip = skipped, 0
}

// gap says that n bytes are missing.
func (s *scanner) gap(n int64) {
	if n > s.skip || s.step == blind {
		s.unsure = s.unsure || s.step == inFlags
		s.step = blind
		return
	}
	s.skip -= n
	s.pos += n
	s.holed = true
}

// feed takes bytes.
func (s *scanner) feed(p *Parser, h *half, b []byte, at clock.Mark) {
	for len(b) > 0 && s.step != blind {
		if s.skip > 0 {
			n := int(min(s.skip, int64(len(b))))
			s.keep(p, b[:n])
			s.skip -= int64(n)
			s.pos += int64(n)
			b, at = b[n:], at.After(n)
			if s.skip == 0 {
				s.value(p, h)
			}
			s.close()
			continue
		}
		src, begin, had := b, at, len(s.token)
		if had > 0 {
			s.token = append(s.token, b[:min(len(b), maxToken-had)]...)
			src, begin = s.token, s.tokenAt
		}
		n := s.take(p, h, src, begin)
		switch {
		case n < 0:
			s.fail(h)
			return
		case n == 0 && len(src) >= maxToken:
			s.fail(h)
			return
		case n == 0:
			if had == 0 {
				s.token, s.tokenAt = append(s.token, b...), at
			}
			return
		}
		s.token = s.token[:0]
		s.pos += int64(n)
		b, at = b[n-had:], at.After(n-had)
		if s.skip == 0 && s.wants != skipped {
			s.value(p, h)
		}
		s.close()
	}
}

// fail gives up reading.
func (s *scanner) fail(h *half) {
	h.msg.Anomalies.Set(proto.BadValue)
	s.step = blind
	s.token = s.token[:0]
}

// take reads what comes next. It returns how many bytes it took, 0 when there are too few, -1 when it isn't BSON.
func (s *scanner) take(p *Parser, h *half, b []byte, at clock.Mark) int {
	switch s.step {
	case inFlags:
		if len(b) < 4 {
			return 0
		}
		flags := binary.LittleEndian.Uint32(b)
		if s.more = flags&moreToCome != 0; flags&checksumPresent != 0 {
			s.end -= 4
		}
		s.step = inKind
		return 4
	case inReplyHead:
		return s.replyHead(h, b)
	case inKind:
		if s.step = inDocument; b[0] == 1 {
			s.step = inSequence
		} else if b[0] != 0 {
			return -1
		}
		return 1
	case inSequence:
		if len(b) < 4 {
			return 0
		}
		n := int64(int32(binary.LittleEndian.Uint32(b)))
		if n < 4 || s.pos+n > s.end {
			return -1
		}
		s.skip, s.step = n-4, inKind
		return 4
	case inDocument:
		return s.document(p, h, b, at)
	}
	return s.element(p, h, b, at)
}

// The flags of OP_REPLY.
const (
	cursorNotFound = 1 << 0
	queryFailure   = 1 << 1
)

// replyHead reads the beginning of OP_REPLY: flags (4), cursor (8), place of the first document (4), how many there are (4).
func (s *scanner) replyHead(h *half, b []byte) int {
	const size = 20
	if len(b) < size {
		return 0
	}
	flags := binary.LittleEndian.Uint32(b)
	o := &s.outcome
	o.cursor = int64(binary.LittleEndian.Uint64(b[4:]))
	o.startingFrom = int64(int32(binary.LittleEndian.Uint32(b[12:])))
	n := int32(binary.LittleEndian.Uint32(b[16:]))
	o.isQuery, o.failed = true, flags&(queryFailure|cursorNotFound) != 0
	s.step = inDocument
	// Without the request, one document may be either.
	s.documents = flags&queryFailure == 0 && (s.what.on && !s.what.command || !s.what.on && n != 1)
	if s.documents {
		h.msg.Framing = proto.Rendered
	}
	if flags&cursorNotFound != 0 {
		o.code, o.hasCode = 43, true
		o.name = append(o.name[:0], "CursorNotFound"...)
	}
	return size
}

// document reads the length of a document that isn't within another.
func (s *scanner) document(p *Parser, h *half, b []byte, at clock.Mark) int {
	if len(b) < 4 {
		return 0
	}
	n := int64(int32(binary.LittleEndian.Uint32(b)))
	if n < 5 || s.pos+n > s.end {
		return -1
	}
	if s.documents {
		s.begin(p, h, part, typeDocument, n, at)
		s.keep(p, b[:4])
		s.skip = n - 4
		return 4
	}
	s.frames[0] = frame{s.pos + n, root}
	s.depth, s.step = 1, inElement
	return 4
}

// element reads the type and the name of an element, and the beginning of its value.
func (s *scanner) element(p *Parser, h *half, b []byte, at clock.Mark) int {
	e, n := readElement(b)
	if n <= 0 {
		return n
	}
	f := &s.frames[s.depth-1]
	if e.kind == 0 {
		if s.pos+1 != f.end {
			return -1
		}
		s.depth--
		return 1
	}
	rest := e.size - int64(len(e.value))
	if s.pos+int64(n)+rest >= f.end {
		return -1 // the terminator is missing
	}
	m := s.meaning(f.place, &e)
	isDocument := e.kind == typeDocument || e.kind == typeArray
	switch {
	case m.use == entered && isDocument && s.depth < maxNesting && (m.place != batch || e.kind == typeArray):
		if e.size < 5 {
			return -1
		}
		s.frames[s.depth] = frame{s.pos + int64(n) + rest, m.place}
		s.depth++
		if m.place == batch {
			h.msg.Framing = proto.Rendered
		}
	case m.use == entered:
		s.skip = rest
	default:
		s.begin(p, h, m.use, e.kind, e.size, at)
		s.keep(p, e.value)
		s.skip = rest
	}
	return n
}

// meaning says what an element of a document is.
func (s *scanner) meaning(at place, e *element) meaning {
	switch at {
	case batch:
		return meaning{use: part}
	case failures:
		// One error tells of the response.
		if s.outcome.hasCode || len(s.outcome.text) > 0 {
			return meaning{}
		}
		return meaning{entered, failed}
	}
	return meanings[at][string(e.name)]
}

// begin begins a value that is used, if it is.
func (s *scanner) begin(p *Parser, h *half, u use, kind byte, size int64, at clock.Mark) {
	s.wants, s.kind, s.size, s.holed = u, kind, size, false
	if u == single && kind != typeNull {
		h.msg.Framing = proto.Rendered
		s.wants = part
	}
	if s.wants != part {
		return
	}
	m := &h.msg
	if m.Parts.Count == 0 {
		m.Parts.First = at.Time
	}
	m.Parts.Count++
	m.Parts.Bytes += size
	m.Parts.Largest = max(m.Parts.Largest, size)
	m.BodyBytes += size
	if p.sink.WantsBody(m) <= 0 {
		s.wants = skipped
	}
}

// keep keeps bytes of a value that is used, as many as matter.
func (s *scanner) keep(p *Parser, b []byte) {
	if s.wants == skipped {
		return
	}
	most := maxText
	if s.wants == part {
		most = maxRendered
	}
	n := max(min(len(b), most-len(s.kept)), 0)
	s.kept = append(s.kept, b[:n]...)
	*p.held += n
}

// value uses a value that has come whole.
func (s *scanner) value(p *Parser, h *half) {
	e := element{kind: s.kind, value: s.kept, size: s.size}
	o := &s.outcome
	if !s.holed {
		switch s.wants {
		case part:
			p.show(h, &e)
		case success:
			n, _ := e.number()
			o.ok, o.hasOK = n != 0, true
		case code:
			if n, ok := e.number(); ok && !o.hasCode {
				o.code, o.hasCode = n, true
			}
		case codeName:
			if len(o.name) == 0 {
				o.name = append(o.name, e.text()...)
			}
		case message:
			if len(o.text) == 0 {
				t := e.value[min(4, len(e.value)):]
				if int64(len(e.value)) == e.size {
					t = e.text()
				}
				if e.kind == typeString {
					o.text = append(o.text, t...)
				}
			}
		case count:
			o.n, o.hasN = e.number()
		case modified:
			o.modified, o.hasMod = e.number()
		case cursorID:
			o.cursor, _ = e.number()
		}
	}
	*p.held -= len(s.kept)
	s.kept = s.kept[:0]
	s.wants = skipped
}

// close goes on behind what is complete.
func (s *scanner) close() {
	if s.skip > 0 || s.depth > 0 || s.step == inFlags || s.step == inReplyHead || s.step == inSequence {
		return
	}
	if s.step == inElement { // the outermost document has ended
		if s.step = inDocument; s.msg {
			s.step = inKind
		}
	}
	if s.pos >= s.end {
		s.step = blind
	}
}

// show hands out a document or a value of the result, on a line of its own.
func (p *Parser) show(h *half, e *element) {
	want := p.sink.WantsBody(&h.msg)
	if want <= 0 {
		return
	}
	w := writer{limit: want}
	w.value(e, 0)
	w.text("\n")
	p.sink.Body(&h.msg, w.out[:min(len(w.out), want)])
}

// response begins a response whose header was read, which ends at a mark.
func (p *Parser) response(h *half, last clock.Mark) {
	m, what := p.answer(h, last)
	h.state = inScanning
	p.scanner.start(h.head.opcode, h.head.length-headerSize, what)
	if h.head.opcode != opMsg && h.head.opcode != opReply {
		m.Anomalies.Set(proto.BadFrame)
	}
	p.emit(h)
	if h.left == 0 {
		p.over(h)
	}
}

// answer prepares a response. It returns what it answers too.
func (p *Parser) answer(h *half, last clock.Mark) (*proto.Message, asked) {
	m := p.begin(h, last)
	m.Stream = stream(h.head.responseTo)
	what := p.recall(h.head.responseTo)
	if what.on || !p.exhausting.on {
		return m, what
	}
	what = p.exhausting.what
	m.Stream, m.OneWay = pushed(h.head.id), true
	m.Raw = append(m.Raw, what.subject[:what.size]...)
	if len(m.Raw) == 0 {
		m.Raw = append(m.Raw, '?') // the request is missing
	}
	m.Target = proto.Span{Len: uint32(len(m.Raw))}
	m.Method = proto.Span{Off: uint32(what.method), Len: uint32(len(m.Raw) - int(what.method))}
	return m, what
}

// compressedResponse takes a compressed response, or the beginning of one that is longer than the limit.
func (p *Parser) compressedResponse(h *half, src []byte, whole bool, last clock.Mark) {
	m, what := p.answer(h, last)
	opcode, content, size, _ := p.inflate(m, src[headerSize:], whole)
	p.scanner.start(opcode, size, what)
	p.emit(h)
	if content != nil {
		p.scanner.feed(p, h, content, h.first)
	}
	h.state = inRest
	p.scanned(h)
}

// scanned tells of a response that was read.
func (p *Parser) scanned(h *half) {
	m, s := &h.msg, &p.scanner
	o := &s.outcome
	if s.step != blind && m.MissingBytes == 0 && m.Anomalies == 0 {
		m.Anomalies.Set(proto.BadValue) // it ends in the middle
	}
	p.exhausting.on = s.more || s.what.exhausts && (s.unsure || o.isQuery && o.cursor != 0)
	p.exhausting.what = s.what
	if s.what.awaits || p.waits(s.what.cursor) {
		p.follow(o.cursor)
	}
	if o.cursor != 0 {
		m.Count(factCursor, o.cursor)
	}
	if o.isQuery && o.startingFrom != 0 {
		m.Count(factStartingFrom, o.startingFrom)
	}
	// A command that succeeds has neither a code nor a text, and the failure of an old query has no ok.
	if (o.hasOK || o.failed) && (o.hasCode || len(o.name)+len(o.text) > 0 || !o.ok) {
		name := o.name
		if len(name) == 0 && o.hasCode {
			name = strconv.AppendInt(nil, o.code, 10)
		}
		if len(name) == 0 {
			name = unnamed
		}
		m.Say(proto.FactError, name)
		if len(o.text) > 0 {
			m.Say(proto.FactErrorText, o.text)
		}
	}
	if s.what.writes && o.hasN {
		n := o.n
		if o.hasMod {
			n = o.modified
		}
		m.Count(factAffected, n)
	}
}

// unnamed is the code of an error that has none.
var unnamed = []byte("error")
