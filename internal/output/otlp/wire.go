package otlp

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// Messages are written by hand rather than by generated code, which would make an object for each attribute. A message within
// another is opened, filled and closed:
//
//	at := 0
//	dst, at = open(dst, field)
//	dst = appendString(dst, ...)
//	dst = closed(dst, at)

// open begins a message within another, with one byte for its length.
func open(dst []byte, field protowire.Number) ([]byte, int) {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return append(dst, 0), len(dst) + 1
}

// closed ends the message that begins at an index: it sets its length, for which longer messages are moved.
func closed(dst []byte, at int) []byte {
	n := len(dst) - at
	if n < 0x80 {
		dst[at-1] = byte(n)
		return dst
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	for range more {
		dst = append(dst, 0)
	}
	copy(dst[at+more:], dst[at:at+n])
	protowire.AppendVarint(dst[:at-1], uint64(n))
	return dst
}

// appendBytes appends bytes that aren't text.
func appendBytes(dst []byte, field protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), b)
}

// appendString appends a text that is known to be UTF-8.
func appendString(dst []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), s)
}

// appendText appends a text from the wire. Fields of texts must be UTF-8: bytes that aren't become \xNN, and a backslash before
// what looks like that becomes \x5c, as in the document of an exchange.
func appendText(dst []byte, field protowire.Number, b []byte) []byte {
	if utf8.Valid(b) && bytes.IndexByte(b, '\\') < 0 {
		return appendBytes(dst, field, b)
	}
	const digits = "0123456789abcdef"
	dst, at := open(dst, field)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, '\\', 'x', digits[b[0]>>4], digits[b[0]&15])
		case r == '\\' && len(b) >= 4 && b[1] == 'x' && strings.IndexByte(digits, b[2]) >= 0 && strings.IndexByte(digits, b[3]) >= 0:
			dst = append(dst, `\x5c`...)
		default:
			dst = append(dst, b[:n]...)
		}
		b = b[n:]
	}
	return closed(dst, at)
}

func appendVarint(dst []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), n)
}

func appendFixed64(dst []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(dst, field, protowire.Fixed64Type), n)
}

func appendDouble(dst []byte, field protowire.Number, f float64) []byte {
	return appendFixed64(dst, field, math.Float64bits(f))
}

// bytesOf returns the bytes of a string, which nobody may change.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// appendTime appends a time in nanoseconds since 1970. Packets can say that they are older, spans can't.
func appendTime(dst []byte, field protowire.Number, ns int64) []byte {
	dst = protowire.AppendTag(dst, field, protowire.Fixed64Type)
	return binary.LittleEndian.AppendUint64(dst, uint64(max(ns, 0)))
}

// Fields of KeyValue, AnyValue and ArrayValue (opentelemetry.proto.common.v1).
const (
	keyValueKey   = 1
	keyValueValue = 2

	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5

	arrayValues = 1
)

// attribute begins an attribute, and its value; attributed ends both.
func attribute(dst []byte, field protowire.Number, key string) (_ []byte, at, value int) {
	dst, at = open(dst, field)
	dst = appendString(dst, keyValueKey, key)
	dst, value = open(dst, keyValueValue)
	return dst, at, value
}

func attributed(dst []byte, at, value int) []byte { return closed(closed(dst, value), at) }

// textAttribute appends an attribute, and nothing where it has no value.
func textAttribute(dst []byte, field protowire.Number, key string, value []byte) []byte {
	if len(value) == 0 {
		return dst
	}
	dst, at, v := attribute(dst, field, key)
	return attributed(appendText(dst, anyString, value), at, v)
}

func stringAttribute(dst []byte, field protowire.Number, key, value string) []byte {
	return textAttribute(dst, field, key, bytesOf(value))
}

func doubleAttribute(dst []byte, field protowire.Number, key string, value float64) []byte {
	dst, at, v := attribute(dst, field, key)
	return attributed(appendDouble(dst, anyDouble, value), at, v)
}

func intAttribute(dst []byte, field protowire.Number, key string, value int64) []byte {
	dst, at, v := attribute(dst, field, key)
	return attributed(appendVarint(dst, anyInt, uint64(value)), at, v)
}
