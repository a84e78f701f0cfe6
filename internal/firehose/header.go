package firehose

import (
	"bytes"
	"math"
)

// MaxHeader is the longest header that is read, in bytes with its line end. Those that are written have at most 91; the rest is for
// leading zeros, which some may write.
const MaxHeader = 256

// maxCount is the highest place that a fragment may have: with the shortest fragments, more than any disk holds. What is missing before it
// can be added up without overflowing.
const maxCount = 1 << 40

// crlf ends a header, and what follows one.
var crlf = []byte("\r\n")

// header is what stands before the data of a fragment.
type header struct {
	// size is its own length in bytes, with the line end; length that of the data.
	size   int
	length uint64
	time   int64
	dir    Dir
	uuid   UUID
	count  uint64
	// strict: it is written as mod_firehose writes it.
	strict bool
}

// reading is what comes of reading a header.
type reading byte

const (
	readBad   reading = iota // there is none
	readShort                // there may be one: bytes are missing
	readWhole
)

// parse reads the header that b begins with, strictly or as others may write it: with upper case, leading zeros, and other white space
// between the fields.
//
//	LENGTH SP TIME SP DIR SP UUID SP COUNT CR LF
func (h *header) parse(b []byte) reading {
	h.strict = true
	i, length, r := h.number(b, 0)
	if r != readWhole {
		return r
	}
	i, time, r := h.number(b, i)
	switch {
	case r != readWhole:
		return r
	case time > math.MaxInt64:
		return readBad
	case len(b) == i:
		return readShort
	case b[i] != byte(Request) && b[i] != byte(Response):
		return readBad
	}
	h.dir = Dir(b[i])
	if i, r = h.separator(b, i+1); r != readWhole {
		return r
	}
	if r = h.identity(b[i:]); r != readWhole {
		return r
	}
	if i, r = h.separator(b, i+uuidLen); r != readWhole {
		return r
	}
	i, count, r := h.digits(b, i)
	switch rest := b[i:]; {
	case r != readWhole:
		return r
	case count > maxCount:
		return readBad
	case len(rest) < len(crlf):
		if bytes.HasPrefix(crlf, rest) && i < MaxHeader {
			return readShort
		}
		return readBad
	case rest[0] != '\r' || rest[1] != '\n' || i+len(crlf) > MaxHeader:
		return readBad
	}
	h.size, h.length, h.time, h.count = i+len(crlf), length, int64(time), count
	return readWhole
}

// number reads the number at i and what separates it from the next field, which begins at next.
func (h *header) number(b []byte, i int) (next int, v uint64, r reading) {
	if i, v, r = h.digits(b, i); r == readWhole {
		i, r = h.separator(b, i)
	}
	return i, v, r
}

// digits reads the number at i, which something else must follow.
func (h *header) digits(b []byte, i int) (next int, v uint64, r reading) {
	from := i
	for ; ; i++ {
		switch {
		case i >= MaxHeader:
			return i, 0, readBad
		case i == len(b):
			return i, 0, readShort
		}
		d := hexDigits[b[i]]
		if d == noDigit {
			break
		}
		if v>>60 != 0 {
			return i, 0, readBad
		}
		v = v<<4 | uint64(d&0xf)
		h.strict = h.strict && d <= 0xf
	}
	if i == from {
		return i, 0, readBad
	}
	h.strict = h.strict && (b[from] != '0' || i == from+1)
	return i, v, readWhole
}

// separator reads the white space at i.
func (h *header) separator(b []byte, i int) (next int, r reading) {
	if i == len(b) {
		return i, readShort
	}
	switch b[i] {
	case ' ':
	case '\t', '\v', '\f':
		h.strict = false
	default:
		return i, readBad
	}
	return i + 1, readWhole
}

// identity reads the UUID that b begins with.
func (h *header) identity(b []byte) reading {
	for i, at := 0, 0; i < uuidLen; i++ {
		if i == len(b) {
			return readShort
		}
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if b[i] != '-' {
				return readBad
			}
			continue
		}
		d := hexDigits[b[i]]
		if d == noDigit {
			return readBad
		}
		h.strict = h.strict && d <= 0xf
		h.uuid[at/2] = h.uuid[at/2]<<4 | d&0xf
		at++
	}
	return readWhole
}

// noDigit stands for a byte that is no digit; upperDigit is added to those that aren't written as mod_firehose does.
const (
	noDigit    = 0xff
	upperDigit = 0x10
)

// hexDigits are the values of hexadecimal digits.
var hexDigits = func() (table [256]byte) {
	for i := range table {
		table[i] = noDigit
	}
	for i := range byte(10) {
		table['0'+i] = i
	}
	for i := range byte(6) {
		table['a'+i] = 10 + i
		table['A'+i] = 10 + i + upperDigit
	}
	return table
}()

// findHeader returns where the first header in b begins whose line ends at from or later: at one of the bytes from first until, but not
// including, limit, since digits of its length can't be told from digits before it. end is where its line ends, or -1 if there is no
// header. lenient: those that aren't written as mod_firehose writes them are found, too.
func findHeader(b []byte, from int, lenient bool) (first, limit, end int) {
	for {
		i := bytes.Index(b[from:], crlf)
		if i < 0 {
			return 0, 0, -1
		}
		end = from + i
		if first, limit = headerBefore(b[:end]); first < limit {
			var h header
			if h.parse(b[limit-1:end+len(crlf)]) == readWhole && (h.strict || lenient) {
				return first, limit, end
			}
		}
		from = end + len(crlf)
	}
}

// headerBefore returns where the header may begin whose line ends at the end of b: see findHeader. It looks at the form alone.
func headerBefore(b []byte) (first, limit int) {
	lowest := max(0, len(b)+len(crlf)-MaxHeader)
	i := digitsBefore(b, len(b), lowest)
	if i == len(b) || i-lowest < 1+uuidLen || b[i-1-uuidLen+8] != '-' { // most lines end here
		return 0, 0
	}
	i -= 1 + uuidLen
	if i-lowest < 3 || b[i-2] != byte(Request) && b[i-2] != byte(Response) {
		return 0, 0
	}
	i -= 3 // the direction, and what separates it
	if time := digitsBefore(b, i, lowest); time < i && time > lowest {
		return digitsBefore(b, time-1, lowest), time - 1
	}
	return 0, 0
}

// digitsBefore returns where the digits begin that end at i; i, if there are none.
func digitsBefore(b []byte, i, lowest int) int {
	for i > lowest && hexDigits[b[i-1]] != noDigit {
		i--
	}
	return i
}
