package suite

import (
	"crypto/rc4"
	"slices"
)

// stream opens the records of RC4 and of suites that don't encrypt (RFC 5246 §6.2.3.1):
//
//	fragment:  encrypted(content | MAC)
//
// RC4 is one keystream over all records: what is missing between them, by number of bytes, ends it.
type stream struct {
	keystream *rc4.Cipher // nil for none
	ended     bool
	mac       recordMAC
}

// newStream takes a key for RC4, an empty one for suites that don't encrypt.
func newStream(key []byte, mac recordMAC) (*stream, error) {
	o := &stream{mac: mac}
	if len(key) > 0 {
		k, err := rc4.NewCipher(key)
		if err != nil {
			return nil, err
		}
		o.keystream = k
	}
	return o, nil
}

func (o *stream) Open(dst []byte, seq uint64, typ byte, version uint16, fragment []byte) ([]byte, byte, error) {
	switch {
	case len(fragment) < o.mac.size || len(fragment) > maxFragment:
		return dst, typ, ErrLength
	case o.ended:
		return dst, typ, ErrMissing
	}
	out := slices.Grow(dst, len(fragment))[:len(dst)+len(fragment)]
	plain := out[len(dst):]
	var before rc4.Cipher
	if o.keystream != nil {
		before = *o.keystream
		o.keystream.XORKeyStream(plain, fragment)
	} else {
		copy(plain, fragment)
	}
	content, tag := o.mac.split(plain)
	if !o.mac.verify(seq, typ, version, content, tag) {
		if o.keystream != nil {
			*o.keystream = before
		}
		return dst, typ, ErrAltered
	}
	return out[:len(dst)+len(content)], typ, nil
}

// Pass moves the keystream on.
func (o *stream) Pass(fragment []byte) {
	if o.keystream == nil || o.ended {
		return
	}
	o.ended = fragment == nil
	var skip [256]byte
	for len(fragment) > 0 {
		n := min(len(fragment), len(skip))
		o.keystream.XORKeyStream(skip[:n], fragment[:n])
		fragment = fragment[n:]
	}
}

func (o *stream) Plain(n int) (int, bool) { return max(n-o.mac.size, 0), true }
