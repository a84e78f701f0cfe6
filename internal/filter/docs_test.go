package filter

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
)

var update = flag.Bool("update", false, "write the table of fields to the guide")

const guide = "../../docs/filter.md"

// The table of fields in the guide is that of the code.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- fields -->\n", "<!-- end of fields -->"
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table of fields", guide)
	}
	want := before + begin + table() + end + after
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s is out of step with exchange.Fields; run go test ./internal/filter -run TestDocumented -update", guide)
	}
	if err := os.WriteFile(guide, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| field | short | kind | meaning |\n| --- | --- | --- | --- |\n")
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		name, short := f.Name, ""
		if Name(f) != f.Name {
			name += " (only by its short name)"
		} else {
			name = "`" + name + "`"
		}
		for _, a := range f.Aliases {
			short += " `" + a + "`"
		}
		_, kind, _ := strings.Cut(kinds[f.Kind].noun, " ")
		if f.Kind == exchange.Text || f.Kind == exchange.Bool {
			kind = kinds[f.Kind].noun
		}
		if f.Unit == "byte" {
			kind = "bytes"
		}
		fmt.Fprintf(&b, "| %s |%s | %s | %s |\n", name, short, kind, f.Meaning)
	}
	return b.String()
}

// Every example of the guide is accepted.
func TestGuideExamples(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile(`--where '([^\n]*)'\n`).FindAllStringSubmatch(string(text), -1)
	if len(examples) < 5 {
		t.Fatalf("only %d examples", len(examples))
	}
	for _, e := range examples {
		if _, err := Parse(e[1]); err != nil {
			t.Error(err)
		}
	}
}
