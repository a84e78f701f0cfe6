package mysql

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
)

// values reads the values of a packet, one after the other. When one isn't whole, short is set, and what is read from there on is
// empty.
type values struct {
	b     []byte
	short bool
	// cut: the packet has more than b, so that a string which isn't whole is given as far as it goes.
	cut bool
}

// take reads n bytes.
func (v *values) take(n uint64) []byte {
	if n > uint64(len(v.b)) {
		rest := v.b
		if v.short, v.b = true, nil; v.cut {
			return rest
		}
		return nil
	}
	t := v.b[:n]
	v.b = v.b[n:]
	return t
}

func (v *values) byte() byte {
	if t := v.take(1); len(t) == 1 {
		return t[0]
	}
	return 0
}

func (v *values) uint16() uint16 {
	if t := v.take(2); len(t) == 2 {
		return binary.LittleEndian.Uint16(t)
	}
	return 0
}

func (v *values) uint32() uint32 {
	if t := v.take(4); len(t) == 4 {
		return binary.LittleEndian.Uint32(t)
	}
	return 0
}

func (v *values) uint64() uint64 {
	if t := v.take(8); len(t) == 8 {
		return binary.LittleEndian.Uint64(t)
	}
	return 0
}

// length reads a length-encoded integer. null is the byte that stands for NULL in a row.
func (v *values) length() (n uint64, null bool) {
	const isNull, two, three, eight = 0xfb, 0xfc, 0xfd, 0xfe
	switch c := v.byte(); c {
	case isNull:
		return 0, true
	case two:
		return uint64(v.uint16()), false
	case three:
		if t := v.take(3); len(t) == 3 {
			return uint64(length24(t)), false
		}
		return 0, false
	case eight:
		return v.uint64(), false
	default:
		return uint64(c), false
	}
}

// text reads a length-encoded string.
func (v *values) text() []byte {
	n, _ := v.length()
	return v.take(n)
}

// untilNUL reads a string that ends with a NUL, or with the packet.
func (v *values) untilNUL() []byte {
	i := bytes.IndexByte(v.b, 0)
	if i < 0 {
		t := v.b
		v.b = nil
		return t
	}
	t := v.b[:i]
	v.b = v.b[i+1:]
	return t
}

// kind is the type of a value in the binary form.
type kind struct {
	code     byte
	unsigned bool
	// digits is how many digits a time has behind its seconds, where that is known.
	digits byte
}

// anyDigits: a time has as many digits behind its seconds as it takes.
const anyDigits = 0x1f

// The types of the binary form; those that aren't here are length-encoded strings
// (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html).
const (
	typeTiny      = 1
	typeShort     = 2
	typeLong      = 3
	typeFloat     = 4
	typeDouble    = 5
	typeNull      = 6
	typeTimestamp = 7
	typeLongLong  = 8
	typeInt24     = 9
	typeDate      = 10
	typeTime      = 11
	typeDatetime  = 12
	typeYear      = 13
)

// append adds the text of a value in the binary form to out, at most limit bytes of it.
func (v *values) append(out []byte, k kind, limit int) []byte {
	switch k.code {
	case typeNull:
		return append(out, "NULL"...)
	case typeTiny:
		return k.integer(out, uint64(v.byte()), 8)
	case typeShort, typeYear:
		return k.integer(out, uint64(v.uint16()), 16)
	case typeLong, typeInt24:
		return k.integer(out, uint64(v.uint32()), 32)
	case typeLongLong:
		return k.integer(out, v.uint64(), 64)
	case typeFloat:
		return strconv.AppendFloat(out, float64(math.Float32frombits(v.uint32())), 'g', -1, 32)
	case typeDouble:
		return strconv.AppendFloat(out, math.Float64frombits(v.uint64()), 'g', -1, 64)
	case typeDate, typeDatetime, typeTimestamp:
		return v.date(out, k)
	case typeTime:
		return v.time(out, k)
	}
	t := v.text()
	return append(out, t[:min(len(t), max(limit, 0))]...)
}

func (k kind) integer(out []byte, n uint64, bits int) []byte {
	if k.unsigned {
		return strconv.AppendUint(out, n, 10)
	}
	shift := 64 - bits
	return strconv.AppendInt(out, int64(n<<shift)>>shift, 10)
}

// date reads a length, and then as much of year, month, day, hour, minute, second and microsecond as isn't 0.
func (v *values) date(out []byte, k kind) []byte {
	t := values{b: v.take(uint64(v.byte()))}
	year, month, day := t.uint16(), t.byte(), t.byte()
	hour, minute, second := t.byte(), t.byte(), t.byte()
	micro := t.uint32()
	out = padded(out, uint64(year), 4)
	out = padded(append(out, '-'), uint64(month), 2)
	out = padded(append(out, '-'), uint64(day), 2)
	if k.code == typeDate {
		return out
	}
	return clockTime(append(out, ' '), uint64(hour), minute, second, micro, k.digits)
}

// time reads a length, and then a sign, days, hours, minutes, seconds and microseconds.
func (v *values) time(out []byte, k kind) []byte {
	t := values{b: v.take(uint64(v.byte()))}
	if t.byte() != 0 {
		out = append(out, '-')
	}
	days, hour, minute, second := t.uint32(), t.byte(), t.byte(), t.byte()
	return clockTime(out, uint64(days)*24+uint64(hour), minute, second, t.uint32(), k.digits)
}

func clockTime(out []byte, hour uint64, minute, second byte, micro uint32, digits byte) []byte {
	out = padded(out, hour, 2)
	out = padded(append(out, ':'), uint64(minute), 2)
	out = padded(append(out, ':'), uint64(second), 2)
	const all = 6
	switch {
	case digits == 0, digits > all && micro == 0:
		return out
	case digits > all:
		digits = all
	}
	out = padded(append(out, '.'), uint64(micro), all)
	return out[:len(out)-all+int(digits)]
}

// padded writes a number with at least so many digits.
func padded(out []byte, n uint64, digits int) []byte {
	var buf [20]byte
	t := strconv.AppendUint(buf[:0], n, 10)
	for i := len(t); i < digits; i++ {
		out = append(out, '0')
	}
	return append(out, t...)
}
