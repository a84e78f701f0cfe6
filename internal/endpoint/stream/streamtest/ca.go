// Package streamtest has what tests of receivers need at the other end: certificates, and a wire that breaks.
package streamtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// CA signs certificates for one test.
type CA struct {
	// PEM is its own certificate.
	PEM  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// certificates are valid from long ago for longer than any test, whatever the clock says.
var (
	validFrom  = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	validUntil = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// NewCA makes a key and a certificate for it.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: validFrom, NotAfter: validUntil,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &CA{PEM: block("CERTIFICATE", der), cert: cert, key: key}, err
}

// Sign returns a certificate for names or addresses, and its key, as PEM.
func (ca *CA) Sign(names ...string) (cert, key string, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, NotBefore: validFrom, NotAfter: validUntil,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, k.Public(), ca.key)
	if err != nil {
		return "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	return block("CERTIFICATE", der), block("PRIVATE KEY", private), err
}

// Server returns the configuration of a server with those names. With clients, it wants certificates of the same CA.
func (ca *CA) Server(clients bool, names ...string) (*tls.Config, error) {
	cert, key, err := ca.Sign(names...)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	c := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		c.ClientCAs.AddCert(ca.cert)
	}
	return c, err
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// Secure returns a listener whose connections use TLS.
func Secure(l net.Listener, c *tls.Config) net.Listener { return tls.NewListener(l, c) }
