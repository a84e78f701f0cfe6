package dns

import "encoding/binary"

const (
	// headerSize is the length of a header, in bytes (RFC 1035 §4.1.1).
	headerSize = 12
	// maxName is the longest name as sent, in bytes, and maxLabel its longest label (RFC 1035 §2.3.4).
	maxName  = 255
	maxLabel = 63
	// maxJumps is how many compression pointers are followed in one name: more than any name has labels that differ in
	// practice, and few enough that a name made of nothing else costs little.
	maxJumps = 32
	// MaxMessage is the largest message, in bytes: its length is two bytes over TCP, and a datagram's is no more.
	MaxMessage = 1<<16 - 1
)

// header is the beginning of a message.
type header struct {
	id, flags uint16
	// counts are how many questions, answers, records about authorities, and additional records it says that it has.
	counts [4]uint16
}

// The sections of a message.
const (
	questions = iota
	answers
	authorities
	additionals
)

// readHeader takes the header off b, which has headerSize bytes at least.
func readHeader(b []byte) (h header) {
	h.id, h.flags = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	for i := range h.counts {
		h.counts[i] = binary.BigEndian.Uint16(b[4+2*i:])
	}
	return h
}

func (h *header) response() bool { return h.flags&flagQR != 0 }
func (h *header) opcode() uint8  { return uint8(h.flags >> 11 & 15) }

// skipName returns where a name ends that begins at a place of b, and whether there is one.
func skipName(b []byte, at int) (int, bool) {
	for from := at; at < len(b) && at-from < maxName; {
		switch n := int(b[at]); {
		case n == 0:
			return at + 1, true
		case n <= maxLabel:
			at += 1 + n
		case n >= 0xc0:
			return at + 2, at+2 <= len(b)
		default:
			return at, false
		}
	}
	return at, false
}

// plain tells of each byte whether it stands for itself in a name's text.
var plain = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = true
	}
	for _, c := range special {
		t[c] = false
	}
	return t
}()

// special are the printable characters that a name's text has behind a backslash (RFC 1035 §5.1, RFC 4343 §2.1).
const special = `.\";()@$`

// appendName appends the text of the name at a place of b, without the final dot, as master files write it; the root is
// a dot. It returns where the name ends. A name that isn't one is appended as far as it is.
func appendName(dst, b []byte, at int) (text []byte, next int, ok bool) {
	begin, next, jumps, size := len(dst), 0, 0, 0
	for at < len(b) {
		n := int(b[at])
		switch {
		case n == 0:
			if len(dst) == begin {
				dst = append(dst, '.')
			}
			if jumps == 0 {
				next = at + 1
			}
			return dst, next, true
		case n >= 0xc0 && at+2 <= len(b):
			if jumps == 0 {
				next = at + 2
			}
			if jumps++; jumps > maxJumps {
				return dst, next, false
			}
			at = int(binary.BigEndian.Uint16(b[at:])) & 0x3fff
			continue
		case n > maxLabel || at+1+n > len(b):
			return dst, next, false
		}
		if size += 1 + n; size >= maxName {
			return dst, next, false
		}
		if len(dst) > begin {
			dst = append(dst, '.')
		}
		dst = appendLabel(dst, b[at+1:at+1+n])
		at += 1 + n
	}
	return dst, next, false
}

func appendLabel(dst, label []byte) []byte {
	for i, c := range label {
		if !plain[c] {
			dst = append(dst, label[:i]...)
			for _, c := range label[i:] {
				dst = appendEscaped(dst, c, plain[c])
			}
			return dst
		}
	}
	return append(dst, label...)
}

// appendEscaped appends a character as master files write it. asIs: it stands for itself.
func appendEscaped(dst []byte, c byte, asIs bool) []byte {
	switch {
	case asIs:
		return append(dst, c)
	case '!' <= c && c <= '~':
		return append(dst, '\\', c)
	}
	return append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
}

// record is one resource record (RFC 1035 §4.1.3), as places in the message.
type record struct {
	owner, data, end int
	ttl              uint32
	typ, class       uint16
}

// recordSize is the length of what stands between the owner's name and the data.
const recordSize = 10

// readRecord reads the record at a place of b, and reports whether all of it is there.
func readRecord(b []byte, at int) (r record, ok bool) {
	n, ok := skipName(b, at)
	if !ok || n+recordSize > len(b) {
		return r, false
	}
	r = record{
		owner: at, data: n + recordSize, typ: binary.BigEndian.Uint16(b[n:]), class: binary.BigEndian.Uint16(b[n+2:]),
		ttl: binary.BigEndian.Uint32(b[n+4:]),
	}
	r.end = r.data + int(binary.BigEndian.Uint16(b[n+8:]))
	return r, r.end <= len(b)
}

// content is what was read of one message.
type content struct {
	header
	// b is what was captured of it. cut: that isn't all.
	b   []byte
	cut bool
	// name is where the first question begins, 0 when there is none, typ and class what it asks for.
	name       int
	typ, class uint16
	// first is where the answers begin; read says how many of them are there, size how many bytes they have, and largest the
	// largest.
	first, read   int
	size, largest int
	// opt is the record of EDNS, whose end is 0 when there is none (RFC 6891); opts counts those that claim to be.
	opt  record
	opts int
	// malformed: it isn't as its counts and lengths say. surplus: there are bytes behind it.
	malformed, surplus bool
}

// parse reads a message of which b was captured, which is headerSize bytes at least. It reports whether its question can be
// known; where it can't, because bytes are missing, nothing can.
func (c *content) parse(b []byte, cut bool) bool {
	*c = content{header: readHeader(b), b: b, cut: cut}
	at := headerSize
	for i := range c.counts[questions] {
		end, ok := skipName(b, at)
		if !ok || end+4 > len(b) {
			c.malformed = !cut
			return i > 0 || !cut
		}
		if i == 0 {
			c.name, c.typ, c.class = at, binary.BigEndian.Uint16(b[end:]), binary.BigEndian.Uint16(b[end+2:])
		}
		at = end + 4
	}
	c.first = at
	for section := answers; section <= additionals; section++ {
		for range c.counts[section] {
			r, ok := readRecord(b, at)
			if !ok {
				// Servers cut the last record in two, or leave it out, and count it nevertheless.
				c.malformed = !cut && c.flags&flagTC == 0
				return true
			}
			switch {
			case section == answers:
				c.read++
				c.size += r.end - at
				c.largest = max(c.largest, r.end-at)
			case section == additionals && r.typ == typeOPT:
				c.opt = r
				c.opts++
			}
			at = r.end
		}
	}
	c.surplus = at < len(b) && c.opcode() != opDSO
	return true
}

// rcode returns the response code, with the bits that EDNS adds (RFC 6891 §6.1.3).
func (c *content) rcode() uint16 {
	code := c.flags & 15
	if c.opt.end > 0 {
		code |= uint16(c.opt.ttl>>24) << 4
	}
	return code
}

// options calls f with each option of EDNS, until it returns false.
func (c *content) options(f func(code uint16, value []byte) bool) {
	if c.opt.end == 0 {
		return
	}
	for b := c.b[c.opt.data:c.opt.end]; len(b) >= 4; {
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b) || !f(binary.BigEndian.Uint16(b), b[4:n]) {
			return
		}
		b = b[n:]
	}
}
