package handshake

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

// Lengths of a ClientHello in the format of SSL 2.0: the record's header, and the message's fixed part.
const (
	ssl2Header = 2
	ssl2Fixed  = 9
)

// SSL2Length tells a ClientHello in the format of SSL 2.0 (RFC 5246 §E.2) by the first 5 bytes of a stream, and
// returns the length of its record with the header. Clients of the time before TLS 1.2 sent it to be understood by
// servers of any age.
func SSL2Length(b []byte) (n int, ok bool) {
	if len(b) < 5 || b[0]&0x80 == 0 || b[2] != TypeClientHello {
		return 0, false
	}
	version := binary.BigEndian.Uint16(b[3:])
	n = int(binary.BigEndian.Uint16(b) &^ 0x8000)
	return ssl2Header + n, n >= ssl2Fixed && (version == 0x0002 || version>>8 == 3)
}

// ParseSSL2Hello reads a ClientHello in the format of SSL 2.0 from its record, header included. Suites of SSL 2.0
// itself are left out, as they have numbers of three bytes.
func ParseSSL2Hello(record []byte) (*ClientHello, error) {
	const message = "SSL 2.0 ClientHello"
	n, ok := SSL2Length(record)
	if !ok || n != len(record) {
		return nil, errMalformed(message, "its length or version is wrong")
	}
	s := cryptobyte.String(record[3:])
	h := &ClientHello{SSL2: true}
	var suiteBytes, sessionBytes, challengeBytes uint16
	var suites, session, challenge []byte
	if !s.ReadUint16(&h.LegacyVersion) || !s.ReadUint16(&suiteBytes) || !s.ReadUint16(&sessionBytes) || !s.ReadUint16(&challengeBytes) ||
		!s.ReadBytes(&suites, int(suiteBytes)) || !s.ReadBytes(&session, int(sessionBytes)) || !s.ReadBytes(&challenge, int(challengeBytes)) || !s.Empty() {
		return nil, errMalformed(message, "the lengths of its parts contradict each other")
	}
	if len(suites)%3 != 0 || len(challenge) < 16 || len(challenge) > 32 || len(session) > 32 {
		return nil, errMalformed(message, "a part has a length that isn't allowed")
	}
	copy(h.Random[32-len(challenge):], challenge)
	h.SessionID = session
	for ; len(suites) > 0; suites = suites[3:] {
		if suites[0] == 0 {
			h.Suites = append(h.Suites, binary.BigEndian.Uint16(suites[1:]))
		}
	}
	return h, nil
}
