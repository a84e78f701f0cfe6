// Package detect finds out which protocol a connection speaks, by the content of its first bytes, and
// gives the connection to that protocol's parser. Ports and the user's hints only break a tie.
//
// # Theory of operation
//
//	undecided --(a probe says Yes)------------> parsing --(Handover)--> undecided
//	undecided --(the end, but it may be a
//	             request, and the port fits)--> parsing
//	undecided --(a recognised protocol)-------> stopped, counted by name
//	undecided --(one that may turn to TLS)----> upgradable, counted by name
//	upgradable --(a ClientHello)--------------> parsing
//	undecided --(Budget used up)--------------> stopped, counted as unknown
//	undecided --(a gap, or begun mid-stream)--> resuming --(a segment surely begins a message)--> parsing
//	parsing --(MaxHandovers used up)----------> stopped, counted as nested
//	undecided --(the end, and no data)--------> stopped, counted as empty
//
// What comes before the decision is kept, and replayed to the parser in the order of its arrival, gaps
// and closes included.
package detect

import (
	"strings"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Budget is how many bytes of a connection are looked at before giving up, and maxEvents in how many
// pieces.
const (
	Budget    = 2048
	maxEvents = 100
)

// MaxHandovers is how often a connection may be handed on: a tunnel may hold a tunnel, and so on.
const MaxHandovers = 16

// Detector holds what all connections of a shard share.
type Detector struct {
	// Protocols are those with a parser, in the order in which they are asked; Known those that are
	// only recognised.
	Protocols, Known []proto.Protocol
	// Hints gives protocol names by port, for content that decides nothing.
	Hints map[uint16]string
	// Limits and Held go to the parsers. What detection keeps is in Held too.
	Limits *proto.Limits
	Held   *int

	// shared is what the parsers of a protocol share, by its name.
	shared map[string]*any
}

// Share returns where the parsers of a protocol keep what they share.
func (d *Detector) Share(p *proto.Protocol) *any {
	v := d.shared[p.Name]
	if v == nil {
		if d.shared == nil {
			d.shared = map[string]*any{}
		}
		v = new(any)
		d.shared[p.Name] = v
	}
	return v
}

// Opener is told what was decided.
type Opener interface {
	// Sink returns where the messages of a parser go, from a mark on. resumed: the parser begins in the
	// middle of the half-streams.
	Sink(p *proto.Protocol, client proto.Direction, resumed bool, at clock.Mark) proto.Sink
	// Nest returns what takes the bytes of a connection within this one.
	Nest(n proto.Nested) proto.Parser
	// Prior returns the response that handed the connection over last, nil if none did. It is borrowed.
	Prior() *proto.Message
	// Recognised says that the connection speaks a protocol that isn't parsed; "unknown" if nothing
	// is known of it, "empty" if it held nothing, "nested" if it was handed on too often.
	Recognised(name string)
}

// Stream is the detection of one connection, and afterwards the way to its parser. It implements
// proto.Parser for the transport.
type Stream struct {
	detector *Detector
	opener   Opener
	parser   proto.Parser
	protocol *proto.Protocol
	context  proto.Context
	// spare is the parser of the connection before this one, and spareOf its protocol.
	spare   proto.Parser
	spareOf *proto.Protocol
	hint    string
	ports   [2]uint16
	state   state

	// What came before the decision.
	buf    []byte
	events []event

	handovers int
	// name is what the connection was recognised as, once it isn't looked at any more; from is the offset of the first byte of
	// each direction that no other protocol took before.
	name string
	from [2]int64
	// charged is what the parser was estimated to take, as long as it is in Held.
	charged int
	closed  [2]bool
}

type state uint8

const (
	undecided state = iota
	resuming
	parsing
	upgradable
	stopped
)

// event is a call that came before the decision.
type event struct {
	kind kind
	d    proto.Direction
	at   clock.Mark
	n    int64
	why  proto.CloseReason
}

type kind uint8

const (
	data kind = iota
	gap
	closing
)

// Open begins the detection of a connection. The stream may be one that was used before.
func (s *Stream) Open(d *Detector, o Opener, f *proto.Flow) {
	spare, of := s.spare, s.spareOf
	if s.parser != nil {
		spare, of = s.parser, s.protocol
	}
	*s = Stream{detector: d, opener: o, spare: spare, spareOf: of, ports: f.Port}
	if f.Midstream {
		s.state = resuming
	}
	for _, port := range f.Port {
		if h := d.Hints[port]; h != "" {
			s.hint = h
		}
	}
}

// OpenNested begins the detection of a connection within another, from its start.
func (s *Stream) OpenNested(d *Detector, o Opener, n proto.Nested) {
	*s = Stream{detector: d, opener: o}
	s.context.Client = n.Client
	s.expect(n.Hint, n.At)
}

// Speaks returns the name of the protocol that the connection speaks, as Opener was told it, empty while that isn't
// decided; and the offset of the first byte of a direction that no other protocol took before.
func (s *Stream) Speaks(d proto.Direction) (name string, from int64) {
	switch s.state {
	case parsing:
		name = s.protocol.Name
	case stopped, upgradable:
		name = s.name
	}
	return name, s.from[d]
}

var proceed = proto.Verdict{Action: proto.Continue}

// Data implements proto.Parser.
func (s *Stream) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	switch s.state {
	case parsing:
		if v := s.parser.Data(d, b, at); v.Action != proto.Continue {
			return s.obey(d, b, at, v)
		}
		return proceed
	case stopped:
		return proto.Verdict{Action: proto.Stop}
	case resuming:
		return s.resume(d, b, at)
	case upgradable:
		return s.upgrade(d, b, at)
	}
	first := !s.has(d)
	if first && len(s.events) == 0 {
		// The common case: the first bytes decide, and needn't be kept.
		if s.probe(d, b, at) {
			return s.Data(d, b, at)
		}
		if s.state != undecided {
			return s.verdict()
		}
	}
	s.buf = append(s.buf, b...)
	*s.detector.Held += len(b)
	s.keep(event{kind: data, d: d, at: at, n: int64(len(b))})
	if !first || len(s.events) > 1 {
		if s.probe(d, s.side(d), at) {
			s.replay()
			return s.verdict()
		}
	}
	if s.state == undecided && (len(s.buf) >= Budget || len(s.events) >= maxEvents) {
		s.giveUp(at)
	}
	return s.verdict()
}

// parserSize is what a parser is estimated to take beside the bytes that it counts itself.
const parserSize = 3 << 10

const eventSize = int(unsafe.Sizeof(event{}))

// keep notes a call that came before the decision.
func (s *Stream) keep(e event) {
	s.events = append(s.events, e)
	*s.detector.Held += eventSize
}

// drop forgets what came before the decision.
func (s *Stream) drop() {
	*s.detector.Held -= len(s.buf) + len(s.events)*eventSize
	s.buf, s.events = nil, nil
}

// verdict is what the transport is told after a decision.
func (s *Stream) verdict() proto.Verdict {
	if s.state == stopped {
		return proto.Verdict{Action: proto.Stop}
	}
	return proceed
}

// Gap implements proto.Parser.
func (s *Stream) Gap(d proto.Direction, n int64, at clock.Mark) {
	switch s.state {
	case parsing:
		s.parser.Gap(d, n, at)
	case undecided:
		if len(s.events) > 0 {
			s.keep(event{kind: gap, d: d, at: at, n: n})
		}
		s.state = resuming
	}
}

// Close implements proto.Parser.
func (s *Stream) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	s.closed[d] = true
	switch s.state {
	case parsing, stopped:
		if s.parser != nil {
			s.parser.Close(d, at, why)
		}
	case undecided, resuming:
		if s.closed[d.Other()] {
			if s.giveUp(at); s.state == parsing {
				s.parser.Close(d, at, why)
			}
		} else if len(s.events) > 0 {
			s.keep(event{kind: closing, d: d, at: at, why: why})
		}
	}
	if s.closed[d.Other()] {
		s.settle()
	}
}

// settle takes the parser out of Held.
func (s *Stream) settle() {
	*s.detector.Held -= s.charged
	s.charged = 0
}

// has reports whether bytes of a direction are kept.
func (s *Stream) has(d proto.Direction) bool {
	for i := range s.events {
		if s.events[i].kind == data && s.events[i].d == d {
			return true
		}
	}
	return false
}

// side returns the kept bytes of a direction. They are copied only if the other has some too.
func (s *Stream) side(d proto.Direction) []byte {
	switch {
	case !s.has(d):
		return nil
	case !s.has(d.Other()):
		return s.buf
	}
	var b []byte
	off := int64(0)
	for _, e := range s.events {
		if e.kind != data {
			continue
		}
		if e.d == d {
			b = append(b, s.buf[off:off+e.n]...)
		}
		off += e.n
	}
	return b
}

// probe asks all protocols for the first bytes of a direction. It reports whether a parser was chosen.
func (s *Stream) probe(d proto.Direction, b []byte, at clock.Mark) bool {
	b = b[:min(len(b), Budget)]
	asker, asked, answered := s.both()
	for _, list := range [2][]proto.Protocol{s.detector.Protocols, s.detector.Known} {
		for i := range list {
			if both := list[i].ProbeBoth; both != nil && len(answered) > 0 {
				switch both(asked, answered) {
				case proto.Yes:
					return s.choose(&list[i], asker, false, at)
				case proto.No:
					continue
				}
			}
			if match, role := list[i].Probe(b); match == proto.Yes {
				return s.choose(&list[i], clientOf(d, role), false, at)
			}
		}
	}
	return false
}

// both returns who spoke first, and what is kept of each side.
func (s *Stream) both() (asker proto.Direction, asked, answered []byte) {
	for i := range s.events {
		if e := &s.events[i]; e.kind == data {
			asked, answered = s.side(e.d), s.side(e.d.Other())
			return e.d, asked[:min(len(asked), Budget)], answered[:min(len(answered), Budget)]
		}
	}
	return asker, nil, nil
}

// likely returns the protocol of which there may have been a request, and no more than that, and to whose port it went; nil when there
// is none.
func (s *Stream) likely() (p *proto.Protocol, client proto.Direction) {
	client, asked, answered := s.both()
	if s.state != undecided || len(asked) == 0 {
		return nil, client
	}
	for i := range s.detector.Protocols {
		p := &s.detector.Protocols[i]
		if p.ProbeBoth == nil || s.ports[client.Other()] != p.Port || p.ProbeBoth(asked, nil) != proto.Yes {
			continue
		}
		if len(answered) == 0 || p.ProbeBoth(asked, answered) != proto.No {
			return p, client
		}
	}
	return nil, client
}

// clientOf returns the direction of requests, given the role of a sender.
func clientOf(d proto.Direction, r proto.Role) proto.Direction {
	switch r {
	case proto.Client:
		return d
	case proto.Server:
		return d.Other()
	}
	return proto.Originator
}

// resume looks for a message that surely begins with a segment.
func (s *Stream) resume(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	for _, list := range [2][]proto.Protocol{s.detector.Protocols, s.detector.Known} {
		for i := range list {
			p := &list[i]
			if p.Resume == nil {
				continue
			}
			if match, role := p.Probe(b); p.Pairing == proto.Wrapper && match == proto.Yes && role == proto.Client && !s.has(d) {
				// A ClientHello begins a session wherever it stands.
				s.choose(p, d, false, at)
				s.replay()
				return s.Data(d, b, at)
			}
			if match, role := p.Resume(b); match == proto.Yes {
				if s.choose(p, clientOf(d, role), true, at) {
					s.replay()
					return s.Data(d, b, at)
				}
				return s.verdict()
			}
		}
	}
	return s.resumeHinted(d, b, at)
}

// resumeHinted looks for a plausible message of the protocol of the hint.
func (s *Stream) resumeHinted(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	if s.hint == "" {
		return proceed
	}
	for i := range s.detector.Protocols {
		p := &s.detector.Protocols[i]
		if p.Name != s.hint || p.ResumeHinted == nil {
			continue
		}
		if match, role := p.ResumeHinted(b); match == proto.Yes {
			s.choose(p, clientOf(d, role), true, at)
			s.replay()
			return s.Data(d, b, at)
		}
	}
	return proceed
}

// upgrade waits for the ClientHello with which a protocol turns into TLS: in plain sight, at the start of a segment.
func (s *Stream) upgrade(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	if len(b) < 6 || b[0] != 0x16 || b[1] != 3 {
		return proceed
	}
	for i := range s.detector.Protocols {
		p := &s.detector.Protocols[i]
		if p.Pairing != proto.Wrapper {
			continue
		}
		if match, role := p.Probe(b); match == proto.Yes && role == proto.Client {
			s.from[d] = at.Offset
			s.choose(p, d, false, at)
			return s.Data(d, b, at)
		}
	}
	return proceed
}

// choose decides for a protocol. It reports whether it has a parser.
func (s *Stream) choose(p *proto.Protocol, client proto.Direction, resumed bool, at clock.Mark) bool {
	if p.New == nil {
		if p.Upgrades && !resumed {
			s.state, s.name = upgradable, p.Name
			s.opener.Recognised(p.Name)
			s.drop()
			return false
		}
		s.stop(p.Name)
		return false
	}
	prior := s.opener.Prior() // Sink forgets it
	s.context = proto.Context{
		Client: client, Resumed: resumed, Sink: s.opener.Sink(p, client, resumed, at),
		Limits: s.detector.Limits, Held: s.detector.Held, Prior: prior, Nest: s.opener.Nest,
		Shared: s.detector.Share(p),
	}
	if s.spareOf == p {
		s.context.Spare, s.spare, s.spareOf = s.spare, nil, nil
	}
	s.parser, s.protocol = p.New(&s.context), p
	s.state = parsing
	s.charged = parserSize
	*s.detector.Held += s.charged
	return true
}

func (s *Stream) stop(name string) {
	s.state, s.name = stopped, name
	s.drop()
	s.opener.Recognised(name)
}

// giveUp ends the search: the hint decides, or nothing does.
func (s *Stream) giveUp(at clock.Mark) {
	resumed := s.state == resuming
	if s.hint != "" {
		for _, list := range [2][]proto.Protocol{s.detector.Protocols, s.detector.Known} {
			for i := range list {
				if list[i].Name == s.hint {
					if s.choose(&list[i], s.context.Client, resumed, at) {
						s.replay()
					}
					return
				}
			}
		}
	}
	if p, client := s.likely(); p != nil {
		s.choose(p, client, false, at)
		s.replay()
		return
	}
	switch {
	case resumed || len(s.events) > 0:
		s.stop("unknown")
	case s.handovers > 0:
		s.state, s.name = stopped, "empty" // a tunnel that nobody used; the connection has been counted
	default:
		s.stop("empty")
	}
}

// spoken are the protocols by the names that Upgrade (RFC 9110 §7.8) and ALPN (RFC 7301) have for them, where those differ.
var spoken = map[string]string{"h2": "http2", "h2c": "http2", "http/1.1": "http", "http/1.0": "http", "http/0.9": "http"}

// expect takes a hint of what a connection speaks from now on. What can't be told by content is believed.
func (s *Stream) expect(hint string, at clock.Mark) {
	hint = strings.ToLower(hint)
	if name, ok := spoken[hint]; ok {
		hint = name
	}
	s.hint = hint
	for i := range s.detector.Protocols {
		if p := &s.detector.Protocols[i]; p.Name == hint && p.Pairing == proto.AsSession {
			s.choose(p, s.context.Client, s.state == resuming, at)
			return
		}
	}
	for i := range s.detector.Known {
		if p := &s.detector.Known[i]; p.Name == hint {
			s.stop(p.Name)
			return
		}
	}
}

// replay gives what was kept to the parser.
func (s *Stream) replay() {
	buf, events := s.buf, s.events
	s.drop()
	off := int64(0)
	for i := range events {
		e := &events[i]
		switch e.kind {
		case data:
			s.Data(e.d, buf[off:off+e.n], e.at)
			off += e.n
		case gap:
			s.Gap(e.d, e.n, e.at)
		case closing:
			s.Close(e.d, e.at, e.why)
		}
	}
}

// obey does what a parser's verdict says.
func (s *Stream) obey(d proto.Direction, b []byte, at clock.Mark, v proto.Verdict) proto.Verdict {
	if v.Action == proto.Stop {
		s.state, s.name = stopped, s.protocol.Name
		return v
	}
	s.from[d] = at.Offset + int64(v.Consumed)
	if len(v.Early) > 0 {
		s.from[d.Other()] = v.EarlyAt.Offset
	}
	s.parser = nil
	s.settle()
	if s.handovers++; s.handovers > MaxHandovers {
		s.stop("nested")
		return s.verdict()
	}
	s.state = undecided
	if v.EarlyLost {
		s.state = resuming
	}
	s.expect(v.Hint, at)
	if s.state == stopped {
		return s.verdict()
	}
	if len(v.Early) > 0 {
		s.Data(d.Other(), v.Early, v.EarlyAt)
	}
	if rest := b[v.Consumed:]; len(rest) > 0 {
		at.Offset += int64(v.Consumed)
		return s.Data(d, rest, at)
	}
	return s.verdict()
}
