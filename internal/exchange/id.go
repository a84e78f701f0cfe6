package exchange

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// IDSize is the length of an event id in bytes: 48 bits of the start time in milliseconds, then 80
// bits of a hash.
const IDSize = 16

// ID returns the exchange's id. It is ordered by start time, and depends on what was observed and by
// whom, but neither on the number of workers nor on a file's path, so that importing a capture twice
// gives the same ids. observer names the host of the tap, and is empty for files.
func (x *Exchange) ID(observer string) (id [IDSize]byte) {
	if x.KnownID != nil {
		return *x.KnownID
	}
	f := x.Flow
	var buf [256]byte
	b := append(buf[:0], observer...)
	b = append(b, 0)
	b = append(b, x.Tap.Name...)
	b = append(b, 0, f.Proto)
	for d := range f.Addr {
		b = append(b, f.Addr[d][:]...)
		b = binary.BigEndian.AppendUint16(b, f.Port[d])
	}
	b = binary.BigEndian.AppendUint32(b, f.Net)
	b = binary.BigEndian.AppendUint16(b, f.Stream)
	b = binary.BigEndian.AppendUint64(b, uint64(f.First.Time))
	if x.HasRequest {
		b = append(b, 'q')
		b = binary.BigEndian.AppendUint64(b, uint64(x.Request.First.Offset))
		b = binary.BigEndian.AppendUint64(b, x.Request.Stream)
	} else {
		b = append(b, 'r')
		b = binary.BigEndian.AppendUint64(b, uint64(x.Response.First.Offset))
		b = binary.BigEndian.AppendUint64(b, x.Response.Stream)
	}
	if x.sort != 0 {
		b = append(b, x.sort)
		if x.Message != nil {
			b = append(b, byte(x.Message.Dir))
		}
		if x.Period != nil {
			b = binary.BigEndian.AppendUint32(b, uint32(x.Period.Number))
		}
		b = binary.BigEndian.AppendUint64(b, uint64(x.Start.Offset))
	}
	if x.path != 0 {
		b = append(b, 'w')
		b = binary.BigEndian.AppendUint64(b, x.path)
	}
	sum := sha256.Sum256(b)
	ms := max(x.Start.Time, 0) / 1e6
	binary.BigEndian.PutUint64(id[:8], uint64(ms)<<16)
	copy(id[6:], sum[:10])
	return id
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// AppendID appends the text form of an id: 26 characters of Crockford's base 32, which sort as the
// ids do (the form of a ULID).
func AppendID(dst []byte, id [IDSize]byte) []byte {
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	var out [26]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return append(dst, out[:]...)
}

// IDText returns the text form of an id; see AppendID.
func IDText(id [IDSize]byte) string { return string(AppendID(nil, id)) }

// ParseID reads the text form of an id. Lower-case letters are taken as well.
func ParseID(text string) (id [IDSize]byte, ok bool) {
	if len(text) != 26 {
		return id, false
	}
	var hi, lo uint64
	for i := range len(text) {
		c := text[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		n := strings.IndexByte(crockford, c)
		if n < 0 || i == 0 && n > 7 {
			return id, false
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(n)
	}
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, true
}
