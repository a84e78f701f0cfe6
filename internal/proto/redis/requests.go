package redis

import (
	"bytes"
	"strconv"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

type requestState uint8

const (
	requestStart requestState = iota
	// requestLength: the line with the length of an argument comes.
	requestLength
	requestData
	// requestEnd: the line end behind an argument comes.
	requestEnd
	requestInline
	requestLost
)

// requests is the state of the client's side.
type requests struct {
	msg   proto.Message
	state requestState
	// line collects a line that comes in pieces.
	line []byte
	// begun: a command is under way; told: its Head has been.
	begun, told bool
	// peer is how much of the replies the client had when it began its last command, noPeer when that isn't known.
	peer int64
	// args is how many arguments the command has, its name included, and index the one that comes.
	args, index int64
	// length is that of the argument, remain what is still to come of it; shown: what is shown of it was taken.
	length, remain int64
	shown          bool
	// cr: of the line end behind an argument, the first byte came.
	cr bool
	// argument collects what is shown of an argument that comes in pieces.
	argument []byte
	// text is the command as it is shown. It is the message's Raw at Head. full: there is more than fits.
	text []byte
	full bool

	// name is the command's, in upper case. command is what matters of it.
	name    [2*maxName + 1]byte
	nameLen int
	command command
	// hideAt is the argument that is secret, 0 when none is known to be.
	hideAt int64
	// value is the number that the first argument is, -1 when it is none. reply is what CLIENT REPLY wants.
	value int32
	reply reply
	// asking is who wants to log in.
	asking name
	// acknowledges: it is REPLCONF ACK, which is never answered.
	acknowledges bool
}

// reply is what CLIENT REPLY wants.
type reply uint8

const (
	replyUnchanged reply = iota
	replyOn
	replyOff
	replySkip
)

// request takes bytes of the client.
func (p *Parser) request(b []byte, at clock.Mark) {
	q := &p.requests
	if q.state == requestLost {
		if match, role := resume(b); match != proto.Yes || role != proto.Client {
			return
		}
		q.state = requestStart
	}
	for len(b) > 0 && q.state != requestLost {
		var n int
		switch q.state {
		case requestStart:
			n = p.requestStart(b, at)
		case requestLength:
			n = p.argumentLength(b, at)
		case requestData:
			n = p.argumentData(b, at)
		case requestEnd:
			n = p.argumentEnd(b, at)
		case requestInline:
			n = p.inline(b, at)
		}
		b, at = b[n:], at.After(n)
	}
}

// requestStart takes the line that begins a command. Empty lines mean nothing.
func (p *Parser) requestStart(b []byte, at clock.Mark) int {
	q := &p.requests
	if !q.begun {
		switch b[0] {
		case '\r', '\n':
			return 1
		case '*':
		default:
			p.beginRequest(at)
			q.state = requestInline
			return 0
		}
		p.beginRequest(at)
	}
	line, n, ok := numberLine(&q.line, b)
	p.reached(at, n)
	if !ok {
		if line == nil {
			p.loseRequest(at)
		}
		return n
	}
	args, ok := number(line[1:])
	q.line = q.line[:0]
	switch {
	case !ok || args > maxItems:
		p.loseRequest(at)
	case args <= 0:
		q.begun = false // which the server ignores
	default:
		q.args, q.state = args, requestLength
	}
	return n
}

// beginRequest begins a command.
func (p *Parser) beginRequest(at clock.Mark) {
	q := &p.requests
	m := &q.msg
	*m = proto.Message{Facts: m.Facts[:0], Length: -1, Kind: proto.Request, Dir: m.Dir, First: at, Last: at}
	q.begun, q.told, q.peer = true, false, at.Peer
	q.index, q.text, q.full, q.nameLen, q.command = 0, q.text[:0], false, 0, command{}
	q.hideAt, q.value, q.reply, q.acknowledges, q.asking.n = 0, -1, replyUnchanged, false, 0
}

// reached counts n bytes of the command.
func (p *Parser) reached(at clock.Mark, n int) {
	m := &p.requests.msg
	m.Size += int64(n)
	m.Last = at.After(n - 1)
}

// argumentLength takes the line with the length of an argument.
func (p *Parser) argumentLength(b []byte, at clock.Mark) int {
	q := &p.requests
	if len(q.line) == 0 {
		if n := p.wholeArguments(b, at); n > 0 {
			return n
		}
	}
	line, n, ok := numberLine(&q.line, b)
	p.reached(at, n)
	if !ok {
		if line == nil {
			p.loseRequest(at)
		}
		return n
	}
	length, ok := number(line[1:])
	ok = ok && line[0] == '$' && length >= 0 && length <= maxBulk
	q.line = q.line[:0]
	if !ok {
		p.loseRequest(at)
		return n
	}
	q.length, q.remain, q.shown, q.state = length, length, false, requestData
	if length == 0 {
		q.state = requestEnd
		p.show(nil)
	}
	return n
}

// wholeArguments takes the arguments that lie whole at the beginning of b, which is the common case. It returns how many bytes they
// take.
func (p *Parser) wholeArguments(b []byte, at clock.Mark) (n int) {
	q := &p.requests
	for q.index < q.args {
		rest := b[n:]
		const shortest = len("$0\r\n\r\n")
		if len(rest) < shortest || rest[0] != '$' {
			break
		}
		const digits = 9
		length, i := 0, 1
		for i < len(rest) && i <= digits && '0' <= rest[i] && rest[i] <= '9' {
			length = length*10 + int(rest[i]-'0')
			i++
		}
		from := i + len("\r\n")
		to := from + length
		if i == 1 || to+1 >= len(rest) || rest[i] != '\r' || rest[i+1] != '\n' || rest[to] != '\r' || rest[to+1] != '\n' {
			break
		}
		q.length = int64(length)
		p.show(rest[from:min(to, from+maxArgument)])
		n += to + len("\r\n")
		q.index++
	}
	if n > 0 {
		p.reached(at, n)
		p.nextArgument()
	}
	return n
}

// nextArgument goes on behind an argument.
func (p *Parser) nextArgument() {
	q := &p.requests
	if q.state = requestLength; q.index == q.args {
		p.endRequest(proto.Whole)
		q.state, q.begun = requestStart, false
	}
}

// argumentData takes bytes of an argument.
func (p *Parser) argumentData(b []byte, at clock.Mark) int {
	q := &p.requests
	n := int(min(int64(len(b)), q.remain))
	p.reached(at, n)
	if !q.shown {
		visible := int(min(q.length, maxArgument))
		if len(q.argument) == 0 && n >= visible {
			p.show(b[:visible])
		} else {
			q.argument = append(q.argument, b[:min(n, visible-len(q.argument))]...)
			if len(q.argument) == visible {
				p.show(q.argument)
				q.argument = q.argument[:0]
			}
		}
	}
	if q.remain -= int64(n); q.remain == 0 {
		q.state = requestEnd
	}
	return n
}

// argumentEnd takes the line end behind an argument.
func (p *Parser) argumentEnd(b []byte, at clock.Mark) int {
	q := &p.requests
	n := 0
	if !q.cr {
		if b[0] != '\r' {
			p.loseRequest(at)
			return 1
		}
		n, q.cr = 1, true
		if len(b) == 1 {
			p.reached(at, 1)
			return 1
		}
	}
	q.cr = false
	n++
	p.reached(at, n)
	if b[n-1] != '\n' {
		p.loseRequest(at)
		return n
	}
	q.index++
	p.nextArgument()
	return n
}

// show takes what is shown of an argument.
func (p *Parser) show(b []byte) {
	q := &p.requests
	q.shown = true
	p.take(b, q.length)
	if !q.told && (q.index+1 == q.args || q.full) {
		p.head()
	}
}

// take adds an argument to the command, of which b is the beginning.
func (p *Parser) take(b []byte, length int64) {
	q := &p.requests
	if q.index < 2 {
		p.named(b)
	}
	hidden := p.hides(b)
	if q.index > 0 {
		p.learn(b)
		if q.told {
			return
		}
		q.text = append(q.text, ' ')
	}
	q.text = appendArgument(q.text, b, length, hidden)
	if limit := p.limits.MaxStatement; len(q.text) > limit {
		q.text, q.full = q.text[:wholeRunes(q.text, limit)], true
		q.msg.Anomalies.Set(proto.StatementCut)
	}
}

// named takes the name of the command, or its second word.
func (p *Parser) named(b []byte) {
	q := &p.requests
	if q.index == 1 {
		if !q.command.container {
			return
		}
		q.name[q.nameLen] = ' '
		q.nameLen++
	}
	for _, c := range b[:min(len(b), maxName)] {
		switch {
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case c <= ' ' || c > '~':
			c = '?'
		}
		q.name[q.nameLen] = c
		q.nameLen++
	}
	q.command = commands[string(q.name[:q.nameLen])]
}

// hides reports which of an argument is secret: nothing, all, or all but its first byte.
func (p *Parser) hides(b []byte) hiding {
	q := &p.requests
	i := q.index
	switch q.command.secret {
	case lastSecret:
		if i > 0 && i == q.args-1 {
			return hidesAll
		}
	case afterUser, afterAuth:
		switch {
		case i > 0 && i == q.hideAt:
			q.hideAt = 0
			return hidesAll
		case i > 1 && q.hideAt < i && proto.EqualFold(b, "auth"):
			q.hideAt = i + 1
			if q.command.secret == afterUser {
				q.hideAt = i + 2
			}
		case i > 1 && q.hideAt < i && proto.EqualFold(b, "auth2"):
			q.hideAt = i + 2
		}
	case valueSecret:
		if i > 1 && i == q.hideAt {
			return hidesAll
		}
		if i > 1 && (containsFold(b, "pass") || containsFold(b, "auth")) {
			q.hideAt = i + 1
		}
	case ruleSecret:
		if i > 2 && len(b) > 0 && bytes.IndexByte([]byte("><#!"), b[0]) >= 0 {
			return hidesRest
		}
	}
	return hidesNothing
}

// containsFold reports whether b contains a lower-case word, ignoring ASCII case.
func containsFold(b []byte, word string) bool {
	for i := 0; i+len(word) <= len(b); i++ {
		if proto.EqualFold(b[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

// learn looks what an argument does to the connection.
func (p *Parser) learn(b []byte) {
	q := &p.requests
	if q.command.blocks == mayBlock && proto.EqualFold(b, "block") {
		q.msg.Blocks = !p.session.transaction
		q.command.blocks = neverBlocks
	}
	switch q.command.effect {
	case selects:
		if n, ok := number(b); ok && q.index == 1 && n >= 0 && n < 1<<31 {
			q.value = int32(n)
		}
	case authenticates:
		if q.index == 1 {
			q.asking.set([]byte("default"))
			if q.args > 2 {
				q.asking.set(b)
			}
		}
	case greets:
		if q.hideAt == q.index+1 {
			q.asking.set(b)
		}
	case setsReply:
		if q.index == 2 {
			q.reply = replyOf(b)
		}
	case replicates:
		q.acknowledges = q.acknowledges || q.index == 1 && proto.EqualFold(b, "ack")
	}
}

// replyOf reads what CLIENT REPLY wants.
func replyOf(b []byte) reply {
	switch {
	case proto.EqualFold(b, "on"):
		return replyOn
	case proto.EqualFold(b, "off"):
		return replyOff
	case proto.EqualFold(b, "skip"):
		return replySkip
	}
	return replyUnchanged
}

// head tells of the command. One beyond the limit of those under way goes one way, and its reply is passed over, so that the
// others are still paired. (Where the
// client acknowledges what wasn't captured there is nothing to pair.)
func (p *Parser) head() {
	q, s, a := &p.requests, &p.session, &p.awaited
	m := &q.msg
	target := len(q.text)
	m.Target = proto.Span{Len: uint32(target)}
	if bytes.HasPrefix(q.text, q.name[:q.nameLen]) {
		m.Method = proto.Span{Len: uint32(q.nameLen)}
	} else {
		m.Method = proto.Span{Off: uint32(target), Len: uint32(q.nameLen)}
		q.text = append(q.text, q.name[:q.nameLen]...)
	}
	m.Raw = q.text
	m.Blocks = m.Blocks || q.command.blocks == blocks && !s.transaction
	m.OneWay = s.silent && q.reply != replyOn || s.skip || q.reply > replyOn && !s.transaction || q.acknowledges
	s.skip = false
	if !s.transaction {
		p.setReply()
	}
	e := p.entry()
	if !m.OneWay {
		if a.size() >= 2*p.limits.MaxStreams*entrySize {
			a.lost()
			p.sink.Lost(p.client, m.First)
		}
		switch {
		case (e.effect == subscribes || e.effect == synchronises) && p.replies.state != replyOver:
			a.add(e) // without it their replies can't be understood
		case a.unsure, p.replies.state == replyOver:
		case a.waiting() < uint64(p.limits.MaxStreams) || m.First.Peer > 0 && !p.replies.seen:
			if e.effect != noEffect {
				a.add(e)
			}
		default:
			m.OneWay = true
			m.Anomalies.Set(proto.StreamLimit)
			a.unpaired()
		}
		a.asked++
	}
	p.facts()
	q.told = true
	q.text = m.Raw
	p.sink.Head(m)
	m.Raw = nil
	m.Facts = m.Facts[:0]
}

// setReply does what CLIENT REPLY wants.
func (p *Parser) setReply() {
	s := &p.session
	switch p.requests.reply {
	case replyOn:
		s.silent = false
	case replyOff:
		s.silent = true
	case replySkip:
		s.skip = !s.silent
	}
}

// entry returns what matters of the command when its reply comes, and notes what the command does to the session. Clients send the
// next commands before they know whether one succeeded; see undo for what happens when it didn't.
func (p *Parser) entry() entry {
	q, s := &p.requests, &p.session
	e := entry{effect: q.command.effect, database: s.database}
	switch e.effect {
	case selects:
		if q.value < 0 {
			return entry{}
		}
		s.database, e.selected = q.value, q.value
	case begins:
		if s.transaction {
			return entry{}
		}
		s.transaction, s.selected = true, s.database
	case executes, discards:
		if !s.transaction {
			return entry{}
		}
		s.transaction = false
		e.database, e.selected = s.selected, s.database
		if e.effect == discards {
			s.database = s.selected
			return entry{}
		}
	case subscribes:
		if s.transaction {
			return entry{}
		}
		s.subscribed = true
		e.n, e.kind, e.ends = uint64(q.args-1), q.command.kind, q.command.ends
	case monitors:
		s.monitoring = true
		return entry{}
	case resets:
		// Messages of subscriptions may still come before the answer.
		*s = session{subscribed: s.subscribed, channels: s.channels, totals: s.totals, monitoring: s.monitoring}
	case setsReply, replicates:
		return entry{}
	case greets, authenticates, reads, synchronises:
		if s.transaction {
			return entry{} // it is queued
		}
		if e.named = q.asking.n > 0; e.named {
			s.asking = q.asking
		}
	}
	return e
}

// facts adds what else is known of the command.
func (p *Parser) facts() {
	q, s := &p.requests, &p.session
	m := &q.msg
	if s.database > 0 {
		off := len(m.Raw)
		m.Raw = strconv.AppendInt(m.Raw, int64(s.database), 10)
		m.Facts = append(m.Facts, proto.Fact{Name: "database", Value: proto.Span{Off: uint32(off), Len: uint32(len(m.Raw) - off)}})
	}
	user := s.user.bytes()
	if e := q.command.effect; e == authenticates || e == greets && q.asking.n > 0 {
		user = q.asking.bytes()
	}
	if len(user) > 0 {
		m.Say("user", user)
	}
}

// endRequest ends the command that is under way, if it was told of.
func (p *Parser) endRequest(how proto.End) {
	q := &p.requests
	if !q.begun || !q.told {
		return
	}
	q.msg.End = how
	q.told = false
	if cap(q.text) > keepCapacity {
		q.text = nil
	}
	p.sink.End(&q.msg)
}

// inline takes bytes of a command that is a line of text.
func (p *Parser) inline(b []byte, at clock.Mark) int {
	q := &p.requests
	n := bytes.IndexByte(b, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(b)
	}
	p.reached(at, n)
	line := b[:n]
	if len(q.line) > 0 || !whole {
		if len(q.line)+n > p.limits.MaxStatement {
			p.loseRequest(at)
			return n
		}
		q.line = append(q.line, line...)
		line = q.line
	} else if n > p.limits.MaxStatement {
		p.loseRequest(at)
		return n
	}
	if !whole {
		if !isText(b) {
			p.loseRequest(at)
		}
		return n
	}
	if !isText(line) {
		p.loseRequest(at)
		return n
	}
	words := countWords(line)
	if q.args = int64(words); words == 0 {
		q.begun = false
	}
	for rest := line; q.index < q.args; q.index++ {
		var word []byte
		word, rest, q.argument = nextWord(rest, q.argument[:0])
		q.length = int64(len(word))
		p.show(word[:min(len(word), maxArgument)])
	}
	q.argument, q.line = q.argument[:0], q.line[:0]
	p.endRequest(proto.Whole)
	q.state, q.begun = requestStart, false
	return n
}

// requestGap takes missing bytes of the client.
func (p *Parser) requestGap(n int64, at clock.Mark) {
	q := &p.requests
	if q.state == requestLost {
		return
	}
	if q.state != requestData || !q.shown || n == proto.Unknown || n > q.remain {
		p.loseRequest(at)
		return
	}
	q.msg.MissingBytes += n
	q.msg.Size += n
	q.msg.Last = at.After(int(n) - 1)
	if q.remain -= n; q.remain == 0 {
		q.state = requestEnd
	}
}

// loseRequest gives up the client's side until a command is found.
func (p *Parser) loseRequest(at clock.Mark) {
	q := &p.requests
	p.endRequest(proto.Broken)
	q.begun, q.state = false, requestLost
	q.release()
	p.forget()
	p.sink.Lost(p.client, at)
}

// release lets go of what was collected.
func (q *requests) release() {
	q.line, q.argument, q.cr = q.line[:0], q.argument[:0], false
	if cap(q.line) > keepCapacity {
		q.line = nil
	}
}

// numberLine takes the line that begins with b, or goes on with it. It returns the line without its end and what it took of b;
// not ok when the line isn't complete, with the line nil when it can't be one.
func numberLine(collected *[]byte, b []byte) (line []byte, n int, ok bool) {
	n = bytes.IndexByte(b[:min(len(b), maxNumberLine+2)], '\n') + 1
	if n > 0 && len(*collected) == 0 {
		line = b[:n]
	} else {
		whole := n > 0
		if !whole {
			n = min(len(b), maxNumberLine+2)
		}
		*collected = append(*collected, b[:n]...)
		line = *collected
		if len(line) > maxNumberLine+2 || !whole && len(line) == maxNumberLine+2 {
			return nil, n, false
		}
		if !whole {
			return line, n, false
		}
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, n, false
	}
	return line[:len(line)-2], n, true
}

// number reads a decimal number.
func number(b []byte) (n int64, ok bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	const digits = 18
	if len(b) == 0 || len(b) > digits {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}
