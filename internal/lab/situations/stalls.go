//go:build linux

package situations

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// stalled is how long a delayed acknowledgement takes at least: Linux waits 40 ms (TCP_DELACK_MIN).
const stalled = 35 * time.Millisecond

// delayedAck: a message in two small segments, with Nagle's algorithm on. The second one waits for the acknowledgement of the first, which
// the other side delays once a connection has seen some requests and answers.
func delayedAck(s *site, n int) error {
	const perConnection = 10
	return s.each((n+perConnection-1)/perConnection, 8, func(k int) error {
		c, err := s.dial(appAddress, dialing{nagle: k%2 == 0})
		if err != nil {
			return err
		}
		defer c.Close()
		for i := k * perConnection; i < (k+1)*perConnection; i++ {
			p, q := path("split-answer", i), asking{target: path("split-answer", i) + "?body=400&split"}
			if k%2 == 0 {
				p = path("split-request", i)
				q = asking{method: "POST", target: p, body: 200, split: true}
			}
			a, err := c.do(q)
			if err != nil {
				return err
			}
			kind, held := "not-stalled", max(a.received, s.app.took(p))
			if held >= stalled {
				kind = "stalled"
			}
			s.know(p, kind, "the second half came %v after the first; %v", held, a.took)
			time.Sleep(between(i, 5*time.Millisecond, 30*time.Millisecond))
		}
		return nil
	})
}

// pipelining: two requests at once, of which the app answers the first slowly.
func pipelining(s *site, n int) error {
	return s.each(n/2, 8, func(i int) error {
		c, err := s.dial(appAddress, dialing{})
		if err != nil {
			return err
		}
		defer c.Close()
		wait := between(i, 200*time.Millisecond, 400*time.Millisecond)
		first, second := path("pipeline-first", i), path("pipelined", i)
		if _, err := fmt.Fprintf(c, "GET %s?wait=%v&body=500 HTTP/1.1\r\nHost: lab\r\n\r\nGET %s?body=500 HTTP/1.1\r\nHost: lab\r\n\r\n", first, wait, second); err != nil {
			return err
		}
		for range 2 {
			if _, err := c.hear(asking{}); err != nil {
				return err
			}
		}
		s.know(first, "pipeline-first", "the app slept for %v", wait)
		s.know(second, "pipelined", "behind one for which the app slept for %v", wait)
		return nil
	})
}

// slowTLS: the server, or the client, takes its time in the handshake.
func slowTLS(s *site, n int) error {
	if err := s.serveTLS(); err != nil {
		return err
	}
	return s.each(n, 4, func(i int) error {
		kind, serverWait, clientWait := "slow-tls-server", between(i, 150*time.Millisecond, 350*time.Millisecond), time.Duration(0)
		if i%2 == 1 {
			kind, serverWait, clientWait = "slow-tls-client", 0, serverWait
		}
		_, err := s.overTLS(asking{target: path(kind, i) + "?body=500"}, serverWait, clientWait)
		s.know(path(kind, i), kind, "the server slept for %v, the client for %v", serverWait, clientWait)
		return err
	})
}

// tlsAddress is where the app speaks TLS.
const tlsAddress = serverHost + ":443"

// serveTLS has the app speak TLS.
func (s *site) serveTLS() error {
	certificate, err := certificate()
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, KeyLogWriter: &s.keys}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		time.Sleep(s.waits.of(PortKey(hello.Conn.RemoteAddr().(*net.TCPAddr).Port)))
		return nil, nil
	}
	return s.app.listen(tlsAddress, func(c *appConn) {
		t := tls.Server(c.Conn, config)
		defer t.Close()
		s.app.answers(&appConn{Conn: t, tcp: c.tcp, r: bufio.NewReader(t)})
	})
}

// overTLS makes a connection for one request. The server and the client take so long in the handshake.
func (s *site) overTLS(q asking, serverWait, clientWait time.Duration) (a answered, err error) {
	c, err := s.dial(tlsAddress, dialing{})
	if err != nil {
		return a, err
	}
	defer c.Close()
	s.waits.set(PortKey(int(c.port)), serverWait)
	t := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &s.keys, VerifyConnection: func(tls.ConnectionState) error {
		time.Sleep(clientWait)
		return nil
	}})
	defer t.Close()
	return (&clientConn{Conn: t, r: bufio.NewReader(t), port: c.port}).do(q)
}

// certificate makes one for nobody.
func certificate() (c tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"lab"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// waits are how long somebody is to wait for what has a name.
type waits struct{ byName sync.Map }

func (w *waits) set(name string, wait time.Duration) { w.byName.Store(name, wait) }

// of returns the time of a name, 0 where none was set.
func (w *waits) of(name string) time.Duration {
	v, _ := w.byName.Load(name)
	wait, _ := v.(time.Duration)
	return wait
}

// slowDNS: the resolver, in the middle, takes its time; then the client connects to what it said.
func slowDNS(s *site, n int) error {
	return s.behindDNS(n, func(i int) (kind string, dns time.Duration, query string) {
		return "slow-dns", between(i, 150*time.Millisecond, 350*time.Millisecond), "?body=500"
	})
}

// behindDNS makes exchanges each after a look-up of a name of its own.
func (s *site) behindDNS(n int, plan func(i int) (kind string, dns time.Duration, query string)) error {
	resolver := netip.AddrPortFrom(netip.MustParseAddr(middleFront), 53)
	if err := s.resolve(resolver); err != nil {
		return err
	}
	return s.each(n, 4, func(i int) error {
		kind, wait, query := plan(i)
		name := fmt.Sprintf("%s-%d.lab.test", kind, i)
		s.waits.set(name, wait)
		address, err := s.lookUp(resolver, name)
		if err != nil {
			return err
		}
		_, err = s.once(netip.AddrPortFrom(address, 80).String(), dialing{}, asking{target: path(kind, i) + query, host: name})
		s.know(path(kind, i), kind, "the resolver slept for %v; %s", wait, query)
		return err
	})
}

// resolve answers every question with the server's address, after the time that its name is to wait.
func (s *site) resolve(at netip.AddrPort) error {
	var p *net.UDPConn
	if err := s.middle.Do(func() (err error) { p, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); return err }); err != nil {
		return err
	}
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := p.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			wait := s.waits.of(strings.TrimSuffix(m.Questions[0].Name.String(), "."))
			m.Response, m.RecursionAvailable = true, true
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(serverHost).As4()},
			}}
			answer, err := m.Pack()
			if err != nil {
				continue
			}
			time.AfterFunc(wait, func() { _, _ = p.WriteToUDPAddrPort(answer, from) })
		}
	}()
	return nil
}

// lookUp asks the resolver for an address.
func (s *site) lookUp(resolver netip.AddrPort, name string) (address netip.Addr, err error) {
	question, err := (&dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(len(name)), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}).Pack()
	if err != nil {
		return address, err
	}
	c, err := s.client.Dial("udp", resolver.String())
	if err != nil {
		return address, err
	}
	defer c.Close()
	if _, err := c.Write(question); err != nil {
		return address, err
	}
	b := make([]byte, 512)
	n, err := c.Read(b)
	if err != nil {
		return address, err
	}
	var m dnsmessage.Message
	if err := m.Unpack(b[:n]); err != nil {
		return address, err
	}
	if len(m.Answers) == 1 {
		if a, ok := m.Answers[0].Body.(*dnsmessage.AResource); ok {
			return netip.AddrFrom4(a.A), nil
		}
	}
	return address, errors.New("the resolver gave no address")
}
