package preview

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of how messages are told.
const (
	// maxHex is how many bytes of a value that isn't text are shown.
	maxHex = 32
	// maxNumber is the largest field number that a message is expected to have, when it is guessed that bytes are one.
	maxNumber = 1 << 16
	// maxFields is how many fields of one message are shown.
	maxFields = 1 << 16
)

// decode turns a message of protobuf into JSON. It reads the wire format itself, with the descriptor as its dictionary, so
// that a message that is cut or not quite what its descriptor says is shown as far as it goes, and fields that the
// descriptor doesn't know are shown by number.
//
// Without a descriptor the kinds of values are guessed (https://protobuf.dev/programming-guides/encoding): a varint is
// taken for a number that isn't zigzag-encoded, what has four or eight bytes for a floating-point number if that is a
// likely one, and what has a length for text if it is that, else for a message if it is framed as one, else for bytes.
func (w *work) decode(b []byte, d protoreflect.MessageDescriptor) []byte {
	e := encoder{previewer: w.Previewer}
	e.message(b, d, 0)
	return e.out
}

// encoder writes JSON.
type encoder struct {
	previewer *Previewer
	out       []byte
}

func (e *encoder) full() bool { return len(e.out) >= MaxMessage }

// field is one field as it is on the wire: the value of a varint or of fixed size, or the bytes of one with a length or of a
// group.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64
	bytes  []byte
	// next is the index of the next field of this number, 0 when there is none.
	next int
}

// fields takes a message apart, up to maxFields. rest is what isn't a whole field any more.
func fields(b []byte) (all []field, rest []byte) {
	for len(b) > 0 && len(all) < maxFields {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return all, b
		}
		f, m := field{kind: kind}, 0
		switch kind {
		case protowire.VarintType, protowire.Fixed32Type, protowire.Fixed64Type:
			f, m = readScalar(kind, b[n:])
		case protowire.BytesType:
			f.bytes, m = protowire.ConsumeBytes(b[n:])
		case protowire.StartGroupType:
			f.bytes, m = protowire.ConsumeGroup(number, b[n:])
		default:
			return all, b
		}
		if m < 0 {
			return all, b
		}
		f.number = number
		all = append(all, f)
		b = b[n+m:]
	}
	return all, b
}

// isMessage reports whether b is framed as a message, so that it may be one.
func isMessage(b []byte) bool {
	for len(b) > 0 {
		number, _, n := protowire.ConsumeField(b)
		if n < 0 || number > maxNumber {
			return false
		}
		b = b[n:]
	}
	return true
}

// message writes a message as an object. d may be nil.
func (e *encoder) message(b []byte, d protoreflect.MessageDescriptor, depth int) {
	if depth > MaxNested {
		e.string(bytesOf(int64(len(b))) + " nested too deeply")
		return
	}
	if d != nil && e.wellKnown(b, d, depth) {
		return
	}
	all, rest := fields(b)
	last := map[protowire.Number]int{}
	first := make([]bool, len(all))
	for i := range all {
		if before, ok := last[all[i].number]; ok {
			all[before].next = i
		} else {
			first[i] = true
		}
		last[all[i].number] = i
	}
	e.out = append(e.out, '{')
	comma := false
	name := func(s string) {
		if comma {
			e.out = append(e.out, ", "...)
		}
		comma = true
		e.string(s)
		e.out = append(e.out, ": "...)
	}
	for i := range all {
		if !first[i] {
			continue
		}
		if e.full() {
			break
		}
		f := &all[i]
		var fd protoreflect.FieldDescriptor
		if d != nil {
			fd = d.Fields().ByNumber(f.number)
		}
		if fd == nil {
			name(strconv.Itoa(int(f.number)))
		} else {
			name(string(fd.Name()))
		}
		e.values(all, i, fd, depth)
	}
	switch {
	case e.full(), len(all) == maxFields && len(rest) > 0:
		name("…")
		e.string("more, left out")
	case len(rest) > 0:
		// Not the bytes: they may be the beginning of a secret, which nobody would recognise.
		name("…")
		e.string(bytesOf(int64(len(rest))) + " that are no field")
	}
	e.out = append(e.out, '}')
}

// values writes the values of all fields with the number of the one at i: as a list if there are several, or may be.
func (e *encoder) values(all []field, i int, fd protoreflect.FieldDescriptor, depth int) {
	if fd != nil && fd.IsMap() {
		e.entries(all, i, fd, depth)
		return
	}
	list := all[i].next > 0 || fd != nil && fd.IsList()
	if !list {
		e.value(&all[i], fd, depth)
		return
	}
	e.out = append(e.out, '[')
	comma := false
	separate := func() {
		if comma {
			e.out = append(e.out, ", "...)
		}
		comma = true
	}
	for {
		f := &all[i]
		if kind, ok := packed(f, fd); ok {
			for b := f.bytes; len(b) > 0 && !e.full(); {
				v, n := readScalar(kind, b)
				separate()
				e.value(&v, fd, depth)
				b = b[n:]
			}
		} else {
			separate()
			e.value(f, fd, depth)
		}
		if i = f.next; i == 0 || e.full() {
			break
		}
	}
	e.out = append(e.out, ']')
}

// entries writes a map.
func (e *encoder) entries(all []field, i int, fd protoreflect.FieldDescriptor, depth int) {
	e.out = append(e.out, '{')
	for comma := false; ; comma = true {
		if comma {
			e.out = append(e.out, ", "...)
		}
		key, value := field{kind: protowire.VarintType}, field{}
		entry, _ := fields(all[i].bytes)
		for _, f := range entry {
			switch f.number {
			case 1:
				key = f
			case 2:
				value = f
			}
		}
		if key.kind == protowire.BytesType {
			e.string(string(key.bytes))
		} else {
			e.out = append(e.out, '"')
			e.scalar(&key, fd.MapKey())
			e.out = append(e.out, '"')
		}
		e.out = append(e.out, ": "...)
		if value.number == 0 {
			e.out = append(e.out, "null"...) // left out: it is the default
		} else {
			e.value(&value, fd.MapValue(), depth)
		}
		if i = all[i].next; i == 0 || e.full() {
			break
		}
	}
	e.out = append(e.out, '}')
}

// wires are the wire types of the kinds of fields, but for those with a length.
var wires = map[protoreflect.Kind]protowire.Type{
	protoreflect.BoolKind: protowire.VarintType, protoreflect.EnumKind: protowire.VarintType,
	protoreflect.Int32Kind: protowire.VarintType, protoreflect.Sint32Kind: protowire.VarintType, protoreflect.Uint32Kind: protowire.VarintType,
	protoreflect.Int64Kind: protowire.VarintType, protoreflect.Sint64Kind: protowire.VarintType, protoreflect.Uint64Kind: protowire.VarintType,
	protoreflect.Fixed32Kind: protowire.Fixed32Type, protoreflect.Sfixed32Kind: protowire.Fixed32Type, protoreflect.FloatKind: protowire.Fixed32Type,
	protoreflect.Fixed64Kind: protowire.Fixed64Type, protoreflect.Sfixed64Kind: protowire.Fixed64Type, protoreflect.DoubleKind: protowire.Fixed64Type,
	protoreflect.GroupKind: protowire.StartGroupType,
}

// packed returns the wire type of the values that are packed into a field. It isn't ok for a field that isn't so.
func packed(f *field, fd protoreflect.FieldDescriptor) (kind protowire.Type, ok bool) {
	if fd == nil || !fd.IsList() || f.kind != protowire.BytesType {
		return 0, false
	}
	if kind, ok = wires[fd.Kind()]; !ok || kind == protowire.StartGroupType {
		return 0, false
	}
	for b := f.bytes; len(b) > 0; {
		_, n := readScalar(kind, b)
		if n < 0 {
			return 0, false
		}
		b = b[n:]
	}
	return kind, true
}

// readScalar reads a value without a length. n is how many bytes it took, negative when there is none.
func readScalar(kind protowire.Type, b []byte) (f field, n int) {
	f.kind = kind
	switch kind {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		f.value = uint64(v)
	default:
		f.value, n = protowire.ConsumeFixed64(b)
	}
	return f, n
}

// value writes one value. Where the descriptor and the wire contradict each other, the wire is believed.
func (e *encoder) value(f *field, fd protoreflect.FieldDescriptor, depth int) {
	if fd != nil {
		kind, ok := wires[fd.Kind()]
		if !ok {
			kind = protowire.BytesType
		}
		if kind != f.kind {
			fd = nil
		}
	}
	switch {
	case fd == nil:
		e.guess(f, depth)
	case fd.Message() != nil:
		e.message(f.bytes, fd.Message(), depth+1)
	case fd.Kind() == protoreflect.StringKind:
		e.string(string(f.bytes))
	case fd.Kind() == protoreflect.BytesKind && isText(f.bytes, false, false):
		e.string(string(f.bytes))
	case fd.Kind() == protoreflect.BytesKind:
		e.string(hexText(f.bytes))
	default:
		e.scalar(f, fd)
	}
}

// scalar writes a number, a truth value or the name of an enumeration's value.
func (e *encoder) scalar(f *field, fd protoreflect.FieldDescriptor) {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		e.out = strconv.AppendBool(e.out, f.value != 0)
	case protoreflect.EnumKind:
		if v := fd.Enum().Values().ByNumber(protoreflect.EnumNumber(int32(f.value))); v != nil {
			e.string(string(v.Name()))
			return
		}
		e.out = strconv.AppendInt(e.out, int64(int32(f.value)), 10)
	case protoreflect.Int32Kind, protoreflect.Sfixed32Kind:
		e.out = strconv.AppendInt(e.out, int64(int32(f.value)), 10)
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		e.out = strconv.AppendInt(e.out, protowire.DecodeZigZag(f.value), 10)
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		e.out = strconv.AppendInt(e.out, int64(f.value), 10)
	case protoreflect.FloatKind:
		e.float(float64(math.Float32frombits(uint32(f.value))), 32)
	case protoreflect.DoubleKind:
		e.float(math.Float64frombits(f.value), 64)
	default:
		e.out = strconv.AppendUint(e.out, f.value, 10)
	}
}

// guess writes a value of which nothing is known but how it is on the wire.
func (e *encoder) guess(f *field, depth int) {
	switch f.kind {
	case protowire.VarintType:
		if f.value >= 1<<63 {
			e.out = strconv.AppendInt(e.out, int64(f.value), 10) // negative numbers have ten bytes
			return
		}
		e.out = strconv.AppendUint(e.out, f.value, 10)
	case protowire.Fixed32Type:
		if v := float64(math.Float32frombits(uint32(f.value))); likely(v) {
			e.float(v, 32)
			return
		}
		e.out = strconv.AppendUint(e.out, f.value, 10)
	case protowire.Fixed64Type:
		if v := math.Float64frombits(f.value); likely(v) {
			e.float(v, 64)
			return
		}
		e.out = strconv.AppendUint(e.out, f.value, 10)
	case protowire.StartGroupType:
		e.message(f.bytes, nil, depth+1)
	default:
		// Few texts begin with a line feed, which is also the tag of a first field with a length.
		b := f.bytes
		switch {
		case isText(b, false, false) && (len(b) == 0 || b[0] != '\n' || !isMessage(b)):
			e.string(string(f.bytes))
		case isMessage(f.bytes):
			e.message(f.bytes, nil, depth+1)
		default:
			e.string(hexText(f.bytes))
		}
	}
}

// likely reports whether a floating-point number is one that people write.
func likely(v float64) bool { return v == 0 || math.Abs(v) > 1e-9 && math.Abs(v) < 1e15 }

func (e *encoder) float(v float64, bits int) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		e.string(fmt.Sprint(v))
		return
	}
	e.out = strconv.AppendFloat(e.out, v, 'g', -1, bits)
}

// string writes a JSON string.
func (e *encoder) string(s string) {
	const digits = "0123456789abcdef"
	e.out = append(e.out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			e.out = append(e.out, '\\', byte(r))
		case r == '\n':
			e.out = append(e.out, `\n`...)
		case r == '\r':
			e.out = append(e.out, `\r`...)
		case r == '\t':
			e.out = append(e.out, `\t`...)
		case r < ' ':
			e.out = append(e.out, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			e.out = utf8.AppendRune(e.out, r)
		}
	}
	e.out = append(e.out, '"')
}

// hexText gives the beginning of bytes in hexadecimal.
func hexText(b []byte) string {
	if len(b) <= maxHex {
		return "0x" + hex.EncodeToString(b)
	}
	return "0x" + hex.EncodeToString(b[:maxHex]) + "… (" + bytesOf(int64(len(b))) + ")"
}

// wrappers are messages with one field, which stands for the message, and what it is when it isn't there.
var wrappers = map[protoreflect.FullName]string{
	"google.protobuf.DoubleValue": "0", "google.protobuf.FloatValue": "0", "google.protobuf.Int64Value": "0", "google.protobuf.UInt64Value": "0",
	"google.protobuf.Int32Value": "0", "google.protobuf.UInt32Value": "0", "google.protobuf.BoolValue": "false",
	"google.protobuf.StringValue": `""`, "google.protobuf.BytesValue": `""`,
}

// wellKnown writes a message that has a form of its own in JSON (https://protobuf.dev/programming-guides/json): times,
// durations, wrappers, and any message with its type. It reports whether d is one, and it could be read.
func (e *encoder) wellKnown(b []byte, d protoreflect.MessageDescriptor, depth int) bool {
	zero, isWrapper := wrappers[d.FullName()]
	name := d.FullName()
	if !isWrapper && name != "google.protobuf.Timestamp" && name != "google.protobuf.Duration" && name != "google.protobuf.Any" {
		return false
	}
	all, rest := fields(b)
	one, two := field{}, field{}
	for _, f := range all {
		switch f.number {
		case 1:
			one = f
		case 2:
			two = f
		default:
			return false
		}
	}
	if len(rest) > 0 {
		return false
	}
	seconds, nanos := int64(one.value), int64(int32(two.value))
	switch {
	case isWrapper && one.number == 0:
		e.out = append(e.out, zero...)
	case isWrapper:
		e.value(&one, d.Fields().ByNumber(1), depth)
	case name == "google.protobuf.Any":
		return e.any(string(one.bytes), two.bytes, depth)
	case name == "google.protobuf.Duration":
		const most = 315_576_000_000 // ten thousand years
		if seconds < -most || seconds > most || nanos <= -1e9 || nanos >= 1e9 {
			return false
		}
		sign := ""
		if seconds < 0 || nanos < 0 {
			sign, seconds, nanos = "-", -seconds, -nanos
		}
		text := strconv.FormatInt(seconds, 10)
		if nanos != 0 {
			text += strings.TrimRight(fmt.Sprintf(".%09d", max(nanos, -nanos)), "0")
		}
		e.string(sign + text + "s")
	default:
		const first, last = -62135596800, 253402300799 // the years 1 to 9999
		if seconds < first || seconds > last || nanos < 0 || nanos >= 1e9 {
			return false
		}
		e.string(time.Unix(seconds, nanos).UTC().Format(time.RFC3339Nano))
	}
	return true
}

// any writes a message that comes with its type.
func (e *encoder) any(url string, b []byte, depth int) bool {
	d := e.previewer.messageType(url[strings.LastIndexByte(url, '/')+1:])
	if d == nil {
		return false
	}
	e.out = append(e.out, `{"@type": `...)
	e.string(url)
	e.out = append(e.out, `, "value": `...)
	e.message(b, d, depth+1)
	e.out = append(e.out, '}')
	return true
}
