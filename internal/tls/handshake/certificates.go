package handshake

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"github.com/culprit-http/culprit/internal/proto/body"
)

// Limits of certificates.
const (
	// MaxChain is how many certificates of a message are returned; the rest is checked and left out.
	MaxChain = 16
	// MaxCertificateMessage is how long a Certificate message may be after decompression, in bytes. TLS libraries refuse
	// chains above 100 KB or so.
	MaxCertificateMessage = 256 << 10
)

// Certificates returns the certificates (DER) of a Certificate message, the sender's own first, MaxChain at most. They
// point into the message. A client that has no certificate sends none. version is the version in use: TLS 1.3 has a
// form of its own (RFC 8446 §4.4.2, RFC 5246 §7.4.2).
func Certificates(version uint16, body []byte) ([][]byte, error) {
	const message = "Certificate"
	s := cryptobyte.String(body)
	var context, list, der, block cryptobyte.String
	if is13(version) && !s.ReadUint8LengthPrefixed(&context) {
		return nil, errMalformed(message, "it ends within the context")
	}
	if !s.ReadUint24LengthPrefixed(&list) || !s.Empty() {
		return nil, errMalformed(message, "the list's length is wrong")
	}
	var chain [][]byte
	for !list.Empty() {
		if !list.ReadUint24LengthPrefixed(&der) || der.Empty() {
			return nil, errMalformed(message, "a certificate's length is wrong")
		}
		if is13(version) && !list.ReadUint16LengthPrefixed(&block) {
			return nil, errMalformed(message, "the length of a certificate's extensions is wrong")
		}
		if len(chain) < MaxChain {
			chain = append(chain, der)
		}
	}
	return chain, nil
}

// compressions are the algorithms of compressed certificates (RFC 8879 §7.3), by the names of the same formats among
// HTTP's content codings.
var compressions = map[uint16]string{1: "deflate", 2: "br", 3: "zstd"}

// DecompressCertificates returns the body of the Certificate message that a CompressedCertificate message stands for
// (RFC 8879 §4). One that says it is longer than MaxCertificateMessage is an error.
func DecompressCertificates(message []byte) (certificate []byte, err error) {
	const name = "CompressedCertificate"
	s := cryptobyte.String(message)
	var algorithm uint16
	var length uint32
	var compressed cryptobyte.String
	if !s.ReadUint16(&algorithm) || !s.ReadUint24(&length) || !s.ReadUint24LengthPrefixed(&compressed) || !s.Empty() || compressed.Empty() {
		return nil, errMalformed(name, "a length is wrong")
	}
	coding := compressions[algorithm]
	if coding == "" {
		return nil, errMalformed(name, fmt.Sprintf("algorithm %d isn't known", algorithm))
	}
	if length > MaxCertificateMessage {
		return nil, errMalformed(name, fmt.Sprintf("%d bytes are more than %d", length, MaxCertificateMessage))
	}
	var d body.Decoder
	certificate, r := d.Decode([]byte(coding), compressed, int(length))
	if !r.Complete || r.Bad || r.Trailing || len(certificate) != int(length) {
		return nil, errMalformed(name, "the data isn't what the algorithm or the length says")
	}
	return certificate, nil
}
