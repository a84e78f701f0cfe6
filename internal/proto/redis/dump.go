package redis

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// delimiterSize is the length of what ends a dump whose length the master doesn't know, in bytes.
const delimiterSize = 40

// dump is the file that a master sends to a replica: $n and n bytes, or $EOF: with a delimiter, which comes again behind the file.
type dump struct {
	delimiter [delimiterSize]byte
	// tail are the last bytes of the file so far, which may begin the delimiter, and then the first of what follows.
	tail    [2 * delimiterSize]byte
	tailLen int
}

// isSync reports whether a reply is one to PSYNC alone.
func isSync(line []byte) bool {
	return bytes.HasPrefix(line, []byte("+FULLRESYNC ")) || bytes.HasPrefix(line, []byte("+CONTINUE"))
}

// synchronised takes the first line of the reply to PSYNC or SYNC. What follows isn't replies: a dump, and then the commands of
// the master.
func (p *Parser) synchronised(line []byte) {
	r := &p.replies
	if line[0] == '$' {
		p.dumpBegins(line)
		return
	}
	if !isSync(line) {
		return
	}
	r.msg.BodyBytes += int64(len(line) - 1)
	p.write(string(line[1:]))
	if line[1] == 'F' {
		r.state = replyDump
		return
	}
	p.endReply(proto.Whole)
	r.state = replyOver
}

// dumpLine takes the line before a dump.
func (p *Parser) dumpLine(b []byte, at clock.Mark) int {
	r := &p.replies
	if b[0] == '\n' && len(r.line) == 0 {
		r.reached(at, 1)
		return 1 // it isn't ready yet
	}
	const limit = len("$EOF:") + delimiterSize
	line, n, whole, cut := textLine(&r.line, b, limit)
	r.reached(at, n)
	if !whole {
		return n
	}
	if cut || len(line) == 0 || line[0] != '$' {
		p.malformed()
		return n
	}
	r.msg.Parts.First = at.After(n).Time
	p.dumpBegins(line)
	r.line = r.line[:0]
	return n
}

// dumpBegins begins the dump that a line announces.
func (p *Parser) dumpBegins(line []byte) {
	r := &p.replies
	if delimiter, ok := bytes.CutPrefix(line, []byte("$EOF:")); ok && len(delimiter) == delimiterSize {
		copy(r.dump.delimiter[:], delimiter)
		r.dump.tailLen, r.state = 0, dumpUntil
		return
	}
	n, ok := number(line[1:])
	if !ok || n < 0 || n > maxBulk {
		p.malformed()
		return
	}
	r.kind, r.remain, r.state = '$', n, dumpData
	p.dumpMoves(0)
}

// dumpMoves counts n bytes of a dump.
func (p *Parser) dumpMoves(n int64) {
	r := &p.replies
	r.msg.BodyBytes += n
	r.size += n
	if r.state == dumpData {
		if r.remain -= n; r.remain == 0 {
			p.dumpOver()
		}
	}
}

// dumpOver ends a dump, and with it what can be understood of the connection.
func (p *Parser) dumpOver() {
	p.itemOver()
	p.endReply(proto.Whole)
	p.replies.state = replyOver
}

// dumpBytes takes bytes of a dump.
func (p *Parser) dumpBytes(b []byte, at clock.Mark) int {
	r := &p.replies
	if r.state == dumpData {
		n := int(min(int64(len(b)), r.remain))
		r.reached(at, n)
		p.dumpMoves(int64(n))
		return n
	}
	d := &r.dump
	had := d.tailLen
	d.tailLen += copy(d.tail[had:], b[:min(len(b), delimiterSize)])
	end := -1
	if i := bytes.Index(d.tail[:d.tailLen], d.delimiter[:]); i >= 0 {
		end = i + delimiterSize - had
	} else if i := bytes.Index(b, d.delimiter[:]); i >= 0 {
		end = i + delimiterSize
	}
	if end >= 0 {
		r.reached(at, end)
		p.dumpMoves(int64(end))
		p.dumpOver()
		return end
	}
	if len(b) > delimiterSize {
		d.tailLen = copy(d.tail[:], b[len(b)-delimiterSize+1:])
	} else if over := d.tailLen - delimiterSize + 1; over > 0 {
		d.tailLen = copy(d.tail[:], d.tail[over:d.tailLen])
	}
	r.reached(at, len(b))
	p.dumpMoves(int64(len(b)))
	return len(b)
}
