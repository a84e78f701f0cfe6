package redact

import "bytes"

// maxNested is how deep values within values are taken apart: a URL in a parameter, JSON in a string of JSON.
const maxNested = 5

// view is a value with its escapes undone. offsets say where in the value as sent each byte of it comes from,
// with the value's length at the end.
type view struct {
	bytes   []byte
	offsets []uint32
}

func (w *view) reset() { w.bytes, w.offsets = w.bytes[:0], w.offsets[:0] }

func (w *view) add(c byte, offset int) {
	w.bytes = append(w.bytes, c)
	w.offsets = append(w.offsets, uint32(offset))
}

// unescapePercent undoes percent-encoding (RFC 3986 §2.1). Of JSON in a form, a plus sign is a space.
func (w *view) unescapePercent(v []byte) {
	w.reset()
	for i := 0; i < len(v); {
		c, n := v[i], 1
		if c == '%' && i+2 < len(v) {
			if hi, lo := unhex(v[i+1]), unhex(v[i+2]); hi < 16 && lo < 16 {
				c, n = hi<<4|lo, 3
			}
		}
		w.add(c, i)
		i += n
	}
	w.offsets = append(w.offsets, uint32(len(v)))
	if !startsJSON(w.bytes) {
		return
	}
	for i, c := range w.bytes {
		if c == '+' && v[w.offsets[i]] == '+' {
			w.bytes[i] = ' '
		}
	}
}

// unescapeJSON undoes the escapes of a string of JSON (RFC 8259 §7). Those of bytes that no name and no
// delimiter has are left as they are.
func (w *view) unescapeJSON(v []byte) {
	w.reset()
	for i := 0; i < len(v); {
		c, n := v[i], 1
		if c == '\\' && i+1 < len(v) {
			switch e := v[i+1]; e {
			case '"', '\\', '/':
				c, n = e, 2
			case 'n', 'r', 't', 'b', 'f':
				c, n = ' ', 2
			case 'u':
				if i+5 < len(v) && v[i+2] == '0' && v[i+3] == '0' && unhex(v[i+4]) < 8 && unhex(v[i+5]) < 16 {
					c, n = unhex(v[i+4])<<4|unhex(v[i+5]), 6
				}
			}
		}
		w.add(c, i)
		i += n
	}
	w.offsets = append(w.offsets, uint32(len(v)))
}

// inView looks for what is embedded in v[from:to] once that is unescaped.
func (r *Redactor) inView(v []byte, from, to int, unescape func(*view, []byte)) {
	n := len(r.spans)
	switch {
	case n >= MaxSecrets:
		r.add(v, from, to)
		return
	case r.nested == maxNested:
		r.text(v, from, to, cards)
		return
	}
	w := &r.views[r.nested]
	r.nested++
	unescape(w, v[from:to])
	r.embedded(w.bytes, 0, len(w.bytes))
	r.nested--
	for i := n; i < len(r.spans); i++ {
		s := &r.spans[i]
		s.from, s.to = from+int(w.offsets[s.from]), from+int(w.offsets[s.to])
	}
}

// embedded is text that may be a value of its own: JSON, a URL, parameters.
func (r *Redactor) embedded(v []byte, i, to int) {
	switch {
	case startsJSON(v[i:to]):
		r.members(v, i, to)
	case bytes.IndexByte(v[i:to], '=') >= 0, bytes.Contains(v[i:to], []byte("://")):
		r.free(v, i, to)
	default:
		r.text(v, i, to, cards)
	}
}

// startsJSON reports whether b begins as an object or array of JSON does.
func startsJSON(b []byte) bool {
	i := skipBlank(b, 0, len(b))
	return i < len(b) && (b[i] == '{' || b[i] == '[')
}

// stringValue is a string of JSON that isn't secret as a whole.
func (r *Redactor) stringValue(v []byte, i, to int) {
	r.level++
	if r.level <= maxNested && bytes.IndexByte(v[i:to], '\\') >= 0 {
		r.inView(v, i, to, (*view).unescapeJSON)
	} else {
		r.embedded(v, i, to)
	}
	r.level--
}

// nestedValue is the value of a parameter that isn't secret as a whole.
func (r *Redactor) nestedValue(v []byte, i, to int) {
	switch {
	case hidesSyntax(v[i:to]):
		r.inView(v, i, to, (*view).unescapePercent)
	case bytes.IndexByte(v[i:to], '@') >= 0:
		// The authority of a URL, for which nothing was escaped.
		if start := bytes.Index(v[i:to], []byte("//")); start >= 0 {
			start += i + len("//")
			if at := bytes.LastIndexByte(v[start:next(v, start, to, &authorityEnd)], '@'); at >= 0 {
				r.text(v, i, start, cards)
				r.add(v, start, start+at)
				i = start + at + 1
			}
		}
		fallthrough
	default:
		r.text(v, i, to, cards)
	}
}

// hidesSyntax reports whether percent-encoded bytes are in b that mean something in a URL, in parameters or in
// JSON: = @ { " and the like.
func hidesSyntax(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '%')
		if i < 0 || i+2 >= len(b) {
			return false
		}
		switch unhex(b[i+1])<<4 | unhex(b[i+2]) {
		case '=', '@', '{', '"':
			return true
		}
		b = b[i+1:]
	}
}
