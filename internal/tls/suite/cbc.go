package suite

import (
	"crypto/cipher"
	"slices"
)

// maxBlock is the length of the longest block of a cipher.
const maxBlock = 16

// cbc opens the records of block ciphers in CBC mode (RFC 5246 §6.2.3.2, RFC 2246 §6.2.3.2), whose padding is 1 to 256
// bytes, each with the number of the others:
//
//	MAC then encrypt:  IV | encrypted(content | MAC | padding)
//	encrypt then MAC:  IV | encrypted(content | padding) | MAC of all before it  (RFC 7366)
//
// In TLS 1.0 the fragment has no IV: it is the last block that was encrypted before, of whatever record. In SSL 3.0, besides,
// the padding is a block at most, and but for its last byte may be anything (RFC 6101 §5.2.3.2).
type cbc struct {
	mode   cipher.BlockMode
	mac    recordMAC
	before bool // encrypt then MAC
	chain  bool // TLS 1.0 and SSL 3.0
	loose  bool // SSL 3.0
	// iv is that of the next record, if chain and known.
	iv    [maxBlock]byte
	known bool
	skip  [maxBlock]byte
}

// newCBC takes the IV of the first record up to TLS 1.0, nil for later versions.
func newCBC(b cipher.Block, version uint16, mac recordMAC, iv []byte, encryptThenMAC bool) *cbc {
	ssl3 := version == versionSSL3
	o := &cbc{mac: mac, before: encryptThenMAC && !ssl3, chain: iv != nil, known: iv != nil, loose: ssl3}
	copy(o.iv[:], iv)
	o.mode = cipher.NewCBCDecrypter(b, o.iv[:b.BlockSize()])
	return o
}

func (o *cbc) Open(dst []byte, seq uint64, typ byte, version uint16, fragment []byte) ([]byte, byte, error) {
	size := o.mode.BlockSize()
	if len(fragment) > maxFragment {
		return dst, typ, ErrLength
	}
	sealed := fragment
	var tag []byte
	if o.before {
		if len(sealed) < o.mac.size {
			return dst, typ, ErrLength
		}
		sealed, tag = o.mac.split(sealed)
	}
	iv, body := o.iv[:size], sealed
	if !o.chain {
		if len(sealed) < size {
			return dst, typ, ErrLength
		}
		iv, body = sealed[:size], sealed[size:]
	}
	least := 1
	if !o.before {
		least += o.mac.size
	}
	switch {
	case len(body) < least || len(body)%size != 0:
		return dst, typ, ErrLength
	case o.chain && !o.known:
		return dst, typ, ErrMissing
	case o.before && !o.mac.verify(seq, typ, version, sealed, tag):
		return dst, typ, ErrAltered
	}
	var next [maxBlock]byte
	copy(next[:], body[len(body)-size:])

	out := target(dst, fragment, body)
	start := len(out)
	out = slices.Grow(out, len(body))[:start+len(body)]
	plain := out[start:]
	// Whatever the mode went through before, after the IV it stands as if it had been made with it.
	o.mode.CryptBlocks(o.skip[:size], iv)
	o.mode.CryptBlocks(plain, body)

	padding := int(plain[len(plain)-1]) + 1
	if padding > len(plain)-least+1 || o.loose && padding > size {
		return dst, typ, ErrAltered
	}
	n := len(plain) - padding
	for _, b := range plain[n:] {
		if o.loose {
			break
		}
		if int(b) != padding-1 {
			return dst, typ, ErrAltered
		}
	}
	if !o.before {
		content, tag := o.mac.split(plain[:n])
		if !o.mac.verify(seq, typ, version, content, tag) {
			return dst, typ, ErrAltered
		}
		n = len(content)
	}
	o.iv, o.known = next, o.chain
	return out[:start+n], typ, nil
}

// Pass sets the IV of the next record.
func (o *cbc) Pass(fragment []byte) {
	if !o.chain {
		return
	}
	if o.before {
		fragment = fragment[:max(len(fragment)-o.mac.size, 0)]
	}
	size := o.mode.BlockSize()
	o.known = len(fragment) >= size
	if o.known {
		copy(o.iv[:], fragment[len(fragment)-size:])
	}
}

func (o *cbc) Plain(n int) (int, bool) {
	n -= o.mac.size + 1
	if !o.chain {
		n -= o.mode.BlockSize()
	}
	return max(n, 0), false
}
