package preview

import (
	"bytes"
	"encoding/json"
)

// json shows JSON, or several values of it (https://jsonlines.org, RFC 7464).
func (w *work) json() { w.layout("", w.b.Bytes) }

// layout lays JSON values out behind a prefix: one that fits on a line as it is, others indented. From where it isn't JSON,
// it is shown as sent.
func (p *page) layout(prefix string, b []byte) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	for {
		b = bytes.TrimLeft(b, " \t\r\n\x1e") // RFC 7464 has a record separator before each value
		if len(b) == 0 || p.full() {
			return
		}
		l := layout{page: p, b: b, line: append([]byte{}, prefix...), prefix: prefix}
		b = b[l.value():]
	}
}

// layout is the way through one value.
//
// What is expected next follows from what was read:
//
//	value -> '{' -> name or '}' -> name -> ':' -> value
//	      -> '[' -> value or ']'
//	      -> string, number or word
//	a value that is over -> ',' or the end of what it is in
type layout struct {
	*page
	b      []byte
	prefix string
	// i is how far b was read.
	i int
	// line is the line at hand, open what isn't closed yet, of which the innermost is the last.
	line, open []byte
}

// value lays one value out, and returns how many bytes it took.
func (l *layout) value() int {
	// Values a line each, or the only one, where it fits. A line that isn't a value by itself is the beginning of one.
	fits := l.b[:min(len(l.b), max(l.limits.Columns-len(l.prefix), 0)+1)]
	end := bytes.IndexByte(fits, '\n')
	if end < 0 && len(fits) == len(l.b) && len(l.prefix)+len(l.b) <= l.limits.Columns {
		end = len(l.b)
	}
	if end >= 0 {
		if line := bytes.TrimRight(l.b[:end], " \t\r"); end == len(l.b) || json.Valid(line) {
			l.page.line(append(l.line, line...))
			return end
		}
	}
	if end, ok := l.read(); ok {
		l.page.line(l.line)
		return end
	}
	// It isn't JSON from here on, or it was cut.
	rest := bytes.TrimRight(l.b[l.i:], "\r\n\t ")
	first, rest, more := bytes.Cut(rest, []byte("\n"))
	l.page.line(append(l.line, bytes.TrimSuffix(first, []byte("\r"))...))
	if more {
		l.text(l.prefix, rest)
	}
	return len(l.b)
}

// read reads one value, up to where it isn't one.
func (l *layout) read() (end int, ok bool) {
	named := false // a name was read, and its value comes
	for l.space(); l.i < len(l.b); l.space() {
		switch c := l.b[l.i]; {
		case !named && len(l.open) > 0 && l.open[len(l.open)-1] == '{':
			n := stringLength(l.b[l.i:])
			if c != '"' || n == 0 {
				return 0, false
			}
			after := l.i + n
			for after < len(l.b) && isSpace(l.b[after]) {
				after++
			}
			if after == len(l.b) || l.b[after] != ':' {
				return 0, false
			}
			l.line = append(append(l.line, l.b[l.i:l.i+n]...), ": "...)
			l.i = after + 1
			named = true
			continue
		case c == '{', c == '[':
			l.line = append(l.line, c)
			l.open = append(l.open, c)
			l.i++
			named = false
			if l.space(); l.i < len(l.b) && l.b[l.i] == c+2 { // { and }, [ and ] are two apart
				break
			}
			l.newLine()
			continue
		case c == '"':
			n := stringLength(l.b[l.i:])
			if n == 0 {
				return 0, false
			}
			l.take(n)
			named = false
		default:
			n := 0
			for l.i+n < len(l.b) && bytes.IndexByte([]byte("{}[],:\" \t\r\n\x1e"), l.b[l.i+n]) < 0 {
				n++
			}
			if !json.Valid(l.b[l.i : l.i+n]) {
				return 0, false
			}
			l.take(n)
			named = false
		}
		// A value is over, or what was opened last is empty.
		for l.space(); ; l.space() {
			if len(l.open) == 0 {
				return l.i, true
			}
			if l.i == len(l.b) {
				return 0, false
			}
			if l.b[l.i] == ',' {
				l.take(1)
				l.newLine()
				break
			}
			if opener := l.open[len(l.open)-1]; l.b[l.i] != opener+2 {
				return 0, false
			}
			empty := len(l.line) > 0 && l.line[len(l.line)-1] == l.open[len(l.open)-1]
			deep := len(l.open) > MaxDepth
			l.open = l.open[:len(l.open)-1]
			if !empty && !deep {
				l.newLine()
			}
			l.take(1)
		}
	}
	return 0, false
}

// take adds n bytes to the line.
func (l *layout) take(n int) {
	l.line = append(l.line, l.b[l.i:l.i+n]...)
	l.i += n
}

func (l *layout) space() {
	for l.i < len(l.b) && isSpace(l.b[l.i]) {
		l.i++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// newLine ends the line, and indents the next by how much is open. Where too much is, the line goes on.
func (l *layout) newLine() {
	if len(l.open) > MaxDepth {
		return
	}
	l.page.line(bytes.TrimRight(l.line, " "))
	l.line = append(l.line[:0], l.prefix...)
	for range l.open {
		l.line = append(l.line, "  "...)
	}
}

// stringLength returns the length of the JSON string that b begins with, with its quotes; 0 when it doesn't end, or holds
// what strings can't.
func stringLength(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\':
			i++
		case c == '"':
			return i + 1
		case c < ' ':
			return 0
		}
	}
	return 0
}
