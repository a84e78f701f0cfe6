package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/capture"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/pipeline"
)

// report says on standard error what the user must know at the end: warnings, what was lost, what was
// there when nothing could be shown, and the totals if they are wanted. failed is what ended the run early.
func (t *capturing) report(s *pipeline.Stats, failed error) {
	for _, source := range t.sources {
		for _, w := range source.Warnings() {
			t.lose("%s", w)
		}
		if noted, ok := source.(capture.Noted); ok {
			for _, n := range noted.Notes() {
				t.say("%s", n)
			}
		}
	}
	if t.matcher != nil && t.matcher.Err() != nil {
		t.lose("%v", t.matcher.Err())
	}
	switch {
	case t.config.Live.On():
		if s.Dropped > 0 {
			t.lose("%s lost: the ring was full %s; a larger --ring helps against bursts, a capture filter always",
				plural(s.Dropped, "packet"), plural(s.Freezes, "time"))
		}
		if s.IfDropped > 0 {
			t.lose("%s lost by the network cards, before the kernel could see them", plural(s.IfDropped, "packet"))
		}
	case s.Dropped+s.IfDropped > 0:
		t.lose("%s packets were lost while capturing, before they got into the file", count(s.Dropped+s.IfDropped))
	}
	if s.TCP.MissingBytes > 0 {
		t.lose("%s bytes in %s are missing from the capture; the exchanges that they belong to are graded gap",
			count(s.TCP.MissingBytes), plural(s.TCP.Gaps, "hole"))
	}
	if n := s.BudgetEvicted + s.TCP.Evicted; n > 0 {
		t.lose("%s forgotten for lack of memory; give more with --memory", plural(n, "connection"))
	}
	if s.Overflow > 0 {
		t.lose("%s given up because too many waited on their connections; see --max-waiting", plural(s.Overflow, "request"))
	}
	if n := s.TLS.Overflow + s.TLS.TimedOut; n > 0 {
		t.lose("%s given up while they waited for their keys, for lack of room or time", plural(n, "TLS connection"))
	}
	if n := s.Exchanges[exchange.Undecryptable]; n > 0 && (t.pipeline.Keys == nil || t.pipeline.Keys.Empty()) {
		t.say("%s could not be read without keys: see --keylog (docs/keys.md)", plural(n, "TLS connection"))
	} else if n > 0 {
		t.say("%s could not be read, each with its reason: --where 'grade == \"undecryptable\"'", plural(n, "TLS connection"))
	}
	if s.SCTP.Gaps+s.SCTP.Refused+s.SCTP.Evicted > 0 {
		t.lose("SCTP: %s, %s refused, %s forgotten for lack of memory", plural(s.SCTP.Gaps, "hole"),
			plural(s.SCTP.Refused, "chunk"), plural(s.SCTP.Evicted, "association"))
	}
	if s.Aggregated > 0 {
		t.lose("%s of 802.11 aggregates were not decoded", plural(s.Aggregated, "subframe"))
	}
	for _, name := range []string{"malformed", "snap-cut", "unknown-link", "bad-fragment", "too-deep"} {
		if c := s.Ignored[name]; c.Packets > 0 {
			t.lose("%s could not be decoded: %s", plural(c.Packets, "packet"), undecoded[name])
		}
	}
	t.reportOwners()
	if t.number == 0 && failed == nil && !t.followed {
		t.nothing(s)
	}
	if t.config.Stats {
		fmt.Fprint(t.stderr, totals(s, t.shown(s)))
	}
}

// undecoded says what the results of decoding mean.
var undecoded = map[string]string{
	"malformed":    "their headers contradict themselves",
	"snap-cut":     "what was captured of them ends within their headers; if a snap length did that, capture whole packets",
	"unknown-link": "their link type isn't supported",
	"bad-fragment": "IP fragments that overlap, or never became whole",
	"too-deep":     "more encapsulations than the limit",
}

// lose warns of something that was lost or couldn't be decoded.
func (t *capturing) lose(format string, args ...any) {
	t.lossy = true
	t.warn(format, args...)
}

// nothing says why no exchange was shown, and what to do.
func (t *capturing) nothing(s *pipeline.Stats) {
	say := func(format string, args ...any) { fmt.Fprintf(t.stderr, "culprit: "+format+"\n", args...) }
	switch {
	case t.hidden > 0:
		say("%s found, none for which --where holds", plural(t.hidden+t.others, "exchange"))
		return
	case t.others > 0:
		say("%s found, none of the processes that were chosen", plural(t.others, "exchange"))
		return
	case s.Received.Packets == 0 && t.config.Live.On():
		say("no packet came%s", t.through())
		return
	case s.Received.Packets == 0:
		say("the capture holds no packets")
		return
	case s.Ignored["filter"].Packets == s.Received.Packets:
		say("none of %s passes the capture filter", plural(s.Received.Packets, "packet"))
		return
	}
	say("no exchange found in %s%s", plural(s.Received.Packets, "packet"), inventory(s))
	for _, name := range sorted(s.Connections) {
		if next := nextSteps[name]; next != "" {
			t.lossy = true
			say("%s: %s", plural(s.Connections[name], name+" connection"), next)
		}
	}
}

// reportOwners says which processes aren't known, where that matters.
func (t *capturing) reportOwners() {
	if t.owners == nil {
		return
	}
	if t.unowned > 0 {
		t.lose("%s left out whose processes aren't known: their sockets were closed before they could be looked up, or can't be looked into",
			plural(t.unowned, "exchange"))
	}
	if missed := t.owners.Missed(); t.wantsOwner && missed > 0 {
		t.lose("the processes of %s aren't known, since they were closed before they could be looked up; --where may have left them out",
			plural(missed, "end")+" of connections")
	}
	if blind := t.owners.Blind(); blind != "" && (t.unowned > 0 || t.nameless > 0) {
		t.warn("not all processes are known: %s", blind)
	}
}

// filterWidth is the most that a message shows of a capture filter.
const filterWidth = 80

// through names the capture filter of a live capture, for what didn't come.
func (t *capturing) through() string {
	if t.config.CaptureFilter == "" {
		return ""
	}
	return " that passes the capture filter " + strconv.Quote(string(terminal.AppendMiddle(nil, []byte(t.config.CaptureFilter), filterWidth)))
}

// nextSteps say why connections of a protocol aren't read.
var nextSteps = map[string]string{
	"unknown": "no protocol was recognised; if it is HTTP, try --decode-as PORT=http",
}

// inventory lists what there was.
func inventory(s *pipeline.Stats) string {
	var parts []string
	for _, name := range sorted(s.Connections) {
		parts = append(parts, plural(s.Connections[name], name+" connection"))
	}
	ignored := map[string]uint64{}
	for name, c := range s.Ignored {
		ignored[name] = c.Packets
	}
	for _, name := range sorted(ignored) {
		if name == "filter" {
			parts = append(parts, count(ignored[name])+" left out by the capture filter")
			continue
		}
		parts = append(parts, plural(ignored[name], name+" packet"))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// sorted returns the keys of m, the largest values first.
func sorted(m map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
}

// shown says how many exchanges were shown, and why not the others; "" if all were.
func (t *capturing) shown(s *pipeline.Stats) string {
	if s.Seen() == t.number {
		return ""
	}
	text := cmp.Or(t.did, "shown") + " " + count(t.number)
	rest := "not written"
	if t.most > 0 && t.number == t.most {
		rest = "after the last of --count"
	}
	for _, left := range []struct {
		n  uint64
		by string
	}{
		{t.others - t.unowned, "other processes"}, {t.unowned, "processes not known"}, {t.hidden, "left out by --where"},
		{s.Seen() - t.number - t.others - t.hidden, rest},
	} {
		if left.n > 0 {
			text += ", " + left.by + " " + count(left.n)
		}
	}
	return text
}

// totals is the reconciliation: every packet, byte, connection and exchange is accounted for.
func totals(s *pipeline.Stats, shown string) string {
	packets, bytes := map[string]uint64{}, map[string]uint64{}
	for name, c := range s.Ignored {
		packets[name], bytes[name] = c.Packets, c.Bytes
	}
	connections := maps.Clone(s.Connections)
	delete(connections, "http")
	read := []string{"http " + count(s.Connections["http"])} // those that are looked into
	for _, name := range sorted(connections) {
		if pipeline.Parsed(name) {
			read = append(read, name+" "+count(connections[name]))
			delete(connections, name)
		}
	}
	grades := map[string]uint64{}
	for g, n := range s.Exchanges {
		if exchange.Grade(g) != exchange.Complete {
			grades[exchange.Grade(g).String()] = n
		}
	}
	var b strings.Builder
	row := func(what string, total uint64, parts ...string) {
		fmt.Fprintf(&b, "%-11s %s %s = %s\n", what, verbs[what], count(total), strings.Join(parts, " + "))
	}
	row("packets", s.Received.Packets+s.Dropped+s.IfDropped, "analysed "+count(s.Analysed.Packets), with("ignored", packets),
		with("dropped", map[string]uint64{"kernel": s.Dropped, "interface": s.IfDropped}))
	row("bytes", s.Received.Bytes, "analysed "+count(s.Analysed.Bytes), with("ignored", bytes))
	opened := uint64(0)
	for _, n := range s.Connections {
		opened += n
	}
	row("connections", opened, append(read, with("ignored", connections))...)
	if len(s.Carried) > 0 {
		fmt.Fprintf(&b, "%-11s %s\n", "", "carried "+strings.Join(listed(s.Carried), ", "))
	}
	if s.TLS.Sessions > 0 {
		row("tls", s.TLS.Sessions, "decrypted "+count(s.TLS.Decrypted), "not decrypted "+count(s.TLS.Sessions-s.TLS.Decrypted))
	}
	row("exchanges", s.Seen(), append([]string{"complete " + count(s.Exchanges[exchange.Complete])}, listed(grades)...)...)
	if shown != "" {
		fmt.Fprintf(&b, "%-11s %s\n", "", shown)
	}
	if s.TCP.Gaps > 0 {
		fmt.Fprintf(&b, "%-11s %s in %s\n", "missing", plural(s.TCP.MissingBytes, "byte"), plural(s.TCP.Gaps, "hole"))
	}
	hits := map[string]uint64{}
	for i := range limits {
		if l := &limits[i]; !l.quiet {
			hits[l.name] = l.count(s)
		}
	}
	if hit := listed(hits); len(hit) > 0 {
		fmt.Fprintf(&b, "%-11s hit: %s\n", "limits", strings.Join(hit, ", "))
	}
	return b.String()
}

var verbs = map[string]string{"packets": "received", "bytes": "received", "connections": "seen", "tls": "seen", "exchanges": "seen"}

// with gives a total and its parts: "ignored 12 (arp 12)".
func with(what string, parts map[string]uint64) string {
	total := uint64(0)
	for _, n := range parts {
		total += n
	}
	text := what + " " + count(total)
	if list := listed(parts); len(list) > 0 {
		text += " (" + strings.Join(list, ", ") + ")"
	}
	return text
}

// listed gives the parts that aren't zero, the largest first.
func listed(parts map[string]uint64) (list []string) {
	for _, name := range sorted(parts) {
		if parts[name] > 0 {
			list = append(list, name+" "+count(parts[name]))
		}
	}
	return list
}

func count(n uint64) string { return string(terminal.AppendCount(nil, int64(n))) }

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}
