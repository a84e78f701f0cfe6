package suite

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"hash"
	"slices"
)

// recordMAC verifies the MAC of records: an HMAC (RFC 5246 §6.2.3.1), or in SSL 3.0 what came before there were HMACs
// (RFC 6101 §5.2.3.1), which leaves the version of the record out.
type recordMAC struct {
	hash      hash.Hash
	size      int
	versioned bool
	head      [13]byte
	sum       [64]byte
}

func newMAC(version uint16, h crypto.Hash, key []byte) recordMAC {
	if version == versionSSL3 {
		return recordMAC{hash: newPaddedMAC(h, key), size: h.Size()}
	}
	return recordMAC{hash: hmac.New(h.New, key), size: h.Size(), versioned: true}
}

// split takes the MAC off the end of b, which has at least its size.
func (m *recordMAC) split(b []byte) (content, tag []byte) {
	n := len(b) - m.size
	return b[:n], b[n:]
}

// verify reports whether tag is the MAC of a record with the content.
func (m *recordMAC) verify(seq uint64, typ byte, version uint16, content, tag []byte) bool {
	bindHead(&m.head, seq, typ, version, len(content))
	m.hash.Reset()
	if m.versioned {
		m.hash.Write(m.head[:])
	} else {
		m.hash.Write(m.head[:9])
		m.hash.Write(m.head[11:])
	}
	m.hash.Write(content)
	return hmac.Equal(m.hash.Sum(m.sum[:0]), tag)
}

// paddedMAC is the MAC of SSL 3.0: hash(key | pad 2 | hash(key | pad 1 | message)).
type paddedMAC struct {
	hash.Hash // of the message, begun with inner
	outer     hash.Hash
	first     []byte // key | pad 1
	second    []byte // key | pad 2
	sum       [64]byte
}

func newPaddedMAC(h crypto.Hash, key []byte) *paddedMAC {
	// The pads are as long as to make 64 bytes with the key of MD5, and 60 with that of SHA-1.
	n := 48
	if h == crypto.SHA1 {
		n = 40
	}
	return &paddedMAC{
		Hash: h.New(), outer: h.New(),
		first:  slices.Concat(key, bytes.Repeat([]byte{0x36}, n)),
		second: slices.Concat(key, bytes.Repeat([]byte{0x5c}, n)),
	}
}

func (m *paddedMAC) Reset() {
	m.Hash.Reset()
	m.Hash.Write(m.first)
}

func (m *paddedMAC) Sum(b []byte) []byte {
	m.outer.Reset()
	m.outer.Write(m.second)
	m.outer.Write(m.Hash.Sum(m.sum[:0]))
	return m.outer.Sum(b)
}
