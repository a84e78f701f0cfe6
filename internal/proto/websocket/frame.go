package websocket

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Opcodes (RFC 6455 §5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opClose        = 0x8
)

// kinds are the kinds of messages, by the opcode of the frame that begins them.
var kinds = [16]string{
	0x0: "continuation", 0x1: "text", 0x2: "binary",
	0x3: "reserved", 0x4: "reserved", 0x5: "reserved", 0x6: "reserved", 0x7: "reserved",
	0x8: "close", 0x9: "ping", 0xa: "pong",
	0xb: "reserved", 0xc: "reserved", 0xd: "reserved", 0xe: "reserved", 0xf: "reserved",
}

// Bits of a frame header.
const (
	bitFinal   = 0x80
	bitMasked  = 0x80
	maskRSV    = 0x70
	rsv1       = 0x40
	maskOpcode = 0x0f
	maskLength = 0x7f
	length16   = 126 // the length has two bytes of its own
	length64   = 127 // or eight
)

// maxHeader is the size of the largest frame header: two bytes, a length of eight, a masking key of four.
const maxHeader = 14

// header is a frame header (RFC 6455 §5.2).
type header struct {
	opcode, rsv          byte
	final, masked, short bool
	// length is the payload's, -1 when it isn't a length: the highest bit is set. short: it is one, and has the fewest bytes that
	// can hold it.
	length int64
	key    uint32
}

// headerSize returns the size of the frame header at the beginning of b, as far as b tells.
func headerSize(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	n := 2
	switch b[1] & maskLength {
	case length16:
		n += 2
	case length64:
		n += 8
	}
	if b[1]&bitMasked != 0 {
		n += 4
	}
	return n
}

// parseHeader takes a frame header apart, which b is the whole of.
func parseHeader(b []byte) header {
	h := header{
		opcode: b[0] & maskOpcode, rsv: b[0] & maskRSV, final: b[0]&bitFinal != 0, masked: b[1]&bitMasked != 0,
		length: int64(b[1] & maskLength), short: true,
	}
	switch h.length {
	case length16:
		h.length = int64(binary.BigEndian.Uint16(b[2:]))
		h.short = h.length >= length16
	case length64:
		h.length = max(int64(binary.BigEndian.Uint64(b[2:])), -1)
		h.short = h.length > 0xffff
	}
	if h.masked {
		h.key = binary.LittleEndian.Uint32(b[len(b)-4:])
	}
	return h
}

// isControl reports whether a frame is a control frame.
func (h *header) isControl() bool { return h.opcode >= opClose }

// malformed reports whether a frame breaks a rule wherever it stands, the reserved bits left aside.
func (h *header) malformed() bool {
	return !h.short || kinds[h.opcode] == "reserved" || h.isControl() && (!h.final || h.length > maxControl)
}

// unmask makes dst what the frame's payload src, which begins at a position of it, stands for. dst may be src itself.
func (h *header) unmask(dst, src []byte, pos int64) {
	if !h.masked {
		copy(dst, src)
		return
	}
	four := bits.RotateLeft32(h.key, -8*int(pos&3))
	key := uint64(four)<<32 | uint64(four)
	for len(src) >= 8 {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src)^key)
		dst, src = dst[8:], src[8:]
	}
	for i := range src {
		dst[i] = src[i] ^ byte(key>>(8*i))
	}
}

// mayBeSent reports whether a close frame may have a code: others have no meaning, or stand for what no frame said
// (RFC 6455 §7.4).
func mayBeSent(code int) bool {
	switch code {
	case 1004, 1005, 1006, 1015:
		return false
	}
	return code >= 1000 && code < 5000
}

// sure is how many frames that fit together, up to the end of a segment, can't be chance. A frame whose length takes more than
// a byte counts for as many.
const sure = 3

// regained reports whether a segment that comes after a loss surely begins with a frame. Frames of many senders begin where
// segments do; but payloads may hold anything. So all of the segment must be frames, as must the segments before it, or there be
// enough of them.
func (s *side) regained(b []byte) bool {
	credit := 0
	for first := true; len(b) > 0; first = false {
		n := headerSize(b)
		if len(b) < n {
			s.credit = 0
			return false
		}
		h := parseHeader(b)
		payload := b[n:]
		plausible := !h.malformed() && h.masked == s.masked && h.rsv&^rsv1 == 0 && int64(len(payload)) >= h.length
		// Zeros are frames: continuations of no length.
		plausible = plausible && (h.opcode != opContinuation || !first && h.length > 0)
		plausible = plausible && (h.rsv == 0 || h.opcode != opContinuation && !h.isControl())
		if !plausible {
			s.credit = 0
			return false
		}
		credit++
		if h.length >= length16 {
			credit = sure
		}
		b = payload[h.length:]
	}
	s.credit += credit
	return s.credit >= sure
}

// validText reports whether b is UTF-8.
func validText(b []byte) bool { return utf8.Valid(b) }

// utf8Check looks whether a text that comes in pieces is UTF-8.
type utf8Check struct {
	// part is a character that the last piece didn't end, n its length so far.
	part [utf8.UTFMax]byte
	n    int
	bad  bool
}

func (c *utf8Check) write(b []byte) {
	for c.n > 0 && len(b) > 0 && !c.bad {
		c.part[c.n] = b[0]
		c.n++
		b = b[1:]
		if utf8.FullRune(c.part[:c.n]) {
			c.bad = !utf8.Valid(c.part[:c.n])
			c.n = 0
		}
	}
	// The end may be the beginning of a character.
	for i := 1; i <= min(utf8.UTFMax-1, len(b)); i++ {
		tail := b[len(b)-i:]
		if !utf8.RuneStart(tail[0]) {
			continue
		}
		if !utf8.FullRune(tail) {
			c.n = copy(c.part[:], tail)
			b = b[:len(b)-i]
		}
		break
	}
	c.bad = c.bad || !utf8.Valid(b)
}
