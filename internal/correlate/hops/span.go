package hops

import (
	"net/netip"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// MaxText bounds the texts that are kept of an exchange, in bytes.
const MaxText = 256

// maxIDs is how many ids of an exchange are looked at: a request that crossed a few products carries four or five.
const maxIDs = 8

// Span is what is kept of an exchange. Times are nanoseconds since 1970 on the clock of its tap.
type Span struct {
	ID [exchange.IDSize]byte
	// Observer and Tap are where it was seen.
	Observer, Tap string
	Protocol      string
	Family        exchange.Family
	// Verb is what it does, and Target what with: path, statement, command or name, MaxText bytes at most. Host is the one that was asked for,
	// Route the path's template where there is one.
	Verb, Target, Host, Route string
	// Status is the response's, 0 where there is none. Failed: it failed, for whatever reason; Grade and Reason say how much was seen of it.
	Status int
	Failed bool
	Grade  exchange.Grade
	Reason string
	// Client and Server are the ends, Service the names of the services there, Process those of the processes, and PID their numbers, by
	// side: 0 is the client's.
	Client, Server netip.AddrPort
	Service        [2]string
	Process        [2]string
	PID            [2]int
	// Begun is its SYN where it is the first of its connection, else Start. Start is the first byte of the request, SendEnd its last,
	// ResponseStart the first byte of the answer, 0 where there is none, and End what completed it.
	Begun, Start, SendEnd, ResponseStart, End int64
	// RequestBytes and ResponseBytes are the lengths of the bodies.
	RequestBytes, ResponseBytes int64
	FirstPacket, LastPacket     uint64
	// Stream: its length says nothing of the server's speed.
	Stream bool
	// Verdict is the one on the exchange alone.
	Verdict exchange.Blame

	carried
	seen
	place
	link
}

// seen is what tells whether two observations are of one exchange.
type seen struct {
	tap    uint32
	index  uint32
	stream uint64
	// midstream: index counts from the beginning of the capture.
	midstream bool
	// flow is a hash of both ends, content one of method and target, head one of all that was said at the heads, and passed one of those header fields
	// that a proxy passes on as they are.
	flow, content, head, passed uint64
	// syn and synAck are the times of the handshake, 0 where they aren't known.
	syn, synAck int64
	// twins are further observations, the first observation has them; first is that one.
	twins []*Span
	first *Span
}

// place is where an exchange was served, and where it came from.
type place struct {
	// serves is the service that answered; asks is what came from the same address for the same service.
	serves *service
	asks   *asking
	// operation is what it does, without what varies, and words are values that vary.
	operation string
	words     [places]words
}

// link is what was decided.
type link struct {
	parent  *Span
	method  exchange.HopMethod
	sure    float64
	decided bool
	role    Role
	earlier *Span
	// children are those that were linked to it, last is when the last of all below it ended.
	children []*Span
	last     int64
	// followers are decided once this one is: what it was redirected to, and the lookups before it.
	followers []*Span
	// event is its number at the timing engine; waits is how many decisions of the engine are awaited, guess the best so far.
	event uint64
	waits int
	guess guess
	// gone: its tree was told. taught: what it says of a gap was learned.
	gone, taught bool
	// lookedUp: the lookup before its connection was found.
	lookedUp bool
}

// Server says which member of a pair is the server's; 0 is the client's.
const server = 1

// kindOf says whether an exchange takes part, and whether it may have been caused by another, and cause others.
func takesPart(x *exchange.Exchange) bool {
	switch {
	case x.Message != nil, x.Flow == nil, x.Tap == nil:
		return false
	case x.Period != nil: // a connection that came to nothing is what a gateway's error may be about
		return x.Period.Final && x.Period.Number == 0 && x.Outcome() == "failure" && x.During[0].Bytes+x.During[1].Bytes == 0
	case !x.HasRequest:
		return false
	}
	switch x.Family {
	case exchange.HTTP, exchange.Names:
		return true
	case exchange.Database:
		return !x.Request.Blocks
	}
	return false
}

// newSpan copies what is needed of an exchange.
func (l *Linker) newSpan(x *exchange.Exchange) *Span {
	c, s := x.Client, x.Server()
	p := &Span{
		ID: x.ID(x.Tap.Observer), Observer: x.Tap.Observer, Tap: tapName(x.Tap), Protocol: x.Protocol, Family: x.Family, Route: x.Enriched.Route,
		Failed: x.Outcome() == "failure" || !x.HasResponse && (x.Grade == exchange.Aborted || x.Grade == exchange.Unanswered), Grade: x.Grade, Reason: x.Reason, Client: end(x.Flow, c), Server: end(x.Flow, s),
		Service: [2]string{x.Enriched.Service[c], x.Enriched.Service[s]},
		Start:   x.Start.Time, End: max(x.Completed.Time, x.Start.Time), FirstPacket: x.FirstPacket, LastPacket: x.LastPacket, Stream: x.Stream, Verdict: x.Blame,
	}
	for side, d := range [...]proto.Direction{c, s} {
		if owner := x.Process[d]; owner != nil {
			p.PID[side], p.Process[side] = owner.PID, owner.Name
		}
	}
	p.Begun, p.SendEnd = p.Start, p.Start
	if x.Index == 0 && x.Conn.SYN > 0 && x.Conn.SYN <= p.Start && x.Timing.Connect >= 0 {
		p.Begun = x.Conn.SYN
		p.syn, p.synAck = x.Conn.SYN, x.Conn.SYNACK
	}
	if x.Period != nil {
		p.Verb, p.Begun = "connect", p.Start
	} else {
		p.Verb, p.Target = l.text(x.Verb()), text(x.Subject())
	}
	if x.HasRequest {
		p.SendEnd, p.RequestBytes = max(x.Request.Last.Time, p.Start), x.Request.BodyBytes
	}
	if x.HasResponse {
		p.ResponseStart, p.ResponseBytes, p.Status = max(x.Response.First.Time, p.Start), x.Response.BodyBytes, x.Response.Status
		p.End = max(p.End, p.ResponseStart)
	}
	p.last, p.operation = p.End, l.operation(x)
	p.tap, p.index, p.stream, p.midstream = l.tap(x.Tap), x.Index, x.StreamID(), x.Flow.Midstream
	l.read(p, x)
	l.values(p, x)
	return p
}

// Shows takes the texts that people see, and what is known beyond the packets, from an exchange whose secrets are hidden by now. Linking goes by what
// was sent. s may be nil.
func (s *Span) Shows(x *exchange.Exchange) {
	if s == nil {
		return
	}
	if x.Period == nil {
		s.Target = text(x.Subject())
	}
	s.Route = x.Enriched.Route
	for side, d := range [...]proto.Direction{x.Client, x.Server()} {
		s.Service[side] = x.Enriched.Service[d]
	}
}

func tapName(t *exchange.Tap) string {
	if t.Name != "" {
		return t.Name
	}
	return t.Label
}

func end(f *proto.Flow, d proto.Direction) netip.AddrPort {
	return netip.AddrPortFrom(address(f.Addr[d]), f.Port[d])
}

func address(a packet.Addr) netip.Addr { return a.Netip() }

func text(b []byte) string { return string(b[:min(len(b), MaxText)]) }

// text returns a text of which there are few, and which is kept once.
func (l *Linker) text(b []byte) string {
	if s, ok := l.texts[string(b)]; ok {
		return s
	}
	s := text(b)
	if len(l.texts) < maxTexts {
		l.texts[s] = s
	}
	return s
}

// operation returns what an exchange does without what varies: route, statement without literals, type of a lookup.
func (l *Linker) operation(x *exchange.Exchange) string {
	switch {
	case x.Family == exchange.Database:
		return l.text([]byte(x.Statement.Template))
	case x.Family != exchange.HTTP || !x.HasRequest:
		return ""
	case x.Enriched.Route != "":
		return l.text([]byte(x.Enriched.Route))
	}
	l.target = l.routes.Append(l.target[:0], x.URL().Path)
	return l.text(l.target)
}

// maxTexts bounds the texts that are kept once, and maxTaps the taps that are told apart.
const (
	maxTexts = 4096
	maxTaps  = 4096
)

// tapKey is what makes a tap.
type tapKey struct{ observer, name string }

// tap returns the number of a tap.
func (l *Linker) tap(t *exchange.Tap) uint32 {
	if t == l.lastTap && l.lastTapIs == (tapKey{t.Observer, tapName(t)}) {
		return l.lastTapNumber
	}
	k := tapKey{t.Observer, tapName(t)}
	n, ok := l.taps[k]
	if !ok {
		if len(l.taps) == maxTaps {
			l.Counts.TapsLumped++
			return maxTaps
		}
		n = uint32(len(l.taps))
		l.taps[k] = n
		l.tapNames = append(l.tapNames, k)
	}
	l.lastTap, l.lastTapIs, l.lastTapNumber = t, k, n
	return n
}
