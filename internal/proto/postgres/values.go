package postgres

import (
	"encoding/hex"
	"math"
	"strconv"
	"time"
)

func appendNumber(to []byte, n int64) []byte { return strconv.AppendInt(to, n, 10) }

// appendEscaped appends a value as COPY does, so that rows stay lines and columns stay apart. It stops when to is max bytes long.
func appendEscaped(to, v []byte, max int) []byte {
	for _, c := range v {
		if len(to) >= max {
			return to
		}
		switch c {
		case '\t':
			to = append(to, `\t`...)
		case '\n':
			to = append(to, `\n`...)
		case '\r':
			to = append(to, `\r`...)
		case '\\':
			to = append(to, `\\`...)
		default:
			to = append(to, c)
		}
	}
	return to
}

// The types whose binary form is known, by their numbers in pg_type, which never change.
const (
	oidBool        = 16
	oidBytea       = 17
	oidChar        = 18
	oidName        = 19
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOid         = 26
	oidJSON        = 114
	oidXML         = 142
	oidFloat4      = 700
	oidFloat8      = 701
	oidUnknown     = 705
	oidBpchar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidNumeric     = 1700
	oidUUID        = 2950
	oidJSONB       = 3802
)

// appendBinary appends a value that was sent in binary as text, max bytes of it at most. What isn't known is shown in hexadecimal, as bytea is.
func appendBinary(to []byte, oid uint32, v []byte, max int) []byte {
	at := len(to)
	to = appendTyped(to, oid, v, max)
	return to[:min(len(to), at+max)]
}

func appendTyped(to []byte, oid uint32, v []byte, max int) []byte {
	switch oid {
	case oidText, oidVarchar, oidBpchar, oidChar, oidName, oidJSON, oidXML, oidUnknown:
		return append(to, v[:min(len(v), max)]...)
	case oidJSONB:
		if len(v) > 0 && v[0] == 1 {
			return append(to, v[1:min(len(v), max+1)]...)
		}
	case oidNumeric:
		if text, ok := appendNumeric(to, v, max); ok {
			return text
		}
	}
	if f := fixed(oid); f.append != nil && len(v) == f.size {
		return f.append(to, v)
	}
	to = append(to, `\x`...)
	return hex.AppendEncode(to, v[:min(len(v), max)])
}

// form is how values of a type are shown that all have one size.
type form struct {
	size   int
	append func(to, v []byte) []byte
}

func fixed(oid uint32) form {
	switch oid {
	case oidBool:
		return form{1, appendBool}
	case oidInt2:
		return form{2, func(to, v []byte) []byte { return appendNumber(to, int64(int16(order.Uint16(v)))) }}
	case oidInt4:
		return form{4, func(to, v []byte) []byte { return appendNumber(to, int64(int32(order.Uint32(v)))) }}
	case oidInt8:
		return form{8, func(to, v []byte) []byte { return appendNumber(to, int64(order.Uint64(v))) }}
	case oidOid:
		return form{4, func(to, v []byte) []byte { return appendNumber(to, int64(order.Uint32(v))) }}
	case oidFloat4:
		return form{4, func(to, v []byte) []byte {
			return strconv.AppendFloat(to, float64(math.Float32frombits(order.Uint32(v))), 'g', -1, 32)
		}}
	case oidFloat8:
		return form{8, func(to, v []byte) []byte {
			return strconv.AppendFloat(to, math.Float64frombits(order.Uint64(v)), 'g', -1, 64)
		}}
	case oidUUID:
		return form{16, appendUUID}
	case oidDate:
		return form{4, appendDate}
	case oidTime:
		return form{8, func(to, v []byte) []byte { return appendTime(to, v, "15:04:05.999999") }}
	case oidTimestamp:
		return form{8, func(to, v []byte) []byte { return appendTime(to, v, "2006-01-02 15:04:05.999999") }}
	case oidTimestamptz:
		return form{8, func(to, v []byte) []byte { return appendTime(to, v, "2006-01-02 15:04:05.999999+00") }}
	}
	return form{}
}

func appendBool(to, v []byte) []byte {
	if v[0] == 0 {
		return append(to, 'f')
	}
	return append(to, 't')
}

func appendUUID(to, v []byte) []byte {
	for i, c := range v {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			to = append(to, '-')
		}
		to = hex.AppendEncode(to, []byte{c})
	}
	return to
}

// epoch is 2000-01-01, from which dates and times are counted, in seconds since 1970.
const epoch = 946684800

func appendDate(to, v []byte) []byte {
	days := int32(order.Uint32(v))
	switch days {
	case math.MaxInt32:
		return append(to, "infinity"...)
	case math.MinInt32:
		return append(to, "-infinity"...)
	}
	return time.Unix(epoch+int64(days)*86400, 0).UTC().AppendFormat(to, time.DateOnly)
}

// appendTime appends a count of microseconds.
func appendTime(to, v []byte, layout string) []byte {
	us := int64(order.Uint64(v))
	switch us {
	case math.MaxInt64:
		return append(to, "infinity"...)
	case math.MinInt64:
		return append(to, "-infinity"...)
	}
	return time.UnixMicro(us).UTC().Add(epoch*time.Second).AppendFormat(to, layout)
}

// Signs of a numeric.
const (
	numericNegative = 0x4000
	numericNaN      = 0xc000
	numericInf      = 0xd000
	numericNegInf   = 0xf000
)

// appendNumeric appends a numeric: digits to the base 10,000, of which the first has the weight 10,000^weight, and the number of
// decimals to show.
func appendNumeric(to, v []byte, max int) ([]byte, bool) {
	const head = 8
	if len(v) < head {
		return to, false
	}
	n, weight := int(order.Uint16(v)), int(int16(order.Uint16(v[2:])))
	sign, scale := order.Uint16(v[4:]), int(order.Uint16(v[6:]))
	switch sign {
	case numericNaN:
		return append(to, "NaN"...), true
	case numericInf:
		return append(to, "Infinity"...), true
	case numericNegInf:
		return append(to, "-Infinity"...), true
	}
	v = v[head:]
	if len(v) != 2*n {
		return to, false
	}
	digit := func(i int) int {
		if i < 0 || i >= n {
			return 0
		}
		return int(order.Uint16(v[2*i:])) % 10000
	}
	if sign == numericNegative {
		to = append(to, '-')
	}
	at := len(to)
	if weight < 0 {
		to = append(to, '0')
	}
	for i := 0; i <= weight && len(to)-at < max; i++ {
		d := digit(i)
		if i == 0 {
			to = appendNumber(to, int64(d))
		} else {
			to = append(to, byte('0'+d/1000), byte('0'+d/100%10), byte('0'+d/10%10), byte('0'+d%10))
		}
	}
	if scale > 0 {
		to = append(to, '.')
		end := len(to) + scale
		for i := weight + 1; len(to) < end && len(to)-at < max; i++ {
			d := digit(i)
			to = append(to, byte('0'+d/1000), byte('0'+d/100%10), byte('0'+d/10%10), byte('0'+d%10))
		}
		to = to[:min(len(to), end)]
	}
	return to, true
}
