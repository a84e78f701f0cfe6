package handshake

import (
	"crypto/sha256"

	"golang.org/x/crypto/cryptobyte"
)

// ServerHello is what a server chose (RFC 8446 §4.1.3, RFC 5246 §7.4.1.3), or, of TLS 1.3, its demand for another
// ClientHello.
type ServerHello struct {
	// Version is the version in use from here on. LegacyVersion is that of the message's first field.
	Version, LegacyVersion uint16
	Random                 [32]byte
	// SessionID points into the message. Equal to the client's, before TLS 1.3, it says that the session is taken up
	// again; TLS 1.3 always repeats the client's.
	SessionID []byte
	Suite     uint16
	// Compression is the compression method, 0 for none; TLS 1.3 has none.
	Compression byte
	// ALPN is the protocol that was chosen, empty if none, or if the version is TLS 1.3, which says it later.
	ALPN string
	// Group is that of the server's key share, or the one that it demands; 0 when there is none.
	Group uint16
	// PSK: a key that the client offered is used (TLS 1.3). HelloRetry: the server wants another ClientHello.
	PSK, HelloRetry bool
	// ExtendedMaster and EncryptThenMAC are RFC 7627 and RFC 7366. Ticket: the server will send a ticket (RFC 5077).
	ExtendedMaster, EncryptThenMAC, Ticket bool
	// Extensions are the numbers of all extensions; Malformed those whose content couldn't be read, or that came twice.
	Extensions, Malformed []uint16
}

// helloRetryRandom is the random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3).
var helloRetryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// serverExtensions read the content of a ServerHello's extensions. They change the hello only if they return true.
var serverExtensions = map[uint16]func(h *ServerHello, s cryptobyte.String) bool{
	extEncryptThenMAC: func(h *ServerHello, s cryptobyte.String) bool { return flag(&h.EncryptThenMAC, s) },
	extExtendedMaster: func(h *ServerHello, s cryptobyte.String) bool { return flag(&h.ExtendedMaster, s) },
	extSessionTicket:  func(h *ServerHello, s cryptobyte.String) bool { return flag(&h.Ticket, s) },
	extPreSharedKey: func(h *ServerHello, s cryptobyte.String) bool {
		h.PSK = len(s) == 2
		return h.PSK
	},
	extALPN: func(h *ServerHello, s cryptobyte.String) bool {
		alpn, ok := parseOneALPN(s)
		h.ALPN = alpn
		return ok
	},
	extSupportedVersions: func(h *ServerHello, s cryptobyte.String) bool {
		var v uint16
		if !s.ReadUint16(&v) || !s.Empty() {
			return false
		}
		h.Version = v
		return true
	},
	extKeyShare: (*ServerHello).keyShare,
	extDraftKeyShare: func(h *ServerHello, s cryptobyte.String) bool {
		return !isDraft(h.LegacyVersion) || h.keyShare(s)
	},
}

// ParseServerHello reads a ServerHello. A HelloRetryRequest of TLS 1.3 is one; those of its drafts up to 21 are read by
// ParseDraftHelloRetry.
func ParseServerHello(body []byte) (*ServerHello, error) {
	const message = "ServerHello"
	h := new(ServerHello)
	s := cryptobyte.String(body)
	var session, block cryptobyte.String
	if !s.ReadUint16(&h.LegacyVersion) || !s.CopyBytes(h.Random[:]) {
		return nil, errMalformed(message, "it ends within the random")
	}
	// Up to draft 21, TLS 1.3 said its version here, and had neither session id nor compression method.
	draft := isDraft(h.LegacyVersion)
	switch {
	case !draft && (!s.ReadUint8LengthPrefixed(&session) || len(session) > 32):
		return nil, errMalformed(message, "the session id's length is wrong")
	case !s.ReadUint16(&h.Suite):
		return nil, errMalformed(message, "it ends within the cipher suite")
	case !draft && !s.ReadUint8(&h.Compression):
		return nil, errMalformed(message, "it ends before the compression method")
	}
	h.SessionID = session
	h.Version = h.LegacyVersion
	h.HelloRetry = h.Random == helloRetryRandom
	if s.Empty() {
		return h, nil
	}
	if !s.ReadUint16LengthPrefixed(&block) || !s.Empty() {
		return nil, errMalformed(message, "the extensions' length is wrong")
	}
	return h.withExtensions(message, block)
}

// ParseDraftHelloRetry reads a message of TypeHelloRetryRequest. It has no random.
func ParseDraftHelloRetry(body []byte) (*ServerHello, error) {
	const message = "HelloRetryRequest"
	h := &ServerHello{HelloRetry: true}
	s := cryptobyte.String(body)
	var block cryptobyte.String
	if !s.ReadUint16(&h.LegacyVersion) || !isDraft(h.LegacyVersion) {
		return nil, errMalformed(message, "its version isn't a draft of TLS 1.3")
	}
	h.Version = h.LegacyVersion
	if h.LegacyVersion >= draftWithSuite && !s.ReadUint16(&h.Suite) {
		return nil, errMalformed(message, "it ends within the cipher suite")
	}
	if !s.ReadUint16LengthPrefixed(&block) || !s.Empty() {
		return nil, errMalformed(message, "the extensions' length is wrong")
	}
	return h.withExtensions(message, block)
}

// draftWithSuite is the first draft of TLS 1.3 whose HelloRetryRequest has a cipher suite: 19.
const draftWithSuite = 0x7f00 | 19

// withExtensions reads the extensions into h and returns it.
func (h *ServerHello) withExtensions(message string, block cryptobyte.String) (*ServerHello, error) {
	var ok bool
	h.Extensions, h.Malformed, ok = extensions(block, func(id uint16, data cryptobyte.String) bool {
		read := serverExtensions[id]
		return read == nil || read(h, data)
	})
	if !ok {
		return nil, errMalformed(message, "an extension's length is wrong")
	}
	return h, nil
}

// keyShare reads the server's key, or, in a HelloRetryRequest, only its group.
func (h *ServerHello) keyShare(s cryptobyte.String) bool {
	var group uint16
	var key cryptobyte.String
	if !s.ReadUint16(&group) {
		return false
	}
	if !h.HelloRetry && (!s.ReadUint16LengthPrefixed(&key) || len(key) == 0) {
		return false
	}
	if !s.Empty() {
		return false
	}
	h.Group = group
	return true
}
