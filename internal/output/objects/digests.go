package objects

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// digests are those of a file, as far as they are wanted; nil, of none.
type digests [2]hash.Hash

// The places of digests.
const (
	md5Of = iota
	sha256Of
)

// digests returns those that are wanted of a file, nil if none is.
func (k *Keeper) digests() *digests {
	if !k.options.MD5 && !k.options.SHA256 {
		return nil
	}
	d := new(digests)
	if k.options.MD5 {
		d[md5Of] = md5.New()
	}
	if k.options.SHA256 {
		d[sha256Of] = sha256.New()
	}
	return d
}

// Write implements io.Writer. It never fails.
func (d *digests) Write(p []byte) (int, error) {
	if d == nil {
		return len(p), nil
	}
	for _, h := range d {
		if h != nil {
			h.Write(p)
		}
	}
	return len(p), nil
}

// hex returns a digest in hexadecimal, empty if it wasn't wanted.
func (d *digests) hex(of int) string {
	if d == nil || d[of] == nil {
		return ""
	}
	return hex.EncodeToString(d[of].Sum(nil))
}
