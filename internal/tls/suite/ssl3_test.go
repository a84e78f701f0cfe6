package suite

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"hash"
	"io"
	"strings"
	"testing"
)

// digest hashes texts, one after the other.
func digest(h hash.Hash, texts ...string) string {
	for _, t := range texts {
		io.WriteString(h, t)
	}
	return string(h.Sum(nil))
}

func md5Of(texts ...string) string  { return digest(md5.New(), texts...) }
func sha1Of(texts ...string) string { return digest(sha1.New(), texts...) }

// Secrets of a session in SSL 3.0.
var (
	ssl3Premaster = "\x03\x00" + strings.Repeat("p", 46)
	ssl3Randoms   = [2]string{strings.Repeat("c", 32), strings.Repeat("s", 32)}
)

// ssl3Master and ssl3Block are written down from RFC 6101 §6.1 and §6.2.2.
func ssl3Master() string {
	p, c, s := ssl3Premaster, ssl3Randoms[0], ssl3Randoms[1]
	return md5Of(p, sha1Of("A", p, c, s)) + md5Of(p, sha1Of("BB", p, c, s)) + md5Of(p, sha1Of("CCC", p, c, s))
}

func ssl3Block() (b string) {
	m, c, s := ssl3Master(), ssl3Randoms[0], ssl3Randoms[1]
	for _, letters := range []string{"A", "BB", "CCC", "DDDD", "EEEEE", "FFFFFF", "GGGGGGG", "HHHHHHHH", "IIIIIIIII", "JJJJJJJJJJ"} {
		b += md5Of(m, sha1Of(letters, m, s, c))
	}
	return b
}

// ssl3MAC is written down from RFC 6101 §5.2.3.1, for record number seq below 256.
func ssl3MAC(of func(...string) string, pad int, key string, seq, typ byte, content string) string {
	head := "\x00\x00\x00\x00\x00\x00\x00" + string([]byte{seq, typ, byte(len(content) >> 8), byte(len(content))})
	return of(key, strings.Repeat("\x5c", pad), of(key, strings.Repeat("\x36", pad), head, content))
}

// TestSSL3 reads a conversation in SSL 3.0, with each kind of suite that it has. Nobody speaks it any more, so that both
// sides are played here.
func TestSSL3(t *testing.T) {
	for _, c := range []struct {
		id       uint16
		hash     func(...string) string
		pad, key int
		block    func(key []byte) (cipher.Block, error)
		rc4      bool
	}{
		{0x0035, sha1Of, 40, 32, aes.NewCipher, false},          // AES_256_CBC_SHA
		{0x002F, sha1Of, 40, 16, aes.NewCipher, false},          // AES_128_CBC_SHA
		{0x000A, sha1Of, 40, 24, des.NewTripleDESCipher, false}, // 3DES_EDE_CBC_SHA
		{0x0009, sha1Of, 40, 8, des.NewCipher, false},           // DES_CBC_SHA
		{0x0005, sha1Of, 40, 16, nil, true},                     // RC4_128_SHA
		{0x0004, md5Of, 48, 16, nil, true},                      // RC4_128_MD5
		{0x0001, md5Of, 48, 0, nil, false},                      // NULL_MD5
		{0x0002, sha1Of, 40, 0, nil, false},                     // NULL_SHA
	} {
		s := Lookup(c.id)
		t.Run(s.Name, func(t *testing.T) {
			if got := s.Master(versionSSL3, []byte(ssl3Premaster), []byte(ssl3Randoms[0]), []byte(ssl3Randoms[1])); string(got) != ssl3Master() {
				t.Fatalf("master secret %x, want %x", got, ssl3Master())
			}
			size := len(c.hash())
			block := ssl3Block()
			part := func(n int) (both [2]string) {
				both[0], both[1], block = block[:n], block[n:2*n], block[2*n:]
				return both
			}
			macKeys, keys := part(size), part(c.key)
			// Encrypt-then-MAC isn't for SSL 3.0.
			client, server, err := s.TLS12(versionSSL3, []byte(ssl3Master()), []byte(ssl3Randoms[0]), []byte(ssl3Randoms[1]), true)
			if err != nil {
				t.Fatal(err)
			}
			var ivs [2]string
			if c.block != nil {
				b, err := c.block([]byte(keys[0]))
				if err != nil {
					t.Fatal(err)
				}
				ivs = part(b.BlockSize())
			}
			for side, o := range []Opener{client, server} {
				encrypt, blockSize := func([]byte) {}, 0
				switch {
				case c.rc4:
					stream, err := rc4.NewCipher([]byte(keys[side]))
					if err != nil {
						t.Fatal(err)
					}
					encrypt = func(b []byte) { stream.XORKeyStream(b, b) }
				case c.block != nil:
					b, err := c.block([]byte(keys[side]))
					if err != nil {
						t.Fatal(err)
					}
					mode := cipher.NewCBCEncrypter(b, []byte(ivs[side]))
					encrypt, blockSize = func(b []byte) { mode.CryptBlocks(b, b) }, b.BlockSize()
				}
				seal := func(seq, typ byte, content string, filler byte) []byte {
					b := []byte(content + ssl3MAC(c.hash, c.pad, macKeys[side], seq, typ, content))
					if blockSize > 0 {
						padding := blockSize - 1 - len(b)%blockSize
						b = append(b, bytes.Repeat([]byte{filler}, padding)...)
						b = append(b, byte(padding))
					}
					encrypt(b)
					return b
				}
				for seq, content := range []string{strings.Repeat("f", 36), "", "x", strings.Repeat("longer ", 700), "the end"} {
					fragment := seal(byte(seq), typeData, content, byte(0xa0+seq))
					for what, altered := range map[string]struct {
						seq      uint64
						typ      byte
						fragment []byte
					}{
						"another number":     {uint64(seq + 1), typeData, fragment},
						"another type":       {uint64(seq), typeAlert, fragment},
						"another first byte": {uint64(seq), typeData, append([]byte{fragment[0] ^ 1}, fragment[1:]...)},
					} {
						if plain, _, err := o.Open([]byte("before"), altered.seq, altered.typ, versionSSL3, altered.fragment); err != ErrAltered || string(plain) != "before" {
							t.Errorf("side %d, record %d, %s: %q, error %v", side, seq, what, plain, err)
						}
					}
					// The version is no part of what is authenticated.
					plain, typ, err := o.Open([]byte("before"), uint64(seq), typeData, uint16(versionSSL3+seq), fragment)
					if err != nil || typ != typeData || string(plain) != "before"+content {
						t.Fatalf("side %d, record %d: %.20q, type %d, error %v", side, seq, plain, typ, err)
					}
				}
			}
		})
	}
}

// TestSSL3Padding says that there is more padding than a block, which TLS allows and SSL 3.0 doesn't.
func TestSSL3Padding(t *testing.T) {
	key, iv := []byte("sixteen byte key"), []byte("sixteen bytes IV")
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		padding int
		want    error
	}{{11, nil}, {11 + 16, ErrAltered}} {
		b := []byte("x" + ssl3MAC(sha1Of, 40, "the MAC's key", 0, typeData, "x"))
		b = append(b, bytes.Repeat([]byte{byte(c.padding - 1)}, c.padding)...)
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(b, b)
		o := newCBC(block, versionSSL3, newMAC(versionSSL3, Lookup(0x002F).MAC, []byte("the MAC's key")), iv, false)
		if plain, _, err := o.Open(nil, 0, typeData, versionSSL3, b); err != c.want || err == nil && string(plain) != "x" {
			t.Errorf("padding of %d bytes: %q, error %v, want %v", c.padding, plain, err, c.want)
		}
	}
}
