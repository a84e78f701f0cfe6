// Package console shows exchanges in full for a person: each request and its response with headers
// as sent, the body by its type, where the time went, and what was odd; live also the local processes at
// the ends. Everything from the wire and from the system is escaped.
package console

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/preview"
	"github.com/culprit-http/culprit/internal/proto"
)

// DefaultWidth is how many columns the output is laid out for when it isn't a terminal.
const DefaultWidth = 80

// indent stands before what culprit says itself, as opposed to what was on the wire.
const indent = "   "

// Options say what is shown.
type Options struct {
	// Headers names the only header fields to show, in any case; empty: all.
	Headers []string
	// NoHeaders leaves out all header fields.
	NoHeaders bool
	// Preview lays bodies out; nil: without descriptors, and without what is decoded where nobody would hide its secrets.
	Preview *preview.Previewer
	// Terminal says how wide the output is, and whether it may be coloured. On a terminal, start lines
	// and header fields are cut to its width.
	Terminal terminal.Terminal
}

// Output writes exchanges to a console. It implements output.Output and output.Waiter.
type Output struct {
	o       Options
	width   int
	headers []string
	w       *bufio.Writer
	buf     []byte
	safe    []byte
}

// New returns an Output that writes to w.
func New(w io.Writer, o Options) *Output {
	out := &Output{o: o, width: o.Terminal.Width, w: bufio.NewWriterSize(w, 64<<10)}
	if out.width <= 0 {
		out.width = DefaultWidth
	}
	if o.Preview == nil {
		out.o.Preview = preview.New(preview.Options{})
	}
	for _, h := range o.Headers {
		out.headers = append(out.headers, strings.ToLower(h))
	}
	return out
}

// Exchange shows one exchange.
func (o *Output) Exchange(x *exchange.Exchange) error {
	o.buf = o.buf[:0]
	o.rule(x, "")
	o.processes(x)
	o.proxied(x)
	o.tls(x)
	switch output.KindOf(x) {
	case output.TLS:
		o.record(x)
	case output.Session:
		o.session(x)
	case output.Message:
		o.said(x)
	case output.Query:
		o.query(x)
	case output.Lookup:
		o.lookup(x)
	case output.Flow:
		o.flow(x)
	default:
		o.request(x)
		o.response(x)
		o.operation(x)
	}
	o.timing(x)
	o.blame(x)
	o.remarks(x)
	o.buf = append(o.buf, '\n')
	return o.write()
}

// Waiting shows a request that has no answer yet.
func (o *Output) Waiting(x *exchange.Exchange, waited time.Duration) error {
	o.buf = o.buf[:0]
	text := string(terminal.AppendDuration([]byte("waiting for "), int64(waited)))
	o.rule(x, text)
	o.processes(x)
	switch output.KindOf(x) {
	case output.Query:
		o.statement(x)
	case output.Lookup:
		o.question(x)
	default:
		o.request(x)
	}
	o.note(terminal.Amber, strings.Fields("no answer yet, after "+text[len("waiting for "):]), " ")
	o.buf = append(o.buf, '\n')
	return o.write()
}

// Flush writes what is buffered.
func (o *Output) Flush() error { return o.wrap(o.w.Flush()) }

// Close writes what remains.
func (o *Output) Close() error { return o.Flush() }

func (o *Output) write() error {
	_, err := o.w.Write(o.buf)
	return o.wrap(err)
}

func (o *Output) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("console output: %w", err)
	}
	return nil
}

// rule writes the line that begins an exchange: its ends, and what identifies it, on a line of its
// own where there is no room. state stands for the exchange's number while it has none.
func (o *Output) rule(x *exchange.Exchange, state string) {
	ends := "── " + x.Flow.End(x.Client) + " → " + x.Flow.End(x.Server())
	if state == "" {
		state = "exchange " + count(x.Number)
	}
	if id := x.StreamID(); id > 0 && x.Family == exchange.HTTP {
		state += ", stream " + count(id)
		if x.Request.Pushed {
			state += " (pushed)"
		}
	}
	if x.LastPacket > x.FirstPacket {
		state += ", packets " + count(x.FirstPacket) + "–" + count(x.LastPacket)
	} else {
		state += ", packet " + count(x.FirstPacket)
	}
	if x.Tap.Name != "" {
		state += ", tap " + string(terminal.AppendSafe(nil, []byte(x.Tap.Name)))
	}
	layout := "15:04:05.000"
	if o.o.Terminal.Width <= 0 {
		layout = "2006-01-02T15:04:05.000000Z"
	}
	state += "  " + time.Unix(0, x.Start.Time).UTC().Format(layout)

	oneLine := ends + "  " + state
	if o.o.Terminal.Width <= 0 || terminal.Width([]byte(oneLine)) <= o.width {
		ends, state = oneLine, ""
	}
	o.buf = o.o.Terminal.Begin(o.buf, terminal.Dim)
	o.buf = append(o.buf, ends...)
	if fill := o.width - terminal.Width([]byte(ends)); fill > 1 {
		o.buf = append(o.buf, ' ')
		o.buf = append(o.buf, strings.Repeat("─", fill-1)...)
	}
	o.buf = o.o.Terminal.End(o.buf, terminal.Dim)
	o.buf = append(o.buf, '\n')
	o.note(terminal.Dim, strings.Fields(state), " ")
}

// processes writes the local processes at the ends, where they are known.
func (o *Output) processes(x *exchange.Exchange) {
	client, server := o.process(x.Process[x.Client]), o.process(x.Process[x.Server()])
	if len(client) == 0 && len(server) == 0 {
		return
	}
	o.note(terminal.Dim, slices.Concat(client, []string{"→"}, server), " ")
}

// idLength is how much of a container's id is shown, as docker ps does.
const idLength = 12

// process gives a process in parts that stay in one piece: its name and id, and in parentheses what it runs
// in. There are none when nothing of it is known.
func (o *Output) process(p *exchange.Process) []string {
	if p == nil {
		return nil
	}
	name := o.name(output.ProcessName(p))
	unnamed := name == ""
	if unnamed {
		name = "?"
	}
	if p.PID > 0 {
		name += "[" + strconv.Itoa(p.PID) + "]"
	}
	parts := []string{name}
	for _, in := range []struct{ what, name string }{
		{"container", p.ContainerID[:min(len(p.ContainerID), idLength)]}, {"pod", p.PodUID}, {"unit", p.Unit},
	} {
		if in.name == "" {
			continue
		}
		if len(parts) == 1 {
			in.what = "(" + in.what
		} else {
			parts[len(parts)-1] += ","
		}
		parts = append(parts, in.what, o.name(in.name))
	}
	switch {
	case len(parts) > 1:
		parts[len(parts)-1] += ")"
	case unnamed && p.PID == 0 && p.User == "":
		return nil
	case unnamed && p.User != "":
		parts = append(parts, "(user", o.name(p.User)+")")
	}
	return parts
}

// nameMargin is what a line has beside a name: an id and a parenthesis or comma.
const nameMargin = len("[4194304]") + 1

// name makes a name safe, and on a terminal short enough for a line.
func (o *Output) name(s string) string {
	safe := terminal.AppendSafe(nil, []byte(s))
	if o.o.Terminal.Width > 0 {
		safe = terminal.AppendMiddle(nil, safe, o.width-len(indent)-nameMargin)
	}
	return string(safe)
}

func count(n uint64) string { return string(terminal.AppendCount(nil, int64(n))) }

func (o *Output) request(x *exchange.Exchange) {
	if !x.HasRequest {
		o.aside("no request was seen")
		return
	}
	o.message(x, false, terminal.Bold)
}

func (o *Output) response(x *exchange.Exchange) {
	o.buf = append(o.buf, '\n')
	for i := range x.Interim {
		in := &x.Interim[i]
		s := strings.TrimSpace("interim response " + strconv.Itoa(in.Status) + " " + http.StatusText(in.Status))
		if x.HasRequest {
			s += string(terminal.AppendDuration([]byte(", "), max(in.At.Time-x.Request.First.Time, 0))) + " after the request began"
		}
		o.aside(s)
	}
	if !x.HasResponse {
		o.aside("no response was seen")
		return
	}
	o.message(x, true, terminal.StatusStyle(x.Response.Status))
}

// message writes a start line, the fields, and the body of the request, or of the response. It takes them from the message's spans and
// never from the head as a whole, since redaction moves spans.
func (o *Output) message(x *exchange.Exchange, response bool, s terminal.Style) {
	m, b := &x.Request, &x.RequestBody
	if response {
		m, b = &x.Response, &x.ResponseBody
	}
	if m.HeadSize > 0 {
		o.startLine(m, s)
		o.fields(m, 0)
	}
	o.body(x, response, m, b)
	o.fields(m, proto.Trailer)
}

func (o *Output) startLine(m *proto.Message, s terminal.Style) {
	o.safe = terminal.AppendSafe(o.safe[:0], output.AppendStartLine(nil, m))
	o.buf = o.o.Terminal.Begin(o.buf, s)
	if o.o.Terminal.Width > 0 {
		o.buf = terminal.AppendMiddle(o.buf, o.safe, o.width)
	} else {
		o.buf = append(o.buf, o.safe...)
	}
	o.buf = o.o.Terminal.End(o.buf, s)
	o.buf = append(o.buf, '\n')
}

// fields writes the header fields (kind 0) or the trailer fields (kind proto.Trailer).
func (o *Output) fields(m *proto.Message, kind proto.FieldFlags) {
	if o.o.NoHeaders {
		return
	}
	for i := range m.Fields {
		f := &m.Fields[i]
		if f.Flags&proto.Trailer != kind || !o.wanted(m.Bytes(f.Name)) {
			continue
		}
		o.safe = o.safe[:0]
		if kind == proto.Trailer {
			o.safe = append(o.safe, "[trailer] "...)
		}
		o.safe = terminal.AppendSafe(o.safe, m.Bytes(f.Name))
		o.safe = append(o.safe, ": "...)
		o.safe = terminal.AppendSafe(o.safe, m.Bytes(f.Value))
		if o.o.Terminal.Width > 0 && terminal.Width(o.safe) > o.width {
			cut := terminal.Ellipsis + " (" + string(terminal.AppendCount(nil, int64(f.Value.Len))) + " bytes)"
			n := terminal.Fit(o.safe, o.width-terminal.Width([]byte(cut)))
			o.safe = append(o.safe[:n], cut...)
		}
		o.buf = append(o.buf, o.safe...)
		o.buf = append(o.buf, '\n')
	}
}

func (o *Output) wanted(name []byte) bool {
	return len(o.headers) == 0 || slices.ContainsFunc(o.headers, func(h string) bool { return proto.EqualFold(name, h) })
}

// timing writes where the time went, in the order in which it went.
func (o *Output) timing(x *exchange.Exchange) {
	t := &x.Timing
	switch output.KindOf(x) {
	case output.Session, output.Message, output.Flow: // whose times aren't those of a question and its answer
		if t.Duration > 0 {
			o.note(terminal.Dim, []string{"lasted " + duration(t.Duration, t.Duration)}, " ")
		}
		return
	}
	parts := []struct {
		name  string
		ns    int64
		split exchange.Phase
	}{
		{"connect", t.Connect, exchange.PhaseConnect}, {"tls", t.TLS, exchange.Phases}, {"idle", t.Idle, exchange.Phases},
		{"send", t.Send, exchange.PhaseSend}, {"wait", t.Wait, exchange.PhaseWait}, {"receive", t.Receive, exchange.PhaseReceive},
	}
	whole := int64(0)
	for _, p := range parts {
		whole += max(p.ns, 0)
	}
	var items []string
	for _, p := range parts {
		if p.ns < 0 {
			continue
		}
		item := p.name + " " + duration(p.ns, whole)
		if h := &t.Handshake; p.name == "tls" && h.Client >= 0 && h.Server >= 0 && h.Network >= 0 {
			item += " (client " + duration(h.Client, whole) + ", server " + duration(h.Server, whole) + ", network " + duration(h.Network, whole) + ")"
		}
		if p.split < exchange.Phases {
			item += causes(&t.Causes[p.split], whole)
		}
		items = append(items, item)
	}
	if output.KindOf(x) == output.TLS && t.Duration >= 0 {
		items = append(items, "lasted "+duration(t.Duration, whole))
	}
	if t.Overlap > 0 {
		items = append(items, "sending until "+duration(t.Overlap, whole)+" into the response")
	}
	for _, from := range [...]struct {
		m   *proto.Message
		who string
	}{{&x.Request, "client"}, {&x.Response, "server"}} {
		if from.m.Stalled > 0 {
			items = append(items, from.who+" stalled for "+duration(from.m.Stalled, whole)+" by a closed window")
		}
	}
	if x.Stream && output.KindOf(x) != output.TLS {
		items = append(items, "stream")
	}
	o.note(terminal.Dim, items, " · ")
}

// causes gives whom a part is due to, in parentheses, most first; empty when that isn't known, or the part is too short to be divided.
func causes(c *exchange.Causes, whole int64) string {
	if !c.Known {
		return ""
	}
	parts := [...]struct {
		name string
		ns   int64
	}{{"client", c.Client}, {"client network", c.ClientNetwork}, {"server network", c.ServerNetwork}, {"server", c.Server}}
	slices.SortStableFunc(parts[:], func(a, b struct {
		name string
		ns   int64
	}) int {
		return cmp.Compare(b.ns, a.ns)
	})
	var shown []string
	for _, p := range parts {
		if text := duration(p.ns, whole); p.ns > 0 && text != "0.0 ms" {
			shown = append(shown, p.name+" "+text)
		}
	}
	if len(shown) == 0 {
		return ""
	}
	if len(shown) == 1 {
		shown[0] = parts[0].name // all of it
	}
	return " (" + strings.Join(shown, ", ") + ")"
}

// blame writes the verdict, with the facts that it rests on.
func (o *Output) blame(x *exchange.Exchange) {
	b := &x.Blame
	if b.Who <= exchange.Nobody {
		return
	}
	style := terminal.Amber
	if b.Who == exchange.Unclear {
		style = terminal.Dim
	}
	items := []string{"blame: " + b.Who.String()}
	if b.Upstream != "" && (b.Who == exchange.ByUpstream || b.Who == exchange.ByDNS) {
		items[0] += " " + string(terminal.AppendSafe(nil, []byte(b.Upstream)))
	}
	if b.Time > 0 {
		items[0] += " " + duration(b.Time, b.Time)
	}
	switch s := b.Situation.String(); {
	case s == "":
	case b.Who == exchange.Unclear:
		items = append(items, "perhaps "+s)
	default:
		items = append(items, s)
	}
	items = append(items, strconv.Itoa(int(math.Round(b.Confidence*100)))+" % sure")
	o.note(style, items, ", ")
	facts := x.Proofs()
	if len(facts) == 0 {
		if _, why, _ := strings.Cut(x.Why(), ": "); why != "" { // the party is above
			facts = []string{why}
		}
	}
	for _, fact := range facts {
		o.note(terminal.Dim, append([]string{"-"}, strings.Fields(string(terminal.AppendSafe(nil, []byte(fact))))...), " ")
	}
}

// duration gives a part of a whole. Beside milliseconds and more, parts under a millisecond are
// given in tenths of one, so that the parts compare at a glance.
func duration(ns, whole int64) string {
	if whole >= 1e6 && ns < 1e6 {
		return strconv.FormatFloat(float64(ns)/1e6, 'f', 1, 64) + " ms"
	}
	return string(terminal.AppendDuration(nil, ns))
}

// remarks writes what keeps the exchange from being complete, and its anomalies.
func (o *Output) remarks(x *exchange.Exchange) {
	if x.Grade != exchange.Complete {
		s := x.Grade.String()
		if x.Reason != "" {
			s += ": " + string(terminal.AppendSafe(nil, []byte(x.Reason)))
		}
		o.note(terminal.GradeStyle(x.Grade), strings.Fields(s), " ")
	}
	if x.Recorded() {
		o.note(terminal.Dim, strings.Fields(x.HowRecorded()), " ")
	}
	if a := x.Abort; a != nil && x.Grade != exchange.Aborted {
		o.note(terminal.Dim, strings.Fields("stream given up by the "+side(x, a.By)+": "+a.Name), " ")
	}
	for _, d := range [...]proto.Direction{x.Client, x.Server()} {
		if c := &x.During[d]; c.ZeroWindows > 0 {
			o.note(terminal.Amber, strings.Fields("the "+side(x, d)+" didn't read what came: its window was closed "+number(int64(c.ZeroWindows), "time")), " ")
		}
	}
	if x.Retries > 0 {
		o.note(terminal.Amber, []string{"asked " + number(int64(x.Retries), "more time")}, " ")
	}
	if e := &x.Conn.Error; x.Conn.Errors > 0 && x.Grade == exchange.Complete {
		o.note(terminal.Amber, strings.Fields("ICMP: "+exchange.ICMPName(e)+", says "+e.From.String()+" of what the "+side(x, e.Of)+" sent"), " ")
	}
	if x.MissingBytes > 0 {
		o.note(terminal.Dim, []string{string(terminal.AppendCount(nil, x.MissingBytes)) + " bytes weren't captured"}, " ")
	}
	x.Anomalies.Each(func(a proto.Anomaly) {
		info := &proto.AnomalyTable[a]
		o.note(terminal.Amber, strings.Fields("anomaly "+info.Name+": "+info.Meaning), " ")
	})
}

// note writes items that culprit itself says, indented, on as many lines as the width needs.
func (o *Output) note(s terminal.Style, items []string, sep string) {
	column := 0
	for i, item := range items {
		w := terminal.Width([]byte(item))
		switch {
		case i == 0:
		case column+len(sep)+w <= o.width:
			o.buf = append(o.buf, sep...)
			column += terminal.Width([]byte(sep))
		default:
			o.buf = o.o.Terminal.End(o.buf, s)
			o.buf = append(o.buf, '\n')
			column = 0
		}
		if column == 0 {
			o.buf = append(o.buf, indent...)
			o.buf = o.o.Terminal.Begin(o.buf, s)
			column = len(indent)
		}
		o.buf = append(o.buf, item...)
		column += w
	}
	if column > 0 {
		o.buf = o.o.Terminal.End(o.buf, s)
		o.buf = append(o.buf, '\n')
	}
}

// aside writes a line in brackets that stands where something of the wire would.
func (o *Output) aside(s string) {
	o.buf = o.o.Terminal.Begin(o.buf, terminal.Dim)
	o.buf = append(o.buf, '[')
	o.buf = append(o.buf, s...)
	o.buf = append(o.buf, ']')
	o.buf = o.o.Terminal.End(o.buf, terminal.Dim)
	o.buf = append(o.buf, '\n')
}
