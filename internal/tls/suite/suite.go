// Package suite knows the cipher suites of SSL 3.0 and TLS 1.0 to 1.3: their names, the keys that they derive, and how the
// records that they protect are opened. It reads and never writes: there is nothing here to encrypt with.
//
// A suite is looked up by its number (Lookup). Its keys come from the master secret (Suite.TLS12) or from a traffic
// secret (Suite.TLS13), and are given out as Openers, one for each side that sends. Which record is the next, when
// keys change and where secrets come from is the business of the record layer, not of this package.
//
// MAC and padding are compared as they come, without care for the time that this takes: constant time is for those
// who answer the sender of a forged record, who could then learn from how long it took. A reader on the wire answers nobody.
package suite

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
)

// Suite is a cipher suite. Those that Lookup returns are shared, and must not be changed.
type Suite struct {
	// ID is its number, Name its name in IANA's registry.
	ID   uint16
	Name string
	// KeyExchange is the part of the name before _WITH_, such as RSA, ECDHE_ECDSA or PSK; TLS13 for suites of TLS 1.3,
	// which leave the key exchange open; empty for numbers that are signals and no suites (SCSV).
	KeyExchange string
	Cipher      Cipher
	// MAC is the hash of the MAC of records, 0 if the cipher authenticates by itself (AEAD), or the hash isn't known here.
	MAC crypto.Hash
	// PRF is the hash that keys are derived with in TLS 1.2 and 1.3; before there was but one way. 0 if it isn't known here.
	PRF crypto.Hash
}

// tls13 is the KeyExchange of the suites of TLS 1.3.
const tls13 = "TLS13"

// Lookup returns the suite of a number, nil if it isn't in IANA's registry.
func Lookup(id uint16) *Suite {
	i, ok := slices.BinarySearchFunc(suites[:], id, func(s Suite, id uint16) int { return int(s.ID) - int(id) })
	if !ok {
		return nil
	}
	return &suites[i]
}

// Name returns the name of a suite in IANA's registry, or its number as 0x1234 if there is none.
func Name(id uint16) string {
	if s := Lookup(id); s != nil {
		return s.Name
	}
	return fmt.Sprintf("0x%04X", id)
}

// Supported reports whether records of the suite can be opened.
func (s *Suite) Supported() bool {
	c := &ciphers[s.Cipher]
	return c.aead != nil || c.block != nil || c.stream
}

// RSA reports whether the client sends the premaster secret encrypted to the key of the server's certificate alone,
// so that this private key opens the session.
func (s *Suite) RSA() bool { return s.KeyExchange == "RSA" }

// Opener opens the records that one side protected with one set of keys. It isn't safe for concurrent use.
type Opener interface {
	// Open decrypts and verifies the fragment of a record, which is what follows its 5 bytes of header. seq is the record's
	// number since the keys came into use; typ and version are those of the header. The plaintext is appended to dst.
	//
	// dst doesn't overlap fragment, or is fragment[:0]: then the plaintext is a part of fragment, though not always its
	// beginning, and fragment is worth nothing after a failure. With room in dst nothing is allocated, except for CCM.
	//
	// contentType is typ, except in TLS 1.3, which hides the true one in the plaintext. The error is one of ErrLength,
	// ErrAltered and ErrMissing. A failed Open changes no state, and returns dst as it was.
	Open(dst []byte, seq uint64, typ byte, version uint16, fragment []byte) (plain []byte, contentType byte, err error)
	// Pass tells of a record that wasn't opened, in its place among the others. The ciphers that go on from the record
	// before need it: CBC up to TLS 1.0 goes on after its fragment, and loses the record that follows one that isn't known (nil);
	// RC4 goes on after its fragment, and is at its end with one that isn't known. The others ignore it. The fragment is as
	// it was on the wire, not what is left of it after a failure in place.
	Pass(fragment []byte)
	// Plain returns how many bytes of plaintext a fragment of n bytes holds: exactly, or, as padding can't be seen from
	// outside (CBC, TLS 1.3), at most.
	Plain(n int) (size int, exact bool)
}

var (
	// ErrLength: the fragment has a length that the suite can't give.
	ErrLength = errors.New("suite: a record of this length isn't one of this cipher suite")
	// ErrAltered: the record isn't what was protected with these keys under this number: bytes of it differ, the keys are others, or the number.
	ErrAltered = errors.New("suite: the record doesn't verify: its bytes, its number or the keys are others")
	// ErrMissing: the record can't be opened because of one before it that is missing. With RC4 none can be from there on.
	ErrMissing = errors.New("suite: the record can't be decrypted without one before it that is missing")
)

// maxFragment is the longest fragment that a header can tell of. Records should be shorter (RFC 8446 §5.2, RFC 5246
// §6.2.3); whether they are is for the record layer to say.
const maxFragment = 1<<16 - 1

// target is where the plaintext of body, which is a part of fragment, goes. The ciphers decrypt in place or elsewhere,
// but not to where an explicit nonce in front of the body would shift it.
func target(dst, fragment, body []byte) []byte {
	if len(dst) == 0 && cap(dst) > 0 && len(fragment) > 0 && &dst[:1][0] == &fragment[0] {
		return body[:0]
	}
	return dst
}
