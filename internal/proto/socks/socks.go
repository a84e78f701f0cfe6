// Package socks follows the handshake of SOCKS 4, 4a and 5 (RFC 1928, RFC 1929), and hands the
// connection on to detection once the proxy has granted it. It emits no messages.
//
// # Theory of operation
//
// Client and server take turns; each step waits for all bytes of one message:
//
//	v5:  greeting(c) -> choice(s) -> [login(c) -> verdict(s)] -> request(c) -> reply(s) -> handed over
//	v4:  request(c) -> reply(s) -> handed over
package socks

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// Protocol describes SOCKS to detection.
var Protocol = proto.Protocol{Name: "socks", Probe: Probe, New: New}

// maxHandshake bounds what one side may send before the connection is granted: the longest messages are
// a login with a name and a password of 255 bytes, and a 4a request with a name and a host.
const maxHandshake = 1024

const (
	methodNone     = 0
	methodPassword = 2
	granted4       = 0x5a
)

// Probe implements proto.Protocol: it wants a whole greeting and nothing behind it, since a client must
// wait for the answer.
func Probe(b []byte) (proto.Match, proto.Role) {
	switch {
	case len(b) == 0:
		return proto.NeedMore, proto.Client
	case b[0] == 5 && len(b) >= 2 && b[1] > 0 && b[1] <= 16:
		n := 2 + int(b[1])
		for _, method := range b[2:min(n, len(b))] {
			if method > 9 && method < 0x80 {
				return proto.No, proto.AnyRole
			}
		}
		switch {
		case len(b) < n:
			return proto.NeedMore, proto.Client
		case len(b) == n:
			return proto.Yes, proto.Client
		}
	case b[0] == 4 && len(b) >= 9 && (b[1] == 1 || b[1] == 2) && request4(b) == len(b):
		return proto.Yes, proto.Client
	case (b[0] == 5 || b[0] == 4) && len(b) == 1:
		return proto.NeedMore, proto.Client
	}
	return proto.No, proto.AnyRole
}

type step uint8

const (
	greeting step = iota
	choice
	login
	verdict
	request
	reply
	open
	failed
)

// Parser follows one handshake.
type Parser struct {
	client proto.Direction
	step   step
	v4     bool
	buf    [2][]byte
	// behind marks, in each direction, the last segment and the place behind it.
	behind [2]clock.Mark
	held   *int
}

// New returns a parser for one connection.
func New(c *proto.Context) proto.Parser { return &Parser{client: c.Client, held: c.Held} }

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	server := p.client.Other()
	switch {
	case p.step == failed:
		return proto.Verdict{Action: proto.Stop}
	case p.step == greeting && d == server:
		return proto.Verdict{} // a prelude that isn't SOCKS
	}
	p.buf[d] = append(p.buf[d], b...)
	*p.held += len(b)
	p.behind[d] = at
	p.behind[d].Offset += int64(len(b))
	for p.advance() {
	}
	if p.step == open {
		*p.held -= len(p.buf[0]) + len(p.buf[1])
		early, earlyAt := p.buf[d.Other()], p.behind[d.Other()]
		earlyAt.Offset -= int64(len(early))
		return proto.Verdict{
			Action: proto.Handover, Consumed: max(len(b)-len(p.buf[d]), 0), Early: early, EarlyAt: earlyAt,
		}
	}
	if p.step == failed || len(p.buf[d]) > maxHandshake {
		p.fail()
		return proto.Verdict{Action: proto.Stop}
	}
	return proto.Verdict{}
}

// methods gives the step that follows the server's choice of a method; others can't be followed.
var methods = map[byte]step{methodNone: request, methodPassword: login}

// advance takes one message, if it has come whole, and reports whether there may be another.
func (p *Parser) advance() bool {
	c, s := p.buf[p.client], p.buf[p.client.Other()]
	switch p.step {
	case greeting:
		if len(c) > 0 && c[0] == 4 {
			p.v4 = true
			p.step = request
			return true
		}
		if len(c) >= 2 && len(c) >= 2+int(c[1]) {
			p.take(p.client, 2+int(c[1]))
			p.step = choice
			return true
		}
	case choice:
		if len(s) >= 2 {
			next, ok := methods[s[1]]
			if s[0] != 5 || !ok {
				next = failed
			}
			p.take(p.client.Other(), 2)
			p.step = next
			return next != failed
		}
	case login:
		if len(c) >= 2 && len(c) > 2+int(c[1]) {
			if n := 3 + int(c[1]) + int(c[2+int(c[1])]); len(c) >= n {
				p.take(p.client, n)
				p.step = verdict
				return true
			}
		}
	case verdict:
		if len(s) >= 2 {
			p.take(p.client.Other(), 2)
			p.step = request
			if s[1] != 0 {
				p.step = failed
			}
			return p.step != failed
		}
	case request:
		n := p.requestSize(c)
		if n > maxHandshake {
			p.step = failed
			return false
		}
		if n > 0 && len(c) >= n {
			p.take(p.client, n)
			p.step = reply
			return true
		}
	case reply:
		if n := p.replySize(); n > 0 && len(s) >= n {
			p.step = failed
			if p.granted() {
				p.step = open
			}
			p.take(p.client.Other(), n)
		}
	}
	return false
}

// take removes n bytes that have been understood.
func (p *Parser) take(d proto.Direction, n int) {
	p.buf[d] = p.buf[d][n:]
	*p.held -= n
}

// requestSize returns the size of the client's request, 0 when it isn't known yet.
func (p *Parser) requestSize(c []byte) int {
	if p.v4 {
		return request4(c)
	}
	return address5(c)
}

// replySize returns the size of the server's reply, 0 when it isn't known yet.
func (p *Parser) replySize() int {
	if p.v4 {
		return 8
	}
	return address5(p.buf[p.client.Other()])
}

// granted reports whether the server's reply, which has come whole, grants the request.
func (p *Parser) granted() bool {
	s := p.buf[p.client.Other()]
	if p.v4 {
		return s[0] == 0 && s[1] == granted4
	}
	return s[0] == 5 && s[1] == 0
}

// request4 returns the size of a version 4 request: version, command, port, address, a user name up to
// a NUL, and in 4a, which an address 0.0.0.x announces, a host name up to a NUL.
func request4(b []byte) int {
	if len(b) < 9 {
		return 0
	}
	n := bytes.IndexByte(b[8:], 0)
	if n < 0 {
		return 0
	}
	size := 8 + n + 1
	if b[4]|b[5]|b[6] == 0 && b[7] != 0 {
		n = bytes.IndexByte(b[size:], 0)
		if n < 0 {
			return 0
		}
		size += n + 1
	}
	return size
}

// address5 returns the size of a version 5 request or reply: four bytes, an address by its type, a port.
func address5(b []byte) int {
	if len(b) < 5 {
		return 0
	}
	switch b[3] {
	case 1:
		return 4 + 4 + 2
	case 3:
		return 4 + 1 + int(b[4]) + 2
	case 4:
		return 4 + 16 + 2
	}
	return maxHandshake + 1 // no such type: it will never come
}

// Gap implements proto.Parser: a handshake with a hole can't be followed.
func (p *Parser) Gap(proto.Direction, int64, clock.Mark) { p.fail() }

// Close implements proto.Parser.
func (p *Parser) Close(proto.Direction, clock.Mark, proto.CloseReason) { p.fail() }

func (p *Parser) fail() {
	*p.held -= len(p.buf[0]) + len(p.buf[1])
	p.buf = [2][]byte{}
	p.step = failed
}
