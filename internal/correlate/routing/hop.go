// Package routing says which way requests took through proxies, applications and databases, by host and route; compares that
// with what somebody wrote down; and learns what may be written down.
//
//	trees --Add--> Map --Entries--> a table, or a file to begin with
//	                |
//	                +--Compare--> Differences from an Expectation
package routing

import (
	"net/netip"
	"strings"

	"github.com/culprit-http/culprit/internal/correlate/hops"
	"github.com/culprit-http/culprit/internal/exchange"
)

// Hop is who answered one exchange of a chain.
type Hop struct {
	// Name is what it is called: the service, by the configuration, or else the process, or else the address and port.
	Name string
	// Protocol is the application protocol, such as "http" or "mysql".
	Protocol string
	// Route is the route that it was asked for, empty where that is the one that the hop before it was asked for.
	Route string
	// Service, Process, Host, Tap and Address are what it is also known by; what isn't known is empty.
	Service, Process, Host, Tap string
	Address                     netip.AddrPort
}

// String returns the hop as chains show it.
func (h *Hop) String() string {
	s := h.Name
	if h.Protocol != "http" {
		s += " (" + h.Protocol + ")"
	}
	if h.Route != "" {
		s += " " + h.Route
	}
	return s
}

// arrow joins hops to a chain.
const arrow = " → "

// Chain returns hops as a chain.
func Chain(all []Hop) string {
	parts := make([]string, len(all))
	for i := range all {
		parts[i] = all[i].String()
	}
	return strings.Join(parts, arrow)
}

// serverSide is the index of what is known of the server, in pairs of a Span.
const serverSide = 1

// hopOf returns the hop that a node is. route is that of the nearest hop before it that has one.
func (m *Map) hopOf(n *hops.Node, route string) Hop {
	// The observation nearest to the server knows best who that is.
	s := n.Served()
	h := Hop{
		Protocol: s.Protocol, Service: s.Service[serverSide], Process: s.Process[serverSide], Host: s.Host, Tap: s.Tap, Address: s.Server,
	}
	switch {
	case h.Service != "":
		h.Name = h.Service
	case h.Process != "":
		h.Name = h.Process
	default:
		h.Name = h.Address.String()
	}
	if s.Verb == connecting {
		h.Protocol = "http" // as far as can be known of a connection that came to nothing
	} else if r := m.routeOf(s); r != route {
		h.Route = r
	}
	return h
}

// connecting is the verb of a connection that came to nothing.
const connecting = "connect"

// routeOf returns the route of an exchange, empty where it has none.
func (m *Map) routeOf(s *hops.Span) string {
	if s.Family != exchange.HTTP || s.Verb == connecting {
		return ""
	}
	path := pathOf(s.Target)
	if path == "" || len(s.Target) >= hops.MaxText && s.Route != "" { // the path was cut
		return s.Route
	}
	m.buf = m.routes.Append(m.buf[:0], []byte(path))
	return string(m.buf)
}

// pathOf returns the path of a request target (RFC 9112 §3.2), empty where it has none.
func pathOf(target string) string {
	if _, rest, absolute := strings.Cut(target, "://"); absolute && !strings.HasPrefix(target, "/") {
		i := strings.IndexAny(rest, "/?")
		if i < 0 || rest[i] == '?' {
			return "/"
		}
		target = rest[i:]
	}
	if !strings.HasPrefix(target, "/") && target != "*" {
		return ""
	}
	return target
}
