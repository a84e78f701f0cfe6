package tls_test

import (
	"bytes"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/proto"
	"github.com/culprit-http/culprit/internal/tls"
	"github.com/culprit-http/culprit/internal/tls/keylog"
)

// records cuts what was sent at the borders of records.
func (c *talk) records() (list []piece) {
	for _, p := range c.pieces {
		for b := p.data; len(b) > 0; {
			n := 5 + int(binary.BigEndian.Uint16(b[3:]))
			list = append(list, piece{p.d, b[:n]})
			b = b[n:]
		}
	}
	return list
}

// fill is a record of data that no key opens.
func fill(n int) []byte {
	return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, text(n, 9)...)
}

// connected returns both ends of a connection with room for what isn't read yet.
func connected(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// negotiate has a client and a server with settings of their own shake hands; then the client says 100 bytes, and the server
// 5000. It returns what the client's handshake ended with.
func negotiate(t *testing.T, client, server *stdtls.Config) (*talk, error) {
	t.Helper()
	c := &talk{}
	client.KeyLogWriter, client.ServerName, client.InsecureSkipVerify, client.MinVersion = &c.keys, "a.example", true, stdtls.VersionTLS13
	server.Certificates = []stdtls.Certificate{certificate(t, false)}
	near, far := connected(t) // both sides speak at once, which a pipe doesn't let them
	var mu sync.Mutex
	a := stdtls.Client(recorded{near, c, &mu, proto.Originator}, client)
	b := stdtls.Server(recorded{far, c, &mu, proto.Responder}, server)
	says := [2][]byte{text(100, 1), text(5000, 2)}
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(b, make([]byte, len(says[0])))
		if err == nil {
			_, err = b.Write(says[1])
		}
		done <- err
	}()
	err := a.Handshake()
	if err == nil {
		c.said = says
		if _, err := a.Write(says[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(a, make([]byte, len(says[1]))); err != nil {
			t.Fatal(err)
		}
	}
	if err2 := <-done; err == nil && err2 != nil {
		t.Fatal(err2)
	}
	near.Close()
	far.Close()
	return c, err
}

// retried is a conversation in which the server asks for another key share.
func retried(t *testing.T) *talk {
	t.Helper()
	c, err := negotiate(t, &stdtls.Config{CurvePreferences: []stdtls.CurveID{stdtls.X25519, stdtls.CurveP384}}, &stdtls.Config{CurvePreferences: []stdtls.CurveID{stdtls.CurveP384}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantAll checks that all that was said was read.
func (p *played) wantAll(t *testing.T) {
	t.Helper()
	for d, said := range p.said {
		if p.read[d] != int64(len(said)) {
			t.Errorf("%s: read %d of %d bytes: %q", proto.Direction(d), p.read[d], len(said), p.facts.Reason)
		}
	}
	if p.held != 0 {
		t.Errorf("%d bytes are still held", p.held)
	}
}

// Data before the change of keys is nobody's: it is passed over, and what comes behind it is read.
func TestDataBeforeChangeOfKeys(t *testing.T) {
	c := converse(t, stdtls.VersionTLS12, stdtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, text(100, 1), text(100, 2))
	for _, from := range []proto.Direction{proto.Originator, proto.Responder} {
		var pieces []piece
		put := false
		for _, r := range c.records() {
			pieces = append(pieces, r)
			if !put && r.d == proto.Responder {
				put = true
				pieces = append(pieces, piece{from, fill(40)})
			}
		}
		p := newPlayed(t, c, c.store(), tls.DefaultLimits())
		p.play(pieces, whole)
		p.wantAll(t)
		if p.facts.LostRecords != 1 {
			t.Errorf("%d records lost, want 1", p.facts.LostRecords)
		}
	}
}

func TestHelloRetry(t *testing.T) {
	c := retried(t)
	p := newPlayed(t, c, c.store(), tls.DefaultLimits())
	p.play(c.pieces, whole)
	p.wantAll(t)
	if !p.facts.Retry {
		t.Error("no HelloRetryRequest")
	}
}

// offering returns the record of a ClientHello that offers early data as well.
func offering(record []byte) []byte {
	b := bytes.Clone(record)
	at := 5 + 4 + 2 + 32
	at += 1 + int(b[at])                           // session id
	at += 2 + int(binary.BigEndian.Uint16(b[at:])) // cipher suites
	at += 1 + int(b[at])                           // compression
	for _, at := range []int{at, 3, 7} {           // the lengths of extensions, record, and message, whose first byte is 0
		binary.BigEndian.PutUint16(b[at:], binary.BigEndian.Uint16(b[at:])+4)
	}
	return append(b, 0, 42, 0, 0)
}

// What a client sends as early data that the server refuses is passed over, wherever it is among what else is sent.
func TestEarlyDataRefused(t *testing.T) {
	plain, err := negotiate(t, &stdtls.Config{}, &stdtls.Config{})
	if err != nil {
		t.Fatal(err)
	}
	again := retried(t)
	for _, o := range []struct {
		name string
		talk *talk
		// at is the record before which the early data comes.
		at func(list []piece, i int) bool
		// unchanged: the server sends no change of keys, which means nothing.
		unchanged bool
	}{
		{"before the server's flight", plain, func(_ []piece, i int) bool { return i == 1 }, false},
		{"behind the server's flight", plain, func(list []piece, i int) bool { return list[i].d == proto.Originator && list[i-1].d == proto.Responder }, false},
		{"behind a HelloRetryRequest", again, func(list []piece, i int) bool { return list[i].d == proto.Originator && list[i-1].d == proto.Responder }, false},
		{"behind a HelloRetryRequest alone", again, func(list []piece, i int) bool { return list[i].d == proto.Originator && list[i-1].d == proto.Responder }, true},
	} {
		var pieces []piece
		put := false
		list := o.talk.records()
		for i, r := range list {
			switch {
			case i == 0:
				r.data = offering(r.data)
			case !put && o.at(list, i):
				put = true
				pieces = append(pieces, piece{proto.Originator, fill(500)}, piece{proto.Originator, fill(50)})
			}
			if o.unchanged && r.d == proto.Responder && r.data[0] == 20 {
				continue
			}
			pieces = append(pieces, r)
		}
		t.Run(o.name, func(t *testing.T) {
			p := newPlayed(t, o.talk, o.talk.store(), tls.DefaultLimits())
			p.play(pieces, whole)
			p.wantAll(t)
			if p.facts.EarlyData != "rejected" || p.lost != [2]int64{} || p.vague != [2]bool{} {
				t.Errorf("early data %q, lost %v %v", p.facts.EarlyData, p.lost, p.vague)
			}
		})
	}
}

// Bytes of a Finished are lost: what is protected by the keys behind it is read all the same.
func TestLostFinished(t *testing.T) {
	c := converse(t, stdtls.VersionTLS13, 0, text(100, 1), text(5000, 2), text(100, 3), text(5000, 4))
	list := c.records()
	for d := range proto.Direction(2) {
		finished := -1
		for i := 1; i < len(list) && finished < 0; i++ {
			switch {
			case d == proto.Responder && list[i].d == proto.Originator && list[i-1].d == d: // its last record before the client speaks again
				finished = i - 1
			case d == proto.Originator && list[i].d == d && list[i].data[0] == 23:
				finished = i
			}
		}
		p := newPlayed(t, c, c.store(), tls.DefaultLimits())
		var at clock.Mark
		var sent [2]int64
		for i, r := range list {
			for b := r.data; len(b) > 0; {
				n := len(b)
				if i == finished {
					n = min(n, 10)
				}
				at.Time += 1000
				at.Packet++
				at.Offset, at.Peer = sent[r.d], sent[r.d.Other()]
				if i == finished && len(b) == len(r.data)-10 {
					p.parser.Gap(r.d, int64(n), at)
				} else {
					p.parser.Data(r.d, bytes.Clone(b[:n]), at)
				}
				sent[r.d] += int64(n)
				b = b[n:]
			}
		}
		p.parser.Close(proto.Originator, at, proto.Finished)
		p.parser.Close(proto.Responder, at, proto.Finished)
		p.wantAll(t)
		if !p.facts.Established {
			t.Errorf("without the Finished of the %s the session isn't established", d)
		}
	}
}

// A key log without the secrets of the handshake is enough to read what is said after it.
func TestOnlyTrafficSecrets(t *testing.T) {
	c := converse(t, stdtls.VersionTLS13, 0, text(100, 1), text(5000, 2))
	for _, grows := range []bool{false, true} {
		keys := keylog.NewStore(keylog.Options{})
		keys.SetMayGrow(grows)
		for line := range bytes.Lines(c.keys.Bytes()) {
			if bytes.Contains(line, []byte("_TRAFFIC_SECRET_0 ")) {
				keys.Add(line)
			}
		}
		p := newPlayed(t, c, keys, tls.DefaultLimits())
		p.play(c.pieces, whole)
		if grows && p.read != [2]int64{} {
			t.Errorf("read %v while the secrets of the handshake may still come", p.read)
		}
		p.engine.Flush()
		p.wantAll(t)
		if !p.facts.Established {
			t.Error("the session isn't established")
		}
	}
}

// A client that refuses the server's certificate says so in an alert that can't be read without keys: the handshake has failed
// all the same.
func TestRefusedWithoutKeys(t *testing.T) {
	client := &stdtls.Config{VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { return errors.New("not this one") }}
	c, err := negotiate(t, client, &stdtls.Config{})
	if err == nil {
		t.Fatal("the handshake was completed")
	}
	p := newPlayed(t, c, nil, tls.DefaultLimits())
	p.play(c.pieces, whole)
	if f := p.facts; f.Established || !strings.Contains(f.Failure, "the client sent an alert") {
		t.Errorf("established %v, failure %q", f.Established, f.Failure)
	}
	p = newPlayed(t, c, c.store(), tls.DefaultLimits())
	p.play(c.pieces, whole)
	if f := p.facts; f.Established || !strings.Contains(f.Failure, "the client says bad_certificate") {
		t.Errorf("with keys: established %v, failure %q", f.Established, f.Failure)
	}
}

// A client without a certificate answers a server that asks for one with an empty list, whose record is hardly larger than an alert.
func TestNoClientCertificate(t *testing.T) {
	c, err := negotiate(t, &stdtls.Config{}, &stdtls.Config{ClientAuth: stdtls.RequestClientCert})
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayed(t, c, nil, tls.DefaultLimits())
	p.play(c.pieces, whole)
	if f := p.facts; !f.Established || f.Failure != "" {
		t.Errorf("established %v, failure %q", f.Established, f.Failure)
	}
}

// The gap and the end of a connection in the midst of a ClientHello don't make an established session.
func TestCutHello(t *testing.T) {
	c := converse(t, stdtls.VersionTLS13, 0, text(100, 1))
	p := newPlayed(t, c, nil, tls.DefaultLimits())
	p.parser.Data(proto.Originator, c.pieces[0].data[:100], clock.Mark{})
	p.parser.Gap(proto.Originator, 10, clock.Mark{Offset: 100})
	p.parser.Close(proto.Originator, clock.Mark{}, proto.Reset)
	p.parser.Close(proto.Responder, clock.Mark{}, proto.Reset)
	if f := p.facts; f == nil || f.Established || f.Version != 0 {
		t.Errorf("%+v", f)
	}
}

// What is inside begins when one side has already ended: it is told so, and nothing stays behind.
func TestInnerAfterAnEnd(t *testing.T) {
	c := converse(t, stdtls.VersionTLS13, 0, nil, text(5000, 2))
	p := newPlayed(t, c, c.store(), tls.DefaultLimits())
	var at clock.Mark
	list := c.records()
	last := 0
	for i, r := range list {
		if r.d == proto.Originator {
			last = i
		}
	}
	var sent [2]int64
	for i, r := range list {
		if i == last+1 {
			if p.hint != "" {
				t.Fatal("what is inside has begun")
			}
			p.parser.Close(proto.Originator, at, proto.Finished)
		}
		at.Time += 1000
		at.Offset, at.Peer = sent[r.d], sent[r.d.Other()]
		p.parser.Data(r.d, bytes.Clone(r.data), at)
		sent[r.d] += int64(len(r.data))
	}
	if !p.closed[proto.Originator] || p.closed[proto.Responder] {
		t.Errorf("closed: %v", p.closed)
	}
	p.parser.Close(proto.Responder, at, proto.Finished)
	if !p.closed[proto.Responder] {
		t.Error("the server's side isn't closed")
	}
	p.wantAll(t)
}
