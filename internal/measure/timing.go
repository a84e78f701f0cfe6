// Package measure says where the time of an exchange went, and how the times of many are distributed.
package measure

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// Time fills x.Timing from the times of the packets. No part is negative but for -1, which means
// unknown.
//
// An exchange without a response has waited until the event that ended it: its wait and its duration run
// until then, so that a hung request is found by how long it hung. Where the other direction was never
// captured nobody knows how long it took, and neither is said.
//
// The causes of the phases are those of a Ledger, summed up by party.
func Time(x *exchange.Exchange) {
	phases(x)
	causes(x)
}

// phases fills all but the causes.
func phases(x *exchange.Exchange) {
	t := &x.Timing
	*t = exchange.UnknownTiming
	if x.TLS != nil && x.Index == 0 {
		handshake(x)
	}
	if !x.HasRequest && !x.HasResponse {
		bare(x)
		return
	}
	if x.Message != nil {
		message(x)
		return
	}
	if x.HasRequest {
		begin, end := x.Request.First.Time, x.Request.Last.Time
		answer := x.Completed.Time
		if x.HasResponse {
			answer = x.Response.First.Time
			t.Overlap = max(end-answer, 0)
		}
		t.Send = max(min(end, answer)-begin, 0)
		if x.HasResponse || x.Grade != exchange.OneSided {
			t.Wait = max(answer-begin-t.Send, 0)
			t.Duration = t.Send + t.Wait
		}
		if x.Index == 0 {
			connection(x, begin)
			greeted(x, begin)
		}
	}
	if x.HasResponse {
		t.Receive = max(x.Response.Last.Time-x.Response.First.Time, 0)
		if t.Duration >= 0 {
			t.Duration += t.Receive
		}
	}
	if t.Duration >= 0 {
		t.Total = t.Duration + max(t.Idle, 0) + max(t.Connect, 0) + max(t.TLS, 0)
	}
}

// bare times a record of a connection that holds no messages: from its first byte to what ended it.
func bare(x *exchange.Exchange) {
	t := &x.Timing
	t.Duration = max(x.Completed.Time-x.Start.Time, 0)
	connection(x, x.Start.Time)
	t.Total = t.Duration + max(t.Connect, 0)
}

// message times one message of a session: from its first byte to its last.
func message(x *exchange.Exchange) {
	m := &x.Response
	if x.Message.Dir == x.Client {
		m = &x.Request
	}
	x.Timing.Duration = max(m.Last.Time-m.First.Time, 0)
	x.Timing.Total = x.Timing.Duration
}

// handshake times the TLS handshake, and says who took the time. A side has taken its answers, less the round trip between
// it and the tap, where that is known; the rest is the network's.
func handshake(x *exchange.Exchange) {
	s, t := x.TLS, &x.Timing
	if s.Hello.Time == 0 || s.Finished == 0 {
		return
	}
	t.TLS = max(s.Finished-s.Hello.Time, 0)
	rtt := func(d proto.Direction) (int64, bool) {
		r := x.HandshakeRTT(d)
		return r, r > 0
	}
	client, knowsClient := rtt(x.Client)
	server, knowsServer := rtt(x.Server())
	if !knowsClient || !knowsServer {
		return
	}
	took := func(d proto.Direction, rtt int64) int64 {
		return min(max(s.TurnTime[d]-rtt*int64(s.Turns[d]), 0), t.TLS)
	}
	h := &t.Handshake
	h.Client, h.Server = took(s.Client, client), took(s.Client.Other(), server)
	h.Network = max(t.TLS-h.Client-h.Server, 0)
}

// greeted adds the wait for the greeting of a server that speaks first. The exchange then begins with the connection, and idle is what
// the client took to answer the greeting.
func greeted(x *exchange.Exchange, begin int64) {
	t, greeting, ready := &x.Timing, x.Request.Greeting, x.Conn.Ready
	if greeting == 0 || ready == 0 || greeting < ready || begin < greeting || t.Wait < 0 {
		return
	}
	waited := greeting - ready
	t.Wait += waited
	t.Duration += waited
	t.Idle = begin - greeting
	x.Start.Time = ready
}

// connection fills the parts before the first request of a connection.
func connection(x *exchange.Exchange, begin int64) {
	c, t := &x.Conn, &x.Timing
	if c.Ready == 0 {
		return
	}
	if c.SYN != 0 {
		t.Connect = max(c.Ready-c.SYN, 0)
	}
	ready := c.Ready
	if x.TLS != nil && x.TLS.Finished != 0 {
		ready = max(ready, x.TLS.Finished)
	}
	t.Idle = max(begin-ready, 0)
}
