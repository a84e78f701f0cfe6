package keylog

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

func TestParseRSA(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	old := block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil)
	b, err := x509.MarshalPKCS8PrivateKey(key)
	current := block("PRIVATE KEY", b, err)
	b, err = x509.MarshalPKCS8PrivateKey(curve)
	other := block("PRIVATE KEY", b, err)
	b, err = x509.MarshalECPrivateKey(curve)
	ec := block("EC PRIVATE KEY", b, err)
	certificate := block("CERTIFICATE", []byte{1, 2}, nil)
	locked := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}}))

	for name, c := range map[string]struct {
		text string
		keys int
		want string // in the error
	}{
		"PKCS #1":           {old, 1, ""},
		"PKCS #8":           {current, 1, ""},
		"several and more":  {"text\n" + certificate + current + other + old, 2, ""},
		"encrypted":         {block("ENCRYPTED PRIVATE KEY", []byte{1}, nil), 0, "is encrypted"},
		"encrypted PKCS #1": {locked, 0, "openssl pkey"},
		"another algorithm": {other, 0, "isn't one of RSA"},
		"EC":                {ec, 0, "key log is needed"},
		"no key":            {certificate, 0, "CERTIFICATE"},
		"no PEM":            {"hello", 0, "no private key in PEM"},
		"nothing":           {"", 0, "no private key in PEM"},
		"broken":            {old + block("RSA PRIVATE KEY", []byte{1, 2}, nil), 0, "key 2"},
		"broken PKCS #8":    {block("PRIVATE KEY", []byte{1, 2}, nil), 0, "key 1"},
	} {
		keys, err := ParseRSA([]byte(c.text))
		switch {
		case c.want == "" && (err != nil || len(keys) != c.keys || !keys[0].Equal(key)):
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	s := NewStore(Options{})
	s.AddRSA(key)
	if len(s.RSAKeys()) != 1 || s.Empty() || !s.Late() {
		t.Error(len(s.RSAKeys()), s.Empty(), s.Late())
	}
}
