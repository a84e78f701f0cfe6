package keylog

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParseRSA reads the RSA private keys of a PEM file (PKCS #1 and PKCS #8); what else is in it, such as certificates, is
// passed over. It is an error if there are none.
func ParseRSA(text []byte) (keys []*rsa.PrivateKey, err error) {
	var others string
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		switch block.Type {
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" { // RFC 1421 §4.6.1.3
				return nil, errEncrypted
			}
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("key %d: %w", len(keys)+1, err)
			}
			keys = append(keys, key)
		case "PRIVATE KEY":
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("key %d: %w", len(keys)+1, err)
			}
			if key, ok := parsed.(*rsa.PrivateKey); ok {
				keys = append(keys, key)
			} else {
				others = "a private key that isn't one of RSA"
			}
		case "ENCRYPTED PRIVATE KEY":
			return nil, errEncrypted
		case "EC PRIVATE KEY":
			others = "a private key that isn't one of RSA"
		default:
			if others == "" {
				others = "PEM blocks such as " + block.Type
			}
		}
	}
	switch {
	case len(keys) > 0:
		return keys, nil
	case others != "":
		return nil, fmt.Errorf("there is %s, and no RSA private key: only the RSA key exchange can be decrypted by a private key; for others, a key log is needed (docs/keys.md)", others)
	}
	return nil, errors.New("there is no private key in PEM: want a file with BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY")
}

var errEncrypted = errors.New("the private key is encrypted: decrypt it first, with openssl pkey -in FILE -out PLAIN, and keep that file for yourself")
