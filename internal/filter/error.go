package filter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error is a filter that was refused.
type Error struct {
	// Text is the whole filter.
	Text string
	// Pos and Len are the offending part, in bytes of Text. Len is 0 at the end of the text.
	Pos, Len int
	// Msg says what is wrong and what to write instead.
	Msg string
}

// Error returns the message, and below it the line of the text with the offending part underlined.
func (e *Error) Error() string {
	start := strings.LastIndexByte(e.Text[:e.Pos], '\n') + 1
	line := e.Text[start:]
	if i := strings.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	part := min(e.Len, max(len(line)-(e.Pos-start), 0))
	indent := utf8.RuneCountInString(e.Text[start:e.Pos])
	carets := max(utf8.RuneCountInString(e.Text[e.Pos:e.Pos+part]), 1)
	return e.Msg + "\n  " + strings.Map(printable, line) + "\n  " +
		strings.Repeat(" ", indent) + strings.Repeat("^", carets)
}

// printable keeps the carets under their part, and control sequences out of terminals.
func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return ' '
	}
	return r
}
