package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/culprit-http/culprit/internal/synth"
)

// The captures of one long answer, by name.
const (
	bulkPlain = "bulk"
	bulkTLS13 = "bulk-tls13"
	bulkTLS12 = "bulk-tls12"
)

// carriers say how a long answer is carried. Go's server of TLS 1.3 always takes AES-128 with a client that offers it, so that
// AES-256 is measured with TLS 1.2.
var carriers = []struct {
	name, about string
	carry       func(keys io.Writer) (carrier, error)
}{
	{bulkPlain, "one long answer", func(io.Writer) (carrier, error) { return plain{}, nil }},
	{bulkTLS13, "one long answer, TLS 1.3 with AES-128-GCM", func(keys io.Writer) (carrier, error) {
		return handshake(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, keys)
	}},
	{bulkTLS12, "one long answer, TLS 1.2 with AES-256-GCM", func(keys io.Writer) (carrier, error) {
		return handshake(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, keys)
	}},
}

// bulk returns the captures of one long answer.
func bulk(o options) (all []*benchCapture) {
	for _, c := range carriers {
		get := func(size int64) (f file, err error) {
			path := filepath.Join(o.cache, fmt.Sprintf("%s-%d.pcap", c.name, size))
			f, err = cached(path, func(out *os.File) (truth, error) {
				keys, err := os.Create(path + ".keys")
				if err != nil {
					return truth{}, err
				}
				defer keys.Close()
				carry, err := c.carry(keys)
				if err != nil {
					return truth{}, err
				}
				return truth{1, 1}, longAnswer(out, size, carry)
			})
			f.keys, f.body = path+".keys", size
			return f, err
		}
		all = append(all, &benchCapture{name: c.name, about: c.about, inside: c.name != bulkPlain, make: func() (full, part file, err error) {
			if full, err = get(o.size); err == nil {
				part, err = get(o.size / partOf)
			}
			return full, part, err
		}})
	}
	return all
}

// flight is what one side sends at once.
type flight struct {
	side synth.Side
	data []byte
}

// carrier makes of what is said what goes over the wire.
type carrier interface {
	// begin returns what comes before all else.
	begin() []flight
	say(side synth.Side, b []byte) ([]flight, error)
}

// longAnswer makes a capture of one request and its response, whose body has n bytes.
func longAnswer(w io.Writer, n int64, carry carrier) (err error) {
	const most = 1 << 20 // said at once
	body := bytes.Repeat([]byte("What is measured here is how fast a long answer is read. \n"), most/58+1)[:most]
	sim := synth.New(w, synth.Options{})
	c := sim.Dial(0, netip.MustParseAddrPort("10.93.0.2:40000"), netip.MustParseAddrPort("10.93.0.1:443"),
		synth.Path{Client: 15 * time.Microsecond, Server: 10 * time.Microsecond, Rate: 1_250_000_000})
	send := func(flights []flight) {
		for _, f := range flights {
			c.Send(f.side, f.data)
			c.Recv(1-f.side, len(f.data))
		}
	}
	say := func(side synth.Side, b []byte) {
		var flights []flight
		if err == nil {
			flights, err = carry.say(side, b)
		}
		send(flights)
	}
	send(carry.begin())
	say(synth.Client, []byte("GET /long HTTP/1.1\r\nHost: files.example\r\nUser-Agent: bench\r\n\r\n"))
	say(synth.Server, fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", n))
	closing := false
	c.Next = func(c *synth.Conn) {
		switch {
		case n > 0 && err == nil:
			chunk := body[:min(n, most)]
			n -= int64(len(chunk))
			say(synth.Server, chunk)
		case !closing:
			closing = true
			c.Close(synth.Client)
			c.RecvEnd(synth.Server)
			c.Close(synth.Server)
		}
	}
	if e := sim.Run(); err == nil {
		err = e
	}
	return err
}

// plain carries what is said as it is.
type plain struct{}

func (plain) begin() []flight { return nil }

func (plain) say(side synth.Side, b []byte) ([]flight, error) { return []flight{{side, b}}, nil }

// session carries what is said in TLS.
type session struct {
	ends [2]*tls.Conn

	mu   sync.Mutex
	sent []flight
}

// wire is an end of the connection below a session, which writes down what is sent.
type wire struct {
	net.Conn
	session *session
	side    synth.Side
}

func (w wire) Write(b []byte) (int, error) {
	w.session.mu.Lock()
	w.session.sent = append(w.session.sent, flight{w.side, bytes.Clone(b)})
	w.session.mu.Unlock()
	return w.Conn.Write(b)
}

// handshake begins a session with a version and a cipher suite, and writes its keys down.
func handshake(version, suite uint16, keys io.Writer) (*session, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"files.example"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	s := &session{}
	suites := []uint16{suite}
	s.ends[synth.Client] = tls.Client(wire{near, s, synth.Client}, &tls.Config{
		ServerName: "files.example", InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, CipherSuites: suites, KeyLogWriter: keys,
	})
	s.ends[synth.Server] = tls.Server(wire{far, s, synth.Server}, &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
		SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true, MinVersion: version, MaxVersion: version, CipherSuites: suites,
	})
	done := make(chan error, 1)
	go func() { done <- s.ends[synth.Server].Handshake() }()
	if err := s.ends[synth.Client].Handshake(); err != nil {
		return nil, err
	}
	if err := <-done; err != nil {
		return nil, err
	}
	if got := s.ends[synth.Client].ConnectionState().CipherSuite; got != suite {
		return nil, fmt.Errorf("the session has %s instead of %s", tls.CipherSuiteName(got), tls.CipherSuiteName(suite))
	}
	return s, nil
}

// flights returns what was sent since it was called last. What one side sent in a row is one flight.
func (s *session) flights() (list []flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.sent {
		if n := len(list); n > 0 && list[n-1].side == f.side {
			list[n-1].data = append(list[n-1].data, f.data...)
		} else {
			list = append(list, f)
		}
	}
	s.sent = nil
	return list
}

func (s *session) begin() []flight { return s.flights() }

func (s *session) say(side synth.Side, b []byte) ([]flight, error) {
	done := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, bufio.NewReader(s.ends[1-side]), int64(len(b)))
		done <- err
	}()
	if _, err := s.ends[side].Write(b); err != nil {
		return nil, err
	}
	return s.flights(), <-done
}
