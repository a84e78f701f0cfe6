package suite

import (
	"crypto/cipher"
	"encoding/binary"
)

// aead12 opens the records of AEADs in TLS 1.2 (RFC 5246 §6.2.3.3; RFC 5288, 6655, 7905).
//
//	fragment:   explicit nonce (8, or none) | ciphertext | tag
//	nonce:      derived (4) | explicit nonce (8), or derived (12) XOR number
//	also bound: number (8) | type | version | length of the plaintext
type aead12 struct {
	aead     cipher.AEAD
	iv       [nonceSize]byte // what was derived, and zeros for the explicit nonce
	nonce    [nonceSize]byte
	explicit int
	head     [13]byte
}

func newAEAD12(c *spec, key, iv []byte) (*aead12, error) {
	a, err := c.aead(key)
	if err != nil {
		return nil, err
	}
	o := &aead12{aead: a, explicit: c.explicit}
	copy(o.iv[:], iv)
	o.nonce = o.iv
	return o, nil
}

func (o *aead12) Open(dst []byte, seq uint64, typ byte, version uint16, fragment []byte) ([]byte, byte, error) {
	n := len(fragment) - o.explicit - o.aead.Overhead()
	if n < 0 || len(fragment) > maxFragment {
		return dst, typ, ErrLength
	}
	body := fragment[o.explicit:]
	if o.explicit > 0 {
		copy(o.nonce[nonceSize-o.explicit:], fragment)
	} else {
		numberNonce(&o.nonce, &o.iv, seq)
	}
	bindHead(&o.head, seq, typ, version, n)
	plain, err := o.aead.Open(target(dst, fragment, body), o.nonce[:], body, o.head[:])
	if err != nil {
		return dst, typ, ErrAltered
	}
	return plain, typ, nil
}

func (o *aead12) Pass([]byte) {}

func (o *aead12) Plain(n int) (int, bool) {
	return max(n-o.explicit-o.aead.Overhead(), 0), true
}

// aead13 opens the records of TLS 1.3 (RFC 8446 §5.2, §5.3).
//
//	fragment:   encrypted(content | type | zeros, as many as the sender likes) | tag
//	nonce:      derived (12) XOR number
//	also bound: type | version | length of the fragment, as in the header
type aead13 struct {
	aead      cipher.AEAD
	iv, nonce [nonceSize]byte
	head      [5]byte
}

func newAEAD13(c *spec, key, iv []byte) (*aead13, error) {
	a, err := c.aead(key)
	if err != nil {
		return nil, err
	}
	return &aead13{aead: a, iv: [nonceSize]byte(iv)}, nil
}

func (o *aead13) Open(dst []byte, seq uint64, typ byte, version uint16, fragment []byte) ([]byte, byte, error) {
	if len(fragment) <= o.aead.Overhead() || len(fragment) > maxFragment {
		return dst, typ, ErrLength
	}
	numberNonce(&o.nonce, &o.iv, seq)
	o.head[0] = typ
	binary.BigEndian.PutUint16(o.head[1:], version)
	binary.BigEndian.PutUint16(o.head[3:], uint16(len(fragment)))
	plain, err := o.aead.Open(dst, o.nonce[:], fragment, o.head[:])
	if err != nil {
		return dst, typ, ErrAltered
	}
	for i := len(plain) - 1; i >= len(dst); i-- {
		if plain[i] != 0 {
			return plain[:i], plain[i], nil
		}
	}
	// Nothing but zeros: whoever sent this broke the protocol (RFC 8446 §5.4).
	return dst, typ, ErrAltered
}

func (o *aead13) Pass([]byte) {}

func (o *aead13) Plain(n int) (int, bool) {
	return max(n-o.aead.Overhead()-1, 0), false
}

// numberNonce makes the nonce of a record of its number (RFC 8446 §5.3, RFC 7905 §2).
func numberNonce(nonce, iv *[nonceSize]byte, seq uint64) {
	*nonce = *iv
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(iv[4:])^seq)
}

// bindHead makes what up to TLS 1.2 is authenticated along with the n bytes of a record (RFC 5246 §6.2.3).
func bindHead(head *[13]byte, seq uint64, typ byte, version uint16, n int) {
	binary.BigEndian.PutUint64(head[:], seq)
	head[8] = typ
	binary.BigEndian.PutUint16(head[9:], version)
	binary.BigEndian.PutUint16(head[11:], uint16(n))
}
