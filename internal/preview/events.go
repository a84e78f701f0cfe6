package preview

import (
	"bytes"
	"strconv"
)

// events lists the events of an event stream (WHATWG HTML §9.2.6): their types and ids, and their data.
func (w *work) events() {
	b := bytes.TrimPrefix(w.b.Bytes, []byte("\ufeff"))
	var e event
	number := 0
	for len(b) > 0 {
		line, rest := cutLine(b)
		b = rest
		if len(line) > 0 {
			e.field(line)
			continue
		}
		if e.lines != nil {
			number++
			w.event(number, &e)
		}
		e = event{}
	}
	if e.lines != nil || e.name != nil {
		e.cut = true // the stream goes on, or was left there
		w.event(number+1, &e)
	}
}

// cutLine cuts b behind its first line, which ends with CR, LF or both.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0:
		return b, nil
	case b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n':
		return b[:i], b[i+2:]
	}
	return b[:i], b[i+1:]
}

// event is what was read of an event. lines isn't nil when it has data.
type event struct {
	name, id []byte
	lines    [][]byte
	cut      bool
}

// field takes a line.
func (e *event) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		e.lines = append(e.lines, value)
	case "event":
		e.name = value
	case "id":
		e.id = value
	}
}

// event shows an event. Data that is JSON is laid out.
func (w *work) event(number int, e *event) {
	head := strconv.AppendInt([]byte("event "), int64(number), 10)
	for _, part := range [...]struct {
		name string
		text []byte
	}{{"", e.name}, {"id ", e.id}} {
		if len(part.text) > 0 {
			head = append(append(append(head, ", "...), part.name...), part.text...)
		}
	}
	if e.cut {
		head = append(head, ", cut"...)
	}
	w.line(head)
	data := bytes.Join(e.lines, []byte("\n"))
	if start := bytes.TrimLeft(data, " \t"); bytes.HasPrefix(start, []byte("{")) || bytes.HasPrefix(start, []byte("[")) {
		w.layout("  ", data)
		return
	}
	if len(data) > 0 {
		w.text("  ", data)
	}
}
