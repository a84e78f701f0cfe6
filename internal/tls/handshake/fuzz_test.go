package handshake

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"unicode/utf8"
)

// FuzzMessages gives any bytes to every parser: none panics, texts are UTF-8, an error comes without a value, and
// what was read twice is the same, with the message unchanged.
func FuzzMessages(f *testing.F) {
	f.Add(full())                                                                                       // a hello with all extensions
	f.Add(serverHello(0x0303, helloRetryRandom, 0x1301, extension{extKeyShare, []byte{0, 29}}))         // a retry
	f.Add(draftHello())                                                                                 // without session id
	f.Add(draftRetry())                                                                                 // without random
	f.Add(ssl2Hello(0x0301, []uint32{0x2f}, 16))                                                        // with a record's header
	f.Add(chain(0x0304, []byte("der")))                                                                 // with context and extensions
	f.Add(chain(0x0303, []byte("der")))                                                                 // without
	f.Add(compressedChain(2, chain(0x0304, []byte("der")), 24))                                         // brotli
	f.Add([]byte{0, 0, namedCurve, 0, 24, 3, 4, 1, 2})                                                  // a curve behind a hint
	f.Add(extensionBlock(extension{extALPN, protocols("h2")}, extension{extServerName, hostName("a")})) // a block alone
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		h, err := ParseClientHello(b)
		checkHello(t, h, err)
		h, err = ParseSSL2Hello(b)
		checkHello(t, h, err)
		for _, parse := range []func([]byte) (*ServerHello, error){ParseServerHello, ParseDraftHelloRetry} {
			s, err := parse(b)
			if (s == nil) != (err != nil) {
				t.Errorf("%+v with error %v", s, err)
			}
			if s != nil && (len(s.JA3S()) != 32 || !utf8.ValidString(s.ALPN)) {
				t.Errorf("%+v", s)
			}
		}
		if alpn, early, err := EncryptedExtensions(b); err != nil && (alpn != "" || early) || !utf8.ValidString(alpn) {
			t.Errorf("ALPN %q, early data %t, error %v", alpn, early, err)
		}
		for _, version := range []uint16{0x0300, 0x0303, 0x0304} {
			if certificates, err := Certificates(version, b); len(certificates) > MaxChain || err != nil && certificates != nil {
				t.Errorf("%d certificates, error %v", len(certificates), err)
			}
			if key, err := ClientKeyRSA(version, b); (key == nil) != (err != nil) {
				t.Errorf("key %x, error %v", key, err)
			}
		}
		if c, err := DecompressCertificates(b); len(c) > MaxCertificateMessage || err != nil && c != nil {
			t.Errorf("%d bytes, error %v", len(c), err)
		}
		if g, ok := ServerGroup(b); !ok && g != 0 {
			t.Errorf("no group, but %d", g)
		}
		KeyUpdateRequested(b)
		SSL2Length(b)
		if !bytes.Equal(b, before) {
			t.Error("the message was changed")
		}
	})
}

func checkHello(t *testing.T, h *ClientHello, err error) {
	if (h == nil) != (err != nil) {
		t.Errorf("%+v with error %v", h, err)
	}
	if h == nil {
		return
	}
	if ja3, ja4 := h.JA3(), h.JA4(); !h.SSL2 && (len(ja3) != 32 || len(ja4) != 36 || !utf8.ValidString(ja4)) {
		t.Errorf("JA3 %q, JA4 %q", ja3, ja4)
	}
	if !utf8.ValidString(h.ServerName) || len(h.ServerName) > 3*MaxServerName+3 || len(h.ALPN) > MaxALPN {
		t.Errorf("name %q, %d protocols", h.ServerName, len(h.ALPN))
	}
	for _, p := range h.ALPN {
		if !utf8.ValidString(p) {
			t.Errorf("protocol %q", p)
		}
	}
}

// FuzzDescribe gives any bytes for a certificate: there is always a fingerprint, and texts are UTF-8 and bounded.
func FuzzDescribe(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, DNSNames: []string{"b.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Fuzz(func(t *testing.T, b []byte) { checkTexts(t, Describe(b)) })
}
