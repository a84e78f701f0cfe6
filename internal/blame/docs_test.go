package blame

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/measure"
)

var update = flag.Bool("update", false, "write the tables of rules to the guide")

const guide = "../../docs/blame.md"

// TestDocumented: the tables of rules in the guide are those of the code.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for _, part := range []struct{ name, table string }{{"failures", failuresTable()}, {"delays", delaysTable()}, {"trees", treesTable()}} {
		begin, end := "<!-- "+part.name+" -->\n", "<!-- end of "+part.name+" -->"
		before, rest, ok := strings.Cut(want, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no place for the table of %s", guide, part.name)
		}
		want = before + begin + part.table + end + after
	}
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s is out of step with the rules; run go test ./internal/blame -run TestDocumented -update", guide)
	}
	if err := os.WriteFile(guide, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// examples returns what is said of the first case that each rule decides.
func examples() (ofFailures map[*failure]string, ofDelays map[*delay]string) {
	ofFailures, ofDelays = map[*failure]string{}, map[*delay]string{}
	for _, c := range cases {
		x := healthy()
		if c.of != nil {
			x = c.of()
		}
		if c.change != nil {
			c.change(x)
		}
		measure.Time(x)
		court := Court{Host: c.host}
		court.Judge(x)
		if r := court.trial.failure; r != nil && ofFailures[r] == "" && x.Blame.Who == r.who {
			ofFailures[r] = x.Proofs()[0]
		}
		if r := court.trial.delay; r != nil && ofDelays[r] == "" && x.Blame.Who == r.who {
			ofDelays[r] = x.Proofs()[0]
		}
	}
	return ofFailures, ofDelays
}

// TestEachRuleDecides: there is a case for each rule.
func TestEachRuleDecides(t *testing.T) {
	ofFailures, ofDelays := examples()
	for i := range failures {
		if r := &failures[i]; ofFailures[r] == "" {
			t.Errorf("no case is decided by: %s (%s), %s", r.situation, r.who, r.when)
		}
	}
	for i := range delays {
		if r := &delays[i]; ofDelays[r] == "" {
			t.Errorf("no case is decided by: %s (%s), %s", r.situation, r.who, r.when)
		}
	}
}

func failuresTable() string {
	said, _ := examples()
	var b strings.Builder
	b.WriteString("| situation | who | confidence | rule | for example |\n| --- | --- | ---: | --- | --- |\n")
	for i := range failures {
		r := &failures[i]
		fmt.Fprintf(&b, "| `%s` | `%s` | %.2f | %s | %s |\n", r.situation, r.who, r.confidence, r.when, said[r])
	}
	return b.String()
}

func delaysTable() string {
	_, said := examples()
	var b strings.Builder
	b.WriteString("| situation | who | confidence | from | rule | for example |\n| --- | --- | ---: | ---: | --- | --- |\n")
	for i := range delays {
		r := &delays[i]
		fmt.Fprintf(&b, "| `%s` | `%s` | %.2f | %d ms | %s | %s |\n", r.situation, r.who, r.confidence, r.floor/1e6, r.when, said[r])
	}
	return b.String()
}

func treesTable() string {
	var b strings.Builder
	b.WriteString("| situation | who | rule |\n| --- | --- | --- |\n")
	for _, r := range trees {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", r.situation, r.who, r.when)
	}
	return b.String()
}

// TestSituationsDocumented: each situation that there is has a rule.
func TestSituationsDocumented(t *testing.T) {
	has := map[exchange.Situation]bool{}
	for _, r := range failures {
		has[r.situation] = true
	}
	for _, r := range delays {
		has[r.situation] = true
	}
	for _, r := range trees {
		has[r.situation] = true
	}
	for s := exchange.NoSituation + 1; s < exchange.NumSituations; s++ {
		if !has[s] {
			t.Errorf("no rule gives %s", s)
		}
		if info := exchange.Situations[s]; info.Name == "" || info.Meaning == "" {
			t.Errorf("situation %d has no name, or no meaning", s)
		}
	}
}
