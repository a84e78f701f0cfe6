package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/ndjson"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/replay"
)

// replayReport tells what came of a run.
type replayReport struct {
	*replaying
}

func (r *replayReport) width() int {
	if w := r.stdout.terminal.Width; w > 0 {
		return w
	}
	return blameWidth
}

// print writes the report.
func (r *replayReport) print() error {
	text := []byte(nil)
	if r.config.JSON {
		var err error
		if text, err = json.MarshalIndent(r.document(), "", "  "); err != nil {
			return err
		}
		text = append(text, '\n')
	} else {
		text = r.text()
	}
	if _, err := r.stdout.w.Write(text); err != nil && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	s := r.summary
	if s.Partly > 0 {
		r.say("%s compared without their bodies, or with the beginnings of them: --max-body keeps more", plural(s.Partly, "answer"))
	}
	if s.More > 0 {
		r.lose("%s aren't shown: more than %s kinds of them", plural(s.More, "difference"), count(replay.MaxGroups))
	}
	if r.interrupted {
		r.lose("interrupted: %s of %s weren't sent, or not answered", count(uint64(r.recording.Len())-s.Sent), plural(uint64(r.recording.Len()), "request"))
	}
	return nil
}

// verdict is the exit status.
func (r *replayReport) verdict() error {
	s := r.summary
	slower := 0
	if r.config.FailSlower {
		_, routes := s.Latencies()
		for i := range routes {
			if routes[i].Shift == replay.Slower {
				slower++
			}
		}
	}
	switch bad := s.Different; {
	case bad > 0:
		return &statusError{exitFailed, fmt.Errorf("%s of %s differ from the recording", plural(bad, "answer"), count(s.Sent))}
	case slower > 0:
		return &statusError{exitFailed, fmt.Errorf("%s slower than in the recording", plural(uint64(slower), "route"))}
	case r.lossy:
		return errLossy
	}
	return nil
}

// text lays the report out for people.
func (r *replayReport) text() []byte {
	s := r.summary
	var b []byte
	b = fmt.Appendf(b, "%s sent in %s: %s the same", plural(s.Sent, "request"), duration(int64(r.took)), count(s.Same))
	for _, n := range [...]struct {
		n    uint64
		what string
	}{{s.Different - s.Failed, "different"}, {s.Failed, "without an answer"}, {s.Uncompared, "with nothing to compare with"}} {
		if n.n > 0 {
			b = fmt.Appendf(b, ", %s %s", count(n.n), n.what)
		}
	}
	b = append(b, '\n')
	if s.Timed > 0 {
		b = fmt.Appendf(b, "late by: median %s, p90 %s, p99 %s, at most %s", duration(s.Late.P50), duration(s.Late.P90), duration(s.Late.P99), duration(s.LateMax))
		if s.Waited > 0 {
			b = fmt.Appendf(b, "; %s waited for an answer or a connection", count(s.Waited))
		}
		b = append(b, '\n')
	}
	var beside []string
	if s.Again > 0 {
		beside = append(beside, plural(s.Again, "request")+" sent on a new connection, since the server had closed the old one")
	}
	if s.HTTP2 > 0 {
		beside = append(beside, count(s.HTTP2)+" over HTTP/2")
	}
	if len(beside) > 0 {
		b = append(append(b, strings.Join(beside, "; ")...), '\n')
	}
	b = r.differences(b)
	return r.latencies(b)
}

// likeGroups are groups that differ alike, each on a route of its own.
type likeGroups struct {
	*replay.Group
	count  uint64
	routes []string // with their counts
}

// mostRoutes is how many routes are named of what differs alike on several.
const mostRoutes = 3

// alike joins what differs alike on several routes, where the route makes no difference: not in bodies.
func alike(groups []*replay.Group) (all []*likeGroups) {
	type key struct {
		kind           replay.Kind
		where, was, is string
	}
	seen := map[key]*likeGroups{}
	for _, g := range groups {
		k := key{kind: g.Kind, where: g.Where}
		switch {
		case g.Kind == replay.Status || g.Kind == replay.NoAnswer:
			k.was, k.is = g.Recorded, g.Replayed
		case g.Kind > replay.HeaderValue:
			k.was = g.Route
		}
		if k.kind == replay.NoAnswer {
			k.was = ""
		}
		l := seen[k]
		if l == nil {
			l = &likeGroups{Group: g}
			seen[k] = l
			all = append(all, l)
		}
		l.count += g.Count
		l.routes = append(l.routes, g.Route+" ("+count(g.Count)+")")
	}
	return all
}

// onRoutes says on which routes it is.
func (l *likeGroups) onRoutes() string {
	text := plural(l.count, "time") + " in "
	if len(l.routes) == 1 {
		return text + l.Route
	}
	text += strings.Join(l.routes[:min(len(l.routes), mostRoutes)], ", ")
	if n := len(l.routes) - mostRoutes; n > 0 {
		text += ", and " + plural(uint64(n), "more route")
	}
	return text
}

// differences appends what differs, each with an example.
func (r *replayReport) differences(b []byte) []byte {
	groups := alike(r.summary.Groups())
	t := r.stdout.terminal
	for i, g := range groups {
		if r.config.Rows > 0 && i == r.config.Rows {
			b = fmt.Appendf(b, "\nand %s of differences: --rows 0 shows them\n", plural(uint64(len(groups)-i), "more kind"))
			break
		}
		head := g.Kind.String()
		switch {
		case g.Kind == replay.Status:
			head += " " + g.Recorded + " → " + g.Replayed
		case g.Kind == replay.NoAnswer:
			head += ": " + g.Replayed
		case g.Where != "":
			head += " " + g.Where
		}
		b = append(b, '\n')
		b = t.Begin(b, terminal.Bold)
		b = r.fit(b, safe(head), 0)
		b = t.End(b, terminal.Bold)
		b = append(b, '\n')
		b = append(r.fit(b, safe(g.onRoutes()), 2), '\n')
		b = append(r.fit(b, g.Example+" "+safe(g.Target), 2), '\n')
		if g.Kind == replay.Status || g.Kind == replay.NoAnswer {
			continue
		}
		at := g.At
		if at != "" {
			at += ": "
		}
		line := safe(at + shownValue(g.Recorded) + " → " + shownValue(g.Replayed))
		if terminal.Width([]byte(line)) <= r.width()-2 {
			b = append(r.fit(b, line, 2), '\n')
			continue
		}
		b = append(r.fit(b, safe(at+"then "+shownValue(g.Recorded)), 2), '\n')
		b = append(r.fit(b, safe(strings.Repeat(" ", len(at))+"now  "+shownValue(g.Replayed)), 2), '\n')
	}
	return b
}

// shownValue is a value, or that there is none.
func shownValue(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// fit appends a line of text, indented, cut in the middle to the width.
func (r *replayReport) fit(b []byte, text string, indent int) []byte {
	b = append(b, strings.Repeat(" ", indent)...)
	return terminal.AppendMiddle(b, []byte(text), r.width()-indent)
}

// maxLatencies is how many routes the table of latencies has.
const maxLatencies = 10

// latencies appends the latencies side by side.
func (r *replayReport) latencies(b []byte) []byte {
	all, routes := r.summary.Latencies()
	if all.Count == 0 {
		return b
	}
	pair := func(was, is int64) string { return duration(was) + " → " + duration(is) }
	t := table{columns: []column{{head: "LATENCY, THEN → NOW", min: 16}, {head: "COUNT", right: true}, {head: "P50", right: true}, {head: "P90", right: true, drop: 1}, {head: "P99", right: true, drop: 2}, {head: ""}}}
	row := func(name string, l *replay.Latency) {
		shift := ""
		if l.Shift != replay.Alike {
			shift = l.Shift.String()
		}
		t.rows = append(t.rows, []string{name, count(l.Count), pair(l.Recorded.P50, l.Replayed.P50), pair(l.Recorded.P90, l.Replayed.P90), pair(l.Recorded.P99, l.Replayed.P99), shift})
	}
	row("all", &all)
	shown := 0
	for i := range routes {
		if l := &routes[i]; shown < maxLatencies && len(routes) > 1 || l.Shift == replay.Slower {
			row(safe(l.Route), l)
			shown++
		}
	}
	b = append(b, '\n')
	return t.append(b, r.width())
}

// replayDocument is the report for programs.
type replayDocument struct {
	To          string             `json:"to"`
	Took        int64              `json:"took"`
	Interrupted bool               `json:"interrupted"`
	Requests    replayCounts       `json:"requests"`
	LeftOut     map[string]uint64  `json:"left_out"`
	Secrets     map[string]uint64  `json:"secrets_missing"`
	Late        *replayLateness    `json:"late,omitempty"`
	Differences []replayDifference `json:"differences"`
	Latency     replayLatency      `json:"latency"`
	Routes      []replayLatency    `json:"routes"`
}

type replayCounts struct {
	Recorded   uint64 `json:"recorded"`
	Sent       uint64 `json:"sent"`
	Same       uint64 `json:"same"`
	Different  uint64 `json:"different"`
	Unanswered uint64 `json:"unanswered"`
	Uncompared uint64 `json:"uncompared"`
	Partly     uint64 `json:"compared_in_part"`
	Again      uint64 `json:"sent_again"`
	HTTP2      uint64 `json:"http2"`
}

type replayLateness struct {
	replay.Quantiles
	Max    int64  `json:"max"`
	Waited uint64 `json:"waited"`
}

type replayDifference struct {
	Kind     string `json:"kind"`
	Route    string `json:"route"`
	Where    string `json:"where,omitempty"`
	Recorded string `json:"recorded,omitempty"`
	Replayed string `json:"replayed,omitempty"`
	Count    uint64 `json:"count"`
	Example  string `json:"example"`
	At       string `json:"at,omitempty"`
	Target   string `json:"target"`
}

type replayLatency struct {
	Route    string           `json:"route,omitempty"`
	Count    uint64           `json:"count"`
	Recorded replay.Quantiles `json:"recorded"`
	Replayed replay.Quantiles `json:"replayed"`
	P        float64          `json:"p"`
	Shift    string           `json:"shift"`
}

// leftOutNames are the names of replay.Why in documents.
var leftOutNames = [replay.Whys]string{
	replay.Other: "other", replay.NoRequest: "no_request", replay.Method: "method", replay.Switching: "switching", replay.Endless: "stream",
	replay.BodyNotKept: "body_not_kept", replay.BodyCut: "body_cut", replay.Hidden: "secrets", replay.Unfit: "unfit", replay.TooMany: "too_many",
}

func (r *replayReport) document() *replayDocument {
	s := r.summary
	d := &replayDocument{
		To: r.config.To, Took: int64(r.took), Interrupted: r.interrupted, LeftOut: map[string]uint64{}, Secrets: r.recording.Secrets, Differences: []replayDifference{},
		Requests: replayCounts{
			Recorded: uint64(r.recording.Len()), Sent: s.Sent, Same: s.Same, Different: s.Different, Unanswered: s.Failed, Uncompared: s.Uncompared, Partly: s.Partly,
			Again: s.Again, HTTP2: s.HTTP2,
		},
	}
	for why, n := range r.recording.LeftOut {
		if n > 0 {
			d.LeftOut[leftOutNames[why]] = n
		}
	}
	if s.Timed > 0 {
		d.Late = &replayLateness{s.Late, s.LateMax, s.Waited}
	}
	for _, g := range s.Groups() {
		d.Differences = append(d.Differences, replayDifference{g.Kind.String(), g.Route, g.Where, g.Recorded, g.Replayed, g.Count, g.Example, g.At, g.Target})
	}
	latency := func(l *replay.Latency) replayLatency {
		return replayLatency{l.Route, l.Count, l.Recorded, l.Replayed, l.P, l.Shift.String()}
	}
	all, routes := s.Latencies()
	d.Latency, d.Routes = latency(&all), []replayLatency{}
	for i := range routes {
		d.Routes = append(d.Routes, latency(&routes[i]))
	}
	return d
}

// told is what is told of a new exchange beyond what all have.
type told struct {
	recorded string
	findings []replay.Finding
	late     int64
}

// text says it in a sentence.
func (t *told) text() string {
	s := "replay of " + t.recorded + ": "
	if len(t.findings) == 0 {
		return s + "no difference"
	}
	var parts []string
	for _, f := range t.findings {
		where := f.At
		if where != "" {
			where = " " + where
		}
		parts = append(parts, f.Kind.String()+where+": "+shownValue(f.Recorded)+" → "+shownValue(f.Replayed))
	}
	return s + strings.Join(parts, "; ")
}

// replayDocuments writes new exchanges as NDJSON, each with culprit.replay: the id of the recorded one, and what differs.
type replayDocuments struct {
	w       io.Writer
	encoder ndjson.Encoder
	buf     []byte
	told    told
}

func newReplayDocuments(w io.Writer) *replayDocuments {
	return &replayDocuments{w: w, encoder: ndjson.NewEncoder()}
}

// member is what the document has under culprit.
type member struct {
	Recorded    string          `json:"recorded"`
	Differences []memberFinding `json:"differences"`
	Late        *int64          `json:"late,omitempty"`
}

type memberFinding struct {
	Kind     string `json:"kind"`
	Where    string `json:"where,omitempty"`
	Recorded string `json:"recorded,omitempty"`
	Replayed string `json:"replayed,omitempty"`
}

// Exchange implements output.Output.
func (d *replayDocuments) Exchange(x *exchange.Exchange) error {
	at := len(d.buf)
	d.buf = d.encoder.Append(d.buf, x)
	m := member{Recorded: d.told.recorded, Differences: []memberFinding{}}
	if d.told.late >= 0 {
		m.Late = &d.told.late
	}
	for _, f := range d.told.findings {
		m.Differences = append(m.Differences, memberFinding{f.Kind.String(), f.At, f.Recorded, f.Replayed})
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	d.buf = withReplay(d.buf, at, text)
	if d.buf = append(d.buf, '\n'); len(d.buf) >= 64<<10 {
		return d.Flush()
	}
	return nil
}

// withReplay puts a member replay into the object culprit of the document that begins at an index of b.
func withReplay(b []byte, at int, text []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(b[at:]))
	if _, err := decoder.Token(); err != nil {
		return b
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return b
		}
		end := int(decoder.InputOffset())
		if name == "culprit" {
			if rest := bytes.IndexByte(b[at+end:], '{'); rest >= 0 {
				begin := at + end + rest + 1
				tail := bytes.Clone(b[begin:])
				b = append(append(b[:begin], `"replay":`...), text...)
				return append(append(b, ','), tail...)
			}
		}
		var skipped json.RawMessage
		if decoder.Decode(&skipped) != nil {
			return b
		}
	}
	return b
}

// Flush implements output.Output.
func (d *replayDocuments) Flush() error {
	_, err := d.w.Write(d.buf)
	d.buf = d.buf[:0]
	return err
}

// Close implements output.Output.
func (d *replayDocuments) Close() error { return d.Flush() }
