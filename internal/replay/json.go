package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxFindings is how many differences of a body are told; what is behind them isn't looked at.
const maxFindings = 100

// parseJSON reads a document, with its numbers as they were written.
func parseJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	return v, nil
}

func names(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// jsonDiff compares two documents. A difference at or below a place of ignore is none.
type jsonDiff struct {
	ignore []Path
	at     []place
	found  []Finding
	// one: that there is a difference is enough.
	one bool
}

// full reports whether there are as many differences as are told.
func (d *jsonDiff) full() bool { return len(d.found) >= maxFindings || d.one && len(d.found) > 0 }

func (d *jsonDiff) compare(a, b any) {
	if d.full() || slices.ContainsFunc(d.ignore, func(p Path) bool { return p.covers(d.at) }) {
		return
	}
	if typeOf(a) != typeOf(b) {
		d.add(JSONType, typeOf(a)+" "+shortJSON(a), typeOf(b)+" "+shortJSON(b))
		return
	}
	switch a := a.(type) {
	case map[string]any:
		d.objects(a, b.(map[string]any))
	case []any:
		d.arrays(a, b.([]any))
	case json.Number:
		if !sameNumber(a.String(), b.(json.Number).String()) {
			d.add(JSONValue, shortJSON(a), shortJSON(b))
		}
	default:
		if a != b {
			d.add(JSONValue, shortJSON(a), shortJSON(b))
		}
	}
}

func (d *jsonDiff) objects(a, b map[string]any) {
	for _, name := range names(a) {
		d.at = append(d.at, place{name, -1})
		if v, ok := b[name]; ok {
			d.compare(a[name], v)
		} else {
			d.lone(JSONMissing, shortJSON(a[name]), "")
		}
		d.at = d.at[:len(d.at)-1]
	}
	for _, name := range names(b) {
		if _, ok := a[name]; !ok && !d.full() {
			d.at = append(d.at, place{name, -1})
			d.lone(JSONExtra, "", shortJSON(b[name]))
			d.at = d.at[:len(d.at)-1]
		}
	}
}

// lone adds what only one of the two has, unless it is ignored.
func (d *jsonDiff) lone(kind Kind, a, b string) {
	if !slices.ContainsFunc(d.ignore, func(p Path) bool { return p.covers(d.at) }) {
		d.add(kind, a, b)
	}
}

// arrays compares elements by their index. Where one has more, the elements at both ends that are the same aren't looked at: what is between them was added or
// removed.
func (d *jsonDiff) arrays(a, b []any) {
	if len(a) != len(b) {
		d.lengths(a, b)
		return
	}
	for i := range a {
		d.at = append(d.at, place{"", i})
		d.compare(a[i], b[i])
		d.at = d.at[:len(d.at)-1]
	}
}

func (d *jsonDiff) lengths(a, b []any) {
	d.add(JSONLength, strconv.Itoa(len(a))+" elements", strconv.Itoa(len(b))+" elements")
	if d.full() { // or arrays in arrays would be compared over and over
		return
	}
	from, short := 0, min(len(a), len(b))
	for from < short && d.same(a[from], b[from], from) {
		from++
	}
	tail := 0
	for tail < short-from && d.same(a[len(a)-1-tail], b[len(b)-1-tail], len(a)-1-tail) {
		tail++
	}
	for i := from; i < short-tail; i++ { // what is left in both
		d.at = append(d.at, place{"", i})
		d.compare(a[i], b[i])
		d.at = d.at[:len(d.at)-1]
	}
}

// same reports whether two elements differ in nothing that counts.
func (d *jsonDiff) same(a, b any, index int) bool {
	inner := jsonDiff{ignore: d.ignore, one: true, at: append(slices.Clone(d.at), place{"", index})}
	inner.compare(a, b)
	return len(inner.found) == 0
}

func (d *jsonDiff) add(kind Kind, a, b string) {
	if d.full() {
		return
	}
	d.found = append(d.found, Finding{Kind: kind, Where: where(d.at, true), At: where(d.at, false), Recorded: a, Replayed: b})
}

// where is a place in the language of paths. all: indexes are [*], so that all elements of an array have the same place.
func where(at []place, all bool) string {
	var s strings.Builder
	s.WriteByte('$')
	for _, p := range at {
		switch {
		case p.index >= 0 && all:
			s.WriteString("[*]")
		case p.index >= 0:
			s.WriteString("[" + strconv.Itoa(p.index) + "]")
		case p.name == "" || strings.ContainsAny(p.name, ".[]'* "):
			s.WriteString("['" + p.name + "']")
		default:
			s.WriteString("." + p.name)
		}
	}
	return s.String()
}

func typeOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case json.Number:
		return "number"
	case bool:
		return "boolean"
	}
	return "null"
}

// shortJSON is a value as it is shown.
func shortJSON(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "{" + strconv.Itoa(len(v)) + " members}"
	case []any:
		return "[" + strconv.Itoa(len(v)) + " elements]"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a value that was read
	return shorten(strings.TrimSuffix(b.String(), "\n"))
}

// sameNumber compares numbers by their value, not by how they are written: integers exactly, others as the doubles that most programs make of them.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	if integer(a) && integer(b) {
		return strings.TrimPrefix(a, "-") == "0" && strings.TrimPrefix(b, "-") == "0"
	}
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err == nil && err2 == nil && x == y
}

func integer(s string) bool { return !strings.ContainsAny(s, ".eE") }
