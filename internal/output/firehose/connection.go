package firehose

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/firehose"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// The sides of a connection, as indexes: what goes to its server, and what goes to its client.
const (
	request = iota
	response
)

// dirs are the directions of fragments, by side.
var dirs = [2]firehose.Dir{request: firehose.Request, response: firehose.Response}

// connection is an open connection.
type connection struct {
	flow *proto.Flow
	tap  *exchange.Tap
	uuid firehose.UUID
	// client is who asks: decided, with the first bytes or messages. known: messages have said so.
	client         proto.Direction
	known, decided bool
	// selected: it is one of a party. place is where it is recorded, once something was.
	selected bool
	place    *place
	// stream is that of the whole connection; streams is how many there were.
	stream  *stream
	streams uint64
	inner   bool
	name    string
	requestState
}

// stream is what has one UUID.
type stream struct {
	uuid       firehose.UUID
	connection *connection
	place      *place
	number     uint64
	// started and ended are capture times in nanoseconds since 1970; why it has ended.
	started, ended int64
	why            string
	half           [2]half
	// seen: there was something of a side. guessed: that the response is the request's isn't sure.
	seen    [2]bool
	guessed bool
	// listed: all of it is in the list.
	listed bool
	// nth is the number of the request, where each has a stream.
	nth uint64
}

// half is one direction of a stream.
type half struct {
	stream *stream
	side   int
	// wanted: it is recorded. late: what it begins with wasn't captured.
	wanted, late bool
	// count is the number of the next fragment, last the time of the last one in microseconds since 1970.
	count uint64
	last  int64
	// reserved: there is room for its end mark. ending: that was sent; over: it was written, or lost.
	reserved, ending, over bool

	written, dropped uint64
	bytes            int64
	// holes are stretches that are missing in the capture, missing their bytes; of unknown ones the length isn't known.
	holes, unknown uint64
	missing        int64
	// pending is what is being written, sum that of all that was.
	pending []byte
	sum     hash.Hash
}

func (h *half) dir() firehose.Dir { return dirs[h.side] }

// miss notes that bytes are missing in the capture: a fragment is left out, so that every reader sees it.
func (h *half) miss(n int64) {
	h.count++
	h.holes++
	if n == proto.Unknown {
		h.unknown++
	} else {
		h.missing += n
	}
}

func (h *half) digest(b []byte) {
	if h.sum == nil {
		h.sum = sha256.New()
	}
	h.sum.Write(b)
}

// side returns the side that what one end sends is on.
func (c *connection) side(from proto.Direction) int {
	if from == c.client {
		return request
	}
	return response
}

// message notes what a chunk says of a message. requests: where requests begin and end matters.
func (c *connection) message(k *follow.Chunk, requests bool) {
	m := k.Message
	if !c.decided && !c.known {
		switch m.Kind {
		case proto.Request:
			c.client, c.known = m.Dir, true
		case proto.Response, proto.Interim:
			c.client, c.known = m.Dir.Other(), true
		}
	}
	if requests {
		c.bound(k)
	}
}

// What the first bytes of who asks in HTTP, and of who answers, look like.
var (
	asking = [][]byte{
		[]byte("GET "), []byte("POST "), []byte("PUT "), []byte("HEAD "), []byte("DELETE "), []byte("OPTIONS "), []byte("PATCH "),
		[]byte("CONNECT "), []byte("TRACE "), []byte("PRI * HTTP/2.0"),
	}
	answering = []byte("HTTP/1.")
)

// highPorts begin those that systems give to who connects without asking for a port.
const highPorts = 32768

// decide decides who asks, with the first chunk of the connection. Where its begin was captured, that is who opened it.
func (c *connection) decide(k *follow.Chunk) {
	c.decided, c.tap = true, k.Tap
	if c.known {
		return
	}
	c.client = proto.Originator
	if !c.flow.Midstream {
		return
	}
	for _, method := range asking {
		if bytes.HasPrefix(k.Data, method) {
			c.client = k.Dir
			return
		}
	}
	if bytes.HasPrefix(k.Data, answering) {
		c.client = k.Dir.Other()
		return
	}
	if p := c.flow.Port; p[proto.Originator] < highPorts && p[proto.Responder] >= highPorts {
		c.client = proto.Responder
	}
}

// end returns an end of the connection.
func (c *connection) end(d proto.Direction) netip.AddrPort {
	return netip.AddrPortFrom(c.flow.Addr[d].Netip().Unmap(), c.flow.Port[d])
}

// matches reports whether an end is what a party says.
func matches(party, end netip.AddrPort) bool {
	return (!party.Addr().IsValid() || party.Addr() == end.Addr()) && (party.Port() == 0 || party.Port() == end.Port())
}

// choose finds out whether the connection is to be recorded, and gives it its UUID.
func (c *connection) choose(o *Output) {
	client, server := c.end(c.client), c.end(c.client.Other())
	c.selected = len(o.o.Parties) == 0
	for _, p := range o.o.Parties {
		switch {
		case !o.o.Proxy:
			c.selected = c.selected || matches(p, server)
		case matches(p, server): // one that it accepts
		default: // it connects from any port
			c.selected = c.selected || matches(netip.AddrPortFrom(p.Addr(), 0), client)
		}
	}
	if !c.selected {
		o.stats.Unselected++
		if len(o.others) < maxOthers {
			o.others[server.String()] = true
		}
		return
	}
	c.uuid = flowID(c.flow, c.tap)
}

// wanted reports whether what goes to one side is recorded. What goes to the server is what it reads, and what its client writes.
func (c *connection) wanted(side int, o *Options) bool {
	if (side == request) != o.Proxy {
		return o.Input
	}
	return o.Output
}

// flowID returns the UUID of a connection: the same whenever the same capture is read.
func flowID(f *proto.Flow, tap *exchange.Tap) firehose.UUID {
	b := []byte("connection\x00")
	if tap != nil {
		b = append(append(append(b, tap.Observer...), 0), tap.Name...)
	}
	b = append(b, 0, f.Proto)
	for d := range f.Addr {
		b = append(b, f.Addr[d][:]...)
		b = binary.BigEndian.AppendUint16(b, f.Port[d])
	}
	b = binary.BigEndian.AppendUint32(b, f.Net)
	b = binary.BigEndian.AppendUint16(b, f.Stream)
	b = binary.BigEndian.AppendUint64(b, uint64(f.First.Time))
	// Where clocks are coarse, and several files have the same, that isn't enough.
	b = binary.BigEndian.AppendUint64(b, f.First.Packet)
	b = binary.BigEndian.AppendUint32(b, f.First.Tap)
	return newID(b)
}

// requestID returns the UUID of the nth request of a connection.
func requestID(of firehose.UUID, nth uint64) firehose.UUID {
	return newID(binary.BigEndian.AppendUint64(append([]byte("request\x00"), of[:]...), nth))
}

// newID makes a UUID of what is unique, in the form of a random one (RFC 9562 §5.4), as those of the module are.
func newID(b []byte) (id firehose.UUID) {
	sum := sha256.Sum256(b)
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// transports are the names of the transports.
var transports = map[uint8]string{packet.ProtoTCP: "tcp", packet.ProtoUDP: "udp", packet.ProtoSCTP: "sctp"}
