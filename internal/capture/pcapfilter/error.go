package pcapfilter

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// SyntaxError says what in an expression isn't understood or isn't supported, and where.
type SyntaxError struct {
	Expr string
	// Pos is the offset in Expr of what the message is about, in bytes.
	Pos     int
	Message string
}

// maxShown is how much of an expression an error shows before and after its position, in bytes.
const maxShown = 60

// Error returns the message, the expression, and a line with a caret under the position.
func (e *SyntaxError) Error() string {
	before, after := e.Expr[:e.Pos], e.Expr[e.Pos:]
	if len(before) > maxShown {
		before = "..." + strings.ToValidUTF8(before[len(before)-maxShown:], "")
	}
	if len(after) > maxShown {
		after = strings.ToValidUTF8(after[:maxShown], "") + "..."
	}
	before, after = printable(before), printable(after)
	return fmt.Sprintf("%s\n  %s%s\n  %*s", e.Message, before, after, utf8.RuneCountInString(before)+1, "^")
}

// printable makes one line of a piece of an expression. An expression may come from a file, and its
// control characters must not reach a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r < ' ' || 0x7f <= r && r < 0xa0:
			return utf8.RuneError
		}
		return r
	}, s)
}

// closest returns the word that a misspelt one was probably meant to be, or "".
func closest(word string) string {
	best, distance := "", 3
	if len(word) <= 4 {
		distance = 2
	}
	if len(word) > 32 {
		return ""
	}
	for _, table := range [][]string{words(protocols), words(qualifiers), words(primitives)} {
		for _, w := range table {
			// Among equally close words the first in the alphabet wins: tables have no order.
			if d := editDistance(word, w); d < distance || d == distance && best != "" && w < best {
				best, distance = w, d
			}
		}
	}
	return best
}

func words[V any](table map[string]V) []string {
	list := make([]string, 0, len(table))
	for w := range table {
		list = append(list, w)
	}
	return list
}

// editDistance returns how many letters must be inserted, deleted, replaced or swapped with their
// neighbour to make b of a (the restricted Damerau-Levenshtein distance).
func editDistance(a, b string) int {
	var rows [3][]int
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	older, old, now := rows[0], rows[1], rows[2]
	for j := range old {
		old[j] = j
	}
	for i := range a {
		now[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			now[j+1] = min(old[j]+cost, old[j+1]+1, now[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], older[j-1]+1)
			}
		}
		older, old, now = old, now, older
	}
	return old[len(b)]
}
