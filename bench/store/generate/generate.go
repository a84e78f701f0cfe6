// Package generate makes exchanges for measuring a store: as many as are wanted, like those of a shop's edge, with
// all that capture, redaction and enrichment fill in.
//
// What makes them hard to compress is known: see Generator.Information.
package generate

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// Options say what is made.
type Options struct {
	// Seed decides everything else: the same options give the same exchanges.
	Seed uint64
	// Start is when the first exchange ends, in nanoseconds since 1970. Rate is how many end in a second; 0: 20,000.
	Start int64
	Rate  float64
}

const (
	defaultRate = 20_000
	// clients is how many addresses ask.
	clients = 50_000
	// perConnection is the mean number of exchanges that a client wants to make on one connection. Connections that are
	// busy when the next one comes make it fewer.
	perConnection = 6
	// segment is how much a packet carries.
	segment = 1448
	// earlier is how many packets were captured before.
	earlier = 50_000_000
	// window is how many packets a server sends before the first are acknowledged.
	window = 10
)

// Generator makes exchanges in the order in which they end. It isn't safe for concurrent use.
type Generator struct {
	rand  *rand.Rand
	begin int64
	// gap is the mean time between exchanges, in nanoseconds; now is when the last one ended.
	gap float64
	now int64
	// number counts exchanges, opened connections, packets the packets of the capture.
	number, opened, packets uint64

	clients     []client
	client      alias
	routes      []route
	route       alias
	connections []connection

	tap       exchange.Tap
	x         exchange.Exchange
	w         writer
	traces    [64][2]uint64
	requestID []byte
	// prints are all fingerprints of four digits, one behind the other.
	prints string
	// stamp is the Date header of a second.
	second int64
	stamp  []byte
}

// connection is one connection and how far it is.
type connection struct {
	flow   *proto.Flow
	client *client
	worker *exchange.Process
	// left is how many exchanges are still to come, index how many there were.
	left  int
	index uint32
	// last is when the last one ended.
	last  int64
	facts proto.Facts
}

// answer is what becomes of one request.
type answer struct {
	method                    string
	status                    int
	grade                     exchange.Grade
	requestBody, responseBody int64
	send, wait, receive       int64
	id                        uint64
	conditional, hasRequestID bool
	closes                    bool
}

// New makes a generator.
func New(o Options) *Generator {
	if o.Rate <= 0 {
		o.Rate = defaultRate
	}
	r := rand.New(rand.NewPCG(o.Seed, 1))
	g := &Generator{rand: r, begin: o.Start, now: o.Start, gap: 1e9 / o.Rate, second: math.MinInt64, packets: earlier,
		tap: exchange.Tap{Name: "eth0", Label: "eth0", Observer: "edge-1.dc1.example"}}
	servers := newServers(r)
	g.routes, g.route = newRoutes(r, servers)
	g.clients, g.client = newClients(r, clients, newAgents(), servers), newAlias(zipf(clients, 0.8))
	// A connection waits a second on average for its next exchange.
	n := min(max(o.Rate, 512), 1<<15)
	for _, s := range servers {
		s.slots = [2]int{len(g.connections), len(g.connections) + max(int(n*s.weight), 4)}
		g.connections = append(g.connections, make([]connection, s.slots[1]-s.slots[0])...)
	}
	var prints strings.Builder
	for f := range uint64(1 << 16) {
		prints.Write(appendHex(nil, f, 4))
	}
	g.prints = prints.String()
	return g
}

// Now returns when the last exchange ended, in nanoseconds since 1970.
func (g *Generator) Now() int64 { return g.now }

// Next makes the next exchange. It is borrowed until the next call, but its Flow, Tap, processes and what Enriched
// points to never change.
func (g *Generator) Next() *exchange.Exchange {
	r := g.rand
	g.now += int64(r.ExpFloat64()*g.gap) + 1
	g.number++
	t := &g.routes[g.route.draw(r)]
	var a answer
	g.decide(t, &a)
	c := g.connection(t.server, &a)
	g.transfer(c, &a)

	x := &g.x
	request, response, secrets := x.Request, x.Response, x.Secrets[:0]
	*x = exchange.Exchange{Flow: c.flow, Tap: &g.tap, Protocol: "http", Number: g.number, Index: c.index, Grade: a.grade, Request: request, Response: response, Secrets: secrets}
	x.RequestBody.DecodedBytes, x.ResponseBody.DecodedBytes = -1, -1
	x.HasRequest = a.grade != exchange.Midstream
	x.HasResponse = a.grade != exchange.Unanswered && a.grade != exchange.OneSided && a.grade != exchange.Aborted
	if x.HasRequest {
		g.request(x, c, t, &a)
		x.Enriched.Route, x.Enriched.UserAgent = t.text, &c.client.agent.facts
	} else {
		x.Request.Reset()
	}
	if x.HasResponse {
		g.response(x, c, t, &a)
	} else {
		x.Response.Reset()
	}
	x.Enriched.Place[proto.Originator] = c.client.place
	x.Enriched.Domain = [2]string{c.client.domain, t.server.domain}
	x.Enriched.Service = [2]string{c.client.service, t.server.name}
	x.Process[proto.Responder] = c.worker
	g.mark(x, c, &a)
	if a.grade != exchange.Complete {
		g.broken(x, c, &a)
	}
	measure.Time(x)
	c.index++
	c.left--
	if a.closes || a.grade != exchange.Complete {
		c.left = 0
	}
	c.last = g.now
	return x
}

// decide says what is asked of a route, and what becomes of it.
func (g *Generator) decide(t *route, a *answer) {
	r := g.rand
	a.method = t.methods[t.method.draw(r)]
	reads := a.method == http.MethodGet || a.method == http.MethodHead
	a.wait = int64(t.duration.draw(r))
	switch u := r.Float64(); {
	case u < t.upTo[0]:
		a.status = http.StatusOK
		switch {
		case a.method == http.MethodOptions, a.method == http.MethodDelete:
			a.status = http.StatusNoContent
		case a.method == http.MethodPost && t.server.kind == api:
			a.status = http.StatusCreated
		}
		a.conditional = reads && t.validates && r.IntN(20) == 0
	case u < t.upTo[1]:
		a.status = http.StatusFound
		if reads && t.validates {
			a.status, a.conditional = http.StatusNotModified, true
			a.wait /= 3
		} else if r.IntN(4) == 0 {
			a.status = http.StatusMovedPermanently
		}
	case u < t.upTo[2]:
		a.status = [...]int{404, 404, 404, 404, 401, 401, 403, 400, 422, 429}[r.IntN(10)]
		a.wait /= 2
	default:
		a.status = [...]int{500, 500, 500, 502, 503, 503, 504}[r.IntN(7)]
		switch a.status {
		case http.StatusGatewayTimeout:
			a.wait = 30e9 + a.wait/10
		case http.StatusServiceUnavailable:
			a.wait /= 10
		}
	}
	if !reads && a.method != http.MethodOptions && a.method != http.MethodDelete {
		a.requestBody = min(int64(logNormal{420, 1}.draw(r))+2, 16<<20)
	}
	a.responseBody = min(int64(t.size.draw(r))+2, 64<<20)
	a.wait = min(max(a.wait, 40_000), 120e9)
	a.grade = exchange.Complete
	switch u := r.IntN(20_000); { // 99.5 % are complete
	case u < 30:
		a.grade = exchange.Unanswered
	case u < 55:
		a.grade = exchange.Aborted
	case u < 80:
		a.grade = exchange.Gap
	case u < 92:
		a.grade = exchange.Midstream
	case u < 100:
		a.grade = exchange.OneSided
	}
	if a.grade == exchange.Unanswered {
		a.wait = 60e9 + a.wait
	}
	a.closes = r.IntN(50) == 0
}

// connection returns a connection to s that was free while the server worked, a new one if there is none.
func (g *Generator) connection(s *server, a *answer) *connection {
	r := g.rand
	var c *connection
	for range 4 {
		c = &g.connections[s.slots[0]+r.IntN(s.slots[1]-s.slots[0])]
		if c.left <= 0 || a.grade == exchange.Midstream {
			break
		}
		// The round trips of what is sent and received come on top.
		if c.last < g.now-a.wait-4*c.facts.Half[proto.Responder].RTT-1e6 {
			return c
		}
	}
	who := &g.clients[g.client.draw(r)]
	// The number of exchanges on a connection is geometrically distributed.
	*c = connection{client: who, left: 1 + int(r.ExpFloat64()*perConnection)}
	c.flow = &proto.Flow{Proto: packet.ProtoTCP, Midstream: a.grade == exchange.Midstream, Addr: [2]packet.Addr{who.addr, s.addr}, Port: [2]uint16{uint16(32_768 + r.IntN(28_232)), s.port}}
	if len(s.workers) > 0 {
		c.worker = s.workers[r.IntN(len(s.workers))]
	}
	for d := range c.facts.Half {
		h := &c.facts.Half[d]
		h.MSS, h.WindowScale, h.SACKPermitted, h.Window = 1460, 7, true, 64240
		if who.agent.style == browser && d == 0 {
			h.MSS, h.WindowScale = 1440, 6
		}
		h.RTT = int64(logNormal{who.rtt, 0.15}.draw(r))
		if d == int(proto.Originator) {
			h.RTT = int64(logNormal{s.rtt, 0.3}.draw(r))
		}
		h.MinRTT, h.RTTSamples = h.RTT, 1
	}
	g.opened++
	return c
}

// transfer says how long it takes to send what is asked and answered: packets that fill a window wait for a round
// trip. Then it makes the times of a new connection.
func (g *Generator) transfer(c *connection, a *answer) {
	r := g.rand
	rtt := float64(c.facts.Half[proto.Responder].RTT)
	rounds := func(bytes int64) int64 {
		if bytes <= segment {
			return 0
		}
		packets := float64(bytes) / segment
		return int64(packets*2000*(0.5+r.Float64()) + math.Floor(math.Log2(packets/window+1))*rtt*(1+0.1*r.Float64()))
	}
	a.send = rounds(a.requestBody + 900)
	if a.status < 300 && a.method != http.MethodHead {
		a.receive = rounds(a.responseBody + 500)
	}
	if a.grade == exchange.Unanswered || a.grade == exchange.Aborted || a.grade == exchange.OneSided {
		a.receive = 0
	}
	total := a.send + a.wait + a.receive
	f := &c.facts
	switch start := g.now - total; {
	case c.flow.Midstream:
		c.flow.First = clock.Mark{Time: start, Packet: g.packets + 1}
	case c.index == 0:
		f.SYNs, f.SYNACKs = 1, 1
		f.Ready = start - int64(logNormal{60_000, 0.8}.draw(r))
		f.SYNACK = f.Ready - f.Half[proto.Responder].RTT
		f.SYN = f.SYNACK - f.Half[proto.Originator].RTT
		c.flow.First = clock.Mark{Time: f.SYN, Packet: g.packets + 1}
	case start < c.last+1000:
		// It would have begun before the one before had ended: then it was received faster.
		late := c.last + 1000 - start
		cut := min(late, a.receive)
		a.receive -= cut
		a.send -= min(late-cut, a.send)
	}
}

// mark says which packets carried the exchange, and what the network did meanwhile.
func (g *Generator) mark(x *exchange.Exchange, c *connection, a *answer) {
	r := g.rand
	f := &c.facts
	sizes := [2]int64{x.Request.Size, x.Response.Size}
	packets := [2]uint64{uint64(1 + (sizes[0]-1)/segment), uint64(1 + (sizes[1]-1)/segment)}
	during := &x.During
	for d := range during {
		n := &during[d]
		if sizes[d] > 0 {
			n.Packets, n.Bytes = packets[d], uint64(sizes[d])
		}
		n.Packets += (packets[1-d] + 1) / 2 // acknowledgements
		if r.IntN(150) == 0 {
			n.Retransmits = uint32(1 + min(r.IntN(4), r.IntN(4)))
			n.Packets += uint64(n.Retransmits)
			during[1-d].DupAcks = n.Retransmits * 3
		}
		if r.IntN(400) == 0 {
			n.OutOfOrder = uint32(1 + r.IntN(3))
		}
		if r.IntN(5000) == 0 {
			n.ZeroWindows = 1
		}
	}
	total := during[0].Packets + during[1].Packets
	g.packets += total
	duration := a.send + a.wait + a.receive
	x.LastPacket = g.packets
	// What others sent meanwhile stands between its packets.
	between := uint64(float64(duration) / g.gap * 12 * (0.95 + 0.1*r.Float64()))
	x.FirstPacket = max(x.LastPacket-min(total+between, x.LastPacket-1), 1)

	start := g.now - duration
	at := func(d proto.Direction, time int64, packet uint64, bytes int64) clock.Mark {
		return clock.Mark{Time: time, Packet: packet, Offset: int64(f.Half[d].Bytes) + bytes, Peer: int64(f.Half[d.Other()].Bytes)}
	}
	if x.HasRequest {
		x.Request.First = at(proto.Originator, start, x.FirstPacket, 0)
		x.Request.Last = at(proto.Originator, start+a.send, x.FirstPacket+packets[0]-1, sizes[0]-1)
		x.Start = x.Request.First
	}
	if x.HasResponse {
		x.Response.First = at(proto.Responder, start+a.send+a.wait, x.LastPacket-packets[1]+1, 0)
		x.Response.Last = at(proto.Responder, g.now, x.LastPacket, sizes[1]-1)
		if !x.HasRequest {
			x.Start = x.Response.First
			x.FirstPacket = x.Response.First.Packet
		}
	}
	x.Completed = clock.Mark{Time: g.now, Packet: x.LastPacket}
	for d := range f.Half {
		h := &f.Half[d]
		if h.First == 0 {
			h.First = c.flow.First.Time
		}
		h.Last = g.now
		h.Packets += during[d].Packets
		h.Bytes += during[d].Bytes
		h.Acked = int64(h.Bytes)
		h.Retransmits += during[d].Retransmits
		h.OutOfOrder += during[d].OutOfOrder
		h.DupAcks += during[d].DupAcks
		h.ZeroWindows += during[d].ZeroWindows
		h.RTTSamples++
		// The smoothed round trip goes an eighth of the way to the next sample (RFC 6298).
		h.RTT += int64(float64(h.RTT) * r.NormFloat64() * 0.03)
		h.RTT = max(h.RTT, 20_000)
		h.MinRTT = min(h.MinRTT, h.RTT)
	}
	x.Conn = *f
	if a.closes {
		x.Conn.Why, x.Conn.By, x.Conn.Closed = proto.Finished, proto.Responder, x.Completed
	}
}

// broken changes an exchange into one that isn't complete.
func (g *Generator) broken(x *exchange.Exchange, c *connection, a *answer) {
	switch a.grade {
	case exchange.Unanswered:
		x.Reason = "the client closed before an answer"
		x.Conn.Why, x.Conn.By, x.Conn.Closed = proto.Finished, proto.Originator, x.Completed
	case exchange.Aborted:
		x.Reason = "reset by the server before an answer"
		x.Conn.Why, x.Conn.By, x.Conn.Closed = proto.Reset, proto.Responder, x.Completed
	case exchange.Gap:
		x.MissingBytes = segment
		x.Response.MissingBytes = min(segment, x.Response.BodyBytes)
		x.Reason = "1448 bytes weren't captured"
	case exchange.Midstream:
		x.Reason = "the request came before the capture"
	case exchange.OneSided:
		x.Reason = "the server's packets weren't captured"
	}
}
