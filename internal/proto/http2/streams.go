package http2

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/proto/framed"
)

// streamCost is about what a stream's state takes, in bytes; it counts as held, also while the stream waits to be used again.
const streamCost = 1 << 10

// stream is a stream that is followed: from its first frame until both of its halves are over.
type stream struct {
	id         uint32
	half       [2]half
	prev, next *stream
	// answers is the kind of the request, when it was seen.
	answers proto.Answers
	// tunnel takes the bytes of what a CONNECT has opened, unless it has stopped; protocol is what the request calls it. early are those that came before, lost how many of them weren't kept.
	tunnel   proto.Parser
	stopped  bool
	protocol string
	early    []byte
	earlyAt  clock.Mark
	lost     int64
}

// progress says how far a half-stream has come.
type progress uint8

const (
	idle     progress = iota // nothing has come
	open                     // a message is under way
	tunneled                 // what follows belongs to the tunnel
	givenUp                  // what follows isn't looked at
	done
)

// half is what one side sends on a stream.
type half struct {
	state progress
	m     proto.Message
	// doubt: bytes were lost that may have been the half's, at a time. holed: the message counts a missing byte for that.
	doubt, holed bool
	doubtAt      int64
	// parts counts the messages of the body, of which partsHeld bytes count as held. counting: the body has them.
	parts     *framed.Counter
	counting  bool
	partsHeld int
	// sent counts the bytes given to the tunnel.
	sent int64
	// stall tells of the half's flow control.
	stall stall
}

// over reports whether nothing of a half will be looked at any more.
func (h *half) over() bool { return h.state == done || h.state == givenUp }

// numbers are the numbers of the streams that one end has opened. They only grow (RFC 9113 §5.1.1).
type numbers struct {
	highest uint32
	// Numbers between after and before were left out: they may be those of streams whose beginning was missed.
	after, before uint32
}

// saw notes a number.
func (n *numbers) saw(id uint32) {
	if id <= n.highest {
		return
	}
	if id > n.highest+2 {
		if n.before == 0 {
			n.after = n.highest
		}
		n.before = id
	}
	n.highest = id
}

// passed reports whether the stream of that number isn't a new one.
func (n *numbers) passed(id uint32) bool {
	return id <= n.highest && (id <= n.after || id >= n.before)
}

// opener returns the end that opens streams of that number.
func (p *Parser) opener(id uint32) proto.Direction {
	if id&1 == 1 {
		return p.client
	}
	return p.client.Other()
}

// open begins to follow a stream, of which s has sent the first frame. It returns nil when there are too many.
func (p *Parser) open(id uint32, s *side) *stream {
	p.opened[p.opener(id)].saw(id)
	if len(p.streams) >= p.limits.MaxStreams && !p.makeRoom() {
		if s != nil {
			s.odd.Set(proto.StreamLimit)
		}
		return nil
	}
	var st *stream
	if n := len(p.free); n > 0 {
		st, p.free[n-1] = p.free[n-1], nil
		p.free = p.free[:n-1]
	} else {
		st = new(stream)
		*p.held += streamCost
	}
	st.id = id
	for d := range st.half {
		h := &st.half[d]
		h.m.Dir, h.m.Stream = proto.Direction(d), uint64(id)
		h.stall.window = p.sides[d].flow.initial
		if other := &p.sides[d]; other != s && other.state == stateLost {
			h.doubt, h.doubtAt = true, other.latest.Time // it may be in the hole
		}
	}
	if st.prev = p.newest; st.prev != nil {
		st.prev.next = st
	} else {
		p.oldest = st
	}
	p.newest = st
	p.streams[id] = st
	return st
}

// makeRoom lets go of the oldest stream whose end may have been lost.
func (p *Parser) makeRoom() bool {
	for st := p.oldest; st != nil; st = st.next {
		for d := range st.half {
			if st.half[d].doubt && !st.half[d].over() {
				p.giveUp(st)
				return true
			}
		}
	}
	return false
}

// giveUp ends what is open on a stream whose end can't be known.
func (p *Parser) giveUp(st *stream) {
	for d := range st.half {
		switch st.half[d].state {
		case open:
			p.end(st, proto.Direction(d), proto.Broken, proto.Open)
		case tunneled:
			p.closeTunnel(st, proto.Direction(d), p.sides[d].latest, proto.StreamReset)
		}
	}
	p.drop(st)
}

// drop lets go of a stream on which nothing is open.
func (p *Parser) drop(st *stream) {
	delete(p.streams, st.id)
	p.release(&st.early)
	if st.prev != nil {
		st.prev.next = st.next
	} else {
		p.oldest = st.next
	}
	if st.next != nil {
		st.next.prev = st.prev
	} else {
		p.newest = st.prev
	}
	for d := range p.sides {
		if p.sides[d].stream == st {
			p.sides[d].stream = nil
		}
	}
	if len(p.free) == maxFree {
		*p.held -= streamCost
		return
	}
	early, parts := st.early, [2]*framed.Counter{st.half[0].parts, st.half[1].parts}
	*st = stream{early: early}
	for d := range st.half {
		st.half[d].parts = parts[d]
	}
	p.free = append(p.free, st)
}

// settle lets go of a stream when both its halves are over.
func (p *Parser) settle(st *stream) {
	if st.half[0].over() && st.half[1].over() {
		p.drop(st)
	}
}

// finish takes the end of a half-stream (END_STREAM).
func (p *Parser) finish(st *stream, d proto.Direction) {
	h := &st.half[d]
	switch h.state {
	case open:
		p.end(st, d, proto.Whole, proto.Open)
	case tunneled:
		p.closeTunnel(st, d, p.sides[d].latest, proto.Finished)
	}
	h.state = done
	p.settle(st)
}

// ended takes the end of a direction, which is that of all its half-streams.
func (p *Parser) ended(st *stream, d proto.Direction, at clock.Mark, why proto.CloseReason) {
	h := &st.half[d]
	switch h.state {
	case open:
		if h.doubt { // what ended it may be in the hole: nobody is to blame
			p.end(st, d, proto.Broken, proto.Open)
			break
		}
		p.end(st, d, proto.Cut, why)
	case tunneled:
		p.closeTunnel(st, d, at, why)
	}
	h.state = done
	p.settle(st)
}

// reset takes a RST_STREAM (RFC 9113 §6.4).
func (p *Parser) reset(s *side, code uint32) {
	st := p.streams[s.f.stream]
	if st == nil {
		s.nothing(true)
		return
	}
	if s.dir == p.client && st.half[p.client.Other()].state == idle {
		if p.resets++; p.resets > maxResets {
			s.odd.Set(proto.FloodOfFrames)
		}
	}
	p.abort(st, &proto.Abort{By: s.dir, Code: code, Name: errorName(code), At: s.at})
}

// abort ends a stream that was given up.
func (p *Parser) abort(st *stream, a *proto.Abort) {
	for _, d := range [...]proto.Direction{p.client, p.client.Other()} {
		switch st.half[d].state {
		case open:
			p.end(st, d, proto.Cut, proto.StreamReset)
		case tunneled:
			p.closeTunnel(st, d, a.At, proto.StreamReset)
		}
	}
	a.Stream = uint64(st.id)
	p.sink.Abort(a)
	p.recent[p.nextRecent] = st.id
	p.nextRecent = (p.nextRecent + 1) % maxRecent
	p.drop(st)
}

// departure is a GOAWAY (RFC 9113 §6.8).
type departure struct {
	// last is the highest stream of the other end that was worked on, or may have been.
	last uint32
	code uint32
}

// depart takes a GOAWAY.
func (p *Parser) depart(s *side, last, code uint32) {
	s.nothing(true)
	gone := &p.goneAway[s.dir]
	gone.last, gone.code = min(gone.last, last), code
	for st := p.oldest; st != nil; {
		next := st.next
		p.leave(st, s.dir, s.at)
		st = next
	}
}

// leave gives up a stream that the end that has sent a GOAWAY won't work on.
func (p *Parser) leave(st *stream, by proto.Direction, at clock.Mark) {
	if gone := p.goneAway[by]; st.id > gone.last && p.opener(st.id) == by.Other() {
		p.abort(st, &proto.Abort{By: by, Code: gone.code, Name: errorName(gone.code), GoAway: true, At: at})
	}
}
