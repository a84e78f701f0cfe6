package postgres

import (
	"bytes"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// request makes the requests.
type request struct {
	msg proto.Message
	// raw holds the texts of msg: the user and the database, which all requests of the session have, and then its own.
	raw            []byte
	user, database proto.Span
	// copying: msg is a COPY FROM STDIN whose rows are being sent. asked: the server has asked for them.
	copying, asked bool
	group          group
	types          []uint32
}

// since returns the stretch of raw that begins at a place.
func (r *request) since(at int) proto.Span {
	return proto.Span{Off: uint32(at), Len: uint32(len(r.raw) - at)}
}

// say adds a fact whose text is the end of raw.
func (r *request) say(name string, at int) {
	r.msg.Facts = append(r.msg.Facts, proto.Fact{Name: name, Value: r.since(at)})
}

// group are messages of the extended protocol that make one request.
type group struct {
	open bool
	// parsed, bound and described say what it consists of; else it closes something.
	parsed, bound, described bool
	// begins is the type of what answers it, unless that is an error.
	begins byte
	// composed: the message has its texts.
	composed bool
	steps    int32
	first    clock.Mark
	last     clock.Mark
	size     int64
	// statement is what it is about, nil when that isn't known; name is its name, or that of what is closed.
	statement *statement
	name      [maxName]byte
	nameLen   int
	// describes is the statement that it asks for the types of.
	describes *statement
	formats   formats
	version   uint32
}

// expected is an answer that is waited for.
type expected struct {
	stream uint64
	// at is the offset of its request, peer how much of the server's its client had received.
	at, peer int64
	// begins is the type of the message that its answer begins with, unless that is an error, 0 when there may be several.
	begins byte
	// steps is how many answers to Parse, Bind, Describe and Close are to come.
	steps int32
	// describes is the statement that it says the types of, executes that whose rows it has, in formats. Both are of that version.
	describes, executes *statement
	version             uint32
	formats             formats
	// ready: it ends with ReadyForQuery. simple: it isn't of the extended protocol. executed: it has the rows of an Execute. login: it
	// is the answer to the StartupMessage. silent: its request has been given up.
	ready, simple, executed, login, silent bool
	// over: these are all the answers that come here to requests beyond the limit, until as many ReadyForQuery have come as cycles
	// says. ready tells then that no more belongs to the last cycle, executed that an Execute came last.
	over   bool
	cycles int
}

const (
	expectedSize = int(unsafe.Sizeof(expected{}))
	factSize     = int(unsafe.Sizeof(proto.Fact{}))
)

// formats says which of the columns of a result come in binary: none, all, or those whose bits are set.
type formats struct {
	all  bool
	bits uint64
}

func (f formats) binary(column int) bool {
	return f.all || column < 64 && f.bits>>column&1 != 0
}

// wantsAsked says how much is wanted of the body of a client's message.
func (p *Parser) wantsAsked(h *half) int {
	most := 0
	switch h.typ {
	case 'Q':
		most = p.limits.MaxStatement + 1
	case 'P':
		most = p.limits.MaxStatement + 2*maxName
	case 'B':
		most = p.limits.MaxStatement + 4*maxName
	case 'C', 'D', 'E':
		most = maxName
	case 'F':
		most = 4
	case 'd':
		if p.request.copying {
			m := &p.request.msg
			m.Size += h.size
			m.Last = h.last
			most = p.sink.WantsBody(m)
		}
	}
	return int(min(h.length, int64(most)))
}

// sent takes a message of the client's.
func (p *Parser) sent(h *half, body []byte) {
	switch h.typ {
	case 'd':
		p.copied(h, body)
	case 'c', 'f':
		p.unready()
		if p.request.copying {
			m := &p.request.msg
			m.Size += h.size + h.length
			m.Last = h.last
			p.endCopy(proto.Whole)
		}
	case 'Q':
		p.query(h, body)
	case 'P':
		p.parse(h, body)
	case 'B':
		p.bind(h, body)
	case 'D':
		p.describe(h, body)
	case 'C':
		p.closeName(h, body)
	case 'E':
		p.execute(h, body)
	case 'H':
		p.endGroup(false)
	case 'S':
		p.sync(h)
	case 'F':
		p.function(h, body)
	case 'X':
		p.endGroup(false)
		p.compose("TERMINATE")
		p.span(h)
		p.emitAlone()
	}
}

// compose begins a request.
func (p *Parser) compose(method string) {
	r := &p.request
	if r.copying {
		p.endCopy(proto.Whole)
	}
	m := &r.msg
	m.Reset()
	m.Dir = p.client
	identity := int(r.database.Off + r.database.Len)
	r.raw = r.raw[:identity]
	if r.database.Len > 0 {
		m.Facts = append(m.Facts, proto.Fact{Name: "database", Value: r.database})
	}
	if r.user.Len > 0 {
		m.Facts = append(m.Facts, proto.Fact{Name: "user", Value: r.user})
	}
	r.raw = append(r.raw, method...)
	m.Method = r.since(identity)
}

// composeText begins a request that runs a statement.
func (p *Parser) composeText(text []byte, cut bool) {
	r := &p.request
	p.compose("")
	at := len(r.raw)
	r.raw = appendVerb(r.raw, text)
	r.msg.Method = r.since(at)
	p.target(text, cut)
	r.msg.Blocks = is(r.msg.Method, r.raw, "START_REPLICATION")
}

func is(s proto.Span, raw []byte, text string) bool {
	return string(raw[s.Off:s.Off+s.Len]) == text
}

// target gives the request its text.
func (p *Parser) target(text []byte, cut bool) {
	r := &p.request
	at := len(r.raw)
	r.raw = append(r.raw, text...)
	r.msg.Target = r.since(at)
	if cut {
		r.msg.Anomalies.Set(proto.StatementCut)
	}
}

// composeStatement begins a request that is about a prepared statement; method is empty where it runs it.
func (p *Parser) composeStatement(method string, s *statement) {
	switch {
	case s == nil && method == "":
		p.compose("?")
	case method == "":
		p.composeText(s.text, s.cut)
		return
	default:
		p.compose(method)
	}
	if s != nil {
		p.target(s.text, s.cut)
		return
	}
	p.target(unknown, false)
	p.request.msg.Anomalies.Set(proto.StatementUnknown)
}

var unknown = []byte("?")

// span says which bytes the request consists of: one message.
func (p *Parser) span(h *half) {
	m := &p.request.msg
	m.First, m.Last, m.Size = h.first, h.last, h.size+h.length
}

// emitAlone emits a request that nobody answers.
func (p *Parser) emitAlone() {
	p.request.msg.OneWay = true
	p.head()
	p.endRequest(proto.Whole)
}

// emit emits a request, and waits for its answer.
func (p *Parser) emit(e expected) {
	r := &p.request
	m := &r.msg
	if !p.skipping {
		p.follow()
	}
	over := !p.skipping && p.full()
	if over {
		m.OneWay = true
		m.Anomalies.Set(proto.StreamLimit)
	}
	copies := !over && e.simple && !p.skipping && is(m.Method, r.raw, "COPY") && copiesIn(r.raw[m.Target.Off:][:m.Target.Len])
	if copies {
		m.Framing = proto.Rendered
	}
	p.head()
	e.stream = m.Stream
	if copies {
		r.copying, r.asked = true, false
		m.Facts, m.Raw = m.Facts[:0], nil
	} else {
		p.endRequest(proto.Whole)
	}
	if p.skipping {
		p.giveUp(e.stream, m.Last)
		return
	}
	if over {
		p.pass(e)
		return
	}
	p.untold = true
	p.expect(e)
}

// full reports whether so many answers are waited for that another isn't. What shares its ReadyForQuery with such a one isn't either.
func (p *Parser) full() bool {
	last := p.last()
	return last != nil && last.over && !last.ready || len(p.waiting)-p.next >= p.limits.MaxStreams
}

// pass has the answer to a request beyond the limit passed over.
func (p *Parser) pass(e expected) {
	last := p.last()
	if last == nil || !last.over {
		p.expect(expected{over: true})
		last = p.last()
	}
	last.executed, last.ready = e.executed, e.ready
	if e.ready {
		last.cycles++
	}
}

func (p *Parser) head() {
	m := &p.request.msg
	p.streams++
	m.Stream = p.streams
	m.Raw = p.request.raw
	p.sink.Head(m)
}

// endRequest ends the request. What it has to say was said at its beginning.
func (p *Parser) endRequest(how proto.End) {
	m := &p.request.msg
	m.Raw, m.Facts, m.End = nil, m.Facts[:0], how
	p.sink.End(m)
}

// giveUp says that the server skips a request.
func (p *Parser) giveUp(stream uint64, at clock.Mark) {
	p.sink.Abort(&proto.Abort{Stream: stream, By: p.client.Other(), Name: "skipped after an error", At: at})
}

// expect waits for an answer.
func (p *Parser) expect(e expected) {
	e.at, e.peer = p.request.msg.First.Offset, p.request.msg.First.Peer
	if p.next > 0 && len(p.waiting) == cap(p.waiting) {
		n := copy(p.waiting, p.waiting[p.next:])
		clear(p.waiting[n:])
		p.waiting, p.next = p.waiting[:n], 0
	}
	p.waiting = append(p.waiting, e)
}

// last returns the answer that comes last of those that are waited for, nil when there is none.
func (p *Parser) last() *expected {
	if p.next == len(p.waiting) {
		return nil
	}
	return &p.waiting[len(p.waiting)-1]
}

// forget waits for no answer any more.
func (p *Parser) forget() {
	clear(p.waiting)
	p.waiting, p.next = p.waiting[:0], 0
}

// query takes a Query.
func (p *Parser) query(h *half, body []byte) {
	p.endGroup(false)
	text, cut := body, int64(len(body)) < h.length
	bad := false
	if !cut {
		var rest []byte
		text, rest, _ = word(body)
		bad = len(text) == len(body) || len(rest) > 0
	}
	text = text[:min(len(text), p.limits.MaxStatement)]
	p.composeText(text, cut)
	if bad {
		p.request.msg.Anomalies.Set(proto.BadValue)
	}
	p.span(h)
	p.emit(expected{ready: true, simple: true})
}

// function takes a FunctionCall.
func (p *Parser) function(h *half, body []byte) {
	p.endGroup(false)
	p.compose("FUNCTION")
	r := &p.request
	at := len(r.raw)
	r.raw = appendNumber(r.raw, int64(order.Uint32(body)))
	r.msg.Target = r.since(at)
	p.span(h)
	p.emit(expected{ready: true, simple: true})
}

// join makes a message part of the group.
func (p *Parser) join(h *half) *group {
	g := &p.request.group
	if !g.open {
		*g = group{open: true, first: h.first, begins: clientKinds[h.typ].answer}
	}
	g.last = h.last
	g.size += h.size + h.length
	return g
}

func (g *group) call(name []byte) {
	g.nameLen = copy(g.name[:], name)
}

// parse takes a Parse.
func (p *Parser) parse(h *half, body []byte) {
	if g := &p.request.group; g.parsed || g.bound {
		p.endGroup(false)
	}
	g := p.join(h)
	name, rest, ok := word(body)
	text, rest, ok2 := word(rest)
	cut := !ok2 || len(text) > p.limits.MaxStatement
	text = text[:min(len(text), p.limits.MaxStatement)]
	g.parsed = true
	g.steps++
	if !ok {
		name = nil
	}
	g.call(name)
	g.statement = p.names.parse(name, text, cut)
	g.version = g.statement.version
	if n, rest := number16(rest); n > 0 {
		p.names.describe(g.statement, &g.statement.parameters, p.types(rest[:min(len(rest), 4*n)]))
	}
}

// types reads a list of types.
func (p *Parser) types(b []byte) []uint32 {
	r := &p.request
	r.types = r.types[:0]
	for ; len(b) >= 4 && len(r.types) < maxColumns; b = b[4:] {
		r.types = append(r.types, order.Uint32(b))
	}
	return r.types
}

// bind takes a Bind.
func (p *Parser) bind(h *half, body []byte) {
	if p.request.group.bound {
		p.endGroup(false)
	}
	g := p.join(h)
	portal, rest, ok := word(body)
	name, rest, ok2 := word(rest)
	g.bound = true
	g.steps++
	if !ok || !ok2 {
		portal, name = nil, nil
	}
	g.call(name)
	s := p.names.find(name)
	g.statement = s
	if s != nil {
		g.version = s.version
	}
	p.names.bind(portal, s)
	p.composeStatement("", s)
	g.composed = true
	if len(name) > 0 {
		r := &p.request
		at := len(r.raw)
		r.raw = append(r.raw, name[:min(len(name), maxName)]...)
		r.say("prepared", at)
	}
	if left, ok := p.parameters(s, rest); ok {
		g.formats = readFormats(left)
	} else if int64(len(body)) < h.length {
		p.request.msg.Anomalies.Set(proto.StatementCut)
	} else {
		p.request.msg.Anomalies.Set(proto.BadValue)
	}
}

// parameters adds the parameters of a Bind. It returns what is left of the message; ok: they were all there.
func (p *Parser) parameters(s *statement, b []byte) (left []byte, ok bool) {
	r := &p.request
	m := &r.msg
	count, b := number16(b)
	if count < 0 || len(b) < 2*count {
		return nil, false
	}
	codes := b[:2*count]
	n, b := number16(b[2*count:])
	room := p.limits.MaxStatement - int(m.Target.Len)
	for i := range n {
		v, rest, null, whole := value(b)
		if !whole && v == nil {
			return nil, false
		}
		b = rest
		if room <= 0 || i >= p.limits.MaxFields {
			m.Anomalies.Set(proto.StatementCut)
			room = 0
		} else {
			at := len(r.raw)
			switch binary := isBinary(codes, i); {
			case null:
				r.raw = append(r.raw, "NULL"...)
			case binary && s != nil && i < len(s.parameters):
				r.raw = appendBinary(r.raw, s.parameters[i], v, room)
			case binary:
				r.raw = appendBinary(r.raw, 0, v, room)
			default:
				r.raw = append(r.raw, v[:min(len(v), room)]...)
			}
			if len(r.raw) == at+room {
				m.Anomalies.Set(proto.StatementCut)
			}
			room -= len(r.raw) - at
			r.say("parameter", at)
		}
		if !whole {
			return nil, false
		}
	}
	return b, n >= 0
}

// isBinary reports whether the i-th value is in binary: no code means that none is, one that it goes for all.
func isBinary(codes []byte, i int) bool {
	switch {
	case len(codes) == 2:
		return codes[1] == 1
	case 2*i+1 < len(codes):
		return codes[2*i+1] == 1
	}
	return false
}

// readFormats reads the formats of the columns that the client wants.
func readFormats(b []byte) (f formats) {
	n, b := number16(b)
	if n < 0 || len(b) < 2*n {
		return f
	}
	f.all = n == 1 && b[1] == 1
	for i := range min(n, 64) {
		if n > 1 && b[2*i+1] == 1 {
			f.bits |= 1 << i
		}
	}
	return f
}

// describe takes a Describe.
func (p *Parser) describe(h *half, body []byte) {
	g := p.join(h)
	g.described = true
	g.steps++
	name, _, _ := word(body[1:])
	if body[0] != 'S' {
		if !g.bound && !g.parsed {
			g.statement = p.names.running(name)
		}
		return
	}
	g.describes = p.names.find(name)
	if g.describes != nil {
		g.version = g.describes.version
	}
	if !g.bound && !g.parsed {
		g.statement = g.describes
		g.call(name)
	}
}

// closeName takes a Close.
func (p *Parser) closeName(h *half, body []byte) {
	g := p.join(h)
	g.steps++
	name, _, _ := word(body[1:])
	if body[0] == 'S' {
		p.names.forget(name)
	} else {
		p.names.drop(name)
	}
	if !g.parsed && !g.bound && !g.described {
		g.call(name)
	}
}

// execute takes an Execute, which ends a request.
func (p *Parser) execute(h *half, body []byte) {
	g := p.join(h)
	if !g.composed {
		// A portal goes on that was bound before.
		name, _, _ := word(body)
		s := p.names.running(name)
		p.composeStatement("", s)
		g.statement = s
		if s != nil {
			g.version = s.version
		}
	}
	p.finishGroup(expected{executed: true})
}

// endGroup ends a request that has no Execute, if there is one. ready: a Sync does.
func (p *Parser) endGroup(ready bool) {
	r := &p.request
	g := &r.group
	if !g.open {
		return
	}
	method := "CLOSE"
	switch {
	case g.parsed:
		method = "PREPARE"
	case g.bound:
		method = "BIND"
	case g.described:
		method = "DESCRIBE"
	}
	name := g.name[:g.nameLen]
	if method == "CLOSE" {
		p.compose(method)
		p.target(name, false)
	} else {
		p.composeStatement(method, g.statement)
		if len(name) > 0 {
			at := len(r.raw)
			r.raw = append(r.raw, name...)
			r.say("prepared", at)
		}
	}
	p.finishGroup(expected{ready: ready})
}

// finishGroup emits the group as a request.
func (p *Parser) finishGroup(e expected) {
	r := &p.request
	g := &r.group
	m := &r.msg
	m.First, m.Last, m.Size = g.first, g.last, g.size
	e.begins = g.begins
	e.steps, e.describes, e.executes, e.version, e.formats = g.steps, g.describes, g.statement, g.version, g.formats
	g.open, g.parsed, g.bound, g.described = false, false, false, false
	p.emit(e)
}

// sync takes a Sync.
func (p *Parser) sync(h *half) {
	g := &p.request.group
	last := p.last()
	if g.open && !g.parsed && !g.bound && !g.described && last != nil && last.executed && !last.ready && !p.skipping {
		g.open = false // what is closed behind an Execute belongs to it
	}
	switch {
	case g.open:
		p.endGroup(true)
		if p.skipping {
			p.resync()
		}
	case p.skipping:
		p.resync()
	case last != nil && !last.simple && !last.ready:
		last.ready = true
		last.cycles++
	default:
		p.compose("SYNC")
		p.span(h)
		p.emit(expected{ready: true})
	}
}

// resync waits for the ReadyForQuery behind what the server has skipped.
func (p *Parser) resync() {
	p.skipping = false
	p.follow()
	p.expect(expected{ready: true, silent: true})
}

// unready takes a Sync back that the server ignores, since rows are to follow.
func (p *Parser) unready() {
	if last := p.last(); last != nil && last.executed {
		if last.ready {
			last.cycles--
		}
		last.ready = false
	}
}

// copied takes a row of a COPY FROM STDIN.
func (p *Parser) copied(h *half, body []byte) {
	p.unready()
	if p.request.copying {
		addRow(&p.request.msg, h)
		if !h.holed && len(body) > 0 {
			p.sink.Body(&p.request.msg, body)
		}
	}
}

// addRow counts a row.
func addRow(m *proto.Message, h *half) {
	if m.Parts.Count == 0 {
		m.Parts.First = h.first.Time
	}
	m.Parts.Count++
	m.Parts.Bytes += h.length
	m.Parts.Largest = max(m.Parts.Largest, h.length)
}

// endCopy ends a COPY FROM STDIN.
func (p *Parser) endCopy(how proto.End) {
	p.request.copying = false
	p.endRequest(how)
}

// copiesIn reports whether a COPY has the client send rows.
func copiesIn(text []byte) bool {
	const stdin = "stdin"
	for i := 0; i+len(stdin) <= len(text); i++ {
		if text[i]|0x20 == 's' && bytes.EqualFold(text[i:i+len(stdin)], []byte(stdin)) {
			return true
		}
	}
	return false
}

// maxVerb is the longest word that is taken for a command.
const maxVerb = 32

// appendVerb appends the first word of a statement in upper case, or QUERY when it has none.
func appendVerb(to, text []byte) []byte {
	text = skipBlank(text)
	n := 0
	for n < len(text) && n < maxVerb && isLetter(text[n]) {
		n++
	}
	if n == 0 {
		return append(to, "QUERY"...)
	}
	for _, c := range text[:n] {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// skipBlank skips white space, comments and parentheses.
func skipBlank(text []byte) []byte {
	for len(text) > 0 {
		switch c := text[0]; {
		case c == ' ', c == '\t', c == '\n', c == '\r', c == '(', c == ';':
			text = text[1:]
		case bytes.HasPrefix(text, []byte("--")):
			i := bytes.IndexByte(text, '\n')
			if i < 0 {
				return nil
			}
			text = text[i+1:]
		case bytes.HasPrefix(text, []byte("/*")):
			i := bytes.Index(text, []byte("*/"))
			if i < 0 {
				return nil
			}
			text = text[i+2:]
		default:
			return text
		}
	}
	return nil
}
