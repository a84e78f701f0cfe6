package gauge

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// PrintRows prints a table, whose first row is the head.
func PrintRows(w io.Writer, title string, rows [][]string, markdown bool) {
	fmt.Fprintf(w, "\n%s\n\n", title)
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		var cells []string
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 || rows[0][i] == "" {
				cells = append(cells, cell+pad)
			} else {
				cells = append(cells, pad+cell)
			}
		}
		if !markdown {
			fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "  "), " "))
			continue
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		if n > 0 {
			continue
		}
		for i := range cells {
			rule := strings.Repeat("-", max(widths[i]-1, 2))
			if i == 0 || row[i] == "" {
				cells[i] = rule + "-"
			} else {
				cells[i] = rule + ":"
			}
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
}
