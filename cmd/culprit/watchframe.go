package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/process"
)

// frame is what is shown at one time.
type frame struct {
	at time.Time
	// packets is how many came a second since the frame before, lost how many were lost since the beginning.
	packets float64
	lost    uint64
	// seconds is the time that rates are of.
	seconds       int
	serves, calls []row
	// elsewhere are the requests a second that no socket here has.
	elsewhere float64
	links     []link
	// notes are sentences about what isn't shown, safe to show.
	notes []string
	// unfollowed and untold are those of traffic.
	unfollowed, untold uint64
}

// watchColumn is a column of the table, and what stands in it. pipe: it is read by programs. width is the least, on a
// terminal, so that the columns stay where they are from frame to frame.
type watchColumn struct {
	column
	width int
	cell  func(r *row, pipe bool) string
}

// none stands where there was no traffic.
const none = "-"

// The columns of the table: the address, what is counted, and who it is. kind is there for programs, and for people who asked
// for more than TCP.
var (
	watchKind    = watchColumn{column{head: "kind", drop: 7}, 0, func(r *row, pipe bool) string { return kindCell(&process.Socket{Kind: r.kind}, pipe) }}
	watchColumns = []watchColumn{
		{column{min: 15, tails: endTails}, 0, func(r *row, _ bool) string { return endCell(r.end, r.path) }},
		{column{head: "conns", right: true, drop: 3}, 5, func(r *row, _ bool) string { return connectionsCell(r) }},
		{column{head: "req/s", right: true}, 5, func(r *row, pipe bool) string { return rateCell(r.rates.Requests, pipe) }},
		{column{head: "errors", right: true}, 6, errorsCell},
		{column{head: "p50", right: true, drop: 1}, 7, func(r *row, pipe bool) string { return durationCell(r.rates.P50, pipe) }},
		{column{head: "p99", right: true}, 7, func(r *row, pipe bool) string { return durationCell(r.rates.P99, pipe) }},
		{column{head: "waits", right: true, drop: 2}, 5, func(r *row, _ bool) string { return waitingCell(r) }},
		{column{head: "queue", right: true, drop: 4}, 0, func(r *row, _ bool) string {
			if r.queue == nil {
				return ""
			}
			return fmt.Sprintf("%d/%d", r.queue[0], r.queue[1])
		}},
		{column{head: "user", min: 12, drop: 5}, 0, func(r *row, _ bool) string { return safe(r.user) }},
		{column{head: "unit", min: 14, drop: 6}, 0, func(r *row, pipe bool) string { return unitCell(&process.Socket{Holders: r.holders}, pipe) }},
		{column{head: "process", min: 14, tails: endTails}, 0, func(r *row, pipe bool) string {
			return processColumn.cell(&process.Socket{Holders: r.holders, User: r.user, Inode: 1}, pipe)
		}},
	}
)

// The heads of the two parts: what waits for others, and what is talked to.
const (
	servesHead = "serves"
	callsHead  = "calls"
)

func connectionsCell(r *row) string {
	if r.connections == 0 {
		return none
	}
	return strconv.Itoa(r.connections)
}

func waitingCell(r *row) string {
	if r.waiting == 0 {
		return ""
	}
	return strconv.Itoa(r.waiting)
}

// rateCell shows a number a second.
func rateCell(perSecond float64, pipe bool) string {
	switch {
	case perSecond <= 0:
		return none
	case pipe || perSecond < 99.95:
		return strconv.FormatFloat(max(perSecond, 0.1), 'f', 1, 64)
	}
	return count(uint64(math.Round(perSecond)))
}

// errorsCell shows which part of the requests failed.
func errorsCell(r *row, pipe bool) string {
	if r.rates.Requests <= 0 {
		return none
	}
	part := 100 * r.rates.Errors / r.rates.Requests
	text := strconv.FormatFloat(part, 'f', 0, 64)
	switch {
	case part > 0 && part < 0.05:
		text = "<0.1"
	case part > 0 && part < 9.95:
		text = strconv.FormatFloat(part, 'f', 1, 64)
	case part > 99.5 && part < 100: // not all of them
		text = "99"
	}
	if pipe {
		return text + "%"
	}
	return text + " %"
}

// durationCell shows nanoseconds.
func durationCell(ns int64, pipe bool) string {
	switch {
	case ns < 0:
		return none
	case pipe:
		return strconv.FormatFloat(float64(ns)/1e6, 'f', 3, 64) + "ms"
	}
	return string(terminal.AppendDuration(nil, ns))
}

// heading is the first line. Nothing is red but losses.
func (f *frame) heading(t terminal.Terminal) []byte {
	packets := rateCell(f.packets, false)
	if packets == none {
		packets = "0"
	}
	b := fmt.Appendf(nil, "%s  %s packets/s  ", f.at.Format("15:04:05"), packets)
	style := terminal.Plain
	if f.lost > 0 {
		style = terminal.Red
	}
	b = fmt.Appendf(t.Begin(b, style), "%s lost", count(f.lost))
	return fmt.Appendf(t.End(b, style), "  rates of the last %d s", f.seconds)
}

// remarks are the lines under the table, the most important first.
func (f *frame) remarks() (all []string) {
	all = append(all, f.notes...)
	if f.unfollowed > 0 {
		all = append(all, fmt.Sprintf("%s not followed: there are more than %s ends at once", plural(f.unfollowed, "request"), count(maxSeries)))
	}
	if f.untold > 0 {
		all = append(all, fmt.Sprintf("%s more are called", plural(f.untold, "end")))
	}
	if f.elsewhere > 0 {
		all = append(all, rateCell(f.elsewhere, false)+" requests/s are neither to nor from a socket here")
	}
	for i := range f.links {
		all = append(all, f.links[i].text())
	}
	return all
}

// table lays out rows under their heads. kinds: they have a column.
func (f *frame) table(width int, kinds bool, moreServes, moreCalls int, serves, calls []row) []byte {
	columns := watchColumns
	if kinds {
		columns = append([]watchColumn{watchKind}, columns...)
	}
	if serves == nil && calls == nil {
		return nil
	}
	end := slices.IndexFunc(columns, func(c watchColumn) bool { return c.head == "" })
	t := &table{}
	for _, c := range columns {
		t.columns = append(t.columns, c.column)
	}
	part := func(head string, rows []row, more int) {
		if rows == nil {
			return
		}
		if t.columns[end].head == "" {
			t.columns[end].head = head
		} else {
			heads := make([]string, len(columns))
			for i, c := range columns {
				heads[i] = c.head
			}
			heads[end] = head
			t.rows = append(t.rows, make([]string, len(columns)), heads)
		}
		for i := range rows {
			cells := make([]string, len(columns))
			for k, c := range columns {
				cells[k] = c.cell(&rows[i], false)
				if pad := c.width - terminal.Width([]byte(cells[k])); pad > 0 && cells[k] != "" {
					cells[k] = strings.Repeat(" ", pad) + cells[k]
				}
			}
			t.rows = append(t.rows, cells)
		}
		if more > 0 {
			cells := make([]string, len(columns))
			cells[end] = fmt.Sprintf("%s %s more", terminal.Ellipsis, count(uint64(more)))
			t.rows = append(t.rows, cells)
		}
	}
	part(servesHead, serves, moreServes)
	part(callsHead, calls, moreCalls)
	// A heading alone doesn't make a column worth its room.
	for i := range t.columns {
		empty := t.columns[i].drop > 0
		for _, r := range t.rows {
			empty = empty && (r[i] == "" || r[i] == t.columns[i].head)
		}
		if empty {
			for _, r := range t.rows {
				r[i] = ""
			}
		}
	}
	return t.append(nil, width)
}

// portions gives two parts their lines out of n: what one doesn't need is the other's.
func portions(n, a, b int) (forA, forB int) {
	switch {
	case a+b <= n:
		return a, b
	case a <= n/2:
		return a, n - a
	case b <= n/2:
		return n - b, b
	}
	return n - n/2, n / 2
}

// fit cuts rows to so many lines, the last of which then says how many more there are.
func fit(rows []row, lines int) (shown []row, more int) {
	if len(rows) <= lines {
		return rows, 0
	}
	n := max(lines-1, 0)
	return rows[:n:n], len(rows) - n
}

// append lays the frame out for a terminal, in lines that are no wider than it, and no more than its height less one, where
// the cursor is left; height 0: as many as there are.
func (f *frame) append(dst []byte, t terminal.Terminal, height int, kinds bool) []byte {
	remarks := f.remarks()
	serves, calls := f.serves, f.calls
	moreServes, moreCalls := 0, 0
	if height > 0 {
		lines := height - 1
		room := lines - 1 // the heading
		for _, rows := range [][]row{serves, calls} {
			if len(rows) > 0 {
				room -= 2 // an empty line, and heads
			}
		}
		if len(serves)+len(calls)+1+len(remarks) > room { // rows come first
			remarks = remarks[:min(len(remarks), max(room/4, 0))]
		}
		if len(remarks) > 0 {
			room -= 1 + len(remarks)
		}
		forServes, forCalls := portions(max(room, 0), len(serves), len(calls))
		serves, moreServes = fit(serves, forServes)
		calls, moreCalls = fit(calls, forCalls)
	}
	var all []byte
	all = append(all, f.heading(terminal.Terminal{})...)
	all = append(all, '\n')
	if len(f.serves)+len(f.calls) == 0 {
		all = append(all, "\nno socket of the kinds and processes that are wanted\n"...)
	} else {
		all = append(all, '\n')
		all = append(all, f.table(t.Width, kinds, moreServes, moreCalls, serves, calls)...)
	}
	if len(remarks) > 0 {
		all = append(all, '\n')
		for _, r := range remarks {
			all = append(append(all, r...), '\n')
		}
	}
	n := 0
	for line := range bytes.Lines(all) {
		if n++; height > 0 && n > height-1 {
			break
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if terminal.Width(line) > t.Width {
			line = append(line[:terminal.Fit(line, t.Width-1):terminal.Fit(line, t.Width-1)], terminal.Ellipsis...)
		} else if n == 1 {
			line = f.heading(t)
		}
		dst = append(append(dst, line...), '\n')
	}
	return dst
}

// appendPlain appends the frame for other programs: a line with the time, and the table in which each line has the same
// fields.
func (f *frame) appendPlain(dst []byte) []byte {
	dst = f.at.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	dst = fmt.Appendf(dst, " %.1f packets/s, %d lost, rates of the last %d s", f.packets, f.lost, f.seconds)
	if f.elsewhere > 0 {
		dst = fmt.Appendf(dst, ", %.1f requests/s elsewhere", f.elsewhere)
	}
	if f.unfollowed > 0 {
		dst = fmt.Appendf(dst, ", %d not followed", f.unfollowed)
	}
	if f.untold > 0 {
		dst = fmt.Appendf(dst, ", %d ends not shown", f.untold)
	}
	dst = append(dst, '\n')
	heads := []string{"part", "kind"}
	for _, c := range watchColumns {
		head := c.head
		if head == "" {
			head = "address"
		}
		heads = append(heads, head)
	}
	dst = appendFields(dst, heads)
	for _, part := range []struct {
		name string
		rows []row
	}{{servesHead, f.serves}, {callsHead, f.calls}} {
		for i := range part.rows {
			cells := []string{part.name, watchKind.cell(&part.rows[i], true)}
			for _, c := range watchColumns {
				cells = append(cells, c.cell(&part.rows[i], true))
			}
			dst = appendFields(dst, cells)
		}
	}
	return dst
}

// The JSON document of a frame.
type (
	frameJSON struct {
		Time       time.Time  `json:"@timestamp"`
		Seconds    int        `json:"window_seconds"`
		Packets    float64    `json:"packets_per_second"`
		Lost       uint64     `json:"packets_lost"`
		Serves     []rowJSON  `json:"serves"`
		Calls      []rowJSON  `json:"calls"`
		Elsewhere  float64    `json:"elsewhere_requests_per_second"`
		Unfollowed uint64     `json:"requests_not_followed"`
		Untold     uint64     `json:"ends_not_shown"`
		OffWire    []linkJSON `json:"off_wire"`
		Notes      []string   `json:"notes"`
	}
	rowJSON struct {
		Kind        string        `json:"kind"`
		IP          *netip.Addr   `json:"ip,omitempty"`
		Port        uint16        `json:"port,omitempty"`
		Path        string        `json:"path,omitempty"`
		Connections int           `json:"connections"`
		Requests    float64       `json:"requests_per_second"`
		Errors      float64       `json:"errors_per_second"`
		P50         *int64        `json:"p50,omitempty"`
		P99         *int64        `json:"p99,omitempty"`
		Waiting     int           `json:"waiting"`
		Accept      *acceptJSON   `json:"accept_queue,omitempty"`
		User        string        `json:"user,omitempty"`
		Processes   []watchedJSON `json:"processes,omitempty"`
	}
	watchedJSON struct {
		PID         int    `json:"pid,omitempty"`
		Name        string `json:"name"`
		Executable  string `json:"executable,omitempty"`
		User        string `json:"user,omitempty"`
		ContainerID string `json:"container_id,omitempty"`
		PodUID      string `json:"pod_uid,omitempty"`
		Unit        string `json:"unit,omitempty"`
	}
)

// appendDocument appends the frame as a JSON document on one line. Percentiles are in nanoseconds.
func (f *frame) appendDocument(dst []byte) ([]byte, error) {
	rows := func(all []row) []rowJSON {
		out := make([]rowJSON, len(all))
		for i := range all {
			r := &all[i]
			j := rowJSON{
				Kind: r.kind.String(), Path: text(r.path), Connections: r.connections, Requests: rounded(r.rates.Requests), Errors: rounded(r.rates.Errors),
				Waiting: r.waiting, User: text(r.user),
			}
			if e := jsonEnd(r.end); e != nil {
				j.IP, j.Port = &e.IP, e.Port
			}
			if r.rates.P50 >= 0 {
				j.P50, j.P99 = &r.rates.P50, &r.rates.P99
			}
			if r.queue != nil {
				j.Accept = &acceptJSON{r.queue[0], r.queue[1]}
			}
			for _, h := range r.holders {
				j.Processes = append(j.Processes, watchedJSON{
					h.PID, text(h.Name), text(h.Executable), text(h.User), text(h.ContainerID), text(h.PodUID), text(h.Unit),
				})
			}
			out[i] = j
		}
		return out
	}
	links := make([]linkJSON, len(f.links))
	for i := range f.links {
		links[i] = jsonLink(&f.links[i])
	}
	notes := make([]string, len(f.notes))
	for i := range f.notes {
		notes[i] = text(f.notes[i])
	}
	b, err := json.Marshal(frameJSON{
		f.at.UTC(), f.seconds, rounded(f.packets), f.lost, rows(f.serves), rows(f.calls), rounded(f.elsewhere), f.unfollowed, f.untold, links, notes,
	})
	return append(append(dst, steerless(b)...), '\n'), err
}

// rounded gives a number three decimals: more is noise.
func rounded(f float64) float64 { return math.Round(f*1000) / 1000 }
