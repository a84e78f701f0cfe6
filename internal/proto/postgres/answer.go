package postgres

import (
	"bytes"
	"strconv"

	"github.com/culprit-http/culprit/internal/proto"
)

// answer makes the responses.
type answer struct {
	msg  proto.Message
	open bool
	// raw holds the texts of the facts. notices are facts, too: they may come before the response begins. unsaid: there were more.
	raw     []byte
	notices []proto.Fact
	unsaid  bool
	// types are those of the columns of the rows that come, if described; formats says which are in binary. columns is their number.
	types     []uint32
	described bool
	formats   formats
	columns   int
	// binary: the rows of a COPY TO STDOUT are.
	binary bool
	// unwanted: nobody wants the rows as text. line is one of them.
	unwanted bool
	line     []byte
	// results counts the results; tag is the command tag of the last, and affected the sum of the rows that they changed.
	results  int64
	tag      [maxTag]byte
	tagLen   int
	affected int64
	changes  bool
	// state is that of the transaction afterwards.
	state byte
}

func (a *answer) say(name string, text []byte) {
	a.msg.Facts = append(a.msg.Facts, proto.Fact{Name: name, Value: proto.Span{Off: uint32(len(a.raw)), Len: uint32(len(text))}})
	a.raw = append(a.raw, text...)
}

// wantsAnswered says how much is wanted of the body of a server's message. It begins the response, if that is one's beginning.
func (p *Parser) wantsAnswered(h *half) int {
	if serverKinds[h.typ].answers && !p.answer.open {
		p.beginAnswer(h)
	}
	a := &p.answer
	if a.open && h.typ != 'A' {
		a.msg.Size += h.size
		a.msg.Last = h.last
	}
	most := 0
	switch h.typ {
	case 'A', 'E', 'N':
		most = maxText
	case 'S':
		most = 2 * maxName
	case 'T', 't':
		most = maxColumns * (maxName + 18)
	case 'C':
		most = maxTag
	case 'K':
		most = 4
	case 'Z', 'G', 'H', 'W':
		most = 1
	case 'D', 'd':
		if a.open {
			a.msg.Framing = proto.Rendered
		}
		if h.typ == 'D' {
			most = p.wantsRow() + 2
		} else if !a.binary {
			most = p.wantsRow()
		}
	}
	return int(min(h.length, int64(most)))
}

// wantsRow says how many bytes of the next row are wanted.
func (p *Parser) wantsRow() int {
	a := &p.answer
	if !a.open || a.unwanted {
		return 0
	}
	want := p.sink.WantsBody(&a.msg)
	a.unwanted = want <= 0
	// No value is shown in fewer bytes than an eighth of what it is sent in.
	return min(8*max(want, 0), p.limits.MaxMessage)
}

// first returns the answer that is due, nil when none is.
func (p *Parser) first() *expected {
	if p.next == len(p.waiting) {
		return nil
	}
	return &p.waiting[p.next]
}

// done takes the answer that was due from the queue.
func (p *Parser) done() {
	p.waiting[p.next] = expected{}
	if p.next++; p.next == len(p.waiting) {
		p.waiting, p.next = p.waiting[:0], 0
	}
}

// beginAnswer begins a response, if the message does.
func (p *Parser) beginAnswer(h *half) {
	e := p.first()
	if e == nil || p.holed && h.first.Peer >= 0 && h.first.Peer <= e.at {
		if e = p.unasked(h); e == nil {
			return
		}
	}
	if e.silent || e.over || h.typ == 'Z' && !e.isSync() || !p.copyAnswered(e, h.typ) {
		return
	}
	p.openAnswer(e, h)
}

// isSync reports whether the answer is that to a Sync alone.
func (e *expected) isSync() bool {
	return !e.simple && !e.executed && e.steps == 0 && !e.silent && !e.over
}

// openAnswer begins the response that is due.
func (p *Parser) openAnswer(e *expected, h *half) {
	a := &p.answer
	m := &a.msg
	m.Reset()
	*a = answer{msg: *m, open: true, raw: a.raw, notices: a.notices, types: a.types[:0], line: a.line, formats: e.formats}
	m.Kind, m.Dir, m.Stream, m.First, m.Last = proto.Response, p.client.Other(), e.stream, h.first, h.last
	if h.typ == 'T' || h.typ == 'D' || h.typ == 'H' {
		m.Framing = proto.Rendered
	}
	p.sink.Head(m)
}

// unasked waits for the rest of an answer whose request wasn't seen; nil: the message is no such answer.
func (p *Parser) unasked(h *half) *expected {
	switch h.typ {
	case 'Z', 'G', 'E', '3': // which may be nobody's answer, or not its beginning; see answered
		return nil
	}
	return p.orphan()
}

// orphan makes an answer due whose request wasn't seen.
func (p *Parser) orphan() *expected {
	p.streams++
	e := expected{stream: p.streams, ready: true, simple: true, at: -1}
	if p.next > 0 {
		p.next--
		p.waiting[p.next] = e
	} else {
		p.waiting = append(p.waiting, e)
		copy(p.waiting[1:], p.waiting)
		p.waiting[0] = e
	}
	return p.first()
}

// copyAnswered reports whether a message begins a response, where it may be that the server asks for rows first.
func (p *Parser) copyAnswered(e *expected, typ byte) bool {
	r := &p.request
	if !r.copying || e.stream != r.msg.Stream {
		return true
	}
	switch typ {
	case 'G':
		r.asked = true
		return false
	case 'C', 'E', 'I', 'Z', 's':
		if !r.asked {
			p.endCopy(proto.Whole)
		}
		return true
	}
	return false
}

// answered takes a message of the server's.
func (p *Parser) answered(h *half, body []byte) {
	a := &p.answer
	e := p.first()
	if h.typ == 'A' {
		p.notified(h, body)
		return
	}
	if !a.open {
		switch {
		case h.typ == 'N' && e != nil && !e.over:
			p.notice(body)
		case h.typ == 'Z':
			p.settled()
		case h.typ == 'E' && e == nil:
			p.unaskedError(h, body)
		}
		return
	}
	over := false
	switch h.typ {
	case '1', '2', '3', 'n':
		e.steps--
	case 't':
		if s := e.describes; s != nil && s.version == e.version {
			_, rest := number16(body)
			p.names.describe(s, &s.parameters, p.types(rest))
		}
	case 'T':
		e.steps--
		p.columns(e, body)
	case 'D':
		p.row(e, h, body)
	case 'd':
		p.copiedOut(h, body)
	case 'H':
		a.msg.Framing = proto.Rendered
		a.binary = body[0] == 1
	case 'W':
		a.binary = true
	case 'C':
		p.completed(e, body)
		over = e.executed
	case 'I', 's':
		a.results++
		over = e.executed
	case 'N':
		p.notice(body)
	case 'S':
		if name, text, _ := word(body); e.login && string(name) == "server_version" {
			text, _, _ = word(text)
			a.say("server_version", text)
		}
	case 'K':
		var digits [10]byte
		a.say("session", strconv.AppendUint(digits[:0], uint64(order.Uint32(body)), 10))
	case 'E':
		fatal := p.failed(body)
		if fatal || e.login {
			p.endAnswer(proto.Whole)
			return
		}
		if !e.simple {
			over = true
			p.skip(h, e)
		}
	case 'Z':
		a.state = body[0]
		p.endAnswer(proto.Whole)
		return
	}
	if !e.ready && (over || !e.executed && !e.simple && e.steps <= 0) {
		p.endAnswer(proto.Whole)
	}
}

// settled takes a ReadyForQuery that ends no response: the server has done with all before a Sync.
func (p *Parser) settled() {
	for e := p.first(); e != nil; e = p.first() {
		over := e.ready
		if e.over {
			if e.cycles--; e.cycles > 0 || !e.ready {
				return
			}
		}
		p.done()
		if over {
			return
		}
	}
}

// skip gives up what the server skips after an error: all before the next Sync.
func (p *Parser) skip(h *half, e *expected) {
	if e.ready {
		return
	}
	for i := p.next + 1; i < len(p.waiting); i++ {
		x := &p.waiting[i]
		if x.over && x.cycles > 0 {
			e.ready = true
			if x.cycles--; x.cycles > 0 || !x.ready {
				return
			}
		}
		if x.ready && !x.simple {
			// The Sync stands behind it.
			e.ready = true
		}
		stream := x.stream
		p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
		i--
		if p.request.copying && stream == p.request.msg.Stream {
			p.endCopy(proto.Whole)
		}
		if stream > 0 {
			p.giveUp(stream, h.last)
		}
		if e.ready {
			return
		}
	}
	p.skipping = true
}

// columns takes a RowDescription.
func (p *Parser) columns(e *expected, b []byte) {
	const fixed = 18
	a := &p.answer
	a.msg.Framing = proto.Rendered
	n, b := number16(b)
	a.columns = n
	a.described, a.formats = true, formats{}
	a.types = a.types[:0]
	for i := 0; i < min(n, maxColumns); i++ {
		_, rest, ok := word(b)
		if !ok || len(rest) < fixed {
			break
		}
		a.types = append(a.types, order.Uint32(rest[6:]))
		if i < 64 && rest[17] == 1 {
			a.formats.bits |= 1 << i
		}
		b = rest[fixed:]
	}
	if s := e.describes; s != nil && s.version == e.version {
		// It was the description of a statement, whose formats aren't decided yet; rows may still follow.
		p.names.describe(s, &s.columns, a.types)
		a.formats = e.formats
	}
	if !e.executed && !e.simple {
		a.msg.Framing = proto.NoBody
	}
}

// row takes a DataRow.
func (p *Parser) row(e *expected, h *half, body []byte) {
	a := &p.answer
	m := &a.msg
	m.Framing = proto.Rendered
	addRow(m, h)
	if len(body) < 2 || h.holed {
		return
	}
	n, b := number16(body)
	a.columns = n
	if a.unwanted {
		return
	}
	want := p.sink.WantsBody(m)
	if want <= 0 {
		return
	}
	types := a.types
	if s := e.executes; !a.described && s != nil && s.version == e.version {
		types = s.columns
	}
	line := a.line[:0]
	for i := 0; i < n && len(line) < want; i++ {
		if i > 0 {
			line = append(line, '\t')
		}
		v, rest, null, whole := value(b)
		if !whole && v == nil {
			break
		}
		b = rest
		switch {
		case null:
			line = append(line, `\N`...)
		case a.formats.binary(i):
			oid := uint32(0)
			if i < len(types) {
				oid = types[i]
			}
			line = appendBinary(line, oid, v, want)
		default:
			line = appendEscaped(line, v, want)
		}
	}
	line = append(line, '\n')
	a.line = line
	p.sink.Body(m, line[:min(len(line), want)])
}

// copiedOut takes a row of a COPY TO STDOUT.
func (p *Parser) copiedOut(h *half, body []byte) {
	m := &p.answer.msg
	m.Framing = proto.Rendered
	addRow(m, h)
	if h.holed || len(body) == 0 {
		return
	}
	if want := p.sink.WantsBody(m); want > 0 {
		p.sink.Body(m, body[:min(len(body), want)])
	}
}

// completed takes a CommandComplete.
func (p *Parser) completed(e *expected, body []byte) {
	a := &p.answer
	a.results++
	tag, _, _ := word(body)
	a.tagLen = copy(a.tag[:], tag)
	verb, count, ok := cutLast(tag)
	if !ok {
		return
	}
	n, err := strconv.ParseInt(string(count), 10, 64)
	if err != nil {
		return
	}
	switch string(verb) {
	case "INSERT", "UPDATE", "DELETE", "MERGE":
		a.affected += n
		a.changes = true
	case "COPY":
		if p.answer.msg.Framing != proto.Rendered {
			a.affected += n
			a.changes = true
		}
	case "SELECT", "FETCH":
		if e.executed && n == 0 {
			a.msg.Framing = proto.Rendered // an empty result, described before
		}
	}
}

// cutLast splits a command tag into its first word and its last.
func cutLast(tag []byte) (verb, count []byte, ok bool) {
	i, j := bytes.IndexByte(tag, ' '), bytes.LastIndexByte(tag, ' ')
	if i < 0 {
		return nil, nil, false
	}
	return tag[:i], tag[j+1:], true
}

// fields calls f for each field of an error or a notice.
func fields(b []byte, f func(typ byte, text []byte)) {
	for len(b) > 1 && b[0] != 0 {
		text, rest, _ := word(b[1:])
		f(b[0], text)
		b = rest
	}
}

// trouble is what is told of an error or a notice.
type trouble struct{ severity, code, message []byte }

func readTrouble(b []byte) (t trouble) {
	fields(b, func(typ byte, text []byte) {
		switch typ {
		case 'S':
			if t.severity == nil {
				t.severity = text
			}
		case 'V': // as S, but never translated
			t.severity = text
		case 'C':
			t.code = text
		case 'M':
			t.message = text
		}
	})
	return t
}

// fatal: the server ends the session.
func (t *trouble) fatal() bool {
	return string(t.severity) == "FATAL" || string(t.severity) == "PANIC"
}

// failed takes an ErrorResponse. It reports whether the server ends the session.
func (p *Parser) failed(body []byte) (fatal bool) {
	t := readTrouble(body)
	a := &p.answer
	if len(a.msg.Facts) < p.limits.MaxFields {
		a.say(proto.FactError, t.code)
		a.say("severity", t.severity)
		a.say(proto.FactErrorText, t.message)
	} else {
		a.msg.Anomalies.Set(proto.TooManyFields)
	}
	return t.fatal()
}

// notice takes a NoticeResponse.
func (p *Parser) notice(body []byte) {
	t := readTrouble(body)
	a := &p.answer
	if len(a.notices) >= p.limits.MaxFields || len(a.raw) >= maxNotices {
		a.unsaid = true
		return
	}
	at := len(a.raw)
	if s := string(t.severity); s != "NOTICE" && s != "" {
		a.raw = append(append(a.raw, t.severity...), ": "...)
	}
	a.raw = append(a.raw, t.message...)
	a.notices = append(a.notices, proto.Fact{Name: "notice", Value: proto.Span{Off: uint32(at), Len: uint32(len(a.raw) - at)}})
}

// endAnswer ends the response.
func (p *Parser) endAnswer(how proto.End) {
	a := &p.answer
	m := &a.msg
	m.Facts = append(m.Facts, a.notices...)
	if a.unsaid {
		m.Anomalies.Set(proto.TooManyFields)
	}
	if m.Framing == proto.Rendered && a.columns > 0 {
		m.Count("columns", int64(a.columns))
	}
	if a.tagLen > 0 {
		a.say("command_tag", a.tag[:a.tagLen])
	}
	if a.changes {
		m.Count("affected_rows", a.affected)
	}
	if a.results > 1 {
		m.Count("results", a.results)
	}
	if s := state(a.state); s != "" {
		at := len(a.raw)
		a.raw = append(a.raw, s...)
		m.Facts = append(m.Facts, proto.Fact{Name: "transaction", Value: proto.Span{Off: uint32(at), Len: uint32(len(a.raw) - at)}})
	}
	if len(m.Facts) > 0 {
		m.Raw = a.raw
	}
	a.open = false
	m.End = how
	if how == proto.Whole {
		if e := p.first(); e.at >= 0 && !p.pipelines && !p.halves[p.client].lost {
			p.holed = false // what was asked is answered
		}
		p.done()
	}
	p.sink.End(m)
	m.Raw, m.Facts = nil, m.Facts[:0]
	a.raw, a.notices, a.unsaid = a.raw[:0], a.notices[:0], false
}

// beginPush begins a response that nobody asked for.
func (p *Parser) beginPush(h *half, method string) *proto.Message {
	m := &p.push
	p.streams++
	p.pushed = append(p.pushed[:0], method...)
	m.Reset()
	m.Kind, m.Dir, m.Stream, m.OneWay = proto.Response, p.client.Other(), p.streams, true
	m.First, m.Last, m.Size = h.first, h.last, h.size+h.length
	m.Method = proto.Span{Len: uint32(len(method))}
	return m
}

// notified takes a NotificationResponse.
func (p *Parser) notified(h *half, body []byte) {
	m := p.beginPush(h, "NOTIFY")
	channel, payload, _ := word(body[4:])
	payload, _, _ = word(payload)
	at := len(p.pushed)
	p.pushed = append(p.pushed, channel[:min(len(channel), maxName)]...)
	m.Target = proto.Span{Off: uint32(at), Len: uint32(len(p.pushed) - at)}
	m.Raw = p.pushed
	m.Framing = proto.Rendered
	n := int64(len(payload))
	m.BodyBytes, m.Parts = n, proto.Parts{Count: 1, Bytes: n, Largest: n, First: h.first.Time}
	p.sink.Head(m)
	if want := p.sink.WantsBody(m); want > 0 && n > 0 {
		p.sink.Body(m, payload[:min(len(payload), want)])
	}
	p.endPush(m)
}

// unaskedError takes an error while nothing is asked: the server ends the session. Where a request may have been missed it may be
// the answer to that.
func (p *Parser) unaskedError(h *half, body []byte) {
	t := readTrouble(body)
	if p.holed {
		if !t.fatal() {
			p.openAnswer(p.orphan(), h)
			p.answer.msg.Size, p.answer.msg.Last = h.size+h.length, h.last
			p.failed(body)
		}
		return
	}
	m := p.beginPush(h, "ERROR")
	m.Raw = p.pushed
	m.Say(proto.FactError, t.code)
	m.Say("severity", t.severity)
	m.Say(proto.FactErrorText, t.message)
	p.pushed = m.Raw
	p.sink.Head(m)
	p.endPush(m)
}

func (p *Parser) endPush(m *proto.Message) {
	m.Raw, m.Facts, m.End = nil, m.Facts[:0], proto.Whole
	p.sink.End(m)
}
