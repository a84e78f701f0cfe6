package fastcgi

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/cgi"
)

// stream is a request that is followed, with its answer.
type stream struct {
	id     uint16
	number uint64
	role   role
	half   [2]half
	// doubt: bytes of a direction are missing that may have been of the request.
	doubt [2]bool
	// buf collects a head, PARAMS or STDOUT, by direction, and scanned is how much of STDOUT holds no empty line. stderr is the
	// beginning of STDERR.
	buf     [2][]byte
	scanned int
	stderr  []byte
	// appStatus and status are what END_REQUEST says.
	appStatus uint32
	status    byte
}

// progress says how far a half has come.
type progress uint8

const (
	idle    progress = iota // nothing has come
	head                    // a head is being collected
	body                    // a message is under way, whose head was told
	givenUp                 // what follows isn't looked at
	done
)

// half is what one side sends of a request.
type half struct {
	progress progress
	m        proto.Message
	body     cgi.Body
	// holed: the message counts a missing byte for bytes that were lost.
	holed bool
	// unsure: it isn't known yet whether what came begins a message.
	unsure bool
}

// over reports whether nothing of a half will be looked at any more.
func (h *half) over() bool { return h.progress == done || h.progress == givenUp }

// grow notes that a message has n more bytes, which arrived by a mark and begin at an offset.
func (h *half) grow(at clock.Mark, offset int64, n int) {
	if n == 0 || h.progress != head && h.progress != body {
		return
	}
	m := &h.m
	m.Size += int64(n)
	if at.Time >= m.Last.Time {
		m.Last = at
	}
	m.Last.Offset = offset + int64(n-1)
}

// start begins a message with the record at hand.
func (s *side) start(st *stream, k proto.Kind) {
	h := &st.half[s.dir]
	h.m.Reset()
	h.m.Kind, h.m.Dir, h.m.Stream, h.m.First = k, s.dir, st.number, s.at
	h.m.Anomalies, s.odd = s.odd, 0
	h.progress = head
}

// add begins to follow a request. It returns nil when there are too many.
func (p *Parser) add(s *side, id uint16) *stream {
	if old := p.streams[id]; old != nil {
		p.supersede(old)
	}
	if len(p.streams) >= p.limits.MaxStreams {
		s.odd.Set(proto.StreamLimit)
		return nil
	}
	var st *stream
	if n := len(p.free); n > 0 {
		st, p.free = p.free[n-1], p.free[:n-1]
	} else {
		st = new(stream)
	}
	*p.held += streamCost
	p.number++
	st.id, st.number = id, p.number
	// What was lost of the other direction may have been of this request already.
	other := s.dir.Other()
	st.doubt[other] = p.sides[other].state == stateLost
	p.streams[id] = st
	return st
}

// follow returns the stream of the record at hand, nil when it isn't followed. An answer begins one, when its request wasn't seen.
func (p *Parser) follow(s *side) *stream {
	r := &s.rec
	st := p.streams[r.id]
	if s.dir == p.client {
		return st
	}
	speaks := r.kind == stdout && r.length > 0
	if st == nil && speaks {
		if st = p.add(s, r.id); st == nil {
			return nil
		}
		st.half[p.client].progress = done
		// Its beginning may have been missed with the request.
		st.doubt[s.dir] = true
	}
	if st == nil {
		return nil
	}
	if st.half[s.dir].progress == idle && !st.doubt[s.dir] && (speaks || r.kind == endRequest && p.waits(st)) {
		s.start(st, proto.Response)
	}
	return st
}

// waits reports whether a request was told of and surely not given up by the web server: then END_REQUEST alone is an answer too.
func (p *Parser) waits(st *stream) bool {
	asked := st.half[p.client].progress
	return (asked == body || asked == done) && !st.doubt[p.client]
}

// drop lets go of a stream on which nothing is open.
func (p *Parser) drop(st *stream) {
	if p.streams[st.id] == st {
		delete(p.streams, st.id)
	}
	for d := range p.sides {
		p.release(&st.buf[d])
		if p.sides[d].stream == st {
			p.sides[d].stream = nil
		}
	}
	p.release(&st.stderr)
	*p.held -= streamCost
	if len(p.free) == maxFree {
		return
	}
	fresh := stream{buf: st.buf, stderr: st.stderr}
	for d := range st.half {
		fresh.half[d].body = st.half[d].body
		fresh.half[d].m.Fields, fresh.half[d].m.Facts = st.half[d].m.Fields[:0], st.half[d].m.Facts[:0]
	}
	*st = fresh
	p.free = append(p.free, st)
}

// settle lets go of a stream when both its halves are over and nothing more is expected: the end of the answer was seen.
func (p *Parser) settle(st *stream) {
	if st.half[0].over() && st.half[1].over() && st.half[p.client.Other()].progress == done {
		p.drop(st)
	}
}

// supersede ends what is open of a request whose id is used again.
func (p *Parser) supersede(st *stream) {
	if answer := &st.half[p.client.Other()]; answer.progress == done {
		// The application has answered without waiting for the rest, which wasn't sent any more.
		p.abort(st, &proto.Abort{By: p.client.Other(), Name: "END_REQUEST", At: answer.m.Last})
		p.drop(st)
		return
	}
	p.giveUp(st)
}

// giveUp ends what is open of a request whose end can't be known.
func (p *Parser) giveUp(st *stream) {
	for d := range st.half {
		p.broken(st, proto.Direction(d))
	}
	p.drop(st)
}

// broken ends a half whose end can't be known.
func (p *Parser) broken(st *stream, d proto.Direction) {
	switch st.half[d].progress {
	case head:
		p.partial(st, d, proto.Broken, proto.Open)
	case body:
		p.end(st, d, proto.Broken, proto.Open)
	}
	st.half[d].progress = givenUp
}

// cut ends a half whose direction has ended.
func (p *Parser) cut(st *stream, d proto.Direction, why proto.CloseReason) {
	h := &st.half[d]
	switch {
	case h.progress == head:
		p.partial(st, d, proto.Cut, why)
	case h.progress == body && st.doubt[d]: // what ended it may be in the hole: nobody is to blame
		p.end(st, d, proto.Broken, proto.Open)
	case h.progress == body:
		p.end(st, d, proto.Cut, why)
	}
	h.progress = done
	p.settle(st)
}

// abort ends a request that was given up.
func (p *Parser) abort(st *stream, a *proto.Abort) {
	for _, d := range [...]proto.Direction{p.client, p.client.Other()} {
		h := &st.half[d]
		switch h.progress {
		case head:
			p.partial(st, d, proto.Cut, proto.StreamReset)
		case body:
			p.end(st, d, proto.Cut, proto.StreamReset)
		}
		if h.progress != done {
			h.progress = givenUp
		}
	}
	a.Stream = st.number
	p.sink.Abort(a)
}
