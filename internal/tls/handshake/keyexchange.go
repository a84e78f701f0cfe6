package handshake

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

// Kinds of curves in a ServerKeyExchange (RFC 8422 §5.4).
const namedCurve = 3

// namedPrimes tells the groups of RFC 7919 by the SHA-256 of their prime.
var namedPrimes = map[[sha256.Size]byte]uint16{
	{0x9c, 0xd3, 0xb7, 0xf3, 0x36, 0x87, 0x2f, 0x46, 0xc0, 0x94, 0x28, 0xd1, 0xbb, 0xc1, 0x98, 0x77,
		0xa4, 0xd4, 0x40, 0x51, 0x2c, 0xda, 0x8d, 0x1c, 0x1c, 0xf0, 0xcd, 0x6e, 0x33, 0x69, 0x89, 0x66}: 256, // ffdhe2048
	{0x0e, 0xaf, 0x67, 0xdb, 0x3a, 0x83, 0x91, 0x56, 0xd5, 0x01, 0x34, 0x94, 0xa5, 0x31, 0x8a, 0x77,
		0x2b, 0x56, 0x97, 0xd2, 0x70, 0xd7, 0x21, 0xf3, 0x7f, 0x09, 0x2e, 0xfc, 0x69, 0xea, 0x5a, 0x17}: 257, // ffdhe3072
	{0x46, 0x48, 0x41, 0x42, 0x24, 0xac, 0x88, 0x1b, 0x3d, 0x0d, 0xc5, 0x9b, 0x46, 0x6f, 0x96, 0xd0,
		0x6a, 0x55, 0x82, 0x78, 0x77, 0x68, 0x07, 0x79, 0x7e, 0xcf, 0x1f, 0x66, 0xff, 0x39, 0x7b, 0x3e}: 258, // ffdhe4096
	{0x22, 0x7a, 0xc9, 0x06, 0x6b, 0x3d, 0xdd, 0x9e, 0x19, 0x36, 0x70, 0xcd, 0xa2, 0x38, 0x8f, 0xa8,
		0x84, 0xf6, 0x5b, 0xa0, 0xcf, 0x98, 0xb7, 0x42, 0xd1, 0xfe, 0x77, 0xa6, 0x68, 0x7c, 0x79, 0xc7}: 259, // ffdhe6144
	{0x77, 0x0b, 0x14, 0xef, 0xaf, 0x6f, 0x04, 0x99, 0x29, 0xc5, 0x23, 0x11, 0x3b, 0x3f, 0xa9, 0x9a,
		0x8d, 0x11, 0xda, 0xb1, 0xb1, 0x8a, 0xf3, 0x60, 0x95, 0x90, 0x12, 0x20, 0x75, 0xd1, 0x98, 0x33}: 260, // ffdhe8192
}

// ServerGroup returns the group of a ServerKeyExchange, of TLS 1.2 and before: a named curve, or a finite field of
// RFC 7919 by its prime. It returns false for other groups and other kinds of key exchange.
//
// The message doesn't say which key exchange it belongs to; a form is taken only if it explains the message to its
// last byte, or, for finite fields, if the prime is the known one.
func ServerGroup(body []byte) (group uint16, ok bool) {
	s := cryptobyte.String(body)
	if group, ok = finiteField(s); ok {
		return group, true
	}
	if group, ok = curve(s, true); ok {
		return group, true
	}
	// With a pre-shared key, a hint comes first, and no signature follows (RFC 4279 §3, RFC 5489 §2).
	var hint cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&hint) {
		return 0, false
	}
	if group, ok = finiteField(s); ok {
		return group, true
	}
	return curve(s, false)
}

func finiteField(s cryptobyte.String) (uint16, bool) {
	var prime, generator, key cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&prime) || !s.ReadUint16LengthPrefixed(&generator) || !s.ReadUint16LengthPrefixed(&key) {
		return 0, false
	}
	group, ok := namedPrimes[sha256.Sum256(bytes.TrimLeft(prime, "\x00"))]
	return group, ok
}

func curve(s cryptobyte.String, signed bool) (uint16, bool) {
	var kind uint8
	var group, scheme uint16
	var point, signature cryptobyte.String
	if !s.ReadUint8(&kind) || kind != namedCurve || !s.ReadUint16(&group) || !s.ReadUint8LengthPrefixed(&point) || point.Empty() {
		return 0, false
	}
	if s.Empty() {
		return group, true // anonymous, or with a pre-shared key
	}
	if !signed {
		return 0, false
	}
	// TLS 1.2 says the signature's algorithm, its predecessors don't.
	rest := s
	if rest.ReadUint16LengthPrefixed(&signature) && rest.Empty() {
		return group, true
	}
	if s.ReadUint16(&scheme) && s.ReadUint16LengthPrefixed(&signature) && s.Empty() {
		return group, true
	}
	return 0, false
}

// ClientKeyRSA returns the encrypted premaster secret of a ClientKeyExchange with RSA key exchange, which points into
// the message. TLS puts its length before it (RFC 5246 §7.4.7.1), SSL 3.0 doesn't.
func ClientKeyRSA(version uint16, body []byte) ([]byte, error) {
	const message = "ClientKeyExchange"
	if version <= 0x0300 {
		if len(body) == 0 {
			return nil, errMalformed(message, "it is empty")
		}
		return body, nil
	}
	if len(body) < 3 || int(binary.BigEndian.Uint16(body)) != len(body)-2 {
		return nil, errMalformed(message, "the length of the encrypted secret is wrong")
	}
	return body[2:], nil
}
