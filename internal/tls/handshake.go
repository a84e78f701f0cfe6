package tls

import (
	"bytes"
	"unsafe"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls/handshake"
	"github.com/culprit-http/culprit/internal/tls/suite"
)

// What became of early data, and how sessions are resumed: the words of proto.TLS.
const (
	offered  = "offered"
	accepted = "accepted"
	rejected = "rejected"

	resumedByID     = "id"
	resumedByTicket = "ticket"
	resumedByPSK    = "psk"
)

const (
	// maxTranscript is how much of a handshake is kept for a private key.
	maxTranscript = 256 << 10
	// maxSuites is how many of the cipher suites that a client offers are told.
	maxSuites = 128
	// maxChain is how many certificates of a chain are described.
	maxChain = 10
	// headSize is the length of a handshake message's header.
	headSize = 4
)

// handshake takes bytes of handshake messages.
func (p *Parser) handshake(d proto.Direction, b []byte, first, last clock.Mark) {
	h := &p.half[d]
	if h.blurred {
		h.blurred = false // a message begins with this record, most likely; if not, its type or length won't do
	}
	for len(b) > 0 {
		if len(h.message) == 0 {
			h.messageAt = first
		}
		need := headSize
		if len(h.message) >= headSize {
			need += length24(h.message)
		}
		if len(h.message) == 0 && len(b) >= headSize {
			if n := headSize + length24(b); n <= len(b) {
				p.message(d, b[:n], last)
				b = b[n:]
				continue
			}
		}
		if need > maxHandshake {
			h.blur()
			return
		}
		n := min(need-len(h.message), len(b))
		h.message = append(h.message, b[:n]...)
		b = b[n:]
		if len(h.message) >= headSize && len(h.message) == headSize+length24(h.message) {
			m := h.message
			h.message = nil
			p.message(d, m, last)
		}
	}
}

func length24(b []byte) int { return int(b[1])<<16 | int(b[2])<<8 | int(b[3]) }

// message takes a handshake message with its header. last marks its last byte.
func (p *Parser) message(d proto.Direction, m []byte, last clock.Mark) {
	h := &p.half[d]
	typ, body := m[0], m[headSize:]
	if typ == handshake.TypeClientHello && p.version < tls13 {
		p.transcript, p.hashing = nil, p.engine.keys != nil && len(p.engine.keys.RSAKeys()) > 0
	}
	if p.hashing && typ != handshake.TypeHelloRequest && typ != handshake.TypeFinished {
		if len(p.transcript)+len(m) > maxTranscript {
			p.hashing, p.transcript = false, nil
		} else {
			p.transcript = append(p.transcript, m...)
		}
	}
	switch typ {
	case handshake.TypeClientHello:
		if c, err := handshake.ParseClientHello(bytes.Clone(body)); err == nil {
			p.replace(&p.helloSize, len(body))
			p.hello(c)
		} else {
			p.garbled(err)
		}
	case handshake.TypeServerHello:
		if s, err := handshake.ParseServerHello(body); err == nil {
			p.answer(d, s)
		} else {
			p.garbled(err)
		}
	case handshake.TypeEncryptedExtensions:
		alpn, early, err := handshake.EncryptedExtensions(body)
		if err == nil {
			p.facts.ALPN = alpn
		}
		p.decideEarly(early)
	case handshake.TypeCertificate:
		p.certificates(d, body)
	case handshake.TypeCompressedCertificate:
		if plain, err := handshake.DecompressCertificates(body); err == nil {
			p.certificates(d, plain)
		}
	case handshake.TypeServerKeyExchange:
		if g, ok := handshake.ServerGroup(body); ok {
			p.group(g)
		}
	case handshake.TypeClientKeyExchange:
		if p.suite != nil && p.suite.RSA() {
			if enc, err := handshake.ClientKeyRSA(p.version, body); err == nil {
				p.premaster = bytes.Clone(enc)
			}
		}
		p.hashing = false
	case handshake.TypeEndOfEarlyData:
		if p.version >= tls13 && d == p.client {
			p.enter(d, epochHandshake)
		}
	case handshake.TypeFinished:
		h.finished = true
		if p.version >= tls13 {
			p.enter(d, epochData)
		}
		p.established(last.Time)
	case handshake.TypeKeyUpdate:
		if p.version >= tls13 && h.epoch == epochData && p.secrets[d][epochData] != nil {
			p.secrets[d][epochData] = p.suite.Next(p.secrets[d][epochData])
			p.facts.KeyUpdates++
			p.enter(d, epochData)
			p.tell()
		}
	}
}

// enter begins an epoch of a direction, or new keys in it.
func (p *Parser) enter(d proto.Direction, e epoch) {
	h := &p.half[d]
	h.epoch, h.opener, h.seq, h.opened = e, nil, 0, false
}

// garbled notes a hello that can't be read.
func (p *Parser) garbled(err error) {
	if p.mode == following && p.version == 0 {
		p.blind("the handshake can't be read: " + err.Error())
	}
}

// hello takes a ClientHello.
func (p *Parser) hello(c *handshake.ClientHello) {
	f := &p.facts
	switch {
	case p.clientHello != nil && p.facts.Established:
		f.Renegotiations++
		p.half[0].finished, p.half[1].finished = false, false
		f.Random, p.clientHello = c.Random, c
		p.premaster, p.unopened, p.next = nil, false, [2]suite.Opener{}
		p.tell()
		return
	case p.clientHello != nil: // after a HelloRetryRequest, whose first ClientHello the fingerprints are of
		p.clientHello = c
		return
	}
	p.clientHello = c
	f.Hello = p.half[p.client].messageAt
	f.Offered = c.Highest()
	f.OfferedSuites = c.Suites[:min(len(c.Suites), maxSuites)]
	f.ServerName, f.OfferedALPN = c.ServerName, c.ALPN
	f.JA3, f.JA4 = c.JA3(), c.JA4()
	f.Random, f.HasRandom = c.Random, true
	if c.EarlyData {
		f.EarlyData = offered
	}
	p.tell()
}

// answer takes a ServerHello.
func (p *Parser) answer(d proto.Direction, s *handshake.ServerHello) {
	f := &p.facts
	if d == p.client {
		return
	}
	if f.Answered == 0 {
		f.Answered = p.half[d].messageAt.Time
	}
	if f.JA3S == "" { // as with the client's, that of the first
		f.JA3S = s.JA3S()
	}
	if s.HelloRetry {
		f.Retry, p.version = true, tls13
		if f.EarlyData == offered {
			p.decideEarly(false)
		}
		return
	}
	p.serverRandom, p.sessionID, p.version = s.Random, bytes.Clone(s.SessionID), s.Version
	if s.Version>>8 == 0x7f { // a draft of TLS 1.3
		p.version = tls13
	}
	p.extended, p.etm = s.ExtendedMaster, s.EncryptThenMAC
	p.suite = suite.Lookup(s.Suite)
	f.Version, f.Suite, f.SuiteName = p.version, s.Suite, suite.Name(s.Suite)
	if s.ALPN != "" {
		f.ALPN = s.ALPN
	}
	if s.Group != 0 {
		p.group(s.Group)
	}
	if p.version >= tls13 {
		if s.PSK {
			f.Resumption = resumedByPSK
		}
		for i := range p.half {
			p.half[i].epoch = epochHandshake
		}
	} else if c := p.clientHello; c != nil {
		switch same := len(c.SessionID) > 0 && bytes.Equal(c.SessionID, s.SessionID); {
		case same && len(c.Ticket) > 0:
			f.Resumption = resumedByTicket
		case same:
			f.Resumption = resumedByID
		}
	}
	if s.Compression != 0 {
		p.blind("its records are compressed")
	}
	p.tell()
}

// group notes the group of the key exchange.
func (p *Parser) group(g uint16) {
	p.facts.Group, p.facts.GroupName = g, handshake.GroupName(g)
}

// certificates takes a certificate chain.
func (p *Parser) certificates(d proto.Direction, body []byte) {
	list, err := handshake.Certificates(p.version, body)
	if err != nil {
		return
	}
	chain := make([]*proto.Certificate, 0, min(len(list), maxChain))
	for _, der := range list[:min(len(list), maxChain)] {
		chain = append(chain, handshake.Describe(der))
	}
	size := 0
	for _, c := range chain {
		size += described(c)
	}
	p.replace(&p.chainSize[d], size)
	if d == p.client {
		p.facts.ClientChain = chain
	} else {
		p.facts.ServerChain = chain
	}
}

// described is about what the description of a certificate takes, in bytes.
func described(c *proto.Certificate) int {
	n := int(unsafe.Sizeof(*c)) + len(c.Subject) + len(c.Issuer) + len(c.CommonName) + len(c.IssuerName) + len(c.Serial) + len(c.SHA256) + len(c.Key) + len(c.Signature)
	for _, name := range c.Names {
		n += int(unsafe.Sizeof(name)) + len(name)
	}
	return n
}

// change takes a change of keys (TLS 1.2 and before; in TLS 1.3 it means nothing, RFC 8446 §D.4).
func (p *Parser) change(d proto.Direction) {
	if p.version >= tls13 || p.version == 0 && p.clientHello != nil && p.clientHello.Highest() >= tls13 && d == p.client {
		return
	}
	h := &p.half[d]
	h.protected, h.finished = true, false
	h.opener, h.seq, h.opened = nil, 0, false
	p.derive(d)
}

// The alerts that end no handshake (RFC 8446 §6.1).
const (
	alertCloseNotify  = 0
	alertUserCanceled = 90
)

// alert takes an alert.
func (p *Parser) alert(d proto.Direction, b []byte, at clock.Mark) {
	if len(b) != 2 || b[1] == alertCloseNotify {
		return
	}
	a := proto.Alert{Dir: d, Fatal: b[0] == 2, Code: b[1], Name: handshake.AlertName(b[1]), At: at}
	if p.version >= tls13 {
		a.Fatal = a.Code != alertUserCanceled // RFC 8446 §6
	}
	f := &p.facts
	if len(f.Alerts) < proto.MaxAlerts {
		f.Alerts = append(f.Alerts[:len(f.Alerts):len(f.Alerts)], a)
	}
	if a.Fatal && f.Failure == "" && (!f.Established || p.inner == nil && p.version >= tls13) {
		who := "client"
		if d != p.client {
			who = "server"
		}
		f.Failure = "TLS handshake failed: the " + who + " says " + a.Name
		if m := handshake.ExplainAlert(a.Code, d == p.client); m != "" {
			f.Failure += ": " + m
		}
	}
	p.tell()
}
