package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// printTable prints what the tools did with a capture.
func printTable(w io.Writer, c *benchCapture, results []result, markdown bool) {
	fmt.Fprintf(w, "\n%s: %s; %s MB, %s requests, %s answered\n\n", c.name, c.about,
		thousands(c.full.bytes/1e6), thousands(int64(c.full.truth.Requests)), thousands(int64(c.full.truth.Answered)))
	best := 0.0
	for _, r := range results {
		if r.tool.peer() {
			best = max(best, r.perSecond(float64(r.found)))
		}
	}
	var rows [][]string
	for _, r := range results {
		of := r.file.truth.Answered
		if r.tool.requests {
			of = r.file.truth.Requests
		}
		row := []string{
			r.tool.name,
			thousands(r.file.bytes / 1e6),
			thousands(int64(r.perSecond(float64(r.file.bytes) / 1e6))),
			"-", "-", "-", "-",
			megabytes(r.memory.resident), megabytes(r.memory.anonymous),
			r.tool.remark,
		}
		if r.tool.found != nil {
			row[3] = thousands(int64(r.perSecond(float64(r.found))))
			row[4] = thousands(int64(r.found))
			row[5] = fmt.Sprintf("%.1f", 100*float64(r.found)/float64(of))
			if best > 0 {
				row[6] = fmt.Sprintf("%.1f", r.perSecond(float64(r.found))/best)
			}
		}
		rows = append(rows, row)
	}
	printRows(w, []string{"tool", "MB", "MB/CPU-s", "exchanges/CPU-s", "found", "% of truth",
		"× best peer", "peak RSS MB", "RssAnon MB", ""}, rows, markdown)
}

// printRows prints a table: the first column and the last to the left, numbers to the right.
func printRows(w io.Writer, head []string, rows [][]string, markdown bool) {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(row []string) {
		cells := make([]string, len(row))
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 || head[i] == "" {
				cells[i] = cell + pad
			} else {
				cells[i] = pad + cell
			}
		}
		if markdown {
			fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		} else {
			fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "  "), " "))
		}
	}
	line(head)
	if markdown {
		rule := make([]string, len(head))
		for i := range head {
			rule[i] = strings.Repeat("-", max(widths[i]-1, 2))
			if i == 0 || head[i] == "" {
				rule[i] += "-"
			} else {
				rule[i] += ":"
			}
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(rule, " | "))
	}
	for _, row := range rows {
		line(row)
	}
}

func megabytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(n)/1e6)
}

// thousands writes a number with commas between the thousands.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
