package pipeline

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/detect"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// The first maxProbes datagrams of a flow are looked at, and then one in probeEach: what isn't recognised may be followed by what is.
const (
	maxProbes = 4
	probeEach = 8
)

// datagrams is what a shard keeps above the transport for one flow of UDP.
type datagrams struct {
	shard   *shard
	link    exchange.Link
	layer   exchange.Layer
	streams exchange.StreamPairer
	context proto.Context
	// parser takes the datagrams once it is known what they are; protocol is that.
	parser   proto.Datagrams
	protocol *proto.Protocol
	flow     flow
	port     [2]uint16
	probes   int
	charged  int
}

// datagramsSize is what a flow is estimated to take, beside what the transport and the parser count.
const datagramsSize = 2 << 10

// openDatagrams makes what takes the datagrams of a flow.
func (s *shard) openDatagrams(f *proto.Flow, facts *proto.Facts, _ *packet.Packet) proto.Datagrams {
	var u *datagrams
	if n := len(s.freeDatagrams); n > 0 {
		u, s.freeDatagrams[n-1] = s.freeDatagrams[n-1], nil
		s.freeDatagrams = s.freeDatagrams[:n-1]
		u.probes = 0
	} else {
		u = new(datagrams)
	}
	u.shard, u.port, u.charged = s, f.Port, datagramsSize
	s.held += u.charged
	u.link.Open(s.engine, f, facts)
	u.layer.Open(&u.link)
	u.flow.begin(s, &u.link, &u.layer, f.First)
	if s.opened != nil {
		s.opened(f)
	}
	return u
}

// Datagram implements proto.Datagrams.
func (u *datagrams) Datagram(d proto.Direction, b []byte, size int, at clock.Mark) {
	if u.context.Sink == nil && u.probes < maxProbes {
		u.probes++
		u.probe(d, b)
	}
	if u.context.Sink != nil {
		u.parser.Datagram(d, b, size, at)
		return
	}
	if u.probes == 1 { // the first decides how the flow is called
		u.flow.name = detect.Datagram(b, u.port[d], u.port[d.Other()])
	}
	u.shard.ignored = u.flow.name
}

// Waiting implements udp.Waiter.
func (u *datagrams) Waiting() (waiting, known bool) {
	if u.context.Sink == nil {
		return false, false
	}
	return u.streams.Waiting(), true
}

// probe asks the protocols for a datagram. What none of them knows goes to the one that a hint names.
func (u *datagrams) probe(d proto.Direction, b []byte) {
	s := u.shard
	hint := s.detector.Hints[u.port[0]]
	if hint == "" {
		hint = s.detector.Hints[u.port[1]]
	}
	var hinted *proto.Protocol
	for i := range s.detector.Protocols {
		p := &s.detector.Protocols[i]
		if p.NewDatagrams == nil {
			continue
		}
		match, role := p.ProbeDatagram(b, u.port[d], u.port[d.Other()])
		if match != proto.Yes {
			if p.Name == hint {
				hinted = p
			}
			continue
		}
		client := proto.Originator
		switch role {
		case proto.Client:
			client = d
		case proto.Server:
			client = d.Other()
		}
		u.choose(p, client)
		return
	}
	if hinted != nil {
		u.choose(hinted, proto.Originator)
	}
}

// choose decides for a protocol.
func (u *datagrams) choose(p *proto.Protocol, client proto.Direction) {
	s := u.shard
	spare := u.parser
	if u.protocol != p {
		spare = nil
	}
	u.streams.Open(&u.layer, p.Name, client, u.link.Flow().Midstream)
	u.context = proto.Context{
		Client: client, Sink: &u.streams, Limits: s.detector.Limits, Held: s.detector.Held, SpareDatagrams: spare,
		Shared: s.detector.Share(p), Group: u.link.Flow().Addr[client.Other()].Netip().IsMulticast(),
	}
	u.parser, u.protocol = p.NewDatagrams(&u.context), p
	u.flow.name, u.flow.client = p.Name, client
	s.tally.connections[p.Name]++
}

// Close implements proto.Datagrams.
func (u *datagrams) Close(at clock.Mark, why proto.CloseReason) {
	s := u.shard
	if closed := u.link.Facts().Closed; closed.Time > 0 {
		at = closed // the last datagram: silence isn't a part of the flow, nor of what waits
	}
	if u.context.Sink != nil {
		u.parser.Close(at, why)
		u.streams.Closed(proto.Originator, at, true)
		u.context.Sink = nil
	}
	u.flow.end(s, at)
	s.held -= u.charged
	u.charged = 0
	if len(s.freeDatagrams) < maxFree {
		s.freeDatagrams = append(s.freeDatagrams, u)
	}
}
