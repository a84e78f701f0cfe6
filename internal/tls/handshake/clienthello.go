package handshake

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

// ClientHello is what a client offers (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2). Lists are in the client's order, with its
// GREASE values (RFC 8701), and whole, since fingerprints are made of them; who keeps a hello for long bounds them.
type ClientHello struct {
	// LegacyVersion is the version in the message's first field, which TLS 1.3 no longer uses.
	LegacyVersion uint16
	Random        [32]byte
	// SessionID names a session to take up again, or, in TLS 1.3, nothing. It points into the message.
	SessionID []byte
	Suites    []uint16
	// ServerName is the host that the client asks for (RFC 6066 §3), empty if it gave none; MaxServerName bytes at most.
	ServerName string
	// ALPN are the protocols that the client speaks (RFC 7301), MaxALPN at most.
	ALPN []string
	// Versions are those of the extension supported_versions, nil without one. See Highest.
	Versions []uint16
	// Groups are those that the client can use, KeyShares those that it sent keys of.
	Groups, SignatureSchemes, KeyShares []uint16
	// PointFormats are those of elliptic curves (RFC 8422 §5.1.2). They point into the message.
	PointFormats []byte
	// Extensions are the numbers of all extensions; Malformed those whose content couldn't be read, or that came twice.
	Extensions, Malformed []uint16
	// PSK: a key of an earlier session, or shared otherwise, is offered (TLS 1.3). EarlyData: the client sends data before
	// the server answers. ExtendedMaster and EncryptThenMAC are RFC 7627 and RFC 7366.
	PSK, EarlyData, ExtendedMaster, EncryptThenMAC bool
	// Ticket is that of an earlier session (RFC 5077), empty if none is offered. It points into the message. TicketSupport:
	// the client takes tickets.
	Ticket        []byte
	TicketSupport bool
	// ECH: the hello has encrypted_client_hello, so that ServerName may be that of a front. Browsers send it with random
	// content when they have nothing to hide, which can't be told apart.
	ECH bool
	// SSL2: the hello came in the format of SSL 2.0. It has no extensions, and no fingerprint.
	SSL2 bool

	// protocol is the first and the last byte of the first ALPN name that isn't GREASE; hasProtocol says whether there is.
	protocol    [2]byte
	hasProtocol bool
}

// clientExtensions read the content of a ClientHello's extensions. They change the hello only if they return true.
var clientExtensions = map[uint16]func(h *ClientHello, s cryptobyte.String) bool{
	extServerName:          (*ClientHello).serverName,
	extSupportedGroups:     func(h *ClientHello, s cryptobyte.String) bool { return set(&h.Groups, s) },
	extPointFormats:        (*ClientHello).pointFormats,
	extSignatureAlgorithms: func(h *ClientHello, s cryptobyte.String) bool { return set(&h.SignatureSchemes, s) },
	extALPN:                (*ClientHello).alpn,
	extEncryptThenMAC:      func(h *ClientHello, s cryptobyte.String) bool { return flag(&h.EncryptThenMAC, s) },
	extExtendedMaster:      func(h *ClientHello, s cryptobyte.String) bool { return flag(&h.ExtendedMaster, s) },
	extEarlyData:           func(h *ClientHello, s cryptobyte.String) bool { return flag(&h.EarlyData, s) },
	extSupportedVersions:   (*ClientHello).versions,
	extKeyShare:            (*ClientHello).keyShares,
	extSessionTicket: func(h *ClientHello, s cryptobyte.String) bool {
		h.Ticket, h.TicketSupport = s, true
		return true
	},
	extPreSharedKey: func(h *ClientHello, s cryptobyte.String) bool {
		h.PSK = preSharedKeys(s)
		return h.PSK
	},
	extECH: func(h *ClientHello, s cryptobyte.String) bool {
		h.ECH = true
		return true
	},
}

// ParseClientHello reads a ClientHello.
func ParseClientHello(body []byte) (*ClientHello, error) {
	const message = "ClientHello"
	h := new(ClientHello)
	s := cryptobyte.String(body)
	var session, suites, compressions, block cryptobyte.String
	var ok bool
	switch {
	case !s.ReadUint16(&h.LegacyVersion) || !s.CopyBytes(h.Random[:]):
		return nil, errMalformed(message, "it ends within the random")
	case !s.ReadUint8LengthPrefixed(&session) || len(session) > 32:
		return nil, errMalformed(message, "the session id's length is wrong")
	case !s.ReadUint16LengthPrefixed(&suites):
		return nil, errMalformed(message, "it ends within the cipher suites")
	case !s.ReadUint8LengthPrefixed(&compressions):
		return nil, errMalformed(message, "it ends within the compression methods")
	}
	h.SessionID = session
	if h.Suites, ok = numbers(suites); !ok {
		return nil, errMalformed(message, "the cipher suites' length is odd")
	}
	if s.Empty() {
		return h, nil // no extensions: allowed before TLS 1.3
	}
	if !s.ReadUint16LengthPrefixed(&block) || !s.Empty() {
		return nil, errMalformed(message, "the extensions' length is wrong")
	}
	h.Extensions, h.Malformed, ok = extensions(block, func(id uint16, data cryptobyte.String) bool {
		read := clientExtensions[id]
		return read == nil || read(h, data)
	})
	if !ok {
		return nil, errMalformed(message, "an extension's length is wrong")
	}
	return h, nil
}

// set reads a list of 16-bit numbers.
func set(list *[]uint16, s cryptobyte.String) bool {
	l, ok := parse16(s)
	if ok {
		*list = l
	}
	return ok
}

// flag reads an extension without content.
func flag(f *bool, s cryptobyte.String) bool {
	*f = s.Empty()
	return *f
}

// serverName reads a list of names, of which only host names were ever defined (RFC 6066 §3).
func (h *ClientHello) serverName(s cryptobyte.String) bool {
	const hostName = 0
	var list, name, host cryptobyte.String
	var kind uint8
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() || list.Empty() {
		return false
	}
	for !list.Empty() {
		if !list.ReadUint8(&kind) || !list.ReadUint16LengthPrefixed(&name) {
			return false
		}
		if kind == hostName && host == nil {
			if len(name) == 0 {
				return false
			}
			host = name
		}
	}
	h.ServerName = text(host, MaxServerName)
	return true
}

func (h *ClientHello) pointFormats(s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&list) || !s.Empty() {
		return false
	}
	h.PointFormats = list
	return true
}

func (h *ClientHello) alpn(s cryptobyte.String) bool {
	return parseALPN(s, func(name []byte) {
		if len(h.ALPN) < MaxALPN {
			h.ALPN = append(h.ALPN, text(name, 255))
		}
		if !h.hasProtocol && !(len(name) == 2 && IsGREASE(binary.BigEndian.Uint16(name))) {
			h.protocol, h.hasProtocol = [2]byte{name[0], name[len(name)-1]}, true
		}
	})
}

func (h *ClientHello) versions(s cryptobyte.String) bool {
	var list cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&list) || !s.Empty() || list.Empty() {
		return false
	}
	versions, ok := numbers(list)
	if ok {
		h.Versions = versions
	}
	return ok
}

func (h *ClientHello) keyShares(s cryptobyte.String) bool {
	var list, key cryptobyte.String
	var group uint16
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() {
		return false
	}
	n := 0
	for whole := list; !whole.Empty(); n++ {
		if !whole.ReadUint16(&group) || !whole.ReadUint16LengthPrefixed(&key) || len(key) == 0 {
			return false
		}
	}
	if n == 0 {
		return true // the client waits for the server's choice
	}
	h.KeyShares = make([]uint16, 0, n)
	for list.ReadUint16(&group) && list.ReadUint16LengthPrefixed(&key) {
		h.KeyShares = append(h.KeyShares, group)
	}
	return true
}

// preSharedKeys reports whether identities and binders of a pre_shared_key extension are well formed
// (RFC 8446 §4.2.11).
func preSharedKeys(s cryptobyte.String) bool {
	var identities, binders, one cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&identities) || !s.ReadUint16LengthPrefixed(&binders) || !s.Empty() {
		return false
	}
	n := 0
	for ; !identities.Empty(); n++ {
		if !identities.ReadUint16LengthPrefixed(&one) || len(one) == 0 || !identities.Skip(4) {
			return false
		}
	}
	for ; !binders.Empty(); n-- {
		if n == 0 || !binders.ReadUint8LengthPrefixed(&one) {
			return false
		}
	}
	return n == 0 && len(one) > 0
}

// Highest returns the highest version that the client offers. GREASE and numbers that are no version of TLS are
// ignored; drafts of TLS 1.3 are below it.
func (h *ClientHello) Highest() uint16 {
	best := uint16(0)
	for _, v := range h.Versions {
		if isVersion(v) && rank(v) > rank(best) {
			best = v
		}
	}
	if best == 0 {
		return h.LegacyVersion
	}
	return best
}

// isVersion tells versions of TLS, its drafts among them, from other numbers.
func isVersion(v uint16) bool { return v>>8 == 3 || isDraft(v) }

// isDraft tells the drafts of TLS 1.3.
func isDraft(v uint16) bool { return v>>8 == 0x7f }

// is13 tells whether messages have the form of TLS 1.3.
func is13(v uint16) bool { return v == 0x0304 || isDraft(v) }

// rank orders versions: drafts come between TLS 1.2 and TLS 1.3.
func rank(v uint16) uint32 {
	if isDraft(v) {
		return 0x0303<<8 | uint32(v&0xff)
	}
	return uint32(v) << 8
}
