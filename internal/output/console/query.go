package console

import (
	"bytes"
	"slices"
	"strings"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

// proxied writes what a proxy said of the connection that it passed on.
func (o *Output) proxied(x *exchange.Exchange) {
	p := x.Proxied
	if p == nil {
		return
	}
	items := []string{"PROXY protocol " + count(uint64(p.Version))}
	if p.Local {
		items = append(items, "the proxy's own connection")
	}
	if p.Client.IsValid() {
		items = append(items, "client "+p.Client.String()+" of "+p.Server.String())
	}
	for _, fact := range [...]struct{ name, value string }{
		{"name ", p.Authority}, {"ALPN ", p.ALPN}, {"id ", p.UniqueID}, {"TLS ", p.TLSVersion}, {"certificate of ", p.CommonName},
	} {
		if fact.value != "" {
			items = append(items, fact.name+o.name(fact.value))
		}
	}
	o.note(terminal.Dim, items, " · ")
}

// query writes a statement or a command and what came back.
func (o *Output) query(x *exchange.Exchange) {
	o.statement(x)
	switch {
	case x.HasRequest && x.Request.OneWay:
		return
	case isPush(x):
		o.pushed(x)
		return
	}
	o.buf = append(o.buf, '\n')
	if !x.HasResponse {
		o.aside("no response was seen")
		return
	}
	m := &x.Response
	items := []string{}
	if rows, ok := x.Rows(); ok {
		items = append(items, number(rows, output.RowOf(x.Protocol)))
		if n := m.Fact("columns"); n != nil {
			items = append(items, number(n.Number, "column"))
		}
		if m.Parts.Bytes > 0 {
			items = append(items, string(terminal.AppendBytes(nil, m.Parts.Bytes)))
		}
		if m.Parts.First > 0 && x.HasRequest {
			items = append(items, string(terminal.AppendDuration([]byte("first after "), max(m.Parts.First-x.Request.First.Time, 0))))
		}
	}
	for _, fact := range counted {
		if f := m.Fact(fact.name); f != nil && (f.Number != 0 || fact.always) {
			items = append(items, number(f.Number, fact.thing)+fact.what)
		}
	}
	for _, fact := range told {
		if text := m.FactText(fact.name); len(text) > 0 {
			items = append(items, fact.what+o.name(string(text)))
		}
	}
	if failure := output.FailureText(x); failure != "" {
		o.note(terminal.Red, strings.Fields("error "+string(terminal.AppendSafe(nil, []byte(failure)))), " ")
	} else if len(items) == 0 && x.Grade != exchange.Aborted {
		items = append(items, "done")
	}
	o.note(terminal.Bold, items, " · ")
	for i := range m.Facts {
		if f := &m.Facts[i]; f.Name == "notice" {
			o.note(terminal.Amber, strings.Fields("notice: "+string(terminal.AppendSafe(nil, m.Bytes(f.Value)))), " ")
		}
	}
	o.result(x.Protocol, &x.ResponseBody)
}

// isPush reports whether the server said something that nobody asked for.
func isPush(x *exchange.Exchange) bool { return !x.HasRequest && x.Response.OneWay }

// pushed writes what came with what nobody asked for: what failed, or the payload as far as it was kept.
func (o *Output) pushed(x *exchange.Exchange) {
	failure := output.FailureText(x)
	if failure == "" && len(x.ResponseBody.Bytes) == 0 {
		return
	}
	o.buf = append(o.buf, '\n')
	if failure != "" {
		o.note(terminal.Red, strings.Fields("error "+string(terminal.AppendSafe(nil, []byte(failure)))), " ")
	}
	o.result(x.Protocol, &x.ResponseBody)
}

// counted are the numbers of a response that are told, told its texts.
var (
	counted = [...]struct {
		name, thing, what string
		always            bool
	}{
		{"affected_rows", "row", " changed", true}, {"warnings", "warning", "", false}, {"results", "result", "", false},
		{"hits", "hit", "", true}, {"misses", "miss", "", false},
	}
	told = [...]struct{ name, what string }{
		{"status", ""}, {"command_tag", ""}, {"redirect", "goes on at "}, {"transaction", "transaction "}, {"server_version", "server "}, {"session", "session "},
	}
)

// statement writes a statement as it was sent, on as many lines, and what is known of its session.
func (o *Output) statement(x *exchange.Exchange) {
	text := x.Subject()
	switch verb := x.Verb(); {
	case len(text) == 0:
		text = verb
	case isPush(x) && !bytes.HasPrefix(text, verb): // where the text is a channel
		text = slices.Concat(verb, []byte(" "), text)
	}
	if len(text) == 0 {
		o.aside("no request was seen")
	}
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		o.safe = terminal.AppendSafe(o.safe[:0], bytes.TrimRight(line, "\r"))
		if len(o.safe) == 0 {
			continue
		}
		o.buf = o.o.Terminal.Begin(o.buf, terminal.Bold)
		o.buf = append(o.buf, o.safe...)
		o.buf = o.o.Terminal.End(o.buf, terminal.Bold)
		o.buf = append(o.buf, '\n')
	}
	m := &x.Request
	switch {
	case isPush(x):
		m = &x.Response
	case !x.HasRequest:
		return
	}
	items := []string{x.Protocol}
	for _, fact := range [...]struct{ name, what string }{
		{"database", "database "}, {"user", "user "}, {"prepared", "prepared "}, {"compression", "compressed with "}, {"protocol_type", ""},
	} {
		if text := m.FactText(fact.name); len(text) > 0 {
			items = append(items, fact.what+o.name(string(text)))
		}
	}
	parameters := []string{}
	for i := range m.Facts {
		if f := &m.Facts[i]; f.Name == "parameter" {
			parameters = append(parameters, o.value(x.Protocol, m.Bytes(f.Value)))
		}
	}
	if len(parameters) > 0 {
		items = append(items, "with "+strings.Join(parameters, ", "))
	}
	o.note(terminal.Dim, items, " · ")
}

// result writes the beginning of a result, as far as it was kept.
func (o *Output) result(protocol string, b *exchange.Body) {
	if len(b.Bytes) == 0 {
		return
	}
	for line := range bytes.SplitSeq(bytes.TrimRight(b.Bytes, "\n"), []byte("\n")) {
		o.safe = o.safe[:0]
		for i, cell := range bytes.Split(line, []byte("\t")) {
			if i > 0 {
				o.safe = append(o.safe, "  "...)
			}
			o.safe = appendValue(o.safe, protocol, cell)
		}
		if o.o.Terminal.Width > 0 {
			o.buf = terminal.AppendMiddle(o.buf, o.safe, o.width)
		} else {
			o.buf = append(o.buf, o.safe...)
		}
		o.buf = append(o.buf, '\n')
	}
	if b.Cut {
		o.aside("cut here")
	}
}

// value is name for a value of a database.
func (o *Output) value(protocol string, b []byte) string {
	safe := appendValue(nil, protocol, b)
	if o.o.Terminal.Width > 0 {
		safe = terminal.AppendMiddle(nil, safe, o.width-len(indent)-nameMargin)
	}
	return string(safe)
}

// appendValue appends a value so that it is safe. Bytes that PostgreSQL has in hexadecimal (\x00ff) stay as people know them, which steers
// no terminal; the backslash that stands before theirs in rows, which are written as COPY does, is left out.
func appendValue(dst []byte, protocol string, b []byte) []byte {
	digits, isBinary := bytes.CutPrefix(b, []byte(`\x`))
	if !isBinary {
		digits, isBinary = bytes.CutPrefix(b, []byte(`\\x`))
	}
	isBinary = isBinary && protocol == "postgresql"
	for _, c := range digits {
		isBinary = isBinary && ('0' <= c && c <= '9' || 'a' <= c && c <= 'f')
	}
	if !isBinary {
		return terminal.AppendSafe(dst, b)
	}
	return append(append(dst, `\x`...), digits...)
}

// lookup writes a question for a name, and its answers.
func (o *Output) lookup(x *exchange.Exchange) {
	o.question(x)
	if x.HasRequest && x.Request.OneWay {
		return
	}
	o.buf = append(o.buf, '\n')
	if !x.HasResponse {
		o.aside("no response was seen")
		return
	}
	o.answers(x)
}

// question writes what was asked for.
func (o *Output) question(x *exchange.Exchange) {
	o.safe = terminal.AppendSafe(append(terminal.AppendSafe(o.safe[:0], x.Verb()), ' '), x.Subject())
	o.buf = o.o.Terminal.Begin(o.buf, terminal.Bold)
	o.buf = append(o.buf, o.safe...)
	o.buf = o.o.Terminal.End(o.buf, terminal.Bold)
	o.buf = append(o.buf, '\n')
	items := []string{x.Protocol}
	if f := x.Request.Fact("id"); x.HasRequest && f != nil {
		items = append(items, "id "+string(terminal.AppendCount(nil, f.Number)))
	}
	o.note(terminal.Dim, items, " · ")
}

// answers writes what the response to a question for a name says.
func (o *Output) answers(x *exchange.Exchange) {
	m := &x.Response
	style := terminal.Bold
	if x.Failed() {
		style = terminal.Red
	}
	items := []string{o.name(string(m.FactText("rcode")))}
	flags := []string{}
	lists := map[string][]string{}
	for i := range m.Facts {
		switch f := &m.Facts[i]; f.Name {
		case "flag":
			flags = append(flags, o.name(string(m.Bytes(f.Value))))
		case "answer_name", "answer_type", "answer_ttl", "answer_data":
			lists[f.Name] = append(lists[f.Name], string(m.Bytes(f.Value)))
		}
	}
	if len(flags) > 0 {
		items = append(items, strings.Join(flags, " "))
	}
	for _, fact := range [...]struct{ name, thing, what string }{
		{"answers", "answer", ""}, {"authorities", "record", " about authorities"}, {"additionals", "record", " beside"},
	} {
		if f := m.Fact(fact.name); f != nil && f.Number > 0 {
			items = append(items, number(f.Number, fact.thing)+fact.what)
		}
	}
	o.note(style, items, " · ")
	for i := range lists["answer_data"] {
		o.safe = o.safe[:0]
		for _, name := range [...]string{"answer_name", "answer_ttl", "answer_type", "answer_data"} {
			if list := lists[name]; i < len(list) {
				if len(o.safe) > 0 {
					o.safe = append(o.safe, ' ')
				}
				o.safe = terminal.AppendSafe(o.safe, []byte(list[i]))
			}
		}
		if o.o.Terminal.Width > 0 {
			o.buf = terminal.AppendMiddle(o.buf, o.safe, o.width)
		} else {
			o.buf = append(o.buf, o.safe...)
		}
		o.buf = append(o.buf, '\n')
	}
}

// flow writes what was sent on a connection.
func (o *Output) flow(x *exchange.Exchange) {
	what := output.Transport(x) + " flow: " + x.Protocol
	if !x.Period.Final {
		what += ", which goes on"
	}
	if x.Period.Number > 0 {
		what += ", record " + count(uint64(x.Period.Number)+1)
	}
	o.aside(what)
	for _, d := range [...]proto.Direction{x.Client, x.Server()} {
		c := &x.During[d]
		s := string(terminal.AppendBytes(nil, int64(c.Bytes))) + " in " + number(int64(c.Packets), "packet")
		if c.Retransmits > 0 {
			s += ", " + number(int64(c.Retransmits), "retransmission")
		}
		o.fact(side(x, d)+" sent", s)
	}
}
