package mongodb

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"
)

// The types of BSON's elements (https://bsonspec.org/spec.html).
const (
	typeDouble     = 0x01
	typeString     = 0x02
	typeDocument   = 0x03
	typeArray      = 0x04
	typeBinary     = 0x05
	typeUndefined  = 0x06
	typeObjectID   = 0x07
	typeBool       = 0x08
	typeDate       = 0x09
	typeNull       = 0x0a
	typeRegex      = 0x0b
	typeDBPointer  = 0x0c
	typeCode       = 0x0d
	typeSymbol     = 0x0e
	typeScopedCode = 0x0f
	typeInt32      = 0x10
	typeTimestamp  = 0x11
	typeInt64      = 0x12
	typeDecimal    = 0x13
	typeMaxKey     = 0x7f
	typeMinKey     = 0xff
)

// fixed is how long the beginning of a value is: all of it, or what tells how much follows.
var fixed = map[byte]int{
	typeDouble: 8, typeString: 4, typeDocument: 4, typeArray: 4, typeBinary: 5, typeUndefined: 0, typeObjectID: 12, typeBool: 1,
	typeDate: 8, typeNull: 0, typeDBPointer: 4, typeCode: 4, typeSymbol: 4, typeScopedCode: 4, typeInt32: 4,
	typeTimestamp: 8, typeInt64: 8, typeDecimal: 16, typeMaxKey: 0, typeMinKey: 0, typeRegex: 0,
}

// further is what a length adds up to beside itself: it counts its own four bytes in a document, and 12 bytes aren't counted in a
// pointer.
var further = map[byte]int64{
	typeDocument: -4, typeArray: -4, typeScopedCode: -4, typeString: 0, typeCode: 0, typeSymbol: 0, typeBinary: 0, typeDBPointer: 12,
}

// maxName is how long the name of an element may be that is understood, in bytes.
const maxName = 512

// element is an element of a document.
type element struct {
	kind byte
	name []byte
	// value is the value, or what there is of its beginning; size is how long it is.
	value []byte
	size  int64
}

// readElement reads the type, the name, and the fixed part of the value of the element at the beginning of b. n is the length of these
// parts; 0 when b has less, -1 when it isn't an element. The terminator of a document is an element of type 0.
func readElement(b []byte) (e element, n int) {
	if len(b) == 0 {
		return e, 0
	}
	if e.kind = b[0]; e.kind == 0 {
		return e, 1
	}
	head, known := fixed[e.kind]
	if !known {
		return e, -1
	}
	end := 1
	for ; ; end++ {
		switch {
		case end > maxName:
			return e, -1
		case end >= len(b):
			return e, 0
		}
		if b[end] == 0 {
			break
		}
	}
	e.name = b[1:end]
	rest := b[end+1:]
	if e.kind == typeRegex {
		// Two texts, each up to a zero.
		for range 2 {
			for head < len(rest) && rest[head] != 0 {
				head++
			}
			if head > 2*maxName {
				return e, -1
			}
			head++
		}
	}
	if len(rest) < head {
		return e, 0
	}
	e.value, e.size = rest[:head], int64(head)
	if more, ok := further[e.kind]; ok {
		length := int64(int32(binary.LittleEndian.Uint32(rest)))
		if length+more < 0 || length > maxLength {
			return e, -1
		}
		e.size += length + more
	}
	return e, end + 1 + head
}

// next returns the element at the beginning of b, with as much of its value as there is, and what follows it. ok: there was one;
// whole: all of it is there.
func next(b []byte) (e element, rest []byte, ok, whole bool) {
	e, n := readElement(b)
	if n <= 0 || e.kind == 0 {
		return e, nil, false, true
	}
	have := b[n-len(e.value):]
	if e.size > int64(len(have)) {
		e.value = have
		return e, nil, true, false
	}
	e.value = have[:e.size]
	return e, have[e.size:], true, true
}

// elements returns the elements of a document, without its length, as far as they are there.
func elements(document []byte) []byte {
	if len(document) < 4 {
		return nil
	}
	if n := int64(int32(binary.LittleEndian.Uint32(document))); n >= 4 && n < int64(len(document)) {
		document = document[:n]
	}
	return document[4:]
}

// lookUp returns an element of a document.
func lookUp(document []byte, name string) (element, bool) {
	for b := elements(document); ; {
		e, rest, ok, whole := next(b)
		if !ok {
			return e, false
		}
		if string(e.name) == name {
			return e, whole
		}
		b = rest
	}
}

// text returns the text of a value, nil when it isn't one.
func (e *element) text() []byte {
	if (e.kind != typeString && e.kind != typeSymbol && e.kind != typeCode) || len(e.value) < 5 {
		return nil
	}
	return e.value[4 : len(e.value)-1]
}

// bytes returns the bytes of a binary value.
func (e *element) bytes() []byte {
	if e.kind != typeBinary || len(e.value) < 5 {
		return nil
	}
	return e.value[5:]
}

// number returns the number of a value.
func (e *element) number() (n int64, ok bool) {
	switch {
	case e.kind == typeInt32 && len(e.value) == 4:
		return int64(int32(binary.LittleEndian.Uint32(e.value))), true
	case (e.kind == typeInt64 || e.kind == typeDate) && len(e.value) == 8:
		return int64(binary.LittleEndian.Uint64(e.value)), true
	case e.kind == typeDouble && len(e.value) == 8:
		if f := math.Float64frombits(binary.LittleEndian.Uint64(e.value)); math.Abs(f) < 1<<62 {
			return int64(f), true
		}
	case e.kind == typeBool && len(e.value) == 1:
		return int64(e.value[0]), true
	}
	return 0, false
}

// maxDepth is how deep documents are shown: MongoDB takes 100 levels.
const maxDepth = 100

// writer makes JSON of documents, as MongoDB's relaxed extended JSON has it
// (https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/), but for what it leaves out.
type writer struct {
	out []byte
	// limit is how long out may become. cut: it would have become longer, or the document isn't there as a whole.
	limit int
	cut   bool
}

// full reports whether nothing more is to be written.
func (w *writer) full() bool {
	if len(w.out) >= w.limit {
		w.cut = true
	}
	return w.cut
}

func (w *writer) text(s string) { w.out = append(w.out, s...) }

// document writes a document or an array, as far as it is there, without the elements that are left out.
func (w *writer) document(b []byte, array bool, leftOut func(name []byte) bool, depth int) {
	brackets := "{}"
	if array {
		brackets = "[]"
	}
	w.text(brackets[:1])
	if depth > maxDepth {
		w.cut = true
	}
	whole := len(b) >= 4 && int64(len(b)) >= int64(int32(binary.LittleEndian.Uint32(b)))
	first := true
	for b = elements(b); !w.full(); {
		e, rest, ok, all := next(b)
		if !ok {
			break
		}
		whole = whole && all
		b = rest
		if leftOut != nil && leftOut(e.name) {
			continue
		}
		if !first {
			w.text(",")
		}
		first = false
		if !array {
			w.quote(e.name)
			w.text(":")
		}
		w.value(&e, depth)
	}
	if !whole {
		w.cut = true
	}
	if !w.cut {
		w.text(brackets[1:])
	}
}

// value writes a value.
func (w *writer) value(e *element, depth int) {
	v := e.value
	if int64(len(v)) < e.size && e.kind != typeDocument && e.kind != typeArray && e.kind != typeString {
		w.cut = true
		return
	}
	switch e.kind {
	case typeDouble:
		w.double(math.Float64frombits(binary.LittleEndian.Uint64(v)))
	case typeString, typeSymbol:
		if int64(len(v)) < e.size {
			w.cut = true
			w.quote(v[min(4, len(v)):])
			w.out = w.out[:len(w.out)-1] // it goes on
			return
		}
		w.quote(e.text())
	case typeDocument, typeArray:
		w.document(v, e.kind == typeArray, nil, depth+1)
	case typeBinary:
		w.binary(v)
	case typeUndefined:
		w.text(`{"$undefined":true}`)
	case typeObjectID:
		w.text(`{"$oid":"`)
		w.out = hex.AppendEncode(w.out, v)
		w.text(`"}`)
	case typeBool:
		w.out = strconv.AppendBool(w.out, v[0] != 0)
	case typeDate:
		w.date(int64(binary.LittleEndian.Uint64(v)))
	case typeNull:
		w.text("null")
	case typeRegex:
		w.regex(v)
	case typeCode:
		w.wrapped("$code", e.text())
	case typeScopedCode:
		w.text(`{"$code":"?"}`)
	case typeDBPointer:
		w.text(`{"$dbPointer":{}}`)
	case typeInt32:
		w.out = strconv.AppendInt(w.out, int64(int32(binary.LittleEndian.Uint32(v))), 10)
	case typeTimestamp:
		w.text(`{"$timestamp":{"t":`)
		w.out = strconv.AppendUint(w.out, uint64(binary.LittleEndian.Uint32(v[4:])), 10)
		w.text(`,"i":`)
		w.out = strconv.AppendUint(w.out, uint64(binary.LittleEndian.Uint32(v)), 10)
		w.text(`}}`)
	case typeInt64:
		w.out = strconv.AppendInt(w.out, int64(binary.LittleEndian.Uint64(v)), 10)
	case typeDecimal:
		w.wrapped("$numberDecimal", appendDecimal(nil, v))
	case typeMinKey:
		w.text(`{"$minKey":1}`)
	case typeMaxKey:
		w.text(`{"$maxKey":1}`)
	}
}

// wrapped writes a text as the value of an object with one name.
func (w *writer) wrapped(name string, text []byte) {
	w.text(`{"` + name + `":`)
	w.quote(text)
	w.text("}")
}

func (w *writer) double(f float64) {
	switch {
	case math.IsNaN(f):
		w.text(`{"$numberDouble":"NaN"}`)
	case math.IsInf(f, 1):
		w.text(`{"$numberDouble":"Infinity"}`)
	case math.IsInf(f, -1):
		w.text(`{"$numberDouble":"-Infinity"}`)
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		w.out = strconv.AppendFloat(w.out, f, 'f', 1, 64)
	default:
		w.out = strconv.AppendFloat(w.out, f, 'g', -1, 64)
	}
}

// subtypeUUID is the subtype of binary values that are UUIDs.
const subtypeUUID = 4

// binary writes a binary value: its length (4), its subtype (1), its bytes.
func (w *writer) binary(v []byte) {
	subtype, data := v[4], v[5:]
	if subtype == subtypeUUID && len(data) == 16 {
		w.text(`{"$uuid":"`)
		at := 0
		for i, n := range [...]int{4, 2, 2, 2, 6} {
			if i > 0 {
				w.text("-")
			}
			w.out = hex.AppendEncode(w.out, data[at:at+n])
			at += n
		}
		w.text(`"}`)
		return
	}
	w.text(`{"$binary":{"base64":"`)
	if room := max(w.limit-len(w.out), 0); len(data) > room {
		data, w.cut = data[:room], true // as text it is longer still
	}
	w.out = base64.StdEncoding.AppendEncode(w.out, data)
	w.text(`","subType":"`)
	w.out = hex.AppendEncode(w.out, []byte{subtype})
	w.text(`"}}`)
}

func (w *writer) date(ms int64) {
	t := time.UnixMilli(ms).UTC()
	if year := t.Year(); year < 1970 || year > 9999 {
		w.text(`{"$date":{"$numberLong":"`)
		w.out = strconv.AppendInt(w.out, ms, 10)
		w.text(`"}}`)
		return
	}
	w.text(`{"$date":"`)
	w.out = t.AppendFormat(w.out, "2006-01-02T15:04:05.999Z07:00")
	w.text(`"}`)
}

// regex writes a regular expression: the pattern and its options, each up to a zero.
func (w *writer) regex(v []byte) {
	end := 0
	for end < len(v) && v[end] != 0 {
		end++
	}
	w.text(`{"$regularExpression":{"pattern":`)
	w.quote(v[:end])
	w.text(`,"options":`)
	w.quote(v[min(end+1, len(v)):max(len(v)-1, min(end+1, len(v)))])
	w.text("}}")
}

const hexDigits = "0123456789abcdef"

// quote writes a text in quotation marks (RFC 8259 §7).
func (w *writer) quote(s []byte) {
	w.text(`"`)
	if room := max(w.limit-len(w.out), 0); len(s) > room {
		s, w.cut = s[:room], true
	}
	for len(s) > 0 {
		c := s[0]
		switch {
		case c == '"' || c == '\\':
			w.out = append(w.out, '\\', c)
		case c == '\n':
			w.text(`\n`)
		case c == '\t':
			w.text(`\t`)
		case c < ' ' || c == 0x7f:
			w.out = append(w.out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			w.out = append(w.out, c)
		default:
			r, n := utf8.DecodeRune(s)
			w.out = utf8.AppendRune(w.out, r)
			s = s[n:]
			continue
		}
		s = s[1:]
	}
	w.text(`"`)
}

// The parts of a decimal number (IEEE 754-2008 decimal128, BID): a sign, an exponent, a coefficient.
const (
	decimalBias   = 6176
	decimalDigits = 34
)

// appendDecimal writes a decimal number as decimal128 has it in text: with an exponent where it isn't a plain one.
func appendDecimal(out, v []byte) []byte {
	low, high := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[8:])
	if high>>63 != 0 {
		out = append(out, '-')
	}
	switch high >> 58 & 31 {
	case 30:
		return append(out, "Infinity"...)
	case 31:
		return append(out[:0], "NaN"...)
	}
	exponent := int(high>>49&0x3fff) - decimalBias
	var digits []byte
	if high>>61&3 == 3 {
		// A coefficient that is too large counts as zero.
		exponent, digits = int(high>>47&0x3fff)-decimalBias, []byte("0")
	} else {
		n := new(big.Int).SetUint64(high & (1<<49 - 1))
		n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(low))
		if digits = n.Append(nil, 10); len(digits) > decimalDigits {
			digits = []byte("0")
		}
	}
	adjusted := exponent + len(digits) - 1
	switch {
	case exponent == 0:
		return append(out, digits...)
	case exponent < 0 && adjusted >= -6:
		point := len(digits) + exponent
		if point <= 0 {
			out = append(out, "0."...)
			for range -point {
				out = append(out, '0')
			}
			return append(out, digits...)
		}
		out = append(append(out, digits[:point]...), '.')
		return append(out, digits[point:]...)
	}
	out = append(out, digits[0])
	if len(digits) > 1 {
		out = append(append(out, '.'), digits[1:]...)
	}
	out = append(out, 'E')
	if adjusted >= 0 {
		out = append(out, '+')
	}
	return strconv.AppendInt(out, int64(adjusted), 10)
}
