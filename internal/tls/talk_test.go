package tls_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// piece is what one side sent at once.
type piece struct {
	d    proto.Direction
	data []byte
}

// talk is a conversation over TLS as it went over the wire, what was said in it, and its keys.
type talk struct {
	pieces []piece
	said   [2][]byte
	keys   bytes.Buffer
}

// recorded is a connection that writes down what is sent.
type recorded struct {
	net.Conn
	t  *talk
	mu *sync.Mutex
	d  proto.Direction
}

func (r recorded) Write(b []byte) (int, error) {
	r.mu.Lock()
	r.t.pieces = append(r.t.pieces, piece{r.d, bytes.Clone(b)})
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// certificate makes one for the server.
func certificate(t testing.TB, withRSA bool) stdtls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "a.example"}, DNSNames: []string{"a.example"},
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(4e9, 0),
	}
	var der []byte
	var err error
	if withRSA {
		key, e := rsa.GenerateKey(rand.Reader, 2048)
		if e != nil {
			t.Fatal(e)
		}
		der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	key, e := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if e != nil {
		t.Fatal(e)
	}
	der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// converse has a client and a server say things to each other in turn, the client first.
func converse(t testing.TB, version, suite uint16, turns ...[]byte) *talk {
	t.Helper()
	c := &talk{}
	withRSA := suite == stdtls.TLS_RSA_WITH_AES_128_CBC_SHA || suite == stdtls.TLS_RSA_WITH_AES_256_GCM_SHA384
	var suites []uint16
	if suite != 0 {
		suites = []uint16{suite}
	}
	server := &stdtls.Config{Certificates: []stdtls.Certificate{certificate(t, withRSA)}, MinVersion: version, MaxVersion: version, NextProtos: []string{"h2", "x"}, CipherSuites: suites}
	client := &stdtls.Config{ServerName: "a.example", InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, NextProtos: []string{"x"}, KeyLogWriter: &c.keys, CipherSuites: suites}
	near, far := net.Pipe()
	var mu sync.Mutex
	a := stdtls.Client(recorded{near, c, &mu, proto.Originator}, client)
	b := stdtls.Server(recorded{far, c, &mu, proto.Responder}, server)
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			if err := b.Handshake(); err != nil {
				return err
			}
			for i, turn := range turns {
				if i%2 == 1 {
					if _, err := b.Write(turn); err != nil {
						return err
					}
					continue
				}
				if _, err := io.ReadFull(b, make([]byte, len(turn))); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	if err := a.Handshake(); err != nil {
		t.Fatal(err)
	}
	for i, turn := range turns {
		c.said[i%2] = append(c.said[i%2], turn...)
		if i%2 == 0 {
			if _, err := a.Write(turn); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := io.ReadFull(a, make([]byte, len(turn))); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	near.Close()
	far.Close()
	return c
}

// store returns the keys of the conversation.
func (c *talk) store() *keylog.Store {
	s := keylog.NewStore(keylog.Options{})
	s.Add(c.keys.Bytes())
	return s
}

// inner takes the plaintext, and compares it with what was said.
type inner struct {
	t      testing.TB
	said   *[2][]byte
	at     [2]int64
	read   [2]int64
	lost   [2]int64
	vague  [2]bool
	closed [2]bool
	times  [2][]int64
	peers  [2][]int64
	hint   string
	end    proto.Action
	// unchecked: nothing is compared.
	unchecked bool
}

func (in *inner) Data(d proto.Direction, b []byte, at clock.Mark) proto.Verdict {
	if at.Offset != in.at[d] {
		in.t.Errorf("%s: offset %d, want %d", d, at.Offset, in.at[d])
	}
	if in.unchecked {
		in.at[d] += int64(len(b))
		in.read[d] += int64(len(b))
		return proto.Verdict{}
	}
	in.times[d], in.peers[d] = append(in.times[d], at.Time), append(in.peers[d], at.Peer)
	if !in.vague[d] {
		if end := in.at[d] + int64(len(b)); end > int64(len(in.said[d])) || !bytes.Equal(b, in.said[d][in.at[d]:end]) {
			in.t.Errorf("%s: the %d bytes at %d aren't what was said", d, len(b), in.at[d])
		}
	} else if !bytes.Contains(in.said[d], b) {
		in.t.Errorf("%s: %d bytes that nobody said", d, len(b))
	}
	in.at[d] += int64(len(b))
	in.read[d] += int64(len(b))
	return proto.Verdict{Action: in.end}
}

func (in *inner) Gap(d proto.Direction, n int64, _ clock.Mark) {
	if n == proto.Unknown {
		in.vague[d] = true
		return
	}
	in.at[d] += n
	in.lost[d] += n
}

func (in *inner) Close(d proto.Direction, _ clock.Mark, _ proto.CloseReason) {
	if in.closed[d] {
		in.t.Errorf("%s closed twice", d)
	}
	in.closed[d] = true
}

// sink takes the facts.
type sink struct {
	proto.Sink
	facts   *proto.TLS
	lingers []bool
	// observed is what a transport would have observed.
	observed proto.Facts
}

func (s *sink) Session(f *proto.TLS)             { s.facts = f }
func (s *sink) Proxied(*proto.Proxied)           {}
func (s *sink) Facts() *proto.Facts              { return &s.observed }
func (s *sink) Rewind(*proto.Facts)              {}
func (s *sink) Linger(waiting bool)              { s.lingers = append(s.lingers, waiting) }
func (s *sink) Lost(proto.Direction, clock.Mark) {}

// play gives a conversation to a parser. cut says how many of the next n bytes of a piece make a segment, and how many of them
// are lost.
type played struct {
	*inner
	*sink
	engine *tls.Engine
	parser proto.Parser
	held   int
}

func newPlayed(t testing.TB, c *talk, keys *keylog.Store, l tls.Limits) *played {
	p := &played{inner: &inner{t: t, said: &c.said}, sink: &sink{}}
	var k tls.Keys
	if keys != nil {
		k = keys
	}
	p.engine = tls.NewEngine(k, l, nil)
	if keys != nil {
		p.publish(keys)
	} else {
		p.engine.Publish(tls.State{None: true})
	}
	protocol := p.engine.Protocol()
	p.parser = protocol.New(&proto.Context{Sink: p.sink, Held: &p.held, Limits: &proto.Limits{}, Nest: func(n proto.Nested) proto.Parser {
		p.hint = n.Hint
		return p.inner
	}})
	return p
}

// publish tells the engine of the keys.
func (p *played) publish(keys *keylog.Store) {
	p.engine.Publish(tls.State{Generation: keys.Publish(), MayGrow: keys.MayGrow(), None: keys.Empty()})
}

// segment returns the bytes of a segment, which the parser may not keep.
func (p *played) segment(b []byte) []byte {
	if p.unchecked {
		return b
	}
	return bytes.Clone(b)
}

// play plays pieces in segments of the sizes that next gives; lost says whether one isn't captured.
func (p *played) play(pieces []piece, next func(n int) (size int, lost bool)) {
	at := clock.Mark{}
	var sent [2]int64
	stopped := false
	for _, piece := range pieces {
		for b := piece.data; len(b) > 0; {
			n, lost := next(len(b))
			at.Packet++
			at.Time += 1000
			at.Offset, at.Peer = sent[piece.d], sent[piece.d.Other()]
			switch {
			case stopped:
			case lost:
				p.parser.Gap(piece.d, int64(n), at)
			default:
				stopped = p.parser.Data(piece.d, p.segment(b[:n]), at).Action == proto.Stop
			}
			sent[piece.d] += int64(n)
			b = b[n:]
		}
	}
	at.Packet++
	p.parser.Close(proto.Originator, at, proto.Finished)
	p.parser.Close(proto.Responder, at, proto.Finished)
}
