package memcached

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// maxLine is how much of a first line is looked at.
const maxLine = 1024

// Probe implements proto.Protocol. Of the text protocol it wants whole lines: a command in lower case, with what must follow it.
func Probe(b []byte) (proto.Match, proto.Role) {
	if len(b) == 0 {
		return proto.NeedMore, proto.AnyRole
	}
	if b[0] == magicRequest || b[0] == magicResponse {
		return probeHeader(b)
	}
	line, whole := firstLine(b)
	if i := bytes.IndexByte(b, '\n'); !whole && i >= 0 {
		if i < len(b)-1 {
			return proto.No, proto.AnyRole
		}
		line, whole = b[:i], true // servers take a line that ends without CR too
	}
	if !whole {
		word, _, further := bytes.Cut(b, space)
		if beginsCommand(word, further) && len(b) < maxLine {
			return proto.NeedMore, proto.Client
		}
		if c := commands[string(word)]; c.kind&getting != 0 && printable(b) {
			return proto.Yes, proto.Client // a line that is longer than is looked at
		}
		return proto.No, proto.AnyRole
	}
	if a, ok := isReply(line); ok && a.sure {
		return proto.Yes, proto.Server
	}
	return probeCommands(b), proto.Client
}

// probeCommands looks at the lines of a client up to one that tells the protocol: some commands other protocols have too.
func probeCommands(b []byte) proto.Match {
	for b = b[:min(len(b), maxLine)]; len(b) > 0; {
		line, rest, whole := bytes.Cut(b, newline)
		line = bytes.TrimSuffix(line, []byte("\r"))
		if !whole {
			break
		}
		switch c, ok := isCommand(line); {
		case !ok || c.silent:
			return proto.No
		case c.tells(line):
			return proto.Yes
		}
		b = rest
	}
	return proto.NeedMore
}

// tells reports whether a line with the command tells the protocol by itself.
func (c *command) tells(line []byte) bool { return c.sure || bytes.HasSuffix(line, []byte(" noreply")) }

// ProbeBoth implements proto.Protocol: a command that other protocols have too, and what only memcached answers to it.
func ProbeBoth(asked, answered []byte) proto.Match {
	line, _, whole := bytes.Cut(asked, newline)
	line = bytes.TrimSuffix(line, []byte("\r"))
	c, ok := isCommand(line)
	if !ok || !whole || c.silent {
		return proto.NeedMore
	}
	if len(answered) == 0 {
		return proto.Yes
	}
	answer, whole := firstLine(answered)
	if !whole {
		if bytes.IndexByte(answered, '\n') < 0 {
			return proto.NeedMore
		}
		return proto.No
	}
	a, ok := isReply(answer)
	if isNumber(answer) {
		a, ok = number, true
	}
	_, key, _ := bytes.Cut(line, space)
	switch {
	case !ok || a.kinds&c.kind == 0:
		return proto.No
	case a.shape == failure && !a.sure, c.kind == deleting && isNumber(key):
		return proto.NeedMore // ERROR is anybody's, and beanstalkd deletes jobs by their numbers
	}
	return proto.Yes
}

// Resume implements proto.Protocol: a whole line at the start of a segment, or a header of the binary protocol.
func Resume(b []byte) (proto.Match, proto.Role) { return resume(b, false) }

// shared are the kinds of request that beanstalkd has too, and answers alike.
const shared = deleting | touching

// resume is Resume. known: it is known that it is memcached's, but not where a message begins.
func resume(b []byte, known bool) (proto.Match, proto.Role) {
	if len(b) == 0 {
		return proto.No, proto.AnyRole
	}
	if b[0] == magicRequest || b[0] == magicResponse {
		if len(b) < headerSize {
			return proto.No, proto.AnyRole
		}
		return probeHeader(b)
	}
	line, whole := firstLine(b)
	if !whole {
		return proto.No, proto.AnyRole
	}
	if c, ok := isCommand(line); ok && (c.tells(line) || known && c.kind&shared != 0) && c.least > 0 {
		return proto.Yes, proto.Client
	}
	if a, ok := isReply(line); ok && (a.surely && (known || a.kinds&shared == 0) || a.sure && a.shape != entry) {
		return proto.Yes, proto.Server
	}
	return proto.No, proto.AnyRole
}

// ProbeDatagram implements proto.Protocol: a frame header, and a request or a response behind it.
func ProbeDatagram(b []byte, _, _ uint16) (proto.Match, proto.Role) {
	f, ok := readFrame(b)
	if !ok {
		return proto.No, proto.AnyRole
	}
	switch match, role := resume(f.payload, true); {
	case match != proto.Yes:
	case role == proto.Client && f.total == 1 || role == proto.Server && f.sequence == 0:
		return match, role
	}
	return proto.No, proto.AnyRole
}

// probeHeader is Probe for the binary protocol.
func probeHeader(b []byte) (proto.Match, proto.Role) {
	role := proto.Client
	if b[0] == magicResponse {
		role = proto.Server
	}
	if len(b) < headerSize {
		if _, ok := operations[b[min(1, len(b)-1)]]; ok || len(b) == 1 {
			return proto.NeedMore, role
		}
		return proto.No, proto.AnyRole
	}
	if k := readHeader(b); k.plausible() {
		return proto.Yes, role
	}
	return proto.No, proto.AnyRole
}

// firstLine returns the first line without its end; whole tells whether the end is there.
func firstLine(b []byte) (line []byte, whole bool) {
	b = b[:min(len(b), maxLine)]
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, false
	}
	return b[:i-1], true
}

// beginsCommand reports whether a line may begin so; whole: there is a space behind it.
func beginsCommand(word []byte, whole bool) bool {
	if whole {
		c, ok := commands[string(word)]
		return ok && !c.silent
	}
	word = bytes.TrimSuffix(word, []byte("\r"))
	for name, c := range commands {
		if !c.silent && len(word) <= len(name) && name[:len(word)] == string(word) {
			return true
		}
	}
	return false
}

// isCommand reports whether a line is a command with what must follow it.
func isCommand(line []byte) (command, bool) {
	w := words{line: line}
	name, _ := w.next()
	c, ok := commands[string(name)]
	if !ok || !printable(line) {
		return c, false
	}
	count := 0
	for word, _ := w.next(); len(word) > 0; word, _ = w.next() {
		count++
		if w.at == len(line) && hasPrefix(word, "HTTP/") {
			return c, false
		}
		numeric := count == c.size || count == c.exptime || c.kind == storing && count == 2 || c.kind == counting && count == 2
		switch {
		case count == c.exptime && word[0] == '-' && isNumber(word[1:]):
		case count == c.size && c.kind == metaSet && word[0] == 'S' && isNumber(word[1:]):
		case numeric && !isNumber(word), len(word) > maxKey && count >= c.keys && count <= c.last:
			return c, false
		case count > c.least && c.last == 1 && c.kind&(metas|storing) == 0 && string(word) != "noreply" && string(word) != "0":
			return c, false
		}
	}
	return c, count >= c.least
}

// isReply reports whether a line is one of a response.
func isReply(line []byte) (answer, bool) {
	w := words{line: line}
	word, _ := w.next()
	a, ok := answers[string(word)]
	if !ok || !printable(line) {
		return a, false
	}
	rest := 0
	for word, _ := w.next(); len(word) > 0; word, _ = w.next() {
		if rest++; a.shape == item && (rest == 2 || rest == 3) && !isNumber(word) {
			return a, false
		}
	}
	switch a.shape {
	case item:
		return a, rest == 3 || rest == 4
	case single:
		return a, rest == 0
	case itemAlone:
		return a, rest > 0
	}
	return a, true
}

// printable reports whether bytes are a text without control characters.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// found looks for the beginning of a message at the start of a segment, and reports whether there is one.
func (p *Parser) found(h *half, b []byte, at clock.Mark) bool {
	match, role := resume(b, true)
	isClient := h.msg.Dir == p.client
	if isClient {
		if match == proto.Yes && role == proto.Client {
			h.state = inHead
		}
		return h.state == inHead
	}
	switch line, whole := firstLine(b); {
	case p.dialect == speaksBinary:
		// Of a series of packets any may be meant, and only the first begins the response.
		if match == proto.Yes && role == proto.Server && b[1] != opStat {
			h.state = inHead
		}
	case whole:
		a, ok := isReply(line)
		if !ok {
			a, ok = number, isNumber(line)
		}
		// Other words end with ERROR.
		if ok && (a.surely || a.shape != failure && p.waiting.expects(at.Offset)) {
			h.state = inHead
		}
	}
	return h.state == inHead
}
