//go:build linux

package tlspeers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// ServerName is the name that the servers' certificates are for, and that clients ask for.
const ServerName = "shop.example"

// Certificates are files in a folder: NAME.crt and NAME.key, in PEM, for the names rsa and ecdsa (servers, for ServerName
// and 127.0.0.1), client, and ca, which signed them all.
type Certificates struct{ Folder string }

// Cert and Key return the path of a certificate, and of its private key.
func (c Certificates) Cert(name string) string { return filepath.Join(c.Folder, name+".crt") }

// Key returns the path of a private key.
func (c Certificates) Key(name string) string { return filepath.Join(c.Folder, name+".key") }

// MakeCertificates makes them in a folder.
func MakeCertificates(folder string) (Certificates, error) {
	c := Certificates{folder}
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	if err := c.write("ca", authority, signer, authority, signer); err != nil {
		return c, err
	}
	for i, name := range []string{"rsa", "ecdsa", "client"} {
		var key crypto.Signer
		if name == "rsa" {
			key, err = rsa.GenerateKey(rand.Reader, 2048)
		} else {
			key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
		if err != nil {
			return c, err
		}
		common := ServerName
		if name == "client" {
			common = "a customer"
		}
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(2 + i)), Subject: pkix.Name{CommonName: common}, DNSNames: []string{ServerName},
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		}
		if err := c.write(name, leaf, key, authority, signer); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c Certificates) write(name string, leaf *x509.Certificate, key crypto.Signer, parent *x509.Certificate, signer crypto.Signer) error {
	if leaf.SerialNumber == nil {
		leaf.SerialNumber = big.NewInt(1)
	}
	leaf.NotBefore, leaf.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(30*24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, key.Public(), signer)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Cert(name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(c.Key(name), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}
