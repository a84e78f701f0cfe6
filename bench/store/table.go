package main

import (
	"fmt"
	"io"

	"github.com/culprit-http/culprit/bench/gauge"
)

// figure is one line of a table: what was measured, and what was aimed at.
type figure struct{ what, value, aim, remark string }

// printFigures prints a table of figures.
func printFigures(w io.Writer, title string, all []figure, markdown bool) {
	rows := [][]string{{"", "measured", "aim", ""}}
	for _, f := range all {
		rows = append(rows, []string{f.what, f.value, f.aim, f.remark})
	}
	gauge.PrintRows(w, title, rows, markdown)
}

// thousands writes a number with commas between the thousands.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
