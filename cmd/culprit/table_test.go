package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/output/terminal"
)

func TestTable(t *testing.T) {
	tab := table{
		columns: []column{{head: "name", min: 6}, {head: "n", right: true}, {head: "more", drop: 1}, {head: "last", min: 4}},
		rows: [][]string{
			{"a", "1", "x", "end"},
			{"abcdefghijkl", "1000", "", "e…d"},
			{"", "", "日本", ""},
			{"b", "22", "", "a longer end"},
		},
	}
	for _, c := range []struct {
		width int
		want  string
	}{
		{80, `
name             n  more  last
a                1  x     end
abcdefghijkl  1000        e…d
                    日本
b               22        a longer end
`},
		{36, `
name            n  more  last
a               1  x     end
abcdefgh…kl  1000        e…d
                   日本
b              22        a longer…nd
`},
		{20, `
name       n  last
a          1  end
abcd…l  1000  e…d

b         22  a lo…d
`},
		{11, `
…     n  l…
a     1  e…
…  1000  e…

b    22  a…
`},
		{0, `
name n more last
a 1 x end
abcdefghijkl 1000 - e…d
- - 日本 -
b 22 - a\x20longer\x20end
`},
	} {
		if got := "\n" + string(tab.append(nil, c.width)); got != c.want {
			t.Errorf("width %d:\n%s\nwant\n%s", c.width, got, c.want)
		}
	}
}

// Statements stand in quotes where this isn't for a terminal.
func TestTableQuotes(t *testing.T) {
	tab := table{columns: []column{{head: "text", quotes: true}, {head: "path"}}, rows: [][]string{
		{"SELECT a", "/a b"}, {`SELECT "a"`, `"/a b"`}, {"PING", "/"}, {`"x`, "/"}, {"", ""},
	}}
	want := `text path
"SELECT a" /a\x20b
"SELECT \x22a\x22" "/a\x20b"
PING /
"\x22x" /
- -
`
	if got := string(tab.append(nil, 0)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// What doesn't fit anyway keeps names that can be read.
func TestTableTooWide(t *testing.T) {
	tab := table{
		columns: []column{{head: "route", min: 8}, {head: "p99(duration) ms", right: true}, {head: "error_rate %", right: true}},
		rows:    [][]string{{"/api/products/{id}", "20.1", "0.0"}, {"/cart", "7.0", "1.5"}},
	}
	want := `
route     p99(duration) ms  error_rate %
/api/p…}              20.1           0.0
/cart                  7.0           1.5
`
	if got := "\n" + string(tab.append(nil, 30)); got != want {
		t.Errorf("got%swant%s", got, want)
	}
}

// A column with nothing in it is left out for people, and stays for programs.
func TestTableEmptyColumn(t *testing.T) {
	tab := table{columns: []column{{head: "a"}, {head: "b", drop: 1}, {head: "c"}}, rows: [][]string{{"1", "", ""}}}
	if got := string(tab.append(nil, 80)); got != "a  c\n1\n" {
		t.Errorf("%q", got)
	}
	if got := string(tab.append(nil, 0)); got != "a b c\n1 - -\n" {
		t.Errorf("%q", got)
	}
}

// Half a number is another one: what stands at the end isn't cut, unless there is no room for anything else.
func TestTableTails(t *testing.T) {
	for _, c := range []struct {
		cell, tails string
		width       int
		want        string
	}{
		{"[2001:db8::1]:51022", ":", 19, "[2001:db8::1]:51022"},
		{"[2001:db8::1]:51022", ":", 14, "[2001:d…:51022"},
		{"[2001:db8::1]:51022", ":", 8, "[…:51022"},
		{"[2001:db8::1]:51022", ":", 7, "[2001…2"},
		{"systemd-resolve (50)", ": (", 12, "systemd…(50)"},
		{"日本日本 (50)", "(", 9, "日本…(50)"},
		{"/a/path/without", ":", 8, "/a/pat…t"},
		{"abc", "", 2, "a…"},
	} {
		got := string(cut([]byte(c.cell), c.width, strings.Fields(c.tails)))
		if got != c.want || terminal.Width([]byte(got)) > c.width {
			t.Errorf("%q in %d is %q, want %q", c.cell, c.width, got, c.want)
		}
	}
}

// No line is wider than the terminal as long as there is a column to a place, and no cell that has room is cut.
func TestTableFits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var tab table
		for range 1 + r.IntN(6) {
			tab.columns = append(tab.columns, column{head: "h", right: r.IntN(3) == 0, min: 1 + r.IntN(20), drop: r.IntN(3)})
		}
		for range r.IntN(5) {
			var row []string
			for range tab.columns {
				row = append(row, strings.Repeat([]string{"a", "é", "日"}[r.IntN(3)], r.IntN(40)))
			}
			tab.rows = append(tab.rows, row)
		}
		width := 24 + r.IntN(200)
		out := string(tab.append(nil, width))
		natural := 0
		for line := range strings.Lines(string(tab.append(nil, 1e6))) {
			natural = max(natural, terminal.Width([]byte(strings.TrimSuffix(line, "\n"))))
		}
		for line := range strings.Lines(out) {
			line = strings.TrimSuffix(line, "\n")
			if n := terminal.Width([]byte(line)); n > width {
				t.Fatalf("%d columns of %d:\n%s", n, width, out)
			}
			if strings.TrimRight(line, " ") != line {
				t.Fatalf("spaces at the end of %q", line)
			}
		}
		if natural <= width-20 && strings.Contains(out, terminal.Ellipsis) {
			t.Fatalf("cut at %d, though %d are enough:\n%s", width, natural, out)
		}
		if n := strings.Count(out, "\n"); n != 1+len(tab.rows) {
			t.Fatalf("%d lines for %d rows", n, len(tab.rows))
		}
		for line := range strings.Lines(string(tab.append(nil, 0))) {
			if n := len(strings.Fields(line)); n != len(tab.columns) || strings.Contains(line, "  ") {
				t.Fatalf("%d fields in %d columns: %q", n, len(tab.columns), line)
			}
		}
	}
}

func BenchmarkTable(b *testing.B) {
	tab := table{columns: []column{{head: "name", min: 10}, {head: "n", right: true}}}
	for i := range 1000 {
		tab.rows = append(tab.rows, []string{fmt.Sprint("a name of some length ", i), fmt.Sprint(i)})
	}
	for b.Loop() {
		tab.append(nil, 20)
	}
}
