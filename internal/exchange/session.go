package exchange

import (
	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// What an exchange is made of, for ID: several may begin with the same byte of a connection.
const (
	sortContinued = 'h' // a request that was answered after a change of protocol
	sortSession   = 's'
	sortEvent     = 'm'
	sortTLS       = 't'
	sortFlow      = 'f'
)

// SessionPairer makes one exchange of all messages of a session, such as a WebSocket, and on request one of each message
// as well. It is the proto.Sink of the session's parser, whose messages are of kind proto.Event.
//
// The session's exchange has the request and the response that began it, and the sizes and times of what was said since.
type SessionPairer struct {
	*Layer
	client   proto.Direction
	protocol string
	prior    *upgrade
	// session is the exchange of the session, nil as long as nothing was said and nothing is known of its beginning.
	whole *Exchange
	// events are the exchanges of the messages under way, where each has one; index counts the messages of each direction.
	events [2]map[*proto.Message]*Exchange
	index  [2]int64
	lost   [2]bool
	// Why is why the stream ended that carried the session, where one did.
	Why proto.CloseReason
}

// Open begins a session. resumed: the parser begins in the middle.
func (p *SessionPairer) Open(l *Layer, protocol string, client proto.Direction, resumed bool) {
	*p = SessionPairer{Layer: l, client: client, protocol: protocol, prior: l.taken(), lost: [2]bool{resumed, resumed}}
	if p.prior != nil {
		l.engine.memory += p.prior.size()
		p.start(&p.prior.request)
	}
}

// start begins the session's exchange.
func (p *SessionPairer) start(m *proto.Message) {
	x := p.Layer.begin(m, p.protocol, p.client)
	x.pairer, x.sort, x.Stream = p, sortSession, true
	if p.prior != nil {
		x.HasRequest, x.HasResponse = true, true
		x.Request.CopyFrom(&p.prior.request)
		x.Response.CopyFrom(&p.prior.response)
		p.engine.charge(x, footprint(&x.Response))
		for _, m := range [...]*proto.Message{&x.Request, &x.Response} {
			m.Size, m.HeadSize, m.BodyBytes, m.Anomalies = 0, 0, 0, 0
			m.End = proto.Unfinished
		}
	}
	p.engine.answered.push(x)
	p.whole = x
}

// half returns the message of the session's exchange that stands for what a direction said.
func (p *SessionPairer) half(d proto.Direction) *proto.Message {
	if d == p.client {
		p.whole.HasRequest = true
		return &p.whole.Request
	}
	p.whole.HasResponse = true
	return &p.whole.Response
}

// Head implements proto.Sink.
func (p *SessionPairer) Head(m *proto.Message) proto.Answers {
	if p.whole == nil {
		p.start(m)
	}
	h := p.half(m.Dir)
	if h.First.Time == 0 {
		h.First = m.First
	}
	if m.Status != 0 && !p.whole.Closing.Seen {
		p.whole.Closing = Closing{Seen: true, By: m.Dir, Code: m.Status, Reason: string(m.Bytes(m.Reason))}
	}
	if p.engine.limits.Messages {
		p.event(m)
	}
	p.index[m.Dir]++
	return proto.AnswersUnknown
}

// event begins the exchange of one message.
func (p *SessionPairer) event(m *proto.Message) {
	x := p.Layer.begin(m, p.protocol, p.client)
	x.pairer, x.sort, x.Stream = p, sortEvent, true
	x.Message = &SessionMessage{Dir: m.Dir, Kind: string(m.Bytes(m.Method)), Index: p.index[m.Dir]}
	if p.prior != nil {
		// It is about the target of the session, whoever speaks.
		prior := &p.prior.request
		said := proto.Message{First: prior.First, Last: prior.Last}
		if m.Dir == p.client {
			said = *m
		}
		said.Raw, said.Fields, said.Reason, said.Stream = prior.Raw, prior.Fields, prior.Reason, prior.Stream
		said.Method, said.Target, said.Proto, said.Version = prior.Method, prior.Target, prior.Proto, prior.Version
		x.HasRequest = true
		x.Request.CopyFrom(&said)
		p.engine.charge(x, footprint(&x.Request))
	} else if m.Dir == p.client {
		x.HasRequest = true
		x.Request.CopyFrom(m)
	}
	if m.Dir != p.client {
		x.HasResponse = true
		x.Response.CopyFrom(m)
		x.Response.Status, x.Response.Stream = 0, x.Request.Stream
	}
	if p.events[m.Dir] == nil {
		p.events[m.Dir] = map[*proto.Message]*Exchange{}
	}
	p.events[m.Dir][m] = x
	p.engine.answered.push(x)
}

// WantsBody implements proto.Sink.
func (p *SessionPairer) WantsBody(m *proto.Message) int {
	x := p.events[m.Dir][m]
	if x == nil {
		return 0
	}
	return p.engine.wantsBodyOf(x.body(m.Dir), m, 0)
}

// Body implements proto.Sink.
func (p *SessionPairer) Body(m *proto.Message, b []byte) {
	if x := p.events[m.Dir][m]; x != nil {
		to := x.body(m.Dir)
		to.raw = append(to.raw, b...)
		p.engine.charge(x, len(b))
	}
}

// body returns where what a direction said is kept.
func (x *Exchange) body(d proto.Direction) *Body {
	if d == x.Client {
		return &x.RequestBody
	}
	return &x.ResponseBody
}

// End implements proto.Sink.
func (p *SessionPairer) End(m *proto.Message) {
	if p.whole != nil {
		h := p.half(m.Dir)
		h.Size += m.Size
		h.BodyBytes += m.BodyBytes
		h.MissingBytes += m.MissingBytes
		h.Anomalies |= m.Anomalies
		h.Last = m.Last
		if m.End == proto.Cut {
			h.End, h.Close = m.End, m.Close
		}
		h.Parts.Count += m.Parts.Count
		h.Parts.Compressed += m.Parts.Compressed
		h.Parts.Bytes += m.Parts.Bytes
		h.Parts.Largest = max(h.Parts.Largest, m.Parts.Bytes)
	}
	x := p.events[m.Dir][m]
	if x == nil {
		return
	}
	delete(p.events[m.Dir], m)
	to := &x.Response
	if m.Dir == p.client {
		to = &x.Request
	}
	raw, fields := m.Raw, m.Fields
	m.Raw, m.Fields = nil, nil
	to.Finish(m)
	m.Raw, m.Fields = raw, fields
	p.finish(x, m.Last, [2]bool{})
}

// Lost implements proto.Sink.
func (p *SessionPairer) Lost(d proto.Direction, _ clock.Mark) { p.lost[d] = true }

// Abort implements proto.Sink: a session has no streams.
func (p *SessionPairer) Abort(*proto.Abort) {}

// Closed says that a half-stream has ended, after the parser was told. The session ends with the second.
func (p *SessionPairer) Closed(_ proto.Direction, at clock.Mark, both bool) {
	x := p.whole
	if !both || x == nil {
		return
	}
	p.whole = nil
	if p.prior != nil {
		p.engine.memory -= p.prior.size()
		p.prior = nil
	}
	for _, m := range [...]*proto.Message{&x.Request, &x.Response} {
		switch {
		case m.End != proto.Unfinished:
		case p.Why == proto.StreamReset && !x.Closing.Seen:
			m.End, m.Close = proto.Cut, p.Why
		default:
			m.End = proto.Whole
		}
	}
	p.finish(x, at, p.lost)
}

// giveUp implements pairing: a session waits for no answer.
func (p *SessionPairer) giveUp(x *Exchange, at clock.Mark) { p.finish(x, at, p.lost) }

// losses implements pairing.
func (p *SessionPairer) losses(*Exchange) [2]bool { return p.lost }

// Closed says that what the layer carried has ended, after the sinks of its parsers were told. A TLS session of which no
// exchange came has a record of its own.
func (l *Layer) Closed(at clock.Mark) {
	l.Forget()
	s := l.session
	if s == nil || l.begun {
		return
	}
	first := s.Hello
	if first.Time == 0 {
		first = l.flow.First
	}
	x := l.begin(&proto.Message{First: first, Dir: s.Client}, "tls", s.Client)
	x.sort, x.Stream = sortTLS, true
	x.before = [2]Counts{}
	l.finish(x, at, [2]bool{})
}
