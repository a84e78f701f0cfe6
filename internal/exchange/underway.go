package exchange

import (
	"iter"
	"slices"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// State says how far an exchange has come that is under way.
type State uint8

// The states of an exchange under way.
const (
	// Sending: the request isn't complete, and no response has begun, or that is over.
	Sending State = iota
	// Waiting: the request is complete, and no response has begun.
	Waiting
	// Receiving: the response has begun.
	Receiving
	// Streaming: likewise, and it goes on as long as there is news.
	Streaming
	numStates
)

var stateNames = [numStates]string{"sending", "waiting", "receiving", "stream"}

func (s State) String() string { return stateNames[s] }

// UnderWay yields the exchanges that have begun and aren't finished, in no order. An exchange begins when the head
// of its first message is complete. Those yielded are the engine's: see Snapshot.
func (e *Engine) UnderWay() iter.Seq[*Exchange] {
	return func(yield func(*Exchange) bool) {
		for _, q := range [...]*queue{&e.waiting, &e.announced, &e.answered} {
			for x := q.head; x != nil; x = x.next {
				if !yield(x) {
					return
				}
			}
		}
	}
}

// Footprint returns how many bytes a snapshot of an exchange takes, estimated.
func (x *Exchange) Footprint() int {
	return size + footprint(&x.Request) + footprint(&x.Response)
}

// Size returns how many bytes an exchange is estimated to take, with what is kept of bodies.
func (x *Exchange) Size() int {
	return x.Footprint() + len(x.RequestBody.raw) + len(x.ResponseBody.raw)
}

// Snapshot copies what is known of an exchange under way, but for its bodies, and says how far it has come. at is the
// mark of the last packet. Sizes and marks are those of what came so far; the grade is that of what was seen so far,
// Unanswered without a response.
func (x *Exchange) Snapshot(at clock.Mark) (*Exchange, State) {
	c := x.snapshot(at)
	c.Interim = slices.Clone(x.Interim)
	if m := x.underWay[proto.Request]; m != nil {
		c.Request.Progress(m)
	}
	if c.HasRequest {
		c.Anomalies |= c.Request.Anomalies
		c.MissingBytes += c.Request.MissingBytes
	}
	if c.HasResponse = x.HasResponse; c.HasResponse {
		c.Response.CopyFrom(&x.Response)
		if m := x.underWay[proto.Response]; m != nil {
			c.Response.Progress(m)
		}
		c.Anomalies |= c.Response.Anomalies
		c.MissingBytes += c.Response.MissingBytes
		c.Stream = isStream(&c.Response)
		c.Grade = Complete
	}
	l := x.pairer.link()
	c.TLS, c.Conn = x.pairer.secured(), *l.facts
	c.Conn.Episodes = nil
	c.witness(l.facts.Episodes)
	for d := range c.During {
		c.During[d] = counts(&l.facts.Half[d])
		c.During[d].subtract(&x.before[d])
	}
	if c.Recorded() {
		c.forgetWire()
	}
	switch {
	case !c.HasRequest && c.Recorded():
		c.gradeRecorded(x.pairer.losses(x))
	case !c.HasRequest:
		c.gradeResponseOnly(x.pairer.losses(x))
	case c.HasResponse && c.MissingBytes > 0:
		c.Grade = Gap
	}
	return c, c.state()
}

// state says how far a copy has come.
func (x *Exchange) state() State {
	switch {
	case x.HasResponse && x.Response.End == proto.Unfinished && x.Stream:
		return Streaming
	case x.HasResponse && x.Response.End == proto.Unfinished:
		return Receiving
	case x.HasRequest && x.Request.End == proto.Unfinished:
		return Sending
	}
	return Waiting
}
