package tls

import (
	"crypto/rsa"

	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls/suite"
)

// Versions (RFC 8446 §4.2.1).
const (
	tls10 = 0x0301
	tls13 = 0x0304
)

// premasterSize is the length of a premaster secret that RSA encrypts (RFC 5246 §7.4.7.1).
const premasterSize = 48

// masterFinder is Keys that know of master secrets by session id, too, and learn those that private keys give.
type masterFinder interface {
	SessionMaster(id []byte, generation uint32) []byte
	Learn(random *[32]byte, master []byte)
}

// mayCome reports whether the keys of this connection may still come.
func (p *Parser) mayCome() bool {
	k := p.engine.keys
	return k != nil && p.engine.mayGrow && !p.final && p.facts.HasRandom && p.suite != nil && p.suite.Supported()
}

// noKey says why the connection can't be read, when its keys aren't there.
func (p *Parser) noKey() string {
	k := p.engine.keys
	switch {
	case !p.facts.HasRandom || p.suite == nil:
		return "bytes of the handshake weren't captured"
	case !p.suite.Supported():
		return "the cipher suite can't be opened: " + p.facts.SuiteName
	case k == nil || p.engine.none:
		return "no keys were given"
	case len(k.RSAKeys()) > 0 && p.premaster != nil:
		return "no key for this client random, and no private key opens its key exchange"
	case len(k.RSAKeys()) > 0 && !p.suite.RSA():
		return "no key for this client random, and a private key doesn't open a key exchange with forward secrecy"
	}
	return "no key for this client random"
}

// findKeys reports whether keys have come since the parser began to wait.
func (p *Parser) findKeys() bool {
	for d := range p.half {
		if h := &p.half[d]; h.opener == nil && p.derive(proto.Direction(d)) {
			return true
		}
	}
	return false
}

// keyed reports whether there is an opener for the records of a direction, and makes it where it can.
func (p *Parser) keyed(d proto.Direction) bool {
	h := &p.half[d]
	if h.opener != nil {
		return true
	}
	return p.mode == following && p.derive(d)
}

// derive looks for the keys of a direction. It reports whether there are any.
func (p *Parser) derive(d proto.Direction) bool {
	if p.engine.keys == nil || p.suite == nil || !p.suite.Supported() || !p.facts.HasRandom {
		return false
	}
	if p.version >= tls13 {
		return p.derive13(d)
	}
	h := &p.half[d]
	if p.next[d] == nil {
		master := p.master()
		if master == nil {
			return false
		}
		client, server, err := p.suite.TLS12(p.version, master, p.clientHello.Random[:], p.serverRandom[:], p.etm)
		if err != nil {
			return false
		}
		p.next[p.client], p.next[p.client.Other()] = client, server
	}
	if h.protected {
		h.opener, p.next[d] = p.next[d], nil
		h.seq, h.opened = 0, false
	}
	return true
}

// derive13 makes the opener of a direction's epoch, or of a later one where its own secret isn't known.
func (p *Parser) derive13(d proto.Direction) bool {
	h := &p.half[d]
	if o := p.opener13(d, h.epoch); o != nil {
		h.opener, h.seq, h.opened = o, 0, false
		return true
	}
	if p.engine.mayGrow && !p.final {
		return false // its own may still come
	}
	return p.later(d)
}

// later turns to a later epoch of a direction: its own keys aren't known, or open nothing. What these would open is lost.
func (p *Parser) later(d proto.Direction) bool {
	h := &p.half[d]
	if p.version < tls13 {
		return false
	}
	for e := h.epoch + 1; e < numEpochs; e++ {
		if o := p.opener13(d, e); o != nil {
			h.epoch, h.opener, h.seq, h.opened, h.ahead = e, o, 0, false, true
			if e == epochData && d == p.client {
				h.finished = true
			}
			return true
		}
	}
	return false
}

// opener13 returns an opener for an epoch, nil when its secret isn't known.
func (p *Parser) opener13(d proto.Direction, e epoch) suite.Opener {
	secret := p.secrets[d][e]
	if secret == nil {
		s := p.engine.keys.Secrets(&p.facts.Random, p.engine.generation)
		if s == nil {
			return nil
		}
		if d == p.client {
			secret = [numEpochs][]byte{s.EarlyTraffic, s.ClientHandshake, s.ClientTraffic}[e]
		} else {
			secret = [numEpochs][]byte{nil, s.ServerHandshake, s.ServerTraffic}[e]
		}
		if secret == nil {
			return nil
		}
		p.secrets[d][e] = secret
	}
	o, err := p.suite.TLS13(secret)
	if err != nil {
		return nil
	}
	return o
}

// master returns the master secret of TLS 1.2 and before, nil when it isn't known.
func (p *Parser) master() []byte {
	k := p.engine.keys
	if s := k.Secrets(&p.facts.Random, p.engine.generation); s != nil && s.Master != nil {
		return s.Master
	}
	finder, _ := k.(masterFinder)
	if finder != nil {
		if master := finder.SessionMaster(p.sessionID, p.engine.generation); master != nil {
			finder.Learn(&p.facts.Random, master)
			return master
		}
	}
	if p.premaster == nil {
		return nil
	}
	secret := k.Premaster(p.premaster, p.engine.generation)
	for _, key := range k.RSAKeys() {
		if secret != nil || p.unopened {
			break
		}
		// A wrong key gives an error, or once in a long while another length or a master that opens nothing.
		//lint:ignore SA1019 it is what the key exchange uses (RFC 5246 §7.4.7.1)
		if s, err := rsa.DecryptPKCS1v15(nil, key, p.premaster); err == nil && len(s) == premasterSize {
			secret = s
		}
	}
	if secret == nil {
		p.unopened = true
		return nil
	}
	var master []byte
	if p.extended {
		if p.transcript == nil {
			return nil
		}
		t := p.suite.Transcript(p.version)
		t.Write(p.transcript)
		master = p.suite.ExtendedMaster(p.version, secret, t.Sum(nil))
	} else {
		master = p.suite.Master(p.version, secret, p.clientHello.Random[:], p.serverRandom[:])
	}
	if finder != nil {
		finder.Learn(&p.facts.Random, master)
	}
	return master
}
