package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/compare"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// diffReport lays out what a comparison found.
type diffReport struct {
	config *config.Diff
	result *compare.Result
	names  [2]string
	// terminal says how wide the text may be, its Width 0 when it goes elsewhere: it is laid out for people all the same, for blameWidth columns.
	terminal terminal.Terminal
	zone     *time.Location
}

// minEndpoint is the width down to which names of endpoints may be cut before columns are left out.
const minEndpoint = 24

// sideNames are what the sides are called.
var sideNames = [...]string{compare.Before: "before", compare.After: "after"}

// text lays it out for people.
func (d *diffReport) text() []byte {
	width := d.terminal.Width
	if width == 0 {
		width = blameWidth
	}
	r := d.result
	var b []byte
	for side, t := range r.Sides {
		line := fmt.Sprintf("%-6s  %s: %s in %s, from %s", sideNames[side], safe(d.names[side]), plural(uint64(t.Exchanges), "exchange"),
			terminal.AppendDuration(nil, t.To-t.From), time.Unix(0, t.From).In(d.zone).Format("2006-01-02 15:04:05 MST"))
		b = append(terminal.AppendMiddle(b, []byte(line), width), '\n')
	}
	b = append(b, '\n')
	differences, left := d.differences()
	if len(differences.rows) > 0 {
		b = differences.append(b, width)
		if left > 0 {
			b = fmt.Appendf(b, "%s more: --rows 0 shows all\n", count(uint64(left)))
		}
		b = append(b, '\n')
	}
	if d.config.All {
		all, left := d.endpoints()
		b = all.append(b, width)
		if left > 0 {
			b = fmt.Appendf(b, "%s more: --rows 0 shows all\n", count(uint64(left)))
		}
		b = append(b, '\n')
	}
	for _, line := range d.summary() {
		b = append(append(b, line...), '\n')
	}
	return b
}

// summary says how many endpoints there are of each verdict, and what was left out.
func (d *diffReport) summary() (lines []string) {
	r := d.result
	v := &r.Verdicts
	var parts []string
	for _, n := range [...]struct {
		verdict compare.Verdict
		what    string
	}{
		{compare.Differs, "%s"}, {compare.Appeared, "%s new"}, {compare.Vanished, "%s gone"}, {compare.Alike, "%s alike"}, {compare.TooFew, "%s with too few exchanges to tell"},
	} {
		if k := v[n.verdict]; k > 0 {
			text := fmt.Sprintf(n.what, count(uint64(k)))
			if n.verdict == compare.Differs {
				text += map[bool]string{true: " differs", false: " differ"}[k == 1]
			}
			parts = append(parts, text)
		}
	}
	lines = append(lines, fmt.Sprintf("%s: %s", plural(uint64(len(r.Endpoints)), "endpoint"), strings.Join(parts, ", ")))
	if r.Tests > 0 {
		lines = append(lines, fmt.Sprintf("%s, corrected for their number: at most %s of the differences found may be chance", plural(uint64(r.Tests), "test"), percent(d.config.Alpha)))
	}
	sampled := false
	for i := range r.Endpoints {
		sampled = sampled || r.Endpoints[i].Sides[0].Sampled || r.Endpoints[i].Sides[1].Sampled
	}
	if sampled {
		lines = append(lines, "of endpoints with very many exchanges, times and sizes are those of samples; counts are of all")
	}
	for side, t := range r.Sides {
		var left []string
		for _, why := range slices.Sorted(maps.Keys(t.Untimed)) {
			left = append(left, count(uint64(t.Untimed[why]))+" "+why)
		}
		if len(left) > 0 {
			lines = append(lines, fmt.Sprintf("%s: not counted in times and sizes: %s", sideNames[side], strings.Join(left, ", ")))
		}
		for _, n := range [...]struct {
			n    int64
			what string
		}{
			{t.Unended, "not counted in outcomes, since how they ended wasn't seen"}, {t.Apart, "of no endpoint, such as flows and messages of sessions"},
			{t.Others, "of further endpoints: there are more than are told apart; choose with --where"},
		} {
			if n.n > 0 {
				lines = append(lines, fmt.Sprintf("%s: %s %s", sideNames[side], count(uint64(n.n)), n.what))
			}
		}
	}
	return lines
}

// differences is the table of what differs, the worst first. left is how many rows weren't shown.
func (d *diffReport) differences() (t *table, left int) {
	t = &table{columns: []column{{head: "endpoint", min: minEndpoint}, {head: "what"}, {head: "before", right: true}, {head: "after", right: true}, {head: "change", right: true}, {head: "p", right: true, drop: 1}}}
	for i := range d.result.Endpoints {
		e := &d.result.Endpoints[i]
		name := d.name(e)
		for j := range e.Findings {
			f := &e.Findings[j]
			if !f.Significant {
				continue
			}
			if d.config.Rows > 0 && len(t.rows) >= d.config.Rows {
				left++
				continue
			}
			t.rows = append(t.rows, []string{name, whatDiffers(f), shownOf(f, f.Before), shownOf(f, f.After), changeOf(f), probability(f.Q)})
		}
	}
	return t, left
}

// endpoints is the table of all endpoints.
func (d *diffReport) endpoints() (t *table, left int) {
	t = &table{columns: []column{{head: "endpoint", min: minEndpoint}, {head: "verdict"}, {head: "n", right: true}, {head: "p50", right: true}, {head: "p95", right: true, drop: 2},
		{head: "p99", right: true, drop: 1}, {head: "failed", right: true, drop: 3}}}
	for i := range d.result.Endpoints {
		if d.config.Rows > 0 && i >= d.config.Rows {
			return t, len(d.result.Endpoints) - i
		}
		e := &d.result.Endpoints[i]
		before, after := &e.Sides[compare.Before], &e.Sides[compare.After]
		row := []string{d.name(e), e.Verdict.String(), both(count(uint64(before.Count)), count(uint64(after.Count)))}
		for q := range before.Times {
			row = append(row, both(timeOf(before.Times[q].At), timeOf(after.Times[q].At)))
		}
		t.rows = append(t.rows, append(row, both(failures(before), failures(after))))
	}
	return t, 0
}

// both puts what holds before and after into one cell.
func both(before, after string) string {
	if before == "" && after == "" {
		return ""
	}
	return cmp.Or(before, "-") + " → " + cmp.Or(after, "-")
}

// name is what an endpoint is called.
func (d *diffReport) name(e *compare.Endpoint) string {
	parts := []string{e.Verb, e.Host + e.Subject}
	switch {
	case e.Protocol == "dns":
		parts = []string{"DNS", e.Verb, e.Subject}
	case e.Protocol == "websocket":
		parts = []string{"WebSocket", e.Host + e.Subject}
	case e.Protocol != "http":
		parts = []string{e.Protocol, e.Host, e.Subject}
		if !strings.HasPrefix(e.Subject, e.Verb) {
			parts = []string{e.Protocol, e.Host, e.Verb, e.Subject}
		}
	}
	return safe(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " "))
}

// whatDiffers names what a finding is about.
func whatDiffers(f *compare.Finding) string {
	switch f.Aspect {
	case compare.Time:
		return "time p50"
	case compare.Outcome:
		return safe(f.Outcome)
	case compare.Presence:
		if f.Before == 0 {
			return "new"
		}
		return "gone"
	}
	return f.Aspect.String()
}

// shownOf gives a value of a finding in its unit.
func shownOf(f *compare.Finding, v float64) string {
	switch f.Aspect {
	case compare.Time, compare.TimeP95, compare.TimeP99:
		return timeOf(v)
	case compare.Outcome:
		return percent(v)
	case compare.Presence:
		return count(uint64(v))
	}
	return string(terminal.AppendBytes(nil, int64(v)))
}

// changeOf gives the change of a finding: of shares in percentage points.
func changeOf(f *compare.Finding) string {
	change := f.Change()
	switch {
	case f.Aspect == compare.Presence:
		return ""
	case f.Aspect == compare.Outcome:
		return fmt.Sprintf("%+.3g pts", (f.After-f.Before)*100)
	case math.IsInf(change, 0) || math.IsNaN(change):
		return ""
	case change >= 9.995:
		return fmt.Sprintf("×%.0f", change+1)
	}
	return fmt.Sprintf("%+.0f%%", change*100)
}

// timeOf gives nanoseconds, nothing where there are none.
func timeOf(ns float64) string {
	if math.IsNaN(ns) {
		return ""
	}
	return string(terminal.AppendDuration(nil, int64(ns)))
}

// percent gives a share: what isn't none isn't shown as 0 %.
func percent(share float64) string {
	switch v := share * 100; {
	case v == 0 || v == 100 || v >= 9.95:
		return strconv.FormatFloat(v, 'f', 0, 64) + "%"
	case v < 0.01:
		return "<0.01%"
	default:
		return strconv.FormatFloat(v, 'g', 2, 64) + "%"
	}
}

// failures gives the share of exchanges that failed.
func failures(f *compare.Figures) string {
	failed, all := int64(0), int64(0)
	for _, o := range f.Outcomes {
		all += o.Count
		if o.Failed {
			failed += o.Count
		}
	}
	if all == 0 {
		return ""
	}
	return percent(float64(failed) / float64(all))
}

// probability gives a corrected probability.
func probability(q float64) string {
	if q < 0.001 {
		return "<0.001"
	}
	return strconv.FormatFloat(q, 'f', 3, 64)
}

// The document of --json. Times are in nanoseconds, sizes in bytes; what isn't known is null.
type (
	diffDocument struct {
		Before    diffSide       `json:"before"`
		After     diffSide       `json:"after"`
		Differs   bool           `json:"differs"`
		Alpha     float64        `json:"alpha"`
		MinChange float64        `json:"min_change"`
		Tests     int            `json:"tests"`
		Verdicts  map[string]int `json:"verdicts"`
		Endpoints []diffEndpoint `json:"endpoints"`
	}
	diffSide struct {
		Name      string           `json:"name"`
		Exchanges int64            `json:"exchanges"`
		Count     int64            `json:"count"`
		From      string           `json:"from"`
		To        string           `json:"to"`
		Untimed   map[string]int64 `json:"untimed,omitempty"`
		Unended   int64            `json:"unended,omitempty"`
		Apart     int64            `json:"apart,omitempty"`
		Others    int64            `json:"others,omitempty"`
	}
	diffEndpoint struct {
		Protocol string        `json:"protocol"`
		Host     string        `json:"host,omitempty"`
		Verb     string        `json:"verb,omitempty"`
		Subject  string        `json:"subject"`
		Verdict  string        `json:"verdict"`
		Before   *diffFigures  `json:"before,omitempty"`
		After    *diffFigures  `json:"after,omitempty"`
		Findings []diffFinding `json:"findings"`
	}
	diffFigures struct {
		Exchanges    int64            `json:"exchanges"`
		Count        int64            `json:"count"`
		Rate         *float64         `json:"rate"`
		Outcomes     map[string]int64 `json:"outcomes"`
		Timed        int64            `json:"timed"`
		Sampled      bool             `json:"sampled,omitempty"`
		P50          diffQuantile     `json:"p50"`
		P95          diffQuantile     `json:"p95"`
		P99          diffQuantile     `json:"p99"`
		RequestSize  *float64         `json:"request_size"`
		ResponseSize *float64         `json:"response_size"`
	}
	diffQuantile struct {
		At   *float64 `json:"at"`
		Low  *float64 `json:"low"`
		High *float64 `json:"high"`
	}
	diffFinding struct {
		What        string   `json:"what"`
		Outcome     string   `json:"outcome,omitempty"`
		Before      *float64 `json:"before"`
		After       *float64 `json:"after"`
		Low         *float64 `json:"difference_low"`
		High        *float64 `json:"difference_high"`
		Effect      *float64 `json:"effect"`
		P           float64  `json:"p"`
		Q           float64  `json:"p_corrected"`
		Significant bool     `json:"significant"`
		Worse       bool     `json:"worse"`
	}
)

// known returns a figure, nil when it isn't one.
func known(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// json makes the document.
func (d *diffReport) json() ([]byte, error) {
	r := d.result
	doc := diffDocument{
		Before: d.side(compare.Before), After: d.side(compare.After), Differs: r.Found(), Alpha: d.config.Alpha, MinChange: d.config.MinChange, Tests: r.Tests,
		Verdicts: map[string]int{}, Endpoints: []diffEndpoint{},
	}
	for v, n := range r.Verdicts {
		doc.Verdicts[compare.Verdict(v).String()] = n
	}
	for i := range r.Endpoints {
		e := &r.Endpoints[i]
		out := diffEndpoint{
			Protocol: e.Protocol, Host: e.Host, Verb: e.Verb, Subject: e.Subject, Verdict: e.Verdict.String(),
			Before: figuresOf(&e.Sides[compare.Before]), After: figuresOf(&e.Sides[compare.After]), Findings: []diffFinding{},
		}
		for j := range e.Findings {
			f := &e.Findings[j]
			out.Findings = append(out.Findings, diffFinding{
				What: f.Aspect.String(), Outcome: f.Outcome, Before: known(f.Before), After: known(f.After), Low: known(f.Low), High: known(f.High), Effect: known(f.Effect),
				P: f.P, Q: f.Q, Significant: f.Significant, Worse: f.Worse(),
			})
		}
		doc.Endpoints = append(doc.Endpoints, out)
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	return append(b, '\n'), err
}

func (d *diffReport) side(side compare.Side) diffSide {
	t := &d.result.Sides[side]
	at := func(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
	return diffSide{Name: d.names[side], Exchanges: t.Exchanges, Count: t.Count, From: at(t.From), To: at(t.To), Untimed: t.Untimed, Unended: t.Unended, Apart: t.Apart, Others: t.Others}
}

// figuresOf returns those of a side, nil when there are none.
func figuresOf(f *compare.Figures) *diffFigures {
	if f.Exchanges == 0 {
		return nil
	}
	quantile := func(q compare.Quantile) diffQuantile { return diffQuantile{known(q.At), known(q.Low), known(q.High)} }
	out := &diffFigures{
		Exchanges: f.Exchanges, Count: f.Count, Rate: known(f.Rate), Outcomes: map[string]int64{}, Timed: f.Timed, Sampled: f.Sampled,
		P50: quantile(f.Times[0]), P95: quantile(f.Times[1]), P99: quantile(f.Times[2]), RequestSize: known(f.RequestSize.At), ResponseSize: known(f.ResponseSize.At),
	}
	for _, o := range f.Outcomes {
		out.Outcomes[o.Name] = o.Count
	}
	return out
}
