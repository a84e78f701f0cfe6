package suite

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// selfSigned makes certificates with an RSA and an ECDSA key.
func selfSigned(t *testing.T) []tls.Certificate {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var certs []tls.Certificate
	for _, key := range []crypto.Signer{r, e} {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer"}, DNSNames: []string{"peer"},
			NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	}
	return certs
}

// TestGoPeers reads what Go's TLS sends with each suite that it has.
func TestGoPeers(t *testing.T) {
	certs := selfSigned(t)
	key := certs[0].PrivateKey.(*rsa.PrivateKey)
	tested := 0
	for _, cs := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		for _, version := range cs.SupportedVersions {
			tested++
			t.Run(fmt.Sprintf("%s/%04x", cs.Name, version), func(t *testing.T) {
				s, sent := goSession(t, certs, cs.ID, version)
				if version == tls.VersionTLS13 {
					// Which one can't be chosen; those that both prefer are tested with OpenSSL.
					t.Logf("negotiated %s", s.suite.Name)
				} else if s.suite.ID != cs.ID || s.suite.Name != cs.Name {
					t.Fatalf("negotiated %s", s.suite.Name)
				}
				s.read()
				for side := range s.data {
					if !bytes.Equal(s.data[side].Bytes(), sent) {
						t.Errorf("side %d sent %d bytes, read %d", side, len(sent), s.data[side].Len())
					}
				}
				if s.suite.RSA() {
					s.checkMaster(key)
				}
			})
		}
	}
	if tested < 20 {
		t.Errorf("only %d combinations were tested", tested)
	}
}

// goSession has a client send to an echoing server.
func goSession(t *testing.T, certs []tls.Certificate, id, version uint16) (s *session, sent []byte) {
	t.Helper()
	var log strings.Builder
	var r recording
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			raw, err := ln.Accept()
			if err != nil {
				return err
			}
			c := tls.Server(raw, &tls.Config{Certificates: certs, MinVersion: version, MaxVersion: version, CipherSuites: []uint16{id}})
			defer c.Close()
			all, err := io.ReadAll(c)
			if err != nil {
				return err
			}
			_, err = c.Write(all)
			return err
		}()
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(recorded{raw, &r}, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &log, MinVersion: version, MaxVersion: version, CipherSuites: []uint16{id}})
	defer c.Close()
	for _, part := range [][]byte{[]byte("hello"), bytes.Repeat([]byte("0123456789"), 5000), {0, 0, 0}} {
		if _, err := c.Write(part); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, part...)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return newSession(t, &r, keyLog(t, log.String())), sent
}

// checkMaster derives the master secret as somebody with the server's RSA key does, and compares it with the key log's.
func (s *session) checkMaster(key *rsa.PrivateKey) {
	s.t.Helper()
	transcript := s.suite.Transcript(s.version)
	var exchange []byte
	read := func(side int, until byte) {
		for len(s.recs[side]) > 0 && s.recs[side][0].typ == typeHandshake {
			b := s.recs[side][0].fragment
			s.recs[side] = s.recs[side][1:]
			transcript.Write(b)
			if b[0] == 16 {
				exchange = b[4:]
			}
			if b[0] == until {
				return
			}
		}
	}
	read(0, 1)  // ClientHello
	read(1, 14) // to ServerHelloDone
	read(0, 16) // ClientKeyExchange
	if len(exchange) < 2 || int(binary.BigEndian.Uint16(exchange)) != len(exchange)-2 {
		s.t.Fatalf("no ClientKeyExchange in a record of its own: %d bytes", len(exchange))
	}
	//lint:ignore SA1019 it is what the key exchange uses (RFC 5246 §7.4.7.1)
	premaster, err := rsa.DecryptPKCS1v15(nil, key, exchange[2:])
	if err != nil {
		s.t.Fatal(err)
	}
	var master []byte
	if s.extended {
		master = s.suite.ExtendedMaster(s.version, premaster, transcript.Sum(nil))
	} else {
		master = s.suite.Master(s.version, premaster, s.randoms[0], s.randoms[1])
	}
	if !bytes.Equal(master, s.keys["CLIENT_RANDOM"]) {
		s.t.Errorf("master secret %x, key log %x (extended: %t)", master, s.keys["CLIENT_RANDOM"], s.extended)
	}
}
