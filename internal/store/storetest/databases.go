package storetest

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// The protocols beside HTTP, with how the fields begin that show their facts.
var (
	others = []struct {
		protocol string
		prefixes []string
	}{
		{"mysql", []string{"db.", "culprit.db.", "mysql."}}, {"postgresql", []string{"db.", "culprit.db.", "pgsql."}},
		{"redis", []string{"db.", "culprit.db.", "redis."}}, {"mongodb", []string{"db.", "culprit.db.", "mongodb."}},
		{"memcached", []string{"db.", "culprit.db.", "memcache."}}, {"dns", []string{"dns.", "culprit.dns."}}, {"mdns", []string{"dns.", "culprit.dns."}},
		{"fastcgi", []string{"culprit.fastcgi.", "culprit.cgi."}}, {"uwsgi", []string{"culprit.cgi."}},
	}
	flowNames  = []string{"ssh", "unknown", "quic", "http", "empty"}
	verbs      = []string{"SELECT", "UPDATE", "GET", "find", ""}
	statements = []string{
		"SELECT * FROM users WHERE id = ?", "select 1", "GET user:7", "", "UPDATE a\nSET b = '\xff'", strings.Repeat("SELECT ? UNION ", 100), "shop.users.find({\"a\":?})",
	}
	templates   = []string{"SELECT * FROM users WHERE id = ?", "SELECT ?", "GET user:?", ""}
	collections = []string{"users", "shop.orders", "", "Täble"}
	factTexts   = []string{"shop", "NOERROR", "NXDOMAIN", "www.shop.example", "a.b.example.co.uk", "text", "A", "10.0.0.9", "1146", "no such table", "\xfe", "QUERY", "MOVED"}
)

// other makes of an exchange of HTTP one of another protocol, or the record of a flow.
func (g *generator) other(x *exchange.Exchange) {
	x.Interim, x.Abort, x.Operation, x.Closing, x.Message = nil, nil, exchange.Operation{}, exchange.Closing{}, nil
	x.Enriched.UserAgent, x.Enriched.Route = nil, ""
	if g.in(5) {
		g.flow(x)
		return
	}
	which := pick(&g.random, others...)
	x.Protocol, x.Family = which.protocol, exchange.FamilyOf(which.protocol)
	pushed := !x.HasRequest && g.in(2)
	for _, m := range [...]*proto.Message{&x.Request, &x.Response} {
		first, last, missing := m.First, m.Last, m.MissingBytes
		kind, dir := m.Kind, m.Dir
		*m = proto.Message{Kind: kind, Dir: dir, First: first, Last: last, MissingBytes: missing, End: proto.Whole, Length: -1, Size: g.up(1e6)}
		if m.Kind == proto.Request && x.HasRequest || m.Kind == proto.Response && pushed {
			verb, text := pick(&g.random, verbs...), pick(&g.random, statements...)
			m.Raw = append(m.Raw, verb+text...)
			m.Method, m.Target = proto.Span{Len: uint32(len(verb))}, proto.Span{Off: uint32(len(verb)), Len: uint32(len(text))}
		}
	}
	x.Response.OneWay = pushed
	x.RequestBody, x.ResponseBody = exchange.Body{DecodedBytes: -1}, exchange.Body{DecodedBytes: -1}
	if x.HasRequest {
		g.facts(&x.Request, which.prefixes)
	}
	if x.HasResponse {
		g.facts(&x.Response, which.prefixes)
	}
	if x.Family != exchange.Database {
		return
	}
	switch {
	case x.HasRequest:
		x.Statement.Operation = string(x.Request.Bytes(x.Request.Method))
	case pushed:
		x.Statement.Operation = string(x.Response.Bytes(x.Response.Method))
	}
	if x.HasRequest || pushed {
		x.Statement.Template, x.Statement.Collection = pick(&g.random, templates...), pick(&g.random, collections...)
	}
	if x.HasResponse && g.in(2) {
		m := &x.Response
		m.Framing = proto.Rendered
		m.Parts = proto.Parts{Count: int64(g.n(1000)), Bytes: g.up(1e9), Largest: g.up(1e6)}
		if x.HasRequest && g.in(2) {
			m.Parts.First = x.Start.Time + g.up(1e9)
		}
		if g.in(3) {
			x.ResponseBody.Bytes = []byte(pick(&g.random, "1\tann\n2\tbob\n", "", "\xff\x00", "OK"))
		}
	}
}

// facts gives a message some of the facts that fields show.
func (g *generator) facts(m *proto.Message, prefixes []string) {
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		of, ok := exchange.Facts[f.Name]
		if !ok || of.Of != m.Kind || m.Fact(of.Name) != nil || !g.in(2) {
			continue
		}
		for _, prefix := range prefixes {
			if !strings.HasPrefix(f.Name, prefix) {
				continue
			}
			switch f.Kind {
			case exchange.Text:
				m.Say(of.Name, []byte(pick(&g.random, factTexts...)))
			case exchange.List:
				for range 1 + g.n(3) {
					m.Say(of.Name, []byte(pick(&g.random, factTexts...)+strconv.Itoa(g.n(3))))
				}
			case exchange.Bool:
				m.Count(of.Name, int64(g.n(2)))
			default:
				m.Count(of.Name, g.up(1e6)-1)
			}
		}
	}
}

// flow makes the record of a flow.
func (g *generator) flow(x *exchange.Exchange) {
	x.Protocol, x.Family = pick(&g.random, flowNames...), exchange.Other
	x.HasRequest, x.HasResponse, x.TLS = false, false, nil
	x.Request, x.Response = proto.Message{}, proto.Message{}
	x.RequestBody, x.ResponseBody = exchange.Body{DecodedBytes: -1}, exchange.Body{DecodedBytes: -1}
	x.Response.First = x.Start // of which the id is made
	x.Period = &exchange.Period{Number: g.n(3), Final: g.in(2), Since: x.Start.Time - g.up(1e12)}
	x.Timing = exchange.UnknownTiming
	x.Timing.Duration = g.up(1e10)
	x.Timing.Total = x.Timing.Duration
	x.Completed = clock.Mark{Time: x.Start.Time + x.Timing.Duration, Packet: x.LastPacket}
	for d := range x.During {
		x.During[d].Bytes = uint64(g.up(1e9))
	}
}

// beside sets what a proxy said, what ICMP said, and how often a request was sent.
func (g *generator) beside(x *exchange.Exchange) {
	if g.in(6) {
		x.Retries = g.n(4)
	}
	if g.in(6) {
		x.Proxied = &proto.Proxied{
			Version: 1 + g.n(2), Authority: pick(&g.random, serverNames...), UniqueID: pick(&g.random, "", "7f"), TLSVersion: pick(&g.random, "", "TLSv1.3"),
		}
		if g.in(2) {
			x.Proxied.Client, x.Proxied.Server = netip.MustParseAddrPort("203.0.113.9:4711"), netip.MustParseAddrPort("[2001:db8::1]:443")
		}
	}
	if g.in(8) {
		x.Conn.Errors = uint32(1 + g.n(3))
		x.Conn.Error = proto.ICMPError{Type: 3, Code: uint8(g.n(3)), From: netip.MustParseAddr(pick(&g.random, addresses...)).As16(), Of: proto.Direction(g.n(2))}
	}
}
