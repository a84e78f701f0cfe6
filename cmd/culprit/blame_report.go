package main

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/blame"
	"github.com/culprit-http/culprit/internal/config"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// blameReport lays a summary of verdicts out, as text to paste or as a document.
type blameReport struct {
	summary *blame.Summary
	sums    *blameSums
	// by is what the table sums by, one of config.BlameBy; rows how many it has, 0: all.
	by   string
	rows int
	// terminal says how wide the text may be, its Width 0 when it goes elsewhere: it is laid out all the same, for blameWidth columns.
	terminal terminal.Terminal
	location *time.Location
}

// blameWidth is the width of a report that goes to no terminal: it is for people there, too.
const blameWidth = 100

// maxSpark is how many bars the time has at most.
const maxSpark = 60

func (r *blameReport) width() int {
	if r.terminal.Width > 0 {
		return r.terminal.Width
	}
	return blameWidth
}

// text lays the summary out for people.
func (r *blameReport) text() []byte {
	b := r.head(nil)
	if r.summary.Total.Blamed == 0 {
		return b
	}
	b = append(b, '\n')
	b = r.table(b)
	if r.by != "time" {
		b = r.spark(b)
	}
	return r.worst(b)
}

// head says in a sentence or two what was lost, of how much.
func (r *blameReport) head(b []byte) []byte {
	t, s := &r.summary.Total, r.sums
	if s.all() == 0 {
		return b
	}
	var text strings.Builder
	if t.Blamed == 0 {
		text.WriteString("nobody is to blame: ")
		text.WriteString(plural(t.Exchanges, "exchange"))
		text.WriteString(" judged, none failed or was slow")
	} else {
		text.Write(terminal.AppendDuration(nil, t.Time))
		text.WriteString(" lost and ")
		text.WriteString(count(t.Failed))
		text.WriteString(" failed, in ")
		text.WriteString(count(t.Blamed))
		text.WriteString(" of ")
		text.WriteString(plural(t.Exchanges, "exchange"))
	}
	text.WriteString(", ")
	text.WriteString(r.span(s.from, s.to))
	b = r.wrapped(b, terminal.Plain, 0, text.String())
	var beside []string
	for _, n := range [...]struct {
		n    uint64
		what string
	}{
		{s.caused, "caused by others, and counted with them"}, {s.again, "seen at another tap, too"}, {s.unjudged, "without a verdict (docs/blame.md)"},
	} {
		if n.n > 0 {
			beside = append(beside, count(n.n)+" "+n.what)
		}
	}
	if len(beside) > 0 {
		b = r.wrapped(b, terminal.Dim, 0, "beside: "+strings.Join(beside, "; "))
	}
	return b
}

// span gives a stretch of time.
func (r *blameReport) span(from, to int64) string {
	const layout = "2006-01-02 15:04:05"
	a, z := time.Unix(0, from).In(r.location), time.Unix(0, to).In(r.location)
	end := layout
	if a.Format(time.DateOnly) == z.Format(time.DateOnly) {
		end = time.TimeOnly
	}
	return a.Format(layout) + " to " + z.Format(end+" MST")
}

// dimensionOf returns the dimension of a name.
func dimensionOf(by string) blame.Dimension {
	for d, name := range blame.DimensionNames {
		if name == by {
			return blame.Dimension(d)
		}
	}
	return blame.PerSituation
}

// blameRow is a row of a table: the name, and what was lost.
type blameRow struct {
	name string
	blame.Lost
}

// rowsOf returns the rows of one of config.BlameBy. Those with no loss are left out, and those beyond the limit are one row, rest.
func (r *blameReport) rowsOf(by string) (rows []blameRow) {
	if by == "time" {
		for _, b := range r.summary.Buckets() {
			rows = append(rows, blameRow{time.Unix(0, b.From).In(r.location).Format(time.DateTime), b.Lost})
		}
		return rows
	}
	rest, beyond := blame.Lost{}, uint64(0)
	for _, row := range r.summary.Rows(dimensionOf(by)) {
		switch {
		case row.Blamed == 0 && !row.Other:
		case row.Other || r.rows > 0 && len(rows) == r.rows:
			rest.Exchanges += row.Exchanges
			rest.Blamed += row.Blamed
			rest.Failed += row.Failed
			rest.Time += row.Time
			rest.Longest = max(rest.Longest, row.Longest)
			for w := range rest.By {
				rest.By[w] += row.By[w]
			}
			beyond++
			if row.Other {
				beyond += r.summary.Folded[dimensionOf(by)] - 1
			}
		default:
			name := row.Key.String()
			if name == "" {
				name = "-"
			}
			rows = append(rows, blameRow{name, row.Lost})
		}
	}
	if beyond > 0 {
		rows = append(rows, blameRow{count(beyond) + " more", rest})
	}
	return rows
}

// heads are what the first column is called.
var blameHeads = map[string]string{"situation": "culprit", "who": "culprit", "time": "from", "client": "client network"}

// table appends the table of what was lost.
func (r *blameReport) table(b []byte) []byte {
	head := blameHeads[r.by]
	if head == "" {
		head = r.by
	}
	culprits := r.by == "situation" || r.by == "who"
	t := table{columns: []column{
		{head: head, min: 24}, {head: "exchanges", right: true}, {head: "failed", right: true, drop: 1}, {head: "lost ms", right: true}, {head: "share %", right: true},
		{head: "longest ms", right: true, drop: 3},
	}}
	if !culprits {
		t.columns[1].head = "blamed"
		t.columns = append(t.columns, column{head: "of", right: true, drop: 4}, column{head: "mostly", drop: 2})
	}
	total := &r.summary.Total
	add := func(name string, l *blame.Lost) {
		share := ""
		if total.Time > 0 {
			share = strconv.FormatFloat(100*float64(l.Time)/float64(total.Time), 'f', 1, 64)
		}
		cells := []string{string(terminal.AppendSafe(nil, []byte(name))), count(l.Blamed), count(l.Failed), millis(l.Time), share, millis(l.Longest)}
		if !culprits {
			mostly := ""
			if w := l.Most(); l.By[w] > 0 {
				mostly = w.String()
			}
			cells = append(cells, count(l.Exchanges), mostly)
		}
		t.rows = append(t.rows, cells)
	}
	for _, row := range r.rowsOf(r.by) {
		add(row.name, &row.Lost)
	}
	add("total", total)
	return t.append(b, r.width())
}

// millis gives a duration in milliseconds with one decimal.
func millis(ns int64) string {
	tenths := (ns + 50_000) / 100_000
	return string(terminal.AppendCount(nil, tenths/10)) + "." + strconv.FormatInt(tenths%10, 10)
}

var bars = [...]string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}

// spark appends a line with what was lost over time.
func (r *blameReport) spark(b []byte) []byte {
	all := r.summary.Buckets()
	if len(all) < 2 || r.summary.Total.Time == 0 {
		return b
	}
	room := max(min(maxSpark, r.width()-30), 8)
	per := (len(all) + room - 1) / room
	var sums []int64
	most, at := int64(0), 0
	for i, bucket := range all {
		if i%per == 0 {
			sums = append(sums, 0)
		}
		n := len(sums) - 1
		if sums[n] += bucket.Time; sums[n] > most {
			most, at = sums[n], n
		}
	}
	b = append(b, "\nover time  "...)
	for _, n := range sums {
		if n == 0 {
			b = append(b, "·"...)
			continue
		}
		b = append(b, bars[min(int(float64(n)/float64(most)*float64(len(bars))), len(bars)-1)]...)
	}
	width := all[0].Width * int64(per)
	text := terminal.AppendDuration([]byte("each "), width)
	text = terminal.AppendDuration(append(text, ", most "...), most)
	text = append(text, " from "...)
	text = time.Unix(0, all[0].From+int64(at)*width).In(r.location).AppendFormat(text, time.TimeOnly)
	b = append(b, '\n')
	return r.wrapped(b, terminal.Dim, len("over time  "), string(text))
}

// worst appends the worst exchanges, with the evidence.
func (r *blameReport) worst(b []byte) []byte {
	for i, c := range r.summary.Worst() {
		if i == 0 {
			b = append(b, "\nthe worst\n"...)
		}
		number := strconv.Itoa(i+1) + ". "
		indent := max(len(number), 4)
		b = append(b, strings.Repeat(" ", indent-len(number))...)
		b = append(b, number...)
		b = time.Unix(0, c.Start).In(r.location).AppendFormat(b, "15:04:05.000 ")
		took := ""
		if c.Total >= 0 {
			took = "  " + string(terminal.AppendDuration(nil, c.Total))
		}
		room := r.width() - indent - len("15:04:05.000 ") - terminal.Width([]byte(took))
		status := ""
		if c.Status > 0 { // which stays, whatever is cut
			status = " " + strconv.Itoa(c.Status)
		}
		b = terminal.AppendMiddle(b, terminal.AppendSafe(nil, []byte(asked(&c))), max(room-len(status), 8))
		b = append(append(append(b, status...), took...), '\n')

		where := c.IDText() + ", " + c.Client + " → " + c.Server + ", packets " + count(c.First) + "–" + count(c.Last)
		if c.Tap != "" {
			where += " of " + string(terminal.AppendSafe(nil, []byte(c.Tap)))
		}
		b = r.wrapped(b, terminal.Dim, indent, where)
		b = r.wrapped(b, verdictStyle(c.Blame.Who), indent, string(terminal.AppendSafe(nil, []byte(headline(&c.Blame)))))
		facts := c.Facts
		if len(facts) == 0 {
			_, why, _ := strings.Cut(c.Why, ": ") // the party is above
			facts = []string{why}
		}
		for _, fact := range facts {
			b = r.wrapped(b, terminal.Plain, indent, "- "+string(terminal.AppendSafe(nil, []byte(fact))))
		}
	}
	return b
}

// asked returns what an exchange asked for, on one line: the kind of a statement is in it, the method of a request isn't.
func asked(c *blame.Case) string {
	words := strings.Fields(c.Host + c.Subject)
	if c.Verb != "" && (len(words) == 0 || !strings.EqualFold(words[0], c.Verb)) {
		words = append([]string{c.Verb}, words...)
	}
	if len(words) == 0 {
		return "connection to " + c.Server
	}
	return strings.Join(words, " ")
}

func verdictStyle(w exchange.Who) terminal.Style {
	if w == exchange.Unclear {
		return terminal.Dim
	}
	return terminal.Amber
}

// headline gives a verdict without its evidence.
func headline(v *exchange.Blame) string {
	text := v.Who.String()
	if v.Upstream != "" && (v.Who == exchange.ByUpstream || v.Who == exchange.ByDNS) {
		text += " " + v.Upstream
	}
	if v.Time > 0 {
		text += " " + string(terminal.AppendDuration(nil, v.Time))
	}
	if s := v.Situation.String(); s != "" && v.Who == exchange.Unclear {
		text += ", perhaps " + s
	} else if s != "" {
		text += ", " + s
	}
	return text + ", " + strconv.Itoa(int(math.Round(v.Confidence*100))) + " % sure"
}

// wrapped appends text with an indent, broken between words where it is too long; what follows the first line is indented further.
func (r *blameReport) wrapped(b []byte, style terminal.Style, indent int, text string) []byte {
	room, margin := max(r.width()-indent, 20), strings.Repeat(" ", indent)
	for text != "" {
		line := text
		if fit := terminal.Fit([]byte(text), room); fit < len(text) {
			cut := strings.LastIndexByte(line[:fit+1], ' ')
			if cut <= 0 {
				cut = max(fit, 1)
			}
			line = line[:cut]
		}
		text = strings.TrimLeft(text[len(line):], " ")
		b = append(b, margin...)
		b = r.terminal.Begin(b, style)
		b = append(b, line...)
		b = append(r.terminal.End(b, style), '\n')
		if len(margin) == indent {
			margin, room = margin+"  ", max(room-2, 20)
		}
	}
	return b
}

// The document of --json. Times are in nanoseconds, as in docs/fields.md.
type (
	blameDocument struct {
		From      string                 `json:"from,omitempty"`
		To        string                 `json:"to,omitempty"`
		Exchanges uint64                 `json:"exchanges"`
		Caused    uint64                 `json:"caused"`
		Again     uint64                 `json:"again"`
		Unjudged  uint64                 `json:"unjudged"`
		Total     lostDocument           `json:"total"`
		By        map[string][]rowOfLost `json:"by"`
		Over      []bucketOfLost         `json:"over"`
		Worst     []caseOfLost           `json:"worst"`
	}
	lostDocument struct {
		Exchanges uint64           `json:"exchanges"`
		Blamed    uint64           `json:"blamed"`
		Failed    uint64           `json:"failed"`
		Time      int64            `json:"time"`
		Longest   int64            `json:"longest"`
		Who       map[string]int64 `json:"who,omitempty"`
	}
	rowOfLost struct {
		Name string `json:"name"`
		lostDocument
	}
	bucketOfLost struct {
		From     string `json:"from"`
		Interval int64  `json:"interval"`
		lostDocument
	}
	caseOfLost struct {
		ID         string   `json:"id"`
		Start      string   `json:"start"`
		Total      *int64   `json:"total,omitempty"`
		What       string   `json:"what"`
		Status     int      `json:"status,omitempty"`
		Client     string   `json:"client"`
		Server     string   `json:"server"`
		Tap        string   `json:"tap,omitempty"`
		First      uint64   `json:"first_packet"`
		Last       uint64   `json:"last_packet"`
		Who        string   `json:"who"`
		Situation  string   `json:"situation,omitempty"`
		Upstream   string   `json:"upstream,omitempty"`
		Time       int64    `json:"time"`
		Failed     bool     `json:"failed"`
		Confidence float64  `json:"confidence"`
		Why        string   `json:"why"`
		Evidence   []string `json:"evidence"`
	}
)

// json gives the summary as one document, by everything.
func (r *blameReport) json() ([]byte, error) {
	s := r.sums
	d := blameDocument{
		Exchanges: s.all(), Caused: s.caused, Again: s.again, Unjudged: s.unjudged,
		Total: lostOf(&r.summary.Total), By: map[string][]rowOfLost{}, Over: []bucketOfLost{}, Worst: []caseOfLost{},
	}
	if d.Exchanges > 0 {
		d.From, d.To = rfc3339(s.from), rfc3339(s.to)
	}
	for _, by := range config.BlameBy {
		if by == "time" {
			continue
		}
		rows := []rowOfLost{}
		for _, row := range r.rowsOf(by) {
			rows = append(rows, rowOfLost{string(terminal.AppendSafe(nil, []byte(row.name))), lostOf(&row.Lost)})
		}
		d.By[by] = rows
	}
	for _, b := range r.summary.Buckets() {
		d.Over = append(d.Over, bucketOfLost{rfc3339(b.From), b.Width, lostOf(&b.Lost)})
	}
	for _, c := range r.summary.Worst() {
		one := caseOfLost{
			ID: c.IDText(), Start: rfc3339(c.Start), What: string(terminal.AppendSafe(nil, []byte(asked(&c)))), Status: c.Status, Client: c.Client,
			Server: c.Server, Tap: string(terminal.AppendSafe(nil, []byte(c.Tap))), First: c.First, Last: c.Last, Who: c.Blame.Who.String(),
			Situation: c.Blame.Situation.String(), Upstream: string(terminal.AppendSafe(nil, []byte(c.Blame.Upstream))), Time: c.Blame.Time, Failed: c.Blame.Failed,
			Confidence: c.Blame.Confidence, Why: string(terminal.AppendSafe(nil, []byte(c.Why))), Evidence: []string{},
		}
		if c.Total >= 0 {
			one.Total = &c.Total
		}
		for _, fact := range c.Facts {
			one.Evidence = append(one.Evidence, string(terminal.AppendSafe(nil, []byte(fact))))
		}
		d.Worst = append(d.Worst, one)
	}
	out, err := json.MarshalIndent(&d, "", "  ")
	return append(out, '\n'), err
}

func rfc3339(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

func lostOf(l *blame.Lost) lostDocument {
	d := lostDocument{Exchanges: l.Exchanges, Blamed: l.Blamed, Failed: l.Failed, Time: l.Time, Longest: l.Longest}
	for w := range exchange.NumWho {
		if l.By[w] > 0 {
			if d.Who == nil {
				d.Who = map[string]int64{}
			}
			d.Who[w.String()] = l.By[w]
		}
	}
	return d
}
