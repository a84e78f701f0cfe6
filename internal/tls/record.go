package tls

import (
	"encoding/binary"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// protects reports whether records of that type are protected in a direction.
func (p *Parser) protects(d proto.Direction, typ byte) bool {
	if typ == typeData {
		return true
	}
	return p.version < tls13 && p.half[d].protected && typ != typeChange
}

// record takes a whole record.
func (p *Parser) record(d proto.Direction, rec []byte, segments []segment) {
	h := &p.half[d]
	typ, frag := rec[0], rec[headerSize:]
	first, last := segments[0].mark, segments[len(segments)-1].mark
	p.turn(d, first.Time, last.Time)
	switch {
	case typ == typeChange:
		p.change(d)
	case p.protects(d, typ):
		p.unseal(d, rec, segments)
	case typ == typeAlert:
		p.alert(d, frag, last)
	case typ == typeHandshake:
		p.handshake(d, frag, first, last)
	}
	s := &segments[len(segments)-1]
	h.note(s.mark.Offset + int64(len(rec)-s.at))
}

// unseal opens a record that is protected.
func (p *Parser) unseal(d proto.Direction, rec []byte, segments []segment) {
	h := &p.half[d]
	last := segments[len(segments)-1].mark
	if p.version == 0 && p.facts.EarlyData == offered && d == p.client || p.holdsEarly(d) {
		p.holdEarly(rec, segments)
		return
	}
	if p.suite == nil && p.facts.Retry {
		return // early data, which a HelloRetryRequest refuses (RFC 8446 §4.2.10)
	}
	if p.mode == following && !p.keyed(d) {
		switch {
		case p.mayCome():
			p.await(d, rec, segments)
			return
		default:
			p.blind(p.noKey())
			p.lose(last)
			p.tell()
		}
	}
	if p.mode == waiting {
		return
	}
	if p.mode == blind {
		p.unread(d, rec[0], len(rec)-headerSize, last)
		return
	}
	if h.opener == nil { // data before the change of keys: nobody's
		p.lostRecords(1)
		return
	}
	buf := p.engine.buffer()
	plain, typ, err := h.opener.Open(buf, h.seq, rec[0], binary.BigEndian.Uint16(rec[1:]), rec[headerSize:])
	if err != nil {
		p.engine.release(buf)
		switch {
		case h.opened && p.caughtUp(d, rec, segments):
		case h.opened:
			p.lostRecord(d, rec[0], len(rec)-headerSize, rec[headerSize:], last)
		case p.version >= tls13 && d == p.client && p.facts.EarlyData == rejected && !h.finished && h.passed < maxPassed:
			h.passed++ // early data that the server passes over, too (RFC 8446 §4.2.10)
		case p.later(d):
			p.unseal(d, rec, segments)
		case h.ahead && h.passed < maxPassed:
			h.passed++ // of an epoch whose keys aren't known
		default:
			p.blind("the key doesn't fit")
			p.lose(last)
			p.unread(d, rec[0], len(rec)-headerSize, last)
			p.tell()
		}
		return
	}
	h.seq++
	h.opened = true
	if h.ahead && !p.facts.Established {
		h.finished = h.finished || h.epoch == epochData // its Finished came before these keys
		p.established(last.Time)
	}
	p.opened(d, typ, plain, rec, segments)
	p.engine.release(plain)
}

// caughtUp opens a record whose number or keys aren't those expected, since the record before it was lost that would have told. It
// reports whether it could.
func (p *Parser) caughtUp(d proto.Direction, rec []byte, segments []segment) bool {
	buf := p.engine.buffer()
	plain, typ, skipped, ok := p.trial(d, buf, rec[0], binary.BigEndian.Uint16(rec[1:]), rec[headerSize:], segments[0].mark.Time)
	if !ok {
		p.engine.release(buf)
		return false
	}
	p.lostRecords(skipped)
	p.opened(d, typ, plain, rec, segments)
	p.engine.release(plain)
	return true
}

// opened takes the plaintext of a record. rec is the record as it came.
func (p *Parser) opened(d proto.Direction, typ byte, plain, rec []byte, segments []segment) {
	first, last := segments[0].mark, segments[len(segments)-1].mark
	if p.version >= tls13 {
		h := &p.half[d]
		n, _ := h.opener.Plain(len(rec) - headerSize)
		h.padded = h.padded || n != len(plain)
	}
	switch typ {
	case typeHandshake:
		p.handshake(d, plain, first, last)
	case typeAlert:
		p.alert(d, plain, last)
	case typeData:
		if p.version >= tls13 && p.half[d].epoch == epochHandshake {
			return // there is none under these keys
		}
		p.deliver(d, plain, len(rec)-headerSize-len(plain), segments)
	}
}

// deliver hands on plaintext, in as many pieces as segments carried it. overhead is what the record has beside it.
func (p *Parser) deliver(d proto.Direction, plain []byte, overhead int, segments []segment) {
	if len(plain) == 0 || p.mode == sated {
		return
	}
	if p.inner == nil {
		p.facts.Decrypted = true
		p.engine.Counters.Decrypted++
		p.tell()
		p.inner = p.nest(proto.Nested{Client: p.client, At: segments[0].mark, Hint: p.facts.ALPN})
		for i := range p.half {
			h := &p.half[i]
			if h.headless {
				p.lost(proto.Direction(i), proto.Unknown, segments[0].mark)
			}
			if h.ended.why != proto.Open {
				p.inner.Close(proto.Direction(i), h.ended.at, h.ended.why)
			}
		}
	}
	h := &p.half[d]
	// What comes before the plaintext: the header, and with TLS 1.2 the nonce, or with a block cipher the first block.
	lead := headerSize
	if p.version > tls10 && p.version < tls13 {
		lead += min(overhead/2, 16)
	}
	begin := 0
	for i := range segments {
		end := len(plain)
		if i+1 < len(segments) {
			end = min(max(segments[i+1].at-lead, 0), end)
		}
		if end <= begin {
			continue
		}
		at := segments[i].mark
		at.Offset, at.Peer = h.plain, p.half[d.Other()].plainAt(at.Peer)
		h.plain += int64(end - begin)
		if v := p.inner.Data(d, plain[begin:end], at); v.Action == proto.Stop {
			p.mode = sated
			return
		}
		begin = end
	}
}

// lose tells that nothing more will be read of what was read so far, since keys have changed.
func (p *Parser) lose(at clock.Mark) {
	if p.inner == nil {
		return
	}
	for d := range p.half {
		p.lost(proto.Direction(d), proto.Unknown, at)
	}
}

// leastFinished is less than the fragment of a Finished in TLS 1.3 has, and more than those of an alert and of the empty Certificate
// with which a client answers who asks for one that it doesn't have.
const leastFinished = 40

// looksLikeAlert reports whether a fragment of TLS 1.3 has the size of an alert without padding: two bytes, the type, and a tag of 16 or
// of 8 bytes (RFC 8446 §5.2). An empty Certificate has six more.
func looksLikeAlert(size int) bool { return size == 2+1+16 || size == 2+1+8 }

// unread notes a protected record that isn't opened, and the size of its fragment.
func (p *Parser) unread(d proto.Direction, typ byte, size int, at clock.Mark) {
	h := &p.half[d]
	p.turn(d, at.Time, at.Time)
	// What the client sends behind the server's Finished is its own, or tells that there will be none.
	short := p.version >= tls13 && d == p.client && !h.finished && p.half[d.Other()].finished && size < leastFinished
	switch {
	case !p.facts.Established && (typ == typeAlert || short && looksLikeAlert(size)):
		who := "client"
		if d != p.client {
			who = "server"
		}
		if p.facts.Failure == "" {
			p.facts.Failure = "TLS handshake failed: the " + who + " sent an alert that can't be read without keys"
			p.tell()
		}
		return
	case short:
		return
	case p.version >= tls13:
		h.finished = h.finished || d != p.client || p.half[d.Other()].finished
	case typ == typeHandshake, typ == typeData:
		h.finished = h.finished || h.protected || p.facts.Reason != ""
	}
	p.established(at.Time)
}

// established notes the end of the handshake, once both directions have come to theirs.
func (p *Parser) established(at int64) {
	if p.facts.Established || !p.half[0].finished || !p.half[1].finished {
		return
	}
	p.facts.Established, p.facts.Finished = true, at
	p.transcript, p.hashing = nil, false
	p.tell()
}

// turn notes who speaks during the handshake.
func (p *Parser) turn(d proto.Direction, first, last int64) {
	if p.facts.Established {
		return
	}
	switch {
	case !p.spoken:
		p.spoken = true
	case d != p.lastTurn:
		p.facts.TurnTime[d] += max(first-p.turnEnd, 0)
		p.facts.Turns[d]++
	}
	if d != p.client && p.facts.Answered == 0 {
		p.facts.Answered = first
	}
	p.lastTurn, p.turnEnd = d, last
}

// holdsEarly reports whether a direction's records must wait until the server has said whether it takes early data.
func (p *Parser) holdsEarly(d proto.Direction) bool {
	return d == p.client && p.version >= tls13 && p.facts.EarlyData == offered && p.mode == following
}

// holdEarly keeps a record of early data.
func (p *Parser) holdEarly(rec []byte, segments []segment) {
	h := &p.half[p.client]
	if len(h.early)+len(rec) > maxEarly {
		h.earlyLost = true
		return
	}
	for _, s := range segments {
		h.earlyAt = append(h.earlyAt, segment{len(h.early) + s.at, s.mark})
	}
	h.early = append(h.early, rec...)
}

// decideEarly deals with what was kept, once the server has said whether it takes early data.
func (p *Parser) decideEarly(taken bool) {
	if p.facts.EarlyData != offered {
		return
	}
	h := &p.half[p.client]
	p.facts.EarlyData = rejected
	early, at := h.early, h.earlyAt
	h.early, h.earlyAt = nil, nil
	if !taken {
		return
	}
	p.facts.EarlyData = accepted
	h.epoch, h.opener, h.seq = epochEarly, nil, 0
	for len(early) > 0 && !h.earlyLost && p.mode == following {
		size, _ := fragment(early)
		size += headerSize
		end := 1
		for end < len(at) && at[end].at < at[0].at+size {
			end++
		}
		marks := append([]segment(nil), at[:end]...)
		for i := range marks {
			marks[i].at -= at[0].at
		}
		p.unseal(p.client, early[:size], marks)
		early, at = early[size:], at[end:]
	}
	if p.mode == waiting {
		for i, s := range at {
			end := at[0].at + len(early)
			if i+1 < len(at) {
				end = at[i+1].at
			}
			b := early[s.at-at[0].at : end-at[0].at]
			p.keep(event{kind: data, d: p.client, at: s.mark, n: int64(len(b))}, b)
		}
	}
	if h.earlyLost {
		p.lost(p.client, proto.Unknown, clock.Mark{Peer: -1})
	}
}
