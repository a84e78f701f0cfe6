package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
)

// A segment is a head and frames. Numbers are little-endian.
//
//	offset  bytes  head
//	     0      8  "culpspl\n"
//	     8      4  version of the format
//	    12      4  C, length of the content's name, at most maxContent
//	    16      8  the segment's number
//	    24      8  marker: random, and never zero
//	    32      8  first: the number of the first event
//	    40      8  before: the number behind the last event of the segments before; those that they have from there on
//	               don't count. first is larger only where numbers are left out.
//	    48      C  what the frames hold, for the program that delivers them
//	  48+C      4  CRC-32C of all before
//
//	     0      8  marker, at the start of each frame
//	     8      8  the number of the first event
//	    16      4  how many events, at least 1
//	    20      4  R, length of the frame, 1 to MaxFrame
//	    24      4  S, length of what follows, 1 to R
//	    28      4  CRC-32C of all between marker and here, and of what follows
//	    32      S  the frame: as it is if S is R, else an S2 block
//
// The head keeps its form in all versions to come, so that older programs can tell that they don't know a segment.
const (
	segmentMagic = "culpspl\n"
	version      = 1
	prologue     = 48
	maxContent   = 255
	maxHead      = prologue + maxContent + 4
	frameHead    = 32
	suffix       = ".spool"
	// digits is how many a segment's name has, and maxSeq the largest number that fits.
	digits = 16
	maxSeq = 9_999_999_999_999_999
	// maxNumber is the largest number of an event that is believed.
	maxNumber = 1 << 62
)

// head is what stands at the start of a segment.
type head struct {
	version                    uint32
	seq, marker, first, before uint64
	content                    string
}

var errHead = errors.New("the head is damaged")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func (h *head) append(b []byte) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, h.version)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h.content)))
	b = binary.LittleEndian.AppendUint64(b, h.seq)
	b = binary.LittleEndian.AppendUint64(b, h.marker)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	b = binary.LittleEndian.AppendUint64(b, h.before)
	b = append(b, h.content...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli()))
}

// parseHead reads the head that b begins with, and returns its length.
func parseHead(b []byte) (h head, size int, err error) {
	if len(b) < prologue || string(b[:8]) != segmentMagic {
		return h, 0, errHead
	}
	c := binary.LittleEndian.Uint32(b[12:])
	if size = prologue + int(c) + 4; c > maxContent || size > len(b) {
		return h, 0, errHead
	}
	if crc32.Checksum(b[:size-4], castagnoli()) != binary.LittleEndian.Uint32(b[size-4:]) {
		return h, 0, errHead
	}
	h = head{
		version: binary.LittleEndian.Uint32(b[8:]),
		seq:     binary.LittleEndian.Uint64(b[16:]),
		marker:  binary.LittleEndian.Uint64(b[24:]),
		first:   binary.LittleEndian.Uint64(b[32:]),
		before:  binary.LittleEndian.Uint64(b[40:]),
		content: string(b[prologue : size-4]),
	}
	if h.version == version && (h.marker == 0 || h.before > h.first || h.first > maxNumber) {
		return h, 0, errHead
	}
	return h, size, nil
}

// appendFrame appends a stored frame, whose marker and number set fills in.
func appendFrame(dst, frame []byte, events int) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameHead)...)
	most := s2.MaxEncodedLen(len(frame))
	if cap(dst)-len(dst) < most {
		dst = append(make([]byte, 0, len(dst)+most), dst...)
	}
	packed := s2.Encode(dst[len(dst):len(dst)+most], frame)
	if len(packed) < len(frame) {
		dst = dst[:len(dst)+len(packed)]
	} else {
		dst = append(dst, frame...)
	}
	b := dst[start:]
	binary.LittleEndian.PutUint32(b[16:], uint32(events))
	binary.LittleEndian.PutUint32(b[20:], uint32(len(frame)))
	binary.LittleEndian.PutUint32(b[24:], uint32(len(b)-frameHead))
	return dst
}

// number gives a stored frame its number and its checksum.
func number(b []byte, first uint64) {
	binary.LittleEndian.PutUint64(b[8:], first)
	binary.LittleEndian.PutUint32(b[28:], checksum(b))
}

// mark gives a stored frame the marker of its segment.
func mark(b []byte, marker uint64) { binary.LittleEndian.PutUint64(b, marker) }

func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[8:28], castagnoli()), castagnoli(), b[frameHead:])
}

// stored is a frame as it is kept.
type stored struct {
	span
	// raw is the length of the frame, and size that of what is kept, with its head.
	raw, size int
	// b is what is kept, with its head.
	b []byte
	// plain is the frame as it was given, or nil.
	plain []byte
}

// parseFrame reads the head of a stored frame. ok: its numbers can be those of a frame.
func parseFrame(b []byte) (f stored, ok bool) {
	first, events := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[16:])
	raw, size := binary.LittleEndian.Uint32(b[20:]), binary.LittleEndian.Uint32(b[24:])
	ok = first <= maxNumber && events > 0 && raw > 0 && raw <= MaxFrame && size > 0 && size <= raw
	return stored{span: span{first, first + uint64(events)}, raw: int(raw), size: frameHead + int(size)}, ok
}

// intact reports whether b is a stored frame whose checksum fits.
func intact(b []byte) bool { return checksum(b) == binary.LittleEndian.Uint32(b[28:]) }

// frame returns the frame in memory that nobody else uses.
func (f *stored) frame() ([]byte, error) {
	if f.plain != nil {
		return f.plain, nil
	}
	data := f.b[frameHead:]
	if len(data) == f.raw {
		return append([]byte(nil), data...), nil
	}
	if n, err := s2.DecodedLen(data); err != nil || n != f.raw {
		return nil, s2.ErrCorrupt
	}
	return s2.Decode(nil, data)
}

func fileName(seq uint64) string { return fmt.Sprintf("%0*d%s", digits, seq, suffix) }

// parseName returns the number of a segment.
func parseName(name string) (seq uint64, ok bool) {
	digitsOf, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digitsOf) != digits || strings.Trim(digitsOf, "0123456789") != "" {
		return 0, false
	}
	seq, err := strconv.ParseUint(digitsOf, 10, 64)
	return seq, err == nil && seq > 0
}
