package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// A file is a head and records. Numbers are little-endian.
//
//	offset  bytes  head
//	     0      8  "culpwal\n"
//	     8      4  version of the format
//	    12      4  W, length of the writer's name, at most maxWriter
//	    16      4  H, length of the caller's header, at most MaxHeader
//	    20      8  the file's number
//	    28      8  life: the number of the first file that the writing process began
//	    36      8  marker: random, and never zero
//	    44      8  index of the first record, see below
//	    52      4  copies: how many records at the start were written before to another file
//	    56      W  who wrote it, for people
//	  56+W      H  the caller's header
//	56+W+H      4  CRC-32C of all before
//
//	     0      8  marker, at the start of each record
//	     8      8  index: 1, 2, 3, ... within a life
//	    16      4  L, length of the payload, 1 to MaxRecord
//	    20      4  CRC-32C of index, L and payload
//	    24      L  payload
//	  24+L      1  recordEnd: never zero, so that a record isn't whole whose end was never written
//
// The head keeps its form in all versions to come, so that older programs can say who wrote a file.
const (
	magic      = "culpwal\n"
	version    = 1
	prologue   = 56
	maxWriter  = 255
	recordHead = 24
	recordEnd  = 0xc5
	// overhead is what a record takes beside its payload, in bytes.
	overhead = recordHead + 1
	suffix   = ".log"
	// digits is how many a file's name has, and maxSeq the largest number that fits.
	digits = 16
	maxSeq = 9_999_999_999_999_999
)

// head is what stands at the start of a file.
type head struct {
	version           uint32
	seq, life, marker uint64
	first             uint64
	copies            uint32
	writer            string
	header            []byte
}

var (
	errHead    = errors.New("the head is damaged")
	errForeign = errors.New("the head is that of another file")
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func (h *head) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, h.version)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h.writer)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h.header)))
	b = binary.LittleEndian.AppendUint64(b, h.seq)
	b = binary.LittleEndian.AppendUint64(b, h.life)
	b = binary.LittleEndian.AppendUint64(b, h.marker)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	b = binary.LittleEndian.AppendUint32(b, h.copies)
	b = append(b, h.writer...)
	b = append(b, h.header...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli()))
}

// headSize returns the length of the head that begins with b, or errHead.
func headSize(b []byte) (int, error) {
	if len(b) < prologue || string(b[:8]) != magic {
		return 0, errHead
	}
	w, h := binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[16:])
	if w > maxWriter || h > MaxHeader {
		return 0, errHead
	}
	return prologue + int(w) + int(h) + 4, nil
}

// parseHead reads a head from exactly its bytes.
func parseHead(b []byte) (h head, err error) {
	n, err := headSize(b)
	if err != nil || n != len(b) || crc32.Checksum(b[:n-4], castagnoli()) != binary.LittleEndian.Uint32(b[n-4:]) {
		return head{}, errHead
	}
	w := prologue + int(binary.LittleEndian.Uint32(b[12:]))
	return head{
		version: binary.LittleEndian.Uint32(b[8:]),
		seq:     binary.LittleEndian.Uint64(b[20:]),
		life:    binary.LittleEndian.Uint64(b[28:]),
		marker:  binary.LittleEndian.Uint64(b[36:]),
		first:   binary.LittleEndian.Uint64(b[44:]),
		copies:  binary.LittleEndian.Uint32(b[52:]),
		writer:  string(b[prologue:w]),
		header:  append([]byte{}, b[w:n-4]...),
	}, nil
}

// appendRecord appends a record to b.
func appendRecord(b []byte, marker, index uint64, payload []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(b, marker)
	b = binary.LittleEndian.AppendUint64(b, index)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(b[start+8:], castagnoli()), castagnoli(), payload)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(append(b, payload...), recordEnd)
}

// record is the head of a record.
type record struct {
	marker, index uint64
	size          int // of the payload
}

func parseRecord(b []byte) record {
	return record{
		marker: binary.LittleEndian.Uint64(b),
		index:  binary.LittleEndian.Uint64(b[8:]),
		size:   int(binary.LittleEndian.Uint32(b[16:])),
	}
}

// intact reports whether b is a record whose checksum fits.
func intact(b []byte) bool {
	payload, end := b[recordHead:len(b)-1], b[len(b)-1]
	sum := crc32.Update(crc32.Checksum(b[8:20], castagnoli()), castagnoli(), payload)
	return end == recordEnd && sum == binary.LittleEndian.Uint32(b[20:])
}

// remark gives the records in b another marker, and returns how many they are.
func remark(b []byte, marker uint64) (n uint32) {
	for ; len(b) > 0; n++ {
		binary.LittleEndian.PutUint64(b, marker)
		b = b[overhead+parseRecord(b).size:]
	}
	return n
}

func fileName(seq uint64) string { return fmt.Sprintf("%0*d%s", digits, seq, suffix) }

// parseName returns the number of a file of the log.
func parseName(name string) (seq uint64, ok bool) {
	number, ok := strings.CutSuffix(name, suffix)
	if !ok || len(number) != digits || strings.Trim(number, "0123456789") != "" {
		return 0, false
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	return seq, err == nil && seq > 0
}
