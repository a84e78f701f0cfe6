// Package udp groups datagrams into flows: it gives each to what takes the datagrams of its flow, and collects the facts that tell
// how much was sent and when.
//
// # Theory of operation
//
// A Table holds the flows of one shard. UDP has no connections, so that a flow is what goes between two ports until nothing has
// for a while:
//
//	first      few datagrams, both sides have spoken,       silence of
//	datagram   and nothing waits                            Limits.Answered
//	────┬─> idle, or waiting ───────────────> answered ─────────────────────> over
//	    │      │   ^                           │
//	    │      │   └───────────────────────────┘
//	    │      │         another datagram
//	    └──────┴─ silence of Limits.Timeout; an ICMP error that says there is nobody for what the originator sent: over
//
// What takes the datagrams says whether something waits for an answer (Waiter). Where nobody knows what they are, they are taken for
// questions and answers, and nothing waits once each side has sent as many as the other.
//
// Most flows are a question and its answer. Their ports aren't used again soon, so they are forgotten soon; and they are the first
// to go when there are too many, since nothing of them is missed, then those of which nothing is known to wait. Time is that of the
// ticks, which come in the same place for any number of shards.
package udp

import (
	"hash/maphash"
	"slices"
	"time"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tcp"
)

// Limits bound what a Table keeps.
type Limits struct {
	// MaxFlows is how many flows the table holds. Beyond, those that were silent the longest are forgotten: answered ones first, then
	// idle ones.
	MaxFlows int
	// Timeout is the capture time without datagrams after which a flow is over.
	Timeout time.Duration
	// Answered is the same of a flow in which nothing waits, and each side has sent something, and at most MaxAnswered datagrams.
	Answered    time.Duration
	MaxAnswered int
}

// DefaultLimits are the limits of one shard of 64.
var DefaultLimits = Limits{
	MaxFlows:    4096,
	Timeout:     30 * time.Second,
	Answered:    2 * time.Second,
	MaxAnswered: 8,
}

// Counters count what a table did.
type Counters struct {
	// Flows counts flows seen; Open those that aren't over.
	Flows, Open uint64
	// Evicted counts flows forgotten because of MaxFlows or the memory budget while they may have waited for an answer; TimedOut
	// those that were over because nothing was seen of them, or that had their answers when there were too many.
	Evicted, TimedOut uint64
}

// Opener makes what takes the datagrams of a new flow. p is the first. f never changes; facts are the table's, to be read during calls.
// When the flow is closed, their Closed marks its last datagram, or the ICMP error that ended it.
type Opener func(f *proto.Flow, facts *proto.Facts, p *packet.Packet) proto.Datagrams

// Waiter is implemented by a proto.Datagrams that can tell whether a request waits for its answer. known: it is known what the
// datagrams are.
type Waiter interface {
	Waiting() (waiting, known bool)
}

// Table holds the flows of one shard. It isn't safe for concurrent use.
type Table struct {
	limits Limits
	open   Opener
	flows  index
	last   *flow
	// aliases are the flows that have a second key, by that.
	aliases map[packet.Flow]*flow
	// waiting, idle and answered are ordered by the tick of the last datagram, oldest first.
	waiting, idle, answered list
	// nets are the values of packet.Flow.Net that flows have, at most maxNets of them.
	nets []uint32
	// free are flows to use again, spares of them; made are those for others to keep, which are new.
	free   *flow
	spares int
	made   []proto.Flow
	seed   maphash.Seed

	elapsed int64

	// Counters may be read between calls.
	Counters Counters
}

// New returns an empty table.
func New(open Opener, limits Limits) *Table {
	return &Table{limits: limits, open: open, flows: newIndex(), aliases: make(map[packet.Flow]*flow), seed: maphash.MakeSeed()}
}

// Memory returns how many bytes the table holds for flows, estimated.
func (t *Table) Memory() int { return int(t.Counters.Open) * flowSize }

// maxSpares is how many flows that are over are kept for use again.
const maxSpares = 512

// flow is one flow.
type flow struct {
	key packet.Flow
	// hash is that of key, chain the next flow in its chain; see index.
	hash  uint64
	chain *flow
	// What is looked at when the flow is over lies together: most are for a while before.
	seen       int64
	in         *list
	prev, next *flow
	flow       *proto.Flow
	to         proto.Datagrams
	waiter     Waiter // to, if it is one
	// latest marks the last datagram.
	latest clock.Mark
	facts  proto.Facts
	// alias is a second key of the flow, valid iff hasAlias; see Table.untagged.
	alias    packet.Flow
	hasAlias bool
	// loIs is the direction of the packets that go from key.Lo to key.Hi.
	loIs proto.Direction
	// recent are the last datagrams of each side; nth counts them.
	recent [2][4]sent
	nth    [2]uint8
}

// reset empties a flow that is used again, but for what is set at once, and for recent, of which nth says how much there is.
func (f *flow) reset() {
	f.hasAlias, f.facts, f.nth = false, proto.Facts{}, [2]uint8{}
}

// flowSize is what a flow is estimated to take, with its place in the map.
const flowSize = int(unsafe.Sizeof(flow{})+unsafe.Sizeof(proto.Flow{})) + 128

// sent remembers a datagram, to know it when it was captured twice: by a sum of its bytes, its length and its IP id, and by where it
// was captured, as far as that shows.
type sent struct {
	at  int64
	sum uint64
	net uint32
	ttl uint8
}

// Times within which equal datagrams are taken for one captured twice: those with an IP id that counts can only be equal if they
// are the same. Without one, as always over IPv6, programs that count send equal ones in a row; so a copy must come at once, and from
// another place on the way: behind a router, or in another network.
const (
	duplicateWithin     = int64(100e6)
	duplicateWithinNoID = int64(1e6)
)

// list is a doubly linked list of flows.
type list struct{ head, tail *flow }

func (l *list) push(f *flow) {
	f.in, f.prev, f.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = f
	} else {
		l.head = f
	}
	l.tail = f
}

func (l *list) remove(f *flow) {
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		l.head = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		l.tail = f.prev
	}
	f.in, f.prev, f.next = nil, nil, nil
}

// Packet takes one datagram. key and fromLo are p.Key().
func (t *Table) Packet(p *packet.Packet, key *packet.Flow, fromLo bool) tcp.Verdict {
	f := t.find(key)
	if f == nil {
		f = t.untagged(key, fromLo)
	}
	if f == nil {
		f = t.begin(p, key, fromLo)
	}
	t.last = f
	d := f.direction(fromLo)
	if t.twice(f, d, p) {
		f.facts.Half[d].Duplicates++
		return tcp.Duplicate
	}
	facts := &f.facts.Half[d]
	if facts.Packets == 0 {
		facts.First = p.Time
	}
	at := clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Offset: int64(facts.Bytes), Peer: -1}
	facts.Last, facts.LastPacket = max(facts.Last, p.Time), p.Number
	facts.Packets++
	facts.Bytes += uint64(p.PayloadLen)
	f.latest = at
	f.to.Datagram(d, p.Payload, p.PayloadLen, at)
	if l := t.place(f); f.seen != t.elapsed || f.in != l {
		f.seen = t.elapsed
		f.in.remove(f)
		l.push(f)
	}
	return tcp.Analysed
}

// waits returns what is known of whether a request of the flow waits.
func (f *flow) waits() (waiting, known bool) {
	if f.waiter == nil {
		return false, false
	}
	return f.waiter.Waiting()
}

// place returns the list where a flow belongs after a datagram.
func (t *Table) place(f *flow) *list {
	a, b := f.facts.Half[0].Packets, f.facts.Half[1].Packets
	few := min(a, b) > 0 && max(a, b) <= uint64(t.limits.MaxAnswered)
	switch waiting, known := f.waits(); {
	case waiting:
		return &t.waiting
	case few && (known || a == b):
		return &t.answered
	}
	return &t.idle
}

func (t *Table) find(key *packet.Flow) *flow {
	if f := t.last; f != nil && f.key == *key {
		return f
	}
	return t.get(key)
}

func (t *Table) get(key *packet.Flow) *flow {
	f := t.flows.get(key)
	if f == nil && len(t.aliases) > 0 {
		f = t.aliases[*key]
	}
	return f
}

func (f *flow) direction(fromLo bool) proto.Direction {
	if fromLo {
		return f.loIs
	}
	return f.loIs.Other()
}

// maxNets is how many networks are looked through for the other direction of a flow.
const maxNets = 16

// untagged returns the flow that a datagram answers although it came from another network: a mirror port that tags one direction
// only makes them look different. From then on the flow has both keys.
func (t *Table) untagged(key *packet.Flow, fromLo bool) *flow {
	if len(t.nets) == 0 || len(t.nets) == 1 && t.nets[0] == key.Net {
		return nil
	}
	other := *key
	for _, net := range t.nets {
		if net == key.Net {
			continue
		}
		other.Net = net
		f := t.get(&other)
		if f == nil || f.hasAlias || f.facts.Half[f.direction(fromLo)].Packets > 0 {
			continue
		}
		f.alias, f.hasAlias = *key, true
		t.aliases[*key] = f
		return f
	}
	return nil
}

// begin makes a new flow of its first datagram.
func (t *Table) begin(p *packet.Packet, key *packet.Flow, fromLo bool) *flow {
	at := clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
	for t.Counters.Open >= uint64(t.limits.MaxFlows) && t.evict(at) {
	}
	f := t.free
	if f != nil {
		t.free = f.next
		t.spares--
		f.reset()
	} else {
		f = new(flow)
	}
	f.key = *key
	from := proto.Originator
	if answers(p) {
		from = proto.Responder // the capture begins later
	}
	f.loIs = from
	if !fromLo {
		f.loIs = from.Other()
	}
	g := t.newFlow()
	g.Proto, g.Net, g.First = p.Proto, p.Net, at
	g.Midstream = from == proto.Responder
	g.Addr[from], g.Port[from] = p.Src, p.SrcPort
	g.Addr[from.Other()], g.Port[from.Other()] = p.Dst, p.DstPort
	f.flow = g
	for d := range f.facts.Half {
		f.facts.Half[d].WindowScale = -1
	}
	f.to = t.open(g, &f.facts, p)
	f.waiter, _ = f.to.(Waiter)
	t.flows.add(f)
	if len(t.nets) < maxNets && !slices.Contains(t.nets, p.Net) {
		t.nets = append(t.nets, p.Net)
	}
	f.seen = t.elapsed
	t.idle.push(f)
	t.Counters.Flows++
	t.Counters.Open++
	return f
}

// newFlow returns a flow. They are made several at a time, since exchanges may keep them for long.
func (t *Table) newFlow() *proto.Flow {
	if len(t.made) == 0 {
		t.made = make([]proto.Flow, 16)
	}
	f := &t.made[0]
	t.made = t.made[1:]
	return f
}

// twice reports whether a datagram that d sent was captured before, and remembers it.
func (t *Table) twice(f *flow, d proto.Direction, p *packet.Packet) bool {
	s := sent{p.Time, maphash.Bytes(t.seed, p.Payload) + uint64(p.PayloadLen)<<16 + uint64(p.IPID), p.Net, p.TTL}
	within := duplicateWithinNoID
	if p.IPID != 0 {
		within = duplicateWithin
	}
	recent, n := &f.recent[d], f.nth[d]
	for i := range min(int(n), len(recent)) {
		r := &recent[i]
		elsewhere := r.net != s.net || r.ttl != s.ttl
		if r.sum == s.sum && s.at-r.at <= within && r.at-s.at <= within && (p.IPID != 0 || elsewhere) {
			return true
		}
	}
	recent[n%uint8(len(recent))] = s
	if n++; n == 2*uint8(len(recent)) {
		n -= uint8(len(recent))
	}
	f.nth[d] = n
	return false
}

// ICMP takes an ICMP error: p holds the datagram that it quotes, key and fromLo are p.Key(). The facts of the flow tell of it; one
// that says that there is nobody to send to ends the flow, as reset, if it is about what the originator sent: one
// that has its answer closes its port, and so refuses what comes twice, while other questions may wait.
func (t *Table) ICMP(p *packet.Packet, key *packet.Flow, fromLo bool) tcp.Verdict {
	f := t.find(key)
	for i := 0; f == nil && i < len(t.nets); i++ {
		other := *key
		other.Net = t.nets[i]
		f = t.get(&other)
	}
	if f == nil {
		return tcp.Unrelated
	}
	d := f.direction(fromLo)
	if f.facts.Half[d].Packets == 0 {
		return tcp.Unrelated // it wasn't sent
	}
	at := clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
	f.facts.Error = proto.ICMPError{
		At: at, From: p.ICMP.From, Of: d, Type: p.ICMP.Type, Code: p.ICMP.Code, V6: p.ICMP.V6, MTU: p.ICMP.MTU,
	}
	f.facts.Errors++
	if d == proto.Originator && p.ICMP.Hard() {
		f.facts.By = d.Other()
		t.end(f, proto.Reset, at)
	}
	return tcp.Analysed
}

// end ends a flow. at marks when that is found; what is over because nothing comes any more has ended with its last datagram.
func (t *Table) end(f *flow, why proto.CloseReason, at clock.Mark) {
	f.facts.Why, f.facts.Closed = why, f.latest
	if why == proto.Reset {
		f.facts.Closed = at
	}
	f.to.Close(at, why)
	f.in.remove(f)
	t.flows.remove(f)
	if f.hasAlias {
		delete(t.aliases, f.alias)
	}
	if t.last == f {
		t.last = nil
	}
	t.Counters.Open--
	if t.spares < maxSpares {
		f.flow, f.to, f.waiter = nil, nil, nil
		f.next = t.free
		t.free = f
		t.spares++
	}
}

// evict forgets a flow, and reports whether there was one.
func (t *Table) evict(at clock.Mark) bool { return t.evictIdle(at) || t.forget(t.waiting.head, at) }

// evictIdle forgets a flow of which nothing is known to wait, and reports whether there was one.
func (t *Table) evictIdle(at clock.Mark) bool {
	return t.forget(t.answered.head, at) || t.forget(t.idle.head, at)
}

// forget forgets a flow, unless it is nil, which it reports.
func (t *Table) forget(f *flow, at clock.Mark) bool {
	if f == nil {
		return false
	}
	if waiting, known := f.waits(); f.in == &t.answered || known && !waiting {
		t.Counters.TimedOut++
		t.end(f, proto.TimedOut, at)
		return true
	}
	t.Counters.Evicted++
	t.end(f, proto.Evicted, at)
	return true
}

// EvictOne forgets the flow that was silent the longest, one with its answers first, then one of which nothing is known to wait, and
// reports whether there was one. EvictIdle leaves those alone in which something waits.
func (t *Table) EvictOne(p *packet.Packet) bool { return t.evict(mark(p)) }

// EvictIdle is described at EvictOne.
func (t *Table) EvictIdle(p *packet.Packet) bool { return t.evictIdle(mark(p)) }

func mark(p *packet.Packet) clock.Mark {
	return clock.Mark{Time: p.Time, Packet: p.Number, Tap: p.Tap, Peer: -1}
}

// Tick ends the flows that were silent for too long. elapsed is the clock's elapsed time, at the mark of the last packet.
func (t *Table) Tick(elapsed int64, at clock.Mark) {
	t.elapsed = elapsed
	t.expire(&t.answered, t.limits.Answered, at)
	t.expire(&t.idle, t.limits.Timeout, at)
	t.expire(&t.waiting, t.limits.Timeout, at)
}

func (t *Table) expire(l *list, timeout time.Duration, at clock.Mark) {
	for f := l.head; f != nil && t.elapsed-f.seen > int64(timeout); f = l.head {
		t.Counters.TimedOut++
		t.end(f, proto.TimedOut, at)
	}
}

// Close ends all flows: the capture is over.
func (t *Table) Close(at clock.Mark) {
	for _, l := range [3]*list{&t.answered, &t.idle, &t.waiting} {
		for f := l.head; f != nil; f = l.head {
			t.end(f, proto.CaptureEnded, at)
		}
	}
}

// Each calls do with what takes the datagrams of each open flow, those with their answers first, those that wait last, and of each
// kind first the one that was silent the longest.
func (t *Table) Each(do func(proto.Datagrams)) {
	for _, l := range [3]*list{&t.answered, &t.idle, &t.waiting} {
		for f := l.head; f != nil; f = f.next {
			do(f.to)
		}
	}
}
