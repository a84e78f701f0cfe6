package http2

import (
	"github.com/culprit-http/culprit/internal/proto"
)

// The settings that matter here, and what they are at first (RFC 9113 §6.5.2).
const (
	settingTableSize     = 1
	settingInitialWindow = 4
	settingMaxFrame      = 5

	startWindow = 65535
	startFrame  = 16384
)

// choices are the settings of a SETTINGS frame; -1 is one that it doesn't have.
type choices struct{ tableSize, window, frame int64 }

// unacked are the SETTINGS that one end has sent and the other hasn't acknowledged yet, in their order.
type unacked struct {
	list [maxUnacked]choices
	n    int
}

// flow is the flow control of what one direction sends (RFC 9113 §5.2), valid iff known: all of it was seen.
//
// The tap sees a window open before its sender may know, and sees the sender use it up after that. So a window that is
// used up at the tap is one that the sender has used up.
type flow struct {
	known bool
	// initial is the window that streams begin with.
	initial int64
	// connection is the window of the connection.
	connection stall
	// opening is when the connection's window was opened before its stall, in nanoseconds since 1970; openings counts them.
	opening  int64
	openings int
}

// stall is a window, and how long it was used up.
type stall struct {
	window int64
	// since is when it was used up, 0 when it isn't; from and to are the last stall that is over, in nanoseconds since 1970.
	since, from, to int64
	// counted are the openings of the connection's window that this half-stream has counted; last is when it sent bytes.
	counted int
	last    int64
}

func (f *flow) reset() {
	*f = flow{known: true, initial: startWindow, connection: stall{window: startWindow}}
}

// open makes a window larger, or smaller. It reports whether a stall is over.
func (w *stall) open(n, at int64) bool {
	w.window += n
	if w.since == 0 || w.window <= 0 {
		return false
	}
	w.from, w.to, w.since = w.since, max(at, w.since), 0
	return true
}

// spend takes n bytes out of the windows that a DATA frame needs, and counts how long its message was stalled.
func (p *Parser) spend(s *side, st *stream, n int) {
	f := &s.flow
	if !f.known || n == 0 {
		return
	}
	f.connection.window -= int64(n)
	exceeded := f.connection.window < 0
	if st != nil {
		h := &st.half[s.dir]
		w := &h.stall
		if h.state == open {
			h.stalled(f)
		}
		w.window -= int64(n)
		exceeded = exceeded || w.window < 0
	}
	if exceeded && p.sides[s.dir.Other()].unacked.n == 0 {
		s.odd.Set(proto.WindowExceeded)
	}
	if exceeded {
		f.known = false
	}
}

// stalled adds to a message the stalls that are over, now that it goes on: those of its stream, and of the connection if it
// had sent since that had been opened before.
func (h *half) stalled(f *flow) {
	m, w := &h.m, &h.stall
	from, to := w.from, w.to
	w.from, w.to = 0, 0
	if c := &f.connection; f.openings != w.counted {
		w.counted = f.openings
		if w.last > 0 && w.last >= f.opening && c.to > c.from {
			switch {
			case to == 0 || c.to < from || to < c.from:
				m.Stalled += c.to - c.from
				m.Stalls++
			default:
				from, to = min(from, c.from), max(to, c.to)
			}
		}
	}
	if to > 0 {
		m.Stalled += to - from
		m.Stalls++
	}
}

// flowed ends a DATA frame of a stream: its windows may be used up.
func (p *Parser) flowed(s *side, st *stream) {
	f := &s.flow
	if !f.known || s.f.length == 0 {
		return
	}
	now := s.latest.Time
	w := &st.half[s.dir].stall
	w.last = now
	if w.window == 0 {
		w.since = now
	}
	if f.connection.window == 0 {
		f.connection.since = now
	}
}

// widen takes a WINDOW_UPDATE (RFC 9113 §6.9), which lets the other direction send more.
func (p *Parser) widen(s *side, n int64) {
	other := &p.sides[s.dir.Other()]
	f := &other.flow
	s.nothing(n == 0)
	if !f.known {
		return
	}
	if s.f.stream == 0 {
		before := f.connection.to
		if f.connection.open(n, s.latest.Time) {
			f.opening = before
			f.openings++
		}
		return
	}
	if st := p.streams[s.f.stream]; st != nil {
		st.half[other.dir].stall.open(n, s.latest.Time)
	}
}

// settings takes a SETTINGS frame (RFC 9113 §6.5). What it allows to the other direction holds when that has acknowledged it.
func (p *Parser) settings(s *side, b []byte) {
	other := &p.sides[s.dir.Other()]
	if s.f.has(ack) {
		p.acknowledged(s, other)
		return
	}
	c := choices{-1, -1, -1}
	for ; len(b) >= 6; b = b[6:] {
		v := int64(be32(b[2:]))
		switch int(b[0])<<8 | int(b[1]) {
		case settingTableSize:
			c.tableSize = v
		case settingInitialWindow:
			c.window = v
		case settingMaxFrame:
			c.frame = v
		}
	}
	if s.unacked.n == maxUnacked {
		// More than a peer leaves unacknowledged: which of them holds can't be told.
		s.odd.Set(proto.FloodOfFrames)
		s.unacked.n = 0
		other.flow.known, other.maxFrame, other.table.allowed = false, 0, 0
		return
	}
	s.unacked.list[s.unacked.n] = c
	s.unacked.n++
	// Until then, what it allows and what was allowed before may both be used.
	if other.maxFrame > 0 {
		other.maxFrame = max(other.maxFrame, int(c.frame))
	}
	if other.table.allowed > 0 {
		other.table.allowed = max(other.table.allowed, int(c.tableSize))
	}
}

// acknowledged takes the acknowledgement, by s, of the first SETTINGS that the other end has sent.
func (p *Parser) acknowledged(s, other *side) {
	u := &other.unacked
	if u.n == 0 {
		return
	}
	c := u.list[0]
	u.n--
	copy(u.list[:], u.list[1:])
	if c.window >= 0 {
		delta := c.window - s.flow.initial
		s.flow.initial = c.window
		for st := p.oldest; st != nil; st = st.next {
			st.half[s.dir].stall.open(delta, s.latest.Time)
		}
	}
	if u.n == 0 && c.frame > 0 && s.maxFrame > 0 {
		s.maxFrame = max(int(c.frame), startFrame)
	}
	if u.n == 0 && c.tableSize > 0 && s.table.allowed > 0 {
		s.table.allowed = int(c.tableSize)
	}
}
