package measure

import (
	"math/bits"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Cause is why time passed, and on which side of the tap: an even one on the client's, the odd one behind it on the server's.
type Cause uint8

// The causes. Work is what an application or its host took: it had what it needed, and room to send. Path is the path's round trip or its rate;
// Loss is for segments that had to come again; Window is for the receive window of that side; Ack is for an acknowledgement that it delayed
// (RFC 1122 §4.2.3.2) while the other held a small segment back for it (RFC 896); Hole is for full-size segments that never came through; Flow
// is for the flow-control window of that side, in protocols that have one (RFC 9113 §5.2).
const (
	ClientWork Cause = iota
	ServerWork
	ClientPath
	ServerPath
	ClientLoss
	ServerLoss
	ClientWindow
	ServerWindow
	ClientAck
	ServerAck
	ClientHole
	ServerHole
	ClientFlow
	ServerFlow
	Causes
)

// isNetwork are the causes that are the network's rather than an end's, by pair.
var isNetwork = [Causes / 2]bool{ClientPath / 2: true, ClientLoss / 2: true, ClientHole / 2: true}

// Ledger says where the time of an exchange went, in nanoseconds: each part of it by cause. What is in a row adds up to the part exactly.
//
// # Theory of operation
//
// A part lies between two packets that passed the tap. What something other than the applications held up are the episodes of the
// half-streams (proto.Episode), which the transport found; what lies in one, clipped to the part, is due to its cause. Where episodes overlap,
// the one that explains the others counts: a segment that never comes through makes losses, a loss fills the window, a full window hides the
// congestion window.
//
//	wait   |---- loss: the request came again ----|-- round trip --|--------- work of the server ---------|
//	receive|-- work --|-- window full --|-- work --|-- loss --|-- window full --|-- work --|
//
// What is left is work of who was to send: of the client in send, of the server in receive. In wait it is the server's, less one round trip
// between the tap and the server: the request had yet to arrive, and the answer to come. The least round trip seen is taken, so
// that what the server took is never overstated by more than the queues on the way.
type Ledger struct {
	Rows [Rows][Causes]int64
	// RTT are the round trips between the tap and the client, and the tap and the server, 0 where they aren't known. Loose: it is no
	// more than an upper bound, since the acknowledgements that it was taken from may have waited for an answer.
	RTT   [2]int64
	Loose [2]bool
	// Shared is how many bytes of other streams the server sent on the connection meanwhile, where that were more than this one's.
	Shared int64
}

// TLS is the row of a Ledger for the TLS handshake; the others are the exchange's phases.
const (
	TLS  = int(exchange.Phases)
	Rows = TLS + 1
)

// Sides of the tap.
const (
	client = 0
	server = 1
)

// Take fills the ledger from an exchange whose Timing is known.
func (l *Ledger) Take(x *exchange.Exchange) {
	*l = Ledger{}
	l.roundTrips(x)
	l.shared(x)
	t := &x.Timing
	if t.Connect >= 0 {
		l.connect(x)
	}
	if t.TLS >= 0 {
		l.handshake(x)
	}
	if t.Send >= 0 && x.HasRequest {
		l.send(x)
	}
	if t.Wait >= 0 && x.HasRequest {
		l.wait(x)
	}
	if t.Receive >= 0 && x.HasResponse {
		l.receive(x)
	}
}

// roundTrips finds the round trips between the tap and the ends: the least of what was measured.
func (l *Ledger) roundTrips(x *exchange.Exchange) {
	for side, end := range [2]proto.Direction{client: x.Client, server: x.Server()} {
		rtt := x.HandshakeRTT(end)
		loose := rtt == 0
		if c := &x.Conn; rtt == 0 && end == proto.Responder && c.SYNs > 1 && c.SYNACKs == 1 && c.LastSYN > c.SYN && c.LastSYN < c.SYNACK {
			rtt = c.SYNACK - c.LastSYN // the last one is likely to be the one that was answered
		}
		if h := &x.Conn.Half[end.Other()]; h.RTTSamples > 0 && (rtt == 0 || h.MinRTT < rtt) {
			rtt = max(h.MinRTT, 1)
		}
		if side == server && x.Acked.Time > 0 {
			// It was acknowledged before the answer began, so that the server's time isn't in it.
			if acked := max(x.Acked.Time-x.Request.Last.Time, 1); rtt == 0 || acked < rtt {
				rtt = acked
			}
			loose = false
		}
		l.RTT[side], l.Loose[side] = rtt, loose && rtt > 0
	}
}

// shared finds out whether the connection carried more than the exchange.
func (l *Ledger) shared(x *exchange.Exchange) {
	if x.StreamID() == 0 || !x.HasResponse {
		return
	}
	if other := int64(x.During[x.Server()].Bytes) - x.Response.Size; other > max(x.Response.Size, minShared) {
		l.Shared = other
	}
}

// minShared is how many bytes of other streams are worth a thought: less is sent at once, however slow the path starts (RFC 6928).
const minShared = 16 << 10

// add has n nanoseconds of a row due to a cause.
func (l *Ledger) add(row int, c Cause, n int64) { l.Rows[row][c] += n }

// move takes up to n nanoseconds of a row from one cause to another, and returns how many.
func (l *Ledger) move(row int, from, to Cause, n int64) int64 {
	n = max(min(n, l.Rows[row][from]), 0)
	l.Rows[row][from] -= n
	l.Rows[row][to] += n
	return n
}

// path has n nanoseconds of a row due to the path, each side in proportion to its round trip.
func (l *Ledger) path(row int, n int64) {
	onClient := int64(0)
	if sum := l.RTT[client] + l.RTT[server]; sum > 0 {
		onClient = portion(n, l.RTT[client], sum)
	}
	l.add(row, ClientPath, onClient)
	l.add(row, ServerPath, n-onClient)
}

// portion returns n * part / whole; 0 <= part <= whole, whole > 0.
func portion(n, part, whole int64) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return int64(q)
}

// connect splits the time from the first SYN to the handshake's ACK: the SYN+ACK parts what is behind the tap from what is before it. On each
// side it waited for its handshake to be repeated from the first SYN or SYN+ACK to the last.
func (l *Ledger) connect(x *exchange.Exchange) {
	c, n := &x.Conn, x.Timing.Connect
	row := int(exchange.PhaseConnect)
	behind := min(max(c.SYNACK-c.SYN, 0), n)
	l.add(row, ServerPath, behind)
	l.add(row, ClientPath, n-behind)
	switch late := behind - l.RTT[server]; {
	case c.SYNs > 1 && c.LastSYN <= c.SYNACK:
		l.move(row, ServerPath, ServerLoss, c.LastSYN-c.SYN)
	case late >= firstRTO && l.RTT[server] > 0:
		l.move(row, ServerPath, ServerLoss, late) // the first SYN+ACK was lost, and the tap saw the second
	}
	if c.SYNACKs > 1 {
		l.move(row, ClientPath, ClientLoss, min(c.LastSYNACK, c.Ready)-c.SYNACK)
	}
}

// firstRTO is the least time after which a SYN or a SYN+ACK is sent again, in nanoseconds: a second (RFC 6298 §2), less what timers are coarse by.
const firstRTO = int64(950e6)

// handshake splits the time of the TLS handshake: losses first, and the rest as Timing.Handshake has it.
func (l *Ledger) handshake(x *exchange.Exchange) {
	s, n := x.TLS, x.Timing.TLS
	l.sweep(x, TLS, s.Hello.Time, s.Hello.Time+n, ServerWork, bothHalves)
	rest := l.Rows[TLS][ServerWork]
	h := &x.Timing.Handshake
	if h.Client < 0 || h.Server < 0 {
		return
	}
	l.Rows[TLS][ServerWork] = 0
	// What was held up is within the network's part, as far as it goes.
	of := [3]int64{h.Client, h.Server, h.Network}
	for i, excess := 2, of[0]+of[1]+of[2]-rest; i >= 0 && excess > 0; i-- {
		less := min(of[i], excess)
		of[i] -= less
		excess -= less
	}
	l.add(TLS, ClientWork, of[0])
	l.add(TLS, ServerWork, of[1])
	l.path(TLS, rest-of[0]-of[1])
}

// send splits the time from the first to the last byte of the request.
func (l *Ledger) send(x *exchange.Exchange) {
	row, from := int(exchange.PhaseSend), x.Request.First.Time
	to := from + x.Timing.Send
	if len(x.Interim) > 0 && x.Request.Field("expect") != nil {
		// The client waits for the server's leave to send the body (RFC 9110 §10.1.1).
		if at := min(max(x.Interim[0].At.Time, from), to); x.Interim[0].Status == 100 {
			l.sweep(x, row, from, at, ServerWork, clientsHalf)
			l.move(row, ServerWork, ServerPath, l.RTT[server])
			from = at
		}
	}
	l.sweep(x, row, from, to, ClientWork, clientsHalf)
	l.move(row, ClientWork, ServerFlow, x.Request.Stalled)
}

// wait splits the time from the end of send to the first byte of the response.
func (l *Ledger) wait(x *exchange.Exchange) {
	row, n := int(exchange.PhaseWait), x.Timing.Wait
	to := x.Completed.Time
	if x.HasResponse {
		to = x.Response.First.Time
	}
	from := x.Request.First.Time + x.Timing.Send
	n -= max(to-from, 0)
	to = max(to, from)
	l.sweep(x, row, from, to, ServerWork, waiting)
	l.move(row, ServerWork, ServerPath, l.RTT[server])
	if n > 0 { // the wait for a greeting, before the request
		l.add(row, ServerWork, n)
		l.move(row, ServerWork, ServerPath, min(l.RTT[server], n))
	}
}

// receive splits the time from the first to the last byte of the response.
func (l *Ledger) receive(x *exchange.Exchange) {
	row, from := int(exchange.PhaseReceive), x.Response.First.Time
	l.sweep(x, row, from, from+x.Timing.Receive, ServerWork, serversHalf)
	stalled := x.Response.Stalled
	stalled -= l.move(row, ServerWork, ClientFlow, stalled)
	if x.Timing.Wait >= 0 && stalled > 0 {
		l.move(int(exchange.PhaseWait), ServerWork, ClientFlow, stalled)
	}
}

// Which episodes count within a part.
type counted uint8

const (
	clientsHalf counted = iota
	serversHalf
	bothHalves
	// waiting: those that kept the request from arriving, or the answer from coming.
	waiting
)

// counts reports whether an episode counts.
func (l *Ledger) counts(x *exchange.Exchange, e *proto.Episode, which counted) bool {
	mine := e.Of == x.Client
	switch which {
	case clientsHalf:
		return mine
	case serversHalf:
		return !mine
	case waiting:
		if mine {
			return (e.Kind == proto.Recovery || e.Kind == proto.BlackHole) && e.From <= x.Request.Last.Time
		}
		return l.Shared > 0 || x.HasResponse && e.To >= x.Response.First.Time
	}
	return true
}

// explains says which of two hindrances at a time explains the other: the larger one.
var explains = [proto.NumHindrances]uint8{
	proto.BlackHole: 5, proto.Recovery: 4, proto.WindowFull: 3, proto.DelayedAck: 2, proto.CongestionWindow: 1,
}

// sweep adds the time from one moment to another to a row: what lies in episodes is due to their causes, the rest to rest.
func (l *Ledger) sweep(x *exchange.Exchange, row int, from, to int64, rest Cause, which counted) {
	if to <= from {
		return
	}
	l.add(row, rest, to-from)
	if len(x.Episodes) == 0 {
		return
	}
	var held [proto.MaxEpisodes]*proto.Episode
	var edges [2 * proto.MaxEpisodes]int64
	n, m := 0, 0
	for i := range x.Episodes {
		e := &x.Episodes[i]
		if n == len(held) || e.Kind >= proto.NumHindrances || e.To <= e.From || e.From >= to || e.To <= from || !l.counts(x, e, which) {
			continue
		}
		held[n] = e
		n++
		for _, at := range [2]int64{max(e.From, from), min(e.To, to)} {
			// The edges are few, and nearly in order.
			j := m
			for ; j > 0 && edges[j-1] > at; j-- {
				edges[j] = edges[j-1]
			}
			edges[j] = at
			m++
		}
	}
	for i := 1; i < m; i++ {
		a, b := edges[i-1], edges[i]
		if a == b {
			continue
		}
		var why *proto.Episode
		for _, e := range held[:n] {
			if e.From <= a && e.To >= b && (why == nil || explains[e.Kind] > explains[why.Kind]) {
				why = e
			}
		}
		if why == nil {
			continue
		}
		span := why.To - why.From
		took := portion(b-a, min(max(why.Held, 0), span), span)
		l.add(row, rest, -took)
		l.blame(x, row, why, took)
	}
}

// blame has n nanoseconds of a row due to an episode.
func (l *Ledger) blame(x *exchange.Exchange, row int, e *proto.Episode, n int64) {
	sender := Cause(client)
	if e.Of != x.Client {
		sender = server
	}
	receiver := sender ^ 1
	lossy := sender
	if e.Beyond {
		lossy = receiver
	}
	switch e.Kind {
	case proto.WindowFull:
		l.add(row, ClientWindow+receiver, n)
	case proto.Recovery:
		l.add(row, ClientLoss+lossy, n)
	case proto.DelayedAck:
		l.add(row, ClientAck+receiver, n)
	case proto.BlackHole:
		l.add(row, ClientHole+lossy, n)
	default:
		l.congestion(x, row, e, n)
	}
}

// congestion has n nanoseconds of a row due to what filled the congestion window.
//
// A loss makes the window small, so what is short of it afterwards is due to the loss. Else, where the segments come one by one, they come at
// the rate of the narrowest link, which has a queue before it: on the side of the tap where the round trip is the longer one, where timestamps tell
// that; else beyond the tap if more is under way there than fills the path, and before it if not. Where they come in bursts, each waits for a round trip of the path.
func (l *Ledger) congestion(x *exchange.Exchange, row int, e *proto.Episode, n int64) {
	sender := Cause(client)
	if e.Of != x.Client {
		sender = server
	}
	for i := range x.Episodes {
		if r := &x.Episodes[i]; r.Kind == proto.Recovery && r.Of == e.Of && r.How != proto.Spurious && r.From <= e.From && r.From >= x.Start.Time {
			if r.Beyond {
				sender ^= 1
			}
			l.add(row, ClientLoss+sender, n)
			return
		}
	}
	rtt := l.RTT[client] + l.RTT[server]
	if e.Count < 2 || e.Held/int64(e.Count) > rtt/4*3 {
		l.path(row, n)
		return
	}
	if e.Placed && e.Beyond || !e.Placed && e.Bytes > queued(x, e) {
		sender ^= 1
	}
	l.add(row, ClientPath+sender, n)
}

// queued returns how many bytes under way behind the tap mean that there is a queue: a quarter more than fills the path at the rate at which they came,
// and more than acknowledgements that come late leave there.
func queued(x *exchange.Exchange, e *proto.Episode) int64 {
	const segments, usualMSS = 6, 1460
	unit := int64(usualMSS)
	for d := range x.Conn.Half {
		if mss := int64(x.Conn.Half[d].MSS); mss > 0 {
			unit = min(unit, mss)
		}
	}
	sent, took := float64(x.During[e.Of].Bytes), float64(max(x.Completed.Time-x.Start.Time, 1))
	return segments*unit + int64(1.25*sent/took*float64(x.Conn.Half[e.Of].MinRTT))
}

// causes sums the ledger up by party.
func causes(x *exchange.Exchange) {
	t := &x.Timing
	known := [exchange.Phases]bool{
		exchange.PhaseConnect: t.Connect >= 0,
		exchange.PhaseSend:    t.Send >= 0,
		exchange.PhaseWait:    t.Wait >= 0,
		exchange.PhaseReceive: t.Receive >= 0,
	}
	if x.Flow != nil && x.Flow.Proto != packet.ProtoTCP || x.Conn.Half[0].Packets == 0 || x.Conn.Half[1].Packets == 0 || x.Message != nil {
		return // what holds a half-stream up shows in the acknowledgements of the other
	}
	var l Ledger
	l.Take(x)
	if l.RTT[server] == 0 {
		known[exchange.PhaseWait] = false // the way to the server can't be told from what the server took
	}
	for p := range known {
		if !known[p] {
			continue
		}
		c := &t.Causes[p]
		c.Known = true
		for cause, n := range l.Rows[p] {
			switch network := isNetwork[cause/2]; {
			case network && cause%2 == client:
				c.ClientNetwork += n
			case network:
				c.ServerNetwork += n
			case cause%2 == client:
				c.Client += n
			default:
				c.Server += n
			}
		}
	}
}
