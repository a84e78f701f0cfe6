package main

import (
	"bytes"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/output/terminal"
)

// column describes a column of a table.
type column struct {
	head string
	// right: cells are numbers, whose ends stand beneath each other.
	right bool
	// min, if not 0, is the width to which cells may be cut in the middle when the terminal is too narrow. What stands
	// from the last of the tails on isn't cut as long as there is room for it: half a number is another one.
	min   int
	tails []string
	// quotes: where this isn't for a terminal, cells with a space in them stand in quotes, as statements do in the line output.
	quotes bool
	// drop, if not 0, lets the column be left out when nothing is in it, or the terminal is too narrow, the largest
	// first.
	drop int
}

// table is rows of cells. Cells are safe text, without control characters.
type table struct {
	columns []column
	rows    [][]string
}

// columnGap is the number of spaces between columns.
const columnGap = 2

// append lays the table out for a terminal. When the output is none (its width is 0), nothing is cut or left out, and
// single spaces separate the cells: a space within a cell becomes \x20, an empty one a dash, so that each row has
// as many fields as there are columns. Cells of some columns stand in quotes instead; a quote within is \x22 then.
func (t *table) append(dst []byte, width int) []byte {
	if width == 0 {
		dst = t.appendFields(dst, t.heads())
		for _, row := range t.rows {
			dst = t.appendFields(dst, row)
		}
		return dst
	}
	shown, widths := t.layout(width)
	dst = t.appendRow(dst, t.heads(), shown, widths)
	for _, row := range t.rows {
		dst = t.appendRow(dst, row, shown, widths)
	}
	return dst
}

func (t *table) heads() []string {
	var heads []string
	for _, c := range t.columns {
		heads = append(heads, c.head)
	}
	return heads
}

func (t *table) appendFields(dst []byte, cells []string) []byte {
	for i, cell := range cells {
		dst = appendField(dst, cell, i == 0, t.columns[i].quotes)
	}
	return append(dst, '\n')
}

func appendFields(dst []byte, cells []string) []byte {
	for i, cell := range cells {
		dst = appendField(dst, cell, i == 0, false)
	}
	return append(dst, '\n')
}

func appendField(dst []byte, cell string, first, quotes bool) []byte {
	if !first {
		dst = append(dst, ' ')
	}
	switch {
	case cell == "":
		return append(dst, '-')
	case quotes && (cell[0] == '"' || strings.Contains(cell, " ")):
		return append(append(append(dst, '"'), strings.ReplaceAll(cell, `"`, `\x22`)...), '"')
	}
	return append(dst, strings.ReplaceAll(cell, " ", `\x20`)...)
}

// layout returns which columns are shown, and their widths.
func (t *table) layout(width int) (shown, widths []int) {
	widths = make([]int, len(t.columns))
	for i, c := range t.columns {
		for _, row := range t.rows {
			widths[i] = max(widths[i], terminal.Width([]byte(row[i])))
		}
		if widths[i] > 0 || c.drop == 0 {
			shown = append(shown, i)
		}
		widths[i] = max(widths[i], terminal.Width([]byte(c.head)))
	}
	least := func(i int) int {
		if m := t.columns[i].min; m > 0 {
			return min(m, widths[i])
		}
		return widths[i]
	}
	total := func(width func(i int) int) int {
		n := columnGap * (len(shown) - 1)
		for _, i := range shown {
			n += width(i)
		}
		return n
	}
	for total(least) > width {
		out := slices.MaxFunc(shown, func(a, b int) int { return t.columns[a].drop - t.columns[b].drop })
		if t.columns[out].drop == 0 {
			break
		}
		shown = slices.DeleteFunc(shown, func(i int) bool { return i == out })
	}
	// First the longest cells are cut, down to the least width; then, if need be, further. When that isn't enough
	// either, lines are broken, and names may as well be read.
	floors := []func(i int) int{least}
	letter := func(i int) int {
		if t.columns[i].min > 0 {
			return min(1, widths[i])
		}
		return widths[i]
	}
	if total(letter) <= width {
		floors = append(floors, letter)
	}
	for _, floor := range floors {
		for excess := total(func(i int) int { return widths[i] }) - width; excess > 0; {
			longest, second := -1, 0
			for _, i := range shown {
				switch {
				case t.columns[i].min == 0 || widths[i] <= floor(i):
				case longest < 0 || widths[i] > widths[longest]:
					if longest >= 0 {
						second = widths[longest]
					}
					longest = i
				default:
					second = max(second, widths[i])
				}
			}
			if longest < 0 {
				break
			}
			cut := min(excess, max(widths[longest]-max(second, floor(longest)), 1))
			widths[longest] -= cut
			excess -= cut
		}
	}
	return shown, widths
}

func (t *table) appendRow(dst []byte, cells []string, shown, widths []int) []byte {
	spaces := 0
	for n, i := range shown {
		cell := cut([]byte(cells[i]), widths[i], t.columns[i].tails)
		pad := widths[i] - terminal.Width(cell)
		if n > 0 {
			spaces += columnGap
		}
		if t.columns[i].right {
			spaces += pad
		}
		if len(cell) > 0 {
			dst = append(dst, strings.Repeat(" ", spaces)...)
			dst = append(dst, cell...)
			spaces = 0
		}
		if !t.columns[i].right {
			spaces += pad
		}
	}
	return append(dst, '\n')
}

// cut returns a cell in no more than a width, if need be without its middle.
func cut(cell []byte, width int, tails []string) []byte {
	if terminal.Width(cell) <= width {
		return cell
	}
	for _, tail := range tails {
		i := bytes.LastIndex(cell, []byte(tail))
		if i < 0 {
			continue
		}
		if room := width - 1 - terminal.Width(cell[i:]); room > 0 {
			return slices.Concat(cell[:terminal.Fit(cell[:i], room)], []byte(terminal.Ellipsis), cell[i:])
		}
	}
	return terminal.AppendMiddle(nil, cell, width)
}
