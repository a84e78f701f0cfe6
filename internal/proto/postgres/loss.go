package postgres

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// When bytes are missing it isn't known where the next message begins, nor, when they were the client's, what is asked for, nor,
// when they were the server's, which answers they held.
//
//   - The client's messages are found again where a segment consists of whole messages, one of which asks for something, each
//     checked as far as it can be.
//   - The server's are found again behind a segment that ends with ReadyForQuery, as long as one answer is waited for at a time; and
//     where an answer begins of which the client, when it asked, had received all before.
//   - A client that waits for each answer has had all of them when it asks again. That it waits is taken for granted until it is
//     seen not to. Where it doesn't, and its bytes or the server's are missing, the connection is adrift: requests are still
//     emitted, and no response is. It is until the client, having received all that was sent, the last of it a ReadyForQuery, has
//     been silent for a second (pause) before it asks again. That it asks then proves nothing alone: a client that keeps two
//     requests under way asks after each ReadyForQuery, too.
//   - What was asked since may have been answered in what is skipped: the sink is told.
//   - The client's lost bytes may have made any name another statement's: none is known until it is made anew.

// lose gives up a direction until it is found again.
func (p *Parser) lose(d proto.Direction, at clock.Mark) {
	h := &p.halves[d]
	h.lost, h.open, h.headLen = true, false, 0
	if d == p.client {
		p.holed, p.hasAsked, p.askedSize = true, false, 0
		p.request.group.open = false
		p.names.doubt()
		if p.phase == phaseStartup {
			p.phase = phaseTyped
		}
		if p.request.copying {
			p.endCopy(proto.Broken)
		}
	} else {
		if p.answer.open {
			p.endAnswer(proto.Broken)
		}
		if p.request.copying {
			p.request.asked = true // as far as anyone can tell
		}
	}
	p.idle = false
	p.sink.Lost(d, at)
	if d != p.client {
		p.untold = false
	}
	if p.pipelines {
		p.drift(at)
	}
}

// drift gives up to know which answer belongs to which request.
func (p *Parser) drift(at clock.Mark) {
	if p.adrift {
		return
	}
	p.adrift, p.due = true, -1
	p.forget()
	if server := p.client.Other(); !p.halves[server].lost {
		p.lose(server, at)
	}
}

// regain looks whether messages surely begin with a segment of a lost direction, or behind it. It returns how much of the segment is
// to be skipped.
func (p *Parser) regain(d proto.Direction, b []byte, at clock.Mark) (skip int, ok bool) {
	h := &p.halves[d]
	if d == p.client {
		if match, _ := resumeClient(b); match != proto.Yes {
			return 0, false
		}
		h.lost = false
		p.phase = phaseTyped
		p.skipping = false
		return 0, true
	}
	least := 1
	if p.joined || p.adrift {
		least = 3
	}
	switch {
	case at.Offset == p.due && beginsAnswer(b, least) && p.answers(b):
		h.lost, p.joined, p.adrift, p.idle, p.due = false, false, false, false, -1
		return 0, true
	case endsReady(b) && !p.adrift:
		p.forget()
		h.lost, p.joined, p.due = false, false, -1
		ok = true
	}
	p.tell(at)
	p.idle, p.idleAt = endsReady(b), at.Time
	return len(b), ok
}

// answers reports whether a segment may begin with the answer to what was asked last.
func (p *Parser) answers(b []byte) bool {
	e := p.first()
	if e == nil || e.over || e.silent {
		return false
	}
	r := &p.request
	switch text := bytes.TrimRight(r.raw[r.msg.Target.Off:][:r.msg.Target.Len], "; \n"); {
	case !e.simple:
		return b[0] == 'E' || b[0] == e.begins
	case bytes.IndexByte(text, ';') >= 0:
		return false // it may be that of the second of several statements
	case b[0] != 'C':
		return true
	}
	// It says what was done, which with rows comes behind them.
	tag, _, _ := word(b[5:])
	verb, _, _ := bytes.Cut(tag, space)
	switch string(verb) {
	case "SELECT", "FETCH", "COPY":
		return false
	}
	return is(r.msg.Method, r.raw, string(verb))
}

var space = []byte(" ")

// tell says that answers are skipped, if any is waited for that may be among them.
func (p *Parser) tell(at clock.Mark) {
	if p.untold {
		p.untold = false
		p.sink.Lost(p.client.Other(), at)
	}
}

// follow takes note that something is asked, before it is known what: where the server's messages are lost that may tell where they
// are found.
func (p *Parser) follow() {
	last, first := p.last(), p.request.msg.First
	if last != nil && !last.ready {
		return // it belongs to what was asked before
	}
	lost := p.halves[p.client.Other()].lost
	switch {
	case lost && !p.pipelines && (last == nil || first.Peer < 0 || first.Peer > last.peer):
		// Who asks again has had the answer.
		p.forget()
		p.due = first.Peer
	case lost:
		p.pipelines = true
		p.drift(first)
		p.forget()
		p.due = -1
		if p.idle && first.Time-p.idleAt >= pause {
			p.due = first.Peer
		}
	case last != nil:
		p.pipelines = true
	}
	p.idle = false
}

const readySize = 6

// endsReady reports whether a segment ends with ReadyForQuery.
func endsReady(b []byte) bool {
	if len(b) < readySize {
		return false
	}
	b = b[len(b)-readySize:]
	return string(b[:5]) == "Z\x00\x00\x00\x05" && state(b[5]) != ""
}

// walk counts the whole messages of a side with which a segment begins; rest is what is left of it. ok: all are as they should be,
// and what is left may be the beginning of one.
func walk(client bool, b []byte) (n int, rest []byte, ok bool) {
	for len(b) >= 5 {
		length := int64(int32(order.Uint32(b[1:]))) - 4
		if !sane(client, b[0], length) {
			return n, b, false
		}
		if int64(len(b)-5) < length {
			return n, b, true
		}
		if !whole(client, b[0], b[5:5+length]) {
			return n, b, false
		}
		n++
		b = b[5+length:]
	}
	return n, b, len(b) == 0 || client && clientKinds[b[0]].known || !client && serverKinds[b[0]].known
}

// Resume implements proto.Protocol.
func Resume(b []byte) (proto.Match, proto.Role) {
	if match, role := resumeClient(b); match == proto.Yes {
		return match, role
	}
	if beginsAnswer(b, 3) {
		return proto.Yes, proto.Server
	}
	return proto.No, proto.AnyRole
}

// resumeClient reports whether a segment consists of whole messages of a client's that ask for something.
func resumeClient(b []byte) (proto.Match, proto.Role) {
	if len(b) < 6 || b[0] != 'Q' && b[0] != 'P' && b[0] != 'B' {
		return proto.No, proto.AnyRole
	}
	switch {
	case b[0] == 'Q' && !isStatement(b[5:]), b[0] == 'B' && !bindsNamed(b[5:]):
		return proto.No, proto.AnyRole
	}
	n, rest, ok := walk(true, b)
	if !ok || n == 0 || len(rest) > 0 || b[0] == 'B' && n == 1 {
		return proto.No, proto.AnyRole
	}
	return proto.Yes, proto.Client
}

// bindsNamed reports whether a Bind is for a statement with a name: one without has come before, and may belong to the request.
func bindsNamed(b []byte) bool {
	_, b, ok := word(b)
	return ok && len(b) > 0 && b[0] != 0
}

// isStatement reports whether a text begins as a statement does.
func isStatement(text []byte) bool {
	text = skipBlank(text)
	return len(text) > 1 && isLetter(text[0])
}

// beginsAnswer reports whether a segment begins with an answer: with what only an answer begins with, and at least so many messages
// in all, of which ReadyForQuery at its end counts twice.
func beginsAnswer(b []byte, least int) bool {
	if len(b) < 5 {
		return false
	}
	switch b[0] {
	case '1', '2', 'T', 'C', 'I', 't', 'E':
	default:
		return false
	}
	n, _, ok := walk(false, b)
	return ok && (n >= least || n+1 >= least && endsReady(b))
}
