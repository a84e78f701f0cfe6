// Package keylog keeps the secrets of TLS sessions: from key logs (the SSLKEYLOGFILE format, RFC 9850, with NSS's older
// lines for RSA) and RSA private keys.
//
// # Theory of operation
//
// Secrets come while packets are read, from files that others write, and several workers look for them. If each saw a
// secret as soon as it is there, the same capture would give one thing with one worker and another with two. So what is
// added belongs to the next generation, and Publish begins that:
//
//	Add ---> pending, generation n+1
//	                |  Publish
//	                v
//	         Secrets(random, n+1) has it; Secrets(random, n) never will
//
// Whoever distributes packets publishes, and tells the workers the generation with the packets. A file that is whole is
// read before the first packet, and is generation 1 of every run.
//
// A Store holds at most Options.MaxSessions entries; the oldest go first.
package keylog

import (
	"bytes"
	"encoding/hex"
)

// MaxLine is the length of a line from which on it is malformed, in bytes. The longest that is of use has some 200; ECH
// configurations, which are passed over, may have a few thousand.
const MaxLine = 16 << 10

// kind is what a secret is.
type kind uint8

const (
	master kind = iota
	earlyTraffic
	clientHandshake
	serverHandshake
	clientTraffic
	serverTraffic
	sessionKinds // those above are looked up by the client random
)

const (
	premaster     = sessionKinds + iota // by the first bytes of the encrypted premaster secret
	sessionMaster                       // by the session id
	numKinds
)

// labels are the labels of the secrets of a session. There are others, which nothing needs that is decrypted.
var labels = [sessionKinds]string{
	master:          "CLIENT_RANDOM",
	earlyTraffic:    "CLIENT_EARLY_TRAFFIC_SECRET",
	clientHandshake: "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
	serverHandshake: "SERVER_HANDSHAKE_TRAFFIC_SECRET",
	clientTraffic:   "CLIENT_TRAFFIC_SECRET_0",
	serverTraffic:   "SERVER_TRAFFIC_SECRET_0",
}

// The sizes of what lines carry, in bytes.
const (
	randomSize    = 32
	masterSize    = 48 // also of the premaster secret of RSA (RFC 5246 §7.4.7.1, §8.1)
	encryptedSize = 8  // of the encrypted premaster secret, what a line has of it
	maxSessionID  = 32
	maxSecret     = 64
)

// sized reports whether a secret of a kind may have n bytes: those of TLS 1.3 are as long as its hashes.
func (k kind) sized(n int) bool {
	switch k {
	case master, premaster, sessionMaster:
		return n == masterSize
	}
	return n == 32 || n == 48
}

// key is what a secret is looked up by.
type key struct {
	of   kind // master for all of a session, premaster or sessionMaster
	size uint8
	text [32]byte
}

// line is what a line of a key log says.
type line struct {
	key    key
	kind   kind
	size   int
	secret [maxSecret]byte
}

// verdict is what became of a line.
type verdict uint8

const (
	empty     verdict = iota // or a comment
	ignored                  // well-formed, and of no use
	known                    // said before
	useful                   // a secret
	malformed                // nothing that a key log has
)

// RSA has two old forms: RSA ENCRYPTED PREMASTER, and RSA Session-ID:ID Master-Key:MASTER.
const (
	labelRSA     = "RSA"
	prefixID     = "Session-ID:"
	prefixMaster = "Master-Key:"
)

// noSecret stands where HAProxy's log has no secret to write.
const noSecret = "-"

// parse reads a line without its end.
func (l *line) parse(text []byte) verdict {
	text = bytes.TrimSuffix(text, []byte{'\r'})
	if len(text) == 0 || text[0] == '#' {
		return empty
	}
	if len(text) > MaxLine {
		return malformed
	}
	label, rest, ok := bytes.Cut(text, []byte{' '})
	if !ok || !isLabel(label) {
		return malformed
	}
	by, secret, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return malformed
	}
	if string(secret) == noSecret {
		return ignored
	}
	if string(label) == labelRSA {
		return l.parseRSA(by, secret)
	}
	for k, name := range labels {
		if string(label) == name {
			return l.read(kind(k), key{of: master}, randomSize, randomSize, by, secret)
		}
	}
	// RFC 9850 §2: lines with labels that aren't known are to be passed over.
	if !isHex(by) || !isHex(secret) {
		return malformed
	}
	return ignored
}

func (l *line) parseRSA(by, secret []byte) verdict {
	id, old := bytes.CutPrefix(by, []byte(prefixID))
	if !old {
		return l.read(premaster, key{of: premaster}, encryptedSize, encryptedSize, by, secret)
	}
	if secret, old = bytes.CutPrefix(secret, []byte(prefixMaster)); !old {
		return malformed
	}
	return l.read(sessionMaster, key{of: sessionMaster}, 1, maxSessionID, id, secret)
}

// read reads the two values of a line. The first has from low to high bytes.
func (l *line) read(k kind, by key, low, high int, text, secret []byte) verdict {
	if n := hex.DecodedLen(len(text)); n < low || n > high || !k.sized(hex.DecodedLen(len(secret))) {
		return malformed
	}
	n, err := hex.Decode(by.text[:], text)
	if err != nil {
		return malformed
	}
	by.size = uint8(n)
	l.key, l.kind = by, k
	if l.size, err = hex.Decode(l.secret[:], secret); err != nil {
		return malformed
	}
	return useful
}

// isHex reports whether a text is bytes in hexadecimal.
func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return len(b) > 0 && len(b)%2 == 0
}

// isLabel reports whether a text may be a label: capitals, digits, underscores.
func isLabel(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return len(b) > 0
}
