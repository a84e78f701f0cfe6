package main

import (
	"bufio"
	"bytes"
	"cmp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// The columns of a tree on a terminal: two figures, and from wideFrom on how each hop was linked.
const (
	figureWidth = 9
	linkWidth   = 14
	wideFrom    = 100
	narrowest   = 40
)

// unsure is below which confidence a link is marked as doubtful.
const unsure = 0.5

// treeLayout shows trees. On a terminal a tree has a line for the request, one a hop, and one for the verdict. Elsewhere each exchange has a line of
// its own, with single spaces between the fields.
type treeLayout struct {
	w    *bufio.Writer
	to   target
	line []byte
	text []byte
	// figures tells that the head of the columns was shown.
	figures bool
}

func newTreeLayout(w *bufio.Writer, to target) *treeLayout { return &treeLayout{w: w, to: to} }

// tree shows a tree. marked is the begin of the id of the exchange that was asked for.
func (o *treeLayout) tree(t *hops.Tree, marked string) error {
	if o.to.terminal.Width == 0 {
		t.All(func(n *hops.Node) bool {
			o.plain(t, n)
			return true
		})
		return nil
	}
	if !o.figures {
		o.head()
		o.figures = true
	} else {
		o.put("\n")
	}
	o.request(t)
	o.hop(t, t.Root, "  ", "  ", marked)
	o.verdict(t)
	return o.flushed()
}

func (o *treeLayout) put(s string) { _, _ = o.w.WriteString(s) }

func (o *treeLayout) flushed() error {
	if o.w.Buffered() > 32<<10 {
		return o.w.Flush()
	}
	return nil
}

// end shows how clocks differ, and ends the output.
func (o *treeLayout) end(clocks []hops.Clock) error {
	for i, c := range clocks {
		b := o.text[:0]
		if o.to.terminal.Width == 0 {
			b = append(b, "clock "...)
			b = appendTapWord(b, c.Observer[1], c.Tap[1])
			b = append(b, " - "...)
			b = appendTapWord(b, c.Observer[0], c.Tap[0])
			b = appendMilliseconds(append(b, ' '), c.Ahead)
			b = appendMilliseconds(append(b, " +- "...), c.Bound)
			b = strconv.AppendUint(append(b, ' '), c.Samples, 10)
			b = append(b, " exchanges\n"...)
		} else {
			if i == 0 {
				o.put("\n")
			}
			ahead, than := 1, 0
			if c.Ahead < 0 {
				ahead, than, c.Ahead = 0, 1, -c.Ahead
			}
			b = append(b, "clocks: "...)
			b = appendTap(b, c.Observer[ahead], c.Tap[ahead])
			b = terminal.AppendDuration(append(b, " is "...), c.Ahead)
			b = appendTap(append(b, " ahead of "...), c.Observer[than], c.Tap[than])
			b = terminal.AppendDuration(append(b, ", give or take "...), c.Bound)
			b = append(b, ", by "...)
			o.text = append(b, plural(c.Samples, "exchange")...)
			o.row(o.text, nil, nil)
			continue
		}
		o.text = b
		_, _ = o.w.Write(b)
	}
	return o.w.Flush()
}

func appendTap(b []byte, observer, tap string) []byte {
	if observer != "" && tap != "" {
		observer += ":"
	}
	return terminal.AppendSafe(b, []byte(cmp.Or(observer+tap, "?")))
}

func appendTapWord(b []byte, observer, tap string) []byte {
	at := len(b)
	b = appendTap(b, observer, tap)
	for i := at; i < len(b); i++ {
		if b[i] == ' ' {
			b[i] = '_'
		}
	}
	return b
}

// head shows what the columns are.
func (o *treeLayout) head() {
	right := "took     self"
	if o.to.terminal.Width >= wideFrom {
		right += "  linked by  "
	}
	o.row([]byte("started       request"), nil, []byte(right))
}

// row shows a line: a left part, whose middle is cut out if need be, what must be seen behind it, and a right part.
func (o *treeLayout) row(left, behind, right []byte) {
	room := o.to.terminal.Width - terminal.Width(right)
	if len(right) > 0 {
		room--
	}
	room = max(room, narrowest/2)
	b := o.line[:0]
	if n := max(room-terminal.Width(behind), 8); terminal.Width(left) > n {
		b = terminal.AppendMiddle(b, left, n)
	} else {
		b = append(b, left...)
	}
	b = append(b, behind...)
	if len(right) > 0 {
		b = append(b, strings.Repeat(" ", max(room-terminal.Width(b), 0)+1)...)
		b = append(b, right...)
	}
	b = append(bytes.TrimRight(b, " "), '\n')
	o.line = b
	_, _ = o.w.Write(b)
}

// request shows the line of the request that a tree began with.
func (o *treeLayout) request(t *hops.Tree) {
	n := t.Root
	b := time.Unix(0, n.Start).In(o.to.location).AppendFormat(o.text[:0], "15:04:05.000")
	b = append(b, "  "...)
	b = appendWhat(b, n, true)
	var behind []byte
	if n.Status > 0 {
		behind = strconv.AppendInt([]byte("  "), int64(n.Status), 10)
	}
	right := append([]byte("← "), n.Client.String()...)
	if name := cmp.Or(n.Span.Service[0], n.Process[0]); name != "" {
		right = append([]byte("← "), terminal.AppendSafe(nil, []byte(name+" "+n.Client.Addr().String()))...)
	}
	o.text = b
	o.row(b, behind, right)
}

// hop shows the lines of a node and of all below it.
func (o *treeLayout) hop(t *hops.Tree, n *hops.Node, first, next, marked string) {
	b := append(o.text[:0], first...)
	b = appendWho(b, n)
	if n.Parent != nil && !passesOn(n) {
		b = appendWhat(append(b, ' '), n, false)
	}
	var behind []byte
	if n.Parent != nil && n.Status > 0 && n.Status != n.Parent.Status && n.Family == exchange.HTTP {
		behind = strconv.AppendInt(append(behind, "  "...), int64(n.Status), 10)
	} else if n.Failed && n.Status == 0 {
		behind = append(behind, "  failed"...)
	}
	for _, s := range notes(n) {
		behind = append(append(behind, "  "...), s...)
	}
	if marked != "" && strings.HasPrefix(exchange.IDText(n.ID), marked) {
		behind = append(behind, "  ●"...)
	}
	right := appendFigure(nil, n.End-n.Start)
	right = appendFigure(right, n.Self)
	if o.to.terminal.Width >= wideFrom {
		link := append([]byte("  "), n.Hop.Method.String()...)
		if n.Hop.Method > exchange.Root && n.Hop.Confidence < 0.995 {
			link = strconv.AppendFloat(append(link, ' '), n.Hop.Confidence, 'f', 2, 64)
		}
		right = append(right, link...)
		right = append(right, strings.Repeat(" ", max(linkWidth-len(link), 0))...)
	} else if n.Hop.Method > exchange.Root && n.Hop.Confidence < unsure {
		behind = strconv.AppendFloat(append(behind, "  unsure "...), n.Hop.Confidence, 'f', 2, 64)
	}
	if n == t.Culprit {
		behind = append(behind, "  ◀ culprit"...)
	}
	o.text = b
	o.row(b, behind, right)
	if n.Network.Known {
		b := append(o.text[:0], next...)
		if len(n.Children) > 0 {
			b = append(b, "│ "...)
		} else {
			b = append(b, "  "...)
		}
		b = append(b, "network "...)
		b = appendTap(b, n.Seen[0].Observer, n.Seen[0].Tap)
		b = appendTap(append(b, " to "...), n.Served().Observer, n.Served().Tap)
		b = terminal.AppendDuration(append(b, ": "...), n.Network.Request)
		b = terminal.AppendDuration(append(b, ", back "...), n.Network.Response)
		o.text = b
		right := append(appendFigure(nil, n.Network.Request+n.Network.Response), strings.Repeat(" ", terminal.Width(right)-figureWidth)...)
		o.row(b, nil, right)
	}
	if n.Unseen != "" {
		o.text = append(append(append(o.text[:0], next...), "└╌ "...), terminal.AppendSafe(nil, []byte(n.Unseen))...)
		o.row(o.text, nil, nil)
	}
	for i, c := range n.Children {
		if i < len(n.Children)-1 {
			o.hop(t, c, next+"├─ ", next+"│  ", marked)
		} else {
			o.hop(t, c, next+"└─ ", next+"   ", marked)
		}
	}
}

// notes are what is said of a node beside its times.
func notes(n *hops.Node) (all []string) {
	switch n.Role {
	case hops.Retry:
		all = append(all, "(again)")
	case hops.Redirect:
		all = append(all, "(redirected)")
	case hops.Lookup:
		all = append(all, "(lookup)")
	}
	if n.Async {
		all = append(all, "(after the answer)")
	}
	return all
}

// appendFigure appends a duration, right-aligned.
func appendFigure(b []byte, ns int64) []byte {
	at := len(b)
	b = terminal.AppendDuration(b, ns)
	pad := max(figureWidth-utf8.RuneCount(b[at:]), 1)
	return append(b[:at], append([]byte(strings.Repeat(" ", pad)), b[at:]...)...)
}

// verdict shows who is to blame for a tree.
func (o *treeLayout) verdict(t *hops.Tree) {
	n := t.Root
	if n.Blame.Who <= exchange.Nobody {
		return
	}
	b := append(o.text[:0], "  ◀ "...)
	b = append(b, n.Blame.Who.String()...)
	if n.Blame.Situation != exchange.NoSituation {
		b = append(append(b, ", "...), n.Blame.Situation.String()...)
	}
	if c := t.Culprit; c != nil && c != n {
		b = appendWho(append(b, ": "...), c)
	}
	switch took := n.End - n.Begun + n.Span.Start - n.Start; {
	case n.Blame.Time > took: // a lookup, or redirects
		b = terminal.AppendDuration(append(b, "  "...), n.Blame.Time)
		b = terminal.AppendDuration(append(b, ", not all within its "...), took)
	case n.Blame.Time > 0:
		b = terminal.AppendDuration(append(b, "  "...), n.Blame.Time)
		b = terminal.AppendDuration(append(b, " of "...), took)
		b = strconv.AppendInt(append(b, " ("...), n.Blame.Time*100/took, 10)
		b = append(b, " %)"...)
	}
	if n.Blame.Who != exchange.Unclear {
		b = strconv.AppendFloat(append(b, ", sure "...), n.Blame.Confidence, 'f', 2, 64)
	}
	o.text = b
	o.row(b, nil, nil)
}

// passesOn reports whether a node asks for what its parent was asked for.
func passesOn(n *hops.Node) bool {
	return n.Family == exchange.HTTP && n.Parent.Verb == n.Verb && n.Parent.Target == n.Target && n.Verb != "connect"
}

// appendWho appends who serves an exchange.
func appendWho(b []byte, n *hops.Node) []byte {
	protocol := n.Protocol
	if n.Verb == "connect" { // nothing was spoken
		protocol = "tcp"
	}
	b = terminal.AppendSafe(b, []byte(cmp.Or(n.Span.Service[1], n.Process[1], protocol)))
	return append(append(b, ' '), n.Server.String()...)
}

// appendWhat appends what an exchange asks for, with the host at the root of a tree.
func appendWhat(b []byte, n *hops.Node, host bool) []byte {
	b = terminal.AppendSafe(b, []byte(n.Verb))
	target := strings.Join(strings.Fields(n.Target), " ")
	if n.Family == exchange.Database { // which begins with the verb
		target = strings.TrimPrefix(target, n.Verb+" ")
		if target == n.Verb {
			target = ""
		}
	}
	if host && n.Family == exchange.HTTP && strings.HasPrefix(target, "/") {
		target = cmp.Or(n.Host, n.Server.String()) + target
	}
	if target == "" {
		return b
	}
	return terminal.AppendSafe(append(b, ' '), []byte(target))
}

// plain shows the line of an exchange for other programs: time depth link client server method target status took self id parent marks.
func (o *treeLayout) plain(t *hops.Tree, n *hops.Node) {
	b := time.Unix(0, n.Start).UTC().AppendFormat(o.line[:0], "2006-01-02T15:04:05.000000000Z")
	b = strconv.AppendInt(append(b, ' '), int64(n.Depth()), 10)
	b = append(append(b, ' '), n.Hop.Method.String()...)
	if n.Hop.Method > exchange.Root {
		b = strconv.AppendFloat(append(b, ':'), n.Hop.Confidence, 'f', 2, 64)
	}
	b = append(append(b, ' '), n.Client.String()...)
	b = append(append(b, ' '), n.Server.String()...)
	b = appendQuoted(append(b, ' '), n.Verb)
	target := n.Target
	if n.Family == exchange.HTTP && strings.HasPrefix(target, "/") {
		target = cmp.Or(n.Host, n.Server.String()) + target
	}
	b = appendQuoted(append(b, ' '), target)
	switch {
	case n.Status > 0:
		b = strconv.AppendInt(append(b, ' '), int64(n.Status), 10)
	case n.Failed:
		b = append(b, " ERR"...)
	default:
		b = append(b, " -"...)
	}
	b = appendMilliseconds(append(b, ' '), n.End-n.Start)
	b = appendMilliseconds(append(b, ' '), n.Self)
	b = exchange.AppendID(append(b, ' '), n.ID)
	if n.Parent != nil {
		b = exchange.AppendID(append(b, ' '), n.Hop.Parent)
	} else {
		b = append(b, " -"...)
	}
	if n.Role != hops.Call {
		b = append(append(b, ' '), n.Role.String()...)
	}
	if n.Async {
		b = append(b, " async"...)
	}
	if n.Network.Known {
		b = appendMilliseconds(append(b, " network:"...), n.Network.Request+n.Network.Response)
	}
	if n.Unseen != "" {
		b = append(b, " unseen"...)
	}
	if n == t.Culprit {
		b = append(b, " culprit"...)
	}
	if n.Blame.Who > exchange.Nobody {
		b = append(append(b, " blame:"...), n.Blame.Who.String()...)
		if n.Blame.Situation != exchange.NoSituation {
			b = append(append(b, '/'), n.Blame.Situation.String()...)
		}
		if n.Blame.Time > 0 {
			b = appendMilliseconds(append(b, '/'), n.Blame.Time)
		}
	}
	o.line = append(b, '\n')
	_, _ = o.w.Write(o.line)
}

// appendQuoted appends a text as one word: as it is, or in quotes. An empty one is "-".
func appendQuoted(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	if strings.ContainsAny(s, " \"\\\t\r\n") {
		return strconv.AppendQuote(b, s)
	}
	return terminal.AppendSafe(b, []byte(s))
}

// appendMilliseconds appends a duration in milliseconds with three decimals.
func appendMilliseconds(b []byte, ns int64) []byte {
	return append(strconv.AppendFloat(b, float64(ns)/1e6, 'f', 3, 64), "ms"...)
}
