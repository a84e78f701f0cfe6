package blame

import (
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// condition is a set of what must be so for a rule of delays.
type condition uint8

const (
	// shared: other streams took more of the connection than the exchange.
	shared condition = 1 << iota
	// pipelined: answers before its own were outstanding when the request was sent.
	pipelined
	// clientShut and serverShut: the receive window of that side was closed, or full for longer than round trips explain.
	clientShut
	serverShut
	// overflow: the server's accept queue was full.
	overflow
	// atServer: the tap is so near the server that there is hardly a network between them.
	atServer
	// resent: the SYN was sent again before the SYN+ACK came.
	resent
)

// delay is a rule about what took time. It takes the causes of the ledger that no rule before it took.
type delay struct {
	situation  exchange.Situation
	who        exchange.Who
	confidence float64
	// floor is the least time that matters, in nanoseconds.
	floor int64
	needs condition
	takes []taking
	// when says what the rule wants to see, for docs/blame.md.
	when  string
	prove func(c *trial, b *exchange.Blame, took int64)
}

// taking is a cause in some parts of an exchange.
type taking struct {
	cause measure.Cause
	in    parts
}

// parts is a set of rows of a ledger.
type parts uint8

const (
	connect  = parts(1) << exchange.PhaseConnect
	send     = parts(1) << exchange.PhaseSend
	wait     = parts(1) << exchange.PhaseWait
	receive  = parts(1) << exchange.PhaseReceive
	inTLS    = parts(1) << measure.TLS
	messages = send | wait | receive
	anywhere = connect | messages | inTLS
)

// The rules that take no cause: they are about what kind of exchange it is.
const (
	lookup = iota
	redirect
)

// delays are the rules about time, the more special ones first.
var delays = [...]delay{
	lookup: {exchange.SlowDNS, exchange.ByDNS, 0.9, WorkFloor, 0, nil,
		"the exchange is a question to a resolver: the resolver and the way to it look alike", proveLookup},
	redirect: {exchange.Redirected, exchange.ByServer, 0.85, StallFloor, 0, nil,
		"nothing else is to blame, and the answer to a GET or HEAD is a redirect (RFC 9110 §15.4): all of its time was for being sent elsewhere", proveRedirect},
	{exchange.AcceptQueueFull, exchange.ByServer, 0.95, StallFloor, overflow, []taking{{measure.ServerLoss, connect | messages | inTLS}},
		"SYNs came again while the host's accept queue overflowed, or the SYN+ACK came again though the handshake's ACK and data had passed", proveAcceptQueue},
	{exchange.AcceptQueueFull, exchange.ByServer, 0.7, StallFloor, atServer | resent, []taking{{measure.ServerLoss, connect | messages}},
		"the SYN, or what followed the handshake, had to be sent again, and the tap is at the server, so that hardly anything but that can have lost it", proveSYN},
	{exchange.SYNLost, exchange.ByServerNetwork, 0.6, StallFloor, resent, []taking{{measure.ServerLoss, connect | send | wait}},
		"the SYN had to be sent again before the SYN+ACK came, with what followed it, if that was lost, too: a loss and a full accept queue look alike from here", proveSYN},
	{exchange.SYNLost, exchange.ByServerNetwork, 0.6, StallFloor, 0, []taking{{measure.ServerLoss, connect}},
		"the SYN was answered a second or more later than a round trip takes: the first SYN+ACK was lost before the tap", proveLateSYNACK},
	{exchange.SYNLost, exchange.ByClientNetwork, 0.85, StallFloor, 0, []taking{{measure.ClientLoss, connect}},
		"the SYN+ACK passed, and had to be sent again", proveSYNACK},
	{exchange.BlackHole, exchange.ByClientNetwork, 0.9, StallFloor, 0, []taking{{measure.ClientHole, anywhere}},
		"full-size segments didn't come through between the tap and the client, smaller ones did (RFC 2923 §2.1)", proveHole},
	{exchange.BlackHole, exchange.ByServerNetwork, 0.9, StallFloor, 0, []taking{{measure.ServerHole, anywhere}},
		"the same between the tap and the server", proveHole},
	{exchange.HeadOfLine, exchange.ByProtocol, 0.7, StallFloor, shared, []taking{
		{measure.ClientLoss, wait | receive}, {measure.ServerLoss, wait | receive}, {measure.ClientPath, wait | receive}, {measure.ServerPath, wait | receive}},
		"losses or the path's rate held a connection up on which other streams took more than this one", proveShared},
	{exchange.LossClientSide, exchange.ByClientNetwork, 0.9, StallFloor, 0, []taking{{measure.ClientLoss, anywhere}},
		"segments were lost between the client and the tap, and came again", proveLoss},
	{exchange.LossServerSide, exchange.ByServerNetwork, 0.9, StallFloor, 0, []taking{{measure.ServerLoss, anywhere}},
		"the same between the tap and the server", proveLoss},
	{exchange.SlowReader, exchange.ByClient, 0.95, StallFloor, clientShut, []taking{{measure.ClientWindow, anywhere}},
		"the client's receive window was closed, or full for more than two round trips at a time", proveWindow},
	{exchange.SlowReader, exchange.ByServer, 0.95, StallFloor, serverShut, []taking{{measure.ServerWindow, anywhere}},
		"the same of the server's", proveWindow},
	{exchange.SmallWindow, exchange.ByClient, 0.85, StallFloor, 0, []taking{{measure.ClientWindow, anywhere}},
		"the client's receive window was full again and again for about a round trip: it holds less than the path does", proveWindow},
	{exchange.SmallWindow, exchange.ByServer, 0.85, StallFloor, 0, []taking{{measure.ServerWindow, anywhere}},
		"the same of the server's", proveWindow},
	{exchange.DelayedAckStall, exchange.ByProtocol, 0.9, StallFloor, 0, []taking{{measure.ClientAck, anywhere}, {measure.ServerAck, anywhere}},
		"a small segment waited until an acknowledgement that was delayed came (RFC 896 with RFC 1122 §4.2.3.2)", proveNagle},
	{exchange.FlowControlStall, exchange.ByClient, 0.9, StallFloor, 0, []taking{{measure.ClientFlow, anywhere}},
		"the server had a response to send, and the client's flow-control window was closed (RFC 9113 §5.2)", proveFlow},
	{exchange.FlowControlStall, exchange.ByServer, 0.9, StallFloor, 0, []taking{{measure.ServerFlow, anywhere}},
		"the same of a request and the server's", proveFlow},
	{exchange.PipelinedBehind, exchange.ByProtocol, 0.75, WorkFloor, pipelined, []taking{{measure.ServerWork, wait}},
		"answers before its own were outstanding when the request was sent on a connection that has answers in order (RFC 9112 §9.3.2)", provePipelined},
	{exchange.SlowTLS, exchange.ByClient, 0.8, WorkFloor, 0, []taking{{measure.ClientWork, inTLS}},
		"the client took long for its part of the TLS handshake", proveTLS},
	{exchange.SlowTLS, exchange.ByServer, 0.8, WorkFloor, 0, []taking{{measure.ServerWork, inTLS}},
		"the server took long for its part of the TLS handshake", proveTLS},
	{exchange.SlowTLS, exchange.ByClientNetwork, 0.8, WorkFloor, 0, []taking{{measure.ClientPath, inTLS}},
		"the round trips of the TLS handshake, between the client and the tap", proveTLS},
	{exchange.SlowTLS, exchange.ByServerNetwork, 0.8, WorkFloor, 0, []taking{{measure.ServerPath, inTLS}},
		"the round trips of the TLS handshake, between the tap and the server", proveTLS},
	{exchange.SlowSender, exchange.ByClient, 0.9, WorkFloor, 0, []taking{{measure.ClientWork, connect | messages}},
		"the client had room to send, and nothing to send", proveSender},
	{exchange.SlowApplication, exchange.ByServer, 0.95, WorkFloor, 0, []taking{{measure.ServerWork, connect | messages}},
		"the server had the request and took its time for the answer, or for the rest of it", proveApplication},
	{exchange.SlowPath, exchange.ByClientNetwork, 0.8, WorkFloor, 0, []taking{{measure.ClientPath, connect | messages}},
		"round trips between the client and the tap, or what the path takes at a time", provePath},
	{exchange.SlowPath, exchange.ByServerNetwork, 0.8, WorkFloor, 0, []taking{{measure.ServerPath, connect | messages}},
		"the same between the tap and the server", provePath},
}

// delayed blames the party with the largest avoidable share of the time.
func (c *trial) delayed() {
	x, b := c.x, &c.x.Blame
	if x.Family == exchange.Names {
		if took := x.Timing.Wait; took >= WorkFloor && x.HasResponse && x.Protocol == "dns" {
			c.accuse(&delays[lookup], took, took, 0)
		}
		return
	}
	c.l.Take(x)
	c.look()
	left := c.l.Rows
	if x.Recorded() {
		keepWait(&left)
	}
	var took [len(delays)]int64
	var by [exchange.NumWho]int64
	for i := range delays {
		r := &delays[i]
		if r.needs&^c.flags != 0 {
			continue
		}
		for _, t := range r.takes {
			for row := range left {
				if t.in&(1<<row) != 0 {
					took[i] += left[row][t.cause]
					left[row][t.cause] = 0
				}
			}
		}
		if took[i] < r.floor || took[i] < c.busy/leastShare {
			took[i] = 0
		}
		by[r.who] += took[i]
	}
	who, second := exchange.Unjudged, int64(0)
	for w := range exchange.NumWho {
		switch {
		case by[w] > by[who]:
			second = by[who]
			who = w
		case by[w] > second && w != who:
			second = by[w]
		}
	}
	if x.Recorded() && c.unknown(by[who]) {
		return
	}
	if by[who] == 0 {
		if isRedirect(x) {
			c.accuse(&delays[redirect], c.busy, c.busy, 0)
		}
		return
	}
	main := -1
	for i := range delays {
		if delays[i].who == who && took[i] > 0 && (main < 0 || took[i] > took[main]) {
			main = i
		}
	}
	c.accuse(&delays[main], took[main], by[who], second)
	// What else the party did, if there is room.
	sure := b.Confidence
	for i := range delays {
		if r := &delays[i]; i != main && r.who == who && took[i] > 0 && b.Who == who && int(b.N) < len(b.Evidence) {
			r.prove(c, b, took[i])
		}
	}
	b.Confidence = sure // of the main thing
}

// keepWait leaves of the time of an exchange that its server recorded what the server took for sure: from having read the request to writing
// the response. Whether the client, the network or the server held up the rest doesn't show there.
func keepWait(rows *[measure.Rows][measure.Causes]int64) {
	took := rows[exchange.PhaseWait][measure.ServerWork]
	*rows = [measure.Rows][measure.Causes]int64{}
	rows[exchange.PhaseWait][measure.ServerWork] = took
}

// unknown says that it can't be known who made an exchange slow that its server recorded, where more of its time than what the server took for
// sure went into sending and receiving. It reports whether it did.
func (c *trial) unknown(sure int64) bool {
	x, b := c.x, &c.x.Blame
	moved := max(x.Timing.Send, 0) + max(x.Timing.Receive, 0)
	if moved < WorkFloor || moved <= sure {
		return false
	}
	b.Who, b.Situation, b.Confidence, b.Time = exchange.Unclear, exchange.NoSituation, 0, moved
	say(b, exchange.Evidence{Sentence: exchange.SaysRecorded, Of: x.Server()})
	return true
}

// nearly is how near the second party's share may come to the first's before the order is in doubt, as a part of the first.
const nearly = 0.9

// accuse makes a verdict of a rule that took so much time of what its party took in all, when the party behind it took second.
func (c *trial) accuse(r *delay, took, inAll, second int64) {
	c.delay = r
	b := &c.x.Blame
	b.Who, b.Situation, b.Confidence, b.Time = r.who, r.situation, r.confidence, inAll
	r.prove(c, b, took)
	if float64(second) > nearly*float64(inAll) {
		doubt(b, 0.8, exchange.Evidence{Sentence: exchange.SaysNearly, Time: second})
	}
	if c.x.Flow != nil && c.x.Flow.Midstream && c.x.Conn.SYN == 0 {
		doubt(b, 0.9, exchange.Evidence{Sentence: exchange.SaysMidstream})
	}
	c.settle(b)
}

// look finds out which conditions are fulfilled.
func (c *trial) look() {
	x := c.x
	if c.l.Shared > 0 {
		c.flags |= shared
	}
	if x.HasRequest && x.HasResponse && x.Index > 0 && x.StreamID() == 0 && x.Request.Last.Peer >= 0 && x.Response.First.Offset > x.Request.Last.Peer &&
		len(x.Interim) == 0 {
		c.flags |= pipelined
	}
	for d, flag := range [2]condition{clientShut, serverShut} {
		receiver := x.Client
		if d == 1 {
			receiver = x.Server()
		}
		if x.During[receiver].ZeroWindows > 0 || c.fullForLong(receiver) {
			c.flags |= flag
		}
	}
	if rtt := c.l.RTT[1]; rtt > 0 && rtt < nextDoor {
		c.flags |= atServer
	}
	f := &x.Conn
	if x.Index == 0 && f.SYNs > 1 && f.LastSYN <= f.SYNACK {
		c.flags |= resent
	}
	if x.Index == 0 && (f.Unaccepted > 0 || f.SYNs > 1 && c.overflowed(f.SYN)) {
		c.flags |= overflow
	}
}

// nextDoor is the round trip to a server below which the tap is on its machine, or beside it, in nanoseconds.
const nextDoor = int64(500e3)

// fullForLong reports whether the window of a receiver was full for longer at a time than round trips explain.
func (c *trial) fullForLong(receiver proto.Direction) bool {
	e := longest(c.x, proto.WindowFull, func(e *proto.Episode) bool { return e.Of != receiver })
	rtt := c.l.RTT[0] + c.l.RTT[1]
	return e != nil && rtt > 0 && e.Held/int64(max(e.Count, 1)) > 2*rtt+StallFloor
}

// longest returns the episode of a kind that held most, nil when there is none. which tells which are meant; nil: all.
func longest(x *exchange.Exchange, kind proto.Hindrance, which func(e *proto.Episode) bool) *proto.Episode {
	var found *proto.Episode
	for i := range x.Episodes {
		e := &x.Episodes[i]
		if e.Kind == kind && (which == nil || which(e)) && (found == nil || e.Held > found.Held) {
			found = e
		}
	}
	return found
}

// lossyNetwork returns the network in which an episode happened.
func lossyNetwork(x *exchange.Exchange, e *proto.Episode) exchange.Who {
	if e.Beyond {
		return networkOf(x, e.Of.Other())
	}
	return networkOf(x, e.Of)
}

func proveLookup(c *trial, b *exchange.Blame, took int64) {
	x := c.x
	say(b, exchange.Evidence{Sentence: exchange.SaysWork, Of: x.Server(), Time: took, First: x.Request.Last.Packet, Last: x.Response.First.Packet})
	if x.Retries > 0 {
		say(b, exchange.Evidence{Sentence: exchange.SaysRetried, Time: took, Number: int64(x.Retries) + 1})
	}
}

// isRedirect reports whether the answer sends a client elsewhere that only wanted to get something. One that had something done is told where
// the result is (RFC 9110 §15.4.4), for which no time was lost.
func isRedirect(x *exchange.Exchange) bool {
	switch x.Response.Status {
	case 301, 302, 303, 307, 308:
	default:
		return false
	}
	if x.Family != exchange.HTTP || !x.HasResponse || x.Response.Field("location") == nil {
		return false
	}
	method := string(x.Request.Bytes(x.Request.Method))
	return method == "GET" || method == "HEAD"
}

func proveRedirect(c *trial, b *exchange.Blame, took int64) {
	say(b, exchange.Evidence{Sentence: exchange.SaysRedirect, Of: c.x.Server(), Time: took, Last: c.x.Response.First.Packet})
}

func proveAcceptQueue(c *trial, b *exchange.Blame, took int64) {
	f := &c.x.Conn
	if f.Unaccepted > 0 {
		say(b, exchange.Evidence{Sentence: exchange.SaysAcceptAgain, Of: c.x.Server(), Time: took, Number: int64(f.Unaccepted)})
		return
	}
	say(b, exchange.Evidence{Sentence: exchange.SaysSYNAgain, Of: c.x.Client, Time: took, Number: int64(f.SYNs)})
	say(b, exchange.Evidence{Sentence: exchange.SaysOverflow, Of: c.x.Server()})
}

func proveSYN(c *trial, b *exchange.Blame, took int64) {
	say(b, exchange.Evidence{Sentence: exchange.SaysSYNAgain, Of: c.x.Client, Time: took, Number: int64(c.x.Conn.SYNs)})
}

func proveLateSYNACK(c *trial, b *exchange.Blame, took int64) {
	say(b, exchange.Evidence{Sentence: exchange.SaysLateSYNACK, Of: c.x.Server(), Time: took, Number: c.l.RTT[1]})
}

func proveSYNACK(c *trial, b *exchange.Blame, took int64) {
	say(b, exchange.Evidence{Sentence: exchange.SaysSYNACKAgain, Of: c.x.Server(), Time: took, Number: int64(c.x.Conn.SYNACKs)})
}

func proveHole(c *trial, b *exchange.Blame, took int64) {
	who := b.Who
	if e := longest(c.x, proto.BlackHole, func(e *proto.Episode) bool { return lossyNetwork(c.x, e) == who }); e != nil {
		held := *e
		held.Held = took
		c.sayHole(b, &held)
	}
}

// sayHole tells of a black hole.
func (c *trial) sayHole(b *exchange.Blame, e *proto.Episode) {
	say(b, exchange.Evidence{Sentence: exchange.SaysHole, Of: e.Of, Time: e.Held, Number: e.Bytes, First: e.First, Last: e.Last})
	c.sayMTU(b)
}

// sayMTU tells of the router that says why large packets don't come through.
func (c *trial) sayMTU(b *exchange.Blame) {
	if e := &c.x.Conn.Error; c.x.Conn.Errors > 0 && e.MTU > 0 {
		say(b, exchange.Evidence{Sentence: exchange.SaysHoleMTU, Of: e.Of, Number: int64(e.MTU), Last: e.At.Packet})
	}
}

func proveLoss(c *trial, b *exchange.Blame, took int64) {
	who := b.Who
	if e := longest(c.x, proto.Recovery, func(e *proto.Episode) bool { return lossyNetwork(c.x, e) == who }); e != nil {
		sayLoss(b, e, took)
	}
}

func sayLoss(b *exchange.Blame, e *proto.Episode, took int64) {
	sentence := exchange.SaysLostBefore
	if e.Beyond {
		sentence = exchange.SaysLostBeyond
	}
	say(b, exchange.Evidence{Sentence: sentence, Of: e.Of, Time: took, Number: int64(e.How), First: e.First, Last: e.Last})
}

func proveShared(c *trial, b *exchange.Blame, took int64) {
	e := exchange.Evidence{Sentence: exchange.SaysShared, Of: c.x.Server(), Time: took, Number: c.l.Shared}
	if lost := longest(c.x, proto.Recovery, func(e *proto.Episode) bool { return e.Of == c.x.Server() }); lost != nil {
		sayLoss(b, lost, took)
	} else if held := longest(c.x, proto.CongestionWindow, func(e *proto.Episode) bool { return e.Of == c.x.Server() }); held != nil {
		c.sayCongestion(b, held, took)
	}
	say(b, e)
}

func proveWindow(c *trial, b *exchange.Blame, took int64) {
	x := c.x
	receiver := x.Client
	if b.Who == exchange.ByServer {
		receiver = x.Server()
	}
	e := longest(x, proto.WindowFull, func(e *proto.Episode) bool { return e.Of != receiver })
	if e == nil {
		return
	}
	v := exchange.Evidence{Sentence: exchange.SaysFullWindow, Of: e.Of, Time: took, Number: e.Bytes, First: e.First, Last: e.Last}
	if n := x.During[receiver].ZeroWindows; n > 0 && b.Situation == exchange.SlowReader {
		v.Sentence, v.Number = exchange.SaysZeroWindow, int64(n)
	}
	say(b, v)
}

func proveNagle(c *trial, b *exchange.Blame, took int64) {
	if e := longest(c.x, proto.DelayedAck, nil); e != nil {
		say(b, exchange.Evidence{Sentence: exchange.SaysNagle, Of: e.Of, Time: took, Number: int64(max(e.Count, 1)), First: e.First, Last: e.Last})
	}
}

func proveFlow(c *trial, b *exchange.Blame, took int64) {
	x := c.x
	e := exchange.Evidence{Sentence: exchange.SaysFlow, Of: x.Client, Time: took, Number: int64(x.Request.Stalls)}
	if b.Who == exchange.ByClient {
		e.Of, e.Number = x.Server(), int64(x.Response.Stalls)
	}
	say(b, e)
}

func provePipelined(c *trial, b *exchange.Blame, took int64) {
	x := c.x
	say(b, exchange.Evidence{Sentence: exchange.SaysOutstanding, Of: x.Client, Time: took, Number: x.Response.First.Offset - x.Request.Last.Peer,
		First: x.Request.First.Packet, Last: x.Response.First.Packet})
}

func proveTLS(c *trial, b *exchange.Blame, took int64) {
	x := c.x
	e := exchange.Evidence{Sentence: exchange.SaysTLS, Time: took, Number: x.Timing.TLS, First: x.TLS.Hello.Packet}
	switch b.Who {
	case exchange.ByClient:
		e.Of = x.Client
	case exchange.ByServer:
		e.Of = x.Server()
	default:
		e.Sentence = exchange.SaysTLSNetwork
	}
	say(b, e)
	if x.Timing.Handshake.Server < 0 {
		doubt(b, 0.5, exchange.Evidence{Sentence: exchange.SaysNoRoundTrip, Of: x.Server()})
	}
}

func proveSender(c *trial, b *exchange.Blame, took int64) {
	x := c.x
	say(b, exchange.Evidence{Sentence: exchange.SaysTrickledRequest, Of: x.Client, Time: took, First: x.Request.First.Packet, Last: x.Request.Last.Packet})
}

func proveApplication(c *trial, b *exchange.Blame, took int64) {
	x := c.x
	waited := c.l.Rows[exchange.PhaseWait][measure.ServerWork]
	received := c.l.Rows[exchange.PhaseReceive][measure.ServerWork]
	switch leave := c.l.Rows[exchange.PhaseSend][measure.ServerWork]; {
	case leave > waited && leave > received:
		say(b, exchange.Evidence{Sentence: exchange.SaysContinue, Of: x.Server(), Time: took, First: x.Request.First.Packet})
		return
	case received > waited:
		c.sayTrickled(b, received)
		if waited >= StallFloor && x.HasRequest {
			say(b, exchange.Evidence{Sentence: exchange.SaysWork, Of: x.Server(), Time: waited, First: x.Request.Last.Packet, Last: x.Response.First.Packet})
		}
		return
	case !x.HasResponse:
		c.saySilence(b, took)
		return
	case x.Request.Greeting != 0 && x.Request.Greeting-x.Conn.Ready > waited/2 && x.Index == 0:
		say(b, exchange.Evidence{Sentence: exchange.SaysGreeting, Of: x.Server(), Time: took})
		return
	}
	e := exchange.Evidence{Sentence: exchange.SaysWork, Of: x.Server(), Time: waited, First: x.Request.Last.Packet, Last: x.Response.First.Packet}
	after, acked := c.acknowledged()
	if acked {
		e.Sentence, e.Number = exchange.SaysWorkAcked, after
	}
	say(b, e)
	if received >= StallFloor {
		c.sayTrickled(b, received)
	}
	switch {
	case acked && after > c.l.RTT[1]+lateAck && after > took/2:
		doubt(b, 0.5, exchange.Evidence{Sentence: exchange.SaysLateAck, Time: after})
	case x.Recorded():
		say(b, exchange.Evidence{Sentence: exchange.SaysRecorded, Of: x.Server()})
	case c.l.RTT[1] == 0 && x.Flow != nil && x.Flow.Proto == packet.ProtoTCP:
		doubt(b, 0.6, exchange.Evidence{Sentence: exchange.SaysNoRoundTrip, Of: x.Server()})
	}
}

func (c *trial) sayTrickled(b *exchange.Blame, took int64) {
	m := &c.x.Response
	say(b, exchange.Evidence{Sentence: exchange.SaysTrickledResponse, Of: m.Dir, Time: took, First: m.First.Packet, Last: m.Last.Packet})
}

// lateAck is how much later than a round trip an acknowledgement comes, in nanoseconds, that may have been late on the way: common receivers
// delay it for 40 ms (RFC 1122 §4.2.3.2 allows 500).
const lateAck = int64(60e6)

func provePath(c *trial, b *exchange.Blame, took int64) {
	x := c.x
	end, side := x.Server(), 1
	if b.Who == exchange.ByClientNetwork {
		end, side = x.Client, 0
	}
	held := longest(x, proto.CongestionWindow, nil)
	if held != nil && held.Held > took/2 {
		c.sayCongestion(b, held, took)
	} else {
		say(b, exchange.Evidence{Sentence: exchange.SaysPath, Of: end, Time: took, Number: c.l.RTT[side]})
	}
	late := c.l.Rows[exchange.PhaseConnect][measure.ClientPath+measure.Cause(side)] - c.l.RTT[side]
	switch {
	case c.l.RTT[side] == 0:
		doubt(b, 0.5, exchange.Evidence{Sentence: exchange.SaysNoRoundTrip, Of: end})
	case late > took/2:
		// A queue on the way, a machine that stood still, an address that had to be resolved: they look alike.
		doubt(b, 0.6, exchange.Evidence{Sentence: exchange.SaysLateHandshake, Of: end, Time: late, Number: c.l.RTT[side]})
	case c.l.Loose[side] && held == nil:
		doubt(b, 0.5, exchange.Evidence{Sentence: exchange.SaysLooseRoundTrip, Of: end, Time: c.l.RTT[side]})
	}
}

func (c *trial) sayCongestion(b *exchange.Blame, e *proto.Episode, took int64) {
	say(b, exchange.Evidence{Sentence: exchange.SaysCongestion, Of: e.Of, Time: took, Number: c.l.RTT[0] + c.l.RTT[1], First: e.First, Last: e.Last})
}
