// Package handshake reads the messages of the TLS handshake: what client and server offer and choose, their
// certificates, and the fingerprints of their hellos. It knows SSL 3.0 to TLS 1.3, the drafts of TLS 1.3, and the
// ClientHello of SSL 2.0.
//
// A message is given whole, without its header of four bytes; how records carry messages is the caller's business.
// Messages are hostile. A function either understands the whole frame of a message or returns an error, never a half
// of it; when only the content of an extension makes no sense, the extension is listed as malformed and the rest
// holds. What is allocated is bounded by the length of the message.
//
// Texts are copied, cut at a limit, and valid UTF-8: bytes that aren't become U+FFFD. Control characters stay.
// Byte slices point into the message.
package handshake

import (
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// The types of handshake messages (IANA, TLS HandshakeType).
const (
	TypeHelloRequest          = 0
	TypeClientHello           = 1
	TypeServerHello           = 2
	TypeNewSessionTicket      = 4
	TypeEndOfEarlyData        = 5
	TypeHelloRetryRequest     = 6 // drafts of TLS 1.3 only; since then it is a ServerHello
	TypeEncryptedExtensions   = 8
	TypeCertificate           = 11
	TypeServerKeyExchange     = 12
	TypeCertificateRequest    = 13
	TypeServerHelloDone       = 14
	TypeCertificateVerify     = 15
	TypeClientKeyExchange     = 16
	TypeFinished              = 20
	TypeCertificateURL        = 21
	TypeCertificateStatus     = 22
	TypeKeyUpdate             = 24
	TypeCompressedCertificate = 25
	TypeMessageHash           = 254
)

// The extensions that are read (IANA, TLS ExtensionType Values).
const (
	extServerName          = 0
	extSupportedGroups     = 10
	extPointFormats        = 11
	extSignatureAlgorithms = 13
	extALPN                = 16
	extEncryptThenMAC      = 22
	extExtendedMaster      = 23
	extSessionTicket       = 35
	extDraftKeyShare       = 40 // up to draft 22 of TLS 1.3
	extPreSharedKey        = 41
	extEarlyData           = 42
	extSupportedVersions   = 43
	extKeyShare            = 51
	extECH                 = 0xfe0d
)

// Limits of the texts that are kept.
const (
	// MaxServerName is the length of a server name, in bytes; a DNS name has 253 at most.
	MaxServerName = 255
	// MaxALPN is how many protocol names of an ALPN extension are kept. Each has 255 bytes at most.
	MaxALPN = 32
)

// errMalformed says which message couldn't be read, and where it breaks.
func errMalformed(message, where string) error {
	return fmt.Errorf("TLS handshake: malformed %s: %s", message, where)
}

// text copies a text of the wire, cut at max bytes; what isn't UTF-8 is replaced.
func text(b []byte, max int) string {
	cut := len(b) > max
	if cut {
		b = b[:max]
	}
	s := strings.ToValidUTF8(string(b), "\ufffd")
	if cut {
		s += "…"
	}
	return s
}

// numbers reads the 16-bit numbers that b consists of.
func numbers(b []byte) ([]uint16, bool) {
	if len(b)%2 != 0 {
		return nil, false
	}
	if len(b) == 0 {
		return nil, true
	}
	list := make([]uint16, len(b)/2)
	for i := range list {
		list[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
	}
	return list, true
}

// parse16 reads a vector of 16-bit numbers with a length of 16 bits before it, and nothing after it.
func parse16(s cryptobyte.String) ([]uint16, bool) {
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() || list.Empty() {
		return nil, false
	}
	return numbers(list)
}

// parseALPN reads a list of protocol names (RFC 7301 §3.1) and calls each of them.
func parseALPN(s cryptobyte.String, each func(name []byte)) bool {
	var list, name cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() || list.Empty() {
		return false
	}
	for whole := list; !whole.Empty(); {
		if !whole.ReadUint8LengthPrefixed(&name) || len(name) == 0 {
			return false
		}
	}
	for list.ReadUint8LengthPrefixed(&name) {
		each(name)
	}
	return true
}

// parseOneALPN reads the answer to a list of protocol names: exactly one.
func parseOneALPN(s cryptobyte.String) (string, bool) {
	var names []string
	count := 0
	ok := parseALPN(s, func(name []byte) {
		if count++; count == 1 {
			names = append(names, text(name, 255))
		}
	})
	if !ok || count != 1 {
		return "", false
	}
	return names[0], true
}

// extensions reads a block of extensions and calls each of them. ids has all of them in their order. malformed has
// those that each refused, and those that came before: an extension counts once (RFC 8446 §4.2).
func extensions(block cryptobyte.String, each func(id uint16, data cryptobyte.String) bool) (ids, malformed []uint16, ok bool) {
	var id uint16
	var data cryptobyte.String
	n := 0
	for whole := block; !whole.Empty(); n++ {
		if !whole.ReadUint16(&id) || !whole.ReadUint16LengthPrefixed(&data) {
			return nil, nil, false
		}
	}
	if n == 0 {
		return nil, nil, true
	}
	ids = make([]uint16, 0, n)
	var seen uint64 // of the ids below 64, among which are all that have content here
	for block.ReadUint16(&id) && block.ReadUint16LengthPrefixed(&data) {
		ids = append(ids, id)
		again := id < 64 && seen>>id&1 != 0
		if id < 64 {
			seen |= 1 << id
		}
		if again || !each(id, data) {
			malformed = append(malformed, id)
		}
	}
	return ids, malformed, true
}

// EncryptedExtensions returns the protocol that the server chose by ALPN, empty if none, and whether it accepts early
// data (RFC 8446 §4.3.1).
func EncryptedExtensions(body []byte) (alpn string, earlyData bool, err error) {
	s := cryptobyte.String(body)
	var block cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&block) || !s.Empty() {
		return "", false, errMalformed("EncryptedExtensions", "the extensions' length is wrong")
	}
	_, malformed, ok := extensions(block, func(id uint16, data cryptobyte.String) (ok bool) {
		switch id {
		case extALPN:
			alpn, ok = parseOneALPN(data)
			return ok
		case extEarlyData:
			earlyData = data.Empty()
			return earlyData
		}
		return true
	})
	switch {
	case !ok:
		return "", false, errMalformed("EncryptedExtensions", "an extension's length is wrong")
	case len(malformed) > 0:
		return "", false, errMalformed("EncryptedExtensions", fmt.Sprintf("extension %d", malformed[0]))
	}
	return alpn, earlyData, nil
}

// KeyUpdateRequested reports whether the sender of a KeyUpdate wants the other side to update its keys too
// (RFC 8446 §4.6.3).
func KeyUpdateRequested(body []byte) (bool, error) {
	if len(body) != 1 || body[0] > 1 {
		return false, errMalformed("KeyUpdate", "it isn't one byte, 0 or 1")
	}
	return body[0] == 1, nil
}
