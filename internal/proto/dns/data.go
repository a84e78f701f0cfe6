package dns

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"
)

// The kinds of field that the data of records consist of. A type's layout is a text of them.
const (
	asAddr4   = 'a' // an IPv4 address
	asAddr6   = '6' // an IPv6 address
	asByte    = '1' // numbers of one, two and four bytes
	asShort   = '2'
	asLong    = '4'
	asName    = 'n' // a name
	asType    = 't' // a record type
	asTime    = 'T' // a time, in seconds since 1970
	asWord    = 'w' // a character string without quotes
	asString  = 's' // a character string
	asStrings = 'S' // as many as there are, one at least
	asRest    = 'r' // the rest, as one character string
	asHex     = 'h' // the rest
	asBase64  = 'b' // the rest
	asSalt    = 'x' // a length and as many bytes, in hex; - for none
	asHash    = 'z' // a length and as many bytes, in base 32
	asTypes   = 'y' // the rest: a set of record types
	asParams  = 'p' // the rest: parameters of a service
)

// layouts are those of the record types whose data has a form of its own. The data of the others is written as RFC 3597 §5
// has it.
var layouts = [...]string{
	1: "a", 2: "n", 3: "n", 4: "n", 5: "n", 6: "nn44444", 7: "n", 8: "n", 9: "n", 12: "n", 13: "ss", 14: "nn", 15: "2n", 16: "S",
	17: "nn", 18: "2n", 21: "2n", 24: "t114TT2nb", 25: "211b", 26: "2nn", 28: "6", 33: "222n", 35: "22sssn", 36: "2n", 39: "n",
	43: "211h", 44: "11h", 46: "t114TT2nb", 47: "ny", 48: "211b", 50: "112xzy", 51: "112x", 52: "111h", 53: "111h", 59: "211h",
	60: "211b", 61: "b", 62: "42y", 63: "411h", 64: "2np", 65: "2np", 99: "S", 107: "2n", 256: "22r", 257: "1wr",
}

// texts appends what a message says, as master files write it.
type texts struct {
	dst []byte
	// b is the message, and absolute: names have a final dot.
	b        []byte
	absolute bool
	// malformed: something wasn't as its type demands.
	malformed bool
}

// name appends the name at a place, and returns where it ends, 0 when it isn't one.
func (t *texts) name(at int) int {
	from := len(t.dst)
	var next int
	var ok bool
	t.dst, next, ok = appendName(t.dst, t.b, at)
	if !ok {
		t.malformed = true
		return 0
	}
	if t.absolute && (len(t.dst) != from+1 || t.dst[from] != '.') {
		t.dst = append(t.dst, '.')
	}
	return next
}

// data appends the data of a record.
func (t *texts) data(r *record) {
	from, was := len(t.dst), t.malformed
	if int(r.typ) < len(layouts) && layouts[r.typ] != "" && r.end > r.data {
		if t.fields(layouts[r.typ], r.data, r.end) {
			return
		}
		t.dst, was = t.dst[:from], true
	}
	t.malformed = was
	t.unknown(t.b[r.data:r.end])
}

// unknown appends data of no known form (RFC 3597 §5).
func (t *texts) unknown(b []byte) {
	t.dst = strconv.AppendInt(append(t.dst, `\# `...), int64(len(b)), 10)
	if len(b) > 0 {
		t.dst = append(t.dst, ' ')
		t.hex(b)
	}
}

// hex appends bytes as hexadecimal digits, in upper case as name servers write them.
func (t *texts) hex(b []byte) {
	const digits = "0123456789ABCDEF"
	for _, c := range b {
		t.dst = append(t.dst, digits[c>>4], digits[c&15])
	}
}

// fields appends the fields of a layout, which lie between two places. It reports whether they are exactly there.
func (t *texts) fields(layout string, at, end int) bool {
	for i, kind := range []byte(layout) {
		if i > 0 {
			t.dst = append(t.dst, ' ')
		}
		if at = t.field(kind, at, end); at < 0 || at > end {
			return false
		}
	}
	return at == end
}

// widths are the lengths of the fields that have one.
var widths = [...]int{asAddr4: 4, asAddr6: 16, asByte: 1, asShort: 2, asLong: 4, asType: 2, asTime: 4}

// field appends one field. It returns where it ends, -1 when it isn't there.
func (t *texts) field(kind byte, at, end int) int {
	b := t.b[at:end]
	if int(kind) < len(widths) && widths[kind] > 0 {
		return t.number(kind, b, at)
	}
	switch kind {
	case asName:
		if next := t.name(at); next > 0 {
			return next
		}
		return -1
	case asWord, asString, asSalt, asHash:
		if len(b) == 0 || 1+int(b[0]) > len(b) {
			return -1
		}
		t.counted(kind, b[1:1+int(b[0])])
		return at + 1 + int(b[0])
	case asStrings:
		return t.strings(b, at)
	case asRest:
		t.quote(b)
	case asHex:
		t.hex(b)
	case asBase64:
		t.dst = base64.StdEncoding.AppendEncode(t.dst, b)
	case asTypes:
		if !t.types(b) {
			return -1
		}
	case asParams:
		if !t.params(b) {
			return -1
		}
	}
	return end
}

// number appends a field of fixed length.
func (t *texts) number(kind byte, b []byte, at int) int {
	n := widths[kind]
	if len(b) < n {
		return -1
	}
	switch kind {
	case asAddr4:
		t.dst = netip.AddrFrom4([4]byte(b)).AppendTo(t.dst)
	case asAddr6:
		t.dst = netip.AddrFrom16([16]byte(b)).AppendTo(t.dst)
	case asByte:
		t.dst = strconv.AppendUint(t.dst, uint64(b[0]), 10)
	case asShort:
		t.dst = strconv.AppendUint(t.dst, uint64(binary.BigEndian.Uint16(b)), 10)
	case asLong:
		t.dst = strconv.AppendUint(t.dst, uint64(binary.BigEndian.Uint32(b)), 10)
	case asType:
		t.dst = appendType(t.dst, binary.BigEndian.Uint16(b))
	case asTime:
		t.dst = time.Unix(int64(binary.BigEndian.Uint32(b)), 0).UTC().AppendFormat(t.dst, "20060102150405")
	}
	return at + n
}

// counted appends what followed its length.
func (t *texts) counted(kind byte, b []byte) {
	switch kind {
	case asWord:
		t.escaped(b)
	case asString:
		t.quote(b)
	case asSalt:
		if len(b) == 0 {
			t.dst = append(t.dst, '-')
		}
		t.hex(b)
	case asHash:
		t.dst = base32.HexEncoding.WithPadding(base32.NoPadding).AppendEncode(t.dst, b)
	}
}

// strings appends all strings between two places.
func (t *texts) strings(b []byte, at int) int {
	for i := 0; i < len(b); {
		n := 1 + int(b[i])
		if i+n > len(b) {
			return -1
		}
		if i > 0 {
			t.dst = append(t.dst, ' ')
		}
		t.quote(b[i+1 : i+n])
		i += n
	}
	return at + len(b)
}

// quote appends a character string.
func (t *texts) quote(b []byte) {
	t.dst = append(t.dst, '"')
	t.escaped(b)
	t.dst = append(t.dst, '"')
}

func (t *texts) escaped(b []byte) {
	for _, c := range b {
		t.dst = appendEscaped(t.dst, c, ' ' <= c && c <= '~' && c != '"' && c != '\\')
	}
}

// types appends a set of record types (RFC 4034 §4.1.2).
func (t *texts) types(b []byte) bool {
	from := len(t.dst)
	for len(b) > 0 {
		if len(b) < 2 || b[1] == 0 || b[1] > 32 || len(b) < 2+int(b[1]) {
			return false
		}
		window, bits := uint16(b[0])<<8, b[2:2+int(b[1])]
		for i := range len(bits) * 8 {
			if bits[i/8]&(0x80>>(i%8)) != 0 {
				if len(t.dst) > from {
					t.dst = append(t.dst, ' ')
				}
				t.dst = appendType(t.dst, window|uint16(i))
			}
		}
		b = b[2+len(bits):]
	}
	return true
}

// parameters are the names of the parameters of services (RFC 9460 §14.3.2, RFC 9461).
var parameters = [...]string{"mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"}

// params appends the parameters of a service (RFC 9460 §2.1).
func (t *texts) params(b []byte) bool {
	for first := true; len(b) > 0; first = false {
		if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
			return false
		}
		key, value := binary.BigEndian.Uint16(b), b[4:4+int(binary.BigEndian.Uint16(b[2:]))]
		b = b[4+len(value):]
		if !first {
			t.dst = append(t.dst, ' ')
		}
		t.parameter(key)
		if len(value) == 0 {
			continue
		}
		t.dst = append(t.dst, '=')
		if !t.value(key, value) {
			return false
		}
	}
	return true
}

func (t *texts) parameter(key uint16) {
	if int(key) < len(parameters) {
		t.dst = append(t.dst, parameters[key]...)
		return
	}
	t.dst = strconv.AppendUint(append(t.dst, "key"...), uint64(key), 10)
}

// value appends the value of a parameter.
func (t *texts) value(key uint16, b []byte) bool {
	var width int
	var each func(b []byte)
	switch key {
	case 0:
		width, each = 2, func(b []byte) { t.parameter(binary.BigEndian.Uint16(b)) }
	case 1:
		t.dst = append(t.dst, '"')
		for first := true; len(b) > 0; first = false {
			if 1+int(b[0]) > len(b) {
				return false
			}
			if !first {
				t.dst = append(t.dst, ',')
			}
			t.escaped(b[1 : 1+int(b[0])])
			b = b[1+int(b[0]):]
		}
		t.dst = append(t.dst, '"')
		return true
	case 3:
		width, each = 2, func(b []byte) { t.number(asShort, b, 0) }
	case 4:
		width, each = 4, func(b []byte) { t.number(asAddr4, b, 0) }
	case 5:
		t.dst = base64.StdEncoding.AppendEncode(t.dst, b)
		return true
	case 6:
		width, each = 16, func(b []byte) { t.number(asAddr6, b, 0) }
	default:
		t.quote(b)
		return true
	}
	if len(b)%width != 0 {
		return false
	}
	for i := 0; i < len(b); i += width {
		if i > 0 {
			t.dst = append(t.dst, ',')
		}
		each(b[i : i+width])
	}
	return true
}

// line appends a record as a line of a master file.
func (t *texts) line(r *record, class uint16) {
	t.name(r.owner)
	t.dst = append(strconv.AppendUint(append(t.dst, '\t'), uint64(r.ttl), 10), '\t')
	t.dst = append(appendClass(t.dst, class), '\t')
	t.dst = append(appendType(t.dst, r.typ), '\t')
	t.data(r)
	t.dst = append(t.dst, '\n')
}
