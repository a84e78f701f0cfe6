package stream

import (
	"fmt"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/follow"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

// Tcpflow is the form in which tcpflow prints, -c if nothing else is said; with its letters behind a hyphen, as in tcpflow-CD0, another one.
const Tcpflow Form = "tcpflow"

// letters are the options of tcpflow that a form may have: c with the source of each segment, C without, 0 without a line end behind a
// segment, B as it is, s with dots for what can't be printed, D in hexadecimal, g in colour.
const letters = "cC0BsDg"

// ParseForm reads a form.
func ParseForm(text string) (Form, error) {
	if slices.Contains(Forms(), text) || text == string(Tcpflow) {
		return Form(text), nil
	}
	options, ok := strings.CutPrefix(text, string(Tcpflow)+"-")
	if !ok || options == "" || strings.Trim(options, letters) != "" {
		return "", fmt.Errorf("%q: want one of %s, %s, or %s- and of tcpflow's options the letters %s, as in tcpflow-CD0", text, strings.Join(Forms(), ", "),
			Tcpflow, Tcpflow, letters)
	}
	for _, both := range [...]string{"cC", "Bs"} {
		if strings.ContainsRune(options, rune(both[0])) && strings.ContainsRune(options, rune(both[1])) {
			return "", fmt.Errorf("%q: %c and %c exclude each other", text, both[0], both[1])
		}
	}
	return Form(text), nil
}

// likeTcpflow reports whether a form is one of tcpflow's.
func (f Form) likeTcpflow() bool {
	return f == Tcpflow || strings.HasPrefix(string(f), string(Tcpflow)+"-")
}

// has reports whether a form of tcpflow's has an option.
func (f Form) has(letter byte) bool {
	return strings.IndexByte(strings.TrimPrefix(string(f), string(Tcpflow)), letter) >= 0
}

// Silent reports whether a form has nothing but what was sent, so that it can't say what is missing.
func (f Form) Silent() bool { return f.likeTcpflow() && f.has('C') }

// The colours of tcpflow: of what the client sends, and of all else.
const (
	fromClient = "\x1b[0;34m"
	fromServer = "\x1b[0;31m"
	colourEnd  = "\x1b[0m"
)

// segment prints bytes as tcpflow does.
func (o *Output) segment(c *follow.Chunk) {
	f := o.o.Form
	if f.has('g') {
		colour := fromServer
		if c.Dir == proto.Originator && !c.Flow.Midstream {
			colour = fromClient
		}
		o.buf = append(o.buf, colour...)
	}
	if !f.has('C') {
		o.buf = appendEnd(o.buf, c.Flow, c.Dir)
		o.buf = append(o.buf, '-')
		o.buf = appendEnd(o.buf, c.Flow, c.Dir.Other())
		o.buf = append(o.buf, ": "...)
		if f.has('D') {
			o.buf = append(o.buf, '\n')
		}
	}
	switch {
	case f.has('D'):
		o.buf = appendRows(o.buf, c.Data)
	case !f.has('B'):
		o.printable(c.Data)
	case o.o.Terminal.Width > 0:
		o.escaped(c.Data)
	default:
		o.buf = append(o.buf, c.Data...)
	}
	if f.has('g') {
		o.buf = append(o.buf, colourEnd...)
	}
	if !f.has('0') {
		o.buf = append(o.buf, '\n')
	}
	o.begun = len(o.buf) > 0 && o.buf[len(o.buf)-1] != '\n' // what is said of holes has a line of its own
}

// appendEnd appends an address and a port as tcpflow does.
func appendEnd(dst []byte, f *proto.Flow, d proto.Direction) []byte {
	if a := f.Addr[d].Netip(); a.Is4() {
		p := a.As4()
		dst = fmt.Appendf(dst, "%03d.%03d.%03d.%03d", p[0], p[1], p[2], p[3])
	} else {
		dst = a.AppendTo(dst)
	}
	return fmt.Appendf(dst, ".%05d", f.Port[d])
}

// printable appends bytes, with dots for what isn't printable ASCII, nor CR or LF. On a terminal, a CR which doesn't end a line would put
// what follows over what is there.
func (o *Output) printable(b []byte) {
	from := len(o.buf)
	o.buf = append(o.buf, b...)
	shown := o.buf[from:]
	for i, c := range shown {
		switch {
		case ' ' <= c && c <= '~', c == '\n':
		case c == '\r' && (o.o.Terminal.Width == 0 || i+1 < len(shown) && shown[i+1] == '\n'):
		default:
			shown[i] = '.'
		}
	}
}

// escaped appends bytes with escapes for what would steer the terminal.
func (o *Output) escaped(b []byte) {
	for line := range strings.SplitAfterSeq(string(b), "\n") {
		text, ended := strings.CutSuffix(line, "\n")
		o.buf = terminal.AppendSafe(o.buf, []byte(strings.TrimSuffix(text, "\r")))
		if ended {
			o.buf = append(o.buf, '\n')
		}
	}
}

// tcpflowRow is how many bytes tcpflow shows in a row.
const tcpflowRow = 32

// appendRows appends bytes in hexadecimal, as tcpflow shows them: only rows behind the first are filled up.
func appendRows(dst []byte, b []byte) []byte {
	for at := 0; at < len(b); at += tcpflowRow {
		row := b[at:min(at+tcpflowRow, len(b))]
		dst = fmt.Appendf(dst, "%04x: ", at)
		from := len(dst)
		for i, c := range row {
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
			if i%2 == 1 {
				dst = append(dst, ' ')
			}
		}
		if at > 0 {
			for len(dst)-from < tcpflowRow/2*5 {
				dst = append(dst, ' ')
			}
		}
		dst = append(dst, ' ')
		for _, c := range row {
			if c < ' ' || c > '~' {
				c = '.'
			}
			dst = append(dst, c)
		}
		dst = append(dst, '\n')
	}
	return dst
}
