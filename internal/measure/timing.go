// Package measure says where the time of an exchange went, and how the times of many are distributed.
package measure

import "github.com/culprit-http/culprit/internal/exchange"

// Time fills x.Timing from the times of the packets. No part is negative but for -1, which means
// unknown.
//
// An exchange without a response has waited until the event that ended it: its wait and its duration run
// until then, so that a hung request is found by how long it hung. Where the other direction was never
// captured nobody knows how long it took, and neither is said.
func Time(x *exchange.Exchange) {
	t := &x.Timing
	*t = exchange.UnknownTiming
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

// connection fills the parts before the first request of a connection.
func connection(x *exchange.Exchange, begin int64) {
	c, t := &x.Conn, &x.Timing
	if c.Ready == 0 {
		return
	}
	if c.SYN != 0 {
		t.Connect = max(c.Ready-c.SYN, 0)
	}
	t.Idle = max(begin-c.Ready, 0)
}
