package pipeline

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/detect"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/sctp"
	"github.com/culprit-http/culprit/internal/tcp"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/udp"
)

// Shards is the number of virtual shards. Flows belong to shards whatever the number of workers, so
// that limits bite alike.
const Shards = 64

// shard owns the connections of the flows that hash to it.
type shard struct {
	table    *tcp.Table
	sctp     *sctp.Table
	engine   *exchange.Engine
	detector detect.Detector
	tls      *tls.Engine
	tally    *tally
	held     int
	budget   int
	opened   func(*proto.Flow)
	tap      func(uint32) *exchange.Tap
	free     []*connection
	udp      *udp.Table
	flows    flows
	// freeDatagrams are what takes the datagrams of flows, for use again. ignored is what the last datagram was recognised as, empty
	// where it was taken apart.
	freeDatagrams []*datagrams
	ignored       string
	// follow takes what connections carry; nil: nobody wants it.
	follow *follow.Writer
}

func newShard(c *Config, t *tally, tap func(uint32) *exchange.Tap, out *exchange.Collector) *shard {
	budget := c.Memory / 2 / Shards
	s := &shard{tally: t, budget: budget, opened: c.Opened, tap: tap}
	s.engine = exchange.NewEngine(c.Exchange, tap, out)
	s.tls = tls.NewEngine(keysOf(c), c.TLS, c.wanted)
	s.detector = detect.Detector{
		Protocols: append(protocols[:len(protocols):len(protocols)], s.tls.Protocol()), Known: detect.Recognised, Hints: c.Hints, Limits: &c.Parser, Held: &s.held,
	}
	s.table = tcp.New(s.open, c.TCP)
	limits := sctp.DefaultLimits()
	limits.MaxHeld = min(limits.MaxHeld, budget/4)
	limits.MaxAssociations = max(min(limits.MaxAssociations, budget/associationSize), 1)
	s.sctp = sctp.New(s.open, limits)
	s.udp = udp.New(s.openDatagrams, c.UDP)
	s.flows = flows{which: c.Flows, period: c.FlowPeriod}
	return s
}

const (
	// associationSize is what an SCTP association with all of its streams is estimated to take.
	associationSize = 256 << 10
	// maxFree is how many connections that are over a shard keeps for use again.
	maxFree = 32
)

// connection is what a shard keeps above the transport for one connection.
type connection struct {
	lane
	link exchange.Link
	// tee copies what the connection carries; nil: nobody follows.
	tee *follow.Tee
	// lingering is how many of the TLS sessions that it carries wait for keys though what carries them has ended.
	lingering int
	// counted: its protocol was.
	counted bool
	flow    flow
}

// count counts the connection under the protocol that it begins with, and what it carries or turns into beside that.
func (c *connection) count(name string) {
	if c.flow.name == "unknown" {
		c.flow.name = name
	}
	if c.counted {
		c.shard.tally.carried[name]++
		return
	}
	c.counted = true
	c.shard.tally.connections[name]++
}

// open makes the connection above a transport connection.
func (s *shard) open(f *proto.Flow, facts *proto.Facts) proto.Parser {
	var c *connection
	if n := len(s.free); n > 0 {
		c, s.free[n-1] = s.free[n-1], nil
		s.free = s.free[:n-1]
		*c = connection{lane: lane{Stream: c.Stream, pairer: c.pairer, streams: c.streams}}
	} else {
		c = new(connection)
	}
	c.shard, c.own = s, c
	f.Recorded = s.tap(f.First.Tap).Recorded != ""
	c.link.Open(s.engine, f, facts)
	c.base.Open(&c.link)
	c.layer = &c.base
	c.flow.begin(s, &c.link, &c.base, f.First)
	if s.opened != nil {
		s.opened(f)
	}
	c.Stream.Open(&s.detector, &c.lane, f)
	if s.follow != nil {
		c.tee = s.follow.Open(f, c)
		c.tee.Facts = facts
		return c.tee
	}
	return c
}

// Close implements proto.Parser: after the parsers, those who pair their messages learn that a half-stream is over.
func (c *connection) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	c.Stream.Close(d, at, why)
	c.lane.close(d, at, why)
	if c.closed[d.Other()] {
		c.over()
	}
}

// over ends the connection, once nothing that it carries waits any more.
func (c *connection) over() {
	switch {
	case c.lingering > 0:
		c.link.Detach()
	case len(c.shard.free) < maxFree:
		c.shard.free = append(c.shard.free, c)
	}
}

// packet takes a decoded packet, the nth of the run.
func (s *shard) packet(p *packet.Packet, key *packet.Flow, fromLo bool, length int, elapsed int64, nth uint64) {
	if s.follow != nil {
		s.follow.Seq = nth
	}
	if p.Proto == packet.ProtoUDP {
		s.datagram(p, key, fromLo, length)
		return
	}
	if p.Proto == packet.ProtoSCTP {
		s.sctp.Packet(p, elapsed)
		s.tally.verdicts[tcp.Analysed].add(1, uint64(length))
		return
	}
	v := s.table.Packet(p, key, fromLo)
	c := &s.tally.verdicts[v]
	c.Packets++
	c.Bytes += uint64(length)
	s.relieve(p)
}

// icmp takes an ICMP error: p is what it quotes of the packet that it is about.
func (s *shard) icmp(p *packet.Packet, key *packet.Flow, fromLo bool, length int) {
	v := tcp.Unrelated
	switch p.Proto {
	case packet.ProtoTCP:
		v = s.table.ICMP(p, key, fromLo)
	case packet.ProtoUDP:
		v = s.udp.ICMP(p, key, fromLo)
	}
	if v == tcp.Analysed {
		s.tally.errors.add(1, uint64(length))
	}
}

// datagram takes a decoded packet of UDP. It is analysed if a protocol takes it, and else ignored by name.
func (s *shard) datagram(p *packet.Packet, key *packet.Flow, fromLo bool, length int) {
	s.ignored = ""
	v := s.udp.Packet(p, key, fromLo)
	if v == tcp.Analysed && s.ignored != "" {
		s.tally.ignored[s.ignored] = s.tally.ignored[s.ignored].plus(1, uint64(length))
	} else {
		s.tally.verdicts[v].add(1, uint64(length))
	}
	s.relieve(p)
}

// relieve forgets flows as long as the shard holds more than it may: first datagrams of which nothing is known to wait, since a
// connection may have a request that does, then of the transport that holds most.
func (s *shard) relieve(p *packet.Packet) {
	if s.memory() <= s.budget {
		return
	}
	connections, flows := s.table.Counters.Evicted, s.udp.Counters.Evicted
	for s.memory() > s.budget {
		first, second := s.table.EvictOne, s.udp.EvictOne
		datagrams := int(s.udp.Counters.Open) * datagramsSize // in s.held, as what parsers keep for connections
		if s.udp.Memory()+datagrams > s.table.Memory()+s.held-datagrams {
			first, second = second, first
		}
		if !s.udp.EvictIdle(p) && !first(p) && !second(p) {
			break
		}
	}
	s.tally.evicted += s.table.Counters.Evicted - connections // not the ones that were over
	s.tally.evictedFlows += s.udp.Counters.Evicted - flows
}

// memory returns how many bytes the shard holds, estimated.
func (s *shard) memory() int {
	return s.table.Memory() + s.udp.Memory() + s.sctp.Held() + s.engine.Memory() + s.held
}

func (s *shard) tick(elapsed int64, at clock.Mark) {
	s.table.Tick(elapsed, at)
	s.udp.Tick(elapsed, at)
	s.flows.tick(elapsed, at)
	s.sctp.Tick(elapsed)
	s.tls.Tick(elapsed)
	s.engine.Tick(elapsed, at)
}

func (s *shard) close(at clock.Mark) {
	s.table.Close(at)
	s.udp.Close(at)
	s.sctp.Close(at)
	s.tls.Flush()
}

// keysOf returns where keys come from, nil when from nowhere.
func keysOf(c *Config) tls.Keys {
	if c.Keys == nil {
		return nil
	}
	return c.Keys
}
