package suite

import (
	"crypto/cipher"
	"testing"
)

// BenchmarkOpen opens records of 16 KiB with AES-128-GCM, beside the cipher by itself.
func BenchmarkOpen(b *testing.B) {
	const size = 16 << 10
	dst := make([]byte, 0, size+64)
	run := func(name string, open func(fragment []byte) error, fragment []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if err := open(fragment); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	alone := func(a cipher.AEAD) {
		var nonce [nonceSize]byte
		var head [13]byte
		run("AEAD", func(f []byte) error {
			_, err := a.Open(dst, nonce[:], f, head[:])
			return err
		}, a.Seal(nil, nonce[:], make([]byte, size), head[:]))
	}
	open := func(o Opener) func([]byte) error {
		return func(f []byte) error {
			_, _, err := o.Open(dst, 1, typeData, version12, f)
			return err
		}
	}
	o13 := openers(b, 0x1301, version12, false).(*aead13)
	alone(o13.aead)

	plain := append(make([]byte, size), typeData)
	var nonce [nonceSize]byte
	numberNonce(&nonce, &o13.iv, 1)
	n := len(plain) + o13.aead.Overhead()
	run("TLS13", open(o13), o13.aead.Seal(nil, nonce[:], plain, []byte{typeData, 3, 3, byte(n >> 8), byte(n)}))

	o12 := openers(b, 0xC02F, version12, false).(*aead12)
	var head [13]byte
	bindHead(&head, 1, typeData, version12, size)
	explicit := make([]byte, 8)
	run("TLS12", open(o12), o12.aead.Seal(explicit, o12.iv[:], plain[:size], head[:]))
}
