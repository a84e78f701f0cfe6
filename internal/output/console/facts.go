package console

import (
	"strconv"
	"strings"
	"time"

	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/output"
	"github.com/culprit-http/culprit/internal/output/terminal"
	"github.com/culprit-http/culprit/internal/proto"
)

// expires is how many days before its end a certificate is spoken of.
const expires = 30

// tls writes the line about the TLS session, what is wrong with the certificate, and the alerts. Every exchange has it, so that
// each can be read by itself.
func (o *Output) tls(x *exchange.Exchange) {
	t := x.TLS
	if t == nil {
		return
	}
	version := "TLS, version not known"
	if v := exchange.TLSVersion(t.Version); v != "" {
		if version = "TLS " + v; t.Version <= 0x0300 {
			version = "SSL " + v
		}
	}
	items := []string{version}
	for _, fact := range []struct{ name, value string }{
		{"", t.SuiteName}, {"", t.GroupName}, {"SNI ", t.ServerName}, {"ALPN ", t.ALPN}, {"resumed by ", t.Resumption}, {"early data ", t.EarlyData},
	} {
		if fact.value != "" {
			items = append(items, fact.name+o.name(fact.value))
		}
	}
	if t.Retry {
		items = append(items, "hello sent again")
	}
	o.note(terminal.Dim, items, " · ")
	if days, ok := output.Days(t, x.Start.Time); ok && days < expires {
		state, style := "ends in "+number(days, "day"), terminal.Amber
		if days < 0 {
			state, style = "has ended", terminal.Red
		}
		o.note(style, append(strings.Fields("certificate "+state+":"), day(t.ServerChain[0].NotAfter)), " ")
	}
	for i := range t.Alerts {
		a := &t.Alerts[i]
		if a.Fatal || a.Code != 0 { // close_notify says that nothing is wrong
			o.note(terminal.Amber, strings.Fields("TLS alert from the "+side(x, a.Dir)+": "+a.Name), " ")
		}
	}
}

// number gives a number of things.
func number(n int64, thing string) string {
	s := string(terminal.AppendCount(nil, n)) + " " + thing
	switch {
	case n == 1:
	case strings.HasSuffix(thing, "s"):
		s += "es"
	default:
		s += "s"
	}
	return s
}

func day(ns int64) string { return time.Unix(0, ns).UTC().Format(time.DateOnly) }

func side(x *exchange.Exchange, d proto.Direction) string {
	if d == x.Client {
		return "client"
	}
	return "server"
}

// record writes what is known of a TLS session that wasn't read.
func (o *Output) record(x *exchange.Exchange) {
	t := x.TLS
	switch {
	case !t.Established:
		o.aside("TLS handshake that wasn't completed")
	case t.Decrypted:
		o.aside("TLS session in which no exchange was found")
	default:
		o.aside("TLS session that wasn't read")
	}
	for _, d := range [...]proto.Direction{x.Client, x.Server()} {
		h := &x.Conn.Half[d]
		o.fact(side(x, d)+" sent", string(terminal.AppendBytes(nil, int64(h.Bytes)))+" in "+number(int64(h.Packets), "packet"))
	}
	offer := []string{}
	if v := exchange.TLSVersion(t.Offered); v != "" {
		offer = append(offer, "up to "+v)
	}
	if n := len(t.OfferedSuites); n > 0 {
		offer = append(offer, strconv.Itoa(n)+" cipher suites")
	}
	offer = append(offer, t.OfferedALPN...)
	o.fact("client offers", strings.Join(offer, ", "))
	if len(t.ServerChain) > 0 {
		c := t.ServerChain[0]
		o.fact("certificate", c.Subject)
		o.fact("  issued by", c.Issuer)
		o.fact("  for", strings.Join(c.Names, ", "))
		if days, ok := output.Days(t, x.Start.Time); ok {
			valid := day(c.NotBefore) + " to " + day(c.NotAfter)
			if days >= 0 {
				valid += ", " + number(days, "day") + " left"
			}
			o.fact("  valid", valid)
		}
		o.fact("  key", c.Key)
		o.fact("  SHA-256", c.SHA256)
	}
	o.fact("JA3", t.JA3)
	o.fact("JA3S", t.JA3S)
	o.fact("JA4", t.JA4)
}

// fact writes a name and what there is to know, and nothing when that is empty.
func (o *Output) fact(name, value string) {
	if value == "" {
		return
	}
	o.safe = terminal.AppendSafe(append(append(o.safe[:0], name...), ": "...), []byte(value))
	if o.o.Terminal.Width > 0 {
		o.buf = terminal.AppendMiddle(o.buf, o.safe, o.width)
	} else {
		o.buf = append(o.buf, o.safe...)
	}
	o.buf = append(o.buf, '\n')
}

// session writes the request and the response that began a session, and how much was said since.
func (o *Output) session(x *exchange.Exchange) {
	if x.HasRequest && x.Request.Target.Len > 0 {
		o.startLine(&x.Request, terminal.Bold)
		o.fields(&x.Request, 0)
	} else {
		o.aside("no request was seen")
	}
	o.buf = append(o.buf, '\n')
	if x.HasResponse && x.Response.Status > 0 {
		o.startLine(&x.Response, terminal.StatusStyle(x.Response.Status))
		o.fields(&x.Response, 0)
		o.buf = append(o.buf, '\n')
	}
	for _, from := range [...]struct {
		who string
		m   *proto.Message
	}{{"client", &x.Request}, {"server", &x.Response}} {
		p := &from.m.Parts
		s := number(p.Count, "message") + " from the " + from.who
		if p.Count > 0 {
			s += ", " + string(terminal.AppendBytes(nil, p.Bytes)) + ", the largest " + string(terminal.AppendBytes(nil, p.Largest))
		}
		if p.Compressed > 0 {
			s += ", " + string(terminal.AppendCount(nil, p.Compressed)) + " compressed"
		}
		o.aside(s)
	}
	if c := &x.Closing; c.Seen {
		s := "closed by the " + side(x, c.By)
		if c.Code > 0 {
			s += ": " + strconv.Itoa(c.Code)
		}
		if c.Reason != "" {
			s += " " + string(terminal.AppendSafe(nil, []byte(c.Reason)))
		}
		o.aside(s)
	}
}

// said writes one message of a session.
func (o *Output) said(x *exchange.Exchange) {
	from := x.Message.Dir
	m, b := &x.Request, &x.RequestBody
	if from != x.Client {
		m, b = &x.Response, &x.ResponseBody
	}
	s := o.name(x.Message.Kind) + " message " + string(terminal.AppendCount(nil, x.Message.Index+1)) + " from the " + side(x, from) + ", " +
		string(terminal.AppendBytes(nil, m.BodyBytes))
	if x.Request.Target.Len > 0 {
		s += ", on " + o.name(string(x.Request.Bytes(x.Request.Target)))
	}
	o.aside(s)
	body := *m
	body.HeadSize = 0 // that of its frames, which aren't shown
	o.body(x, from != x.Client, &body, b)
}

// operation writes what the request asks for beyond its method and path, and the status that isn't HTTP's.
func (o *Output) operation(x *exchange.Exchange) {
	if p := &x.Operation; p.System != "" {
		words := []string{p.System, p.Kind}
		for i, name := range p.Names {
			if i < len(p.Names)-1 {
				name += ","
			}
			words = append(words, o.name(name))
		}
		o.note(terminal.Dim, words, " ")
	}
	code, ok := x.GRPCStatus()
	if !ok {
		return
	}
	style := terminal.Dim
	switch _, fault := output.GRPCError(x); {
	case fault:
		style = terminal.Red
	case code != 0:
		style = terminal.Amber
	}
	items := []string{"gRPC " + exchange.GRPCStatusName(code) + " (" + strconv.Itoa(code) + ")"}
	if kind := x.GRPCKind(); kind != "" {
		items = append(items, kind)
	}
	for _, from := range [...]struct {
		n   int64
		who string
	}{{x.Request.Parts.Count, "client"}, {x.Response.Parts.Count, "server"}} {
		if from.n > 0 {
			items = append(items, number(from.n, "message")+" from the "+from.who)
		}
	}
	o.note(style, items, " · ")
	if code != 0 {
		o.note(style, strings.Fields(string(terminal.AppendSafe(nil, []byte(x.GRPCMessage())))), " ")
	}
}
