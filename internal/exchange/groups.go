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
	{"tls.", func(x *Exchange) bool { return x.TLS != nil }},
	{"culprit.tls.", func(x *Exchange) bool { return x.TLS != nil || x.Timing.Handshake != UnknownTiming.Handshake }},
	{"error.code", func(x *Exchange) bool { return x.Abort != nil || x.Closing.Seen || x.TLS != nil || x.IsGRPC() }},
	{"culprit.grpc.", (*Exchange).IsGRPC},
	{"culprit.http.reset.", func(x *Exchange) bool { return x.Abort != nil }},
	{"culprit.messages.", func(x *Exchange) bool { return x.Request.Parts.Count|x.Response.Parts.Count != 0 }},
	{"culprit.message.", func(x *Exchange) bool { return x.Message != nil }},
	{"culprit.websocket.", func(x *Exchange) bool { return x.Closing != Closing{} }},
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
