// Package terminal holds what showing things on a terminal needs: escaping of what came from the
// wire, display widths, colours, and the forms of durations, sizes and counts. It does no I/O and
// reads no environment: whoever opens the terminal says how wide it is.
package terminal

import "github.com/culprit-http/culprit/internal/exchange"

// Terminal says what the output may look like.
type Terminal struct {
	// Width is the number of columns; 0 when the output isn't a terminal, and then nothing is cut.
	Width int
	// Color allows colours.
	Color bool
}

// Style is a way to draw text. It is never the only sign of anything.
type Style uint8

// The styles.
const (
	Plain Style = iota
	Bold
	Dim
	Amber
	Red
	Violet
	numStyles
)

// sequences are ECMA-48 SGR controls. The colours are the first eight, which every terminal has, and
// which follow the user's theme.
var sequences = [numStyles]string{Bold: "\x1b[1m", Dim: "\x1b[2m", Amber: "\x1b[33m", Red: "\x1b[31m", Violet: "\x1b[35m"}

const reset = "\x1b[0m"

// Begin appends what starts a style.
func (t Terminal) Begin(dst []byte, s Style) []byte {
	if !t.Color {
		return dst
	}
	return append(dst, sequences[s]...)
}

// End appends what ends a style.
func (t Terminal) End(dst []byte, s Style) []byte {
	if !t.Color || s == Plain {
		return dst
	}
	return append(dst, reset...)
}

var classStyles = [...]Style{4: Amber, 5: Red}

// StatusStyle returns the style of a status code: only what failed is coloured.
func StatusStyle(status int) Style {
	if class := status / 100; 0 <= class && class < len(classStyles) {
		return classStyles[class]
	}
	return Plain
}

var gradeStyles = [exchange.Grades]Style{
	exchange.Gap: Dim, exchange.Midstream: Dim, exchange.OneSided: Dim, exchange.Undecryptable: Dim,
	exchange.Unanswered: Amber, exchange.Aborted: Violet,
}

// GradeStyle returns the style of a grade.
func GradeStyle(g exchange.Grade) Style { return gradeStyles[g] }
