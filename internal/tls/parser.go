package tls

import (
	"bytes"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls/handshake"
	"github.com/culprit-http/culprit/internal/tls/suite"
)

type mode uint8

const (
	following mode = iota
	waiting
	blind
	sated
)

// Parser reads one connection. See the package comment.
type Parser struct {
	engine *Engine
	sink   proto.Sink
	nest   func(n proto.Nested) proto.Parser
	held   *int
	client proto.Direction
	mode   mode
	half   [2]half
	// inner takes the plaintext, nil before there is some.
	inner proto.Parser

	facts proto.TLS

	// What the handshake has agreed on.
	clientHello  *handshake.ClientHello
	serverRandom [32]byte
	sessionID    []byte // that the server gives the session, or takes up
	suite        *suite.Suite
	version      uint16
	extended     bool // extended master secret
	etm          bool // encrypt-then-MAC
	// transcript is what the handshake said so far, kept while an RSA key may need it; nil otherwise. premaster is the encrypted
	// premaster secret.
	transcript []byte
	hashing    bool
	premaster  []byte
	// unopened: no private key opens it. final: no more keys are waited for.
	unopened, final bool
	// next are the openers of TLS 1.2 and before that the next change of keys brings.
	next [2]suite.Opener
	// secrets are the traffic secrets of TLS 1.3, by direction and epoch.
	secrets [2][numEpochs][]byte

	// lastTurn is who spoke last in the handshake, and turnEnd when.
	lastTurn proto.Direction
	turnEnd  int64
	spoken   bool

	// kept is what the session takes, which counts as held until both directions have ended: helloSize of it for the ClientHello,
	// chainSize for the certificates of each direction, and bufferSize for buffers. charged is the part of it that counts among what waits for keys.
	kept, charged int
	helloSize     int
	chainSize     [2]int
	bufferSize    int

	// What waits for keys.
	events []event
	buf    []byte
	since  int64
	closed [2]bool
	// lingers: the connection has ended while this waits.
	lingers bool
}

// event is a call that waits.
type event struct {
	kind kind
	d    proto.Direction
	at   clock.Mark
	n    int64
	why  proto.CloseReason
	// facts are those of the transport then.
	facts *proto.Facts
}

type kind uint8

const (
	data kind = iota
	gap
	closing
)

const (
	eventSize = int(unsafe.Sizeof(event{})) + int(unsafe.Sizeof(proto.Facts{}))
	// sessionSize is about what a session takes beside what is kept of its messages, in bytes: the parser, what it tells, openers.
	sessionSize = int(unsafe.Sizeof(Parser{})) + 3<<10
)

func newParser(e *Engine, c *proto.Context) *Parser {
	p := &Parser{engine: e, sink: c.Sink, nest: c.Nest, held: c.Held, client: c.Client}
	p.facts.Client = c.Client
	p.account(sessionSize)
	e.Counters.Sessions++
	if c.Resumed {
		p.blind("the capture began after the handshake")
		p.facts.Established = true
		p.tell()
	}
	return p
}

var (
	proceed = proto.Verdict{Action: proto.Continue}
	stop    = proto.Verdict{Action: proto.Stop}
)

// Data implements proto.Parser.
func (p *Parser) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	v := p.data(d, b, at)
	if v.Action != proto.Handover {
		p.weigh()
	}
	return v
}

// data is Data without its account.
func (p *Parser) data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	if p.mode == waiting {
		p.keep(event{kind: data, d: d, at: at, n: int64(len(b))}, b)
		return proceed
	}
	if p.enough() {
		return stop
	}
	h := &p.half[d]
	if d != p.client && !h.begun && !h.searching && p.half[p.client].begun && !isRecord(b[0]) {
		p.facts.Failure = "the client speaks TLS, the server answered in plain text"
		p.tell()
		for i := range p.half {
			p.half[i].release()
		}
		p.account(-p.kept)
		return proto.Verdict{Action: proto.Handover, EarlyLost: true}
	}
	if n := p.oldHello(d, b, at); n > 0 {
		b = b[n:]
		at.Offset += int64(n)
	}
	p.records(d, b, at)
	if p.enough() {
		return stop
	}
	return proceed
}

// oldHello takes a ClientHello in the format of SSL 2.0, which older clients begin with. It returns how many bytes it took.
func (p *Parser) oldHello(d proto.Direction, b []byte, at clock.Mark) int {
	h := &p.half[d]
	if d != p.client || h.begun || p.clientHello != nil {
		return 0
	}
	n, ok := handshake.SSL2Length(b)
	if !ok || n > len(b) {
		return 0
	}
	c, err := handshake.ParseSSL2Hello(bytes.Clone(b[:n]))
	if err != nil {
		return 0
	}
	h.begun, h.messageAt = true, at
	if p.engine.keys != nil && len(p.engine.keys.RSAKeys()) > 0 {
		p.transcript, p.hashing = bytes.Clone(b[2:n]), true // RFC 5246 §E.2
	}
	p.turn(d, at.Time, at.Time)
	p.hello(c)
	h.note(at.Offset + int64(n))
	return n
}

// enough reports whether nothing more is wanted of the connection.
func (p *Parser) enough() bool {
	switch p.mode {
	case sated:
		return true
	case blind:
		return p.facts.Established || p.facts.Failure != ""
	}
	return false
}

// Gap implements proto.Parser.
func (p *Parser) Gap(d proto.Direction, n int64, at clock.Mark) {
	if p.mode == waiting {
		p.keep(event{kind: gap, d: d, at: at, n: n}, nil)
		return
	}
	if !p.enough() {
		p.hole(d, n, at)
		p.weigh()
	}
}

// Close implements proto.Parser.
func (p *Parser) Close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	if p.mode == waiting {
		p.keep(event{kind: closing, d: d, at: at, why: why}, nil)
		p.closed[d] = true
		if p.closed[d.Other()] && !p.lingers && p.mode == waiting {
			if k, ok := p.sink.(Keeper); ok {
				p.lingers = true
				k.Linger(true)
			}
		}
		return
	}
	p.close(d, at, why)
}

// close ends a direction.
func (p *Parser) close(d proto.Direction, at clock.Mark, why proto.CloseReason) {
	p.closed[d] = true
	h := &p.half[d]
	h.ended.at, h.ended.why = at, why
	p.flushLost(d, at)
	h.release()
	if p.inner != nil {
		p.inner.Close(d, at, why)
	}
	if p.closed[d.Other()] {
		p.tell()
		p.account(-p.kept)
		return
	}
	p.weigh()
}

// account counts n bytes more that the session takes.
func (p *Parser) account(n int) {
	p.kept += n
	*p.held += n
}

// replace accounts for what takes now bytes, and took size before.
func (p *Parser) replace(size *int, now int) {
	p.account(now - *size)
	*size = now
}

// weigh accounts for the buffers, as they are at the end of a call.
func (p *Parser) weigh() {
	p.replace(&p.bufferSize, p.half[0].size()+p.half[1].size()+cap(p.transcript))
}

// keep keeps a call that must wait.
func (p *Parser) keep(e event, b []byte) {
	if k, ok := p.sink.(Keeper); ok {
		f := *k.Facts()
		e.facts = &f
	}
	p.events = append(p.events, e)
	p.buf = append(p.buf, b...)
	n := len(b) + eventSize
	*p.held += n
	if len(p.buf)+len(p.events)*eventSize > p.engine.limits.MaxWaiting {
		p.engine.Counters.Overflow++
		p.engine.held += n
		p.giveUp("its key didn't come while there was room to wait for it")
		return
	}
	p.engine.hold(n)
}

// await has the parser wait for its keys. rest is what was taken but can't be dealt with.
func (p *Parser) await(d proto.Direction, rest []byte, segments []segment) {
	p.mode = waiting
	p.engine.Counters.Waited++
	p.since = p.engine.elapsed
	p.engine.wait(p)
	p.charged = p.kept
	p.engine.hold(p.charged)
	for i, s := range segments {
		end := len(rest)
		if i+1 < len(segments) {
			end = segments[i+1].at
		}
		at := s.mark
		if p.mode != waiting { // there was no room even for this
			p.records(d, rest[s.at:end], at)
			continue
		}
		p.keep(event{kind: data, d: d, at: at, n: int64(end - s.at)}, rest[s.at:end])
	}
}

// giveUp ends the waiting without keys.
func (p *Parser) giveUp(why string) {
	p.engine.leave(p)
	p.settle(why)
}

// settle goes on with the keys that there are, or without.
func (p *Parser) settle(why string) {
	p.final = true
	if p.mode = following; !p.findKeys() {
		p.blind(why)
	}
	p.goOn()
}

// blind stops the search for keys.
func (p *Parser) blind(why string) {
	p.mode = blind
	if p.facts.Reason == "" {
		p.facts.Reason = why
	}
}

// goOn replays what has waited.
func (p *Parser) goOn() {
	if p.mode == waiting {
		p.mode = following
	}
	events, buf := p.events, p.buf
	p.events, p.buf = nil, nil
	n := len(buf) + len(events)*eventSize
	*p.held -= n
	p.engine.held -= n + p.charged
	p.charged = 0
	off := int64(0)
	keeper, _ := p.sink.(Keeper)
	for i := range events {
		if keeper != nil {
			keeper.Rewind(events[i].facts)
		}
		switch e := &events[i]; e.kind {
		case data:
			p.Data(e.d, buf[off:off+e.n], e.at)
			off += e.n
		case gap:
			p.Gap(e.d, e.n, e.at)
		case closing:
			p.Close(e.d, e.at, e.why)
		}
	}
	if keeper != nil {
		keeper.Rewind(nil)
	}
	if p.lingers && p.mode != waiting {
		p.lingers = false
		p.sink.(Keeper).Linger(false)
	}
}

// tell tells the sink of the facts, of which it gets a copy.
func (p *Parser) tell() {
	s := p.facts
	p.sink.Session(&s)
}
