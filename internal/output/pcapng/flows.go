package pcapng

import (
	"math/bits"
	"slices"
	"time"

	"github.com/culprit-http/culprit/internal/packet"
)

// flow is a connection whose packets are kept until the exchanges that they belong to are known.
type flow struct {
	key     packet.Flow
	packets list
	pages   int
	rings   [numRings]links
	// weight is the ring of its weight that it is in.
	weight int8

	// conn is the number of the first packet of the connection whose exchange came last; next is the index of
	// its first exchange that is still missing, and bit i of ahead says that exchange next+1+i isn't. last is
	// the last packet of the exchanges so far. since is the first packet that the flow knows of.
	conn  uint64
	next  uint32
	ahead uint64
	last  uint64
	since uint64
	// lost is the last packet that was let go of for lack of memory, from the oldest on; droppedFrom and
	// dropped enclose those for which there was no room when they came.
	lost, droppedFrom, dropped uint64

	// high is, by direction, the highest sequence number behind data; known: it is.
	// sent and hasSent are the same of the data that was given to the writer.
	high, sent     [2]uint32
	known, hasSent [2]bool
	// isn is the sequence number of the SYN; handshakes counts the handshake packets; ackFrom is the direction
	// whose acknowledgement completes the handshake, plus one; ends are the directions that have ended.
	isn        uint32
	handshakes uint8
	ackFrom    uint8
	ends       uint8
	hasISN     bool
	// over says whether it may be over, silentAt since when. datagrams counts those of UDP, by direction.
	over      over
	silentAt  int64
	datagrams [2]uint32

	// sessions are the TLS sessions that began in it, stateful: what comes can't be read without what came before.
	sessions [][32]byte
	stateful bool

	// proven: an exchange was seen in it. mixed: exchanges don't end in the order in which they begin, so that
	// none says what isn't needed any more. trailing: nothing new was sent since an exchange that matched.
	proven, mixed, trailing bool
}

// The rings that flows are in: by the time of the last packet, by weight, and those that may be over.
const (
	byAge = iota
	byWeight
	byEnd
	numRings
)

// over says whether a flow may be over, and why.
type over uint8

const (
	// underWay: nothing says so.
	underWay over = iota
	// closed: the connection has ended.
	closed
	// answered and waiting: of UDP, where only silence tells, less of it when each side has sent as many datagrams as the
	// other, and at most maxAnswered.
	answered
	waiting
	numOver
)

const maxAnswered = 8

// settled is the capture time after which all exchanges of a flow that may be over have been delivered, once an
// exchange that completed so much later has been: a reset is believed after a while, and the analysis waits for
// datagrams for almost as long (udp.DefaultLimits).
var settled = [numOver]int64{closed: int64(2 * time.Second), answered: int64(4 * time.Second), waiting: int64(32 * time.Second)}

// links are the neighbours in a ring, which is a doubly linked list; 0 is none.
type links struct{ before, behind uint32 }

type ring struct{ first, last uint32 }

// provenBits is by how many powers of two a flow may be larger when it has had exchanges, until it is taken
// for as heavy as one that may never have any.
const provenBits = 2

// numWeights is the number of different weights.
const numWeights = 32 + provenBits + 1

// flows is the table of flows. They are numbered from 1.
type flows struct {
	index   map[packet.Flow]uint32
	all     []flow
	free    []uint32
	limit   int
	age     ring
	over    [numOver]ring
	weights [numWeights]ring
	// filled has a bit for each weight that some flow has.
	filled uint64
}

func newFlows(limit int) flows {
	return flows{index: map[packet.Flow]uint32{}, all: make([]flow, 1), limit: limit}
}

func (t *flows) push(r *ring, which int, i uint32) {
	t.all[i].rings[which] = links{before: r.last}
	if r.last != 0 {
		t.all[r.last].rings[which].behind = i
	} else {
		r.first = i
	}
	r.last = i
}

func (t *flows) remove(r *ring, which int, i uint32) {
	l := t.all[i].rings[which]
	if l.before != 0 {
		t.all[l.before].rings[which].behind = l.behind
	} else {
		r.first = l.behind
	}
	if l.behind != 0 {
		t.all[l.behind].rings[which].before = l.before
	} else {
		r.last = l.before
	}
}

// weigh puts a flow where its size belongs. One that has had exchanges weighs a quarter.
func (t *flows) weigh(i uint32) {
	f := &t.all[i]
	w := int8(0)
	if f.pages > 0 {
		w = int8(bits.Len(uint(f.pages)))
		if !f.proven {
			w += provenBits
		}
	}
	if w == f.weight {
		return
	}
	t.leave(i)
	f.weight = w
	if w > 0 {
		t.push(&t.weights[w], byWeight, i)
		t.filled |= 1 << w
	}
}

// leave takes a flow out of the ring of its weight.
func (t *flows) leave(i uint32) {
	f := &t.all[i]
	if f.weight == 0 {
		return
	}
	r := &t.weights[f.weight]
	t.remove(r, byWeight, i)
	if r.first == 0 {
		t.filled &^= 1 << f.weight
	}
	f.weight = 0
}

// heaviest returns the flow that has the most, 0 when none has anything.
func (t *flows) heaviest() uint32 {
	if t.filled == 0 {
		return 0
	}
	return t.weights[bits.Len64(t.filled)-1].first
}

// touch makes a flow the youngest.
func (t *flows) touch(i uint32) {
	if t.age.last != i {
		t.remove(&t.age, byAge, i)
		t.push(&t.age, byAge, i)
	}
}

// add makes a flow; there must be room.
func (t *flows) add(key packet.Flow, number uint64) uint32 {
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		t.all = append(t.all, flow{})
		i = uint32(len(t.all) - 1)
	}
	t.all[i] = flow{key: key, since: number, mixed: key.Proto == packet.ProtoSCTP}
	t.index[key] = i
	t.push(&t.age, byAge, i)
	return i
}

// delete forgets a flow that has no packets.
func (t *flows) delete(i uint32) {
	f := &t.all[i]
	t.leave(i)
	t.remove(&t.age, byAge, i)
	t.rest(i, underWay, 0)
	delete(t.index, f.key)
	*f = flow{}
	t.free = append(t.free, i)
}

// rest notes that a flow may be over, since a time that isn't before those of others.
func (t *flows) rest(i uint32, o over, at int64) {
	f := &t.all[i]
	if f.silentAt = at; f.over == o && t.over[o].last == i {
		return
	}
	if f.over != underWay {
		t.remove(&t.over[f.over], byEnd, i)
	}
	if f.over = o; o != underWay {
		t.push(&t.over[o], byEnd, i)
	}
}

// unsettled reports whether exchanges of a flow of UDP are still to come, although each side has sent as many
// datagrams as the other: an answer that nobody had asked for may be among them.
func (f *flow) unsettled() bool {
	return f.proven && (f.ahead != 0 || f.next < f.datagrams[0])
}

// dispensable returns the flow to let go of when there are too many: one that has its answers, or the one that was
// silent the longest.
func (t *flows) dispensable() uint32 {
	if i := t.over[answered].first; i != 0 {
		return i
	}
	return t.age.first
}

// both are both directions, as a set.
const both = 3

// maxHandshake is how many packets of a handshake are kept apart, sent again or not.
const maxHandshake = 8

// associationSetup is how many packets it takes to set up an SCTP association (RFC 9260 §5.1).
const associationSetup = 4

// arrive notes a packet, and returns what it is. opened: it begins a new connection.
func (t *flows) arrive(i uint32, p *packet.Packet, direct bool) (is flags, end uint32, opened bool) {
	f := &t.all[i]
	d := uint8(0)
	if direct {
		d, is = 1, fromLo
	}
	switch p.Proto {
	case packet.ProtoSCTP:
		is |= hasPayload | isFresh
		if f.handshakes < associationSetup {
			f.handshakes++
			is |= isHandshake
		}
		return is, 0, false
	case packet.ProtoUDP:
		f.datagrams[d]++
		o := waiting
		if n := f.datagrams[d]; n == f.datagrams[1-d] && n <= maxAnswered {
			o = answered
		}
		t.rest(i, o, p.Time)
		return is | hasPayload | isFresh, 0, false
	}
	seq := p.Seq
	if p.Flags&packet.SYN != 0 {
		if p.Flags&packet.ACK == 0 {
			if f.hasISN && f.isn != p.Seq || f.ends == both {
				opened = true
				t.reopen(i)
			}
			f.isn, f.hasISN = p.Seq, true
		} else {
			f.ackFrom = 2 - d // the other direction
		}
		seq++
		f.high[d], f.known[d] = seq, true
		is |= f.handshake()
	} else if f.ackFrom == d+1 {
		f.ackFrom = 0
		if p.PayloadLen == 0 {
			is |= f.handshake()
		}
	}
	if p.PayloadLen > 0 {
		is |= hasPayload
		end = seq + uint32(p.PayloadLen)
		if !f.known[d] || int32(end-f.high[d]) > 0 {
			is |= isFresh
			f.high[d], f.known[d] = end, true
		}
	}
	before := f.ends
	switch {
	case p.Flags&packet.RST != 0:
		f.ends = both
	case p.Flags&packet.FIN != 0:
		f.ends |= 1 << d
	}
	if f.ends == both && before != both {
		t.rest(i, closed, p.Time)
	}
	return is, end, opened
}

// reopen forgets the state of the connection that used the flow before.
func (t *flows) reopen(i uint32) {
	f := &t.all[i]
	t.rest(i, underWay, 0)
	f.ends, f.handshakes, f.ackFrom, f.known, f.hasSent, f.trailing = 0, 0, 0, [2]bool{}, [2]bool{}, false
	f.sessions, f.stateful = nil, false
}

// look finds out what a packet with new data begins; keep: TLS sessions are remembered.
func (t *flows) look(i uint32, payload []byte, keep bool) {
	f := &t.all[i]
	if !stateful(payload) {
		return
	}
	f.stateful = true
	if random, ok := clientHello(payload); ok && keep && !slices.Contains(f.sessions, random) {
		if len(f.sessions) == maxConnSessions {
			f.sessions = slices.Delete(f.sessions, 1, 2) // the first one may carry the others
		}
		f.sessions = append(f.sessions, random)
	}
}

// write notes that a packet is given to the writer.
func (f *flow) write(is flags, end uint32) {
	if d := is & fromLo / fromLo; is&hasPayload != 0 && (!f.hasSent[d] || int32(end-f.sent[d]) > 0) {
		f.sent[d], f.hasSent[d] = end, true
	}
}

// wrote reports whether a packet is another copy of data that was given to the writer.
func (f *flow) wrote(is flags, end uint32) bool {
	d := is & fromLo / fromLo
	return is&(hasPayload|isFresh) == hasPayload && f.hasSent[d] && int32(end-f.sent[d]) <= 0
}

func (f *flow) handshake() flags {
	if f.handshakes == maxHandshake {
		return 0
	}
	f.handshakes++
	return isHandshake
}

// maxAhead is how many exchanges may end before one that began before them, until nothing is let go of any
// more.
const maxAhead = 64

// delivered notes that an exchange of a connection has come, and reports whether all before it have: then
// nothing needs what lies before it.
func (f *flow) delivered(conn uint64, index uint32) bool {
	f.proven = true
	switch {
	case conn < f.conn:
		f.mixed = true // two networks, or late: better to keep too much
	case conn > f.conn:
		f.conn, f.next, f.ahead, f.last = conn, 0, 0, 0
		if f.since > conn {
			f.next = index // what came before was forgotten
		}
	}
	if f.mixed {
		return false
	}
	switch ahead := index - f.next; {
	case index < f.next:
		return false
	case ahead == 0:
		n := bits.TrailingZeros64(^f.ahead)
		f.next += uint32(n) + 1
		f.ahead = f.ahead >> n >> 1
		return true
	case ahead <= maxAhead:
		f.ahead |= 1 << (ahead - 1)
	default:
		f.mixed = true
	}
	return false
}
