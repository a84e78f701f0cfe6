package framed

import (
	"bytes"

	"github.com/culprit-http/culprit/internal/proto"
)

// place is where events is in a line.
type place uint8

const (
	inName  place = iota // in its field name, so far a beginning of "data"
	inSpace              // behind the colon of data: a space there isn't part of the value
	inValue              // in the value of data
	inOther              // in a line of another field, or a comment
)

const data = "data"

// events counts the events of an event stream (WHATWG HTML §9.2.6).
type events struct {
	place place
	// matched is how much of the name was read.
	matched uint8
	// mark is how much of a byte order mark was read at the beginning, noMark when there can't be one.
	mark uint8
	// begun: the line has bytes; afterCR: the last byte was a CR, so that an LF ends the same line.
	begun, afterCR bool
	// lost: bytes are missing since the last empty line; unsure: since the last line end.
	lost, unsure bool
	// lines counts the data lines of the event, and size is that of their values.
	lines, size int64
}

var byteOrderMark = []byte("\ufeff")

func (e *events) write(b []byte, parts *proto.Parts) {
	for len(b) > 0 {
		c := b[0]
		if int(e.mark) < len(byteOrderMark) {
			if c == byteOrderMark[e.mark] {
				e.mark++
				b = b[1:]
				continue
			}
			if e.mark > 0 {
				e.begun, e.place = true, inOther // it began like one
			}
			e.mark = uint8(len(byteOrderMark))
		}
		switch {
		case c == '\n' && e.afterCR:
			e.afterCR = false
			b = b[1:]
			continue
		case c == '\r' || c == '\n':
			e.line(parts)
			e.afterCR = c == '\r'
			b = b[1:]
			continue
		}
		e.afterCR, e.begun = false, true
		switch e.place {
		case inName:
			switch {
			case int(e.matched) < len(data) && c == data[e.matched]:
				e.matched++
			case int(e.matched) == len(data) && c == ':':
				e.place = inSpace
			default:
				e.place = inOther
			}
			b = b[1:]
		case inSpace:
			e.place = inValue
			if c == ' ' {
				b = b[1:]
			}
		default:
			n := bytes.IndexAny(b, "\r\n")
			if n < 0 {
				n = len(b)
			}
			if e.place == inValue {
				e.size += int64(n)
			}
			b = b[n:]
		}
	}
}

// line ends a line, and with an empty one the event.
func (e *events) line(parts *proto.Parts) {
	isData := e.place == inSpace || e.place == inValue || e.place == inName && int(e.matched) == len(data)
	if isData {
		e.lines++
	}
	if !e.begun && !e.unsure {
		if e.lines > 0 && !e.lost {
			size := e.size + e.lines - 1 // with a line feed between lines
			parts.Count++
			parts.Bytes += size
			parts.Largest = max(parts.Largest, size)
		}
		e.lines, e.size, e.lost = 0, 0, false
	}
	e.place, e.matched, e.begun, e.unsure = inName, 0, false, false
}

// gap says that bytes are missing.
func (e *events) gap() {
	*e = events{place: inOther, mark: uint8(len(byteOrderMark)), lost: true, unsure: true}
}
