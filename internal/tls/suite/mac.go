package suite

import (
	"crypto"
	"crypto/hmac"
	"hash"
)

// recordMAC verifies the HMAC of records (RFC 5246 §6.2.3.1).
type recordMAC struct {
	hash hash.Hash
	size int
	head [13]byte
	sum  [64]byte
}

func newMAC(h crypto.Hash, key []byte) recordMAC {
	return recordMAC{hash: hmac.New(h.New, key), size: h.Size()}
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
	m.hash.Write(m.head[:])
	m.hash.Write(content)
	return hmac.Equal(m.hash.Sum(m.sum[:0]), tag)
}
