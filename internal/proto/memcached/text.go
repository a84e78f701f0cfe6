package memcached

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Names of the facts that are told here; the table exchange.Facts says which fields show them.
const (
	factProtocol   = "protocol_type"
	factOpcode     = "opcode"
	factOpaque     = "opaque"
	factKey        = "key"
	factValueBytes = "value_bytes"
	factExptime    = "exptime"
	factNoreply    = "noreply"
	factStatus     = "status"
	factHits       = "hits"
	factMisses     = "misses"
)

const (
	// maxDigits is how many digits a number has at most: those of 2^64-1.
	maxDigits = 20
	// maxValue is the largest value that is believed, in bytes; memcached takes 1 GiB at most (-I).
	maxValue = 1 << 30
	// maxKey is how many bytes a key has at most.
	maxKey = 250
)

// line takes bytes of a line. It returns how many it took.
func (p *Parser) line(h *half, b []byte, at clock.Mark) int {
	n := bytes.IndexByte(b, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(b)
	}
	if room := p.limits.MaxHead - len(h.head); n > room {
		// The line is longer than the limit: what there is of it is taken for all.
		p.collect(h, b[:room], at)
		p.tooLong(h, at.After(room-1))
		return room
	}
	switch {
	case whole && len(h.head) == 0:
		// The common case: the line lies within b, and is parsed there.
		p.parse(h, b[:n], at, at.After(n-1))
	default:
		p.collect(h, b[:n], at)
		if whole {
			p.parse(h, h.head, h.headAt, at.After(n-1))
			p.release(h)
		}
	}
	return n
}

// parse takes a line with its end, whose ends are marked.
func (p *Parser) parse(h *half, line []byte, first, last clock.Mark) {
	size := len(line)
	anomalies := proto.Anomalies(0)
	line = line[:size-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	} else {
		anomalies.Set(proto.LineEndLF)
	}
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			p.lose(h, first) // no line
			return
		}
	}
	if h.msg.Dir == p.client {
		p.command(h, line, anomalies, first, last, size)
	} else {
		p.reply(h, line, anomalies, first, last, size)
	}
}

// tooLong begins a message with a line that is longer than the limit, if it may have no value.
func (p *Parser) tooLong(h *half, last clock.Mark) {
	word, _, _ := bytes.Cut(h.head, space)
	c := commands[string(word)]
	if h.msg.Dir != p.client || c.kind&getting == 0 {
		p.lose(h, h.headAt)
		return
	}
	line := h.head[:bytes.LastIndexByte(h.head, ' ')] // the last key isn't whole
	anomalies := proto.Anomalies(0)
	anomalies.Set(proto.StatementCut)
	anomalies.Set(proto.HeadTooLarge)
	h.state = inLong
	p.command(h, line, anomalies, h.headAt, last, len(h.head))
	p.release(h)
}

var space = []byte(" ")

// long skips the rest of a line that is too long. It returns how many bytes it took.
func (p *Parser) long(h *half, b []byte, at clock.Mark) int {
	n := bytes.IndexByte(b, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(b)
	}
	h.msg.Size += int64(n)
	h.msg.Last = at.After(n - 1)
	if whole {
		h.state = inHead
		p.end(h, proto.Whole)
	}
	return n
}

// command takes the line of a request.
func (p *Parser) command(h *half, line []byte, anomalies proto.Anomalies, first, last clock.Mark, size int) {
	m := p.begin(h, first, last, size)
	m.Stream = p.number()
	m.Anomalies, m.Again = anomalies, p.again
	w := words{line: line}
	name, at := w.next()
	c, known := commands[string(name)]
	kept := min(len(line), p.limits.MaxStatement)
	if kept < len(line) {
		m.Anomalies.Set(proto.StatementCut)
	}
	m.Raw = append(m.Raw, line[:kept]...)
	m.Method = within(kept, at, len(name))
	m.Target = proto.Span{Len: uint32(kept)}
	q := request{kind: c.kind}
	protocolType := "text"
	if c.kind&(metas|metaNoop|metaDebug) != 0 {
		protocolType = "meta"
	}
	if !known {
		m.Anomalies.Set(proto.BadStartLine)
		q.kind = all
	}
	value, count := int64(-1), 0
	for word, at := w.next(); len(word) > 0; word, at = w.next() {
		count++
		switch {
		case count == c.size:
			if c.kind == metaSet && word[0] == 'S' {
				word = word[1:] // as 1.6.0 to 1.6.5 had it
			}
			value = decimal(word)
		case count == c.exptime:
			if n := decimal(word); n >= 0 {
				m.Count(factExptime, n)
			}
		}
		switch {
		case c.kind&metas != 0 && count > max(c.least, 1):
			p.flag(m, &q, word)
		case c.keys > 0 && count >= c.keys && count <= c.last:
			q.keys++
			p.key(m, kept, at, len(word))
		case count > c.least && string(word) == "noreply" && w.at == len(line):
			m.OneWay = true
		}
	}
	if c.silent || p.alone && q.quiet && q.kind&retrieving == 0 {
		m.OneWay = true
	} else if m.OneWay {
		m.Count(factNoreply, 1)
	}
	m.Say(factProtocol, []byte(protocolType))
	if known && count < c.least {
		m.Anomalies.Set(proto.BadStartLine) // the server says ERROR
		value = -1
	} else if c.size > 0 {
		if value < 0 || value > maxValue {
			m.Anomalies.Set(proto.BadLength)
			value = -1
		} else {
			m.Count(factValueBytes, value)
		}
	}
	if h.state == inLong {
		q.keys = -1 // nobody counted
	}
	if !m.OneWay {
		p.ask(q)
	}
	p.emit(h)
	switch {
	case h.state == inLong:
	case value >= 0:
		h.state, h.remain, h.tail = inValue, value, len(lineEnd)
	default:
		p.end(h, proto.Whole)
	}
}

// within makes a span of what was kept of a line.
func within(kept, at, n int) proto.Span {
	at = min(at, kept)
	return proto.Span{Off: uint32(at), Len: uint32(min(n, kept-at))}
}

// key tells of a key that stands in the line.
func (p *Parser) key(m *proto.Message, kept, at, n int) {
	switch {
	case at+n > kept:
	case len(m.Facts) >= p.limits.MaxFields:
		m.Anomalies.Set(proto.TooManyFields)
	default:
		m.Facts = append(m.Facts, proto.Fact{Name: factKey, Value: within(kept, at, n)})
	}
}

// flag takes a flag of a meta command: a letter, with what it is set to.
func (p *Parser) flag(m *proto.Message, q *request, word []byte) {
	switch word[0] {
	case 'q':
		q.quiet = true
		m.Count(factNoreply, 1)
	case 'O':
		q.tag = tag(word)
	case 'T':
		if n := decimal(word[1:]); n >= 0 {
			m.Count(factExptime, n)
		}
	}
}

// tag makes a number of an opaque token, O and what the client made up (FNV-1a).
func tag(token []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range token {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h | 1
}

// reply takes a line of a response.
func (p *Parser) reply(h *half, line []byte, anomalies proto.Anomalies, first, last clock.Mark, size int) {
	w := words{line: line}
	word, _ := w.next()
	a, ok := lookUp(word)
	if !ok {
		p.lose(h, first)
		return
	}
	m := &h.msg
	if h.open {
		m.Size += int64(size)
		m.Last = last
		m.Anomalies |= anomalies
	} else {
		m = p.begin(h, first, last, size)
		m.Anomalies = anomalies
	}
	switch a.shape {
	case item, itemAlone, entry:
		p.part(h, a, line, w, first)
		return
	case event:
		if h.open {
			p.lose(h, first)
			return
		}
		p.watched(h, line)
		return
	case closing, failure:
		if h.open {
			p.last(h, a, word, &w)
			return
		}
	}
	if h.open {
		p.lose(h, first) // a part, or the end, was expected
		return
	}
	q := p.answered(h, reply{kinds: a.kinds, tag: replyTag(a, w)})
	h.answers = q
	if a != number {
		m.Say(factStatus, word)
	}
	switch a.shape {
	case failure:
		p.fail(m, word, &w)
	case closing, result:
		m.Framing = proto.Rendered
	}
	p.tally(m, a, &q)
	text := bytes.TrimPrefix(line, word)
	if a.shape == result {
		if text = bytes.TrimLeft(text, " "); len(text) == 0 {
			text = word
		}
		h.part(int64(len(text)), first)
		m.BodyBytes = int64(len(text))
	}
	p.emit(h)
	if a.shape == result {
		p.render(h, text)
		p.render(h, newline)
	}
	p.end(h, proto.Whole)
}

// replyTag returns the opaque token that a meta response carries, 0 when there is none.
func replyTag(a answer, w words) uint64 {
	if a.kinds&metas == 0 || a.shape == failure {
		return 0
	}
	for word, _ := w.next(); len(word) > 0; word, _ = w.next() {
		if word[0] == 'O' {
			return tag(word)
		}
	}
	return 0
}

// part takes a line that begins an item, or is one.
func (p *Parser) part(h *half, a answer, line []byte, w words, first clock.Mark) {
	m := &h.msg
	begins := !h.open
	// An item is NAME KEY FLAGS LENGTH [CAS], and alone LENGTH FLAG...; an entry is NAME VALUE.
	name, at := w.next()
	value := int64(-1)
	switch a.shape {
	case item:
		w.next()
		length, _ := w.next()
		value = decimal(length)
	case itemAlone:
		value = decimal(name)
	}
	if a.shape != entry && (value < 0 || value > maxValue) || !begins && h.answers.kind&a.kinds == 0 && h.answers.stream != 0 {
		p.lose(h, first)
		return
	}
	if begins {
		h.answers = p.answered(h, reply{kinds: a.kinds, tag: replyTag(a, w)})
		h.series = a.shape != itemAlone
	}
	if a.shape == entry {
		if a == dumped {
			at, name = 0, line
			w.at = len(line)
		}
		n := int64(len(line) - at)
		h.part(n, first)
		m.BodyBytes += n
		if begins {
			p.emit(h)
		}
		p.render(h, name)
		if rest := line[w.at:]; len(rest) > 0 {
			p.render(h, tab)
			p.render(h, rest[1:])
		}
		p.render(h, newline)
		return
	}
	h.part(value, first)
	if a.shape == itemAlone {
		m.Say(factStatus, line[:len("VA")])
		p.tally(m, a, &h.answers)
	}
	if begins {
		p.emit(h)
	}
	if a.shape == item {
		p.render(h, name)
		p.render(h, tab)
	}
	h.state, h.remain, h.tail = inValue, value, len(lineEnd)
}

var tab = []byte("\t")

// last takes the line that ends a response of parts.
func (p *Parser) last(h *half, a answer, word []byte, w *words) {
	m := &h.msg
	m.Say(factStatus, word)
	if a.shape == failure {
		p.fail(m, word, w)
	}
	p.tally(m, a, &h.answers)
	p.end(h, proto.Whole)
}

// fail tells of an error.
func (p *Parser) fail(m *proto.Message, word []byte, w *words) {
	m.Say(proto.FactError, word)
	if rest := bytes.TrimLeft(w.line[w.at:], " "); len(rest) > 0 {
		m.Say(proto.FactErrorText, rest[:min(len(rest), p.limits.MaxStatement)])
	}
}

// tally tells how many keys were there, and how many weren't.
func (p *Parser) tally(m *proto.Message, a answer, q *request) {
	switch {
	case a.shape == closing && q.kind&getting != 0:
		m.Count(factHits, m.Parts.Count)
		if q.keys >= 0 {
			m.Count(factMisses, max(int64(q.keys)-m.Parts.Count, 0))
		}
	case a.hit&q.kind != 0:
		m.Count(factHits, 1)
	case a.miss&q.kind != 0:
		m.Count(factMisses, 1)
	}
}

// watched takes a line that a watcher is told.
func (p *Parser) watched(h *half, line []byte) {
	m := &h.msg
	m.OneWay = true
	m.Stream = p.number()
	kept := min(len(line), p.limits.MaxStatement)
	m.Raw = append(append(m.Raw, "watch "...), line[:kept]...)
	m.Method = proto.Span{Len: uint32(len("watch"))}
	m.Target = proto.Span{Off: uint32(len("watch ")), Len: uint32(kept)}
	p.emit(h)
	p.end(h, proto.Whole)
}

// isNumber reports whether a word consists of digits.
func isNumber(word []byte) bool {
	for _, c := range word {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(word) > 0 && len(word) <= maxDigits
}

// decimal reads a number, -1 when it isn't one or is too large.
func decimal(word []byte) int64 {
	if !isNumber(word) || len(word) >= maxDigits-1 {
		return -1
	}
	n := int64(0)
	for _, c := range word {
		n = n*10 + int64(c-'0')
	}
	return n
}
