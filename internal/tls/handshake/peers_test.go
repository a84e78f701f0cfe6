package handshake

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// tapped is a connection that keeps what was written to it.
type tapped struct {
	net.Conn
	sent bytes.Buffer
}

func (c *tapped) Write(b []byte) (int, error) {
	c.sent.Write(b)
	return c.Conn.Write(b)
}

// selfSigned returns a certificate with its key.
func selfSigned(t *testing.T, key any, public any) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4711),
		Subject:      pkix.Name{CommonName: "peer.example", Organization: []string{"Peers"}},
		NotBefore:    time.Unix(1700000000, 0),
		NotAfter:     time.Unix(2000000000, 0),
		DNSNames:     []string{"peer.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func ecCertificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return selfSigned(t, key, &key.PublicKey)
}

func rsaCertificate(t *testing.T) (tls.Certificate, *rsa.PrivateKey) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return selfSigned(t, key, &key.PublicKey), key
}

// shake lets two peers shake hands and returns what each sent in the clear, and the state of the client.
func shake(t *testing.T, client, server *tls.Config) (fromClient, fromServer []message, state tls.ConnectionState) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a pipe without buffer blocks when both sides write
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c, s := &tapped{Conn: a}, &tapped{Conn: b}
	served := make(chan error, 1)
	go func() {
		conn := tls.Server(s, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte("x")) // behind the tickets
		}
		served <- err
	}()
	conn := tls.Client(c, client)
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal("client: ", err)
	}
	if err := <-served; err != nil {
		t.Fatal("server: ", err)
	}
	return plain(c.sent.Bytes()), plain(s.sent.Bytes()), conn.ConnectionState()
}

// TestGoPeers compares hellos with what the peers themselves say.
func TestGoPeers(t *testing.T) {
	ec := ecCertificate(t)
	rsaCert, rsaKey := rsaCertificate(t)
	cbc := []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	for _, c := range []struct {
		name           string
		version        uint16
		client, server *tls.Config
		certificate    tls.Certificate
	}{
		{"1.3", tls.VersionTLS13, &tls.Config{ServerName: "peer.example", NextProtos: []string{"h2", "http/1.1"}}, &tls.Config{NextProtos: []string{"h2"}}, ec},
		{"1.3 without a name", tls.VersionTLS13, &tls.Config{}, &tls.Config{}, rsaCert},
		{"1.3 retry", tls.VersionTLS13, &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}}, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}}, ec},
		{"1.2", tls.VersionTLS12, &tls.Config{ServerName: "peer.example", NextProtos: []string{"h2", "http/1.1"}}, &tls.Config{NextProtos: []string{"http/1.1"}, MaxVersion: tls.VersionTLS12}, ec},
		{"1.2 P-521", tls.VersionTLS12, &tls.Config{MaxVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.CurveP521}}, &tls.Config{}, rsaCert},
		{"1.1", tls.VersionTLS11, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, &tls.Config{MinVersion: tls.VersionTLS10}, ec},
		{"1.2 RSA", tls.VersionTLS12, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: cbc}, &tls.Config{CipherSuites: cbc}, rsaCert},
		{"1.0 RSA", tls.VersionTLS10, &tls.Config{MaxVersion: tls.VersionTLS10, MinVersion: tls.VersionTLS10, CipherSuites: cbc}, &tls.Config{MinVersion: tls.VersionTLS10, CipherSuites: cbc}, rsaCert},
	} {
		t.Run(c.name, func(t *testing.T) {
			var seen *tls.ClientHelloInfo
			c.client.InsecureSkipVerify = true
			c.server.Certificates = []tls.Certificate{c.certificate}
			c.server.GetConfigForClient = func(i *tls.ClientHelloInfo) (*tls.Config, error) {
				seen = i
				return nil, nil
			}
			fromClient, fromServer, state := shake(t, c.client, c.server)

			h, err := ParseClientHello(first(t, fromClient, TypeClientHello))
			if err != nil {
				t.Fatal(err)
			}
			if h.ServerName != seen.ServerName || !slices.Equal(h.ALPN, seen.SupportedProtos) || !slices.Equal(h.Suites, seen.CipherSuites) {
				t.Errorf("got name %q, ALPN %q, suites %x\nthe server saw %q, %q, %x", h.ServerName, h.ALPN, h.Suites, seen.ServerName, seen.SupportedProtos, seen.CipherSuites)
			}
			if h.Highest() != slices.Max(seen.SupportedVersions) || !bytes.Equal(h.PointFormats, seen.SupportedPoints) || !slices.Equal(h.Extensions, seen.Extensions) {
				t.Errorf("got version %x, points %x, extensions %x\nthe server saw %x, %x, %x", h.Highest(), h.PointFormats, h.Extensions, seen.SupportedVersions, seen.SupportedPoints, seen.Extensions)
			}
			for i, g := range seen.SupportedCurves {
				if h.Groups[i] != uint16(g) {
					t.Errorf("group %d: got %x, want %x", i, h.Groups[i], g)
				}
			}
			for i, s := range seen.SignatureSchemes {
				if c.version >= tls.VersionTLS12 && h.SignatureSchemes[i] != uint16(s) {
					t.Errorf("scheme %d: got %x, want %x", i, h.SignatureSchemes[i], s)
				}
			}
			if len(h.Malformed) > 0 {
				t.Errorf("extensions %d are said to be malformed", h.Malformed)
			}

			var answers []*ServerHello
			for _, m := range fromServer {
				if m.kind == TypeServerHello {
					s, err := ParseServerHello(m.body)
					if err != nil {
						t.Fatal(err)
					}
					answers = append(answers, s)
				}
			}
			retry := strings.HasSuffix(c.name, "retry")
			if answers[0].HelloRetry != retry {
				t.Errorf("HelloRetry is %t", answers[0].HelloRetry)
			}
			if retry {
				if answers[0].Group != uint16(tls.CurveP384) {
					t.Errorf("the retry demands group %d", answers[0].Group)
				}
				return // the second answer comes after a ChangeCipherSpec
			}
			s := answers[len(answers)-1]
			if s.Version != state.Version || s.Suite != state.CipherSuite || len(s.Malformed) > 0 {
				t.Errorf("got version %x, suite %x, malformed %d; the client has %x, %x", s.Version, s.Suite, s.Malformed, state.Version, state.CipherSuite)
			}
			if c.version == tls.VersionTLS13 {
				if s.Group != uint16(state.CurveID) || !slices.Contains(h.KeyShares, s.Group) {
					t.Errorf("got group %d among %d, the client has %d", s.Group, h.KeyShares, state.CurveID)
				}
				return
			}
			if s.ALPN != state.NegotiatedProtocol {
				t.Errorf("got protocol %q, the client has %q", s.ALPN, state.NegotiatedProtocol)
			}
			chain, err := Certificates(s.Version, first(t, fromServer, TypeCertificate))
			if err != nil || len(chain) != 1 || !bytes.Equal(chain[0], c.certificate.Certificate[0]) {
				t.Errorf("got %d certificates, error %v", len(chain), err)
			}
			if !strings.HasSuffix(c.name, "RSA") {
				if group, ok := ServerGroup(first(t, fromServer, TypeServerKeyExchange)); !ok || group != uint16(state.CurveID) {
					t.Errorf("got group %d %t, the client has %d", group, ok, state.CurveID)
				}
				return
			}
			encrypted, err := ClientKeyRSA(s.Version, first(t, fromClient, TypeClientKeyExchange))
			if err != nil {
				t.Fatal(err)
			}
			premaster, err := rsaKey.Decrypt(nil, encrypted, nil)
			if err != nil || len(premaster) != 48 || premaster[0] != byte(h.LegacyVersion>>8) || premaster[1] != byte(h.LegacyVersion) {
				t.Errorf("the premaster secret is %x, error %v", premaster, err)
			}
		})
	}
}

// TestGoResumption sees tickets and pre-shared keys at work.
func TestGoResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := &tls.Config{Certificates: []tls.Certificate{ecCertificate(t)}, MaxVersion: version}
		client := &tls.Config{InsecureSkipVerify: true, ServerName: "peer.example", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for round := range 2 {
			fromClient, fromServer, state := shake(t, client, server)
			h, err := ParseClientHello(first(t, fromClient, TypeClientHello))
			if err != nil {
				t.Fatal(err)
			}
			s, err := ParseServerHello(first(t, fromServer, TypeServerHello))
			if err != nil {
				t.Fatal(err)
			}
			again := round == 1
			if state.DidResume != again {
				t.Fatalf("%s: resumed: %t", VersionName(version), state.DidResume)
			}
			if !h.ExtendedMaster || version == tls.VersionTLS12 && !s.ExtendedMaster {
				t.Errorf("%s: no extended master secret", VersionName(version))
			}
			if ticket := len(h.Ticket) > 0; !h.TicketSupport || ticket != (again && version == tls.VersionTLS12) {
				t.Errorf("%s, round %d: ticket offered: %t", VersionName(version), round, ticket)
			}
			if psk := again && version == tls.VersionTLS13; h.PSK != psk || s.PSK != psk {
				t.Errorf("%s, round %d: pre-shared key offered: %t, used: %t", VersionName(version), round, h.PSK, s.PSK)
			}
			if version == tls.VersionTLS12 && !again && !s.Ticket {
				t.Error("the server's ticket isn't seen")
			}
		}
	}
}

// clientHelloOf runs a client against a server that only listens, and returns the client's hello.
func clientHelloOf(t *testing.T, name string, arguments func(address string) []string) *ClientHello {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(name + " isn't installed: its hellos can't be tried")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(name, arguments(l.Addr().String())...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait()
		l.Close() // whoever still waits for it learns that it didn't connect
		close(exited)
	}()
	defer func() {
		cmd.Process.Kill()
		<-exited
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("%s didn't connect: %v", name, err)
	}
	defer conn.Close()
	var got []byte
	buf := make([]byte, 1<<14)
	for len(plain(got)) == 0 {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%s sent no hello but %x: %v", name, got, err)
		}
		got = append(got, buf[:n]...)
	}
	h, err := ParseClientHello(first(t, plain(got), TypeClientHello))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Malformed) > 0 {
		t.Errorf("extensions %d are said to be malformed", h.Malformed)
	}
	return h
}

func TestOpenSSL(t *testing.T) {
	h := clientHelloOf(t, "openssl", func(address string) []string {
		return []string{"s_client", "-connect", address, "-servername", "a.example", "-alpn", "h2,x", "-groups", "X448:P-384:X25519",
			"-ciphersuites", "TLS_AES_128_CCM_SHA256", "-cipher", "ECDHE-ECDSA-AES256-SHA", "-sigalgs", "ECDSA+SHA384:ed25519"}
	})
	if h.ServerName != "a.example" || !slices.Equal(h.ALPN, []string{"h2", "x"}) {
		t.Errorf("name %q, ALPN %q", h.ServerName, h.ALPN)
	}
	if want := []uint16{30, 24, 29}; !slices.Equal(h.Groups, want) || !slices.Equal(h.KeyShares, want[:1]) {
		t.Errorf("groups %d, key shares %d", h.Groups, h.KeyShares)
	}
	if want := []uint16{0x1304, 0xc00a, 0x00ff}; !slices.Equal(h.Suites, want) {
		t.Errorf("suites %x", h.Suites)
	}
	if want := []uint16{0x0503, 0x0807}; !slices.Equal(h.SignatureSchemes, want) {
		t.Errorf("signature schemes %x", h.SignatureSchemes)
	}
	if h.Highest() != 0x0304 || h.LegacyVersion != 0x0303 || !h.EncryptThenMAC || !h.ExtendedMaster || h.PSK || h.EarlyData || h.ECH {
		t.Errorf("%+v", h)
	}
	if got, want := h.JA4()[:10], "t13d0311h2"; got[:6] != want[:6] || got[8:] != want[8:] {
		t.Errorf("JA4 begins with %s", got)
	}

	old := clientHelloOf(t, "openssl", func(address string) []string {
		return []string{"s_client", "-connect", address, "-noservername", "-tls1_2"}
	})
	if old.ServerName != "" || old.Highest() != 0x0303 || old.Versions != nil || !strings.HasPrefix(old.JA4(), "t12i") {
		t.Errorf("%+v", old)
	}
}

func TestCurl(t *testing.T) {
	h := clientHelloOf(t, "curl", func(address string) []string {
		_, port, _ := net.SplitHostPort(address)
		return []string{"-s", "--connect-to", "::127.0.0.1:" + port, "--noproxy", "*", "https://curl.example/"}
	})
	if h.ServerName != "curl.example" || !slices.Equal(h.ALPN, []string{"h2", "http/1.1"}) || h.Highest() != 0x0304 {
		t.Errorf("%+v", h)
	}
}
