// Package line shows one exchange a line.
//
// On a terminal the line is laid out in columns: time, client, method, target (cut in its middle),
// status, size, duration, and, where there is room for them, a bar of where the time went and the processes
// at the ends; the grade follows on a line of its own when the exchange isn't complete, and so does who is to blame. Elsewhere nothing is
// cut, fields are separated by single spaces, and times are RFC 3339 in UTC, for grep and awk.
//
// What isn't a request of HTTP with its response has the same columns: method is TLS for a session that wasn't read, WS for all that
// was said on a WebSocket, an arrow with the kind for one message of it, the kind of a database's statement, the type of the records
// that DNS is asked for, and the transport of a flow. The target is the statement, in quotes where other programs read it, the name,
// or the server. The status is ok or ERR, or the code of the error for other programs; the size is that of the answer, on a terminal
// the rows of a result. A gRPC status other than OK is shown beside the status.
package line

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/terminal"
)

// bufferSize is when the buffer is written out.
const bufferSize = 64 << 10

// Options say what lines look like.
type Options struct {
	// Terminal says how wide the terminal is, Width 0 that there is none.
	Terminal terminal.Terminal
	// Location is the time zone of a terminal's times.
	Location *time.Location
	// Processes: the processes at the ends are looked for. Every line then has room for them, whether they
	// are known or not.
	Processes bool
}

// Output shows lines. It implements output.Output and output.Waiter.
type Output struct {
	w        io.Writer
	o        Options
	terminal terminal.Terminal
	buf      []byte
	scratch  []byte
	duration []byte

	// names are those of the processes at the ends, client and server; name is one before it is escaped.
	names [2][]byte
	name  []byte

	// second and stamp keep the formatted time up to the second.
	second int64
	stamp  []byte
	// client and processes are the widths of these columns; processes is 0 where there is none.
	client, processes int
}

// New returns an output that writes to w.
func New(w io.Writer, o Options) *Output {
	out := &Output{w: w, o: o, terminal: o.Terminal}
	// The column of processes takes its room from the client's as well as from the target's.
	width, full, long := o.Terminal.Width, barFrom, longFrom
	if o.Processes && width >= barFrom {
		out.processes = min(minProcesses+(width-barFrom)*processesShare/100, maxProcesses)
		full, long = full+laterClient, long+laterClient
	}
	switch {
	case width >= long:
		out.client = longClient
	case width >= full:
		out.client = fullClient
	default:
		out.client = shortClient
	}
	return out
}

// Exchange implements output.Output.
func (o *Output) Exchange(x *exchange.Exchange) error {
	if o.terminal.Width == 0 {
		o.plain(x, x.Timing.Duration, "")
	} else {
		o.columns(x, x.Timing.Duration, "")
	}
	return o.written()
}

// Waiting implements output.Waiter.
func (o *Output) Waiting(x *exchange.Exchange, waited time.Duration) error {
	if o.terminal.Width == 0 {
		o.plain(x, int64(waited), "waiting")
	} else {
		o.columns(x, int64(waited), "waiting for its answer")
	}
	return o.written()
}

// Headline implements output.Headline.
func (o *Output) Headline() {}

func (o *Output) written() error {
	if len(o.buf) >= bufferSize {
		return o.Flush()
	}
	return nil
}

// Flush implements output.Output.
func (o *Output) Flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	return err
}

// Close implements output.Output.
func (o *Output) Close() error { return o.Flush() }

// plain appends a line for other programs: time client method target status size duration, then the
// processes at the ends where they are looked for, then the grade and its reason unless it is complete, the words of an error of a
// database, and who is to blame. What isn't known is "-".
func (o *Output) plain(x *exchange.Exchange, duration int64, state string) {
	b, fraction := o.appendSecond(o.buf, x.Start.Time, "2006-01-02T15:04:05", time.UTC)
	b = appendThree(b, fraction/1e6)
	b = appendThree(b, fraction/1e3%1e3)
	b = appendThree(b, fraction%1e3)
	b = append(b, 'Z', ' ')
	b = append(b, x.Flow.End(x.Client)...)
	b = append(b, ' ')
	b = o.appendMethod(b, x, true)
	b = append(b, ' ')
	b = o.appendTarget(b, x, true)
	b = append(b, ' ')
	if word := resultOf(x); word != "" {
		if code, _ := output.Failure(x); code != "" {
			b = appendWord(b, []byte(code))
		} else {
			b = append(b, word...)
		}
	} else if status := statusOf(x); status > 0 {
		b = strconv.AppendInt(b, int64(status), 10)
		if name, _ := output.GRPCError(x); name != "" {
			b = append(append(b, '/'), name...)
		}
	} else {
		b = append(b, '-')
	}
	b = append(b, ' ')
	if size := sizeOf(x); size >= 0 {
		b = strconv.AppendInt(b, size, 10)
	} else {
		b = append(b, '-')
	}
	b = append(b, ' ')
	b = appendMillis(b, duration)
	if o.o.Processes {
		b = append(b, ' ')
		b = o.appendPlainProcess(b, x.Process[x.Client])
		b = append(b, '>')
		b = o.appendPlainProcess(b, x.Process[x.Server()])
	}
	switch {
	case state != "":
		b = append(b, ' ')
		b = append(b, state...)
	case x.Grade != exchange.Complete:
		b = append(b, ' ')
		b = append(b, x.Grade.String()...)
		b = append(b, ':', ' ')
		b = append(b, x.Reason...)
	}
	said := x.Grade != exchange.Complete
	if failure := output.FailureText(x); failure != "" && state == "" {
		if said {
			b = append(b, ';')
		}
		b = terminal.AppendSafe(append(b, " error: "...), []byte(failure))
		said = true
	}
	if output.KindOf(x) == output.Session {
		if said {
			b = append(b, ';')
		}
		b = appendSaid(append(b, ' '), x)
		said = true
	}
	if verdict := output.Verdict(x); verdict != "" && state == "" {
		if said {
			b = append(b, ';')
		}
		b = terminal.AppendSafe(append(b, " blame: "...), []byte(verdict))
	}
	o.buf = append(b, '\n')
}

// appendMethod appends the method, or what stands for it: TLS for a session that wasn't read, WS for all that was said on a
// WebSocket, and for one message of it where it goes and its kind.
func (o *Output) appendMethod(b []byte, x *exchange.Exchange, word bool) []byte {
	switch output.KindOf(x) {
	case output.TLS:
		return append(b, "TLS"...)
	case output.Session:
		return append(b, "WS"...)
	case output.Flow:
		return append(b, output.Transport(x)...)
	case output.Query, output.Lookup:
		if verb := x.Verb(); word || len(verb) == 0 {
			return appendWord(b, verb)
		} else {
			return terminal.AppendSafe(b, verb)
		}
	case output.Message:
		way := [...]string{"→ ", "← "}
		if word {
			way = [...]string{">", "<"}
		}
		if x.Message.Dir == x.Client {
			return appendWord(append(b, way[0]...), []byte(x.Message.Kind))
		}
		return appendWord(append(b, way[1]...), []byte(x.Message.Kind))
	}
	switch {
	case word:
		return appendWord(b, x.Request.Bytes(x.Request.Method))
	case x.HasRequest:
		return terminal.AppendSafe(b, x.Request.Bytes(x.Request.Method))
	}
	return append(b, '-')
}

// statusOf returns the status, 0 when there is none.
func statusOf(x *exchange.Exchange) int {
	if !x.HasResponse || output.KindOf(x) == output.Message {
		return 0
	}
	return x.Response.Status
}

// The results of what has no status.
const (
	done   = "ok"
	failed = "ERR"
)

// resultOf returns whether what has no status went well, empty when that isn't known, or there is a status. What nobody asked for
// can't go well, but may say that something failed: a server that refuses a client.
func resultOf(x *exchange.Exchange) string {
	switch kind := output.KindOf(x); {
	case kind != output.Query && kind != output.Lookup || !x.HasResponse:
		return ""
	case x.Failed():
		return failed
	case x.Response.OneWay:
		return ""
	}
	return done
}

// sizeOf returns the size of the response's body, or of all that was sent both ways where there is no question and answer; -1
// when there is none.
func sizeOf(x *exchange.Exchange) int64 {
	switch output.KindOf(x) {
	case output.TLS:
		return int64(x.Conn.Half[0].Bytes + x.Conn.Half[1].Bytes)
	case output.Flow:
		return int64(x.During[0].Bytes + x.During[1].Bytes)
	case output.Query, output.Lookup:
		if x.HasResponse {
			return x.Response.Size
		}
		return -1
	case output.Session:
		return x.Request.BodyBytes + x.Response.BodyBytes
	case output.Message:
		if x.Message.Dir == x.Client {
			return x.Request.BodyBytes
		}
	}
	if !x.HasResponse {
		return -1
	}
	return x.Response.BodyBytes
}

// appendSaid appends how many messages a session had, and how it was closed if that wasn't as it should be. The reason that was
// given is left out: it may hold anything.
func appendSaid(b []byte, x *exchange.Exchange) []byte {
	b = strconv.AppendInt(append(b, "messages: "...), x.Request.Parts.Count, 10)
	b = strconv.AppendInt(append(b, " from the client, "...), x.Response.Parts.Count, 10)
	b = append(b, " from the server"...)
	if c := &x.Closing; c.Seen && c.Code > 0 && c.Code != 1000 && c.Code != 1001 { // normal closure, going away
		by := "server"
		if c.By == x.Client {
			by = "client"
		}
		b = strconv.AppendInt(append(append(append(b, "; closed by the "...), by...), ": "...), int64(c.Code), 10)
	}
	return b
}

// rowUnits are what rows are called in the column of sizes.
var rowUnits = map[string]string{"value": "val", "document": "doc", "row": "row"}

// appendRows appends a number of rows, which takes no more than the column of sizes up to a million.
func appendRows(b []byte, n int64, protocol string) []byte {
	unit := rowUnits[output.RowOf(protocol)]
	switch {
	case n == 1:
		return append(append(b, "1 "...), unit...)
	case n >= 1e6:
		b = append(strconv.AppendInt(b, n/1e6, 10), 'M')
	case n >= 1000:
		b = append(strconv.AppendInt(b, n/1e3, 10), 'k')
	default:
		b = strconv.AppendInt(b, n, 10)
	}
	return append(append(append(b, ' '), unit...), 's')
}

// appendMillis appends a duration in milliseconds with three decimals, so that lines sort by it.
func appendMillis(b []byte, ns int64) []byte {
	if ns < 0 {
		return append(b, '-')
	}
	us := (ns + 500) / 1000
	b = strconv.AppendInt(b, us/1000, 10)
	b = appendThree(append(b, '.'), uint32(us%1000))
	return append(b, "ms"...)
}

// appendSecond appends a time up to the second in a layout and a dot, and returns the nanoseconds that
// remain.
func (o *Output) appendSecond(b []byte, ns int64, layout string, l *time.Location) ([]byte, uint32) {
	second, fraction := ns/1e9, ns%1e9
	if fraction < 0 {
		second, fraction = second-1, fraction+1e9
	}
	if len(o.stamp) == 0 || second != o.second {
		o.second = second
		o.stamp = append(time.Unix(second, 0).In(l).AppendFormat(o.stamp[:0], layout), '.')
	}
	return append(b, o.stamp...), uint32(fraction)
}

// appendThree appends a number below 1,000 with three digits.
func appendThree(b []byte, n uint32) []byte {
	return append(b, byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
}

// appendTarget appends the host and the target: the target alone when it is in absolute form, the
// server's address when the request names no host.
func (o *Output) appendTarget(b []byte, x *exchange.Exchange, word bool) []byte {
	appendText := terminal.AppendSafe
	if word {
		appendText = appendWord
	}
	switch output.KindOf(x) {
	case output.TLS:
		return o.appendTLSTarget(b, x, word)
	case output.Query:
		return o.appendStatement(b, x, word)
	case output.Lookup:
		return o.appendName(b, x, word)
	case output.Flow:
		return append(append(append(append(b, x.Flow.End(x.Server())...), '('), x.Protocol...), ')')
	}
	if !x.HasRequest || x.Message != nil && x.Request.Target.Len == 0 {
		return append(b, x.Flow.End(x.Server())...)
	}
	m := &x.Request
	target := m.Bytes(m.Target)
	unknown := string(target) == "?" // which stands for one that couldn't be known
	if len(target) > 0 && (target[0] == '/' || target[0] == '*' || unknown) {
		if host := output.Authority(m); len(host) > 0 && string(host) != "?" {
			b = appendText(b, host)
		} else {
			b = append(b, x.Flow.End(x.Server())...)
		}
		if target[0] == '*' || unknown {
			b = append(b, ' ')
			if word {
				b[len(b)-1] = '/'
			}
		}
	}
	return appendText(b, target)
}

// appendStatement appends a statement on one line: white space is one space. For other programs it stands in quotes.
func (o *Output) appendStatement(b []byte, x *exchange.Exchange, word bool) []byte {
	text := x.Subject()
	if len(text) == 0 {
		return append(b, x.Flow.End(x.Server())...)
	}
	o.name = o.name[:0]
	for _, c := range text {
		if c == '\n' || c == '\r' || c == '\t' {
			c = ' '
		}
		if n := len(o.name); c == ' ' && (n == 0 || o.name[n-1] == ' ') {
			continue
		}
		o.name = append(o.name, c)
	}
	if !word {
		if verb := x.Verb(); len(o.name) > len(verb) && o.name[len(verb)] == ' ' && bytes.EqualFold(o.name[:len(verb)], verb) {
			return terminal.AppendSafe(b, o.name[len(verb)+1:]) // which stands in its own column
		}
		return terminal.AppendSafe(b, o.name)
	}
	b = append(b, '"')
	from := len(b)
	return append(escape(terminal.AppendSafe(b, o.name), from, '"', `\x22`), '"')
}

// appendName appends the name that was asked for, and on a terminal what it is, or else where it was asked.
func (o *Output) appendName(b []byte, x *exchange.Exchange, word bool) []byte {
	name := x.Subject()
	if word {
		return appendWord(b, name)
	}
	b = terminal.AppendSafe(b, name)
	for i, answer := range x.Answers() {
		if i == 0 {
			b = append(b, " "+arrow+" "...)
		} else {
			b = append(b, ", "...)
		}
		b = terminal.AppendSafe(b, answer)
	}
	return b
}

// httpsPort is the port that goes without saying for TLS.
const httpsPort = 443

// appendTLSTarget appends the name that the client asked for, with the port unless it is the usual one, or else the server's
// address; and the protocol that was agreed on.
func (o *Output) appendTLSTarget(b []byte, x *exchange.Exchange, word bool) []byte {
	appendText := terminal.AppendSafe
	if word {
		appendText = appendWord
	}
	t := x.TLS
	if t.ServerName == "" {
		b = append(b, x.Flow.End(x.Server())...)
	} else {
		b = appendText(b, []byte(t.ServerName))
		if port := x.Flow.Port[x.Server()]; port != httpsPort {
			b = strconv.AppendUint(append(b, ':'), uint64(port), 10)
		}
	}
	if t.ALPN == "" {
		return b
	}
	if !word {
		b = append(b, ' ')
	}
	return append(appendText(append(b, '('), []byte(t.ALPN)), ')')
}

// appendWord appends text as one word: spaces are escaped like control characters, nothing is "-".
func appendWord(b, text []byte) []byte {
	if len(text) == 0 {
		return append(b, '-')
	}
	for _, c := range text {
		if c <= 0x20 || c >= 0x7f || c == '\\' {
			return appendOddWord(b, text)
		}
	}
	return append(b, text...)
}

func appendOddWord(b, text []byte) []byte {
	from := len(b)
	return escape(terminal.AppendSafe(b, text), from, ' ', `\x20`)
}

// escape replaces a character from a position on by its escape of four bytes.
func escape(b []byte, from int, c byte, escape string) []byte {
	for i := from; i < len(b); i++ {
		if b[i] == c {
			b = append(b, 0, 0, 0)
			copy(b[i+4:], b[i+1:])
			copy(b[i:], escape)
		}
	}
	return b
}

// appendPlainProcess appends name/id, or what is known of it: no id when several processes share the
// socket, "-" for a name that isn't known. What separates these is escaped in the name, so that no name can
// pass for something else.
func (o *Output) appendPlainProcess(b []byte, p *exchange.Process) []byte {
	o.scratch = append(o.scratch[:0], output.ProcessName(p)...)
	if len(o.scratch) == 1 && o.scratch[0] == '-' {
		b = append(b, `\x2d`...)
	} else {
		from := len(b)
		b = appendWord(b, o.scratch)
		b = escape(b, from, '/', `\x2f`)
		b = escape(b, from, '>', `\x3e`)
	}
	if p != nil && p.PID > 0 {
		b = strconv.AppendInt(append(b, '/'), int64(p.PID), 10)
	}
	return b
}

// Widths of the columns of a terminal line. The target gets what is left.
const (
	clockWidth    = 12 // 10:42:07.118
	shortClient   = 18 // most IPv4 addresses and ports; longer ones are cut
	fullClient    = 21 // every IPv4 address and port
	longClient    = 32 // many IPv6 ones
	methodWidth   = 4
	longMethod    = 9 // PROPPATCH; longer ones are cut
	minTarget     = 8 // whatever the terminal; below about 80 columns lines don't fit
	statusWidth   = 3
	sizeWidth     = 8
	durationWidth = 7
	barWidth      = 8
	// From these widths of the terminal on, the bar is shown and the client column is longer.
	barFrom  = 100
	longFrom = 140
	// The column of processes is there with the bar. It has this width then, and of each column that the
	// terminal has more a share in per cent, until it takes most names and their ids. The client column then
	// grows later, when the terminal is wider by laterClient.
	minProcesses   = 12 // curl → nginx
	maxProcesses   = 38
	processesShare = 45
	laterClient    = 20
	// idsFrom is the width of the terminal from which on the ids of processes are shown where they fit.
	idsFrom = 140
	// noteProcesses is the most that the processes take in what is said of an incomplete exchange: two names
	// of 15 bytes, the kernel's limit.
	noteProcesses = 33
	// indent is where what is said of an incomplete exchange begins.
	indent = clockWidth + 1
)

// columns appends a line for people.
func (o *Output) columns(x *exchange.Exchange, duration int64, state string) {
	t := o.terminal
	status := statusOf(x)
	style := terminal.StatusStyle(status)
	grpc, fault := output.GRPCError(x)
	result := resultOf(x)
	switch {
	case fault, result == failed:
		style = terminal.Red
	case grpc != "":
		style = terminal.Amber
	}
	if x.Grade == exchange.Aborted {
		style = terminal.GradeStyle(x.Grade)
	}
	b := t.Begin(o.buf, terminal.Dim)
	b, fraction := o.appendSecond(b, x.Start.Time, "15:04:05", o.o.Location)
	b = appendThree(b, fraction/1e6)
	b = t.End(b, terminal.Dim)
	b = append(b, ' ')

	b = o.cell(b, append(o.scratch[:0], x.Flow.End(x.Client)...), o.client)
	b = append(b, ' ')
	o.scratch = o.appendMethod(o.scratch[:0], x, false)
	method := min(max(methodWidth, terminal.Width(o.scratch)), longMethod)
	b = o.cell(b, o.scratch, method)
	b = append(b, ' ')

	// From minutes on, a duration needs more than its column.
	o.duration = terminal.AppendDuration(o.duration[:0], duration)
	last := max(durationWidth, terminal.Width(o.duration))
	room := t.Width - clockWidth - 1 - o.client - 1 - method - 1 - 1 - statusWidth - 1 - sizeWidth - 1 - last
	bar := t.Width >= barFrom
	if bar {
		room -= 1 + barWidth
	}
	if o.processes > 0 {
		room -= 1 + o.processes
	}
	o.scratch = o.appendTarget(o.scratch[:0], x, false)
	b = o.cell(b, o.scratch, max(room, minTarget))
	b = append(b, ' ')

	o.scratch = o.scratch[:0]
	switch {
	case result != "":
		o.scratch = append(o.scratch, result...)
	case status > 0:
		o.scratch = strconv.AppendInt(o.scratch, int64(status), 10)
	}
	b = t.Begin(b, style)
	b = right(b, o.scratch, statusWidth)
	b = t.End(b, style)
	b = append(b, ' ')
	o.scratch = o.scratch[:0]
	if rows, ok := x.Rows(); ok && output.KindOf(x) == output.Query {
		o.scratch = appendRows(o.scratch, rows, x.Protocol)
	} else if size := sizeOf(x); size >= 0 {
		o.scratch = terminal.AppendBytes(o.scratch, size)
	}
	b = right(b, o.scratch, sizeWidth)
	b = append(b, ' ')
	b = right(b, o.duration, last)
	if bar {
		b = append(b, ' ')
		from := len(b)
		if kind := output.KindOf(x); state == "" && kind != output.Session && kind != output.Message && kind != output.Flow {
			b = o.appendBar(b, &x.Timing)
		}
		if len(b) == from {
			b = pad(b, barWidth)
		}
	}
	if o.processes > 0 {
		b = append(b, ' ')
		b = o.appendProcesses(b, x, o.processes, t.Width >= idsFrom)
	}
	b = append(trimRight(b), '\n')

	note, noteStyle := state, terminal.Amber
	if state == "" && x.Grade != exchange.Complete {
		note, noteStyle = x.Grade.String()+": "+x.Reason, terminal.GradeStyle(x.Grade)
	}
	if grpc != "" {
		b = o.appendNote(b, "gRPC status "+grpc, style)
	}
	if failure := output.FailureText(x); failure != "" {
		o.scratch = terminal.AppendSafe(append(o.scratch[:0], "error "...), []byte(failure))
		b = o.appendNote(b, string(o.scratch), style)
	}
	if output.KindOf(x) == output.Session {
		o.scratch = appendSaid(o.scratch[:0], x)
		b = o.appendNote(b, string(o.scratch), terminal.Dim)
	}
	if note != "" {
		if o.o.Processes && o.processes == 0 {
			if o.scratch = o.appendProcesses(o.scratch[:0], x, noteProcesses, false); len(o.scratch) > 0 {
				note += " (" + string(o.scratch) + ")"
			}
		}
		b = o.appendNote(b, note, noteStyle)
	}
	if verdict := output.Verdict(x); verdict != "" && state == "" {
		o.scratch = terminal.AppendSafe(o.scratch[:0], []byte(verdict))
		b = o.appendNote(b, string(o.scratch), verdictStyle(x))
	}
	o.buf = b
}

// verdictStyle returns how a verdict is drawn: what isn't sure of itself doesn't catch the eye.
func verdictStyle(x *exchange.Exchange) terminal.Style {
	if x.Blame.Who == exchange.Unclear {
		return terminal.Dim
	}
	return terminal.Amber
}

const arrow = "→"

// appendProcesses appends the names of the processes at the ends, the client's first, within a width; with
// ids where they are wanted and fit. It appends nothing when neither is known.
func (o *Output) appendProcesses(b []byte, x *exchange.Exchange, width int, ids bool) []byte {
	client, server, room := o.processNames(x, width, ids)
	if ids && client+server > room {
		client, server, room = o.processNames(x, width, false)
	}
	if client+server > room { // each may have half of it, and what the other doesn't need
		client = min(client, max(room/2, room-server))
		server = room - client
	}
	if client > 0 {
		b = append(terminal.AppendMiddle(b, o.names[0], client), ' ')
	}
	if client > 0 || server > 0 {
		b = append(b, arrow...)
	}
	if server > 0 {
		b = terminal.AppendMiddle(append(b, ' '), o.names[1], server)
	}
	return b
}

// processNames makes the names of the client's and the server's process, and returns their widths and how
// much room there is for both, beside the arrow.
func (o *Output) processNames(x *exchange.Exchange, width int, ids bool) (client, server, room int) {
	for i, p := range [2]*exchange.Process{x.Process[x.Client], x.Process[x.Server()]} {
		o.name = append(o.name[:0], output.ProcessName(p)...)
		name := terminal.AppendSafe(o.names[i][:0], o.name)
		if p != nil && p.PID > 0 {
			if len(name) == 0 {
				name = append(name, '?')
			}
			if ids {
				name = append(strconv.AppendInt(append(name, '['), int64(p.PID), 10), ']')
			}
		}
		o.names[i] = name
	}
	client, server, room = terminal.Width(o.names[0]), terminal.Width(o.names[1]), width-1
	if client > 0 {
		room--
	}
	if server > 0 {
		room--
	}
	return client, server, room
}

// appendNote appends what is said of an exchange below its line, broken between words where it is too
// long.
func (o *Output) appendNote(b []byte, note string, style terminal.Style) []byte {
	room := max(o.terminal.Width-indent, 20)
	for note != "" {
		line := note
		if fit := terminal.Fit([]byte(note), room); fit < len(note) {
			cut := strings.LastIndexByte(line[:fit+1], ' ')
			if cut <= 0 {
				cut = max(fit, 1)
			}
			line = line[:cut]
		}
		note = strings.TrimLeft(note[len(line):], " ")
		b = pad(b, indent)
		b = o.terminal.Begin(b, style)
		b = append(b, line...)
		b = o.terminal.End(b, style)
		b = append(b, '\n')
	}
	return b
}

// phases are the parts of the bar: what is drawn for each, so that they differ without colour too.
var phases = [...]struct {
	glyph string
	of    func(t *exchange.Timing) int64
}{
	{"░", func(t *exchange.Timing) int64 { return t.Connect }},
	{"▒", func(t *exchange.Timing) int64 { return t.TLS }},
	{"▎", func(t *exchange.Timing) int64 { return t.Send }},
	{"▌", func(t *exchange.Timing) int64 { return t.Wait }},
	{"·", func(t *exchange.Timing) int64 { return t.Receive }},
}

// appendBar draws where the time went. Each part gets its share of the cells, rounded so that they add up;
// idle time isn't drawn, since nobody waited.
func (o *Output) appendBar(b []byte, t *exchange.Timing) []byte {
	total := int64(0)
	for i := range phases {
		total += max(phases[i].of(t), 0)
	}
	if total <= 0 {
		return b
	}
	sum, drawn := int64(0), 0
	for i := range phases {
		sum += max(phases[i].of(t), 0)
		for to := int((float64(sum)/float64(total))*barWidth + 0.5); drawn < to; drawn++ {
			b = append(b, phases[i].glyph...)
		}
	}
	return b
}

// cell appends text cut or padded to a width.
func (o *Output) cell(b, text []byte, width int) []byte {
	w := terminal.Width(text)
	if w > width {
		from := len(b)
		b = terminal.AppendMiddle(b, text, width)
		return pad(b, width-terminal.Width(b[from:]))
	}
	return pad(append(b, text...), width-w)
}

// right appends text padded on the left; it isn't cut.
func right(b, text []byte, width int) []byte {
	return append(pad(b, width-terminal.Width(text)), text...)
}

func pad(b []byte, n int) []byte {
	for ; n > 0; n-- {
		b = append(b, ' ')
	}
	return b
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}
