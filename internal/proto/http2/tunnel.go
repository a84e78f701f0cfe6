package http2

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// keepEarly keeps bytes that a client sends after CONNECT, before the answer.
func (p *Parser) keepEarly(st *stream, b []byte, at clock.Mark) {
	if len(st.early) == 0 && st.lost == 0 {
		st.earlyAt = at
	}
	n := 0
	if st.lost == 0 {
		n = min(len(b), maxEarly-len(st.early))
	}
	p.keep(&st.early, b[:n])
	st.lost += int64(len(b) - n)
}

// refuse gives back what was kept: it is the body of a request that was answered like others.
func (p *Parser) refuse(st *stream) {
	h := &st.half[p.client]
	if h.state == open {
		if len(st.early) > 0 {
			p.body(h, st.early)
		}
		if st.lost > 0 {
			p.missing(h, st.lost)
		}
	}
	p.release(&st.early)
	st.lost = 0
}

// tunnel opens the tunnel that the head of a response has agreed to (RFC 9113 §8.5). fin: nothing follows from the server.
func (p *Parser) tunnel(s *side, st *stream, fin bool) {
	client, server := &st.half[p.client], &st.half[s.dir]
	server.m.Framing = proto.Tunnel
	if client.state == open {
		p.end(st, p.client, proto.Upgraded, proto.Open)
		client.state = tunneled
	}
	p.end(st, s.dir, proto.Upgraded, proto.Open)
	server.state = tunneled
	if p.nest != nil {
		st.tunnel = p.nest(proto.Nested{Stream: uint64(st.id), Hint: st.protocol})
	}
	if client.state == tunneled {
		if len(st.early) > 0 {
			p.carry(st, p.client, st.early, st.earlyAt)
		}
		if st.lost > 0 {
			p.carryGap(st, p.client, st.lost, s.latest)
		}
	} else {
		p.closeTunnel(st, p.client, s.latest, proto.Finished)
	}
	p.release(&st.early)
	if fin {
		p.finish(st, s.dir)
	}
}

// within returns a mark as it is in the tunnel, which has offsets of its own. What the bytes answer can't be told from
// acknowledgements, which are of the connection as a whole.
func (h *half) within(at clock.Mark) clock.Mark {
	at.Offset, at.Peer = h.sent, -1
	return at
}

// carry gives bytes to the tunnel.
func (p *Parser) carry(st *stream, d proto.Direction, b []byte, at clock.Mark) {
	h := &st.half[d]
	at = h.within(at)
	h.sent += int64(len(b))
	if st.tunnel == nil || st.stopped {
		return
	}
	if v := st.tunnel.Data(d, b, at); v.Action != proto.Continue {
		st.stopped = true
	}
}

// carryGap tells the tunnel of missing bytes.
func (p *Parser) carryGap(st *stream, d proto.Direction, n int64, at clock.Mark) {
	h := &st.half[d]
	at = h.within(at)
	h.sent += max(n, 0)
	if st.tunnel != nil && !st.stopped {
		st.tunnel.Gap(d, n, at)
	}
}

// closeTunnel tells the tunnel that a direction has ended.
func (p *Parser) closeTunnel(st *stream, d proto.Direction, at clock.Mark, why proto.CloseReason) {
	if st.tunnel != nil {
		st.tunnel.Close(d, st.half[d].within(at), why)
	}
}
