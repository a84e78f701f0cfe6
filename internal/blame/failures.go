package blame

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// failure is a rule about what went wrong. The first that holds gives the verdict.
type failure struct {
	situation  exchange.Situation
	who        exchange.Who
	confidence float64
	// when says what the rule wants to see, for docs/blame.md.
	when  string
	holds func(c *trial) bool
	// prove adds the facts, and says more exactly who it was, where that depends on them.
	prove func(c *trial, b *exchange.Blame)
}

// failures are the rules about failures, the more special ones first.
var failures = []failure{
	{exchange.ConnectionRefused, exchange.ByServer, 0.98,
		"a SYN is answered with a reset, or the server's own host says by ICMP that nobody listens",
		refused, proveRefused},
	{exchange.Unreachable, exchange.ByServerNetwork, 0.95,
		"a router says by ICMP that packets don't get there",
		unreachable, proveICMP},
	{exchange.AcceptQueueFull, exchange.ByServer, 0.95,
		"no SYN is answered, and the host says that the accept queue of that listener overflowed",
		func(c *trial) bool { return silentSYN(c) && c.overflowed(c.x.Conn.SYN) }, proveSilentSYN},
	{exchange.Unreachable, exchange.ByServerNetwork, 0.6,
		"no SYN is answered: the path, a filter on it, a host that is gone or a full accept queue look alike from here",
		silentSYN, proveSilentSYN},
	{exchange.ClientGaveUp, exchange.ByClient, 0.6,
		"the client leaves a connection on which it asked nothing, after a second at least",
		func(c *trial) bool { return c.x.Period != nil && c.x.Conn.By == c.x.Client && c.x.Conn.Ready != 0 }, proveLeftIdle},
	{exchange.TLSFailed, exchange.ByServer, 0.9,
		"the handshake fails by an alert or a close; the server's fault where its certificate is out of its time, else unclear",
		tlsFailed, proveTLSFailed},
	{exchange.KeepAliveRace, exchange.ByProtocol, 0.95,
		"the request gets no answer, and the server had closed the connection before it can have had it (RFC 9112 §9.3.1), or says so (GOAWAY, REFUSED_STREAM)",
		raced, proveRace},
	{exchange.ServerTimeout, exchange.ByClient, 0.8,
		"status 408: the request took the client too long",
		func(c *trial) bool { return c.verdictOfStatus() == requestTimeout }, proveStatus},
	{exchange.EarlyResponse, exchange.ByServer, 0.95,
		"an answer with an error, or before a close, began before the request had ended",
		early, proveEarly},
	{exchange.BlackHole, exchange.ByServerNetwork, 0.9,
		"it had no answer, and its full-size segments, or those of the answer, never came through",
		func(c *trial) bool { return !whole(c) && longest(c.x, proto.BlackHole, nil) != nil }, proveFailedHole},
	{exchange.ClientGaveUp, exchange.ByClient, 0.9,
		"the client closes the connection or gives up the stream before the answer is whole; the server's fault where the client had waited for a second or more, and the request had arrived",
		gaveUp, proveGaveUp},
	{exchange.ServerTimeout, exchange.ByClient, 0.8,
		"the server closes without an answer, and the client hadn't gone on with its request for a while",
		func(c *trial) bool { return cutByServer(c) && stoppedSending(c) }, proveStopped},
	{exchange.ResetMidResponse, exchange.ByServer, 0.9,
		"the server resets or closes the connection, or gives up the stream, before the answer is whole, or before it begins",
		cutByServer, proveCut},
	{exchange.Unreachable, exchange.ByDNS, 0.7,
		"a question to a resolver has no answer: the resolver and the way to it look alike",
		func(c *trial) bool {
			return c.x.Protocol == "dns" && !c.x.HasResponse && c.x.Grade == exchange.Unanswered && c.x.Conn.Why == proto.TimedOut
		}, proveNoAnswerDNS},
	{exchange.ServerTimeout, exchange.ByUpstream, 0.8,
		"status 504, or gRPC's DEADLINE_EXCEEDED: who answered gave up waiting for another",
		func(c *trial) bool { return c.verdictOfStatus() == gatewayTimeout }, proveStatus},
	{exchange.FailedHop, exchange.ByUpstream, 0.8,
		"status 502: who answered says that another one failed",
		func(c *trial) bool { return c.verdictOfStatus() == badGateway }, proveStatus},
	{exchange.ServerError, exchange.ByDNS, 0.85,
		"a resolver answers with SERVFAIL, REFUSED or the like",
		func(c *trial) bool { return c.x.Family == exchange.Names && c.verdictOfStatus() == serverFault }, proveStatus},
	{exchange.ServerError, exchange.ByServer, 0.9,
		"any other status from 500 on, a status of gRPC that means the same, or an error of a database that isn't about the statement",
		func(c *trial) bool { return c.verdictOfStatus() == serverFault }, proveStatus},
	{exchange.ClientError, exchange.ByClient, 0.8,
		"any other status from 400 on (RFC 9110 §15.5), a status of gRPC that means the same, an error of a database about the statement, NXDOMAIN",
		func(c *trial) bool { return c.verdictOfStatus() == clientFault }, proveStatus},
}

// whole reports whether the answer is.
func whole(c *trial) bool { return c.x.HasResponse && c.x.Response.End != proto.Cut }

// isRefusal and isHard tell errors of ICMP by type and code (RFC 792, RFC 4443): nobody listens; packets don't get there.
func isRefusal(e *proto.ICMPError) bool {
	if e.V6 {
		return e.Type == 1 && e.Code == 4
	}
	return e.Type == 3 && (e.Code == 2 || e.Code == 3)
}

func isHard(e *proto.ICMPError) bool {
	if e.V6 {
		return e.Type == 1 || e.Type == 3 || e.Type == 4
	}
	return e.Type == 3 && e.Code != 4 || e.Type == 11 || e.Type == 12
}

// killedByICMP reports whether an ICMP error about what the client sent ended the exchange.
func killedByICMP(c *trial) bool {
	x := c.x
	e := &x.Conn.Error
	return !x.HasResponse && x.Conn.Errors > 0 && isHard(e) && e.Of == x.Client && e.At.Time >= x.Start.Time &&
		x.Conn.Half[x.Server()].Last <= e.At.Time
}

// silentServer reports whether the server answered no SYN.
func silentServer(c *trial) bool {
	x := c.x
	f := &x.Conn
	return !x.HasRequest && !x.HasResponse && f.SYN != 0 && f.SYNACK == 0 && f.Half[x.Client].Packets <= uint64(f.SYNs)
}

func refused(c *trial) bool {
	x := c.x
	if killedByICMP(c) {
		return isRefusal(&x.Conn.Error) && x.Flow != nil && x.Conn.Error.From == x.Flow.Addr[x.Server()]
	}
	return silentServer(c) && x.Conn.Why == proto.Reset && x.Conn.By == x.Server()
}

func proveRefused(c *trial, b *exchange.Blame) {
	f := &c.x.Conn
	if killedByICMP(c) {
		proveICMP(c, b)
		return
	}
	say(b, exchange.Evidence{Sentence: exchange.SaysRefused, Of: c.x.Server(), Time: max(f.Closed.Time-f.SYN, 0), Last: f.Closed.Packet})
}

func unreachable(c *trial) bool { return killedByICMP(c) }

func proveICMP(c *trial, b *exchange.Blame) {
	e := &c.x.Conn.Error
	say(b, exchange.Evidence{Sentence: exchange.SaysICMP, Of: e.Of, Last: e.At.Packet})
	b.Time = max(e.At.Time-c.x.Start.Time, 0)
}

func silentSYN(c *trial) bool {
	return silentServer(c) && c.x.Conn.Half[c.x.Server()].Packets == 0
}

func proveSilentSYN(c *trial, b *exchange.Blame) {
	x := c.x
	b.Time = max(x.Completed.Time-x.Start.Time, 0)
	if b.Situation == exchange.AcceptQueueFull {
		say(b, exchange.Evidence{Sentence: exchange.SaysOverflow})
	}
	say(b, exchange.Evidence{Sentence: exchange.SaysNoSYNACK, Time: b.Time, Number: int64(x.Conn.SYNs)})
}

func proveLeftIdle(c *trial, b *exchange.Blame) {
	f := &c.x.Conn
	b.Time = max(f.Closed.Time-f.Ready, 0)
	say(b, exchange.Evidence{Sentence: exchange.SaysLeft, Time: b.Time, Last: f.Closed.Packet})
}

func tlsFailed(c *trial) bool {
	x := c.x
	return x.TLS != nil && x.Grade == exchange.Aborted && !x.HasRequest && !x.HasResponse && !x.TLS.Established
}

// proveTLSFailed tells whose fault it was only where the certificates show it: an alert tells who was displeased, not who is right.
func proveTLSFailed(c *trial, b *exchange.Blame) {
	x := c.x
	if x.TLS.Failure != "" {
		say(b, exchange.Evidence{Sentence: exchange.SaysHandshakeFailed})
	} else {
		c.sayClosed(b)
	}
	if chain := x.TLS.ServerChain; len(chain) > 0 && !chain[0].Malformed {
		if at := x.Completed.Time; at < chain[0].NotBefore || at > chain[0].NotAfter {
			return
		}
	}
	doubt(b, 0.4, exchange.Evidence{Sentence: exchange.SaysUnsure})
}

// raced reports whether the server had closed before it can have had the request: what passed the tap up to a round trip behind the
// request was sent before it arrived.
func raced(c *trial) bool {
	x := c.x
	if !x.HasRequest || x.HasResponse {
		return false
	}
	if a := x.Abort; a != nil {
		return a.By == x.Server() && (a.GoAway || a.Name == "REFUSED_STREAM")
	}
	ended := x.Conn.Half[x.Server()].Ended
	if ended == 0 || x.Conn.Why == proto.Finished && x.Conn.By == x.Client {
		return false
	}
	if ended < x.Request.First.Time+c.l.RTT[1] {
		return true
	}
	// A FIN acknowledges what had arrived: with bytes that nobody had read the kernel sends a reset in its place.
	return (x.Conn.Why == proto.Finished || ended < x.Conn.Closed.Time) && x.Conn.Half[x.Client].Acked <= x.Request.First.Offset
}

func proveRace(c *trial, b *exchange.Blame) {
	x := c.x
	if x.Abort != nil {
		say(b, exchange.Evidence{Sentence: exchange.SaysNotWorkedOn, Last: x.Abort.At.Packet})
		return
	}
	e := exchange.Evidence{Sentence: exchange.SaysClosedBefore, Of: x.Server(), First: x.Request.First.Packet}
	if e.Time = x.Request.First.Time - x.Conn.Half[x.Server()].Ended; e.Time < 0 {
		e.Sentence, e.Time, e.Number = exchange.SaysClosedMeanwhile, -e.Time, c.l.RTT[1]
		if e.Time >= e.Number {
			e.Sentence = exchange.SaysClosedUnread
		}
	}
	say(b, e)
}

func early(c *trial) bool {
	x := c.x
	if !x.HasResponse || !x.Anomalies.Has(proto.EarlyResponse) {
		return false
	}
	return x.Failed() || x.Request.End == proto.Cut && x.Request.Close != proto.StreamReset && x.Conn.By == x.Server()
}

func proveEarly(c *trial, b *exchange.Blame) {
	x := c.x
	f := &x.Conn
	say(b, exchange.Evidence{Sentence: exchange.SaysEarly, Of: x.Server(), Last: x.Response.First.Packet})
	if x.Timing.Overlap > 0 {
		say(b, exchange.Evidence{Sentence: exchange.SaysWentOn, Time: x.Timing.Overlap})
	}
	if f.Why != proto.Reset || f.By != x.Server() || x.Request.End != proto.Cut {
		return
	}
	// Where the FIN came first, the socket is in CLOSE-WAIT when the reset comes.
	e := exchange.Evidence{Sentence: exchange.SaysECONNRESET, Of: x.Server(), Last: f.Closed.Packet}
	if ended := f.Half[x.Server()].Ended; ended != 0 && ended < f.Closed.Time {
		e.Sentence = exchange.SaysEPIPE
	}
	say(b, e)
}

func proveFailedHole(c *trial, b *exchange.Blame) {
	e := longest(c.x, proto.BlackHole, nil)
	b.Who = lossyNetwork(c.x, e)
	b.Time = e.Held
	say(b, exchange.Evidence{Sentence: exchange.SaysOpenHole, Of: e.Of, Time: e.Held, Number: e.Bytes, First: e.First, Last: e.Last})
	c.sayMTU(b)
}

// gaveUp reports whether the client left before the answer was whole.
func gaveUp(c *trial) bool {
	x := c.x
	switch {
	case !x.HasRequest:
		return false
	case whole(c):
		return leftBefore(x) > 0
	case x.Abort != nil:
		return x.Abort.By == x.Client
	case x.HasResponse && x.Response.End == proto.Cut && x.Response.Close == proto.StreamReset:
		return false
	}
	return (x.Conn.Why == proto.Finished || x.Conn.Why == proto.Reset) && x.Conn.By == x.Client
}

// leftBefore returns how long the client had waited when it closed its side, though an answer came later, 0 where it didn't, or closed it at once to say
// that it sends no more.
func leftBefore(x *exchange.Exchange) int64 {
	if waited := x.Conn.Half[x.Client].Ended - x.Request.Last.Time; x.Anomalies.Has(proto.ClosedBeforeAnswer) && waited >= WorkFloor {
		return waited
	}
	return 0
}

func proveGaveUp(c *trial, b *exchange.Blame) {
	x := c.x
	left := x.Conn.Closed
	if waited := leftBefore(x); waited > 0 {
		left.Time = x.Request.Last.Time + waited
	}
	if x.Abort != nil {
		left = x.Abort.At
	}
	waited := max(left.Time-x.Request.Last.Time, 0)
	b.Time = waited
	if x.HasResponse && !whole(c) {
		c.sayClosed(b)
		say(b, exchange.Evidence{Sentence: exchange.SaysPartOfResponse})
		b.Time = max(left.Time-x.Request.First.Time, 0)
		return
	}
	say(b, exchange.Evidence{Sentence: exchange.SaysLeft, Of: x.Client, Time: waited, Last: left.Packet})
	if x.Request.End != proto.Whole || waited < Patience {
		return
	}
	b.Who = exchange.ByServer
	c.saySilence(b, waited)
}

// saySilence says that the server had the request and didn't answer it.
func (c *trial) saySilence(b *exchange.Blame, silent int64) {
	x := c.x
	e := exchange.Evidence{Sentence: exchange.SaysSilent, Of: x.Server(), Time: silent, First: x.Request.Last.Packet}
	after, acked := c.acknowledged()
	if acked && after <= c.l.RTT[1]+lateAck {
		e.Sentence, e.Number = exchange.SaysSilentAcked, after
	}
	say(b, e)
	if x.Flow != nil && x.Flow.Proto != packet.ProtoTCP || x.HasResponse && x.Acked.Time == 0 || x.Recorded() {
		return // there are no acknowledgements, or the answer was it
	}
	switch {
	case x.Conn.Half[x.Client].Acked <= x.Request.Last.Offset:
		doubt(b, 0.5, exchange.Evidence{Sentence: exchange.SaysUnacknowledged})
	case e.Sentence != exchange.SaysSilentAcked && x.During[x.Client].Retransmits > 0:
		// It was acknowledged with something later, such as the client's FIN; that it had come again says that it hadn't been before.
		doubt(b, 0.5, exchange.Evidence{Sentence: exchange.SaysLateAck, Time: after})
	}
}

// cutByServer reports whether the server left before its answer was whole.
func cutByServer(c *trial) bool {
	x := c.x
	if !x.HasRequest && !x.HasResponse || whole(c) {
		return false
	}
	if a := x.Abort; a != nil {
		return a.By == x.Server()
	}
	return (x.Conn.Why == proto.Finished || x.Conn.Why == proto.Reset) && x.Conn.By == x.Server()
}

// stoppedSending reports whether the client had stopped in the middle of its request, with room to go on.
func stoppedSending(c *trial) bool {
	x := c.x
	if x.Abort != nil || x.HasResponse || x.Request.End == proto.Whole {
		return false
	}
	server := &x.Conn.Half[x.Server()]
	return x.Conn.Closed.Time-x.Request.Last.Time >= WorkFloor && server.Window > 0 && x.Conn.Half[x.Client].Acked > 0
}

func proveStopped(c *trial, b *exchange.Blame) {
	x := c.x
	b.Time = max(x.Conn.Closed.Time-x.Request.Last.Time, 0)
	say(b, exchange.Evidence{Sentence: exchange.SaysStopped, Of: x.Client, Time: b.Time, First: x.Request.Last.Packet, Last: x.Conn.Closed.Packet})
}

func proveCut(c *trial, b *exchange.Blame) {
	c.sayClosed(b)
	if c.x.HasResponse {
		say(b, exchange.Evidence{Sentence: exchange.SaysPartOfResponse})
	}
}

// sayClosed says who closed, and how.
func (c *trial) sayClosed(b *exchange.Blame) {
	x := c.x
	at, sentence, by := x.Conn.Closed, exchange.SaysReset, x.Conn.By
	switch {
	case x.Abort != nil:
		at, sentence, by = x.Abort.At, exchange.SaysGivenUp, x.Abort.By
	case x.Conn.Why == proto.Finished:
		sentence = exchange.SaysClosed
	}
	e := exchange.Evidence{Sentence: sentence, Of: by, Time: max(at.Time-x.Start.Time, 0), First: x.FirstPacket, Last: at.Packet}
	if x.HasRequest {
		e.Time, e.First = max(at.Time-x.Request.Last.Time, 0), x.Request.Last.Packet
	}
	say(b, e)
}

func proveNoAnswerDNS(c *trial, b *exchange.Blame) {
	x := c.x
	b.Time = max(x.Completed.Time-x.Start.Time, 0)
	e := exchange.Evidence{Sentence: exchange.SaysNoAnswerDNS, Time: b.Time, Number: int64(x.Retries) + 1, First: x.FirstPacket}
	if b.Time == 0 {
		e.Sentence = exchange.SaysAskedInVain // the flow ends with its last datagram
	}
	say(b, e)
}

func proveStatus(c *trial, b *exchange.Blame) {
	x := c.x
	e := exchange.Evidence{Sentence: exchange.SaysStatus, Of: x.Server(), Last: x.Response.First.Packet}
	if x.Family != exchange.HTTP || x.Response.Status < 400 {
		e.Sentence = exchange.SaysError
	}
	say(b, e)
	if b.Situation == exchange.ServerTimeout {
		b.Time = max(x.Timing.Wait, 0)
		if b.Who == exchange.ByClient {
			b.Time = max(x.Timing.Send, 0)
		} else if x.HasRequest {
			c.saySilence(b, b.Time)
		}
	}
}
