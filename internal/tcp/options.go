package tcp

import "encoding/binary"

// The kinds of TCP options that are read (RFC 9293 §3.2, RFC 7323, RFC 2018).
const (
	optionEnd       = 0
	optionNop       = 1
	optionMSS       = 2
	optionScale     = 3
	optionPermitted = 4
	optionSACK      = 5
	optionTimestamp = 8
)

// timestamps is the common beginning of the options of an established connection: two no-operations and the timestamps.
const timestamps = optionNop<<24 | optionNop<<16 | optionTimestamp<<8 | 10

// option returns the value of the first option of a kind, nil where there is none.
func option(o []byte, kind byte) []byte {
	if len(o) == 12 && kind != optionTimestamp && binary.BigEndian.Uint32(o) == timestamps {
		return nil
	}
	for len(o) >= 2 && o[0] != optionEnd {
		if o[0] == optionNop {
			o = o[1:]
			continue
		}
		n := int(o[1])
		if n < 2 || n > len(o) {
			return nil
		}
		if o[0] == kind {
			return o[2:n]
		}
		o = o[n:]
	}
	return nil
}

// stamps returns the timestamps that a segment carries: its own, and the one that it echoes.
func stamps(o []byte) (value, echo uint32, ok bool) {
	if len(o) >= 12 && binary.BigEndian.Uint32(o) == timestamps {
		return binary.BigEndian.Uint32(o[4:]), binary.BigEndian.Uint32(o[8:]), true
	}
	if v := option(o, optionTimestamp); len(v) == 8 {
		return binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:]), true
	}
	return 0, 0, false
}

// blocks are the blocks of a selective acknowledgement.
type blocks struct {
	// top is where the highest block ends, largest the size of the largest block; valid iff any.
	top, largest uint32
	any          bool
	// duplicate: the first block tells of bytes that came twice, from and to (RFC 2883 §4).
	duplicate bool
	from, to  uint32
}

// selective reads the option of a segment that acknowledges everything before ack.
func selective(v []byte, ack uint32) (b blocks) {
	for i := 0; i+8 <= len(v); i += 8 {
		from, to := binary.BigEndian.Uint32(v[i:]), binary.BigEndian.Uint32(v[i+4:])
		if !before(from, to) {
			continue
		}
		if i == 0 {
			if !before(ack, to) {
				b.duplicate, b.from, b.to = true, from, to
				continue
			}
			if len(v) >= 16 {
				left, right := binary.BigEndian.Uint32(v[8:]), binary.BigEndian.Uint32(v[12:])
				if !before(from, left) && !before(right, to) {
					b.duplicate, b.from, b.to = true, from, to
					continue
				}
			}
		}
		if !before(ack, from) {
			continue
		}
		if !b.any || before(b.top, to) {
			b.top = to
		}
		b.any, b.largest = true, max(b.largest, to-from)
	}
	return b
}
