package exchange

import (
	"strings"

	"github.com/culprit-http/culprit/internal/packet"
	"github.com/culprit-http/culprit/internal/proto"
)

// ValueKind says which member of a Value holds.
type ValueKind uint8

// The kinds of value.
const (
	Absent ValueKind = iota
	// Text: Value.Text, and Value.Bytes when Text is empty.
	Text
	// Int, Duration (nanoseconds), Time (nanoseconds since 1970) and Bool (0 or 1): Value.Int.
	Int
	Duration
	Time
	Bool
	// Float: Value.Float.
	Float
	// IP: Value.Addr.
	IP
	// Headers: the fields of Value.Message, as a map of lower-cased names to arrays.
	Headers
	// List: Value.List.
	List
)

// Value is the value of a field of one exchange. Bytes and Message are borrowed from the exchange.
type Value struct {
	Kind    ValueKind
	Int     int64
	Float   float64
	Text    string
	Bytes   []byte
	Addr    packet.Addr
	Message *proto.Message
	List    []string

	// scratch holds the bytes of values that are made, until the next Get; line those of longer ones.
	scratch [32]byte
	line    []byte
}

// Field is one field of the exchange document. The table Fields is the only place that knows them:
// NDJSON, the exchange filter and docs/fields.md are made from it.
type Field struct {
	// Name is the path in the JSON document, such as "http.request.method".
	Name string
	// Aliases are the short names of the exchange filter.
	Aliases []string
	// Type is the type in Elasticsearch terms; Unit the unit of numbers.
	Type, Unit string
	// Kind is the kind of the values that Get gives, when not Absent.
	Kind ValueKind
	// Meaning says what it is, in one line; Source where it comes from.
	Meaning, Source string
	// Get puts the field's value into v, or leaves it Absent. It is called with v.Kind == Absent.
	Get func(x *Exchange, v *Value)
}

// OfProcess reports whether the field is about the process at an end of the connection.
func (f *Field) OfProcess() bool {
	for _, prefix := range [...]string{"process.", "source.process.", "destination.process.", "culprit.process.", "container.", "kubernetes."} {
		if strings.HasPrefix(f.Name, prefix) {
			return true
		}
	}
	return false
}

// Lookup returns the field of that name or alias, or nil.
func Lookup(name string) *Field {
	for i := range Fields {
		if Fields[i].Name == name {
			return &Fields[i]
		}
		for _, a := range Fields[i].Aliases {
			if a == name {
				return &Fields[i]
			}
		}
	}
	return nil
}
