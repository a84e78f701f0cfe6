package postgres

import (
	"strconv"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
)

// The codes of packets that have no type, but for versions of the protocol, whose upper half is 3.
const (
	codeCancel = 80877102
	codeTLS    = 80877103
	codeGSS    = 80877104
	major      = 3
)

// startup takes a packet of the client's that has no type.
func (p *Parser) startup(h *half, body []byte) {
	code := order.Uint32(body)
	body = body[4:]
	switch {
	case code == codeTLS || code == codeGSS:
		if !p.hasAsked {
			p.asked, p.hasAsked = h.first, true
		}
		p.askedSize += h.size + h.length
		p.phase = phaseWaiting
	case code == codeCancel && len(body) >= 4:
		p.phase = phaseTyped
		p.cancel(h, order.Uint32(body))
	case code>>16 == major:
		p.phase = phaseTyped
		p.login(h, body)
	default:
		p.lose(p.client, h.first)
	}
}

// login takes a StartupMessage: the beginning of a session.
func (p *Parser) login(h *half, body []byte) {
	r := &p.request
	var user, database []byte
	for len(body) > 1 {
		name, rest, ok := word(body)
		text, rest, ok2 := word(rest)
		if !ok || !ok2 {
			break
		}
		switch body = rest; string(name) {
		case "user":
			user = text
		case "database":
			database = text
		}
	}
	if database == nil {
		database = user
	}
	user, database = user[:min(len(user), maxName)], database[:min(len(database), maxName)]
	r.raw = append(append(r.raw[:0], user...), database...)
	r.user = proto.Span{Len: uint32(len(user))}
	r.database = proto.Span{Off: r.user.Len, Len: uint32(len(database))}

	p.compose("LOGIN")
	p.span(h)
	if p.hasAsked {
		// The login began when the client asked for encryption, which the server refused.
		r.msg.First = p.asked
		r.msg.Size += p.askedSize
	}
	p.emit(expected{ready: true, login: true})
}

// refused emits a login that ends with the server's answer to the request for encryption.
func (p *Parser) refused() {
	p.compose("LOGIN")
	m := &p.request.msg
	m.First, m.Last, m.Size = p.asked, p.halves[p.client].last, p.askedSize
	p.emit(expected{ready: true, login: true})
}

// cancel takes a request to cancel what another session does; its key is none of our business.
func (p *Parser) cancel(h *half, process uint32) {
	p.compose("CANCEL")
	m := &p.request.msg
	at := len(p.request.raw)
	p.request.raw = strconv.AppendUint(p.request.raw, uint64(process), 10)
	m.Target = p.request.since(at)
	p.request.say("session", at)
	m.First, m.Last, m.Size = h.first, h.last, h.size+h.length
	p.emitAlone()
}

// wait keeps what a client sends while the server's answer to its request for encryption is out.
func (p *Parser) wait(b []byte, at clock.Mark) {
	if len(p.early) == 0 {
		p.earlyAt = at
	}
	n := min(len(b), maxEarly-len(p.early))
	if p.earlyLost {
		n = 0
	}
	p.early = append(p.early, b[:n]...)
	p.earlyLost = p.earlyLost || n < len(b)
}

// agreed takes the server's answer to a request for encryption. It returns how many bytes it took.
func (p *Parser) agreed(b []byte) (v proto.Verdict, n int) {
	switch b[0] {
	case 'S':
		return proto.Verdict{
			Action: proto.Handover, Consumed: 1, Hint: "tls", Early: p.early, EarlyAt: p.earlyAt, EarlyLost: p.earlyLost,
		}, 1
	case 'G':
		return proto.Verdict{Action: proto.Stop}, 1
	case 'N':
		n = 1
	case 'E':
		p.refused()
	}
	p.phase = phaseStartup
	return proceed, n
}

// replay takes what the client sent too early.
func (p *Parser) replay() {
	early := p.early
	p.early = nil
	if len(early) > 0 {
		p.data(p.client, early, p.earlyAt)
	}
	if p.earlyLost && !p.halves[p.client].lost {
		p.lose(p.client, p.earlyAt.After(len(early)))
	}
	p.earlyLost = false
}
