// Package blame says who made an exchange slow, or fail, how much of its time that took, how sure that is, and by which facts.
//
// # Theory of operation
//
//	             failed?  --yes--> the first rule of failures that holds --------------------------+
//	Judge --+                                                                                      |
//	        +--> no: its time by cause (measure.Ledger) -> each rule of delays takes the causes    |
//	             that it explains -> those too short to matter are left out -> summed by party     |
//	             -> the party with the largest sum; its largest rule is the situation              |
//	                                                                                               v
//	                                          sure enough? -- no --> unclear, and why <---- confidence
//
// The rules of delays take the ledger apart: every nanosecond is explained by at most one rule, so that what the parties are blamed for never adds up to more
// than what the exchange took. docs/blame.md has the rules, with what each wants to see; a test holds it against the tables here.
//
// A verdict is made of numbers alone: the texts are exchange's (Why, Proofs).
package blame

import (
	"net/netip"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// What matters, in nanoseconds.
const (
	// WorkFloor is the least time of an application, or of a path, that is worth a verdict: below it people don't notice (Miller 1968, Nielsen
	// 1993).
	WorkFloor = int64(100e6)
	// StallFloor is the least time that was lost for nothing that is: the shortest delayed acknowledgement takes twice as long.
	StallFloor = int64(20e6)
	// leastShare is the least part of an exchange's time that is worth a verdict, as a divisor.
	leastShare = 10
	// Patience is how long a client waits before the silence is the server's fault rather than its haste.
	Patience = int64(1e9)
)

// MinConfidence is the least confidence of a verdict that names somebody. Below it, it is unclear.
const MinConfidence = 0.5

// Host is what the kernel of the machine knows, where the capture is made on it.
type Host interface {
	// Overflowed reports whether the accept queue of a listener overflowed in the second around a time, in nanoseconds since 1970
	// (ListenOverflows, ListenDrops). It must not block.
	Overflowed(listener netip.AddrPort, at int64) bool
}

// Court judges one exchange after the other, for one goroutine.
type Court struct {
	// Host is what the kernel knows, nil: nothing.
	Host  Host
	trial trial
}

// Judge sets x.Blame, by what the exchange alone shows. Its Timing must be known. It allocates nothing.
//
// What was seen from one side only, or couldn't be read, isn't judged, nor are sessions, messages that nobody answers, and flows, but for
// connections that failed. Of streams, whose time says nothing, only failures are.
func (t *Court) Judge(x *exchange.Exchange) {
	if plain(x) {
		return
	}
	c := &t.trial
	c.x, c.host, c.flags, c.failure, c.delay = x, t.Host, 0, nil, nil
	if mayHaveFailed(x) && c.failed() {
		return
	}
	if c.busy = busy(x); c.busy >= StallFloor && !x.Stream {
		c.delayed()
	}
	if x.Blame.Who == exchange.Unjudged {
		acquit(x)
	}
	c.x = nil
}

// plain judges an exchange that needs no trial: one that isn't judged, or that neither failed nor took any time. It reports whether it was such.
func plain(x *exchange.Exchange) bool {
	x.Blame = exchange.Blame{}
	if !judged(x) {
		return true
	}
	if mayHaveFailed(x) || busy(x) >= StallFloor && !x.Stream {
		return false
	}
	acquit(x)
	return true
}

// acquit says that nobody is to blame.
func acquit(x *exchange.Exchange) { x.Blame.Who, x.Blame.Confidence = exchange.Nobody, 1 }

// busy returns what an exchange took, without what its client left its new connection idle; of a response alone, that.
func busy(x *exchange.Exchange) int64 {
	if busy := x.Timing.Busy(); busy >= 0 {
		return busy
	}
	return max(x.Timing.Receive, 0)
}

// trial is an exchange that is being judged.
type trial struct {
	x    *exchange.Exchange
	host Host
	// l is its ledger, once it was needed.
	l measure.Ledger
	// busy is its time without what its client left its new connection idle.
	busy  int64
	flags condition
	// failure or delay is the rule that decided.
	failure *failure
	delay   *delay
}

// judged reports whether an exchange is judged at all.
func judged(x *exchange.Exchange) bool {
	switch {
	case x.Grade == exchange.OneSided, x.Grade == exchange.Undecryptable, x.Message != nil:
		return false
	case x.Recorded() && !x.RecordedByServer():
		return false // where the times were taken isn't known
	case x.Period != nil:
		return x.Grade == exchange.Aborted || x.Grade == exchange.Unanswered
	case x.HasRequest && x.Request.OneWay, x.HasResponse && x.Response.OneWay, x.HasRequest && x.Request.Kind == proto.Event:
		return false
	}
	return x.HasRequest || x.HasResponse || x.TLS != nil && x.Grade == exchange.Aborted
}

// mayHaveFailed reports whether the rules of failures need to be asked.
func mayHaveFailed(x *exchange.Exchange) bool {
	return x.Grade == exchange.Aborted || x.Grade == exchange.Unanswered || x.Failed() || x.Anomalies.Has(proto.ClosedBeforeAnswer)
}

// failed looks for the rule that says whose failure it was.
func (c *trial) failed() bool {
	c.l.Take(c.x)
	for i := range failures {
		r := &failures[i]
		if !r.holds(c) {
			continue
		}
		c.failure = r
		b := &c.x.Blame
		b.Who, b.Situation, b.Confidence, b.Failed = r.who, r.situation, r.confidence, true
		r.prove(c, b)
		c.settle(b)
		return true
	}
	return false
}

// settle names nobody where the confidence doesn't carry.
func (c *trial) settle(b *exchange.Blame) {
	if c.x.MissingBytes > 0 || c.x.Grade == exchange.Gap {
		doubt(b, 0.7, exchange.Evidence{Sentence: exchange.SaysMissing})
	}
	if b.Confidence >= MinConfidence {
		return
	}
	b.Who = exchange.Unclear
	// The reason is the last that was said.
	if b.N > 1 {
		last := b.Evidence[b.N-1]
		copy(b.Evidence[1:b.N], b.Evidence[:b.N-1])
		b.Evidence[0] = last
	}
}

// say adds a fact to a verdict, if there is room.
func say(b *exchange.Blame, e exchange.Evidence) {
	if int(b.N) < len(b.Evidence) {
		b.Evidence[b.N] = e
		b.N++
	}
}

// doubt makes a verdict less sure, and says why, if need be in the place of the weakest fact.
func doubt(b *exchange.Blame, factor float64, why exchange.Evidence) {
	b.Confidence *= factor
	if int(b.N) == len(b.Evidence) {
		b.N--
	}
	say(b, why)
}

// networkOf returns the party that is the network on an end's side of the tap.
func networkOf(x *exchange.Exchange, end proto.Direction) exchange.Who {
	if end == x.Client {
		return exchange.ByClientNetwork
	}
	return exchange.ByServerNetwork
}

// listener returns the address that was connected to.
func (c *trial) listener() netip.AddrPort {
	f := c.x.Flow
	if f == nil || f.Proto != packet.ProtoTCP {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(f.Addr[proto.Responder].Netip(), f.Port[proto.Responder])
}

// overflowed asks the host about the accept queue at a time.
func (c *trial) overflowed(at int64) bool {
	if c.host == nil || at == 0 {
		return false
	}
	to := c.listener()
	return to.IsValid() && c.host.Overflowed(to, at)
}

// acknowledged returns when the server had acknowledged the whole request, after its last byte, as far as that was seen on its own.
func (c *trial) acknowledged() (after int64, ok bool) {
	x := c.x
	at := x.Acked.Time
	if at == 0 && !x.HasResponse {
		at = x.Conn.Half[x.Client].AllAcked.Time
	}
	if at == 0 || at < x.Request.Last.Time {
		return 0, false
	}
	return at - x.Request.Last.Time, true
}
