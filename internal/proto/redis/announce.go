package redis

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// maxEarly is how much text is kept of a reply until it is known what it is.
const maxEarly = 1 << 10

// decision is what is known of a reply whose kind isn't told by its first line: what may be a push, or a confirmation of SUBSCRIBE,
// is known by its first word, and what it is about by the next or the second next.
type decision struct {
	active bool
	// kind is the type byte.
	kind byte
	// word is the number of the word that comes, about that of the one that says what the push is about, 0 until the first is known.
	word, about int
	// taking: the string that comes is looked at.
	taking bool
	// text collects that string, or the beginning that is shown.
	text  [maxArgument]byte
	n     int
	whole int64
	// verb is the first word.
	verb    [maxPush]byte
	verbLen int
	// early is what there is of the reply's text.
	early []byte
}

// announce tells of a reply by its first line, or puts it off.
func (p *Parser) announce(line []byte) {
	r, s := &p.replies, &p.session
	kind := line[0]
	switch {
	case kind == '>' || kind == '*' && s.subscribed && !s.resp3 && len(line) > 1 && line[1] > '0' && line[1] <= '9':
		d := &r.decision
		d.active, d.kind, d.word, d.about, d.taking, d.early = true, kind, 0, 0, false, d.early[:0]
		r.confirming = 1 // a push is one item; see conclude
		return
	case kind == '+' && s.monitoring && isMonitored(line):
		p.push([]byte("monitor"), nil, 0)
		return
	}
	s.resp3 = s.resp3 || kind == '%' || kind == '~' || kind == '_' || kind == '#'
	p.answer(line)
}

// isMonitored reports whether a status is a line of MONITOR: +1339518083.107412 [0 127.0.0.1:60866] "keys" "*".
func isMonitored(line []byte) bool {
	i := 1
	for i < len(line) && (line[i] >= '0' && line[i] <= '9' || line[i] == '.') {
		i++
	}
	return i > 8 && bytes.HasPrefix(line[i:], []byte(" ["))
}

// answer tells of a reply that answers a command.
func (p *Parser) answer(line []byte) {
	r, s, a := &p.replies, &p.session, &p.awaited
	m := &r.msg
	kind := line[0]
	failed := kind == '-' || kind == '!'
	e := a.next()
	switch {
	case isSync(line):
		r.entry.effect = synchronises // whether its command was seen or not
		if e != nil && a.unsure && e.effect == synchronises {
			a.drop()
		}
	case e != nil && !a.unsure:
		r.entry = *e
	}
	a.answer()
	nothing := kind == '_' || (kind == '$' || kind == '*') && len(line) > 1 && line[1] == '-'
	switch e := &r.entry; e.effect {
	case unpaired:
		return // it isn't told of
	case selects, executes:
		if (failed || nothing) && s.database == e.selected {
			s.database = e.database
		}
	case authenticates, greets:
		if !failed && e.named {
			s.user = s.asking
		}
	case resets:
		if !failed {
			p.session.subscribed, p.session.monitoring, p.session.resp3 = false, false, false
		}
	}
	switch kind {
	case '-':
		p.failure(line[1:])
	case '!':
		r.failed = true
	}
	status := kind == '+' && !isSync(line)
	if failed || status {
		m.Framing = proto.NoBody // it is no value
	}
	p.tell()
	if status {
		r.want = p.sink.WantsBody(m) // its word is shown nevertheless
	}
	if r.entry.effect == synchronises && !failed {
		p.synchronised(line)
	}
}

// failure tells the error of a reply.
func (p *Parser) failure(text []byte) {
	m := &p.replies.msg
	m.Raw = text
	code := bytes.IndexByte(text, ' ')
	if code < 0 {
		code = len(text)
	}
	m.Facts = append(m.Facts,
		proto.Fact{Name: proto.FactError, Value: proto.Span{Len: uint32(code)}},
		proto.Fact{Name: proto.FactErrorText, Value: proto.Span{Len: uint32(len(text))}})
	if c := string(text[:code]); c == "MOVED" || c == "ASK" {
		if i := bytes.LastIndexByte(text, ' ') + 1; i > code {
			m.Facts = append(m.Facts, proto.Fact{Name: "redirect", Value: proto.Span{Off: uint32(i), Len: uint32(len(text) - i)}})
		}
	}
}

// push tells of what the server sends unasked: what it is, and what it is about, whose length is that.
func (p *Parser) push(verb, about []byte, length int64) {
	r := &p.replies
	m := &r.msg
	raw := r.out[:0]
	for _, c := range verb {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c <= ' ' || c > '~' {
			c = '?'
		}
		raw = append(raw, c)
	}
	m.Method = proto.Span{Len: uint32(len(raw))}
	if length > 0 {
		raw = appendArgument(raw, about, length, hidesNothing)
		m.Target = proto.Span{Off: m.Method.Len, Len: uint32(len(raw)) - m.Method.Len}
	}
	m.Raw, r.out = raw, raw
	m.OneWay, r.confirming = true, 1
	p.tell()
}

// tell tells of the reply.
func (p *Parser) tell() {
	r := &p.replies
	m := &r.msg
	r.told = true
	p.sink.Head(m)
	m.Raw, m.Facts = nil, m.Facts[:0]
	if m.Framing == proto.Rendered {
		r.want = p.sink.WantsBody(m)
	}
}

// wordBegins looks whether a string of n bytes is needed to decide what the reply is.
func (p *Parser) wordBegins(n int64) {
	r := &p.replies
	d := &r.decision
	if !d.active {
		return
	}
	d.taking, d.n, d.whole = false, 0, n
	switch {
	case r.silent():
	case d.word == 0:
		if n > int64(maxPush) || r.chunked || r.depth != 1 {
			p.conclude()
			return
		}
		d.taking = true
	case d.word == d.about:
		d.taking = true
		if n == 0 {
			p.conclude()
		}
	}
}

// wordBytes takes bytes of such a string.
func (p *Parser) wordBytes(b []byte) {
	r := &p.replies
	d := &r.decision
	if !d.active || !d.taking {
		return
	}
	d.n += copy(d.text[d.n:], b)
	if d.word > 0 && int64(d.n) == min(d.whole, maxArgument) {
		p.conclude()
	}
}

// wordOver notes that such a string is over. It reports whether the reply goes on.
func (p *Parser) wordOver() bool {
	r := &p.replies
	d := &r.decision
	if !d.active || r.silent() {
		return true
	}
	if d.word > 0 {
		d.word++
		return true
	}
	d.verbLen = copy(d.verb[:], d.text[:d.n])
	d.taking = false
	verb := d.verb[:d.verbLen]
	if string(verb) == "REPLCONF" && p.awaited.unsure {
		// It is the replica that answers: the stream of a master's commands was taken for a client's.
		r.begun, d.active, r.state = false, false, replyOver
		return false
	}
	about, isPush := pushes[string(verb)]
	if e := p.awaited.next(); e != nil && e.effect == subscribes && e.confirms(verb) {
		p.confirmed(e)
		return true
	}
	if _, ok := confirmations[string(verb)]; ok && p.awaited.unsure {
		// Its command wasn't seen, and whether it is one of several can't be told.
		d.active = false
		return true
	}
	if !isPush && d.kind == '*' {
		p.conclude()
		return true
	}
	d.word, d.about = 1, max(about, 1)
	return true
}

// confirms reports whether a reply that begins with verb is one to the command.
func (e *entry) confirms(verb []byte) bool {
	c, ok := confirmations[string(verb)]
	return ok && c.kind == e.kind && c.ends == e.ends
}

// confirmed tells of the reply to a command that subscribes, of which the first confirmation comes.
func (p *Parser) confirmed(e *entry) {
	r, a := &p.replies, &p.awaited
	r.entry = *e
	r.decision.active = false
	r.confirming = e.n
	if e.n == 0 { // from all channels
		r.confirming = 1
		if !a.unsure {
			r.confirming = uint64(max(p.session.channels[e.kind], 1))
		}
	}
	if a.unsure {
		a.drop()
	}
	a.answer()
	r.msg.Parts.First = r.msg.First.Time
	p.tell()
	p.flush()
}

// conclude tells of a reply with what is known of it.
func (p *Parser) conclude() {
	r := &p.replies
	d := &r.decision
	d.active = false
	switch {
	case d.kind == '*' && d.about == 0:
		r.confirming = 0
		p.answer([]byte{'*'})
	case d.about == 0:
		p.push([]byte("push"), nil, 0)
	case d.word == d.about && d.taking:
		p.push(d.verb[:d.verbLen], d.text[:d.n], d.whole)
	default:
		p.push(d.verb[:d.verbLen], nil, 0)
	}
	p.flush()
}

// counted takes the number of subscriptions that a confirmation tells.
func (p *Parser) counted(n int64) {
	r, s := &p.replies, &p.session
	if r.entry.effect != subscribes || r.depth != 1 || r.stack[0].index != 2 {
		return
	}
	e := &r.entry
	total := &s.totals[0]
	if e.kind == 2 {
		total = &s.totals[1]
	}
	switch {
	case e.ends && n < *total:
		s.channels[e.kind]--
	case !e.ends && n > *total:
		s.channels[e.kind]++
	}
	*total = n
	if s.totals == [2]int64{} && !p.awaited.unsure && p.awaited.first == len(p.awaited.entries) {
		s.subscribed = false
	}
}
