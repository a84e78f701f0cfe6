package exchange

import (
	"slices"
	"strings"
)

// group is a group of fields that most exchanges lack: how their names begin, and which exchanges may have them.
type group struct {
	prefix string
	has    func(x *Exchange) bool
}

var groups = []group{
	{"http.", isHTTP},
	{"url.", isHTTP},
	{"user_agent.", isHTTP},
	{"culprit.http.connection_index", func(*Exchange) bool { return true }},
	{"culprit.http.re", isHTTP},
	{"culprit.http.stream_id", isHTTP},
	{"culprit.operation.", isHTTP},
	{"culprit.messages.", func(x *Exchange) bool { return x.Family == HTTP && x.Request.Parts.Count|x.Response.Parts.Count != 0 }},
	{"db.", isDatabase},
	{"culprit.db.", isDatabase},
	{"mysql.", speaks("mysql")},
	{"pgsql.", speaks("postgresql")},
	{"redis.", speaks("redis")},
	{"mongodb.", speaks("mongodb")},
	{"memcache.", speaks("memcached")},
	{"dns.", asksNames},
	{"culprit.dns.", asksNames},
	{"flow.", isFlow},
	{"culprit.flow.", isFlow},
	{"culprit.cgi.", func(x *Exchange) bool { return x.Protocol == "fastcgi" || x.Protocol == "uwsgi" }},
	{"culprit.fastcgi.", speaks("fastcgi")},
	{"culprit.proxied.", func(x *Exchange) bool { return x.Proxied != nil }},
	{"culprit.net.error.", func(x *Exchange) bool { return x.Conn.Errors > 0 }},
	{"culprit.split.", func(x *Exchange) bool { return x.Timing.Causes != [Phases]Causes{} }},
	{"culprit.blame.", func(x *Exchange) bool { return x.Blame.Who != Unjudged }},
	{"culprit.hop.", func(x *Exchange) bool { return x.Hop.Method != NotLinked }},
	{"tls.", func(x *Exchange) bool { return x.TLS != nil }},
	{"culprit.tls.", func(x *Exchange) bool { return x.TLS != nil || x.Timing.Handshake != UnknownTiming.Handshake }},
	{"error.code", func(x *Exchange) bool {
		return x.Family == Database || x.Family == Names || x.Abort != nil || x.Closing.Seen || x.TLS != nil || x.IsGRPC()
	}},
	{"culprit.grpc.", (*Exchange).IsGRPC},
	{"culprit.http.reset.", func(x *Exchange) bool { return x.Abort != nil }},
	{"culprit.message.", func(x *Exchange) bool { return x.Message != nil }},
	{"culprit.websocket.", func(x *Exchange) bool { return x.Closing != Closing{} }},
}

func isHTTP(x *Exchange) bool { return x.Family == HTTP }

func isDatabase(x *Exchange) bool { return x.Family == Database }

func isFlow(x *Exchange) bool { return x.Period != nil }

// asksNames reports whether the exchange asks for a name, itself or within its bodies (RFC 8484).
func asksNames(x *Exchange) bool {
	return x.Family == Names || x.Family == HTTP && len(x.Request.Facts)|len(x.Response.Facts) != 0
}

func speaks(protocol string) func(x *Exchange) bool {
	return func(x *Exchange) bool { return x.Protocol == protocol }
}

// gated has the fields of groups be absent from the exchanges that lack the group.
func gated(fields []Field) []Field {
	for i := range fields {
		f := &fields[i]
		n := slices.IndexFunc(groups, func(g group) bool { return strings.HasPrefix(f.Name, g.prefix) })
		if n < 0 {
			continue
		}
		get, has := f.Get, groups[n].has
		f.Get = func(x *Exchange, v *Value) {
			if has(x) {
				get(x, v)
			}
		}
	}
	return fields
}

// Run is a run of fields, from one number to before another, that exchanges lack together.
type Run struct {
	From, To int
	// Has says which exchanges may have any of them; nil: all.
	Has func(x *Exchange) bool
}

// Runs divides fields into runs, so that who looks at all of them can pass over those that an exchange lacks. names are theirs,
// in order.
func Runs(names []string) (all []Run) {
	last := -2 // the number in groups, -1 for all exchanges
	for i, name := range names {
		n := slices.IndexFunc(groups, func(g group) bool { return strings.HasPrefix(name, g.prefix) })
		if n != last {
			all = append(all, Run{From: i})
			if n >= 0 {
				all[len(all)-1].Has = groups[n].has
			}
		}
		last, all[len(all)-1].To = n, i+1
	}
	return all
}
