// Package proxyprotocol reads the header that a proxy puts before the bytes of a connection that it passes on (PROXY protocol,
// versions 1 and 2, https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), and hands the connection on to detection. It emits no
// messages.
//
// # Theory of operation
//
//	header (collected up to its end) --(whole)--> told of, handed over
//	                                 --(too long, no header, or missing bytes)--> failed
//
// A header that is whole and contradicts itself isn't told of: it would say who the client is. What follows it is handed over
// all the same.
package proxyprotocol

import (
	"strings"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes the PROXY protocol to detection. It isn't picked up mid-stream: a header is at the very beginning of a connection,
// and what looks like one elsewhere is what somebody uploads, who would choose the address that counts as the client's.
var Protocol = proto.Protocol{Name: "proxy", Probe: Probe, New: New}

// maxEarly is how many bytes of a server that speaks before it has the header are kept.
const maxEarly = 16 << 10

// Probe implements proto.Protocol.
func Probe(b []byte) (proto.Match, proto.Role) {
	n := size(b)
	switch {
	case len(b) == 0:
		return proto.NeedMore, proto.AnyRole
	case n < 0:
		return proto.No, proto.AnyRole
	case b[0] != begin1[0]:
		if len(b) <= len(begin2) {
			return proto.NeedMore, proto.Client
		}
		return proto.Yes, proto.Client
	}
	match := proto.No
	for _, begin := range [...]string{begin1 + "TCP4 ", begin1 + "TCP6 ", begin1 + "UNKNOWN"} {
		switch {
		case strings.HasPrefix(string(b), begin):
			return proto.Yes, proto.Client
		case strings.HasPrefix(begin, string(b)):
			match = proto.NeedMore
		}
	}
	return match, proto.Client
}

// Parser reads one header.
type Parser struct {
	sink   proto.Sink
	client proto.Direction
	held   *int
	// buf is what has come of the header, early what the other side has sent meanwhile, from earlyAt on; lost: there was more.
	buf, early []byte
	earlyAt    clock.Mark
	lost       bool
	failed     bool
}

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser {
	return &Parser{sink: c.Sink, client: c.Client, held: c.Held}
}

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	if p.failed {
		return proto.Verdict{Action: proto.Stop}
	}
	if d != p.client {
		if len(p.early) == 0 && !p.lost {
			p.earlyAt = at
		}
		n := min(len(b), maxEarly-len(p.early))
		if p.lost {
			n = 0
		}
		p.lost = p.lost || n < len(b)
		p.early = append(p.early, b[:n]...)
		*p.held += n
		return proto.Verdict{}
	}
	have := len(p.buf)
	header := b
	if have > 0 {
		// No more than the header can be: the rest is another protocol's.
		header = append(p.buf, b[:min(len(b), max2)]...)
	}
	n := size(header)
	switch {
	case n < 0:
		p.fail()
		return proto.Verdict{Action: proto.Stop}
	case n == 0 || n > len(header):
		if have == 0 {
			header = append(p.buf, b...)
		}
		p.buf = header
		*p.held += len(b)
		return proto.Verdict{}
	}
	if said := parse(header[:n]); said != nil {
		p.sink.Proxied(said)
	}
	v := proto.Verdict{Action: proto.Handover, Consumed: n - have, Early: p.early, EarlyAt: p.earlyAt, EarlyLost: p.lost}
	p.fail()
	return v
}

// Gap implements proto.Parser: a header with a hole can't be followed.
func (p *Parser) Gap(d proto.Direction, _ int64, _ clock.Mark) {
	if d == p.client {
		p.fail()
		return
	}
	p.lost = true
}

// Close implements proto.Parser.
func (p *Parser) Close(proto.Direction, clock.Mark, proto.CloseReason) { p.fail() }

// fail lets go of what is kept.
func (p *Parser) fail() {
	*p.held -= len(p.buf) + len(p.early)
	p.buf, p.early, p.failed = nil, nil, true
}
