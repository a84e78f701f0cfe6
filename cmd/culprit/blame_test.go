package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/culprit-http/culprit/internal/blame"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/outputtest"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// blamed sums up the exchanges that outputs are tested with, thrice, a second apart, some of them caused by others, seen twice, or not judged.
func blamed() *blaming {
	b := &blaming{summary: blame.NewSummary(blame.Limits{Rows: 100, Worst: 12, Buckets: 20})}
	for round := range 3 {
		for _, x := range outputtest.Verdicts() {
			x.Start.Time += int64(round) * int64(time.Second)
			x.Completed.Time += int64(round) * int64(time.Second)
			b.add(x, false)
		}
	}
	caused := outputtest.Slow()
	caused.Hop = exchange.Hop{Method: exchange.ByID, Confidence: 1}
	b.add(caused, false)
	unsure := outputtest.Slow()
	unsure.Hop = exchange.Hop{Method: exchange.ByTiming, Confidence: sureOfHop / 2}
	b.add(unsure, false)
	b.add(outputtest.Slow(), true)
	b.add(outputtest.Exchange("GET / HTTP/1.1\n\n", ""), false)
	return b
}

func reportOf(b *blaming, by string, width int) *blameReport {
	return &blameReport{summary: b.summary, sums: &b.sums, by: by, rows: 3, terminal: terminal.Terminal{Width: width}, location: time.UTC}
}

// The summary is laid out for a terminal, and for people elsewhere.
func TestBlameReport(t *testing.T) {
	b := blamed()
	if b.sums.caused != 1 || b.sums.again != 1 || b.sums.unjudged != 1 || b.sums.judged != 34 || b.summary.Total.Exchanges != 34 {
		t.Errorf("%+v, %+v", b.sums, b.summary.Total)
	}
	for _, width := range []int{0, 80, 100, 140} {
		goldenFile(t, fmt.Sprintf("blame-%d.golden", width), string(reportOf(b, "situation", width).text()))
	}
	var all strings.Builder
	for _, by := range config.BlameBy {
		r := reportOf(b, by, 80)
		r.summary = blamed().summary
		text := string(r.text())
		table, _, _ := strings.Cut(text, "\nthe worst\n")
		all.WriteString(table + "\n")
	}
	goldenFile(t, "blame-by.golden", all.String())
	for width := 40; width <= 160; width++ {
		for line := range strings.Lines(string(reportOf(b, "route", width).text())) {
			if n := terminal.Width([]byte(strings.TrimSuffix(line, "\n"))); n > width && width >= 60 {
				t.Errorf("width %d: %d columns: %q", width, n, line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x202e || r == 0xfffd }) {
				t.Errorf("not safe: %q", line)
			}
		}
	}
}

// Nobody is to blame, and there is nothing.
func TestBlameReportOfNothing(t *testing.T) {
	b := &blaming{summary: blame.NewSummary(blame.DefaultLimits)}
	if got := string(reportOf(b, "who", 80).text()); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	x := outputtest.Exchange("GET / HTTP/1.1\n\n", "HTTP/1.1 200 OK\n\n")
	x.Blame.Who = exchange.Nobody
	b.add(x, false)
	if got, want := string(reportOf(b, "who", 80).text()), "nobody is to blame: 1 exchange judged, none failed or was slow, 2024-05-06\n  10:42:07 to 10:42:07 UTC\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The document has everything that was summed up.
func TestBlameJSON(t *testing.T) {
	b := blamed()
	out, err := reportOf(b, "who", 0).json()
	if err != nil {
		t.Fatal(err)
	}
	goldenFile(t, "blame.json", string(out))
	var d blameDocument
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	for by, rows := range d.By {
		sum := int64(0)
		for _, r := range rows {
			sum += r.Time
		}
		if sum != d.Total.Time {
			t.Errorf("by %s it is %d, and %d in all", by, sum, d.Total.Time)
		}
	}
	if len(d.By) != int(blame.Dimensions) || len(d.Over) != 3 || len(d.Worst) != 12 {
		t.Errorf("by %d, over %d, %d worst", len(d.By), len(d.Over), len(d.Worst))
	}
}
