package exchange

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// follow notes when a request shows that the client doesn't wait for its answers: the one before it, which
// may be in a hole, has none, and the client has received nothing that may be it.
func (p *Pairer) follow(m *proto.Message) {
	peer, before := m.First.Peer, int64(-1)
	if n := len(p.pending); n > 0 && !p.pending[n-1].HasResponse {
		before = max(p.pending[n-1].Request.First.Peer, p.settled)
	} else if p.lost[p.client] && m.First.Offset > p.heard {
		before = p.settled
	}
	if 0 <= peer && peer <= before {
		p.pipelines = true
	}
}

// place says where the request that a response answers stands, seen from another.
type place uint8

// The places.
const (
	answersIt place = iota
	answersEarlier
	answersLater
	answersAny
)

// requestTimeout is the one status that servers send unasked.
const requestTimeout = 408

// compare says after a loss which request a response answers, seen from the ith pending one.
func (p *Pairer) compare(i int, m *proto.Message) place {
	x := p.pending[i]
	request, sent, received := &x.Request, x.Request.First.Peer, m.First.Peer
	if sent > m.First.Offset || received > 0 && received <= request.First.Offset {
		return answersEarlier
	}
	if p.pipelines {
		return answersAny
	}
	known := true // which requests were sent behind it
	if i+1 < len(p.pending) {
		next := p.pending[i+1].Request.First.Peer
		if 0 <= next && next <= m.First.Offset {
			return answersLater // its answer had been received when the next was sent
		}
		known = next >= 0
	}
	switch {
	case received >= 0 && (received <= request.Last.Offset+1 || request.End == proto.Unfinished):
		return answersIt // the server had received nothing behind it
	case x.expected == m.First.Offset:
		return answersIt
	case received >= 0:
		return answersLater
	case known && (!p.lost[p.client] || p.lostAt[p.client] < request.First.Offset):
		return answersIt
	}
	return answersAny
}

// found notes a sure pair: what was lost before it doesn't matter any more.
func (p *Pairer) found(x *Exchange, m *proto.Message) {
	if p.lostAt[p.client] < x.Request.First.Offset {
		p.lost[p.client] = false
	}
	if server := p.client.Other(); p.lostAt[server] < m.First.Offset {
		p.lost[server] = false
	}
}

// current returns the exchange of the message under way, nil when it was given up.
func (p *Pairer) current(m *proto.Message) *Exchange {
	switch m.Kind {
	case proto.Request:
		return p.sending
	case proto.Response:
		return p.answering
	}
	return nil
}

// match returns the pending request that a response answers, nil if it was never seen. See the type's
// theory.
func (p *Pairer) match(m *proto.Message) *Exchange {
	for {
		i := p.firstWaiting()
		if i == len(p.pending) {
			return nil
		}
		x := p.pending[i]
		if !p.lost[0] && !p.lost[1] {
			if m.Status == requestTimeout && m.First.Peer >= 0 && m.First.Peer <= x.Request.First.Offset {
				return nil // it crossed the request on its way (RFC 9110 §15.5.9)
			}
			return x
		}
		switch p.compare(i, m) {
		case answersIt:
			p.found(x, m)
			return x
		case answersEarlier:
			return nil
		case answersLater:
			x.Reason = "its response wasn't captured"
			x.lostResponse = true
			p.abandon(x, m.First)
		case answersAny:
			p.ambiguous(i, m.First)
			return nil
		}
	}
}

// ambiguous gives up the requests that a response may answer.
func (p *Pairer) ambiguous(first int, at clock.Mark) {
	for len(p.pending) > first && p.pending[first].Request.First.Peer <= at.Offset {
		x := p.pending[first]
		x.Anomalies.Set(proto.AmbiguousPairing)
		x.Reason = "lost bytes leave open which response answers it"
		x.lostResponse = true
		p.abandon(x, at)
	}
}
