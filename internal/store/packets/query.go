package packets

import (
	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/pcapng"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Query says which packets are wanted: those of one exchange. Times are nanoseconds since 1970 UTC.
type Query struct {
	// Tap is the label of the tap: its name, or the base name of the file.
	Tap string
	// Addr and Port are the ends of the connection, in any order; Proto and Net are its transport and its network, as
	// packet.Flow has them.
	Addr  [2]packet.Addr
	Port  [2]uint16
	Proto uint8
	Net   uint32
	// Opened is when the first packet of the connection came, 0 when that isn't known.
	Opened int64
	// Start and End are the times of the first and the last byte, or of what ended the exchange; First and Last are
	// the numbers of their packets, 0 when they aren't known.
	Start, End  int64
	First, Last uint64
	// Connection: all packets of the connection are wanted. Those of SCTP always are: what is missing in one stream
	// leaves open what the others mean.
	Connection bool
	// Comment is what the first packet of the exchange says of it, for people.
	Comment string
}

// Of returns the query for the packets of an exchange.
func Of(x *exchange.Exchange) Query {
	f := x.Flow
	return Query{
		Tap: x.Tap.Label, Addr: f.Addr, Port: f.Port, Proto: f.Proto, Net: f.Net, Opened: f.First.Time,
		Start: x.Start.Time, End: x.Completed.Time, First: x.FirstPacket, Last: x.LastPacket,
		Comment: string(pcapng.AppendComment(nil, x)),
	}
}

// key returns the key of the connection, without tap and network.
func (q *Query) key() packet.Flow {
	p := packet.Packet{
		Src: q.Addr[proto.Originator], Dst: q.Addr[proto.Responder], SrcPort: q.Port[proto.Originator], DstPort: q.Port[proto.Responder],
		Proto: q.Proto,
	}
	k, _ := p.Key()
	return k
}

// label returns the label of the tap as files have it.
func (q *Query) label() string {
	f, _ := parseInterface(pcapng.AppendInterface(nil, &capture.Tap{Name: q.Tap}, 0))
	return f.label
}

// slack is how far from an exchange packets may lie that belong to it: early segments, late acknowledgements, data
// that was sent again.
const slack = int64(2e9)

// silence is after how long without datagrams a flow of UDP is over at the latest, as udp.DefaultLimits has it.
const silence = int64(30e9)

// candidate is a packet of the connection.
type candidate struct {
	time     int64
	number   uint64
	seq, end uint32 // its sequence number, and that behind its payload
	net      uint32
	source   uint32
	at       uint32
	iface    uint16 // of the finder
	flags    uint8  // of TCP
	// part: it is a fragment of the datagram that the next one completes. payload: it carries data. opens and closes
	// are about the connection.
	fromLo, part, payload, opens, closes bool
}

// place says whether a packet comes before the exchange (-1), in it (0) or after it (1).
func (q *Query) place(c *candidate) int {
	if q.First > 0 && q.Last > 0 && c.number > 0 && c.time >= q.Start-slack && c.time <= q.End+slack {
		switch {
		case c.number < q.First:
			return -1
		case c.number > q.Last:
			return 1
		}
		return 0
	}
	switch {
	case c.time < q.Start:
		return -1
	case c.time > q.End:
		return 1
	}
	return 0
}

// maxHandshake is how many packets that open a connection are taken, sent again or not.
const maxHandshake = 8

// choice is what is chosen of the packets of a connection.
type choice struct {
	chosen      []bool
	anchor      int // index of the packet that begins the exchange, -1 when it isn't there
	first, last bool
}

// choose chooses packets of the connection, which are in the order of their capture: those of the exchange with what
// belongs to them, and those that open and close the connection.
func (q *Query) choose(all []candidate) choice {
	ch := choice{chosen: make([]bool, len(all)), anchor: -1}
	for i := range all {
		c := &all[i]
		if c.part {
			continue
		}
		if ch.anchor < 0 && c.number == q.First && c.time == q.Start && q.First > 0 {
			ch.anchor = i
		}
	}
	other := q.others(all, ch.anchor)
	from, to := q.bounds(all, other)
	q.handshake(all, other, ch.chosen, from)
	var sent [2]uint32
	var has [2]bool
	trailing, begun := true, false
	for i := from; i < to; i++ {
		c := &all[i]
		if c.part || other[i] {
			continue
		}
		d := 0
		if c.fromLo {
			d = 1
		}
		is := false
		switch place := q.place(c); {
		case q.Connection:
			is = true
			ch.first, ch.last = ch.first || place == 0, ch.last || c.number == q.Last
		case place < 0:
			is = ch.anchor >= 0 && q.Proto == packet.ProtoTCP && c.early(&all[ch.anchor])
		case place == 0:
			is, begun = true, true
			ch.first, ch.last = ch.first || c.number == q.First, ch.last || c.number == q.Last
		case c.payload:
			if q.Proto == packet.ProtoTCP && has[d] && int32(c.end-sent[d]) <= 0 {
				is = true // of a hole in the exchange, or sent again
			} else {
				trailing = false
			}
		default:
			is = c.closes || begun && trailing
		}
		if is && c.payload && (!has[d] || int32(c.end-sent[d]) > 0) {
			sent[d], has[d] = c.end, true
		}
		ch.chosen[i] = ch.chosen[i] || is
	}
	for i := len(all) - 2; i >= 0; i-- {
		if all[i].part {
			ch.chosen[i] = ch.chosen[i+1]
		}
	}
	return ch
}

// maxAhead is how far ahead of the first byte of an exchange a segment that came before it may be, in bytes: the largest
// window of TCP (RFC 7323 §2.3).
const maxAhead = 1 << 30

// early reports whether a packet before the one that begins the exchange has data behind that.
func (c *candidate) early(anchor *candidate) bool {
	ahead := int32(c.end - anchor.seq)
	return c.payload && c.flags&packet.SYN == 0 && c.fromLo == anchor.fromLo && anchor.payload && ahead > 0 && ahead <= maxAhead
}

// others tells packets of other connections with the same ends: on another interface of a tap without a name, or
// in another network. A mirror port may tag one direction only, so that a direction without a packet in the network is
// taken from any.
func (q *Query) others(all []candidate, anchor int) []bool {
	other := make([]bool, len(all))
	var in [2]bool
	for i := range all {
		c := &all[i]
		other[i] = anchor >= 0 && c.iface != all[anchor].iface
		if !other[i] && !c.part && c.net == q.Net {
			if c.fromLo {
				in[1] = true
			} else {
				in[0] = true
			}
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		c := &all[i]
		switch {
		case c.part:
			other[i] = i+1 < len(all) && other[i+1]
		case c.net != q.Net && (c.fromLo && in[1] || !c.fromLo && in[0]):
			other[i] = true
		}
	}
	return other
}

// bounds returns where the connection of the exchange begins and ends.
func (q *Query) bounds(all []candidate, other []bool) (from, to int) {
	if q.Proto == packet.ProtoUDP {
		return q.between(all, other)
	}
	to = len(all)
	opened, closed := -1, false
	for i := range all {
		c := &all[i]
		if c.part || other[i] {
			continue
		}
		if closed = closed || c.closes; !c.opens {
			continue
		}
		again := opened >= 0 && !closed && all[opened].seq == c.seq && q.Proto == packet.ProtoTCP
		switch {
		case again:
		case q.place(c) <= 0:
			opened, closed = i, false
			for from = i; from > 0 && all[from-1].part; from-- {
				continue
			}
		default:
			return from, i
		}
	}
	return from, to
}

// between returns where the flow of UDP begins and falls silent. Where it isn't known when it was first seen, it begins where the
// silence before it ends.
func (q *Query) between(all []candidate, other []bool) (from, to int) {
	last := int64(0) // the time of the packet before
	begun := false
	for i := range all {
		c := &all[i]
		if c.part || other[i] {
			continue
		}
		switch place := q.place(c); {
		case place > 0 && begun && c.time-last > silence:
			return from, i
		case place <= 0 && (c.time < q.Opened || q.Opened == 0 && begun && c.time-last > silence):
			from = i + 1
			if q.Opened == 0 {
				for from = i; from > 0 && all[from-1].part; from-- {
					continue
				}
			}
		}
		last, begun = c.time, true
	}
	return from, len(all)
}

// handshake chooses the packets that open the connection.
func (q *Query) handshake(all []candidate, other, chosen []bool, from int) {
	n := 0
	acked, fromLo := false, false // an acknowledgement of the handshake is to come, and from which side
	for i := from; i < len(all) && n < maxHandshake; i++ {
		c := &all[i]
		if c.part || other[i] {
			continue
		}
		if q.place(c) >= 0 {
			return
		}
		switch {
		case q.Proto != packet.ProtoTCP:
			chosen[i] = c.closes || c.opens
		case c.flags&packet.SYN != 0:
			chosen[i] = true
			if c.flags&packet.ACK != 0 {
				acked, fromLo = true, !c.fromLo
			}
		case acked && c.fromLo == fromLo:
			acked = false
			chosen[i] = !c.payload
		}
		if chosen[i] {
			n++
		}
	}
}
