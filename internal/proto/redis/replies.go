package redis

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

type replyState uint8

const (
	// replyLine: the line that begins a value comes.
	replyLine replyState = iota
	replyData
	// replyEnd: the line end behind a string comes.
	replyEnd
	// replyChunk: the line before the next piece of a streamed string comes.
	replyChunk
	// replyRest: the rest of a line that is too long comes.
	replyRest
	// replyDump: the line before the file of a replica comes, then the file: dumpData when its length is known, or else dumpUntil.
	replyDump
	dumpData
	dumpUntil
	replyLost
	// replyOver: what follows isn't replies.
	replyOver
)

// A frame is a level of nesting.
type frame struct {
	// kind is the type byte.
	kind byte
	// silent: it isn't shown: it is an attribute, or within one.
	silent bool
	// remain is how many values are still to come, streamed when the end tells. index counts those that came.
	remain, index int64
	// indent is how far the lines below are indented, digits how wide their numbers are.
	indent, digits int
}

const streamed = -1

// replies is the state of the server's side.
type replies struct {
	msg   proto.Message
	state replyState
	// seen: the server has said something.
	seen bool
	// line collects a line that comes in pieces; lineAt marks its first byte.
	line   []byte
	lineAt clock.Mark
	// begun: a reply is under way; told: its Head has been. want is how much of its text is wanted.
	begun, told bool
	want        int
	// failed: the reply is an error that is a string, whose text decision.early collects.
	failed bool

	stack [maxDepth]frame
	depth int
	// kind is the type byte of the string that comes, length its length, and remain what is still to come of it; chunked: it comes
	// in pieces, and length is that of the pieces so far. cr: of the line end behind it, the first byte came.
	kind           byte
	length, remain int64
	chunked, cr    bool

	// size is that of the item that comes. hits and misses count values and nils.
	size, hits, misses int64
	// entry is what matters of the command. confirming: each value is one item: a push, or the confirmation of a channel, of which
	// so many are still to come.
	entry      entry
	confirming uint64
	// word is the last string of the answer to HELLO, of which the one behind "version" is kept.
	word, version name
	versionNext   bool
	// out is where text is made.
	out []byte

	decision decision
	dump     dump
}

// valueKinds are the type bytes of RESP with what they begin: t, a line; s, a string; a, an aggregate; e, its end.
var valueKinds = [256]byte{
	'+': 't', '-': 't', ':': 't', '_': 't', '#': 't', ',': 't', '(': 't',
	'$': 's', '=': 's', '!': 's', '*': 'a', '~': 'a', '%': 'a', '>': 'a', '|': 'a', '.': 'e',
}

// reply takes bytes of the server.
func (p *Parser) reply(b []byte, at clock.Mark) proto.Verdict {
	r := &p.replies
	r.seen = true
	if r.state == replyLost {
		if at.Offset != p.requests.peer || !plausible(b) {
			return proceed
		}
		r.state = replyLine
	}
	for len(b) > 0 && r.state != replyLost && r.state != replyOver {
		var n int
		switch r.state {
		case replyLine:
			n = p.replyLine(b, at)
		case replyData:
			n = p.replyData(b, at)
		case replyEnd:
			n = p.replyEnd(b, at)
		case replyChunk:
			n = p.replyChunk(b, at)
		case replyRest:
			n = p.replyRest(b, at)
		case replyDump:
			n = p.dumpLine(b, at)
		case dumpData, dumpUntil:
			n = p.dumpBytes(b, at)
		}
		b, at = b[n:], at.After(n)
	}
	if r.state == replyOver {
		return proto.Verdict{Action: proto.Stop}
	}
	return proceed
}

// beginReply begins a reply.
func (p *Parser) beginReply(at clock.Mark) {
	r := &p.replies
	m := &r.msg
	*m = proto.Message{Facts: m.Facts[:0], Length: -1, Kind: proto.Response, Dir: m.Dir, First: at, Last: at, Framing: proto.Rendered}
	r.begun, r.told, r.failed, r.want, r.depth = true, false, false, 0, 0
	r.size, r.hits, r.misses, r.entry, r.confirming = 0, 0, 0, entry{}, 0
	r.decision.active, r.versionNext, r.version.n = false, false, 0
}

// reached counts n bytes of the reply.
func (r *replies) reached(at clock.Mark, n int) {
	r.msg.Size += int64(n)
	r.msg.Last = at.After(n - 1)
}

// replyLine takes the line that begins a value.
func (p *Parser) replyLine(b []byte, at clock.Mark) int {
	r := &p.replies
	if len(r.line) == 0 {
		if r.depth == 0 && b[0] == '\n' && !r.begun {
			return 1 // a master that isn't ready with its dump
		}
		if r.begun && r.depth == 0 && r.confirming > 0 && b[0] != '*' && b[0] != '>' {
			r.msg.Anomalies.Set(proto.BadValue) // fewer confirmations than channels
			p.endReply(proto.Whole)
		}
		if !r.begun {
			p.beginReply(at)
		}
		r.lineAt = at
	}
	kind := b[0]
	if len(r.line) > 0 {
		kind = r.line[0]
	}
	limit := maxNumberLine
	switch valueKinds[kind] {
	case 0:
		p.loseReply(at)
		return 0
	case 't':
		limit = p.limits.MaxStatement
	}
	line, n, whole, cut := textLine(&r.line, b, limit)
	r.reached(at, n)
	if !whole {
		return n
	}
	if cut && limit == maxNumberLine || line == nil || len(line) == 0 {
		p.loseReply(at)
		return n
	}
	if cut {
		r.msg.Anomalies.Set(proto.StatementCut)
	}
	// What r.line holds is used until here returns.
	p.value(line, cut)
	r.line = r.line[:0]
	return n
}

// textLine takes the line that begins with b, or goes on with it. It returns the line without its end, and what it took of b. A line
// that is longer than limit is cut. The line is nil when it doesn't end as it should.
func textLine(collected *[]byte, b []byte, limit int) (line []byte, n int, whole, cut bool) {
	had := len(*collected)
	most := min(len(b), limit+2-had)
	n = bytes.IndexByte(b[:most], '\n') + 1
	whole = n > 0
	if !whole {
		n = most
	}
	if whole && had == 0 {
		line = b[:n]
	} else {
		*collected = append(*collected, b[:n]...)
		line = *collected
		if !whole {
			if len(line) < limit+2 {
				return line, n, false, false
			}
			return line[:limit], n, true, true
		}
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, n, true, false
	}
	return line[:len(line)-2], n, true, false
}

// value takes the line that begins a value. cut: the line goes on.
func (p *Parser) value(line []byte, cut bool) {
	r := &p.replies
	kind, text := line[0], line[1:]
	if kind == '.' {
		p.endStreamed()
		return
	}
	if r.depth == 0 && kind != '|' && !r.told && !r.decision.active {
		p.announce(line)
		if r.state != replyLine {
			return
		}
	}
	shape := valueKinds[kind]
	if shape == 't' {
		p.scalar(kind, text)
		if r.state == replyDump {
			return
		}
		if cut {
			r.state = replyRest
			return
		}
		p.complete()
		return
	}
	if len(text) == 1 && text[0] == '?' && (shape == 'a' || kind == '$') {
		if shape == 'a' {
			p.enter(kind, streamed)
			return
		}
		p.beginString(kind, 0)
		r.chunked, r.state = true, replyChunk
		return
	}
	n, ok := number(text)
	switch {
	case !ok:
		p.malformed()
	case n == -1 && (kind == '$' || kind == '*'):
		p.scalar('_', nil)
		p.complete()
	case n < 0, shape == 's' && n > maxBulk, shape == 'a' && n > maxItems:
		p.malformed()
	case shape == 'a':
		p.enter(kind, n)
	default:
		p.beginString(kind, n)
		if r.chunked, r.state = false, replyData; n == 0 {
			r.state = replyEnd
		}
	}
}

// malformed gives up a reply that can't be one.
func (p *Parser) malformed() {
	p.replies.msg.Anomalies.Set(proto.BadValue)
	p.loseReply(p.replies.msg.Last)
}

// enter begins an aggregate of n values, or pairs.
func (p *Parser) enter(kind byte, n int64) {
	r := &p.replies
	if r.depth == maxDepth {
		p.malformed()
		return
	}
	if d := &r.decision; d.active && d.word == 0 && r.depth == 1 && kind != '|' {
		p.conclude() // it doesn't begin with a word
	}
	p.opens(kind != '|')
	f := frame{kind: kind, remain: n, silent: kind == '|' || r.silent()}
	if r.depth > 0 {
		up := &r.stack[r.depth-1]
		f.indent = up.indent + up.digits + len(") ")
	}
	f.digits = 1
	for k := n; k >= 10; k /= 10 {
		f.digits++
	}
	if n > 0 && (kind == '%' || kind == '|') {
		f.remain *= 2
	}
	if n != 0 {
		r.stack[r.depth] = f
		r.depth++
		return
	}
	if kind == '|' {
		return
	}
	p.write(emptyTexts[kind])
	p.complete()
}

// endStreamed ends an aggregate whose length wasn't known.
func (p *Parser) endStreamed() {
	r := &p.replies
	if r.depth == 0 || r.stack[r.depth-1].remain != streamed {
		p.malformed()
		return
	}
	r.depth--
	if r.stack[r.depth].kind != '|' {
		p.complete()
	}
}

// silent reports whether the value that comes isn't shown.
func (r *replies) silent() bool { return r.depth > 0 && r.stack[r.depth-1].silent }

// opens notes that a value begins. shown: it isn't an attribute.
func (p *Parser) opens(shown bool) {
	r := &p.replies
	if !shown || r.silent() {
		return
	}
	if r.depth > 0 && r.msg.Parts.First == 0 {
		r.msg.Parts.First = r.lineAt.Time
	}
	p.prefix()
}

// beginString begins a string of n bytes.
func (p *Parser) beginString(kind byte, n int64) {
	r := &p.replies
	r.kind, r.length, r.remain = kind, n, n
	p.opens(true)
	if r.depth == 0 && kind != '!' {
		r.msg.Parts.First = r.lineAt.Time
	}
	r.word.n = 0
	p.quote()
	p.wordBegins(n)
}

// complete notes that a value is over, and with it what it was the last of.
func (p *Parser) complete() {
	r := &p.replies
	r.state = replyLine
	for r.depth > 0 {
		f := &r.stack[r.depth-1]
		f.index++
		if r.depth == 1 && !f.silent && r.confirming == 0 && (f.kind != '%' || f.index%2 == 0) {
			p.itemOver()
		}
		if f.remain == streamed {
			return
		}
		if f.remain--; f.remain > 0 {
			return
		}
		r.depth--
		if f.kind == '|' {
			return // what it is about comes now
		}
	}
	if r.confirming > 0 {
		p.itemOver()
		if r.confirming--; r.confirming > 0 {
			p.write("\n")
			return
		}
	}
	p.endReply(proto.Whole)
}

// itemOver counts an item.
func (p *Parser) itemOver() {
	r := &p.replies
	parts := &r.msg.Parts
	parts.Count++
	parts.Bytes += r.size
	parts.Largest = max(parts.Largest, r.size)
	r.size = 0
}

// replyData takes bytes of a string.
func (p *Parser) replyData(b []byte, at clock.Mark) int {
	r := &p.replies
	n := int(min(int64(len(b)), r.remain))
	if end := b[n:]; int64(n) == r.remain && len(end) > 1 && end[0] == '\r' && end[1] == '\n' && !r.chunked {
		r.reached(at, n+len("\r\n"))
		p.stringBytes(b[:n])
		p.stringMoves(int64(n))
		p.stringOver()
		return n + len("\r\n")
	}
	r.reached(at, n)
	p.stringBytes(b[:n])
	p.stringMoves(int64(n))
	return n
}

// stringMoves counts n bytes of a string.
func (p *Parser) stringMoves(n int64) {
	r := &p.replies
	if !r.silent() && r.kind != '!' {
		r.msg.BodyBytes += n
		r.size += n
	}
	if r.remain -= n; r.remain == 0 {
		r.state = replyEnd
	}
}

// replyEnd takes the line end behind a string.
func (p *Parser) replyEnd(b []byte, at clock.Mark) int {
	r := &p.replies
	n := 0
	if !r.cr {
		if b[0] != '\r' {
			p.malformed()
			return 0
		}
		n, r.cr = 1, true
		if len(b) == 1 {
			r.reached(at, 1)
			return 1
		}
	}
	r.cr = false
	n++
	r.reached(at, n)
	if b[n-1] != '\n' {
		p.malformed()
		return n
	}
	if r.chunked {
		r.state = replyChunk
	} else {
		p.stringOver()
	}
	return n
}

// stringOver ends a string.
func (p *Parser) stringOver() {
	r := &p.replies
	p.unquote()
	if r.entry.effect == greets && r.depth == 1 {
		if r.versionNext {
			r.version = r.word
		}
		r.versionNext = string(r.word.bytes()) == "version"
	}
	if !p.wordOver() {
		return
	}
	p.counts(true)
	if r.depth == 0 && r.kind != '!' && r.confirming == 0 {
		p.itemOver()
	}
	p.complete()
}

// counts counts hits and misses of a command that reads.
func (p *Parser) counts(there bool) {
	r := &p.replies
	switch {
	case r.depth > 1 || r.silent():
	case there:
		r.hits++
	default:
		r.misses++
	}
}

// replyChunk takes the line before a piece of a streamed string.
func (p *Parser) replyChunk(b []byte, at clock.Mark) int {
	r := &p.replies
	line, n, whole, cut := textLine(&r.line, b, maxNumberLine)
	r.reached(at, n)
	if !whole {
		return n
	}
	ok := !cut && len(line) > 1 && line[0] == ';'
	var size int64
	if ok {
		size, ok = number(line[1:])
	}
	r.line = r.line[:0]
	switch {
	case !ok || size < 0 || size > maxBulk:
		p.malformed()
	case size == 0:
		r.chunked = false
		p.stringOver()
	default:
		r.length += size
		r.remain, r.state = size, replyData
	}
	return n
}

// replyRest passes over the rest of a line.
func (p *Parser) replyRest(b []byte, at clock.Mark) int {
	n := bytes.IndexByte(b, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(b)
	}
	p.replies.reached(at, n)
	if whole {
		p.complete()
	}
	return n
}

// endReply ends the reply that is under way, and does what its command does to the session.
func (p *Parser) endReply(how proto.End) {
	r := &p.replies
	if !r.begun {
		return
	}
	if r.decision.active && how == proto.Whole {
		p.conclude()
	}
	r.begun, r.decision.active = false, false
	if !r.told {
		return
	}
	r.told = false
	m := &r.msg
	m.End = how
	if r.failed {
		p.failure(r.decision.early)
	}
	if r.version.n > 0 {
		m.Raw = r.out[:0]
		m.Say("server_version", r.version.bytes())
	}
	if cap(r.out) > keepCapacity {
		r.out = nil
	}
	if r.entry.effect == reads {
		if r.hits > 0 {
			m.Count("hits", r.hits)
		}
		if r.misses > 0 {
			m.Count("misses", r.misses)
		}
	}
	p.sink.End(m)
	if r.version.n > 0 {
		r.out = m.Raw
	}
	m.Raw, m.Facts = nil, m.Facts[:0]
	r.decision.early = r.decision.early[:0]
}

// replyGap takes missing bytes of the server.
func (p *Parser) replyGap(n int64, at clock.Mark) {
	r := &p.replies
	switch {
	case r.state == replyLost || r.state == replyOver:
		return
	case n != proto.Unknown && r.state == dumpUntil:
		r.dump.tailLen = 0
	case r.state == replyDump, r.state == dumpData && (n == proto.Unknown || n >= r.remain), r.state == dumpUntil:
		// What follows the dump isn't replies, wherever it begins.
		p.endReply(proto.Broken)
		r.release()
		r.state = replyOver
		return
	case n == proto.Unknown || n > r.remain || r.decision.active || r.state != replyData && r.state != dumpData || r.kind == '!':
		p.loseReply(at)
		return
	}
	r.msg.MissingBytes += n
	r.msg.Size += n
	r.msg.Last = at.After(int(n) - 1)
	r.want, r.versionNext = 0, false
	if r.state == replyData {
		p.stringMoves(n)
	} else {
		p.dumpMoves(n)
	}
}

// loseReply gives up the server's side until a reply is found.
func (p *Parser) loseReply(at clock.Mark) {
	r := &p.replies
	p.endReply(proto.Broken)
	r.begun, r.state = false, replyLost
	r.release()
	p.awaited.lost()
	p.sink.Lost(r.msg.Dir, at)
}

// release lets go of what was collected.
func (r *replies) release() {
	r.line, r.cr, r.decision.early = r.line[:0], false, r.decision.early[:0]
	if cap(r.line) > keepCapacity {
		r.line = nil
	}
}
