// Package firehose reads and writes the streams of fragments in which Apache httpd's mod_firehose records what a server's connections
// carry (https://httpd.apache.org/docs/trunk/mod/mod_firehose.html). docs/firehose.md has the format.
package firehose

import (
	"encoding/hex"
	"strconv"
)

// UUID is what the fragments of one conversation have in common: a connection, or, where single requests were recorded, a request.
type UUID [16]byte

// uuidLen is the length of a UUID as text.
const uuidLen = 36

// AppendText appends the UUID as text, in lower case.
func (u UUID) AppendText(dst []byte) ([]byte, error) {
	for i, c := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, []byte{c})
	}
	return dst, nil
}

// String returns the UUID as text, in lower case.
func (u UUID) String() string {
	b, _ := u.AppendText(make([]byte, 0, uuidLen))
	return string(b)
}

// Dir says where a fragment goes: to who answers, or to who asks.
type Dir byte

// The directions.
const (
	Request  Dir = '<'
	Response Dir = '>'
)

// MaxData is the most data of a fragment that is written, in bytes: with its header of 91 bytes at most, and a line end, it fits into
// the 4,096 bytes that Linux writes to a pipe at once (PIPE_BUF). What is read may be larger.
const MaxData = 4096 - 91 - 2

// Fragment is a part of a conversation in one direction, or the mark of its end.
type Fragment struct {
	UUID UUID
	Dir  Dir
	// Time is when the server handled it, in microseconds since 1970.
	Time int64
	// Count is its place among those of the UUID and direction, from 0. Of an end it is how many fragments there were.
	Count uint64
	// End: the direction is over; there is no Data.
	End bool
	// Data are the bytes. Of a fragment that was read, they are borrowed.
	Data []byte
	// Offset is where its header begins in the stream, of a fragment that was read.
	Offset int64
	// Untrusted: it comes behind damage, and isn't known to be one rather than bytes of another's data that look like one.
	Untrusted bool
	// Lost is how many bytes of Data are missing at their end, as the fragment was cut short: the header says that there were so many more.
	Lost int
	// Damaged: bytes that are no fragment follow, so Data may be too few, too many or others.
	Damaged bool
	// Nested: Data hold what looks like a header.
	Nested bool
}

// Append appends the fragment as it stands in a stream: byte for byte what mod_firehose writes.
func (f *Fragment) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(len(f.Data)), 16)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(f.Time), 16)
	dst = append(dst, ' ', byte(f.Dir), ' ')
	dst, _ = f.UUID.AppendText(dst)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, f.Count, 16)
	dst = append(dst, '\r', '\n')
	if f.End {
		return dst
	}
	dst = append(dst, f.Data...)
	return append(dst, '\r', '\n')
}
