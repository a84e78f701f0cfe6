package output_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/outputtest"
)

// A verdict is shown where it says more than the status, the error and the grade do.
func TestVerdict(t *testing.T) {
	var got []string
	for _, x := range outputtest.Verdicts() {
		shown := output.Verdict(x)
		if shown != "" && shown != x.Why() {
			t.Errorf("%q isn't %q", shown, x.Why())
		}
		who, _, _ := strings.Cut(shown, ": ")
		got = append(got, who)
	}
	want := []string{"server", "unclear", "upstream 10.0.0.9:3306", "upstream 10.0.0.9:80", "", "", "", "client", "protocol", "", "server"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}

	// What the reason of a grade would say is said where there is no such reason.
	x := outputtest.Slow()
	x.Blame = exchange.Blame{Who: exchange.ByServer, Situation: exchange.EarlyResponse, Failed: true}
	if output.Verdict(x) == "" {
		t.Error("an early answer to a complete exchange has no verdict")
	}
	x.Grade = exchange.Aborted
	if v := output.Verdict(x); v != "" {
		t.Errorf("%q says again why it was aborted", v)
	}
}
