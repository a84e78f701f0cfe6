package outputtest

import (
	"net/netip"
	"strings"

	"github.com/culprit-http/culprit/internal/clock"
	"github.com/culprit-http/culprit/internal/exchange"
	"github.com/culprit-http/culprit/internal/proto"
)

// prefixes are how the fields begin that show the facts of a protocol.
var prefixes = map[string][]string{
	"mysql": {"db.", "culprit.db.", "mysql."}, "postgresql": {"db.", "culprit.db.", "pgsql."}, "redis": {"db.", "culprit.db.", "redis."},
	"mongodb": {"db.", "culprit.db.", "mongodb."}, "memcached": {"db.", "culprit.db.", "memcache."},
	"dns": {"dns."}, "fastcgi": {"culprit.fastcgi.", "culprit.cgi."},
}

// with makes an exchange of a protocol, with the texts that are given.
func with(protocol, verb, subject string) *exchange.Exchange {
	x := Exchange("", "")
	x.Protocol, x.Family = protocol, exchange.FamilyOf(protocol)
	x.HasRequest, x.HasResponse = true, true
	for _, m := range [...]*proto.Message{&x.Request, &x.Response} {
		m.Reset()
		m.End = proto.Whole
	}
	q, r := &x.Request, &x.Response
	q.Raw = append(q.Raw, verb+subject...)
	q.Method = proto.Span{Len: uint32(len(verb))}
	q.Target = proto.Span{Off: uint32(len(verb)), Len: uint32(len(subject))}
	q.First, q.Last, q.Size = x.Start, clock.Mark{Time: start + x.Timing.Send, Packet: 82}, int64(len(subject))+5
	r.Kind, r.Dir, r.Size = proto.Response, proto.Responder, 256
	r.First = clock.Mark{Time: start + x.Timing.Send + x.Timing.Wait, Packet: 96}
	r.Last = clock.Mark{Time: start + x.Timing.Duration, Packet: 97}
	return x
}

// WithFacts gives an exchange each fact that fields of its protocol show, but for errors: numbers from 1 up, and texts that say what
// they are.
func WithFacts(x *exchange.Exchange) *exchange.Exchange {
	n := int64(0)
	for i := range exchange.Fields {
		f := &exchange.Fields[i]
		of, ok := exchange.Facts[f.Name]
		m := &x.Request
		if of.Of == proto.Response {
			m = &x.Response
		}
		if !ok || of.Name == proto.FactError || of.Name == proto.FactErrorText || m.Fact(of.Name) != nil {
			continue
		}
		for _, prefix := range prefixes[x.Protocol] {
			if !strings.HasPrefix(f.Name, prefix) {
				continue
			}
			switch n++; f.Kind {
			case exchange.Text, exchange.List:
				m.Say(of.Name, []byte("the "+of.Name))
			case exchange.Bool:
				m.Count(of.Name, 1)
			default:
				m.Count(of.Name, n)
			}
		}
	}
	return x
}

// Query makes a statement of a database with a result of 3 rows.
func Query(protocol, verb, statement string) *exchange.Exchange {
	x := with(protocol, verb, statement)
	x.Statement = exchange.Statement{Operation: verb, Collection: "users", Template: statement}
	x.Flow = Flow("10.0.0.2:51022", "10.0.0.9:3306")
	x.Response.Framing = proto.Rendered
	x.Response.Parts = proto.Parts{Count: 3, Bytes: 210, Largest: 80, First: x.Response.First.Time + 20_000}
	x.ResponseBody.Bytes = []byte("1\tann\n2\tbob\n")
	return x
}

// Failed makes a response say that the request failed.
func Failed(x *exchange.Exchange, code, text string) *exchange.Exchange {
	x.Response.Say(proto.FactError, []byte(code))
	x.Response.Say(proto.FactErrorText, []byte(text))
	return x
}

// Push makes a response that nobody asked for.
func Push(channel string) *exchange.Exchange {
	x := with("redis", "", "")
	x.HasRequest, x.Request = false, proto.Message{}
	m := &x.Response
	m.Raw = append(m.Raw, "MESSAGE"+channel...)
	m.Method, m.Target = proto.Span{Len: 7}, proto.Span{Off: 7, Len: uint32(len(channel))}
	m.OneWay, x.Stream = true, true
	return x
}

// Lookup makes a question for a name.
func Lookup(kind, name string, addresses ...string) *exchange.Exchange {
	x := with("dns", kind, name)
	x.Flow = Flow("10.0.0.2:40000", "10.0.0.53:53")
	x.Flow.Proto = 17
	q, r := &x.Request, &x.Response
	q.Count("id", 4242)
	q.Say("opcode", []byte("QUERY"))
	q.Say("name", []byte(name))
	q.Say("type", []byte(kind))
	q.Say("class", []byte("IN"))
	r.Framing = proto.Rendered
	r.Say("rcode", []byte("NOERROR"))
	for _, a := range addresses {
		r.Parts.Count++
		r.Say("answer_name", []byte(name))
		r.Say("answer_type", []byte(kind))
		r.Say("answer_ttl", []byte("300"))
		r.Say("answer_data", []byte(a))
		r.Say("resolved_ip", []byte(a))
	}
	r.Count("answers", r.Parts.Count)
	return x
}

// FlowRecord makes the record of a flow.
func FlowRecord(protocol string) *exchange.Exchange {
	x := Exchange("", "")
	x.Protocol, x.Family, x.Stream = protocol, exchange.Other, true
	x.Flow = Flow("10.0.0.7:51022", "10.0.0.2:22")
	x.Period = &exchange.Period{Number: 2, Final: true, Since: start - 120e9}
	x.During[0] = exchange.Counts{Packets: 20, Bytes: 1_200}
	x.During[1] = exchange.Counts{Packets: 31, Bytes: 34_000, Retransmits: 1}
	x.Timing = exchange.UnknownTiming
	x.Timing.Duration = 2_500_000_000
	return x
}

// Proxied gives an exchange what a proxy says, and an ICMP error.
func Proxied(x *exchange.Exchange) *exchange.Exchange {
	x.Proxied = &proto.Proxied{
		Version: 2, Transport: "tcp", Client: netip.MustParseAddrPort("203.0.113.9:4711"), Server: netip.MustParseAddrPort("198.51.100.1:443"),
		Authority: "shop.example", UniqueID: "7f3a", TLSVersion: "TLSv1.3",
	}
	x.Conn.Errors = 2
	x.Conn.Error = proto.ICMPError{Type: 3, Code: 1, From: netip.MustParseAddr("10.0.0.1").As16(), Of: x.Client}
	x.Retries = 1
	return x
}

// FastCGI makes a request that a web server passed on to a program.
func FastCGI() *exchange.Exchange {
	x := Exchange("GET /index.php?a=1 HTTP/1.1\nHost: shop.example\n\n", "HTTP/1.1 200 OK\nContent-Type: text/html\n\nhello")
	x.Protocol, x.Family = "fastcgi", exchange.HTTP
	return WithFacts(x)
}
