// Package dns reads DNS (RFC 1035) over UDP, TCP (RFC 7766) and HTTP (RFC 8484), and what is written like it: multicast DNS
// (RFC 6762) and LLMNR (RFC 4795).
//
// # Theory of operation
//
// A message is a header, a question, and records. It is read in two steps: parse walks over it and notes where things are,
// describer makes texts of what is shown. Over UDP each datagram is a message. Over TCP each has its length before it:
//
//	message --(its length is reached)--> message
//	message --(missing bytes within it)--> message, cut short
//	message --(missing bytes beyond it, or where the length would be)--> lost
//	lost --(a segment that is a whole message, checked to its last byte)--> message
//
// Who answers whom is found by the id and the question (see book): each question gets a stream of its own. Answers to AXFR and
// IXFR have many messages (see transfer). With mDNS and LLMNR a question goes to a group, and answers come from addresses of
// their own, or unasked: each is an exchange by itself.
package dns

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// The protocols.
var (
	DNS = proto.Protocol{
		Name: "dns", Pairing: proto.ByStream, Probe: Probe, Resume: Resume, New: newParser,
		ProbeDatagram: probeDNS, NewDatagrams: datagrams(&ordinary),
	}
	MDNS = proto.Protocol{
		Name: "mdns", Pairing: proto.ByStream, Probe: never, ProbeDatagram: probePort(portMDNS), NewDatagrams: datagrams(&multicast),
	}
	LLMNR = proto.Protocol{
		Name: "llmnr", Pairing: proto.ByStream, Probe: never, ProbeDatagram: probePort(portLLMNR), NewDatagrams: datagrams(&local),
	}
)

var (
	ordinary  = variant{flags: flags[:]}
	multicast = variant{flags: flags[:], topBit: true, anybody: true}
	local     = variant{flags: linkLocal[:], anybody: true}
)

// Flow takes the datagrams of one flow apart.
type Flow struct{ conversation }

// datagrams returns what makes a Flow.
func datagrams(v *variant) func(c *proto.Context) proto.Datagrams {
	return func(c *proto.Context) proto.Datagrams {
		f, ok := c.SpareDatagrams.(*Flow)
		if !ok {
			f = new(Flow)
		}
		f.begin(c, v, false)
		return f
	}
}

// Datagram implements proto.Datagrams.
func (f *Flow) Datagram(d proto.Direction, b []byte, size int, at clock.Mark) {
	f.take(&piece{by: d, b: b, size: size, missing: max(size-len(b), 0), first: at, last: at.After(max(size-1, 0)), how: proto.Whole})
}

// Close implements proto.Datagrams.
func (f *Flow) Close(clock.Mark, proto.CloseReason) { f.finish() }
