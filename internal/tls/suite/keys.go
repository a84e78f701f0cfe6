package suite

import (
	"bytes"
	"crypto"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	_ "crypto/sha256" // makes crypto.SHA256 available
	_ "crypto/sha512" // makes crypto.SHA384 and crypto.SHA512 available
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
)

// The versions that TLS12 takes, from the first to the last, and that whose keys and MACs are made differently from those before.
const (
	versionSSL3  = 0x0300
	versionTLS10 = 0x0301
	versionTLS12 = 0x0303
)

const (
	// masterSize is the length of a master secret (RFC 5246 §8.1), randomSize that of a hello's random (§7.4.1.2).
	masterSize = 48
	randomSize = 32
	// maxIV is the longest IV that is cut from a key block.
	maxIV = 16
)

// TLS12 returns the openers for what client and server send with SSL 3.0 and TLS 1.0 to 1.2, from the master secret and the
// randoms of the two hellos (RFC 5246 §6.3, RFC 6101 §6.2.2). encryptThenMAC says whether the two agreed on it (RFC 7366); it is
// for CBC in TLS, and changes nothing otherwise.
func (s *Suite) TLS12(version uint16, master, clientRandom, serverRandom []byte, encryptThenMAC bool) (client, server Opener, err error) {
	c := &ciphers[s.Cipher]
	switch {
	case !s.Supported():
		return nil, nil, fmt.Errorf("suite: %s isn't supported: its records can't be decrypted", s.Name)
	case version < versionSSL3 || version > versionTLS12 || s.KeyExchange == tls13 || c.aead != nil && version < versionTLS12,
		version == versionSSL3 && s.MAC != crypto.MD5 && s.MAC != crypto.SHA1:
		return nil, nil, fmt.Errorf("suite: %s isn't for version 0x%04X", s.Name, version)
	case len(master) != masterSize:
		return nil, nil, fmt.Errorf("suite: the master secret has %d bytes instead of %d", len(master), masterSize)
	case len(clientRandom) != randomSize || len(serverRandom) != randomSize:
		return nil, nil, fmt.Errorf("suite: the randoms have %d and %d bytes instead of %d", len(clientRandom), len(serverRandom), randomSize)
	}
	mac := 0
	if c.aead == nil {
		mac = s.MAC.Size()
	}
	// MAC keys, keys and IVs are cut from one block, each the client's first. What is left over doesn't change what was cut.
	randoms := slices.Concat(serverRandom, clientRandom)
	var block []byte
	if n := 2 * (mac + c.key + maxIV); version == versionSSL3 {
		block = expandSSL3(n, master, randoms)
	} else {
		block = s.prf(version, n, master, "key expansion", randoms)
	}
	macs, keys, ivs := block[:2*mac], block[2*mac:2*(mac+c.key)], block[2*(mac+c.key):]
	opener := func(side int) (Opener, error) {
		of := func(b []byte, n int) []byte { return b[side*n : side*n+n] }
		key := of(keys, c.key)
		switch {
		case c.aead != nil:
			return newAEAD12(c, key, of(ivs, nonceSize-c.explicit))
		case c.block != nil:
			b, err := c.block(key)
			if err != nil {
				return nil, err
			}
			var iv []byte
			if version <= versionTLS10 {
				iv = of(ivs, b.BlockSize())
			}
			return newCBC(b, version, newMAC(version, s.MAC, of(macs, mac)), iv, encryptThenMAC), nil
		}
		return newStream(key, newMAC(version, s.MAC, of(macs, mac)))
	}
	if client, err = opener(0); err == nil {
		server, err = opener(1)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("suite: keys of %s: %w", s.Name, err)
	}
	return client, server, nil
}

// TLS13 returns the opener for what is protected with a traffic secret (RFC 8446 §7.3).
func (s *Suite) TLS13(secret []byte) (Opener, error) {
	c := &ciphers[s.Cipher]
	switch {
	case !s.Supported():
		return nil, fmt.Errorf("suite: %s isn't supported: its records can't be decrypted", s.Name)
	case s.KeyExchange != tls13:
		return nil, fmt.Errorf("suite: %s isn't for TLS 1.3", s.Name)
	case len(secret) != s.PRF.Size():
		return nil, fmt.Errorf("suite: the traffic secret has %d bytes; those of %s have %d", len(secret), s.Name, s.PRF.Size())
	}
	key, err := s.expand(secret, "key", c.key)
	if err != nil {
		return nil, fmt.Errorf("suite: keys of %s: %w", s.Name, err)
	}
	iv, err := s.expand(secret, "iv", nonceSize)
	if err != nil {
		return nil, fmt.Errorf("suite: keys of %s: %w", s.Name, err)
	}
	return newAEAD13(c, key, iv)
}

// Next returns the traffic secret that follows another after a KeyUpdate (RFC 8446 §7.2), nil if the suite's hash isn't known.
func (s *Suite) Next(secret []byte) []byte {
	if s.PRF == 0 {
		return nil
	}
	next, err := s.expand(secret, "traffic upd", s.PRF.Size())
	if err != nil {
		return nil
	}
	return next
}

// expand is HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
func (s *Suite) expand(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(s.PRF.New, secret, string(info), n)
}

// Master derives the master secret from the premaster secret (RFC 5246 §8.1; RFC 2246 §8.1 before TLS 1.2, RFC 6101 §6.1 in
// SSL 3.0). It is nil if the suite's hash isn't known.
func (s *Suite) Master(version uint16, premaster, clientRandom, serverRandom []byte) []byte {
	randoms := slices.Concat(clientRandom, serverRandom)
	if version == versionSSL3 {
		return expandSSL3(masterSize, premaster, randoms)
	}
	return s.prf(version, masterSize, premaster, "master secret", randoms)
}

// ExtendedMaster derives the master secret from the premaster secret and the hash of the handshake messages up to the
// ClientKeyExchange, which is Transcript's (RFC 7627 §4). It is nil if the suite's hash isn't known, and in SSL 3.0, which has
// no extensions to agree on it.
func (s *Suite) ExtendedMaster(version uint16, premaster, sessionHash []byte) []byte {
	if version == versionSSL3 {
		return nil
	}
	return s.prf(version, masterSize, premaster, "extended master secret", sessionHash)
}

// Transcript returns the hash that handshake messages go into: the suite's, or before TLS 1.2 both MD5 and SHA-1, one
// after the other. It is nil if the suite's hash isn't known.
func (s *Suite) Transcript(version uint16) hash.Hash {
	if version < versionTLS12 {
		return &md5SHA1{md5.New(), sha1.New()}
	}
	if s.PRF == 0 {
		return nil
	}
	return s.PRF.New()
}

// prf is the pseudorandom function that keys are derived with up to TLS 1.2 (RFC 5246 §5). Before TLS 1.2 it is that of
// RFC 2246 §5: the secret's halves, which share the middle byte of an odd length, go through MD5 and SHA-1.
func (s *Suite) prf(version uint16, n int, secret []byte, label string, seed []byte) []byte {
	out := make([]byte, n)
	seed = append([]byte(label), seed...)
	switch {
	case version < versionTLS12:
		half := (len(secret) + 1) / 2
		expandHMAC(out, crypto.MD5, secret[:half], seed)
		expandHMAC(out, crypto.SHA1, secret[len(secret)-half:], seed)
	case s.PRF == 0:
		return nil
	default:
		expandHMAC(out, s.PRF, secret, seed)
	}
	return out
}

// expandSSL3 makes n bytes, at most 26 times 16, from a secret and both randoms as SSL 3.0 does (RFC 6101 §6.1, §6.2.2):
//
//	MD5(secret | SHA-1("A" | secret | randoms)) | MD5(secret | SHA-1("BB" | secret | randoms)) | ...
func expandSSL3(n int, secret, randoms []byte) []byte {
	outer, inner := md5.New(), sha1.New()
	var out []byte
	for i := 0; len(out) < n; i++ {
		inner.Reset()
		inner.Write(bytes.Repeat([]byte{'A' + byte(i)}, i+1))
		inner.Write(secret)
		inner.Write(randoms)
		outer.Reset()
		outer.Write(secret)
		outer.Write(inner.Sum(nil))
		out = outer.Sum(out)
	}
	return out[:n]
}

// expandHMAC is P_hash (RFC 5246 §5), XORed into out.
func expandHMAC(out []byte, h crypto.Hash, secret, seed []byte) {
	mac := hmac.New(h.New, secret)
	sum := func(parts ...[]byte) []byte {
		mac.Reset()
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	for a := sum(seed); len(out) > 0; a = sum(a) {
		out = out[subtle.XORBytes(out, out, sum(a, seed)):]
	}
}

// md5SHA1 is the hash of handshake messages before TLS 1.2.
type md5SHA1 struct{ md5, sha1 hash.Hash }

func (h *md5SHA1) Write(p []byte) (int, error) {
	h.md5.Write(p)
	return h.sha1.Write(p)
}

func (h *md5SHA1) Sum(b []byte) []byte { return h.sha1.Sum(h.md5.Sum(b)) }

func (h *md5SHA1) Reset() {
	h.md5.Reset()
	h.sha1.Reset()
}

func (h *md5SHA1) Size() int      { return md5.Size + sha1.Size }
func (h *md5SHA1) BlockSize() int { return sha1.BlockSize }
