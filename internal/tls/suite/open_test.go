package suite

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"errors"
	"fmt"
	"testing"
)

const (
	version12 = 0x0303
	chained   = 0x0301 // TLS 1.0, where CBC goes on from the record before
)

// openers gives the opener of the client for a suite, with secrets made up.
func openers(t testing.TB, id, version uint16, etm bool) Opener {
	t.Helper()
	s := Lookup(id)
	if s.KeyExchange == tls13 {
		o, err := s.TLS13(bytes.Repeat([]byte{7}, s.PRF.Size()))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	o, _, err := s.TLS12(version, bytes.Repeat([]byte{7}, 48), bytes.Repeat([]byte{8}, 32), bytes.Repeat([]byte{9}, 32), etm)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// tag is the MAC of content as record number 5, application data of TLS 1.2.
func tag(h crypto.Hash, key, content []byte) []byte {
	m := hmac.New(h.New, key)
	m.Write([]byte{0, 0, 0, 0, 0, 0, 0, 5, typeData, 3, 3, byte(len(content) >> 8), byte(len(content))})
	m.Write(content)
	return m.Sum(nil)
}

// TestPadding protects content with CBC and each padding, right and wrong.
func TestPadding(t *testing.T) {
	macKey, iv := []byte("a key for the MAC"), []byte("sixteen bytes IV")
	block, err := aes.NewCipher([]byte("sixteen byte key"))
	if err != nil {
		t.Fatal(err)
	}
	protect := func(etm bool, content, padding []byte) []byte {
		sealed := bytes.Clone(content)
		if !etm {
			sealed = append(sealed, tag(crypto.SHA256, macKey, content)...)
		}
		sealed = append(sealed, padding...)
		cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, sealed)
		sealed = append(bytes.Clone(iv), sealed...)
		if etm {
			sealed = append(sealed, tag(crypto.SHA256, macKey, sealed)...)
		}
		return sealed
	}
	for _, etm := range []bool{false, true} {
		o := newCBC(block, version12, newMAC(version12, crypto.SHA256, macKey), nil, etm)
		for n := 1; n <= 256; n++ {
			// The content fills up the last block, and has, sometimes, no bytes at all.
			content := bytes.Repeat([]byte("c"), (256-n)%16)
			padding := bytes.Repeat([]byte{byte(n - 1)}, n)
			for _, inPlace := range []bool{false, true} {
				fragment := protect(etm, content, padding)
				dst := []byte(nil)
				if inPlace {
					dst = fragment[:0]
				}
				if plain, _, err := o.Open(dst, 5, typeData, version12, fragment); err != nil || !bytes.Equal(plain, content) {
					t.Fatalf("padding of %d, encrypt-then-MAC %t: %q, error %v", n, etm, plain, err)
				}
			}
			for i := range padding[:n-1] {
				padding[i] ^= 4
				if _, _, err := o.Open(nil, 5, typeData, version12, protect(etm, content, padding)); err != ErrAltered {
					t.Fatalf("padding of %d, byte %d is wrong: error %v", n, i, err)
				}
				padding[i] ^= 4
			}
		}
		altered := protect(etm, []byte("content"), bytes.Repeat([]byte{8}, 9))
		altered[len(altered)-1] ^= 1
		if _, _, err := o.Open(nil, 5, typeData, version12, altered); err != ErrAltered {
			t.Errorf("the last byte was altered, encrypt-then-MAC %t: %v", etm, err)
		}
		// Padding that says that it is longer than all there is, or leaves no room for the MAC.
		for _, n := range []int{16, 32, 48} {
			if _, _, err := o.Open(nil, 5, typeData, version12, protect(etm, nil, bytes.Repeat([]byte{byte(n)}, n))); err != ErrAltered {
				t.Errorf("%d bytes of padding that say %d: error %v", n, n+1, err)
			}
		}
	}
}

// TestNoRoom opens what decrypts to padding alone, where there should be a MAC.
func TestNoRoom(t *testing.T) {
	block, err := aes.NewCipher([]byte("sixteen byte key"))
	if err != nil {
		t.Fatal(err)
	}
	o := newCBC(block, version12, newMAC(version12, crypto.SHA256, nil), nil, false)
	for _, n := range []int{48, 64, 256} {
		fragment := make([]byte, 16+n)
		copy(fragment[16:], bytes.Repeat([]byte{byte(n - 1)}, n))
		cipher.NewCBCEncrypter(block, fragment[:16]).CryptBlocks(fragment[16:], fragment[16:])
		if _, _, err := o.Open(nil, 5, typeData, version12, fragment); err != ErrAltered {
			t.Errorf("%d bytes of padding: %v", n, err)
		}
	}
}

// TestNoType opens a record of TLS 1.3 that holds nothing but padding.
func TestNoType(t *testing.T) {
	o := openers(t, 0x1301, 0, false).(*aead13)
	for n := range 3 {
		head := []byte{typeData, 3, 3, 0, byte(n + 16)}
		fragment := o.aead.Seal(nil, o.iv[:], make([]byte, n), head)
		want := ErrAltered
		if n == 0 {
			want = ErrLength
		}
		if plain, _, err := o.Open([]byte("before"), 0, typeData, version12, fragment); err != want || string(plain) != "before" {
			t.Errorf("%d zeros: %q, error %v, want %v", n, plain, err, want)
		}
	}
}

// TestMissing loses records of ciphers that go on from the record before.
func TestMissing(t *testing.T) {
	certs := selfSigned(t)
	for _, c := range []struct {
		id    uint16
		heals bool
	}{
		{0xC013, true},  // AES_128_CBC
		{0xC012, true},  // 3DES_EDE_CBC
		{0xC011, false}, // RC4_128
	} {
		s, _ := goSession(t, certs, c.id, chained)
		var protected []rec
		for i, r := range s.recs[0] {
			if r.typ == typeCCS {
				protected = s.recs[0][i+1:]
			}
		}
		open := func(o Opener, i int) error {
			_, _, err := o.Open(nil, uint64(i), protected[i].typ, protected[i].version, protected[i].fragment)
			return err
		}
		client := func() Opener {
			o, _, err := s.suite.TLS12(chained, s.keys["CLIENT_RANDOM"], s.randoms[0], s.randoms[1], s.etm)
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		t.Run(s.suite.Name+"/passed", func(t *testing.T) {
			// A record that was altered on the way: its bytes are there, so that the others can be opened.
			o := client()
			for i := range protected {
				if i == 2 {
					altered := bytes.Clone(protected[i].fragment)
					altered[0] ^= 1
					if _, _, err := o.Open(nil, 2, typeData, chained, altered); err != ErrAltered {
						t.Fatalf("altered: %v", err)
					}
					o.Pass(altered)
				} else if err := open(o, i); err != nil {
					t.Fatalf("record %d: %v", i, err)
				}
			}
		})
		t.Run(s.suite.Name+"/lost", func(t *testing.T) {
			o := client()
			o.Pass(protected[0].fragment)
			if err := open(o, 1); err != nil {
				t.Fatal(err)
			}
			o.Pass(nil) // 2
			for range 2 {
				if err := open(o, 3); err != ErrMissing {
					t.Fatalf("after the lost record: %v", err)
				}
			}
			o.Pass(protected[3].fragment)
			want := ErrMissing
			if c.heals {
				want = nil
			}
			for i := 4; i < len(protected); i++ {
				if err := open(o, i); !errors.Is(err, want) {
					t.Fatalf("record %d: %v, want %v", i, err, want)
				}
			}
		})
	}
}

// TestPassETM hands on the IV of TLS 1.0 past a record with its MAC at the end.
func TestPassETM(t *testing.T) {
	block, err := aes.NewCipher([]byte("sixteen byte key"))
	if err != nil {
		t.Fatal(err)
	}
	iv := []byte("sixteen bytes IV")
	o := newCBC(block, chained, newMAC(chained, crypto.SHA1, nil), iv, true)
	cut := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
	o.Pass(append(append(cut(16), iv...), cut(20)...))
	if !o.known || !bytes.Equal(o.iv[:], iv) {
		t.Errorf("IV %q, known: %t", o.iv, o.known)
	}
	for _, n := range []int{0, 19, 35} {
		if o.Pass(cut(n)); o.known {
			t.Errorf("the IV is known from %d bytes", n)
		}
	}
}

// kinds are suites with each way of protecting records, with their versions.
var kinds = []struct {
	id, version uint16
	etm         bool
}{
	{0x1301, version12, false}, {0x1303, version12, false}, {0x1304, version12, false}, {0x1305, version12, false},
	{0xC02F, version12, false}, {0xCCA8, version12, false}, {0xC0AC, version12, false}, {0xC0AE, version12, false},
	{0xC013, version12, false}, {0xC013, version12, true}, {0xC013, chained, false}, {0xC013, chained, true},
	{0xC028, version12, false}, {0xC012, chained, true}, {0x0009, version12, false},
	{0xC011, version12, false}, {0xC010, version12, false}, {0x0001, chained, false},
	{0x0035, versionSSL3, false}, {0x0004, versionSSL3, false},
}

// TestShort opens fragments of all small lengths, and such as no header can tell of.
func TestShort(t *testing.T) {
	for _, k := range kinds {
		o := openers(t, k.id, k.version, k.etm)
		for _, n := range []int{0, 1, 15, 16, 17, 31, 32, 48, 64, 100, maxFragment, maxFragment + 1, maxFragment + 33} {
			fragment := make([]byte, n)
			plain, typ, err := o.Open([]byte("before"), 0, 99, k.version, fragment)
			if err == nil || string(plain) != "before" || typ != 99 {
				t.Errorf("%s: %d zeros: %q, type %d, error %v", Name(k.id), n, plain, typ, err)
			}
			if n > maxFragment && err != ErrLength {
				t.Errorf("%s: %d bytes: %v", Name(k.id), n, err)
			}
			if size, _ := o.Plain(n); size < 0 || size > n {
				t.Errorf("%s: %d bytes hold %d", Name(k.id), n, size)
			}
		}
	}
}

// TestAllocation opens records of each kind into a buffer that has room, which takes no memory but with CCM.
func TestAllocation(t *testing.T) {
	for _, k := range kinds {
		if c := Lookup(k.id).Cipher; c == AES128CCM || c == AES128CCM8 {
			continue
		}
		t.Run(fmt.Sprintf("%s/%04x/%t", Name(k.id), k.version, k.etm), func(t *testing.T) {
			o, fragment := openers(t, k.id, k.version, k.etm), make([]byte, 16*100)
			dst := make([]byte, 0, 2000)
			var err error
			if n := testing.AllocsPerRun(100, func() { _, _, err = o.Open(dst, 3, typeData, k.version, fragment) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
			if err == nil {
				t.Error("zeros were opened")
			}
		})
	}
}

// FuzzOpen: whatever comes, there is either a plaintext that fits or an error and dst as it was, and an Opener that goes on.
func FuzzOpen(f *testing.F) {
	f.Add(uint8(0), uint64(0), uint8(23), []byte("a fragment that is no record of anybody"), false)
	f.Add(uint8(9), uint64(1), uint8(22), make([]byte, 64), true)   // CBC, encrypt then MAC
	f.Add(uint8(10), uint64(1)<<63, uint8(0), []byte(nil), false)   // TLS 1.0
	f.Add(uint8(15), uint64(2), uint8(21), make([]byte, 300), true) // RC4
	f.Fuzz(func(t *testing.T, kind uint8, seq uint64, typ uint8, fragment []byte, inPlace bool) {
		k := kinds[int(kind)%len(kinds)]
		o := openers(t, k.id, k.version, k.etm)
		for range 2 {
			sent, dst := bytes.Clone(fragment), []byte("before")
			if inPlace {
				dst = sent[:0]
			}
			held := len(dst)
			plain, _, err := o.Open(dst, seq, typ, k.version, sent)
			n, exact := o.Plain(len(fragment))
			if n < 0 || n > len(fragment) {
				t.Errorf("%d bytes hold %d", len(fragment), n)
			}
			if got := len(plain) - held; err != nil && got != 0 || err == nil && (got > n || exact && got != n) {
				t.Errorf("%d bytes of plaintext, at most %d, error %v", got, n, err)
			}
			if !inPlace && (string(plain[:held]) != "before" || !bytes.Equal(sent, fragment)) {
				t.Errorf("dst holds %q, the fragment is %x", plain[:held], sent)
			}
			if err != nil {
				o.Pass(fragment)
			}
		}
		o.Pass(nil)
		if plain, _, err := o.Open(nil, seq, typ, k.version, fragment); err != nil && len(plain) > 0 {
			t.Errorf("%d bytes with error %v", len(plain), err)
		}
	})
}
